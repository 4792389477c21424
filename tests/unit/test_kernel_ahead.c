/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel in process: deliveries sent ahead (D11). What is in flight behind the one that the vat works on, what
 * waits, what a crank may change under those behind it, and every way in which all of it can come to nothing. Vats are
 * played by hand (kernel_harness.h), on both kinds of store; after every step the checker recounts the whole store
 * (C6), and a negative number anywhere fails the test (L1).
 */
#include "kernel_steps.h"

#define FATAL(name, why) KERR("VAT_FATAL:ILLEGAL_SYSCALL", name ": " why)

/* From now on the vat takes so many at once; how fast it is need not be found out. */
static void takes_ahead(const char *name, unsigned window)
{
	char hello[30];

	sprintf(hello, "hello 1 %u", window);
	play(name, hello, NULL);
	vat_named(name)->crank.pace = CRANK_WINDOW;
}

static size_t in_flight(const char *name)
{
	const struct crank *c = &vat_named(name)->crank;

	return c->n_sent - c->head;
}

/* b is busy; what `a` sends it in this crank waits and then goes together. */
#define BATCH(...) (poke("b"), act("a", __VA_ARGS__, NULL), play("b", "done", NULL))

/* The next delivery but what is collected. */
static void takes_then(const char *name, const char *want)
{
	for (;;) {
		_cleanup_free_ char *got = next_delivery(raw_named(name));

		assert_non_null(got);
		play(name, "done", NULL);
		if (strncmp(got, "dropExports ", 12) && strncmp(got, "retireExports ", 14)) {
			assert_string_equal(got, want);
			return;
		}
	}
}

static void two_vats(void)
{
	cluster("ab");
	takes_ahead("b", 32);
}

/* D1, D11: together, in one packet, in their order; each is a crank of its own, applied when it is done */
static void test_order(void **state)
{
	struct raw *r;

	(void)state;
	two_vats();
	BATCH("send o-1 #1 [] p+1", "send o-1 #2 [o+7] -", "send o-1 #3 [o+7] p+3", "subscribe p+1", "subscribe p+3");
	assert_int_equal(in_flight("b"), 3);
	assert_int_equal(world->k.n_in_flight, 3);
	expect("b", "message o+0 #1 [] p-1");
	r = raw_named("b");
	assert_true(r->pos < r->len); /* in the same packet */
	act("a", "send o-1 #4 [] -", NULL);
	assert_int_equal(in_flight("b"), 3); /* not before those are done */
	play("b", "resolve p-1 data #one []", "done", NULL);
	takes("a", "notify p+1 data #one []");
	assert_int_equal(in_flight("b"), 2);
	assert_false(knows("b", "o-1"));
	takes("b", "message o+0 #2 [o-1] -");
	assert_true(knows("b", "o-1"));
	assert_false(knows("b", "p-2"));
	expect("b", "message o+0 #3 [o-1] p-2");
	assert_int_equal(in_flight("b"), 1);
	play("b", "send o-1 #back [] -", "resolve p-2 data #three []", "done", NULL);
	takes("a", "message o+7 #back [] -");
	takes("a", "notify p+3 data #three []");
	takes("b", "message o+0 #4 [] -");
	assert_int_equal(world->k.n_in_flight, 0);
	assert_int_equal(vat_named("b")->row.n_queued, 0);
	expect_nothing();
}

/* D11: the answers to several may come in one packet; speaking of one that is not the first is illegal */
static void test_numbers(void **state)
{
	char why[100];

	(void)state;
	two_vats();
	BATCH("send o-1 #1 [] -", "send o-1 #2 [] -", "send o-1 #3 [] -", "send o-1 #4 [] p+1", "subscribe p+1");
	expect("b", "message o+0 #1 [] -");
	expect("b", "message o+0 #2 [] -");
	play("b", "set k 1", "done", "set k 2", "done", NULL);
	assert_int_equal(in_flight("b"), 2);
	expect("b", "message o+0 #3 [] -");
	expect("b", "message o+0 #4 [] p-1");
	raw_named("b")->delivery = raw_named("b")->unfinished[1];
	snprintf(why, sizeof(why), "illegal syscall: done for delivery %llu, which is not in flight",
	         (unsigned long long)raw_named("b")->delivery);
	play("b", "done", NULL);
	expect_terminated("b", why);
	takes("a", "notify p+1 krej " UNREACHABLE " []");
	expect_nothing();
}

