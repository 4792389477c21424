/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The entries of directories that depend on the store: see tree_rows.h.
 */
#include "tree_rows.h"

/* One entry for each row of a table with u64 keys: `letters` and the number. */
static int list_numbers(struct view *v, struct cursor *c, enum table table, enum node_kind kind, const char *letters)
{
	struct scan s;
	uint64_t key;
	int r;

	scan_begin(&s, v, table, NULL, 0);
	cursor_scan(c, &s);
	while (!(r = scan_next(&s))) {
		char name[32];

		if (!scan_id(&s, 1, &key) || !node_id_fits(key & REF_NUMBER_MASK))
			continue;
		snprintf(name, sizeof(name), "%s%llu", letters, (unsigned long long)(key & REF_NUMBER_MASK));
		if (!cursor_take(c, &s, kind, key & REF_NUMBER_MASK, name))
			return 0;
	}
	return r < 0 ? r : 0;
}

int row_exists(struct view *v, enum table table, uint64_t key)
{
	const void *val;
	uint8_t k[8];
	size_t len;

	return view_get(v, table, k, key_u64(k, key), &val, &len);
}

static int find_number(struct view *v, enum table table, uint64_t key, enum node_kind kind, struct node *outp)
{
	uint64_t number = key & REF_NUMBER_MASK;
	int r;

	if (!node_id_fits(number))
		return VIEW_E_ABSENT;
	r = row_exists(v, table, key);
	if (!r)
		*outp = (struct node){ kind, 0, number };
	return r;
}

int list_objects(struct view *v, uint64_t id, struct cursor *c)
{
	(void)id;
	return list_numbers(v, c, T_OBJECT, NODE_OBJECT, "ko");
}

int find_object(struct view *v, uint64_t id, const char *name, struct node *outp)
{
	kref_t ref;

	(void)id;
	if (!kref_parse(name, strlen(name), &ref) || kref_is_promise(ref))
		return VIEW_E_ABSENT;
	return find_number(v, T_OBJECT, ref.bits, NODE_OBJECT, outp);
}

int list_promises(struct view *v, uint64_t id, struct cursor *c)
{
	(void)id;
	return list_numbers(v, c, T_PROMISE, NODE_PROMISE, "kp");
}

int find_promise(struct view *v, uint64_t id, const char *name, struct node *outp)
{
	kref_t ref;

	(void)id;
	if (!kref_parse(name, strlen(name), &ref) || !kref_is_promise(ref))
		return VIEW_E_ABSENT;
	return find_number(v, T_PROMISE, ref.bits, NODE_PROMISE, outp);
}

int list_vats(struct view *v, uint64_t id, struct cursor *c)
{
	(void)id;
	return list_numbers(v, c, T_VAT, NODE_VAT, "v");
}

int find_vat(struct view *v, uint64_t id, const char *name, struct node *outp)
{
	uint64_t vat;

	(void)id;
	if (!id_parse('v', name, strlen(name), &vat))
		return VIEW_E_ABSENT;
	return find_number(v, T_VAT, vat, NODE_VAT, outp);
}

int list_subclusters(struct view *v, uint64_t id, struct cursor *c)
{
	(void)id;
	return list_numbers(v, c, T_SUBCLUSTER, NODE_SUBCLUSTER, "s");
}

int find_subcluster(struct view *v, uint64_t id, const char *name, struct node *outp)
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

	if (!node_id_fits(number))
		return false;
	*outp = (struct node){ kref_is_promise(ref) ? NODE_CLIST_PROMISE : NODE_CLIST_OBJECT, 0, number };
	return true;
}

int list_clist(struct view *v, uint64_t id, struct cursor *c)
{
	char name[REF_TEXT_MAX];
	struct row_clist row;
	struct node node;
	struct scan s;
	uint64_t eref;
	int r;

	scan_begin_u64(&s, v, T_EREF, endpoint_vat(id).bits);
	cursor_scan(c, &s);
	while (!(r = scan_next(&s))) {
		if (!scan_id(&s, 2, &eref) || !row_clist_read(s.val, s.len, &row) ||
		    !clist_node((kref_t){ row.ref }, &node))
			continue;
		if (!cursor_take(c, &s, node.kind, node.id, vref_format((vref_t){ eref }, name)))
			return 0;
	}
	return r < 0 ? r : 0;
}

int find_clist(struct view *v, uint64_t id, const char *name, struct node *outp)
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

/* ABSENT before the bootstrap vat has one. */
/* It may go before its subcluster, when that is ended. */
int subcluster_root(struct view *v, uint64_t id, uint64_t *numberp)
{
	struct row_subcluster row;
	int r = view_subcluster(v, id, &row);

	if (r)
		return r;
	*numberp = row.root;
	return row.root ? row_exists(v, T_OBJECT, ko(row.root).bits) : VIEW_E_ABSENT;
}

int object_present(struct view *v, uint64_t id) { return row_exists(v, T_OBJECT, ko(id).bits); }
int promise_present(struct view *v, uint64_t id) { return row_exists(v, T_PROMISE, kp(id).bits); }
int vat_present(struct view *v, uint64_t id) { return row_exists(v, T_VAT, id); }
int subcluster_present(struct view *v, uint64_t id) { return row_exists(v, T_SUBCLUSTER, id); }

/* Frozen trees have none of these. */
int live_tree_only(struct view *v, uint64_t id)
{
	(void)id;
	return v->snapshot ? VIEW_E_ABSENT : 0;
}

/*
 * Names of members and services were checked when they came in. They are looked at again, because a file's name is the
 * one thing here that cannot be escaped.
 */
bool name_from_row(const void *data, size_t len, char name[NODE_NAME_MAX + 1])
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

	if (!scan_id(s, 2, &vat) || !node_id_fits(vat) || !name_from_row(s->val, s->len, name))
		return false;
	*outp = (struct node){ NODE_MEMBER, 0, vat };
	return true;
}

int list_members(struct view *v, uint64_t id, struct cursor *c)
{
	char name[NODE_NAME_MAX + 1];
	struct node node;
	struct scan s;
	int r;

	scan_begin_u64(&s, v, T_MEMBER, id);
	cursor_scan(c, &s);
	while (!(r = scan_next(&s)))
		if (member_at(&s, &node, name) && !cursor_take(c, &s, node.kind, node.id, name))
			return 0;
	return r < 0 ? r : 0;
}

int find_member(struct view *v, uint64_t id, const char *name, struct node *outp)
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
	if (!node_id_fits(row.kref))
		return false;
	*outp = (struct node){ NODE_SERVICE, 0, row.kref };
	return true;
}

int list_services(struct view *v, uint64_t id, struct cursor *c)
{
	char name[NODE_NAME_MAX + 1];
	struct node node;
	struct scan s;
	int r;

	(void)id;
	scan_begin(&s, v, T_SERVICE, NULL, 0);
	cursor_scan(c, &s);
	while (!(r = scan_next(&s)))
		if (name_from_row(s.key, s.key_len, name) && service_node(s.val, s.len, &node) &&
		    !cursor_take(c, &s, node.kind, node.id, name))
			return 0;
	return r < 0 ? r : 0;
}

int find_service(struct view *v, uint64_t id, const char *name, struct node *outp)
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
