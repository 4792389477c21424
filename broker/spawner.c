/* SPDX-License-Identifier: Apache-2.0 */
/* The spawner's table of requests, its children and its loop: see spawner.h. */
#include "spawner.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "../lib/util.h"
#include "uidblock.h"

#define MAX_FDS		(2 + SPAWN_MAX_FILES)
#define MAX_ARGS	256u
#define ORPHAN_ROUNDS	1000u	/* a process that forks faster than it can be killed does not hold up our end */
#define REQUIRED_SEALS	(F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK)

/* --- events to the broker ---------------------------------------------------------------------------------------- */

static int flush_events(struct spawner *s)
{
	size_t n = 0;
	int e = 0;

	while (n < s->n_events && !e)
		if (send(s->broker_fd, &s->events[n], sizeof(s->events[n]), MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
			e = errno;
		else
			n++;
	/* A full socket keeps the rest waiting. Any other error means that the broker is going: its exit clears all. */
	if (e && e != EAGAIN)
		n = s->n_events;
	memmove(s->events, s->events + n, (s->n_events - n) * sizeof(*s->events));
	s->n_events -= n;
	return 0;
}

static int post(struct spawner *s, const struct spawn_event *ev)
{
	struct spawn_event *grown;

	if (s->broker_fd < 0)
		return 0;
	if (s->n_events == s->events_size) {
		grown = realloc(s->events, (2 * s->events_size + 16) * sizeof(*grown));
		if (!grown)
			return error_origin(ENOMEM);
		s->events = grown;
		s->events_size = 2 * s->events_size + 16;
	}
	s->events[s->n_events++] = *ev;
	return flush_events(s);
}

/* The answer to a request that is not obeyed: a sentence. */
__attribute__((format(printf, 3, 4)))
static int refuse(struct spawner *s, const struct spawn_request *rq, const char *fmt, ...)
{
	struct spawn_event ev = { .kind = SPAWN_FAILED };
	va_list ap;

	if (rq && rq->op == SPAWN_MOUNT)
		ev.kind = SPAWN_MOUNT_FAILED;
	if (rq) {
		ev.vat = rq->vat;
		ev.incarnation = rq->incarnation;
	}
	va_start(ap, fmt);
	vsnprintf(ev.text, sizeof(ev.text), fmt, ap);
	va_end(ap);
	log_debug("refused: %s", ev.text);
	return post(s, &ev);
}

/* --- vats -------------------------------------------------------------------------------------------------------- */

static struct spawner_vat *vat_find(struct spawner *s, uint64_t vat)
{
	for (size_t i = 0; i < s->n_vats; i++)
		if (s->vats[i].vat == vat)
			return &s->vats[i];
	return NULL;
}

static struct spawner_vat *vat_find_uid(struct spawner *s, uint32_t uid_offset)
{
	for (size_t i = 0; i < s->n_vats; i++)
		if (s->vats[i].uid_offset == uid_offset)
			return &s->vats[i];
	return NULL;
}

static int vats_reserve(struct spawner *s)
{
	struct spawner_vat *grown;

	if (s->n_vats < s->vats_size)
		return 0;
	grown = realloc(s->vats, (2 * s->vats_size + 16) * sizeof(*grown));
	if (!grown)
		return error_origin(ENOMEM);
	s->vats = grown;
	s->vats_size = 2 * s->vats_size + 16;
	return 0;
}

/* Cut the request's text into its strings. False: it does not hold exactly n_args + n_files of them. */
static bool split_text(const struct spawn_request *rq, const char **strings)
{
	const char *p = rq->text, *end = rq->text + rq->text_len, *nul;

	for (size_t i = 0; i < (size_t)rq->n_args + rq->n_files; i++) {
		nul = memchr(p, '\0', end - p);
		if (!nul)
			return false;
		strings[i] = p;
		p = nul + 1;
	}
	return p == end;
}

static const char *check_channel(int fd)
{
	int domain, type;
	socklen_t len = sizeof(int);

	if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) || getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) ||
	    domain != AF_UNIX || type != SOCK_SEQPACKET)
		return "the channel is not a Unix seqpacket socket";
	return NULL;
}

