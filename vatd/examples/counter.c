/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The smallest useful vat: a number that survives. It stands in the baggage, so killing the vat, the broker
 * or the machine loses nothing that a caller was told.
 */
#include <capstan/vat.h>

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

static const vat_kind Counter = { "Counter", sizeof(root),
	VAT_METHODS({ "bootstrap", NULL, "r", bootstrap },
		    { "increment", "?i", "i", increment },
		    { "get", "", "i", get }) };
VAT_PROGRAM(&Counter);
