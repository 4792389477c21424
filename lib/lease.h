/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How capstan-fs reads the store without LMDB's lock file (whoever can write that can stop the broker).
 *
 * capstan-fs opens data.mdb MDB_RDONLY|MDB_NOLOCK through a read-only fd. Before it begins a read transaction it
 * asks the broker for a lease over a SOCK_SEQPACKET pair; the broker holds a read transaction of its own from
 * before the reader's begin until release or deadline, which keeps every page the reader can see. At the
 * deadline the broker drops its transaction and bumps the lease's `generation` in the shared page: a reader that finds the
 * generation changed after it built its text throws the text away and asks again. While `commits` stays the same, one
 * lease serves many requests, for a fraction of LEASE_MS.
 *
 * The leases with the numbers from LEASE_MAX on are for the frozen trees of `snapshot/`: they last for seconds
 * (config.mount.snapshotMs), and end early when they have kept the store from reusing FREEZE_MAX_BYTES, or when space runs out.
 */
#ifndef CAPSTAN_LEASE_H
#define CAPSTAN_LEASE_H

#include <stdint.h>

#define LEASE_MS	500u	/* how long the broker keeps a lease */
#define LEASE_MAX	4u	/* of those, at once */
#define LEASE_FREEZES	4u	/* frozen trees at once */
#define LEASE_N		(LEASE_MAX + LEASE_FREEZES)
#define FREEZE_MAX_BYTES (UINT64_C(1) << 30)	/* the store may grow so far because of a frozen tree */

enum lease_op {
	LEASE_ACQUIRE = 1, LEASE_RELEASE = 2,
	LEASE_WATCH = 3,	/* id 1: from now on write the eventfd when events are shown, and once at once; 0: no longer */
};
struct lease_request { uint32_t op; uint32_t id; };		/* id: chosen by the reader, 0..LEASE_N-1 */
enum lease_status { LEASE_OK = 0, LEASE_BUSY = 1 };
/* deadline_ns: monotonic. WATCH has no reply. */
struct lease_reply { uint32_t id; uint32_t status; uint64_t generation; uint64_t txnid; uint64_t deadline_ns; };

/* The head of struct live_page (lib/live.h), which see. */
struct lease_page {				/* __atomic, acquire/release; 128 bytes */
	uint64_t commits;	/* goes up right after each commit, before anybody hears of it; 0: is not kept */
	uint64_t generation[LEASE_N];	/* goes up when that lease ends before its release */
	uint64_t reserved[7];
};
_Static_assert(sizeof(struct lease_page) == 128, "a fixed layout");

#endif
