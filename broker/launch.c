/* SPDX-License-Identifier: Apache-2.0 */
#include "launch.h"

#include <inttypes.h>

#include "../lib/smallcaps.h"
#include "clist.h"
#include "cycle.h"
#include "facet.h"
#include "io.h"
#include "live.h"
#include "object.h"
#include "promise.h"
#include "router.h"
#include "service.h"
#include "system.h"
#include "vat.h"

/* A subcluster on its way up or down. RAM only: at boot, launching ones are terminated and ending ones found again. */
struct launch {
	struct launch *next;
	uint64_t number;
	size_t n_to_start;
	bool failed;			/* terminate it from launch_pump */
	bool ending;			/* TERMINATING; remove it when all its vats are gone */
	char error[300];
	struct control_request *request;	/* of the launch */
	struct control_request **enders;	/* of terminations */
	size_t n_enders;
	struct host_call call;		/* the bootstrap's answer */
	bool called;
	char bootstrap[VAT_NAME_MAX + 8];
	char system[VAT_NAME_MAX + 8];	/* its name, if it is a system subcluster */
	char **services;
	size_t n_services;
};

static struct launch *launch_find(struct kernel *k, uint64_t number)
{
	struct launch *l;

	for (l = k->launches; l; l = l->next)
		if (l->number == number)
			return l;
	return NULL;
}

static struct launch *launch_new(struct kernel *k, uint64_t number)
{
	struct launch *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	l->number = number;
	l->next = k->launches;
	k->launches = l;
	return l;
}

static void launch_free(struct kernel *k, struct launch *l)
{
	struct launch **p;
	size_t i;

	for (p = &k->launches; *p; p = &(*p)->next)
		if (*p == l) {
			*p = l->next;
			break;
		}
	for (i = 0; i < l->n_services; i++)
		free(l->services[i]);
	free(l->services);
	free(l->enders);
	free(l);
}

void launch_deinit(struct kernel *k)
{
	while (k->launches)
		launch_free(k, k->launches);
}

int subcluster_load(struct kernel *k, uint64_t number, struct row_subcluster *rowp)
{
	const void *val;
	uint8_t key[8];
	size_t len;
	int r;

	r = store_get(k->store, T_SUBCLUSTER, key, key_u64(key, number), &val, &len);
	if (r < 0)
		return error_trace(r);
	if (r == STORE_NOT_FOUND)
		return SUBCLUSTER_E_UNKNOWN;
	if (!row_subcluster_read(val, len, rowp))
		return kernel_corrupt("store: a subcluster row is damaged");
	return 0;
}

int subcluster_config(struct kernel *k, uint64_t number, json_t **jsonp)
{
	const void *val;
	uint8_t key[8];
	size_t len;
	int r;

	r = store_get(k->store, T_SUB_CONFIG, key, key_u64(key, number), &val, &len);
	if (r)
		return r < 0 ? error_trace(r) : SUBCLUSTER_E_UNKNOWN;
	*jsonp = json_loadb(val, len, JSON_ALLOW_NUL, NULL);
	return *jsonp ? 0 : kernel_corrupt("store: the configuration of s%" PRIu64 " is damaged", number);
}

static int subcluster_save(struct kernel *k, uint64_t number, const struct row_subcluster *row)
{
	uint8_t key[8];
	int r = store_put(k->store, T_SUBCLUSTER, key, key_u64(key, number), row, sizeof(*row));

	return r < 0 ? error_trace(r) : 0;
}

int kref_is_usable(struct kernel *k, kref_t ref, bool *usablep)
{
	struct row_promise promise;
	struct row_object object;
	int r;

	if (kref_is_promise(ref))
		r = promise_load(k, ref, &promise);
	else
		r = object_load(k, ref, &object);
	if (r < 0)
		return r;
	*usablep = r == 0 && (kref_is_promise(ref) ? promise.n_refs > 0 && !cycle_is_doomed(k, ref) : object.n_reachable > 0);
	return 0;
}

/* --- launching ----------------------------------------------------------------------------------------------- */

