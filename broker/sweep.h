/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cleaning up after a death (G6). The death itself is instant: owner and decider are stored with the incarnation. Here
 * the rows follow, in budgeted steps between cranks, so that a vat with a million entries never stalls another.
 *
 * After a restart: promises the earlier incarnation decided are rejected VAT_RESTARTED (the vat itself is notified too,
 * V5), exports that cannot survive are abandoned. After a termination: queued items are refused, calls
 * that services keep for the vat end with it where they are of no use without it, decided promises are rejected VAT_TERMINATED, every clist entry, the GC rows, the vatstore and the parameters go.
 */
#ifndef CAPSTAN_SWEEP_H
#define CAPSTAN_SWEEP_H

#include "kernel.h"

#define SWEEP_BUDGET 256u	/* rows of one step */

/* Note that the vat needs sweeping; inside a savepoint. A pending restart sweep becomes one for termination. */
int sweep_begin(struct kernel *k, struct vat *v, bool terminated);
/* One step for every vat that needs it; own savepoints. *morep: call again. */
int sweep_step(struct kernel *k, bool *morep);

#endif
