/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An ordered map from bytes to bytes, in memory: the overlay's tables and a crank's buffered vatstore writes.
 * A value may be a tombstone (deleted). Keys in byte order (memcmp, then length).
 */
#ifndef CAPSTAN_OMAP_H
#define CAPSTAN_OMAP_H

#include "util.h"

struct omap;
struct omap_node {		/* valid until the node is removed or replaced */
	const uint8_t *key;
	size_t key_len;
	const uint8_t *val;	/* NULL with len 0: tombstone when `dead` */
	size_t len;
	bool dead;
};

struct omap *omap_new(void);			/* NULL: out of memory */
struct omap *omap_free(struct omap *m);
void omap_clear(struct omap *m);		/* O(1) amortised memory reuse where possible */
size_t omap_count(const struct omap *m);
/* NULL when absent (a tombstone is present). */
const struct omap_node *omap_find(struct omap *m, const void *key, size_t key_len);
const struct omap_node *omap_next(struct omap *m, const void *key, size_t key_len, bool or_equal);
/* Set or replace; negative: out of memory. `dead`: tombstone. */
int omap_put(struct omap *m, const void *key, size_t key_len, const void *val, size_t len, bool dead);
void omap_remove(struct omap *m, const void *key, size_t key_len);

#endif
