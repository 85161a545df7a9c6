//go:build ignore

// ubench: micro-benchmarks of the kernel ABI, one line each: "name  median_ns  min_ns", of 7 rounds.
// Static and without dependencies: the same binary runs natively and inside any guest.
//
//	ubench [-q] [name...]      -q: a tenth of the iterations
//	ubench --true | --hello    a program that ends at once, or says one line: what starting a machine is timed with
//
// Files are made in $BENCHDIR, or /tmp. Each row runs in a process of its own, so that one that fails does not end the rest: it
// prints "name FAILED why" instead. A row has one function here, which does its operation n times; rows() at the end names them.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { ROUNDS = 7, PAGE = 4096, MIB = 1 << 20, TIMEOUT_MS = 60000 };

static const char *row; // the one that runs
static char dir[64], self[256];
static char buf[MIB];

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e9 + t.tv_nsec;
}

static void die(const char *what)
{
	printf("%-22s FAILED %s: %s\n", row ? row : what, what, strerror(errno));
	fflush(stdout);
	_exit(1);
}

// The call itself, with its number in a variable: what Go programs do.
static long raw(long nr, long a, long b, long c, long d, long e, long f)
{
	long r;
	register long r10 asm("r10") = d;
	register long r8 asm("r8") = e;
	register long r9 asm("r9") = f;
	asm volatile("syscall" : "=a"(r) : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9) : "rcx", "r11", "memory");
	return r;
}

static void wait_for(pid_t pid)
{
	int st;
	if (waitpid(pid, &st, 0) != pid)
		die("waitpid");
	if (st) {
		errno = 0;
		die("a child failed");
	}
}

static pid_t must_fork(void)
{
	pid_t pid = fork();
	if (pid < 0)
		die("fork");
	return pid;
}

static void *anonymous(size_t size, int more)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | more, -1, 0);
	if (p == MAP_FAILED)
		die("mmap");
	return p;
}

// ---- system calls that do nothing ----

// With the number as an immediate before the instruction, as glibc has it: the form that a kernel can patch.
static void bench_getpid(long n)
{
	while (n--) {
		long r;
		asm volatile("mov $39,%%eax\n\tsyscall" : "=a"(r)::"rcx", "r11", "memory");
	}
}

static void bench_getpid_reg(long n)
{
	while (n--)
		raw(SYS_getpid, 0, 0, 0, 0, 0, 0);
}

static void bench_clock_vdso(long n)
{
	struct timespec t;
	while (n--)
		clock_gettime(CLOCK_MONOTONIC, &t);
}

static void bench_clock_raw(long n)
{
	struct timespec t;
	while (n--)
		raw(SYS_clock_gettime, CLOCK_MONOTONIC, (long)&t, 0, 0, 0, 0);
}

// ---- files ----

static void bench_read1_zero(long n)
{
	static int fd = -1;
	if (fd < 0 && (fd = open("/dev/zero", O_RDONLY)) < 0)
		die("open /dev/zero");
	while (n--)
		if (read(fd, buf, 1) != 1)
			die("read");
}

static void bench_write1_null(long n)
{
	static int fd = -1;
	if (fd < 0 && (fd = open("/dev/null", O_WRONLY)) < 0)
		die("open /dev/null");
	while (n--)
		if (write(fd, buf, 1) != 1)
			die("write");
}

static char path[128];

// A file of 16 MiB, made by the first who asks.
static int file(void)
{
	static int fd = -1;
	if (fd >= 0)
		return fd;
	snprintf(path, sizeof path, "%s/f", dir);
	if ((fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600)) < 0)
		die("create");
	for (int i = 0; i < 16; i++)
		if (write(fd, buf, MIB) != MIB)
			die("fill");
	return fd;
}

static void bench_pread_4k(long n)
{
	int fd = file();
	while (n--)
		if (pread(fd, buf, PAGE, (n & 255) * PAGE) != PAGE)
			die("pread");
}

static void bench_open_close(long n)
{
	file();
	while (n--) {
		int fd = open(path, O_RDONLY);
		if (fd < 0)
			die("open");
		close(fd);
	}
}

static void bench_stat(long n)
{
	struct stat s;
	file();
	while (n--)
		if (stat(path, &s))
			die("stat");
}

static void bench_create_unlink(long n)
{
	char p[128];
	snprintf(p, sizeof p, "%s/c", dir);
	while (n--) {
		int fd = open(p, O_WRONLY | O_CREAT, 0600);
		if (fd < 0)
			die("create");
		close(fd);
		unlink(p);
	}
}

