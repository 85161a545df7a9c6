// crowd SECONDS: what goes wrong only where threads of one process run at once, all of it at once: fork beside threads that write
// (its child must not see what they write later), exec and exit_group from one of several threads, mappings that change under each
// of them, signals that come faster than they are handled. Prints how much of each was done; status 1 if anything failed.
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static struct timespec end;

static int going(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec < end.tv_sec || (now.tv_sec == end.tv_sec && now.tv_nsec < end.tv_nsec);
}

static void fail(const char *what)
{
	fprintf(stderr, "crowd: %s: %s\n", what, strerror(errno));
	_exit(1);
}

static unsigned rnd(unsigned *s)
{
	*s = *s * 1103515245 + 12345;
	return *s >> 16;
}

static pthread_t thread(void *(*f)(void *), long arg)
{
	pthread_t t;
	if ((errno = pthread_create(&t, NULL, f, (void *)arg)))
		fail("pthread_create");
	return t;
}

static pid_t forked(void)
{
	pid_t pid = fork();
	if (pid < 0)
		fail("fork");
	return pid;
}

static void ends_with(pid_t pid, int want)
{
	int st;
	while (waitpid(pid, &st, 0) != pid)
		if (errno != EINTR)
			fail("waitpid");
	if (st != want) {
		fprintf(stderr, "crowd: a child's status is %#x, not %#x\n", st, want);
		_exit(1);
	}
}

// Six threads change mappings of their own and count in pages that they share, while the process forks.
enum { PAGES = 128, COUNTERS = 64 };
static long *counters;
static long done;
static pthread_mutex_t hole = PTHREAD_MUTEX_INITIALIZER; // nobody else's mmap may land where one is to be mapped again

