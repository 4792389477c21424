/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Work with files, timed from inside one process.
 *
 *	files read PATH N	open, read to the end, close, N times; prints nanoseconds for one
 *	files plant DIR		makes below DIR what `find … -printf '%y\t%P\t%l\0'` tells on standard input, files empty
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clock.h"

static int failed(const char *what)
{
	fprintf(stderr, "files: %s: %s\n", what, strerror(errno));
	return 1;
}

static int read_once(const char *path)
{
	static char buf[1 << 17];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return failed(path);
	while ((n = read(fd, buf, sizeof(buf))) > 0)
		;
	close(fd);
	return n < 0 ? failed(path) : 0;
}

static int read_often(const char *path, long n)
{
	int64_t start = now_ns();

	for (long i = 0; i < n; i++)
		if (read_once(path))
			return 1;
	printf("%" PRId64 "\n", (now_ns() - start) / (n ? n : 1));
	return 0;
}

static int plant_one(int dir, char type, const char *path, const char *target)
{
	int fd;

	if (!*path)
		return 0;
	switch (type) {
	case 'd':
		return mkdirat(dir, path, 0755);
	case 'l':
		return symlinkat(target, dir, path);
	default:
		fd = openat(dir, path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
		return fd < 0 ? -1 : close(fd);
	}
}

static int plant(const char *path)
{
	int dir = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	char *line = NULL, *name, *target;
	size_t size = 0;

	if (dir < 0)
		return failed(path);
	while (getdelim(&line, &size, '\0', stdin) > 0) {
		name = strchr(line, '\t');
		target = name ? strchr(name + 1, '\t') : NULL;
		if (!target)
			continue;
		*target++ = '\0';
		if (plant_one(dir, *line, name + 1, target))
			return failed(name + 1);
	}
	free(line);
	close(dir);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 4 && !strcmp(argv[1], "read"))
		return read_often(argv[2], atol(argv[3]));
	if (argc == 3 && !strcmp(argv[1], "plant"))
		return plant(argv[2]);
	fputs("usage: files read PATH N | files plant DIR\n", stderr);
	return 2;
}
