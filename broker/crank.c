/* SPDX-License-Identifier: Apache-2.0 */
#include "crank.h"

#include <inttypes.h>

#include "charge.h"
#include "clist.h"
#include "deadline.h"
#include "gc.h"
#include "launch.h"
#include "live.h"
#include "object.h"
#include "promise.h"
#include "router.h"
#include "syscall.h"
#include "underway.h"
#include "vat.h"

#define NOTIFY_MAX_BYTES	(WIRE_MAX_FRAME / 2)	/* P7 */
#define ENDED_BUDGET		256u			/* items ended before delivery, in one go */
#define SYSCALLS_KEEP		(256u << 10)		/* buffers above this are given back after the crank */

#define PACE_NS			UINT64_C(20000000)	/* what was sent at once is to be done in this time */

void crank_init(struct crank *c)
{
	*c = (struct crank){ .state = CRANK_IDLE };
	crank_new_process(c);
}

void crank_new_process(struct crank *c)
{
	assert(c->state == CRANK_IDLE);
	c->window = c->pace = 1;
}

/* What was the head's alone; memory is kept for the next one. */
static void head_reset(struct crank *c)
{
	if (c->syscalls.size > SYSCALLS_KEEP)
		wire_buf_deinit(&c->syscalls);
	wire_buf_reset(&c->syscalls);
	c->n_syscalls = c->n_slots = c->n_messages = 0;
	if (c->writes)
		omap_clear(c->writes);
}

static void crank_reset(struct crank *c)
{
	for (; c->head < c->n_sent; c->head++)
		item_deinit(&c->sent[c->head].item);
	c->head = c->n_sent = 0;
	c->listed.n = 0;
	c->answer_kept = false;
	head_reset(c);
	c->state = CRANK_IDLE;
}

void crank_deinit(struct crank *c)
{
	crank_reset(c);
	free(c->sent);
	names_deinit(&c->names);
	u64_list_deinit(&c->listed);
	wire_buf_deinit(&c->syscalls);
	c->writes = omap_free(c->writes);
}

uint64_t crank_killer(const struct delivery *d)
{
	static const uint64_t other[] = {
		[WORK_START] = KILLER_START, [WORK_GC] = KILLER_GC, [WORK_REAP] = KILLER_REAP, [WORK_WAKE] = KILLER_WAKE,
	};

	return d->work == WORK_MESSAGE || d->work == WORK_NOTIFY ? d->item.seq : other[d->work];
}

/* --- prepare ------------------------------------------------------------------------------------------------- */

static int encode_value(struct kernel *k, struct vat *v, const struct capdata *value, uint64_t **slotsp)
{
	_cleanup_free_ uint64_t *slots = malloc(value->n_slots * sizeof(*slots) + 1);
	size_t i;
	int r;

	if (!slots)
		return error_origin(ENOMEM);
	for (i = 0; i < value->n_slots; i++) {
		vref_t vref;

		r = translate_out(k, v, &v->crank.names, (kref_t){ capdata_slot(value, i) }, &vref);
		if (r < 0)
			return r;
		slots[i] = vref.bits;
	}
	*slotsp = TAKE_PTR(slots);
	return 0;
}

static int encode_start(struct kernel *k, struct vat *v, const struct delivery *d, struct wire_buf *b)
{
	_cleanup_free_ uint64_t *slots = NULL;
	_cleanup_free_ uint8_t *raw = NULL;
	struct capdata value = { .body = (const uint8_t *)"#{}", .body_len = 3 };
	const void *val;
	uint8_t key[8];
	size_t len;
	int r;

	r = store_get(k->store, T_VAT_PARAM, key, key_u64(key, v->number), &val, &len);
	if (r < 0)
		return error_trace(r);
	if (r == 0) {
		raw = malloc(len);
		if (!raw)
			return error_origin(ENOMEM);
		memcpy(raw, val, len);
		if (!capdata_read(raw, len, &value))
			return kernel_corrupt("store: parameters of v%" PRIu64 " are damaged", v->number);
	}
	r = encode_value(k, v, &value, &slots);
	if (r < 0)
		return r;
	wire_begin(b, WIRE_START_VAT, 0, d->number);
	wire_put_capdata(b, value.body, value.body_len, slots, value.n_slots);
	wire_end(b);
	return 0;
}

static int encode_message(struct kernel *k, struct vat *v, const struct delivery *d, struct wire_buf *b)
{
	const struct item *i = &d->item;
	_cleanup_free_ uint64_t *slots = NULL;
	vref_t target, result = VREF_ROOT;	/* bits 0 on the wire: no result */
	struct capdata value;
	int r;

	if (!capdata_read(i->raw, i->len, &value))
		return kernel_corrupt("queue: malformed item %" PRIu64, i->seq);
	/* D2: target, arguments, result. */
	r = translate_out(k, v, &v->crank.names, (kref_t){ i->row.target }, &target);
	if (r >= 0)
		r = encode_value(k, v, &value, &slots);
	if (r >= 0 && i->row.result)
		r = translate_out(k, v, &v->crank.names, (kref_t){ i->row.result }, &result);
	if (r < 0)
		return r;
	wire_begin(b, WIRE_MESSAGE, 0, d->number);
	wire_u64(b, target.bits);
	wire_u64(b, result.bits);
	wire_put_capdata(b, value.body, value.body_len, slots, value.n_slots);
	wire_end(b);
	return 0;
}

