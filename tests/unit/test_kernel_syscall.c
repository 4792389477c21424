/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel in process: syscalls, legal and not (Y1-Y5), and limits (V7). Vats are played by hand
 * (kernel_harness.h), on both kinds of store; after every step the checker recounts the whole store (C6), and
 * a negative number anywhere fails the test (L1).
 */
#include "kernel_steps.h"

#include <sys/socket.h>

/* --- syscalls ------------------------------------------------------------------------------------------- */

/* Y1, Y2, Y3, R1, P8: each illegal syscall costs its own vat, undoes its whole crank, and nothing else */
static const struct {
	const char *said[6], *why;
} illegal_cases[] = {
    {{"send o-99 #x [] -"}, "unknown reference o-99"},
    {{"send p-99 #x [] -"}, "unknown reference p-99"},
    {{"send o-1 #x [o-99] -"}, "unknown reference o-99"},
    {{"send o-1 #x [o+30 p-99] -"}, "unknown reference p-99"},
    {{"send o-1 #x [] p-1"}, "result promise is not new and not decided by the vat: p-1"},
    {{"send o-1 #x [] p-99"}, "unknown reference p-99"},
    {{"send o-1 #x [] p-3", "send o-1 #x [] p-3"},
     "result promise is not new and not decided by the vat: p-3"},
    {{"send o-1 #x [] p+8", "resolve p+8 data #x []"}, "resolve of p+8, which the vat does not decide"},
    {{"resolve p-1 data #x []"}, "resolve of p-1, which the vat does not decide"},
    {{"resolve p-99 data #x []"}, "unknown reference p-99"},
    {{"resolve p-3 data #x []; p-3 data #y []"}, "resolve names p-3 twice"},
    {{"resolve p-3 data #x []", "resolve p-3 data #y []"}, "unknown reference p-3"},
    {{"resolve p-3 data #x [o-99]"}, "unknown reference o-99"},
    {{"resolve p-3 data #x []; p-1 data #y []"}, "resolve of p-1, which the vat does not decide"},
    {{"resolve p-4 data #x []"}, "resolve of p-4, which is resolved already"},
    {{"subscribe p-99"}, "unknown reference p-99"},
    {{"drop o-99"}, "unknown reference o-99"},
    {{"retimp o-1"}, "retireImports of o-1, which is still reachable"},
    {{"drop o-1", "retimp o-1", "retimp o-1"}, "unknown reference o-1"},
    {{"drop o-1", "retimp o-1 o-1"}, "unknown reference o-1"},
    {{"drop o-1", "retimp o-1", "drop o-1"}, "unknown reference o-1"},
    {{"drop o-1", "send o-1 #x [] -"}, "unreachable import o-1"},
    {{"drop o-1", "send o+0 #x [o-1] -"}, "unreachable import o-1"},
    {{"retexp o+9"}, "retireExports of o+9, which is still reachable"},
    {{"retexp o+77"}, "unknown reference o+77"},
    {{"abandon o+77"}, "unknown reference o+77"},
    {{"abandon o+9 o+9"}, "unknown reference o+9"},
    {{"exit ok #x [o-99]"}, "unknown reference o-99"},
    {{"exit ok #x []", "send o-99 #x [] -"}, "unknown reference o-99"},
    {{"send o-99 #x [] -", "exit fail #x []"}, "unknown reference o-99"},
    /* form: judged on arrival */
    {{"resolve p-3 ref #x [o+1 o+2]"},
     "frame \"resolve\" (type 0x43): REF needs exactly one slot and a fulfilled promise"},
    {{"resolve p-3 ref #x []"},
     "frame \"resolve\" (type 0x43): REF needs exactly one slot and a fulfilled promise"},
    {{"resolve p-3 krej #x []"}, "frame \"resolve\" (type 0x43): unknown or contradicting flags"},
    {{"resolve o+3 data #x []"},
     "frame \"resolve\" (type 0x43): illegal reference, or of the wrong kind in its place"},
    {{"subscribe o-1"},
     "frame \"subscribe\" (type 0x42): illegal reference, or of the wrong kind in its place"},
    {{"send o-1 #x [] o-1"},
     "frame \"send\" (type 0x41): illegal reference, or of the wrong kind in its place"},
    {{"drop p-1"}, "frame \"dropImports\" (type 0x45): illegal reference, or of the wrong kind in its place"},
    {{"drop o+9"}, "frame \"dropImports\" (type 0x45): illegal reference, or of the wrong kind in its place"},
    {{"retexp o-1"},
     "frame \"retireExports\" (type 0x47): illegal reference, or of the wrong kind in its place"},
    {{"abandon o-1"},
     "frame \"abandonExports\" (type 0x48): illegal reference, or of the wrong kind in its place"},
    {{"retimp p-1"},
     "frame \"retireImports\" (type 0x46): illegal reference, or of the wrong kind in its place"},
    {{"drop"}, "frame \"dropImports\" (type 0x45): empty list or packet"},
    {{"hello 2"}, "hello speaks another version of the protocol"},
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
	act("a", "send o-1 #s [o+5 p+6] p+7", "subscribe p+7", "send o-1 #t [] p+8", "subscribe p+8",
	    "send o-1 #u [p+9] -", NULL);
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
	snprintf(error, sizeof(error),
	         "krej #{\"#error\":\"[KERNEL:VAT_FATAL:ILLEGAL_SYSCALL] b: %s\",\"name\":\"Error\"} []",
	         text);
	expect_promise(out, error);
	takes("a", "dropExports o+5");
	takes("a", "retireExports o+5");
	takes("a", "notify p+7 krej " GONE("b") " []");
	takes("a", "notify p+8 krej " GONE("b") " []");
	expect_nothing(); /* no leak at c */
	act("a", "send o-4 #gone [] p+10", "subscribe p+10", NULL);
	takes("a", "notify p+10 krej " UNREACHABLE " []");
	act("a", "send o-2 #hi [] p+11", "subscribe p+11", NULL); /* the others go on */
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
		snprintf(out, size, "%.*s%llu%s", (int)(at - why), why,
		         (unsigned long long)raw_named("b")->delivery, at + 1);
	else
		snprintf(out, size, "%s", why);
}

