/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The checker. It reads every table once, in an order in which what is needed has been seen, and gathers per kref
 * a *tally* (what should be in its row) and per vat the same; then it compares. Rules are numbered as in the semantics.
 *
 * It trusts nothing: keys of wrong form, rows that do not read, references to what is not there are problems like any
 * other, and are reported once, by their own table; what they would have counted is then missing elsewhere, too.
 */
#include "check.h"

#include <stdarg.h>

#include "vatwalk.h"

/* What rows elsewhere say about one object or promise. */
struct tally {
	uint64_t kref;
	uint64_t reachable, recognizable;	/* objects: C4 */
	uint64_t refs;				/* promises: C5 */
	uint64_t n_waiting;			/* messages in its queue */
	uint64_t owner;				/* endpoint with a "+" entry; 0 none */
	uint64_t behind;			/* holder of the queued message with it as result; 0 none */
	uint64_t link;				/* forwarded: the row's */
	bool owner_survives;			/* that entry is the root or durable */
	bool in_service;			/* SERVICE_OF */
	bool has_value;
	bool row;				/* seen in OBJECT or PROMISE */
	uint32_t stamp;				/* walk over forwards that met it */
};

struct vat_tally {
	uint64_t number;
	struct row_vat row;
	bool sweep, sweep_all;			/* cleaning up after a death; after the last */
	bool config, member;
	uint64_t n_queued, queued_bytes, n_exports, n_imports;
	uint64_t max_import, max_import_promise, max_export, max_export_promise;
};

enum counter { NEXT_OBJECT, NEXT_PROMISE, NEXT_VAT, NEXT_SUBCLUSTER, NEXT_SEQ, NEXT_UID, NEXT_SPACE, UID_BLOCK, N_COUNTERS };
static const char *const counter_names[N_COUNTERS] = {
	META_NEXT_OBJECT, META_NEXT_PROMISE, META_NEXT_VAT, META_NEXT_SUBCLUSTER, META_NEXT_SEQ, META_NEXT_UID,
	META_NEXT_SPACE, META_UID_BLOCK,
};

struct row { enum table t; const uint8_t *key; size_t key_len; const void *val; size_t len; };

struct check {
	struct check_source *src;
	check_report_fn report;
	void *report_ctx;
	size_t n_problems;
	uint64_t counters[N_COUNTERS];
	struct tally **slots;		/* open addressing by kref */
	size_t n_slots, n_tallies;
	struct vat_tally *vats;		/* by number */
	size_t n_vats, vats_size;
	uint64_t n_space_rows;		/* VATSTORE rows of known vats and of linked spaces */
	uint64_t n_walked_rows;		/* those that walks from vats have met */
	bool tangled;			/* two links lead to one space: walking would take too long */
};

/* --- saying it ------------------------------------------------------------------------------------------------- */

/*
 * The key of each table, part by part: V vat, S subcluster, K kref, O object, P promise, E endpoint, X endpoint or
 * promise, R eref, N number (8 bytes each), B a byte, T text or bytes to the end.
 */
static const char *const key_shapes[T_N] = {
	[T_META] = "T", [T_VAT] = "V", [T_VAT_CONFIG] = "V", [T_VAT_PARAM] = "V", [T_SUBCLUSTER] = "S",
	[T_SUB_CONFIG] = "S", [T_MEMBER] = "SV", [T_OBJECT] = "O", [T_PROMISE] = "P", [T_VALUE] = "P", [T_CLIST] = "EK",
	[T_EREF] = "ER", [T_IMPORTER] = "OE", [T_DECIDED] = "EP", [T_SUBSCRIBER] = "PE", [T_FORWARD] = "PP",
	[T_QUEUE] = "XN", [T_NOTIFYING] = "EP", [T_GC] = "EBO", [T_SWEEP] = "E", [T_VATSTORE] = "NT", [T_HOLD] = "KBN",
	[T_SERVICE] = "T", [T_SERVICE_OF] = "O", [T_LOG] = "VN", [T_CODE] = "T", [T_ASIDE] = "N",
};

static void part_format(char shape, uint64_t n, char out[REF_TEXT_MAX])
{
	switch (shape) {
	case 'V':
	case 'S':
		snprintf(out, REF_TEXT_MAX, "%c%llu", shape == 'V' ? 'v' : 's', (unsigned long long)n);
		return;
	case 'K':
	case 'O':
	case 'P':
		kref_format((kref_t){ n }, out);
		return;
	case 'X':
	case 'E':
		if (n & REF_PROMISE)
			kref_format((kref_t){ n }, out);
		else
			endpoint_format((endpoint_t){ n }, out);
		return;
	case 'R':
		vref_format((vref_t){ n }, out);
		return;
	default:
		snprintf(out, REF_TEXT_MAX, "%llu", (unsigned long long)n);
	}
}

/* "clist v1 ko12" */
static void row_format(const struct row *row, char *out, size_t size)
{
	size_t at = 0, n = (size_t)snprintf(out, size, "%s", table_names[row->t]);
	char part[REF_TEXT_MAX];

	for (const char *s = key_shapes[row->t]; *s && n < size - 1; s++) {
		if (*s == 'T' || row->key_len - at < (*s == 'B' ? 1 : 8)) {
			out[n++] = ' ';
			escape_bytes(out + n, size - n, row->key + at, row->key_len - at);
			return;
		}
		part_format(*s, *s == 'B' ? row->key[at] : get_be64(row->key + at), part);
		at += *s == 'B' ? 1 : 8;
		n += (size_t)snprintf(out + n, size - n, " %s", part);
	}
}

static void __attribute__((format(printf, 3, 0))) vreport(struct check *c, const char *subject, const char *fmt, va_list ap)
{
	char line[512];
	int n = snprintf(line, sizeof line, "%s: ", subject);

	vsnprintf(line + n, sizeof line - (size_t)n, fmt, ap);
	c->n_problems++;
	c->report(c->report_ctx, line);
}