/* Promises of one notify: the one it is for and settled ones reachable through values (P7); mostly that one alone. */
#define CLOSURE_FEW 8u
struct closure { struct u64_list *list; size_t first; struct omap *seen /* once there are many */; size_t bytes; };

static bool closure_has(const struct closure *cl, kref_t ref)
{
	uint8_t key[8];
	size_t i;

	if (cl->seen)
		return omap_find(cl->seen, key, key_u64(key, ref.bits));
	for (i = cl->first; i < cl->list->n; i++)
		if (cl->list->v[i] == ref.bits)
			return true;
	return false;
}

static int closure_note(struct closure *cl, kref_t ref)
{
	size_t i = cl->list->n;
	uint8_t key[8];
	int r = u64_list_push(cl->list, ref.bits);

	if (!cl->seen && cl->list->n - cl->first > CLOSURE_FEW) {
		cl->seen = omap_new();
		if (!cl->seen)
			return error_origin(ENOMEM);
		i = cl->first;
	}
	for (; r >= 0 && cl->seen && i < cl->list->n; i++)
		r = omap_put(cl->seen, key, key_u64(key, cl->list->v[i]), NULL, 0, false);
	return r;
}

static int closure_add(struct kernel *k, struct closure *cl, kref_t ref, bool first)
{
	struct row_promise row;
	struct capdata value;
	int r;

	if (closure_has(cl, ref))
		return 0;
	r = promise_load(k, ref, &row);
	if (r)
		return r < 0 ? r : kernel_corrupt("a value names an unknown promise");
	if (row.state != PROMISE_FULFILLED && row.state != PROMISE_REJECTED)
		return 0;
	r = promise_value(k, ref, &value);
	if (r < 0)
		return r;
	if (!first && (cl->list->n - cl->first >= WIRE_MAX_NOTIFY ||
		       cl->bytes + capdata_size(value.body_len, value.n_slots) > NOTIFY_MAX_BYTES))
		return 0;	/* an ordinary import; the vat may subscribe */
	cl->bytes += capdata_size(value.body_len, value.n_slots) + 32;
	return closure_note(cl, ref);
}

static int closure_collect(struct kernel *k, struct closure *cl, kref_t ref)
{
	size_t i, s;
	int r;

	r = closure_add(k, cl, ref, true);
	for (i = cl->first; r >= 0 && i < cl->list->n; i++) {
		struct capdata value;

		r = promise_value(k, (kref_t){ cl->list->v[i] }, &value);
		for (s = 0; r >= 0 && s < value.n_slots; s++) {
			kref_t slot = { capdata_slot(&value, s) };

			if (kref_is_promise(slot))
				r = closure_add(k, cl, slot, false);
		}
	}
	return r;
}

static int encode_resolution(struct kernel *k, struct vat *v, kref_t ref, struct wire_buf *b)
{
	_cleanup_free_ uint64_t *slots = NULL;
	struct row_promise row;
	struct capdata value;
	uint32_t flags;
	vref_t vref;
	int r;

	r = promise_load(k, ref, &row);
	if (r)
		return r < 0 ? r : kernel_corrupt("notify of an unknown promise");
	r = translate_out(k, v, &v->crank.names, ref, &vref);
	if (r < 0)
		return r;
	r = promise_value(k, ref, &value);
	if (r < 0)
		return r;
	r = encode_value(k, v, &value, &slots);
	if (r < 0)
		return r;
	flags = (row.state == PROMISE_REJECTED ? WIRE_R_REJECTED : 0) | (row.flags & PROMISE_F_REF ? WIRE_R_REF : 0) |
		(row.flags & PROMISE_F_KERNEL ? WIRE_R_KERNEL : 0);
	wire_put_resolution(b, vref, flags, value.body, value.body_len, slots, value.n_slots);
	return 0;
}

static int encode_notify(struct kernel *k, struct vat *v, struct delivery *d, struct wire_buf *b)
{
	struct crank *c = &v->crank;
	struct closure cl = { .list = &c->listed, .first = d->listed };
	const uint64_t *listed;
	size_t i;
	int r;

	r = closure_collect(k, &cl, (kref_t){ d->item.row.target });
	omap_free(cl.seen);
	if (r < 0)
		return r;
	d->n_listed = c->listed.n - d->listed;
	listed = c->listed.v + d->listed;
	wire_begin(b, WIRE_NOTIFY, 0, d->number);
	wire_u32(b, d->n_listed);
	wire_u32(b, 0);
	for (i = 0; r >= 0 && i < d->n_listed; i++)
		r = encode_resolution(k, v, (kref_t){ listed[i] }, b);
	wire_end(b);
	for (i = 0; r >= 0 && i < d->n_listed; i++)
		r = names_leave(&c->names, (kref_t){ listed[i] });
	return r;
}