static const char *check_program(int fd)
{
	struct stat st;
	int seals = fcntl(fd, F_GET_SEALS);

	if (fstat(fd, &st) || !S_ISREG(st.st_mode) || seals < 0)
		return "the program is not a memfd";
	if ((seals & REQUIRED_SEALS) != REQUIRED_SEALS)
		return "the program's memfd is not sealed against change";
	return NULL;
}

static const char *check_file(int fd)
{
	struct stat st;
	int flags = fcntl(fd, F_GETFL);

	if (fstat(fd, &st) || !S_ISREG(st.st_mode))
		return "a companion file is not a regular file";
	if (flags < 0 || (flags & O_ACCMODE) != O_RDONLY || (flags & O_PATH))
		return "a companion file is not open for reading only";
	return NULL;
}

static const char *check_fds(const struct spawn_request *rq, const int *fds, size_t n_fds)
{
	const char *error;

	if (n_fds != 2 + (size_t)rq->n_files)
		return "the number of file descriptors is not that of the files and two";
	error = check_channel(fds[0]);
	if (!error)
		error = check_program(fds[1]);
	for (size_t i = 2; i < n_fds && !error; i++)
		error = check_file(fds[i]);
	return error;
}

static bool is_file_name(const char *name)
{
	return *name && !strchr(name, '/') && strcmp(name, ".") && strcmp(name, "..");
}

static const char *check_text(const struct spawn_request *rq, const char **strings)
{
	if (rq->n_args < 1 || rq->n_args > MAX_ARGS)
		return "the number of arguments is out of range";
	if (rq->n_files > SPAWN_MAX_FILES)
		return "too many companion files";
	if (rq->text_len > SPAWN_TEXT || !split_text(rq, strings))
		return "the text does not hold the arguments and file names";
	for (size_t i = 0; i < rq->n_files; i++)
		if (!is_file_name(strings[rq->n_args + i]))
			return "a companion file's name is not one";
	return NULL;
}

/* Everything that a request for a vat may get wrong; NULL: nothing. */
static const char *check_vat(struct spawner *s, const struct spawn_request *rq, const int *fds, size_t n_fds,
			     const char **strings)
{
	const char *error;

	if (s->phase != SPAWNER_RUNNING)
		return "the kernel is stopping";
	if (rq->vat == 0)
		return "vat 0 does not exist";
	if (rq->zero || rq->runtime > RUNTIME_HOST)
		return "unknown runtime";
	if (rq->uid_offset >= UIDBLOCK_SIZE)
		return "the uid lies outside of this instance's block";
	if (rq->limits.n_files > STAGE_MAX_NOFILE ||
	    (rq->limits.n_files && rq->limits.n_files < STAGE_CHANNEL_FD + 1 + rq->n_files))
		return "the limit of open files is out of range (it counts fds 0 to 3 and the companion files; at most 500)";
	error = check_text(rq, strings);
	if (!error)
		error = check_fds(rq, fds, n_fds);
	if (error)
		return error;
	if (vat_find(s, rq->vat))
		return "the vat has a live process";
	/* Without root all run as one user, and the offset says nothing. */
	if (s->config->privileged && vat_find_uid(s, rq->uid_offset))
		return "the uid belongs to a live process";
	return NULL;
}

static struct jail_limits limits_of(const struct spawn_request *rq)
{
	bool host = rq->runtime == RUNTIME_HOST;

	return (struct jail_limits){
		.memory = rq->limits.memory ? rq->limits.memory : host ? SPAWNER_HOST_MEMORY : SPAWNER_DEFAULT_MEMORY,
		.n_procs = rq->limits.n_procs ? rq->limits.n_procs : host ? SPAWNER_HOST_PROCS : SPAWNER_DEFAULT_PROCS,
		.n_files = rq->limits.n_files ? rq->limits.n_files : SPAWNER_DEFAULT_FILES,
	};
}

