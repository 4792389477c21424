/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the CLI prints. Everything that came from a vat, a broker or a file is escaped before it reaches a terminal, so that
 * nobody's bytes can move a cursor or forge a line. An error is one line on stderr: "capstan: CODE: text".
 */
#ifndef CAPSTAN_OUTPUT_H
#define CAPSTAN_OUTPUT_H

#include <jansson.h>

#include "../lib/util.h"

/* Functions of the CLI return one of these; whoever returns another than OUTPUT_OK has printed why. */
enum exit_status {
	OUTPUT_OK = 0,
	OUTPUT_REFUSED = 1,		/* a rejection, an error of the kernel, a file that is wrong */
	OUTPUT_USAGE = 2,		/* the command line is wrong */
	OUTPUT_NO_BROKER = 3,		/* cannot connect, or it went away before it answered */
};

/* Print the error line, return `status`. The text is escaped and cut at some thousand bytes. */
int output_error(enum exit_status status, const char *code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
int output_no_memory(void);

/* ASCII only: JSON leaves U+0080 to U+009F as they are, and terminals obey them. 0.004 is not 0.0040000000000000001. */
#define OUTPUT_JSON_FLAGS	(JSON_COMPACT | JSON_ENSURE_ASCII | JSON_ENCODE_ANY | JSON_REAL_PRECISION(15))

/* One line to stdout. */
void output_json(const json_t *json);
void output_text(const char *text, size_t len);			/* escaped, with a newline */
void output_pair(const char *key, const char *value);		/* "key: value" */

/* The member of an object as text, for people: strings as they are, integers, booleans; "" for anything else. */
const char *output_member(const json_t *object, const char *key, char buf[32]);

/* Capdata as the broker sends it ({"body", "slots": ["ko9"]}) as one readable line, malloc'd; NULL: no memory. */
char *output_render(const json_t *capdata);

/* A listing: a table with aligned columns, in the order of its rows. */
struct listing { const char *const *heads; size_t n_columns; char **cells; size_t n_cells, n_allocated; bool failed; };
#define LISTING_INIT(h) { .heads = (h), .n_columns = ARRAY_LEN(h) }
void listing_add(struct listing *t, const char *text);		/* the next cell; "" shows as - */
void listing_print(const struct listing *t);
void listing_deinit(struct listing *t);

#endif
