/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How capstan-fs reads the store without LMDB's lock file (whoever can write that can stop the broker).
 *
 * capstan-fs opens data.mdb MDB_RDONLY|MDB_NOLOCK through a read-only fd. Before it begins a read transaction it
 * asks the broker for a lease over a SOCK_SEQPACKET pair; the broker holds a read transaction of its own from
 * before the reader's begin until release or deadline, which keeps every page the reader can see. At the
 * deadline the broker drops its transaction and bumps `generation` in the shared page: a reader that finds the
 * generation changed after it built its text throws the text away and asks again. While `commits` stays the same, one
 * lease serves many requests, for a fraction of LEASE_MS.
 */
#ifndef CAPSTAN_LEASE_H
#define CAPSTAN_LEASE_H

#include <stdint.h>

#define LEASE_MS	500u	/* how long the broker keeps a lease */
#define LEASE_MAX	4u	/* leases at once */

enum lease_op { LEASE_ACQUIRE = 1, LEASE_RELEASE = 2 };
struct lease_request { uint32_t op; uint32_t id; };		/* id: chosen by the reader, 0..LEASE_MAX-1 */
enum lease_status { LEASE_OK = 0, LEASE_BUSY = 1 };
struct lease_reply { uint32_t id; uint32_t status; uint64_t generation; uint64_t txnid; };

/* In a memfd: the broker maps it read-write, capstan-fs read-only (sealed against other writable maps). */
struct lease_page {				/* __atomic, acquire/release */
	uint64_t generation;
	uint64_t commits;	/* goes up right after each commit, before anybody hears of it; 0: is not kept */
};

#endif
