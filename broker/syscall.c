/* SPDX-License-Identifier: Apache-2.0 */
#include "syscall.h"

#include <inttypes.h>
#include <stdarg.h>

#include "../lib/smallcaps.h"
#include "clist.h"
#include "object.h"
#include "promise.h"
#include "router.h"
#include "translate.h"
#include "vat.h"

static int illegal(struct kernel *k, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static int illegal(struct kernel *k, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(k->illegal, sizeof(k->illegal), fmt, ap);
	va_end(ap);
	return CRANK_ILLEGAL;
}

static int limit(struct kernel *k, const char *name, uint64_t value)
{
	snprintf(k->illegal, sizeof(k->illegal), "LIMIT %s %" PRIu64, name, value);
	return CRANK_LIMIT;
}

/* The vat's capdata as stored capdata: the same body, slots as krefs. */
static int store_form(struct kernel *k, struct vat *v, const struct wire_capdata *c, uint8_t **rawp, size_t *lenp)
{
	size_t len = capdata_size(c->body.len, c->n_slots);
	_cleanup_free_ uint8_t *raw = malloc(len);
	_cleanup_free_ uint64_t *slots = NULL;
	uint32_t i;
	int r;

	slots = malloc(c->n_slots * sizeof(*slots) + 1);
	if (!raw || !slots)
		return error_origin(ENOMEM);
	for (i = 0; i < c->n_slots; i++) {
		kref_t kref;

		r = translate_in(k, v, wire_slot(c, i), &kref);
		if (r)
			return r < 0 ? r : CRANK_ILLEGAL;
		slots[i] = kref.bits;
	}
	capdata_write(raw, c->body.data, c->body.len, slots, c->n_slots);
	*rawp = TAKE_PTR(raw);
	*lenp = len;
	return 0;
}

static int do_send(struct kernel *k, struct vat *v, const struct wire_frame *f)
{
	_cleanup_(item_deinit) struct item i = { .row = {
		.kind = ITEM_MESSAGE,
		.enqueued_us = now_realtime_us(),
		.sender = endpoint_vat(v->number).bits,
	} };
	kref_t target, result = KREF_NONE;
	int r;

	r = translate_in(k, v, f->message.target, &target);
	if (r)
		return r < 0 ? r : CRANK_ILLEGAL;
	r = store_form(k, v, &f->message.methargs, &i.raw, &i.len);
	if (r)
		return r;
	if (!vref_is_none(f->message.result)) {
		r = translate_result(k, v, f->message.result, &result);
		if (r)
			return r < 0 ? r : CRANK_ILLEGAL;
	}
	i.row.target = target.bits;
	i.row.result = result.bits;
	return router_send(k, &i);
}

static int do_subscribe(struct kernel *k, struct vat *v, const struct wire_frame *f)
{
	kref_t kref;
	int r;

	r = translate_in(k, v, f->ref, &kref);
	if (r)
		return r < 0 ? r : CRANK_ILLEGAL;
	return promise_subscribe(k, kref, endpoint_vat(v->number));
}

/* --- resolve ------------------------------------------------------------------------------------------------- */

struct resolution { kref_t promise; vref_t vref; uint32_t flags; uint8_t *raw; size_t len; };
struct batch { struct resolution *v; size_t n; };

static void batch_deinit(struct batch *b)
{
	size_t i;

	for (i = 0; i < b->n; i++)
		free(b->v[i].raw);
	free(b->v);
}

static int compare_vrefs(const void *a, const void *b)
{
	uint64_t x = ((const vref_t *)a)->bits, y = ((const vref_t *)b)->bits;

	return x < y ? -1 : x > y;
}

static int check_duplicates(struct kernel *k, const struct batch *b)
{
	_cleanup_free_ vref_t *sorted = malloc(b->n * sizeof(*sorted) + 1);
	char text[REF_TEXT_MAX];
	size_t i;

	if (!sorted)
		return error_origin(ENOMEM);
	for (i = 0; i < b->n; i++)
		sorted[i] = b->v[i].vref;
	qsort(sorted, b->n, sizeof(*sorted), compare_vrefs);
	for (i = 1; i < b->n; i++)
		if (vref_equal(sorted[i - 1], sorted[i]))
			return illegal(k, "resolve names %s twice", vref_format(sorted[i], text));
	return 0;
}

static int check_own(struct kernel *k, struct vat *v, struct resolution *res)
{
	struct row_promise row;
	char text[REF_TEXT_MAX];
	int r;

	r = translate_in(k, v, res->vref, &res->promise);
	if (r)
		return r < 0 ? r : CRANK_ILLEGAL;
	r = promise_load(k, res->promise, &row);
	if (r)
		return r < 0 ? r : kernel_corrupt("clist names an unknown promise");
	if (row.state != PROMISE_UNRESOLVED)
		return illegal(k, "resolve of %s, which is resolved already", vref_format(res->vref, text));
	if (row.decider != endpoint_vat(v->number).bits || row.decider_incarnation != v->row.incarnation)
		return illegal(k, "resolve of %s, which the vat does not decide", vref_format(res->vref, text));
	return 0;
}

static int settle_batch(struct kernel *k, const struct batch *b)
{
	struct capdata value;
	size_t i;
	int r;

	for (i = 0; i < b->n; i++) {
		const struct resolution *res = &b->v[i];
		bool rejected = res->flags & WIRE_R_REJECTED, ref = res->flags & WIRE_R_REF;
		kref_t target = KREF_NONE;

		if (ref) {
			if (!capdata_read(res->raw, res->len, &value) || value.n_slots != 1)
				return kernel_corrupt("resolve: REF without its slot");
			target.bits = capdata_slot(&value, 0);
		}
		if (ref && kref_is_promise(target))
			r = promise_forward(k, res->promise, target);
		else
			r = promise_settle(k, res->promise, rejected ? PROMISE_REJECTED : PROMISE_FULFILLED,
					   ref ? PROMISE_F_REF : 0, res->raw, res->len);
		if (r < 0)
			return r;
	}
	return 0;
}

/* P3: all is checked and translated before anything settles; the entries leave at the end. */
static int do_resolve(struct kernel *k, struct vat *v, const struct wire_frame *f)
{
	_cleanup_(batch_deinit) struct batch b = { calloc(f->list.count, sizeof(*b.v)), 0 };
	const uint8_t *pos = f->list.first;
	struct wire_resolution w;
	size_t i;
	int r;

	if (!b.v)
		return error_origin(ENOMEM);
	for (i = 0; i < f->list.count; i++) {
		pos = wire_next_resolution(pos, &w);
		b.v[b.n++] = (struct resolution){ .vref = w.promise, .flags = w.flags };
	}
	r = check_duplicates(k, &b);
	for (i = 0; r == 0 && i < b.n; i++)
		r = check_own(k, v, &b.v[i]);
	pos = f->list.first;
	for (i = 0; r == 0 && i < b.n; i++) {
		pos = wire_next_resolution(pos, &w);
		r = store_form(k, v, &w.value, &b.v[i].raw, &b.v[i].len);
	}
	/* A subscription ends with the entry (P13): also of what is only forwarded now. */
	for (i = 0; r == 0 && i < b.n; i++)
		r = promise_unsubscribe(k, b.v[i].promise, endpoint_vat(v->number));
	if (r == 0)
		r = settle_batch(k, &b);
	for (i = 0; r == 0 && i < b.n; i++)
		r = clist_remove(k, endpoint_vat(v->number), b.v[i].promise, b.v[i].vref);
	return r;
}

/* --- gc syscalls --------------------------------------------------------------------------------------------- */

static int do_gc_one(struct kernel *k, struct vat *v, enum wire_type type, vref_t vref)
{
	endpoint_t e = endpoint_vat(v->number);
	char text[REF_TEXT_MAX];
	bool reachable;
	kref_t kref;
	int r;

	r = translate_known(k, v, vref, &kref, &reachable);
	if (r)
		return r < 0 ? r : CRANK_ILLEGAL;
	if (type == WIRE_DROP_IMPORTS)
		return clist_set_reachable(k, e, kref, vref, false);
	if (reachable && type != WIRE_ABANDON_EXPORTS)
		return illegal(k, "%s of %s, which is still reachable", wire_type_name(type), vref_format(vref, text));
	r = clist_remove(k, e, kref, vref);
	if (r < 0 || type == WIRE_RETIRE_IMPORTS_SYS)
		return r;
	return object_disown(k, kref);
}

static int do_gc(struct kernel *k, struct vat *v, const struct wire_frame *f)
{
	uint32_t i;
	int r = 0;

	for (i = 0; r == 0 && i < f->list.count; i++)
		r = do_gc_one(k, v, f->type, wire_ref(f, i));
	return r;
}

/* --- vatstore ------------------------------------------------------------------------------------------------ */

static int do_vatstore(struct kernel *k, struct vat *v, const struct wire_frame *f)
{
	const struct wire_bytes *key = &f->store.key, *val = &f->store.value;
	struct row_vat *row;
	int64_t delta = 0;
	int r;

	if (f->type == WIRE_VATSTORE_SET && store_space_low(k->store))
		return limit(k, "space", 0);
	if (f->type == WIRE_VATSTORE_SET)
		r = vatstore_set(k->store, v->number, key->data, key->len, val->data, val->len, &delta);
	else
		r = vatstore_delete(k->store, v->number, key->data, key->len, &delta);
	if (r < 0)
		return error_trace(r);
	row = vat_edit(k, v);
	row->vatstore_bytes += delta;
	if (delta > 0 && row->vatstore_bytes > v->limits.vatstore_bytes)
		return limit(k, "vatstoreBytes", v->limits.vatstore_bytes);
	return 0;
}

static int do_exit(struct kernel *k, struct vat *v, const struct wire_frame *f, struct syscall_exit *ex)
{
	_cleanup_free_ char *text = NULL;
	uint32_t i;

	/* Slots must be the vat's own to speak of (C2), though only the body survives (Y5). */
	for (i = 0; i < f->capdata.n_slots; i++) {
		kref_t kref;
		int r = translate_in(k, v, wire_slot(&f->capdata, i), &kref);

		if (r)
			return r < 0 ? r : CRANK_ILLEGAL;
	}
	text = smallcaps_render(f->capdata.body.data, f->capdata.body.len, NULL, 0, NULL, NULL);
	ex->wanted = true;
	ex->failure = f->flags & WIRE_F_FAILURE;
	snprintf(ex->info, sizeof(ex->info), "%s", text ? text : "");
	return 0;
}

int syscall_apply(struct kernel *k, struct vat *v, const struct wire_frame *f, struct syscall_exit *ex)
{
	switch (f->type) {
	case WIRE_SEND:
		return do_send(k, v, f);
	case WIRE_SUBSCRIBE:
		return do_subscribe(k, v, f);
	case WIRE_RESOLVE:
		return do_resolve(k, v, f);
	case WIRE_EXIT:
		return do_exit(k, v, f, ex);
	case WIRE_DROP_IMPORTS:
	case WIRE_RETIRE_IMPORTS_SYS:
	case WIRE_RETIRE_EXPORTS_SYS:
	case WIRE_ABANDON_EXPORTS:
		return do_gc(k, v, f);
	case WIRE_VATSTORE_SET:
	case WIRE_VATSTORE_DELETE:
		return do_vatstore(k, v, f);
	default:
		return kernel_corrupt("syscall: %s was buffered", wire_type_name(f->type));
	}
}

/* --- reads --------------------------------------------------------------------------------------------------- */

int syscall_note_write(struct vat *v, const struct wire_frame *f)
{
	struct crank *c = &v->crank;

	if (!c->writes)
		c->writes = omap_new();
	if (!c->writes)
		return error_origin(ENOMEM);
	return omap_put(c->writes, f->store.key.data, f->store.key.len, f->store.value.data, f->store.value.len,
			f->type == WIRE_VATSTORE_DELETE);
}

static void begin_value(struct kernel *k, struct vat *v, struct wire_buf *b, bool found, bool reachable, uint64_t ref)
{
	(void)k;
	wire_begin(b, WIRE_STORE_VALUE, (found ? WIRE_F_FOUND : 0) | (reachable ? WIRE_F_REACHABLE : 0),
		   crank_head(&v->crank)->number);
	wire_u64(b, ref);
}

static int read_get(struct kernel *k, struct vat *v, const struct wire_bytes *key, struct wire_buf *b)
{
	const struct omap_node *node = v->crank.writes ? omap_find(v->crank.writes, key->data, key->len) : NULL;
	const void *val = NULL;
	size_t len = 0;
	bool found;
	int r;

	if (node) {
		found = !node->dead;
		val = node->val;
		len = node->len;
	} else {
		r = vatstore_get(k->store, v->number, key->data, key->len, &val, &len);
		if (r < 0)
			return error_trace(r);
		found = r == 0;
	}
	begin_value(k, v, b, found, false, 0);
	wire_put_bytes(b, NULL, 0);
	wire_put_bytes(b, found ? val : NULL, found ? len : 0);
	return 0;
}

/* The least key after `key` in the store as the crank sees it: stored keys and written ones merged. */
static int read_next(struct kernel *k, struct vat *v, const struct wire_bytes *key, struct wire_buf *b)
{
	uint8_t at[WIRE_MAX_KEY], next[WIRE_MAX_KEY];
	size_t at_len = key->len, next_len = 0;
	const struct omap_node *node = NULL;
	bool stored;
	int r;

	memcpy(at, key->data, at_len);
	for (;;) {
		r = vatstore_next(k->store, v->number, at, at_len, next, &next_len);
		if (r < 0)
			return error_trace(r);
		stored = r == 0;
		node = v->crank.writes ? omap_next(v->crank.writes, at, at_len, false) : NULL;
		if (node && stored) {
			size_t n = node->key_len < next_len ? node->key_len : next_len;
			int cmp = memcmp(node->key, next, n);

			if (cmp > 0 || (cmp == 0 && node->key_len > next_len))
				node = NULL;	/* the stored key comes first and was not touched */
		}
		if (!node || !node->dead)
			break;
		/* Stepping over what the crank itself deleted is work that it pays for. */
		if (++v->crank.n_syscalls > v->limits.syscalls)
			return limit(k, "syscalls", v->limits.syscalls);
		at_len = node->key_len;
		memcpy(at, node->key, at_len);
	}
	begin_value(k, v, b, node || stored, false, 0);
	wire_put_bytes(b, node ? node->key : next, node ? node->key_len : stored ? next_len : 0);
	wire_put_bytes(b, NULL, 0);
	return 0;
}

/*
 * The vat's next imported object or promise after `from`, or the first. Promises also under the vat's own numbers:
 * answers that an earlier incarnation asked for and did not subscribe to stand in the clist until somebody does.
 */
static int read_clist(struct kernel *k, struct vat *v, vref_t from, struct wire_buf *b)
{
	uint64_t at = vref_is_none(from) ? 0 : from.bits + 1;
	endpoint_t e = endpoint_vat(v->number);
	bool reachable = false;
	vref_t vref;
	kref_t kref;
	int r;

	/* The runs are o+, o-, p+, p-: step over the first without walking it. */
	if (!(at & (REF_PROMISE | REF_MINUS)))
		at = REF_MINUS;
	r = clist_next(k, e, at, &vref, &kref, &reachable);
	if (r < 0)
		return r;
	begin_value(k, v, b, r == 0, r == 0 && reachable, r == 0 ? vref.bits : 0);
	wire_put_bytes(b, NULL, 0);
	wire_put_bytes(b, NULL, 0);
	return 0;
}

int syscall_read(struct kernel *k, struct vat *v, const struct wire_frame *f)
{
	struct wire_buf b = WIRE_BUF_INIT;
	int r;

	if (f->type == WIRE_VATSTORE_GET)
		r = read_get(k, v, &f->store.key, &b);
	else if (f->type == WIRE_VATSTORE_GET_NEXT_KEY)
		r = read_next(k, v, &f->store.key, &b);
	else
		r = read_clist(k, v, f->ref, &b);
	if (r == 0) {
		wire_end(&b);
		r = channel_send(&v->channel, &b);
	}
	wire_buf_deinit(&b);
	return r;
}
