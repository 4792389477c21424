/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Translation between a vat's names and the kernel's. With clist, the only code that sees both.
 *
 * Outwards (prepare) only reads: what the vat has no name for yet gets a tentative number, kept in struct names
 * until apply makes it real (names_apply) or the crank is abandoned and the number given back. The deliveries of one
 * packet share a struct names: the second uses the numbers that the first introduces. Meanwhile nobody but the cranks
 * of these deliveries can touch this vat's clist; what they take out of it that a later one names is put back.
 */
#ifndef CAPSTAN_TRANSLATE_H
#define CAPSTAN_TRANSLATE_H

#include "../lib/omap.h"
#include "kernel.h"

enum name_kind {
	NAME_FRESH,	/* introduced here */
	NAME_AGAIN,	/* the entry exists, its flag is to be set again */
	NAME_AHEAD,	/* a delivery before this one could still change the entry */
};
struct name { kref_t kref; vref_t vref; enum name_kind kind; bool leaves; };
struct names {
	struct name *v;
	size_t n, size;
	size_t own;			/* where those of the delivery in hand begin */
	struct omap *index;		/* kref → the last position, once there are many */
	uint64_t next_import, next_import_promise;
	bool ahead;			/* the delivery in hand is not the first */
	bool doubt;			/* and cannot be told now what its references will be called */
};
#define NAMES_FEW	64u		/* up to so many a scan beats an index; with more nothing is sent behind */

void names_begin(struct names *ns, const struct row_vat *row);
/* What follows belongs to a further delivery behind those so far; there are few names yet. */
void names_begin_ahead(struct names *ns);
/* It comes to nothing, and nothing follows. */
void names_drop_ahead(struct names *ns);
void names_deinit(struct names *ns);

/* Kernel to vat. */
int translate_out(struct kernel *k, struct vat *v, struct names *ns, kref_t kref, vref_t *vrefp);
/* The entry of a listed promise leaves the clist at once: a tentative one is then never made. */
int names_leave(struct names *ns, kref_t kref);
/* The names [first, first + n) of a delivery; `ahead`: it was not the first in its packet. `introducer`: who is charged (V7). */
int names_apply(struct kernel *k, struct vat *v, const struct names *ns, size_t first, size_t n, bool ahead, uint64_t introducer);

/* Vat to kernel (apply). Outcomes: the syscall is illegal, k->illegal says why. */
enum { TRANSLATE_E_ILLEGAL = 1 };
/* Any reference mentioned as target or argument: new "+" ones are made (C2). */
int translate_in(struct kernel *k, struct vat *v, vref_t vref, kref_t *krefp);
/* A result promise: new, or decided by the vat and unresolved. It has no decider afterwards (P2). */
int translate_result(struct kernel *k, struct vat *v, vref_t vref, kref_t *krefp);
/* Only what is in the clist already. */
int translate_known(struct kernel *k, struct vat *v, vref_t vref, kref_t *krefp, bool *reachablep);

#endif