// 1 MiB each, over and over the same 32 MiB: the first rounds allocate, the median does not.
static void bench_tmpfs_write_1M(long n)
{
	static int fd = -1;
	char p[128];
	snprintf(p, sizeof p, "%s/w", dir);
	if (fd < 0 && (fd = open(p, O_RDWR | O_CREAT | O_TRUNC, 0600)) < 0)
		die("create");
	while (n--)
		if (pwrite(fd, buf, MIB, (n & 31) * MIB) != MIB)
			die("pwrite");
}

// ---- handing over between two processes or threads: n is the number of round trips ----

struct channel {
	int in, out;
};

static void ping_pong(struct channel parent, struct channel child, long n)
{
	char x = 0;
	pid_t pid = must_fork();
	if (pid == 0) {
		while (n--)
			if (read(child.in, &x, 1) != 1 || write(child.out, &x, 1) != 1)
				_exit(1);
		_exit(0);
	}
	while (n--) {
		if (write(parent.out, &x, 1) != 1)
			die("write");
		if (read(parent.in, &x, 1) != 1)
			die("read");
	}
	wait_for(pid);
}

static void bench_pipe_pingpong(long n)
{
	int a[2], b[2];
	if (pipe(a) || pipe(b))
		die("pipe");
	ping_pong((struct channel){b[0], a[1]}, (struct channel){a[0], b[1]}, n);
	close(a[0]), close(a[1]), close(b[0]), close(b[1]);
}

static void bench_unix_pingpong(long n)
{
	int s[2];
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, s))
		die("socketpair");
	ping_pong((struct channel){s[0], s[0]}, (struct channel){s[1], s[1]}, n);
	close(s[0]), close(s[1]);
}