static int encode_gc(struct kernel *k, struct vat *v, struct delivery *d, struct wire_buf *b)
{
	static const enum wire_type types[] = {
		[GC_DROP_EXPORT] = WIRE_DROP_EXPORTS, [GC_RETIRE_EXPORT] = WIRE_RETIRE_EXPORTS,
		[GC_RETIRE_IMPORT] = WIRE_RETIRE_IMPORTS,
	};
	const struct u64_list *krefs = &v->crank.listed;
	size_t i;
	int r;

	d->n_listed = krefs->n;
	wire_begin(b, types[d->gc], 0, d->number);
	wire_u32(b, krefs->n);
	wire_u32(b, 0);
	for (i = 0; i < krefs->n; i++) {
		bool reachable;
		vref_t vref;

		r = clist_find_kref(k, endpoint_vat(v->number), (kref_t){ krefs->v[i] }, &vref, &reachable);
		if (r)
			return r < 0 ? r : kernel_corrupt("gc action without its entry");
		wire_u64(b, vref.bits);
	}
	wire_end(b);
	return 0;
}

/* The head of the queue is no delivery any more: end it here. */
static int end_item(struct kernel *k, struct vat *v, struct item *i, const struct route *route)
{
	endpoint_t e = endpoint_vat(v->number);
	int r;

	assert(!route || route->kind != ROUTE_QUEUE);
	r = kernel_savepoint(k);
	if (r < 0)
		return r;
	if (i->row.kind == ITEM_NOTIFY) {
		r = queue_drop_notify(k, e, i);
	} else {
		r = queue_remove(k, e.bits, i->seq);
		if (r >= 0)
			r = router_refuse(k, i, route);
	}
	if (r >= 0)
		r = kernel_release(k);
	if (r >= 0)
		underway_acquit(k, UNDERWAY_DELIVERY, v->number, i->seq);
	return r;
}

enum { PICKED = 1, NOTHING = 0, ENDED = 2 };

/*
 * The next item of the queue. NOTHING also when it is none to be sent ahead: of a notify whose promise is not in the clist
 * now one cannot say whether it will be when its turn comes.
 */
static int pick_item(struct kernel *k, struct vat *v, struct delivery *d)
{
	_cleanup_(item_deinit) struct item i = ITEM_INIT;
	struct crank *c = &v->crank;
	endpoint_t e = endpoint_vat(v->number);
	struct route route = { 0 };
	bool reachable;
	vref_t vref;
	int r;

	if (v->row.n_queued == c->n_sent)
		return NOTHING;
	r = queue_head(k, e.bits, c->n_sent ? c->next_seq : v->head_seq, &i);
	if (r)
		return r < 0 ? r : NOTHING;
	underway_note(k, UNDERWAY_DELIVERY, v->number, i.seq);
	c->next_seq = i.seq + 1;
	if (!c->n_sent)
		v->head_seq = i.seq;
	if (i.row.kind == ITEM_NOTIFY) {
		r = clist_find_kref(k, e, (kref_t){ i.row.target }, &vref, &reachable);
		if (r < 0)
			return r;
		if (r > 0 && c->n_sent)
			return NOTHING;
		if (r > 0) {	/* P7: came with an earlier notify */
			r = end_item(k, v, &i, NULL);
			return r < 0 ? r : ENDED;
		}
	} else {
		r = router_route(k, (kref_t){ i.row.target }, (kref_t){ i.row.result }, &route);
		if (r < 0)
			return r;
		if (route.kind != ROUTE_QUEUE || route.holder != e.bits) {
			r = end_item(k, v, &i, &route);
			return r < 0 ? r : ENDED;
		}
	}
	d->work = i.row.kind == ITEM_NOTIFY ? WORK_NOTIFY : WORK_MESSAGE;
	d->item = i;
	i = (struct item)ITEM_INIT;
	return PICKED;
}

/* Start, then GC, then reap, then by turns a wake and the head of the queue. */
static int pick(struct kernel *k, struct vat *v, struct delivery *d)
{
	bool wake;
	int r;

	if (v->crank.n_sent)
		return pick_item(k, v, d);
	if (v->row.status == VAT_STARTING) {
		d->work = WORK_START;
		return PICKED;
	}
	if (v->gc_maybe) {
		r = gc_pick(k, v, &d->gc, &v->crank.listed);
		if (r < 0)
			return r;
		if (r == 0) {
			d->work = WORK_GC;
			return PICKED;
		}
		r = gc_forget_stale(k, v);
		if (r < 0)
			return r;
		v->gc_maybe = false;
	}
	if (v->row.flags & VAT_F_REAP) {
		d->work = WORK_REAP;
		return PICKED;
	}
	wake = v->wake_pending && (v->wake_turn || !v->row.n_queued);
	if (wake) {
		v->wake_pending = false;
		d->work = WORK_WAKE;
	}
	v->wake_turn = !wake;
	return wake ? PICKED : pick_item(k, v, d);
}

