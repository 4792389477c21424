/* SPDX-License-Identifier: Apache-2.0 */
#include "methods_impl.h"

#include <inttypes.h>
#include <time.h>

#include "../lib/smallcaps.h"
#include "arrival.h"
#include "hosted.h"
#include "launch.h"
#include "object.h"
#include "promise.h"
#include "queue.h"
#include "router.h"
#include "service.h"
#include "spawn.h"
#include "system.h"
#include "vat.h"

#define LOG_LINES_MAX 1000u	/* of one answer */

/* --- parameters ----------------------------------------------------------------------------------------------------- */

int methods_refuse(struct control_request *r, const char *what)
{
	control_error(r, CONTROL_INVALID_PARAMS, NULL, "%s", what);
	return 0;
}

/* By name, or by position for those who send an array. */
json_t *methods_param(json_t *params, const char *name, size_t index)
{
	if (json_is_object(params))
		return json_object_get(params, name);
	return json_is_array(params) ? json_array_get(params, index) : NULL;
}

bool methods_kref(json_t *params, const char *name, size_t index, kref_t *refp)
{
	json_t *v = methods_param(params, name, index);

	return json_is_string(v) && kref_parse(json_string_value(v), json_string_length(v), refp);
}

static bool param_id(json_t *params, char letter, uint64_t *idp)
{
	json_t *v = methods_param(params, "id", 0);

	return json_is_string(v) && id_parse(letter, json_string_value(v), json_string_length(v), idp);
}

struct vat *methods_vat(struct kernel *k, struct control_request *r, json_t *params)
{
	struct vat *v;
	uint64_t id;

	if (!param_id(params, 'v', &id)) {
		methods_refuse(r, "id: expected a vat, as in \"v1\"");
		return NULL;
	}
	v = vat_find(k, id);
	if (!v)
		control_error(r, CONTROL_KERNEL_ERROR, "VAT_UNKNOWN", "there is no v%" PRIu64, id);
	return v;
}

struct vat *methods_live_vat(struct kernel *k, struct control_request *r, json_t *params)
{
	struct vat *v = methods_vat(k, r, params);

	if (!v || v->row.status != VAT_TERMINATED)
		return v;
	control_error(r, CONTROL_KERNEL_ERROR, "VAT_TERMINATED", "v%" PRIu64 " is terminated: %s", v->number, v->row.reason);
	return NULL;
}

/* --- status ----------------------------------------------------------------------------------------------------------- */

static const char *const vat_status_names[] = {
	[VAT_STARTING] = "starting", [VAT_RUNNING] = "running", [VAT_SUSPENDED] = "suspended",
	[VAT_TERMINATED] = "terminated",
};
static const char *const sub_status_names[] = {
	[SUB_LAUNCHING] = "launching", [SUB_RUNNING] = "running", [SUB_TERMINATING] = "terminating",
};

static json_t *isolation_json(uint32_t bits)
{
	static const struct { uint32_t bit; const char *name; } names[] = {
		{ SPAWN_ISO_UID, "uid" }, { SPAWN_ISO_NOCAPS, "nocaps" }, { SPAWN_ISO_NNP, "nnp" },
		{ SPAWN_ISO_FDS, "fds" }, { SPAWN_ISO_SECCOMP, "seccomp" }, { SPAWN_ISO_LANDLOCK, "landlock" },
		{ SPAWN_ISO_NAMESPACES, "namespaces" }, { SPAWN_ISO_CGROUP, "cgroup" }, { SPAWN_ISO_RLIMITS, "rlimits" },
	};
	json_t *a = json_array();
	size_t i;

	for (i = 0; i < ARRAY_LEN(names); i++)
		if (bits & names[i].bit)
			json_array_append_new(a, json_string(names[i].name));
	return a;
}

static json_t *vat_json(const struct vat *v)
{
	const struct row_vat *row = &v->row;

	return json_pack("{sosssosssIsIsIsosssIsIsI}", "id", json_sprintf("v%" PRIu64, v->number), "name", row->name,
			 "subcluster", json_sprintf("s%" PRIu64, row->subcluster), "status", vat_status_names[row->status],
			 "incarnation", (json_int_t)row->incarnation, "pid", (json_int_t)row->pid, "uid", (json_int_t)row->uid,
			 "isolation", isolation_json(row->isolation), "reason", row->reason,
			 "queued", (json_int_t)row->n_queued, "cranks", (json_int_t)row->n_cranks,
			 "deaths", (json_int_t)row->n_deaths);
}

