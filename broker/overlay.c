/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The overlay: what changed since the last commit, in ordered maps over the LMDB snapshot (the base).
 *
 * Most kernel state lives shortly: a queue item, a result promise, a clist entry come and go between two commits
 * and should never cost a page of the database. So:
 *
 *  - a changed key has a node in its table's map; its value begins with one byte (NODE_*) that says whether it is
 *    a deletion and what is known of the base: that it has the key, that it lacks it, or neither;
 *  - deleting a key that the base lacks leaves nothing behind, so scans of a busy queue do not walk over graves;
 *    a deletion in the map therefore always stands for a key that the base has;
 *  - a *gap* remembers two neighbouring keys of the base: whatever lies between them is known to be absent without
 *    asking LMDB. Kernel numbers only grow, so one gap per table and endpoint answers for nearly all new keys. Gaps
 *    live until the commit, as the base does;
 *  - a savepoint is the empty journal; each change records what was there before; a rollback undoes backwards.
 *
 * Invariants: without a savepoint the journal is empty; no node is both NODE_HAS and NODE_LACKS; NODE_DEAD implies
 * NODE_HAS.
 */
#include "../lib/omap.h"
#include "store_impl.h"

enum { NODE_DEAD = 1, NODE_HAS = 2, NODE_LACKS = 4 };

#define GAP_SLOTS	16u	/* per table; more endpoints than this at once share slots, which only costs time */
#define GAP_KEY		40u	/* longer keys (vatstore) are not remembered */
struct gap {
	uint64_t round;		/* overlay.round, else not valid */
	uint8_t lo_len, hi_len;	/* exclusive bounds; 0: none on that side */
	uint8_t lo[GAP_KEY], hi[GAP_KEY];
};

struct undo {
	enum table table;
	bool existed;		/* a node was there: its bytes follow the key in `bytes` */
	size_t at;		/* offset in `bytes` */
	size_t key_len, val_len;
};

struct overlay {
	struct base *base;
	struct omap *maps[T_N];
	uint64_t round;		/* of the base, from 1 */
	bool savepoint;
	struct undo *journal;
	size_t n_journal, journal_size;
	uint8_t *bytes;		/* the journal's keys and values */
	size_t n_bytes, bytes_size;
	uint8_t *scratch;	/* a value with its NODE_ byte before it goes into the map */
	size_t scratch_size;
	struct gap gaps[T_N][GAP_SLOTS];
};

int overlay_new(struct overlay **op, struct base *b)
{
	struct overlay *o = calloc(1, sizeof *o);

	if (!o)
		return error_origin(ENOMEM);
	o->base = b;
	o->round = 1;
	for (int t = 0; t < T_N; t++) {
		o->maps[t] = omap_new();
		if (!o->maps[t]) {
			overlay_free(o);
			return error_origin(ENOMEM);
		}
	}
	*op = o;
	return 0;
}

struct overlay *overlay_free(struct overlay *o)
{
	if (!o)
		return NULL;
	for (int t = 0; t < T_N; t++)
		if (o->maps[t])
			omap_free(o->maps[t]);
	free(o->journal);
	free(o->bytes);
	free(o->scratch);
	free(o);
	return NULL;
}

static int grow(void **p, size_t *sizep, size_t want, size_t unit)
{
	size_t size = *sizep ? *sizep : 64;
	void *q;

	if (want <= *sizep)
		return 0;
	while (size < want)
		size *= 2;
	q = realloc(*p, size * unit);
	if (!q)
		return error_origin(ENOMEM);
	*p = q;
	*sizep = size;
	return 0;
}

/* --- what is known of the base --------------------------------------------------------------------------------- */

static struct gap *gap_slot(struct overlay *o, enum table t, const void *key, size_t key_len)
{
	uint64_t prefix;

	if (key_len <= 8)
		return &o->gaps[t][0];
	memcpy(&prefix, key, 8);
	return &o->gaps[t][prefix * UINT64_C(0x9e3779b97f4a7c15) >> 60];
}

