/* SPDX-License-Identifier: Apache-2.0 */
/* The example vats as processes, with the test as their kernel. */
#include "vat_kernel.h"

static void exec_vat(const void *name)
{
	char self[4096], path[8192];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	if (n <= 0)
		_exit(98);
	self[n] = 0;
	*strrchr(self, '/') = 0;
	*strrchr(self, '/') = 0;
	snprintf(path, sizeof(path), "%s/vats/%s", self, (const char *)name);
	execl(path, (const char *)name, (char *)NULL);
	_exit(97);
}

static const char *start(struct vat_kernel *k, const char *name, const char *parameters)
{
	return start_vat(k, exec_vat, name, parameters);
}

/* The counter counts, in its baggage; the launch answer is a reference. */
static void test_counter(void **state)
{
	struct vat_kernel *k = *state;
	assert_string_equal(start(k, "counter", "#\"#undefined\""), "");
	assert_string_equal(message(k, "o+0", "p-1", "#[\"bootstrap\",[{\"counter\":\"$0\"},{}]]", "o+0"),
			    "resolve p-1 ref #\"$0.Alleged: Counter\" o+0");
	assert_string_equal(message(k, "o+0", "p-2", "#[\"increment\",[]]", ""),
			    "set baggage.count #1\nresolve p-2 #1");
	/* from the second on nothing is read: one packet in, one packet out */
	assert_string_equal(message(k, "o+0", "p-3", "#[\"increment\",[41]]", ""),
			    "set baggage.count #42\nresolve p-3 #42");
	assert_int_equal(k->n_packets, 1);
	assert_int_equal(k->n_reads, 0);
	assert_string_equal(message(k, "o+0", "p-4", "#[\"get\",[]]", ""), "resolve p-4 #42");
	kill_vat(k);
	assert_string_equal(start(k, "counter", ""), "");
	assert_string_equal(message(k, "o+0", "p-5", "#[\"get\",[]]", ""), "resolve p-5 #42");
	assert_string_equal(message(k, "o+0", "", "#[\"increment\",[]]", ""), "set baggage.count #43");
}

/* A caller's mistakes reject that one call, with a sentence. */
static void test_counter_mistakes(void **state)
{
	struct vat_kernel *k = *state;
	start(k, "counter", "#\"#undefined\"");
	assert_string_equal(message(k, "o+0", "p-1", "#[\"decrement\",[]]", ""),
			    "resolve p-1 rejected #{\"#error\":\"Counter has no method \\\"decrement\\\"\",\"name\":\"TypeError\"}");
	assert_string_equal(message(k, "o+0", "p-2", "#[\"increment\",[\"x\"]]", ""),
			    "resolve p-2 rejected #{\"#error\":\"Counter.increment: argument 1 must be an integer, not a string "
			    "(\\\"x\\\")\",\"name\":\"TypeError\"}");
	assert_string_equal(message(k, "o+0", "p-3", "#[\"increment\",[1.5]]", ""),
			    "resolve p-3 rejected #{\"#error\":\"Counter.increment: argument 1 must be an integer within 2^53, not a "
			    "number (1.5)\",\"name\":\"TypeError\"}");
	assert_string_equal(message(k, "o+0", "p-4", "#[\"increment\",[1,2]]", ""),
			    "resolve p-4 rejected #{\"#error\":\"Counter.increment: takes at most 1 argument\",\"name\":\"TypeError\"}");
	static const char *const bodies[] = { "", "#", "x", "#[", "#[\"get\"]", "#[\"get\",[],1]", "#[1,[]]", "#{}",
					      "#[\"get\",[]] x", "[\"get\",[]]", "#[\"#undefined\",[]]" };
	for (size_t i = 0; i < ARRAY_LEN(bodies); i++)
		assert_string_equal(message(k, "o+0", "p-5", bodies[i], ""),
				    "resolve p-5 rejected #{\"#error\":\"the message's body is not smallcaps of [method, "
				    "[argument\xe2\x80\xa6]]\",\"name\":\"TypeError\"}");
	assert_string_equal(message(k, "o+0", "p-6", "#[\"get\",[]]", ""), "resolve p-6 #0");
}

