/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel in process: settled promises that hold each other in circles (P9, P12). Circles are made by vats, played by hand, and
 * large ones straight in the tables; the checker recounts the store (C6) after every step of a search where that is not too slow.
 */
#include "kernel_steps.h"

#include "../../broker/cycle.h"
#include "../../broker/promise.h"

/* --- circles that vats make ----------------------------------------------------------------------------------- */

/* P9: nobody was told of them: they go, and the object that they held is dropped */
static void test_by_vats(void **state)
{
	(void)state;
	cluster("ab");
	act("a", "resolve p+1 data #x [p+2 o-1]; p+2 data #y [p+3]; p+3 rej #z [p+1 p+2]", "drop o-1", NULL);
	assert_int_equal(n_rows(T_PROMISE), 0);
	act("a", "resolve p+4 data #self [p+4 o+5]", NULL);
	takes("a", "dropExports o+5");
	takes("a", "retireExports o+5");
	assert_int_equal(n_rows(T_PROMISE) + n_rows(T_VALUE) + n_rows(T_SUSPECT), 0);
	expect_nothing();
}

/* P9: a vat that holds one of them keeps them all; when it was told of it they go */
static void test_told(void **state)
{
	(void)state;
	cluster("ab");
	act("a", "send o-1 #m [p+1] -", NULL);
	takes("b", "message o+0 #m [p-1] -");
	act("a", "resolve p+1 data #x [p+2]; p+2 data #y [p+1 p+3]; p+3 data #leaf [o+7]", NULL);
	assert_int_equal(n_rows(T_PROMISE), 3);
	assert_int_equal(n_rows(T_SUSPECT), 0); /* looked at, and held */
	act("b", "subscribe p-1", NULL);
	takes("b", "notify p-1 data #x [p-2]; p-2 data #y [p-1 p-3]; p-3 data #leaf [o-1]");
	assert_int_equal(n_rows(T_PROMISE), 0);
	act("b", "drop o-1", "retimp o-1", NULL);
	takes("a", "dropExports o+7");
	takes("a", "retireExports o+7");
	expect_nothing();
}

/* P9, P10: a circle through promises that share a value */
static void test_shared(void **state)
{
	(void)state;
	cluster("ab");
	/* p+2 is forwarded to p+1, and takes its outcome, which names p+2 */
	act("a", "send o-1 #m [p+2] -", NULL);
	takes("b", "message o+0 #m [p-1] -");
	act("a", "resolve p+2 ref #r [p+1]; p+1 data #x [p+2]", NULL);
	assert_int_equal(n_rows(T_PROMISE), 2);
	act("b", "subscribe p-1", NULL);
	takes("b", "notify p-1 data #x [p-1]");
	assert_int_equal(n_rows(T_PROMISE) + n_rows(T_VALUE) + n_rows(T_SUSPECT), 0);
	expect_nothing();
}

/* P9: queued messages, parameters and the like hold them too; a vat's end lets go */
static void test_queued(void **state)
{
	(void)state;
	cluster("ab");
	suspend("b");
	act("a", "send o-1 #m [p+1] -", "resolve p+1 data #x [p+2]; p+2 data #y [p+1]", NULL);
	assert_int_equal(n_rows(T_PROMISE), 2);
	terminate("b");
	assert_int_equal(n_rows(T_PROMISE) + n_rows(T_VALUE) + n_rows(T_SUSPECT), 0);
}

/* --- made straight in the tables -------------------------------------------------------------------------------- */

static void settle(kref_t ref, const kref_t *held, size_t n)
{
	uint64_t bits[16];
	uint8_t raw[200];
	size_t i;

	for (i = 0; i < n; i++)
		bits[i] = held[i].bits;
	capdata_write(raw, "#v", 2, bits, n);
	must(promise_settle(&world->k, ref, PROMISE_FULFILLED, 0, raw, capdata_size(2, n)));
}

