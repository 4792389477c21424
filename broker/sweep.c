/* SPDX-License-Identifier: Apache-2.0 */
#include "sweep.h"

#include "clist.h"
#include "gc.h"
#include "launch.h"
#include "live.h"
#include "object.h"
#include "promise.h"
#include "router.h"
#include "service.h"
#include "underway.h"
#include "vat.h"

static int put_sweep(struct kernel *k, struct vat *v, const struct row_sweep *row)
{
	uint8_t key[8];
	int r = store_put(k->store, T_SWEEP, key, key_u64(key, endpoint_vat(v->number).bits), row, sizeof(*row));

	return r < 0 ? error_trace(r) : 0;
}

int sweep_begin(struct kernel *k, struct vat *v, bool terminated)
{
	struct row_sweep row = { .phase = terminated ? SWEEP_QUEUE : SWEEP_DECIDED, .terminated = terminated };

	/* A further restart before the last sweep ended starts over: what was swept is found clean. */
	v->sweeping = true;
	k->sweeping = true;
	live_show(k, v);
	return put_sweep(k, v, &row);
}

/*
 * Each phase does up to *budget rows and says when it is through. The cursor is not only for what stays: rows that were
 * deleted since the last commit would be stepped over again and again.
 */
static int sweep_queue(struct kernel *k, struct vat *v, uint64_t *cursor, unsigned *budget, bool *donep)
{
	endpoint_t e = endpoint_vat(v->number);
	struct route route;
	int r;

	for (; *budget; --*budget) {
		_cleanup_(item_deinit) struct item i = ITEM_INIT;

		r = queue_head(k, e.bits, *cursor, &i);
		if (r) {
			*donep = r > 0;
			return r < 0 ? r : 0;
		}
		*cursor = i.seq + 1;
		if (i.row.kind == ITEM_NOTIFY) {
			r = queue_drop_notify(k, e, &i);	/* D5 */
		} else {
			r = router_route(k, (kref_t){ i.row.target }, (kref_t){ i.row.result }, &route);
			if (r >= 0)
				r = queue_remove(k, e.bits, i.seq);
			if (r >= 0)
				r = router_refuse(k, &i, &route);
		}
		if (r < 0)
			return r;
	}
	return 0;
}

/* Calls of services that wait on the vat's behalf: some end with it. */
static int sweep_calls(struct kernel *k, struct vat *v, uint64_t *cursor, unsigned *budget, bool *donep)
{
	int r;

	for (; *budget && v->row.n_calls; --*budget) {
		_cleanup_(item_deinit) struct item i = ITEM_INIT;

		r = queue_head(k, ENDPOINT_K.bits, *cursor, &i);
		if (r) {
			*donep = r > 0;
			return r < 0 ? r : 0;
		}
		*cursor = i.seq + 1;
		if (i.row.sender != endpoint_vat(v->number).bits)
			continue;
		r = service_sender_gone(k, &i);
		if (r < 0)
			return r;
	}
	*donep = !v->row.n_calls;
	return 0;
}

static int sweep_decided(struct kernel *k, struct vat *v, bool terminated, uint64_t *cursor, unsigned *budget, bool *donep)
{
	endpoint_t e = endpoint_vat(v->number);
	struct row_promise row;
	const void *key, *val;
	size_t key_len, len;
	uint8_t at[16];
	kref_t ref;
	int r;

	/* A promise that settles takes its waiting messages along; they count as well. */
	for (; *budget && k->n_moved < SWEEP_BUDGET; --*budget) {
		key_u64_u64(at, e.bits, *cursor);
		r = store_next_of(k->store, T_DECIDED, at, 16, 8, false, &key, &key_len, &val, &len);
		if (r < 0)
			return error_trace(r);
		if (r == STORE_NOT_FOUND) {
			*donep = true;
			return 0;
		}
		ref.bits = *cursor = get_be64((const uint8_t *)key + 8);
		r = promise_load(k, ref, &row);
		if (r)
			return r < 0 ? r : kernel_corrupt("DECIDED names an unknown promise");
		if (!terminated && row.decider_incarnation == v->row.incarnation)
			continue;
		if (!terminated) {	/* V5: the vat learns the fate of what it decided, subscribed or not */
			r = promise_subscribe(k, ref, e);
			if (r < 0)
				return r;
		}
		if (terminated)
			r = promise_reject(k, ref, CODE_VAT_TERMINATED, "%s is terminated", v->row.name);
		else
			r = promise_reject(k, ref, CODE_VAT_RESTARTED, "%s was restarted", v->row.name);
		if (r < 0)
			return r;
	}
	*budget = 0;
	return 0;
}

/* One entry of the clist: does it go, and what goes with it? */
static int sweep_entry(struct kernel *k, struct vat *v, bool terminated, kref_t kref, vref_t vref)
{
	endpoint_t e = endpoint_vat(v->number);
	bool orphan = !kref_is_promise(kref) && !vref_is_import(vref);
	struct row_object row;
	int r;

	if (!terminated) {
		if (!orphan || vref_survives(vref))
			return 0;
		r = object_load(k, kref, &row);
		if (r)
			return r < 0 ? r : kernel_corrupt("clist names an unknown object");
		if (row.owner_incarnation == v->row.incarnation)
			return 0;
		r = object_disown(k, kref);
		if (r < 0)
			return r;
	} else if (orphan) {
		r = object_keep_revoked(k, kref);
		if (r < 0)
			return r;
	}
	if (kref_is_promise(kref)) {
		r = promise_unsubscribe(k, kref, e);
		if (r < 0)
			return r;
	}
	return clist_remove(k, e, kref, vref);
}

