/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel in process: what it shows beside its tables (lib/live.h), line by line. Vats are played by hand. */
#include "kernel_steps.h"

#include "../../broker/live.h"

static const struct live_page *page(void) { return world->k.live->page; }

static struct live_vat slot(const char *name)
{
	struct live_vat s;

	assert_int_equal(live_vat_read(page(), vat_named(name)->number, &s), 0);
	return s;
}

/* --- events as lines ----------------------------------------------------------------------------------------------- */

static uint64_t seen;	/* number of the last event that was looked at */

/* "crank v2 message ko6 hello applied 2": vats by number, what is none of it left out. */
static void line(const struct live_event *e, char *out, size_t size)
{
	static const char *const kinds[] = { "", "crank", "resolve", "gc", "gone", "spawn", "death", "status", "launch", "end" };
	static const char *const works[] = { "", " start", " message", " notify", " dropExports", " retireExports",
					     " retireImports", " reap", " wake" };
	char who[REF_TEXT_MAX] = "", ref[REF_TEXT_MAX] = "", ref2[REF_TEXT_MAX] = "";
	bool kref = e->kind == LIVE_CRANK || e->kind == LIVE_RESOLVE || e->kind == LIVE_GC || e->kind == LIVE_GONE;
	int n;

	assert_in_range(e->kind, LIVE_CRANK, LIVE_END);
	assert_in_range(e->work, 0, LIVE_WORK_WAKE);
	assert_true(e->time_us >= page()->kernel.start_us - 1000000);
	if (e->vat)
		endpoint_format((endpoint_t){ e->vat }, who);
	if (kref && e->ref)
		kref_format((kref_t){ e->ref }, ref);
	if (e->kind == LIVE_RESOLVE && e->ref2)
		kref_format((kref_t){ e->ref2 }, ref2);
	n = snprintf(out, size, "%s%s%s%s%s%s", kinds[e->kind], *who ? " " : "", who, works[e->work], *ref ? " " : "", ref);
	if (*ref2)
		n += snprintf(out + n, size - n, " to %s", ref2);
	if (e->kind == LIVE_CRANK) {
		n += snprintf(out + n, size - n, " (%.*s) %s %u", (int)e->ref2, (const char *)e->text,
			      e->outcome == LIVE_APPLIED ? "applied" : "abandoned", e->n);
		if (e->text_len > e->ref2)
			snprintf(out + n, size - n, ": %.*s", (int)(e->text_len - e->ref2), (const char *)e->text + e->ref2);
		return;
	}
	if (e->outcome)
		n += snprintf(out + n, size - n, " %u", e->outcome);
	if (e->n)
		n += snprintf(out + n, size - n, " %u", e->n);
	if (e->text_len)
		snprintf(out + n, size - n, " %.*s", e->text_len, (const char *)e->text);
}

/* All that was shown since the last look, exactly. */
static void __attribute__((sentinel)) shows(const char *first, ...)
{
	const char *want = first;
	struct live_event e;
	char text[300];
	va_list ap;

	va_start(ap, first);
	for (; seen < page()->n_shown; want = va_arg(ap, const char *)) {
		assert_int_equal(live_event_read(page(), ++seen, &e), 0);
		line(&e, text, sizeof(text));
		if (!want)
			fail_msg("more is shown: %s", text);
		assert_string_equal(text, want);
	}
	va_end(ap);
	if (want)
		fail_msg("not shown: %s", want);
}
static void shows_nothing(void) { assert_int_equal(seen, page()->n_shown); }
static void pass_over(void) { seen = page()->n_shown; }

/* --- the tests ----------------------------------------------------------------------------------------------------- */