static json_t *subcluster_json(struct kernel *k, uint64_t number, const struct row_subcluster *row)
{
	json_t *vats = json_object();
	char root[REF_TEXT_MAX];
	const char *bootstrap = "";
	struct vat *v, *tmp;

	HASH_ITER(hh, k->vats, v, tmp) {
		if (v->row.subcluster != number)
			continue;
		json_object_set_new(vats, v->row.name, json_sprintf("v%" PRIu64, v->number));
		if (v->number == row->bootstrap_vat)
			bootstrap = v->row.name;
	}
	return json_pack("{sossssssssso}", "id", json_sprintf("s%" PRIu64, number), "name", row->name, "status",
			 sub_status_names[row->status], "bootstrap", bootstrap, "rootKref", kref_format((kref_t){ row->root }, root), "vats", vats);
}

static int collect_subclusters(struct kernel *k, json_t *out)
{
	struct row_subcluster row;
	uint64_t number = 0;
	int r;

	for (;;) {
		r = subcluster_next(k, &number, &row);
		if (r)
			return r < 0 ? r : 0;
		json_array_append_new(out, subcluster_json(k, number, &row));
	}
}

static int list_subclusters(void *ctx, struct control_request *r, json_t *params, int *fds, size_t n_fds)
{
	json_t *list = json_array();
	int e = collect_subclusters(ctx, list);

	(void)params; (void)fds; (void)n_fds;
	if (e >= 0)
		control_reply(r, json_pack("{so}", "subclusters", list));
	else
		json_decref(list);
	return e;
}

static int count_rows(struct kernel *k, enum table t, json_int_t *np)
{
	const void *key = NULL, *val;
	uint8_t at[KEY_MAX];
	size_t key_len = 0, len;
	int r;

	for (*np = 0;; ++*np) {
		r = store_next(k->store, t, key_len ? at : NULL, key_len, !key_len, &key, &key_len, &val, &len);
		if (r)
			return r < 0 ? error_trace(r) : 0;
		memcpy(at, key, key_len);
	}
}

static int get_status(void *ctx, struct control_request *r, json_t *params, int *fds, size_t n_fds)
{
	json_t *subclusters = json_array(), *vats = json_array(), *out;
	struct kernel *k = ctx;
	json_int_t objects, promises, queued;
	struct vat *v, *tmp;
	int e;

	(void)params; (void)fds; (void)n_fds;
	e = collect_subclusters(k, subclusters);
	HASH_ITER(hh, k->vats, v, tmp)
		json_array_append_new(vats, vat_json(v));
	if (e >= 0)
		e = count_rows(k, T_OBJECT, &objects);
	if (e >= 0)
		e = count_rows(k, T_PROMISE, &promises);
	if (e >= 0)
		e = count_rows(k, T_QUEUE, &queued);
	if (e < 0) {
		json_decref(subclusters);
		json_decref(vats);
		return e;
	}
	out = json_pack("{sssIsIsososIsIsIsIsI}", "version", CAPSTAN_VERSION, "uptimeMs",
			(json_int_t)((now_monotonic_ns() - k->start_ns) / 1000000), "pid", (json_int_t)getpid(),
			"subclusters", subclusters, "vats", vats, "objects", objects, "promises", promises, "queued", queued,
			"cranks", (json_int_t)k->stats.n_cranks, "commits", (json_int_t)store_n_commits(k->store));
	json_object_set_new(out, "mount", k->mounted ? json_sprintf("%s/fs", k->run_dir) : json_null());
	json_object_set_new(out, "noMount", k->mount_error[0] ? json_string(k->mount_error) : json_null());
	json_object_set_new(out, "system", system_to_json(k));
	json_object_set_new(out, "deaths", json_integer(k->stats.n_deaths));
	json_object_set_new(out, "abandoned", json_integer(k->stats.n_abandoned));
	json_object_set_new(out, "illegal", json_integer(k->stats.n_illegal));
	json_object_set_new(out, "messages", json_integer(k->stats.n_delivered_messages));
	json_object_set_new(out, "notifies", json_integer(k->stats.n_notifies));
	json_object_set_new(out, "collected", json_integer(k->stats.n_gc));
	json_object_set_new(out, "quiet", json_boolean(kernel_is_quiet(k)));
	json_object_set_new(out, "droppedSends", json_integer(k->stats.n_dropped_sends));
	control_reply(r, out);
	return 0;
}

