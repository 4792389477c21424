/* SPDX-License-Identifier: Apache-2.0 */
/* vow: as mine.c, but what dig(n) answers with are promises that it never keeps. */
#include <stdlib.h>

#include <capstan/vat.h>

typedef struct { int64_t unused; } root;

VAT_METHOD(root, dig)
{
	int64_t n;
	vat_value **items;
	int r;

	vat_read(v, "i", &n);
	if (n < 0 || n > 10000)
		return vat_fail(v, "RangeError", "0 to 10000 at once");
	items = calloc((size_t)n + 1, sizeof(*items));
	if (!items)
		return vat_fail(v, "Error", "memory ran out");
	for (int64_t i = 0; i < n; i++)
		items[i] = vat_value_new(v, "r", vat_hold(v, vat_promise_new(v)));
	r = vat_return(v, "v", vat_array(v, items, (size_t)n));
	free(items);
	return r;
}

static const vat_kind Root = { "Vow", sizeof(root), VAT_METHODS({ "dig", "i", NULL, dig }) };
VAT_PROGRAM(&Root);
