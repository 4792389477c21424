/* SPDX-License-Identifier: Apache-2.0 */
/*
 * References: both directions of every clist, what queues, values, forwards and holds name, and then the counts and
 * states of objects and promises against all of it (C1-C5, P1, P3, P4, P6, P8).
 */
#include "check_impl.h"

/* --- clists (C1, C2) ------------------------------------------------------------------------------------------- */

static void raise_max(uint64_t *maxp, uint64_t n)
{
	if (n > *maxp)
		*maxp = n;
}

static void count_entry(struct vat_tally *v, vref_t vref)
{
	bool promise = vref_is_promise(vref);

	if (vref_is_import(vref)) {
		v->n_imports++;
		raise_max(promise ? &v->max_import_promise : &v->max_import, vref_number(vref));
		return;
	}
	v->n_exports++;
	if (!(vref.bits & REF_FORM_MASK))
		raise_max(promise ? &v->max_export_promise : &v->max_export, vref_number(vref));
}

static int count_object_entry(struct check *c, const struct row *row, vref_t vref, bool flagged)
{
	struct tally *t;
	bool importer;
	int r;

	r = check_tally_take(c, key_part(row, 1), &t);
	if (r < 0)
		return error_trace(r);
	if (!vref_is_import(vref)) {
		if (t->owner)
			check_row_problem(c, row, "a second owner's entry");
		t->owner = key_part(row, 0);
		t->owner_survives = vref_survives(vref);
		return 0;
	}
	t->recognizable++;
	t->reachable += flagged;
	r = check_has2(c, T_IMPORTER, key_part(row, 1), key_part(row, 0), &importer);
	if (r < 0)
		return error_trace(r);
	if (!importer)
		check_row_problem(c, row, "imported, but not among the importers");
	return 0;
}

/* Who brought it is charged; only imports have that (V7). */
static void count_import(struct check *c, const struct row *row, vref_t vref, uint32_t introducer)
{
	struct charge_tally *t;

	if (!vref_is_import(vref)) {
		if (introducer)
			check_row_problem(c, row, "introduced by v%u, but no import", introducer);
		return;
	}
	t = check_charge(c, row, key_part(row, 0), introducer ? endpoint_vat(introducer).bits : 0);
	if (t)
		t->counted.n_imports++;
}

static int see_clist(struct check *c, const struct row *row)
{
	uint64_t endpoint = key_part(row, 0), kref = key_part(row, 1);
	struct row_clist entry, back;
	struct vat_tally *v;
	const void *val;
	uint8_t key[16];
	char text[REF_TEXT_MAX];
	size_t len;
	vref_t vref;
	int r;

	if (!row_clist_read(row->val, row->len, &entry) || !vref_is_legal((vref_t){ entry.ref }) ||
	    (entry.ref & REF_PROMISE) != (kref & REF_PROMISE)) {
		check_row_problem(c, row, "the row does not read");
		return 0;
	}
	vref.bits = entry.ref;
	vref_format(vref, text);
	r = check_get(c, T_EREF, key, key_u64_u64(key, endpoint, vref.bits), &val, &len);
	if (r < 0)
		return error_trace(r);
	if (r || !row_clist_read(val, len, &back) || back.ref != kref)
		check_row_problem(c, row, "is %s, which does not lead back", text);
	else if (back.flags != entry.flags)
		check_row_problem(c, row, "flags are %u, those of %s are %u", entry.flags, text, back.flags);
	if (check_endpoint_known(c, row, endpoint)) {
		v = check_endpoint_vat(c, endpoint);
		if (v) {
			count_entry(v, vref);
			count_import(c, row, vref, entry.introducer);
		}
	}
	if (!(kref & REF_PROMISE))
		return count_object_entry(c, row, vref, entry.flags & CLIST_F_REACHABLE);
	if (!(entry.flags & CLIST_F_REACHABLE))
		check_row_problem(c, row, "a promise that is not flagged reachable");
	return check_count(c, row, kref, 1);
}

