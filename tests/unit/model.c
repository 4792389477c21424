/* SPDX-License-Identifier: Apache-2.0 */
#include "model.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define BIT(vat)	(UINT64_C(1) << (vat))
#define ENDPOINT(vat)	(endpoint_vat(vat).bits)
#define M_TEXTS		200000u

static const char *why_illegal;

/* --- texts ------------------------------------------------------------------------------------------------- */

static char *texts[M_TEXTS];
static unsigned n_texts;

/* Kernel errors are told apart by their code alone: the words behind it are no rule (R1). */
static size_t significant(const char *text, size_t len)
{
	static const char begin[] = "#{\"#error\":\"[KERNEL:";
	const char *end;

	if (len < sizeof(begin) || memcmp(text, begin, sizeof(begin) - 1))
		return len;
	end = memchr(text, ']', len);
	return end ? (size_t)(end - text) + 1 : len;
}

unsigned m_text(const char *text, size_t len)
{
	unsigned i;

	len = significant(text, len);
	for (i = n_texts; i--;)
		if (!strncmp(texts[i], text, len) && !texts[i][len])
			return i;
	assert(n_texts < M_TEXTS);
	texts[n_texts] = strndup(text, len);
	return n_texts++;
}

const char *m_text_of(unsigned body) { return texts[body]; }

static unsigned error_text(const char *code)
{
	char text[80];

	return m_text(text, snprintf(text, sizeof(text), "#{\"#error\":\"[KERNEL:%s]", code));
}

/* --- tables ------------------------------------------------------------------------------------------------ */

static bool is_promise(uint64_t ref) { return ref & REF_PROMISE; }
static bool is_import(uint64_t vref) { return vref & REF_MINUS; }

static struct m_object *object(const struct model *m, uint64_t kref)
{
	size_t low = 0, high = m->n_objects;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (m->objects[mid].kref < kref)
			low = mid + 1;
		else
			high = mid;
	}
	return low < m->n_objects && m->objects[low].kref == kref ? (struct m_object *)&m->objects[low] : NULL;
}

static struct m_promise *promise(const struct model *m, uint64_t kref)
{
	size_t low = 0, high = m->n_promises;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (m->promises[mid].kref < kref)
			low = mid + 1;
		else
			high = mid;
	}
	return low < m->n_promises && m->promises[low].kref == kref ? (struct m_promise *)&m->promises[low] : NULL;
}

static bool is_settled(const struct m_promise *p) { return p->state == M_FULFILLED || p->state == M_REJECTED; }

static struct m_object *object_new(struct model *m, unsigned owner)
{
	struct m_object *o = &m->objects[m->n_objects++];

	assert(m->n_objects <= M_OBJECTS);
	*o = (struct m_object){.kref = m->next_object++, .owner = owner};
	return o;
}

static struct m_promise *promise_new(struct model *m, unsigned decider)
{
	struct m_promise *p = &m->promises[m->n_promises++];

	assert(m->n_promises <= M_PROMISES);
	*p = (struct m_promise){.kref = REF_PROMISE | m->next_promise++, .decider = decider};
	return p;
}

static struct m_entry *by_vref(const struct m_vat *v, uint64_t vref)
{
	size_t i;

	for (i = 0; i < v->n_entries; i++)
		if (v->entries[i].vref == vref)
			return (struct m_entry *)&v->entries[i];
	return NULL;
}

static struct m_entry *by_kref(const struct m_entry *list, size_t n, uint64_t kref)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (list[i].kref == kref)
			return (struct m_entry *)&list[i];
	return NULL;
}

static struct m_entry *entry_of(const struct m_vat *v, uint64_t kref) { return by_kref(v->entries, v->n_entries, kref); }

static void entry_add(struct m_vat *v, uint64_t vref, uint64_t kref)
{
	assert(v->n_entries < M_ENTRIES);
	v->entries[v->n_entries++] = (struct m_entry){vref, kref, true};
}

static void entry_remove(struct m_vat *v, struct m_entry *e)
{
	if (e)
		*e = v->entries[--v->n_entries];
}

static struct m_item *item_by_id(struct model *m, uint64_t id)
{
	size_t i;

	for (i = 0; i < m->n_items; i++)
		if (m->items[i].id == id)
			return &m->items[i];
	return NULL;
}

static struct m_item *first_of(struct model *m, uint64_t holder)
{
	size_t i;

	for (i = 0; i < m->n_items; i++)
		if (m->items[i].holder == holder)
			return &m->items[i];
	return NULL;
}

static struct m_item item_take(struct model *m, struct m_item *i)
{
	struct m_item taken = *i;

	memmove(i, i + 1, (&m->items[--m->n_items] - i) * sizeof(*i));
	return taken;
}

static void enqueue(struct model *m, struct m_item item, uint64_t holder)
{
	struct m_promise *result = item.result ? promise(m, item.result) : NULL;

	assert(m->n_items < M_ITEMS);
	item.id = ++m->next_item;
	item.holder = holder;
	m->items[m->n_items++] = item;
	if (result)
		result->behind = holder;
}

/* --- settling (P3, P5, P6, P10) ------------------------------------------------------------------------------ */

/* What is to settle how; in the order in which it came up. */
struct task { uint64_t kref; enum m_state state; bool ref, by_kernel; uint64_t link; struct m_value value; };
static struct task tasks[M_PROMISES];
static size_t n_tasks, at_task;

static void send_message(struct model *m, struct m_item item);

static void notify(struct model *m, unsigned vat, uint64_t kref)
{
	size_t i;

	if (m->vats[vat].status == M_TERMINATED)
		return; /* D5 */
	for (i = 0; i < m->n_items; i++)
		if (m->items[i].notify && m->items[i].holder == ENDPOINT(vat) && m->items[i].target == kref)
			return; /* P4 */
	enqueue(m, (struct m_item){.notify = true, .target = kref}, ENDPOINT(vat));
}