static size_t vatd_argv(const struct spawner *s, const struct spawn_request *rq, const char **strings, char **argv)
{
	size_t n = 0;

	argv[n++] = (char *)"capstan-vatd";
	argv[n++] = (char *)(rq->runtime == RUNTIME_HOST ? "--runtime=host" : "--runtime=none");
	if (s->config->insecure_no_seccomp)
		argv[n++] = (char *)"--insecure-no-seccomp";
	argv[n++] = (char *)"--";
	for (size_t i = 0; i < rq->n_args; i++)
		argv[n++] = (char *)strings[i];
	argv[n] = NULL;
	return n;
}

static int vat_start(struct spawner *s, const struct spawn_request *rq, const char **strings, const int *fds)
{
	static char *const no_environment[] = { NULL };
	struct spawn_event ev = { .kind = SPAWN_STARTED, .vat = rq->vat, .incarnation = rq->incarnation };
	char *argv[MAX_ARGS + 5];
	int given[1 + SPAWN_MAX_FILES] = { fds[0] };
	struct jail_process p = {
		.exe_fd = s->config->vatd_fd, .argv = argv, .envp = no_environment,
		.fds = given, .n_fds = 1 + rq->n_files,
		.set_ids = s->config->privileged,
		.uid = s->config->uid_base + rq->uid_offset, .gid = s->config->uid_base + rq->uid_offset,
		.oom_score = "900",
		.program_fd = fds[1], .host_runtime = rq->runtime == RUNTIME_HOST,
		.file_names = strings + rq->n_args, .jail = s->config->jail,
		.limits = limits_of(rq),
	};
	struct stage_report report;
	pid_t pid;
	int r;

	for (size_t i = 0; i < rq->n_files; i++)
		given[1 + i] = fds[2 + i];
	vatd_argv(s, rq, strings, argv);
	r = vats_reserve(s);
	if (r)
		return error_trace(r);
	r = jail_start(&p, &pid, &report);
	if (r < 0)
		return error_trace(r);
	if (r)
		return refuse(s, rq, "%s", report.text);
	s->vats[s->n_vats++] = (struct spawner_vat){
		.vat = rq->vat, .incarnation = rq->incarnation, .uid_offset = rq->uid_offset, .pid = pid };
	ev.pid = pid;
	ev.isolation = report.isolation;
	return post(s, &ev);
}

static int handle_vat(struct spawner *s, const struct spawn_request *rq, int *fds, size_t n_fds)
{
	const char *strings[MAX_ARGS + SPAWN_MAX_FILES], *error;

	error = check_vat(s, rq, fds, n_fds, strings);
	if (error)
		return refuse(s, rq, "%s", error);
	return vat_start(s, rq, strings, fds);
}

/* A vat that is gone already, or lives in another incarnation, has crossed this request on its way: nothing to do. */
static int handle_kill(struct spawner *s, const struct spawn_request *rq, int *fds, size_t n_fds)
{
	struct spawner_vat *v = vat_find(s, rq->vat);

	(void)fds, (void)n_fds;
	/* We reap it ourselves, so the pid cannot have become another's. */
	if (v && v->incarnation == rq->incarnation)
		kill(v->pid, SIGKILL);
	return 0;
}

/* --- capstan-fs -------------------------------------------------------------------------------------------------- */

static void fs_end(struct spawner *s)
{
	if (s->fs_pid)
		kill(s->fs_pid, SIGKILL);
	if (s->mounted)
		fsmount_detach(&s->config->mount);
	s->mounted = false;
}

/* capstan-fs will map it: a page that can shrink would kill its reader. */
static const char *check_page(int fd)
{
	int seals = fcntl(fd, F_GET_SEALS);

	if (seals < 0 || !(seals & F_SEAL_SHRINK) || !(seals & (F_SEAL_FUTURE_WRITE | F_SEAL_WRITE)))
		return "the lease page is not a memfd sealed against shrinking and writing";
	return NULL;
}