/* Each holds the next, and for every `tree` of them one more beside it; the first is held from outside. */
static kref_t *circle(size_t n, size_t tree, bool closed)
{
	struct kernel *k = &world->k;
	kref_t *p = calloc(n, sizeof(*p)), held[2];
	size_t i;

	must(kernel_savepoint(k));
	for (i = 0; i < n; i++)
		must(promise_new(k, &p[i]));
	for (i = 0; i < n; i++) {
		size_t n_held = closed || i + 1 < n;

		held[0] = p[(i + 1) % n];
		if (tree && i % tree == 0) {
			must(promise_new(k, &held[n_held]));
			settle(held[n_held], NULL, 0);
			n_held++;
		}
		settle(p[i], held, n_held);
	}
	must(kernel_hold(k, p[0], HOLD_PERSON, 0, 1));
	must(kernel_release(k));
	must(kernel_commit(k)); /* with the counters, which the checker knows */
	return p;
}

static void hold(kref_t ref, enum hold_kind kind, int delta)
{
	must(kernel_savepoint(&world->k));
	must(kernel_hold(&world->k, ref, kind, 0, delta));
	must(kernel_release(&world->k));
}

/* Steps of the search until there is nothing more to do; returns how many. */
static unsigned search(bool recount)
{
	unsigned n = 0;
	bool more = true;

	for (; more; n++) {
		uint64_t changes = store_n_changes(world->k.store);

		must(cycle_step(&world->k, &more));
		/* L1: no step does much, whatever there is */
		assert_in_range(store_n_changes(world->k.store), 0, changes + 3 * CYCLE_RELEASED + 3 * CYCLE_BUDGET);
		if (recount)
			assert_int_equal(world_check(true), 0);
	}
	assert_int_equal(n_rows(T_SUSPECT), 0);
	return n;
}

/* P9, C6: with what hangs on it; the counts are right after each step */
static void test_trees(void **state)
{
	_cleanup_free_ kref_t *p = NULL;

	(void)state;
	p = circle(900, 3, true);
	search(true);
	assert_int_equal(n_rows(T_PROMISE), 1200);
	hold(p[0], HOLD_PERSON, -1);
	assert_int_equal(n_rows(T_SUSPECT), 1);
	assert_true(search(true) > 5);
	assert_int_equal(n_rows(T_PROMISE) + n_rows(T_VALUE), 0);
	assert_int_equal(world->k.stats.n_circular, 900);
}

/* P9: held at any place, and by way of others, it stays; two that cross go together */
static void test_held(void **state)
{
	_cleanup_free_ kref_t *p = NULL, *q = NULL, *chain = NULL;
	kref_t both[2], pin;

	(void)state;
	p = circle(40, 0, true);
	q = circle(60, 0, true);
	chain = circle(30, 0, false);
	/* a promise that holds both and the chain's end leads to: pin -> p, q; q, its own circle, goes on */
	must(kernel_savepoint(&world->k));
	must(promise_new(&world->k, &pin));
	both[0] = p[7];
	both[1] = q[9];
	settle(pin, both, 2);
	must(kernel_hold(&world->k, pin, HOLD_PIN, 0, 1));
	must(kernel_release(&world->k));
	world_commit();
	hold(p[0], HOLD_PERSON, -1);
	hold(q[0], HOLD_PERSON, -1);
	search(true);
	assert_int_equal(n_rows(T_PROMISE), 131);
	hold(p[20], HOLD_PERSON, 1);
	hold(pin, HOLD_PIN, -1);
	assert_false(row_exists(pin));
	search(true);
	assert_int_equal(n_rows(T_PROMISE), 70);
	hold(chain[0], HOLD_PERSON, -1);
	hold(p[20], HOLD_PERSON, -1);
	search(true);
	assert_int_equal(n_rows(T_PROMISE), 0);
}

