/* SPDX-License-Identifier: Apache-2.0 */
/* The vat's record: rows, the write-back of struct row_vat, limits, log, ping. Its life is in life.c. */
#include "vat.h"

#include <inttypes.h>

#include "aside.h"
#include "code.h"
#include "launch.h"
#include "live.h"

#define LOG_KEEP		1000u		/* lines kept for each vat */
#define PING_DEADLINE_NS	(5 * UINT64_C(1000000000))

/* What a vat gets when its configuration is silent; generous, and finite. */
static const struct vat_limits default_limits = {
	.deadline_ns = 30 * UINT64_C(1000000000),
	.queue_messages = 100000,
	.queue_bytes = 256u << 20,
	.waiting_messages = 10000,
	.waiting_bytes = 64u << 20,
	.syscalls = 100000,
	.crank_bytes = WIRE_MAX_CRANK_BYTES,
	.exports = 10000000,
	.imports = 10000000,
	.vatstore_bytes = UINT64_C(16) << 30,
	.log_lines = 1000,
};

static void pick_limit(uint64_t *out, uint64_t configured, uint64_t unit)
{
	if (configured != UINT64_MAX)
		*out = configured * unit;
}

static void pick_limits(struct vat_limits *l, const struct config_limits *c)
{
	pick_limit(&l->deadline_ns, c->deadline_ms, 1000000);
	pick_limit(&l->cpu_ns, c->cpu_ms, 1000000);
	pick_limit(&l->queue_messages, c->queue_messages, 1);
	pick_limit(&l->queue_bytes, c->queue_bytes, 1);
	pick_limit(&l->waiting_messages, c->waiting_messages, 1);
	pick_limit(&l->waiting_bytes, c->waiting_bytes, 1);
	pick_limit(&l->syscalls, c->syscalls, 1);
	pick_limit(&l->crank_bytes, c->crank_bytes, 1);
	pick_limit(&l->exports, c->exports, 1);
	pick_limit(&l->imports, c->imports, 1);
	pick_limit(&l->vatstore_bytes, c->vatstore_bytes, 1);
	pick_limit(&l->log_lines, c->log_lines, 1);
}

/* The kernel's own, and what its operator set. */
struct vat_limits vat_default_limits(const struct kernel *k)
{
	struct vat_limits l = default_limits;

	pick_limits(&l, &k->settings.limits);
	return l;
}

/* Then what the cluster says. */
static void set_limits(struct kernel *k, struct vat *v)
{
	struct vat_limits *l = &v->limits;

	*l = vat_default_limits(k);
	pick_limits(l, &v->config->limits);
	if (l->crank_bytes > WIRE_MAX_CRANK_BYTES)
		l->crank_bytes = WIRE_MAX_CRANK_BYTES;
}

struct vat *vat_find(struct kernel *k, uint64_t number)
{
	struct vat *v;

	HASH_FIND(hh, k->vats, &number, sizeof(number), v);
	return v;
}

const char *vat_sender_name(struct kernel *k, uint64_t sender)
{
	struct vat *v = endpoint_is_vat((endpoint_t){ sender }) ? vat_find(k, endpoint_number((endpoint_t){ sender })) : NULL;

	return v ? v->row.name : sender ? "a vat that is gone" : "the outside";
}

/* --- the row and its write-back ---------------------------------------------------------------------------------- */

struct row_vat *vat_edit(struct kernel *k, struct vat *v)
{
	if (k->in_savepoint && !v->edited) {
		v->undo = v->row;
		v->edited = true;
		v->next_edited = k->edited;
		k->edited = v;
	}
	v->dirty = true;
	if (!k->dirty_since_ns)
		k->dirty_since_ns = now_monotonic_ns();
	return &v->row;
}

void vat_edits_keep(struct kernel *k)
{
	struct vat *v;

	for (v = k->edited; v; v = v->next_edited) {
		v->edited = false;
		if (v->row.status != v->undo.status)
			live_status(k, v);
	}
	k->edited = NULL;
}

void vat_edits_undo(struct kernel *k)
{
	struct vat *v;

	for (v = k->edited; v; v = v->next_edited) {
		v->row = v->undo;
		v->head_seq = 0;	/* an item that was taken out is back */
		v->edited = false;
	}
	k->edited = NULL;
}

static int put_row(struct kernel *k, struct vat *v)
{
	uint8_t key[8];
	int r = store_put(k->store, T_VAT, key, key_u64(key, v->number), &v->row, sizeof(v->row));

	v->dirty = false;
	return r < 0 ? error_trace(r) : 0;
}