/* Programs and files are named by what they are from here on. */
static int name_by_hash(char **textp, const struct config_paths *paths, const uint8_t (*hashes)[CODE_HASH_LEN])
{
	char hex[CODE_HEX_LEN + 1], *text;
	size_t i = config_paths_index(paths, *textp);

	if (i == SIZE_MAX)
		return 0;	/* given as sha256: already */
	code_hex(hashes[i], hex);
	if (asprintf(&text, "sha256:%s", hex) < 0)
		return error_origin(ENOMEM);
	free(*textp);
	*textp = text;
	return 0;
}

/* S1: one that is not for it does not exist for a subcluster. */
static int check_services(struct kernel *k, char *const *services, size_t n, bool is_system, char *error, size_t size)
{
	struct row_service row;
	size_t i;
	int r;

	for (i = 0; i < n; i++) {
		r = service_load(k, services[i], &row);
		if (r < 0)
			return r;
		/* S1: what one may not have is told as what there is not. A channel is given, never asked for (S4). */
		if (r > 0 || (row.flags & SERVICE_F_IO) || ((row.flags & SERVICE_F_SYSTEM_ONLY) && !is_system)) {
			snprintf(error, size, "services: there is no service \"%s\"", services[i]);
			return LAUNCH_E_REFUSED;
		}
	}
	return 0;
}

static int convert_parameters(struct kernel *k, const struct config_vat *c, struct smallcaps *out,
			      char error[CONFIG_ERROR_MAX])
{
	char why[SMALLCAPS_ERROR_MAX], text[REF_TEXT_MAX];
	bool usable;
	size_t i;
	int r;

	r = smallcaps_from_json(c->parameters, out, why);
	if (r < 0)
		return error_trace(r);
	if (r > 0) {
		snprintf(error, CONFIG_ERROR_MAX, "vats.%s.parameters: %.150s", c->name, why);
		return LAUNCH_E_REFUSED;
	}
	for (i = 0; i < out->n_slots; i++) {
		r = kref_is_usable(k, (kref_t){ out->slots[i] }, &usable);
		if (r < 0)
			return r;
		if (!usable) {
			snprintf(error, CONFIG_ERROR_MAX, "vats.%s.parameters: %s is not a live reference", c->name,
				 kref_format((kref_t){ out->slots[i] }, text));
			return LAUNCH_E_REFUSED;
		}
	}
	return 0;
}

static int check_parameters(struct kernel *k, const struct config *config, char error[CONFIG_ERROR_MAX])
{
	size_t i;
	int r = 0;

	for (i = 0; r == 0 && i < config->n_vats; i++) {
		struct smallcaps s = { 0 };

		if (config->vats[i].parameters)
			r = convert_parameters(k, &config->vats[i], &s, error);
		smallcaps_deinit(&s);
	}
	return r;
}

static int put_parameters(struct kernel *k, struct vat *v)
{
	char error[CONFIG_ERROR_MAX];
	_cleanup_free_ uint8_t *raw = NULL;
	struct smallcaps s = { 0 };
	uint8_t key[8];
	size_t len, i;
	int r;

	if (!v->config->parameters)
		return 0;
	r = convert_parameters(k, v->config, &s, error);
	if (r > 0)
		r = kernel_corrupt("launch: parameters changed");
	len = capdata_size(s.body_len, s.n_slots);
	raw = r == 0 ? malloc(len) : NULL;
	if (raw) {
		capdata_write(raw, s.body, s.body_len, s.slots, s.n_slots);
		r = store_put(k->store, T_VAT_PARAM, key, key_u64(key, v->number), raw, len);
	} else if (r == 0) {
		r = error_origin(ENOMEM);
	}
	for (i = 0; r >= 0 && i < s.n_slots; i++)
		r = kernel_ref(k, (kref_t){ s.slots[i] }, 1);
	smallcaps_deinit(&s);
	return r;
}

static int make_vat(struct kernel *k, struct launch *l, struct config_vat *config, kref_t *rootp)
{
	struct vat *v;
	int r;

	r = vat_new(k, l->number, config, &v);
	if (r >= 0)
		r = put_parameters(k, v);
	if (r >= 0)
		r = object_new(k, endpoint_vat(v->number), v->row.incarnation, true, rootp);
	if (r >= 0)
		r = clist_add(k, endpoint_vat(v->number), *rootp, VREF_ROOT);
	if (r >= 0)
		r = kernel_hold(k, *rootp, HOLD_ROOT, l->number, 1);	/* G5 */
	if (r < 0)
		return r;
	l->n_to_start++;
	return vat_want_process(k, v);
}

