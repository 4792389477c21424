/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What will be collected: what the kernel is about to tell vats (G2), who will be asked to bring out their dead (G4),
 * promises that are about to go or are suspected of holding only each other (P9, P12), and what dead incarnations left
 * (G6).
 */
#include "render.h"
#include "work.h"

static uint32_t work_of_type(unsigned int type)
{
	if (type < GC_DROP_EXPORT || type > GC_RETIRE_IMPORT)
		return LIVE_WORK_NONE;
	return LIVE_WORK_DROP_EXPORTS + type - GC_DROP_EXPORT;
}

/* Will it be done when its turn comes? The world may have moved since it was noted: as still_valid() of gc.c. */
static int action_holds(struct view *v, endpoint_t e, unsigned int type, kref_t ref, uint32_t flags, bool *yesp)
{
	enum standing owner;
	struct row_object row;
	int r = view_object(v, ref, &row);

	*yesp = false;
	if (!r)
		r = view_standing(v, (endpoint_t){ row.owner }, row.owner_incarnation, row.flags & OBJECT_F_SURVIVES, &owner);
	if (r)
		return r < 0 ? r : 0;
	if (type == GC_DROP_EXPORT)
		*yesp = row.owner == e.bits && !row.n_reachable && flags & CLIST_F_REACHABLE;
	else if (type == GC_RETIRE_EXPORT)
		*yesp = row.owner == e.bits && !row.n_recognizable;
	else
		*yesp = row.owner != e.bits && !row.n_reachable && owner != STANDING_ALIVE && owner != STANDING_SUSPENDED;
	return 0;
}

static int action_row(struct view *v, struct text *t, endpoint_t e, unsigned int type, kref_t ref)
{
	char text[REF_TEXT_MAX];
	uint32_t flags = 0;
	struct work w;
	bool holds = false;
	vref_t vref;
	int r;

	render_endpoint(t, e.bits, "-");
	text_printf(t, "\t%s\t", work_name(work_of_type(type)));
	render_kref(t, ref.bits);
	r = view_eref(v, e, ref, &vref, &flags);
	text_printf(t, "\t%s\t", r ? "-" : vref_format(vref, text));
	if (!r)
		r = action_holds(v, e, type, ref, flags, &holds);
	if (r < 0)
		return r;
	r = work_look(v, endpoint_number(e), &w);
	if (!holds)
		text_str(t, "stale\n");
	else if (w.live.work && w.live.work == work_of_type(type))
		text_str(t, "in-flight\n");
	else
		text_printf(t, "%s\n", w.turns.obstacle ? w.turns.obstacle : "due");
	return r < 0 ? r : 0;
}

static int action_rows(struct view *v, struct text *t)
{
	struct scan s;
	int r = 0;

	scan_begin(&s, v, T_GC, NULL, 0);
	while (!r && !t->cut && !(r = scan_next(&s)))
		if (s.key_len == 17)
			r = action_row(v, t, (endpoint_t){ get_be64(s.key) }, s.key[8], (kref_t){ get_be64(s.key + 9) });
	return r < 0 ? r : 0;
}

static const char columns[] = "vat\ttype\tkref\teref\tstate\n";

int render_gc_actions(struct view *v, uint64_t id, struct text *t)
{
	size_t start = t->len;
	int r;

	(void)id;
	text_str(t, columns);
	r = action_rows(v, t);
	text_align(t, start);
	return r;
}

static int pending_rows(struct view *v, struct text *t)
{
	uint64_t vat;
	struct scan s;
	int r = 0;

	scan_begin(&s, v, T_VAT, NULL, 0);
	while (!r && !t->cut && !(r = scan_next(&s))) {
		struct work w;

		if (!scan_id(&s, 1, &vat) || (r = work_look(v, vat, &w)) || w.row.status == VAT_TERMINATED ||
		    !(w.row.flags & VAT_F_REAP)) {
			r = r < 0 ? r : 0;
			continue;
		}
		text_printf(t, "v%llu\t%s\t-\t-\t%s\n", (unsigned long long)vat, work_name(LIVE_WORK_REAP),
			    w.live.work == LIVE_WORK_REAP ? "in-flight" : w.turns.obstacle ? w.turns.obstacle : "due");
	}
	return r < 0 ? r : 0;
}

