/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tree: every kind of directory, file and link of the mount is one row of a table in tree.c. To add a file, add a
 * kind here, its row there and its render function.
 *
 * Inode numbers are arithmetic: kind in the top byte, then which frozen tree (0: the live one), then the number of the vat,
 * subcluster or reference (a link's is the number that it points at). So nothing is remembered about an inode that the kernel
 * knows: forget does nothing, and numbers are stable for as long as the thing lives, and never reused, as the numbers in
 * them are not.
 *
 * Names are parsed exactly (one spelling each), so no two names of a directory are the same thing. A directory lists only what
 * there is: a row that is not always there says so with `present` (files, directories) or `target` (links). Names of rows without
 * either need no look at the store, nor do the texts of links and most attributes.
 *
 * Links lead down (from subclusters and services to vats, to what those hold, and to code) and up (from an object to its owner,
 * from a promise to who waits for it). Frozen trees have only the former, so what follows links there, as diff -r does, comes to
 * an end; what the others say stands in the files beside them too.
 */
#ifndef CAPSTAN_FS_TREE_H
#define CAPSTAN_FS_TREE_H

#include "render.h"

enum node_kind {
	NODE_ROOT = 1,
	NODE_STATUS, NODE_VERSION, NODE_STATS, NODE_LIMITS, NODE_RUNQUEUE, NODE_RUNQUEUE_VALUES, NODE_HOLDS, NODE_ASIDE, NODE_ASIDE_VALUES,
	 NODE_DEATHS,
	NODE_OBJECTS, NODE_OBJECT, NODE_OBJECT_STATUS, NODE_OBJECT_OWNER, NODE_OBJECT_SERVICE, NODE_OBJECT_KIND,
	NODE_OBJECT_REFCOUNT, NODE_OBJECT_REVOKED, NODE_OBJECT_PINNED, NODE_OBJECT_IMPORTERS, NODE_IMPORTER, NODE_OBJECT_HOLDERS,
	NODE_PROMISES, NODE_PROMISE, NODE_PROMISE_STATUS, NODE_PROMISE_STATE, NODE_PROMISE_DECIDER, NODE_PROMISE_BEHIND,
	NODE_PROMISE_FORWARDED, NODE_PROMISE_SHARES, NODE_PROMISE_REFCOUNT, NODE_PROMISE_PINNED, NODE_PROMISE_SUBSCRIBERS,
	NODE_SUBSCRIBER, NODE_PROMISE_SOURCES, NODE_SOURCE, NODE_PROMISE_VALUE, NODE_PROMISE_SLOTS, NODE_SLOT_OBJECT,
	NODE_SLOT_PROMISE, NODE_PROMISE_QUEUE, NODE_PROMISE_QUEUE_VALUES, NODE_PROMISE_HOLDERS,
	NODE_GC, NODE_GC_NEXT, NODE_GC_ACTIONS, NODE_GC_REAP, NODE_GC_SUSPECTS, NODE_GC_SWEEPS,
	NODE_VATS_TXT, NODE_VATS, NODE_VAT,
	NODE_VAT_SUBCLUSTER, NODE_VAT_CODE, NODE_VAT_ROOT, NODE_VAT_LIMITS, NODE_VAT_DEATHS, NODE_VAT_CHARGES,
	NODE_VAT_NAME, NODE_VAT_CONFIG, NODE_VAT_PARAMETERS, NODE_VAT_STATUS, NODE_VAT_UID, NODE_VAT_PID,
	NODE_VAT_INCARNATION, NODE_VAT_ISOLATION, NODE_VAT_REASON, NODE_VAT_USAGE, NODE_VAT_CLIST, NODE_VAT_CLIST_TXT,
	NODE_VAT_QUEUE, NODE_VAT_VATSTORE, NODE_VAT_BAGGAGE, NODE_VAT_STATE, NODE_VAT_COLLECTIONS, NODE_VAT_ENTRIES,
	NODE_VAT_KINDS, NODE_VAT_REFERENCES, NODE_VAT_CONTINUATIONS, NODE_VAT_DECIDES, NODE_VAT_LOG,
	NODE_VAT_DECIDES_TXT, NODE_DECIDES_PROMISE, NODE_VAT_WAITS, NODE_VAT_EXPORTS, NODE_VAT_IMPORTS, NODE_VAT_ASIDE,
	NODE_VAT_ASIDE_VALUES, NODE_VAT_QUEUE_VALUES,
	NODE_CLIST_OBJECT, NODE_CLIST_PROMISE,
	NODE_SUBCLUSTERS_TXT, NODE_SUBCLUSTERS, NODE_SUBCLUSTER, NODE_SUB_ENDED, NODE_SUB_HOLDS, NODE_SUB_BOOTSTRAP, NODE_SUB_IOS, NODE_SUB_IO,
	NODE_SUB_CONFIG, NODE_SUB_STATUS, NODE_SUB_CREATED, NODE_SUB_NAME, NODE_SUB_VATS, NODE_SUB_ROOT, NODE_MEMBER,
	NODE_SERVICES_TXT, NODE_SERVICES, NODE_SERVICE,
	NODE_CODES_TXT, NODE_CODES, NODE_CODE, NODE_CODE_NAME, NODE_CODE_SIZE, NODE_CODE_ADDED, NODE_CODE_VATS, NODE_CODE_VAT,
	NODE_EVENTS, NODE_RECENT, NODE_SNAPSHOTS, NODE_SNAPSHOTS_TXT,
	NODE_N
};
enum node_type { NODE_DIR = 1, NODE_FILE, NODE_LINK };
/* How a file's text is built, for those who take it apart again. */
enum node_format {
	FORMAT_LINE,		/* one line, one fact (the default) */
	FORMAT_FIELDS,		/* "key: value" lines; a key can come more than once */
	FORMAT_TABLE,		/* names of columns, then rows */
	FORMAT_LIST,		/* a thing a line */
	FORMAT_JSON,
	FORMAT_LOG,		/* lines; grows at its end, and has its true size */
	FORMAT_EVENTS,		/* an event a line: "time kind vat KEY=VALUE…" */
	FORMAT_STREAM,		/* the same; a read waits for the next */
};
/* What the operator can hide from the group: config.mount.hide. NODE_PUBLIC cannot be hidden. */
enum node_class { NODE_PUBLIC, NODE_PARAMETERS, NODE_BAGGAGE, NODE_VALUES, NODE_LOGS };

struct node { enum node_kind kind; uint32_t snapshot; uint64_t id; };
#define NODE_ID_BITS	44u
#define NODE_ID_MAX	((UINT64_C(1) << NODE_ID_BITS) - 1)
#define NODE_SNAPSHOT_MAX 4095u
#define NODE_LINK_MAX	128	/* bytes of a link's text, NUL included */
#define NODE_NAME_MAX	255u
#define NODE_ROOT_LIVE	((struct node){ NODE_ROOT, 0, 0 })

uint64_t node_ino(struct node n);			/* the live root's is 1, as FUSE wants it */
bool node_from_ino(uint64_t ino, struct node *outp);	/* false: no such number can have been given out */
enum node_type node_type(struct node n);
enum node_format node_format(struct node n);
enum node_class node_class(struct node n);
struct node node_parent(struct node n);			/* of a directory */

/*
 * Listing a directory from a cursor: entries are handed to take() until that has no more room and says false, or
 * until the end. The cursor then stands behind the last that was taken, and the next call goes on from there, in whatever
 * the state of the store then is.
 */
struct cursor {
	bool (*take)(void *ctx, struct node n, const char *name);
	void *ctx;
	unsigned int fixed;	/* how many of ".", ".." and the names of the table are over */
	bool fixed_over, end;
	uint8_t key[KEY_MAX];	/* of the last row that was taken */
	size_t key_len;
	uint32_t snapshot;	/* of the directory */
};
void cursor_rewind(struct cursor *c);	/* keeps take and ctx */

/* A name that the table fixes and that is always there: needs no store. False: it may still be one of tree_find()'s. */
bool tree_find_fixed(struct node dir, const char *name, struct node *outp);
int tree_find(struct view *v, struct node dir, const char *name, struct node *outp);	/* VIEW_E_* */
int tree_exists(struct view *v, struct node n);						/* VIEW_E_ABSENT */
int tree_list(struct view *v, struct node dir, struct cursor *c);			/* VIEW_E_* */
int tree_render(struct view *v, struct node file, struct text *t);			/* VIEW_E_* */
/* A link's text into `buf`; *lenp its length. Without a view only where that is enough; else VIEW_E_ABSENT. */
int tree_link(struct view *v, struct node link, char buf[NODE_LINK_MAX], size_t *lenp);
/* The size that a file has for stat() and tail(1): that of a log; 0 for all else (read until the end). mtime: 0 unknown. */
int tree_size(struct view *v, struct node file, uint64_t *sizep, uint64_t *mtime_usp);

#endif
