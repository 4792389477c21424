/* SPDX-License-Identifier: Apache-2.0 */
#include "channel.h"

#include <poll.h>
#include <sys/socket.h>

#define BUFFER_KEEP (256u << 10)	/* one large frame, in or out, does not cost its memory for good */

static uint8_t packet_in[WIRE_MAX_PACKET + 8] __attribute__((aligned(8)));

static int handle(struct loop_source *s, uint32_t events);

int channel_open(struct channel *c, struct loop *loop, int fd, const struct channel_ops *ops)
{
	int r;

	*c = (struct channel){ .source = LOOP_SOURCE_INIT(handle), .loop = loop, .ops = ops,
			       .joiner = WIRE_JOINER_INIT, .backlog = WIRE_BUF_INIT };
	r = loop_add(loop, &c->source, fd, EPOLLIN);
	if (r < 0)
		close(fd);
	return r < 0 ? error_trace(r) : 0;
}

void channel_close(struct channel *c)
{
	int fd = c->source.fd;

	if (fd < 0)
		return;
	loop_remove(c->loop, &c->source);
	close(fd);
	c->source.fd = -1;
	wire_joiner_deinit(&c->joiner);
	wire_buf_deinit(&c->backlog);
}

/* One packet. 1: nothing there now; 2: closed while handling it. */
enum { READ_EMPTY = 1, READ_CLOSED = 2 };

/* Two empty packets in a row look like the end as well; the socket itself knows. */
static bool hung_up(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN | POLLRDHUP };

	return poll(&p, 1, 0) == 1 && (p.revents & (POLLHUP | POLLRDHUP | POLLERR));
}

static int read_one(struct channel *c)
{
	const uint8_t *frames;
	size_t len;
	ssize_t n;
	enum wire_error e;
	int r;

	/* No control buffer: descriptors that a vat may have attached are dropped by the kernel. The length is the packet's own. */
	do
		n = recv(c->source.fd, packet_in, sizeof(packet_in), MSG_DONTWAIT | MSG_TRUNC);
	while (n < 0 && errno == EINTR);
	if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
		return READ_EMPTY;
	if (n == 0) {
		/*
		 * End of file and an empty packet look alike. Only after the peer is gone does poll say hang-up too; an
		 * empty packet from a living peer is malformed.
		 */
		char probe;
		ssize_t m = recv(c->source.fd, &probe, 1, MSG_DONTWAIT | MSG_PEEK);

		if (m < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
			r = c->ops->malformed(c, WIRE_E_EMPTY);
			return r < 0 ? r : READ_CLOSED;
		}
		if (m > 0 || (m == 0 && !hung_up(c->source.fd))) {
			r = c->ops->malformed(c, WIRE_E_EMPTY);
			return r < 0 ? r : READ_CLOSED;
		}
		r = c->ops->hangup(c);
		return r < 0 ? r : READ_CLOSED;
	}
	/*
	 * Said once, before what is still queued, when the peer went with packets of ours unread. The rest of what it sent
	 * comes after it (D6).
	 */
	if (n < 0 && errno == ECONNRESET)
		return 0;
	if (n < 0) {
		r = c->ops->hangup(c);	/* nothing more can be read */
		return r < 0 ? r : READ_CLOSED;
	}
	c->n_in += n;
	if (n > (ssize_t)WIRE_MAX_PACKET)
		e = WIRE_E_SIZE;
	else
		e = wire_join(&c->joiner, packet_in, n, WIRE_TO_KERNEL, &frames, &len);
	if (e) {
		r = c->ops->malformed(c, e);
		return r < 0 ? r : READ_CLOSED;
	}
	if (!len)
		return 0;
	r = c->ops->frames(c, frames, len);
	if (r < 0)
		return r;
	if (!c->joiner.total && c->joiner.buf.size > BUFFER_KEEP)
		wire_joiner_deinit(&c->joiner);
	return r > 0 || !channel_is_open(c) ? READ_CLOSED : 0;
}

static int send_packet(struct channel *c, const uint8_t *data, size_t len)
{
	ssize_t n;

	do
		n = send(c->source.fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	if (n >= 0) {
		c->n_out += n;
		return 0;
	}
	if (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS || errno == ENOMEM)
		return 1;
	return 0;	/* the peer is gone: its hang-up will be read */
}

static int keep_packet(struct channel *c, const uint8_t *data, size_t len)
{
	uint32_t n = len;

	wire_u32(&c->backlog, n);
	if (!c->backlog.error) {
		size_t need = c->backlog.len + len;

		if (need > c->backlog.size) {
			uint8_t *p = realloc(c->backlog.data, need * 2);

			if (!p)
				return error_origin(ENOMEM);
			c->backlog.data = p;
			c->backlog.size = need * 2;
		}
		memcpy(c->backlog.data + c->backlog.len, data, len);
		c->backlog.len += len;
	}
	if (c->backlog.error)
		return error_origin(ENOMEM);
	return loop_modify(c->loop, &c->source, EPOLLIN | EPOLLOUT);
}

static int send_or_keep(struct channel *c, const uint8_t *data, size_t len)
{
	if (c->backlog.len || send_packet(c, data, len))
		return keep_packet(c, data, len);
	return 0;
}

static int flush_backlog(struct channel *c)
{
	int r;

	while (c->backlog_pos < c->backlog.len) {
		uint32_t n;

		memcpy(&n, c->backlog.data + c->backlog_pos, 4);
		if (send_packet(c, c->backlog.data + c->backlog_pos + 4, n))
			return 0;
		c->backlog_pos += 4 + n;
	}
	c->backlog_pos = 0;
	if (c->backlog.size > BUFFER_KEEP)
		wire_buf_deinit(&c->backlog);
	wire_buf_reset(&c->backlog);
	r = loop_modify(c->loop, &c->source, EPOLLIN);
	c->ops->drained(c);
	return r;
}

int channel_send(struct channel *c, const struct wire_buf *b)
{
	static uint8_t part[WIRE_MAX_PACKET];
	size_t offset = 0, n;
	int r;

	if (b->error)
		return error_origin(ENOMEM);
	if (!channel_is_open(c) || !b->len)
		return 0;
	if (b->len <= WIRE_MAX_PACKET)
		return send_or_keep(c, b->data, b->len);
	while ((n = wire_cut_part(b->data, b->len, &offset, part))) {
		r = send_or_keep(c, part, n);
		if (r < 0)
			return r;
	}
	return 0;
}

static int handle(struct loop_source *s, uint32_t events)
{
	struct channel *c = container_of(s, struct channel, source);
	int r = 0;

	if (events & EPOLLOUT) {
		r = flush_backlog(c);
		if (r < 0)
			return r;
	}
	/* One packet a round: a flooder gets no more of the loop than anybody else. */
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		r = read_one(c);
	return r < 0 ? r : 0;
}

int channel_read_dry(struct channel *c)
{
	unsigned budget = 512;	/* more than a socket buffer holds: what comes later was sent later */
	int r = 0;

	while (channel_is_open(c) && r == 0 && budget--)
		r = read_one(c);
	return r < 0 ? r : 0;
}
