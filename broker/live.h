/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The writer of lib/live.h: what the tables do not say, shown to whoever maps the page. The page lives as long as the broker, with
 * a mount and without; a kernel of a test has none, and then every function here does nothing.
 *
 * Invariants: nothing waits for a reader, and no reader causes work. What is said inside a savepoint is forgotten with it; what is
 * said is shown by the commit of its cause (live_commit()) and not before. All times are those of the broker's rounds (the end
 * of a wait): the clock is not read for each event.
 */
#ifndef CAPSTAN_BROKER_LIVE_H
#define CAPSTAN_BROKER_LIVE_H

#include "../lib/live.h"
#include "kernel.h"

#define LIVE_SAMPLE_MS	100u	/* a vat's process is looked at (memory, processor time) so long after it got work, and as often while it has some */
#define LIVE_SAMPLES	16u	/* of them in one go: then again after LIVE_PAUSE_MS, so that many vats cost no more than that */
#define LIVE_PAUSE_MS	10u

struct live {
	struct live_page *page;
	int fd;				/* the page's, sealed so that nobody maps it writable again */
	uint64_t n, mark;		/* events said; said at the savepoint */
	int64_t offset_us;		/* realtime less monotonic, as of the last commit */
	uint64_t actor;			/* endpoint whose crank is being applied; 0: none, the kernel acts */
	struct vat *noted_first, *noted_last;	/* whose processes are to be looked at, in the order in which that was noted */
	uint64_t sample_ns;		/* monotonic: not before that; 0: any time */
};

int live_new(struct live **livep);
struct live *live_free(struct live *l);		/* NULL */

/* The transaction (kernel.c). */
static inline void live_savepoint(struct live *l)
{
	if (l)
		l->mark = l->n;
}
static inline void live_release(struct live *l)
{
	if (l)
		l->actor = 0;
}
static inline void live_rollback(struct live *l)
{
	if (l) {
		l->n = l->mark;
		l->actor = 0;
	}
}
void live_commit(struct kernel *k);		/* right after the store's */

/* Vats. A slot is taken when its record is made, and copied anew (live_show()) when something of it has changed. */
void live_vat_new(struct kernel *k, struct vat *v);
void live_vat_forget(struct kernel *k, struct vat *v);
void live_show(struct kernel *k, struct vat *v);
void live_note(struct kernel *k, struct vat *v);	/* its process is looked at in LIVE_SAMPLE_MS */
/* It was sent something. */
void live_sent(struct kernel *k, struct vat *v);
/* The head of what is in flight: about to be applied, inside the savepoint; applied; not applied, with v->death as the reason. */
void live_crank(struct kernel *k, struct vat *v);
void live_applied(struct kernel *k, struct vat *v);
void live_abandoned(struct kernel *k, struct vat *v);
/* A process to look at next, as soon as it is due, or NULL (process.c does the looking). */
struct vat *live_next_sample(struct kernel *k, uint64_t now_ns);
int live_sample_timeout_ms(const struct kernel *k, uint64_t now_ns);	/* -1: none is noted */
void live_sampled(struct kernel *k, struct vat *v, uint64_t memory, uint64_t cpu_ns);

/* The other events. */
void live_resolved(struct kernel *k, kref_t ref, enum promise_state state, uint32_t flags, kref_t target);
void live_gone(struct kernel *k, kref_t ref);
void live_spawned(struct kernel *k, const struct vat *v);
void live_died(struct kernel *k, const struct vat *v, uint32_t incarnation, const char *why);
void live_status(struct kernel *k, const struct vat *v);
void live_launched(struct kernel *k, uint64_t subcluster, const char *name);
void live_ended(struct kernel *k, uint64_t subcluster);

#endif
