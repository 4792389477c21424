/* SPDX-License-Identifier: Apache-2.0 */
/* Frozen trees: see frozen.h. */
#include "frozen.h"

#include <sys/mman.h>

#include "tree.h"

/* Place of a tree; -1: there is none of that number. */
static int place_of(const struct frozen_set *f, uint32_t number)
{
	for (int i = 0; number && i < (int)LEASE_FREEZES; i++)
		if (f->trees[i].number == number)
			return i;
	return -1;
}

static int end_tree(struct frozen_set *f, struct lease *lease, size_t i)
{
	struct frozen_hold *h = &f->holds[i];

	reader_free(h->reader);
	if (h->live)
		munmap(h->live, sizeof(*h->live));
	*h = (struct frozen_hold){ 0 };
	f->trees[i] = (struct frozen_tree){ 0 };
	return lease_thaw(lease, LEASE_MAX + (uint32_t)i);
}

void frozen_deinit(struct frozen_set *f, struct lease *lease)
{
	for (size_t i = 0; i < LEASE_FREEZES; i++)
		if (f->trees[i].number)
			end_tree(f, lease, i);
	*f = (struct frozen_set)FROZEN_SET_INIT;
}

bool frozen_name_ok(const char *name)
{
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_";
	size_t len = strlen(name);

	if (!len || len > FROZEN_NAME_MAX || !strchr(letters, name[0]))
		return false;
	for (size_t i = 1; i < len; i++)
		if (!strchr(letters, name[i]) && name[i] != '.' && name[i] != '-')
			return false;
	return true;
}

uint32_t frozen_named(const struct frozen_set *f, const char *name)
{
	for (size_t i = 0; i < LEASE_FREEZES; i++)
		if (f->trees[i].number && !strcmp(f->trees[i].name, name))
			return f->trees[i].number;
	return 0;
}

/* What the broker shows of itself, now. Events are of the live tree only. */
static struct live_page *copy_live(const struct live_page *page)
{
	struct live_page *copy = mmap(NULL, sizeof(*copy), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	uint64_t n = __atomic_load_n(&page->n_slots, __ATOMIC_ACQUIRE);

	if (copy == MAP_FAILED)
		return NULL;
	copy->version = page->version;
	copy->event_size = page->event_size;
	copy->vat_size = page->vat_size;
	copy->kernel = page->kernel;
	copy->n_slots = n < LIVE_VATS ? n : LIVE_VATS;
	for (uint64_t i = 0; i < copy->n_slots; i++) {
		uint64_t vat = __atomic_load_n(&page->vats[i].vat, __ATOMIC_RELAXED);
		struct live_vat slot;

		if (vat && vat % LIVE_VATS == i && !live_vat_read(page, vat, &slot))
			copy->vats[i] = slot;
	}
	return copy;
}

static int may_make(const struct frozen_set *f, uid_t uid, size_t *placep)
{
	size_t n_uid = 0, place = LEASE_FREEZES;

	for (size_t i = 0; i < LEASE_FREEZES; i++) {
		if (!f->trees[i].number)
			place = i;
		else if (f->trees[i].uid == uid)
			n_uid++;
	}
	*placep = place;
	return n_uid >= FROZEN_MAX_UID ? EMFILE : place == LEASE_FREEZES ? ENFILE : 0;
}

/* The snapshot begins under the lease; what the broker shows of itself is of the same moment, as near as that can be. */
static int take_state(struct frozen_hold *h, const struct lease *lease, struct reader *base)
{
	int r = reader_share(&h->reader, base);

	if (!r)
		r = reader_begin(h->reader);
	if (r)
		return r == -ENOMEM ? ENOMEM : EIO;
	h->live = copy_live(lease->live);
	return h->live ? 0 : ENOMEM;
}

static uint32_t next_number(struct frozen_set *f)
{
	do
		f->last = f->last % NODE_SNAPSHOT_MAX + 1;
	while (place_of(f, f->last) >= 0);
	return f->last;
}

int frozen_make(struct frozen_set *f, struct lease *lease, struct reader *base, const char *name, uid_t uid, uint64_t store_bytes,
		uint32_t *numberp, bool *gonep)
{
	uint64_t now_ns = now_monotonic_ns(), margin_ns = FROZEN_MARGIN_MS * UINT64_C(1000000);
	struct frozen_tree tree = { .uid = uid };
	struct frozen_hold *h;
	size_t i;
	int r = may_make(f, uid, &i);

	if (r)
		return r;
	h = &f->holds[i];
	r = lease_freeze(lease, LEASE_MAX + (uint32_t)i, &h->granted);
	*gonep = r == LEASE_E_GONE;
	if (r)
		return EIO;
	h->until_ns = h->granted.deadline_ns > margin_ns ? h->granted.deadline_ns - margin_ns : 0;
	h->store_bytes = store_bytes;
	r = h->until_ns > now_ns ? take_state(h, lease, base) : EIO;
	if (r) {
		*gonep = end_tree(f, lease, i) == LEASE_E_GONE;
		return r;
	}
	strcpy(tree.name, name);
	tree.txnid = reader_txnid(h->reader);
	tree.made_us = now_realtime_us();
	tree.until_us = tree.made_us + (h->until_ns - now_ns) / 1000;
	tree.number = *numberp = next_number(f);
	f->trees[i] = tree;
	return 0;
}

bool frozen_alive(const struct frozen_set *f, const struct lease *lease, uint32_t number)
{
	int i = place_of(f, number);

	return i >= 0 && lease_is_frozen(lease, &f->holds[i].granted) && now_monotonic_ns() < f->holds[i].until_ns;
}

bool frozen_view(const struct frozen_set *f, const struct lease *lease, uint32_t number, struct view *out)
{
	int i = place_of(f, number);

	if (i < 0 || !frozen_alive(f, lease, number))
		return false;
	*out = (struct view){
		.reader = f->holds[i].reader, .live = f->holds[i].live, .store_bytes = f->holds[i].store_bytes,
		.now_us = f->trees[i].made_us, .snapshot = number,
	};
	return true;
}

bool frozen_sweep(struct frozen_set *f, struct lease *lease)
{
	bool there = true;

	for (size_t i = 0; i < LEASE_FREEZES; i++)
		if (f->trees[i].number && !frozen_alive(f, lease, f->trees[i].number) && end_tree(f, lease, i) == LEASE_E_GONE)
			there = false;
	return there;
}

uint64_t frozen_left_ns(const struct frozen_set *f, uint32_t number)
{
	uint64_t now = now_monotonic_ns();
	int i = place_of(f, number);

	return i >= 0 && f->holds[i].until_ns > now ? f->holds[i].until_ns - now : 0;
}

uint64_t frozen_made_us(const struct frozen_set *f, uint32_t number)
{
	int i = place_of(f, number);

	return i >= 0 ? f->trees[i].made_us : 0;
}

int frozen_timeout_ms(const struct frozen_set *f)
{
	uint64_t first = UINT64_MAX;

	for (size_t i = 0; i < LEASE_FREEZES; i++) {
		uint64_t left = frozen_left_ns(f, f->trees[i].number);

		if (f->trees[i].number && left < first)
			first = left;
	}
	return first == UINT64_MAX ? -1 : (int)(first / 1000000) + 1;
}
