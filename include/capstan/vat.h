/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing a vat in C. A vat is an ordinary program: the library owns main(), speaks the wire protocol on fd
 * 3 and calls methods of the vat's objects. One delivery is one crank: what a method sends, settles and
 * stores takes effect together when it has returned, or not at all.
 *
 *	typedef struct { int64_t n; } counter;
 *
 *	VAT_METHOD(counter, increment)
 *	{
 *		int64_t by = 1;
 *		vat_read(v, "?i", &by);
 *		self->n += by;
 *		return vat_return(v, "i", self->n);
 *	}
 *	static const vat_kind Counter = { "Counter", sizeof(counter),
 *		VAT_STATE(VAT_I64(counter, n)),
 *		VAT_METHODS({ "increment", "?i", "i", increment }) };
 *	VAT_PROGRAM(&Counter);
 *
 * Signatures say what C values a call takes, in order:
 *
 *	i	int64_t, a JavaScript number without fraction, within ±2^53
 *	n	int64_t, a bigint (5n)			d	double
 *	b	bool (passed as int)			s	const char *, UTF-8
 *	r	vat_ref *, an object or a promise	v	vat_value *, any value
 *	e	const char *name, const char *message: an Error
 *	N	const char *, a bigint of any size as decimal digits ("-123")
 *	y	const char *, a symbol by name: "x" is Symbol.for("x"), "@@iterator" a well-known one, and a
 *		registered name that begins with @@ has two more before it
 *	z	null and u undefined take no C value
 *	[…]	an array of exactly these		{a:i,b:s}	a record; reading ignores other members
 *	?	before one: reading leaves the variable alone if it is missing or undefined
 *
 * Everything borrowed (references, values, strings that were read) lasts until the crank ends. A reference
 * kept in C memory longer must be held with vat_hold(); fields of a state table are held by the library.
 * Within that time two references to one object are the same pointer: `==` is identity. A promise is not the object
 * that it is fulfilled with.
 */
#ifndef CAPSTAN_VAT_H
#define CAPSTAN_VAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct vat vat;			/* this vat, in the crank that runs now */
typedef struct vat_ref vat_ref;		/* an object or a promise */
typedef struct vat_value vat_value;	/* any passable value, immutable */
typedef int vat_fn(vat *v, void *self);

/* --- kinds ---------------------------------------------------------------------------------------- */

/* A method; `args` guards it before it runs, `result` (NULL: anything) is what vat_return() must give. */
typedef struct { const char *name, *args, *result; vat_fn *fn; } vat_method;

enum vat_field_type { VAT_FIELD_I64 = 1, VAT_FIELD_F64, VAT_FIELD_BOOL, VAT_FIELD_STR, VAT_FIELD_REF, VAT_FIELD_VALUE };
typedef struct { const char *name; enum vat_field_type type; size_t offset; } vat_field;

/* One face of an object: the same state, other methods. Who holds one facet cannot get at another. */
typedef struct { const char *name; const vat_method *methods; } vat_facet;

/*
 * A kind of object. `size` bytes of C memory belong to each, zeroed at first. With a state table the
 * objects are durable: the named fields are saved at the end of each crank that changed them, an object
 * keeps its identity over restarts, and their continuations survive (vat_when). Fields that are not in the
 * table read 0 after a restart, and whenever the object was put away between cranks to save memory (not the
 * root, nor an object held with vat_hold()). A promise
 * or an object without a state table in a VAT_REF field fails the method. Without a table objects die with the
 * process. The root is there always; with a
 * state table its fields and continuations survive too.
 */
typedef struct vat_kind {
	const char *name;			/* others see "Alleged: NAME" */
	size_t size;
	const vat_field *state;			/* VAT_STATE */
	const vat_method *methods;		/* VAT_METHODS: what messages can call */
	const vat_method *continuations;	/* VAT_CONTINUATIONS: what only vat_when() and vat_catch() can call */
	const vat_facet *facets;		/* VAT_FACETS: instead of methods */
	bool is_virtual;			/* VAT_VIRTUAL: the state is stored, but dies with the process */
	vat_fn *any;				/* VAT_ANY: a message whose method the table does not name */
	vat_fn *init;				/* a new object, arguments by vat_read(); the root: each start, with parameters */
	vat_fn *fini;				/* an object's C memory goes: release what is held */
} vat_kind;