/* Moves one vat's configuration out of the whole. */
static struct config_vat *take_vat(struct config *config, size_t i)
{
	struct config_vat *c = malloc(sizeof(*c));

	if (c) {
		*c = config->vats[i];
		config->vats[i] = (struct config_vat){ 0 };
	}
	return c;
}

static int make_subcluster(struct kernel *k, struct launch *l, struct config *config, const json_t *json)
{
	struct row_subcluster row = { .status = SUB_LAUNCHING, .created_us = now_realtime_us() };
	_cleanup_free_ char *text = json_dumps(json, JSON_COMPACT);
	uint8_t key[8];
	kref_t root;
	size_t i;
	int r;

	if (!text)
		return error_origin(ENOMEM);
	r = store_put(k->store, T_SUB_CONFIG, key, key_u64(key, l->number), text, strlen(text));
	if (r < 0)
		return error_trace(r);
	snprintf(row.name, sizeof(row.name), "%s", l->system);
	live_launched(k, l->number, row.name);
	for (i = 0; i < config->n_vats; i++) {
		struct config_vat *c = take_vat(config, i);

		if (!c)
			return error_origin(ENOMEM);
		if (!strcmp(c->name, l->bootstrap))
			row.bootstrap_vat = k->next_vat;
		r = make_vat(k, l, c, &root);
		if (r < 0)
			return r;
		if (row.bootstrap_vat == k->next_vat - 1)
			row.root = root.bits;
	}
	r = subcluster_save(k, l->number, &row);
	return r < 0 ? r : io_make(k, l->number, config);
}

/* Under the name by which it came first. */
static int note_code(struct kernel *k, const uint8_t hash[CODE_HASH_LEN], uint64_t size, const char *path)
{
	struct row_code row = { .size = size, .added_us = now_realtime_us() };
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	size_t name_len = strnlen(name, CODE_NAME_MAX);
	uint8_t bytes[sizeof(row) + CODE_NAME_MAX];
	const void *val;
	uint64_t next;
	size_t len;
	int r;

	r = store_get(k->store, T_CODE, hash, CODE_HASH_LEN, &val, &len);
	if (r != STORE_NOT_FOUND)
		return r < 0 ? error_trace(r) : 0;
	r = store_get(k->store, T_META, META_NEXT_CODE, strlen(META_NEXT_CODE), &val, &len);
	if (r < 0)
		return error_trace(r);
	row.number = 1;
	if (!r && len == sizeof(row.number))
		memcpy(&row.number, val, sizeof(row.number));
	next = row.number + 1;
	r = store_put(k->store, T_META, META_NEXT_CODE, strlen(META_NEXT_CODE), &next, sizeof(next));
	memcpy(bytes, &row, sizeof(row));
	memcpy(bytes + sizeof(row), name, name_len);
	if (!r)
		r = store_put(k->store, T_CODE, hash, CODE_HASH_LEN, bytes, sizeof(row) + name_len);
	return r < 0 ? error_trace(r) : 0;
}

static int prepare_config(struct kernel *k, struct config *config, const struct config_paths *paths,
			  const uint8_t (*hashes)[CODE_HASH_LEN], char error[CONFIG_ERROR_MAX])
{
	size_t i, j;
	int r;

	r = check_services(k, config->services, config->n_services, config->system != NULL, error, CONFIG_ERROR_MAX);
	if (r == 0)
		r = io_check(k, config, error);
	if (r == 0)
		r = check_parameters(k, config, error);
	for (i = 0; r == 0 && i < config->n_vats; i++) {
		struct config_vat *c = &config->vats[i];

		r = name_by_hash(&c->program, paths, hashes);
		for (j = 0; r == 0 && j < c->n_files; j++)
			r = name_by_hash(&c->files[j].path, paths, hashes);
	}
	return r;
}

