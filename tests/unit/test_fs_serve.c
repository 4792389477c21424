/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The socket of the tree without processes: requests and answers byte for byte, then clients that send oddly, do not
 * read, come in crowds or may not. Looks are played: they can be repeated from the start, as under a lease that ran
 * out, and can fail.
 */
#include <grp.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "fs_state.h"

#include "../../fs/answer.h"
#include "../../fs/serve.h"

#define N_MANY		3000u
#define FROZEN		7u	/* the number of the frozen tree */
#define STRANGER	54321u	/* a user and a group that nobody is */

static struct {
	struct fixture *f;
	struct common common;
	struct serve *serve;
	int listen_fd;
	bool repeat;			/* every look is done twice */
	int fail_after;			/* looks; -1: never */
	int error;			/* with this */
	uint64_t ahead_ns;		/* of the clock */
	struct lease lease;		/* its live page: events */
	struct watcher *watchers;	/* who waits for events */
} t;

/* --- what is played ---------------------------------------------------------------------------------------------- */

uint64_t __real_now_monotonic_ns(void);
uint64_t __wrap_now_monotonic_ns(void);
uint64_t __wrap_now_monotonic_ns(void)
{
	return __real_now_monotonic_ns() + t.ahead_ns;
}

int look_at(struct look *l, uint32_t snapshot, look_fn look, void *arg)
{
	int r;

	struct view v = t.f->view;

	assert_ptr_equal(l, &t.common.look);
	assert_true(snapshot == 0 || snapshot == FROZEN);
	v.snapshot = snapshot;
	if (!t.fail_after)
		return t.error;
	t.fail_after--;
	if (t.repeat)
		look(&v, arg);
	r = look(&v, arg);
	return r < 0 ? EIO : r == VIEW_E_ABSENT ? ENOENT : r ? EIO : 0;
}

int look_frozen(struct look *l, const char *name, uid_t uid, uint32_t *numberp)
{
	assert_ptr_equal(l, &t.common.look);
	assert_int_equal(uid, geteuid());
	*numberp = FROZEN;
	return !strcmp(name, "then") ? 0 : !strcmp(name, "many") ? EMFILE : ENOENT;
}

void watch_wait(struct watch *w, struct watcher *who)
{
	assert_ptr_equal(w, &t.common.watch);
	if (who->waiting)
		return;
	who->waiting = true;
	who->next = t.watchers;
	t.watchers = who;
}

void watch_stop(struct watch *w, struct watcher *who)
{
	struct watcher **at = &t.watchers;

	assert_ptr_equal(w, &t.common.watch);
	while (*at && *at != who)
		at = &(*at)->next;
	assert_true(who->waiting == (*at == who));
	if (*at)
		*at = who->next;
	who->waiting = false;
}

/* The broker's side: n more events, and those who wait are told. */
static void happen(uint64_t n)
{
	struct live_page *page = t.f->page;

	for (; n; n--) {
		uint64_t number = ++page->n_begun;

		page->events[number % LIVE_EVENTS] = (struct live_event){
			.number = number, .time_us = THEN, .kind = LIVE_GONE, .ref = ko(number).bits };
		page->n_shown = number;
	}
	for (struct watcher *w = t.watchers, *next; w; w = next) {
		next = w->next;
		w->shown(w);
	}
}

static void write_rows(struct store *s)
{
	struct row_vat vat = { .incarnation = 1, .status = VAT_RUNNING, .next_log = 3 };
	struct row_log log = { .time_us = THEN, .level = 1, .incarnation = 1 };

	put_log(s, 1, 1, log, "one");
	log.offset += log_line_size(&log, "one", 3);
	put_log(s, 1, 2, log, "two\n\x1b\\");
	vat.log_bytes = log.offset + log_line_size(&log, "two\n\x1b\\", 6);
	put_vat(s, 1, vat, "alice", "");
	put_clist(s, endpoint_vat(1), "o+0", ko(1), CLIST_F_REACHABLE);
	for (uint64_t i = 1; i <= N_MANY; i++)
		put_object(s, i, endpoint_vat(1), 1, 0, 1, 1);
	assert_int_equal(store_commit(s), 0);
}

