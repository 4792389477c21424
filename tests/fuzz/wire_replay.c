/* SPDX-License-Identifier: Apache-2.0 */
/* Drives the decoder over one input and checks what it promises; see wire_seeds.h. */
#include "../../lib/util.h"
#include "wire_seeds.h"

#define STREAM_MAX (4u << 20)	/* packet bytes of one input: the fuzzer shall not spend its time on zeros */

/* Asserts in a release build as well: util.h leaves them on. */
static void check_capdata(const struct wire_capdata *c)
{
	assert(c->body.len <= WIRE_MAX_BODY && c->n_slots <= WIRE_MAX_SLOTS);
	for (uint32_t i = 0; i < c->n_slots; i++)
		assert(vref_is_legal(wire_slot(c, i)));
	if (c->body.len > 0)	/* both ends can be read: a sanitiser's question */
		(void)(*(volatile const uint8_t *)c->body.data + *(volatile const uint8_t *)&c->body.data[c->body.len - 1]);
}

static void check_resolutions(const struct wire_frame *f, enum wire_direction dir)
{
	const uint8_t *pos = f->list.first;

	for (uint32_t i = 0; i < f->list.count; i++) {
		struct wire_resolution r;

		pos = wire_next_resolution(pos, &r);
		check_capdata(&r.value);
		assert(vref_is_legal(r.promise) && vref_is_promise(r.promise));
		assert(!(r.flags & WIRE_R_REF) || (r.value.n_slots == 1 && !(r.flags & WIRE_R_REJECTED)));
		assert(!(r.flags & WIRE_R_KERNEL) || ((r.flags & WIRE_R_REJECTED) && dir == WIRE_TO_VAT));
	}
}

static void check_refs(const struct wire_frame *f, bool import)
{
	assert(f->list.count > 0 && f->list.count <= WIRE_MAX_SLOTS);
	for (uint32_t i = 0; i < f->list.count; i++) {
		vref_t v = wire_ref(f, i);

		assert(vref_is_legal(v) && !vref_is_promise(v) && vref_is_import(v) == import);
	}
}

static void check_frame(const struct wire_frame *f, enum wire_direction dir)
{
	switch (f->type) {
	case WIRE_MESSAGE:
	case WIRE_SEND:
		assert(vref_is_legal(f->message.target));
		assert(vref_is_none(f->message.result) || vref_is_promise(f->message.result));
		check_capdata(&f->message.methargs);
		break;
	case WIRE_NOTIFY:
	case WIRE_RESOLVE:
		check_resolutions(f, dir);
		break;
	case WIRE_START_VAT:
	case WIRE_EXIT:
		check_capdata(&f->capdata);
		break;
	case WIRE_DROP_EXPORTS:
	case WIRE_RETIRE_EXPORTS:
	case WIRE_RETIRE_EXPORTS_SYS:
	case WIRE_ABANDON_EXPORTS:
		check_refs(f, false);
		break;
	case WIRE_RETIRE_IMPORTS:
	case WIRE_DROP_IMPORTS:
	case WIRE_RETIRE_IMPORTS_SYS:
		check_refs(f, true);
		break;
	case WIRE_SUBSCRIBE:
		assert(vref_is_promise(f->ref));
		break;
	default:
		break;
	}
}

/* What was decoded, encoded again, is byte for byte what came. */
static void check_encoded(const struct wire_frame *f, const uint8_t *data, size_t size)
{
	struct wire_buf b = WIRE_BUF_INIT;

	wire_encode_frame(&b, f);
	assert(!b.error);
	assert(b.len == size && !memcmp(b.data, data, size));
	wire_buf_deinit(&b);
}

/* A frame that came in parts goes out in parts, and is joined again. */
static void check_parts(const uint8_t *data, size_t size, enum wire_direction dir)
{
	struct wire_joiner j = WIRE_JOINER_INIT;
	uint8_t *packet = malloc(WIRE_MAX_PACKET);
	const uint8_t *frames = NULL;
	size_t offset = 0, len, joined = 0;

	assert(packet);
	while ((len = wire_cut_part(data, size, &offset, packet)) > 0) {
		assert(joined == 0);
		assert(wire_join(&j, packet, len, dir, &frames, &joined) == WIRE_OK);
	}
	assert(joined == size && !memcmp(frames, data, size));
	wire_joiner_deinit(&j);
	free(packet);
}

static enum wire_error replay_frames(const uint8_t *data, size_t len, enum wire_direction dir)
{
	while (len > 0) {
		struct wire_frame f;
		enum wire_error e;
		size_t size;

		e = wire_decode(data, len, dir, &f, &size);
		if (e) {
			assert(wire_error_text(e) && strcmp(wire_error_text(e), "unknown error"));
			return e;
		}
		assert(size >= WIRE_HEADER && size <= len && size % 8 == 0);
		assert(strcmp(wire_type_name(f.type), "unknown"));
		check_frame(&f, dir);
		check_encoded(&f, data, size);
		if (size > WIRE_MAX_PACKET)
			check_parts(data, size, dir);
		data += size;
		len -= size;
	}
	return WIRE_OK;
}

static enum wire_error replay_packet(struct wire_joiner *j, const uint8_t *packet, size_t len, enum wire_direction dir)
{
	const uint8_t *frames = NULL;
	size_t frames_len = 0;
	enum wire_error e;

	e = wire_join(j, packet, len, dir, &frames, &frames_len);
	return e ? e : replay_frames(frames, frames_len, dir);
}

static enum wire_error replay_stream(const uint8_t *data, size_t len, enum wire_direction dir)
{
	struct wire_joiner j = WIRE_JOINER_INIT;
	enum wire_error e = WIRE_OK;
	size_t total = 0;

	while (!e && len >= 5 && total < STREAM_MAX) {
		uint32_t packet_len, n = data[4];
		uint8_t *packet;

		memcpy(&packet_len, data, 4);
		packet_len %= WIRE_MAX_PACKET + 9;	/* a little too long is worth a try */
		data += 5;
		len -= 5;
		n = n < len ? n : (uint32_t)len;
		packet = calloc(1, packet_len + 1);	/* of its own, so that a sanitiser sees its end */
		assert(packet);
		memcpy(packet, data, n < packet_len ? n : packet_len);
		e = replay_packet(&j, packet, packet_len, dir);
		free(packet);
		data += n;
		len -= n;
		total += packet_len;
	}
	wire_joiner_deinit(&j);
	return e;
}

enum wire_error wire_replay(const uint8_t *input, size_t len)
{
	struct wire_joiner j = WIRE_JOINER_INIT;
	enum wire_direction dir;
	enum wire_error e;

	if (len == 0)
		return WIRE_E_EMPTY;
	dir = input[0] & 1 ? WIRE_TO_KERNEL : WIRE_TO_VAT;
	if (input[0] & 2)
		return replay_stream(input + 1, len - 1, dir);
	e = replay_packet(&j, input + 1, len - 1, dir);
	wire_joiner_deinit(&j);
	return e;
}
