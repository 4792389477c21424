/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel in process: promises: settling, forwarding, notifying (P1-P8). Vats are played by hand
 * (kernel_harness.h), on both kinds of store; after every step the checker recounts the whole store (C6), and
 * a negative number anywhere fails the test (L1).
 */
#include "kernel_steps.h"

#include "../../broker/promise.h"

/* --- promises ------------------------------------------------------------------------------------------- */

/* P1, P2, P3: pipelining through an answer that is itself an answer */
static void test_pipelining(void **state)
{
	(void)state;
	cluster("abc");
	assert_string_equal(give("b", root("c")), "o-1");
	act("a", "send o-1 #get [] p+1", "send p+1 #1 [] p+2", "subscribe p+2", "send p+1 #2 [] -", NULL);
	expect("b", "message o+0 #get [] p-1");
	play("b", "send o-1 #before [] -", "resolve p-1 ref #c [o-1]", "send o-1 #after [] -", "done", NULL);
	assert_false(knows("b", "p-1"));
	takes("c", "message o+0 #before [] -");
	expect("c", "message o+0 #1 [] p-1");
	play("c", "resolve p-1 data #one []", "done", NULL);
	takes("c", "message o+0 #2 [] -");
	takes("c", "message o+0 #after [] -"); /* P5 */
	takes("a", "notify p+2 data #one []");
	assert_true(knows("a", "p+1"));  /* not subscribed, so held */
	act("a", "subscribe p+1", NULL); /* P4: to a settled promise: at once */
	takes("a", "notify p+1 ref #c [o-2]");
	assert_int_equal(n_rows(T_PROMISE), 0);
	expect_nothing();
}

/* P5, P6: order across a forwarding, sends in the same batches included */
static void test_order_across_forwarding(void **state)
{
	char text[REF_TEXT_MAX], want[60];

	(void)state;
	cluster("abc");
	give("b", root("c"));
	act("a", "send o-1 #get [] p+1", "send p+1 #1 [] -", "send p+1 #2 [] -", NULL);
	expect("b", "message o+0 #get [] p-1");
	play("b", "send p+5 #b0 [] -", "resolve p-1 ref #f [p+5]", "send p+5 #b1 [] -", "done", NULL);
	expect_promise(kref_of("a", "p+1"), "forwarded");
	expect_nothing(); /* P6: no notify, nothing delivered */
	act("a", "send p+1 #3 [] -", NULL);
	act("b", "send o-1 #b2 [] -", "resolve p+5 ref #c [o-1]", "send o-1 #b3 [] -", NULL);
	takes("c", "message o+0 #b2 [] -");
	takes("c", "message o+0 #b0 [] -");
	takes("c", "message o+0 #1 [] -");
	takes("c", "message o+0 #2 [] -");
	takes("c", "message o+0 #b1 [] -");
	takes("c", "message o+0 #3 [] -");
	takes("c", "message o+0 #b3 [] -");
	act("a", "send p+1 #4 [] -", NULL);
	takes("c", "message o+0 #4 [] -");
	snprintf(want, sizeof(want), "ref #c [%s]", kref_format(root("c"), text));
	expect_promise(kref_of("a", "p+1"), want);
	expect_nothing();
}

/* P5, P6: forwarded to what is settled already takes the outcome at once, in one batch and across cranks */
static void test_forward_to_settled(void **state)
{
	(void)state;
	cluster("abc");
	give("b", root("c"));
	act("a", "send o-1 #get [] p+1", "send p+1 #1 [] -", "send o-1 #get2 [] p+2", "send p+2 #2 [] p+3",
	    "subscribe p+1", "subscribe p+2", "subscribe p+3", NULL);
	expect("b", "message o+0 #get [] p-1");
	play("b", "resolve p+5 ref #c [o-1]; p-1 ref #f [p+5]", "send o-1 #after [] -", "done", NULL);
	takes("c", "message o+0 #1 [] -");
	takes("c", "message o+0 #after [] -");
	takes("a", "notify p+1 ref #c [o-2]");
	expect("b", "message o+0 #get2 [] p-2");
	play("b", "send o-1 #keep [p+6] -", "resolve p+6 rej #no [o+1]", "done", NULL);
	takes("c", "message o+0 #keep [p-1] -");
	assert_false(knows("b", "p+6"));            /* P3 */
	act("b", "resolve p-2 ref #f [p+6]", NULL); /* C2: p+6 is unknown by now, and so a new promise */
	assert_int_equal(promise_row(kref_of("a", "p+2")).state, PROMISE_FORWARDED);
	act("b", "resolve p+6 rej #no2 [o+1]", NULL);
	takes("a", "notify p+2 rej #no2 [o-4]");
	takes("a", "notify p+3 rej #no2 [o-4]");
	expect_nothing();
}

