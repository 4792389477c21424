/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two keys of a collection, divided by a line feed. What the decoder accepts, the encoder writes again byte for byte;
 * and the order of the bytes is the order of the values, as a comparison says that knows nothing of the encoding.
 */
#include <math.h>

#include "../../vatd/lib/internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

const vat_program vat_main_program;

/* Kinds of keys in Endo's order. */
static int rank_of(const vat_value *value)
{
	static const int ranks[] = {
		[VAT_ARRAY] = 1, [VAT_BOOLEAN] = 2, [VAT_NUMBER] = 3, [VAT_BIGINT] = 4, [VAT_REFERENCE] = 5, [VAT_STRING] = 6,
		[VAT_NULL] = 7, [VAT_SYMBOL] = 8, [VAT_UNDEFINED] = 9, [VAT_MALFORMED] = 0,
	};
	int rank = ranks[vat_type(value)];
	assert(rank > 0);
	return rank;
}

static int order(uint64_t a, uint64_t b)
{
	return a < b ? -1 : a > b;
}

static int compare_bytes(const char *a, size_t a_len, const char *b, size_t b_len)
{
	int c = memcmp(a, b, a_len < b_len ? a_len : b_len);
	return c ? c : order(a_len, b_len);
}

static int compare_numbers(vat *v, const vat_value *a, const vat_value *b)
{
	double x = 0, y = 0;
	vat_value_read(v, a, "d", &x);
	vat_value_read(v, b, "d", &y);
	return isnan(x) || isnan(y) ? order(isnan(x), isnan(y)) : x < y ? -1 : x > y;
}

static char *spelled(vat *v, const vat_value *value, size_t *lenp)
{
	char *s = arena_get(v, jtext_string_bound(value->at));
	*lenp = jtext_string(value->at, s);
	return s;
}

static int compare_bigints(vat *v, const vat_value *a, const vat_value *b)
{
	size_t a_len, b_len;
	const char *x = spelled(v, a, &a_len), *y = spelled(v, b, &b_len);
	int sign = *x == '-' ? -1 : 1;
	if (*x != *y)
		return sign;
	return sign * (a_len != b_len ? order(a_len, b_len) : memcmp(x, y, a_len));
}

static int compare(vat *v, const vat_value *a, const vat_value *b)
{
	size_t a_len = 0, b_len = 0;
	int a_rank = rank_of(a), b_rank = rank_of(b);
	if (a_rank != b_rank)
		return a_rank < b_rank ? -1 : 1;
	switch (vat_type(a)) {
	case VAT_BOOLEAN: return order(jtext_kind(a->at) == 't', jtext_kind(b->at) == 't');
	case VAT_NUMBER: return compare_numbers(v, a, b);
	case VAT_BIGINT: return compare_bigints(v, a, b);
	case VAT_REFERENCE: return order(value_ref(a)->vref.bits, value_ref(b)->vref.bits);
	case VAT_STRING: {
		const char *x = value_string(v, a, &a_len), *y = value_string(v, b, &b_len);
		return compare_bytes(x, a_len, y, b_len);
	}
	case VAT_SYMBOL: {
		const char *x = spelled(v, a, &a_len), *y = spelled(v, b, &b_len);
		return compare_bytes(x, a_len, y, b_len);
	}
	case VAT_ARRAY:
		a_len = vat_length(a);
		b_len = vat_length(b);
		for (size_t i = 0; i < a_len && i < b_len; i++) {
			int c = compare(v, vat_at(v, a, i), vat_at(v, b, i));
			if (c)
				return c;
		}
		return order(a_len, b_len);
	default:
		return 0;
	}
}

/* False: no key. `e` has its value. */
static bool look(vat *v, const char *key, size_t len, struct encoder *e)
{
	char *exact = malloc(len ? len : 1);	/* exactly as long, for ASan */
	memcpy(exact, key, len);
	bool good = key_decode(v, exact, len, e);
	free(exact);
	if (!good)
		return false;
	assert(jtext_check(e->text.data + 1, e->text.len - 1));
	struct key again;
	key_begin(&again, "");
	struct vat_value value = encoder_view(e);
	bool written = key_encode(v, &again, &value);
	assert(written && again.len == len && memcmp(again.data, key, len) == 0);
	assert(vref_is_none(key_ref(key, len)) == (vat_type(&value) != VAT_REFERENCE));
	return true;
}

static int sign(int c)
{
	return c < 0 ? -1 : c > 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct vat the_vat = { .fd = -1, .crank = 1 };
	vat *v = &the_vat;
	if (size == 0 || size > WIRE_MAX_KEY)
		return 0;
	const char *a = (const char *)data, *b = memchr(a, '\n', size);
	size_t a_len = b ? (size_t)(b - a) : size, b_len = b ? size - a_len - 1 : 0;
	struct encoder *x = encoder_begin(v), *y = encoder_begin(v);
	bool both = look(v, a, a_len, x);
	both = b && look(v, b + 1, b_len, y) && both;
	if (both) {
		struct vat_value left = encoder_view(x), right = encoder_view(y);
		assert(sign(compare(v, &left, &right)) == sign(compare_bytes(a, a_len, b + 1, b_len)));
	}
	encoder_end(v, y);
	encoder_end(v, x);
	arena_reset(v);
	return 0;
}
