/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long a vat may take for one delivery: by the broker's clock (V6, D6, D10) and by its process's own (V7).
 */
#ifndef CAPSTAN_DEADLINE_H
#define CAPSTAN_DEADLINE_H

#include "kernel.h"

#define DEADLINE_STALL_NS	UINT64_C(50000000)	/* a round that took this much longer than it should was a stall (D6) */

/*
 * The broker's own time goes on: from `*lastp`, which becomes `now_ns`. A round that was to wait `waited_ms` at most (negative: as
 * long as it takes) counts for that, and little more.
 */
void deadline_advance(struct kernel *k, uint64_t *lastp, uint64_t now_ns, int waited_ms);
/* End who is over; a `done` that has arrived counts. Pings, too: `now_ns` is the monotonic clock. */
int deadline_check(struct kernel *k, uint64_t now_ns);

/* A delivery becomes the one that the vat works on. */
void deadline_begin(struct kernel *k, struct vat *v);
/* Is it over its limit of the processor's time? Without a limit, or when that cannot be told, it is not. */
bool deadline_over_cpu(const struct vat *v);

#endif
