/* SPDX-License-Identifier: Apache-2.0 */
#include "process.h"

#include <fcntl.h>
#include <inttypes.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>

#include "code.h"
#include "lease.h"
#include "live.h"
#include "vat.h"

#define MOUNT_WINDOW_NS		UINT64_C(60000000000)
#define MOUNT_MAX_DEATHS	10u	/* of capstan-fs in that time; then a pause */

enum { SEND_AGAIN = 1 };

static struct kernel *the_kernel;	/* the spawner's source has one owner in the process */
static struct lease_server lease = LEASE_SERVER_INIT;
static int on_spawner(struct loop_source *s, uint32_t events);
static struct loop_source source = LOOP_SOURCE_INIT(on_spawner);

/* fds are borrowed. SEND_AGAIN: the spawner has not read yet; EPOLLOUT will tell. */
static int send_request(struct kernel *k, const struct spawn_request *rq, const int *fds, size_t n_fds)
{
	union { struct cmsghdr h; char buf[CMSG_SPACE(sizeof(int) * (2 + SPAWN_MAX_FILES))]; } control = { 0 };
	struct iovec iov = { (void *)rq, sizeof(*rq) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t n;

	if (n_fds) {
		struct cmsghdr *c;

		msg.msg_control = &control;
		msg.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
		memcpy(CMSG_DATA(c), fds, sizeof(int) * n_fds);
	}
	do
		n = sendmsg(k->spawner_fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	if (n >= 0)
		return 0;
	if (errno != EAGAIN && errno != EWOULDBLOCK && errno != ENOBUFS && errno != ETOOMANYREFS)
		return error_origin(errno);
	n = loop_modify(&k->loop, &source, EPOLLIN | EPOLLOUT);
	return n < 0 ? (int)n : SEND_AGAIN;
}

/* argv (its first is the vat's name), then the names of the files; each with its NUL. */
static bool pack_text(struct spawn_request *rq, const struct vat *v)
{
	const struct config_vat *c = v->config;
	size_t i;

#define PUT(s)                                                                                                                   \
	do {                                                                                                                     \
		size_t len = strlen(s) + 1;                                                                                      \
		if (rq->text_len + len > SPAWN_TEXT)                                                                             \
			return false;                                                                                            \
		memcpy(rq->text + rq->text_len, s, len);                                                                         \
		rq->text_len += len;                                                                                             \
	} while (0)
	PUT(v->row.name);
	for (i = 0; i < c->n_args; i++)
		PUT(c->args[i]);
	for (i = 0; i < c->n_files; i++)
		PUT(c->files[i].name);
#undef PUT
	rq->n_args = 1 + c->n_args;
	rq->n_files = c->n_files;
	return true;
}

/* What the cluster says, else the operator, else 0: the spawner's default. */
static uint64_t limit_or_default(uint64_t v, uint64_t fallback)
{
	if (v != UINT64_MAX)
		return v;
	return fallback != UINT64_MAX ? fallback : 0;
}

/* The program and the companion files as fds; CODE_E_MISSING with the place in `why`. */
static int open_code(struct kernel *k, const struct vat *v, int *fds, size_t *n_fdsp, char *why, size_t size)
{
	const struct config_vat *c = v->config;
	size_t i;

	for (i = 0; i <= c->n_files; i++) {
		const char *text = i ? c->files[i - 1].path : c->program;
		uint8_t hash[CODE_HASH_LEN];
		int r = CODE_E_MISSING;

		if (!strncmp(text, "sha256:", 7) && code_unhex(text + 7, strlen(text) - 7, hash))
			r = code_open(k->code, hash, &fds[*n_fdsp]);
		if (r < 0)
			return error_trace(r);
		if (r > 0) {
			if (r == CODE_E_RESOURCES)
				snprintf(why, size, "its program cannot be loaded now: no descriptor or memory left, or memfds may not be executed");
			else
				snprintf(why, size, "%s is not in the code store", text);
			return r;
		}
		++*n_fdsp;
	}
	return 0;
}

static void close_all(const int *fds, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		close(fds[i]);
}

static int spawn(struct kernel *k, struct vat *v)
{
	struct spawn_request rq = {
		.op = SPAWN_VAT,
		.vat = v->number,
		.uid_offset = k->uid_base ? v->row.uid - k->uid_base : 0,
		.incarnation = v->row.incarnation,
		.runtime = v->config->host_runtime ? RUNTIME_HOST : RUNTIME_NONE,
		.limits = { .memory = limit_or_default(v->config->limits.memory, k->settings.limits.memory),
			    .n_procs = limit_or_default(v->config->limits.n_procs, k->settings.limits.n_procs),
			    .n_files = limit_or_default(v->config->limits.n_files, k->settings.limits.n_files) },
	};
	int pair[2], fds[2 + SPAWN_MAX_FILES], r;
	size_t n_fds = 1;
	char why[160];

	_Static_assert(CONFIG_MAX_FILES <= SPAWN_MAX_FILES, "what a cluster file may say must fit a request");
	if (!pack_text(&rq, v)) {
		snprintf(why, sizeof(why), "arguments and names of files exceed %u bytes", SPAWN_TEXT);
		return vat_spawn_failed(k, v, why);
	}
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
		snprintf(why, sizeof(why), "socketpair: %s", strerror(errno));
		return vat_spawn_failed(k, v, why);
	}
	fds[0] = pair[1];
	r = open_code(k, v, fds, &n_fds, why, sizeof(why));
	if (r == 0)
		r = send_request(k, &rq, fds, n_fds);
	else if (r > 0)
		r = vat_spawn_failed(k, v, why) < 0 ? -1 : SEND_AGAIN;
	close_all(fds, n_fds);
	if (r) {
		close(pair[0]);
		return r;
	}
	vat_set_proc(v, PROC_SPAWNING);
	return channel_open(&v->channel, &k->loop, pair[0], &vat_channel_ops);
}

static int kill_vat(struct kernel *k, struct vat *v)
{
	struct spawn_request rq = { .op = SPAWN_KILL, .vat = v->number, .incarnation = v->spawned_incarnation };
	int r = send_request(k, &rq, NULL, 0);

	if (r == 0)
		v->kill_wanted = false;
	return r;
}

int process_requests(struct kernel *k)
{
	struct vat *v, *tmp;
	bool again = false;
	int r;

	if (k->mount_wanted || (k->mount_retry_ns && k->mount_retry_ns <= now_monotonic_ns())) {
		r = process_mount(k);
		if (r < 0)
			return r;
	}
	if (!k->want_processes)
		return 0;
	HASH_ITER(hh, k->vats, v, tmp) {
		r = 0;
		if (v->kill_wanted)
			r = kill_vat(k, v);
		else if (v->proc == PROC_WANTED && !k->stopping) {
			v->spawned_incarnation = v->row.incarnation;
			r = spawn(k, v);
		}
		if (r < 0)
			return r;
		if (k->dirty_since_ns)	/* that one could not be started, which is to be committed before anything else leaves */
			return 0;
		again |= v->kill_wanted || v->proc == PROC_WANTED;
	}
	k->want_processes = again;
	return 0;
}

int process_simple(struct kernel *k, enum spawn_op op)
{
	struct spawn_request rq = { .op = op };
	int r = send_request(k, &rq, NULL, 0);

	return r < 0 ? r : 0;
}

/*
 * Anybody may read the clock of any process. A pid is given to another one only after ours was reaped: at worst a vat that has
 * just died is judged by somebody else's clock, which comes to nothing.
 */
int process_cpu_ns(int pid, uint64_t *nsp)
{
	struct timespec t;
	clockid_t clock;

	if (pid <= 0 || clock_getcpuclockid(pid, &clock) || clock_gettime(clock, &t) < 0)
		return PROCESS_E_UNKNOWN;
	*nsp = (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
	return 0;
}

/* Resident bytes; 0: that cannot be told. */
static uint64_t process_memory(int pid)
{
	char path[40], text[128];
	_cleanup_close_ int fd = -1;
	unsigned long resident = 0;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/statm", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (n <= 0)
		return 0;
	text[n] = '\0';
	if (sscanf(text, "%*u %lu", &resident) != 1)
		return 0;
	return (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void sample(struct kernel *k, struct vat *v)
{
	uint64_t cpu = 0;

	if (v->proc != PROC_ALIVE || v->row.pid <= 0)
		return;
	process_cpu_ns(v->row.pid, &cpu);
	live_sampled(k, v, process_memory(v->row.pid), cpu);
	if (crank_head(&v->crank))	/* it is at work: what it uses may grow without a word of it */
		live_note(k, v);
}

void process_sample(struct kernel *k)
{
	uint64_t now = k->round_ns;
	unsigned n = 0;
	struct vat *v;

	if (live_sample_timeout_ms(k, now))
		return;
	while (n++ < LIVE_SAMPLES && (v = live_next_sample(k, now)))
		sample(k, v);
	k->live->sample_ns = now + LIVE_PAUSE_MS * UINT64_C(1000000);
}

int process_sample_timeout_ms(const struct kernel *k)
{
	return live_sample_timeout_ms(k, k->round_ns);
}

/* --- the mount ---------------------------------------------------------------------------------------------------- */

int process_mount(struct kernel *k)
{
	struct spawn_request rq = { .op = SPAWN_MOUNT };
	int pair[2], data, event_fd, r;

	k->mount_wanted = false;
	k->mount_retry_ns = 0;
	if (k->no_mount || k->stopping)
		return 0;
	lease_server_deinit(&lease);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return error_origin(errno);
	data = store_data_fd(k->store);
	event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (data < 0 || event_fd < 0) {
		r = data < 0 ? data : -errno;
		close_all(pair, 2);
		close_all((int[]){ data, event_fd }, 2);
		return error_trace(r);
	}
	r = lease_server_init(&lease, &k->loop, k->store, &k->live->page->lease, k->settings.snapshot_ms, pair[0], event_fd);
	if (r >= 0)
		r = send_request(k, &rq, (int[]){ data, pair[1], k->live->fd, event_fd }, 4);
	close(data);
	close(pair[1]);
	k->mount_wanted = r == SEND_AGAIN;
	return r < 0 ? r : 0;
}

int process_lease_timeout_ms(void)
{
	return lease.fd >= 0 ? lease_server_deadline_ms(&lease) : -1;
}

void process_lease_expire(void)
{
	if (lease.fd >= 0)
		lease_server_expire(&lease);
}

void process_shown(struct kernel *k)
{
	if (lease.fd >= 0)
		lease_server_shown(&lease, k->live->page->n_shown);
}

/* --- events ------------------------------------------------------------------------------------------------------- */

/* capstan-fs runs, with or without a mount, or it does not: `why`, if not empty. Said once, for as long as it stays so. */
static void mount_is(struct kernel *k, bool mounted, const char *why)
{
	if (*why && strcmp(why, k->mount_error) && strcmp(why, SPAWN_NO_MOUNT))
		log_warn("no mount: %s", why);
	k->mounted = mounted;
	snprintf(k->mount_error, sizeof(k->mount_error), "%s", why);
}

static int on_fs_exited(struct kernel *k, const struct spawn_event *ev)
{
	uint64_t now = now_monotonic_ns();

	k->mounted = false;
	lease_server_deinit(&lease);
	if (k->stopping)
		return 0;
	log_warn("capstan-fs ended (status %d); starting another", ev->status);
	/* One that cannot live must not be started in a tight circle. */
	if (now - k->mount_window_ns > MOUNT_WINDOW_NS) {
		k->mount_window_ns = now;
		k->n_mounts = 0;
	}
	if (++k->n_mounts <= MOUNT_MAX_DEATHS)
		return process_mount(k);
	k->mount_retry_ns = k->mount_window_ns + MOUNT_WINDOW_NS;
	mount_is(k, false, "capstan-fs ended too often: the next is started within a minute");
	return 0;
}

int process_mount_timeout_ms(const struct kernel *k)
{
	uint64_t now = k->mount_retry_ns ? now_monotonic_ns() : 0;

	if (!k->mount_retry_ns)
		return -1;
	return k->mount_retry_ns <= now ? 0 : (int)((k->mount_retry_ns - now) / 1000000) + 1;
}

static int on_started(struct kernel *k, struct vat *v, const struct spawn_event *ev)
{
	int r = vat_started(k, v, ev->pid, ev->isolation);

	if (r >= 0)
		sample(k, v);
	return r;
}

static int on_event(struct kernel *k, const struct spawn_event *ev)
{
	struct vat *v = vat_find(k, ev->vat);

	/* Only what concerns the process we started last counts; there is at most one of a vat at a time. */
	if (v && ev->incarnation != v->spawned_incarnation)
		v = NULL;
	switch (ev->kind) {
	case SPAWN_STARTED:
		return v ? on_started(k, v, ev) : 0;
	case SPAWN_FAILED:
		return v ? vat_spawn_failed(k, v, ev->text) : 0;
	case SPAWN_EXITED:
		return v ? vat_exited(k, v, ev->status) : 0;
	case SPAWN_MOUNTED:
		mount_is(k, !ev->text[0], ev->text);
		return 0;
	case SPAWN_MOUNT_FAILED:
		mount_is(k, false, ev->text);
		return 0;
	case SPAWN_FS_EXITED:
		return on_fs_exited(k, ev);
	case SPAWN_STOP:
		k->stopping = true;
		return 0;
	default:
		return 0;
	}
}

static int on_spawner(struct loop_source *s, uint32_t events)
{
	struct kernel *k = the_kernel;
	struct spawn_event ev;
	ssize_t n;
	int r;

	if (events & EPOLLOUT) {
		k->want_processes = true;
		r = loop_modify(&k->loop, s, EPOLLIN);
		if (r < 0)
			return r;
	}
	if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		return 0;
	n = recv(s->fd, &ev, sizeof(ev), MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n != sizeof(ev)) {
		log_err("the spawner is gone");
		return error_origin(EPIPE);
	}
	ev.text[sizeof(ev.text) - 1] = '\0';
	return on_event(k, &ev);
}

int process_init(struct kernel *k, int spawner_fd)
{
	int r = live_new(&k->live);

	if (r < 0)
		return error_trace(r);
	the_kernel = k;
	k->spawner_fd = spawner_fd;
	return loop_add(&k->loop, &source, spawner_fd, EPOLLIN);
}

void process_deinit(struct kernel *k)
{
	lease_server_deinit(&lease);
	k->live = live_free(k->live);
	loop_remove(&k->loop, &source);
}
