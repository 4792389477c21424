/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What stands in each file of the mount. A function here takes the number of the thing its file belongs to (a vat,
 * a subcluster, the bits of a kref; 0 for files of the whole kernel) and writes the text.
 *
 * Returns 0, VIEW_E_ABSENT when that thing is not there, VIEW_E_DAMAGED when its own row is not one that a kernel
 * wrote (damaged rows beside it are left out), or a negative number when the store could not be read.
 * Single facts are one line; several are "key: value" lines; tables have a header, stable columns, and "-" for none.
 */
#ifndef CAPSTAN_FS_RENDER_H
#define CAPSTAN_FS_RENDER_H

#include "text.h"
#include "view.h"

typedef int (*render_fn)(struct view *v, uint64_t id, struct text *t);

/* render.c: the whole kernel */
int render_version(struct view *v, uint64_t id, struct text *t);
int render_status(struct view *v, uint64_t id, struct text *t);
int render_holds(struct view *v, uint64_t id, struct text *t);
int render_stats(struct view *v, uint64_t id, struct text *t);
int stats_present(struct view *v, uint64_t id);

/* render_queue.c */
int render_runqueue(struct view *v, uint64_t id, struct text *t);
int render_vat_queue(struct view *v, uint64_t id, struct text *t);
int render_promise_queue(struct view *v, uint64_t id, struct text *t);
int render_aside(struct view *v, uint64_t id, struct text *t);		/* of a vat, or with 0 of all */
/* The same messages by their numbers, and what they say. */
int render_runqueue_values(struct view *v, uint64_t id, struct text *t);	/* those that wait on promises too */
int render_vat_queue_values(struct view *v, uint64_t id, struct text *t);
int render_promise_queue_values(struct view *v, uint64_t id, struct text *t);
int render_aside_values(struct view *v, uint64_t id, struct text *t);
/* One "message:" line for each item that waits on a promise. */
int render_waiting(struct view *v, kref_t promise, struct text *t);

/* render_ref.c: objects and promises; id is the number without the promise bit */
int render_object(struct view *v, uint64_t id, struct text *t);
int render_object_kind(struct view *v, uint64_t id, struct text *t);
int render_object_refcount(struct view *v, uint64_t id, struct text *t);
int render_object_revoked(struct view *v, uint64_t id, struct text *t);
int render_object_pinned(struct view *v, uint64_t id, struct text *t);
int render_promise(struct view *v, uint64_t id, struct text *t);
int render_promise_state(struct view *v, uint64_t id, struct text *t);
int render_promise_refcount(struct view *v, uint64_t id, struct text *t);
int render_promise_pinned(struct view *v, uint64_t id, struct text *t);
int render_promise_value(struct view *v, uint64_t id, struct text *t);

/* render_holders.c: who holds it, and through what */
int render_object_holders(struct view *v, uint64_t id, struct text *t);
int render_promise_holders(struct view *v, uint64_t id, struct text *t);

/* render_waits.c: what a vat has, and what for it is not over, seen from the vat */
int render_vat_decides(struct view *v, uint64_t id, struct text *t);
int render_vat_waits(struct view *v, uint64_t id, struct text *t);
int render_vat_exports(struct view *v, uint64_t id, struct text *t);
int render_vat_imports(struct view *v, uint64_t id, struct text *t);

/* render_gc.c: what will be collected */
int render_gc_next(struct view *v, uint64_t id, struct text *t);
int render_gc_actions(struct view *v, uint64_t id, struct text *t);
int render_gc_reap(struct view *v, uint64_t id, struct text *t);
int render_gc_suspects(struct view *v, uint64_t id, struct text *t);
int render_gc_sweeps(struct view *v, uint64_t id, struct text *t);

/* render_vat.c: one vat */
int render_vat_name(struct view *v, uint64_t id, struct text *t);
int render_vat_config(struct view *v, uint64_t id, struct text *t);
int render_vat_parameters(struct view *v, uint64_t id, struct text *t);
int render_vat_status(struct view *v, uint64_t id, struct text *t);
int render_vat_uid(struct view *v, uint64_t id, struct text *t);
int render_vat_pid(struct view *v, uint64_t id, struct text *t);
int render_vat_incarnation(struct view *v, uint64_t id, struct text *t);
int render_vat_isolation(struct view *v, uint64_t id, struct text *t);
int render_vat_reason(struct view *v, uint64_t id, struct text *t);
int render_vat_clist(struct view *v, uint64_t id, struct text *t);
int render_vat_log(struct view *v, uint64_t id, struct text *t);
/* A log as a file that only grows: its end, when that was written; where what is still there begins; the text from a place on. */
int render_log_size(struct view *v, uint64_t id, uint64_t *sizep, uint64_t *mtime_usp);
int render_log_start(struct view *v, uint64_t id, uint64_t *offsetp);
int render_log_from(struct view *v, uint64_t id, uint64_t offset, struct text *t);
/* A row of JSON, as JSON. "none" when there is no row. */
int render_config(struct view *v, enum table table, uint64_t id, struct text *t);

/* render_life.c: all vats; how processes ended */
const char *render_status_name(uint32_t status);		/* of enum vat_status */
int render_vats(struct view *v, uint64_t id, struct text *t);
int render_deaths(struct view *v, uint64_t id, struct text *t);
int render_vat_deaths(struct view *v, uint64_t id, struct text *t);

/* render_usage.c */
int render_vat_usage(struct view *v, uint64_t id, struct text *t);
int render_vat_limits(struct view *v, uint64_t id, struct text *t);
int render_vat_charges(struct view *v, uint64_t id, struct text *t);
int render_limits(struct view *v, uint64_t id, struct text *t);
int defaults_present(struct view *v, uint64_t id);
void render_seconds(struct text *t, uint64_t us);		/* 12.345 */
/* What the broker shows of that vat; false: nothing. */
bool render_live(struct view *v, uint64_t vat, struct live_vat *out);
uint64_t render_busy_us(const struct view *v, const struct live_vat *live);	/* how long what is in flight has been */

