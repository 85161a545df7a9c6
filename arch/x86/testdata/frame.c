// Shows what the host's kernel makes of signal frames.
//
//	frame dump          writes to stdout: sp of the handler (8 bytes), the end of the frame (8), and the bytes between
//	frame patch A B C.. changes bytes of the floating point state in a handler (pairs of offset and value; "m" for an offset is
//	                    the second magic number), returns, and writes the state found then (xsave, standard format)
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>
#include <unistd.h>

static int dump;
static int argc_;
static char **argv_;
static uint8_t state[16384] __attribute__((aligned(64)));

static void handler(int sig, siginfo_t *info, void *uc_)
{
	ucontext_t *uc = uc_;
	uint8_t *fp = (void *)uc->uc_mcontext.fpregs;
	uint32_t size = *(uint32_t *)(fp + 464 + 16);
	if (dump) {
		uint64_t sp = (uint64_t)uc - 8, end = (uint64_t)fp + size + 4;
		if (write(1, &sp, 8) != 8 || write(1, &end, 8) != 8 || write(1, (void *)sp, end - sp) != end - sp)
			_exit(3);
		_exit(0);
	}
	for (int i = 2; i + 1 < argc_; i += 2) {
		if (argv_[i][0] == 'm')
			fp[size] = strtoul(argv_[i + 1], 0, 0);
		else
			fp[strtoul(argv_[i], 0, 0)] = strtoul(argv_[i + 1], 0, 0);
	}
}

int main(int argc, char **argv)
{
	static char stack[65536];
	stack_t ss = {.ss_sp = stack, .ss_size = sizeof stack};
	struct sigaction sa = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_ONSTACK};
	dump = !strcmp(argv[1], "dump");
	argc_ = argc;
	argv_ = argv;
	if (dump)
		sigaltstack(&ss, 0);
	sigaction(SIGUSR1, &sa, 0);
	uint64_t v[2] = {0x1122334455667788, 0x99aabbccddeeff00};
	long ret = 62; // kill
	long pid = getpid();
	register uint64_t *r8 __asm__("r8") = v;
	__asm__ volatile(
		"movdqu (%%r8), %%xmm7\n\t"
		"mov $0x12121212, %%r12d\n\t"
		"syscall\n\t"
		"mov $-1, %%eax\n\t"
		"mov $-1, %%edx\n\t"
		"xsave (%%rbx)"
		: "+a"(ret), "+r"(r8)
		: "b"(state), "D"(pid), "S"((long)SIGUSR1)
		: "rcx", "rdx", "r11", "r12", "memory", "xmm7");
	return write(1, state, 4096) != 4096;
}
