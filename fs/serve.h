/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way in through the socket: the same tree for `capstan ls`, `cat` and `tree`, and for programs, without FUSE.
 *
 * Clients are connections, known by the kernel's word about who connected. Each has one request at a time that is
 * answered; what it sends meanwhile waits in its socket. In each round of the loop a connection that is ready gets
 * one step: a read, or a piece of an answer made and sent as far as the socket takes it. So nobody waits for a
 * client, however slowly it reads; one that makes no progress for SERVE_PATIENCE_MS is dropped. What it holds is
 * charged to its user (charge.h).
 */
#ifndef CAPSTAN_FS_SERVE_H
#define CAPSTAN_FS_SERVE_H

#include "session.h"

#define SERVE_MAX_CLIENTS	64u
#define SERVE_MAX_UID_CLIENTS	8u
#define SERVE_PATIENCE_MS	30000u

struct serve;
/* `listen_fd`: a Unix stream socket that listens; borrowed. Before lock_process(). */
int serve_new(struct serve **servep, struct common *common, int listen_fd);
struct serve *serve_free(struct serve *s);
int serve_timeout_ms(const struct serve *s);	/* how long the loop may wait before serve_tick(); -1: for ever */
void serve_tick(struct serve *s);		/* those without progress are dropped */

#endif
