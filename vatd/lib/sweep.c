/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What nothing holds any more goes, and the kernel hears of it.
 *
 * Own objects are looked at when the crank ends (condemned). Deleting one lets others go, and a long list of them at
 * once would be more than a crank may ask for: what a crank does not get done goes on in the next. For durable
 * objects a row "gone.o+d1.2" says so, for the case that the next crank is another incarnation's; it only says
 * "look at it".
 *
 * Imports and promises are looked at when the dead are brought out (suspects): those that came or were let go since.
 */
#include "internal.h"

#define LOOKED_AT	4000	/* suspects in a crank: each may be listed twice, and 50,000 may be listed */

static int by_number(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return x < y ? -1 : x > y;
}

static void emit_list(vat *v, enum wire_type type, uint64_t *vrefs, size_t n)
{
	if (n)
		qsort(vrefs, n, sizeof(*vrefs), by_number);
	for (size_t from = 0; from < n; from += WIRE_MAX_SLOTS) {
		size_t count = n - from < WIRE_MAX_SLOTS ? n - from : WIRE_MAX_SLOTS;
		wire_begin(&v->out, type, 0, v->delivery);
		wire_u32(&v->out, (uint32_t)count);
		wire_u32(&v->out, 0);
		for (size_t i = 0; i < count; i++)
			wire_u64(&v->out, vrefs[from + i]);
		wire_end(&v->out);
		channel_pack(v);
	}
}

/* --- own objects ---------------------------------------------------------------------------------- */

void ref_condemn(vat *v, vat_ref *r)
{
	r = ref_whole(r);
	if (r->kind == REF_IMPORT) {
		ref_suspect(v, r);
		return;
	}
	if (r->condemned)
		return;
	v->condemned = vat_grow(v, v->condemned, &v->condemned_size, v->n_condemned + 1, sizeof(vat_ref *));
	v->condemned[v->n_condemned++] = r;
	r->condemned = true;
}

static bool is_wanted(vat *v, vat_ref *w)
{
	if (w->n_holds || w == v->root)
		return true;
	ref_load_exported(v, w);
	if (w->reachable)
		return true;
	for (vat_ref *f = w->facets; f; f = f->next_facet)
		if (f->reachable)
			return true;
	return store_names(v, w);
}

/* Those who recognise it hear that it is gone; facets also that were never in memory. */
static bool tell_weak(vat *v, vat_ref *w)
{
	const vat_kind *kind = kind_of(v, w);
	unsigned n = kind ? kind_n_facets(kind) : 0;

	if (!v->weak)
		return true;
	if (n == 0)
		return vref_is_none(w->vref) || v->weak->key_gone(v, w->vref);
	if (vref_is_kept(w->vref)) {
		for (unsigned i = 1; i <= n; i++)
			if (!v->weak->key_gone(v, (vref_t){ w->vref.bits | i }))
				return false;
		return true;
	}
	for (vat_ref *f = w->facets; f; f = f->next_facet)
		if (!vref_is_none(f->vref) && !v->weak->key_gone(v, f->vref))
			return false;
	return true;
}

static void retire(vat *v, vat_ref *w)
{
	uint64_t vrefs[256];
	size_t n = 0;
	if (w->recognizable)
		vrefs[n++] = w->vref.bits;
	w->recognizable = false;
	for (vat_ref *f = w->facets; f; f = f->next_facet) {
		if (f->recognizable)
			vrefs[n++] = f->vref.bits;
		f->recognizable = false;
	}
	if (n == 0)
		return;
	emit_list(v, WIRE_RETIRE_EXPORTS_SYS, vrefs, n);
	if (vref_is_kept(w->vref))
		store_delete(v, store_key(v, "exported", w->vref));
}

