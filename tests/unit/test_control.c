/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control socket against good, clumsy and hostile clients (rule L1), in one process: the server's loop is run by
 * whoever waits, and an alarm ends a test that waits for what never comes. Teardown compares the open descriptors.
 */
#include "../../broker/control.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define MAX_LATER 20000

static struct fixture {
	char dir[90];
	struct sockaddr_un address;
	struct loop loop;
	struct control *control;
	struct control_request *later[MAX_LATER];
	size_t n_later;
	unsigned n_counted, n_gone;
	int kept_fd;
	int n_fds_before;
	bool flush_by_hand;
	struct control_server *server;
	char answers[400];	/* of whom serves, as text */
	unsigned n_drained, n_lost;
} f;

/* --- methods ---------------------------------------------------------------------------------------------- */

static int do_echo(void *ctx, struct control_request *r, json_t *params, int *fds, size_t n_fds)
{
	(void)fds;
	(void)n_fds;
	assert_ptr_equal(ctx, &f);
	control_reply(r, params ? json_incref(params) : json_null());
	return 0;
}

static int do_later(void *ctx, struct control_request *r, json_t *params, int *fds, size_t n_fds)
{
	(void)ctx;
	(void)params;
	(void)fds;
	(void)n_fds;
	assert_true(f.n_later < MAX_LATER);
	f.later[f.n_later++] = r;
	return 0;
}

static int do_count(void *ctx, struct control_request *r, json_t *params, int *fds, size_t n_fds)
{
	f.n_counted++;
	return do_echo(ctx, r, params, fds, n_fds);
}

/* How many descriptors came, and the text of each (they are files of one letter). */
static int do_fds(void *ctx, struct control_request *r, json_t *params, int *fds, size_t n_fds)
{
	json_t *texts = json_array();

	(void)ctx;
	(void)params;
	for (size_t i = 0; i < n_fds; i++) {
		char c = '?';

		assert_true(fcntl(fds[i], F_GETFD) & FD_CLOEXEC);
		if (pread(fds[i], &c, 1, 0) != 1)
			c = '?';
		json_array_append_new(texts, json_stringn(&c, 1));
	}
	control_reply(r, texts);
	return 0;
}

static int do_take(void *ctx, struct control_request *r, json_t *params, int *fds, size_t n_fds)
{
	assert_true(n_fds >= 1);
	f.kept_fd = fds[n_fds - 1];
	fds[n_fds - 1] = -1;
	return do_echo(ctx, r, params, fds, n_fds);
}

static int do_big(void *ctx, struct control_request *r, json_t *params, int *fds, size_t n_fds)
{
	size_t n = (size_t)json_integer_value(json_array_get(params, 0));
	char *text = malloc(n + 1);

	(void)ctx;
	(void)fds;
	(void)n_fds;
	assert_non_null(text);
	memset(text, 'x', n);
	control_reply(r, json_stringn(text, n));
	free(text);
	return 0;
}

static int do_fail(void *ctx, struct control_request *r, json_t *params, int *fds, size_t n_fds)
{
	(void)ctx;
	(void)params;
	(void)fds;
	(void)n_fds;
	control_error(r, CONTROL_KERNEL_ERROR, "OBJECT_DELETED", "%s", "ko4\x1b[2J\xff");
	return 0;
}

static int do_nothing(void *ctx, struct control_request *r, json_t *params, int *fds, size_t n_fds)
{
	(void)ctx;
	(void)params;
	(void)fds;
	(void)n_fds;
	control_reply(r, NULL);		/* as a method does that ran out of memory */
	return 0;
}

static int do_peer(void *ctx, struct control_request *r, json_t *params, int *fds, size_t n_fds)
{
	struct ucred peer;

	(void)ctx;
	(void)params;
	(void)fds;
	(void)n_fds;
	assert_true(control_request_peer(r, &peer));
	control_reply(r, json_pack("{s:i, s:i}", "pid", (int)peer.pid, "uid", (int)peer.uid));
	return 0;
}

static int on_answer(void *ctx, uint64_t id, const struct control_answer *a)
{
	char *result = a->result ? json_dumps(a->result, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
	size_t n = strlen(f.answers);

	assert_ptr_equal(ctx, &f.server);
	assert_int_equal(!!a->result + !!a->error + !!a->malformed, 1);
	snprintf(f.answers + n, sizeof(f.answers) - n, "%llu %s%s%s;", (unsigned long long)id, result ? result : "",
		 a->error ? a->error : "", a->malformed ? "malformed" : "");
	free(result);
	return id < 10 ? 0 : CONTROL_E_NO_REQUEST;
}

static void on_drained(void *ctx)
{
	assert_ptr_equal(ctx, &f.server);
	f.n_drained++;
}

static void on_lost(void *ctx)
{
	assert_ptr_equal(ctx, &f.server);
	f.n_lost++;
	f.server = NULL;
}

static int do_serve(void *ctx, struct control_request *r, json_t *params, int *fds, size_t n_fds)
{
	static const struct control_server_ops ops = { on_answer, on_drained, on_lost };

	assert_null(control_serving(r));
	f.server = control_serve(r, &ops, &f.server);
	assert_non_null(f.server);
	assert_ptr_equal(control_serving(r), &f.server);
	return do_echo(ctx, r, params, fds, n_fds);
}

static const struct control_method methods[] = {
	{ "echo", do_echo }, { "later", do_later }, { "count", do_count }, { "fds", do_fds }, { "take", do_take },
	{ "big", do_big }, { "fail", do_fail }, { "nothing", do_nothing }, { "peer", do_peer },
	{ "serve", do_serve }, { NULL, NULL },
};

/* --- fixture ---------------------------------------------------------------------------------------------- */

static int count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static int setup(void **state)
{
	int fd;

	(void)state;
	alarm(60);
	memset(&f, 0, sizeof(f));
	f.kept_fd = -1;
	f.n_fds_before = count_fds();
	snprintf(f.dir, sizeof(f.dir), "%s/control-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
	assert_non_null(mkdtemp(f.dir));
	f.address.sun_family = AF_UNIX;
	snprintf(f.address.sun_path, sizeof(f.address.sun_path), "%s/control.sock", f.dir);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&f.address, sizeof(f.address)), 0);
	assert_int_equal(listen(fd, 1000), 0);
	assert_int_equal(loop_init(&f.loop), 0);
	assert_int_equal(control_new(&f.control, &f.loop, fd, methods, &f), 0);
	return 0;
}

