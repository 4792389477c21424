/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vat's references as the vat would ask about them: what it imports and exports, what it has left undecided and who
 * waits for that, and what it waits for itself. Each text follows a bounded number of links, whatever vats have made
 * of their promises.
 */
#include "render.h"
#include "work.h"

#define LIST_MAX	8u		/* endpoints in a cell; of the others how many */
#define STEPS_MAX	300000u		/* rows beside the table's own that one text looks at */

/* --- lists in a cell --------------------------------------------------------------------------------------------- */

struct list { struct view *v; struct text *t; uint64_t n; uint64_t *stepsp; };

static void list_add(struct list *l, const char *what)
{
	if (l->n++ < LIST_MAX) {
		text_str(l->t, l->n > 1 ? "," : "");
		text_str(l->t, what);
	}
}

static void list_end(struct list *l)
{
	if (!l->n)
		text_str(l->t, "-");
	else if (l->n > LIST_MAX)
		text_printf(l->t, ",+%llu%s", (unsigned long long)(l->n - LIST_MAX), *l->stepsp >= STEPS_MAX ? "+" : "");
}

static int list_endpoints(struct list *l, enum table table, uint64_t kref)
{
	char text[REF_TEXT_MAX];
	struct scan s;
	uint64_t e;
	int r = 0;

	scan_begin_u64(&s, l->v, table, kref);
	while ((l->n <= LIST_MAX || *l->stepsp < STEPS_MAX) && !(r = scan_next(&s))) {
		++*l->stepsp;
		if (scan_id(&s, 2, &e))
			list_add(l, endpoint_format((endpoint_t){ e }, text));
	}
	return r < 0 ? r : 0;
}

static int list_host(struct list *l, uint64_t kref)
{
	uint8_t prefix[9];
	struct scan s;
	int r;

	put_be64(prefix, kref);
	prefix[8] = HOLD_HOST;
	scan_begin(&s, l->v, T_HOLD, prefix, sizeof(prefix));
	r = scan_next(&s);
	if (!r)
		list_add(l, "host");
	return r < 0 ? r : 0;
}

#define FORWARDS_MAX	16u	/* promises forwarded to one whose subscribers are listed with it */

/* Who is told when it is decided: also by way of promises that were forwarded to it. */
static int subscribers_cell(struct list *l, uint64_t kref)
{
	uint64_t queue[FORWARDS_MAX] = { kref }, source;
	size_t n = 1;
	struct scan s;
	int r = 0;

	for (size_t i = 0; !r && i < n; i++) {
		r = list_endpoints(l, T_SUBSCRIBER, queue[i]);
		if (!r)
			r = list_host(l, queue[i]);
		scan_begin_u64(&s, l->v, T_FORWARD, queue[i]);
		while (!r && n < FORWARDS_MAX && !(r = scan_next(&s)))
			if (scan_id(&s, 2, &source))
				queue[n++] = source;
		r = r < 0 ? r : 0;
	}
	list_end(l);
	return r;
}

/* --- what it decides --------------------------------------------------------------------------------------------- */

/* Its own name for it; "-" when it has none. */
static int eref_cell(struct view *v, struct text *t, endpoint_t e, uint64_t kref)
{
	char text[REF_TEXT_MAX];
	uint32_t flags;
	vref_t vref;
	int r = view_eref(v, e, (kref_t){ kref }, &vref, &flags);

	text_str(t, r ? "-" : vref_format(vref, text));
	return r < 0 ? r : 0;
}

static int decides_row(struct view *v, struct text *t, endpoint_t e, uint64_t kref, uint64_t *stepsp)
{
	struct list l = { .v = v, .t = t, .stepsp = stepsp };
	struct row_promise row;
	int r = view_promise(v, (kref_t){ kref }, &row);

	if (r)
		return r < 0 ? r : 0;
	render_kref(t, kref);
	text_str(t, "\t");
	r = eref_cell(v, t, e, kref);
	text_printf(t, "\t%llu\t", (unsigned long long)row.n_refs);
	if (!r)
		r = subscribers_cell(&l, kref);
	text_printf(t, "\t%llu\n", (unsigned long long)row.n_waiting);
	return r;
}

