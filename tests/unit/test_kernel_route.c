/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel in process: launching, names and counts, and every row of the routing table. Vats are played by
 * hand (kernel_harness.h), on both kinds of store; after every step the checker recounts the whole store
 * (C6), and a negative number anywhere fails the test (L1).
 */
#include "kernel_steps.h"

/* --- launch --------------------------------------------------------------------------------------------- */

/* V1, V2, V3, D2 */
static void test_launch(void **state)
{
	size_t n = world->n_services;
	char want[200];

	(void)state;
	cluster_begin("ab", ",\"parameters\":{\"x\":1}");
	world_run();
	assert_int_equal(raw_named("a")->fd >= 0, true);
	takes("a", "startVat #{\"x\":1} []");
	expect("b", "startVat #{\"x\":1} []");
	expect_nothing(); /* not before every one is up */
	play("b", "done", NULL);
	assert_int_equal(raw_named("b")->incarnation, 1);
	assert_int_equal(raw_named("b")->next_export, 1);
	assert_int_equal(raw_named("b")->next_promise, 1);
	expect("a", "message o+0 #[\"bootstrap\",[{\"a\":\"$0\",\"b\":\"$1\"},{\"console\":\"$2\"}]] [o+0 "
	            "o-1 o-2] p-1");
	assert_false(world->request.answered);
	play("a", "resolve p-1 data #{\"it\":\"$0\"} [o+4]", "done", NULL);
	snprintf(want, sizeof(want),
	         "{\"bootstrapResult\":{\"body\":\"#{\\\"it\\\":\\\"$0\\\"}\",\"slots\":[\"ko%zu\"]},\"rootKref\":\"ko%zu\","
	         "\"subclusterId\":\"s1\",\"vats\":{\"a\":\"v1\",\"b\":\"v2\"}}",
	         n + 3, n + 1);
	assert_string_equal(world->request.text, want);
	expect_counts(ko(n + 3), 1, 1); /* held for the subcluster's life */
	expect_nothing();
}

/* V1: nothing is left of a launch that fails, whatever way it fails */
static void launch_fails(int how)
{
	_cleanup_free_ char *before = world_dump(0), *after = NULL;

	cluster_begin("ab", "");
	world_run();
	switch (how) {
	case 0:
		process_dies("b", SIGKILL);
		break;
	case 1:
		free(next_delivery(raw_named("b")));
		play("b", "send o-7 #x [] -", "done", NULL);
		break;
	case 2:
		free(next_delivery(raw_named("b")));
		play("b", "error no parameters", NULL);
		break;
	case 3:
		free(next_delivery(raw_named("b")));
		play("b", "exit ok #bye []", "done", NULL);
		break;
	case 4:
		free(next_delivery(raw_named("b")));
		play("b", "abandon o+0", "done", NULL);
		start_up("a");
		break;
	case 5:
		start_up("a");
		start_up("b");
		free(next_delivery(raw_named("a")));
		play("a", "resolve p-1 rej #\"no\" []", "done", NULL);
		break;
	case 6:
		start_up("a");
		start_up("b");
		free(next_delivery(raw_named("a")));
		play("a", "resolve p-1 data #{\"#error\":\"broken\",\"name\":\"Error\"} []", "done", NULL);
		break;
	case 7:
		start_up("a");
		start_up("b");
		free(next_delivery(raw_named("a")));
		play("a", "exit fail #\"no\" []", "done", NULL);
		break;
	}
	after = world_dump(0);
	assert_string_equal(before, after);
	assert_true(world->request.answered);
	assert_int_equal(strncmp(world->request.text, "[LAUNCH_FAILED] ", 16), 0);
	assert_int_equal(n_rows(T_VAT) + n_rows(T_SUBCLUSTER) + n_rows(T_MEMBER) + n_rows(T_LOG), 0);
	assert_null(world->k.vats);
	assert_null(world->k.launches);
}

static void test_launch_fails(void **state)
{
	int how;

	(void)state;
	for (how = 0; how < 8; how++)
		launch_fails(how);
}

/* V1: an end asked for while the answer is on its way: the answer's references are not held for ever */
static void test_launch_answer_and_end(void **state)
{
	_cleanup_free_ char *before = world_dump(0), *after = NULL;
	struct control_request ender = {0};

	(void)state;
	cluster_begin("a", "");
	world_run();
	start_up("a");
	free(next_delivery(raw_named("a")));
	say("a", "resolve p-1 data #r [o+4]", "done", NULL);
	must(loop_round(&world->k.loop, 0)); /* applied; nobody was told yet */
	must(subcluster_terminate(&world->k, 1, "asked for", &ender));
	world_run();
	assert_true(ender.answered && world->request.answered);
	after = world_dump(0);
	assert_string_equal(before, after);
	assert_int_equal(n_rows(T_HOLD), world->n_services);
}

