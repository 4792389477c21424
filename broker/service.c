/* SPDX-License-Identifier: Apache-2.0 */
#include "service.h"

#include <inttypes.h>

#include "facet.h"
#include "hosted.h"
#include "io.h"
#include "launch.h"
#include "object.h"
#include "promise.h"
#include "router.h"
#include "underway.h"
#include "timer.h"
#include "vat.h"

static const struct service_class *const builtins[] = { &console_service, &timer_service, &random_service,
						       &facet_service };

/* --- which there are ------------------------------------------------------------------------------------------------- */

int service_load(struct kernel *k, const char *name, struct row_service *rowp)
{
	const void *val;
	size_t len;
	int r;

	r = store_get(k->store, T_SERVICE, name, strlen(name), &val, &len);
	if (r < 0)
		return error_trace(r);
	if (r == STORE_NOT_FOUND)
		return SERVICE_E_UNKNOWN;
	if (len != sizeof(*rowp))
		return kernel_corrupt("store: a service row is damaged");
	memcpy(rowp, val, sizeof(*rowp));
	return 0;
}

int service_find(struct kernel *k, const char *name, kref_t *refp)
{
	struct row_service row;
	int r = service_load(k, name, &row);

	if (r == 0)
		refp->bits = row.kref;
	return r;
}

int service_make(struct kernel *k, const char *name, struct row_service *row)
{
	uint8_t key[8];
	kref_t ref;
	int r;

	r = object_new(k, ENDPOINT_K, 0, true, &ref);
	if (r < 0)
		return r;
	row->kref = ref.bits;
	r = store_put(k->store, T_SERVICE, name, strlen(name), row, sizeof(*row));
	if (r >= 0)
		r = store_put(k->store, T_SERVICE_OF, key, key_u64(key, ref.bits), name, strlen(name));
	return r < 0 ? error_trace(r) : kernel_hold(k, ref, HOLD_SERVICE, 0, 1);
}

int service_unmake(struct kernel *k, const char *name, const struct row_service *row)
{
	kref_t ref = { row->kref };
	uint8_t key[8];
	int r;

	r = store_del(k->store, T_SERVICE, name, strlen(name));
	if (r >= 0)
		r = store_del(k->store, T_SERVICE_OF, key, key_u64(key, ref.bits));
	return r < 0 ? error_trace(r) : kernel_hold(k, ref, HOLD_SERVICE, 0, -1);
}

int service_boot(struct kernel *k)
{
	size_t i;
	kref_t ref;
	int r;

	r = kernel_savepoint(k);
	for (i = 0; r >= 0 && i < ARRAY_LEN(builtins); i++) {
		struct row_service row = { .flags = builtins[i]->flags };

		r = service_find(k, builtins[i]->name, &ref);
		if (r == SERVICE_E_UNKNOWN)
			r = service_make(k, builtins[i]->name, &row);
	}
	return r < 0 ? r : kernel_release(k);
}

int service_of(struct kernel *k, kref_t target, char **namep, struct row_service *row)
{
	_cleanup_free_ char *name = NULL;
	const void *val;
	uint8_t key[8];
	size_t len;
	int r;

	r = store_get(k->store, T_SERVICE_OF, key, key_u64(key, target.bits), &val, &len);
	if (r)
		return r < 0 ? error_trace(r) : SERVICE_E_UNKNOWN;
	name = strndup(val, len);
	if (!name)
		return error_origin(ENOMEM);
	r = service_load(k, name, row);
	if (r == 0)
		*namep = TAKE_PTR(name);
	return r;
}

static const struct service_class *class_of(const char *name, const struct row_service *row)
{
	size_t i;

	if (row->flags & SERVICE_F_HOST)
		return &hosted_service;
	if (row->flags & SERVICE_F_IO)
		return &io_service;
	for (i = 0; i < ARRAY_LEN(builtins); i++)
		if (!strcmp(builtins[i]->name, name))
			return builtins[i];
	return NULL;
}

/* --- answers --------------------------------------------------------------------------------------------------------- */

/* One reference and nothing else, as `"$0.Alleged: x"` or `"&0"`: the form of the marshalling, not the kernel's to know but here. */
static bool is_reference(const struct smallcaps *value)
{
	const char *b = value->body;

	return value->n_slots == 1 && value->body_len >= 5 && b[0] == '#' && b[1] == '"' && (b[2] == '$' || b[2] == '&') &&
	       b[3] == '0' && (b[4] == '.' || b[4] == '"') && !memchr(b + 4, '\\', value->body_len - 4) &&
	       memchr(b + 4, '"', value->body_len - 4) == b + value->body_len - 1;
}

