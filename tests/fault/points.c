/* SPDX-License-Identifier: Apache-2.0 */
#include "points.h"

#include <execinfo.h>
#include <fcntl.h>
#include <inttypes.h>
#include <lmdb.h>
#include <pthread.h>
#include <stdarg.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "../../broker/broker.h"
#include "../../broker/spawn.h"
#include "../runner/play.h"

const char *const fault_names[FAULT_N] = {
	[FAULT_STORE] = "store", [FAULT_LATE] = "late", [FAULT_DISK] = "disk", [FAULT_MEMORY] = "memory",
	[FAULT_BUSY] = "busy", [FAULT_GONE] = "gone", [FAULT_LIMIT] = "limit", [FAULT_START] = "start",
};

_Thread_local bool points_armed;
struct record *points;
bool points_traced;
const struct kernel *points_kernel;
static uint64_t ticks;

static void show_where(void)
{
	void *at[20];

	if (points_traced)
		backtrace_symbols_fd(at, backtrace(at, ARRAY_LEN(at)), STDERR_FILENO);
}

bool point_fails(enum fault f)
{
	if (!points_armed)
		return false;
	points->n_points[f]++;
	if (points->fired || points->fail != f || points->n_points[f] != points->at)
		return false;
	points->fired = true;
	points_armed = false;
	show_where();
	points_armed = true;
	return true;
}

void points_problem(const char *fmt, ...)
{
	va_list ap;

	if (points->problem[0])
		return;
	va_start(ap, fmt);
	vsnprintf(points->problem, sizeof(points->problem), fmt, ap);
	va_end(ap);
}

/* --- what can be seen ------------------------------------------------------------------------------------------------- */

static struct event *new_event(char kind)
{
	if (points->n_events == MAX_EVENTS) {
		points->overflow = true;
		return NULL;
	}
	points->events[points->n_events] = (struct event){ .kind = kind };
	return &points->events[points->n_events++];
}

/* --- ids of aborted cranks: never given out again, so nothing may name them */

static struct { uint64_t object, promise; } before;
static struct { uint64_t first_object, end_object, first_promise, end_promise; } aborted[64];
static size_t n_aborted;

static bool was_aborted(char kind, uint64_t n)
{
	size_t i;

	for (i = 0; i < n_aborted; i++)
		if (kind == 'o' ? n >= aborted[i].first_object && n < aborted[i].end_object :
				  n >= aborted[i].first_promise && n < aborted[i].end_promise)
			return true;
	return false;
}

/* Every ko12 or kp7 in the bytes. */
static void look_for_aborted(const char *where, const char *data, size_t len)
{
	const char *p = data, *end = data + len;

	while (n_aborted && p < end && (p = memchr(p, 'k', end - p))) {
		uint64_t n = 0;
		const char *digit = p + 2;

		for (; digit < end && *digit >= '0' && *digit <= '9' && n < 1000000000; digit++)
			n = n * 10 + (*digit - '0');
		if (digit > p + 2 && (p[1] == 'o' || p[1] == 'p') && was_aborted(p[1], n))
			points_problem("%s names k%c%" PRIu64 ", which only an aborted crank knew", where, p[1], n);
		p++;
	}
}

/* Promises as numbers, at any place: their high bit tells them from everything else. */
static void look_for_aborted_promise(const char *where, const uint8_t *data, size_t len)
{
	size_t i;

	for (i = 0; n_aborted && i + 8 <= len; i++) {
		uint64_t big = get_be64(data + i), little;

		memcpy(&little, data + i, 8);
		if ((big & ~REF_NUMBER_MASK) == REF_PROMISE && was_aborted('p', big & REF_NUMBER_MASK))
			points_problem("%s: a key names kp%" PRIu64 ", which only an aborted crank knew", where, big & REF_NUMBER_MASK);
		if ((little & ~REF_NUMBER_MASK) == REF_PROMISE && was_aborted('p', little & REF_NUMBER_MASK))
			points_problem("%s: a row names kp%" PRIu64 ", which only an aborted crank knew", where, little & REF_NUMBER_MASK);
	}
}