int render_vat_decides(struct view *v, uint64_t id, struct text *t)
{
	uint64_t promise, n_steps = 0;
	size_t start = t->len;
	struct row_vat vat;
	struct scan s;
	int r;

	r = view_vat(v, id, &vat);
	if (r)
		return r;
	text_str(t, "kref\teref\trefcount\tsubscribers\twaiting\n");
	scan_begin_u64(&s, v, T_DECIDED, endpoint_vat(id).bits);
	while (!r && !t->cut && !(r = scan_next(&s)))
		if (scan_id(&s, 2, &promise))
			r = decides_row(v, t, endpoint_vat(id), promise, &n_steps);
	text_align(t, start);
	return r < 0 ? r : 0;
}

/* --- what it waits for ------------------------------------------------------------------------------------------- */

/*
 * The promise that a promise hangs on in the end: where it was forwarded to, and what the message waits for that will
 * decide it. False in *knownp: not found within STEPS_MAX.
 */
static int last_promise(struct view *v, uint64_t *krefp, struct row_promise *row, uint64_t *stepsp, bool *knownp)
{
	struct row_promise next = *row;
	uint64_t kref = *krefp;
	int r = 0;

	while (!r && ++*stepsp < STEPS_MAX) {
		*row = next;
		*krefp = kref;
		*knownp = row->state != PROMISE_FORWARDED && (row->state != PROMISE_UNRESOLVED || row->decider ||
							      !(row->link & REF_PROMISE));
		if (*knownp)
			return 0;
		kref = row->link;
		r = view_promise(v, (kref_t){ kref }, &next);
	}
	*knownp = false;
	return r < 0 ? r : 0;
}

/* How the one stands who has to act: as a decider, and if nothing is wrong with it, whether it is at something. */
static int actor_state(struct view *v, struct text *t, const struct row_promise *row)
{
	endpoint_t e = { row->decider ? row->decider : row->link };
	enum standing standing;
	struct work w;
	int r = view_standing(v, e, row->decider_incarnation, !row->decider, &standing);

	if (r)
		return r < 0 ? r : 0;
	if (standing == STANDING_ALIVE && !(r = work_look(v, endpoint_number(e), &w)))
		text_str(t, w.turns.obstacle ? w.turns.obstacle : w.live.work ? "busy" : "alive");
	else
		text_str(t, standing == STANDING_NONE ? "-" : standing_names[standing]);
	return r < 0 ? r : 0;
}

struct waits { struct view *v; struct text *t; endpoint_t e; uint64_t n_steps; };

static int is_subscribed(struct waits *w, uint64_t kref, bool *yesp)
{
	const void *val;
	uint8_t key[16];
	size_t len;
	int r = view_get(w->v, T_SUBSCRIBER, key, key_u64_u64(key, kref, w->e.bits), &val, &len);

	*yesp = r == 0;
	return r < 0 ? r : 0;
}

/* kind eref kref state last decider decider-state behind method age */
static int promise_row(struct waits *w, uint64_t eref, uint64_t kref)
{
	char text[REF_TEXT_MAX];
	struct text *t = w->t;
	struct row_promise row;
	uint64_t last = kref;
	bool subscribed, known;
	int r = is_subscribed(w, kref, &subscribed);

	if (!r && subscribed)
		r = view_promise(w->v, (kref_t){ kref }, &row);
	if (r || !subscribed)
		return r < 0 ? r : 0;
	text_printf(t, "promise\t%s\t", vref_format((vref_t){ eref }, text));
	render_kref(t, kref);
	text_printf(t, "\t%s\t", promise_state(&row, STANDING_NONE));
	r = last_promise(w->v, &last, &row, &w->n_steps, &known);
	render_kref(t, last == kref ? 0 : last);
	text_str(t, "\t");
	render_endpoint(t, known ? row.decider : 0, "-");
	text_str(t, "\t");
	if (known && !r)
		r = actor_state(w->v, t, &row);
	else
		text_str(t, "unknown");
	text_str(t, "\t");
	if (known && !row.decider)
		render_behind(t, &row);
	else
		text_str(t, "-");
	text_str(t, "\t-\t-\n");
	return r;
}

static int promise_rows(struct waits *w)
{
	struct row_clist row;
	struct scan s;
	uint64_t kref;
	int r = 0;

	scan_begin_u64(&s, w->v, T_CLIST, w->e.bits);
	/* Promises come after all objects. */
	put_be64(s.last + 8, REF_PROMISE);
	s.last_len = 16;
	while (!r && !w->t->cut && !(r = scan_next(&s)))
		if (scan_id(&s, 2, &kref) && row_clist_read(s.val, s.len, &row))
			r = promise_row(w, row.ref, kref);
	return r < 0 ? r : 0;
}

