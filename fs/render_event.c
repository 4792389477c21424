/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events: a line each, as `events` streams them and `recent` holds them.
 *
 * Three words that are always there: the time, the kind, the vat it is about ("-" none, "k" the kernel itself). Then KEY=VALUE in
 * an order that is fixed for each kind, values without blanks; only `why`, which is for people, may have them, and is the last.
 */
#include "render.h"
#include "work.h"

static const char *name_of(const char *const *names, size_t n, uint32_t i)
{
	return i < n && names[i] ? names[i] : "unknown";
}

static void key_ref(struct text *t, const char *key, uint64_t bits)
{
	text_printf(t, " %s=", key);
	render_kref(t, bits);
}

static void key_number(struct text *t, const char *key, uint64_t n)
{
	text_printf(t, " %s=%llu", key, (unsigned long long)n);
}

static void key_why(struct text *t, const uint8_t *why, size_t len)
{
	if (!len)
		return;
	text_str(t, " why=");
	text_escaped(t, why, len);
}

/* The text of a crank is the method, then why it was abandoned: each may be missing. */
static void render_crank(struct text *t, const struct live_event *e, size_t text_len)
{
	size_t method = e->ref2 < text_len ? (size_t)e->ref2 : text_len;

	key_number(t, "delivery", e->crank);
	text_printf(t, " work=%s", work_name(e->work));
	key_ref(t, "target", e->ref);
	text_str(t, " method=");
	text_cell(t, e->text, method);
	key_number(t, "syscalls", e->n);
	key_number(t, "us", e->duration_us);
	text_printf(t, " outcome=%s", e->outcome == LIVE_APPLIED ? "applied" : e->outcome == LIVE_ABANDONED ? "abandoned" : "unknown");
	key_why(t, e->text + method, text_len - method);
}

static void render_resolve(struct text *t, const struct live_event *e)
{
	static const char *const states[] = {
		[PROMISE_UNRESOLVED] = "unresolved", [PROMISE_FULFILLED] = "fulfilled", [PROMISE_REJECTED] = "rejected",
		[PROMISE_FORWARDED] = "forwarded",
	};

	key_ref(t, "promise", e->ref);
	text_printf(t, " state=%s", name_of(states, ARRAY_LEN(states), e->outcome));
	if (e->ref2)
		key_ref(t, "to", e->ref2);
}

static void render_vat_event(struct text *t, const struct live_event *e, size_t text_len)
{
	static const char *const states[] = {
		[VAT_STARTING] = "starting", [VAT_RUNNING] = "running", [VAT_SUSPENDED] = "suspended", [VAT_TERMINATED] = "terminated",
	};

	if (e->kind == LIVE_STATUS)
		text_printf(t, " status=%s", name_of(states, ARRAY_LEN(states), e->outcome));
	else
		key_number(t, "incarnation", e->n);
	if (e->kind == LIVE_SPAWN)
		key_number(t, "pid", e->ref2);
	else
		key_why(t, e->text, text_len);
}

static void render_details(struct text *t, const struct live_event *e, size_t text_len)
{
	switch (e->kind) {
	case LIVE_CRANK:
		render_crank(t, e, text_len);
		break;
	case LIVE_RESOLVE:
		render_resolve(t, e);
		break;
	case LIVE_GC:
		text_printf(t, " work=%s", work_name(e->work));
		key_number(t, "n", e->n);
		key_ref(t, "first", e->ref);
		break;
	case LIVE_GONE:
		key_ref(t, "ref", e->ref);
		break;
	case LIVE_SPAWN:
	case LIVE_DEATH:
	case LIVE_STATUS:
		render_vat_event(t, e, text_len);
		break;
	case LIVE_LAUNCH:
	case LIVE_END:
		text_printf(t, " subcluster=s%llu", (unsigned long long)e->ref);
		if (text_len) {
			text_str(t, " name=");
			text_cell(t, e->text, text_len);
		}
		break;
	}
}

void render_event(struct text *t, const struct live_event *e)
{
	static const char *const kinds[] = {
		[LIVE_CRANK] = "crank", [LIVE_RESOLVE] = "resolve", [LIVE_GC] = "gc", [LIVE_GONE] = "gone", [LIVE_SPAWN] = "spawn",
		[LIVE_DEATH] = "death", [LIVE_STATUS] = "status", [LIVE_LAUNCH] = "launch", [LIVE_END] = "end",
	};

	text_time(t, e->time_us);
	text_printf(t, " %s ", name_of(kinds, ARRAY_LEN(kinds), e->kind));
	render_endpoint(t, e->vat, "-");
	render_details(t, e, e->text_len < LIVE_TEXT ? e->text_len : LIVE_TEXT);
	text_str(t, "\n");
}

uint64_t render_event_first(const struct live_page *page)
{
	uint64_t begun = __atomic_load_n(&page->n_begun, __ATOMIC_ACQUIRE);

	return begun >= LIVE_EVENTS ? begun - LIVE_EVENTS + 1 : 1;
}

int render_recent(struct view *v, uint64_t id, struct text *t)
{
	uint64_t shown = v->live ? __atomic_load_n(&v->live->n_shown, __ATOMIC_ACQUIRE) : 0, n;
	struct live_event e;

	(void)id;
	if (!shown)
		return 0;
	n = render_event_first(v->live);
	if (shown >= RENDER_RECENT && n < shown - RENDER_RECENT + 1)
		n = shown - RENDER_RECENT + 1;
	for (; n <= shown && !t->cut; n++)
		if (!live_event_read(v->live, n, &e))
			render_event(t, &e);
	return 0;
}
