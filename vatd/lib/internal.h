/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of the vat library. One process is one vat, in one thread, so there is no locking. All that a vat is
 * stands in its struct vat, so that a test can hold several in one process (capstan/vat_test.h).
 *
 *	main.c, stdio.c	main() and what it prints; not in tests
 *	channel.c	packets: one receive and one send a crank, synchronous reads of the vatstore between
 *	crank.c		deliveries in, methods called, `done` out
 *	refs.c		the table of references; names, holds, exports
 *	cache.c		the bound of what is in memory
 *	sweep.c		what nothing holds any more goes, and how the kernel hears of it
 *	clean.c		what earlier incarnations left behind, a little in each crank
 *	promise.c	settling; wait.c: continuations, turns; settled.c: values; send.c; combine.c, stream.c: on top
 *	kinds.c		kinds: those of the program, the library's own, what is known of them over restarts
 *	object.c	objects and facets: made, found, loaded, put away, deleted
 *	state.c		the fields of a state table: saved, loaded, admitted
 *	store.c		values in the vatstore and the count of the references in them; baggage
 *	signature.c	C values to smallcaps and back
 *	value.c		vat_value; valuetext.c: the same for people, and whether two are equal
 *	watch.c		descriptors and timers: wakeMe and wake
 *	keys.c		keys of collections as text in their order
 *	collection.c	ordered maps and sets
 *
 * Failures: what the vat's author or a caller did wrong fails the running method (vat->call.failed). What
 * would leave the vat in a state that is not true ends the process through vat_die(): the delivery has
 * failed, the crank is undone, and the kernel starts the vat anew. In a test only that vat ends, by a longjmp: memory that is not yet in a struct must not be held
 * across a call that may die.
 */
#ifndef CAPSTAN_VAT_INTERNAL_H
#define CAPSTAN_VAT_INTERNAL_H

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>

#include <capstan/vat.h>
#include <capstan/wire.h>

#include "../../lib/jtext.h"

/* --- views: smallcaps text with its references ---------------------------------------------------- */

/* Text that jtext_check() accepted, and what its slots are. vat_value is the public name of it. */
struct vat_value {
	const char *at;			/* the value */
	const char *end;		/* of the text that contains it */
	vat_ref *const *slots;
	size_t n_slots;
};

/* What is being written: text with "#" first, and slots as references. */
struct encoder {
	struct jtext text;
	vat_ref **slots;		/* arena */
	size_t n_slots, slots_size;
	struct encoder *outer;		/* of those beyond the kept ones */
	bool named;			/* for a message: what imports are alleged to be is said again; for the store it is not */
	bool reordered;			/* a record's members were sorted afterwards: slot numbers are not in order */
	char problem[200];		/* "" : fine */
};

/* --- references ----------------------------------------------------------------------------------- */

enum ref_kind { REF_FREE, REF_LOCAL, REF_IMPORT, REF_A_PROMISE };
enum promise_state { UNRESOLVED, FORWARDED, FULFILLED, REJECTED };

struct object;
struct settled {			/* a value, kept while somebody may look */
	size_t text_len, n_slots;
	char *text;			/* after the slots, in the same allocation; NUL-terminated, no "#" */
	vat_ref *promise;		/* that has it; NULL: something else does */
	struct settled *next, **list;	/* of those that name promises; `list` NULL: not in it */
	size_t n_inner;			/* while looking for circles: holds of its promise by others of the list */
	bool marked;
	vat_ref *slots[];
};

struct continuation {
	struct continuation *next, *prev;	/* a ring; NULL: in none */
	vat_ref *object;		/* held; NULL: `result` takes the outcome over */
	vat_ref *result;		/* held: the promise of vat_then(); NULL: none, or it was an earlier incarnation's */
	const char *method;		/* in the same allocation */
	bool on_rejection, durable;
	/* Instead of object and method, for either outcome: the library itself waits, and the memory is its own. */
	void (*fn)(vat *v, struct continuation *c, vat_ref *settled);
};

