/* SPDX-License-Identifier: Apache-2.0 */
/* See live.h. */
#include "live.h"

#include <fcntl.h>
#include <sys/mman.h>

#include "crank.h"
#include "vat.h"

_Static_assert((int)LIVE_PROC_NONE == PROC_NONE && (int)LIVE_PROC_WANTED == PROC_WANTED &&
	       (int)LIVE_PROC_SPAWNING == PROC_SPAWNING && (int)LIVE_PROC_ALIVE == PROC_ALIVE &&
	       (int)LIVE_PROC_DYING == PROC_DYING, "enum live_proc is enum vat_proc");

/* --- the page ------------------------------------------------------------------------------------------------------ */

static int page_new(struct live_page **pagep, int *fdp)
{
	_cleanup_close_ int fd = -1;
	struct live_page *page;

	fd = memfd_create("capstan-live", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0 || ftruncate(fd, sizeof(*page)))
		return error_origin(errno);
	page = mmap(NULL, sizeof(*page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (page == MAP_FAILED)
		return error_origin(errno);
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)) {
		munmap(page, sizeof(*page));
		return error_origin(errno);
	}
	page->version = LIVE_VERSION;
	page->event_size = sizeof(struct live_event);
	page->vat_size = sizeof(struct live_vat);
	page->lease.commits = 1;
	page->kernel.start_us = now_realtime_us();
	page->kernel.pid = getpid();
	*pagep = page;
	*fdp = TAKE_FD(fd);
	return 0;
}

static void set_offset(struct live *l)
{
	l->offset_us = (int64_t)(now_realtime_us() - now_monotonic_ns() / 1000);
}

int live_new(struct live **livep)
{
	struct live *l = calloc(1, sizeof(*l));
	int r;

	if (!l)
		return error_origin(ENOMEM);
	r = page_new(&l->page, &l->fd);
	if (r < 0) {
		free(l);
		return r;
	}
	set_offset(l);
	*livep = l;
	return 0;
}

struct live *live_free(struct live *l)
{
	if (l) {
		munmap(l->page, sizeof(*l->page));
		close(l->fd);
	}
	free(l);
	return NULL;
}

static uint64_t now_us(const struct kernel *k)
{
	return k->loop.woke_ns / 1000 + (uint64_t)k->live->offset_us;
}

/* --- events -------------------------------------------------------------------------------------------------------- */

/*
 * The next one, to be filled. Its slot has an event of an earlier turn, which is lost from here on, also when this one is
 * forgotten: so n_begun only rises.
 */
static struct live_event *say(struct kernel *k, enum live_event_kind kind)
{
	struct live *l = k->live;
	struct live_page *p = l->page;
	uint64_t n = ++l->n;
	struct live_event *e = &p->events[n % LIVE_EVENTS];

	if (n > p->n_begun) {
		__atomic_store_n(&p->n_begun, n, __ATOMIC_RELAXED);
		__atomic_thread_fence(__ATOMIC_RELEASE);
	}
	/* Its slot was last written 32,768 events ago, and no cache knows it any more. */
	__builtin_prefetch(&p->events[(n + 1) % LIVE_EVENTS], 1);
	memset(e, 0, offsetof(struct live_event, text));
	e->number = n;
	e->time_us = now_us(k);
	e->kind = kind;
	return e;
}

/* Behind what is there; cut. */
static void add_text(struct live_event *e, const void *text, size_t len)
{
	size_t room = LIVE_TEXT - e->text_len;

	if (len > room)
		len = room;
	memcpy(e->text + e->text_len, text, len);
	e->text_len += len;
}

/* Bytes of a JSON string up to its closing quote; `len` if that is not among them. */
static size_t string_len(const uint8_t *s, size_t len)
{
	size_t i = 0;

	while (i < len && s[i] != '"')
		i += s[i] == '\\' ? 2 : 1;
	return i < len ? i : len;
}

