/* SPDX-License-Identifier: Apache-2.0 */
#include "boot.h"

#include "cycle.h"
#include "hosted.h"
#include "io.h"
#include "launch.h"
#include "service.h"
#include "spawner.h"
#include "sweep.h"
#include "vat.h"

static int load_counter(struct kernel *k, const char *name, uint64_t first, uint64_t *outp)
{
	const void *val;
	size_t len;
	int r;

	*outp = first;
	r = store_get(k->store, T_META, name, strlen(name), &val, &len);
	if (r < 0)
		return error_trace(r);
	if (r == STORE_NOT_FOUND)
		return 0;
	if (len != 8)
		return kernel_corrupt("store: counter %s is damaged", name);
	memcpy(outp, val, 8);
	return 0;
}

static int load_counters(struct kernel *k)
{
	int r = load_counter(k, META_NEXT_OBJECT, 1, &k->next_object);

	if (r >= 0)
		r = load_counter(k, META_NEXT_PROMISE, 1, &k->next_promise);
	if (r >= 0)
		r = load_counter(k, META_NEXT_VAT, 1, &k->next_vat);
	if (r >= 0)
		r = load_counter(k, META_NEXT_SUBCLUSTER, 1, &k->next_subcluster);
	if (r >= 0)
		r = load_counter(k, META_NEXT_SEQ, 1, &k->next_seq);
	if (r >= 0)
		r = load_counter(k, META_NEXT_UID, 0, &k->next_uid);
	if (r >= 0)
		r = load_counter(k, META_NEXT_DELIVERY, 1, &k->next_delivery);
	return r;
}

static int put_number(struct kernel *k, const char *name, uint64_t v)
{
	int r = store_put(k->store, T_META, name, strlen(name), &v, sizeof(v));

	return r < 0 ? error_trace(r) : 0;
}

static uint64_t given(uint64_t v, uint64_t otherwise)
{
	return v && v != UINT64_MAX ? v : otherwise;
}

/* What is in force where a cluster says nothing, for people. The last three are the spawner's, for programs without a runtime. */
static int put_limits(struct kernel *k)
{
	const struct config_limits *s = &k->settings.limits;
	struct vat_limits l = vat_default_limits(k);
	struct row_limits row = {
		.deadline_ms = l.deadline_ns / 1000000, .cpu_ms = l.cpu_ns / 1000000, .queue_messages = l.queue_messages,
		.queue_bytes = l.queue_bytes, .waiting_messages = l.waiting_messages, .waiting_bytes = l.waiting_bytes,
		.syscalls = l.syscalls, .crank_bytes = l.crank_bytes, .exports = l.exports, .imports = l.imports,
		.vatstore_bytes = l.vatstore_bytes, .log_lines = l.log_lines,
		.memory = given(s->memory, SPAWNER_DEFAULT_MEMORY), .n_procs = given(s->n_procs, SPAWNER_DEFAULT_PROCS),
		.n_files = given(s->n_files, SPAWNER_DEFAULT_FILES),
	};
	int r = store_put(k->store, T_META, META_LIMITS, strlen(META_LIMITS), &row, sizeof(row));

	return r < 0 ? error_trace(r) : 0;
}

static int note_boot(struct kernel *k)
{
	uint64_t n;
	int r;

	r = load_counter(k, META_N_BOOT, 0, &n);
	if (r >= 0)
		r = put_number(k, META_N_BOOT, n + 1);
	if (r >= 0)
		r = put_number(k, META_BOOT_TIME, now_realtime_us());
	if (r >= 0)
		r = put_number(k, META_UID_BLOCK, k->uid_base);
	if (r >= 0)
		r = store_put(k->store, T_META, META_VERSION, strlen(META_VERSION), CAPSTAN_VERSION, strlen(CAPSTAN_VERSION));
	if (r >= 0)
		r = put_limits(k);
	return r;
}