/* Where capstan-fs finds what it is given; what there is not leaves a hole. */
enum fs_fd { FS_DATA, FS_LEASE, FS_PAGE, FS_WATCH, FS_SERVE, FS_FUSE, FS_N_FDS };
static const char *const fs_fd_names[FS_N_FDS] = { "data", "lease", "page", "watch", "serve", "fuse" };

#define FS_MAX_WORDS	(1 + FS_N_FDS + 5)	/* with its name, and one for each option of fs_command() */
struct fs_words { char text[FS_MAX_WORDS][96]; char *argv[FS_MAX_WORDS + 1]; size_t n; };

__attribute__((format(printf, 2, 3)))
static void fs_word(struct fs_words *w, const char *fmt, ...)
{
	va_list ap;
	int n;

	assert(w->n < FS_MAX_WORDS);
	va_start(ap, fmt);
	n = vsnprintf(w->text[w->n], sizeof(w->text[0]), fmt, ap);
	va_end(ap);
	assert(n > 0 && (size_t)n < sizeof(w->text[0]));
	w->argv[w->n] = w->text[w->n];
	w->argv[++w->n] = NULL;
}

static void fs_command(const struct spawner_config *c, const int *fds, struct fs_words *w)
{
	w->n = 0;
	fs_word(w, "capstan-fs");
	for (int i = 0; i < FS_N_FDS; i++)
		if (fds[i] >= 0)
			fs_word(w, "--%s-fd=%d", fs_fd_names[i], 3 + i);
	if (c->mount.world)
		fs_word(w, "--world");
	if (c->fs_hide && *c->fs_hide)
		fs_word(w, "--hide=%s", c->fs_hide);
	/* Of all instances: a vat of another kernel on this host is no less foreign. */
	fs_word(w, "--uid-block=%u-%u", UIDBLOCK_FIRST, UIDBLOCK_END - 1);
	if (!c->privileged) {
		fs_word(w, "--uid=%u", geteuid());
		fs_word(w, "--gid=%u", getegid());
	}
}

static const char *check_watch(int fd)
{
	char path[64], target[64];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	n = readlink(path, target, sizeof(target));
	if (n < 0 || (size_t)n != strlen("anon_inode:[eventfd]") || memcmp(target, "anon_inode:[eventfd]", (size_t)n))
		return "what is to tell of events is not an eventfd";
	return NULL;
}

static const char *check_mount(struct spawner *s, const int *fds, size_t n_fds)
{
	if (s->phase != SPAWNER_RUNNING)
		return "the kernel is stopping";
	if (s->fs_pid)
		return "it is mounted";
	if (s->config->fs_exe_fd < 0)
		return "capstan-fs is not installed beside capstand";
	if (check_file(fds[0]))
		return "data.mdb is not a regular file open for reading only";
	if (check_channel(fds[1]))
		return "the lease socket is not a Unix seqpacket socket";
	if (n_fds > 3 && check_watch(fds[3]))
		return check_watch(fds[3]);
	return check_page(fds[2]);
}

/* Everything is there: exec it. Positive: report->text says why not. */
static int fs_start(struct spawner *s, const int *fds, struct stage_report *report)
{
	const struct spawner_config *c = s->config;
	struct fs_words words;

	fs_command(c, fds, &words);
	return jail_start(&(struct jail_process){
		.exe_fd = c->fs_exe_fd, .argv = words.argv, .envp = c->service_env,
		.fds = fds, .n_fds = FS_N_FDS, .confined = true,
		.set_ids = c->privileged, .uid = c->fs_uid, .gid = c->fs_uid, .program_fd = -1,
	}, &s->fs_pid, report);
}

