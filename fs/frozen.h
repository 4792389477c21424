/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frozen trees: states of the kernel that are kept under a name, for a bounded time. Each has a lease of its own
 * (LEASE_MAX + its place), a snapshot of the store that was begun under it, and a copy of what the broker showed of itself in
 * that moment. So whatever is read from it, and however often, it is one state.
 *
 * A tree ends at its deadline (a little before the broker's own), or earlier, when the broker takes the lease back
 * (its generation moves: what was read since is worth nothing), or with the connection. Numbers rise, and come again only after
 * NODE_SNAPSHOT_MAX others: what the kernel remembers of a tree that ended leads nowhere.
 */
#ifndef CAPSTAN_FS_FROZEN_H
#define CAPSTAN_FS_FROZEN_H

#include "lease.h"
#include "view.h"

#define FROZEN_MAX_UID	2u	/* trees of one user at once; LEASE_FREEZES of all */
#define FROZEN_MARGIN_MS 100u	/* ends so long before the broker's deadline */

struct frozen_hold {
	struct lease_reply granted;
	struct reader *reader;		/* inside its snapshot */
	struct live_page *live;		/* a copy; only what was used takes memory */
	uint64_t until_ns, store_bytes;	/* until_ns: monotonic */
};
struct frozen_set {
	struct frozen_tree trees[LEASE_FREEZES];	/* as views see them */
	struct frozen_hold holds[LEASE_FREEZES];
	uint32_t last;			/* number that was given out last */
};
#define FROZEN_SET_INIT { 0 }
void frozen_deinit(struct frozen_set *f, struct lease *lease);

/* [A-Za-z0-9_][A-Za-z0-9._-]{0,31} */
bool frozen_name_ok(const char *name);
uint32_t frozen_named(const struct frozen_set *f, const char *name);	/* 0: there is none of that name */
/*
 * Freeze the state of now. EMFILE: that user has enough of them. ENFILE: there are enough. EIO: no lease, or the store cannot be read.
 * ENOMEM. *gonep: the broker hung up (then also EIO).
 */
int frozen_make(struct frozen_set *f, struct lease *lease, struct reader *base, const char *name, uid_t uid, uint64_t store_bytes,
		uint32_t *numberp, bool *gonep);
/* The view of a living tree; false: it is no more. After having looked, ask frozen_alive() whether what was seen is good. */
bool frozen_view(const struct frozen_set *f, const struct lease *lease, uint32_t number, struct view *out);
bool frozen_alive(const struct frozen_set *f, const struct lease *lease, uint32_t number);
/* What ended is given back. False: the broker hung up. */
bool frozen_sweep(struct frozen_set *f, struct lease *lease);
int frozen_timeout_ms(const struct frozen_set *f);	/* until the next ends; -1: there is none */
uint64_t frozen_left_ns(const struct frozen_set *f, uint32_t number);	/* 0: it has ended */
uint64_t frozen_made_us(const struct frozen_set *f, uint32_t number);	/* 0: there is none */

#endif
