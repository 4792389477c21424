/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Vats in the situations that people look for in the mount: one that waits, one that owes an answer, one that is busy, one that
 * died, one that holds what another lent it. All vats of tests/system/manpage.sh are this program.
 */
#include <stdlib.h>

#include <capstan/vat.h>

typedef struct { vat_ref *lent; int64_t unused; } panel;

VAT_METHOD(panel, bootstrap) { return vat_return(v, "r", vat_self(v)); }

/* An answer that never comes. */
VAT_METHOD(panel, owe)
{
	return vat_return(v, "r", vat_hold(v, vat_promise_new(v)));
}

VAT_METHOD(panel, answered) { return 0; }

/* Waits for what `other` owes. */
VAT_METHOD(panel, ask)
{
	vat_ref *other;
	vat_read(v, "r", &other);
	vat_when(v, E(v, other, "owe", ""), self, "answered");
	return 0;
}

typedef struct { int64_t n; } trinket;

VAT_METHOD(trinket, show)
{
	return vat_return(v, "i", self->n);
}

static const vat_kind Trinket = { "Trinket", sizeof(trinket), VAT_METHODS({ "show", "", "i", show }) };

/* Makes something and lends it to `other`. */
VAT_METHOD(panel, lend)
{
	vat_ref *other;
	vat_read(v, "r", &other);
	return vat_return(v, "r", E(v, other, "keep", "r", vat_new(v, &Trinket, "")));
}

VAT_METHOD(panel, keep)
{
	vat_ref *lent;
	vat_read(v, "r", &lent);
	if (self->lent)
		vat_release(v, self->lent);
	self->lent = vat_hold(v, lent);
	return 0;
}

VAT_METHOD(panel, drop)
{
	vat_release(v, self->lent);
	self->lent = NULL;
	return 0;
}

VAT_METHOD(panel, remember)
{
	int64_t n;
	vat_read(v, "i", &n);
	vat_baggage_set(v, "n", "i", n);
	return 0;
}

VAT_METHOD(panel, say)
{
	const char *text;
	vat_read(v, "s", &text);
	vat_log(v, "%s", text);
	return 0;
}

VAT_METHOD(panel, die)
{
	abort();
}

VAT_METHOD(panel, spin)
{
	volatile int64_t *n = &self->unused;

	while (*n >= 0)
		*n = *n & 1;
	return 0;
}

static const vat_kind Panel = { "Panel", sizeof(panel),
	VAT_METHODS({ "bootstrap", "vv", "r", bootstrap }, { "owe", "", NULL, owe }, { "ask", "r", NULL, ask },
		    { "lend", "r", NULL, lend }, { "keep", "r", NULL, keep }, { "drop", "", NULL, drop }, { "say", "s", NULL, say }, { "remember", "i", NULL, remember },
		    { "die", "", NULL, die }, { "spin", "", NULL, spin }),
	VAT_CONTINUATIONS({ "answered", NULL, NULL, answered }) };
VAT_PROGRAM(&Panel);
