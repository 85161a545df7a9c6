// basics: fork, exec, threads, signals and copy-on-write, as any static C program uses them. It may be /init.
// Prints "ok NAME" for each part, and ends with status 42 if all of them were.
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int failures;

static void check(const char *name, int good)
{
	if (good)
		printf("ok %s\n", name);
	else {
		printf("FAILED %s (errno %d)\n", name, errno);
		failures++;
	}
	fflush(stdout);
}

static int status_of(pid_t pid)
{
	int st = -1;
	return waitpid(pid, &st, 0) == pid ? st : -1;
}

static void test_fork(void)
{
	pid_t pid = fork();
	if (pid == 0)
		_exit(getppid() > 0 ? 17 : 1);
	int st = status_of(pid);
	check("fork", WIFEXITED(st) && WEXITSTATUS(st) == 17);
	check("no-child", waitpid(-1, 0, 0) == -1 && errno == ECHILD);
}

static void test_exec(const char *self)
{
	pid_t pid = fork();
	if (pid == 0) {
		char *argv[] = {"basics", "--child", "two words", "", NULL}, *envp[] = {"COLOUR=green", NULL};
		execve(self, argv, envp);
		_exit(1);
	}
	int st = status_of(pid);
	check("exec", WIFEXITED(st) && WEXITSTATUS(st) == 23);
	check("exec-missing", execl("/no/such/program", "x", NULL) == -1 && errno == ENOENT);
}

static int child(int argc, char **argv)
{
	const char *colour = getenv("COLOUR");
	return argc == 4 && !strcmp(argv[2], "two words") && !*argv[3] && colour && !strcmp(colour, "green") ? 23 : 1;
}

enum { THREADS = 8, ROUNDS = 2000 };
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static int counter, turn;
static __thread int own;

static void *add(void *arg)
{
	for (int i = 0; i < ROUNDS; i++) {
		pthread_mutex_lock(&mutex);
		counter++;
		pthread_mutex_unlock(&mutex);
		own++;
	}
	return (void *)(long)own;
}

static void *answer(void *arg)
{
	pthread_mutex_lock(&mutex);
	for (int i = 0; i < 100; i++) {
		while (turn != 1)
			pthread_cond_wait(&cond, &mutex);
		turn = 0;
		pthread_cond_broadcast(&cond);
	}
	pthread_mutex_unlock(&mutex);
	return NULL;
}

static void test_threads(void)
{
	pthread_t t[THREADS];
	int good = 1;
	for (int i = 0; i < THREADS; i++)
		good &= !pthread_create(&t[i], NULL, add, NULL);
	for (int i = 0; i < THREADS; i++) {
		void *r;
		good &= !pthread_join(t[i], &r) && (long)r == ROUNDS;
	}
	check("threads", good && counter == THREADS * ROUNDS);

	good = !pthread_create(&t[0], NULL, answer, NULL);
	pthread_mutex_lock(&mutex);
	for (int i = 0; i < 100; i++) {
		turn = 1;
		pthread_cond_broadcast(&cond);
		while (turn != 0)
			pthread_cond_wait(&cond, &mutex);
	}
	pthread_mutex_unlock(&mutex);
	check("condition", good && !pthread_join(t[0], NULL));
}

static volatile sig_atomic_t seen;
static siginfo_t last;
static char altstack[65536];
static volatile int on_altstack;

static void handler(int sig, siginfo_t *info, void *uc)
{
	char here;
	seen++;
	last = *info;
	on_altstack = &here >= altstack && &here < altstack + sizeof altstack;
}

static char *page;

static void repair(int sig, siginfo_t *info, void *uc)
{
	if (info->si_addr == page + 123)
		mprotect(page, 4096, PROT_READ | PROT_WRITE);
	else
		_exit(3);
}