/* Where nothing can be mounted, for whatever reason, capstan-fs serves its socket all the same. */
static int handle_mount(struct spawner *s, const struct spawn_request *rq, int *fds, size_t n_fds)
{
	int given[FS_N_FDS] = { [FS_DATA] = fds[0], [FS_LEASE] = fds[1], [FS_PAGE] = fds[2],
				[FS_WATCH] = n_fds > 3 ? fds[3] : -1, [FS_SERVE] = s->config->fs_listen_fd, [FS_FUSE] = -1 };
	const char *error = check_mount(s, fds, n_fds);
	struct spawn_event ev = { .kind = SPAWN_MOUNTED };
	_cleanup_close_ int fuse_fd = -1;
	struct stage_report report;
	int r;

	if (error)
		return refuse(s, rq, "%s", error);
	if (s->config->no_mount)
		strcpy(ev.text, SPAWN_NO_MOUNT);
	else
		s->mounted = fsmount_attach(&s->config->mount, &fuse_fd, ev.text, sizeof(ev.text)) == 0;
	if (!s->mounted && s->config->fs_listen_fd < 0)
		return refuse(s, rq, "%s", ev.text);
	given[FS_FUSE] = fuse_fd;
	r = fs_start(s, given, &report);
	if (r)
		fs_end(s);
	if (r < 0)
		return error_trace(r);
	if (r)
		return refuse(s, rq, "%s", report.text);
	ev.pid = s->fs_pid;
	return post(s, &ev);
}

static int handle_unmount(struct spawner *s, const struct spawn_request *rq, int *fds, size_t n_fds)
{
	(void)rq, (void)fds, (void)n_fds;
	fs_end(s);
	return 0;
}

static int handle_ready(struct spawner *s, const struct spawn_request *rq, int *fds, size_t n_fds)
{
	(void)rq, (void)fds, (void)n_fds;
	if (!s->ready && s->config->on_ready)
		s->config->on_ready(s->config->ctx);
	s->ready = true;
	return 0;
}

/* --- the table of requests --------------------------------------------------------------------------------------- */

static const struct handler {
	uint32_t op;
	size_t min_fds, max_fds;
	int (*handle)(struct spawner *s, const struct spawn_request *rq, int *fds, size_t n_fds);
} handlers[] = {
	{ SPAWN_VAT, 2, MAX_FDS, handle_vat },
	{ SPAWN_KILL, 0, 0, handle_kill },
	{ SPAWN_MOUNT, 3, 4, handle_mount },
	{ SPAWN_UNMOUNT, 0, 0, handle_unmount },
	{ SPAWN_READY, 0, 0, handle_ready },
};

static int dispatch(struct spawner *s, const struct spawn_request *rq, int *fds, size_t n_fds)
{
	for (size_t i = 0; i < ARRAY_LEN(handlers); i++) {
		if (handlers[i].op != rq->op)
			continue;
		if (n_fds < handlers[i].min_fds || n_fds > handlers[i].max_fds)
			return refuse(s, rq, "wrong number of file descriptors");
		return handlers[i].handle(s, rq, fds, n_fds);
	}
	return refuse(s, rq, "unknown request");
}

static size_t received_fds(struct msghdr *m, int *fds)
{
	size_t n = 0, here;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		here = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		assert(n + here <= MAX_FDS);
		memcpy(fds + n, CMSG_DATA(c), here * sizeof(int));
		n += here;
	}
	return n;
}

/* The broker closed its end: it is exiting, or broken; without a process of ours to wait for, that is its exit. */
static void broker_hung_up(struct spawner *s);

