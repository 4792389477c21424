/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The channel to the kernel. Everything a crank says is collected and leaves in as few packets as it fits,
 * `done` with it: an ordinary crank is one receive and one send. Log lines leave at once, so that they
 * survive whatever comes next.
 */
#include <sys/socket.h>

#include "internal.h"

#define KEEP_BYTES	(256u << 10)	/* of a buffer, from one packet to the next */

/* A call on the socket did not go through: is it worth trying again? */
static bool try_again(vat *v)
{
	if (errno == EINTR)
		return true;
	if (!v->host || (errno != EAGAIN && errno != EWOULDBLOCK && errno != ENOBUFS))
		return false;
	v->host->idle(v->host);
	return true;
}

static void send_packet(vat *v, const uint8_t *data, size_t len)
{
	ssize_t n;
	if (v->gone)
		return;
	do
		n = send(v->fd, data, len, MSG_NOSIGNAL | (v->host ? MSG_DONTWAIT : 0));
	while (n < 0 && try_again(v));
	if (n == (ssize_t)len)
		return;
	/* The kernel is gone, and nobody listens for the reason. */
	if (!v->host)
		_exit(1);
	v->gone = true;	/* seen when it reads next: whoever sends may hold memory */
}

static void send_parts(vat *v, const uint8_t *frame, size_t size)
{
	size_t offset = 0, n;
	if (!v->part)
		v->part = vat_alloc(v, WIRE_MAX_PACKET);
	while ((n = wire_cut_part(frame, size, &offset, v->part)) > 0)
		send_packet(v, v->part, n);
}

static uint32_t frame_size(const uint8_t *frame)
{
	uint32_t size;
	memcpy(&size, frame, sizeof(size));
	return size;
}

/* Whole frames to packets, as many to each as fit. */
static void send_frames(vat *v, const uint8_t *data, size_t len)
{
	size_t from = 0, to = 0;

	if (len <= WIRE_MAX_PACKET) {
		if (len)
			send_packet(v, data, len);
		return;
	}
	while (to < len) {
		uint32_t size = frame_size(data + to);
		if (to > from && to - from + size > WIRE_MAX_PACKET) {
			send_packet(v, data + from, to - from);
			from = to;
		}
		to += size;
		if (size > WIRE_MAX_PACKET) {
			send_parts(v, data + from, size);
			from = to;
		}
	}
	if (to > from)
		send_packet(v, data + from, to - from);
}

void channel_flush(vat *v)
{
	if (v->out.error) {
		wire_buf_deinit(&v->out);
		v->out = (struct wire_buf)WIRE_BUF_INIT;
		vat_die(v, "a message is too large, or memory ran out");
	}
	send_frames(v, v->out.data, v->out.len);
	wire_buf_reset(&v->out);
}

void channel_pack(vat *v)
{
	if (v->out.len > WIRE_MAX_PACKET || v->out.error)
		channel_flush(v);
}

static enum received receive_packet(vat *v, uint8_t *packet, struct wire_joiner *j, const uint8_t **framesp, size_t *lenp)
{
	do {
		ssize_t n;
		do
			n = recv(v->fd, packet, WIRE_MAX_PACKET, v->host ? MSG_DONTWAIT : 0);
		while (n < 0 && errno == EINTR);
		if (n < 0 && v->host && (errno == EAGAIN || errno == EWOULDBLOCK))
			return RECEIVED_NOTHING;
		if (n <= 0)
			return RECEIVED_END;
		enum wire_error e = wire_join(j, packet, (size_t)n, WIRE_TO_VAT, framesp, lenp);
		if (e != WIRE_OK)
			vat_die(v, "packet from the kernel: %s", wire_error_text(e));
	} while (*lenp == 0);
	return RECEIVED;
}

enum received channel_receive(vat *v, const uint8_t **framesp, size_t *lenp)
{
	if (v->aside.len && !v->gone) {
		struct wire_buf taken = v->aside;
		v->aside = v->taken;
		wire_buf_reset(&v->aside);
		v->taken = taken;
		*framesp = taken.data;
		*lenp = taken.len;
		return RECEIVED;
	}
	return v->gone ? RECEIVED_END : receive_packet(v, v->packet, &v->in, framesp, lenp);
}

static void pong(vat *v, uint64_t token)
{
	wire_begin(&v->out, WIRE_PONG, 0, 0);
	wire_u64(&v->out, token);
	wire_end(&v->out);
}