static bool leads_to(const struct model *m, const struct m_promise *p, uint64_t kref)
{
	while (p->state == M_FORWARDED && p->to != kref)
		p = promise(m, p->to);
	return p->state == M_FORWARDED;
}

static void settle_now(struct model *m, const struct task *t)
{
	struct m_promise *p = promise(m, t->kref);
	uint64_t subscribers;
	bool forwarded;
	struct m_item *i;
	unsigned vat;
	size_t n;

	if (!p || is_settled(p))
		return;
	subscribers = p->subscribers;
	forwarded = p->state == M_FORWARDED;
	p->state = t->state;
	p->ref = t->ref;
	p->by_kernel = t->by_kernel;
	p->value = t->value;
	p->link = t->link;
	p->decider = 0;
	p->behind = p->to = p->subscribers = 0;
	for (vat = 1; vat <= m->n_vats; vat++)
		if (subscribers & BIT(vat))
			notify(m, vat, t->kref);
	for (n = 0; !forwarded && n < m->n_promises; n++) { /* P14: by number */
		struct m_promise *other = &m->promises[n];

		if (other->state != M_FORWARDED || !leads_to(m, other, t->kref))
			continue;
		assert(n_tasks < M_PROMISES);
		tasks[n_tasks] = *t;
		tasks[n_tasks].link = t->link ? t->link : t->kref;
		tasks[n_tasks++].kref = other->kref;
	}
	while ((i = first_of(m, t->kref)))
		send_message(m, item_take(m, i));
}

static void settle(struct model *m, const struct task *t)
{
	assert(n_tasks < M_PROMISES);
	tasks[n_tasks++] = *t;
	if (at_task)
		return; /* somebody works on the list */
	while (at_task < n_tasks) {
		struct task now = tasks[at_task++];

		settle_now(m, &now);
	}
	n_tasks = at_task = 0;
}

static void reject(struct model *m, uint64_t kref, const char *code)
{
	struct task t = {.kref = kref, .state = M_REJECTED, .by_kernel = true};

	if (!kref)
		m->n_dropped++; /* R2 */
	t.value.body = error_text(code);
	if (kref)
		settle(m, &t);
}

static void settle_as(struct model *m, uint64_t kref, const struct m_promise *p)
{
	struct task t = {kref, p->state, p->ref, p->by_kernel, p->link ? p->link : p->kref, p->value};

	if (kref)
		settle(m, &t);
	else
		m->n_dropped++;
}

/* Terminated, perhaps with its whole subcluster, so that there is no record of it either. */
static bool is_gone(const struct model *m, unsigned vat)
{
	return m->vats[vat].status == M_TERMINATED || m->vats[vat].status == M_NONE;
}

static struct m_promise *terminal(const struct model *m, uint64_t kref)
{
	struct m_promise *p = promise(m, kref);

	while (p && p->state == M_FORWARDED)
		p = promise(m, p->to);
	return p;
}

static void forward(struct model *m, uint64_t from, uint64_t to)
{
	struct m_promise *p = promise(m, from), *end = terminal(m, to);
	struct m_item *i;

	if (is_settled(end)) {
		settle_as(m, from, end);
		return;
	}
	if (end == p) {
		reject(m, from, "BAD_PROMISE_RESOLUTION"); /* the others are forwarded to it */
		return;
	}
	p->state = M_FORWARDED;
	p->to = end->kref;
	p->decider = 0;
	p->behind = 0;
	while ((i = first_of(m, from)))
		send_message(m, item_take(m, i));
}

/* --- routing (R) --------------------------------------------------------------------------------------------- */

/* Would the answer to a message for `end` wait for itself? */
static bool waits_for_itself(const struct model *m, const struct m_promise *end, uint64_t result)
{
	unsigned hops = 0;

	for (; end && end->state == M_UNRESOLVED && hops < M_PROMISES; hops++) {
		if (end->kref == result)
			return true;
		end = is_promise(end->behind) ? terminal(m, end->behind) : NULL;
	}
	return false;
}

/* Where it goes: an endpoint or promise to wait with; or NULL code and 0 with `asp`, whose outcome it gets. */
static uint64_t route(const struct model *m, struct m_item *item, const char **codep, const struct m_promise **asp)
{
	const struct m_promise *p = NULL;
	const struct m_object *o;

	*codep = NULL;
	*asp = NULL;
	if (is_promise(item->target)) {
		p = terminal(m, item->target);
		assert(p);
		if (p->state == M_UNRESOLVED) {
			item->target = p->kref;
			if (!item->result || !waits_for_itself(m, p, item->result))
				return p->kref;
			*codep = "BAD_PROMISE_RESOLUTION";
			return 0;
		}
		if (p->state == M_REJECTED) {
			*asp = p;
			return 0;
		}
		if (!p->ref || is_promise(p->value.slots[0])) {
			*codep = "BAD_PROMISE_RESOLUTION";
			return 0;
		}
		item->target = p->value.slots[0];
	}
	o = object(m, item->target);
	if (o && o->revoked)
		*codep = "OBJECT_REVOKED";
	else if (!o || !o->owner)
		*codep = "OBJECT_DELETED";
	else if (is_gone(m, o->owner))
		*codep = "ENDPOINT_UNREACHABLE";
	return *codep ? 0 : ENDPOINT(o->owner);
}

static void refuse(struct model *m, const struct m_item *item, const char *code, const struct m_promise *as)
{
	if (code)
		reject(m, item->result, code);
	else
		settle_as(m, item->result, as);
}

static void send_message(struct model *m, struct m_item item)
{
	const struct m_promise *as;
	const char *code;
	uint64_t holder = route(m, &item, &code, &as);

	if (holder)
		enqueue(m, item, holder);
	else
		refuse(m, &item, code, as);
}

/* --- counts and collection (C4, C5, G1, P9) -------------------------------------------------------------------- */

