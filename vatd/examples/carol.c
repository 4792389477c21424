/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Carol makes greeters. They are durable objects: a greeter that somebody keeps greets the same after a
 * restart.
 */
#include <capstan/vat.h>

#include <stdio.h>

typedef struct {
	char *word;
	int64_t n_greeted;
} greeter;

VAT_METHOD(greeter, made)
{
	const char *word;
	vat_read(v, "s", &word);
	vat_set_string(v, &self->word, word);
	return 0;
}

VAT_METHOD(greeter, greet)
{
	char text[200];
	const char *name;
	vat_read(v, "s", &name);
	self->n_greeted++;
	snprintf(text, sizeof(text), "%.80s, %.80s!", self->word, name);
	return vat_return(v, "s", text);
}

static const vat_kind Greeter = { "Greeter", sizeof(greeter), VAT_INIT(made),
	VAT_STATE(VAT_STR(greeter, word), VAT_I64(greeter, n_greeted)),
	VAT_METHODS({ "greet", "s", "s", greet }) };

typedef struct { char unused; } carol;

VAT_METHOD(carol, make_greeter)
{
	const char *word;
	vat_read(v, "s", &word);
	vat_log(v, "making a greeter that says \"%s\"", word);
	return vat_return(v, "r", vat_new(v, &Greeter, "s", word));
}

VAT_METHOD(carol, thank)
{
	char text[120];
	const char *name;
	vat_read(v, "s", &name);
	snprintf(text, sizeof(text), "You are welcome, %.80s", name);
	return vat_return(v, "s", text);
}

static const vat_kind Carol = { "Carol", sizeof(carol),
	VAT_METHODS({ "makeGreeter", "s", "r", make_greeter },
		    { "thank", "s", "s", thank }) };
VAT_PROGRAM(&Carol, &Greeter);
