/* SPDX-License-Identifier: Apache-2.0 */
/* The reader: beside a running store under a lease, offline, and everything it must refuse. */
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

#include "../../lib/reader.h"
#include "store_dir.h"

#define N_ROWS	300

/* Every row of a snapshot says the same number. */
static uint64_t snapshot_number(struct reader *r)
{
	const void *k, *v;
	size_t k_len, v_len;
	uint64_t number, first = 0, n = 0;
	uint8_t at[8];
	int res;

	for (res = reader_next(r, T_LOG, NULL, 0, true, &k, &k_len, &v, &v_len); !res;
	     res = reader_next(r, T_LOG, at, 8, false, &k, &k_len, &v, &v_len)) {
		assert_int_equal(k_len, 8);
		assert_int_equal(v_len, 80);
		memcpy(at, k, 8);
		memcpy(&number, v, 8);
		if (!n++)
			first = number;
		assert_int_equal(number, first);
	}
	assert_int_equal(res, READER_NOT_FOUND);
	assert_int_equal(n, N_ROWS);
	return first;
}

static int write_all(struct store *s, uint64_t number)
{
	uint8_t key[8], val[80] = { 0 };
	int r = 0;

	memcpy(val, &number, 8);
	for (uint64_t i = 1; i <= N_ROWS && !r; i++)
		r = store_put(s, T_LOG, key, key_u64(key, i), val, sizeof val);
	return r ? r : store_commit(s);
}

static void test_under_lease(void **state)
{
	struct store *s = must_open(*state, STORE_OVERLAY);
	struct reader *r = NULL;
	uint64_t held_id, n;
	const void *val;
	size_t len;
	uint8_t key[8];
	void *hold;
	int fd;

	assert_int_equal(write_all(s, 1), 0);
	fd = store_data_fd(s);
	assert_true(fd >= 0);
	assert_int_equal(reader_open_fd(&r, fd), 0);
	close(fd);
	for (uint64_t round = 1; round < 30; round++) {
		assert_int_equal(store_snapshot_hold(s, &held_id, &hold), 0);
		assert_int_equal(reader_begin(r), 0);
		assert_int_equal(reader_txnid(r), held_id);
		/* Many commits, each rewriting every page: under the lease the snapshot stands. */
		for (uint64_t i = 1; i <= 20; i++)
			assert_int_equal(write_all(s, round * 100 + i), 0);
		assert_int_equal(snapshot_number(r), round == 1 ? 1 : (round - 1) * 100 + 20);
		assert_int_equal(reader_get(r, T_LOG, key, key_u64(key, 7), &val, &len), 0);
		assert_int_equal(reader_get(r, T_LOG, key, key_u64(key, N_ROWS + 1), &val, &len), READER_NOT_FOUND);
		assert_int_equal(reader_count(r, T_LOG, &n), 0);
		assert_int_equal(n, N_ROWS);
		assert_int_equal(reader_count(r, T_GC, &n), 0);
		assert_int_equal(n, 0);
		reader_end(r);
		store_snapshot_drop(s, hold);
	}
	reader_free(r);
	store_free(s);
}

