/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Waiting for descriptors and for time (vatd/lib/watch.c), in the test library, where the clock stands still. How it goes in
 * a jailed process is in tests/system/vats.sh.
 */
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <capstan/vat_test.h>

/* --- a vat that waits for what it is told ----------------------------------------------------------- */

typedef struct { int64_t id, n_greedy; } waiter;

VAT_METHOD(waiter, init)
{
	vat_read(v, "?i", &self->id);
	return 0;
}

VAT_METHOD(waiter, watch)
{
	int64_t fd, events;
	const char *method = "readable";
	vat_read(v, "ii?s", &fd, &events, &method);
	return vat_watch(v, (int)fd, (short)events, self, method);
}

VAT_METHOD(waiter, unwatch)
{
	int64_t fd;
	vat_read(v, "i", &fd);
	vat_unwatch(v, (int)fd);
	return 0;
}

VAT_METHOD(waiter, after)
{
	int64_t ms;
	const char *method = "rang";
	vat_read(v, "i?s", &ms, &method);
	uint64_t number = vat_after(v, (uint64_t)ms, self, method);
	return number ? vat_return(v, "i", (int64_t)number) : -1;
}

VAT_METHOD(waiter, cancel)
{
	int64_t number;
	vat_read(v, "i", &number);
	vat_cancel(v, (uint64_t)number);
	return 0;
}

static int the_fd;	/* which the programs below read */

VAT_METHOD(waiter, readable)
{
	char buf[8] = "";
	int64_t revents;
	vat_read(v, "i", &revents);
	ssize_t n = revents & POLLIN ? read(the_fd, buf, sizeof(buf) - 1) : 0;
	vat_log(v, "%d: revents %d, read %zd \"%s\"", (int)self->id, (int)revents, n, buf);
	if (revents & POLLHUP && n == 0)
		vat_unwatch(v, the_fd);
	return 0;
}

/* Leaves it full, so that it stays ready. */
VAT_METHOD(waiter, greedy)
{
	self->n_greedy++;
	return 0;
}

VAT_METHOD(waiter, greeted)
{
	return vat_return(v, "i", self->n_greedy);
}

VAT_METHOD(waiter, stop)
{
	vat_unwatch(v, the_fd);
	vat_log(v, "stopped");
	return vat_fail(v, "Error", "on purpose");
}

VAT_METHOD(waiter, rang)
{
	int64_t number;
	vat_read(v, "i", &number);
	vat_log(v, "%d: timer %d", (int)self->id, (int)number);
	return 0;
}

VAT_METHOD(waiter, again)
{
	vat_log(v, "again");
	vat_after(v, 0, self, "rang");
	return 0;
}

static const vat_kind Ephemeral = { "Ephemeral", sizeof(waiter), VAT_INIT(init),
	VAT_METHODS({ "watch", "ii?s", NULL, watch }, { "after", "i?s", NULL, after }, { "rang", NULL, NULL, rang },
		    { "readable", NULL, NULL, readable }) };
static const vat_kind Durable = { "Durable", sizeof(waiter), VAT_STATE(VAT_I64(waiter, id)), VAT_INIT(init),
	VAT_METHODS({ "watch", "ii?s", NULL, watch }, { "after", "i?s", NULL, after }, { "cancel", "i", NULL, cancel }),
	VAT_CONTINUATIONS({ "rang", "i", NULL, rang }, { "readable", "i", NULL, readable }) };

/* Objects that nothing but their waiting keeps. */
VAT_METHOD(waiter, make)
{
	const char *what;
	int64_t ms;
	vat_read(v, "si", &what, &ms);
	vat_ref *r = vat_new(v, strcmp(what, "durable") ? &Ephemeral : &Durable, "i", ms);
	void *state = r ? vat_state(v, r, strcmp(what, "durable") ? &Ephemeral : &Durable) : NULL;
	return state && vat_after(v, (uint64_t)ms, state, "rang") ? 0 : -1;
}

VAT_METHOD(waiter, bootstrap) { return 0; }

static const vat_kind Root = { "Root", sizeof(waiter),
	VAT_METHODS({ "bootstrap", NULL, NULL, bootstrap }, { "watch", "ii?s", NULL, watch }, { "unwatch", "i", NULL, unwatch },
		    { "after", "i?s", NULL, after }, { "cancel", "i", NULL, cancel }, { "make", "si", NULL, make },
		    { "greeted", "", "i", greeted }),
	VAT_CONTINUATIONS({ "readable", "i", NULL, readable }, { "rang", "i", NULL, rang }, { "greedy", "i", NULL, greedy },
			  { "stop", "i", NULL, stop }, { "again", "i", NULL, again }) };
#define VAT_PROGRAM_NAME waiter_program
VAT_PROGRAM(&Root, &Durable);

