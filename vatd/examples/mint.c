/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Money. A purse takes the whole content of another purse of its mint, and only of its mint: vat_state() shows the
 * inside of what this vat made itself, and NULL for everything else, however it behaves. So buyer and seller need
 * not trust each other, only the mint. No purse is made with money but by who holds the mint.
 */
#include <capstan/vat.h>

typedef struct { int64_t issued; } mint;
typedef struct { vat_ref *mint; int64_t balance; } purse;
typedef struct { char unused; } bank;
static const vat_kind Purse;

VAT_METHOD(purse, made) { return vat_read(v, "ri", &self->mint, &self->balance); }
VAT_METHOD(purse, balance) { return vat_return(v, "i", self->balance); }

VAT_METHOD(purse, withdraw)
{
	int64_t amount;
	vat_read(v, "i", &amount);
	if (amount < 0 || amount > self->balance)
		return vat_fail(v, "RangeError", "cannot take %lld out of %lld", (long long)amount, (long long)self->balance);
	self->balance -= amount;
	return vat_return(v, "r", vat_new(v, &Purse, "ri", self->mint, amount));
}

/* The payment may still be a promise: then wait for it. Who asked gets a promise for the amount. */
VAT_METHOD(purse, deposit)
{
	vat_ref *payment;
	vat_read(v, "r", &payment);
	return vat_return(v, "r", vat_then(v, payment, self, "paid", NULL));
}

VAT_METHOD(purse, paid)
{
	vat_ref *payment;
	vat_read(v, "r", &payment);
	purse *from = vat_state(v, payment, &Purse);
	if (!from || from->mint != self->mint)
		return vat_fail(v, "TypeError", "that is no purse of this mint");
	int64_t amount = from->balance;
	from->balance = 0;
	self->balance += amount;
	return vat_return(v, "i", amount);
}

static const vat_kind Purse = { "Purse", sizeof(purse), VAT_INIT(made), VAT_STATE(VAT_REF(purse, mint), VAT_I64(purse, balance)),
	VAT_METHODS({ "balance", "", "i", balance }, { "withdraw", "i", "r", withdraw },
		    { "deposit", "r", "r", deposit }),
	VAT_CONTINUATIONS({ "paid", "r", "i", paid }) };

VAT_METHOD(mint, issue)
{
	int64_t amount;
	vat_read(v, "i", &amount);
	if (amount < 0 || amount > (INT64_C(1) << 53) - self->issued)	/* so no sum of balances overflows */
		return vat_fail(v, "RangeError", "cannot issue %lld more", (long long)amount);
	self->issued += amount;
	return vat_return(v, "r", vat_new(v, &Purse, "ri", vat_self(v), amount));
}

static const vat_kind Mint = { "Mint", sizeof(mint), VAT_STATE(VAT_I64(mint, issued)), VAT_METHODS({ "issue", "i", "r", issue }) };

VAT_METHOD(bank, make_mint) { return vat_return(v, "r", vat_new(v, &Mint, "")); }

/* The buyer begins with 100, the seller with an empty purse. */
VAT_METHOD(bank, bootstrap)
{
	vat_ref *buyer, *seller, *money = vat_new(v, &Mint, "");
	vat_read(v, "{buyer:r,seller:r}", &buyer, &seller);
	((mint *)vat_state(v, money, &Mint))->issued = 100;
	vat_tell(v, buyer, "start", "rr", vat_new(v, &Purse, "ri", money, INT64_C(100)), seller);
	vat_tell(v, seller, "start", "r", vat_new(v, &Purse, "ri", money, INT64_C(0)));
	return vat_return(v, "{mint:r,buyer:r,seller:r}", money, buyer, seller);
}

static const vat_kind Bank = { "Bank", sizeof(bank),
	VAT_METHODS({ "bootstrap", "{buyer:r,seller:r}?v", NULL, bootstrap }, { "makeMint", "", "r", make_mint }) };
VAT_PROGRAM(&Bank, &Mint, &Purse);
