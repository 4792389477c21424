/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signatures: C values to smallcaps and back, in one pass over the signature and the text. Nothing is built
 * in between: writing appends to the body, reading walks it.
 */
#include <math.h>

#include "internal.h"

#define MAX_MEMBERS	64			/* of one record in a signature */
#define KEEP_TEXT	(256u << 10)		/* a larger buffer is given back after use */
#define SAFE_INTEGER	(INT64_C(1) << 53)
#define MAX_SENTENCE	(64u << 10)		/* bytes of an error's message */

/* --- encoders ------------------------------------------------------------------------------------- */

struct encoder *encoder_begin(vat *v)
{
	unsigned i = v->n_scratch++;
	struct encoder *e = i < ARRAY_LEN(v->scratch) ? &v->scratch[i] : vat_alloc(v, sizeof(*e));
	if (i >= ARRAY_LEN(v->scratch)) {
		e->outer = v->deep;
		v->deep = e;
	}
	encoder_reset(v, e);
	e->named = false;
	return e;
}

void encoders_close(vat *v)
{
	for (struct encoder *e; (e = v->deep);) {
		v->deep = e->outer;
		jtext_deinit(&e->text);
		free(e);
	}
	for (size_t i = 0; i < ARRAY_LEN(v->scratch); i++)
		jtext_deinit(&v->scratch[i].text);
}

void encoder_reset(vat *v, struct encoder *e)
{
	v->encode_serial++;
	e->text.len = 0;
	e->n_slots = e->slots_size = 0;
	e->slots = NULL;
	e->reordered = false;
	e->problem[0] = 0;
	jtext_char(&e->text, '#');
}

void encoder_end(vat *v, struct encoder *e)
{
	unsigned i = --v->n_scratch;
	if (i >= ARRAY_LEN(v->scratch)) {
		assert(e == v->deep);
		v->deep = e->outer;
		jtext_deinit(&e->text);
		free(e);
		return;
	}
	assert(e == &v->scratch[i]);
	if (e->text.size > KEEP_TEXT)
		jtext_deinit(&e->text);
}

__attribute__((format(printf, 2, 3))) static const char *refuse(struct encoder *e, const char *fmt, ...)
{
	va_list ap;
	if (!e->problem[0]) {
		va_start(ap, fmt);
		vsnprintf(e->problem, sizeof(e->problem), fmt, ap);
		va_end(ap);
	}
	return NULL;
}

void encode_string(struct encoder *e, const char *s, size_t len)
{
	jtext_char(&e->text, '"');
	if (len && s[0] >= '!' && s[0] <= '-')
		jtext_char(&e->text, '!');
	jtext_escaped(&e->text, s, len);
	jtext_char(&e->text, '"');
}

/*
 * Text of our own making: shortened to what is UTF-8 and not long, never refused. Others' words stand in it (a
 * method's name, a reason), and with them it must still fit a message.
 */
static void encode_sentence(struct encoder *e, const char *s)
{
	size_t len = 0, n;
	while (s[len]) {
		for (n = 1; n < 4 && !jtext_is_utf8(s + len, n) && s[len + n]; n++)
			;
		if (len + n > MAX_SENTENCE || !jtext_is_utf8(s + len, n))
			break;
		len += n;
	}
	encode_string(e, s, len);
}

void encode_error(struct encoder *e, const char *name, const char *message)
{
	jtext_put(&e->text, "{\"#error\":", 10);
	encode_sentence(e, message);
	jtext_put(&e->text, ",\"name\":", 8);
	encode_sentence(e, name);
	jtext_char(&e->text, '}');
}

/* "$3.Alleged: Counter" the first time, "$3" after that; promises "&3". */
void encode_ref(vat *v, struct encoder *e, vat_ref *r)
{
	bool known = r->encode_serial == v->encode_serial && r->slot_index < e->n_slots && e->slots[r->slot_index] == r;

	if (!known) {
		if (e->n_slots == e->slots_size) {
			size_t size = e->slots_size * 2 + 4;
			vat_ref **slots = arena_get(v, size * sizeof(*slots));
			if (e->n_slots)
				memcpy(slots, e->slots, e->n_slots * sizeof(*slots));
			e->slots = slots;
			e->slots_size = size;
		}
		r->encode_serial = v->encode_serial;
		r->slot_index = e->n_slots;
		e->slots[e->n_slots++] = r;
	}
	jtext_put(&e->text, r->kind == REF_A_PROMISE ? "\"&" : "\"$", 2);
	jtext_int(&e->text, (int64_t)r->slot_index);
	const char *interface = known || r->kind != REF_LOCAL ? NULL : kind_interface(v, r);
	if (interface) {
		jtext_put(&e->text, ".Alleged: ", 10);
		jtext_escaped(&e->text, interface, strlen(interface));
	}
	if (!known && e->named && r->kind == REF_IMPORT)
		interface_put(&e->text, r);
	jtext_char(&e->text, '"');
}