/* --- the tests --------------------------------------------------------------------------------------- */

static int pipes[2];

static int setup(void **state)
{
	vat_test *t = vat_test_new();
	vat_test_add(t, "w", &waiter_program, NULL);
	vat_test_launch(t);
	*state = t;
	if (pipe2(pipes, O_NONBLOCK | O_CLOEXEC) < 0)
		return -1;
	the_fd = pipes[0];
	return 0;
}

static int teardown(void **state)
{
	vat_test_free(*state);
	close(pipes[0]);
	close(pipes[1]);
	return 0;
}

static void put(const char *text)
{
	assert_int_equal(write(pipes[1], text, strlen(text)), strlen(text));
}

static void test_watch(void **state)
{
	vat_test *t = *state;
	assert_string_equal(vat_test_call(t, "w", "watch", "[%d, %d]", the_fd, POLLIN), "undefined");
	assert_false(vat_test_wake(t));
	put("0123456789");
	assert_string_equal(vat_test_log(t, "w"), "");	/* not before it is woken */
	assert_true(vat_test_wake(t));
	assert_string_equal(vat_test_log(t, "w"), "0: revents 1, read 7 \"0123456\"\n");
	/* there is more */
	assert_true(vat_test_wake(t));
	assert_false(vat_test_wake(t));
	assert_non_null(strstr(vat_test_log(t, "w"), "read 3 \"789\"\n"));
	put("x");
	close(pipes[1]);
	pipes[1] = -1;
	assert_true(vat_test_wake(t));
	assert_true(vat_test_wake(t));	/* the end, at which it stops */
	assert_false(vat_test_wake(t));
	assert_non_null(strstr(vat_test_log(t, "w"), "revents 16, read 0 \"\"\n"));
}

/* Messages have their turn beside a descriptor that is always ready. */
static void test_busy(void **state)
{
	vat_test *t = *state;
	vat_test_call(t, "w", "watch", "[%d, %d, \"greedy\"]", the_fd, POLLIN);
	put("x");
	for (int i = 1; i <= 50; i++) {
		char text[20];
		assert_true(vat_test_wake(t));
		snprintf(text, sizeof(text), "%d", i);
		assert_string_equal(vat_test_call(t, "w", "greeted", "[]"), text);
	}
}

static void test_unwatch(void **state)
{
	vat_test *t = *state;
	vat_test_call(t, "w", "watch", "[%d, %d]", the_fd, POLLIN);
	vat_test_call(t, "w", "unwatch", "[%d]", the_fd);
	vat_test_call(t, "w", "unwatch", "[%d]", the_fd);
	put("x");
	assert_false(vat_test_wake(t));
	/* in its own method, which fails as well */
	vat_test_call(t, "w", "watch", "[%d, %d, \"stop\"]", the_fd, POLLIN);
	assert_true(vat_test_wake(t));
	assert_false(vat_test_wake(t));
	assert_string_equal(vat_test_log(t, "w"), "stopped\ncontinuation Root.stop failed: Error: on purpose\n");
	/* two descriptors, of which the first's method ends the second's watch */
	int other[2];
	assert_int_equal(pipe2(other, O_CLOEXEC), 0);
	vat_test_call(t, "w", "watch", "[%d, %d, \"stop\"]", other[0], POLLIN);
	vat_test_call(t, "w", "watch", "[%d, %d]", the_fd, POLLIN);
	assert_int_equal(write(other[1], "y", 1), 1);
	assert_true(vat_test_wake(t));
	assert_null(strstr(vat_test_log(t, "w"), "revents"));
	vat_test_call(t, "w", "unwatch", "[%d]", other[0]);
	close(other[0]);
	close(other[1]);
}

static void test_closed(void **state)
{
	vat_test *t = *state;
	int fd = dup(the_fd);
	vat_test_call(t, "w", "watch", "[%d, %d]", fd, POLLIN);
	close(fd);
	assert_true(vat_test_wake(t));
	assert_false(vat_test_wake(t));
	char text[200];
	snprintf(text, sizeof(text), "descriptor %d was closed while it was watched; it is watched no more\n"
		 "0: revents 32, read 0 \"\"\n", fd);
	assert_string_equal(vat_test_log(t, "w"), text);
}

