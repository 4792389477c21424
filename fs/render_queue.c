/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Queues, and what was set aside. Every queued item sits in the queue of the endpoint (or promise) that it waits for;
 * the run queue that people see is the merge of the endpoints' queues by sequence number, made here with one cursor
 * position for each endpoint that has anything queued, so that memory does not follow the length of the queues.
 */
#include "render.h"
#include "work.h"

#include "../lib/smallcaps.h"

/*
 * A row is a seek in the store and a look into a body, so that a text of queues takes longer than its bytes tell: this
 * is what is made within a fraction of LEASE_MS, and delays other readers no longer than that.
 */
#define QUEUE_TEXT_MAX	(4u << 20)
#define HOLDERS_MAX	100000u		/* endpoints merged; with more, the text is cut long before */

/* The first item of a holder's queue that is not shown yet. */
struct head { uint64_t holder, seq; const void *val; size_t len; struct turns turns; };

#define METHOD_MAX	4096u		/* bytes of a body where its method is looked for */

/* `#["name",` of a large body as `#["name"]`; false: it does not begin so. */
static bool method_alone(const struct capdata *methargs, char alone[METHOD_MAX + 2])
{
	size_t at = 3;

	memcpy(alone, methargs->body, METHOD_MAX);
	if (memcmp(alone, "#[\"", 3))
		return false;
	while (at < METHOD_MAX && alone[at] != '"')
		at += alone[at] == '\\' ? 2 : 1;
	if (at >= METHOD_MAX)
		return false;
	strcpy(alone + at + 1, "]");
	return true;
}

/* Of a body that has megabytes only the beginning: there can be thousands in a queue, which nobody can wait for. */
static char *method_of(const struct capdata *methargs)
{
	char alone[METHOD_MAX + 2];

	if (methargs->body_len <= METHOD_MAX)
		return smallcaps_method(methargs->body, methargs->body_len);
	return method_alone(methargs, alone) ? smallcaps_method(alone, strlen(alone)) : NULL;
}

void render_method(struct text *t, const struct capdata *methargs)
{
	_cleanup_free_ char *method = method_of(methargs);

	text_cell(t, method, method ? strlen(method) : 0);
}

/* Seconds since then: the clock can have been set back. */
void render_age(struct view *v, struct text *t, uint64_t since_us)
{
	uint64_t age_ms = v->now_us > since_us ? (v->now_us - since_us) / 1000 : 0;

	if (since_us)
		text_printf(t, "%llu.%03llu", (unsigned long long)(age_ms / 1000), (unsigned long long)(age_ms % 1000));
	else
		text_str(t, "-");
}

static void bound_text(struct text *t)
{
	if (t->max > QUEUE_TEXT_MAX)
		t->max = QUEUE_TEXT_MAX;
}

/* seq kind target method sender size age, queue if there is one to name, result */
static void item_cells(struct view *v, struct text *t, const struct head *at, bool queue_column)
{
	struct capdata methargs;
	struct row_item row;
	bool ok = row_item_read(at->val, at->len, &row, &methargs), message = ok && row.kind == ITEM_MESSAGE;

	if (!ok)
		row = (struct row_item){ 0 };
	text_printf(t, "%llu\t%s\t", (unsigned long long)at->seq, message ? "message" : ok ? "notify" : "damaged");
	render_kref(t, row.target);
	text_str(t, "\t");
	if (message)
		render_method(t, &methargs);
	else
		text_str(t, "-");
	text_str(t, "\t");
	render_endpoint(t, row.sender, message ? "host" : "-");
	text_printf(t, "\t%zu\t", message ? methargs.body_len : 0);
	render_age(v, t, row.enqueued_us);
	if (queue_column) {
		text_str(t, "\t");
		render_endpoint(t, at->holder, "-");
	}
	text_str(t, "\t");
	render_kref(t, row.result);
}

