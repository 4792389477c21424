/* SPDX-License-Identifier: Apache-2.0 */
/*
 * relay ROUNDS DEPTH: the floor under `make bench`, one message a packet. Three processes over SOCK_SEQPACKET pairs, 128-byte messages:
 * A sends DEPTH of them, K (an epoll loop that only copies) hands each to B, B echoes, K brings them back;
 * when all are back A sends the next DEPTH. Prints the nanoseconds of ROUNDS such rounds.
 */
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <signal.h>
#include <unistd.h>

#include "clock.h"

#define MESSAGE 128

static void die(const char *what)
{
	perror(what);
	_exit(1);
}

static void echo(int fd)
{
	char m[MESSAGE];
	ssize_t n;

	while ((n = recv(fd, m, sizeof(m), 0)) > 0)
		if (send(fd, m, (size_t)n, MSG_NOSIGNAL) != n)
			break;
	_exit(0);
}

/* One direction of the relay: a message that the other side could not take yet is kept, and reading stops meanwhile. */
struct side { int fd; bool held; char message[MESSAGE]; };

static void watch(int ep, int op, const struct side *s, const struct side *other, uint32_t index)
{
	struct epoll_event e = { .data.u32 = index };

	e.events = (s->held ? 0 : EPOLLIN) | (other->held ? EPOLLOUT : 0);
	if (epoll_ctl(ep, op, s->fd, &e) < 0)
		die("relay: epoll_ctl");
}

/* Returns whether what is watched has changed. */
static bool copy(struct side *from, struct side *to)
{
	if (!from->held) {
		ssize_t n = recv(from->fd, from->message, MESSAGE, MSG_DONTWAIT);

		if (n < 0 && errno == EAGAIN)
			return false;
		if (n != MESSAGE)
			_exit(0);	/* the end */
	}
	if (send(to->fd, from->message, MESSAGE, MSG_DONTWAIT | MSG_NOSIGNAL) == MESSAGE) {
		bool was = from->held;

		from->held = false;
		return was;
	}
	if (errno != EAGAIN)
		_exit(0);
	if (from->held)
		return false;
	from->held = true;
	return true;
}

static void relay(int a, int b)
{
	static struct side side[2];
	struct epoll_event ready[2];
	int ep = epoll_create1(EPOLL_CLOEXEC), n;

	side[0].fd = a;
	side[1].fd = b;
	watch(ep, EPOLL_CTL_ADD, &side[0], &side[1], 0);
	watch(ep, EPOLL_CTL_ADD, &side[1], &side[0], 1);
	while ((n = epoll_wait(ep, ready, 2, -1)) > 0) {
		bool changed = false;

		for (int i = 0; i < n; i++) {
			struct side *s = &side[ready[i].data.u32], *other = &side[!ready[i].data.u32];

			if (ready[i].events & (EPOLLIN | EPOLLHUP))
				changed |= copy(s, other);
			if (ready[i].events & EPOLLOUT)
				changed |= copy(other, s);
		}
		if (changed) {
			watch(ep, EPOLL_CTL_MOD, &side[0], &side[1], 0);
			watch(ep, EPOLL_CTL_MOD, &side[1], &side[0], 1);
		}
	}
	_exit(0);
}

/* Sends as long as it can, reads when it cannot: so nobody waits for one who waits. */
static void one_round(int fd, long depth)
{
	char m[MESSAGE] = { 0 };
	long sent = 0, back = 0;

	while (back < depth) {
		if (sent < depth && send(fd, m, sizeof(m), MSG_DONTWAIT | MSG_NOSIGNAL) == MESSAGE) {
			sent++;
			continue;
		}
		if (sent < depth) {
			struct pollfd p = { .fd = fd, .events = POLLIN | POLLOUT };

			if (poll(&p, 1, -1) < 0)
				die("relay: poll");
			if (!(p.revents & POLLIN))
				continue;
		}
		if (recv(fd, m, sizeof(m), 0) != MESSAGE)
			die("relay: recv");
		back++;
	}
}

static pid_t start(void (*run)(int, int), int a, int b, const int all[4])
{
	pid_t pid = fork();

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (int i = 0; i < 4; i++)
		if (all[i] != a && all[i] != b)
			close(all[i]);
	run(a, b);
	_exit(0);
}

static void run_echo(int a, int b)
{
	(void)b;
	echo(a);
}

int main(int argc, char **argv)
{
	int p[4];
	int64_t began;
	long rounds, depth;

	if (argc != 3 || (rounds = atol(argv[1])) < 1 || (depth = atol(argv[2])) < 1) {
		fprintf(stderr, "usage: relay ROUNDS DEPTH\n");
		return 2;
	}
	if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, p) < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET, 0, p + 2) < 0)
		die("relay: socketpair");
	if (start(run_echo, p[3], p[3], p) < 0 || start(relay, p[1], p[2], p) < 0)
		die("relay: fork");
	close(p[1]);
	close(p[2]);
	close(p[3]);
	one_round(p[0], depth);		/* all three run */
	began = now_ns();
	for (long i = 0; i < rounds; i++)
		one_round(p[0], depth);
	printf("%lld\n", (long long)(now_ns() - began));
	close(p[0]);
	while (wait(NULL) > 0)
		;
	return 0;
}
