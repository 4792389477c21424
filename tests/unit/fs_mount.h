/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For tests of the mount as people see it: capstan-fs as its own user behind a real FUSE mount, read with the usual tools,
 * while a process in the broker's place commits, grants leases, has events, and on command fails to.
 *
 * Needs root and /dev/fuse; skipped else. Everything happens in a mount namespace of the test's own and every
 * process dies with the test, so that nothing is left mounted however it ends.
 */
#ifndef CAPSTAN_TEST_FS_MOUNT_H
#define CAPSTAN_TEST_FS_MOUNT_H

/* Not every test uses all of it. */
#pragma GCC diagnostic ignored "-Wunused-function"

#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "store_dir.h"

#include "../../lib/live.h"

#define FS_UID		61999u		/* nobody's */
#define READER_GID	62000u
#define READER_UID	62001u
#define OTHER_UID	62002u
#define N_ITEMS		200u
#define N_FDS	5
#define CHARGE_MAX_UID_THINGS 256	/* fs/charge.h */
#define DEADLINE_S	120
#define LOG_KEEP	1000u	/* broker/vat.h */
#define FREEZE_LONG_MS	60000u
#define FREEZE_SHORT_MS	400u

struct fixture {
	char dir[64], mount[96];
	int control;			/* to the process in the broker's place */
	pid_t broker, fs;
};
static struct fixture fixture;
static bool can_mount;
static const char *more_options[8];	/* of capstan-fs, at the next start() */

/* --- the broker's place ------------------------------------------------------------------------------------------ */

enum command {
	NORMAL = 'n',		/* grant what is asked for */
	BUSY = 'b',		/* say BUSY */
	SILENT = 's',		/* say nothing */
	EXPIRE = 'e',		/* every lease runs out at once */
	EXPIRE_ONE = '1',	/* the next one does */
	FAST = 'f',		/* commit all the time, and grant */
	COMMIT = 'c',		/* commit once, before answering */
	UNCOUNTED = 'u',	/* from now on do not count commits in the page */
	EVENTS = 'v',		/* ten events happen */
	OVERRUN = 'V',		/* more events than the ring holds */
	THAW = 't',		/* the leases of all frozen trees end */
	LINE = 'l',		/* v1 logs a line */
	LINES = 'L',		/* and LOG_KEEP / 2 of them */
	SHORT = 'S',		/* frozen trees live for FREEZE_SHORT_MS from now on */
};

struct broker {
	struct store *store;
	struct live_page *page;
	int lease, control;
	enum command mode;
	void *hold[LEASE_N];
	int watch;		/* eventfd */
	bool watched;
	uint64_t freeze_ms;
	uint64_t n_events;
	struct row_vat vat;	/* v1 */
	uint64_t n;		/* stands in every row that a commit writes */
};

static void put_key(struct store *s, enum table t, uint64_t key, const void *val, size_t len)
{
	uint8_t k[8];

	must_put(s, t, k, key_u64(k, key), val, len);
}

/* One commit: all items of v1's queue, its clist and its log say the same number. */
static void broker_commit(struct broker *b)
{
	char body[64];

	b->n++;
	snprintf(body, sizeof(body), "#[\"m%llu\",[]]", (unsigned long long)b->n);
	for (uint64_t i = 1; i <= N_ITEMS; i++) {
		struct row_item row = { .kind = ITEM_MESSAGE, .target = 1, .sender = endpoint_vat(1).bits };
		uint8_t key[16], val[256];

		memcpy(val, &row, sizeof(row));
		capdata_write(val + sizeof(row), body, strlen(body), NULL, 0);
		/* The old ones go, so that their pages become free to be reused. */
		if (b->n > 1)
			store_del(b->store, T_QUEUE, key,
				  key_u64_u64(key, endpoint_vat(1).bits, (b->n - 1) * N_ITEMS + i));
		must_put(b->store, T_QUEUE, key, key_u64_u64(key, endpoint_vat(1).bits, b->n * N_ITEMS + i), val,
			 sizeof(row) + capdata_size(strlen(body), 0));
	}
	assert_int_equal(store_commit(b->store), 0);
	if (b->page->lease.commits)
		__atomic_add_fetch(&b->page->lease.commits, 1, __ATOMIC_RELEASE);
}