int vat_write_back(struct kernel *k)
{
	struct vat *v, *tmp;
	int r;

	HASH_ITER(hh, k->vats, v, tmp) {
		if (!v->dirty)
			continue;
		r = put_row(k, v);
		if (r < 0)
			return r;
	}
	return 0;
}

/* --- records ------------------------------------------------------------------------------------------------- */

static struct vat *vat_alloc(struct kernel *k, uint64_t number, struct config_vat *config)
{
	struct vat *v = calloc(1, sizeof(*v));

	if (!v)
		return NULL;
	v->number = number;
	v->kernel = k;
	v->config = config;
	v->channel.source.fd = -1;
	v->gc_maybe = true;
	crank_init(&v->crank);
	set_limits(k, v);
	HASH_ADD(hh, k->vats, number, sizeof(v->number), v);
	live_vat_new(k, v);
	return v;
}

int vat_new(struct kernel *k, uint64_t subcluster, struct config_vat *config, struct vat **vatp)
{
	uint64_t number = k->next_vat++;
	_cleanup_free_ char *text = NULL;
	json_t *json;
	uint8_t key[16];
	struct vat *v;
	int r;

	v = vat_alloc(k, number, config);
	if (!v)
		return error_origin(ENOMEM);
	v->row = (struct row_vat){
		.subcluster = subcluster,
		.incarnation = 1,
		.status = VAT_STARTING,
		.flags = VAT_F_LAUNCHING,
		.next_import = 1,
		.next_import_promise = 1,
		.next_export = 1,
		.next_export_promise = 1,
		.next_log = 1,
		.next_death = 1,
	};
	if (k->uid_base)
		v->row.uid = k->uid_base + k->next_uid++;
	if (!strncmp(config->program, "sha256:", 7))
		code_unhex(config->program + 7, strlen(config->program + 7), v->row.code);
	snprintf(v->row.name, sizeof(v->row.name), "%s", config->name);
	json = config_vat_to_json(config);
	text = json ? json_dumps(json, JSON_COMPACT) : NULL;
	json_decref(json);
	if (!text)
		return error_origin(ENOMEM);
	v->dirty = true;
	r = put_row(k, v);
	if (r >= 0)
		r = store_put(k->store, T_VAT_CONFIG, key, key_u64(key, number), text, strlen(text));
	if (r >= 0)
		r = store_put(k->store, T_MEMBER, key, key_u64_u64(key, subcluster, number), config->name,
			      strlen(config->name));
	live_status(k, v);
	*vatp = v;
	return r < 0 ? error_trace(r) : 0;
}

/* The configuration in the row was written by us; if it does not read back, the store is damaged. */
static int load_config(struct kernel *k, uint64_t number, const char *name, struct config_vat **configp)
{
	char error[CONFIG_ERROR_MAX];
	const void *val;
	uint8_t key[8];
	json_t *json;
	size_t len;
	int r;

	r = store_get(k->store, T_VAT_CONFIG, key, key_u64(key, number), &val, &len);
	if (r < 0)
		return error_trace(r);
	json = r == 0 ? json_loadb(val, len, 0, NULL) : NULL;
	if (!json)
		return kernel_corrupt("store: configuration of v%" PRIu64 " is damaged", number);
	r = config_vat_parse(name, json, configp, error);
	json_decref(json);
	if (r)
		return r < 0 ? r : kernel_corrupt("store: configuration of v%" PRIu64 ": %s", number, error);
	return 0;
}

static bool has_sweep(struct kernel *k, uint64_t number)
{
	const void *val;
	uint8_t key[8];
	size_t len;

	return store_get(k->store, T_SWEEP, key, key_u64(key, endpoint_vat(number).bits), &val, &len) == 0;
}

int vat_load_all(struct kernel *k)
{
	const void *key, *val;
	size_t key_len, len;
	uint8_t at[8];
	uint64_t number = 0;
	int r;

	for (;;) {
		struct config_vat *config = NULL;
		struct row_vat row;
		struct vat *v;

		r = store_next(k->store, T_VAT, at, key_u64(at, number), false, &key, &key_len, &val, &len);
		if (r)
			return r < 0 ? error_trace(r) : 0;
		if (key_len != 8 || !row_vat_read(val, len, &row))
			return kernel_corrupt("store: a vat row is damaged");
		number = get_be64(key);
		r = load_config(k, number, row.name, &config);
		if (r < 0)
			return r;
		v = vat_alloc(k, number, config);
		if (!v)
			return error_origin(ENOMEM);
		v->row = row;
		v->sweeping = has_sweep(k, number);
		if (v->sweeping)
			k->sweeping = true;
		live_show(k, v);
	}
}

