/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where io channels lead: paths below the folders that the operator allows, and nowhere else. Each is resolved anew from the
 * folder's own descriptor; no symbolic link and no `..` leads out of it, whatever is renamed meanwhile. Only regular files,
 * FIFOs and sockets are ever opened: what something is, is looked at before it is opened.
 *
 * Outcomes: 0, or IOPATH_E_REFUSED and a sentence. Nothing here is ever the broker's end.
 */
#ifndef CAPSTAN_IOPATH_H
#define CAPSTAN_IOPATH_H

#include "../lib/config.h"
#include "kernel.h"

enum { IOPATH_E_REFUSED = 1 };
#define IOPATH_WHY_MAX 200

/* Could the channel be used now, as far as can be seen without touching anything? */
int iopath_check(struct kernel *k, const struct config_io *c, char why[IOPATH_WHY_MAX]);

/* Each gives a new descriptor, close-on-exec and non-blocking. */
int iopath_open_file(struct kernel *k, const struct config_io *c, int *fdp, bool *regularp, char why[IOPATH_WHY_MAX]);
int iopath_connect(struct kernel *k, const struct config_io *c, int *fdp, char why[IOPATH_WHY_MAX]);
int iopath_listen(struct kernel *k, const struct config_io *c, int *fdp, char why[IOPATH_WHY_MAX]);
void iopath_unlisten(struct kernel *k, const struct config_io *c);	/* removes the socket's name */

#endif
