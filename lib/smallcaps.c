/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Smallcaps at the edges: what a person wrote as JSON becomes a body, and a body becomes one readable line.
 * The text underneath is jtext's; here are the escapes that @endo/marshal puts into strings:
 *
 *	"!…" a string that begins with one of ! to -		"#undefined" "#NaN" "#Infinity" "#-Infinity"
 *	"+5" "-5" bigint	"%name" symbol			"$0.Alleged: Name" remotable	"&0" promise
 *	{"#error":message,"name":name}				{"#tag":tag,"payload":value}
 *
 * Recursion is bounded by JTEXT_MAX_DEPTH on the way in (the check of the text) and on the way out.
 */
#include "smallcaps.h"

#include <math.h>
#include <stdarg.h>

#include <capstan/wire.h>

#include "jtext.h"

#define SAFE_INTEGER	(INT64_C(1) << 53)

void smallcaps_deinit(struct smallcaps *s)
{
	free(s->body);
	free(s->slots);
	*s = (struct smallcaps){ 0 };
}

/* --- encoding ------------------------------------------------------------------------------------- */

struct encoder {
	struct jtext text;
	uint64_t *slots;
	size_t n_slots, slots_size;	/* slots_size: allocated */
	char *error;			/* SMALLCAPS_ERROR_MAX bytes */
};

static void encoder_deinit(struct encoder *e)
{
	jtext_deinit(&e->text);
	free(e->slots);
}

__attribute__((format(printf, 2, 3))) static int refuse(struct encoder *e, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(e->error, SMALLCAPS_ERROR_MAX, fmt, ap);
	va_end(ap);
	return SMALLCAPS_E_INVALID;
}

static bool starts_special(const char *s, size_t len)
{
	return len && s[0] >= '!' && s[0] <= '-';
}

static void put_string(struct jtext *t, const char *s, size_t len)
{
	jtext_char(t, '"');
	if (starts_special(s, len))
		jtext_char(t, '!');
	jtext_escaped(t, s, len);
	jtext_char(t, '"');
}

static int encode_slot(struct encoder *e, kref_t k)
{
	size_t i = 0;
	while (i < e->n_slots && e->slots[i] != k.bits)
		i++;
	if (i == e->n_slots) {
		if (i == WIRE_MAX_SLOTS)
			return refuse(e, "more than %u references", WIRE_MAX_SLOTS);
		if (i == e->slots_size) {
			size_t size = e->slots_size * 2 + 8;
			uint64_t *slots = reallocarray(e->slots, size, sizeof(*slots));
			if (!slots)
				return error_origin(ENOMEM);
			e->slots = slots;
			e->slots_size = size;
		}
		e->slots[e->n_slots++] = k.bits;
	}
	jtext_char(&e->text, '"');
	jtext_char(&e->text, kref_is_promise(k) ? '&' : '$');
	jtext_int(&e->text, (int64_t)i);
	jtext_char(&e->text, '"');
	return 0;
}

static int encode_reference(struct encoder *e, const json_t *text)
{
	kref_t k;
	if (!json_is_string(text) || !kref_parse(json_string_value(text), json_string_length(text), &k) ||
	    kref_number(k) == 0)
		return refuse(e, "{\"@\": …} wants the text of a reference, like \"ko7\" or \"kp3\"");
	return encode_slot(e, k);
}

static int encode_integer(struct encoder *e, json_int_t n)
{
	if (n > SAFE_INTEGER || n < -SAFE_INTEGER)
		return refuse(e, "%" JSON_INTEGER_FORMAT " is beyond 2^53, where numbers stop being exact", n);
	jtext_int(&e->text, n);
	return 0;
}

static int encode_value(struct encoder *e, const json_t *value, unsigned depth);

static int encode_array(struct encoder *e, const json_t *array, unsigned depth)
{
	jtext_char(&e->text, '[');
	for (size_t i = 0; i < json_array_size(array); i++) {
		if (i)
			jtext_char(&e->text, ',');
		int r = encode_value(e, json_array_get(array, i), depth + 1);
		if (r)
			return r;
	}
	jtext_char(&e->text, ']');
	return 0;
}

