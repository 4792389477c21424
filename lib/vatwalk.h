/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Walking all of a vat's own store in byte order of its keys, through the tree of rows that lib/schema.h
 * describes, over whatever reads rows: a snapshot (capstan-fs, the checker) or a live store. Total on damaged
 * rows, and it ends; but a damaged tree in which many links lead to one space is walked as often as they say (the
 * checker looks for that before it walks).
 */
#ifndef CAPSTAN_VATWALK_H
#define CAPSTAN_VATWALK_H

#include "schema.h"

enum { VATWALK_E_END = 1, VATWALK_E_DAMAGED = 2 };

/* As store_next() of T_VATSTORE: 0, positive at the end of the table, negative. */
typedef int (*vatwalk_next_fn)(void *ctx, const void *key, size_t key_len, bool or_equal,
			       const void **keyp, size_t *key_lenp, const void **valp, size_t *lenp);

struct vatwalk {
	vatwalk_next_fn next;
	void *ctx;
	uint64_t spaces[VATSTORE_DEPTH];	/* the way down; chunk i of the key is in space i */
	unsigned depth;				/* spaces in use */
	bool inside;				/* the last space was looked at: go on after its chunk */
	uint64_t link;				/* of the last row: visited before the next in its space */
	uint64_t n_rows;			/* rows seen so far */
	size_t key_len;
	uint8_t key[VATSTORE_DEPTH * VATSTORE_PREFIX];
};

/* `from`: where to begin, at most VATSTORE_PREFIX bytes; the first key is the least that is not less. */
void vatwalk_init(struct vatwalk *w, vatwalk_next_fn next, void *ctx, uint64_t vat, const void *from,
		  size_t from_len);
/* The next key is in w->key; its value is borrowed. VATWALK_E_END, VATWALK_E_DAMAGED (then the walk is over). */
int vatwalk_step(struct vatwalk *w, const void **valp, size_t *lenp);

#endif