/* D11: how many: what the vat says, at most what the kernel says, one without a hello; fewer to a slow one */
static void test_window(void **state)
{
	static const struct {
		unsigned said, sent;
	} windows[] = {{0, 1}, {1, 1}, {2, 2}, {31, 31}, {32, 32}, {33, 32}, {4000000000, 32}};
	struct crank *c;
	unsigned i, n;

	(void)state;
	cluster("ab");
	c = &vat_named("b")->crank;
	poke("b");
	for (i = 0; i < 400; i++)
		host_send(root("b"), "#m", NULL, 0, false);
	play("b", "done", NULL);
	world->k.settings.reap_deliveries = 10000;
	assert_int_equal(in_flight("b"), 1); /* it has said nothing */
	takes("b", "message o+0 #m [] -");
	for (i = 0; i < ARRAY_LEN(windows); i++) {
		takes_ahead("b", windows[i].said);
		takes("b", "message o+0 #m [] -");
		assert_int_equal(in_flight("b"), windows[i].sent);
		while (in_flight("b") > 1)
			takes("b", "message o+0 #m [] -");
		world->k.serial = i + 1 == ARRAY_LEN(windows);
	}
	takes("b", "message o+0 #m [] -");
	assert_int_equal(in_flight("b"), 1); /* --serial */
	world->k.serial = false;
	for (c->pace = 1, n = 1; n <= 32; n *= 2) {
		assert_int_equal(c->pace, n);
		takes("b", "message o+0 #m [] -");
		assert_int_equal(in_flight("b"), n < 32 ? 2 * n : 32);
		while (in_flight("b") > 1)
			takes("b", "message o+0 #m [] -");
	}
	for (n = 16; n >= 1; n /= 2) {
		world->k.broker_ns += UINT64_C(30000000);
		takes("b", "message o+0 #m [] -");
		assert_int_equal(in_flight("b"), n);
		while (in_flight("b") > 1)
			takes("b", "message o+0 #m [] -");
	}
	process_dies("b", SIGKILL); /* the next process has said nothing either */
	start_up("b");
	assert_int_equal(in_flight("b"), 1);
}

/* D11: what is large, or names much that is new, goes alone; nothing goes behind it */
static void test_large(void **state)
{
	static char large[70000], many[3000];
	char *text = malloc(sizeof(large) + 100);
	size_t n, i;

	(void)state;
	two_vats();
	memset(large, 'x', sizeof(large) - 1);
	for (i = 0, n = 0; i < 100; i++)
		n += sprintf(many + n, "o+%zu ", 100 + i);
	sprintf(text, "send o-1 #%s [] -", large);
	BATCH("send o-1 #1 [] -", text, "send o-1 #2 [] -", "send o-1 #3 [] -");
	assert_int_equal(in_flight("b"), 1);
	takes("b", "message o+0 #1 [] -");
	assert_int_equal(in_flight("b"), 1);
	free(next_delivery(raw_named("b")));
	play("b", "done", NULL);
	assert_int_equal(in_flight("b"), 2);
	takes("b", "message o+0 #2 [] -");
	takes("b", "message o+0 #3 [] -");
	/* together they fill no more than a packet */
	large[30000] = '\0';
	sprintf(text, "send o-1 #%s [] -", large);
	BATCH(text, text, text, text, text);
	assert_int_equal(in_flight("b"), 2);
	for (i = 0; i < 5; i++) {
		free(next_delivery(raw_named("b")));
		play("b", "done", NULL);
	}
	/* the names given out for what was then not sent are given out again */
	sprintf(text, "send o-1 #m [%s] -", many);
	BATCH("send o-1 #1 [o+99] -", text, "send o-1 #2 [o+98] -", "send o-1 #3 [] -");
	assert_int_equal(in_flight("b"), 1);
	takes("b", "message o+0 #1 [o-1] -");
	assert_int_equal(in_flight("b"), 1);
	free(next_delivery(raw_named("b")));
	play("b", "done", NULL);
	assert_string_equal(vref_of("b", kref_of("a", "o+100")), "o-2");
	assert_int_equal(in_flight("b"), 2);
	takes("b", "message o+0 #2 [o-102] -");
	takes("b", "message o+0 #3 [] -");
	expect_nothing();
	free(text);
}

/* V7: a message that would go over the limit of imports together with those before it is judged by itself */
static void test_imports_limit(void **state)
{
	(void)state;
	cluster_with("ab", ",\"limits\":{\"imports\":4}");
	takes_ahead("b", 32);
	BATCH("send o-1 #1 [o+1 o+2] -", "send o-1 #2 [o+2 o+3] -", "send o-1 #3 [o+4 o+5] p+1", "subscribe p+1",
	      "send o-1 #4 [o+4] -");
	assert_int_equal(in_flight("b"), 2);
	takes("b", "message o+0 #1 [o-1 o-2] -");
	expect("b", "message o+0 #2 [o-2 o-3] -");
	play("b", "drop o-1", "retimp o-1", "done", NULL);
	/* the promise is one too many; the one behind it is not */
	takes("b", "message o+0 #4 [o-4] -");
	takes_then("a", "notify p+1 krej " KERR("QUEUE_FULL", "a has its share of the 4 references that b may import") " []");
}

/* C3: what the first introduces has that name in those behind it; C2: and not before its own turn */
static void test_fresh(void **state)
{
	(void)state;
	two_vats();
	BATCH("send o-1 #1 [o+5] p+1", "send o-1 #2 [p+1 o+6] -", "send o-1 #3 [o+6 o+5 p+1] p+2",
	      "send o-1 #4 [p+2 o+8] -");
	assert_int_equal(in_flight("b"), 4);
	takes("b", "message o+0 #1 [o-1] p-1");
	expect_counts(kref_of("a", "o+5"), 2, 2);
	takes("b", "message o+0 #2 [p-1 o-2] -");
	expect_counts(kref_of("a", "o+6"), 2, 2);
	expect("b", "message o+0 #3 [o-2 o-1 p-1] p-2");
	play("b", "send p-1 #pipe [o-1 o-2 p-2] -", "done", NULL);
	assert_int_equal(vat_named("b")->row.next_import, 3);
	expect("b", "message o+0 #4 [p-2 o-3] -");
	play("b", "send o-1 #x [o-3] -", "resolve p-1 ref #r [o-3]", "done", NULL);
	takes("a", "message o+5 #x [o+8] -");
	takes("a", "message o+8 #pipe [o+5 o+6 p+2] -");
	assert_int_equal(vat_named("b")->row.next_import, 4);
	BATCH("send o-1 #1 [] -", "send o-1 #2 [o+9] -");
	expect("b", "message o+0 #1 [] -");
	play("b", "send o-1 #early [o-4] -", "done", NULL);
	expect_terminated("b", "illegal syscall: unknown reference o-4");
	assert_false(knows("b", "o-4"));
}

