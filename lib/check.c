/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The checker. It reads every table once, in an order in which what is needed has been seen, and gathers per kref
 * a *tally* (what should be in its row) and per vat the same; then it compares. Rules are numbered as in the
 * semantics.
 *
 * It trusts nothing: keys of wrong form, rows that do not read, references to what is not there are problems like any
 * other, and are reported once, by their own table; what they would have counted is then missing elsewhere, too.
 */
#include "check_impl.h"
#include "vatwalk.h"

/* --- vats and subclusters --------------------------------------------------------------------------------------- */

static int see_vat(struct check *c, const struct row *row)
{
	struct vat_tally *v, *vats;

	if (c->n_vats == c->vats_size) {
		vats = reallocarray(c->vats, c->vats_size * 2 + 16, sizeof *vats);
		if (!vats)
			return error_origin(ENOMEM);
		c->vats = vats;
		c->vats_size = c->vats_size * 2 + 16;
	}
	v = &c->vats[c->n_vats++];
	*v = (struct vat_tally){ .number = key_part(row, 0) };
	if (!row_vat_read(row->val, row->len, &v->row)) {
		check_row_problem(c, row, "the row does not read");
		v->row = (struct row_vat){ 0 };
	}
	return 0;
}

static int see_sweep(struct check *c, const struct row *row)
{
	struct vat_tally *v;
	struct row_sweep sweep;

	if (!check_endpoint_known(c, row, key_part(row, 0)))
		return 0;
	if (row->len != sizeof sweep) {
		check_row_problem(c, row, "the row does not read");
		return 0;
	}
	memcpy(&sweep, row->val, sizeof sweep);
	v = check_endpoint_vat(c, key_part(row, 0));
	if (v) {
		v->sweep = true;
		v->sweep_all = sweep.terminated;
	}
	return 0;
}

static int see_vat_config(struct check *c, const struct row *row)
{
	if (check_vat_known(c, row, key_part(row, 0)))
		check_vat_find(c, key_part(row, 0))->config = true;
	return 0;
}

static int see_member(struct check *c, const struct row *row)
{
	struct vat_tally *v = check_vat_find(c, key_part(row, 1));
	bool sub;
	int r;

	r = check_has1(c, T_SUBCLUSTER, key_part(row, 0), &sub);
	if (r < 0)
		return error_trace(r);
	if (!sub)
		check_row_problem(c, row, "there is no such subcluster");
	if (!check_vat_known(c, row, key_part(row, 1)))
		return 0;
	v->member = v->row.subcluster == key_part(row, 0);
	if (!v->member)
		check_row_problem(c, row, "the vat says s%llu", (unsigned long long)v->row.subcluster);
	if (row->len != strlen(v->row.name) || (row->len && memcmp(row->val, v->row.name, row->len)))
		check_row_problem(c, row, "the vat has another name");
	return 0;
}

static int see_vat_param(struct check *c, const struct row *row)
{
	struct capdata value;
	int r;

	check_vat_known(c, row, key_part(row, 0));
	if (!capdata_read(row->val, row->len, &value)) {
		check_row_problem(c, row, "the value does not read");
		return 0;
	}
	r = check_count_slots(c, row, &value);
	return r < 0 ? error_trace(r) : 0;
}

static int see_subcluster(struct check *c, const struct row *row)
{
	struct row_subcluster sub;
	bool config;
	int r;

	if (!row_subcluster_read(row->val, row->len, &sub)) {
		check_row_problem(c, row, "the row does not read");
		return 0;
	}
	r = check_has1(c, T_SUB_CONFIG, key_part(row, 0), &config);
	if (r < 0)
		return error_trace(r);
	if (!config)
		check_row_problem(c, row, "there is no configuration");
	if (key_part(row, 0) >= c->counters[NEXT_SUBCLUSTER])
		check_row_problem(c, row, "%s is %llu", META_NEXT_SUBCLUSTER,
				  (unsigned long long)c->counters[NEXT_SUBCLUSTER]);
	if (sub.bootstrap_vat && !check_vat_find(c, sub.bootstrap_vat))
		check_row_problem(c, row, "the bootstrap vat v%llu is not known",
				  (unsigned long long)sub.bootstrap_vat);
	return 0;
}

