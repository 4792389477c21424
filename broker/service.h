/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Services: objects owned by the kernel itself, endpoint `k`, which has a queue like everybody else (S3, S4).
 *
 *	queued ──service_pump: begin()──▶ SERVICE_DONE: settled, gone
 *	                       └────────▶ SERVICE_LATER: waits, counted, in the queue (C4) ──service_answer──▶ settled, gone
 *
 * Each call begins once, in order, in a transaction of its own; what it does outside happens after the commit. No crank
 * ever waits for a service, and no service for another. A call that waits is nowhere but in the queue: after the death of the
 * broker all that are there begin again (V9), so begin() must find out from the call, and from rows of its own, what is left
 * to do. One source per service: console.c, timer.c, random.c, facet.c.
 */
#ifndef CAPSTAN_SERVICE_H
#define CAPSTAN_SERVICE_H

#include "../lib/smallcaps.h"
#include "kernel.h"
#include "queue.h"

struct service_call {		/* borrowed for the time of begin() */
	const struct item *item;	/* item->seq names the call from now on; item->row.sender made it */
	const char *name;		/* of the service */
	struct row_service row;
	const char *method;
	struct capdata methargs;	/* slots krefs */
};

enum service_outcome { SERVICE_DONE = 0, SERVICE_LATER = 1 };

struct service_class {
	const char *name;		/* under which it is made at boot; NULL: made otherwise */
	uint32_t flags;			/* SERVICE_F_* of its row */
	/* Inside a savepoint. SERVICE_DONE: it has settled the call with service_settle() or service_reject(). */
	int (*begin)(struct kernel *k, const struct service_call *c);
	/*
	 * A call that has begun and waits is of no use any more, since the vat that made it was terminated. Inside a savepoint that is
	 * not rolled back. True: drop it, rejected VAT_TERMINATED. NULL: such calls go on.
	 */
	bool (*forget)(struct kernel *k, const struct item *item);
};

extern const struct service_class console_service, timer_service, random_service, facet_service;

enum { SERVICE_E_UNKNOWN = 1, SERVICE_E_NO_CALL = 2 };
int service_find(struct kernel *k, const char *name, kref_t *refp);
int service_load(struct kernel *k, const char *name, struct row_service *rowp);	/* SERVICE_E_UNKNOWN */
/* The name (malloc'd) and row of the service behind an object; SERVICE_E_UNKNOWN: there is none. */
int service_of(struct kernel *k, kref_t target, char **namep, struct row_service *row);
/* Inside a savepoint; `row.kref` is set here. The name is free. */
int service_make(struct kernel *k, const char *name, struct row_service *row);
/* The same undone: what is left is an object of the kernel's that nobody serves (G10). */
int service_unmake(struct kernel *k, const char *name, const struct row_service *row);
/* At boot: make what is missing. */
int service_boot(struct kernel *k);

/* Begin one queued call, or answer one that was to be answered at this time; *didp. */
int service_pump(struct kernel *k, bool *didp);

/*
 * Settle the result of a call in begin(), if it has one. A value that is one reference and nothing else is marked REF. The
 * references in it must exist.
 */
int service_settle(struct kernel *k, const struct item *i, bool rejected, const struct smallcaps *value);
int service_settle_text(struct kernel *k, const struct item *i, const char *body);	/* fulfilled; a body without slots */
int service_reject(struct kernel *k, const struct item *i, const char *name, const char *message);	/* with an Error of ours */
int service_refuse(struct kernel *k, const struct item *i, enum kernel_code code, const char *detail);	/* with one of R1 */
/*
 * A call that waited is carried out now: is it still to be (X1)? True in *endedp: no, it is rejected and gone. From anywhere
 * outside a savepoint.
 */
int service_recheck(struct kernel *k, const struct item *i, bool *endedp);
/* A call that waited and is settled is over: it leaves the queue, with all it counts. Inside a savepoint. */
int service_end(struct kernel *k, const struct item *i);
/*
 * A call in the queue of `k` whose sender was terminated: does it end with it (service_class.forget)? Inside a savepoint that is not
 * rolled back. One that has not begun is carried out first.
 */
int service_sender_gone(struct kernel *k, const struct item *i);
void service_deinit(struct kernel *k);	/* RAM only */
/*
 * Answer a call that waits, from anywhere outside a savepoint. References in the value that nothing reaches any more (C7)
 * make it a rejection OBJECT_DELETED. SERVICE_E_NO_CALL: it is not there any more.
 */
int service_answer(struct kernel *k, uint64_t seq, bool rejected, const struct smallcaps *value);
int service_answer_error(struct kernel *k, uint64_t seq, const char *name, const char *message);
/* With an error of the kernel's (R1). */
int service_answer_code(struct kernel *k, uint64_t seq, enum kernel_code code, const char *detail);

/* queue.c: an item came into the queue of `k` (+1), or left it (-1). */
void service_note_call(struct kernel *k, endpoint_t sender, int delta);

#endif
