/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the broker works on at the moment (L2): a page of a file in the store's folder, mapped, so that it outlives the process. A
 * broker that finds something there knows what the one before it died of, perhaps, and counts. What ended three of them without
 * once having gone well is set aside, or its vat suspended, before anything else is done.
 *
 * It is about the death of the process, not of the machine: nothing is synced, and to note something is a few stores. As long
 * as there is a suspect, all is committed before the next thing is tried, for a message is known by its number in the queue,
 * and that is only the same again if it was committed. Without the file the broker works as well, and notes nothing.
 */
#ifndef CAPSTAN_UNDERWAY_H
#define CAPSTAN_UNDERWAY_H

#include "kernel.h"

#define UNDERWAY_FILE		"under-way"
#define UNDERWAY_DEATHS		3u
#define UNDERWAY_SUSPECTS	8u

enum underway_kind {
	UNDERWAY_NOTHING,
	UNDERWAY_DELIVERY,	/* of `vat`; item: crank_killer(), 0 before it is known and for frames outside of cranks */
	UNDERWAY_SERVICE,	/* item: the number of the call in the queue of `k` */
	UNDERWAY_SWEEP,		/* of `vat` */
	UNDERWAY_ANSWER,	/* item: the number of a call that waited in the queue of `k` and is carried out */
	UNDERWAY_N
};
struct underway { uint32_t kind, n_deaths; uint64_t vat, item; };
struct underway_page {
	char magic[16];
	struct underway now;
	struct underway suspects[UNDERWAY_SUSPECTS];	/* kind UNDERWAY_NOTHING: free */
};

/* Opens the file in the working folder and counts what it finds; it is fine if it cannot. Reads the fault of tests. */
void underway_open(struct kernel *k);
void underway_close(struct kernel *k);
/* When the kernel is loaded: what has ended three brokers does not end a fourth. */
int underway_judge(struct kernel *k);

/* Before something is tried, outside of a savepoint. */
int underway_begin(struct kernel *k, enum underway_kind kind, uint64_t vat, uint64_t item);
/* It went well: no suspect. */
void underway_acquit(struct kernel *k, enum underway_kind kind, uint64_t vat, uint64_t item);
/* For tests: the broker ends here when it was told so, and the message has that text in it. */
void underway_fault(const struct kernel *k, const char *stage, const void *text, size_t len);

/* The same thing is known better now, or it is the next one's turn. */
static inline void underway_note(struct kernel *k, enum underway_kind kind, uint64_t vat, uint64_t item)
{
	volatile struct underway *now;

	if (!k->underway)
		return;
	now = &k->underway->now;
	now->kind = UNDERWAY_NOTHING;
	now->vat = vat;
	now->item = item;
	now->kind = kind;
}

static inline void underway_end(struct kernel *k)
{
	if (k->underway)
		*(volatile uint32_t *)&k->underway->now.kind = UNDERWAY_NOTHING;
}

#endif
