/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel's semantics, rule by rule, in process, with vats played by hand (kernel_harness.h), on both kinds of store.
 * After every step the checker recounts the whole store (C6); a negative number anywhere fails the test (L1).
 */
#include "kernel_harness.h"

#include <signal.h>
#include <sys/socket.h>

#include "../../broker/gc.h"
#include "../../broker/launch.h"
#include "../../broker/object.h"
#include "../../broker/sweep.h"

#define MAX_SAID 60

/* --- small steps -------------------------------------------------------------------------------------------------- */

static kref_t root(const char *name) { return kref_of(name, "o+0"); }
static enum vat_status status(const char *name) { return vat_named(name)->row.status; }
static const char *reason(const char *name) { return vat_named(name)->row.reason; }

/* A delivery to work in: a message from outside to the root, without result. */
static void poke(const char *name)
{
	host_send(root(name), "#poke", NULL, 0, false);
	world_run();
	expect(name, "message o+0 #poke [] -");
}

/* A crank of its own with these syscalls. */
static void act(const char *name, ...) __attribute__((sentinel));
static void act(const char *name, ...)
{
	const char *said[MAX_SAID];
	size_t n = 0;
	va_list ap;

	va_start(ap, name);
	while ((said[n] = va_arg(ap, const char *)))
		assert_true(++n < MAX_SAID - 1);
	va_end(ap);
	said[n++] = "done";
	said[n] = NULL;
	poke(name);
	say_list(name, said);
	world_run();
}

/* The next delivery is this, and nothing is done in it. */
static void takes(const char *name, const char *delivery)
{
	expect(name, delivery);
	play(name, "done", NULL);
}

/* Tell a vat of a reference; returns the name it has there. */
static const char *give(const char *name, kref_t ref)
{
	const char *v;

	host_send(root(name), "#take", &ref, 1, false);
	world_run();
	free(next_delivery(raw_named(name)));
	play(name, "done", NULL);
	v = vref_of(name, ref);
	assert_string_not_equal(v, "-");
	return v;
}

static void revoke_ref(kref_t ref)
{
	struct row_object row = object_row(ref);

	must(kernel_savepoint(&world->k));
	row.flags |= OBJECT_F_REVOKED;
	must(object_save(&world->k, ref, &row));
	must(kernel_release(&world->k));
}

static void suspend(const char *name) { must(vat_suspend(&world->k, vat_named(name), "by the test")); world_run(); }
static void resume(const char *name) { must(vat_resume(&world->k, vat_named(name))); world_run(); }
static void restart(const char *name) { must(vat_restart(&world->k, vat_named(name))); world_run(); }
static void terminate(const char *name) { must(vat_terminate(&world->k, vat_named(name), "by the test")); world_run(); }

static void expect_terminated(const char *name, const char *why)
{
	assert_int_equal(status(name), VAT_TERMINATED);
	assert_string_equal(reason(name), why);
	assert_int_equal(raw_named(name)->fd, -1);
}

#define DELETED		KERR("OBJECT_DELETED", "the object has no owner any more")
#define UNREACHABLE	KERR("ENDPOINT_UNREACHABLE", "the vat of the object is terminated")
#define REVOKED		KERR("OBJECT_REVOKED", "the object was revoked")
#define NO_OBJECT	KERR("BAD_PROMISE_RESOLUTION", "the target resolved to data, not to an object")
#define ITSELF		KERR("BAD_PROMISE_RESOLUTION", "the result waits for itself")
#define CYCLE		KERR("BAD_PROMISE_RESOLUTION", "promise resolved to itself through a cycle")
#define GONE(name)	KERR("VAT_TERMINATED", name " is terminated")
#define RESTARTED(name)	KERR("VAT_RESTARTED", name " was restarted")

/* --- launch --------------------------------------------------------------------------------------------------------- */

/* V1, V2, V3, D2 */
static void test_launch(void **state)
{
	(void)state;
	cluster_begin("ab", ",\"parameters\":{\"x\":1}");
	world_run();
	assert_int_equal(raw_named("a")->fd >= 0, true);
	takes("a", "startVat #{\"x\":1} []");
	expect("b", "startVat #{\"x\":1} []");
	expect_nothing();			/* not before every one is up */
	play("b", "done", NULL);
	assert_int_equal(raw_named("b")->incarnation, 1);
	assert_int_equal(raw_named("b")->next_export, 1);
	assert_int_equal(raw_named("b")->next_promise, 1);
	expect("a", "message o+0 #[\"bootstrap\",[{\"a\":\"$0\",\"b\":\"$1\"},{\"console\":\"$2\"}]] [o+0 o-1 o-2] p-1");
	assert_false(world->request.answered);
	play("a", "resolve p-1 data #{\"it\":\"$0\"} [o+4]", "done", NULL);
	assert_string_equal(world->request.text,
			    "{\"bootstrapResult\":{\"body\":\"#{\\\"it\\\":\\\"$0\\\"}\",\"slots\":[\"ko4\"]},\"rootKref\":\"ko2\","
			    "\"subclusterId\":\"s1\",\"vats\":{\"a\":\"v1\",\"b\":\"v2\"}}");
	expect_counts(ko(4), 1, 1);	/* held for the subcluster's life */
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
	struct control_request ender = { 0 };

	(void)state;
	cluster_begin("a", "");
	world_run();
	start_up("a");
	free(next_delivery(raw_named("a")));
	say("a", "resolve p-1 data #r [o+4]", "done", NULL);
	must(loop_round(&world->k.loop, 0));	/* applied; nobody was told yet */
	must(subcluster_terminate(&world->k, 1, "asked for", &ender));
	world_run();
	assert_true(ender.answered && world->request.answered);
	after = world_dump(0);
	assert_string_equal(before, after);
	assert_int_equal(n_rows(T_HOLD), 1);	/* console */
}

/* --- clists and counts ------------------------------------------------------------------------------------------------ */

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
	expect_counts(root("b"), 4, 4);		/* root hold, a's import, target, slot */
	assert_int_equal(promise_row(p6).n_refs, 2);
	assert_int_equal(promise_row(p7).n_refs, 2);
	assert_int_equal(promise_row(p7).decider, 0);
	assert_int_equal(promise_row(p6).decider, endpoint_vat(1).bits);
	play("b", "done", NULL);
	expect_counts(o5, 1, 1);
	expect_counts(root("b"), 2, 2);
	assert_int_equal(promise_row(p6).n_refs, 2);
	assert_int_equal(promise_row(p7).n_refs, 2);
	assert_int_equal(promise_row(p7).decider, endpoint_vat(2).bits);	/* D3 */
	/* C3: known things keep their names */
	act("a", "send o-1 #again [p+7 o+5 o+8 p+6] -", NULL);
	takes("b", "message o+0 #again [p-2 o-1 o-2 p-1] -");
	act("b", "send o-1 #back [o+0 o-1 o-2 p-1 p-2] p+1", NULL);
	takes("a", "message o+5 #back [o-1 o+5 o+8 p+6 p+7] p-2");
	expect_nothing();
}

/* C1: numbers that were given up are not given out again; C3: an entry that lives is used again, its flag set */
static void test_reuse_of_entries(void **state)
{
	kref_t o5;

	(void)state;
	cluster("ab");
	act("a", "send o-1 #m [o+5] -", NULL);
	takes("b", "message o+0 #m [o-1] -");
	o5 = kref_of("a", "o+5");
	act("b", "drop o-1 o-1", "drop o-1", NULL);	/* Y1: repeated drops are allowed */
	assert_true(knows("b", "o-1"));
	expect_counts(o5, 0, 1);
	expect("a", "dropExports o+5");
	assert_true(is_reachable("a", "o+5"));		/* G3: when it is applied */
	play("a", "send o-1 #m2 [o+5] -", "done", NULL);	/* exported again in that very crank */
	assert_true(is_reachable("a", "o+5"));
	expect("b", "message o+0 #m2 [o-1] -");		/* the same entry */
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
	act("a", "send o-1 #m3 [o+5] -", NULL);		/* C2: unknown again, so a new object */
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
	takes("b", "message o+0 #m [o-1] -");		/* D4 */
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
	assert_int_equal(vat_named("a")->row.next_export, 1);	/* plain numbers only */
}

/* --- routing ------------------------------------------------------------------------------------------------------------ */

/* A message from a to b's root with a subscribed result. */
static void ask(void)
{
	act("a", "send o-1 #ask [o+3] p+1", "subscribe p+1", NULL);
}

