/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The services timer and random, played by hand (kernel_harness.h), with clocks that stand still until the test moves them. Each
 * test runs on both kinds of store; the counts are recounted after every step.
 */
#include "kernel_steps.h"

#include <poll.h>

#include "../../broker/promise.h"
#include "../../broker/service.h"

#define START_MS UINT64_C(1800000000000)

uint64_t __wrap_now_realtime_us(void);
uint64_t __wrap_now_boottime_us(void);
uint64_t __real_now_realtime_us(void);
uint64_t __real_now_boottime_us(void);
static uint64_t wall_us, steady_us;
uint64_t __wrap_now_realtime_us(void) { return wall_us; }
uint64_t __wrap_now_boottime_us(void) { return steady_us; }

static void pass_ms(uint64_t ms)
{
	wall_us += ms * 1000;
	steady_us += ms * 1000;
}

/* The clock goes on and the kernel looks at it. */
static void later(uint64_t ms)
{
	pass_ms(ms);
	world_run();
}

static kref_t service(const char *name)
{
	kref_t ref;

	assert_int_equal(service_find(&world->k, name, &ref), 0);
	return ref;
}

/* A call from outside. */
static kref_t ask(const char *name, const char *body, const kref_t *slots, size_t n)
{
	kref_t p = host_send(service(name), body, slots, n, true);

	world_run();
	return p;
}

static size_t n_calls(void) { return world->k.n_service_queue; }

static void expect_time(kref_t promise, uint64_t ms)
{
	char want[40];

	snprintf(want, sizeof(want), "data #%llu []", (unsigned long long)ms);
	expect_promise(promise, want);
}

static void expect_refused(const char *name, const char *body, const char *text)
{
	char want[400];

	snprintf(want, sizeof(want), "rej #{\"#error\":\"%s\",\"name\":\"TypeError\"} []", text);
	expect_promise(ask(name, body, NULL, 0), want);
}

#define CANCELLED "rej #{\"#error\":\"[CANCELLED] the call of the timer was cancelled\",\"name\":\"Error\"} []"

/* Three vats; a has the timer as o-3 and b as o-1. */
static void setup_timer(void)
{
	wall_us = START_MS * 1000;
	steady_us = 5000000;
	cluster("ab");
	assert_string_equal(give("a", service("timer")), "o-3");
}

/* S9: each method at its time, once */
static void test_methods(void **state)
{
	kref_t delay, at, past, wake, handler;

	(void)state;
	setup_timer();
	handler = root("b");
	expect_time(ask("timer", "#[\"now\",[]]", NULL, 0), START_MS);
	delay = ask("timer", "#[\"delay\",[1500]]", NULL, 0);
	at = ask("timer", "#[\"wakeAt\",[1800000001000]]", NULL, 0);
	past = ask("timer", "#[\"wakeAt\",[\"+5\"]]", NULL, 0);
	wake = ask("timer", "#[\"setWakeup\",[1800000002000.5,\"$0.Alleged: b\"]]", &handler, 1);
	expect_time(past, START_MS);
	expect_promise(delay, "unresolved");
	expect_promise(at, "unresolved");
	assert_int_equal(n_calls(), 3);
	later(999);
	expect_promise(at, "unresolved");
	later(1);
	expect_time(at, START_MS + 1000);
	expect_promise(delay, "unresolved");
	later(600);
	expect_time(delay, START_MS + 1600);
	later(400);
	expect_nothing();
	later(1); /* half a millisecond is not early */
	expect_promise(wake, "unresolved");
	expect("b", "message o+0 #[\"wake\",[1800000002001]] [] p-1");
	play("b", "resolve p-1 data #ok []", "done", NULL);
	expect_promise(wake, "data #ok []"); /* who answers wake answers the call */
	assert_int_equal(n_calls(), 0);
	later(UINT64_C(1) << 40);
	expect_nothing();
}

