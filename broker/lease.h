/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The broker's side of lib/lease.h: holds read snapshots of the store on behalf of capstan-fs, so that the pages it
 * reads without LMDB's lock file are not reused under it.
 *
 * Invariants: at most LEASE_N snapshots are held; each ends by release, by its deadline (LEASE_MS after it was granted;
 * snapshot_ms for those of frozen trees; the page's generation then moves on), or with the connection. One of a frozen tree ends
 * early too, when the store has grown by FREEZE_MAX_BYTES since it was granted or its space runs out; while it does, none is
 * granted. Nothing that capstan-fs sends can do more: what is not a request of lib/lease.h, or replies left unread, ends the
 * connection.
 *
 * Whoever watches is told of new events by an eventfd: a counter, so that nothing is ever waited for and nothing piles up.
 */
#ifndef CAPSTAN_BROKER_LEASE_H
#define CAPSTAN_BROKER_LEASE_H

#include "../lib/lease.h"
#include "../lib/loop.h"
#include "store.h"

struct lease_hold {
	void *snapshot;			/* NULL: not held */
	uint64_t deadline_ns;
	uint64_t used;			/* frozen: what the store used when it was granted */
};

struct lease_server {
	struct loop_source source;
	struct loop *loop;
	struct store *store;
	struct lease_page *page;	/* borrowed */
	int fd;
	int event_fd;			/* non-blocking; -1: nobody is told */
	bool watched;
	uint64_t n_told;		/* events that it was told of */
	uint64_t snapshot_ms;
	struct lease_hold holds[LEASE_N];
};
#define LEASE_SERVER_INIT { .source = { .fd = -1 }, .fd = -1, .event_fd = -1 }

/* Takes both: fd (SOCK_SEQPACKET), and event_fd (-1: none). loop, store and page outlive the server. */
int lease_server_init(struct lease_server *l, struct loop *loop, struct store *store, struct lease_page *page,
		      uint64_t snapshot_ms, int fd, int event_fd);
void lease_server_deinit(struct lease_server *l);	/* also ends all leases */

/* How long the loop may wait before lease_server_expire() has something to do; -1: for ever. */
int lease_server_deadline_ms(const struct lease_server *l);
void lease_server_expire(struct lease_server *l);
/* Events up to number `n_shown` are shown (lib/live.h): tell, if that is news and somebody watches. */
void lease_server_shown(struct lease_server *l, uint64_t n_shown);

#endif
