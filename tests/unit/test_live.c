/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is shown beside the tables, by itself: the ring of events under writers that roll back and lap their readers, the slots
 * of vats under a reader that looks all the time. No kernel: its struct is the test's.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "../../broker/live.h"
#include "../../broker/vat.h"

struct fixture {
	struct kernel k;
	const struct live_page *page;	/* the reader's */
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	if (!f || live_new(&f->k.live))
		return -1;
	f->k.loop.woke_ns = now_monotonic_ns();
	f->page = mmap(NULL, sizeof(*f->page), PROT_READ, MAP_SHARED, f->k.live->fd, 0);
	*state = f;
	return f->page == MAP_FAILED;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	munmap((void *)f->page, sizeof(*f->page));
	live_free(f->k.live);
	free(f);
	return 0;
}

static void say(struct fixture *f, uint64_t first, uint64_t n)
{
	for (uint64_t i = 0; i < n; i++)
		live_gone(&f->k, ko(first + i));
}

/* Event `n` speaks of ko`number`. */
static void assert_event(struct fixture *f, uint64_t n, uint64_t number)
{
	struct live_event e;

	assert_int_equal(live_event_read(f->page, n, &e), 0);
	assert_int_equal(e.kind, LIVE_GONE);
	assert_int_equal(e.ref, ko(number).bits);
}

static void assert_lost(struct fixture *f, uint64_t n)
{
	struct live_event e;

	assert_int_equal(live_event_read(f->page, n, &e), LIVE_E_ABSENT);
}

/* --- events -------------------------------------------------------------------------------------------------------- */

static void test_shown_by_commit(void **state)
{
	struct fixture *f = *state;
	uint64_t commits = f->page->lease.commits;

	assert_true(commits > 0);
	say(f, 1, 3);
	assert_int_equal(f->page->n_shown, 0);
	live_commit(&f->k);
	assert_int_equal(f->page->n_shown, 3);
	assert_int_equal(f->page->lease.commits, commits + 1);
	for (uint64_t n = 1; n <= 3; n++)
		assert_event(f, n, n);
	live_commit(&f->k);
	assert_int_equal(f->page->n_shown, 3);
	assert_int_equal(f->page->kernel.n_commits, 2);
	assert_lost(f, 4);
	assert_int_equal(f->page->kernel.pid, getpid());
}

/* What is rolled back gives its numbers to what comes next. */
static void test_rolled_back(void **state)
{
	struct fixture *f = *state;

	say(f, 1, 2);
	live_savepoint(f->k.live);
	say(f, 100, 5);
	live_rollback(f->k.live);
	live_savepoint(f->k.live);
	say(f, 3, 1);
	live_release(f->k.live);
	live_commit(&f->k);
	assert_int_equal(f->page->n_shown, 3);
	for (uint64_t n = 1; n <= 3; n++)
		assert_event(f, n, n);
}

static void test_wraps(void **state)
{
	struct fixture *f = *state;
	uint64_t n, last = 0;

	for (int i = 0; i < 5; i++, last += LIVE_EVENTS / 2) {
		say(f, last + 1, LIVE_EVENTS / 2);
		live_commit(&f->k);
	}
	assert_int_equal(f->page->n_shown, last);
	assert_int_equal(f->page->kernel.n_events_lost, 0);
	for (n = 1; n <= last - LIVE_EVENTS; n++)
		assert_lost(f, n);
	for (; n <= last; n++)
		assert_event(f, n, n);
}

/* A reader that is behind loses what is said now, also when it is forgotten again. */
static void test_overwritten_before_shown(void **state)
{
	struct fixture *f = *state;

	say(f, 1, LIVE_EVENTS);
	live_commit(&f->k);
	assert_event(f, 1, 1);
	live_savepoint(f->k.live);
	say(f, 900000, 10);
	assert_lost(f, 10);
	assert_event(f, 11, 11);
	live_rollback(f->k.live);
	assert_lost(f, 10);
	live_commit(&f->k);
	assert_int_equal(f->page->n_shown, LIVE_EVENTS);
	assert_event(f, LIVE_EVENTS, LIVE_EVENTS);
	assert_int_equal(f->page->kernel.n_events_lost, 0);
	say(f, LIVE_EVENTS + 1, 10);
	live_commit(&f->k);
	assert_event(f, LIVE_EVENTS + 10, LIVE_EVENTS + 10);
	assert_event(f, 11, 11);
	assert_lost(f, 10);
}

/* More than the ring holds between two commits: what nobody could ever have read is counted. */
static void test_too_many_for_the_ring(void **state)
{
	struct fixture *f = *state;

	say(f, 1, 5);
	live_commit(&f->k);
	say(f, 6, LIVE_EVENTS + 7);
	live_commit(&f->k);
	assert_int_equal(f->page->n_shown, LIVE_EVENTS + 12);
	assert_int_equal(f->page->kernel.n_events_lost, 7);
	assert_lost(f, 12);
	assert_event(f, 13, 13);
	assert_event(f, LIVE_EVENTS + 12, LIVE_EVENTS + 12);
	/* One that is undone takes what was said before it along. */
	live_savepoint(f->k.live);
	say(f, 1, 3 * LIVE_EVENTS);
	live_rollback(f->k.live);
	say(f, 77, 1);
	live_commit(&f->k);
	assert_int_equal(f->page->n_shown, LIVE_EVENTS + 13);
	assert_lost(f, LIVE_EVENTS + 12);
	assert_lost(f, LIVE_EVENTS + 13);
	assert_int_equal(f->page->kernel.n_events_lost, 8);
}

