/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The service `kernelFacet` (S11): the methods of the control socket, for vats of system subclusters. What a method does is in
 * methods.c and its like, which see no difference; here arguments become its parameters, and its result a value:
 *
 *	begin(): parameters checked ─▶ BEGUN ─facet_pump: the method runs─▶ ASKED ─it answers─▶ ANSWERED ─facet_answers─▶ settled, gone
 *
 * Methods make transactions of their own, so they run outside of begin's; they may answer from anywhere, so the answer is noted, and
 * carried out as soon as who answered is done: before anything can be committed. So the last of what a method did and its answer are
 * committed together, or neither; then the call begins again (S11).
 */
#ifndef CAPSTAN_FACET_H
#define CAPSTAN_FACET_H

#include "kernel.h"

int facet_pump(struct kernel *k, bool *didp);	/* run one method; *didp */
int facet_answers(struct kernel *k);		/* carry out what was answered; outside of savepoints */
void facet_deinit(struct kernel *k);		/* before the control socket's */

#endif