/*
 * Copy a value from another text; its slots get numbers of this one. What looks like a reference and is none
 * there (its number names no slot) would name one of ours here, which its author may not even hold: it becomes
 * a plain string.
 */
void encode_value(vat *v, struct encoder *e, const vat_value *value)
{
	const char *p = value->at, *end = jtext_skip(p, value->end), *from = p;

	while (p < end) {
		if (*p != '"') {
			bool space = *p == ' ' || *p == '\t' || *p == '\n' || *p == '\r';
			if (space) {	/* ours have none, and a line feed means something in the store */
				jtext_put(&e->text, from, (size_t)(p - from));
				from = p + 1;
			}
			p++;
			continue;
		}
		const char *after = jtext_skip(p, end);
		if (p[1] == '$' || p[1] == '&' || p[1] == '\\') {
			struct vat_value string = value_sub(value, p);
			vat_ref *r = value_ref(&string);
			if (r) {
				interface_learn(v, r, &string);
				jtext_put(&e->text, from, (size_t)(p - from));
				encode_ref(v, e, r);
				from = after;
			} else if (value_malformed_ref(&string)) {
				jtext_put(&e->text, from, (size_t)(p - from));
				jtext_put(&e->text, "\"!", 2);
				from = p + 1;
			}
		}
		p = after;
	}
	jtext_put(&e->text, from, (size_t)(end - from));
}

vat_ref *encoder_single_ref(const struct encoder *e)
{
	return e->n_slots == 1 && e->text.len > 3 && e->text.data[1] == '"' &&
	       (e->text.data[2] == '$' || e->text.data[2] == '&') ? e->slots[0] : NULL;
}

struct vat_value encoder_view(const struct encoder *e)
{
	return (struct vat_value){ e->text.data + 1, e->text.data + e->text.len, e->slots, e->n_slots };
}

const char *encoder_words(vat *v, const struct encoder *e)
{
	struct vat_value value = encoder_view(e);
	return value_words(v, &value);
}

void encoder_finish(vat *v, struct encoder *e)
{
	if (e->text.failed)
		vat_die(v, "memory ran out");
	if (e->n_slots > WIRE_MAX_SLOTS)
		refuse(e, "more than %u references in one message", WIRE_MAX_SLOTS);
	if (e->text.len > WIRE_MAX_BODY)
		refuse(e, "more than %u bytes in one message", WIRE_MAX_BODY);
	if (!e->reordered || e->n_slots < 2 || e->problem[0])
		return;
	/* Members were moved after their slots had numbers: number them anew in the order of the text. */
	char *copy = arena_get(v, e->text.len);
	memcpy(copy, e->text.data + 1, e->text.len - 1);
	struct vat_value whole = { copy, copy + e->text.len - 1, e->slots, e->n_slots };
	encoder_reset(v, e);
	encode_value(v, e, &whole);
}

/* --- writing -------------------------------------------------------------------------------------- */

static const char *put_item(vat *v, struct encoder *e, const char *s, va_list *ap, unsigned depth);

static void put_integer(struct encoder *e, int64_t n)
{
	if (n > SAFE_INTEGER || n < -SAFE_INTEGER)
		refuse(e, "%lld is beyond 2^53, where numbers stop being exact; a bigint (n) can carry it", (long long)n);
	jtext_int(&e->text, n);
}

static void put_bigint(struct encoder *e, int64_t n)
{
	jtext_put(&e->text, "\"+", n < 0 ? 1 : 2);
	jtext_int(&e->text, n);
	jtext_char(&e->text, '"');
}

