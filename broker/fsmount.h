/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mount of RUN/fs as the spawner sees it: make the FUSE connection, attach it, detach it. No function here looks
 * at anything inside the mount: the process that answers for it may hang.
 */
#ifndef CAPSTAN_FSMOUNT_H
#define CAPSTAN_FSMOUNT_H

#include <stdbool.h>
#include <stddef.h>

#define FSMOUNT_NAME "fs"	/* in the run folder */

struct fsmount {
	int run_fd;		/* RUN */
	const char *run;	/* its path: mount through fusermount3, as an ordinary user. NULL: we may mount ourselves */
	bool world;		/* others than that user may look */
};

enum { FSMOUNT_E_FAILED = 1 };	/* *errorp says why, in words */
/* Detach what a dead server left, then mount; *fdp is the connection for capstan-fs. */
int fsmount_attach(const struct fsmount *m, int *fdp, char *error, size_t error_size);
/* All mounts on RUN/fs go, their connections are aborted; fine when there is none. */
void fsmount_detach(const struct fsmount *m);

#endif
