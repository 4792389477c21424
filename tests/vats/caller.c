/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A durable caller for the durability tests: makes the counter increment n times, one call after the other,
 * and counts in its saved state what it issued and what was acknowledged. Each call is issued in the crank
 * that counts it, and its continuation stands in the store, so at rest after any number of kills: issued ==
 * acked + refused, and the counter shows acked.
 */
#include <capstan/vat.h>

typedef struct {
	vat_ref *counter;
	int64_t issued, acked, refused;
	int64_t wanted;			/* calls still to issue */
	bool waiting;			/* one is out */
} caller;

static void call_next(vat *v, caller *self)
{
	if (self->waiting || self->wanted == 0)
		return;
	vat_ref *answer = E(v, self->counter, "increment", "");
	vat_when(v, answer, self, "acknowledged");
	vat_catch(v, answer, self, "rejected");
	self->waiting = true;
	self->wanted--;
	self->issued++;
}

VAT_METHOD(caller, bootstrap)
{
	vat_ref *counter;
	if (vat_read(v, "{counter:r}", &counter))
		return -1;
	self->counter = counter;
	return vat_return(v, "r", vat_self(v));
}

/* Answers at once with what is to do; `report` tells when it is done. */
VAT_METHOD(caller, run)
{
	int64_t n;
	vat_read(v, "i", &n);
	if (!self->counter)
		return vat_fail(v, "Error", "run before bootstrap");
	if (n < 0)
		return vat_fail(v, "RangeError", "run %lld times?", (long long)n);
	self->wanted += n;
	call_next(v, self);
	return vat_return(v, "i", self->wanted);
}

VAT_METHOD(caller, acknowledged)
{
	self->waiting = false;
	self->acked++;
	call_next(v, self);
	return 0;
}

VAT_METHOD(caller, rejected)
{
	const char *name = "?", *message = "?";
	vat_read(v, "e", &name, &message);
	vat_warn(v, "increment was refused: %s: %s", name, message);
	self->waiting = false;
	self->refused++;
	call_next(v, self);
	return 0;
}

VAT_METHOD(caller, report)
{
	return vat_return(v, "{issued:i,acked:i,refused:i,wanted:i}", self->issued, self->acked, self->refused, self->wanted);
}

VAT_METHOD(caller, counter)
{
	return vat_return(v, "r", self->counter);
}

static const vat_kind Caller = { "Caller", sizeof(caller),
	VAT_STATE(VAT_REF(caller, counter), VAT_I64(caller, issued), VAT_I64(caller, acked), VAT_I64(caller, refused),
		  VAT_I64(caller, wanted), VAT_BOOL(caller, waiting)),
	VAT_METHODS({ "bootstrap", "{counter:r}?v", "r", bootstrap },
		    { "run", "i", "i", run },
		    { "report", "", NULL, report },
		    { "counter", "", "r", counter }),
	VAT_CONTINUATIONS({ "acknowledged", "i", NULL, acknowledged },
			  { "rejected", "v", NULL, rejected }) };
VAT_PROGRAM(&Caller);
