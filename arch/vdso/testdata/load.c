// Loads the shared object named by its argument, puts an empty time page before it, and compares its clock with the host's.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <link.h>
#include <sys/mman.h>
#include <time.h>

int main(int argc, char **argv)
{
	void *h = dlopen(argv[1], RTLD_NOW);
	if (!h)
		return fprintf(stderr, "%s\n", dlerror()), 1;
	struct link_map *map = h;
	void *page = (void *)(map->l_addr - 4096);
	if (mmap(page, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) != page)
		return perror("mmap"), 1;
	const char *names[] = {"__vdso_clock_gettime", "clock_gettime"};
	for (int i = 0; i < 2; i++) {
		int (*get)(clockid_t, struct timespec *) = dlvsym(h, names[i], "LINUX_2.6");
		if (!get)
			return fprintf(stderr, "%s\n", dlerror()), 1;
		struct timespec a, b;
		clock_gettime(CLOCK_MONOTONIC, &a);
		if (get(CLOCK_MONOTONIC, &b) || b.tv_sec < a.tv_sec || b.tv_sec > a.tv_sec + 5)
			return fprintf(stderr, "%s: %ld, not %ld\n", names[i], b.tv_sec, a.tv_sec), 1;
	}
	return 0;
}
