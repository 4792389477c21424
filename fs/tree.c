/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of the tree, and how names and inode numbers become rows of it.
 */
#include "tree.h"

static int no_rows(struct view *v, uint64_t id, struct listing *l);
static int list_objects(struct view *v, uint64_t id, struct listing *l);
static int list_promises(struct view *v, uint64_t id, struct listing *l);
static int list_vats(struct view *v, uint64_t id, struct listing *l);
static int list_vat(struct view *v, uint64_t id, struct listing *l);
static int list_clist(struct view *v, uint64_t id, struct listing *l);
static int list_subclusters(struct view *v, uint64_t id, struct listing *l);
static int list_subcluster(struct view *v, uint64_t id, struct listing *l);
static int list_members(struct view *v, uint64_t id, struct listing *l);
static int list_services(struct view *v, uint64_t id, struct listing *l);
static int find_object(struct view *v, uint64_t id, const char *name, struct node *outp);
static int find_promise(struct view *v, uint64_t id, const char *name, struct node *outp);
static int find_vat(struct view *v, uint64_t id, const char *name, struct node *outp);
static int find_clist(struct view *v, uint64_t id, const char *name, struct node *outp);
static int find_subcluster(struct view *v, uint64_t id, const char *name, struct node *outp);
static int find_in_subcluster(struct view *v, uint64_t id, const char *name, struct node *outp);
static int find_member(struct view *v, uint64_t id, const char *name, struct node *outp);
static int find_service(struct view *v, uint64_t id, const char *name, struct node *outp);

struct row {
	enum node_type type;
	enum node_kind parent;
	const char *name;	/* under its parent, with the parent's id; NULL: named by the parent's list and find */
	/* directories: the entries that depend on the store; list also says whether the directory is there at all */
	int (*list)(struct view *v, uint64_t id, struct listing *l);
	int (*find)(struct view *v, uint64_t id, const char *name, struct node *outp);
	render_fn render;	/* files */
	const char *link;	/* links: their text, to be followed by the id */
};

