/* SPDX-License-Identifier: Apache-2.0 */
/* A member of the chat room: what the person at `capstan call` says goes to the seat, what is said arrives here. */
#include <capstan/vat.h>

typedef struct { vat_ref *seat; int64_t n_heard; } member;

VAT_METHOD(member, enter) { return vat_read(v, "r", &self->seat); }

VAT_METHOD(member, hear)
{
	const char *from, *text;
	vat_read(v, "ss", &from, &text);
	vat_log(v, "<%s> %s", from, text);
	self->n_heard++;
	return 0;
}

VAT_METHOD(member, say)
{
	const char *text;
	vat_read(v, "s", &text);
	return vat_return(v, "r", E(v, self->seat, "post", "s", text));
}

VAT_METHOD(member, history) { return vat_return(v, "r", E(v, self->seat, "history", "")); }
VAT_METHOD(member, lend) { return vat_return(v, "r", self->seat); }
VAT_METHOD(member, heard) { return vat_return(v, "i", self->n_heard); }

static const vat_kind Member = { "Member", sizeof(member), VAT_STATE(VAT_REF(member, seat), VAT_I64(member, n_heard)),
	VAT_METHODS({ "enter", "r", NULL, enter }, { "hear", "ss", NULL, hear }, { "say", "s", NULL, say },
		    { "history", "", NULL, history }, { "seat", "", "r", lend }, { "heard", "", "i", heard }) };
VAT_PROGRAM(&Member);
