/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeps a large map for the tests: entries with an object as value, filled a part at a time, walked, and let go. It
 * answers `echo` meanwhile.
 */
#include <capstan/vat.h>

typedef struct { vat_ref *map; } keeper;

VAT_METHOD(keeper, bootstrap)
{
	self->map = vat_map_new(v, "large", VAT_DURABLE_COLLECTION);
	return vat_return(v, "r", vat_self(v));
}

/* Entries from ≤ key < from + n; how many the map has then. */
VAT_METHOD(keeper, fill)
{
	int64_t from, n;
	vat_read(v, "ii", &from, &n);
	for (int64_t i = from; i < from + n; i++)
		if (vat_map_set(v, self->map, "i", "{n:i,of:r}", i, i * i, vat_self(v)))
			return -1;
	return vat_return(v, "i", (int64_t)vat_collection_size(v, self->map));
}

VAT_METHOD(keeper, get)
{
	int64_t key, n;
	vat_read(v, "i", &key);
	return vat_map_get(v, self->map, "i", "{n:i}", key, &n) ? vat_return(v, "i", n) : 0;
}

VAT_METHOD(keeper, size)
{
	return vat_return(v, "i", (int64_t)vat_collection_size(v, self->map));
}

/* How many keys there are in a range; fails if they are not in order. */
VAT_METHOD(keeper, walk)
{
	int64_t from, to, last = INT64_MIN, n = 0, key;
	vat_value *k;
	vat_read(v, "ii", &from, &to);
	vat_cursor *cursor = vat_range(v, self->map, vat_value_new(v, "i", from), vat_value_new(v, "i", to));
	for (; vat_next(v, cursor, &k, NULL); last = key, n++)
		if (vat_value_read(v, k, "i", &key) || key <= last)
			return vat_fail(v, "Error", "out of order");
	return vat_return(v, "i", n);
}

VAT_METHOD(keeper, clear)
{
	vat_collection_clear(v, self->map);
	return 0;
}

VAT_METHOD(keeper, drop)
{
	self->map = NULL;
	return 0;
}

VAT_METHOD(keeper, echo)
{
	int64_t n;
	vat_read(v, "i", &n);
	return vat_return(v, "i", n);
}

static const vat_kind Keeper = { "Keeper", sizeof(keeper), VAT_STATE(VAT_REF(keeper, map)),
	VAT_METHODS({ "bootstrap", NULL, "r", bootstrap }, { "fill", "ii", "i", fill }, { "get", "i", NULL, get },
		    { "size", "", "i", size }, { "walk", "ii", "i", walk }, { "clear", "", NULL, clear },
		    { "drop", "", NULL, drop }, { "echo", "i", "i", echo }) };
VAT_PROGRAM(&Keeper);
