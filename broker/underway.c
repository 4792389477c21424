/* SPDX-License-Identifier: Apache-2.0 */
#include "underway.h"

#include <fcntl.h>
#include <inttypes.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "aside.h"
#include "promise.h"
#include "router.h"
#include "service.h"
#include "vat.h"

#define CAREFUL_NS	UINT64_C(10000000000)	/* so long after its start a broker commits everything before it tries it */
#define PAGE_SIZE	4096u
_Static_assert(sizeof(struct underway_page) <= PAGE_SIZE, "one page");

static const char magic[16] = "capstan underway";

/* --- the file ---------------------------------------------------------------------------------------------------- */

/* Blocks for the whole page now: a page of the map that has none is a SIGBUS when the disk is full. */
static bool write_page(int fd)
{
	static const uint8_t zeros[PAGE_SIZE];

	return ftruncate(fd, 0) == 0 && pwrite(fd, zeros, sizeof(zeros), 0) == (ssize_t)sizeof(zeros);
}

static struct underway_page *map_file(void)
{
	int fd = open(UNDERWAY_FILE, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
	void *p = MAP_FAILED;
	struct stat st;

	if (fd < 0)
		return NULL;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		errno = EINVAL;
	else if (st.st_size == PAGE_SIZE || write_page(fd))
		p = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	return p == MAP_FAILED ? NULL : p;
}

static bool is_same(const struct underway *a, const struct underway *b)
{
	return a->kind == b->kind && a->vat == b->vat && a->item == b->item;
}

static bool is_ours(const struct underway_page *p)
{
	size_t i;

	if (memcmp(p->magic, magic, sizeof(magic)) || p->now.kind >= UNDERWAY_N)
		return false;
	for (i = 0; i < UNDERWAY_SUSPECTS; i++)
		if (p->suspects[i].kind >= UNDERWAY_N)
			return false;
	return true;
}

/* The one that it is already, else a free place, else that of the least suspicious. */
static struct underway *place_of(struct underway_page *p, const struct underway *u)
{
	struct underway *best = &p->suspects[0];
	size_t i;