int service_settle(struct kernel *k, const struct item *i, bool rejected, const struct smallcaps *value)
{
	size_t len = capdata_size(value->body_len, value->n_slots);
	kref_t result = { i->row.result };
	_cleanup_free_ uint8_t *raw = NULL;
	bool ref = !rejected && is_reference(value);

	if (kref_is_none(result))
		return 0;
	if (ref && kref_is_promise((kref_t){ value->slots[0] }))
		return promise_forward(k, result, (kref_t){ value->slots[0] });
	raw = malloc(len);
	if (!raw)
		return error_origin(ENOMEM);
	capdata_write(raw, value->body, value->body_len, value->slots, value->n_slots);
	return promise_settle(k, result, rejected ? PROMISE_REJECTED : PROMISE_FULFILLED, ref ? PROMISE_F_REF : 0, raw, len);
}

int service_settle_text(struct kernel *k, const struct item *i, const char *body)
{
	struct smallcaps value = { .body = (char *)body, .body_len = strlen(body) };

	return service_settle(k, i, false, &value);
}

int service_reject(struct kernel *k, const struct item *i, const char *name, const char *message)
{
	struct smallcaps value = { 0 };
	int r;

	if (smallcaps_error(name, message, &value))
		return error_origin(ENOMEM);
	r = service_settle(k, i, true, &value);
	smallcaps_deinit(&value);
	return r;
}

int service_refuse(struct kernel *k, const struct item *i, enum kernel_code code, const char *detail)
{
	if (i->row.result)
		return promise_reject(k, (kref_t){ i->row.result }, code, "%s", detail);
	k->stats.n_dropped_sends++;	/* R2 */
	return 0;
}

/* The first reference of the value that the outside may not name (C7); KREF_NONE: all is well. */
static int find_unusable(struct kernel *k, const struct smallcaps *value, kref_t *refp)
{
	bool usable = true;
	size_t i;
	int r = 0;

	*refp = KREF_NONE;
	for (i = 0; r >= 0 && usable && i < value->n_slots; i++) {
		r = kref_is_usable(k, (kref_t){ value->slots[i] }, &usable);
		if (!usable)
			refp->bits = value->slots[i];
	}
	return r;
}

/* `value` NULL: rejected with the kernel's code and detail. */
static int answer(struct kernel *k, uint64_t seq, bool rejected, const struct smallcaps *value, enum kernel_code code,
		  const char *detail)
{
	_cleanup_(item_deinit) struct item i = ITEM_INIT;
	char text[REF_TEXT_MAX], deleted[80];
	kref_t unusable = KREF_NONE;
	int r;

	r = queue_get(k, ENDPOINT_K.bits, seq, &i);
	if (r)
		return r < 0 ? r : SERVICE_E_NO_CALL;
	if (value) {
		r = find_unusable(k, value, &unusable);
		if (r < 0)
			return r;
	}
	if (!kref_is_none(unusable)) {
		snprintf(deleted, sizeof(deleted), "the answer names %s, which nothing reaches", kref_format(unusable, text));
		value = NULL;
		code = CODE_OBJECT_DELETED;
		detail = deleted;
	}
	r = kernel_savepoint(k);
	if (r >= 0 && value)
		r = service_settle(k, &i, rejected, value);
	else if (r >= 0 && i.row.result)
		r = promise_reject(k, (kref_t){ i.row.result }, code, "%s", detail);
	if (r >= 0)
		r = service_end(k, &i);
	return r < 0 ? r : kernel_release(k);
}

int service_end(struct kernel *k, const struct item *i)
{
	int r = queue_remove(k, ENDPOINT_K.bits, i->seq);

	return r < 0 ? r : item_count(k, i, -1);
}

int service_answer(struct kernel *k, uint64_t seq, bool rejected, const struct smallcaps *value)
{
	return answer(k, seq, rejected, value, 0, NULL);
}

int service_answer_code(struct kernel *k, uint64_t seq, enum kernel_code code, const char *detail)
{
	return answer(k, seq, true, NULL, code, detail);
}

int service_answer_error(struct kernel *k, uint64_t seq, const char *name, const char *message)
{
	struct smallcaps value = { 0 };
	int r;

	if (smallcaps_error(name, message, &value))
		return error_origin(ENOMEM);
	r = service_answer(k, seq, true, &value);
	smallcaps_deinit(&value);
	return r;
}

/* --- the queue of `k` ---------------------------------------------------------------------------------------------- */

