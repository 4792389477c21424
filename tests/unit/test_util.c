/* SPDX-License-Identifier: Apache-2.0 */
/* lib/util.c: escaping cannot be talked into raw control bytes, whatever the bytes and the room; log lines stay lines. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../../lib/util.h"

static void check_escape(const char *in, size_t len, const char *expected)
{
	char out[256];

	assert_int_equal(escape_bytes(out, sizeof(out), in, len), strlen(expected));
	assert_string_equal(out, expected);
}

static void test_escape_text(void **state)
{
	(void)state;
	check_escape("plain text", 10, "plain text");
	check_escape("", 0, "");
	check_escape("a\nb\tc\\d\re", 9, "a\\nb\\tc\\\\d\\x0de");
	check_escape("\0\033[31m\177", 7, "\\x00\\x1b[31m\\x7f");
	check_escape("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 9, "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80");
}

static void test_escape_bad_utf8(void **state)
{
	(void)state;
	check_escape("\xc2\x9b", 2, "\\xc2\\x9b");		/* C1: CSI */
	check_escape("\xc2\xa0", 2, "\xc2\xa0");		/* the first after C1 */
	check_escape("\xc0\xaf", 2, "\\xc0\\xaf");		/* overlong */
	check_escape("\xe0\x9f\xbf", 3, "\\xe0\\x9f\\xbf");
	check_escape("\xf0\x8f\xbf\xbf", 4, "\\xf0\\x8f\\xbf\\xbf");
	check_escape("\xed\xa0\x80", 3, "\\xed\\xa0\\x80");	/* surrogate */
	check_escape("\xed\x9f\xbf", 3, "\xed\x9f\xbf");
	check_escape("\xf4\x90\x80\x80", 4, "\\xf4\\x90\\x80\\x80");
	check_escape("\xf4\x8f\xbf\xbf", 4, "\xf4\x8f\xbf\xbf");
	check_escape("\xe2\x82", 2, "\\xe2\\x82");		/* cut short */
	check_escape("\xe2\x28\xa1", 3, "\\xe2(\\xa1");
	check_escape("\xe2\x80\xae", 3, "\\xe2\\x80\\xae");	/* U+202E: what follows is shown backwards */
	check_escape("\xe2\x80\xa7\xe2\x80\xaf", 6, "\xe2\x80\xa7\xe2\x80\xaf");	/* beside them */
	check_escape("\xd8\x9c\xef\xbb\xbf", 5, "\\xd8\\x9c\\xef\\xbb\\xbf");
	check_escape("\xf3\xa0\x81\xbf\xf3\xa0\x82\x80", 8, "\\xf3\\xa0\\x81\\xbf\xf3\xa0\x82\x80");
	check_escape("\x80\xff", 2, "\\x80\\xff");
}

/* For every room: NUL-terminated, a prefix of the whole, cut between escapes, the same answer. */
static void test_escape_cut(void **state)
{
	static const char in[] = "a\n\x01\xe2\x82\xac\xff\\z";
	char whole[64], out[64];
	size_t need = escape_bytes(whole, sizeof(whole), in, sizeof(in) - 1);

	(void)state;
	assert_int_equal(need, strlen(whole));
	assert_int_equal(escape_bytes(NULL, 0, in, sizeof(in) - 1), need);
	for (size_t size = 1; size <= need + 1; size++) {
		memset(out, 'X', sizeof(out));
		assert_int_equal(escape_bytes(out, size, in, sizeof(in) - 1), need);
		assert_true(strlen(out) < size);
		assert_memory_equal(out, whole, strlen(out));
		assert_true((uint8_t)whole[strlen(out)] < 0x80 || (uint8_t)whole[strlen(out)] >= 0xc0);
		assert_int_equal(out[size], 'X');
	}
	assert_string_equal(out, whole);
}

static void test_escape_every_byte(void **state)
{
	char out[16];

	(void)state;
	for (unsigned int first = 0; first < 256; first++) {
		for (unsigned int second = 0; second < 256; second++) {
			uint8_t in[2] = { (uint8_t)first, (uint8_t)second };

			escape_bytes(out, sizeof(out), in, 2);
			for (const char *p = out; *p; p++) {
				assert_true((uint8_t)*p >= 0x20 && *p != 0x7f);
				assert_false((uint8_t)*p == 0xc2 && (uint8_t)p[1] < 0xa0);
			}
		}
	}
}

/* What log_line() writes to stderr, by way of a pipe. */
static size_t capture(char *out, size_t size, enum log_level level, const char *text)
{
	int fds[2], saved = dup(STDERR_FILENO);
	ssize_t n;

	assert_int_equal(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
	assert_true(dup2(fds[1], STDERR_FILENO) >= 0);
	log_line(level, "%s", text);
	assert_true(dup2(saved, STDERR_FILENO) >= 0);
	n = read(fds[0], out, size - 1);
	close(saved);
	close(fds[0]);
	close(fds[1]);
	n = n < 0 ? 0 : n;
	out[n] = '\0';
	return (size_t)n;
}

static void test_log(void **state)
{
	char out[8192], longer[6000];

	(void)state;
	unsetenv("JOURNAL_STREAM");
	unsetenv("CAPSTAN_DEBUG");
	log_init("prog[part]");
	capture(out, sizeof(out), LOG_LEVEL_WARNING, "hello");
	assert_string_equal(out, "prog[part]: hello\n");
	assert_int_equal(capture(out, sizeof(out), LOG_LEVEL_DEBUG, "hidden"), 0);
	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	assert_int_equal(capture(out, sizeof(out), LOG_LEVEL_ERROR, longer), 4096);
	assert_int_equal(out[4095], '\n');
	setenv("CAPSTAN_DEBUG", "1", 1);
	log_init("prog");
	capture(out, sizeof(out), LOG_LEVEL_DEBUG, "shown");
	assert_string_equal(out, "prog: shown\n");
}

static void test_error_trace(void **state)
{
	(void)state;
	assert_int_equal(error_trace(0), 0);
	assert_int_equal(error_trace(3), 3);
	assert_int_equal(error_origin(EIO), -EIO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_escape_text),
		cmocka_unit_test(test_escape_bad_utf8),
		cmocka_unit_test(test_escape_cut),
		cmocka_unit_test(test_escape_every_byte),
		cmocka_unit_test(test_log),
		cmocka_unit_test(test_error_trace),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