static void *churn(void *arg)
{
	unsigned seed = (long)arg;
	unsigned char want[PAGES] = {0};
	unsigned char *m = mmap(NULL, PAGES * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (m == MAP_FAILED)
		fail("mmap");
	while (going()) {
		unsigned first = rnd(&seed) % PAGES, n = 1 + rnd(&seed) % 12;
		if (first + n > PAGES)
			n = PAGES - first;
		unsigned char *p = m + first * 4096, *q;
		switch (rnd(&seed) % 8) {
		case 0:
			pthread_mutex_lock(&hole);
			if (munmap(p, n * 4096) || mmap(p, n * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != p)
				fail("munmap, mmap");
			pthread_mutex_unlock(&hole);
			memset(want + first, 0, n);
			break;
		case 1:
			if (madvise(p, n * 4096, MADV_DONTNEED))
				fail("madvise");
			memset(want + first, 0, n);
			break;
		case 2:
			if (mprotect(p, n * 4096, PROT_READ))
				fail("mprotect");
			for (unsigned i = 0; i < n; i++)
				if (p[i * 4096] != want[first + i])
					fail("a read-only page has another content");
			if (mprotect(p, n * 4096, PROT_READ | PROT_WRITE))
				fail("mprotect");
			break;
		case 3:
			pthread_mutex_lock(&hole);
			q = mremap(p, n * 4096, n * 4096, MREMAP_MAYMOVE | MREMAP_FIXED,
				   mmap(NULL, n * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
			if (q == MAP_FAILED)
				fail("mremap");
			for (unsigned i = 0; i < n; i++)
				if (q[i * 4096] != want[first + i])
					fail("a moved page has another content");
			if (mremap(q, n * 4096, n * 4096, MREMAP_MAYMOVE | MREMAP_FIXED, p) != p)
				fail("mremap back");
			pthread_mutex_unlock(&hole);
			break;
		default:
			for (unsigned i = 0; i < n; i++)
				p[i * 4096] = want[first + i] = rnd(&seed);
		}
		unsigned look = rnd(&seed) % PAGES;
		if (m[look * 4096] != want[look])
			fail("a page has another content");
		__atomic_add_fetch(&counters[rnd(&seed) % COUNTERS * 512], 1, __ATOMIC_SEQ_CST);
		__atomic_add_fetch(&done, 1, __ATOMIC_SEQ_CST);
	}
	return NULL;
}

static long sum(void)
{
	long n = 0;
	for (int i = 0; i < COUNTERS; i++)
		n += counters[i * 512];
	return n;
}

static long mappings(void)
{
	counters = mmap(NULL, COUNTERS * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (counters == MAP_FAILED)
		fail("mmap");
	pthread_t t[6];
	for (int i = 0; i < 6; i++)
		t[i] = thread(churn, i * 31 + 1);
	while (going()) {
		pid_t pid = forked();
		if (pid == 0) {
			long before = sum();
			sched_yield();
			_exit(sum() != before);
		}
		ends_with(pid, 0);
		usleep(2000);
	}
	for (int i = 0; i < 6; i++)
		pthread_join(t[i], NULL);
	errno = 0;
	if (sum() != done)
		fail("counts were lost");
	return done;
}

static void *spin(void *arg)
{
	for (volatile long i = 0;; i++)
		if ((i & 0xffff) == 0 && arg)
			syscall(SYS_getppid);
	return NULL;
}

static void *sleeper(void *arg)
{
	for (;;)
		pause();
	return arg;
}

static void *once(void *arg)
{
	return arg;
}

static void *maker(void *arg)
{
	for (;;) {
		pthread_t t;
		if (pthread_create(&t, NULL, once, NULL) == 0)
			pthread_join(t, NULL);
	}
	return arg;
}

static void *leaver(void *arg)
{
	usleep((long)arg);
	exit(9);
}

static void *execer(void *arg)
{
	usleep((long)arg);
	execl("/proc/self/exe", "crowd", "--true", NULL);
	_exit(98);
}

// One of several threads ends the process, or runs another program in it, or it is killed.
static long ends(void)
{
	unsigned seed = 7;
	long n = 0;
	for (; going(); n++) {
		long after = rnd(&seed) % 2000;
		pid_t pid = forked();
		if (pid == 0) {
			for (long i = 0; i < 3; i++)
				thread(spin, i % 2);
			thread(sleeper, 0);
			thread(maker, 0);
			if (n % 3)
				thread(n % 3 == 1 ? leaver : execer, after);
			for (;;)
				pause();
		}
		if (n % 3 == 0) {
			usleep(after);
			kill(pid, SIGKILL);
		}
		ends_with(pid, n % 3 == 0 ? SIGKILL : n % 3 == 1 ? 9 << 8 : 0);
	}
	return n;
}

static volatile long handled;

static void on_signal(int sig)
{
	(void)sig;
	handled++;
}

// Signals from another process, a timer of 2 kHz and the process itself interrupt calls and calculations.
static long signals(void)
{
	struct sigaction plain = {.sa_handler = on_signal}, restart = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
	sigaction(SIGUSR1, &plain, NULL);
	sigaction(SIGALRM, &plain, NULL);
	sigaction(SIGUSR2, &restart, NULL);
	pid_t me = getpid(), pid = forked();
	if (pid == 0) {
		unsigned seed = 3;
		signal(SIGALRM, SIG_IGN);
		while (going() && kill(me, rnd(&seed) % 2 ? SIGUSR1 : SIGUSR2) == 0)
			if (rnd(&seed) % 8 == 0)
				sched_yield();
		_exit(0);
	}
	struct itimerval timer = {{0, 500}, {0, 500}}, off = {{0, 0}, {0, 0}};
	setitimer(ITIMER_REAL, &timer, NULL);
	while (going()) {
		struct timespec ts = {0, 300000};
		if (nanosleep(&ts, NULL) && errno != EINTR)
			fail("nanosleep");
		syscall(SYS_tgkill, me, syscall(SYS_gettid), SIGUSR1);
		double y = 5.5;
		for (int i = 0; i < 1000; i++)
			y = y * 1.0000001;
		errno = 0;
		if (!(y > 5.5 && y < 5.51))
			fail("a signal has changed a register");
	}
	setitimer(ITIMER_REAL, &off, NULL);
	ends_with(pid, 0);
	return handled;
}

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "--true"))
		return 0;
	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec += argc > 1 ? atoi(argv[1]) : 5;
	const struct {
		const char *name;
		long (*run)(void);
	} parts[] = {{"mappings", mappings}, {"ends", ends}, {"signals", signals}};
	for (int i = 0; i < 3; i++) {
		if (forked())
			continue;
		long n = parts[i].run();
		printf("%s %ld\n", parts[i].name, n);
		fflush(stdout);
		_exit(n == 0);
	}
	int bad = 0, st;
	while (wait(&st) > 0)
		bad |= st != 0;
	puts(bad ? "crowd: failed" : "crowd: over");
	fflush(stdout);
	return bad;
}
