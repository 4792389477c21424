/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The crank: one delivery to one vat; one message in, one batch of syscalls out, one transaction.
 *
 *	IDLE ──crank_prepare──▶ IN_FLIGHT ──"done": crank_apply──▶ IDLE (applied, committed with its group)
 *	  ▲                         │
 *	  └──────crank_abandon──────┘   vat died, deadline, illegal syscall, exit(failure), limit
 *
 * prepare reads only: new import numbers are tentative, in `names`. apply writes, between savepoint and release.
 * A crank that is abandoned before apply wrote nothing; its item is still in its place in the queue.
 */
#ifndef CAPSTAN_CRANK_H
#define CAPSTAN_CRANK_H

#include "../lib/omap.h"
#include "kernel.h"
#include "queue.h"
#include "translate.h"

enum crank_state { CRANK_IDLE, CRANK_IN_FLIGHT };
enum crank_work { WORK_START, WORK_MESSAGE, WORK_NOTIFY, WORK_GC, WORK_REAP, WORK_WAKE };

/* What row_vat.killer_seq says for deliveries that are no queue items. */
#define KILLER_START	UINT64_MAX
#define KILLER_GC	(UINT64_MAX - 1)
#define KILLER_REAP	(UINT64_MAX - 2)
#define KILLER_WAKE	(UINT64_MAX - 3)

struct crank {
	enum crank_state state;
	enum crank_work work;
	uint64_t delivery;
	struct item item;		/* MESSAGE, NOTIFY: a copy; the row stays queued until apply */
	struct names names;		/* translations that apply makes real */
	struct u64_list listed;		/* NOTIFY: promises in it, their entries leave the clist; GC: krefs */
	enum gc_type gc;
	struct wire_buf syscalls;	/* frames as they came */
	uint64_t n_syscalls, n_slots;
	bool read_in_packet;		/* a read came in the packet being handled */
	struct omap *writes;		/* buffered vatstore changes, for the crank's own reads */
	uint64_t deadline_ns;		/* broker clock; 0 none */
};

/* How a finished crank went; negative errors apart. */
enum crank_outcome { CRANK_APPLIED = 0, CRANK_ILLEGAL = 1, CRANK_LIMIT = 2, CRANK_EXIT_FAILURE = 3, CRANK_FAILED = 4 };

void crank_init(struct crank *c);
void crank_deinit(struct crank *c);

/* Pick the vat's next work and send it; nothing to do is fine. Work that is no delivery any more is ended here. */
int crank_prepare(struct kernel *k, struct vat *v);
/* Frames from the vat. Positive: its process is being ended. */
int crank_frames(struct kernel *k, struct vat *v, const uint8_t *frames, size_t len);
void crank_abandon(struct kernel *k, struct vat *v);
/* The number by which deaths of this delivery are counted (row_vat.killer_seq). */
uint64_t crank_killer(const struct crank *c);

#endif
