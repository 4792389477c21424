/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of references: every vref that is in our clist and was seen by this incarnation, and local ones
 * that have none yet.
 *
 * What keeps a reference: holds (n_holds), values in the vatstore (lasting and passing, counted there too because
 * memory forgets), the kernel (an own object that it reaches), and until the crank ends the crank itself. Own
 * objects without any of these go when the crank ends; imports go at bringOutYourDead, all at once, because telling
 * the kernel costs a syscall each (sweep.c).
 *
 * What the store knows all about need not be in memory (cache.c).
 *
 * Entries come in slabs and are never given back to the heap: a stale pointer that a method kept finds an entry whose crank
 * is over and which nothing holds, and the vat dies with a sentence instead of corrupting itself. They are used
 * again in the order in which they came free, and late.
 */
#include "internal.h"

#define RESTING		1024	/* free entries that are not used again yet */
#define SLAB_REFS	64u	/* entries made at once */

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

static void table_resize(vat *v, size_t size)
{
	size_t old_size = v->table_size;
	vat_ref **old = v->table;
	v->table_size = size;
	v->table = vat_alloc(v, size * sizeof(*v->table));
	for (size_t i = 0; i < old_size; i++)
		if (old[i])
			v->table[table_slot(v, old[i]->vref)] = old[i];
	free(old);
}

static void table_insert(vat *v, vat_ref *r)
{
	if ((v->n_table + 1) * 4 > v->table_size * 3)
		table_resize(v, v->table_size ? v->table_size * 2 : 64);
	v->table[table_slot(v, r->vref)] = r;
	v->n_table++;
}

void refs_shrink(vat *v)
{
	size_t size = v->table_size;
	while (size > 64 && v->n_table * 8 < size)
		size /= 2;
	if (size < v->table_size)
		table_resize(v, size);
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
	free(v->suspects);
	free(v->dirty);
}

/* In the order in which they came free, and late. */
static vat_ref *take_free(vat *v)
{
	vat_ref *r = v->free_refs;
	if (v->n_free <= RESTING)
		return slab_take(v);
	v->free_refs = r->link;
	v->n_free--;
	return r;
}

static void put_free(vat *v, vat_ref *r)
{
	r->link = NULL;
	*(v->free_refs ? v->free_tail : &v->free_refs) = r;
	v->free_tail = &r->link;
	v->n_free++;
}

