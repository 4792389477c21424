/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mount of RUN/fs as the spawner sees it: make the FUSE connection, attach it, detach it. No function here looks
 * at anything inside the mount: the process that answers for it may hang.
 */
#ifndef CAPSTAN_FSMOUNT_H
#define CAPSTAN_FSMOUNT_H

#include <stddef.h>

#define FSMOUNT_NAME "fs"	/* in the run folder */

enum { FSMOUNT_E_FAILED = 1 };	/* *errorp says why, in words */
/* Detach what a dead server left, then mount; *fdp is the connection for capstan-fs. */
int fsmount_attach(int run_fd, int *fdp, char *error, size_t error_size);
/* All mounts on RUN/fs go, their connections are aborted; fine when there is none. */
void fsmount_detach(int run_fd);

#endif
