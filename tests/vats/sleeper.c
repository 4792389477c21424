/* SPDX-License-Identifier: Apache-2.0 */
/* Uses the kernel's timer for the tests, and counts, for good, how often it was woken. */
#include <capstan/vat.h>

typedef struct { vat_ref *timer; int64_t wakes, passed; } sleeper;

VAT_METHOD(sleeper, bootstrap)
{
	vat_read(v, "v{timer:r}", NULL, &self->timer);
	return vat_return(v, "r", vat_self(v));
}

/* At `time`, and after `ms` milliseconds. */
VAT_METHOD(sleeper, arm)
{
	int64_t time, ms;
	vat_read(v, "ii", &time, &ms);
	vat_tell(v, self->timer, "setWakeup", "ir", time, vat_self(v));
	vat_when(v, vat_call(v, self->timer, "delay", "i", ms), self, "passed");
	return 0;
}

VAT_METHOD(sleeper, wake)
{
	self->wakes++;
	return 0;
}

VAT_METHOD(sleeper, passed)
{
	self->passed++;
	return 0;
}

VAT_METHOD(sleeper, told)
{
	return vat_return(v, "[ii]", self->wakes, self->passed);
}

static const vat_kind Sleeper = { "Sleeper", sizeof(sleeper),
	VAT_STATE(VAT_REF(sleeper, timer), VAT_I64(sleeper, wakes), VAT_I64(sleeper, passed)),
	VAT_METHODS({ "bootstrap", NULL, "r", bootstrap }, { "arm", "ii", NULL, arm }, { "wake", "v", NULL, wake },
		    { "told", "", NULL, told }),
	VAT_CONTINUATIONS({ "passed", NULL, NULL, passed }) };
VAT_PROGRAM(&Sleeper);
