/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The router: where a message goes (the R table). Asked when a message is accepted, again when its promise
 * settles, and again when it is delivered.
 */
#ifndef CAPSTAN_ROUTER_H
#define CAPSTAN_ROUTER_H

#include "kernel.h"
#include "queue.h"

enum route_kind {
	ROUTE_QUEUE,		/* into `holder`'s queue: an endpoint's, or that of the promise `target` */
	ROUTE_REJECT,		/* with the kernel's `code` and `detail` */
	ROUTE_REJECT_AS,	/* with the identical value of the rejected promise `target` */
};
struct route {
	enum route_kind kind;
	uint64_t holder;
	kref_t target;		/* what is left of the named target after following settled and forwarded promises */
	enum kernel_code code;
	char detail[160];
};

#define ROUTER_AGAIN		4u		/* what was accepted and is sent on has so many times the limits */
#define ROUTER_MAX_SERVICE	10000u		/* calls of services from outside that wait to be answered */
#define ROUTER_MAX_CALLS	1000u		/* calls of services of one vat that wait to be answered */
/*
 * One syscall can send ten thousand messages on their way, and they others. These bound what one crank can make the
 * broker do; beyond them a message is refused QUEUE_FULL, or taken for one that waits for itself.
 */
#define ROUTER_MAX_MOVED	100000u		/* messages moved in one crank */
#define ROUTER_MAX_MOVED_BYTES	(256u << 20)
#define ROUTER_MAX_HOPS		200000u		/* promises looked at in one crank to find loops */

/* Whether there is room is not asked: that is for who accepts a message, and who sends one on. */
int router_route(struct kernel *k, kref_t target, kref_t result, struct route *out);
/*
 * Accept a message: queue it, or reject its result (or drop it when it has none, R2). References in `i` are not
 * counted yet; they are when it is queued.
 */
int router_send(struct kernel *k, struct item *i);
/* The messages that wait on `from` go where `to` leads now (P5): settled itself, or the promise it was forwarded to. */
int router_resend_waiting(struct kernel *k, kref_t from, kref_t to);
/* End a message that is (still) counted, and no longer in a queue: reject its result as `route` says, release. */
int router_refuse(struct kernel *k, const struct item *i, const struct route *route);

#endif
