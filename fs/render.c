/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files that speak of the whole kernel, and the ways that references and values are written everywhere.
 */
#include "render.h"

#include "../lib/smallcaps.h"

void render_kref(struct text *t, uint64_t bits)
{
	char buf[REF_TEXT_MAX];

	text_str(t, bits ? kref_format((kref_t){ bits }, buf) : "-");
}

void render_endpoint(struct text *t, uint64_t bits, const char *none)
{
	char buf[REF_TEXT_MAX];

	text_str(t, bits ? endpoint_format((endpoint_t){ bits }, buf) : none);
}

static const char *slot_text(void *ctx, uint64_t slot, char buf[40])
{
	(void)ctx;
	return kref_format((kref_t){ slot }, buf);
}

void render_body(struct text *t, const struct capdata *c)
{
	_cleanup_free_ uint64_t *slots = NULL;
	_cleanup_free_ char *line = NULL;

	if (c->n_slots) {
		slots = malloc(c->n_slots * sizeof(*slots));
		if (!slots) {
			t->failed = true;
			return;
		}
		memcpy(slots, c->slots, c->n_slots * sizeof(*slots));
	}
	line = smallcaps_render(c->body, c->body_len, slots, c->n_slots, slot_text, NULL);
	if (line)
		text_str(t, line);
	else
		t->failed = true;
}

void render_slots(struct text *t, const struct capdata *c)
{
	if (!c->n_slots)
		text_str(t, "-");
	for (size_t i = 0; i < c->n_slots; i++) {
		if (i)
			text_str(t, " ");
		render_kref(t, capdata_slot(c, i));
	}
}

void render_capdata(struct text *t, const struct capdata *c)
{
	text_str(t, "value: ");
	render_body(t, c);
	text_str(t, "\nbody: ");
	text_escaped(t, c->body, c->body_len);
	text_str(t, "\nslots: ");
	render_slots(t, c);
	text_str(t, "\n");
}

int render_version(struct view *v, uint64_t id, struct text *t)
{
	const void *val;
	size_t len;
	int r;

	(void)id;
	r = view_get(v, T_META, META_VERSION, strlen(META_VERSION), &val, &len);
	if (r < 0)
		return r;
	if (r)
		text_str(t, CAPSTAN_VERSION);
	else
		text_escaped(t, val, len);
	text_str(t, "\n");
	return 0;
}

static int count_rows(struct view *v, enum table table, uint64_t *np)
{
	return reader_count(v->reader, table, np);
}

static int status_vats(struct view *v, struct text *t)
{
	uint64_t n[VAT_TERMINATED + 1] = { 0 }, sum = 0;
	struct scan s;
	int r;

	scan_begin(&s, v, T_VAT, NULL, 0);
	while (!(r = scan_next(&s))) {
		struct row_vat row;

		if (!row_vat_read(s.val, s.len, &row) || row.status >= ARRAY_LEN(n))
			continue;
		n[row.status]++;
		sum++;
	}
	if (r < 0)
		return r;
	text_printf(t, "vats: %llu\n", (unsigned long long)sum);
	for (size_t i = VAT_STARTING; i < ARRAY_LEN(n); i++)
		text_printf(t, "vats-%s: %llu\n", render_status_name((uint32_t)i), (unsigned long long)n[i]);
	return 0;
}

static int status_counts(struct view *v, struct text *t)
{
	static const struct { const char *name; enum table table; } rows[] = {
		{ "subclusters", T_SUBCLUSTER }, { "objects", T_OBJECT }, { "promises", T_PROMISE },
		{ "queue-items", T_QUEUE }, { "gc-actions", T_GC }, { "holds", T_HOLD }, { "services", T_SERVICE },
		{ "set-aside", T_ASIDE }, { "suspects", T_SUSPECT }, { "programs", T_CODE },
	};
	uint64_t n;
	int r;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		r = count_rows(v, rows[i].table, &n);
		if (r < 0)
			return r;
		text_printf(t, "%s: %llu\n", rows[i].name, (unsigned long long)n);
	}
	return 0;
}

/* What the broker knows while it runs. */
static void status_live(struct view *v, struct text *t)
{
	const struct live_kernel *k = &v->live->kernel;

	text_printf(t, "broker-pid: %d\nbroker-started: ", k->pid);
	text_time(t, k->start_us);
	text_str(t, "\nuptime: ");
	render_seconds(t, k->start_us && v->now_us > k->start_us ? v->now_us - k->start_us : 0);
	text_printf(t, "\nin-flight: %llu\ncalls-waiting: %llu\nevents: %llu\nlast-commit: ",
		    (unsigned long long)k->n_in_flight, (unsigned long long)k->n_calls, (unsigned long long)v->live->n_shown);
	text_time(t, k->commit_us);
	text_str(t, "\n");
}

