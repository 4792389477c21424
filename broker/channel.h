/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The broker's end of a vat's socket: whole packets in and out, parts joined and cut, a backlog when the vat
 * does not read. Knows nothing of vats; frames go up through on_frames().
 */
#ifndef CAPSTAN_CHANNEL_H
#define CAPSTAN_CHANNEL_H

#include <capstan/wire.h>

#include "../lib/loop.h"

struct channel;
struct channel_ops {
	/* Whole frames, at least one byte. Positive: the channel was closed meanwhile, stop. */
	int (*frames)(struct channel *c, const uint8_t *frames, size_t len);
	int (*malformed)(struct channel *c, enum wire_error e);	/* the peer broke the framing */
	int (*hangup)(struct channel *c);			/* read to the end; nothing more will come */
	void (*drained)(struct channel *c);			/* the backlog is empty again */
};
struct channel {
	struct loop_source source;
	struct loop *loop;
	const struct channel_ops *ops;
	struct wire_joiner joiner;
	struct wire_buf backlog;	/* packets not yet taken by the socket: u32 length, bytes */
	size_t backlog_pos;
	uint64_t n_in, n_out;		/* bytes, for people */
};

int channel_open(struct channel *c, struct loop *loop, int fd, const struct channel_ops *ops);	/* takes fd */
void channel_close(struct channel *c);		/* fine when closed */
static inline bool channel_is_open(const struct channel *c) { return c->source.fd >= 0; }
/* Send whole frames, each cut into parts when it exceeds a packet. The frames of a small `b` share a packet. */
int channel_send(struct channel *c, const struct wire_buf *b);
/* Read until nothing is left now (a death is judged only after that). Returns like a handler. */
int channel_read_dry(struct channel *c);

#endif