static int setup(void **state)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int r = setup_state(state, write_rows);

	memset(&t, 0, sizeof(t));
	t.f = *state;
	t.fail_after = -1;
	t.common.access.uid = geteuid();
	t.common.access.uid_block = 1;
	t.lease.live = show_live(t.f);
	t.common.look.lease = &t.lease;
	t.listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/sock", t.f->dir);
	assert_int_equal(bind(t.listen_fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(t.listen_fd, 100), 0);
	chmod(t.f->dir, 0755);
	chmod(addr.sun_path, 0666);
	assert_int_equal(loop_init(&t.common.loop), 0);
	assert_int_equal(serve_new(&t.serve, &t.common, t.listen_fd), 0);
	return r;
}

static int take_down(void **state)
{
	serve_free(t.serve);
	assert_null(t.watchers);
	charges_deinit(&t.common.charges);	/* asserts that all came home */
	loop_deinit(&t.common.loop);
	close(t.listen_fd);
	return teardown(state);
}

static int come(void)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/sock", t.f->dir);
	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

static void say(int fd, const char *bytes, size_t len)
{
	assert_int_equal(send(fd, bytes, len, MSG_NOSIGNAL), len);
}

static void rounds(unsigned int n)
{
	while (n--)
		assert_int_equal(loop_round(&t.common.loop, 0), 0);
	serve_tick(t.serve);
}

/* All that comes until the server has nothing more to say; malloc'd. *endp: it has hung up. */
static char *hear(int fd, bool *endp)
{
	char *all = malloc(8 << 20);
	size_t len = 0;

	*endp = false;
	for (int quiet = 0; quiet < 4 && !*endp; quiet++) {
		ssize_t n;

		rounds(1);
		n = recv(fd, all + len, (8 << 20) - 1 - len, 0);
		if (n > 0)
			quiet = 0;
		len += n > 0 ? (size_t)n : 0;
		*endp = n == 0 || (n < 0 && errno != EAGAIN);
	}
	all[len] = '\0';
	return all;
}

static void expect_answer(int fd, const char *request, const char *answer)
{
	bool end;
	char *got;

	say(fd, request, strlen(request));
	say(fd, "\n", 1);
	got = hear(fd, &end);
	assert_string_equal(got, answer);
	assert_false(end);
	free(got);
}

/* --- requests and answers ---------------------------------------------------------------------------------------- */

#define DIRECTORY	"{\"type\":\"directory\",\"mode\":\"0550\"}\n"
#define END		"{\"end\":true}\n"
#define ERROR(e, m)	"{\"error\":\"" e "\",\"message\":\"" m "\"}\n"
#define LINE_1		"2023-11-14T22:13:20.000000Z 1 info one\n"
#define LINE_2		"2023-11-14T22:13:20.000000Z 1 info two\\n\\x1b\\\\\n"

