/* SPDX-License-Identifier: Apache-2.0 */
#include "charge.h"

#include "vat.h"

#define CHARGES_KEPT	4096u	/* over a commit; the rest is read again when it is needed */

struct charge {
	UT_hash_handle hh;
	uint64_t key[2];		/* holder, who */
	struct row_charge row, undo;	/* undo: as at the savepoint, while `edited` */
	bool edited, dirty;
	bool stored;			/* the table has a row */
	struct charge *next_edited, *next_dirty;
};

static bool is_nothing(const struct row_charge *row)
{
	return !row->n_messages && !row->bytes && !row->n_imports;
}

static int load(struct kernel *k, struct charge *c)
{
	const void *val;
	uint8_t key[16];
	size_t len;
	int r;

	r = store_get(k->store, T_CHARGE, key, key_u64_u64(key, c->key[0], c->key[1]), &val, &len);
	if (r)
		return r < 0 ? error_trace(r) : 0;
	c->stored = true;
	return row_charge_read(val, len, &c->row) ? 0 : kernel_corrupt("store: a charge row is damaged");
}

static int find(struct kernel *k, uint64_t holder, uint64_t who, struct charge **cp)
{
	const uint64_t key[2] = { holder, who };
	struct charge *c;
	int r;

	HASH_FIND(hh, k->charges, key, sizeof(key), *cp);
	if (*cp)
		return 0;
	c = calloc(1, sizeof(*c));
	if (!c)
		return error_origin(ENOMEM);
	memcpy(c->key, key, sizeof(key));
	r = load(k, c);
	if (r < 0) {
		free(c);
		return r;
	}
	HASH_ADD(hh, k->charges, key, sizeof(c->key), c);
	*cp = c;
	return 0;
}

static struct row_charge *edit(struct kernel *k, struct charge *c)
{
	assert(k->in_savepoint);
	if (!c->edited) {
		c->undo = c->row;
		c->edited = true;
		c->next_edited = k->charges_edited;
		k->charges_edited = c;
	}
	if (!c->dirty) {
		c->dirty = true;
		c->next_dirty = k->charges_dirty;
		k->charges_dirty = c;
	}
	return &c->row;
}

static struct vat *vat_of(struct kernel *k, uint64_t holder)
{
	endpoint_t e = { holder };

	return !(holder & REF_PROMISE) && endpoint_is_vat(e) ? vat_find(k, endpoint_number(e)) : NULL;
}

int charge_get(struct kernel *k, uint64_t holder, uint64_t who, struct row_charge *rowp)
{
	struct charge *c;
	int r = find(k, holder, who, &c);

	if (r == 0)
		*rowp = c->row;
	return r;
}

int charge_message(struct kernel *k, uint64_t holder, uint64_t who, size_t size, int delta)
{
	struct vat *v = vat_of(k, holder);
	struct row_charge *row;
	struct charge *c;
	bool had;
	int r;

	r = find(k, holder, who, &c);
	if (r < 0)
		return r;
	row = edit(k, c);
	had = row->n_messages;
	assert(delta > 0 || (had && row->bytes >= size));
	row->n_messages += delta;
	row->bytes += (int64_t)size * delta;
	if (v && had != (row->n_messages > 0))
		vat_edit(k, v)->n_senders += delta;
	return 0;
}

int charge_import(struct kernel *k, uint64_t holder, uint64_t who, int delta)
{
	struct vat *v = vat_of(k, holder);
	struct row_charge *row;
	struct charge *c;
	bool had;
	int r;

	r = find(k, holder, who, &c);
	if (r < 0)
		return r;
	row = edit(k, c);
	had = row->n_imports;
	assert(delta > 0 || had);
	row->n_imports += delta;
	/* What it brought upon itself is nobody's share. */
	if (v && who != holder && had != (row->n_imports > 0))
		vat_edit(k, v)->n_introducers += delta;
	return 0;
}

uint64_t charge_share(uint64_t limit, uint64_t n, bool mine)
{
	uint64_t share;

	assert(n || !mine);
	share = limit / (n + !mine);
	return share ? share : 1;
}

void charges_keep(struct kernel *k)
{
	struct charge *c;

	for (c = k->charges_edited; c; c = c->next_edited)
		c->edited = false;
	k->charges_edited = NULL;
}

void charges_undo(struct kernel *k)
{
	struct charge *c;

	for (c = k->charges_edited; c; c = c->next_edited) {
		c->row = c->undo;
		c->edited = false;
	}
	k->charges_edited = NULL;
}

static void forget(struct kernel *k, struct charge *c)
{
	HASH_DEL(k->charges, c);
	free(c);
}

static int write_back(struct kernel *k, struct charge *c)
{
	uint8_t key[16];
	size_t len = key_u64_u64(key, c->key[0], c->key[1]);
	int r = 0;

	if (!is_nothing(&c->row))
		r = store_put(k->store, T_CHARGE, key, len, &c->row, sizeof(c->row));
	else if (c->stored)
		r = store_del(k->store, T_CHARGE, key, len);
	c->stored = !is_nothing(&c->row);
	c->dirty = false;
	return r < 0 ? error_trace(r) : 0;
}

int charges_write_back(struct kernel *k)
{
	struct charge *c, *next;
	int r;

	assert(!k->charges_edited);
	for (c = k->charges_dirty; c; c = next) {
		next = c->next_dirty;
		r = write_back(k, c);
		if (r < 0)
			return r;
		/* Promises are as many as vats like to make. */
		if (!c->stored || (c->key[0] & REF_PROMISE))
			forget(k, c);
	}
	k->charges_dirty = NULL;
	if (HASH_COUNT(k->charges) > CHARGES_KEPT)
		charges_deinit(k);
	return 0;
}

void charges_deinit(struct kernel *k)
{
	struct charge *c, *tmp;

	HASH_ITER(hh, k->charges, c, tmp)
		forget(k, c);
	k->charges_edited = k->charges_dirty = NULL;
}