/* S9, L1: what is no argument */
static void test_arguments(void **state)
{
	static const char *const no_times[] = { "", "-1", "\"#NaN\"", "\"#Infinity\"", "\"5\"", "null", "true", "[]", "{}", "\"-5\"",
						"\"#undefined\"", "\"+\"", "\"$0\"", "\"%s\"" };
	char body[100];
	size_t i;

	(void)state;
	setup_timer();
	for (i = 0; i < ARRAY_LEN(no_times); i++) {
		snprintf(body, sizeof(body), "#[\"delay\",[%s]]", no_times[i]);
		expect_refused("timer", body, "timer.delay: argument 1: expected a finite number of milliseconds, not negative");
	}
	expect_refused("timer", "#[\"wakeAt\",[]]", "timer.wakeAt: argument 1: expected a finite number of milliseconds, not negative");
	expect_refused("timer", "#[\"setWakeup\",[1]]", "timer.setWakeup: argument 2: expected an object to be sent wake(time)");
	expect_refused("timer", "#[\"delay\",[1,2]]", "timer.delay: argument 2: expected an object as token");
	expect_refused("timer", "#[\"cancel\",[]]", "timer.cancel: argument 1: expected an object as token");
	expect_refused("timer", "#[\"fly\",[]]", "timer.fly: no such method; there are now, delay, wakeAt, setWakeup and cancel");
	expect_refused("timer", "#[\"\\u001b\",[]]", "timer.\\\\x1b: no such method; there are now, delay, wakeAt, setWakeup and cancel");
	expect_refused("timer", "#[\"now\",5]", "timer.now: the arguments are not an array of smallcaps values");
	expect_refused("timer", "#[\"now\"]", "timer.now: the arguments are not an array of smallcaps values");
	expect_refused("timer", "#[1,[]]", "the message is not a method call");
	assert_int_equal(n_calls(), 0);
	/* As far as there are numbers, and nothing overflows. */
	ask("timer", "#[\"delay\",[1e308]]", NULL, 0);
	ask("timer", "#[\"wakeAt\",[1e308]]", NULL, 0);
	ask("timer", "#[\"wakeAt\",[9007199254740993]]", NULL, 0);
	later(UINT64_C(1) << 50);
	assert_int_equal(n_calls(), 3);
}

/* S9: by token, of one's own calls only */
static void test_cancel(void **state)
{
	kref_t b, outside[2];

	(void)state;
	setup_timer();
	b = root("b");
	outside[0] = ask("timer", "#[\"delay\",[50,\"$0\"]]", &b, 1);
	give("a", b); /* o-1 already */
	act("a", "send o-3 #[\"delay\",[10,\"$0\"]] [o+7] p+1", "send o-3 #[\"wakeAt\",[1e15,\"$0\"]] [o+7] p+2",
	    "send o-3 #[\"setWakeup\",[1e15,\"$1\",\"$0\"]] [o+7 o+0] p+3", "send o-3 #[\"delay\",[20,\"$0\"]] [o+8] p+4",
	    "send o-3 #[\"delay\",[20,\"$0\"]] [o-1] p+5", "send o-3 #[\"delay\",[20,\"#undefined\"]] [] p+6", NULL);
	assert_int_equal(n_calls(), 7);
	act("a", "send o-3 #[\"cancel\",[\"$0\"]] [o+7] p+9", NULL);
	expect_promise(kref_of("a", "p+9"), "data #3 []");
	takes("a", "dropExports o+7"); /* G1: nothing of the calls is left */
	takes("a", "retireExports o+7");
	expect_promise(kref_of("a", "p+1"), CANCELLED);
	expect_promise(kref_of("a", "p+2"), CANCELLED);
	expect_promise(kref_of("a", "p+3"), CANCELLED);
	assert_int_equal(n_calls(), 4);
	/* The same token, and somebody else's call. */
	outside[1] = ask("timer", "#[\"cancel\",[\"$0\"]]", &b, 1);
	expect_promise(outside[1], "data #1 []");
	expect_promise(outside[0], CANCELLED);
	expect_promise(kref_of("a", "p+5"), "unresolved");
	act("a", "send o-3 #[\"cancel\",[\"$0\"]] [o+7] p+10", NULL);
	expect_promise(kref_of("a", "p+10"), "data #0 []");
	later(1000);
	expect_time(kref_of("a", "p+4"), START_MS + 1000);
	expect_time(kref_of("a", "p+5"), START_MS + 1000);
	expect_time(kref_of("a", "p+6"), START_MS + 1000);
	assert_int_equal(n_calls(), 0);
	assert_int_equal(vat_named("a")->row.n_calls, 0);
}