/* P6: chains of forwards over several cranks and vats settle from the end */
static void test_forwarding_chain(void **state)
{
	int i;

	(void)state;
	cluster("abc");
	give("b", root("c"));
	act("a", "send o-1 #get [] p+1", "subscribe p+1", "send p+1 #1 [] p+2", "subscribe p+2", NULL);
	expect("b", "message o+0 #get [] p-1");
	play("b", "resolve p-1 ref #f [p+1]", "done", NULL);
	for (i = 1; i < 20; i++) {
		char text[60];

		snprintf(text, sizeof(text), "resolve p+%d ref #f [p+%d]", i, i + 1);
		act("b", text, NULL);
	}
	/* the last link goes through another vat */
	act("b", "send o-1 #get [] p+100", "resolve p+20 ref #f [p+100]", NULL);
	expect("c", "message o+0 #get [] p-1");
	expect_nothing();
	play("c", "resolve p-1 ref #x [o+3]", "done", NULL);
	expect("c", "message o+3 #1 [] p-2");
	takes("a", "notify p+1 ref #x [o-4]");
	play("c", "resolve p-2 data #end []", "done", NULL);
	takes("a", "notify p+2 data #end []");
	expect_nothing();
	act("b", "subscribe p+100", NULL);
	takes("b", "notify p+100 ref #x [o-2]");
	assert_int_equal(n_rows(T_PROMISE), 0);
	assert_int_equal(n_rows(T_FORWARD), 0);
}

/* P6: every member of a cycle is rejected; in one batch, over several cranks, of one, itself */
static void test_cycles(void **state)
{
	(void)state;
	cluster("abc");
	act("a", "send o-1 #m [p+1 p+2 p+3] -", NULL);
	expect("b", "message o+0 #m [p-1 p-2 p-3] -");
	play("b", "subscribe p-1", "subscribe p-2", "subscribe p-3", "done", NULL);
	/* one batch, three members */
	act("a", "resolve p+1 ref #f [p+2]; p+2 ref #f [p+3]; p+3 ref #f [p+1]", NULL);
	takes("b", "notify p-3 krej " CYCLE " []");
	takes("b", "notify p-1 krej " CYCLE " []");
	takes("b", "notify p-2 krej " CYCLE " []");
	/* itself */
	act("a", "send o-1 #m [p+4] -", "resolve p+4 ref #f [p+4]", NULL);
	expect("b", "message o+0 #m [p-4] -");
	play("b", "subscribe p-4", "done", NULL);
	takes("b", "notify p-4 krej " CYCLE " []");
	/* over three cranks of two vats; messages wait on a member */
	act("a", "send o-1 #m [p+5] p+6", "subscribe p+6", "send p+6 #w [] p+7", "subscribe p+7", NULL);
	expect("b", "message o+0 #m [p-5] p-6");
	play("b", "resolve p-6 ref #f [p-5]", "done", NULL);
	expect_nothing();
	act("a", "resolve p+5 ref #f [p+6]", NULL);
	takes("a", "notify p+6 krej " CYCLE " []");
	takes("a", "notify p+7 krej " CYCLE " []");
	expect_nothing();
	act("b", "subscribe p-5", NULL);
	takes("b", "notify p-5 krej " CYCLE " []");
	assert_int_equal(n_rows(T_PROMISE), 0);
}