/* One round of the server; when nothing is ready it waits a moment for it, so that waiters do not spin. */
static void serve(void)
{
	assert_int_equal(loop_round(&f.loop, 20), 0);
	if (!f.flush_by_hand && control_has_output(f.control))
		assert_int_equal(control_flush(f.control), 0);
}

/* Until nothing is ready. */
static void serve_all(void)
{
	struct pollfd p = { .fd = f.loop.epoll_fd, .events = POLLIN };

	do
		serve();
	while (poll(&p, 1, 0) > 0);
}

static int client_new(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&f.address, sizeof(f.address)), 0);
	return fd;
}

static void client_send(int fd, const char *data, size_t len)
{
	while (len) {
		ssize_t n = send(fd, data, len, MSG_NOSIGNAL);

		if (n < 0) {
			assert_true(errno == EAGAIN);
			serve();
			continue;
		}
		data += n;
		len -= (size_t)n;
	}
}

static void client_line(int fd, const char *line)
{
	client_send(fd, line, strlen(line));
	client_send(fd, "\n", 1);
}

/* The next reply, parsed; NULL at the end of the connection. */
static json_t *client_reply(int fd)
{
	size_t len = 0, size = 1u << 16;
	char *line = malloc(size);
	json_t *json;

	assert_non_null(line);
	for (;;) {
		char c[4096];
		ssize_t n = recv(fd, c, sizeof(c), MSG_PEEK);
		char *newline = n > 0 ? memchr(c, '\n', (size_t)n) : NULL;
		size_t use = newline ? (size_t)(newline - c) + 1 : (size_t)(n > 0 ? n : 0);

		if (n < 0 && errno == EAGAIN) {
			serve();
			continue;
		}
		if (n <= 0) {
			assert_int_equal(len, 0);
			free(line);
			return NULL;
		}
		if (len + use > size)
			assert_non_null(line = realloc(line, size *= 2));
		assert_int_equal(recv(fd, line + len, use, 0), use);
		len += use;
		if (newline)
			break;
	}
	json = json_loadb(line, len - 1, JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(json);
	assert_string_equal(json_string_value(json_object_get(json, "jsonrpc")), "2.0");
	assert_non_null(json_object_get(json, "id"));
	assert_int_equal(!json_object_get(json, "result"), !!json_object_get(json, "error"));
	free(line);
	return json;
}

static void expect_end(int fd)
{
	assert_null(client_reply(fd));
	close(fd);
}

/* The next reply is this text, keys sorted. */
static void expect_reply(int fd, const char *expected)
{
	json_t *json = client_reply(fd);
	char *text;

	assert_non_null(json);
	text = json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS);
	assert_string_equal(text, expected);
	free(text);
	json_decref(json);
}

/* The next reply is an error with this code, id null, and these words in its message. */
static void expect_error(int fd, int code, const char *words)
{
	json_t *json = client_reply(fd), *error = json_object_get(json, "error");
	const char *message = json_string_value(json_object_get(error, "message"));

	assert_non_null(error);
	if (json_integer_value(json_object_get(error, "code")) != code || !strstr(message, words))
		fail_msg("expected %d \"%s\", got %lld \"%s\"", code, words,
			 (long long)json_integer_value(json_object_get(error, "code")), message);
	assert_true(json_is_null(json_object_get(json, "id")));
	json_decref(json);
}

/* That the server still serves, whatever came before. */
static void expect_alive(void)
{
	int fd = client_new();

	client_line(fd, "{\"jsonrpc\":\"2.0\",\"id\":\"alive\",\"method\":\"echo\",\"params\":[1]}");
	expect_reply(fd, "{\"id\":\"alive\",\"jsonrpc\":\"2.0\",\"result\":[1]}");
	close(fd);
	serve_all();
}

static void client_send_fds(int fd, const char *data, size_t len, const int *fds, size_t n_fds)
{
	union { struct cmsghdr align; char buf[CMSG_SPACE(256 * sizeof(int))]; } control;
	struct iovec iov = { .iov_base = (char *)(uintptr_t)data, .iov_len = len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.buf,
			      .msg_controllen = CMSG_SPACE(n_fds * sizeof(int)) };
	struct cmsghdr *cm = CMSG_FIRSTHDR(&msg);

	memset(&control, 0, sizeof(control));
	cm->cmsg_level = SOL_SOCKET;
	cm->cmsg_type = SCM_RIGHTS;
	cm->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
	memcpy(CMSG_DATA(cm), fds, n_fds * sizeof(int));
	assert_int_equal(sendmsg(fd, &msg, MSG_NOSIGNAL), len);
}

/* A file of one letter. */
static int letter_file(char c)
{
	int fd = open(f.dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, &c, 1), 1);
	return fd;
}

/* A descriptor to send, and one that reports when all its duplicates are closed. */
static int watched_pipe(int *watchp)
{
	int fds[2];

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	*watchp = fds[0];
	return fds[1];
}

/* The closing happens on a thread of the server, so this waits for the pipe's end. */
static void expect_closed(int watch)
{
	struct pollfd p = { .fd = watch, .events = POLLIN };
	char c;

	assert_int_equal(poll(&p, 1, 30000), 1);
	assert_int_equal(read(watch, &c, 1), 0);
	close(watch);
}

/* What clients sent is closed in turn: when this pipe is, all before it are. */
static void wait_for_closer(void)
{
	int fd = client_new(), watch, sent = watched_pipe(&watch);

	f.flush_by_hand = false;
	client_send_fds(fd, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"fds\"}\n", 40, &sent, 1);
	close(sent);
	expect_reply(fd, "{\"id\":1,\"jsonrpc\":\"2.0\",\"result\":[\"?\"]}");
	expect_closed(watch);
	close(fd);
	serve_all();
}

