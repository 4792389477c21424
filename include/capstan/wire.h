/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The wire protocol between the kernel and a vat, version 1: frames in packets of a SOCK_SEQPACKET socket,
 * fd 3 in the vat. docs/PROTOCOL.md is the text of it; this is the same for C.
 *
 * A packet holds one or more whole frames, at most WIRE_MAX_PACKET bytes. A frame is a 16-byte header and a
 * body; its size is a multiple of 8, padding is zero. All integers are little-endian.
 *
 *	offset 0  u32 size	whole frame, header included
 *	       4  u16 type	enum wire_type
 *	       6  u16 flags	WIRE_F_*; a flag that the type does not know is malformed
 *	       8  u64 delivery	the delivery this belongs to; 0 for frames outside a crank
 *
 * A frame larger than a packet travels as consecutive WIRE_PART frames, one to a packet and nothing between:
 * body u32 total (size of the whole frame), u32 offset, then bytes; every part but the last fills its packet.
 *
 * capdata:	u32 body length, u32 slot count, u64 slot[], body bytes, zero padding to 8
 * bytes:	u32 length, u32 zero, bytes, zero padding to 8
 * resolution:	u64 promise, u32 flags (WIRE_R_*), u32 zero, capdata
 */
#ifndef CAPSTAN_WIRE_H
#define CAPSTAN_WIRE_H

#include <stddef.h>
#include <stdint.h>

#include <capstan/ref.h>

#define WIRE_VERSION		1
#define WIRE_HEADER		16u
#define WIRE_MAX_PACKET		65536u		/* bytes; well under the socket's default send buffer */
#define WIRE_MAX_BODY		(16u << 20)	/* bytes of one capdata body, vatstore value or log line's frame */
#define WIRE_MAX_SLOTS		10000u		/* slots of one capdata, refs of one list, resolutions of one batch */
#define WIRE_MAX_CRANK_SLOTS	50000u		/* slots in all syscalls of one crank */
#define WIRE_MAX_CRANK_BYTES	(64u << 20)	/* bytes of all syscalls of one crank */
#define WIRE_MAX_FRAME		(34u << 20)	/* bytes; half of it holds any single capdata */
#define WIRE_MAX_KEY		4096u		/* bytes of a vatstore key; at least 1 */
#define WIRE_MAX_LOG		8192u		/* bytes of one log line */
#define WIRE_MAX_NOTIFY		1000u		/* promises of one notify */

enum wire_type {
	/* kernel to vat */
	WIRE_INIT = 0x01,		/* u64 vat, incarnation, next export, next promise; u32 version, window */
	WIRE_START_VAT = 0x10,		/* capdata parameters */
	WIRE_MESSAGE = 0x11,		/* u64 target, u64 result (0: none), capdata methargs */
	WIRE_NOTIFY = 0x12,		/* u32 count, u32 zero, resolution[] */
	WIRE_DROP_EXPORTS = 0x13,	/* u32 count, u32 zero, u64 vref[] */
	WIRE_RETIRE_EXPORTS = 0x14,
	WIRE_RETIRE_IMPORTS = 0x15,
	WIRE_BRING_OUT_YOUR_DEAD = 0x16,
	WIRE_WAKE = 0x17,
	WIRE_STORE_VALUE = 0x20,	/* u64 ref (clistGetNext), bytes key (GetNextKey), bytes value; FOUND, REACHABLE */
	WIRE_PING = 0x21,		/* u64 token */
	WIRE_SHUTDOWN = 0x22,
	/* both ways */
	WIRE_PART = 0x3f,		/* u32 total, u32 offset, raw bytes (not padded apart) */
	/* vat to kernel: syscalls */
	WIRE_SEND = 0x41,		/* u64 target, u64 result (0: none), capdata methargs */
	WIRE_SUBSCRIBE = 0x42,		/* u64 promise */
	WIRE_RESOLVE = 0x43,		/* as NOTIFY */
	WIRE_EXIT = 0x44,		/* capdata info; FAILURE */
	WIRE_DROP_IMPORTS = 0x45,	/* as DROP_EXPORTS */
	WIRE_RETIRE_IMPORTS_SYS = 0x46,
	WIRE_RETIRE_EXPORTS_SYS = 0x47,
	WIRE_ABANDON_EXPORTS = 0x48,
	WIRE_VATSTORE_SET = 0x49,	/* bytes key, bytes value */
	WIRE_VATSTORE_DELETE = 0x4a,	/* bytes key */
	WIRE_VATSTORE_GET = 0x4b,	/* bytes key; answered by STORE_VALUE */
	WIRE_VATSTORE_GET_NEXT_KEY = 0x4c, /* bytes key (may be empty); answered by STORE_VALUE */
	WIRE_CLIST_GET_NEXT = 0x4d,	/* u64 vref, or all ones to start; answered by STORE_VALUE */
	WIRE_DONE = 0x4e,		/* bytes error text (UTF-8); ERROR: the delivery failed */
	/* vat to kernel: outside a crank, delivery 0 */
	WIRE_HELLO = 0x50,		/* u32 version, u32 window */
	WIRE_LOG = 0x51,		/* u32 level (0 debug .. 3 error), u32 zero, bytes text */
	WIRE_PONG = 0x52,		/* u64 token */
	WIRE_WAKE_ME = 0x53,
};

