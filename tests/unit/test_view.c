/* SPDX-License-Identifier: Apache-2.0 */
/*
 * capstan ls, cat and tree against a capstan-fs that this test plays, well or badly: what is asked, what is printed,
 * how it ends. And texts as JSON, by their formats.
 */
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "../../tools/text_json.h"
#include "../../tools/view.h"
#include "../../tools/viewer.h"

static struct { char dir[100]; int listen_fd; char out[1 << 16], err[1 << 14], asked[1 << 14]; int status; bool silence; } t;

/* A server that never says anything, without the wait. */
int __real_poll(struct pollfd *fds, nfds_t n, int timeout);
int __wrap_poll(struct pollfd *fds, nfds_t n, int timeout);
int __wrap_poll(struct pollfd *fds, nfds_t n, int timeout)
{
	return t.silence ? 0 : __real_poll(fds, n, timeout);
}

static void path_in(char out[200], const char *name)
{
	snprintf(out, 200, "%s/%s", t.dir, name);
}

static int setup(void **state)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	(void)state;
	t.silence = false;
	snprintf(t.dir, sizeof(t.dir), "%s/view-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
	assert_non_null(mkdtemp(t.dir));
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%.90s/" VIEWER_SOCKET, t.dir);
	t.listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(t.listen_fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(t.listen_fd, 5), 0);
	return 0;
}

static int teardown(void **state)
{
	static const char *const names[] = { VIEWER_SOCKET, "out", "err" };
	char path[200];

	(void)state;
	close(t.listen_fd);
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		path_in(path, names[i]);
		unlink(path);
	}
	return rmdir(t.dir);
}

/* --- one command ------------------------------------------------------------------------------------------------- */

enum what { LS, CAT, TREE };
struct run { enum what what; struct view_options o; const char *path, *second; };

static int run_in_child(const struct run *r)
{
	struct view_options o = r->o;
	char *const paths[] = { (char *)(uintptr_t)r->path, (char *)(uintptr_t)r->second };
	char path[200];
	int status;

	for (int i = 1; i <= 2; i++) {
		path_in(path, i == 1 ? "out" : "err");
		if (!freopen(path, "w", i == 1 ? stdout : stderr))
			_exit(99);
	}
	o.run_dir = t.dir;
	if (!o.depth)
		o.depth = UINT64_MAX;
	alarm(20);
	status = r->what == LS ? view_ls(&o, r->path) : r->what == TREE ? view_tree(&o, r->path) :
		 view_cat(&o, paths, r->second ? 2 : 1);
	fflush(NULL);
	_exit(status);
}

static void read_text(const char *name, char *text, size_t size)
{
	char path[200];
	FILE *f;

	path_in(path, name);
	f = fopen(path, "re");
	assert_non_null(f);
	text[fread(text, 1, size - 1, f)] = '\0';
	fclose(f);
}

/* Answers each line that is asked with the next of `answers`, at once or a byte at a time; after the last it says no more. */
static void play(struct run r, bool slowly, const char *const *answers)
{
	pid_t pid = fork();
	size_t asked = 0;
	int fd, status;

	assert_true(pid >= 0);
	if (!pid)
		run_in_child(&r);
	fd = accept4(t.listen_fd, NULL, NULL, SOCK_CLOEXEC);
	for (bool on = true; on; ) {
		ssize_t n = read(fd, t.asked + asked, 1);

		if (n <= 0)
			break;
		asked++;
		if (t.asked[asked - 1] != '\n')
			continue;
		on = *answers != NULL;
		for (const char *p = *answers; on && *p; p += slowly ? 1 : strlen(p))
			send(fd, p, slowly ? 1 : strlen(p), MSG_NOSIGNAL);
		answers += on;
		if (!*answers)
			shutdown(fd, SHUT_WR);
	}
	t.asked[asked] = '\0';
	close(fd);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	t.status = WEXITSTATUS(status);
	read_text("out", t.out, sizeof(t.out));
	read_text("err", t.err, sizeof(t.err));
}

