/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Leases: this test is capstan-fs at one end and the store below. The store is played by two functions that count, so
 * that what must never happen (a ninth snapshot, one dropped twice, one kept) is seen at once.
 */
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <cmocka.h>

#include "../../broker/lease.h"
#include "../../broker/live.h"

struct store { bool held[64]; uint64_t n_made, used; unsigned n_held; bool fail, low; };

#define SNAPSHOT_MS 3000

bool store_space_low(const struct store *s) { return s->low; }
uint64_t store_used(const struct store *s) { return s->used; }

int store_snapshot_hold(struct store *s, uint64_t *txnidp, void **holdp)
{
	if (s->fail)
		return -EIO;
	assert(s->n_held < LEASE_N && s->n_made < ARRAY_LEN(s->held));
	s->held[s->n_made] = true;
	s->n_held++;
	*holdp = &s->held[s->n_made];
	*txnidp = 100 + s->n_made++;
	return 0;
}

void store_snapshot_drop(struct store *s, void *hold)
{
	assert(*(bool *)hold && s->n_held > 0);
	*(bool *)hold = false;
	s->n_held--;
}

struct fixture {
	struct loop loop;
	struct store store;
	struct live *live;
	const struct live_page *view;	/* the reader's */
	struct lease_server server;
	int fd, event_fd;	/* the reader's, too */
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	int pair[2];

	f->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (loop_init(&f->loop) || live_new(&f->live) ||
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return -1;
	f->view = mmap(NULL, 4096, PROT_READ, MAP_SHARED, f->live->fd, 0);
	f->fd = pair[0];
	*state = f;
	return f->view == MAP_FAILED ||
	       lease_server_init(&f->server, &f->loop, &f->store, &f->live->page->lease, SNAPSHOT_MS, pair[1], dup(f->event_fd));
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	int r;

	lease_server_deinit(&f->server);
	lease_server_deinit(&f->server);
	r = f->store.n_held;
	closep(&f->fd);
	close(f->event_fd);
	munmap((void *)f->view, 4096);
	live_free(f->live);
	loop_deinit(&f->loop);
	free(f);
	return r;
}

static void ask(struct fixture *f, uint32_t op, uint32_t id)
{
	struct lease_request rq = { op, id };

	assert_int_equal(send(f->fd, &rq, sizeof(rq), MSG_NOSIGNAL), sizeof(rq));
	assert_int_equal(loop_round(&f->loop, 0), 0);
}

static struct lease_reply answer(struct fixture *f)
{
	struct lease_reply reply;

