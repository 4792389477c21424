/* SPDX-License-Identifier: Apache-2.0 */
#include "clist.h"

#include "charge.h"
#include "object.h"
#include "promise.h"
#include "vat.h"

static int load(struct kernel *k, enum table t, endpoint_t e, uint64_t ref, struct row_clist *rowp)
{
	uint8_t key[16];
	const void *val;
	size_t len;
	int r;

	r = store_get(k->store, t, key, key_u64_u64(key, e.bits, ref), &val, &len);
	if (r < 0)
		return error_trace(r);
	if (r == STORE_NOT_FOUND)
		return CLIST_E_UNKNOWN;
	return row_clist_read(val, len, rowp) ? 0 : kernel_corrupt("store: a clist row is damaged");
}

static int find(struct kernel *k, enum table t, endpoint_t e, uint64_t ref, uint64_t *refp, bool *reachablep)
{
	struct row_clist row;
	int r = load(k, t, e, ref, &row);

	if (r)
		return r;
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

static int put_pair(struct kernel *k, endpoint_t e, kref_t kref, vref_t vref, uint32_t flags, uint32_t introducer)
{
	struct row_clist by_kref = { .ref = vref.bits, .flags = flags, .introducer = introducer };
	struct row_clist by_vref = { .ref = kref.bits, .flags = flags };
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

/* Keep the vat's own totals, who is charged, and the numbers that `init` will tell its next incarnation (V5). */
static int note_entry(struct kernel *k, endpoint_t e, vref_t vref, uint32_t introducer, int delta)
{
	struct vat *v = endpoint_is_vat(e) ? vat_find(k, endpoint_number(e)) : NULL;
	struct row_vat *row;

	if (!v)
		return 0;
	row = vat_edit(k, v);
	if (vref_is_import(vref)) {
		row->n_imports += delta;
		return charge_import(k, e.bits, introducer ? endpoint_vat(introducer).bits : 0, delta);
	}
	row->n_exports += delta;
	if (delta < 0 || vref_is_durable(vref) || vref_is_virtual(vref))
		return 0;
	if (vref_is_promise(vref) && vref_number(vref) >= row->next_export_promise)
		row->next_export_promise = vref_number(vref) + 1;
	else if (!vref_is_promise(vref) && vref_number(vref) >= row->next_export)
		row->next_export = vref_number(vref) + 1;
	return 0;
}

static int add(struct kernel *k, endpoint_t e, kref_t kref, vref_t vref, uint32_t introducer)
{
	uint8_t key[16];
	int r;

	r = put_pair(k, e, kref, vref, CLIST_F_REACHABLE, introducer);
	if (r < 0)
		return r;
	r = note_entry(k, e, vref, introducer, 1);
	if (r < 0)
		return r;
	if (kref_is_promise(kref))
		return promise_ref(k, kref, 1);
	if (!is_import(kref, vref))
		return 0;
	r = store_put(k->store, T_IMPORTER, key, key_u64_u64(key, kref.bits, e.bits), "", 0);
	if (r < 0)
		return error_trace(r);
	return object_ref(k, kref, 1, 1);
}

int clist_add(struct kernel *k, endpoint_t e, kref_t kref, vref_t vref)
{
	return add(k, e, kref, vref, 0);
}

int clist_import(struct kernel *k, endpoint_t e, kref_t kref, vref_t vref, uint64_t introducer)
{
	uint64_t number = endpoint_is_vat((endpoint_t){ introducer }) ? endpoint_number((endpoint_t){ introducer }) : 0;

	/* An answer that comes back under the vat's own number is no import. And more vats than that no machine launches. */
	return add(k, e, kref, vref, vref_is_import(vref) && number <= UINT32_MAX ? (uint32_t)number : 0);
}

int clist_remove(struct kernel *k, endpoint_t e, kref_t kref, vref_t vref)
{
	struct row_clist row;
	uint8_t key[16];
	int r;

	r = load(k, T_CLIST, e, kref.bits, &row);
	if (r < 0)
		return error_trace(r);
	assert(r == 0 && row.ref == vref.bits);
	r = store_del(k->store, T_CLIST, key, key_u64_u64(key, e.bits, kref.bits));
	if (r < 0)
		return error_trace(r);
	r = store_del(k->store, T_EREF, key, key_u64_u64(key, e.bits, vref.bits));
	if (r < 0)
		return error_trace(r);
	r = note_entry(k, e, vref, row.introducer, -1);
	if (r < 0)
		return r;
	if (kref_is_promise(kref))
		return promise_ref(k, kref, -1);
	if (!is_import(kref, vref))
		return kernel_touch(k, kref);
	r = store_del(k->store, T_IMPORTER, key, key_u64_u64(key, kref.bits, e.bits));
	if (r < 0)
		return error_trace(r);
	return object_ref(k, kref, row.flags & CLIST_F_REACHABLE ? -1 : 0, -1);
}

int clist_set_reachable(struct kernel *k, endpoint_t e, kref_t kref, vref_t vref, bool reachable)
{
	struct row_clist row;
	int r;

	r = load(k, T_CLIST, e, kref.bits, &row);
	if (r < 0)
		return error_trace(r);
	assert(r == 0 && row.ref == vref.bits);
	if (reachable == !!(row.flags & CLIST_F_REACHABLE))
		return 0;
	r = put_pair(k, e, kref, vref, reachable ? CLIST_F_REACHABLE : 0, row.introducer);
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

	r = store_next_of(k->store, T_EREF, buf, key_u64_u64(buf, e.bits, from), 8, true, &key, &key_len, &val, &len);
	if (r < 0)
		return error_trace(r);
	if (r == STORE_NOT_FOUND)
		return CLIST_E_UNKNOWN;
	if (key_len != 16 || !row_clist_read(val, len, &row))
		return kernel_corrupt("store: a clist row is damaged");
	vrefp->bits = get_be64((const uint8_t *)key + 8);
	krefp->bits = row.ref;
	*reachablep = row.flags & CLIST_F_REACHABLE;
	return 0;
}
