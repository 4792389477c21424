/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Alice knows Bob and Carol; they do not know each other until she introduces them. In one crank she asks
 * Carol for a greeter, asks the greeter that she does not have yet for a greeting (pipelining: no round
 * trip between), and hands the greeting that does not exist yet to Bob. Her own answer is a promise that
 * she settles when all has come true.
 */
#include <capstan/vat.h>

typedef struct {
	char *greeting;		/* from the parameters */
	vat_ref *done;		/* the answer to bootstrap */
} alice;

VAT_METHOD(alice, init)
{
	const char *greeting = "Good day";
	vat_read(v, "?{greeting:?s}", &greeting);
	vat_set_string(v, &self->greeting, greeting);
	return 0;
}

VAT_METHOD(alice, bootstrap)
{
	vat_ref *bob, *carol;
	if (vat_read(v, "{bob:r,carol:r}", &bob, &carol))
		return -1;
	vat_ref *greeter = E(v, carol, "makeGreeter", "s", self->greeting);
	vat_ref *greeting = E(v, greeter, "greet", "s", "Bob");
	vat_ref *heard = E(v, bob, "listen", "rr", greeting, carol);
	vat_log(v, "asked Carol for a greeter, it for a greeting, and Bob to listen, all before any answer");
	vat_when(v, heard, self, "heard");
	vat_catch(v, heard, self, "failed");
	self->done = vat_hold(v, vat_promise_new(v));
	return vat_return(v, "r", self->done);
}

VAT_METHOD(alice, heard)
{
	const char *bob_heard, *carol_said;
	vat_read(v, "{heard:s,answer:s}", &bob_heard, &carol_said);
	vat_log(v, "Bob heard \"%s\", and Carol answered him \"%s\"", bob_heard, carol_said);
	vat_resolve(v, self->done, "{bobHeard:s,carolAnswered:s}", bob_heard, carol_said);
	vat_release(v, self->done);
	self->done = NULL;
	return 0;
}

VAT_METHOD(alice, failed)
{
	const char *name, *message;
	vat_read(v, "e", &name, &message);
	vat_reject(v, self->done, name, "the greeting failed: %s", message);
	vat_release(v, self->done);
	self->done = NULL;
	return 0;
}

/* The root goes with the process; a test that ends the vat looks for what was left (capstan/vat_test.h). */
VAT_METHOD(alice, gone)
{
	vat_set_string(v, &self->greeting, NULL);
	return 0;
}

static const vat_kind Alice = { "Alice", sizeof(alice), VAT_INIT(init), VAT_FINI(gone),
	VAT_METHODS({ "bootstrap", "{}?v", NULL, bootstrap }),
	VAT_CONTINUATIONS({ "heard", "{heard:s,answer:s}", NULL, heard },
			  { "failed", "e", NULL, failed }) };
VAT_PROGRAM(&Alice);
