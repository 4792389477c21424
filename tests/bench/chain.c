/* SPDX-License-Identifier: Apache-2.0 */
/*
 * chain: measures chains of calls, p1 = E(pong).next(), p2 = E(p1).next() and so on, with its own clock.
 *
 * run(rounds, links, mode) runs `rounds` chains, one after the other, and answers with the nanoseconds of all of them
 * together. "pipelined": all links are sent in one crank, each to the promise of the one before. "awaited": each is sent
 * to the object that the one before has answered with.
 */
#include <string.h>

#include <capstan/vat.h>

#include "clock.h"

/* One measurement. An ephemeral object: its continuations need no place in the store. */
typedef struct {
	vat_ref *pong, *result;
	int64_t rounds, links, n_links, start;	/* n_links: of this chain, awaited so far */
	bool pipelined;
} measure;

static void start_chain(vat *v, measure *self)
{
	vat_ref *p = self->pong;

	self->n_links = 0;
	for (int64_t i = 0; i < (self->pipelined ? self->links : 1); i++)
		p = vat_call(v, p, "next", "");
	vat_when(v, p, self, "answered");
}

VAT_METHOD(measure, answered)
{
	vat_ref *next;

	vat_read(v, "r", &next);
	if (!self->pipelined && ++self->n_links < self->links)
		vat_when(v, vat_call(v, next, "next", ""), self, "answered");
	else if (--self->rounds)
		start_chain(v, self);
	else
		vat_resolve(v, self->result, "i", now_ns() - self->start);
	return 0;
}

VAT_METHOD(measure, measure_init)
{
	const char *mode;

	vat_read(v, "rriis", &self->pong, &self->result, &self->rounds, &self->links, &mode);
	self->pipelined = !strcmp(mode, "pipelined");
	vat_hold(v, self->pong);
	vat_hold(v, self->result);
	self->start = now_ns();
	start_chain(v, self);
	return 0;
}

VAT_METHOD(measure, measure_fini)
{
	vat_release(v, self->pong);
	vat_release(v, self->result);
	return 0;
}

static const vat_kind Measure = { "Measure", sizeof(measure), VAT_CONTINUATIONS({ "answered", "r", NULL, answered }),
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
	int64_t rounds, links;
	const char *mode;
	vat_ref *result = vat_promise_new(v);

	vat_read(v, "iis", &rounds, &links, &mode);
	if (rounds < 1 || links < 1)
		return vat_fail(v, "RangeError", "rounds and links start at 1");
	vat_new(v, &Measure, "rriis", self->pong, result, rounds, links, mode);
	return vat_return(v, "r", result);
}

static const vat_kind Root = { "Chain", sizeof(root),
	VAT_METHODS({ "bootstrap", "vv", "s", bootstrap }, { "run", "iis", NULL, run }) };
VAT_PROGRAM(&Root);