static void __attribute__((format(printf, 3, 4))) row_problem(struct check *c, const struct row *row, const char *fmt, ...)
{
	char subject[256];
	va_list ap;

	row_format(row, subject, sizeof subject);
	va_start(ap, fmt);
	vreport(c, subject, fmt, ap);
	va_end(ap);
}

/* About something by its table and number alone: 'V' "vat v1", 'O' "object ko12". */
static void __attribute__((format(printf, 4, 5))) problem(struct check *c, enum table t, uint64_t n, const char *fmt, ...)
{
	char subject[64 + REF_TEXT_MAX], part[REF_TEXT_MAX];
	va_list ap;

	part_format(key_shapes[t][0], n, part);
	snprintf(subject, sizeof subject, "%s %s", table_names[t], part);
	va_start(ap, fmt);
	vreport(c, subject, fmt, ap);
	va_end(ap);
}

static void same_number(struct check *c, enum table t, uint64_t n, const char *what, uint64_t stored, uint64_t counted)
{
	if (stored != counted)
		problem(c, t, n, "%s is %llu, counted %llu", what, (unsigned long long)stored, (unsigned long long)counted);
}

static void same_ref(struct check *c, enum table t, uint64_t n, const char *what, uint64_t stored, uint64_t want)
{
	char a[REF_TEXT_MAX], b[REF_TEXT_MAX];

	if (stored == want)
		return;
	part_format('X', stored, a);
	part_format('X', want, b);
	problem(c, t, n, "%s is %s, should be %s", what, stored ? a : "none", want ? b : "none");
}

/* --- reading --------------------------------------------------------------------------------------------------- */

static int get(struct check *c, enum table t, const uint8_t *key, size_t key_len, const void **valp, size_t *lenp)
{
	int r = c->src->get(c->src->ctx, t, key, key_len, valp, lenp);

	return r < 0 ? error_trace(r) : r;
}

static int has2(struct check *c, enum table t, uint64_t a, uint64_t b, bool *hasp)
{
	uint8_t key[16];
	const void *val;
	size_t len;
	int r = get(c, t, key, key_u64_u64(key, a, b), &val, &len);

	*hasp = !r;
	return r < 0 ? r : 0;
}

static int has1(struct check *c, enum table t, uint64_t a, bool *hasp)
{
	uint8_t key[8];
	const void *val;
	size_t len;
	int r = get(c, t, key, key_u64(key, a), &val, &len);

	*hasp = !r;
	return r < 0 ? r : 0;
}

static bool kref_is_legal(uint64_t k)
{
	return !(k & ~(REF_PROMISE | REF_NUMBER_MASK)) && (k & REF_NUMBER_MASK);
}

static bool part_is_legal(char shape, uint64_t n)
{
	switch (shape) {
	case 'K':
		return kref_is_legal(n);
	case 'O':
		return kref_is_legal(n) && !(n & REF_PROMISE);
	case 'P':
		return kref_is_legal(n) && (n & REF_PROMISE);
	case 'R':
		return vref_is_legal((vref_t){ n });
	case 'V':
	case 'S':
		return n && n <= REF_NUMBER_MASK;
	case 'X':
		return (n & REF_PROMISE) ? kref_is_legal(n) : n != 0;
	case 'E':
		return !(n & REF_PROMISE) && n;
	default:
		return true;
	}
}

static bool key_is_legal(const struct row *row)
{
	size_t at = 0;

	for (const char *s = key_shapes[row->t]; *s; s++) {
		if (*s == 'T')
			return true;
		if (row->key_len - at < (*s == 'B' ? 1u : 8u))
			return false;
		if (*s != 'B' && !part_is_legal(*s, get_be64(row->key + at)))
			return false;
		at += *s == 'B' ? 1 : 8;
	}
	return at == row->key_len;
}

static uint64_t key_part(const struct row *row, unsigned i) { return get_be64(row->key + 8 * (size_t)i); }

typedef int (*row_fn)(struct check *c, const struct row *row);

/* Every row of the table whose key has the right form; the others are problems. */
static int each(struct check *c, enum table t, row_fn fn)
{
	uint8_t at[KEY_MAX];
	struct row row = { .t = t, .key = at };
	const void *key;
	bool started = false;
	int r;

	for (;;) {
		r = c->src->next(c->src->ctx, t, at, started ? row.key_len : 0, !started, &key, &row.key_len, &row.val,
				 &row.len);
		if (r)
			return r < 0 ? error_trace(r) : 0;
		if (row.key_len > sizeof at)
			return error_origin(EIO);
		memcpy(at, key, row.key_len);
		started = true;
		if (!key_is_legal(&row))
			row_problem(c, &row, "the key is malformed");
		else
			r = fn(c, &row);
		if (r < 0)
			return error_trace(r);
	}
}

/* --- tallies --------------------------------------------------------------------------------------------------- */

static int tallies_grow(struct check *c)
{
	size_t n = c->n_slots ? c->n_slots * 2 : 1024;
	struct tally **slots = calloc(n, sizeof *slots);

	if (!slots)
		return error_origin(ENOMEM);
	for (size_t i = 0; i < c->n_slots; i++) {
		struct tally *t = c->slots[i];
		size_t at;

		if (!t)
			continue;
		for (at = t->kref * UINT64_C(0x9e3779b97f4a7c15) >> 20 & (n - 1); slots[at]; at = (at + 1) & (n - 1))
			;
		slots[at] = t;
	}
	free(c->slots);
	c->slots = slots;
	c->n_slots = n;
	return 0;
}

static struct tally **tally_slot(struct check *c, uint64_t kref)
{
	size_t at = kref * UINT64_C(0x9e3779b97f4a7c15) >> 20 & (c->n_slots - 1);

	while (c->slots[at] && c->slots[at]->kref != kref)
		at = (at + 1) & (c->n_slots - 1);
	return &c->slots[at];
}