int launch_begin(struct kernel *k, struct config *config, const json_t *json, const struct config_paths *paths,
		 const uint8_t (*hashes)[CODE_HASH_LEN], const uint64_t *sizes, struct control_request *request,
		 char error[CONFIG_ERROR_MAX])
{
	struct launch *l;
	size_t i;
	int r;

	r = prepare_config(k, config, paths, hashes, error);
	if (r == 0 && k->next_uid + config->n_vats > VAT_UIDS) {	/* never reused, so they can run out */
		snprintf(error, CONFIG_ERROR_MAX, "vats: the instance's block of %u uids is used up", VAT_UIDS);
		r = LAUNCH_E_REFUSED;
	}
	if (r) {
		config_free(config);
		return r;
	}
	l = launch_new(k, k->next_subcluster++);
	if (!l) {
		config_free(config);
		return error_origin(ENOMEM);
	}
	l->request = request;
	if (config->system) {
		snprintf(l->system, sizeof(l->system), "%s", config->system);
		system_begun(k, l->system, l->number);
	}
	snprintf(l->bootstrap, sizeof(l->bootstrap), "%s", config->bootstrap);
	l->services = TAKE_PTR(config->services);
	l->n_services = config->n_services;
	config->n_services = 0;
	r = kernel_savepoint(k);
	for (i = 0; r >= 0 && i < paths->n; i++)
		r = note_code(k, hashes[i], sizes[i], paths->paths[i]);
	if (r >= 0)
		r = make_subcluster(k, l, config, json);
	config->n_vats = 0;
	config_free(config);
	return r < 0 ? r : kernel_release(k);
}

/* --- bootstrap ------------------------------------------------------------------------------------------------ */

static int add_ref(json_t *record, const char *name, kref_t ref)
{
	char text[REF_TEXT_MAX];

	if (json_object_set_new(record, name, json_pack("{ss}", "@", kref_format(ref, text))))
		return error_origin(ENOMEM);
	return 0;
}

static int root_of(struct kernel *k, struct vat *v, kref_t *rootp)
{
	bool reachable;
	int r = clist_find_vref(k, endpoint_vat(v->number), VREF_ROOT, rootp, &reachable);

	return r > 0 ? kernel_corrupt("v%" PRIu64 " has no root", v->number) : r;
}

/* A vat may have abandoned its root in startVat already: its affair, but there is nothing to launch then. */
static int check_roots(struct kernel *k, struct launch *l)
{
	struct vat *v, *tmp;
	bool reachable;
	kref_t ref;
	int r;

	HASH_ITER(hh, k->vats, v, tmp) {
		if (v->row.subcluster != l->number)
			continue;
		r = clist_find_vref(k, endpoint_vat(v->number), VREF_ROOT, &ref, &reachable);
		if (r < 0)
			return r;
		if (r > 0) {
			snprintf(l->error, sizeof(l->error), "vat %s: abandoned its root", v->row.name);
			l->failed = true;
			k->launch_work = true;
			return LAUNCH_E_REFUSED;
		}
	}
	return 0;
}

/* bootstrap(vats, services): records of names and references. */
static int bootstrap_args(struct kernel *k, struct launch *l, json_t *args)
{
	json_t *vats = json_object(), *services = json_object();
	struct vat *v, *tmp;
	kref_t ref;
	size_t i;
	int r = 0;

	if (json_array_append_new(args, vats) || json_array_append_new(args, services))
		return error_origin(ENOMEM);
	HASH_ITER(hh, k->vats, v, tmp) {
		if (v->row.subcluster != l->number)
			continue;
		r = root_of(k, v, &ref);
		if (r == 0)
			r = add_ref(vats, v->row.name, ref);
		if (r < 0)
			return r;
	}
	for (i = 0; r == 0 && i < l->n_services; i++) {
		r = service_find(k, l->services[i], &ref);
		if (r == 0)
			r = add_ref(services, l->services[i], ref);
	}
	return r < 0 ? r : io_give(k, l->number, add_ref, services);
}

static int answered(struct kernel *k, struct host_call *c);

