/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the runner share.
 *
 *	runner.c	one run: open, steps, end, close; what a failure says
 *	backend.c	the broker: start it, give it its turn, end it; the played spawner's side of the pair
 *	actors.c	the vats: processes that are file descriptors, what they were sent and say
 *	links.c		callers outside: connections to the control socket, requests and answers
 *	tables.c	the store as text; names for krefs
 *	steps.c		the language
 *	ending.c	what must hold after every scenario
 *
 * A failure leaves by longjmp to runner_run(), which tidies up; nothing here needs to look at the outcome of what
 * "must".
 */
#ifndef CAPSTAN_TEST_PLAY_H
#define CAPSTAN_TEST_PLAY_H

#include <jansson.h>
#include <setjmp.h>

#include <capstan/wire.h>

#include "../../broker/broker.h"
#include "../../broker/spawn.h"
#include "../../lib/check.h"
#include "runner.h"
#include "script.h"
#include "words.h"

#define PATIENCE_MS	10000	/* no event may take longer, unless hooks say so; none takes a hundredth of it */
#define TRACE_LINES	12	/* of each vat, shown when a scenario fails */
#define NAME_SIZE	(VAT_NAME_MAX + 8)

/* Something that a vat was sent. */
struct heard { struct heard *next; char *text; uint64_t delivery; };
struct heard_list { struct heard *first, **last; size_t n; };

struct actor {
	struct actor *next;
	char name[NAME_SIZE];
	uint64_t number;		/* of the vat; 0: not launched yet */
	uint32_t incarnation;		/* of the process */
	int fd;				/* -1: no process, or it hung up */
	bool process;			/* the kernel was told of a process and not yet of its end */
	bool deaf;			/* it does not read */
	bool wait_start, wait_kill;	/* what is asked for waits until the scenario says so */
	bool start_asked, kill_asked;	/* and has been asked for */
	int held_fd;			/* of the start that waits */
	char fail_start[200];		/* the next start fails: why */
	unsigned n_kills;		/* the kernel asked for, and no step has spoken of yet */
	struct wire_joiner joiner;
	struct heard_list deliveries, answers, others;
	uint64_t unfinished[64];	/* taken by a step, not done */
	size_t n_unfinished;
	uint64_t delivery;		/* the one to speak of */
	uint64_t token;			/* of the last ping */
	char *trace[TRACE_LINES];
	unsigned n_trace;
};

/* A caller's connection, and what it asked. */
struct ask { struct ask *next; char name[64]; json_int_t id; json_t *reply; };
struct link {
	struct link *next;
	char name[64];
	int fd;
	char *in;
	size_t in_len;
	bool ended;			/* the other side closed it */
	struct ask *asks;
	json_t *inbox;			/* what answers nothing */
};

struct backend_process { int pid; };
struct runner {
	const struct runner_options *o;
	struct script script;
	const struct script_step *step;		/* at hand; NULL: none */
	jmp_buf failed;
	char *failure;
	bool stopped;				/* a hook said so */

	char dir[200], store[230], run[230], log[230], socket[230];
	int store_fd, listen_fd, config_fd;
	bool direct;

	/* backend.c */
	bool up;
	int pid;				/* RUNNER_PROCESS */
	struct kernel *kernel;			/* RUNNER_IN_PROCESS */
	int spawner, kernel_spawner;		/* our end, and in process its; -1: no broker */
	bool stopping;				/* it was told to end */
	bool paused;				/* it does nothing for now */
	unsigned n_events;			/* told the broker so far */
	bool over;				/* the in-process broker said that it is */

	struct actor *actors;
	struct link *links;
	json_int_t next_id;
	/* `vat NAME {…}` lines, by name */
	json_t *vat_configs;
	int program_fd;

	uint64_t base_object, base_promise;	/* the first numbers after boot */
	char *first_dump;			/* the tables right after boot */
	char **blessed;				/* by step */
	bool drop_rest;
	bool closed;				/* the end has come so far that the broker is gone for good */
};

