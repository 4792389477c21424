/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames, both ways. Each frame is described once: a row of the table says how it is called, where it travels and
 * which flags it knows, and one function walks its body. The same walk decodes and encodes: a codec either reads each
 * field from bytes, checking it, or writes it to a buffer.
 *
 * Decoding is total and allocates nothing. After the first error every further step of the walk is a no-op that
 * yields zeros. The walk borrows: what it gives points into the packet.
 */
#include <capstan/wire.h>

#include "util.h"

#define PART_HEADER	(WIRE_HEADER + 8)		/* frame header, total, offset */
#define PART_MAX	(WIRE_MAX_PACKET - PART_HEADER)	/* bytes that fit beside it */
#define JOINER_KEEPS	(256u << 10)			/* a joiner gives back larger buffers */

/* --- the growing buffer --- */

void wire_buf_deinit(struct wire_buf *b)
{
	free(b->data);
	*b = (struct wire_buf)WIRE_BUF_INIT;
}

void wire_buf_reset(struct wire_buf *b)
{
	b->len = b->frame = 0;
	b->error = 0;
}

/* Room for `n` more bytes, counted in; NULL once the buffer has an error. */
static uint8_t *buf_extend(struct wire_buf *b, size_t n)
{
	uint8_t *at;

	if (b->error)
		return NULL;
	if (n > b->size - b->len) {
		size_t size = b->size ? b->size : 1024;
		uint8_t *data;

		if (n > SIZE_MAX / 2 - b->len) {
			b->error = ENOSPC;
			return NULL;
		}
		while (size < b->len + n)
			size *= 2;
		data = realloc(b->data, size);
		if (!data) {
			b->error = ENOMEM;
			return NULL;
		}
		b->data = data;
		b->size = size;
	}
	at = b->data + b->len;
	b->len += n;
	return at;
}

static void buf_add(struct wire_buf *b, const void *data, size_t len)
{
	uint8_t *at = buf_extend(b, len);

	if (at && len > 0)
		memcpy(at, data, len);
}

static void buf_pad(struct wire_buf *b)
{
	static const uint8_t zeros[8];

	buf_add(b, zeros, -(b->len - b->frame) & 7);
}

/* --- encoding --- */

struct header { uint32_t size; uint16_t type; uint16_t flags; uint64_t delivery; };
_Static_assert(sizeof(struct header) == WIRE_HEADER, "the header is as on the wire");

void wire_begin(struct wire_buf *b, enum wire_type t, uint16_t flags, uint64_t delivery)
{
	struct header h = { 0, (uint16_t)t, flags, delivery };

	b->frame = b->len;
	buf_add(b, &h, sizeof(h));
}

void wire_u32(struct wire_buf *b, uint32_t v)
{
	buf_add(b, &v, sizeof(v));
}

void wire_u64(struct wire_buf *b, uint64_t v)
{
	buf_add(b, &v, sizeof(v));
}

/* A length that no frame can carry; refused before it is copied. */
static bool is_too_long(struct wire_buf *b, size_t len, size_t max)
{
	if (len > max && !b->error)
		b->error = ENOSPC;
	return b->error;
}

void wire_put_bytes(struct wire_buf *b, const void *data, size_t len)
{
	if (is_too_long(b, len, WIRE_MAX_BODY))
		return;
	wire_u32(b, (uint32_t)len);
	wire_u32(b, 0);
	buf_add(b, data, len);
	buf_pad(b);
}

void wire_put_capdata(struct wire_buf *b, const void *body, size_t len, const uint64_t *slots, size_t n_slots)
{
	if (is_too_long(b, len, WIRE_MAX_BODY) || is_too_long(b, n_slots, WIRE_MAX_SLOTS))
		return;
	wire_u32(b, (uint32_t)len);
	wire_u32(b, (uint32_t)n_slots);
	buf_add(b, slots, n_slots * 8);
	buf_add(b, body, len);
	buf_pad(b);
}