static int queue_bootstrap(struct kernel *k, struct launch *l, const struct row_subcluster *row)
{
	_cleanup_(item_deinit) struct item item = ITEM_INIT;
	char error[SMALLCAPS_ERROR_MAX];
	json_t *args = json_array();
	struct smallcaps s = { 0 };
	kref_t result;
	int r;

	if (!args)
		return error_origin(ENOMEM);
	r = kernel_savepoint(k);
	if (r >= 0)
		r = bootstrap_args(k, l, args);
	if (r >= 0)
		r = smallcaps_methargs("bootstrap", args, &s, error);
	json_decref(args);
	if (r)
		return r < 0 ? r : kernel_corrupt("launch: %s", error);
	r = item_host_message(&item, (kref_t){ row->root }, s.body, s.body_len, s.slots, s.n_slots);
	smallcaps_deinit(&s);
	if (r >= 0)
		r = promise_new(k, &result);
	if (r < 0)
		return r;
	item.row.result = result.bits;
	l->call = (struct host_call){ .promise = result, .settled = answered, .ctx = l };
	l->called = true;
	r = kernel_subscribe_host(k, &l->call);
	if (r >= 0)
		r = router_send(k, &item);
	return r < 0 ? r : kernel_release(k);
}

int launch_vat_started(struct kernel *k, struct vat *v)
{
	struct launch *l = launch_find(k, v->row.subcluster);
	struct row_subcluster row;
	int r;

	if (!l || l->failed || l->ending || !(v->row.flags & VAT_F_LAUNCHING) || --l->n_to_start)
		return 0;
	r = subcluster_load(k, l->number, &row);
	if (r)
		return r < 0 ? r : kernel_corrupt("launch: no row");
	r = check_roots(k, l);
	if (r)
		return r < 0 ? r : 0;
	/* One may have been unregistered meanwhile. */
	r = check_services(k, l->services, l->n_services, row.name[0], l->error, sizeof(l->error));
	if (r > 0)
		l->failed = k->launch_work = true;
	if (r)
		return r < 0 ? r : 0;
	return queue_bootstrap(k, l, &row);
}

/* --- its answer -------------------------------------------------------------------------------------------------- */

int value_to_json(struct kernel *k, kref_t promise, json_t **jsonp, bool *rejectedp)
{
	struct row_promise row;
	struct capdata value;
	char text[REF_TEXT_MAX];
	json_t *json, *slots, *body;
	size_t i;
	int r;

	r = promise_load(k, promise, &row);
	if (r == 0)
		r = promise_value(k, promise, &value);
	if (r)
		return r < 0 ? r : kernel_corrupt("host call without its promise");
	body = json_stringn((const char *)value.body, value.body_len);
	if (!body) {	/* a vat may send any bytes; JSON cannot */
		size_t n = escape_bytes(NULL, 0, value.body, value.body_len);
		_cleanup_free_ char *shown = malloc(n + 1);

		if (!shown)
			return error_origin(ENOMEM);
		escape_bytes(shown, n + 1, value.body, value.body_len);
		body = json_string(shown);
	}
	slots = json_array();
	for (i = 0; i < value.n_slots; i++)
		json_array_append_new(slots, json_string(kref_format((kref_t){ capdata_slot(&value, i) }, text)));
	json = json_pack("{sosO}", "body", body, "slots", slots);
	json_decref(slots);
	if (!json)
		return error_origin(ENOMEM);
	*rejectedp = row.state == PROMISE_REJECTED;
	if (*rejectedp) {	/* "kernel": nobody but the kernel can say so (R1) */
		json_object_set_new(json, "rejected", json_true());
		json_object_set_new(json, "kernel", json_boolean(row.flags & PROMISE_F_KERNEL));
	}
	*jsonp = json;
	return 0;
}

/* Did bootstrap fail? A rejection, or an Error as its answer (V3). */
static int judge_answer(struct kernel *k, struct launch *l, bool *failedp)
{
	_cleanup_free_ char *name = NULL, *message = NULL;
	struct row_promise row;
	struct capdata value;
	bool error;
	int r;

	r = promise_load(k, l->call.promise, &row);
	if (r == 0)
		r = promise_value(k, l->call.promise, &value);
	if (r)
		return r < 0 ? r : kernel_corrupt("launch: bootstrap's promise is gone");
	error = smallcaps_read_error(value.body, value.body_len, &name, &message);
	*failedp = error || row.state == PROMISE_REJECTED;
	if (*failedp && !l->error[0])	/* a vat's own end says more than what follows from it */
		snprintf(l->error, sizeof(l->error), "bootstrap of %s failed: %s: %.180s", l->bootstrap,
			 error ? name : "rejected", error ? message : "not with an Error");
	return 0;
}