static int see_sub_config(struct check *c, const struct row *row)
{
	bool sub;
	int r = check_has1(c, T_SUBCLUSTER, key_part(row, 0), &sub);

	if (r < 0)
		return error_trace(r);
	if (!sub)
		check_row_problem(c, row, "there is no such subcluster");
	return 0;
}

/* Compared when everything that is charged for has been seen. */
static int see_charge(struct check *c, const struct row *row)
{
	uint64_t holder = key_part(row, 0), who = key_part(row, 1);
	struct charge_tally *t, *charges;
	struct vat_tally *v;

	if (c->n_charges == c->charges_size) {
		charges = reallocarray(c->charges, c->charges_size * 2 + 16, sizeof *charges);
		if (!charges)
			return error_origin(ENOMEM);
		c->charges = charges;
		c->charges_size = c->charges_size * 2 + 16;
	}
	t = &c->charges[c->n_charges++];
	*t = (struct charge_tally){ .holder = holder, .who = who };
	if (!row_charge_read(row->val, row->len, &t->row)) {
		check_row_problem(c, row, "the row does not read");
		return 0;
	}
	v = check_endpoint_vat(c, holder);
	if (v) {
		v->n_senders += t->row.n_messages > 0;
		v->n_introducers += t->row.n_imports > 0 && who != holder;
	}
	return 0;
}

static void check_charged(struct check *c, const struct charge_tally *t)
{
	uint8_t key[16];
	struct row row = { .t = T_CHARGE, .key = key, .key_len = key_u64_u64(key, t->holder, t->who) };
	const struct { const char *what; uint64_t stored, counted; } all[] = {
		{ "n_messages", t->row.n_messages, t->counted.n_messages }, { "bytes", t->row.bytes, t->counted.bytes },
		{ "n_imports", t->row.n_imports, t->counted.n_imports },
	};

	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		if (all[i].stored != all[i].counted)
			check_row_problem(c, &row, "%s is %llu, counted %llu", all[i].what, (unsigned long long)all[i].stored,
					  (unsigned long long)all[i].counted);
	if (!t->counted.n_messages && !t->counted.n_imports)
		check_row_problem(c, &row, "kept, though there is nothing to be charged for");
}

/* --- vats compared --------------------------------------------------------------------------------------------- */

static int source_next(void *ctx, const void *key, size_t key_len, bool or_equal,
		       const void **keyp, size_t *key_lenp, const void **valp, size_t *lenp)
{
	struct check_source *src = ctx;

	return src->next(src->ctx, T_VATSTORE, key, key_len, or_equal, keyp, key_lenp, valp, lenp);
}

static int check_vatstore(struct check *c, const struct vat_tally *v)
{
	struct vatwalk walk;
	const void *val;
	uint64_t bytes = 0;
	size_t len;
	int r;

	if (c->tangled)
		return 0;
	vatwalk_init(&walk, source_next, c->src, v->number, NULL, 0);
	while (!(r = vatwalk_step(&walk, &val, &len)))
		bytes += walk.key_len + len;
	if (r < 0)
		return error_trace(r);
	if (r == VATWALK_E_DAMAGED)
		check_problem(c, T_VAT, v->number, "its vatstore is damaged");
	c->n_walked_rows += walk.n_rows;
	/* While it is being deleted, the total waits for the end. */
	if (!v->sweep_all)
		check_same_number(c, T_VAT, v->number, "vatstore_bytes", v->row.vatstore_bytes, bytes);
	return 0;
}

static void check_next(struct check *c, const struct vat_tally *v, const char *what, uint64_t next, uint64_t max)
{
	if (next <= max)
		check_problem(c, T_VAT, v->number, "%s is %llu, in use %llu", what, (unsigned long long)next,
			(unsigned long long)max);
}

static void check_uid(struct check *c, const struct vat_tally *v)
{
	uint64_t block = c->counters[UID_BLOCK];

	if (v->row.uid && (v->row.uid < block || v->row.uid - block >= c->counters[NEXT_UID]))
		check_problem(c, T_VAT, v->number, "uid %u is not one given out (from %llu, next offset %llu)",
			      v->row.uid, (unsigned long long)block, (unsigned long long)c->counters[NEXT_UID]);
}

