/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Smallcaps: the convention for capdata bodies ("#" and JSON with escapes in strings), as @endo/marshal writes
 * it. The kernel treats bodies as opaque; these functions serve the edges: control socket, CLI, mount, errors.
 * All are total on any input.
 */
#ifndef CAPSTAN_SMALLCAPS_H
#define CAPSTAN_SMALLCAPS_H

#include <jansson.h>

#include "util.h"

enum { SMALLCAPS_E_INVALID = 1 };
#define SMALLCAPS_ERROR_MAX 200

/* Owned capdata. body is NUL-terminated too. */
struct smallcaps { char *body; size_t body_len; uint64_t *slots; size_t n_slots; };
void smallcaps_deinit(struct smallcaps *s);

/*
 * Plain JSON to smallcaps. An object with the single key "@" whose value is the text of a reference ("ko7",
 * "kp3") becomes a slot, each distinct reference once. Integers beyond 2^53 are refused (JSON numbers
 * are JavaScript numbers there).
 */
int smallcaps_from_json(const json_t *value, struct smallcaps *out, char error[SMALLCAPS_ERROR_MAX]);
/* The body `["method",[args…]]` that a message carries; args is a JSON array. */
int smallcaps_methargs(const char *method, const json_t *args, struct smallcaps *out, char error[SMALLCAPS_ERROR_MAX]);
/* `{"#error":"message","name":"name"}`, as capdata without slots. */
int smallcaps_error(const char *name, const char *message, struct smallcaps *out);

/*
 * One readable line: strings quoted, remotables by `slot_text(ctx, slot)`, errors as Name: message, bigints as 5n,
 * bytes that are not smallcaps shown escaped. Control characters never come out raw. malloc'd; NULL: no memory.
 */
char *smallcaps_render(const void *body, size_t body_len, const uint64_t *slots, size_t n_slots,
		       const char *(*slot_text)(void *ctx, uint64_t slot, char buf[40]), void *ctx);

/* If the body is an Error: its name and message (malloc'd, unescaped), true. */
bool smallcaps_read_error(const void *body, size_t body_len, char **namep, char **messagep);
/* If the body is methargs with a string method: that method's name (malloc'd, not escaped; without NUL), else NULL. */
char *smallcaps_method(const void *body, size_t body_len);

/*
 * Reading values, for who serves calls. smallcaps_args() gives the array of arguments of methargs as jansson reads it, with all
 * marks still in its strings and every number a real; SMALLCAPS_E_INVALID: the body is no `["method",[args…]]`.
 * smallcaps_look() then says what one of them is.
 */
int smallcaps_args(const void *body, size_t body_len, json_t **argsp);
enum smallcaps_kind {
	SMALLCAPS_UNDEFINED, SMALLCAPS_NULL, SMALLCAPS_BOOLEAN, SMALLCAPS_NUMBER, SMALLCAPS_BIGINT, SMALLCAPS_STRING,
	SMALLCAPS_SYMBOL, SMALLCAPS_REFERENCE, SMALLCAPS_ARRAY, SMALLCAPS_RECORD, SMALLCAPS_ERROR, SMALLCAPS_TAGGED,
	SMALLCAPS_UNKNOWN,	/* JSON, but no smallcaps */
};
struct smallcaps_seen {
	enum smallcaps_kind kind;
	double number;		/* of a NUMBER, NaN and the infinities too; of a BIGINT the nearest */
	const char *text;	/* of a STRING, without its mark; borrowed; NUL-terminated, and NUL may be in it */
	size_t len;
	size_t slot;		/* of a REFERENCE: less than n_slots */
};
/* NULL is an argument that was not given: UNDEFINED. */
struct smallcaps_seen smallcaps_look(const json_t *value, size_t n_slots);
/*
 * The way back from smallcaps_from_json(): references as {"@":"ko7"}; a member that is undefined is left out. SMALLCAPS_E_INVALID:
 * there is something that JSON cannot say, or a record with the name "@", which would be taken for a reference.
 */
int smallcaps_to_json(const json_t *value, const uint64_t *slots, size_t n_slots, json_t **jsonp, char error[SMALLCAPS_ERROR_MAX]);

#endif
