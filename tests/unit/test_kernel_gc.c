/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel in process: garbage collection (G), sweeping, and the broker's death (V9). Vats are played by
 * hand (kernel_harness.h), on both kinds of store; after every step the checker recounts the whole store
 * (C6), and a negative number anywhere fails the test (L1).
 */
#include "kernel_steps.h"

#include "../../broker/collect.h"
#include "../../broker/sweep.h"

/* --- garbage -------------------------------------------------------------------------------------------- */

/* G1, G2, G3: all kinds for one vat: drops, then retired exports, then retired imports, all before messages
 */
static void test_gc_order(void **state)
{
	kref_t o1, o2, o9;

	(void)state;
	cluster("abc");
	act("a", "send o-1 #m [o+9] -", NULL);
	expect("b", "message o+0 #m [o-1] -");
	play("b", "send o-1 #back [o+1 o+2] -", "drop o-1", "done", NULL);
	takes("a", "message o+9 #back [o-4 o-5] -"); /* as long as it was queued it reached o+9 */
	takes("a", "dropExports o+9");
	o1 = kref_of("b", "o+1");
	o2 = kref_of("b", "o+2");
	o9 = kref_of("a", "o+9");
	expect_counts(o9, 0, 1);
	give("c", o1);
	poke("b");
	act("a", "retexp o+9", "drop o-4 o-5", "retimp o-5", "send o-1 #user [] -", NULL);
	assert_false(knows("a", "o+9"));
	expect_counts(o1, 1, 2); /* c holds it, a recognizes it */
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
	assert_int_equal(status("a"), VAT_TERMINATED); /* Y1: the delivery had taken it away */
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
	poke("a"); /* busy: the drop waits */
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
	act("a", "send o-1 #m [o+1 o+2 o+d3.1 p+1] p+2", "send o-1 #m [o-2 p+2] p+3",
	    "send p+2 #piped [p+3] p+4", "subscribe p+2", "subscribe p+3", "subscribe p+4", NULL);
	expect("b", "message o+0 #m [o-1 o-2 o-3 p-1] p-2");
	play("b", "subscribe p-1", "resolve p-2 ref #r [o+4]", "done", NULL);
	expect("b", "message o+0 #m [o-4 p-3] p-4");
	play("b", "resolve p-4 ref #f [p-1]", "subscribe p-3", "send o-4 #to-c [o-1] p+5",
	     "send p+5 #more [o-2] p+6", "subscribe p+6", "done", NULL);
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

/* --- the broker's death --------------------------------------------------------------------------------- */

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
	/* Three roots and the services: host calls went with their connections. */
	assert_int_equal(n_rows(T_HOLD), 3 + world->n_services);
	world_run();
	start_up("a");
	start_up("b");
	expect("b", "message o+0 #out [] p-2"); /* again: it had not been committed */
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
			expect(
			    "a",
			    "message o+0 #[\"bootstrap\",[{\"a\":\"$0\",\"b\":\"$1\"},{\"console\":\"$2\"}]] "
			    "[o+0 o-1 o-2] p-1");
		}
		if (when > 2) {
			say("a", "resolve p-1 data #ok [o+5]", "done", NULL);
			must(loop_round(&world->k.loop, 0)); /* applied; nobody was told; committed */
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
			snprintf(text + strlen(text), sizeof(text) - strlen(text), "o+%d p+%d ",
			         n * 200 + i + 1, n * 200 + i + 1);
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
	assert_int_equal(vat_named("b")->row.n_exports, 1 + 1200); /* its promises stay till it is told */
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
	assert_int_equal(n_rows(T_OBJECT), world->n_services);
	assert_int_equal(n_rows(T_PROMISE), 0);
}

/* G6: a hundred thousand entries on either side go in steps of a few hundred, and between them others are answered */
static void test_sweep_of_many(void **state)
{
	enum { MESSAGES = 10, EACH = 10000 };
	size_t size = EACH * 9 + 100;
	unsigned i, n, steps = 0, answered = 0;
	char *text = malloc(size), *at;

	(void)state;
	assert_non_null(text);
	world->no_check = true;
	cluster("abcd");
	give("b", root("c"));
	for (n = 0; n < MESSAGES; n++) {
		at = text + sprintf(text, "send o-1 #m [");
		for (i = 1; i <= EACH; i++)
			at += sprintf(at, "o+%u ", n * EACH + i);
		strcpy(at, "] -");
		act("b", text, NULL);
		free(next_delivery(raw_named("c")));
		play("c", "done", NULL);
	}
	free(text);
	assert_int_equal(vat_named("b")->row.n_exports, 1 + MESSAGES * EACH);
	assert_int_equal(vat_named("c")->row.n_imports, MESSAGES * EACH);

	must(vat_terminate(&world->k, vat_named("b"), "by the test"));
	host_send(root("d"), "#ping", NULL, 0, false);
	while (world->k.sweeping) {
		world_step();
		assert_true(++steps < 2 * MESSAGES * EACH / SWEEP_BUDGET);
		at = next_delivery(raw_named("d"));
		if (!at)
			continue;
		free(at);
		say("d", "done", NULL);
		host_send(root("d"), "#ping", NULL, 0, false);
		answered++;
	}
	assert_true(steps >= MESSAGES * EACH / SWEEP_BUDGET);
	assert_true(answered > steps / 4); /* one step to read the answer, one to send the next message */
	assert_int_equal(vat_named("b")->row.n_exports, 0);
	assert_int_equal(vat_named("c")->row.n_imports, MESSAGES * EACH);
	world->no_check = false;
	world_commit();

	/* And who held all of them ends as well: nothing is left of either. */
	world->no_check = true;
	must(subcluster_terminate(&world->k, subcluster_of("a"), "the end", NULL));
	world_run();
	world->no_check = false;
	world_commit();
	assert_int_equal(n_rows(T_OBJECT), world->n_services);
	assert_int_equal(n_rows(T_CLIST) + n_rows(T_IMPORTER) + n_rows(T_GC) + n_rows(T_SWEEP), 0);
}

