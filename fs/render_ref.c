/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One object, one promise: all of it as "key: value" lines, where what there can be many of has a count and then a
 * line for each; and the facts one by one.
 */
#include "render.h"

const char *const standing_names[] = {
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

static int count_pins(struct view *v, kref_t ref, uint64_t *np)
{
	struct render_hold hold;
	struct scan s;
	int r;

	*np = 0;
	scan_begin_u64(&s, v, T_HOLD, ref.bits);
	while (!(r = scan_next(&s)))
		if (render_hold_read(&s, &hold) && hold.kind == HOLD_PIN)
			*np += hold.row.count;
	return r < 0 ? r : 0;
}

static int hold_lines(struct view *v, struct text *t, kref_t ref)
{
	struct render_hold hold;
	uint64_t pins;
	struct scan s;
	int r = count_pins(v, ref, &pins);

	if (r)
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

const char *ref_form(vref_t vref)
{
	if (vref_is_promise(vref))
		return "promise";
	if (vref_equal(vref, VREF_ROOT))
		return "root";
	return vref_is_durable(vref) ? "durable" : vref_is_virtual(vref) ? "virtual" : "plain";
}

static int service_name(struct view *v, kref_t ref, const void **namep, size_t *lenp)
{
	uint8_t key[8];

	return view_get(v, T_SERVICE_OF, key, key_u64(key, ref.bits), namep, lenp);
}

static int object_kind(struct view *v, kref_t ref, const struct row_object *row, const char **kindp)
{
	endpoint_t owner = { row->owner };
	const void *name;
	uint32_t flags;
	vref_t vref;
	size_t len;
	int r = service_name(v, ref, &name, &len);

	if (r < 0)
		return r;
	if (!r || endpoint_is_none(owner)) {
		*kindp = r ? "orphan" : "service";
		return 0;
	}
	r = view_eref(v, owner, ref, &vref, &flags);
	if (r < 0)
		return r;
	*kindp = !r ? ref_form(vref) : endpoint_equal(owner, ENDPOINT_K) ? "kernel" : "plain";
	return 0;
}

static int kind_lines(struct view *v, struct text *t, kref_t ref, const struct row_object *row)
{
	const char *kind;
	const void *name;
	size_t len;
	int r = object_kind(v, ref, row, &kind);

	if (r)
		return r;
	text_printf(t, "kind: %s\n", kind);
	r = service_name(v, ref, &name, &len);
	if (r)
		return r < 0 ? r : 0;
	text_str(t, "service: ");
	text_escaped(t, name, len);
	text_str(t, "\n");
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
	if (endpoint_is_vat((endpoint_t){ row.owner }))
		text_printf(t, "owner-incarnation: %u\nsurvives: %s\n", row.owner_incarnation,
			    row.flags & OBJECT_F_SURVIVES ? "yes" : "no");
	r = kind_lines(v, t, ref, &row);
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

int render_object_kind(struct view *v, uint64_t id, struct text *t)
{
	struct row_object row;
	const char *kind;
	int r = view_object(v, ko(id), &row);

	if (!r)
		r = object_kind(v, ko(id), &row, &kind);
	if (!r)
		text_printf(t, "%s\n", kind);
	return r;
}

int render_object_refcount(struct view *v, uint64_t id, struct text *t)
{
	struct row_object row;
	int r = view_object(v, ko(id), &row);

	if (!r)
		text_printf(t, "%llu reachable %llu recognizable\n", (unsigned long long)row.n_reachable,
			    (unsigned long long)row.n_recognizable);
	return r;
}

int render_object_revoked(struct view *v, uint64_t id, struct text *t)
{
	struct row_object row;
	bool revoked;
	int r = view_object(v, ko(id), &row);

	if (!r)
		r = object_revoked(v, ko(id), &row, &revoked);
	if (!r)
		text_str(t, revoked ? "yes\n" : "no\n");
	return r;
}

static int pinned(struct view *v, kref_t ref, struct text *t)
{
	uint64_t n;
	int r = count_pins(v, ref, &n);

	if (!r)
		text_printf(t, "%llu\n", (unsigned long long)n);
	return r;
}

int render_object_pinned(struct view *v, uint64_t id, struct text *t)
{
	struct row_object row;
	int r = view_object(v, ko(id), &row);

	return r ? r : pinned(v, ko(id), t);
}

int render_promise_pinned(struct view *v, uint64_t id, struct text *t)
{
	struct row_promise row;
	int r = view_promise(v, kp(id), &row);

	return r ? r : pinned(v, kp(id), t);
}

static const char *const promise_states[] = {
	[PROMISE_UNRESOLVED] = "unresolved", [PROMISE_FORWARDED] = "forwarded",
	[PROMISE_FULFILLED] = "fulfilled", [PROMISE_REJECTED] = "rejected",
};

bool promise_is_settled(const struct row_promise *row)
{
	return row->state == PROMISE_FULFILLED || row->state == PROMISE_REJECTED;
}

static bool is_gone(enum standing decider)
{
	return decider == STANDING_GONE || decider == STANDING_TERMINATED;
}

const char *promise_state(const struct row_promise *row, enum standing decider)
{
	if (is_gone(decider))
		return "rejected";
	return row->state < ARRAY_LEN(promise_states) && promise_states[row->state] ? promise_states[row->state] : "unknown";
}

static int decider_standing(struct view *v, const struct row_promise *row, enum standing *outp)
{
	return view_standing(v, (endpoint_t){ row->decider }, row->decider_incarnation, false, outp);
}

void render_behind(struct text *t, const struct row_promise *row)
{
	uint64_t link = row->state == PROMISE_UNRESOLVED ? row->link : 0;

	if (link & REF_PROMISE)
		render_kref(t, link);
	else
		render_endpoint(t, link, "-");
}

/* Where it leads, or hangs. */
static void link_line(struct text *t, const struct row_promise *row)
{
	if (!row->link)
		return;
	if (row->state == PROMISE_UNRESOLVED) {
		text_str(t, "behind: ");
		render_behind(t, row);
	} else {
		text_str(t, row->state == PROMISE_FORWARDED ? "forwarded-to: " : "shares: ");
		render_kref(t, row->link);
	}
	text_str(t, "\n");
}

static int promise_head(struct view *v, struct text *t, kref_t ref, const struct row_promise *row)
{
	enum standing standing;
	int r = decider_standing(v, row, &standing);

	if (r)
		return r;
	text_printf(t, "state: %s\n", promise_state(row, standing));
	if (is_gone(standing))
		text_printf(t, "stored-state: %s\n", promise_state(row, STANDING_NONE));
	if (promise_is_settled(row) && row->flags & PROMISE_F_KERNEL)
		text_str(t, "rejected-by: kernel\n");
	if (standing == STANDING_NONE)
		text_str(t, "decider: none\n");
	else if ((r = clist_side(v, t, "decider", (endpoint_t){ row->decider }, ref)))
		return r;
	if (standing != STANDING_NONE)
		text_printf(t, "decider-state: %s\n", standing_names[standing]);
	if (endpoint_is_vat((endpoint_t){ row->decider }))
		text_printf(t, "decider-incarnation: %u\n", row->decider_incarnation);
	text_printf(t, "refcount: %llu\n", (unsigned long long)row->n_refs);
	link_line(t, row);
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
	return r ? r : hold_lines(v, t, ref);
}

int render_promise_state(struct view *v, uint64_t id, struct text *t)
{
	enum standing standing;
	struct row_promise row;
	int r = view_promise(v, kp(id), &row);

	if (!r)
		r = decider_standing(v, &row, &standing);
	if (!r)
		text_printf(t, "%s\n", promise_state(&row, standing));
	return r;
}

int render_promise_refcount(struct view *v, uint64_t id, struct text *t)
{
	struct row_promise row;
	int r = view_promise(v, kp(id), &row);

	if (!r)
		text_printf(t, "%llu\n", (unsigned long long)row.n_refs);
	return r;
}

int promise_value(struct view *v, kref_t ref, uint32_t *flagsp, struct capdata *valuep)
{
	struct row_promise row;
	const void *val;
	uint8_t key[8];
	size_t len;
	int r = view_promise(v, ref, &row);

	if (r || !promise_is_settled(&row))
		return r ? r : VIEW_E_ABSENT;
	/* A promise that took another's outcome shares its value. */
	r = view_get(v, T_VALUE, key, key_u64(key, row.link ? row.link : ref.bits), &val, &len);
	if (r)
		return r;
	*flagsp = row.flags;
	return capdata_read(val, len, valuep) ? 0 : VIEW_E_DAMAGED;
}

int render_promise_value(struct view *v, uint64_t id, struct text *t)
{
	struct capdata value;
	uint32_t flags;
	int r = promise_value(v, kp(id), &flags, &value);

	if (r)
		return r;
	if (flags & PROMISE_F_REF && value.n_slots == 1) {
		text_str(t, "reference: ");
		render_slots(t, &value);
		text_str(t, "\n");
	}
	render_capdata(t, &value);
	return 0;
}