/* S9, V9: over the death of the broker, once */
static void test_restart(void **state)
{
	kref_t a = KREF_NONE;

	(void)state;
	setup_timer();
	act("a", "send o-3 #[\"setWakeup\",[1800000005000,\"$0\",\"$1\"]] [o+0 o+d7.1] -", "send o-3 #[\"delay\",[5000]] [] -",
	    "send o-3 #[\"setWakeup\",[1800000005000,\"$0\"]] [o+0] -", NULL);
	a = root("a");
	world_crash();
	assert_int_equal(n_calls(), 3);
	world_run();
	start_up("a");
	start_up("b");
	later(4999);
	expect_nothing();
	/* The index was built anew, the token is found again. */
	host_send(a, "#poke", NULL, 0, false);
	world_run();
	expect("a", "message o+0 #poke [] -");
	play("a", "send o-3 #[\"cancel\",[\"$0\"]] [o+d7.1] -", "done", NULL);
	assert_int_equal(n_calls(), 2);
	pass_ms(1);
	world_step(); /* fired, and not committed */
	world_crash();
	world_run();
	start_up("a");
	start_up("b");
	assert_int_equal(n_calls(), 0);
	takes("a", "dropExports o+d7.1");
	takes("a", "retireExports o+d7.1");
	expect("a", "message o+0 #[\"wake\",[1800000005000]] [] -");
	play("a", "done", NULL);
	world_crash();
	later(100000);
	start_up("a");
	start_up("b");
	expect_nothing(); /* once */
}

/* S9: the clock is set, forwards and backwards, while the broker runs and while it does not */
static void test_clock(void **state)
{
	kref_t delay, at;

	(void)state;
	setup_timer();
	world->no_keep = true;
	delay = ask("timer", "#[\"delay\",[1000]]", NULL, 0);
	at = ask("timer", "#[\"wakeAt\",[1800000001000]]", NULL, 0);
	wall_us += 3600000000; /* an hour forwards: the point in time is past, the delay is as long as it was */
	world_run();
	assert_true(host_settled(at));
	assert_false(host_settled(delay));
	later(1000);
	assert_true(host_settled(delay));
	delay = ask("timer", "#[\"delay\",[1000]]", NULL, 0);
	wall_us -= 7200000000; /* two backwards */
	later(1000);
	assert_true(host_settled(delay));
	/* With the broker dead only the wall clock tells; a delay waits its length at most. */
	act("a", "send o-3 #[\"delay\",[1000]] [] -", NULL);
	wall_us -= 7200000000;
	world_crash();
	world_run();
	assert_int_equal(n_calls(), 1);
	later(999);
	assert_int_equal(n_calls(), 1);
	later(1);
	assert_int_equal(n_calls(), 0);
}

/* S9, V5: a call ends with its vat, not with its process */
static void test_sender_ends(void **state)
{
	kref_t promise;

	(void)state;
	setup_timer();
	act("a", "send o-3 #[\"delay\",[1000]] [] p+1", "subscribe p+1", "send o-3 #[\"delay\",[1000,\"$0\"]] [o-1] -",
	    "send o-1 #look [p+1] -", NULL);
	takes("b", "message o+0 #look [p-1] -");
	promise = kref_of("a", "p+1");
	restart("a");
	start_up("a");
	assert_int_equal(n_calls(), 2);
	terminate("a");
	assert_int_equal(n_calls(), 0);
	expect_promise(promise, "krej " KERR("VAT_TERMINATED", "the caller is terminated") " []");
	later(5000);
	expect_nothing();
}

/* Nor does a call wait that comes when its vat is gone already: it was waiting for a promise. */
static void test_late_call(void **state)
{
	kref_t timer;

	(void)state;
	setup_timer();
	timer = service("timer");
	assert_string_equal(give("b", timer), "o-1");
	act("a", "send o-1 #whichTimer [] p+1", "send p+1 #[\"delay\",[1e15]] [] p+2", "send p+1 #[\"now\",[]] [] p+3", NULL);
	expect("b", "message o+0 #whichTimer [] p-1");
	terminate("a");
	play("b", "resolve p-1 ref #r [o-1]", "done", NULL);
	assert_int_equal(n_calls(), 0);
}

/* V7, L1: many, due at the same moment; each is answered, in rounds of bounded work */
static void test_many(void **state)
{
	const char *said[52];
	size_t i, rounds = 0;
	bool did = true;

	(void)state;
	setup_timer();
	for (i = 0; i < 50; i++)
		said[i] = i % 2 ? "send o-3 #[\"delay\",[1000]] [] -" : "send o-3 #[\"wakeAt\",[1800000001000]] [] -";
	said[50] = "done";
	said[51] = NULL;
	for (i = 0; i < 21; i++) {
		poke("a");
		say_list("a", said);
		world_step();
	}
	world_run();
	assert_int_equal(n_calls(), 1000); /* R5: and fifty were refused */
	pass_ms(1000);
	for (; did; rounds++)
		must(service_pump(&world->k, &did));
	assert_int_equal(rounds, 1001); /* one at a time */
	world_run();
	assert_int_equal(n_calls(), 0);
}