/* An import that a crank drops or retires is there again when one behind it names it, by the same number */
static void test_import_retired(void **state)
{
	kref_t o5;

	(void)state;
	two_vats();
	BATCH("send o-1 #1 [o+5] -");
	takes("b", "message o+0 #1 [o-1] -");
	o5 = kref_of("a", "o+5");
	BATCH("send o-1 #2 [o+5] -", "send o-1 #3 [o+5] -", "send o-1 #4 [] -", "send o-1 #5 [o+5] -");
	expect("b", "message o+0 #2 [o-1] -");
	play("b", "drop o-1", "retimp o-1", "done", NULL);
	assert_false(knows("b", "o-1"));
	expect_counts(o5, 2, 2); /* the two messages */
	assert_int_equal(n_rows(T_GC), 0);
	expect("b", "message o+0 #3 [o-1] -");
	play("b", "send o-1 #still [] -", "drop o-1", "done", NULL);
	takes("a", "message o+5 #still [] -");
	expect_counts(o5, 1, 2);
	expect("b", "message o+0 #4 [] -");
	play("b", "retimp o-1", "done", NULL);
	expect("b", "message o+0 #5 [o-1] -");
	expect_counts(o5, 1, 1);
	play("b", "send o-1 #again [] -", "done", NULL);
	assert_string_equal(vref_of("b", o5), "o-1");
	expect_counts(o5, 2, 2); /* b, and the message */
	takes("a", "message o+5 #again [] -");
	act("b", "drop o-1", "retimp o-1", NULL);
	takes("a", "dropExports o+5");
	takes("a", "retireExports o+5");
	assert_false(row_exists(o5));
	/* and when it comes once more with nothing in flight, it is a new one */
	BATCH("send o-1 #6 [o+5] -");
	takes("b", "message o+0 #6 [o-2] -");
	expect_nothing();
}

/* A promise that a crank resolves is there again, settled, when one behind it names it */
static void test_promise_resolved(void **state)
{
	(void)state;
	two_vats();
	BATCH("send o-1 #1 [o+0] p+1");
	expect("b", "message o+0 #1 [o-1] p-1");
	play("b", "send o-1 #own [p+4 p+5] -", "done", NULL);
	takes("a", "message o+0 #own [p-2 p-3] -"); /* p-1 was the result of its bootstrap */
	BATCH("send o-1 #2 [] -", "send o-1 #3 [p+1 p-2] -", "send o-1 #4 [p-2 p-3] -");
	assert_int_equal(in_flight("b"), 3);
	expect("b", "message o+0 #2 [] -");
	/* p+4 settles and its number stands for something else, p+5 settles only */
	play("b", "resolve p-1 data #one []; p+4 data #four []; p+5 data #five [o+8]", "send o-1 #new [p+4] -", "done", NULL);
	assert_false(knows("b", "p-1") || knows("b", "p+5"));
	takes("a", "message o+0 #new [p-4] -");
	expect("b", "message o+0 #3 [p-1 p+4] -");
	play("b", "subscribe p-1", "done", NULL);
	assert_true(knows("b", "p-1"));
	assert_int_equal(kref_of("b", "p+4").bits, kref_of("a", "p-4").bits);
	expect("b", "message o+0 #4 [p+4 p+5] -");
	play("b", "subscribe p+5", "resolve p+5 data #twice []", "done", NULL);
	assert_int_equal(status("b"), VAT_TERMINATED); /* it is settled, whatever its number */
	assert_string_equal(reason("b"), "illegal syscall: resolve of p+5, which is resolved already");
}

static void test_promise_notified(void **state)
{
	kref_t five;

	(void)state;
	two_vats();
	BATCH("send o-1 #1 [o+0] p+1");
	expect("b", "message o+0 #1 [o-1] p-1");
	play("b", "send o-1 #own [p+5] -", "done", NULL);
	takes("a", "message o+0 #own [p-2] -");
	five = kref_of("a", "p-2");
	BATCH("send o-1 #2 [] -", "send o-1 #3 [p-2] -");
	expect("b", "message o+0 #2 [] -");
	play("b", "resolve p+5 data #five [o+8]", "done", NULL);
	expect("b", "message o+0 #3 [p+5] -");
	play("b", "subscribe p+5", "done", NULL);
	assert_int_equal(kref_of("b", "p+5").bits, five.bits);
	takes("b", "notify p+5 data #five [o+8]");
	assert_false(knows("b", "p+5"));
	expect_nothing();
}

