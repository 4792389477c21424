/* SPDX-License-Identifier: Apache-2.0 */
#include "collect.h"

#include "vat.h"

enum stage { STAGE_REAP, STAGE_SEARCH, STAGE_DELIVER, STAGE_DONE };

struct collect {
	enum stage stage;
	struct control_request **requests;	/* of this round, then those of the next */
	size_t n_now, n_all;
	uint64_t n_vats, searches;		/* asked; searches that had ended when SEARCH began */
	struct kernel_stats before;
};

static bool is_up(const struct vat *v)
{
	return v->row.status == VAT_RUNNING;
}

int collect_reap(struct kernel *k, struct vat *v)
{
	int r = kernel_savepoint(k);

	if (r < 0)
		return r;
	vat_edit(k, v)->flags |= VAT_F_REAP;
	r = kernel_release(k);
	vat_ready(k, v);
	return r;
}

/* Every running vat is one that the stage waits for. */
static unsigned wait_for_all(struct kernel *k)
{
	struct vat *v, *tmp;
	unsigned n = 0;

	HASH_ITER(hh, k->vats, v, tmp) {
		v->collecting = is_up(v);
		n += v->collecting;
		if (v->collecting)
			vat_ready(k, v);
	}
	return n;
}

static int begin_round(struct kernel *k, struct collect *c)
{
	struct vat *v, *tmp;
	int r = 0;

	c->stage = STAGE_REAP;
	c->n_now = c->n_all;
	c->before = k->stats;
	c->n_vats = wait_for_all(k);
	HASH_ITER(hh, k->vats, v, tmp) {
		if (r >= 0 && v->collecting)
			r = collect_reap(k, v);
	}
	return r;
}

int collect_begin(struct kernel *k, struct control_request *request)
{
	struct collect *c = k->collect;
	struct control_request **p;

	if (!c)
		c = k->collect = calloc(1, sizeof(*c));
	p = c ? realloc(c->requests, (c->n_all + 1) * sizeof(*p)) : NULL;
	if (!p)
		return error_origin(ENOMEM);
	c->requests = p;
	c->requests[c->n_all++] = request;
	return c->n_now ? 0 : begin_round(k, c);
}

/* Is the stage still waiting for some vat? */
static bool is_waiting(struct kernel *k, enum stage stage)
{
	bool waiting = false;
	struct vat *v, *tmp;

	HASH_ITER(hh, k->vats, v, tmp) {
		bool busy = stage == STAGE_REAP ? v->row.flags & VAT_F_REAP : v->gc_maybe;

		v->collecting = v->collecting && is_up(v) && busy;
		waiting |= v->collecting;
	}
	return waiting;
}

static void answer(struct kernel *k, const struct collect *c)
{
	const struct kernel_stats *now = &k->stats, *then = &c->before;
	size_t i;

	for (i = 0; i < c->n_now; i++)
		control_reply(c->requests[i], json_pack("{sIsIsIsI}", "vats", (json_int_t)c->n_vats, "objects",
							(json_int_t)(now->n_objects_gone - then->n_objects_gone), "promises",
							(json_int_t)(now->n_promises_gone - then->n_promises_gone), "circular",
							(json_int_t)(now->n_circular - then->n_circular)));
}

static int end_round(struct kernel *k, struct collect *c)
{
	answer(k, c);
	c->n_all -= c->n_now;
	memmove(c->requests, c->requests + c->n_now, c->n_all * sizeof(*c->requests));
	c->n_now = 0;
	if (c->n_all)
		return begin_round(k, c);
	collect_deinit(k);
	return 0;
}

/* As far as it comes; true: it is through. */
static bool is_through(struct kernel *k, struct collect *c)
{
	if (c->stage == STAGE_REAP && !is_waiting(k, STAGE_REAP)) {
		c->stage = STAGE_SEARCH;
		c->searches = k->n_searches;
	}
	/* One may have been under way already; it saw less than it should. */
	if (c->stage == STAGE_SEARCH && (!k->cycling || k->n_searches >= c->searches + 2)) {
		c->stage = STAGE_DELIVER;
		wait_for_all(k);
	}
	if (c->stage == STAGE_DELIVER && !is_waiting(k, STAGE_DELIVER))
		c->stage = STAGE_DONE;
	return c->stage == STAGE_DONE;
}

/* When no vat runs the round of who asked meanwhile is through at once, and nothing else would wake the broker for it. */
int collect_pump(struct kernel *k)
{
	int r = 0;

	while (r >= 0 && k->collect && is_through(k, k->collect))
		r = end_round(k, k->collect);
	return r;
}

void collect_deinit(struct kernel *k)
{
	if (!k->collect)
		return;
	free(k->collect->requests);
	free(k->collect);
	k->collect = NULL;
}