/* Restore the heap (least seq on top) below `i`. */
static void sift_down(struct head *heap, size_t n, size_t i)
{
	for (;;) {
		size_t least = i, child = 2 * i + 1;
		struct head h;

		if (child < n && heap[child].seq < heap[least].seq)
			least = child;
		if (child + 1 < n && heap[child + 1].seq < heap[least].seq)
			least = child + 1;
		if (least == i)
			return;
		h = heap[i];
		heap[i] = heap[least];
		heap[least] = h;
		i = least;
	}
}

/* The first row at or after (holder, seq): *outp, or SCAN_END. */
static int queue_at(struct view *v, uint64_t holder, uint64_t seq, struct head *outp)
{
	const void *found, *val;
	uint8_t key[16];
	size_t key_len, len;
	int r;

	if (view_is_enough(v))
		return SCAN_END;
	key_u64_u64(key, holder, seq);
	r = reader_next(v->reader, T_QUEUE, key, sizeof(key), true, &found, &key_len, &val, &len);
	if (r)
		return r == READER_NOT_FOUND ? SCAN_END : r;
	if (key_len != sizeof(key))
		return SCAN_END;
	memcpy(key, found, sizeof(key));
	outp->holder = get_be64(key);
	outp->seq = get_be64(key + 8);
	outp->val = val;
	outp->len = len;
	return 0;
}

/* The heads of all endpoints' queues, in the order of the endpoints; malloc'd. */
static int collect_heads(struct view *v, struct head **headsp, size_t *np)
{
	_cleanup_free_ struct head *heads = NULL;
	uint64_t holder = (uint64_t)ENDPOINT_VAT << ENDPOINT_SHIFT;
	struct head h = { .turns.obstacle = "no-vat" };
	size_t n = 0, size = 0;
	int r;

	/* Promises, whose top bit is set, come after all endpoints: what waits there is not in the run queue. */
	while (n < HOLDERS_MAX && !(r = queue_at(v, holder, 0, &h)) && !(h.holder & REF_PROMISE)) {
		if (n == size) {
			struct head *more = realloc(heads, (size = size ? size * 2 : 16) * sizeof(*heads));

			if (!more)
				return -ENOMEM;
			heads = more;
		}
		heads[n++] = h;
		holder = h.holder + 1;
	}
	if (n < HOLDERS_MAX && r < 0)
		return r;
	*headsp = TAKE_PTR(heads);
	*np = n;
	return 0;
}

/* What all vats have to do before their queues, and how these stand. */
static int work_of_all(struct view *v, struct text *t, struct head *heads, size_t n)
{
	struct scan s;
	uint64_t vat;
	size_t i = 0;
	int r = 0;

	scan_begin(&s, v, T_VAT, NULL, 0);
	while (!t->cut && !(r = scan_next(&s))) {
		struct work w;

		if (!scan_id(&s, 1, &vat))
			continue;
		r = work_look(v, vat, &w);
		if (!r)
			r = work_rows(v, t, &w, true);
		if (r < 0)
			return r;
		while (i < n && heads[i].holder < endpoint_vat(vat).bits)
			i++;
		if (i < n && heads[i].holder == endpoint_vat(vat).bits)
			heads[i].turns = w.turns;
	}
	return r < 0 ? r : 0;
}

static void state_cells(struct view *v, struct text *t, struct head *h)
{
	/* Services do many things at once. */
	if (h->holder == ENDPOINT_K.bits)
		text_str(t, "unanswered\t-");
	else
		work_item(v, t, &h->turns, h->seq);
}