/* How often values in the vatstore name a reference. It has a row there too, read when first needed. */
struct tally { uint64_t n, there; bool known, dirty; };

struct vat_ref {
	vref_t vref;			/* VREF_NONE: the kernel does not know it, and no value in the store names it */
	enum ref_kind kind;
	/* vat_hold(), settled values, saved slots of loaded objects, cached baggage, turns, continuations; of its facets */
	uint32_t n_holds, n_named;	/* of these, how many stand for values in the store (facets: of the whole) */
	uint64_t crank;			/* the crank in which it was last handed out: borrowed until its end */
	/*
	 * By values that survive a restart; by those that end with this incarnation (state of virtual objects,
	 * collections that are not durable). Facets are counted with the whole.
	 */
	struct tally lasting, passing;
	/* objects: what the kernel may still do with it */
	bool reachable;			/* import: flag in our clist; own: the kernel reaches it */
	bool recognizable;		/* own: still in our clist */
	bool reach_known;		/* own durable or virtual: both were read from the store (facets: of the whole) */
	bool condemned;			/* in the list of those to look at when the crank ends */
	bool deferred;			/* its deletion goes on in a later crank; the store knows (durable) */
	uint32_t suspect;		/* place + 1 in the list of those to look at when the dead are brought out */
	/* An object with facets is the whole, which nobody sees, and one entry for each facet that was named. */
	uint8_t facet;
	vat_ref *whole, *facets, *next_facet;
	/* promises */
	bool ours;			/* we decide */
	bool subscribed;
	bool when_known, when_stored, when_dirty; /* its continuations' key in the store */
	bool waits_durably;		/* some of them are durable */
	enum promise_state state;
	struct settled *value;
	struct continuation *waiting;	/* the last; its `next` is the first */
	uint32_t n_waiting;
	struct object *object;		/* REF_LOCAL, loaded; with facets: of the whole */
	union {
		vat_ref *link;			/* FORWARDED: held; REF_FREE: next free */
		struct interface *interface;	/* REF_IMPORT: what it is alleged to be; NULL: unknown */
	};
	/* its slot number in the encoder with that serial */
	uint64_t encode_serial;
	size_t slot_index;
};

struct object {
	vat_ref *ref;			/* with facets: the whole */
	const vat_kind *kind;
	struct object *prev_touched, *next_touched;	/* with a state table: used in this crank, the last first */
	uint64_t touched;		/* v->touch_serial when it was; 0: not in this crank */
	void **admitted;		/* REF and VALUE fields as last found to be good; arena of the crank that touched it */
	char *saved;			/* state text as the store has it; NULL: never saved */
	vat_ref **saved_slots;		/* held */
	size_t n_saved_slots;
	struct vat_value *values;	/* for each VALUE field: its place in `saved` */
	uint64_t magic;
	_Alignas(16) char data[];	/* what `self` points to */
};
#define OBJECT_MAGIC	UINT64_C(0x6f626a6563742e2e)

/*
 * Kinds of the library itself. They are declared by kind_builtin() from kinds_start(), need not be named in
 * VAT_PROGRAM(), and a program may have a kind of the same name.
 */
struct kind_hooks {
	/*
	 * The object goes: delete what it has in the store beside its state, and count down what that held.
	 * Stop when cleaning_is_over(v) and return false: it is called again in a later crank, if need be of the
	 * next incarnation. Its state can be read until it returns true.
	 */
	bool (*deleted)(vat *v, vat_ref *ref);
};

/*
 * Weak keys. What a weak collection has as a key is not held by that; the collection says here what it
 * recognises. An import so recognised is dropped, but not retired. Both are asked about names, because the entry
 * of the reference may be gone from memory; facets each by their own name.
 */
struct weak_hooks {
	bool (*recognises)(vat *v, vref_t vref);	/* is it a key of any? */
	/* It is gone for good: delete its entries. False: more is left, as with `deleted`. */
	bool (*key_gone)(vat *v, vref_t vref);
};