// A TCP connection over loopback, made by the first who asks.
static int *tcp(void)
{
	static int s[2] = {-1, -1};
	if (s[0] >= 0)
		return s;
	int l = socket(AF_INET, SOCK_STREAM, 0), one = 1;
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof a;
	if (l < 0 || bind(l, (void *)&a, sizeof a) || listen(l, 1) || getsockname(l, (void *)&a, &len))
		die("listen");
	s[0] = socket(AF_INET, SOCK_STREAM, 0);
	if (connect(s[0], (void *)&a, sizeof a))
		die("connect");
	if ((s[1] = accept(l, 0, 0)) < 0)
		die("accept");
	close(l);
	setsockopt(s[0], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	setsockopt(s[1], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	return s;
}

static void bench_tcp_pingpong(long n)
{
	int *s = tcp();
	ping_pong((struct channel){s[0], s[0]}, (struct channel){s[1], s[1]}, n);
}

// An operation is 64 KiB; reads and writes are of up to 256 KiB.
static void bench_tcp_stream_64K(long n)
{
	int *s = tcp();
	long left = n << 16, r;
	pid_t pid = must_fork();
	if (pid == 0) {
		for (; left > 0; left -= r)
			if ((r = read(s[1], buf, 1 << 18)) <= 0)
				_exit(1);
		_exit(0);
	}
	for (; left > 0; left -= r)
		if ((r = write(s[0], buf, left > 1 << 18 ? 1 << 18 : left)) <= 0)
			die("write");
	wait_for(pid);
}

static int word[2];
static long rounds;

static void futex_await(int *f, int v)
{
	while (__atomic_load_n(f, __ATOMIC_ACQUIRE) != v)
		raw(SYS_futex, (long)f, FUTEX_WAIT_PRIVATE, !v, 0, 0, 0);
}

static void futex_set(int *f, int v)
{
	__atomic_store_n(f, v, __ATOMIC_RELEASE);
	raw(SYS_futex, (long)f, FUTEX_WAKE_PRIVATE, 1, 0, 0, 0);
}

static void *futex_partner(void *arg)
{
	for (long i = 0; i < rounds; i++) {
		futex_await(&word[0], 1);
		futex_set(&word[0], 0);
		futex_set(&word[1], 1);
	}
	return arg;
}

static void bench_futex_pingpong(long n)
{
	pthread_t t;
	rounds = n;
	word[0] = word[1] = 0;
	if (pthread_create(&t, 0, futex_partner, 0))
		die("pthread_create");
	for (long i = 0; i < n; i++) {
		futex_set(&word[0], 1);
		futex_await(&word[1], 1);
		futex_set(&word[1], 0);
	}
	pthread_join(t, 0);
}

// Three calls an operation, none of which waits.
static void bench_eventfd_epoll(long n)
{
	int e = eventfd(0, 0), p = epoll_create1(0);
	struct epoll_event v = {.events = EPOLLIN};
	epoll_ctl(p, EPOLL_CTL_ADD, e, &v);
	while (n--) {
		unsigned long x = 1;
		if (write(e, &x, 8) != 8)
			die("eventfd");
		if (epoll_wait(p, &v, 1, -1) != 1)
			die("epoll");
		if (read(e, &x, 8) != 8)
			die("eventfd read");
	}
	close(e), close(p);
}

static void bench_yield_2procs(long n)
{
	pid_t pid = must_fork();
	for (long i = 0; i < n; i++)
		sched_yield();
	if (pid == 0)
		_exit(0);
	wait_for(pid);
}

// ---- processes and threads ----

static void *nothing(void *arg)
{
	return arg;
}

static void bench_thread_create_join(long n)
{
	while (n--) {
		pthread_t t;
		if (pthread_create(&t, 0, nothing, 0))
			die("pthread_create");
		pthread_join(t, 0);
	}
}

static void bench_fork_wait(long n)
{
	while (n--) {
		pid_t pid = must_fork();
		if (pid == 0)
			_exit(0);
		wait_for(pid);
	}
}

static void exec_self(void)
{
	char *argv[] = {self, "--true", NULL};
	execv(self, argv);
	_exit(1);
}

static void bench_fork_exec_wait(long n)
{
	while (n--) {
		pid_t pid = must_fork();
		if (pid == 0)
			exec_self();
		wait_for(pid);
	}
}

static void bench_vfork_exec_wait(long n)
{
	while (n--) {
		pid_t pid = vfork();
		if (pid < 0)
			die("vfork");
		if (pid == 0)
			exec_self();
		wait_for(pid);
	}
}

// A heap of 64 MiB; the child writes one byte in each of 64 pages of it, far apart.
static void bench_fork_64M_dirty64(long n)
{
	static char *heap;
	if (!heap)
		memset(heap = anonymous(64 * MIB, 0), 1, 64 * MIB);
	while (n--) {
		pid_t pid = must_fork();
		if (pid == 0) {
			for (int i = 0; i < 64; i++)
				heap[i * MIB] = 2;
			_exit(0);
		}
		wait_for(pid);
	}
}

// ---- memory ----

// n pages, one after the other; mmap and munmap are shared by all of them.
static void bench_touch_seq_page(long n)
{
	size_t size = n * PAGE;
	char *p = anonymous(size, 0);
	for (size_t i = 0; i < size; i += PAGE)
		p[i] = 1;
	munmap(p, size);
}

// One page in each 2 MiB: no window around a fault helps.
static void bench_touch_sparse_2M(long n)
{
	size_t size = n * 2 * MIB;
	char *p = anonymous(size, MAP_NORESERVE);
	for (size_t i = 0; i < size; i += 2 * MIB)
		p[i] = 1;
	munmap(p, size);
}

static void bench_mmap_touch_munmap(long n)
{
	while (n--) {
		char *p = anonymous(PAGE, 0);
		*p = 1;
		munmap(p, PAGE);
	}
}

static void bench_mprotect_2x_touch(long n)
{
	static char *p;
	if (!p)
		*(p = anonymous(PAGE, 0)) = 1;
	while (n--) {
		mprotect(p, PAGE, PROT_READ);
		mprotect(p, PAGE, PROT_READ | PROT_WRITE);
		*p = 2;
	}
}

static void bench_filemap_1M_read(long n)
{
	int fd = file();
	while (n--) {
		char *p = mmap(0, MIB, PROT_READ, MAP_SHARED, fd, (n & 15) * MIB);
		if (p == MAP_FAILED)
			die("mmap");
		volatile char sum = 0;
		for (int i = 0; i < MIB; i += PAGE)
			sum += p[i];
		munmap(p, MIB);
	}
}

// ---- signals ----

static volatile sig_atomic_t got;

static void count(int sig)
{
	got++;
}

static void bench_signal_self(long n)
{
	pid_t pid = getpid();
	signal(SIGUSR1, count);
	while (n--)
		kill(pid, SIGUSR1);
}

static char *guarded;

static void unguard(int sig)
{
	mprotect(guarded, PAGE, PROT_READ | PROT_WRITE);
}

static void bench_segv_handler(long n)
{
	if (!guarded)
		guarded = anonymous(PAGE, 0);
	signal(SIGSEGV, unguard);
	while (n--) {
		mprotect(guarded, PAGE, PROT_READ);
		*guarded = 1;
	}
	signal(SIGSEGV, SIG_DFL);
}

// ---- user mode alone ----

static void bench_cpu_xorshift(long n)
{
	static volatile unsigned long keep = 88172645463325252UL;
	unsigned long y = keep;
	while (n--) {
		y ^= y << 13;
		y ^= y >> 7;
		y ^= y << 17;
	}
	keep = y;
}

static void bench_cpu_4procs(long n)
{
	pid_t pid[4];
	for (int i = 0; i < 4; i++)
		if ((pid[i] = must_fork()) == 0) {
			bench_cpu_xorshift(n);
			_exit(0);
		}
	for (int i = 0; i < 4; i++)
		wait_for(pid[i]);
}

#define ROW(name, n) {#name, bench_##name, n}
static const struct {
	const char *name;
	void (*run)(long n);
	long n;
} rows[] = {
	ROW(getpid, 200000),
	ROW(getpid_reg, 200000),
	ROW(clock_vdso, 500000),
	ROW(clock_raw, 100000),
	ROW(read1_zero, 100000),
	ROW(write1_null, 100000),
	ROW(pread_4k, 50000),
	ROW(open_close, 20000),
	ROW(stat, 20000),
	ROW(create_unlink, 10000),
	ROW(tmpfs_write_1M, 64),
	ROW(pipe_pingpong, 5000),
	ROW(unix_pingpong, 5000),
	ROW(tcp_pingpong, 3000),
	ROW(tcp_stream_64K, 2000),
	ROW(futex_pingpong, 5000),
	ROW(eventfd_epoll, 20000),
	ROW(yield_2procs, 20000),
	ROW(thread_create_join, 500),
	ROW(fork_wait, 200),
	ROW(fork_exec_wait, 100),
	ROW(vfork_exec_wait, 100),
	ROW(fork_64M_dirty64, 20),
	ROW(touch_seq_page, 16384),
	ROW(touch_sparse_2M, 128),
	ROW(mmap_touch_munmap, 2000),
	ROW(mprotect_2x_touch, 2000),
	ROW(filemap_1M_read, 64),
	ROW(signal_self, 20000),
	ROW(segv_handler, 2000),
	ROW(cpu_xorshift, 20000000),
	ROW(cpu_4procs, 10000000),
};

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return x < y ? -1 : x > y;
}

// A quarter of a round first, which is not counted.
static void measure(int i, int quick)
{
	long n = quick ? (rows[i].n + 9) / 10 : rows[i].n;
	double r[ROUNDS];
	row = rows[i].name;
	rows[i].run(n / 4 + 1);
	for (int k = 0; k < ROUNDS; k++) {
		double t = now();
		rows[i].run(n);
		r[k] = (now() - t) / n;
	}
	qsort(r, ROUNDS, sizeof *r, by_value);
	printf("%-22s %12.1f %12.1f\n", row, r[ROUNDS / 2], r[0]);
	fflush(stdout);
	_exit(0);
}

static void supervise(const char *name, pid_t pid)
{
	int st = 0, ms = 0;
	// A sleep, not an alarm: a row may have its own ideas about signals.
	while (waitpid(pid, &st, WNOHANG) != pid) {
		if (ms >= TIMEOUT_MS) {
			kill(pid, SIGKILL);
			waitpid(pid, &st, 0);
			break;
		}
		usleep(50000);
		ms += 50;
	}
	if (WIFSIGNALED(st))
		printf("%-22s FAILED %s (signal %d)\n", name, ms >= TIMEOUT_MS ? "timed out" : "killed", WTERMSIG(st));
	fflush(stdout);
}

static int wanted(const char *name, int argc, char **argv)
{
	for (int k = 1; k < argc; k++)
		if (!strcmp(argv[k], name))
			return 1;
	return argc < 2;
}

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "--true"))
		return 0;
	if (argc > 1 && !strcmp(argv[1], "--hello"))
		return write(1, "hello\n", 6) != 6;
	if (readlink("/proc/self/exe", self, sizeof self - 1) <= 0)
		snprintf(self, sizeof self, "%s", argv[0]);
	int quick = argc > 1 && !strcmp(argv[1], "-q");
	argc -= quick, argv += quick;

	const char *base = getenv("BENCHDIR");
	snprintf(dir, sizeof dir, "%s/ub.XXXXXX", base ? base : "/tmp");
	if (!mkdtemp(dir))
		die("mkdtemp");
	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
		if (!wanted(rows[i].name, argc, argv))
			continue;
		pid_t pid = must_fork();
		if (pid == 0)
			measure(i, quick);
		supervise(rows[i].name, pid);
	}
	const char *left[] = {"f", "w"};
	for (int i = 0; i < 2; i++) {
		char p[128];
		snprintf(p, sizeof p, "%s/%s", dir, left[i]);
		unlink(p);
	}
	rmdir(dir);
	return 0;
}