static int teardown(void **state)
{
	(void)state;
	if (f.control)
		wait_for_closer();
	f.control = control_free(f.control);
	loop_deinit(&f.loop);
	if (f.kept_fd >= 0)
		close(f.kept_fd);
	unlink(f.address.sun_path);
	rmdir(f.dir);
	alarm(0);
	return count_fds() == f.n_fds_before ? 0 : -1;
}

/* --- requests --------------------------------------------------------------------------------------------- */

static void test_ids(void **state)
{
	static const char *const ids[] = { "1", "-7", "1.5", "\"x\\u00e9\"", "null", "9007199254740993" };
	static const char *const shown[] = { "1", "-7", "1.5", "\"x\xc3\xa9\"", "null", "9007199254740993" };
	int fd = client_new();

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
		char line[200];

		snprintf(line, sizeof(line), "{\"jsonrpc\":\"2.0\",\"id\":%s,\"method\":\"echo\",\"params\":{\"a\":[]}}",
			 ids[i]);
		client_line(fd, line);
		snprintf(line, sizeof(line), "{\"id\":%s,\"jsonrpc\":\"2.0\",\"result\":{\"a\":[]}}", shown[i]);
		expect_reply(fd, line);
	}
	client_line(fd, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"echo\"}");
	expect_reply(fd, "{\"id\":1,\"jsonrpc\":\"2.0\",\"result\":null}");
	close(fd);
	serve_all();
}

static void test_notifications(void **state)
{
	int fd = client_new();

	(void)state;
	client_line(fd, "{\"jsonrpc\":\"2.0\",\"method\":\"count\"}");
	client_line(fd, "{\"jsonrpc\":\"2.0\",\"method\":\"fail\"}");
	client_line(fd, "{\"jsonrpc\":\"2.0\",\"method\":\"nothing\"}");
	client_line(fd, "{\"jsonrpc\":\"2.0\",\"method\":\"no such method\"}");
	client_line(fd, "");
	client_line(fd, "\r");
	client_line(fd, "{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"count\"}");
	expect_reply(fd, "{\"id\":2,\"jsonrpc\":\"2.0\",\"result\":null}");
	assert_int_equal(f.n_counted, 2);
	/* Carried out even when the client left at once. */
	client_line(fd, "{\"jsonrpc\":\"2.0\",\"method\":\"count\"}");
	close(fd);
	serve_all();
	assert_int_equal(f.n_counted, 3);
}

static void test_wrong_requests(void **state)	/* L1 */
{
	static const struct { const char *line; int code; const char *words; } cases[] = {
		{ "{", CONTROL_PARSE_ERROR, "parse error" },
		{ "hello", CONTROL_PARSE_ERROR, "parse error" },
		{ "{\"jsonrpc\":\"2.0\",\"id\":1,\"id\":1,\"method\":\"echo\"}", CONTROL_PARSE_ERROR, "duplicate" },
		{ "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"echo\"} x", CONTROL_PARSE_ERROR, "end of file" },
		{ "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ec\\u0000ho\"}", CONTROL_PARSE_ERROR, "" },
		{ "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\xff\xfe\"}", CONTROL_PARSE_ERROR, "0xff" },
		{ "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\\ud800\"}", CONTROL_PARSE_ERROR, "" },
		{ "{\"jsonrpc\":\"2.0\",\"id\":123456789012345678901234567890,\"method\":\"echo\"}",
		  CONTROL_PARSE_ERROR, "integer" },
		{ "{\"jsonrpc\":\"2.0\",\"id\":1e999,\"method\":\"echo\"}", CONTROL_PARSE_ERROR, "overflow" },
		{ "17", CONTROL_INVALID_REQUEST, "object" },
		{ "null", CONTROL_INVALID_REQUEST, "object" },
		{ "[]", CONTROL_INVALID_REQUEST, "batches" },
		{ "[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"echo\"}]", CONTROL_INVALID_REQUEST, "batches" },
		{ "{}", CONTROL_INVALID_REQUEST, "jsonrpc" },
		{ "{\"jsonrpc\":\"1.0\",\"id\":1,\"method\":\"echo\"}", CONTROL_INVALID_REQUEST, "jsonrpc" },
		{ "{\"jsonrpc\":2.0,\"id\":1,\"method\":\"echo\"}", CONTROL_INVALID_REQUEST, "jsonrpc" },
		{ "{\"jsonrpc\":\"2.0\",\"id\":{},\"method\":\"echo\"}", CONTROL_INVALID_REQUEST, "id" },
		{ "{\"jsonrpc\":\"2.0\",\"id\":true,\"method\":\"echo\"}", CONTROL_INVALID_REQUEST, "id" },
		{ "{\"jsonrpc\":\"2.0\",\"id\":1}", CONTROL_INVALID_REQUEST, "method" },
		{ "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":7}", CONTROL_INVALID_REQUEST, "method" },
		{ "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"echo\",\"params\":7}", CONTROL_INVALID_REQUEST, "params" },
		{ "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"echo\",\"params\":null}", CONTROL_INVALID_REQUEST, "params" },
		{ "{\"jsonrpc\":\"2.0\",\"id\":null,\"method\":\"\\u001b[2J\"}", CONTROL_METHOD_NOT_FOUND, "\\x1b" },
	};
	int fd = client_new();

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		client_line(fd, cases[i].line);
		expect_error(fd, cases[i].code, cases[i].words);
	}
	client_send(fd, "{\"jsonrpc\":\"2.0\",\0\"id\":1}\n", 26);
	expect_error(fd, CONTROL_PARSE_ERROR, "");
	client_line(fd, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"echo\",\"params\":[2]}");
	expect_reply(fd, "{\"id\":1,\"jsonrpc\":\"2.0\",\"result\":[2]}");
	close(fd);
	serve_all();
}

