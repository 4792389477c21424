/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The FUSE session: requests from the kernel answered from snapshots of the store, one thread, one epoll.
 *
 * Consistent per open: opening a file makes its whole text from one snapshot under one lease; reads are served
 * from that text. Listings likewise. A lease that ran out in the middle discards the text and tries again, a few times.
 *
 * What a reader can hold is charged to its uid: open files and their bytes. Beyond its share a reader gets EMFILE,
 * beyond everybody's ENFILE; so a hostile reader hurts itself. Nothing here waits for a reader.
 *
 * The session never sends the kernel invalidations (from a single thread those deadlock). So the kernel may cache only
 * what cannot change: the attributes, which follow from the kind of a node, and the names that the table of the tree
 * fixes (in a vat's folder too: the folder's own name is looked up each time, and numbers never come back).
 */
#ifndef CAPSTAN_FS_SESSION_H
#define CAPSTAN_FS_SESSION_H

#include <stdbool.h>
#include <sys/types.h>

#include "lease.h"
#include "tree.h"

#define SESSION_MAX_TEXT	(32u << 20)	/* bytes of one file; made well within LEASE_MS */
#define SESSION_MAX_LISTING	(1u << 20)	/* bytes of one answer to readdir() */
#define SESSION_MAX_BYTES	(512u << 20)	/* of all that is open */
#define SESSION_MAX_UID_BYTES	(128u << 20)
#define SESSION_MAX_OPEN	1024u		/* open files and directories */
#define SESSION_MAX_UID_OPEN	256u
#define SESSION_TRIES		5		/* leases for one request */

struct session_options {
	int fuse_fd;		/* /dev/fuse, mounted; taken. -1: there is no mount */
	int serve_fd;		/* a Unix stream socket that listens; borrowed. -1: none */
	int watch_fd;		/* eventfd: LEASE_WATCH (lib/lease.h); borrowed. -1: none */
	int data_fd;		/* the store's file, read-only; borrowed (its size is shown) */
	struct lease *lease;	/* borrowed */
	struct reader *reader;	/* borrowed */
	uid_t uid;		/* owner of the files: root, or whose kernel it is */
	gid_t gid;		/* group that may read */
	bool world;		/* everybody may read */
	unsigned hide;		/* enum mount_hide (lib/config.h): for the owner only */
	uid_t uid_block, uid_block_last;	/* users from the first to the last never read anything; last < first: there are none */
};

struct session;
int session_new(struct session **sessionp, const struct session_options *options);
struct session *session_free(struct session *s);
/* Serve until the file system is unmounted or the broker hangs up (both: 0). Negative: fatal. */
int session_run(struct session *s);

#endif