void service_note_call(struct kernel *k, endpoint_t sender, int delta)
{
	struct vat *v = endpoint_is_vat(sender) ? vat_find(k, endpoint_number(sender)) : NULL;

	k->n_service_queue += delta;
	k->service_work |= delta > 0;
	if (v)
		vat_edit(k, v)->n_calls += delta;
}

/* SERVICE_DONE: the item is settled; SERVICE_LATER: it stays. */
static int begin(struct kernel *k, const struct item *i)
{
	_cleanup_free_ char *name = NULL, *method = NULL;
	struct service_call c = { .item = i };
	const struct service_class *class = NULL;
	int r;

	r = service_of(k, (kref_t){ i->row.target }, &name, &c.row);
	if (r < 0)
		return r;
	if (r == 0)
		class = class_of(name, &c.row);
	if (!class)
		return service_refuse(k, i, CODE_SERVICE_UNAVAILABLE, "no such service");
	if (!capdata_read(i->raw, i->len, &c.methargs))
		return kernel_corrupt("queue: malformed item %" PRIu64, i->seq);
	method = smallcaps_method(c.methargs.body, c.methargs.body_len);
	if (!method)
		return service_reject(k, i, "TypeError", "the message is not a method call");
	c.name = name;
	c.method = method;
	return class->begin(k, &c);
}

/* X1: an object may be revoked while calls of it wait. Inside a savepoint. */
static int end_unroutable(struct kernel *k, const struct item *i, bool *endedp)
{
	struct route route;
	int r;

	r = router_route(k, (kref_t){ i->row.target }, (kref_t){ i->row.result }, &route);
	*endedp = r >= 0 && route.kind != ROUTE_QUEUE;
	if (!*endedp)
		return r;
	r = queue_remove(k, ENDPOINT_K.bits, i->seq);
	return r < 0 ? r : router_refuse(k, i, &route);
}

int service_recheck(struct kernel *k, const struct item *i, bool *endedp)
{
	int r = kernel_savepoint(k);

	if (r >= 0)
		r = end_unroutable(k, i, endedp);
	return r < 0 ? r : kernel_release(k);
}

static bool sender_is_gone(struct kernel *k, endpoint_t sender)
{
	struct vat *v = endpoint_is_vat(sender) ? vat_find(k, endpoint_number(sender)) : NULL;

	return endpoint_is_vat(sender) && (!v || v->row.status == VAT_TERMINATED);
}

int service_sender_gone(struct kernel *k, const struct item *i)
{
	_cleanup_free_ char *name = NULL;
	const struct service_class *class = NULL;
	struct row_service row;
	int r;

	if (i->seq >= k->service_seq)
		return 0;
	r = service_of(k, (kref_t){ i->row.target }, &name, &row);
	if (r < 0)
		return r;
	if (r == 0)
		class = class_of(name, &row);
	if (!class || !class->forget || !class->forget(k, i))
		return 0;
	r = i->row.result ? promise_reject(k, (kref_t){ i->row.result }, CODE_VAT_TERMINATED, "the caller is terminated") : 0;
	return r < 0 ? r : service_end(k, i);
}

void service_deinit(struct kernel *k)
{
	timer_deinit(k);
	facet_deinit(k);
}

int service_pump(struct kernel *k, bool *didp)
{
	_cleanup_(item_deinit) struct item i = ITEM_INIT;
	bool ended = false;
	int r;

	r = timer_pump(k, didp);
	if (r >= 0 && !*didp)
		r = facet_pump(k, didp);
	if (r < 0 || *didp || !k->service_work)
		return r;
	r = queue_head(k, ENDPOINT_K.bits, k->service_seq, &i);
	if (r) {
		k->service_work = false;
		return r < 0 ? r : 0;
	}
	*didp = true;
	k->service_seq = i.seq + 1;
	r = underway_begin(k, UNDERWAY_SERVICE, 0, i.seq);
	underway_fault(k, "service", i.raw, i.len);
	if (r >= 0)
		r = kernel_savepoint(k);
	if (r >= 0)
		r = end_unroutable(k, &i, &ended);
	if (r >= 0 && !ended) {
		r = begin(k, &i);
		if (r == SERVICE_DONE)
			r = service_end(k, &i);
		else if (r == SERVICE_LATER && sender_is_gone(k, (endpoint_t){ i.row.sender }))
			r = service_sender_gone(k, &i);
	}
	if (r < 0)
		return r;
	k->stats.n_cranks++;
	k->cranks_since_commit++;
	r = kernel_release(k);
	if (r < 0)
		return r;
	underway_acquit(k, UNDERWAY_SERVICE, 0, i.seq);
	underway_end(k);
	return 0;
}