/* R: revoked, at enqueue */
static void test_route_revoked(void **state)
{
	(void)state;
	cluster("ab");
	revoke_ref(root("b"));
	ask();
	takes("a", "dropExports o+3");	/* nobody got it; G2: before what waits in the queue */
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
	assert_true(is_reachable("a", "o-3"));		/* G3: the importer keeps a reference that rejects */
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
	host_send(ko(999), "#x", NULL, 0, false);	/* R2 */
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
	act("a", "send o-1 #nonsense [] p+2", "subscribe p+2", "send o-1 #[\"sing\",[]] [] p+3", "subscribe p+3", NULL);
	takes("a", "notify p+2 rej #{\"#error\":\"the message is not a method call\",\"name\":\"TypeError\"} []");
	free(next_delivery(raw_named("a")));
	play("a", "done", NULL);
	/* an object of the kernel without a service */
	must(kernel_savepoint(&world->k));
	must(object_new(&world->k, ENDPOINT_K, 0, true, &absent));
	must(kernel_hold(&world->k, absent, HOLD_PIN, 0, 1));
	must(kernel_release(&world->k));
	world->no_check = true;		/* which the checker rightly does not like */
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
	poke("b");		/* busy */
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

static void cluster_with(const char *letters, const char *extra)
{
	char name[2] = "";

	cluster_begin(letters, extra);
	world_run();
	for (; *letters; letters++) {
		name[0] = *letters;
		start_up(name);
	}
	free(next_delivery(raw_named("a")));
	play("a", "resolve p-1 data #ok []", "done", NULL);
	assert_true(world->request.answered);
}

/* R: QUEUE_FULL, once, when a send is first accepted */
static void test_route_queue_full(void **state)
{
	(void)state;
	cluster_with("ab", ",\"limits\":{\"queueMessages\":2}");
	act("a", "send p+9 #w1 [] -", "send p+9 #w2 [] p+8", "send p+9 #w3 [] -", NULL);
	suspend("b");
	act("a", "send o-1 #1 [] -", "send o-1 #2 [] -", "send o-1 #3 [] p+1", "subscribe p+1", "send o-1 #4 [] -", NULL);
	takes("a", "notify p+1 krej " KERR("QUEUE_FULL", "queue of b holds its limit of 2 messages") " []");
	assert_int_equal(world->k.stats.n_dropped_sends, 1);	/* R2 */
	act("a", "resolve p+9 ref #b [o-1]", NULL);		/* accepted before, so they come through */
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
	act("a", "send p+2 #x [] p+3", "send p+3 #y [] p+4", "send p+4 #z [] p+2", "subscribe p+4", "subscribe p+3",
	    "subscribe p+2", NULL);
	/* p+2 is rejected, so everything behind it is, with the identical value */
	takes("a", "notify p+4 krej " ITSELF " []");
	takes("a", "notify p+3 krej " ITSELF " []");
	takes("a", "notify p+2 krej " ITSELF " []");
	expect_nothing();
	/* the same by forwarding: what waits on p+5 has p+6 as its result, and p+5 becomes p+6 */
	act("a", "send p+5 #x [] p+6", "subscribe p+6", "subscribe p+5", "resolve p+5 ref #f [p+6]", NULL);
	takes("a", "notify p+6 krej " ITSELF " []");
	expect_nothing();	/* p+5 left the clist when it was resolved (P3) */
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
	act("a", "send o-1 #d [] p+1", "send o-1 #r [] p+2", "send o-1 #o [] p+3",
	    "send p+1 #w1 [] p+11", "send p+2 #w2 [] p+12", "send p+3 #w3 [] p+13",
	    "subscribe p+11", "subscribe p+12", "subscribe p+13", NULL);
	expect("b", "message o+0 #d [] p-1");
	play("b", "resolve p-1 data #42 []", "done", NULL);
	expect("b", "message o+0 #r [] p-2");
	takes("a", "notify p+11 krej " NO_OBJECT " []");
	play("b", "resolve p-2 rej #why [o+7 p+8]", "done", NULL);
	takes("a", "notify p+12 rej #why [o-3 p-2]");		/* the identical value, slots and all */
	expect("b", "message o+0 #o [] p-3");
	play("b", "resolve p-3 ref #obj [o+7]", "done", NULL);
	takes("b", "message o+7 #w3 [] p-4");
	/* now at enqueue: a never subscribed to p+1 .. p+3, so it still holds them */
	act("a", "send p+1 #n1 [] p+21", "send p+2 #n2 [] p+22", "send p+3 #n3 [] p+23",
	    "subscribe p+21", "subscribe p+22", "subscribe p+23", NULL);
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
	act("a", "send o-1 #get [] p+1", "send p+1 #1 [] p+2", "send p+2 #2 [] p+3", "send p+1 #3 [p+1 p+3] -", NULL);
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

/* --- promises ------------------------------------------------------------------------------------------------------------- */

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
	takes("c", "message o+0 #after [] -");		/* P5 */
	takes("a", "notify p+2 data #one []");
	assert_true(knows("a", "p+1"));			/* not subscribed, so held */
	act("a", "subscribe p+1", NULL);		/* P4: to a settled promise: at once */
	takes("a", "notify p+1 ref #c [o-2]");
	assert_int_equal(n_rows(T_PROMISE), 0);
	expect_nothing();
}

/* P5, P6: order across a forwarding, sends in the same batches included */
static void test_order_across_forwarding(void **state)
{
	(void)state;
	cluster("abc");
	give("b", root("c"));
	act("a", "send o-1 #get [] p+1", "send p+1 #1 [] -", "send p+1 #2 [] -", NULL);
	expect("b", "message o+0 #get [] p-1");
	play("b", "send p+5 #b0 [] -", "resolve p-1 ref #f [p+5]", "send p+5 #b1 [] -", "done", NULL);
	expect_promise(kref_of("a", "p+1"), "forwarded");
	expect_nothing();				/* P6: no notify, nothing delivered */
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
	expect_promise(kref_of("a", "p+1"), "ref #c [ko4]");
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
	assert_false(knows("b", "p+6"));		/* P3 */
	act("b", "resolve p-2 ref #f [p+6]", NULL);	/* C2: p+6 is unknown by now, and so a new promise */
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
	expect_nothing();	/* P7: the second notify, for p-2, is no delivery at all */
	assert_false(knows("b", "p-1") || knows("b", "p-2") || knows("b", "p-3"));
}

/* P7: the closure; unsettled ones are ordinary imports; what the recipient did not know is named and forgotten */
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
	poke("c");			/* all busy */
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
	act("b", "subscribe p-1", NULL);	/* still unresolved for its holders */
	expect_nothing();
	act("a", "resolve p+2 data #v [p+2]", NULL);
	/* the same value; the promise inside is the inner one, which b first hears of now */
	takes("b", "notify p-1 data #v [p-2]; p-2 data #v [p-2]");
	takes("c", "notify p-1 data #v [p-1]");
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

/* --- syscalls --------------------------------------------------------------------------------------------------------------- */

/* Y1, Y2, Y3, R1, P8: each illegal syscall costs its own vat, undoes its whole crank, and nothing else */
static const struct { const char *said[6], *why; } illegal_cases[] = {
	{ { "send o-99 #x [] -" }, "unknown reference o-99" },
	{ { "send p-99 #x [] -" }, "unknown reference p-99" },
	{ { "send o-1 #x [o-99] -" }, "unknown reference o-99" },
	{ { "send o-1 #x [o+30 p-99] -" }, "unknown reference p-99" },
	{ { "send o-1 #x [] p-1" }, "result promise is not new and not decided by the vat: p-1" },
	{ { "send o-1 #x [] p-99" }, "unknown reference p-99" },
	{ { "send o-1 #x [] p-3", "send o-1 #x [] p-3" }, "result promise is not new and not decided by the vat: p-3" },
	{ { "send o-1 #x [] p+8", "resolve p+8 data #x []" }, "resolve of p+8, which the vat does not decide" },
	{ { "resolve p-1 data #x []" }, "resolve of p-1, which the vat does not decide" },
	{ { "resolve p-99 data #x []" }, "unknown reference p-99" },
	{ { "resolve p-3 data #x []; p-3 data #y []" }, "resolve names p-3 twice" },
	{ { "resolve p-3 data #x []", "resolve p-3 data #y []" }, "unknown reference p-3" },
	{ { "resolve p-3 data #x [o-99]" }, "unknown reference o-99" },
	{ { "resolve p-3 data #x []; p-1 data #y []" }, "resolve of p-1, which the vat does not decide" },
	{ { "resolve p-4 data #x []" }, "resolve of p-4, which is resolved already" },
	{ { "subscribe p-99" }, "unknown reference p-99" },
	{ { "drop o-99" }, "unknown reference o-99" },
	{ { "retimp o-1" }, "retireImports of o-1, which is still reachable" },
	{ { "drop o-1", "retimp o-1", "retimp o-1" }, "unknown reference o-1" },
	{ { "drop o-1", "retimp o-1 o-1" }, "unknown reference o-1" },
	{ { "drop o-1", "retimp o-1", "drop o-1" }, "unknown reference o-1" },
	{ { "drop o-1", "send o-1 #x [] -" }, "unreachable import o-1" },
	{ { "drop o-1", "send o+0 #x [o-1] -" }, "unreachable import o-1" },
	{ { "retexp o+9" }, "retireExports of o+9, which is still reachable" },
	{ { "retexp o+77" }, "unknown reference o+77" },
	{ { "abandon o+77" }, "unknown reference o+77" },
	{ { "abandon o+9 o+9" }, "unknown reference o+9" },
	{ { "exit ok #x [o-99]" }, "unknown reference o-99" },
	{ { "exit ok #x []", "send o-99 #x [] -" }, "unknown reference o-99" },
	{ { "send o-99 #x [] -", "exit fail #x []" }, "unknown reference o-99" },
	/* form: judged on arrival */
	{ { "resolve p-3 ref #x [o+1 o+2]" }, "frame \"resolve\" (type 0x43): REF needs exactly one slot and a fulfilled promise" },
	{ { "resolve p-3 ref #x []" }, "frame \"resolve\" (type 0x43): REF needs exactly one slot and a fulfilled promise" },
	{ { "resolve p-3 krej #x []" }, "frame \"resolve\" (type 0x43): unknown or contradicting flags" },
	{ { "resolve o+3 data #x []" }, "frame \"resolve\" (type 0x43): illegal reference, or of the wrong kind in its place" },
	{ { "subscribe o-1" }, "frame \"subscribe\" (type 0x42): illegal reference, or of the wrong kind in its place" },
	{ { "send o-1 #x [] o-1" }, "frame \"send\" (type 0x41): illegal reference, or of the wrong kind in its place" },
	{ { "drop p-1" }, "frame \"dropImports\" (type 0x45): illegal reference, or of the wrong kind in its place" },
	{ { "drop o+9" }, "frame \"dropImports\" (type 0x45): illegal reference, or of the wrong kind in its place" },
	{ { "retexp o-1" }, "frame \"retireExports\" (type 0x47): illegal reference, or of the wrong kind in its place" },
	{ { "abandon o-1" }, "frame \"abandonExports\" (type 0x48): illegal reference, or of the wrong kind in its place" },
	{ { "retimp p-1" }, "frame \"retireImports\" (type 0x46): illegal reference, or of the wrong kind in its place" },
	{ { "drop" }, "frame \"dropImports\" (type 0x45): empty list or packet" },
	{ { "hello 2" }, "hello speaks another version of the protocol" },
};

static void escape_quotes(char *out, size_t size, const char *text)
{
	size_t n = 0;

	for (; *text && n + 2 < size; text++) {
		if (*text == '"')
			out[n++] = '\\';
		out[n++] = *text;
	}
	out[n] = '\0';
}

static void one_illegal(size_t n)
{
	const char *const *said = illegal_cases[n].said, *why = illegal_cases[n].why;
	char text[200], error[300];
	kref_t out;
	size_t i;

	cluster("abc");
	give("b", root("c"));
	/* b: o-1 is c; o-2 and p-1 are a's; p-2, p-3 b's to answer; p-4 settled; b exported o+9 to a */
	act("a", "send o-1 #s [o+5 p+6] p+7", "subscribe p+7", "send o-1 #t [] p+8", "subscribe p+8", "send o-1 #u [p+9] -",
	    NULL);
	expect("b", "message o+0 #s [o-2 p-1] p-2");
	play("b", "send o-2 #e [o+9] -", "done", NULL);
	takes("b", "message o+0 #t [] p-3");
	takes("b", "message o+0 #u [p-4] -");
	takes("a", "message o+5 #e [o-4] -");
	act("a", "resolve p+9 data #done []", NULL);
	out = host_send(root("b"), "#fatal", NULL, 0, true);
	world_run();
	expect("b", "message o+0 #fatal [] p-5");
	say("b", "send o-1 #leak [o+20] p+21", "set key value", "resolve p-2 data #leak []", NULL);
	for (i = 0; i < 6 && said[i]; i++)
		say("b", said[i], NULL);
	play("b", "done", NULL);
	snprintf(text, sizeof(text), "illegal syscall: %s", why);
	expect_terminated("b", text);
	/* R1: the item of the fatal crank, and what the vat decided */
	assert_true(host_settled(out));
	escape_quotes(text, sizeof(text), why);
	snprintf(error, sizeof(error), "krej #{\"#error\":\"[KERNEL:VAT_FATAL:ILLEGAL_SYSCALL] b: %s\",\"name\":\"Error\"} []", text);
	expect_promise(out, error);
	takes("a", "dropExports o+5");
	takes("a", "retireExports o+5");
	takes("a", "notify p+7 krej " GONE("b") " []");
	takes("a", "notify p+8 krej " GONE("b") " []");
	expect_nothing();	/* no leak at c */
	act("a", "send o-4 #gone [] p+10", "subscribe p+10", NULL);
	takes("a", "notify p+10 krej " UNREACHABLE " []");
	act("a", "send o-2 #hi [] p+11", "subscribe p+11", NULL);	/* the others go on */
	expect("c", "message o+0 #hi [] p-1");
	play("c", "resolve p-1 data #yes []", "done", NULL);
	takes("a", "notify p+11 data #yes []");
	assert_int_equal(n_rows(T_VATSTORE), 0);
}

static void test_illegal(void **state)
{
	char dir[DIR_MAX];
	size_t i;

	for (i = 0; i < ARRAY_LEN(illegal_cases); i++) {
		enum store_kind kind = world->kind;

		snprintf(dir, sizeof(dir), "%s/%zu", (char *)*state, i);
		assert_int_equal(mkdir(dir, 0700), 0);
		world_close();
		world_open(dir, kind);
		one_illegal(i);
	}
}

/* "#" stands for b's delivery. */
static void explain(char *out, size_t size, const char *why)
{
	const char *at = strchr(why, '#');

	if (at)
		snprintf(out, size, "%.*s%llu%s", (int)(at - why), why, (unsigned long long)raw_named("b")->delivery, at + 1);
	else
		snprintf(out, size, "%s", why);
}

/* Y1, Y2: what is judged on arrival, in any state of the vat; a packet's later frames count for nothing */
static void test_illegal_at_any_time(void **state)
{
	static const struct { const char *said[4], *why; } cases[] = {
		{ { "get a", "get b", "done" }, "a read while the answer to the last one is outstanding" },
		{ { "done", "done" }, "done for delivery #, which is not in flight" },
		{ { "done", "send o-1 #x [] -" }, "send for delivery #, which is not in flight" },
		{ { "done", "get k" }, "vatstoreGet for delivery #, which is not in flight" },
	};
	char text[300], why[200], dir[DIR_MAX];
	size_t i;

	for (i = 0; i < ARRAY_LEN(cases); i++) {
		enum store_kind kind = world->kind;

		snprintf(dir, sizeof(dir), "%s/%zu", (char *)*state, i);
		assert_int_equal(mkdir(dir, 0700), 0);
		world_close();
		world_open(dir, kind);
		cluster("ab");
		poke("b");
		say_list("b", cases[i].said);
		explain(why, sizeof(why), cases[i].why);
		world_run();
		snprintf(text, sizeof(text), "illegal syscall: %s", why);
		expect_terminated("b", text);
		act("a", "send o-1 #x [] p+1", "subscribe p+1", NULL);
		takes("a", "notify p+1 krej " UNREACHABLE " []");
		expect_nothing();
	}
}

/* L1, Y1: bytes that are no frames, parts out of order, an empty packet, idle or in a crank */
static void test_garbage(void **state)
{
	static const uint8_t garbage[][48] = {
		{ 0 },
		{ 16, 0, 0, 0, 0xff, 0, 0, 0, 1 },				/* unknown type */
		{ 16, 0, 0, 0, 0x11, 0, 0, 0, 1 },				/* a delivery */
		{ 48, 0, 0, 0, 0x3f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2 },	/* a part that fills nothing */
		{ 24, 0, 0, 0, 0x42, 0, 0, 0, 0 },				/* subscribe outside of a crank */
	};
	static const size_t sizes[] = { 48, 16, 16, 48, 24 };
	char dir[DIR_MAX];
	size_t i;

	for (i = 0; i < 2 * (ARRAY_LEN(garbage) + 1); i++) {
		enum store_kind kind = world->kind;

		snprintf(dir, sizeof(dir), "%s/%zu", (char *)*state, i);
		assert_int_equal(mkdir(dir, 0700), 0);
		world_close();
		world_open(dir, kind);
		cluster("ab");
		if (i & 1)
			poke("b");
		if (i / 2 < ARRAY_LEN(garbage))
			send_bytes("b", garbage[i / 2], sizes[i / 2]);
		else
			send_bytes("b", "", 0);
		world_run();
		assert_int_equal(status("b"), VAT_TERMINATED);
		assert_int_equal(strncmp(reason("b"), "illegal syscall: ", 17), 0);
		act("a", "send o-1 #x [] p+1", "subscribe p+1", NULL);
		takes("a", "notify p+1 krej " UNREACHABLE " []");
	}
}

/* Y2: the last exit wins; what was sent beside exit(false) goes out; P8 for the rest */
static void test_exit(void **state)
{
	kref_t out;

	(void)state;
	cluster("abc");
	give("b", root("c"));
	act("a", "send o-1 #1 [] p+1", "subscribe p+1", NULL);
	takes("b", "message o+0 #1 [] p-1");
	out = host_send(root("b"), "#2", NULL, 0, true);
	world_run();
	expect("b", "message o+0 #2 [] p-2");
	act("a", "send o-1 #3 [] p+3", "subscribe p+3", NULL);
	play("b", "exit fail #\"no\" []", "send o-1 #bye [o+1] p+1", "exit ok #\"well\" [o+1]", "resolve p-2 data #r []", "done",
	     NULL);
	expect_terminated("b", "exit: \"well\"");
	takes("c", "message o+0 #bye [o-1] p-1");
	assert_true(host_settled(out));
	expect_promise(out, "data #r []");
	takes("a", "notify p+3 krej " UNREACHABLE " []");
	takes("a", "notify p+1 krej " GONE("b") " []");
	expect_nothing();
	assert_true(is_reachable("c", "o-1"));
	act("c", "drop o-1", NULL);
	takes("c", "retireImports o-1");
	expect_nothing();
}

/* Y2, Y5, R1: exit with failure takes everything back; its item is rejected VAT_TERMINATED; its info's body stays */
static void test_exit_failure(void **state)
{
	kref_t out;

	(void)state;
	cluster("abc");
	give("b", root("c"));
	out = host_send(root("b"), "#1", NULL, 0, true);
	world_run();
	expect("b", "message o+0 #1 [] p-1");
	play("b", "exit ok #x []", "send o-1 #never [] -", "resolve p-1 data #never []", "exit fail #[\"$0\"] [o+5]", "done", NULL);
	assert_int_equal(status("b"), VAT_TERMINATED);
	assert_int_equal(strncmp(reason("b"), "exit with failure: #[", 21), 0);
	assert_true(host_settled(out));
	assert_int_equal(promise_row(out).state, PROMISE_REJECTED);
	assert_int_equal(promise_row(out).flags, PROMISE_F_KERNEL);
	expect_nothing();
}

/* Y2: outcome priority: an illegal syscall before a reported error before an exit */
static void test_outcome_priority(void **state)
{
	(void)state;
	cluster("abc");
	poke("b");
	play("b", "exit ok #x []", "set k v", "error went wrong", NULL);
	assert_int_equal(status("b"), VAT_STARTING);	/* a death: it restarts */
	assert_int_equal(vat_named("b")->row.n_deaths, 1);
	assert_int_equal(n_rows(T_VATSTORE), 0);
	start_up("b");
	expect("b", "message o+0 #poke [] -");		/* D4 */
	play("b", "send o-99 #x [] -", "exit ok #x []", "error went wrong", NULL);
	expect_terminated("b", "illegal syscall: unknown reference o-99");
	/* a crank without done is a delivery error, whatever it sent */
	poke("c");
	say("c", "send o-99 #x [] -", "exit ok #x []", NULL);
	process_dies("c", SIGSEGV);
	assert_int_equal(status("c"), VAT_STARTING);
	start_up("c");
	takes("c", "message o+0 #poke [] -");
}

/* Y4: reads see the crank's own writes; the next key is merged; others' stores are others' */
static void test_vatstore(void **state)
{
	(void)state;
	cluster("ab");
	act("b", "set b other", NULL);
	act("a", "set a 1", "set c 3", "set e 5", "set empty", NULL);
	poke("a");
	say("a", "set b 2", "del c", "set d 4", "del e", "set aa", NULL);
#define ANSWER(asked, answer) (say("a", asked, NULL), world_run(), expect("a", answer))
	ANSWER("get a", "storeValue found o+0 '' '1'");
	ANSWER("get b", "storeValue found o+0 '' '2'");
	ANSWER("get c", "storeValue none o+0 '' ''");
	ANSWER("get aa", "storeValue found o+0 '' ''");
	ANSWER("get empty", "storeValue found o+0 '' ''");
	ANSWER("get zz", "storeValue none o+0 '' ''");
	ANSWER("next", "storeValue found o+0 'a' ''");
	ANSWER("next a", "storeValue found o+0 'aa' ''");
	ANSWER("next aa", "storeValue found o+0 'b' ''");
	ANSWER("next b", "storeValue found o+0 'd' ''");
	ANSWER("next bzz", "storeValue found o+0 'd' ''");
	ANSWER("next d", "storeValue found o+0 'empty' ''");
	ANSWER("next empty", "storeValue none o+0 '' ''");
	ANSWER("next zzz", "storeValue none o+0 '' ''");
	process_dies("a", SIGKILL);			/* D4: none of it was */
	start_up("a");
	expect("a", "message o+0 #poke [] -");
	ANSWER("get b", "storeValue none o+0 '' ''");
	ANSWER("next a", "storeValue found o+0 'c' ''");
	play("a", "del a", "del c", "del e", "del empty", "set a 9", "done", NULL);
	poke("a");
	ANSWER("next", "storeValue found o+0 'a' ''");
	ANSWER("get a", "storeValue found o+0 '' '9'");
	ANSWER("next a", "storeValue none o+0 '' ''");
	play("a", "done", NULL);
	assert_int_equal(vat_named("a")->row.vatstore_bytes, 2);
	poke("b");
	say("b", "get b", NULL);
	world_run();
	expect("b", "storeValue found o+0 '' 'other'");
	play("b", "done", NULL);
	expect_nothing();
}

/* V5: the next own import and its flag, tentative ones not yet */
static void test_clist_get_next(void **state)
{
	(void)state;
	cluster("abc");
	act("b", "drop o-9", NULL);
	expect_terminated("b", "illegal syscall: unknown reference o-9");
	act("a", "drop o-2", "send o-1 #x [o+7] p+3", NULL);
	takes("a", "dropExports o+7");
	takes("a", "retireExports o+7");
	poke("a");
	ANSWER("clist", "storeValue reachable o-1 '' ''");
	ANSWER("clist o-1", "storeValue found o-2 '' ''");
	ANSWER("clist o-2", "storeValue reachable o-3 '' ''");
	ANSWER("clist o-3", "storeValue none o+0 '' ''");
	ANSWER("clist p-5", "storeValue none o+0 '' ''");
	play("a", "done", NULL);
	act("c", "send o+0 #self [] p+1", "subscribe p+1", NULL);
	expect("c", "message o+0 #self [] p+1");
	play("c", "resolve p+1 data #x []", "done", NULL);
	expect_nothing();	/* its own answer, resolved by itself */
}

/* --- deliveries, lives ----------------------------------------------------------------------------------------------------- */

/* D6: what it sent before it died counts: a done that is found is applied; without one nothing is */
static void test_death_after_done(void **state)
{
	(void)state;
	cluster("abc");
	give("b", root("c"));
	poke("b");
	say("b", "send o-1 #heard [] -", "set k v", "done", NULL);
	process_dies_now("b", SIGKILL);
	world_run();
	takes("c", "message o+0 #heard [] -");
	assert_int_equal(n_rows(T_VATSTORE), 1);
	start_up("b");
	expect_nothing();			/* poke was done */
	poke("b");
	say("b", "send o-1 #never [] -", "set k w", NULL);
	process_dies_now("b", SIGKILL);
	world_run();
	start_up("b");
	expect("b", "message o+0 #poke [] -");
	say("b", "get k", NULL);
	world_run();
	expect("b", "storeValue found o+0 '' 'v'");
	play("b", "done", NULL);
	expect_nothing();
}

/* V4: the same message killing it twice is rejected DELIVERY_FAILED and set aside; what came after it goes on */
static void test_poison_message(void **state)
{
	kref_t out, o5;

	(void)state;
	cluster("ab");
	act("a", "send o-1 #first [o+4] -", NULL);
	takes("b", "message o+0 #first [o-1] -");
	act("a", "send o-1 #poison [o+5] p+1", "subscribe p+1", "send o-1 #next [] -", NULL);
	o5 = kref_of("a", "o+5");
	expect("b", "message o+0 #poison [o-2] p-1");
	process_dies("b", SIGKILL);
	start_up("b");
	expect("b", "message o+0 #poison [o-2] p-1");
	process_dies("b", SIGKILL);
	assert_int_equal(n_rows(T_ASIDE), 1);
	takes("a", "dropExports o+5");		/* references released */
	takes("a", "retireExports o+5");
	assert_false(row_exists(o5));
	takes("a", "notify p+1 krej " KERR("DELIVERY_FAILED",
					   "the message killed b 2 times: killed by signal 9 (Killed)") " []");
	start_up("b");
	takes("b", "message o+0 #next [] -");
	assert_int_equal(status("b"), VAT_RUNNING);
	assert_int_equal(raw_named("b")->incarnation, 3);
	expect_nothing();
	/* any other item that kills twice suspends */
	out = host_send(root("a"), "#sub", NULL, 0, true);
	world_run();
	takes("a", "message o+0 #sub [] p-2");
	assert_string_equal(give("b", out), "p-1");
	act("b", "subscribe p-1", NULL);
	act("a", "resolve p-2 data #v []", NULL);
	expect("b", "notify p-1 data #v []");
	memset(vat_edit(&world->k, vat_named("b"))->death_us, 0, sizeof(vat_named("b")->row.death_us));
	process_dies("b", SIGSEGV);
	start_up("b");
	expect("b", "notify p-1 data #v []");
	process_dies("b", SIGSEGV);
	assert_int_equal(status("b"), VAT_SUSPENDED);
	assert_string_equal(reason("b"),
			    "the same delivery killed it 2 times: killed by signal 11 (Segmentation fault)");
	resume("b");
	start_up("b");
	takes("b", "notify p-1 data #v []");
	expect_nothing();
}

/* V4: startVat failing twice in a row suspends; resume is then a restart */
static void test_start_fails_twice(void **state)
{
	(void)state;
	cluster("ab");
	process_dies("b", 256);			/* idle: exit status 1 */
	expect("b", "startVat #{} []");
	process_dies("b", 256);
	expect("b", "startVat #{} []");
	process_dies("b", 256);
	assert_int_equal(status("b"), VAT_SUSPENDED);
	assert_string_equal(reason("b"), "the same delivery killed it 2 times: exited with status 1");
	act("a", "send o-1 #wait [] -", NULL);
	expect_nothing();
	assert_int_equal(raw_named("b")->fd, -1);
	resume("b");
	start_up("b");
	takes("b", "message o+0 #wait [] -");
	assert_int_equal(raw_named("b")->incarnation, 4);
	assert_string_equal(reason("b"), "");
}

/* V4: more than three deaths in a minute suspend; by the terminate policy one death terminates */
static void test_many_deaths(void **state)
{
	int i;

	(void)state;
	cluster("ab");
	for (i = 0; i < 3; i++) {
		process_dies("b", SIGKILL);
		start_up("b");
	}
	process_dies("b", SIGKILL);
	assert_int_equal(status("b"), VAT_SUSPENDED);
	assert_string_equal(reason("b"), "died 4 times in 60000 ms, last: killed by signal 9 (Killed)");
	resume("b");
	start_up("b");
	for (i = 0; i < 3; i++) {		/* the count began anew */
		process_dies("b", SIGKILL);
		start_up("b");
	}
}

static void test_terminate_policy(void **state)
{
	(void)state;
	cluster_with("ab", ",\"restart\":\"terminate\"");
	act("a", "send o-1 #m [] p+1", "subscribe p+1", NULL);
	expect("b", "message o+0 #m [] p-1");
	process_dies("b", SIGKILL);
	expect_terminated("b", "died: killed by signal 9 (Killed)");
	takes("a", "notify p+1 krej " UNREACHABLE " []");
	expect_nothing();
}

/* V7: limits that the broker counts: abandoned, suspended with the limit's name, durable state intact */
static void test_limits(void **state)
{
	(void)state;
	cluster_with("ab", ",\"limits\":{\"syscalls\":6,\"exports\":6,\"vatstoreBytes\":20,\"crankBytes\":2000}");
	act("b", "set k v", "send o+0 #x [] -", NULL);
	takes("b", "message o+0 #x [] -");
	act("b", "set a 1", "set b 1", "set c 1", "set d 1", "set e 1", "set f 1", "set g 1", NULL);
	assert_int_equal(status("b"), VAT_SUSPENDED);
	assert_string_equal(reason("b"), "LIMIT syscalls 6");
	assert_int_equal(n_rows(T_VATSTORE), 1);
	resume("b");
	start_up("b");
	expect("b", "message o+0 #poke [] -");	/* D4: the item stayed */
	play("b", "set k 01234567890123456789", "done", NULL);
	assert_string_equal(reason("b"), "LIMIT vatstoreBytes 20");
	resume("b");
	start_up("b");
	expect("b", "message o+0 #poke [] -");
	play("b", "send o+0 #x [o+1 o+2 o+3 o+4 o+5 o+6] -", "done", NULL);
	assert_string_equal(reason("b"), "LIMIT exports 6");
	assert_int_equal(vat_named("b")->row.n_exports, 1);
	resume("b");
	start_up("b");
	takes("b", "message o+0 #poke [] -");
	expect_nothing();
}

/* V2, D4: restart by request: the crank ends at once, is not counted as a death, the item comes again. V5: the rest */
static void test_restart(void **state)
{
	kref_t o3, d4, b;

	(void)state;
	cluster("abc");
	b = root("b");
	act("a", "send o-1 #ask [o+1] p+1", "subscribe p+1", NULL);
	expect("b", "message o+0 #ask [o-1] p-1");
	play("b", "send o-1 #tell [o+3 o+d4.1 o+v5.1 p+5 o+d4.2:1] p+6", "subscribe p+6", "done", NULL);
	expect("a", "message o+1 #tell [o-4 o-5 o-6 p-2 o-7] p-3");
	play("a", "subscribe p-2", "done", NULL);
	o3 = kref_of("b", "o+3");
	d4 = kref_of("b", "o+d4.1");
	act("a", "send o-1 #busy [] p+2", "subscribe p+2", "send o-4 #early [] p+3", "subscribe p+3", "send p+1 #piped [] p+4",
	    "subscribe p+4", NULL);
	expect("b", "message o+0 #busy [] p-2");
	say("b", "set never written", "send o-1 #never [] -", NULL);
	world_run();
	restart("b");
	assert_int_equal(status("b"), VAT_STARTING);
	assert_int_equal(vat_named("b")->row.n_deaths, 0);
	/* P8, V5: complete in effect before its startVat */
	takes("a", "notify p+1 krej " RESTARTED("b") " []");
	takes("a", "notify p+4 krej " RESTARTED("b") " []");
	takes("a", "notify p-2 krej " RESTARTED("b") " []");
	assert_int_equal(raw_named("b")->incarnation, 0);	/* not read yet */
	start_up("b");
	assert_int_equal(raw_named("b")->incarnation, 2);
	assert_int_equal(raw_named("b")->next_export, 4);
	assert_int_equal(raw_named("b")->next_promise, 7);
	/* in its queue's order: the abandoned message, one for an object that is no more, notifies of what it decided */
	takes("b", "message o+0 #busy [] p-2");
	takes("a", "notify p+3 krej " DELETED " []");
	takes("b", "notify p-1 krej " RESTARTED("b") " []");
	takes("b", "notify p+5 krej " RESTARTED("b") " []");
	assert_int_equal(n_rows(T_VATSTORE), 0);
	assert_int_equal(object_row(o3).owner, 0);
	assert_false(knows("b", "o+3") || knows("b", "o+v5.1"));
	assert_int_equal(kref_of("b", "o+0").bits, b.bits);	/* durable ones keep their krefs */
	assert_int_equal(kref_of("b", "o+d4.1").bits, d4.bits);
	assert_true(knows("b", "o+d4.2:1") && knows("b", "o-1") && knows("b", "p+6"));
	act("a", "send o-5 #still [] -", "send o-4 #dead [] p+9", "subscribe p+9", "send o-6 #dead [] p+10", "subscribe p+10",
	    "resolve p-3 data #late []", NULL);
	takes("b", "message o+d4.1 #still [] -");
	takes("b", "notify p+6 data #late []");	/* a promise of the earlier incarnation, still subscribed */
	takes("a", "notify p+9 krej " DELETED " []");
	takes("a", "notify p+10 krej " DELETED " []");
	/* the new incarnation may not use the dead names as known ones: o+3 is new */
	act("b", "send o-1 #new [o+3] -", NULL);
	takes("a", "message o+1 #new [o-8] -");
	expect_nothing();
}

/* V2: suspended by hand in the middle of a crank: that crank ends, the process stays, nothing more comes */
static void test_suspend_in_crank(void **state)
{
	(void)state;
	cluster("ab");
	poke("b");
	act("a", "send o-1 #m [] -", NULL);
	suspend("b");
	play("b", "set k v", "done", NULL);
	assert_int_equal(n_rows(T_VATSTORE), 1);
	assert_int_equal(status("b"), VAT_SUSPENDED);
	assert_string_equal(reason("b"), "by the test");
	expect_nothing();
	resume("b");
	assert_int_equal(status("b"), VAT_RUNNING);
	takes("b", "message o+0 #m [] -");
	assert_int_equal(raw_named("b")->incarnation, 1);
	/* its process dies meanwhile: resume is a restart */
	suspend("b");
	process_dies("b", SIGKILL);
	assert_int_equal(status("b"), VAT_SUSPENDED);
	assert_string_equal(reason("b"), "by the test; then died: killed by signal 9 (Killed)");
	expect_nothing();
	resume("b");
	start_up("b");
	assert_int_equal(raw_named("b")->incarnation, 2);
	/* an automatic suspension while held, and a restart of a suspended one */
	suspend("b");
	restart("b");
	start_up("b");
	assert_int_equal(status("b"), VAT_RUNNING);
	expect_nothing();
}

/* V2: suspended while it starts, at each point of it: it is not running before startVat was done */
static void test_suspend_while_starting(void **state)
{
	int when;

	(void)state;
	cluster("ab");
	for (when = 0; when < 3; when++) {
		must(vat_restart(&world->k, vat_named("b")));
		if (when == 0)
			suspend("b");			/* before there is a process */
		world->hold_exits = when == 1;		/* the old one lingers */
		world_run();
		if (when == 2)
			expect("b", "startVat #{} []");
		if (when > 0)
			suspend("b");
		world->hold_exits = false;
		world_run();
		expect_nothing();
		if (when == 2) {
			play("b", "done", NULL);	/* the crank in flight ends */
			assert_int_equal(status("b"), VAT_SUSPENDED);
		}
		resume("b");
		if (when < 2)
			start_up("b");
		assert_int_equal(status("b"), VAT_RUNNING);
		poke("b");
		play("b", "done", NULL);
		expect_nothing();
	}
	/* resumed before its startVat is done */
	must(vat_restart(&world->k, vat_named("b")));
	world_run();
	expect("b", "startVat #{} []");
	suspend("b");
	resume("b");
	assert_int_equal(status("b"), VAT_STARTING);
	play("b", "done", NULL);
	assert_int_equal(status("b"), VAT_RUNNING);
	poke("b");
	play("b", "done", NULL);
}

/* D1, architecture: a process that is on its way out is never spoken to; requests meanwhile decide what follows */
static void test_requests_while_dying(void **state)
{
	(void)state;
	cluster("ab");
	world->hold_exits = true;
	poke("b");
	restart("b");
	restart("b");
	assert_int_equal(vat_named("b")->proc, PROC_DYING);
	act("a", "send o-1 #m [] p+1", "subscribe p+1", NULL);
	world->hold_exits = false;
	world_run();
	start_up("b");
	assert_int_equal(raw_named("b")->incarnation, 3);
	takes("b", "message o+0 #poke [] -");
	expect("b", "message o+0 #m [] p-1");
	/* terminated while a restart's kill is under way */
	world->hold_exits = true;
	restart("b");
	terminate("b");
	takes("a", "notify p+1 krej " UNREACHABLE " []");
	world->hold_exits = false;
	world_run();
	expect_terminated("b", "by the test");
	expect_nothing();
}

/* V2: terminateVat ends a crank at once: its item by the table, nothing of it applied */
static void test_terminate_in_crank(void **state)
{
	(void)state;
	cluster("ab");
	act("a", "send o-1 #m [] p+1", "subscribe p+1", NULL);
	expect("b", "message o+0 #m [] p-1");
	say("b", "resolve p-1 data #never []", "set k v", "done", NULL);	/* on its way, not read */
	terminate("b");
	takes("a", "notify p+1 krej " UNREACHABLE " []");
	assert_int_equal(n_rows(T_VATSTORE), 0);
	assert_int_equal(vat_named("b")->row.n_deaths, 0);
	expect_nothing();
}

/* D3 and architecture: wake: at most one pending, by turns with the queue */
static void test_wake(void **state)
{
	(void)state;
	cluster("ab");
	poke("b");
	act("a", "send o-1 #1 [] -", "send o-1 #2 [] -", NULL);
	play("b", "wakeme", "wakeme", "wakeme", "done", NULL);
	expect("b", "wake");
	play("b", "wakeme", "done", NULL);
	takes("b", "message o+0 #1 [] -");
	expect("b", "wake");
	play("b", "wakeme", "done", NULL);
	takes("b", "message o+0 #2 [] -");
	takes("b", "wake");
	expect_nothing();
	play("a", "wakeme", NULL);	/* idle: at once */
	takes("a", "wake");
	expect_nothing();
}

/* --- garbage ---------------------------------------------------------------------------------------------------------------- */

/* G1, G2, G3: all kinds for one vat: drops, then retired exports, then retired imports, all before messages */
static void test_gc_order(void **state)
{
	kref_t o1, o2, o9;

	(void)state;
	cluster("abc");
	act("a", "send o-1 #m [o+9] -", NULL);
	expect("b", "message o+0 #m [o-1] -");
	play("b", "send o-1 #back [o+1 o+2] -", "drop o-1", "done", NULL);
	takes("a", "message o+9 #back [o-4 o-5] -");	/* as long as it was queued it reached o+9 */
	takes("a", "dropExports o+9");
	o1 = kref_of("b", "o+1");
	o2 = kref_of("b", "o+2");
	o9 = kref_of("a", "o+9");
	expect_counts(o9, 0, 1);
	give("c", o1);
	poke("b");
	act("a", "retexp o+9", "drop o-4 o-5", "retimp o-5", "send o-1 #user [] -", NULL);
	assert_false(knows("a", "o+9"));
	expect_counts(o1, 1, 2);			/* c holds it, a recognizes it */
	expect_nothing();
	act("c", "drop o-1", NULL);
	expect_counts(o1, 0, 2);
	play("b", "done", NULL);
	expect("b", "dropExports o+1 o+2");
	assert_true(is_reachable("b", "o+1"));
	play("b", "done", NULL);
	assert_true(knows("b", "o+1") && !is_reachable("b", "o+1"));
	expect("b", "retireExports o+2");
	play("b", "done", NULL);
	assert_false(row_exists(o2));
	assert_false(knows("b", "o+2"));
	expect("b", "retireImports o-1");
	play("b", "done", NULL);
	assert_false(row_exists(o9));
	takes("b", "message o+0 #user [] -");
	/* weak holders: retired by its vat, both recognizing ones are told */
	act("b", "retexp o+1", NULL);
	expect("a", "retireImports o-4");
	play("a", "retimp o-4", "done", NULL);
	assert_int_equal(status("a"), VAT_TERMINATED);	/* Y1: the delivery had taken it away */
	takes("c", "retireImports o-1");
	assert_false(row_exists(o1));
	expect_nothing();
}

/* G1, G3: re-introduced before the action runs: the action vanishes */
static void test_gc_stale(void **state)
{
	(void)state;
	cluster("abc");
	act("a", "send o-1 #m [o+9] -", "send o-2 #m [o+9] -", NULL);
	takes("b", "message o+0 #m [o-1] -");
	takes("c", "message o+0 #m [o-1] -");
	poke("a");		/* busy: the drop waits */
	act("b", "drop o-1", NULL);
	act("c", "drop o-1", NULL);
	play("a", "send o-1 #again [o+9] -", "done", NULL);
	expect_counts(kref_of("a", "o+9"), 1, 3);
	takes("b", "message o+0 #again [o-1] -");
	expect_nothing();
	assert_int_equal(n_rows(T_GC), 0);
	act("b", "drop o-1", "retimp o-1", NULL);
	takes("a", "dropExports o+9");
	expect_nothing();
	act("c", "retimp o-1", NULL);
	takes("a", "retireExports o+9");
	expect_nothing();
}

/* G3: abandoned: importers keep a reference that rejects; when they drop it they are told to retire it */
static void test_abandon(void **state)
{
	kref_t o9;

	(void)state;
	cluster("abc");
	act("a", "send o-1 #m [o+9 o+8] -", "send o-2 #m [o+9] -", NULL);
	takes("b", "message o+0 #m [o-1 o-2] -");
	takes("c", "message o+0 #m [o-1] -");
	o9 = kref_of("a", "o+9");
	act("b", "drop o-1", NULL);
	act("a", "abandon o+9", NULL);
	expect_counts(o9, 1, 2);
	assert_true(is_reachable("c", "o-1"));
	expect_nothing();
	act("c", "send o-1 #dead [o-1] p+1", "subscribe p+1", NULL);
	takes("c", "notify p+1 krej " DELETED " []");
	act("c", "drop o-1", "retimp o-1", NULL);
	takes("b", "retireImports o-1");
	assert_false(row_exists(o9));
	expect_nothing();
}

/* G4: by dirt: deliveries, and references collected */
static void test_reap(void **state)
{
	char text[400] = "send o-1 #m [";
	int i;

	(void)state;
	cluster("ab");
	for (i = 10; i < 30; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "o+%d ", i);
	strcat(text, "] -");
	suspend("b");
	act("a", text, NULL);
	terminate("b");
	free(next_delivery(raw_named("a")));
	play("a", "done", NULL);
	free(next_delivery(raw_named("a")));
	play("a", "done", NULL);
	takes("a", "bringOutYourDead");
	assert_int_equal(vat_named("a")->row.n_dirt_gc, 0);
	for (i = 0; i < 199; i++)
		act("a", NULL);
	expect_nothing();
	act("a", NULL);
	takes("a", "bringOutYourDead");
	expect_nothing();
}

/* C6, G3, P9: after a scenario with a bit of everything the tables are what they were */
static void test_baseline(void **state)
{
	_cleanup_free_ char *before = NULL, *after = NULL;

	(void)state;
	cluster("abc");
	before = world_dump(0);
	act("a", "send o-1 #m [o+1 o+2 o+d3.1 p+1] p+2", "send o-1 #m [o-2 p+2] p+3", "send p+2 #piped [p+3] p+4",
	    "subscribe p+2", "subscribe p+3", "subscribe p+4", NULL);
	expect("b", "message o+0 #m [o-1 o-2 o-3 p-1] p-2");
	play("b", "subscribe p-1", "resolve p-2 ref #r [o+4]", "done", NULL);
	expect("b", "message o+0 #m [o-4 p-3] p-4");
	play("b", "resolve p-4 ref #f [p-1]", "subscribe p-3", "send o-4 #to-c [o-1] p+5", "send p+5 #more [o-2] p+6",
	     "subscribe p+6", "done", NULL);
	expect("b", "message o+4 #piped [p-5] p-6");
	play("b", "subscribe p-5", "resolve p-6 rej #no [o+4 p-1]", "done", NULL);
	takes("b", "notify p-3 ref #r [o+4]");
	takes("a", "notify p+2 ref #r [o-4]");
	takes("a", "notify p+4 rej #no [o-4 p+1]");
	act("a", "resolve p+1 data #v [o-4]", NULL);
	takes("a", "notify p+3 data #v [o-4]");
	takes("b", "notify p-1 data #v [o+4]");
	takes("b", "notify p-5 data #v [o+4]");
	expect("c", "message o+0 #to-c [o-1] p-1");
	play("c", "resolve p-1 ref #me [o+0]", "drop o-1", "retimp o-1", "done", NULL);
	expect("c", "message o+0 #more [o-2] p-2");
	play("c", "resolve p-2 data #end []", "drop o-2", "retimp o-2", "done", NULL);
	takes("b", "notify p+6 data #end []");
	act("b", "subscribe p+5", NULL);
	takes("b", "notify p+5 ref #me [o-4]");
	act("b", "drop o-1 o-2 o-3 o-4", "retimp o-1 o-2 o-3 o-4", NULL);
	takes("a", "dropExports o+1 o+2 o+d3.1");
	takes("a", "retireExports o+1 o+2 o+d3.1");
	act("a", "drop o-4", "retimp o-4", NULL);
	takes("b", "dropExports o+4");
	takes("b", "retireExports o+4");
	expect_nothing();
	after = world_dump(0);
	assert_string_equal(before, after);
}

/* --- the broker's death ----------------------------------------------------------------------------------------------------- */

/* V9, V2, P8, D4 */
static void test_reopen(void **state)
{
	kref_t o3;

	(void)state;
	cluster("abc");
	act("a", "send o-1 #ask [o+1] p+1", "subscribe p+1", NULL);
	expect("b", "message o+0 #ask [o-1] p-1");
	play("b", "send o-1 #tell [o+3 o+d4.1] -", "done", NULL);
	o3 = kref_of("b", "o+3");
	takes("a", "message o+1 #tell [o-4 o-5] -");
	suspend("c");
	host_send(root("c"), "#out", NULL, 0, true);
	host_send(root("b"), "#out", NULL, 0, true);
	world_run();
	expect("b", "message o+0 #out [] p-2");
	/* applied, told to others, not committed */
	say("b", "resolve p-2 data #lost []", "set k lost", "send o-1 #lost [] -", "done", NULL);
	must(loop_round(&world->k.loop, 0));
	assert_int_equal(vat_named("b")->crank.state, CRANK_IDLE);
	world_crash();
	assert_int_equal(n_rows(T_VATSTORE), 0);
	assert_int_equal(vat_named("a")->row.incarnation, 2);
	assert_int_equal(vat_named("b")->row.incarnation, 2);
	assert_int_equal(status("b"), VAT_STARTING);
	assert_int_equal(status("c"), VAT_SUSPENDED);
	assert_int_equal(vat_named("b")->row.pid, 0);
	assert_int_equal(n_rows(T_HOLD), 4);		/* three roots and console: host calls went with their connections */
	world_run();
	start_up("a");
	start_up("b");
	expect("b", "message o+0 #out [] p-2");		/* again: it had not been committed */
	takes("a", "notify p+1 krej " RESTARTED("b") " []");
	play("b", "resolve p-2 data #now []", "done", NULL);
	takes("b", "notify p-1 krej " RESTARTED("b") " []");
	assert_int_equal(object_row(o3).owner, 0);
	expect_nothing();
	resume("c");
	start_up("c");
	takes("c", "message o+0 #out [] p-1");
	assert_int_equal(raw_named("c")->incarnation, 2);
	act("c", "resolve p-1 data #v []", NULL);
	expect_nothing();
	assert_int_equal(n_rows(T_PROMISE), 0);
	/* once more at rest, with a sweep that never ended and one never begun */
	act("a", "send o-1 #x [] p+20", NULL);
	takes("b", "message o+0 #x [] p-3");
	must(vat_terminate(&world->k, vat_named("b"), "by the test"));
	world_commit();
	world_crash();
	world_run();
	start_up("a");
	expect_promise(kref_of("a", "p+20"), "krej " GONE("b") " []");
	start_up("c");
	expect_nothing();
}

/* V1, V9: found launching at boot: terminated, nothing stays */
static void test_reopen_launching(void **state)
{
	_cleanup_free_ char *before = world_dump(0), *after = NULL;
	int when;

	(void)state;
	for (when = 0; when < 4; when++) {
		free(after);
		cluster_begin("ab", "");
		if (when > 0)
			world_run();
		else
			world_commit();
		if (when > 1) {
			start_up("a");
			start_up("b");
			expect("a", "message o+0 #[\"bootstrap\",[{\"a\":\"$0\",\"b\":\"$1\"},{\"console\":\"$2\"}]] [o+0 o-1 o-2] p-1");
		}
		if (when > 2) {
			say("a", "resolve p-1 data #ok [o+5]", "done", NULL);
			must(loop_round(&world->k.loop, 0));	/* applied; nobody was told; committed */
			world_commit();
		}
		world_crash();
		world_run();
		after = world_dump(0);
		assert_string_equal(before, after);
		assert_null(world->k.vats);
		assert_int_equal(n_rows(T_SUBCLUSTER) + n_rows(T_VAT) + n_rows(T_MEMBER) + n_rows(T_LOG), 0);
	}
}

/* G6: a vat with many entries goes in steps; every commit between them recounts, and others go on */
static void test_sweep_in_steps(void **state)
{
	char text[12000];
	int i, n;

	(void)state;
	cluster("abc");
	give("b", root("c"));
	for (n = 0; n < 6; n++) {
		snprintf(text, sizeof(text), "send o-1 #m [");
		for (i = 0; i < 200; i++)
			snprintf(text + strlen(text), sizeof(text) - strlen(text), "o+%d p+%d ", n * 200 + i + 1, n * 200 + i + 1);
		strcat(text, "] -");
		act("b", text, NULL);
		free(next_delivery(raw_named("c")));
		play("c", "done", NULL);
	}
	assert_int_equal(vat_named("b")->row.n_exports, 2401);
	must(vat_restart(&world->k, vat_named("b")));
	n = 0;
	while (world->k.sweeping) {
		world_step();
		world_commit();
		n++;
	}
	assert_true(n >= 2400 / (int)SWEEP_BUDGET);
	assert_int_equal(vat_named("b")->row.n_exports, 1 + 1200);	/* its promises stay till it is told */
	must(vat_terminate(&world->k, vat_named("b"), "by the test"));
	while (world->k.sweeping) {
		world_step();
		world_commit();
	}
	world_run();
	assert_int_equal(vat_named("b")->row.n_exports, 0);
	act("a", "send o-2 #hi [] -", NULL);
	takes("c", "message o+0 #hi [] -");
	must(subcluster_terminate(&world->k, 1, "the end", NULL));
	world_run();
	assert_int_equal(n_rows(T_OBJECT), 1);
	assert_int_equal(n_rows(T_PROMISE), 0);
}

/* X1: a revoked reference can still be passed, dropped and retired */
static void test_revoked_is_passed_on(void **state)
{
	kref_t o9;

	(void)state;
	cluster("abc");
	act("a", "send o-1 #m [o+9] -", NULL);
	takes("b", "message o+0 #m [o-1] -");
	o9 = kref_of("a", "o+9");
	revoke_ref(o9);
	give("b", root("c"));
	act("b", "send o-2 #m [o-1] -", "send o-1 #no [] p+1", "subscribe p+1", NULL);
	takes("c", "message o+0 #m [o-1] -");
	takes("b", "notify p+1 krej " REVOKED " []");
	world_crash();
	world_run();
	start_up("a");
	start_up("b");
	start_up("c");
	/* o+9 was of the earlier incarnation: gone, and revoked all the same */
	act("c", "send o-1 #no [] p+1", "subscribe p+1", NULL);
	takes("c", "notify p+1 krej " REVOKED " []");
	act("c", "drop o-1", "retimp o-1", NULL);
	act("b", "drop o-1", "retimp o-1", NULL);
	assert_false(row_exists(o9));
	expect_nothing();
}

/* P7: up to 1,000 promises in one notify; what is beyond are ordinary imports */
static void test_notify_of_many(void **state)
{
	char text[60];
	int i;

	(void)state;
	cluster("ab");
	act("a", "send o-1 #m [p+1] -", NULL);
	expect("b", "message o+0 #m [p-1] -");
	play("b", "subscribe p-1", "done", NULL);
	/* p+1 holds p+2 holds p+3 …; settled from the end, each names the next before that leaves a's clist */
	poke("a");
	for (i = 1; i < 1200; i++) {
		snprintf(text, sizeof(text), "resolve p+%d data #v [p+%d]", i, i + 1);
		say("a", text, NULL);
	}
	play("a", "resolve p+1200 data #end []", "done", NULL);
	free(next_delivery(raw_named("b")));
	play("b", "done", NULL);
	assert_true(knows("b", "p-1001"));
	assert_false(knows("b", "p-1000") || knows("b", "p-1") || knows("b", "p-1002"));
	act("b", "subscribe p-1001", NULL);
	free(next_delivery(raw_named("b")));
	play("b", "done", NULL);
	expect_nothing();
	assert_int_equal(n_rows(T_PROMISE) + n_rows(T_VALUE), 0);
}

/* V7: messages that wait on one promise are limited; charged to the sender */
static void test_waiting_limit(void **state)
{
	int i;

	(void)state;
	cluster("ab");
	act("a", "send o-1 #get [] p+1", NULL);
	expect("b", "message o+0 #get [] p-1");
	poke("a");
	for (i = 0; i < 10000; i++) {
		say("a", "send p+1 #w [] -", NULL);
		if (i % 100 == 99)
			world_step();
	}
	play("a", "send p+1 #over [] p+2", "subscribe p+2", "done", NULL);
	takes("a", "notify p+2 krej " KERR("QUEUE_FULL", "10000 messages wait on the promise already") " []");
	assert_int_equal(promise_row(kref_of("a", "p+1")).n_waiting, 10000);
	terminate("b");
	assert_int_equal(n_rows(T_QUEUE), 0);
	expect_nothing();
}

/* Y1, V7: over a fixed protocol maximum, on arrival */
static void test_slots_of_a_crank(void **state)
{
	static char text[60000];
	size_t n = sprintf(text, "send o-1 #m [");
	int i;

	(void)state;
	cluster("ab");
	for (i = 0; i < 9000; i++)
		n += sprintf(text + n, "o+1 ");
	strcpy(text + n, "] -");
	poke("a");
	for (i = 0; i < 5; i++)
		play("a", text, NULL);
	assert_int_equal(status("a"), VAT_RUNNING);
	play("a", text, NULL);
	expect_terminated("a", "illegal syscall: more slots in one crank than the protocol allows");
	expect_nothing();
}

/* Two subclusters: references outlive the subcluster of their owner, and reject; its rows go (R, G3, G5) */
static void test_two_subclusters(void **state)
{
	kref_t c_root, o9;

	(void)state;
	cluster("ab");
	cluster("cd");
	c_root = root("c");
	assert_string_equal(give("a", c_root), "o-3");
	act("a", "send o-3 #ask [o+9] p+1", "subscribe p+1", NULL);
	expect("c", "message o+0 #ask [o-3] p-2");
	o9 = kref_of("a", "o+9");
	act("a", "send o-3 #queued [] p+2", "subscribe p+2", NULL);
	must(subcluster_terminate(&world->k, subcluster_of("c"), "the test ends it", NULL));
	world_run();
	takes("a", "dropExports o+9");
	takes("a", "retireExports o+9");
	takes("a", "notify p+1 krej " UNREACHABLE " []");
	takes("a", "notify p+2 krej " UNREACHABLE " []");
	assert_false(row_exists(o9));
	assert_int_equal(HASH_COUNT(world->k.vats), 2);
	expect_counts(c_root, 1, 1);
	act("a", "send o-3 #late [] p+3", "subscribe p+3", NULL);
	takes("a", "notify p+3 krej " UNREACHABLE " []");
	act("a", "drop o-3", NULL);
	takes("a", "retireImports o-3");
	assert_false(row_exists(c_root));
	expect_nothing();
}

/* C4, V2: references in parameters are held, and given again to every incarnation */
static void test_parameters(void **state)
{
	char extra[100];
	kref_t b, o9;

	(void)state;
	cluster("ab");
	b = root("b");
	act("b", "send o+0 #x [o+9] -", NULL);
	expect("b", "message o+0 #x [o+9] -");
	o9 = kref_of("b", "o+9");
	expect_counts(o9, 1, 1);
	snprintf(extra, sizeof(extra), ",\"parameters\":[{\"@\":\"ko%llu\"},{\"@\":\"ko%llu\"}]",
		 (unsigned long long)kref_number(b), (unsigned long long)kref_number(o9));
	cluster_begin("c", extra);
	play("b", "done", NULL);
	expect_counts(o9, 1, 1);
	takes("c", "startVat #[\"$0\",\"$1\"] [o-1 o-2]");
	expect_counts(o9, 2, 2);
	expect("c", "message o+0 #[\"bootstrap\",[{\"c\":\"$0\"},{\"console\":\"$1\"}]] [o+0 o-3] p-1");
	play("c", "resolve p-1 data #ok []", "drop o-1 o-2", "retimp o-2", "done", NULL);
	expect_counts(o9, 1, 1);
	restart("c");
	takes("c", "startVat #[\"$0\",\"$1\"] [o-1 o-4]");	/* C3: the entry that lived, with its flag set again */
	assert_true(is_reachable("c", "o-1"));
	must(subcluster_terminate(&world->k, subcluster_of("c"), "the test ends it", NULL));
	world_run();
	takes("b", "dropExports o+9");
	takes("b", "retireExports o+9");
	expect_nothing();
}

/* V2, P8: an automatic suspension rejects at once what the vat decided; what is queued waits, and may still end */
static void test_automatic_suspension(void **state)
{
	(void)state;
	cluster("ab");
	act("a", "send o-1 #ask [] p+1", "subscribe p+1", NULL);
	takes("b", "message o+0 #ask [] p-1");
	must(vat_suspend_hard(&world->k, vat_named("b"), "LIMIT something"));
	world_run();
	takes("a", "notify p+1 krej " RESTARTED("b") " []");
	assert_int_equal(raw_named("b")->fd, -1);
	act("a", "send o-1 #wait [] p+2", "subscribe p+2", NULL);
	expect_nothing();
	world_crash();
	world_run();
	start_up("a");
	assert_int_equal(status("b"), VAT_SUSPENDED);	/* V8, V9: it had no process, and gets none */
	assert_int_equal(raw_named("b")->fd, -1);
	resume("b");
	start_up("b");
	assert_int_equal(raw_named("b")->incarnation, 2);
	takes("b", "notify p-1 krej " RESTARTED("b") " []");
	expect("b", "message o+0 #wait [] p-2");
	must(vat_suspend_hard(&world->k, vat_named("b"), "LIMIT again"));
	world_run();
	assert_int_equal(vat_named("b")->row.n_queued, 1);	/* D4 */
	terminate("b");
	takes("a", "notify p+2 krej " UNREACHABLE " []");
	expect_nothing();
	assert_int_equal(n_rows(T_QUEUE) + n_rows(T_NOTIFYING), 0);
}

/* Y1: a restarted vat is as mortal as a new one; what its earlier incarnation held goes too */
static void test_illegal_in_start(void **state)
{
	(void)state;
	cluster("ab");
	act("a", "send o-1 #ask [o+1] p+1", "subscribe p+1", NULL);
	takes("b", "message o+0 #ask [o-1] p-1");
	restart("b");
	takes("a", "notify p+1 krej " RESTARTED("b") " []");
	expect("b", "startVat #{} []");
	play("b", "resolve p-1 data #mine []", "done", NULL);	/* P8: it is not b's any more */
	assert_int_equal(status("b"), VAT_TERMINATED);
	takes("a", "dropExports o+1");
	takes("a", "retireExports o+1");
	expect_nothing();
}



/* V1, V8: no process to be had: a launch fails, a vat that ran before is put aside with the reason */
static void test_spawn_fails(void **state)
{
	_cleanup_free_ char *before = world_dump(0), *after = NULL;

	(void)state;
	world->fail_starts = "no memory";
	cluster_begin("ab", "");
	world_run();
	after = world_dump(0);
	assert_string_equal(before, after);
	assert_int_equal(strncmp(world->request.text, "[LAUNCH_FAILED] vat ", 20), 0);
	assert_non_null(strstr(world->request.text, "cannot start: no memory"));
	world->fail_starts = NULL;
	cluster("ab");
	act("a", "send o-1 #ask [] p+1", "subscribe p+1", NULL);
	takes("b", "message o+0 #ask [] p-1");
	world->fail_starts = "no program";
	process_dies("b", SIGKILL);
	assert_int_equal(status("b"), VAT_SUSPENDED);
	assert_string_equal(reason("b"), "cannot start: no program");
	takes("a", "notify p+1 krej " RESTARTED("b") " []");
	act("a", "send o-1 #wait [] -", NULL);
	resume("b");
	assert_int_equal(status("b"), VAT_SUSPENDED);
	world->fail_starts = NULL;
	expect_nothing();
	resume("b");
	start_up("b");
	takes("b", "notify p-1 krej " RESTARTED("b") " []");
	takes("b", "message o+0 #wait [] -");
	expect_nothing();
}

/* Frames above a packet, both ways, to a vat that is slow to read; the next delivery waits for none of it */
static void test_large_messages(void **state)
{
	static char said[250100], heard[250100];
	size_t len = 250000;
	int small = 80000;

	(void)state;
	cluster("ab");
	assert_int_equal(setsockopt(vat_named("b")->channel.source.fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)), 0);
	strcpy(said, "send o-1 #");
	memset(said + 10, 'x', len);
	strcpy(said + 10 + len, " [o+1] -");
	strcpy(heard, "message o+0 #");
	memset(heard + 13, 'x', len);
	strcpy(heard + 13 + len, " [o-1] -");
	act("a", said, said, said, NULL);
	assert_true(vat_named("b")->channel.backlog.len > 0);
	takes("b", heard);
	takes("b", heard);
	expect("b", heard);
	act("a", said, NULL);
	terminate("b");		/* with some of it under way */
	takes("a", "dropExports o+1");
	takes("a", "retireExports o+1");
	expect_nothing();
}

