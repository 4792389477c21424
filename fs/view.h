/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One look at the kernel's state: a read snapshot and the moment it is looked at. Everything that lists or renders
 * takes a view, and so sees one committed state from its first byte to its last.
 *
 * Values and keys are borrowed from the snapshot: valid until it ends, and not aligned.
 */
#ifndef CAPSTAN_FS_VIEW_H
#define CAPSTAN_FS_VIEW_H

#include <sys/types.h>

#include "../lib/live.h"
#include "../lib/reader.h"
#include "../lib/schema.h"

/* Outcomes of everything that takes a view: what the id names is not there; its row is not one that a kernel wrote. */
enum { VIEW_E_ABSENT = 1, VIEW_E_DAMAGED = 2 };

/* A state that is kept under a name for a while: `snapshot/NAME` (look.h). */
#define FROZEN_NAME_MAX	32u
struct frozen_tree {
	uint32_t number;		/* 1..NODE_SNAPSHOT_MAX; 0: none */
	char name[FROZEN_NAME_MAX + 1];
	uid_t uid;			/* who made it */
	uint64_t txnid, made_us, until_us;	/* of the state; realtime */
};

struct view {
	struct reader *reader;		/* inside reader_begin() … reader_end() */
	uint64_t now_us;		/* realtime; ages count from here */
	uint64_t store_bytes;		/* size of the store's file; 0 unknown */
	uint32_t snapshot;		/* of which frozen tree; 0: the live one */
	const struct live_page *live;	/* what the broker shows of itself; NULL: unknown. Frozen trees have a copy of that moment */
	const struct frozen_tree *frozen;	/* LEASE_FREEZES of them, or NULL */
	/* Of the text that is being made (view_begin_text()). */
	struct text *text;		/* NULL: none is */
	uint64_t until_ns, n_rows;	/* monotonic, 0 none; rows looked at */
};

/*
 * How much is looked at for one text: what takes longer is cut, because everybody waits meanwhile, and because its lease would
 * end before it does. In a frozen tree a file must be the same each time, so there rows count instead of time.
 */
#define VIEW_TEXT_MS	150u		/* of LEASE_MS: it is laid out after that */
#define VIEW_FROZEN_ROWS 1000000u
void view_begin_text(struct view *v, struct text *t);
void view_end_text(struct view *v);
/* To be asked before each row. True: this was enough, and the text is cut. */
bool view_is_enough(struct view *v);

int view_get(struct view *v, enum table t, const void *key, size_t key_len, const void **valp, size_t *lenp);
/* A META number; 0 when absent or not a number. */
int view_meta(struct view *v, const char *name, uint64_t *outp);

/* Rows by number. */
int view_vat(struct view *v, uint64_t vat, struct row_vat *out);
int view_subcluster(struct view *v, uint64_t subcluster, struct row_subcluster *out);
int view_object(struct view *v, kref_t ref, struct row_object *out);
int view_promise(struct view *v, kref_t ref, struct row_promise *out);
/* The clist, both ways. */
int view_eref(struct view *v, endpoint_t e, kref_t ref, vref_t *outp, uint32_t *flagsp);
int view_kref(struct view *v, endpoint_t e, vref_t ref, kref_t *outp, uint32_t *flagsp);

/*
 * How an endpoint stands that was stored as an object's owner or a promise's decider. The incarnation of that moment
 * is stored with it: once the vat has moved on, the pair counts as nobody, although its rows still stand (GONE), but
 * for what survives restarts. What belongs to a terminated vat keeps that owner.
 */
enum standing {
	STANDING_NONE, STANDING_ALIVE, STANDING_SUSPENDED, STANDING_TERMINATED, STANDING_GONE, STANDING_KERNEL,
	STANDING_REMOTE,
};
int view_standing(struct view *v, endpoint_t e, uint32_t incarnation, bool survives, enum standing *outp);

/* All rows of a table whose key starts with `prefix`, in key order. */
enum { SCAN_END = 1 };
struct scan {
	struct view *view;
	enum table table;
	uint8_t last[KEY_MAX];		/* the last key seen, or the prefix */
	size_t last_len, prefix_len;
	bool started;
	const uint8_t *key;		/* of the row at hand */
	size_t key_len;
	const void *val;
	size_t len;
};
void scan_begin(struct scan *s, struct view *v, enum table t, const void *prefix, size_t prefix_len);
void scan_begin_u64(struct scan *s, struct view *v, enum table t, uint64_t prefix);
int scan_next(struct scan *s);		/* 0: a row; SCAN_END */
/* The row's key is exactly `n` u64, the prefix included; *outp the last of them. Else false: not ours to show. */
bool scan_id(const struct scan *s, unsigned int n, uint64_t *outp);

#endif
