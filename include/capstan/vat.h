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
 *	z	null and u undefined take no C value
 *	[…]	an array of exactly these		{a:i,b:s}	a record; reading ignores other members
 *	?	before one: reading leaves the variable alone if it is missing or undefined
 *
 * Everything borrowed (references, values, strings that were read) lasts until the crank ends. A reference
 * kept in C memory longer must be held with vat_hold(); fields of a state table are held by the library.
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

enum vat_field_type { VAT_FIELD_I64 = 1, VAT_FIELD_F64, VAT_FIELD_BOOL, VAT_FIELD_STR, VAT_FIELD_REF };
typedef struct { const char *name; enum vat_field_type type; size_t offset; } vat_field;

/*
 * A kind of object. `size` bytes of C memory belong to each, zeroed at first. With a state table the
 * objects are durable: the named fields are saved at the end of each crank that changed them, an object
 * keeps its identity over restarts, and their continuations survive (vat_when). Fields that are not in the
 * table read 0 after a restart, and whenever the object was put away between cranks to save memory (not the
 * root, nor an object held with vat_hold(), nor one in a saved field of another that is in memory). A promise
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
	vat_fn *init;				/* a new object, arguments by vat_read(); the root: each start, with parameters */
	vat_fn *fini;				/* an object's C memory goes: release what is held */
} vat_kind;

#define VAT_METHODS(...)	.methods = (const vat_method[]){ __VA_ARGS__, { NULL, NULL, NULL, NULL } }
#define VAT_CONTINUATIONS(...)	.continuations = (const vat_method[]){ __VA_ARGS__, { NULL, NULL, NULL, NULL } }
#define VAT_STATE(...)		.state = (const vat_field[]){ __VA_ARGS__, { NULL, 0, 0 } }
#define VAT_DURABLE		.state = (const vat_field[]){ { NULL, 0, 0 } }	/* durable, with nothing to save */
#define VAT_INIT(fn_)		.init = fn_
#define VAT_FINI(fn_)		.fini = fn_

#define VAT_FIELD(kind_, field_, ctype_, type_) \
	{ #field_, type_ + 0 * sizeof((ctype_ *)0 == &((kind_ *)0)->field_), offsetof(kind_, field_) }
#define VAT_I64(kind_, field_)	VAT_FIELD(kind_, field_, int64_t, VAT_FIELD_I64)
#define VAT_F64(kind_, field_)	VAT_FIELD(kind_, field_, double, VAT_FIELD_F64)
#define VAT_BOOL(kind_, field_)	VAT_FIELD(kind_, field_, bool, VAT_FIELD_BOOL)
#define VAT_STR(kind_, field_)	VAT_FIELD(kind_, field_, char *, VAT_FIELD_STR)		/* set with vat_set_string() */
#define VAT_REF(kind_, field_)	VAT_FIELD(kind_, field_, vat_ref *, VAT_FIELD_REF)	/* plainly assigned */

/*
 * Defines the function `name_`, with `v` and `self`. 0: done (no vat_return(): undefined); vat_fail():
 * rejected.
 */
#define VAT_METHOD(kind_, name_)							\
	static int name_##_method(vat *v, kind_ *self);					\
	static int name_(vat *v, void *self) { return name_##_method(v, self); }	\
	static int name_##_method(__attribute__((unused)) vat *v, __attribute__((unused)) kind_ *self)

/* The program: the root's kind first, then every other kind with a state table (others need not be named). */
typedef struct { const vat_kind *const *kinds; } vat_program;
extern const vat_program vat_main_program;
#define VAT_PROGRAM(...) \
	const vat_program vat_main_program = { (const vat_kind *const[]){ __VA_ARGS__, NULL } }

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

/* --- objects -------------------------------------------------------------------------------------- */

/*
 * A new object; its init reads the arguments. If init fails, the running method fails likewise and NULL
 * returns.
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

vat_ref *vat_hold(vat *v, vat_ref *ref);	/* keep past the crank; nests; returns ref */
void vat_release(vat *v, vat_ref *ref);
bool vat_is_promise(const vat_ref *ref);

/* --- messages and promises ------------------------------------------------------------------------ */

/* Send; the answer is a promise, which can be sent to at once. */
vat_ref *vat_call(vat *v, vat_ref *target, const char *method, const char *signature, ...);
/* Send without asking for an answer. */
void vat_tell(vat *v, vat_ref *target, const char *method, const char *signature, ...);
#ifndef VAT_NO_E
#define E vat_call
#endif

/*
 * When the promise is fulfilled (vat_when) or rejected (vat_catch), run that method of the object `self`,
 * with the value as its one argument, in a later turn. On a durable object it survives restarts of the vat;
 * on another it keeps the object alive until then. A rejection that nothing catches is logged.
 */
void vat_when(vat *v, vat_ref *promise, void *self, const char *method);
void vat_catch(vat *v, vat_ref *promise, void *self, const char *method);

/*
 * A promise of one's own, settled once. -1: it is not one's own or is settled already; then the method
 * fails.
 */
vat_ref *vat_promise_new(vat *v);
int vat_resolve(vat *v, vat_ref *promise, const char *signature, ...);
int vat_reject(vat *v, vat_ref *promise, const char *name, const char *fmt, ...) __attribute__((format(printf, 4, 5)));

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
size_t vat_length(const vat_value *value);					/* members of an array or record */
vat_value *vat_at(vat *v, const vat_value *value, size_t i);			/* NULL: none */
vat_value *vat_get(vat *v, const vat_value *record, const char *name);		/* NULL: none */
const char *vat_name_at(vat *v, const vat_value *record, size_t i);		/* NULL: none */

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

/* --- the vat itself ------------------------------------------------------------------------------- */

void vat_log(vat *v, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void vat_warn(vat *v, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The vat ends with this crank: with a value, its effects applied; or with an error, its effects undone. */
void vat_exit(vat *v, const char *signature, ...);
void vat_exit_failure(vat *v, const char *name, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
uint64_t vat_id(vat *v);
uint64_t vat_incarnation(vat *v);	/* 1: the first start; more: restarted, and the baggage is as it was left */

#endif