static void test_long_id(void **state)
{
	char line[600];
	int fd = client_new();

	(void)state;
	snprintf(line, sizeof(line), "{\"jsonrpc\":\"2.0\",\"id\":\"%0256d\",\"method\":\"echo\"}", 0);
	client_line(fd, line);
	json_decref(client_reply(fd));
	snprintf(line, sizeof(line), "{\"jsonrpc\":\"2.0\",\"id\":\"%0257d\",\"method\":\"echo\"}", 0);
	client_line(fd, line);
	expect_error(fd, CONTROL_INVALID_REQUEST, "id");
	close(fd);
	serve_all();
}

static void test_errors(void **state)
{
	int fd = client_new();

	(void)state;
	client_line(fd, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"fail\"}");
	/* Text that is not UTF-8 arrives escaped. */
	expect_reply(fd, "{\"error\":{\"code\":-32000,\"data\":{\"code\":\"OBJECT_DELETED\"},"
			 "\"message\":\"[OBJECT_DELETED] ko4\\\\x1b[2J\\\\xff\"},\"id\":1,\"jsonrpc\":\"2.0\"}");
	client_line(fd, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"nothing\"}");
	expect_reply(fd, "{\"error\":{\"code\":-32603,\"message\":\"the result could not be written\"},"
			 "\"id\":1,\"jsonrpc\":\"2.0\"}");
	close(fd);
	serve_all();
}

static void test_peer(void **state)
{
	char expected[200];
	int fd = client_new();

	(void)state;
	client_line(fd, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"peer\"}");
	snprintf(expected, sizeof(expected), "{\"id\":1,\"jsonrpc\":\"2.0\",\"result\":{\"pid\":%d,\"uid\":%d}}",
		 (int)getpid(), (int)getuid());
	expect_reply(fd, expected);
	close(fd);
	serve_all();
}

/* Bytes one at a time, then many requests at once: the cuts mean nothing. */
static void test_cuts(void **state)
{
	const char *line = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"echo\",\"params\":[\"\xc3\xa9\"]}\n";
	int fd = client_new();

	(void)state;
	for (const char *p = line; *p; p++) {
		client_send(fd, p, 1);
		serve();
	}
	expect_reply(fd, "{\"id\":1,\"jsonrpc\":\"2.0\",\"result\":[\"\xc3\xa9\"]}");
	for (int i = 0; i < 5000; i++)
		client_send(fd, line, strlen(line));
	for (int i = 0; i < 5000; i++)
		expect_reply(fd, "{\"id\":1,\"jsonrpc\":\"2.0\",\"result\":[\"\xc3\xa9\"]}");
	close(fd);
	serve_all();
}

static void test_held_until_flush(void **state)
{
	int fd = client_new();
	char c;

	(void)state;
	f.flush_by_hand = true;
	client_line(fd, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"echo\"}");
	assert_false(control_has_output(f.control));
	while (!control_has_output(f.control))
		serve();
	serve_all();
	assert_int_equal(recv(fd, &c, 1, 0), -1);
	assert_int_equal(errno, EAGAIN);
	assert_int_equal(control_flush(f.control), 0);
	assert_false(control_has_output(f.control));
	expect_reply(fd, "{\"id\":1,\"jsonrpc\":\"2.0\",\"result\":null}");
	close(fd);
	serve_all();
}

/* --- later answers, half-closed and closed connections ---------------------------------------------------- */

static void serve_until_later(size_t n)
{
	while (f.n_later < n)
		serve();
}

static void on_gone(void *arg)
{
	(void)arg;
	f.n_gone++;
}

static void on_gone_answer(void *arg)
{
	f.n_gone++;
	assert_true(control_request_is_gone(arg));
	control_reply(arg, json_true());
}

static void test_half_closed(void **state)
{
	int fd = client_new();

	(void)state;
	client_line(fd, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"later\"}");
	client_line(fd, "{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"echo\"}");
	shutdown(fd, SHUT_WR);
	expect_reply(fd, "{\"id\":2,\"jsonrpc\":\"2.0\",\"result\":null}");
	serve_until_later(1);
	control_request_on_gone(f.later[0], on_gone, NULL);
	serve_all();
	assert_false(control_request_is_gone(f.later[0]));
	control_reply(f.later[0], json_true());
	expect_reply(fd, "{\"id\":1,\"jsonrpc\":\"2.0\",\"result\":true}");
	expect_end(fd);
	assert_int_equal(f.n_gone, 0);
}

/* A half-closed connection whose last request is a notification ends when that is done, with nothing to send. */
static void test_half_closed_notification(void **state)
{
	int fd = client_new();

	(void)state;
	client_line(fd, "{\"jsonrpc\":\"2.0\",\"method\":\"later\"}");
	shutdown(fd, SHUT_WR);
	serve_until_later(1);
	serve_all();
	control_error(f.later[0], CONTROL_INTERNAL, NULL, "nobody reads this");
	expect_end(fd);
}

static void test_half_a_request(void **state)
{
	int fd = client_new();

	(void)state;
	client_send(fd, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"count\"}", 41);
	shutdown(fd, SHUT_WR);
	expect_error(fd, CONTROL_PARSE_ERROR, "newline");
	expect_end(fd);
	assert_int_equal(f.n_counted, 0);
}

static void test_gone(void **state)	/* L1 */
{
	int fd = client_new();

	(void)state;
	for (int i = 0; i < 4; i++)
		client_line(fd, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"later\"}");
	serve_until_later(4);
	control_request_on_gone(f.later[0], on_gone, NULL);
	control_request_on_gone(f.later[1], on_gone_answer, f.later[1]);
	close(fd);
	while (!f.n_gone)
		serve();
	serve_all();
	assert_int_equal(f.n_gone, 2);
	for (int i = 0; i < 4; i++)
		if (i != 1)
			assert_true(control_request_is_gone(f.later[i]));
	control_request_on_gone(f.later[2], on_gone, NULL);	/* late: told at once */
	assert_int_equal(f.n_gone, 3);
	control_reply(f.later[0], json_true());
	control_error(f.later[2], CONTROL_KERNEL_ERROR, "X", "y");
	/* later[3] is never answered: control_free() takes it */
	expect_alive();
}