/* An export that a crank abandons stays so: what is behind is delivered, and does not bring it back */
static void test_export_abandoned(void **state)
{
	kref_t o5, d6;

	(void)state;
	two_vats();
	BATCH("send o-1 #1 [o+0] -");
	expect("b", "message o+0 #1 [o-1] -");
	play("b", "send o-1 #have [o+5 o+d2.6] -", "done", NULL);
	takes("a", "message o+0 #have [o-3 o-4] -");
	o5 = kref_of("a", "o-3");
	d6 = kref_of("a", "o-4");
	BATCH("send o-1 #2 [] -", "send o-3 #3 [o-4] p+1", "subscribe p+1", "send o-4 #4 [o-3 o-4] p+2",
	      "subscribe p+2", "send o-3 #5 [] p+3", "subscribe p+3");
	assert_int_equal(in_flight("b"), 4);
	expect("b", "message o+0 #2 [] -");
	play("b", "abandon o+5 o+d2.6", "done", NULL);
	assert_int_equal(object_row(o5).owner, 0);
	expect("b", "message o+5 #3 [o+d2.6] p-1");
	play("b", "resolve p-1 rej #gone []", "done", NULL);
	takes("a", "notify p+1 rej #gone []");
	assert_false(knows("b", "o+5") || knows("b", "o+d2.6"));
	expect("b", "message o+d2.6 #4 [o+5 o+d2.6] p-2");
	play("b", "send o-1 #anew [o+d2.6] -", "resolve p-2 data #ok []", "done", NULL);
	takes("a", "message o+0 #anew [o-5] -"); /* to the others it is a new object */
	takes("a", "notify p+2 data #ok []");
	assert_int_not_equal(kref_of("b", "o+d2.6").bits, d6.bits);
	expect("b", "message o+5 #5 [] p-3");
	play("b", "retexp o+5", "done", NULL);
	expect_terminated("b", "illegal syscall: unknown reference o+5");
	takes("a", "notify p+3 krej " FATAL("b", "unknown reference o+5") " []");
	expect_nothing();
}

/* P7: what names a promise that a notify before it takes out of the clist is not sent ahead */
static void test_notify_overlap(void **state)
{
	(void)state;
	two_vats();
	BATCH("send o-1 #1 [p+1 p+2 p+3] -");
	expect("b", "message o+0 #1 [p-1 p-2 p-3] -");
	play("b", "subscribe p-1", "subscribe p-2", "subscribe p-3", "done", NULL);
	/* p+1 alone; then a message that names it */
	BATCH("send o-1 #2 [] -", "resolve p+1 data #one []", "send o-1 #3 [p+2] -");
	assert_int_equal(in_flight("b"), 3);
	takes("b", "message o+0 #2 [] -");
	takes("b", "notify p-1 data #one []");
	takes("b", "message o+0 #3 [p-2] -");
	/* p+2 and p+3 name each other: the notify of one tells of both, the other's is none */
	poke("b");
	act("a", "send o-1 #4 [p+3] -", "resolve p+2 data #two [p+3]; p+3 data #three [p+2]", NULL);
	act("a", "send o-1 #5 [] -", NULL);
	play("b", "done", NULL);
	assert_int_equal(in_flight("b"), 2); /* #4 and the first notify */
	takes("b", "message o+0 #4 [p-3] -");
	takes("b", "notify p-2 data #two [p-3]; p-3 data #three [p-2]");
	takes("b", "message o+0 #5 [] -");
	assert_int_equal(n_rows(T_NOTIFYING), 0);
	assert_false(knows("b", "p-2") || knows("b", "p-3"));
	expect_nothing();
}

/* P7: listed by a notify, named again, and then told of by its own notify, which is none ahead of that name */
static void test_notify_of_new_name(void **state)
{
	(void)state;
	two_vats();
	BATCH("send o-1 #1 [p+2 p+3] -");
	expect("b", "message o+0 #1 [p-1 p-2] -");
	play("b", "subscribe p-1", "subscribe p-2", "done", NULL);
	BATCH("resolve p+2 data #two [p+3]", "send o-1 #2 [p+3] -", "resolve p+3 data #three []", "send o-1 #3 [] -");
	assert_int_equal(in_flight("b"), 1);
	takes("b", "notify p-1 data #two [p-2]; p-2 data #three []");
	assert_int_equal(in_flight("b"), 1);
	takes("b", "message o+0 #2 [p-3] -");
	assert_int_equal(in_flight("b"), 2);
	takes("b", "notify p-3 data #three []");
	takes("b", "message o+0 #3 [] -");
	expect_nothing();
}

/* The same promise named again behind its notify: a new name, once the notify is done */
static void test_named_behind_notify(void **state)
{
	kref_t p;

	(void)state;
	two_vats();
	p = host_send(root("a"), "#ask", NULL, 0, true);
	world_run();
	expect("a", "message o+0 #ask [] p-2");
	play("a", "done", NULL);
	assert_string_equal(give("b", p), "p-1");
	act("b", "subscribe p-1", NULL);
	poke("b");
	act("a", "send o-1 #before [p-2] -", "resolve p-2 data #v []", NULL);
	host_send(root("b"), "#behind", &p, 1, false);
	play("b", "done", NULL);
	assert_int_equal(in_flight("b"), 2);
	takes("b", "message o+0 #before [p-1] -");
	takes("b", "notify p-1 data #v []");
	takes("b", "message o+0 #behind [p-2] -");
	assert_string_equal(vref_of("b", p), "p-2");
	act("b", "subscribe p-2", NULL);
	takes("b", "notify p-2 data #v []");
	expect_nothing();
}