/* capstan-fs: another process, no right to write anything. */
static void test_other_process(void **state)
{
	struct store *s = must_open(*state, STORE_OVERLAY);
	uint64_t id;
	int fd, status;
	void *hold;
	pid_t pid;

	assert_int_equal(write_all(s, 5), 0);
	fd = store_data_fd(s);
	assert_int_equal(fchmod(fd, 0644), 0);	/* a group of its own does this in life */
	assert_int_equal(store_snapshot_hold(s, &id, &hold), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		struct reader *r = NULL;
		const void *k, *v;
		size_t k_len, v_len;

		if (geteuid() == 0 && (setgid(65534) || setuid(65534)))
			_exit(9);
		if (reader_open_fd(&r, fd) || reader_begin(r))
			_exit(1);
		if (reader_next(r, T_LOG, NULL, 0, true, &k, &k_len, &v, &v_len))
			_exit(2);
		reader_end(r);
		reader_free(r);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	store_snapshot_drop(s, hold);
	close(fd);
	store_free(s);
}

/* Offline only: a broker's store is refused, and no broker starts while the reader has it. */
static void test_offline(void **state)
{
	struct store *s = must_open(*state, STORE_OVERLAY), *other = NULL;
	struct reader *r = NULL;
	uint64_t version;

	assert_int_equal(write_all(s, 3), 0);
	assert_int_equal(reader_open_dir(&r, *state), READER_E_BUSY);
	assert_null(r);
	store_free(s);
	assert_int_equal(reader_open_dir(&r, *state), 0);
	assert_int_equal(store_open(&other, *state, STORE_OVERLAY, &version), STORE_E_LOCKED);
	assert_int_equal(reader_begin(r), 0);
	assert_int_equal(snapshot_number(r), 3);
	reader_free(r);		/* within a snapshot */
	store_free(must_open(*state, STORE_OVERLAY));
}

static void put_file(const char *dir, const char *data, size_t len)
{
	char path[2 * DIR_MAX];
	FILE *f = fopen(dir_path(path, dir, "data.mdb"), "w");

	assert_non_null(f);
	assert_int_equal(fwrite(data, 1, len, f), len);
	fclose(f);
}

static void test_refused(void **state)
{
	char path[2 * DIR_MAX], junk[9000];
	uint64_t version = SCHEMA_VERSION + 1;
	struct reader *r = NULL;
	struct store *s;
	int fd;

	assert_int_equal(reader_open_dir(&r, *state), READER_E_ABSENT);
	assert_int_equal(reader_open_dir(&r, dir_path(path, *state, "nowhere")), READER_E_ABSENT);
	assert_int_equal(reader_open_dir(&r, "/dev/null"), READER_E_ABSENT);
	memset(junk, 0xa5, sizeof junk);
	for (size_t len = 0; len <= sizeof junk; len += 1500) {
		put_file(*state, junk, len);
		assert_int_equal(reader_open_dir(&r, *state), READER_E_CORRUPT);
		fd = open(dir_path(path, *state, "data.mdb"), O_RDONLY | O_CLOEXEC);
		assert_int_equal(reader_open_fd(&r, fd), READER_E_CORRUPT);
		close(fd);
	}
	unlink(dir_path(path, *state, "data.mdb"));
	s = must_open(*state, STORE_OVERLAY);
	must_put(s, T_META, META_SCHEMA, strlen(META_SCHEMA), &version, sizeof version);
	assert_int_equal(store_commit(s), 0);
	fd = store_data_fd(s);
	assert_int_equal(reader_open_fd(&r, fd), READER_E_SCHEMA);
	close(fd);
	store_free(s);
	assert_int_equal(reader_open_dir(&r, *state), READER_E_SCHEMA);
	assert_null(r);
}

/* Without a lease, against a writer: the worst is that the reading process ends; the writer never notices. */
static void test_without_lease(void **state)
{
	struct store *s = must_open(*state, STORE_OVERLAY);
	int fd, status, go[2];
	char byte;
	pid_t pid;

	assert_int_equal(write_all(s, 1), 0);
	fd = store_data_fd(s);
	assert_int_equal(pipe(go), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		struct reader *r = NULL;
		const void *k, *v;
		size_t k_len, v_len;
		uint8_t at[8] = { 0 };

		if (!freopen("/dev/null", "w", stderr) || reader_open_fd(&r, fd) || reader_begin(r))
			_exit(7);
		if (write(go[1], "", 1) != 1)
			_exit(7);
		for (int i = 0; i < 300000; i++)
			if (!reader_next(r, T_LOG, at, 8, false, &k, &k_len, &v, &v_len) && k_len == 8)
				memcpy(at, k, 8);
			else
				memset(at, 0, 8);
		_exit(0);
	}
	assert_int_equal(read(go[0], &byte, 1), 1);
	for (uint64_t i = 2; i < 200; i++)
		assert_int_equal(write_all(s, i), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true((WIFEXITED(status) && WEXITSTATUS(status) != 7) || WIFSIGNALED(status));
	close(fd);
	close(go[0]);
	close(go[1]);
	store_free(s);
	store_free(must_open(*state, STORE_OVERLAY));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		dir_test(test_under_lease),
		dir_test(test_other_process),
		dir_test(test_offline),
		dir_test(test_refused),
		dir_test(test_without_lease),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
