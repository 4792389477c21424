/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Waiting for promises: continuations, and the turns that run them after the method that settled (or asked),
 * before the crank ends. Those on durable objects stand in the vatstore from the crank that asked to the crank
 * that runs them. A promise's continuations are a ring, and the promise knows the last: appending, joining two
 * rings and taking one out cost the same however many wait.
 */
#include "internal.h"

/*
 * For one promise. Callers may choose it and keep it open; all of its continuations run in one crank, which has a bound
 * of syscalls, and those that are durable stand in one row, which is written when one is added.
 */
#define MAX_WAITING	5000u

static void ring_append(vat_ref *p, struct continuation *c)
{
	struct continuation *last = p->waiting;
	c->next = last ? last->next : c;
	c->prev = last ? last : c;
	c->next->prev = c->prev->next = c;
	p->waiting = c;
	p->n_waiting++;
}

static void ring_remove(vat_ref *p, struct continuation *c)
{
	if (p->waiting == c)
		p->waiting = c->prev != c ? c->prev : NULL;
	c->prev->next = c->next;
	c->next->prev = c->prev;
	c->next = c->prev = NULL;
	p->n_waiting--;
}

/* The first of them, taken out; NULL: none. */
static struct continuation *ring_take(vat_ref *p)
{
	struct continuation *c = p->waiting ? p->waiting->next : NULL;
	if (c)
		ring_remove(p, c);
	return c;
}

static struct continuation *waiting_add(vat *v, vat_ref *p, vat_ref *object, const char *method, bool on_rejection,
					bool durable)
{
	size_t len = strlen(method);
	struct continuation *c = vat_alloc(v, sizeof(*c) + len + 1);
	c->object = object;
	if (object)
		ref_hold(object);
	c->on_rejection = on_rejection;
	c->durable = durable;
	c->method = memcpy(c + 1, method, len);
	ring_append(p, c);
	p->waits_durably = p->waits_durably || durable;
	return c;
}

/* Lines "when o+d1.2 method" and "catch o+0 method". */
void waiting_load(vat *v, vat_ref *p)
{
	char *text, *save;
	size_t len;
	if (p->when_known || vref_is_none(p->vref))
		return;
	p->when_known = true;
	p->when_stored = store_get(v, store_key(v, "when", p->vref), &text, &len);
	if (!p->when_stored)
		return;
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char *object = strchr(line, ' '), *method = object ? strchr(object + 1, ' ') : NULL;
		vref_t vref;
		if (!method || !vref_parse(object + 1, (size_t)(method - object - 1), &vref) || !vref_survives(vref))
			vat_die(v, "the vatstore's continuations are corrupt: \"%s\"", line);
		waiting_add(v, p, ref_own(v, vref), method + 1, line[0] == 'c', true);
	}
}

static void put_waiting(struct jtext *t, const struct continuation *c)
{
	char text[REF_TEXT_MAX];
	jtext_put(t, c->on_rejection ? "catch " : "when ", c->on_rejection ? 6 : 5);
	jtext_put(t, text, strlen(vref_format(c->object->vref, text)));
	jtext_char(t, ' ');
	jtext_put(t, c->method, strlen(c->method));
	jtext_char(t, '\n');
}

void promise_write_waiting(vat *v, vat_ref *p)
{
	struct jtext t = JTEXT_INIT;
	struct continuation *last = p->waiting, *c = last;

	p->when_dirty = false;
	if (vref_is_none(p->vref) || p->state != UNRESOLVED)
		return;
	while (c) {
		c = c->next;
		if (c->durable)
			put_waiting(&t, c);
		if (c == last)
			break;
	}
	if (t.failed)
		vat_die(v, "memory ran out");
	if (t.len)
		store_set(v, store_key(v, "when", p->vref), t.data, t.len);
	else if (p->when_stored)
		store_delete(v, store_key(v, "when", p->vref));
	p->when_stored = t.len > 0;
	jtext_deinit(&t);
}

static void when_mark_dirty(vat *v, vat_ref *p)
{
	if (!p->when_dirty)
		store_mark_dirty(v, p);
	p->when_dirty = true;
}

/* The record in the store goes while the promise still has the number that names it. */
static void when_forget(vat *v, vat_ref *p)
{
	if (p->when_stored)
		store_delete(v, store_key(v, "when", p->vref));
	p->when_stored = false;
	p->when_known = true;
}

static void continuation_free(vat *v, struct continuation *c)
{
	if (c->fn)
		return;		/* belongs to who waits */
	if (c->durable)
		store_count(v, c->object, -1);
	if (c->object)
		ref_unhold(v, c->object);
	if (c->result)
		ref_unhold(v, c->result);
	free(c);
}

void waiting_free(vat *v, vat_ref *p)
{
	for (struct continuation *c; (c = ring_take(p));)
		continuation_free(v, c);
}

