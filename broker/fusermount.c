/* SPDX-License-Identifier: Apache-2.0 */
/* Running fusermount3: see fusermount.h. */
#include "fusermount.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "../lib/util.h"

#define HELPER	"fusermount3"	/* where it is installed differs: the caller's PATH finds it */
#define OPTIONS	"ro,nosuid,nodev,noexec,fsname=capstan,subtype=capstan,default_permissions"

/* What is heard of one run. */
struct run {
	pid_t pid;
	int comm_fd, error_fd;		/* our ends; -1 when they have ended */
	int fuse_fd;			/* what came, or -1 */
	char said[256];			/* the beginning of what it wrote to standard error */
	size_t n_said;
};

static _Noreturn void helper(char *const *argv, int comm_fd, int error_fd)
{
	char number[16];
	sigset_t none;

	signal(SIGPIPE, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	snprintf(number, sizeof(number), "%d", comm_fd);
	if (fcntl(comm_fd, F_SETFD, 0) || setenv("_FUSE_COMMFD", number, 1) || setenv("LC_ALL", "C", 1) ||
	    dup2(error_fd, STDOUT_FILENO) < 0 || dup2(error_fd, STDERR_FILENO) < 0)
		_exit(126);
	execvp(HELPER, argv);
	dprintf(STDERR_FILENO, "cannot run " HELPER ": %s\n", strerror(errno));
	_exit(127);
}

static int run_begin(struct run *u, char *const *argv)
{
	int comm[2], errors[2];

	*u = (struct run){ .comm_fd = -1, .error_fd = -1, .fuse_fd = -1 };
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, comm))
		return errno;
	if (pipe2(errors, O_CLOEXEC)) {
		close(comm[0]);
		close(comm[1]);
		return errno;
	}
	u->pid = fork();
	if (u->pid == 0)
		helper(argv, comm[1], errors[1]);
	close(comm[1]);
	close(errors[1]);
	u->comm_fd = comm[0];
	u->error_fd = errors[0];
	return u->pid < 0 ? errno : 0;
}

/* One byte, and with it the descriptor. */
static void hear_fd(struct run *u)
{
	union { char buf[CMSG_SPACE(sizeof(int))]; struct cmsghdr align; } control;
	char byte;
	struct iovec iov = { &byte, 1 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control) };
	struct cmsghdr *c;
	int fd;

	if (recvmsg(u->comm_fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) <= 0) {
		close(TAKE_FD(u->comm_fd));
		return;
	}
	c = CMSG_FIRSTHDR(&m);
	if (!c || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS || c->cmsg_len != CMSG_LEN(sizeof(int)))
		return;
	memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	closep(&u->fuse_fd);
	u->fuse_fd = fd;
}

static void hear_error(struct run *u)
{
	char buf[256];
	ssize_t n = read(u->error_fd, buf, sizeof(buf));
	size_t room = sizeof(u->said) - u->n_said;

	if (n <= 0) {
		close(TAKE_FD(u->error_fd));
		return;
	}
	memcpy(u->said + u->n_said, buf, (size_t)n < room ? (size_t)n : room);
	u->n_said += (size_t)n < room ? (size_t)n : room;
}

/* Until it has closed both. False: it takes too long. */
static bool run_hear(struct run *u)
{
	uint64_t end = now_monotonic_ns() + FUSERMOUNT_MS * UINT64_C(1000000);

	while (u->comm_fd >= 0 || u->error_fd >= 0) {
		struct pollfd fds[2] = { { .fd = u->comm_fd, .events = POLLIN }, { .fd = u->error_fd, .events = POLLIN } };
		uint64_t now = now_monotonic_ns();

		if (now >= end || (poll(fds, 2, (int)((end - now) / 1000000) + 1) < 0 && errno != EINTR))
			return false;
		if (fds[0].revents)
			hear_fd(u);
		if (fds[1].revents)
			hear_error(u);
	}
	return true;
}

/* Its first line, made harmless; and what it does not know itself. */
static void explain(const struct run *u, char *error, size_t size)
{
	const char *end = memchr(u->said, '\n', u->n_said);
	size_t n;

	if (!u->n_said) {
		snprintf(error, size, HELPER " failed without a word");
		return;
	}
	escape_bytes(error, size, u->said, end ? (size_t)(end - u->said) : u->n_said);
	n = strlen(error);
	if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1)
		snprintf(error + n, size - n, " (no_new_privs is set: no setuid program can help)");
}

/* 0: it has done its work. */
static int run_helper(char *const *argv, int *fdp, char *error, size_t error_size)
{
	struct run u;
	int e = run_begin(&u, argv), status = -1;
	bool done = !e && run_hear(&u);

	if (e)
		snprintf(error, error_size, "cannot run " HELPER ": %s", strerror(e));
	else if (!done)
		snprintf(error, error_size, HELPER " did not end within %u s", FUSERMOUNT_MS / 1000);
	if (!done && u.pid > 0)
		kill(u.pid, SIGKILL);	/* not waited for: it may hang where no signal reaches it */
	if (done && (waitpid(u.pid, &status, 0) != u.pid || status || (fdp && u.fuse_fd < 0))) {
		explain(&u, error, error_size);
		done = false;
	}
	closep(&u.comm_fd);
	closep(&u.error_fd);
	if (done && fdp)
		*fdp = TAKE_FD(u.fuse_fd);
	closep(&u.fuse_fd);
	return done ? 0 : FUSERMOUNT_E_FAILED;
}

int fusermount_attach(const char *path, bool others, int *fdp, char *error, size_t error_size)
{
	char *argv[] = { (char *)HELPER, (char *)"-o", (char *)(others ? OPTIONS ",allow_other" : OPTIONS), (char *)"--",
			 (char *)path, NULL };

	return run_helper(argv, fdp, error, error_size);
}

int fusermount_detach(const char *path)
{
	char *argv[] = { (char *)HELPER, (char *)"-u", (char *)"-q", (char *)"-z", (char *)"--", (char *)path, NULL };
	char error[200];
	int r = run_helper(argv, NULL, error, sizeof(error));

	if (r)
		log_debug("%s stays mounted: %s", path, error);
	return r;
}
