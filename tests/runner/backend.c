/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The broker, as a process or in this one, and what the spawner would do for it: it asks for processes and gets descriptors.
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <linux/sockios.h>

#include "play.h"

#define UID_BASE	1879048192u	/* of no user; no process gets it, the store keeps it */
#define MAX_POLLED	300

/* --- start ------------------------------------------------------------------------------------------------------------ */

/* The descriptors of enum broker_fd, wherever ours are. */
static void arrange_fds(struct runner *r, int spawner)
{
	int from[4] = { spawner, r->listen_fd, r->store_fd, r->config_fd };
	size_t i;

	for (i = 0; i < 4; i++)
		from[i] = from[i] < 0 ? -1 : fcntl(from[i], F_DUPFD, 10);
	for (i = 0; i < 4; i++) {
		if (from[i] >= 0)
			dup2(from[i], BROKER_FD_SPAWNER + i);
		else
			close(BROKER_FD_SPAWNER + i);
	}
	close_range(BROKER_FD_CONFIG + 1, ~0U, 0);
}

static void exec_broker(struct runner *r, int spawner)
{
	char uid[32];
	const char *argv[16];
	size_t n = 0;
	int log;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	log = open(r->log, O_WRONLY | O_CREAT | O_APPEND, 0600);
	dup2(log, 2);
	dup2(log, 1);
	arrange_fds(r, spawner);
	snprintf(uid, sizeof(uid), "%u", UID_BASE);
	argv[n++] = "capstand";
	argv[n++] = "broker";
	argv[n++] = "--no-mount";
	argv[n++] = r->direct ? "--direct" : "--overlay";
	argv[n++] = "--uid-base";
	argv[n++] = uid;
	argv[n++] = "--run";
	argv[n++] = r->run;
	if (r->config_fd >= 0) {
		argv[n++] = "--config";
		argv[n++] = "config";
	}
	if (r->o->serial)
		argv[n++] = "--serial";
	argv[n] = NULL;
	execv(r->o->capstand, (char *const *)argv);
	fprintf(stderr, "%s: %s\n", r->o->capstand, strerror(errno));
	_exit(127);
}

static void open_in_process(struct runner *r, int spawner)
{
	struct broker_options o = { .serial = r->o->serial, .direct = r->direct, .no_mount = true, .uid_base = UID_BASE,
				    .run = r->run, .config = "config" };
	struct broker_fds fds = { .spawner = spawner, .control = fcntl(r->listen_fd, F_DUPFD_CLOEXEC, 10), .store_dir = r->store_fd,
				  .config = r->config_fd < 0 ? -1 : fcntl(r->config_fd, F_DUPFD_CLOEXEC, 10) };
	int e;

	r->kernel = calloc(1, sizeof(*r->kernel));
	e = broker_open(r->kernel, &fds, &o);
	if (e)
		runner_fail(r, "broker_open() says %d", e);
}

void backend_start(struct runner *r)
{
	int pair[2];

	if (r->up)
		runner_fail(r, "the broker is running already");
	runner_must(r, socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair));
	r->spawner = pair[0];
	r->over = false;
	r->up = true;
	if (r->o->backend == RUNNER_IN_PROCESS) {
		r->kernel_spawner = pair[1];
		open_in_process(r, pair[1]);
		return;
	}
	r->pid = fork();
	runner_must(r, r->pid);
	if (r->pid == 0)
		exec_broker(r, pair[1]);
	close(pair[1]);
}

/* --- end -------------------------------------------------------------------------------------------------------------- */

/* With the broker go the processes of its vats: the spawner ends them. */
static void forget_processes(struct runner *r)
{
	struct actor *a;

	for (a = r->actors; a; a = a->next)
		actor_forget(a);
	if (r->spawner >= 0)
		close(r->spawner);
	r->spawner = -1;
	r->up = r->paused = false;
}

static void close_in_process(struct runner *r)
{
	broker_close(r->kernel);
	free(r->kernel);
	r->kernel = NULL;
	close(TAKE_FD(r->kernel_spawner));
}

void backend_crash(struct runner *r)
{
	if (!r->up)
		runner_fail(r, "the broker is not running");
	if (r->kernel) {
		close_in_process(r);
	} else {
		kill(r->pid, SIGKILL);
		waitpid(r->pid, NULL, 0);
		r->pid = 0;
	}
	links_close(r);
	forget_processes(r);
}

