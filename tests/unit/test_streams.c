/* SPDX-License-Identifier: Apache-2.0 */
/* Streams between vats, on the real kernel (capstan/vat_test.h): back-pressure, restarts of either side, what is left. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <capstan/vat_test.h>

/* --- who writes ----------------------------------------------------------------------------------- */

typedef struct { vat_ref *sink, *writer, *late; } source;

VAT_METHOD(source, bootstrap)
{
	vat_read(v, "{sink:r}", &self->sink);
	vat_hold(v, self->sink);
	return 0;
}
VAT_METHOD(source, open_pipe)
{
	vat_ref *writer, *reader = vat_pipe(v, &writer);
	if (self->writer)
		vat_release(v, self->writer);
	self->writer = vat_hold(v, writer);
	vat_tell(v, self->sink, "read", "r", reader);
	return 0;
}
VAT_METHOD(source, put)
{
	vat_value *value;
	vat_read(v, "v", &value);
	return vat_return(v, "r", vat_stream_write(v, self->writer, "v", value));
}
VAT_METHOD(source, put_many)
{
	int64_t n;
	vat_read(v, "i", &n);
	for (int64_t i = 0; i < n; i++)
		vat_stream_write(v, self->writer, "i", i);
	return vat_return(v, "r", vat_stream_end(v, self->writer));
}
VAT_METHOD(source, finish) { return vat_return(v, "r", vat_stream_end(v, self->writer)); }
VAT_METHOD(source, spoil) { return vat_return(v, "r", vat_stream_fail(v, self->writer, "RangeError", "at %d", 7)); }
VAT_METHOD(source, drop)
{
	vat_release(v, self->writer);
	self->writer = NULL;
	return 0;
}
/* A promise for a reader, kept when the reader exists. */
VAT_METHOD(source, promise_reader)
{
	self->late = vat_hold(v, vat_promise_new(v));
	vat_tell(v, self->sink, "read", "r", self->late);
	return 0;
}
VAT_METHOD(source, keep_promise)
{
	vat_ref *writer, *reader = vat_pipe(v, &writer);
	self->writer = vat_hold(v, writer);
	vat_resolve(v, self->late, "r", reader);
	vat_release(v, self->late);
	return 0;
}

typedef struct { int64_t n; } counter;
VAT_METHOD(counter, produce)
{
	self->n++;
	return self->n % 5 ? vat_return(v, "i", self->n) : vat_stream_done(v, "s", "five");
}
VAT_METHOD(counter, stopped)
{
	vat_log(v, "stopped at %lld", (long long)self->n);
	return 0;
}
static const vat_kind Counter = { "Counter", sizeof(counter), VAT_STATE(VAT_I64(counter, n)),
	VAT_CONTINUATIONS({ "produce", NULL, NULL, produce }, { "stopped", NULL, NULL, stopped }) };
VAT_METHOD(source, open_counter)
{
	counter *c = vat_state(v, vat_new(v, &Counter, ""), &Counter);
	vat_tell(v, self->sink, "read", "r", vat_producer(v, c, "produce", "stopped"));
	return 0;
}
VAT_METHOD(source, lend_counter)
{
	counter *c = vat_state(v, vat_new(v, &Counter, ""), &Counter);
	return vat_return(v, "r", vat_producer(v, c, "produce", "stopped"));
}

static const vat_kind Source = { "Source", sizeof(source),
	VAT_METHODS({ "bootstrap", NULL, NULL, bootstrap }, { "openPipe", "", NULL, open_pipe }, { "put", "v", NULL, put },
		    { "putMany", "i", NULL, put_many }, { "finish", "", NULL, finish }, { "spoil", "", NULL, spoil },
		    { "drop", "", NULL, drop }, { "promiseReader", "", NULL, promise_reader }, { "keepPromise", "", NULL, keep_promise },
		    { "openCounter", "", NULL, open_counter }, { "lendCounter", "", "r", lend_counter }) };
static const vat_program source_program = { (const vat_kind *const[]){ &Source, &Counter, NULL } };

/* --- who reads ------------------------------------------------------------------------------------ */