static int encode(struct kernel *k, struct vat *v, struct delivery *d, struct wire_buf *b)
{
	switch (d->work) {
	case WORK_START:
		return encode_start(k, v, d, b);
	case WORK_MESSAGE:
		return encode_message(k, v, d, b);
	case WORK_NOTIFY:
		return encode_notify(k, v, d, b);
	case WORK_GC:
		return encode_gc(k, v, d, b);
	case WORK_REAP:
	case WORK_WAKE:
		wire_begin(b, d->work == WORK_REAP ? WIRE_BRING_OUT_YOUR_DEAD : WIRE_WAKE, 0, d->number);
		wire_end(b);
		return 0;
	}
	return error_origin(EINVAL);
}

/* Who is charged for the imports that it brings: a notify was asked for by the vat itself. */
static uint64_t introducer(const struct vat *v, const struct delivery *d)
{
	if (d->work == WORK_MESSAGE)
		return d->item.row.sender;
	return d->work == WORK_NOTIFY ? endpoint_vat(v->number).bits : 0;
}

/*
 * Its sender asked too much of the receiver, which is not to suffer for it (V7, R6). Other deliveries cannot be refused. Behind
 * others of its packet it counts for as many as they bring all together.
 */
static int too_many_imports(struct kernel *k, struct vat *v, const struct delivery *d, bool *toop)
{
	const struct names *ns = &v->crank.names;
	uint64_t e = endpoint_vat(v->number).bits, who = introducer(v, d), n = 0;
	struct row_charge has;
	size_t i;
	int r;

	*toop = false;
	/* The share is no less than that, and it has no more there than there is: mostly this is all that has to be asked. */
	if (d->work != WORK_MESSAGE || v->row.n_imports + ns->n <= charge_share(v->limits.imports, v->row.n_introducers, false))
		return 0;
	for (i = 0; i < ns->n; i++)
		n += ns->v[i].kind == NAME_FRESH && !ns->v[i].leaves;
	r = charge_get(k, e, who, &has);
	if (r < 0)
		return r;
	/* By what it brought upon itself it is none of those who share. */
	*toop = n && has.n_imports + n > charge_share(v->limits.imports, v->row.n_introducers, has.n_imports && who != e);
	return 0;
}

static int refuse_imports(struct kernel *k, struct vat *v, struct delivery *d)
{
	struct route route = { .kind = ROUTE_REJECT, .code = CODE_QUEUE_FULL };
	int r;

	snprintf(route.detail, sizeof(route.detail), "%s has its share of the %" PRIu64 " references that %s may import",
		 vat_sender_name(k, d->item.row.sender), v->limits.imports, v->row.name);
	r = end_item(k, v, &d->item, &route);
	return r < 0 ? r : ENDED;
}

static struct delivery *new_delivery(struct crank *c)
{
	struct delivery *d;

	if (c->n_sent == c->size_sent) {
		size_t size = c->size_sent ? c->size_sent * 2 : 1;

		d = realloc(c->sent, size * sizeof(*d));
		if (!d)
			return NULL;
		c->sent = d;
		c->size_sent = size;
	}
	d = &c->sent[c->n_sent];
	*d = (struct delivery){ .name = c->names.n, .listed = c->listed.n };
	return d;
}

/* The next delivery at the end of `b`: PICKED, NOTHING, or ENDED when what was next came to its end here. */
static int add_delivery(struct kernel *k, struct vat *v, struct wire_buf *b)
{
	struct crank *c = &v->crank;
	struct delivery *d = new_delivery(c);
	bool too_many;
	int r;

	if (!d)
		return error_origin(ENOMEM);
	r = pick(k, v, d);
	if (r != PICKED)
		return r;
	underway_note(k, UNDERWAY_DELIVERY, v->number, crank_killer(d));
	if (d->work == WORK_MESSAGE)
		underway_fault(k, "prepare", d->item.raw, d->item.len);
	d->number = k->next_delivery++;
	r = encode(k, v, d, b);
	d->n_names = c->names.n - d->name;
	if (r >= 0)
		r = too_many_imports(k, v, d, &too_many);
	if (r >= 0)
		r = too_many ? refuse_imports(k, v, d) : PICKED;
	if (r == PICKED)
		c->n_sent++;
	else
		item_deinit(&d->item);
	return r;
}

/* One more behind those in `b`, if it is such that all that can be said of it now will hold when its turn comes. */
static int add_ahead(struct kernel *k, struct vat *v, struct wire_buf *b)
{
	struct crank *c = &v->crank;
	struct delivery *d = new_delivery(c);
	size_t len = b->len;
	bool too_many;
	int r;

	if (!d)
		return error_origin(ENOMEM);
	names_begin_ahead(&c->names);
	r = pick(k, v, d);
	if (r != PICKED)
		return r;
	r = NOTHING;
	if (len + d->item.len < WIRE_MAX_PACKET) {
		d->number = k->next_delivery++;
		r = encode(k, v, d, b);
		if (r >= 0)
			r = too_many_imports(k, v, d, &too_many);
		if (r < 0)
			return r;
		r = b->error || b->len > WIRE_MAX_PACKET || c->names.n > NAMES_FEW || c->names.doubt || too_many ? NOTHING : PICKED;
	}
	if (r == PICKED) {
		d->n_names = c->names.n - d->name;
		c->n_sent++;
		return PICKED;
	}
	names_drop_ahead(&c->names);
	c->listed.n = d->listed;
	b->len = len;
	b->error = 0;
	item_deinit(&d->item);
	return NOTHING;
}

