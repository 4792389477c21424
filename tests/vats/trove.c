/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vat with very many durable objects: leaves, a hundred to a twig, ten twigs to a branch, the branches in the root's
 * state. It makes them in many cranks, touches some at random, lends some, and lets go of all at once. A chain besides,
 * each link holding the next. tests/system/objects.sh looks at the memory of its process meanwhile.
 */
#include <capstan/vat.h>
#include <stdlib.h>

#define LEAVES	100
#define TWIGS	10

typedef struct { int64_t n, touches; } leaf;
VAT_METHOD(leaf, leaf_init) { return vat_read(v, "i", &self->n); }
VAT_METHOD(leaf, number) { return vat_return(v, "[ii]", self->n, self->touches); }
static const vat_kind Leaf = { "Leaf", sizeof(leaf), VAT_INIT(leaf_init), VAT_STATE(VAT_I64(leaf, n), VAT_I64(leaf, touches)),
	VAT_METHODS({ "number", "", "[ii]", number }) };

typedef struct { vat_value *parts; } branch;	/* a twig too */
VAT_METHOD(branch, branch_init) { return vat_read(v, "v", &self->parts); }
static const vat_kind Branch = { "Branch", sizeof(branch), VAT_INIT(branch_init), VAT_STATE(VAT_VALUE(branch, parts)) };

typedef struct { vat_ref *next; } link_;
VAT_METHOD(link_, link_init) { return vat_read(v, "?r", &self->next); }
static const vat_kind Link = { "Link", sizeof(link_), VAT_INIT(link_init), VAT_STATE(VAT_REF(link_, next)) };

typedef struct { int64_t n, links; vat_value *branches; vat_ref *chain; } trove;

static vat_value *twig_new(vat *v, int64_t first)
{
	vat_value *leaves[LEAVES];
	for (int64_t i = 0; i < LEAVES; i++)
		leaves[i] = vat_value_new(v, "r", vat_new(v, &Leaf, "i", first + i));
	return vat_value_new(v, "r", vat_new(v, &Branch, "v", vat_array(v, leaves, LEAVES)));
}

/* A thousand more. */
VAT_METHOD(trove, more)
{
	vat_value *twigs[TWIGS];
	size_t n = self->branches ? vat_length(self->branches) : 0;
	vat_value **branches = malloc((n + 1) * sizeof(vat_value *));

	if (!branches)
		return vat_fail(v, "Error", "memory ran out");
	for (int64_t i = 0; i < TWIGS; i++)
		twigs[i] = twig_new(v, self->n + i * LEAVES);
	for (size_t i = 0; i < n; i++)
		branches[i] = vat_at(v, self->branches, i);
	branches[n] = vat_value_new(v, "r", vat_new(v, &Branch, "v", vat_array(v, twigs, TWIGS)));
	self->branches = vat_array(v, branches, n + 1);
	free(branches);
	self->n += LEAVES * TWIGS;
	return vat_return(v, "i", self->n);
}

static vat_ref *part_at(vat *v, const vat_value *parts, int64_t i)
{
	vat_ref *r;
	return parts && vat_value_read(v, vat_at(v, parts, (size_t)i), "r", &r) == 0 ? r : NULL;
}

static vat_ref *leaf_at(vat *v, trove *self, int64_t i)
{
	if (i < 0 || i >= self->n)
		return NULL;
	branch *b = vat_state(v, part_at(v, self->branches, i / (LEAVES * TWIGS)), &Branch);
	branch *twig = b ? vat_state(v, part_at(v, b->parts, i / LEAVES % TWIGS), &Branch) : NULL;
	return twig ? part_at(v, twig->parts, i % LEAVES) : NULL;
}

/* Touch so many, chosen by the seed; answers how many were as they should be. */
VAT_METHOD(trove, touch)
{
	int64_t seed, n, good = 0;
	vat_read(v, "ii", &seed, &n);
	srandom((unsigned)seed);
	for (int64_t k = 0; k < n && self->n; k++) {
		int64_t i = random() % self->n;
		vat_ref *r = leaf_at(v, self, i);
		leaf *l = r ? vat_state(v, r, &Leaf) : NULL;
		good += l && l->n == i;
		if (l)
			l->touches++;
	}
	return vat_return(v, "i", good);
}

VAT_METHOD(trove, lend)
{
	int64_t i;
	vat_read(v, "i", &i);
	vat_ref *r = leaf_at(v, self, i);
	return r ? vat_return(v, "r", r) : vat_fail(v, "RangeError", "there are %lld", (long long)self->n);
}

/* So many links more in front. */
VAT_METHOD(trove, chain)
{
	int64_t n;
	vat_read(v, "i", &n);
	for (int64_t i = 0; i < n; i++)
		self->chain = self->chain ? vat_new(v, &Link, "r", self->chain) : vat_new(v, &Link, "");
	self->links += n;
	return vat_return(v, "i", self->links);
}

VAT_METHOD(trove, let_go)
{
	self->chain = NULL;
	self->branches = NULL;
	self->n = self->links = 0;
	return 0;
}

VAT_METHOD(trove, bootstrap) { return vat_return(v, "r", vat_self(v)); }

static const vat_kind Trove = { "Trove", sizeof(trove),
	VAT_STATE(VAT_I64(trove, n), VAT_I64(trove, links), VAT_VALUE(trove, branches), VAT_REF(trove, chain)),
	VAT_METHODS({ "bootstrap", NULL, "r", bootstrap }, { "more", "", "i", more }, { "touch", "ii", "i", touch },
		    { "lend", "i", "r", lend }, { "chain", "i", "i", chain }, { "letGo", "", NULL, let_go }) };
VAT_PROGRAM(&Trove, &Leaf, &Branch, &Link);
