/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel in process: what is bounded, and whom it costs (V6, V7, D6, R3, R5, R6). Clocks are the test's own; vats are played by
 * hand (kernel_harness.h), on both kinds of store.
 */
#include "kernel_steps.h"

#include "../../broker/charge.h"
#include "../../broker/deadline.h"
#include "../../broker/router.h"

#define MS UINT64_C(1000000)

/* --- time ------------------------------------------------------------------------------------------------ */

static void time_passes(uint64_t ns)
{
	world->k.broker_ns += ns;
	must(deadline_check(&world->k, 0));
}

/* V6: who is over is killed, and nobody else notices; D4: the item comes again */
static void test_deadline(void **state)
{
	(void)state;
	cluster_with("ab", ",\"limits\":{\"deadlineMs\":1000}");
	act("a", "send o-1 #slow [] -", NULL);
	expect("b", "message o+0 #slow [] -");
	time_passes(900 * MS);
	poke("a");
	time_passes(99 * MS);
	world_run();
	assert_int_equal(vat_named("b")->row.n_deaths, 0);
	time_passes(MS);
	world_run();
	assert_int_equal(vat_named("b")->row.n_deaths, 1);
	assert_int_equal(vat_named("a")->row.n_deaths, 0);
	play("a", "done", NULL);
	start_up("b");
	takes("b", "message o+0 #slow [] -");
	time_passes(5000 * MS); /* idle: there is nothing to be late with */
	world_run();
	assert_int_equal(vat_named("b")->row.n_deaths, 1);
	expect_nothing();
}

/* D6: a done that has arrived counts, though it was not read yet; D11: the next one's deadline begins with it */
static void test_deadline_done(void **state)
{
	(void)state;
	cluster_with("ab", ",\"limits\":{\"deadlineMs\":1000}");
	act("a", "send o-1 #1 [] -", "send o-1 #2 [] -", NULL);
	expect("b", "message o+0 #1 [] -");
	say("b", "set k v", "done", NULL);
	time_passes(1000 * MS);
	assert_int_equal(vat_named("b")->proc, PROC_ALIVE);
	world_run();
	assert_int_equal(n_rows(T_VATSTORE), 1);
	expect("b", "message o+0 #2 [] -");
	time_passes(999 * MS);
	assert_int_equal(vat_named("b")->proc, PROC_ALIVE);
	say("b", "set k2 v", NULL); /* of the next delivery, and no done */
	time_passes(MS);
	assert_int_equal(vat_named("b")->proc, PROC_DYING);
	world_run();
	start_up("b");
	assert_int_equal(n_rows(T_VATSTORE), 1);
	takes("b", "message o+0 #2 [] -");
	expect_nothing();
}

/* V6: 0 is no deadline */
static void test_no_deadline(void **state)
{
	(void)state;
	cluster_with("ab", ",\"limits\":{\"deadlineMs\":0}");
	poke("b");
	time_passes(UINT64_C(1) << 50);
	world_run();
	assert_int_equal(vat_named("b")->row.n_deaths, 0);
	play("b", "done", NULL);
	expect_nothing();
}

/* D6, D10: a round counts for what it may have waited and 50 ms; the rest was a stall */
static void test_stalls(void **state)
{
	struct kernel *k = &world->k;
	uint64_t last = 7 * MS;

	(void)state;
	k->broker_ns = 0;
	deadline_advance(k, &last, 17 * MS, 50);
	assert_int_equal(k->broker_ns, 10 * MS);
	assert_int_equal(last, 17 * MS);
	deadline_advance(k, &last, 117 * MS, 50); /* as long as may be */
	assert_int_equal(k->broker_ns, 110 * MS);
	deadline_advance(k, &last, 3600000 * MS, 50); /* suspended for an hour */
	assert_int_equal(k->broker_ns, 210 * MS);
	assert_int_equal(last, 3600000 * MS);
	deadline_advance(k, &last, last + 40 * MS, 0);
	assert_int_equal(k->broker_ns, 250 * MS);
	deadline_advance(k, &last, last + 60 * MS, 0);
	assert_int_equal(k->broker_ns, 300 * MS);
	deadline_advance(k, &last, last + 5000 * MS, -1);
	assert_int_equal(k->broker_ns, 1350 * MS);
}