static void count(struct model *m, uint64_t kref, bool reachable)
{
	struct m_promise *p;
	struct m_object *o;

	if (!kref)
		return;
	if (is_promise(kref)) {
		p = promise(m, kref);
		assert(p);
		p->count++;
		return;
	}
	o = object(m, kref);
	if (!o)
		return; /* the console's */
	o->recognizable++;
	o->reachable += reachable;
}

static void count_all(struct model *m, const uint64_t *krefs, size_t n)
{
	while (n--)
		count(m, *krefs++, true);
}

static void recount(struct model *m)
{
	unsigned vat;
	size_t i;

	for (i = 0; i < m->n_objects; i++)
		m->objects[i].reachable = m->objects[i].recognizable = m->objects[i].held != 0;
	for (i = 0; i < m->n_promises; i++)
		m->promises[i].count = m->promises[i].host;
	for (vat = 1; vat <= m->n_vats; vat++)
		for (i = 0; i < m->vats[vat].n_entries; i++) {
			const struct m_entry *e = &m->vats[vat].entries[i];

			if (is_promise(e->kref) || is_import(e->vref))
				count(m, e->kref, e->flag);
		}
	for (i = 0; i < m->n_items; i++) {
		count(m, m->items[i].target, true);
		count(m, m->items[i].result, true);
		count_all(m, m->items[i].methargs.slots, m->items[i].methargs.n);
	}
	for (i = 0; i < m->n_promises; i++) {
		const struct m_promise *p = &m->promises[i];

		if (p->state == M_FORWARDED)
			count(m, p->to, true);
		else if (p->link)
			count(m, p->link, true);
		else
			count_all(m, p->value.slots, p->value.n);
	}
}

/* Somebody holds it who is no settled promise himself, or one that is held so. */
static void hold(struct model *m, uint64_t kref)
{
	static uint64_t todo[M_PROMISES * M_SLOTS];
	size_t n = 0, i;

	todo[n++] = kref;
	while (n) {
		struct m_promise *p = is_promise(todo[--n]) ? promise(m, todo[n]) : NULL;

		if (!p || p->held)
			continue;
		p->held = true;
		if (p->state == M_FORWARDED)
			todo[n++] = p->to;
		else if (p->link)
			todo[n++] = p->link;
		else
			for (i = 0; i < p->value.n; i++)
				todo[n++] = p->value.slots[i];
	}
}

static void hold_all(struct model *m)
{
	unsigned vat, s;
	size_t i;

	for (i = 0; i < m->n_promises; i++)
		m->promises[i].held = false;
	for (i = 0; i < m->n_promises; i++)
		if (m->promises[i].host)
			hold(m, m->promises[i].kref);
	for (vat = 1; vat <= m->n_vats; vat++)
		for (i = 0; i < m->vats[vat].n_entries; i++)
			hold(m, m->vats[vat].entries[i].kref);
	for (i = 0; i < m->n_items; i++) {
		hold(m, m->items[i].target);
		hold(m, m->items[i].result);
		for (s = 0; s < m->items[i].methargs.n; s++)
			hold(m, m->items[i].methargs.slots[s]);
	}
	/* A circle of forwarded ones cannot be (P6), but what is not settled yet holds what it waits for. */
	for (i = 0; i < m->n_promises; i++)
		if (!is_settled(&m->promises[i]) && m->promises[i].count)
			hold(m, m->promises[i].kref);
}

/* What nobody holds goes, and what only that held: circles not yet. */
void m_collect(struct model *m)
{
	size_t i, n, gone;

	do {
		gone = 0;
		recount(m);
		for (i = n = 0; i < m->n_promises; i++)
			if (m->promises[i].count)
				m->promises[n++] = m->promises[i];
			else
				gone++;
		m->n_promises = n;
	} while (gone);
	for (i = n = 0; i < m->n_objects; i++) {
		const struct m_object *o = &m->objects[i];

		if (o->recognizable || (o->owner && entry_of(&m->vats[o->owner], o->kref)))
			m->objects[n++] = *o;
	}
	m->n_objects = n;
}

/* P12: between cranks. */
static void collect_circles(struct model *m)
{
	size_t i, n;

	m_collect(m);
	hold_all(m);
	for (i = n = 0; i < m->n_promises; i++)
		if (m->promises[i].held)
			m->promises[n++] = m->promises[i];
	m->n_promises = n;
	m_collect(m);
}

static bool is_orphan(const struct model *m, const struct m_object *o)
{
	return !o->owner || is_gone(m, o->owner);
}

/* What collection has to tell this vat (G1), of this kind: krefs, ascending. */
static size_t to_tell(const struct model *m, const struct m_vat *v, enum m_work work, uint64_t *out)
{
	size_t i, n = 0;

	for (i = 0; i < m->n_objects; i++) {
		const struct m_object *o = &m->objects[i];
		const struct m_entry *e = entry_of(v, o->kref);
		bool tell = false;

		if (!e)
			continue;
		if (work == M_DROP)
			tell = !is_import(e->vref) && !o->reachable && e->flag;
		else if (work == M_RETIRE_EXPORTS)
			tell = !is_import(e->vref) && !o->recognizable;
		else
			tell = is_import(e->vref) && is_orphan(m, o) && !o->reachable;
		if (tell && n < M_LISTED)
			out[n++] = o->kref;
	}
	return n;
}

/* --- lives (V) ------------------------------------------------------------------------------------------------- */

static void end_crank(struct m_vat *v)
{
	v->work = M_IDLE;
	v->item = 0;
	v->n_listed = v->n_names = 0;
}

static void reject_decided(struct model *m, unsigned vat, const char *code, bool tell)
{
	uint64_t decided[M_PROMISES];
	size_t i, n = 0;

	for (i = 0; i < m->n_promises; i++)
		if (m->promises[i].decider == vat && m->promises[i].state == M_UNRESOLVED)
			decided[n++] = m->promises[i].kref;
	for (i = 0; i < n; i++) {
		struct m_promise *p = promise(m, decided[i]);

		if (tell && entry_of(&m->vats[vat], decided[i]))
			p->subscribers |= BIT(vat);
		reject(m, decided[i], code);
	}
}

