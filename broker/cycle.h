/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Settled promises that hold each other in circles (P9, P12). Counts alone never let go of them.
 *
 * What a settled promise holds never changes. So a circle becomes garbage only when a count of one of its members falls, and not
 * to 0: that one is noted as a suspect, in the store, and a search begins. It works in steps between cranks:
 *
 *	GATHER	the suspects of this moment are the first members of a set
 *	WALK	all that can be part of a circle and is held by a member becomes a member; how often members hold each is
 *		counted
 *	JUDGE	a member with more counts than these is held from without, and so is all that it holds
 *	FORGET	those are suspects no more, unless a count fell again meanwhile
 *	FREE	the others lose their values; their counts fall to 0, and they are deleted like any promise
 *
 * Cranks go on in between. A member that is deleted takes its share of the counted holders along, one that gets a holder while
 * it is judged counts as held. What is found to be held by nobody stays so: a vat cannot name it, and whoever may name what
 * he likes (C9) is told that it does not exist.
 *
 * The set is in memory only, the suspects are not: after a death of the broker the search begins anew, and a circle that
 * was half freed has noted what it held.
 *
 * The same table lists promises that nobody holds and that were too many to delete in one crank.
 */
#ifndef CAPSTAN_CYCLE_H
#define CAPSTAN_CYCLE_H

#include "kernel.h"

#define CYCLE_BUDGET	256u		/* promises and references of one step */
#define CYCLE_MAX	1000000u	/* members of one search; what is beyond counts as held (P12) */
#define CYCLE_RELEASED	10000u		/* references let go by deleted promises in one crank; the rest follows in steps */

struct cycle_search;

/* Inside a savepoint. The count of a settled promise whose value names promises fell, and is not 0. */
int cycle_suspect(struct kernel *k, kref_t ref);
/* Nobody holds it, and enough was deleted in this crank. */
int cycle_postpone(struct kernel *k, kref_t ref);
/* It is held once more. */
int cycle_held(struct kernel *k, kref_t ref);
/* It is being deleted, and held these. */
int cycle_deleted(struct kernel *k, kref_t ref, const struct row_promise *row, const uint64_t *held, size_t n);
/* Found to be garbage already, though its row is there. */
bool cycle_is_doomed(const struct kernel *k, kref_t ref);

int cycle_boot(struct kernel *k);
/* One step; own savepoint. *morep: call again. */
int cycle_step(struct kernel *k, bool *morep);
void cycle_deinit(struct kernel *k);

#endif
