/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who holds an object or a promise, and through what: the rows that its counts are made of (C4, C5), all of them.
 * Entries of clists, holds for the outside and forwardings are found by number. What queues, values and parameters
 * name is not listed anywhere but there: these are looked through while the count says that there is more, and no
 * further than SEARCH_MAX. What is not found by then is the last row.
 */
#include "render.h"

#define SEARCH_MAX	400000u		/* rows, and slots by SLOTS_A_ROW, for one text: a fraction of LEASE_MS */
#define SLOTS_A_ROW	32u

struct search {
	struct view *v;
	struct text *t;
	uint64_t ref;
	uint64_t wanted, found;		/* counts: an object's n_recognizable, a promise's n_refs */
	uint64_t n_seen;		/* against SEARCH_MAX */
};

static bool is_over(struct search *s)
{
	return s->found >= s->wanted || s->n_seen >= SEARCH_MAX || s->t->cut;
}

/* A row: the holder is the caller's, before this. */
static void through(struct search *s, const char *kind, const char *what, uint64_t count, bool reachable)
{
	text_printf(s->t, "\t%s\t%s\t%llu\t%s\n", kind, what, (unsigned long long)count,
		    reachable ? "reachable" : "recognizable");
	s->found += count;
}

static void through_number(struct search *s, const char *kind, uint64_t number, uint64_t count)
{
	char text[24];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)number);
	through(s, kind, text, count, true);
}

static int clist_entry(struct search *s, endpoint_t e)
{
	char text[REF_TEXT_MAX];
	uint32_t flags;
	vref_t vref;
	int r = view_eref(s->v, e, (kref_t){ s->ref }, &vref, &flags);

	if (r)
		return r < 0 ? r : 0;
	render_endpoint(s->t, e.bits, "-");
	through(s, "clist", vref_format(vref, text), 1, flags & CLIST_F_REACHABLE);
	return 0;
}

static int search_importers(struct search *s)
{
	struct scan scan;
	uint64_t e;
	int r = 0;

	scan_begin_u64(&scan, s->v, T_IMPORTER, s->ref);
	while (!r && !s->t->cut && !(r = scan_next(&scan)))
		r = scan_id(&scan, 2, &e) ? clist_entry(s, (endpoint_t){ e }) : 0;
	return r < 0 ? r : 0;
}

/* There is no list of the clists that have a promise: each vat is asked. */
static int search_clists(struct search *s)
{
	struct scan scan;
	uint64_t vat;
	int r = 0;

	scan_begin(&scan, s->v, T_VAT, NULL, 0);
	while (!r && !is_over(s) && !(r = scan_next(&scan))) {
		s->n_seen++;
		r = scan_id(&scan, 1, &vat) ? clist_entry(s, endpoint_vat(vat)) : 0;
	}
	return r < 0 ? r : 0;
}

static int search_holds(struct search *s)
{
	struct render_hold hold;
	struct scan scan;
	int r = 0;

	scan_begin_u64(&scan, s->v, T_HOLD, s->ref);
	while (!s->t->cut && !(r = scan_next(&scan))) {
		if (!render_hold_read(&scan, &hold))
			continue;
		if (hold.kind == HOLD_ROOT || hold.kind == HOLD_RESULT)
			text_printf(s->t, "s%llu", (unsigned long long)hold.owner);
		else
			text_str(s->t, hold.kind == HOLD_SERVICE ? "k" : "host");
		through(s, "hold", render_hold_kind(hold.kind), hold.row.count, true);
	}
	return r < 0 ? r : 0;
}

static int search_forwards(struct search *s)
{
	struct scan scan;
	uint64_t source;
	int r = 0;

	scan_begin_u64(&scan, s->v, T_FORWARD, s->ref);
	while (!s->t->cut && !(r = scan_next(&scan))) {
		if (!scan_id(&scan, 2, &source))
			continue;
		render_kref(s->t, source);
		through(s, "forward", "-", 1, true);
	}
	return r < 0 ? r : 0;
}

static uint64_t count_slots(struct search *s, const struct capdata *c)
{
	uint64_t n = 0;

	for (size_t i = 0; i < c->n_slots; i++)
		n += capdata_slot(c, i) == s->ref;
	s->n_seen += c->n_slots / SLOTS_A_ROW;
	return n;
}

