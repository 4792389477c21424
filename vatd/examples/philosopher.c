/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A philosopher: takes the first fork, then the second, eats, puts both down, thinks, until full. Each is a vat, so
 * they think and eat at the same time; each step is a message, so between them anything may be killed.
 */
#include <capstan/vat.h>

typedef struct {
	vat_ref *table, *first, *second;
	int64_t eaten;
	int64_t wanted;			/* not saved: init sets it at each start */
} philosopher;

VAT_METHOD(philosopher, init)
{
	self->wanted = 20;
	return vat_read(v, "?{meals:?i}", &self->wanted);
}

VAT_METHOD(philosopher, sit)
{
	vat_read(v, "rrr", &self->table, &self->first, &self->second);
	vat_tell(v, self->first, "take", "r", vat_self(v));
	return 0;
}

VAT_METHOD(philosopher, got)
{
	vat_ref *fork;
	vat_read(v, "r", &fork);
	if (fork == self->first)
		vat_tell(v, self->second, "take", "r", vat_self(v));
	else if (fork == self->second)
		vat_when(v, E(v, self->table, "begins", ""), self, "eat");
	return 0;
}

/* Some work for the processor. */
static void digest(void)
{
	for (volatile int i = 0; i < 200000; i++)
		;
}

VAT_METHOD(philosopher, eat)
{
	digest();
	self->eaten++;
	bool full = self->eaten == self->wanted;
	vat_tell(v, self->table, "ends", "b", full);
	vat_tell(v, self->first, "put", "");
	vat_tell(v, self->second, "put", "");
	if (full)
		vat_log(v, "full after %lld meals", (long long)self->eaten);
	else
		vat_tell(v, self->first, "take", "r", vat_self(v));
	return 0;
}

static const vat_kind Philosopher = { "Philosopher", sizeof(philosopher), VAT_INIT(init),
	VAT_STATE(VAT_REF(philosopher, table), VAT_REF(philosopher, first), VAT_REF(philosopher, second), VAT_I64(philosopher, eaten)),
	VAT_METHODS({ "sit", "rrr", NULL, sit }, { "got", "r", NULL, got }),
	VAT_CONTINUATIONS({ "eat", "v", NULL, eat }) };
VAT_PROGRAM(&Philosopher);
