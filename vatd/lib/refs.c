/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of references: every vref that is in our clist and was seen by this incarnation, and local ones
 * that have none yet.
 *
 * What keeps a reference: holds (n_holds: vat_hold, values of settled promises, fields of loaded objects,
 * turns, ephemeral continuations), values in the vatstore (n_stored, kept there too because it must outlive
 * us), the kernel (an own object that it reaches), and until the crank ends the crank itself. Own objects
 * without any of these go when the crank ends; imports go at bringOutYourDead, all at once, because telling
 * the kernel costs a syscall each.
 *
 * Entries come in slabs and are never given back to the heap: a stale pointer that a method kept finds an entry whose crank
 * is over and which nothing holds, and the vat dies with a sentence instead of corrupting itself.
 */
#include "internal.h"

#define SLAB_REFS	64u
struct ref_slab { struct ref_slab *next; size_t n_used; vat_ref refs[SLAB_REFS]; };

static uint64_t hash_vref(uint64_t bits)
{
	bits *= UINT64_C(0x9e3779b97f4a7c15);
	return bits ^ bits >> 29;
}

static size_t table_slot(const vat *v, vref_t vref)
{
	size_t i = hash_vref(vref.bits) & (v->table_size - 1);
	while (v->table[i] && !vref_equal(v->table[i]->vref, vref))
		i = (i + 1) & (v->table_size - 1);
	return i;
}

static void table_insert(vat *v, vat_ref *r)
{
	if ((v->n_table + 1) * 4 > v->table_size * 3) {
		size_t old_size = v->table_size;
		vat_ref **old = v->table;
		v->table_size = old_size ? old_size * 2 : 64;
		v->table = vat_alloc(v, v->table_size * sizeof(*v->table));
		for (size_t i = 0; i < old_size; i++)
			if (old[i])
				v->table[table_slot(v, old[i]->vref)] = old[i];
		free(old);
	}
	v->table[table_slot(v, r->vref)] = r;
	v->n_table++;
}

static void table_remove(vat *v, vref_t vref)
{
	size_t mask = v->table_size - 1, hole = table_slot(v, vref);
	if (!v->table[hole])
		return;
	v->table[hole] = NULL;
	v->n_table--;
	/* Move back what had been pushed past the hole. */
	for (size_t i = (hole + 1) & mask; v->table[i]; i = (i + 1) & mask) {
		size_t home = hash_vref(v->table[i]->vref.bits) & mask;
		if (((i - home) & mask) >= ((i - hole) & mask)) {
			v->table[hole] = v->table[i];
			v->table[i] = NULL;
			hole = i;
		}
	}
}

vat_ref *ref_find(vat *v, vref_t vref)
{
	return v->table_size ? v->table[table_slot(v, vref)] : NULL;
}

static vat_ref *slab_take(vat *v)
{
	if (!v->slabs || v->slabs->n_used == SLAB_REFS) {
		struct ref_slab *s = vat_alloc(v, sizeof(*s));
		s->next = v->slabs;
		v->slabs = s;
	}
	return &v->slabs->refs[v->slabs->n_used++];
}

void refs_each(vat *v, void (*fn)(vat *v, vat_ref *r))
{
	for (struct ref_slab *s = v->slabs; s; s = s->next)
		for (size_t i = 0; i < s->n_used; i++)
			if (s->refs[i].kind != REF_FREE)
				fn(v, &s->refs[i]);
}

size_t refs_count(vat *v)
{
	size_t n = 0;
	for (struct ref_slab *s = v->slabs; s; s = s->next)
		for (size_t i = 0; i < s->n_used; i++)
			n += (s->refs[i].kind != REF_FREE) + (s->refs[i].object != NULL);
	return n;
}

void refs_close(vat *v)
{
	for (struct ref_slab *s; (s = v->slabs);) {
		v->slabs = s->next;
		free(s);
	}
	free(v->table);
	free(v->condemned);
	free(v->dirty);
}

vat_ref *ref_new(vat *v, enum ref_kind kind, vref_t vref)
{
	vat_ref *r = v->free_refs;
	if (r)
		v->free_refs = r->link;
	else
		r = slab_take(v);
	*r = (vat_ref){ .vref = vref, .kind = kind, .crank = v->crank };
	if (!vref_is_none(vref))
		table_insert(v, r);
	return r;
}

void ref_give_vref(vat *v, vat_ref *r, vref_t vref)
{
	r->vref = vref;
	table_insert(v, r);
}

void ref_forget_vref(vat *v, vat_ref *r)
{
	if (!vref_is_none(r->vref))
		table_remove(v, r->vref);
	r->vref = VREF_NONE;
}

void ref_free(vat *v, vat_ref *r)
{
	if (r->stored_dirty && r->n_stored_there)
		store_delete(v, store_key(v, "count", r->vref));
	r->stored_dirty = r->when_dirty = false;
	ref_forget_vref(v, r);
	assert(!r->object && !r->waiting);
	r->kind = REF_FREE;
	r->n_holds = 0;
	r->crank = 0;
	r->link = v->free_refs;
	v->free_refs = r;
}

