/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of the tree, and how names and inode numbers become rows of it.
 */
#include "tree_rows.h"

struct row {
	enum node_type type;
	enum node_kind parent;
	const char *name;	/* under its parent, with the parent's id; NULL: named by the parent's list and find */
	list_fn list;		/* directories: the entries that the store names */
	find_fn find;
	render_fn render;	/* files */
	present_fn present;	/* NULL: there whenever its parent is */
	target_fn target;	/* links with a name: what they lead to */
	const char *link;	/* links: their text, to be followed by the id */
	link_fn link_text;	/* or: the whole of it */
	enum node_format format;
	enum node_class class;
	bool upward;		/* leads back, or has links that do: see tree.h */
};

/* Fixed names are listed in the order of this table. */
static const struct row rows[NODE_N] = {
	[NODE_ROOT]		= { NODE_DIR, NODE_ROOT, .name = "" },
	[NODE_STATUS]		= { NODE_FILE, NODE_ROOT, "status", .render = render_status, .format = FORMAT_FIELDS },
	[NODE_VERSION]		= { NODE_FILE, NODE_ROOT, "version", .render = render_version },
	[NODE_STATS]		= { NODE_FILE, NODE_ROOT, "stats", .render = render_stats, .present = stats_present,
				    .format = FORMAT_FIELDS },
	[NODE_LIMITS]		= { NODE_FILE, NODE_ROOT, "limits", .render = render_limits, .present = defaults_present,
				    .format = FORMAT_TABLE },
	[NODE_DEATHS]		= { NODE_FILE, NODE_ROOT, "deaths", .render = render_deaths,
				    .format = FORMAT_TABLE },
	[NODE_RUNQUEUE]		= { NODE_FILE, NODE_ROOT, "runqueue", .render = render_runqueue, .format = FORMAT_TABLE },
	[NODE_HOLDS]		= { NODE_FILE, NODE_ROOT, "holds", .render = render_holds, .format = FORMAT_TABLE },

	[NODE_RUNQUEUE_VALUES]	= { NODE_FILE, NODE_ROOT, "runqueue.values", .render = render_runqueue_values, .format = FORMAT_TABLE,
				    .class = NODE_VALUES },
	[NODE_ASIDE_VALUES]	= { NODE_FILE, NODE_ROOT, "aside.values", .render = render_aside_values, .format = FORMAT_TABLE,
				    .class = NODE_VALUES },
	[NODE_ASIDE]		= { NODE_FILE, NODE_ROOT, "aside", .render = render_aside, .format = FORMAT_TABLE },

	[NODE_GC]		= { NODE_DIR, NODE_ROOT, .name = "gc" },
	[NODE_GC_NEXT]		= { NODE_FILE, NODE_GC, "next", .render = render_gc_next, .format = FORMAT_TABLE },
	[NODE_GC_ACTIONS]	= { NODE_FILE, NODE_GC, "actions", .render = render_gc_actions, .format = FORMAT_TABLE },
	[NODE_GC_REAP]		= { NODE_FILE, NODE_GC, "reap", .render = render_gc_reap, .format = FORMAT_TABLE },
	[NODE_GC_SUSPECTS]	= { NODE_FILE, NODE_GC, "suspects", .render = render_gc_suspects, .format = FORMAT_TABLE },
	[NODE_GC_SWEEPS]	= { NODE_FILE, NODE_GC, "sweeps", .render = render_gc_sweeps, .format = FORMAT_TABLE },

	[NODE_OBJECTS]		= { NODE_DIR, NODE_ROOT, "objects", .list = list_objects, .find = find_object },
	[NODE_OBJECT]		= { NODE_DIR, NODE_OBJECTS, NULL, .present = object_present },
	[NODE_OBJECT_STATUS]	= { NODE_FILE, NODE_OBJECT, "status", .render = render_object, .format = FORMAT_FIELDS },
	[NODE_OBJECT_OWNER]	= { NODE_LINK, NODE_OBJECT, "owner", .target = object_owner, .link = "../../vats/v",
				    .upward = true },
	[NODE_OBJECT_SERVICE]	= { NODE_LINK, NODE_OBJECT, "service", .present = object_service_present, .link_text = object_service,
				    .upward = true },
	[NODE_OBJECT_KIND]	= { NODE_FILE, NODE_OBJECT, "kind", .render = render_object_kind },
	[NODE_OBJECT_REFCOUNT]	= { NODE_FILE, NODE_OBJECT, "refcount", .render = render_object_refcount },
	[NODE_OBJECT_REVOKED]	= { NODE_FILE, NODE_OBJECT, "revoked", .render = render_object_revoked },
	[NODE_OBJECT_PINNED]	= { NODE_FILE, NODE_OBJECT, "pinned", .render = render_object_pinned },
	[NODE_OBJECT_IMPORTERS]	= { NODE_DIR, NODE_OBJECT, "importers", .list = list_importers, .find = find_importer,
				    .present = importers_present, .upward = true },
	[NODE_IMPORTER]		= { NODE_LINK, NODE_OBJECT_IMPORTERS, NULL, .link = "../../../vats/v" },
	[NODE_OBJECT_HOLDERS]	= { NODE_FILE, NODE_OBJECT, "holders", .render = render_object_holders, .format = FORMAT_TABLE },

	[NODE_PROMISES]		= { NODE_DIR, NODE_ROOT, "promises", .list = list_promises, .find = find_promise },
	[NODE_PROMISE]		= { NODE_DIR, NODE_PROMISES, NULL, .present = promise_present },
	[NODE_PROMISE_STATUS]	= { NODE_FILE, NODE_PROMISE, "status", .render = render_promise, .format = FORMAT_FIELDS },
	[NODE_PROMISE_STATE]	= { NODE_FILE, NODE_PROMISE, "state", .render = render_promise_state },
	[NODE_PROMISE_DECIDER]	= { NODE_LINK, NODE_PROMISE, "decider", .target = promise_decider, .link = "../../vats/v",
				    .upward = true },
	[NODE_PROMISE_BEHIND]	= { NODE_LINK, NODE_PROMISE, "behind", .present = promise_behind_present, .link_text = promise_behind,
				    .upward = true },
	[NODE_PROMISE_FORWARDED] = { NODE_LINK, NODE_PROMISE, "forwarded-to", .target = promise_forwarded, .link = "../kp" },
	[NODE_PROMISE_SHARES]	= { NODE_LINK, NODE_PROMISE, "shares", .target = promise_shares, .link = "../kp" },
	[NODE_PROMISE_REFCOUNT]	= { NODE_FILE, NODE_PROMISE, "refcount", .render = render_promise_refcount },
	[NODE_PROMISE_PINNED]	= { NODE_FILE, NODE_PROMISE, "pinned", .render = render_promise_pinned },
	[NODE_PROMISE_SUBSCRIBERS] = { NODE_DIR, NODE_PROMISE, "subscribers", .list = list_subscribers, .find = find_subscriber,
				    .present = subscribers_present, .upward = true },
	[NODE_SUBSCRIBER]	= { NODE_LINK, NODE_PROMISE_SUBSCRIBERS, NULL, .link = "../../../vats/v" },
	[NODE_PROMISE_SOURCES]	= { NODE_DIR, NODE_PROMISE, "forwarded-from", .list = list_sources, .find = find_source,
				    .present = sources_present, .upward = true },
	[NODE_SOURCE]		= { NODE_LINK, NODE_PROMISE_SOURCES, NULL, .link = "../../kp" },
	[NODE_PROMISE_SLOTS]	= { NODE_DIR, NODE_PROMISE, "slots", .list = list_slots, .find = find_slot, .present = slots_present,
				    .class = NODE_VALUES, .upward = true },
	[NODE_SLOT_OBJECT]	= { NODE_LINK, NODE_PROMISE_SLOTS, NULL, .link = "../../../objects/ko" },
	[NODE_SLOT_PROMISE]	= { NODE_LINK, NODE_PROMISE_SLOTS, NULL, .link = "../../../promises/kp" },
	[NODE_PROMISE_VALUE]	= { NODE_FILE, NODE_PROMISE, "value", .render = render_promise_value, .present = promise_has_value,
				    .format = FORMAT_FIELDS, .class = NODE_VALUES },
	[NODE_PROMISE_QUEUE]	= { NODE_FILE, NODE_PROMISE, "queue", .render = render_promise_queue,
				    .present = promise_queue_present, .format = FORMAT_TABLE },
	[NODE_PROMISE_QUEUE_VALUES] = { NODE_FILE, NODE_PROMISE, "queue.values", .render = render_promise_queue_values,
				    .present = promise_queue_present, .format = FORMAT_TABLE, .class = NODE_VALUES },
	[NODE_PROMISE_HOLDERS]	= { NODE_FILE, NODE_PROMISE, "holders", .render = render_promise_holders, .format = FORMAT_TABLE },

	[NODE_VATS_TXT]		= { NODE_FILE, NODE_ROOT, "vats.txt", .render = render_vats, .format = FORMAT_TABLE },
	[NODE_VATS]		= { NODE_DIR, NODE_ROOT, "vats", .list = list_vats, .find = find_vat },
	[NODE_VAT]		= { NODE_DIR, NODE_VATS, NULL, .present = vat_present },
	[NODE_VAT_SUBCLUSTER]	= { NODE_LINK, NODE_VAT, "subcluster", .target = vat_subcluster, .link = "../../subclusters/s",
				    .upward = true },
	[NODE_VAT_CODE]		= { NODE_LINK, NODE_VAT, "code", .target = vat_code, .link_text = code_link },
	[NODE_VAT_ROOT]		= { NODE_LINK, NODE_VAT, "root", .target = vat_root, .link = "../../objects/ko" },
	[NODE_VAT_LIMITS]	= { NODE_FILE, NODE_VAT, "limits", .render = render_vat_limits, .format = FORMAT_TABLE },
	[NODE_VAT_DEATHS]	= { NODE_FILE, NODE_VAT, "deaths", .render = render_vat_deaths, .present = vat_has_deaths,
				    .format = FORMAT_TABLE },
	[NODE_VAT_CHARGES]	= { NODE_FILE, NODE_VAT, "charges", .render = render_vat_charges, .present = vat_has_charges,
				    .format = FORMAT_TABLE },
	[NODE_VAT_NAME]		= { NODE_FILE, NODE_VAT, "name", .render = render_vat_name },
	[NODE_VAT_CONFIG]	= { NODE_FILE, NODE_VAT, "config", .render = render_vat_config, .format = FORMAT_JSON,
				    .class = NODE_PARAMETERS },
	[NODE_VAT_PARAMETERS]	= { NODE_FILE, NODE_VAT, "parameters", .render = render_vat_parameters,
				    .present = vat_has_parameters, .format = FORMAT_FIELDS, .class = NODE_PARAMETERS },
	[NODE_VAT_STATUS]	= { NODE_FILE, NODE_VAT, "status", .render = render_vat_status },
	[NODE_VAT_UID]		= { NODE_FILE, NODE_VAT, "uid", .render = render_vat_uid },
	[NODE_VAT_PID]		= { NODE_FILE, NODE_VAT, "pid", .render = render_vat_pid },
	[NODE_VAT_INCARNATION]	= { NODE_FILE, NODE_VAT, "incarnation", .render = render_vat_incarnation },
	[NODE_VAT_ISOLATION]	= { NODE_FILE, NODE_VAT, "isolation", .render = render_vat_isolation },
	[NODE_VAT_REASON]	= { NODE_FILE, NODE_VAT, "reason", .render = render_vat_reason, .present = vat_has_reason },
	[NODE_VAT_USAGE]	= { NODE_FILE, NODE_VAT, "usage", .render = render_vat_usage, .format = FORMAT_FIELDS },
	[NODE_VAT_CLIST]	= { NODE_DIR, NODE_VAT, "clist", .list = list_clist, .find = find_clist },
	[NODE_VAT_CLIST_TXT]	= { NODE_FILE, NODE_VAT, "clist.txt", .render = render_vat_clist, .format = FORMAT_TABLE },
	[NODE_VAT_QUEUE]	= { NODE_FILE, NODE_VAT, "queue", .render = render_vat_queue, .format = FORMAT_TABLE },
	[NODE_VAT_VATSTORE]	= { NODE_FILE, NODE_VAT, "vatstore", .render = render_vat_vatstore, .format = FORMAT_TABLE,
				    .class = NODE_BAGGAGE },
	[NODE_VAT_BAGGAGE]	= { NODE_FILE, NODE_VAT, "baggage", .render = render_vat_baggage,
				    .present = vat_has_baggage, .format = FORMAT_TABLE,
				    .class = NODE_BAGGAGE },
	[NODE_VAT_STATE]	= { NODE_FILE, NODE_VAT, "state", .render = render_vat_state, .present = vat_has_state,
				    .format = FORMAT_TABLE, .class = NODE_BAGGAGE },
	[NODE_VAT_COLLECTIONS]	= { NODE_FILE, NODE_VAT, "collections", .render = render_vat_collections,
				    .present = vat_has_collections, .format = FORMAT_TABLE, .class = NODE_BAGGAGE },
	[NODE_VAT_ENTRIES]	= { NODE_FILE, NODE_VAT, "entries", .render = render_vat_entries,
				    .present = vat_has_collections, .format = FORMAT_TABLE, .class = NODE_BAGGAGE },
	[NODE_VAT_KINDS]	= { NODE_FILE, NODE_VAT, "kinds", .render = render_vat_kinds, .present = vat_has_kinds,
				    .format = FORMAT_TABLE, .class = NODE_BAGGAGE },
	[NODE_VAT_REFERENCES]	= { NODE_FILE, NODE_VAT, "references", .render = render_vat_references,
				    .present = vat_has_references, .format = FORMAT_TABLE, .class = NODE_BAGGAGE },
	[NODE_VAT_CONTINUATIONS] = { NODE_FILE, NODE_VAT, "continuations", .render = render_vat_continuations,
				    .present = vat_has_continuations, .format = FORMAT_TABLE, .class = NODE_BAGGAGE },
	[NODE_VAT_ASIDE]	= { NODE_FILE, NODE_VAT, "aside", .render = render_aside, .present = vat_aside_present,
				    .format = FORMAT_TABLE },
	[NODE_VAT_ASIDE_VALUES]	= { NODE_FILE, NODE_VAT, "aside.values", .render = render_aside_values, .present = vat_aside_present,
				    .format = FORMAT_TABLE, .class = NODE_VALUES },
	[NODE_VAT_QUEUE_VALUES]	= { NODE_FILE, NODE_VAT, "queue.values", .render = render_vat_queue_values,
				    .present = vat_queue_present, .format = FORMAT_TABLE, .class = NODE_VALUES },
	[NODE_VAT_DECIDES]	= { NODE_DIR, NODE_VAT, "decides", .list = list_decides, .find = find_decides },
	[NODE_DECIDES_PROMISE]	= { NODE_LINK, NODE_VAT_DECIDES, NULL, .link = "../../../promises/kp" },
	[NODE_VAT_DECIDES_TXT]	= { NODE_FILE, NODE_VAT, "decides.txt", .render = render_vat_decides, .format = FORMAT_TABLE },
	[NODE_VAT_WAITS]	= { NODE_FILE, NODE_VAT, "waits", .render = render_vat_waits, .format = FORMAT_TABLE },
	[NODE_VAT_EXPORTS]	= { NODE_FILE, NODE_VAT, "exports", .render = render_vat_exports, .format = FORMAT_TABLE },
	[NODE_VAT_IMPORTS]	= { NODE_FILE, NODE_VAT, "imports", .render = render_vat_imports, .format = FORMAT_TABLE },
	[NODE_VAT_LOG]		= { NODE_FILE, NODE_VAT, "log", .render = render_vat_log, .format = FORMAT_LOG, .class = NODE_LOGS },
	[NODE_CLIST_OBJECT]	= { NODE_LINK, NODE_VAT_CLIST, NULL, .link = "../../../objects/ko" },
	[NODE_CLIST_PROMISE]	= { NODE_LINK, NODE_VAT_CLIST, NULL, .link = "../../../promises/kp" },

	[NODE_SUBCLUSTERS_TXT]	= { NODE_FILE, NODE_ROOT, "subclusters.txt", .render = render_subclusters, .format = FORMAT_TABLE },
	[NODE_SUBCLUSTERS]	= { NODE_DIR, NODE_ROOT, "subclusters", .list = list_subclusters, .find = find_subcluster },
	[NODE_SUBCLUSTER]	= { NODE_DIR, NODE_SUBCLUSTERS, NULL, .present = subcluster_present },
	[NODE_SUB_CONFIG]	= { NODE_FILE, NODE_SUBCLUSTER, "config", .render = render_sub_config, .format = FORMAT_JSON,
				    .class = NODE_PARAMETERS },
	[NODE_SUB_STATUS]	= { NODE_FILE, NODE_SUBCLUSTER, "status", .render = render_sub_status },
	[NODE_SUB_CREATED]	= { NODE_FILE, NODE_SUBCLUSTER, "created", .render = render_sub_created },
	[NODE_SUB_ENDED]	= { NODE_FILE, NODE_SUBCLUSTER, "ended", .render = render_sub_ended,
				    .present = subcluster_has_ended },
	[NODE_SUB_HOLDS]	= { NODE_FILE, NODE_SUBCLUSTER, "holds", .render = render_sub_holds, .format = FORMAT_TABLE },
	[NODE_SUB_BOOTSTRAP]	= { NODE_LINK, NODE_SUBCLUSTER, "bootstrap", .target = subcluster_bootstrap,
				    .link = "../../vats/v" },
	[NODE_SUB_IOS]		= { NODE_DIR, NODE_SUBCLUSTER, "io", .list = list_sub_io, .find = find_sub_io,
				    .present = subcluster_has_io },
	[NODE_SUB_IO]		= { NODE_LINK, NODE_SUB_IOS, NULL, .link = "../../../objects/ko" },
	[NODE_SUB_NAME]		= { NODE_FILE, NODE_SUBCLUSTER, "name", .render = render_sub_name,
				    .present = subcluster_has_name },
	[NODE_SUB_VATS]		= { NODE_DIR, NODE_SUBCLUSTER, "vats", .list = list_members, .find = find_member },
	[NODE_SUB_ROOT]		= { NODE_LINK, NODE_SUBCLUSTER, "root", .target = subcluster_root, .link = "../../objects/ko" },
	[NODE_MEMBER]		= { NODE_LINK, NODE_SUB_VATS, NULL, .link = "../../../vats/v" },

	[NODE_SERVICES_TXT]	= { NODE_FILE, NODE_ROOT, "services.txt", .render = render_services, .format = FORMAT_TABLE },
	[NODE_SERVICES]		= { NODE_DIR, NODE_ROOT, "services", .list = list_services, .find = find_service },
	[NODE_SERVICE]		= { NODE_LINK, NODE_SERVICES, NULL, .link = "../objects/ko" },

	[NODE_CODES_TXT]	= { NODE_FILE, NODE_ROOT, "code.txt", .render = render_codes, .format = FORMAT_TABLE },
	[NODE_CODES]		= { NODE_DIR, NODE_ROOT, "code", .list = list_codes, .find = find_code },
	[NODE_CODE]		= { NODE_DIR, NODE_CODES, NULL, .present = code_present },
	[NODE_CODE_NAME]	= { NODE_FILE, NODE_CODE, "name", .render = render_code_name },
	[NODE_CODE_SIZE]	= { NODE_FILE, NODE_CODE, "size", .render = render_code_size },
	[NODE_CODE_ADDED]	= { NODE_FILE, NODE_CODE, "added", .render = render_code_added },
	[NODE_CODE_VATS]	= { NODE_DIR, NODE_CODE, "vats", .list = list_code_vats, .find = find_code_vat,
				    .present = code_has_vats, .upward = true },
	[NODE_CODE_VAT]		= { NODE_LINK, NODE_CODE_VATS, NULL, .link = "../../../vats/v" },

	[NODE_EVENTS]		= { NODE_FILE, NODE_ROOT, "events", .render = render_recent, .present = live_tree_only,
				    .format = FORMAT_STREAM },
	[NODE_RECENT]		= { NODE_FILE, NODE_ROOT, "recent", .render = render_recent, .present = live_tree_only,
				    .format = FORMAT_EVENTS },
	[NODE_SNAPSHOTS]	= { NODE_DIR, NODE_ROOT, "snapshot", .list = list_snapshots, .find = find_snapshot,
				    .present = live_tree_only },
	[NODE_SNAPSHOTS_TXT]	= { NODE_FILE, NODE_ROOT, "snapshot.txt", .render = render_snapshots, .present = live_tree_only,
				    .format = FORMAT_TABLE },
};