int __real_kernel_savepoint(struct kernel *k);
int __wrap_kernel_savepoint(struct kernel *k);
int __wrap_kernel_savepoint(struct kernel *k)
{
	before.object = k->next_object;
	before.promise = k->next_promise;
	return __real_kernel_savepoint(k);
}

int __real_kernel_rollback(struct kernel *k);
int __wrap_kernel_rollback(struct kernel *k);
int __wrap_kernel_rollback(struct kernel *k)
{
	bool any = k->next_object > before.object || k->next_promise > before.promise;

	if (any && n_aborted < ARRAY_LEN(aborted)) {
		aborted[n_aborted].first_object = before.object;
		aborted[n_aborted].end_object = k->next_object;
		aborted[n_aborted].first_promise = before.promise;
		aborted[n_aborted++].end_promise = k->next_promise;
	}
	return __real_kernel_rollback(k);
}

/* --- things that leave */

static void note_output(char kind, const void *data, size_t len)
{
	struct event *e;

	/* The answer to `getStatus` has times in it, and the runner asks as often as it likes. */
	if (kind == 'R' && memmem(data, len, "\"quiet\":", 8))
		return;
	look_for_aborted("what was said outside", data, len);
	/* What could not be sent at once has been released before. */
	if (points_kernel && points_kernel->dirty_since_ns && !(points->fired && points->fail == FAULT_BUSY))
		points_problem("this left before its cause was committed: %c %.*s", kind, (int)(len < 300 ? len : 300), (const char *)data);
	e = new_event(kind);
	if (!e || points->text_len + len > MAX_TEXT) {
		points->overflow = true;
		return;
	}
	e->at = points->text_len;
	e->len = len;
	memcpy(points->text + e->at, data, len);
	points->text_len += len;
}

static void note_reply(int fd, const void *data, ssize_t n)
{
	int type = 0;
	socklen_t len = sizeof(type);

	if (points_armed && n > 0 && !getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) && type == SOCK_STREAM)
		note_output('R', data, n);
}

static void note_request(const struct msghdr *m, ssize_t n)
{
	const struct spawn_request *rq = m->msg_iov[0].iov_base;
	char text[100];

	if (!points_armed || n != sizeof(*rq))
		return;
	snprintf(text, sizeof(text), "request %u v%" PRIu64 " incarnation %u", rq->op, rq->vat, rq->incarnation);
	note_output('P', text, strlen(text));
}

/* --- commits */

int points_hash(struct check_source *s, uint32_t tables[T_N])
{
	int t, r = 0;

	for (t = 0; t < T_N; t++) {
		uint8_t at[KEY_MAX];
		const void *key, *val;
		size_t at_len = 0, len, i;
		uint32_t h = 2166136261u;	/* FNV-1a */

		while ((r = s->next(s->ctx, t, at_len ? at : NULL, at_len, !at_len, &key, &at_len, &val, &len)) == 0) {
			memcpy(at, key, at_len);
			for (i = 0; i < at_len; i++)
				h = (h ^ at[i]) * 16777619u;
			for (i = 0; i < len; i++)
				h = (h ^ ((const uint8_t *)val)[i]) * 16777619u;
			h = (h ^ 0xff) * 16777619u;
			look_for_aborted(table_names[t], val, len);
			look_for_aborted_promise(table_names[t], val, len);
			look_for_aborted_promise(table_names[t], at, at_len);
		}
		if (r < 0)
			return r;
		tables[t] = h;
	}
	return 0;
}

int __real_store_get(struct store *s, enum table t, const void *key, size_t key_len, const void **valp, size_t *lenp);
int __real_store_next(struct store *s, enum table t, const void *key, size_t key_len, bool or_equal, const void **keyp,
		      size_t *key_lenp, const void **valp, size_t *lenp);
static int live_get(void *ctx, enum table t, const void *key, size_t key_len, const void **valp, size_t *lenp)
{
	return __real_store_get(ctx, t, key, key_len, valp, lenp);
}
static int live_next(void *ctx, enum table t, const void *key, size_t key_len, bool or_equal, const void **keyp,
		     size_t *key_lenp, const void **valp, size_t *lenp)
{
	return __real_store_next(ctx, t, key, key_len, or_equal, keyp, key_lenp, valp, lenp);
}