struct kind_row {			/* a kind with a state table and its number in vrefs */
	const vat_kind *kind;
	const struct kind_hooks *hooks;	/* NULL: of the program */
	uint64_t number;		/* 0: not used yet */
};

/* interface.c */
void interface_learn(vat *v, vat_ref *r, const struct vat_value *string);	/* the string that names it */
void interface_forget(vat *v, vat_ref *r);		/* the entry goes */
void interface_put(struct jtext *t, const vat_ref *r);	/* ".Alleged: Purse", or nothing */
void interfaces_close(vat *v);

/* --- the running method --------------------------------------------------------------------------- */

struct call {
	struct object *self;
	vat_ref *face;			/* as which it was called: the object, or a facet */
	const char *method;		/* for sentences */
	const vat_method *row;
	struct vat_value args;		/* at: first argument, NULL: none */
	bool single;			/* continuation or init: `at` is the one argument itself */
	bool returned, failed;
	struct encoder *answer;		/* value or reason; its text is empty until one is given */
};

struct turn {
	struct turn *next;
	vat_ref *object, *promise;	/* both held; no object: `result` takes the promise's outcome over */
	vat_ref *result;		/* held, or NULL */
	struct continuation *inner;	/* instead of these */
	char method[];
};

enum again_how { AGAIN_LEAF, AGAIN_NAMER, AGAIN_REFUSED };	/* names no promises; some; too much */
struct again { vat_ref *promise; enum again_how how; };		/* held */

/* --- the store ------------------------------------------------------------------------------------ */

struct baggage {			/* one cached name */
	struct baggage *next;
	char *text;			/* NULL: known to be absent */
	vat_ref **slots;		/* held */
	size_t n_slots;
	char name[];
};
#define BAGGAGE_BUCKETS	64
#define BAGGAGE_CACHED	1024	/* names; callers may choose them, and ask for ones that are not there */

struct arena_chunk { struct arena_chunk *next; size_t used, size; bool mapped; _Alignas(16) char data[]; };
struct ref_slab;

/* Who runs a vat that is no process of its own. */
struct vat_host {
	void (*idle)(struct vat_host *h);	/* nothing to read or no room to write: let the kernel go on */
	jmp_buf died;				/* set around every call into the vat */
	int status;				/* how it died, as in exit(2) */
	uint64_t now_ns;			/* its clock */
};

struct vat {
	int fd;
	struct vat_host *host;		/* NULL: this vat is the process */
	bool gone;			/* with a host: the kernel reads no more, nothing is sent */
	bool dying;
	const vat_program *program;
	uint64_t id, incarnation, next_export, next_promise;
	uint64_t delivery;		/* the one in hand; 0: none */
	uint64_t crank;			/* counts deliveries, here only */
	bool begun;			/* hello was said */
	bool exiting;			/* exit was called: the vat ends with the crank */
	bool built;			/* startVat is done */

	struct wire_buf out, log;
	struct wire_buf aside, taken;	/* deliveries that came while an answer was awaited; those in hand of them */
	struct wire_joiner in, reply;
	uint8_t *packet, *reply_packet;	/* WIRE_MAX_PACKET bytes each */
	uint8_t *part;			/* the same, once one was needed */

	struct arena_chunk *arena, *arena_first;
	/* Where vat_at() was last, so that a loop over a large value is linear: values of the crank are never moved. */
	struct { const struct vat_value *value; const char *at, *member; size_t i; } cursor;