/* V5: the next incarnation. */
static void renew(struct model *m, unsigned vat)
{
	struct m_vat *v = &m->vats[vat];
	size_t i;

	v->incarnation++;
	end_crank(v);
	reject_decided(m, vat, "VAT_RESTARTED", true);
	for (i = v->n_entries; i--;) {
		struct m_entry *e = &v->entries[i];
		struct m_object *o = is_promise(e->kref) ? NULL : object(m, e->kref);

		if (!o || is_import(e->vref) || vref_survives((vref_t){e->vref}))
			continue;
		o->owner = 0;
		entry_remove(v, e);
	}
	m_collect(m);
}

unsigned m_vat_new(struct model *m, const char *name, unsigned subcluster)
{
	unsigned vat = ++m->n_vats;
	struct m_vat *v = &m->vats[vat];
	struct m_object *o = object_new(m, vat);

	assert(vat <= M_VATS);
	*v = (struct m_vat){.status = M_STARTING, .subcluster = subcluster, .incarnation = 1, .next_import = 1,
	                    .next_import_promise = 1, .next_export = 1, .next_export_promise = 1, .patient = true};
	snprintf(v->name, sizeof(v->name), "%s", name);
	o->held = subcluster;
	entry_add(v, 0, o->kref);
	m_collect(m);
	return vat;
}

uint64_t m_root(const struct model *m, unsigned vat)
{
	const struct m_entry *e = by_vref(&m->vats[vat], 0);

	return e ? e->kref : 0;
}

void m_host_send(struct model *m, uint64_t target, const char *body, const uint64_t *slots, unsigned n, bool result)
{
	struct m_item item = {.target = target, .methargs = {.body = m_text(body, strlen(body)), .n = n}};

	assert(n <= M_SLOTS);
	memcpy(item.methargs.slots, slots, n * sizeof(*slots));
	if (result) {
		struct m_promise *p = promise_new(m, 0);

		p->host = true;
		item.result = p->kref;
	}
	send_message(m, item);
	m_collect(m);
}

void m_between(struct model *m)
{
	size_t i;

	for (i = 0; i < m->n_promises; i++)
		if (is_settled(&m->promises[i]))
			m->promises[i].host = false;
	collect_circles(m);
}

void m_revoke(struct model *m, uint64_t kref)
{
	struct m_object *o = object(m, kref);

	if (o)
		o->revoked = true;
}

void m_suspend(struct model *m, unsigned vat)
{
	struct m_vat *v = &m->vats[vat];

	v->unstarted = v->status == M_STARTING;
	v->status = M_SUSPENDED;
}

static void suspend_hard(struct model *m, unsigned vat)
{
	struct m_vat *v = &m->vats[vat];

	v->status = M_SUSPENDED;
	v->unstarted = v->no_process = true;
	renew(m, vat);
}

void m_resume(struct model *m, unsigned vat)
{
	struct m_vat *v = &m->vats[vat];

	v->status = v->unstarted ? M_STARTING : M_RUNNING;
	v->unstarted = v->no_process = false;
	v->n_deaths = v->n_kills = 0;
	v->killer = 0;
}

void m_restart(struct model *m, unsigned vat)
{
	struct m_vat *v = &m->vats[vat];

	v->status = M_STARTING;
	v->unstarted = v->no_process = false;
	renew(m, vat);
}

/* G6, P8, R1: all that was its own ends. */
void m_terminate(struct model *m, unsigned vat)
{
	struct m_vat *v = &m->vats[vat];
	struct m_item *i;
	size_t n;

	if (v->status == M_TERMINATED)
		return;
	v->status = M_TERMINATED;
	end_crank(v);
	while ((i = first_of(m, ENDPOINT(vat)))) {
		struct m_item item = item_take(m, i);

		if (!item.notify)
			send_message(m, item);
	}
	reject_decided(m, vat, "VAT_TERMINATED", false);
	for (n = 0; n < m->n_promises; n++)
		m->promises[n].subscribers &= ~BIT(vat);
	v->n_entries = 0;
	m_collect(m);
}

void m_end(struct model *m, unsigned subcluster)
{
	unsigned vat;
	size_t i;

	for (i = 0; i < m->n_objects; i++)
		if (m->objects[i].held == subcluster)
			m->objects[i].held = 0;
	for (vat = 1; vat <= m->n_vats; vat++)
		if (m->vats[vat].subcluster == subcluster && m->vats[vat].status != M_NONE)
			m_terminate(m, vat);
	m_collect(m);
}

static uint64_t killer_of(const struct m_vat *v)
{
	switch (v->work) {
	case M_IDLE:
		return v->status == M_STARTING ? UINT64_MAX - M_START : 0;
	case M_MESSAGE:
	case M_NOTIFY:
		return v->item;
	case M_DROP:
	case M_RETIRE_EXPORTS:
	case M_RETIRE_IMPORTS:
		return UINT64_MAX - M_DROP;
	default:
		return UINT64_MAX - v->work;
	}
}

void m_death(struct model *m, unsigned vat)
{
	struct m_vat *v = &m->vats[vat];
	uint64_t killer = killer_of(v);
	bool message = v->work == M_MESSAGE, held = v->status == M_SUSPENDED, poison = false;

	v->n_deaths++;
	if (killer) {
		v->n_kills = v->killer == killer ? v->n_kills + 1 : 1;
		v->killer = killer;
		poison = v->n_kills >= m->poison_deaths;
	}
	if (poison && message) {
		struct m_item item = item_take(m, item_by_id(m, v->item));

		reject(m, item.result, "DELIVERY_FAILED");
		v->killer = v->n_kills = 0;
	}
	if (held || (poison && !message) || v->n_deaths > m->deaths) {
		suspend_hard(m, vat);
		return;
	}
	v->status = M_STARTING;
	renew(m, vat);
}

