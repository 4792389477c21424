/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a vat uses and what it may use: its counters, its limits, who has what in its queue and among its imports.
 */
#include "render.h"

#include <jansson.h>

void render_seconds(struct text *t, uint64_t us)
{
	text_printf(t, "%llu.%03llu", (unsigned long long)(us / 1000000), (unsigned long long)(us / 1000 % 1000));
}

bool render_live(struct view *v, uint64_t vat, struct live_vat *out)
{
	return v->live && !live_vat_read(v->live, vat, out);
}

uint64_t render_busy_us(const struct view *v, const struct live_vat *live)
{
	/* The clock can have been set back since. */
	return v->now_us > live->since_us ? v->now_us - live->since_us : 0;
}

/* --- usage ------------------------------------------------------------------------------------------------------- */

struct number { const char *name; uint64_t n; };

static void numbers(struct text *t, const struct number *rows, size_t n)
{
	for (size_t i = 0; i < n; i++)
		text_printf(t, "%s: %llu\n", rows[i].name, (unsigned long long)rows[i].n);
}

static void usage_stored(struct text *t, const struct row_vat *row)
{
	const struct number first[] = {
		{ "cranks", row->n_cranks }, { "deaths", row->n_deaths }, { "queued", row->n_queued },
		{ "queued-bytes", row->queued_bytes }, { "exports", row->n_exports }, { "imports", row->n_imports },
		{ "vatstore-bytes", row->vatstore_bytes }, { "log-dropped", row->n_log_dropped },
	};
	const struct number more[] = {
		{ "senders", row->n_senders }, { "introducers", row->n_introducers }, { "calls", row->n_calls },
		{ "set-aside", row->n_aside }, { "set-aside-bytes", row->aside_bytes },
		{ "log-lines", row->next_log ? row->next_log - 1 : 0 }, { "log-bytes", row->log_bytes },
	};

	numbers(t, first, ARRAY_LEN(first));
	text_str(t, "started: ");
	text_time(t, row->started_us);
	text_str(t, "\n");
	numbers(t, more, ARRAY_LEN(more));
	if (row->revoked_below)
		text_printf(t, "revoked-below: ko%llu\n", (unsigned long long)row->revoked_below);
	else
		text_str(t, "revoked-below: none\n");
}

static const char *const proc_names[] = {
	[LIVE_PROC_NONE] = "none", [LIVE_PROC_WANTED] = "wanted", [LIVE_PROC_SPAWNING] = "spawning",
	[LIVE_PROC_ALIVE] = "alive", [LIVE_PROC_DYING] = "dying",
};
static const char *const work_names[] = {
	[LIVE_WORK_START] = "startVat", [LIVE_WORK_MESSAGE] = "message", [LIVE_WORK_NOTIFY] = "notify",
	[LIVE_WORK_DROP_EXPORTS] = "dropExports", [LIVE_WORK_RETIRE_EXPORTS] = "retireExports",
	[LIVE_WORK_RETIRE_IMPORTS] = "retireImports", [LIVE_WORK_REAP] = "bringOutYourDead", [LIVE_WORK_WAKE] = "wake",
};

static const char *name_in(const char *const *names, size_t n, uint32_t i)
{
	return i < n && names[i] ? names[i] : "unknown";
}

static void usage_in_flight(struct view *v, struct text *t, const struct live_vat *live)
{
	text_printf(t, "in-flight: %u\n", live->n_in_flight);
	if (!live->n_in_flight)
		return;
	text_printf(t, "delivery: %llu\nwork: %s\n", (unsigned long long)live->delivery,
		    name_in(work_names, ARRAY_LEN(work_names), live->work));
	if (live->seq)
		text_printf(t, "seq: %llu\n", (unsigned long long)live->seq);
	text_str(t, "since: ");
	text_time(t, live->since_us);
	text_str(t, "\nbusy: ");
	render_seconds(t, render_busy_us(v, live));
	text_str(t, "\n");
}