/* `p` was forwarded: who waited for it waits for `to`. */
void waiting_move(vat *v, vat_ref *p, vat_ref *to)
{
	struct continuation *last = p->waiting;

	if (last)
		waiting_load(v, to);	/* what an earlier incarnation noted comes first */
	if (last && to->waiting) {
		struct continuation *first = last->next, *to_last = to->waiting, *to_first = to_last->next;
		to_last->next = first;
		first->prev = to_last;
		last->next = to_first;
		to_first->prev = last;
	}
	if (last)
		to->waiting = last;
	to->n_waiting += p->n_waiting;
	p->waiting = NULL;
	p->n_waiting = 0;
	when_forget(v, p);
	to->waits_durably = to->waits_durably || p->waits_durably;
	if (p->waits_durably) {
		when_mark_dirty(v, to);
		ref_export(v, to);
		promise_subscribe(v, to);
	}
	if (to->waiting && !to->ours)
		promise_subscribe(v, to);
}

/* --- turns ---------------------------------------------------------------------------------------- */

static struct turn *turn_add(vat *v, vat_ref *p, vat_ref *object, const char *method, vat_ref *result)
{
	size_t len = strlen(method);
	struct turn *t = vat_alloc(v, sizeof(*t) + len + 1);
	ref_hold(p);
	if (object)
		ref_hold(object);
	if (result)
		ref_hold(result);
	t->object = object;
	t->promise = p;
	t->result = result;
	memcpy(t->method, method, len);
	*v->turns_tail = t;
	v->turns_tail = &t->next;
	return t;
}

/* Settled: everything that waited becomes a turn, in order. */
void waiting_fire(vat *v, vat_ref *p)
{
	bool rejected = p->state == REJECTED, waited = p->waiting, caught = false;

	for (struct continuation *c; (c = ring_take(p));) {
		caught = caught || c->on_rejection || c->fn;
		if (c->fn)
			turn_add(v, p, NULL, "", NULL)->inner = c;
		else if (c->on_rejection == rejected)
			turn_add(v, p, c->object, c->method, c->result);
		continuation_free(v, c);
	}
	struct vat_value value = settled_view(p->value);
	if (rejected && waited && !caught)
		vat_warn(v, "a promise was rejected and nothing catches that: %s", value_words(v, &value));
	when_forget(v, p);
	ref_condemn(v, p);
}

/* The promise of vat_then() settles as its continuation ended, unless that has settled it itself. */
static void settle_result(vat *v, vat_ref *result, bool rejected, struct encoder *e)
{
	if (result->state != UNRESOLVED)
		return;
	if (rejected && !result->waiting && vref_is_none(result->vref) && result->n_holds == 1)
		vat_warn(v, "a promise was rejected and nothing catches that: %s", encoder_words(v, e));
	promise_settle_own(v, result, rejected, e);
}

static void run_turn(vat *v, struct turn *t)
{
	struct object *o = object_of(v, t->object);
	const vat_method *row = o ? object_method(o, t->method, true) : NULL;
	struct encoder *answer = encoder_begin(v);
	answer->named = true;
	bool fulfilled = false;

	if (row) {
		t->promise->crank = v->crank;
		fulfilled = call_method(v, o, row, row->fn, row->name, settled_view(t->promise->value), true, answer);
		if (!fulfilled && !t->result)
			vat_warn(v, "continuation %s.%s failed: %s", o->kind->name, row->name, encoder_words(v, answer));
	} else {
		vat_warn(v, "nothing answers the continuation \"%s\" any more", t->method);
		encode_error(answer, "Error", "the continuation is gone");
	}
	if (t->result)
		settle_result(v, t->result, !fulfilled, answer);
	encoder_end(v, answer);
}

static void pass_outcome(vat *v, struct turn *t)
{
	struct encoder *e = encoder_begin(v);
	e->named = true;
	struct vat_value value = settled_view(t->promise->value);
	encode_value(v, e, &value);
	settle_result(v, t->result, t->promise->state == REJECTED, e);
	encoder_end(v, e);
}

void promise_run_turns(vat *v)
{
	for (struct turn *t; (t = v->turns);) {
		if (t->inner)
			t->inner->fn(v, t->inner, t->promise);
		else if (t->object)
			run_turn(v, t);
		else
			pass_outcome(v, t);
		/* Taken out only now: the vat may die in it. New ones came after it. */
		v->turns = t->next;
		if (!v->turns)
			v->turns_tail = &v->turns;
		ref_unhold(v, t->promise);
		if (t->object)
			ref_unhold(v, t->object);
		if (t->result)
			ref_unhold(v, t->result);
		free(t);
	}
}

/* Memory only: the vat is over. */
void waiting_discard(vat_ref *p)
{
	for (struct continuation *c; (c = ring_take(p));)
		if (!c->fn)
			free(c);
}