void backend_pause(struct runner *r, bool paused)
{
	if (!r->up)
		runner_fail(r, "the broker is not running");
	if (r->pid > 0)
		kill(r->pid, paused ? SIGSTOP : SIGCONT);
	r->paused = paused;
}

static bool is_over(struct runner *r, void *arg)
{
	(void)arg;
	return r->over;
}

void backend_stop(struct runner *r)
{
	r->stopping = true;
	json_decref(link_call(r, "shutdown", json_object()));
	backend_await(r, is_over, NULL, "the broker ends after `shutdown`");
	r->stopping = false;
	if (r->kernel)
		close_in_process(r);
	links_close(r);
	forget_processes(r);
}

void backend_end_stop(struct runner *r)
{
	uint64_t begin = now_monotonic_ns();

	/* The request may have been lost, too. */
	while (r->up && r->stopping && !r->over && runner_is_patient(r, begin))
		backend_turn(r, 1);
	r->stopping = false;
	if (r->up && r->over)
		backend_crash(r);
}

void backend_drop(struct runner *r)
{
	if (r->pid > 0) {
		kill(r->pid, SIGKILL);
		waitpid(r->pid, NULL, 0);
		r->pid = 0;
	}
	if (r->kernel)
		close_in_process(r);
	links_close(r);
	forget_processes(r);
}