/* A vat that runs came from a program that was launched. No hash: it is played, by a test. */
static int check_program(struct check *c, const struct vat_tally *v)
{
	static const uint8_t none[sizeof v->row.code];
	const void *val;
	size_t len;
	int r;

	if (v->row.status != VAT_RUNNING || v->row.flags & VAT_F_LAUNCHING || !memcmp(v->row.code, none, sizeof none))
		return 0;
	r = check_get(c, T_CODE, v->row.code, sizeof v->row.code, &val, &len);
	if (r > 0)
		check_problem(c, T_VAT, v->number, "its program is not among those of the code table");
	return r < 0 ? r : 0;
}

static int check_vat(struct check *c, const struct vat_tally *v)
{
	const struct row_vat *row = &v->row;
	int r;

	if (v->number >= c->counters[NEXT_VAT])
		check_problem(c, T_VAT, v->number, "%s is %llu", META_NEXT_VAT,
			      (unsigned long long)c->counters[NEXT_VAT]);
	if (!v->config)
		check_problem(c, T_VAT, v->number, "there is no configuration");
	if (!v->member)
		check_problem(c, T_VAT, v->number, "not a member of s%llu", (unsigned long long)row->subcluster);
	check_same_number(c, T_VAT, v->number, "n_queued", row->n_queued, v->n_queued);
	check_same_number(c, T_VAT, v->number, "queued_bytes", row->queued_bytes, v->queued_bytes);
	check_same_number(c, T_VAT, v->number, "n_exports", row->n_exports, v->n_exports);
	check_same_number(c, T_VAT, v->number, "n_imports", row->n_imports, v->n_imports);
	check_same_number(c, T_VAT, v->number, "n_calls", row->n_calls, v->n_calls);
	check_same_number(c, T_VAT, v->number, "n_aside", row->n_aside, v->n_aside);
	check_same_number(c, T_VAT, v->number, "aside_bytes", row->aside_bytes, v->aside_bytes);
	if (row->revoked_below > c->counters[NEXT_OBJECT])
		check_problem(c, T_VAT, v->number, "revoked_below is %llu, %s is %llu", (unsigned long long)row->revoked_below,
			      META_NEXT_OBJECT, (unsigned long long)c->counters[NEXT_OBJECT]);
	check_same_number(c, T_VAT, v->number, "n_senders", row->n_senders, v->n_senders);
	check_same_number(c, T_VAT, v->number, "n_introducers", row->n_introducers, v->n_introducers);
	check_next(c, v, "next_import", row->next_import, v->max_import);
	check_next(c, v, "next_import_promise", row->next_import_promise, v->max_import_promise);
	if (v->max_export)
		check_next(c, v, "next_export", row->next_export, v->max_export);
	if (v->max_export_promise)
		check_next(c, v, "next_export_promise", row->next_export_promise, v->max_export_promise);
	check_uid(c, v);
	if (row->status == VAT_TERMINATED && !v->sweep && (v->n_queued || v->n_exports || v->n_imports))
		check_problem(c, T_VAT, v->number,
			      "terminated, and still has entries or queued items that no sweep will take");
	r = check_vatstore(c, v);
	if (r >= 0)
		r = check_program(c, v);
	return r < 0 ? error_trace(r) : 0;
}

/* Links are kept among the tallies, under numbers that no kref has. */
static int see_link(struct check *c, const struct row *row, uint64_t link)
{
	struct tally *t;
	int r;

	r = check_tally_take(c, link | REF_MINUS, &t);
	if (r < 0)
		return error_trace(r);
	if (t->row) {
		check_row_problem(c, row, "links to the space of another row");
		c->tangled = true;
	}
	t->row = true;
	return 0;
}

