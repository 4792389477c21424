/* SPDX-License-Identifier: Apache-2.0 */
#include "translate.h"

#include "clist.h"
#include "object.h"
#include "promise.h"
#include "vat.h"

#define NAMES_LINEAR 16	/* below this many a scan beats an index */

void names_begin(struct names *ns, const struct row_vat *row)
{
	ns->n = 0;
	ns->index = omap_free(ns->index);
	ns->next_import = row->next_import;
	ns->next_import_promise = row->next_import_promise;
}

void names_deinit(struct names *ns)
{
	free(ns->v);
	omap_free(ns->index);
	*ns = (struct names){ 0 };
}

static struct name *names_find(struct names *ns, kref_t kref)
{
	const struct omap_node *node;
	uint8_t key[8];
	size_t i;

	if (!ns->index) {
		for (i = 0; i < ns->n; i++)
			if (kref_equal(ns->v[i].kref, kref))
				return &ns->v[i];
		return NULL;
	}
	node = omap_find(ns->index, key, key_u64(key, kref.bits));
	if (!node)
		return NULL;
	memcpy(&i, node->val, sizeof(i));
	return &ns->v[i];
}

static int names_index(struct names *ns, size_t i)
{
	uint8_t key[8];

	return omap_put(ns->index, key, key_u64(key, ns->v[i].kref.bits), &i, sizeof(i), false);
}

static int names_push(struct names *ns, kref_t kref, vref_t vref, bool fresh)
{
	size_t i;
	int r = 0;

	if (ns->n == ns->size) {
		size_t size = ns->size ? ns->size * 2 : NAMES_LINEAR;
		struct name *p = realloc(ns->v, size * sizeof(*p));

		if (!p)
			return error_origin(ENOMEM);
		ns->v = p;
		ns->size = size;
	}
	ns->v[ns->n++] = (struct name){ .kref = kref, .vref = vref, .fresh = fresh };
	if (ns->index)
		return names_index(ns, ns->n - 1);
	if (ns->n <= NAMES_LINEAR)
		return 0;
	ns->index = omap_new();
	if (!ns->index)
		return error_origin(ENOMEM);
	for (i = 0; i < ns->n && r >= 0; i++)
		r = names_index(ns, i);
	return r;
}

int translate_out(struct kernel *k, struct vat *v, struct names *ns, kref_t kref, vref_t *vrefp)
{
	struct name *name = names_find(ns, kref);
	bool promise = kref_is_promise(kref), reachable;
	int r;

	if (name) {
		*vrefp = name->vref;
		return 0;
	}
	r = clist_find_kref(k, endpoint_vat(v->number), kref, vrefp, &reachable);
	if (r < 0)
		return r;
	if (r == 0)	/* known; an entry whose flag was cleared is introduced again (C3) */
		return reachable ? 0 : names_push(ns, kref, *vrefp, false);
	*vrefp = vref_make(promise, true, promise ? ns->next_import_promise++ : ns->next_import++);
	return names_push(ns, kref, *vrefp, true);
}

void names_skip(struct names *ns, kref_t kref)
{
	struct name *name = names_find(ns, kref);

	if (name)
		name->skip = true;
}

int names_apply(struct kernel *k, struct vat *v, struct names *ns)
{
	endpoint_t e = endpoint_vat(v->number);
	struct row_vat *row;
	size_t i;
	int r;

	if (ns->n) {
		row = vat_edit(k, v);
		row->next_import = ns->next_import;
		row->next_import_promise = ns->next_import_promise;
	}
	for (i = 0; i < ns->n; i++) {
		const struct name *n = &ns->v[i];

		if (n->skip)
			continue;
		if (n->fresh)
			r = clist_add(k, e, n->kref, n->vref);
		else
			r = clist_set_reachable(k, e, n->kref, n->vref, true);
		if (r < 0)
			return r;
	}
	return 0;
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