static struct tally *tally_find(struct check *c, uint64_t kref)
{
	return c->n_slots ? *tally_slot(c, kref) : NULL;
}

static int tally_take(struct check *c, uint64_t kref, struct tally **tp)
{
	struct tally **slot;
	int r;

	if (c->n_tallies * 2 >= c->n_slots) {
		r = tallies_grow(c);
		if (r < 0)
			return error_trace(r);
	}
	slot = tally_slot(c, kref);
	if (!*slot) {
		*slot = calloc(1, sizeof **slot);
		if (!*slot)
			return error_origin(ENOMEM);
		(*slot)->kref = kref;
		c->n_tallies++;
	}
	*tp = *slot;
	return 0;
}

/* `n` holders more that both reach and recognize it; promises have one count only. */
static int count(struct check *c, const struct row *by, uint64_t kref, uint64_t n)
{
	struct tally *t;
	int r;

	if (!kref_is_legal(kref)) {
		row_problem(c, by, "names %016llx, which is no reference", (unsigned long long)kref);
		return 0;
	}
	r = tally_take(c, kref, &t);
	if (r < 0)
		return error_trace(r);
	t->refs += n;
	t->reachable += n;
	t->recognizable += n;
	return 0;
}

static int count_slots(struct check *c, const struct row *by, const struct capdata *value)
{
	int r;

	for (size_t i = 0; i < value->n_slots; i++) {
		r = count(c, by, capdata_slot(value, i), 1);
		if (r < 0)
			return error_trace(r);
	}
	return 0;
}

/* --- vats and endpoints ---------------------------------------------------------------------------------------- */

static struct vat_tally *vat_find(struct check *c, uint64_t number)
{
	size_t lo = 0, hi = c->n_vats;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (c->vats[mid].number < number)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < c->n_vats && c->vats[lo].number == number ? &c->vats[lo] : NULL;
}

static struct vat_tally *endpoint_vat_tally(struct check *c, uint64_t endpoint)
{
	endpoint_t e = { endpoint };

	return endpoint_is_vat(e) ? vat_find(c, endpoint_number(e)) : NULL;
}

/* A vat with a row, or the kernel. */
static bool endpoint_known(struct check *c, const struct row *by, uint64_t endpoint)
{
	char text[REF_TEXT_MAX];

	if (endpoint == ENDPOINT_K.bits || endpoint_vat_tally(c, endpoint))
		return true;
	row_problem(c, by, "endpoint %s is not known", endpoint_format((endpoint_t){ endpoint }, text));
	return false;
}

static bool vat_known(struct check *c, const struct row *by, uint64_t number)
{
	if (vat_find(c, number))
		return true;
	row_problem(c, by, "v%llu is not known", (unsigned long long)number);
	return false;
}

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
		row_problem(c, row, "the row does not read");
		v->row = (struct row_vat){ 0 };
	}
	return 0;
}

static int see_sweep(struct check *c, const struct row *row)
{
	struct vat_tally *v;
	struct row_sweep sweep;

	if (!endpoint_known(c, row, key_part(row, 0)))
		return 0;
	if (row->len != sizeof sweep) {
		row_problem(c, row, "the row does not read");
		return 0;
	}
	memcpy(&sweep, row->val, sizeof sweep);
	v = endpoint_vat_tally(c, key_part(row, 0));
	if (v) {
		v->sweep = true;
		v->sweep_all = sweep.terminated;
	}
	return 0;
}

static int see_vat_config(struct check *c, const struct row *row)
{
	if (vat_known(c, row, key_part(row, 0)))
		vat_find(c, key_part(row, 0))->config = true;
	return 0;
}

static int see_member(struct check *c, const struct row *row)
{
	struct vat_tally *v = vat_find(c, key_part(row, 1));
	bool sub;
	int r;

	r = has1(c, T_SUBCLUSTER, key_part(row, 0), &sub);
	if (r < 0)
		return error_trace(r);
	if (!sub)
		row_problem(c, row, "there is no such subcluster");
	if (!vat_known(c, row, key_part(row, 1)))
		return 0;
	v->member = v->row.subcluster == key_part(row, 0);
	if (!v->member)
		row_problem(c, row, "the vat says s%llu", (unsigned long long)v->row.subcluster);
	if (row->len != strlen(v->row.name) || (row->len && memcmp(row->val, v->row.name, row->len)))
		row_problem(c, row, "the vat has another name");
	return 0;
}

static int see_vat_param(struct check *c, const struct row *row)
{
	struct capdata value;
	int r;

	vat_known(c, row, key_part(row, 0));
	if (!capdata_read(row->val, row->len, &value)) {
		row_problem(c, row, "the value does not read");
		return 0;
	}
	r = count_slots(c, row, &value);
	return r < 0 ? error_trace(r) : 0;
}

static int see_subcluster(struct check *c, const struct row *row)
{
	struct row_subcluster sub;
	bool config;
	int r;

	if (!row_subcluster_read(row->val, row->len, &sub)) {
		row_problem(c, row, "the row does not read");
		return 0;
	}
	r = has1(c, T_SUB_CONFIG, key_part(row, 0), &config);
	if (r < 0)
		return error_trace(r);
	if (!config)
		row_problem(c, row, "there is no configuration");
	if (key_part(row, 0) >= c->counters[NEXT_SUBCLUSTER])
		row_problem(c, row, "%s is %llu", META_NEXT_SUBCLUSTER, (unsigned long long)c->counters[NEXT_SUBCLUSTER]);
	if (sub.bootstrap_vat && !vat_find(c, sub.bootstrap_vat))
		row_problem(c, row, "the bootstrap vat v%llu is not known", (unsigned long long)sub.bootstrap_vat);
	return 0;
}

