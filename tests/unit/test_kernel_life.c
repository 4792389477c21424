/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel in process: the lives of vats (V1-V8), and which deliveries come when. Vats are played by hand
 * (kernel_harness.h), on both kinds of store; after every step the checker recounts the whole store (C6), and
 * a negative number anywhere fails the test (L1).
 */
#include "kernel_steps.h"

#include "../../broker/aside.h"

/* --- deliveries, lives ---------------------------------------------------------------------------------- */

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
	expect_nothing(); /* poke was done */
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

/* V4: the same message killing it twice is rejected DELIVERY_FAILED and set aside; what came after it goes on
 */
static void test_poison_message(void **state)
{
	struct aside aside = {0};
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
	assert_int_equal(aside_next(&world->k, &aside), 0);
	assert_int_equal(aside.row.target, root("b").bits);
	assert_int_equal(aside.row.deaths, 2);
	assert_int_equal(capdata_slot(&aside.methargs, 0), o5.bits);
	takes("a", "dropExports o+5"); /* references released */
	takes("a", "retireExports o+5");
	assert_false(row_exists(o5));
	takes("a", "notify p+1 krej " KERR(
	               "DELIVERY_FAILED", "the message killed b 2 times: killed by signal 9 (Killed)") " []");
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

/* V4, V17, C7: it can be sent while all it names is there; the latest thousand of a vat are kept, and go with it */
static void test_aside(void **state)
{
	struct aside a = {0};
	kref_t o5, lost;
	uint64_t i;

	(void)state;
	cluster("ab");
	act("a", "send o-1 #m [o+5] -", NULL);
	takes("b", "message o+0 #m [o-1] -");
	o5 = kref_of("a", "o+5");
	must(kernel_savepoint(&world->k));
	for (i = 0; i < ASIDE_MAX + 10; i++) {
		uint64_t slot = o5.bits;
		uint8_t raw[32];
		struct item item = {.seq = world->k.next_seq++, .raw = raw, .len = capdata_size(2, 1)};

		capdata_write(raw, "#1", 2, &slot, 1);
		item.row.target = root("b").bits;
		must(aside_put(&world->k, vat_named("b"), &item));
	}
	must(kernel_release(&world->k));
	world_commit();
	assert_int_equal(n_rows(T_ASIDE), ASIDE_MAX);
	assert_int_equal(aside_next(&world->k, &a), 0);
	i = a.seq;
	assert_int_equal(aside_find(&world->k, i, &a), 0);
	assert_int_equal(aside_lost(&world->k, &a, &lost), 0);
	assert_true(kref_is_none(lost));
	act("b", "drop o-1", NULL);
	takes("a", "dropExports o+5");
	assert_int_equal(aside_find(&world->k, i, &a), 0);
	assert_int_equal(aside_lost(&world->k, &a, &lost), 0);
	assert_true(kref_equal(lost, o5)); /* though a still has its entry */
	assert_int_equal(aside_find(&world->k, i - 1, &a), ASIDE_E_UNKNOWN);
	must(kernel_savepoint(&world->k));
	must(aside_drop(&world->k, vat_named("b"), i));
	must(kernel_release(&world->k));
	world_commit();
	assert_int_equal(aside_find(&world->k, i, &a), ASIDE_E_UNKNOWN);
	must(subcluster_terminate(&world->k, subcluster_of("a"), "the end", NULL));
	world_run();
	assert_int_equal(n_rows(T_ASIDE), 0);
}

/* S5, V12: when all its vats have ended a subcluster stays for people to look at, over restarts too, and then goes */
static void test_ended(void **state)
{
	(void)state;
	cluster("ab");
	terminate("a");
	world->k.settings.ended_keep_ms = 0;
	world_run();
	assert_int_equal(n_rows(T_SUBCLUSTER), 1); /* b lives */
	world->k.settings.ended_keep_ms = 3600000;
	act("b", "exit ok #enough []", NULL);
	assert_int_equal(n_rows(T_VAT), 2);
	world_crash();
	world_run();
	assert_int_equal(n_rows(T_VAT), 2);
	assert_int_equal(status("b"), VAT_TERMINATED);
	assert_true(world->k.next_ended_us > now_realtime_us());
	world->k.settings.ended_keep_ms = 0;
	world->k.next_ended_us = 1;
	world_run();
	assert_int_equal(n_rows(T_SUBCLUSTER) + n_rows(T_VAT) + n_rows(T_LOG) + n_rows(T_CLIST) + n_rows(T_SUB_CONFIG), 0);
	assert_int_equal(n_rows(T_OBJECT), world->n_services); /* the console */
}

/* V4: startVat failing twice in a row suspends; resume is then a restart */
static void test_start_fails_twice(void **state)
{
	(void)state;
	cluster("ab");
	process_dies("b", 256); /* idle: exit status 1 */
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
	for (i = 0; i < 3; i++) { /* the count began anew */
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

/* V2, D4: restart by request: the crank ends at once, is not counted as a death, the item comes again. V5:
 * the rest */
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
	act("a", "send o-1 #busy [] p+2", "subscribe p+2", "send o-4 #early [] p+3", "subscribe p+3",
	    "send p+1 #piped [] p+4", "subscribe p+4", NULL);
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
	assert_int_equal(raw_named("b")->incarnation, 0); /* not read yet */
	start_up("b");
	assert_int_equal(raw_named("b")->incarnation, 2);
	assert_int_equal(raw_named("b")->next_export, 4);
	assert_int_equal(raw_named("b")->next_promise, 7);
	/* in its queue's order: the abandoned message, one for an object that is no more, notifies of what it
	 * decided */
	takes("b", "message o+0 #busy [] p-2");
	takes("a", "notify p+3 krej " DELETED " []");
	takes("b", "notify p-1 krej " RESTARTED("b") " []");
	takes("b", "notify p+5 krej " RESTARTED("b") " []");
	assert_int_equal(n_rows(T_VATSTORE), 0);
	assert_int_equal(object_row(o3).owner, 0);
	assert_false(knows("b", "o+3") || knows("b", "o+v5.1"));
	assert_int_equal(kref_of("b", "o+0").bits, b.bits); /* durable ones keep their krefs */
	assert_int_equal(kref_of("b", "o+d4.1").bits, d4.bits);
	assert_true(knows("b", "o+d4.2:1") && knows("b", "o-1") && knows("b", "p+6"));
	act("a", "send o-5 #still [] -", "send o-4 #dead [] p+9", "subscribe p+9", "send o-6 #dead [] p+10",
	    "subscribe p+10", "resolve p-3 data #late []", NULL);
	takes("b", "message o+d4.1 #still [] -");
	takes("b", "notify p+6 data #late []"); /* a promise of the earlier incarnation, still subscribed */
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
			suspend("b");          /* before there is a process */
		world->hold_exits = when == 1; /* the old one lingers */
		world_run();
		if (when == 2)
			expect("b", "startVat #{} []");
		if (when > 0)
			suspend("b");
		world->hold_exits = false;
		world_run();
		expect_nothing();
		if (when == 2) {
			play("b", "done", NULL); /* the crank in flight ends */
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

/* D1, architecture: a process that is on its way out is never spoken to; requests meanwhile decide what
 * follows */
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
	say("b", "resolve p-1 data #never []", "set k v", "done", NULL); /* on its way, not read */
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
	play("a", "wakeme", NULL); /* idle: at once */
	takes("a", "wake");
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
	takes("c",
	      "startVat #[\"$0\",\"$1\"] [o-1 o-4]"); /* C3: the entry that lived, with its flag set again */
	assert_true(is_reachable("c", "o-1"));
	must(subcluster_terminate(&world->k, subcluster_of("c"), "the test ends it", NULL));
	world_run();
	takes("b", "dropExports o+9");
	takes("b", "retireExports o+9");
	expect_nothing();
}

/* V2, P8: an automatic suspension rejects at once what the vat decided; what is queued waits, and may still
 * end */
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
	assert_int_equal(status("b"), VAT_SUSPENDED); /* V8, V9: it had no process, and gets none */
	assert_int_equal(raw_named("b")->fd, -1);
	resume("b");
	start_up("b");
	assert_int_equal(raw_named("b")->incarnation, 2);
	takes("b", "notify p-1 krej " RESTARTED("b") " []");
	expect("b", "message o+0 #wait [] p-2");
	must(vat_suspend_hard(&world->k, vat_named("b"), "LIMIT again"));
	world_run();
	assert_int_equal(vat_named("b")->row.n_queued, 1); /* D4 */
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
	play("b", "resolve p-1 data #mine []", "done", NULL); /* P8: it is not b's any more */
	assert_int_equal(status("b"), VAT_TERMINATED);
	takes("a", "dropExports o+1");
	takes("a", "retireExports o+1");
	expect_nothing();
}

/* V15: no uid is given out twice, whoever had it; when there are no more, nothing is launched, and nothing is harmed */
static void test_uids(void **state)
{
	uint32_t first;

	(void)state;
	cluster("ab");
	first = vat_named("b")->row.uid;
	assert_int_equal(first, world->k.uid_base + 1);
	must(subcluster_terminate(&world->k, subcluster_of("a"), "by the test", NULL));
	world_run();
	world_crash();
	world_run();
	cluster("a");
	assert_int_equal(vat_named("a")->row.uid, first + 1);
	world->k.next_uid = VAT_UIDS - 1;
	cluster("c");
	assert_int_equal(vat_named("c")->row.uid, world->k.uid_base + VAT_UIDS - 1);
	world->services = "[]"; /* a refusal is an answer */
	cluster_begin("d", "");
	world_run();
	assert_non_null(strstr(world->request.text, "uids is used up"));
	act("a", "set key value", NULL);
	restart("c"); /* a uid is for life, not for an incarnation */
	assert_int_equal(vat_named("c")->row.uid, world->k.uid_base + VAT_UIDS - 1);
}

/* --- what is kept of deaths --------------------------------------------------------------------------------------- */

struct deaths { uint64_t vat, n, first, last; uint32_t incarnation; char text[200]; /* of the last */ };

static void see_death(void *ctx, const uint8_t *key, size_t key_len, const uint8_t *val, size_t len)
{
	struct deaths *d = ctx;
	struct row_death row;
	const char *text;
	size_t text_len;

	assert_int_equal(key_len, 16);
	assert_true(row_death_read(val, len, &row, &text, &text_len));
	if (get_be64(key) != d->vat)
		return;
	d->first = d->n++ ? d->first : get_be64(key + 8);
	d->last = get_be64(key + 8);
	d->incarnation = row.incarnation;
	assert_true(row.time_us > 0);
	snprintf(d->text, sizeof(d->text), "%.*s", (int)text_len, text);
}

static struct deaths deaths_of(const char *name)
{
	struct deaths d = { .vat = vat_named(name)->number };

	world_walk(T_DEATH, see_death, &d);
	return d;
}

static void expect_death(const char *name, uint64_t number, uint32_t incarnation, const char *text)
{
	struct deaths d = deaths_of(name);

	assert_int_equal(d.last, number);
	assert_int_equal(d.incarnation, incarnation);
	assert_string_equal(d.text, text);
}

static void test_deaths_are_kept(void **state)
{
	struct deaths d;

	(void)state;
	cluster("ab");
	assert_int_equal(n_rows(T_DEATH), 0);
	process_dies("b", SIGSEGV);
	expect_death("b", 1, 1, "killed by signal 11 (Segmentation fault)");
	start_up("b");
	restart("b");
	expect_death("b", 2, 2, "restarted by request");
	assert_int_equal(vat_named("b")->row.n_deaths, 1);	/* what V4 counts */
	start_up("b");
	world_crash();
	world_run();
	expect_death("b", 3, 3, "ended with the broker");
	start_up("b");
	world->fail_starts = "no more processes";
	process_dies("b", 3 << 8);
	expect_death("b", 5, 5, "cannot start: no more processes");
	assert_int_equal(status("b"), VAT_SUSPENDED);
	world->fail_starts = NULL;
	resume("b");
	start_up("b");
	for (unsigned i = 0; i < DEATH_KEEP; i++) {
		restart("b");
		start_up("b");
	}
	d = deaths_of("b");
	assert_int_equal(d.n, DEATH_KEEP);
	assert_int_equal(d.last, 5 + DEATH_KEEP);
	assert_int_equal(d.first, 6);
	assert_int_equal(deaths_of("a").n, 1);
	/* They go with the vat. */
	must(subcluster_terminate(&world->k, subcluster_of("b"), "by the test", NULL));
	world_run();
	assert_int_equal(n_rows(T_DEATH), 0);
}

/* One that cannot even be started the first time: the row stays as long as the vat's. */
static void test_first_start_fails(void **state)
{
	(void)state;
	world->fail_starts = "not today";
	world->hold_exits = true;
	cluster_begin("ab", "");
	must(kernel_commit(&world->k));
	world_step();
	assert_int_equal(n_rows(T_DEATH), 2);
	expect_death("a", 1, 1, "cannot start: not today");
	world->hold_exits = false;
	world_run();
	assert_int_equal(n_rows(T_DEATH), 0);
}

/* META: what is in force where a cluster says nothing. */
static void test_limits_are_shown(void **state)
{
	struct row_limits row;
	const void *val;
	size_t len;

	(void)state;
	assert_int_equal(store_get(world->k.store, T_META, META_LIMITS, strlen(META_LIMITS), &val, &len), 0);
	assert_int_equal(len, sizeof(row));
	memcpy(&row, val, len);
	assert_int_equal(row.deadline_ms, 30000);
	assert_int_equal(row.cpu_ms, 0);
	assert_int_equal(row.queue_messages, vat_default_limits(&world->k).queue_messages);
	assert_int_equal(row.log_lines, 1000);
	assert_int_equal(row.memory, UINT64_C(1) << 30);
	assert_int_equal(row.n_procs, 1);
	assert_int_equal(row.n_files, 64);
}

/* Its program, and the name under which that came first. */
static void test_program_is_known(void **state)
{
	static const uint8_t hash[1][32] = { { 0xab, 0xcd } };
	struct config_paths paths = { (char *[]){ (char *)"/opt/vats/counter" }, 1 }, again = { (char *[]){ (char *)"other" }, 1 };
	static const char text[] = "{\"bootstrap\":\"x\",\"vats\":{\"x\":{\"program\":\"%s\"}}}";
	char json_text[200], error[CONFIG_ERROR_MAX];
	struct config *config;
	struct row_code row;
	const char *name;
	const void *val;
	size_t len;

	(void)state;
	for (int i = 0; i < 2; i++) {
		json_t *json;

		snprintf(json_text, sizeof(json_text), text, i ? "other" : paths.paths[0]);
		json = json_loads(json_text, 0, NULL);
		assert_int_equal(config_parse(json, &config, error), 0);
		assert_int_equal(launch_begin(&world->k, config, json, i ? &again : &paths, hash, &(uint64_t){ 77 }, NULL, error), 0);
		json_decref(json);
	}
	assert_memory_equal(vat_named("x")->row.code, hash[0], 32);
	assert_int_equal(n_rows(T_CODE), 1);
	assert_int_equal(store_get(world->k.store, T_CODE, hash[0], 32, &val, &len), 0);
	assert_true(row_code_read(val, len, &row, &name, &len));
	assert_int_equal(row.size, 77);
	assert_int_equal(len, strlen("counter"));
	assert_memory_equal(name, "counter", len);
	world_run();
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    T(test_death_after_done),
	    T(test_poison_message),
	    T(test_aside),
	    T(test_ended),
	    T(test_start_fails_twice),
	    T(test_many_deaths),
	    T(test_terminate_policy),
	    T(test_restart),
	    T(test_suspend_in_crank),
	    T(test_suspend_while_starting),
	    T(test_requests_while_dying),
	    T(test_terminate_in_crank),
	    T(test_wake),
	    T(test_spawn_fails),
	    T(test_parameters),
	    T(test_automatic_suspension),
	    T(test_illegal_in_start),
	    T(test_uids),
	    T(test_deaths_are_kept), T(test_first_start_fails), T(test_limits_are_shown), T(test_program_is_known),
	};

	return run_on_both("test_kernel_life", tests, ARRAY_LEN(tests));
}
