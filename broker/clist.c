/* SPDX-License-Identifier: Apache-2.0 */
#include "clist.h"

#include "object.h"
#include "promise.h"
#include "vat.h"

static int find(struct kernel *k, enum table t, endpoint_t e, uint64_t ref, uint64_t *refp, bool *reachablep)
{
	struct row_clist row;
	uint8_t key[16];
	const void *val;
	size_t len;
	int r;

	r = store_get(k->store, t, key, key_u64_u64(key, e.bits, ref), &val, &len);
	if (r < 0)
		return error_trace(r);
	if (r == STORE_NOT_FOUND)
		return CLIST_E_UNKNOWN;
	if (!row_clist_read(val, len, &row))
		return kernel_corrupt("store: a clist row is damaged");
	*refp = row.ref;
	*reachablep = row.flags & CLIST_F_REACHABLE;
	return 0;
}

int clist_find_kref(struct kernel *k, endpoint_t e, kref_t kref, vref_t *vrefp, bool *reachablep)
{
	return find(k, T_CLIST, e, kref.bits, &vrefp->bits, reachablep);
}

int clist_find_vref(struct kernel *k, endpoint_t e, vref_t vref, kref_t *krefp, bool *reachablep)
{
	return find(k, T_EREF, e, vref.bits, &krefp->bits, reachablep);
}

static int put_pair(struct kernel *k, endpoint_t e, kref_t kref, vref_t vref, uint32_t flags)
{
	struct row_clist by_kref = { .ref = vref.bits, .flags = flags }, by_vref = { .ref = kref.bits, .flags = flags };
	uint8_t key[16];
	int r;

	r = store_put(k->store, T_CLIST, key, key_u64_u64(key, e.bits, kref.bits), &by_kref, sizeof(by_kref));
	if (r < 0)
		return error_trace(r);
	r = store_put(k->store, T_EREF, key, key_u64_u64(key, e.bits, vref.bits), &by_vref, sizeof(by_vref));
	return r < 0 ? error_trace(r) : 0;
}

/* The index of importers serves objects only: it answers "who must be told that this is retired". */
static bool is_import(kref_t kref, vref_t vref)
{
	return !kref_is_promise(kref) && vref_is_import(vref);
}

/* Keep the vat's own totals, and the numbers that `init` will tell its next incarnation (V5). */
static void note_entry(struct kernel *k, endpoint_t e, vref_t vref, int delta)
{
	struct vat *v = endpoint_is_vat(e) ? vat_find(k, endpoint_number(e)) : NULL;
	struct row_vat *row;

	if (!v)
		return;
	row = vat_edit(k, v);
	if (vref_is_import(vref)) {
		row->n_imports += delta;
		return;
	}
	row->n_exports += delta;
	if (delta < 0 || vref_is_durable(vref) || vref_is_virtual(vref))
		return;
	if (vref_is_promise(vref) && vref_number(vref) >= row->next_export_promise)
		row->next_export_promise = vref_number(vref) + 1;
	else if (!vref_is_promise(vref) && vref_number(vref) >= row->next_export)
		row->next_export = vref_number(vref) + 1;
}

int clist_add(struct kernel *k, endpoint_t e, kref_t kref, vref_t vref)
{
	uint8_t key[16];
	int r;

	r = put_pair(k, e, kref, vref, CLIST_F_REACHABLE);
	if (r < 0)
		return r;
	note_entry(k, e, vref, 1);
	if (kref_is_promise(kref))
		return promise_ref(k, kref, 1);
	if (!is_import(kref, vref))
		return 0;
	r = store_put(k->store, T_IMPORTER, key, key_u64_u64(key, kref.bits, e.bits), "", 0);
	if (r < 0)
		return error_trace(r);
	return object_ref(k, kref, 1, 1);
}

int clist_remove(struct kernel *k, endpoint_t e, kref_t kref, vref_t vref)
{
	bool reachable = false;
	uint8_t key[16];
	vref_t found;
	int r;

	r = clist_find_kref(k, e, kref, &found, &reachable);
	if (r < 0)
		return error_trace(r);
	assert(r == 0 && vref_equal(found, vref));
	r = store_del(k->store, T_CLIST, key, key_u64_u64(key, e.bits, kref.bits));
	if (r < 0)
		return error_trace(r);
	r = store_del(k->store, T_EREF, key, key_u64_u64(key, e.bits, vref.bits));
	if (r < 0)
		return error_trace(r);
	note_entry(k, e, vref, -1);
	if (kref_is_promise(kref))
		return promise_ref(k, kref, -1);
	if (!is_import(kref, vref))
		return kernel_touch(k, kref);
	r = store_del(k->store, T_IMPORTER, key, key_u64_u64(key, kref.bits, e.bits));
	if (r < 0)
		return error_trace(r);
	return object_ref(k, kref, reachable ? -1 : 0, -1);
}

int clist_set_reachable(struct kernel *k, endpoint_t e, kref_t kref, vref_t vref, bool reachable)
{
	vref_t found;
	bool was;
	int r;

	r = clist_find_kref(k, e, kref, &found, &was);
	if (r < 0)
		return error_trace(r);
	assert(r == 0 && vref_equal(found, vref));
	if (was == reachable)
		return 0;
	r = put_pair(k, e, kref, vref, reachable ? CLIST_F_REACHABLE : 0);
	if (r < 0)
		return r;
	if (!is_import(kref, vref))
		return kernel_touch(k, kref);
	return object_ref(k, kref, reachable ? 1 : -1, 0);
}

int clist_next(struct kernel *k, endpoint_t e, uint64_t from, vref_t *vrefp, kref_t *krefp, bool *reachablep)
{
	const void *key, *val;
	struct row_clist row;
	size_t key_len, len;
	uint8_t buf[16];
	int r;

	r = store_next(k->store, T_EREF, buf, key_u64_u64(buf, e.bits, from), true, &key, &key_len, &val, &len);
	if (r < 0)
		return error_trace(r);
	if (r == STORE_NOT_FOUND || get_be64(key) != e.bits)
		return CLIST_E_UNKNOWN;
	if (key_len != 16 || !row_clist_read(val, len, &row))
		return kernel_corrupt("store: a clist row is damaged");
	vrefp->bits = get_be64((const uint8_t *)key + 8);
	krefp->bits = row.ref;
	*reachablep = row.flags & CLIST_F_REACHABLE;
	return 0;
}