/* Its name as it stands in the body's JSON, as far as it fits: `#["increment",[…]]`. Of any other body nothing. */
static void add_method(struct live_event *e, const struct item *i)
{
	struct capdata value;
	size_t room;

	if (!capdata_read(i->raw, i->len, &value) || value.body_len < 3 || memcmp(value.body, "#[\"", 3))
		return;
	room = value.body_len - 3 < LIVE_TEXT ? value.body_len - 3 : LIVE_TEXT;
	add_text(e, value.body + 3, string_len(value.body + 3, room));
}

void live_resolved(struct kernel *k, kref_t ref, enum promise_state state, uint32_t flags, kref_t target)
{
	struct live_event *e;

	if (!k->live)
		return;
	e = say(k, LIVE_RESOLVE);
	e->ref = ref.bits;
	e->ref2 = target.bits;
	e->outcome = state;
	e->vat = flags & PROMISE_F_KERNEL || !k->live->actor ? ENDPOINT_K.bits : k->live->actor;
}

void live_gone(struct kernel *k, kref_t ref)
{
	if (k->live)
		say(k, LIVE_GONE)->ref = ref.bits;
}

void live_spawned(struct kernel *k, const struct vat *v)
{
	struct live_event *e;

	if (!k->live)
		return;
	e = say(k, LIVE_SPAWN);
	e->vat = endpoint_vat(v->number).bits;
	e->n = v->row.incarnation;
	e->ref2 = (uint64_t)v->row.pid;
}

void live_died(struct kernel *k, const struct vat *v, uint32_t incarnation, const char *why)
{
	struct live_event *e;

	if (!k->live)
		return;
	e = say(k, LIVE_DEATH);
	e->vat = endpoint_vat(v->number).bits;
	e->n = incarnation;
	add_text(e, why, strlen(why));
}

void live_status(struct kernel *k, const struct vat *v)
{
	struct live_event *e;

	if (!k->live)
		return;
	e = say(k, LIVE_STATUS);
	e->vat = endpoint_vat(v->number).bits;
	e->outcome = v->row.status;
	if (v->row.status == VAT_SUSPENDED || v->row.status == VAT_TERMINATED)
		add_text(e, v->row.reason, strlen(v->row.reason));
}

static void subcluster_event(struct kernel *k, enum live_event_kind kind, uint64_t number, const char *name)
{
	struct live_event *e;

	if (!k->live)
		return;
	e = say(k, kind);
	e->ref = number;
	add_text(e, name, strlen(name));
}

void live_launched(struct kernel *k, uint64_t subcluster, const char *name)
{
	subcluster_event(k, LIVE_LAUNCH, subcluster, name);
}

void live_ended(struct kernel *k, uint64_t subcluster)
{
	subcluster_event(k, LIVE_END, subcluster, "");
}

/* --- vats ---------------------------------------------------------------------------------------------------------- */

static void turn_begin(struct live_vat *s)
{
	__atomic_store_n(&s->turn, s->turn + 1, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_RELEASE);
}

static void turn_end(struct live_vat *s)
{
	__atomic_store_n(&s->turn, s->turn + 1, __ATOMIC_RELEASE);
}

static enum live_work work_of(const struct delivery *d)
{
	static const enum live_work works[] = {
		[WORK_START] = LIVE_WORK_START, [WORK_MESSAGE] = LIVE_WORK_MESSAGE, [WORK_NOTIFY] = LIVE_WORK_NOTIFY,
		[WORK_REAP] = LIVE_WORK_REAP, [WORK_WAKE] = LIVE_WORK_WAKE,
	};
	static const enum live_work gc[] = {
		[GC_DROP_EXPORT] = LIVE_WORK_DROP_EXPORTS, [GC_RETIRE_EXPORT] = LIVE_WORK_RETIRE_EXPORTS,
		[GC_RETIRE_IMPORT] = LIVE_WORK_RETIRE_IMPORTS,
	};

	return d->work == WORK_GC ? gc[d->gc] : works[d->work];
}

void live_vat_new(struct kernel *k, struct vat *v)
{
	struct live_page *p;
	struct live_vat *s;
	uint64_t at = v->number % LIVE_VATS;

	if (!k->live)
		return;
	p = k->live->page;
	s = &p->vats[at];
	if (s->vat)
		return;	/* 65,536 vats ago, and it lives still */
	turn_begin(s);
	memset(&s->vat, 0, sizeof(s->vat));
	memset(&s->proc, 0, sizeof(*s) - offsetof(struct live_vat, proc));
	s->vat = v->number;
	turn_end(s);
	v->live = s;
	if (p->n_slots <= at)
		__atomic_store_n(&p->n_slots, at + 1, __ATOMIC_RELEASE);
}