static int read_request(struct spawner *s)
{
	static struct spawn_request rq;	/* 8 KiB, one at a time */
	union { char buf[CMSG_SPACE(MAX_FDS * sizeof(int))]; struct cmsghdr align; } control;
	struct iovec iov = { &rq, sizeof(rq) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control) };
	int fds[MAX_FDS], r;
	size_t n_fds;
	ssize_t n;

	n = recvmsg(s->broker_fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	/* An empty packet looks like the end of file, but may bring descriptors. */
	n_fds = n < 0 ? 0 : received_fds(&m, fds);
	if (n <= 0)
		broker_hung_up(s), r = 0;
	else if (n != sizeof(rq) || (m.msg_flags & (MSG_TRUNC | MSG_CTRUNC)))
		r = refuse(s, NULL, "a request of the wrong size");
	else
		r = dispatch(s, &rq, fds, n_fds);
	for (size_t i = 0; i < n_fds; i++)
		close(fds[i]);
	return r;
}

/* --- the broker's life ------------------------------------------------------------------------------------------- */

static int broker_begin(struct spawner *s)
{
	int r;

	s->phase = SPAWNER_RUNNING;
	s->broker_killed = false;
	r = s->config->start_broker(s->config->ctx, &s->broker_fd, &s->broker_pid);
	if (r)
		return error_trace(r);
	return 0;
}

static void drain(struct spawner *s, bool restart, int exit_status)
{
	s->phase = SPAWNER_DRAINING;
	s->restart = restart;
	s->exit_status = exit_status;
	closep(&s->broker_fd);
	s->broker_fd = -1;
	s->n_events = 0;
	for (size_t i = 0; i < s->n_vats; i++)
		kill(s->vats[i].pid, SIGKILL);
	fs_end(s);
}

/* True: too many deaths within the window. */
static bool count_death(struct spawner *s)
{
	uint64_t now = now_monotonic_ns(), oldest;
	unsigned max = s->config->max_broker_deaths;

	assert(max >= 1 && max <= SPAWNER_MAX_DEATHS);
	s->deaths_ns[s->n_deaths++ % max] = now;
	if (s->n_deaths < max)
		return false;
	oldest = s->deaths_ns[s->n_deaths % max];
	return now - oldest < SPAWNER_DEATH_WINDOW_S * 1000000000ull;
}

static void describe_status(int status, char *text, size_t size)
{
	if (WIFSIGNALED(status))
		snprintf(text, size, "was killed by signal %d", WTERMSIG(status));
	else
		snprintf(text, size, "exited with status %d", WEXITSTATUS(status));
}

static void broker_exited(struct spawner *s, int status)
{
	bool stopping = s->phase == SPAWNER_STOPPING;
	char text[64];

	s->broker_pid = 0;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return drain(s, false, 0);
	if (WIFEXITED(status) && WEXITSTATUS(status) == SPAWNER_EXIT_REFUSED)
		return drain(s, false, 1);
	describe_status(status, text, sizeof(text));
	if (stopping) {
		log_err("the broker %s while stopping", text);
		return drain(s, false, 1);
	}
	if (count_death(s)) {
		log_err("the broker %s; %u deaths in %u s, giving up", text, s->config->max_broker_deaths,
			SPAWNER_DEATH_WINDOW_S);
		return drain(s, false, 1);
	}
	log_warn("the broker %s; starting another", text);
	drain(s, true, 0);
}

static void broker_hung_up(struct spawner *s)
{
	if (s->broker_pid == 0)
		return drain(s, false, 0);
	/* A broker that closed its socket can do nothing more; if it is already exiting, this comes too late to matter. */
	closep(&s->broker_fd);
	s->broker_fd = -1;
	s->n_events = 0;
	if (s->stop_deadline_ns == 0)
		s->stop_deadline_ns = now_monotonic_ns() + SPAWNER_STOP_MS * 1000000ull;
}

static int begin_stop(struct spawner *s)
{
	if (s->config->on_stopping && s->phase != SPAWNER_STOPPING)
		s->config->on_stopping(s->config->ctx);
	if (s->phase == SPAWNER_DRAINING)
		s->restart = false;
	if (s->phase != SPAWNER_RUNNING)
		return 0;
	s->phase = SPAWNER_STOPPING;
	s->stop_deadline_ns = now_monotonic_ns() + SPAWNER_STOP_MS * 1000000ull;
	return post(s, &(struct spawn_event){ .kind = SPAWN_STOP });
}

