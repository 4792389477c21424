/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ordered map: a B+tree whose pages hold, beside each pointer to an item, the first 16 bytes of its key as two
 * big-endian integers (zero-padded). The kernel's keys are 8, 16 and 17 bytes long and mostly begin with the
 * same 8, so 16 is what decides nearly every comparison without leaving the page.
 *
 * Invariants:
 *	- an item is one allocation: node, key, value. It never moves while it is in the map, and a value that is
 *	  replaced by one that fits reuses it;
 *	- the entry beside a child is the child's own first entry, so separators never name an item that is gone;
 *	- pages of one height are linked in key order; all pages but an only root leaf hold at least one entry;
 *	- two neighbours below one parent that fit into three quarters of a page are one page. A page that empties
 *	  to a quarter is merged and no entries are borrowed: queues fill and drain at their ends, and
 *	  balancing the rest exactly would cost more than it saves;
 *	- omap_put() allocates everything before it changes anything.
 */
#include "omap.h"

#define PAGE_MAX	64
#define PAGE_MIN	(PAGE_MAX / 4)
#define PAGE_MERGED	(PAGE_MAX * 3 / 4)
#define HEIGHT_MAX	24	/* pages of three eighths on average: far more items than memory holds */
#define HEAD		16	/* key bytes kept in the page */

struct item {
	struct omap_node node;
	size_t room;		/* bytes there are for the value */
	uint8_t data[];		/* key, padding to 8, value */
};

struct entry { uint64_t hi, lo; struct item *item; };

struct page {
	uint32_t n;
	uint32_t height;	/* 0: leaf */
	struct page *prev, *next;
	struct entry entries[PAGE_MAX];
	struct page *children[];	/* PAGE_MAX of them when height > 0 */
};

struct key { const uint8_t *data; size_t len; uint64_t hi, lo; };

/* The way from the root to a place in a leaf: step h is at height h. */
struct step { struct page *page; uint32_t i; };
struct path { struct step steps[HEIGHT_MAX]; };

/*
 * The last way that was gone is kept: a row is mostly read, then written, then perhaps deleted, with nothing of its table
 * between. It holds until an item comes or goes. Only keys that their heads tell apart are remembered.
 */
struct omap {
	struct page *root;
	size_t count;
	struct path path;
	bool known, found;	/* `path` leads to the key of these: it is there, or belongs there */
	size_t len;
	uint64_t hi, lo;
};

static struct key key_make(const void *data, size_t len)
{
	struct key k = { .data = data, .len = len };
	uint8_t head[HEAD] = { 0 };

	if (len >= HEAD) {
		k.hi = get_be64(k.data);
		k.lo = get_be64(k.data + 8);
	} else if (len == 8) {
		k.hi = get_be64(k.data);
	} else if (len > 0) {
		memcpy(head, data, len);
		k.hi = get_be64(head);
		k.lo = get_be64(head + 8);
	}
	return k;
}

/* Order of two keys whose heads are equal: what is past the heads, then length (a padded zero against a real one). */
static int compare_tails(const struct item *item, const struct key *k)
{
	size_t a = item->node.key_len, b = k->len, n = a < b ? a : b;
	int c = n > HEAD ? memcmp(item->node.key + HEAD, k->data + HEAD, n - HEAD) : 0;

	return c ? c : (a > b) - (a < b);
}

static bool head_is_less(const struct entry *e, const struct key *k)
{
	return (e->hi < k->hi) | ((e->hi == k->hi) & (e->lo < k->lo));
}

static bool head_is_equal(const struct entry *e, const struct key *k)
{
	return (e->hi == k->hi) & (e->lo == k->lo);
}

/* How many entries are less than `k`, from among those whose heads are not; the first `rank` are known to be. */
static uint32_t rank_tails(const struct page *p, const struct key *k, uint32_t rank, bool *equalp)
{
	uint32_t end = p->n;

	while (rank < end) {
		uint32_t middle = rank + (end - rank) / 2;
		int c = head_is_equal(&p->entries[middle], k) ? compare_tails(p->entries[middle].item, k) : 1;

		if (c == 0) {
			*equalp = true;
			return middle;
		}
		if (c < 0)
			rank = middle + 1;
		else
			end = middle;
	}
	return rank;
}

