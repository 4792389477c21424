/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages that killed their vat too often (V4, V17): kept as text for people, who look at them, send them anew as new calls, or
 * drop them. What they name is not counted: a reference that nothing reaches meanwhile is gone (C7).
 */
#ifndef CAPSTAN_ASIDE_H
#define CAPSTAN_ASIDE_H

#include "queue.h"
#include "vat.h"

#define ASIDE_MAX	1000u		/* of one vat; the oldest go */
#define ASIDE_MAX_BYTES	(64u << 20)

struct aside { uint64_t vat, seq; struct row_aside row; struct capdata methargs; };	/* borrowed from the store */
enum { ASIDE_E_UNKNOWN = 1 };

/* Inside a savepoint. */
int aside_put(struct kernel *k, struct vat *v, const struct item *i);
int aside_drop(struct kernel *k, struct vat *v, uint64_t seq);
int aside_drop_all(struct kernel *k, struct vat *v);

/* The next after a->vat, a->seq (both 0: the first). */
int aside_next(struct kernel *k, struct aside *a);
int aside_find(struct kernel *k, uint64_t seq, struct aside *a);
/* The first reference in it that cannot be named any more (C7); KREF_NONE: it can be sent. */
int aside_lost(struct kernel *k, const struct aside *a, kref_t *lostp);

#endif