/* What the result names stays usable for the subcluster's life. */
static int hold_result(struct kernel *k, struct launch *l)
{
	_cleanup_free_ uint64_t *slots = NULL;
	size_t i, n = 0;
	int r;

	r = promise_value_slots(k, l->call.promise, &slots, &n);
	for (i = 0; r >= 0 && i < n; i++)
		r = kernel_hold(k, (kref_t){ slots[i] }, HOLD_RESULT, l->number, 1);
	return r;
}

static int reply_launched(struct kernel *k, struct launch *l, const struct row_subcluster *row, json_t *result)
{
	json_t *vats = json_object();
	char id[32], root[REF_TEXT_MAX];
	struct vat *v, *tmp;

	HASH_ITER(hh, k->vats, v, tmp) {
		if (v->row.subcluster == l->number)
			json_object_set_new(vats, v->row.name, json_sprintf("v%" PRIu64, v->number));
	}
	snprintf(id, sizeof(id), "s%" PRIu64, l->number);
	control_reply(l->request, json_pack("{sssssoso}", "subclusterId", id, "rootKref",
					    kref_format((kref_t){ row->root }, root), "vats", vats, "bootstrapResult", result));
	l->request = NULL;
	return 0;
}

static int answered(struct kernel *k, struct host_call *c)
{
	struct launch *l = c->ctx;
	struct row_subcluster row;
	json_t *result = NULL;
	bool failed = true, rejected;
	struct vat *v, *tmp;
	int r;

	r = subcluster_load(k, l->number, &row);
	if (r == 0)
		r = judge_answer(k, l, &failed);
	failed |= l->failed;	/* one of its vats ended in the same round */
	if (r == 0 && !failed)
		r = value_to_json(k, c->promise, &result, &rejected);
	if (r == 0)
		r = kernel_savepoint(k);
	if (r == 0 && !failed && row.status == SUB_LAUNCHING)
		r = hold_result(k, l);	/* of one that is being ended already, nobody would release them */
	if (r >= 0 && !failed && row.status == SUB_LAUNCHING) {
		row.status = SUB_RUNNING;
		r = subcluster_save(k, l->number, &row);
		HASH_ITER(hh, k->vats, v, tmp) {
			if (v->row.subcluster == l->number)
				vat_edit(k, v)->flags &= ~VAT_F_LAUNCHING;
		}
	}
	if (r >= 0)
		r = kernel_unsubscribe_host(k, c);
	if (r >= 0)
		r = kernel_release(k);
	if (r < 0)
		return r;
	l->called = false;
	if (failed || row.status != SUB_RUNNING) {
		json_decref(result);
		l->failed = true;
		k->launch_work = true;
		return 0;
	}
	if (l->request)
		r = reply_launched(k, l, &row, result);
	else
		json_decref(result);
	if (l->system[0])
		system_launched(k, l->system, l->number);
	launch_free(k, l);
	return r;
}

/* --- the end ------------------------------------------------------------------------------------------------------ */

/* S5: the last one of a subcluster that ran? */
static int note_ended(struct kernel *k, uint64_t number)
{
	struct row_subcluster row;
	struct vat *v, *tmp;
	int r;

	HASH_ITER(hh, k->vats, v, tmp) {
		if (v->row.subcluster == number && v->row.status != VAT_TERMINATED)
			return 0;
	}
	r = subcluster_load(k, number, &row);
	if (r)
		return r < 0 ? r : kernel_corrupt("subcluster: no row");
	if (row.status != SUB_RUNNING)
		return 0;
	row.ended_us = now_realtime_us();
	k->next_ended_us = 1;	/* launch_pump finds out when */
	return subcluster_save(k, number, &row);
}

/* Subclusters whose vats have all ended go after a while in which people can see why (S5). */
static int remove_ended(struct kernel *k)
{
	uint64_t number = 0, next = 0, keep_us = k->settings.ended_keep_ms * 1000, now = now_realtime_us();
	struct row_subcluster row;
	int r;

	while ((r = subcluster_next(k, &number, &row)) == 0) {
		if (row.status != SUB_RUNNING || !row.ended_us)
			continue;
		/* A clock that was set back does not keep it for ever. */
		if (row.ended_us <= now && now - row.ended_us < keep_us) {
			if (!next || row.ended_us + keep_us < next)
				next = row.ended_us + keep_us;
			continue;
		}
		log_info("s%" PRIu64 " is removed: all its vats have ended", number);
		r = subcluster_terminate(k, number, "all its vats have ended", NULL);
		if (r < 0)
			return r;
	}
	k->next_ended_us = next;
	return r < 0 ? r : 0;
}

