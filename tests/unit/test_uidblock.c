/* SPDX-License-Identifier: Apache-2.0 */
/* Uid blocks: claims exclude each other across processes, the record survives, nothing odd is taken for a record. */
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <cmocka.h>

#include "../../broker/uidblock.h"
#include "../../lib/util.h"

#define SECOND (UIDBLOCK_FIRST + UIDBLOCK_SIZE)

struct fixture { char dir[64], locks[96]; int dir_fd; };

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	snprintf(f->dir, sizeof(f->dir), "/tmp/test-uidblock-XXXXXX");
	if (!mkdtemp(f->dir))
		return -1;
	snprintf(f->locks, sizeof(f->locks), "%s/locks", f->dir);
	f->dir_fd = open(f->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	*state = f;
	return f->dir_fd < 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	close(f->dir_fd);
	nftw(f->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	free(f);
	return 0;
}

static void claims_exclude_each_other(void **state)
{
	struct fixture *f = *state;
	struct uidblock a = UIDBLOCK_INIT, b = UIDBLOCK_INIT, c = UIDBLOCK_INIT;
	pid_t holder;

	assert_int_equal(uidblock_claim(&a, f->locks, UIDBLOCK_FIRST, 0, &holder), 0);
	assert_int_equal(a.base, UIDBLOCK_FIRST);
	assert_int_equal(uidblock_claim(&b, f->locks, UIDBLOCK_FIRST, 0, &holder), 0);
	assert_int_equal(b.base, SECOND);
	/* A recorded block is that one or none. */
	assert_int_equal(uidblock_claim(&c, f->locks, UIDBLOCK_FIRST, UIDBLOCK_FIRST, &holder), UIDBLOCK_E_HELD);
	assert_int_equal(holder, getpid());
	assert_int_equal(c.lock_fd, -1);
	uidblock_deinit(&a);
	assert_int_equal(uidblock_claim(&c, f->locks, SECOND, UIDBLOCK_FIRST, &holder), 0);
	assert_int_equal(c.base, UIDBLOCK_FIRST);
	uidblock_deinit(&b);
	uidblock_deinit(&c);
	uidblock_deinit(&c);
}

/* The lock dies with its process, however that dies. */
static void a_dead_holder_holds_nothing(void **state)
{
	struct fixture *f = *state;
	struct uidblock b = UIDBLOCK_INIT;
	int up[2], status;
	pid_t holder, pid;
	char byte;

	assert_int_equal(pipe2(up, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		if (uidblock_claim(&b, f->locks, UIDBLOCK_FIRST, 0, &holder) || write(up[1], "x", 1) != 1)
			_exit(1);
		pause();
	}
	close(up[1]);
	assert_int_equal(read(up[0], &byte, 1), 1);
	close(up[0]);
	assert_int_equal(uidblock_claim(&b, f->locks, UIDBLOCK_FIRST, UIDBLOCK_FIRST, &holder), UIDBLOCK_E_HELD);
	assert_int_equal(holder, pid);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	assert_int_equal(uidblock_claim(&b, f->locks, UIDBLOCK_FIRST, UIDBLOCK_FIRST, &holder), 0);
	uidblock_deinit(&b);
}

static void the_last_block_is_the_last(void **state)
{
	struct fixture *f = *state;
	struct uidblock a = UIDBLOCK_INIT, b = UIDBLOCK_INIT;
	const uint32_t last = UIDBLOCK_END - UIDBLOCK_SIZE;
	pid_t holder;

	assert_int_equal(uidblock_claim(&a, f->locks, last, 0, &holder), 0);
	assert_int_equal(a.base, last);
	assert_int_equal(uidblock_claim(&b, f->locks, last, 0, &holder), UIDBLOCK_E_NONE);
	uidblock_deinit(&a);
}

/* Others who may write in the lock folder could release our locks by replacing the files. */
static void a_folder_of_others_is_refused(void **state)
{
	struct fixture *f = *state;
	struct uidblock b = UIDBLOCK_INIT;
	char link[160];
	pid_t holder;

	assert_int_equal(mkdir(f->locks, 0700), 0);
	assert_int_equal(chmod(f->locks, 0777), 0);
	assert_int_equal(uidblock_claim(&b, f->locks, UIDBLOCK_FIRST, 0, &holder), UIDBLOCK_E_DIR);
	assert_int_equal(chmod(f->locks, 0755), 0);
	snprintf(link, sizeof(link), "%s/link", f->dir);
	assert_int_equal(symlink(f->locks, link), 0);
	assert_int_equal(uidblock_claim(&b, link, UIDBLOCK_FIRST, 0, &holder), UIDBLOCK_E_DIR);
	assert_int_equal(uidblock_claim(&b, "/nonexistent/folder/locks", UIDBLOCK_FIRST, 0, &holder), UIDBLOCK_E_DIR);
	assert_int_equal(uidblock_claim(&b, f->locks, UIDBLOCK_FIRST, 0, &holder), 0);
	uidblock_deinit(&b);
}

static void put(struct fixture *f, const char *text)
{
	int fd = openat(f->dir_fd, "instance", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

static void the_record(void **state)
{
	static const char *const bad[] = {
		"", "\n", "uid-block: 1879048192", "uid-block: 1879048193\n", "uid-block: 1879048192\n\n", "uid-block: \n",
		"uid-block: 0\n", "uid-block: -1\n", "uid-block: 2147352576\n", "uid-block: 18446744075588599808\n",
		"uid-block: 1879048192\nuid-block: 1879113728\n", "uid-block: 1879048192 \n", "x uid-block: 1879048192\n",
		"uid-block: 00000000000000000000000000000000000000000000000000000000000000000000000000000001879048192\n",
	};
	struct fixture *f = *state;
	uint32_t base = 5;

	assert_int_equal(uidblock_read_record(f->dir_fd, &base), UIDBLOCK_E_ABSENT);
	assert_int_equal(uidblock_write_record(f->dir_fd, SECOND), 0);
	assert_int_equal(uidblock_read_record(f->dir_fd, &base), 0);
	assert_int_equal(base, SECOND);
	base = 5;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		put(f, bad[i]);
		if (uidblock_read_record(f->dir_fd, &base) != UIDBLOCK_E_BAD)
			fail_msg("taken for a record: '%s'", bad[i]);
	}
	put(f, "uid-block: 1879048192\n");
	assert_int_equal(fchmodat(f->dir_fd, "instance", 0666, 0), 0);
	assert_int_equal(uidblock_read_record(f->dir_fd, &base), UIDBLOCK_E_BAD);
	assert_int_equal(unlinkat(f->dir_fd, "instance", 0), 0);
	assert_int_equal(symlinkat("/etc/passwd", f->dir_fd, "instance"), 0);
	assert_int_equal(uidblock_read_record(f->dir_fd, &base), UIDBLOCK_E_BAD);
	assert_int_equal(unlinkat(f->dir_fd, "instance", 0), 0);
	assert_int_equal(mkdirat(f->dir_fd, "instance", 0755), 0);
	assert_int_equal(uidblock_read_record(f->dir_fd, &base), UIDBLOCK_E_BAD);
	assert_int_equal(base, 5);
}

/* No service's uid lies in any block, no two are equal. */
static void service_uids(void **state)
{
	uint32_t last = UIDBLOCK_FIRST - UIDBLOCK_SERVICES - 1;

	(void)state;
	for (uint32_t base = UIDBLOCK_FIRST; base < UIDBLOCK_END; base += UIDBLOCK_SIZE) {
		assert_int_equal(uidblock_broker_uid(base), last + 1);
		assert_int_equal(uidblock_fs_uid(base), last + 2);
		last += 2;
	}
	assert_true(last < UIDBLOCK_FIRST);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(claims_exclude_each_other, setup, teardown),
		cmocka_unit_test_setup_teardown(a_dead_holder_holds_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(the_last_block_is_the_last, setup, teardown),
		cmocka_unit_test_setup_teardown(a_folder_of_others_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(the_record, setup, teardown),
		cmocka_unit_test(service_uids),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