void wire_put_resolution(struct wire_buf *b, vref_t promise, uint32_t flags, const void *body, size_t len,
			 const uint64_t *slots, size_t n_slots)
{
	wire_u64(b, promise.bits);
	wire_u32(b, flags);
	wire_u32(b, 0);
	wire_put_capdata(b, body, len, slots, n_slots);
}

void wire_end(struct wire_buf *b)
{
	uint32_t size;

	buf_pad(b);
	if (b->error || is_too_long(b, b->len - b->frame, WIRE_MAX_FRAME))
		return;
	size = (uint32_t)(b->len - b->frame);
	memcpy(b->data + b->frame, &size, sizeof(size));
}

/* --- the codec: one field at a time, read and checked, or written --- */

struct codec {
	const uint8_t *pos, *end;	/* decoding: what is left of the body */
	enum wire_error error;		/* decoding: the first one */
	enum wire_direction dir;
	uint16_t type, flags;		/* of the frame */
	struct wire_buf *out;		/* encoding: where to; NULL when decoding */
};

static void fail(struct codec *c, enum wire_error e)
{
	if (!c->error)
		c->error = e;
}

/* Checks apply to what came from outside; what we encode was checked, or is ours to get right. */
static void require(struct codec *c, bool ok, enum wire_error e)
{
	if (!c->out && !ok)
		fail(c, e);
}

/* Decoding: borrow the next `n` bytes; NULL after an error. */
static const uint8_t *take(struct codec *c, size_t n)
{
	const uint8_t *at = c->pos;

	if (n > (size_t)(c->end - c->pos))
		fail(c, WIRE_E_SHORT);
	if (c->error)
		return NULL;
	c->pos += n;
	return at;
}

static void x_raw(struct codec *c, void *value, size_t size)
{
	const uint8_t *at;

	if (c->out) {
		buf_add(c->out, value, size);
		return;
	}
	at = take(c, size);
	if (at)
		memcpy(value, at, size);
	else
		memset(value, 0, size);
}

static void x_u32(struct codec *c, uint32_t *v)
{
	x_raw(c, v, sizeof(*v));
}

static void x_u64(struct codec *c, uint64_t *v)
{
	x_raw(c, v, sizeof(*v));
}

static void x_reserved(struct codec *c)
{
	uint32_t zero = 0;

	x_u32(c, &zero);
	require(c, zero == 0, WIRE_E_PADDING);
}

/* Bytes whose length went before, and their padding. */
static void x_padded(struct codec *c, struct wire_bytes *b)
{
	size_t padding = -(size_t)b->len & 7;
	const uint8_t *zeros;

	if (c->out) {
		buf_add(c->out, b->data, b->len);
		buf_pad(c->out);
		return;
	}
	b->data = take(c, b->len);
	zeros = take(c, padding);
	for (size_t i = 0; zeros && i < padding; i++)
		require(c, zeros[i] == 0, WIRE_E_PADDING);
	if (c->error)
		*b = (struct wire_bytes){ NULL, 0 };
}

static void x_bytes(struct codec *c, struct wire_bytes *b, uint32_t max, enum wire_error too_long)
{
	x_u32(c, &b->len);
	x_reserved(c);
	require(c, b->len <= max, too_long);
	x_padded(c, b);
}

enum ref_class {
	REF_ANY,
	REF_IS_PROMISE,
	REF_IS_EXPORT,		/* object, "+" */
	REF_IS_IMPORT,		/* object, "-" */
};

static bool ref_fits(vref_t v, enum ref_class class)
{
	if (!vref_is_legal(v))
		return false;
	switch (class) {
	case REF_ANY:
		return true;
	case REF_IS_PROMISE:
		return vref_is_promise(v);
	case REF_IS_EXPORT:
		return !vref_is_promise(v) && !vref_is_import(v);
	case REF_IS_IMPORT:
		return !vref_is_promise(v) && vref_is_import(v);
	}
	return false;
}

static void x_ref(struct codec *c, vref_t *v, enum ref_class class)
{
	x_u64(c, &v->bits);
	require(c, ref_fits(*v, class), WIRE_E_REF);
}

