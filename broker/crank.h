/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The crank: one delivery to one vat; one message in, one batch of syscalls out, one transaction.
 *
 *	IDLE ──crank_prepare──▶ IN_FLIGHT ──"done": crank_apply──▶ IDLE (applied, committed with its group)
 *	  ▲                       │    ▲───── while some are left ──┘
 *	  └─────crank_abandon─────┘   vat died, deadline, illegal syscall, exit(failure), limit
 *
 * prepare reads only: new import numbers are tentative, in `names`. apply writes, between savepoint and release.
 * A crank that is abandoned before apply wrote nothing; its item is still in its place in the queue.
 *
 * A vat that says so in its hello gets messages and notifies sent ahead (D11): several deliveries in one packet, of
 * which it works on the first, the head; each is a crank of its own. They were all prepared at one moment, with nothing
 * in flight, so what they say of each other's names is in `names`, and what a crank before them changed since is found
 * out at their own apply (names_apply). What is not sure to be right then is not sent ahead. Only the head is blamed for
 * what goes wrong; the others are as if never sent.
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

#define CRANK_WINDOW	32u	/* deliveries sent to a vat and not done, at most */

/* A delivery that was sent and is not done. */
struct delivery {
	enum crank_work work;
	enum gc_type gc;
	uint64_t number;
	struct item item;		/* MESSAGE, NOTIFY: a copy; the row stays queued until apply */
	size_t name, n_names;		/* its own in `names` */
	size_t listed, n_listed;	/* and in `listed` */
};

struct crank {
	enum crank_state state;
	struct delivery *sent;		/* those in flight are [head, n_sent) */
	size_t head, n_sent, size_sent;
	uint64_t next_seq;		/* the search for what is sent behind them goes on here */
	struct names names;		/* translations that apply makes real */
	struct u64_list listed;		/* NOTIFY: promises in it, their entries leave the clist; GC: krefs */
	/* Of the head. */
	struct wire_buf syscalls;	/* frames as they came */
	uint64_t n_syscalls, n_slots, n_messages;
	bool read_in_packet;		/* a read came in the packet being handled */
	struct omap *writes;		/* buffered vatstore changes, for the crank's own reads */
	uint64_t deadline_ns;		/* broker clock; 0 none */
	uint64_t cpu_ns;		/* of its process when it began, if cpu_known */
	bool cpu_known;
	/* Of all that was sent together. */
	bool answer_kept;		/* the answer to the last read had to wait for room in the socket */
	/* How many are sent at a time: what the vat takes, and what it has been found to do in good time. */
	unsigned window, pace;
	uint64_t sent_ns;		/* broker clock */
};

/* How a finished crank went; negative errors apart. */
enum crank_outcome { CRANK_APPLIED = 0, CRANK_ILLEGAL = 1, CRANK_LIMIT = 2, CRANK_EXIT_FAILURE = 3, CRANK_FAILED = 4 };

void crank_init(struct crank *c);
void crank_deinit(struct crank *c);
/* The delivery that the vat works on; NULL: none is in flight. */
static inline struct delivery *crank_head(struct crank *c)
{
	return c->state == CRANK_IN_FLIGHT ? &c->sent[c->head] : NULL;
}
/* Its next process: nothing is known of it yet. */
void crank_new_process(struct crank *c);

/* Pick the vat's next work and send it, and what may be sent with it; nothing to do is fine. Work that is no delivery any more is ended here. */
int crank_prepare(struct kernel *k, struct vat *v);
int crank_prepare_ready(struct kernel *k);	/* the same for every vat that can take some, once round */
/* Frames from the vat. Positive: its process is being ended. */
int crank_frames(struct kernel *k, struct vat *v, const uint8_t *frames, size_t len);
void crank_abandon(struct kernel *k, struct vat *v);	/* all that is in flight */
void crank_abandon_take(struct kernel *k, struct vat *v, struct item *itemp);	/* the same; the head's item is the caller's now */
/* The number by which deaths of this delivery are counted (row_vat.killer_seq). */
uint64_t crank_killer(const struct delivery *d);

#endif