/* Decimal digits of any number, after a sign or none. */
static void put_digits(struct encoder *e, const char *s)
{
	const char *digits = s && (*s == '-' || *s == '+') ? s + 1 : s;
	if (!s || !*digits || digits[strspn(digits, "0123456789")]) {
		refuse(e, "a bigint is not decimal digits");
		return;
	}
	while (digits[0] == '0' && digits[1])
		digits++;
	jtext_put(&e->text, *s == '-' && *digits != '0' ? "\"-" : "\"+", 2);
	jtext_put(&e->text, digits, strlen(digits));
	jtext_char(&e->text, '"');
}

static void put_symbol(struct encoder *e, const char *name)
{
	if (!name || !jtext_is_utf8(name, strlen(name))) {
		refuse(e, "a symbol's name is %s", name ? "not UTF-8" : "NULL");
		return;
	}
	jtext_put(&e->text, "\"%", 2);
	jtext_escaped(&e->text, name, strlen(name));
	jtext_char(&e->text, '"');
}

static void put_double(struct encoder *e, double d)
{
	if (isnan(d))
		jtext_put(&e->text, "\"#NaN\"", 6);
	else if (isinf(d))
		jtext_put(&e->text, d > 0 ? "\"#Infinity\"" : "\"#-Infinity\"", d > 0 ? 11 : 12);
	else
		jtext_double(&e->text, d);
}

static void put_text(struct encoder *e, const char *s)
{
	if (!s)
		refuse(e, "a string is NULL");
	else if (!jtext_is_utf8(s, strlen(s)))
		refuse(e, "a string is not UTF-8");
	else
		encode_string(e, s, strlen(s));
}

static void put_ref(vat *v, struct encoder *e, vat_ref *r)
{
	if (!r) {
		refuse(e, "a reference is NULL");
		return;
	}
	ref_check(v, r, "written to a message");
	encode_ref(v, e, r);
}

struct member { const char *name; size_t name_len, from, len; };

static int member_order(const void *a, const void *b)
{
	const struct member *x = a, *y = b;
	return jtext_name_order(x->name, x->name_len, y->name, y->name_len);
}

/* The members' texts, comma-separated, begin at m[0].from: bring them into the order JavaScript writes. */
static void sort_members(vat *v, struct encoder *e, struct member *m, size_t n)
{
	bool sorted = true;
	for (size_t i = 1; i < n; i++)
		sorted = sorted && member_order(&m[i - 1], &m[i]) < 0;
	if (sorted)
		return;
	size_t base = m[0].from, len = e->text.len - base;
	char *copy = arena_get(v, len);
	memcpy(copy, e->text.data + base, len);
	qsort(m, n, sizeof(*m), member_order);
	e->text.len = base;
	for (size_t i = 0; i < n; i++) {
		if (i)
			jtext_char(&e->text, ',');
		jtext_put(&e->text, copy + (m[i].from - base), m[i].len);
		if (i && member_order(&m[i - 1], &m[i]) == 0)
			refuse(e, "the record has two members \"%.*s\"", (int)m[i].name_len, m[i].name);
	}
	e->reordered = true;
}

void encode_members(vat *v, struct encoder *e, const char *const *names, vat_value *const *values, size_t n)
{
	struct member *m = arena_get(v, n * sizeof(*m));
	size_t i = 0;
	jtext_char(&e->text, '{');
	for (; i < n && e->text.len <= WIRE_MAX_BODY; i++) {
		if (i)
			jtext_char(&e->text, ',');
		m[i] = (struct member){ names[i], strlen(names[i]), e->text.len, 0 };
		encode_string(e, names[i], m[i].name_len);
		jtext_char(&e->text, ':');
		encode_value(v, e, values[i]);
		m[i].len = e->text.len - m[i].from;
	}
	if (i && !e->text.failed)
		sort_members(v, e, m, i);
	jtext_char(&e->text, '}');
}

/* At the first name, after the brace. */
static const char *put_record(vat *v, struct encoder *e, const char *s, va_list *ap, unsigned depth)
{
	struct member m[MAX_MEMBERS];
	size_t n = 0;

	jtext_char(&e->text, '{');
	while (*s != '}') {
		const char *colon = strchr(s, ':');
		if (!colon || n == MAX_MEMBERS)
			return refuse(e, colon ? "a record of more than 64 members" : "bad signature: a member without \":\"");
		if (n)
			jtext_char(&e->text, ',');
		m[n] = (struct member){ s, (size_t)(colon - s), e->text.len, 0 };
		encode_string(e, s, m[n].name_len);
		jtext_char(&e->text, ':');
		s = put_item(v, e, colon + 1, ap, depth + 1);
		if (!s)
			return NULL;
		m[n].len = e->text.len - m[n].from;
		n++;
		if (*s == ',')
			s++;
		else if (*s != '}')
			return refuse(e, "bad signature: \"%s\" where , or } should be", s);
	}
	if (n && !e->text.failed)
		sort_members(v, e, m, n);
	jtext_char(&e->text, '}');
	return s + 1;
}