static int see_eref(struct check *c, const struct row *row)
{
	struct row_clist entry, back;
	const void *val;
	uint8_t key[16];
	size_t len;
	int r;

	check_endpoint_known(c, row, key_part(row, 0));
	if (!row_clist_read(row->val, row->len, &entry) || !check_kref_is_legal(entry.ref)) {
		check_row_problem(c, row, "the row does not read");
		return 0;
	}
	r = check_get(c, T_CLIST, key, key_u64_u64(key, key_part(row, 0), entry.ref), &val, &len);
	if (r < 0)
		return error_trace(r);
	if (r || !row_clist_read(val, len, &back) || back.ref != key_part(row, 1))
		check_row_problem(c, row, "is %s, which does not lead back",
				  kref_format((kref_t){ entry.ref }, (char[REF_TEXT_MAX]){ 0 }));
	return 0;
}

static int see_importer(struct check *c, const struct row *row)
{
	struct row_clist entry;
	const void *val;
	uint8_t key[16];
	size_t len;
	int r;

	check_endpoint_known(c, row, key_part(row, 1));
	r = check_get(c, T_CLIST, key, key_u64_u64(key, key_part(row, 1), key_part(row, 0)), &val, &len);
	if (r < 0)
		return error_trace(r);
	if (r || !row_clist_read(val, len, &entry) || !(entry.ref & REF_MINUS))
		check_row_problem(c, row, "does not import it");
	return 0;
}

/* --- queues ---------------------------------------------------------------------------------------------------- */

static int count_message(struct check *c, const struct row *row, const struct row_item *item,
			 const struct capdata *value)
{
	uint64_t holder = key_part(row, 0);
	struct tally *t;
	int r;

	r = check_count(c, row, item->target, 1);
	if (!r)
		r = check_count_slots(c, row, value);
	if (r < 0 || !item->result)
		return r < 0 ? error_trace(r) : 0;
	if (!(item->result & REF_PROMISE) || !check_kref_is_legal(item->result)) {
		check_row_problem(c, row, "the result is no promise");
		return 0;
	}
	r = check_count(c, row, item->result, 1);
	if (!r)
		r = check_tally_take(c, item->result, &t);
	if (r < 0)
		return error_trace(r);
	if (t->behind)
		check_row_problem(c, row, "the result is another message's, too");
	t->behind = holder;
	return 0;
}

static int see_notify(struct check *c, const struct row *row, const struct row_item *item)
{
	const void *val;
	uint8_t key[16];
	uint64_t seq;
	size_t len;
	int r;

	if (!(item->target & REF_PROMISE) || (key_part(row, 0) & REF_PROMISE)) {
		check_row_problem(c, row, "a notify of no promise, or to one");
		return 0;
	}
	r = check_get(c, T_NOTIFYING, key, key_u64_u64(key, key_part(row, 0), item->target), &val, &len);
	if (r < 0)
		return error_trace(r);
	if (!r && len == sizeof seq)
		memcpy(&seq, val, sizeof seq);
	if (r || len != sizeof seq || seq != key_part(row, 1))
		check_row_problem(c, row, "a notify that is not listed as the queued one");
	return check_count(c, row, item->target, 1);
}

static void count_charge(struct check *c, const struct row *row, const struct row_item *item)
{
	struct charge_tally *t = item->kind == ITEM_MESSAGE ? check_charge(c, row, key_part(row, 0), item->sender) : NULL;

	if (t) {
		t->counted.n_messages++;
		t->counted.bytes += row->len;
	}
}

/* The queue that it waits in: a vat's, the kernel's, or that of the promise it is for. */
static int count_item(struct check *c, const struct row *row, const struct row_item *item)
{
	uint64_t holder = key_part(row, 0);
	struct vat_tally *v;
	struct tally *t;
	int r;

	if (holder & REF_PROMISE) {
		if (item->target != holder)
			check_row_problem(c, row, "waits for a promise that is not its target");
		r = check_tally_take(c, holder, &t);
		if (r < 0)
			return error_trace(r);
		t->n_waiting++;
		count_charge(c, row, item);
		return 0;
	}
	if (!check_endpoint_known(c, row, holder))
		return 0;
	if (holder == ENDPOINT_K.bits) {
		v = check_endpoint_vat(c, item->sender);
		if (v)
			v->n_calls++;
		return 0;
	}
	v = check_endpoint_vat(c, holder);
	if (v) {
		v->n_queued++;
		v->queued_bytes += row->len;
		count_charge(c, row, item);
	}
	return 0;
}

