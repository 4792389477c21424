/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Queues. Every queued item sits in the queue of the endpoint (or promise) that it waits for; the run queue that
 * people see is the merge of the endpoints' queues by sequence number, made here with one cursor position for each
 * endpoint that has anything queued, so that memory does not follow the length of the queues.
 */
#include "render.h"

#include "../lib/smallcaps.h"

#define HOLDERS_MAX	100000u		/* endpoints merged; with more, the text is cut long before */

static void method_cell(struct text *t, const struct capdata *methargs)
{
	_cleanup_free_ char *method = smallcaps_method(methargs->body, methargs->body_len);

	text_cell(t, method, method ? strlen(method) : 0);
}

/* seq kind target method sender size age */
static void item_cells(struct view *v, struct text *t, uint64_t seq, const void *val, size_t len)
{
	struct capdata methargs;
	struct row_item row;

	if (!row_item_read(val, len, &row, &methargs)) {
		text_printf(t, "%llu\tdamaged\t-\t-\t-\t0\t-", (unsigned long long)seq);
		return;
	}
	text_printf(t, "%llu\t%s\t", (unsigned long long)seq, row.kind == ITEM_MESSAGE ? "message" : "notify");
	render_kref(t, row.target);
	text_str(t, "\t");
	if (row.kind == ITEM_MESSAGE)
		method_cell(t, &methargs);
	else
		text_str(t, "-");
	text_str(t, "\t");
	render_endpoint(t, row.sender, row.kind == ITEM_MESSAGE ? "host" : "-");
	/* The clock can have been set back since. */
	uint64_t age_ms = v->now_us > row.enqueued_us ? (v->now_us - row.enqueued_us) / 1000 : 0;

	text_printf(t, "\t%zu\t%llu.%03llu", row.kind == ITEM_MESSAGE ? methargs.body_len : 0,
		    (unsigned long long)(age_ms / 1000), (unsigned long long)(age_ms % 1000));
}

struct head { uint64_t holder, seq; };	/* the first item of a holder's queue that is not shown yet */

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
static int queue_at(struct view *v, uint64_t holder, uint64_t seq, struct head *outp, const void **valp, size_t *lenp)
{
	const void *found;
	uint8_t key[16];
	size_t key_len;
	int r;

	key_u64_u64(key, holder, seq);
	r = reader_next(v->reader, T_QUEUE, key, sizeof(key), true, &found, &key_len, valp, lenp);
	if (r)
		return r == READER_NOT_FOUND ? SCAN_END : r;
	if (key_len != sizeof(key))
		return SCAN_END;
	memcpy(key, found, sizeof(key));
	*outp = (struct head){ get_be64(key), get_be64(key + 8) };
	return 0;
}

/* The heads of all endpoints' queues; malloc'd. */
static int collect_heads(struct view *v, struct head **headsp, size_t *np)
{
	_cleanup_free_ struct head *heads = NULL;
	uint64_t holder = (uint64_t)ENDPOINT_VAT << ENDPOINT_SHIFT;
	size_t n = 0, size = 0, len;
	const void *val;
	struct head h;
	int r;

	/* Promises, whose top bit is set, come after all endpoints: what waits there is not in the run queue. */
	while (n < HOLDERS_MAX && !(r = queue_at(v, holder, 0, &h, &val, &len)) && !(h.holder & REF_PROMISE)) {
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

int render_runqueue(struct view *v, uint64_t id, struct text *t)
{
	_cleanup_free_ struct head *heap = NULL;
	size_t start = t->len, n = 0, len;
	const void *val;
	int r;

	(void)id;
	r = collect_heads(v, &heap, &n);
	if (r < 0)
		return r;
	for (size_t i = n; i-- > 0; )
		sift_down(heap, n, i);
	text_str(t, "seq\tkind\ttarget\tmethod\tsender\tsize\tage\tqueue\n");
	while (n > 0 && !t->cut) {
		struct head now = heap[0], next;

		r = queue_at(v, now.holder, now.seq, &next, &val, &len);
		if (r)
			return r < 0 ? r : 0;
		item_cells(v, t, now.seq, val, len);
		text_str(t, "\t");
		render_endpoint(t, now.holder, "-");
		text_str(t, "\n");
		r = now.seq == UINT64_MAX ? SCAN_END : queue_at(v, now.holder, now.seq + 1, &next, &val, &len);
		if (r < 0)
			return r;
		heap[0] = r || next.holder != now.holder ? heap[--n] : next;
		sift_down(heap, n, 0);
	}
	text_align(t, start);
	return 0;
}

int render_vat_queue(struct view *v, uint64_t id, struct text *t)
{
	size_t start = t->len;
	struct row_vat row;
	struct scan s;
	uint64_t seq;
	int r;

	r = view_vat(v, id, &row);
	if (r)
		return r;
	text_str(t, "seq\tkind\ttarget\tmethod\tsender\tsize\tage\n");
	scan_begin_u64(&s, v, T_QUEUE, endpoint_vat(id).bits);
	while (!t->cut && !(r = scan_next(&s))) {
		if (!scan_id(&s, 2, &seq))
			continue;
		item_cells(v, t, seq, s.val, s.len);
		text_str(t, "\n");
	}
	text_align(t, start);
	return r < 0 ? r : 0;
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
		method_cell(t, &methargs);
		text_str(t, " ");
		render_endpoint(t, row.sender, "host");
		text_str(t, " ");
		render_kref(t, row.result);
		text_str(t, "\n");
	}
	return r < 0 ? r : 0;
}