/* The base surely has no key at `key`; `hi` of the gap is the next it has. */
static bool gap_covers(const struct overlay *o, const struct gap *g, const void *key, size_t key_len)
{
	return g->round == o->round && (!g->lo_len || key_cmp(g->lo, g->lo_len, key, key_len) < 0) &&
	       (!g->hi_len || key_cmp(key, key_len, g->hi, g->hi_len) < 0);
}

/* base_seek() from `key`, which the base lacks, has just found `hi` (NULL: nothing). */
static int gap_learn(struct overlay *o, enum table t, struct gap *g, const struct base_hit *hi)
{
	struct base_hit lo = { 0 };
	int r;

	r = base_before(o->base, t, &lo);
	if (r < 0)
		return error_trace(r);
	if (lo.key_len > GAP_KEY || (hi && hi->key_len > GAP_KEY))
		return 0;
	g->round = o->round;
	g->lo_len = (uint8_t)lo.key_len;
	g->hi_len = hi ? (uint8_t)hi->key_len : 0;
	if (lo.key_len)
		memcpy(g->lo, lo.key, lo.key_len);
	if (hi)
		memcpy(g->hi, hi->key, hi->key_len);
	return 0;
}

static int lookup(struct overlay *o, enum table t, const void *key, size_t key_len, const void **valp, size_t *lenp)
{
	struct gap *g = gap_slot(o, t, key, key_len);
	struct base_hit hit;
	int r;

	if (gap_covers(o, g, key, key_len))
		return STORE_NOT_FOUND;
	r = base_seek(o->base, t, key, key_len, true, &hit);
	if (r < 0)
		return error_trace(r);
	if (!r && !key_cmp(hit.key, hit.key_len, key, key_len)) {
		*valp = hit.val;
		*lenp = hit.len;
		return 0;
	}
	r = gap_learn(o, t, g, r ? NULL : &hit);
	return r < 0 ? error_trace(r) : STORE_NOT_FOUND;
}

/* --- reading --------------------------------------------------------------------------------------------------- */

static inline uint8_t node_bits(const struct omap_node *n) { return n->val[0]; }
static inline bool node_dead(const struct omap_node *n) { return n->val[0] & NODE_DEAD; }

int overlay_get(struct overlay *o, enum table t, const void *key, size_t key_len, const void **valp, size_t *lenp)
{
	const struct omap_node *n = omap_find(o->maps[t], key, key_len);
	int r;

	if (!n) {
		r = lookup(o, t, key, key_len, valp, lenp);
		return r < 0 ? error_trace(r) : r;
	}
	if (node_dead(n))
		return STORE_NOT_FOUND;
	*valp = n->val + 1;
	*lenp = n->len - 1;
	return 0;
}

/*
 * The base's next key, for comparing with the overlay's. From a gap it is only a key (`known` false): most often
 * the overlay has a lesser one, and LMDB need not be asked at all.
 */
struct ahead {
	bool none;
	bool fetched;
	struct base_hit hit;
};

static int ahead_seek(struct overlay *o, enum table t, const void *key, size_t key_len, bool or_equal,
		      struct ahead *a)
{
	int r;

	r = base_seek(o->base, t, key, key_len, or_equal, &a->hit);
	a->none = r == STORE_NOT_FOUND;
	a->fetched = true;
	return r < 0 ? error_trace(r) : 0;
}

static int ahead_begin(struct overlay *o, enum table t, const void *key, size_t key_len, bool or_equal,
		       struct ahead *a)
{
	struct gap *g = gap_slot(o, t, key, key_len);
	int r;

	if (!key_len || !gap_covers(o, g, key, key_len)) {
		r = ahead_seek(o, t, key, key_len, or_equal, a);
		if (r < 0 || !key_len || (!a->none && !key_cmp(a->hit.key, a->hit.key_len, key, key_len)))
			return r < 0 ? error_trace(r) : 0;
		/* After `key` itself the gap does not hold `key`: only learn where it was not there. */
		if (or_equal) {
			r = gap_learn(o, t, g, a->none ? NULL : &a->hit);
			return r < 0 ? error_trace(r) : 0;
		}
		return 0;
	}
	a->none = !g->hi_len;
	a->fetched = false;
	a->hit = (struct base_hit){ .key = g->hi, .key_len = g->hi_len };
	return 0;
}