	assert_int_equal(recv(f->fd, &reply, sizeof(reply), MSG_DONTWAIT), sizeof(reply));
	return reply;
}

static void assert_closed(struct fixture *f)
{
	char byte;

	while (recv(f->fd, &byte, 1, MSG_DONTWAIT) > 0)
		;
	assert_int_equal(recv(f->fd, &byte, 1, MSG_DONTWAIT), 0);
	assert_int_equal(f->store.n_held, 0);
	assert_int_equal(f->server.fd, -1);
	assert_int_equal(loop_round(&f->loop, 0), 0);
}

static void acquire_and_release(void **state)
{
	struct fixture *f = *state;
	struct lease_reply reply;

	assert_int_equal(lease_server_deadline_ms(&f->server), -1);
	ask(f, LEASE_ACQUIRE, 2);
	reply = answer(f);
	assert_int_equal(reply.id, 2);
	assert_int_equal(reply.status, LEASE_OK);
	assert_int_equal(reply.txnid, 100);
	assert_int_equal(reply.generation, f->view->lease.generation[2]);
	assert_in_range(lease_server_deadline_ms(&f->server), 1, LEASE_MS);
	lease_server_expire(&f->server);	/* too early: nothing */
	assert_int_equal(f->store.n_held, 1);
	ask(f, LEASE_RELEASE, 2);
	assert_int_equal(f->store.n_held, 0);
	assert_int_equal(reply.generation, f->view->lease.generation[2]);
	assert_int_equal(lease_server_deadline_ms(&f->server), -1);
	ask(f, LEASE_RELEASE, 2);		/* once more is fine */
	ask(f, LEASE_ACQUIRE, 2);
	assert_int_equal(answer(f).txnid, 101);
}

static void all_leases_at_once(void **state)
{
	struct fixture *f = *state;

	for (uint32_t id = 0; id < LEASE_N; id++) {
		ask(f, LEASE_ACQUIRE, id);
		assert_int_equal(answer(f).status, LEASE_OK);
	}
	ask(f, LEASE_ACQUIRE, 1);
	assert_int_equal(answer(f).status, LEASE_BUSY);
	ask(f, LEASE_ACQUIRE, LEASE_N - 1);
	assert_int_equal(answer(f).status, LEASE_BUSY);
	assert_int_equal(f->store.n_held, LEASE_N);
}

/* A reader that hangs loses its pages at the deadline, and can see that it did. */
static void the_deadline(void **state)
{
	struct fixture *f = *state;
	struct lease_reply reply;
	int ms;

	ask(f, LEASE_ACQUIRE, 0);
	reply = answer(f);
	while ((ms = lease_server_deadline_ms(&f->server)) > 0)
		assert_int_equal(loop_round(&f->loop, ms), 0);
	assert_int_equal(ms, 0);
	lease_server_expire(&f->server);
	assert_int_equal(f->store.n_held, 0);
	assert_int_equal(f->view->lease.generation[0], reply.generation + 1);
	assert_int_equal(lease_server_deadline_ms(&f->server), -1);
	ask(f, LEASE_RELEASE, 0);	/* it comes too late, and is no error */
	ask(f, LEASE_ACQUIRE, 0);
	assert_int_equal(answer(f).generation, reply.generation + 1);
}

/* Frozen trees outlive LEASE_MS, and end at their own deadline, which the reader is told. */
static void a_frozen_tree(void **state)
{
	struct fixture *f = *state;
	uint64_t before = now_monotonic_ns();
	struct lease_reply reply;

	ask(f, LEASE_ACQUIRE, LEASE_MAX);
	reply = answer(f);
	assert_int_equal(reply.status, LEASE_OK);
	assert_in_range(reply.deadline_ns, before + SNAPSHOT_MS * UINT64_C(1000000),
			now_monotonic_ns() + SNAPSHOT_MS * UINT64_C(1000000));
	assert_in_range(lease_server_deadline_ms(&f->server), LEASE_MS + 1, SNAPSHOT_MS);
	f->server.holds[LEASE_MAX].deadline_ns = now_monotonic_ns();
	assert_int_equal(lease_server_deadline_ms(&f->server), 0);
	lease_server_expire(&f->server);
	assert_int_equal(f->store.n_held, 0);
	assert_int_equal(f->view->lease.generation[LEASE_MAX], reply.generation + 1);
}

/* One that costs too much ends early; short leases do not. */
static void a_frozen_tree_ends_early(void **state)
{
	struct fixture *f = *state;
	struct lease_reply old, young;

	f->store.used = 5000;
	ask(f, LEASE_ACQUIRE, LEASE_MAX);
	old = answer(f);
	f->store.used += FREEZE_MAX_BYTES;
	lease_server_expire(&f->server);
	assert_int_equal(f->store.n_held, 1);
	ask(f, LEASE_ACQUIRE, LEASE_MAX + 1);
	young = answer(f);
	ask(f, LEASE_ACQUIRE, 0);
	assert_int_equal(answer(f).status, LEASE_OK);
	f->store.used++;
	lease_server_expire(&f->server);
	assert_int_equal(f->store.n_held, 2);
	assert_int_equal(f->view->lease.generation[LEASE_MAX], old.generation + 1);
	assert_int_equal(f->view->lease.generation[LEASE_MAX + 1], young.generation);
	f->store.low = true;
	lease_server_expire(&f->server);
	assert_int_equal(f->store.n_held, 1);
	assert_int_equal(f->view->lease.generation[LEASE_MAX + 1], young.generation + 1);
	ask(f, LEASE_ACQUIRE, LEASE_MAX);
	assert_int_equal(answer(f).status, LEASE_BUSY);
	f->store.low = false;
	ask(f, LEASE_ACQUIRE, LEASE_MAX);
	assert_int_equal(answer(f).status, LEASE_OK);
}

static uint64_t told(struct fixture *f)
{
	uint64_t n = 0;

	assert_true(read(f->event_fd, &n, sizeof(n)) == sizeof(n) || errno == EAGAIN);
	return n;
}

/* Whoever watches is told once at once, then of what is new; however often, without ever being read, without waiting. */
static void watching(void **state)
{
	struct fixture *f = *state;
	uint64_t most = UINT64_MAX - 1;

	lease_server_shown(&f->server, 1);
	assert_int_equal(told(f), 0);
	ask(f, LEASE_WATCH, 1);
	assert_int_equal(told(f), 1);
	lease_server_shown(&f->server, 1);
	assert_int_equal(told(f), 0);
	lease_server_shown(&f->server, 2);
	lease_server_shown(&f->server, 7);
	assert_int_equal(told(f), 2);
	assert_int_equal(write(f->event_fd, &most, sizeof(most)), sizeof(most));
	lease_server_shown(&f->server, 8);
	ask(f, LEASE_WATCH, 1);
	assert_int_equal(told(f), most);
	lease_server_shown(&f->server, 9);
	assert_int_equal(told(f), 1);
	ask(f, LEASE_WATCH, 0);
	lease_server_shown(&f->server, 10);
	assert_int_equal(told(f), 0);
	assert_true(f->server.fd >= 0);
	ask(f, LEASE_WATCH, 1);
	assert_int_equal(told(f), 1);
	close(f->fd);
	f->fd = -1;
	assert_int_equal(loop_round(&f->loop, 1000), 0);
	assert_int_equal(f->server.fd, -1);
	lease_server_shown(&f->server, 11);
	assert_int_equal(told(f), 0);
}

/* Nobody gave an eventfd: there is nothing to tell, and no harm in asking. */
static void watching_nothing(void **state)
{
	struct fixture *f = *state;

	close(f->server.event_fd);
	f->server.event_fd = -1;
	ask(f, LEASE_WATCH, 1);
	lease_server_shown(&f->server, 5);
	assert_true(f->server.fd >= 0);
	assert_int_equal(told(f), 0);
}

/* L1: nothing that a broken capstan-fs sends is more than the end of its connection. */
static void garbage_ends_the_connection(void **state)
{
	static const struct { size_t len; struct lease_request rq[2]; } cases[] = {
		{ 1, { { LEASE_ACQUIRE, 0 } } }, { 7, { { LEASE_ACQUIRE, 0 } } }, { 9, { { LEASE_ACQUIRE, 0 } } },
		{ 16, { { LEASE_ACQUIRE, 0 }, { LEASE_ACQUIRE, 1 } } }, { 8, { { 0, 0 } } }, { 8, { { 4, 0 } } },
		{ 8, { { LEASE_WATCH, 2 } } },
		{ 8, { { LEASE_ACQUIRE, LEASE_N } } }, { 8, { { LEASE_RELEASE, UINT32_MAX } } }, { 0, { { 0, 0 } } },
	};
	struct fixture *f = *state;
	uint64_t before;
	int pair[2];

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		ask(f, LEASE_ACQUIRE, 3);
		before = f->view->lease.generation[3];
		assert_int_equal(send(f->fd, cases[i].rq, cases[i].len, MSG_NOSIGNAL), cases[i].len);
		assert_int_equal(loop_round(&f->loop, 0), 0);
		assert_closed(f);
		assert_true(f->view->lease.generation[3] > before);
		close(f->fd);
		lease_server_deinit(&f->server);
		assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
		f->fd = pair[0];
		assert_int_equal(lease_server_init(&f->server, &f->loop, &f->store, &f->live->page->lease, SNAPSHOT_MS,
						   pair[1], dup(f->event_fd)), 0);
	}
}

