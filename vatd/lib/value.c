/* SPDX-License-Identifier: Apache-2.0 */
/* vat_value: a place in a checked text. Looking inside walks the text; nothing is copied but strings. */
#include "internal.h"

struct vat_value value_sub(const struct vat_value *value, const char *at)
{
	return (struct vat_value){ at, value->end, value->slots, value->n_slots };
}

static vat_value *value_copy(vat *v, const struct vat_value *value, const char *at)
{
	vat_value *copy = arena_get(v, sizeof(*copy));
	*copy = value_sub(value, at);
	return copy;
}

static bool value_is_bigint(const char *s, size_t len)
{
	if (len < 2 || (s[0] != '+' && s[0] != '-'))
		return false;
	for (size_t i = 1; i < len; i++)
		if (s[i] < '0' || s[i] > '9')
			return false;
	return true;
}

/* The first bytes of the string at p, decoded, when it starts with an escape; else where they are. */
static const char *string_head(const char *p, char head[16])
{
	if (p[1] != '\\')
		return p + 1;
	/* Only \uXXXX can spell what we look for; the rest of a head is never escaped by any writer. */
	size_t len = jtext_string_bound(p);
	_cleanup_free_ char *s = malloc(len);
	if (!s)
		return p + 1;
	len = jtext_string(p, s);
	memset(head, 0, 16);
	memcpy(head, s, len < 15 ? len : 15);
	if (len < 15)
		head[len] = '"';	/* ends like the text itself */
	return head;
}

vat_ref *value_ref(const struct vat_value *value)
{
	char head[16];
	if (jtext_kind(value->at) != '"')
		return NULL;
	const char *s = string_head(value->at, head);
	if (*s != '$' && *s != '&')
		return NULL;
	size_t n = 0, i = 1;
	for (; i < 8 && s[i] >= '0' && s[i] <= '9'; i++)
		n = n * 10 + (size_t)(s[i] - '0');
	if (i == 1 || (s[i] != '"' && s[i] != '.') || n >= value->n_slots)
		return NULL;
	return value->slots[n];
}

bool value_malformed_ref(const struct vat_value *string)
{
	char head[16];
	const char *s = string_head(string->at, head);
	return (*s == '$' || *s == '&') && !value_ref(string);
}

char *value_string(vat *v, const struct vat_value *value, size_t *lenp)
{
	if (jtext_kind(value->at) != '"')
		return NULL;
	char *s = arena_get(v, jtext_string_bound(value->at));
	size_t len = jtext_string(value->at, s);
	if (len && s[0] >= '!' && s[0] <= '-') {
		if (s[0] != '!')
			return NULL;
		s++;
		len--;
	}
	*lenp = len;
	return s;
}

/* The type that the string at p spells. */
static enum vat_type string_type(const struct vat_value *value)
{
	char head[16];
	const char *s = string_head(value->at, head);
	switch (*s) {
	case '#':
		return strncmp(s, "#undefined\"", 11) == 0 ? VAT_UNDEFINED :
		       strncmp(s, "#NaN\"", 5) == 0 || strncmp(s, "#Infinity\"", 10) == 0 ||
		       strncmp(s, "#-Infinity\"", 11) == 0 ? VAT_NUMBER : VAT_MALFORMED;
	case '+': case '-': {
		const char *quote = memchr(s, '"', s == head ? 16 : jtext_string_bound(value->at));
		return quote && value_is_bigint(s, (size_t)(quote - s)) ? VAT_BIGINT : VAT_MALFORMED;
	}
	case '$': case '&':
		return value_ref(value) ? VAT_REFERENCE : VAT_MALFORMED;
	case '%':
		return VAT_SYMBOL;
	case '!':
		return VAT_STRING;
	default:
		/* A quote ends the text, and the string was empty; decoded, it is a letter of those that begin no string. */
		return *s > '!' && *s <= '-' && (*s != '"' || s == head) ? VAT_MALFORMED : VAT_STRING;
	}
}

