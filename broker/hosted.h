/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hosted services: served by programs outside, over the control socket (S7, S8).
 *
 *	registerService ─▶ row + object: for good, until unregisterService
 *	               └─▶ attached: in memory only, as long as the connection can answer
 *
 *	call ─ begin ─▶ waits for room ─ hosted_pump ─▶ asked ─ answer ─▶ service_answer
 *	                     └───── the program or the service goes ──────┴──▶ lost ─ hosted_pump ─▶ rejected
 *
 * A call that waits stays in the queue of `k` with all that it names (C4); here is no more than its number. A program has
 * bounds on what it is asked at once, in calls and in bytes, so one that is slow costs the kernel nothing; and what
 * happens to a program is noted at once but carried out in steps between cranks.
 */
#ifndef CAPSTAN_HOSTED_H
#define CAPSTAN_HOSTED_H

#include "kernel.h"
#include "service.h"

#define HOSTED_MAX_NAMES	100u		/* services of one connection */
#define HOSTED_MAX_SERVICES	1000u		/* hosted services of one instance, attached or not */
#define HOSTED_MAX_ASKED	100u		/* calls that one program has before it and has not answered */
#define HOSTED_MAX_WAITING	(8u << 20)	/* bytes on their way to it, beyond which it is asked nothing more */
#define HOSTED_MAX_BODY		(4u << 20)	/* bytes of a message's body; as a line it is up to eight times that */
#define HOSTED_MAX_ARGS		(256u << 10)	/* of one whose arguments are given as plain JSON too */
#define HOSTED_MAX_ERROR	(64u << 10)	/* bytes of an error's message */

extern const struct service_class hosted_service;

/*
 * The connection of `r` serves `name`. system_only: 0, 1, -1 not said (as before; of a new one no). *refp its object.
 * HOSTED_E_REFUSED: `r` has been answered.
 */
enum { HOSTED_E_REFUSED = 1 };
int hosted_register(struct kernel *k, struct control_request *r, const char *name, int system_only, kref_t *refp);
/* By the uid that registered it, or by root. HOSTED_E_REFUSED as above. */
int hosted_unregister(struct kernel *k, struct control_request *r, const char *name);
bool hosted_is_attached(struct kernel *k, kref_t service);

/* At boot, before anything is delivered: calls that were waiting for programs are rejected CONNECTION_LOST (V9). */
int hosted_boot(struct kernel *k);
/* From the main loop: ask what there is room for, reject what is lost. */
int hosted_pump(struct kernel *k);
void hosted_deinit(struct kernel *k);

#endif