/* Frame flags; which type takes which is above and in the table in wire.c. */
#define WIRE_F_FAILURE		0x0001u	/* EXIT */
#define WIRE_F_ERROR		0x0002u	/* DONE */
#define WIRE_F_FOUND		0x0004u	/* STORE_VALUE */
#define WIRE_F_REACHABLE	0x0008u	/* STORE_VALUE for clistGetNext: the import's reachable flag */

/* Resolution flags. */
#define WIRE_R_REJECTED		0x0001u
#define WIRE_R_REF		0x0002u	/* fulfilled with exactly one reference, slot 0 */
#define WIRE_R_KERNEL		0x0004u	/* rejected by the kernel itself; illegal from a vat */

/* Borrowed bytes and capdata: pointers into the packet (or into whatever the encoder was given). */
struct wire_bytes { const uint8_t *data; uint32_t len; };
struct wire_capdata {
	struct wire_bytes body;
	const uint8_t *slots;		/* n_slots little-endian u64, 8-aligned only if the packet is */
	uint32_t n_slots;
};
static inline vref_t wire_slot(const struct wire_capdata *c, uint32_t i)
{
	uint64_t v;
	__builtin_memcpy(&v, c->slots + (size_t)i * 8, 8);
	return (vref_t){ v };
}

struct wire_resolution { vref_t promise; uint32_t flags; struct wire_capdata value; };

/*
 * One decoded frame. Lists (resolutions, refs) are not copied: walk them with wire_next_resolution() and
 * wire_ref(); wire_decode() has already checked every one of them, so the walk cannot fail.
 */
struct wire_frame {
	enum wire_type type;
	uint16_t flags;
	uint64_t delivery;
	union {
		struct { uint64_t vat, incarnation, next_export, next_promise; uint32_t version, window; } init;
		struct { vref_t target, result; struct wire_capdata methargs; } message; /* result VREF_NONE: none; also SEND */
		struct wire_capdata capdata;		/* START_VAT, EXIT */
		vref_t ref;				/* SUBSCRIBE, CLIST_GET_NEXT (VREF_NONE: start) */
		struct { uint32_t count; const uint8_t *first; } list; /* resolutions or vrefs */
		struct { vref_t ref; struct wire_bytes key, value; } store; /* STORE_VALUE, VATSTORE_* */
		struct wire_bytes text;			/* DONE */
		struct { uint32_t level; struct wire_bytes text; } log;
		struct { uint32_t version, window; } hello;
		struct { uint32_t total, offset; struct wire_bytes bytes; } part;
		uint64_t token;				/* PING, PONG */
	};
};

static inline vref_t wire_ref(const struct wire_frame *f, uint32_t i)
{
	uint64_t v;
	__builtin_memcpy(&v, f->list.first + (size_t)i * 8, 8);
	return (vref_t){ v };
}

