/* SPDX-License-Identifier: Apache-2.0 */
/* What goes on while it is read: logs that grow and are trimmed, and events; with the real tools. */
#include "fs_mount.h"

#define LOG	"vats/v1/log"
#define LINE_SIZE 38u	/* "2023-11-14T22:13:20.000001Z 1 info line …" without the number */

/* --- logs -------------------------------------------------------------------------------------------------------- */

static void test_log_size(void **state)
{
	struct fixture *f = *state;
	struct stat before, after;
	int fd;

	need_mount();
	fd = open_in(f, LOG, O_RDONLY);
	assert_int_equal(fstat(fd, &before), 0);
	assert_int_equal(before.st_size, 0);
	command(f, LINE);
	command(f, LINE);
	assert_int_equal(fstat(fd, &after), 0);
	assert_true(after.st_size > 0 && after.st_mtim.tv_sec == 1700000000);
	close(fd);
	shell_says(f, "cat " LOG "; stat -c %s " LOG "; wc -c < " LOG,
		   "2023-11-14T22:13:20.000001Z 1 info line 1\n2023-11-14T22:13:20.000002Z 1 info line 2\n84\n84\n");
	shell_says(f, "tail -n 1 " LOG "; tail -c 7 " LOG "; head -n 1 " LOG,
		   "2023-11-14T22:13:20.000002Z 1 info line 2\nline 2\n2023-11-14T22:13:20.000001Z 1 info line 1\n");
}

/* Follow with a tool; after each command its output has the lines it should have. */
#define FOLLOW_MAX	(256u << 10)
struct follower { pid_t pid; int out; char *text; size_t len; };

static void follow(struct fixture *f, struct follower *w, const char *command_line)
{
	char *line;
	int fds[2];

	*w = (struct follower){ .text = calloc(1, FOLLOW_MAX) };
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	assert_true(asprintf(&line, "cd %s && exec %s", f->mount, command_line) > 0);
	w->pid = fork();
	if (!w->pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(fds[1], STDOUT_FILENO);
		execl("/bin/sh", "sh", "-c", line, NULL);
		_exit(97);
	}
	free(line);
	close(fds[1]);
	w->out = fds[0];
}

/* Until its output ends like that. */
static void follower_says(struct follower *w, const char *end)
{
	while (w->len < strlen(end) || strcmp(w->text + w->len - strlen(end), end)) {
		ssize_t n = read(w->out, w->text + w->len, FOLLOW_MAX - 1 - w->len);

		assert_true(n > 0);
		w->len += (size_t)n;
		w->text[w->len] = '\0';
	}
}

static unsigned int follower_lines(const struct follower *w)
{
	unsigned int n = 0;

	for (size_t i = 0; i < w->len; i++)
		n += w->text[i] == '\n';
	return n;
}

static void unfollow(struct follower *w)
{
	kill(w->pid, SIGKILL);
	assert_int_equal(waitpid(w->pid, NULL, 0), w->pid);
	close(w->out);
	free(w->text);
}

/* tail -f, from the end, from the beginning, and by lines; before anything is trimmed and across it. */
static void test_log_follow(void **state)
{
	static const char *const tools[] = { "tail -n 1 -s 0.05 -f " LOG, "tail -c +1 -s 0.05 -f " LOG, "tail -n +1 -s 0.05 -F " LOG };
	struct fixture *f = *state;
	struct follower w[ARRAY_LEN(tools)];

	need_mount();
	for (size_t i = 0; i < ARRAY_LEN(tools); i++) {
		follow(f, &w[i], tools[i]);
		follower_says(&w[i], " line 2\n");
	}
	command(f, LINE);
	for (size_t i = 0; i < ARRAY_LEN(tools); i++)
		follower_says(&w[i], " line 3\n");
	for (int lines = 503; lines <= 1503; lines += 500) {
		char end[32];

		command(f, LINES);
		snprintf(end, sizeof(end), " line %d\n", lines);
		for (size_t i = 0; i < ARRAY_LEN(tools); i++)
			follower_says(&w[i], end);
	}
	assert_int_equal(follower_lines(&w[0]), 1502);
	assert_int_equal(follower_lines(&w[1]), 1503);
	assert_int_equal(follower_lines(&w[2]), 1503);
	for (size_t i = 0; i < ARRAY_LEN(tools); i++)
		unfollow(&w[i]);
}

