/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text in the making: the content of one open file. Bounded: what goes past `max` bytes is dropped and the text then
 * ends with a line that says so, because a run queue of ten million items should still show its head.
 *
 * Bytes that a vat supplied come in through text_escaped() or text_cell() only, so no such byte is ever a control
 * character, a line end, or (in a cell) a blank: no vat can write to a terminal or forge a row.
 *
 * Tables are written with a tab between cells and laid out by text_align() when all rows are there.
 */
#ifndef CAPSTAN_FS_TEXT_H
#define CAPSTAN_FS_TEXT_H

#include "../lib/util.h"

#define TEXT_MAX_COLUMNS	16u
#define TEXT_MAX_WIDTH		48u	/* a longer cell pushes its own row only, not the whole table */
#define TEXT_CUT_ROOM		80u	/* kept free for the closing line of a cut text */

struct text {
	char *data;
	size_t len, size;
	size_t max;		/* bytes; beyond it the text is cut */
	bool cut;
	bool late;		/* cut because making more would take too long (view.h) */
	bool failed;		/* out of memory: the text must not be shown */
};
#define TEXT_INIT(limit) { .max = (limit) }
void text_deinit(struct text *t);
void text_reset(struct text *t);	/* empty again, keeps the memory */

void text_add(struct text *t, const char *data, size_t len);
void text_str(struct text *t, const char *s);
/* For short formats of our own: at most 255 bytes come out of one call. */
void text_printf(struct text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Foreign bytes as escape_bytes() shows them. */
void text_escaped(struct text *t, const void *data, size_t len);
/* The same as one cell of a row: blanks are \x20, nothing at all is "-", and a lone "-" is \x2d. */
void text_cell(struct text *t, const void *data, size_t len);
/* As the last cell of a row, where blanks are blanks. */
void text_last_cell(struct text *t, const void *data, size_t len);
/* 2026-11-22T12:31:50.000042Z; "never" for 0. No library call, since those read the zone file. */
void text_time(struct text *t, uint64_t realtime_us);

/* Lay out the rows from byte `start` on: every column as wide as its widest cell, two blanks between. */
void text_align(struct text *t, size_t start);
/* Close: a cut text loses its unfinished last line and gets the one that says so. */
void text_end(struct text *t);

/* Give back the memory that the text does not use. */
void text_shrink(struct text *t);

#endif
