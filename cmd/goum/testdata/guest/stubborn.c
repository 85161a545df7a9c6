// stubborn [scribble]: tries to become a program that the kernel cannot interrupt, and then computes for ever. If it can be killed all
// the same, the kernel has won. Every call here is the guest's own: none of it may reach the host.
#define _GNU_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

static sigjmp_buf out;

static void back(int sig)
{
	siglongjmp(out, 1);
}

// A frame for rt_sigreturn whose mask blocks everything, made from a real one.
static void forge(int sig, siginfo_t *info, void *arg)
{
	ucontext_t *uc = arg;
	memset(&uc->uc_sigmask, 0xff, sizeof uc->uc_sigmask);
}

int main(int argc, char **argv)
{
	sigset_t all;
	sigfillset(&all);
	for (int sig = 1; sig < NSIG; sig++)
		signal(sig, SIG_IGN);
	sigprocmask(SIG_BLOCK, &all, NULL);
	sigprocmask(SIG_UNBLOCK, &all, NULL);

	struct sigaction sa = {.sa_sigaction = forge, .sa_flags = SA_SIGINFO};
	sigfillset(&sa.sa_mask);
	sigaction(SIGUSR1, &sa, NULL);
	raise(SIGUSR1);

	// What a 32-bit or x32 entry would say to the host: each must come back as a signal or an error of the guest's.
	for (int sig = SIGILL; sig <= SIGSYS; sig++)
		if (sig == SIGILL || sig == SIGSEGV || sig == SIGSYS || sig == SIGBUS)
			signal(sig, back);
	sigprocmask(SIG_UNBLOCK, &all, NULL);
	if (!sigsetjmp(out, 1)) {
		long r = 126; // sigprocmask of i386
		asm volatile("int $0x80" : "+a"(r) : "b"(0), "c"(&all), "d"(0) : "memory");
	}
	if (!sigsetjmp(out, 1))
		syscall(0x40000000 + SYS_rt_sigprocmask, SIG_BLOCK, &all, NULL, 8);

	// Addresses at which the host's side of things may lie. What can be written there is the attacker's own by design, and worth
	// nothing to it.
	const unsigned long start = 0x7fffc0000000UL, control = start + 0x10000000UL;
	for (unsigned long a = start; a < 0x7ffffffff000UL; a += a < start + 0x40000 ? 0x1000 : 0x10000)
		if (a >= control && a < control + 0x1000000UL && argc < 2)
			continue; // the control memory: "stubborn scribble" writes there, too
		else if (!sigsetjmp(out, 1))
			*(volatile char *)a = 0xff;
	puts("stubborn");
	fflush(stdout);
	sigprocmask(SIG_BLOCK, &all, NULL);
	for (;;)
		asm volatile("");
}
