/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Channels to the outside (S4, S13 to S17) and system subclusters (S1, S2, S12), in process: the other end of each file, FIFO
 * and socket is the test's. On both kinds of store; after every step the store is recounted (C6).
 */
#include "kernel_steps.h"

#include <fcntl.h>
#include <inttypes.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "../../broker/io.h"
#include "../../broker/service.h"
#include "../../broker/system.h"

#define ZEROS "sha256:0000000000000000000000000000000000000000000000000000000000000000"
#define LONG  65536

static char io_dir[DIR_MAX + 8], *io_paths[] = {io_dir};
static int io_dir_fd = -1;
static char text_buf[8 * DIR_MAX];

/* "%s" is the folder of the test. */
static const char *in_dir(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static const char *in_dir(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text_buf, sizeof(text_buf), fmt, ap);
	va_end(ap);
	return text_buf;
}

static const char *path_of(const char *name)
{
	static char path[2 * DIR_MAX];

	snprintf(path, sizeof(path), "%s/%s", io_dir, name);
	return path;
}

/* What the broker was given at its start. */
static void allow(void)
{
	if (io_dir_fd < 0) {
		snprintf(io_dir, sizeof(io_dir), "%s/io", world->dir);
		assert_int_equal(mkdir(io_dir, 0755), 0);
		io_dir_fd = open(io_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	}
	world->k.settings.io_paths = io_paths;
	world->k.settings.n_io_paths = 1;
	world->k.io_dirs = &io_dir_fd;
}

static void crash(void)
{
	world_crash();
	allow();
	world_run();
}

/* --- launching --------------------------------------------------------------------------------------------- */

static int try_launch(const char *io, char error[CONFIG_ERROR_MAX])
{
	_cleanup_free_ char *text = NULL;
	struct config_paths paths = {0};
	struct config *config = NULL;
	json_t *json;
	int r;

	assert_true(asprintf(&text, "{\"bootstrap\":\"a\",\"vats\":{\"a\":{\"program\":\"" ZEROS "\"}},\"io\":%s}", io) > 0);
	json = json_loads(text, 0, NULL);
	assert_non_null(json);
	r = config_parse(json, &config, error);
	world->request = (struct control_request){0};
	if (r == 0)
		r = launch_begin(&world->k, config, json, &paths, NULL, NULL, &world->request, error);
	json_decref(json);
	return r;
}

static void launch_refused(const char *io, const char *expected)
{
	char error[CONFIG_ERROR_MAX] = "";
	size_t objects = n_rows(T_OBJECT), services = n_rows(T_SERVICE);

	assert_int_equal(try_launch(io, error), 1);
	assert_string_equal(error, expected);
	world_run();
	assert_int_equal(n_rows(T_OBJECT), objects);
	assert_int_equal(n_rows(T_SERVICE), services);
}

/* The channels reach bootstrap under their names; none was asked for (S4). */
static void launch(const char *io)
{
	char error[CONFIG_ERROR_MAX], *text;

	if (try_launch(io, error))
		fail_msg("%s", error);
	world_run();
	start_up("a");
	text = next_delivery(raw_named("a"));
	assert_non_null(text);
	assert_non_null(strstr(text, "{\"ch\":\"$1\""));
	free(text);
	play("a", "resolve p-1 data #ok []", "done", NULL);
	assert_true(world->request.answered);
}

static void launch_one(const char *type, const char *name, const char *direction, const char *unit)
{
	launch(in_dir("{\"ch\":{\"type\":\"%s\",\"path\":\"%s/%s\",\"direction\":\"%s\",\"unit\":\"%s\"}}", type, io_dir, name, direction,
		      unit));
}

static kref_t channel_named(const char *channel)
{
	char name[80];
	kref_t ref;

	snprintf(name, sizeof(name), "io:s%" PRIu64 ":%s", subcluster_of("a"), channel);
	assert_int_equal(service_find(&world->k, name, &ref), 0);
	return ref;
}
static kref_t channel(void) { return channel_named("ch"); }

static kref_t call(const char *body)
{
	kref_t result = host_send(channel(), body, NULL, 0, true);

	world_run();
	return result;
}
#define READ "#[\"read\",[]]"
#define CLOSE "#[\"close\",[]]"
#define WRITE(text) "#[\"write\",[\"" text "\"]]"
#define UNDEFINED "data #\"#undefined\" []"

static void reads(const char *expected) { expect_promise(call(READ), expected); }
static void writes(const char *body) { expect_promise(call(body), UNDEFINED); }

static void put_file(const char *name, const char *text)
{
	int fd = open(path_of(name), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

static void file_has(const char *name, const char *text)
{
	char buf[4096] = "";
	int fd = open(path_of(name), O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_true(read(fd, buf, sizeof(buf) - 1) >= 0);
	close(fd);
	assert_string_equal(buf, text);
}

/* --- files ------------------------------------------------------------------------------------------------- */

/* S14: line by line; null at the end; what is added later is read later; over a crash from where the answers ended */
static void test_file_in(void **state)
{
	kref_t waiting;

	(void)state;
	allow();
	put_file("words", "one\n\n\"two\" \xc3\xa9\n!three\nbad\xff\nlast");
	launch_one("file", "words", "in", "line");
	reads("data #\"one\" []");
	reads("data #\"\" []");
	reads("data #\"!\\\"two\\\" \xc3\xa9\" []");
	crash();
	start_up("a");
	reads("data #\"!!three\" []");
	reads("data #\"bad\xef\xbf\xbd\" []");
	reads("data #\"last\" []");
	reads("data #null []");
	reads("data #null []");
	put_file("words", "\nmore\n");
	reads("data #\"\" []");
	reads("data #\"more\" []");
	expect_promise(call(CLOSE), UNDEFINED);
	reads("data #\"one\" []");
	/* not committed: not read */
	waiting = host_send(channel(), READ, NULL, 0, true);
	world_step();
	expect_promise(waiting, "unresolved");
	world_run();
	expect_promise(waiting, "data #\"\" []");
	expect_promise(call(WRITE("x")), "rej #{\"#error\":\"io:s1:ch is for input: it cannot be written\",\"name\":\"TypeError\"} []");
	expect_promise(call("#[\"seek\",[]]"),
		       "rej #{\"#error\":\"an io channel has the methods read, write and close\",\"name\":\"TypeError\"} []");
	expect_promise(call("nonsense"), "rej #{\"#error\":\"the message is not a method call\",\"name\":\"TypeError\"} []");
}

/* S14: lines longer than an answer come in pieces, cut between characters; bytes come as base64 */
static void test_long_lines(void **state)
{
	static char line[LONG + 20], expected[LONG + 40];

	(void)state;
	allow();
	memset(line, 'x', sizeof(line));
	memcpy(line + LONG - 1, "\xc3\xa9yz\n", 5);
	line[LONG + 4] = 0;
	put_file("long", line);
	memset(line, 'y', LONG);
	memcpy(line + LONG, "\nend\n", 6);
	put_file("long", line);
	launch_one("file", "long", "in", "line");
	memset(expected, 0, sizeof(expected));
	strcpy(expected, "data #\"");
	memset(expected + 7, 'x', LONG - 1);
	strcat(expected, "\" []");
	reads(expected);
	reads("data #\"\xc3\xa9yz\" []");
	memset(expected, 0, sizeof(expected));
	strcpy(expected, "data #\"");
	memset(expected + 7, 'y', LONG);
	strcat(expected, "\" []");
	reads(expected); /* exactly as long as may be: one line, not two */
	reads("data #\"end\" []");
	reads("data #null []");
}

static void test_bytes(void **state)
{
	static char text[87383 + 1], long_text[sizeof(text) + 40];

	(void)state;
	allow();
	put_file("raw", "a\n\xff");
	launch_one("file", "raw", "inout", "bytes");
	reads("data #\"YQr/\" []");
	reads("data #null []");
	writes(WRITE("AGI="));
	reads("data #\"AGI=\" []");
	writes(WRITE(""));
	expect_promise(call(WRITE("a*")), "rej #{\"#error\":\"io:s1:ch write: expected bytes as base64\",\"name\":\"TypeError\"} []");
	snprintf(long_text, sizeof(long_text), "#[\"write\",[\"%s=\"]]", (memset(text, 'A', 87383), text)); /* 65,537 bytes */
	expect_promise(call(long_text), "rej #{\"#error\":\"write: more than 65536 bytes\",\"name\":\"RangeError\"} []");
	expect_promise(call("#[\"write\",[7]]"), "rej #{\"#error\":\"io:s1:ch write: expected a string\",\"name\":\"TypeError\"} []");
	expect_promise(call("#[\"write\",[]]"), "rej #{\"#error\":\"io:s1:ch write: expected a string\",\"name\":\"TypeError\"} []");
}

/* S15: after the commit only, in order, appended; a call that is committed and not carried out begins again at boot */
static void test_file_out(void **state)
{
	kref_t ref;

	(void)state;
	allow();
	put_file("log", "before\n");
	launch_one("file", "log", "out", "line");
	writes(WRITE("one"));
	writes(WRITE("!!two"));
	file_has("log", "before\none\n!two\n");
	expect_promise(call(READ), "rej #{\"#error\":\"io:s1:ch is for output: it cannot be read\",\"name\":\"TypeError\"} []");
	host_send(channel(), WRITE("never"), NULL, 0, true);
	world_step();
	file_has("log", "before\none\n!two\n");
	crash(); /* with what was not committed */
	start_up("a");
	file_has("log", "before\none\n!two\n");
	host_send(channel(), WRITE("again"), NULL, 0, false);
	world_step();
	must(kernel_commit(&world->k)); /* the effect is noted; nothing was done for it */
	file_has("log", "before\none\n!two\n");
	crash();
	start_up("a");
	file_has("log", "before\none\n!two\nagain\n");
	assert_int_equal(n_rows(T_QUEUE), 0);
	/* a file that is new; a folder that lost it */
	ref = channel();
	assert_int_equal(unlink(path_of("log")), 0);
	writes(CLOSE);
	writes(WRITE("anew"));
	file_has("log", "anew\n");
	assert_true(kref_equal(ref, channel())); /* S3 */
	writes(CLOSE);
	assert_int_equal(unlink(path_of("log")), 0);
	assert_int_equal(symlink("/etc/passwd", path_of("log")), 0);
	expect_promise(call(WRITE("evil")),
		       in_dir("rej #{\"#error\":\"%s/log: symbolic links are not followed\",\"name\":\"Error\"} []", io_dir));
}

/* --- FIFOs ------------------------------------------------------------------------------------------------- */

/* S14: no writer, no end; each writer's end is told once; nothing waits for a FIFO to be opened */
static void test_fifo(void **state)
{
	kref_t waiting;
	char buf[10] = "";
	int fd;

	(void)state;
	allow();
	assert_int_equal(mkfifo(path_of("pipe"), 0644), 0);
	launch_one("file", "pipe", "in", "line");
	waiting = call(READ);
	expect_promise(waiting, "unresolved");
	fd = open(path_of("pipe"), O_WRONLY | O_NONBLOCK | O_CLOEXEC);
	assert_true(fd >= 0);
	world_run();
	expect_promise(waiting, "unresolved");
	assert_int_equal(write(fd, "half", 4), 4);
	world_run();
	expect_promise(waiting, "unresolved");
	assert_int_equal(write(fd, " whole\nx", 8), 8);
	world_run();
	expect_promise(waiting, "data #\"half whole\" []");
	close(fd);
	reads("data #\"x\" []");
	reads("data #null []");
	waiting = call(READ);
	expect_promise(waiting, "unresolved");
	fd = open(path_of("pipe"), O_WRONLY | O_NONBLOCK | O_CLOEXEC);
	assert_int_equal(write(fd, "2\n", 2), 2);
	close(fd);
	world_run();
	expect_promise(waiting, "data #\"2\" []");
	must(subcluster_terminate(&world->k, subcluster_of("a"), "by the test", NULL));
	world_run();
	launch_one("file", "pipe", "out", "bytes");
	writes(WRITE("aGk=")); /* with no reader at all */
	fd = open(path_of("pipe"), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	assert_int_equal(read(fd, buf, sizeof(buf)), 2);
	assert_string_equal(buf, "hi");
	close(fd);
}

/* --- sockets ----------------------------------------------------------------------------------------------- */

static struct sockaddr_un address_of(const char *name)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path_of(name));
	return address;
}

static int listen_at(const char *name)
{
	struct sockaddr_un address = address_of(name);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(fd, 4), 0);
	return fd;
}

static int connect_at(const char *name)
{
	struct sockaddr_un address = address_of(name);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	world_run();
	return fd;
}

static void gets(int fd, const char *text)
{
	char buf[200] = "";
	ssize_t n = read(fd, buf, sizeof(buf) - 1);

	if (!*text)
		assert_int_equal(n, 0);
	assert_string_equal(buf, text);
}

static void says(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
	world_run();
}

/* S16: connects when it is first used; when the connection is lost, null, and the next use connects again */
static void test_socket(void **state)
{
	int listener, fd;

	(void)state;
	allow();
	launch_one("socket", "peer", "inout", "line");
	expect_promise(call(READ), in_dir("rej #{\"#error\":\"%s/peer: No such file or directory\",\"name\":\"Error\"} []", io_dir));
	listener = listen_at("peer");
	assert_int_equal(accept(listener, NULL, NULL), -1); /* nobody came before somebody called */
	writes(WRITE("hello"));
	fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	gets(fd, "hello\n");
	says(fd, "1\n2\nrest");
	shutdown(fd, SHUT_WR);
	reads("data #\"1\" []");
	reads("data #\"2\" []");
	reads("data #\"rest\" []");
	reads("data #null []");
	writes(WRITE("still there")); /* half closed: it still listens */
	gets(fd, "still there\n");
	close(fd);
	expect_promise(call(WRITE("lost")), "rej #{\"#error\":\"Broken pipe\",\"name\":\"Error\"} []");
	writes(WRITE("second"));
	fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	gets(fd, "second\n");
	writes(CLOSE);
	gets(fd, "");
	close(fd);
	close(listener);
	expect_promise(call(WRITE("x")), in_dir("rej #{\"#error\":\"%s/peer: Connection refused\",\"name\":\"Error\"} []", io_dir));
}

/* S17: one client at a time; his end is told before the next one comes in; what was for him goes to nobody else */
static void test_listen(void **state)
{
	int first, second, third;
	kref_t waiting;

	(void)state;
	allow();
	launch_one("listen", "door", "inout", "line");
	expect_promise(call(WRITE("x")), "rej #{\"#error\":\"nobody is connected to io:s1:ch\",\"name\":\"Error\"} []");
	waiting = call(READ);
	first = connect_at("door");
	says(first, "from the first\n");
	expect_promise(waiting, "data #\"from the first\" []");
	second = connect_at("door");
	gets(second, ""); /* refused */
	close(second);
	writes(WRITE("to the first"));
	gets(first, "to the first\n");
	says(first, "bye\n");
	close(first);
	second = connect_at("door"); /* the first is gone: this one waits */
	says(second, "from the second\n");
	reads("data #\"bye\" []");
	reads("data #null []");
	reads("data #\"from the second\" []");
	writes(CLOSE);
	gets(second, "");
	close(second);
	/* over a crash: the name is taken again; who was there is gone */
	first = connect_at("door");
	crash();
	start_up("a");
	gets(first, "");
	close(first);
	third = connect_at("door");
	says(third, "hello\n");
	reads("data #\"hello\" []");
	close(third);
	launch_refused(in_dir("{\"ch\":{\"type\":\"listen\",\"path\":\"%s/door\",\"direction\":\"in\"}}", io_dir),
		       (snprintf(text_buf + 1000, 500, "io.ch.path: %s/door: somebody else listens there", io_dir), text_buf + 1000));
	must(subcluster_terminate(&world->k, subcluster_of("a"), "by the test", NULL));
	world_run();
	assert_int_equal(access(path_of("door"), F_OK), -1);
	assert_int_equal(n_rows(T_SERVICE), n_rows(T_SERVICE_OF));
}

/* A peer that does not read: a bounded number of bytes waits, in calls; one that floods is not read */
static void test_bounds(void **state)
{
	static char body[LONG + 40], flood[LONG];
	size_t sent = 0, refused = 0;
	kref_t results[200];
	ssize_t n;
	int fd;

	(void)state;
	allow();
	launch_one("listen", "door", "inout", "bytes");
	fd = connect_at("door");
	memset(flood, 'A', sizeof(flood));
	snprintf(body, sizeof(body), "#[\"write\",[\"%.60000s\"]]", flood);
	for (size_t i = 0; i < 60; i++)
		results[i] = host_send(channel(), body, NULL, 0, true);
	world->no_check = true;
	world_run();
	for (size_t i = 0; i < 60; i++)
		refused += promise_row(results[i]).state == PROMISE_REJECTED;
	assert_in_range(refused, 60 - 25 - 8, 60 - 23); /* 1 MiB is 23 of them; the socket took some more */
	expect_promise(results[59], "rej #{\"#error\":\"write: too much waits to be written already\",\"name\":\"Error\"} []");
	while ((n = send(fd, flood, sizeof(flood), MSG_NOSIGNAL)) > 0) {
		sent += (size_t)n;
		world_step();
	}
	assert_int_equal(errno, EAGAIN);
	assert_true(sent < 8u * LONG); /* what the socket holds, and nothing of it in the kernel */
	while (read(fd, flood, sizeof(flood)) > 0)
		world_run();
	assert_int_equal(n_rows(T_QUEUE), 0); /* all were written at last */
	expect_promise(call("#[\"write\",[\"\"]]"), UNDEFINED);
	close(fd);
}

/* L1: much to be read at once is read in parts, by turns; others have the time between */
static void test_turns(void **state)
{
	static const char *const names[] = {"ch", "d2", "d3"};
	static char text[LONG];
	char io[8 * DIR_MAX] = "";
	kref_t results[3][16];
	size_t n, rounds = 0;

	(void)state;
	allow();
	memset(text, 'x', sizeof(text) - 1);
	for (size_t i = 0; i < 16; i++)
		put_file("big", text);
	for (size_t i = 0; i < 3; i++)
		snprintf(io + strlen(io), sizeof(io) - strlen(io),
			 "%s\"%s\":{\"type\":\"file\",\"path\":\"%s/big\",\"direction\":\"in\",\"unit\":\"bytes\"}", i ? "," : "{",
			 names[i], io_dir);
	strcat(io, "}");
	launch(io);
	for (size_t i = 0; i < 48; i++)
		results[i % 3][i / 3] = host_send(channel_named(names[i % 3]), READ, NULL, 0, true);
	world->no_check = true;
	for (n = 0; n < 48; rounds++) {
		size_t before = n;

		must(kernel_commit(&world->k));
		world_step();
		assert_true(rounds < 100);
		n = 0;
		for (size_t i = 0; i < 48; i++)
			n += promise_row(results[i % 3][i / 3]).state != PROMISE_UNRESOLVED;
		assert_in_range(n - before, 0, 17);
	}
	assert_in_range(rounds, 3, 20);
}

/* What a client was to get when he left is rejected, and not the next client's */
static void test_lost_client(void **state)
{
	static char body[LONG + 40], text[LONG];
	kref_t results[20], waiting;
	int first, second;

	(void)state;
	allow();
	launch_one("listen", "door", "out", "line");
	first = connect_at("door");
	memset(text, 'x', sizeof(text));
	snprintf(body, sizeof(body), "#[\"write\",[\"%.60000s\"]]", text);
	for (size_t i = 0; i < 10; i++)
		results[i] = host_send(channel(), body, NULL, 0, true);
	world_run();
	expect_promise(results[9], "unresolved");
	close(first);
	world_run();
	expect_promise(results[9], "rej #{\"#error\":\"the connection was lost\",\"name\":\"Error\"} []");
	second = connect_at("door");
	writes(WRITE("for the second"));
	gets(second, "for the second\n");
	/* committed, not written; then the broker dies: the client he was for is gone */
	for (size_t i = 0; i < 10; i++)
		results[i] = host_send(channel(), body, NULL, 0, true);
	world_run();
	waiting = results[9];
	expect_promise(waiting, "unresolved");
	close(second);
	world_crash();
	allow();
	world_step();
	second = connect_at("door");
	start_up("a");
	assert_int_equal(n_rows(T_QUEUE), 0);
	writes(WRITE("for the third"));
	gets(second, "for the third\n");
	close(second);
}

/* S17: a client who has gone is heard out before the next one comes in, also when it was a write that found him gone */
static void test_heard_out(void **state)
{
	int first, second;
	struct stat st;

	(void)state;
	allow();
	launch_one("listen", "door", "inout", "line");
	assert_int_equal(stat(path_of("door"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0666); /* the folder decides who may come */
	first = connect_at("door");
	says(first, "last words\n");
	close(first);
	second = connect_at("door");
	says(second, "me\n");
	expect_promise(call(WRITE("welcome")), "rej #{\"#error\":\"Broken pipe\",\"name\":\"Error\"} []");
	expect_promise(call(WRITE("again")), "rej #{\"#error\":\"Broken pipe\",\"name\":\"Error\"} []");
	reads("data #\"last words\" []");
	reads("data #null []");
	reads("data #\"me\" []");
	writes(WRITE("for the second"));
	gets(second, "for the second\n");
	close(second);
	/* he had nothing to say: then a write is all that it takes */
	expect_promise(call(WRITE("x")), "rej #{\"#error\":\"Broken pipe\",\"name\":\"Error\"} []");
	first = connect_at("door");
	writes(WRITE("for the third"));
	gets(first, "for the third\n");
	close(first);
}

/* X1: what waited when the channel was revoked is neither read nor written */
static void test_revoked(void **state)
{
	static char body[LONG + 40], text[LONG];
	kref_t results[20], reading;
	struct row_object row;
	ssize_t n, sent = 0;
	int fd;

	(void)state;
	allow();
	launch_one("listen", "door", "inout", "line");
	fd = connect_at("door");
	reading = call(READ);
	memset(text, 'x', sizeof(text));
	snprintf(body, sizeof(body), "#[\"write\",[\"%.60000s\"]]", text);
	for (size_t i = 0; i < 10; i++)
		results[i] = host_send(channel(), body, NULL, 0, true);
	world_run();
	expect_promise(results[9], "unresolved");
	assert_int_equal(object_load(&world->k, channel(), &row), 0);
	must(kernel_savepoint(&world->k));
	must(object_revoke(&world->k, channel(), &row));
	must(kernel_release(&world->k));
	while ((n = read(fd, text, sizeof(text))) > 0) {
		sent += n;
		world_run();
	}
	assert_in_range(sent, 60000, 6 * 60001); /* what had begun is whole */
	assert_int_equal(sent % 60001, 0);
	says(fd, "secret\n");
	expect_promise(reading, "krej " REVOKED " []");
	expect_promise(results[9], "krej " REVOKED " []");
	assert_int_equal(n_rows(T_QUEUE), 0);
	close(fd);
}

/* --- the end of a channel ---------------------------------------------------------------------------------- */

/* S13: gone with its subcluster; calls that wait, and later ones, are answered */
static void test_end(void **state)
{
	static char body[LONG + 40], text[LONG];
	kref_t waiting, ref;
	size_t objects;

	(void)state;
	allow();
	objects = n_rows(T_OBJECT);
	assert_int_equal(mkfifo(path_of("pipe"), 0644), 0);
	launch_one("file", "pipe", "in", "line");
	ref = channel();
	waiting = call(READ);
	must(subcluster_terminate(&world->k, subcluster_of("a"), "by the test", NULL));
	world_run();
	expect_promise(waiting, "krej " KERR("OBJECT_DELETED", "the subcluster of the channel is gone") " []");
	assert_false(row_exists(ref));
	assert_int_equal(n_rows(T_OBJECT), objects);
	/* in the middle of a write */
	launch_one("file", "pipe", "out", "line");
	memset(text, 'x', sizeof(text) - 1);
	snprintf(body, sizeof(body), "#[\"write\",[\"%.60000s\"]]", text);
	for (size_t i = 0; i < 3; i++)
		waiting = host_send(channel(), body, NULL, 0, true);
	world_run();
	expect_promise(waiting, "unresolved");
	must(subcluster_terminate(&world->k, subcluster_of("a"), "by the test", NULL));
	world_run();
	expect_promise(waiting, "krej " KERR("OBJECT_DELETED", "the subcluster of the channel is gone") " []");
	assert_int_equal(n_rows(T_OBJECT), objects);
	/* one that somebody else still has */
	launch_one("file", "pipe", "in", "line");
	ref = channel();
	must(kernel_savepoint(&world->k));
	must(kernel_hold(&world->k, ref, HOLD_PIN, 0, 1));
	must(kernel_release(&world->k));
	must(subcluster_terminate(&world->k, subcluster_of("a"), "by the test", NULL));
	world_run();
	assert_true(row_exists(ref));
	waiting = host_send(ref, READ, NULL, 0, true);
	world_run();
	expect_promise(waiting, "krej " DELETED " []");
	must(kernel_savepoint(&world->k));
	must(kernel_hold(&world->k, ref, HOLD_PIN, 0, -1));
	must(kernel_release(&world->k));
	world_run();
	assert_int_equal(n_rows(T_OBJECT), objects);
}

static void test_console(void **state)
{
	(void)state;
	launch("{\"ch\":{\"type\":\"console\",\"direction\":\"inout\"}}");
	writes(WRITE("a line\\u001b"));
	reads("data #null []");
	reads("data #null []");
	writes(CLOSE);
}

/* L1, S4: where a channel may not lead, the launch is refused and nothing is made */
static void test_refused(void **state)
{
	static const struct { const char *type, *path, *direction, *why; } cases[] = {
		{"file", "%s/../store", "in", "leads out of the folder that is allowed, or into a mount"},
		{"file", "%s/a/../../store", "in", "leads out of the folder that is allowed, or into a mount"},
		{"file", "%s/link/passwd", "in", "symbolic links are not followed"},
		{"file", "%s/linked", "in", "symbolic links are not followed"},
		{"file", "%s/linked", "out", "symbolic links are not followed"},
		{"file", "%s/none", "in", "No such file or directory"},
		{"file", "%s/none/log", "out", "No such file or directory"},
		{"file", "%s/a", "in", "not a regular file or FIFO"},
		{"file", "%s/pipe", "inout", "a FIFO is for input or for output"},
		{"file", "%s/..", "out", "leads out of the folder that is allowed, or into a mount"},
		{"socket", "%s/link/x", "inout", "symbolic links are not followed"},
		{"listen", "%s/link/x", "in", "symbolic links are not followed"},
		{"listen", "%s/file", "in", "there is something else of that name"},
		{"listen", "%s/linked", "in", "there is something else of that name"},
		{"listen", "%s/..", "in", "its last part is no name"},
	};
	char path[2 * DIR_MAX], io[4 * DIR_MAX], expected[4 * DIR_MAX];

	(void)state;
	launch_refused("{\"ch\":{\"type\":\"file\",\"path\":\"/etc/passwd\",\"direction\":\"in\"}}",
		       "io.ch.path: /etc/passwd is in none of the folders that the kernel allows (ioPaths)");
	allow();
	assert_int_equal(mkdir(path_of("a"), 0755) | symlink("/etc", path_of("link")) | mkfifo(path_of("pipe"), 0644), 0);
	assert_int_equal(symlink("/etc/passwd", path_of("linked")), 0);
	put_file("file", "");
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		snprintf(path, sizeof(path), "%s%s", io_dir, cases[i].path + 2);
		snprintf(io, sizeof(io), "{\"ch\":{\"type\":\"%s\",\"path\":\"%s\",\"direction\":\"%s\"}}", cases[i].type, path,
			 cases[i].direction);
		snprintf(expected, sizeof(expected), "io.ch.path: %s: %s", path, cases[i].why);
		launch_refused(io, expected);
	}
	snprintf(io, sizeof(io), "{\"ch\":{\"type\":\"file\",\"path\":\"%sx/y\",\"direction\":\"in\"}}", io_dir);
	snprintf(expected, sizeof(expected), "io.ch.path: %sx/y is in none of the folders that the kernel allows (ioPaths)", io_dir);
	launch_refused(io, expected);
}

/* --- system subclusters -------------------------------------------------------------------------------------- */

static void declare(const char *text)
{
	struct settings s;
	char error[CONFIG_ERROR_MAX];
	json_t *json = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	int none[1] = {-1};

	assert_non_null(json);
	if (settings_parse(json, &s, error))
		fail_msg("%s", error);
	json_decref(json);
	settings_deinit(&world->k.settings);
	system_deinit(&world->k);
	world->k.settings = s;
	must(system_boot(&world->k, none));
	world_run();
}

static void undeclare(void)
{
	system_deinit(&world->k);
	settings_deinit(&world->k.settings);
}

#define SYSTEM(services) \
	"{\"system\":{\"reg\":{\"bootstrap\":\"a\",\"vats\":{\"a\":{\"program\":\"" ZEROS "\"}},\"services\":[" services "]}}}"

static void expect_system(const char *text)
{
	json_t *json = system_to_json(&world->k);
	char *is = json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS);

	assert_string_equal(is, text);
	free(is);
	json_decref(json);
}

static void bootstrapped(void)
{
	start_up("a");
	free(next_delivery(raw_named("a")));
	play("a", "resolve p-1 data #ok []", "done", NULL);
}

/* S2: launched once; the same id and root over restarts; removed when no longer declared */
static void test_system(void **state)
{
	struct row_subcluster row, again;
	uint64_t number;
	size_t objects;

	(void)state;
	objects = n_rows(T_OBJECT);
	declare(SYSTEM("\"console\""));
	bootstrapped();
	number = subcluster_of("a");
	assert_int_equal(subcluster_load(&world->k, number, &row), 0);
	assert_string_equal(row.name, "reg");
	assert_int_equal(row.status, SUB_RUNNING);
	expect_system("{\"reg\":{\"id\":\"s1\",\"reason\":\"\"}}");
	undeclare();
	world_crash();
	declare(SYSTEM("")); /* another declaration of the same name: it goes on as it was */
	start_up("a");
	expect_nothing(); /* V3: not bootstrapped again */
	assert_int_equal(subcluster_load(&world->k, number, &again), 0);
	assert_memory_equal(&row, &again, sizeof(row));
	assert_int_equal(n_rows(T_SUBCLUSTER), 1);
	/* S12: ended by hand it stays away until the next start */
	must(subcluster_terminate(&world->k, number, "terminated by request", NULL));
	world_run();
	expect_system("{\"reg\":{\"id\":null,\"reason\":\"terminated by request\"}}");
	undeclare();
	world_crash();
	declare(SYSTEM(""));
	bootstrapped();
	expect_system("{\"reg\":{\"id\":\"s2\",\"reason\":\"\"}}");
	undeclare();
	world_crash();
	declare("{\"system\":{}}");
	assert_int_equal(n_rows(T_SUBCLUSTER), 0);
	assert_int_equal(n_rows(T_OBJECT), objects);
	undeclare();
}

/* S12: a launch that fails leaves the kernel running and is tried again at the next start; so is one that was cut off */
static void test_system_fails(void **state)
{
	(void)state;
	declare("{\"system\":{\"reg\":{\"bootstrap\":\"a\",\"vats\":{\"a\":{\"program\":\"./missing\"}}}}}");
	expect_system("{\"reg\":{\"id\":null,\"reason\":\"./missing: could not be opened when capstand started\"}}");
	declare(SYSTEM("\"nothing\""));
	expect_system("{\"reg\":{\"id\":null,\"reason\":\"services: there is no service \\\"nothing\\\"\"}}");
	world->fail_starts = "no room";
	declare(SYSTEM(""));
	expect_system("{\"reg\":{\"id\":null,\"reason\":\"vat a: cannot start: no room\"}}");
	world->fail_starts = NULL;
	assert_int_equal(n_rows(T_SUBCLUSTER), 0);
	declare(SYSTEM(""));
	start_up("a");
	free(next_delivery(raw_named("a")));
	undeclare();
	world_crash(); /* before the answer */
	declare(SYSTEM(""));
	bootstrapped();
	assert_int_equal(n_rows(T_SUBCLUSTER), 1);
	assert_int_equal(vat_named("a")->row.status, VAT_RUNNING);
	undeclare();
}

/* S12, S17: the broker dies during the launch; the next launch has the place of the one that is being cleaned up */
static void test_system_channel(void **state)
{
	_cleanup_free_ char *text = NULL;
	kref_t waiting;
	int fd;

	(void)state;
	allow();
	world->k.settings.io_paths = NULL; /* they come with the declaration */
	world->k.settings.n_io_paths = 0;
	assert_true(asprintf(&text, "{\"ioPaths\":[\"%s\"],\"system\":{\"reg\":{\"bootstrap\":\"a\",\"vats\":{\"a\":{\"program\":\"" ZEROS "\"}},"
			     "\"io\":{\"ch\":{\"type\":\"listen\",\"path\":\"%s/door\",\"direction\":\"in\"}}}}}", io_dir, io_dir) > 0);
	declare(text);
	fd = connect_at("door");
	close(fd);
	undeclare();
	world_crash();
	world->k.io_dirs = &io_dir_fd;
	declare(text);
	bootstrapped();
	assert_int_equal(subcluster_of("a"), 2);
	fd = connect_at("door");
	says(fd, "hello\n");
	waiting = call(READ);
	expect_promise(waiting, "data #\"hello\" []");
	close(fd);
	undeclare();
}

/* S1: what is for the system alone is there for it, and is not there for others */
static void test_system_only(void **state)
{
	struct row_service row = {.flags = SERVICE_F_SYSTEM_ONLY};
	char error[CONFIG_ERROR_MAX];
	struct config_paths paths = {0};
	struct config *config = NULL;
	json_t *json;

	(void)state;
	must(kernel_savepoint(&world->k));
	must(service_make(&world->k, "keys", &row));
	must(kernel_release(&world->k));
	json = json_loads("{\"bootstrap\":\"a\",\"vats\":{\"a\":{\"program\":\"" ZEROS "\"}},\"services\":[\"keys\"]}", 0, NULL);
	assert_int_equal(config_parse(json, &config, error), 0);
	assert_int_equal(launch_begin(&world->k, config, json, &paths, NULL, NULL, NULL, error), 1);
	assert_string_equal(error, "services: there is no service \"keys\"");
	json_decref(json);
	declare(SYSTEM("\"keys\""));
	start_up("a");
	expect("a", "message o+0 #[\"bootstrap\",[{\"a\":\"$0\"},{\"keys\":\"$1\"}]] [o+0 o-1] p-1");
	play("a", "resolve p-1 data #ok []", "done", NULL);
	undeclare();
}

static int io_teardown(void **state)
{
	int r = teardown(state);

	if (io_dir_fd >= 0)
		close(io_dir_fd);
	io_dir_fd = -1;
	return r;
}
#undef T
#define T(f) {#f " (overlay)", f, setup_overlay, io_teardown, NULL}, {#f " (direct)", f, setup_direct, io_teardown, NULL}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    T(test_file_in),     T(test_long_lines), T(test_bytes),  T(test_file_out),   T(test_fifo),
	    T(test_socket),      T(test_listen),     T(test_bounds), T(test_turns), T(test_lost_client), T(test_heard_out), T(test_revoked), T(test_end),
	    T(test_console),     T(test_refused),    T(test_system), T(test_system_fails), T(test_system_channel), T(test_system_only),
	};

	return run_on_both("test_kernel_io", tests, ARRAY_LEN(tests));
}