static void broker_write_state(struct broker *b)
{
	struct row_object object = { .owner = endpoint_vat(1).bits, .owner_incarnation = 1, .n_recognizable = 1 };
	struct row_promise promise = { .state = PROMISE_UNRESOLVED, .n_refs = 1 };
	struct row_subcluster sub = { .status = SUB_RUNNING, .bootstrap_vat = 1, .root = 1 };
	uint8_t key[16];

	b->vat = (struct row_vat){
		.subcluster = 1, .incarnation = 1, .status = VAT_RUNNING, .uid = 7, .name = "alice", .next_log = 1 };
	put_key(b->store, T_VAT, 1, &b->vat, sizeof(b->vat));
	put_key(b->store, T_VAT_CONFIG, 1, "{}", 2);
	put_key(b->store, T_VAT_PARAM, 1, "\0\0\0\0\0\0\0\0", 8);
	put_key(b->store, T_SUBCLUSTER, 1, &sub, sizeof(sub));
	put_key(b->store, T_SUB_CONFIG, 1, "{}", 2);
	must_put(b->store, T_MEMBER, key, key_u64_u64(key, 1, 1), "alice", 5);
	for (uint64_t i = 1; i <= 1000; i++) {
		struct row_clist row = { .ref = i, .flags = CLIST_F_REACHABLE };
		endpoint_t e = endpoint_vat(1);

		put_key(b->store, T_OBJECT, i, &object, sizeof(object));
		must_put(b->store, T_EREF, key, key_u64_u64(key, e.bits, i - 1), &row, sizeof(row));
		row.ref = i - 1;
		must_put(b->store, T_CLIST, key, key_u64_u64(key, e.bits, i), &row, sizeof(row));
	}
	put_key(b->store, T_PROMISE, kp(1).bits, &promise, sizeof(promise));
	broker_commit(b);
}

static void broker_end_lease(struct broker *b, uint32_t id)
{
	if (b->hold[id])
		store_snapshot_drop(b->store, b->hold[id]);
	b->hold[id] = NULL;
}

static void broker_wake(struct broker *b)
{
	uint64_t one = 1;

	assert_int_equal(write(b->watch, &one, sizeof(one)), sizeof(one));
}

/* `n` events, whose method a hostile vat chose. */
static void broker_say(struct broker *b, uint64_t n)
{
	for (uint64_t i = 0; i < n; i++) {
		uint64_t number = ++b->n_events;
		struct live_event *e = &b->page->events[number % LIVE_EVENTS];

		__atomic_store_n(&b->page->n_begun, number, __ATOMIC_RELAXED);
		__atomic_thread_fence(__ATOMIC_RELEASE);
		*e = (struct live_event){
			.number = number, .time_us = 1700000000000000 + number, .kind = LIVE_CRANK, .vat = endpoint_vat(1).bits,
			.outcome = LIVE_APPLIED, .crank = number, .ref = 7, .work = LIVE_WORK_MESSAGE, .text_len = 5, .ref2 = 5,
			.text = "a\x1b[\nb",
		};
	}
	__atomic_store_n(&b->page->n_shown, b->n_events, __ATOMIC_RELEASE);
	if (b->watched)
		broker_wake(b);
}

static void broker_thaw(struct broker *b)
{
	for (uint32_t id = LEASE_MAX; id < LEASE_N; id++) {
		if (!b->hold[id])
			continue;
		__atomic_add_fetch(&b->page->lease.generation[id], 1, __ATOMIC_RELEASE);
		broker_end_lease(b, id);
	}
}

/* As broker/vat.c does it: only the last LOG_KEEP lines are kept. */
static void broker_log(struct broker *b, unsigned int n)
{
	uint8_t key[16];
	char text[64];

	for (unsigned int i = 0; i < n; i++) {
		struct row_log row = { .time_us = 1700000000000000 + b->vat.next_log, .level = 1, .incarnation = 1, .offset = b->vat.log_bytes };
		uint8_t val[sizeof(row) + sizeof(text)];
		size_t len = (size_t)snprintf(text, sizeof(text), "line %llu", (unsigned long long)b->vat.next_log);

		memcpy(val, &row, sizeof(row));
		memcpy(val + sizeof(row), text, len);
		must_put(b->store, T_LOG, key, key_u64_u64(key, 1, b->vat.next_log), val, sizeof(row) + len);
		if (b->vat.next_log > LOG_KEEP)
			store_del(b->store, T_LOG, key, key_u64_u64(key, 1, b->vat.next_log - LOG_KEEP));
		b->vat.log_bytes += log_line_size(&row, text, len);
		b->vat.next_log++;
	}
	put_key(b->store, T_VAT, 1, &b->vat, sizeof(b->vat));
	broker_commit(b);
}