/* A client that leaves without reading: what it asked for before is carried out, all of it. */
static void test_leaves_with_output_waiting(void **state)
{
	int fd = client_new();

	(void)state;
	client_line(fd, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"big\",\"params\":[3000000]}");
	serve_all();
	f.flush_by_hand = true;
	for (int i = 0; i < 3000; i++)
		client_line(fd, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"count\"}");
	close(fd);
	f.flush_by_hand = false;
	serve_all();
	assert_int_equal(f.n_counted, 3000);
	expect_alive();
}

static void test_free_with_open_requests(void **state)
{
	int fd = client_new(), other = client_new();

	(void)state;
	client_line(fd, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"later\"}");
	client_line(other, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"later\"}");
	client_send(other, "{\"half", 6);
	serve_until_later(2);
	serve_all();
	control_request_on_gone(f.later[0], on_gone, NULL);
	close(other);
	serve_all();
	f.control = control_free(f.control);
	assert_int_equal(f.n_gone, 0);
	expect_end(fd);
}

/* --- sizes ------------------------------------------------------------------------------------------------ */

static char *long_line(size_t len)
{
	static const char head[] = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"count\",\"params\":[\"";
	char *line = malloc(len + 2);

	assert_non_null(line);
	memset(line, 'x', len);
	memcpy(line, head, sizeof(head) - 1);
	strcpy(line + len - 3, "\"]}\n");
	return line;
}

static void test_longest_line(void **state)
{
	char *line = long_line(CONTROL_MAX_REQUEST);
	int fd = client_new();
	json_t *reply;

	(void)state;
	client_send(fd, line, CONTROL_MAX_REQUEST + 1);
	reply = client_reply(fd);
	assert_int_equal(json_string_length(json_array_get(json_object_get(reply, "result"), 0)),
			 CONTROL_MAX_REQUEST - 55);
	json_decref(reply);
	free(line);
	close(fd);
	serve_all();
}

static void test_too_long_line(void **state)	/* L1 */
{
	char *line = long_line(CONTROL_MAX_REQUEST + 1);
	int fd = client_new();

	(void)state;
	client_send(fd, line, CONTROL_MAX_REQUEST + 2);
	expect_error(fd, CONTROL_INVALID_REQUEST, "4194304");
	expect_end(fd);
	assert_int_equal(f.n_counted, 0);
	free(line);
	expect_alive();
}

/* One that never ends is refused as soon as it is too long; what follows is not read. */
static void test_endless_line(void **state)	/* L1 */
{
	int fd = client_new();
	char block[4096];
	ssize_t n;

	(void)state;
	memset(block, '[', sizeof(block));
	while ((n = send(fd, block, sizeof(block), MSG_NOSIGNAL)) >= 0 || errno == EAGAIN)
		serve();
	assert_true(errno == EPIPE || errno == ECONNRESET);
	expect_error(fd, CONTROL_INVALID_REQUEST, "4194304");
	close(fd);
	expect_alive();
}

static void test_deep_nesting(void **state)	/* L1 */
{
	char *line = malloc(2000001);
	int fd = client_new();

	(void)state;
	assert_non_null(line);
	memset(line, '[', 2000000);
	line[2000000] = '\n';
	client_send(fd, line, 2000001);
	expect_error(fd, CONTROL_PARSE_ERROR, "depth");
	for (int i = 0; i + 5 <= 2000000; i += 5)
		memcpy(line + i, "{\"a\":", 5);
	client_send(fd, line, 2000001);
	expect_error(fd, CONTROL_PARSE_ERROR, "depth");
	free(line);
	close(fd);
	expect_alive();
}

/* The most unanswered requests; one more is refused, and the connection goes on. */
static void test_pending(void **state)
{
	int fd = client_new();

	(void)state;
	for (unsigned i = 0; i < CONTROL_MAX_PENDING; i++)
		client_line(fd, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"later\"}");
	client_line(fd, "{\"jsonrpc\":\"2.0\",\"id\":null,\"method\":\"later\"}");
	expect_error(fd, CONTROL_KERNEL_ERROR, "TOO_MANY_REQUESTS");
	assert_int_equal(f.n_later, CONTROL_MAX_PENDING);
	for (unsigned i = 0; i < CONTROL_MAX_PENDING; i++)
		control_reply(f.later[i], json_true());
	for (unsigned i = 0; i < CONTROL_MAX_PENDING; i++)
		expect_reply(fd, "{\"id\":1,\"jsonrpc\":\"2.0\",\"result\":true}");
	client_line(fd, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"echo\"}");
	expect_reply(fd, "{\"id\":1,\"jsonrpc\":\"2.0\",\"result\":null}");
	close(fd);
	serve_all();
}

/* Who asks for much and reads nothing is closed; a neighbour is served all the while. */
static void test_never_reads(void **state)	/* L1 */
{
	static const char big[] = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"big\",\"params\":[3000000]}\n";
	int fd = client_new(), waiting = client_new();
	size_t n = 0;

	(void)state;
	client_line(waiting, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"later\"}");
	serve_until_later(1);
	while (send(fd, big, sizeof(big) - 1, MSG_NOSIGNAL) > 0 || errno == EAGAIN) {
		expect_alive();
		assert_true(++n < 1000);
	}
	assert_true(errno == EPIPE || errno == ECONNRESET);
	assert_true(n >= CONTROL_MAX_OUT / 3000100);
	control_reply(f.later[0], json_true());
	expect_reply(waiting, "{\"id\":1,\"jsonrpc\":\"2.0\",\"result\":true}");
	close(waiting);
	close(fd);
	serve_all();
}