struct member { const char *name; size_t len; json_t *value; };

static int member_order(const void *a, const void *b)
{
	const struct member *x = a, *y = b;
	return jtext_name_order(x->name, x->len, y->name, y->len);
}

static int encode_object(struct encoder *e, json_t *object, unsigned depth)
{
	size_t n = json_object_size(object), i = 0;
	json_t *reference = json_object_get(object, "@");
	if (n == 1 && reference)
		return encode_reference(e, reference);

	_cleanup_free_ struct member *members = calloc(n + 1, sizeof(*members));
	if (!members)
		return error_origin(ENOMEM);
	for (void *it = json_object_iter(object); it; it = json_object_iter_next(object, it)) {
		const char *name = json_object_iter_key(it);
		members[i++] = (struct member){ name, strlen(name), json_object_iter_value(it) };
	}
	qsort(members, n, sizeof(*members), member_order);
	jtext_char(&e->text, '{');
	for (i = 0; i < n; i++) {
		if (i)
			jtext_char(&e->text, ',');
		put_string(&e->text, members[i].name, members[i].len);
		jtext_char(&e->text, ':');
		int r = encode_value(e, members[i].value, depth + 1);
		if (r)
			return r;
	}
	jtext_char(&e->text, '}');
	return 0;
}

static int encode_value(struct encoder *e, const json_t *value, unsigned depth)
{
	if (depth >= JTEXT_MAX_DEPTH)
		return refuse(e, "nested deeper than %d", JTEXT_MAX_DEPTH);
	switch (json_typeof(value)) {
	case JSON_NULL:
		jtext_put(&e->text, "null", 4);
		return 0;
	case JSON_TRUE:
		jtext_put(&e->text, "true", 4);
		return 0;
	case JSON_FALSE:
		jtext_put(&e->text, "false", 5);
		return 0;
	case JSON_INTEGER:
		return encode_integer(e, json_integer_value(value));
	case JSON_REAL:
		if (!isfinite(json_real_value(value)))
			return refuse(e, "a number that JSON cannot hold");
		jtext_double(&e->text, json_real_value(value));
		return 0;
	case JSON_STRING:
		put_string(&e->text, json_string_value(value), json_string_length(value));
		return 0;
	case JSON_ARRAY:
		return encode_array(e, value, depth);
	case JSON_OBJECT:
		/* jansson's lookups want a non-const object and change nothing. */
		return encode_object(e, (json_t *)(uintptr_t)value, depth);
	}
	return refuse(e, "not a JSON value");
}

/* Hand the result over. */
static int encoder_take(struct encoder *e, struct smallcaps *out)
{
	if (!e->text.failed && e->text.len > WIRE_MAX_BODY)
		return refuse(e, "%zu bytes, and a message ends at %u", e->text.len, WIRE_MAX_BODY);
	jtext_char(&e->text, 0);
	if (e->text.failed)
		return error_origin(ENOMEM);
	*out = (struct smallcaps){ e->text.data, e->text.len - 1, e->slots, e->n_slots };
	e->text = (struct jtext)JTEXT_INIT;
	e->slots = NULL;
	return 0;
}

int smallcaps_from_json(const json_t *value, struct smallcaps *out, char error[SMALLCAPS_ERROR_MAX])
{
	_cleanup_(encoder_deinit) struct encoder e = { .error = error };

	jtext_char(&e.text, '#');
	int r = encode_value(&e, value, 0);
	return r ? r : encoder_take(&e, out);
}