static const char *words(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static const char *words(const char *fmt, ...)
{
	static char texts[16][300];
	static unsigned n;
	char *out = texts[n++ % 16];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(out, sizeof(texts[0]), fmt, ap);
	va_end(ap);
	return out;
}
static const char *ref(kref_t r)
{
	char text[REF_TEXT_MAX];

	return words("%s", kref_format(r, text));
}

/* A launch from its first event to the last: their number and order are exact. */
static void test_launch(void **state)
{
	kref_t a, result;

	(void)state;
	seen = 0;
	pass_over();
	cluster_begin("ab", "");
	world_run();
	a = root("a");
	shows("launch", "status v1 1", "status v2 1", "spawn v1 1", "spawn v2 1", NULL);
	start_up("a");
	start_up("b");
	shows("crank v1 start () applied 0", "status v1 2", "crank v2 start () applied 0", "status v2 2", NULL);
	free(next_delivery(raw_named("a")));
	result = kp(1);
	play("a", "resolve p-1 data #ok []", "done", NULL);
	shows(words("crank v1 message %s (bootstrap) applied 1", ref(a)), words("resolve v1 %s 3", ref(result)),
	      words("gone %s", ref(result)), NULL);
	shows_nothing();
	assert_int_equal(page()->kernel.n_cranks, 3);
	assert_int_equal(page()->kernel.n_calls, 0);
}

/* Nothing of a crank is shown before its commit; its counts and times stand in the vat's slot. */
static void test_in_flight(void **state)
{
	kref_t a;
	struct live_vat s;
	uint64_t before, cranks;

	(void)state;
	cluster("ab");
	a = root("a");
	pass_over();
	s = slot("a");
	cranks = s.n_cranks;
	assert_int_equal(s.proc, LIVE_PROC_ALIVE);
	assert_int_equal(s.work, LIVE_WORK_NONE);
	assert_int_equal(page()->kernel.n_in_flight, 0);
	before = now_realtime_us();
	host_send(a, "#[\"hello\",[]]", NULL, 0, false);
	world_run();
	s = slot("a");
	assert_int_equal(s.work, LIVE_WORK_MESSAGE);
	assert_int_equal(s.n_in_flight, 1);
	assert_int_equal(s.n_items, 1);
	assert_true(s.seq > 0 && s.delivery > 0);
	assert_in_range(s.since_us, before - 2000, now_realtime_us() + 2000);
	assert_int_equal(page()->kernel.n_in_flight, 1);
	expect("a", "message o+0 #[\"hello\",[]] [] -");
	shows_nothing();
	say("a", "send o-1 #hi [] -", "done", NULL);
	world_settle();
	shows_nothing();
	s = slot("a");
	assert_int_equal(s.work, LIVE_WORK_NONE);
	assert_int_equal(s.n_in_flight, 0);
	assert_int_equal(s.n_cranks, cranks + 1);
	assert_true(s.n_syscalls > 0 && s.n_messages == 1 && s.bytes_in > 0 && s.bytes_out > 0);
	assert_int_equal(slot("b").work, LIVE_WORK_MESSAGE);
	world_commit();
	shows(words("crank v1 message %s (hello) applied 1", ref(a)), NULL);
	takes("b", "message o+0 #hi [] -");
	shows(words("crank v2 message %s () applied 0", ref(root("b"))), NULL);
	assert_int_equal(page()->kernel.n_in_flight, 0);
}

/* What a crank that fails did is not shown; that it was abandoned is, with the reason. */
static void test_abandoned(void **state)
{
	kref_t b;

	(void)state;
	cluster("ab");
	act("a", "send o-1 #[\"work\",[]] [] p+1", NULL);
	pass_over();
	b = root("b");
	expect("b", "message o+0 #[\"work\",[]] [] p-1");
	play("b", "send o+0 #x [] p+9", "resolve p-1 data #1 []", "error no", NULL);
	shows(words("crank v2 message %s (work) abandoned 2: delivery failed: no", ref(b)),
	      "death v2 1 delivery failed: no", "status v2 1", "spawn v2 2", NULL);
	assert_int_equal(slot("b").n_abandoned, 1);
	assert_int_equal(slot("b").work, LIVE_WORK_START);
}

/* Of a message its method is shown, and nothing of its arguments, whatever quotes and backslashes the name has. */
static void test_method(void **state)
{
	static const char *const bodies[][2] = {
		{ "#[\"plain\",[\"secret\"]]", "plain" }, { "#[\"\",[\"secret\"]]", "" },
		{ "#[\"a\\\"b\",[\"secret\"]]", "a\\\"b" }, { "#[\"a\\\\\",[\"secret\"]]", "a\\\\" },
		{ "#[\"\\\\\\\"\\\\\",[\"secret\"]]", "\\\\\\\"\\\\" }, { "#\"secret\"", "" },
		{ "#[\"123456789 123456789 123456789 123456789 123456789 123456789 1234\",[\"secret\"]]",
		  "123456789 123456789 123456789 123456789 123456789 123456789 1234" },
		{ "#[\"123456789 123456789 123456789 123456789 123456789 123456789 123\\\\45\",[\"secret\"]]",
		  "123456789 123456789 123456789 123456789 123456789 123456789 123\\" },
	};
	kref_t a;

	(void)state;
	cluster("a");
	a = root("a");
	for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
		pass_over();
		host_send(a, bodies[i][0], NULL, 0, false);
		world_settle();
		takes("a", words("message o+0 %s [] -", bodies[i][0]));
		shows(words("crank v1 message %s (%s) applied 0", ref(a), bodies[i][1]), NULL);
	}
}