/* G2, D7: collection waits for what is in flight, then goes alone and before all that was not sent */
static void test_collection(void **state)
{
	(void)state;
	two_vats();
	BATCH("send o-1 #1 [o+0] -");
	expect("b", "message o+0 #1 [o-1] -");
	play("b", "send o-1 #have [o+5] -", "done", NULL);
	takes("a", "message o+0 #have [o-3] -");
	BATCH("send o-1 #2 [] -", "send o-1 #3 [] -");
	act("a", "drop o-3", "send o-1 #4 [] -", "send o-1 #5 [] -", NULL);
	takes("b", "message o+0 #2 [] -");
	expect("b", "message o+0 #3 [] -");
	play("b", "wakeme", "done", NULL);
	assert_int_equal(in_flight("b"), 1);
	expect("b", "dropExports o+5");
	vat_edit(&world->k, vat_named("b"))->flags |= VAT_F_REAP;
	play("b", "done", NULL);
	assert_int_equal(in_flight("b"), 1);
	takes("b", "bringOutYourDead");
	/* by turns */
	assert_int_equal(in_flight("b"), 1);
	if (vat_named("b")->wake_pending) {
		takes("b", "message o+0 #4 [] -");
		takes("b", "wake");
	} else {
		takes("b", "wake");
		takes("b", "message o+0 #4 [] -");
	}
	takes("b", "message o+0 #5 [] -");
	expect_nothing();
}

/* G2: also when it is the end of an item between them that leaves something to collect */
static void test_collection_between(void **state)
{
	(void)state;
	two_vats();
	BATCH("send o-1 #1 [o+0] -");
	expect("b", "message o+0 #1 [o-1] -");
	play("b", "send o-1 #have [o+5 o+6] -", "done", NULL);
	takes("a", "message o+0 #have [o-3 o-4] -");
	poke("b");
	act("a", "send o-1 #2 [] -", "send o-3 #never [o-4] -", "drop o-4", "send o-1 #3 [] -", "send o-1 #4 [] -", NULL);
	revoke_ref(kref_of("b", "o+5"));
	play("b", "done", NULL);
	assert_int_equal(in_flight("b"), 1);
	takes("b", "message o+0 #2 [] -");
	takes("b", "dropExports o+6");
	assert_int_equal(in_flight("b"), 2);
	takes("b", "message o+0 #3 [] -");
	takes("b", "message o+0 #4 [] -");
	expect_nothing();
}

/* A wake that is asked for while others wait has its turn after one of them */
static void test_wake(void **state)
{
	(void)state;
	two_vats();
	BATCH("send o-1 #1 [] -", "send o-1 #2 [] -");
	play("b", "wakeme", NULL);
	act("a", "send o-1 #3 [] -", "send o-1 #4 [] -", "send o-1 #5 [] -", NULL);
	takes("b", "message o+0 #1 [] -");
	takes("b", "message o+0 #2 [] -");
	assert_int_equal(in_flight("b"), 1);
	takes("b", "wake");
	assert_int_equal(in_flight("b"), 3);
	takes("b", "message o+0 #3 [] -");
	play("b", "wakeme", NULL);
	takes("b", "message o+0 #4 [] -");
	takes("b", "message o+0 #5 [] -");
	/* asked for again in a wake: one message, and the next wake */
	expect("b", "wake");
	act("a", "send o-1 #6 [] -", "send o-1 #7 [] -", "send o-1 #8 [] -", NULL);
	play("b", "wakeme", "done", NULL);
	assert_int_equal(in_flight("b"), 1);
	takes("b", "message o+0 #6 [] -");
	takes("b", "wake");
	assert_int_equal(in_flight("b"), 2);
	takes("b", "message o+0 #7 [] -");
	takes("b", "message o+0 #8 [] -");
	expect_nothing();
}

/* Y7: reads belong to the first; what is behind arrives before the answer */
static void test_reads(void **state)
{
	(void)state;
	two_vats();
	BATCH("send o-1 #1 [] -", "send o-1 #2 [o+5] -", "send o-1 #3 [] -");
	expect("b", "message o+0 #1 [] -");
	play("b", "set k v1", NULL);
	play("b", "get k", NULL);
	expect("b", "storeValue found o+0 '' 'v1'");
	play("b", "clist", NULL);
	expect("b", "storeValue none o+0 '' ''"); /* o-1 comes with the second */
	play("b", "done", NULL);
	expect("b", "message o+0 #2 [o-1] -");
	play("b", "set k v2", "get k", NULL);
	expect("b", "storeValue found o+0 '' 'v2'");
	play("b", "done", NULL);
	expect("b", "message o+0 #3 [] -");
	play("b", "clist", NULL);
	expect("b", "storeValue reachable o-1 '' ''");
	play("b", "next", NULL);
	expect("b", "storeValue found o+0 'k' ''");
	play("b", "done", NULL);
	expect_nothing();
}

/*
 * L1: a vat that never reads, and guesses the numbers, could have the kernel keep any amount for it. It gets no further
 * work until it takes what it was sent, and the answer to a read is outstanding until then, whichever crank asked.
 */
static unsigned goes_on_blindly(const char *first, const char *second)
{
	const struct delivery *d;
	unsigned i;

	for (i = 0; i < 300; i++) {
		d = crank_head(&vat_named("b")->crank);
		if (status("b") != VAT_RUNNING || !d)
			break;
		raw_named("b")->delivery = d->number;
		play("b", first, second, "done", NULL);
	}
	assert_true(vat_named("b")->channel.backlog.len < 4 * WIRE_MAX_PACKET);
	return i;
}