static void test_without_a_page(void **state)
{
	struct kernel k = { .loop.woke_ns = 1 };
	struct vat v = { .number = 1 };

	(void)state;
	live_savepoint(NULL);
	live_gone(&k, ko(1));
	live_resolved(&k, kp(1), PROMISE_FULFILLED, 0, KREF_NONE);
	live_vat_new(&k, &v);
	live_show(&k, &v);
	live_status(&k, &v);
	live_launched(&k, 1, "x");
	live_vat_forget(&k, &v);
	live_rollback(NULL);
	live_commit(&k);
	live_sent(&k, &v);
	assert_int_equal(live_sample_timeout_ms(&k, 5), -1);
	assert_null(live_next_sample(&k, 5));
	assert_null(v.live);
}

/* --- slots --------------------------------------------------------------------------------------------------------- */

static struct vat *vat_make(struct fixture *f, uint64_t number)
{
	struct vat *v = calloc(1, sizeof(*v));

	v->number = number;
	v->kernel = &f->k;
	live_vat_new(&f->k, v);
	return v;
}

static void vat_end(struct fixture *f, struct vat *v)
{
	live_vat_forget(&f->k, v);
	free(v);
}

static void test_two_meet_in_a_slot(void **state)
{
	struct fixture *f = *state;
	struct vat *early = vat_make(f, 7), *late = vat_make(f, 7 + LIVE_VATS), *other = vat_make(f, 8);
	struct live_vat slot;

	early->proc = PROC_ALIVE;
	live_show(&f->k, early);
	assert_int_equal(live_vat_read(f->page, 7, &slot), 0);
	assert_int_equal(slot.proc, LIVE_PROC_ALIVE);
	assert_null(late->live);
	live_show(&f->k, late);
	assert_int_equal(live_vat_read(f->page, 7 + LIVE_VATS, &slot), LIVE_E_ABSENT);
	assert_int_equal(f->page->n_slots, 9);
	vat_end(f, late);
	assert_int_equal(live_vat_read(f->page, 7, &slot), 0);
	vat_end(f, early);
	assert_int_equal(live_vat_read(f->page, 7, &slot), LIVE_E_ABSENT);
	early = vat_make(f, 7 + 2 * LIVE_VATS);
	assert_int_equal(live_vat_read(f->page, 7 + 2 * LIVE_VATS, &slot), 0);
	assert_int_equal(slot.proc, LIVE_PROC_NONE);
	assert_int_equal(live_vat_read(f->page, 0, &slot), LIVE_E_ABSENT);
	vat_end(f, early);
	vat_end(f, other);
}

/* Memory is always 3 times the clock: a copy of two moments would not say so. */
struct race { struct fixture *f; uint64_t n_read, n_torn; bool stop; };

static void *look(void *arg)
{
	struct race *r = arg;
	struct live_vat slot;

	while (!__atomic_load_n(&r->stop, __ATOMIC_RELAXED)) {
		if (live_vat_read(r->f->page, 1, &slot))
			continue;
		__atomic_fetch_add(&r->n_read, 1, __ATOMIC_RELAXED);
		r->n_torn += slot.memory != 3 * slot.cpu_ns;
	}
	return NULL;
}

static void test_read_while_written(void **state)
{
	struct race r = { .f = *state };
	struct vat *v = vat_make(r.f, 1);
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, look, &r), 0);
	for (uint64_t i = 0; i < 200000 || __atomic_load_n(&r.n_read, __ATOMIC_RELAXED) < 1000; i++)
		live_sampled(&r.f->k, v, 3 * i, i);
	__atomic_store_n(&r.stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	assert_int_equal(r.n_torn, 0);
	vat_end(r.f, v);
}

/* Whoever got work is looked at once, LIVE_SAMPLE_MS later, in order; one that went meanwhile is not. */
static void test_samples_are_due(void **state)
{
	struct fixture *f = *state;
	struct vat *v[4];
	uint64_t due = f->k.loop.woke_ns + LIVE_SAMPLE_MS * UINT64_C(1000000);

	for (uint64_t i = 0; i < 4; i++)
		v[i] = vat_make(f, i + 1);
	assert_int_equal(live_sample_timeout_ms(&f->k, f->k.loop.woke_ns), -1);
	for (int round = 0; round < 3; round++)
		for (int i = 0; i < 4; i++)
			live_sent(&f->k, v[i]);
	assert_int_equal(live_sample_timeout_ms(&f->k, f->k.loop.woke_ns), LIVE_SAMPLE_MS);
	assert_null(live_next_sample(&f->k, due - 1));
	vat_end(f, v[1]);
	vat_end(f, v[3]);
	assert_ptr_equal(live_next_sample(&f->k, due), v[0]);
	live_sent(&f->k, v[0]);	/* noted again, behind the others */
	assert_ptr_equal(live_next_sample(&f->k, due), v[2]);
	f->k.live->sample_ns = due + 5000000;
	assert_int_equal(live_sample_timeout_ms(&f->k, due), 5);
	assert_ptr_equal(live_next_sample(&f->k, due), v[0]);
	assert_int_equal(live_sample_timeout_ms(&f->k, due), -1);
	vat_end(f, v[0]);
	vat_end(f, v[2]);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_shown_by_commit), T(test_rolled_back), T(test_wraps), T(test_overwritten_before_shown),
		T(test_too_many_for_the_ring), T(test_without_a_page), T(test_two_meet_in_a_slot), T(test_read_while_written),
		T(test_samples_are_due),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
