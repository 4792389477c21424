/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files of one vat: single facts, its configuration, its clist, its log.
 */
#include "render.h"

#include <jansson.h>

#include "../broker/spawn.h"

int render_vat_name(struct view *v, uint64_t id, struct text *t)
{
	struct row_vat row;
	int r = view_vat(v, id, &row);

	if (r)
		return r;
	text_escaped(t, row.name, strlen(row.name));
	text_str(t, "\n");
	return 0;
}

int render_vat_status(struct view *v, uint64_t id, struct text *t)
{
	struct row_vat row;
	int r = view_vat(v, id, &row);

	if (!r)
		text_printf(t, "%s\n", render_status_name(row.status));
	return r;
}

int render_vat_uid(struct view *v, uint64_t id, struct text *t)
{
	struct row_vat row;
	int r = view_vat(v, id, &row);

	if (r)
		return r;
	if (row.uid)
		text_printf(t, "%u\n", row.uid);
	else
		text_str(t, "none\n");
	return 0;
}

int render_vat_pid(struct view *v, uint64_t id, struct text *t)
{
	struct row_vat row;
	int r = view_vat(v, id, &row);

	if (r)
		return r;
	if (row.pid)
		text_printf(t, "%d\n", row.pid);
	else
		text_str(t, "none\n");
	return 0;
}

int render_vat_incarnation(struct view *v, uint64_t id, struct text *t)
{
	struct row_vat row;
	int r = view_vat(v, id, &row);

	if (!r)
		text_printf(t, "%u\n", row.incarnation);
	return r;
}

/* The layers around its process: a vat without one has none, whatever the last one had. */
int render_vat_isolation(struct view *v, uint64_t id, struct text *t)
{
	static const struct { uint32_t bit; const char *name; } layers[] = {
		{ SPAWN_ISO_UID, "uid" }, { SPAWN_ISO_NOCAPS, "nocaps" }, { SPAWN_ISO_NNP, "nnp" },
		{ SPAWN_ISO_FDS, "fds" }, { SPAWN_ISO_SECCOMP, "seccomp" }, { SPAWN_ISO_LANDLOCK, "landlock" },
		{ SPAWN_ISO_NAMESPACES, "namespaces" }, { SPAWN_ISO_CGROUP, "cgroup" },
		{ SPAWN_ISO_RLIMITS, "rlimits" },
	};
	const char *between = "";
	struct row_vat row;
	int r = view_vat(v, id, &row);

	if (r)
		return r;
	for (size_t i = 0; i < ARRAY_LEN(layers); i++) {
		if (!row.pid || !(row.isolation & layers[i].bit))
			continue;
		text_printf(t, "%s%s", between, layers[i].name);
		between = " ";
	}
	text_str(t, *between ? "\n" : "none\n");
	return 0;
}

int render_vat_reason(struct view *v, uint64_t id, struct text *t)
{
	struct row_vat row;
	int r = view_vat(v, id, &row);

	if (r)
		return r;
	if (row.reason[0])
		text_escaped(t, row.reason, strlen(row.reason));
	else
		text_str(t, "none");
	text_str(t, "\n");
	return 0;
}

/*
 * A configuration is JSON and stays JSON that other tools can read: everything beyond ASCII and every control
 * character as \u escapes, indented anew.
 */