	struct ref_slab *slabs;		/* all references, used and free */
	vat_ref **table;		/* open addressing by vref */
	size_t n_table, table_size;	/* entries; slots, a power of two */
	size_t evict_at;		/* entries at which the cache is next looked through */
	uint64_t evicted;		/* the crank when it last was */
	vat_ref *free_refs, **free_tail;	/* used again in the order in which they came free */
	size_t n_free;
	uint64_t top_import;		/* the greatest import number seen */
	bool top_known;			/* no greater one was ever ours: a new one is counted nowhere */
	bool passing_begun;		/* a value that ends with this incarnation named a reference */
	vat_ref **condemned;		/* to look at when the crank ends */
	size_t n_condemned, condemned_size;
	vat_ref **suspects;		/* imports and promises to look at when the dead are brought out */
	size_t n_suspects, suspects_size;
	size_t n_examine;		/* of these, how many are still to be looked at now */
	struct cleaning {		/* clean.c */
		bool lives, gone, clist;	/* still to do: earlier lives' rows; deletions begun; imports never met */
		bool bring;		/* bringOutYourDead came */
		vref_t at, gone_at;	/* where in the clist; in the rows of deletions */
		uint64_t calls, until;	/* so many more in this crank: until n_calls is that */
		bool left, done;	/* there is more; what is done once in a crank is */
		uint64_t retired_in;	/* the crank in which the kernel last retired imports */
	} clean;
	const struct weak_hooks *weak;
	struct weak_keys {		/* collection.c: are there entries with weak keys? At first, then not asked again */
		bool known, lasting;	/* that survive a restart: was the store asked; there are some */
		bool passing;
	} weak_keys;
	uint64_t n_calls;		/* of the vatstore and the clist, since ever */
	vat_ref **dirty;		/* stored counts or continuations to write when it ends */
	size_t n_dirty, dirty_size;
	struct again *again;		/* settled promises named again: to resolve when it ends */
	size_t n_again, again_size;
	struct interface *interfaces[256];	/* by name */
	size_t n_interfaces;
	struct settled *circles;	/* settled values that name promises */
	struct combination *combinations;
	uint64_t encode_serial;

	struct kind_row *kinds;
	size_t n_kinds, kinds_size;
	uint64_t next_instance;		/* last given to a durable object; 0: not read yet */
	bool instance_dirty;
	struct object *touched;
	uint64_t touch_serial;
	vat_ref *face;			/* for the next call_method() */
	vat_ref *root;

	struct turn *turns, **turns_tail;
	bool producing, stream_done;	/* a producer's continuation runs; it has said that this was the last */
	struct call call;
	struct encoder scratch[4];	/* kept buffers of encoders, by nesting */
	struct encoder *deep;		/* those beyond them */
	unsigned n_scratch;

	struct baggage *baggage[BAGGAGE_BUCKETS];
	size_t n_baggage;

	struct watch *watches;
	size_t n_watches;
	struct timer **timers, *fired;	/* a heap; the one whose method runs */
	size_t n_timers, timers_size;
	uint64_t last_timer;		/* its number */
	struct pollfd *polled;
	size_t polled_size;
	bool wake_asked;		/* wakeMe was sent, wake is to come */
};

/* stdio.c: from now on what the process prints is the log of the vat on that channel. */
void stdio_to_log(int fd);

/* channel.c */
void channel_flush(vat *v);
void channel_pack(vat *v);			/* send full packets early: bounded memory for large cranks */
/* The next whole frames. With a host also RECEIVED_NOTHING, instead of waiting. */
enum received { RECEIVED, RECEIVED_NOTHING, RECEIVED_END };
enum received channel_receive(vat *v, const uint8_t **framesp, size_t *lenp);
/* Ask and wait; the answer's bytes are valid until the next. Deliveries that come first are kept for channel_receive(). */
void channel_ask(vat *v, struct wire_frame *answer);
void channel_trim(vat *v);			/* what large messages took is given back */
void channel_log(vat *v, uint32_t level, const char *text, size_t len);
__attribute__((noreturn, format(printf, 2, 3))) void vat_die(vat *v, const char *fmt, ...);
__attribute__((noreturn)) void vat_end(vat *v, int status);	/* without a word */

/* watch.c */
void watch_wait(vat *v);			/* between cranks: until the channel has something, asking for a wake meanwhile */
void watch_wake(vat *v);			/* in the delivery */
void watch_close(vat *v);
/* For a host, which waits itself: what is watched (n_watches of them), when the next timer is due, and asking. */
size_t watch_fill(vat *v, struct pollfd *p);
uint64_t watch_next_due(const vat *v);		/* UINT64_MAX: none */
void watch_ask(vat *v);

