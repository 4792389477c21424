/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tree: every kind of directory, file and link of the mount is one row of a table in tree.c. To add a file, add a
 * kind here, its row there and its render function.
 *
 * Inode numbers are arithmetic: kind in the top byte, the number of the vat, subcluster or reference below (a link's
 * is the number that it points at). So nothing is remembered about an inode that the kernel knows: forget does nothing,
 * and numbers are stable for as long as the thing lives, and never reused, as the numbers in them are not.
 *
 * Names are parsed exactly (one spelling each), so no two names of a directory are the same thing. Links and attributes
 * need no look at the store; lookups of names that a table row fixes do not either.
 */
#ifndef CAPSTAN_FS_TREE_H
#define CAPSTAN_FS_TREE_H

#include "render.h"

enum node_kind {
	NODE_ROOT = 1,
	NODE_STATUS, NODE_VERSION, NODE_RUNQUEUE, NODE_HOLDS,
	NODE_OBJECTS, NODE_OBJECT,
	NODE_PROMISES, NODE_PROMISE,
	NODE_VATS, NODE_VAT,
	NODE_VAT_NAME, NODE_VAT_CONFIG, NODE_VAT_PARAMETERS, NODE_VAT_STATUS, NODE_VAT_UID, NODE_VAT_PID,
	NODE_VAT_INCARNATION, NODE_VAT_ISOLATION, NODE_VAT_REASON, NODE_VAT_USAGE, NODE_VAT_CLIST, NODE_VAT_CLIST_TXT,
	NODE_VAT_QUEUE, NODE_VAT_VATSTORE, NODE_VAT_BAGGAGE, NODE_VAT_STATE, NODE_VAT_DECIDES, NODE_VAT_LOG,
	NODE_CLIST_OBJECT, NODE_CLIST_PROMISE,
	NODE_SUBCLUSTERS, NODE_SUBCLUSTER,
	NODE_SUB_CONFIG, NODE_SUB_STATUS, NODE_SUB_CREATED, NODE_SUB_NAME, NODE_SUB_VATS, NODE_SUB_ROOT, NODE_MEMBER,
	NODE_SERVICES, NODE_SERVICE,
	NODE_N
};
enum node_type { NODE_DIR = 1, NODE_FILE, NODE_LINK };

struct node { enum node_kind kind; uint64_t id; };
#define NODE_ID_MAX	((UINT64_C(1) << 56) - 1)
#define NODE_LINK_MAX	64	/* bytes of a link's text, NUL included */
#define NODE_NAME_MAX	255u

uint64_t node_ino(struct node n);			/* the root's is 1, as FUSE wants it */
bool node_from_ino(uint64_t ino, struct node *outp);	/* false: no such number can have been given out */
enum node_type node_type(struct node n);
struct node node_parent(struct node n);			/* of a directory */
size_t node_link(struct node n, char buf[NODE_LINK_MAX]);	/* of a NODE_LINK: its text; the length */

/* The entries of one directory, as many as there were in one snapshot; "." and ".." are the first two. */
struct listing_entry { uint64_t ino; uint32_t name; enum node_type type; };	/* name: offset in names */
struct listing {
	struct listing_entry *entries;
	size_t n, size;
	struct text names;
	size_t max;		/* bytes in all */
	bool full, failed;	/* over max, out of memory: not to be shown */
};
#define LISTING_INIT(limit) { .names = TEXT_INIT(UINT32_MAX / 2), .max = (limit) }
void listing_deinit(struct listing *l);
void listing_reset(struct listing *l);
size_t listing_bytes(const struct listing *l);

/* A name that the table fixes: needs no store. False: it may still be a name of tree_find()'s. */
bool tree_find_fixed(struct node dir, const char *name, struct node *outp);
int tree_find(struct view *v, struct node dir, const char *name, struct node *outp);	/* VIEW_E_* */
int tree_list(struct view *v, struct node dir, struct listing *l);			/* VIEW_E_* */
int tree_render(struct view *v, struct node file, struct text *t);			/* VIEW_E_* */

#endif
