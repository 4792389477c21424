/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mounting without privileges, through fusermount3: the helper of the fuse project that is installed setuid root. It
 * mounts on folders of the user who calls it and sends the FUSE connection back over the socket whose number is in
 * _FUSE_COMMFD. It is of no use to a process with no_new_privs, nor to a user without an entry in the passwd file.
 *
 * Both functions wait for the helper, FUSERMOUNT_MS at most; then it is killed and its end left to whoever reaps.
 */
#ifndef CAPSTAN_FUSERMOUNT_H
#define CAPSTAN_FUSERMOUNT_H

#include <stdbool.h>
#include <stddef.h>

#define FUSERMOUNT_MS	10000u

enum { FUSERMOUNT_E_FAILED = 1 };
/* Mount on `path`, read-only; `others`: also for other users. On failure `error` is a line: the helper's own first words. */
int fusermount_attach(const char *path, bool others, int *fdp, char *error, size_t error_size);
/* Detach what this user mounted on `path`, lazily. */
int fusermount_detach(const char *path);

#endif
