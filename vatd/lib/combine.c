/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promises out of several: all, race, any, allSettled. One continuation waits for each input; when the outcome is
 * decided, those that still wait are taken back, so that nothing is left at a promise that outlives many races.
 */
#include "internal.h"

enum how { ALL, RACE, ANY, ALL_SETTLED };

struct input {
	struct continuation c;
	struct combination *of;
	vat_ref *promise;		/* held until the outcome is decided */
};

struct combination {
	struct combination *next, **list;	/* all of the vat */
	enum how how;
	bool decided;
	size_t n, n_open, n_waiting;	/* inputs; not settled yet; that still name us: waiting, or their turn is coming */
	vat_ref *result;		/* held until decided */
	struct input inputs[];
};

static void combination_free(struct combination *m)
{
	*m->list = m->next;
	if (m->next)
		m->next->list = m->list;
	free(m);
}

void combinations_close(vat *v)
{
	while (v->combinations)
		combination_free(v->combinations);
}

static void decide(vat *v, struct combination *m, bool rejected, struct encoder *e)
{
	m->decided = true;
	if (m->result->state == UNRESOLVED)	/* whoever has it may have settled it */
		promise_settle_own(v, m->result, rejected, e);
	ref_unhold(v, m->result);
	for (size_t i = 0; i < m->n; i++) {
		m->n_waiting -= promise_unwait(v, m->inputs[i].promise, &m->inputs[i].c);
		ref_unhold(v, m->inputs[i].promise);
	}
}

/* As this input. */
static void follow_input(vat *v, struct combination *m, const vat_ref *settled)
{
	struct encoder *e = encoder_begin(v);
	e->named = true;
	struct vat_value value = settled_view(settled->value);
	bool rejected = settled->state == REJECTED;
	encode_value(v, e, &value);
	promise_must_fit(v, &rejected, e);
	decide(v, m, rejected, e);
	encoder_end(v, e);
}

static void put_settled(vat *v, struct encoder *e, enum how how, const vat_ref *settled)
{
	struct vat_value value = settled_view(settled->value);
	if (how == ALL) {
		encode_value(v, e, &value);
	} else if (settled->state == REJECTED) {
		jtext_put(&e->text, "{\"reason\":", 10);
		encode_value(v, e, &value);
		jtext_put(&e->text, ",\"status\":\"rejected\"}", 21);
	} else {
		jtext_put(&e->text, "{\"status\":\"fulfilled\",\"value\":", 30);
		encode_value(v, e, &value);
		jtext_char(&e->text, '}');
	}
}

static void put_array(vat *v, struct encoder *e, const struct combination *m)
{
	jtext_char(&e->text, '[');
	for (size_t i = 0; i < m->n && e->text.len <= WIRE_MAX_BODY && e->n_slots <= WIRE_MAX_SLOTS; i++) {
		if (i)
			jtext_char(&e->text, ',');
		put_settled(v, e, m->how, m->inputs[i].promise);
	}
	jtext_char(&e->text, ']');
	encoder_finish(v, e);
}

static const char *reason_text(vat *v, const vat_ref *rejected)
{
	struct vat_value reason = settled_view(rejected->value);
	const char *name, *message;
	return value_error(v, &reason, &name, &message) ? arena_printf(v, "%s: %s", name, message) :
	       value_describe(v, &reason);
}

/* The last input has settled. */
static void complete(vat *v, struct combination *m)
{
	struct encoder *e = encoder_begin(v);
	e->named = true;
	bool rejected = m->how == ANY;

	if (!rejected) {
		put_array(v, e, m);
		if (e->problem[0]) {
			const char *problem = arena_printf(v, "the values of %zu promises together: %s", m->n, e->problem);
			encoder_reset(v, e);
			encode_error(e, "Error", problem);
			rejected = true;
		}
	} else if (m->n) {
		encode_error(e, "AggregateError", arena_printf(v, "none of %zu promises was fulfilled; the first: %s", m->n,
							       reason_text(v, m->inputs[0].promise)));
	} else {
		encode_error(e, "AggregateError", "none of 0 promises was fulfilled");
	}
	decide(v, m, rejected, e);
	encoder_end(v, e);
}

static void input_settled(vat *v, struct continuation *c, vat_ref *settled)
{
	struct input *in = container_of(c, struct input, c);
	struct combination *m = in->of;
	bool rejected = settled->state == REJECTED;

	m->n_waiting--;
	if (!m->decided) {
		ref_hold(settled);	/* the value; the one that we were given may have led to it only */
		ref_unhold(v, in->promise);
		in->promise = settled;
		m->n_open--;
		if (m->how == RACE || (m->how == ALL && rejected) || (m->how == ANY && !rejected))
			follow_input(v, m, settled);
		else if (m->n_open == 0)
			complete(v, m);
	}
	if (m->decided && m->n_waiting == 0)
		combination_free(m);
}

static bool inputs_are_good(vat *v, const char *what, vat_ref *const *promises, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (!promises[i]) {
			call_fail(v, "TypeError", "%s: number %zu of the promises is NULL", what, i);
			return false;
		}
		ref_check(v, promises[i], what);
	}
	return true;
}

static vat_ref *combine(vat *v, enum how how, const char *what, vat_ref *const *promises, size_t n)
{
	if (!inputs_are_good(v, what, promises, n))
		return promise_rejected_new(v, "TypeError", "a promise is NULL");
	struct combination *m = vat_alloc(v, sizeof(*m) + n * sizeof(struct input));
	m->next = v->combinations;
	m->list = &v->combinations;
	if (m->next)
		m->next->list = &m->next;
	v->combinations = m;
	m->how = how;
	m->n = m->n_open = m->n_waiting = n;
	vat_ref *result = m->result = vat_promise_new(v);
	ref_hold(result);
	for (size_t i = 0; i < n; i++) {
		struct input *in = &m->inputs[i];
		*in = (struct input){ .c.fn = input_settled, .of = m, .promise = promise_of(v, promises[i]) };
		ref_hold(in->promise);
		promise_wait(v, in->promise, &in->c);
	}
	if (n == 0) {
		if (how == RACE)	/* never */
			ref_unhold(v, result);
		else
			complete(v, m);
		combination_free(m);
	}
	return result;
}

vat_ref *vat_all(vat *v, vat_ref *const *promises, size_t n)
{
	return combine(v, ALL, "vat_all()", promises, n);
}

vat_ref *vat_race(vat *v, vat_ref *const *promises, size_t n)
{
	return combine(v, RACE, "vat_race()", promises, n);
}

vat_ref *vat_any(vat *v, vat_ref *const *promises, size_t n)
{
	return combine(v, ANY, "vat_any()", promises, n);
}

vat_ref *vat_all_settled(vat *v, vat_ref *const *promises, size_t n)
{
	return combine(v, ALL_SETTLED, "vat_all_settled()", promises, n);
}