int smallcaps_methargs(const char *method, const json_t *args, struct smallcaps *out, char error[SMALLCAPS_ERROR_MAX])
{
	_cleanup_(encoder_deinit) struct encoder e = { .error = error };

	if (!jtext_is_utf8(method, strlen(method)))
		return refuse(&e, "the method's name is not UTF-8");
	jtext_put(&e.text, "#[", 2);
	put_string(&e.text, method, strlen(method));
	jtext_char(&e.text, ',');
	int r = json_is_array(args) ? encode_array(&e, args, 1) : refuse(&e, "the arguments are not an array");
	if (r)
		return r;
	jtext_char(&e.text, ']');
	return encoder_take(&e, out);
}

/* A C string that may hold anything, as a smallcaps string: what is not UTF-8 is shown escaped. */
static int put_text(struct jtext *t, const char *s)
{
	size_t len = strlen(s);
	if (jtext_is_utf8(s, len)) {
		put_string(t, s, len);
		return 0;
	}
	size_t need = escape_bytes(NULL, 0, s, len);
	_cleanup_free_ char *shown = malloc(need + 1);
	if (!shown)
		return error_origin(ENOMEM);
	escape_bytes(shown, need + 1, s, len);
	put_string(t, shown, strlen(shown));
	return 0;
}

int smallcaps_error(const char *name, const char *message, struct smallcaps *out)
{
	char error[SMALLCAPS_ERROR_MAX];
	_cleanup_(encoder_deinit) struct encoder e = { .error = error };

	jtext_put(&e.text, "#{\"#error\":", 11);
	int r = put_text(&e.text, message);
	if (r)
		return r;
	jtext_put(&e.text, ",\"name\":", 8);
	r = put_text(&e.text, name);
	if (r)
		return r;
	jtext_char(&e.text, '}');
	return encoder_take(&e, out);
}

/* --- reading -------------------------------------------------------------------------------------- */

/* The value of a smallcaps body, or NULL when it is none. */
static const char *body_value(const void *body, size_t len)
{
	const char *text = body;
	return len > 1 && text[0] == '#' && jtext_check(text + 1, len - 1) ? jtext_start(text + 1) : NULL;
}

/* The JSON string at p, decoded but not unescaped in the manner of smallcaps; malloc'd, NULL: no memory. */
static char *raw_string(const char *p, size_t *lenp)
{
	char *s = malloc(jtext_string_bound(p));
	if (s)
		*lenp = jtext_string(p, s);
	return s;
}

/* The smallcaps *string* at p (not a bigint, slot, …); malloc'd; NULL: another kind of value, or no memory. */
static char *plain_string(const char *p)
{
	size_t len = 0;
	if (jtext_kind(p) != '"')
		return NULL;
	char *s = raw_string(p, &len);
	if (!s || !starts_special(s, len))
		return s;
	if (s[0] != '!') {
		free(s);
		return NULL;
	}
	memmove(s, s + 1, len);
	return s;
}

static bool name_is(const char *p, const char *name)
{
	size_t len = 0;
	_cleanup_free_ char *s = raw_string(p, &len);
	return s && len == strlen(name) && memcmp(s, name, len) == 0;
}

static const char *find_member(const char *object, const char *name)
{
	for (const char *m = jtext_enter(object), *v; m; m = jtext_next(v)) {
		v = jtext_member(m);
		if (name_is(m, name))
			return v;
	}
	return NULL;
}

bool smallcaps_read_error(const void *body, size_t body_len, char **namep, char **messagep)
{
	const char *p = body_value(body, body_len);
	if (!p || jtext_kind(p) != '{')
		return false;
	const char *m = find_member(p, "#error"), *n = find_member(p, "name");
	if (!m || !n)
		return false;
	_cleanup_free_ char *message = plain_string(m), *name = plain_string(n);
	if (!message || !name)
		return false;
	*namep = TAKE_PTR(name);
	*messagep = TAKE_PTR(message);
	return true;
}

char *smallcaps_method(const void *body, size_t body_len)
{
	const char *p = body_value(body, body_len);
	if (!p || jtext_kind(p) != '[')
		return NULL;
	p = jtext_enter(p);
	if (!p || jtext_kind(p) != '"')
		return NULL;
	size_t len = 0;
	_cleanup_free_ char *raw = raw_string(p, &len);
	return raw && strlen(raw) == len ? plain_string(p) : NULL;
}

