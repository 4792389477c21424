/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who lives, and how others died: the table of all vats, and how their last processes ended.
 */
#include "render.h"

static const char *const status_names[] = {
	[VAT_STARTING] = "starting", [VAT_RUNNING] = "running", [VAT_SUSPENDED] = "suspended", [VAT_TERMINATED] = "terminated",
};

const char *render_status_name(uint32_t status)
{
	return status < ARRAY_LEN(status_names) && status_names[status] ? status_names[status] : "unknown";
}

/* --- deaths ------------------------------------------------------------------------------------------------------ */

/* A row of T_DEATH; false: damaged. */
static bool death_read(const struct scan *s, uint64_t *vatp, struct row_death *row, const char **textp, size_t *lenp)
{
	if (s->key_len != 16 || !row_death_read(s->val, s->len, row, textp, lenp))
		return false;
	*vatp = get_be64(s->key);
	return true;
}

/* Those of one vat, oldest first; of all: by vat. */
static int death_rows(struct view *v, struct text *t, struct scan *s, bool of_all)
{
	size_t start = t->len, len;
	struct row_death row;
	const char *why;
	uint64_t vat;
	int r = 0;

	(void)v;
	text_str(t, of_all ? "time\tvat\tincarnation\twhy\n" : "time\tincarnation\twhy\n");
	while (!t->cut && !(r = scan_next(s))) {
		if (!death_read(s, &vat, &row, &why, &len))
			continue;
		text_time(t, row.time_us);
		if (of_all)
			text_printf(t, "\tv%llu", (unsigned long long)vat);
		text_printf(t, "\t%u\t", row.incarnation);
		text_last_cell(t, why, len);
		text_str(t, "\n");
	}
	text_align(t, start);
	return r < 0 ? r : 0;
}

int render_deaths(struct view *v, uint64_t id, struct text *t)
{
	struct scan s;

	(void)id;
	scan_begin(&s, v, T_DEATH, NULL, 0);
	return death_rows(v, t, &s, true);
}

int render_vat_deaths(struct view *v, uint64_t id, struct text *t)
{
	struct row_vat row;
	struct scan s;
	int r = view_vat(v, id, &row);

	if (r)
		return r;
	scan_begin_u64(&s, v, T_DEATH, id);
	return death_rows(v, t, &s, false);
}

/* --- all vats ---------------------------------------------------------------------------------------------------- */

/* Why it is suspended or terminated; else of what it died last. */
static int why_cell(struct view *v, struct text *t, uint64_t vat, const struct row_vat *row)
{
	const char *why = row->reason, *text;
	size_t len = strlen(row->reason), n;
	struct row_death death;
	struct scan s;
	uint64_t id;
	int r = SCAN_END;

	scan_begin_u64(&s, v, T_DEATH, vat);
	while (!row->reason[0] && !(r = scan_next(&s))) {	/* DEATH_KEEP of them at most */
		if (!death_read(&s, &id, &death, &text, &n))
			continue;
		why = text;
		len = n;
	}
	if (r < 0)
		return r;
	text_last_cell(t, why, len);
	return 0;
}

/* memory, cpu and how long it has been at what it does. */
static void live_cells(struct view *v, struct text *t, uint64_t vat)
{
	struct live_vat live;
	bool known = render_live(v, vat, &live);

	if (known && live.memory) {
		text_printf(t, "%llu\t", (unsigned long long)live.memory);
		render_seconds(t, live.cpu_ns / 1000);
	} else {
		text_str(t, "-\t-");
	}
	text_str(t, "\t");
	if (known && live.n_in_flight)
		render_seconds(t, render_busy_us(v, &live));
	else
		text_str(t, "-");
	text_str(t, "\t");
}

static int vat_row(struct view *v, struct text *t, uint64_t vat, const struct row_vat *row)
{
	int r;

	text_printf(t, "v%llu\t", (unsigned long long)vat);
	text_cell(t, row->name, strlen(row->name));
	text_printf(t, "\ts%llu\t%s\t%u\t", (unsigned long long)row->subcluster, render_status_name(row->status), row->incarnation);
	if (row->uid)
		text_printf(t, "%u\t", row->uid);
	else
		text_str(t, "-\t");
	if (row->pid)
		text_printf(t, "%d\t", row->pid);
	else
		text_str(t, "-\t");
	text_printf(t, "%u\t%llu\t%llu\t%llu\t%llu\t", row->n_deaths, (unsigned long long)row->n_cranks,
		    (unsigned long long)row->n_queued, (unsigned long long)row->queued_bytes,
		    (unsigned long long)row->vatstore_bytes);
	live_cells(v, t, vat);
	r = why_cell(v, t, vat, row);
	text_str(t, "\n");
	return r;
}

int render_vats(struct view *v, uint64_t id, struct text *t)
{
	size_t start = t->len;
	struct row_vat row;
	struct scan s;
	uint64_t vat;
	int r = 0;

	(void)id;
	text_str(t, "vat\tname\tsubcluster\tstatus\tincarnation\tuid\tpid\tdeaths\tcranks\tqueued\tqueued-bytes\tstore-bytes\t"
		    "memory\tcpu\tbusy\twhy\n");
	scan_begin(&s, v, T_VAT, NULL, 0);
	while (!t->cut && !(r = scan_next(&s))) {
		if (!scan_id(&s, 1, &vat) || !row_vat_read(s.val, s.len, &row))
			continue;
		r = vat_row(v, t, vat, &row);
		if (r)
			return r;
	}
	text_align(t, start);
	return r < 0 ? r : 0;
}
