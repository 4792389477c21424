/* SPDX-License-Identifier: Apache-2.0 */
/* pong: the other end of a round trip. */
#include <capstan/vat.h>

typedef struct { int64_t n; } root;

VAT_METHOD(root, ping) { return vat_return(v, "i", ++self->n); }

static const vat_kind Root = { "Pong", sizeof(root), VAT_METHODS({ "ping", "", "i", ping }) };
VAT_PROGRAM(&Root);