static void expect(struct run r, const char *asked, const char *const *answers, int status, const char *out, const char *err)
{
	for (int slowly = 0; slowly <= 1; slowly++) {
		play(r, slowly, answers);
		assert_string_equal(t.out, out);
		assert_string_equal(t.err, err);
		assert_int_equal(t.status, status);
		if (asked)
			assert_string_equal(t.asked, asked);
	}
}

#define ANSWERS(...)	((const char *const[]){ __VA_ARGS__, NULL })
#define DIRECTORY	"{\"type\":\"directory\",\"mode\":\"0550\"}\n"
#define END		"{\"end\":true}\n"

static void test_ls(void **state)
{
	static const char entries[] = DIRECTORY "{\"name\":\"a\",\"type\":\"directory\",\"mode\":\"0550\"}\n"
				      "{\"name\":\"b\",\"type\":\"link\",\"mode\":\"0777\",\"link\":\"../a\"}\n"
				      "{\"name\":\"c\",\"type\":\"file\",\"mode\":\"0400\",\"size\":12}\n" END;

	(void)state;
	expect((struct run){ LS, { 0 }, "x", NULL }, "{\"op\":\"ls\",\"link\":false,\"path\":\"x\"}\n", ANSWERS(entries), 0, "a\nb\nc\n", "");
	expect((struct run){ LS, { .details = true }, "x", NULL }, "{\"op\":\"ls\",\"link\":true,\"path\":\"x\"}\n", ANSWERS(entries), 0,
	       "dr-xr-x---           -  a\nlrwxrwxrwx           -  b -> ../a\n-r--------          12  c\n", "");
	expect((struct run){ LS, { .json = true }, "x", NULL }, NULL, ANSWERS(entries), 0,
	       "[{\"name\":\"a\",\"type\":\"directory\",\"mode\":\"0550\"},{\"name\":\"b\",\"type\":\"link\",\"mode\":\"0777\",\"link\":\"../a\"},"
	       "{\"name\":\"c\",\"type\":\"file\",\"mode\":\"0400\",\"size\":12}]\n", "");
	expect((struct run){ LS, { 0 }, "x/y", NULL }, NULL, ANSWERS("{\"type\":\"file\",\"mode\":\"0440\"}\n" END), 0, "x/y\n", "");
	expect((struct run){ LS, { .json = true }, "", NULL }, NULL, ANSWERS(DIRECTORY END), 0, "[]\n", "");
}

static void test_tree(void **state)
{
	static const char entries[] = DIRECTORY "{\"name\":\"a\",\"depth\":1,\"type\":\"directory\"}\n"
				      "{\"name\":\"b\",\"depth\":2,\"type\":\"directory\"}\n"
				      "{\"name\":\"c\",\"depth\":3,\"type\":\"file\"}\n"
				      "{\"name\":\"d\",\"depth\":1,\"type\":\"link\",\"link\":\"a\"}\n" END;

	(void)state;
	expect((struct run){ TREE, { .depth = 7 }, "x", NULL }, "{\"op\":\"tree\",\"depth\":7,\"path\":\"x\"}\n", ANSWERS(entries), 0,
	       "x/\n  a/\n    b/\n      c\n  d -> a\n", "");
	expect((struct run){ TREE, { .json = true }, "", NULL }, "{\"op\":\"tree\",\"path\":\"\"}\n", ANSWERS(entries), 0,
	       "{\"type\":\"directory\",\"mode\":\"0550\",\"name\":\".\",\"contents\":[{\"name\":\"a\",\"type\":\"directory\",\"contents\":["
	       "{\"name\":\"b\",\"type\":\"directory\",\"contents\":[{\"name\":\"c\",\"type\":\"file\"}]}]},"
	       "{\"name\":\"d\",\"type\":\"link\",\"link\":\"a\"}]}\n", "");
}