static bool name_is(const char *p, const char *name)
{
	size_t n = strlen(name);
	return strncmp(p + 1, name, n) == 0 && p[n + 1] == '"';
}

/* What the names of an object's members make it. Their order means nothing: others write theirs as they like. */
static enum vat_type object_type(const char *at)
{
	enum vat_type type = VAT_RECORD;
	char head[16];
	for (const char *m = jtext_enter(at); m; m = jtext_next(jtext_member(m))) {
		const char *name = string_head(m, head);
		if (*name == '#')
			type = strncmp(name, "#tag\"", 5) == 0 ? VAT_TAGGED :
			       strncmp(name, "#error\"", 7) != 0 ? VAT_MALFORMED : type == VAT_RECORD ? VAT_ERROR : type;
		else if (*name > '!' && *name <= '-' && (*name != '"' || name == head))
			type = VAT_MALFORMED;
		if (type == VAT_MALFORMED)
			break;
	}
	return type;
}

enum vat_type vat_type(const vat_value *value)
{
	switch (jtext_kind(value->at)) {
	case 'n': return VAT_NULL;
	case 't': case 'f': return VAT_BOOLEAN;
	case '0': return VAT_NUMBER;
	case '[': return VAT_ARRAY;
	case '"': return string_type(value);
	default: return object_type(value->at);
	}
}

/* The member's name, unescaped, in the arena. */
static const char *member_name(vat *v, const struct vat_value *value, const char *m)
{
	size_t len;
	struct vat_value name = value_sub(value, m);
	return value_string(v, &name, &len);
}

vat_value *vat_get(vat *v, const vat_value *record, const char *name)
{
	if (jtext_kind(record->at) != '{')
		return NULL;
	size_t n = strlen(name), len;
	for (const char *m = jtext_enter(record->at), *value; m; m = jtext_next(value)) {
		value = jtext_member(m);
		if (name_is(m, name) && (*name == '#' || *name < '!' || *name > '-'))
			return value_copy(v, record, value);
		if (m[1] != '!' && !memchr(m, '\\', jtext_string_bound(m)))
			continue;
		struct vat_value spelled = value_sub(record, m);
		const char *text = value_string(v, &spelled, &len);
		if (text && len == n && memcmp(text, name, n) == 0)
			return value_copy(v, record, value);
	}
	return NULL;
}

size_t vat_length(const vat_value *value)
{
	char kind = jtext_kind(value->at);
	size_t n = 0;
	if (kind != '[' && kind != '{')
		return 0;
	for (const char *p = jtext_enter(value->at); p; n++)
		p = jtext_next(kind == '{' ? jtext_member(p) : p);
	return n;
}

/* The i-th element, or the i-th name; NULL: none. */
static const char *nth(vat *v, const vat_value *value, size_t i)
{
	char kind = jtext_kind(value->at);
	if (kind != '[' && kind != '{')
		return NULL;
	bool on = v->cursor.value == value && v->cursor.at == value->at && v->cursor.i <= i && v->cursor.member;
	const char *p = on ? v->cursor.member : jtext_enter(value->at);
	for (size_t at = on ? v->cursor.i : 0; p && at < i; at++)
		p = jtext_next(kind == '{' ? jtext_member(p) : p);
	v->cursor.value = value;
	v->cursor.at = value->at;
	v->cursor.member = p;
	v->cursor.i = i;
	return p;
}

vat_value *vat_at(vat *v, const vat_value *value, size_t i)
{
	const char *p = nth(v, value, i);
	return p ? value_copy(v, value, jtext_kind(value->at) == '{' ? jtext_member(p) : p) : NULL;
}

const char *vat_name_at(vat *v, const vat_value *record, size_t i)
{
	const char *p = jtext_kind(record->at) == '{' ? nth(v, record, i) : NULL;
	return p ? member_name(v, record, p) : NULL;
}

