/* SPDX-License-Identifier: Apache-2.0 */
/* The broker's role of capstand: started by the spawner with the fds of enum broker_fd (spawn.h). */
#ifndef CAPSTAN_BROKER_H
#define CAPSTAN_BROKER_H

/* argv[0] is "broker". Returns the exit status: 0 stop everything, SPAWNER_EXIT_REFUSED do not retry, else a death. */
int broker_main(int argc, char **argv);

#endif