static void broker_grant(struct broker *b, uint32_t id)
{
	struct lease_reply reply = { .id = id, .status = b->mode == BUSY ? LEASE_BUSY : LEASE_OK };

	broker_end_lease(b, id);
	if (b->mode == SILENT)
		return;
	if (b->mode != BUSY)
		assert_int_equal(store_snapshot_hold(b->store, &reply.txnid, &b->hold[id]), 0);
	reply.deadline_ns = now_monotonic_ns() + (id < LEASE_MAX ? LEASE_MS : b->freeze_ms) * UINT64_C(1000000);
	reply.generation = __atomic_load_n(&b->page->lease.generation[id], __ATOMIC_ACQUIRE);
	if (b->mode == EXPIRE || b->mode == EXPIRE_ONE) {
		broker_end_lease(b, id);
		__atomic_add_fetch(&b->page->lease.generation[id], 1, __ATOMIC_RELEASE);
		if (b->mode == EXPIRE_ONE)
			b->mode = NORMAL;
	}
	send(b->lease, &reply, sizeof(reply), MSG_NOSIGNAL);
}

static void broker_watch(struct broker *b, bool on)
{
	b->watched = on;
	if (on)
		broker_wake(b);
}

static void broker_serve_lease(struct broker *b)
{
	struct lease_request request;
	ssize_t n = recv(b->lease, &request, sizeof(request), MSG_DONTWAIT);

	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0)
		_exit(0);	/* capstan-fs is gone */
	assert_int_equal(n, sizeof(request));
	assert_true(request.id < LEASE_N);
	if (request.op == LEASE_ACQUIRE)
		broker_grant(b, request.id);
	else if (request.op == LEASE_WATCH)
		broker_watch(b, request.id);
	else
		broker_end_lease(b, request.id);
}

static void broker_obey(struct broker *b, enum command c)
{
	switch (c) {
	case COMMIT: broker_commit(b); break;
	case UNCOUNTED: __atomic_store_n(&b->page->lease.commits, 0, __ATOMIC_RELEASE); break;
	case EVENTS: broker_say(b, 10); break;
	case OVERRUN: broker_say(b, LIVE_EVENTS + 100); break;
	case THAW: broker_thaw(b); break;
	case LINE: broker_log(b, 1); break;
	case LINES: broker_log(b, LOG_KEEP / 2); break;
	case SHORT: b->freeze_ms = FREEZE_SHORT_MS; break;
	default: b->mode = c; break;
	}
}

static void broker_run(struct broker *b)
{
	for (;;) {
		struct pollfd p[2] = { { b->lease, POLLIN, 0 }, { b->control, POLLIN, 0 } };
		char command;

		poll(p, 2, b->mode == FAST ? 0 : -1);
		if (p[1].revents) {
			if (read(b->control, &command, 1) != 1)
				_exit(0);
			broker_obey(b, (enum command)command);
			if (write(b->control, &command, 1) != 1)
				_exit(1);
		}
		if (p[0].revents)
			broker_serve_lease(b);
		if (b->mode == FAST)
			broker_commit(b);
	}
}

static void command(struct fixture *f, enum command c)
{
	char byte = (char)c;

	assert_int_equal(write(f->control, &byte, 1), 1);
	assert_int_equal(read(f->control, &byte, 1), 1);
	assert_int_equal(byte, c);
}

/* --- starting and stopping --------------------------------------------------------------------------------------- */

/* The tests lie in BUILD/unit, the programs in BUILD/bin. */
static int open_program(void)
{
	char path[1024];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 64);

	assert_true(n > 0);
	path[n] = '\0';
	for (int i = 0; i < 2; i++)
		*strrchr(path, '/') = '\0';
	strcat(path, "/bin/capstan-fs");
	return open(path, O_RDONLY | O_CLOEXEC);
}

static int mount_fuse(const char *where)
{
	char options[128];
	int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(mkdir(where, 0755), 0);
	snprintf(options, sizeof(options),
		 "fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions", fd);
	assert_int_equal(mount("capstan", where, "fuse.capstan", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, options), 0);
	return fd;
}

static void become(uid_t uid, gid_t gid)
{
	if (setgroups(0, NULL) || setresgid(gid, gid, gid) || setresuid(uid, uid, uid))
		_exit(99);
}

/* fds: 3 fuse, 4 data, 5 lease, 6 page, 7 eventfd, as the spawner hands them over. */
static void exec_fs(int program, const int fds[N_FDS])
{
	const char *argv[24] = { "capstan-fs", "--fuse-fd", "3", "--data-fd", "4", "--lease-fd", "5", "--page-fd", "6",
		"--watch-fd", "7", "--gid", "62000" };
	int high[N_FDS], n = 13;

	for (int i = 0; more_options[i]; i++)
		argv[n++] = more_options[i];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	program = fcntl(program, F_DUPFD_CLOEXEC, 100);
	for (int i = 0; i < N_FDS; i++)
		high[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 100);
	for (int i = 0; i < N_FDS; i++)
		dup2(high[i], 3 + i);
	syscall(SYS_close_range, 3u + N_FDS, 99u, 0u);
	become(FS_UID, FS_UID);
	prctl(PR_SET_PDEATHSIG, SIGKILL);	/* changing the uid cleared it */
	fexecve(program, (char **)(uintptr_t)argv, environ);
	_exit(98);
}

