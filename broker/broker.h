/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The broker's role of capstand: started by the spawner with the fds of enum broker_fd (spawn.h).
 *
 * In one piece as a process; in pieces for tests that run it in their own: broker_open(), then broker_round() until it says that
 * it is over, then broker_close(). A negative number from any of them is what ends the process: nothing is saved or tidied, the
 * next broker goes on from the last commit.
 */
#ifndef CAPSTAN_BROKER_H
#define CAPSTAN_BROKER_H

#include "kernel.h"

/* config: -1, none. given: the first of those that the configuration names (spawn.h), 0 none. Both taken, the others borrowed. */
struct broker_fds { int spawner, control, store_dir, config, given; };
struct broker_options { bool serial, direct, no_mount; uint64_t uid_base; const char *run, *config /* its name */; };

enum { BROKER_E_REFUSED = 1 };	/* the reason is in the log; trying again is of no use */
/* *k is all zero. Changes the working folder to that of the store. */
int broker_open(struct kernel *k, const struct broker_fds *fds, const struct broker_options *o);
/* Wait up to `wait_ms` (-1: as long as there is reason to; 0: not at all), move what can move, commit when due. */
int broker_round(struct kernel *k, int wait_ms, bool *overp);
void broker_close(struct kernel *k);	/* commits nothing */

/* argv[0] is "broker". Returns the exit status: 0 stop everything, SPAWNER_EXIT_REFUSED do not retry, else a death. */
int broker_main(int argc, char **argv);

#endif