/* A reference, or all ones for none. */
static void x_ref_or_none(struct codec *c, vref_t *v)
{
	x_u64(c, &v->bits);
	require(c, vref_is_none(*v) || vref_is_legal(*v), WIRE_E_REF);
}

/* A result promise; 0 is none, which cannot be mistaken: o+0 is no promise. */
static void x_result(struct codec *c, vref_t *v)
{
	uint64_t bits = vref_is_none(*v) ? 0 : v->bits;

	x_u64(c, &bits);
	*v = bits ? (vref_t){ bits } : VREF_NONE;
	require(c, bits == 0 || ref_fits(*v, REF_IS_PROMISE), WIRE_E_REF);
}

/* `n` references one after another, left where they are. */
static void x_refs(struct codec *c, const uint8_t **firstp, uint32_t n, enum ref_class class)
{
	if (c->out) {
		buf_add(c->out, *firstp, (size_t)n * 8);
		return;
	}
	*firstp = take(c, (size_t)n * 8);
	for (uint32_t i = 0; *firstp && i < n; i++) {
		vref_t v;

		memcpy(&v.bits, *firstp + (size_t)i * 8, 8);
		require(c, ref_fits(v, class), WIRE_E_REF);
	}
}

static void x_capdata(struct codec *c, struct wire_capdata *d)
{
	x_u32(c, &d->body.len);
	x_u32(c, &d->n_slots);
	require(c, d->body.len <= WIRE_MAX_BODY && d->n_slots <= WIRE_MAX_SLOTS, WIRE_E_LIMIT);
	x_refs(c, &d->slots, d->n_slots, REF_ANY);
	x_padded(c, &d->body);
	if (c->error)
		*d = (struct wire_capdata){ 0 };
}

static void x_count(struct codec *c, uint32_t *n, uint32_t max)
{
	x_u32(c, n);
	x_reserved(c);
	require(c, *n > 0, WIRE_E_EMPTY);
	require(c, *n <= max, WIRE_E_LIMIT);
}

static void x_resolution(struct codec *c, struct wire_resolution *r)
{
	bool rejected, ref, kernel;

	x_ref(c, &r->promise, REF_IS_PROMISE);
	x_u32(c, &r->flags);
	x_reserved(c);
	rejected = r->flags & WIRE_R_REJECTED;
	ref = r->flags & WIRE_R_REF;
	kernel = r->flags & WIRE_R_KERNEL;
	require(c, !(r->flags & ~(WIRE_R_REJECTED | WIRE_R_REF | WIRE_R_KERNEL)), WIRE_E_FLAGS);
	require(c, !kernel || (rejected && c->dir == WIRE_TO_VAT), WIRE_E_FLAGS);
	require(c, !(ref && rejected), WIRE_E_REF_SLOTS);
	x_capdata(c, &r->value);
	require(c, !ref || r->value.n_slots == 1, WIRE_E_REF_SLOTS);
}

/* --- bodies, in the order of the table --- */

static void body_init(struct codec *c, struct wire_frame *f)
{
	x_u64(c, &f->init.vat);
	x_u64(c, &f->init.incarnation);
	x_u64(c, &f->init.next_export);
	x_u64(c, &f->init.next_promise);
	x_u32(c, &f->init.version);
	x_u32(c, &f->init.window);
}

static void body_capdata(struct codec *c, struct wire_frame *f)
{
	x_capdata(c, &f->capdata);
}

static void body_message(struct codec *c, struct wire_frame *f)
{
	x_ref(c, &f->message.target, REF_ANY);
	x_result(c, &f->message.result);
	x_capdata(c, &f->message.methargs);
}

static void body_resolutions(struct codec *c, struct wire_frame *f)
{
	const uint8_t *pos = f->list.first;

	x_count(c, &f->list.count, f->type == WIRE_NOTIFY ? WIRE_MAX_NOTIFY : WIRE_MAX_SLOTS);
	if (!c->out)
		f->list.first = c->pos;
	for (uint32_t i = 0; !c->error && i < f->list.count; i++) {
		struct wire_resolution r = { 0 };

		if (c->out)
			pos = wire_next_resolution(pos, &r);
		x_resolution(c, &r);
	}
}

