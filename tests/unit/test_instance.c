/* SPDX-License-Identifier: Apache-2.0 */
/* The instance's folders: what is made, with which owner and mode; who is refused; what a stop leaves behind. */
#include <fcntl.h>
#include <ftw.h>
#include <grp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <cmocka.h>

#include "../../broker/instance.h"
#include "../../lib/util.h"

struct fixture { char dir[64], state[96], run[96]; struct instance i; };

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	snprintf(f->dir, sizeof(f->dir), "/tmp/test-instance-XXXXXX");
	if (!mkdtemp(f->dir))
		return -1;
	snprintf(f->state, sizeof(f->state), "%s/state", f->dir);
	snprintf(f->run, sizeof(f->run), "%s/run", f->dir);
	f->i = (struct instance)INSTANCE_INIT;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	instance_deinit(&f->i);
	instance_deinit(&f->i);
	nftw(f->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	free(f);
	return 0;
}

static int open_all(struct instance *i, const char *state, const char *run)
{
	int r = instance_open_run(i, run);

	return r ? r : instance_open(i, state, UIDBLOCK_FIRST);
}

static struct stat look(struct fixture *f, const char *name)
{
	char path[200];
	struct stat st;

	snprintf(path, sizeof(path), "%s/%s", f->dir, name);
	if (lstat(path, &st))
		fail_msg("%s: %s", path, strerror(errno));
	return st;
}

static bool is_missing(struct fixture *f, const char *name)
{
	char path[200];

	snprintf(path, sizeof(path), "%s/%s", f->dir, name);
	return access(path, F_OK) < 0;
}

static void what_is_made(void **state)
{
	struct fixture *f = *state;
	const bool root = geteuid() == 0;
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct stat st;
	int fd;

	assert_int_equal(open_all(&f->i, f->state, f->run), 0);
	assert_int_equal(look(f, "state").st_mode, S_IFDIR | (root ? 0711 : 0700));
	assert_int_equal(look(f, "run").st_mode, S_IFDIR | 0755);
	st = look(f, "state/store");
	assert_int_equal(st.st_mode, S_IFDIR | (root ? 02710 : 0700));
	if (root) {
		assert_int_equal(st.st_uid, uidblock_broker_uid(f->i.uids.base));
		assert_int_equal(st.st_gid, uidblock_fs_uid(f->i.uids.base));
	}
	st = look(f, "run/control.sock");
	assert_int_equal(st.st_mode, S_IFSOCK | (root && getgrnam("capstan") ? 0660 : 0600));
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/control.sock", f->run);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	close(fd);
	assert_int_equal(look(f, "run/capstand.pid").st_mode, S_IFREG | 0644);
}

/* The socket of capstan-fs: for whom the files are, too. */
static void the_socket_of_the_mount(void **state)
{
	struct fixture *f = *state;
	const bool root = geteuid() == 0;
	struct group *group = getgrnam("capstan");
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char path[128];

	assert_int_equal(open_all(&f->i, f->state, f->run), 0);
	assert_true(is_missing(f, "run/fs.sock"));
	snprintf(path, sizeof(path), "%s/fs.sock", f->run);
	assert_int_equal(mknod(path, S_IFSOCK | 0666, 0), 0);	/* a dead one's */
	assert_int_equal(instance_listen_fs(&f->i, false), 0);
	assert_int_equal(look(f, "run/fs.sock").st_mode, S_IFSOCK | (root ? 0660 : 0600));
	if (root)
		assert_int_equal(look(f, "run/fs.sock").st_gid, group ? group->gr_gid : 0);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	close(fd);
	instance_deinit(&f->i);
	assert_true(is_missing(f, "run/fs.sock"));
	assert_int_equal(open_all(&f->i, f->state, f->run), 0);
	assert_int_equal(instance_listen_fs(&f->i, true), 0);
	assert_int_equal(look(f, "run/fs.sock").st_mode, S_IFSOCK | 0666);
}

/* A second one is refused on either folder, and disturbs nothing. */
static void one_at_a_time(void **state)
{
	struct fixture *f = *state;
	struct instance second = INSTANCE_INIT;
	char other[96];

	assert_int_equal(open_all(&f->i, f->state, f->run), 0);
	assert_int_equal(open_all(&second, f->state, f->run), INSTANCE_E_REFUSED);
	instance_deinit(&second);
	snprintf(other, sizeof(other), "%s/other", f->dir);
	assert_int_equal(open_all(&second, f->state, other), INSTANCE_E_REFUSED);
	instance_deinit(&second);
	assert_int_equal(open_all(&second, other, f->run), INSTANCE_E_REFUSED);
	instance_deinit(&second);
	look(f, "run/control.sock");
	look(f, "run/capstand.pid");
}

