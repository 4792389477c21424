/* SPDX-License-Identifier: Apache-2.0 */
/* The instance's folders, locks and socket: see instance.h. */
#include "instance.h"

#include <fcntl.h>
#include <grp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "../lib/util.h"

#define PID_NAME	"capstand.pid"
#define SOCKET_NAME	"control.sock"
#define FS_SOCKET_NAME	"fs.sock"
#define CAPSTAN_GROUP	"capstan"
#define BACKLOG		128

/*
 * Make (one level) and open a folder that must be ours: no link in its last place, nobody else may write in it. A
 * folder that others can change would let them swap what lies in it under us.
 */
static int open_folder(const char *path, mode_t mode, int *fdp)
{
	_cleanup_free_ char *plain = strdup(path);
	_cleanup_close_ int fd = -1;
	struct stat st;
	size_t n;

	if (!plain)
		return error_origin(ENOMEM);
	/* A slash at the end would follow a link. */
	for (n = strlen(plain); n > 1 && plain[n - 1] == '/'; n--)
		plain[n - 1] = '\0';
	if (mkdir(plain, mode) && errno != EEXIST) {
		log_err("cannot make %s: %s", plain, strerror(errno));
		return INSTANCE_E_REFUSED;
	}
	fd = open(plain, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st)) {
		log_err("cannot open %s: %s", plain,
			errno == ELOOP || errno == ENOTDIR ? "not a directory (links are not followed)" : strerror(errno));
		return INSTANCE_E_REFUSED;
	}
	if (st.st_uid != geteuid()) {
		log_err("%s belongs to uid %u, not to %u who runs capstand", plain, st.st_uid, geteuid());
		return INSTANCE_E_REFUSED;
	}
	if (st.st_mode & S_ISVTX) {	/* /tmp and its like: everybody's, and to stay so */
		log_err("%s is a folder shared by all; give a folder below it", plain);
		return INSTANCE_E_REFUSED;
	}
	if (fchmod(fd, mode)) {	/* against the umask, and what an older run left */
		log_err("cannot change the mode of %s: %s", plain, strerror(errno));
		return INSTANCE_E_REFUSED;
	}
	*fdp = TAKE_FD(fd);
	return 0;
}

static int lock_folder(int dir_fd, const char *path, int *fdp)
{
	pid_t holder = 0;
	int r = uidblock_lock_file(dir_fd, "lock", fdp, &holder);

	if (r < 0)
		return error_trace(r);
	if (r) {
		log_err("%s is in use by another capstand (pid %d)", path, holder);
		return INSTANCE_E_REFUSED;
	}
	return 0;
}

static int claim_uids(struct instance *i, uint32_t first)
{
	uint32_t recorded = 0;
	pid_t holder;
	int r;

	r = uidblock_read_record(i->state_fd, &recorded);
	if (r < 0)
		return error_trace(r);
	if (r == UIDBLOCK_E_BAD) {
		log_err("the file 'instance' in the state folder is damaged: it should read 'uid-block: N'");
		return INSTANCE_E_REFUSED;
	}
	r = uidblock_claim(&i->uids, UIDBLOCK_LOCK_DIR, first, recorded, &holder);
	if (r < 0)
		return error_trace(r);
	if (r == UIDBLOCK_E_HELD)
		log_err("this instance's uid block 0x%x is in use by another capstand (pid %d)", recorded, holder);
	else if (r == UIDBLOCK_E_NONE)
		log_err("no uid block is free from 0x%x on", first);
	else if (r == UIDBLOCK_E_DIR)
		log_err("cannot use %s: %s", UIDBLOCK_LOCK_DIR, strerror(errno));
	if (r)
		return INSTANCE_E_REFUSED;
	return recorded ? 0 : error_trace(uidblock_write_record(i->state_fd, i->uids.base));
}

