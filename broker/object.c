/* SPDX-License-Identifier: Apache-2.0 */
#include "object.h"

#include "live.h"
#include "vat.h"

int object_load(struct kernel *k, kref_t ref, struct row_object *rowp)
{
	uint8_t key[8];
	const void *val;
	size_t len;
	int r;

	r = store_get(k->store, T_OBJECT, key, key_u64(key, ref.bits), &val, &len);
	if (r < 0)
		return error_trace(r);
	if (r == STORE_NOT_FOUND)
		return OBJECT_E_UNKNOWN;
	if (!row_object_read(val, len, rowp))
		return kernel_corrupt("store: object row ko%llu is damaged", (unsigned long long)kref_number(ref));
	return 0;
}

int object_save(struct kernel *k, kref_t ref, const struct row_object *row)
{
	uint8_t key[8];

	assert(row->n_reachable <= row->n_recognizable);
	return store_put(k->store, T_OBJECT, key, key_u64(key, ref.bits), row, sizeof(*row));
}

int object_new(struct kernel *k, endpoint_t owner, uint32_t incarnation, bool survives, kref_t *refp)
{
	struct row_object row = {
		.owner = owner.bits,
		.owner_incarnation = incarnation,
		.flags = survives ? OBJECT_F_SURVIVES : 0,
	};
	kref_t ref = ko(k->next_object++);
	int r;

	r = object_save(k, ref, &row);
	if (r < 0)
		return error_trace(r);
	*refp = ref;
	return kernel_touch(k, ref);
}

int object_delete(struct kernel *k, kref_t ref)
{
	uint8_t key[8];
	int r = store_del(k->store, T_OBJECT, key, key_u64(key, ref.bits));

	k->stats.n_objects_gone++;
	live_gone(k, ref);
	return r < 0 ? error_trace(r) : 0;
}

int object_ref(struct kernel *k, kref_t ref, int reachable, int recognizable)
{
	struct row_object row;
	int r;

	r = object_load(k, ref, &row);
	if (r < 0)
		return error_trace(r);
	if (r == OBJECT_E_UNKNOWN)
		return kernel_corrupt("object: ko%llu is counted but has no row", (unsigned long long)kref_number(ref));
	assert(reachable >= 0 || row.n_reachable >= (uint64_t)-reachable);
	assert(recognizable >= 0 || row.n_recognizable >= (uint64_t)-recognizable);
	row.n_reachable += reachable;
	row.n_recognizable += recognizable;
	r = object_save(k, ref, &row);
	if (r < 0)
		return error_trace(r);
	return kernel_touch(k, ref);
}

bool object_is_revoked(struct kernel *k, kref_t ref, const struct row_object *row)
{
	endpoint_t owner = { row->owner };
	struct vat *v = endpoint_is_vat(owner) ? vat_find(k, endpoint_number(owner)) : NULL;

	return row->flags & OBJECT_F_REVOKED || (v && kref_number(ref) < v->row.revoked_below);
}

int object_revoke(struct kernel *k, kref_t ref, struct row_object *row)
{
	int r;

	row->flags |= OBJECT_F_REVOKED;
	r = object_save(k, ref, row);
	return r < 0 ? error_trace(r) : 0;
}

int object_revoke_all(struct kernel *k, struct vat *v)
{
	vat_edit(k, v)->revoked_below = k->next_object;
	return 0;
}

static int load_exported(struct kernel *k, kref_t ref, struct row_object *row)
{
	int r = object_load(k, ref, row);

	return r > 0 ? kernel_corrupt("clist names an unknown object") : r;
}

int object_keep_revoked(struct kernel *k, kref_t ref)
{
	struct row_object row;
	int r = load_exported(k, ref, &row);

	if (r < 0 || row.flags & OBJECT_F_REVOKED || !object_is_revoked(k, ref, &row))
		return r;
	return object_revoke(k, ref, &row);
}

int object_disown(struct kernel *k, kref_t ref)
{
	struct row_object row;
	int r = load_exported(k, ref, &row);

	if (r < 0)
		return r;
	if (object_is_revoked(k, ref, &row))
		row.flags |= OBJECT_F_REVOKED;
	row.owner = 0;
	r = object_save(k, ref, &row);
	return r < 0 ? error_trace(r) : kernel_touch(k, ref);
}

enum object_owner object_owner(struct kernel *k, const struct row_object *row, struct vat **vatp)
{
	endpoint_t owner = { row->owner };
	struct vat *v;

	if (vatp)
		*vatp = NULL;
	if (endpoint_is_none(owner))
		return OWNER_NONE;
	if (endpoint_equal(owner, ENDPOINT_K))
		return OWNER_KERNEL;
	v = vat_find(k, endpoint_number(owner));
	if (!v || v->row.status == VAT_TERMINATED)
		return OWNER_TERMINATED;
	if (!(row->flags & OBJECT_F_SURVIVES) && row->owner_incarnation != v->row.incarnation)
		return OWNER_NONE;
	if (vatp)
		*vatp = v;
	return v->row.status == VAT_SUSPENDED ? OWNER_SUSPENDED : OWNER_ALIVE;
}