/* --- numbers ----------------------------------------------------------------------------------------------------- */

bool node_id_fits(uint64_t id)
{
	return id && id <= NODE_ID_MAX;
}

uint64_t node_ino(struct node n)
{
	assert(n.kind > 0 && n.kind < NODE_N && n.id <= NODE_ID_MAX && n.snapshot <= NODE_SNAPSHOT_MAX);
	if (n.kind == NODE_ROOT && !n.snapshot)
		return 1;
	return (uint64_t)n.kind << 56 | (uint64_t)n.snapshot << NODE_ID_BITS | n.id;
}

/* What stands at a fixed place from the root on has no number. */
static bool has_id(enum node_kind k)
{
	while (k != NODE_ROOT && rows[k].name && !rows[k].target)
		k = rows[k].parent;
	return k != NODE_ROOT;
}

bool node_from_ino(uint64_t ino, struct node *outp)
{
	struct node n = {
		(enum node_kind)(ino >> 56), (uint32_t)(ino >> NODE_ID_BITS) & NODE_SNAPSHOT_MAX, ino & NODE_ID_MAX };

	if (ino == 1)
		n = NODE_ROOT_LIVE;
	else if (n.kind < NODE_ROOT || n.kind >= NODE_N || has_id(n.kind) != (n.id > 0) || (n.kind == NODE_ROOT && !n.snapshot))
		return false;
	*outp = n;
	return true;
}

