/* SPDX-License-Identifier: Apache-2.0 */
/* broker/loop.c: every ready source once a round, whatever handlers remove, free or add meanwhile. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "../../lib/loop.h"

struct peer {
	struct loop_source source;
	struct loop *loop;
	int fds[2];		/* [0] is in the loop */
	unsigned int n_calls;
	uint32_t events;
	int answer;		/* what handle() returns */
	void (*then)(struct peer *p);
	struct peer *other;
};

static int peer_handle(struct loop_source *s, uint32_t events)
{
	struct peer *p = container_of(s, struct peer, source);
	int answer = p->answer;

	p->n_calls++;
	p->events = events;
	if (p->then)
		p->then(p);	/* may free p */
	return answer;
}

static struct peer *peer_new(struct loop *l, uint32_t events)
{
	struct peer *p = calloc(1, sizeof(*p));

	assert_non_null(p);
	p->source = (struct loop_source)LOOP_SOURCE_INIT(peer_handle);
	p->loop = l;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, p->fds), 0);
	assert_int_equal(loop_add(l, &p->source, p->fds[0], events), 0);
	return p;
}

static void peer_free(struct peer *p)
{
	loop_remove(p->loop, &p->source);
	close(p->fds[0]);
	close(p->fds[1]);
	memset(p, 0x5a, sizeof(*p));	/* a call after this is a crash, also without a sanitiser */
	free(p);
}

static void poke(struct peer *p)
{
	assert_int_equal(write(p->fds[1], "x", 1), 1);
}

static void drain(struct peer *p)
{
	char c;

	while (read(p->fds[0], &c, 1) == 1)
		;
}

