/* SPDX-License-Identifier: Apache-2.0 */
/* The vat of tests/system/io.sh: shows what services bootstrap was given, and carries lines from one channel to another. */
#include <capstan/vat.h>

typedef struct { vat_ref *from, *to, *answer; int64_t n; } porter;

VAT_METHOD(porter, bootstrap)
{
	vat_value *vats, *services;
	vat_read(v, "vv", &vats, &services);
	return vat_return(v, "v", services);
}

static int next(vat *v, porter *self)
{
	vat_then(v, E(v, self->from, "read", ""), self, "line", "failed");
	return 0;
}

/* The answer is how many lines there were before the end. */
VAT_METHOD(porter, carry)
{
	vat_read(v, "rr", &self->from, &self->to);
	self->n = 0;
	self->answer = vat_hold(v, vat_promise_new(v));
	next(v, self);
	return vat_return(v, "r", self->answer);
}

VAT_METHOD(porter, line)
{
	vat_value *text;
	vat_read(v, "v", &text);
	if (vat_type(text) == VAT_NULL) {
		vat_resolve(v, self->answer, "i", self->n);
		vat_release(v, self->answer);
		self->answer = NULL;
		return 0;
	}
	self->n++;
	vat_tell(v, self->to, "write", "v", text);
	return next(v, self);
}

VAT_METHOD(porter, failed)
{
	vat_value *why;
	vat_read(v, "v", &why);
	vat_reject_with(v, self->answer, "v", why);
	vat_release(v, self->answer);
	self->answer = NULL;
	return 0;
}

static const vat_kind Porter = { "Porter", sizeof(porter), VAT_STATE(VAT_REF(porter, from), VAT_REF(porter, to)),
	VAT_METHODS({ "bootstrap", "vv", NULL, bootstrap }, { "carry", "rr", "r", carry }),
	VAT_CONTINUATIONS({ "line", NULL, NULL, line }, { "failed", NULL, NULL, failed }) };
VAT_PROGRAM(&Porter);