static void test_answers(void **state)
{
	int fd = come();

	(void)state;
	for (t.repeat = false; ; t.repeat = true) {
		expect_answer(fd, "{\"op\":\"ls\",\"path\":\"vats\"}",
			      DIRECTORY "{\"name\":\"v1\",\"type\":\"directory\",\"mode\":\"0550\"}\n" END);
		expect_answer(fd, "{\"op\":\"ls\",\"path\":\"vats/v1/clist\"}",
			      DIRECTORY "{\"name\":\"o+0\",\"type\":\"link\",\"mode\":\"0777\",\"link\":\"../../../objects/ko1\"}\n" END);
		expect_answer(fd, "{\"op\":\"ls\",\"path\":\"vats/v1/name\"}",
			      "{\"type\":\"file\",\"mode\":\"0440\",\"format\":\"line\"}\n" END);
		expect_answer(fd, "{\"op\":\"ls\",\"path\":\"vats/v1/clist/o+0\",\"link\":true}",
			      "{\"type\":\"link\",\"mode\":\"0777\",\"link\":\"../../../objects/ko1\"}\n" END);
		expect_answer(fd, "{\"op\":\"stat\",\"path\":\"vats/v1\"}", DIRECTORY END);
		expect_answer(fd, "{\"op\":\"stat\",\"path\":\"vats/v1/log\"}",
			      "{\"type\":\"file\",\"mode\":\"0440\",\"format\":\"log\",\"size\":86}\n" END);
		expect_answer(fd, "{\"op\":\"tree\",\"path\":\"vats\",\"depth\":1}",
			      DIRECTORY "{\"name\":\"v1\",\"depth\":1,\"type\":\"directory\",\"mode\":\"0550\"}\n" END);
		expect_answer(fd, "{\"op\":\"tree\",\"path\":\"vats\",\"depth\":0}", DIRECTORY END);
		expect_answer(fd, "{\"op\":\"cat\",\"path\":\"/vats/v1/name\",\"new\":[1]}",
			      "{\"type\":\"file\",\"mode\":\"0440\",\"format\":\"line\",\"length\":6}\nalice\n");
		if (t.repeat)
			break;
	}
	close(fd);
}

static void test_errors(void **state)
{
	int fd = come();

	(void)state;
	expect_answer(fd, "{\"op\":\"cat\",\"path\":\"vats/v9\"}", ERROR("ENOENT", "No such file or directory"));
	expect_answer(fd, "{\"op\":\"cat\",\"path\":\"vats\"}", ERROR("EISDIR", "Is a directory"));
	expect_answer(fd, "{\"op\":\"cat\"}", ERROR("EISDIR", "Is a directory"));
	expect_answer(fd, "{\"op\":\"tree\",\"path\":\"version\"}", ERROR("ENOTDIR", "Not a directory"));
	expect_answer(fd, "{\"op\":\"cat\",\"path\":\"vats/v1/clist/o+0\",\"link\":true}",
		      ERROR("ELOOP", "Too many levels of symbolic links"));
	expect_answer(fd, "", ERROR("EINVAL", "expected a request in JSON"));
	expect_answer(fd, "\x1b{\xff", ERROR("EINVAL", "expected a request in JSON"));
	expect_answer(fd, "{\"op\":\"ls\",\"op\":\"cat\"}", ERROR("EINVAL", "expected a request in JSON"));
	expect_answer(fd, "{\"op\":\"dance\"}", ERROR("EINVAL", "op: expected ls, tree, cat or stat"));
	expect_answer(fd, "[\"ls\"]", ERROR("EINVAL", "expected a JSON object"));
	expect_answer(fd, "{\"op\":\"ls\",\"path\":1}", ERROR("EINVAL", "path: expected a string"));
	expect_answer(fd, "{\"op\":\"ls\",\"path\":\"a\\u0000b\"}", ERROR("EINVAL", "expected a request in JSON"));
	expect_answer(fd, "{\"op\":\"ls\",\"link\":1}", ERROR("EINVAL", "link: expected true or false"));
	expect_answer(fd, "{\"op\":\"tree\",\"depth\":-1}", ERROR("EINVAL", "depth: expected a whole number"));
	expect_answer(fd, "{\"op\":\"cat\",\"offset\":\"\"}", ERROR("EINVAL", "offset: expected a whole number"));
	t.fail_after = 0;
	t.error = EIO;
	expect_answer(fd, "{\"op\":\"ls\"}", ERROR("EIO", "Input/output error"));
	t.fail_after = -1;
	expect_answer(fd, "{\"op\":\"stat\"}", DIRECTORY END);
	close(fd);
}