void m_broker_died(struct model *m)
{
	unsigned vat;
	size_t i;

	for (i = 0; i < m->n_promises; i++)
		m->promises[i].host = false;
	for (vat = 1; vat <= m->n_vats; vat++) {
		struct m_vat *v = &m->vats[vat];

		if (v->status == M_NONE || v->status == M_TERMINATED || v->no_process)
			continue;
		if (v->status == M_SUSPENDED)
			v->unstarted = v->no_process = true;
		else
			v->status = M_STARTING;
		renew(m, vat);
	}
	m_collect(m);
}

/* --- deliveries (D) ---------------------------------------------------------------------------------------------- */

/* What the vat calls it; what it has no name for gets one, for the time being (C3). */
static uint64_t name_for(struct m_vat *v, uint64_t kref)
{
	struct m_entry *e = entry_of(v, kref);

	if (!e)
		e = by_kref(v->names, v->n_names, kref);
	if (e)
		return e->vref;
	e = &v->names[v->n_names++];
	*e = (struct m_entry){REF_MINUS, kref, true};
	e->vref |= is_promise(kref) ? REF_PROMISE | v->import_promise_then++ : v->import_then++;
	return e->vref;
}

static void print_vref(FILE *f, uint64_t vref)
{
	char text[REF_TEXT_MAX];

	fputs(vref_format((vref_t){vref}, text), f);
}

static void print_value(FILE *f, struct m_vat *v, const struct m_value *value)
{
	unsigned i;

	fprintf(f, " %s [", m_text_of(value->body));
	for (i = 0; i < value->n; i++) {
		fputs(i ? " " : "", f);
		if (v)
			print_vref(f, name_for(v, value->slots[i]));
		else
			fprintf(f, "%s%" PRIu64, is_promise(value->slots[i]) ? "kp" : "ko",
			        value->slots[i] & REF_NUMBER_MASK);
	}
	fputs("]", f);
}

static const char *kind(const struct m_promise *p)
{
	if (p->state == M_REJECTED)
		return p->by_kernel ? "krej" : "rej";
	return p->ref ? "ref" : "data";
}

/* P7: breadth first. */
static void list_settled(struct model *m, struct m_vat *v, uint64_t kref)
{
	size_t at, i;

	v->listed[0] = kref;
	v->n_listed = 1;
	for (at = 0; at < v->n_listed; at++) {
		const struct m_promise *p = promise(m, v->listed[at]);
		unsigned s;

		for (s = 0; s < p->value.n; s++) {
			uint64_t slot = p->value.slots[s];

			if (!is_promise(slot) || !is_settled(promise(m, slot)))
				continue;
			for (i = 0; i < v->n_listed && v->listed[i] != slot; i++)
				;
			if (i < v->n_listed)
				continue;
			assert(v->n_listed < M_LISTED);
			v->listed[v->n_listed++] = slot;
		}
	}
}

static void prepare_notify(struct model *m, struct m_vat *v, const struct m_item *item, FILE *f)
{
	size_t i;

	v->work = M_NOTIFY;
	list_settled(m, v, item->target);
	fputs("notify", f);
	for (i = 0; i < v->n_listed; i++) {
		const struct m_promise *p = promise(m, v->listed[i]);

		fputs(i ? "; " : " ", f);
		print_vref(f, name_for(v, p->kref));
		fprintf(f, " %s", kind(p));
		print_value(f, v, &p->value);
	}
}

static void prepare_message(struct m_vat *v, const struct m_item *item, FILE *f)
{
	v->work = M_MESSAGE;
	fputs("message ", f);
	print_vref(f, name_for(v, item->target));
	print_value(f, v, &item->methargs);
	fputs(" ", f);
	if (item->result)
		print_vref(f, name_for(v, item->result));
	else
		fputs("-", f);
}

/* The head of the queue, when it still is something. */
static bool prepare_item(struct model *m, unsigned vat, FILE *f)
{
	struct m_vat *v = &m->vats[vat];
	const struct m_promise *as;
	const char *code;
	struct m_item *i = first_of(m, ENDPOINT(vat)), gone;

	if (i->notify) {
		if (entry_of(v, i->target)) {
			v->item = i->id;
			prepare_notify(m, v, i, f);
			return true;
		}
		item_take(m, i);
		m_collect(m);
		return false;
	}
	if (route(m, i, &code, &as)) {
		v->item = i->id;
		prepare_message(v, i, f);
		return true;
	}
	gone = item_take(m, i);
	refuse(m, &gone, code, as);
	m_collect(m);
	return false;
}

static bool prepare_collection(struct model *m, struct m_vat *v, FILE *f)
{
	static const char *const names[] = {"dropExports", "retireExports", "retireImports"};
	enum m_work work;
	size_t i;

	for (work = M_DROP; work <= M_RETIRE_IMPORTS; work++) {
		v->n_listed = to_tell(m, v, work, v->listed);
		if (!v->n_listed)
			continue;
		v->work = work;
		fputs(names[work - M_DROP], f);
		for (i = 0; i < v->n_listed; i++) {
			fputs(" ", f);
			print_vref(f, entry_of(v, v->listed[i])->vref);
		}
		return true;
	}
	return false;
}

char *m_prepare(struct model *m, unsigned vat)
{
	struct m_vat *v = &m->vats[vat];
	char *text = NULL;
	size_t n;
	FILE *f;

	if ((v->status != M_STARTING && v->status != M_RUNNING) || v->work != M_IDLE)
		return NULL;
	f = open_memstream(&text, &n);
	do {
		v->n_names = v->n_listed = 0;
		v->import_then = v->next_import;
		v->import_promise_then = v->next_import_promise;
		if (v->status == M_STARTING) {
			v->work = M_START;
			fputs("startVat #{} []", f);
		} else if (!prepare_collection(m, v, f) && v->reap) {
			v->work = M_REAP;
			fputs("bringOutYourDead", f);
		}
	} while (v->work == M_IDLE && first_of(m, ENDPOINT(vat)) && !prepare_item(m, vat, f));
	fclose(f);
	if (v->work != M_IDLE)
		return text;
	free(text);
	return NULL;
}