static int see_item(struct check *c, const struct row *row)
{
	struct capdata value;
	struct row_item item;
	int r;

	if (!row_item_read(row->val, row->len, &item, &value)) {
		check_row_problem(c, row, "the row does not read");
		return 0;
	}
	if (key_part(row, 1) >= c->counters[NEXT_SEQ])
		check_row_problem(c, row, "%s is %llu", META_NEXT_SEQ, (unsigned long long)c->counters[NEXT_SEQ]);
	r = count_item(c, row, &item);
	if (!r)
		r = item.kind == ITEM_NOTIFY ? see_notify(c, row, &item) : count_message(c, row, &item, &value);
	return r < 0 ? error_trace(r) : 0;
}

static int see_notifying(struct check *c, const struct row *row)
{
	struct capdata value;
	struct row_item item;
	const void *val;
	uint64_t seq;
	uint8_t key[16];
	size_t len;
	int r;

	if (row->len != sizeof seq) {
		check_row_problem(c, row, "the row does not read");
		return 0;
	}
	memcpy(&seq, row->val, sizeof seq);
	r = check_get(c, T_QUEUE, key, key_u64_u64(key, key_part(row, 0), seq), &val, &len);
	if (r < 0)
		return error_trace(r);
	if (r || !row_item_read(val, len, &item, &value) || item.kind != ITEM_NOTIFY || item.target != key_part(row,
														1))
		check_row_problem(c, row, "queue item %llu is not that notify", (unsigned long long)seq);
	return 0;
}

/* --- promises' other tables, holds ----------------------------------------------------------------------------- */

static int promise_get(struct check *c, uint64_t kref, struct row_promise *out, bool *hasp)
{
	const void *val;
	uint8_t key[8];
	size_t len;
	int r = check_get(c, T_PROMISE, key, key_u64(key, kref), &val, &len);

	*hasp = !r && row_promise_read(val, len, out);
	return r < 0 ? error_trace(r) : 0;
}

static bool is_settled(const struct row_promise *p)
{
	return p->state == PROMISE_FULFILLED || p->state == PROMISE_REJECTED;
}

static bool names_promises(const struct capdata *value)
{
	for (size_t i = 0; i < value->n_slots; i++)
		if (capdata_slot(value, i) & REF_PROMISE)
			return true;
	return false;
}

static int see_value(struct check *c, const struct row *row)
{
	struct row_promise promise;
	struct capdata value;
	struct tally *t;
	bool has;
	int r;

	if (!capdata_read(row->val, row->len, &value)) {
		check_row_problem(c, row, "the value does not read");
		return 0;
	}
	r = promise_get(c, key_part(row, 0), &promise, &has);
	if (r < 0)
		return error_trace(r);
	if (!has || !is_settled(&promise))
		check_row_problem(c, row, "a value of a promise that is not settled");
	else if ((promise.flags & PROMISE_F_REF) && (promise.state != PROMISE_FULFILLED || value.n_slots != 1))
		check_row_problem(c, row, "flagged REF with %zu slots", value.n_slots);
	if (has && !!(promise.flags & PROMISE_F_PROMISES) != names_promises(&value))
		check_row_problem(c, row, "flagged to %s promises", promise.flags & PROMISE_F_PROMISES ? "name" : "name no");
	r = check_tally_take(c, key_part(row, 0), &t);
	if (r < 0)
		return error_trace(r);
	t->has_value = true;
	r = check_count_slots(c, row, &value);
	return r < 0 ? error_trace(r) : 0;
}

/* A settled promise without a value of its own shares another's, and counts it. */
static int see_shared(struct check *c, const struct row *row)
{
	struct row_promise p, source;
	bool has;
	int r;

	if (!row_promise_read(row->val, row->len, &p) || !is_settled(&p) || !p.link)
		return 0;	/* what does not read is said by see_promise */
	r = promise_get(c, p.link, &source, &has);
	if (r < 0)
		return error_trace(r);
	if (!has || source.link || source.state != p.state || source.flags != p.flags)
		check_row_problem(c, row, "shares the value of a promise that is gone, or that ended otherwise");
	return check_count(c, row, p.link, 1);
}

