/* SPDX-License-Identifier: Apache-2.0 */
/* Attaching and detaching RUN/fs: see fsmount.h. */
#include "fsmount.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "../lib/util.h"

#define MAX_STACKED 16	/* mounts on top of each other that a detach takes away; one is what we ever make */

/* The name goes through the folder's fd: a renamed or replaced run folder cannot lead the mount elsewhere. */
static void mount_point(char *path, size_t size, int run_fd)
{
	snprintf(path, size, "/proc/self/fd/%d/" FSMOUNT_NAME, run_fd);
}

void fsmount_detach(int run_fd)
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

int fsmount_attach(int run_fd, int *fdp, char *error, size_t error_size)
{
	const unsigned long flags = MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC;
	_cleanup_close_ int fd = -1;
	char path[64], options[128];

	fsmount_detach(run_fd);
	if (mkdirat(run_fd, FSMOUNT_NAME, 0755) && errno != EEXIST) {
		snprintf(error, error_size, "cannot make the mount point: %s", strerror(errno));
		return FSMOUNT_E_FAILED;
	}
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