/* What the broker knows while it runs; counted from its start. */
static void usage_live(struct view *v, struct text *t, const struct live_vat *live)
{
	const struct number rows[] = {
		{ "abandoned", live->n_abandoned }, { "syscalls", live->n_syscalls }, { "sent", live->n_messages },
		{ "sent-bytes", live->bytes_in }, { "received-bytes", live->bytes_out },
	};

	text_printf(t, "process: %s\n", name_in(proc_names, ARRAY_LEN(proc_names), live->proc));
	if (live->memory) {
		text_printf(t, "memory: %llu\ncpu: ", (unsigned long long)live->memory);
		render_seconds(t, live->cpu_ns / 1000);
		text_str(t, "\nsampled: ");
		text_time(t, live->sampled_us);
		text_str(t, "\n");
	}
	text_str(t, "busy-total: ");
	render_seconds(t, live->busy_us);
	text_str(t, "\n");
	numbers(t, rows, ARRAY_LEN(rows));
	text_printf(t, "sweeping: %s\nwake: %s\n", live->flags & LIVE_F_SWEEPING ? "yes" : "no",
		    live->flags & LIVE_F_WAKE ? "yes" : "no");
	usage_in_flight(v, t, live);
}

int render_vat_usage(struct view *v, uint64_t id, struct text *t)
{
	struct live_vat live;
	struct row_vat row;
	int r = view_vat(v, id, &row);

	if (r)
		return r;
	usage_stored(t, &row);
	if (render_live(v, id, &live))
		usage_live(v, t, &live);
	return 0;
}

/* --- limits ------------------------------------------------------------------------------------------------------ */

/* By the names that they have in a cluster's "limits" (lib/config.c), in the order of struct row_limits. */
static const struct limit {
	const char *name;
	size_t offset;
	bool zero_is_none;
} limits[] = {
#define LIMIT(name, field, zero_is_none) { name, offsetof(struct row_limits, field), zero_is_none }
	LIMIT("deadlineMs", deadline_ms, true),
	LIMIT("cpuMs", cpu_ms, true),
	LIMIT("queueMessages", queue_messages, false),
	LIMIT("queueBytes", queue_bytes, false),
	LIMIT("waitingMessages", waiting_messages, false),
	LIMIT("waitingBytes", waiting_bytes, false),
	LIMIT("syscalls", syscalls, false),
	LIMIT("crankBytes", crank_bytes, false),
	LIMIT("exports", exports, false),
	LIMIT("imports", imports, false),
	LIMIT("vatstoreBytes", vatstore_bytes, false),
	LIMIT("logLines", log_lines, false),
	LIMIT("memory", memory, true),
	LIMIT("processes", n_procs, true),
	LIMIT("openFiles", n_files, true),
#undef LIMIT
};
#define N_LIMITS	ARRAY_LEN(limits)
_Static_assert(ARRAY_LEN(limits) * 8 == sizeof(struct row_limits), "every limit has its row");

static uint64_t limit_of(const struct row_limits *row, size_t i)
{
	uint64_t n;

	memcpy(&n, (const char *)row + limits[i].offset, sizeof(n));
	return n;
}

/* The defaults in force. ABSENT: no broker has written them. */
static int default_limits(struct view *v, struct row_limits *out)
{
	const void *val;
	size_t len;
	int r = view_get(v, T_META, META_LIMITS, strlen(META_LIMITS), &val, &len);

	if (r)
		return r;
	if (len != sizeof(*out))
		return VIEW_E_DAMAGED;
	memcpy(out, val, len);
	return 0;
}

static void limit_cell(struct text *t, size_t i, uint64_t n)
{
	if (n == UINT64_MAX || (!n && limits[i].zero_is_none))
		text_str(t, "none");
	else
		text_printf(t, "%llu", (unsigned long long)n);
}

int defaults_present(struct view *v, uint64_t id)
{
	struct row_limits row;
	int r;

	(void)id;
	r = default_limits(v, &row);
	return r < 0 ? r : r ? VIEW_E_ABSENT : 0;
}

int render_limits(struct view *v, uint64_t id, struct text *t)
{
	struct row_limits row;
	size_t start = t->len;
	int r;

	(void)id;
	r = default_limits(v, &row);
	if (r)
		return r;
	text_str(t, "limit\tdefault\n");
	for (size_t i = 0; i < N_LIMITS; i++) {
		text_printf(t, "%s\t", limits[i].name);
		limit_cell(t, i, limit_of(&row, i));
		text_str(t, "\n");
	}
	text_align(t, start);
	return 0;
}

