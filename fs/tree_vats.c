/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Entries of the directories of vats, subclusters and programs: what is there at the moment, and where links lead.
 */
#include "tree_rows.h"

/* Has the table any row whose key begins so? */
static int any_row(struct view *v, enum table table, const void *prefix, size_t len)
{
	struct scan s;
	int r;

	scan_begin(&s, v, table, prefix, len);
	r = scan_next(&s);
	return r < 0 ? r : r ? VIEW_E_ABSENT : 0;
}

static int any_row_of(struct view *v, enum table table, uint64_t id)
{
	uint8_t key[8];

	return any_row(v, table, key, key_u64(key, id));
}

/* --- one vat ----------------------------------------------------------------------------------------------------- */

int vat_subcluster(struct view *v, uint64_t id, uint64_t *numberp)
{
	struct row_vat row;
	int r = view_vat(v, id, &row);

	if (r)
		return r;
	*numberp = row.subcluster;
	return row_exists(v, T_SUBCLUSTER, row.subcluster);
}

int vat_code(struct view *v, uint64_t id, uint64_t *numberp)
{
	struct row_vat row;
	struct code code;
	int r = view_vat(v, id, &row);

	if (!r)
		r = code_by_hash(v, row.code, &code);
	if (!r)
		*numberp = code.row.number;
	return r;
}

/* ABSENT before it has exported its root: nobody has it. */
int vat_root(struct view *v, uint64_t id, uint64_t *numberp)
{
	uint32_t flags;
	kref_t ref;
	int r = view_kref(v, endpoint_vat(id), VREF_ROOT, &ref, &flags);

	if (r)
		return r;
	if (kref_is_promise(ref))
		return VIEW_E_DAMAGED;
	*numberp = kref_number(ref);
	return row_exists(v, T_OBJECT, ref.bits);
}

int vat_has_reason(struct view *v, uint64_t id)
{
	struct row_vat row;
	int r = view_vat(v, id, &row);

	return r ? r : row.reason[0] ? 0 : VIEW_E_ABSENT;
}

int vat_has_parameters(struct view *v, uint64_t id) { return row_exists(v, T_VAT_PARAM, id); }
int vat_has_deaths(struct view *v, uint64_t id) { return any_row_of(v, T_DEATH, id); }
int vat_has_charges(struct view *v, uint64_t id) { return any_row_of(v, T_CHARGE, endpoint_vat(id).bits); }

/* --- programs ---------------------------------------------------------------------------------------------------- */

static bool parse_hex(const char *text, uint8_t hash[CODE_HASH])
{
	if (strlen(text) != CODE_HEX)
		return false;
	for (size_t i = 0; i < CODE_HEX; i++) {
		char c = text[i];

		if (!(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'f'))
			return false;
		hash[i / 2] = (uint8_t)(hash[i / 2] << 4 | (c <= '9' ? c - '0' : c - 'a' + 10));
	}
	return true;
}

int list_codes(struct view *v, uint64_t id, struct cursor *c)
{
	char name[CODE_HEX + 1];
	struct code code;
	struct scan s;
	int r;

	(void)id;
	scan_begin(&s, v, T_CODE, NULL, 0);
	cursor_scan(c, &s);
	while (!(r = code_next(&s, &code))) {
		if (!node_id_fits(code.row.number))
			continue;
		code_hex(code.hash, name);
		if (!cursor_take(c, &s, NODE_CODE, code.row.number, name))
			return 0;
	}
	return r < 0 ? r : 0;
}

int find_code(struct view *v, uint64_t id, const char *name, struct node *outp)
{
	uint8_t hash[CODE_HASH];
	struct code code;
	int r;

	(void)id;
	if (!parse_hex(name, hash))
		return VIEW_E_ABSENT;
	r = code_by_hash(v, hash, &code);
	if (r)
		return r;
	*outp = (struct node){ NODE_CODE, 0, code.row.number };
	return node_id_fits(code.row.number) ? 0 : VIEW_E_ABSENT;
}

int code_present(struct view *v, uint64_t id)
{
	struct code code;

	return code_find(v, id, &code);
}

int code_link(struct view *v, uint64_t id, char buf[NODE_LINK_MAX])
{
	char hex[CODE_HEX + 1];
	struct code code;
	int r = code_find(v, id, &code);

	if (r)
		return r;
	code_hex(code.hash, hex);
	snprintf(buf, NODE_LINK_MAX, "../../code/%s", hex);
	return 0;
}

