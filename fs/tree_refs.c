/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the directories of objects and promises, and a vat's `decides`, link to: see tree_rows.h. A link to a vat is
 * there only while that vat has a row, so that none dangles.
 */
#include "tree_rows.h"

/* --- pairs of a table as links ----------------------------------------------------------------------------------- */

/* The second number of a pair as a link's name; ABSENT: it is none of `kind`. */
static int pair_name(struct view *v, enum node_kind kind, uint64_t bits, uint64_t *numberp, char name[REF_TEXT_MAX])
{
	bool promise = kind == NODE_DECIDES_PROMISE || kind == NODE_SOURCE;

	if (promise ? !(bits & REF_PROMISE) : !endpoint_is_vat((endpoint_t){ bits }))
		return VIEW_E_ABSENT;
	*numberp = bits & REF_NUMBER_MASK;
	if (!node_id_fits(*numberp))
		return VIEW_E_ABSENT;
	snprintf(name, REF_TEXT_MAX, "%s%llu", promise ? "kp" : "v", (unsigned long long)*numberp);
	return promise ? row_exists(v, T_PROMISE, bits) : row_exists(v, T_VAT, *numberp);
}

static int list_pairs(struct view *v, struct cursor *c, enum table table, uint64_t first, enum node_kind kind)
{
	uint64_t second, number;
	char name[REF_TEXT_MAX];
	struct scan s;
	int r;

	scan_begin_u64(&s, v, table, first);
	cursor_scan(c, &s);
	while (!(r = scan_next(&s))) {
		r = scan_id(&s, 2, &second) ? pair_name(v, kind, second, &number, name) : VIEW_E_ABSENT;
		if (r < 0)
			return r;
		if (!r && !cursor_take(c, &s, kind, number, name))
			return 0;
	}
	return r < 0 ? r : 0;
}

static int pair_exists(struct view *v, enum table table, uint64_t first, uint64_t second)
{
	const void *val;
	uint8_t key[16];
	size_t len;

	return view_get(v, table, key, key_u64_u64(key, first, second), &val, &len);
}

static int find_pair(struct view *v, enum table table, uint64_t first, enum node_kind kind, uint64_t second, struct node *outp)
{
	char name[REF_TEXT_MAX];
	uint64_t number;
	int r = pair_exists(v, table, first, second);

	if (!r)
		r = pair_name(v, kind, second, &number, name);
	if (!r)
		*outp = (struct node){ kind, 0, number };
	return r;
}

/* ABSENT unless one pair can be shown. */
static int any_pair(struct view *v, enum table table, uint64_t first, enum node_kind kind)
{
	uint64_t second, number;
	char name[REF_TEXT_MAX];
	struct scan s;
	int r;

	scan_begin_u64(&s, v, table, first);
	while (!(r = scan_next(&s))) {
		r = scan_id(&s, 2, &second) ? pair_name(v, kind, second, &number, name) : VIEW_E_ABSENT;
		if (r <= 0)
			return r;
	}
	return r < 0 ? r : VIEW_E_ABSENT;
}

static int find_vat_pair(struct view *v, enum table table, kref_t first, enum node_kind kind, const char *name, struct node *outp)
{
	uint64_t vat;

	if (!id_parse('v', name, strlen(name), &vat))
		return VIEW_E_ABSENT;
	return find_pair(v, table, first.bits, kind, endpoint_vat(vat).bits, outp);
}

int list_importers(struct view *v, uint64_t id, struct cursor *c)
{
	return list_pairs(v, c, T_IMPORTER, ko(id).bits, NODE_IMPORTER);
}

int find_importer(struct view *v, uint64_t id, const char *name, struct node *outp)
{
	return find_vat_pair(v, T_IMPORTER, ko(id), NODE_IMPORTER, name, outp);
}

int importers_present(struct view *v, uint64_t id)
{
	return any_pair(v, T_IMPORTER, ko(id).bits, NODE_IMPORTER);
}

int list_subscribers(struct view *v, uint64_t id, struct cursor *c)
{
	return list_pairs(v, c, T_SUBSCRIBER, kp(id).bits, NODE_SUBSCRIBER);
}