/* --- launch -------------------------------------------------------------------------------------------------------------- */

static bool paths_match(const struct config_paths *paths, json_t *given, size_t n_fds)
{
	size_t i;

	if (json_array_size(given) != paths->n || n_fds != paths->n)
		return false;
	for (i = 0; i < paths->n; i++) {
		const char *s = json_string_value(json_array_get(given, i));

		if (!s || strcmp(s, paths->paths[i]))
			return false;
	}
	return true;
}

static int launch_subcluster(void *ctx, struct control_request *r, json_t *params, int *fds, size_t n_fds)
{
	json_t *json = methods_param(params, "config", 0), *given = methods_param(params, "paths", 1);
	struct config_paths paths = { 0 };
	struct config *config = NULL;
	char error[CONFIG_ERROR_MAX];
	int e;

	if (!json)
		return methods_refuse(r, "config: missing");
	e = config_parse(json, &config, error);
	if (e == 0)
		e = config_paths(config, &paths);
	if (e == 0 && !given && paths.n) {
		snprintf(error, sizeof(error), "config: %.120s is a path, and no open file came with it; name a program or file that "
			 "was launched before by \"sha256:\" and its hash", paths.paths[0]);
		e = CONFIG_E_INVALID;
	} else if (e == 0 && !paths_match(&paths, given, n_fds)) {
		snprintf(error, sizeof(error), "paths: expected the %zu paths of the config in their order, and an open file for each",
			 paths.n);
		e = CONFIG_E_INVALID;
	}
	config_paths_deinit(&paths);
	if (e == 0)
		return arrival_begin(ctx, config, json, fds, r);
	config_free(config);
	return e < 0 ? e : methods_refuse(r, error);
}

/* --- lives ----------------------------------------------------------------------------------------------------------------- */

static int terminate_subcluster(void *ctx, struct control_request *r, json_t *params, int *fds, size_t n_fds)
{
	uint64_t id;
	int e;

	(void)fds; (void)n_fds;
	if (!param_id(params, 's', &id))
		return methods_refuse(r, "id: expected a subcluster, as in \"s1\"");
	e = subcluster_terminate(ctx, id, "terminated by request", r);
	if (e > 0) {
		control_error(r, CONTROL_KERNEL_ERROR, "SUBCLUSTER_UNKNOWN", "there is no s%" PRIu64, id);
		e = 0;
	}
	return e;
}

static int terminate_vat(void *ctx, struct control_request *r, json_t *params, int *fds, size_t n_fds)
{
	struct vat *v = methods_live_vat(ctx, r, params);
	int e;

	(void)fds; (void)n_fds;
	if (!v)
		return 0;
	e = vat_terminate(ctx, v, "terminated by request");
	if (e >= 0)
		control_reply(r, json_object());
	return e;
}

static int terminate_all(void *ctx, struct control_request *r, json_t *params, int *fds, size_t n_fds)
{
	struct kernel *k = ctx;
	struct vat *v, *tmp;
	int e = 0;

	(void)params; (void)fds; (void)n_fds;
	HASH_ITER(hh, k->vats, v, tmp) {
		if (e >= 0)
			e = vat_terminate(k, v, "terminated by request");
	}
	if (e >= 0)
		control_reply(r, json_object());
	return e < 0 ? e : 0;
}

static int not_while_launching(struct control_request *r, const struct vat *v)
{
	if (!(v->row.flags & VAT_F_LAUNCHING))
		return 0;
	control_error(r, CONTROL_KERNEL_ERROR, "VAT_LAUNCHING", "v%" PRIu64 " is still being launched", v->number);
	return 1;
}

static int restart_vat(void *ctx, struct control_request *r, json_t *params, int *fds, size_t n_fds)
{
	struct vat *v = methods_live_vat(ctx, r, params);
	int e;

	(void)fds; (void)n_fds;
	if (!v || not_while_launching(r, v))
		return 0;
	e = vat_restart(ctx, v);
	if (e >= 0)
		control_reply(r, json_object());
	return e;
}

