/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames of the vat protocol as words, both ways, for the tests that play vats by hand.
 *
 * Syscalls:	send TARGET BODY [SLOTS] RESULT|-	subscribe P		resolve P KIND BODY [SLOTS]; …
 *		exit ok|fail BODY [SLOTS]		drop|retimp|retexp|abandon REF…
 *		set KEY VALUE	del KEY	get KEY	next [KEY]	clist [REF]	done	error TEXT
 * Others:	wakeme	log TEXT	hello VERSION [WINDOW]	pong TOKEN
 * By hand:	frame TYPE FLAGS FIELD…	a header with the right size, then the fields; TYPE by name or number
 *		raw FIELD…		the fields alone
 * Deliveries:	startVat BODY [SLOTS]	message TARGET BODY [SLOTS] RESULT|-	notify P KIND BODY [SLOTS]; …
 *		dropExports|retireExports|retireImports REF…	bringOutYourDead	wake
 *		storeValue found|reachable|none REF 'KEY' 'VALUE'
 *
 * KIND: data, ref, rej, krej (rejected by the kernel). A word has no spaces, unless it stands in single quotes. FIELD: bytes in
 * hexadecimal, u32:N, u64:N, ref:o-1, text:ABC (as it is), bytes:ABC (length, zero, bytes, padding).
 */
#ifndef CAPSTAN_TEST_WORDS_H
#define CAPSTAN_TEST_WORDS_H

#include <stdbool.h>
#include <stdio.h>

#include <capstan/wire.h>

#define WORDS_ERROR_MAX	300

/* Appends the frame. False: `error` says what cannot be understood. What is well said may still be illegal. */
bool words_encode(struct wire_buf *b, uint64_t delivery, const char *text, char error[WORDS_ERROR_MAX]);
bool words_is_syscall(const char *text);	/* it begins with the name of a frame */
void words_print(FILE *f, const struct wire_frame *frame);

#endif