/* --- clists and counts ---------------------------------------------------------------------------------- */

/* C1, C2, C3, C4, C5, D2, D3 */
static void test_names_and_counts(void **state)
{
	kref_t o5, p6, p7;

	(void)state;
	cluster("ab");
	act("a", "send o-1 #m [o+5 p+6 o+5 o-1] p+7", NULL);
	o5 = kref_of("a", "o+5");
	p6 = kref_of("a", "p+6");
	p7 = kref_of("a", "p+7");
	expect("b", "message o+0 #m [o-1 p-1 o-1 o+0] p-2");
	/* in flight: nothing moved yet */
	assert_false(knows("b", "o-1"));
	expect_counts(o5, 2, 2);
	expect_counts(root("b"), 4, 4); /* root hold, a's import, target, slot */
	assert_int_equal(promise_row(p6).n_refs, 2);
	assert_int_equal(promise_row(p7).n_refs, 2);
	assert_int_equal(promise_row(p7).decider, 0);
	assert_int_equal(promise_row(p6).decider, endpoint_vat(1).bits);
	play("b", "done", NULL);
	expect_counts(o5, 1, 1);
	expect_counts(root("b"), 2, 2);
	assert_int_equal(promise_row(p6).n_refs, 2);
	assert_int_equal(promise_row(p7).n_refs, 2);
	assert_int_equal(promise_row(p7).decider, endpoint_vat(2).bits); /* D3 */
	/* C3: known things keep their names */
	act("a", "send o-1 #again [p+7 o+5 o+8 p+6] -", NULL);
	takes("b", "message o+0 #again [p-2 o-1 o-2 p-1] -");
	act("b", "send o-1 #back [o+0 o-1 o-2 p-1 p-2] p+1", NULL);
	takes("a", "message o+5 #back [o-1 o+5 o+8 p+6 p+7] p-2");
	expect_nothing();
}

/* C1: numbers that were given up are not given out again; C3: an entry that lives is used again, its flag set
 */
static void test_reuse_of_entries(void **state)
{
	kref_t o5;

	(void)state;
	cluster("ab");
	act("a", "send o-1 #m [o+5] -", NULL);
	takes("b", "message o+0 #m [o-1] -");
	o5 = kref_of("a", "o+5");
	act("b", "drop o-1 o-1", "drop o-1", NULL); /* Y1: repeated drops are allowed */
	assert_true(knows("b", "o-1"));
	expect_counts(o5, 0, 1);
	expect("a", "dropExports o+5");
	assert_true(is_reachable("a", "o+5"));           /* G3: when it is applied */
	play("a", "send o-1 #m2 [o+5] -", "done", NULL); /* exported again in that very crank */
	assert_true(is_reachable("a", "o+5"));
	expect("b", "message o+0 #m2 [o-1] -"); /* the same entry */
	assert_false(is_reachable("b", "o-1"));
	play("b", "done", NULL);
	assert_true(is_reachable("b", "o-1"));
	expect_counts(o5, 1, 1);
	expect_nothing();
	act("b", "drop o-1", "retimp o-1", NULL);
	assert_false(knows("b", "o-1"));
	takes("a", "dropExports o+5");
	assert_false(is_reachable("a", "o+5"));
	takes("a", "retireExports o+5");
	assert_false(knows("a", "o+5"));
	assert_false(row_exists(o5));
	act("a", "send o-1 #m3 [o+5] -", NULL); /* C2: unknown again, so a new object */
	takes("b", "message o+0 #m3 [o-2] -");
	assert_true(kref_of("a", "o+5").bits > o5.bits);
	expect_nothing();
}

/* C1: numbers of an abandoned crank were never committed, so the next incarnation may get them */
static void test_tentative_numbers(void **state)
{
	(void)state;
	cluster("ab");
	act("a", "send o-1 #m [o+5] -", NULL);
	expect("b", "message o+0 #m [o-1] -");
	process_dies("b", SIGKILL);
	assert_false(knows("b", "o-1"));
	start_up("b");
	takes("b", "message o+0 #m [o-1] -"); /* D4 */
	assert_true(knows("b", "o-1"));
	assert_int_equal(vat_named("b")->row.killer_count, 0);
}