/* False: not done, and to be gone on with in a later crank; this one does no more. */
static bool delete_local(vat *v, vat_ref *w)
{
	const struct kind_row *row = kind_row_of(v, w->vref);
	if (!tell_weak(v, w) || (row && row->hooks && !row->hooks->deleted(v, w))) {
		v->clean.until = v->n_calls;
		v->clean.left = true;
		return false;
	}
	retire(v, w);
	object_delete(v, w);
	if (w->deferred)
		store_delete(v, store_key(v, "gone", w->vref));
	ref_free(v, w);
	return true;
}

static bool sweep_local(vat *v, vat_ref *w)
{
	if (!is_wanted(v, w))
		return delete_local(v, w);
	if (w->deferred)
		store_delete(v, store_key(v, "gone", w->vref));
	w->deferred = false;
	return true;
}

static void sweep_promise(vat *v, vat_ref *p)
{
	/*
	 * In the clist it must stay known until it settles; own ones that nobody can settle or see any more
	 * may go.
	 */
	if (p->n_holds || !vref_is_none(p->vref))
		return;
	promise_free(v, p);
	ref_free(v, p);
}

/* What is left stays condemned for the next crank, and if it outlives us, the store says so. */
static void defer(vat *v, size_t from)
{
	size_t n = v->n_condemned - from;
	if (n)
		memmove(v->condemned, v->condemned + from, n * sizeof(*v->condemned));
	v->n_condemned = n;
	for (size_t i = 0; i < n; i++) {
		vat_ref *r = v->condemned[i];
		if (r->deferred || !vref_is_durable(r->vref))
			continue;
		store_set(v, store_key(v, "gone", r->vref), "", 0);
		r->deferred = true;
	}
}

void ref_sweep(vat *v)
{
	size_t i = 0;
	/* Freeing one can condemn others: the list grows while it is walked. */
	for (; i < v->n_condemned && !cleaning_is_over(v); i++) {
		vat_ref *r = v->condemned[i];
		r->condemned = false;
		if (r->kind == REF_A_PROMISE) {
			sweep_promise(v, r);
		} else if (r->kind == REF_LOCAL && !sweep_local(v, r)) {
			r->condemned = true;
			break;
		}
	}
	defer(v, i);
}

/* --- imports and promises ------------------------------------------------------------------------- */

void ref_suspect(vat *v, vat_ref *r)
{
	if (r->suspect)
		return;
	v->suspects = vat_grow(v, v->suspects, &v->suspects_size, v->n_suspects + 1, sizeof(vat_ref *));
	v->suspects[v->n_suspects++] = r;
	r->suspect = (uint32_t)v->n_suspects;
}

static void put_suspect(vat *v, size_t at, vat_ref *r)
{
	v->suspects[at] = r;
	r->suspect = (uint32_t)at + 1;
}

void ref_unsuspect(vat *v, vat_ref *r)
{
	if (!r->suspect)
		return;
	size_t hole = r->suspect - 1u;
	if (hole < v->n_examine) {	/* those to be looked at now stay in front */
		put_suspect(v, hole, v->suspects[--v->n_examine]);
		hole = v->n_examine;
	}
	put_suspect(v, hole, v->suspects[--v->n_suspects]);
	r->suspect = 0;
}

struct dead { uint64_t dropped[LOOKED_AT], retired[LOOKED_AT]; size_t n_dropped, n_retired; };

static void examine_import(vat *v, vat_ref *r, struct dead *dead)
{
	if (r->n_holds || store_names(v, r))
		return;
	if (r->reachable)
		dead->dropped[dead->n_dropped++] = r->vref.bits;
	r->reachable = false;
	if (v->weak && v->weak->recognises(v, r->vref))
		return;
	dead->retired[dead->n_retired++] = r->vref.bits;
	ref_free(v, r);
}

static void examine_one(vat *v, struct dead *dead)
{
	vat_ref *r = v->suspects[v->n_examine - 1];
	if (r->kind == REF_IMPORT && r->crank == v->crank) {	/* in use: next time */
		v->n_examine--;
		return;
	}
	ref_unsuspect(v, r);
	/* A promise nobody waits for: without a subscription it would stay in the clist for ever. */
	if (r->kind == REF_IMPORT)
		examine_import(v, r, dead);
	else if (!r->ours)
		promise_subscribe(v, r);
}

