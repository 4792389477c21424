/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store: the small ordered key-value interface under all of the kernel's tables.
 *
 * Two implementations: *direct* (LMDB, child transactions as savepoints; the oracle) and *overlay* (default;
 * an ordered table of uncommitted changes over the LMDB snapshot, an undo journal for savepoints, only the
 * net difference is written at commit). They answer alike; tests/unit/test_store.c compares them.
 *
 * There is always one open transaction; store_commit() ends it (synced to disk) and begins the next. One level
 * of savepoint. Values returned by get/next are borrowed and valid until the next put, del, rollback or commit.
 * Returned keys likewise. All errors but STORE_NOT_FOUND are negative: the broker stops and restarts.
 */
#ifndef CAPSTAN_STORE_H
#define CAPSTAN_STORE_H

#include "../lib/schema.h"

enum { STORE_NOT_FOUND = 1 };
enum store_open_outcome {
	STORE_E_SCHEMA = 1,		/* written by another schema version; *versionp tells which */
	STORE_E_LOCKED = 2,		/* another broker has it */
	STORE_E_CORRUPT = 3,		/* not an LMDB environment */
};
enum store_kind {
	STORE_OVERLAY, STORE_DIRECT,
	STORE_SCRATCH,			/* overlay, for a store that nobody opens again: nothing synced, 1 GiB of map, no blocks ahead */
};

struct store;
/* `dir` holds data.mdb and lock.mdb (made when missing). `fs_gid`: group that may read data.mdb, or -1. */
int store_open(struct store **storep, const char *dir, enum store_kind kind, uint64_t *versionp);
struct store *store_free(struct store *s);	/* forgets what is not committed; NULL */

int store_get(struct store *s, enum table t, const void *key, size_t key_len, const void **valp, size_t *lenp);
int store_put(struct store *s, enum table t, const void *key, size_t key_len, const void *val, size_t len);
int store_del(struct store *s, enum table t, const void *key, size_t key_len); /* STORE_NOT_FOUND: was not there */
/* Least key strictly greater than `key` (or >= with `or_equal`), in byte order. A NULL key with or_equal: the first. */
int store_next(struct store *s, enum table t, const void *key, size_t key_len, bool or_equal,
	       const void **keyp, size_t *key_lenp, const void **valp, size_t *lenp);
/*
 * The same among keys that begin with the first `prefix` bytes of `key`, else STORE_NOT_FOUND. Rows that were deleted since the
 * commit are stepped over: what is beyond the prefix costs nothing here, and store_next() may have to cross any number.
 */
int store_next_of(struct store *s, enum table t, const void *key, size_t key_len, size_t prefix, bool or_equal,
		  const void **keyp, size_t *key_lenp, const void **valp, size_t *lenp);

int store_savepoint(struct store *s);
int store_rollback(struct store *s);	/* to the savepoint, which ends */
int store_release(struct store *s);	/* keep what was done since the savepoint */
int store_commit(struct store *s);	/* no savepoint may be open; does nothing when nothing changed */
bool store_dirty(const struct store *s);	/* something would be written by a commit */
uint64_t store_n_commits(const struct store *s);
uint64_t store_n_changes(const struct store *s); /* keys that the next commit would write (bounds a group) */

/*
 * Space: blocks are allocated ahead so that the kernel's own writes always fit. LOW: what vats write must be
 * refused (LIMIT space) until there is room again. Cheap; judged at open and at each commit.
 */
bool store_space_low(const struct store *s);
uint64_t store_used(const struct store *s);	/* bytes of data.mdb up to the last page in use, as of the last commit */

/* Hold a read snapshot of the last commit on behalf of capstan-fs (lib/lease.h). */
int store_snapshot_hold(struct store *s, uint64_t *txnidp, void **holdp);
void store_snapshot_drop(struct store *s, void *hold);
int store_data_fd(struct store *s);	/* a new O_RDONLY|O_CLOEXEC fd of data.mdb, or negative */

/* Vatstore: keys up to WIRE_MAX_KEY over the bucket rows of lib/schema.h (broker/vatstore.c). */
int vatstore_get(struct store *s, uint64_t vat, const void *key, size_t key_len, const void **valp, size_t *lenp);
/* *deltap: change of (key + value) bytes stored. */
int vatstore_set(struct store *s, uint64_t vat, const void *key, size_t key_len, const void *val, size_t len, int64_t *deltap);
int vatstore_delete(struct store *s, uint64_t vat, const void *key, size_t key_len, int64_t *deltap); /* fine when absent */
/* `keyp` is copied out: buffer of WIRE_MAX_KEY bytes. */
int vatstore_next(struct store *s, uint64_t vat, const void *key, size_t key_len, uint8_t *next, size_t *next_lenp);
/* Delete up to *budget rows of the vat's store, charged to it; *donep when none is left. */
int vatstore_purge(struct store *s, uint64_t vat, unsigned *budget, bool *donep);

#endif
