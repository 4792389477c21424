/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One object, one promise: "key: value" lines; what there can be many of has a count and then a line for each.
 */
#include "render.h"

static const char *const standing_names[] = {
	[STANDING_NONE] = "none", [STANDING_ALIVE] = "alive", [STANDING_SUSPENDED] = "suspended",
	[STANDING_TERMINATED] = "terminated", [STANDING_GONE] = "gone", [STANDING_KERNEL] = "kernel",
	[STANDING_REMOTE] = "remote",
};

/* "v2 o-5 reachable", for one side of a clist. */
static int clist_side(struct view *v, struct text *t, const char *key, endpoint_t e, kref_t ref)
{
	char buf[REF_TEXT_MAX];
	uint32_t flags;
	vref_t vref;
	int r;

	text_printf(t, "%s: %s", key, endpoint_format(e, buf));
	r = view_eref(v, e, ref, &vref, &flags);
	if (r < 0)
		return r;
	if (!r)
		text_printf(t, " %s %s", vref_format(vref, buf),
			    flags & CLIST_F_REACHABLE ? "reachable" : "recognizable");
	text_str(t, "\n");
	return 0;
}

/* Endpoints of a table (kref, endpoint): how many, then a line each. */
static int endpoint_lines(struct view *v, struct text *t, enum table table, kref_t ref, const char *many,
			  const char *one)
{
	uint64_t n = 0, e;
	struct scan s;
	int r;

	scan_begin_u64(&s, v, table, ref.bits);
	while (!(r = scan_next(&s)))
		n++;
	if (r < 0)
		return r;
	text_printf(t, "%s: %llu\n", many, (unsigned long long)n);
	scan_begin_u64(&s, v, table, ref.bits);
	while (!t->cut && !(r = scan_next(&s))) {
		if (!scan_id(&s, 2, &e))
			continue;
		r = clist_side(v, t, one, (endpoint_t){ e }, ref);
		if (r < 0)
			return r;
	}
	return r < 0 ? r : 0;
}

static int hold_lines(struct view *v, struct text *t, kref_t ref)
{
	struct render_hold hold;
	uint64_t pins = 0;
	struct scan s;
	int r;

	scan_begin_u64(&s, v, T_HOLD, ref.bits);
	while (!(r = scan_next(&s)))
		if (render_hold_read(&s, &hold) && hold.kind == HOLD_PIN)
			pins += hold.row.count;
	if (r < 0)
		return r;
	text_printf(t, "pinned: %llu\n", (unsigned long long)pins);
	scan_begin_u64(&s, v, T_HOLD, ref.bits);
	while (!t->cut && !(r = scan_next(&s))) {
		if (!render_hold_read(&s, &hold))
			continue;
		text_str(t, "hold: ");
		render_hold(t, &hold, ' ');
		text_str(t, "\n");
	}
	return r < 0 ? r : 0;
}

static int object_kind(struct view *v, struct text *t, kref_t ref, const struct row_object *row)
{
	endpoint_t owner = { row->owner };
	const void *val;
	uint8_t key[8];
	uint32_t flags;
	vref_t vref;
	size_t len;
	int r;

	r = view_get(v, T_SERVICE_OF, key, key_u64(key, ref.bits), &val, &len);
	if (r < 0)
		return r;
	if (!r) {
		text_str(t, "kind: service\nservice: ");
		text_escaped(t, val, len);
		text_str(t, "\n");
		return 0;
	}
	if (endpoint_is_none(owner)) {
		text_str(t, "kind: orphan\n");
		return 0;
	}
	r = view_eref(v, owner, ref, &vref, &flags);
	if (r < 0)
		return r;
	if (r)
		text_str(t, endpoint_equal(owner, ENDPOINT_K) ? "kind: kernel\n" : "kind: plain\n");
	else if (vref_equal(vref, VREF_ROOT))
		text_str(t, "kind: root\n");
	else
		text_printf(t, "kind: %s\n",
			    vref_is_durable(vref) ? "durable" : vref_is_virtual(vref) ? "virtual" : "plain");
	return 0;
}

/* By itself, or with all that its vat had exported (X1). */
static int object_revoked(struct view *v, kref_t ref, const struct row_object *row, bool *revokedp)
{
	endpoint_t owner = { row->owner };
	struct row_vat vat;
	int r;

	*revokedp = row->flags & OBJECT_F_REVOKED;
	if (*revokedp || !endpoint_is_vat(owner))
		return 0;
	r = view_vat(v, endpoint_number(owner), &vat);
	*revokedp = r == 0 && kref_number(ref) < vat.revoked_below;
	return r == VIEW_E_ABSENT ? 0 : r;
}

