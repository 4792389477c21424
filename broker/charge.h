/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is charged (V7): for each queue, and each vat's imports, how much of it is whose. The table T_CHARGE says it; what is in use
 * stands here in memory as vats' rows do, is restored by a rollback and written by a commit, so that a message which comes and
 * goes between two commits costs no row.
 *
 * A receiver's limit is shared out: who has something there may have the limit divided by the number of those who have. So nobody
 * can take from anybody but by being one more, and there is always room for the next: each further one finds 1/(n+1). No sum
 * is kept to the limit; however many they are, they get H(n) = 1 + 1/2 + … + 1/n times it together at most (7.5 for a
 * thousand). The rule that sums up what is left instead gives the n-th only 1/n(n+1), and what comes by way of promises,
 * which is accepted already, could use it up.
 */
#ifndef CAPSTAN_CHARGE_H
#define CAPSTAN_CHARGE_H

#include "kernel.h"

/* What `who` (an endpoint, 0: the outside) has at `holder` (a key of QUEUE, or an endpoint for its imports). */
int charge_get(struct kernel *k, uint64_t holder, uint64_t who, struct row_charge *rowp);

/* A message of `size` bytes came into the holder's queue (+1), or left it (-1). */
int charge_message(struct kernel *k, uint64_t holder, uint64_t who, size_t size, int delta);
/* The vat has one import more by a message of `who`, or less. */
int charge_import(struct kernel *k, uint64_t holder, uint64_t who, int delta);

/* Of a limit that `n` share; `mine`: the one who asks is among them, so that there is one. */
uint64_t charge_share(uint64_t limit, uint64_t n, bool mine);

void charges_keep(struct kernel *k);
void charges_undo(struct kernel *k);
int charges_write_back(struct kernel *k);
void charges_deinit(struct kernel *k);

#endif