static void unnote(struct live *l, struct vat *v)
{
	struct vat **p;

	for (p = &l->noted_first, l->noted_last = NULL; *p;) {
		if (*p == v) {
			*p = v->next_noted;
			continue;
		}
		l->noted_last = *p;
		p = &(*p)->next_noted;
	}
	v->noted_ns = 0;
}

void live_vat_forget(struct kernel *k, struct vat *v)
{
	if (!v->live)
		return;
	if (v->noted_ns)
		unnote(k->live, v);
	turn_begin(v->live);
	v->live->vat = 0;
	turn_end(v->live);
	v->live = NULL;
}

/* What of it is state; the sums and samples are the slot's own. */
static void copy_state(struct kernel *k, struct vat *v)
{
	struct live_vat *s = v->live;
	struct crank *c = &v->crank;
	const struct delivery *d = crank_head(c);

	k->live->page->kernel.n_in_flight += (d != NULL) - (s->n_in_flight != 0);
	s->proc = v->proc;
	s->flags = (v->sweeping ? LIVE_F_SWEEPING : 0) | (v->wake_pending ? LIVE_F_WAKE : 0);
	s->bytes_in = v->channel.n_in;
	s->bytes_out = v->channel.n_out;
	if (v->proc == PROC_NONE)
		s->memory = s->cpu_ns = 0;
	if (!d) {
		s->work = LIVE_WORK_NONE;
		s->delivery = s->seq = s->since_us = s->n_in_flight = s->n_items = 0;
		return;
	}
	s->work = work_of(d);
	if (s->delivery != d->number)
		s->since_us = now_us(k);
	s->delivery = d->number;
	s->seq = d->item.seq;
	s->n_in_flight = c->n_sent - c->head;
	s->n_items = d->item.seq ? s->n_in_flight : 0;
}

void live_show(struct kernel *k, struct vat *v)
{
	if (!v->live)
		return;
	turn_begin(v->live);
	copy_state(k, v);
	turn_end(v->live);
}

/* --- cranks -------------------------------------------------------------------------------------------------------- */

static uint64_t busy_us(const struct kernel *k, const struct vat *v)
{
	uint64_t now = now_us(k), since = v->live ? v->live->since_us : now;

	return now > since ? now - since : 0;
}

static struct live_event *say_crank(struct kernel *k, struct vat *v, enum live_outcome outcome)
{
	struct live_event *e = say(k, LIVE_CRANK);
	struct crank *c = &v->crank;
	const struct delivery *d = crank_head(c);
	uint64_t busy = busy_us(k, v);

	e->vat = endpoint_vat(v->number).bits;
	e->crank = d->number;
	e->work = work_of(d);
	e->outcome = outcome;
	e->n = c->n_syscalls;
	e->duration_us = busy < UINT32_MAX ? busy : UINT32_MAX;
	if (d->work == WORK_MESSAGE || d->work == WORK_NOTIFY)
		e->ref = d->item.row.target;
	else if (d->work == WORK_GC)
		e->ref = c->listed.v[d->listed];
	if (d->work == WORK_MESSAGE)
		add_method(e, &d->item);
	e->ref2 = e->text_len;
	return e;
}

void live_crank(struct kernel *k, struct vat *v)
{
	const struct delivery *d = crank_head(&v->crank);
	struct live_event *e;

	if (!k->live)
		return;
	k->live->actor = endpoint_vat(v->number).bits;
	say_crank(k, v, LIVE_APPLIED);
	if (d->work != WORK_GC)
		return;
	e = say(k, LIVE_GC);
	e->vat = k->live->actor;
	e->work = work_of(d);
	e->n = d->n_listed;
	e->ref = v->crank.listed.v[d->listed];
}