vat_ref *ref_new(vat *v, enum ref_kind kind, vref_t vref)
{
	vat_ref *r = take_free(v);
	*r = (vat_ref){ .vref = vref, .kind = kind, .crank = v->crank };
	if (vref_is_none(vref))
		return r;
	table_insert(v, r);
	if (kind != REF_LOCAL)
		ref_suspect(v, r);
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

static void free_one(vat *v, vat_ref *r)
{
	ref_unsuspect(v, r);
	ref_forget_vref(v, r);
	assert(!r->object && !r->waiting);
	if (r->kind == REF_IMPORT)
		interface_forget(v, r);
	r->when_dirty = r->lasting.dirty = r->passing.dirty = false;
	r->kind = REF_FREE;
	r->n_holds = r->n_named = 0;
	r->crank = 0;
	r->whole = r->facets = r->next_facet = NULL;
	put_free(v, r);
}

void ref_free(vat *v, vat_ref *r)
{
	if (r->lasting.dirty && r->lasting.there)
		store_delete(v, store_key(v, "count", r->vref));
	if (r->passing.dirty && r->passing.there)
		store_delete(v, store_life_key(v, "count", r->vref));
	for (vat_ref *f; (f = r->facets);) {
		r->facets = f->next_facet;
		free_one(v, f);
	}
	free_one(v, r);
}

/* --- found by name -------------------------------------------------------------------------------- */

vat_ref *ref_facet(vat *v, vat_ref *whole, unsigned facet)
{
	for (vat_ref *f = whole->facets; f; f = f->next_facet)
		if (f->facet == facet)
			return f;
	vref_t vref = vref_is_kept(whole->vref) ? (vref_t){ whole->vref.bits | (facet + 1) } : VREF_NONE;
	vat_ref *f = ref_new(v, REF_LOCAL, vref);
	f->facet = (uint8_t)facet;
	f->whole = whole;
	f->next_facet = whole->facets;
	whole->facets = f;
	return f;
}

/* The table does not know it: durable or virtual, put away, or from an earlier incarnation. */
vat_ref *ref_own(vat *v, vref_t vref)
{
	vat_ref *r = ref_find(v, vref);
	if (r)
		return r;
	if (!vref_is_kept(vref) && vref.bits != VREF_ROOT.bits) {
		char text[REF_TEXT_MAX];
		vat_die(v, "the kernel named %s, which this incarnation never exported", vref_format(vref, text));
	}
	unsigned facet = vref_is_kept(vref) ? vref.bits & 0xff : 0;
	if (!facet)
		return ref_new(v, REF_LOCAL, vref);
	vref_t whole = { vref.bits & ~UINT64_C(0xff) };
	r = ref_find(v, whole);
	return ref_facet(v, r ? r : ref_new(v, REF_LOCAL, whole), facet - 1);
}

/* Numbers of imports rise: one above all that were seen has never been ours, and no value names it. */
static vat_ref *introduce_import(vat *v, vref_t vref)
{
	vat_ref *r = ref_new(v, REF_IMPORT, vref);
	if (vref_number(vref) > v->top_import) {
		v->top_import = vref_number(vref);
		r->lasting.known = r->passing.known = v->top_known;
	}
	return r;
}

vat_ref *ref_introduce(vat *v, vref_t vref)
{
	vat_ref *r = ref_find(v, vref);
	if (!r && vref_is_promise(vref)) {
		r = ref_new(v, REF_A_PROMISE, vref);
		r->when_known = v->incarnation == 1;	/* else an earlier incarnation may have been waiting for it */
	} else if (!r && vref_is_import(vref)) {
		r = introduce_import(v, vref);
	} else if (!r) {
		r = ref_own(v, vref);
	}
	if (r->kind == REF_IMPORT) {
		if (!r->reachable)
			ref_suspect(v, r);	/* was dropped and only recognised */
		r->reachable = true;
	}
	r->crank = v->crank;
	return r;
}

/* --- exports -------------------------------------------------------------------------------------- */

/*
 * What the kernel does with a durable or virtual object is remembered in the store too: memory forgets the entry, and
 * the next incarnation must not delete what the kernel reaches, nor forget to retire, nor retire twice. Of an object
 * with facets there is one row, ":r-c", a letter for each facet up to the last that matters.
 */
void ref_load_exported(vat *v, vat_ref *r)
{
	char *text;
	size_t len;
	vat_ref *w = ref_whole(r);
	if (w->reach_known || !vref_is_kept(w->vref))
		return;
	w->reach_known = true;
	if (!store_get(v, store_key(v, "exported", w->vref), &text, &len))
		return;
	if (text[0] != ':') {
		w->recognizable = true;
		w->reachable = strcmp(text, "reachable") == 0;
		return;
	}
	for (unsigned i = 0; text[i + 1] && i < 255; i++) {
		if (text[i + 1] == '-')
			continue;
		vat_ref *f = ref_facet(v, w, i);
		f->recognizable = true;
		f->reachable = text[i + 1] == 'r';
	}
}

static void write_exported(vat *v, vat_ref *w)
{
	char letters[257] = ":", *end = letters + 1;
	const char *text = w->reachable ? "reachable" : w->recognizable ? "recognizable" : "";
	const char *key = store_key(v, "exported", w->vref);

	if (w->facets) {
		memset(letters + 1, '-', 255);
		for (vat_ref *f = w->facets; f; f = f->next_facet) {
			if (!f->recognizable)
				continue;
			letters[f->facet + 1] = f->reachable ? 'r' : 'c';
			end = end > letters + f->facet + 2 ? end : letters + f->facet + 2;
		}
		*end = 0;
		text = letters[1] ? letters : "";
	}
	if (*text)
		store_set(v, key, text, strlen(text));
	else
		store_delete(v, key);
}

void ref_set_exported(vat *v, vat_ref *r, bool reachable, bool recognizable)
{
	if (r->whole)
		ref_load_exported(v, r);	/* one row for all of them */
	r->reachable = reachable;
	r->recognizable = recognizable;
	ref_whole(r)->reach_known = true;
	if (vref_is_kept(r->vref))
		write_exported(v, ref_whole(r));
}

void ref_name(vat *v, vat_ref *r)
{
	if (vref_is_none(r->vref))
		ref_give_vref(v, r, vref_make(false, false, v->next_export++));
}

static void export_object(vat *v, vat_ref *r)
{
	ref_name(v, r);
	ref_load_exported(v, r);
	if (!r->reachable)
		ref_set_exported(v, r, true, true);
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

/* --- holds ---------------------------------------------------------------------------------------- */

void ref_hold(vat_ref *r)
{
	r->n_holds++;
	if (r->whole)
		r->whole->n_holds++;
}

void ref_unhold(vat *v, vat_ref *r)
{
	vat_ref *w = ref_whole(r);
	assert(r->n_holds > 0);
	if (w != r)
		r->n_holds--;
	if (--w->n_holds == 0)
		ref_condemn(v, w);
}

void ref_hold_named(vat_ref *r)
{
	ref_hold(r);
	ref_whole(r)->n_named++;
}

void ref_unhold_named(vat *v, vat_ref *r, bool still)
{
	ref_whole(r)->n_named--;
	if (!still) {
		ref_unhold(v, r);
		return;
	}
	assert(r->n_holds > 0);
	r->n_holds--;
	if (r->whole)
		r->whole->n_holds--;
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
		return arena_printf(v, "an object of kind %s, which %s", kind->name,
				    kind->is_virtual ? "is virtual" : "has no state table");
	return "an object";
}