enum node_type node_type(struct node n) { return rows[n.kind].type; }
enum node_format node_format(struct node n) { return rows[n.kind].format; }
enum node_class node_class(struct node n) { return rows[n.kind].class; }

struct node node_parent(struct node n)
{
	const struct row *row = &rows[n.kind];

	assert(row->type == NODE_DIR);
	if (n.kind == NODE_ROOT)	/* a frozen tree hangs below the folder of them */
		return n.snapshot ? (struct node){ NODE_SNAPSHOTS, 0, 0 } : n;
	return (struct node){ row->parent, n.snapshot, row->name && has_id(row->parent) ? n.id : 0 };
}

int tree_link(struct view *v, struct node n, char buf[NODE_LINK_MAX], size_t *lenp)
{
	const struct row *row = &rows[n.kind];
	int len;

	assert(row->type == NODE_LINK);
	if (row->link_text) {
		int r = v ? row->link_text(v, n.id, buf) : VIEW_E_ABSENT;

		if (!r)
			*lenp = strlen(buf);
		return r;
	}
	len = snprintf(buf, NODE_LINK_MAX, "%s%llu", row->link, (unsigned long long)n.id);
	assert(len > 0 && len < NODE_LINK_MAX);
	*lenp = (size_t)len;
	return 0;
}

