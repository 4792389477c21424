/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Methods of the control socket with which people look after a kernel: holds and pins (S5, G5), revoking (X1), collection (G4), and
 * the messages that were set aside (V4).
 */
#include "methods_impl.h"

#include <inttypes.h>

#include "../lib/smallcaps.h"
#include "aside.h"
#include "collect.h"
#include "launch.h"
#include "object.h"

#define ASIDE_LOOKS 100000u	/* references looked at for one list: more would hold up everybody */

/* --- holds and pins ------------------------------------------------------------------------------------------------- */

static const char *const hold_names[] = {
	[HOLD_ROOT] = "root", [HOLD_RESULT] = "result", [HOLD_PERSON] = "person", [HOLD_SERVICE] = "service",
	[HOLD_PIN] = "pin", [HOLD_HOST] = "call",
};

int upkeep_holds(void *ctx, struct control_request *r, json_t *params, int *fds, size_t n_fds)
{
	struct kernel *k = ctx;
	const void *key, *val;
	char text[REF_TEXT_MAX], when[40];
	json_t *list = json_array();
	uint8_t at[KEY_MAX];
	struct row_hold row;
	size_t key_len = 0, len;
	int e;

	(void)params; (void)fds; (void)n_fds;
	for (;;) {
		uint8_t kind;
		json_t *hold;

		e = store_next(k->store, T_HOLD, key_len ? at : NULL, key_len, !key_len, &key, &key_len, &val, &len);
		if (e)
			break;
		memcpy(at, key, key_len);
		kind = at[8];
		if (!row_hold_read(val, len, &row) || kind >= ARRAY_LEN(hold_names) || !hold_names[kind]) {
			json_decref(list);
			return kernel_corrupt("store: hold row is damaged");
		}
		if (kind == HOLD_HOST)
			continue;	/* calls on their way, not something to release */
		hold = json_pack("{sssssIss}", "kref", kref_format((kref_t){ get_be64(at) }, text), "kind", hold_names[kind],
				 "count", (json_int_t)row.count, "since", methods_time(row.since_us, when));
		json_object_set_new(hold, "owner", kind == HOLD_ROOT || kind == HOLD_RESULT
							   ? json_sprintf("s%" PRIu64, get_be64(at + 9)) : json_null());
		json_array_append_new(list, hold);
	}
	if (e < 0) {
		json_decref(list);
		return error_trace(e);
	}
	control_reply(r, json_pack("{so}", "holds", list));
	return 0;
}

int upkeep_release(void *ctx, struct control_request *r, json_t *params, int *fds, size_t n_fds)
{
	struct kernel *k = ctx;
	char text[REF_TEXT_MAX];
	uint64_t count;
	kref_t ref;
	int e;

	(void)fds; (void)n_fds;
	if (!methods_kref(params, "kref", 0, &ref))
		return methods_refuse(r, "kref: expected a reference, as in \"ko9\"");
	e = kernel_hold_count(k, ref, HOLD_PERSON, 0, &count);
	if (e < 0)
		return e;
	if (!count) {
		control_error(r, CONTROL_KERNEL_ERROR, "NOT_HELD", "%s is not held for you; `holds` lists what is",
			      kref_format(ref, text));
		return 0;
	}
	e = kernel_savepoint(k);
	if (e >= 0)
		e = kernel_hold(k, ref, HOLD_PERSON, 0, -(int64_t)count);
	if (e >= 0)
		e = kernel_release(k);
	if (e >= 0)
		control_reply(r, json_object());
	return e;
}

static int change_pins(struct kernel *k, struct control_request *r, kref_t ref, uint64_t count, int delta)
{
	char text[REF_TEXT_MAX];
	int e = kernel_savepoint(k);

	if (e >= 0)
		e = kernel_hold(k, ref, HOLD_PIN, 0, delta);
	if (e >= 0)
		e = kernel_release(k);
	if (e >= 0)
		control_reply(r, json_pack("{sssI}", "kref", kref_format(ref, text), "pins", (json_int_t)count + delta));
	return e;
}

int upkeep_pin(void *ctx, struct control_request *r, json_t *params, int *fds, size_t n_fds)
{
	struct kernel *k = ctx;
	char text[REF_TEXT_MAX];
	uint64_t count = 0;
	bool usable;
	kref_t ref;
	int e;

	(void)fds; (void)n_fds;
	if (!methods_kref(params, "kref", 0, &ref))
		return methods_refuse(r, "kref: expected a reference, as in \"ko9\"");
	e = kref_is_usable(k, ref, &usable);	/* C7 */
	if (e >= 0 && !usable) {
		control_error(r, CONTROL_KERNEL_ERROR, "OBJECT_DELETED", "%s does not exist, or nothing reaches it any more",
			      kref_format(ref, text));
		return 0;
	}
	if (e >= 0)
		e = kernel_hold_count(k, ref, HOLD_PIN, 0, &count);
	return e < 0 ? e : change_pins(k, r, ref, count, 1);
}

