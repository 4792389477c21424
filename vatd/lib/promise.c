/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promises. In the kernel's clist a promise lives until it settles; here its identity goes on as long as
 * somebody holds it: the value is kept, and a settled promise that is sent again gets a fresh number,
 * resolved when the crank ends.
 *
 *	UNRESOLVED ──▶ FULFILLED | REJECTED	by a notify, or by us when it is ours
 *	     └───────▶ FORWARDED		ours, resolved to another unresolved promise: everybody looks there
 *
 * Continuations run in turns of their own after the method that settled (or asked), before the crank ends.
 * Those on durable objects stand in the vatstore from the crank that asked to the crank that runs them.
 */
#include "internal.h"

bool promise_is_settled(const vat_ref *p)
{
	return p->kind == REF_A_PROMISE && (p->state == FULFILLED || p->state == REJECTED);
}

struct vat_value settled_view(const struct settled *s)
{
	return (struct vat_value){ s->text, s->text + s->text_len, s->slots, s->n_slots };
}

static struct settled *settled_new(vat *v, const struct vat_value *value)
{
	size_t len = (size_t)(value->end - value->at), slots = value->n_slots * sizeof(vat_ref *);
	struct settled *s = vat_alloc(v, sizeof(*s) + slots + len + 1);
	s->text_len = len;
	s->n_slots = value->n_slots;
	s->text = (char *)s->slots + slots;
	memcpy(s->text, value->at, len);
	for (size_t i = 0; i < value->n_slots; i++) {
		s->slots[i] = value->slots[i];
		ref_hold(s->slots[i]);
	}
	return s;
}

static void settled_free(vat *v, struct settled *s)
{
	for (size_t i = 0; s && i < s->n_slots; i++)
		ref_unhold(v, s->slots[i]);
	free(s);
}

/* --- continuations -------------------------------------------------------------------------------- */

static struct continuation *waiting_add(vat *v, vat_ref *p, vat_ref *object, const char *method, bool on_rejection,
					bool durable)
{
	size_t len = strlen(method);
	struct continuation *c = vat_alloc(v, sizeof(*c) + len + 1), **tail = &p->waiting;
	while (*tail)
		tail = &(*tail)->next;
	*tail = c;
	c->object = object;
	c->on_rejection = on_rejection;
	c->durable = durable;
	memcpy(c->method, method, len);
	return c;
}

/* Lines "when o+d1.2 method" and "catch o+0 method". */
static void waiting_load(vat *v, vat_ref *p)
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
		vat_ref *r = ref_find(v, vref);
		if (!r)
			r = ref_new(v, REF_LOCAL, vref);
		waiting_add(v, p, r, method + 1, line[0] == 'c', true);
	}
}