/* --- values for programs ---------------------------------------------------------------------------- */

int smallcaps_args(const void *body, size_t body_len, json_t **argsp)
{
	const char *text = body;
	json_error_t error;
	json_t *whole, *args;

	if (body_len < 2 || text[0] != '#')
		return SMALLCAPS_E_INVALID;
	whole = json_loadb(text + 1, body_len - 1, JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, &error);
	if (!whole)
		return json_error_code(&error) == json_error_out_of_memory ? error_origin(ENOMEM) : SMALLCAPS_E_INVALID;
	args = json_array_size(whole) == 2 ? json_array_get(whole, 1) : NULL;
	args = json_is_array(args) ? json_incref(args) : NULL;
	json_decref(whole);
	*argsp = args;
	return args ? 0 : SMALLCAPS_E_INVALID;
}

static bool parse_slot(const char *s, size_t len, size_t n_slots, size_t *slotp)
{
	size_t i = 1, n = 0;

	for (; i < len && i < 8 && s[i] >= '0' && s[i] <= '9'; i++)
		n = n * 10 + (size_t)(s[i] - '0');
	*slotp = n;
	return i > 1 && (i == len || s[i] == '.') && n < n_slots;
}

static enum smallcaps_kind look_at_constant(const char *s, struct smallcaps_seen *seen)
{
	static const struct { const char *text; double number; } numbers[] = {
		{ "#NaN", NAN }, { "#Infinity", INFINITY }, { "#-Infinity", -INFINITY },
	};

	for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
		if (!strcmp(s, numbers[i].text)) {
			seen->number = numbers[i].number;
			return SMALLCAPS_NUMBER;
		}
	}
	return strcmp(s, "#undefined") ? SMALLCAPS_UNKNOWN : SMALLCAPS_UNDEFINED;
}

static enum smallcaps_kind look_at_string(const json_t *value, size_t n_slots, struct smallcaps_seen *seen)
{
	const char *s = json_string_value(value);
	size_t len = json_string_length(value);
	bool marked = starts_special(s, len) && s[0] != '!';

	if (!marked) {
		seen->text = s + starts_special(s, len);
		seen->len = len - starts_special(s, len);
		return SMALLCAPS_STRING;
	}
	if (strlen(s) != len)
		return SMALLCAPS_UNKNOWN;
	switch (s[0]) {
	case '#':
		return look_at_constant(s, seen);
	case '+': case '-':
		seen->number = strtod(s, NULL);
		return len > 1 && strspn(s + 1, "0123456789") == len - 1 ? SMALLCAPS_BIGINT : SMALLCAPS_UNKNOWN;
	case '$': case '&':
		return parse_slot(s, len, n_slots, &seen->slot) ? SMALLCAPS_REFERENCE : SMALLCAPS_UNKNOWN;
	case '%':
		return SMALLCAPS_SYMBOL;
	default:
		return SMALLCAPS_UNKNOWN;
	}
}

struct smallcaps_seen smallcaps_look(const json_t *value, size_t n_slots)
{
	struct smallcaps_seen seen = { .kind = SMALLCAPS_UNDEFINED };

	if (!value)
		return seen;
	switch (json_typeof(value)) {
	case JSON_NULL:
		seen.kind = SMALLCAPS_NULL;
		break;
	case JSON_TRUE: case JSON_FALSE:
		seen.kind = SMALLCAPS_BOOLEAN;
		break;
	case JSON_INTEGER: case JSON_REAL:
		seen.kind = SMALLCAPS_NUMBER;
		seen.number = json_number_value(value);
		break;
	case JSON_STRING:
		seen.kind = look_at_string(value, n_slots, &seen);
		break;
	case JSON_ARRAY:
		seen.kind = SMALLCAPS_ARRAY;
		break;
	case JSON_OBJECT:
		seen.kind = json_object_get(value, "#error") ? SMALLCAPS_ERROR :
			    json_object_get(value, "#tag") ? SMALLCAPS_TAGGED : SMALLCAPS_RECORD;
		break;
	}
	return seen;
}

