/* SPDX-License-Identifier: Apache-2.0 */
#include "translate.h"

#include "clist.h"
#include "object.h"
#include "promise.h"
#include "vat.h"

void names_begin(struct names *ns, const struct row_vat *row)
{
	ns->n = ns->own = 0;
	ns->index = omap_free(ns->index);
	ns->next_import = row->next_import;
	ns->next_import_promise = row->next_import_promise;
	ns->ahead = ns->doubt = false;
}

void names_begin_ahead(struct names *ns)
{
	assert(ns->n <= NAMES_FEW && !ns->index);
	ns->own = ns->n;
	ns->ahead = true;
	ns->doubt = false;
}

void names_drop_ahead(struct names *ns)
{
	ns->index = omap_free(ns->index);
	ns->n = ns->own;
}

void names_deinit(struct names *ns)
{
	free(ns->v);
	omap_free(ns->index);
	*ns = (struct names){ 0 };
}

/* The last that was said of it; NULL: nothing. */
static struct name *names_find(struct names *ns, kref_t kref)
{
	const struct omap_node *node;
	uint8_t key[8];
	size_t i;

	if (!ns->index) {
		for (i = ns->n; i > 0; i--)
			if (kref_equal(ns->v[i - 1].kref, kref))
				return &ns->v[i - 1];
		return NULL;
	}
	node = omap_find(ns->index, key, key_u64(key, kref.bits));
	if (!node)
		return NULL;
	memcpy(&i, node->val, sizeof(i));
	return &ns->v[i];
}

static bool is_own(const struct names *ns, const struct name *name)
{
	return name >= ns->v + ns->own;
}

static int names_index(struct names *ns, size_t i)
{
	uint8_t key[8];

	return omap_put(ns->index, key, key_u64(key, ns->v[i].kref.bits), &i, sizeof(i), false);
}

static int names_push(struct names *ns, struct name name)
{
	size_t i;
	int r = 0;

	if (ns->n == ns->size) {
		size_t size = ns->size ? ns->size * 2 : 16;
		struct name *p = realloc(ns->v, size * sizeof(*p));

		if (!p)
			return error_origin(ENOMEM);
		ns->v = p;
		ns->size = size;
	}
	ns->v[ns->n++] = name;
	if (ns->index)
		return names_index(ns, ns->n - 1);
	if (ns->n <= NAMES_FEW)
		return 0;
	ns->index = omap_new();
	if (!ns->index)
		return error_origin(ENOMEM);
	for (i = 0; i < ns->n && r >= 0; i++)
		r = names_index(ns, i);
	return r;
}

/* A delivery before this one names it: so it is called, unless that one takes the name away. */
static int name_as_before(struct names *ns, const struct name *before, vref_t *vrefp)
{
	ns->doubt |= before->leaves;
	*vrefp = before->vref;
	return names_push(ns, (struct name){ .kref = before->kref, .vref = before->vref, .kind = NAME_AHEAD });
}

int translate_out(struct kernel *k, struct vat *v, struct names *ns, kref_t kref, vref_t *vrefp)
{
	const struct name *before = names_find(ns, kref);
	struct name name = { .kref = kref, .kind = NAME_FRESH };
	bool promise = kref_is_promise(kref), reachable;
	int r;

	if (before && is_own(ns, before)) {
		*vrefp = before->vref;
		return 0;
	}
	if (before)
		return name_as_before(ns, before, vrefp);
	r = clist_find_kref(k, endpoint_vat(v->number), kref, vrefp, &reachable);
	if (r < 0)
		return r;
	if (r == 0) {	/* known; an entry whose flag was cleared is introduced again (C3) */
		if (reachable && !ns->ahead)
			return 0;
		name.kind = ns->ahead ? NAME_AHEAD : NAME_AGAIN;
	} else {
		*vrefp = vref_make(promise, true, promise ? ns->next_import_promise++ : ns->next_import++);
	}
	name.vref = *vrefp;
	return names_push(ns, name);
}

int names_leave(struct names *ns, kref_t kref)
{
	struct name *name = names_find(ns, kref);

	if (name && is_own(ns, name)) {
		name->leaves = true;
		return 0;
	}
	/* Known before: noted for those that may be sent behind. */
	if (ns->n >= NAMES_FEW)
		return 0;
	return names_push(ns, (struct name){ .kref = kref, .vref = VREF_NONE, .kind = NAME_AHEAD, .leaves = true });
}

/*
 * When it was sent ahead the vat was at another crank, which may have taken the entry out of the clist since: retired the
 * import, resolved the promise. Now it is back, by the same name: so the vat was told. But an export that it has abandoned
 * meanwhile stays abandoned, and a number that it has used for something else stays with that.
 */