static int suspend_vat(void *ctx, struct control_request *r, json_t *params, int *fds, size_t n_fds)
{
	struct vat *v = methods_live_vat(ctx, r, params);
	int e = 0;

	(void)fds; (void)n_fds;
	if (!v || not_while_launching(r, v))
		return 0;
	if (v->row.status != VAT_SUSPENDED)
		e = vat_suspend(ctx, v, "suspended by request");
	if (e >= 0)
		control_reply(r, json_object());
	return e;
}

static int resume_vat(void *ctx, struct control_request *r, json_t *params, int *fds, size_t n_fds)
{
	struct vat *v = methods_live_vat(ctx, r, params);
	int e;

	(void)fds; (void)n_fds;
	if (!v)
		return 0;
	if (v->row.status != VAT_SUSPENDED) {
		control_error(r, CONTROL_KERNEL_ERROR, "VAT_NOT_SUSPENDED", "v%" PRIu64 " is not suspended", v->number);
		return 0;
	}
	e = vat_resume(ctx, v);
	if (e >= 0)
		control_reply(r, json_object());
	return e;
}

static int ping_vat(void *ctx, struct control_request *r, json_t *params, int *fds, size_t n_fds)
{
	struct vat *v = methods_live_vat(ctx, r, params);

	(void)fds; (void)n_fds;
	return v ? vat_ping(ctx, v, r) : 0;
}

static int shut_down(void *ctx, struct control_request *r, json_t *params, int *fds, size_t n_fds)
{
	struct kernel *k = ctx;

	(void)params; (void)fds; (void)n_fds;
	k->stopping = true;
	control_reply(r, json_object());
	return 0;
}

/* --- calls ------------------------------------------------------------------------------------------------------------------ */

struct call { struct host_call host; struct kernel *kernel; struct control_request *request; bool hold, gone; };

static int call_end(struct kernel *k, struct call *c)
{
	int r = kernel_savepoint(k);

	if (r >= 0)
		r = kernel_unsubscribe_host(k, &c->host);
	return r < 0 ? r : kernel_release(k);
}

/* Each reference that a person gets to see stays usable until it is released. */
static int hold_printed(struct kernel *k, kref_t promise)
{
	_cleanup_free_ uint64_t *slots = NULL;
	uint64_t count;
	size_t i, n;
	int r;

	r = promise_value_slots(k, promise, &slots, &n);
	if (r < 0)
		return r;
	r = kernel_savepoint(k);
	for (i = 0; r >= 0 && i < n; i++) {
		r = kernel_hold_count(k, (kref_t){ slots[i] }, HOLD_PERSON, 0, &count);
		if (r >= 0 && !count)
			r = kernel_hold(k, (kref_t){ slots[i] }, HOLD_PERSON, 0, 1);
	}
	return r < 0 ? r : kernel_release(k);
}

static int call_settled(struct kernel *k, struct host_call *host)
{
	struct call *c = container_of(host, struct call, host);
	bool rejected;
	json_t *json;
	int r;

	r = value_to_json(k, host->promise, &json, &rejected);
	if (r >= 0 && c->hold && !c->gone)
		r = hold_printed(k, host->promise);
	if (r >= 0)
		r = call_end(k, c);
	if (r < 0)
		return r;
	control_reply(c->request, json);
	free(c);
	return 0;
}

static void call_gone(void *arg)
{
	struct call *c = arg;

	c->gone = true;
	c->kernel->calls_gone = true;
}

void methods_forget_call(struct host_call *h)
{
	if (h->settled == call_settled)
		free(container_of(h, struct call, host));
}

int methods_pump(struct kernel *k)
{
	struct host_call *h, *tmp;

	if (!k->calls_gone)
		return 0;
	k->calls_gone = false;
	HASH_ITER(hh, k->calls, h, tmp) {
		struct call *c = container_of(h, struct call, host);
		int r;

		if (h->settled != call_settled || !c->gone)
			continue;
		r = call_end(k, c);
		if (r < 0)
			return r;
		control_error(c->request, CONTROL_INTERNAL, NULL, "the caller is gone");
		free(c);
	}
	return 0;
}

