/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The capstan command as a person meets it: the built program, run against a kernel that this test plays on a socket
 * of its own. A script says which requests must come, in order, and what is answered; the test compares what the
 * program printed and how it ended.
 */
#include "../../tools/client.h"

#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define MAX_FDS 253

struct step {
	const char *method;
	const char *params;		/* JSON, compared as a value; NULL: any */
	const char *answer;		/* the reply's "result" or "error" member as JSON text; NULL: hang up */
};

static struct fixture {
	char program[PATH_MAX];
	char dir[100];
	int listen_fd;
	int status;
	char *out, *err;
	int fds[MAX_FDS];		/* that came with the last request */
	size_t n_fds;
} f;

/* --- the played kernel ------------------------------------------------------------------------------------ */

static void path_in(char out[200], const char *name)
{
	snprintf(out, 200, "%s/%s", f.dir, name);
}

static void write_file(const char *name, const char *text)
{
	char path[200];
	FILE *file;

	path_in(path, name);
	file = fopen(path, "we");
	assert_non_null(file);
	fputs(text, file);
	assert_int_equal(fclose(file), 0);
}

static char *read_file(const char *name)
{
	char path[200], *text = NULL;
	size_t size = 0;
	FILE *file;
	ssize_t n;

	path_in(path, name);
	file = fopen(path, "re");
	assert_non_null(file);
	n = getdelim(&text, &size, 0, file);
	fclose(file);
	if (n < 0) {
		free(text);
		return strdup("");
	}
	return text;
}

static int setup(void **state)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	(void)state;
	alarm(120);
	f.status = -1;
	f.out = f.err = NULL;
	f.n_fds = 0;
	snprintf(f.dir, sizeof(f.dir), "%s/cli-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
	assert_non_null(mkdtemp(f.dir));
	assert_true((size_t)snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/" CLIENT_SOCKET, f.dir) <
		    sizeof(addr.sun_path));
	f.listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(f.listen_fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(f.listen_fd, 5), 0);
	return 0;
}

static void close_fds(void)
{
	for (size_t i = 0; i < f.n_fds; i++)
		close(f.fds[i]);
	f.n_fds = 0;
}

static int teardown(void **state)
{
	static const char *const names[] = { CLIENT_SOCKET, "out", "err", "c.json", "one", "two", "fifo" };
	char path[200];

	(void)state;
	alarm(0);
	close_fds();
	free(f.out);
	free(f.err);
	close(f.listen_fd);
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		path_in(path, names[i]);
		unlink(path);
	}
	return rmdir(f.dir);
}

static void take_fds(struct msghdr *msg)
{
	for (struct cmsghdr *cm = CMSG_FIRSTHDR(msg); cm; cm = CMSG_NXTHDR(msg, cm)) {
		assert_int_equal(cm->cmsg_type, SCM_RIGHTS);
		f.n_fds = (cm->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		memcpy(f.fds, CMSG_DATA(cm), f.n_fds * sizeof(int));
	}
}

/* One request line; its descriptors must be on its first byte. NULL: the program hung up. */
static json_t *read_request(int fd)
{
	static char line[1 << 20];
	union { struct cmsghdr align; char buf[CMSG_SPACE(MAX_FDS * sizeof(int))]; } control;
	size_t len = 0;
	json_t *json;

	while (!len || line[len - 1] != '\n') {
		struct iovec iov = { .iov_base = line + len, .iov_len = 1 };
		struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
		ssize_t n;

		if (!len) {
			msg.msg_control = control.buf;
			msg.msg_controllen = sizeof(control.buf);
		}
		n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC);
		if (n <= 0)
			return NULL;
		assert_int_equal(msg.msg_flags & MSG_CTRUNC, 0);
		if (!len) {
			close_fds();
			take_fds(&msg);
		}
		len += (size_t)n;
		assert_true(len < sizeof(line));
	}
	json = json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(json);
	assert_string_equal(json_string_value(json_object_get(json, "jsonrpc")), "2.0");
	return json;
}

static void play_step(int fd, const struct step *step)
{
	json_t *request = read_request(fd), *params;
	char *reply = NULL;
	int n;

	assert_non_null(request);
	assert_string_equal(json_string_value(json_object_get(request, "method")), step->method);
	if (step->params) {
		params = json_loads(step->params, 0, NULL);
		assert_non_null(params);
		if (!json_equal(params, json_object_get(request, "params")))
			fail_msg("%s: params differ from %s: %s", step->method, step->params,
				 json_dumps(json_object_get(request, "params"), JSON_COMPACT));
		json_decref(params);
	}
	if (step->answer) {
		n = asprintf(&reply, "{\"jsonrpc\":\"2.0\",\"id\":%lld,%s}\n",
			     (long long)json_integer_value(json_object_get(request, "id")), step->answer);
		assert_int_equal(send(fd, reply, (size_t)n, MSG_NOSIGNAL), n);
		free(reply);
	}
	json_decref(request);
}

