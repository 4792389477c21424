/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Subclusters and services.
 */
#include "render.h"

static const char *const status_names[] = {
	[SUB_LAUNCHING] = "launching", [SUB_RUNNING] = "running", [SUB_TERMINATING] = "terminating",
};

static const char *status_name(uint32_t status)
{
	return status < ARRAY_LEN(status_names) && status_names[status] ? status_names[status] : "unknown";
}

static void time_cell(struct text *t, uint64_t us)
{
	if (us)
		text_time(t, us);
	else
		text_str(t, "-");
}

/* --- one subcluster ---------------------------------------------------------------------------------------------- */

int render_sub_config(struct view *v, uint64_t id, struct text *t)
{
	struct row_subcluster row;
	int r = view_subcluster(v, id, &row);

	return r ? r : render_config(v, T_SUB_CONFIG, id, t);
}

int render_sub_status(struct view *v, uint64_t id, struct text *t)
{
	struct row_subcluster row;
	int r = view_subcluster(v, id, &row);

	if (!r)
		text_printf(t, "%s\n", status_name(row.status));
	return r;
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

/* When its last vat had terminated. */
int render_sub_ended(struct view *v, uint64_t id, struct text *t)
{
	struct row_subcluster row;
	int r = view_subcluster(v, id, &row);

	if (r)
		return r;
	text_time(t, row.ended_us);
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

/* What is held for as long as it lives: roots of its vats, references in its bootstrap's result. */
int render_sub_holds(struct view *v, uint64_t id, struct text *t)
{
	struct render_hold hold;
	size_t start = t->len;
	struct row_subcluster row;
	struct scan s;
	int r;

	r = view_subcluster(v, id, &row);
	if (r)
		return r;
	text_str(t, "kref\tkind\towner\tcount\tsince\n");
	scan_begin(&s, v, T_HOLD, NULL, 0);
	while (!t->cut && !(r = scan_next(&s))) {
		if (!render_hold_read(&s, &hold) || (hold.kind != HOLD_ROOT && hold.kind != HOLD_RESULT) || hold.owner != id)
			continue;
		render_kref(t, hold.kref);
		text_str(t, "\t");
		render_hold(t, &hold, '\t');
		text_str(t, "\n");
	}
	text_align(t, start);
	return r < 0 ? r : 0;
}

/* --- all of them ------------------------------------------------------------------------------------------------- */

static int count_members(struct view *v, uint64_t subcluster, uint64_t *np)
{
	struct scan s;
	int r;

	*np = 0;
	scan_begin_u64(&s, v, T_MEMBER, subcluster);
	while (!(r = scan_next(&s)))
		++*np;
	return r < 0 ? r : 0;
}

static int sub_row(struct view *v, struct text *t, uint64_t subcluster, const struct row_subcluster *row)
{
	uint64_t n;
	int r = count_members(v, subcluster, &n);

	if (r)
		return r;
	text_printf(t, "s%llu\t", (unsigned long long)subcluster);
	text_cell(t, row->name, strnlen(row->name, sizeof(row->name)));
	text_printf(t, "\t%s\t%llu\t", status_name(row->status), (unsigned long long)n);
	if (row->bootstrap_vat)
		text_printf(t, "v%llu\t", (unsigned long long)row->bootstrap_vat);
	else
		text_str(t, "-\t");
	render_kref(t, row->root);
	text_str(t, "\t");
	time_cell(t, row->created_us);
	text_str(t, "\t");
	time_cell(t, row->ended_us);
	text_str(t, "\n");
	return 0;
}

int render_subclusters(struct view *v, uint64_t id, struct text *t)
{
	struct row_subcluster row;
	size_t start = t->len;
	uint64_t subcluster;
	struct scan s;
	int r = 0;

	(void)id;
	text_str(t, "subcluster\tname\tstatus\tvats\tbootstrap\troot\tcreated\tended\n");
	scan_begin(&s, v, T_SUBCLUSTER, NULL, 0);
	while (!t->cut && !(r = scan_next(&s))) {
		if (!scan_id(&s, 1, &subcluster) || !row_subcluster_read(s.val, s.len, &row))
			continue;
		r = sub_row(v, t, subcluster, &row);
		if (r)
			return r;
	}
	text_align(t, start);
	return r < 0 ? r : 0;
}

/* --- services ---------------------------------------------------------------------------------------------------- */

bool service_read(const void *val, size_t len, struct row_service *out)
{
	if (len != sizeof(*out))
		return false;
	memcpy(out, val, sizeof(*out));
	return true;
}

struct calls { uint64_t kref, n; };	/* how many calls wait at the service */

static int by_kref(const void *a, const void *b)
{
	const struct calls *x = a, *y = b;

	return (x->kref > y->kref) - (x->kref < y->kref);
}

/* The services' references, in order; malloc'd. */
static int collect_services(struct view *v, struct calls **callsp, size_t *np)
{
	_cleanup_free_ struct calls *calls = NULL;
	struct row_service row;
	uint64_t n_rows;
	size_t n = 0;
	struct scan s;
	int r = reader_count(v->reader, T_SERVICE, &n_rows);

	if (r < 0)
		return r;
	calls = calloc(n_rows + 1, sizeof(*calls));
	if (!calls)
		return -ENOMEM;
	scan_begin(&s, v, T_SERVICE, NULL, 0);
	while (n < n_rows && !(r = scan_next(&s)))
		if (service_read(s.val, s.len, &row))
			calls[n++].kref = row.kref;
	if (r < 0)
		return r;
	qsort(calls, n, sizeof(*calls), by_kref);
	*callsp = TAKE_PTR(calls);
	*np = n;
	return 0;
}

/* Everything in the queue of the kernel's own objects. */
static int count_calls(struct view *v, struct calls *calls, size_t n)
{
	struct capdata methargs;
	struct row_item row;
	struct scan s;
	int r;

	scan_begin_u64(&s, v, T_QUEUE, ENDPOINT_K.bits);
	while (!(r = scan_next(&s))) {
		struct calls *c, key;

		if (!row_item_read(s.val, s.len, &row, &methargs) || row.kind != ITEM_MESSAGE)
			continue;
		key.kref = row.target;
		c = bsearch(&key, calls, n, sizeof(*calls), by_kref);
		if (c)
			c->n++;
	}
	return r < 0 ? r : 0;
}

/* revoked, imported-by: what the object's row says; "-" if it has none. */
static int object_cells(struct view *v, struct text *t, kref_t ref)
{
	struct row_object row;
	int r = view_object(v, ref, &row);

	if (r < 0)
		return r;
	if (r)
		text_str(t, "-\t-");
	else
		text_printf(t, "%s\t%llu", row.flags & OBJECT_F_REVOKED ? "yes" : "no", (unsigned long long)row.n_recognizable);
	return 0;
}

static int service_row(struct view *v, struct text *t, const struct scan *s, const struct row_service *row,
		       const struct calls *c)
{
	text_cell(t, s->key, s->key_len);
	text_str(t, "\t");
	render_kref(t, row->kref);
	text_printf(t, "\t%s\t%s\t", row->flags & SERVICE_F_HOST ? "host" : row->flags & SERVICE_F_IO ? "io" : "built-in",
		    row->flags & SERVICE_F_SYSTEM_ONLY ? "yes" : "no");
	if (row->subcluster)
		text_printf(t, "s%llu\t", (unsigned long long)row->subcluster);
	else
		text_str(t, "-\t");
	if (row->flags & SERVICE_F_HOST)
		text_printf(t, "%u\t", row->uid);
	else
		text_str(t, "-\t");
	text_printf(t, "%llu\t", (unsigned long long)(c ? c->n : 0));
	return object_cells(v, t, (kref_t){ row->kref });
}

int render_services(struct view *v, uint64_t id, struct text *t)
{
	_cleanup_free_ struct calls *calls = NULL;
	struct row_service row;
	size_t start = t->len, n;
	struct scan s;
	int r;

	(void)id;
	r = collect_services(v, &calls, &n);
	if (!r)
		r = count_calls(v, calls, n);
	if (r)
		return r;
	text_str(t, "name\tkref\tkind\tsystem-only\tsubcluster\tuid\tcalls\trevoked\trefcount\n");
	scan_begin(&s, v, T_SERVICE, NULL, 0);
	while (!t->cut && !(r = scan_next(&s))) {
		struct calls key;

		if (!service_read(s.val, s.len, &row))
			continue;
		key.kref = row.kref;
		r = service_row(v, t, &s, &row, bsearch(&key, calls, n, sizeof(*calls), by_kref));
		if (r)
			return r;
		text_str(t, "\n");
	}
	text_align(t, start);
	return r < 0 ? r : 0;
}
