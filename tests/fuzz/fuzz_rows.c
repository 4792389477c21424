/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as any row of the store: each reader says yes or no and never reads past the end; what it accepts is
 * written again, or compared, and is the same. The first byte picks the reader. The last of them makes a table
 * out of the bytes and walks it as a vat's store.
 */
#include "../../lib/vatwalk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Touch both ends of what a reader claims is there: a sanitiser's question. */
static void touch(const void *p, size_t len)
{
	if (len)
		(void)(*(volatile const uint8_t *)p + *((volatile const uint8_t *)p + len - 1));
}

static void check_capdata(const uint8_t *data, size_t size)
{
	struct capdata c;
	uint64_t *slots;
	uint8_t *again;

	if (!capdata_read(data, size, &c))
		return;
	assert(capdata_size(c.body_len, c.n_slots) == size);
	slots = calloc(c.n_slots + 1, 8);
	again = malloc(size);
	assert(slots && again);
	for (size_t i = 0; i < c.n_slots; i++)
		slots[i] = capdata_slot(&c, i);
	capdata_write(again, c.body, c.body_len, slots, c.n_slots);
	assert(!memcmp(again, data, size));
	free(slots);
	free(again);
}

static void check_bucket(const uint8_t *data, size_t size)
{
	struct bucket_entry e;
	size_t pos = 0, before = 0;

	while (bucket_next(data, size, &pos, &e)) {
		assert(pos <= size && pos == before + 8 + e.rest_len + e.value_len);
		touch(e.rest, e.rest_len);
		touch(e.value, e.value_len);
		before = pos;
	}
	assert(pos == before);
}

static void check_vatstore_row(const uint8_t *data, size_t size)
{
	struct vatstore_row row;

	for (size_t chunk = VATSTORE_PREFIX - 1; chunk <= VATSTORE_PREFIX; chunk++) {
		if (!vatstore_row_read(data, size, chunk, &row))
			continue;
		assert(size == (row.has_value ? 8 + row.value_len : 0) + (row.link ? 16 : 0));
		assert(!row.link || ((row.link & VATSTORE_SPACE) && chunk == VATSTORE_PREFIX));
		touch(row.value, row.value_len);
	}
}

static void check_texts(const uint8_t *data, size_t size)
{
	struct row_subcluster sub;
	struct row_vat vat;
	struct row_aside aside;
	struct capdata value;
	struct row_death death;
	struct row_code code;
	struct row_log log;
	const char *text;
	size_t len;

	if (row_vat_read(data, size, &vat)) {
		assert(size == sizeof vat && !memcmp(data, &vat, size));
		assert(strlen(vat.name) < sizeof vat.name && strlen(vat.reason) < sizeof vat.reason);
		assert(vat.status >= VAT_STARTING && vat.status <= VAT_TERMINATED);
	}
	if (row_subcluster_read(data, size, &sub)) {
		assert(size == sizeof sub && strlen(sub.name) < sizeof sub.name);
		assert(sub.status >= SUB_LAUNCHING && sub.status <= SUB_TERMINATING);
	}
	if (row_log_read(data, size, &log, &text, &len)) {
		assert(len == size - sizeof log);
		touch(text, len);
		assert(log_line_size(&log, text, len) > len);
	}
	if (row_death_read(data, size, &death, &text, &len)) {
		assert(len == size - sizeof death);
		touch(text, len);
	}
	if (row_code_read(data, size, &code, &text, &len)) {
		assert(len == size - sizeof code && len <= CODE_NAME_MAX);
		touch(text, len);
	}
	if (row_aside_read(data, size, &aside, &value)) {
		assert(capdata_size(value.body_len, value.n_slots) == size - sizeof aside);
		touch(value.body, value.body_len);
	}
}

static void check_fixed(const uint8_t *data, size_t size)
{
	struct row_object object;
	struct row_promise promise;
	struct row_clist clist;
	struct row_hold hold;

	if (row_object_read(data, size, &object))
		assert(size == sizeof object && object.n_reachable <= object.n_recognizable);
	if (row_promise_read(data, size, &promise))
		assert(promise.state >= PROMISE_UNRESOLVED && promise.state <= PROMISE_REJECTED);
	if (row_clist_read(data, size, &clist))
		assert(size == sizeof clist);
	if (row_hold_read(data, size, &hold))
		assert(size == sizeof hold);
}

