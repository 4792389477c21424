/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A little in each crank: what takes more calls of the vatstore than one crank should make. When a crank leaves some
 * of it, the vat asks for a wake, so that an idle vat gets done too.
 *
 *	deletions that were begun ("gone.o+d1.2"; sweep.c)
 *	rows of earlier incarnations' virtual objects and passing collections ("life.1.…"): all of them go
 *	when the dead are brought out: suspects, and the first time also the imports of earlier incarnations
 */
#include "internal.h"

#define CALLS	400	/* in one crank */

void clean_begin(vat *v)
{
	v->clean.calls = CALLS;
	v->clean.until = v->n_calls + CALLS;
	v->clean.left = v->clean.done = false;
}

bool cleaning_is_over(vat *v)
{
	if (v->n_calls < v->clean.until)
		return false;
	v->clean.left = true;
	return true;
}

/* The key after `table`, a prefix; NULL: none begins with it. */
static const char *next_in(vat *v, const char *after, const char *table)
{
	const char *key = store_next(v, after);
	return key && strncmp(key, table, strlen(table)) == 0 ? key : NULL;
}

/*
 * What the row counted need not be counted down: each incarnation counts its own. But a durable object that nothing
 * else names is to be looked at. (Imports are looked at by walking the clist.)
 */
static void delete_life_row(vat *v, const char *key, const char *row)
{
	vref_t vref;
	store_delete(v, key);
	if (strncmp(row, "count.", 6) == 0 && vref_parse(row + 6, strlen(row + 6), &vref) && vref_is_durable(vref))
		ref_condemn(v, ref_own(v, vref));
}

static void clean_lives(vat *v)
{
	const char *key = "life.";
	while (v->clean.lives && !cleaning_is_over(v)) {
		char *rest;
		key = next_in(v, key, "life.");
		if (!key) {
			v->clean.lives = false;
		} else if (strtoull(key + 5, &rest, 10) == v->incarnation) {
			key = arena_printf(v, "life.%llu/", (unsigned long long)v->incarnation);	/* '/' follows '.' */
		} else {
			delete_life_row(v, key, *rest ? rest + 1 : rest);
		}
	}
}

void clean_weak_import(vat *v, vref_t vref)
{
	if (v->weak->key_gone(v, vref))
		return;
	store_set(v, store_key(v, "gone", vref), "", 0);
	v->clean.gone = v->clean.left = true;
	v->clean.gone_at = VREF_NONE;	/* it may stand before what was looked at last */
}

static void clean_gone(vat *v)
{
	const char *key = vref_is_none(v->clean.gone_at) ? "gone." : store_key(v, "gone", v->clean.gone_at);
	while (v->clean.gone && !cleaning_is_over(v)) {
		vref_t vref;
		key = next_in(v, key, "gone.");
		if (!key) {
			v->clean.gone = false;
			return;
		}
		if (!vref_parse(key + 5, strlen(key + 5), &vref) || vref_is_promise(vref))
			continue;
		if (vref_is_durable(vref)) {
			vat_ref *r = ref_own(v, vref);
			r->deferred = true;
			ref_condemn(v, r);
		} else if (v->weak && !v->weak->key_gone(v, vref)) {
			v->clean.left = true;	/* this one again in the next crank */
			return;
		} else {
			store_delete(v, key);
		}
		v->clean.gone_at = vref;
	}
}

void ref_bring_out_dead(vat *v)
{
	v->clean.bring = true;
}

static void clean_once(vat *v)
{
	clean_gone(v);
	clean_lives(v);
	if (v->clean.bring) {
		settled_free_circles(v);
		ref_sweep(v);	/* what circles of promises let go */
		v->n_examine = v->n_suspects;
		v->clean.clist = !v->top_known;
		v->clean.bring = false;
	} else if (v->n_condemned) {
		ref_sweep(v);
	}
	ref_examine(v);
}

void clean(vat *v)
{
	v->clean.until = v->n_calls + v->clean.calls;
	ref_sweep(v);
	if (!v->clean.done)
		clean_once(v);
	v->clean.done = true;
	v->clean.calls = v->clean.until > v->n_calls ? v->clean.until - v->n_calls : 0;
}

void clean_end(vat *v)
{
	if (!v->clean.left)
		return;
	wire_begin(&v->out, WIRE_WAKE_ME, 0, 0);
	wire_end(&v->out);
}

void clean_start(vat *v)
{
	bool first = v->incarnation == 1;
	v->clean = (struct cleaning){ .lives = !first, .gone = !first, .at = VREF_NONE, .gone_at = VREF_NONE };
	v->top_known = first;
	clean_begin(v);
}
