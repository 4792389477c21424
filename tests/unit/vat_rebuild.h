/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A value taken apart and built again with what capstan/vat.h offers, kind by kind: for vectors and the fuzzer. What
 * the interface cannot carry (NUL in a string, smallcaps that is none) is passed on as it is.
 */
#ifndef CAPSTAN_TESTS_VAT_REBUILD_H
#define CAPSTAN_TESTS_VAT_REBUILD_H

#include "../../vatd/lib/internal.h"

static vat_value *rebuild(vat *v, const vat_value *value);

static inline bool readable(vat *v, const vat_value *value, const char *signature)
{
	char problem[200];
	return decode_args(v, value, true, signature, NULL, problem);
}

static inline vat_value *rebuild_text(vat *v, const vat_value *value, const char *signature)
{
	const char *s;
	if (!readable(v, value, signature))
		return vat_value_new(v, "v", value);
	vat_value_read(v, value, signature, &s);
	return vat_value_new(v, signature, s);
}

static inline vat_value *rebuild_error(vat *v, const vat_value *value)
{
	const char *name, *message;
	if (vat_length(value) != 2 || !readable(v, value, "e"))
		return vat_value_new(v, "v", value);
	vat_value_read(v, value, "e", &name, &message);
	return vat_value_new(v, "e", name, message);
}

static inline vat_value *rebuild_members(vat *v, const vat_value *value)
{
	size_t n = vat_length(value);
	bool record = vat_type(value) == VAT_RECORD;
	vat_value **items = arena_get(v, (n + 1) * sizeof(*items));
	const char **names = arena_get(v, (n + 1) * sizeof(*names));
	for (size_t i = 0; i < n; i++) {
		names[i] = record ? vat_name_at(v, value, i) : NULL;
		items[i] = rebuild(v, vat_at(v, value, i));
		/* two of one name, or NUL in one: what vat_record() does not make */
		for (size_t k = 0; record && k < i; k++)
			if (strcmp(names[k], names[i]) == 0)
				return vat_value_new(v, "v", value);
		if (record && (vat_get(v, value, names[i]) == NULL || vat_get(v, value, names[i])->at != vat_at(v, value, i)->at))
			return vat_value_new(v, "v", value);
	}
	return record ? vat_record(v, names, items, n) : vat_array(v, items, n);
}

static vat_value *rebuild(vat *v, const vat_value *value)
{
	bool b;
	double d;
	const char *tag;
	vat_ref *r;
	vat_value *payload;

	switch (vat_type(value)) {
	case VAT_UNDEFINED: return vat_value_new(v, "u");
	case VAT_NULL: return vat_value_new(v, "z");
	case VAT_BOOLEAN:
		vat_value_read(v, value, "b", &b);
		return vat_value_new(v, "b", (int)b);
	case VAT_NUMBER:
		vat_value_read(v, value, "d", &d);
		return vat_value_new(v, "d", d);
	case VAT_BIGINT: return rebuild_text(v, value, "N");
	case VAT_STRING: return rebuild_text(v, value, "s");
	case VAT_SYMBOL: return rebuild_text(v, value, "y");
	case VAT_REFERENCE:
		vat_value_read(v, value, "r", &r);
		return vat_value_new(v, "r", r);
	case VAT_ERROR: return rebuild_error(v, value);
	case VAT_TAGGED:
		tag = vat_tag(v, value, &payload);
		return tag ? vat_tagged(v, tag, rebuild(v, payload)) : vat_value_new(v, "v", value);
	case VAT_ARRAY: case VAT_RECORD: return rebuild_members(v, value);
	case VAT_MALFORMED: return vat_value_new(v, "v", value);
	}
	return NULL;
}

#endif