	for (i = 0; i < UNDERWAY_SUSPECTS; i++)
		if (is_same(&p->suspects[i], u))
			return &p->suspects[i];
	for (i = 0; i < UNDERWAY_SUSPECTS; i++) {
		if (!p->suspects[i].kind)
			return &p->suspects[i];
		if (p->suspects[i].n_deaths < best->n_deaths)
			best = &p->suspects[i];
	}
	return best;
}

static void count_death(struct underway_page *p)
{
	static const char *const what[UNDERWAY_N] = { [UNDERWAY_DELIVERY] = "delivery", [UNDERWAY_SERVICE] = "service call",
						      [UNDERWAY_SWEEP] = "cleaning up", [UNDERWAY_ANSWER] = "service call" };
	struct underway found = p->now, *s = place_of(p, &found);

	p->now = (struct underway){ 0 };
	if (!found.kind)
		return;
	found.n_deaths = is_same(s, &found) ? s->n_deaths + 1 : 1;
	*s = found;
	log_warn("the last broker ended in the middle of %s %" PRIu64 " (v%" PRIu64 "); %u times so far",
		 found.kind < ARRAY_LEN(what) && what[found.kind] ? what[found.kind] : "something", found.item, found.vat,
		 found.n_deaths);
}

static bool has_suspects(const struct underway_page *p)
{
	size_t i;

	for (i = 0; i < UNDERWAY_SUSPECTS; i++)
		if (p->suspects[i].kind)
			return true;
	return false;
}

void underway_open(struct kernel *k)
{
	k->fault = getenv("CAPSTAN_TEST_FAULT");
	k->underway = map_file();
	if (!k->underway) {
		log_warn("%s: %s; what ends the broker will not be found out", UNDERWAY_FILE, strerror(errno));
		return;
	}
	if (!is_ours(k->underway)) {
		memset(k->underway, 0, PAGE_SIZE);
		memcpy(k->underway->magic, magic, sizeof(magic));
	}
	count_death(k->underway);
	k->suspicious = has_suspects(k->underway);
}

void underway_close(struct kernel *k)
{
	if (k->underway)
		munmap(k->underway, PAGE_SIZE);
	k->underway = NULL;
}

/* --- at work ----------------------------------------------------------------------------------------------------- */

int underway_begin(struct kernel *k, enum underway_kind kind, uint64_t vat, uint64_t item)
{
	int r = 0;

	if (!k->underway)
		return 0;
	if (k->suspicious && k->dirty_since_ns && k->round_ns - k->start_ns < CAREFUL_NS)
		r = kernel_commit(k);
	underway_note(k, kind, vat, item);
	return r;
}

void underway_acquit(struct kernel *k, enum underway_kind kind, uint64_t vat, uint64_t item)
{
	const struct underway u = { .kind = kind, .vat = vat, .item = item };
	size_t i;

	if (!k->suspicious)
		return;
	for (i = 0; i < UNDERWAY_SUSPECTS; i++)
		if (is_same(&k->underway->suspects[i], &u))
			k->underway->suspects[i] = (struct underway){ 0 };
	k->suspicious = has_suspects(k->underway);
}

void underway_fault(const struct kernel *k, const char *stage, const void *text, size_t len)
{
	size_t n = strlen(stage);

	if (k->fault && !strncmp(k->fault, stage, n) && k->fault[n] == ':' && memmem(text, len, k->fault + n + 1, strlen(k->fault + n + 1)))
		abort();
}

/* --- judgement --------------------------------------------------------------------------------------------------- */

static int suspend(struct kernel *k, struct vat *v, const char *what)
{
	char reason[VAT_REASON_MAX];

	snprintf(reason, sizeof(reason), "the kernel ended %u times during %s", UNDERWAY_DEATHS, what);
	return v->row.status == VAT_SUSPENDED ? 0 : vat_suspend_hard(k, v, reason);
}

static int set_aside(struct kernel *k, struct vat *v, const struct item *i)
{
	struct route route = { .kind = ROUTE_REJECT, .code = CODE_DELIVERY_FAILED };
	int r = kernel_savepoint(k);

	snprintf(route.detail, sizeof(route.detail), "the kernel ended %u times while it gave the message to %s", UNDERWAY_DEATHS,
		 v->row.name);
	if (r >= 0)
		r = aside_put(k, v, i);
	if (r >= 0)
		r = queue_remove(k, endpoint_vat(v->number).bits, i->seq);
	if (r >= 0)
		r = router_refuse(k, i, &route);
	return r < 0 ? r : kernel_release(k);
}

static int judge_delivery(struct kernel *k, const struct underway *u)
{
	_cleanup_(item_deinit) struct item i = ITEM_INIT;
	struct vat *v = vat_find(k, u->vat);
	int r;

	if (!v || v->row.status == VAT_TERMINATED)
		return 0;
	if (!u->item || u->item >= KILLER_WAKE)
		return suspend(k, v, "what it was given, or sent");
	r = queue_get(k, endpoint_vat(v->number).bits, u->item, &i);
	if (r)
		return r < 0 ? r : 0;
	/* If even that ended the broker, it is left where it is. */
	if (i.row.kind == ITEM_MESSAGE && u->n_deaths == UNDERWAY_DEATHS)
		return set_aside(k, v, &i);
	return suspend(k, v, i.row.kind == ITEM_MESSAGE ? "a message to it" : "a notify to it");
}

static int judge_service(struct kernel *k, const struct underway *u)
{
	int r = service_answer_code(k, u->item, CODE_DELIVERY_FAILED, "the kernel ended three times while it answered the call");

	return r < 0 ? r : 0;
}

/* Its rows stay as they are: who waits for it waits on, in sight. */
static int judge_sweep(struct kernel *k, const struct underway *u)
{
	struct vat *v = vat_find(k, u->vat);

	if (!v)
		return 0;
	log_err("v%" PRIu64 " (%s) cannot be cleaned up after: the kernel ended %u times during it", v->number, v->row.name,
		u->n_deaths);
	v->sweep_held = true;
	return v->row.status == VAT_TERMINATED ? 0 : suspend(k, v, "cleaning up after it");
}

static int judge_one(struct kernel *k, struct underway *s)
{
	const struct underway u = *s;
	int r = 0;

	underway_note(k, u.kind, u.vat, u.item);
	switch ((enum underway_kind)u.kind) {
	case UNDERWAY_DELIVERY:
		r = judge_delivery(k, &u);
		break;
	case UNDERWAY_SERVICE:
	case UNDERWAY_ANSWER:
		r = judge_service(k, &u);
		break;
	case UNDERWAY_SWEEP:
		r = judge_sweep(k, &u);
		break;
	case UNDERWAY_NOTHING:
	case UNDERWAY_N:
		break;
	}
	if (r >= 0)
		r = kernel_commit(k);
	if (r < 0)
		return r;
	underway_end(k);
	if (u.kind != UNDERWAY_SWEEP)	/* that one is for the next broker, too */
		*s = (struct underway){ 0 };
	return 0;
}

int underway_judge(struct kernel *k)
{
	size_t i;
	int r = 0;

	for (i = 0; k->suspicious && r >= 0 && i < UNDERWAY_SUSPECTS; i++)
		if (k->underway->suspects[i].n_deaths >= UNDERWAY_DEATHS)
			r = judge_one(k, &k->underway->suspects[i]);
	if (k->suspicious)
		k->suspicious = has_suspects(k->underway);
	return r;
}