void promise_write_waiting(vat *v, vat_ref *p)
{
	struct jtext t = JTEXT_INIT;
	char text[REF_TEXT_MAX];

	p->when_dirty = false;
	if (vref_is_none(p->vref) || p->state != UNRESOLVED)
		return;
	for (struct continuation *c = p->waiting; c; c = c->next) {
		if (!c->durable)
			continue;
		jtext_put(&t, c->on_rejection ? "catch " : "when ", c->on_rejection ? 6 : 5);
		jtext_put(&t, text, strlen(vref_format(c->object->vref, text)));
		jtext_char(&t, ' ');
		jtext_put(&t, c->method, strlen(c->method));
		jtext_char(&t, '\n');
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

static void turn_add(vat *v, vat_ref *p, vat_ref *object, const char *method, vat_ref *result)
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
}

static void continuation_free(vat *v, struct continuation *c)
{
	if (c->durable)
		store_count(v, c->object, -1);
	else if (c->object)
		ref_unhold(v, c->object);
	if (c->result)
		ref_unhold(v, c->result);
	free(c);
}

/* Settled: everything that waited becomes a turn, in order. */
static void fire(vat *v, vat_ref *p)
{
	bool rejected = p->state == REJECTED, waited = p->waiting, caught = false;

	for (struct continuation *c; (c = p->waiting);) {
		p->waiting = c->next;
		if (c->on_rejection == rejected)
			turn_add(v, p, c->object, c->method, c->result);
		caught = caught || c->on_rejection;
		continuation_free(v, c);
	}
	if (rejected && waited && !caught)
		vat_warn(v, "a promise was rejected and nothing catches that: %.*s", (int)p->value->text_len, p->value->text);
	when_forget(v, p);
	ref_condemn(v, p);
}

void promise_free(vat *v, vat_ref *p)
{
	for (struct continuation *c; (c = p->waiting);) {
		p->waiting = c->next;
		continuation_free(v, c);
	}
	settled_free(v, p->value);
	p->value = NULL;
	if (p->state == FORWARDED)
		ref_unhold(v, p->link);
}

/* Memory only. */
void promise_discard(vat *v, vat_ref *p)
{
	(void)v;
	for (struct continuation *c; (c = p->waiting);) {
		p->waiting = c->next;
		free(c);
	}
	free(p->value);
	p->value = NULL;
}

void promises_close(vat *v)
{
	for (struct turn *t; (t = v->turns);) {
		v->turns = t->next;
		free(t);
	}
}

/* The promise of vat_then() settles as its continuation ended, unless that has settled it itself. */
static void settle_result(vat *v, vat_ref *result, bool rejected, struct encoder *e)
{
	if (result->state != UNRESOLVED)
		return;
	if (rejected && !result->waiting && vref_is_none(result->vref) && result->n_holds == 1)
		vat_warn(v, "a promise was rejected and nothing catches that: %.*s", (int)e->text.len, e->text.data);
	promise_settle_own(v, result, rejected, e);
}

static void run_turn(vat *v, struct turn *t)
{
	struct object *o = object_of(v, t->object);
	const vat_method *row = o ? object_method(o, t->method, true) : NULL;
	struct encoder *answer = encoder_begin(v);
	bool fulfilled = false;

	if (row) {
		t->promise->crank = v->crank;
		fulfilled = call_method(v, o, row, row->fn, row->name, settled_view(t->promise->value), true, answer);
		if (!fulfilled && !t->result)
			vat_warn(v, "continuation %s.%s failed: %.*s", o->kind->name, row->name, (int)answer->text.len,
				 answer->text.data);
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
	struct vat_value value = settled_view(t->promise->value);
	encode_value(v, e, &value);
	settle_result(v, t->result, t->promise->state == REJECTED, e);
	encoder_end(v, e);
}

void promise_run_turns(vat *v)
{
	for (struct turn *t; (t = v->turns);) {
		if (t->object)
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
	bool durable = method && o->kind->state;
	struct continuation *c = waiting_add(v, p, method ? o->ref : NULL, method ? method : "", on_rejection, durable);
	c->result = result;
	if (result)
		ref_hold(result);
	if (durable) {
		store_count(v, o->ref, 1);
		when_mark_dirty(v, p);
		/* The kernel must know the promise: it is the one that can tell the next incarnation. */
		if (p->ours && vref_is_none(p->vref)) {
			ref_export(v, p);
			promise_subscribe(v, p);
		}
	} else if (method) {
		ref_hold(o->ref);
	}
	if (!p->ours)
		promise_subscribe(v, p);
}

/* An object where a promise may stand: a promise fulfilled with it. */
static vat_ref *as_promise(vat *v, vat_ref *r)
{
	if (r->kind == REF_A_PROMISE)
		return ref_settled_link(r);
	struct encoder *e = encoder_begin(v);
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
	return as_promise(v, promise);
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

/* --- settling ------------------------------------------------------------------------------------- */

static void put_resolution(vat *v, vref_t vref, bool rejected, const struct encoder *e)
{
	uint64_t few[8], *slots = e->n_slots <= 8 ? few : arena_get(v, e->n_slots * sizeof(*slots));
	uint32_t flags = rejected ? WIRE_R_REJECTED : encoder_single_ref(e) ? WIRE_R_REF : 0;
	for (size_t i = 0; i < e->n_slots; i++)
		slots[i] = ref_export(v, e->slots[i]);
	wire_put_resolution(&v->out, vref, flags, e->text.data, e->text.len, slots, e->n_slots);
}

static void emit_resolve(vat *v, vref_t vref, bool rejected, const struct encoder *e)
{
	/*
	 * Exporting a durable object may read the store, which sends what is collected: so before the frame
	 * begins.
	 */
	for (size_t i = 0; i < e->n_slots; i++)
		ref_export(v, e->slots[i]);
	wire_begin(&v->out, WIRE_RESOLVE, 0, v->delivery);
	wire_u32(&v->out, 1);
	wire_u32(&v->out, 0);
	put_resolution(v, vref, rejected, e);
	wire_end(&v->out);
	channel_pack(v);
}

/* Numbered anew and named anew a value can be longer than it came. */
static void must_fit(vat *v, bool *rejectedp, struct encoder *e)
{
	if (e->text.len <= WIRE_MAX_BODY)
		return;
	encoder_reset(v, e);
	encode_error(e, "Error", "the value of a promise grew too large to be sent on");
	*rejectedp = true;
}

/*
 * What settling with this value comes to: a value that is exactly a settled promise is that promise's
 * outcome; one that is an unresolved promise is forwarding, and that promise returns.
 */
static vat_ref *outcome(vat *v, bool *rejectedp, struct encoder *e)
{
	vat_ref *single = *rejectedp ? NULL : encoder_single_ref(e);
	vat_ref *p = single ? ref_settled_link(single) : NULL;
	if (!p || p->kind != REF_A_PROMISE)
		return NULL;
	if (!promise_is_settled(p))
		return p;
	struct vat_value value = settled_view(p->value);
	*rejectedp = p->state == REJECTED;
	encoder_reset(v, e);
	encode_value(v, e, &value);
	must_fit(v, rejectedp, e);
	return NULL;
}

static void settle(vat *v, vat_ref *p, bool rejected, const struct vat_value *value)
{
	p->state = rejected ? REJECTED : FULFILLED;
	p->value = settled_new(v, value);
	fire(v, p);
	ref_forget_vref(v, p);
	p->subscribed = false;
}

static void forward(vat *v, vat_ref *p, vat_ref *to)
{
	bool durable = false;
	struct continuation **tail = &to->waiting;

	if (p->waiting)
		waiting_load(v, to);
	while (*tail)
		tail = &(*tail)->next;
	*tail = p->waiting;
	p->waiting = NULL;
	for (struct continuation *c = *tail; c; c = c->next)
		durable = durable || c->durable;
	when_forget(v, p);
	ref_hold(to);
	p->state = FORWARDED;
	p->link = to;
	ref_forget_vref(v, p);
	ref_condemn(v, p);
	if (durable) {
		when_mark_dirty(v, to);
		ref_export(v, to);
		promise_subscribe(v, to);
	}
	if (to->waiting && !to->ours)
		promise_subscribe(v, to);
}

void promise_settle_own(vat *v, vat_ref *p, bool rejected, struct encoder *e)
{
	vat_ref *to = outcome(v, &rejected, e);
	if (to == p) {
		encoder_reset(v, e);
		encode_error(e, "TypeError", "a promise was resolved to itself");
		rejected = true;
		to = NULL;
	}
	waiting_load(v, p);
	if (!vref_is_none(p->vref))
		emit_resolve(v, p->vref, rejected, e);
	if (to) {
		forward(v, p, to);
		return;
	}
	struct vat_value value = encoder_view(e);
	settle(v, p, rejected, &value);
}

void promise_resolve_vref(vat *v, vref_t result, bool rejected, struct encoder *e)
{
	vat_ref *p = ref_find(v, result);
	if (p && p->state == UNRESOLVED) {
		promise_settle_own(v, p, rejected, e);
		return;
	}
	outcome(v, &rejected, e);
	emit_resolve(v, result, rejected, e);
}

vat_ref *promise_settled_new(vat *v, bool rejected, struct encoder *e)
{
	vat_ref *p = vat_promise_new(v);
	struct vat_value value = encoder_view(e);
	settle(v, p, rejected, &value);
	return p;
}

/*
 * Settled promises that were named again: all in one batch, because they may name each other, and the
 * kernel translates a whole batch before it forgets any of its promises.
 */
void promise_emit_reexported(vat *v)
{
	size_t n = 0, base = 0;
	if (v->n_reexported == 0)
		return;
	for (; n < v->n_reexported; n++) {	/* grows */
		struct settled *s = v->reexported[n]->value;
		for (size_t i = 0; i < s->n_slots; i++)
			ref_export(v, s->slots[i]);
	}
	for (; base < n; base += WIRE_MAX_SLOTS) {
		size_t count = n - base < WIRE_MAX_SLOTS ? n - base : WIRE_MAX_SLOTS;
		wire_begin(&v->out, WIRE_RESOLVE, 0, v->delivery);
		wire_u32(&v->out, (uint32_t)count);
		wire_u32(&v->out, 0);
		for (size_t i = base; i < base + count; i++) {
			vat_ref *p = v->reexported[i];
			struct vat_value value = settled_view(p->value);
			struct encoder *e = encoder_begin(v);
			bool rejected = p->state == REJECTED;
			encode_value(v, e, &value);
			must_fit(v, &rejected, e);
			put_resolution(v, p->vref, rejected, e);
			encoder_end(v, e);
		}
		wire_end(&v->out);
		channel_pack(v);
	}
	for (size_t i = 0; i < n; i++) {
		ref_forget_vref(v, v->reexported[i]);
		ref_unhold(v, v->reexported[i]);
	}
	v->n_reexported = 0;
}

/* --- notify --------------------------------------------------------------------------------------- */

static void take_resolution(vat *v, vat_ref *p, const struct wire_resolution *r)
{
	static const char bad[] = "{\"#error\":\"the promise's value is not smallcaps\",\"name\":\"TypeError\"}";
	const char *text = (const char *)r->value.body.data;
	size_t len = r->value.body.len;
	vat_ref **slots = arena_get(v, (r->value.n_slots + 1) * sizeof(*slots));

	for (uint32_t i = 0; i < r->value.n_slots; i++)
		slots[i] = ref_introduce(v, wire_slot(&r->value, i));
	bool good = len > 1 && text[0] == '#' && jtext_check(text + 1, len - 1);
	struct vat_value value = { good ? jtext_start(text + 1) : bad, good ? text + len : bad + sizeof(bad) - 1, slots,
				   r->value.n_slots };
	p->state = !good || (r->flags & WIRE_R_REJECTED) ? REJECTED : FULFILLED;
	p->value = settled_new(v, &value);
}

void promise_deliver_notify(vat *v, const struct wire_frame *f)
{
	vat_ref **batch = arena_get(v, f->list.count * sizeof(*batch));
	const uint8_t *pos = f->list.first;
	struct wire_resolution r;

	/* They may name each other: first all values, then the names go, then whoever waits. */
	for (uint32_t i = 0; i < f->list.count; i++) {
		pos = wire_next_resolution(pos, &r);
		batch[i] = ref_introduce(v, r.promise);
		if (batch[i]->state == UNRESOLVED && !batch[i]->value)
			take_resolution(v, batch[i], &r);
	}
	for (uint32_t i = 0; i < f->list.count; i++) {
		vat_ref *p = batch[i];
		if (vref_is_none(p->vref))
			continue;
		waiting_load(v, p);
		fire(v, p);
		ref_forget_vref(v, p);
	}
}

/* --- own promises and sending --------------------------------------------------------------------- */

vat_ref *vat_promise_new(vat *v)
{
	vat_ref *p = ref_new(v, REF_A_PROMISE, VREF_NONE);
	p->ours = p->when_known = true;
	ref_condemn(v, p);
	return p;
}

static bool may_settle(vat *v, vat_ref *p, const char *what)
{
	if (!p || p->kind != REF_A_PROMISE) {
		call_fail(v, "TypeError", "%s of something that is no promise", what);
		return false;
	}
	ref_check(v, p, what);
	if (p->state == UNRESOLVED && p->ours)
		return true;
	call_fail(v, "Error", p->ours ? "%s: the promise is settled already" : "%s: this vat does not decide the promise", what);
	return false;
}

int vat_resolve(vat *v, vat_ref *promise, const char *signature, ...)
{
	if (!may_settle(v, promise, "vat_resolve()"))
		return -1;
	struct encoder *e = encoder_begin(v);
	va_list ap;
	va_start(ap, signature);
	encode_one(v, e, *signature ? signature : "u", &ap);
	va_end(ap);
	int r = e->problem[0] ? call_fail(v, "TypeError", "vat_resolve(): %s", e->problem) : 0;
	if (r == 0)
		promise_settle_own(v, promise, false, e);
	encoder_end(v, e);
	return r;
}

int vat_reject(vat *v, vat_ref *promise, const char *name, const char *fmt, ...)
{
	if (!may_settle(v, promise, "vat_reject()"))
		return -1;
	struct encoder *e = encoder_begin(v);
	char *text = NULL;
	va_list ap;
	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		vat_die(v, "memory ran out");
	va_end(ap);
	encode_error(e, name, text);
	free(text);
	promise_settle_own(v, promise, true, e);
	encoder_end(v, e);
	return 0;
}

static vat_ref *rejected_new(vat *v, const char *name, const char *message)
{
	struct encoder *e = encoder_begin(v);
	encode_error(e, name, message);
	vat_ref *p = promise_settled_new(v, true, e);
	encoder_end(v, e);
	return p;
}

/*
 * Where a message to this reference goes now; NULL: nowhere, and *answerp is the rejection. A promise as the
 * value is data too, as the kernel has it: who wants to be followed says REF, and then we see where it led.
 * Such values may name each other in a circle.
 */
static vat_ref *route(vat *v, vat_ref *target, vat_ref **answerp)
{
	target = ref_settled_link(target);
	if (!promise_is_settled(target))
		return target;
	struct vat_value value = settled_view(target->value);
	vat_ref *r = value_ref(&value);
	if (target->state == REJECTED)
		*answerp = target;
	else if (!r || r->kind == REF_A_PROMISE)
		*answerp = rejected_new(v, "TypeError", "the target of the message is a promise for data");
	else
		return r;
	return NULL;
}

static void emit_send(vat *v, vat_ref *target, vref_t result, const struct encoder *e)
{
	uint64_t few[8], *slots = e->n_slots <= 8 ? few : arena_get(v, e->n_slots * sizeof(*slots));
	uint64_t to = ref_export(v, target);
	for (size_t i = 0; i < e->n_slots; i++)
		slots[i] = ref_export(v, e->slots[i]);
	wire_begin(&v->out, WIRE_SEND, 0, v->delivery);
	wire_u64(&v->out, to);
	wire_u64(&v->out, vref_is_none(result) ? 0 : result.bits);
	wire_put_capdata(&v->out, e->text.data, e->text.len, slots, e->n_slots);
	wire_end(&v->out);
	channel_pack(v);
}

/* The arguments: by signature, or an array value. */
static void put_arguments(vat *v, struct encoder *e, const char *signature, va_list *ap, const vat_value *list)
{
	if (list) {
		encode_value(v, e, list);
		return;
	}
	jtext_char(&e->text, '[');
	encode_args(v, e, signature, ap);
	jtext_char(&e->text, ']');
}

/* The answer's promise; NULL when none was wanted and nothing went wrong. */
static vat_ref *send_message(vat *v, vat_ref *target, const char *method, const char *signature, va_list *ap,
			     const vat_value *list, bool wanted)
{
	vat_ref *answer = NULL;

	if (!target) {
		call_fail(v, "TypeError", "\"%s\" is sent to no reference", method);
		return rejected_new(v, "TypeError", "sent to no reference");
	}
	ref_check(v, target, "sent to");
	target = route(v, target, &answer);
	struct encoder *e = encoder_begin(v);
	jtext_char(&e->text, '[');
	encode_string(e, method, strlen(method));
	jtext_char(&e->text, ',');
	put_arguments(v, e, signature, ap, list);
	jtext_char(&e->text, ']');
	encoder_finish(v, e);
	if (e->problem[0]) {
		call_fail(v, "TypeError", "arguments of \"%s\": %s", method, e->problem);
		answer = rejected_new(v, "TypeError", e->problem);
	} else if (target) {
		vref_t result = VREF_NONE;
		if (wanted) {
			result = vref_make(true, false, v->next_promise++);
			answer = ref_new(v, REF_A_PROMISE, result);
			answer->when_known = true;
		}
		emit_send(v, target, result, e);
	}
	encoder_end(v, e);
	return answer;
}

vat_ref *vat_call(vat *v, vat_ref *target, const char *method, const char *signature, ...)
{
	va_list ap;
	va_start(ap, signature);
	vat_ref *answer = send_message(v, target, method, signature, &ap, NULL, true);
	va_end(ap);
	if (answer)
		answer->crank = v->crank;
	return answer;
}

vat_ref *vat_call_with(vat *v, vat_ref *target, const char *method, const vat_value *args)
{
	if (!args || vat_type(args) != VAT_ARRAY) {
		call_fail(v, "TypeError", "arguments of \"%s\" are no array", method);
		return rejected_new(v, "TypeError", "the arguments are no array");
	}
	vat_ref *answer = send_message(v, target, method, NULL, NULL, args, true);
	answer->crank = v->crank;
	return answer;
}

void vat_tell(vat *v, vat_ref *target, const char *method, const char *signature, ...)
{
	va_list ap;
	va_start(ap, signature);
	send_message(v, target, method, signature, &ap, NULL, false);
	va_end(ap);
}