int launch_vat_failed(struct kernel *k, struct vat *v)
{
	struct launch *l = launch_find(k, v->row.subcluster);

	if (!l || !(v->row.flags & VAT_F_LAUNCHING) || l->failed || l->ending)
		return note_ended(k, v->row.subcluster);
	l->failed = true;
	snprintf(l->error, sizeof(l->error), "vat %s: %s", v->row.name, v->row.reason);
	k->launch_work = true;
	return 0;
}

void launch_vat_ended(struct kernel *k)
{
	k->launch_work = true;
}

/* Roots and bootstrap results were held for the subcluster's life. */
static int release_holds(struct kernel *k, uint64_t number)
{
	struct row_hold row;
	const void *key, *val;
	size_t key_len = 0, len;
	uint8_t at[KEY_MAX];
	int r;

	for (;;) {
		r = store_next(k->store, T_HOLD, key_len ? at : NULL, key_len, key_len == 0, &key, &key_len, &val, &len);
		if (r)
			return r < 0 ? error_trace(r) : 0;
		memcpy(at, key, key_len);
		if ((at[8] != HOLD_ROOT && at[8] != HOLD_RESULT) || get_be64(at + 9) != number)
			continue;
		if (!row_hold_read(val, len, &row))
			return kernel_corrupt("store: hold row is damaged");
		r = kernel_hold(k, (kref_t){ get_be64(at) }, at[8], number, -(int64_t)row.count);
		if (r < 0)
			return r;
	}
}

/* Members from the last made to the first. */
static int list_vats(struct kernel *k, uint64_t number, struct u64_list *out)
{
	struct vat *v, *tmp;
	size_t i, j;
	int r = 0;

	HASH_ITER(hh, k->vats, v, tmp) {
		if (v->row.subcluster == number)
			r = u64_list_push(out, v->number);
		if (r < 0)
			return r;
	}
	/* uthash walks in the order of insertion, which is by number. */
	for (i = 0, j = out->n; i + 1 < j; i++, j--) {
		uint64_t t = out->v[i];

		out->v[i] = out->v[j - 1];
		out->v[j - 1] = t;
	}
	return 0;
}

static int terminate_in(struct kernel *k, struct launch *l, const char *reason, const struct u64_list *vats)
{
	uint64_t number = l->number;
	struct row_subcluster row;
	size_t i;
	int r;

	r = kernel_savepoint(k);
	if (r < 0)
		return r;
	r = subcluster_load(k, number, &row);
	if (r)
		return r < 0 ? r : kernel_corrupt("subcluster: no row");
	row.status = SUB_TERMINATING;
	r = subcluster_save(k, number, &row);
	/* Whatever bootstrap's answer hangs on, nobody waits for it any more. */
	if (r >= 0 && l->called)
		r = kernel_unsubscribe_host(k, &l->call);
	l->called = false;
	if (r >= 0)
		r = release_holds(k, number);
	for (i = 0; r >= 0 && i < vats->n; i++)
		r = vat_terminate_in(k, vat_find(k, vats->v[i]), reason);
	return r < 0 ? r : kernel_release(k);
}

int subcluster_terminate(struct kernel *k, uint64_t number, const char *reason, struct control_request *request)
{
	struct launch *l = launch_find(k, number);
	struct u64_list vats = { 0 };
	struct row_subcluster row;
	size_t i;
	int r;

	r = subcluster_load(k, number, &row);
	if (r)
		return r;
	if (!l)
		l = launch_new(k, number);
	if (!l)
		return error_origin(ENOMEM);
	if (request) {
		struct control_request **p = realloc(l->enders, (l->n_enders + 1) * sizeof(*p));

		if (!p)
			return error_origin(ENOMEM);
		l->enders = p;
		l->enders[l->n_enders++] = request;
	}
	k->launch_work = true;
	if (l->ending)
		return 0;
	l->ending = true;
	if (!l->error[0])
		snprintf(l->error, sizeof(l->error), "%s", reason);
	snprintf(l->system, sizeof(l->system), "%s", row.name);
	r = list_vats(k, number, &vats);
	if (r >= 0)
		r = terminate_in(k, l, reason, &vats);
	for (i = 0; r >= 0 && i < vats.n; i++)
		r = vat_end_process(k, vat_find(k, vats.v[i]), FATE_NONE, reason);
	u64_list_deinit(&vats);
	return r;
}