static int see_sub_config(struct check *c, const struct row *row)
{
	bool sub;
	int r = has1(c, T_SUBCLUSTER, key_part(row, 0), &sub);

	if (r < 0)
		return error_trace(r);
	if (!sub)
		row_problem(c, row, "there is no such subcluster");
	return 0;
}

/* --- clists (C1, C2) ------------------------------------------------------------------------------------------- */

static void raise_max(uint64_t *maxp, uint64_t n)
{
	if (n > *maxp)
		*maxp = n;
}

static void count_entry(struct vat_tally *v, vref_t vref)
{
	bool promise = vref_is_promise(vref);

	if (vref_is_import(vref)) {
		v->n_imports++;
		raise_max(promise ? &v->max_import_promise : &v->max_import, vref_number(vref));
		return;
	}
	v->n_exports++;
	if (!(vref.bits & REF_FORM_MASK))
		raise_max(promise ? &v->max_export_promise : &v->max_export, vref_number(vref));
}

static int count_object_entry(struct check *c, const struct row *row, vref_t vref, bool flagged)
{
	struct tally *t;
	bool importer;
	int r;

	r = tally_take(c, key_part(row, 1), &t);
	if (r < 0)
		return error_trace(r);
	if (!vref_is_import(vref)) {
		if (t->owner)
			row_problem(c, row, "a second owner's entry");
		t->owner = key_part(row, 0);
		t->owner_survives = vref_survives(vref);
		return 0;
	}
	t->recognizable++;
	t->reachable += flagged;
	r = has2(c, T_IMPORTER, key_part(row, 1), key_part(row, 0), &importer);
	if (r < 0)
		return error_trace(r);
	if (!importer)
		row_problem(c, row, "imported, but not among the importers");
	return 0;
}

static int see_clist(struct check *c, const struct row *row)
{
	uint64_t endpoint = key_part(row, 0), kref = key_part(row, 1);
	struct row_clist entry, back;
	struct vat_tally *v;
	const void *val;
	uint8_t key[16];
	char text[REF_TEXT_MAX];
	size_t len;
	vref_t vref;
	int r;

	if (!row_clist_read(row->val, row->len, &entry) || !vref_is_legal((vref_t){ entry.ref }) ||
	    (entry.ref & REF_PROMISE) != (kref & REF_PROMISE)) {
		row_problem(c, row, "the row does not read");
		return 0;
	}
	vref.bits = entry.ref;
	vref_format(vref, text);
	r = get(c, T_EREF, key, key_u64_u64(key, endpoint, vref.bits), &val, &len);
	if (r < 0)
		return error_trace(r);
	if (r || !row_clist_read(val, len, &back) || back.ref != kref)
		row_problem(c, row, "is %s, which does not lead back", text);
	else if (back.flags != entry.flags)
		row_problem(c, row, "flags are %u, those of %s are %u", entry.flags, text, back.flags);
	if (endpoint_known(c, row, endpoint)) {
		v = endpoint_vat_tally(c, endpoint);
		if (v)
			count_entry(v, vref);
	}
	if (!(kref & REF_PROMISE))
		return count_object_entry(c, row, vref, entry.flags & CLIST_F_REACHABLE);
	if (!(entry.flags & CLIST_F_REACHABLE))
		row_problem(c, row, "a promise that is not flagged reachable");
	return count(c, row, kref, 1);
}

static int see_eref(struct check *c, const struct row *row)
{
	struct row_clist entry, back;
	const void *val;
	uint8_t key[16];
	size_t len;
	int r;

	endpoint_known(c, row, key_part(row, 0));
	if (!row_clist_read(row->val, row->len, &entry) || !kref_is_legal(entry.ref)) {
		row_problem(c, row, "the row does not read");
		return 0;
	}
	r = get(c, T_CLIST, key, key_u64_u64(key, key_part(row, 0), entry.ref), &val, &len);
	if (r < 0)
		return error_trace(r);
	if (r || !row_clist_read(val, len, &back) || back.ref != key_part(row, 1))
		row_problem(c, row, "is %s, which does not lead back", kref_format((kref_t){ entry.ref }, (char[REF_TEXT_MAX]){ 0 }));
	return 0;
}

static int see_importer(struct check *c, const struct row *row)
{
	struct row_clist entry;
	const void *val;
	uint8_t key[16];
	size_t len;
	int r;

	endpoint_known(c, row, key_part(row, 1));
	r = get(c, T_CLIST, key, key_u64_u64(key, key_part(row, 1), key_part(row, 0)), &val, &len);
	if (r < 0)
		return error_trace(r);
	if (r || !row_clist_read(val, len, &entry) || !(entry.ref & REF_MINUS))
		row_problem(c, row, "does not import it");
	return 0;
}

/* --- queues ---------------------------------------------------------------------------------------------------- */

static int count_message(struct check *c, const struct row *row, const struct row_item *item, const struct capdata *value)
{
	uint64_t holder = key_part(row, 0);
	struct tally *t;
	int r;

	r = count(c, row, item->target, 1);
	if (!r)
		r = count_slots(c, row, value);
	if (r < 0 || !item->result)
		return r < 0 ? error_trace(r) : 0;
	if (!(item->result & REF_PROMISE) || !kref_is_legal(item->result)) {
		row_problem(c, row, "the result is no promise");
		return 0;
	}
	r = count(c, row, item->result, 1);
	if (!r)
		r = tally_take(c, item->result, &t);
	if (r < 0)
		return error_trace(r);
	if (t->behind)
		row_problem(c, row, "the result is another message's, too");
	t->behind = holder;
	return 0;
}

