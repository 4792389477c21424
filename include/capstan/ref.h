/* SPDX-License-Identifier: Apache-2.0 */
/*
 * References: the names by which the kernel and its endpoints speak of objects and promises.
 *
 * A reference is one 64-bit integer, the same in memory, on the wire and (big-endian) in store keys:
 *
 *	bit  63     promise
 *	bit  62     sign: 0 is "+" (allocated by the vat), 1 is "-" (allocated by the kernel)
 *	bits 61-60  form: 0 plain, 1 virtual, 2 durable (3 is illegal)
 *	bits 59-0   plain: a number; virtual and durable: kind (16), instance (36), facet + 1 (8; 0 = no facet)
 *
 * A kref (the kernel's own name, scoped to one kernel) uses only the promise bit and the number; a vref
 * is scoped to one vat. They are distinct struct types, so that a swapped argument does not compile.
 * Text exists at the edges only, one spelling each: ko12 kp7, o+0 o-3 o+v2.5 o+d2.5:1 p+4 p-4.
 */
#ifndef CAPSTAN_REF_H
#define CAPSTAN_REF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define REF_PROMISE	(UINT64_C(1) << 63)
#define REF_MINUS	(UINT64_C(1) << 62)
#define REF_FORM_SHIFT	60
#define REF_FORM_MASK	(UINT64_C(3) << REF_FORM_SHIFT)
#define REF_VIRTUAL	(UINT64_C(1) << REF_FORM_SHIFT)
#define REF_DURABLE	(UINT64_C(2) << REF_FORM_SHIFT)
#define REF_NUMBER_MASK	((UINT64_C(1) << 60) - 1)
#define REF_TEXT_MAX	40	/* bytes that hold any reference or endpoint as text, NUL included */

typedef struct { uint64_t bits; } kref_t;	/* bits 0: no reference */
typedef struct { uint64_t bits; } vref_t;	/* VREF_NONE: no reference (o+0 is bits 0) */

#define KREF_NONE	((kref_t){ 0 })
#define VREF_NONE	((vref_t){ UINT64_MAX })
#define VREF_ROOT	((vref_t){ 0 })		/* o+0, the root object of every vat */

static inline kref_t ko(uint64_t n) { return (kref_t){ n }; }
static inline kref_t kp(uint64_t n) { return (kref_t){ REF_PROMISE | n }; }
static inline bool kref_is_none(kref_t k) { return k.bits == 0; }
static inline bool kref_is_promise(kref_t k) { return k.bits & REF_PROMISE; }
static inline uint64_t kref_number(kref_t k) { return k.bits & REF_NUMBER_MASK; }
static inline bool kref_equal(kref_t a, kref_t b) { return a.bits == b.bits; }

static inline bool vref_is_none(vref_t v) { return v.bits == UINT64_MAX; }
static inline bool vref_is_promise(vref_t v) { return v.bits & REF_PROMISE; }
static inline bool vref_is_import(vref_t v) { return v.bits & REF_MINUS; }	/* "-": the kernel's number */
static inline bool vref_is_durable(vref_t v) { return (v.bits & REF_FORM_MASK) == REF_DURABLE; }
static inline bool vref_is_virtual(vref_t v) { return (v.bits & REF_FORM_MASK) == REF_VIRTUAL; }
static inline uint64_t vref_number(vref_t v) { return v.bits & REF_NUMBER_MASK; }
static inline bool vref_equal(vref_t a, vref_t b) { return a.bits == b.bits; }
static inline vref_t vref_make(bool promise, bool minus, uint64_t n)
{
	return (vref_t){ (promise ? REF_PROMISE : 0) | (minus ? REF_MINUS : 0) | n };
}
/* An export that outlives its incarnation: the root, and durable objects (semantics V5). */
static inline bool vref_survives(vref_t v) { return v.bits == 0 || (vref_is_durable(v) && !vref_is_promise(v)); }

/*
 * Legal as a vref on the wire: form 3 never; promises and imports are plain; p±0 and o-0 do not exist;
 * the instance of a virtual or durable reference is at least 1.
 */
bool vref_is_legal(vref_t v);

/* Endpoints: who holds a clist. 0 is none. */
typedef struct { uint64_t bits; } endpoint_t;

#define ENDPOINT_SHIFT	60
enum endpoint_kind { ENDPOINT_NONE = 0, ENDPOINT_VAT = 1, ENDPOINT_REMOTE = 2, ENDPOINT_KERNEL = 3 };

#define ENDPOINT_K	((endpoint_t){ (uint64_t)ENDPOINT_KERNEL << ENDPOINT_SHIFT })
static inline endpoint_t endpoint_vat(uint64_t n) { return (endpoint_t){ (uint64_t)ENDPOINT_VAT << ENDPOINT_SHIFT | n }; }
static inline enum endpoint_kind endpoint_kind(endpoint_t e) { return (enum endpoint_kind)(e.bits >> ENDPOINT_SHIFT); }
static inline uint64_t endpoint_number(endpoint_t e) { return e.bits & REF_NUMBER_MASK; }
static inline bool endpoint_is_vat(endpoint_t e) { return endpoint_kind(e) == ENDPOINT_VAT; }
static inline bool endpoint_is_none(endpoint_t e) { return e.bits == 0; }
static inline bool endpoint_equal(endpoint_t a, endpoint_t b) { return a.bits == b.bits; }

/* Text. `buf` holds REF_TEXT_MAX bytes; each returns `buf`. */
char *kref_format(kref_t k, char buf[REF_TEXT_MAX]);
char *vref_format(vref_t v, char buf[REF_TEXT_MAX]);
char *endpoint_format(endpoint_t e, char buf[REF_TEXT_MAX]);	/* v1, r1, k */

/*
 * Parse exactly one spelling ("ko07", "ko+7", trailing bytes, out of range: false); *outp is written only
 * on success. `len` bytes, no NUL needed.
 */
bool kref_parse(const char *text, size_t len, kref_t *outp);
bool vref_parse(const char *text, size_t len, vref_t *outp);
bool endpoint_parse(const char *text, size_t len, endpoint_t *outp);
/* One letter and a number from 1: 's' for subclusters, 'v' for vats. */
bool id_parse(char letter, const char *text, size_t len, uint64_t *outp);

#endif
