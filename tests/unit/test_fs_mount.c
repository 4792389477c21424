/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mount with the usual tools, as root and as others, with hostile readers, and with a broker that fails: see fs_mount.h.
 */
#include "fs_mount.h"

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
	shell_says(f, "find . -type f ! -name events -exec cat {} + >/dev/null", "");
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

/* Any offset of any file, in any order; and a reader that takes every file there is hurts itself alone. */
static void test_every_file(void **state)
{
	struct fixture *f = *state;
	char *save = NULL, *names, buf[4096];
	struct rng rng = { 7 };
	int status, n = 0;

	need_mount();
	names = shell(f, "find . -name 'ko??*' -prune -o -type f ! -name events -print", &status);
	for (char *name = strtok_r(names, "\n", &save); name; name = strtok_r(NULL, "\n", &save), n++) {
		int fd = open_in(f, name, O_RDONLY);

		assert_true(fd >= 0);
		for (int i = 0; i < 20; i++)
			assert_true(pread(fd, buf, rng_below(&rng, sizeof(buf)) + 1, (off_t)(rng_next(&rng) >> (1 + rng_below(&rng, 63)))) >= 0);
		close(fd);
	}
	assert_true(n > 30);
	free(names);
}

/* A child that floods with opens and reads until it is killed. */
static pid_t flood(struct fixture *f, const char *name)
{
	pid_t pid = fork();
	char byte;

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;) {
		int fd = open_in(f, name, O_RDONLY);

		if (fd >= 0 && read(fd, &byte, 1) < 0)
			_exit(1);
		close(fd);
	}
}

static void test_flood(void **state)
{
	static const char *const names[] = { "status", "vats/v1/nothing", "objects", "runqueue", "vats/v1/clist/o+5/status" };
	struct fixture *f = *state;
	pid_t pids[ARRAY_LEN(names)];

	need_mount();
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		pids[i] = flood(f, names[i]);
	for (int i = 0; i < 100; i++)
		assert_int_equal(open_error(f, "vats/v1/name"), 0);
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		kill(pids[i], SIGKILL);
		assert_int_equal(waitpid(pids[i], NULL, 0), pids[i]);
	}
}

#define BLOCK_UID	62500u

/* What that user gets: an errno, or 0. By open(), stat() and readlink(). */
static void assert_refused(struct fixture *f, uid_t uid, const char *name, int wanted)
{
	char path[256], link[64];
	struct stat st;
	int status, error;
	pid_t pid = fork();

	snprintf(path, sizeof(path), "%s/%s", f->mount, name);
	if (!pid) {
		become(uid, uid);
		error = lstat(path, &st) < 0 ? errno : !S_ISLNK(st.st_mode) ? open_error(f, name) :
			readlink(path, link, sizeof(link)) < 0 ? errno : 0;
		_exit(error);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), wanted);
}

/* Everybody may read, but for what is hidden; those of the block nothing at all. */
static void test_world(void **state)
{
	static const char *const names[] = { "status", "objects", "vats/v1/name", "vats/v1/clist/o+5", "objects/ko1/status", "events",
					     "snapshot/w" };
	struct fixture *f = *state;

	need_mount();
	shell_says(f, "stat -c '%A %n' . status vats/v1/log vats/v1/config vats/v1/queue",
		   "dr-xr-xr-x .\n-r--r--r-- status\n-r-------- vats/v1/log\n-r-------- vats/v1/config\n-r--r--r-- vats/v1/queue\n");
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		assert_refused(f, BLOCK_UID + i, names[i], EACCES);	/* before anybody has made the kernel remember the name */
		assert_refused(f, OTHER_UID, names[i], 0);
	}
	assert_int_equal(open_error_as(f, READER_UID, READER_GID, "vats/v1/log"), EACCES);
	assert_int_equal(open_error_as(f, READER_UID, READER_GID, "vats/v1/config"), EACCES);
	assert_int_equal(open_error_as(f, BLOCK_UID + 9, READER_GID, "status"), EACCES);
	assert_int_equal(open_error_as(f, BLOCK_UID + 9, READER_GID, "."), EACCES);
	assert_int_equal(open_error_as(f, BLOCK_UID + 100, READER_GID, "status"), 0);	/* behind the last of them */
	assert_int_equal(open_error(f, "vats/v1/log"), 0);
}

static int start_world(void **state)
{
	static const char *const options[] = { "--world", "--hide", "logs,parameters", "--uid-block", "62500-62599" };

	memcpy(more_options, options, sizeof(options));
	return start(state);
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
		cmocka_unit_test(test_odd_requests), cmocka_unit_test(test_every_file), cmocka_unit_test(test_flood),
		cmocka_unit_test(test_stopped_readers), cmocka_unit_test(test_uncounted),
		cmocka_unit_test(test_broker_gone),
	};
	const struct CMUnitTest alone[] = {
		cmocka_unit_test_setup_teardown(test_unmounted, start, stop),
		cmocka_unit_test_setup_teardown(test_world, start_world, stop),
	};

	mount_tests_begin();
	return cmocka_run_group_tests(together, start, stop) + cmocka_run_group_tests(alone, NULL, NULL);
}