void promises_close(vat *v)
{
	for (struct turn *t; (t = v->turns);) {
		v->turns = t->next;
		free(t);
	}
	free(v->again);
	combinations_close(v);
	interfaces_close(v);
}

/* --- asking for a turn ---------------------------------------------------------------------------- */

void promise_subscribe(vat *v, vat_ref *p)
{
	if (p->state != UNRESOLVED || p->subscribed || vref_is_none(p->vref))
		return;
	wire_begin(&v->out, WIRE_SUBSCRIBE, 0, v->delivery);
	wire_u64(&v->out, p->vref.bits);
	wire_end(&v->out);
	channel_pack(v);
	p->subscribed = true;
}

/* No method: the result takes the outcome over. */
static void wait_for(vat *v, vat_ref *p, struct object *o, const char *method, bool on_rejection, vat_ref *result)
{
	waiting_load(v, p);
	bool durable = method && kind_is_durable(o->kind);
	struct continuation *c = waiting_add(v, p, method ? o->ref : NULL, method ? method : "", on_rejection, durable);
	c->result = result;
	if (result)
		ref_hold(result);
	if (durable) {
		store_count(v, o->ref, 1);
		when_mark_dirty(v, p);
		/* The kernel must know the promise: it is the one that can tell the next incarnation. */
		if (p->ours)
			ref_export(v, p);
	}
	if (durable || !p->ours)
		promise_subscribe(v, p);
}

void promise_wait(vat *v, vat_ref *p, struct continuation *c)
{
	p = promise_follow(v, p);
	assert(p->kind == REF_A_PROMISE && c->fn);
	if (promise_is_settled(p)) {
		turn_add(v, p, NULL, "", NULL)->inner = c;
		return;
	}
	waiting_load(v, p);
	ring_append(p, c);
	if (!p->ours)
		promise_subscribe(v, p);
}

bool promise_unwait(vat *v, vat_ref *p, struct continuation *c)
{
	if (!c->next)
		return false;
	ring_remove(promise_follow(v, p), c);
	return true;
}

/* An object where a promise may stand: a promise fulfilled with it. */
vat_ref *promise_of(vat *v, vat_ref *r)
{
	if (r->kind == REF_A_PROMISE)
		return promise_follow(v, r);
	struct encoder *e = encoder_begin(v);
	e->named = true;
	encode_ref(v, e, r);
	vat_ref *p = promise_settled_new(v, false, e);
	encoder_end(v, e);
	return p;
}

/* What is to be waited for, once it is right; NULL: the method failed. */
static vat_ref *may_wait(vat *v, const char *what, vat_ref *promise, const struct object *o, const char *method)
{
	if (!promise) {
		call_fail(v, "TypeError", "%s of no promise", what);
		return NULL;
	}
	ref_check(v, promise, what);
	if (method && !object_method(o, method, true)) {
		call_fail(v, "TypeError", "%s: %s has no continuation or method \"%s\"", what, o->kind->name, method);
		return NULL;
	}
	vat_ref *p = promise_of(v, promise);
	if (promise_is_settled(p))
		return p;
	waiting_load(v, p);
	if (p->n_waiting < MAX_WAITING)
		return p;
	call_fail(v, "RangeError", "%s: %u continuations wait for this promise already", what, p->n_waiting);
	return NULL;
}

static void when_or_catch(vat *v, vat_ref *promise, void *self, const char *method, bool on_rejection)
{
	const char *what = on_rejection ? "vat_catch()" : "vat_when()";
	struct object *o = object_from_self(v, self, what);
	vat_ref *p = may_wait(v, what, promise, o, method);
	if (!p)
		return;
	if (!promise_is_settled(p))
		wait_for(v, p, o, method, on_rejection, NULL);
	else if ((p->state == REJECTED) == on_rejection)
		turn_add(v, p, o->ref, method, NULL);
}

void vat_when(vat *v, vat_ref *promise, void *self, const char *method)
{
	when_or_catch(v, promise, self, method, false);
}

void vat_catch(vat *v, vat_ref *promise, void *self, const char *method)
{
	when_or_catch(v, promise, self, method, true);
}

vat_ref *vat_then(vat *v, vat_ref *promise, void *self, const char *fulfilled, const char *rejected)
{
	struct object *o = object_from_self(v, self, "vat_then()");
	vat_ref *p = may_wait(v, "vat_then()", promise, o, fulfilled);
	if (!p || !may_wait(v, "vat_then()", promise, o, rejected))
		return NULL;
	vat_ref *result = vat_promise_new(v);
	if (!promise_is_settled(p)) {
		wait_for(v, p, o, fulfilled, false, result);
		wait_for(v, p, o, rejected, true, result);
		return result;
	}
	const char *method = p->state == REJECTED ? rejected : fulfilled;
	turn_add(v, p, method ? o->ref : NULL, method ? method : "", result);
	return result;
}
