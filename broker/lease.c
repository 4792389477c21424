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

static void disconnect(struct lease_server *l)
{
	for (size_t i = 0; i < LEASE_N; i++)
		if (l->holds[i].snapshot)
			end_early(l, &l->holds[i]);
	loop_remove(l->loop, &l->source);
	closep(&l->fd);
	l->fd = -1;
}

static int acquire(struct lease_server *l, uint32_t id, struct lease_reply *reply)
{
	struct lease_hold *h = &l->holds[id];
	int r;

	/* Its last lease under this number still lives: the reader has lost count of itself. */
	if (h->snapshot) {
		reply->status = LEASE_BUSY;
		return 0;
	}
	r = store_snapshot_hold(l->store, &reply->txnid, &h->snapshot);
	if (r)
		return error_trace(r);
	h->deadline_ns = now_monotonic_ns() + LEASE_MS * 1000000ull;
	reply->generation = generation(l, id);
	reply->deadline_ns = h->deadline_ns;
	return 0;
}

static int serve(struct lease_server *l, const struct lease_request *rq)
{
	struct lease_reply reply = { .id = rq->id, .status = LEASE_OK };
	int r;

	if (rq->op == LEASE_RELEASE) {
		drop(l, &l->holds[rq->id]);	/* fine when the deadline was first */
		return 0;
	}
	r = acquire(l, rq->id, &reply);
	if (r)
		return error_trace(r);
	if (send(l->fd, &reply, sizeof(reply), MSG_DONTWAIT | MSG_NOSIGNAL) != sizeof(reply))
		disconnect(l);
	return 0;
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
	if (n != sizeof(rq) || rq.id >= LEASE_N || (rq.op != LEASE_ACQUIRE && rq.op != LEASE_RELEASE)) {
		log_warn("capstan-fs sent a malformed lease request");
		disconnect(l);
		return 0;
	}
	return serve(l, &rq);
}

int lease_server_init(struct lease_server *l, struct loop *loop, struct store *store, struct lease_page *page, int fd)
{
	*l = (struct lease_server){
		.source = LOOP_SOURCE_INIT(on_ready), .loop = loop, .store = store, .page = page, .fd = fd };
	return error_trace(loop_add(loop, &l->source, fd, EPOLLIN));
}

void lease_server_deinit(struct lease_server *l)
{
	if (l->fd >= 0)
		disconnect(l);
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
		if (l->holds[i].snapshot && l->holds[i].deadline_ns <= now)
			end_early(l, &l->holds[i]);
}