/* P3: crosswise and self-naming values in one batch; P7: cycles of settled data arrive once each */
static void test_batch_crosswise(void **state)
{
	(void)state;
	cluster("ab");
	act("a", "send o-1 #m [p+1 p+2 p+3] -", NULL);
	expect("b", "message o+0 #m [p-1 p-2 p-3] -");
	play("b", "subscribe p-1", "subscribe p-2", "done", NULL);
	act("a", "resolve p+1 data #x [p+2 p+3]; p+2 data #y [p+1]; p+3 rej #z [p+3]", NULL);
	assert_false(knows("a", "p+1") || knows("a", "p+2") || knows("a", "p+3"));
	takes("b", "notify p-1 data #x [p-2 p-3]; p-2 data #y [p-1]; p-3 rej #z [p-3]");
	expect_nothing(); /* P7: the second notify, for p-2, is no delivery at all */
	assert_false(knows("b", "p-1") || knows("b", "p-2") || knows("b", "p-3"));
}

/* P7: many that name each other, every which way: each is listed once */
static void test_large_closure(void **state)
{
	enum { N = 30 };
	_cleanup_free_ char *got = NULL;
	char text[4000] = "resolve ";
	size_t n = strlen(text);
	unsigned i, listed = 1;
	const char *at;

	(void)state;
	cluster("ab");
	act("a", "send o-1 #m [p+1] -", NULL);
	expect("b", "message o+0 #m [p-1] -");
	play("b", "subscribe p-1", "done", NULL);
	for (i = 0; i < N; i++)
		n += sprintf(text + n, "%sp+%u data #v [p+%u p+%u p+%u]", i ? "; " : "", i + 1, (i + 1) % N + 1, i * 7 % N + 1, i + 1);
	act("a", text, NULL);
	got = next_delivery(raw_named("b"));
	assert_non_null(got);
	for (at = got; (at = strstr(at, "; ")); at++)
		listed++;
	assert_int_equal(listed, N);
	for (i = 1; i <= N; i++) {
		sprintf(text, " p-%u data", i);
		at = strstr(got, text);
		assert_non_null(at);
		assert_null(strstr(at + 1, text));
	}
	play("b", "done", NULL);
	assert_false(knows("b", "p-1") || knows("b", "p-2"));
	expect_nothing();
}

/* P7: the closure; unsettled ones are ordinary imports; what the recipient did not know is named and
 * forgotten */
static void test_notify_closure(void **state)
{
	(void)state;
	cluster("abc");
	act("a", "send o-1 #m [p+1] -", "send o-2 #m [p+2] -", NULL);
	expect("b", "message o+0 #m [p-1] -");
	play("b", "subscribe p-1", "done", NULL);
	takes("c", "message o+0 #m [p-1] -");
	act("a", "resolve p+2 data #inner [p+3 p+4 o+1]", "resolve p+4 rej #bad []", NULL);
	/* p+2 left a's clist; only c holds it. Name it again through c */
	assert_string_equal(give("a", kref_of("c", "p-1")), "p-2");
	act("a", "resolve p+1 data #outer [p-2 p+3 p-2]", NULL);
	takes("b", "notify p-1 data #outer [p-2 p-3 p-2]; p-2 data #inner [p-3 p-4 o-1]; p-4 rej #bad []");
	assert_false(knows("b", "p-2") || knows("b", "p-4"));
	assert_true(knows("b", "p-3"));
	assert_int_equal(vat_named("b")->row.next_import_promise, 5);
	expect_nothing();
	/* C1: the number 2 is not given out again */
	act("a", "send o-1 #m [p+3 p+9] -", NULL);
	takes("b", "message o+0 #m [p-3 p-5] -");
	act("c", "subscribe p-1", NULL);
	takes("c", "notify p-1 data #inner [p-2 p-3 o-1]; p-3 rej #bad []");
	expect_nothing();
}