static void test_never_reads(void **state)
{
	static char send[60100];
	size_t n = sprintf(send, "send o+0 #");
	char *got;

	(void)state;
	two_vats();
	memset(send + n, 'x', 59000);
	strcpy(send + n + 59000, " [] -");
	act("b", send, send, NULL);
	assert_in_range(goes_on_blindly(send, "set k v"), 1, 20);
	assert_int_equal(status("b"), VAT_RUNNING);
	assert_int_equal(world->k.n_in_flight, 0);
	assert_true(vat_named("b")->row.n_queued > 1);
	/* it reads, and goes on */
	while (!world->k.n_in_flight && (got = next_delivery(raw_named("b")))) {
		free(got);
		world_run();
	}
	assert_int_equal(vat_named("b")->channel.backlog.len, 0);
	assert_int_equal(world->k.n_in_flight, 1);
}

static void test_never_reads_answers(void **state)
{
	static char set[60100] = "set k ";
	unsigned i;

	(void)state;
	two_vats();
	memset(set + 6, 'x', 60000);
	act("b", set, NULL);
	poke("b");
	for (i = 0; i < 32; i++)
		host_send(root("b"), "#m", NULL, 0, false);
	play("b", "done", NULL);
	assert_int_equal(in_flight("b"), 32);
	assert_in_range(goes_on_blindly("get k", "set l v"), 1, 20);
	expect_terminated("b", "illegal syscall: a read while the answer to the last one is outstanding");
}

/* --- when it comes to nothing --------------------------------------------------------------------------- */

static void four(void)
{
	two_vats();
	act("a", "send o-1 #0 [o+5] -", NULL);
	expect("b", "message o+0 #0 [o-1] -");
	act("a", "send o-1 #1 [o+6] p+1", "subscribe p+1", "send o-1 #2 [o+6] p+2", "subscribe p+2",
	    "send o-1 #3 [o+5] p+3", "subscribe p+3", NULL);
	play("b", "done", NULL);
	assert_int_equal(in_flight("b"), 3);
}

/* All that was sent comes again, in its order, with names of its own */
static void takes_all_again(const char *first)
{
	takes_ahead("b", 32);
	expect("b", first);
	play("b", "resolve p-1 data #1 []", "done", NULL);
	expect("b", "message o+0 #2 [o-2] p-2");
	play("b", "resolve p-2 data #2 []", "done", NULL);
	expect("b", "message o+0 #3 [o-1] p-3");
	play("b", "resolve p-3 data #3 []", "done", NULL);
	takes("a", "notify p+1 data #1 []");
	takes("a", "notify p+2 data #2 []");
	takes("a", "notify p+3 data #3 []");
	expect_nothing();
}

/* V4, V10: death: only the first is blamed, and for a second death only if it was the first both times */
static void test_death(void **state)
{
	struct row_vat *row;

	(void)state;
	four();
	row = &vat_named("b")->row;
	process_dies("b", SIGKILL);
	assert_int_equal(world->k.n_in_flight, 1); /* startVat */
	assert_int_equal(row->killer_count, 1);
	start_up("b");
	takes_all_again("message o+0 #1 [o-2] p-1");
	assert_int_equal(row->killer_count, 0);
}

static void test_poison(void **state)
{
	struct row_vat *row;

	(void)state;
	four();
	row = &vat_named("b")->row;
	process_dies("b", SIGKILL);
	start_up("b");
	process_dies("b", SIGKILL);
	takes_then("a", "notify p+1 krej " KERR("DELIVERY_FAILED", "the message killed b 2 times: killed by signal 9 (Killed)") " []");
	assert_int_equal(n_rows(T_ASIDE), 1);
	start_up("b");
	takes_ahead("b", 32);
	takes("b", "message o+0 #2 [o-2] p-1");
	assert_int_equal(in_flight("b"), 1);
	expect("b", "message o+0 #3 [o-1] p-2");
	process_dies("b", SIGKILL);
	assert_int_equal(row->killer_count, 1);
	start_up("b");
	expect("b", "message o+0 #3 [o-1] p-2");
	play("b", "resolve p-2 data #3 []", "done", NULL);
	takes_then("a", "notify p+2 krej " RESTARTED("b") " []");
	takes("b", "notify p-1 krej " RESTARTED("b") " []");
	takes("a", "notify p+3 data #3 []");
	expect_nothing();
}

/* D6: what was done counts, also if it is read when the process is gone; the next one is to blame */
static void test_death_behind_done(void **state)
{
	(void)state;
	four();
	expect("b", "message o+0 #1 [o-2] p-1");
	say("b", "resolve p-1 data #last []", "done", NULL);
	process_dies_now("b", SIGKILL);
	world_run();
	takes("a", "notify p+1 data #last []");
	start_up("b");
	process_dies("b", SIGKILL);
	takes_then("a", "notify p+2 krej " KERR("DELIVERY_FAILED", "the message killed b 2 times: killed by signal 9 (Killed)") " []");
	start_up("b");
	takes("b", "message o+0 #3 [o-1] p-2");
	expect_nothing();
}

/* Y2: the crank says that it failed: a death */
static void test_error(void **state)
{
	(void)state;
	four();
	expect("b", "message o+0 #1 [o-2] p-1");
	play("b", "resolve p-1 data #never []", "error oops", NULL);
	start_up("b");
	takes_all_again("message o+0 #1 [o-2] p-1");
}