/* Outcomes of decoding, all the sender's fault. wire_error_text() names each. */
enum wire_error {
	WIRE_OK = 0,
	WIRE_E_SHORT,		/* frame or field runs past the end */
	WIRE_E_SIZE,		/* size not a multiple of 8, below the header or over the limit */
	WIRE_E_TYPE,		/* unknown type, or one that does not travel in this direction */
	WIRE_E_FLAGS,		/* unknown flag, or flags that contradict each other */
	WIRE_E_PADDING,		/* padding or reserved field not zero */
	WIRE_E_TRAILING,	/* bytes after the last field */
	WIRE_E_LIMIT,		/* a count or length over its maximum */
	WIRE_E_REF,		/* a reference that cannot exist, or of the wrong kind in that place */
	WIRE_E_REF_SLOTS,	/* REF with other than one slot, or together with REJECTED */
	WIRE_E_DELIVERY,	/* delivery number missing, or present where there is none */
	WIRE_E_EMPTY,		/* an empty list or packet */
	WIRE_E_PART,		/* parts out of order, overlapping, or interrupted */
	WIRE_E_KEY,		/* empty or over-long vatstore key */
	WIRE_E_MEMORY,		/* wire_join() only, and ours: no memory for the parts */
};
const char *wire_error_text(enum wire_error e);
const char *wire_type_name(enum wire_type t);	/* "send", "startVat", …; "unknown" */

enum wire_direction { WIRE_TO_VAT, WIRE_TO_KERNEL };

/*
 * Decode the frame at the start of `data`. Total: any bytes give WIRE_OK or an error, and nothing is read past
 * `len`. On success *sizep is the frame's size. Everything is checked that needs no tables: form, limits,
 * that every reference is a legal one and of the right class for its place (result and resolved promises
 * are promises, GC lists hold objects of the right sign, slots are legal refs), flags per type and direction. Result
 * promise in either direction may be p+ or p-.
 */
enum wire_error wire_decode(const uint8_t *data, size_t len, enum wire_direction dir, struct wire_frame *fp, size_t *sizep);

/* Walk resolutions: start with pos = f->list.first; each call fills *rp and returns the next position. */
const uint8_t *wire_next_resolution(const uint8_t *pos, struct wire_resolution *rp);

/* A growable byte buffer that remembers its first failure (out of memory, a limit); then everything is a no-op. */
struct wire_buf { uint8_t *data; size_t len, size; int error; size_t frame; };
#define WIRE_BUF_INIT { 0 }
void wire_buf_deinit(struct wire_buf *b);
void wire_buf_reset(struct wire_buf *b);		/* keeps the memory */

/*
 * Encoding: wire_begin(), fields in order, wire_end(). wire_end() pads, writes the size and sets error ENOSPC
 * past WIRE_MAX_FRAME. Slots are given as host integers.
 */
void wire_begin(struct wire_buf *b, enum wire_type t, uint16_t flags, uint64_t delivery);
void wire_u32(struct wire_buf *b, uint32_t v);
void wire_u64(struct wire_buf *b, uint64_t v);
void wire_put_bytes(struct wire_buf *b, const void *data, size_t len);
void wire_put_capdata(struct wire_buf *b, const void *body, size_t len, const uint64_t *slots, size_t n_slots);
void wire_put_resolution(struct wire_buf *b, vref_t promise, uint32_t flags, const void *body, size_t len,
			 const uint64_t *slots, size_t n_slots);
void wire_end(struct wire_buf *b);

/* Re-encode a decoded frame (tests, fuzzers: the bytes must be the same). */
void wire_encode_frame(struct wire_buf *b, const struct wire_frame *f);

/*
 * Cut one large frame (`data`, `len` > WIRE_MAX_PACKET) into packets: packet i of the result starts at *offsetp
 * bytes of the frame; writes at most WIRE_MAX_PACKET bytes to `packet`, advances *offsetp, returns the packet's
 * length; 0 when done.
 */
size_t wire_cut_part(const uint8_t *data, size_t len, size_t *offsetp, uint8_t packet[WIRE_MAX_PACKET]);

/*
 * Join parts. Feed every packet; when it holds ordinary frames, *framesp and *lenp are the packet itself; when it
 * completes a large frame, that frame (valid until the next call); while a frame is incomplete *lenp is 0.
 * Memory grows with bytes received, never from the announced total.
 */
struct wire_joiner { struct wire_buf buf; uint32_t total; };
#define WIRE_JOINER_INIT { WIRE_BUF_INIT, 0 }
void wire_joiner_deinit(struct wire_joiner *j);
enum wire_error wire_join(struct wire_joiner *j, const uint8_t *packet, size_t len, enum wire_direction dir,
			  const uint8_t **framesp, size_t *lenp);

#endif
