/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bob is given a promise for a greeting, and Carol. A Listener of his waits for the one and thanks the
 * other; its continuations keep it alive as long as it waits, nothing else does.
 */
#include <capstan/vat.h>

typedef struct {
	vat_ref *carol, *answer;	/* held */
	char *heard;
} listener;

VAT_METHOD(listener, start)
{
	vat_ref *greeting, *carol;
	vat_read(v, "rr", &greeting, &carol);
	self->carol = vat_hold(v, carol);
	self->answer = vat_hold(v, vat_promise_new(v));
	vat_when(v, greeting, self, "greeted");
	vat_catch(v, greeting, self, "failed");
	return 0;
}

VAT_METHOD(listener, greeted)
{
	const char *text;
	vat_read(v, "s", &text);
	vat_log(v, "heard \"%s\"", text);
	vat_set_string(v, &self->heard, text);
	vat_ref *thanks = E(v, self->carol, "thank", "s", "Bob");
	vat_when(v, thanks, self, "thanked");
	vat_catch(v, thanks, self, "failed");
	return 0;
}

VAT_METHOD(listener, thanked)
{
	const char *text;
	vat_read(v, "s", &text);
	return vat_resolve(v, self->answer, "{heard:s,answer:s}", self->heard, text);
}

VAT_METHOD(listener, failed)
{
	const char *name, *message;
	vat_read(v, "e", &name, &message);
	return vat_reject(v, self->answer, name, "%s", message);
}

VAT_METHOD(listener, gone)
{
	vat_set_string(v, &self->heard, NULL);
	if (self->carol)
		vat_release(v, self->carol);
	if (self->answer)
		vat_release(v, self->answer);
	return 0;
}

static const vat_kind Listener = { "Listener", sizeof(listener), VAT_INIT(start), VAT_FINI(gone),
	VAT_CONTINUATIONS({ "greeted", "s", NULL, greeted },
			  { "thanked", "s", NULL, thanked },
			  { "failed", "e", NULL, failed }) };

typedef struct { char unused; } bob;

VAT_METHOD(bob, listen)
{
	vat_ref *greeting, *carol;
	vat_read(v, "rr", &greeting, &carol);
	vat_ref *made = vat_new(v, &Listener, "rr", greeting, carol);
	const listener *l = made ? vat_state(v, made, &Listener) : NULL;
	return l ? vat_return(v, "r", l->answer) : -1;
}

static const vat_kind Bob = { "Bob", sizeof(bob), VAT_METHODS({ "listen", "rr", "r", listen }) };
VAT_PROGRAM(&Bob);
