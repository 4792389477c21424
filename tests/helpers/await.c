/* SPDX-License-Identifier: Apache-2.0 */
/*
 * await: wait for an event of another process, with a deadline, without sleeping in a loop.
 *
 *	await exit SECONDS PID…		until all of them have ended
 *	await notify SECONDS PATH	until somebody sends READY=1 to the datagram socket that it makes (sd_notify)
 *
 * Exit status 0, or 1 past the deadline.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static int left_ms(const struct timespec *end)
{
	struct timespec ts;
	long long ms;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	ms = (end->tv_sec - ts.tv_sec) * 1000ll + (end->tv_nsec - ts.tv_nsec) / 1000000;
	return ms < 0 ? 0 : (int)ms;
}

static int await_exit(pid_t pid, const struct timespec *end)
{
	struct pollfd p = { .events = POLLIN };
	int r;

	p.fd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (p.fd < 0)
		return errno == ESRCH ? 0 : 1;
	do
		r = poll(&p, 1, left_ms(end));
	while (r < 0 && errno == EINTR);
	close(p.fd);
	if (r == 1)
		return 0;
	fprintf(stderr, "await: pid %d still runs\n", pid);
	return 1;
}

static int await_notify(const char *path, const struct timespec *end)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct pollfd p = { .events = POLLIN };
	char text[4096];

	p.fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (p.fd < 0 || strlen(path) >= sizeof(addr.sun_path))
		return 1;
	strcpy(addr.sun_path, path);
	if (bind(p.fd, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
		perror(path);
		return 1;
	}
	while (poll(&p, 1, left_ms(end)) == 1) {
		ssize_t n = recv(p.fd, text, sizeof(text) - 1, 0);

		text[n < 0 ? 0 : n] = '\0';
		puts(text);
		if (strstr(text, "READY=1"))
			return 0;
	}
	fprintf(stderr, "await: nobody said READY=1\n");
	return 1;
}

int main(int argc, char **argv)
{
	struct timespec end;
	int r = 0;

	if (argc < 4) {
		fprintf(stderr, "usage: await exit SECONDS PID... | await notify SECONDS PATH\n");
		return 2;
	}
	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec += atoi(argv[2]);
	for (int i = 3; i < argc; i++)
		r |= strcmp(argv[1], "exit") ? await_notify(argv[i], &end) : await_exit(atoi(argv[i]), &end);
	return r;
}