static void search_item(struct search *s, const struct scan *scan)
{
	uint64_t holder = get_be64(scan->key), seq = get_be64(scan->key + 8);
	struct { const char *kind; uint64_t n; } ways[3] = { { "target", 0 }, { "result", 0 }, { "argument", 0 } };
	struct capdata methargs;
	struct row_item row;

	if (scan->key_len != 16 || !row_item_read(scan->val, scan->len, &row, &methargs))
		return;
	ways[0].n = row.target == s->ref;
	if (row.kind == ITEM_NOTIFY) {
		ways[0].kind = "notify";
	} else {
		ways[1].n = row.result == s->ref;
		ways[2].n = count_slots(s, &methargs);
	}
	for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
		if (!ways[i].n)
			continue;
		if (holder & REF_PROMISE)
			render_kref(s->t, holder);
		else
			render_endpoint(s->t, holder, "-");
		through_number(s, ways[i].kind, seq, ways[i].n);
	}
}

static void search_value(struct search *s, const struct scan *scan)
{
	struct capdata value;
	uint64_t kref, n;

	if (!scan_id(scan, 1, &kref) || !capdata_read(scan->val, scan->len, &value))
		return;
	n = count_slots(s, &value);
	if (!n)
		return;
	render_kref(s->t, kref);
	through(s, "value", "-", n, true);
}

static void search_parameters(struct search *s, const struct scan *scan)
{
	struct capdata value;
	uint64_t vat, n;

	if (!scan_id(scan, 1, &vat) || !capdata_read(scan->val, scan->len, &value))
		return;
	n = count_slots(s, &value);
	if (!n)
		return;
	render_endpoint(s->t, endpoint_vat(vat).bits, "-");
	through(s, "parameters", "-", n, true);
}

/* It took the outcome of this one (P10). */
static void search_shared(struct search *s, const struct scan *scan)
{
	struct row_promise row;
	uint64_t kref;

	if (!scan_id(scan, 1, &kref) || !row_promise_read(scan->val, scan->len, &row) || !promise_is_settled(&row) ||
	    row.link != s->ref)
		return;
	render_kref(s->t, kref);
	through(s, "shares", "-", 1, true);
}

static int search_table(struct search *s, enum table table, void (*look)(struct search *s, const struct scan *scan))
{
	struct scan scan;
	int r = 0;

	scan_begin(&scan, s->v, table, NULL, 0);
	while (!is_over(s) && !(r = scan_next(&scan))) {
		s->n_seen++;
		look(s, &scan);
	}
	return r < 0 ? r : 0;
}

static int search_all(struct search *s, bool promise)
{
	int r = promise ? search_clists(s) : search_importers(s);

	if (!r)
		r = search_holds(s);
	if (!r && promise)
		r = search_forwards(s);
	if (!r)
		r = search_table(s, T_QUEUE, search_item);
	if (!r)
		r = search_table(s, T_VALUE, search_value);
	if (!r)
		r = search_table(s, T_VAT_PARAM, search_parameters);
	if (!r && promise)
		r = search_table(s, T_PROMISE, search_shared);
	return r;
}

static int holders(struct view *v, struct text *t, kref_t ref, uint64_t count)
{
	struct search s = { .v = v, .t = t, .ref = ref.bits, .wanted = count };
	size_t start = t->len;
	int r;

	text_str(t, "holder\tkind\tthrough\tcount\tflags\n");
	r = search_all(&s, kref_is_promise(ref));
	if (!r && s.found < s.wanted)
		text_printf(t, "-\tunknown\t-\t%llu\t-\n", (unsigned long long)(s.wanted - s.found));
	text_align(t, start);
	return r;
}

int render_object_holders(struct view *v, uint64_t id, struct text *t)
{
	struct row_object row;
	int r = view_object(v, ko(id), &row);

	return r ? r : holders(v, t, ko(id), row.n_recognizable);
}

int render_promise_holders(struct view *v, uint64_t id, struct text *t)
{
	struct row_promise row;
	int r = view_promise(v, kp(id), &row);

	return r ? r : holders(v, t, kp(id), row.n_refs);
}