static int suspect_rows(struct view *v, struct text *t, enum suspect_kind kind, const char *before, const char *after)
{
	uint64_t kref;
	struct scan s;
	int r = 0;

	scan_begin_u64(&s, v, T_SUSPECT, kind);
	while (!t->cut && !(r = scan_next(&s))) {
		if (!scan_id(&s, 2, &kref))
			continue;
		text_str(t, before);
		render_kref(t, kref);
		text_str(t, after);
	}
	return r < 0 ? r : 0;
}

/* All of it in one: what the kernel does by itself is `k`'s. */
int render_gc_next(struct view *v, uint64_t id, struct text *t)
{
	size_t start = t->len;
	int r;

	(void)id;
	text_str(t, columns);
	r = suspect_rows(v, t, SUSPECT_DEAD, "k\tdelete\t", "\t-\tdue\n");
	if (!r)
		r = action_rows(v, t);
	if (!r)
		r = pending_rows(v, t);
	if (!r)
		r = suspect_rows(v, t, SUSPECT_CIRCLE, "k\tsearch\t", "\t-\tdue\n");
	text_align(t, start);
	return r;
}

int render_gc_suspects(struct view *v, uint64_t id, struct text *t)
{
	size_t start = t->len;
	int r;

	(void)id;
	text_str(t, "kind\tkref\n");
	r = suspect_rows(v, t, SUSPECT_DEAD, "dead\t", "\n");
	if (!r)
		r = suspect_rows(v, t, SUSPECT_CIRCLE, "circle\t", "\n");
	text_align(t, start);
	return r;
}

/* Every vat that can still be asked. */
int render_gc_reap(struct view *v, uint64_t id, struct text *t)
{
	size_t start = t->len;
	struct row_vat row;
	uint64_t vat;
	struct scan s;
	int r = 0;

	(void)id;
	text_str(t, "vat\tpending\tdeliveries\treferences\n");
	scan_begin(&s, v, T_VAT, NULL, 0);
	while (!t->cut && !(r = scan_next(&s)))
		if (scan_id(&s, 1, &vat) && row_vat_read(s.val, s.len, &row) && row.status != VAT_TERMINATED)
			text_printf(t, "v%llu\t%s\t%u\t%u\n", (unsigned long long)vat, row.flags & VAT_F_REAP ? "yes" : "no",
				    row.n_dirt_deliveries, row.n_dirt_gc);
	text_align(t, start);
	return r < 0 ? r : 0;
}

static const char *const sweep_phases[] = {
	[SWEEP_QUEUE] = "queue", [SWEEP_CALLS] = "calls", [SWEEP_DECIDED] = "decided", [SWEEP_CLIST] = "clist", [SWEEP_GC] = "gc",
	[SWEEP_VATSTORE] = "vatstore", [SWEEP_PARAM] = "parameters", [SWEEP_END] = "end",
};

int render_gc_sweeps(struct view *v, uint64_t id, struct text *t)
{
	size_t start = t->len;
	struct row_sweep row;
	struct scan s;
	uint64_t e;
	int r = 0;

	(void)id;
	text_str(t, "vat\tafter\tphase\tcursor\n");
	scan_begin(&s, v, T_SWEEP, NULL, 0);
	while (!t->cut && !(r = scan_next(&s))) {
		if (!scan_id(&s, 1, &e) || s.len != sizeof(row))
			continue;
		memcpy(&row, s.val, sizeof(row));
		render_endpoint(t, e, "-");
		text_printf(t, "\t%s\t%s\t%llu\n", row.terminated ? "termination" : "restart",
			    row.phase < ARRAY_LEN(sweep_phases) ? sweep_phases[row.phase] : "unknown",
			    (unsigned long long)row.cursor);
	}
	text_align(t, start);
	return r < 0 ? r : 0;
}