/* P3, P4: who is notified: each subscriber once, in endpoint order; subscribing twice is one notify */
static void test_subscribers(void **state)
{
	(void)state;
	cluster("abcd");
	act("a", "send o-3 #m [p+1] -", "send o-2 #m [p+1] -", "send o-1 #m [p+1] -", NULL);
	expect("d", "message o+0 #m [p-1] -");
	play("d", "subscribe p-1", "subscribe p-1", "done", NULL);
	expect("c", "message o+0 #m [p-1] -");
	play("c", "subscribe p-1", "done", NULL);
	takes("b", "message o+0 #m [p-1] -");
	act("c", "subscribe p-1", NULL);
	poke("c"); /* all busy */
	poke("d");
	poke("b");
	act("a", "resolve p+1 data #v []", "send o-1 #later [] -", NULL);
	play("b", "subscribe p-1", "done", NULL);
	play("d", "done", NULL);
	play("c", "done", NULL);
	takes("d", "notify p-1 data #v []");
	takes("c", "notify p-1 data #v []");
	takes("b", "message o+0 #later [] -");
	takes("b", "notify p-1 data #v []");
	expect_nothing();
	assert_int_equal(n_rows(T_PROMISE) + n_rows(T_NOTIFYING) + n_rows(T_SUBSCRIBER), 0);
}

/* P4: a notify that is queued is queued once, subscribed again or not */
static void test_one_queued_notify(void **state)
{
	(void)state;
	cluster("ab");
	act("a", "send o-1 #m [p+1] -", NULL);
	expect("b", "message o+0 #m [p-1] -");
	play("b", "subscribe p-1", "done", NULL);
	poke("b");
	act("a", "resolve p+1 data #v []", NULL);
	play("b", "subscribe p-1", "subscribe p-1", "done", NULL);
	takes("b", "notify p-1 data #v []");
	expect_nothing();
}

/* P3: a vat that subscribed to its own promise and resolves it hears nothing: it has left its clist */
static void test_own_subscription(void **state)
{
	(void)state;
	cluster("ab");
	act("a", "subscribe p+1", "resolve p+1 data #v [p+2]", NULL);
	expect_nothing();
	assert_int_equal(n_rows(T_NOTIFYING) + n_rows(T_SUBSCRIBER), 0);
}

/* P6: subscribers of a forwarded promise wait with it, and hear its own name */
static void test_forwarded_subscribers(void **state)
{
	(void)state;
	cluster("abc");
	act("a", "send o-1 #m [p+1] -", "send o-2 #m [p+2] -", NULL);
	expect("b", "message o+0 #m [p-1] -");
	play("b", "subscribe p-1", "done", NULL);
	takes("c", "message o+0 #m [p-1] -");
	act("a", "resolve p+1 ref #f [p+2]", NULL);
	act("c", "subscribe p-1", NULL);
	expect_nothing();
	act("b", "subscribe p-1", NULL); /* still unresolved for its holders */
	expect_nothing();
	act("a", "resolve p+2 data #v [p+2]", NULL);
	/* the same value; the promise inside is the inner one, which b first hears of now */
	takes("b", "notify p-1 data #v [p-2]; p-2 data #v [p-2]");
	takes("c", "notify p-1 data #v [p-1]");
	expect_nothing();
}

/* P13: who forwards a promise that it had subscribed to has let go of it; also when it comes back */
static void test_forwarder_not_told(void **state)
{
	(void)state;
	cluster("ab");
	give("b", root("a"));
	act("a", "send o-1 #m [p+1] -", "subscribe p+1", "resolve p+1 ref #f [p+2]", NULL);
	assert_int_equal(n_rows(T_SUBSCRIBER), 0);
	expect("b", "message o+0 #m [p-1] -");
	play("b", "send o-1 #back [p-1] -", "done", NULL);
	takes("a", "message o+0 #back [p-2] -");
	act("a", "resolve p+2 data #v []", NULL);
	expect_nothing();
	act("a", "subscribe p-2", NULL);
	takes("a", "notify p-2 data #v []");
	expect_nothing();
}

/* P2: the sender may hand on the result it has to give itself */
static void test_result_handed_on(void **state)
{
	(void)state;
	cluster("abc");
	give("b", root("c"));
	act("a", "send o-1 #ask [] p+1", "subscribe p+1", NULL);
	expect("b", "message o+0 #ask [] p-1");
	play("b", "send o-1 #ask [] p-1", "done", NULL);
	assert_true(knows("b", "p-1"));
	expect("c", "message o+0 #ask [] p-1");
	assert_int_equal(promise_row(kref_of("a", "p+1")).decider, 0);
	play("c", "resolve p-1 data #v []", "done", NULL);
	takes("a", "notify p+1 data #v []");
	expect_nothing();
	act("b", "subscribe p-1", NULL);
	takes("b", "notify p-1 data #v []");
}