/* Settling: by the vat, by the kernel, by being forwarded. */
static void test_resolve(void **state)
{
	kref_t p, q, b;

	(void)state;
	cluster("ab");
	b = root("b");
	act("a", "send o-1 #m [] p+1", NULL);
	p = kref_of("a", "p+1");
	act("a", "subscribe p+1", NULL);
	expect("b", "message o+0 #m [] p-1");
	pass_over();
	/* A promise of its own, forwarded to; then that is rejected. */
	play("b", "send o+0 #n [] p+1", "resolve p-1 ref #0 [p+1]", "done", NULL);
	q = kref_of("b", "p+1");
	shows(words("crank v2 message %s () applied 2", ref(root("b"))), words("resolve v2 %s to %s 2", ref(p), ref(q)), NULL);
	expect("b", "message o+0 #n [] p+1");
	play("b", "resolve p+1 rej #why []", "done", NULL);
	shows(words("crank v2 message %s () applied 1", ref(root("b"))), words("resolve v2 %s 4", ref(q)),
	      words("resolve v2 %s 4", ref(p)), NULL);
	expect("a", "notify p+1 rej #why []");
	play("a", "done", NULL);
	shows(words("crank v1 notify %s () applied 0", ref(p)), words("gone %s", ref(p)), words("gone %s", ref(q)), NULL);
	/* What was sent to nobody is the kernel's to reject. */
	act("a", "send o-1 #m [] p+2", "subscribe p+2", NULL);
	p = kref_of("a", "p+2");
	free(next_delivery(raw_named("b")));
	pass_over();
	terminate("b");
	shows(words("status v2 4 by the test"), words("crank v2 message %s () abandoned 0: by the test", ref(b)),
	      words("resolve k %s 4", ref(p)), "death v2 1 by the test", NULL);
}

/* An object from hand to hand until nobody knows it: the actions, and its end. */
static void test_gc(void **state)
{
	kref_t o9;

	(void)state;
	cluster("ab");
	act("a", "send o-1 #m [o+9] -", NULL);
	takes("b", "message o+0 #m [o-1] -");
	o9 = kref_of("a", "o+9");
	pass_over();
	act("b", "drop o-1", "retimp o-1", NULL);
	shows(words("crank v2 message %s () applied 2", ref(root("b"))), NULL);
	assert_int_equal(slot("a").work, LIVE_WORK_DROP_EXPORTS);
	assert_int_equal(slot("a").n_items, 0);
	takes("a", "dropExports o+9");
	takes("a", "retireExports o+9");
	shows(words("crank v1 dropExports %s () applied 0", ref(o9)), words("gc v1 dropExports %s 1", ref(o9)),
	      words("crank v1 retireExports %s () applied 0", ref(o9)), words("gc v1 retireExports %s 1", ref(o9)),
	      words("gone %s", ref(o9)), NULL);
}

/* What is in a vat's slot besides its cranks. */
static void test_flags(void **state)
{
	uint64_t number;

	(void)state;
	cluster("ab");
	poke("a");
	say("a", "wakeme", NULL);
	world_run();
	assert_int_equal(slot("a").flags, LIVE_F_WAKE);
	play("a", "done", NULL);
	assert_int_equal(slot("a").flags, 0);
	assert_int_equal(slot("a").work, LIVE_WORK_WAKE);
	takes("a", "wake");
	must(vat_restart(&world->k, vat_named("a")));
	assert_int_equal(slot("a").flags, LIVE_F_SWEEPING);
	assert_int_equal(slot("a").proc, LIVE_PROC_DYING);
	world_run();
	assert_int_equal(slot("a").flags, 0);
	assert_int_equal(slot("a").proc, LIVE_PROC_ALIVE);
	assert_int_equal(slot("a").work, LIVE_WORK_START);
	number = vat_named("b")->number;
	assert_int_equal(page()->n_slots, number + 1);
	/* Sent ahead: one batch. */
	play("b", "hello 1 8", NULL);
	for (int i = 0; i < 12; i++)
		host_send(root("b"), "#m", NULL, 0, false);
	for (int i = 0; i < 3; i++) {
		world_run();
		free(next_delivery(raw_named("b")));
		say("b", "done", NULL);
	}
	world_run();
	assert_in_range(slot("b").n_in_flight, 2, 8);
	assert_int_equal(slot("b").n_items, slot("b").n_in_flight);
	assert_int_equal(page()->kernel.n_in_flight, 2);
}

/* A subcluster goes: so do its slots. */
static void test_the_end(void **state)
{
	uint64_t sub;
	struct live_vat s;
	kref_t o;

	(void)state;
	cluster("a");
	o = root("a");
	sub = subcluster_of("a");
	pass_over();
	must(subcluster_terminate(&world->k, sub, "enough", NULL));
	world_run();
	assert_int_equal(live_vat_read(page(), 1, &s), LIVE_E_ABSENT);
	shows("status v1 4 enough", words("gone %s", ref(o)), "death v1 1 enough", "end", NULL);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    T(test_launch), T(test_in_flight), T(test_abandoned), T(test_method), T(test_resolve), T(test_gc), T(test_flags),
	    T(test_the_end),
	};

	return run_on_both("test_kernel_live", tests, ARRAY_LEN(tests));
}
