/* SPDX-License-Identifier: Apache-2.0 */
/* Values for people, on one line; and whether two values are the same data. Depth is bounded by jtext_check(). */
#include "internal.h"

/* --- for people ----------------------------------------------------------------------------------- */

/* Quoted as in JSON; what would move a terminal's cursor or its lines is spelled out too. */
static void put_quoted(struct jtext *t, const char *s, size_t len)
{
	jtext_char(t, '"');
	for (size_t i = 0, from = 0; i <= len; i++) {
		const unsigned char *c = (const unsigned char *)s + i;
		unsigned code = 0;
		if (i < len && c[0] == 0x7f)
			code = 0x7f;
		else if (i + 1 < len && c[0] == 0xc2 && c[1] < 0xa0)
			code = c[1];			/* C1 */
		else if (i + 2 < len && c[0] == 0xe2 && (c[1] == 0x80 || c[1] == 0x81))
			code = 0x2000 + (c[1] & 1u) * 64 + (c[2] & 63u);
		bool moves = code == 0x7f || (code >= 0x80 && code < 0xa0) || (code >= 0x200e && code <= 0x200f) ||
			     (code >= 0x2028 && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069);
		if (!moves && i < len)
			continue;
		jtext_escaped(t, s + from, i - from);
		if (i < len) {
			char text[8];
			jtext_put(t, text, (size_t)snprintf(text, sizeof(text), "\\u%04x", code));
			i += code > 0xff ? 2 : code > 0x7f;
		}
		from = i + 1;
	}
	jtext_char(t, '"');
}

static void put(struct jtext *t, const char *s)
{
	jtext_put(t, s, strlen(s));
}

static void put_reference(vat *v, struct jtext *t, vat_ref *r)
{
	char name[REF_TEXT_MAX];
	const char *interface = r->kind == REF_LOCAL ? kind_interface(v, r) : NULL;
	put(t, "<");
	put(t, r->kind == REF_A_PROMISE ? "promise" : interface ? interface : "object");
	if (!vref_is_none(r->vref)) {
		put(t, " ");
		put(t, vref_format(r->vref, name));
	}
	put(t, ">");
}

static void put_value(vat *v, struct jtext *t, const struct vat_value *value);

static void put_string_at(vat *v, struct jtext *t, const struct vat_value *string)
{
	size_t len;
	const char *s = value_string(v, string, &len);
	if (s)
		put_quoted(t, s, len);
	else
		put(t, "(malformed)");
}

/* A name without quotes where it needs none. */
static void put_name(vat *v, struct jtext *t, const struct vat_value *string)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789";
	size_t len;
	const char *s = value_string(v, string, &len);
	if (s && len && strspn(s, letters) == len)
		jtext_put(t, s, len);
	else
		put_string_at(v, t, string);
}

static void put_members(vat *v, struct jtext *t, const struct vat_value *value)
{
	bool record = jtext_kind(value->at) == '{';
	put(t, record ? "{" : "[");
	for (const char *p = jtext_enter(value->at), *at; p; p = jtext_next(at)) {
		at = record ? jtext_member(p) : p;
		struct vat_value name = value_sub(value, p), member = value_sub(value, at);
		if (p != jtext_enter(value->at))
			put(t, ", ");
		if (record) {
			put_name(v, t, &name);
			put(t, ": ");
		}
		put_value(v, t, &member);
	}
	put(t, record ? "}" : "]");
}

static void put_error(vat *v, struct jtext *t, const struct vat_value *value)
{
	const char *name, *message;
	if (!value_error(v, value, &name, &message)) {
		put(t, "(malformed)");
		return;
	}
	put(t, "Error(");
	put_quoted(t, name, strlen(name));
	put(t, ", ");
	put_quoted(t, message, strlen(message));
	put(t, ")");
}

static void put_tagged(vat *v, struct jtext *t, const struct vat_value *value)
{
	vat_value *payload;
	const char *tag = vat_tag(v, value, &payload);
	if (!tag) {
		put(t, "(malformed)");
		return;
	}
	put(t, "Tagged(");
	put_quoted(t, tag, strlen(tag));
	put(t, ", ");
	put_value(v, t, payload);
	put(t, ")");
}

static void put_number(struct jtext *t, const struct vat_value *value)
{
	char text[80];
	if (jtext_kind(value->at) == '"') {
		jtext_string(value->at, text);	/* "#NaN" and its like */
		put(t, text + 1);
	} else {
		double d = jtext_number(value->at, value->end);
		if (d - d == 0)
			jtext_double(t, d);
		else
			put(t, d > 0 ? "Infinity" : "-Infinity");
	}
}

