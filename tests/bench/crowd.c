/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crowd: the bootstrap vat of a cluster of many. It knows them all, also after a restart.
 *
 * run(n, ticks, width) makes the first n of the others busy (busy.c) and answers with the nanoseconds until all are done.
 * ping() asks every one of the others for an answer (pong.c), and answers with their number.
 */
#include <string.h>

#include <capstan/vat.h>

#include "clock.h"

/* One question to many. An ephemeral object: its continuations need no place in the store. */
typedef struct { vat_ref *result; int64_t n, n_waiting, start; bool timed; } measure;

VAT_METHOD(measure, answered)
{
	if (--self->n_waiting == 0)
		vat_resolve(v, self->result, "i", self->timed ? now_ns() - self->start : self->n);
	return 0;
}

VAT_METHOD(measure, measure_init)
{
	int timed;

	vat_read(v, "rb", &self->result, &timed);
	self->timed = timed;
	vat_hold(v, self->result);
	self->start = now_ns();
	return 0;
}

VAT_METHOD(measure, measure_fini)
{
	vat_release(v, self->result);
	return 0;
}

static const vat_kind Measure = { "Measure", sizeof(measure), VAT_CONTINUATIONS({ "answered", "v", NULL, answered }),
	VAT_INIT(measure_init), VAT_FINI(measure_fini) };

/* The promise that answers when m->n others have. */
static measure *measure_new(vat *v, bool timed, vat_ref **resultp)
{
	*resultp = vat_promise_new(v);
	return vat_state(v, vat_new(v, &Measure, "rb", *resultp, timed), &Measure);
}

static void ask(vat *v, measure *m, vat_ref *promise)
{
	m->n++;
	m->n_waiting++;
	vat_when(v, promise, m, "answered");
}

/* The i-th of all, NULL for this vat itself; false: there are no more. */
static bool vat_of(vat *v, vat_value *vats, size_t i, vat_ref **refp)
{
	*refp = NULL;
	if (i >= vat_length(vats))
		return false;
	if (strcmp(vat_name_at(v, vats, i), "crowd"))
		vat_value_read(v, vat_at(v, vats, i), "r", refp);
	return true;
}

typedef struct { int64_t unused; } root;

VAT_METHOD(root, bootstrap)
{
	vat_value *vats, *services;

	vat_read(v, "vv", &vats, &services);
	vat_baggage_set(v, "vats", "v", vats);
	return vat_return(v, "s", "ready");
}

VAT_METHOD(root, run)
{
	int64_t n, ticks, width;
	vat_ref *result, *to;
	measure *m = measure_new(v, true, &result);
	vat_value *vats;

	vat_read(v, "iii", &n, &ticks, &width);
	vat_baggage_get(v, "vats", "v", &vats);
	for (size_t i = 0; m->n < n && vat_of(v, vats, i, &to); i++)
		if (to)
			ask(v, m, vat_call(v, to, "run", "ii", ticks, width));
	if (n < 1 || m->n != n)
		return vat_fail(v, "RangeError", "there are %lld others", (long long)m->n);
	return vat_return(v, "r", result);
}

VAT_METHOD(root, ping)
{
	vat_ref *result, *to;
	measure *m = measure_new(v, false, &result);
	vat_value *vats;

	vat_baggage_get(v, "vats", "v", &vats);
	for (size_t i = 0; vat_of(v, vats, i, &to); i++)
		if (to)
			ask(v, m, vat_call(v, to, "ping", ""));
	return vat_return(v, "r", result);
}

static const vat_kind Root = { "Crowd", sizeof(root),
	VAT_METHODS({ "bootstrap", "vv", "s", bootstrap }, { "run", "iii", NULL, run }, { "ping", "", NULL, ping }) };
VAT_PROGRAM(&Root);
