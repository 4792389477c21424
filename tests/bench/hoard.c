/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hoard: holds references to objects of the vat mine, as many as it was told.
 *
 * gather(n) takes and holds n more and answers with their number. run(rounds) makes that many sequential round trips,
 * each to another one of them, spread over all, and answers with the nanoseconds.
 */
#include <stdlib.h>

#include <capstan/vat.h>

#include "clock.h"

#define BATCH 100		/* references of one answer: to the n-th of an array the library walks past those before it */
#define STRIDE 7919		/* a prime: successive round trips meet references that were not used lately */

static struct { vat_ref **refs; size_t n, n_allocated, at; } hoard;

static bool keep(vat *v, vat_ref *ref)
{
	if (hoard.n == hoard.n_allocated) {
		size_t n = hoard.n_allocated ? 2 * hoard.n_allocated : BATCH;
		vat_ref **more = reallocarray(hoard.refs, n, sizeof(*more));

		if (!more)
			return false;
		hoard.refs = more;
		hoard.n_allocated = n;
	}
	hoard.refs[hoard.n++] = vat_hold(v, ref);
	return true;
}

/* One task: `left` references to get, or round trips to make. Ephemeral, as its continuations. */
typedef struct { vat_ref *mine, *result; int64_t left, start; } task;

static void dig(vat *v, task *self)
{
	vat_when(v, vat_call(v, self->mine, "dig", "i", self->left < BATCH ? self->left : BATCH), self, "dug");
}

static void ping(vat *v, task *self)
{
	hoard.at = (hoard.at + STRIDE) % hoard.n;
	vat_when(v, vat_call(v, hoard.refs[hoard.at], "ping", ""), self, "answered");
}

VAT_METHOD(task, dug)
{
	vat_value *found;
	size_t n;

	vat_read(v, "v", &found);
	n = vat_length(found);
	for (size_t i = 0; i < n; i++) {
		vat_ref *ref;

		vat_value_read(v, vat_at(v, found, i), "r", &ref);
		if (!keep(v, ref)) {
			vat_exit_failure(v, "Error", "memory ran out with %zu references", hoard.n);
			return 0;
		}
	}
	self->left -= (int64_t)n;
	if (self->left > 0)
		dig(v, self);
	else
		vat_resolve(v, self->result, "i", (int64_t)hoard.n);
	return 0;
}

VAT_METHOD(task, answered)
{
	if (--self->left)
		ping(v, self);
	else
		vat_resolve(v, self->result, "i", now_ns() - self->start);
	return 0;
}

VAT_METHOD(task, task_init)
{
	vat_read(v, "rri", &self->mine, &self->result, &self->left);
	vat_hold(v, self->mine);
	vat_hold(v, self->result);
	self->start = now_ns();
	return 0;
}

VAT_METHOD(task, task_fini)
{
	vat_release(v, self->mine);
	vat_release(v, self->result);
	return 0;
}

static const vat_kind Task = { "Task", sizeof(task),
	VAT_CONTINUATIONS({ "dug", "v", NULL, dug }, { "answered", "i", NULL, answered }),
	VAT_INIT(task_init), VAT_FINI(task_fini) };

typedef struct { vat_ref *mine; } root;

static task *task_new(vat *v, root *self, int64_t left, vat_ref **resultp)
{
	*resultp = vat_promise_new(v);
	return vat_state(v, vat_new(v, &Task, "rri", self->mine, *resultp, left), &Task);
}

VAT_METHOD(root, bootstrap)
{
	vat_value *vats, *services;

	vat_read(v, "vv", &vats, &services);
	vat_value_read(v, vats, "{mine:r}", &self->mine);
	vat_hold(v, self->mine);
	return vat_return(v, "s", "ready");
}

VAT_METHOD(root, gather)
{
	vat_ref *result;
	int64_t n;

	vat_read(v, "i", &n);
	if (n < 1)
		return vat_fail(v, "RangeError", "n starts at 1");
	dig(v, task_new(v, self, n, &result));
	return vat_return(v, "r", result);
}

VAT_METHOD(root, run)
{
	vat_ref *result;
	int64_t rounds;

	vat_read(v, "i", &rounds);
	if (rounds < 1 || !hoard.n)
		return vat_fail(v, "RangeError", "rounds start at 1, after gather()");
	ping(v, task_new(v, self, rounds, &result));
	return vat_return(v, "r", result);
}

static const vat_kind Root = { "Hoard", sizeof(root),
	VAT_METHODS({ "bootstrap", "vv", "s", bootstrap }, { "gather", "i", NULL, gather }, { "run", "i", NULL, run }) };
VAT_PROGRAM(&Root);