static void test_log(void **state)
{
	int fd = come();

	(void)state;
#define LOG(members)	"{\"type\":\"file\",\"mode\":\"0440\",\"format\":\"log\",\"size\":86" members "}\n"
	expect_answer(fd, "{\"op\":\"cat\",\"path\":\"vats/v1/log\"}", LOG(",\"length\":86") LINE_1 LINE_2);
	expect_answer(fd, "{\"op\":\"cat\",\"path\":\"vats/v1/log\",\"offset\":0}", LOG(",\"offset\":0,\"length\":86") LINE_1 LINE_2);
	expect_answer(fd, "{\"op\":\"cat\",\"path\":\"vats/v1/log\",\"offset\":39}", LOG(",\"offset\":39,\"length\":47") LINE_2);
	expect_answer(fd, "{\"op\":\"cat\",\"path\":\"vats/v1/log\",\"offset\":86}", LOG(",\"offset\":86,\"length\":0"));
	expect_answer(fd, "{\"op\":\"cat\",\"path\":\"vats/v1/log\",\"offset\":9999}", LOG(",\"offset\":86,\"length\":0"));
	close(fd);
}

/* --- long listings ----------------------------------------------------------------------------------------------- */

static size_t count(const char *text, const char *word)
{
	size_t n = 0;

	for (const char *p = text; (p = strstr(p, word)); p += strlen(word))
		n++;
	return n;
}

/* In pieces, each looked at anew; and no more than a piece is held, however long the listing. */
static void test_pieces(void **state)
{
	static const char request[] = "{\"op\":\"tree\",\"path\":\"objects\"}\n";
	int fd = come();
	char *once, *twice;
	bool end;

	(void)state;
	say(fd, request, strlen(request));
	rounds(6);	/* the socket's buffer is full */
	assert_true(t.common.charges.n_bytes > ANSWER_PIECE / 2 && t.common.charges.n_bytes < 4 * ANSWER_PIECE);
	once = hear(fd, &end);
	assert_int_equal(count(once, "{\"name\":\"ko"), N_MANY);
	assert_int_equal(count(once, "{\"name\":\"status\",\"depth\":2"), N_MANY);
	assert_non_null(strstr(once, "}\n" END));
	t.repeat = true;
	say(fd, request, strlen(request));
	twice = hear(fd, &end);
	assert_string_equal(once, twice);
	free(once);
	free(twice);
	close(fd);
}

/* What fails in the middle ends the listing with its error, and the next request is answered. */
static void test_failure_in_the_middle(void **state)
{
	static const char request[] = "{\"op\":\"tree\",\"path\":\"objects\"}\n";
	int fd = come();
	char *text;
	bool end;

	(void)state;
	t.fail_after = 2;
	t.error = ENOENT;
	say(fd, request, strlen(request));
	text = hear(fd, &end);
	assert_null(strstr(text, END));
	assert_string_equal(text + strlen(text) - strlen(ERROR("ENOENT", "No such file or directory")),
			    ERROR("ENOENT", "No such file or directory"));
	free(text);
	t.fail_after = -1;
	expect_answer(fd, "{\"op\":\"stat\"}", DIRECTORY END);
	close(fd);
}

/* --- frozen trees and events ------------------------------------------------------------------------------------- */

static void test_frozen(void **state)
{
	int fd = come();
	char *text;
	bool end;

	(void)state;
	expect_answer(fd, "{\"op\":\"cat\",\"path\":\"snapshot/then/vats/v1/name\"}",
		      "{\"type\":\"file\",\"mode\":\"0440\",\"format\":\"line\",\"length\":6}\nalice\n");
	expect_answer(fd, "{\"op\":\"stat\",\"path\":\"snapshot/then/vats/v1/clist/o+0\"}", DIRECTORY END);
	expect_answer(fd, "{\"op\":\"stat\",\"path\":\"snapshot/then/../then/../../vats\"}", DIRECTORY END);
	expect_answer(fd, "{\"op\":\"ls\",\"path\":\"snapshot/x y\"}", ERROR("ENOENT", "No such file or directory"));
	expect_answer(fd, "{\"op\":\"ls\",\"path\":\"snapshot/many\"}", ERROR("EMFILE", "Too many open files"));
	say(fd, "{\"op\":\"tree\",\"path\":\"snapshot/then/vats\"}\n", 42);
	text = hear(fd, &end);
	assert_non_null(strstr(text, "{\"name\":\"o+0\",\"depth\":3,"));
	free(text);
	close(fd);
}