/* 1503 lines were written, 1000 are there. */
static void test_log_trimmed(void **state)
{
	struct fixture *f = *state;
	struct follower w;

	need_mount();
	shell_says(f, "cat " LOG " | wc -l; wc -l < " LOG "; grep -c . " LOG "; grep -c -a '[^[:print:]]' " LOG "; true",
		   "1000\n1000\n1000\n0\n");
	shell_says(f, "head -n 1 " LOG " | cut -d' ' -f4-; tail -n 1 " LOG " | cut -d' ' -f4-", "line 504\nline 1503\n");
	shell_says(f, "tail -n 5 " LOG " | cut -d' ' -f5 | tr '\\n' ' '", "1499 1500 1501 1502 1503 ");
	/* More lines than there are: all of them, and no byte of the hole. */
	shell_says(f, "tail -n 5000 " LOG " | cmp - " LOG " && tail -n +1 " LOG " | cmp - " LOG, "");
	shell_says(f, "tail -n 1000 " LOG " | cmp - " LOG "; tail -n 1040 " LOG " | cmp - " LOG "; tail -c 200000 " LOG " | wc -l", "1000\n");
	shell_says(f, "tail -c +100 " LOG " | sed -n 1p | cut -d' ' -f4-", "line 504\n");
	shell_says(f, "(head -n 1; tail -n 1) < " LOG " | cut -d' ' -f5 | tr '\\n' ' '", "504 1503 ");
	shell_says(f, "cp " LOG " ../copy && cmp ../copy " LOG "; rm ../copy; tac " LOG " | tail -n 1 | cut -d' ' -f4-", "line 504\n");
	shell_says(f, "sort " LOG " | sed -n 1p | cut -d' ' -f4-; sed -n '$p' " LOG " | cut -d' ' -f4-; awk 'END { print NR }' " LOG,
		   "line 504\nline 1503\n1000\n");
	follow(f, &w, "tail -c +1 -s 0.05 -f " LOG);
	follower_says(&w, " line 1503\n");
	command(f, LINE);
	follower_says(&w, " line 1504\n");
	assert_int_equal(follower_lines(&w), 1001);
	unfollow(&w);
	/* One character at a time, across lines that are trimmed meanwhile: whole lines all the same. */
	follow(f, &w, "sh -c 'read -r a < " LOG "; echo $a'");
	follower_says(&w, " line 505\n");
	unfollow(&w);
}

/* A slow reader of a log that is trimmed under it goes on with the first line that is left. */
static void test_log_overtaken(void **state)
{
	struct fixture *f = *state;
	int fd = can_mount ? open_in(f, LOG, O_RDONLY) : -1;
	char buf[LINE_SIZE + 5];
	char *rest;

	need_mount();
	assert_int_equal(read(fd, buf, sizeof(buf)), sizeof(buf));
	command(f, LINES);
	command(f, LINES);
	rest = slurp(fd);
	assert_non_null(strstr(rest, " line 1505\n"));
	assert_memory_equal(rest, "2023-11-14T22:13:20.001505Z 1 info line 1505\n", 44);
	free(rest);
	/* Any place at all is fine. */
	for (int i = 0; i < 500; i++)
		assert_true(pread(fd, buf, sizeof(buf), (off_t)(i % 7) << (i % 60)) >= 0);
	assert_int_equal(pread(fd, buf, sizeof(buf), INT64_MAX - 100), 0);
	close(fd);
}

/* --- events ------------------------------------------------------------------------------------------------------ */

/* Opened when it says so. */
#define WAIT_FOR_EVENTS "sh -c 'exec 3< events; echo ready; exec cat <&3'"
#define EVENT_1 "2023-11-14T22:13:20.000001Z crank v1 delivery=1 work=message target=ko7 method=a\\x1b[\\nb syscalls=0 us=0 outcome=applied\n"

static void test_events(void **state)
{
	struct fixture *f = *state;
	struct pollfd p = { .events = POLLIN };
	char *line = NULL, byte;
	size_t size = 0;
	struct stat st;
	FILE *events;

	need_mount();
	p.fd = open_in(f, "events", O_RDONLY | O_NONBLOCK);
	assert_true(p.fd >= 0);
	assert_int_equal(fstat(p.fd, &st), 0);
	assert_int_equal(lseek(p.fd, 0, SEEK_SET), -1);
	assert_int_equal(errno, ESPIPE);
	/* Nothing yet: neither for read() nor for poll(). Then each line once. */
	assert_int_equal(read(p.fd, &byte, 1), -1);
	assert_int_equal(errno, EAGAIN);
	assert_int_equal(poll(&p, 1, 0), 0);
	command(f, EVENTS);
	assert_int_equal(poll(&p, 1, -1), 1);
	assert_int_equal(p.revents, POLLIN);
	assert_int_equal(read(p.fd, &byte, 1), 1);	/* the rest of the line stays */
	assert_int_equal(byte, '2');
	events = fdopen(p.fd, "r");
	assert_true(getline(&line, &size, events) > 0);
	assert_string_equal(line, EVENT_1 + 1);
	for (int i = 1; i < 10; i++)
		assert_true(getline(&line, &size, events) > 0);
	assert_int_equal(getline(&line, &size, events), -1);
	free(line);
	fclose(events);
	shell_says(f, "wc -l < recent; awk '{ print $2, $3, $4 }' recent | tail -n 1", "10\ncrank v1 delivery=10\n");
}