static int call_row(struct waits *w, const struct row_item *row, const struct capdata *methargs)
{
	int r;

	text_str(w->t, "call\t");
	r = eref_cell(w->v, w->t, w->e, row->target);
	text_str(w->t, "\t");
	render_kref(w->t, row->target);
	text_str(w->t, "\tunanswered\t-\tk\tkernel\t-\t");
	render_method(w->t, methargs);
	text_str(w->t, "\t");
	render_age(w->v, w->t, row->enqueued_us);
	text_str(w->t, "\n");
	return r;
}

/* Calls of services that it made: they stay in the queue of `k` until they are answered. */
static int call_rows(struct waits *w, uint64_t n_calls)
{
	struct capdata methargs;
	struct row_item row;
	struct scan s;
	int r = 0;

	scan_begin_u64(&s, w->v, T_QUEUE, ENDPOINT_K.bits);
	while (n_calls && w->n_steps++ < STEPS_MAX && !r && !w->t->cut && !(r = scan_next(&s))) {
		if (!row_item_read(s.val, s.len, &row, &methargs) || row.kind != ITEM_MESSAGE || row.sender != w->e.bits)
			continue;
		n_calls--;
		r = call_row(w, &row, &methargs);
	}
	return r < 0 ? r : 0;
}

/* kref: what the message in flight is for. */
static int delivery_row(struct waits *w, const struct work *work)
{
	struct capdata methargs;
	struct row_item row;
	const void *val;
	uint8_t key[16];
	size_t len;
	int r = view_get(w->v, T_QUEUE, key, key_u64_u64(key, w->e.bits, work->live.seq), &val, &len);
	bool item = !r && row_item_read(val, len, &row, &methargs), message = item && row.kind == ITEM_MESSAGE;

	text_str(w->t, "delivery\t-\t");
	render_kref(w->t, item ? row.target : 0);
	text_str(w->t, "\tin-flight\t-\t-\t-\t-\t");
	if (message)
		render_method(w->t, &methargs);
	else
		text_str(w->t, work_name(work->live.work));
	text_str(w->t, "\t");
	render_age(w->v, w->t, work->live.since_us);
	text_str(w->t, "\n");
	return r < 0 ? r : 0;
}

int render_vat_waits(struct view *v, uint64_t id, struct text *t)
{
	struct waits w = { .v = v, .t = t, .e = endpoint_vat(id) };
	size_t start = t->len;
	struct work work;
	int r = work_look(v, id, &work);

	if (r)
		return r;
	text_str(t, "kind\teref\tkref\tstate\tlast\tdecider\tdecider-state\tbehind\tmethod\tage\n");
	if (work.turns.obstacle)
		text_printf(t, "vat\t-\t-\t%s\t-\t-\t-\t-\t-\t-\n", work.turns.obstacle);
	if (work.live.work)
		r = delivery_row(&w, &work);
	if (!r)
		r = promise_rows(&w);
	if (!r)
		r = call_rows(&w, work.row.n_calls);
	text_align(t, start);
	return r;
}

/* --- what it has ------------------------------------------------------------------------------------------------- */

/* Its entries from `from` to before `end`, in the order of its own names. */
struct entries { struct scan scan; uint64_t end; vref_t vref; kref_t kref; uint32_t flags; };

static void entries_begin(struct entries *en, struct view *v, uint64_t vat, uint64_t from, uint64_t end)
{
	en->end = end;
	scan_begin_u64(&en->scan, v, T_EREF, endpoint_vat(vat).bits);
	put_be64(en->scan.last + 8, from);
	en->scan.last_len = 16;
}

static int entries_next(struct entries *en)
{
	struct row_clist row;
	uint64_t eref;
	int r;

	while (!(r = scan_next(&en->scan))) {
		if (!scan_id(&en->scan, 2, &eref) || !row_clist_read(en->scan.val, en->scan.len, &row))
			continue;
		if (eref >= en->end)
			return SCAN_END;
		en->vref.bits = eref;
		en->kref.bits = row.ref;
		en->flags = row.flags;
		return 0;
	}
	return r;
}