void runner_fail(struct runner *r, const char *fmt, ...) __attribute__((format(printf, 2, 3), noreturn));
void runner_trace(struct runner *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
bool runner_is_patient(const struct runner *r, uint64_t begin_ns);	/* with what it has waited for since then */
bool runner_may_go_astray(const struct runner *r);
#define runner_must(r, x)	((x) < 0 ? runner_fail(r, "%s: %s", #x, strerror(errno)) : (void)0)

/* --- backend.c */
void backend_start(struct runner *r);
void backend_crash(struct runner *r);
void backend_pause(struct runner *r, bool paused);	/* what comes meanwhile waits in its sockets */
void backend_pause(struct runner *r, bool paused);	/* it does nothing meanwhile; what comes waits in its sockets */		/* at once, nothing said; the vats' processes go with it */
void backend_stop(struct runner *r);		/* by the control socket; fails when it does not end well */
void backend_end_stop(struct runner *r);	/* if it was told to end, and its answer was lost */
void backend_drop(struct runner *r);		/* tidying up after a failure; never fails */
bool backend_turn(struct runner *r, int wait_ms);	/* true: something came */
void backend_tell(struct runner *r, const struct spawn_event *ev);
void backend_quiet(struct runner *r);		/* until nothing moves by itself, and all is committed */
/* Turns until `done`; fails with `what` ("a gets …") when nothing of the kind happens. */
typedef bool (*backend_done)(struct runner *r, void *arg);
void backend_await(struct runner *r, backend_done done, void *arg, const char *what);

/* --- actors.c */
struct actor *actor_find(struct runner *r, const char *name);	/* NULL: none of that name */
struct actor *actor_get(struct runner *r, const char *name);	/* made when there is none */
struct actor *actor_by_number(struct runner *r, uint64_t vat);
void actor_spawn(struct runner *r, const struct spawn_request *rq, int channel /* taken */);
void actor_kill(struct runner *r, const struct spawn_request *rq);
void actor_start_now(struct runner *r, struct actor *a);
void actor_ends(struct runner *r, struct actor *a, int wait_status);	/* its process: gone and reaped */
/* The news of its end is there before its last words are. */
void actor_ends_saying(struct runner *r, struct actor *a, const char *words);
void actor_hangs_up(struct actor *a);
bool actor_read(struct runner *r, struct actor *a);
void actor_says(struct runner *r, struct actor *a, const char *words);	/* `; ` between; one packet */
void actor_sends(struct runner *r, struct actor *a, const void *data, size_t len);
/* The next of these that no step has taken, NULL: none; the caller's. */
struct heard *actor_take(struct actor *a, struct heard_list *l);
void heard_free(struct heard *h);
void actor_begin(struct runner *r, struct actor *a, const struct heard *h);
void actor_forget(struct actor *a);		/* its process and all that it was sent */
void actors_free(struct runner *r);
void actors_report(struct runner *r, FILE *f);

/* --- links.c */
struct link *link_get(struct runner *r, const char *name);	/* connects when there is none */
bool link_read(struct runner *r, struct link *l);
void link_close(struct runner *r, struct link *l);
void link_says(struct runner *r, struct link *l, const char *data, size_t len);	/* these bytes */
void links_close(struct runner *r);
struct ask *link_ask(struct runner *r, struct link *l, const char *name, const char *method, json_t *params /* taken */,
		     const int *fds, size_t n_fds);
struct ask *ask_find(struct runner *r, const char *name, struct link **linkp);
void ask_forget(struct link *l, struct ask *a);
json_t *link_call(struct runner *r, const char *method, json_t *params);	/* awaits the reply; the caller's */
/* NULL: equal (or contained); else what differs, malloc'd. */
char *json_differs(const json_t *want, const json_t *got, bool contained);

/* --- tables.c */
char *tables_show(struct runner *r, const char *what, const char *arg);	/* malloc'd; fails on an unknown table */
char *tables_dump(struct check_source *src);	/* everything that must be as it was at the end */
void tables_note_start(struct runner *r);	/* right after the first boot */
size_t tables_check(struct runner *r, struct check_source *src, char **linesp);
json_t *tables_name_refs(struct runner *r, json_t *json);	/* in answers; takes and gives a reference */
json_t *tables_resolve_refs(struct runner *r, json_t *json);	/* in parameters */
/* The store as it is committed; only while the kernel is quiet, or gone. */
typedef void (*tables_fn)(struct runner *r, struct check_source *src, void *arg);
void tables_with(struct runner *r, tables_fn fn, void *arg);

/* --- steps.c */
void steps_run(struct runner *r);

/* --- ending.c */
void ending_check(struct runner *r);

#endif