static void check_deadline(struct spawner *s)
{
	if (!s->stop_deadline_ns || now_monotonic_ns() < s->stop_deadline_ns || !s->broker_pid)
		return;
	if (!s->broker_killed) {
		log_warn("the broker did not leave within %u s: killed", SPAWNER_STOP_MS / 1000);
		kill(s->broker_pid, SIGKILL);
		s->broker_killed = true;
		s->stop_deadline_ns = now_monotonic_ns() + SPAWNER_KILL_MS * 1000000ull;
		return;
	}
	/* A thread that copies a client's file from a FUSE server that hangs does not die before that answers. */
	log_err("the broker (pid %d) hangs in the kernel and is left behind", s->broker_pid);
	s->broker_pid = 0;
	drain(s, false, 1);
}

/* --- orphans ----------------------------------------------------------------------------------------------------- */

/*
 * A vat's pid namespace takes with it what the vat started. Where there is none (not as root, or the host refuses), and
 * for what a broker in wrong hands started, we are the reaper: it becomes our child when its parent ends, and is killed
 * unless it is in the session of a vat that lives. One that made its own session is killed all the sooner.
 */
static bool is_ours(const struct spawner *s, pid_t pid)
{
	pid_t session;

	if (pid == s->broker_pid || pid == s->fs_pid)
		return true;
	for (size_t i = 0; i < s->n_vats; i++)
		if (s->vats[i].pid == pid)
			return true;
	session = getsid(pid);
	for (size_t i = 0; i < s->n_vats; i++)
		if (s->vats[i].pid == session)
			return true;
	return false;
}

/* Returns how many. */
static size_t kill_orphans(const struct spawner *s)
{
	_cleanup_(fclosep) FILE *f = fopen("/proc/thread-self/children", "re");
	size_t n = 0;
	pid_t pid;

	while (f && fscanf(f, "%d", &pid) == 1)
		if (!is_ours(s, pid)) {
			kill(pid, SIGKILL);	/* our child until we reap it, so this is still it */
			n++;
		}
	return n;
}

/* When nothing else is left: each death may bring its own children to us. One that hangs in the kernel is left. */
static void end_orphans(const struct spawner *s)
{
	const struct timespec patience = { .tv_sec = 1 };
	sigset_t child;

	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	for (unsigned i = 0; i < ORPHAN_ROUNDS && kill_orphans(s); i++)
		if (waitpid(-1, NULL, WNOHANG) == 0 && sigtimedwait(&child, NULL, &patience) < 0 && errno == EAGAIN)
			return;
}

/* --- children that ended ----------------------------------------------------------------------------------------- */

static int vat_exited(struct spawner *s, struct spawner_vat *v, int status)
{
	struct spawn_event ev = {
		.kind = SPAWN_EXITED, .vat = v->vat, .incarnation = v->incarnation, .pid = v->pid, .status = status };

	*v = s->vats[--s->n_vats];
	return post(s, &ev);
}

static int fs_exited(struct spawner *s, int status)
{
	struct spawn_event ev = { .kind = SPAWN_FS_EXITED, .pid = s->fs_pid, .status = status };

	s->fs_pid = 0;
	fs_end(s);
	return post(s, &ev);
}

static void fs_stopped(struct spawner *s)
{
	log_warn("capstan-fs was stopped: it is ended, so that its readers do not wait for it");
	fs_end(s);
}

static int reap(struct spawner *s)
{
	int status, r = 0;
	pid_t pid;

	/* Vats and broker may be stopped and go on: whoever waits for them has a deadline, or is one who stopped them. */
	while (!r && (pid = waitpid(-1, &status, WNOHANG | WUNTRACED)) > 0) {
		if (WIFSTOPPED(status)) {
			if (pid == s->fs_pid)
				fs_stopped(s);
		} else if (pid == s->broker_pid) {
			broker_exited(s, status);
		} else if (pid == s->fs_pid) {
			r = fs_exited(s, status);
		} else {
			for (size_t i = 0; i < s->n_vats; i++)
				if (s->vats[i].pid == pid) {
					r = vat_exited(s, &s->vats[i], status);
					break;
				}
		}
	}
	kill_orphans(s);
	return r;
}

