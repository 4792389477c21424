/* SPDX-License-Identifier: Apache-2.0 */
#include "cycle.h"

#include "promise.h"

#define NOTHING		"#\"#undefined\""	/* the value of a member that was freed, for as long as it is there */
#define NO_MEMBER	SIZE_MAX

enum phase { PHASE_GATHER, PHASE_WALK, PHASE_JUDGE, PHASE_FORGET, PHASE_FREE_SHARED, PHASE_FREE, PHASE_END };

#define MEMBER_LIVE	0x01u	/* held from without, or by one that is */
#define MEMBER_NOTED	0x02u	/* its count fell since */
#define MEMBER_GONE	0x04u	/* deleted since */
struct member { uint64_t kref, n_held; uint32_t flags, zero; };	/* n_held: by members that were walked, as often as they do */

struct cycle_search {
	enum phase phase;
	struct member *members;
	size_t n, size;
	uint32_t *slots;		/* open addressing by kref: index + 1 */
	size_t n_slots;			/* a power of two */
	uint64_t cursor;		/* GATHER: the last suspect taken */
	size_t at, held;		/* the member in hand; of what it holds, so much is done */
	struct u64_list spread;		/* JUDGE: live members; what those from `n_spread` on hold is not marked yet */
	size_t n_spread;
};

/* --- the set ------------------------------------------------------------------------------------------------ */

static size_t slot_of(const struct cycle_search *s, uint64_t kref)
{
	size_t i = (kref * UINT64_C(0x9e3779b97f4a7c15)) >> 20 & (s->n_slots - 1);

	while (s->slots[i] && s->members[s->slots[i] - 1].kref != kref)
		i = (i + 1) & (s->n_slots - 1);
	return i;
}

static size_t find(const struct cycle_search *s, uint64_t kref)
{
	size_t i;

	if (!s || !s->n_slots)
		return NO_MEMBER;
	i = slot_of(s, kref);
	return s->slots[i] ? s->slots[i] - 1 : NO_MEMBER;
}

static int grow(struct cycle_search *s)
{
	size_t i, n_slots = s->n_slots ? s->n_slots * 2 : 256;
	struct member *members = reallocarray(s->members, n_slots / 2, sizeof(*members));
	uint32_t *slots = calloc(n_slots, sizeof(*slots));

	if (members)
		s->members = members;
	if (!members || !slots) {
		free(slots);
		return error_origin(ENOMEM);
	}
	free(s->slots);
	s->slots = slots;
	s->n_slots = n_slots;
	s->size = n_slots / 2;
	for (i = 0; i < s->n; i++)
		slots[slot_of(s, s->members[i].kref)] = i + 1;
	return 0;
}

static int add(struct cycle_search *s, uint64_t kref)
{
	int r;

	if (s->n == s->size) {
		r = grow(s);
		if (r < 0)
			return r;
	}
	s->members[s->n] = (struct member){ .kref = kref };
	s->slots[slot_of(s, kref)] = ++s->n;
	return 0;
}

/* --- suspects ----------------------------------------------------------------------------------------------- */

static int put_suspect(struct kernel *k, enum suspect_kind kind, kref_t ref)
{
	uint8_t key[16];
	int r = store_put(k->store, T_SUSPECT, key, key_u64_u64(key, kind, ref.bits), "", 0);

	k->cycling = true;
	return r < 0 ? error_trace(r) : 0;
}

static int drop_suspect(struct kernel *k, enum suspect_kind kind, kref_t ref)
{
	uint8_t key[16];
	int r = store_del(k->store, T_SUSPECT, key, key_u64_u64(key, kind, ref.bits));

	return r < 0 ? error_trace(r) : 0;
}

/* The first after *cursorp; positive: there is none. */
static int next_suspect(struct kernel *k, enum suspect_kind kind, uint64_t *cursorp)
{
	const void *key, *val;
	size_t key_len, len;
	uint8_t at[16];
	int r;

	r = store_next_of(k->store, T_SUSPECT, at, key_u64_u64(at, kind, *cursorp), 8, false, &key, &key_len, &val, &len);
	if (r < 0)
		return error_trace(r);
	if (r == STORE_NOT_FOUND)
		return 1;
	*cursorp = get_be64((const uint8_t *)key + 8);
	return 0;
}

