/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The channel to the kernel. Everything a crank says is collected and leaves in as few packets as it fits,
 * `done` with it: an ordinary crank is one receive and one send. Log lines leave at once, so that they
 * survive whatever comes next.
 */
#include <sys/socket.h>

#include "internal.h"

static void send_packet(vat *v, const uint8_t *data, size_t len)
{
	ssize_t n;
	do
		n = send(v->fd, data, len, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	if (n != (ssize_t)len)
		_exit(1);	/* the kernel is gone, and nobody listens for the reason */
}

static void send_parts(vat *v, const uint8_t *frame, size_t size)
{
	static uint8_t packet[WIRE_MAX_PACKET];
	size_t offset = 0, n;
	while ((n = wire_cut_part(frame, size, &offset, packet)) > 0)
		send_packet(v, packet, n);
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

static bool receive_packet(vat *v, uint8_t *packet, struct wire_joiner *j, const uint8_t **framesp, size_t *lenp)
{
	do {
		ssize_t n;
		do
			n = recv(v->fd, packet, WIRE_MAX_PACKET, 0);
		while (n < 0 && errno == EINTR);
		if (n <= 0)
			return false;
		enum wire_error e = wire_join(j, packet, (size_t)n, WIRE_TO_VAT, framesp, lenp);
		if (e != WIRE_OK)
			vat_die(v, "packet from the kernel: %s", wire_error_text(e));
	} while (*lenp == 0);
	return true;
}

bool channel_receive(vat *v, const uint8_t **framesp, size_t *lenp)
{
	return receive_packet(v, v->packet, &v->in, framesp, lenp);
}

static void pong(vat *v, uint64_t token)
{
	wire_begin(&v->out, WIRE_PONG, 0, 0);
	wire_u64(&v->out, token);
	wire_end(&v->out);
}

void channel_ask(vat *v, struct wire_frame *answer)
{
	channel_flush(v);
	for (;;) {
		const uint8_t *frames;
		size_t len, size;
		if (!receive_packet(v, v->reply_packet, &v->reply, &frames, &len))
			_exit(1);
		for (; len; frames += size, len -= size) {
			enum wire_error e = wire_decode(frames, len, WIRE_TO_VAT, answer, &size);
			if (e != WIRE_OK)
				vat_die(v, "frame from the kernel: %s", wire_error_text(e));
			if (answer->type == WIRE_STORE_VALUE)
				return;
			if (answer->type == WIRE_SHUTDOWN)
				_exit(0);
			if (answer->type != WIRE_PING)
				vat_die(v, "the kernel sent %s while a read was outstanding", wire_type_name(answer->type));
			pong(v, answer->token);
			channel_flush(v);
		}
	}
}

void channel_log(vat *v, uint32_t level, const char *text, size_t len)
{
	struct wire_buf b = WIRE_BUF_INIT;
	if (len > WIRE_MAX_LOG)
		len = WIRE_MAX_LOG;
	wire_begin(&b, WIRE_LOG, 0, 0);
	wire_u32(&b, level);
	wire_u32(&b, 0);
	wire_put_bytes(&b, text, len);
	wire_end(&b);
	if (!b.error)
		send_frames(v, b.data, b.len);
	wire_buf_deinit(&b);
}

/*
 * The vat cannot go on: say why, abandon the crank with exit(failure), end. Built by hand from the smallest
 * pieces, because anything may be broken.
 */
void vat_die(vat *v, const char *fmt, ...)
{
	static bool dying;
	char text[512];
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (dying)
		_exit(1);
	dying = true;
	channel_log(v, 3, text, n < (int)sizeof(text) ? (size_t)n : sizeof(text) - 1);
	if (v->delivery) {
		struct encoder e = { .text = JTEXT_INIT };
		jtext_char(&e.text, '#');
		encode_error(&e, "Error", text);
		wire_buf_reset(&v->out);
		wire_begin(&v->out, WIRE_EXIT, WIRE_F_FAILURE, v->delivery);
		wire_put_capdata(&v->out, e.text.data, e.text.len, NULL, 0);
		wire_end(&v->out);
		wire_begin(&v->out, WIRE_DONE, 0, v->delivery);
		wire_put_bytes(&v->out, NULL, 0);
		wire_end(&v->out);
		if (!v->out.error)
			send_frames(v, v->out.data, v->out.len);
	}
	_exit(1);
}