bool value_error(vat *v, const struct vat_value *value, const char **namep, const char **messagep)
{
	size_t len;
	if (vat_type(value) != VAT_ERROR)
		return false;
	vat_value *name = vat_get(v, value, "name"), *message = vat_get(v, value, "#error");
	const char *n = name ? value_string(v, name, &len) : NULL, *m = message ? value_string(v, message, &len) : NULL;
	if (!n || !m)
		return false;
	*namep = n;
	*messagep = m;
	return true;
}

char *value_symbol(vat *v, const struct vat_value *value, size_t *lenp)
{
	if (vat_type(value) != VAT_SYMBOL)
		return NULL;
	char *s = arena_get(v, jtext_string_bound(value->at));
	*lenp = jtext_string(value->at, s) - 1;
	return s + 1;
}

const char *value_bigint(vat *v, const struct vat_value *value, bool plus)
{
	if (vat_type(value) != VAT_BIGINT)
		return NULL;
	char *s = arena_get(v, jtext_string_bound(value->at)), *digits = s + 1;
	jtext_string(value->at, s);
	while (digits[0] == '0' && digits[1])
		digits++;
	if (digits[0] == '0' || s[0] == '+')
		*--digits = '+';
	else
		*--digits = '-';
	return *digits == '+' && !plus ? digits + 1 : digits;
}

const char *value_words(vat *v, const struct vat_value *value)
{
	const char *name, *message;
	return value_error(v, value, &name, &message) ? arena_printf(v, "%s: %s", name, message) : vat_value_text(v, value);
}

const char *value_describe(vat *v, const struct vat_value *value)
{
	static const char *const names[] = {
		"undefined", "null", "a boolean", "a number", "a bigint", "a string", "a symbol", "a reference", "an error",
		"a tagged value", "an array", "a record", "malformed smallcaps",
	};
	enum vat_type type = vat_type(value);
	int len = (int)(jtext_skip(value->at, value->end) - value->at);
	bool shown = (type == VAT_BOOLEAN || type == VAT_NUMBER || type == VAT_STRING || type == VAT_BIGINT) && len <= 40;
	return shown ? arena_printf(v, "%s (%.*s)", names[type], len, value->at) : names[type];
}

int vat_value_read(vat *v, const vat_value *value, const char *signature, ...)
{
	static const struct vat_value nothing = { NULL, NULL, NULL, 0 };	/* what vat_get() and vat_at() did not find */
	char problem[200];
	va_list ap;
	va_start(ap, signature);
	bool fits = decode_args(v, value ? value : &nothing, true, signature, &ap, problem);
	va_end(ap);
	return fits ? 0 : call_fail(v, "TypeError", "%s", problem);
}

vat_value *encoder_keep(vat *v, struct encoder *e)
{
	if (e->problem[0]) {
		call_fail(v, "TypeError", "%s", e->problem);
		return NULL;
	}
	vat_value *value = arena_get(v, sizeof(*value) + e->text.len);
	char *text = (char *)(value + 1);
	memcpy(text, e->text.data + 1, e->text.len - 1);
	*value = (struct vat_value){ text, text + e->text.len - 1, e->slots, e->n_slots };
	return value;
}

vat_value *vat_args(vat *v)
{
	struct encoder *e = encoder_begin(v);
	const struct vat_value *args = &v->call.args;
	jtext_char(&e->text, '[');
	for (const char *p = args->at; p; p = v->call.single ? NULL : jtext_next(p)) {
		struct vat_value item = value_sub(args, p);
		if (p != args->at)
			jtext_char(&e->text, ',');
		encode_value(v, e, &item);
	}
	jtext_char(&e->text, ']');
	encoder_finish(v, e);
	vat_value *value = encoder_keep(v, e);
	encoder_end(v, e);
	return value;
}