/* The base's key is the answer: its bytes must be LMDB's, which last, not the gap's. */
static int ahead_take(struct overlay *o, enum table t, struct ahead *a)
{
	int r;

	if (a->fetched)
		return 0;
	r = ahead_seek(o, t, a->hit.key, a->hit.key_len, true, a);
	if (r < 0)
		return error_trace(r);
	assert(!a->none);
	return 0;
}

/* May end at the first deletion beyond the prefix. */
int overlay_next(struct overlay *o, enum table t, const void *key, size_t key_len, size_t prefix, bool or_equal,
		 const void **keyp, size_t *key_lenp, const void **valp, size_t *lenp)
{
	const struct omap_node *n = omap_next(o->maps[t], key_len ? key : "", key_len, or_equal);
	struct ahead a;
	int r, c;

	r = ahead_begin(o, t, key, key_len, or_equal, &a);
	if (r < 0)
		return error_trace(r);
	for (;;) {
		c = !n ? 1 : a.none ? -1 : key_cmp(n->key, n->key_len, a.hit.key, a.hit.key_len);
		if (!n && a.none)
			return STORE_NOT_FOUND;
		if (c > 0)
			break;
		if (!node_dead(n)) {
			*keyp = n->key;
			*key_lenp = n->key_len;
			*valp = n->val + 1;
			*lenp = n->len - 1;
			return 0;
		}
		/* A deletion hides exactly one key of the base, and that is this one. */
		assert(c == 0);
		if (prefix && (n->key_len < prefix || memcmp(n->key, key, prefix)))
			return STORE_NOT_FOUND;
		r = ahead_seek(o, t, n->key, n->key_len, false, &a);
		if (r < 0)
			return error_trace(r);
		n = omap_next(o->maps[t], n->key, n->key_len, false);
	}
	r = ahead_take(o, t, &a);
	if (r < 0)
		return error_trace(r);
	*keyp = a.hit.key;
	*key_lenp = a.hit.key_len;
	*valp = a.hit.val;
	*lenp = a.hit.len;
	return 0;
}

/* --- changing -------------------------------------------------------------------------------------------------- */

/* Note what stands at `key` before it changes. */
static int journal(struct overlay *o, enum table t, const void *key, size_t key_len, const struct omap_node *n)
{
	struct undo *u;
	int r;

	if (!o->savepoint)
		return 0;
	r = grow((void **)&o->journal, &o->journal_size, o->n_journal + 1, sizeof *o->journal);
	if (!r)
		r = grow((void **)&o->bytes, &o->bytes_size, o->n_bytes + key_len + (n ? n->len : 0), 1);
	if (r < 0)
		return error_trace(r);
	u = &o->journal[o->n_journal++];
	*u = (struct undo){
		.table = t, .existed = n, .at = o->n_bytes, .key_len = key_len, .val_len = n ? n->len : 0,
	};
	memcpy(o->bytes + o->n_bytes, key, key_len);
	if (n)
		memcpy(o->bytes + o->n_bytes + key_len, n->val, n->len);
	o->n_bytes += u->key_len + u->val_len;
	return 0;
}

/* `val` may be a borrowed value of this very store: it is copied before the map changes. */
static int node_set(struct overlay *o, enum table t, const void *key, size_t key_len, uint8_t bits,
		    const void *val, size_t len)
{
	int r;

	r = grow((void **)&o->scratch, &o->scratch_size, len + 1, 1);
	if (r < 0)
		return error_trace(r);
	o->scratch[0] = bits;
	if (len)
		memcpy(o->scratch + 1, val, len);
	r = omap_put(o->maps[t], key, key_len, o->scratch, len + 1, false);
	return r < 0 ? error_trace(r) : 0;
}

int overlay_put(struct overlay *o, enum table t, const void *key, size_t key_len, const void *val, size_t len)
{
	const struct omap_node *n = omap_find(o->maps[t], key, key_len);
	uint8_t bits = 0, own_key[KEY_MAX];
	int r;

	memcpy(own_key, key, key_len);	/* may be borrowed from this map */
	if (n)
		bits = node_bits(n) & (NODE_HAS | NODE_LACKS);
	else if (gap_covers(o, gap_slot(o, t, key, key_len), key, key_len))
		bits = NODE_LACKS;
	r = journal(o, t, own_key, key_len, n);
	if (!r)
		r = node_set(o, t, own_key, key_len, bits, val, len);
	return r < 0 ? error_trace(r) : 0;
}

