// hungry memory: a child takes memory until it is killed for it; the parent lives. hungry file FILE: writes FILE until there is no
// room, removes it, and finds room again. hungry threads: makes threads until there are no more.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static int memory(void)
{
	pid_t pid = fork();
	if (pid == 0)
		for (;;) {
			char *m = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
			if (m == MAP_FAILED)
				_exit(5);
			memset(m, 1, 1 << 20);
		}
	int st;
	if (pid < 0 || waitpid(pid, &st, 0) != pid)
		return 1;
	printf("memory: signal %d, status %d\n", WIFSIGNALED(st) ? WTERMSIG(st) : 0, WIFEXITED(st) ? WEXITSTATUS(st) : 0);
	return 0;
}

static int file(const char *name)
{
	static char b[65536];
	memset(b, 7, sizeof b);
	int fd = open(name, O_CREAT | O_WRONLY, 0644);
	if (fd < 0)
		return 1;
	long n = 0, r;
	while ((r = write(fd, b, sizeof b)) > 0)
		n += r;
	printf("file: %s\n", strerror(errno));
	close(fd);
	if (n == 0 || unlink(name) || (fd = open(name, O_CREAT | O_WRONLY, 0644)) < 0)
		return 1;
	for (long i = 0; i < n / 2; i += r)
		if ((r = write(fd, b, sizeof b)) <= 0)
			return 1;
	return unlink(name) != 0;
}

static void *sleeper(void *arg)
{
	pause();
	return arg;
}

static int threads(void)
{
	pthread_attr_t attr;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 32768);
	pthread_t t;
	int n = 0, e = 0;
	while (n < 100000 && !(e = pthread_create(&t, &attr, sleeper, NULL)))
		n++;
	printf("threads: %s\n", strerror(e));
	return n < 100;
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc == 2 && !strcmp(argv[1], "memory"))
		return memory();
	if (argc == 3 && !strcmp(argv[1], "file"))
		return file(argv[2]);
	if (argc == 2 && !strcmp(argv[1], "threads"))
		return threads();
	return 2;
}