int cycle_suspect(struct kernel *k, kref_t ref)
{
	size_t i = find(k->cycles, ref.bits);

	if (i != NO_MEMBER)
		k->cycles->members[i].flags |= MEMBER_NOTED;
	return put_suspect(k, SUSPECT_CIRCLE, ref);
}

int cycle_postpone(struct kernel *k, kref_t ref)
{
	return put_suspect(k, SUSPECT_DEAD, ref);
}

static int mark_live(struct cycle_search *s, size_t i)
{
	if (s->members[i].flags & (MEMBER_LIVE | MEMBER_GONE))
		return 0;
	s->members[i].flags |= MEMBER_LIVE;
	return u64_list_push(&s->spread, i);
}

int cycle_held(struct kernel *k, kref_t ref)
{
	size_t i;

	if (!k->cycles || k->cycles->phase != PHASE_JUDGE)
		return 0;	/* before, it will be seen; after, nobody can */
	i = find(k->cycles, ref.bits);
	if (i == NO_MEMBER)
		return 0;
	return mark_live(k->cycles, i);
}

int cycle_deleted(struct kernel *k, kref_t ref, const struct row_promise *row, const uint64_t *held, size_t n)
{
	struct cycle_search *s = k->cycles;
	size_t i = find(s, ref.bits), j, h;

	if (i != NO_MEMBER && s->phase <= PHASE_JUDGE) {
		if (s->phase == PHASE_WALK && i >= s->at)	/* not walked yet, or not to its end */
			n = i > s->at ? 0 : s->held;
		else if (s->phase == PHASE_GATHER)
			n = 0;
		for (j = 0; j < n; j++) {
			h = find(s, held[j]);
			/* One that was not settled when this was walked was not counted; too few is safe, it counts as held. */
			if (h != NO_MEMBER && s->members[h].n_held)
				s->members[h].n_held--;
		}
	}
	if (i != NO_MEMBER)
		s->members[i].flags |= MEMBER_GONE;
	return row->flags & PROMISE_F_PROMISES ? drop_suspect(k, SUSPECT_CIRCLE, ref) : 0;
}

bool cycle_is_doomed(const struct kernel *k, kref_t ref)
{
	size_t i;

	if (!k->cycles || k->cycles->phase <= PHASE_JUDGE)
		return false;
	i = find(k->cycles, ref.bits);
	return i != NO_MEMBER && !(k->cycles->members[i].flags & MEMBER_LIVE);
}

/* --- what a member holds --------------------------------------------------------------------------------------- */

/* Borrowed until the next change. A promise that shares a value holds the one whose it is. */
struct holding { struct row_promise row; struct capdata value; size_t n; };

static int load_holding(struct kernel *k, uint64_t kref, struct holding *h)
{
	int r = promise_load(k, (kref_t){ kref }, &h->row);

	if (r)
		return r < 0 ? r : kernel_corrupt("circles: a member has no row");
	h->n = 1;
	if (h->row.link)
		return 0;
	r = promise_value(k, (kref_t){ kref }, &h->value);
	h->n = h->value.n_slots;
	return r;
}

static uint64_t holding_at(const struct holding *h, size_t i)
{
	return h->row.link ? h->row.link : capdata_slot(&h->value, i);
}

/* --- the phases: each does up to *budget, and says when it is through ------------------------------------------- */

static int gather(struct kernel *k, struct cycle_search *s, unsigned *budget, bool *donep)
{
	int r;

	for (; *budget; --*budget) {
		r = s->n < CYCLE_MAX ? next_suspect(k, SUSPECT_CIRCLE, &s->cursor) : 1;
		if (r) {
			*donep = r > 0;
			return r < 0 ? r : 0;
		}
		r = add(s, s->cursor);
		if (r < 0)
			return r;
	}
	return 0;
}

/* A member holds this: it is counted, and becomes one if it can be part of a circle. */
static int meet(struct kernel *k, struct cycle_search *s, kref_t ref)
{
	size_t i = find(s, ref.bits);
	struct row_promise row;
	int r;

	if (i == NO_MEMBER) {
		if (!kref_is_promise(ref) || s->n >= CYCLE_MAX)
			return 0;
		r = promise_load(k, ref, &row);
		if (r)
			return r < 0 ? r : kernel_corrupt("circles: a value names an unknown promise");
		if (!(row.flags & PROMISE_F_PROMISES))
			return 0;	/* unsettled, which somebody decides; or it holds no promise */
		r = add(s, ref.bits);
		if (r < 0)
			return r;
		i = s->n - 1;
	}
	s->members[i].n_held++;
	return 0;
}

