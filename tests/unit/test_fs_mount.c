/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mount as people see it: capstan-fs as its own user behind a real FUSE mount, read with the usual tools, while
 * a process in the broker's place commits and grants leases, and on command fails to.
 *
 * Needs root and /dev/fuse; skipped else. Everything happens in a mount namespace of the test's own and every
 * process dies with the test, so that nothing is left mounted however it ends.
 */
#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
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
#define DEADLINE_S	120
#define CHARGE_MAX_UID_THINGS 256	/* fs/charge.h */

struct fixture {
	char dir[64], mount[96];
	int control;			/* to the process in the broker's place */
	pid_t broker, fs;
};
static struct fixture fixture;
static bool can_mount;

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
};

struct broker {
	struct store *store;
	struct live_page *page;
	int lease, control;
	enum command mode;
	void *hold[LEASE_MAX];
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
	struct row_vat vat = { .subcluster = 1, .incarnation = 1, .status = VAT_RUNNING, .uid = 7, .name = "alice" };
	struct row_object object = { .owner = endpoint_vat(1).bits, .owner_incarnation = 1, .n_recognizable = 1 };
	struct row_promise promise = { .state = PROMISE_UNRESOLVED, .n_refs = 1 };
	struct row_subcluster sub = { .status = SUB_RUNNING, .bootstrap_vat = 1, .root = 1 };
	uint8_t key[16];