static int see_vatstore(struct check *c, const struct row *row)
{
	uint64_t space = key_part(row, 0);
	struct vatstore_row v;
	int r;

	if (space & VATSTORE_SPACE) {
		if ((space & ~VATSTORE_SPACE) >= c->counters[NEXT_SPACE])
			check_row_problem(c, row, "%s is %llu", META_NEXT_SPACE,
					  (unsigned long long)c->counters[NEXT_SPACE]);
	} else if (!check_vat_known(c, row, space)) {
		return 0;
	}
	c->n_space_rows++;
	if (!vatstore_row_read(row->val, row->len, row->key_len - 8, &v)) {
		check_row_problem(c, row, "the row does not read");
		return 0;
	}
	r = v.link ? see_link(c, row, v.link) : 0;
	return r < 0 ? error_trace(r) : 0;
}

/* --- the rest -------------------------------------------------------------------------------------------------- */

static int see_gc(struct check *c, const struct row *row)
{
	check_endpoint_known(c, row, key_part(row, 0));
	if (row->key[8] < GC_DROP_EXPORT || row->key[8] > GC_RETIRE_IMPORT)
		check_row_problem(c, row, "no such action");
	return 0;
}

static int see_service(struct check *c, const struct row *row)
{
	struct row_service service;
	const void *val;
	uint8_t key[8];
	size_t len;
	bool sub;
	int r;

	if (row->len != sizeof service) {
		check_row_problem(c, row, "the row does not read");
		return 0;
	}
	memcpy(&service, row->val, sizeof service);
	r = check_get(c, T_SERVICE_OF, key, key_u64(key, service.kref), &val, &len);
	if (r < 0)
		return error_trace(r);
	if (r || len != row->key_len || memcmp(val, row->key, len))
		check_row_problem(c, row, "its object does not lead back");
	if (!(service.flags & SERVICE_F_IO))
		return 0;
	r = check_has1(c, T_SUBCLUSTER, service.subcluster, &sub);
	if (r < 0)
		return error_trace(r);
	if (!sub)
		check_row_problem(c, row, "a channel of a subcluster that is gone");
	return 0;
}

static int see_service_of(struct check *c, const struct row *row)
{
	struct row_service service;
	struct tally *t;
	const void *val;
	size_t len;
	int r;

	r = check_tally_take(c, key_part(row, 0), &t);
	if (r < 0)
		return error_trace(r);
	t->in_service = true;
	if (!row->len || row->len > KEY_MAX) {
		check_row_problem(c, row, "the row does not read");
		return 0;
	}
	r = check_get(c, T_SERVICE, row->val, row->len, &val, &len);
	if (r < 0)
		return error_trace(r);
	if (!r && len == sizeof service)
		memcpy(&service, val, sizeof service);
	if (r || len != sizeof service || service.kref != key_part(row, 0))
		check_row_problem(c, row, "the service of that name is another");
	return 0;
}

static int see_log(struct check *c, const struct row *row)
{
	struct vat_tally *v = check_vat_find(c, key_part(row, 0));
	struct row_log log;
	const char *text;
	size_t len;

	bool read = row_log_read(row->val, row->len, &log, &text, &len);

	if (!read)
		check_row_problem(c, row, "the row does not read");
	if (check_vat_known(c, row, key_part(row, 0)) && key_part(row, 1) >= v->row.next_log)
		check_row_problem(c, row, "next_log is %llu", (unsigned long long)v->row.next_log);
	else if (v && read && log.offset + log_line_size(&log, text, len) > v->row.log_bytes)
		check_row_problem(c, row, "log_bytes is %llu", (unsigned long long)v->row.log_bytes);
	return 0;
}

static int see_death(struct check *c, const struct row *row)
{
	struct vat_tally *v = check_vat_find(c, key_part(row, 0));
	struct row_death death;
	const char *text;
	size_t len;

	if (!row_death_read(row->val, row->len, &death, &text, &len))
		check_row_problem(c, row, "the row does not read");
	if (!check_vat_known(c, row, key_part(row, 0)))
		return 0;
	if (!key_part(row, 1) || key_part(row, 1) >= v->row.next_death || v->row.next_death - key_part(row, 1) > DEATH_KEEP)
		check_row_problem(c, row, "next_death is %llu", (unsigned long long)v->row.next_death);
	return 0;
}