static int open_store(struct instance *i)
{
	struct stat st;

	if (mkdirat(i->state_fd, "store", 0700) && errno != EEXIST)
		return error_origin(errno);
	i->store_fd = openat(i->state_fd, "store", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (i->store_fd < 0 || fstat(i->store_fd, &st))
		return error_origin(errno);
	if (!i->privileged)
		return 0;
	if (fchown(i->store_fd, uidblock_broker_uid(i->uids.base), uidblock_fs_uid(i->uids.base)) ||
	    fchmod(i->store_fd, 02710))
		return error_origin(errno);
	return 0;
}

/* A socket of the run folder that listens; for its owner alone, so far. */
static int listen_at(int run_fd, const char *name, int *fdp)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	_cleanup_close_ int fd = -1;
	mode_t mask;
	int r;

	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return error_origin(errno);
	/* We hold the run folder's lock: a socket found here is a dead instance's. */
	if (unlinkat(run_fd, name, 0) && errno != ENOENT)
		return error_origin(errno);
	snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/%s", run_fd, name);
	mask = umask(0177);
	r = bind(fd, (struct sockaddr *)&address, sizeof(address)) ? errno : 0;
	umask(mask);
	if (r || listen(fd, BACKLOG))
		return error_origin(r ? r : errno);
	*fdp = TAKE_FD(fd);
	return 0;
}

/* The group that may use a socket beside its owner, where the administrator made one. */
static void share_with_group(int run_fd, const char *name)
{
	struct group *group = getgrnam(CAPSTAN_GROUP);

	if (group && !fchownat(run_fd, name, -1, group->gr_gid, AT_SYMLINK_NOFOLLOW) && !fchmodat(run_fd, name, 0660, 0))
		return;
	if (group)
		log_warn("cannot give %s to the group %s: %s", name, CAPSTAN_GROUP, strerror(errno));
}

static int write_pid_file(struct instance *i)
{
	_cleanup_close_ int fd = -1;

	fd = openat(i->run_fd, PID_NAME ".new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (fd < 0 || dprintf(fd, "%d\n", getpid()) < 0)
		return error_origin(errno);
	if (renameat(i->run_fd, PID_NAME ".new", i->run_fd, PID_NAME))
		return error_origin(errno);
	return 0;
}

int instance_open_run(struct instance *i, const char *run)
{
	int r;

	i->privileged = geteuid() == 0;
	r = open_folder(run, 0755, &i->run_fd);
	if (!r)
		r = lock_folder(i->run_fd, run, &i->run_lock_fd);
	return r;
}

int instance_open(struct instance *i, const char *state, uint32_t uid_base)
{
	int r;

	assert(i->run_lock_fd >= 0);
	r = open_folder(state, i->privileged ? 0711 : 0700, &i->state_fd);
	if (!r)
		r = lock_folder(i->state_fd, state, &i->state_lock_fd);
	if (!r && i->privileged)
		r = claim_uids(i, uid_base);
	if (!r)
		r = open_store(i);
	if (!r)
		r = listen_at(i->run_fd, SOCKET_NAME, &i->control_fd);
	if (!r && i->privileged)
		share_with_group(i->run_fd, SOCKET_NAME);
	if (!r)
		r = write_pid_file(i);
	return r;
}

int instance_listen_fs(struct instance *i, bool world)
{
	int r = listen_at(i->run_fd, FS_SOCKET_NAME, &i->fs_listen_fd);

	if (r)
		return r;
	if (world)
		return fchmodat(i->run_fd, FS_SOCKET_NAME, 0666, 0) ? error_origin(errno) : 0;
	if (i->privileged && fchmodat(i->run_fd, FS_SOCKET_NAME, 0660, 0))	/* of group 0, where there is no other */
		return error_origin(errno);
	if (i->privileged)
		share_with_group(i->run_fd, FS_SOCKET_NAME);
	return 0;
}

void instance_deinit(struct instance *i)
{
	if (i->control_fd >= 0) {
		unlinkat(i->run_fd, SOCKET_NAME, 0);
		unlinkat(i->run_fd, PID_NAME, 0);
	}
	if (i->fs_listen_fd >= 0)
		unlinkat(i->run_fd, FS_SOCKET_NAME, 0);
	closep(&i->control_fd);
	closep(&i->fs_listen_fd);
	closep(&i->store_fd);
	uidblock_deinit(&i->uids);
	closep(&i->state_fd);
	closep(&i->state_lock_fd);
	closep(&i->run_fd);
	closep(&i->run_lock_fd);
	*i = (struct instance)INSTANCE_INIT;
}
