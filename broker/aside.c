/* SPDX-License-Identifier: Apache-2.0 */
#include "aside.h"

#include <inttypes.h>

#include "launch.h"

int aside_next(struct kernel *k, struct aside *a)
{
	const void *key, *val;
	size_t key_len, len;
	uint8_t at[16];
	int r;

	r = store_next(k->store, T_ASIDE, at, key_u64_u64(at, a->vat, a->seq), false, &key, &key_len, &val, &len);
	if (r)
		return r < 0 ? error_trace(r) : ASIDE_E_UNKNOWN;
	if (key_len != 16 || !row_aside_read(val, len, &a->row, &a->methargs))
		return kernel_corrupt("store: a row of what was set aside is damaged");
	a->vat = get_be64(key);
	a->seq = get_be64((const uint8_t *)key + 8);
	return 0;
}

/* Its vat is not known to who asks; there are few. */
int aside_find(struct kernel *k, uint64_t seq, struct aside *a)
{
	const void *val;
	uint8_t key[16];
	struct vat *v, *tmp;
	size_t len;
	int r;

	HASH_ITER(hh, k->vats, v, tmp) {
		r = store_get(k->store, T_ASIDE, key, key_u64_u64(key, v->number, seq), &val, &len);
		if (r < 0)
			return error_trace(r);
		if (r == STORE_NOT_FOUND)
			continue;
		*a = (struct aside){ .vat = v->number, .seq = seq };
		if (!row_aside_read(val, len, &a->row, &a->methargs))
			return kernel_corrupt("store: a row of what was set aside is damaged");
		return 0;
	}
	return ASIDE_E_UNKNOWN;
}

int aside_drop(struct kernel *k, struct vat *v, uint64_t seq)
{
	struct row_vat *row = vat_edit(k, v);
	const void *val;
	uint8_t key[16];
	size_t len;
	int r;

	r = store_get(k->store, T_ASIDE, key, key_u64_u64(key, v->number, seq), &val, &len);
	if (r)
		return r < 0 ? error_trace(r) : kernel_corrupt("aside: what is dropped is not there");
	assert(row->n_aside && row->aside_bytes >= len);
	row->n_aside--;
	row->aside_bytes -= len;
	r = store_del(k->store, T_ASIDE, key, 16);
	return r < 0 ? error_trace(r) : 0;
}

static int drop_oldest(struct kernel *k, struct vat *v)
{
	struct aside a = { .vat = v->number };
	int r = aside_next(k, &a);

	if (r || a.vat != v->number)
		return r < 0 ? r : kernel_corrupt("aside: counted, but not there");
	return aside_drop(k, v, a.seq);
}

int aside_drop_all(struct kernel *k, struct vat *v)
{
	int r = 0;

	while (r >= 0 && v->row.n_aside)
		r = drop_oldest(k, v);
	return r;
}

int aside_put(struct kernel *k, struct vat *v, const struct item *i)
{
	struct row_aside head = { .time_us = now_realtime_us(), .target = i->row.target, .deaths = v->row.killer_count };
	size_t len = sizeof(head) + i->len;
	_cleanup_free_ uint8_t *raw = malloc(len);
	struct row_vat *row = vat_edit(k, v);
	uint8_t key[16];
	int r = 0;

	if (!raw)
		return error_origin(ENOMEM);
	while (r >= 0 && row->n_aside && (row->n_aside >= ASIDE_MAX || row->aside_bytes + len > ASIDE_MAX_BYTES))
		r = drop_oldest(k, v);
	if (r < 0)
		return r;
	memcpy(raw, &head, sizeof(head));
	memcpy(raw + sizeof(head), i->raw, i->len);
	row->n_aside++;
	row->aside_bytes += len;
	log_warn("v%" PRIu64 " (%s): message %" PRIu64 " is set aside", v->number, v->row.name, i->seq);
	r = store_put(k->store, T_ASIDE, key, key_u64_u64(key, v->number, i->seq), raw, len);
	return r < 0 ? error_trace(r) : 0;
}

int aside_lost(struct kernel *k, const struct aside *a, kref_t *lostp)
{
	bool usable;
	size_t i;
	int r;

	for (i = 0; i <= a->methargs.n_slots; i++) {
		kref_t ref = { i ? capdata_slot(&a->methargs, i - 1) : a->row.target };

		r = kref_is_usable(k, ref, &usable);
		if (r < 0)
			return r;
		if (!usable) {
			*lostp = ref;
			return 0;
		}
	}
	*lostp = KREF_NONE;
	return 0;
}