/* C7: what is named from outside must be alive now. */
static int check_named(struct kernel *k, struct control_request *r, kref_t target, const struct smallcaps *s)
{
	char text[REF_TEXT_MAX];
	bool usable;
	size_t i;
	int e;

	for (i = 0; i <= s->n_slots; i++) {
		kref_t ref = i ? (kref_t){ s->slots[i - 1] } : target;

		e = kref_is_usable(k, ref, &usable);
		if (e < 0)
			return e;
		if (!usable) {
			control_error(r, CONTROL_KERNEL_ERROR, "OBJECT_DELETED", "%s does not exist, or nothing reaches it any more",
				      kref_format(ref, text));
			return 1;
		}
	}
	return 0;
}

int methods_send(struct kernel *k, kref_t target, const struct smallcaps *s, struct control_request *request, bool hold)
{
	_cleanup_(item_deinit) struct item item = ITEM_INIT;
	struct call *c = calloc(1, sizeof(*c));
	kref_t result;
	int r;

	if (!c)
		return error_origin(ENOMEM);
	r = item_host_message(&item, target, s->body, s->body_len, s->slots, s->n_slots);
	if (r >= 0)
		r = kernel_savepoint(k);
	if (r >= 0)
		r = promise_new(k, &result);
	if (r < 0) {
		free(c);
		return r;
	}
	*c = (struct call){ .host = { .promise = result, .settled = call_settled }, .kernel = k, .request = request,
			    .hold = hold };
	item.row.result = result.bits;
	r = kernel_subscribe_host(k, &c->host);
	if (r >= 0)
		r = router_send(k, &item);
	if (r >= 0)
		r = kernel_release(k);
	if (r >= 0)
		control_request_on_gone(request, call_gone, c);
	return r;
}

static int queue_message(void *ctx, struct control_request *r, json_t *params, int *fds, size_t n_fds)
{
	json_t *method = methods_param(params, "method", 1), *args = methods_param(params, "args", 2), *hold = methods_param(params, "hold", 3);
	char error[SMALLCAPS_ERROR_MAX];
	struct smallcaps s = { 0 };
	kref_t target;
	int e;

	(void)fds; (void)n_fds;
	if (!methods_kref(params, "target", 0, &target))
		return methods_refuse(r, "target: expected a reference, as in \"ko4\"");
	if (!json_is_string(method))
		return methods_refuse(r, "method: expected a string");
	if (!json_is_array(args))
		return methods_refuse(r, "args: expected an array");
	if (hold && !json_is_boolean(hold))
		return methods_refuse(r, "hold: expected true or false");
	e = smallcaps_methargs(json_string_value(method), args, &s, error);
	if (e > 0)
		return methods_refuse(r, error);
	if (e == 0)
		e = check_named(ctx, r, target, &s);
	if (e == 0)
		e = methods_send(ctx, target, &s, r, json_is_true(hold));
	smallcaps_deinit(&s);
	return e < 0 ? e : 0;
}

/* --- services --------------------------------------------------------------------------------------------------------- */

/* NULL: answered. */
static const char *param_service(struct control_request *r, json_t *params)
{
	json_t *name = methods_param(params, "name", 0);

	if (json_is_string(name) && config_name_is_legal(json_string_value(name), json_string_length(name)))
		return json_string_value(name);
	methods_refuse(r, "name: expected a name of 1 to 64 of A-Z a-z 0-9 . _ : -, not \".\" or \"..\"");
	return NULL;
}

static int register_service(void *ctx, struct control_request *r, json_t *params, int *fds, size_t n_fds)
{
	json_t *system_only = methods_param(params, "systemOnly", 1);
	char text[REF_TEXT_MAX];
	const char *name = param_service(r, params);
	kref_t ref;
	int e;

	(void)fds; (void)n_fds;
	if (!name)
		return 0;
	if (system_only && !json_is_boolean(system_only))
		return methods_refuse(r, "systemOnly: expected true or false");
	e = hosted_register(ctx, r, name, system_only ? json_is_true(system_only) : -1, &ref);
	if (e == 0)
		control_reply(r, json_pack("{ssss}", "name", name, "kref", kref_format(ref, text)));
	return e < 0 ? e : 0;
}

static int unregister_service(void *ctx, struct control_request *r, json_t *params, int *fds, size_t n_fds)
{
	const char *name = param_service(r, params);
	int e;

	(void)fds; (void)n_fds;
	if (!name)
		return 0;
	e = hosted_unregister(ctx, r, name);
	if (e == 0)
		control_reply(r, json_object());
	return e < 0 ? e : 0;
}