static const char stream_request[] = "{\"op\":\"cat\",\"path\":\"events\"}\n";
#define STREAM_HEAD	"{\"type\":\"file\",\"mode\":\"0440\",\"format\":\"stream\"}\n"

static int come_for_events(void)
{
	int fd = come();
	char *text;
	bool end;

	say(fd, stream_request, strlen(stream_request));
	text = hear(fd, &end);
	assert_string_equal(text, STREAM_HEAD);
	assert_false(end);
	free(text);
	return fd;
}

static void expect_events(int fd, const char *lines)
{
	bool end;
	char *text = hear(fd, &end);

	assert_string_equal(text, lines);
	assert_false(end);
	free(text);
}

/* Two readers get all that happens from when they came; waiting is for ever; what they send meanwhile is passed over. */
static void test_events(void **state)
{
	int fd, second;

	(void)state;
	happen(2);
	fd = come_for_events();
	expect_events(fd, "");
	happen(1);
	expect_events(fd, "2023-11-14T22:13:20.000000Z gone - ref=ko3\n");
	say(fd, "{\"op\":\"stat\"}\n{", 15);
	expect_events(fd, "");
	second = come_for_events();
	t.ahead_ns = SERVE_PATIENCE_MS * UINT64_C(5000000);
	assert_int_equal(serve_timeout_ms(t.serve), -1);
	rounds(2);
	happen(2);
	expect_events(second, "2023-11-14T22:13:20.000000Z gone - ref=ko4\n2023-11-14T22:13:20.000000Z gone - ref=ko5\n");
	expect_events(fd, "2023-11-14T22:13:20.000000Z gone - ref=ko4\n2023-11-14T22:13:20.000000Z gone - ref=ko5\n");
	shutdown(second, SHUT_WR);
	expect_events(second, "");
	happen(1);
	expect_events(second, "2023-11-14T22:13:20.000000Z gone - ref=ko6\n");
	close(second);
	rounds(3);
	assert_int_equal(t.common.charges.n, 1);
	close(fd);
	rounds(3);
	assert_int_equal(t.common.charges.n, 0);
}

/* A reader that does not read holds a piece, loses what goes by, and is told how much; in the end it is dropped. */
static void test_slow_events(void **state)
{
	int fd = come_for_events();
	char *text;
	bool end;

	(void)state;
	for (int i = 0; i < 40; i++) {
		happen(LIVE_EVENTS / 4);
		rounds(3);
	}
	assert_true(t.common.charges.n_bytes < 4 * ANSWER_PIECE);
	text = hear(fd, &end);
	assert_int_equal(count(text, "[lost "), 1);
	assert_true(count(text, " gone ") > LIVE_EVENTS / 2);
	free(text);
	for (int i = 0; i < 10; i++) {
		happen(LIVE_EVENTS / 4);
		rounds(3);
	}
	t.ahead_ns = SERVE_PATIENCE_MS * UINT64_C(1001000);
	rounds(1);
	assert_int_equal(t.common.charges.n, 0);
	close(fd);
}

/* --- odd clients ------------------------------------------------------------------------------------------------- */

static void test_bytes_one_by_one(void **state)
{
	static const char request[] = "{\"op\":\"cat\",\"path\":\"vats/v1/name\"}\n";
	int fd = come();
	char *text;
	bool end;

	(void)state;
	for (size_t i = 0; i + 1 < strlen(request); i++) {
		say(fd, request + i, 1);
		rounds(2);
	}
	text = hear(fd, &end);
	assert_string_equal(text, "");
	free(text);
	say(fd, "\n", 1);
	text = hear(fd, &end);
	assert_non_null(strstr(text, "\nalice\n"));
	free(text);
	close(fd);
}