/* render_code.c: programs and companion files; id is the number of their row */
#define CODE_HASH	32u
#define CODE_HEX	64u
struct code { uint8_t hash[CODE_HASH]; struct row_code row; const char *name; size_t name_len; };	/* the name is borrowed */
void code_hex(const uint8_t hash[CODE_HASH], char out[CODE_HEX + 1]);
int code_next(struct scan *s, struct code *out);		/* the next good row of T_CODE; SCAN_END */
int code_find(struct view *v, uint64_t number, struct code *out);
int code_by_hash(struct view *v, const uint8_t hash[CODE_HASH], struct code *out);
/* Is it the vat's program, or shown to it as a companion file? */
int code_is_had(struct view *v, const struct code *code, uint64_t vat, const struct row_vat *row, bool *hasp);
int code_next_vat(struct scan *s, const struct code *code, uint64_t *vatp);	/* the next row of T_VAT that has it; SCAN_END */
int render_code_name(struct view *v, uint64_t id, struct text *t);
int render_code_size(struct view *v, uint64_t id, struct text *t);
int render_code_added(struct view *v, uint64_t id, struct text *t);
int render_codes(struct view *v, uint64_t id, struct text *t);

/* render_sub.c: subclusters and services */
int render_sub_config(struct view *v, uint64_t id, struct text *t);
int render_sub_status(struct view *v, uint64_t id, struct text *t);
int render_sub_created(struct view *v, uint64_t id, struct text *t);
int render_sub_ended(struct view *v, uint64_t id, struct text *t);
int render_sub_name(struct view *v, uint64_t id, struct text *t);
int render_sub_holds(struct view *v, uint64_t id, struct text *t);
int render_subclusters(struct view *v, uint64_t id, struct text *t);
bool service_read(const void *val, size_t len, struct row_service *out);	/* a row of T_SERVICE; false: damaged */
int render_services(struct view *v, uint64_t id, struct text *t);

/* render_store.c: a vat's own store, raw and as the C vat library lays it out */
int render_vat_vatstore(struct view *v, uint64_t id, struct text *t);
int render_vat_baggage(struct view *v, uint64_t id, struct text *t);
int render_vat_state(struct view *v, uint64_t id, struct text *t);
/* render_library.c, vat_kinds.c */
int render_vat_collections(struct view *v, uint64_t id, struct text *t);
int render_vat_entries(struct view *v, uint64_t id, struct text *t);
int render_vat_kinds(struct view *v, uint64_t id, struct text *t);
int render_vat_references(struct view *v, uint64_t id, struct text *t);
int render_vat_continuations(struct view *v, uint64_t id, struct text *t);
/* Is there anything to show? VIEW_E_ABSENT. */
int vat_has_baggage(struct view *v, uint64_t id);
int vat_has_state(struct view *v, uint64_t id);
int vat_has_collections(struct view *v, uint64_t id);
int vat_has_kinds(struct view *v, uint64_t id);
int vat_has_references(struct view *v, uint64_t id);
int vat_has_continuations(struct view *v, uint64_t id);
struct vat_look;
/* Begin a table of that vat's store, with the vat there; VIEW_E_*. */
int render_vat_table(struct view *v, uint64_t id, struct text *t, const char *head, struct vat_look *out);

/* render_event.c */
#define RENDER_RECENT	1000u		/* events in `recent` */
#define RENDER_EVENT_MAX 1024u		/* bytes of a line, its end included */
void render_event(struct text *t, const struct live_event *e);
uint64_t render_event_first(const struct live_page *page);	/* number of the first that the ring may still hold */
int render_recent(struct view *v, uint64_t id, struct text *t);	/* the last ones that were shown */

/* tree_frozen.c */
int render_snapshots(struct view *v, uint64_t id, struct text *t);

/* Shared by the above. */
void render_kref(struct text *t, uint64_t bits);	/* "-" for 0 */
void render_endpoint(struct text *t, uint64_t bits, const char *none);
void render_body(struct text *t, const struct capdata *c);	/* one readable line, without its end */
void render_slots(struct text *t, const struct capdata *c);	/* krefs with blanks between; "-" for none */
void render_capdata(struct text *t, const struct capdata *c);	/* three lines: value, body, slots */

struct render_hold { uint64_t kref, owner; unsigned int kind; struct row_hold row; };
bool render_hold_read(const struct scan *s, struct render_hold *out);	/* a row of T_HOLD; false: damaged */
void render_hold(struct text *t, const struct render_hold *h, char between); /* kind, owner, count, since */
const char *render_hold_kind(unsigned int kind);

void render_method(struct text *t, const struct capdata *methargs);	/* a cell: which method a message calls */
void render_age(struct view *v, struct text *t, uint64_t since_us);	/* seconds since then; "-" for 0 */

extern const char *const standing_names[];		/* enum standing */
const char *ref_form(vref_t vref);			/* root, plain, virtual, durable, promise */
/* As it counts, its decider standing so; its stored state with STANDING_NONE. */
const char *promise_state(const struct row_promise *row, enum standing decider);
bool promise_is_settled(const struct row_promise *row);
void render_behind(struct text *t, const struct row_promise *row);	/* whose queue holds the message that will decide it */
/* The value of a settled promise, its own or the one it shares, and the promise's flags. VIEW_E_ABSENT: not settled. */
int promise_value(struct view *v, kref_t ref, uint32_t *flagsp, struct capdata *valuep);

#endif
