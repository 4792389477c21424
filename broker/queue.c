/* SPDX-License-Identifier: Apache-2.0 */
#include "queue.h"

#include "charge.h"
#include "promise.h"
#include "service.h"
#include "vat.h"

void item_deinit(struct item *i)
{
	free(i->raw);
	*i = (struct item)ITEM_INIT;
}

int item_host_message(struct item *i, kref_t target, const void *body, size_t body_len, const uint64_t *slots, size_t n_slots)
{
	*i = (struct item){ .row = { .kind = ITEM_MESSAGE, .enqueued_us = now_realtime_us(), .target = target.bits } };
	i->len = capdata_size(body_len, n_slots);
	i->raw = malloc(i->len);
	if (!i->raw)
		return error_origin(ENOMEM);
	capdata_write(i->raw, body, body_len, slots, n_slots);
	return 0;
}

int item_count_rest(struct kernel *k, const struct item *i, int delta)
{
	struct capdata value;
	size_t n;
	int r;

	if (i->row.result) {
		r = kernel_ref(k, (kref_t){ i->row.result }, delta);
		if (r < 0)
			return r;
	}
	if (i->row.kind != ITEM_MESSAGE)
		return 0;
	if (!capdata_read(i->raw, i->len, &value))
		return kernel_corrupt("queue: malformed item %llu", (unsigned long long)i->seq);
	for (n = 0; n < value.n_slots; n++) {
		r = kernel_ref(k, (kref_t){ capdata_slot(&value, n) }, delta);
		if (r < 0)
			return r;
	}
	return 0;
}

int item_count(struct kernel *k, const struct item *i, int delta)
{
	int r = kernel_ref(k, (kref_t){ i->row.target }, delta);

	return r < 0 ? r : item_count_rest(k, i, delta);
}

/* Totals that limits and people read: of the vat or the promise, and of who sent it (V7; notifies are nobody's). */
static int note_item(struct kernel *k, uint64_t holder, const struct row_item *item, size_t size, int delta)
{
	endpoint_t e = { holder };
	int r;

	if (endpoint_equal(e, ENDPOINT_K)) {
		service_note_call(k, (endpoint_t){ item->sender }, delta);
		return 0;
	}
	if (holder & REF_PROMISE) {
		struct row_promise row;

		r = promise_load(k, (kref_t){ holder }, &row);
		if (r)
			return r < 0 ? r : kernel_corrupt("queue of an unknown promise");
		row.n_waiting += delta;
		r = promise_save(k, (kref_t){ holder }, &row);
		if (r < 0)
			return r;
	} else if (endpoint_is_vat(e)) {
		struct vat *v = vat_find(k, endpoint_number(e));

		if (v) {
			struct row_vat *row = vat_edit(k, v);

			row->n_queued += delta;
			row->queued_bytes += (int64_t)size * delta;
			if (delta > 0)
				vat_ready(k, v);
		}
	}
	return item->kind == ITEM_MESSAGE ? charge_message(k, holder, item->sender, size, delta) : 0;
}

int queue_push(struct kernel *k, uint64_t holder, const struct item *i)
{
	_cleanup_free_ uint8_t *row = malloc(sizeof(i->row) + i->len);
	uint8_t key[16];
	int r;

	if (!row)
		return error_origin(ENOMEM);
	memcpy(row, &i->row, sizeof(i->row));
	if (i->len)
		memcpy(row + sizeof(i->row), i->raw, i->len);
	r = store_put(k->store, T_QUEUE, key, key_u64_u64(key, holder, k->next_seq++), row, sizeof(i->row) + i->len);
	if (r < 0)
		return error_trace(r);
	return note_item(k, holder, &i->row, sizeof(i->row) + i->len, 1);
}

int queue_remove(struct kernel *k, uint64_t holder, uint64_t seq)
{
	struct capdata value;
	struct row_item row;
	const void *val;
	uint8_t key[16];
	size_t len, key_len = key_u64_u64(key, holder, seq);
	int r;

	r = store_get(k->store, T_QUEUE, key, key_len, &val, &len);
	if (r)
		return r < 0 ? error_trace(r) : kernel_corrupt("queue: item %llu is gone", (unsigned long long)seq);
	if (!row_item_read(val, len, &row, &value))
		return kernel_corrupt("store: queue item %llu is damaged", (unsigned long long)seq);
	r = store_del(k->store, T_QUEUE, key, key_len);
	if (r < 0)
		return error_trace(r);
	return note_item(k, holder, &row, len, -1);
}