/* poll() that sleeps is woken, so is a read. */
static void test_events_wake(void **state)
{
	struct fixture *f = *state;
	struct pollfd p = { .events = POLLIN };
	struct follower w;
	pid_t pid;
	int status;

	need_mount();
	follow(f, &w, WAIT_FOR_EVENTS);
	follower_says(&w, "ready\n");
	p.fd = open_in(f, "events", O_RDONLY);
	pid = fork();
	if (!pid)
		_exit(poll(&p, 1, -1) == 1 ? 0 : 1);
	/* Whether it sleeps already does not matter: what happens after the open is for it. */
	command(f, EVENTS);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	close(p.fd);
	while (follower_lines(&w) < 11)
		follower_says(&w, "applied\n");
	unfollow(&w);
}

/* Who is slower than the ring loses events, is told how many, and goes on with what there is. */
static void test_events_lost(void **state)
{
	struct fixture *f = *state;
	unsigned long long lost, first, last = 0, n = 0;
	char line[512];
	FILE *events;

	need_mount();
	events = fdopen(open_in(f, "events", O_RDONLY | O_NONBLOCK), "r");
	command(f, OVERRUN);
	assert_non_null(fgets(line, sizeof(line), events));
	assert_int_equal(sscanf(line, "[lost %llu events]", &lost), 1);
	assert_true(lost >= 100 && lost < LIVE_EVENTS / 4);
	while (fgets(line, sizeof(line), events)) {
		assert_int_equal(sscanf(line, "%*s crank v1 delivery=%llu", &first), 1);
		assert_true(!last || first == last + 1);
		last = first;
		n++;
	}
	assert_int_equal(n + lost, LIVE_EVENTS + 100);
	fclose(events);
	shell_says(f, "wc -l < recent", "1000\n");
}

/* Many who wait cost nothing, hear of everything, can be killed, and count as what is open. */
static void test_events_blocked(void **state)
{
	struct fixture *f = *state;
	struct follower w[50];
	int fds[CHARGE_MAX_UID_THINGS];

	need_mount();
	for (size_t i = 0; i < ARRAY_LEN(w); i++)
		follow(f, &w[i], WAIT_FOR_EVENTS);
	for (size_t i = 0; i < ARRAY_LEN(w); i++)
		follower_says(&w[i], "ready\n");
	shell_says(f, "cat vats/v1/name", "alice\n");
	command(f, EVENTS);
	for (size_t i = 0; i < ARRAY_LEN(w); i++)
		while (follower_lines(&w[i]) < 11)
			follower_says(&w[i], "applied\n");
	for (size_t i = 0; i < ARRAY_LEN(w); i++)
		unfollow(&w[i]);
	/* All that they held is free again. */
	for (int i = 0; i < CHARGE_MAX_UID_THINGS; i++)
		while ((fds[i] = open_in(f, "events", O_RDONLY)) < 0)
			assert_int_equal(errno, EMFILE);
	for (int i = 0; i < CHARGE_MAX_UID_THINGS; i++)
		close(fds[i]);
}

/* With the broker's end those who wait are let go. */
static void test_events_broker_gone(void **state)
{
	struct fixture *f = *state;
	struct follower w;
	int status;

	need_mount();
	follow(f, &w, WAIT_FOR_EVENTS);
	follower_says(&w, "ready\n");
	kill(f->broker, SIGKILL);
	assert_int_equal(waitpid(f->broker, NULL, 0), f->broker);
	f->broker = 0;
	assert_int_equal(waitpid(w.pid, &status, 0), w.pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
	close(w.out);
	free(w.text);
	assert_int_equal(waitpid(f->fs, &status, 0), f->fs);
	f->fs = 0;
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_log_size), cmocka_unit_test(test_log_follow), cmocka_unit_test(test_log_trimmed),
		cmocka_unit_test(test_log_overtaken),
		cmocka_unit_test(test_events), cmocka_unit_test(test_events_wake), cmocka_unit_test(test_events_lost),
		cmocka_unit_test(test_events_blocked), cmocka_unit_test(test_events_broker_gone),
	};

	mount_tests_begin();
	return cmocka_run_group_tests(tests, start, stop);
}