int find_subscriber(struct view *v, uint64_t id, const char *name, struct node *outp)
{
	return find_vat_pair(v, T_SUBSCRIBER, kp(id), NODE_SUBSCRIBER, name, outp);
}

int subscribers_present(struct view *v, uint64_t id)
{
	return any_pair(v, T_SUBSCRIBER, kp(id).bits, NODE_SUBSCRIBER);
}

int list_decides(struct view *v, uint64_t id, struct cursor *c)
{
	return list_pairs(v, c, T_DECIDED, endpoint_vat(id).bits, NODE_DECIDES_PROMISE);
}

int find_decides(struct view *v, uint64_t id, const char *name, struct node *outp)
{
	kref_t ref;

	if (!kref_parse(name, strlen(name), &ref))
		return VIEW_E_ABSENT;
	return find_pair(v, T_DECIDED, endpoint_vat(id).bits, NODE_DECIDES_PROMISE, ref.bits, outp);
}

int list_sources(struct view *v, uint64_t id, struct cursor *c)
{
	return list_pairs(v, c, T_FORWARD, kp(id).bits, NODE_SOURCE);
}

int find_source(struct view *v, uint64_t id, const char *name, struct node *outp)
{
	kref_t ref;

	if (!kref_parse(name, strlen(name), &ref))
		return VIEW_E_ABSENT;
	return find_pair(v, T_FORWARD, kp(id).bits, NODE_SOURCE, ref.bits, outp);
}

int sources_present(struct view *v, uint64_t id)
{
	return any_pair(v, T_FORWARD, kp(id).bits, NODE_SOURCE);
}

/* --- the references in a promise's value ------------------------------------------------------------------------- */

static bool slot_node(uint64_t bits, struct node *outp)
{
	kref_t ref = { bits };

	*outp = (struct node){ kref_is_promise(ref) ? NODE_SLOT_PROMISE : NODE_SLOT_OBJECT, 0, kref_number(ref) };
	return node_id_fits(kref_number(ref));
}

/* One slot can name the same as an earlier one: names of a directory are different. */
static size_t first_with(const struct capdata *value, uint64_t bits)
{
	size_t i = 0;

	while (i < value->n_slots && capdata_slot(value, i) != bits)
		i++;
	return i;
}

/* The cursor stands on the index of the last that was taken. A settled value does not change. */
int list_slots(struct view *v, uint64_t id, struct cursor *c)
{
	struct capdata value;
	uint32_t flags;
	int r = promise_value(v, kp(id), &flags, &value);

	if (r)
		return r < 0 ? r : 0;
	for (size_t i = c->key_len ? get_be64(c->key) + 1 : 0; i < value.n_slots; i++) {
		uint64_t bits = capdata_slot(&value, i);
		uint8_t key[8];
		struct scan at = { .key = key, .key_len = key_u64(key, i) };
		char name[REF_TEXT_MAX];
		struct node n;

		if (!slot_node(bits, &n) || first_with(&value, bits) != i)
			continue;
		if (!cursor_take(c, &at, n.kind, n.id, kref_format((kref_t){ bits }, name)))
			return 0;
	}
	return 0;
}

int find_slot(struct view *v, uint64_t id, const char *name, struct node *outp)
{
	struct capdata value;
	uint32_t flags;
	kref_t ref;
	int r;

	if (!kref_parse(name, strlen(name), &ref))
		return VIEW_E_ABSENT;
	r = promise_value(v, kp(id), &flags, &value);
	if (r < 0)
		return r;
	return !r && first_with(&value, ref.bits) < value.n_slots && slot_node(ref.bits, outp) ? 0 : VIEW_E_ABSENT;
}

int slots_present(struct view *v, uint64_t id)
{
	struct capdata value;
	uint32_t flags;
	int r = promise_value(v, kp(id), &flags, &value);

	return r < 0 ? r : r || !value.n_slots ? VIEW_E_ABSENT : 0;
}

/* --- links of one thing ------------------------------------------------------------------------------------------ */