/* P9: what vats and people do while it is searched: it gets and loses holders at every step */
static void test_meanwhile(void **state)
{
	_cleanup_free_ kref_t *p = NULL;
	unsigned at;
	size_t i;
	bool more;

	(void)state;
	for (at = 0; at < 8; at += 2) {
		p = circle(700, 0, true);
		hold(p[1], HOLD_PERSON, 1);
		hold(p[0], HOLD_PERSON, -1);
		for (i = 0; i < at; i++)
			must(cycle_step(&world->k, &more));
		/* the holder moves on, always before the search's eyes */
		for (i = 2; i < 690 && world->k.cycles; i += 230) {
			hold(p[i], HOLD_PERSON, 1);
			hold(p[i > 2 ? i - 230 : 1], HOLD_PERSON, -1);
			must(cycle_step(&world->k, &more));
			assert_int_equal(world_check(true), 0);
		}
		search(false);
		assert_int_equal(n_rows(T_PROMISE), 700);
		hold(p[i > 2 ? i - 230 : 1], HOLD_PERSON, -1);
		search(false);
		assert_int_equal(n_rows(T_PROMISE), 0);
		free(p);
	}
	p = NULL;
}

/* C9, P12: what is found to be garbage cannot be named any more */
static void test_doomed(void **state)
{
	_cleanup_free_ kref_t *p = NULL;
	bool more, usable;

	(void)state;
	p = circle(15000, 0, true);
	must(kref_is_usable(&world->k, p[14999], &usable));
	assert_true(usable);
	hold(p[0], HOLD_PERSON, -1);
	while (row_exists(p[5000]))
		must(cycle_step(&world->k, &more));
	assert_true(row_exists(p[14999]));
	must(kref_is_usable(&world->k, p[14999], &usable));
	assert_false(usable);
	search(false);
	assert_false(row_exists(p[14999]));
}

/* P9, V9: the broker dies at each step */
static void test_crash(void **state)
{
	_cleanup_free_ kref_t *p = NULL;
	unsigned deaths = 0, n;
	bool more;

	(void)state;
	p = circle(700, 2, true);
	hold(p[0], HOLD_PERSON, -1);
	world_commit();
	for (n = 1; n_rows(T_PROMISE); n++) {
		unsigned i;

		for (i = 0, more = true; more && i < n; i++)
			must(cycle_step(&world->k, &more));
		world_commit();
		world_crash();
		deaths++;
	}
	assert_true(deaths > 5);
	search(true);
	assert_int_equal(n_rows(T_VALUE), 0);
}

/* L1, P9: 100,000 in a circle and as many in a chain: in steps, while cranks go on; and a chain alone needs no search */
static void test_large(void **state)
{
	enum { N = 100000 };
	_cleanup_free_ kref_t *p = NULL, *chain = NULL;
	uint64_t longest = 0;
	unsigned n = 0;

	(void)state;
	cluster("a");
	p = circle(N, 0, true);
	chain = circle(N, 0, false);
	hold(chain[0], HOLD_PERSON, -1);
	hold(p[0], HOLD_PERSON, -1);
	for (; world->k.cycling; n++) {
		uint64_t start = now_monotonic_ns(), took;

		if (n % 100 == 0)
			host_send(root("a"), "#now", NULL, 0, false);
		world_step();
		took = now_monotonic_ns() - start;
		longest = took > longest ? took : longest;
		if (n % 100 == 1) {
			expect("a", "message o+0 #now [] -");
			say("a", "done", NULL);
		}
	}
	world_run();
	assert_int_equal(n_rows(T_PROMISE), 0);
	assert_true(n > 2 * N / CYCLE_BUDGET);
	/* A step takes milliseconds; half a second would be a stall on any machine. */
	assert_true(longest < UINT64_C(500000000));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    T(test_by_vats),   T(test_told),   T(test_shared), T(test_queued), T(test_trees), T(test_held),
	    T(test_meanwhile), T(test_doomed), T(test_crash),  T(test_large),
	};

	return run_on_both("test_kernel_cycle", tests, ARRAY_LEN(tests));
}