typedef struct { int64_t n; bool slow, failing; vat_ref *gate; } sink;

VAT_METHOD(sink, read_all)
{
	vat_ref *reader;
	vat_read(v, "r", &reader);
	vat_stream_each(v, reader, self, "item", "end", "failed");
	return 0;
}
VAT_METHOD(sink, be_slow)
{
	bool slow;
	vat_read(v, "b", &slow);
	self->slow = slow;
	return 0;
}
VAT_METHOD(sink, be_failing)
{
	self->failing = true;
	return 0;
}
VAT_METHOD(sink, go_on)
{
	vat_resolve(v, self->gate, "");
	vat_release(v, self->gate);
	self->gate = NULL;
	return 0;
}
VAT_METHOD(sink, item)
{
	vat_value *value;
	vat_read(v, "v", &value);
	vat_log(v, "%lld: %s", (long long)++self->n, vat_value_text(v, value));
	if (self->failing)
		return vat_fail(v, "TypeError", "enough");
	if (!self->slow)
		return 0;
	self->gate = vat_hold(v, vat_promise_new(v));
	return vat_return(v, "r", self->gate);
}
VAT_METHOD(sink, end)
{
	vat_value *value;
	vat_read(v, "v", &value);
	vat_log(v, "end: %s", vat_value_text(v, value));
	return 0;
}
VAT_METHOD(sink, failed)
{
	vat_value *value;
	vat_read(v, "v", &value);
	vat_log(v, "failed: %s", vat_value_text(v, value));
	return 0;
}
static const vat_kind Sink = { "Sink", sizeof(sink), VAT_STATE(VAT_I64(sink, n)),
	VAT_METHODS({ "read", "r", NULL, read_all }, { "slow", "b", NULL, be_slow }, { "goOn", "", NULL, go_on },
		    { "fail", "", NULL, be_failing }),
	VAT_CONTINUATIONS({ "item", "v", NULL, item }, { "end", "v", NULL, end }, { "failed", "v", NULL, failed }) };
static const vat_program sink_program = { (const vat_kind *const[]){ &Sink, NULL } };

static int setup(void **state)
{
	vat_test *t = vat_test_new();
	vat_test_add(t, "source", &source_program, NULL);
	vat_test_add(t, "sink", &sink_program, NULL);
	vat_test_launch(t);
	*state = t;
	return 0;
}

static int teardown(void **state)
{
	vat_test_free(*state);
	return 0;
}

static void call(vat_test *t, const char *target, const char *method)
{
	assert_string_equal(vat_test_call(t, target, method, "[]"), "undefined");
}

/* The writer's answer comes when the reader has taken the value, and not before; both ends go when all is done. */
static void test_back_pressure(void **state)
{
	vat_test *t = *state;
	call(t, "source", "openPipe");
	call(t, "source", "drop");
	vat_test_run(t);
	for (int i = 0; i < 3; i++) {
		vat_test_reap(t, "sink");
		vat_test_reap(t, "source");
	}
	assert_string_equal(vat_test_log(t, "sink"), "failed: Error(\"Error\", \"the stream's writer is gone and has not ended it\")\n");
	size_t exports = vat_test_exports(t, "source"), imports = vat_test_imports(t, "sink"), memory = vat_test_memory(t, "source");
	size_t keys = vat_test_store_keys(t, "sink");

	vat_test_call(t, "sink", "slow", "[true]");
	call(t, "source", "openPipe");
	assert_string_equal(vat_test_call(t, "source", "put", "[\"a\"]"), "{done: false, value: undefined}");
	assert_string_equal(vat_test_call(t, "source", "put", "[{\"b\":2}]"), "(pending)");
	call(t, "sink", "goOn");
	assert_string_equal(vat_test_answer(t), "undefined");
	vat_test_call(t, "sink", "slow", "[false]");
	call(t, "sink", "goOn");
	assert_string_equal(vat_test_call(t, "source", "putMany", "[3]"), "{done: true, value: undefined}");
	assert_non_null(strstr(vat_test_log(t, "sink"), "1: \"a\"\n2: {b: 2}\n3: 0\n4: 1\n5: 2\nend: undefined\n"));
	call(t, "source", "drop");
	for (int i = 0; i < 3; i++) {
		vat_test_reap(t, "sink");
		vat_test_reap(t, "source");
	}
	assert_int_equal(vat_test_exports(t, "source"), exports);
	assert_int_equal(vat_test_imports(t, "sink"), imports);
	assert_true(vat_test_memory(t, "source") <= memory);
	assert_int_equal(vat_test_store_keys(t, "sink"), keys);
}