/* --- names ------------------------------------------------------------------------------------------------------- */

/* The row of a fixed name; NODE_N: there is none. */
static enum node_kind row_named(struct node dir, const char *name)
{
	int kind = NODE_ROOT + 1;

	while (kind < NODE_N && (rows[kind].parent != dir.kind || !rows[kind].name || strcmp(rows[kind].name, name)))
		kind++;
	return (enum node_kind)kind;
}

bool tree_find_fixed(struct node dir, const char *name, struct node *outp)
{
	enum node_kind kind = row_named(dir, name);

	if (kind == NODE_N || rows[kind].target)
		return false;
	if (rows[kind].present && (rows[kind].present != live_tree_only || dir.snapshot))
		return false;
	*outp = (struct node){ kind, dir.snapshot, dir.id };
	return true;
}

/* The node of a row with a name, if that is there. */
static int named_node(struct view *v, struct node dir, enum node_kind kind, struct node *outp)
{
	struct node n = { kind, dir.snapshot, dir.id };
	int r = 0;

	if (rows[kind].upward && dir.snapshot)
		return VIEW_E_ABSENT;
	if (rows[kind].target)
		r = rows[kind].target(v, dir.id, &n.id);
	else if (rows[kind].present)
		r = rows[kind].present(v, dir.id);
	if (!r && !node_id_fits(n.id) && has_id(kind))
		r = VIEW_E_ABSENT;
	if (!r)
		*outp = n;
	return r;
}