static int see_notify(struct check *c, const struct row *row, const struct row_item *item)
{
	const void *val;
	uint8_t key[16];
	uint64_t seq;
	size_t len;
	int r;

	if (!(item->target & REF_PROMISE) || (key_part(row, 0) & REF_PROMISE)) {
		row_problem(c, row, "a notify of no promise, or to one");
		return 0;
	}
	r = get(c, T_NOTIFYING, key, key_u64_u64(key, key_part(row, 0), item->target), &val, &len);
	if (r < 0)
		return error_trace(r);
	if (!r && len == sizeof seq)
		memcpy(&seq, val, sizeof seq);
	if (r || len != sizeof seq || seq != key_part(row, 1))
		row_problem(c, row, "a notify that is not listed as the queued one");
	return count(c, row, item->target, 1);
}

/* The queue that it waits in: a vat's, the kernel's, or that of the promise it is for. */
static int count_item(struct check *c, const struct row *row, const struct row_item *item)
{
	uint64_t holder = key_part(row, 0);
	struct vat_tally *v;
	struct tally *t;
	int r;

	if (holder & REF_PROMISE) {
		if (item->target != holder)
			row_problem(c, row, "waits for a promise that is not its target");
		r = tally_take(c, holder, &t);
		if (r < 0)
			return error_trace(r);
		t->n_waiting++;
		return 0;
	}
	if (!endpoint_known(c, row, holder))
		return 0;
	v = endpoint_vat_tally(c, holder);
	if (v) {
		v->n_queued++;
		v->queued_bytes += row->len;
	}
	return 0;
}

static int see_item(struct check *c, const struct row *row)
{
	struct capdata value;
	struct row_item item;
	int r;

	if (!row_item_read(row->val, row->len, &item, &value)) {
		row_problem(c, row, "the row does not read");
		return 0;
	}
	if (key_part(row, 1) >= c->counters[NEXT_SEQ])
		row_problem(c, row, "%s is %llu", META_NEXT_SEQ, (unsigned long long)c->counters[NEXT_SEQ]);
	r = count_item(c, row, &item);
	if (!r)
		r = item.kind == ITEM_NOTIFY ? see_notify(c, row, &item) : count_message(c, row, &item, &value);
	return r < 0 ? error_trace(r) : 0;
}

static int see_notifying(struct check *c, const struct row *row)
{
	struct capdata value;
	struct row_item item;
	const void *val;
	uint64_t seq;
	uint8_t key[16];
	size_t len;
	int r;

	if (row->len != sizeof seq) {
		row_problem(c, row, "the row does not read");
		return 0;
	}
	memcpy(&seq, row->val, sizeof seq);
	r = get(c, T_QUEUE, key, key_u64_u64(key, key_part(row, 0), seq), &val, &len);
	if (r < 0)
		return error_trace(r);
	if (r || !row_item_read(val, len, &item, &value) || item.kind != ITEM_NOTIFY || item.target != key_part(row, 1))
		row_problem(c, row, "queue item %llu is not that notify", (unsigned long long)seq);
	return 0;
}

/* --- promises' other tables, holds ----------------------------------------------------------------------------- */

static int promise_get(struct check *c, uint64_t kref, struct row_promise *out, bool *hasp)
{
	const void *val;
	uint8_t key[8];
	size_t len;
	int r = get(c, T_PROMISE, key, key_u64(key, kref), &val, &len);

	*hasp = !r && row_promise_read(val, len, out);
	return r < 0 ? error_trace(r) : 0;
}

static bool is_settled(const struct row_promise *p)
{
	return p->state == PROMISE_FULFILLED || p->state == PROMISE_REJECTED;
}

static int see_value(struct check *c, const struct row *row)
{
	struct row_promise promise;
	struct capdata value;
	struct tally *t;
	bool has;
	int r;

	if (!capdata_read(row->val, row->len, &value)) {
		row_problem(c, row, "the value does not read");
		return 0;
	}
	r = promise_get(c, key_part(row, 0), &promise, &has);
	if (r < 0)
		return error_trace(r);
	if (!has || !is_settled(&promise))
		row_problem(c, row, "a value of a promise that is not settled");
	else if ((promise.flags & PROMISE_F_REF) && (promise.state != PROMISE_FULFILLED || value.n_slots != 1))
		row_problem(c, row, "flagged REF with %zu slots", value.n_slots);
	r = tally_take(c, key_part(row, 0), &t);
	if (r < 0)
		return error_trace(r);
	t->has_value = true;
	r = count_slots(c, row, &value);
	return r < 0 ? error_trace(r) : 0;
}

static int see_forward(struct check *c, const struct row *row)
{
	struct row_promise source;
	bool has;
	int r;

	r = promise_get(c, key_part(row, 1), &source, &has);
	if (r < 0)
		return error_trace(r);
	if (!has || source.state != PROMISE_FORWARDED || source.link != key_part(row, 0))
		row_problem(c, row, "the source is not forwarded there");
	return count(c, row, key_part(row, 0), 1);
}

static int see_decided(struct check *c, const struct row *row)
{
	struct row_promise promise;
	struct vat_tally *v;
	bool has;
	int r;

	r = promise_get(c, key_part(row, 1), &promise, &has);
	if (r < 0)
		return error_trace(r);
	if (!has || promise.state != PROMISE_UNRESOLVED || promise.decider != key_part(row, 0)) {
		row_problem(c, row, "does not decide it");
		return 0;
	}
	if (!endpoint_known(c, row, key_part(row, 0)))
		return 0;
	v = endpoint_vat_tally(c, key_part(row, 0));
	if (!v || v->sweep)
		return 0;
	/* P8: rejected by the sweep at the latest. */
	if (v->row.status == VAT_TERMINATED)
		row_problem(c, row, "decided by a vat that is gone");
	else if (promise.decider_incarnation != v->row.incarnation)
		row_problem(c, row, "decided by incarnation %u, which is gone; the vat is in %u", promise.decider_incarnation,
			    v->row.incarnation);
	return 0;
}

static int see_subscriber(struct check *c, const struct row *row)
{
	struct row_promise promise;
	bool has;
	int r;

	endpoint_known(c, row, key_part(row, 1));
	r = promise_get(c, key_part(row, 0), &promise, &has);
	if (r < 0)
		return error_trace(r);
	if (!has || is_settled(&promise))
		row_problem(c, row, "waits for a promise that is settled or gone");
	return 0;
}

