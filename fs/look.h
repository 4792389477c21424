/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looking at the state: the one way to the store for everything that is answered, through FUSE and through the socket.
 *
 * A look takes place in one committed state, under a lease of the broker (lib/lease.h). When the lease ran out
 * meanwhile, what was seen is worth nothing and the look is repeated from its beginning in a newer state, a few times; so
 * a look must not hand anything out before it has returned. The state of the last look serves the next one as long as the
 * broker has not committed since: asking for each costs two wake-ups, and the broker its time.
 */
#ifndef CAPSTAN_FS_LOOK_H
#define CAPSTAN_FS_LOOK_H

#include "frozen.h"

#define LOOK_TRIES	5	/* leases for one look */

/* Looks: 0, VIEW_E_* or negative. Called again from the start when the lease ran out. */
typedef int (*look_fn)(struct view *v, void *arg);

struct look {
	struct reader *reader;	/* borrowed */
	struct lease *lease;	/* borrowed */
	int data_fd;		/* the store's file; borrowed (its size is shown) */
	bool has_snapshot;	/* the reader is inside one, under the lease */
	uint64_t store_bytes;	/* of the store's file when that began; 0 unknown */
	struct frozen_set frozen;
	bool broker_gone;	/* nothing can be looked at any more */
};
#define LOOK_INIT { .data_fd = -1 }
void look_init(struct look *l, struct reader *reader, struct lease *lease, int data_fd);
void look_deinit(struct look *l);

/*
 * Look at the live tree (`snapshot` 0) or at a frozen one (struct node's `snapshot`). Returns what to answer: 0 or a positive
 * errno: ENOENT (it is not there; or the frozen tree has ended), EIO (the store cannot be read, or the broker gives no
 * lease), ENOMEM.
 */
int look_at(struct look *l, uint32_t snapshot, look_fn look, void *arg);

/*
 * The frozen tree of that name, in `snapshot/`: found, or made in the state of now for `uid`. Returns what to answer: 0, ENOENT (no
 * tree can have that name), EMFILE, ENFILE, EIO, ENOMEM.
 */
int look_frozen(struct look *l, const char *name, uid_t uid, uint32_t *numberp);

/* How long the loop may wait before look_tick() has something to do; -1: for ever. */
int look_timeout_ms(const struct look *l);
/* After each round: a state kept for the next look that is old or no longer the newest is given back; frozen trees end. */
void look_tick(struct look *l);

#endif
