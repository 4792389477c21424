/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The places at which something can fail while the broker works, and what it does that others can see.
 *
 * points.c stands between the broker and the store, LMDB, the C library and the system (by the linker's --wrap, and by defining
 * malloc and the calls that LMDB writes with). While `points_armed`, every such call is counted by its class; one of them,
 * points->at of the class points->fail, fails. Its own thread only: what the worker threads of code.c do is not counted.
 *
 * Clocks stand still but for points_tick(), so that the same scenario is the same run every time.
 */
#ifndef CAPSTAN_TEST_POINTS_H
#define CAPSTAN_TEST_POINTS_H

#include "../../lib/check.h"

struct kernel;

enum fault {
	FAULT_STORE,	/* a call of the store: EIO, nothing done */
	FAULT_LATE,	/* a commit: done, and then EIO: the broker ends before it can say so */
	FAULT_DISK,	/* LMDB and what it writes with: ENOSPC */
	FAULT_MEMORY,	/* malloc, calloc, realloc, in libraries too */
	FAULT_BUSY,	/* send, sendmsg: EAGAIN, or (every second) ENOBUFS */
	FAULT_GONE,	/* send, sendmsg: EPIPE, and the peer is gone */
	FAULT_LIMIT,	/* what makes descriptors, and threads: EMFILE, ENOSPC, EAGAIN */
	FAULT_START,	/* the spawner cannot start a process */
	FAULT_N
};
extern const char *const fault_names[FAULT_N];

#define MAX_EVENTS	4000
#define MAX_TEXT	(1u << 20)

/* A commit (kind 'C'), or something that left the machine: 'R' on the control socket, 'L' a console line, 'P' about a process. */
struct event {
	char kind;
	uint32_t tables[T_N];	/* C: a hash of each */
	uint32_t at, len;	/* else: in record.text */
};

/* What one run did. In memory that it shares with who judges it. */
struct record {
	uint64_t n_points[FAULT_N];
	enum fault fail;
	uint64_t at;		/* 0: nothing fails */
	bool fired;
	uint32_t n_events, text_len;
	bool overflow;
	char problem[4000];	/* what must not be, seen by the way: the first */
	struct event events[MAX_EVENTS];
	char text[MAX_TEXT];
};

extern _Thread_local bool points_armed;
extern struct record *points;
extern const struct kernel *points_kernel;	/* whose round it is; NULL: none yet */
extern bool points_traced;	/* where it fails goes to standard error */
bool point_fails(enum fault f);
void points_tick(void);
void points_problem(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* A hash of each table. */
int points_hash(struct check_source *s, uint32_t tables[T_N]);

#endif