/* The process closed its end of the spawner's socket: it has ended, or is about to. */
static void process_ended(struct runner *r)
{
	int status = 0;

	waitpid(r->pid, &status, 0);
	r->pid = 0;
	r->over = true;
	if (!r->stopping || !WIFEXITED(status) || WEXITSTATUS(status))
		runner_fail(r, "L1: the broker ended by itself (%s %d)", WIFEXITED(status) ? "exit status" : "signal",
			    WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
}

/* --- the spawner ------------------------------------------------------------------------------------------------------ */

void backend_tell(struct runner *r, const struct spawn_event *ev)
{
	if (r->spawner < 0)
		runner_fail(r, "the broker is not running");
	r->n_events++;
	if (send(r->spawner, ev, sizeof(*ev), MSG_NOSIGNAL) < 0 && errno != EPIPE && errno != ECONNRESET)
		runner_fail(r, "the broker does not take an event: %s", strerror(errno));
}

static void carry_out(struct runner *r, const struct spawn_request *rq, int *fds, size_t n)
{
	size_t i;

	switch (rq->op) {
	case SPAWN_VAT:
		if (n < 2)
			runner_fail(r, "a process was asked for with %zu descriptors", n);
		actor_spawn(r, rq, TAKE_FD(fds[0]));
		break;
	case SPAWN_KILL:
		actor_kill(r, rq);
		break;
	case SPAWN_READY:
		break;
	default:
		runner_fail(r, "the spawner was asked for something strange: %u", rq->op);
	}
	for (i = 0; i < n; i++)
		if (fds[i] >= 0)
			close(fds[i]);
}

static bool read_request(struct runner *r)
{
	union { struct cmsghdr h; char buf[CMSG_SPACE(sizeof(int) * (2 + SPAWN_MAX_FILES))]; } control;
	struct spawn_request rq;
	struct iovec iov = { &rq, sizeof(rq) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control) };
	int fds[2 + SPAWN_MAX_FILES];
	struct cmsghdr *c;
	size_t n = 0;
	ssize_t len;

	if (r->spawner < 0)
		return false;
	len = recvmsg(r->spawner, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (len < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (len <= 0) {
		if (r->pid > 0)
			process_ended(r);
		return false;
	}
	c = CMSG_FIRSTHDR(&msg);
	if (c && c->cmsg_type == SCM_RIGHTS) {
		n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		memcpy(fds, CMSG_DATA(c), n * sizeof(int));
	}
	carry_out(r, &rq, fds, n);
	return true;
}

/* --- turns ------------------------------------------------------------------------------------------------------------ */

static void round_in_process(struct runner *r, int wait_ms)
{
	const struct runner_hooks *h = &r->o->hooks;
	uint64_t commits = store_n_commits(r->kernel->store);
	int e;

	if (h->before_round)
		h->before_round(h->ctx, r->kernel);
	e = broker_round(r->kernel, wait_ms, &r->over);
	if (h->after_round)
		h->after_round(h->ctx, r->kernel, e, store_n_commits(r->kernel->store) != commits);
	if (e >= 0)
		return;
	switch (h->died ? h->died(h->ctx, r->kernel, e) : RUNNER_DEATH_FAILS) {
	case RUNNER_DEATH_STOPS:
		r->stopped = true;
		longjmp(r->failed, 1);
	case RUNNER_DEATH_BOOTS:
		backend_crash(r);
		backend_start(r);
		return;
	case RUNNER_DEATH_FAILS:
		break;
	}
	runner_fail(r, "L1: the broker's round ended with %d (%s)", e, strerror(-e));
}

static void wait_for_input(struct runner *r, int wait_ms)
{
	struct pollfd p[MAX_POLLED];
	struct actor *a;
	struct link *l;
	size_t n = 0;

	p[n++] = (struct pollfd){ .fd = r->spawner, .events = POLLIN };
	for (a = r->actors; a && n < MAX_POLLED; a = a->next)
		if (a->fd >= 0 && !a->deaf)
			p[n++] = (struct pollfd){ .fd = a->fd, .events = POLLIN };
	for (l = r->links; l && n < MAX_POLLED; l = l->next)
		if (!l->ended)
			p[n++] = (struct pollfd){ .fd = l->fd, .events = POLLIN };
	poll(p, n, wait_ms);
}

bool backend_turn(struct runner *r, int wait_ms)
{
	bool any = false;
	struct actor *a;
	struct link *l;

	if (r->kernel && !r->over && !r->paused)
		round_in_process(r, wait_ms);
	else if (wait_ms)
		wait_for_input(r, wait_ms);
	while (read_request(r))
		any = true;
	for (a = r->actors; a; a = a->next)
		while (!a->deaf && actor_read(r, a))
			any = true;
	for (l = r->links; l; l = l->next)
		while (link_read(r, l))
			any = true;
	return any;
}

void backend_await(struct runner *r, backend_done done, void *arg, const char *what)
{
	uint64_t begin = now_monotonic_ns();

	backend_turn(r, 0);
	while (!done(r, arg)) {
		if (!runner_is_patient(r, begin))
			runner_fail(r, "this did not happen: %s", what);
		backend_turn(r, r->kernel ? 1 : 50);
	}
}

/* --- rest ------------------------------------------------------------------------------------------------------------- */

static bool is_taken(int fd)
{
	int n = 0;

	return fd < 0 || ioctl(fd, SIOCOUTQ, &n) < 0 || n == 0;
}

/* All that was said to the broker has been read by it. */
static bool all_taken(struct runner *r)
{
	struct actor *a;

	for (a = r->actors; a; a = a->next)
		if (!is_taken(a->fd))
			return false;
	return is_taken(r->spawner);
}

static bool seems_at_rest(const struct kernel *k)
{
	return kernel_is_quiet(k) && !k->more && !k->dirty_since_ns && !k->n_effects && !control_has_output(k->control);
}

static bool is_at_rest(struct runner *r)
{
	unsigned n_events = r->n_events;
	json_t *status;
	bool quiet;

	if (!all_taken(r))
		return false;
	if (r->kernel && r->o->peeks)
		return seems_at_rest(r->kernel) && !backend_turn(r, 0) && n_events == r->n_events && all_taken(r) &&
		       seems_at_rest(r->kernel);
	status = link_call(r, "getStatus", json_object());
	quiet = json_is_true(json_object_get(json_object_get(status, "result"), "quiet"));
	json_decref(status);
	/* What was asked of the spawner before the answer left has been answered to by now, and that may have moved things. */
	return quiet && !backend_turn(r, 0) && n_events == r->n_events && all_taken(r);
}

void backend_quiet(struct runner *r)
{
	uint64_t begin = now_monotonic_ns();

	if (!r->up)
		return;
	backend_turn(r, 0);
	while (!is_at_rest(r)) {
		if (!runner_is_patient(r, begin))
			runner_fail(r, "the kernel does not come to rest");
		backend_turn(r, 1);
	}
}