/* C2: virtual and durable references are known or not like any other */
static void test_forms_of_references(void **state)
{
	(void)state;
	cluster("ab");
	act("a", "send o-1 #m [o+v2.1 o+d3.1:0 o+d3.1:1 o+v2.1] -", NULL);
	takes("b", "message o+0 #m [o-1 o-2 o-3 o-1] -");
	assert_int_equal(object_row(kref_of("a", "o+v2.1")).flags, 0);
	assert_int_equal(object_row(kref_of("a", "o+d3.1:1")).flags, OBJECT_F_SURVIVES);
	assert_int_equal(vat_named("a")->row.next_export, 1); /* plain numbers only */
}

/* --- routing -------------------------------------------------------------------------------------------- */

/* A message from a to b's root with a subscribed result. */
static void ask(void) { act("a", "send o-1 #ask [o+3] p+1", "subscribe p+1", NULL); }

/* R: revoked, at enqueue */
static void test_route_revoked(void **state)
{
	(void)state;
	cluster("ab");
	revoke_ref(root("b"));
	ask();
	takes("a", "dropExports o+3"); /* nobody got it; G2: before what waits in the queue */
	takes("a", "retireExports o+3");
	takes("a", "notify p+1 krej " REVOKED " []");
	assert_false(knows("a", "p+1"));
	expect_nothing();
}

/* R, X1: revoked while it was queued: at delivery */
static void test_route_revoked_later(void **state)
{
	(void)state;
	cluster("ab");
	suspend("b");
	ask();
	expect_nothing();
	revoke_ref(root("b"));
	resume("b");
	takes("a", "dropExports o+3");
	takes("a", "retireExports o+3");
	takes("a", "notify p+1 krej " REVOKED " []");
	expect_nothing();
}

/* R: no owner. At enqueue: abandoned before; at delivery: abandoned in the crank before it */
static void test_route_no_owner(void **state)
{
	kref_t o9;

	(void)state;
	cluster("ab");
	act("b", "send o+9 #self [] -", NULL);
	expect("b", "message o+9 #self [] -");
	o9 = kref_of("b", "o+9");
	host_send(root("a"), "#take", &o9, 1, false);
	world_run();
	expect("a", "message o+0 #take [o-3] -");
	play("a", "send o-3 #late [] p+1", "subscribe p+1", "done", NULL);
	play("b", "abandon o+9", "done", NULL);
	takes("a", "notify p+1 krej " DELETED " []");
	assert_true(is_reachable("a", "o-3")); /* G3: the importer keeps a reference that rejects */
	assert_int_equal(object_row(o9).owner, 0);
	act("a", "send o-3 #later [] p+2", "subscribe p+2", NULL);
	takes("a", "notify p+2 krej " DELETED " []");
	expect_nothing();
	act("a", "drop o-3", NULL);
	expect("a", "retireImports o-3");
	play("a", "done", NULL);
	assert_false(row_exists(o9));
	expect_nothing();
}

/* R: never existed; unknown promise: a clean error to whoever named it */
static void test_route_unknown(void **state)
{
	kref_t p;

	(void)state;
	cluster("a");
	p = host_send(ko(999), "#x", NULL, 0, true);
	world_run();
	assert_true(host_settled(p));
	expect_promise(p, "krej " KERR("OBJECT_DELETED", "the object does not exist") " []");
	p = host_send(kp(999), "#x", NULL, 0, true);
	world_run();
	assert_true(host_settled(p));
	expect_promise(p, "krej " KERR("OBJECT_DELETED", "the promise does not exist") " []");
	host_send(ko(999), "#x", NULL, 0, false); /* R2 */
	world_run();
	assert_int_equal(world->k.stats.n_dropped_sends, 1);
}

/* R, S4: the kernel's own queue */
static void test_route_service(void **state)
{
	kref_t absent;

	(void)state;
	cluster("a");
	act("a", "send o-1 #[\"log\",[\"$0\"]] [o+3] p+1", "subscribe p+1", NULL);
	takes("a", "dropExports o+3");
	takes("a", "retireExports o+3");
	takes("a", "notify p+1 data #\"#undefined\" []");
	act("a", "send o-1 #nonsense [] p+2", "subscribe p+2", "send o-1 #[\"sing\",[]] [] p+3",
	    "subscribe p+3", NULL);
	takes("a",
	      "notify p+2 rej #{\"#error\":\"the message is not a method call\",\"name\":\"TypeError\"} []");
	free(next_delivery(raw_named("a")));
	play("a", "done", NULL);
	/* an object of the kernel without a service */
	must(kernel_savepoint(&world->k));
	must(object_new(&world->k, ENDPOINT_K, 0, true, &absent));
	must(kernel_hold(&world->k, absent, HOLD_PIN, 0, 1));
	must(kernel_release(&world->k));
	world->no_check = true; /* which the checker rightly does not like */
	assert_string_equal(give("a", absent), "o-2");
	act("a", "send o-2 #x [] p+4", "subscribe p+4", NULL);
	takes("a", "notify p+4 krej " KERR("SERVICE_UNAVAILABLE", "no such service") " []");
	expect_nothing();
}

