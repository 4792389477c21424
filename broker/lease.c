/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshots held for capstan-fs: see lease.h. */
#include "lease.h"

#include <sys/socket.h>

static uint64_t generation(const struct lease_server *l, uint32_t id)
{
	return __atomic_load_n(&l->page->generation[id], __ATOMIC_ACQUIRE);
}

static void drop(struct lease_server *l, struct lease_hold *h)
{
	if (h->snapshot)
		store_snapshot_drop(l->store, h->snapshot);
	*h = (struct lease_hold){ 0 };
}

/* Readers that were not done must not trust what they read: the generation moves before a page can be reused. */
static void end_early(struct lease_server *l, struct lease_hold *h)
{
	__atomic_add_fetch(&l->page->generation[h - l->holds], 1, __ATOMIC_ACQ_REL);
	drop(l, h);
}

static bool is_frozen(const struct lease_server *l, const struct lease_hold *h)
{
	return h - l->holds >= LEASE_MAX;
}

/* A frozen tree keeps pages from being reused, for long: not for longer than there is room. */
static bool is_too_much(const struct lease_server *l, const struct lease_hold *h)
{
	return is_frozen(l, h) && (store_space_low(l->store) || store_used(l->store) > h->used + FREEZE_MAX_BYTES);
}

static void disconnect(struct lease_server *l)
{
	for (size_t i = 0; i < LEASE_N; i++)
		if (l->holds[i].snapshot)
			end_early(l, &l->holds[i]);
	loop_remove(l->loop, &l->source);
	closep(&l->fd);
	l->fd = -1;
	l->watched = false;
}

static int acquire(struct lease_server *l, uint32_t id, struct lease_reply *reply)
{
	struct lease_hold *h = &l->holds[id];
	int r;

	/* Its last lease under this number still lives: the reader has lost count of itself. */
	if (h->snapshot || (is_frozen(l, h) && store_space_low(l->store))) {
		reply->status = LEASE_BUSY;
		return 0;
	}
	r = store_snapshot_hold(l->store, &reply->txnid, &h->snapshot);
	if (r)
		return error_trace(r);
	h->deadline_ns = now_monotonic_ns() + (is_frozen(l, h) ? l->snapshot_ms : LEASE_MS) * UINT64_C(1000000);
	h->used = store_used(l->store);
	reply->generation = generation(l, id);
	reply->deadline_ns = h->deadline_ns;
	return 0;
}

static void tell(struct lease_server *l)
{
	uint64_t one = 1;

	/* A counter that is full has been told enough. */
	if (write(l->event_fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
		l->watched = false;
}

static void watch(struct lease_server *l, bool on)
{
	l->watched = on && l->event_fd >= 0;
	if (l->watched)
		tell(l);
}

static int serve(struct lease_server *l, const struct lease_request *rq)
{
	struct lease_reply reply = { .id = rq->id, .status = LEASE_OK };
	int r;

	if (rq->op == LEASE_RELEASE) {
		drop(l, &l->holds[rq->id]);	/* fine when the deadline was first */
		return 0;
	}
	if (rq->op == LEASE_WATCH) {
		watch(l, rq->id);
		return 0;
	}
	r = acquire(l, rq->id, &reply);
	if (r)
		return error_trace(r);
	if (send(l->fd, &reply, sizeof(reply), MSG_DONTWAIT | MSG_NOSIGNAL) != sizeof(reply))
		disconnect(l);
	return 0;
}

static bool is_request(const struct lease_request *rq)
{
	switch (rq->op) {
	case LEASE_ACQUIRE:
	case LEASE_RELEASE:
		return rq->id < LEASE_N;
	case LEASE_WATCH:
		return rq->id <= 1;
	default:
		return false;
	}
}

static int on_ready(struct loop_source *s, uint32_t events)
{
	struct lease_server *l = container_of(s, struct lease_server, source);
	struct lease_request rq;
	ssize_t n;

	(void)events;
	n = recv(l->fd, &rq, sizeof(rq), MSG_DONTWAIT | MSG_TRUNC);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n == 0 || n < 0) {
		disconnect(l);
		return 0;
	}
	if (n != sizeof(rq) || !is_request(&rq)) {
		log_warn("capstan-fs sent a malformed lease request");
		disconnect(l);
		return 0;
	}
	return serve(l, &rq);
}

int lease_server_init(struct lease_server *l, struct loop *loop, struct store *store, struct lease_page *page,
		      uint64_t snapshot_ms, int fd, int event_fd)
{
	*l = (struct lease_server){
		.source = LOOP_SOURCE_INIT(on_ready), .loop = loop, .store = store, .page = page,
		.snapshot_ms = snapshot_ms, .fd = fd, .event_fd = event_fd,
	};
	return error_trace(loop_add(loop, &l->source, fd, EPOLLIN));
}

void lease_server_deinit(struct lease_server *l)
{
	if (l->fd >= 0)
		disconnect(l);
	closep(&l->event_fd);
	*l = (struct lease_server)LEASE_SERVER_INIT;
}

int lease_server_deadline_ms(const struct lease_server *l)
{
	uint64_t now = now_monotonic_ns(), first = UINT64_MAX;

	for (size_t i = 0; i < LEASE_N; i++)
		if (l->holds[i].snapshot && l->holds[i].deadline_ns < first)
			first = l->holds[i].deadline_ns;
	if (first == UINT64_MAX)
		return -1;
	return first <= now ? 0 : (int)((first - now + 999999) / 1000000);
}

void lease_server_expire(struct lease_server *l)
{
	uint64_t now = now_monotonic_ns();

	for (size_t i = 0; i < LEASE_N; i++)
		if (l->holds[i].snapshot && (l->holds[i].deadline_ns <= now || is_too_much(l, &l->holds[i])))
			end_early(l, &l->holds[i]);
}

void lease_server_shown(struct lease_server *l, uint64_t n_shown)
{
	if (n_shown == l->n_told)
		return;
	l->n_told = n_shown;
	if (l->watched)
		tell(l);
}
