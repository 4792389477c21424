/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values of settled promises. A value is kept while something holds its promise; it holds what it names. Values
 * that name promises can name each other in a circle, which then holds itself: those are listed, and freed at
 * bringOutYourDead when nothing else holds any of them.
 *
 * A settled promise that is named again in a message gets a fresh number for the crank and is resolved when it
 * ends (settled_emit).
 */
#include "internal.h"

/* What one crank may spend on naming settled promises again; the kernel's limits on a crank leave this and more. */
#define AGAIN_BYTES	(40u << 20)
#define AGAIN_THINGS	40000u		/* promises and the references in their values */
#define FRAME_ROOM	(WIRE_MAX_FRAME - 64)

struct vat_value settled_view(const struct settled *s)
{
	return (struct vat_value){ s->text, s->text + s->text_len, s->slots, s->n_slots };
}

struct settled *settled_new(vat *v, const struct vat_value *value)
{
	const char *end = jtext_skip(value->at, value->end);
	size_t len = (size_t)(end - value->at), slots = value->n_slots * sizeof(vat_ref *);
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

void settled_free(vat *v, struct settled *s)
{
	if (!s)
		return;
	if (s->list) {
		*s->list = s->next;
		if (s->next)
			s->next->list = s->list;
	}
	for (size_t i = 0; i < s->n_slots; i++)
		ref_unhold(v, s->slots[i]);
	free(s);
}

static bool names_promises(const struct settled *s)
{
	for (size_t i = 0; i < s->n_slots; i++)
		if (s->slots[i]->kind == REF_A_PROMISE)
			return true;
	return false;
}

void settled_give(vat *v, vat_ref *p, const struct vat_value *value)
{
	struct settled *s = p->value = settled_new(v, value);
	s->promise = p;
	if (!names_promises(s))
		return;
	s->list = &v->circles;
	s->next = v->circles;
	if (s->next)
		s->next->list = &s->next;
	v->circles = s;
}

/* --- circles -------------------------------------------------------------------------------------- */

/* The listed value that this reference leads to; NULL: none. */
static struct settled *listed(const vat_ref *r)
{
	return r->kind == REF_A_PROMISE && r->value && r->value->list ? r->value : NULL;
}

/* Slots that were forwarded name where that ended; then every hold of one listed value on another is direct. */
static void count_inner(vat *v, struct settled *s)
{
	for (size_t i = 0; i < s->n_slots; i++) {
		vat_ref *r = s->slots[i], *end = promise_follow(v, r);
		if (r != end) {
			ref_hold(end);
			s->slots[i] = end;
			ref_unhold(v, r);
		}
		if (listed(end))
			listed(end)->n_inner++;
	}
}

static size_t mark(struct settled *s, struct settled **stack, size_t n)
{
	if (s && !s->marked) {
		s->marked = true;
		stack[n++] = s;
	}
	return n;
}

/* What something outside the list holds, and what that names, stays; the rest is held by itself only. */
void settled_free_circles(vat *v)
{
	size_t n_listed = 0, n = 0;
	for (struct settled *s = v->circles; s; s = s->next, n_listed++) {
		s->n_inner = 0;
		s->marked = false;
	}
	for (struct settled *s = v->circles; s; s = s->next)
		count_inner(v, s);
	struct settled **stack = arena_get(v, (n_listed + 1) * sizeof(struct settled *));
	for (struct settled *s = v->circles; s; s = s->next) {
		vat_ref *p = s->promise;
		if (p->n_holds > s->n_inner || p->crank == v->crank || !vref_is_none(p->vref))
			n = mark(s, stack, n);
		while (n) {
			struct settled *top = stack[--n];
			for (size_t i = 0; i < top->n_slots; i++)
				n = mark(listed(top->slots[i]), stack, n);
		}
	}
	for (struct settled *s = v->circles; s; s = s->next)
		if (!s->marked)
			stack[n++] = s;
	while (n) {	/* with their values go the holds, and with those, in the sweep, the promises */
		struct settled *s = stack[--n];
		s->promise->value = NULL;
		ref_condemn(v, s->promise);
		settled_free(v, s);
	}
}

/* --- naming settled promises again ---------------------------------------------------------------- */

void settled_name_again(vat *v, vat_ref *p)
{
	v->again = vat_grow(v, v->again, &v->again_size, v->n_again + 1, sizeof(*v->again));
	v->again[v->n_again++] = (struct again){ p, AGAIN_LEAF };
	ref_hold(p);
}

/*
 * Values may name others of the list, and each other. The kernel translates a whole batch before it forgets any
 * promise of it: so all that name promises go in one batch, before the rest. What does not fit is rejected: it
 * names nothing, and goes last.
 */
struct again_plan { size_t n_namers, bytes, things; };

static void plan_one(vat *v, struct again_plan *plan, size_t i)
{
	const struct settled *s = v->again[i].promise->value;
	bool namer = names_promises(s);
	size_t bytes = plan->bytes + s->text_len + 64 + 8 * s->n_slots, things = plan->things + 1 + s->n_slots;

	if (bytes > AGAIN_BYTES || things > AGAIN_THINGS || (namer && plan->n_namers == WIRE_MAX_SLOTS)) {
		v->again[i].how = AGAIN_REFUSED;
		plan->things++;
		return;
	}
	plan->bytes = bytes;
	plan->things = things;
	plan->n_namers += namer;
	if (namer)
		v->again[i].how = AGAIN_NAMER;
	for (size_t k = 0; k < s->n_slots; k++)
		ref_export(v, s->slots[k]);	/* the list grows */
}

/* The value of one as it is sent, into `e`; true: rejected. */
static bool encode_again(vat *v, const struct again *a, struct encoder *e)
{
	bool rejected = a->promise->state == REJECTED;
	if (a->how == AGAIN_REFUSED) {
		encode_error(e, "Error", "the value of a promise was too much to be sent on in one crank");
		return true;
	}
	struct vat_value value = settled_view(a->promise->value);
	encode_value(v, e, &value);
	promise_must_fit(v, &rejected, e);
	return rejected;
}

struct batch { size_t frame, count; };

static void batch_end(vat *v, struct batch *b)
{
	uint32_t count = (uint32_t)b->count;
	if (!count)
		return;
	if (!v->out.error)
		memcpy(v->out.data + b->frame + 16, &count, sizeof(count));
	wire_end(&v->out);
	channel_pack(v);
	b->count = 0;
}

/* False: this batch has no room for it. */
static bool batch_put(vat *v, struct batch *b, const struct again *a)
{
	struct encoder *e = encoder_begin(v);
	e->named = true;
	bool rejected = encode_again(v, a, e);
	size_t size = 32 + e->text.len + 8 + 8 * e->n_slots;
	bool room = b->count < WIRE_MAX_SLOTS && (!b->count || v->out.len - b->frame + size <= FRAME_ROOM);

	if (room) {
		if (!b->count) {
			b->frame = v->out.len;
			wire_begin(&v->out, WIRE_RESOLVE, 0, v->delivery);
			wire_u32(&v->out, 0);	/* the count, when it is known */
			wire_u32(&v->out, 0);
		}
		b->count++;
		promise_put_resolution(v, a->promise->vref, rejected, e);
	}
	encoder_end(v, e);
	return room;
}

static void emit_batches(vat *v, enum again_how how)
{
	struct batch b = { 0 };
	for (size_t i = 0; i < v->n_again; i++) {
		struct again *a = &v->again[i];
		if (a->how != how || batch_put(v, &b, a))
			continue;
		if (how == AGAIN_NAMER) {
			a->how = AGAIN_REFUSED;
			continue;
		}
		batch_end(v, &b);
		batch_put(v, &b, a);
	}
	batch_end(v, &b);
}

void settled_emit(vat *v)
{
	struct again_plan plan = { 0 };

	if (!v->n_again)
		return;
	for (size_t i = 0; i < v->n_again; i++)
		plan_one(v, &plan, i);
	emit_batches(v, AGAIN_NAMER);
	emit_batches(v, AGAIN_LEAF);
	emit_batches(v, AGAIN_REFUSED);
	for (size_t i = 0; i < v->n_again; i++) {
		ref_forget_vref(v, v->again[i].promise);
		ref_unhold(v, v->again[i].promise);
	}
	v->n_again = 0;
}