/* V6: the deadline counts from when it became the first */
static void test_deadline(void **state)
{
	struct kernel *k = &world->k;
	struct crank *c;

	(void)state;
	four();
	c = &vat_named("b")->crank;
	assert_int_equal(c->deadline_ns, k->broker_ns + UINT64_C(30000000000));
	k->broker_ns += UINT64_C(20000000000);
	takes("b", "message o+0 #1 [o-2] p-1");
	assert_int_equal(c->deadline_ns, k->broker_ns + UINT64_C(30000000000));
	k->broker_ns += UINT64_C(31000000000);
	must(vat_end_process(k, vat_named("b"), FATE_DEATH, "over its deadline of 30000 ms"));
	world_run();
	assert_int_equal(vat_named("b")->row.killer_count, 1);
	takes_then("a", "notify p+1 krej " RESTARTED("b") " []");
	start_up("b");
	takes("b", "message o+0 #2 [o-2] p-2");
	assert_int_equal(vat_named("b")->row.killer_count, 0); /* it was that one */
}

/* L1, R1: something illegal: the first is rejected with that, the others by the table */
static void test_illegal(void **state)
{
	(void)state;
	four();
	expect("b", "message o+0 #1 [o-2] p-1");
	play("b", "send o-77 #x [] -", "done", NULL);
	expect_terminated("b", "illegal syscall: unknown reference o-77");
	takes_then("a", "notify p+1 krej " FATAL("b", "unknown reference o-77") " []");
	takes_then("a", "notify p+2 krej " UNREACHABLE " []");
	takes_then("a", "notify p+3 krej " UNREACHABLE " []");
	expect_nothing();
	assert_int_equal(world->k.n_in_flight, 0);
}

static void test_malformed(void **state)
{
	uint8_t bytes[16] = {16, 0, 0, 0, 0xff};

	(void)state;
	four();
	takes("b", "message o+0 #1 [o-2] p-1");
	send_bytes("b", bytes, sizeof(bytes));
	world_run();
	assert_int_equal(status("b"), VAT_TERMINATED);
	takes_then("a", "notify p+2 krej " FATAL("b", "frame \\\"unknown\\\" (type 0xff): unknown frame type, or not legal in "
						  "this direction") " []");
	takes_then("a", "notify p+3 krej " UNREACHABLE " []");
	takes_then("a", "notify p+1 krej " GONE("b") " []");
	expect_nothing();
}

/* V7: a limit: all of it waits and comes again after the resume */
static void test_limit(void **state)
{
	(void)state;
	four();
	vat_named("b")->limits.syscalls = 3;
	expect("b", "message o+0 #1 [o-2] p-1");
	play("b", "set a 1", "set b 1", "set c 1", "set d 1", "done", NULL);
	assert_int_equal(status("b"), VAT_SUSPENDED);
	assert_string_equal(reason("b"), "LIMIT syscalls 3");
	assert_int_equal(world->k.n_in_flight, 0);
	expect_nothing();
	resume("b");
	start_up("b");
	takes_all_again("message o+0 #1 [o-2] p-1");
}

/* Y2: exit: what is behind it is over; without failure the crank itself happened */
static void test_exit(void **state)
{
	(void)state;
	four();
	expect("b", "message o+0 #1 [o-2] p-1");
	play("b", "exit ok #bye []", "resolve p-1 data #ok []", "done", NULL);
	expect_terminated("b", "exit: #bye");
	takes("a", "notify p+1 data #ok []");
	takes_then("a", "notify p+2 krej " UNREACHABLE " []");
	takes_then("a", "notify p+3 krej " UNREACHABLE " []");
	expect_nothing();
	assert_int_equal(world->k.n_in_flight, 0);
}

static void test_exit_failure(void **state)
{
	(void)state;
	four();
	expect("b", "message o+0 #1 [o-2] p-1");
	play("b", "exit fail #bad []", "resolve p-1 data #ok []", "done", NULL);
	expect_terminated("b", "exit with failure: #bad");
	takes_then("a", "notify p+1 krej " KERR("VAT_TERMINATED", "b: exit with failure: #bad") " []");
	takes_then("a", "notify p+2 krej " UNREACHABLE " []");
	takes_then("a", "notify p+3 krej " UNREACHABLE " []");
	expect_nothing();
}

/* An exit in the same packet as answers to what is behind it: those say nothing any more */
static void test_exit_and_more(void **state)
{
	(void)state;
	four();
	expect("b", "message o+0 #1 [o-2] p-1");
	expect("b", "message o+0 #2 [o-2] p-2");
	play("b", "exit ok #bye []", "done", "resolve p-2 data #ok []", "done", NULL);
	expect_terminated("b", "exit: #bye");
	takes_then("a", "notify p+2 krej " UNREACHABLE " []");
	takes_then("a", "notify p+3 krej " UNREACHABLE " []");
	takes_then("a", "notify p+1 krej " GONE("b") " []");
	expect_nothing();
}

/* V2: suspended by hand: what was sent is done, nothing new comes */
static void test_suspend(void **state)
{
	(void)state;
	four();
	suspend("b");
	act("a", "send o-1 #later [] -", NULL);
	takes("b", "message o+0 #1 [o-2] p-1");
	assert_int_equal(in_flight("b"), 2);
	takes("b", "message o+0 #2 [o-2] p-2");
	takes("b", "message o+0 #3 [o-1] p-3");
	expect_nothing();
	resume("b");
	takes("b", "message o+0 #later [] -");
	expect_nothing();
	/* resumed in between */
	BATCH("send o-1 #x [] -", "send o-1 #y [] -");
	suspend("b");
	takes("b", "message o+0 #x [] -");
	resume("b");
	act("a", "send o-1 #z [] -", NULL);
	takes("b", "message o+0 #y [] -");
	takes("b", "message o+0 #z [] -");
	expect_nothing();
}