#define VAT_METHODS(...)	.methods = (const vat_method[]){ __VA_ARGS__, { NULL, NULL, NULL, NULL } }
#define VAT_CONTINUATIONS(...)	.continuations = (const vat_method[]){ __VA_ARGS__, { NULL, NULL, NULL, NULL } }
#define VAT_STATE(...)		.state = (const vat_field[]){ __VA_ARGS__, { NULL, 0, 0 } }
#define VAT_VIRTUAL(...)	.is_virtual = true, .state = (const vat_field[]){ __VA_ARGS__, { NULL, 0, 0 } }
#define VAT_FACETS(...)		.facets = (const vat_facet[]){ __VA_ARGS__, { NULL, NULL } }
#define VAT_FACET(name_, ...)	{ name_, (const vat_method[]){ __VA_ARGS__, { NULL, NULL, NULL, NULL } } }
#define VAT_DURABLE		.state = (const vat_field[]){ { NULL, 0, 0 } }	/* durable, with nothing to save */
#define VAT_ANY(fn_)		.any = fn_
#define VAT_INIT(fn_)		.init = fn_
#define VAT_FINI(fn_)		.fini = fn_

#define VAT_FIELD(kind_, field_, ctype_, type_) \
	{ #field_, type_ + 0 * sizeof(struct { _Static_assert(__builtin_types_compatible_p(__typeof__(((kind_ *)0)->field_), ctype_), \
	  #field_ ": its C type must be " #ctype_); int unused; }), offsetof(kind_, field_) }
#define VAT_I64(kind_, field_)	VAT_FIELD(kind_, field_, int64_t, VAT_FIELD_I64)
#define VAT_F64(kind_, field_)	VAT_FIELD(kind_, field_, double, VAT_FIELD_F64)
#define VAT_BOOL(kind_, field_)	VAT_FIELD(kind_, field_, bool, VAT_FIELD_BOOL)
#define VAT_STR(kind_, field_)	VAT_FIELD(kind_, field_, char *, VAT_FIELD_STR)		/* set with vat_set_string() */
#define VAT_REF(kind_, field_)	VAT_FIELD(kind_, field_, vat_ref *, VAT_FIELD_REF)	/* plainly assigned */
#define VAT_VALUE(kind_, field_) VAT_FIELD(kind_, field_, vat_value *, VAT_FIELD_VALUE)	/* plainly assigned; any passable value */

/*
 * Defines the function `name_`, with `v` and `self`. 0: done (no vat_return(): undefined); vat_fail():
 * rejected. It is a C function of that file: if two kinds in it have a method of one name, their functions need two
 * ({ "get", "", "i", purse_get }).
 */
#define VAT_METHOD(kind_, name_)							\
	static int name_##_method(vat *v, kind_ *self);					\
	static int name_(vat *v, void *self) { return name_##_method(v, self); }	\
	static int name_##_method(__attribute__((unused)) vat *v, __attribute__((unused)) kind_ *self)

/*
 * The program: the root's kind first, then every other kind with a state table (others need not be named). A
 * test that holds several vats gives each program a name of its own by defining VAT_PROGRAM_NAME before it
 * includes them (capstan/vat_test.h).
 */
typedef struct { const vat_kind *const *kinds; } vat_program;
extern const vat_program vat_main_program;
#ifndef VAT_PROGRAM_NAME
#define VAT_PROGRAM_NAME vat_main_program
#endif
#define VAT_PROGRAM(...) \
	const vat_program VAT_PROGRAM_NAME = { (const vat_kind *const[]){ __VA_ARGS__, NULL } }

/* --- inside a method ------------------------------------------------------------------------------ */

/*
 * Read the arguments. A method whose guard is the same signature cannot fail here; else the call is
 * rejected with a sentence that names method, argument and expectation, what could not be read is zero, and
 * -1 returns.
 */
int vat_read(vat *v, const char *signature, ...);
/* End the method with a value. Returning an unresolved promise ("r") makes the result follow it. */
int vat_return(vat *v, const char *signature, ...);
/*
 * End the method with a rejection: an Error of that name ("Error", "TypeError", …), or any value. Return
 * -1.
 */
int vat_fail(vat *v, const char *name, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
int vat_throw(vat *v, const char *signature, ...);
vat_ref *vat_self(vat *v);		/* the object whose method runs */
const char *vat_method_name(vat *v);	/* its name, as the message has it; in VAT_ANY: whatever the sender wrote */
vat_value *vat_args(vat *v);		/* all arguments, as an array */

/* --- objects -------------------------------------------------------------------------------------- */

/*
 * A new object; its init reads the arguments (without an init there may be none). If init fails, the running
 * method fails likewise and NULL returns.
 */
vat_ref *vat_new(vat *v, const vat_kind *kind, const char *signature, ...);
/*
 * The C memory of an own object of that kind, else NULL: it belongs to another kind or vat, or is a
 * promise.
 */
void *vat_state(vat *v, vat_ref *ref, const vat_kind *kind);
/*
 * Replace a string that belongs to an object (a VAT_STR field, or one that fini frees); NULL clears it. More
 * than 256 KiB or no UTF-8 fails the method and changes nothing.
 */
void vat_set_string(vat *v, char **field, const char *text);

/* Another facet of the same object, by name; of a facet, or of vat_self(). NULL: there is none (the method fails). */
vat_ref *vat_facet_of(vat *v, vat_ref *object, const char *facet);

vat_ref *vat_hold(vat *v, vat_ref *ref);	/* keep past the crank; nests; returns ref */
void vat_release(vat *v, vat_ref *ref);
bool vat_is_promise(const vat_ref *ref);

/* --- messages and promises ------------------------------------------------------------------------ */

/* Send; the answer is a promise, which can be sent to at once. */
vat_ref *vat_call(vat *v, vat_ref *target, const char *method, const char *signature, ...);
/* Send without asking for an answer. */
void vat_tell(vat *v, vat_ref *target, const char *method, const char *signature, ...);
/* vat_call() with the arguments as an array value, such as vat_args(): to hand a message on. */
vat_ref *vat_call_with(vat *v, vat_ref *target, const char *method, const vat_value *args);
#ifndef VAT_NO_E
#define E vat_call
#endif

/*
 * When the promise is fulfilled (vat_when) or rejected (vat_catch), run that method of the object `self`,
 * with the value as its one argument, in a later turn. On a durable object it survives restarts of the vat;
 * on another it keeps the object alive until then. A rejection that nothing catches is logged. For one promise 5,000
 * may wait (vat_then() counts twice): they run in one crank. One more fails the method.
 */
void vat_when(vat *v, vat_ref *promise, void *self, const char *method);
void vat_catch(vat *v, vat_ref *promise, void *self, const char *method);
/*
 * The same for both outcomes, and a promise for what the continuation returns (or for its failure): a method
 * that must wait ends with `return vat_return(v, "r", vat_then(v, promise, self, "got", NULL));`. NULL for one
 * outcome: the promise takes that one over. NULL returns: the method failed. On a durable object the
 * continuation survives a restart, the promise is rejected by it like every promise that the vat decided.
 */
vat_ref *vat_then(vat *v, vat_ref *promise, void *self, const char *fulfilled, const char *rejected);

/*
 * A promise of one's own, settled once. -1: it is not one's own or is settled already; then the method
 * fails.
 */
vat_ref *vat_promise_new(vat *v);
int vat_resolve(vat *v, vat_ref *promise, const char *signature, ...);
int vat_reject(vat *v, vat_ref *promise, const char *name, const char *fmt, ...) __attribute__((format(printf, 4, 5)));
int vat_reject_with(vat *v, vat_ref *promise, const char *signature, ...);	/* the reason is any one value */

/*
 * Promises out of several (objects among them count as fulfilled with themselves). They live in this process: after
 * a restart they are rejected like every promise that the vat decided. They take the rejections of their promises; theirs
 * is to be caught. Values that are too much for one message reject vat_all() and vat_all_settled().
 */
vat_ref *vat_all(vat *v, vat_ref *const *promises, size_t n);		/* the array of their values; or the first rejection */
vat_ref *vat_race(vat *v, vat_ref *const *promises, size_t n);		/* as the first that settles; n 0: never */
vat_ref *vat_any(vat *v, vat_ref *const *promises, size_t n);		/* the first value; or an AggregateError when all fail */
vat_ref *vat_all_settled(vat *v, vat_ref *const *promises, size_t n);	/* [{status:"fulfilled",value} or {status:"rejected",reason}…] */

/* --- streams -------------------------------------------------------------------------------------- */

/*
 * A stream is an object with the methods next(value), return(value) and throw(reason), each answering a record
 * {value, done}, as in Endo. What is written to a writer with next() comes out of its reader's next(); the
 * writer's answer comes when the reader has taken it (back-pressure). After return() or throw() on either end
 * both ends are done and answer {value: undefined, done: true}; throw()'s reason rejects the other end's next(). What
 * was written before the writer's end is read before it; a reader's end is at once, and calls that wait hear of it.
 * Of each end's calls of next() 1,000 may wait, with values of 32 MiB: one more is rejected. An end that nobody holds
 * any more ends the stream, a reader like return(), a writer that has not ended it like throw() with an Error.
 */
vat_ref *vat_pipe(vat *v, vat_ref **writerp);		/* a reader and its writer; ephemeral objects of this vat */
/* Write, end, fail; the promise is the writer's answer. Any writer, of this vat or another. */
vat_ref *vat_stream_write(vat *v, vat_ref *writer, const char *signature, ...);
vat_ref *vat_stream_end(vat *v, vat_ref *writer);
vat_ref *vat_stream_fail(vat *v, vat_ref *writer, const char *name, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/*
 * Read a stream to its end: the continuation `item` gets each value; the next is asked for when it has returned, or
 * when the promise that it returned is fulfilled. Then `end` gets the last value, or `failed` the reason; each of
 * these two may be NULL. A continuation that fails ends the stream with throw(), and `failed` gets its reason. On a
 * durable object the reading goes on after a restart; a reader that ended with the process is a failure then. The
 * reader may be a promise for one.
 */
void vat_stream_each(vat *v, vat_ref *reader, void *self, const char *item, const char *end, const char *failed);
/*
 * A reader whose values are made as they are asked for: each next() calls the continuation `produce`, which returns a
 * value, a promise for one, or vat_stream_done(). `stopped` (or NULL) runs once when the other side returns or throws.
 * A failure ends it. Of a durable object it is durable itself. NULL: the method failed.
 */
vat_ref *vat_producer(vat *v, void *self, const char *produce, const char *stopped);
int vat_stream_done(vat *v, const char *signature, ...);	/* instead of vat_return() in `produce`: the last value, "" none */

/* --- values --------------------------------------------------------------------------------------- */

enum vat_type {
	VAT_UNDEFINED, VAT_NULL, VAT_BOOLEAN, VAT_NUMBER, VAT_BIGINT, VAT_STRING, VAT_SYMBOL, VAT_REFERENCE, VAT_ERROR,
	VAT_TAGGED, VAT_ARRAY, VAT_RECORD,
	VAT_MALFORMED,			/* its bytes are not smallcaps */
};
enum vat_type vat_type(const vat_value *value);
int vat_value_read(vat *v, const vat_value *value, const char *signature, ...);	/* as vat_read, one value */
vat_value *vat_value_new(vat *v, const char *signature, ...);			/* one value; NULL: the method failed */
vat_value *vat_array(vat *v, vat_value *const *items, size_t n_items);
/* A record of members in any order; two of one name fail the method. */
vat_value *vat_record(vat *v, const char *const *names, vat_value *const *values, size_t n);
vat_value *vat_tagged(vat *v, const char *tag, const vat_value *payload);
const char *vat_tag(vat *v, const vat_value *tagged, vat_value **payloadp);	/* NULL: not tagged */
/* The same data and the same references, in records of any order; NaN equals itself, malformed smallcaps nothing. */
bool vat_value_equal(vat *v, const vat_value *a, const vat_value *b);
const char *vat_value_text(vat *v, const vat_value *value);			/* for people, one line, escaped; arena */
/* Members of an array or record; walks all of it, so take it once. vat_at() in a loop is linear. */
size_t vat_length(const vat_value *value);
vat_value *vat_at(vat *v, const vat_value *value, size_t i);			/* NULL: none */
vat_value *vat_get(vat *v, const vat_value *record, const char *name);		/* NULL: none */
const char *vat_name_at(vat *v, const vat_value *record, size_t i);		/* NULL: none */
/* The same value with each object and promise in it replaced by what `map` returns; NULL: the method failed. */
vat_value *vat_map_refs(vat *v, const vat_value *value, vat_ref *(*map)(vat *v, vat_ref *ref, void *arg), void *arg);

/* --- baggage: durable values by name -------------------------------------------------------------- */

/*
 * Data, and references that survive: imported ones, the root, durable objects. Putting in a promise or
 * another object fails the method, with a sentence. Cached: reading again costs no message.
 */
int vat_baggage_set(vat *v, const char *name, const char *signature, ...);
int vat_baggage_init(vat *v, const char *name, const char *signature, ...);	/* fails if the name is there */
bool vat_baggage_get(vat *v, const char *name, const char *signature, ...);	/* false: nothing there, nothing read */
bool vat_baggage_has(vat *v, const char *name);
bool vat_baggage_delete(vat *v, const char *name);				/* false: was not there */

/* --- collections: ordered maps and sets in the vatstore -------------------------------------------- */

/*
 * A collection is an object: it can stand in a VAT_REF field, in baggage, in another collection, and goes when nothing
 * holds it. Nobody outside can look into it. Keys are undefined, null, booleans, numbers, bigints, strings, symbols,
 * objects (no promises), and arrays of keys, nested at most 100 deep; values are any passable value without promises.
 * What is durable may only hold what survives a restart; what is not is gone after one. What does not fit fails the
 * method, with a sentence that names the collection by its label.
 *
 * Entries are rows of the vatstore: none is kept in memory, and there may be millions. A key takes as many bytes as its
 * text and a few (a number 17, an object 17, of a string some characters count twice); a row's name has room for about
 * 4,060. To read is to wait for the kernel (some 10 µs), to write is not; so each function says how often it reads. One
 * more comes when the collection, or an object in an entry, is first used after a start or after some time unused.
 *
 * Signatures: first the key's, then the value's, and the C values in that order:
 *
 *	vat_map_set(v, ages, "s", "i", "alice", INT64_C(42));
 *	vat_map_get(v, ages, "s", "i", "alice", &age);
 */
enum {
	VAT_DURABLE_COLLECTION = 1,
	/*
	 * An object as key (itself, not in an array) does not count as held, and when it is gone its entry goes. No
	 * iteration, no size. A value that leads back to its key keeps both for ever.
	 */
	VAT_WEAK_KEYS = 2,
};
/* The label is for sentences. NULL: the method failed. */
vat_ref *vat_map_new(vat *v, const char *label, unsigned flags);
vat_ref *vat_set_new(vat *v, const char *label, unsigned flags);
/* -1: the method failed, nothing changed. One read, and of the references in what is written or written over the counts. */
int vat_map_set(vat *v, vat_ref *map, const char *key, const char *value, ...);
int vat_map_init(vat *v, vat_ref *map, const char *key, const char *value, ...);	/* fails if the key is there */
int vat_set_add(vat *v, vat_ref *set, const char *key, ...);				/* one that is there: nothing */
/* One read. */
bool vat_map_get(vat *v, vat_ref *map, const char *key, const char *value, ...);	/* false: not there, nothing read */
bool vat_collection_has(vat *v, vat_ref *collection, const char *key, ...);
bool vat_collection_delete(vat *v, vat_ref *collection, const char *key, ...);		/* false: was not there */
uint64_t vat_collection_size(vat *v, vat_ref *collection);				/* no read, no walk */
/*
 * Empty at once and without reading. The old entries, like those of a collection that nothing holds any more, are
 * deleted a few hundred at a time in later cranks, for which the vat asks (wakeMe), also after restarts; what they hold
 * is let go then.
 */
void vat_collection_clear(vat *v, vat_ref *collection);
/*
 * Iterate over keys from <= key < to, in order (NULL: no bound): by kind of key as Endo's compareRank orders them
 * (arrays, booleans, numbers, bigints, objects, strings, null, symbols, undefined), numbers by value with NaN last,
 * strings by code point (Endo: by UTF-16 unit, unless told otherwise), objects by the age of their references. What is
 * added or deleted meanwhile is seen or not, and nothing breaks.
 *
 * A step reads once, twice with a value. Keys and values that were asked for are in memory until the crank ends; a NULL
 * for keyp or valuep saves that. A crank has 100,000 syscalls if not configured otherwise, reads included: longer walks
 * go on in another crank, from the last key.
 */
typedef struct vat_cursor vat_cursor;					/* for the crank */
vat_cursor *vat_range(vat *v, vat_ref *collection, const vat_value *from, const vat_value *to);	/* never NULL */
bool vat_next(vat *v, vat_cursor *cursor, vat_value **keyp, vat_value **valuep);	/* false: the end; of a set *valuep is NULL */

/* --- waiting for things outside ------------------------------------------------------------------- */

/*
 * A vat may wait for file descriptors and for time; then it is woken for a crank of its own, in which the method (a
 * continuation or method of `self`) runs. The object stays in memory while it waits. All this lives in the process and is
 * forgotten with it, so a root sets it up in its init, which runs at each start. A durable timer is the kernel's service
 * `timer`, called like any other object.
 *
 * vat_watch(): `events` as in poll(2); the method reads "i": what is ready (revents; POLLHUP and POLLERR unasked, POLLNVAL
 * when it was closed, which ends the watching). It runs again and again as long as something is ready: read what there is
 * (descriptors should not block), or vat_unwatch() before closing. Between two of its runs messages have their turn. A
 * descriptor is watched once; the vat's channel, one that is watched already or not open fail the method, as does an
 * object without such a method, and -1 returns.
 *
 * vat_after(): once, not before `ms` milliseconds of the monotonic clock; the method reads "i": the timer's number, which
 * was returned (never 0; 0: there is no such method, and the running one fails). Those due at once run in their order.
 */
int vat_watch(vat *v, int fd, short events, void *self, const char *method);
void vat_unwatch(vat *v, int fd);		/* one that is not watched: nothing */
uint64_t vat_after(vat *v, uint64_t ms, void *self, const char *method);
void vat_cancel(vat *v, uint64_t timer);	/* one that is not waiting any more: nothing */

/* --- the vat itself ------------------------------------------------------------------------------- */

/*
 * A vat has no files and no terminal: what printf() and the like write to stdout and stderr becomes lines of its log, as does the
 * text of an assert(). abort() ends the process; the crank did not happen, and is tried once more.
 */
void vat_log(vat *v, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void vat_warn(vat *v, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The vat ends with this crank: with a value, its effects applied; or with an error, its effects undone. */
void vat_exit(vat *v, const char *signature, ...);
void vat_exit_failure(vat *v, const char *name, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
uint64_t vat_id(vat *v);
uint64_t vat_incarnation(vat *v);	/* 1: the first start; more: restarted, and the baggage is as it was left */

#endif