/* --- words ----------------------------------------------------------------------------------------------------- */

struct words { char buf[4000], *at; };

static char *word(struct words *w)
{
	char *start = w->at + strspn(w->at, " ");

	if (!*start)
		return NULL;
	w->at = start + strcspn(start, " ");
	if (*w->at)
		*w->at++ = '\0';
	return start;
}

static uint64_t vref_of_word(const char *text)
{
	vref_t v;
	bool ok = vref_parse(text, strlen(text), &v);

	assert(ok);
	return v.bits;
}

/* [a b c] */
static unsigned slots_of_words(struct words *w, uint64_t *out)
{
	char *end = strchr(w->at, ']'), *rest = end + 1, *s;
	unsigned n = 0;

	w->at = strchr(w->at, '[') + 1;
	*end = '\0';
	while ((s = word(w))) {
		assert(n < M_SLOTS);
		out[n++] = vref_of_word(s);
	}
	w->at = rest;
	return n;
}

/* --- syscalls (Y, C2) -------------------------------------------------------------------------------------------- */

static bool illegal(const char *why)
{
	if (!why_illegal)
		why_illegal = why;
	return false;
}

static void note_export(struct m_vat *v, uint64_t vref)
{
	uint64_t n = vref & REF_NUMBER_MASK, *next = is_promise(vref) ? &v->next_export_promise : &v->next_export;

	if (!(vref & (REF_MINUS | REF_FORM_MASK)) && n >= *next)
		*next = n + 1;
}

/* `decider`: of a promise that is new. */
static bool mention_for(struct model *m, unsigned vat, uint64_t vref, unsigned decider, uint64_t *krefp)
{
	struct m_vat *v = &m->vats[vat];
	struct m_entry *e = by_vref(v, vref);

	if (e && is_import(vref) && !e->flag)
		return illegal("unreachable import");
	if (!e && is_import(vref))
		return illegal("unknown reference");
	if (!e) {
		*krefp = is_promise(vref) ? promise_new(m, decider)->kref : object_new(m, vat)->kref;
		entry_add(v, vref, *krefp);
		note_export(v, vref);
		return true;
	}
	e->flag = true;
	*krefp = e->kref;
	return true;
}

static bool mention(struct model *m, unsigned vat, uint64_t vref, uint64_t *krefp)
{
	return mention_for(m, vat, vref, vat, krefp);
}

static bool mention_all(struct model *m, unsigned vat, const uint64_t *vrefs, unsigned n, struct m_value *out)
{
	out->n = n;
	while (n--)
		if (!mention(m, vat, *vrefs++, &out->slots[out->n - n - 1]))
			return false;
	return true;
}

static bool decides(const struct model *m, unsigned vat, uint64_t kref)
{
	const struct m_promise *p = promise(m, kref);

	return p && p->state == M_UNRESOLVED && p->decider == vat;
}

static bool do_send(struct model *m, unsigned vat, struct words *w)
{
	struct m_item item = {.sender = ENDPOINT(vat)};
	uint64_t target = vref_of_word(word(w)), vrefs[M_SLOTS], result;
	const char *body = word(w), *answer;
	unsigned n = slots_of_words(w, vrefs);

	item.methargs.body = m_text(body, strlen(body));
	answer = word(w);
	if (!mention(m, vat, target, &item.target) || !mention_all(m, vat, vrefs, n, &item.methargs))
		return false;
	if (!strcmp(answer, "-") || !strcmp(answer, "o+0")) { /* both are 0 in the frame */
		send_message(m, item);
		return true;
	}
	result = vref_of_word(answer);
	if (!is_promise(result))
		return illegal("an object as result");
	if (!mention_for(m, vat, result, vat, &item.result))
		return false;
	if (!decides(m, vat, item.result))
		return illegal("a result that it does not decide");
	promise(m, item.result)->decider = 0; /* P2 */
	send_message(m, item);
	return true;
}

static bool do_subscribe(struct model *m, unsigned vat, struct words *w)
{
	uint64_t vref = vref_of_word(word(w)), kref;
	struct m_promise *p;

	if (!is_promise(vref))
		return illegal("to subscribe to an object");
	if (!mention(m, vat, vref, &kref))
		return false;
	p = promise(m, kref);
	if (is_settled(p))
		notify(m, vat, kref);
	else
		p->subscribers |= BIT(vat);
	return true;
}

struct resolution { uint64_t vref, kref, vrefs[M_SLOTS]; bool rejected, ref; struct m_value value; };

static bool find_resolution(struct model *m, unsigned vat, struct resolution *r, unsigned n, struct words *w)
{
	const char *promise_word = word(w), *k = word(w), *body = word(w);
	unsigned i;

	r[n] = (struct resolution){.vref = vref_of_word(promise_word), .rejected = k[0] == 'r' && k[2] == 'j',
	                           .ref = !strcmp(k, "ref"), .value = {.body = m_text(body, strlen(body))}};
	r[n].value.n = slots_of_words(w, r[n].vrefs);
	w->at += strspn(w->at, "; ");
	if (!strcmp(k, "krej"))
		return illegal("to speak as the kernel");
	if (!is_promise(r[n].vref))
		return illegal("to resolve an object");
	for (i = 0; i < n; i++)
		if (r[i].vref == r[n].vref)
			return illegal("a promise twice");
	if (r[n].ref && r[n].value.n != 1)
		return illegal("REF with other than one slot");
	if (!mention(m, vat, r[n].vref, &r[n].kref))
		return false;
	if (!decides(m, vat, r[n].kref))
		return illegal("to resolve what it does not decide");
	return true;
}

