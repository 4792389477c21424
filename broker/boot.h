/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Boot: one transaction brings the state of the last commit up to date with the world, in which nobody runs and nobody
 * waits outside any more (V9). Tests that reopen a store go the same way.
 */
#ifndef CAPSTAN_BOOT_H
#define CAPSTAN_BOOT_H

#include "kernel.h"

/* k->store and k->loop are open. Committed when it returns; processes are wanted, none is started. */
int boot_kernel(struct kernel *k);

#endif