static int see_hold(struct check *c, const struct row *row)
{
	uint8_t kind = row->key[8];
	uint64_t owner = get_be64(row->key + 9);
	struct row_hold hold;
	bool sub;
	int r;

	if (!row_hold_read(row->val, row->len, &hold) || !hold.count || kind < HOLD_ROOT || kind > HOLD_HOST) {
		row_problem(c, row, "the row does not read");
		return 0;
	}
	if (kind == HOLD_ROOT || kind == HOLD_RESULT) {
		r = has1(c, T_SUBCLUSTER, owner, &sub);
		if (r < 0)
			return error_trace(r);
		if (!sub)
			row_problem(c, row, "held for a subcluster that is gone");
	} else if (kind != HOLD_HOST && owner) {
		row_problem(c, row, "has an owner, which this kind has not");
	}
	return count(c, row, key_part(row, 0), hold.count);
}

/* --- objects and promises compared ----------------------------------------------------------------------------- */

static void check_owner(struct check *c, const struct row_object *o, const struct tally *t)
{
	struct vat_tally *v = endpoint_vat_tally(c, o->owner);

	if (t->owner && t->owner != o->owner) {
		same_ref(c, T_OBJECT, t->kref, "owner", o->owner, t->owner);
		return;
	}
	if (!o->owner || o->owner == ENDPOINT_K.bits)
		return;
	if (!endpoint_is_vat((endpoint_t){ o->owner }) ||
	    endpoint_number((endpoint_t){ o->owner }) >= c->counters[NEXT_VAT]) {
		problem(c, T_OBJECT, t->kref, "owned by an endpoint that never was");
		return;
	}
	if (t->owner && !!(o->flags & OBJECT_F_SURVIVES) != t->owner_survives)
		problem(c, T_OBJECT, t->kref, "flagged to %s its incarnation, but its vref does%s",
			o->flags & OBJECT_F_SURVIVES ? "survive" : "end with", t->owner_survives ? "" : " not");
	/* A vat that is terminated stays the owner for as long as the row lives; what a restart left, the sweep takes. */
	if (!v || v->row.status == VAT_TERMINATED || v->sweep)
		return;
	if (!t->owner)
		problem(c, T_OBJECT, t->kref, "owned by v%llu, which has no entry for it", (unsigned long long)v->number);
	else if (!t->owner_survives && o->owner_incarnation != v->row.incarnation)
		problem(c, T_OBJECT, t->kref, "owned by incarnation %u of v%llu, which is in %u", o->owner_incarnation,
			(unsigned long long)v->number, v->row.incarnation);
}

static int see_object(struct check *c, const struct row *row)
{
	struct row_object o;
	struct tally *t;
	int r;

	r = tally_take(c, key_part(row, 0), &t);
	if (r < 0)
		return error_trace(r);
	t->row = true;
	if (!row_object_read(row->val, row->len, &o)) {
		row_problem(c, row, "the row does not read");
		return 0;
	}
	if ((t->kref & REF_NUMBER_MASK) >= c->counters[NEXT_OBJECT])
		row_problem(c, row, "%s is %llu", META_NEXT_OBJECT, (unsigned long long)c->counters[NEXT_OBJECT]);
	same_number(c, T_OBJECT, t->kref, "n_reachable", o.n_reachable, t->reachable);
	same_number(c, T_OBJECT, t->kref, "n_recognizable", o.n_recognizable, t->recognizable);
	check_owner(c, &o, t);
	if (t->in_service && o.owner != ENDPOINT_K.bits)
		row_problem(c, row, "a service that is not the kernel's");
	/* G3: the row goes with its last entry and its last count. */
	if (!t->owner && !t->recognizable && !t->in_service)
		row_problem(c, row, "kept, though nobody has or owns it");
	return 0;
}

static int check_decider(struct check *c, const struct row_promise *p, const struct tally *t)
{
	bool decided;
	int r;

	if (p->decider) {
		r = has2(c, T_DECIDED, p->decider, t->kref, &decided);
		if (r < 0)
			return error_trace(r);
		if (!decided)
			problem(c, T_PROMISE, t->kref, "not listed among what its decider decides");
	}
	if (p->state != PROMISE_UNRESOLVED) {
		same_ref(c, T_PROMISE, t->kref, "decider", p->decider, 0);
		if (t->behind)
			problem(c, T_PROMISE, t->kref, "settled or forwarded, but the result of a queued message");
		return 0;
	}
	/* A call that the kernel is working on stays in its queue; the kernel decides it, or nobody yet. */
	if (p->decider == ENDPOINT_K.bits && t->behind == ENDPOINT_K.bits)
		return 0;
	if (p->decider && t->behind)
		problem(c, T_PROMISE, t->kref, "decided, but the result of a message that is still queued");
	else if (!p->decider && !t->behind)
		problem(c, T_PROMISE, t->kref, "nobody decides it, and no queued message will");
	if (!p->decider)
		same_ref(c, T_PROMISE, t->kref, "link", p->link, t->behind);
	else
		same_ref(c, T_PROMISE, t->kref, "link", p->link, 0);
	return 0;
}

static int check_link(struct check *c, const struct row_promise *p, const struct tally *t)
{
	struct row_promise target;
	bool listed, has;
	int r;

	if (is_settled(p)) {
		same_ref(c, T_PROMISE, t->kref, "link", p->link, 0);
		return 0;
	}
	if (p->state != PROMISE_FORWARDED)
		return 0;
	r = has2(c, T_FORWARD, p->link, t->kref, &listed);
	if (!r)
		r = promise_get(c, p->link, &target, &has);
	if (r < 0)
		return error_trace(r);
	if (!listed)
		problem(c, T_PROMISE, t->kref, "forwarded, but not listed at its target");
	if (!has || is_settled(&target))
		problem(c, T_PROMISE, t->kref, "forwarded to a promise that is settled or gone");
	return 0;
}

