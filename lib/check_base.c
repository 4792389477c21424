/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The checker's tools: what a key looks like as text, one line per problem, rows one by one, a hash table of
 * tallies.
 */
#include "check_impl.h"

#include <stdarg.h>

/* --- saying it ------------------------------------------------------------------------------------------------- */

/*
 * The key of each table, part by part: V vat, S subcluster, K kref, O object, P promise, E endpoint, X endpoint or
 * promise, W endpoint or 0 for the
 * outside, R eref, N number (8 bytes each), B a byte, T text or bytes to the end.
 */
static const char *const key_shapes[T_N] = {
	[T_META] = "T", [T_VAT] = "V", [T_VAT_CONFIG] = "V", [T_VAT_PARAM] = "V", [T_SUBCLUSTER] = "S",
	[T_SUB_CONFIG] = "S", [T_MEMBER] = "SV", [T_OBJECT] = "O", [T_PROMISE] = "P", [T_VALUE] = "P", [T_CLIST] = "EK",
	[T_EREF] = "ER", [T_IMPORTER] = "OE", [T_DECIDED] = "EP", [T_SUBSCRIBER] = "PE", [T_FORWARD] = "PP",
	[T_QUEUE] = "XN", [T_NOTIFYING] = "EP", [T_GC] = "EBO", [T_SWEEP] = "E", [T_VATSTORE] = "NT", [T_HOLD] = "KBN",
	[T_SERVICE] = "T", [T_SERVICE_OF] = "O", [T_LOG] = "VN", [T_CODE] = "T", [T_ASIDE] = "VN",
	[T_SUSPECT] = "NP",
	[T_CHARGE] = "XW", [T_DEATH] = "VN",
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
	case 'W':
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

static void __attribute__((format(printf, 3, 0))) vreport(struct check *c, const char *subject, const char *fmt,
							  va_list ap)
{
	char line[512];
	int n = snprintf(line, sizeof line, "%s: ", subject);

	vsnprintf(line + n, sizeof line - (size_t)n, fmt, ap);
	c->n_problems++;
	c->report(c->report_ctx, line);
}

void check_row_problem(struct check *c, const struct row *row, const char *fmt, ...)
{
	char subject[256];
	va_list ap;

	row_format(row, subject, sizeof subject);
	va_start(ap, fmt);
	vreport(c, subject, fmt, ap);
	va_end(ap);
}

/* About something by its table and number alone: 'V' "vat v1", 'O' "object ko12". */
void check_problem(struct check *c, enum table t, uint64_t n, const char *fmt, ...)
{
	char subject[64 + REF_TEXT_MAX], part[REF_TEXT_MAX];
	va_list ap;

	part_format(key_shapes[t][0], n, part);
	snprintf(subject, sizeof subject, "%s %s", table_names[t], part);
	va_start(ap, fmt);
	vreport(c, subject, fmt, ap);
	va_end(ap);
}

void check_same_number(struct check *c, enum table t, uint64_t n, const char *what, uint64_t stored, uint64_t counted)
{
	if (stored != counted)
		check_problem(c, t, n, "%s is %llu, counted %llu", what, (unsigned long long)stored,
			      (unsigned long long)counted);
}

void check_same_ref(struct check *c, enum table t, uint64_t n, const char *what, uint64_t stored, uint64_t want)
{
	char a[REF_TEXT_MAX], b[REF_TEXT_MAX];

	if (stored == want)
		return;
	part_format('X', stored, a);
	part_format('X', want, b);
	check_problem(c, t, n, "%s is %s, should be %s", what, stored ? a : "none", want ? b : "none");
}

/* --- reading --------------------------------------------------------------------------------------------------- */

int check_get(struct check *c, enum table t, const uint8_t *key, size_t key_len, const void **valp, size_t *lenp)
{
	int r = c->src->get(c->src->ctx, t, key, key_len, valp, lenp);

	return r < 0 ? error_trace(r) : r;
}

int check_has2(struct check *c, enum table t, uint64_t a, uint64_t b, bool *hasp)
{
	uint8_t key[16];
	const void *val;
	size_t len;
	int r = check_get(c, t, key, key_u64_u64(key, a, b), &val, &len);

	*hasp = !r;
	return r < 0 ? r : 0;
}

int check_has1(struct check *c, enum table t, uint64_t a, bool *hasp)
{
	uint8_t key[8];
	const void *val;
	size_t len;
	int r = check_get(c, t, key, key_u64(key, a), &val, &len);

	*hasp = !r;
	return r < 0 ? r : 0;
}

bool check_kref_is_legal(uint64_t k)
{
	return !(k & ~(REF_PROMISE | REF_NUMBER_MASK)) && (k & REF_NUMBER_MASK);
}

static bool part_is_legal(char shape, uint64_t n)
{
	switch (shape) {
	case 'K':
		return check_kref_is_legal(n);
	case 'O':
		return check_kref_is_legal(n) && !(n & REF_PROMISE);
	case 'P':
		return check_kref_is_legal(n) && (n & REF_PROMISE);
	case 'R':
		return vref_is_legal((vref_t){ n });
	case 'V':
	case 'S':
		return n && n <= REF_NUMBER_MASK;
	case 'X':
		return (n & REF_PROMISE) ? check_kref_is_legal(n) : n != 0;
	case 'E':
		return !(n & REF_PROMISE) && n;
	case 'W':
		return !(n & REF_PROMISE);
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

/* Every row of the table whose key has the right form; the others are problems. */
int check_each(struct check *c, enum table t, row_fn fn)
{
	uint8_t at[KEY_MAX];
	struct row row = { .t = t, .key = at };
	const void *key;
	bool started = false;
	int r;

	for (;;) {
		r = c->src->next(c->src->ctx, t, at, started ? row.key_len : 0, !started, &key, &row.key_len,
				 &row.val,
				 &row.len);
		if (r)
			return r < 0 ? error_trace(r) : 0;
		if (row.key_len > sizeof at)
			return error_origin(EIO);
		memcpy(at, key, row.key_len);
		started = true;
		if (!key_is_legal(&row))
			check_row_problem(c, &row, "the key is malformed");
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

struct tally *check_tally_find(struct check *c, uint64_t kref)
{
	return c->n_slots ? *tally_slot(c, kref) : NULL;
}

int check_tally_take(struct check *c, uint64_t kref, struct tally **tp)
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
int check_count(struct check *c, const struct row *by, uint64_t kref, uint64_t n)
{
	struct tally *t;
	int r;

	if (!check_kref_is_legal(kref)) {
		check_row_problem(c, by, "names %016llx, which is no reference", (unsigned long long)kref);
		return 0;
	}
	r = check_tally_take(c, kref, &t);
	if (r < 0)
		return error_trace(r);
	t->refs += n;
	t->reachable += n;
	t->recognizable += n;
	return 0;
}

int check_count_slots(struct check *c, const struct row *by, const struct capdata *value)
{
	int r;

	for (size_t i = 0; i < value->n_slots; i++) {
		r = check_count(c, by, capdata_slot(value, i), 1);
		if (r < 0)
			return error_trace(r);
	}
	return 0;
}

/* --- vats and endpoints ---------------------------------------------------------------------------------------- */

struct vat_tally *check_vat_find(struct check *c, uint64_t number)
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

struct vat_tally *check_endpoint_vat(struct check *c, uint64_t endpoint)
{
	endpoint_t e = { endpoint };

	return endpoint_is_vat(e) ? check_vat_find(c, endpoint_number(e)) : NULL;
}

/* A vat with a row, or the kernel. */
bool check_endpoint_known(struct check *c, const struct row *by, uint64_t endpoint)
{
	char text[REF_TEXT_MAX];

	if (endpoint == ENDPOINT_K.bits || check_endpoint_vat(c, endpoint))
		return true;
	check_row_problem(c, by, "endpoint %s is not known", endpoint_format((endpoint_t){ endpoint }, text));
	return false;
}

bool check_vat_known(struct check *c, const struct row *by, uint64_t number)
{
	if (check_vat_find(c, number))
		return true;
	check_row_problem(c, by, "v%llu is not known", (unsigned long long)number);
	return false;
}

/* --- charges --------------------------------------------------------------------------------------------------- */

static int compare(const struct charge_tally *t, uint64_t holder, uint64_t who)
{
	if (t->holder != holder)
		return t->holder < holder ? -1 : 1;
	return t->who < who ? -1 : t->who > who;
}

struct charge_tally *check_charge(struct check *c, const struct row *by, uint64_t holder, uint64_t who)
{
	size_t lo = 0, hi = c->n_charges;
	char text[REF_TEXT_MAX];

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (compare(&c->charges[mid], holder, who) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo < c->n_charges && !compare(&c->charges[lo], holder, who))
		return &c->charges[lo];
	check_row_problem(c, by, "%s is not charged for it", who ? endpoint_format((endpoint_t){ who }, text) : "the outside");
	return NULL;
}