static const char *put_array(vat *v, struct encoder *e, const char *s, va_list *ap, unsigned depth)
{
	jtext_char(&e->text, '[');
	for (bool first = true; *s != ']'; first = false) {
		if (!*s)
			return refuse(e, "bad signature: no ]");
		if (!first)
			jtext_char(&e->text, ',');
		s = put_item(v, e, s, ap, depth + 1);
		if (!s)
			return NULL;
	}
	jtext_char(&e->text, ']');
	return s + 1;
}

/* One item of the signature; returns what follows it, NULL with a problem. */
static const char *put_item(vat *v, struct encoder *e, const char *s, va_list *ap, unsigned depth)
{
	if (depth > 32)
		return refuse(e, "bad signature: nested deeper than 32");
	switch (*s) {
	case 'i': put_integer(e, va_arg(*ap, int64_t)); break;
	case 'n': put_bigint(e, va_arg(*ap, int64_t)); break;
	case 'N': put_digits(e, va_arg(*ap, const char *)); break;
	case 'd': put_double(e, va_arg(*ap, double)); break;
	case 'b':
		if (va_arg(*ap, int))
			jtext_put(&e->text, "true", 4);
		else
			jtext_put(&e->text, "false", 5);
		break;
	case 's': put_text(e, va_arg(*ap, const char *)); break;
	case 'y': put_symbol(e, va_arg(*ap, const char *)); break;
	case 'r': put_ref(v, e, va_arg(*ap, vat_ref *)); break;
	case 'v': {
		const vat_value *value = va_arg(*ap, const vat_value *);
		if (!value)
			return refuse(e, "a value is NULL");
		encode_value(v, e, value);
		break;
	}
	case 'e': {
		const char *name = va_arg(*ap, const char *);
		encode_error(e, name, va_arg(*ap, const char *));
		break;
	}
	case 'z': jtext_put(&e->text, "null", 4); break;
	case 'u': jtext_put(&e->text, "\"#undefined\"", 12); break;
	case '[': return put_array(v, e, s + 1, ap, depth);
	case '{': return put_record(v, e, s + 1, ap, depth);
	default: return refuse(e, "bad signature: \"%s\"", s);
	}
	return s + 1;
}

void encode_args(vat *v, struct encoder *e, const char *signature, va_list *ap)
{
	for (const char *s = signature; s && *s;) {
		if (s != signature)
			jtext_char(&e->text, ',');
		s = put_item(v, e, s, ap, 0);
	}
}

void encode_one(vat *v, struct encoder *e, const char *signature, va_list *ap)
{
	const char *rest = put_item(v, e, signature, ap, 0);
	if (rest && *rest)
		refuse(e, "bad signature: \"%s\" is more than one value", signature);
	encoder_finish(v, e);
}

/* --- reading -------------------------------------------------------------------------------------- */

struct reader {
	vat *v;
	va_list *ap;			/* NULL: only check */
	bool failed;
	bool skipping;			/* an optional item that is not there: its variables stay as they are */
	char *problem;			/* 200 bytes */
	char where[96];			/* "argument 1.name" */
};

static void mismatch(struct reader *r, const struct vat_value *value, const char *expected)
{
	if (r->skipping)
		return;
	if (!r->failed)
		snprintf(r->problem, 200, "%s must be %s%s%s", r->where, expected, value ? ", not " : ", and is missing",
			 value ? value_describe(r->v, value) : "");
	r->failed = true;
}

/* The signature itself is wrong: told whether or not there is a value. */
__attribute__((format(printf, 2, 3))) static void bad_signature(struct reader *r, const char *fmt, ...)
{
	va_list ap;
	if (!r->failed) {
		size_t n = (size_t)snprintf(r->problem, 200, "bad signature: ");
		va_start(ap, fmt);
		vsnprintf(r->problem + n, 200 - n, fmt, ap);
		va_end(ap);
	}
	r->failed = true;
}