/* Y1, Y2: what is judged on arrival, in any state of the vat; a packet's later frames count for nothing */
static void test_illegal_at_any_time(void **state)
{
	static const struct {
		const char *said[4], *why;
	} cases[] = {
	    {{"get a", "get b", "done"}, "a read while the answer to the last one is outstanding"},
	    {{"done", "done"}, "done for delivery #, which is not in flight"},
	    {{"done", "send o-1 #x [] -"}, "send for delivery #, which is not in flight"},
	    {{"done", "get k"}, "vatstoreGet for delivery #, which is not in flight"},
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
	    {0},
	    {16, 0, 0, 0, 0xff, 0, 0, 0, 1},                               /* unknown type */
	    {16, 0, 0, 0, 0x11, 0, 0, 0, 1},                               /* a delivery */
	    {48, 0, 0, 0, 0x3f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2}, /* a part that fills nothing */
	    {24, 0, 0, 0, 0x42, 0, 0, 0, 0},                               /* subscribe outside of a crank */
	};
	static const size_t sizes[] = {48, 16, 16, 48, 24};
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
	play("b", "exit fail #\"no\" []", "send o-1 #bye [o+1] p+1", "exit ok #\"well\" [o+1]",
	     "resolve p-2 data #r []", "done", NULL);
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

/* Y2, Y5, R1: exit with failure takes everything back; its item is rejected VAT_TERMINATED; its info's body
 * stays */
static void test_exit_failure(void **state)
{
	kref_t out;

	(void)state;
	cluster("abc");
	give("b", root("c"));
	out = host_send(root("b"), "#1", NULL, 0, true);
	world_run();
	expect("b", "message o+0 #1 [] p-1");
	play("b", "exit ok #x []", "send o-1 #never [] -", "resolve p-1 data #never []",
	     "exit fail #[\"$0\"] [o+5]", "done", NULL);
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
	assert_int_equal(status("b"), VAT_STARTING); /* a death: it restarts */
	assert_int_equal(vat_named("b")->row.n_deaths, 1);
	assert_int_equal(n_rows(T_VATSTORE), 0);
	start_up("b");
	expect("b", "message o+0 #poke [] -"); /* D4 */
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
	process_dies("a", SIGKILL); /* D4: none of it was */
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

/* V5: the next own import and its flag, tentative ones not yet; then the promises, also by the vat's own numbers */
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
	ANSWER("clist o-3", "storeValue reachable p+3 '' ''");
	ANSWER("clist p+3", "storeValue none o+0 '' ''");
	ANSWER("clist p-5", "storeValue none o+0 '' ''");
	play("a", "done", NULL);
	act("c", "send o+0 #self [] p+1", "subscribe p+1", NULL);
	expect("c", "message o+0 #self [] p+1");
	play("c", "resolve p+1 data #x []", "done", NULL);
	expect_nothing(); /* its own answer, resolved by itself */
}

/* --- limits --------------------------------------------------------------------------------------------- */

/* V7: limits that the broker counts: abandoned, suspended with the limit's name, durable state intact */
static void test_limits(void **state)
{
	(void)state;
	cluster_with("ab",
	             ",\"limits\":{\"syscalls\":6,\"exports\":6,\"vatstoreBytes\":20,\"crankBytes\":2000}");
	act("b", "set k v", "send o+0 #x [] -", NULL);
	takes("b", "message o+0 #x [] -");
	act("b", "set a 1", "set b 1", "set c 1", "set d 1", "set e 1", "set f 1", "set g 1", NULL);
	assert_int_equal(status("b"), VAT_SUSPENDED);
	assert_string_equal(reason("b"), "LIMIT syscalls 6");
	assert_int_equal(n_rows(T_VATSTORE), 1);
	resume("b");
	start_up("b");
	expect("b", "message o+0 #poke [] -"); /* D4: the item stayed */
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
	/* p+1 holds p+2 holds p+3 …; settled from the end, each names the next before that leaves a's clist
	 */
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
	takes("a", "notify p+2 krej " KERR("QUEUE_FULL", "10000 messages of a wait on the promise already") " []");
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

/* V7: references and bytes are charged to who sends them: QUEUE_FULL; the receiver is not harmed */
static void test_limits_of_the_receiver(void **state)
{
	static char said[3100];

	(void)state;
	cluster_with("ab", ",\"limits\":{\"imports\":6,\"queueBytes\":2000}");
	act("a", "send o-1 #1 [o+1 o+2 o+3 o+4] p+1", "send o-1 #2 [o+1 o+2 o+3 o+4 o+5] p+2",
	    "send o-1 #3 [o+1 o+2 o+3 o+4 o+5 o+6] p+3", "subscribe p+1", "subscribe p+2", "subscribe p+3",
	    NULL);
	expect("b", "message o+0 #1 [o-1 o-2 o-3 o-4] p-1");
	play("b", "resolve p-1 data #ok []", "done", NULL);
	expect("b", "message o+0 #2 [o-1 o-2 o-3 o-4 o-5] p-2");
	play("b", "resolve p-2 data #ok []", "done", NULL);
	takes("a", "notify p+1 data #ok []");
	takes("a", "dropExports o+6");
	takes("a", "retireExports o+6");
	takes("a", "notify p+2 data #ok []");
	takes("a", "notify p+3 krej " KERR("QUEUE_FULL", "a has its share of the 6 references that b may import") " []");
	assert_int_equal(status("b"), VAT_RUNNING);
	suspend("b");
	strcpy(said, "send o-1 #");
	memset(said + 10, 'x', 2500);
	strcpy(said + 2510, " [] -");
	act("a", said, "send o-1 #4 [] p+4", "subscribe p+4", NULL);
	takes("a", "notify p+4 krej " KERR("QUEUE_FULL", "2549 bytes of messages of a are in the queue of b already") " []");
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
	assert_int_equal(
	    setsockopt(vat_named("b")->channel.source.fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)), 0);
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
	terminate("b"); /* with some of it under way */
	takes("a", "dropExports o+1");
	takes("a", "retireExports o+1");
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

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    T(test_illegal),
	    T(test_illegal_at_any_time),
	    T(test_garbage),
	    T(test_exit),
	    T(test_exit_failure),
	    T(test_outcome_priority),
	    T(test_vatstore),
	    T(test_clist_get_next),
	    T(test_limits),
	    T(test_notify_of_many),
	    T(test_waiting_limit),
	    T(test_slots_of_a_crank),
	    T(test_limits_of_the_receiver),
	    T(test_large_messages),
	    T(test_log),
	};

	return run_on_both("test_kernel_syscall", tests, ARRAY_LEN(tests));
}
