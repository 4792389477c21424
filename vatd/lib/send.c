/* SPDX-License-Identifier: Apache-2.0 */
/* Sending: where a message goes now, what it is made of, and the promise for its answer. */
#include "internal.h"

vat_ref *promise_rejected_new(vat *v, const char *name, const char *message)
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
	target = promise_follow(v, target);
	if (!promise_is_settled(target))
		return target;
	struct vat_value value = settled_view(target->value);
	vat_ref *r = value_ref(&value);
	if (target->state == REJECTED)
		*answerp = target;
	else if (!r || r->kind == REF_A_PROMISE)
		*answerp = promise_rejected_new(v, "TypeError", "the target of the message is a promise for data");
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
		return promise_rejected_new(v, "TypeError", "sent to no reference");
	}
	ref_check(v, target, "sent to");
	target = route(v, target, &answer);
	struct encoder *e = encoder_begin(v);
	e->named = true;
	jtext_char(&e->text, '[');
	encode_string(e, method, strlen(method));
	jtext_char(&e->text, ',');
	put_arguments(v, e, signature, ap, list);
	jtext_char(&e->text, ']');
	encoder_finish(v, e);
	if (e->problem[0]) {
		call_fail(v, "TypeError", "arguments of \"%s\": %s", method, e->problem);
		answer = promise_rejected_new(v, "TypeError", e->problem);
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

vat_ref *send_vcall(vat *v, vat_ref *target, const char *method, const char *signature, va_list *ap)
{
	vat_ref *answer = send_message(v, target, method, signature, ap, NULL, true);
	answer->crank = v->crank;
	return answer;
}

vat_ref *vat_call(vat *v, vat_ref *target, const char *method, const char *signature, ...)
{
	va_list ap;
	va_start(ap, signature);
	vat_ref *answer = send_vcall(v, target, method, signature, &ap);
	va_end(ap);
	return answer;
}

vat_ref *vat_call_with(vat *v, vat_ref *target, const char *method, const vat_value *args)
{
	if (!args || vat_type(args) != VAT_ARRAY) {
		call_fail(v, "TypeError", "arguments of \"%s\" are no array", method);
		return promise_rejected_new(v, "TypeError", "the arguments are no array");
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