struct decoder { const uint64_t *slots; size_t n_slots; char *error; };

static int cannot_say(struct decoder *d, const char *what)
{
	snprintf(d->error, SMALLCAPS_ERROR_MAX, "%s cannot be said in JSON", what);
	return SMALLCAPS_E_INVALID;
}

static json_t *number_to_json(double n)
{
	bool safe = n >= -(double)SAFE_INTEGER && n <= (double)SAFE_INTEGER;

	return safe && (double)(json_int_t)n == n ? json_integer((json_int_t)n) : json_real(n);
}

static int decode_value(struct decoder *d, const json_t *value, unsigned depth, json_t **out);

static int decode_array(struct decoder *d, const json_t *array, unsigned depth, json_t *out)
{
	json_t *element;
	int r = 0;

	for (size_t i = 0; r == 0 && i < json_array_size(array); i++) {
		r = decode_value(d, json_array_get(array, i), depth + 1, &element);
		if (r == 0 && json_array_append_new(out, element))
			r = error_origin(ENOMEM);
	}
	return r;
}

static int decode_record(struct decoder *d, json_t *record, unsigned depth, json_t *out)
{
	const char *name;
	json_t *value, *element;
	int r = 0;

	json_object_foreach(record, name, value) {
		bool special = starts_special(name, strlen(name));

		if (special && name[0] != '!')
			return cannot_say(d, "a name with a mark of smallcaps");
		if (!strcmp(name + special, "@"))
			return cannot_say(d, "a record with the name \"@\"");
		if (smallcaps_look(value, d->n_slots).kind == SMALLCAPS_UNDEFINED)
			continue;
		r = decode_value(d, value, depth + 1, &element);
		if (r)
			return r;
		if (json_object_set_new(out, name + special, element))
			return error_origin(ENOMEM);
	}
	return 0;
}

static int decode_container(struct decoder *d, const json_t *value, unsigned depth, json_t **out)
{
	json_t *made = json_is_array(value) ? json_array() : json_object();
	int r;

	if (!made)
		return error_origin(ENOMEM);
	if (depth >= JTEXT_MAX_DEPTH)
		r = cannot_say(d, "what is nested so deep");
	else if (json_is_array(value))
		r = decode_array(d, value, depth, made);
	else	/* jansson's iteration wants a non-const object and changes nothing */
		r = decode_record(d, (json_t *)(uintptr_t)value, depth, made);
	if (r)
		json_decref(made);
	else
		*out = made;
	return r;
}

static int decode_value(struct decoder *d, const json_t *value, unsigned depth, json_t **out)
{
	struct smallcaps_seen seen = smallcaps_look(value, d->n_slots);
	char text[REF_TEXT_MAX];
	json_t *made = NULL;

	switch (seen.kind) {
	case SMALLCAPS_NULL:
		made = json_null();
		break;
	case SMALLCAPS_BOOLEAN:
		made = json_boolean(json_is_true(value));
		break;
	case SMALLCAPS_NUMBER:
		if (!isfinite(seen.number))
			return cannot_say(d, "NaN and Infinity");
		made = number_to_json(seen.number);
		break;
	case SMALLCAPS_STRING:
		made = json_stringn(seen.text, seen.len);
		break;
	case SMALLCAPS_REFERENCE:
		made = json_pack("{s:s}", "@", kref_format((kref_t){ d->slots[seen.slot] }, text));
		break;
	case SMALLCAPS_ARRAY: case SMALLCAPS_RECORD:
		return decode_container(d, value, depth, out);
	case SMALLCAPS_UNDEFINED:
		return cannot_say(d, "undefined");
	case SMALLCAPS_BIGINT:
		return cannot_say(d, "a bigint");
	case SMALLCAPS_SYMBOL: case SMALLCAPS_ERROR: case SMALLCAPS_TAGGED: case SMALLCAPS_UNKNOWN:
		return cannot_say(d, "a symbol, error or tagged value");
	}
	if (!made)
		return error_origin(ENOMEM);
	*out = made;
	return 0;
}