static int see_forward(struct check *c, const struct row *row)
{
	struct row_promise source;
	bool has;
	int r;

	r = promise_get(c, key_part(row, 1), &source, &has);
	if (r < 0)
		return error_trace(r);
	if (!has || source.state != PROMISE_FORWARDED || source.link != key_part(row, 0))
		check_row_problem(c, row, "the source is not forwarded there");
	return check_count(c, row, key_part(row, 0), 1);
}

static int see_decided(struct check *c, const struct row *row)
{
	struct row_promise promise;
	struct vat_tally *v;
	bool has;
	int r;

	r = promise_get(c, key_part(row, 1), &promise, &has);
	if (r < 0)
		return error_trace(r);
	if (!has || promise.state != PROMISE_UNRESOLVED || promise.decider != key_part(row, 0)) {
		check_row_problem(c, row, "does not decide it");
		return 0;
	}
	if (!check_endpoint_known(c, row, key_part(row, 0)))
		return 0;
	v = check_endpoint_vat(c, key_part(row, 0));
	if (!v || v->sweep)
		return 0;
	/* P8: rejected by the sweep at the latest. */
	if (v->row.status == VAT_TERMINATED)
		check_row_problem(c, row, "decided by a vat that is gone");
	else if (promise.decider_incarnation != v->row.incarnation)
		check_row_problem(c, row, "decided by incarnation %u, which is gone; the vat is in %u",
				  promise.decider_incarnation, v->row.incarnation);
	return 0;
}

static int see_subscriber(struct check *c, const struct row *row)
{
	struct row_promise promise;
	bool has;
	int r;

	check_endpoint_known(c, row, key_part(row, 1));
	r = promise_get(c, key_part(row, 0), &promise, &has);
	if (r < 0)
		return error_trace(r);
	if (!has || is_settled(&promise))
		check_row_problem(c, row, "waits for a promise that is settled or gone");
	return 0;
}

static int see_hold(struct check *c, const struct row *row)
{
	uint8_t kind = row->key[8];
	uint64_t owner = get_be64(row->key + 9);
	struct row_hold hold;
	bool sub;
	int r;

	if (!row_hold_read(row->val, row->len, &hold) || !hold.count || kind < HOLD_ROOT || kind > HOLD_HOST) {
		check_row_problem(c, row, "the row does not read");
		return 0;
	}
	if (kind == HOLD_ROOT || kind == HOLD_RESULT) {
		r = check_has1(c, T_SUBCLUSTER, owner, &sub);
		if (r < 0)
			return error_trace(r);
		if (!sub)
			check_row_problem(c, row, "held for a subcluster that is gone");
	} else if (kind != HOLD_HOST && owner) {
		check_row_problem(c, row, "has an owner, which this kind has not");
	}
	return check_count(c, row, key_part(row, 0), hold.count);
}

/* --- objects and promises compared ----------------------------------------------------------------------------- */

static void check_owner(struct check *c, const struct row_object *o, const struct tally *t)
{
	struct vat_tally *v = check_endpoint_vat(c, o->owner);

	if (t->owner && t->owner != o->owner) {
		check_same_ref(c, T_OBJECT, t->kref, "owner", o->owner, t->owner);
		return;
	}
	if (!o->owner || o->owner == ENDPOINT_K.bits)
		return;
	if (!endpoint_is_vat((endpoint_t){ o->owner }) ||
	    endpoint_number((endpoint_t){ o->owner }) >= c->counters[NEXT_VAT]) {
		check_problem(c, T_OBJECT, t->kref, "owned by an endpoint that never was");
		return;
	}
	if (t->owner && !!(o->flags & OBJECT_F_SURVIVES) != t->owner_survives)
		check_problem(c, T_OBJECT, t->kref, "flagged to %s its incarnation, but its vref does%s",
			o->flags & OBJECT_F_SURVIVES ? "survive" : "end with", t->owner_survives ? "" : " not");
	/*
	 * A vat that is terminated stays the owner for as long as the row lives; what a restart left, the sweep
	 * takes.
	 */
	if (!v || v->row.status == VAT_TERMINATED || v->sweep)
		return;
	if (!t->owner)
		check_problem(c, T_OBJECT, t->kref, "owned by v%llu, which has no entry for it",
			      (unsigned long long)v->number);
	else if (!t->owner_survives && o->owner_incarnation != v->row.incarnation)
		check_problem(c, T_OBJECT, t->kref, "owned by incarnation %u of v%llu, which is in %u",
			      o->owner_incarnation, (unsigned long long)v->number, v->row.incarnation);
}

