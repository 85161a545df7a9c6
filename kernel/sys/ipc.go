package sys

import "goum/arch/abi"

// ipcCalls: System V IPC and POSIX message queues are not there, as in a kernel without CONFIG_SYSVIPC and CONFIG_POSIX_MQUEUE.
var ipcCalls = Calls{
	abi.SYS_SHMGET:          Absent("shmget", abi.ENOSYS, "CONFIG_SYSVIPC=n"),
	abi.SYS_SHMAT:           Absent("shmat", abi.ENOSYS, "CONFIG_SYSVIPC=n"),
	abi.SYS_SHMCTL:          Absent("shmctl", abi.ENOSYS, "CONFIG_SYSVIPC=n"),
	abi.SYS_SHMDT:           Absent("shmdt", abi.ENOSYS, "CONFIG_SYSVIPC=n"),
	abi.SYS_SEMGET:          Absent("semget", abi.ENOSYS, "CONFIG_SYSVIPC=n"),
	abi.SYS_SEMOP:           Absent("semop", abi.ENOSYS, "CONFIG_SYSVIPC=n"),
	abi.SYS_SEMTIMEDOP:      Absent("semtimedop", abi.ENOSYS, "CONFIG_SYSVIPC=n"),
	abi.SYS_SEMCTL:          Absent("semctl", abi.ENOSYS, "CONFIG_SYSVIPC=n"),
	abi.SYS_MSGGET:          Absent("msgget", abi.ENOSYS, "CONFIG_SYSVIPC=n"),
	abi.SYS_MSGSND:          Absent("msgsnd", abi.ENOSYS, "CONFIG_SYSVIPC=n"),
	abi.SYS_MSGRCV:          Absent("msgrcv", abi.ENOSYS, "CONFIG_SYSVIPC=n"),
	abi.SYS_MSGCTL:          Absent("msgctl", abi.ENOSYS, "CONFIG_SYSVIPC=n"),
	abi.SYS_MQ_OPEN:         Absent("mq_open", abi.ENOSYS, "CONFIG_POSIX_MQUEUE=n"),
	abi.SYS_MQ_UNLINK:       Absent("mq_unlink", abi.ENOSYS, "CONFIG_POSIX_MQUEUE=n"),
	abi.SYS_MQ_TIMEDSEND:    Absent("mq_timedsend", abi.ENOSYS, "CONFIG_POSIX_MQUEUE=n"),
	abi.SYS_MQ_TIMEDRECEIVE: Absent("mq_timedreceive", abi.ENOSYS, "CONFIG_POSIX_MQUEUE=n"),
	abi.SYS_MQ_NOTIFY:       Absent("mq_notify", abi.ENOSYS, "CONFIG_POSIX_MQUEUE=n"),
	abi.SYS_MQ_GETSETATTR:   Absent("mq_getsetattr", abi.ENOSYS, "CONFIG_POSIX_MQUEUE=n"),
}