/* The loop is woken: its only clock is real, so this one wakeup is, too. */
static void test_alarm(void **state)
{
	struct pollfd p = { .events = POLLIN };

	(void)state;
	setup_timer();
	wall_us = __real_now_realtime_us();
	steady_us = __real_now_boottime_us();
	p.fd = world->k.loop.epoll_fd;
	ask("timer", "#[\"delay\",[60]]", NULL, 0);
	if (poll(&p, 1, 0)) /* not early; a slow machine may be late */
		assert_true(__real_now_boottime_us() >= steady_us + 60000);
	assert_int_equal(poll(&p, 1, 10000), 1);
	assert_true(__real_now_boottime_us() >= steady_us + 60000);
	later(60);
	assert_int_equal(n_calls(), 0);
}

/* X1, S9: a handler that cannot be reached, and a timer that was revoked */
static void test_unreachable(void **state)
{
	kref_t gone, wake, waits, b;

	(void)state;
	setup_timer();
	b = root("b");
	wake = ask("timer", "#[\"setWakeup\",[1800000001000,\"$0\"]]", &b, 1);
	waits = ask("timer", "#[\"delay\",[2000]]", NULL, 0);
	terminate("b");
	revoke_ref(service("timer"));
	gone = ask("timer", "#[\"now\",[]]", NULL, 0);
	expect_promise(gone, "krej " REVOKED " []");
	later(1000);
	expect_promise(wake, "krej " UNREACHABLE " []");
	later(1000);
	expect_time(waits, START_MS + 2000); /* it was called before */
}

/* --- random ------------------------------------------------------------------------------------------------ */

/* What an answer says, without its mark; static. */
static const char *answer_of(const char *body)
{
	static char text[3000];
	struct capdata value;

	assert_int_equal(promise_value(&world->k, ask("random", body, NULL, 0), &value), 0);
	assert_true(value.n_slots == 0 && value.body_len < sizeof(text) && value.body[0] == '#');
	memcpy(text, value.body + 1, value.body_len - 1);
	text[value.body_len - 1] = '\0';
	return text;
}

/* S10 */
static void test_random(void **state)
{
	static const char *const limits[] = { "", "0", "-1", "9007199254740993.5e1", "\"#NaN\"", "\"7\"" };
	unsigned seen[3] = { 0 }, i;
	char body[100], first[100];
	double d;

	(void)state;
	setup_timer();
	world->no_keep = false;
	snprintf(first, sizeof(first), "%s", answer_of("#[\"bytes\",[16]]"));
	assert_int_equal(strlen(first), 34);
	assert_int_equal(strspn(first + 1, "0123456789abcdef"), 32);
	assert_string_not_equal(answer_of("#[\"bytes\",[16]]"), first);
	assert_int_equal(strlen(answer_of("#[\"bytes\",[\"+1024\"]]")), 2050);
	expect_refused("random", "#[\"bytes\",[1025]]", "random.bytes: argument 1: expected how many bytes, 1 to 1024");
	expect_refused("random", "#[\"bytes\",[1.5]]", "random.bytes: argument 1: expected a whole number");
	for (i = 0; i < 100; i++) {
		d = strtod(answer_of("#[\"integer\",[3]]"), NULL);
		assert_true(d == 0 || d == 1 || d == 2);
		seen[(int)d]++;
	}
	assert_true(seen[0] && seen[1] && seen[2]);
	assert_string_equal(answer_of("#[\"integer\",[1]]"), "0");
	for (i = 0; i < 20; i++) {
		d = strtod(answer_of("#[\"integer\",[9007199254740992]]"), NULL);
		assert_true(d >= 0 && d < 9007199254740992.0);
	}
	for (i = 0; i < ARRAY_LEN(limits); i++) {
		snprintf(body, sizeof(body), "#[\"integer\",[%s]]", limits[i]);
		expect_refused("random", body, "random.integer: argument 1: expected a limit, 1 to 2^53");
	}
	assert_memory_equal(answer_of("#[\"uint64\",[]]"), "\"+", 2);
	expect_refused("random", "#[\"dice\",[]]", "random.dice: no such method; there are bytes, integer and uint64");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_methods), T(test_arguments), T(test_cancel), T(test_restart), T(test_clock), T(test_sender_ends),
		T(test_late_call), T(test_many), T(test_alarm), T(test_unreachable), T(test_random),
	};

	return run_on_both("test_kernel_timer", tests, ARRAY_LEN(tests));
}