static int see_promise(struct check *c, const struct row *row)
{
	struct row_promise p;
	struct tally *t;
	int r;

	r = tally_take(c, key_part(row, 0), &t);
	if (r < 0)
		return error_trace(r);
	t->row = true;
	if (!row_promise_read(row->val, row->len, &p)) {
		row_problem(c, row, "the row does not read");
		return 0;
	}
	if ((t->kref & REF_NUMBER_MASK) >= c->counters[NEXT_PROMISE])
		row_problem(c, row, "%s is %llu", META_NEXT_PROMISE, (unsigned long long)c->counters[NEXT_PROMISE]);
	same_number(c, T_PROMISE, t->kref, "n_refs", p.n_refs, t->refs);
	same_number(c, T_PROMISE, t->kref, "n_waiting", p.n_waiting, t->n_waiting);
	if (!t->refs)
		row_problem(c, row, "kept, though nobody has it");
	if (is_settled(&p) != t->has_value)
		row_problem(c, row, "%s", t->has_value ? "not settled, but has a value" : "settled, but has no value");
	if (p.state != PROMISE_UNRESOLVED && t->n_waiting)
		row_problem(c, row, "messages wait, though it is settled or forwarded");
	if (p.state == PROMISE_FORWARDED)
		t->link = p.link;
	r = check_decider(c, &p, t);
	if (!r)
		r = check_link(c, &p, t);
	return r < 0 ? error_trace(r) : 0;
}

/* Forwarding ends somewhere (P6). Each promise is walked over once: an older stamp is known to end. */
static void check_cycles(struct check *c)
{
	uint32_t stamp = 0;

	for (size_t i = 0; i < c->n_slots; i++) {
		struct tally *t = c->slots[i];

		if (!t || !t->link || t->stamp)
			continue;
		stamp++;
		for (; t && t->link && !t->stamp; t = tally_find(c, t->link))
			t->stamp = stamp;
		if (t && t->link && t->stamp == stamp)
			problem(c, T_PROMISE, t->kref, "forwarded to itself through a cycle");
	}
}

/* Whatever is named anywhere has a row. */
static void check_rows(struct check *c)
{
	for (size_t i = 0; i < c->n_slots; i++) {
		struct tally *t = c->slots[i];

		if (!t || t->row)
			continue;
		if (t->kref & REF_PROMISE)
			problem(c, T_PROMISE, t->kref, "has no row, counted %llu", (unsigned long long)t->refs);
		else
			problem(c, T_OBJECT, t->kref, "has no row, counted %llu", (unsigned long long)t->recognizable);
	}
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
		problem(c, T_VAT, v->number, "its vatstore is damaged");
	c->n_walked_rows += walk.n_rows;
	/* While it is being deleted, the total waits for the end. */
	if (!v->sweep_all)
		same_number(c, T_VAT, v->number, "vatstore_bytes", v->row.vatstore_bytes, bytes);
	return 0;
}

static void check_next(struct check *c, const struct vat_tally *v, const char *what, uint64_t next, uint64_t max)
{
	if (next <= max)
		problem(c, T_VAT, v->number, "%s is %llu, in use %llu", what, (unsigned long long)next,
			(unsigned long long)max);
}

static void check_uid(struct check *c, const struct vat_tally *v)
{
	uint64_t block = c->counters[UID_BLOCK];

	if (v->row.uid && (v->row.uid < block || v->row.uid - block >= c->counters[NEXT_UID]))
		problem(c, T_VAT, v->number, "uid %u is not one given out (from %llu, next offset %llu)", v->row.uid,
			(unsigned long long)block, (unsigned long long)c->counters[NEXT_UID]);
}

static int check_vat(struct check *c, const struct vat_tally *v)
{
	const struct row_vat *row = &v->row;
	int r;

	if (v->number >= c->counters[NEXT_VAT])
		problem(c, T_VAT, v->number, "%s is %llu", META_NEXT_VAT, (unsigned long long)c->counters[NEXT_VAT]);
	if (!v->config)
		problem(c, T_VAT, v->number, "there is no configuration");
	if (!v->member)
		problem(c, T_VAT, v->number, "not a member of s%llu", (unsigned long long)row->subcluster);
	same_number(c, T_VAT, v->number, "n_queued", row->n_queued, v->n_queued);
	same_number(c, T_VAT, v->number, "queued_bytes", row->queued_bytes, v->queued_bytes);
	same_number(c, T_VAT, v->number, "n_exports", row->n_exports, v->n_exports);
	same_number(c, T_VAT, v->number, "n_imports", row->n_imports, v->n_imports);
	check_next(c, v, "next_import", row->next_import, v->max_import);
	check_next(c, v, "next_import_promise", row->next_import_promise, v->max_import_promise);
	if (v->max_export)
		check_next(c, v, "next_export", row->next_export, v->max_export);
	if (v->max_export_promise)
		check_next(c, v, "next_export_promise", row->next_export_promise, v->max_export_promise);
	check_uid(c, v);
	if (row->status == VAT_TERMINATED && !v->sweep && (v->n_queued || v->n_exports || v->n_imports))
		problem(c, T_VAT, v->number, "terminated, and still has entries or queued items that no sweep will take");
	r = check_vatstore(c, v);
	return r < 0 ? error_trace(r) : 0;
}