static void answer_ended(struct kernel *k, struct launch *l)
{
	size_t i;

	if (l->system[0])
		system_ended(k, l->system, l->number, l->error);
	if (l->request)
		control_error(l->request, CONTROL_KERNEL_ERROR, "LAUNCH_FAILED", "%s", l->error);
	for (i = 0; i < l->n_enders; i++)
		control_reply(l->enders[i], json_object());
}

static int remove_rows(struct kernel *k, struct launch *l, const struct u64_list *vats)
{
	uint8_t key[8];
	size_t i;
	int r;

	r = kernel_savepoint(k);
	for (i = 0; r >= 0 && i < vats->n; i++)
		r = vat_delete_rows(k, vat_find(k, vats->v[i]));
	if (r >= 0)
		r = store_del(k->store, T_SUBCLUSTER, key, key_u64(key, l->number));
	if (r >= 0)
		r = store_del(k->store, T_SUB_CONFIG, key, key_u64(key, l->number));
	live_ended(k, l->number);
	return r < 0 ? error_trace(r) : kernel_release(k);
}

/* When nothing of the subcluster lives any more, its rows go too. */
static int try_remove(struct kernel *k, struct launch *l)
{
	struct u64_list vats = { 0 };
	struct vat *v, *tmp;
	size_t i;
	int r;

	HASH_ITER(hh, k->vats, v, tmp) {
		if (v->row.subcluster == l->number &&
		    (v->row.status != VAT_TERMINATED || v->sweeping || v->proc != PROC_NONE))
			return 0;
	}
	r = io_end(k, l->number);
	k->launch_work |= r == IO_E_MORE;
	if (r)
		return r < 0 ? r : 0;
	r = list_vats(k, l->number, &vats);
	if (r >= 0)
		r = remove_rows(k, l, &vats);
	for (i = 0; r >= 0 && i < vats.n; i++)
		vat_forget(k, vat_find(k, vats.v[i]));
	u64_list_deinit(&vats);
	if (r < 0)
		return r;
	answer_ended(k, l);
	launch_free(k, l);
	return 0;
}

int launch_pump(struct kernel *k)
{
	struct launch *l, *next;
	int r;

	if (k->next_ended_us && now_realtime_us() >= k->next_ended_us) {
		r = remove_ended(k);
		if (r < 0)
			return r;
	}
	if (!k->launch_work)
		return 0;
	k->launch_work = false;
	for (l = k->launches; l; l = next) {
		next = l->next;
		r = 0;
		if (l->failed && !l->ending)
			r = subcluster_terminate(k, l->number, l->error, NULL);
		if (r == 0 && l->ending)
			r = try_remove(k, l);
		if (r < 0)
			return r;
	}
	return facet_answers(k);	/* one of its calls may have asked for the end */
}

int subcluster_next(struct kernel *k, uint64_t *numberp, struct row_subcluster *rowp)
{
	const void *key, *val;
	size_t key_len, len;
	uint8_t at[8];
	int r;

	r = store_next(k->store, T_SUBCLUSTER, at, key_u64(at, *numberp), false, &key, &key_len, &val, &len);
	if (r)
		return r < 0 ? error_trace(r) : SUBCLUSTER_E_UNKNOWN;
	if (key_len != 8 || !row_subcluster_read(val, len, rowp))
		return kernel_corrupt("store: a subcluster row is damaged");
	*numberp = get_be64(key);
	return 0;
}

int launch_boot(struct kernel *k)
{
	struct row_subcluster row;
	uint64_t number = 0;
	int r;

	k->next_ended_us = 1;
	for (;;) {
		r = subcluster_next(k, &number, &row);
		if (r)
			return r < 0 ? r : 0;
		if (row.status == SUB_RUNNING)
			continue;
		r = subcluster_terminate(k, number, "the broker ended during the launch", NULL);
		if (r < 0)
			return r;
	}
}