	put_key(b->store, T_VAT, 1, &vat, sizeof(vat));
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

static void broker_grant(struct broker *b, uint32_t id)
{
	struct lease_reply reply = { .id = id, .status = b->mode == BUSY ? LEASE_BUSY : LEASE_OK };

	broker_end_lease(b, id);
	if (b->mode == SILENT)
		return;
	if (b->mode != BUSY)
		assert_int_equal(store_snapshot_hold(b->store, &reply.txnid, &b->hold[id]), 0);
	reply.generation = __atomic_load_n(&b->page->lease.generation[id], __ATOMIC_ACQUIRE);
	if (b->mode == EXPIRE || b->mode == EXPIRE_ONE) {
		broker_end_lease(b, id);
		__atomic_add_fetch(&b->page->lease.generation[id], 1, __ATOMIC_RELEASE);
		if (b->mode == EXPIRE_ONE)
			b->mode = NORMAL;
	}
	send(b->lease, &reply, sizeof(reply), MSG_NOSIGNAL);
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
	assert_true(request.id < LEASE_MAX);
	if (request.op == LEASE_ACQUIRE)
		broker_grant(b, request.id);
	else
		broker_end_lease(b, request.id);
}

static void broker_obey(struct broker *b, enum command c)
{
	if (c == COMMIT)
		broker_commit(b);
	else if (c == UNCOUNTED)
		__atomic_store_n(&b->page->lease.commits, 0, __ATOMIC_RELEASE);
	else
		b->mode = c;
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

/* fds: 3 fuse, 4 data, 5 lease, 6 page, as the spawner hands them over. */
static void exec_fs(int program, const int fds[4])
{
	char *argv[] = { (char *)"capstan-fs", (char *)"--fuse-fd", (char *)"3", (char *)"--data-fd", (char *)"4",
		(char *)"--lease-fd", (char *)"5", (char *)"--page-fd", (char *)"6", (char *)"--gid",
		(char *)"62000", NULL };
	int high[4];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	program = fcntl(program, F_DUPFD_CLOEXEC, 100);
	for (int i = 0; i < 4; i++)
		high[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 100);
	for (int i = 0; i < 4; i++)
		dup2(high[i], 3 + i);
	syscall(SYS_close_range, 7u, 99u, 0u);
	become(FS_UID, FS_UID);
	prctl(PR_SET_PDEATHSIG, SIGKILL);	/* changing the uid cleared it */
	fexecve(program, argv, environ);
	_exit(98);
}

static int start(void **state)
{
	struct fixture *f = &fixture;
	struct broker b = { .mode = NORMAL };
	int lease[2], control[2], page, fds[4], program;
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
	f->fs = fork();
	if (!f->fs)
		exec_fs(program, fds);
	for (int i = 0; i < 4; i++)
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

/* --- tests ------------------------------------------------------------------------------------------------------- */

static void test_tools(void **state)
{
	struct fixture *f = *state;

	need_mount();
	shell_says(f, "ls | grep -xE '(objects|promises|runqueue|status|vats)'", "objects\npromises\nrunqueue\nstatus\nvats\n");
	shell_says(f, "cat vats/v1/name vats/v1/status", "alice\nrunning\n");
	shell_says(f, "ls objects | wc -l; ls -U vats/v1/clist | wc -l", "1000\n1000\n");
	shell_says(f, "readlink vats/v1/clist/o+1 subclusters/s1/root", "../../../objects/ko2\n../../objects/ko1\n");
	shell_says(f, "ls -l vats/v1/clist/o+7 | cut -c1-10; cat vats/v1/clist/o+7/status | head -n1",
		   "lrwxrwxrwx\nowner: v1 o+7 reachable\n");
	shell_says(f, "stat -c '%A %U %g %s' . status objects",
		   "dr-xr-x--- root 62000 0\n-r--r----- root 62000 0\ndr-xr-x--- root 62000 0\n");
	shell_says(f, "cat subclusters/s1/vats/alice/name", "alice\n");
	/* Every file can be read, and no link dangles. */
	shell_says(f, "find . -type f -exec cat {} + >/dev/null", "");
	shell_says(f, "find -L . -maxdepth 3 -type l", "");
	shell_says(f, "find objects -maxdepth 1 | wc -l; find . -type d -name 'ko*' | wc -l; find vats/v1/clist -type l | wc -l",
		   "1001\n1000\n1000\n");
	shell_says(f, "cat nothing || echo no", "cat: nothing: No such file or directory\nno\n");
	shell_says(f, "tail -n 1 vats/v1/clist.txt; tail -c 10 status | wc -c", "o+999  ko1000  reachable\n10\n");
}

/* The process has what it needs and no more. */
static void test_process(void **state)
{
	struct fixture *f = *state;
	char path[64], *status;
	int fd;

	need_mount();
	assert_int_equal(open_error(f, "status"), 0);	/* it serves: so it has locked itself up */
	snprintf(path, sizeof(path), "/proc/%d/status", f->fs);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	status = slurp(fd);
	close(fd);
	assert_non_null(strstr(status, "Uid:\t61999\t61999\t61999\t61999\n"));
	assert_non_null(strstr(status, "CapEff:\t0000000000000000\n"));
#if !defined(__SANITIZE_ADDRESS__)
	assert_non_null(strstr(status, "NoNewPrivs:\t1\n"));
	assert_non_null(strstr(status, "Seccomp:\t2\n"));
#endif
	free(status);
}

static void test_modes(void **state)
{
	struct fixture *f = *state;

	need_mount();
	assert_int_equal(open_error_as(f, OTHER_UID, OTHER_UID, "status"), EACCES);
	assert_int_equal(open_error_as(f, OTHER_UID, OTHER_UID, "vats"), EACCES);
	assert_int_equal(open_error_as(f, OTHER_UID, OTHER_UID, "."), EACCES);
	assert_int_equal(open_error_as(f, READER_UID, READER_GID, "status"), 0);
	assert_int_equal(open_error_as(f, READER_UID, READER_GID, "vats/v1/clist/o+3"), 0);
	assert_int_equal(open_in(f, "status", O_WRONLY), -1);
	assert_int_equal(errno, EROFS);
	assert_int_equal(open_in(f, "new", O_CREAT | O_WRONLY), -1);
	assert_int_equal(errno, EROFS);
}

/* The number that all rows of the run queue bear: one commit, from the first row to the last. */
static unsigned long long read_commit(struct fixture *f)
{
	int fd = open_in(f, "runqueue", O_RDONLY);
	unsigned long long seq, method, commit = 0;
	char *text, *save = NULL;
	unsigned int n_rows = 0;

	assert_true(fd >= 0);
	text = slurp(fd);
	close(fd);
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		if (sscanf(line, "%llu message ko1 m%llu", &seq, &method) != 2)
			continue;
		assert_true(!commit || method == commit);
		assert_true(seq == method * N_ITEMS + n_rows + 1);
		commit = method;
		n_rows++;
	}
	assert_int_equal(n_rows, N_ITEMS);
	free(text);
	return commit;
}

/* While the broker commits as fast as it can, every open shows one commit, and none goes back in time. */
static void test_consistent(void **state)
{
	struct fixture *f = *state;
	unsigned long long first, last = 0;

	need_mount();
	command(f, FAST);
	first = read_commit(f);
	for (int i = 0; i < 300; i++) {
		unsigned long long now = read_commit(f);

		assert_true(now >= last);
		last = now;
	}
	assert_true(last > first);	/* there were commits in between */
	command(f, NORMAL);
}

/* Whoever heard of a commit sees it in the next open. */
static void test_fresh(void **state)
{
	struct fixture *f = *state;
	unsigned long long before;

	need_mount();
	before = read_commit(f);
	for (unsigned int i = 1; i <= 200; i++) {
		assert_true(read_commit(f) == before + i - 1);
		command(f, COMMIT);
		assert_true(read_commit(f) == before + i);
	}
}

/* A broker that does not count its commits is asked each time. */
static void test_uncounted(void **state)
{
	need_mount();
	command(*state, UNCOUNTED);
	test_fresh(state);
	test_consistent(state);
}

/* From now on leases are treated like that; the commit makes the one that may be held useless. */
static void command_leases(struct fixture *f, enum command c)
{
	command(f, c);
	command(f, COMMIT);
}

static void test_leases(void **state)
{
	struct fixture *f = *state;

	need_mount();
	/* One that runs out: asked again, unseen. */
	command_leases(f, EXPIRE_ONE);
	assert_int_equal(open_error(f, "runqueue"), 0);
	/* All of them; none to have; no answer: an error, in bounded time, for what needs the store. */
	command_leases(f, EXPIRE);
	assert_int_equal(open_error(f, "runqueue"), EIO);
	command_leases(f, BUSY);
	assert_int_equal(open_error(f, "runqueue"), EIO);
	command_leases(f, SILENT);
	assert_int_equal(open_error(f, "runqueue"), EIO);
	shell_says(f, "test -d vats && echo there", "there\n");
	/* And all is well afterwards, although answers to the old requests came late or never. */
	command_leases(f, NORMAL);
	assert_int_equal(open_error(f, "runqueue"), 0);
	assert_int_equal(open_error(f, "vats/v1/clist/o+3"), 0);
}

/* A reader that takes all it can get hits its own limit; nobody else does. */
static void test_limits(void **state)
{
	struct fixture *f = *state;
	int fds[CHARGE_MAX_UID_THINGS];

	need_mount();
	for (int i = 0; i < CHARGE_MAX_UID_THINGS; i++) {
		fds[i] = open_in(f, "version", O_RDONLY);
		assert_true(fds[i] >= 0);
	}
	assert_int_equal(open_error(f, "version"), EMFILE);
	assert_int_equal(open_error_as(f, READER_UID, READER_GID, "version"), 0);
	close(fds[0]);
	/* A release is told to the server some time after close(); until it is, the limit stands. */
	for (int i = 0; i < 100000 && (fds[0] = open_in(f, "version", O_RDONLY)) < 0; i++)
		assert_int_equal(errno, EMFILE);
	assert_true(fds[0] >= 0);
	for (int i = 0; i < CHARGE_MAX_UID_THINGS; i++)
		close(fds[i]);
	for (int i = 0; i < 100000 && open_error(f, "version"); i++)
		;
	assert_int_equal(open_error(f, "version"), 0);
}

static void test_odd_requests(void **state)
{
	struct fixture *f = *state;
	char name[300], byte[16];
	struct rng rng = { 99 };
	int fd;

	need_mount();
	fd = open_in(f, "status", O_RDONLY);
	assert_int_equal(pread(fd, byte, sizeof(byte), INT64_MAX - 100), 0);
	assert_int_equal(pread(fd, byte, sizeof(byte), 0), 16);
	assert_memory_equal(byte, "version: ", 9);
	close(fd);
	fd = open_in(f, "objects", O_RDONLY | O_DIRECTORY);
	for (int i = 0; i < 2000; i++) {
		char buf[1024];

		lseek(fd, (off_t)(rng_next(&rng) >> (1 + rng_below(&rng, 63))), SEEK_SET);
		assert_true(syscall(SYS_getdents64, fd, buf, sizeof(buf)) >= 0);
	}
	close(fd);
	memset(name, 'k', sizeof(name));
	name[299] = '\0';
	assert_int_equal(open_error(f, name), ENAMETOOLONG);
	for (int i = 0; i < 2000; i++) {
		char path[400];
		size_t len = 1 + rng_below(&rng, 200);

		for (size_t j = 0; j < len; j++)
			name[j] = (char)(1 + rng_below(&rng, 255));
		name[len] = '\0';
		snprintf(path, sizeof(path), "vats/v1/clist/x%s", name);
		assert_true(open_error(f, path));
	}
	assert_int_equal(open_error(f, "status"), 0);
}

/* Readers that stop in the middle hold nothing up. */
static void test_stopped_readers(void **state)
{
	struct fixture *f = *state;
	pid_t readers[20];
	int status;

	need_mount();
	for (size_t i = 0; i < ARRAY_LEN(readers); i++) {
		readers[i] = fork();
		if (!readers[i]) {
			int fd = open_in(f, "runqueue", O_RDONLY);
			char byte;

			prctl(PR_SET_PDEATHSIG, SIGKILL);
			if (fd < 0 || read(fd, &byte, 1) != 1)
				_exit(1);
			raise(SIGSTOP);
			_exit(0);
		}
	}
	for (size_t i = 0; i < ARRAY_LEN(readers); i++) {
		assert_int_equal(waitpid(readers[i], &status, WUNTRACED), readers[i]);
		assert_true(WIFSTOPPED(status));
	}
	assert_int_equal(open_error(f, "runqueue"), 0);
	for (size_t i = 0; i < ARRAY_LEN(readers); i++) {
		kill(readers[i], SIGKILL);
		assert_int_equal(waitpid(readers[i], &status, 0), readers[i]);
	}
	assert_int_equal(open_error(f, "runqueue"), 0);
}

/* The broker's death ends capstan-fs, quietly; what it served then fails, and the mount can go. */
static void test_broker_gone(void **state)
{
	struct fixture *f = *state;
	int status;

	need_mount();
	kill(f->broker, SIGKILL);
	assert_int_equal(waitpid(f->broker, NULL, 0), f->broker);
	f->broker = 0;
	assert_int_equal(waitpid(f->fs, &status, 0), f->fs);
	f->fs = 0;
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	assert_int_equal(open_error(f, "status"), ENOTCONN);
	assert_int_equal(umount2(f->mount, 0), 0);
}

/* A mount taken away from outside ends it too. */
static void test_unmounted(void **state)
{
	struct fixture *f = *state;
	int status;

	need_mount();
	assert_int_equal(open_error(f, "status"), 0);
	assert_int_equal(umount2(f->mount, MNT_DETACH), 0);
	assert_int_equal(waitpid(f->fs, &status, 0), f->fs);
	f->fs = 0;
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
	const struct CMUnitTest together[] = {
		cmocka_unit_test(test_tools), cmocka_unit_test(test_process), cmocka_unit_test(test_modes),
		cmocka_unit_test(test_consistent), cmocka_unit_test(test_fresh), cmocka_unit_test(test_leases),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_odd_requests), cmocka_unit_test(test_stopped_readers), cmocka_unit_test(test_uncounted),
		cmocka_unit_test(test_broker_gone),
	};
	const struct CMUnitTest alone[] = {
		cmocka_unit_test_setup_teardown(test_unmounted, start, stop),
	};
	int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);

	can_mount = geteuid() == 0 && fd >= 0 && !unshare(CLONE_NEWNS) &&
		    !mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
	if (fd >= 0)
		close(fd);
	signal(SIGPIPE, SIG_IGN);
	alarm(DEADLINE_S);
	return cmocka_run_group_tests(together, start, stop) + cmocka_run_group_tests(alone, NULL, NULL);
}