/* Fixed names are listed in the order of this table. */
static const struct row rows[NODE_N] = {
	[NODE_ROOT]		= { NODE_DIR, NODE_ROOT, "", .list = no_rows },
	[NODE_STATUS]		= { NODE_FILE, NODE_ROOT, "status", .render = render_status },
	[NODE_VERSION]		= { NODE_FILE, NODE_ROOT, "version", .render = render_version },
	[NODE_RUNQUEUE]		= { NODE_FILE, NODE_ROOT, "runqueue", .render = render_runqueue },
	[NODE_HOLDS]		= { NODE_FILE, NODE_ROOT, "holds", .render = render_holds },

	[NODE_OBJECTS]		= { NODE_DIR, NODE_ROOT, "objects", .list = list_objects, .find = find_object },
	[NODE_OBJECT]		= { NODE_FILE, NODE_OBJECTS, NULL, .render = render_object },
	[NODE_PROMISES]		= { NODE_DIR, NODE_ROOT, "promises", .list = list_promises, .find = find_promise },
	[NODE_PROMISE]		= { NODE_FILE, NODE_PROMISES, NULL, .render = render_promise },

	[NODE_VATS]		= { NODE_DIR, NODE_ROOT, "vats", .list = list_vats, .find = find_vat },
	[NODE_VAT]		= { NODE_DIR, NODE_VATS, NULL, .list = list_vat },
	[NODE_VAT_NAME]		= { NODE_FILE, NODE_VAT, "name", .render = render_vat_name },
	[NODE_VAT_CONFIG]	= { NODE_FILE, NODE_VAT, "config", .render = render_vat_config },
	[NODE_VAT_PARAMETERS]	= { NODE_FILE, NODE_VAT, "parameters", .render = render_vat_parameters },
	[NODE_VAT_STATUS]	= { NODE_FILE, NODE_VAT, "status", .render = render_vat_status },
	[NODE_VAT_UID]		= { NODE_FILE, NODE_VAT, "uid", .render = render_vat_uid },
	[NODE_VAT_PID]		= { NODE_FILE, NODE_VAT, "pid", .render = render_vat_pid },
	[NODE_VAT_INCARNATION]	= { NODE_FILE, NODE_VAT, "incarnation", .render = render_vat_incarnation },
	[NODE_VAT_ISOLATION]	= { NODE_FILE, NODE_VAT, "isolation", .render = render_vat_isolation },
	[NODE_VAT_REASON]	= { NODE_FILE, NODE_VAT, "reason", .render = render_vat_reason },
	[NODE_VAT_USAGE]	= { NODE_FILE, NODE_VAT, "usage", .render = render_vat_usage },
	[NODE_VAT_CLIST]	= { NODE_DIR, NODE_VAT, "clist", .list = list_clist, .find = find_clist },
	[NODE_VAT_CLIST_TXT]	= { NODE_FILE, NODE_VAT, "clist.txt", .render = render_vat_clist },
	[NODE_VAT_QUEUE]	= { NODE_FILE, NODE_VAT, "queue", .render = render_vat_queue },
	[NODE_VAT_VATSTORE]	= { NODE_FILE, NODE_VAT, "vatstore", .render = render_vat_vatstore },
	[NODE_VAT_BAGGAGE]	= { NODE_FILE, NODE_VAT, "baggage", .render = render_vat_baggage },
	[NODE_VAT_STATE]	= { NODE_FILE, NODE_VAT, "state", .render = render_vat_state },
	[NODE_VAT_DECIDES]	= { NODE_FILE, NODE_VAT, "decides", .render = render_vat_decides },
	[NODE_VAT_LOG]		= { NODE_FILE, NODE_VAT, "log", .render = render_vat_log },
	[NODE_CLIST_OBJECT]	= { NODE_LINK, NODE_VAT_CLIST, NULL, .link = "../../../objects/ko" },
	[NODE_CLIST_PROMISE]	= { NODE_LINK, NODE_VAT_CLIST, NULL, .link = "../../../promises/kp" },

	[NODE_SUBCLUSTERS]	= { NODE_DIR, NODE_ROOT, "subclusters", .list = list_subclusters, .find = find_subcluster },
	[NODE_SUBCLUSTER]	= { NODE_DIR, NODE_SUBCLUSTERS, NULL, .list = list_subcluster, .find = find_in_subcluster },
	[NODE_SUB_CONFIG]	= { NODE_FILE, NODE_SUBCLUSTER, "config", .render = render_sub_config },
	[NODE_SUB_STATUS]	= { NODE_FILE, NODE_SUBCLUSTER, "status", .render = render_sub_status },
	[NODE_SUB_CREATED]	= { NODE_FILE, NODE_SUBCLUSTER, "created", .render = render_sub_created },
	[NODE_SUB_NAME]		= { NODE_FILE, NODE_SUBCLUSTER, "name", .render = render_sub_name },
	[NODE_SUB_VATS]		= { NODE_DIR, NODE_SUBCLUSTER, "vats", .list = list_members, .find = find_member },
	[NODE_SUB_ROOT]		= { NODE_LINK, NODE_SUBCLUSTER, NULL, .link = "../../objects/ko" },
	[NODE_MEMBER]		= { NODE_LINK, NODE_SUB_VATS, NULL, .link = "../../../vats/v" },

	[NODE_SERVICES]		= { NODE_DIR, NODE_ROOT, "services", .list = list_services, .find = find_service },
	[NODE_SERVICE]		= { NODE_LINK, NODE_SERVICES, NULL, .link = "../objects/ko" },
};

uint64_t node_ino(struct node n)
{
	assert(n.kind > 0 && n.kind < NODE_N && n.id <= NODE_ID_MAX);
	return n.kind == NODE_ROOT ? 1 : (uint64_t)n.kind << 56 | n.id;
}

/* Fixed names directly under the root, and what is named below them, have no number but their own. */
static bool has_id(enum node_kind k)
{
	return rows[k].parent != NODE_ROOT;
}

bool node_from_ino(uint64_t ino, struct node *outp)
{
	enum node_kind kind = (enum node_kind)(ino >> 56);
	uint64_t id = ino & NODE_ID_MAX;

	if (ino == 1) {
		*outp = (struct node){ NODE_ROOT, 0 };
		return true;
	}
	if (kind <= NODE_ROOT || kind >= NODE_N || has_id(kind) != (id > 0))
		return false;
	*outp = (struct node){ kind, id };
	return true;
}

enum node_type node_type(struct node n)
{
	return rows[n.kind].type;
}

struct node node_parent(struct node n)
{
	const struct row *row = &rows[n.kind];

	assert(row->type == NODE_DIR);
	return (struct node){ row->parent, row->name && has_id(row->parent) ? n.id : 0 };
}