/* --- references across all that ------------------------------------------------------------------------- */

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

static void revoke_all(const char *name)
{
	must(kernel_savepoint(&world->k));
	must(object_revoke_all(&world->k, vat_named(name)));
	must(kernel_release(&world->k));
	world_commit();
}

static bool is_revoked(kref_t ref)
{
	struct row_object row = object_row(ref);

	return object_is_revoked(&world->k, ref, &row);
}

/* X1: all that a vat has exported, at once and for ever: what is queued, abandoned or left over counts too; what it exports
 * later does not */
static void test_revoke_vat(void **state)
{
	kref_t o8, o9, d9, o10;

	(void)state;
	cluster("abc");
	act("a", "send o-1 #m [o+8 o+9 o+d9.1] -", NULL);
	takes("b", "message o+0 #m [o-1 o-2 o-3] -");
	o8 = kref_of("a", "o+8"), o9 = kref_of("a", "o+9"), d9 = kref_of("a", "o+d9.1");
	poke("a");
	act("b", "send o-1 #queued [] p+1", "subscribe p+1", NULL);
	revoke_all("a");
	play("a", "send o-1 #new [o+10 o+8] -", "abandon o+9", "done", NULL);
	takes("b", "message o+0 #new [o-4 o-1] -");
	takes("b", "notify p+1 krej " REVOKED " []");
	o10 = kref_of("a", "o+10");
	assert_true(is_revoked(o8) && is_revoked(o9) && is_revoked(d9) && is_revoked(root("a")));
	assert_false(is_revoked(o10) || is_revoked(root("b")));
	act("b", "send o-2 #abandoned [] p+2", "subscribe p+2", "send o-4 #works [] -", NULL);
	takes("a", "message o+10 #works [] -");
	takes("b", "notify p+2 krej " REVOKED " []");
	world_crash();
	world_run();
	start_up("a"), start_up("b"), start_up("c");
	assert_true(is_revoked(o8) && is_revoked(o9) && is_revoked(d9));
	terminate("a");
	assert_int_equal(vat_named("a")->row.n_exports, 0);
	assert_true(object_row(o8).flags & object_row(o9).flags & object_row(d9).flags & OBJECT_F_REVOKED);
	assert_false(is_revoked(o10));
	act("b", "send o-3 #ended [] p+4", "subscribe p+4", "drop o-1 o-2 o-3 o-4", "retimp o-1 o-2 o-3 o-4", NULL);
	takes("b", "notify p+4 krej " REVOKED " []");
	assert_false(row_exists(o8) || row_exists(d9) || row_exists(o10));
	expect_nothing();
}

/* G4: at request an idle vat is asked; the answer comes when drops were delivered and circles have gone */
static void test_collect(void **state)
{
	struct control_request first = {0}, second = {0};

	(void)state;
	cluster("abc");
	act("a", "send o-1 #m [o+9] -", NULL);
	takes("b", "message o+0 #m [o-1] -");
	must(collect_reap(&world->k, vat_named("c")));
	world_run();
	takes("c", "bringOutYourDead");
	assert_int_equal(vat_named("c")->row.n_dirt_deliveries, 0);
	suspend("c");
	must(collect_begin(&world->k, &first));
	world_run();
	must(collect_begin(&world->k, &second));
	expect("a", "bringOutYourDead");
	play("a", "resolve p+7 data #x [p+8]; p+8 data #y [p+7]", "done", NULL);
	assert_false(first.answered);
	expect("b", "bringOutYourDead");
	play("b", "drop o-1", "retimp o-1", "done", NULL);
	assert_false(first.answered); /* not before a knows */
	takes("a", "dropExports o+9");
	takes("a", "retireExports o+9");
	assert_string_equal(first.text, "{\"circular\":2,\"objects\":1,\"promises\":2,\"vats\":2}");
	assert_false(second.answered);
	takes("a", "bringOutYourDead");
	assert_false(second.answered);
	terminate("b"); /* it need not answer any more */
	assert_true(second.answered);
	expect_nothing();
	resume("c");
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

/* G8: with no vat that runs, also who asked while the other was waited for is answered at once */
static void test_collect_alone(void **state)
{
	struct control_request first = {0}, second = {0};

	(void)state;
	world_run();
	must(collect_begin(&world->k, &first));
	must(collect_begin(&world->k, &second));
	world_step();
	assert_true(first.answered);
	assert_string_equal(second.text, "{\"circular\":0,\"objects\":0,\"promises\":0,\"vats\":0}");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    T(test_gc_order),
	    T(test_gc_stale),
	    T(test_abandon),
	    T(test_reap),
	    T(test_baseline),
	    T(test_reopen),
	    T(test_reopen_launching),
	    T(test_sweep_in_steps),
	    {"test_sweep_of_many (overlay)", test_sweep_of_many, setup_overlay, teardown, NULL},
	    T(test_revoked_is_passed_on),
	    T(test_two_subclusters),
	    T(test_revoke_vat),
	    T(test_collect), T(test_collect_alone),
	};

	return run_on_both("test_kernel_gc", tests, ARRAY_LEN(tests));
}