int upkeep_unpin(void *ctx, struct control_request *r, json_t *params, int *fds, size_t n_fds)
{
	struct kernel *k = ctx;
	char text[REF_TEXT_MAX];
	uint64_t count;
	kref_t ref;
	int e;

	(void)fds; (void)n_fds;
	if (!methods_kref(params, "kref", 0, &ref))
		return methods_refuse(r, "kref: expected a reference, as in \"ko9\"");
	e = kernel_hold_count(k, ref, HOLD_PIN, 0, &count);
	if (e < 0)
		return e;
	if (count)
		return change_pins(k, r, ref, count, -1);
	control_error(r, CONTROL_KERNEL_ERROR, "NOT_PINNED", "%s is not pinned; `holds` lists what is", kref_format(ref, text));
	return 0;
}

/* --- revoking, collecting ------------------------------------------------------------------------------------------- */

static int load_object(struct kernel *k, struct control_request *r, json_t *params, kref_t *refp, struct row_object *row)
{
	char text[REF_TEXT_MAX];
	int e;

	if (!methods_kref(params, "kref", 0, refp) || kref_is_promise(*refp)) {
		methods_refuse(r, "kref: expected an object, as in \"ko9\"");
		return 1;
	}
	e = object_load(k, *refp, row);
	if (e > 0)
		control_error(r, CONTROL_KERNEL_ERROR, "OBJECT_DELETED", "%s does not exist", kref_format(*refp, text));
	return e;
}

int upkeep_revoke(void *ctx, struct control_request *r, json_t *params, int *fds, size_t n_fds)
{
	struct kernel *k = ctx;
	struct row_object row;
	kref_t ref;
	int e;

	(void)fds; (void)n_fds;
	e = load_object(k, r, params, &ref, &row);
	if (e)
		return e < 0 ? e : 0;
	e = kernel_savepoint(k);
	if (e >= 0)
		e = object_revoke(k, ref, &row);	/* X1 */
	if (e >= 0)
		e = kernel_release(k);
	if (e >= 0)
		control_reply(r, json_object());
	return e;
}

int upkeep_is_revoked(void *ctx, struct control_request *r, json_t *params, int *fds, size_t n_fds)
{
	struct row_object row;
	kref_t ref;
	int e;

	(void)fds; (void)n_fds;
	e = load_object(ctx, r, params, &ref, &row);
	if (e == 0)
		control_reply(r, json_pack("{sb}", "revoked", (int)object_is_revoked(ctx, ref, &row)));
	return e < 0 ? e : 0;
}

int upkeep_revoke_vat(void *ctx, struct control_request *r, json_t *params, int *fds, size_t n_fds)
{
	struct kernel *k = ctx;
	struct vat *v = methods_live_vat(k, r, params);
	int e;

	(void)fds; (void)n_fds;
	if (!v)
		return 0;
	e = kernel_savepoint(k);
	if (e >= 0)
		e = object_revoke_all(k, v);
	if (e >= 0)
		e = kernel_release(k);
	if (e >= 0)
		control_reply(r, json_object());
	return e;
}

static int reap_all(struct kernel *k, struct control_request *r)
{
	struct vat *v, *tmp;
	json_int_t n = 0;
	int e = 0;

	HASH_ITER(hh, k->vats, v, tmp) {
		if (e < 0 || v->row.status == VAT_TERMINATED)
			continue;
		e = collect_reap(k, v);
		n++;
	}
	if (e >= 0)
		control_reply(r, json_pack("{sI}", "vats", n));
	return e;
}

int upkeep_reap(void *ctx, struct control_request *r, json_t *params, int *fds, size_t n_fds)
{
	json_t *all = methods_param(params, "all", 1);
	struct vat *v;
	int e;

	(void)fds; (void)n_fds;
	if (all && (!json_is_true(all) || methods_param(params, "id", 0)))
		return methods_refuse(r, "all: expected true, and then no id");
	if (all)
		return reap_all(ctx, r);
	v = methods_live_vat(ctx, r, params);
	if (!v)
		return 0;
	e = collect_reap(ctx, v);
	if (e >= 0)
		control_reply(r, json_pack("{si}", "vats", 1));
	return e;
}

int upkeep_collect(void *ctx, struct control_request *r, json_t *params, int *fds, size_t n_fds)
{
	(void)params; (void)fds; (void)n_fds;
	return collect_begin(ctx, r);
}

/* --- what was set aside --------------------------------------------------------------------------------------------- */

