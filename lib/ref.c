/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text of references and endpoints, and what a legal vref is. Every reference has exactly one spelling, so that
 * text compares as the reference does: decimal without leading zeros, "ko", "kp", "o", "p", "v", "d" in lower case.
 */
#include <capstan/ref.h>

#include "util.h"

/* Inside the 60 bits of a virtual or durable reference. */
#define KIND_SHIFT	44
#define KIND_MAX	((UINT64_C(1) << 16) - 1)
#define INSTANCE_SHIFT	8
#define INSTANCE_MAX	((UINT64_C(1) << 36) - 1)
#define FACET_MAX	254u	/* stored plus one in 8 bits */

static uint64_t vref_instance(vref_t v)
{
	return v.bits >> INSTANCE_SHIFT & INSTANCE_MAX;
}

bool vref_is_legal(vref_t v)
{
	uint64_t form = v.bits & REF_FORM_MASK;

	if (form == REF_FORM_MASK)
		return false;
	if (form)
		return !(v.bits & (REF_PROMISE | REF_MINUS)) && vref_instance(v) > 0;
	if (v.bits & (REF_PROMISE | REF_MINUS))
		return vref_number(v) > 0;
	return true;
}

/* Bits that are no reference at all (a corrupt row, a debugger's eye) still get a text, which parses as nothing. */
static char *format_strange(char buf[REF_TEXT_MAX], uint64_t bits)
{
	snprintf(buf, REF_TEXT_MAX, "?%016llx", (unsigned long long)bits);
	return buf;
}

char *kref_format(kref_t k, char buf[REF_TEXT_MAX])
{
	if (kref_is_none(k))
		return strcpy(buf, "none");
	if ((k.bits & (REF_MINUS | REF_FORM_MASK)) || kref_number(k) == 0)
		return format_strange(buf, k.bits);
	snprintf(buf, REF_TEXT_MAX, "k%c%llu", kref_is_promise(k) ? 'p' : 'o', (unsigned long long)kref_number(k));
	return buf;
}

char *vref_format(vref_t v, char buf[REF_TEXT_MAX])
{
	unsigned int facet = v.bits & 0xff;
	int n;

	if (vref_is_none(v))
		return strcpy(buf, "none");
	if (!vref_is_legal(v))
		return format_strange(buf, v.bits);
	if (!(v.bits & REF_FORM_MASK)) {
		snprintf(buf, REF_TEXT_MAX, "%c%c%llu", vref_is_promise(v) ? 'p' : 'o', vref_is_import(v) ? '-' : '+',
			 (unsigned long long)vref_number(v));
		return buf;
	}
	n = snprintf(buf, REF_TEXT_MAX, "o+%c%u.%llu", vref_is_durable(v) ? 'd' : 'v',
		     (unsigned int)(vref_number(v) >> KIND_SHIFT), (unsigned long long)vref_instance(v));
	if (facet > 0)
		snprintf(buf + n, REF_TEXT_MAX - (size_t)n, ":%u", facet - 1);
	return buf;
}

char *endpoint_format(endpoint_t e, char buf[REF_TEXT_MAX])
{
	enum endpoint_kind kind = endpoint_kind(e);

	if (endpoint_is_none(e))
		return strcpy(buf, "none");
	if (endpoint_equal(e, ENDPOINT_K))
		return strcpy(buf, "k");
	if ((kind != ENDPOINT_VAT && kind != ENDPOINT_REMOTE) || endpoint_number(e) == 0)
		return format_strange(buf, e.bits);
	snprintf(buf, REF_TEXT_MAX, "%c%llu", kind == ENDPOINT_VAT ? 'v' : 'r',
		 (unsigned long long)endpoint_number(e));
	return buf;
}

/* A cursor over the text; each step either consumes or leaves it alone and says no. */
struct text { const char *pos, *end; };

static bool take_char(struct text *t, char c)
{
	if (t->pos == t->end || *t->pos != c)
		return false;
	t->pos++;
	return true;
}

/* One decimal number, no sign, no leading zero, at most `max`. */
static bool take_number(struct text *t, uint64_t max, uint64_t *np)
{
	const char *first = t->pos;
	uint64_t n = 0;

	while (t->pos < t->end && *t->pos >= '0' && *t->pos <= '9') {
		unsigned int digit = (unsigned int)(*t->pos - '0');

		if (n > (max - digit) / 10 || (t->pos > first && *first == '0'))
			return false;
		n = n * 10 + digit;
		t->pos++;
	}
	if (t->pos == first)
		return false;
	*np = n;
	return true;
}

static bool is_at_end(const struct text *t)
{
	return t->pos == t->end;
}

bool kref_parse(const char *text, size_t len, kref_t *outp)
{
	struct text t = { text, text + len };
	bool promise;
	uint64_t n;

	if (!take_char(&t, 'k'))
		return false;
	promise = take_char(&t, 'p');
	if (!promise && !take_char(&t, 'o'))
		return false;
	if (!take_number(&t, REF_NUMBER_MASK, &n) || n == 0 || !is_at_end(&t))
		return false;
	*outp = promise ? kp(n) : ko(n);
	return true;
}

/* After "o+v" or "o+d": kind.instance[:facet]. */
static bool take_instance(struct text *t, uint64_t form, vref_t *vp)
{
	uint64_t kind, instance, facet, facet_bits = 0;

	if (!take_number(t, KIND_MAX, &kind) || !take_char(t, '.') || !take_number(t, INSTANCE_MAX, &instance))
		return false;
	if (take_char(t, ':')) {
		if (!take_number(t, FACET_MAX, &facet))
			return false;
		facet_bits = facet + 1;
	}
	vp->bits = form | kind << KIND_SHIFT | instance << INSTANCE_SHIFT | facet_bits;
	return true;
}

bool vref_parse(const char *text, size_t len, vref_t *outp)
{
	struct text t = { text, text + len };
	bool promise, minus, ok;
	uint64_t n;
	vref_t v;

	promise = take_char(&t, 'p');
	if (!promise && !take_char(&t, 'o'))
		return false;
	minus = take_char(&t, '-');
	if (!minus && !take_char(&t, '+'))
		return false;
	if (take_char(&t, 'v')) {
		ok = take_instance(&t, REF_VIRTUAL, &v);
	} else if (take_char(&t, 'd')) {
		ok = take_instance(&t, REF_DURABLE, &v);
	} else {
		ok = take_number(&t, REF_NUMBER_MASK, &n);
		v.bits = ok ? n : 0;
	}
	if (!ok || !is_at_end(&t))
		return false;
	v.bits |= (promise ? REF_PROMISE : 0) | (minus ? REF_MINUS : 0);
	if (!vref_is_legal(v))
		return false;
	*outp = v;
	return true;
}

bool id_parse(char letter, const char *text, size_t len, uint64_t *outp)
{
	struct text t = { text, text + len };
	uint64_t n;

	if (!take_char(&t, letter) || !take_number(&t, REF_NUMBER_MASK, &n) || n == 0 || !is_at_end(&t))
		return false;
	*outp = n;
	return true;
}

bool endpoint_parse(const char *text, size_t len, endpoint_t *outp)
{
	uint64_t n;

	if (len == 1 && text[0] == 'k')
		*outp = ENDPOINT_K;
	else if (id_parse('v', text, len, &n))
		*outp = endpoint_vat(n);
	else if (id_parse('r', text, len, &n))
		*outp = (endpoint_t){ (uint64_t)ENDPOINT_REMOTE << ENDPOINT_SHIFT | n };
	else
		return false;
	return true;
}