static void test_signals(void)
{
	struct sigaction sa = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_ONSTACK};
	stack_t ss = {.ss_sp = altstack, .ss_size = sizeof altstack};
	sigaltstack(&ss, NULL);
	sigaction(SIGUSR1, &sa, NULL);
	double before = 1.5;
	raise(SIGUSR1);
	check("signal", seen == 1 && last.si_signo == SIGUSR1 && on_altstack && before * 2 == 3);

	sigset_t set, old, pending;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, &old);
	union sigval v = {.sival_int = 4711};
	sigqueue(getpid(), SIGUSR1, v);
	sigpending(&pending);
	int held = seen == 1 && sigismember(&pending, SIGUSR1);
	sigprocmask(SIG_SETMASK, &old, NULL);
	check("signal-blocked", held && seen == 2 && last.si_value.sival_int == 4711 && last.si_code == SI_QUEUE);

	// A handler that repairs a fault, the classic of garbage collectors.
	page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct sigaction rep = {.sa_sigaction = repair, .sa_flags = SA_SIGINFO};
	sigaction(SIGSEGV, &rep, NULL);
	page[123] = 5;
	check("signal-segv", page[123] == 5);
	signal(SIGSEGV, SIG_DFL);

	pid_t pid = fork();
	if (pid == 0) {
		mprotect(page, 4096, PROT_NONE);
		page[0] = 1;
		_exit(0);
	}
	int st = status_of(pid);
	check("killed-by-segv", WIFSIGNALED(st) && WTERMSIG(st) == SIGSEGV);

	// A slow call is interrupted, and tells so.
	sigaction(SIGALRM, &sa, NULL);
	struct itimerval it = {.it_value = {.tv_usec = 20000}};
	setitimer(ITIMER_REAL, &it, NULL);
	struct timespec ts = {.tv_sec = 30}, rest = {0};
	int r = nanosleep(&ts, &rest);
	check("interrupted", r == -1 && errno == EINTR && rest.tv_sec >= 28 && last.si_signo == SIGALRM);

	pid = fork();
	if (pid == 0)
		for (;;)
			pause();
	kill(pid, SIGSTOP);
	int good = waitpid(pid, &st, WUNTRACED) == pid && WIFSTOPPED(st) && WSTOPSIG(st) == SIGSTOP;
	kill(pid, SIGCONT);
	good &= waitpid(pid, &st, WCONTINUED) == pid && WIFCONTINUED(st);
	kill(pid, SIGTERM);
	st = status_of(pid);
	check("stop-continue-kill", good && WIFSIGNALED(st) && WTERMSIG(st) == SIGTERM);
}

static void test_copy_on_write(void)
{
	enum { PAGES = 512 };
	char *m = mmap(NULL, PAGES * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	for (int i = 0; i < PAGES; i++)
		m[i * 4096] = i;
	pid_t pid = fork();
	if (pid == 0) {
		for (int i = 0; i < PAGES; i++) {
			if (m[i * 4096] != (char)i)
				_exit(1);
			m[i * 4096] = i + 1;
		}
		shared[0] = 99;
		pid_t grandchild = fork();
		if (grandchild == 0) {
			for (int i = 0; i < PAGES; i++)
				if (m[i * 4096] != (char)(i + 1))
					_exit(2);
			_exit(0);
		}
		_exit(status_of(grandchild) == 0 ? 0 : 3);
	}
	for (int i = 0; i < PAGES; i += 2)
		m[i * 4096] = 100;
	int st = status_of(pid), good = st == 0 && shared[0] == 99;
	for (int i = 0; i < PAGES; i++)
		good &= m[i * 4096] == (i % 2 ? (char)i : 100);
	check("copy-on-write", good);
	munmap(m, PAGES * 4096);
}

static void test_files(void)
{
	char text[64] = "";
	FILE *f = fopen("/tmp/basics", "w+");
	int good = f && fputs("seventeen bytes!\n", f) >= 0 && !fseek(f, 10, SEEK_SET) && fgets(text, sizeof text, f) && !strcmp(text, "bytes!\n");
	struct stat st;
	good = good && !fflush(f) && !stat("/tmp/basics", &st) && st.st_size == 17 && !unlink("/tmp/basics");
	if (f)
		fclose(f);
	check("files", good && access("/tmp/basics", F_OK) == -1 && errno == ENOENT);

	int p[2];
	good = !pipe(p);
	pid_t pid = fork();
	if (pid == 0) {
		dup2(p[1], 1);
		close(p[0]);
		close(p[1]);
		printf("through a pipe");
		fflush(stdout);
		_exit(0);
	}
	close(p[1]);
	good &= read(p[0], text, sizeof text) == 14 && !memcmp(text, "through a pipe", 14);
	good &= status_of(pid) == 0 && read(p[0], text, 1) == 0;
	check("pipe", good);
}

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "--child"))
		return child(argc, argv);
	mkdir("/tmp", 0777);
	test_fork();
	test_exec(argv[0]);
	test_threads();
	test_signals();
	test_copy_on_write();
	test_files();
	printf("%s\n", failures ? "basics: failed" : "basics: all good");
	fflush(stdout);
	return failures ? 1 : 42;
}