/* The same uids after a restart, though another instance came in between. */
static void the_uid_block_stays(void **state)
{
	struct fixture *f = *state;
	struct instance second = INSTANCE_INIT;
	char state2[96], run2[96];
	uint32_t base;

	if (geteuid() != 0)
		skip();
	snprintf(state2, sizeof(state2), "%s/state2", f->dir);
	snprintf(run2, sizeof(run2), "%s/run2", f->dir);
	assert_int_equal(open_all(&f->i, f->state, f->run), 0);
	base = f->i.uids.base;
	assert_int_equal(open_all(&second, state2, run2), 0);
	assert_int_not_equal(second.uids.base, base);
	instance_deinit(&f->i);
	assert_int_equal(open_all(&f->i, f->state, f->run), 0);
	assert_int_equal(f->i.uids.base, base);
	/* The second's record now names a block that the first holds: it must not start. */
	instance_deinit(&second);
	{
		int fd = open(state2, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		assert_int_equal(uidblock_write_record(fd, base), 0);
		close(fd);
	}
	assert_int_equal(open_all(&second, state2, run2), INSTANCE_E_REFUSED);
	instance_deinit(&second);
}

static void a_stop_cleans_up(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(open_all(&f->i, f->state, f->run), 0);
	instance_deinit(&f->i);
	assert_true(is_missing(f, "run/control.sock"));
	assert_true(is_missing(f, "run/capstand.pid"));
	look(f, "state/store");
	assert_int_equal(open_all(&f->i, f->state, f->run), 0);
}

/* A socket that a killed instance left is no hindrance. */
static void a_dead_socket_is_replaced(void **state)
{
	struct fixture *f = *state;
	char path[128];

	assert_int_equal(mkdir(f->run, 0755), 0);
	snprintf(path, sizeof(path), "%s/control.sock", f->run);
	assert_int_equal(mknod(path, S_IFSOCK | 0666, 0), 0);
	assert_int_equal(open_all(&f->i, f->state, f->run), 0);
	assert_int_equal(look(f, "run/control.sock").st_mode & 0006, 0);
}

static void odd_folders_are_refused(void **state)
{
	struct fixture *f = *state;
	char path[128];
	int fd;

	assert_int_equal(open_all(&f->i, f->state, "/nonexistent/folder/run"), INSTANCE_E_REFUSED);
	snprintf(path, sizeof(path), "%s/link", f->dir);
	assert_int_equal(symlink(f->dir, path), 0);
	assert_int_equal(open_all(&f->i, f->state, path), INSTANCE_E_REFUSED);
	strcat(path, "///");
	assert_int_equal(open_all(&f->i, f->state, path), INSTANCE_E_REFUSED);
	snprintf(path, sizeof(path), "%s/file", f->dir);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	close(fd);
	assert_int_equal(open_all(&f->i, f->state, path), INSTANCE_E_REFUSED);
	instance_deinit(&f->i);
	assert_int_equal(open_all(&f->i, path, f->run), INSTANCE_E_REFUSED);
	instance_deinit(&f->i);
	if (geteuid() == 0) {
		assert_int_equal(mkdir(f->state, 0755) | chown(f->state, 1500, 1500), 0);
		assert_int_equal(open_all(&f->i, f->state, f->run), INSTANCE_E_REFUSED);
	}
}

static void a_damaged_record_is_refused(void **state)
{
	struct fixture *f = *state;
	char path[128];
	int fd;

	if (geteuid() != 0)
		skip();
	assert_int_equal(mkdir(f->state, 0711), 0);
	snprintf(path, sizeof(path), "%s/instance", f->state);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	assert_int_equal(write(fd, "uid-block: 0\n", 13), 13);
	close(fd);
	assert_int_equal(open_all(&f->i, f->state, f->run), INSTANCE_E_REFUSED);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(what_is_made), T(the_socket_of_the_mount), T(one_at_a_time), T(the_uid_block_stays), T(a_stop_cleans_up),
		T(a_dead_socket_is_replaced), T(odd_folders_are_refused), T(a_damaged_record_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