static pid_t start(const char *const *args, const char *out_path)
{
	char path[200];
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid)
		return pid;
	for (int i = 1; i <= 2; i++) {
		int fd;

		path_in(path, i == 1 ? "out" : "err");
		fd = open(i == 1 && out_path ? out_path : path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
		if (fd < 0 || dup2(fd, i) < 0)
			_exit(99);
	}
	execv(f.program, (char *const *)(uintptr_t)args);
	_exit(98);
}

static void finish(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	f.status = WEXITSTATUS(status);
	free(f.out);
	free(f.err);
	f.out = read_file("out");
	f.err = read_file("err");
}

/* Run with these words; the kernel follows the script. `words` ends with NULL; with_run puts --run DIR in front. */
static void run_words(bool with_run, const char *const *words, const struct step *steps, size_t n_steps)
{
	const char *args[30] = { "capstan" };
	size_t n = 1;
	pid_t pid;

	if (with_run) {
		args[n++] = "--run";
		args[n++] = f.dir;
	}
	while (*words) {
		assert_true(n + 1 < ARRAY_LEN(args));
		args[n++] = *words++;
	}
	pid = start(args, NULL);
	if (n_steps) {
		int fd = accept4(f.listen_fd, NULL, NULL, SOCK_CLOEXEC);

		assert_true(fd >= 0);
		for (size_t i = 0; i < n_steps; i++)
			play_step(fd, &steps[i]);
		shutdown(fd, steps[n_steps - 1].answer ? SHUT_WR : SHUT_RDWR);
		assert_null(read_request(fd));	/* and no more than that */
		close(fd);
	}
	finish(pid);
}

#define WORDS(...)	((const char *const[]){ __VA_ARGS__, NULL })
#define RUN(words)	run_words(true, words, NULL, 0)
#define PLAY(words, ...) run_words(true, words, (const struct step[]){ __VA_ARGS__ }, \
				   ARRAY_LEN(((const struct step[]){ __VA_ARGS__ })))

static void expect(int status, const char *out, const char *err)
{
	if (f.status != status)
		fail_msg("ended with %d, expected %d; stdout \"%s\" stderr \"%s\"", f.status, status, f.out, f.err);
	assert_string_equal(f.out, out);
	assert_string_equal(f.err, err);
}

/* One line, "capstan: CODE: …words…", nothing on stdout. */
static void expect_error(int status, const char *code, const char *words)
{
	char head[100];

	snprintf(head, sizeof(head), "capstan: %s: ", code);
	if (f.status != status || *f.out || strncmp(f.err, head, strlen(head)) || !strstr(f.err, words) ||
	    strchr(f.err, '\n') != f.err + strlen(f.err) - 1)
		fail_msg("expected %d \"%s…%s…\", ended with %d, stdout \"%s\", stderr \"%s\"", status, head, words, f.status,
			 f.out, f.err);
}

/* --- help and man page ------------------------------------------------------------------------------------ */

/* Take fonts and \- out of a man page's line. */
static void plain_text(char *line)
{
	char *to = line;

	for (char *p = line; *p; p++) {
		if (p[0] == '\\' && p[1] == 'f' && p[2])
			p += 2;
		else if (p[0] == '\\' && p[1] == '-')
			*to++ = *++p;
		else
			*to++ = *p;
	}
	*to = 0;
}

/* The lines of the man page's synopsis, without macros. */
static size_t read_synopsis(char lines[][200], size_t max)
{
	FILE *page = fopen("docs/capstan.1", "re");
	bool inside = false;
	size_t n = 0;
	char line[400];

	assert_non_null(page);
	while (fgets(line, sizeof(line), page)) {
		line[strcspn(line, "\n")] = 0;
		if (!strncmp(line, ".SH ", 4))
			inside = !strcmp(line, ".SH SYNOPSIS");
		else if (inside && line[0] != '.') {
			plain_text(line);
			assert_true(n < max);
			snprintf(lines[n++], 200, "%.199s", line);
		}
	}
	fclose(page);
	return n;
}

