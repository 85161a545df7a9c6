// storm SECONDS: fork and exec, mapping churn, threads and busy loops, all at once. Prints how much of each was done; status 1 if
// anything failed.
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static struct timespec end;
static const char *self;

static int going(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec < end.tv_sec || (now.tv_sec == end.tv_sec && now.tv_nsec < end.tv_nsec);
}

static void fail(const char *what)
{
	fprintf(stderr, "storm: %s: %s\n", what, strerror(errno));
	_exit(1);
}

static long fork_exec(void)
{
	long n = 0;
	for (; going(); n++) {
		pid_t pid = fork();
		if (pid < 0)
			fail("fork");
		if (pid == 0) {
			if (n % 2 == 0)
				_exit(0);
			char *argv[] = {"storm", "--true", NULL};
			execv(self, argv);
			fail("exec");
		}
		int st;
		if (waitpid(pid, &st, 0) != pid || st != 0) {
			errno = 0;
			fail("a child did not end well");
		}
	}
	return n;
}

static unsigned rnd(unsigned *s)
{
	*s = *s * 1103515245 + 12345;
	return *s >> 16;
}

// Each page of the arena knows what was written to it last; 0 after it was unmapped or thrown away.
static long mappings(unsigned seed)
{
	enum { PAGES = 256 };
	static unsigned char want[PAGES];
	unsigned char *m = mmap(NULL, PAGES * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (m == MAP_FAILED)
		fail("mmap");
	memset(want, 0, sizeof want);
	long n = 0;
	for (; going(); n++) {
		unsigned first = rnd(&seed) % PAGES, count = 1 + rnd(&seed) % 16;
		if (first + count > PAGES)
			count = PAGES - first;
		unsigned char *p = m + first * 4096;
		switch (rnd(&seed) % 5) {
		case 0:
			if (munmap(p, count * 4096))
				fail("munmap");
			if (mmap(p, count * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != p)
				fail("mmap fixed");
			memset(want + first, 0, count);
			break;
		case 1:
			if (madvise(p, count * 4096, MADV_DONTNEED))
				fail("madvise");
			memset(want + first, 0, count);
			break;
		case 2:
			if (mprotect(p, count * 4096, PROT_READ) || mprotect(p, count * 4096, PROT_READ | PROT_WRITE))
				fail("mprotect");
			break;
		default:
			for (unsigned i = 0; i < count; i++)
				p[i * 4096 + i] = want[first + i] = rnd(&seed);
			for (unsigned i = 0; i < count; i++)
				p[i * 4096] = want[first + i];
		}
		unsigned look = rnd(&seed) % PAGES;
		if (m[look * 4096] != want[look]) {
			errno = 0;
			fail("a page has another content");
		}
	}
	munmap(m, PAGES * 4096);
	return n;
}

static void *once(void *arg)
{
	return arg;
}

static long threads(void)
{
	long n = 0;
	for (; going(); n++) {
		pthread_t t[4];
		for (int i = 0; i < 4; i++)
			if ((errno = pthread_create(&t[i], NULL, once, NULL)))
				fail("pthread_create");
		for (int i = 0; i < 4; i++)
			pthread_join(t[i], NULL);
	}
	return n;
}

static long busy(void)
{
	long n = 0;
	volatile unsigned long x = 1;
	for (; going(); n++)
		for (int i = 0; i < 2000000; i++)
			x = x * 3 + 1;
	return n;
}

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "--true"))
		return 0;
	self = argv[0];
	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec += argc > 1 ? atoi(argv[1]) : 5;
	for (int i = 0; i < 8; i++) {
		pid_t pid = fork();
		if (pid < 0)
			fail("fork");
		if (pid)
			continue;
		const char *names[] = {"fork_exec", "mappings", "threads", "busy"};
		long n = i % 4 == 0 ? fork_exec() : i % 4 == 1 ? mappings(i) : i % 4 == 2 ? threads() : busy();
		printf("%s %ld\n", names[i % 4], n);
		fflush(stdout);
		_exit(0);
	}
	int bad = 0, st;
	while (wait(&st) > 0)
		bad |= st != 0;
	puts(bad ? "storm: failed" : "storm: over");
	fflush(stdout);
	return bad;
}
