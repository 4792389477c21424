/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bare start N		starts a bare static process N times, waits for its first byte each; prints the nanoseconds of each
 * bare together N	starts N at once, waits for a byte of every one; prints the nanoseconds of all
 * bare idle N		starts N, prints their pids, holds them until standard input ends
 *
 * The floor under `make bench` for what a vat costs as a process: no jail, no kernel, nothing but a static program
 * with a socket on fd 3, which says one byte and waits.
 */
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"

extern char **environ;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

struct process { pid_t pid; int fd; };

static struct process start(void)
{
	char name[] = "bare", what[] = "process", *argv[] = { name, what, NULL };
	posix_spawn_file_actions_t actions;
	struct process p;
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		die("bare: socketpair");
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, pair[1], 3);
	if (posix_spawn(&p.pid, "/proc/self/exe", &actions, NULL, argv, environ))
		die("bare: posix_spawn");
	posix_spawn_file_actions_destroy(&actions);
	close(pair[1]);
	p.fd = pair[0];
	return p;
}

static void hear(struct process p)
{
	char byte;

	if (read(p.fd, &byte, 1) != 1)
		die("bare: a process said nothing");
}

/* It ends when its socket does. */
static void end(struct process p)
{
	close(p.fd);
	waitpid(p.pid, NULL, 0);
}

static int be_process(void)
{
	char byte = 0;

	return write(3, &byte, 1) == 1 && read(3, &byte, 1) == 0 ? 0 : 1;
}

static void start_each(long n)
{
	for (long i = 0; i < n; i++) {
		int64_t began = now_ns();
		struct process p = start();

		hear(p);
		printf("%lld\n", (long long)(now_ns() - began));
		end(p);
	}
}

static void start_all(long n, const char *mode)
{
	struct process *all = calloc((size_t)n, sizeof(*all));
	int64_t began = now_ns();
	char byte;

	if (!all)
		die("bare");
	for (long i = 0; i < n; i++)
		all[i] = start();
	for (long i = 0; i < n; i++)
		hear(all[i]);
	if (!strcmp(mode, "together")) {
		printf("%lld\n", (long long)(now_ns() - began));
	} else {
		for (long i = 0; i < n; i++)
			printf("%d\n", (int)all[i].pid);
		fflush(stdout);
		while (read(0, &byte, 1) > 0)
			;
	}
	for (long i = 0; i < n; i++)
		end(all[i]);
	free(all);
}

int main(int argc, char **argv)
{
	long n = argc == 3 ? atol(argv[2]) : 0;

	if (argc == 2 && !strcmp(argv[1], "process"))
		return be_process();
	if (n < 1 || n > 500) {
		fprintf(stderr, "usage: bare start|together|idle N\n");
		return 2;
	}
	if (!strcmp(argv[1], "start"))
		start_each(n);
	else
		start_all(n, argv[1]);
	return 0;
}