int code_has_vats(struct view *v, uint64_t id)
{
	struct code code;
	struct scan s;
	uint64_t vat;
	int r = code_find(v, id, &code);

	if (r)
		return r;
	scan_begin(&s, v, T_VAT, NULL, 0);
	r = code_next_vat(&s, &code, &vat);
	return r < 0 ? r : r ? VIEW_E_ABSENT : 0;
}

int list_code_vats(struct view *v, uint64_t id, struct cursor *c)
{
	struct code code;
	char name[32];
	struct scan s;
	uint64_t vat;
	int r = code_find(v, id, &code);

	if (r)
		return r;
	scan_begin(&s, v, T_VAT, NULL, 0);
	cursor_scan(c, &s);
	while (!(r = code_next_vat(&s, &code, &vat))) {
		if (!node_id_fits(vat))
			continue;
		snprintf(name, sizeof(name), "v%llu", (unsigned long long)vat);
		if (!cursor_take(c, &s, NODE_CODE_VAT, vat, name))
			return 0;
	}
	return r < 0 ? r : 0;
}

int find_code_vat(struct view *v, uint64_t id, const char *name, struct node *outp)
{
	struct row_vat row;
	struct code code;
	uint64_t vat;
	bool has;
	int r;

	if (!id_parse('v', name, strlen(name), &vat) || !node_id_fits(vat))
		return VIEW_E_ABSENT;
	r = code_find(v, id, &code);
	if (!r)
		r = view_vat(v, vat, &row);
	if (!r)
		r = code_is_had(v, &code, vat, &row, &has);
	if (r)
		return r;
	*outp = (struct node){ NODE_CODE_VAT, 0, vat };
	return has ? 0 : VIEW_E_ABSENT;
}

/* --- subclusters ------------------------------------------------------------------------------------------------- */

int subcluster_bootstrap(struct view *v, uint64_t id, uint64_t *numberp)
{
	struct row_subcluster row;
	int r = view_subcluster(v, id, &row);

	if (r)
		return r;
	*numberp = row.bootstrap_vat;
	return row_exists(v, T_VAT, row.bootstrap_vat);
}

int subcluster_has_ended(struct view *v, uint64_t id)
{
	struct row_subcluster row;
	int r = view_subcluster(v, id, &row);

	return r ? r : row.ended_us ? 0 : VIEW_E_ABSENT;
}

/* Only a system subcluster has one (S2). */
int subcluster_has_name(struct view *v, uint64_t id)
{
	struct row_subcluster row;
	int r = view_subcluster(v, id, &row);

	return r ? r : row.name[0] ? 0 : VIEW_E_ABSENT;
}

/* Its io channels are the services io:sN:NAME. */
static size_t io_prefix(uint64_t subcluster, char prefix[32])
{
	return (size_t)snprintf(prefix, 32, "io:s%llu:", (unsigned long long)subcluster);
}

int subcluster_has_io(struct view *v, uint64_t id)
{
	char prefix[32];

	return any_row(v, T_SERVICE, prefix, io_prefix(id, prefix));
}

static bool io_node(const void *val, size_t len, struct node *outp)
{
	struct row_service row;

	if (!service_read(val, len, &row) || !node_id_fits(row.kref))
		return false;
	*outp = (struct node){ NODE_SUB_IO, 0, row.kref };
	return true;
}

int list_sub_io(struct view *v, uint64_t id, struct cursor *c)
{
	char prefix[32], name[NODE_NAME_MAX + 1];
	size_t len = io_prefix(id, prefix);
	struct node node;
	struct scan s;
	int r;

	scan_begin(&s, v, T_SERVICE, prefix, len);
	cursor_scan(c, &s);
	while (!(r = scan_next(&s)))
		if (name_from_row(s.key + len, s.key_len - len, name) && io_node(s.val, s.len, &node) &&
		    !cursor_take(c, &s, node.kind, node.id, name))
			return 0;
	return r < 0 ? r : 0;
}

int find_sub_io(struct view *v, uint64_t id, const char *name, struct node *outp)
{
	char key[32 + NODE_NAME_MAX + 1], checked[NODE_NAME_MAX + 1];
	const void *val;
	size_t len;
	int r;

	if (!name_from_row(name, strlen(name), checked))
		return VIEW_E_ABSENT;
	len = io_prefix(id, key);
	strcpy(key + len, name);
	r = view_get(v, T_SERVICE, key, strlen(key), &val, &len);
	if (r)
		return r;
	return io_node(val, len, outp) ? 0 : VIEW_E_ABSENT;
}
