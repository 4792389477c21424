/* SPDX-License-Identifier: Apache-2.0 */
#include "store_key.h"

#include <math.h>

#define MAX_DEPTH	100		/* of arrays in arrays, as the writer has it */

struct source { const char *p, *end; };

void store_key_deinit(struct store_key *k)
{
	jtext_deinit(&k->text);
	free(k->vrefs);
	*k = (struct store_key){ .text = JTEXT_INIT };
}

static bool at_end(const struct source *s)
{
	return s->p == s->end || *s->p == ' ';		/* of an element: nothing but its end has a space */
}

static bool get_word(struct source *s, const char *word)
{
	size_t n = strlen(word);

	if ((size_t)(s->end - s->p) < n || memcmp(s->p, word, n))
		return false;
	s->p += n;
	return true;
}

static bool get_bits(struct source *s, uint64_t *bitsp)
{
	if (s->end - s->p < 16)
		return false;
	*bitsp = 0;
	for (int i = 0; i < 16; i++, s->p++) {
		char c = *s->p;

		if (!(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'f'))
			return false;
		*bitsp = *bitsp << 4 | (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
	}
	return true;
}

static bool get_number(struct source *s, struct jtext *t)
{
	uint64_t bits;
	double d;

	if (!get_bits(s, &bits))
		return false;
	bits = bits >> 63 ? bits ^ UINT64_C(1) << 63 : ~bits;
	memcpy(&d, &bits, sizeof(d));
	if (isnan(d)) {
		jtext_put(t, "\"#NaN\"", 6);
		return bits == UINT64_C(0x7ff8000000000000);
	}
	if (isinf(d))
		jtext_put(t, d > 0 ? "\"#Infinity\"" : "\"#-Infinity\"", d > 0 ? 11 : 12);
	else
		jtext_double(t, d);
	return fpclassify(d) != FP_ZERO || bits == 0;
}

/* The ten's complement of `n` digits, not all of them 0. */
static void complement(char *digits, size_t n)
{
	while (digits[n - 1] == '0')
		n--;
	digits[n - 1] = (char)('0' + '9' + 1 - digits[n - 1]);
	for (size_t i = 0; i < n - 1; i++)
		digits[i] = (char)('0' + '9' - digits[i]);
}

/* `n` digits, as they are or complemented, into `out`, which holds n + 1. */
static bool get_digits(struct source *s, size_t n, bool negative, char *out)
{
	if (strspn(s->p, "0123456789") < n)	/* the source ends with a NUL */
		return false;
	memcpy(out, s->p, n);
	out[n] = '\0';
	s->p += n;
	if (negative) {
		if (strspn(out, "0") == n)
			return false;
		complement(out, n);
	}
	return out[0] != '0' || (n == 1 && !negative);
}

static bool get_bigint(struct source *s, struct jtext *t, bool negative)
{
	_cleanup_free_ char *digits = NULL;
	size_t n_count = 1, n;
	char count[10];

	for (; s->p < s->end && *s->p == (negative ? '#' : '~'); s->p++)
		n_count++;
	if (n_count > 9 || !get_digits(s, n_count, negative, count) || !get_word(s, ":"))
		return false;
	n = strtoul(count, NULL, 10);
	if (!n || n > (size_t)(s->end - s->p))
		return false;
	digits = malloc(n + 1);
	if (!digits) {
		t->failed = true;
		return false;
	}
	if (!get_digits(s, n, negative, digits))
		return false;
	jtext_put(t, negative ? "\"-" : "\"+", 2);
	jtext_put(t, digits, n);
	jtext_char(t, '"');
	return true;
}

/* One byte of a string; -1: no spelling of the writer's. */
static int get_byte(struct source *s)
{
	unsigned char c = (unsigned char)*s->p++, d;

	if (c < '!' || c == '^')
		return -1;
	if (c != '!' && c != '_')
		return c;
	if (s->p == s->end)
		return -1;
	d = (unsigned char)*s->p++;
	if (c == '_')
		return d == '@' ? '^' : d == '_' ? '_' : -1;
	return d == '_' ? ' ' : d == '|' ? '!' : d >= '!' && d <= '@' ? d - '!' : -1;
}

/* In smallcaps a symbol begins with %, and a string that begins as something else does with !. */
static void put_string(struct jtext *t, const char *text, size_t len, bool symbol)
{
	jtext_char(t, '"');
	if (symbol)
		jtext_char(t, '%');
	else if (len && text[0] >= '!' && text[0] <= '-')
		jtext_char(t, '!');
	jtext_escaped(t, text, len);
	jtext_char(t, '"');
}

static bool get_text(struct source *s, struct jtext *t, bool symbol)
{
	_cleanup_free_ char *text = malloc((size_t)(s->end - s->p) + 1);
	size_t len = 0;

	if (!text) {
		t->failed = true;
		return false;
	}
	while (!at_end(s)) {
		int c = get_byte(s);

		if (c < 0)
			return false;
		text[len++] = (char)c;
	}
	if (!jtext_is_utf8(text, len))
		return false;
	put_string(t, text, len, symbol);
	return true;
}

/* Its slot: a key has few references. */
static bool add_vref(struct store_key *k, uint64_t bits, size_t *slotp)
{
	for (*slotp = 0; *slotp < k->n_vrefs; ++*slotp)
		if (k->vrefs[*slotp] == bits)
			return true;
	if (k->n_vrefs == k->size) {
		uint64_t *more = realloc(k->vrefs, (k->size = k->size ? k->size * 2 : 4) * sizeof(*more));

		if (!more) {
			k->text.failed = true;
			return false;
		}
		k->vrefs = more;
	}
	k->vrefs[k->n_vrefs++] = bits;
	return true;
}

static bool get_ref(struct source *s, struct store_key *k)
{
	vref_t vref;
	size_t slot;

	if (!get_bits(s, &vref.bits) || vref_is_promise(vref) || !vref_is_legal(vref) || !add_vref(k, vref.bits, &slot))
		return false;
	jtext_put(&k->text, "\"$", 2);
	jtext_int(&k->text, (int64_t)slot);
	jtext_char(&k->text, '"');
	return true;
}

static bool get_key(struct source *s, struct store_key *k, unsigned depth);

/* Elements until the end, or until the space that ends this array as an element of another. */
static bool get_array(struct source *s, struct store_key *k, unsigned depth)
{
	if (depth == MAX_DEPTH)
		return false;
	jtext_char(&k->text, '[');
	for (bool first = true; !at_end(s); first = false) {
		if (!first)
			jtext_char(&k->text, ',');
		if (!get_key(s, k, depth + 1) || !get_word(s, " "))
			return false;
	}
	jtext_char(&k->text, ']');
	return true;
}

static bool get_boolean(struct source *s, struct jtext *t)
{
	bool yes = get_word(s, "true");

	if (!yes && !get_word(s, "false"))
		return false;
	jtext_put(t, yes ? "true" : "false", yes ? 4 : 5);
	return true;
}

static bool get_key(struct source *s, struct store_key *k, unsigned depth)
{
	struct jtext *t = &k->text;

	if (s->p == s->end)
		return false;
	switch (*s->p++) {
	case '^': return get_array(s, k, depth);
	case 'b': return get_boolean(s, t);
	case 'f': return get_number(s, t);
	case 'n': return get_bigint(s, t, true);
	case 'p': return get_bigint(s, t, false);
	case 'r': return get_ref(s, k);
	case 's': return get_text(s, t, false);
	case 'v': jtext_put(t, "null", 4); return true;
	case 'y': return get_text(s, t, true);
	case 'z': jtext_put(t, "\"#undefined\"", 12); return true;
	default: return false;
	}
}

int store_key_read(const void *data, size_t len, struct store_key *out)
{
	_cleanup_free_ char *copy = malloc(len + 1);
	struct source s;
	bool good;

	*out = (struct store_key){ .text = JTEXT_INIT };
	if (!copy)
		return -ENOMEM;
	memcpy(copy, data, len);
	copy[len] = '\0';
	s = (struct source){ copy, copy + len };
	jtext_char(&out->text, '#');
	good = get_key(&s, out, 0) && s.p == s.end;
	if (good && !out->text.failed)
		return 0;
	good = out->text.failed;
	store_key_deinit(out);
	return good ? -ENOMEM : STORE_KEY_E_INVALID;
}
