/* SPDX-License-Identifier: Apache-2.0 */
/* Attaching and detaching RUN/fs: see fsmount.h. */
#include "fsmount.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "../lib/util.h"
#include "fusermount.h"

#define MAX_STACKED 16	/* mounts on top of each other that a detach takes away; one is what we ever make */

/* --- as root ----------------------------------------------------------------------------------------------------- */

/* The name goes through the folder's fd: a renamed or replaced run folder cannot lead the mount elsewhere. */
static void mount_point(char *path, size_t size, int run_fd)
{
	snprintf(path, size, "/proc/self/fd/%d/" FSMOUNT_NAME, run_fd);
}

static void detach_as_root(int run_fd)
{
	char path[64];

	mount_point(path, sizeof(path), run_fd);
	/*
	 * EINVAL: not a mount point (any more). umount2 resolves the name without asking the server. MNT_FORCE aborts the
	 * connection, which wakes its readers and a server that hangs in the kernel: without it that one could not be
	 * reaped, not even after SIGKILL.
	 */
	for (int i = 0; i < MAX_STACKED && umount2(path, MNT_FORCE | MNT_DETACH | UMOUNT_NOFOLLOW) == 0; i++)
		;
}

static int attach_as_root(int run_fd, int *fdp, char *error, size_t error_size)
{
	const unsigned long flags = MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC;
	_cleanup_close_ int fd = -1;
	char path[64], options[128];

	fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	if (fd < 0) {
		snprintf(error, error_size, "cannot open /dev/fuse: %s", strerror(errno));
		return FSMOUNT_E_FAILED;
	}
	mount_point(path, sizeof(path), run_fd);
	snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions", fd);
	if (mount("capstan", path, "fuse.capstan", flags, options)) {
		snprintf(error, error_size, "cannot mount: %s", strerror(errno));
		return FSMOUNT_E_FAILED;
	}
	*fdp = TAKE_FD(fd);
	return 0;
}

/* --- as an ordinary user ----------------------------------------------------------------------------------------- */

/* The number of the mount that `name` in the folder lies in. -1: there is no such name, or it cannot be known. */
static int mount_number(int dir_fd, const char *name)
{
	_cleanup_close_ int fd = openat(dir_fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	_cleanup_(fclosep) FILE *f = NULL;
	char path[64], line[64];
	int n = -1;

	/* O_PATH does not ask the server of a mount, nor does this: with a stat a stopped one would hold us. */
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	f = fd < 0 ? NULL : fopen(path, "re");
	while (f && n < 0 && fgets(line, sizeof(line), f))
		if (sscanf(line, "mnt_id: %d", &n) != 1)
			n = -1;
	return n;
}

static bool is_mounted(int run_fd)
{
	int n = mount_number(run_fd, FSMOUNT_NAME);

	return n >= 0 && n != mount_number(run_fd, ".");
}

static void detach_as_user(const struct fsmount *m)
{
	_cleanup_free_ char *path = NULL;

	for (int i = 0; i < MAX_STACKED && is_mounted(m->run_fd); i++)
		if ((!path && asprintf(&path, "%s/" FSMOUNT_NAME, m->run) < 0) || fusermount_detach(path))
			return;
}

static int attach_as_user(const struct fsmount *m, int *fdp, char *error, size_t error_size)
{
	_cleanup_free_ char *path = NULL;

	if (asprintf(&path, "%s/" FSMOUNT_NAME, m->run) < 0) {
		path = NULL;
		snprintf(error, error_size, "no memory");
		return FSMOUNT_E_FAILED;
	}
	/* Only root may let users do this (user_allow_other in /etc/fuse.conf). */
	if (m->world && !fusermount_attach(path, true, fdp, error, error_size))
		return 0;
	if (fusermount_attach(path, false, fdp, error, error_size))
		return FSMOUNT_E_FAILED;
	if (m->world)
		log_warn("RUN/fs is for uid %u alone, without \"user_allow_other\" in /etc/fuse.conf; fs.sock is for all", geteuid());
	return 0;
}

/* --- either ------------------------------------------------------------------------------------------------------ */

void fsmount_detach(const struct fsmount *m)
{
	if (m->run)
		detach_as_user(m);
	else
		detach_as_root(m->run_fd);
}

int fsmount_attach(const struct fsmount *m, int *fdp, char *error, size_t error_size)
{
	fsmount_detach(m);
	if (mkdirat(m->run_fd, FSMOUNT_NAME, 0755) && errno != EEXIST) {
		snprintf(error, error_size, "cannot make the mount point: %s", strerror(errno));
		return FSMOUNT_E_FAILED;
	}
	return m->run ? attach_as_user(m, fdp, error, error_size) : attach_as_root(m->run_fd, fdp, error, error_size);
}
