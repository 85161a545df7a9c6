package socket

import "goum/kernel/fs/vfs"

type vfsOpen = vfs.Open
