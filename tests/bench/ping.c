/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ping: measures round trips to another vat, with its own clock, over its own continuations.
 *
 * run(rounds, depth) sends `depth` calls in one crank, waits until all are answered, and does so `rounds` times; it
 * answers with the nanoseconds of all of them together. depth 1 is the sequential round trip.
 */
#include <capstan/vat.h>

#include "clock.h"

/* One measurement. An ephemeral object: its continuations need no place in the store. */
typedef struct {
	vat_ref *pong, *result;
	int64_t rounds, depth, n_waiting, start;
} measure;

static void send_round(vat *v, measure *self)
{
	for (int64_t i = 0; i < self->depth; i++)
		vat_when(v, vat_call(v, self->pong, "ping", ""), self, "answered");
	self->n_waiting = self->depth;
}

VAT_METHOD(measure, answered)
{
	if (--self->n_waiting)
		return 0;
	if (--self->rounds)
		send_round(v, self);
	else
		vat_resolve(v, self->result, "i", now_ns() - self->start);
	return 0;
}

VAT_METHOD(measure, measure_init)
{
	vat_read(v, "rrii", &self->pong, &self->result, &self->rounds, &self->depth);
	vat_hold(v, self->pong);
	vat_hold(v, self->result);
	self->start = now_ns();
	send_round(v, self);
	return 0;
}

VAT_METHOD(measure, measure_fini)
{
	vat_release(v, self->pong);
	vat_release(v, self->result);
	return 0;
}

static const vat_kind Measure = { "Measure", sizeof(measure), VAT_CONTINUATIONS({ "answered", "v", NULL, answered }),
	VAT_INIT(measure_init), VAT_FINI(measure_fini) };

typedef struct { vat_ref *pong; } root;

VAT_METHOD(root, bootstrap)
{
	vat_value *vats, *services;

	vat_read(v, "vv", &vats, &services);
	vat_value_read(v, vats, "{pong:r}", &self->pong);
	vat_hold(v, self->pong);
	return vat_return(v, "s", "ready");
}

VAT_METHOD(root, run)
{
	int64_t rounds, depth;
	vat_ref *result = vat_promise_new(v);

	vat_read(v, "ii", &rounds, &depth);
	if (rounds < 1 || depth < 1)
		return vat_fail(v, "RangeError", "rounds and depth start at 1");
	vat_new(v, &Measure, "rrii", self->pong, result, rounds, depth);
	return vat_return(v, "r", result);
}

static const vat_kind Root = { "Ping", sizeof(root),
	VAT_METHODS({ "bootstrap", "vv", "s", bootstrap }, { "run", "ii", NULL, run }) };
VAT_PROGRAM(&Root);