int smallcaps_to_json(const json_t *value, const uint64_t *slots, size_t n_slots, json_t **jsonp, char error[SMALLCAPS_ERROR_MAX])
{
	struct decoder d = { slots, n_slots, error };

	return decode_value(&d, value, 0, jsonp);
}

/* --- rendering ------------------------------------------------------------------------------------ */

struct renderer {
	struct jtext out;
	const char *end;		/* of the body */
	const uint64_t *slots;
	size_t n_slots;
	const char *(*slot_text)(void *ctx, uint64_t slot, char buf[40]);
	void *ctx;
};

static void show(struct jtext *out, const char *s, size_t len)
{
	size_t need = escape_bytes(NULL, 0, s, len);
	_cleanup_free_ char *text = malloc(need + 1);
	if (!text) {
		out->failed = true;
		return;
	}
	escape_bytes(text, need + 1, s, len);
	jtext_put(out, text, need);
}

static void show_quoted(struct jtext *out, const char *s, size_t len)
{
	jtext_char(out, '"');
	for (const char *quote; (quote = memchr(s, '"', len)); s = quote + 1) {
		show(out, s, (size_t)(quote - s));
		jtext_put(out, "\\\"", 2);
		len -= (size_t)(quote - s) + 1;
	}
	show(out, s, len);
	jtext_char(out, '"');
}

/* "$12" or "&12.Alleged: x"; false: not a slot of this body. */
static bool render_slot(struct renderer *r, const char *s, size_t len)
{
	size_t n;
	if (!parse_slot(s, len, r->n_slots, &n))
		return false;
	char buf[40] = "";
	const char *text = r->slot_text(r->ctx, r->slots[n], buf);
	show(&r->out, text, strlen(text));
	return true;
}

static bool render_bigint(struct renderer *r, const char *s, size_t len)
{
	if (len < 2 || strspn(s + 1, "0123456789") != len - 1)
		return false;
	if (s[0] == '-')
		jtext_char(&r->out, '-');
	jtext_put(&r->out, s + 1, len - 1);
	jtext_char(&r->out, 'n');
	return true;
}

static bool render_constant(struct renderer *r, const char *s)
{
	static const char *const constants[] = { "#undefined", "#NaN", "#Infinity", "#-Infinity" };
	for (size_t i = 0; i < ARRAY_LEN(constants); i++) {
		if (strcmp(s, constants[i]) == 0) {
			jtext_put(&r->out, s + 1, strlen(s) - 1);
			return true;
		}
	}
	return false;
}

static bool render_string(struct renderer *r, const char *p)
{
	size_t len = 0;
	_cleanup_free_ char *s = raw_string(p, &len);
	if (!s) {
		r->out.failed = true;
		return true;
	}
	if (!starts_special(s, len)) {
		show_quoted(&r->out, s, len);
		return true;
	}
	switch (s[0]) {
	case '!':
		show_quoted(&r->out, s + 1, len - 1);
		return true;
	case '#':
		return strlen(s) == len && render_constant(r, s);
	case '+': case '-':
		return render_bigint(r, s, len);
	case '$': case '&':
		return render_slot(r, s, len);
	case '%':
		jtext_put(&r->out, "Symbol(", 7);
		show(&r->out, s + 1, len - 1);
		jtext_char(&r->out, ')');
		return true;
	default:
		return false;
	}
}

static bool render_value(struct renderer *r, const char *p);

static bool render_array(struct renderer *r, const char *p)
{
	jtext_char(&r->out, '[');
	for (p = jtext_enter(p); p;) {
		if (!render_value(r, p))
			return false;
		p = jtext_next(p);
		if (p)
			jtext_put(&r->out, ", ", 2);
	}
	jtext_char(&r->out, ']');
	return true;
}