/* R: terminated, at enqueue and at delivery; P8 for what it decided */
static void test_route_terminated(void **state)
{
	(void)state;
	cluster("ab");
	ask();
	expect("b", "message o+0 #ask [o-1] p-1");
	play("b", "done", NULL);
	poke("b"); /* busy */
	act("a", "send o-1 #queued [] p+2", "subscribe p+2", NULL);
	expect_nothing();
	terminate("b");
	takes("a", "dropExports o+3");
	takes("a", "retireExports o+3");
	takes("a", "notify p+2 krej " UNREACHABLE " []");
	takes("a", "notify p+1 krej " GONE("b") " []");
	act("a", "send o-1 #late [] p+3", "subscribe p+3", NULL);
	takes("a", "notify p+3 krej " UNREACHABLE " []");
	assert_true(is_reachable("a", "o-1"));
	expect_terminated("b", "by the test");
	act("a", "drop o-1", NULL);
	/* the root is pinned for the subcluster's life (G5), so nothing is retired yet */
	expect_nothing();
}

/* R: suspended: queued, visibly; V2 */
static void test_route_suspended(void **state)
{
	(void)state;
	cluster("ab");
	suspend("b");
	ask();
	act("a", "send o-1 #second [] -", NULL);
	expect_nothing();
	assert_int_equal(vat_named("b")->row.n_queued, 2);
	assert_true(vat_named("b")->row.queued_bytes > 0);
	resume("b");
	takes("b", "message o+0 #ask [o-1] p-1");
	takes("b", "message o+0 #second [] -");
	assert_int_equal(vat_named("b")->row.n_queued, 0);
	assert_int_equal(vat_named("b")->row.queued_bytes, 0);
	expect_nothing();
}

/* R: QUEUE_FULL, once, when a send is first accepted */
static void test_route_queue_full(void **state)
{
	(void)state;
	cluster_with("ab", ",\"limits\":{\"queueMessages\":2}");
	act("a", "send p+9 #w1 [] -", "send p+9 #w2 [] p+8", "send p+9 #w3 [] -", NULL);
	suspend("b");
	act("a", "send o-1 #1 [] -", "send o-1 #2 [] -", "send o-1 #3 [] p+1", "subscribe p+1",
	    "send o-1 #4 [] -", NULL);
	takes("a", "notify p+1 krej " KERR("QUEUE_FULL", "2 messages of a are in the queue of b already") " []");
	assert_int_equal(world->k.stats.n_dropped_sends, 1); /* R2 */
	act("a", "resolve p+9 ref #b [o-1]", NULL);          /* accepted before, so they come through */
	assert_int_equal(vat_named("b")->row.n_queued, 5);
	resume("b");
	takes("b", "message o+0 #1 [] -");
	takes("b", "message o+0 #2 [] -");
	takes("b", "message o+0 #w1 [] -");
	takes("b", "message o+0 #w2 [] p-1");
	takes("b", "message o+0 #w3 [] -");
	expect_nothing();
}

/* R: the result promise is the target itself, or waits behind it */
static void test_route_result_is_target(void **state)
{
	(void)state;
	cluster("ab");
	act("a", "send p+1 #x [] p+1", "subscribe p+1", NULL);
	takes("a", "notify p+1 krej " ITSELF " []");
	act("a", "send p+2 #x [] p+3", "send p+3 #y [] p+4", "send p+4 #z [] p+2", "subscribe p+4",
	    "subscribe p+3", "subscribe p+2", NULL);
	/* p+2 is rejected, so everything behind it is, with the identical value */
	takes("a", "notify p+4 krej " ITSELF " []");
	takes("a", "notify p+3 krej " ITSELF " []");
	takes("a", "notify p+2 krej " ITSELF " []");
	expect_nothing();
	/* the same by forwarding: what waits on p+5 has p+6 as its result, and p+5 becomes p+6 */
	act("a", "send p+5 #x [] p+6", "subscribe p+6", "subscribe p+5", "resolve p+5 ref #f [p+6]", NULL);
	takes("a", "notify p+6 krej " ITSELF " []");
	expect_nothing(); /* p+5 left the clist when it was resolved (P3) */
	/* crosswise */
	act("a", "send p+7 #x [] p+8", "send p+9 #y [] p+10", "subscribe p+8", "subscribe p+10",
	    "resolve p+7 ref #f [p+10]; p+9 ref #f [p+8]", NULL);
	takes("a", "notify p+10 krej " ITSELF " []");
	takes("a", "notify p+8 krej " ITSELF " []");
	expect_nothing();
	/* a loop closed by the second message that waits, met while the first is re-sent */
	act("a", "send p+11 #1 [] p+12", "send p+12 #x [] -", "send p+11 #2 [] p+13", "send p+13 #y [] p+14",
	    "subscribe p+12", "subscribe p+13", "subscribe p+14", "resolve p+11 ref #f [p+14]", NULL);
	takes("a", "notify p+13 krej " ITSELF " []");
	takes("a", "notify p+14 krej " ITSELF " []");
	takes("a", "notify p+12 krej " ITSELF " []");
	expect_nothing();
	assert_int_equal(n_rows(T_PROMISE), 0);
}