static void drop_requests(struct kernel *k, struct vat *v)
{
	struct vat_ping *p;
	struct vat_watch *w;

	while ((p = v->pings)) {
		v->pings = p->next;
		k->n_pings--;
		control_error(p->request, CONTROL_KERNEL_ERROR, "VAT_TERMINATED", "the vat ended");
		free(p);
	}
	while ((w = v->watches)) {
		v->watches = w->next;
		control_error(w->request, CONTROL_KERNEL_ERROR, "VAT_TERMINATED", "the vat is gone");
		free(w);
	}
}

void vat_forget(struct kernel *k, struct vat *v)
{
	struct vat **p;

	drop_requests(k, v);
	crank_abandon(k, v);
	live_vat_forget(k, v);
	channel_close(&v->channel);
	crank_deinit(&v->crank);
	for (p = &k->ready_first, k->ready_last = NULL; *p;) {
		if (*p == v) {
			*p = v->next_ready;
			continue;
		}
		k->ready_last = *p;
		p = &(*p)->next_ready;
	}
	assert(!v->edited);
	HASH_DEL(k->vats, v);
	config_vat_free(v->config);
	free(v);
}

/* LOG or DEATH. */
static int delete_lines(struct kernel *k, enum table t, struct vat *v)
{
	const void *key, *val;
	size_t key_len, len;
	uint8_t at[16];
	int r;

	key_u64_u64(at, v->number, 0);
	for (;;) {
		r = store_next_of(k->store, t, at, 16, 8, false, &key, &key_len, &val, &len);
		if (r < 0)
			return error_trace(r);
		if (r == STORE_NOT_FOUND)
			return 0;
		memcpy(at, key, 16);
		r = store_del(k->store, t, at, 16);
		if (r < 0)
			return error_trace(r);
	}
}

int vat_delete_rows(struct kernel *k, struct vat *v)
{
	uint8_t key[16];
	int r;

	assert(v->row.status == VAT_TERMINATED && !v->sweeping && v->proc == PROC_NONE);
	r = delete_lines(k, T_LOG, v);
	if (r >= 0)
		r = delete_lines(k, T_DEATH, v);
	if (r >= 0)
		r = aside_drop_all(k, v);
	if (r >= 0)
		r = store_del(k->store, T_VAT, key, key_u64(key, v->number));
	if (r >= 0)
		r = store_del(k->store, T_VAT_CONFIG, key, key_u64(key, v->number));
	if (r >= 0)
		r = store_del(k->store, T_MEMBER, key, key_u64_u64(key, v->row.subcluster, v->number));
	v->dirty = false;
	return r < 0 ? error_trace(r) : 0;
}

void vat_set_proc(struct vat *v, enum vat_proc proc)
{
	v->proc = proc;
	live_show(v->kernel, v);
}

/* --- readiness ----------------------------------------------------------------------------------------------- */

void vat_ready(struct kernel *k, struct vat *v)
{
	if (v->ready)
		return;
	v->ready = true;
	v->next_ready = NULL;
	if (k->ready_last)
		k->ready_last->next_ready = v;
	else
		k->ready_first = v;
	k->ready_last = v;
}

/* One that does not take what was sent to it gets nothing more: it could have the broker keep any amount of that. */
bool vat_can_run(const struct vat *v)
{
	return v->proc == PROC_ALIVE && v->crank.state == CRANK_IDLE && !v->sweeping &&
	       (v->row.status == VAT_STARTING || v->row.status == VAT_RUNNING) && channel_is_open(&v->channel) &&
	       !v->channel.backlog.len;
}

/* --- deaths ---------------------------------------------------------------------------------------------------- */

int vat_note_death(struct kernel *k, struct vat *v, const char *why)
{
	struct row_death head = { .time_us = now_realtime_us(), .incarnation = v->row.incarnation };
	uint8_t row[sizeof(head) + VAT_REASON_MAX], key[16];
	size_t len = strnlen(why, VAT_REASON_MAX);
	uint64_t number = vat_edit(k, v)->next_death++;
	int r;

	memcpy(row, &head, sizeof(head));
	memcpy(row + sizeof(head), why, len);
	r = store_put(k->store, T_DEATH, key, key_u64_u64(key, v->number, number), row, sizeof(head) + len);
	if (r >= 0 && number > DEATH_KEEP)
		r = store_del(k->store, T_DEATH, key, key_u64_u64(key, v->number, number - DEATH_KEEP));
	return r < 0 ? error_trace(r) : 0;
}