/* An own object that the table does not know: durable, from an earlier crank or incarnation. */
static vat_ref *introduce_own(vat *v, vref_t vref)
{
	if (!vref_is_durable(vref) && vref.bits != VREF_ROOT.bits) {
		char text[REF_TEXT_MAX];
		vat_die(v, "the kernel named %s, which this incarnation never exported", vref_format(vref, text));
	}
	return ref_new(v, REF_LOCAL, vref);
}

vat_ref *ref_introduce(vat *v, vref_t vref)
{
	vat_ref *r = ref_find(v, vref);
	if (!r && vref_is_promise(vref)) {
		r = ref_new(v, REF_A_PROMISE, vref);
		r->when_known = v->incarnation == 1;	/* else an earlier incarnation may have been waiting for it */
	} else if (!r && vref_is_import(vref)) {
		r = ref_new(v, REF_IMPORT, vref);
		r->stored_known = v->incarnation == 1;
	} else if (!r) {
		r = introduce_own(v, vref);
	}
	if (r->kind == REF_IMPORT)
		r->reachable = true;
	r->crank = v->crank;
	return r;
}

/*
 * What the kernel does with a durable object is remembered in the store too: the next incarnation must not
 * delete what the kernel reaches, nor forget to retire, nor retire twice.
 */
static void exported_load(vat *v, vat_ref *r)
{
	char *text;
	size_t len;
	if (r->reach_known)
		return;
	bool known = store_get(v, store_key(v, "exported", r->vref), &text, &len);
	r->recognizable = known;
	r->reachable = known && strcmp(text, "reachable") == 0;
	r->reach_known = true;
}

static void exported_set(vat *v, vat_ref *r, bool reachable, bool recognizable)
{
	r->reachable = reachable;
	r->recognizable = recognizable;
	r->reach_known = true;
	if (!vref_is_durable(r->vref))
		return;
	const char *key = store_key(v, "exported", r->vref), *text = reachable ? "reachable" : "recognizable";
	if (recognizable)
		store_set(v, key, text, strlen(text));
	else
		store_delete(v, key);
}

static void export_object(vat *v, vat_ref *r)
{
	if (vref_is_none(r->vref))
		ref_give_vref(v, r, vref_make(false, false, v->next_export++));
	if (vref_is_durable(r->vref))
		exported_load(v, r);
	if (!r->reachable)
		exported_set(v, r, true, true);
}

/* A promise that has left the clist, or was never in it, gets a new number. */
static void export_promise(vat *v, vat_ref *p)
{
	if (!vref_is_none(p->vref))
		return;
	ref_give_vref(v, p, vref_make(true, false, v->next_promise++));
	if (promise_is_settled(p))
		settled_name_again(v, p);
}

uint64_t ref_export(vat *v, vat_ref *r)
{
	r = promise_follow(v, r);
	if (r->kind == REF_LOCAL)
		export_object(v, r);
	else if (r->kind == REF_A_PROMISE)
		export_promise(v, r);
	return r->vref.bits;
}

void ref_check(vat *v, const vat_ref *r, const char *where)
{
	if (r->kind != REF_FREE && (r->crank == v->crank || r->n_holds || r == v->root))
		return;
	vat_die(v, "a reference was kept past its crank without vat_hold(), and %s", where);
}

void ref_hold(vat_ref *r)
{
	r->n_holds++;
}

void ref_unhold(vat *v, vat_ref *r)
{
	assert(r->n_holds > 0);
	if (--r->n_holds == 0)
		ref_condemn(v, r);
}

vat_ref *vat_hold(vat *v, vat_ref *ref)
{
	ref_check(v, ref, "held only later");
	ref_hold(ref);
	return ref;
}

void vat_release(vat *v, vat_ref *ref)
{
	if (ref->kind == REF_FREE || ref->n_holds == 0)
		vat_die(v, "vat_release() of a reference that is not held");
	ref->crank = v->crank;	/* usable for the rest of this crank */
	ref_unhold(v, ref);
}

bool vat_is_promise(const vat_ref *ref)
{
	return ref->kind == REF_A_PROMISE;
}

bool ref_survives(const vat_ref *r)
{
	return r->kind == REF_IMPORT || (r->kind == REF_LOCAL && !vref_is_none(r->vref) && vref_survives(r->vref));
}

const char *ref_describe(vat *v, const vat_ref *r)
{
	if (r->kind == REF_A_PROMISE)
		return "a promise";
	const vat_kind *kind = r->kind == REF_LOCAL ? kind_of(v, r) : NULL;
	if (kind)
		return arena_printf(v, "an object of kind %s, which has no state table", kind->name);
	return "an object";
}

/* --- what goes when the crank ends ---------------------------------------------------------------- */

void ref_condemn(vat *v, vat_ref *r)
{
	if (r->condemned)
		return;
	v->condemned = vat_grow(v, v->condemned, &v->condemned_size, v->n_condemned + 1, sizeof(vat_ref *));
	v->condemned[v->n_condemned++] = r;
	r->condemned = true;
}