static bool do_resolve(struct model *m, unsigned vat, struct words *w)
{
	struct m_vat *v = &m->vats[vat];
	struct resolution r[8];
	unsigned n = 0, i;

	while (*w->at) {
		assert(n < 8);
		if (!find_resolution(m, vat, r, n++, w))
			return false;
	}
	for (i = 0; i < n; i++)
		if (!mention_all(m, vat, r[i].vrefs, r[i].value.n, &r[i].value))
			return false;
	for (i = 0; i < n; i++) { /* P13 */
		entry_remove(v, by_vref(v, r[i].vref));
		promise(m, r[i].kref)->subscribers &= ~BIT(vat);
	}
	for (i = 0; i < n; i++) {
		struct task t = {.kref = r[i].kref, .state = r[i].rejected ? M_REJECTED : M_FULFILLED, .ref = r[i].ref,
		                 .value = r[i].value};

		if (r[i].ref && is_promise(r[i].value.slots[0]))
			forward(m, r[i].kref, r[i].value.slots[0]);
		else
			settle(m, &t);
	}
	return true;
}

static bool do_list(struct model *m, unsigned vat, const char *what, struct words *w)
{
	bool imports = !strcmp(what, "drop") || !strcmp(what, "retimp");
	struct m_vat *v = &m->vats[vat];
	char *s;

	while ((s = word(w))) {
		uint64_t vref = vref_of_word(s);
		struct m_entry *e = by_vref(v, vref);

		if (is_promise(vref) || is_import(vref) != imports)
			return illegal("not of this kind");
		if (!e)
			return illegal("not in the clist");
		if (!strcmp(what, "drop")) {
			e->flag = false;
			continue;
		}
		if (e->flag && strcmp(what, "abandon"))
			return illegal("still reachable");
		if (!imports)
			object(m, e->kref)->owner = 0;
		entry_remove(v, e);
	}
	return true;
}

enum { EXIT_NONE, EXIT_OK, EXIT_FAIL };

static bool do_exit(struct model *m, unsigned vat, struct words *w, int *exitp)
{
	const char *how = word(w);
	uint64_t vrefs[M_SLOTS];
	struct m_value info;
	unsigned n;

	word(w);
	n = slots_of_words(w, vrefs);
	*exitp = strcmp(how, "ok") ? EXIT_FAIL : EXIT_OK;
	return mention_all(m, vat, vrefs, n, &info);
}

static bool do_syscall(struct model *m, unsigned vat, const char *text, int *exitp)
{
	struct words w;
	const char *what;

	snprintf(w.buf, sizeof(w.buf), "%s", text);
	w.at = w.buf;
	what = word(&w);
	if (!strcmp(what, "send"))
		return do_send(m, vat, &w);
	if (!strcmp(what, "subscribe"))
		return do_subscribe(m, vat, &w);
	if (!strcmp(what, "resolve"))
		return do_resolve(m, vat, &w);
	if (!strcmp(what, "exit"))
		return do_exit(m, vat, &w, exitp);
	if (!strcmp(what, "set") || !strcmp(what, "del"))
		return true;
	return do_list(m, vat, what, &w);
}

/* --- cranks ------------------------------------------------------------------------------------------------------ */

/* The kernel's own side of the delivery comes first (C3, D3, G3). */
static void deliver(struct model *m, struct m_vat *v, unsigned vat)
{
	struct m_item item = {0};
	size_t i;

	if (v->work == M_MESSAGE || v->work == M_NOTIFY)
		item = item_take(m, item_by_id(m, v->item));
	for (i = 0; i < v->n_names; i++)
		entry_add(v, v->names[i].vref, v->names[i].kref);
	v->next_import = v->import_then;
	v->next_import_promise = v->import_promise_then;
	if (v->work == M_MESSAGE) {
		struct m_promise *result = item.result ? promise(m, item.result) : NULL;

		entry_of(v, item.target)->flag = true;
		for (i = 0; i < item.methargs.n; i++)
			entry_of(v, item.methargs.slots[i])->flag = true;
		if (result) {
			result->decider = vat;
			result->behind = 0;
		}
	} else if (v->work == M_NOTIFY) {
		for (i = 0; i < v->n_listed; i++) {
			const struct m_promise *p = promise(m, v->listed[i]);
			unsigned s;

			for (s = 0; s < p->value.n; s++)
				entry_of(v, p->value.slots[s])->flag = true;
		}
		for (i = 0; i < v->n_listed; i++)
			entry_remove(v, entry_of(v, v->listed[i]));
	} else if (v->work == M_START) {
		v->status = v->status == M_SUSPENDED ? M_SUSPENDED : M_RUNNING;
		v->unstarted = false;
	}
	for (i = 0; i < v->n_listed && v->work >= M_DROP && v->work <= M_RETIRE_IMPORTS; i++) {
		struct m_entry *e = entry_of(v, v->listed[i]);
		struct m_object *o = object(m, v->listed[i]);

		if (v->work == M_DROP) {
			e->flag = false;
			continue;
		}
		if (v->work == M_RETIRE_EXPORTS)
			o->owner = 0;
		entry_remove(v, e);
	}
}

/* G4, G7, V10: after a crank that was applied. */
static void account(struct model *m, struct m_vat *v)
{
	if (v->killer == killer_of(v))
		v->killer = v->n_kills = 0;
	if (v->work == M_REAP) {
		v->reap = false;
		v->dirt_deliveries = v->dirt_collected = 0;
	} else {
		v->dirt_deliveries++;
		if (v->work >= M_DROP && v->work <= M_RETIRE_IMPORTS)
			v->dirt_collected += v->n_listed;
		if (v->dirt_deliveries >= m->reap_deliveries || v->dirt_collected >= m->reap_collected)
			v->reap = true;
	}
}