/* crank.c */
int vat_serve(int fd, const vat_program *program);	/* the exit status */
/* The same in pieces. NULL: no memory. `fd` and `host` are borrowed. */
vat *vat_open(int fd, const vat_program *program, struct vat_host *host);
bool vat_take(vat *v, int *statusp);			/* one packet; false: the vat is over */
void vat_close(vat *v);					/* runs fini of what is loaded, frees everything; NULL */
void *arena_get(vat *v, size_t size);			/* zeroed; never NULL */
void arena_reset(vat *v);
__attribute__((format(printf, 2, 3))) char *arena_printf(vat *v, const char *fmt, ...);
void *vat_alloc(vat *v, size_t size);			/* zeroed heap; never NULL */
void *vat_grow(vat *v, void *old, size_t *sizep, size_t need, size_t item);	/* never NULL */
/* Run a method. The answer stays in `answer`; true: fulfilled. */
bool call_method(vat *v, struct object *self, const vat_method *row, vat_fn *fn, const char *name,
		 struct vat_value args, bool single, struct encoder *answer);
__attribute__((format(printf, 3, 4))) int call_fail(vat *v, const char *name, const char *fmt, ...);

/* refs.c */
vat_ref *ref_find(vat *v, vref_t vref);
vat_ref *ref_introduce(vat *v, vref_t vref);		/* named by the kernel: find or make; borrowed for the crank */
vat_ref *ref_own(vat *v, vref_t vref);			/* an own object that the kernel or the store names: find or make */
vat_ref *ref_new(vat *v, enum ref_kind kind, vref_t vref);
vat_ref *ref_facet(vat *v, vat_ref *whole, unsigned facet);	/* find or make */
void ref_free(vat *v, vat_ref *r);			/* with its facets */
void ref_give_vref(vat *v, vat_ref *r, vref_t vref);	/* it enters the table */
void ref_forget_vref(vat *v, vat_ref *r);		/* it left the clist */
void ref_name(vat *v, vat_ref *r);			/* an own object gets a name by which the store can name it */
uint64_t ref_export(vat *v, vat_ref *r);		/* the number to put in a syscall, making one if needed */
void ref_load_exported(vat *v, vat_ref *r);		/* what the kernel does with it is known after this */
void ref_set_exported(vat *v, vat_ref *r, bool reachable, bool recognizable);
void ref_check(vat *v, const vat_ref *r, const char *where);	/* borrowed in this crank or held, else vat_die() */
void ref_hold(vat_ref *r);
void ref_unhold(vat *v, vat_ref *r);
/* A value in the store names it, and is in memory; `still`: it only leaves memory. */
void ref_hold_named(vat_ref *r);
void ref_unhold_named(vat *v, vat_ref *r, bool still);
bool ref_survives(const vat_ref *r);			/* may stand in what survives a restart */
const char *ref_describe(vat *v, const vat_ref *r);
void refs_shrink(vat *v);				/* the table, to what is in it */
static inline vat_ref *ref_whole(vat_ref *r) { return r->whole ? r->whole : r; }
/* Durable or virtual: state in the store, memory is a cache. */
static inline bool vref_is_kept(vref_t r) { return vref_is_durable(r) || vref_is_virtual(r); }

/* cache.c */
void refs_evict(vat *v);				/* end of crank: what is in memory is kept within its bound */

/* sweep.c */
void ref_condemn(vat *v, vat_ref *r);
void ref_sweep(vat *v);					/* end of crank: what nothing holds goes */
void ref_suspect(vat *v, vat_ref *r);
void ref_unsuspect(vat *v, vat_ref *r);
void ref_examine(vat *v);				/* the suspects; some in each crank */
void ref_drop_exports(vat *v, const struct wire_frame *f);
void ref_retire_exports(vat *v, const struct wire_frame *f);
void ref_retire_imports(vat *v, const struct wire_frame *f);