int render_object(struct view *v, uint64_t id, struct text *t)
{
	kref_t ref = ko(id);
	enum standing standing;
	struct row_object row;
	bool revoked;
	int r;

	r = view_object(v, ref, &row);
	if (r)
		return r;
	r = view_standing(v, (endpoint_t){ row.owner }, row.owner_incarnation, row.flags & OBJECT_F_SURVIVES,
			  &standing);
	if (r)
		return r;
	if (standing == STANDING_NONE)
		text_str(t, "owner: none\n");
	else if ((r = clist_side(v, t, "owner", (endpoint_t){ row.owner }, ref)))
		return r;
	text_printf(t, "owner-state: %s\n", standing_names[standing]);
	r = object_kind(v, t, ref, &row);
	if (r)
		return r;
	r = object_revoked(v, ref, &row, &revoked);
	if (r)
		return r;
	text_printf(t, "refcount: %llu reachable %llu recognizable\nrevoked: %s\n",
		    (unsigned long long)row.n_reachable, (unsigned long long)row.n_recognizable,
		    revoked ? "yes" : "no");
	r = endpoint_lines(v, t, T_IMPORTER, ref, "importers", "importer");
	if (r)
		return r;
	return hold_lines(v, t, ref);
}

/* The stored state, seen through what became of the decider: a promise whose decider is gone reads as rejected. */
static int promise_head(struct view *v, struct text *t, kref_t ref, const struct row_promise *row)
{
	static const char *const state[] = {
		[PROMISE_UNRESOLVED] = "unresolved", [PROMISE_FORWARDED] = "forwarded",
		[PROMISE_FULFILLED] = "fulfilled", [PROMISE_REJECTED] = "rejected",
	};
	bool known = row->state < ARRAY_LEN(state) && state[row->state];
	enum standing standing = STANDING_NONE;
	int r;

	r = view_standing(v, (endpoint_t){ row->decider }, row->decider_incarnation, false, &standing);
	if (r)
		return r;
	if (standing == STANDING_GONE || standing == STANDING_TERMINATED)
		text_printf(t, "state: rejected\nstored-state: %s\n", known ? state[row->state] : "unknown");
	else
		text_printf(t, "state: %s\n", known ? state[row->state] : "unknown");
	if (standing == STANDING_NONE)
		text_str(t, "decider: none\n");
	else if ((r = clist_side(v, t, "decider", (endpoint_t){ row->decider }, ref)))
		return r;
	if (standing != STANDING_NONE)
		text_printf(t, "decider-state: %s\n", standing_names[standing]);
	text_printf(t, "refcount: %llu\n", (unsigned long long)row->n_refs);
	if (row->link && row->state == PROMISE_FORWARDED) {
		text_str(t, "forwarded-to: ");
		render_kref(t, row->link);
		text_str(t, "\n");
	} else if (row->link && row->state == PROMISE_UNRESOLVED) {
		text_str(t, "behind: ");
		if (row->link & REF_PROMISE)
			render_kref(t, row->link);
		else
			render_endpoint(t, row->link, "-");
		text_str(t, "\n");
	}
	return 0;
}

static int promise_value(struct view *v, struct text *t, kref_t ref, const struct row_promise *row)
{
	struct capdata value;
	const void *val;
	uint8_t key[8];
	size_t len;
	int r;

	/* A promise that took another's outcome shares its value. */
	r = view_get(v, T_VALUE, key, key_u64(key, row->link ? row->link : ref.bits), &val, &len);
	if (r < 0)
		return r;
	if (r || !capdata_read(val, len, &value))
		return 0;
	if (row->flags & PROMISE_F_KERNEL)
		text_str(t, "rejected-by: kernel\n");
	if (row->flags & PROMISE_F_REF && value.n_slots == 1) {
		text_str(t, "reference: ");
		render_slots(t, &value);
		text_str(t, "\n");
	}
	render_capdata(t, &value);
	return 0;
}

static int forward_lines(struct view *v, struct text *t, kref_t ref)
{
	uint64_t source;
	struct scan s;
	int r = 0;

	scan_begin_u64(&s, v, T_FORWARD, ref.bits);
	while (!t->cut && !(r = scan_next(&s))) {
		if (!scan_id(&s, 2, &source))
			continue;
		text_str(t, "forwarded-from: ");
		render_kref(t, source);
		text_str(t, "\n");
	}
	return r < 0 ? r : 0;
}

int render_promise(struct view *v, uint64_t id, struct text *t)
{
	struct row_promise row;
	kref_t ref = kp(id);
	int r;

	r = view_promise(v, ref, &row);
	if (!r)
		r = promise_head(v, t, ref, &row);
	if (!r)
		r = endpoint_lines(v, t, T_SUBSCRIBER, ref, "subscribers", "subscriber");
	if (!r)
		r = forward_lines(v, t, ref);
	if (r)
		return r;
	text_printf(t, "waiting: %llu\n", (unsigned long long)row.n_waiting);
	r = render_waiting(v, ref, t);
	if (!r)
		r = hold_lines(v, t, ref);
	/* Last, since it may be long. */
	return r ? r : promise_value(v, t, ref, &row);
}
