/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a smallcaps body: the edge's functions are total, what they show is printable, and the check
 * agrees with a second opinion (jansson) on what is JSON. Bytes that are JSON also go in as a person's
 * value.
 */
#include <math.h>

#include <capstan/wire.h>

#include "../../lib/jtext.h"
#include "../../lib/smallcaps.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *slot_text(void *ctx, uint64_t slot, char buf[40])
{
	(void)ctx;
	return kref_format((kref_t){ slot }, buf);
}

static void check_line(const char *line)
{
	assert(line);
	for (const char *p = line; *p; p++)
		assert((unsigned char)*p >= 0x20 && *p != 0x7f);
	assert(jtext_is_utf8(line, strlen(line)));
}

/*
 * Differences that are known: numbers too large for a double, names with NUL, our lower limit of depth; and
 * jansson ends at a raw NUL.
 */
static void compare(const char *text, size_t len, bool accepted)
{
	json_error_t error;
	json_t *j = json_loadb(text, len, JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, &error);
	if (j)
		assert(accepted || strstr(text, "[") || strstr(text, "{"));
	else if (accepted)
		assert(json_error_code(&error) == json_error_numeric_overflow ||
		       json_error_code(&error) == json_error_null_byte_in_key);
	if (j && accepted) {
		struct smallcaps s = { 0 };
		char why[SMALLCAPS_ERROR_MAX] = "";
		int r = smallcaps_from_json(j, &s, why);
		assert(r >= 0);
		if (r == 0) {
			assert(s.body[0] == '#' && jtext_check(s.body + 1, s.body_len - 1));
			char *line = smallcaps_render(s.body, s.body_len, s.slots, s.n_slots, slot_text, NULL);
			check_line(line);
			free(line);
		} else {
			assert(why[0]);
		}
		smallcaps_deinit(&s);
	}
	json_decref(j);
}

/* Any bytes as arguments: each is something, and what becomes JSON goes back to smallcaps, and is JSON the same again. */
static void read_args(const char *body, size_t size, const uint64_t slots[2])
{
	char why[SMALLCAPS_ERROR_MAX] = "";
	json_t *args = NULL, *json = NULL;
	struct smallcaps s = { 0 };
	int r = smallcaps_args(body, size, &args);

	assert(r >= 0);
	if (r)
		return;
	for (size_t i = 0; i <= json_array_size(args); i++) {
		struct smallcaps_seen seen = smallcaps_look(json_array_get(args, i), 2);
		assert(seen.kind != SMALLCAPS_REFERENCE || seen.slot < 2);
		assert(seen.kind != SMALLCAPS_STRING || !seen.text[seen.len]);
	}
	r = smallcaps_to_json(args, slots, 2, &json, why);
	assert(r >= 0);
	assert(r == 0 || why[0]);
	if (r == 0)
		r = smallcaps_methargs("m", json, &s, why);
	assert(r >= 0);
	if (r == 0) {
		json_t *again = NULL, *same = NULL;
		assert(smallcaps_args(s.body, s.body_len, &again) == 0);
		assert(smallcaps_to_json(again, s.slots, s.n_slots, &same, why) == 0);
		assert(json_equal(json, same));
		json_decref(again);
		json_decref(same);
	}
	smallcaps_deinit(&s);
	json_decref(json);
	json_decref(args);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint64_t slots[2] = { 7, REF_PROMISE | 3 };
	char *body = malloc(size + 1), *text, *name = NULL, *message = NULL;

	body[0] = '#';
	memcpy(body + 1, data, size);
	char *line = smallcaps_render(body, size + 1, slots, 2, slot_text, NULL);
	check_line(line);
	free(line);
	line = smallcaps_render(data, size, slots, 2, slot_text, NULL);
	check_line(line);
	free(line);
	free(smallcaps_method(body, size + 1));
	read_args(body, size + 1, slots);
	if (smallcaps_read_error(body, size + 1, &name, &message)) {
		assert(name && message);
		free(name);
		free(message);
	}
	free(body);

	text = malloc(size + 1);	/* NUL behind it for strstr only */
	memcpy(text, data, size);
	text[size] = 0;
	if (!memchr(text, 0, size))
		compare(text, size, jtext_check((const char *)data, size));
	free(text);
	return 0;
}
