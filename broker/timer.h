/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The service `timer` (S9): answers that are given at their time. A call that waits is in the queue of `k` and nowhere else that
 * lasts; what is here is an index in memory, built anew when the calls begin again at boot.
 *
 * Two clocks. A point in time is one of the wall clock, and when that is set the wakeup moves with it. A delay goes by the clock
 * that counts from the start of the machine, sleep included, and is not touched by setting anything; over a restart of the
 * broker only the wall clock is there to tell how much has passed, so there a delay ends by it, but never waits longer than
 * its whole length again.
 */
#ifndef CAPSTAN_TIMER_H
#define CAPSTAN_TIMER_H

#include "kernel.h"

/* Answer one call that is due; *didp. When none is, the loop is told when to wake up. */
int timer_pump(struct kernel *k, bool *didp);
void timer_deinit(struct kernel *k);

#endif
