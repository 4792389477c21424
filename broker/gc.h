/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Garbage collection (G1–G3): what the counts say about every reference touched in a crank, the actions that
 * follow, and their delivery.
 */
#ifndef CAPSTAN_GC_H
#define CAPSTAN_GC_H

#include "kernel.h"

/* Examine all that kernel_touch() noted, until nothing moves any more. Inside the savepoint. */
int gc_examine_touched(struct kernel *k);

/*
 * The vat's next GC delivery: drops before retireExports before retireImports; up to WIRE_MAX_SLOTS still valid
 * krefs of that kind in `krefs`, stale rows are left to gc_forget_stale. GC_E_NONE: nothing to do.
 */
enum { GC_E_NONE = 1 };
int gc_pick(struct kernel *k, struct vat *v, enum gc_type *typep, struct u64_list *krefs);
/* Remove rows that no longer say anything; own savepoint. */
int gc_forget_stale(struct kernel *k, struct vat *v);
/* G3: the kernel's side of a delivered action. Inside the savepoint. */
int gc_apply(struct kernel *k, struct vat *v, enum gc_type type, const struct u64_list *krefs);
/* Up to *budget rows of a vat that is gone, charged to it; *donep when none is left. */
int gc_purge(struct kernel *k, endpoint_t e, unsigned *budget, bool *donep);

#endif