#define FILE_HEAD(format, n)	"{\"type\":\"file\",\"format\":\"" format "\",\"length\":" #n "}\n"

static void test_cat(void **state)
{
	(void)state;
	expect((struct run){ CAT, { 0 }, "a", "b" }, "{\"op\":\"cat\",\"path\":\"a\"}\n{\"op\":\"cat\",\"path\":\"b\"}\n",
	       ANSWERS(FILE_HEAD("line", 6) "hello\n", FILE_HEAD("list", 0)), 0, "hello\n", "");
	expect((struct run){ CAT, { .json = true }, "a", "b" }, NULL,
	       ANSWERS(FILE_HEAD("line", 3) "12\n", FILE_HEAD("fields", 10) "k: 1\nk: x\n"), 0, "12\n{\"k\":[1,\"x\"]}\n", "");
	expect((struct run){ CAT, { .json = true }, "a", NULL }, NULL,
	       ANSWERS("{\"type\":\"file\",\"format\":\"table\",\"length\":8,\"cut\":true}\na b\n1 2\n"), 1, "[{\"a\":1,\"b\":2}]\n",
	       "capstan: a: too long: not all of it is shown\n");
	expect((struct run){ CAT, { 0 }, "events", NULL }, NULL, ANSWERS("{\"type\":\"file\",\"format\":\"stream\"}\none\ntwo\n"), 3, "one\ntwo\n",
	       "capstan: CONNECTION_LOST: capstan-fs went away before it had answered\n");
	expect((struct run){ CAT, { .json = true }, "events", NULL }, NULL,
	       ANSWERS("{\"type\":\"file\",\"format\":\"stream\"}\nT gone - ref=kp7\n[lost 1 events]\nT x"), 3,
	       "{\"time\":\"T\",\"kind\":\"gone\",\"vat\":null,\"ref\":\"kp7\"}\n{\"lost\":1}\n",
	       "capstan: CONNECTION_LOST: capstan-fs went away before it had answered\n");
}

/* The mount's own path, and others that only look like it. */
static void test_paths(void **state)
{
	static const struct { const char *after, *asked; } cases[] = {
		{ "/fs", "" }, { "/fs/", "/" }, { "/fs/vats/v1", "/vats/v1" }, { "/fsx", NULL }, { "/control.sock", NULL },
	};
	char path[200], asked[400];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		snprintf(path, sizeof(path), "%s%s", t.dir, cases[i].after);
		snprintf(asked, sizeof(asked), "{\"op\":\"cat\",\"path\":\"%s\"}\n", cases[i].asked ? cases[i].asked : path);
		expect((struct run){ CAT, { 0 }, path, NULL }, asked, ANSWERS(FILE_HEAD("line", 2) "1\n"), 0, "1\n", "");
	}
}

static void test_errors(void **state)
{
#define ERROR(m)	"{\"error\":\"X\",\"message\":\"" m "\"}\n"
	(void)state;
	expect((struct run){ LS, { 0 }, "a", NULL }, NULL, ANSWERS(ERROR("No such thing")), 1, "", "capstan: a: No such thing\n");
	expect((struct run){ CAT, { .json = true }, "a", "b" }, NULL, ANSWERS(ERROR("bad \\u001b[2J"), FILE_HEAD("line", 2) "x\n"), 1,
	       "null\n\"x\"\n", "capstan: a: bad \\x1b[2J\n");
	expect((struct run){ LS, { .json = true }, "a", NULL }, NULL, ANSWERS(DIRECTORY "{\"name\":\"x\"}\n" ERROR("gone")), 1,
	       "[{\"name\":\"x\"}]\n", "capstan: a: gone\n");
	expect((struct run){ LS, { 0 }, "", NULL }, NULL, ANSWERS(ERROR("no")), 1, "", "capstan: /: no\n");
}

