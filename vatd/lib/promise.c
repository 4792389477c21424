/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promises. In the kernel's clist a promise lives until it settles; here its identity goes on as long as
 * somebody holds it: the value is kept, and a settled promise that is sent again gets a fresh number,
 * resolved when the crank ends.
 *
 *	UNRESOLVED ──▶ FULFILLED | REJECTED	by a notify, or by us when it is ours
 *	     └───────▶ FORWARDED		ours, resolved to another unresolved promise: everybody looks there
 *
 * wait.c runs who waits, settled.c keeps values, send.c sends.
 */
#include "internal.h"

bool promise_is_settled(const vat_ref *p)
{
	return p->kind == REF_A_PROMISE && (p->state == FULFILLED || p->state == REJECTED);
}

vat_ref *promise_follow(vat *v, vat_ref *r)
{
	vat_ref *end = r, *next;

	while (end->kind == REF_A_PROMISE && end->state == FORWARDED)
		end = end->link;
	for (; r != end && r->link != end; r = next) {	/* the next look is short */
		next = r->link;
		ref_hold(end);
		r->link = end;
		ref_unhold(v, next);
	}
	return end;
}

void promise_free(vat *v, vat_ref *p)
{
	waiting_free(v, p);
	settled_free(v, p->value);
	p->value = NULL;
	if (p->state == FORWARDED)
		ref_unhold(v, p->link);
}

/* Its memory only: the vat is over. */
void promise_discard(vat *v, vat_ref *p)
{
	(void)v;
	waiting_discard(p);
	free(p->value);
	p->value = NULL;
}

/* --- settling ------------------------------------------------------------------------------------- */

void promise_put_resolution(vat *v, vref_t vref, bool rejected, const struct encoder *e)
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
	promise_put_resolution(v, vref, rejected, e);
	wire_end(&v->out);
	channel_pack(v);
}

/* Numbered anew and named anew a value can be longer than it came. */
void promise_must_fit(vat *v, bool *rejectedp, struct encoder *e)
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
	vat_ref *p = single ? promise_follow(v, single) : NULL;
	if (!p || p->kind != REF_A_PROMISE)
		return NULL;
	if (!promise_is_settled(p))
		return p;
	struct vat_value value = settled_view(p->value);
	*rejectedp = p->state == REJECTED;
	encoder_reset(v, e);
	encode_value(v, e, &value);
	promise_must_fit(v, rejectedp, e);
	return NULL;
}

static void settle(vat *v, vat_ref *p, bool rejected, const struct vat_value *value)
{
	p->state = rejected ? REJECTED : FULFILLED;
	settled_give(v, p, value);
	waiting_fire(v, p);
	ref_forget_vref(v, p);
	p->subscribed = false;
}

static void forward(vat *v, vat_ref *p, vat_ref *to)
{
	waiting_move(v, p, to);
	ref_hold(to);
	p->state = FORWARDED;
	p->link = to;
	ref_forget_vref(v, p);
	ref_condemn(v, p);
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
	vat_ref *to = outcome(v, &rejected, e);
	if (!p && to && to->ours && vref_is_none(to->vref))
		ref_give_vref(v, to, result);	/* the kernel need not know of two promises */
	else
		emit_resolve(v, result, rejected, e);
}

vat_ref *promise_settled_new(vat *v, bool rejected, struct encoder *e)
{
	vat_ref *p = vat_promise_new(v);
	struct vat_value value = encoder_view(e);
	settle(v, p, rejected, &value);
	return p;
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
	settled_give(v, p, &value);
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
		waiting_fire(v, p);
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

static int settle_with(vat *v, vat_ref *promise, bool rejected, const char *what, const char *signature, va_list *ap)
{
	if (!may_settle(v, promise, what))
		return -1;
	struct encoder *e = encoder_begin(v);
	e->named = true;
	encode_one(v, e, *signature ? signature : "u", ap);
	int r = e->problem[0] ? call_fail(v, "TypeError", "%s: %s", what, e->problem) : 0;
	if (r == 0)
		promise_settle_own(v, promise, rejected, e);
	encoder_end(v, e);
	return r;
}

int vat_resolve(vat *v, vat_ref *promise, const char *signature, ...)
{
	va_list ap;
	va_start(ap, signature);
	int r = settle_with(v, promise, false, "vat_resolve()", signature, &ap);
	va_end(ap);
	return r;
}

int vat_reject_with(vat *v, vat_ref *promise, const char *signature, ...)
{
	va_list ap;
	va_start(ap, signature);
	int r = settle_with(v, promise, true, "vat_reject_with()", signature, &ap);
	va_end(ap);
	return r;
}

int vat_reject(vat *v, vat_ref *promise, const char *name, const char *fmt, ...)
{
	if (!may_settle(v, promise, "vat_reject()"))
		return -1;
	struct encoder *e = encoder_begin(v);
	e->named = true;
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

