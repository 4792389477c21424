/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The broker's side of the spawner (spawn.h): what processes the vats want, and what became of them. Requests are
 * derived from the vats' state, so a full socket only means trying again; nothing is queued twice.
 */
#ifndef CAPSTAN_PROCESS_H
#define CAPSTAN_PROCESS_H

#include "kernel.h"
#include "spawn.h"

/* After a commit (a uid is committed before a process runs under it): send what is wanted. */
int process_requests(struct kernel *k);
/* The spawner's events. */
int process_init(struct kernel *k, int spawner_fd);
void process_deinit(struct kernel *k);
int process_mount(struct kernel *k);		/* ask for capstan-fs */
int process_mount_timeout_ms(const struct kernel *k);	/* until it is asked for again, after too many deaths; -1: it need not be */
int process_simple(struct kernel *k, enum spawn_op op);
/* The processor's time that a process has used so far; PROCESS_E_UNKNOWN: that cannot be told, it is gone. */
enum { PROCESS_E_UNKNOWN = 1 };
int process_cpu_ns(int pid, uint64_t *nsp);
/* Looks at the memory and the clock of processes that worked lately, at a bounded rate (live.h). */
void process_sample(struct kernel *k);
int process_sample_timeout_ms(const struct kernel *k);	/* -1: none is due */
int process_lease_timeout_ms(void);		/* -1: no lease is held */
void process_lease_expire(void);
void process_shown(struct kernel *k);		/* after a commit: capstan-fs is told of new events, if it watches */

#endif
