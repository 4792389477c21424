/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The smallest useful vat: numbers that survive. One stands in the baggage, under a name; and there are as many
 * counters more as anybody asks for, objects with a saved state. Killing the vat, the broker or the machine loses
 * nothing that a caller was told.
 */
#include <capstan/vat.h>

typedef struct { int64_t n; } counter;

VAT_METHOD(counter, made)
{
	return vat_read(v, "?i", &self->n);
}

VAT_METHOD(counter, inc)
{
	int64_t by = 1;
	vat_read(v, "?i", &by);
	self->n += by;
	return vat_return(v, "i", self->n);
}

static const vat_kind Tally = { "Tally", sizeof(counter), VAT_INIT(made), VAT_STATE(VAT_I64(counter, n)),
	VAT_METHODS({ "increment", "?i", "i", inc }) };

typedef struct { char unused; } root;

static int64_t count(vat *v)
{
	int64_t n = 0;
	vat_baggage_get(v, "count", "i", &n);
	return n;
}

/* The answer to `launch` is the counter itself. */
VAT_METHOD(root, bootstrap)
{
	return vat_return(v, "r", vat_self(v));
}

VAT_METHOD(root, increment)
{
	int64_t by = 1;
	vat_read(v, "?i", &by);
	int64_t n = count(v) + by;
	vat_baggage_set(v, "count", "i", n);
	return vat_return(v, "i", n);
}

VAT_METHOD(root, get)
{
	return vat_return(v, "i", count(v));
}

VAT_METHOD(root, make)
{
	int64_t start = 0;
	vat_read(v, "?i", &start);
	return vat_return(v, "r", vat_new(v, &Tally, "i", start));
}

static const vat_kind Counter = { "Counter", sizeof(root),
	VAT_METHODS({ "bootstrap", NULL, "r", bootstrap }, { "increment", "?i", "i", increment }, { "get", "", "i", get },
		    { "make", "?i", "r", make }) };
VAT_PROGRAM(&Counter, &Tally);