int tree_find(struct view *v, struct node dir, const char *name, struct node *outp)
{
	enum node_kind kind = row_named(dir, name);
	int r;

	assert(rows[dir.kind].type == NODE_DIR);
	if (kind != NODE_N)
		return named_node(v, dir, kind, outp);
	if (!rows[dir.kind].find || strlen(name) > NODE_NAME_MAX)
		return VIEW_E_ABSENT;
	r = rows[dir.kind].find(v, dir.id, name, outp);
	if (!r && dir.kind != NODE_SNAPSHOTS)	/* whose entries are the roots of other trees */
		outp->snapshot = dir.snapshot;
	return r;
}

/* Up to the root everything must be there. */
int tree_exists(struct view *v, struct node n)
{
	const struct row *row = &rows[n.kind];

	for (; n.kind != NODE_ROOT; row = &rows[n.kind]) {
		int r = row->present ? row->present(v, n.id) : 0;

		if (r)
			return r;
		n = (struct node){ row->parent, n.snapshot, has_id(row->parent) && row->name ? n.id : 0 };
		if (has_id(n.kind) && !n.id)	/* below something that it does not know the number of */
			return 0;
	}
	return 0;
}

/* --- directories -------------------------------------------------------------------------------------------------- */

void cursor_rewind(struct cursor *c)
{
	*c = (struct cursor){ .take = c->take, .ctx = c->ctx };
}