/* How many entries of the page are less than `k`; *equalp says whether the next one is `k`. */
static uint32_t page_rank(const struct page *p, const struct key *k, bool *equalp)
{
	const struct entry *base = p->entries;
	uint32_t n = p->n, rank;
	int c;

	*equalp = false;
	if (n == 0)
		return 0;
	while (n > 1) {		/* no branch on the data: the compiler moves `base` conditionally */
		uint32_t half = n / 2;

		base = head_is_less(base + half - 1, k) ? base + half : base;
		n -= half;
	}
	rank = (uint32_t)(base - p->entries) + head_is_less(base, k);
	if (rank == p->n || !head_is_equal(&p->entries[rank], k))
		return rank;
	c = compare_tails(p->entries[rank].item, k);
	*equalp = c == 0;
	return c >= 0 ? rank : rank_tails(p, k, rank + 1, equalp);
}

/* Find the place of `k`: where it is, or where it belongs. */
static bool descend(struct omap *m, const struct key *k)
{
	struct page *p = m->root;
	bool equal;

	if (m->known && m->hi == k->hi && m->lo == k->lo && m->len == k->len)
		return m->found;
	for (;;) {
		uint32_t rank = page_rank(p, k, &equal);

		m->path.steps[p->height] = (struct step){ p, p->height > 0 && !equal && rank > 0 ? rank - 1 : rank };
		if (p->height == 0)
			break;
		p = p->children[m->path.steps[p->height].i];
	}
	m->known = k->len <= HEAD;
	m->found = equal;
	m->len = k->len;
	m->hi = k->hi;
	m->lo = k->lo;
	return equal;
}

static struct page *page_new(uint32_t height)
{
	struct page *p = malloc(sizeof(*p) + (height ? PAGE_MAX * sizeof(p->children[0]) : 0));

	if (p) {
		p->n = 0;
		p->height = height;
		p->prev = p->next = NULL;
	}
	return p;
}

static void item_set(struct item *item, const void *val, size_t len, bool dead)
{
	uint8_t *at = item->data + ((item->node.key_len + 7) & ~(size_t)7);

	if (len > 0)
		memmove(at, val, len);	/* the new value may be a piece of the old one */
	item->node.val = dead ? NULL : at;
	item->node.len = len;
	item->node.dead = dead;
}

static struct item *item_new(const struct key *k, const void *val, size_t len, bool dead)
{
	size_t padded = (k->len + 7) & ~(size_t)7;
	size_t size = (sizeof(struct item) + padded + len + 15) & ~(size_t)15;
	struct item *item = malloc(size);

	if (!item)
		return NULL;
	if (k->len > 0)
		memcpy(item->data, k->data, k->len);
	item->node.key = item->data;
	item->node.key_len = k->len;
	item->room = size - sizeof(struct item) - padded;
	item_set(item, val, len, dead);
	return item;
}

/* Tell the parents that the page at height h begins with `e` now. */
static void first_changed(struct omap *m, uint32_t h, struct entry e)
{
	const struct step *steps = m->path.steps;

	for (; steps[h].i == 0 && h < m->root->height; h++)
		steps[h + 1].page->entries[steps[h + 1].i] = e;
}

static void page_insert(struct page *p, uint32_t at, struct entry e, struct page *child)
{
	assert(p->n < PAGE_MAX && at <= p->n);
	memmove(&p->entries[at + 1], &p->entries[at], (p->n - at) * sizeof(p->entries[0]));
	p->entries[at] = e;
	if (p->height > 0) {
		memmove(&p->children[at + 1], &p->children[at], (p->n - at) * sizeof(p->children[0]));
		p->children[at] = child;
	}
	p->n++;
}