/* --- log ----------------------------------------------------------------------------------------------------- */

/* At most log_lines in a second; the rest is dropped and counted (V7). */
static bool log_allowed(struct vat *v)
{
	uint64_t now = now_monotonic_ns();

	if (now - v->log_window_ns >= 1000000000) {
		v->log_window_ns = now;
		v->log_in_window = 0;
	}
	return v->log_in_window++ < v->limits.log_lines;
}

int vat_log(struct kernel *k, struct vat *v, uint32_t level, const void *text, size_t len)
{
	struct row_log head = { .time_us = now_realtime_us(), .level = level, .incarnation = v->row.incarnation };
	_cleanup_free_ uint8_t *row = NULL;
	struct row_vat *rv;
	uint8_t key[16];
	int r;

	if (!log_allowed(v) || store_space_low(k->store)) {
		vat_edit(k, v)->n_log_dropped++;
		return 0;
	}
	row = malloc(sizeof(head) + len);
	if (!row)
		return error_origin(ENOMEM);
	rv = vat_edit(k, v);
	head.offset = rv->log_bytes;
	rv->log_bytes += log_line_size(&head, text, len);
	memcpy(row, &head, sizeof(head));
	memcpy(row + sizeof(head), text, len);
	r = store_put(k->store, T_LOG, key, key_u64_u64(key, v->number, rv->next_log), row, sizeof(head) + len);
	if (r < 0)
		return error_trace(r);
	if (rv->next_log > LOG_KEEP) {
		r = store_del(k->store, T_LOG, key, key_u64_u64(key, v->number, rv->next_log - LOG_KEEP));
		if (r < 0)
			return error_trace(r);
	}
	rv->next_log++;
	return vat_answer_watches(k, v);
}

/* --- ping ---------------------------------------------------------------------------------------------------- */

int vat_ping(struct kernel *k, struct vat *v, struct control_request *request)
{
	struct wire_buf b = WIRE_BUF_INIT;
	struct vat_ping *p;
	int r;

	if (v->proc != PROC_ALIVE) {
		control_error(request, CONTROL_KERNEL_ERROR, "VAT_NOT_RUNNING", "%s has no process", v->row.name);
		return 0;
	}
	p = calloc(1, sizeof(*p));
	if (!p)
		return error_origin(ENOMEM);
	p->request = request;
	p->sent_ns = now_monotonic_ns();
	p->deadline_ns = p->sent_ns + PING_DEADLINE_NS;
	p->next = v->pings;
	v->pings = p;
	k->n_pings++;
	/* Pings never pile up in front of a vat: one at a time, and none behind what it has not read. */
	if (v->ping_token || v->channel.backlog.len)
		return 0;
	v->ping_token = k->next_host_call++;
	wire_begin(&b, WIRE_PING, 0, 0);
	wire_u64(&b, v->ping_token);
	wire_end(&b);
	r = channel_send(&v->channel, &b);
	wire_buf_deinit(&b);
	return r;
}

/* No answer will come: the next process is asked nothing that its predecessor was asked. */
void vat_fail_pings(struct kernel *k, struct vat *v)
{
	struct vat_ping *ping;

	while ((ping = v->pings)) {
		v->pings = ping->next;
		k->n_pings--;
		control_error(ping->request, CONTROL_KERNEL_ERROR, "VAT_NOT_RUNNING", "the process of %s ended before it answered",
			      v->row.name);
		free(ping);
	}
}

void vat_check_pings(struct kernel *k, struct vat *v, uint64_t now_ns)
{
	struct vat_ping **p = &v->pings, *ping;

	while ((ping = *p)) {
		if (v->proc == PROC_ALIVE && now_ns < ping->deadline_ns) {
			p = &ping->next;
			continue;
		}
		*p = ping->next;
		k->n_pings--;
		control_error(ping->request, CONTROL_KERNEL_ERROR, "VAT_UNRESPONSIVE", "%s did not answer within %u s",
			      v->row.name, (unsigned)(PING_DEADLINE_NS / 1000000000));
		free(ping);
	}
}
