/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Collection at request (G4, G8): vats are asked to bring out their dead, what that lets go of is delivered, circles are searched
 * for (cycle.h); whoever asked is told when it is through.
 *
 *	REAP	every running vat has answered a bringOutYourDead, or cannot
 *	SEARCH	a search for circles that began after that has ended
 *	DELIVER	every running vat was once found with no collection work left
 *
 * Vats go on working all the while; who never comes to an end of its crank holds up the answer, and nothing else. Requests
 * that come while a round is under way wait for the next one.
 */
#ifndef CAPSTAN_COLLECT_H
#define CAPSTAN_COLLECT_H

#include "kernel.h"

int collect_reap(struct kernel *k, struct vat *v);	/* bringOutYourDead soon; own savepoint */
int collect_begin(struct kernel *k, struct control_request *request);	/* answered when it is through */
int collect_pump(struct kernel *k);			/* from the main loop */
void collect_deinit(struct kernel *k);			/* requests are the control socket's to end */

#endif