/* V7: references and bytes are charged to who sends them: QUEUE_FULL; the receiver is not harmed */
static void test_limits_of_the_receiver(void **state)
{
	static char said[3100];

	(void)state;
	cluster_with("ab", ",\"limits\":{\"imports\":6,\"queueBytes\":2000}");
	act("a", "send o-1 #1 [o+1 o+2 o+3 o+4] p+1", "send o-1 #2 [o+1 o+2 o+3 o+4 o+5] p+2",
	    "send o-1 #3 [o+1 o+2 o+3 o+4 o+5 o+6] p+3", "subscribe p+1", "subscribe p+2", "subscribe p+3", NULL);
	expect("b", "message o+0 #1 [o-1 o-2 o-3 o-4] p-1");
	play("b", "resolve p-1 data #ok []", "done", NULL);
	expect("b", "message o+0 #2 [o-1 o-2 o-3 o-4 o-5] p-2");
	play("b", "resolve p-2 data #ok []", "done", NULL);
	takes("a", "notify p+1 data #ok []");
	takes("a", "dropExports o+6");
	takes("a", "retireExports o+6");
	takes("a", "notify p+2 data #ok []");
	takes("a", "notify p+3 krej " KERR("QUEUE_FULL", "b may not import more than 6 references") " []");
	assert_int_equal(status("b"), VAT_RUNNING);
	suspend("b");
	strcpy(said, "send o-1 #");
	memset(said + 10, 'x', 2500);
	strcpy(said + 2510, " [] -");
	act("a", said, "send o-1 #4 [] p+4", "subscribe p+4", NULL);
	takes("a", "notify p+4 krej " KERR("QUEUE_FULL", "queue of b holds its limit of 2000 bytes") " []");
	expect_nothing();
}