/* Messages and notifies only, and nothing goes ahead of what has its turn before them (G2, D7). */
static bool may_send_ahead(const struct kernel *k, const struct vat *v, const struct wire_buf *b)
{
	const struct crank *c = &v->crank;
	enum crank_work first = c->sent[0].work;

	return c->n_sent < c->window && c->n_sent < c->pace && !k->serial &&
	       (first == WORK_MESSAGE || first == WORK_NOTIFY) && !v->gc_maybe && !(v->row.flags & VAT_F_REAP) &&
	       !v->wake_pending && b->len < WIRE_MAX_PACKET && c->names.n < NAMES_FEW;
}

static int send_all(struct kernel *k, struct vat *v, const struct wire_buf *b)
{
	struct crank *c = &v->crank;
	int r;

	c->state = CRANK_IN_FLIGHT;
	c->sent_ns = k->broker_ns;
	k->n_in_flight += c->n_sent;
	k->stats.n_ahead += c->n_sent - 1;
	deadline_begin(k, v);
	r = channel_send(&v->channel, b);
	live_sent(k, v);
	return r;
}

static int prepare(struct kernel *k, struct vat *v)
{
	static struct wire_buf b = WIRE_BUF_INIT;
	struct crank *c = &v->crank;
	unsigned ended = 0;
	int r;

	do {
		c->listed.n = 0;
		names_begin(&c->names, &v->row);
		wire_buf_reset(&b);
		r = add_delivery(k, v, &b);
	} while (r == ENDED && ++ended < ENDED_BUDGET);
	if (r == ENDED)		/* others first */
		vat_ready(k, v);
	if (r < 0 || !c->n_sent)
		return r < 0 ? r : 0;
	while (r > 0 && ended < ENDED_BUDGET && may_send_ahead(k, v, &b)) {
		r = add_ahead(k, v, &b);
		ended += r == ENDED;
	}
	if (r >= 0)
		r = send_all(k, v, &b);
	if (b.size > SYSCALLS_KEEP)
		wire_buf_deinit(&b);
	return r;
}

int crank_prepare(struct kernel *k, struct vat *v)
{
	int r;

	assert(v->crank.state == CRANK_IDLE && vat_can_run(v));
	r = underway_begin(k, UNDERWAY_DELIVERY, v->number, 0);
	if (r >= 0)
		r = prepare(k, v);
	if (r >= 0)
		underway_end(k);
	return r;
}

int crank_prepare_ready(struct kernel *k)
{
	struct vat *last = k->ready_last, *v = NULL;

	/* Once through the list: who becomes ready meanwhile has his turn in the next round, after the sockets. */
	while (k->ready_first && v != last && !(k->serial && k->n_in_flight)) {
		int r;

		v = k->ready_first;

		k->ready_first = v->next_ready;
		if (!k->ready_first)
			k->ready_last = NULL;
		v->ready = false;
		if (!vat_can_run(v))
			continue;	/* whatever makes it able to run makes it ready again */
		r = crank_prepare(k, v);
		if (r < 0)
			return r;
	}
	return 0;
}

/* --- apply --------------------------------------------------------------------------------------------------- */

static int apply_message(struct kernel *k, struct vat *v, const struct delivery *d)
{
	const struct item *i = &d->item;
	endpoint_t e = endpoint_vat(v->number);
	int r;

	if (i->row.result) {	/* D3 */
		r = promise_set_decider(k, (kref_t){ i->row.result }, e, v->row.incarnation);
		if (r < 0)
			return r;
	}
	r = queue_remove(k, e.bits, i->seq);
	return r < 0 ? r : item_count(k, i, -1);
}

static int apply_notify(struct kernel *k, struct vat *v, const struct delivery *d)
{
	endpoint_t e = endpoint_vat(v->number);
	bool reachable;
	vref_t vref;
	size_t i;
	int r;

	for (i = 0; i < d->n_listed; i++) {
		kref_t ref = { v->crank.listed.v[d->listed + i] };

		r = clist_find_kref(k, e, ref, &vref, &reachable);
		if (r == 0)
			r = clist_remove(k, e, ref, vref);
		if (r < 0)
			return r;
	}
	return queue_drop_notify(k, e, &d->item);
}