static void check_item(const uint8_t *data, size_t size)
{
	struct capdata value;
	struct row_item item;

	if (!row_item_read(data, size, &item, &value))
		return;
	assert(item.kind == ITEM_MESSAGE || item.kind == ITEM_NOTIFY);
	touch(value.body, value.body_len);
	touch(value.slots, value.n_slots * 8);
	if (item.kind == ITEM_MESSAGE)
		check_capdata(data + sizeof item, size - sizeof item);
}

/* --- a table of rows, walked ----------------------------------------------------------------------------------- */

#define MAX_ROWS	24
struct row { uint8_t key[8 + VATSTORE_PREFIX]; size_t key_len; const uint8_t *val; size_t len; };
struct rows { struct row rows[MAX_ROWS]; size_t n; };

static int key_cmp(const void *a, size_t a_len, const void *b, size_t b_len)
{
	int c = memcmp(a, b, a_len < b_len ? a_len : b_len);

	return c ? c : (a_len > b_len) - (a_len < b_len);
}

static int table_next(void *ctx, const void *key, size_t key_len, bool or_equal,
		      const void **keyp, size_t *key_lenp, const void **valp, size_t *lenp)
{
	const struct rows *t = ctx;
	const struct row *best = NULL;

	for (size_t i = 0; i < t->n; i++) {
		const struct row *row = &t->rows[i];
		int c = key_cmp(row->key, row->key_len, key, key_len);

		if ((c > 0 || (c == 0 && or_equal)) &&
		    (!best || key_cmp(row->key, row->key_len, best->key, best->key_len) < 0))
			best = row;
	}
	if (!best)
		return 1;
	*keyp = best->key;
	*key_lenp = best->key_len;
	*valp = best->val;
	*lenp = best->len;
	return 0;
}

/* A row: space (0: the vat; else a linked one), last byte of the chunk, length of the value, full chunk or short. */
static void table_make(struct rows *t, const uint8_t *data, size_t size)
{
	t->n = 0;
	while (size >= 4 && t->n < MAX_ROWS) {
		struct row *row = &t->rows[t->n++];
		size_t len = data[2] < size - 4 ? data[2] : size - 4;
		size_t chunk = data[3] & 1 ? VATSTORE_PREFIX : data[3] >> 2;

		memset(row->key, 'k', sizeof row->key);
		put_be64(row->key, data[0] ? VATSTORE_SPACE | data[0] : 1);
		row->key_len = 8 + chunk;
		if (chunk)
			row->key[7 + chunk] = data[1];
		row->val = data + 4;
		row->len = len;
		data += 4 + len;
		size -= 4 + len;
	}
}

static void check_walk(const uint8_t *data, size_t size)
{
	static uint8_t last[sizeof(((struct vatwalk *)0)->key)];
	static struct rows t;
	struct vatwalk w;
	const void *val;
	size_t len, last_len = 0;
	bool started = false;
	int r;

	table_make(&t, data, size);
	vatwalk_init(&w, table_next, &t, 1, NULL, 0);
	while (!(r = vatwalk_step(&w, &val, &len))) {
		assert(w.key_len <= sizeof w.key && w.n_rows < 1000000);
		touch(val, len);
		assert(!started || key_cmp(last, last_len, w.key, w.key_len) < 0);
		memcpy(last, w.key, w.key_len);
		last_len = w.key_len;
		started = true;
	}
	assert(r == VATWALK_E_END || r == VATWALK_E_DAMAGED);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const checks[])(const uint8_t *, size_t) = {
		check_capdata, check_bucket, check_vatstore_row, check_texts, check_fixed, check_item, check_walk,
	};

	if (size)
		checks[data[0] % ARRAY_LEN(checks)](data + 1, size - 1);
	return 0;
}
