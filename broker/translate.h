/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Translation between a vat's names and the kernel's. With clist, the only code that sees both.
 *
 * Outwards (prepare) only reads: what the vat has no name for yet gets a tentative number, kept in struct names
 * until apply makes it real (names_apply) or the crank is abandoned and the number given back. No other crank can
 * touch this vat's clist meanwhile: a vat runs one crank at a time.
 */
#ifndef CAPSTAN_TRANSLATE_H
#define CAPSTAN_TRANSLATE_H

#include "../lib/omap.h"
#include "kernel.h"

struct name { kref_t kref; vref_t vref; bool fresh; bool skip; };	/* !fresh: entry exists, flag to be set again */
struct names {
	struct name *v;
	size_t n, size;
	struct omap *index;		/* kref → position, once there are many */
	uint64_t next_import, next_import_promise;
};
void names_begin(struct names *ns, const struct row_vat *row);
void names_deinit(struct names *ns);

/* Kernel to vat. */
int translate_out(struct kernel *k, struct vat *v, struct names *ns, kref_t kref, vref_t *vrefp);
/* The entry of a listed promise leaves the clist at once: a tentative one is then never made. */
void names_skip(struct names *ns, kref_t kref);
int names_apply(struct kernel *k, struct vat *v, struct names *ns);

/* Vat to kernel (apply). Outcomes: the syscall is illegal, k->illegal says why. */
enum { TRANSLATE_E_ILLEGAL = 1 };
/* Any reference mentioned as target or argument: new "+" ones are made (C2). */
int translate_in(struct kernel *k, struct vat *v, vref_t vref, kref_t *krefp);
/* A result promise: new, or decided by the vat and unresolved. It has no decider afterwards (P2). */
int translate_result(struct kernel *k, struct vat *v, vref_t vref, kref_t *krefp);
/* Only what is in the clist already. */
int translate_known(struct kernel *k, struct vat *v, vref_t vref, kref_t *krefp, bool *reachablep);

#endif
