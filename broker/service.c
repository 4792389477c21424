/* SPDX-License-Identifier: Apache-2.0 */
#include "service.h"

#include <inttypes.h>

#include "../lib/smallcaps.h"
#include "object.h"
#include "promise.h"
#include "queue.h"
#include "router.h"
#include "vat.h"

typedef int (*service_call)(struct kernel *k, const struct item *i, const char *method);
struct builtin { const char *name; service_call call; };

static int console_call(struct kernel *k, const struct item *i, const char *method);

static const struct builtin builtins[] = {
	{ "console", console_call },
};

int service_find(struct kernel *k, const char *name, kref_t *refp)
{
	struct row_service row;
	const void *val;
	size_t len;
	int r;

	r = store_get(k->store, T_SERVICE, name, strlen(name), &val, &len);
	if (r < 0)
		return error_trace(r);
	if (r == STORE_NOT_FOUND)
		return SERVICE_E_UNKNOWN;
	if (len != sizeof(row))
		return kernel_corrupt("store: a service row is damaged");
	memcpy(&row, val, sizeof(row));
	refp->bits = row.kref;
	return 0;
}

static int service_make(struct kernel *k, const char *name)
{
	struct row_service row = { 0 };
	uint8_t key[8];
	kref_t ref;
	int r;

	r = object_new(k, ENDPOINT_K, 0, true, &ref);
	if (r < 0)
		return r;
	row.kref = ref.bits;
	r = store_put(k->store, T_SERVICE, name, strlen(name), &row, sizeof(row));
	if (r >= 0)
		r = store_put(k->store, T_SERVICE_OF, key, key_u64(key, ref.bits), name, strlen(name));
	return r < 0 ? error_trace(r) : kernel_hold(k, ref, HOLD_SERVICE, 0, 1);
}

int service_boot(struct kernel *k)
{
	size_t i;
	kref_t ref;
	int r;

	r = kernel_savepoint(k);
	for (i = 0; r >= 0 && i < ARRAY_LEN(builtins); i++) {
		r = service_find(k, builtins[i].name, &ref);
		if (r == SERVICE_E_UNKNOWN)
			r = service_make(k, builtins[i].name);
	}
	return r < 0 ? r : kernel_release(k);
}

static const struct builtin *service_of(struct kernel *k, kref_t target)
{
	const void *val;
	uint8_t key[8];
	size_t len, i;

	if (store_get(k->store, T_SERVICE_OF, key, key_u64(key, target.bits), &val, &len))
		return NULL;
	for (i = 0; i < ARRAY_LEN(builtins); i++)
		if (strlen(builtins[i].name) == len && !memcmp(builtins[i].name, val, len))
			return &builtins[i];
	return NULL;
}

static int settle_text(struct kernel *k, const struct item *i, bool rejected, const char *body)
{
	_cleanup_free_ uint8_t *raw = NULL;
	size_t len = capdata_size(strlen(body), 0);

	if (!i->row.result)
		return 0;
	raw = malloc(len);
	if (!raw)
		return error_origin(ENOMEM);
	capdata_write(raw, body, strlen(body), NULL, 0);
	return promise_settle(k, (kref_t){ i->row.result }, rejected ? PROMISE_REJECTED : PROMISE_FULFILLED, 0, raw, len);
}

static int settle_error(struct kernel *k, const struct item *i, const char *name, const char *message)
{
	struct smallcaps s = { 0 };
	int r = smallcaps_error(name, message, &s);

	if (r)
		return error_origin(ENOMEM);
	r = settle_text(k, i, true, s.body);
	smallcaps_deinit(&s);
	return r;
}

/* --- console ------------------------------------------------------------------------------------------------------ */

static void print_line(struct kernel *k, void *arg)
{
	(void)k;
	log_info("console: %s", (char *)arg);
	free(arg);
}

static const char *slot_text(void *ctx, uint64_t slot, char buf[40])
{
	(void)ctx;
	return kref_format((kref_t){ slot }, buf);
}

/* Any method of this list prints its arguments, readable, with who said it. */
static int console_call(struct kernel *k, const struct item *i, const char *method)
{
	static const char *const methods[] = { "log", "info", "warn", "error", "debug" };
	_cleanup_free_ char *said = NULL;
	_cleanup_free_ uint64_t *slots = NULL;
	char who[REF_TEXT_MAX], *line = NULL;
	struct capdata c;
	size_t n;

	for (n = 0; n < ARRAY_LEN(methods); n++)
		if (!strcmp(method, methods[n]))
			break;
	if (n == ARRAY_LEN(methods))
		return settle_error(k, i, "TypeError", "console has the methods log, info, warn, error and debug");
	if (!capdata_read(i->raw, i->len, &c))
		return kernel_corrupt("queue: malformed item %" PRIu64, i->seq);
	slots = malloc(c.n_slots * sizeof(*slots) + 1);
	if (!slots)
		return error_origin(ENOMEM);
	memcpy(slots, c.slots, c.n_slots * sizeof(*slots));
	said = smallcaps_render(c.body, c.body_len, slots, c.n_slots, slot_text, NULL);
	if (!said || asprintf(&line, "%s: %.2000s", endpoint_format((endpoint_t){ i->row.sender }, who), said) < 0)
		return error_origin(ENOMEM);
	if (kernel_after_commit(k, print_line, line) < 0) {
		free(line);
		return error_origin(ENOMEM);
	}
	return settle_text(k, i, false, "#\"#undefined\"");
}

/* --- the queue of `k` ---------------------------------------------------------------------------------------------- */

static int call(struct kernel *k, const struct item *i)
{
	const struct builtin *b = service_of(k, (kref_t){ i->row.target });
	_cleanup_free_ char *method = NULL;
	struct capdata c;

	if (!b) {
		struct route gone = { .kind = ROUTE_REJECT, .code = CODE_SERVICE_UNAVAILABLE, .detail = "no such service" };

		/* router_refuse() releases the item; count it once more so that the caller's release stays right. */
		int r = item_count(k, i, 1);

		return r < 0 ? r : router_refuse(k, i, &gone);
	}
	if (!capdata_read(i->raw, i->len, &c))
		return kernel_corrupt("queue: malformed item %" PRIu64, i->seq);
	method = smallcaps_method(c.body, c.body_len);
	if (!method)
		return settle_error(k, i, "TypeError", "the message is not a method call");
	return b->call(k, i, method);
}

int service_pump(struct kernel *k, bool *didp)
{
	_cleanup_(item_deinit) struct item i = ITEM_INIT;
	struct route route;
	int r;

	*didp = false;
	if (!k->n_service_queue)
		return 0;
	r = queue_head(k, ENDPOINT_K.bits, 0, &i);
	*didp = r == 0;
	if (r)
		return r < 0 ? r : 0;
	r = router_route(k, (kref_t){ i.row.target }, (kref_t){ i.row.result }, false, &route);	/* X1: it may be revoked */
	if (r >= 0)
		r = kernel_savepoint(k);
	if (r >= 0)
		r = queue_remove(k, ENDPOINT_K.bits, i.seq);
	if (r >= 0 && route.kind != ROUTE_QUEUE) {
		r = router_refuse(k, &i, &route);
	} else if (r >= 0) {
		r = call(k, &i);
		if (r >= 0)
			r = item_count(k, &i, -1);
	}
	if (r < 0)
		return r;
	k->stats.n_cranks++;
	k->cranks_since_commit++;
	return kernel_release(k);
}