static int see_code(struct check *c, const struct row *row)
{
	struct row_code code;
	const char *name;
	size_t len;

	if (row->key_len != 32 || !row_code_read(row->val, row->len, &code, &name, &len))
		check_row_problem(c, row, "the row does not read");
	return 0;
}

static int see_aside(struct check *c, const struct row *row)
{
	struct vat_tally *v = check_vat_find(c, key_part(row, 0));
	struct capdata methargs;
	struct row_aside aside;

	if (!row_aside_read(row->val, row->len, &aside, &methargs))
		check_row_problem(c, row, "the row does not read");
	if (key_part(row, 1) >= c->counters[NEXT_SEQ])
		check_row_problem(c, row, "%s is %llu", META_NEXT_SEQ, (unsigned long long)c->counters[NEXT_SEQ]);
	if (check_vat_known(c, row, key_part(row, 0))) {
		v->n_aside++;
		v->aside_bytes += row->len;
	}
	return 0;
}

static const char *const counter_names[N_COUNTERS] = {
	META_NEXT_OBJECT, META_NEXT_PROMISE, META_NEXT_VAT, META_NEXT_SUBCLUSTER, META_NEXT_SEQ, META_NEXT_UID,
	META_NEXT_SPACE, META_UID_BLOCK,
};

/* A counter that was never written starts at 1, uids at 0. */
static int read_counters(struct check *c)
{
	const void *val;
	size_t len;
	int r;

	for (int i = 0; i < N_COUNTERS; i++) {
		c->counters[i] = i == NEXT_UID || i == UID_BLOCK ? 0 : 1;
		r = check_get(c, T_META, (const uint8_t *)counter_names[i], strlen(counter_names[i]), &val, &len);
		if (r < 0)
			return error_trace(r);
		if (r)
			continue;
		if (len == sizeof c->counters[i])
			memcpy(&c->counters[i], val, sizeof c->counters[i]);
		else
			check_problem(c, T_META, (uint64_t)i, "the counter %s does not read", counter_names[i]);
	}
	return 0;
}

/* Vats first, for they are named everywhere; what is counted by references, before check_refs() compares. */
static const struct { enum table t; row_fn fn; } before[] = {
	{ T_VAT, see_vat }, { T_SWEEP, see_sweep }, { T_VAT_CONFIG, see_vat_config }, { T_MEMBER, see_member },
	{ T_SUBCLUSTER, see_subcluster }, { T_SUB_CONFIG, see_sub_config }, { T_VAT_PARAM, see_vat_param },
	{ T_SERVICE, see_service }, { T_SERVICE_OF, see_service_of }, { T_CHARGE, see_charge },
}, after[] = {
	{ T_GC, see_gc }, { T_LOG, see_log }, { T_CODE, see_code }, { T_DEATH, see_death }, { T_ASIDE, see_aside }, { T_VATSTORE, see_vatstore },
};

static int run(struct check *c)
{
	int r;

	r = read_counters(c);
	for (size_t i = 0; !r && i < ARRAY_LEN(before); i++)
		r = check_each(c, before[i].t, before[i].fn);
	if (!r)
		r = check_refs(c);
	for (size_t i = 0; !r && i < ARRAY_LEN(after); i++)
		r = check_each(c, after[i].t, after[i].fn);
	for (size_t i = 0; !r && i < c->n_charges; i++)
		check_charged(c, &c->charges[i]);
	for (size_t i = 0; !r && i < c->n_vats; i++)
		r = check_vat(c, &c->vats[i]);
	if (r < 0)
		return error_trace(r);
	if (!c->tangled && c->n_space_rows > c->n_walked_rows)
		check_problem(c, T_VATSTORE, 0, "%llu rows are not reached from any vat",
			      (unsigned long long)(c->n_space_rows - c->n_walked_rows));
	return 0;
}

int check_store(struct check_source *src, check_report_fn report, void *ctx, size_t *n_problemsp)
{
	struct check c = { .src = src, .report = report, .report_ctx = ctx };
	int r = run(&c);

	for (size_t i = 0; i < c.n_slots; i++)
		free(c.slots[i]);
	free(c.slots);
	free(c.vats);
	free(c.charges);
	if (r < 0)
		return error_trace(r);
	*n_problemsp = c.n_problems;
	return 0;
}