static void body_refs(struct codec *c, struct wire_frame *f, enum ref_class class)
{
	x_count(c, &f->list.count, WIRE_MAX_SLOTS);
	x_refs(c, &f->list.first, f->list.count, class);
}

static void body_exports(struct codec *c, struct wire_frame *f)
{
	body_refs(c, f, REF_IS_EXPORT);
}

static void body_imports(struct codec *c, struct wire_frame *f)
{
	body_refs(c, f, REF_IS_IMPORT);
}

static void body_none(struct codec *c, struct wire_frame *f)
{
	(void)c;
	(void)f;
}

static void body_store_value(struct codec *c, struct wire_frame *f)
{
	x_ref_or_none(c, &f->store.ref);
	x_bytes(c, &f->store.key, WIRE_MAX_KEY, WIRE_E_KEY);
	x_bytes(c, &f->store.value, WIRE_MAX_BODY, WIRE_E_LIMIT);
	/* Nothing found, nothing to tell. */
	require(c, (f->flags & WIRE_F_FOUND) || (!(f->flags & WIRE_F_REACHABLE) && f->store.value.len == 0),
		WIRE_E_FLAGS);
}

static void body_token(struct codec *c, struct wire_frame *f)
{
	x_u64(c, &f->token);
}

static void body_part(struct codec *c, struct wire_frame *f)
{
	struct wire_bytes *b = &f->part.bytes;

	x_u32(c, &f->part.total);
	x_u32(c, &f->part.offset);
	if (c->out) {
		buf_add(c->out, b->data, b->len);
		return;
	}
	b->len = (uint32_t)(c->end - c->pos);
	b->data = take(c, b->len);
	require(c, f->part.total > WIRE_MAX_PACKET && f->part.total <= WIRE_MAX_FRAME && f->part.total % 8 == 0,
		WIRE_E_SIZE);
	require(c, b->len > 0, WIRE_E_EMPTY);
	require(c, b->len <= PART_MAX, WIRE_E_SIZE);
	require(c, f->part.offset <= f->part.total && b->len <= f->part.total - f->part.offset, WIRE_E_PART);
	require(c, b->len == PART_MAX || b->len == f->part.total - f->part.offset, WIRE_E_PART);
}

static void body_promise(struct codec *c, struct wire_frame *f)
{
	x_ref(c, &f->ref, REF_IS_PROMISE);
}

static void body_ref_or_none(struct codec *c, struct wire_frame *f)
{
	x_ref_or_none(c, &f->ref);
}

static void body_key(struct codec *c, struct wire_frame *f)
{
	x_bytes(c, &f->store.key, WIRE_MAX_KEY, WIRE_E_KEY);
	require(c, f->store.key.len > 0 || f->type == WIRE_VATSTORE_GET_NEXT_KEY, WIRE_E_KEY);
}

static void body_key_value(struct codec *c, struct wire_frame *f)
{
	body_key(c, f);
	x_bytes(c, &f->store.value, WIRE_MAX_BODY, WIRE_E_LIMIT);
}

static void body_done(struct codec *c, struct wire_frame *f)
{
	x_bytes(c, &f->text, WIRE_MAX_LOG, WIRE_E_LIMIT);
	require(c, (f->flags & WIRE_F_ERROR) || f->text.len == 0, WIRE_E_FLAGS);
}

static void body_hello(struct codec *c, struct wire_frame *f)
{
	x_u32(c, &f->hello.version);
	x_u32(c, &f->hello.window);
}

static void body_log(struct codec *c, struct wire_frame *f)
{
	x_u32(c, &f->log.level);
	x_reserved(c);
	require(c, f->log.level <= 3, WIRE_E_LIMIT);
	x_bytes(c, &f->log.text, WIRE_MAX_LOG, WIRE_E_LIMIT);
}

/* --- the table --- */

