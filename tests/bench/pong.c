/* SPDX-License-Identifier: Apache-2.0 */
/* pong: the other end of a round trip; and of a chain, each link of which is called on the answer of the one before. */
#include <capstan/vat.h>

typedef struct { int64_t n; } root;

VAT_METHOD(root, bootstrap) { return vat_return(v, "s", "ready"); }
VAT_METHOD(root, ping) { return vat_return(v, "i", ++self->n); }
VAT_METHOD(root, next) { return vat_return(v, "r", vat_self(v)); }

static const vat_kind Root = { "Pong", sizeof(root),
	VAT_METHODS({ "bootstrap", "vv", "s", bootstrap }, { "ping", "", "i", ping }, { "next", "", "r", next }) };
VAT_PROGRAM(&Root);