#define LOST	"capstan: CONNECTION_LOST: capstan-fs went away before it had answered\n"
#define BAD	"capstan: BAD_ANSWER: what answers is no capstan-fs\n"

static void test_bad_answers(void **state)
{
	static char flood[100000];

	(void)state;
	memset(flood, 'x', sizeof(flood) - 1);
	expect((struct run){ LS, { 0 }, "a", NULL }, NULL, (const char *const[]){ NULL }, 3, "", LOST);
	expect((struct run){ LS, { 0 }, "a", NULL }, NULL, ANSWERS("\x1b{nonsense\n"), 1, "", BAD);
	expect((struct run){ LS, { 0 }, "a", NULL }, NULL, ANSWERS("[]\n"), 1, "", BAD);
	play((struct run){ LS, { 0 }, "a", NULL }, false, ANSWERS(flood));
	assert_int_equal(t.status, 1);
	assert_string_equal(t.err, BAD);
	expect((struct run){ LS, { 0 }, "a", NULL }, NULL, ANSWERS(DIRECTORY "{\"name\":\"\\u001b[2J\\u009b\"}\n{\"name\":[]}\n" END), 0,
	       "\\x1b[2J\\xc2\\x9b\n\n", "");
	expect((struct run){ TREE, { .json = true }, "a", NULL }, NULL, ANSWERS(DIRECTORY "{\"name\":\"x\",\"depth\":2}\n" END), 1,
	       "{\"type\":\"directory\",\"mode\":\"0550\",\"name\":\"a\",\"contents\":[]}\n", "capstan: BAD_ANSWER: an entry without its place\n");
	t.silence = true;
	play((struct run){ LS, { 0 }, "a", NULL }, false, ANSWERS(""));
	assert_int_equal(t.status, 3);
	assert_non_null(strstr(t.err, "capstan: NO_ANSWER: capstan-fs"));
}

static void test_nobody(void **state)
{
	struct run r = { LS, { 0 }, "a", NULL };
	char path[200];
	int status;
	pid_t pid;

	(void)state;
	path_in(path, VIEWER_SOCKET);
	unlink(path);
	pid = fork();
	if (!pid)
		run_in_child(&r);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(WEXITSTATUS(status), 3);
	read_text("err", t.err, sizeof(t.err));
	assert_non_null(strstr(t.err, "no kernel answers there"));
}

/* Each look goes on where the last one ended; what was trimmed meanwhile is told. */
static void test_follow(void **state)
{
#define LOG_HEAD(at, n)	"{\"type\":\"file\",\"format\":\"log\",\"offset\":" #at ",\"length\":" #n "}\n"
	(void)state;
	expect((struct run){ CAT, { .follow = true }, "l", NULL },
	       "{\"op\":\"cat\",\"offset\":0,\"path\":\"l\"}\n{\"op\":\"cat\",\"offset\":14,\"path\":\"l\"}\n"
	       "{\"op\":\"cat\",\"offset\":20,\"path\":\"l\"}\n{\"op\":\"cat\",\"offset\":33,\"path\":\"l\"}\n",
	       ANSWERS(LOG_HEAD(10, 4) "one\n", LOG_HEAD(14, 6) "two\n5\n", LOG_HEAD(30, 3) "ab\n", ERROR("No such file or directory")), 1,
	       "one\ntwo\n5\nab\n",
	       "capstan: l: 10 bytes were thrown away before they were read\ncapstan: l: No such file or directory\n");
	expect((struct run){ CAT, { .follow = true, .json = true }, "l", NULL }, NULL,
	       ANSWERS(LOG_HEAD(0, 29) "T 1 info  text \\x1b\nT 2 warn\n", ERROR("gone")), 1,
	       "{\"time\":\"T\",\"incarnation\":1,\"level\":\"info\",\"text\":\" text \\\\x1b\"}\n"
	       "{\"time\":\"T\",\"incarnation\":2,\"level\":\"warn\",\"text\":\"\"}\n",
	       "capstan: l: gone\n");
	expect((struct run){ CAT, { .follow = true }, "l", NULL }, NULL, ANSWERS(FILE_HEAD("line", 2) "1\n"), 1, "",
	       "capstan: l: not a log: nothing is added at its end\n");
}

