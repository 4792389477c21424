/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys of collections as text whose bytewise order is the order of the keys, so that the vatstore, which walks its
 * keys bytewise, walks a collection in order. It is Endo's encodePassable in its format compactOrdered, in UTF-8 and
 * without the format's "~":
 *
 *	^KEY KEY    an array; each element is followed by a space	btrue bfalse
 *	fc045000000000000  a number: its IEEE bits, the sign flipped, all bits flipped when negative; NaN is last
 *	p2:42 n8:58 a bigint: how many digits, the digits; for negatives the ten's complement of both. A count of
 *		    more than one digit has a ~ (negative: #) in front for each further one
 *	r4000000000000005  a reference: its vref's bits		sTEXT yNAME  a string, a symbol
 *	v null						z undefined
 *
 * Strings: bytes up to "!" become two ("!" and what sorts likewise), ^ and _ become _@ and __. So a space ends an
 * element and is less than whatever could stand in its place, and there is no NUL.
 *
 * The order is that of Endo's compareRank, where strings are compared by code point, not (as Endo does unless told
 * otherwise) by UTF-16 unit: U+E000 to U+FFFF come before what lies beyond, not after.
 */
#include <inttypes.h>
#include <math.h>

#include "internal.h"

#define MAX_DEPTH	100		/* of arrays in arrays */

static void key_put(struct key *k, const char *s, size_t len)
{
	if (k->len < WIRE_MAX_KEY && len <= WIRE_MAX_KEY - k->len) {
		memcpy(k->data + k->len, s, len);
		k->data[k->len + len] = 0;
	}
	k->len += len;		/* what is too long is counted on, for the sentence */
}

static void key_char(struct key *k, char c)
{
	key_put(k, &c, 1);
}

void key_begin(struct key *k, const char *prefix)
{
	k->len = 0;
	k->nameless = false;
	k->problem[0] = k->data[0] = 0;
	key_put(k, prefix, strlen(prefix));
}

/* --- writing -------------------------------------------------------------------------------------- */

static void put_text(struct key *k, const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)s[i];
		if (c < ' ') {
			key_char(k, '!');
			key_char(k, (char)(c + '!'));
		} else if (c == ' ' || c == '!') {
			key_put(k, c == ' ' ? "!_" : "!|", 2);
		} else if (c == '^' || c == '_') {
			key_put(k, c == '^' ? "_@" : "__", 2);
		} else {
			key_char(k, (char)c);
		}
	}
}

static void put_bits(struct key *k, char kind, uint64_t bits)
{
	char text[20];
	snprintf(text, sizeof(text), "%c%016" PRIx64, kind, bits);
	key_put(k, text, 17);
}