static int sweep_clist(struct kernel *k, struct vat *v, bool terminated, uint64_t *cursor, unsigned *budget, bool *donep)
{
	bool reachable;
	vref_t vref;
	kref_t kref;
	int r;

	for (; *budget; --*budget) {
		r = clist_next(k, endpoint_vat(v->number), *cursor, &vref, &kref, &reachable);
		if (r < 0)
			return r;
		/* After a restart only exported objects are looked at: they come first. */
		if (r > 0 || (!terminated && (vref_is_import(vref) || vref_is_promise(vref)))) {
			*donep = true;
			return 0;
		}
		*cursor = vref.bits + 1;
		r = sweep_entry(k, v, terminated, kref, vref);
		if (r < 0)
			return r;
	}
	return 0;
}

static int sweep_param(struct kernel *k, struct vat *v)
{
	_cleanup_free_ uint8_t *raw = NULL;
	struct capdata value;
	const void *val;
	uint8_t key[8];
	size_t len, i;
	int r;

	r = store_get(k->store, T_VAT_PARAM, key, key_u64(key, v->number), &val, &len);
	if (r)
		return r < 0 ? error_trace(r) : 0;
	raw = malloc(len);
	if (!raw)
		return error_origin(ENOMEM);
	memcpy(raw, val, len);
	r = store_del(k->store, T_VAT_PARAM, key, 8);
	if (r < 0)
		return error_trace(r);
	if (!capdata_read(raw, len, &value))
		return kernel_corrupt("store: vat parameters are damaged");
	for (i = 0; r >= 0 && i < value.n_slots; i++)
		r = kernel_ref(k, (kref_t){ capdata_slot(&value, i) }, -1);
	return r;
}

static int sweep_phase(struct kernel *k, struct vat *v, struct row_sweep *row, unsigned *budget, bool *donep)
{
	int r;

	*donep = false;
	switch ((enum sweep_phase)row->phase) {
	case SWEEP_QUEUE:
		return sweep_queue(k, v, &row->cursor, budget, donep);
	case SWEEP_CALLS:
		return sweep_calls(k, v, &row->cursor, budget, donep);
	case SWEEP_DECIDED:
		return sweep_decided(k, v, row->terminated, &row->cursor, budget, donep);
	case SWEEP_CLIST:
		return sweep_clist(k, v, row->terminated, &row->cursor, budget, donep);
	case SWEEP_GC:
		*donep = !row->terminated;
		return *donep ? 0 : gc_purge(k, endpoint_vat(v->number), budget, donep);
	case SWEEP_VATSTORE:
		*donep = !row->terminated;
		if (*donep)
			return 0;
		r = vatstore_purge(k->store, v->number, budget, donep);
		if (r >= 0 && *donep)
			vat_edit(k, v)->vatstore_bytes = 0;
		return r < 0 ? error_trace(r) : 0;
	case SWEEP_PARAM:
		*donep = true;
		return row->terminated ? sweep_param(k, v) : 0;
	case SWEEP_END:
		break;
	}
	return 0;
}

static int sweep_vat(struct kernel *k, struct vat *v, unsigned *budgetp)
{
	endpoint_t e = endpoint_vat(v->number);
	unsigned budget = *budgetp;
	struct row_sweep row;
	const void *val;
	uint8_t key[8];
	bool done;
	size_t len;
	int r;

	r = store_get(k->store, T_SWEEP, key, key_u64(key, e.bits), &val, &len);
	if (r)
		return r < 0 ? error_trace(r) : kernel_corrupt("sweep: no row");
	if (len != sizeof(row))
		return kernel_corrupt("store: a sweep row is damaged");
	memcpy(&row, val, sizeof(row));
	r = kernel_savepoint(k);
	if (r < 0)
		return r;
	while (budget && row.phase != SWEEP_END) {
		r = sweep_phase(k, v, &row, &budget, &done);
		if (r < 0)
			return r;
		if (!done)
			break;
		row.phase++;
		row.cursor = 0;
	}
	if (row.phase == SWEEP_END) {
		r = store_del(k->store, T_SWEEP, key, 8);
		v->sweeping = false;
		live_show(k, v);
		vat_ready(k, v);
	} else {
		r = put_sweep(k, v, &row);
	}
	if (r < 0)
		return r;
	*budgetp = budget;
	r = kernel_release(k);
	if (!v->sweeping)
		launch_vat_ended(k);
	return r;
}

int sweep_step(struct kernel *k, bool *morep)
{
	unsigned budget = SWEEP_BUDGET;	/* for all of them together */
	struct vat *v, *tmp;
	int r;

	*morep = false;
	if (!k->sweeping)
		return 0;
	HASH_ITER(hh, k->vats, v, tmp) {
		if (!v->sweeping || v->sweep_held)
			continue;
		*morep = true;
		if (!budget)
			return 0;
		r = underway_begin(k, UNDERWAY_SWEEP, v->number, 0);
		if (r >= 0)
			r = sweep_vat(k, v, &budget);
		if (r < 0)
			return r;
		/* Each broker begins a sweep anew, so a step that went well says nothing of the rest. */
		if (!v->sweeping)
			underway_acquit(k, UNDERWAY_SWEEP, v->number, 0);
		underway_end(k);
	}
	k->sweeping = *morep;
	return 0;
}