static int start(void **state)
{
	struct fixture *f = &fixture;
	struct broker b = { .mode = NORMAL, .freeze_ms = FREEZE_LONG_MS };
	int lease[2], control[2], page, fds[N_FDS], program;
	char path[2 * DIR_MAX];

	*state = f;
	strcpy(f->dir, "/tmp/capstan-fsmount-XXXXXX");
	if (!can_mount)
		return 0;
	if (!mkdtemp(f->dir))
		return -1;
	snprintf(f->mount, sizeof(f->mount), "%s/fs", f->dir);
	chmod(f->dir, 0755);
	program = open_program();
	assert_true(program >= 0);
	b.watch = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	page = memfd_create("lease", MFD_CLOEXEC);
	assert_int_equal(ftruncate(page, sizeof(struct live_page)), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, lease), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, control), 0);
	f->control = control[0];
	f->broker = fork();
	if (!f->broker) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(lease[1]);
		close(control[0]);
		b.store = must_open(f->dir, STORE_DIRECT);
		b.page = mmap(NULL, sizeof(*b.page), PROT_READ | PROT_WRITE, MAP_SHARED, page, 0);
		b.page->lease.commits = 1;
		b.lease = lease[0];
		b.control = control[1];
		broker_write_state(&b);
		broker_run(&b);
	}
	close(control[1]);
	close(lease[0]);
	command(f, NORMAL);	/* the state is committed */
	fds[0] = mount_fuse(f->mount);
	fds[1] = open(dir_path(path, f->dir, "data.mdb"), O_RDONLY | O_CLOEXEC);
	fchmod(fds[1], 0444);
	fds[2] = lease[1];
	fds[3] = page;
	fds[4] = b.watch;
	f->fs = fork();
	if (!f->fs)
		exec_fs(program, fds);
	for (int i = 0; i < N_FDS; i++)
		close(fds[i]);
	close(program);
	return 0;
}

static int stop(void **state)
{
	struct fixture *f = *state;
	pid_t *children[] = { &f->fs, &f->broker };

	if (!can_mount)
		return 0;
	for (size_t i = 0; i < ARRAY_LEN(children); i++) {
		if (*children[i] <= 0)
			continue;
		kill(*children[i], SIGKILL);
		waitpid(*children[i], NULL, 0);
	}
	umount2(f->mount, MNT_DETACH);
	remove_tree(f->dir);
	return 0;
}

#define need_mount()	do { if (!can_mount) skip(); } while (0)

/* --- looking ----------------------------------------------------------------------------------------------------- */

/* Output of a shell command run in the mount; its exit status in *statusp. */
static char *shell(struct fixture *f, const char *script, int *statusp)
{
	char *line, *out = calloc(1, 1 << 20);
	FILE *p;

	assert_true(asprintf(&line, "cd %s && { %s; } 2>&1", f->mount, script) > 0);
	p = popen(line, "r");
	assert_non_null(p);
	out[fread(out, 1, (1 << 20) - 1, p)] = '\0';
	*statusp = pclose(p);
	free(line);
	return out;
}

static void shell_says(struct fixture *f, const char *script, const char *expected)
{
	int status;
	char *out = shell(f, script, &status);

	assert_string_equal(out, expected);
	assert_int_equal(status, 0);
	free(out);
}

static int open_in(struct fixture *f, const char *name, int flags)
{
	char path[1024];

	snprintf(path, sizeof(path), "%s/%s", f->mount, name);
	return open(path, flags | O_CLOEXEC);
}

static char *slurp(int fd)
{
	size_t len = 0, size = 1 << 20;
	char *out = malloc(size);
	ssize_t n;

	while ((n = read(fd, out + len, size - 1 - len)) > 0)
		len += (size_t)n;
	assert_int_equal(n, 0);
	out[len] = '\0';
	return out;
}

/* The errno that opening gives; 0: it opens. */
static int open_error(struct fixture *f, const char *name)
{
	int fd = open_in(f, name, O_RDONLY);

	if (fd < 0)
		return errno;
	close(fd);
	return 0;
}

static int open_error_as(struct fixture *f, uid_t uid, gid_t gid, const char *name)
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		become(uid, gid);
		_exit(open_error(f, name));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

/* First of all in main(). */
static void mount_tests_begin(void)
{
	int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);

	can_mount = geteuid() == 0 && fd >= 0 && !unshare(CLONE_NEWNS) &&
		    !mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
	if (fd >= 0)
		close(fd);
	signal(SIGPIPE, SIG_IGN);
	alarm(DEADLINE_S);
}

#endif