static void entry_cells(struct text *t, const struct entries *en)
{
	char text[REF_TEXT_MAX];

	text_printf(t, "%s\t", vref_format(en->vref, text));
	render_kref(t, en->kref.bits);
}

static const char *entry_flags(const struct entries *en)
{
	return en->flags & CLIST_F_REACHABLE ? "reachable" : "recognizable";
}

static int export_rows(struct view *v, struct text *t, struct entries *en, uint64_t *stepsp)
{
	int r = 0;

	while (!r && !t->cut && !(r = entries_next(en))) {
		struct list l = { .v = v, .t = t, .stepsp = stepsp };

		entry_cells(t, en);
		text_printf(t, "\t%s\t%s\t", ref_form(en->vref), entry_flags(en));
		if (kref_is_promise(en->kref))
			r = subscribers_cell(&l, en->kref.bits);
		else if (!(r = list_endpoints(&l, T_IMPORTER, en->kref.bits)))
			list_end(&l);
		text_str(t, "\n");
	}
	return r < 0 ? r : 0;
}

int render_vat_exports(struct view *v, uint64_t id, struct text *t)
{
	size_t start = t->len;
	uint64_t n_steps = 0;
	struct entries en;
	struct row_vat row;
	int r = view_vat(v, id, &row);

	if (r)
		return r;
	text_str(t, "eref\tkref\tkind\tflags\timporters\n");
	entries_begin(&en, v, id, 0, REF_MINUS);
	r = export_rows(v, t, &en, &n_steps);
	entries_begin(&en, v, id, REF_PROMISE, REF_PROMISE | REF_MINUS);
	if (!r)
		r = export_rows(v, t, &en, &n_steps);
	text_align(t, start);
	return r;
}

/* Whose it is, or who decides it, and how that one stands. */
static int owner_cells(struct view *v, struct text *t, kref_t ref)
{
	enum standing standing = STANDING_NONE;
	struct row_promise promise;
	struct row_object object;
	endpoint_t e = { 0 };
	int r;

	if (kref_is_promise(ref)) {
		r = view_promise(v, ref, &promise);
		e.bits = r ? 0 : promise.decider;
		if (!r)
			r = view_standing(v, e, promise.decider_incarnation, false, &standing);
	} else {
		r = view_object(v, ref, &object);
		e.bits = r ? 0 : object.owner;
		if (!r)
			r = view_standing(v, e, object.owner_incarnation, object.flags & OBJECT_F_SURVIVES, &standing);
	}
	text_str(t, "\t");
	render_endpoint(t, e.bits, "-");
	text_printf(t, "\t%s\t", standing == STANDING_NONE ? "-" : standing_names[standing]);
	return r < 0 ? r : 0;
}

/* Whose message brought it; it is stored on one side of the clist only. */
static int introducer_cell(struct view *v, struct text *t, endpoint_t e, kref_t ref)
{
	struct row_clist row;
	const void *val;
	uint8_t key[16];
	size_t len;
	int r = view_get(v, T_CLIST, key, key_u64_u64(key, e.bits, ref.bits), &val, &len);

	if (!r && row_clist_read(val, len, &row))
		render_endpoint(t, row.introducer ? endpoint_vat(row.introducer).bits : 0, "host");
	else
		text_str(t, "-");
	return r < 0 ? r : 0;
}

static int import_rows(struct view *v, struct text *t, endpoint_t e, struct entries *en)
{
	int r = 0;

	while (!r && !t->cut && !(r = entries_next(en))) {
		entry_cells(t, en);
		r = owner_cells(v, t, en->kref);
		text_printf(t, "%s\t", entry_flags(en));
		if (!r)
			r = introducer_cell(v, t, e, en->kref);
		text_str(t, "\n");
	}
	return r < 0 ? r : 0;
}

int render_vat_imports(struct view *v, uint64_t id, struct text *t)
{
	size_t start = t->len;
	struct entries en;
	struct row_vat row;
	int r = view_vat(v, id, &row);

	if (r)
		return r;
	text_str(t, "eref\tkref\towner\towner-state\tflags\tintroducer\n");
	entries_begin(&en, v, id, REF_MINUS, REF_PROMISE);
	r = import_rows(v, t, endpoint_vat(id), &en);
	entries_begin(&en, v, id, REF_PROMISE | REF_MINUS, UINT64_MAX);
	if (!r)
		r = import_rows(v, t, endpoint_vat(id), &en);
	text_align(t, start);
	return r;
}