static int walk(struct kernel *k, struct cycle_search *s, unsigned *budget, bool *donep)
{
	struct holding h;
	int r;

	for (; *budget && s->at < s->n; s->at++, s->held = 0) {
		--*budget;
		if (s->members[s->at].flags & MEMBER_GONE)
			continue;
		r = load_holding(k, s->members[s->at].kref, &h);
		for (; r >= 0 && *budget && s->held < h.n; s->held++, --*budget)
			r = meet(k, s, (kref_t){ holding_at(&h, s->held) });
		if (r < 0 || s->held < h.n)
			return r;
	}
	*donep = s->at == s->n;
	return 0;
}

/* All that live members hold lives. */
static int spread(struct kernel *k, struct cycle_search *s, unsigned *budget)
{
	struct holding h;
	size_t i;
	int r;

	for (; *budget && s->n_spread < s->spread.n; s->n_spread++, s->held = 0) {
		const struct member *m = &s->members[s->spread.v[s->n_spread]];

		--*budget;
		if (m->flags & MEMBER_GONE)
			continue;
		r = load_holding(k, m->kref, &h);
		for (; r >= 0 && *budget && s->held < h.n; s->held++, --*budget) {
			i = find(s, holding_at(&h, s->held));
			if (i != NO_MEMBER)
				r = mark_live(s, i);
		}
		if (r < 0 || s->held < h.n)
			return r;
	}
	return 0;
}

static int judge(struct kernel *k, struct cycle_search *s, unsigned *budget, bool *donep)
{
	struct row_promise row;
	int r;

	for (;;) {
		r = spread(k, s, budget);
		if (r < 0 || s->n_spread < s->spread.n)
			return r;
		*donep = s->at == s->n;
		if (*donep || !*budget)
			return 0;
		--*budget;
		s->at++;
		if (s->members[s->at - 1].flags & MEMBER_GONE)
			continue;
		r = promise_load(k, (kref_t){ s->members[s->at - 1].kref }, &row);
		if (r)
			return r < 0 ? r : kernel_corrupt("circles: a member has no row");
		assert(row.n_refs >= s->members[s->at - 1].n_held);
		if (row.n_refs > s->members[s->at - 1].n_held)
			r = mark_live(s, s->at - 1);
		if (r < 0)
			return r;
	}
}

static int forget(struct kernel *k, struct cycle_search *s, unsigned *budget, bool *donep)
{
	int r;

	for (; *budget && s->at < s->n; s->at++, --*budget) {
		const struct member *m = &s->members[s->at];

		if (!(m->flags & (MEMBER_LIVE | MEMBER_GONE)))
			k->stats.n_circular++;
		if (m->flags != MEMBER_LIVE)
			continue;
		r = drop_suspect(k, SUSPECT_CIRCLE, (kref_t){ m->kref });
		if (r < 0)
			return r;
	}
	*donep = s->at == s->n;
	return 0;
}

/* From now on it holds nothing. */
static int empty(struct kernel *k, kref_t ref, struct row_promise *row)
{
	uint8_t value[sizeof(NOTHING) + 8], key[8];
	uint64_t link = row->link, *slots = NULL;
	size_t i, n = 0;
	int r = 0;

	if (!link)
		r = promise_value_slots(k, ref, &slots, &n);
	if (r < 0)
		return r;
	row->link = 0;
	row->flags &= ~(PROMISE_F_REF | PROMISE_F_PROMISES);
	r = promise_save(k, ref, row);
	capdata_write(value, NOTHING, strlen(NOTHING), NULL, 0);
	if (r >= 0)
		r = store_put(k->store, T_VALUE, key, key_u64(key, ref.bits), value, capdata_size(strlen(NOTHING), 0));
	if (r >= 0)
		r = drop_suspect(k, SUSPECT_CIRCLE, ref);
	if (r >= 0 && link)
		r = promise_ref(k, (kref_t){ link }, -1);
	for (i = 0; r >= 0 && i < n; i++)
		r = kernel_ref(k, (kref_t){ slots[i] }, -1);
	free(slots);
	k->n_released += n;
	return r;
}