static int see_object(struct check *c, const struct row *row)
{
	struct row_object o;
	struct tally *t;
	int r;

	r = check_tally_take(c, key_part(row, 0), &t);
	if (r < 0)
		return error_trace(r);
	t->row = true;
	if (!row_object_read(row->val, row->len, &o)) {
		check_row_problem(c, row, "the row does not read");
		return 0;
	}
	if ((t->kref & REF_NUMBER_MASK) >= c->counters[NEXT_OBJECT])
		check_row_problem(c, row, "%s is %llu", META_NEXT_OBJECT,
				  (unsigned long long)c->counters[NEXT_OBJECT]);
	check_same_number(c, T_OBJECT, t->kref, "n_reachable", o.n_reachable, t->reachable);
	check_same_number(c, T_OBJECT, t->kref, "n_recognizable", o.n_recognizable, t->recognizable);
	check_owner(c, &o, t);
	if (t->in_service && o.owner != ENDPOINT_K.bits)
		check_row_problem(c, row, "a service that is not the kernel's");
	/* G3: the row goes with its last entry and its last count. */
	if (!t->owner && !t->recognizable && !t->in_service)
		check_row_problem(c, row, "kept, though nobody has or owns it");
	return 0;
}

static int check_decider(struct check *c, const struct row_promise *p, const struct tally *t)
{
	bool decided;
	int r;

	if (p->decider) {
		r = check_has2(c, T_DECIDED, p->decider, t->kref, &decided);
		if (r < 0)
			return error_trace(r);
		if (!decided)
			check_problem(c, T_PROMISE, t->kref, "not listed among what its decider decides");
	}
	if (p->state != PROMISE_UNRESOLVED) {
		check_same_ref(c, T_PROMISE, t->kref, "decider", p->decider, 0);
		if (t->behind)
			check_problem(c, T_PROMISE, t->kref,
				      "settled or forwarded, but the result of a queued message");
		return 0;
	}
	/* A call that the kernel is working on stays in its queue; the kernel decides it, or nobody yet. */
	if (p->decider == ENDPOINT_K.bits && t->behind == ENDPOINT_K.bits)
		return 0;
	if (p->decider && t->behind)
		check_problem(c, T_PROMISE, t->kref, "decided, but the result of a message that is still queued");
	else if (!p->decider && !t->behind)
		check_problem(c, T_PROMISE, t->kref, "nobody decides it, and no queued message will");
	if (!p->decider)
		check_same_ref(c, T_PROMISE, t->kref, "link", p->link, t->behind);
	else
		check_same_ref(c, T_PROMISE, t->kref, "link", p->link, 0);
	return 0;
}

static int check_link(struct check *c, const struct row_promise *p, const struct tally *t)
{
	struct row_promise target;
	bool listed, has;
	int r;

	if (p->state != PROMISE_FORWARDED)
		return 0;
	r = check_has2(c, T_FORWARD, p->link, t->kref, &listed);
	if (!r)
		r = promise_get(c, p->link, &target, &has);
	if (r < 0)
		return error_trace(r);
	if (!listed)
		check_problem(c, T_PROMISE, t->kref, "forwarded, but not listed at its target");
	if (!has || is_settled(&target))
		check_problem(c, T_PROMISE, t->kref, "forwarded to a promise that is settled or gone");
	return 0;
}

