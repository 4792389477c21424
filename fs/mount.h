/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way in through FUSE: requests of the kernel, answered from looks at the state.
 *
 * Consistent per open: opening a file makes its whole text from one look; reads are served from that text. Listings
 * go on from a cursor, each answer in the state of then. A log is read where it stands, and events as they come.
 *
 * The kernel is never sent invalidations (from a single thread those deadlock; a wake-up of poll() is safe). So it may cache only
 * what cannot change: the attributes, which follow from the kind of a node (but for the size of a log), and the names that the table
 * of the tree fixes (in a vat's folder too: the folder's own name is looked up each time, and numbers never come back); and
 * whatever is in a frozen tree, for as long as that has to live. Which tree a name in `snapshot/` means is asked each time.
 */
#ifndef CAPSTAN_FS_MOUNT_H
#define CAPSTAN_FS_MOUNT_H

#include "session.h"

#define MOUNT_MAX_READ		(1u << 20)	/* bytes of one answer to read() on a log */
#define MOUNT_MAX_LISTING	(1u << 20)	/* bytes of one answer to readdir() */

struct mount;
/* `fuse_fd`: /dev/fuse, mounted; taken. Ends the session when it is unmounted (*endp). */
int mount_new(struct mount **mountp, struct common *common, int fuse_fd, bool *endp);
struct mount *mount_free(struct mount *m);

#endif