static void test_round(void **state)
{
	struct peer *a, *b;
	struct loop l;

	(void)state;
	assert_int_equal(loop_init(&l), 0);
	assert_int_equal(fcntl(l.epoll_fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	a = peer_new(&l, EPOLLIN);
	b = peer_new(&l, EPOLLIN);
	assert_int_equal(loop_round(&l, 0), 0);		/* nothing ready */
	assert_int_equal(a->n_calls + b->n_calls, 0);
	poke(b);
	assert_int_equal(loop_round(&l, -1), 0);
	assert_int_equal(a->n_calls, 0);
	assert_int_equal(b->n_calls, 1);
	assert_int_equal(b->events, EPOLLIN);
	poke(a);
	assert_int_equal(loop_round(&l, -1), 0);	/* b left its packet unread: ready again */
	assert_int_equal(a->n_calls, 1);
	assert_int_equal(b->n_calls, 2);
	drain(b);
	assert_int_equal(loop_modify(&l, &b->source, EPOLLIN | EPOLLOUT), 0);
	assert_int_equal(loop_round(&l, -1), 0);
	assert_int_equal(b->events, EPOLLOUT);
	assert_int_equal(loop_modify(&l, &b->source, 0), 0);
	close(b->fds[1]);
	b->fds[1] = dup(b->fds[0]);
	assert_int_equal(loop_round(&l, -1), 0);	/* hang-up is told whatever was asked for */
	assert_true(b->events & EPOLLHUP);
	peer_free(a);
	peer_free(b);
	loop_deinit(&l);
	assert_int_equal(l.epoll_fd, -1);
}

static void free_other(struct peer *p)
{
	if (p->other) {
		p->other->other = NULL;
		peer_free(p->other);
		p->other = NULL;
	}
}

static void free_self_and_other(struct peer *p)
{
	free_other(p);
	peer_free(p);
}

/* Both ready, each frees the other: exactly one runs. */
static void test_remove_other(void **state)
{
	struct loop l;

	(void)state;
	for (unsigned int way = 0; way < 4; way++) {
		struct peer *a, *b;

		assert_int_equal(loop_init(&l), 0);
		a = peer_new(&l, EPOLLIN);
		b = peer_new(&l, EPOLLIN);
		a->other = b;
		b->other = a;
		a->then = b->then = way & 1 ? free_self_and_other : free_other;
		poke(way & 2 ? b : a);
		poke(way & 2 ? a : b);
		assert_int_equal(loop_round(&l, -1), 0);
		if (!(way & 1)) {
			/* The survivor is the one whose link was cut by nobody; it was called once. */
			struct peer *survivor = way & 2 ? b : a;

			assert_int_equal(survivor->n_calls, 1);
			assert_null(survivor->other);
			peer_free(survivor);
		}
		assert_int_equal(loop_round(&l, 0), 0);
		loop_deinit(&l);
	}
}

static void move_other(struct peer *p)
{
	struct peer *other = p->other;

	if (!other)
		return;
	p->other = NULL;
	loop_remove(p->loop, &other->source);
	loop_remove(p->loop, &other->source);		/* fine when it is not in */
	assert_int_equal(loop_add(p->loop, &other->source, other->fds[0], EPOLLIN), 0);
}

/* Taken out and added again while ready: called in the next round, not with this round's events. */
static void test_added_again(void **state)
{
	struct peer *a, *b;
	struct loop l;

	(void)state;
	assert_int_equal(loop_init(&l), 0);
	a = peer_new(&l, EPOLLIN);
	b = peer_new(&l, EPOLLIN);
	a->then = move_other;
	a->other = b;
	poke(a);
	poke(b);
	assert_int_equal(loop_round(&l, -1), 0);
	assert_int_equal(a->n_calls, 1);
	assert_int_equal(b->n_calls, 0);
	assert_int_equal(loop_round(&l, -1), 0);
	assert_int_equal(b->n_calls, 1);
	peer_free(a);
	peer_free(b);
	loop_deinit(&l);
}

/* A source that never runs dry, among more than one round holds: each of the others is called all the same. */
static void test_fair(void **state)
{
	enum { N = 300 };
	struct peer *peers[N];
	struct loop l;

	(void)state;
	assert_int_equal(loop_init(&l), 0);
	for (int i = 0; i < N; i++) {
		peers[i] = peer_new(&l, EPOLLIN);
		poke(peers[i]);
		peers[i]->then = i == 7 ? NULL : drain;
	}
	assert_int_equal(loop_round(&l, -1), 0);
	assert_int_equal(loop_round(&l, -1), 0);
	for (int i = 0; i < N; i++) {
		assert_int_equal(peers[i]->n_calls, i == 7 ? 2 : 1);
		peer_free(peers[i]);
	}
	loop_deinit(&l);
}

/* A fatal error ends the round; the loop itself is whole. */
static void test_fatal(void **state)
{
	struct peer *a, *b;
	struct loop l;

	(void)state;
	assert_int_equal(loop_init(&l), 0);
	a = peer_new(&l, EPOLLIN);
	b = peer_new(&l, EPOLLIN);
	a->answer = -EIO;
	poke(a);
	poke(b);
	assert_int_equal(loop_round(&l, -1), -EIO);
	assert_int_equal(b->n_calls, 0);
	a->answer = 0;
	assert_int_equal(loop_round(&l, -1), 0);
	assert_int_equal(b->n_calls, 1);
	peer_free(a);
	peer_free(b);
	loop_deinit(&l);
}

/* What epoll refuses (a regular file) is an error, and the source is as before. */
static void test_refused(void **state)
{
	struct loop_source s = LOOP_SOURCE_INIT(peer_handle);
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	struct loop l;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(loop_init(&l), 0);
	assert_int_equal(loop_add(&l, &s, fd, EPOLLIN), -EPERM);
	assert_int_equal(s.fd, -1);
	loop_deinit(&l);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round),
		cmocka_unit_test(test_remove_other),
		cmocka_unit_test(test_added_again),
		cmocka_unit_test(test_fair),
		cmocka_unit_test(test_fatal),
		cmocka_unit_test(test_refused),
	};

	log_init("test_loop");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