static void put_number(struct key *k, double d)
{
	uint64_t bits;
	if (d == 0)
		d = 0;		/* -0 is 0 */
	memcpy(&bits, &d, sizeof(bits));
	if (isnan(d))
		bits = UINT64_C(0x7ff8000000000000);
	put_bits(k, 'f', d < 0 ? ~bits : bits ^ UINT64_C(1) << 63);
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

/* `text` is a sign and digits; it is changed. */
static void put_bigint(struct key *k, char *text)
{
	char *digits = text + 1, count[24];
	while (digits[0] == '0' && digits[1])
		digits++;
	bool negative = text[0] == '-' && digits[0] != '0';
	size_t n = strlen(digits), n_count = (size_t)snprintf(count, sizeof(count), "%zu", n);
	if (negative) {
		complement(digits, n);
		complement(count, n_count);
	}
	key_char(k, negative ? 'n' : 'p');
	for (size_t i = 1; i < n_count; i++)
		key_char(k, negative ? '#' : '~');
	key_put(k, count, n_count);
	key_char(k, ':');
	key_put(k, digits, n);
}

/* The string at the value as it is spelled in smallcaps, with its first letter. */
static char *spelled(vat *v, const struct vat_value *value, size_t *lenp)
{
	char *s = arena_get(v, jtext_string_bound(value->at));
	*lenp = jtext_string(value->at, s);
	return s;
}

static double number_of(vat *v, const struct vat_value *value)
{
	size_t len;
	if (jtext_kind(value->at) == '0')
		return jtext_number(value->at, value->end);
	const char *s = spelled(v, value, &len);
	return s[1] == 'N' ? (double)NAN : s[1] == '-' ? -(double)INFINITY : (double)INFINITY;
}

static bool put_key(vat *v, struct key *k, const struct vat_value *value, unsigned depth);

static bool put_array(vat *v, struct key *k, const struct vat_value *value, unsigned depth)
{
	if (depth == MAX_DEPTH) {
		snprintf(k->problem, sizeof(k->problem), "arrays in a key nest at most %u deep", MAX_DEPTH);
		return false;
	}
	key_char(k, '^');
	for (const char *p = jtext_enter(value->at); p; p = jtext_next(p)) {
		struct vat_value item = value_sub(value, p);
		if (!put_key(v, k, &item, depth + 1))
			return false;
		key_char(k, ' ');
	}
	return true;
}

static bool put_ref(struct key *k, const struct vat_value *value)
{
	vat_ref *r = value_ref(value);
	if (r->kind == REF_A_PROMISE) {
		snprintf(k->problem, sizeof(k->problem), "a promise is no key");
		return false;
	}
	k->nameless = k->nameless || vref_is_none(r->vref);
	put_bits(k, 'r', r->vref.bits);
	return true;
}

static bool put_key(vat *v, struct key *k, const struct vat_value *value, unsigned depth)
{
	size_t len;
	char *s;

	switch (vat_type(value)) {
	case VAT_UNDEFINED:
		key_char(k, 'z');
		return true;
	case VAT_NULL:
		key_char(k, 'v');
		return true;
	case VAT_BOOLEAN:
		if (jtext_kind(value->at) == 't')
			key_put(k, "btrue", 5);
		else
			key_put(k, "bfalse", 6);
		return true;
	case VAT_NUMBER:
		put_number(k, number_of(v, value));
		return true;
	case VAT_BIGINT:
		s = spelled(v, value, &len);
		put_bigint(k, s);
		return true;
	case VAT_STRING:
		s = value_string(v, value, &len);
		key_char(k, 's');
		put_text(k, s, len);
		return true;
	case VAT_SYMBOL:
		s = spelled(v, value, &len);
		key_char(k, 'y');
		put_text(k, s + 1, len - 1);
		return true;
	case VAT_REFERENCE:
		return put_ref(k, value);
	case VAT_ARRAY:
		return put_array(v, k, value, depth);
	default:
		snprintf(k->problem, sizeof(k->problem), "%s is no key", value_describe(v, value));
		return false;
	}
}

bool key_encode(vat *v, struct key *k, const struct vat_value *value)
{
	size_t prefix = k->len;
	if (!put_key(v, k, value, 0))
		return false;
	if (k->len <= WIRE_MAX_KEY)
		return true;
	snprintf(k->problem, sizeof(k->problem), "a key of %zu bytes is too long, %zu are the most", k->len - prefix,
		 WIRE_MAX_KEY - prefix);
	return false;
}

/* --- reading -------------------------------------------------------------------------------------- */

struct source { const char *p, *end; };

static bool at_end(const struct source *s)
{
	return s->p == s->end || *s->p == ' ';		/* of an element: nothing but its end has a space */
}

static bool get_word(struct source *s, const char *word)
{
	size_t n = strlen(word);
	if ((size_t)(s->end - s->p) < n || memcmp(s->p, word, n) != 0)
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

static bool get_number(struct source *s, struct encoder *e)
{
	uint64_t bits;
	double d;
	if (!get_bits(s, &bits))
		return false;
	bits = bits >> 63 ? bits ^ UINT64_C(1) << 63 : ~bits;
	memcpy(&d, &bits, sizeof(d));
	if (isnan(d)) {
		jtext_put(&e->text, "\"#NaN\"", 6);
		return bits == UINT64_C(0x7ff8000000000000);
	}
	if (isinf(d))
		jtext_put(&e->text, d > 0 ? "\"#Infinity\"" : "\"#-Infinity\"", d > 0 ? 11 : 12);
	else
		jtext_double(&e->text, d);
	return d != 0 || bits == 0;
}

static size_t count_digits(const struct source *s)
{
	size_t n = 0;
	while (s->p + n < s->end && s->p[n] >= '0' && s->p[n] <= '9')
		n++;
	return n;
}

/* A copy of n digits, as they are or complemented; NULL: a spelling that the writer does not have. */
static char *get_digits(vat *v, struct source *s, size_t n, bool negative)
{
	char *digits = arena_get(v, n + 1);
	memcpy(digits, s->p, n);
	s->p += n;
	if (negative) {
		if (strspn(digits, "0") == n)
			return NULL;
		complement(digits, n);
	}
	return digits[0] == '0' && (n > 1 || negative) ? NULL : digits;
}

static bool get_bigint(vat *v, struct source *s, struct encoder *e, bool negative)
{
	size_t n_count = 1, n;
	while (s->p < s->end && *s->p == (negative ? '#' : '~')) {
		n_count++;
		s->p++;
	}
	if (n_count > 9 || count_digits(s) != n_count)
		return false;
	const char *count = get_digits(v, s, n_count, negative), *digits;
	if (!count || !get_word(s, ":"))
		return false;
	n = count_digits(s);
	if (n == 0 || n != strtoul(count, NULL, 10))
		return false;
	digits = get_digits(v, s, n, negative);
	if (!digits)
		return false;
	jtext_put(&e->text, negative ? "\"-" : "\"+", 2);
	jtext_put(&e->text, digits, n);
	jtext_char(&e->text, '"');
	return true;
}

/* One byte of a string; -1: no spelling of the writer's. */
static int get_byte(struct source *s)
{
	unsigned char c = (unsigned char)*s->p++;
	if (c < '!' || c == '^')
		return -1;
	if (c != '!' && c != '_')
		return c;
	if (s->p == s->end)
		return -1;
	unsigned char d = (unsigned char)*s->p++;
	if (c == '_')
		return d == '@' ? '^' : d == '_' ? '_' : -1;
	return d == '_' ? ' ' : d == '|' ? '!' : d >= '!' && d <= '@' ? d - '!' : -1;
}

static bool get_text(vat *v, struct source *s, struct encoder *e, bool symbol)
{
	size_t len = 0;
	char *text = arena_get(v, (size_t)(s->end - s->p) + 1);
	while (!at_end(s)) {
		int c = get_byte(s);
		if (c < 0)
			return false;
		text[len++] = (char)c;
	}
	if (!jtext_is_utf8(text, len))
		return false;
	if (!symbol) {
		encode_string(e, text, len);
		return true;
	}
	jtext_put(&e->text, "\"%", 2);
	jtext_escaped(&e->text, text, len);
	jtext_char(&e->text, '"');
	return true;
}

static bool get_ref(vat *v, struct source *s, struct encoder *e)
{
	vref_t vref;
	if (!get_bits(s, &vref.bits) || vref_is_promise(vref) || !vref_is_legal(vref))
		return false;
	vat_ref *r = store_ref(v, vref);
	if (r)
		encode_ref(v, e, r);
	return r;
}

static bool get_key(vat *v, struct source *s, struct encoder *e, unsigned depth);

/* Elements until the end, or until the space that ends this array as an element of another. */
static bool get_array(vat *v, struct source *s, struct encoder *e, unsigned depth)
{
	if (depth == MAX_DEPTH)
		return false;
	jtext_char(&e->text, '[');
	for (bool first = true; !at_end(s); first = false) {
		if (!first)
			jtext_char(&e->text, ',');
		if (!get_key(v, s, e, depth + 1) || !get_word(s, " "))
			return false;
	}
	jtext_char(&e->text, ']');
	return true;
}

static bool get_key(vat *v, struct source *s, struct encoder *e, unsigned depth)
{
	switch (*s->p++) {
	case '^': return get_array(v, s, e, depth);
	case 'b':
		if (get_word(s, "true"))
			jtext_put(&e->text, "true", 4);
		else if (get_word(s, "false"))
			jtext_put(&e->text, "false", 5);
		else
			return false;
		return true;
	case 'f': return get_number(s, e);
	case 'n': return get_bigint(v, s, e, true);
	case 'p': return get_bigint(v, s, e, false);
	case 'r': return get_ref(v, s, e);
	case 's': return get_text(v, s, e, false);
	case 'v': jtext_put(&e->text, "null", 4); return true;
	case 'y': return get_text(v, s, e, true);
	case 'z': jtext_put(&e->text, "\"#undefined\"", 12); return true;
	default: return false;
	}
}

bool key_decode(vat *v, const char *data, size_t len, struct encoder *e)
{
	struct source s = { data, data + len };
	if (len == 0 || !get_key(v, &s, e, 0) || s.p != s.end)
		return false;
	encoder_finish(v, e);
	return !e->problem[0];
}

/* A key that is one reference, VREF_NONE: it is something else. */
vref_t key_ref(const char *data, size_t len)
{
	struct source s = { data + 1, data + len };
	vref_t vref;
	return len == 17 && data[0] == 'r' && get_bits(&s, &vref.bits) && vref_is_legal(vref) && !vref_is_promise(vref) ?
	       vref : VREF_NONE;
}