static void put_value(vat *v, struct jtext *t, const struct vat_value *value)
{
	size_t len;
	switch (vat_type(value)) {
	case VAT_UNDEFINED: put(t, "undefined"); break;
	case VAT_NULL: put(t, "null"); break;
	case VAT_BOOLEAN: put(t, jtext_kind(value->at) == 't' ? "true" : "false"); break;
	case VAT_NUMBER: put_number(t, value); break;
	case VAT_BIGINT:
		put(t, value_bigint(v, value, false));
		put(t, "n");
		break;
	case VAT_STRING: put_string_at(v, t, value); break;
	case VAT_SYMBOL: {
		const char *name = value_symbol(v, value, &len);
		put(t, "Symbol(");
		put_quoted(t, name, len);
		put(t, ")");
		break;
	}
	case VAT_REFERENCE: put_reference(v, t, value_ref(value)); break;
	case VAT_ERROR: put_error(v, t, value); break;
	case VAT_TAGGED: put_tagged(v, t, value); break;
	case VAT_ARRAY: case VAT_RECORD: put_members(v, t, value); break;
	case VAT_MALFORMED: put(t, "(malformed)"); break;
	}
}

const char *vat_value_text(vat *v, const vat_value *value)
{
	struct jtext t = JTEXT_INIT;
	put_value(v, &t, value);
	jtext_char(&t, 0);
	if (t.failed)
		vat_die(v, "memory ran out");
	char *text = arena_get(v, t.len);
	memcpy(text, t.data, t.len);
	jtext_deinit(&t);
	return text;
}

/* --- equality ------------------------------------------------------------------------------------- */

static bool equal(vat *v, const struct vat_value *a, const struct vat_value *b);

struct named { const char *name, *at; size_t len; };

static int by_name(const void *a, const void *b)
{
	const struct named *x = a, *y = b;
	int order = memcmp(x->name, y->name, x->len < y->len ? x->len : y->len);
	return order ? order : x->len < y->len ? -1 : x->len > y->len;
}

/* Members by name, as decoded: their order in the text means nothing. */
static struct named *members_by_name(vat *v, const struct vat_value *record, size_t n)
{
	struct named *m = arena_get(v, n * sizeof(*m));
	size_t i = 0;
	for (const char *p = jtext_enter(record->at); p; p = jtext_next(m[i - 1].at)) {
		char *name = arena_get(v, jtext_string_bound(p));
		size_t len = jtext_string(p, name), escaped = *name == '!';
		m[i] = (struct named){ name + escaped, jtext_member(p), len - escaped };
		i++;
	}
	qsort(m, n, sizeof(*m), by_name);
	return m;
}

static bool equal_members(vat *v, const struct vat_value *a, const struct vat_value *b)
{
	size_t n = vat_length(a);
	if (vat_length(b) != n)
		return false;
	struct named *x = members_by_name(v, a, n), *y = members_by_name(v, b, n);
	for (size_t i = 0; i < n; i++) {
		struct vat_value p = value_sub(a, x[i].at), q = value_sub(b, y[i].at);
		if (by_name(&x[i], &y[i]) != 0 || !equal(v, &p, &q))
			return false;
	}
	return true;
}

static bool equal_items(vat *v, const struct vat_value *a, const struct vat_value *b)
{
	const char *p = jtext_enter(a->at), *q = jtext_enter(b->at);
	for (; p && q; p = jtext_next(p), q = jtext_next(q)) {
		struct vat_value x = value_sub(a, p), y = value_sub(b, q);
		if (!equal(v, &x, &y))
			return false;
	}
	return !p && !q;
}

static bool equal_strings(vat *v, const struct vat_value *a, const struct vat_value *b)
{
	char *x = arena_get(v, jtext_string_bound(a->at)), *y = arena_get(v, jtext_string_bound(b->at));
	size_t n = jtext_string(a->at, x);
	return jtext_string(b->at, y) == n && memcmp(x, y, n) == 0;
}

static double number_of(const struct vat_value *value)
{
	char text[80];
	if (jtext_kind(value->at) != '"')
		return jtext_number(value->at, value->end);
	jtext_string(value->at, text);
	return text[1] == 'N' ? (double)__builtin_nan("") : text[1] == '-' ? -__builtin_inf() : __builtin_inf();
}

static bool equal(vat *v, const struct vat_value *a, const struct vat_value *b)
{
	enum vat_type type = vat_type(a);
	if (type != vat_type(b))
		return false;
	switch (type) {
	case VAT_UNDEFINED: case VAT_NULL: return true;
	case VAT_BOOLEAN: return jtext_kind(a->at) == jtext_kind(b->at);
	case VAT_NUMBER: {
		double x = number_of(a), y = number_of(b);
		return x == y || (x != x && y != y);
	}
	case VAT_BIGINT: return strcmp(value_bigint(v, a, true), value_bigint(v, b, true)) == 0;
	case VAT_STRING: {
		size_t n, m;
		const char *x = value_string(v, a, &n), *y = value_string(v, b, &m);
		return n == m && memcmp(x, y, n) == 0;
	}
	case VAT_SYMBOL: return equal_strings(v, a, b);
	case VAT_REFERENCE: return promise_follow(v, value_ref(a)) == promise_follow(v, value_ref(b));
	case VAT_ARRAY: return equal_items(v, a, b);
	case VAT_ERROR: case VAT_TAGGED: case VAT_RECORD: return equal_members(v, a, b);
	case VAT_MALFORMED: return false;
	}
	return false;
}

bool vat_value_equal(vat *v, const vat_value *a, const vat_value *b)
{
	return equal(v, a, b);
}
