/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the CLI prints.
 *
 * One buffer of escaped text per call; a failed allocation is shown as what it is and never as a shorter truth.
 */
#include "output.h"

#include <stdarg.h>

#include <capstan/ref.h>

#include "../lib/smallcaps.h"

#define ERROR_MAX 4096

static char *escaped(const char *text, size_t len)
{
	size_t size = escape_bytes(NULL, 0, text, len) + 1;
	char *out = malloc(size);

	if (out)
		escape_bytes(out, size, text, len);
	return out;
}

int output_error(enum exit_status status, const char *code, const char *fmt, ...)
{
	char text[ERROR_MAX], line[ERROR_MAX];
	int n = snprintf(text, sizeof(text), "%.100s: ", code);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text + n, sizeof(text) - (size_t)n, fmt, ap);
	va_end(ap);
	escape_bytes(line, sizeof(line), text, strlen(text));
	fflush(stdout);
	fprintf(stderr, "capstan: %s\n", line);
	return status;
}

int output_no_memory(void)
{
	return output_error(OUTPUT_REFUSED, "NO_MEMORY", "out of memory");
}

void output_json(const json_t *json)
{
	json_dumpf(json, stdout, OUTPUT_JSON_FLAGS);
	putchar('\n');
}

void output_text(const char *text, size_t len)
{
	_cleanup_free_ char *safe = escaped(text, len);

	puts(safe ? safe : "(out of memory)");
}

void output_pair(const char *key, const char *value)
{
	_cleanup_free_ char *safe = escaped(value, strlen(value));

	printf("%s: %s\n", key, safe ? safe : "(out of memory)");
}

const char *output_member(const json_t *object, const char *key, char buf[32])
{
	const json_t *v = json_object_get(object, key);

	if (json_is_string(v))
		return json_string_value(v);
	if (json_is_boolean(v))
		return json_is_true(v) ? "yes" : "no";
	if (!json_is_integer(v))
		return "";
	snprintf(buf, 32, "%lld", (long long)json_integer_value(v));
	return buf;
}

static const char *slot_text(void *ctx, uint64_t slot, char buf[40])
{
	_Static_assert(REF_TEXT_MAX <= 40, "a reference fits what the renderer offers");
	(void)ctx;
	return kref_format((kref_t){ slot }, buf);
}

char *output_render(const json_t *capdata)
{
	const json_t *body = json_object_get(capdata, "body"), *list = json_object_get(capdata, "slots");
	_cleanup_free_ uint64_t *slots = calloc(json_array_size(list) + 1, sizeof(*slots));

	if (!slots)
		return NULL;
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *slot = json_array_get(list, i);
		kref_t k = KREF_NONE;

		if (json_is_string(slot))
			kref_parse(json_string_value(slot), json_string_length(slot), &k);
		slots[i] = k.bits;
	}
	return smallcaps_render(json_string_value(body), json_string_length(body), slots, json_array_size(list),
				slot_text, NULL);
}

void listing_add(struct listing *t, const char *text)
{
	char *cell = escaped(*text ? text : "-", strlen(*text ? text : "-"));

	if (t->n_cells == t->n_allocated) {
		size_t n = t->n_allocated ? t->n_allocated * 2 : 64;
		char **cells = realloc(t->cells, n * sizeof(*cells));

		if (!cells) {
			free(TAKE_PTR(cell));
		} else {
			t->cells = cells;
			t->n_allocated = n;
		}
	}
	if (!cell) {
		t->failed = true;
		return;
	}
	t->cells[t->n_cells++] = cell;
}

static void print_row(const struct listing *t, const char *const *cells, const size_t *widths)
{
	for (size_t i = 0; i < t->n_columns; i++)
		if (i + 1 < t->n_columns)
			printf("%-*s  ", (int)widths[i], cells[i]);
		else
			printf("%s\n", cells[i]);
}

void listing_print(const struct listing *t)
{
	size_t widths[16];

	assert(t->n_columns <= ARRAY_LEN(widths));
	if (t->failed) {
		puts("(out of memory)");
		return;
	}
	assert(t->n_cells % t->n_columns == 0);
	for (size_t i = 0; i < t->n_columns; i++)
		widths[i] = strlen(t->heads[i]);
	for (size_t i = 0; i < t->n_cells; i++)
		if (strlen(t->cells[i]) > widths[i % t->n_columns])
			widths[i % t->n_columns] = strlen(t->cells[i]);
	print_row(t, t->heads, widths);
	for (size_t i = 0; i < t->n_cells; i += t->n_columns)
		print_row(t, (const char *const *)t->cells + i, widths);
}

void listing_deinit(struct listing *t)
{
	for (size_t i = 0; i < t->n_cells; i++)
		free(t->cells[i]);
	free(t->cells);
	t->cells = NULL;
	t->n_cells = t->n_allocated = 0;
}
