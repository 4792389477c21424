/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A launch on its way: its programs and files are being copied into the code store; when the last one is in, the launch
 * begins. Whoever asked for it is a client of the control socket, or the kernel itself (a system subcluster).
 */
#ifndef CAPSTAN_ARRIVAL_H
#define CAPSTAN_ARRIVAL_H

#include "kernel.h"

/*
 * Takes `config` and each fd (slots of `fds` become -1): the i-th belongs to the i-th of config_paths(). What goes wrong is
 * the answer of `request`, or without one is noted by system_ended(). Returns 0, or negative.
 */
int arrival_begin(struct kernel *k, struct config *config, const json_t *json, int *fds, struct control_request *request);

#endif