/* Calls from outside died with their connections (V9). */
static int drop_host_calls(struct kernel *k)
{
	const void *key, *val;
	size_t key_len = 0, len;
	struct row_hold row;
	uint8_t at[KEY_MAX];
	int r;

	for (;;) {
		r = store_next(k->store, T_HOLD, key_len ? at : NULL, key_len, !key_len, &key, &key_len, &val, &len);
		if (r)
			return r < 0 ? error_trace(r) : 0;
		memcpy(at, key, key_len);
		if (at[8] != HOLD_HOST)
			continue;
		if (!row_hold_read(val, len, &row))
			return kernel_corrupt("store: hold row is damaged");
		r = kernel_hold(k, (kref_t){ get_be64(at) }, HOLD_HOST, get_be64(at + 9), -(int64_t)row.count);
		if (r < 0)
			return r;
	}
}

/* Calls of services that were queued at the last commit are still there: they begin again, or are lost with their programs (V9). Their number bounds new ones. */
static int count_service_queue(struct kernel *k)
{
	const void *key, *val;
	size_t key_len, len;
	uint64_t seq = 0;
	uint8_t at[16];
	int r;

	k->service_work = true;
	for (k->n_service_queue = 0;; k->n_service_queue++) {
		key_u64_u64(at, ENDPOINT_K.bits, seq);
		r = store_next(k->store, T_QUEUE, at, 16, false, &key, &key_len, &val, &len);
		if (r < 0)
			return error_trace(r);
		if (r == STORE_NOT_FOUND || get_be64(key) != ENDPOINT_K.bits)
			return 0;
		seq = get_be64((const uint8_t *)key + 8);
	}
}

/* Every vat lost its process with the broker: a new incarnation for each that may run again (V9). */
static int raise_incarnations(struct kernel *k)
{
	struct vat *v, *tmp;
	int r = 0;

	HASH_ITER(hh, k->vats, v, tmp) {
		struct row_vat *row = vat_edit(k, v);
		bool lived = row->pid != 0;

		row->pid = 0;
		if (row->status == VAT_TERMINATED)
			continue;
		/* A store that was made without root, or under another block: the vat gets a uid of ours. */
		if (k->uid_base && (row->uid < k->uid_base || row->uid - k->uid_base >= VAT_UIDS))
			row->uid = k->uid_base + k->next_uid++;
		if (row->status == VAT_SUSPENDED && (row->flags & VAT_F_RESUME_RESTARTS))
			continue;	/* had none */
		r = lived ? vat_note_death(k, v, "ended with the broker") : 0;
		if (r < 0)
			return r;
		row->incarnation++;
		if (row->status == VAT_SUSPENDED)
			row->flags |= VAT_F_RESUME_RESTARTS;
		else
			row->status = VAT_STARTING;
		r = sweep_begin(k, v, false);
		if (r < 0)
			return r;
	}
	return 0;
}

int boot_kernel(struct kernel *k)
{
	struct vat *v, *tmp;
	int r;

	r = load_counters(k);
	if (r >= 0)
		r = vat_load_all(k);
	if (r >= 0)
		r = count_service_queue(k);
	if (r >= 0)
		r = cycle_boot(k);
	if (r >= 0)
		r = kernel_savepoint(k);
	if (r >= 0)
		r = note_boot(k);
	if (r >= 0)
		r = drop_host_calls(k);
	if (r >= 0)
		r = raise_incarnations(k);
	if (r >= 0)
		r = kernel_release(k);
	if (r >= 0)
		r = service_boot(k);
	if (r >= 0)
		r = hosted_boot(k);
	if (r >= 0)
		r = io_boot(k);
	if (r >= 0)
		r = launch_boot(k);
	if (r < 0)
		return r;
	HASH_ITER(hh, k->vats, v, tmp) {
		if (v->row.status == VAT_STARTING && v->proc == PROC_NONE)
			vat_want_process(k, v);
	}
	return kernel_commit(k);
}
