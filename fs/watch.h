/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Waiting for events: while anybody does, the broker is asked to say through an eventfd when there are some (LEASE_WATCH), and
 * everybody who waits is called.
 */
#ifndef CAPSTAN_FS_WATCH_H
#define CAPSTAN_FS_WATCH_H

#include "../lib/loop.h"
#include "lease.h"

#define WATCH_LINGER_MS	100u	/* after the last has stopped waiting, until the broker is told */

struct watcher {
	struct watcher *prev, *next;
	bool waiting;
	void (*shown)(struct watcher *w);	/* there may be events; it may stop waiting here, of others it lets go */
};
#define WATCHER_INIT(fn) { .shown = (fn) }

struct watch {
	struct loop_source source;	/* the eventfd */
	struct loop *loop;
	struct lease *lease;
	struct watcher *first;
	bool told;			/* what the broker was told last */
	uint64_t idle_ns;		/* monotonic: when somebody stopped waiting last */
};
#define WATCH_INIT { .source = { .fd = -1 } }
/* `fd`: -1 if there is none: then nobody is ever called, and watch_works() is false. All borrowed. */
int watch_init(struct watch *w, struct loop *loop, struct lease *lease, int fd);
void watch_deinit(struct watch *w);
bool watch_works(const struct watch *w);

void watch_wait(struct watch *w, struct watcher *who);	/* fine when it does already */
void watch_stop(struct watch *w, struct watcher *who);	/* and when it does not */
/* After each round: the broker is told whether anybody waits. False: it hung up. */
bool watch_tick(struct watch *w);
int watch_timeout_ms(const struct watch *w);	/* -1: there is nothing left to tell */

#endif
