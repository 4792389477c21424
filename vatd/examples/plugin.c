/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A plugin that keeps what it was shown. It gives its host a button that counts on the host's counter, and at a
 * quiet moment it plays with the counter by itself; unless there is a membrane, and it was cut.
 */
#include <capstan/vat.h>

typedef struct { vat_ref *counter; } plugin;
typedef struct { vat_ref *counter; } button;

VAT_METHOD(button, fitted) { return vat_read(v, "r", &self->counter); }
VAT_METHOD(button, press) { return vat_return(v, "r", E(v, self->counter, "increment", "")); }

static const vat_kind Button = { "Button", sizeof(button), VAT_INIT(fitted), VAT_STATE(VAT_REF(button, counter)),
	VAT_METHODS({ "press", "", NULL, press }) };

VAT_METHOD(plugin, install)
{
	vat_read(v, "r", &self->counter);
	return vat_return(v, "r", vat_new(v, &Button, "r", self->counter));
}

/* Whether two references are one object; and whether one is a button of ours. */
VAT_METHOD(plugin, same)
{
	vat_ref *a, *b;
	vat_read(v, "rr", &a, &b);
	return vat_return(v, "b", a == b);
}

VAT_METHOD(plugin, mine)
{
	vat_ref *r;
	vat_read(v, "r", &r);
	return vat_return(v, "b", vat_state(v, r, &Button) != NULL);
}

VAT_METHOD(plugin, play)
{
	return vat_return(v, "r", E(v, self->counter, "increment", "i", INT64_C(1000)));
}

static const vat_kind Plugin = { "Plugin", sizeof(plugin), VAT_STATE(VAT_REF(plugin, counter)),
	VAT_METHODS({ "install", "r", "r", install }, { "same", "rr", "b", same }, { "mine", "r", "b", mine },
		    { "play", "", NULL, play }) };
VAT_PROGRAM(&Plugin, &Button);