/* V5: the consumer is restarted in the middle; its object reads on. */
static void test_reader_restarts(void **state)
{
	vat_test *t = *state;
	call(t, "source", "openPipe");
	vat_test_call(t, "source", "put", "[1]");
	vat_test_restart(t, "sink");
	assert_string_equal(vat_test_call(t, "source", "put", "[2]"), "{done: false, value: undefined}");
	vat_test_kill(t, "sink");
	vat_test_reap(t, "sink");
	vat_test_call(t, "source", "put", "[3]");
	vat_test_call(t, "source", "spoil", "[]");
	assert_string_equal(vat_test_log(t, "sink"), "1: 1\n2: 2\nthe process died: killed by signal 9 (Killed)\n3: 3\n"
			    "failed: Error(\"RangeError\", \"at 7\")\n");
}

/* P8: the vat of the pipe dies: the reader's loop hears of it, from the kernel. */
static void test_writer_restarts(void **state)
{
	vat_test *t = *state;
	call(t, "source", "openPipe");
	vat_test_call(t, "source", "put", "[1]");
	vat_test_restart(t, "source");
	assert_non_null(strstr(vat_test_log(t, "sink"), "1: 1\nfailed: Error(\"Error\", \"[KERNEL:VAT_RESTARTED]"));
}

/* The item fails: the writer hears the reason once, then that it is over. */
static void test_reader_fails(void **state)
{
	vat_test *t = *state;
	call(t, "sink", "fail");
	call(t, "source", "openPipe");
	vat_test_call(t, "source", "put", "[1]");
	assert_string_equal(vat_test_call(t, "source", "put", "[2]"), "TypeError: enough");
	assert_string_equal(vat_test_call(t, "source", "put", "[3]"), "{done: true, value: undefined}");
	assert_string_equal(vat_test_log(t, "sink"), "1: 1\nfailed: Error(\"TypeError\", \"enough\")\n");
}

/* A durable producer keeps its place over a restart of its vat; and a reader that is promised. */
static void test_producers(void **state)
{
	vat_test *t = *state;
	char reader[40];
	call(t, "source", "openCounter");
	assert_string_equal(vat_test_log(t, "sink"), "1: 1\n2: 2\n3: 3\n4: 4\nend: \"five\"\n");
	snprintf(reader, sizeof(reader), "%s", vat_test_call(t, "source", "lendCounter", "[]"));
	assert_string_equal(vat_test_call(t, reader, "next", "[]"), "{done: false, value: 1}");
	vat_test_restart(t, "source");
	vat_test_reap(t, "source");
	assert_string_equal(vat_test_call(t, reader, "next", "[]"), "{done: false, value: 2}");
	assert_string_equal(vat_test_call(t, reader, "return", "[\"x\"]"), "{done: true, value: \"x\"}");
	assert_string_equal(vat_test_call(t, reader, "next", "[]"), "{done: true, value: undefined}");
	assert_non_null(strstr(vat_test_log(t, "source"), "stopped at 2"));
}

static void test_promised_reader(void **state)
{
	vat_test *t = *state;
	call(t, "source", "promiseReader");
	vat_test_restart(t, "sink");
	call(t, "source", "keepPromise");
	vat_test_call(t, "source", "put", "[1]");
	vat_test_call(t, "source", "finish", "[]");
	assert_string_equal(vat_test_log(t, "sink"), "1: 1\nend: undefined\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		T(test_back_pressure), T(test_reader_restarts), T(test_writer_restarts), T(test_reader_fails), T(test_producers),
		T(test_promised_reader),
	};
	return cmocka_run_group_tests_name("streams", tests, NULL, NULL);
}