static void report(void *ctx, const char *line)
{
	(void)ctx;
	points_problem("C6, at a commit: %s", line);
}

/* Before the fault this is the run without one, whose counts have been looked at already. */
static void note_commit(struct store *s)
{
	struct check_source src = { .ctx = s, .get = live_get, .next = live_next };
	struct event *e = new_event('C');
	size_t n;

	if (!e || points_hash(&src, e->tables) < 0 || ((points->fired || !points->at) && check_store(&src, report, NULL, &n)))
		points_problem("the store cannot be read after a commit");
}

/* --- the store --------------------------------------------------------------------------------------------------------- */

#define STORE_CALL(name, params, args)                                                                                          \
	int __real_##name params;                                                                                               \
	int __wrap_##name params;                                                                                               \
	int __wrap_##name params { return point_fails(FAULT_STORE) ? -EIO : __real_##name args; }

STORE_CALL(store_get, (struct store *s, enum table t, const void *key, size_t key_len, const void **valp, size_t *lenp),
	   (s, t, key, key_len, valp, lenp))
STORE_CALL(store_put, (struct store *s, enum table t, const void *key, size_t key_len, const void *val, size_t len),
	   (s, t, key, key_len, val, len))
STORE_CALL(store_del, (struct store *s, enum table t, const void *key, size_t key_len), (s, t, key, key_len))
STORE_CALL(store_next, (struct store *s, enum table t, const void *key, size_t key_len, bool or_equal, const void **keyp,
			size_t *key_lenp, const void **valp, size_t *lenp),
	   (s, t, key, key_len, or_equal, keyp, key_lenp, valp, lenp))
STORE_CALL(store_next_of, (struct store *s, enum table t, const void *key, size_t key_len, size_t prefix, bool or_equal,
			   const void **keyp, size_t *key_lenp, const void **valp, size_t *lenp),
	   (s, t, key, key_len, prefix, or_equal, keyp, key_lenp, valp, lenp))
STORE_CALL(store_savepoint, (struct store *s), (s))
STORE_CALL(store_release, (struct store *s), (s))
STORE_CALL(store_rollback, (struct store *s), (s))

int __real_store_commit(struct store *s);
int __wrap_store_commit(struct store *s);
int __wrap_store_commit(struct store *s)
{
	uint64_t n = store_n_commits(s);
	bool armed = points_armed;
	int r;

	if (point_fails(FAULT_STORE))
		return -EIO;
	r = __real_store_commit(s);
	if (r < 0 || !points || store_n_commits(s) == n)
		return r;
	points_armed = false;
	note_commit(s);
	points_armed = armed;
	return point_fails(FAULT_LATE) ? -EIO : r;
}

/* --- LMDB, and what it writes with --------------------------------------------------------------------------------------- */

#define LMDB_CALL(name, params, args)                                                                                           \
	int __real_##name params;                                                                                               \
	int __wrap_##name params;                                                                                               \
	int __wrap_##name params { return point_fails(FAULT_DISK) ? ENOSPC : __real_##name args; }

LMDB_CALL(mdb_txn_begin, (MDB_env *env, MDB_txn *parent, unsigned flags, MDB_txn **out), (env, parent, flags, out))
LMDB_CALL(mdb_txn_renew, (MDB_txn *txn), (txn))
LMDB_CALL(mdb_put, (MDB_txn *txn, MDB_dbi dbi, MDB_val *key, MDB_val *val, unsigned flags), (txn, dbi, key, val, flags))
LMDB_CALL(mdb_del, (MDB_txn *txn, MDB_dbi dbi, MDB_val *key, MDB_val *val), (txn, dbi, key, val))
LMDB_CALL(mdb_get, (MDB_txn *txn, MDB_dbi dbi, MDB_val *key, MDB_val *val), (txn, dbi, key, val))
LMDB_CALL(mdb_cursor_open, (MDB_txn *txn, MDB_dbi dbi, MDB_cursor **out), (txn, dbi, out))
LMDB_CALL(mdb_cursor_renew, (MDB_txn *txn, MDB_cursor *c), (txn, c))
LMDB_CALL(mdb_cursor_get, (MDB_cursor *c, MDB_val *key, MDB_val *val, MDB_cursor_op op), (c, key, val, op))