/* V2, D4: a restart, a termination, the end of the broker: at every point */
static void test_restart(void **state)
{
	(void)state;
	four();
	restart("b");
	assert_int_equal(vat_named("b")->row.n_deaths, 0);
	start_up("b");
	takes_all_again("message o+0 #1 [o-2] p-1");
}

static void test_restart_between(void **state)
{
	(void)state;
	four();
	expect("b", "message o+0 #1 [o-2] p-1");
	play("b", "resolve p-1 data #1 []", "done", NULL);
	takes("a", "notify p+1 data #1 []");
	expect("b", "message o+0 #2 [o-2] p-2");
	say("b", "set never written", NULL);
	world_run();
	restart("b");
	start_up("b");
	assert_int_equal(n_rows(T_VATSTORE), 0);
	takes("b", "message o+0 #2 [o-2] p-2");
	takes("b", "message o+0 #3 [o-1] p-3");
	expect_nothing();
}

static void test_terminate(void **state)
{
	(void)state;
	four();
	takes("b", "message o+0 #1 [o-2] p-1");
	terminate("b");
	takes_then("a", "notify p+2 krej " UNREACHABLE " []");
	takes_then("a", "notify p+3 krej " UNREACHABLE " []");
	takes_then("a", "notify p+1 krej " GONE("b") " []");
	expect_nothing();
	assert_int_equal(world->k.n_in_flight, 0);
}

static void test_crash(void **state)
{
	(void)state;
	four();
	expect("b", "message o+0 #1 [o-2] p-1");
	play("b", "resolve p-1 data #1 []", "done", NULL);
	world_crash();
	world_run();
	start_up("a");
	start_up("b");
	takes("a", "notify p+1 data #1 []");
	takes_ahead("b", 32);
	expect("b", "message o+0 #2 [o-2] p-2");
	play("b", "resolve p-2 data #2 []", "done", NULL);
	takes("b", "message o+0 #3 [o-1] p-3");
	takes("a", "notify p+2 data #2 []");
	expect_nothing();
}

/* X1, R: what became impossible while it waited ends at once; the others go on */
static void test_revoked(void **state)
{
	kref_t o5;

	(void)state;
	two_vats();
	BATCH("send o-1 #1 [o+0] -");
	expect("b", "message o+0 #1 [o-1] -");
	play("b", "send o-1 #have [o+5] -", "done", NULL);
	takes("a", "message o+0 #have [o-3] -");
	o5 = kref_of("a", "o-3");
	poke("b");
	act("a", "send o-1 #2 [] -", "send o-3 #never [o+9] p+1", "subscribe p+1", "send o-1 #3 [] -", NULL);
	revoke_ref(o5);
	play("b", "done", NULL);
	assert_int_equal(in_flight("b"), 2);
	takes_then("a", "notify p+1 krej " REVOKED " []");
	/* in flight already: delivered (X1 is looked at when it is sent) */
	takes("b", "message o+0 #2 [] -");
	takes("b", "message o+0 #3 [] -");
	assert_false(knows("b", "o-2"));
	expect_nothing();
}

/* A vat that takes its own messages ahead */
static void test_to_itself(void **state)
{
	(void)state;
	two_vats();
	act("b", "send o+0 #1 [o+3] p+1", "send o+0 #2 [p+1 o+4] p+2", "send p+2 #3 [] p+3", "subscribe p+3", NULL);
	assert_int_equal(in_flight("b"), 2);
	expect("b", "message o+0 #1 [o+3] p+1");
	play("b", "resolve p+1 data #one []", "done", NULL);
	assert_false(knows("b", "p+1"));
	expect("b", "message o+0 #2 [p+1 o+4] p+2");
	play("b", "resolve p+2 ref #two [o+4]", "subscribe p+1", "done", NULL);
	takes("b", "dropExports o+3");
	takes("b", "retireExports o+3");
	assert_int_equal(in_flight("b"), 2);
	takes("b", "message o+4 #3 [] p+3");
	takes("b", "notify p+1 data #one []");
	assert_false(knows("b", "p+1"));
	takes("b", "dropExports o+4");
	takes("b", "retireExports o+4");
	act("b", "resolve p+3 rej #three []", NULL);
	expect_nothing(); /* it had settled it itself: P7 */
}

static const struct CMUnitTest tests[] = {
    T(test_order),          T(test_numbers),        T(test_window),           T(test_large),
    T(test_imports_limit),  T(test_fresh),          T(test_import_retired),   T(test_promise_resolved),
    T(test_promise_notified), T(test_export_abandoned), T(test_notify_overlap),
    T(test_notify_of_new_name), T(test_named_behind_notify), T(test_collection), T(test_collection_between), T(test_wake),            T(test_reads), T(test_never_reads), T(test_never_reads_answers),
    T(test_death),          T(test_poison),         T(test_death_behind_done), T(test_error),
    T(test_deadline),       T(test_illegal),        T(test_malformed),        T(test_limit),
    T(test_exit),           T(test_exit_failure),   T(test_exit_and_more),    T(test_suspend),
    T(test_restart),        T(test_restart_between), T(test_terminate),       T(test_crash),
    T(test_revoked),        T(test_to_itself),
};

int main(void) { return run_on_both("test_kernel_ahead", tests, ARRAY_LEN(tests)); }
