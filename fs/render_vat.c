/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files of one vat and of one subcluster.
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
	static const char *const name[] = {
		[VAT_STARTING] = "starting\n", [VAT_RUNNING] = "running\n", [VAT_SUSPENDED] = "suspended\n",
		[VAT_TERMINATED] = "terminated\n",
	};
	struct row_vat row;
	int r = view_vat(v, id, &row);

	if (r)
		return r;
	text_str(t, row.status < ARRAY_LEN(name) && name[row.status] ? name[row.status] : "unknown\n");
	return 0;
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
		if (!(row.isolation & layers[i].bit))
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

int render_vat_usage(struct view *v, uint64_t id, struct text *t)
{
	struct row_vat row;
	int r = view_vat(v, id, &row);

	if (r)
		return r;
	const struct { const char *name; uint64_t n; } rows[] = {
		{ "cranks", row.n_cranks }, { "deaths", row.n_deaths }, { "queued", row.n_queued },
		{ "queued-bytes", row.queued_bytes }, { "exports", row.n_exports }, { "imports", row.n_imports },
		{ "vatstore-bytes", row.vatstore_bytes }, { "log-dropped", row.n_log_dropped },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		text_printf(t, "%s: %llu\n", rows[i].name, (unsigned long long)rows[i].n);
	text_str(t, "started: ");
	text_time(t, row.started_us);
	text_str(t, "\n");
	return 0;
}

/*
 * A configuration is JSON and stays JSON that other tools can read: everything beyond ASCII and every control
 * character as \u escapes, indented anew.
 */
static int config_json(struct view *v, enum table table, uint64_t id, struct text *t)
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

	return r ? r : config_json(v, T_VAT_CONFIG, id, t);
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

int render_vat_decides(struct view *v, uint64_t id, struct text *t)
{
	struct row_vat vat;
	uint64_t promise;
	struct scan s;
	int r;

	r = view_vat(v, id, &vat);
	if (r)
		return r;
	scan_begin_u64(&s, v, T_DECIDED, endpoint_vat(id).bits);
	while (!t->cut && !(r = scan_next(&s))) {
		if (!scan_id(&s, 2, &promise))
			continue;
		render_kref(t, promise);
		text_str(t, "\n");
	}
	return r < 0 ? r : 0;
}

#define LOG_HEAD	64	/* more than time, incarnation and level take, and than the line that says "cut" */

static size_t shown_size(const char *line, size_t len)
{
	char none[1];

	return LOG_HEAD + escape_bytes(none, sizeof(none), line, len);
}

/* Of a log that is too long the end is what people want: the size of all lines, which must be trimmed to the bound. */
static int log_size(struct view *v, uint64_t id, size_t *sizep)
{
	struct row_log row;
	const char *line;
	struct scan s;
	size_t len;
	int r;

	*sizep = 0;
	scan_begin_u64(&s, v, T_LOG, id);
	while (!(r = scan_next(&s)))
		if (row_log_read(s.val, s.len, &row, &line, &len))
			*sizep += shown_size(line, len);
	return r < 0 ? r : 0;
}

int render_vat_log(struct view *v, uint64_t id, struct text *t)
{
	static const char *const level[] = { "debug", "info", "warning", "error" };
	struct row_vat vat;
	struct row_log row;
	const char *line;
	struct scan s;
	size_t len, size;
	int r;

	r = view_vat(v, id, &vat);
	if (!r)
		r = log_size(v, id, &size);
	if (r)
		return r;
	if (size + LOG_HEAD >= t->max)
		text_str(t, "[cut: there are earlier lines]\n");
	scan_begin_u64(&s, v, T_LOG, id);
	while (!t->cut && !(r = scan_next(&s))) {
		if (!row_log_read(s.val, s.len, &row, &line, &len))
			continue;
		if (size + LOG_HEAD >= t->max) {
			size -= shown_size(line, len);
			continue;
		}
		text_time(t, row.time_us);
		text_printf(t, " %u %s ", row.incarnation,
			    row.level < ARRAY_LEN(level) ? level[row.level] : "unknown");
		text_escaped(t, line, len);
		text_str(t, "\n");
	}
	return r < 0 ? r : 0;
}

int render_sub_config(struct view *v, uint64_t id, struct text *t)
{
	struct row_subcluster row;
	int r = view_subcluster(v, id, &row);

	return r ? r : config_json(v, T_SUB_CONFIG, id, t);
}

int render_sub_status(struct view *v, uint64_t id, struct text *t)
{
	static const char *const name[] = {
		[SUB_LAUNCHING] = "launching\n", [SUB_RUNNING] = "running\n", [SUB_TERMINATING] = "terminating\n",
	};
	struct row_subcluster row;
	int r = view_subcluster(v, id, &row);

	if (r)
		return r;
	text_str(t, row.status < ARRAY_LEN(name) && name[row.status] ? name[row.status] : "unknown\n");
	return 0;
}

int render_sub_created(struct view *v, uint64_t id, struct text *t)
{
	struct row_subcluster row;
	int r = view_subcluster(v, id, &row);

	if (r)
		return r;
	text_time(t, row.created_us);
	text_str(t, "\n");
	return 0;
}

/* A system subcluster's; else an empty line. */
int render_sub_name(struct view *v, uint64_t id, struct text *t)
{
	struct row_subcluster row;
	int r = view_subcluster(v, id, &row);

	if (r)
		return r;
	text_escaped(t, row.name, strnlen(row.name, sizeof(row.name)));
	text_str(t, "\n");
	return 0;
}