int render_config(struct view *v, enum table table, uint64_t id, struct text *t)
{
	_cleanup_free_ char *dump = NULL;
	const void *val;
	uint8_t key[8];
	json_t *json;
	size_t len;
	int r;

	r = view_get(v, table, key, key_u64(key, id), &val, &len);
	if (r == VIEW_E_ABSENT)
		text_str(t, "none\n");
	if (r)
		return r < 0 ? r : 0;
	json = json_loadb(val, len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
	if (json)
		dump = json_dumps(json, JSON_INDENT(2) | JSON_ENSURE_ASCII | JSON_PRESERVE_ORDER | JSON_ENCODE_ANY);
	json_decref(json);
	if (!dump) {
		text_escaped(t, val, len);
	} else {
		/* DEL is ASCII to jansson; it can stand inside strings only. */
		for (const char *p = dump; *p; p++) {
			if (*p == 0x7f)
				text_str(t, "\\u007f");
			else
				text_add(t, p, 1);
		}
	}
	text_str(t, "\n");
	return 0;
}

int render_vat_config(struct view *v, uint64_t id, struct text *t)
{
	struct row_vat row;
	int r = view_vat(v, id, &row);

	return r ? r : render_config(v, T_VAT_CONFIG, id, t);
}

int render_vat_parameters(struct view *v, uint64_t id, struct text *t)
{
	struct capdata value;
	struct row_vat row;
	const void *val;
	uint8_t key[8];
	size_t len;
	int r;

	r = view_vat(v, id, &row);
	if (r)
		return r;
	r = view_get(v, T_VAT_PARAM, key, key_u64(key, id), &val, &len);
	if (r < 0)
		return r;
	if (r)			/* a terminated vat has none any more */
		text_str(t, "none\n");
	else if (capdata_read(val, len, &value))
		render_capdata(t, &value);
	else
		text_str(t, "damaged\n");
	return 0;
}

int render_vat_clist(struct view *v, uint64_t id, struct text *t)
{
	char buf[REF_TEXT_MAX];
	size_t start = t->len;
	struct row_clist row;
	struct row_vat vat;
	struct scan s;
	uint64_t eref;
	int r;

	r = view_vat(v, id, &vat);
	if (r)
		return r;
	text_str(t, "eref\tkref\tflags\n");
	scan_begin_u64(&s, v, T_EREF, endpoint_vat(id).bits);
	while (!t->cut && !(r = scan_next(&s))) {
		if (!scan_id(&s, 2, &eref) || !row_clist_read(s.val, s.len, &row))
			continue;
		text_printf(t, "%s\t", vref_format((vref_t){ eref }, buf));
		render_kref(t, row.ref);
		text_str(t, row.flags & CLIST_F_REACHABLE ? "\treachable\n" : "\trecognizable\n");
	}
	text_align(t, start);
	return r < 0 ? r : 0;
}

/* --- the log ---------------------------------------------------------------------------------------------------- */

/*
 * A log is a file that only grows: each line has a place in it that never changes (row_log.offset), and what was trimmed is a
 * hole at its beginning. So a reader can follow it with tail -f.
 */

/* Line number `line`; ABSENT: there is no such line (any more). */
static int log_row(struct view *v, uint64_t vat, uint64_t line, struct row_log *row, const char **textp, size_t *lenp)
{
	const void *val;
	uint8_t key[16];
	size_t len;
	int r = view_get(v, T_LOG, key, key_u64_u64(key, vat, line), &val, &len);

	if (r)
		return r;
	return row_log_read(val, len, row, textp, lenp) ? 0 : VIEW_E_DAMAGED;
}

int render_log_size(struct view *v, uint64_t id, uint64_t *sizep, uint64_t *mtime_usp)
{
	struct row_log row;
	struct row_vat vat;
	const char *text;
	size_t len;
	int r = view_vat(v, id, &vat);

	if (r)
		return r;
	*sizep = vat.log_bytes;
	r = vat.next_log > 1 ? log_row(v, id, vat.next_log - 1, &row, &text, &len) : VIEW_E_ABSENT;
	*mtime_usp = r ? vat.started_us : row.time_us;
	return r < 0 ? r : 0;
}

/* The first line that is still there: its number. ABSENT: there is none. */
static int log_first(struct view *v, uint64_t id, uint64_t *linep)
{
	struct scan s;
	int r;

	scan_begin_u64(&s, v, T_LOG, id);
	r = scan_next(&s);
	if (r)
		return r < 0 ? r : VIEW_E_ABSENT;
	return scan_id(&s, 2, linep) ? 0 : VIEW_E_DAMAGED;
}

int render_log_start(struct view *v, uint64_t id, uint64_t *offsetp)
{
	struct row_log row;
	const char *text;
	uint64_t line, end_us;
	size_t len;
	int r = log_first(v, id, &line);

	if (r == VIEW_E_ABSENT)
		return render_log_size(v, id, offsetp, &end_us);
	if (!r)
		r = log_row(v, id, line, &row, &text, &len);
	if (!r)
		*offsetp = row.offset;
	return r;
}

/* The last line in lo…hi-1 that begins at or before `offset`; lines are numbered without gaps, offsets rise with them. */
static int log_line_at(struct view *v, uint64_t id, uint64_t lo, uint64_t hi, uint64_t offset, uint64_t *linep)
{
	while (hi - lo > 1) {
		uint64_t mid = lo + (hi - lo) / 2;
		struct row_log row;
		const char *text;
		size_t len;
		int r = log_row(v, id, mid, &row, &text, &len);

		if (r)
			return r;
		*(row.offset <= offset ? &lo : &hi) = mid;
	}
	*linep = lo;
	return 0;
}

static void show_line(struct text *t, const struct row_log *row, const char *line, size_t len)
{
	text_time(t, row->time_us);
	text_printf(t, " %u %s ", row->incarnation, log_level_names[row->level]);
	text_escaped(t, line, len);
	text_str(t, "\n");
}

int render_log_from(struct view *v, uint64_t id, uint64_t offset, struct text *t)
{
	size_t start = t->len, len;
	struct row_log row = { 0 };
	uint64_t line, first;
	struct row_vat vat;
	const char *text;
	int r;

	r = view_vat(v, id, &vat);
	if (!r)
		r = log_first(v, id, &line);
	if (!r)
		r = log_line_at(v, id, line, vat.next_log, offset, &line);
	if (r)
		return r == VIEW_E_ABSENT ? 0 : r;
	for (first = line; !t->cut && line < vat.next_log; line++) {
		r = log_row(v, id, line, &row, &text, &len);
		if (r)
			break;
		if (line == first && row.offset + log_line_size(&row, text, len) <= offset)
			return 0;	/* the end of the file */
		show_line(t, &row, text, len);
		if (line == first && offset > row.offset) {	/* from the middle of it */
			size_t skip = (size_t)(offset - row.offset), shown = t->len - start;

			if (skip > shown)	/* the text is full */
				skip = shown;
			memmove(t->data + start, t->data + start + skip, t->len - start - skip);
			t->len -= skip;
		}
	}
	return r < 0 ? r : 0;
}

/* The text without what stands between `start` and the next line. */
static void cut_to_line(struct text *t, size_t start)
{
	const char *end = memchr(t->data + start, '\n', t->len - start);
	size_t skip = end ? (size_t)(end + 1 - (t->data + start)) : 0;

	memmove(t->data + start, t->data + start + skip, t->len - start - skip);
	t->len -= skip;
}

/* All lines that are still there; of more than a text can hold, the end. */
int render_vat_log(struct view *v, uint64_t id, struct text *t)
{
	uint64_t start, end, end_us;
	int r = render_log_size(v, id, &end, &end_us);
	size_t from;

	if (!r)
		r = render_log_start(v, id, &start);
	if (r || end - start < t->max)
		return r ? r : render_log_from(v, id, start, t);
	text_str(t, "[cut: there are earlier lines]\n");
	from = t->len;
	r = render_log_from(v, id, end - t->max + 2 * TEXT_CUT_ROOM, t);
	if (!r && !t->failed)
		cut_to_line(t, from);
	return r;
}