/* --- texts ------------------------------------------------------------------------------------------------------- */

static void test_formats(void **state)
{
	static const struct { const char *format, *text, *json; } cases[] = {
		{ "line", "running\n", "\"running\"" }, { "line", "42\n", "42" }, { "line", "-7\n", "-7" }, { "line", "0.25\n", "0.25" },
		{ "line", "007\n", "\"007\"" }, { "line", "1e3\n", "\"1e3\"" }, { "line", "1.\n", "\"1.\"" }, { "line", ".5\n", "\".5\"" },
		{ "line", "-\n", "\"-\"" }, { "line", "", "\"\"" }, { "line", "\n", "\"\"" }, { "line", "a\\x1b\n", "\"a\\\\x1b\"" },
		{ "line", "999999999999999999\n", "999999999999999999" }, { "line", "18446744073709551615\n", "\"18446744073709551615\"" },
		{ "line", "\xff\n", "\"\\\\xff\"" },
		{ "fields", "a: 1\nb: x: y\nc:\n", "{\"a\":1,\"b\":\"x: y\",\"c\":\"\"}" },
		{ "fields", "a: 1\na: 2\na: 3\n", "{\"a\":[1,2,3]}" }, { "fields", "none\n", "\"none\"" }, { "fields", "", "{}" },
		{ "fields", "a: 1\n[cut: there is more than 9 bytes]\n", "{\"a\":1}" },
		{ "table", "a   bb  c\n1   -   rest of it\nx\n", "[{\"a\":1,\"bb\":null,\"c\":\"rest of it\"},{\"a\":\"x\",\"bb\":null,\"c\":null}]" },
		{ "table", "a  b\n", "[]" }, { "table", "", "[]" }, { "table", "a  b\n0.004  -\n[cut: x]\n", "[{\"a\":0.004,\"b\":null}]" },
		{ "list", "kp1\nkp2\n", "[\"kp1\",\"kp2\"]" }, { "list", "", "[]" },
		{ "json", "{\"a\":[1]}\n", "{\"a\":[1]}" }, { "json", "{broken\n", "\"{broken\"" },
		{ "log", "T 1 info a b\n", "[{\"time\":\"T\",\"incarnation\":1,\"level\":\"info\",\"text\":\"a b\"}]" },
		{ "events", "T crank v3 delivery=41 target=ko12 method=get\\x20name why=it said: a=b\n[lost 12 events]\nT gone - ref=kp7\n",
		  "[{\"time\":\"T\",\"kind\":\"crank\",\"vat\":\"v3\",\"delivery\":41,\"target\":\"ko12\",\"method\":\"get\\\\x20name\","
		  "\"why\":\"it said: a=b\"},{\"lost\":12},{\"time\":\"T\",\"kind\":\"gone\",\"vat\":null,\"ref\":\"kp7\"}]" },
		{ "unheard", "x y\n", "\"x y\"" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		json_t *json = text_to_json(cases[i].format, cases[i].text, strlen(cases[i].text));
		char *text = json_dumps(json, OUTPUT_JSON_FLAGS);

		assert_non_null(json);
		assert_string_equal(text, cases[i].json);
		free(text);
		json_decref(json);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_ls, setup, teardown), cmocka_unit_test_setup_teardown(test_tree, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cat, setup, teardown), cmocka_unit_test_setup_teardown(test_paths, setup, teardown),
		cmocka_unit_test_setup_teardown(test_errors, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bad_answers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_nobody, setup, teardown),
		cmocka_unit_test_setup_teardown(test_follow, setup, teardown), cmocka_unit_test(test_formats),
	};

	alarm(100);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