/* A commit that fails has ended its transaction. */
int __real_mdb_txn_commit(MDB_txn *txn);
int __wrap_mdb_txn_commit(MDB_txn *txn);
int __wrap_mdb_txn_commit(MDB_txn *txn)
{
	if (!point_fails(FAULT_DISK))
		return __real_mdb_txn_commit(txn);
	mdb_txn_abort(txn);
	return ENOSPC;
}

static bool disk_is_full(void)
{
	bool full = point_fails(FAULT_DISK);

	if (full)
		errno = ENOSPC;
	return full;
}

ssize_t pwrite(int fd, const void *data, size_t n, off_t at)
{
	return disk_is_full() ? -1 : syscall(SYS_pwrite64, fd, data, n, at);
}

ssize_t writev(int fd, const struct iovec *v, int n)
{
	return disk_is_full() ? -1 : syscall(SYS_writev, fd, v, n);
}

int fdatasync(int fd)
{
	return disk_is_full() ? -1 : (int)syscall(SYS_fdatasync, fd);
}

/* --- memory ------------------------------------------------------------------------------------------------------------------ */

void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);

static bool memory_is_out(void)
{
	bool out = point_fails(FAULT_MEMORY);

	if (out)
		errno = ENOMEM;
	return out;
}

void *malloc(size_t n) { return memory_is_out() ? NULL : __libc_malloc(n); }
void *calloc(size_t n, size_t size) { return memory_is_out() ? NULL : __libc_calloc(n, size); }
void *realloc(void *p, size_t n) { return memory_is_out() ? NULL : __libc_realloc(p, n); }

/* --- sending --------------------------------------------------------------------------------------------------------------- */

/* Who gets EPIPE will read the end, too. */
static bool cannot_send(int fd)
{
	if (point_fails(FAULT_BUSY)) {
		errno = points->at % 2 ? EAGAIN : ENOBUFS;
		return true;
	}
	if (point_fails(FAULT_GONE)) {
		shutdown(fd, SHUT_RDWR);
		errno = EPIPE;
		return true;
	}
	return false;
}

ssize_t __real_send(int fd, const void *data, size_t n, int flags);
ssize_t __wrap_send(int fd, const void *data, size_t n, int flags);
ssize_t __wrap_send(int fd, const void *data, size_t n, int flags)
{
	ssize_t sent = cannot_send(fd) ? -1 : __real_send(fd, data, n, flags);
	int e = errno;

	note_reply(fd, data, sent);
	errno = e;
	return sent;
}

ssize_t __real_sendmsg(int fd, const struct msghdr *m, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *m, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *m, int flags)
{
	ssize_t sent = cannot_send(fd) ? -1 : __real_sendmsg(fd, m, flags);
	int e = errno;

	note_request(m, sent);
	errno = e;
	return sent;
}

/* The log. */
ssize_t __real_write(int fd, const void *data, size_t n);
ssize_t __wrap_write(int fd, const void *data, size_t n);
ssize_t __wrap_write(int fd, const void *data, size_t n)
{
	if (points_armed && fd == STDERR_FILENO && memmem(data, n, "console: ", 9))
		note_output('L', data, n);
	return __real_write(fd, data, n);
}

/* --- descriptors and threads ------------------------------------------------------------------------------------------------ */

static bool is_used_up(int e)
{
	bool used_up = point_fails(FAULT_LIMIT);

	if (used_up)
		errno = e;
	return used_up;
}

#define LIMIT_CALL(name, e, params, args)                                                                                       \
	int __real_##name params;                                                                                               \
	int __wrap_##name params;                                                                                               \
	int __wrap_##name params { return is_used_up(e) ? -1 : __real_##name args; }

LIMIT_CALL(socketpair, EMFILE, (int domain, int type, int protocol, int pair[2]), (domain, type, protocol, pair))
LIMIT_CALL(memfd_create, EMFILE, (const char *name, unsigned flags), (name, flags))
LIMIT_CALL(accept4, EMFILE, (int fd, struct sockaddr *addr, socklen_t *len, int flags), (fd, addr, len, flags))
LIMIT_CALL(eventfd, EMFILE, (unsigned n, int flags), (n, flags))
LIMIT_CALL(epoll_create1, EMFILE, (int flags), (flags))
LIMIT_CALL(open, EMFILE, (const char *path, int flags, mode_t mode), (path, flags, mode))
LIMIT_CALL(openat, EMFILE, (int dir, const char *path, int flags, mode_t mode), (dir, path, flags, mode))