static int apply_ahead(struct kernel *k, struct vat *v, const struct name *n, uint64_t introducer)
{
	endpoint_t e = endpoint_vat(v->number);
	bool reachable;
	kref_t other;
	vref_t vref;
	int r;

	r = clist_find_kref(k, e, n->kref, &vref, &reachable);
	if (r < 0)
		return r;
	if (r == 0)
		return reachable ? 0 : clist_set_reachable(k, e, n->kref, vref, true);
	if (!vref_is_promise(n->vref) && !vref_is_import(n->vref))
		return 0;
	r = clist_find_vref(k, e, n->vref, &other, &reachable);
	if (r <= 0)
		return r;
	return clist_import(k, e, n->kref, n->vref, introducer);
}

/* The number is given out for good, whether its entry stays or not. */
static void note_fresh(struct kernel *k, struct vat *v, vref_t vref)
{
	struct row_vat *row = vat_edit(k, v);

	if (vref_is_promise(vref))
		row->next_import_promise = vref_number(vref) + 1;
	else
		row->next_import = vref_number(vref) + 1;
}

int names_apply(struct kernel *k, struct vat *v, const struct names *ns, size_t first, size_t n, bool ahead, uint64_t introducer)
{
	endpoint_t e = endpoint_vat(v->number);
	size_t i;
	int r = 0;

	for (i = first; r >= 0 && i < first + n; i++) {
		const struct name *name = &ns->v[i];

		if (name->kind == NAME_FRESH)
			note_fresh(k, v, name->vref);
		if (name->leaves)
			continue;
		if (name->kind == NAME_FRESH)
			r = clist_import(k, e, name->kref, name->vref, introducer);
		else if (ahead)
			r = apply_ahead(k, v, name, introducer);
		else
			r = clist_set_reachable(k, e, name->kref, name->vref, true);
	}
	return r;
}

static int illegal(struct kernel *k, const char *what, vref_t vref)
{
	char text[REF_TEXT_MAX];

	snprintf(k->illegal, sizeof(k->illegal), "%s %s", what, vref_format(vref, text));
	return TRANSLATE_E_ILLEGAL;
}

int translate_known(struct kernel *k, struct vat *v, vref_t vref, kref_t *krefp, bool *reachablep)
{
	int r = clist_find_vref(k, endpoint_vat(v->number), vref, krefp, reachablep);

	return r > 0 ? illegal(k, "unknown reference", vref) : r;
}

/* A "+" that the kernel has not seen: the vat made it (C2). */
static int introduce(struct kernel *k, struct vat *v, vref_t vref, bool decided, kref_t *krefp)
{
	endpoint_t e = endpoint_vat(v->number);
	int r;

	if (vref_is_import(vref))
		return illegal(k, "unknown reference", vref);
	if (vref_is_promise(vref)) {
		r = promise_new(k, krefp);
		if (r >= 0 && decided)
			r = promise_set_decider(k, *krefp, e, v->row.incarnation);
	} else {
		r = object_new(k, e, v->row.incarnation, vref_survives(vref), krefp);
	}
	if (r < 0)
		return r;
	return clist_add(k, e, *krefp, vref);
}

int translate_in(struct kernel *k, struct vat *v, vref_t vref, kref_t *krefp)
{
	endpoint_t e = endpoint_vat(v->number);
	bool reachable;
	int r;

	r = clist_find_vref(k, e, vref, krefp, &reachable);
	if (r < 0)
		return r;
	if (r > 0)
		return introduce(k, v, vref, true, krefp);
	if (reachable)
		return 0;
	if (vref_is_import(vref))
		return illegal(k, "unreachable import", vref);
	/* An export that the kernel had dropped is exported again. */
	return clist_set_reachable(k, e, *krefp, vref, true);
}

int translate_result(struct kernel *k, struct vat *v, vref_t vref, kref_t *krefp)
{
	endpoint_t e = endpoint_vat(v->number);
	struct row_promise row;
	bool reachable;
	int r;

	r = clist_find_vref(k, e, vref, krefp, &reachable);
	if (r < 0)
		return r;
	if (r > 0)
		return introduce(k, v, vref, false, krefp);
	r = promise_load(k, *krefp, &row);
	if (r)
		return r < 0 ? r : kernel_corrupt("clist names an unknown promise");
	if (row.state != PROMISE_UNRESOLVED || row.decider != e.bits)
		return illegal(k, "result promise is not new and not decided by the vat:", vref);
	return promise_set_decider(k, *krefp, (endpoint_t){ 0 }, 0);
}