/* Pipelining, a promise passed before it is settled, an answer that comes when all is done. */
static void test_alice(void **state)
{
	struct vat_kernel *k = *state;
	assert_string_equal(start(k, "alice", "#{\"greeting\":\"Hello\"}"), "");
	assert_string_equal(message(k, "o+0", "p-1",
				    "#[\"bootstrap\",[{\"alice\":\"$0\",\"bob\":\"$1\",\"carol\":\"$2\"},{}]]", "o+0 o-1 o-2"),
			    "send o-2 p+1 #[\"makeGreeter\",[\"Hello\"]]\n"
			    "send p+1 p+2 #[\"greet\",[\"Bob\"]]\n"
			    "send o-1 p+3 #[\"listen\",[\"&0\",\"$1\"]] p+2 o-2\n"
			    "subscribe p+3");
	assert_string_equal(notify(k, "p+3", 0, "#{\"answer\":\"a\",\"heard\":\"h\"}", ""),
			    "resolve p-1 #{\"bobHeard\":\"h\",\"carolAnswered\":\"a\"}");
}

static void test_alice_fails(void **state)
{
	struct vat_kernel *k = *state;
	start(k, "alice", "#{}");
	message(k, "o+0", "p-1", "#[\"bootstrap\",[{\"bob\":\"$0\",\"carol\":\"$1\"},{}]]", "o-1 o-2");
	assert_string_equal(notify(k, "p+3", WIRE_R_REJECTED | WIRE_R_KERNEL,
				   "#{\"#error\":\"[KERNEL:VAT_TERMINATED] gone\",\"name\":\"Error\"}", ""),
			    "resolve p-1 rejected #{\"#error\":\"the greeting failed: [KERNEL:VAT_TERMINATED] gone\",\"name\":\"Error\"}");
}

static void test_bob(void **state)
{
	struct vat_kernel *k = *state;
	start(k, "bob", "#\"#undefined\"");
	assert_string_equal(message(k, "o+0", "p-1", "#[\"listen\",[\"&0\",\"$1\"]]", "p-2 o-1"),
			    "subscribe p-2");
	assert_string_equal(notify(k, "p-2", 0, "#\"Hello, Bob!\"", ""),
			    "send o-1 p+1 #[\"thank\",[\"Bob\"]]\nsubscribe p+1");
	assert_string_equal(notify(k, "p+1", 0, "#\"fine\"", ""), "resolve p-1 #{\"answer\":\"fine\",\"heard\":\"Hello, Bob!\"}");
	/* nothing holds Carol any more */
	assert_string_equal(collect(k, WIRE_BRING_OUT_YOUR_DEAD, ""), "dropImports o-1\nretireImports o-1");
}

/* V5: a durable object has the same name and state after a restart. */
static void test_carol(void **state)
{
	struct vat_kernel *k = *state;
	start(k, "carol", "#\"#undefined\"");
	assert_string_equal(message(k, "o+0", "p-1", "#[\"makeGreeter\",[\"Hello\"]]", ""),
			    "set kinds 1\nset kind.Greeter 1 word:str n_greeted:i64\n"
			    "set exported.o+d1.1 reachable\n"
			    "resolve p-1 ref #\"$0.Alleged: Greeter\" o+d1.1\n"
			    "set object.o+d1.1 #{\"word\":\"Hello\",\"n_greeted\":0}\nset instance 1");
	kill_vat(k);
	start(k, "carol", "#\"#undefined\"");
	assert_string_equal(message(k, "o+d1.1", "p-2", "#[\"greet\",[\"Bob\"]]", ""),
			    "resolve p-2 #\"Hello, Bob!\"\nset object.o+d1.1 #{\"word\":\"Hello\",\"n_greeted\":1}");
	/* dropped by the kernel and held by nobody: gone */
	assert_string_equal(collect(k, WIRE_DROP_EXPORTS, "o+d1.1"),
			    "set exported.o+d1.1 recognizable\nretireExports o+d1.1\ndelete exported.o+d1.1\n"
			    "delete object.o+d1.1");
	assert_string_equal(message(k, "o+0", "p-3", "#[\"makeGreeter\",[\"Hi\"]]", ""),
			    "set exported.o+d1.2 reachable\nresolve p-3 ref #\"$0.Alleged: Greeter\" o+d1.2\n"
			    "set object.o+d1.2 #{\"word\":\"Hi\",\"n_greeted\":0}\nset instance 2");
}