static void expect_over_cpu(void)
{
	world_run();
	assert_int_equal(status("b"), VAT_SUSPENDED);
	assert_string_equal(reason("b"), "LIMIT cpuMs 20");
	assert_int_equal(raw_named("b")->fd, -1);
	assert_int_equal(vat_named("b")->row.n_deaths, 0);
}

/* V7: beyond its limit of the processor's time the crank is abandoned and the vat suspended; each delivery counts alone */
static void test_cpu(void **state)
{
	uint64_t *cpu_ns = &world->cpu_ns[2];

	(void)state;
	cluster_with("ab", ",\"limits\":{\"cpuMs\":20}");
	*cpu_ns = 1000 * MS;
	act("a", "send o-1 #1 [] -", "send o-1 #2 [] -", "send o-1 #3 [] -", NULL);
	expect("b", "message o+0 #1 [] -");
	*cpu_ns += 20 * MS;
	time_passes(10000 * MS); /* waiting costs nothing */
	play("b", "set k v", "done", NULL);
	expect("b", "message o+0 #2 [] -");
	*cpu_ns += 20 * MS;
	play("b", "done", NULL);
	expect("b", "message o+0 #3 [] -");
	*cpu_ns += 20 * MS + 1;
	time_passes(0); /* looked at while it works */
	expect_over_cpu();
	assert_int_equal(n_rows(T_VATSTORE), 1);
	resume("b");
	start_up("b");
	expect("b", "message o+0 #3 [] -");
	*cpu_ns += 20 * MS + 1;
	play("b", "set k2 v", "done", NULL); /* and when it says that it is done */
	expect_over_cpu();
	assert_int_equal(n_rows(T_VATSTORE), 1);
	resume("b");
	start_up("b");
	expect("b", "message o+0 #3 [] -");
	*cpu_ns = UINT64_MAX; /* nobody can tell: no judgement */
	play("b", "done", NULL);
	expect_nothing();
}

/* V7: without the limit the clock is not even looked at */
static void test_cpu_no_limit(void **state)
{
	(void)state;
	cluster("ab");
	poke("b");
	world->cpu_ns[2] = UINT64_C(1) << 50;
	time_passes(0);
	play("b", "done", NULL);
	assert_int_equal(status("b"), VAT_RUNNING);
	expect_nothing();
}

/* --- shares ---------------------------------------------------------------------------------------------- */

/* So many sends in a crank of its own; how many of them came to nothing. */
static uint64_t send_many(const char *name, const char *said, unsigned n)
{
	uint64_t dropped = world->k.stats.n_dropped_sends;

	poke(name);
	while (n--) {
		say(name, said, NULL);
		if (n % 100 == 0)
			world_step();
	}
	play(name, "done", NULL);
	return world->k.stats.n_dropped_sends - dropped;
}

static struct row_charge charge(uint64_t holder, uint64_t who)
{
	struct row_charge row;

	must(charge_get(&world->k, holder, who, &row));
	return row;
}

static uint64_t endpoint_of(const char *name) { return endpoint_vat(vat_named(name)->number).bits; }

/* V7, R3: a flood fills its sender's share and nobody else's; who comes later finds room; the outside is one sender */
static void test_flood(void **state)
{
	uint64_t dropped;
	unsigned i;

	(void)state;
	cluster_with("abcd", ",\"limits\":{\"queueMessages\":12}");
	give("b", root("d"));
	give("c", root("d"));
	suspend("d");
	assert_int_equal(send_many("a", "send o-3 #a [] -", 20), 8); /* alone: all of it */
	assert_int_equal(send_many("b", "send o-1 #b [] -", 20), 14); /* the half */
	assert_int_equal(send_many("a", "send o-3 #a [] -", 1), 1);
	assert_int_equal(send_many("c", "send o-1 #c [] -", 20), 16); /* a third */
	dropped = world->k.stats.n_dropped_sends;
	for (i = 0; i < 20; i++)
		host_send(root("d"), "#h", NULL, 0, false);
	assert_int_equal(world->k.stats.n_dropped_sends - dropped, 17);
	world_run();
	assert_int_equal(vat_named("d")->row.n_senders, 4);
	assert_int_equal(vat_named("d")->row.n_queued, 12 + 6 + 4 + 3);
	assert_int_equal(charge(endpoint_of("d"), endpoint_of("b")).n_messages, 6);
	assert_int_equal(charge(endpoint_of("d"), 0).n_messages, 3);
	world_crash(); /* what was committed is charged after the death of the broker */
	world_run();
	for (i = 0; i < 3; i++)
		start_up((const char *[]){"a", "b", "c"}[i]);
	assert_int_equal(send_many("a", "send o-3 #a [] -", 1), 1);
	assert_int_equal(charge(endpoint_of("d"), endpoint_of("a")).n_messages, 12);
	resume("d");
	start_up("d");
	for (i = 0; i < 12; i++)
		takes("d", "message o+0 #a [] -");
	assert_int_equal(vat_named("d")->row.n_senders, 3);
	suspend("d");
	assert_int_equal(send_many("a", "send o-3 #a [] -", 9), 6); /* one of four */
	terminate("d"); /* and a death gives all of it back */
	assert_int_equal(vat_named("d")->row.n_senders, 0);
	assert_int_equal(charge(endpoint_of("d"), endpoint_of("a")).n_messages, 0);
	expect_nothing();
}