/* Several in one write are answered in their order; also after the client has shut down its side; half a line is not. */
static void test_pipelined(void **state)
{
	static const char requests[] = "{\"op\":\"stat\"}\n{\"op\":\"cat\",\"path\":\"x\"}\n{\"op\":\"stat\"}\n{\"op\":";
	int fd = come();
	char *text;
	bool end;

	(void)state;
	say(fd, requests, strlen(requests));
	shutdown(fd, SHUT_WR);
	text = hear(fd, &end);
	assert_true(end);
	assert_string_equal(text, DIRECTORY END ERROR("ENOENT", "No such file or directory") DIRECTORY END);
	free(text);
	close(fd);
}

static void test_too_long(void **state)
{
	char line[REQUEST_MAX + 10];
	int fd = come();
	char *text;
	bool end;

	(void)state;
	memset(line, ' ', sizeof(line));
	memcpy(line + REQUEST_MAX - 15, "{\"op\":\"stat\"}", 13);
	line[REQUEST_MAX - 1] = '\n';
	say(fd, line, REQUEST_MAX);
	text = hear(fd, &end);
	assert_string_equal(text, DIRECTORY END);
	free(text);
	line[REQUEST_MAX - 1] = ' ';
	say(fd, line, sizeof(line));
	text = hear(fd, &end);
	assert_true(end);
	assert_string_equal(text, ERROR("EMSGSIZE", "a request is a line of at most 8192 bytes"));
	free(text);
	close(fd);
}

/* Gone in every state: before a request, after it, in the middle of its answer. */
static void test_gone(void **state)
{
	static const char request[] = "{\"op\":\"tree\"}\n";

	(void)state;
	for (unsigned int i = 0; i < 12; i++) {
		int fd = come();

		rounds(i & 1);
		if (i & 2)
			say(fd, request, strlen(request));
		rounds(i / 4);
		close(fd);
		rounds(3);
		assert_int_equal(t.common.charges.n, 0);
	}
}

static void test_garbage(void **state)
{
	struct rng rng = { 4711 };
	bool end = true;
	int fd = -1;

	(void)state;
	for (unsigned int i = 0; i < 300; i++) {
		char bytes[256];
		size_t len = 1 + rng_below(&rng, sizeof(bytes) - 1);

		if (end) {
			if (fd >= 0)
				close(fd);
			fd = come();
		}
		for (size_t j = 0; j < len; j++)
			bytes[j] = rng_below(&rng, 20) ? (char)rng_next(&rng) : '\n';
		if (rng_below(&rng, 2))
			memcpy(bytes, "{\"op\":\"ls\",\"path\":\"", len < 19 ? len : 19);
		say(fd, bytes, len);
		free(hear(fd, &end));
	}
	close(fd);
	fd = come();
	expect_answer(fd, "{\"op\":\"stat\"}", DIRECTORY END);
	close(fd);
}

/* --- crowds ------------------------------------------------------------------------------------------------------ */

/* Those who do not read delay nobody and are dropped in the end; one beyond its share is sent away with a reason. */
static void test_not_reading(void **state)
{
	static const char request[] = "{\"op\":\"tree\"}\n{\"op\":\"tree\"}\n";
	int idle[SERVE_MAX_UID_CLIENTS - 1], fd, late;
	char *text;
	bool end;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(idle); i++) {
		idle[i] = come();
		say(idle[i], request, strlen(request));
	}
	rounds(50);
	fd = come();
	expect_answer(fd, "{\"op\":\"stat\"}", DIRECTORY END);
	late = come();
	text = hear(late, &end);
	assert_true(end);
	assert_string_equal(text, ERROR("EMFILE", "Too many open files"));
	free(text);
	close(late);
	assert_true(serve_timeout_ms(t.serve) > 0 && serve_timeout_ms(t.serve) <= (int)SERVE_PATIENCE_MS);
	t.ahead_ns = SERVE_PATIENCE_MS * UINT64_C(999000);
	expect_answer(fd, "{\"op\":\"stat\"}", DIRECTORY END);
	assert_int_equal(t.common.charges.n, SERVE_MAX_UID_CLIENTS);
	t.ahead_ns = SERVE_PATIENCE_MS * UINT64_C(1001000);
	rounds(2);
	assert_int_equal(t.common.charges.n, 1);	/* the one that went on */
	expect_answer(fd, "{\"op\":\"stat\"}", DIRECTORY END);
	for (size_t i = 0; i < ARRAY_LEN(idle); i++)
		close(idle[i]);
	close(fd);
	rounds(2);
	assert_int_equal(serve_timeout_ms(t.serve), -1);
}

