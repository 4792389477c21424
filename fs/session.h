/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The session: one thread, one event loop, which answers what comes in through FUSE and through the socket.
 *
 * Consistent per open: opening a file makes its whole text from one snapshot under one lease; reads are served
 * from that text. Listings likewise. A lease that ran out in the middle discards the text and tries again, a few times.
 *
 * What a reader can hold is charged to its uid (charge.h), so a hostile reader hurts itself. Nothing here waits for a reader.
 *
 * The session never sends the kernel invalidations (from a single thread those deadlock). So the kernel may cache only
 * what cannot change: the attributes, which follow from the kind of a node, and the names that the table of the tree
 * fixes (in a vat's folder too: the folder's own name is looked up each time, and numbers never come back).
 */
#ifndef CAPSTAN_FS_SESSION_H
#define CAPSTAN_FS_SESSION_H

#include "../lib/loop.h"
#include "access.h"
#include "charge.h"
#include "look.h"
#include "watch.h"

#define SESSION_MAX_TEXT	(32u << 20)	/* bytes of one file; made well within LEASE_MS */

struct session_options {
	int fuse_fd;		/* /dev/fuse, mounted; taken. -1: there is no mount */
	int serve_fd;		/* a Unix stream socket that listens; borrowed. -1: none */
	int watch_fd;		/* eventfd: LEASE_WATCH (lib/lease.h); borrowed. -1: none */
	int data_fd;		/* the store's file, read-only; borrowed (its size is shown) */
	struct lease *lease;	/* borrowed */
	struct reader *reader;	/* borrowed */
	struct access access;	/* who may read what */
};

/* What both ways into the tree share: FUSE and the socket. */
struct common {
	struct loop loop;
	struct look look;
	struct access access;
	struct charges charges;
	struct watch watch;		/* for events */
};

struct session;
int session_new(struct session **sessionp, const struct session_options *options);
struct session *session_free(struct session *s);
/* Serve until the file system is unmounted or the broker hangs up (both: 0). Negative: fatal. */
int session_run(struct session *s);

#endif