/* R: fulfilled with data; rejected; fulfilled with a reference; each at enqueue and after waiting */
static void test_route_settled(void **state)
{
	(void)state;
	cluster("ab");
	act("a", "send o-1 #d [] p+1", "send o-1 #r [] p+2", "send o-1 #o [] p+3", "send p+1 #w1 [] p+11",
	    "send p+2 #w2 [] p+12", "send p+3 #w3 [] p+13", "subscribe p+11", "subscribe p+12",
	    "subscribe p+13", NULL);
	expect("b", "message o+0 #d [] p-1");
	play("b", "resolve p-1 data #42 []", "done", NULL);
	expect("b", "message o+0 #r [] p-2");
	takes("a", "notify p+11 krej " NO_OBJECT " []");
	play("b", "resolve p-2 rej #why [o+7 p+8]", "done", NULL);
	takes("a", "notify p+12 rej #why [o-3 p-2]"); /* the identical value, slots and all */
	expect("b", "message o+0 #o [] p-3");
	play("b", "resolve p-3 ref #obj [o+7]", "done", NULL);
	takes("b", "message o+7 #w3 [] p-4");
	/* now at enqueue: a never subscribed to p+1 .. p+3, so it still holds them */
	act("a", "send p+1 #n1 [] p+21", "send p+2 #n2 [] p+22", "send p+3 #n3 [] p+23", "subscribe p+21",
	    "subscribe p+22", "subscribe p+23", NULL);
	takes("b", "message o+7 #n3 [] p-5");
	takes("a", "notify p+21 krej " NO_OBJECT " []");
	takes("a", "notify p+22 rej #why [o-3 p-2]");
	expect_nothing();
	/* R1: the kernel's mark goes along with the value */
	act("a", "send p+1 #n1 [] p+31", "send p+31 #n2 [] p+32", "subscribe p+32", NULL);
	takes("a", "notify p+32 krej " NO_OBJECT " []");
	expect_nothing();
}

/* R: waiting messages stay in order; V7: and are limited */
static void test_route_waiting_order(void **state)
{
	(void)state;
	cluster("ab");
	act("a", "send o-1 #get [] p+1", "send p+1 #1 [] p+2", "send p+2 #2 [] p+3",
	    "send p+1 #3 [p+1 p+3] -", NULL);
	expect("b", "message o+0 #get [] p-1");
	assert_int_equal(promise_row(kref_of("a", "p+1")).n_waiting, 2);
	assert_int_equal(promise_row(kref_of("a", "p+2")).n_waiting, 1);
	assert_int_equal(promise_row(kref_of("a", "p+2")).link, kref_of("a", "p+1").bits);
	play("b", "resolve p-1 ref #x [o+4]", "done", NULL);
	expect("b", "message o+4 #1 [] p-2");
	play("b", "resolve p-2 ref #x [o+5]", "done", NULL);
	expect("b", "message o+4 #3 [p-3 p-4] -");
	play("b", "done", NULL);
	takes("b", "message o+5 #2 [] p-4");
	expect_nothing();
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    T(test_launch),
	    T(test_launch_fails),
	    T(test_launch_answer_and_end),
	    T(test_names_and_counts),
	    T(test_reuse_of_entries),
	    T(test_tentative_numbers),
	    T(test_forms_of_references),
	    T(test_route_revoked),
	    T(test_route_revoked_later),
	    T(test_route_no_owner),
	    T(test_route_unknown),
	    T(test_route_service),
	    T(test_route_terminated),
	    T(test_route_suspended),
	    T(test_route_queue_full),
	    T(test_route_result_is_target),
	    T(test_route_settled),
	    T(test_route_waiting_order),
	};

	return run_on_both("test_kernel_route", tests, ARRAY_LEN(tests));
}