/* Calls in the queue of `k` by the object that they are for. */
struct waiting { uint64_t kref; json_int_t n; UT_hash_handle hh; };

static int count_calls(struct kernel *k, struct waiting **countsp)
{
	uint64_t seq = 0;
	int r;

	for (;; seq++) {
		struct row_item row;
		struct waiting *w;

		r = queue_peek(k, ENDPOINT_K.bits, seq, &seq, &row);
		if (r)
			return r < 0 ? r : 0;
		HASH_FIND(hh, *countsp, &row.target, sizeof(row.target), w);
		if (!w) {
			w = calloc(1, sizeof(*w));
			if (!w)
				return error_origin(ENOMEM);
			w->kref = row.target;
			HASH_ADD(hh, *countsp, kref, sizeof(w->kref), w);
		}
		w->n++;
	}
}

static json_t *service_json(struct kernel *k, const char *name, size_t name_len, const struct row_service *row,
			    struct waiting *counts)
{
	bool host = row->flags & SERVICE_F_HOST, io = row->flags & SERVICE_F_IO;
	char text[REF_TEXT_MAX];
	struct waiting *w;
	json_t *s;

	HASH_FIND(hh, counts, &row->kref, sizeof(row->kref), w);
	s = json_pack("{ss#sssssbsI}", "name", name, (int)name_len, "kref", kref_format((kref_t){ row->kref }, text), "kind",
		      io ? "io" : host ? "host" : "builtin", "systemOnly", (int)!!(row->flags & SERVICE_F_SYSTEM_ONLY),
		      "waiting", w ? w->n : 0);
	if (host && !io) {
		json_object_set_new(s, "attached", json_boolean(hosted_is_attached(k, (kref_t){ row->kref })));
		json_object_set_new(s, "uid", json_integer(row->uid));
	}
	return s;
}

static int collect_services(struct kernel *k, json_t *list, struct waiting *counts)
{
	const void *key, *val;
	struct row_service row;
	size_t key_len = 0, len;
	uint8_t at[KEY_MAX];
	int r;

	for (;;) {
		r = store_next(k->store, T_SERVICE, key_len ? at : NULL, key_len, !key_len, &key, &key_len, &val, &len);
		if (r)
			return r < 0 ? error_trace(r) : 0;
		memcpy(at, key, key_len);
		if (len != sizeof(row))
			return kernel_corrupt("store: a service row is damaged");
		memcpy(&row, val, sizeof(row));
		json_array_append_new(list, service_json(k, (const char *)at, key_len, &row, counts));
	}
}

static int list_services(void *ctx, struct control_request *r, json_t *params, int *fds, size_t n_fds)
{
	struct waiting *counts = NULL, *w, *tmp;
	json_t *list = json_array();
	int e;

	(void)params; (void)fds; (void)n_fds;
	e = count_calls(ctx, &counts);
	if (e >= 0)
		e = collect_services(ctx, list, counts);
	HASH_ITER(hh, counts, w, tmp) {
		HASH_DEL(counts, w);
		free(w);
	}
	if (e >= 0)
		control_reply(r, json_pack("{so}", "services", list));
	else
		json_decref(list);
	return e;
}

/* --- log ------------------------------------------------------------------------------------------------------------------- */

char *methods_time(uint64_t us, char buf[40])
{
	time_t t = us / 1000000;
	struct tm tm;
	char date[24];

	gmtime_r(&t, &tm);
	strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(buf, 40, "%s.%06uZ", date, (unsigned)(us % 1000000));
	return buf;
}