/* clean.c */
void clean_begin(vat *v);				/* of a crank: so much may be spent on what is gone */
bool cleaning_is_over(vat *v);				/* in this crank; notes that there is more */
void clean(vat *v);					/* its end; again if that led to more */
void clean_end(vat *v);					/* asks for another crank, when there is more to do */
void clean_weak_import(vat *v, vref_t vref);		/* retired: collections hear of it */
void clean_start(vat *v);
void ref_bring_out_dead(vat *v);
void refs_each(vat *v, void (*fn)(vat *v, vat_ref *r));	/* all but the free ones; fn may make and free some */
void refs_close(vat *v);
size_t refs_count(vat *v);				/* references in use, and objects in memory */

/* promise.c */
bool promise_is_settled(const vat_ref *p);
vat_ref *promise_follow(vat *v, vat_ref *r);		/* where forwarding ends; objects too */
void promise_deliver_notify(vat *v, const struct wire_frame *f);
/*
 * Settle the result of a message, or an own promise, with what the encoder holds. `p` may be NULL for a
 * result nobody here knows.
 */
void promise_resolve_vref(vat *v, vref_t result, bool rejected, struct encoder *value);
void promise_settle_own(vat *v, vat_ref *p, bool rejected, struct encoder *value);
vat_ref *promise_settled_new(vat *v, bool rejected, struct encoder *value);
void promise_put_resolution(vat *v, vref_t vref, bool rejected, const struct encoder *e);	/* all slots exported before */
void promise_must_fit(vat *v, bool *rejectedp, struct encoder *e);
void promise_free(vat *v, vat_ref *p);
void promise_discard(vat *v, vat_ref *p);	/* its memory only: the vat is over */

/* wait.c */
vat_ref *promise_of(vat *v, vat_ref *r);		/* an object where a promise may stand: a promise fulfilled with it */
void promise_subscribe(vat *v, vat_ref *p);
void promise_run_turns(vat *v);
void promises_close(vat *v);
void promise_write_waiting(vat *v, vat_ref *p);		/* its continuations' key, when dirty */
/*
 * c->fn runs in a turn when `p` (a promise, followed) settles either way; that counts as catching. The caller keeps
 * `c` until then, or until promise_unwait() was true: false, its turn is coming. It lives with the process.
 */
void promise_wait(vat *v, vat_ref *p, struct continuation *c);
bool promise_unwait(vat *v, vat_ref *p, struct continuation *c);
void waiting_load(vat *v, vat_ref *p);			/* what an earlier incarnation noted */
void waiting_fire(vat *v, vat_ref *p);			/* settled: all that wait get a turn */
void waiting_move(vat *v, vat_ref *p, vat_ref *to);	/* forwarded */
void waiting_free(vat *v, vat_ref *p);
void waiting_discard(vat_ref *p);

/* send.c */
vat_ref *promise_rejected_new(vat *v, const char *name, const char *message);

vat_ref *send_vcall(vat *v, vat_ref *target, const char *method, const char *signature, va_list *ap);

/* stream.c */
void streams_start(vat *v);				/* its kinds */

/* combine.c */
void combinations_close(vat *v);

/* settled.c */
struct vat_value settled_view(const struct settled *s);
struct settled *settled_new(vat *v, const struct vat_value *value);	/* holds what it names */
void settled_free(vat *v, struct settled *s);		/* NULL too */
void settled_give(vat *v, vat_ref *p, const struct vat_value *value);
void settled_free_circles(vat *v);
void settled_name_again(vat *v, vat_ref *p);
void settled_emit(vat *v);				/* end of crank: what was named again is resolved */

