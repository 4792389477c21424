/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows of the store, as the mount reads them: found by number or walked by prefix.
 */
#include "view.h"

#include "text.h"

void view_begin_text(struct view *v, struct text *t)
{
	v->text = t;
	v->n_rows = 0;
	v->until_ns = v->snapshot ? 0 : now_monotonic_ns() + VIEW_TEXT_MS * UINT64_C(1000000);
}

void view_end_text(struct view *v)
{
	v->text = NULL;
}

bool view_is_enough(struct view *v)
{
	struct text *t = v->text;

	if (!t)
		return false;
	/* One row can take as long as thousands of others. */
	if (v->until_ns ? now_monotonic_ns() > v->until_ns : ++v->n_rows > VIEW_FROZEN_ROWS)
		t->cut = t->late = true;
	return t->late;
}

int view_get(struct view *v, enum table t, const void *key, size_t key_len, const void **valp, size_t *lenp)
{
	int r = reader_get(v->reader, t, key, key_len, valp, lenp);

	return r == READER_NOT_FOUND ? VIEW_E_ABSENT : r;
}

int view_meta(struct view *v, const char *name, uint64_t *outp)
{
	const void *val;
	size_t len;
	int r = view_get(v, T_META, name, strlen(name), &val, &len);

	*outp = 0;
	if (r < 0)
		return r;
	if (!r && len == sizeof(*outp))
		memcpy(outp, val, sizeof(*outp));
	return 0;
}

static int get_u64(struct view *v, enum table t, uint64_t id, const void **valp, size_t *lenp)
{
	uint8_t key[8];

	return view_get(v, t, key, key_u64(key, id), valp, lenp);
}

int view_vat(struct view *v, uint64_t vat, struct row_vat *out)
{
	const void *val;
	size_t len;
	int r = get_u64(v, T_VAT, vat, &val, &len);

	if (r)
		return r;
	return row_vat_read(val, len, out) ? 0 : VIEW_E_DAMAGED;
}

int view_subcluster(struct view *v, uint64_t subcluster, struct row_subcluster *out)
{
	const void *val;
	size_t len;
	int r = get_u64(v, T_SUBCLUSTER, subcluster, &val, &len);

	if (r)
		return r;
	return row_subcluster_read(val, len, out) ? 0 : VIEW_E_DAMAGED;
}

int view_object(struct view *v, kref_t ref, struct row_object *out)
{
	const void *val;
	size_t len;
	int r = get_u64(v, T_OBJECT, ref.bits, &val, &len);

	if (r)
		return r;
	return row_object_read(val, len, out) ? 0 : VIEW_E_DAMAGED;
}

int view_promise(struct view *v, kref_t ref, struct row_promise *out)
{
	const void *val;
	size_t len;
	int r = get_u64(v, T_PROMISE, ref.bits, &val, &len);

	if (r)
		return r;
	return row_promise_read(val, len, out) ? 0 : VIEW_E_DAMAGED;
}

static int clist_get(struct view *v, enum table t, endpoint_t e, uint64_t ref, struct row_clist *out)
{
	uint8_t key[16];
	const void *val;
	size_t len;
	int r = view_get(v, t, key, key_u64_u64(key, e.bits, ref), &val, &len);

	if (r)
		return r;
	return row_clist_read(val, len, out) ? 0 : VIEW_E_DAMAGED;
}

int view_eref(struct view *v, endpoint_t e, kref_t ref, vref_t *outp, uint32_t *flagsp)
{
	struct row_clist row;
	int r = clist_get(v, T_CLIST, e, ref.bits, &row);

	if (r)
		return r;
	*outp = (vref_t){ row.ref };
	*flagsp = row.flags;
	return 0;
}

int view_kref(struct view *v, endpoint_t e, vref_t ref, kref_t *outp, uint32_t *flagsp)
{
	struct row_clist row;
	int r = clist_get(v, T_EREF, e, ref.bits, &row);

	if (r)
		return r;
	*outp = (kref_t){ row.ref };
	*flagsp = row.flags;
	return 0;
}

int view_standing(struct view *v, endpoint_t e, uint32_t incarnation, bool survives, enum standing *outp)
{
	struct row_vat row;
	int r;

	if (!endpoint_is_vat(e)) {
		*outp = endpoint_is_none(e) ? STANDING_NONE :
			endpoint_equal(e, ENDPOINT_K) ? STANDING_KERNEL : STANDING_REMOTE;
		return 0;
	}
	r = view_vat(v, endpoint_number(e), &row);
	if (r < 0 || r == VIEW_E_DAMAGED)
		return r;
	if (r || row.status == VAT_TERMINATED)
		*outp = STANDING_TERMINATED;
	else if (!survives && row.incarnation != incarnation)
		*outp = STANDING_GONE;
	else
		*outp = row.status == VAT_SUSPENDED ? STANDING_SUSPENDED : STANDING_ALIVE;
	return 0;
}

void scan_begin(struct scan *s, struct view *v, enum table t, const void *prefix, size_t prefix_len)
{
	assert(prefix_len <= sizeof(s->last));
	*s = (struct scan){ .view = v, .table = t, .last_len = prefix_len, .prefix_len = prefix_len };
	if (prefix_len)
		memcpy(s->last, prefix, prefix_len);
}

void scan_begin_u64(struct scan *s, struct view *v, enum table t, uint64_t prefix)
{
	uint8_t key[8];

	scan_begin(s, v, t, key, key_u64(key, prefix));
}

int scan_next(struct scan *s)
{
	const void *key;
	int r = view_is_enough(s->view) ? READER_NOT_FOUND : reader_next(s->view->reader, s->table, s->last_len ? s->last : NULL, s->last_len, !s->started, &key,
			    &s->key_len, &s->val, &s->len);

	if (r == READER_NOT_FOUND)
		return SCAN_END;
	if (r)
		return r;
	if (s->key_len < s->prefix_len || memcmp(key, s->last, s->prefix_len))
		return SCAN_END;
	assert(s->key_len <= sizeof(s->last));
	memcpy(s->last, key, s->key_len);
	s->last_len = s->key_len;
	s->key = s->last;
	s->started = true;
	return 0;
}

bool scan_id(const struct scan *s, unsigned int n, uint64_t *outp)
{
	if (s->key_len != (size_t)n * 8)
		return false;
	*outp = get_be64(s->key + (size_t)(n - 1) * 8);
	return true;
}
