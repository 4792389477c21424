/* SPDX-License-Identifier: Apache-2.0 */
/*
 * storm: callers outside, and a killer among them.
 *
 *	storm --run DIR --tally FILE [--ref KREF] [--kills N] [--spawner] [--depth N] [--seed N] [--max-us N]
 *
 * Keeps `depth` calls of `increment` outstanding on the control socket and kills the broker (or, with --spawner, the
 * spawner and with it everything, once) at random moments, N times. The tally file carries, over many runs, how
 * many calls were issued, how many acknowledged, and the greatest value that was ever acknowledged. After each
 * death the counter is read, and what it says is held against the tally: acknowledged <= counter <= issued, never
 * below an acknowledged value, and no value acknowledged twice or out of order. With --kills 0 it only reads and checks.
 *
 * Without --ref nobody calls and nothing is read: only the killing is done (the calls come from a vat then).
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

struct storm {
	const char *run, *tally, *ref;
	long kills, depth, max_us;
	bool spawner;
	long long issued, acked, greatest;
	int fd;
	size_t n_in;
	char in[65536];
};

static void die(const char *what)
{
	fprintf(stderr, "storm: %s\n", what);
	exit(1);
}

static long long now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000ll + ts.tv_nsec / 1000;
}

static void tally_read(struct storm *s)
{
	FILE *f = fopen(s->tally, "r");

	if (f && fscanf(f, "%lld %lld %lld", &s->issued, &s->acked, &s->greatest) != 3)
		die("the tally file makes no sense");
	if (f)
		fclose(f);
}

static void tally_write(const struct storm *s)
{
	FILE *f = fopen(s->tally, "w");

	if (!f || fprintf(f, "%lld %lld %lld\n", s->issued, s->acked, s->greatest) < 0 || fclose(f))
		die("cannot write the tally file");
}

static void socket_open(struct storm *s)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/control.sock", s->run);
	s->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (s->fd < 0 || connect(s->fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		die("cannot connect to the control socket");
	s->n_in = 0;
}

static bool send_call(struct storm *s, const char *method)
{
	char line[256];
	int n = snprintf(line, sizeof(line), "{\"jsonrpc\":\"2.0\",\"id\":\"%s\",\"method\":\"queueMessage\","
			 "\"params\":[\"%s\",\"%s\",[]]}\n", method, s->ref, method);

	return send(s->fd, line, (size_t)n, MSG_NOSIGNAL) == n;
}

/* One reply line, or NULL: the connection ended, or `until` passed (then *timep). */
static json_t *reply(struct storm *s, long long until, bool *timep)
{
	*timep = false;
	for (;;) {
		char *nl = memchr(s->in, '\n', s->n_in);
		struct pollfd p = { .fd = s->fd, .events = POLLIN };
		long long left = until - now_us();
		ssize_t n;

		if (nl) {
			json_t *j = json_loadb(s->in, (size_t)(nl - s->in), 0, NULL);

			s->n_in -= (size_t)(nl + 1 - s->in);
			memmove(s->in, nl + 1, s->n_in);
			if (!j)
				die("a reply is not JSON");
			return j;
		}
		if (left <= 0 || poll(&p, 1, (int)((left + 999) / 1000)) == 0) {
			*timep = true;
			return NULL;
		}
		n = recv(s->fd, s->in + s->n_in, sizeof(s->in) - s->n_in, 0);
		if (n <= 0)
			return NULL;
		s->n_in += (size_t)n;
	}
}

/* The number that a reply answers with; -1: it is an error, said on stderr. */
static long long reply_value(json_t *j)
{
	const char *body = json_string_value(json_object_get(json_object_get(j, "result"), "body"));
	long long v = -1;

	if (!body || sscanf(body, "#%lld", &v) != 1) {
		char *text = json_dumps(j, JSON_COMPACT);

		fprintf(stderr, "storm: not a number: %s\n", text);
		free(text);
	}
	return v;
}

/* Values must come in order on one connection, each above all that was acknowledged before (D1, C of the commit). */
static void take_ack(struct storm *s, json_t *j)
{
	long long v = reply_value(j);

	json_decref(j);
	if (v < 0)
		return;		/* rejected: CONNECTION_LOST and its kin are no acknowledgement */
	s->acked++;
	if (v <= s->greatest || v > s->issued) {
		fprintf(stderr, "storm: value %lld after %lld, issued %lld\n", v, s->greatest, s->issued);
		die("an acknowledged increment was lost or repeated");
	}
	s->greatest = v;
}

/* Calls until `until`, always `depth` outstanding. Returns false when the connection ended by itself. */
static bool call_until(struct storm *s, long long until)
{
	long outstanding = 0;
	bool timed_out;

	for (;;) {
		json_t *j;

		while (outstanding < s->depth) {
			if (!send_call(s, "increment"))
				return false;
			s->issued++;
			outstanding++;
		}
		j = reply(s, until, &timed_out);
		if (!j)
			return timed_out;
		take_ack(s, j);
		outstanding--;
	}
}

static void drain(struct storm *s)
{
	bool timed_out;
	json_t *j;

	while ((j = reply(s, now_us() + 30000000, &timed_out)))
		take_ack(s, j);
	if (timed_out)
		die("the connection outlived the broker");
	close(s->fd);
}

