/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The event loop: a thin layer over epoll. One thread. A source is embedded in what owns it; handle() is called
 * once per ready source and round, and returns 0 or a negative errno, which ends the loop (see lib/util.h).
 */
#ifndef CAPSTAN_LOOP_H
#define CAPSTAN_LOOP_H

#include <sys/epoll.h>

#include "util.h"

struct loop;
struct loop_source {
	int fd;				/* borrowed; -1: not in the loop */
	uint32_t events;
	int (*handle)(struct loop_source *s, uint32_t events);
};
#define LOOP_SOURCE_INIT(fn) { .fd = -1, .handle = (fn) }

struct loop {
	int epoll_fd;
	bool stop;
	struct loop_source **ready;
	size_t n_ready, i_ready;
	uint64_t woke_ns;		/* monotonic: the end of the last wait, before any handler */
};
int loop_init(struct loop *l);
void loop_deinit(struct loop *l);
int loop_add(struct loop *l, struct loop_source *s, int fd, uint32_t events);
int loop_modify(struct loop *l, struct loop_source *s, uint32_t events);
void loop_remove(struct loop *l, struct loop_source *s);	/* also from within any handler; fine when not in it */
/* Wait up to timeout_ms (-1: for ever), call every ready handler once. */
int loop_round(struct loop *l, int timeout_ms);

#endif
