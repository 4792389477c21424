/* SPDX-License-Identifier: Apache-2.0 */
/*
 * busy: a vat that is never idle. run(ticks, width) sends itself `width` messages `tick`, and each tick sends the next,
 * until there were `ticks` of them; then its answer comes. So a crank here is: one message in, one message out, to itself;
 * the broker takes it from the vat's queue and puts the next one in, in one transaction. `width` keeps the queue filled.
 */
#include <capstan/vat.h>

typedef struct { vat_ref *result; int64_t left, unsent; } root;

VAT_METHOD(root, tick)
{
	if (self->unsent) {
		self->unsent--;
		vat_tell(v, vat_self(v), "tick", "");
	}
	if (--self->left)
		return 0;
	vat_resolve(v, self->result, "u");
	vat_release(v, self->result);
	self->result = NULL;
	return 0;
}

VAT_METHOD(root, run)
{
	int64_t ticks, width;

	vat_read(v, "ii", &ticks, &width);
	if (self->result)
		return vat_fail(v, "Error", "busy already");
	if (width < 1 || ticks < width)
		return vat_fail(v, "RangeError", "width starts at 1, ticks at width");
	self->left = ticks;
	self->unsent = ticks - width;
	for (int64_t i = 0; i < width; i++)
		vat_tell(v, vat_self(v), "tick", "");
	self->result = vat_hold(v, vat_promise_new(v));
	return vat_return(v, "r", self->result);
}

static const vat_kind Root = { "Busy", sizeof(root),
	VAT_METHODS({ "run", "ii", NULL, run }, { "tick", "", NULL, tick }) };
VAT_PROGRAM(&Root);