#define OUT(r, type, expr)						\
	do {								\
		if ((r)->ap) {						\
			type *out_ = va_arg(*(r)->ap, type *);		\
			if (out_ && !(r)->skipping)			\
				*out_ = (expr);				\
		}							\
	} while (0)

static void get_integer(struct reader *r, const struct vat_value *value)
{
	double d = 0;
	if (value && jtext_kind(value->at) == '0')
		d = jtext_number(value->at, value->end);
	else
		mismatch(r, value, "an integer");
	if (fabs(d) > (double)SAFE_INTEGER || d != (double)(int64_t)d) {
		mismatch(r, value, "an integer within 2^53");
		d = 0;
	}
	OUT(r, int64_t, (int64_t)d);
}

static void get_bigint(struct reader *r, const struct vat_value *value)
{
	const char *text = value ? value_bigint(r->v, value, true) : NULL;
	errno = 0;
	int64_t n = text ? strtoll(text, NULL, 10) : 0;
	if (!text || errno == ERANGE) {
		mismatch(r, value, "a bigint within 2^63");
		n = 0;
	}
	OUT(r, int64_t, n);
}

static void get_digits(struct reader *r, const struct vat_value *value)
{
	const char *text = value ? value_bigint(r->v, value, false) : NULL;
	if (!text)
		mismatch(r, value, "a bigint");
	OUT(r, const char *, text);
}

static void get_symbol(struct reader *r, const struct vat_value *value)
{
	size_t len = 0;
	const char *name = value ? value_symbol(r->v, value, &len) : NULL;
	if (!name)
		mismatch(r, value, "a symbol");
	else if (strlen(name) != len)
		mismatch(r, value, "a symbol without NUL");
	OUT(r, const char *, name);
}

static void get_double(struct reader *r, const struct vat_value *value)
{
	double d = 0;
	if (value && jtext_kind(value->at) == '0') {
		d = jtext_number(value->at, value->end);
	} else if (value && jtext_kind(value->at) == '"' && vat_type(value) == VAT_NUMBER) {
		char text[80];	/* at most 11 letters, each maybe \\uXXXX */
		jtext_string(value->at, text);
		d = strcmp(text, "#NaN") == 0 ? (double)NAN : text[1] == '-' ? -(double)INFINITY : (double)INFINITY;
	} else {
		mismatch(r, value, "a number");
	}
	OUT(r, double, d);
}

static void get_bool(struct reader *r, const struct vat_value *value)
{
	char kind = value ? jtext_kind(value->at) : 0;
	if (kind != 't' && kind != 'f')
		mismatch(r, value, "a boolean");
	OUT(r, bool, kind == 't');
}

static void get_string(struct reader *r, const struct vat_value *value)
{
	size_t len = 0;
	const char *s = value ? value_string(r->v, value, &len) : NULL;
	if (!s)
		mismatch(r, value, "a string");
	else if (strlen(s) != len)
		mismatch(r, value, "a string without NUL");
	OUT(r, const char *, s);
}

static void get_ref(struct reader *r, const struct vat_value *value)
{
	vat_ref *ref = value ? value_ref(value) : NULL;
	if (ref) {
		ref->crank = r->v->crank;
		interface_learn(r->v, ref, value);
	} else {
		mismatch(r, value, "a reference");
	}
	OUT(r, vat_ref *, ref);
}

static void get_any(struct reader *r, const struct vat_value *value)
{
	struct vat_value *copy = NULL;
	if (!value) {
		mismatch(r, value, "a value");
	} else if (r->ap) {
		copy = arena_get(r->v, sizeof(*copy));
		*copy = *value;
	}
	OUT(r, vat_value *, copy);
}

static void get_error(struct reader *r, const struct vat_value *value)
{
	const char *name = NULL, *message = NULL;
	if (!value || !value_error(r->v, value, &name, &message))
		mismatch(r, value, "an error");
	OUT(r, const char *, name);
	OUT(r, const char *, message);
}

static const char *get_item(struct reader *r, const char *s, const struct vat_value *value);

