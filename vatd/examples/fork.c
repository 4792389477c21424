/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A fork on the table of the dining philosophers: it knows who holds it and who waits for it. Both are saved, so
 * whoever is killed while they eat, no fork is lost.
 */
#include <capstan/vat.h>

typedef struct { vat_ref *holder, *waiting; } fork;

static int hand_over(vat *v, fork *self, vat_ref *to)
{
	self->holder = to;
	if (to)
		vat_tell(v, to, "got", "r", vat_self(v));
	return 0;
}

VAT_METHOD(fork, take)
{
	vat_ref *who;
	vat_read(v, "r", &who);
	if (!self->holder)
		return hand_over(v, self, who);
	if (self->waiting)
		return vat_fail(v, "Error", "a fork lies between two, not three");
	self->waiting = who;
	return 0;
}

VAT_METHOD(fork, put)
{
	vat_ref *next = self->waiting;
	self->waiting = NULL;
	return hand_over(v, self, next);
}

static const vat_kind Fork = { "Fork", sizeof(fork), VAT_STATE(VAT_REF(fork, holder), VAT_REF(fork, waiting)),
	VAT_METHODS({ "take", "r", NULL, take }, { "put", "", NULL, put }) };
VAT_PROGRAM(&Fork);
