/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON text as JavaScript reads and writes it: what smallcaps bodies are made of. The vat library and the
 * edges (smallcaps.c) share it, so that a body is byte for byte what JSON.stringify would have written,
 * whoever made it.
 *
 * Reading is in two steps. jtext_check() accepts or refuses a whole text; it is total. The walk
 * (jtext_kind, _enter, _next, …) takes positions inside a text that was accepted, and cannot fail or run
 * past its end.
 */
#ifndef CAPSTAN_JTEXT_H
#define CAPSTAN_JTEXT_H

#include "util.h"

#define JTEXT_MAX_DEPTH		512	/* nested arrays and objects; bounds every recursion over a text */
#define JTEXT_NUMBER_MAX	32	/* bytes that hold any number as text, NUL included */

/* Growing text that remembers its first failure (no memory); then everything is a no-op. */
struct jtext { char *data; size_t len, size; bool failed; };
#define JTEXT_INIT { 0 }
void jtext_deinit(struct jtext *t);
void jtext_put(struct jtext *t, const void *data, size_t len);
static inline void jtext_char(struct jtext *t, char c)
{
	if (__builtin_expect(t->len < t->size, 1))
		t->data[t->len++] = c;
	else
		jtext_put(t, &c, 1);
}
/*
 * The inside of a JSON string, without its quotes: " and \ and control characters escaped as JSON.stringify
 * does.
 */
void jtext_escaped(struct jtext *t, const char *s, size_t len);
void jtext_double(struct jtext *t, double d);	/* finite; -0 is written 0 */
void jtext_int(struct jtext *t, int64_t n);

/* Number::toString of ECMAScript for a finite double, by its shortest digits that read back the same. */
size_t jtext_format_double(double d, char buf[JTEXT_NUMBER_MAX]);

bool jtext_is_utf8(const char *s, size_t len);
/*
 * Order of property names in what JavaScript writes for a sorted record: array indices by value, then
 * UTF-16 order.
 */
int jtext_name_order(const char *a, size_t a_len, const char *b, size_t b_len);

/*
 * One JSON value with only white space around it, in UTF-8, no unpaired surrogate, no deeper than the
 * limit.
 */
bool jtext_check(const char *text, size_t len);

/* The walk. Positions are at the first byte of a value; `end` is the end of the whole text. */
const char *jtext_start(const char *text);		/* the value of an accepted text */
static inline char jtext_kind(const char *p)		/* one of { [ " t f n 0 */
{
	return *p == '-' || (*p >= '0' && *p <= '9') ? '0' : *p;
}
const char *jtext_skip(const char *p, const char *end);	/* just after the value */
const char *jtext_enter(const char *p);			/* first element or name of [ or {; NULL: empty */
const char *jtext_next(const char *p);			/* the element after the one at p, or name after the value at p; NULL: none */
const char *jtext_member(const char *name);		/* the value that belongs to the name at `name` */
/*
 * Decode the string at p; `out` holds jtext_string_bound(p) bytes; NUL added; returns the length without
 * it.
 */
size_t jtext_string_bound(const char *p);
size_t jtext_string(const char *p, char *out);
double jtext_number(const char *p, const char *end);	/* ±infinity when too large, as JSON.parse */

#endif