/* Move the entries from `at` on to the end of `to`. */
static void page_move(struct page *to, struct page *from, uint32_t at)
{
	uint32_t n = from->n - at;

	memcpy(&to->entries[to->n], &from->entries[at], n * sizeof(to->entries[0]));
	if (from->height > 0)
		memcpy(&to->children[to->n], &from->children[at], n * sizeof(to->children[0]));
	to->n += n;
	from->n = at;
}

/*
 * Split the full page `p`, insert the entry, return its new right neighbour. What is appended at the very end goes into
 * an empty page: keys made from counters arrive in order, and would leave half-full pages behind.
 */
static struct page *page_split(struct page *p, struct page *right, uint32_t at, struct entry e, struct page *child)
{
	uint32_t middle = at == PAGE_MAX && !p->next ? PAGE_MAX : PAGE_MAX / 2;

	page_move(right, p, middle);
	right->prev = p;
	right->next = p->next;
	if (right->next)
		right->next->prev = right;
	p->next = right;
	if (at <= middle && middle < PAGE_MAX)
		page_insert(p, at, e, child);
	else
		page_insert(right, at - middle, e, child);
	return right;
}

/* The pages that an insertion here will split off, allocated ahead; [0] is the leaf's. */
static int spares_new(const struct omap *m, struct page *spares[HEIGHT_MAX])
{
	uint32_t h, n = 0;

	for (h = 0; h <= m->root->height && m->path.steps[h].page->n == PAGE_MAX; h++)
		n++;
	if (h > m->root->height && n > 0)
		n++;	/* the root itself splits: one more, above it */
	assert(n <= HEIGHT_MAX);
	for (h = 0; h < n; h++) {
		spares[h] = page_new(h);
		if (!spares[h])
			break;
	}
	if (h == n)
		return 0;
	while (h > 0)
		free(spares[--h]);
	return error_origin(ENOMEM);
}

static int insert(struct omap *m, const struct key *k, struct item *item)
{
	struct entry e = { k->hi, k->lo, item };
	struct page *child = NULL, *spares[HEIGHT_MAX];
	const struct step *steps = m->path.steps;
	uint32_t h, at = steps[0].i;
	int r;

	r = spares_new(m, spares);
	if (r < 0)
		return r;
	/* Where nothing splits the way is still the same. */
	m->known = k->len <= HEAD && steps[0].page->n < PAGE_MAX;
	m->found = true;
	first_changed(m, 0, e);
	for (h = 0; h <= m->root->height; h++) {
		struct page *p = steps[h].page;

		if (p->n < PAGE_MAX) {
			page_insert(p, at, e, child);
			break;
		}
		child = page_split(p, spares[h], at, e, child);
		e = child->entries[0];
		at = h < m->root->height ? steps[h + 1].i + 1 : 0;
	}
	if (h > m->root->height) {
		page_insert(spares[h], 0, m->root->entries[0], m->root);
		page_insert(spares[h], 1, e, child);
		m->root = spares[h];
	}
	m->count++;
	return 0;
}

int omap_put(struct omap *m, const void *key, size_t key_len, const void *val, size_t len, bool dead)
{
	struct key k = key_make(key, key_len);
	struct item *item, *old;
	struct entry *at;
	int r;

	assert(!dead || len == 0);
	at = descend(m, &k) ? &m->path.steps[0].page->entries[m->path.steps[0].i] : NULL;
	old = at ? at->item : NULL;
	if (old && len <= old->room) {
		item_set(old, val, len, dead);
		return 0;
	}
	item = item_new(&k, val, len, dead);
	if (!item)
		return error_origin(ENOMEM);
	if (old) {
		at->item = item;
		first_changed(m, 0, *at);
		free(old);
		return 0;
	}
	r = insert(m, &k, item);
	if (r < 0)
		free(item);
	return r;
}

static void page_free(struct page *p)
{
	if (p->prev)
		p->prev->next = p->next;
	if (p->next)
		p->next->prev = p->prev;
	free(p);
}

/*
 * The page at height h has become small: join it with a neighbour below the same parent. Returns true when a page
 * went, with the parent's step at the entry that has to go too.
 */
