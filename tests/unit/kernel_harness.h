/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The broker's kernel in process: real tables, store, router, crank, lives and launch; played are the spawner
 *(a process is a socket pair), the control socket (an answer is a text) and the vats, which the test plays by
 *hand, frame by frame, in words:
 *
 *	play("a", "send o-1 #hi [o+5 p+6] p+7", "done", NULL);
 *	expect("b", "message o+0 #hi [o-1 p-1] p-2");
 *
 * Every world_run() goes on until nothing moves, commits, and has lib/check.c recount the whole store (C6); a
 *negative number or a line of the checker fails the test (L1). One world at a time.
 *
 * The words are those of tests/runner/words.h.
 */
#ifndef CAPSTAN_KERNEL_HARNESS_H
#define CAPSTAN_KERNEL_HARNESS_H

#include "../../broker/vat.h"
#include "store_dir.h"

#define RAW_MAX   4096u
#define RAW_AHEAD 64u

/* A played process of a vat. */
struct raw {
	uint64_t vat;
	int fd; /* -1: none */
	struct wire_joiner joiner;
	uint8_t *frames; /* of the packet being read */
	size_t len, pos;
	uint64_t delivery;                               /* the one to speak of: the oldest read and not done */
	struct heard {
		char *text;
		uint64_t delivery;
	} aside[RAW_AHEAD]; /* came before the answer to a read */
	uint64_t unfinished[RAW_AHEAD]; /* read and not done */
	size_t n_aside, n_unfinished;
	uint64_t incarnation, next_export, next_promise; /* from init */
	char *pending; /* the random test: a delivery that was read and not answered */
};

/* A played program outside that serves: a connection. */
struct control_server {
	struct control_server *next;
	uid_t uid;
	const struct control_server_ops *ops;
	void *ctx; /* NULL: it does not serve yet, or any more */
	char *asks[1000]; /* lines */
	size_t n_asks, n_read, waiting;
};

/* A played request: what it was answered with. */
struct control_request {
	bool answered;
	char text[1000];
	struct control_local *local; /* somebody inside asked: it is freed when it is answered */
	struct control_request *next;
	struct control_server *host; /* its connection; NULL: gone */
};

struct world {
	struct kernel k;
	char dir[2 * DIR_MAX];
	enum store_kind kind;
	struct raw raws[RAW_MAX];       /* by vat number */
	bool hold_starts, hold_exits;   /* the played spawner keeps what it was asked */
	const char *fail_starts;        /* it cannot: why */
	uint64_t cpu_ns[RAW_MAX];       /* of their processes; UINT64_MAX: not known */
	struct control_request request; /* of the last launch or termination */
	struct u64_list host_settled;   /* krefs of host calls that settled, in order */
	struct control_server *programs;
	struct control_request *locals; /* not answered yet */
	const char *services;           /* JSON: what the next cluster asks for; NULL: ["console"] */
	size_t n_services;              /* built in: they have the first krefs, and a hold each */
	bool no_check, no_keep;         /* do not recount; do not pin what host calls settled with */
	void (*prepare)(void);          /* a test that says itself in which order vats get work; NULL: the kernel's */
};
extern struct world *world;

void world_open(const char *dir, enum store_kind kind);
void world_close(void);
void world_crash(void);        /* what is not committed is lost; boots again (V9); does not run */
void world_run(void);          /* until nothing moves; commit; check */
void world_settle(void);       /* until nothing moves; no commit unless a process waits for it */
void world_step(void);         /* one round, no commit unless a process waits for it */
void world_commit(void);       /* and check */
size_t world_check(bool show); /* lines that the checker reports */

struct control_server *program(uid_t uid); /* the world's; freed with it */

/* Vats by name. */
struct vat *vat_named(const char *name);
struct raw *raw_named(const char *name);
kref_t kref_of(const char *name, const char *vref); /* fails the test when it is not in the clist */
bool knows(const char *name, const char *vref);
bool is_reachable(const char *name, const char *vref);
const char *vref_of(const char *name, kref_t kref); /* "-": none; static buffer */

/* Subclusters: vats named by single letters, the first is bootstrapped. `extra`: more fields of each vat, or
 * "". */
void cluster_begin(const char *letters, const char *extra); /* launch_begin, nothing run */
void cluster(const char *letters);                          /* all the way: started, bootstrapped, answered */
void start_up(const char *name);                            /* startVat arrives and is done */
uint64_t subcluster_of(const char *name);

/* Frames. */
void say(const char *name, ...) __attribute__((sentinel)); /* one packet; nothing run */
void say_list(const char *name, const char *const *words);
void play(const char *name, ...) __attribute__((sentinel)); /* say and world_run */
void send_bytes(const char *name, const void *data, size_t len);
void expect(const char *name, const char *text); /* the next frame, exactly */
void expect_nothing(void);                       /* of anybody */
char *next_delivery(struct raw *r);              /* malloc'd text of the next frame; NULL: none */
char *next_answer(struct raw *r); /* of the next storeValue; deliveries before it wait for next_delivery() */
bool syscall_encode(struct wire_buf *b, uint64_t delivery, const char *words);

/* Deaths. */
void process_dies(const char *name, int wait_status); /* closes its end, is reaped, world_run */
void process_dies_now(const char *name,
                      int wait_status);  /* reaped before the loop saw anything; nothing run */
void process_hangs_up(const char *name); /* closes its end; nothing run, not reaped */

/* A message from outside; the result (when wanted) is held by a host call until it settles. */
kref_t host_send(kref_t target, const char *body, const kref_t *slots, size_t n_slots, bool want_result);
bool host_settled(kref_t promise);

/* State. */
struct row_object object_row(kref_t ref);
struct row_promise promise_row(kref_t ref);
bool row_exists(kref_t ref);
void expect_counts(kref_t ref, uint64_t reachable, uint64_t recognizable);
void expect_promise(
    kref_t ref,
    const char *text); /* "data #x [ko1]", "ref …", "rej …", "krej …", "unresolved", "forwarded" */
size_t n_rows(enum table t);
typedef void row_fn(void *ctx, const uint8_t *key, size_t key_len, const uint8_t *val, size_t len);
size_t world_walk(enum table t, row_fn *fn, void *ctx); /* all rows, their number; fn may be NULL */
/* Everything of the tables of references and queues as text, times left out; entries of `except` (0: none)
 * too. */
char *world_dump(uint64_t except_endpoint);

#define KERR(code, detail) "#{\"#error\":\"[KERNEL:" code "] " detail "\",\"name\":\"Error\"}"
#define must(x)            assert_true((x) >= 0)

#endif