int render_runqueue(struct view *v, uint64_t id, struct text *t)
{
	_cleanup_free_ struct head *heap = NULL;
	size_t start = t->len, n = 0;
	int r;

	(void)id;
	bound_text(t);
	r = collect_heads(v, &heap, &n);
	if (r < 0)
		return r;
	text_str(t, "seq\tkind\ttarget\tmethod\tsender\tsize\tage\tqueue\tresult\tstate\tbusy\n");
	r = work_of_all(v, t, heap, n);
	if (r < 0)
		return r;
	for (size_t i = n; i-- > 0; )
		sift_down(heap, n, i);
	while (n > 0 && !t->cut) {
		struct head *now = &heap[0], next;

		item_cells(v, t, now, true);
		text_str(t, "\t");
		state_cells(v, t, now);
		text_str(t, "\n");
		next = *now;
		r = now->seq == UINT64_MAX ? SCAN_END : queue_at(v, now->holder, now->seq + 1, &next);
		if (r < 0)
			return r;
		heap[0] = r || next.holder != now->holder ? heap[--n] : next;
		sift_down(heap, n, 0);
	}
	text_align(t, start);
	return 0;
}

/* The rows of one queue; without turns it is one whose items nobody comes to. */
static int queue_rows(struct view *v, struct text *t, uint64_t holder, struct turns *turns)
{
	struct head at = { .holder = holder };
	struct scan s;
	int r = 0;

	scan_begin_u64(&s, v, T_QUEUE, holder);
	while (!t->cut && !(r = scan_next(&s))) {
		if (!scan_id(&s, 2, &at.seq))
			continue;
		at.val = s.val;
		at.len = s.len;
		item_cells(v, t, &at, false);
		if (turns) {
			text_str(t, "\t");
			work_item(v, t, turns, at.seq);
		}
		text_str(t, "\n");
	}
	return r < 0 ? r : 0;
}

int render_vat_queue(struct view *v, uint64_t id, struct text *t)
{
	size_t start = t->len;
	struct work w;
	int r = work_look(v, id, &w);

	if (r)
		return r;
	bound_text(t);
	text_str(t, "seq\tkind\ttarget\tmethod\tsender\tsize\tage\tresult\tstate\tbusy\n");
	r = work_rows(v, t, &w, false);
	if (!r)
		r = queue_rows(v, t, endpoint_vat(id).bits, &w.turns);
	text_align(t, start);
	return r;
}

int render_promise_queue(struct view *v, uint64_t id, struct text *t)
{
	size_t start = t->len;
	struct row_promise row;
	int r = view_promise(v, kp(id), &row);

	if (r)
		return r;
	bound_text(t);
	text_str(t, "seq\tkind\ttarget\tmethod\tsender\tsize\tage\tresult\n");
	r = queue_rows(v, t, kp(id).bits, NULL);
	text_align(t, start);
	return r;
}

int render_waiting(struct view *v, kref_t promise, struct text *t)
{
	struct capdata methargs;
	struct row_item row;
	struct scan s;
	uint64_t seq;
	int r = 0;

	scan_begin_u64(&s, v, T_QUEUE, promise.bits);
	while (!t->cut && !(r = scan_next(&s))) {
		if (!scan_id(&s, 2, &seq) || !row_item_read(s.val, s.len, &row, &methargs))
			continue;
		text_printf(t, "message: %llu ", (unsigned long long)seq);
		render_method(t, &methargs);
		text_str(t, " ");
		render_endpoint(t, row.sender, "host");
		text_str(t, " ");
		render_kref(t, row.result);
		text_str(t, "\n");
	}
	return r < 0 ? r : 0;
}

/* The vat's, or with 0 all that was set aside. Bodies are values. */
static int aside_rows(struct view *v, struct text *t, uint64_t vat)
{
	struct capdata methargs;
	struct row_aside row;
	struct scan s;
	uint64_t seq;
	int r = 0;

	if (vat)
		scan_begin_u64(&s, v, T_ASIDE, vat);
	else
		scan_begin(&s, v, T_ASIDE, NULL, 0);
	while (!t->cut && !(r = scan_next(&s))) {
		if (!scan_id(&s, 2, &seq) || !row_aside_read(s.val, s.len, &row, &methargs))
			continue;
		text_printf(t, "v%llu\t%llu\t", (unsigned long long)get_be64(s.key), (unsigned long long)seq);
		text_time(t, row.time_us);
		text_str(t, "\t");
		render_kref(t, row.target);
		text_str(t, "\t");
		render_method(t, &methargs);
		text_printf(t, "\t%zu\t%u\n", methargs.body_len, row.deaths);
	}
	return r < 0 ? r : 0;
}

