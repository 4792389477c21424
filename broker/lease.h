/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The broker's side of lib/lease.h: holds read snapshots of the store on behalf of capstan-fs, so that the pages it
 * reads without LMDB's lock file are not reused under it.
 *
 * Invariants: at most LEASE_MAX snapshots are held; each ends by release, by its deadline (LEASE_MS after it was
 * granted; the page's generation then moves on), or with the connection. Nothing that capstan-fs sends can do more:
 * what is not a request of lib/lease.h, or replies left unread, ends the connection.
 */
#ifndef CAPSTAN_BROKER_LEASE_H
#define CAPSTAN_BROKER_LEASE_H

#include "../lib/lease.h"
#include "../lib/loop.h"
#include "store.h"

struct lease_hold {
	void *snapshot;			/* NULL: not held */
	uint64_t deadline_ns;
};

struct lease_server {
	struct loop_source source;
	struct loop *loop;
	struct store *store;
	struct lease_page *page;	/* borrowed */
	int fd;
	struct lease_hold holds[LEASE_N];
};
#define LEASE_SERVER_INIT { .source = { .fd = -1 }, .fd = -1 }

/* Takes fd (SOCK_SEQPACKET). loop, store and page outlive the server. */
int lease_server_init(struct lease_server *l, struct loop *loop, struct store *store, struct lease_page *page, int fd);
void lease_server_deinit(struct lease_server *l);	/* also ends all leases */

/* How long the loop may wait before lease_server_expire() has something to do; -1: for ever. */
int lease_server_deadline_ms(const struct lease_server *l);
void lease_server_expire(struct lease_server *l);

#endif
