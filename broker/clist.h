/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clists: per endpoint, the pairs (eref, kref), in both directions or in neither (C1), with a reachable flag.
 * This file and translate are the only ones that see both kinds of reference. Counts move with the entries: an import
 * counts its object recognizable, and reachable while flagged; a promise entry counts the promise; an exporter's
 * own entry counts nothing (C4, C5).
 */
#ifndef CAPSTAN_CLIST_H
#define CAPSTAN_CLIST_H

#include "kernel.h"

enum { CLIST_E_UNKNOWN = 1 };

int clist_find_kref(struct kernel *k, endpoint_t e, kref_t kref, vref_t *vrefp, bool *reachablep);
int clist_find_vref(struct kernel *k, endpoint_t e, vref_t vref, kref_t *krefp, bool *reachablep);
/* Both unknown before. Reachable flag set. */
int clist_add(struct kernel *k, endpoint_t e, kref_t kref, vref_t vref);
/* The same for an import, which a message of `introducer` (an endpoint, 0: the outside) brought (V7). */
int clist_import(struct kernel *k, endpoint_t e, kref_t kref, vref_t vref, uint64_t introducer);
/* Entry must exist. An export that is removed leaves its object without this owner: the caller's business. */
int clist_remove(struct kernel *k, endpoint_t e, kref_t kref, vref_t vref);
/* Flag of an existing entry of an object. */
int clist_set_reachable(struct kernel *k, endpoint_t e, kref_t kref, vref_t vref, bool reachable);
/*
 * Walk: the least entry with vref bits >= `from`. CLIST_E_UNKNOWN at the end of the clist. Order: objects "+",
 * objects "-", promises "+", promises "-".
 */
int clist_next(struct kernel *k, endpoint_t e, uint64_t from, vref_t *vrefp, kref_t *krefp, bool *reachablep);

#endif