int overlay_del(struct overlay *o, enum table t, const void *key, size_t key_len)
{
	const struct omap_node *n = omap_find(o->maps[t], key, key_len);
	uint8_t bits = n ? node_bits(n) : 0, own_key[KEY_MAX];
	const void *val;
	size_t len;
	int r;

	if (n && node_dead(n))
		return STORE_NOT_FOUND;
	memcpy(own_key, key, key_len);
	if (!(bits & (NODE_HAS | NODE_LACKS))) {
		r = lookup(o, t, own_key, key_len, &val, &len);
		if (r < 0)
			return error_trace(r);
		bits = r ? NODE_LACKS : NODE_HAS;
	}
	if (!n && (bits & NODE_LACKS))
		return STORE_NOT_FOUND;
	r = journal(o, t, own_key, key_len, n);
	if (r < 0)
		return error_trace(r);
	if (bits & NODE_LACKS) {
		omap_remove(o->maps[t], own_key, key_len);
		return 0;
	}
	r = node_set(o, t, own_key, key_len, NODE_DEAD | NODE_HAS, NULL, 0);
	return r < 0 ? error_trace(r) : 0;
}

/* --- savepoint and commit -------------------------------------------------------------------------------------- */

void overlay_savepoint(struct overlay *o)
{
	assert(!o->savepoint && !o->n_journal);
	o->savepoint = true;
}

void overlay_release(struct overlay *o)
{
	assert(o->savepoint);
	o->savepoint = false;
	o->n_journal = 0;
	o->n_bytes = 0;
}

int overlay_rollback(struct overlay *o)
{
	int r = 0;

	assert(o->savepoint);
	while (!r && o->n_journal) {
		const struct undo *u = &o->journal[--o->n_journal];
		const uint8_t *key = o->bytes + u->at;

		if (u->existed)
			r = omap_put(o->maps[u->table], key, u->key_len, key + u->key_len, u->val_len, false);
		else
			omap_remove(o->maps[u->table], key, u->key_len);
	}
	overlay_release(o);
	return r < 0 ? error_trace(r) : 0;
}

size_t overlay_n_changes(const struct overlay *o)
{
	size_t n = 0;

	for (int t = 0; t < T_N; t++)
		n += omap_count(o->maps[t]);
	return n;
}

static int write_node(struct overlay *o, enum table t, const struct omap_node *n, size_t *n_writtenp)
{
	struct base_hit hit;
	int r;

	if (node_dead(n)) {
		r = base_del(o->base, t, n->key, n->key_len);
		assert(r <= 0);
		*n_writtenp += 1;
		return r < 0 ? error_trace(r) : 0;
	}
	if (!(node_bits(n) & NODE_LACKS)) {
		/* A count that went up and down again dirties no page. */
		r = base_seek(o->base, t, n->key, n->key_len, true, &hit);
		if (r < 0)
			return error_trace(r);
		if (!r && !key_cmp(hit.key, hit.key_len, n->key, n->key_len) && hit.len == n->len - 1 &&
		    (!hit.len || !memcmp(hit.val, n->val + 1, hit.len)))
			return 0;
	}
	r = base_put(o->base, t, n->key, n->key_len, n->val + 1, n->len - 1);
	*n_writtenp += 1;
	return r < 0 ? error_trace(r) : 0;
}

int overlay_write(struct overlay *o, size_t *n_writtenp)
{
	const struct omap_node *n;
	int r;

	assert(!o->savepoint);
	*n_writtenp = 0;
	for (int t = 0; t < T_N; t++) {
		struct omap *m = o->maps[t];

		for (n = omap_next(m, "", 0, true); n; n = omap_next(m, n->key, n->key_len, false)) {
			r = write_node(o, t, n, n_writtenp);
			if (r < 0)
				return error_trace(r);
		}
	}
	return 0;
}

void overlay_reset(struct overlay *o)
{
	for (int t = 0; t < T_N; t++)
		omap_clear(o->maps[t]);
	o->round++;
}