int render_status(struct view *v, uint64_t id, struct text *t)
{
	uint64_t schema, boots, boot_time, uid_block, cranks;
	int r;

	text_str(t, "version: ");
	r = render_version(v, id, t);
	if (!r)
		r = view_meta(v, META_SCHEMA, &schema);
	if (!r)
		r = view_meta(v, META_UID_BLOCK, &uid_block);
	if (!r)
		r = view_meta(v, META_N_BOOT, &boots);
	if (!r)
		r = view_meta(v, META_BOOT_TIME, &boot_time);
	if (!r)
		r = view_meta(v, META_NEXT_DELIVERY, &cranks);
	if (r)
		return r;
	text_printf(t, "schema: %llu\n", (unsigned long long)schema);
	if (uid_block)
		text_printf(t, "uid-block: %llu\n", (unsigned long long)uid_block);
	else
		text_str(t, "uid-block: none\n");
	text_printf(t, "boots: %llu\nboot-time: ", (unsigned long long)boots);
	text_time(t, boot_time);
	text_printf(t, "\ncranks: %llu\n", (unsigned long long)(cranks ? cranks - 1 : 0));
	r = status_vats(v, t);
	if (r)
		return r;
	r = status_counts(v, t);
	if (r)
		return r;
	text_printf(t, "store: lmdb\nstore-bytes: %llu\nstore-commit: %llu\n", (unsigned long long)v->store_bytes,
		    (unsigned long long)reader_txnid(v->reader));
	if (v->live)
		status_live(v, t);
	return 0;
}

int stats_present(struct view *v, uint64_t id)
{
	(void)id;
	return v->live ? 0 : VIEW_E_ABSENT;
}

/* Counters of this broker's time. Each is read by itself: they are not of one moment. */
int render_stats(struct view *v, uint64_t id, struct text *t)
{
	const struct live_kernel *k;

	(void)id;
	if (!v->live)
		return VIEW_E_ABSENT;
	k = &v->live->kernel;
	const struct { const char *name; uint64_t n; } rows[] = {
		{ "commits", k->n_commits }, { "cranks", k->n_cranks }, { "abandoned", k->n_abandoned },
		{ "illegal", k->n_illegal }, { "dropped-sends", k->n_dropped_sends }, { "deaths", k->n_deaths },
		{ "messages", k->n_messages }, { "notifies", k->n_notifies }, { "gc-deliveries", k->n_gc },
		{ "sent-ahead", k->n_ahead }, { "objects-deleted", k->n_objects_gone },
		{ "promises-deleted", k->n_promises_gone }, { "circles-deleted", k->n_circular },
		{ "events", v->live->n_shown }, { "events-lost", k->n_events_lost },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		text_printf(t, "%s: %llu\n", rows[i].name, (unsigned long long)rows[i].n);
	return 0;
}

static const char *const hold_names[] = {
	[HOLD_ROOT] = "root", [HOLD_RESULT] = "result", [HOLD_PERSON] = "person", [HOLD_SERVICE] = "service",
	[HOLD_PIN] = "pin", [HOLD_HOST] = "host",
};

const char *render_hold_kind(unsigned int kind)
{
	return kind < ARRAY_LEN(hold_names) && hold_names[kind] ? hold_names[kind] : "unknown";
}

void render_hold(struct text *t, const struct render_hold *h, char between)
{
	text_str(t, render_hold_kind(h->kind));
	text_add(t, &between, 1);
	if (h->kind == HOLD_ROOT || h->kind == HOLD_RESULT)
		text_printf(t, "s%llu", (unsigned long long)h->owner);
	else if (h->kind == HOLD_HOST)
		text_printf(t, "%llu", (unsigned long long)h->owner);
	else
		text_str(t, "-");
	text_add(t, &between, 1);
	text_printf(t, "%llu", (unsigned long long)h->row.count);
	text_add(t, &between, 1);
	text_time(t, h->row.since_us);
}

bool render_hold_read(const struct scan *s, struct render_hold *out)
{
	if (s->key_len != 17 || !row_hold_read(s->val, s->len, &out->row))
		return false;
	out->kref = get_be64(s->key);
	out->kind = s->key[8];
	out->owner = get_be64(s->key + 9);
	return true;
}

int render_holds(struct view *v, uint64_t id, struct text *t)
{
	struct render_hold hold;
	size_t start = t->len;
	struct scan s;
	int r = 0;

	(void)id;
	text_str(t, "kref\tkind\towner\tcount\tsince\n");
	scan_begin(&s, v, T_HOLD, NULL, 0);
	while (!t->cut && !(r = scan_next(&s))) {
		if (!render_hold_read(&s, &hold))
			continue;
		render_kref(t, hold.kref);
		text_str(t, "\t");
		render_hold(t, &hold, '\t');
		text_str(t, "\n");
	}
	text_align(t, start);
	return r < 0 ? r : 0;
}