/* V5: the notify of a call reaches the incarnation that did not make it, and the count goes on. */
static void test_caller(void **state)
{
	struct vat_kernel *k = *state;
	start(k, "caller", "#\"#undefined\"");
	message(k, "o+0", "p-1", "#[\"bootstrap\",[{\"caller\":\"$0\",\"counter\":\"$1\"},{}]]", "o+0 o-1");
	assert_string_equal(message(k, "o+0", "p-2", "#[\"run\",[3]]", ""),
			    "send o-1 p+1 #[\"increment\",[]]\nsubscribe p+1\nresolve p-2 #2\n"
			    "set object.o+0 #{\"counter\":\"$0\",\"issued\":1,\"acked\":0,\"refused\":0,\"wanted\":2,\"waiting\":true}\no-1\n"
			    "set when.p+1 when o+0 acknowledged\ncatch o+0 rejected\n");
	kill_vat(k);
	k->next_promise = 2;
	start(k, "caller", "#\"#undefined\"");
	assert_string_equal(notify(k, "p+1", 0, "#1", ""),
			    "delete when.p+1\nsend o-1 p+2 #[\"increment\",[]]\nsubscribe p+2\n"
			    "set object.o+0 #{\"counter\":\"$0\",\"issued\":2,\"acked\":1,\"refused\":0,\"wanted\":1,\"waiting\":true}\no-1\n"
			    "set when.p+2 when o+0 acknowledged\ncatch o+0 rejected\n");
	/* an abandoned crank: the notify comes again to a third incarnation with the state before it */
	assert_string_equal(notify(k, "p+2", WIRE_R_REJECTED, "#{\"#error\":\"x\",\"name\":\"Error\"}", ""),
			    "delete when.p+2\nsend o-1 p+3 #[\"increment\",[]]\nsubscribe p+3\n"
			    "set object.o+0 #{\"counter\":\"$0\",\"issued\":3,\"acked\":1,\"refused\":1,\"wanted\":0,\"waiting\":true}\no-1\n"
			    "set when.p+3 when o+0 acknowledged\ncatch o+0 rejected\n");
	notify(k, "p+3", 0, "#2", "");
	assert_string_equal(message(k, "o+0", "p-3", "#[\"report\",[]]", ""),
			    "resolve p-3 #{\"acked\":2,\"issued\":3,\"refused\":1,\"wanted\":0}");
	/* the counter is in saved state: it stays, also for an incarnation that has not touched it */
	kill_vat(k);
	start(k, "caller", "#\"#undefined\"");
	k->imports[0].bits = vref_bits("o-1");
	k->imports[1].bits = vref_bits("o-2");
	k->imports[2].bits = vref_bits("o-5");
	k->reachable[0] = k->reachable[2] = true;
	k->n_imports = 3;
	assert_string_equal(collect(k, WIRE_BRING_OUT_YOUR_DEAD, ""), "dropImports o-5\nretireImports o-2 o-5");
	assert_string_equal(collect(k, WIRE_BRING_OUT_YOUR_DEAD, ""), "");
}

static void test_ping_and_shutdown(void **state)
{
	struct vat_kernel *k = *state;
	start(k, "counter", "#\"#undefined\"");
	wire_begin(&k->out, WIRE_PING, 0, 0);
	wire_u64(&k->out, 77);
	wire_end(&k->out);
	send_out(k);
	assert_true(listen_to_vat(k, true));
	assert_string_equal(k->said, "pong 77");
	wire_begin(&k->out, WIRE_SHUTDOWN, 0, 0);
	wire_end(&k->out);
	send_out(k);
	assert_false(listen_to_vat(k, false));
	assert_true(WIFEXITED(k->status) && WEXITSTATUS(k->status) == 0);
}

/* A packet that is no frame ends the vat with a line on its log, not with a crash. */
static void test_garbage(void **state)
{
	struct vat_kernel *k = *state;
	start(k, "counter", "#\"#undefined\"");
	assert_int_equal(send(k->fd, "garbage!garbage!", 16, MSG_NOSIGNAL), 16);
	assert_false(listen_to_vat(k, false));
	assert_true(WIFEXITED(k->status) && WEXITSTATUS(k->status) == 1);
	assert_non_null(strstr(k->logged, "from the kernel"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, vat_kernel_setup, vat_kernel_teardown)
		T(test_counter), T(test_counter_mistakes), T(test_alice), T(test_alice_fails), T(test_bob), T(test_carol),
		T(test_caller), T(test_ping_and_shutdown), T(test_garbage),
	};
	return cmocka_run_group_tests_name("vats", tests, NULL, NULL);
}