static int read_signals(struct spawner *s)
{
	struct signalfd_siginfo info;
	int r = 0;

	while (!r && read(s->signal_fd, &info, sizeof(info)) == sizeof(info))
		r = info.ssi_signo == SIGCHLD ? reap(s) : begin_stop(s);
	return r;
}

/* --- the loop ---------------------------------------------------------------------------------------------------- */

int spawner_init(struct spawner *s, const struct spawner_config *config, int broker_fd)
{
	sigset_t set;

	*s = (struct spawner){ .config = config, .signal_fd = -1, .broker_fd = broker_fd };
	assert((broker_fd >= 0) == !config->start_broker);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGCHLD);
	if (sigprocmask(SIG_BLOCK, &set, NULL))
		return error_origin(errno);
	if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))
		return error_origin(errno);
	s->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (s->signal_fd < 0)
		return error_origin(errno);
	return 0;
}

static int timeout_ms(const struct spawner *s)
{
	uint64_t now = now_monotonic_ns();

	if (!s->stop_deadline_ns || !s->broker_pid)
		return -1;
	return s->stop_deadline_ns <= now ? 0 : (int)((s->stop_deadline_ns - now) / 1000000) + 1;
}

static int round_of_loop(struct spawner *s)
{
	struct pollfd fds[2] = {
		{ .fd = s->signal_fd, .events = POLLIN },
		{ .fd = s->broker_fd, .events = s->n_events ? POLLOUT : POLLIN },
	};
	int r = 0;

	if (poll(fds, 2, timeout_ms(s)) < 0)
		return errno == EINTR ? 0 : error_origin(errno);
	/* The broker's requests before its death: nothing that it asked for is started after it was buried. */
	if (fds[1].revents & POLLOUT)
		r = flush_events(s);
	else if (fds[1].revents)
		r = read_request(s);
	if (!r && fds[0].revents)
		r = read_signals(s);
	check_deadline(s);
	return r;
}

static bool drained(const struct spawner *s)
{
	return s->phase == SPAWNER_DRAINING && !s->n_vats && !s->fs_pid && !s->broker_pid;
}

int spawner_run(struct spawner *s)
{
	int r;

	/* What an instance left that was killed: until it is gone every look at RUN/fs is an error. */
	fsmount_detach(&s->config->mount);
	r = s->config->start_broker ? broker_begin(s) : 0;

	while (!r) {
		r = round_of_loop(s);
		if (r || !drained(s))
			continue;
		end_orphans(s);
		if (!s->restart)
			return s->exit_status;
		s->stop_deadline_ns = 0;
		r = broker_begin(s);
	}
	return error_trace(r);
}

void spawner_deinit(struct spawner *s)
{
	for (size_t i = 0; i < s->n_vats; i++)
		kill(s->vats[i].pid, SIGKILL);
	if (s->broker_pid)
		kill(s->broker_pid, SIGKILL);
	fs_end(s);
	for (size_t i = 0; i < s->n_vats; i++)
		waitpid(s->vats[i].pid, NULL, 0);
	if (s->broker_pid)
		waitpid(s->broker_pid, NULL, 0);
	if (s->fs_pid)
		waitpid(s->fs_pid, NULL, 0);
	s->broker_pid = s->fs_pid = 0;
	s->n_vats = 0;
	if (s->config)
		end_orphans(s);
	closep(&s->broker_fd);
	closep(&s->signal_fd);
	free(s->vats);
	free(s->events);
	*s = (struct spawner){ .signal_fd = -1, .broker_fd = -1 };
}