vat_value *vat_map_refs(vat *v, const vat_value *value, vat_ref *(*map)(vat *v, vat_ref *ref, void *arg), void *arg)
{
	struct encoder *e = encoder_begin(v);
	encode_value(v, e, value);	/* the slots that this value names, and no others */
	encoder_finish(v, e);
	vat_value *mapped = encoder_keep(v, e);
	encoder_end(v, e);
	if (!mapped || !mapped->n_slots)
		return mapped;
	vat_ref **slots = arena_get(v, mapped->n_slots * sizeof(*slots));
	for (size_t i = 0; i < mapped->n_slots; i++) {
		mapped->slots[i]->crank = v->crank;
		slots[i] = map(v, mapped->slots[i], arg);
		if (!slots[i]) {
			call_fail(v, "Error", "a reference in the value has no counterpart");
			return NULL;
		}
	}
	mapped->slots = slots;
	return mapped;
}

vat_value *vat_value_new(vat *v, const char *signature, ...)
{
	struct encoder *e = encoder_begin(v);
	va_list ap;
	va_start(ap, signature);
	encode_one(v, e, signature, &ap);
	va_end(ap);
	vat_value *value = encoder_keep(v, e);
	encoder_end(v, e);
	return value;
}

static vat_value *encoder_finish_value(vat *v, struct encoder *e)
{
	encoder_finish(v, e);
	vat_value *value = encoder_keep(v, e);
	encoder_end(v, e);
	return value;
}

static bool values_are_good(vat *v, const char *what, vat_value *const *values, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (!values[i]) {
			call_fail(v, "TypeError", "%s: value number %zu is NULL", what, i);
			return false;
		}
	}
	return true;
}

vat_value *vat_array(vat *v, vat_value *const *items, size_t n_items)
{
	if (!values_are_good(v, "vat_array()", items, n_items))
		return NULL;
	struct encoder *e = encoder_begin(v);
	jtext_char(&e->text, '[');
	for (size_t i = 0; i < n_items && e->text.len <= WIRE_MAX_BODY; i++) {
		if (i)
			jtext_char(&e->text, ',');
		encode_value(v, e, items[i]);
	}
	jtext_char(&e->text, ']');
	return encoder_finish_value(v, e);
}

vat_value *vat_record(vat *v, const char *const *names, vat_value *const *values, size_t n)
{
	if (!values_are_good(v, "vat_record()", values, n))
		return NULL;
	for (size_t i = 0; i < n; i++) {
		if (!names[i] || !jtext_is_utf8(names[i], strlen(names[i]))) {
			call_fail(v, "TypeError", "vat_record(): name number %zu is %s", i, names[i] ? "not UTF-8" : "NULL");
			return NULL;
		}
	}
	struct encoder *e = encoder_begin(v);
	encode_members(v, e, names, values, n);
	return encoder_finish_value(v, e);
}

vat_value *vat_tagged(vat *v, const char *tag, const vat_value *payload)
{
	if (!tag || !payload || !jtext_is_utf8(tag, strlen(tag))) {
		call_fail(v, "TypeError", "vat_tagged() without %s", payload ? "a tag in UTF-8" : "a payload");
		return NULL;
	}
	struct encoder *e = encoder_begin(v);
	jtext_put(&e->text, "{\"#tag\":", 8);
	encode_string(e, tag, strlen(tag));
	jtext_put(&e->text, ",\"payload\":", 11);
	encode_value(v, e, payload);
	jtext_char(&e->text, '}');
	return encoder_finish_value(v, e);
}

const char *vat_tag(vat *v, const vat_value *tagged, vat_value **payloadp)
{
	size_t len;
	if (vat_type(tagged) != VAT_TAGGED)
		return NULL;
	vat_value *tag = vat_get(v, tagged, "#tag"), *payload = vat_get(v, tagged, "payload");
	const char *text = tag ? value_string(v, tag, &len) : NULL;
	if (!text || strlen(text) != len || !payload || vat_length(tagged) != 2)
		return NULL;
	if (payloadp)
		*payloadp = payload;
	return text;
}
