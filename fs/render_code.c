/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The code store: programs and companion files by their hash, and which vats have them. Programs are few and are never deleted;
 * one is found by its number with a scan of them.
 */
#include "render.h"

#include <jansson.h>

void code_hex(const uint8_t hash[CODE_HASH], char out[CODE_HEX + 1])
{
	for (size_t i = 0; i < CODE_HASH; i++)
		sprintf(out + 2 * i, "%02x", hash[i]);
}

/* A row of T_CODE; false: damaged. */
static bool code_read(const struct scan *s, struct code *out)
{
	if (s->key_len != CODE_HASH || !row_code_read(s->val, s->len, &out->row, &out->name, &out->name_len))
		return false;
	memcpy(out->hash, s->key, CODE_HASH);
	return true;
}

int code_next(struct scan *s, struct code *out)
{
	int r;

	while (!(r = scan_next(s)))
		if (code_read(s, out))
			return 0;
	return r;
}

int code_find(struct view *v, uint64_t number, struct code *out)
{
	struct scan s;
	int r;

	scan_begin(&s, v, T_CODE, NULL, 0);
	while (!(r = code_next(&s, out)))
		if (out->row.number == number)
			return 0;
	return r < 0 ? r : VIEW_E_ABSENT;
}

int code_by_hash(struct view *v, const uint8_t hash[CODE_HASH], struct code *out)
{
	const void *val;
	size_t len;
	int r = view_get(v, T_CODE, hash, CODE_HASH, &val, &len);

	if (r)
		return r;
	if (!row_code_read(val, len, &out->row, &out->name, &out->name_len))
		return VIEW_E_DAMAGED;
	memcpy(out->hash, hash, CODE_HASH);
	return 0;
}

/* --- who has it -------------------------------------------------------------------------------------------------- */

/* Among the companion files of the configuration. */
static bool is_companion(const void *config, size_t len, const char hex[CODE_HEX + 1])
{
	const char *name;
	json_t *json, *file;
	bool found = false;

	if (!memmem(config, len, hex, CODE_HEX))	/* most: no need to read it */
		return false;
	json = json_loadb(config, len, 0, NULL);
	json_object_foreach(json_object_get(json, "files"), name, file) {
		const char *text = json_string_value(file);

		found = found || (text && strncmp(text, "sha256:", 7) == 0 && strcmp(text + 7, hex) == 0);
	}
	json_decref(json);
	return found;
}

int code_is_had(struct view *v, const struct code *code, uint64_t vat, const struct row_vat *row, bool *hasp)
{
	char hex[CODE_HEX + 1];
	const void *val;
	uint8_t key[8];
	size_t len;
	int r;

	*hasp = memcmp(row->code, code->hash, CODE_HASH) == 0;
	if (*hasp)
		return 0;
	r = view_get(v, T_VAT_CONFIG, key, key_u64(key, vat), &val, &len);
	if (r)
		return r < 0 ? r : 0;
	code_hex(code->hash, hex);
	*hasp = is_companion(val, len, hex);
	return 0;
}

int code_next_vat(struct scan *s, const struct code *code, uint64_t *vatp)
{
	struct row_vat row;
	bool has;
	int r;

	while (!(r = scan_next(s))) {
		if (!scan_id(s, 1, vatp) || !row_vat_read(s->val, s->len, &row))
			continue;
		r = code_is_had(s->view, code, *vatp, &row, &has);
		if (r < 0 || has)
			return r;
	}
	return r;
}

/* --- files ------------------------------------------------------------------------------------------------------- */

int render_code_name(struct view *v, uint64_t id, struct text *t)
{
	struct code code;
	int r = code_find(v, id, &code);

	if (r)
		return r;
	text_last_cell(t, code.name, code.name_len);
	text_str(t, "\n");
	return 0;
}

int render_code_size(struct view *v, uint64_t id, struct text *t)
{
	struct code code;
	int r = code_find(v, id, &code);

	if (!r)
		text_printf(t, "%llu\n", (unsigned long long)code.row.size);
	return r;
}

int render_code_added(struct view *v, uint64_t id, struct text *t)
{
	struct code code;
	int r = code_find(v, id, &code);

	if (r)
		return r;
	text_time(t, code.row.added_us);
	text_str(t, "\n");
	return 0;
}

/* In the order of their hashes, as the folder. */
int render_codes(struct view *v, uint64_t id, struct text *t)
{
	size_t start = t->len;
	char hex[CODE_HEX + 1];
	struct code code;
	struct scan s;
	int r = 0;

	(void)id;
	text_str(t, "size\tadded\tsha256\tname\n");
	scan_begin(&s, v, T_CODE, NULL, 0);
	while (!t->cut && !(r = code_next(&s, &code))) {
		code_hex(code.hash, hex);
		text_printf(t, "%llu\t", (unsigned long long)code.row.size);
		text_time(t, code.row.added_us);
		text_printf(t, "\t%s\t", hex);
		text_last_cell(t, code.name, code.name_len);
		text_str(t, "\n");
	}
	text_align(t, start);
	return r < 0 ? r : 0;
}