static int apply_delivery(struct kernel *k, struct vat *v)
{
	struct crank *c = &v->crank;
	const struct delivery *d = crank_head(c);
	struct row_vat *row;
	int r;

	r = names_apply(k, v, &c->names, d->name, d->n_names, c->head > 0, introducer(v, d));
	if (r < 0)
		return r;
	row = vat_edit(k, v);
	row->n_cranks++;
	row->n_dirt_deliveries++;
	if (row->killer_seq == crank_killer(d)) {	/* what killed it before went well: no poison */
		row->killer_count = 0;
		row->killer_seq = 0;
	}
	if (d->work == WORK_GC)
		row->n_dirt_gc += d->n_listed;
	if (row->n_dirt_deliveries >= k->settings.reap_deliveries ||
	    row->n_dirt_gc >= k->settings.reap_collected)	/* G4 */
		row->flags |= VAT_F_REAP;
	switch (d->work) {
	case WORK_START:
		if (row->status == VAT_STARTING)
			row->status = VAT_RUNNING;
		row->flags &= ~VAT_F_UNSTARTED;	/* suspended by hand meanwhile: it stays so (V2) */
		return 0;
	case WORK_MESSAGE:
		return apply_message(k, v, d);
	case WORK_NOTIFY:
		return apply_notify(k, v, d);
	case WORK_GC:
		return gc_apply(k, v, d->gc, &c->listed);
	case WORK_REAP:
		row->flags &= ~VAT_F_REAP;
		row->n_dirt_deliveries = row->n_dirt_gc = 0;
		return 0;
	case WORK_WAKE:
		return 0;
	}
	return error_origin(EINVAL);
}

static int check_limits(struct kernel *k, struct vat *v)
{
	if (v->row.n_exports > v->limits.exports) {
		snprintf(k->illegal, sizeof(k->illegal), "LIMIT exports %" PRIu64, v->limits.exports);
		return CRANK_LIMIT;
	}
	return 0;
}

static int apply_syscalls(struct kernel *k, struct vat *v, struct syscall_exit *ex)
{
	const struct wire_buf *b = &v->crank.syscalls;
	size_t pos = 0, size;
	int r = 0;

	while (r == 0 && pos < b->len) {
		struct wire_frame f;
		enum wire_error e = wire_decode(b->data + pos, b->len - pos, WIRE_TO_KERNEL, &f, &size);

		assert(e == WIRE_OK);	/* judged on arrival, and the copy is ours */
		pos += size;
		r = syscall_apply(k, v, &f, ex);
	}
	return r ? r : check_limits(k, v);
}

void crank_abandon_take(struct kernel *k, struct vat *v, struct item *itemp)
{
	struct crank *c = &v->crank;

	if (c->state != CRANK_IN_FLIGHT)
		return;
	k->n_in_flight -= c->n_sent - c->head;
	k->stats.n_abandoned += c->n_sent - c->head;
	live_abandoned(k, v);
	if (itemp) {
		*itemp = c->sent[c->head].item;
		c->sent[c->head].item = (struct item)ITEM_INIT;
	}
	crank_reset(c);
	live_show(k, v);
}

void crank_abandon(struct kernel *k, struct vat *v)
{
	crank_abandon_take(k, v, NULL);
}

/*
 * All that was sent is done. In good time: the next time it may be twice as much. A slow vat gets one by one, for what is
 * sent cannot be held back any more: by a collection, a wake, a suspension, a ping.
 */
static void set_pace(const struct kernel *k, struct crank *c)
{
	if (k->broker_ns - c->sent_ns > PACE_NS)
		c->pace = c->pace > 1 ? c->pace / 2 : 1;
	else if (c->pace < CRANK_WINDOW)
		c->pace *= 2;
}

/* The next in flight is the head, if there is one. */
static void next_head(struct kernel *k, struct vat *v)
{
	struct crank *c = &v->crank;

	item_deinit(&c->sent[c->head].item);
	if (++c->head < c->n_sent) {
		head_reset(c);
		deadline_begin(k, v);
		return;
	}
	set_pace(k, c);
	crank_reset(c);
	vat_ready(k, v);
}

static int finish(struct kernel *k, struct vat *v)
{
	struct delivery *d = crank_head(&v->crank);
	bool started = d->work == WORK_START;

	underway_acquit(k, UNDERWAY_DELIVERY, v->number, crank_killer(d));

	k->n_in_flight--;
	k->stats.n_cranks++;
	k->stats.n_delivered_messages += d->work == WORK_MESSAGE;
	k->stats.n_notifies += d->work == WORK_NOTIFY;
	k->stats.n_gc += d->work == WORK_GC ? d->n_listed : 0;
	k->cranks_since_commit++;
	/* What was delivered stays as a gap until the commit; the search for the next need not cross it each time. */
	if (d->item.seq)
		v->head_seq = d->item.seq + 1;
	live_applied(k, v);
	next_head(k, v);
	live_show(k, v);
	d = crank_head(&v->crank);
	underway_note(k, UNDERWAY_DELIVERY, v->number, d ? crank_killer(d) : 0);
	return started ? launch_vat_started(k, v) : 0;
}

/* An illegal syscall, wherever it was seen: the price is this vat (L1, V4). */
static int crank_illegal(struct kernel *k, struct vat *v, const char *why)
{
	char reason[VAT_REASON_MAX];
	int r;

	snprintf(reason, sizeof(reason), "illegal syscall: %s", why);
	k->stats.n_illegal++;
	r = vat_fatal(k, v, CODE_ILLEGAL_SYSCALL, why, reason);
	return r < 0 ? r : 1;
}

