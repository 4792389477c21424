/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a vat is at, and in which order it comes to what it has to do: a startVat, collection, a bringOutYourDead, a
 * wake-up, and only then the next item of its queue (crank.c of the broker, pick()). What is in flight is not in the
 * store: it comes from what the broker shows of itself, which can be a moment younger than the snapshot.
 */
#ifndef CAPSTAN_FS_WORK_H
#define CAPSTAN_FS_WORK_H

#include "text.h"
#include "view.h"

/* Asked once for each thing that waits, in the order in which they will be done. */
struct turns {
	const char *obstacle;		/* why nothing is delivered, as one word; NULL: nothing is in the way */
	uint64_t seq, since_us;		/* of the first item in flight, and when it was sent; 0: no item is */
	uint32_t n_items;		/* in flight, from that one on */
	uint32_t n_flown, n_waiting;	/* that were asked for */
};
struct work {
	uint64_t vat;
	struct row_vat row;
	struct live_vat live;		/* all 0 when nothing is shown of it */
	struct turns turns;
};

int work_look(struct view *v, uint64_t vat, struct work *w);	/* VIEW_E_* */
const char *work_name(uint32_t work);				/* enum live_work, as PROTOCOL calls the delivery */
/*
 * The cells of what comes before its queue, each thing a row: as the rows of a queue, without a number; `size` is how
 * many references a collection delivery has, `target` the first of them. With the column `queue` or without.
 */
int work_rows(struct view *v, struct text *t, struct work *w, bool queue_column);
/*
 * The cells `state` and `busy` of the next item of its queue: in-flight, sent (ahead, behind the one in flight), done
 * (and gone with the next commit), next, waiting (for those before it), or the obstacle.
 */
void work_item(struct view *v, struct text *t, struct turns *turns, uint64_t seq);

#endif