/* A slow reader gets all of it, in order, though the server holds tens of megabytes meanwhile. */
static void test_slow_reader(void **state)
{
	int fd = client_new();

	(void)state;
	for (int i = 0; i < 20; i++) {
		char line[100];

		snprintf(line, sizeof(line), "{\"jsonrpc\":\"2.0\",\"id\":%d,\"method\":\"big\",\"params\":[%d]}", i,
			 1000000 + i);
		client_line(fd, line);
		serve_all();
	}
	for (int i = 0; i < 20; i++) {
		json_t *reply = client_reply(fd);

		assert_int_equal(json_integer_value(json_object_get(reply, "id")), i);
		assert_int_equal(json_string_length(json_object_get(reply, "result")), 1000000 + i);
		json_decref(reply);
	}
	close(fd);
	serve_all();
}

/* --- descriptors ------------------------------------------------------------------------------------------ */

static const char fds_line[] = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"fds\"}\n";

static void test_fds(void **state)
{
	int fd = client_new(), files[3] = { letter_file('a'), letter_file('b'), letter_file('c') };

	(void)state;
	client_send_fds(fd, fds_line, strlen(fds_line), files, 3);
	expect_reply(fd, "{\"id\":1,\"jsonrpc\":\"2.0\",\"result\":[\"a\",\"b\",\"c\"]}");
	client_send(fd, fds_line, strlen(fds_line));
	expect_reply(fd, "{\"id\":1,\"jsonrpc\":\"2.0\",\"result\":[]}");
	/* With the first byte of a line that comes in pieces. */
	client_send_fds(fd, fds_line, 5, files, 1);
	serve_all();
	client_send_fds(fd, fds_line + 5, 5, files + 1, 1);
	serve_all();
	client_send(fd, fds_line + 10, strlen(fds_line) - 10);
	expect_reply(fd, "{\"id\":1,\"jsonrpc\":\"2.0\",\"result\":[\"a\",\"b\"]}");
	for (int i = 0; i < 3; i++)
		close(files[i]);
	close(fd);
	serve_all();
}

/* Requests in front of the one with descriptors, and behind it, do not get what is not theirs. */
static void test_fds_find_their_request(void **state)
{
	int fd = client_new(), files[3] = { letter_file('a'), letter_file('b'), letter_file('c') };

	(void)state;
	client_send(fd, fds_line, strlen(fds_line));
	client_send(fd, fds_line, strlen(fds_line));
	client_send_fds(fd, fds_line, strlen(fds_line), files, 1);
	client_send_fds(fd, fds_line, strlen(fds_line), files + 1, 2);
	client_send(fd, fds_line, strlen(fds_line));
	client_send_fds(fd, fds_line, 7, files + 2, 1);
	client_send(fd, fds_line + 7, strlen(fds_line) - 7);
	client_send(fd, fds_line, strlen(fds_line));
	expect_reply(fd, "{\"id\":1,\"jsonrpc\":\"2.0\",\"result\":[]}");
	expect_reply(fd, "{\"id\":1,\"jsonrpc\":\"2.0\",\"result\":[]}");
	expect_reply(fd, "{\"id\":1,\"jsonrpc\":\"2.0\",\"result\":[\"a\"]}");
	expect_reply(fd, "{\"id\":1,\"jsonrpc\":\"2.0\",\"result\":[\"b\",\"c\"]}");
	expect_reply(fd, "{\"id\":1,\"jsonrpc\":\"2.0\",\"result\":[]}");
	expect_reply(fd, "{\"id\":1,\"jsonrpc\":\"2.0\",\"result\":[\"c\"]}");
	expect_reply(fd, "{\"id\":1,\"jsonrpc\":\"2.0\",\"result\":[]}");
	for (int i = 0; i < 3; i++)
		close(files[i]);
	close(fd);
	serve_all();
}

static void test_taken_fd(void **state)
{
	int fd = client_new(), watch, file = letter_file('k');
	int sent[2] = { watched_pipe(&watch), file };
	char c = 0;

	(void)state;
	client_line(fd, "{\"jsonrpc\":\"2.0\",\"id\":0,\"method\":\"echo\"}");
	expect_reply(fd, "{\"id\":0,\"jsonrpc\":\"2.0\",\"result\":null}");
	client_send_fds(fd, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"take\"}\n", 41, sent, 2);
	close(sent[0]);
	close(file);
	expect_reply(fd, "{\"id\":1,\"jsonrpc\":\"2.0\",\"result\":null}");
	expect_closed(watch);		/* the other one was not taken */
	assert_int_equal(pread(f.kept_fd, &c, 1, 0), 1);
	assert_int_equal(c, 'k');
	close(fd);
	serve_all();
}

/* Whatever the line was, what came with it is closed. */
static void test_fds_are_closed(void **state)	/* L1 */
{
	static const char *const lines[] = {
		"garbage\n", "{}\n", "\n", "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"none\"}\n",
		"{\"jsonrpc\":\"2.0\",\"method\":\"count\"}\n", "{\"jsonrpc\":\"2.0\",\"method\":\"none\"}\n",
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"echo\"}\n", "unfinished",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
		int fd = client_new(), watch, sent = watched_pipe(&watch);

		client_send_fds(fd, lines[i], strlen(lines[i]), &sent, 1);
		close(sent);
		if (i % 2)
			shutdown(fd, SHUT_WR);
		else
			serve_all();
		close(fd);
		serve_all();
		expect_closed(watch);
	}
	expect_alive();
}

static void test_many_fds(void **state)
{
	int fd = client_new(), watch, sent[253];
	json_t *reply;

	(void)state;
	sent[0] = watched_pipe(&watch);
	for (int i = 1; i < 253; i++)
		sent[i] = sent[0];
	client_send_fds(fd, fds_line, strlen(fds_line), sent, CONTROL_MAX_FDS);
	reply = client_reply(fd);
	assert_int_equal(json_array_size(json_object_get(reply, "result")), CONTROL_MAX_FDS);
	json_decref(reply);
	client_send_fds(fd, fds_line, strlen(fds_line), sent, CONTROL_MAX_FDS + 1);
	expect_error(fd, CONTROL_INVALID_REQUEST, "250");
	expect_end(fd);
	/* In small portions on one unfinished line. */
	fd = client_new();
	for (int i = 0; i < 3; i++) {
		client_send_fds(fd, "[", 1, sent, 100);
		serve_all();
	}
	expect_error(fd, CONTROL_INVALID_REQUEST, "250");
	expect_end(fd);
	fd = client_new();
	client_send_fds(fd, "[", 1, sent, 250);
	serve_all();
	client_send_fds(fd, "[", 1, sent, 253);
	serve_all();
	expect_error(fd, CONTROL_INVALID_REQUEST, "250");
	expect_end(fd);
	close(sent[0]);
	expect_closed(watch);
	expect_alive();
}

