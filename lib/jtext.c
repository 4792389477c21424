/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON text, reading and writing. No value tree is built: bodies are mostly a few words long, and their
 * readers want two or three fields, so a check and a walk over the bytes cost less than one allocation.
 */
#include <math.h>

#include "jtext.h"

void jtext_deinit(struct jtext *t)
{
	free(t->data);
	*t = (struct jtext)JTEXT_INIT;
}

static bool jtext_reserve(struct jtext *t, size_t more)
{
	if (t->failed || more > SIZE_MAX / 4 || t->len > SIZE_MAX / 4)
		goto failed;
	if (t->size - t->len >= more)
		return true;
	size_t size = (t->len + more) * 2 + 128;
	char *data = realloc(t->data, size);
	if (!data)
		goto failed;
	t->data = data;
	t->size = size;
	return true;
failed:
	t->failed = true;
	return false;
}

void jtext_put(struct jtext *t, const void *data, size_t len)
{
	if (len && jtext_reserve(t, len)) {
		memcpy(t->data + t->len, data, len);
		t->len += len;
	}
}

static bool must_escape(unsigned char c)
{
	return c < 0x20 || c == '"' || c == '\\';
}

void jtext_escaped(struct jtext *t, const char *s, size_t len)
{
	static const char hex[] = "0123456789abcdef";
	size_t from = 0;

	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)s[i];
		if (!must_escape(c))
			continue;
		jtext_put(t, s + from, i - from);
		from = i + 1;
		jtext_char(t, '\\');
		switch (c) {
		case '"': case '\\': jtext_char(t, (char)c); break;
		case '\b': jtext_char(t, 'b'); break;
		case '\f': jtext_char(t, 'f'); break;
		case '\n': jtext_char(t, 'n'); break;
		case '\r': jtext_char(t, 'r'); break;
		case '\t': jtext_char(t, 't'); break;
		default:
			jtext_put(t, "u00", 3);
			jtext_char(t, hex[c >> 4]);
			jtext_char(t, hex[c & 15]);
		}
	}
	jtext_put(t, s + from, len - from);
}

void jtext_int(struct jtext *t, int64_t n)
{
	char buf[24], *p = buf + sizeof(buf);
	uint64_t u = n < 0 ? -(uint64_t)n : (uint64_t)n;

	do
		*--p = (char)('0' + u % 10);
	while (u /= 10);
	if (n < 0)
		*--p = '-';
	jtext_put(t, p, (size_t)(buf + sizeof(buf) - p));
}

/* Decimal digits d.ddd × 10^exponent of a positive double. */
struct digits { char d[18]; int n, exponent; };

static bool digits_same(const struct digits *g, double d)
{
	char text[32];
	snprintf(text, sizeof(text), "%.*se%d", g->n, g->d, g->exponent - (g->n - 1));
	return strtod(text, NULL) == d;
}

/* The next larger number of as many digits. */
static void digits_up(struct digits *g)
{
	int i = g->n - 1;
	while (i >= 0 && g->d[i] == '9')
		g->d[i--] = '0';
	if (i >= 0) {
		g->d[i]++;
	} else {
		g->d[0] = '1';
		g->exponent++;
	}
}

/* `n` digits that read back as d? The nearest such number, or the one above it: at a power of two the doubles
 * lie twice as close below as above, so the nearest may belong to the neighbour while the next one up is
 * ours. */
static bool digits_try(struct digits *g, double d, int n)
{
	char text[32];
	snprintf(text, sizeof(text), "%.*e", n - 1, d);
	const char *e = strchr(text, 'e');
	assert(e);
	g->n = n;
	g->d[0] = text[0];
	memcpy(g->d + 1, text + 2, (size_t)n - 1);
	g->exponent = atoi(e + 1);
	if (digits_same(g, d))
		return true;
	digits_up(g);
	return digits_same(g, d);
}

static void digits_shortest(struct digits *g, double d)
{
	/*
	 * Below the normal range fewer digits can be enough than 15; elsewhere 15 digits without their
	 * zeros are shortest.
	 */
	int n = d < 2.2250738585072014e-308 ? 1 : 15;
	while (!digits_try(g, d, n) && n < 17)
		n++;
	while (g->n > 1 && g->d[g->n - 1] == '0')
		g->n--;
}