static long long read_counter(struct storm *s)
{
	long long v;
	bool timed_out;
	json_t *j;

	if (!send_call(s, "get"))
		return -1;
	j = reply(s, now_us() + 30000000, &timed_out);
	if (!j && timed_out)
		die("nobody answers within 30 s");
	if (!j)
		return -1;
	v = reply_value(j);
	json_decref(j);
	if (v < 0)
		return -1;
	if (v < s->acked || v < s->greatest || v > s->issued) {
		fprintf(stderr, "storm: acknowledged %lld, greatest %lld, counter %lld, issued %lld\n",
			s->acked, s->greatest, v, s->issued);
		die("acknowledged <= counter <= issued does not hold");
	}
	return v;
}

static pid_t spawner_pid(const struct storm *s)
{
	char path[256];
	int pid = 0;
	FILE *f;

	snprintf(path, sizeof(path), "%s/capstand.pid", s->run);
	f = fopen(path, "r");
	if (!f || fscanf(f, "%d", &pid) != 1)
		die("no capstand.pid");
	fclose(f);
	return pid;
}

/* The spawner's child whose arguments say "broker"; 0: none at the moment. */
static pid_t broker_pid(pid_t spawner)
{
	char path[256], text[256];
	int pid, found = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", spawner, spawner);
	f = fopen(path, "r");
	while (f && !found && fscanf(f, "%d", &pid) == 1) {
		int fd;
		ssize_t n;

		snprintf(path, sizeof(path), "/proc/%d/cmdline", pid);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		n = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);
		if (fd >= 0)
			close(fd);
		for (ssize_t i = 0; i + 1 < n; i++)
			if (text[i] == '\0' && !strcmp(text + i + 1, "broker"))
				found = pid;
		text[n > 0 ? n : 0] = '\0';
	}
	if (f)
		fclose(f);
	return found;
}

/* One death: calls until a random moment, then SIGKILL, then what was still acknowledged. */
static void one_kill(struct storm *s, pid_t victim)
{
	long long until = now_us() + (s->max_us ? random() % s->max_us : 0);
	bool alive = true;

	if (s->ref)
		alive = call_until(s, until);
	else if (until > now_us())
		usleep((unsigned)(until - now_us()));	/* the random moment itself */
	if (!alive)
		die("the broker died by itself");
	if (kill(victim, SIGKILL) < 0)
		die("the victim was gone before it was killed");
	if (s->ref)
		drain(s);
}

static void wait_exit(pid_t pid)
{
	struct pollfd p = { .events = POLLIN };

	p.fd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (p.fd >= 0 && poll(&p, 1, 30000) != 1)
		die("a killed process does not end");
	if (p.fd >= 0)
		close(p.fd);
}

/* Every fourth time the next broker is killed too while it boots, where nobody can be called yet. */
static void kill_booting(pid_t spawner)
{
	pid_t pid;

	usleep((unsigned)(random() % 30000));		/* a random moment, not a wait */
	pid = broker_pid(spawner);
	if (!pid)
		return;
	kill(pid, SIGKILL);
	wait_exit(pid);
}

static void storm_run(struct storm *s)
{
	pid_t spawner = spawner_pid(s);

	for (long i = 0; i < s->kills; i++) {
		pid_t broker;

		/* A booting broker may have been killed under this connection: then ask the next one. */
		for (int tries = 0; s->ref; tries++) {
			socket_open(s);
			if (read_counter(s) >= 0)
				break;
			close(s->fd);
			if (tries == 10)
				die("the counter cannot be read");
		}
		while (!(broker = broker_pid(spawner)))
			if (kill(spawner, 0) < 0)
				die("the spawner is gone");
		one_kill(s, s->spawner ? spawner : broker);
		wait_exit(broker);
		if (!s->spawner && i % 4 == 3)
			kill_booting(spawner);
		tally_write(s);
		if (s->spawner)
			return;
	}
	if (!s->ref)
		return;
	for (int tries = 0; ; tries++) {
		long long v;

		socket_open(s);
		v = read_counter(s);
		close(s->fd);
		if (v >= 0) {
			printf("issued %lld acknowledged %lld counter %lld\n", s->issued, s->acked, v);
			return;
		}
		if (tries == 10)
			die("the counter cannot be read at the end");
	}
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "run", required_argument, NULL, 'r' }, { "tally", required_argument, NULL, 't' },
		{ "ref", required_argument, NULL, 'k' }, { "kills", required_argument, NULL, 'n' },
		{ "spawner", no_argument, NULL, 's' }, { "depth", required_argument, NULL, 'd' },
		{ "seed", required_argument, NULL, 'x' }, { "max-us", required_argument, NULL, 'u' }, { 0 },
	};
	static struct storm s = { .depth = 8, .max_us = 30000 };
	unsigned seed = (unsigned)now_us();
	int opt;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) >= 0) {
		switch (opt) {
		case 'r': s.run = optarg; break;
		case 't': s.tally = optarg; break;
		case 'k': s.ref = optarg; break;
		case 'n': s.kills = atol(optarg); break;
		case 's': s.spawner = true; break;
		case 'd': s.depth = atol(optarg); break;
		case 'x': seed = (unsigned)atol(optarg); break;
		case 'u': s.max_us = atol(optarg); break;
		default: return 2;
		}
	}
	if (!s.run || !s.tally || optind != argc) {
		fprintf(stderr, "usage: storm --run DIR --tally FILE [--ref KREF] [--kills N] ...\n");
		return 2;
	}
	fprintf(stderr, "storm: seed %u\n", seed);
	srandom(seed);
	tally_read(&s);
	storm_run(&s);
	tally_write(&s);
	return 0;
}