/* P8: the decider dies with the promise undecided, forwarded, waited for */
static void test_decider_dies(void **state)
{
	kref_t out;

	(void)state;
	cluster("abc");
	give("b", root("c"));
	act("a", "send o-1 #1 [] p+1", "subscribe p+1", "send p+1 #w [] p+2", "subscribe p+2", NULL);
	expect("b", "message o+0 #1 [] p-1");
	play("b", "resolve p-1 ref #f [p+7]", "send o-1 #hand [p+8] p+9", "done", NULL);
	expect("c", "message o+0 #hand [p-1] p-2");
	play("c", "subscribe p-1", "done", NULL);
	out = host_send(root("b"), "#out", NULL, 0, true);
	world_run();
	takes("b", "message o+0 #out [] p-2");
	terminate("b");
	takes("a", "notify p+1 krej " GONE("b") " []");
	takes("a", "notify p+2 krej " GONE("b") " []");
	takes("c", "notify p-1 krej " GONE("b") " []");
	assert_true(host_settled(out));
	expect_promise(out, "krej " GONE("b") " []");
	expect_nothing();
	/* c still decides p-2, which nobody else holds */
	assert_int_equal(promise_row(kref_of("c", "p-2")).n_refs, 1);
	act("c", "resolve p-2 data #x []", NULL);
	expect_nothing();
}

/* Each is forwarded to the next, and one subscribes to all. */
static kref_t *many_promises(size_t n, bool forwarded)
{
	struct kernel *k = &world->k;
	kref_t *p = calloc(n, sizeof(*p));
	size_t i;

	must(kernel_savepoint(k));
	for (i = 0; i < n; i++) {
		must(promise_new(k, &p[i]));
		if (i && forwarded)
			must(promise_forward(k, p[i - 1], p[i]));
		must(kernel_hold(k, p[i], HOLD_PERSON, 0, 1));
		must(promise_subscribe(k, p[i], endpoint_vat(vat_named("a")->number)));
	}
	must(kernel_release(k));
	must(kernel_commit(k)); /* what is deleted from now on was in the store once */
	return p;
}

/* P10, L1: what settles in one crank costs its number once, in whatever order: here the last first */
static void test_many_settle(void **state)
{
	static uint8_t raw[10];
	enum { N = 10000 };
	struct kernel *k = &world->k;
	_cleanup_free_ kref_t *chain = NULL, *single = NULL;
	uint64_t start;
	size_t i;

	(void)state;
	cluster("a");
	suspend("a");
	chain = many_promises(N, true);
	single = many_promises(N, false);
	capdata_write(raw, "#1", 2, NULL, 0);
	start = now_monotonic_ns();
	must(kernel_savepoint(k));
	for (i = N; i > 0; i--)
		must(promise_settle(k, single[i - 1], PROMISE_FULFILLED, 0, raw, sizeof(raw)));
	must(promise_settle(k, chain[N - 1], PROMISE_FULFILLED, 0, raw, sizeof(raw)));
	must(kernel_release(k));
	/* Hundredths of a second; by the square of the number it took 20 s. */
	assert_true(now_monotonic_ns() - start < UINT64_C(3000000000));
	assert_int_equal(vat_named("a")->row.n_queued, 2 * N);
	expect_promise(chain[0], "data #1 []");
	world_commit();
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    T(test_pipelining),
	    T(test_order_across_forwarding),
	    T(test_forward_to_settled),
	    T(test_forwarding_chain),
	    T(test_cycles),
	    T(test_batch_crosswise),
	    T(test_notify_closure),
	    T(test_subscribers),
	    T(test_one_queued_notify),
	    T(test_own_subscription),
	    T(test_forwarded_subscribers),
	    T(test_forwarder_not_told),
	    T(test_result_handed_on),
	    T(test_large_closure),
	    T(test_decider_dies),
	    T(test_many_settle),
	};

	return run_on_both("test_kernel_promise", tests, ARRAY_LEN(tests));
}