/* kinds.c */
void kinds_start(vat *v);
void kind_builtin(vat *v, const vat_kind *kind, const struct kind_hooks *hooks);
const struct kind_row *kind_row_of(vat *v, vref_t vref);	/* of a durable or virtual object; NULL: unknown */
const vat_kind *kind_of(vat *v, const vat_ref *r);	/* of a local object, loaded or not; NULL: unknown */
const char *kind_interface(vat *v, const vat_ref *r);	/* "Purse", or with a facet "Purse deposit"; NULL: unknown */
vref_t kind_new_vref(vat *v, const vat_kind *kind);	/* VREF_NONE: it has no state table */
unsigned kind_n_facets(const vat_kind *kind);
static inline bool kind_is_durable(const vat_kind *k) { return k->state && !k->is_virtual; }

/* object.c */
struct object *object_of(vat *v, vat_ref *ref);		/* loads; NULL: not a local object, or its kind is gone */
struct object *object_new(vat *v, const vat_kind *kind, vat_ref *ref);
struct object *object_from_self(vat *v, void *self, const char *where);
const vat_method *object_method(const struct object *o, const char *name, bool continuation);
const vat_method *object_method_as(const struct object *o, const vat_ref *face, const char *name);
void object_touch(vat *v, struct object *o);
/* A method ran: what it put into fields and cannot be saved fails it. `since`: v->touch_serial when it began. */
void objects_admit(vat *v, uint64_t since);
void objects_save(vat *v);				/* end of crank */
void object_delete(vat *v, vat_ref *ref);		/* with its state in the store */
void object_unload(vat *v, struct object *o);
void object_fini(vat *v, struct object *o);
void object_discard(struct object *o);			/* its memory only: the vat is over */

/* state.c */
void state_begin(vat *v, struct object *o);		/* touched first in this crank */
void state_admit(vat *v, struct object *o);
void state_save(vat *v, struct object *o);
bool state_load(vat *v, struct object *o);		/* false: the store has no such object */
void state_let_go(vat *v, struct object *o, bool deleted);
void state_discard(struct object *o);			/* its memory only */
void state_delete(vat *v, vat_ref *ref);		/* the row, and what it held; loaded or not */

/* store.c */
/*
 * "count.o-5". What is about a virtual object stands under the number of the incarnation, "life.2.count.o+v1.5":
 * the next one deletes all that begins with "life.2." without looking into it.
 */
const char *store_key(vat *v, const char *table, vref_t ref);
const char *store_life_key(vat *v, const char *table, vref_t ref);	/* in any case under the incarnation */
bool store_get(vat *v, const char *key, char **textp, size_t *lenp);	/* arena, NUL-terminated */
void store_set(vat *v, const char *key, const char *text, size_t len);
void store_delete(vat *v, const char *key);
const char *store_next(vat *v, const char *after);	/* the least key greater than `after`; arena; NULL: none */
bool store_next_at(vat *v, char key[WIRE_MAX_KEY + 1]);	/* the same in place; false: none, the key is as it was */
/* A value with references, as text: the body, and a line with the references when there are any. */
bool store_get_value(vat *v, const char *key, struct vat_value *valuep);
void store_put_value(vat *v, const char *key, const struct encoder *e);
/* Only the references of one; its text is not looked at, and does not stay in memory. False: there is no value. */
bool store_get_slots(vat *v, const char *key, struct vat_value *valuep);
/*
 * The encoder's slots may all stand in the store, in what survives a restart (`lasting`) or in what does not; else
 * fails the method. `what` begins the sentence.
 */
bool store_admits(vat *v, struct encoder *e, bool lasting, const char *what);
void store_check_size(struct encoder *e);		/* too large for the store: a problem */
/*
 * Every reference in a value in the store is counted: `change` 1 when the value is written, -1 when it goes.
 * Values under store_key() of a virtual object are passing, others lasting.
 */
void store_count(vat *v, vat_ref *r, int change);			/* by a lasting value */
void store_count_passing(vat *v, vat_ref *r, int change);
bool store_names(vat *v, vat_ref *r);					/* any value does */
void store_write_dirty(vat *v);
void store_mark_dirty(vat *v, vat_ref *r);
void store_trim(vat *v);				/* end of crank: the cache of baggage is bounded */
void store_close(vat *v);

