/* SPDX-License-Identifier: Apache-2.0 */
#include "work.h"

#include "render.h"

#define COUNT_MAX	200000u		/* collection actions counted for one row */

static const char *const work_names[] = {
	[LIVE_WORK_START] = "startVat", [LIVE_WORK_MESSAGE] = "message", [LIVE_WORK_NOTIFY] = "notify",
	[LIVE_WORK_DROP_EXPORTS] = "dropExports", [LIVE_WORK_RETIRE_EXPORTS] = "retireExports",
	[LIVE_WORK_RETIRE_IMPORTS] = "retireImports", [LIVE_WORK_REAP] = "bringOutYourDead", [LIVE_WORK_WAKE] = "wake",
};

const char *work_name(uint32_t work)
{
	return work < ARRAY_LEN(work_names) && work_names[work] ? work_names[work] : "unknown";
}

static const char *obstacle(const struct row_vat *row, const struct live_vat *live, bool sweeping)
{
	if (row->status == VAT_TERMINATED)
		return "terminated";
	if (row->status == VAT_SUSPENDED)
		return "suspended";
	if (sweeping || live->flags & LIVE_F_SWEEPING)
		return "sweeping";
	/* Without a look at its process only its status tells. */
	if (live->vat ? live->proc != LIVE_PROC_ALIVE : row->status == VAT_STARTING)
		return "starting";
	return NULL;
}

int work_look(struct view *v, uint64_t vat, struct work *w)
{
	const void *val;
	uint8_t key[8];
	size_t len;
	int r;

	*w = (struct work){ .vat = vat, .turns.obstacle = "no-vat" };
	r = view_vat(v, vat, &w->row);
	if (r)
		return r;
	if (!v->live || live_vat_read(v->live, vat, &w->live))
		w->live = (struct live_vat){ 0 };
	r = view_get(v, T_SWEEP, key, key_u64(key, endpoint_vat(vat).bits), &val, &len);
	if (r < 0)
		return r;
	w->turns = (struct turns){
		.obstacle = obstacle(&w->row, &w->live, r == 0), .seq = w->live.seq, .since_us = w->live.since_us,
		.n_items = w->live.n_items,
	};
	return 0;
}

/* One thing after the other is next, all others wait. */
static const char *waits(struct turns *turns)
{
	if (turns->obstacle)
		return turns->obstacle;
	return turns->n_waiting++ ? "waiting" : "next";
}

void work_item(struct view *v, struct text *t, struct turns *turns, uint64_t seq)
{
	if (seq < turns->seq) {
		text_str(t, "done\t-");
	} else if (turns->seq && turns->n_flown < turns->n_items) {
		bool first = !turns->n_flown++;

		text_str(t, first ? "in-flight\t" : "sent\t");
		render_age(v, t, first ? turns->since_us : 0);
	} else {
		text_str(t, waits(turns));
		text_str(t, "\t-");
	}
}

struct before { uint32_t work; uint64_t first, n; bool more; };

static void before_row(struct view *v, struct text *t, struct work *w, const struct before *b, bool queue_column)
{
	bool flies = w->live.work == b->work;

	text_printf(t, "-\t%s\t", work_name(b->work));
	render_kref(t, b->first);
	text_printf(t, "\t-\t-\t%llu%s\t-\t", (unsigned long long)b->n, b->more ? "+" : "");
	if (queue_column)
		text_printf(t, "v%llu\t", (unsigned long long)w->vat);
	text_printf(t, "-\t%s\t", flies ? "in-flight" : waits(&w->turns));
	render_age(v, t, flies ? w->live.since_us : 0);
	text_str(t, "\n");
}

static int collection_row(struct view *v, struct text *t, struct work *w, enum gc_type type, bool queue_column)
{
	struct before b = { .work = LIVE_WORK_DROP_EXPORTS + type - GC_DROP_EXPORT };
	uint8_t prefix[9];
	struct scan s;
	int r;

	put_be64(prefix, endpoint_vat(w->vat).bits);
	prefix[8] = (uint8_t)type;
	scan_begin(&s, v, T_GC, prefix, sizeof(prefix));
	while (!(r = scan_next(&s)) && !(b.more = b.n == COUNT_MAX))
		if (s.key_len == 17 && !b.n++)
			b.first = get_be64(s.key + 9);
	if (r < 0)
		return r;
	if (b.n || w->live.work == b.work)
		before_row(v, t, w, &b, queue_column);
	return 0;
}

int work_rows(struct view *v, struct text *t, struct work *w, bool queue_column)
{
	bool gone = w->row.status == VAT_TERMINATED;
	int r = 0;

	if (w->row.status == VAT_STARTING || w->live.work == LIVE_WORK_START)
		before_row(v, t, w, &(struct before){ .work = LIVE_WORK_START }, queue_column);
	for (unsigned int type = GC_DROP_EXPORT; !r && type <= GC_RETIRE_IMPORT; type++)
		r = collection_row(v, t, w, (enum gc_type)type, queue_column);
	if (r)
		return r;
	if ((w->row.flags & VAT_F_REAP && !gone) || w->live.work == LIVE_WORK_REAP)
		before_row(v, t, w, &(struct before){ .work = LIVE_WORK_REAP }, queue_column);
	if ((w->live.flags & LIVE_F_WAKE && !gone) || w->live.work == LIVE_WORK_WAKE)
		before_row(v, t, w, &(struct before){ .work = LIVE_WORK_WAKE }, queue_column);
	return 0;
}