/* --- who may ----------------------------------------------------------------------------------------------------- */

/* Connect as somebody else: the kernel notes who it was at that moment. */
static int come_as(uid_t uid, gid_t gid, gid_t group)
{
	int fd;

	assert_int_equal(setgroups(1, &group), 0);
	assert_int_equal(setegid(gid), 0);
	assert_int_equal(seteuid(uid), 0);
	fd = come();
	assert_int_equal(seteuid(0), 0);
	assert_int_equal(setegid(0), 0);
	return fd;
}

#define DENIED	ERROR("EACCES", "Permission denied")

static void test_strangers(void **state)
{
	struct access *a = &t.common.access;
	int fd;

	(void)state;
	if (geteuid())
		skip();
	a->uid = 0;
	a->gid = STRANGER;
	fd = come_as(STRANGER, STRANGER + 1, STRANGER + 2);
	expect_answer(fd, "{\"op\":\"ls\"}", DENIED);
	expect_answer(fd, "{\"op\":\"cat\",\"path\":\"version\"}", DENIED);
	expect_answer(fd, "{\"op\":\"cat\",\"path\":\"nonsense\"}", DENIED);
	a->world = true;
	expect_answer(fd, "{\"op\":\"stat\"}", "{\"type\":\"directory\",\"mode\":\"0555\"}\n" END);
	a->world = false;
	close(fd);
	fd = come_as(STRANGER, STRANGER + 1, STRANGER);	/* by a supplementary group */
	expect_answer(fd, "{\"op\":\"stat\",\"path\":\"vats\"}", DIRECTORY END);
	a->hide = 1u << (NODE_LOGS - 1);
	expect_answer(fd, "{\"op\":\"cat\",\"path\":\"vats/v1/log\"}", DENIED);
	expect_answer(fd, "{\"op\":\"cat\",\"path\":\"vats/v1/name\"}",
		      "{\"type\":\"file\",\"mode\":\"0440\",\"format\":\"line\",\"length\":6}\nalice\n");
	close(fd);
	fd = come_as(STRANGER + 5, STRANGER, STRANGER);
	expect_answer(fd, "{\"op\":\"stat\",\"path\":\"vats\"}", DIRECTORY END);
	a->world = true;
	a->uid_block = STRANGER;
	a->uid_block_last = STRANGER + 9;
	expect_answer(fd, "{\"op\":\"stat\"}", DENIED);	/* a vat's user, whatever the modes say */
	expect_answer(fd, "{\"op\":\"ls\",\"path\":\"vats\"}", DENIED);
	close(fd);
}

#define serve_test(f) cmocka_unit_test_setup_teardown(f, setup, take_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		serve_test(test_answers), serve_test(test_errors), serve_test(test_log), serve_test(test_pieces),
		serve_test(test_failure_in_the_middle), serve_test(test_frozen), serve_test(test_events),
		serve_test(test_slow_events), serve_test(test_bytes_one_by_one), serve_test(test_pipelined),
		serve_test(test_too_long), serve_test(test_gone), serve_test(test_garbage), serve_test(test_not_reading),
		serve_test(test_strangers),
	};

	alarm(100);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