/*
 * Named by the store: find or make; borrowed for the crank. Not for the weak keys of a collection: an import is taken
 * for one that is still held in our clist. NULL: an object that dies with its incarnation, and is none of this one.
 */
vat_ref *store_ref(vat *v, vref_t vref);

/* keys.c */
struct key {					/* a vatstore key that ends in a collection's key */
	size_t len;				/* more than WIRE_MAX_KEY: too long, and `data` is not complete */
	bool nameless;				/* it has a reference without vref: no such key is in the store */
	char problem[200];
	char data[WIRE_MAX_KEY + 1];		/* text, NUL-terminated */
};
void key_begin(struct key *k, const char *prefix);
/* Append the encoding of a value. False: it is no key, or too long; k->problem is the sentence. */
bool key_encode(vat *v, struct key *k, const struct vat_value *value);
/* The value that has this encoding, as key_encode() writes it; false: none. The encoder is complete then. */
bool key_decode(vat *v, const char *data, size_t len, struct encoder *e);
vref_t key_ref(const char *data, size_t len);	/* of a key that is a reference; VREF_NONE: it is something else */

/* collection.c */
void collections_start(vat *v);			/* the kinds, and who recognises weak keys */

/* signature.c */
struct encoder *encoder_begin(vat *v);			/* nested; end in reverse order */
void encoder_end(vat *v, struct encoder *e);
void encoder_reset(vat *v, struct encoder *e);
void encoders_close(vat *v);
void encode_args(vat *v, struct encoder *e, const char *signature, va_list *ap);	/* comma-separated values */
void encode_one(vat *v, struct encoder *e, const char *signature, va_list *ap);		/* exactly one value */
void encode_string(struct encoder *e, const char *s, size_t len);
/* `n` members in any order; two of one name are a problem. */
void encode_members(vat *v, struct encoder *e, const char *const *names, vat_value *const *values, size_t n);
void encode_ref(vat *v, struct encoder *e, vat_ref *r);
void encode_value(vat *v, struct encoder *e, const vat_value *value);
void encode_error(struct encoder *e, const char *name, const char *message);
void encoder_finish(vat *v, struct encoder *e);		/* slot numbers in order of appearance */
vat_ref *encoder_single_ref(const struct encoder *e);	/* the value is exactly one reference */
struct vat_value encoder_view(const struct encoder *e);	/* until the encoder ends */
const char *encoder_words(vat *v, const struct encoder *e);	/* as value_words() */
/* Read by signature; with ap NULL only checks. True: fits. Else `problem` (200 bytes) says which and why. */
bool decode_args(vat *v, const struct vat_value *args, bool single, const char *signature, va_list *ap, char problem[200]);
/* What is wrong with a signature of a table (`single`: of one value), as a sentence in the arena; NULL: nothing. */
const char *signature_problem(vat *v, const char *signature, bool single);

/* value.c */
vat_value *encoder_keep(vat *v, struct encoder *e);	/* a copy in the arena; NULL: it has a problem, the method failed */
vat_ref *value_ref(const struct vat_value *value);	/* NULL: not a reference */
bool value_malformed_ref(const struct vat_value *string);	/* written as one, and its number names no slot */
char *value_string(vat *v, const struct vat_value *value, size_t *lenp);	/* decoded, unescaped; NULL: not a string */
char *value_symbol(vat *v, const struct vat_value *value, size_t *lenp);	/* its name; NULL: not a symbol */
/* Digits as smallcaps has them: "-12", "+0"; with `sign` also a plus. NULL: not a bigint. */
const char *value_bigint(vat *v, const struct vat_value *value, bool plus);
bool value_error(vat *v, const struct vat_value *value, const char **namep, const char **messagep);
const char *value_words(vat *v, const struct vat_value *value);	/* a reason, for people: "Error: it is late"; arena */
const char *value_describe(vat *v, const struct vat_value *value);		/* "string \"x\"" */
struct vat_value value_sub(const struct vat_value *value, const char *at);

#endif