/* Those that share a value first: they must go on to agree with the promise whose it is (C6). */
static int free_members(struct kernel *k, struct cycle_search *s, bool shared, unsigned *budget, bool *donep)
{
	struct row_promise row;
	int r;

	for (; *budget && s->at < s->n && k->n_released < CYCLE_RELEASED; s->at++, --*budget) {
		const struct member *m = &s->members[s->at];

		if (m->flags & (MEMBER_LIVE | MEMBER_GONE))
			continue;
		r = promise_load(k, (kref_t){ m->kref }, &row);
		if (r)
			return r < 0 ? r : kernel_corrupt("circles: a member has no row");
		if (!row.link == shared)
			continue;
		r = empty(k, (kref_t){ m->kref }, &row);
		if (r < 0)
			return r;
	}
	*donep = s->at == s->n;
	return 0;
}

static int run_phase(struct kernel *k, struct cycle_search *s, unsigned *budget, bool *donep)
{
	*donep = false;
	switch (s->phase) {
	case PHASE_GATHER:
		return gather(k, s, budget, donep);
	case PHASE_WALK:
		return walk(k, s, budget, donep);
	case PHASE_JUDGE:
		return judge(k, s, budget, donep);
	case PHASE_FORGET:
		return forget(k, s, budget, donep);
	case PHASE_FREE_SHARED:
	case PHASE_FREE:
		return free_members(k, s, s->phase == PHASE_FREE_SHARED, budget, donep);
	case PHASE_END:
		break;
	}
	return 0;
}

/* --- steps ------------------------------------------------------------------------------------------------------- */

/* What was left of the last cranks; *nonep: nothing. */
static int delete_postponed(struct kernel *k, unsigned *budget, bool *nonep)
{
	uint64_t ref = 0;
	int r;

	for (;; --*budget) {
		r = *budget ? next_suspect(k, SUSPECT_DEAD, &ref) : 0;
		*nonep = r > 0;
		if (r || !*budget)
			return r < 0 ? r : 0;
		r = drop_suspect(k, SUSPECT_DEAD, (kref_t){ ref });
		if (r >= 0)
			r = kernel_touch(k, (kref_t){ ref });
		if (r < 0)
			return r;
	}
}

static int search(struct kernel *k, unsigned *budget)
{
	struct cycle_search *s = k->cycles;
	bool done;
	int r;

	while (*budget && s->phase != PHASE_END) {
		r = run_phase(k, s, budget, &done);
		if (r < 0 || !done)
			return r;
		s->phase++;
		s->at = s->held = 0;
	}
	return 0;
}

/* A new search, if there are suspects. */
static int begin(struct kernel *k)
{
	uint64_t first = 0;
	int r = next_suspect(k, SUSPECT_CIRCLE, &first);

	if (r < 0)
		return r;
	k->cycling = r == 0;
	if (r)
		return 0;
	k->cycles = calloc(1, sizeof(*k->cycles));
	return k->cycles ? 0 : error_origin(ENOMEM);
}

int cycle_step(struct kernel *k, bool *morep)
{
	unsigned budget = CYCLE_BUDGET;
	bool none = false;
	int r;

	*morep = k->cycling;
	if (!k->cycling)
		return 0;
	r = kernel_savepoint(k);
	if (r >= 0)
		r = delete_postponed(k, &budget, &none);
	if (r >= 0 && none && !k->cycles)
		r = begin(k);
	if (r >= 0 && none && k->cycles)
		r = search(k, &budget);
	if (r >= 0)
		r = kernel_release(k);
	if (r < 0)
		return r;
	if (k->cycles && k->cycles->phase == PHASE_END) {
		cycle_deinit(k);
		k->n_searches++;
	}
	*morep = k->cycling;
	return 0;
}

int cycle_boot(struct kernel *k)
{
	k->cycling = true;	/* the first step finds out */
	return 0;
}

void cycle_deinit(struct kernel *k)
{
	if (!k->cycles)
		return;
	free(k->cycles->members);
	free(k->cycles->slots);
	u64_list_deinit(&k->cycles->spread);
	free(k->cycles);
	k->cycles = NULL;
}
