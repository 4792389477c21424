/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rpc SOCKET [-n REPLIES] [-t SECONDS] [-e] [-f FILE]…: speak to the control socket by hand. Sends standard input as it is,
 * any bytes at all, the given files' descriptors with the first of them; prints what comes back, until REPLIES lines
 * (default 1; 0: until the other side closes). With -e closes its sending side after the input.
 * Exit status 0; 1 when the other side closed or was silent before that.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define MAX_FDS 253

static int fds[MAX_FDS];
static size_t n_fds;

static int connect_to(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || strlen(path) >= sizeof(addr.sun_path))
		return -1;
	strcpy(addr.sun_path, path);
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

/* The fds ride on the first bytes and are then ours no longer. */
static ssize_t send_with_fds(int fd, const char *data, size_t len)
{
	char control[CMSG_SPACE(sizeof(fds))];
	struct iovec iov = { (void *)data, len };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *c;
	ssize_t n;

	if (!n_fds)
		return send(fd, data, len, MSG_NOSIGNAL);
	memset(control, 0, sizeof(control));
	m.msg_control = control;
	m.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
	c = CMSG_FIRSTHDR(&m);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
	memcpy(CMSG_DATA(c), fds, n_fds * sizeof(int));
	n = sendmsg(fd, &m, MSG_NOSIGNAL);
	if (n > 0)
		n_fds = 0;
	return n;
}

/* Sends the input and reads the replies at once: either side may be slow. */
static int talk(int fd, unsigned replies, int timeout_ms, bool half_close)
{
	static char in[65536], out[65536];
	size_t n_in = 0, at = 0;
	bool open_in = true;
	unsigned n = 0;

	while (replies == 0 || n < replies) {
		struct pollfd p[2] = { { .fd = fd, .events = POLLIN }, { .fd = -1, .events = POLLIN } };
		ssize_t got;

		if (at < n_in)
			p[0].events |= POLLOUT;
		else if (open_in)
			p[1].fd = 0;
		if (poll(p, 2, timeout_ms) <= 0)
			return 1;
		if (p[1].revents) {
			got = read(0, in, sizeof(in));
			at = 0;
			n_in = got > 0 ? (size_t)got : 0;
			open_in = got > 0;
			if (!open_in && half_close)
				shutdown(fd, SHUT_WR);
		}
		if (p[0].revents & POLLOUT) {
			got = send_with_fds(fd, in + at, n_in - at);
			if (got < 0)
				at = n_in, open_in = false;	/* closed on us: what it said is still to be read */
			else
				at += (size_t)got;
		}
		if (!(p[0].revents & (POLLIN | POLLHUP | POLLERR)))
			continue;
		got = recv(fd, out, sizeof(out), MSG_DONTWAIT);
		if (got < 0 && errno == EAGAIN)
			continue;
		if (got <= 0)
			return replies == 0 ? 0 : 1;
		for (ssize_t i = 0; i < got; i++)
			n += out[i] == '\n';
		fwrite(out, 1, (size_t)got, stdout);
		fflush(stdout);
	}
	return 0;
}

int main(int argc, char **argv)
{
	int opt, fd, timeout_ms = 20000;
	unsigned replies = 1;
	bool half_close = false;

	while ((opt = getopt(argc, argv, "n:t:f:e")) >= 0) {
		switch (opt) {
		case 'n':
			replies = (unsigned)atoi(optarg);
			break;
		case 't':
			timeout_ms = atoi(optarg) * 1000;
			break;
		case 'e':
			half_close = true;
			break;
		case 'f':
			if (n_fds == MAX_FDS || (fds[n_fds++] = open(optarg, O_RDONLY | O_CLOEXEC)) < 0) {
				perror(optarg);
				return 2;
			}
			break;
		default:
			return 2;
		}
	}
	if (optind + 1 != argc) {
		fprintf(stderr, "usage: rpc [-n REPLIES] [-t SECONDS] [-e] [-f FILE]... SOCKET\n");
		return 2;
	}
	fd = connect_to(argv[optind]);
	if (fd < 0) {
		perror(argv[optind]);
		return 1;
	}
	return talk(fd, replies, timeout_ms, half_close);
}
