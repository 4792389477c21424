/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sells tickets for 30 each. What a stranger offers as payment is put into the seller's own purse: when the mint
 * says how much that was, it was money. What is too much, or not enough, goes back as change.
 */
#include <capstan/vat.h>

enum { PRICE = 30 };
typedef struct { int64_t number; } ticket;
typedef struct { vat_ref *purse; int64_t sold; } seller;

VAT_METHOD(ticket, printed) { return vat_read(v, "i", &self->number); }
VAT_METHOD(ticket, number) { return vat_return(v, "i", self->number); }
static const vat_kind Ticket = { "Ticket", sizeof(ticket), VAT_INIT(printed), VAT_STATE(VAT_I64(ticket, number)),
	VAT_METHODS({ "number", "", "i", number }) };

VAT_METHOD(seller, start) { return vat_read(v, "r", &self->purse); }

VAT_METHOD(seller, buy)
{
	vat_ref *payment;
	vat_read(v, "r", &payment);
	return vat_return(v, "r", vat_then(v, E(v, self->purse, "deposit", "r", payment), self, "paid", NULL));
}

VAT_METHOD(seller, paid)
{
	int64_t amount;
	vat_read(v, "i", &amount);
	if (amount < PRICE)
		return vat_return(v, "{change:r}", E(v, self->purse, "withdraw", "i", amount));
	vat_log(v, "ticket %lld", (long long)++self->sold);
	return vat_return(v, "{ticket:r,change:r}", vat_new(v, &Ticket, "i", self->sold),
			  E(v, self->purse, "withdraw", "i", amount - PRICE));
}

VAT_METHOD(seller, takings) { return vat_return(v, "r", E(v, self->purse, "balance", "")); }

static const vat_kind Seller = { "Seller", sizeof(seller), VAT_STATE(VAT_REF(seller, purse), VAT_I64(seller, sold)),
	VAT_METHODS({ "start", "r", NULL, start }, { "buy", "r", NULL, buy }, { "takings", "", NULL, takings }),
	VAT_CONTINUATIONS({ "paid", "i", NULL, paid }) };
VAT_PROGRAM(&Seller, &Ticket);