size_t jtext_format_double(double d, char buf[JTEXT_NUMBER_MAX])
{
	assert(isfinite(d));
	if (d == 0)
		return (size_t)snprintf(buf, JTEXT_NUMBER_MAX, "0");
	if (fabs(d) < 1e15 && d == (double)(int64_t)d)
		return (size_t)snprintf(buf, JTEXT_NUMBER_MAX, "%lld", (long long)d);

	struct digits g;
	digits_shortest(&g, fabs(d));
	const char *sign = d < 0 ? "-" : "";
	int point = g.exponent + 1, n;	/* digits before the decimal point */

	if (point >= g.n && point <= 21)
		n = snprintf(buf, JTEXT_NUMBER_MAX, "%s%.*s%.*s", sign, g.n, g.d, point - g.n, "00000000000000000000");
	else if (point > 0 && point <= 21)
		n = snprintf(buf, JTEXT_NUMBER_MAX, "%s%.*s.%.*s", sign, point, g.d, g.n - point, g.d + point);
	else if (point > -6 && point <= 0)
		n = snprintf(buf, JTEXT_NUMBER_MAX, "%s0.%.*s%.*s", sign, -point, "00000", g.n, g.d);
	else if (g.n == 1)
		n = snprintf(buf, JTEXT_NUMBER_MAX, "%s%ce%+d", sign, g.d[0], g.exponent);
	else
		n = snprintf(buf, JTEXT_NUMBER_MAX, "%s%c.%.*se%+d", sign, g.d[0], g.n - 1, g.d + 1, g.exponent);
	assert(n > 0 && n < JTEXT_NUMBER_MAX);
	return (size_t)n;
}

void jtext_double(struct jtext *t, double d)
{
	char buf[JTEXT_NUMBER_MAX];
	jtext_put(t, buf, jtext_format_double(d, buf));
}