/* Only what registers a descriptor can lack anything. */
int __real_epoll_ctl(int epoll, int op, int fd, struct epoll_event *e);
int __wrap_epoll_ctl(int epoll, int op, int fd, struct epoll_event *e);
int __wrap_epoll_ctl(int epoll, int op, int fd, struct epoll_event *e)
{
	return op == EPOLL_CTL_ADD && is_used_up(ENOSPC) ? -1 : __real_epoll_ctl(epoll, op, fd, e);
}

/* Those of code.c, which copy programs: something is awaited from them. */
struct work { void *(*fn)(void *); void *arg; };
static unsigned n_working;

static void *work(void *arg)
{
	struct work w = *(struct work *)arg;
	void *out;

	free(arg);
	out = w.fn(w.arg);
	__atomic_sub_fetch(&n_working, 1, __ATOMIC_SEQ_CST);
	return out;
}

int __real_pthread_create(pthread_t *t, const pthread_attr_t *a, void *(*fn)(void *), void *arg);
int __wrap_pthread_create(pthread_t *t, const pthread_attr_t *a, void *(*fn)(void *), void *arg);
int __wrap_pthread_create(pthread_t *t, const pthread_attr_t *a, void *(*fn)(void *), void *arg)
{
	struct work *w;
	int e;

	if (is_used_up(EAGAIN))
		return EAGAIN;
	if (!arg)	/* control.c's, which closes descriptors and never ends */
		return __real_pthread_create(t, a, fn, arg);
	w = __libc_malloc(sizeof(*w));
	*w = (struct work){ fn, arg };
	__atomic_add_fetch(&n_working, 1, __ATOMIC_SEQ_CST);
	e = __real_pthread_create(t, a, work, w);
	if (e)
		__atomic_sub_fetch(&n_working, 1, __ATOMIC_SEQ_CST);
	return e;
}

/* The runner's own spawner: outside of the broker's rounds. */
void __real_actor_spawn(struct runner *r, const struct spawn_request *rq, int channel);
void __wrap_actor_spawn(struct runner *r, const struct spawn_request *rq, int channel);
void __wrap_actor_spawn(struct runner *r, const struct spawn_request *rq, int channel)
{
	bool armed = points_armed;
	struct actor *a;

	points_armed = points;
	if (point_fails(FAULT_START)) {
		points_armed = armed;
		a = actor_get(r, rq->text);
		snprintf(a->fail_start, sizeof(a->fail_start), "it was told to fail");
	}
	points_armed = armed;
	__real_actor_spawn(r, rq, channel);
}

/* --- for speed: nothing waits for time, and no blocks ahead (broker/space.c) ------------------------------------------------ */

int __real_epoll_wait(int epoll, struct epoll_event *e, int n, int timeout_ms);
int __wrap_epoll_wait(int epoll, struct epoll_event *e, int n, int timeout_ms);
int __wrap_epoll_wait(int epoll, struct epoll_event *e, int n, int timeout_ms)
{
	return __real_epoll_wait(epoll, e, n, __atomic_load_n(&n_working, __ATOMIC_SEQ_CST) ? timeout_ms : 0);
}

int __wrap_fallocate(int fd, int mode, off_t offset, off_t len);
int __wrap_fallocate(int fd, int mode, off_t offset, off_t len)
{
	(void)fd; (void)mode; (void)offset; (void)len;
	errno = EOPNOTSUPP;
	return -1;
}

/* --- clocks ------------------------------------------------------------------------------------------------------------------- */

uint64_t __wrap_now_monotonic_ns(void);
uint64_t __wrap_now_monotonic_ns(void) { return UINT64_C(1000000000000) + ticks * 2000000; }
uint64_t __wrap_now_realtime_us(void);
uint64_t __wrap_now_realtime_us(void) { return UINT64_C(1700000000000000); }
void points_tick(void) { ticks++; }
