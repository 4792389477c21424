/* SPDX-License-Identifier: Apache-2.0 */
/*
 * within SECONDS COMMAND [ARG…]: run a test program under a deadline and let nothing survive it.
 *
 * The command runs in a process group of its own and `within` is the subreaper of all that it starts, so that a
 * daemon which detached itself twice still comes home here. When the command ends, what it started must end too
 * (two seconds are allowed for what is already dying); what does not is named, killed, and is a failure. Exit
 * status: the command's own (128 + signal for a signal), 124 past the deadline, 125 when processes were left.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define GRACE_SECONDS 2.0

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* The parent of a process as /proc tells it; 0 when it is gone. *statep: its state letter. */
static pid_t parent_of(pid_t pid, char *statep)
{
	char path[64], text[512];
	ssize_t n;
	int fd, ppid = 0;
	char *end;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return 0;
	text[n] = '\0';
	end = strrchr(text, ')');	/* the name may hold anything, parentheses too */
	if (!end || sscanf(end + 1, " %c %d", statep, &ppid) != 2)
		return 0;
	return ppid;
}

static void name_process(pid_t pid)
{
	char path[64], text[256];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/cmdline", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);
	if (fd >= 0)
		close(fd);
	for (ssize_t i = 0; i < n; i++)
		if (!isprint((unsigned char)text[i]))
			text[i] = ' ';
	text[n < 0 ? 0 : n] = '\0';
	fprintf(stderr, "within: left behind: pid %d: %s\n", pid, text);
}

/* Kill every direct child; grandchildren then come to us, and the caller asks again. Returns how many there were. */
static unsigned kill_children(bool tell)
{
	unsigned n = 0;
	struct dirent *e;
	DIR *d = opendir("/proc");

	if (!d)
		return 0;
	while ((e = readdir(d))) {
		char state = '?';
		pid_t pid = atoi(e->d_name);

		if (pid <= 0 || parent_of(pid, &state) != getpid() || state == 'Z')
			continue;
		if (tell)
			name_process(pid);
		kill(pid, SIGKILL);
		n++;
	}
	closedir(d);
	return n;
}

/* Reap what has ended. Returns false when no child is left at all. */
static bool reap(pid_t command, int *statusp, bool *endedp)
{
	for (;;) {
		int status;
		pid_t pid = waitpid(-1, &status, WNOHANG);

		if (pid == 0)
			return true;
		if (pid < 0)
			return false;
		if (pid == command) {
			*statusp = status;
			*endedp = true;
		}
	}
}

/* Wait for a signal until `deadline`. Returns its number, or 0 when time is up. */
static int wait_signal(const sigset_t *set, double deadline)
{
	double left = deadline - now();
	struct timespec ts;
	int sig;

	if (left <= 0)
		return 0;
	ts.tv_sec = (time_t)left;
	ts.tv_nsec = (long)((left - (double)ts.tv_sec) * 1e9);
	sig = sigtimedwait(set, NULL, &ts);
	return sig < 0 ? 0 : sig;
}

static void kill_all(const sigset_t *set, bool tell)
{
	double deadline = now() + 10;
	bool ended = false;
	int status;

	while (reap(-1, &status, &ended)) {
		kill_children(tell);
		if (now() > deadline) {
			fprintf(stderr, "within: something cannot be killed\n");
			return;
		}
		wait_signal(set, now() + 0.1);
	}
}

static pid_t start(char **argv, const sigset_t *old)
{
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	setpgid(0, 0);
	sigprocmask(SIG_SETMASK, old, NULL);
	execvp(argv[0], argv);
	fprintf(stderr, "within: %s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

int main(int argc, char **argv)
{
	sigset_t set, old;
	int status = 0, sig = 0;
	bool ended = false, any = true;
	double deadline;
	pid_t command;

	if (argc < 3 || atof(argv[1]) <= 0) {
		fprintf(stderr, "usage: within SECONDS COMMAND [ARG...]\n");
		return 2;
	}
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, &old);
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	deadline = now() + atof(argv[1]);
	command = start(argv + 2, &old);
	if (command < 0) {
		perror("within: fork");
		return 2;
	}
	while (!ended && (sig == 0 || sig == SIGCHLD)) {
		sig = wait_signal(&set, deadline);
		any = reap(command, &status, &ended);
		if (!ended && sig == 0 && now() >= deadline)
			break;
	}
	if (!ended) {
		fprintf(stderr, "within: %s: %s\n", argv[2],
			sig && sig != SIGCHLD ? "stopped by a signal" : "past its deadline");
		kill(-command, SIGKILL);
		kill_all(&set, true);
		return 124;
	}
	for (deadline = now() + GRACE_SECONDS; any && now() < deadline; any = reap(command, &status, &ended))
		wait_signal(&set, deadline);
	if (any) {
		kill_all(&set, true);
		return 125;
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