/* V7: bytes are shared the same way; one message always fits; notifies are nobody's and take nothing from anybody */
static void test_flood_of_bytes(void **state)
{
	static char said[1100];

	(void)state;
	cluster_with("abc", ",\"limits\":{\"queueBytes\":3000}");
	give("b", root("c"));
	strcpy(said, "send o-2 #");
	memset(said + 10, 'x', 1000);
	strcpy(said + 1010, " [] -");
	act("a", "send o-2 #subscribe [p+1 p+2 p+3] -", NULL);
	expect("c", "message o+0 #subscribe [p-1 p-2 p-3] -");
	play("c", "subscribe p-1", "subscribe p-2", "subscribe p-3", "done", NULL);
	suspend("c");
	act("a", "resolve p+1 data #1 []; p+2 data #2 []; p+3 data #3 []", NULL);
	assert_int_equal(vat_named("c")->row.n_queued, 3);
	assert_int_equal(vat_named("c")->row.n_senders, 0);
	assert_int_equal(send_many("a", said, 9), 6);
	said[7] = '1'; /* b's name for it */
	assert_int_equal(send_many("b", said, 9), 7);
	expect_nothing();
}

/* V7: what waits for one promise is limited for each sender by that one's own limits; what is sent on has four times them */
static void test_waiting_shares(void **state)
{
	const char *p;
	kref_t promise;
	unsigned i;

	(void)state;
	cluster_with("abc", ",\"limits\":{\"waitingMessages\":3,\"queueMessages\":2}");
	act("a", "send p+1 #w [] -", NULL);
	promise = kref_of("a", "p+1");
	p = give("b", promise);
	assert_string_equal(p, "p-1");
	give("c", promise);
	assert_int_equal(send_many("b", "send p-1 #b [] -", 5), 2);
	assert_int_equal(send_many("c", "send p-1 #c [] -", 5), 2);
	assert_int_equal(send_many("a", "send p+1 #a [] -", 5), 3);
	assert_int_equal(promise_row(promise).n_waiting, 9);
	assert_int_equal(charge(promise.bits, endpoint_of("b")).n_messages, 3);
	world_crash();
	world_run();
	for (i = 0; i < 3; i++)
		start_up((const char *[]){"a", "b", "c"}[i]);
	/* the restart has rejected the promise, and everything that waited is dropped and given back */
	takes("a", "notify p+1 krej " RESTARTED("a") " []");
	assert_int_equal(n_rows(T_QUEUE), 0);
	assert_int_equal(charge(promise.bits, endpoint_of("b")).n_messages, 0);
	/* five promises of a with three each into one, and that into the queue of b */
	for (i = 11; i <= 15; i++) {
		char said[60];

		snprintf(said, sizeof(said), "send p+%u #s%u [] -", i, i);
		assert_int_equal(send_many("a", said, 3), 0);
	}
	i = world->k.stats.n_dropped_sends;
	act("a", "resolve p+11 ref #f [p+15]; p+12 ref #f [p+15]; p+13 ref #f [p+15]; p+14 ref #f [p+15]", NULL);
	assert_int_equal(world->k.stats.n_dropped_sends - i, 3); /* at 12 it ends */
	suspend("b");
	act("a", "resolve p+15 ref #b [o-1]", NULL);
	assert_int_equal(world->k.stats.n_dropped_sends - i, 3 + 4); /* 4 times 2 */
	assert_int_equal(vat_named("b")->row.n_queued, 8);
	give("c", root("b"));
	assert_int_equal(send_many("c", "send o-1 #mine [] -", 3), 2); /* all that costs c nothing but its share */
	expect_nothing();
}