void live_note(struct kernel *k, struct vat *v)
{
	struct live *l = k->live;

	if (!l || v->noted_ns)
		return;
	v->noted_ns = k->loop.woke_ns + LIVE_SAMPLE_MS * UINT64_C(1000000);
	v->next_noted = NULL;
	if (l->noted_last)
		l->noted_last->next_noted = v;
	else
		l->noted_first = v;
	l->noted_last = v;
}

void live_sent(struct kernel *k, struct vat *v)
{
	live_show(k, v);
	live_note(k, v);
}

void live_applied(struct kernel *k, struct vat *v)
{
	struct live_vat *s = v->live;

	if (!s)
		return;
	turn_begin(s);
	s->n_cranks++;
	s->n_syscalls += v->crank.n_syscalls;
	s->n_messages += v->crank.n_messages;
	s->busy_us += busy_us(k, v);
	turn_end(s);
}

void live_abandoned(struct kernel *k, struct vat *v)
{
	struct live_event *e;

	if (!k->live)
		return;
	e = say_crank(k, v, LIVE_ABANDONED);
	add_text(e, v->death, strlen(v->death));
	if (!v->live)
		return;
	turn_begin(v->live);
	v->live->n_abandoned += v->crank.n_sent - v->crank.head;
	v->live->busy_us += busy_us(k, v);
	turn_end(v->live);
}

/* --- what processes use -------------------------------------------------------------------------------------------- */

struct vat *live_next_sample(struct kernel *k, uint64_t now_ns)
{
	struct live *l = k->live;
	struct vat *v = l ? l->noted_first : NULL;

	if (!v || v->noted_ns > now_ns)
		return NULL;
	l->noted_first = v->next_noted;
	if (!l->noted_first)
		l->noted_last = NULL;
	v->noted_ns = 0;
	return v;
}

int live_sample_timeout_ms(const struct kernel *k, uint64_t now_ns)
{
	const struct live *l = k->live;
	uint64_t due;

	if (!l || !l->noted_first)
		return -1;
	due = l->noted_first->noted_ns > l->sample_ns ? l->noted_first->noted_ns : l->sample_ns;
	return due <= now_ns ? 0 : (int)((due - now_ns + 999999) / 1000000);
}

void live_sampled(struct kernel *k, struct vat *v, uint64_t memory, uint64_t cpu_ns)
{
	struct live_vat *s = v->live;

	if (!s)
		return;
	turn_begin(s);
	s->memory = memory;
	s->cpu_ns = cpu_ns;
	s->sampled_us = now_us(k);
	turn_end(s);
}

/* --- commit -------------------------------------------------------------------------------------------------------- */

static void copy_counters(struct kernel *k)
{
	const struct kernel_stats *from = &k->stats;
	struct live_kernel *to = &k->live->page->kernel;

	to->n_commits++;
	to->commit_us = now_realtime_us();
	to->n_cranks = from->n_cranks;
	to->n_abandoned = from->n_abandoned;
	to->n_illegal = from->n_illegal;
	to->n_dropped_sends = from->n_dropped_sends;
	to->n_deaths = from->n_deaths;
	to->n_messages = from->n_delivered_messages;
	to->n_notifies = from->n_notifies;
	to->n_gc = from->n_gc;
	to->n_ahead = from->n_ahead;
	to->n_objects_gone = from->n_objects_gone;
	to->n_promises_gone = from->n_promises_gone;
	to->n_circular = from->n_circular;
	to->n_calls = HASH_COUNT(k->calls);
}

void live_commit(struct kernel *k)
{
	struct live *l = k->live;
	struct live_page *p;
	uint64_t kept;

	if (!l)
		return;
	p = l->page;
	__atomic_add_fetch(&p->lease.commits, 1, __ATOMIC_RELEASE);
	copy_counters(k);
	set_offset(l);
	/* Said since the last commit, and written over by now. */
	kept = p->n_begun > LIVE_EVENTS ? p->n_begun - LIVE_EVENTS : 0;
	if (kept > l->n)
		kept = l->n;
	if (kept > p->n_shown)
		p->kernel.n_events_lost += kept - p->n_shown;
	__atomic_store_n(&p->n_shown, l->n, __ATOMIC_RELEASE);
}