/* *budget: references that may still be looked at; a message with more is listed without saying whether it can be sent. */
static int aside_json(struct kernel *k, const struct aside *a, size_t *budget, json_t **jsonp)
{
	bool looked = a->methargs.n_slots <= *budget;
	_cleanup_free_ char *method = smallcaps_method(a->methargs.body, a->methargs.body_len);
	struct vat *v = vat_find(k, a->vat);
	char text[REF_TEXT_MAX], when[40];
	kref_t lost = KREF_NONE;
	json_t *name;
	int r;

	*budget -= looked ? a->methargs.n_slots : 0;
	r = looked ? aside_lost(k, a, &lost) : 0;
	if (r < 0)
		return r;
	*jsonp = json_pack("{sIsssosssssIsI}", "id", (json_int_t)a->seq, "time", methods_time(a->row.time_us, when), "vat",
			   json_sprintf("v%" PRIu64, a->vat), "name", v ? v->row.name : "", "target",
			   kref_format((kref_t){ a->row.target }, text), "deaths", (json_int_t)a->row.deaths, "bytes",
			   (json_int_t)a->methargs.body_len);
	if (!*jsonp)
		return error_origin(ENOMEM);
	/* A name is any text that a vat liked to send; what is not UTF-8 has none. */
	name = method ? json_string(method) : NULL;
	json_object_set_new(*jsonp, "method", name ? name : json_null());
	json_object_set_new(*jsonp, "sendable", looked ? json_boolean(kref_is_none(lost)) : json_null());
	json_object_set_new(*jsonp, "lost", kref_is_none(lost) ? json_null() : json_string(kref_format(lost, text)));
	return 0;
}

static int list_aside(struct kernel *k, struct control_request *r)
{
	struct aside a = { 0 };
	json_t *list = json_array();
	size_t budget = ASIDE_LOOKS;
	int e;

	while ((e = aside_next(k, &a)) == 0) {
		json_t *one;

		e = aside_json(k, &a, &budget, &one);
		if (e < 0)
			break;
		json_array_append_new(list, one);
	}
	if (e < 0) {
		json_decref(list);
		return e;
	}
	control_reply(r, json_pack("{so}", "aside", list));
	return 0;
}

/* A new call, with an answer for whoever sends it now; whoever sent it first was told (R1). It stays until it is dropped. */
static int send_aside(struct kernel *k, struct control_request *r, const struct aside *a)
{
	_cleanup_free_ uint64_t *slots = malloc(a->methargs.n_slots * sizeof(*slots) + 1);
	_cleanup_free_ char *body = malloc(a->methargs.body_len + 1);
	struct smallcaps s = { body, a->methargs.body_len, slots, a->methargs.n_slots };
	kref_t target = { a->row.target }, lost;
	char text[REF_TEXT_MAX];
	int e;

	if (!slots || !body)
		return error_origin(ENOMEM);
	memcpy(slots, a->methargs.slots, s.n_slots * sizeof(*slots));
	memcpy(body, a->methargs.body, s.body_len);
	e = aside_lost(k, a, &lost);
	if (e < 0)
		return e;
	if (kref_is_none(lost))
		return methods_send(k, target, &s, r, true);
	control_error(r, CONTROL_KERNEL_ERROR, "OBJECT_DELETED", "%s, which it names, does not exist, or nothing reaches it any more",
		      kref_format(lost, text));
	return 0;
}

static int drop_aside(struct kernel *k, struct control_request *r, const struct aside *a)
{
	int e = kernel_savepoint(k);

	if (e >= 0)
		e = aside_drop(k, vat_find(k, a->vat), a->seq);
	if (e >= 0)
		e = kernel_release(k);
	if (e >= 0)
		control_reply(r, json_object());
	return e;
}

int upkeep_aside(void *ctx, struct control_request *r, json_t *params, int *fds, size_t n_fds)
{
	json_t *send = methods_param(params, "send", 0), *drop = methods_param(params, "drop", 1), *id = send ? send : drop;
	struct kernel *k = ctx;
	struct aside a;
	int e;

	(void)fds; (void)n_fds;
	if (!id)
		return list_aside(k, r);
	if ((send && drop) || !json_is_integer(id) || json_integer_value(id) < 0)
		return methods_refuse(r, "send, drop: expected the id of one message, as `aside` lists it");
	e = aside_find(k, json_integer_value(id), &a);
	if (e == ASIDE_E_UNKNOWN) {
		control_error(r, CONTROL_KERNEL_ERROR, "ASIDE_UNKNOWN", "no message with id %" JSON_INTEGER_FORMAT " was set aside",
			      json_integer_value(id));
		return 0;
	}
	if (e < 0)
		return e;
	return send ? send_aside(k, r, &a) : drop_aside(k, r, &a);
}