static void test_help_is_the_synopsis(void **state)
{
	char lines[40][200], *save, *line;
	size_t n = read_synopsis(lines, ARRAY_LEN(lines)), i = 0;

	(void)state;
	run_words(false, WORDS("--help"), NULL, 0);
	assert_int_equal(f.status, 0);
	assert_string_equal(f.err, "");
	assert_true(n > 10);
	for (line = strtok_r(f.out, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char form[200];
		char *end;

		if (!strncmp(line, "usage: ", 7))
			snprintf(form, sizeof(form), "%s", line + 7);
		else if (!strncmp(line, "  ", 2) && line[2] != '-')
			snprintf(form, sizeof(form), "capstan %s", line + 2);
		else
			continue;
		end = strstr(form, "  ");
		if (end)
			*end = 0;
		assert_true(i < n);
		assert_string_equal(form, lines[i++]);
	}
	assert_int_equal(i, n);
}

static void test_man_page_is_sound(void **state)
{
	(void)state;
	if (system("command -v mandoc > /dev/null"))
		skip();
	assert_int_equal(system("mandoc -Tlint -Werror docs/capstan.1 >&2"), 0);
}

static void test_version(void **state)
{
	(void)state;
	run_words(false, WORDS("--version"), NULL, 0);
	expect(0, "capstan " CAPSTAN_VERSION "\n", "");
	run_words(false, WORDS("status", "-h"), NULL, 0);
	assert_int_equal(f.status, 0);
}

/* --- exit statuses ---------------------------------------------------------------------------------------- */

static void test_usage(void **state)
{
	static const struct { const char *words[8]; const char *error; } cases[] = {
		{ { NULL }, "expected a command" },
		{ { "dance" }, "\"dance\"" },
		{ { "\x1b[2J" }, "\\x1b[2J" },
		{ { "--nonsense", "status" }, "--nonsense" },
		{ { "-x", "status" }, "-x" },
		{ { "status", "--run" }, "--run" },
		{ { "status", "more" }, "capstan status" },
		{ { "status", "--no-hold" }, "--no-hold" },
		{ { "ps", "-f" }, "-f" },
		{ { "launch" }, "launch FILE" },
		{ { "launch", "a", "b" }, "launch FILE" },
		{ { "call" }, "REF METHOD" },
		{ { "call", "@ko1" }, "REF METHOD" },
		{ { "call", "ko1", "m" }, "@ko7" },
		{ { "call", "@ko0", "m" }, "@ko0" },
		{ { "call", "@ko01", "m" }, "@ko01" },
		{ { "call", "@o+1", "m" }, "@o+1" },
		{ { "call", "@ko1", "m", "{\"half" }, "argument 1" },
		{ { "call", "@ko1", "m", "1", "word" }, "argument 2" },
		{ { "call", "@ko1", "m", "1", "2", "@nobody" }, "argument 3" },
		{ { "call", "@ko1", "m", "{\"a\":1,\"a\":2}" }, "argument 1" },
		{ { "call", "@ko1", "m", "" }, "argument 1" },
		{ { "call", "@ko1", "\xff" }, "UTF-8" },
		{ { "call", "--timeout", "0", "@ko1", "m" }, "--timeout" },
		{ { "call", "--timeout", "soon", "@ko1", "m" }, "--timeout" },
		{ { "call", "--timeout=1e9", "@ko1", "m" }, "--timeout" },
		{ { "call", "--timeout=nan", "@ko1", "m" }, "--timeout" },
		{ { "release", "ko1" }, "@ko7" },
		{ { "terminate", "ko1" }, "s1" },
		{ { "terminate", "s0" }, "s0" },
		{ { "restart", "s1" }, "v1" },
		{ { "suspend" }, "suspend v1" },
		{ { "resume", "v" }, "v1" },
		{ { "pin", "v1" }, "@ko7" },
		{ { "unpin", "ko1" }, "@ko7" },
		{ { "revoke", "@kp1" }, "an object such as @ko7 or a vat" },
		{ { "revoke", "s1" }, "an object such as @ko7 or a vat" },
		{ { "reap", "all" }, "v1" },
		{ { "gc", "v1" }, "gc" },
		{ { "aside", "send" }, "aside [send ID|drop ID]" },
		{ { "aside", "burn", "1" }, "aside [send ID|drop ID]" },
		{ { "aside", "send", "1x" }, "the id of a message" },
		{ { "aside", "drop", "-1" }, "option" },
		{ { "ping", "v01" }, "v01" },
		{ { "log", "1" }, "v1" },
		{ { "ls", "a", "b" }, "ls [-l] [PATH]" },
		{ { "ls", "-f" }, "-f" },
		{ { "cat" }, "cat [-f] PATH..." },
		{ { "cat", "-l", "status" }, "-l" },
		{ { "cat", "-f", "a", "b" }, "one path" },
		{ { "tree", "-L" }, "-L" },
		{ { "tree", "-L", "x" }, "a number of levels" },
		{ { "tree", "-L", "-1" }, "a number of levels" },
		{ { "tree", "a", "b" }, "tree [-L DEPTH] [PATH]" },
		{ { "fsck", "now" }, "fsck [--state DIR]" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		RUN(cases[i].words);
		expect_error(2, "USAGE", cases[i].error);
	}
}

static void test_no_broker(void **state)
{
	char longer[300], socket_path[200];

	(void)state;
	run_words(false, WORDS("--run", "/nowhere/at/all", "status"), NULL, 0);
	expect_error(3, "NO_BROKER", "/nowhere/at/all/control.sock: No such file or directory");
	assert_non_null(strstr(f.err, "capstand --run /nowhere/at/all"));
	memset(longer, 'x', sizeof(longer));
	longer[0] = '/';
	longer[sizeof(longer) - 1] = 0;
	run_words(false, WORDS("--run", longer, "ps"), NULL, 0);
	expect_error(3, "NO_BROKER", "longer");
	/* A socket that a dead kernel left. */
	close(f.listen_fd);
	f.listen_fd = -1;
	path_in(socket_path, CLIENT_SOCKET);
	RUN(WORDS("shutdown"));
	expect_error(3, "NO_BROKER", socket_path);
	assert_non_null(strstr(f.err, "refused"));
}

static void test_kernel_errors(void **state)
{
	(void)state;
	PLAY(WORDS("ping", "v9"), { "pingVat", "{\"id\":\"v9\"}",
	     "\"error\":{\"code\":-32000,\"message\":\"[NO_SUCH_VAT] v9\",\"data\":{\"code\":\"NO_SUCH_VAT\"}}" });
	expect(1, "", "capstan: NO_SUCH_VAT: v9\n");
	PLAY(WORDS("ping", "v9"), { "pingVat", NULL,
	     "\"error\":{\"code\":-32000,\"message\":\"a\\u001b\\nb\",\"data\":{\"code\":\"X\\u0007\"}}" });
	expect(1, "", "capstan: X\\x07: a\\x1b\\nb\n");
	PLAY(WORDS("ping", "v9"), { "pingVat", NULL, "\"error\":{\"code\":-32602,\"message\":\"id: what\"}" });
	expect(1, "", "capstan: INVALID_PARAMS: id: what\n");
	PLAY(WORDS("ping", "v9"), { "pingVat", NULL, "\"error\":{\"code\":-32601,\"message\":\"what\"}" });
	expect(1, "", "capstan: METHOD_NOT_FOUND: what\n");
	PLAY(WORDS("ping", "v9"), { "pingVat", NULL, "\"error\":{}" });
	expect(1, "", "capstan: INTERNAL_ERROR: no message\n");
	PLAY(WORDS("ping", "v9"), { "pingVat", NULL, NULL });
	expect_error(3, "CONNECTION_LOST", "not known");
	PLAY(WORDS("ping", "v9"), { "pingVat", NULL, "junk" });
	expect_error(1, "BAD_ANSWER", "");
}

/* What the kernel says of the connection (it has too many) is shown, not the broken pipe. */
static void test_refused_connection(void **state)
{
	static const char refusal[] = "{\"jsonrpc\":\"2.0\",\"error\":{\"code\":-32000,\"message\":\"[FULL] no\","
				      "\"data\":{\"code\":\"FULL\"}},\"id\":null}\n";
	pid_t pid = start(WORDS("capstan", "--run", f.dir, "status"), NULL);
	int fd = accept4(f.listen_fd, NULL, NULL, SOCK_CLOEXEC);

	(void)state;
	assert_int_equal(send(fd, refusal, strlen(refusal), MSG_NOSIGNAL), strlen(refusal));
	close(fd);
	finish(pid);
	expect(1, "", "capstan: FULL: no\n");
}

static void test_full_disk(void **state)
{
	pid_t pid = start(WORDS("capstan", "--help"), "/dev/full");

	(void)state;
	write_file("out", "");
	finish(pid);
	expect_error(1, "OUTPUT", "No space");
}

/* --- requests and what is printed ------------------------------------------------------------------------- */

static void test_simple_requests(void **state)
{
	static const struct { const char *words[4]; struct step step; } cases[] = {
		{ { "release", "@ko9" }, { "release", "{\"kref\":\"ko9\"}", "\"result\":{}" } },
		{ { "terminate", "s1" }, { "terminateSubcluster", "{\"id\":\"s1\"}", "\"result\":{}" } },
		{ { "terminate", "v12" }, { "terminateVat", "{\"id\":\"v12\"}", "\"result\":{}" } },
		{ { "restart", "v1" }, { "restartVat", "{\"id\":\"v1\"}", "\"result\":{}" } },
		{ { "suspend", "v1" }, { "suspendVat", "{\"id\":\"v1\"}", "\"result\":{}" } },
		{ { "resume", "v1" }, { "resumeVat", "{\"id\":\"v1\"}", "\"result\":{}" } },
		{ { "revoke", "v1" }, { "revokeVat", "{\"id\":\"v1\"}", "\"result\":{}" } },
		{ { "revoke", "@ko3" }, { "revoke", "{\"kref\":\"ko3\"}", "\"result\":{}" } },
		{ { "reap" }, { "reapVats", "{\"all\":true}", "\"result\":{\"vats\":4}" } },
		{ { "reap", "v2" }, { "reapVats", "{\"id\":\"v2\"}", "\"result\":{\"vats\":1}" } },
		{ { "aside", "drop", "12" }, { "aside", "{\"drop\":12}", "\"result\":{}" } },
		{ { "shutdown" }, { "shutdown", "{}", "\"result\":{}" } },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		PLAY(cases[i].words, cases[i].step);
		expect(0, "", "");
	}
	PLAY(WORDS("pin", "@ko3"), { "pin", "{\"kref\":\"ko3\"}", "\"result\":{\"kref\":\"ko3\",\"pins\":2}" });
	expect(0, "@ko3: pins: 2\n", "");
	PLAY(WORDS("unpin", "@ko3", "--json"), { "unpin", "{\"kref\":\"ko3\"}", "\"result\":{\"kref\":\"ko3\",\"pins\":1}" });
	expect(0, "{\"kref\":\"ko3\",\"pins\":1}\n", "");
	PLAY(WORDS("gc"), { "collectGarbage", "{}", "\"result\":{\"vats\":2,\"objects\":3,\"promises\":5,\"circular\":4}" });
	expect(0, "vats: 2\nobjects: 3\npromises: 5\ncircular: 4\n", "");
	PLAY(WORDS("aside"), { "aside", "{}", "\"result\":{\"aside\":[{\"id\":12,\"time\":\"T\",\"vat\":\"v1\",\"name\":\"a\","
			     "\"target\":\"ko3\",\"method\":\"po\\u001bke\",\"deaths\":2,\"bytes\":9,\"sendable\":false,\"lost\":\"ko5\"}]}" });
	expect(0, "ID  TIME  VAT  NAME  TARGET  METHOD    DEATHS  BYTES  LOST\n"
		  "12  T     v1   a     ko3     po\\x1bke  2       9      ko5\n", "");
	PLAY(WORDS("aside", "send", "12"), { "aside", "{\"send\":12}", "\"result\":{\"body\":\"#7\",\"slots\":[]}" });
	expect(0, "7\n", "");
	PLAY(WORDS("shutdown", "--json"), { "shutdown", "{}", "\"result\":{}" });
	expect(0, "{}\n", "");
	PLAY(WORDS("ping", "v1"), { "pingVat", "{\"id\":\"v1\"}", "\"result\":{\"us\":123}" });
	expect(0, "v1 answered in 123 us\n", "");
	PLAY(WORDS("--json", "ping", "v1"), { "pingVat", NULL, "\"result\":{\"us\":123}" });
	expect(0, "{\"us\":123}\n", "");
}

static const char status_answer[] =
	"\"result\":{\"version\":\"0.1.0\",\"uptimeMs\":1234,\"pid\":7,\"subclusters\":[{\"id\":\"s1\",\"status\":\"running\","
	"\"bootstrap\":\"alice\",\"rootKref\":\"ko4\",\"vats\":{\"alice\":\"v1\"}},{\"id\":\"s2\",\"name\":\"reg\","
	"\"status\":\"running\",\"bootstrap\":\"r\",\"rootKref\":\"ko9\",\"vats\":{}}],"
	"\"system\":{\"reg\":{\"id\":\"s2\",\"reason\":\"\"},\"two\":{\"id\":null,\"reason\":\"no\\u001b\"}},\"vats\":["
	"{\"id\":\"v1\",\"name\":\"alice\",\"subcluster\":\"s1\",\"status\":\"running\",\"incarnation\":1,\"pid\":123,"
	"\"uid\":1879048192,\"isolation\":[\"uid\",\"nocaps\"],\"reason\":\"\",\"queued\":0,\"cranks\":12,\"deaths\":0},"
	"{\"id\":\"v10\",\"name\":\"bob\",\"subcluster\":\"s2\",\"status\":\"suspended\",\"incarnation\":21,\"pid\":0,"
	"\"uid\":0,\"isolation\":[],\"reason\":\"LIMIT\\u001b\",\"queued\":3,\"cranks\":0,\"deaths\":1}],"
	"\"objects\":5,\"promises\":6,\"queued\":3,\"cranks\":12,\"commits\":4,\"mount\":null}";

static void test_status(void **state)
{
	json_t *json;

	(void)state;
	PLAY(WORDS("status"), { "getStatus", "{}", status_answer });
	expect(0, "version: 0.1.0\npid: 7\nuptimeMs: 1234\n"
		  "subcluster: s1 running bootstrap=alice root=ko4\n"
		  "subcluster: s2 running bootstrap=r root=ko9 system=reg\n"
		  "system: two is not there: no\\x1b\n"
		  "vat: v1 alice s1 running isolation=uid,nocaps\n"
		  "vat: v10 bob s2 suspended isolation=- reason: LIMIT\\x1b\n"
		  "objects: 5\npromises: 6\nqueued: 3\ncranks: 12\ncommits: 4\nmount: -\n", "");
	PLAY(WORDS("status", "--json"), { "getStatus", "{}", status_answer });
	json = json_loads(f.out, 0, NULL);
	assert_int_equal(json_array_size(json_object_get(json, "vats")), 2);
	json_decref(json);
	assert_int_equal(f.status, 0);
}

static void test_ps(void **state)
{
	(void)state;
	PLAY(WORDS("ps"), { "getStatus", "{}", status_answer });
	expect(0, "VAT  NAME   SUBCLUSTER  STATUS     INCARNATION  PID  UID         CRANKS  QUEUED  ISOLATION\n"
		  "v1   alice  s1          running    1            123  1879048192  12      0       uid,nocaps\n"
		  "v10  bob    s2(reg)     suspended  21           -    0           0       3       -\n", "");
	PLAY(WORDS("ps"), { "getStatus", NULL, "\"result\":{\"vats\":[]}" });
	expect(0, "VAT  NAME  SUBCLUSTER  STATUS  INCARNATION  PID  UID  CRANKS  QUEUED  ISOLATION\n", "");
}

static void test_holds(void **state)
{
	(void)state;
	PLAY(WORDS("holds"), { "holds", "{}", "\"result\":{\"holds\":[{\"kref\":\"ko9\",\"kind\":\"person\",\"owner\":null,"
	     "\"count\":2,\"since\":\"2026-01-01T00:00:00Z\"}]}" });
	expect(0, "KREF  KIND    OWNER  COUNT  SINCE\nko9   person  -      2      2026-01-01T00:00:00Z\n", "");
}

static void test_services(void **state)
{
	(void)state;
	PLAY(WORDS("services"), { "listServices", "{}", "\"result\":{\"services\":["
	     "{\"name\":\"console\",\"kref\":\"ko1\",\"kind\":\"builtin\",\"systemOnly\":false,\"waiting\":0},"
	     "{\"name\":\"greeter\",\"kref\":\"ko9\",\"kind\":\"host\",\"systemOnly\":true,\"waiting\":12,"
	     "\"attached\":false,\"uid\":1000}]}" });
	expect(0, "NAME     KREF  KIND     STATE  UID   SYSTEM-ONLY  WAITING\n"
		  "console  ko1   builtin  -      -     no           0\n"
		  "greeter  ko9   host     away   1000  yes          12\n", "");
	PLAY(WORDS("unregister", "greeter"), { "unregisterService", "{\"name\":\"greeter\"}", "\"result\":{}" });
	expect(0, "", "");
}

static void test_call(void **state)
{
	(void)state;
	PLAY(WORDS("call", "@ko4", "increment"),
	     { "queueMessage", "{\"target\":\"ko4\",\"method\":\"increment\",\"args\":[],\"hold\":true}",
	       "\"result\":{\"body\":\"#3\",\"slots\":[]}" });
	expect(0, "3\n", "");
	PLAY(WORDS("call", "--no-hold", "@kp4", "m", "-5", "@ko7", "{\"a\":[{\"@\":\"kp3\"}]}", "\"x\"", "null", "1.5"),
	     { "queueMessage", "{\"target\":\"kp4\",\"method\":\"m\",\"args\":[-5,{\"@\":\"ko7\"},{\"a\":[{\"@\":\"kp3\"}]},"
			       "\"x\",null,1.5],\"hold\":false}",
	       "\"result\":{\"body\":\"#[\\\"$0.Alleged: thing\\\",\\\"a\\\\u001b\\\"]\",\"slots\":[\"ko9\"]}" });
	assert_int_equal(f.status, 0);
	assert_non_null(strstr(f.out, "ko9"));
	assert_null(strchr(f.out, '\x1b'));
	PLAY(WORDS("call", "@ko4", "get", "--json", "--timeout", "100"),
	     { "queueMessage", NULL,
	       "\"result\":{\"slots\":[\"ko9\"],\"body\":\"#\\\"$0\\\"\",\"more\":1,\"rejected\":false}" });
	expect(0, "{\"body\":\"#\\\"$0\\\"\",\"slots\":[\"ko9\"]}\n", "");
	PLAY(WORDS("call", "--", "@ko4", "--get", "1"), { "queueMessage",
	     "{\"target\":\"ko4\",\"method\":\"--get\",\"args\":[1],\"hold\":true}",
	     "\"result\":{\"body\":\"#1\",\"slots\":[]}" });
	expect(0, "1\n", "");
}

static void test_rejections(void **state)
{
	static const char kernel[] = "\"result\":{\"rejected\":true,\"body\":\"#{\\\"#error\\\":\\\"[KERNEL:VAT_FATAL:"
		"ILLEGAL_SYSCALL] v1\\\",\\\"name\\\":\\\"Error\\\"}\",\"slots\":[]}";
	static const char forged[] = "\"result\":{\"rejected\":true,\"kernel\":false,\"body\":\"#{\\\"#error\\\":\\\""
		"[KERNEL:OBJECT_DELETED] ko4\\\",\\\"name\\\":\\\"Error\\\"}\",\"slots\":[]}";

	(void)state;
	PLAY(WORDS("call", "@ko4", "m"), { "queueMessage", NULL, kernel });
	expect(1, "", "capstan: VAT_FATAL:ILLEGAL_SYSCALL: v1\n");
	PLAY(WORDS("call", "@ko4", "m"), { "queueMessage", NULL, forged });
	expect_error(1, "REJECTED", "[KERNEL:OBJECT_DELETED] ko4");
	PLAY(WORDS("call", "@ko4", "m"), { "queueMessage", NULL,
	     "\"result\":{\"rejected\":true,\"body\":\"#{\\\"#error\\\":\\\"no \\\\u001bmethod\\\",\\"
	     "\"name\\\":\\\"TypeError\\\"}\","
	     "\"slots\":[]}" });
	expect_error(1, "REJECTED", "TypeError: no ");
	assert_null(strchr(f.err, '\x1b'));
	PLAY(WORDS("call", "@ko4", "m"), { "queueMessage", NULL,
	     "\"result\":{\"rejected\":true,\"body\":\"#17\",\"slots\":[]}" });
	expect(1, "", "capstan: REJECTED: 17\n");
	PLAY(WORDS("--json", "call", "@ko4", "m"), { "queueMessage", NULL,
	     "\"result\":{\"rejected\":true,\"body\":\"#17\",\"slots\":[]}" });
	expect(1, "{\"body\":\"#17\",\"slots\":[],\"rejected\":true}\n", "capstan: REJECTED: 17\n");
	/* Not smallcaps, not even a body: shown, not believed. */
	PLAY(WORDS("call", "@ko4", "m"), { "queueMessage", NULL, "\"result\":{\"rejected\":true}" });
	expect_error(1, "REJECTED", "");
}

/* The kernel does not answer: the program gives up, the connection ends. */
static void test_timeout(void **state)
{
	pid_t pid = start(WORDS("capstan", "--run", f.dir, "call", "--timeout", "0.05", "@ko1", "m"), NULL);
	int fd = accept4(f.listen_fd, NULL, NULL, SOCK_CLOEXEC);
	json_t *request = read_request(fd);

	(void)state;
	assert_non_null(request);
	json_decref(request);
	assert_null(read_request(fd));
	close(fd);
	finish(pid);
	expect_error(1, "TIMEOUT", "goes on");
}

/* --- launch ----------------------------------------------------------------------------------------------- */

static bool is_file(int fd, const char *name)
{
	struct stat a, b;
	char path[200];

	path_in(path, name);
	assert_int_equal(fstat(fd, &a), 0);
	assert_int_equal(stat(path, &b), 0);
	assert_int_equal(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDONLY);
	return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

static const char launch_answer[] =
	"\"result\":{\"subclusterId\":\"s1\",\"rootKref\":\"ko4\",\"vats\":{\"alice\":\"v1\",\"bob\":\"v2\"},"
	"\"bootstrapResult\":{\"body\":\"#\\\"hello\\\"\",\"slots\":[]}}";

/* Relative paths are relative to the file; each file is sent once, in the order of the configuration. */
static void test_launch(void **state)
{
	static const char config[] =
		"{\"bootstrap\":\"alice\",\"vats\":{\"alice\":{\"program\":\"two\",\"files\":{\"x\":\"./one\"}},"
		"\"bob\":{\"program\":\"two\"}}}";
	char path[200], params[1000];

	(void)state;
	write_file("one", "1");
	write_file("two", "2");
	write_file("c.json", config);
	path_in(path, "c.json");
	snprintf(params, sizeof(params), "{\"config\":%s,\"paths\":[\"two\",\"./one\"]}", config);
	PLAY(WORDS("launch", path), { "launchSubcluster", params, launch_answer });
	expect(0, "subcluster: s1\nroot: ko4\nvat: v1 alice\nvat: v2 bob\nresult: \"hello\"\n", "");
	assert_int_equal(f.n_fds, 2);
	assert_true(is_file(f.fds[0], "two"));
	assert_true(is_file(f.fds[1], "one"));
	PLAY(WORDS("launch", path, "--json"), { "launchSubcluster", params, launch_answer });
	expect(0, "{\"subclusterId\":\"s1\",\"rootKref\":\"ko4\",\"vats\":{\"alice\":\"v1\",\"bob\":\"v2\"},"
		  "\"bootstrapResult\":{\"body\":\"#\\\"hello\\\"\",\"slots\":[]}}\n", "");
}

static void test_launch_errors(void **state)	/* L1 */
{
	static const struct { const char *config, *error; } cases[] = {
		{ "", "c.json:" },
		{ "{\"bootstrap\":\"a\"", "c.json:1:" },
		{ "{\"a\":1,\"a\":2}", "duplicate" },
		{ "17", "expected an object" },
		{ "{\"bootstrap\":\"a\",\"vats\":{\"a\":{\"program\":5}}}", "vats.a.program: expected a string" },
		{ "{\"bootstrap\":\"a\",\"vats\":{\"a\":{\"program\":\"nothing\"}}}",
		  "vats.a.program: nothing: No such file or directory" },
		{ "{\"bootstrap\":\"a\",\"vats\":{\"a\":{\"program\":\"one\",\"files\":{\"f\":\"/nowhere\"}}}}",
		  "vats.a.files.f: /nowhere: No such file or directory" },
		{ "{\"bootstrap\":\"a\",\"vats\":{\"a\":{\"program\":\".\"}}}", "vats.a.program: .: not a regular file" },
		{ "{\"bootstrap\":\"a\",\"vats\":{\"a\":{\"program\":\"fifo\"}}}", "vats.a.program: fifo: not a regular file" },
		{ "{\"bootstrap\":\"a\",\"vats\":{\"a\":{\"program\":\"\\u001b[2J\"}}}", "\\x1b[2J: No such file" },
	};
	char path[200];

	(void)state;
	write_file("one", "1");
	path_in(path, "fifo");
	assert_int_equal(mkfifo(path, 0600), 0);
	path_in(path, "c.json");
	RUN(WORDS("launch", path));
	expect_error(1, "CONFIG", "c.json: No such file or directory");
	RUN(WORDS("launch", f.dir));
	expect_error(1, "CONFIG", f.dir);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		write_file("c.json", cases[i].config);
		RUN(WORDS("launch", path));
		expect_error(1, "CONFIG", cases[i].error);
	}
}

/* --- log -------------------------------------------------------------------------------------------------- */

#define LOG_LINE(n, text) \
	"{\"n\":" n ",\"time\":\"T" n "\",\"timeUs\":1,\"level\":\"info\",\"incarnation\":1,\"text\":\"" text "\"}"

static void test_log(void **state)
{
	(void)state;
	PLAY(WORDS("log", "v1"),
	     { "getLog", "{\"id\":\"v1\",\"after\":0,\"wait\":false}",
	       "\"result\":{\"lines\":[" LOG_LINE("3", "one") "," LOG_LINE("4", "t\\u001b[31mwo\\nthree") "],\"next\":4}" },
	     { "getLog", "{\"id\":\"v1\",\"after\":4,\"wait\":false}", "\"result\":{\"lines\":[],\"next\":4}" });
	expect(0, "T3 1 info one\nT4 1 info t\\x1b[31mwo\\nthree\n", "");
}

static void test_log_follow(void **state)
{
	(void)state;
	PLAY(WORDS("log", "v1", "-f", "--json"),
	     { "getLog", "{\"id\":\"v1\",\"after\":0,\"wait\":false}", "\"result\":{\"lines\":[],\"next\":0}" },
	     { "getLog", "{\"id\":\"v1\",\"after\":0,\"wait\":true}",
	       "\"result\":{\"lines\":[" LOG_LINE("1", "a") "],\"next\":1}" },
	     { "getLog", "{\"id\":\"v1\",\"after\":1,\"wait\":false}", "\"result\":{\"lines\":[],\"next\":1}" },
	     { "getLog", "{\"id\":\"v1\",\"after\":1,\"wait\":true}", "\"result\":{\"lines\":[],\"next\":1}" });
	expect(0, LOG_LINE("1", "a") "\n", "");
	PLAY(WORDS("log", "v1", "-f"),
	     { "getLog", NULL, "\"result\":{\"lines\":[" LOG_LINE("1", "a") "],\"next\":1}" },
	     { "getLog", "{\"id\":\"v1\",\"after\":1,\"wait\":false}", NULL });
	assert_int_equal(f.status, 3);
	assert_string_equal(f.out, "T1 1 info a\n");
}

/* The program under test stands beside this one: build/unit/test_cli, build/bin/capstan. */
static void find_program(void)
{
	char self[PATH_MAX - 20];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	assert(n > 0);
	self[n] = 0;
	snprintf(f.program, sizeof(f.program), "%s/../bin/capstan", dirname(self));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_help_is_the_synopsis), T(test_man_page_is_sound), T(test_version), T(test_usage), T(test_no_broker),
		T(test_kernel_errors), T(test_refused_connection), T(test_full_disk), T(test_simple_requests),
		T(test_status), T(test_ps), T(test_holds), T(test_services), T(test_call), T(test_rejections), T(test_timeout),
		T(test_launch), T(test_launch_errors), T(test_log), T(test_log_follow),
	};

	find_program();
	return cmocka_run_group_tests_name("cli", tests, NULL, NULL);
}
