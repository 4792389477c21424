/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Built-in services: objects owned by the kernel itself, endpoint `k`, which has a queue like everybody else. Each call is
 * a crank of its own; what it does outside happens after the commit (S3, S4). Here: console.
 */
#ifndef CAPSTAN_SERVICE_H
#define CAPSTAN_SERVICE_H

#include "kernel.h"

enum { SERVICE_E_UNKNOWN = 1 };
int service_find(struct kernel *k, const char *name, kref_t *refp);
/* At boot: make what is missing. */
int service_boot(struct kernel *k);
/* Carry out one queued call; *didp. */
int service_pump(struct kernel *k, bool *didp);

#endif