static void emit_list(vat *v, enum wire_type type, const uint64_t *vrefs, size_t n)
{
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

/*
 * An own object that nothing holds: its memory and its state go, and if the kernel still knows its name,
 * that too.
 */
static void sweep_local(vat *v, vat_ref *r)
{
	if (r == v->root)
		return;
	if (vref_is_durable(r->vref) && !vref_is_none(r->vref))
		exported_load(v, r);
	if (r->reachable || store_count_get(v, r))
		return;
	if (r->recognizable) {
		emit_list(v, WIRE_RETIRE_EXPORTS_SYS, &r->vref.bits, 1);
		exported_set(v, r, false, false);
	}
	object_delete(v, r);
	ref_free(v, r);
}

static void sweep_promise(vat *v, vat_ref *p)
{
	/*
	 * In the clist it must stay known until it settles; own ones that nobody can settle or see any more
	 * may go.
	 */
	if (!vref_is_none(p->vref))
		return;
	promise_free(v, p);
	ref_free(v, p);
}

void ref_sweep(vat *v)
{
	/* Freeing one can condemn others: the list grows while it is walked. */
	for (size_t i = 0; i < v->n_condemned; i++) {
		vat_ref *r = v->condemned[i];
		r->condemned = false;
		if (r->n_holds)
			continue;
		if (r->kind == REF_LOCAL)
			sweep_local(v, r);
		else if (r->kind == REF_A_PROMISE)
			sweep_promise(v, r);
	}
	v->n_condemned = 0;
}

/* --- deliveries of the collector ------------------------------------------------------------------ */

void ref_drop_exports(vat *v, const struct wire_frame *f)
{
	for (uint32_t i = 0; i < f->list.count; i++) {
		vref_t vref = wire_ref(f, i);
		vat_ref *r = ref_find(v, vref);
		if (!r)
			r = introduce_own(v, vref);
		exported_set(v, r, false, true);
		ref_condemn(v, r);
	}
}

void ref_retire_exports(vat *v, const struct wire_frame *f)
{
	for (uint32_t i = 0; i < f->list.count; i++) {
		vref_t vref = wire_ref(f, i);
		vat_ref *r = ref_find(v, vref);
		if (!r) {
			if (!vref_is_durable(vref))
				continue;	/* retired by us at the same time */
			r = introduce_own(v, vref);
		}
		exported_set(v, r, false, false);
		if (!vref_survives(vref))
			ref_forget_vref(v, r);	/* sent again, it is a new export */
		ref_condemn(v, r);
	}
}

void ref_retire_imports(vat *v, const struct wire_frame *f)
{
	for (uint32_t i = 0; i < f->list.count; i++) {
		vat_ref *r = ref_find(v, wire_ref(f, i));
		if (!r)
			continue;
		r->reachable = false;
		if (r->n_holds == 0 && store_count_get(v, r) == 0)
			ref_free(v, r);
	}
}

/* Imports of earlier incarnations that this one has not met. */
static void walk_clist(vat *v)
{
	vref_t at = VREF_NONE;
	for (;;) {
		struct wire_frame answer;
		wire_begin(&v->out, WIRE_CLIST_GET_NEXT, 0, v->delivery);
		wire_u64(&v->out, at.bits);
		wire_end(&v->out);
		channel_ask(v, &answer);
		if (!(answer.flags & WIRE_F_FOUND))
			return;
		at = answer.store.ref;
		vat_ref *r = ref_find(v, at);
		if (r)
			continue;
		if (vref_is_promise(at)) {
			r = ref_introduce(v, at);
		} else if (vref_is_import(at)) {
			r = ref_new(v, REF_IMPORT, at);
			r->reachable = answer.flags & WIRE_F_REACHABLE;
		}
	}
}

void ref_bring_out_dead(vat *v)
{
	if (!v->walked && v->incarnation > 1)
		walk_clist(v);
	v->walked = true;
	objects_evict(v);
	settled_free_circles(v);
	ref_sweep(v);	/* what settled promises and objects let go lets others go */

	uint64_t *dropped = arena_get(v, (v->n_table + 1) * sizeof(*dropped));
	uint64_t *retired = arena_get(v, (v->n_table + 1) * sizeof(*retired));
	vat_ref **dead = arena_get(v, (v->n_table + 1) * sizeof(*dead));
	size_t n_dropped = 0, n_retired = 0;
	for (size_t i = 0; i < v->table_size; i++) {
		vat_ref *r = v->table[i];
		/* A promise nobody waits for: without a subscription it would stay in the clist for ever. */
		if (r && r->kind == REF_A_PROMISE && !r->ours)
			promise_subscribe(v, r);
		if (!r || r->kind != REF_IMPORT || r->n_holds || store_count_get(v, r))
			continue;
		if (r->reachable)
			dropped[n_dropped++] = r->vref.bits;
		dead[n_retired] = r;
		retired[n_retired++] = r->vref.bits;
	}
	emit_list(v, WIRE_DROP_IMPORTS, dropped, n_dropped);
	emit_list(v, WIRE_RETIRE_IMPORTS_SYS, retired, n_retired);
	for (size_t i = 0; i < n_retired; i++)
		ref_free(v, dead[i]);
}