static const char *get_array(struct reader *r, const char *s, const struct vat_value *value)
{
	size_t where = strlen(r->where), i = 0;
	if (!value || jtext_kind(value->at) != '[') {
		mismatch(r, value, "an array");
		value = NULL;
	}
	const char *p = value ? jtext_enter(value->at) : NULL;
	for (; *s && *s != ']'; i++) {
		struct vat_value item = p ? value_sub(value, p) : (struct vat_value){ 0 };
		snprintf(r->where + where, sizeof(r->where) - where, "[%zu]", i);
		s = get_item(r, s, p ? &item : NULL);
		p = p ? jtext_next(p) : NULL;
	}
	r->where[where] = 0;
	if (p)
		mismatch(r, value, "an array of fewer elements");
	if (!*s)
		bad_signature(r, "no ]");
	return *s ? s + 1 : s;
}

static const char *get_record(struct reader *r, const char *s, const struct vat_value *value)
{
	size_t where = strlen(r->where);
	if (!value || vat_type(value) != VAT_RECORD) {
		mismatch(r, value, "a record");
		value = NULL;
	}
	while (*s && *s != '}') {
		const char *colon = strchr(s, ':');
		if (!colon) {
			bad_signature(r, "\"%s\" in a record is no member: there is no \":\"", s);
			return s + strlen(s);
		}
		const char *name = arena_printf(r->v, "%.*s", (int)(colon - s), s);
		const vat_value *member = value ? vat_get(r->v, value, name) : NULL;
		snprintf(r->where + where, sizeof(r->where) - where, ".%s", name);
		s = get_item(r, colon + 1, member);
		if (*s == ',')
			s++;
		else if (*s && *s != '}')
			bad_signature(r, "\"%s\" where , or } should be", s);
	}
	r->where[where] = 0;
	if (!*s)
		bad_signature(r, "no }");
	return *s ? s + 1 : s;
}

/* `value` NULL: missing. Returns what follows the item in the signature. */
static const char *get_item(struct reader *r, const char *s, const struct vat_value *value)
{
	if (*s == '?') {
		s++;
		if (!value || r->failed || vat_type(value) == VAT_UNDEFINED) {
			bool skipping = r->skipping;
			r->skipping = true;
			s = get_item(r, s, NULL);
			r->skipping = skipping;
			return s;
		}
	}
	if (r->failed)
		value = NULL;
	switch (*s) {
	case 'i': get_integer(r, value); break;
	case 'n': get_bigint(r, value); break;
	case 'N': get_digits(r, value); break;
	case 'y': get_symbol(r, value); break;
	case 'd': get_double(r, value); break;
	case 'b': get_bool(r, value); break;
	case 's': get_string(r, value); break;
	case 'r': get_ref(r, value); break;
	case 'v': get_any(r, value); break;
	case 'e': get_error(r, value); break;
	case 'z':
		if (!value || vat_type(value) != VAT_NULL)
			mismatch(r, value, "null");
		break;
	case 'u':
		if (value && vat_type(value) != VAT_UNDEFINED)
			mismatch(r, value, "undefined");
		break;
	case '[': return get_array(r, s + 1, value);
	case '{': return get_record(r, s + 1, value);
	default:
		bad_signature(r, *s ? "\"%s\"" : "it ends too early", s);
		return s + strlen(s);
	}
	return s + 1;
}

bool decode_args(vat *v, const struct vat_value *args, bool single, const char *signature, va_list *ap, char problem[200])
{
	struct reader r = { .v = v, .ap = ap, .problem = problem };
	const char *p = args->at;
	unsigned n = 1;

	for (const char *s = signature; *s; n++) {
		struct vat_value item = p ? value_sub(args, p) : (struct vat_value){ 0 };
		if (single)
			strcpy(r.where, "the value");
		else
			snprintf(r.where, sizeof(r.where), "argument %u", n);
		s = get_item(&r, s, p ? &item : NULL);
		p = p && !single ? jtext_next(p) : NULL;
	}
	if (!ap && p && !single && !r.failed) {
		if (n == 1)
			strcpy(problem, "takes no arguments");
		else
			snprintf(problem, 200, "takes at most %u argument%s", n - 1, n == 2 ? "" : "s");
		r.failed = true;
	}
	return !r.failed;
}

const char *signature_problem(vat *v, const char *signature, bool single)
{
	char *problem = arena_get(v, 200);
	struct reader r = { .v = v, .skipping = true, .problem = problem };
	unsigned n = 0;

	for (const char *s = signature; *s && !r.failed; n++)
		s = get_item(&r, s, NULL);
	if (!r.failed && single && n != 1)
		bad_signature(&r, "\"%s\" is not one value", signature);
	return r.failed ? problem : NULL;
}