/* A connection sent over itself, and a socket pair in itself: closing frees all of it. */
static void test_sockets_in_sockets(void **state)	/* L1 */
{
	int fd = client_new(), pair[2];

	(void)state;
	client_send_fds(fd, fds_line, 10, &fd, 1);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	client_send_fds(pair[0], "x", 1, &pair[1], 1);
	client_send_fds(fd, fds_line + 10, strlen(fds_line) - 10, pair, 2);
	close(pair[0]);
	close(pair[1]);
	expect_reply(fd, "{\"id\":1,\"jsonrpc\":\"2.0\",\"result\":[\"?\",\"?\",\"?\"]}");
	shutdown(fd, SHUT_RDWR);
	close(fd);
	serve_all();
	expect_alive();
}

/* The server's table of descriptors is full: a loss is said, not hidden. */
static void test_fds_do_not_fit(void **state)	/* L1 */
{
	int fd = client_new(), watch, sent[10];
	struct rlimit old, low;

	(void)state;
	client_line(fd, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"echo\"}");
	expect_reply(fd, "{\"id\":1,\"jsonrpc\":\"2.0\",\"result\":null}");
	sent[0] = watched_pipe(&watch);
	for (int i = 1; i < 10; i++)
		sent[i] = sent[0];
	client_send_fds(fd, fds_line, strlen(fds_line), sent, 10);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	low = old;
	low.rlim_cur = (rlim_t)sent[0] + 4;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	serve();
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	expect_error(fd, CONTROL_INTERNAL, "could not be received");
	expect_end(fd);
	close(sent[0]);
	expect_closed(watch);
	expect_alive();
}

/* --- connections ------------------------------------------------------------------------------------------ */

static void test_many_connections(void **state)
{
	int fds[CONTROL_MAX_CONNECTIONS], fd;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		fds[i] = client_new();
	for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
		client_line(fds[i], "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"echo\"}");
		expect_reply(fds[i], "{\"id\":1,\"jsonrpc\":\"2.0\",\"result\":null}");
	}
	fd = client_new();
	expect_error(fd, CONTROL_KERNEL_ERROR, "TOO_MANY_CONNECTIONS");
	expect_end(fd);
	close(fds[0]);
	serve_all();
	expect_alive();
	for (size_t i = 1; i < ARRAY_LEN(fds); i++)
		close(fds[i]);
	serve_all();
}

/* No descriptor is left for a new client: it is refused, not left waiting while the loop spins. */
static void test_no_descriptors(void **state)	/* L1 */
{
	int first = client_new(), fd, top;
	struct rlimit old, low;

	(void)state;
	client_line(first, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"later\"}");
	serve_until_later(1);
	fd = client_new();
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	/* Below the limit nothing is free: dup gives the least free number. */
	top = dup(fd);
	assert_true(top >= 0);
	close(top);
	low = old;
	low.rlim_cur = (rlim_t)top;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	serve();
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	expect_error(fd, CONTROL_KERNEL_ERROR, "TOO_MANY_CONNECTIONS");
	expect_end(fd);
	control_reply(f.later[0], json_true());
	expect_reply(first, "{\"id\":1,\"jsonrpc\":\"2.0\",\"result\":true}");
	close(first);
	expect_alive();
}

/* Clients that come, say something and vanish at any point. */
static void test_vanishing_clients(void **state)	/* L1 */
{
	static const char line[] = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"big\",\"params\":[300000]}\n";

	(void)state;
	for (unsigned i = 0; i < 300; i++) {
		int fd = client_new();

		if (i % 3)
			serve();
		client_send(fd, line, i % sizeof(line));
		if (i % 5 == 0)
			serve();
		if (i % 7 == 0)
			shutdown(fd, (int)(i / 7 % 3));
		if (i % 2)
			serve();
		close(fd);
	}
	serve_all();
	expect_alive();
}

/* Noise over the alphabet that reaches deepest, from a fixed seed; every line is answered or ignored. */
static void test_noise(void **state)	/* L1 */
{
	static const char *const words[] = {
		"{", "}", "[", "]", ",", ":", "\"", "\n", "\\", "\\u00", "\"jsonrpc\":\"2.0\"", "\"method\":\"count\"",
		"\"id\":1", "\"params\":[]", "null", "1e5", "\xff", "\xc3\xa9", "{\"jsonrpc\":\"2.0\",", "\x01", " ",
	};
	uint32_t seed = 20;

	(void)state;
	for (int i = 0; i < 50; i++) {
		int fd = client_new();
		char c[4096];

		for (int j = 0; j < 400; j++) {
			const char *word;

			seed = seed * 1664525u + 1013904223u;
			word = words[(seed >> 16) % ARRAY_LEN(words)];
			client_send(fd, word, strlen(word));
		}
		shutdown(fd, SHUT_WR);
		while (recv(fd, c, sizeof(c), 0) != 0)
			serve();
		close(fd);
	}
	expect_alive();
}

/* --- connections that serve ----------------------------------------------------------------------------------- */

static int serving_client(void)
{
	int fd = client_new();

	client_line(fd, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"serve\"}");
	expect_reply(fd, "{\"id\":1,\"jsonrpc\":\"2.0\",\"result\":null}");
	return fd;
}

static void ask(const char *text)
{
	control_ask(f.server, text, strlen(text));
}

