/* SPDX-License-Identifier: Apache-2.0 */
#include "deadline.h"

#include <inttypes.h>

#include "process.h"
#include "vat.h"

#define FOREVER_MS	1000	/* a wait without end counts for so much */

void deadline_advance(struct kernel *k, uint64_t *lastp, uint64_t now_ns, int waited_ms)
{
	uint64_t spent = now_ns - *lastp;
	uint64_t allowed = (uint64_t)(waited_ms < 0 ? FOREVER_MS : waited_ms) * 1000000 + DEADLINE_STALL_NS;

	k->broker_ns += spent < allowed ? spent : allowed;
	*lastp = now_ns;
}

void deadline_begin(struct kernel *k, struct vat *v)
{
	struct crank *c = &v->crank;

	/* It counts from here: so far the vat was busy with the one before it. */
	c->deadline_ns = v->limits.deadline_ns ? k->broker_ns + v->limits.deadline_ns : 0;
	/* A system call for each delivery: only for those who want to know. */
	c->cpu_known = v->limits.cpu_ns && process_cpu_ns(v->row.pid, &c->cpu_ns) == 0;
}

bool deadline_over_cpu(const struct vat *v)
{
	uint64_t now_ns;

	return v->crank.cpu_known && process_cpu_ns(v->row.pid, &now_ns) == 0 && now_ns > v->crank.cpu_ns &&
	       now_ns - v->crank.cpu_ns > v->limits.cpu_ns;
}

static bool over_deadline(const struct kernel *k, const struct vat *v)
{
	return v->crank.deadline_ns && k->broker_ns >= v->crank.deadline_ns;
}

static int check_vat(struct kernel *k, struct vat *v)
{
	const struct delivery *head = crank_head(&v->crank);
	uint64_t delivery = head ? head->number : 0;
	char why[80];
	bool late;
	int r;

	if (!head || v->proc != PROC_ALIVE)
		return 0;
	late = over_deadline(k, v);
	if (!late && !deadline_over_cpu(v))
		return 0;
	r = channel_read_dry(&v->channel);	/* D6: it may just have answered */
	if (r < 0)
		return r;
	head = crank_head(&v->crank);
	if (!head || head->number != delivery || v->proc != PROC_ALIVE)
		return 0;
	if (!late) {
		snprintf(why, sizeof(why), "LIMIT cpuMs %" PRIu64, v->limits.cpu_ns / 1000000);
		return vat_suspend_hard(k, v, why);
	}
	snprintf(why, sizeof(why), "over its deadline of %" PRIu64 " ms", v->limits.deadline_ns / 1000000);
	return vat_end_process(k, v, FATE_DEATH, why);
}

int deadline_check(struct kernel *k, uint64_t now_ns)
{
	struct vat *v, *tmp;
	int r;

	HASH_ITER(hh, k->vats, v, tmp) {
		if (v->pings)
			vat_check_pings(k, v, now_ns);
		r = check_vat(k, v);
		if (r < 0)
			return r;
	}
	return 0;
}