static void hang_up_ends_all_leases(void **state)
{
	struct fixture *f = *state;

	ask(f, LEASE_ACQUIRE, 0);
	ask(f, LEASE_ACQUIRE, LEASE_MAX + 2);
	close(f->fd);
	f->fd = -1;
	while (f->server.fd >= 0)	/* what it never read may be told first, as a reset */
		assert_int_equal(loop_round(&f->loop, 1000), 0);
	assert_int_equal(f->store.n_held, 0);
}

/* Replies that nobody reads do not pile up. */
static void a_reader_that_never_reads(void **state)
{
	struct fixture *f = *state;
	struct lease_request rq = { LEASE_ACQUIRE, 0 };

	ask(f, LEASE_ACQUIRE, 0);
	for (int i = 0; i < 100000 && f->server.fd >= 0; i++) {
		assert_int_equal(send(f->fd, &rq, sizeof(rq), MSG_NOSIGNAL), sizeof(rq));
		assert_int_equal(loop_round(&f->loop, 0), 0);
	}
	assert_closed(f);
}

static void a_failing_store_is_fatal(void **state)
{
	struct fixture *f = *state;
	struct lease_request rq = { LEASE_ACQUIRE, 0 };

	f->store.fail = true;
	assert_int_equal(send(f->fd, &rq, sizeof(rq), MSG_NOSIGNAL), sizeof(rq));
	assert_int_equal(loop_round(&f->loop, 0), -EIO);
}

static void the_page_is_read_only_for_others(void **state)
{
	struct fixture *f = *state;
	uint64_t value = 9;

	assert_true(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, f->live->fd, 0) == MAP_FAILED);
	assert_true(pwrite(f->live->fd, &value, sizeof(value), 0) < 0);
	assert_true(ftruncate(f->live->fd, 0) < 0);
	assert_int_equal(mprotect((void *)f->view, 4096, PROT_READ | PROT_WRITE), -1);
	f->live->page->lease.generation[0] = 41;
	assert_int_equal(f->view->lease.generation[0], 41);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(acquire_and_release), T(all_leases_at_once), T(the_deadline), T(a_frozen_tree), T(a_frozen_tree_ends_early),
		T(watching), T(watching_nothing), T(garbage_ends_the_connection),
		T(hang_up_ends_all_leases), T(a_reader_that_never_reads), T(a_failing_store_is_fatal),
		T(the_page_is_read_only_for_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
