/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the store say to each other, and nobody else: store.c (LMDB, the *base*), overlay.c (the changes
 * over it) and space.c (blocks ahead). Nothing here names LMDB.
 */
#ifndef CAPSTAN_STORE_IMPL_H
#define CAPSTAN_STORE_IMPL_H

#include <sys/types.h>

#include "store.h"

/* Keys compare bytewise, then the shorter is less: LMDB's order and omap's. */
static inline int key_cmp(const void *a, size_t a_len, const void *b, size_t b_len)
{
	size_t n = a_len < b_len ? a_len : b_len;
	int c = n ? memcmp(a, b, n) : 0;

	return c ? c : (a_len > b_len) - (a_len < b_len);
}

/*
 * The base: LMDB as the overlay sees it. Reads see the last commit and stay valid until the next one; puts and dels
 * are made only inside a commit, between base_write_begin() and base_write_commit().
 */
struct base;
struct base_hit {
	const void *key;
	size_t key_len;
	const void *val;
	size_t len;
};
/* The least key above `key` (or equal to it, when `or_equal`). STORE_NOT_FOUND: there is none. */
int base_seek(struct base *b, enum table t, const void *key, size_t key_len, bool or_equal, struct base_hit *out);
/* The key just below what the last base_seek() of this table found, or the last key if it found none. */
int base_before(struct base *b, enum table t, struct base_hit *out);
int base_put(struct base *b, enum table t, const void *key, size_t key_len, const void *val, size_t len);
int base_del(struct base *b, enum table t, const void *key, size_t key_len);

struct overlay;
int overlay_new(struct overlay **op, struct base *b);
struct overlay *overlay_free(struct overlay *o);
int overlay_get(struct overlay *o, enum table t, const void *key, size_t key_len, const void **valp, size_t *lenp);
int overlay_put(struct overlay *o, enum table t, const void *key, size_t key_len, const void *val, size_t len);
int overlay_del(struct overlay *o, enum table t, const void *key, size_t key_len);
int overlay_next(struct overlay *o, enum table t, const void *key, size_t key_len, size_t prefix, bool or_equal,
		 const void **keyp, size_t *key_lenp, const void **valp, size_t *lenp);
void overlay_savepoint(struct overlay *o);
int overlay_rollback(struct overlay *o);
void overlay_release(struct overlay *o);
/* How many keys differ, or may differ, from the base. */
size_t overlay_n_changes(const struct overlay *o);
/* Put the net difference into the base (inside its write transaction); how many rows that took. */
int overlay_write(struct overlay *o, size_t *n_writtenp);
/* The base has moved on to what was written: forget all. */
void overlay_reset(struct overlay *o);

/*
 * Blocks of the data file allocated ahead of the pages in use. Half of the reserve is for those who stop when told
 * so (vats), the other half for those who cannot (the kernel).
 */
#define SPACE_RESERVE	(UINT64_C(16) << 20)	/* bytes kept ahead */
#define SPACE_LOW	(SPACE_RESERVE / 2)	/* less than this and no more to be had: low */
#define SPACE_STEP	(UINT64_C(4) << 20)	/* ask the file system this seldom */

struct space {
	int fd;			/* data.mdb, borrowed */
	bool no_fallocate;	/* the file system cannot: judge by its free space instead */
	bool low;
	uint64_t allocated;	/* the file's first bytes that surely have blocks */
};
void space_init(struct space *sp, int fd);
/* Allocate what is missing after `used`, the end of the pages in use; how many bytes there are now. Never fails. */
uint64_t space_top_up(struct space *sp, uint64_t used);
/* Low or not, with `room` bytes that can surely be written. */
void space_judge(struct space *sp, uint64_t room);

#endif
