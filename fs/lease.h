/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reader's side of lib/lease.h: ask before a read transaction begins, give back after it ended, and learn whether
 * the broker kept its word in between.
 *
 * One lease at a time, and those of the frozen trees beside it. Request ids go round, so that an answer which comes too late is not taken for the next one; a
 * lease granted too late ends by its own deadline.
 */
#ifndef CAPSTAN_FS_LEASE_H
#define CAPSTAN_FS_LEASE_H

#include "../lib/live.h"
#include "../lib/util.h"

#define LEASE_WAIT_MS	1000	/* for one answer, then the reader is told EIO */
#define LEASE_KEEP_MS	100	/* an older lease is not used again: what begins under it needs time too */

enum lease_outcome {
	LEASE_E_GONE = 1,	/* the broker hung up */
	LEASE_E_UNAVAILABLE,	/* it has none to give, or does not answer */
	LEASE_E_EXPIRED,	/* what was read under the lease must be thrown away */
};

struct lease {
	int fd;				/* borrowed */
	const struct live_page *live;	/* mapped read-only */
	const struct lease_page *page;	/* its head */
	uint32_t id;			/* of the last request */
	uint64_t generation;		/* at the grant */
	uint64_t commits;		/* before it: the snapshot has at least these */
	uint64_t since_ns;		/* monotonic */
	bool held;
};
#define LEASE_INIT { .fd = -1 }

/* `page_fd` stays the caller's. Negative: a descriptor is not what it should be. */
int lease_init(struct lease *l, int fd, int page_fd);
void lease_deinit(struct lease *l);
int lease_acquire(struct lease *l);	/* LEASE_E_GONE, LEASE_E_UNAVAILABLE */
/* The lease still holds: what was read up to now is good. Else LEASE_E_EXPIRED. */
int lease_check(const struct lease *l);
/* A snapshot taken under this lease is still the newest: it can serve the next request as well. */
bool lease_is_current(const struct lease *l);
int lease_release(struct lease *l);	/* LEASE_E_GONE */
/*
 * For a frozen tree: a lease of its own, number LEASE_MAX.. (`id`), beside the other one. LEASE_E_GONE, LEASE_E_UNAVAILABLE. Who has
 * it keeps the reply, and gives it back by lease_thaw() also after it ended.
 */
int lease_freeze(struct lease *l, uint32_t id, struct lease_reply *reply);
bool lease_is_frozen(const struct lease *l, const struct lease_reply *granted);	/* what was read under it up to now is good */
int lease_thaw(struct lease *l, uint32_t id);	/* LEASE_E_GONE */
/* LEASE_WATCH. LEASE_E_GONE; LEASE_E_UNAVAILABLE: it could not be said now. */
int lease_watch(struct lease *l, bool on);
/* The socket is readable outside of a request: drop late answers; LEASE_E_GONE. */
int lease_drain(struct lease *l);

#endif
