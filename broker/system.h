/* SPDX-License-Identifier: Apache-2.0 */
/*
 * System subclusters (S2): those that the operator declares in `capstand --config`. At each start of a broker one that is
 * declared and not there is launched, one that is there and not declared is removed; the others are left alone.
 */
#ifndef CAPSTAN_SYSTEM_H
#define CAPSTAN_SYSTEM_H

#include "kernel.h"

/* What became of one, by its place in settings.systems. RAM only. */
struct system_state {
	uint64_t number;	/* of its subcluster; 0: there is none */
	char reason[300];	/* why there is none */
};

/* After boot_kernel(). `fds`: one for each path of each, in order; -1: it could not be opened; taken. */
int system_boot(struct kernel *k, int *fds);
void system_deinit(struct kernel *k);

/* From launch.c. `number` 0: it was refused, nothing was made. */
void system_begun(struct kernel *k, const char *name, uint64_t number);
void system_launched(struct kernel *k, const char *name, uint64_t number);
void system_ended(struct kernel *k, const char *name, uint64_t number, const char *reason);

/* For people: {NAME: {"id": "s1" or null, "reason": why there is none}}. NULL: no memory. */
json_t *system_to_json(const struct kernel *k);

#endif