#define TO_VAT		(1u << WIRE_TO_VAT)
#define TO_KERNEL	(1u << WIRE_TO_KERNEL)

struct frame_kind {
	const char *name;
	uint8_t directions;		/* TO_VAT, TO_KERNEL */
	bool in_crank;			/* the delivery number is needed; else it is 0 */
	uint16_t flags;			/* those that it knows */
	void (*body)(struct codec *c, struct wire_frame *f);
};

static const struct frame_kind frame_kinds[] = {
	[WIRE_INIT]			= { "init", TO_VAT, false, 0, body_init },
	[WIRE_START_VAT]		= { "startVat", TO_VAT, true, 0, body_capdata },
	[WIRE_MESSAGE]			= { "message", TO_VAT, true, 0, body_message },
	[WIRE_NOTIFY]			= { "notify", TO_VAT, true, 0, body_resolutions },
	[WIRE_DROP_EXPORTS]		= { "dropExports", TO_VAT, true, 0, body_exports },
	[WIRE_RETIRE_EXPORTS]		= { "retireExports", TO_VAT, true, 0, body_exports },
	[WIRE_RETIRE_IMPORTS]		= { "retireImports", TO_VAT, true, 0, body_imports },
	[WIRE_BRING_OUT_YOUR_DEAD]	= { "bringOutYourDead", TO_VAT, true, 0, body_none },
	[WIRE_WAKE]			= { "wake", TO_VAT, true, 0, body_none },
	[WIRE_STORE_VALUE]		= { "storeValue", TO_VAT, true, WIRE_F_FOUND | WIRE_F_REACHABLE,
					    body_store_value },
	[WIRE_PING]			= { "ping", TO_VAT, false, 0, body_token },
	[WIRE_SHUTDOWN]			= { "shutdown", TO_VAT, false, 0, body_none },
	[WIRE_PART]			= { "part", TO_VAT | TO_KERNEL, false, 0, body_part },
	[WIRE_SEND]			= { "send", TO_KERNEL, true, 0, body_message },
	[WIRE_SUBSCRIBE]		= { "subscribe", TO_KERNEL, true, 0, body_promise },
	[WIRE_RESOLVE]			= { "resolve", TO_KERNEL, true, 0, body_resolutions },
	[WIRE_EXIT]			= { "exit", TO_KERNEL, true, WIRE_F_FAILURE, body_capdata },
	[WIRE_DROP_IMPORTS]		= { "dropImports", TO_KERNEL, true, 0, body_imports },
	[WIRE_RETIRE_IMPORTS_SYS]	= { "retireImports", TO_KERNEL, true, 0, body_imports },
	[WIRE_RETIRE_EXPORTS_SYS]	= { "retireExports", TO_KERNEL, true, 0, body_exports },
	[WIRE_ABANDON_EXPORTS]		= { "abandonExports", TO_KERNEL, true, 0, body_exports },
	[WIRE_VATSTORE_SET]		= { "vatstoreSet", TO_KERNEL, true, 0, body_key_value },
	[WIRE_VATSTORE_DELETE]		= { "vatstoreDelete", TO_KERNEL, true, 0, body_key },
	[WIRE_VATSTORE_GET]		= { "vatstoreGet", TO_KERNEL, true, 0, body_key },
	[WIRE_VATSTORE_GET_NEXT_KEY]	= { "vatstoreGetNextKey", TO_KERNEL, true, 0, body_key },
	[WIRE_CLIST_GET_NEXT]		= { "clistGetNext", TO_KERNEL, true, 0, body_ref_or_none },
	[WIRE_DONE]			= { "done", TO_KERNEL, true, WIRE_F_ERROR, body_done },
	[WIRE_HELLO]			= { "hello", TO_KERNEL, false, 0, body_hello },
	[WIRE_LOG]			= { "log", TO_KERNEL, false, 0, body_log },
	[WIRE_PONG]			= { "pong", TO_KERNEL, false, 0, body_token },
	[WIRE_WAKE_ME]			= { "wakeMe", TO_KERNEL, false, 0, body_none },
};