size_t node_link(struct node n, char buf[NODE_LINK_MAX])
{
	int len;

	assert(rows[n.kind].type == NODE_LINK);
	len = snprintf(buf, NODE_LINK_MAX, "%s%llu", rows[n.kind].link, (unsigned long long)n.id);
	assert(len > 0 && len < NODE_LINK_MAX);
	return (size_t)len;
}

void listing_deinit(struct listing *l)
{
	free(l->entries);
	text_deinit(&l->names);
	*l = (struct listing)LISTING_INIT(l->max);
}

void listing_reset(struct listing *l)
{
	l->n = 0;
	text_reset(&l->names);
	l->full = l->failed = false;
}

size_t listing_bytes(const struct listing *l)
{
	return l->size * sizeof(*l->entries) + l->names.size;
}

static void listing_add(struct listing *l, struct node n, const char *name)
{
	if (l->full || l->failed)
		return;
	if (l->n == l->size) {
		size_t size = l->size ? l->size * 2 : 32;
		struct listing_entry *entries;

		if (size * sizeof(*entries) + l->names.len > l->max) {
			l->full = true;
			return;
		}
		entries = realloc(l->entries, size * sizeof(*entries));
		if (!entries) {
			l->failed = true;
			return;
		}
		l->entries = entries;
		l->size = size;
	}
	l->entries[l->n++] = (struct listing_entry){ node_ino(n), (uint32_t)l->names.len, node_type(n) };
	text_add(&l->names, name, strlen(name) + 1);
	l->failed = l->names.failed;
	l->full = l->names.cut;
}

bool tree_find_fixed(struct node dir, const char *name, struct node *outp)
{
	for (int kind = NODE_ROOT + 1; kind < NODE_N; kind++) {
		if (rows[kind].parent != dir.kind || !rows[kind].name || strcmp(rows[kind].name, name))
			continue;
		*outp = (struct node){ (enum node_kind)kind, dir.id };
		return true;
	}
	return false;
}

int tree_find(struct view *v, struct node dir, const char *name, struct node *outp)
{
	assert(rows[dir.kind].type == NODE_DIR);
	if (tree_find_fixed(dir, name, outp))
		return 0;
	if (!rows[dir.kind].find || strlen(name) > NODE_NAME_MAX)
		return VIEW_E_ABSENT;
	return rows[dir.kind].find(v, dir.id, name, outp);
}

int tree_list(struct view *v, struct node dir, struct listing *l)
{
	assert(rows[dir.kind].type == NODE_DIR);
	listing_add(l, dir, ".");
	listing_add(l, node_parent(dir), "..");
	for (int kind = NODE_ROOT + 1; kind < NODE_N; kind++)
		if (rows[kind].parent == dir.kind && rows[kind].name)
			listing_add(l, (struct node){ (enum node_kind)kind, dir.id }, rows[kind].name);
	return rows[dir.kind].list(v, dir.id, l);
}

int tree_render(struct view *v, struct node file, struct text *t)
{
	int r;

	assert(rows[file.kind].type == NODE_FILE);
	r = rows[file.kind].render(v, file.id, t);
	text_end(t);
	return r;
}

/* --- the parts that depend on the store ------------------------------------------------------------------------ */

static int no_rows(struct view *v, uint64_t id, struct listing *l)
{
	(void)v;
	(void)id;
	(void)l;
	return 0;
}

/* One entry for each row of a table with u64 keys: `letters` and the number. */
static int list_numbers(struct view *v, struct listing *l, enum table table, enum node_kind kind, const char *letters)
{
	char name[NODE_LINK_MAX];
	struct scan s;
	uint64_t key;
	int r = 0;

	scan_begin(&s, v, table, NULL, 0);
	while (!l->full && !l->failed && !(r = scan_next(&s))) {
		if (!scan_id(&s, 1, &key) || !(key & REF_NUMBER_MASK) || (key & REF_NUMBER_MASK) > NODE_ID_MAX)
			continue;
		snprintf(name, sizeof(name), "%s%llu", letters, (unsigned long long)(key & REF_NUMBER_MASK));
		listing_add(l, (struct node){ kind, key & REF_NUMBER_MASK }, name);
	}
	return r < 0 ? r : 0;
}