/* V7: waitingBytes */
static void test_waiting_bytes(void **state)
{
	static char said[1100] = "send p+1 #";

	(void)state;
	cluster_with("ab", ",\"limits\":{\"waitingBytes\":2000}");
	memset(said + 10, 'x', 1000);
	strcpy(said + 1010, " [] -");
	assert_int_equal(send_many("a", said, 5), 3);
	act("a", "send p+1 #small [] p+2", "subscribe p+2", NULL);
	takes("a", "notify p+2 krej " KERR("QUEUE_FULL", "2098 bytes of messages of a wait on the promise already") " []");
	expect_nothing();
}

/* V7, R6: who brings references has a share of them; letting go of them gives it back */
static void test_imports_shares(void **state)
{
	(void)state;
	cluster_with("abc", ",\"limits\":{\"imports\":8}");
	give("b", root("c"));
	act("a", "send o-2 #1 [o+1 o+2 o+3 o+4 o+5 o+6] -", NULL);
	takes("c", "message o+0 #1 [o-1 o-2 o-3 o-4 o-5 o-6] -");
	assert_int_equal(charge(endpoint_of("c"), endpoint_of("a")).n_imports, 6);
	act("b", "send o-1 #1 [o+1 o+2 o+3 o+4 o+5] p+1", "subscribe p+1", "send o-1 #2 [o+6 o+7 o+8 o+9] -", NULL);
	takes("c", "message o+0 #2 [o-7 o-8 o-9 o-10] -");
	takes("b", "dropExports o+1 o+2 o+3 o+4 o+5");
	takes("b", "retireExports o+1 o+2 o+3 o+4 o+5");
	takes("b", "notify p+1 krej " KERR("QUEUE_FULL", "b has its share of the 8 references that c may import") " []");
	/* a is over its share now: nothing new of it, but what c knows already */
	act("a", "send o-2 #known [o+1 o+6] -", "send o-2 #new [o+7] p+1", "subscribe p+1", NULL);
	takes("c", "message o+0 #known [o-1 o-6] -");
	takes("a", "dropExports o+7");
	takes("a", "retireExports o+7");
	takes("a", "notify p+1 krej " KERR("QUEUE_FULL", "a has its share of the 8 references that c may import") " []");
	act("c", "drop o-1 o-2 o-3 o-4", "retimp o-1 o-2 o-3 o-4", NULL);
	takes("a", "dropExports o+1 o+2 o+3 o+4");
	takes("a", "retireExports o+1 o+2 o+3 o+4");
	assert_int_equal(charge(endpoint_of("c"), endpoint_of("a")).n_imports, 2);
	world_crash();
	world_run();
	start_up("a");
	start_up("b");
	start_up("c");
	assert_int_equal(vat_named("c")->row.n_introducers, 2);
	act("a", "send o-2 #new [o+9] -", NULL);
	takes("c", "message o+0 #new [o-11] -");
	expect_nothing();
}

/* R6, L1: a message of a vat to itself: what it brought upon itself does not make it one of those who share */
static void test_imports_of_its_own(void **state)
{
	(void)state;
	cluster_with("ab", ",\"limits\":{\"imports\":4}");
	give("b", root("a"));
	act("b", "send o-1 #ask [] p+1", "subscribe p+1", NULL);
	expect("a", "message o+0 #ask [] p-2");
	play("a", "resolve p-2 data #1 [o+1 o+2 o+3 o+4 o+5]", "done", NULL);
	takes("b", "notify p+1 data #1 [o-2 o-3 o-4 o-5 o-6]");
	act("b", "drop o-1", "retimp o-1", NULL);
	assert_int_equal(vat_named("b")->row.n_introducers, 0);
	assert_int_equal(charge(endpoint_of("b"), endpoint_of("b")).n_imports, 5);
	act("b", "send o+0 #again [o-2] p+2", "subscribe p+2", "drop o-2", "retimp o-2", NULL);
	takes("a", "dropExports o+1");
	takes("a", "retireExports o+1");
	takes("b", "notify p+2 krej " KERR("QUEUE_FULL", "b has its share of the 4 references that b may import") " []");
	act("b", "send o+0 #again [o-3] p+3", "drop o-3 o-4", "retimp o-3 o-4", NULL);
	takes("b", "message o+0 #again [o-7] p+3");
	takes("a", "dropExports o+3");
	takes("a", "retireExports o+3");
	expect_nothing();
}