static int crank_exit(struct kernel *k, struct vat *v, const struct syscall_exit *ex)
{
	char reason[VAT_REASON_MAX];
	int r;

	snprintf(reason, sizeof(reason), "exit%s: %s", ex->failure ? " with failure" : "", ex->info);
	/* After a good exit the crank is applied and what is behind it is over: then no item is refused. */
	if (!ex->failure)
		crank_abandon(k, v);
	r = vat_fatal(k, v, CODE_VAT_TERMINATED, reason, reason);
	return r < 0 ? r : 1;
}

/*
 * "done": the whole batch becomes real, or none of it. `error`: the vat reports that its delivery failed; the batch is tried
 * all the same, for an illegal syscall in it weighs more (Y2). Positive: the process is being ended.
 */
static int crank_apply(struct kernel *k, struct vat *v, const char *error)
{
	struct syscall_exit ex = { 0 };
	int r;

	assert(v->crank.state == CRANK_IN_FLIGHT);
	underway_fault(k, "apply", crank_head(&v->crank)->item.raw, crank_head(&v->crank)->item.len);
	r = kernel_savepoint(k);
	if (r < 0)
		return r;
	live_crank(k, v);
	r = apply_delivery(k, v);
	if (r == 0)
		r = apply_syscalls(k, v, &ex);
	if (r < 0)
		return r;
	if (r == 0 && error)
		r = CRANK_FAILED;
	else if (r == 0 && ex.wanted && ex.failure)
		r = CRANK_EXIT_FAILURE;
	if (r == 0) {
		r = kernel_release(k);
		if (r >= 0)
			r = finish(k, v);
		if (r < 0)
			return r;
		return ex.wanted ? crank_exit(k, v, &ex) : 0;
	}
	if (kernel_rollback(k) < 0)
		return error_origin(EIO);
	switch ((enum crank_outcome)r) {
	case CRANK_ILLEGAL:
		return crank_illegal(k, v, k->illegal);
	case CRANK_FAILED:
		r = vat_end_process(k, v, FATE_DEATH, error);
		return r < 0 ? r : 1;
	case CRANK_EXIT_FAILURE:
		return crank_exit(k, v, &ex);
	case CRANK_LIMIT:
		r = vat_suspend_hard(k, v, k->illegal);
		return r < 0 ? r : 1;
	case CRANK_APPLIED:
		break;
	}
	return error_origin(EINVAL);
}

/* --- arrival ------------------------------------------------------------------------------------------------- */

static uint32_t slots_of(const struct wire_frame *f)
{
	const uint8_t *pos;
	struct wire_resolution res;
	uint32_t i, n = 0;

	switch (f->type) {
	case WIRE_SEND:
		return f->message.methargs.n_slots;
	case WIRE_EXIT:
		return f->capdata.n_slots;
	case WIRE_RESOLVE:
		for (i = 0, pos = f->list.first; i < f->list.count; i++) {
			pos = wire_next_resolution(pos, &res);
			n += res.value.n_slots + 1;
		}
		return n;
	case WIRE_DROP_IMPORTS:
	case WIRE_RETIRE_IMPORTS_SYS:
	case WIRE_RETIRE_EXPORTS_SYS:
	case WIRE_ABANDON_EXPORTS:
		return f->list.count;
	default:
		return 0;
	}
}

static int limit_hit(struct kernel *k, struct vat *v, const char *name, uint64_t value)
{
	char reason[VAT_REASON_MAX];
	int r;

	snprintf(reason, sizeof(reason), "LIMIT %s %" PRIu64, name, value);
	r = vat_suspend_hard(k, v, reason);
	return r < 0 ? r : 1;
}

static int buffer_syscall(struct kernel *k, struct vat *v, const struct wire_frame *f, const uint8_t *data, size_t size)
{
	struct crank *c = &v->crank;
	struct wire_buf *b = &c->syscalls;

	c->n_slots += slots_of(f);
	c->n_messages += f->type == WIRE_SEND;
	if (c->n_slots > WIRE_MAX_CRANK_SLOTS)
		return crank_illegal(k, v, "more slots in one crank than the protocol allows");
	if (++c->n_syscalls > v->limits.syscalls)
		return limit_hit(k, v, "syscalls", v->limits.syscalls);
	if (b->len + size > WIRE_MAX_CRANK_BYTES)
		return crank_illegal(k, v, "more bytes in one crank than the protocol allows");
	if (b->len + size > v->limits.crank_bytes)
		return limit_hit(k, v, "crankBytes", v->limits.crank_bytes);
	if (b->len + size > b->size) {
		size_t want = (b->len + size) * 2;
		uint8_t *p = realloc(b->data, want);

		if (!p)
			return error_origin(ENOMEM);
		b->data = p;
		b->size = want;
	}
	memcpy(b->data + b->len, data, size);
	b->len += size;
	if (f->type == WIRE_VATSTORE_SET || f->type == WIRE_VATSTORE_DELETE)
		return syscall_note_write(v, f);
	return 0;
}