/* One that is asked and answers, and asks and is answered, all over one connection. */
static void test_serving(void **state)
{
	char line[100] = "";
	int fd = serving_client();

	(void)state;
	f.flush_by_hand = true;
	ask("{\"id\":5}");
	serve_all();
	assert_int_equal(recv(fd, line, sizeof(line), 0), -1);	/* not before what it speaks of is committed */
	assert_int_equal(control_waiting(f.server), 9);
	f.n_drained = 0;
	assert_int_equal(control_flush(f.control), 0);
	assert_int_equal(f.n_drained, 1);
	f.flush_by_hand = false;
	assert_int_equal(recv(fd, line, sizeof(line), 0), 9);
	assert_string_equal(line, "{\"id\":5}\n");
	client_line(fd, "{\"jsonrpc\":\"2.0\",\"id\":5,\"result\":{\"a\":null}}");
	client_line(fd, "{\"jsonrpc\":\"2.0\",\"id\":0,\"error\":{\"code\":7,\"message\":\"no\",\"data\":1}}");
	client_line(fd, "{\"jsonrpc\":\"2.0\",\"id\":9,\"method\":\"echo\",\"params\":[2]}");
	expect_reply(fd, "{\"id\":9,\"jsonrpc\":\"2.0\",\"result\":[2]}");
	assert_string_equal(f.answers, "5 {\"a\":null};0 no;");
	assert_int_equal(f.n_lost, 0);
	close(fd);
	serve_all();
	assert_int_equal(f.n_lost, 1);
}

/* L1: answers to nothing, and what is no answer: an error each, and the connection goes on */
static void test_wrong_answers(void **state)
{
	static const struct { const char *text, *words, *seen; } wrong[] = {
		{ "\"id\":10,\"result\":1", "no request 10 waits", "10 1;" },
		{ "\"id\":-1,\"result\":1", "no request -1 waits", "" },
		{ "\"id\":\"5\",\"result\":1", "id: expected", "" },
		{ "\"result\":1", "id: expected", "" },
		{ "\"id\":1,\"result\":1,\"error\":{\"code\":1,\"message\":\"\"}", "not both", "1 malformed;" },
		{ "\"id\":1,\"error\":1", "error: expected an object", "1 malformed;" },
		{ "\"id\":1,\"error\":{}", "error.code", "1 malformed;" },
		{ "\"id\":1,\"error\":{\"code\":1.5,\"message\":\"\"}", "error.code", "1 malformed;" },
		{ "\"id\":1,\"error\":{\"code\":1,\"message\":1}", "error.message", "1 malformed;" },
	};
	int fd = serving_client(), other = client_new();
	char line[200];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		f.answers[0] = 0;
		snprintf(line, sizeof(line), "{\"jsonrpc\":\"2.0\",%s}", wrong[i].text);
		client_line(fd, line);
		expect_error(fd, CONTROL_INVALID_REQUEST, wrong[i].words);
		assert_string_equal(f.answers, wrong[i].seen);
	}
	f.answers[0] = 0;
	client_line(fd, "{\"id\":1,\"result\":1}");
	expect_error(fd, CONTROL_INVALID_REQUEST, "jsonrpc");
	client_line(other, "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":1}");	/* nobody asked it */
	expect_error(other, CONTROL_INVALID_REQUEST, "no request 1 waits");
	assert_string_equal(f.answers, "1 malformed;");
	close(fd);
	close(other);
	serve_all();
}

/* Whatever keeps it from answering, or from being asked, ends its service once; what it said before counts. */
static void test_serving_ends(void **state)
{
	static const char answer[] = "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":1}";
	int fd;

	(void)state;
	fd = serving_client();		/* half-closed: with a reply of its own still to come */
	client_line(fd, "{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"later\"}");
	client_line(fd, answer);
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	serve_all();
	assert_string_equal(f.answers, "1 1;");
	assert_int_equal(f.n_lost, 1);
	control_reply(f.later[0], json_integer(7));
	expect_reply(fd, "{\"id\":2,\"jsonrpc\":\"2.0\",\"result\":7}");
	expect_end(fd);

	fd = serving_client();		/* it reads no more: found out when it is asked */
	client_line(fd, answer);
	assert_int_equal(shutdown(fd, SHUT_RD), 0);
	ask("{}");
	assert_int_equal(control_flush(f.control), 0);
	serve_all();
	assert_string_equal(f.answers, "1 1;1 1;");
	assert_int_equal(f.n_lost, 2);
	close(fd);

	fd = serving_client();		/* a line without end */
	for (size_t n = 0; n <= CONTROL_MAX_REQUEST && f.server; n += strlen(answer))
		client_send(fd, answer, strlen(answer));
	serve_all();
	assert_int_equal(f.n_lost, 3);
	close(fd);
	serve_all();
	expect_alive();
}

/* One that never reads is given up when too much waits for it, as anybody is. */
static void test_serving_deaf(void **state)
{
	char *text = malloc(1u << 20);
	int fd = serving_client();

	(void)state;
	assert_non_null(text);
	memset(text, 'x', 1u << 20);
	for (unsigned i = 0; i < 70 && f.server; i++) {
		control_ask(f.server, text, 1u << 20);
		serve();
	}
	serve_all();
	assert_int_equal(f.n_lost, 1);
	free(text);
	close(fd);
	expect_alive();
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_ids), T(test_notifications), T(test_wrong_requests), T(test_long_id), T(test_errors),
		T(test_peer), T(test_cuts), T(test_held_until_flush), T(test_half_closed),
		T(test_half_closed_notification), T(test_half_a_request), T(test_gone), T(test_leaves_with_output_waiting),
		T(test_free_with_open_requests), T(test_longest_line), T(test_too_long_line), T(test_endless_line),
		T(test_deep_nesting), T(test_pending), T(test_never_reads), T(test_slow_reader), T(test_fds),
		T(test_fds_find_their_request), T(test_taken_fd), T(test_fds_are_closed), T(test_many_fds),
		T(test_sockets_in_sockets), T(test_fds_do_not_fit), T(test_many_connections), T(test_no_descriptors),
		T(test_vanishing_clients), T(test_noise), T(test_serving), T(test_wrong_answers), T(test_serving_ends),
		T(test_serving_deaf),
	};

	json_object_seed(1);
	return cmocka_run_group_tests_name("control", tests, NULL, NULL);
}