/* --- work of one crank --------------------------------------------------------------------------------------- */

/* R5: one crank sends on so many messages, and the rest is refused: here a thousand, from promise to promise */
static void forward_many(unsigned times)
{
	char said[60];
	unsigned i;

	poke("a");
	for (i = 1; i <= times; i++) {
		snprintf(said, sizeof(said), "resolve p+%u ref #f [p+%u]", i, i + 1);
		say("a", said, NULL);
	}
	play("a", "done", NULL);
}

static void test_moved(void **state)
{
	uint64_t dropped;

	(void)state;
	cluster("ab");
	world->k.settings.reap_deliveries = 1000;
	assert_int_equal(send_many("a", "send p+1 #w [] -", 999), 0);
	act("a", "send p+1 #last [] p+500", "subscribe p+500", NULL);
	dropped = world->k.stats.n_dropped_sends;
	forward_many(ROUTER_MAX_MOVED / 1000 + 1);
	assert_int_equal(world->k.stats.n_dropped_sends - dropped, 999);
	takes("a", "notify p+500 krej " KERR("QUEUE_FULL", "too many messages were sent on in one crank") " []");
	assert_int_equal(n_rows(T_QUEUE), 0);
	expect_nothing();
}

static void test_moved_bytes(void **state)
{
	static char said[260200] = "send p+1 #";
	uint64_t dropped;
	unsigned i;

	(void)state;
	cluster("ab");
	memset(said + 10, 'x', 260000);
	strcpy(said + 260010, " [] -");
	poke("a");
	for (i = 0; i < 4; i++)
		play("a", said, NULL);
	play("a", "done", NULL);
	dropped = world->k.stats.n_dropped_sends;
	forward_many(200);
	assert_int_equal(world->k.stats.n_dropped_sends - dropped, 0);
	act("a", "resolve p+201 ref #f [p+1]", NULL);
	forward_many(200); /* a crank of its own starts from nothing */
	assert_int_equal(world->k.stats.n_dropped_sends - dropped, 0);
	act("a", "resolve p+201 ref #f [p+1]", NULL);
	forward_many(ROUTER_MAX_MOVED_BYTES / (4 * 260000) + 1);
	assert_int_equal(world->k.stats.n_dropped_sends - dropped, 4);
	expect_nothing();
}

/* R5: the search for messages that wait for themselves ends, and then a message counts as one */
static void test_hops(void **state)
{
	char said[200], other[60];
	unsigned i;

	(void)state;
	cluster("ab");
	poke("a");
	for (i = 1; i < 1000; i++) {
		snprintf(said, sizeof(said), "send p+%u #x [] p+%u", i, i + 1);
		say("a", said, NULL);
		if (i % 100 == 0)
			world_step();
	}
	play("a", "done", NULL);
	poke("a");
	for (i = 1; i <= ROUTER_MAX_HOPS / 999 + 1; i++) {
		snprintf(said, sizeof(said), "send p+%u #w [] -", 5000 + i);
		snprintf(other, sizeof(other), "send p+1000 #q [] p+%u", 5000 + i);
		say("a", said, other, NULL);
		if (i % 50 == 0)
			world_step();
	}
	snprintf(said, sizeof(said), "subscribe p+%u", 5000 + i - 2);
	snprintf(other, sizeof(other), "subscribe p+%u", 5000 + i - 1);
	play("a", said, other, "done", NULL);
	snprintf(said, sizeof(said), "notify p+%u krej " ITSELF " []", 5000 + i - 1);
	takes("a", said);
	expect_nothing();
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    T(test_deadline), T(test_deadline_done), T(test_no_deadline), T(test_stalls), T(test_cpu),
	    T(test_cpu_no_limit), T(test_flood), T(test_flood_of_bytes), T(test_waiting_shares), T(test_waiting_bytes),
	    T(test_imports_shares), T(test_imports_of_its_own), T(test_moved), T(test_hops),
	    /* on one of the stores: it moves some hundred megabytes */
	    {"test_moved_bytes (overlay)", test_moved_bytes, setup_overlay, teardown, NULL},
	};

	return run_on_both("test_kernel_limits", tests, ARRAY_LEN(tests));
}