/* ABSENT unless the table has that row. */
static int exists(struct view *v, enum table table, uint64_t id)
{
	const void *val;
	uint8_t key[8];
	size_t len;

	return view_get(v, table, key, key_u64(key, id), &val, &len);
}

static int find_number(struct view *v, enum table table, uint64_t key, enum node_kind kind, struct node *outp)
{
	uint64_t number = key & REF_NUMBER_MASK;
	int r;

	if (!number || number > NODE_ID_MAX)
		return VIEW_E_ABSENT;
	r = exists(v, table, key);
	if (!r)
		*outp = (struct node){ kind, number };
	return r;
}

static int list_objects(struct view *v, uint64_t id, struct listing *l)
{
	(void)id;
	return list_numbers(v, l, T_OBJECT, NODE_OBJECT, "ko");
}

static int find_object(struct view *v, uint64_t id, const char *name, struct node *outp)
{
	kref_t ref;

	(void)id;
	if (!kref_parse(name, strlen(name), &ref) || kref_is_promise(ref))
		return VIEW_E_ABSENT;
	return find_number(v, T_OBJECT, ref.bits, NODE_OBJECT, outp);
}

static int list_promises(struct view *v, uint64_t id, struct listing *l)
{
	(void)id;
	return list_numbers(v, l, T_PROMISE, NODE_PROMISE, "kp");
}

static int find_promise(struct view *v, uint64_t id, const char *name, struct node *outp)
{
	kref_t ref;

	(void)id;
	if (!kref_parse(name, strlen(name), &ref) || !kref_is_promise(ref))
		return VIEW_E_ABSENT;
	return find_number(v, T_PROMISE, ref.bits, NODE_PROMISE, outp);
}

static int list_vats(struct view *v, uint64_t id, struct listing *l)
{
	(void)id;
	return list_numbers(v, l, T_VAT, NODE_VAT, "v");
}

static int find_vat(struct view *v, uint64_t id, const char *name, struct node *outp)
{
	uint64_t vat;

	(void)id;
	if (!id_parse('v', name, strlen(name), &vat))
		return VIEW_E_ABSENT;
	return find_number(v, T_VAT, vat, NODE_VAT, outp);
}

static int list_vat(struct view *v, uint64_t id, struct listing *l)
{
	(void)l;
	return exists(v, T_VAT, id);
}

static int list_subclusters(struct view *v, uint64_t id, struct listing *l)
{
	(void)id;
	return list_numbers(v, l, T_SUBCLUSTER, NODE_SUBCLUSTER, "s");
}

static int find_subcluster(struct view *v, uint64_t id, const char *name, struct node *outp)
{
	uint64_t subcluster;

	(void)id;
	if (!id_parse('s', name, strlen(name), &subcluster))
		return VIEW_E_ABSENT;
	return find_number(v, T_SUBCLUSTER, subcluster, NODE_SUBCLUSTER, outp);
}

/* A link to what a clist names; false for a reference that no kernel gave out. */
static bool clist_node(kref_t ref, struct node *outp)
{
	uint64_t number = kref_number(ref);

	if (!number || number > NODE_ID_MAX)
		return false;
	*outp = (struct node){ kref_is_promise(ref) ? NODE_CLIST_PROMISE : NODE_CLIST_OBJECT, number };
	return true;
}

static int list_clist(struct view *v, uint64_t id, struct listing *l)
{
	char name[REF_TEXT_MAX];
	struct row_clist row;
	struct node node;
	struct scan s;
	uint64_t eref;
	int r;

	r = exists(v, T_VAT, id);
	if (r)
		return r;
	scan_begin_u64(&s, v, T_EREF, endpoint_vat(id).bits);
	while (!l->full && !l->failed && !(r = scan_next(&s))) {
		if (!scan_id(&s, 2, &eref) || !row_clist_read(s.val, s.len, &row) ||
		    !clist_node((kref_t){ row.ref }, &node))
			continue;
		listing_add(l, node, vref_format((vref_t){ eref }, name));
	}
	return r < 0 ? r : 0;
}

static int find_clist(struct view *v, uint64_t id, const char *name, struct node *outp)
{
	uint32_t flags;
	vref_t vref;
	kref_t ref;
	int r;

	if (!vref_parse(name, strlen(name), &vref))
		return VIEW_E_ABSENT;
	r = view_kref(v, endpoint_vat(id), vref, &ref, &flags);
	if (r)
		return r;
	return clist_node(ref, outp) ? 0 : VIEW_E_ABSENT;
}

