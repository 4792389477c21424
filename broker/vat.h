/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vat as the broker sees it: its row, its process, its channel, what it was sent and has not done.
 *
 *	status (stored)		starting → running → terminated; suspended from either, resume leads back
 *	proc (this broker)	NONE → WANTED (after the next commit) → SPAWNING → ALIVE → DYING → NONE
 *
 * A process that is DYING is never spoken to again; the vat's next process starts when it is reaped. While a vat's
 * earlier incarnation is being swept (SWEEP row) it gets no delivery, so it never sees a stale export of its own.
 */
#ifndef CAPSTAN_VAT_H
#define CAPSTAN_VAT_H

#include <uthash.h>

#include "../lib/config.h"
#include "channel.h"
#include "crank.h"
#include "kernel.h"

#define VAT_UIDS 65536u	/* of an instance (broker/uidblock.h); never reused */

enum vat_proc { PROC_NONE, PROC_WANTED, PROC_SPAWNING, PROC_ALIVE, PROC_DYING };
/* What the end of the process means for the vat. */
enum vat_fate {
	FATE_DEATH,	/* judged by V4 */
	FATE_NONE,	/* the record says already what comes next: a new incarnation, a suspension, the end */
};

struct vat_limits {		/* effective: configured or default */
	uint64_t deadline_ns;	/* 0: none */
	uint64_t cpu_ns;	/* of one delivery, by the clock of its process; 0: none */
	uint64_t queue_messages, queue_bytes;	/* shared out among who sends to it (charge.h) */
	uint64_t waiting_messages, waiting_bytes; /* its own for one promise */
	uint64_t syscalls, crank_bytes;
	uint64_t exports;
	uint64_t imports;	/* shared out among who brings them */
	uint64_t vatstore_bytes;
	uint64_t log_lines;	/* per second */
};

struct vat_ping { struct control_request *request; uint64_t sent_ns, deadline_ns; struct vat_ping *next; };
struct vat_watch { struct control_request *request; struct vat *vat; uint64_t after; struct vat_watch *next; };

struct vat {
	UT_hash_handle hh;
	uint64_t number;
	struct kernel *kernel;
	struct row_vat row, undo;	/* undo: as at the savepoint, while `edited` */
	bool dirty, edited;
	struct vat *next_edited;

	struct config_vat *config;
	struct vat_limits limits;

	enum vat_proc proc;
	enum vat_fate fate;
	uint32_t spawned_incarnation;	/* the incarnation its last process was started as */
	bool kill_wanted;		/* a SPAWN_KILL has to be sent */
	bool exited;			/* reaped; only reading dry and judging is left */
	bool sweeping;			/* its SWEEP row exists */
	bool sweep_held;		/* and is not gone on with: it has ended the broker (L2) */
	char death[200];		/* how the process ended, for people */
	struct channel channel;
	struct crank crank;

	uint64_t head_seq;		/* nothing in its queue has a lesser number */
	bool gc_maybe;			/* GC rows may exist; false: none do */
	bool wake_pending, wake_turn;
	bool ready;			/* in the kernel's ready list */
	bool collecting;		/* a collection at request waits for it (collect.h) */
	struct vat *next_ready;
	struct vat_ping *pings;
	uint64_t ping_token;		/* of the ping under way; 0 none */
	struct live_vat *live;		/* its slot in what is shown (live.h); NULL: none */
	uint64_t noted_ns;		/* its process is to be looked at, at this time (monotonic); 0: it is not */
	struct vat *next_noted;
	struct vat_watch *watches;	/* getLog requests waiting for a line */
	uint64_t log_window_ns, log_in_window;
};

struct vat_limits vat_default_limits(const struct kernel *k);	/* when the cluster says nothing */
/* Of an endpoint that sent something, for people; 0: the outside. */
const char *vat_sender_name(struct kernel *k, uint64_t sender);
struct vat *vat_find(struct kernel *k, uint64_t number);
/* Make a vat with its rows, uid and number; inside a savepoint. `code` hashes are in the config already. */
int vat_new(struct kernel *k, uint64_t subcluster, struct config_vat *config /* taken */, struct vat **vatp);
int vat_load_all(struct kernel *k);		/* at boot */
void vat_forget(struct kernel *k, struct vat *v);	/* RAM only: its rows are gone or we stop */
int vat_delete_rows(struct kernel *k, struct vat *v);	/* terminated, swept, reaped */

void vat_set_proc(struct vat *v, enum vat_proc proc);

/* The row for change; restored by a rollback, written back at commit. */
struct row_vat *vat_edit(struct kernel *k, struct vat *v);
void vat_edits_keep(struct kernel *k);
void vat_edits_undo(struct kernel *k);
int vat_write_back(struct kernel *k);

void vat_ready(struct kernel *k, struct vat *v);	/* it may have work: look at it in this round */
bool vat_can_run(const struct vat *v);			/* idle, alive, not suspended, not sweeping, reads */

/* Life. Each is its own transaction step (savepoint … release) unless said. */
int vat_want_process(struct kernel *k, struct vat *v);
int vat_started(struct kernel *k, struct vat *v, int pid, uint32_t isolation);
int vat_spawn_failed(struct kernel *k, struct vat *v, const char *why);
int vat_exited(struct kernel *k, struct vat *v, int wait_status);
/* The process must go now (deadline, protocol error, hang-up, request): abandons the crank. */
int vat_end_process(struct kernel *k, struct vat *v, enum vat_fate fate, const char *why);
int vat_restart(struct kernel *k, struct vat *v);		/* by request (V2, V5) */
int vat_terminate(struct kernel *k, struct vat *v, const char *reason);
int vat_suspend(struct kernel *k, struct vat *v, const char *reason);	/* by hand: process stays */
int vat_suspend_hard(struct kernel *k, struct vat *v, const char *reason);	/* automatic: no process, new incarnation */
int vat_resume(struct kernel *k, struct vat *v);
int vat_terminate_in(struct kernel *k, struct vat *v, const char *reason);	/* the same inside an open savepoint */
/* The vat's own fault ends it (L1): the item in flight is rejected with `code`, the vat terminated, its process ended. */
int vat_fatal(struct kernel *k, struct vat *v, enum kernel_code code, const char *detail, const char *reason);
/* Rejects the item of the crank that the vat works on with `code` and takes it out; inside a savepoint. */
int vat_refuse_item(struct kernel *k, struct vat *v, enum kernel_code code, const char *detail);

/* A line for people: how its process ended, or did not even start; the last DEATH_KEEP stay. Inside a savepoint. */
int vat_note_death(struct kernel *k, struct vat *v, const char *why);
int vat_log(struct kernel *k, struct vat *v, uint32_t level, const void *text, size_t len);
int vat_answer_watches(struct kernel *k, struct vat *v);	/* methods.c: a line came */
int vat_ping(struct kernel *k, struct vat *v, struct control_request *r);
void vat_fail_pings(struct kernel *k, struct vat *v);	/* its process is gone */
void vat_check_pings(struct kernel *k, struct vat *v, uint64_t now_ns);

extern const struct channel_ops vat_channel_ops;

#endif
