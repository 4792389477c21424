/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The folder of the frozen trees, as far as they live: what a view says of them. Making one is the business of look.h.
 */
#include "tree_rows.h"

static const struct frozen_tree *tree_after(const struct view *v, uint32_t number)
{
	const struct frozen_tree *found = NULL;

	for (size_t i = 0; v->frozen && i < LEASE_FREEZES; i++)
		if (v->frozen[i].number > number && (!found || v->frozen[i].number < found->number))
			found = &v->frozen[i];
	return found;
}

/* The cursor's key is the number of the tree that was taken last. */
int list_snapshots(struct view *v, uint64_t id, struct cursor *c)
{
	uint64_t number = c->key_len == 8 ? get_be64(c->key) : 0;
	const struct frozen_tree *f;
	bool taken = true;

	(void)id;
	while (taken && (f = tree_after(v, (uint32_t)number))) {
		uint8_t key[8];
		struct scan s = { .key = key, .key_len = key_u64(key, number = f->number) };

		c->snapshot = f->number;	/* the entry is the root of another tree */
		taken = cursor_take(c, &s, NODE_ROOT, 0, f->name);
	}
	c->snapshot = 0;
	return 0;
}

int find_snapshot(struct view *v, uint64_t id, const char *name, struct node *outp)
{
	(void)id;
	for (size_t i = 0; v->frozen && i < LEASE_FREEZES; i++) {
		if (!v->frozen[i].number || strcmp(v->frozen[i].name, name))
			continue;
		*outp = (struct node){ NODE_ROOT, v->frozen[i].number, 0 };
		return 0;
	}
	return VIEW_E_ABSENT;
}

int render_snapshots(struct view *v, uint64_t id, struct text *t)
{
	const struct frozen_tree *f = NULL;
	size_t start = t->len;

	(void)id;
	text_str(t, "name\tuid\tcommit\tmade\tuntil\n");
	while ((f = tree_after(v, f ? f->number : 0))) {
		text_printf(t, "%s\t%u\t%llu\t", f->name, (unsigned int)f->uid, (unsigned long long)f->txnid);
		text_time(t, f->made_us);
		text_str(t, "\t");
		text_time(t, f->until_us);
		text_str(t, "\n");
	}
	text_align(t, start);
	return 0;
}
