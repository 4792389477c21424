/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of the dining philosophers: a fork between each two of them, and a record of who eats. A fork knows
 * who holds it and who waits for it. All of that is saved: whatever is killed while they eat, no fork is lost.
 */
#include <capstan/vat.h>

typedef struct { vat_ref *holder, *waiting; } fork;

static int hand_over(vat *v, fork *self, vat_ref *to)
{
	self->holder = to;
	if (to)
		vat_tell(v, to, "got", "r", vat_self(v));
	return 0;
}

VAT_METHOD(fork, take)
{
	vat_ref *who;
	vat_read(v, "r", &who);
	if (!self->holder)
		return hand_over(v, self, who);
	if (self->waiting)
		return vat_fail(v, "Error", "a fork lies between two, not three");
	self->waiting = who;
	return 0;
}

VAT_METHOD(fork, put)
{
	vat_ref *next = self->waiting;
	self->waiting = NULL;
	return hand_over(v, self, next);
}

static const vat_kind Fork = { "Fork", sizeof(fork), VAT_STATE(VAT_REF(fork, holder), VAT_REF(fork, waiting)),
	VAT_METHODS({ "take", "r", NULL, take }, { "put", "", NULL, put }) };

typedef struct { int64_t guests, full, meals, eating, most; vat_ref *over; } table;	/* over: a promise, not saved */

/* Each takes first the one of his forks that was laid first: so no circle of waiting can close. */
VAT_METHOD(table, bootstrap)
{
	vat_ref *seats[16], *forks[16];
	vat_value *vats;
	vat_read(v, "v", &vats);
	for (size_t i = 0; i < vat_length(vats) && self->guests < 16; i++) {
		vat_value_read(v, vat_at(v, vats, i), "r", &seats[self->guests]);
		if (seats[self->guests] != vat_self(v))
			forks[self->guests++] = vat_new(v, &Fork, "");
	}
	for (int64_t i = 0, next; i < self->guests; i++) {
		next = (i + 1) % self->guests;
		vat_tell(v, seats[i], "sit", "rrr", vat_self(v), forks[i < next ? i : next], forks[i < next ? next : i]);
	}
	return vat_return(v, "r", vat_self(v));
}

VAT_METHOD(table, begins)
{
	self->most = ++self->eating > self->most ? self->eating : self->most;
	return 0;
}

VAT_METHOD(table, ends)
{
	bool full;
	vat_read(v, "b", &full);
	self->eating--;
	self->meals++;
	self->full += full;
	bool over = self->full == self->guests && self->over;
	return over ? vat_resolve(v, self->over, "{meals:i,atOnce:i}", self->meals, self->most) : 0;
}

/* How it was, when all are full. */
VAT_METHOD(table, dinner)
{
	if (self->full == self->guests)
		return vat_return(v, "{meals:i,atOnce:i}", self->meals, self->most);
	if (!self->over)
		self->over = vat_hold(v, vat_promise_new(v));
	return vat_return(v, "r", self->over);
}

static const vat_kind Table = { "Table", sizeof(table), VAT_STATE(VAT_I64(table, guests), VAT_I64(table, full),
		VAT_I64(table, meals), VAT_I64(table, eating), VAT_I64(table, most)),
	VAT_METHODS({ "bootstrap", "v?v", NULL, bootstrap }, { "begins", "", NULL, begins }, { "ends", "b", NULL, ends },
		    { "dinner", "", NULL, dinner }) };
VAT_PROGRAM(&Table, &Fork);