static int collect_lines(struct kernel *k, struct vat *v, uint64_t after, json_t *lines, uint64_t *nextp)
{
	static const char *const levels[] = { "debug", "info", "warning", "error" };
	const void *key, *val;
	size_t key_len, len, text_len;
	const char *text;
	struct row_log row;
	uint8_t at[16];
	char when[40];
	int r;

	*nextp = after;
	while (json_array_size(lines) < LOG_LINES_MAX) {
		json_t *line, *t;

		key_u64_u64(at, v->number, *nextp);
		r = store_next(k->store, T_LOG, at, 16, false, &key, &key_len, &val, &len);
		if (r < 0)
			return error_trace(r);
		if (r == STORE_NOT_FOUND || get_be64(key) != v->number)
			return 0;
		if (!row_log_read(val, len, &row, &text, &text_len))
			return kernel_corrupt("store: a log row is damaged");
		*nextp = get_be64((const uint8_t *)key + 8);
		t = json_stringn(text, text_len);
		if (!t) {	/* not UTF-8: shown escaped */
			char shown[4 * WIRE_MAX_LOG + 1];

			escape_bytes(shown, sizeof(shown), text, text_len);
			t = json_string(shown);
		}
		line = json_pack("{sIsssIsssIso}", "n", (json_int_t)*nextp, "time", methods_time(row.time_us, when), "timeUs",
				 (json_int_t)row.time_us, "level", levels[row.level & 3], "incarnation",
				 (json_int_t)row.incarnation, "text", t);
		json_array_append_new(lines, line);
	}
	return 0;
}

static void watch_gone(void *arg)
{
	struct vat_watch *w = arg, **p;

	for (p = &w->vat->watches; *p; p = &(*p)->next)
		if (*p == w) {
			*p = w->next;
			break;
		}
	control_error(w->request, CONTROL_INTERNAL, NULL, "the caller is gone");
	free(w);
}

static int get_log(void *ctx, struct control_request *r, json_t *params, int *fds, size_t n_fds)
{
	json_t *after = methods_param(params, "after", 1), *wait = methods_param(params, "wait", 2), *lines;
	struct vat *v = methods_vat(ctx, r, params);
	struct vat_watch *w;
	uint64_t next;
	int e;

	(void)fds; (void)n_fds;
	if (!v)
		return 0;
	if (after && (!json_is_integer(after) || json_integer_value(after) < 0))
		return methods_refuse(r, "after: expected a line number");
	if (wait && !json_is_boolean(wait))
		return methods_refuse(r, "wait: expected true or false");
	lines = json_array();
	e = collect_lines(ctx, v, after ? json_integer_value(after) : 0, lines, &next);
	if (e < 0 || json_array_size(lines) || !json_is_true(wait) || v->row.status == VAT_TERMINATED) {
		if (e >= 0)
			control_reply(r, json_pack("{sosI}", "lines", lines, "next", (json_int_t)next));
		else
			json_decref(lines);
		return e;
	}
	json_decref(lines);
	w = calloc(1, sizeof(*w));
	if (!w)
		return error_origin(ENOMEM);
	*w = (struct vat_watch){ .request = r, .vat = v, .after = next, .next = v->watches };
	v->watches = w;
	control_request_on_gone(r, watch_gone, w);
	return 0;
}

int vat_answer_watches(struct kernel *k, struct vat *v)
{
	struct vat_watch *w;
	int r = 0;

	while (r >= 0 && (w = v->watches)) {
		json_t *lines = json_array();
		uint64_t next;

		v->watches = w->next;
		r = collect_lines(k, v, w->after, lines, &next);
		control_reply(w->request, json_pack("{sosI}", "lines", lines, "next", (json_int_t)next));
		free(w);
	}
	return r;
}

const struct control_method kernel_methods[] = {
	{ "getStatus", get_status },
	{ "listSubclusters", list_subclusters },
	{ "launchSubcluster", launch_subcluster },
	{ "terminateSubcluster", terminate_subcluster },
	{ "terminateVat", terminate_vat },
	{ "terminateAllVats", terminate_all },
	{ "restartVat", restart_vat },
	{ "suspendVat", suspend_vat },
	{ "resumeVat", resume_vat },
	{ "pingVat", ping_vat },
	{ "queueMessage", queue_message },
	{ "holds", upkeep_holds },
	{ "release", upkeep_release },
	{ "revoke", upkeep_revoke },
	{ "isRevoked", upkeep_is_revoked },
	{ "registerService", register_service },
	{ "unregisterService", unregister_service },
	{ "listServices", list_services },
	{ "revokeVat", upkeep_revoke_vat },
	{ "pin", upkeep_pin },
	{ "unpin", upkeep_unpin },
	{ "reapVats", upkeep_reap },
	{ "collectGarbage", upkeep_collect },
	{ "aside", upkeep_aside },
	{ "getLog", get_log },
	{ "shutdown", shut_down },
	{ NULL, NULL },
};