/* The i-th of ".", "..", the names of the table. False: there are not so many. VIEW_E_ABSENT in *rp: not this one now. */
static bool fixed_entry(struct view *v, struct node dir, unsigned int i, struct node *outp, const char **namep, int *rp)
{
	unsigned int at = 1;

	*rp = 0;
	*namep = i ? ".." : ".";
	*outp = i ? node_parent(dir) : dir;
	if (i <= 1)
		return true;
	for (int kind = NODE_ROOT + 1; kind < NODE_N; kind++) {
		if (rows[kind].parent != dir.kind || !rows[kind].name || ++at != i)
			continue;
		*namep = rows[kind].name;
		*rp = named_node(v, dir, (enum node_kind)kind, outp);
		return true;
	}
	return false;
}

int tree_list(struct view *v, struct node dir, struct cursor *c)
{
	struct node n;
	const char *name;
	int r = tree_exists(v, dir);

	assert(rows[dir.kind].type == NODE_DIR);
	if (r)
		return r;
	c->snapshot = dir.snapshot;
	for (; !c->fixed_over && fixed_entry(v, dir, c->fixed, &n, &name, &r); c->fixed++) {
		if (r < 0)
			return r;
		if (!r && !c->take(c->ctx, n, name))
			return 0;
	}
	c->fixed_over = true;
	c->end = true;		/* a cursor that has no room takes it back */
	return rows[dir.kind].list ? rows[dir.kind].list(v, dir.id, c) : 0;
}

void cursor_scan(const struct cursor *c, struct scan *s)
{
	if (!c->key_len)
		return;
	memcpy(s->last, c->key, c->key_len);
	s->last_len = c->key_len;
	s->started = true;
}

bool cursor_take(struct cursor *c, const struct scan *s, enum node_kind kind, uint64_t id, const char *name)
{
	if (!c->take(c->ctx, (struct node){ kind, c->snapshot, id }, name)) {
		c->end = false;
		return false;
	}
	memcpy(c->key, s->key, s->key_len);
	c->key_len = s->key_len;
	return true;
}

/* --- files --------------------------------------------------------------------------------------------------------- */

int tree_render(struct view *v, struct node file, struct text *t)
{
	int r;

	assert(rows[file.kind].type == NODE_FILE);
	view_begin_text(v, t);
	r = rows[file.kind].render(v, file.id, t);
	view_end_text(v);
	text_end(t);
	return r;
}

int tree_size(struct view *v, struct node file, uint64_t *sizep, uint64_t *mtime_usp)
{
	*sizep = *mtime_usp = 0;
	return node_format(file) == FORMAT_LOG ? render_log_size(v, file.id, sizep, mtime_usp) : 0;
}