/* A delivery sent ahead of the answer: its turn comes when this crank is done. */
static void put_aside(vat *v, const uint8_t *frame, size_t size)
{
	struct wire_buf *b = &v->aside;
	b->data = vat_grow(v, b->data, &b->size, b->len + size, 1);
	memcpy(b->data + b->len, frame, size);
	b->len += size;
}

void channel_ask(vat *v, struct wire_frame *answer)
{
	bool answered = false;

	channel_flush(v);
	while (!answered) {
		const uint8_t *frames;
		size_t len, size;
		struct wire_frame f;
		enum received got = v->gone ? RECEIVED_END : receive_packet(v, v->reply_packet, &v->reply, &frames, &len);
		if (got == RECEIVED_END)
			vat_end(v, 1);
		if (got == RECEIVED_NOTHING) {
			v->host->idle(v->host);
			continue;
		}
		for (; len; frames += size, len -= size) {
			enum wire_error e = wire_decode(frames, len, WIRE_TO_VAT, &f, &size);
			if (e != WIRE_OK)
				vat_die(v, "frame from the kernel: %s", wire_error_text(e));
			switch (f.type) {
			case WIRE_STORE_VALUE:
				if (answered)
					vat_die(v, "the kernel answered a read twice");
				*answer = f;
				answered = true;
				break;
			case WIRE_SHUTDOWN:
				vat_end(v, 0);
			case WIRE_PING:
				pong(v, f.token);
				channel_flush(v);
				break;
			case WIRE_MESSAGE:
			case WIRE_NOTIFY:
				put_aside(v, frames, size);
				break;
			default:
				vat_die(v, "the kernel sent %s while a read was outstanding", wire_type_name(f.type));
			}
		}
	}
}

static void trim(struct wire_buf *b)
{
	if (b->size <= KEEP_BYTES)
		return;
	wire_buf_deinit(b);
	*b = (struct wire_buf)WIRE_BUF_INIT;
}

/* After a packet was dealt with: no frame is in hand. */
void channel_trim(vat *v)
{
	if (!v->out.len)
		trim(&v->out);
	if (!v->in.total)
		trim(&v->in.buf);
	if (!v->reply.total)
		trim(&v->reply.buf);
	if (!v->aside.len)
		trim(&v->aside);
	trim(&v->taken);
}

void channel_log(vat *v, uint32_t level, const char *text, size_t len)
{
	struct wire_buf *b = &v->log;	/* not in v->out: there a frame may be half written */
	if (len > WIRE_MAX_LOG)
		len = WIRE_MAX_LOG;
	wire_buf_reset(b);
	wire_begin(b, WIRE_LOG, 0, 0);
	wire_u32(b, level);
	wire_u32(b, 0);
	wire_put_bytes(b, text, len);
	wire_end(b);
	if (!b->error)
		send_frames(v, b->data, b->len);
}

void vat_end(vat *v, int status)
{
	if (!v->host)
		_exit(status);
	v->host->status = status;
	longjmp(v->host->died, 1);
}

/*
 * The vat cannot go on: say why, fail the delivery, end. To the kernel that is a death: the crank is undone and the vat
 * starts anew from what it has stored, which a slip of its author's must not cost it. Built by hand from the smallest pieces,
 * because anything may be broken.
 */
void vat_die(vat *v, const char *fmt, ...)
{
	const struct object *self = v->call.self;
	char text[512];
	va_list ap;
	int n = self ? snprintf(text, sizeof(text), "%.100s.%.100s: ", self->kind->name, v->call.method) : 0;
	va_start(ap, fmt);
	n += vsnprintf(text + n, sizeof(text) - (size_t)n, fmt, ap);
	va_end(ap);
	if (v->dying)
		vat_end(v, 1);
	v->dying = true;
	channel_log(v, 3, text, n < (int)sizeof(text) ? (size_t)n : sizeof(text) - 1);
	if (v->delivery) {
		wire_buf_reset(&v->out);
		wire_begin(&v->out, WIRE_DONE, WIRE_F_ERROR, v->delivery);
		wire_put_bytes(&v->out, text, strlen(text));
		wire_end(&v->out);
		if (!v->out.error)
			send_frames(v, v->out.data, v->out.len);
	}
	vat_end(v, 1);
}