/* The link `root`; ABSENT before the bootstrap vat has one. */
static int sub_root(struct view *v, uint64_t id, struct node *outp)
{
	struct row_subcluster row;
	int r = view_subcluster(v, id, &row);

	if (r)
		return r;
	if (!row.root || row.root > NODE_ID_MAX)
		return VIEW_E_ABSENT;
	*outp = (struct node){ NODE_SUB_ROOT, row.root };
	return 0;
}

static int list_subcluster(struct view *v, uint64_t id, struct listing *l)
{
	struct node node;
	int r = exists(v, T_SUBCLUSTER, id);

	if (r)
		return r;
	r = sub_root(v, id, &node);
	if (!r)
		listing_add(l, node, "root");
	return r < 0 ? r : 0;
}

static int find_in_subcluster(struct view *v, uint64_t id, const char *name, struct node *outp)
{
	return strcmp(name, "root") ? VIEW_E_ABSENT : sub_root(v, id, outp);
}

/*
 * Names of members and services were checked when they came in. They are looked at again, because a file's name is the
 * one thing here that cannot be escaped.
 */
static bool name_from_row(const void *data, size_t len, char name[NODE_NAME_MAX + 1])
{
	const unsigned char *p = data;

	if (!len || len > NODE_NAME_MAX)
		return false;
	for (size_t i = 0; i < len; i++)
		if (p[i] <= 0x20 || p[i] >= 0x7f || p[i] == '/')
			return false;
	memcpy(name, data, len);
	name[len] = '\0';
	return strcmp(name, ".") && strcmp(name, "..");
}

static bool member_at(const struct scan *s, struct node *outp, char name[NODE_NAME_MAX + 1])
{
	uint64_t vat;

	if (!scan_id(s, 2, &vat) || !vat || vat > NODE_ID_MAX || !name_from_row(s->val, s->len, name))
		return false;
	*outp = (struct node){ NODE_MEMBER, vat };
	return true;
}

static int list_members(struct view *v, uint64_t id, struct listing *l)
{
	char name[NODE_NAME_MAX + 1];
	struct node node;
	struct scan s;
	int r = exists(v, T_SUBCLUSTER, id);

	if (r)
		return r;
	scan_begin_u64(&s, v, T_MEMBER, id);
	while (!l->full && !l->failed && !(r = scan_next(&s)))
		if (member_at(&s, &node, name))
			listing_add(l, node, name);
	return r < 0 ? r : 0;
}

static int find_member(struct view *v, uint64_t id, const char *name, struct node *outp)
{
	char row_name[NODE_NAME_MAX + 1];
	struct node node;
	struct scan s;
	int r;

	scan_begin_u64(&s, v, T_MEMBER, id);	/* at most CONFIG_MAX_VATS of them */
	while (!(r = scan_next(&s))) {
		if (!member_at(&s, &node, row_name) || strcmp(row_name, name))
			continue;
		*outp = node;
		return 0;
	}
	return r < 0 ? r : VIEW_E_ABSENT;
}

static bool service_node(const void *val, size_t len, struct node *outp)
{
	struct row_service row;

	if (len != sizeof(row))
		return false;
	memcpy(&row, val, sizeof(row));
	if (!row.kref || row.kref > NODE_ID_MAX)
		return false;
	*outp = (struct node){ NODE_SERVICE, row.kref };
	return true;
}

static int list_services(struct view *v, uint64_t id, struct listing *l)
{
	char name[NODE_NAME_MAX + 1];
	struct node node;
	struct scan s;
	int r = 0;

	(void)id;
	scan_begin(&s, v, T_SERVICE, NULL, 0);
	while (!l->full && !l->failed && !(r = scan_next(&s)))
		if (name_from_row(s.key, s.key_len, name) && service_node(s.val, s.len, &node))
			listing_add(l, node, name);
	return r < 0 ? r : 0;
}

static int find_service(struct view *v, uint64_t id, const char *name, struct node *outp)
{
	char checked[NODE_NAME_MAX + 1];
	const void *val;
	size_t len;
	int r;

	(void)id;
	if (!name_from_row(name, strlen(name), checked))
		return VIEW_E_ABSENT;
	r = view_get(v, T_SERVICE, name, strlen(name), &val, &len);
	if (r)
		return r;
	return service_node(val, len, outp) ? 0 : VIEW_E_ABSENT;
}