static void test_mistakes(void **state)
{
	vat_test *t = *state;
	char text[100];
	vat_test_call(t, "w", "watch", "[%d, 1]", the_fd);
	snprintf(text, sizeof(text), "Error: vat_watch(): descriptor %d is watched already", the_fd);
	assert_string_equal(vat_test_call(t, "w", "watch", "[%d, 1]", the_fd), text);
	assert_string_equal(vat_test_call(t, "w", "watch", "[999, 1]"), "Error: vat_watch(): descriptor 999 is not open");
	assert_string_equal(vat_test_call(t, "w", "watch", "[-1, 1]"), "Error: vat_watch(): descriptor -1 is not open");
	assert_string_equal(vat_test_call(t, "w", "watch", "[%d, 1, \"nothing\"]", pipes[1]),
			    "TypeError: vat_watch(): Root has no continuation or method \"nothing\"");
	assert_string_equal(vat_test_call(t, "w", "after", "[1, \"nothing\"]"),
			    "TypeError: vat_after(): Root has no continuation or method \"nothing\"");
	/* whichever it is, one of these is its channel */
	bool refused = false;
	for (int fd = 3; fd < 64; fd++)
		refused |= strstr(vat_test_call(t, "w", "watch", "[%d, 0]", fd), "is the channel to the kernel") != NULL;
	assert_true(refused);
}

static void test_timers(void **state)
{
	vat_test *t = *state;
	assert_string_equal(vat_test_call(t, "w", "after", "[3600000]"), "1");
	assert_string_equal(vat_test_call(t, "w", "after", "[1000]"), "2");
	assert_string_equal(vat_test_call(t, "w", "after", "[1000]"), "3");
	assert_string_equal(vat_test_call(t, "w", "after", "[500]"), "4");
	assert_string_equal(vat_test_call(t, "w", "after", "[9007199254740991]"), "5");
	vat_test_call(t, "w", "cancel", "[4]");
	vat_test_call(t, "w", "cancel", "[4]");
	vat_test_call(t, "w", "cancel", "[77]");
	assert_true(vat_test_wake(t));
	assert_string_equal(vat_test_log(t, "w"), "0: timer 2\n0: timer 3\n");
	assert_true(vat_test_wake(t));
	assert_string_equal(vat_test_log(t, "w"), "0: timer 2\n0: timer 3\n0: timer 1\n");
	vat_test_call(t, "w", "cancel", "[5]");
	assert_false(vat_test_wake(t));
	/* one that is set for now, by a timer: in a wake of its own */
	vat_test_call(t, "w", "after", "[0, \"again\"]");
	assert_true(vat_test_wake(t));
	assert_string_equal(vat_test_log(t, "w") + strlen("0: timer 2\n") * 3, "again\n");
	assert_true(vat_test_wake(t));
	assert_string_equal(vat_test_log(t, "w") + strlen("0: timer 2\n") * 3, "again\n0: timer 7\n");
	assert_false(vat_test_wake(t));
}

/* More than one wake runs. */
static void test_many_timers(void **state)
{
	vat_test *t = *state;
	uint64_t x = 1;
	for (int i = 0; i < 1000; i++) {
		x = x * 6364136223846793005u + 1442695040888963407u;
		vat_test_call(t, "w", "after", "[%d]", (int)(x >> 33) % 7);
	}
	for (int i = 0; i < 1000; i += 3)
		vat_test_call(t, "w", "cancel", "[%d]", i + 1);
	while (vat_test_wake(t))
		;
	const char *line = vat_test_log(t, "w");
	int n = 0;
	for (; (line = strchr(line, '\n')); line++)
		n++;
	assert_int_equal(n, 1000 - 334);
}

/* What waits is kept, and then goes; after a restart all is forgotten. */
static void test_kept(void **state)
{
	vat_test *t = *state;
	static const char *const kinds[] = { "ephemeral", "durable" };
	vat_test_call(t, "w", "make", "[\"durable\", 10]");
	vat_test_wake(t);
	vat_test_reap(t, "w");
	size_t memory = vat_test_memory(t, "w"), keys = vat_test_store_keys(t, "w");
	for (int i = 0; i < 2; i++) {
		vat_test_call(t, "w", "make", "[\"%s\", 10]", kinds[i]);
		vat_test_reap(t, "w");
		assert_true(vat_test_memory(t, "w") > memory);
		assert_true(vat_test_wake(t));
		assert_non_null(strstr(vat_test_log(t, "w"), "10: timer"));
		vat_test_reap(t, "w");
		assert_int_equal(vat_test_memory(t, "w"), memory);
		assert_int_equal(vat_test_store_keys(t, "w"), keys);
	}
	vat_test_call(t, "w", "make", "[\"ephemeral\", 10]");
	vat_test_call(t, "w", "make", "[\"durable\", 10]");
	vat_test_call(t, "w", "watch", "[%d, %d]", the_fd, POLLIN);
	put("x");
	vat_test_restart(t, "w");
	assert_false(vat_test_wake(t));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_watch), TEST(test_busy), TEST(test_unwatch), TEST(test_closed), TEST(test_mistakes),
		TEST(test_timers), TEST(test_many_timers), TEST(test_kept),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