/* R1: the message that it worked on has an end of its own. */
static void fatal(struct model *m, unsigned vat, const char *code)
{
	struct m_vat *v = &m->vats[vat];

	if (v->work == M_MESSAGE) {
		struct m_item item = item_take(m, item_by_id(m, v->item));

		reject(m, item.result, code);
	}
	m_terminate(m, vat);
}

const char *m_illegal(void) { return why_illegal; }

void m_crank(struct model *m, unsigned vat, const char *const *words)
{
	static struct model before;
	struct m_vat *v = &m->vats[vat];
	int exit_kind = EXIT_NONE;
	bool error = false;

	before = *m;
	why_illegal = NULL;
	deliver(m, v, vat);
	for (; *words && !error; words++) {
		if (!strcmp(*words, "done"))
			break;
		if (!strncmp(*words, "error", 5))
			error = true;
		else if (!do_syscall(m, vat, *words, &exit_kind))
			break;
	}
	if (why_illegal || error || exit_kind == EXIT_FAIL) { /* Y2: in this order */
		*m = before;
		if (why_illegal)
			fatal(m, vat, "VAT_FATAL:ILLEGAL_SYSCALL");
		else if (error)
			m_death(m, vat);
		else
			fatal(m, vat, "VAT_TERMINATED");
		return;
	}
	account(m, v);
	end_crank(v);
	m_collect(m);
	if (exit_kind == EXIT_OK)
		m_terminate(m, vat);
}

/* --- for the test ------------------------------------------------------------------------------------------------ */

void m_shorten(struct model *m, uint64_t kref, uint64_t to)
{
	struct m_promise *p = promise(m, kref), *q;

	if (!p || p->state != M_FORWARDED)
		return;
	for (q = promise(m, p->to); q && q->kref != to && q->state == M_FORWARDED; q = promise(m, q->to))
		;
	if (q && q->kref == to)
		p->to = to;
}

static void print_kref(FILE *f, uint64_t kref)
{
	char text[REF_TEXT_MAX];

	fprintf(f, " %s", kref ? kref_format((kref_t){kref}, text) : "-");
}

static void print_holder(FILE *f, uint64_t holder)
{
	char text[REF_TEXT_MAX];

	if (!holder || is_promise(holder))
		print_kref(f, holder);
	else
		fprintf(f, " %s", endpoint_format((endpoint_t){holder}, text));
}

static void print_promise(const struct m_promise *p, FILE *f)
{
	unsigned vat;

	fputs("promise", f);
	print_kref(f, p->kref);
	fprintf(f, " count %" PRIu64, p->count);
	if (p->state == M_UNRESOLVED) {
		fprintf(f, " unresolved decider %u behind", p->decider);
		print_holder(f, p->behind);
	} else if (p->state == M_FORWARDED) {
		fputs(" forwarded", f);
		print_kref(f, p->to);
	} else {
		fprintf(f, " %s", kind(p));
		print_value(f, NULL, &p->value);
		fputs(" shares", f);
		print_kref(f, p->link);
	}
	fputs("\n", f);
	for (vat = 1; vat <= M_VATS; vat++)
		if (p->subscribers & BIT(vat)) {
			fputs("subscriber", f);
			print_kref(f, p->kref);
			fprintf(f, " v%u\n", vat);
		}
}

static void print_vat(const struct model *m, unsigned vat, FILE *f)
{
	const struct m_vat *v = &m->vats[vat];
	uint64_t told[M_LISTED];
	enum m_work work;
	char text[REF_TEXT_MAX];
	size_t i, n;

	fprintf(f, "vat v%u %s status %d incarnation %u next %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", vat, v->name,
	        v->status, v->incarnation, v->next_import, v->next_import_promise, v->next_export,
	        v->next_export_promise);
	for (i = 0; i < v->n_entries; i++) {
		fprintf(f, "clist v%u %s", vat, vref_format((vref_t){v->entries[i].vref}, text));
		print_kref(f, v->entries[i].kref);
		fprintf(f, "%s\n", v->entries[i].flag ? " reachable" : "");
	}
	for (work = M_DROP; work <= M_RETIRE_IMPORTS; work++) {
		n = to_tell(m, v, work, told);
		for (i = 0; i < n; i++) {
			fprintf(f, "gc v%u %d", vat, work - M_DROP + 1);
			print_kref(f, told[i]);
			fputs("\n", f);
		}
	}
}

void m_print(const struct model *m, FILE *f)
{
	unsigned vat;
	size_t i, k, n;

	for (vat = 1; vat <= m->n_vats; vat++)
		if (m->vats[vat].status != M_NONE)
			print_vat(m, vat, f);
	for (i = 0; i < m->n_objects; i++) {
		const struct m_object *o = &m->objects[i];

		fprintf(f, "object ko%" PRIu64 " owner %u%s counts %" PRIu64 " %" PRIu64 "\n", o->kref, o->owner,
		        o->revoked ? " revoked" : "", o->reachable, o->recognizable);
	}
	for (i = 0; i < m->n_promises; i++)
		print_promise(&m->promises[i], f);
	for (i = 0; i < m->n_items; i++) {
		const struct m_item *item = &m->items[i];

		for (n = k = 0; k < i; k++)
			n += m->items[k].holder == item->holder;
		fputs("queue", f);
		print_holder(f, item->holder);
		fprintf(f, " %zu %s", n, item->notify ? "notify" : "message");
		print_kref(f, item->target);
		if (!item->notify) {
			print_value(f, NULL, &item->methargs);
			print_kref(f, item->result);
			print_holder(f, item->sender);
		}
		fputs("\n", f);
	}
}

bool m_has_room(const struct model *m)
{
	unsigned vat;
	size_t most = 0;

	for (vat = 1; vat <= m->n_vats; vat++)
		if (m->vats[vat].n_entries > most)
			most = m->vats[vat].n_entries;
	return most < M_ENTRIES - 150 && m->n_objects < M_OBJECTS - 200 && m->n_promises < M_PROMISES - 200 &&
	       m->n_items < M_ITEMS - 200;
}