static const struct frame_kind *frame_kind_find(uint32_t type)
{
	if (type >= ARRAY_LEN(frame_kinds) || !frame_kinds[type].name)
		return NULL;
	return &frame_kinds[type];
}

const char *wire_type_name(enum wire_type t)
{
	const struct frame_kind *kind = frame_kind_find((uint32_t)t);

	return kind ? kind->name : "unknown";
}

const char *wire_error_text(enum wire_error e)
{
	static const char *const texts[] = {
		[WIRE_OK] = "no error",
		[WIRE_E_SHORT] = "frame or field runs past the end",
		[WIRE_E_SIZE] = "bad frame size",
		[WIRE_E_TYPE] = "unknown frame type, or not legal in this direction",
		[WIRE_E_FLAGS] = "unknown or contradicting flags",
		[WIRE_E_PADDING] = "padding or reserved field is not zero",
		[WIRE_E_TRAILING] = "bytes after the last field",
		[WIRE_E_LIMIT] = "count, length or level over its maximum",
		[WIRE_E_REF] = "illegal reference, or of the wrong kind in its place",
		[WIRE_E_REF_SLOTS] = "REF needs exactly one slot and a fulfilled promise",
		[WIRE_E_DELIVERY] = "delivery number missing, or where there is none",
		[WIRE_E_EMPTY] = "empty list or packet",
		[WIRE_E_PART] = "part out of order, overlapping or interrupted",
		[WIRE_E_KEY] = "vatstore key empty or too long",
		[WIRE_E_MEMORY] = "out of memory while joining parts",
	};

	return (size_t)e < ARRAY_LEN(texts) ? texts[e] : "unknown error";
}

/* --- frames --- */

static enum wire_error read_header(const uint8_t *data, size_t len, struct header *h)
{
	if (len == 0)
		return WIRE_E_EMPTY;
	if (len < WIRE_HEADER)
		return WIRE_E_SHORT;
	memcpy(h, data, sizeof(*h));
	if (h->size < WIRE_HEADER || h->size > WIRE_MAX_FRAME || h->size % 8)
		return WIRE_E_SIZE;
	return h->size > len ? WIRE_E_SHORT : WIRE_OK;
}

static enum wire_error check_header(const struct header *h, enum wire_direction dir)
{
	const struct frame_kind *kind = frame_kind_find(h->type);

	if (!kind || !(kind->directions & (1u << dir)))
		return WIRE_E_TYPE;
	if (h->flags & ~kind->flags)
		return WIRE_E_FLAGS;
	if (kind->in_crank != (h->delivery != 0))
		return WIRE_E_DELIVERY;
	return WIRE_OK;
}

enum wire_error wire_decode(const uint8_t *data, size_t len, enum wire_direction dir, struct wire_frame *fp, size_t *sizep)
{
	enum wire_error e;
	struct codec c;
	struct header h;

	e = read_header(data, len, &h);
	if (e)
		return e;
	e = check_header(&h, dir);
	if (e)
		return e;
	*fp = (struct wire_frame){ .type = (enum wire_type)h.type, .flags = h.flags, .delivery = h.delivery };
	c = (struct codec){ .pos = data + WIRE_HEADER, .end = data + h.size, .dir = dir };
	frame_kinds[h.type].body(&c, fp);
	require(&c, c.pos == c.end, WIRE_E_TRAILING);
	if (!c.error)
		*sizep = h.size;
	return c.error;
}

const uint8_t *wire_next_resolution(const uint8_t *pos, struct wire_resolution *rp)
{
	struct codec c = { .pos = pos, .dir = WIRE_TO_VAT };
	uint32_t len, n_slots;

	/* The frame was decoded, so all of the resolution is there, and no check can fail. */
	memcpy(&len, pos + 16, sizeof(len));
	memcpy(&n_slots, pos + 20, sizeof(n_slots));
	c.end = pos + 24 + (size_t)n_slots * 8 + (((size_t)len + 7) & ~(size_t)7);
	*rp = (struct wire_resolution){ 0 };
	x_resolution(&c, rp);
	assert(!c.error);
	return c.pos;
}

