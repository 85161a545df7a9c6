// spin N: N threads that compute and make no system call, until something kills them. Prints "spinning" first.
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

static void *spin(void *arg)
{
	volatile unsigned long x = 88172645463325252UL;
	for (;;) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
	}
	return NULL;
}

int main(int argc, char **argv)
{
	int n = argc > 1 ? atoi(argv[1]) : 1;
	pthread_t t;
	for (int i = 1; i < n; i++)
		if (pthread_create(&t, NULL, spin, NULL))
			return 1;
	puts("spinning");
	fflush(stdout);
	spin(NULL);
}