/* A vat that has a row; the kernel has no folder. */
static int vat_target(struct view *v, uint64_t endpoint, uint64_t *numberp)
{
	endpoint_t e = { endpoint };

	if (!endpoint_is_vat(e))
		return VIEW_E_ABSENT;
	*numberp = endpoint_number(e);
	return row_exists(v, T_VAT, *numberp);
}

int object_owner(struct view *v, uint64_t id, uint64_t *numberp)
{
	struct row_object row;
	int r = view_object(v, ko(id), &row);

	return r ? r : vat_target(v, row.owner, numberp);
}

int promise_decider(struct view *v, uint64_t id, uint64_t *numberp)
{
	struct row_promise row;
	int r = view_promise(v, kp(id), &row);

	return r ? r : vat_target(v, row.decider, numberp);
}

static int promise_target(struct view *v, uint64_t link, uint64_t *numberp)
{
	if (!(link & REF_PROMISE))
		return VIEW_E_ABSENT;
	*numberp = link & REF_NUMBER_MASK;
	return row_exists(v, T_PROMISE, link);
}

int promise_forwarded(struct view *v, uint64_t id, uint64_t *numberp)
{
	struct row_promise row;
	int r = view_promise(v, kp(id), &row);

	return r ? r : row.state == PROMISE_FORWARDED ? promise_target(v, row.link, numberp) : VIEW_E_ABSENT;
}

int promise_shares(struct view *v, uint64_t id, uint64_t *numberp)
{
	struct row_promise row;
	int r = view_promise(v, kp(id), &row);

	return r ? r : promise_is_settled(&row) ? promise_target(v, row.link, numberp) : VIEW_E_ABSENT;
}

/* In whose queue the message is that will decide it: a vat's, or that of another promise. */
int promise_behind(struct view *v, uint64_t id, char buf[NODE_LINK_MAX])
{
	struct row_promise row;
	uint64_t number;
	int r = view_promise(v, kp(id), &row);

	if (r || row.state != PROMISE_UNRESOLVED || row.decider)
		return r ? r : VIEW_E_ABSENT;
	r = row.link & REF_PROMISE ? promise_target(v, row.link, &number) : vat_target(v, row.link, &number);
	if (!r)
		snprintf(buf, NODE_LINK_MAX, row.link & REF_PROMISE ? "../kp%llu" : "../../vats/v%llu", (unsigned long long)number);
	return r;
}

int promise_behind_present(struct view *v, uint64_t id)
{
	char buf[NODE_LINK_MAX];

	return promise_behind(v, id, buf);
}

int promise_has_value(struct view *v, uint64_t id)
{
	struct capdata value;
	uint32_t flags;
	int r = promise_value(v, kp(id), &flags, &value);

	return r == VIEW_E_DAMAGED ? VIEW_E_ABSENT : r;
}

static int any_row(struct view *v, enum table table, uint64_t prefix)
{
	struct scan s;
	int r;

	scan_begin_u64(&s, v, table, prefix);
	r = scan_next(&s);
	return r > 0 ? VIEW_E_ABSENT : r;
}

int vat_queue_present(struct view *v, uint64_t id) { return any_row(v, T_QUEUE, endpoint_vat(id).bits); }
int promise_queue_present(struct view *v, uint64_t id) { return any_row(v, T_QUEUE, kp(id).bits); }
int vat_aside_present(struct view *v, uint64_t id) { return any_row(v, T_ASIDE, id); }

/* A service under a name that can be a file's. */
int object_service(struct view *v, uint64_t id, char buf[NODE_LINK_MAX])
{
	char name[NODE_NAME_MAX + 1];
	const void *val;
	uint8_t key[8];
	size_t len;
	int r = view_get(v, T_SERVICE_OF, key, key_u64(key, ko(id).bits), &val, &len);

	if (r)
		return r;
	if (len > 100 || !name_from_row(val, len, name))
		return VIEW_E_ABSENT;
	r = view_get(v, T_SERVICE, name, strlen(name), &val, &len);
	if (!r)
		snprintf(buf, NODE_LINK_MAX, "../../services/%s", name);
	return r;
}

int object_service_present(struct view *v, uint64_t id)
{
	char buf[NODE_LINK_MAX];

	return object_service(v, id, buf);
}
