/* SPDX-License-Identifier: Apache-2.0 */
/* Frozen trees: exact, bounded, and nobody's burden; with the real tools. */
#include "fs_mount.h"

static int open_error_in(struct fixture *f, uid_t uid, const char *name)
{
	return open_error_as(f, uid, READER_GID, name);
}

/* While commits go on all the time, everything read from one tree is of one moment, and all of it agrees. */
static void test_exact(void **state)
{
	struct fixture *f = *state;

	need_mount();
	command(f, FAST);
	shell_says(f, "ls snapshot; ls snapshot/a snapshot/a/vats/v1 > /dev/null; ls snapshot", "a\n");
	shell_says(f, "tar cf ../1.tar --exclude 'ko??*' -C snapshot a && tar cf ../2.tar --exclude 'ko??*' -C snapshot a && cmp ../1.tar ../2.tar && rm ../[12].tar", "");
	shell_says(f, "cp -r snapshot/a/vats ../copy && diff -r --no-dereference snapshot/a/vats ../copy && rm -r ../copy", "");
	/* Sizes are true; no link dangles; what is of the live tree only is not there. */
	shell_says(f, "find snapshot/a/vats snapshot/a/subclusters -type f -exec stat -c '%s %n' {} + | "
		      "while read -r size name; do [ $(wc -c < $name) = $size ] || echo $name; done; find snapshot/a -name 'ko??*' -prune -o -xtype l -print", "");
	shell_says(f, "ls snapshot/a | grep -E '^(events|recent|snapshot)'; true", "");
	shell_says(f, "cat snapshot/a/vats/v1/clist/o+3/status | head -n1; ls snapshot/a/objects | wc -l", "owner: v1 o+3 reachable\n1000\n");
	shell_says(f, "cd snapshot/a/vats; ls ../..", "a\n");
	shell_says(f, "test $(stat -c %Y snapshot/a/status) -ge $(stat -c %Y status)", "");
	shell_says(f, "grep -rh 'ko1 ' snapshot/a/vats/v1/clist.txt", "o+0    ko1     reachable\n");
	command(f, NORMAL);
}

/* Two moments differ in what has changed, and one moment under two names in nothing. */
static void test_diff(void **state)
{
	struct fixture *f = *state;

	need_mount();
	shell_says(f, "diff -rq --no-dereference -x 'ko*' -x '*.values' snapshot/a snapshot/b | cut -d' ' -f2",
		   "snapshot/a/runqueue\nsnapshot/a/status\nsnapshot/a/vats/v1/queue\n");
	shell_says(f, "wc -l < snapshot.txt; awk 'NR > 1 { print $1, $2 }' snapshot.txt", "3\na 0\nb 0\n");
}

/* Two of one user, four of all; a name that none can have makes none. */
static void test_limits(void **state)
{
	struct fixture *f = *state;
	char path[64], name[40];

	need_mount();
	assert_int_equal(open_error(f, "snapshot/c"), EMFILE);
	assert_int_equal(open_error(f, "snapshot/a"), 0);	/* which is there */
	assert_int_equal(open_error_in(f, READER_UID, "snapshot/c/status"), 0);
	assert_int_equal(open_error_in(f, READER_UID, "snapshot/d"), 0);
	assert_int_equal(open_error_in(f, READER_UID, "snapshot/e"), EMFILE);
	assert_int_equal(open_error_in(f, OTHER_UID, "snapshot/e"), ENFILE);
	shell_says(f, "ls snapshot | tr '\\n' ' '", "a b c d ");
	/* They are everybody's who may read the mount, whoever made them. */
	shell_says(f, "cat snapshot/c/version snapshot/d/version | sort -u | wc -l", "1\n");
	assert_int_equal(open_error_as(f, OTHER_UID, OTHER_UID, "snapshot/a"), EACCES);
	command(f, THAW);
	memset(name, 'x', sizeof(name));
	name[33] = '\0';
	snprintf(path, sizeof(path), "snapshot/%s", name);
	assert_int_equal(open_error(f, path), ENOENT);
	for (const char *const *bad = (const char *const[]){ ".x", "-x", "a b", "x\n", "\xc3\xa4", "a%", NULL }; *bad; bad++) {
		snprintf(path, sizeof(path), "snapshot/%s", *bad);
		assert_int_equal(open_error(f, path), ENOENT);
	}
	shell_says(f, "ls snapshot", "");
}

/* The broker may end one at any time: then everything below it is gone, but what was read stays. */
static void test_thawed(void **state)
{
	struct fixture *f = *state;
	char *before, *after;
	int fd, dir, at;

	need_mount();
	fd = open_in(f, "snapshot/a/runqueue", O_RDONLY);
	dir = open_in(f, "snapshot/a/objects", O_RDONLY | O_DIRECTORY);
	at = open_in(f, "snapshot/a", O_PATH | O_DIRECTORY);
	assert_true(fd >= 0 && dir >= 0 && at >= 0);
	before = slurp(fd);
	command(f, THAW);
	assert_int_equal(openat(at, "runqueue", O_RDONLY), -1);
	assert_int_equal(errno, ENOENT);
	assert_int_equal(openat(at, "objects", O_RDONLY), -1);
	assert_int_equal(errno, ENOENT);
	assert_int_equal(syscall(SYS_getdents64, dir, (char[1024]){ 0 }, 1024), -1);
	assert_int_equal(errno, ENOENT);
	lseek(fd, 0, SEEK_SET);
	after = slurp(fd);
	assert_string_equal(before, after);
	free(before);
	free(after);
	close(fd);
	close(dir);
	close(at);
	/* Its name is free, for another state. */
	shell_says(f, "ls snapshot; cat snapshot/a/vats/v1/name; ls snapshot", "alice\na\n");
	command(f, THAW);
}

/* At its deadline a tree ends by itself, and gives back what it held. */
static void test_deadline(void **state)
{
	struct fixture *f = *state;
	uint64_t end;
	int error;

	need_mount();
	command(f, SHORT);
	for (int round = 0; round < 3; round++) {
		end = now_monotonic_ns() + FREEZE_SHORT_MS * UINT64_C(1000000);
		shell_says(f, "cat snapshot/x/vats/v1/name snapshot/y/vats/v1/name", "alice\nalice\n");
		assert_int_equal(open_error_in(f, READER_UID, "snapshot/x"), 0);
		assert_int_equal(open_error(f, "snapshot/z"), EMFILE);
		while ((error = open_error(f, "snapshot/z"))) {
			assert_int_equal(error, EMFILE);
			assert_true(now_monotonic_ns() < end + UINT64_C(2000000000));
		}
		command(f, THAW);
	}
	shell_says(f, "cat vats/v1/name", "alice\n");
}

/* No lease to be had: an error, and the live tree is as it was. */
static void test_no_lease(void **state)
{
	struct fixture *f = *state;

	need_mount();
	command(f, BUSY);
	assert_int_equal(open_error(f, "snapshot/q"), EIO);
	command(f, EXPIRE);	/* granted, and ended at once */
	assert_int_equal(open_error(f, "snapshot/q/status"), ENOENT);
	command(f, NORMAL);
	assert_int_equal(open_error(f, "snapshot/q/status"), 0);
	assert_int_equal(open_error(f, "status"), 0);
	command(f, THAW);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_exact), cmocka_unit_test(test_diff), cmocka_unit_test(test_limits), cmocka_unit_test(test_thawed),
		cmocka_unit_test(test_deadline), cmocka_unit_test(test_no_lease),
	};

	mount_tests_begin();
	return cmocka_run_group_tests(tests, start, stop);
}