/* Architecture 4: log lines survive an aborted crank; V7: those over the limit are counted */
static void test_log(void **state)
{
	(void)state;
	cluster_with("ab", ",\"limits\":{\"logLines\":3}");
	poke("b");
	play("b", "log one", "set k v", "log two", "log three", "log four", "log five", NULL);
	assert_int_equal(n_rows(T_LOG), 3);
	assert_int_equal(vat_named("b")->row.n_log_dropped, 2);
	play("b", "send o-99 #x [] -", "done", NULL);
	assert_int_equal(status("b"), VAT_TERMINATED);
	assert_int_equal(n_rows(T_LOG), 3);
	must(subcluster_terminate(&world->k, 1, "the end", NULL));
	world_run();
	assert_int_equal(n_rows(T_LOG), 0);
}

/* --- all of them, on both kinds of store --------------------------------------------------------------------------------- */

static int setup(void **state, enum store_kind kind)
{
	if (dir_setup(state))
		return -1;
	world_open(*state, kind);
	return 0;
}

static int setup_overlay(void **state) { return setup(state, STORE_OVERLAY); }
static int setup_direct(void **state) { return setup(state, STORE_DIRECT); }

static int teardown(void **state)
{
	world_close();
	return dir_teardown(state);
}

#define T(f)	{ #f " (overlay)", f, setup_overlay, teardown, NULL }, { #f " (direct)", f, setup_direct, teardown, NULL }

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T(test_launch), T(test_launch_fails), T(test_launch_answer_and_end),
		T(test_names_and_counts), T(test_reuse_of_entries), T(test_tentative_numbers), T(test_forms_of_references),
		T(test_route_revoked), T(test_route_revoked_later), T(test_route_no_owner), T(test_route_unknown),
		T(test_route_service), T(test_route_terminated), T(test_route_suspended), T(test_route_queue_full),
		T(test_route_result_is_target), T(test_route_settled), T(test_route_waiting_order),
		T(test_pipelining), T(test_order_across_forwarding), T(test_forward_to_settled), T(test_forwarding_chain),
		T(test_cycles), T(test_batch_crosswise), T(test_notify_closure), T(test_subscribers), T(test_one_queued_notify),
		T(test_own_subscription), T(test_forwarded_subscribers), T(test_result_handed_on), T(test_decider_dies),
		T(test_illegal), T(test_illegal_at_any_time), T(test_garbage), T(test_exit), T(test_exit_failure),
		T(test_outcome_priority), T(test_vatstore), T(test_clist_get_next),
		T(test_death_after_done), T(test_poison_message), T(test_start_fails_twice), T(test_many_deaths),
		T(test_terminate_policy), T(test_limits), T(test_restart), T(test_suspend_in_crank),
		T(test_suspend_while_starting), T(test_requests_while_dying), T(test_terminate_in_crank), T(test_wake),
		T(test_gc_order), T(test_gc_stale), T(test_abandon), T(test_reap), T(test_baseline),
		T(test_reopen), T(test_reopen_launching), T(test_sweep_in_steps),
		T(test_revoked_is_passed_on), T(test_notify_of_many), T(test_waiting_limit), T(test_slots_of_a_crank),
		T(test_two_subclusters), T(test_parameters), T(test_automatic_suspension), T(test_illegal_in_start),
		T(test_spawn_fails), T(test_large_messages), T(test_limits_of_the_receiver), T(test_log),
	};

	log_init("test_kernel");
	cmocka_set_test_filter(getenv("TEST_FILTER"));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