static bool page_merge(struct path *path, uint32_t h)
{
	struct step *parent = &path->steps[h + 1];
	struct page *p = path->steps[h].page;
	struct page *left = parent->i > 0 ? parent->page->children[parent->i - 1] : NULL;
	struct page *right = parent->i + 1 < parent->page->n ? parent->page->children[parent->i + 1] : NULL;

	if (right && p->n + right->n <= PAGE_MERGED) {
		page_move(p, right, 0);
		page_free(right);
		parent->i++;
		return true;
	}
	if (left && left->n + p->n <= PAGE_MERGED) {
		page_move(left, p, 0);
		page_free(p);
		return true;
	}
	return false;
}

static void page_delete(struct page *p, uint32_t at)
{
	p->n--;
	memmove(&p->entries[at], &p->entries[at + 1], (p->n - at) * sizeof(p->entries[0]));
	if (p->height > 0)
		memmove(&p->children[at], &p->children[at + 1], (p->n - at) * sizeof(p->children[0]));
}

void omap_remove(struct omap *m, const void *key, size_t key_len)
{
	struct key k = key_make(key, key_len);
	struct step *steps = m->path.steps;
	bool again = true;

	if (!descend(m, &k))
		return;
	free(steps[0].page->entries[steps[0].i].item);
	m->known = false;
	m->count--;
	for (uint32_t h = 0; again; h++) {
		struct page *p = steps[h].page;

		page_delete(p, steps[h].i);
		again = false;
		if (p->n > 0)
			first_changed(m, h, p->entries[0]);
		if (h == m->root->height)
			break;
		if (p->n == 0) {
			page_free(p);
			again = true;
		} else if (p->n < PAGE_MIN) {
			again = page_merge(&m->path, h);
		}
	}
	while (m->root->height > 0 && m->root->n == 1) {
		struct page *only = m->root->children[0];

		free(m->root);
		m->root = only;
	}
}

const struct omap_node *omap_find(struct omap *m, const void *key, size_t key_len)
{
	struct key k = key_make(key, key_len);

	if (!descend(m, &k))
		return NULL;
	return &m->path.steps[0].page->entries[m->path.steps[0].i].item->node;
}

const struct omap_node *omap_next(struct omap *m, const void *key, size_t key_len, bool or_equal)
{
	struct key k = key_make(key, key_len);
	struct page *p;
	uint32_t i;

	i = descend(m, &k) && !or_equal;
	p = m->path.steps[0].page;
	i += m->path.steps[0].i;
	if (i == p->n) {
		p = p->next;
		i = 0;
	}
	return p ? &p->entries[i].item->node : NULL;
}

/* Free the pages of one height from `p` on, and with leaves the items. */
static void free_level(struct page *p)
{
	while (p) {
		struct page *next = p->next;

		for (uint32_t i = 0; p->height == 0 && i < p->n; i++)
			free(p->entries[i].item);
		free(p);
		p = next;
	}
}

static void free_tree(struct page *p)
{
	while (p) {
		struct page *below = p->height > 0 ? p->children[0] : NULL;

		free_level(p);
		p = below;
	}
}

struct omap *omap_new(void)
{
	struct omap *m = malloc(sizeof(*m));

	if (!m)
		return NULL;
	*m = (struct omap){ .root = page_new(0) };
	if (!m->root) {
		free(m);
		return NULL;
	}
	return m;
}

struct omap *omap_free(struct omap *m)
{
	if (m) {
		free_tree(m->root);
		free(m);
	}
	return NULL;
}

/* Keeps the first leaf, so that an empty map always has a root and clearing cannot fail. */
void omap_clear(struct omap *m)
{
	struct page *first = m->root;

	while (first->height > 0)
		first = first->children[0];
	for (uint32_t i = 0; i < first->n; i++)
		free(first->entries[i].item);
	free_level(first->next);
	while (m->root != first) {
		struct page *above = m->root;

		m->root = above->children[0];
		free_level(above);
	}
	first->n = 0;
	first->next = NULL;
	m->known = false;
	m->count = 0;
}

size_t omap_count(const struct omap *m)
{
	return m->count;
}
