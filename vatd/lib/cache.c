/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bound of what is in memory. What the store knows all about (durable and virtual objects, imports that values
 * name) is found again by its name: when enough entries were made, those that nothing holds and that were not used
 * lately are forgotten, and objects not used lately are put away, also those that others name.
 */
#include "internal.h"

#define CACHE_REFS	4096	/* entries that are no trouble */

/* Nobody has it in hand, and nothing is under way with it. */
static bool is_idle(const vat *v, const vat_ref *r, uint64_t before)
{
	if (r->condemned || r->suspect || r->deferred || r->crank >= before || r == v->root)
		return false;
	for (const vat_ref *f = r->facets; f; f = f->next_facet)
		if (f->crank >= before)
			return false;
	return true;
}

/* What names it in memory needs its entry, not its state: else a chain of objects would keep each other. */
static bool may_be_put_away(const vat *v, const vat_ref *r, uint64_t before)
{
	return r->object && vref_is_kept(r->vref) && r->n_holds == r->n_named && !r->object->touched && is_idle(v, r, before);
}

/* All about it is in the store. */
static bool may_be_forgotten(const vat *v, const vat_ref *r, uint64_t before)
{
	return !r->n_holds && !r->object && !r->whole && is_idle(v, r, before) &&
	       (r->kind == REF_IMPORT || (r->kind == REF_LOCAL && vref_is_kept(r->vref)));
}

/* What was last used before that crank: first objects, because they name others; then entries. */
static void forget_idle(vat *v, uint64_t before)
{
	vat_ref **idle = arena_get(v, v->n_table * sizeof(*idle));
	size_t n = 0;

	for (size_t i = 0; i < v->table_size; i++)
		if (v->table[i] && may_be_put_away(v, v->table[i], before))
			idle[n++] = v->table[i];
	while (n)	/* fini of one may take another into hand */
		if (may_be_put_away(v, idle[--n], before))
			object_unload(v, idle[n]->object);
	for (size_t i = 0; i < v->table_size; i++)
		if (v->table[i] && may_be_forgotten(v, v->table[i], before))
			idle[n++] = v->table[i];
	while (n)
		ref_free(v, idle[--n]);
}

void refs_evict(vat *v)
{
	if (v->n_table < v->evict_at || v->n_table < CACHE_REFS)
		return;
	forget_idle(v, v->evicted + (v->crank - v->evicted) / 2 + 1);	/* half of the time since the last look */
	if (v->n_table > CACHE_REFS / 2)
		forget_idle(v, v->crank);
	refs_shrink(v);
	v->evicted = v->crank;
	/* As many must be made again before the next look: so each entry pays for a bounded number of looks. */
	v->evict_at = v->n_table * 2 > CACHE_REFS ? v->n_table * 2 : CACHE_REFS;
}
