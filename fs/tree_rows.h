/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the rows of the table in tree.c are made of: the entries of directories that depend on the store.
 *
 * list: hand the rows of the store to the cursor, in the order of their keys, from where it stands. find: one of them by
 * name. Both are called only for directories that are there.
 */
#ifndef CAPSTAN_FS_TREE_ROWS_H
#define CAPSTAN_FS_TREE_ROWS_H

#include "tree.h"

typedef int (*list_fn)(struct view *v, uint64_t id, struct cursor *c);
typedef int (*find_fn)(struct view *v, uint64_t id, const char *name, struct node *outp);
/* Is it there? 0, VIEW_E_ABSENT or negative. */
typedef int (*present_fn)(struct view *v, uint64_t id);
/* What a link leads to: the number behind its text. VIEW_E_ABSENT: there is no such link now. */
typedef int (*target_fn)(struct view *v, uint64_t id, uint64_t *numberp);
/* A link's text that is more than a number. */
typedef int (*link_fn)(struct view *v, uint64_t id, char buf[NODE_LINK_MAX]);

/* A scan that goes on behind what the cursor has taken. */
void cursor_scan(const struct cursor *c, struct scan *s);
/* Hand over the row that the scan is at. False: no room, end the listing here and return 0. */
bool cursor_take(struct cursor *c, const struct scan *s, enum node_kind kind, uint64_t id, const char *name);

/* The numbers of a link's text as of a NODE: 1..NODE_ID_MAX. */
bool node_id_fits(uint64_t id);
/* A name made from bytes of a row; false: it cannot be a file's name. */
bool name_from_row(const void *data, size_t len, char name[NODE_NAME_MAX + 1]);
/* ABSENT unless the table has that row, by u64 key. */
int row_exists(struct view *v, enum table table, uint64_t key);

int list_objects(struct view *v, uint64_t id, struct cursor *c);
int find_object(struct view *v, uint64_t id, const char *name, struct node *outp);
int object_present(struct view *v, uint64_t id);
int list_promises(struct view *v, uint64_t id, struct cursor *c);
int find_promise(struct view *v, uint64_t id, const char *name, struct node *outp);
int promise_present(struct view *v, uint64_t id);
int list_vats(struct view *v, uint64_t id, struct cursor *c);
int find_vat(struct view *v, uint64_t id, const char *name, struct node *outp);
int vat_present(struct view *v, uint64_t id);
int list_clist(struct view *v, uint64_t id, struct cursor *c);
int find_clist(struct view *v, uint64_t id, const char *name, struct node *outp);
int list_subclusters(struct view *v, uint64_t id, struct cursor *c);
int find_subcluster(struct view *v, uint64_t id, const char *name, struct node *outp);
int subcluster_present(struct view *v, uint64_t id);
int subcluster_root(struct view *v, uint64_t id, uint64_t *numberp);
int list_members(struct view *v, uint64_t id, struct cursor *c);
int find_member(struct view *v, uint64_t id, const char *name, struct node *outp);
int list_services(struct view *v, uint64_t id, struct cursor *c);
int find_service(struct view *v, uint64_t id, const char *name, struct node *outp);

/* tree_vats.c */
int vat_subcluster(struct view *v, uint64_t id, uint64_t *numberp);
int vat_code(struct view *v, uint64_t id, uint64_t *numberp);
int vat_root(struct view *v, uint64_t id, uint64_t *numberp);
int vat_has_reason(struct view *v, uint64_t id);
int vat_has_parameters(struct view *v, uint64_t id);
int vat_has_deaths(struct view *v, uint64_t id);
int vat_has_charges(struct view *v, uint64_t id);
int list_codes(struct view *v, uint64_t id, struct cursor *c);
int find_code(struct view *v, uint64_t id, const char *name, struct node *outp);
int code_present(struct view *v, uint64_t id);
int code_link(struct view *v, uint64_t id, char buf[NODE_LINK_MAX]);
int code_has_vats(struct view *v, uint64_t id);
int list_code_vats(struct view *v, uint64_t id, struct cursor *c);
int find_code_vat(struct view *v, uint64_t id, const char *name, struct node *outp);
int subcluster_bootstrap(struct view *v, uint64_t id, uint64_t *numberp);
int subcluster_has_ended(struct view *v, uint64_t id);
int subcluster_has_name(struct view *v, uint64_t id);
int subcluster_has_io(struct view *v, uint64_t id);
int list_sub_io(struct view *v, uint64_t id, struct cursor *c);
int find_sub_io(struct view *v, uint64_t id, const char *name, struct node *outp);

/* tree_refs.c */
int list_importers(struct view *v, uint64_t id, struct cursor *c);
int find_importer(struct view *v, uint64_t id, const char *name, struct node *outp);
int importers_present(struct view *v, uint64_t id);
int list_subscribers(struct view *v, uint64_t id, struct cursor *c);
int find_subscriber(struct view *v, uint64_t id, const char *name, struct node *outp);
int subscribers_present(struct view *v, uint64_t id);
int list_decides(struct view *v, uint64_t id, struct cursor *c);
int find_decides(struct view *v, uint64_t id, const char *name, struct node *outp);
int object_owner(struct view *v, uint64_t id, uint64_t *numberp);
int object_service(struct view *v, uint64_t id, char buf[NODE_LINK_MAX]);
int object_service_present(struct view *v, uint64_t id);
int promise_decider(struct view *v, uint64_t id, uint64_t *numberp);
int promise_forwarded(struct view *v, uint64_t id, uint64_t *numberp);
int promise_shares(struct view *v, uint64_t id, uint64_t *numberp);
int promise_behind(struct view *v, uint64_t id, char buf[NODE_LINK_MAX]);
int promise_behind_present(struct view *v, uint64_t id);
int promise_has_value(struct view *v, uint64_t id);
int list_sources(struct view *v, uint64_t id, struct cursor *c);
int find_source(struct view *v, uint64_t id, const char *name, struct node *outp);
int sources_present(struct view *v, uint64_t id);
int list_slots(struct view *v, uint64_t id, struct cursor *c);
int find_slot(struct view *v, uint64_t id, const char *name, struct node *outp);
int slots_present(struct view *v, uint64_t id);
int vat_queue_present(struct view *v, uint64_t id);
int promise_queue_present(struct view *v, uint64_t id);
int vat_aside_present(struct view *v, uint64_t id);

/* tree_frozen.c */
int list_snapshots(struct view *v, uint64_t id, struct cursor *c);
int find_snapshot(struct view *v, uint64_t id, const char *name, struct node *outp);
int live_tree_only(struct view *v, uint64_t id);

#endif
