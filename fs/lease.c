/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Leases. Nothing here trusts the broker's timing: every wait has an end, and the generation is read only after
 * everything else was.
 */
#include "lease.h"

#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

int lease_init(struct lease *l, int fd, int page_fd)
{
	struct stat st;
	struct live_page *live;

	if (fstat(page_fd, &st))
		return error_origin(errno);
	if (st.st_size < (off_t)sizeof(*live))	/* touching it would be SIGBUS */
		return error_origin(EINVAL);
	live = mmap(NULL, sizeof(*live), PROT_READ, MAP_SHARED, page_fd, 0);
	if (live == MAP_FAILED)
		return error_origin(errno);
	*l = (struct lease){ .fd = fd, .live = live, .page = &live->lease };
	return 0;
}

void lease_deinit(struct lease *l)
{
	if (l->live)
		munmap((void *)l->live, sizeof(*l->live));
	*l = (struct lease)LEASE_INIT;
}

static int lease_send(struct lease *l, enum lease_op op, uint32_t id)
{
	struct lease_request request = { .op = op, .id = id };
	ssize_t n;

	do
		n = send(l->fd, &request, sizeof(request), MSG_NOSIGNAL | MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n == (ssize_t)sizeof(request))
		return 0;
	/* A broker that does not empty its socket does not serve leases now. */
	return n < 0 && (errno == EAGAIN || errno == ENOBUFS) ? LEASE_E_UNAVAILABLE : LEASE_E_GONE;
}

enum { RECEIVED_NOTHING = 100 };

/* One waiting reply, RECEIVED_NOTHING, or LEASE_E_GONE. A packet of another size is no reply and is passed over. */
static int lease_receive(struct lease *l, struct lease_reply *reply)
{
	for (;;) {
		ssize_t n = recv(l->fd, reply, sizeof(*reply), MSG_DONTWAIT | MSG_TRUNC);

		if (n == (ssize_t)sizeof(*reply))
			return 0;
		if (n > 0 || (n < 0 && errno == EINTR))
			continue;
		return n < 0 && errno == EAGAIN ? RECEIVED_NOTHING : LEASE_E_GONE;
	}
}

int lease_drain(struct lease *l)
{
	struct lease_reply late;
	int r;

	while (!(r = lease_receive(l, &late)))
		;
	return r == RECEIVED_NOTHING ? 0 : r;
}

static int lease_await(struct lease *l, uint32_t id, struct lease_reply *reply)
{
	uint64_t end = now_monotonic_ns() + LEASE_WAIT_MS * UINT64_C(1000000);

	for (;;) {
		struct pollfd p = { .fd = l->fd, .events = POLLIN };
		int r = lease_receive(l, reply);
		uint64_t now;

		if (!r && reply->id == id)
			return 0;
		if (!r)
			continue;
		if (r != RECEIVED_NOTHING)
			return r;
		now = now_monotonic_ns();
		if (now >= end)
			return LEASE_E_UNAVAILABLE;
		if (poll(&p, 1, (int)((end - now) / 1000000) + 1) < 0 && errno != EINTR)
			return error_origin(errno);
	}
}

static int lease_ask(struct lease *l, uint32_t id, struct lease_reply *reply)
{
	int r = lease_send(l, LEASE_ACQUIRE, id);
	struct pollfd p = { .fd = l->fd, .events = POLLOUT };

	/* A full socket is a broker that has much to do, as one that does not answer yet. */
	if (r == LEASE_E_UNAVAILABLE && poll(&p, 1, LEASE_WAIT_MS) > 0)
		r = lease_send(l, LEASE_ACQUIRE, id);
	if (!r)
		r = lease_await(l, id, reply);
	return r ? r : reply->status == LEASE_OK ? 0 : LEASE_E_UNAVAILABLE;
}

int lease_acquire(struct lease *l)
{
	struct lease_reply reply;
	int r;

	assert(!l->held);
	r = lease_drain(l);
	if (r)
		return r;
	l->commits = __atomic_load_n(&l->page->commits, __ATOMIC_ACQUIRE);
	l->since_ns = now_monotonic_ns();
	l->id = (l->id + 1) % LEASE_MAX;
	r = lease_ask(l, l->id, &reply);
	if (r)
		return r;
	l->generation = reply.generation;
	l->held = true;
	return 0;
}

int lease_check(const struct lease *l)
{
	assert(l->held);
	/* What was read before must not move past this. */
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	return __atomic_load_n(&l->page->generation[l->id], __ATOMIC_ACQUIRE) == l->generation ? 0 : LEASE_E_EXPIRED;
}

bool lease_is_current(const struct lease *l)
{
	return l->held && !lease_check(l) && l->commits &&
	       __atomic_load_n(&l->page->commits, __ATOMIC_ACQUIRE) == l->commits &&
	       now_monotonic_ns() - l->since_ns < LEASE_KEEP_MS * UINT64_C(1000000);
}

int lease_release(struct lease *l)
{
	assert(l->held);
	l->held = false;
	/* When it cannot be sent, the deadline does the same. */
	return lease_send(l, LEASE_RELEASE, l->id) == LEASE_E_GONE ? LEASE_E_GONE : 0;
}

int lease_freeze(struct lease *l, uint32_t id, struct lease_reply *reply)
{
	int r = lease_drain(l);

	assert(id >= LEASE_MAX && id < LEASE_N);
	if (!r)
		r = lease_ask(l, id, reply);
	/* Granted too late it would be kept for long: it is given back unseen. */
	if (r == LEASE_E_UNAVAILABLE && lease_thaw(l, id))
		r = LEASE_E_GONE;
	return r;
}

bool lease_is_frozen(const struct lease *l, const struct lease_reply *granted)
{
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	return __atomic_load_n(&l->page->generation[granted->id], __ATOMIC_ACQUIRE) == granted->generation;
}

int lease_thaw(struct lease *l, uint32_t id)
{
	return lease_send(l, LEASE_RELEASE, id) == LEASE_E_GONE ? LEASE_E_GONE : 0;
}

int lease_watch(struct lease *l, bool on)
{
	return lease_send(l, LEASE_WATCH, on);
}