static int see_promise(struct check *c, const struct row *row)
{
	struct row_promise p;
	bool dead;
	struct tally *t;
	int r;

	r = check_tally_take(c, key_part(row, 0), &t);
	if (r < 0)
		return error_trace(r);
	t->row = true;
	if (!row_promise_read(row->val, row->len, &p)) {
		check_row_problem(c, row, "the row does not read");
		return 0;
	}
	if ((t->kref & REF_NUMBER_MASK) >= c->counters[NEXT_PROMISE])
		check_row_problem(c, row, "%s is %llu", META_NEXT_PROMISE,
				  (unsigned long long)c->counters[NEXT_PROMISE]);
	check_same_number(c, T_PROMISE, t->kref, "n_refs", p.n_refs, t->refs);
	check_same_number(c, T_PROMISE, t->kref, "n_waiting", p.n_waiting, t->n_waiting);
	if (!t->refs) {
		r = check_has2(c, T_SUSPECT, SUSPECT_DEAD, t->kref, &dead);
		if (r < 0)
			return error_trace(r);
		if (!dead)
			check_row_problem(c, row, "kept, though nobody has it");
	}
	if ((is_settled(&p) && !p.link) != t->has_value)
		check_row_problem(c, row, "%s", !t->has_value ? "settled, but has no value" :
				  is_settled(&p) ? "shares a value, but has one of its own" : "not settled, but has a value");
	if (p.state != PROMISE_UNRESOLVED && t->n_waiting)
		check_row_problem(c, row, "messages wait, though it is settled or forwarded");
	if (p.state == PROMISE_FORWARDED)
		t->link = p.link;
	r = check_decider(c, &p, t);
	if (!r)
		r = check_link(c, &p, t);
	return r < 0 ? error_trace(r) : 0;
}

/* P9: what the search for circles begins with, and what nobody holds and has not been deleted yet. */
static int see_suspect(struct check *c, const struct row *row)
{
	uint64_t kind = key_part(row, 0);
	struct row_promise p;
	bool has;
	int r;

	r = promise_get(c, key_part(row, 1), &p, &has);
	if (r < 0)
		return error_trace(r);
	if (kind != SUSPECT_DEAD && kind != SUSPECT_CIRCLE)
		check_row_problem(c, row, "no such kind of suspect");
	else if (!has || !is_settled(&p))
		check_row_problem(c, row, "a promise that is not settled, or gone");
	else if (kind == SUSPECT_DEAD && p.n_refs)
		check_row_problem(c, row, "to be deleted, but held");
	else if (kind == SUSPECT_CIRCLE && !(p.flags & PROMISE_F_PROMISES))
		check_row_problem(c, row, "cannot be part of a circle");
	return 0;
}

/* Forwarding ends somewhere (P6). Each promise is walked over once: an older stamp is known to end. */
static void check_cycles(struct check *c)
{
	uint32_t stamp = 0;

	for (size_t i = 0; i < c->n_slots; i++) {
		struct tally *t = c->slots[i];

		if (!t || !t->link || t->stamp)
			continue;
		stamp++;
		for (; t && t->link && !t->stamp; t = check_tally_find(c, t->link))
			t->stamp = stamp;
		if (t && t->link && t->stamp == stamp)
			check_problem(c, T_PROMISE, t->kref, "forwarded to itself through a cycle");
	}
}

/* Whatever is named anywhere has a row. */
static void check_rows(struct check *c)
{
	for (size_t i = 0; i < c->n_slots; i++) {
		struct tally *t = c->slots[i];

		if (!t || t->row)
			continue;
		if (t->kref & REF_PROMISE)
			check_problem(c, T_PROMISE, t->kref, "has no row, counted %llu", (unsigned long long)t->refs);
		else
			check_problem(c, T_OBJECT, t->kref, "has no row, counted %llu",
				      (unsigned long long)t->recognizable);
	}
}

/* What counts first; OBJECT and PROMISE when all has been counted. */
static const struct { enum table t; row_fn fn; } passes[] = {
	{ T_CLIST, see_clist }, { T_EREF, see_eref }, { T_IMPORTER, see_importer }, { T_QUEUE, see_item },
	{ T_NOTIFYING, see_notifying }, { T_VALUE, see_value }, { T_FORWARD, see_forward }, { T_DECIDED, see_decided },
	{ T_SUBSCRIBER, see_subscriber }, { T_HOLD, see_hold }, { T_PROMISE, see_shared }, { T_OBJECT, see_object }, { T_PROMISE, see_promise },
	{ T_SUSPECT, see_suspect },
};

int check_refs(struct check *c)
{
	int r;

	for (size_t i = 0; i < ARRAY_LEN(passes); i++) {
		r = check_each(c, passes[i].t, passes[i].fn);
		if (r < 0)
			return error_trace(r);
	}
	check_cycles(c);
	check_rows(c);
	return 0;
}
