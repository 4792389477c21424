/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of the dining philosophers: it has each of them sit between two forks, and counts who eats. Guests and
 * forks are vats of their own, so all of this happens at once.
 */
#include <capstan/vat.h>

enum { SEATS = 5 };
typedef struct { int64_t full, meals, eating, most; vat_ref *over; } table;	/* over: a promise, not saved */

/* Each takes first the fork that comes first in the row, so no circle of waiting can close. */
VAT_METHOD(table, bootstrap)
{
	vat_ref *guest[SEATS], *fork[SEATS];
	vat_read(v, "{arendt:r,hypatia:r,kant:r,laozi:r,seneca:r,fork1:r,fork2:r,fork3:r,fork4:r,fork5:r}", &guest[0],
		 &guest[1], &guest[2], &guest[3], &guest[4], &fork[0], &fork[1], &fork[2], &fork[3], &fork[4]);
	for (int i = 0; i < SEATS - 1; i++)
		vat_tell(v, guest[i], "sit", "rrr", vat_self(v), fork[i], fork[i + 1]);
	vat_tell(v, guest[SEATS - 1], "sit", "rrr", vat_self(v), fork[0], fork[SEATS - 1]);
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
	bool over = self->full == SEATS && self->over;
	return over ? vat_resolve(v, self->over, "{meals:i,atOnce:i}", self->meals, self->most) : 0;
}

/* How it was, when all are full. */
VAT_METHOD(table, dinner)
{
	if (self->full == SEATS)
		return vat_return(v, "{meals:i,atOnce:i}", self->meals, self->most);
	if (!self->over)
		self->over = vat_hold(v, vat_promise_new(v));
	return vat_return(v, "r", self->over);
}

static const vat_kind Table = { "Table", sizeof(table),
	VAT_STATE(VAT_I64(table, full), VAT_I64(table, meals), VAT_I64(table, eating), VAT_I64(table, most)),
	VAT_METHODS({ "bootstrap", NULL, "r", bootstrap }, { "begins", "", NULL, begins }, { "ends", "b", NULL, ends },
		    { "dinner", "", NULL, dinner }) };
VAT_PROGRAM(&Table);