/* The next import of an earlier incarnation that this one has not met; the clist knows it, and maybe the store. */
static void walk_one(vat *v, struct dead *dead)
{
	struct wire_frame answer;
	wire_begin(&v->out, WIRE_CLIST_GET_NEXT, 0, v->delivery);
	wire_u64(&v->out, v->clean.at.bits);
	wire_end(&v->out);
	v->n_calls++;
	channel_ask(v, &answer);
	vref_t at = answer.store.ref;
	bool reachable = answer.flags & WIRE_F_REACHABLE;
	if (!(answer.flags & WIRE_F_FOUND)) {
		v->clean.clist = false;
		v->top_known = true;
		return;
	}
	v->clean.at = at;
	if (vref_is_import(at) && vref_number(at) > v->top_import)
		v->top_import = vref_number(at);	/* also one that a value named: the kernel may name it first when it is forgotten */
	if (ref_find(v, at))
		return;
	if (vref_is_promise(at)) {
		ref_unsuspect(v, ref_introduce(v, at));
		promise_subscribe(v, ref_find(v, at));
	} else if (vref_is_import(at)) {
		vat_ref *r = ref_introduce(v, at);
		ref_unsuspect(v, r);
		r->crank = 0;
		r->reachable = reachable;
		examine_import(v, r, dead);
	}
}

void ref_examine(vat *v)
{
	if (!v->n_examine && !v->clean.clist)
		return;
	struct dead *dead = arena_get(v, sizeof(*dead));
	unsigned n = 0;
	/* The clist is read as it was before this crank: what this crank retires is not to be met there again. */
	for (; v->clean.clist && v->clean.retired_in != v->crank && n < LOOKED_AT && !cleaning_is_over(v); n++)
		walk_one(v, dead);
	for (; v->n_examine && n < LOOKED_AT && !cleaning_is_over(v); n++)
		examine_one(v, dead);
	emit_list(v, WIRE_DROP_IMPORTS, dead->dropped, dead->n_dropped);
	emit_list(v, WIRE_RETIRE_IMPORTS_SYS, dead->retired, dead->n_retired);
	v->clean.left = v->clean.left || v->n_examine || v->clean.clist;
}

/* --- deliveries of the collector ------------------------------------------------------------------ */

void ref_drop_exports(vat *v, const struct wire_frame *f)
{
	for (uint32_t i = 0; i < f->list.count; i++) {
		vat_ref *r = ref_own(v, wire_ref(f, i));
		ref_set_exported(v, r, false, true);
		ref_condemn(v, r);
	}
}

void ref_retire_exports(vat *v, const struct wire_frame *f)
{
	for (uint32_t i = 0; i < f->list.count; i++) {
		vref_t vref = wire_ref(f, i);
		vat_ref *r = ref_find(v, vref);
		if (!r && !vref_is_kept(vref))
			continue;	/* retired by us at the same time */
		r = ref_own(v, vref);
		ref_set_exported(v, r, false, false);
		if (!vref_is_kept(vref) && r != v->root && !store_names(v, ref_whole(r)) &&
		    !(v->weak && v->weak->recognises(v, vref)))
			ref_forget_vref(v, r);	/* sent again, it is a new export */
		ref_condemn(v, r);
	}
}

void ref_retire_imports(vat *v, const struct wire_frame *f)
{
	v->clean.retired_in = v->crank;
	for (uint32_t i = 0; i < f->list.count; i++) {
		vref_t vref = wire_ref(f, i);
		vat_ref *r = ref_find(v, vref);
		if (v->weak)
			clean_weak_import(v, vref);
		if (!r)
			continue;
		r->reachable = false;
		if (r->n_holds == 0 && !store_names(v, r))
			ref_free(v, r);
	}
}