/* Links are kept among the tallies, under numbers that no kref has. */
static int see_link(struct check *c, const struct row *row, uint64_t link)
{
	struct tally *t;
	int r;

	r = tally_take(c, link | REF_MINUS, &t);
	if (r < 0)
		return error_trace(r);
	if (t->row) {
		row_problem(c, row, "links to the space of another row");
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
			row_problem(c, row, "%s is %llu", META_NEXT_SPACE, (unsigned long long)c->counters[NEXT_SPACE]);
	} else if (!vat_known(c, row, space)) {
		return 0;
	}
	c->n_space_rows++;
	if (!vatstore_row_read(row->val, row->len, row->key_len - 8, &v)) {
		row_problem(c, row, "the row does not read");
		return 0;
	}
	r = v.link ? see_link(c, row, v.link) : 0;
	return r < 0 ? error_trace(r) : 0;
}

/* --- the rest -------------------------------------------------------------------------------------------------- */

static int see_gc(struct check *c, const struct row *row)
{
	endpoint_known(c, row, key_part(row, 0));
	if (row->key[8] < GC_DROP_EXPORT || row->key[8] > GC_RETIRE_IMPORT)
		row_problem(c, row, "no such action");
	return 0;
}

static int see_service(struct check *c, const struct row *row)
{
	struct row_service service;
	const void *val;
	uint8_t key[8];
	size_t len;
	int r;

	if (row->len != sizeof service) {
		row_problem(c, row, "the row does not read");
		return 0;
	}
	memcpy(&service, row->val, sizeof service);
	r = get(c, T_SERVICE_OF, key, key_u64(key, service.kref), &val, &len);
	if (r < 0)
		return error_trace(r);
	if (r || len != row->key_len || memcmp(val, row->key, len))
		row_problem(c, row, "its object does not lead back");
	return 0;
}

static int see_service_of(struct check *c, const struct row *row)
{
	struct row_service service;
	struct tally *t;
	const void *val;
	size_t len;
	int r;

	r = tally_take(c, key_part(row, 0), &t);
	if (r < 0)
		return error_trace(r);
	t->in_service = true;
	if (!row->len || row->len > KEY_MAX) {
		row_problem(c, row, "the row does not read");
		return 0;
	}
	r = get(c, T_SERVICE, row->val, row->len, &val, &len);
	if (r < 0)
		return error_trace(r);
	if (!r && len == sizeof service)
		memcpy(&service, val, sizeof service);
	if (r || len != sizeof service || service.kref != key_part(row, 0))
		row_problem(c, row, "the service of that name is another");
	return 0;
}

static int see_log(struct check *c, const struct row *row)
{
	struct vat_tally *v = vat_find(c, key_part(row, 0));
	struct row_log log;
	const char *text;
	size_t len;

	if (!row_log_read(row->val, row->len, &log, &text, &len))
		row_problem(c, row, "the row does not read");
	if (vat_known(c, row, key_part(row, 0)) && key_part(row, 1) >= v->row.next_log)
		row_problem(c, row, "next_log is %llu", (unsigned long long)v->row.next_log);
	return 0;
}

static int see_code(struct check *c, const struct row *row)
{
	if (row->key_len != 32 || row->len != sizeof(struct row_code))
		row_problem(c, row, "the row does not read");
	return 0;
}

static int see_aside(struct check *c, const struct row *row)
{
	if (row->len < sizeof(struct row_aside))
		row_problem(c, row, "the row does not read");
	return 0;
}

/* A counter that was never written starts at 1, uids at 0. */
static int read_counters(struct check *c)
{
	const void *val;
	size_t len;
	int r;

	for (int i = 0; i < N_COUNTERS; i++) {
		c->counters[i] = i == NEXT_UID || i == UID_BLOCK ? 0 : 1;
		r = get(c, T_META, (const uint8_t *)counter_names[i], strlen(counter_names[i]), &val, &len);
		if (r < 0)
			return error_trace(r);
		if (r)
			continue;
		if (len == sizeof c->counters[i])
			memcpy(&c->counters[i], val, sizeof c->counters[i]);
		else
			row_problem(c, &(struct row){ T_META, (const uint8_t *)counter_names[i], strlen(counter_names[i]), 0, 0 },
				    "the row does not read");
	}
	return 0;
}

/* Tables first that others are counted by; OBJECT and PROMISE when all has been counted. */
static const struct { enum table t; row_fn fn; } passes[] = {
	{ T_VAT, see_vat }, { T_SWEEP, see_sweep }, { T_VAT_CONFIG, see_vat_config }, { T_MEMBER, see_member },
	{ T_SUBCLUSTER, see_subcluster }, { T_SUB_CONFIG, see_sub_config }, { T_VAT_PARAM, see_vat_param },
	{ T_CLIST, see_clist }, { T_EREF, see_eref }, { T_IMPORTER, see_importer }, { T_QUEUE, see_item },
	{ T_NOTIFYING, see_notifying }, { T_VALUE, see_value }, { T_FORWARD, see_forward }, { T_DECIDED, see_decided },
	{ T_SUBSCRIBER, see_subscriber }, { T_HOLD, see_hold }, { T_SERVICE, see_service },
	{ T_SERVICE_OF, see_service_of }, { T_OBJECT, see_object }, { T_PROMISE, see_promise }, { T_GC, see_gc },
	{ T_LOG, see_log }, { T_CODE, see_code }, { T_ASIDE, see_aside }, { T_VATSTORE, see_vatstore },
};

static int run(struct check *c)
{
	int r;

	r = read_counters(c);
	for (size_t i = 0; !r && i < ARRAY_LEN(passes); i++)
		r = each(c, passes[i].t, passes[i].fn);
	for (size_t i = 0; !r && i < c->n_vats; i++)
		r = check_vat(c, &c->vats[i]);
	if (r < 0)
		return error_trace(r);
	if (!c->tangled && c->n_space_rows > c->n_walked_rows)
		problem(c, T_VATSTORE, 0, "%llu rows are not reached from any vat",
			(unsigned long long)(c->n_space_rows - c->n_walked_rows));
	check_cycles(c);
	check_rows(c);
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
	if (r < 0)
		return error_trace(r);
	*n_problemsp = c.n_problems;
	return 0;
}
