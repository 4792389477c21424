/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel in process: what is bounded, and whom it costs (V6, V7, D6, R3, R5, R6). Clocks are the test's own; vats are played by
 * hand (kernel_harness.h), on both kinds of store.
 */
#include "kernel_steps.h"

#include "../../broker/deadline.h"

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

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    T(test_deadline), T(test_deadline_done), T(test_no_deadline),
	    T(test_stalls),   T(test_cpu),           T(test_cpu_no_limit),
	};

	return run_on_both("test_kernel_limits", tests, ARRAY_LEN(tests));
}