int render_aside(struct view *v, uint64_t id, struct text *t)
{
	size_t start = t->len;
	struct row_vat row;
	int r = id ? view_vat(v, id, &row) : 0;

	if (r)
		return r;
	text_str(t, "vat\tseq\ttime\ttarget\tmethod\tsize\tdeaths\n");
	r = aside_rows(v, t, id);
	text_align(t, start);
	return r;
}

/* --- what messages say ------------------------------------------------------------------------------------------- */

static bool item_value(const struct scan *s, struct capdata *value)
{
	struct row_item row;

	return row_item_read(s->val, s->len, &row, value) && row.kind == ITEM_MESSAGE;
}

static bool aside_value(const struct scan *s, struct capdata *value)
{
	struct row_aside row;

	return row_aside_read(s->val, s->len, &row, value);
}

static void value_cells(struct text *t, const struct capdata *value)
{
	if (!value->n_slots)
		text_str(t, "-");
	for (size_t i = 0; i < value->n_slots && !t->cut; i++) {
		text_str(t, i ? "," : "");
		render_kref(t, capdata_slot(value, i));
	}
	text_str(t, "\t");
	text_cell(t, value->body, value->body_len);
	text_str(t, "\t");
	if (!t->cut)
		render_body(t, value);
	text_str(t, "\n");
}

/* Of the holder, or with 0 of all. */
static int value_rows(struct view *v, struct text *t, enum table table, uint64_t holder)
{
	bool (*read)(const struct scan *s, struct capdata *value) = table == T_QUEUE ? item_value : aside_value;
	struct capdata value;
	struct scan s;
	uint64_t seq;
	int r = 0;

	scan_begin(&s, v, table, NULL, 0);
	if (holder)
		scan_begin_u64(&s, v, table, holder);
	while (!t->cut && !(r = scan_next(&s))) {
		if (!scan_id(&s, 2, &seq) || !read(&s, &value))
			continue;
		holder = get_be64(s.key);
		if (table == T_ASIDE)
			text_printf(t, "v%llu", (unsigned long long)holder);
		else if (holder & REF_PROMISE)
			render_kref(t, holder);
		else
			render_endpoint(t, holder, "-");
		text_printf(t, "\t%llu\t", (unsigned long long)seq);
		value_cells(t, &value);
	}
	return r < 0 ? r : 0;
}

static int values(struct view *v, struct text *t, enum table table, uint64_t holder)
{
	size_t start = t->len;
	int r;

	bound_text(t);
	text_str(t, table == T_QUEUE ? "queue\tseq\tslots\tbody\tvalue\n" : "vat\tseq\tslots\tbody\tvalue\n");
	r = value_rows(v, t, table, holder);
	text_align(t, start);
	return r;
}

int render_runqueue_values(struct view *v, uint64_t id, struct text *t)
{
	(void)id;
	return values(v, t, T_QUEUE, 0);
}

int render_vat_queue_values(struct view *v, uint64_t id, struct text *t)
{
	struct row_vat row;
	int r = view_vat(v, id, &row);

	return r ? r : values(v, t, T_QUEUE, endpoint_vat(id).bits);
}

int render_promise_queue_values(struct view *v, uint64_t id, struct text *t)
{
	struct row_promise row;
	int r = view_promise(v, kp(id), &row);

	return r ? r : values(v, t, T_QUEUE, kp(id).bits);
}

int render_aside_values(struct view *v, uint64_t id, struct text *t)
{
	struct row_vat row;
	int r = id ? view_vat(v, id, &row) : 0;

	return r ? r : values(v, t, T_ASIDE, id);
}