static int done(struct kernel *k, struct vat *v, const struct wire_frame *f)
{
	char text[160], why[200];

	if (deadline_over_cpu(v))
		return limit_hit(k, v, "cpuMs", v->limits.cpu_ns / 1000000);
	if (!(f->flags & WIRE_F_ERROR))
		return crank_apply(k, v, NULL);
	escape_bytes(text, sizeof(text), f->text.data, f->text.len);
	snprintf(why, sizeof(why), "delivery failed: %s", text);
	return crank_apply(k, v, why);
}

static int in_crank(struct kernel *k, struct vat *v, const struct wire_frame *f, const uint8_t *data, size_t size)
{
	const struct delivery *d = crank_head(&v->crank);
	char why[120];
	int r;

	/* What was sent ahead of its turn is not in flight yet, as far as the vat may speak of it. */
	if (!d || f->delivery != d->number) {
		snprintf(why, sizeof(why), "%s for delivery %" PRIu64 ", which is not in flight", wire_type_name(f->type),
			 f->delivery);
		return crank_illegal(k, v, why);
	}
	switch (f->type) {
	case WIRE_DONE:
		return done(k, v, f);
	case WIRE_VATSTORE_GET:
	case WIRE_VATSTORE_GET_NEXT_KEY:
	case WIRE_CLIST_GET_NEXT:
		/* Reads count as syscalls too, or a vat could keep the broker busy inside one crank for ever. */
		if (++v->crank.n_syscalls > v->limits.syscalls)
			return limit_hit(k, v, "syscalls", v->limits.syscalls);
		/*
		 * One outstanding: an answer that the vat has not taken off our hands yet still is, and one that was asked for in
		 * this very packet cannot have been read.
		 */
		if ((v->crank.answer_kept && v->channel.backlog.len) || v->crank.read_in_packet)
			return crank_illegal(k, v, "a read while the answer to the last one is outstanding");
		v->crank.read_in_packet = true;
		r = syscall_read(k, v, f);
		v->crank.answer_kept = v->channel.backlog.len;
		return r > 0 ? limit_hit(k, v, "syscalls", v->limits.syscalls) : r;
	default:
		return buffer_syscall(k, v, f, data, size);
	}
}

static int out_of_crank(struct kernel *k, struct vat *v, const struct wire_frame *f)
{
	struct vat_ping *ping;

	switch (f->type) {
	case WIRE_LOG:
		return vat_log(k, v, f->log.level, f->log.text.data, f->log.text.len);
	case WIRE_WAKE_ME:
		if (!v->wake_pending) {
			v->wake_pending = true;
			live_show(k, v);
		}
		vat_ready(k, v);
		return 0;
	case WIRE_PONG:
		/* One ping is under way at a time; its answer serves all who asked meanwhile. */
		if (f->token != v->ping_token)
			return 0;
		v->ping_token = 0;
		while ((ping = v->pings)) {
			v->pings = ping->next;
			k->n_pings--;
			control_reply(ping->request,
				      json_pack("{sI}", "us", (json_int_t)((now_monotonic_ns() - ping->sent_ns) / 1000)));
			free(ping);
		}
		return 0;
	case WIRE_HELLO:
		if (f->hello.version != WIRE_VERSION)
			return crank_illegal(k, v, "hello speaks another version of the protocol");
		v->crank.window = f->hello.window;
		return 0;
	default:
		return error_origin(EINVAL);
	}
}

/* Which frame it was, as far as that can be told, and what is wrong with it. */
static int bad_frame(struct kernel *k, struct vat *v, const uint8_t *frame, size_t len, enum wire_error e)
{
	char why[VAT_REASON_MAX];
	uint16_t type = 0;

	if (len >= 6)
		memcpy(&type, frame + 4, sizeof(type));
	snprintf(why, sizeof(why), "frame \"%s\" (type 0x%02x): %s", wire_type_name(type), type, wire_error_text(e));
	return crank_illegal(k, v, why);
}

static int take_frames(struct kernel *k, struct vat *v, const uint8_t *frames, size_t len)
{
	size_t pos = 0, size;
	int r = 0;

	v->crank.read_in_packet = false;
	while (r == 0 && pos < len) {
		struct wire_frame f;
		enum wire_error e = wire_decode(frames + pos, len - pos, WIRE_TO_KERNEL, &f, &size);

		if (e)
			return bad_frame(k, v, frames + pos, len - pos, e);
		if (f.type == WIRE_HELLO || f.type == WIRE_LOG || f.type == WIRE_PONG || f.type == WIRE_WAKE_ME)
			r = out_of_crank(k, v, &f);
		else
			r = in_crank(k, v, &f, frames + pos, size);
		pos += size;
	}
	return r;
}

int crank_frames(struct kernel *k, struct vat *v, const uint8_t *frames, size_t len)
{
	const struct delivery *d = crank_head(&v->crank);
	int r;

	r = underway_begin(k, UNDERWAY_DELIVERY, v->number, d ? crank_killer(d) : 0);
	if (r >= 0)
		r = take_frames(k, v, frames, len);
	if (r >= 0)
		underway_end(k);
	return r;
}