void wire_encode_frame(struct wire_buf *b, const struct wire_frame *f)
{
	const struct frame_kind *kind = frame_kind_find((uint32_t)f->type);
	struct codec c = { .out = b };
	struct wire_frame copy = *f;

	assert(kind);
	wire_begin(b, f->type, f->flags, f->delivery);
	kind->body(&c, &copy);
	wire_end(b);
}

/* --- parts --- */

size_t wire_cut_part(const uint8_t *data, size_t len, size_t *offsetp, uint8_t packet[WIRE_MAX_PACKET])
{
	size_t left = len - *offsetp, n = left < PART_MAX ? left : PART_MAX;
	struct header h = { (uint32_t)(PART_HEADER + n), WIRE_PART, 0, 0 };
	uint32_t where[2] = { (uint32_t)len, (uint32_t)*offsetp };

	assert(len <= WIRE_MAX_FRAME && *offsetp <= len);
	if (n == 0)
		return 0;
	memcpy(packet, &h, sizeof(h));
	memcpy(packet + WIRE_HEADER, where, sizeof(where));
	memcpy(packet + PART_HEADER, data + *offsetp, n);
	*offsetp += n;
	return PART_HEADER + n;
}

void wire_joiner_deinit(struct wire_joiner *j)
{
	wire_buf_deinit(&j->buf);
	j->total = 0;
}

/* The first part holds the header of the frame to come: a lie about it is found before the rest is kept. */
static enum wire_error check_first_part(const struct wire_frame *part, enum wire_direction dir)
{
	struct header h;

	memcpy(&h, part->part.bytes.data, sizeof(h));
	if (h.size != part->part.total || h.type == WIRE_PART)
		return WIRE_E_PART;
	return check_header(&h, dir);
}

static enum wire_error join_part(struct wire_joiner *j, const uint8_t *packet, size_t len, enum wire_direction dir)
{
	struct wire_frame part;
	enum wire_error e;
	size_t size;

	e = wire_decode(packet, len, dir, &part, &size);
	if (e)
		return e;
	if (size != len || part.part.offset != j->buf.len || (j->total && part.part.total != j->total))
		return WIRE_E_PART;
	if (j->total == 0) {
		e = check_first_part(&part, dir);
		if (e)
			return e;
	}
	j->total = part.part.total;
	buf_add(&j->buf, part.part.bytes.data, part.part.bytes.len);
	return j->buf.error ? WIRE_E_MEMORY : WIRE_OK;
}

/* A part hidden behind other frames; whatever else is wrong with them, wire_decode() will say. */
static bool holds_part(const uint8_t *packet, size_t len)
{
	struct header h;

	for (size_t at = 0; !read_header(packet + at, len - at, &h); at += h.size)
		if (h.type == WIRE_PART)
			return true;
	return false;
}

enum wire_error wire_join(struct wire_joiner *j, const uint8_t *packet, size_t len, enum wire_direction dir,
			  const uint8_t **framesp, size_t *lenp)
{
	enum wire_error e = WIRE_OK;
	struct header h;

	if (j->total == 0) {	/* what was joined before has been used */
		if (j->buf.size > JOINER_KEEPS)
			wire_buf_deinit(&j->buf);
		wire_buf_reset(&j->buf);
	}
	if (len > WIRE_MAX_PACKET)
		e = WIRE_E_SIZE;
	else
		e = read_header(packet, len, &h);
	if (!e && h.type == WIRE_PART)
		e = join_part(j, packet, len, dir);
	else if (!e && (j->total || holds_part(packet, len)))
		e = WIRE_E_PART;
	if (e) {
		wire_joiner_deinit(j);
		return e;
	}
	if (h.type != WIRE_PART) {
		*framesp = packet;
		*lenp = len;
	} else {
		bool whole = j->buf.len == j->total;

		*framesp = j->buf.data;
		*lenp = whole ? j->total : 0;
		if (whole)
			j->total = 0;
	}
	return WIRE_OK;
}
