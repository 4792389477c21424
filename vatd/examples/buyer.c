/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Buys tickets. The payment is handed to the seller before it exists: it is the promise for a purse, and the
 * messages about it meet at the mint in the right order. The purse with the rest of the money never leaves.
 */
#include <capstan/vat.h>

typedef struct { vat_ref *purse, *seller, *ticket; } buyer;

VAT_METHOD(buyer, start) { return vat_read(v, "rr", &self->purse, &self->seller); }

/* The answer: how much money is left. */
VAT_METHOD(buyer, buy)
{
	int64_t amount;
	vat_read(v, "i", &amount);
	vat_ref *payment = E(v, self->purse, "withdraw", "i", amount);
	vat_ref *bought = E(v, self->seller, "buy", "r", payment);
	return vat_return(v, "r", vat_then(v, bought, self, "bought", NULL));
}

VAT_METHOD(buyer, bought)
{
	vat_ref *change;
	vat_read(v, "{change:r,ticket:?r}", &change, &self->ticket);
	return vat_return(v, "r", vat_then(v, E(v, self->purse, "deposit", "r", change), self, "settled", NULL));
}

VAT_METHOD(buyer, settled) { return vat_return(v, "r", E(v, self->purse, "balance", "")); }

VAT_METHOD(buyer, show)
{
	return self->ticket ? vat_return(v, "r", self->ticket) : vat_fail(v, "Error", "no ticket");
}

static const vat_kind Buyer = { "Buyer", sizeof(buyer),
	VAT_STATE(VAT_REF(buyer, purse), VAT_REF(buyer, seller), VAT_REF(buyer, ticket)),
	VAT_METHODS({ "start", "rr", NULL, start }, { "buy", "i", NULL, buy }, { "ticket", "", "r", show }),
	VAT_CONTINUATIONS({ "bought", "{change:r,ticket:?r}", NULL, bought }, { "settled", "i", NULL, settled }) };
VAT_PROGRAM(&Buyer);
