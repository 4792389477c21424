/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vat without a library, for tests of the spawner: it tells what its process looks like from inside (one text packet
 * on fd 3), then does what each packet asks. It does not speak the wire protocol. Called as capstan-fs it tells
 * what that program would find.
 *
 *	q exit(7)    f fork    o open /    w write a file    t thread    c companion fd 4
 *	x execveat of its program's fd number    X execve /bin/sh    s socket    m sendmsg    i ioctl    d dup above the limit
 *	k signal another process    K signal itself
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../../vatd/stage.h"

static char out[4096];

static void say(int fd, const char *text)
{
	if (write(fd, text, strlen(text)) < 0)
		exit(9);
}

static void say_result(const char *what, long r)
{
	snprintf(out, sizeof(out), "%s %s", what, r < 0 ? strerrorname_np(errno) : "ok");
	say(STAGE_CHANNEL_FD, out);
}

static void describe(int argc, char **argv)
{
	uid_t r, e, s;
	gid_t rg, eg, sg;
	size_t n = 0;

	getresuid(&r, &e, &s);
	getresgid(&rg, &eg, &sg);
	n += snprintf(out + n, sizeof(out) - n, "uid=%u,%u,%u gid=%u,%u,%u groups=%d pid=%d env=%s fds=", r, e, s, rg, eg, sg,
		      getgroups(0, NULL), getpid(), environ[0] ? environ[0] : "");
	for (int fd = 0; fd < 1024; fd++)
		if (fcntl(fd, F_GETFD) >= 0)
			n += snprintf(out + n, sizeof(out) - n, "%d,", fd);
	n += snprintf(out + n, sizeof(out) - n, " args=");
	for (int i = 0; i < argc; i++)
		n += snprintf(out + n, sizeof(out) - n, "%s,", argv[i]);
	say(STAGE_CHANNEL_FD, out);
}

static long try_sendmsg(void)
{
	struct iovec iov = { out, 1 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };

	return sendmsg(STAGE_CHANNEL_FD, &m, 0);
}

static long try_fork(void)
{
	long pid = fork();

	if (pid == 0)
		_exit(0);
	return pid;
}

static long try_thread(void)
{
	/* Refused by RLIMIT_NPROC before it could run on our stack. */
	return syscall(SYS_clone, CLONE_VM | CLONE_SIGHAND | CLONE_THREAD, 0, 0, 0, 0);
}

static void read_companion(void)
{
	ssize_t n = pread(4, out, sizeof(out) - 1, 0);

	out[n > 0 ? n : 0] = '\0';
	say(STAGE_CHANNEL_FD, out);
}

static void obey(char c)
{
	char *const argv[] = { (char *)"again", NULL };

	switch (c) {
	case 'q': exit(7);
	case 'f': say_result("fork", try_fork()); break;
	case 'o': say_result("open", open("/", O_RDONLY)); break;
	case 'w': say_result("write", open("/tmp", O_TMPFILE | O_RDWR, 0600)); break;
	case 't': say_result("thread", try_thread()); break;
	case 'c': read_companion(); break;
	case 'x': say_result("execveat", syscall(SYS_execveat, STAGE_PROGRAM_FD, "", argv, environ, AT_EMPTY_PATH)); break;
	case 'X': say_result("execve", execve("/bin/sh", argv, environ)); break;
	case 's': say_result("socket", socket(AF_INET, SOCK_DGRAM, 0)); break;
	case 'm': say_result("sendmsg", try_sendmsg()); break;
	case 'i': say_result("ioctl", ioctl(STAGE_CHANNEL_FD, 0x5401, out)); break;
	case 'd': say_result("dup", dup2(STAGE_CHANNEL_FD, STAGE_PROGRAM_FD)); break;
	case 'k': say_result("tgkill", syscall(SYS_tgkill, getpid() + 1, getpid() + 1, 0)); break;
	case 'K': say_result("tgkill", syscall(SYS_tgkill, getpid(), gettid(), 0)); break;
	default: say(STAGE_CHANNEL_FD, "?");
	}
}

/* The number behind --NAME-fd=; -1: it was not given. */
static int fd_option(int argc, char **argv, const char *name)
{
	char prefix[32];

	snprintf(prefix, sizeof(prefix), "--%s-fd=", name);
	for (int i = 1; i < argc; i++)
		if (!strncmp(argv[i], prefix, strlen(prefix)))
			return atoi(argv[i] + strlen(prefix));
	return -1;
}

static int open_again(int fd, int flags)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, flags) < 0 ? errno : 0;
}

static int as_fs(int argc, char **argv)
{
	static const char *const names[] = { "data", "lease", "page", "watch", "serve", "fuse" };
	int lease = fd_option(argc, argv, "lease"), data = fd_option(argc, argv, "data");
	struct rlimit files;
	size_t n;
	char c;

	getrlimit(RLIMIT_NOFILE, &files);
	n = snprintf(out, sizeof(out), "fs uid=%u gid=%u groups=%d read=%d write=%d files=%u fds=", getuid(), getgid(),
		     getgroups(0, NULL), open_again(data, O_RDONLY), open_again(data, O_RDWR), (unsigned)files.rlim_cur);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (fcntl(fd_option(argc, argv, names[i]), F_GETFD) >= 0)
			n += snprintf(out + n, sizeof(out) - n, "%s,", names[i]);
	for (int i = 1; i < argc; i++)
		if (!strstr(argv[i], "-fd="))
			n += snprintf(out + n, sizeof(out) - n, " %s", argv[i]);
	say(lease, out);
	while (read(lease, &c, 1) > 0)
		if (c == 'q')
			exit(5);
	return 0;
}

int main(int argc, char **argv)
{
	char c;

	if (argc && !strcmp(argv[0], "capstan-fs"))
		return as_fs(argc, argv);
	describe(argc, argv);
	while (recv(STAGE_CHANNEL_FD, &c, 1, 0) > 0)
		obey(c);
	return 0;
}
