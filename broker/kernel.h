/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel: what all of the broker's tables share. One thread, one store, one open transaction.
 *
 * A change to kernel state happens inside kernel_savepoint() … kernel_release() (or kernel_rollback(), which
 * leaves no trace but gaps in the counters). The counters that give out ko, kp, v, s, uid and delivery numbers
 * sit outside the savepoint and are written at commit, so nothing committed is ever reused (C1).
 *
 * Vat rows are a cache over the store: they change several times in every crank, so struct vat holds the row
 * and kernel_commit() writes it back; a rollback restores it (vat.h). So are the rows of who is charged for what (charge.h).
 */
#ifndef CAPSTAN_KERNEL_H
#define CAPSTAN_KERNEL_H

#include <uthash.h>

#include "../lib/config.h"
#include "control.h"
#include "../lib/loop.h"
#include "store.h"

struct kernel;
struct vat;
struct launch;
struct code_store;
struct cycle_search;
struct hosted;
struct hosted_call;
struct hosted_peer;
struct collect;
struct charge;
struct underway_page;
struct io;
struct system_state;
struct timers;
struct facet;
struct live;

/* A growing list of 64-bit numbers. */
struct u64_list { uint64_t *v; size_t n, size; };
int u64_list_push(struct u64_list *l, uint64_t v);	/* 0 or -ENOMEM */
void u64_list_deinit(struct u64_list *l);

/* Kernel errors (R1). The text is what users see: "[KERNEL:OBJECT_DELETED] …". */
enum kernel_code {
	CODE_OBJECT_REVOKED = 1, CODE_OBJECT_DELETED, CODE_NOT_CALLABLE, CODE_FD_LOST, CODE_SERVICE_UNAVAILABLE,
	CODE_ENDPOINT_UNREACHABLE, CODE_QUEUE_FULL, CODE_BAD_PROMISE_RESOLUTION, CODE_VAT_TERMINATED,
	CODE_VAT_RESTARTED, CODE_DELIVERY_FAILED, CODE_CONNECTION_LOST, CODE_PEER_RESTARTED, CODE_ILLEGAL_SYSCALL,
};
const char *kernel_code_name(enum kernel_code c);

/* A host call waiting for its result promise (HOLD_HOST rows name it by number). RAM only. */
struct host_call {
	uint64_t number;
	kref_t promise;
	/* Called inside the round in which the promise settled, before the commit; reads the value itself. */
	int (*settled)(struct kernel *k, struct host_call *c);
	void *ctx;
	UT_hash_handle hh;
};

/* Something to do once the transaction that contains its cause is on disk (output validity). */
struct effect { void (*run)(struct kernel *k, void *arg); void *arg; };

struct kernel_stats {
	uint64_t n_cranks, n_abandoned, n_illegal, n_dropped_sends, n_deaths, n_delivered_messages, n_notifies, n_gc;
	uint64_t n_ahead;	/* deliveries sent while the vat had others to do */
	uint64_t n_objects_gone, n_promises_gone;	/* rows deleted */
	uint64_t n_circular;	/* promises found in circles that nobody held (P9) */
};

struct kernel {
	struct store *store;
	struct loop loop;
	struct control *control;
	struct code_store *code;
	int spawner_fd;
	struct settings settings;
	bool serial;			/* --serial: one delivery in flight in the whole kernel */
	bool stopping;
	uint64_t stop_ns;		/* since when; 0: not noted yet */
	uint64_t uid_base;		/* 0: not root */
	const char *run_dir;		/* text for status only */
	uint64_t start_ns;
	uint64_t round_ns, checked_ns;	/* monotonic: end of the last wait; when deadlines were looked at last */
	bool more;			/* the next round has work without waiting */

	/* Outside the savepoint. */
	uint64_t next_object, next_promise, next_vat, next_subcluster, next_seq, next_uid, next_delivery;
	uint64_t next_host_call;

	bool in_savepoint;
	struct u64_list touched;	/* krefs whose counts changed since the savepoint: examined by gc (G1) */
	struct u64_list settled_calls;	/* numbers of host calls whose promise settled */
	size_t mark_settled_calls, mark_effects;	/* lengths at the savepoint */
	uint64_t mark_dropped_sends;
	uint64_t n_moved, moved_bytes;	/* waiting messages moved or refused since the savepoint (router.c) */
	uint64_t n_hops;		/* promises walked over since then, looking for loops */
	uint64_t n_released;		/* promises deleted since then, and references that they let go (cycle.h) */
	uint64_t n_service_queue, mark_service_queue;	/* items in the queue of `k`: calls of services */
	bool service_work;		/* some may not have begun */
	uint64_t service_seq;		/* those with lesser numbers have begun; they wait for their answer */
	struct hosted *hosted;		/* hosted.c: attached services, uthash by kref */
	struct hosted_peer *hosted_peers;
	struct hosted_call *hosted_calls, *hosted_lost;	/* uthash by seq; those that are to be rejected */
	bool hosted_work;		/* hosted_pump has something to do */
	struct facet *facet;		/* facet.c: those of its calls that run a method; NULL: none yet */
	bool facet_work;		/* some have not begun to */
	struct timers *timers;		/* timer.c: those of them that wait for their time; NULL: none yet */
	struct settle_task *settle_first, *settle_last; /* promise.c: the worklist */
	bool settling;
	char illegal[200];		/* why a syscall is illegal, for the log */