static bool is_identifier(const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (!(s[i] == '_' || s[i] == '$' || (s[i] >= 'a' && s[i] <= 'z') || (s[i] >= 'A' && s[i] <= 'Z') ||
		      (i && s[i] >= '0' && s[i] <= '9')))
			return false;
	return len > 0;
}

static bool render_name(struct renderer *r, const char *p)
{
	size_t len = 0;
	_cleanup_free_ char *s = raw_string(p, &len);
	if (!s) {
		r->out.failed = true;
		return true;
	}
	size_t skip = starts_special(s, len);
	if (skip && s[0] != '!')
		return false;
	if (is_identifier(s + skip, len - skip))
		jtext_put(&r->out, s + skip, len - skip);
	else
		show_quoted(&r->out, s + skip, len - skip);
	jtext_put(&r->out, ": ", 2);
	return true;
}

/* {"#error":…,"name":…}: Name: message. Other members (an error's id) are for machines. */
static bool render_error(struct renderer *r, const char *message, const char *object)
{
	const char *name = find_member(object, "name");
	_cleanup_free_ char *m = plain_string(message), *n = name ? plain_string(name) : NULL;
	if (!m || !n)
		return false;
	show(&r->out, n, strlen(n));
	jtext_put(&r->out, ": ", 2);
	show(&r->out, m, strlen(m));
	return true;
}

/* {"#tag":tag,"payload":value} and nothing more. */
static bool render_tagged(struct renderer *r, const char *tag)
{
	const char *payload = jtext_next(tag);
	if (!payload || !name_is(payload, "payload"))
		return false;
	payload = jtext_member(payload);
	_cleanup_free_ char *t = plain_string(tag);
	if (!t || jtext_next(payload))
		return false;
	jtext_put(&r->out, "Tagged(", 7);
	show_quoted(&r->out, t, strlen(t));
	jtext_put(&r->out, ", ", 2);
	if (!render_value(r, payload))
		return false;
	jtext_char(&r->out, ')');
	return true;
}

/*
 * Marks are looked for at the first name only, where every encoder puts them: looking further would walk
 * each nested object once per level, and a hostile body has hundreds of levels. Elsewhere they are not
 * smallcaps to us.
 */
static bool render_object(struct renderer *r, const char *p)
{
	const char *first = jtext_enter(p);
	if (first && name_is(first, "#error"))
		return render_error(r, jtext_member(first), p);
	if (first && name_is(first, "#tag"))
		return render_tagged(r, jtext_member(first));
	jtext_char(&r->out, '{');
	for (const char *m = first; m;) {
		const char *v = jtext_member(m);
		if (!render_name(r, m) || !render_value(r, v))
			return false;
		m = jtext_next(v);
		if (m)
			jtext_put(&r->out, ", ", 2);
	}
	jtext_char(&r->out, '}');
	return true;
}

/* False: JSON, but not smallcaps. */
static bool render_value(struct renderer *r, const char *p)
{
	switch (jtext_kind(p)) {
	case '{': return render_object(r, p);
	case '[': return render_array(r, p);
	case '"': return render_string(r, p);
	default:
		jtext_put(&r->out, p, (size_t)(jtext_skip(p, r->end) - p));
		return true;
	}
}

char *smallcaps_render(const void *body, size_t body_len, const uint64_t *slots, size_t n_slots,
		       const char *(*slot_text)(void *ctx, uint64_t slot, char buf[40]), void *ctx)
{
	struct renderer r = { JTEXT_INIT, (const char *)body + body_len, slots, n_slots, slot_text, ctx };
	const char *p = body_value(body, body_len);

	if (!p || !render_value(&r, p)) {
		r.out.len = 0;
		show(&r.out, body, body_len);
	}
	jtext_char(&r.out, 0);
	if (!r.out.failed)
		return r.out.data;
	jtext_deinit(&r.out);
	return NULL;
}
