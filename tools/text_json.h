/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The text of a file of the tree as JSON, by the format that capstan-fs says it has (capstan(5), "How it is written").
 *
 *	line	a string
 *	fields	an object; a key that comes more than once has an array
 *	table	an array of objects by the names of the columns; "-" is null
 *	list	an array of strings
 *	json	itself
 *	log	an array of {"time", "incarnation", "level", "text"}
 *	events	an array of {"time", "kind", "vat", …}, what else an event has by its names; {"lost": 12} where a reader was too slow
 *	stream	the same
 *
 * Where a value is a plain decimal number it is a JSON number. Escapes stay as they are in the text. The line by
 * which a text says that it was cut is left out.
 */
#ifndef CAPSTAN_TEXT_JSON_H
#define CAPSTAN_TEXT_JSON_H

#include <jansson.h>
#include <stddef.h>

json_t *text_to_json(const char *format, const char *text, size_t len);	/* NULL: no memory. An unknown format: a string */

#endif