static int copy_item(uint64_t seq, const void *val, size_t len, struct item *ip)
{
	struct item i = { .seq = seq };
	struct capdata value;

	if (!row_item_read(val, len, &i.row, &value))
		return kernel_corrupt("store: queue item %llu is damaged", (unsigned long long)seq);
	i.len = len - sizeof(i.row);
	i.raw = malloc(i.len + 1);
	if (!i.raw)
		return error_origin(ENOMEM);
	memcpy(i.raw, (const uint8_t *)val + sizeof(i.row), i.len);
	*ip = i;
	return 0;
}

int queue_get(struct kernel *k, uint64_t holder, uint64_t seq, struct item *ip)
{
	const void *val;
	uint8_t key[16];
	size_t len;
	int r;

	r = store_get(k->store, T_QUEUE, key, key_u64_u64(key, holder, seq), &val, &len);
	if (r)
		return r < 0 ? error_trace(r) : QUEUE_E_EMPTY;
	return copy_item(seq, val, len, ip);
}

int queue_head(struct kernel *k, uint64_t holder, uint64_t from, struct item *ip)
{
	const void *key, *val;
	size_t key_len, len;
	uint8_t at[16];
	int r;

	r = store_next_of(k->store, T_QUEUE, at, key_u64_u64(at, holder, from), 8, true, &key, &key_len, &val, &len);
	if (r < 0)
		return error_trace(r);
	if (r == STORE_NOT_FOUND)
		return QUEUE_E_EMPTY;
	return copy_item(get_be64((const uint8_t *)key + 8), val, len, ip);
}

int queue_peek(struct kernel *k, uint64_t holder, uint64_t from, uint64_t *seqp, struct row_item *rowp)
{
	const void *key, *val;
	struct capdata value;
	size_t key_len, len;
	uint8_t at[16];
	int r;

	r = store_next_of(k->store, T_QUEUE, at, key_u64_u64(at, holder, from), 8, true, &key, &key_len, &val, &len);
	if (r < 0)
		return error_trace(r);
	if (r == STORE_NOT_FOUND)
		return QUEUE_E_EMPTY;
	*seqp = get_be64((const uint8_t *)key + 8);
	if (!row_item_read(val, len, rowp, &value))
		return kernel_corrupt("store: queue item %llu is damaged", (unsigned long long)*seqp);
	return 0;
}

int queue_notify(struct kernel *k, endpoint_t e, kref_t promise)
{
	struct item i = { .row = { .kind = ITEM_NOTIFY, .enqueued_us = now_realtime_us(), .target = promise.bits } };
	uint64_t seq = k->next_seq;
	const void *val;
	uint8_t key[16];
	size_t len, key_len = key_u64_u64(key, e.bits, promise.bits);
	struct vat *v;
	int r;

	v = endpoint_is_vat(e) ? vat_find(k, endpoint_number(e)) : NULL;
	if (!v || v->row.status == VAT_TERMINATED)
		return 0;
	r = store_get(k->store, T_NOTIFYING, key, key_len, &val, &len);
	if (r <= 0)
		return r < 0 ? error_trace(r) : 0;
	r = queue_push(k, e.bits, &i);
	if (r < 0)
		return r;
	r = store_put(k->store, T_NOTIFYING, key, key_len, &seq, sizeof(seq));
	if (r < 0)
		return error_trace(r);
	return promise_ref(k, promise, 1);
}

int queue_drop_notify(struct kernel *k, endpoint_t e, const struct item *i)
{
	uint8_t key[16];
	int r;

	r = queue_remove(k, e.bits, i->seq);
	if (r < 0)
		return r;
	r = store_del(k->store, T_NOTIFYING, key, key_u64_u64(key, e.bits, i->row.target));
	if (r < 0)
		return error_trace(r);
	return item_count(k, i, -1);
}