/* What the vat's configuration says; NULL: nothing. A new reference. */
static int own_limits(struct view *v, uint64_t vat, json_t **limitsp)
{
	const void *val;
	uint8_t key[8];
	json_t *json;
	size_t len;
	int r = view_get(v, T_VAT_CONFIG, key, key_u64(key, vat), &val, &len);

	*limitsp = NULL;
	if (r)
		return r < 0 ? r : 0;
	json = json_loadb(val, len, 0, NULL);
	*limitsp = json_incref(json_object_get(json, "limits"));
	json_decref(json);
	return 0;
}

/* How much of each limit is used now; false: there is no such number, or nobody keeps it. */
static bool limit_used(struct view *v, uint64_t vat, const struct row_vat *row, size_t i, uint64_t *outp)
{
	struct live_vat live;
	bool is_live = render_live(v, vat, &live);

	switch (limits[i].offset) {
	case offsetof(struct row_limits, deadline_ms):
		*outp = is_live ? render_busy_us(v, &live) / 1000 : 0;
		return is_live && live.n_in_flight;
	case offsetof(struct row_limits, memory):
		*outp = is_live ? live.memory : 0;
		return is_live && live.memory;
	case offsetof(struct row_limits, queue_messages): *outp = row->n_queued; return true;
	case offsetof(struct row_limits, queue_bytes):	*outp = row->queued_bytes; return true;
	case offsetof(struct row_limits, exports):	*outp = row->n_exports; return true;
	case offsetof(struct row_limits, imports):	*outp = row->n_imports; return true;
	case offsetof(struct row_limits, vatstore_bytes): *outp = row->vatstore_bytes; return true;
	default: return false;
	}
}

static void limit_row(struct view *v, struct text *t, uint64_t vat, const struct row_vat *row, size_t i, const json_t *own,
		      const struct row_limits *defaults)
{
	uint64_t max = defaults ? limit_of(defaults, i) : 0, used;
	bool is_given = json_is_integer(own);

	if (is_given)
		max = (uint64_t)json_integer_value(own);
	if (limits[i].offset == offsetof(struct row_limits, crank_bytes) && max > WIRE_MAX_CRANK_BYTES)
		max = WIRE_MAX_CRANK_BYTES;	/* what the wire allows binds all */
	text_printf(t, "%s\t", limits[i].name);
	if (limit_used(v, vat, row, i, &used))
		text_printf(t, "%llu\t", (unsigned long long)used);
	else
		text_str(t, "-\t");
	if (is_given || defaults)
		limit_cell(t, i, max);
	else
		text_str(t, "-");
	text_str(t, "\t");
	if (defaults)
		limit_cell(t, i, limit_of(defaults, i));
	else
		text_str(t, "-");
	text_str(t, "\n");
}

int render_vat_limits(struct view *v, uint64_t id, struct text *t)
{
	struct row_limits defaults;
	size_t start = t->len;
	struct row_vat row;
	bool known;
	json_t *own;
	int r;

	r = view_vat(v, id, &row);
	if (r)
		return r;
	r = default_limits(v, &defaults);
	if (r < 0)
		return r;
	known = r == 0;
	r = own_limits(v, id, &own);
	if (r)
		return r;
	text_str(t, "limit\tused\tmax\tdefault\n");
	for (size_t i = 0; i < N_LIMITS; i++)
		limit_row(v, t, id, &row, i, json_object_get(own, limits[i].name), known ? &defaults : NULL);
	json_decref(own);
	text_align(t, start);
	return 0;
}

/* --- whose it is ------------------------------------------------------------------------------------------------- */

int render_vat_charges(struct view *v, uint64_t id, struct text *t)
{
	size_t start = t->len;
	struct row_charge row;
	struct row_vat vat;
	struct scan s;
	uint64_t who;
	int r;

	r = view_vat(v, id, &vat);
	if (r)
		return r;
	text_str(t, "sender\tmessages\tbytes\timports\n");
	scan_begin_u64(&s, v, T_CHARGE, endpoint_vat(id).bits);
	while (!t->cut && !(r = scan_next(&s))) {
		if (!scan_id(&s, 2, &who) || !row_charge_read(s.val, s.len, &row))
			continue;
		render_endpoint(t, who, "host");
		text_printf(t, "\t%llu\t%llu\t%llu\n", (unsigned long long)row.n_messages, (unsigned long long)row.bytes,
			    (unsigned long long)row.n_imports);
	}
	text_align(t, start);
	return r < 0 ? r : 0;
}