	struct vat *vats;		/* uthash by number: every vat that has a row */
	struct vat *edited;		/* vats edited since the savepoint (linked by next_edited) */
	struct underway_page *underway;	/* what is being worked on, for the next broker (underway.h); NULL: not noted */
	bool suspicious;		/* something in it may have ended an earlier one */
	const char *fault;		/* tests only: where this one is to end */
	struct charge *charges;		/* uthash by holder and who: those in use (charge.c) */
	struct charge *charges_edited, *charges_dirty;	/* since the savepoint; since the commit */
	struct vat *ready_first, *ready_last;	/* vats that may have work */
	unsigned n_in_flight;
	uint64_t broker_ns;		/* the broker's own clock for deadlines: monotonic less its stalls (D6) */
	struct host_call *calls;	/* uthash by number */
	bool calls_gone;		/* some caller went away: methods_pump */
	unsigned n_pings;		/* pings whose answer is awaited */
	struct launch *launches;
	struct system_state *systems;	/* by place in settings.systems (system.h) */
	struct io *io;			/* io.c: channels to the outside */
	int *io_dirs;			/* open folders of settings.io_paths */
	bool io_work;			/* some channel has something to do that it need not wait for */
	bool launch_work;		/* launch_pump has something to do */
	uint64_t next_ended_us;		/* realtime: when to look for subclusters whose vats ended long ago; 0: there are none */
	struct effect *effects;		/* run after the next commit */
	size_t n_effects, size_effects;

	bool sweeping;			/* SWEEP rows may exist */
	bool cycling;			/* SUSPECT rows may exist, or a search is under way */
	struct cycle_search *cycles;	/* the search for circles; NULL: none (cycle.h) */
	uint64_t n_searches;		/* that have ended */
	struct collect *collect;	/* collection at request (collect.h); NULL: none asked for */
	bool want_processes;		/* some vat wants a spawn or a kill */
	bool no_mount, mounted, mount_wanted;
	char mount_error[200];		/* why there is no mount; empty: there is, or not yet */
	unsigned n_mounts;		/* times capstan-fs ended within the window */
	uint64_t mount_window_ns, mount_retry_ns;	/* retry: not started again before that; 0: it is, or will be at once */
	struct live *live;		/* what is shown beside the tables (live.h); NULL: a kernel of a test */
	unsigned cranks_since_commit;
	uint64_t dirty_since_ns;	/* 0: clean */
	uint64_t last_commit_ns;
	struct kernel_stats stats;
};

int kernel_savepoint(struct kernel *k);
int kernel_release(struct kernel *k);	/* examines everything touched first (gc_examine) */
int kernel_rollback(struct kernel *k);
int kernel_commit(struct kernel *k);	/* then runs the effects */
int kernel_after_commit(struct kernel *k, void (*run)(struct kernel *, void *), void *arg);
int kernel_touch(struct kernel *k, kref_t ref);
/* Is there nothing left that moves by itself? What remains waits for a vat, a caller, the clock or the spawner. */
bool kernel_is_quiet(const struct kernel *k);
/* Host subscription to a promise: counts it (HOLD_HOST); the call is found by number when it settles. */
int kernel_subscribe_host(struct kernel *k, struct host_call *c);
int kernel_unsubscribe_host(struct kernel *k, struct host_call *c);
struct host_call *kernel_find_call(struct kernel *k, uint64_t number);
int kernel_tell_callers(struct kernel *k);	/* whose promise settled in this round, or whose method answered */

/* Holds: one row each; counts move with it. */
int kernel_hold(struct kernel *k, kref_t ref, enum hold_kind kind, uint64_t owner, int64_t delta);
int kernel_hold_count(struct kernel *k, kref_t ref, enum hold_kind kind, uint64_t owner, uint64_t *countp);
/* Count of any reference, by kind: objects both counts, promises theirs. */
int kernel_ref(struct kernel *k, kref_t ref, int delta);

/* In the program's own words to the log; a state that must not be. Negative. */
#define kernel_corrupt(...) (log_err(__VA_ARGS__), error_origin(EUCLEAN))

#endif
