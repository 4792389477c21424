/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Channels to the outside (S4): files, FIFOs, sockets and the kernel's log, as a cluster file's `io` names them. Each is a
 * service `io:sN:NAME` of its subcluster, given to the bootstrap vat, gone with the subcluster.
 *
 *	call: queued ──begin()──▶ in the channel's list ──commit──▶ carried out, in order ──▶ answered
 *
 * Nothing is read, written or connected for a call that is not committed. Calls stand in the queue of `k` until they are
 * answered; what is in memory is their numbers, one unit of input and one of output. Input is taken from outside only when
 * somebody asked for it.
 */
#ifndef CAPSTAN_IO_H
#define CAPSTAN_IO_H

#include "../lib/config.h"
#include "kernel.h"
#include "service.h"

#define IO_UNIT_MAX	65536u		/* bytes of one answer, and of one write */
#define IO_OUT_MAX	(1u << 20)	/* bytes that wait to be written to one channel */

extern const struct service_class io_service;

/* LAUNCH_E_REFUSED and a sentence: the channels of the configuration cannot be had. */
int io_check(struct kernel *k, const struct config *config, char error[CONFIG_ERROR_MAX]);
/* Inside the savepoint of a launch; the configuration has been checked. */
int io_make(struct kernel *k, uint64_t subcluster, const struct config *config);
/* Add each channel of the subcluster to a record, under its name. */
int io_give(struct kernel *k, uint64_t subcluster, int (*add)(json_t *record, const char *name, kref_t ref), json_t *record);
/* The channels that are stored, at boot. */
int io_boot(struct kernel *k);
enum { IO_E_MORE = 1 };		/* call again: there is more to do than one round should */
int io_end(struct kernel *k, uint64_t subcluster);
void io_deinit(struct kernel *k);

#endif
