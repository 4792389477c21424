/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `capstan fsck`: what it says and returns for stores that are clean, damaged, in use, of another version, or
 * none.
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

#include "../../tools/output.h"
#include "store_dir.h"

int fsck_main(const char *state_dir, bool json);

static char output[65536];

/* Run it in a child with its output caught; returns the exit status. */
static int fsck(const char *state, bool json)
{
	size_t n = 0;
	ssize_t got;
	int fds[2], status;
	pid_t pid;

	assert_int_equal(pipe(fds), 0);
	fflush(NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		dup2(fds[1], 1);
		dup2(fds[1], 2);
		close(fds[0]);
		close(fds[1]);
		_exit(fsck_main(state, json));
	}
	close(fds[1]);
	while ((got = read(fds[0], output + n, sizeof output - 1 - n)) > 0)
		n += (size_t)got;
	output[n] = '\0';
	close(fds[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void expect(const char *state, int status, const char *text)
{
	int r = fsck(state, false);

	if (r != status || !strstr(output, text))
		print_message("wanted %d %s, got %d %s\n", status, text, r, output);
	assert_int_equal(r, status);
	assert_non_null(strstr(output, text));
}

static json_t *fsck_json(const char *state, int status)
{
	json_t *out;

	assert_int_equal(fsck(state, true), status);
	out = json_loads(output, 0, NULL);
	assert_non_null(out);
	return out;
}

static struct store *open_store(const char *state)
{
	char dir[2 * DIR_MAX];

	return must_open(dir_path(dir, state, "store"), STORE_OVERLAY);
}

static void test_outcomes(void **state)
{
	struct store *s;
	json_t *out;

	expect(*state, OUTPUT_REFUSED, "capstan: STORE_ABSENT: ");
	s = open_store(*state);
	expect(*state, OUTPUT_REFUSED, "capstan: STORE_BUSY: ");
	store_free(s);
	expect(*state, OUTPUT_OK, "clean: 0 objects, 0 promises, 0 queue items");
	out = fsck_json(*state, OUTPUT_OK);
	assert_true(json_is_true(json_object_get(out, "clean")));
	assert_int_equal(json_array_size(json_object_get(out, "problems")), 0);
	json_decref(out);
}

static void test_problems(void **state)
{
	struct store *s = open_store(*state);
	uint64_t version = 4;
	uint8_t key[8];
	json_t *out;

	must_put(s, T_OBJECT, key, key_u64(key, 7), &(struct row_object){ .n_recognizable = 3 },
		 sizeof(struct row_object));
	assert_int_equal(store_commit(s), 0);
	store_free(s);
	expect(*state, OUTPUT_REFUSED, "object ko7: n_recognizable is 3, counted 0\n");
	out = fsck_json(*state, OUTPUT_REFUSED);
	assert_true(json_is_false(json_object_get(out, "clean")));
	assert_true(json_array_size(json_object_get(out, "problems")) >= 1);
	assert_int_equal(json_integer_value(json_object_get(out, "objects")), 1);
	json_decref(out);

	s = open_store(*state);
	must_put(s, T_META, META_SCHEMA, strlen(META_SCHEMA), &version, sizeof version);
	assert_int_equal(store_commit(s), 0);
	store_free(s);
	expect(*state, OUTPUT_REFUSED, "capstan: STORE_SCHEMA: ");
}

static void put_program(const char *state, const char *hex, size_t size)
{
	char path[4 * DIR_MAX];
	FILE *f;

	snprintf(path, sizeof path, "%s/store/code", state);
	mkdir(path, 0700);
	snprintf(path, sizeof path, "%s/store/code/%s", state, hex);
	f = fopen(path, "w");
	assert_non_null(f);
	for (size_t i = 0; i < size; i++)
		putc('x', f);
	fclose(f);
}

/* Programs that CODE names are there, whole. */
static void test_code(void **state)
{
	const char *hex = "ab00000000000000000000000000000000000000000000000000000000000001";
	struct store *s = open_store(*state);
	uint8_t hash[32] = { 0xab };

	hash[31] = 1;
	must_put(s, T_CODE, hash, sizeof hash, &(struct row_code){ .size = 5, .number = 1 }, sizeof(struct row_code));
	assert_int_equal(store_commit(s), 0);
	store_free(s);
	expect(*state, OUTPUT_REFUSED,
	       "code ab00000000000000000000000000000000000000000000000000000000000001: there is no such file");
	put_program(*state, hex, 4);
	expect(*state, OUTPUT_REFUSED, "the file has 4 bytes, stored are 5");
	put_program(*state, hex, 5);
	expect(*state, OUTPUT_OK, "clean: ");
}

/* L1: whatever is left of data.mdb, fsck says so and returns. */
static void test_damaged_file(void **state)
{
	struct store *s = open_store(*state);
	char path[2 * DIR_MAX], page[4096];
	uint8_t key[8], val[200] = { 0 };
	struct stat st;
	int fd, status;

	for (uint64_t i = 1; i < 2000; i++)
		must_put(s, T_LOG, key, key_u64(key, i), val, sizeof val);
	assert_int_equal(store_commit(s), 0);
	store_free(s);
	fd = open(dir_path(path, *state, "store/data.mdb"), O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	memset(page, 0xa5, sizeof page);
	for (off_t at = st.st_size - 4096; at >= 0; at -= 4096) {
		if (at % (16 * 4096) == 0 || at < 16 * 4096)
			assert_int_equal(pwrite(fd, page, sizeof page, at), sizeof page);
		else
			continue;
		status = fsck(*state, false);
		assert_int_equal(status, OUTPUT_REFUSED);
	}
	for (off_t len = st.st_size; len >= 0; len -= 8 * 4096) {
		assert_int_equal(ftruncate(fd, len), 0);
		assert_int_equal(fsck(*state, false), OUTPUT_REFUSED);
	}
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		dir_test(test_outcomes),
		dir_test(test_problems),
		dir_test(test_code),
		dir_test(test_damaged_file),
	};

	log_init("capstan");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