/* Bytes of the well-formed UTF-8 sequence at s, 0 when it is none. */
static size_t utf8_len(const unsigned char *s, size_t left)
{
	unsigned char c = s[0];
	if (c < 0x80)
		return 1;
	size_t n = c >= 0xc2 && c <= 0xdf ? 2 : (c & 0xf0) == 0xe0 ? 3 : c >= 0xf0 && c <= 0xf4 ? 4 : 0;
	if (n == 0 || n > left)
		return 0;
	for (size_t i = 1; i < n; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	if ((c == 0xe0 && s[1] < 0xa0) || (c == 0xed && s[1] > 0x9f) || (c == 0xf0 && s[1] < 0x90) ||
	    (c == 0xf4 && s[1] > 0x8f))
		return 0;
	return n;
}

bool jtext_is_utf8(const char *s, size_t len)
{
	for (size_t i = 0; i < len;) {
		size_t n = utf8_len((const unsigned char *)s + i, len - i);
		if (n == 0)
			return false;
		i += n;
	}
	return true;
}

/* An array index of JavaScript: a number below 2^32 - 1 in its one spelling. */
static bool is_index(const char *s, size_t len, uint64_t *outp)
{
	if (len == 0 || len > 10 || (s[0] == '0' && len > 1))
		return false;
	uint64_t n = 0;
	for (size_t i = 0; i < len; i++) {
		if (s[i] < '0' || s[i] > '9')
			return false;
		n = n * 10 + (uint64_t)(s[i] - '0');
	}
	if (n >= UINT32_MAX)
		return false;
	*outp = n;
	return true;
}

int jtext_name_order(const char *a, size_t a_len, const char *b, size_t b_len)
{
	uint64_t ai = 0, bi = 0;
	bool a_index = is_index(a, a_len, &ai), b_index = is_index(b, b_len, &bi);

	if (a_index && b_index)
		return ai < bi ? -1 : ai > bi;
	if (a_index || b_index)
		return a_index ? -1 : 1;
	size_t n = a_len < b_len ? a_len : b_len;
	for (size_t i = 0; i < n; i++) {
		unsigned char x = (unsigned char)a[i], y = (unsigned char)b[i];
		if (x == y)
			continue;
		/* Surrogates (4 bytes in UTF-8) come before U+E000..U+FFFF in UTF-16. */
		if (x >= 0xf0 && (y == 0xee || y == 0xef))
			return -1;
		if (y >= 0xf0 && (x == 0xee || x == 0xef))
			return 1;
		return x < y ? -1 : 1;
	}
	return a_len < b_len ? -1 : a_len > b_len;
}

/* --- checking ------------------------------------------------------------------------------------- */

struct check { const char *p, *end; };

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static void check_space(struct check *c)
{
	while (c->p < c->end && is_space(*c->p))
		c->p++;
}

static bool check_word(struct check *c, const char *word)
{
	size_t n = strlen(word);
	if ((size_t)(c->end - c->p) < n || memcmp(c->p, word, n))
		return false;
	c->p += n;
	return true;
}

static bool check_digits(struct check *c)
{
	const char *from = c->p;
	while (c->p < c->end && is_digit(*c->p))
		c->p++;
	return c->p > from;
}

static bool check_number(struct check *c)
{
	if (*c->p == '-')
		c->p++;
	if (c->p < c->end && *c->p == '0')
		c->p++;
	else if (!check_digits(c))
		return false;
	if (c->p < c->end && *c->p == '.') {
		c->p++;
		if (!check_digits(c))
			return false;
	}
	if (c->p < c->end && (*c->p == 'e' || *c->p == 'E')) {
		c->p++;
		if (c->p < c->end && (*c->p == '+' || *c->p == '-'))
			c->p++;
		return check_digits(c);
	}
	return true;
}

static int hex_value(char c)
{
	return is_digit(c) ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Four hex digits; -1: not. */
static int32_t hex4(const char *p)
{
	int32_t v = 0;
	for (int i = 0; i < 4; i++) {
		int h = hex_value(p[i]);
		if (h < 0)
			return -1;
		v = v << 4 | h;
	}
	return v;
}

/* At the byte after a backslash. */
static bool check_escape(struct check *c)
{
	if (c->p == c->end)
		return false;
	char e = *c->p++;
	if (e != 'u')
		return e && strchr("\"\\/bfnrt", e);
	int32_t v = c->end - c->p < 4 ? -1 : hex4(c->p);
	if (v < 0 || (v >= 0xdc00 && v <= 0xdfff))
		return false;
	c->p += 4;
	if (v < 0xd800 || v > 0xdfff)
		return true;
	if (c->end - c->p < 6 || c->p[0] != '\\' || c->p[1] != 'u')
		return false;
	v = hex4(c->p + 2);
	c->p += 6;
	return v >= 0xdc00 && v <= 0xdfff;
}

static bool check_string(struct check *c)
{
	if (c->p == c->end || *c->p++ != '"')
		return false;
	while (c->p < c->end) {
		unsigned char b = (unsigned char)*c->p;
		if (b == '"') {
			c->p++;
			return true;
		}
		if (b < 0x20)
			return false;
		if (b == '\\') {
			c->p++;
			if (!check_escape(c))
				return false;
			continue;
		}
		size_t n = utf8_len((const unsigned char *)c->p, (size_t)(c->end - c->p));
		if (n == 0)
			return false;
		c->p += n;
	}
	return false;
}

static bool check_name(struct check *c)
{
	check_space(c);
	if (!check_string(c))
		return false;
	check_space(c);
	return c->p < c->end && *c->p++ == ':';
}

static bool check_scalar(struct check *c)
{
	switch (*c->p) {
	case '"': return check_string(c);
	case 't': return check_word(c, "true");
	case 'f': return check_word(c, "false");
	case 'n': return check_word(c, "null");
	default: return (*c->p == '-' || is_digit(*c->p)) && check_number(c);
	}
}

/* After a value: closing brackets and a comma. False: malformed. *depthp 0: the text is complete. */
static bool check_after(struct check *c, const char *open, unsigned *depthp)
{
	while (*depthp) {
		bool object = open[*depthp - 1] == '{';
		check_space(c);
		if (c->p == c->end)
			return false;
		char b = *c->p++;
		if (b == ',')
			return !object || check_name(c);
		if (b != (object ? '}' : ']'))
			return false;
		--*depthp;
	}
	return true;
}

bool jtext_check(const char *text, size_t len)
{
	struct check c = { text, text + len };
	char open[JTEXT_MAX_DEPTH];
	unsigned depth = 0;

	do {
		check_space(&c);
		if (c.p == c.end)
			return false;
		if (*c.p != '{' && *c.p != '[') {
			if (!check_scalar(&c))
				return false;
		} else {
			if (depth == JTEXT_MAX_DEPTH)
				return false;
			open[depth++] = *c.p++;
			check_space(&c);
			if (c.p == c.end)
				return false;
			bool object = open[depth - 1] == '{';
			if (*c.p != (object ? '}' : ']')) {
				if (object && !check_name(&c))
					return false;
				continue;
			}
			c.p++;
			depth--;
		}
		if (!check_after(&c, open, &depth))
			return false;
	} while (depth);
	check_space(&c);
	return c.p == c.end;
}

/* --- the walk ------------------------------------------------------------------------------------- */

static const char *skip_space(const char *p)
{
	while (is_space(*p))
		p++;
	return p;
}

static const char *skip_string(const char *p)
{
	for (p++; *p != '"'; p++)
		if (*p == '\\')
			p++;
	return p + 1;
}

const char *jtext_start(const char *text)
{
	return skip_space(text);
}

/* Numbers are the one value whose end is only known by what follows; inside brackets something always does. */
static const char *skip_number(const char *p, const char *end)
{
	while (p != end && (is_digit(*p) || *p == '-' || *p == '+' || *p == '.' || *p == 'e' || *p == 'E'))
		p++;
	return p;
}

static const char *skip_scalar(const char *p, const char *end)
{
	switch (*p) {
	case '"': return skip_string(p);
	case 't': case 'n': return p + 4;
	case 'f': return p + 5;
	default: return skip_number(p, end);
	}
}

/* `end` may be NULL where a number cannot be the last thing in the text. */
static const char *skip_value(const char *p, const char *end)
{
	if (*p != '{' && *p != '[')
		return skip_scalar(p, end);
	size_t depth = 0;
	do {
		if (*p == '"') {
			p = skip_string(p);
			continue;
		}
		if (*p == '{' || *p == '[')
			depth++;
		else if (*p == '}' || *p == ']')
			depth--;
		p++;
	} while (depth);
	return p;
}

const char *jtext_skip(const char *p, const char *end)
{
	return skip_value(p, end);
}

const char *jtext_enter(const char *p)
{
	p = skip_space(p + 1);
	return *p == ']' || *p == '}' ? NULL : p;
}

const char *jtext_next(const char *p)
{
	p = skip_space(skip_value(p, NULL));
	return *p == ',' ? skip_space(p + 1) : NULL;
}

const char *jtext_member(const char *name)
{
	return skip_space(skip_space(skip_string(name)) + 1);
}

size_t jtext_string_bound(const char *p)
{
	return (size_t)(skip_string(p) - p);	/* two quotes more than needed, and no escape is shorter than its bytes */
}

static char *put_utf8(char *out, uint32_t c)
{
	if (c < 0x80) {
		*out++ = (char)c;
	} else if (c < 0x800) {
		*out++ = (char)(0xc0 | c >> 6);
		*out++ = (char)(0x80 | (c & 63));
	} else if (c < 0x10000) {
		*out++ = (char)(0xe0 | c >> 12);
		*out++ = (char)(0x80 | (c >> 6 & 63));
		*out++ = (char)(0x80 | (c & 63));
	} else {
		*out++ = (char)(0xf0 | c >> 18);
		*out++ = (char)(0x80 | (c >> 12 & 63));
		*out++ = (char)(0x80 | (c >> 6 & 63));
		*out++ = (char)(0x80 | (c & 63));
	}
	return out;
}

/* At the byte after the backslash; returns the byte after the escape. */
static const char *unescape(const char *p, char **outp)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";

	if (*p != 'u') {
		*(*outp)++ = to[strchr(from, *p) - from];
		return p + 1;
	}
	uint32_t c = (uint32_t)hex4(p + 1);
	p += 5;
	if (c >= 0xd800 && c <= 0xdbff) {
		c = 0x10000 + ((c - 0xd800) << 10) + ((uint32_t)hex4(p + 2) - 0xdc00);
		p += 6;
	}
	*outp = put_utf8(*outp, c);
	return p;
}

size_t jtext_string(const char *p, char *out)
{
	char *o = out;
	for (p++; *p != '"';) {
		if (*p == '\\')
			p = unescape(p + 1, &o);
		else
			*o++ = *p++;
	}
	*o = 0;
	return (size_t)(o - out);
}

double jtext_number(const char *p, const char *end)
{
	const char *stop = skip_number(p, end);
	size_t len = (size_t)(stop - p);
	char buf[64];

	if (len <= 15) {	/* up to 15 digits: exact without strtod, and nearly every number is one */
		const char *d = *p == '-' ? p + 1 : p;
		int64_t n = 0;
		while (d < stop && is_digit(*d))
			n = n * 10 + (*d++ - '0');
		if (d == stop)
			return *p == '-' ? -(double)n : (double)n;
	}
	if (len < sizeof(buf)) {
		memcpy(buf, p, len);
		buf[len] = 0;
		return strtod(buf, NULL);
	}
	_cleanup_free_ char *copy = strndup(p, len);
	return copy ? strtod(copy, NULL) : (double)NAN;
}
