/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A channel has one descriptor at a time, which is for input, output or both: a file, a FIFO, or one end of a connection. What
 * may be waited for (all but regular files) is in the loop only while a call waits for it: a peer that floods, hangs or hangs
 * up while nobody asks costs nothing.
 *
 *	closed ──first call, or a client──▶ open ──end of input──▶ told (null) ──next read──▶ closed
 *	  ▲                                  └──close(), error, client's end──┐
 *	  └───────────────────────────────────────────────────────────────────┘
 *
 * All work is done from one source of the loop, a bounded part for each channel in turn.
 */
#include "io.h"

#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <resolv.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "../lib/jtext.h"
#include "iopath.h"
#include "launch.h"
#include "object.h"

#define BUDGET_CALLS	16u	/* of one channel, each time it is its turn */
#define BUDGET_CHANNELS	64u	/* of one round */
#define BUDGET_BYTES	(1u << 20)	/* read and written in one round, of all channels */
#define BUDGET_END	256u	/* calls answered in one round when a subcluster ends */
#define CONSOLE_MAX	2000	/* bytes of a line in the log, as the service `console` (S6) */

struct call { struct call *next; uint64_t seq; size_t len; };
struct calls { struct call *first, *last; };

struct channel {
	UT_hash_handle hh;
	char name[VAT_NAME_MAX + 8];
	struct kernel *kernel;
	uint64_t subcluster;
	struct config_io config;	/* its name and path are owned */

	int fd;				/* -1: closed */
	bool regular;			/* a file: never waited for */
	struct loop_source source;
	int listen_fd;
	bool deaf;			/* the next client waits until this one is done with */
	bool ending;			/* its subcluster is on its way out since before this broker: nothing is carried out */
	struct loop_source listener;

	struct calls reads, writes;	/* writes: close() too; begun, in their order */
	uint64_t end_seq;		/* reads up to here get null: close() */
	uint64_t lost_seq;		/* writes up to here are rejected: what they were for is gone */
	bool in_blocked, out_blocked;

	uint8_t *in;			/* IO_UNIT_MAX + 1 bytes, so that a longest line's end fits; NULL: not needed yet */
	size_t in_pos, in_len;
	bool eof;			/* nothing more comes from this descriptor */
	bool told;			/* and that was answered */
	uint64_t position;		/* of a regular file: where in_pos is in it; stored */

	size_t out_waiting;		/* bytes of all writes */
	uint8_t *out;			/* of the first write; NULL: not taken from its call yet */
	size_t out_pos, out_len;

	bool working;			/* in the list of those that have something to do */
	struct channel *next_working;
};

struct io {
	struct channel *channels;	/* uthash by name */
	struct channel *working_first, *working_last;
	uint64_t committed_seq;		/* calls up to this one are on disk */
	size_t spent;			/* of BUDGET_BYTES */
	int wake_fd;
	struct loop_source source;
	struct kernel *kernel;
};

/* --- lists --------------------------------------------------------------------------------------------------------- */

static int calls_push(struct calls *l, uint64_t seq, size_t len)
{
	struct call *c = malloc(sizeof(*c));

	if (!c)
		return error_origin(ENOMEM);
	*c = (struct call){ .seq = seq, .len = len };
	*(l->first ? &l->last->next : &l->first) = c;
	l->last = c;
	return 0;
}

static void calls_pop(struct calls *l)
{
	struct call *c = l->first;

	l->first = c->next;
	free(c);
}

static void calls_deinit(struct calls *l)
{
	while (l->first)
		calls_pop(l);
}

static void wake(struct io *io)
{
	eventfd_write(io->wake_fd, 1);
	io->kernel->io_work = true;
}

static void work(struct channel *ch)
{
	struct io *io = ch->kernel->io;

	wake(io);
	if (ch->working)
		return;
	ch->working = true;
	ch->next_working = NULL;
	*(io->working_first ? &io->working_last->next_working : &io->working_first) = ch;
	io->working_last = ch;
}

static struct channel *take_working(struct io *io)
{
	struct channel *ch = io->working_first;

	if (!ch)
		return NULL;
	io->working_first = ch->next_working;
	ch->working = false;
	return ch;
}

static struct channel *channel_find(struct kernel *k, const char *name)
{
	struct channel *ch = NULL;

	if (k->io)
		HASH_FIND_STR(k->io->channels, name, ch);
	return ch;
}

/* --- the descriptor ------------------------------------------------------------------------------------------------ */

static void drop_out(struct channel *ch)
{
	free(ch->out);
	ch->out = NULL;
}

/* What was half written for this peer is lost, and with a client everything that was meant for him. */
static void note_lost(struct channel *ch)
{
	if (ch->config.type == CONFIG_IO_LISTEN && ch->writes.first)
		ch->lost_seq = ch->writes.last->seq;
	else if (ch->out && ch->out_pos)
		ch->lost_seq = ch->writes.first->seq;
	drop_out(ch);
}

static void channel_close(struct channel *ch)
{
	if (ch->fd >= 0) {
		note_lost(ch);
		loop_remove(&ch->kernel->loop, &ch->source);
		close(ch->fd);
		ch->fd = -1;
	}
	free(ch->in);
	ch->in = NULL;
	ch->in_pos = ch->in_len = 0;
	ch->eof = ch->told = ch->deaf = false;
}

static int channel_listen(struct channel *ch, char *why)
{
	int r;

	if (ch->listen_fd >= 0)
		return 0;
	r = iopath_listen(ch->kernel, &ch->config, &ch->listen_fd, why);
	if (r)
		ch->listen_fd = -1;
	return r;
}

/* The next client, if one waits. Without a descriptor for him he waits on, until a call or another client's end has us look. */
static void channel_accept(struct channel *ch)
{
	if (ch->fd >= 0 || ch->listen_fd < 0)
		return;
	ch->fd = accept4(ch->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	ch->deaf = ch->fd < 0 && errno != EAGAIN && errno != ECONNABORTED;
}

/* 0: open, or (a listening channel) there is no client: then fd is -1 still. */
static int channel_open(struct channel *ch, char *why)
{
	int r;

	if (ch->fd >= 0)
		return 0;
	switch (ch->config.type) {
	case CONFIG_IO_FILE:
		r = iopath_open_file(ch->kernel, &ch->config, &ch->fd, &ch->regular, why);
		break;
	case CONFIG_IO_SOCKET:
		r = iopath_connect(ch->kernel, &ch->config, &ch->fd, why);
		break;
	case CONFIG_IO_LISTEN:
		r = channel_listen(ch, why);
		if (r == 0)
			channel_accept(ch);
		return r;
	default:
		return 0;
	}
	if (r)
		ch->fd = -1;
	return r;
}

/* --- answers ------------------------------------------------------------------------------------------------------- */

static int tolerate(int r)
{
	return r == SERVICE_E_NO_CALL ? 0 : r;
}

static int answer_body(struct kernel *k, uint64_t seq, const char *body)
{
	struct smallcaps value = { .body = (char *)(uintptr_t)body, .body_len = strlen(body) };

	return tolerate(service_answer(k, seq, false, &value));
}

static int answer_error(struct channel *ch, uint64_t seq, const char *why)
{
	return tolerate(service_answer_error(ch->kernel, seq, "Error", why));
}

static int answer_json(struct kernel *k, uint64_t seq, json_t *json)
{
	char error[SMALLCAPS_ERROR_MAX];
	struct smallcaps value = { 0 };
	int r;

	if (!json)
		return error_origin(ENOMEM);
	r = smallcaps_from_json(json, &value, error);
	json_decref(json);
	if (r > 0)
		return tolerate(service_answer_error(k, seq, "Error", error));
	if (r == 0)
		r = tolerate(service_answer(k, seq, false, &value));
	smallcaps_deinit(&value);
	return r;
}

/* Bytes of the character at p, or 0: none begins there. */
static size_t utf8_len(const char *p, size_t len)
{
	for (size_t n = 1; n <= 4 && n <= len; n++)
		if (jtext_is_utf8(p, n))
			return n;
	return 0;
}

/* Whatever is no UTF-8 becomes U+FFFD: who wants the bytes asks for them. */
static json_t *text_to_json(const char *p, size_t len)
{
	_cleanup_free_ char *out = malloc(len * 3 + 1);
	size_t n = 0, one;

	if (jtext_is_utf8(p, len))
		return json_stringn(p, len);
	if (!out)
		return NULL;
	for (; len; p += one, len -= one) {
		one = utf8_len(p, len);
		memcpy(out + n, one ? p : "\xef\xbf\xbd", one ? one : 3);
		n += one ? one : 3;
		one = one ? one : 1;
	}
	return json_stringn(out, n);
}

static json_t *bytes_to_json(const uint8_t *p, size_t len)
{
	size_t size = (len + 2) / 3 * 4 + 1;
	_cleanup_free_ char *out = malloc(size);

	if (!out || b64_ntop(p, len, out, size) < 0)
		return NULL;
	return json_string(out);
}

/* --- input --------------------------------------------------------------------------------------------------------- */

enum outcome { IO_DONE, IO_END, IO_WAIT, IO_FAILED };

/* Cut before a character that is not whole, so that both pieces are text. */
static size_t cut_text(const uint8_t *p, size_t len)
{
	size_t back = 1;

	while (back < 4 && back < len && (p[len - back] & 0xc0) == 0x80)
		back++;
	if (utf8_len((const char *)p + len - back, back) || (p[len - back] & 0xc0) != 0xc0)
		return len;
	return len - back;
}

static bool find_unit(const struct channel *ch, size_t *lenp, size_t *takep)
{
	const uint8_t *p = ch->in + ch->in_pos, *end;
	size_t have = ch->in_len - ch->in_pos;

	if (!have)
		return false;
	*lenp = *takep = have;
	if (ch->config.bytes)
		return true;
	end = memchr(p, '\n', have);
	if (end) {
		*lenp = end - p;
		*takep = *lenp + 1;
		return true;
	}
	if (have > IO_UNIT_MAX)
		*lenp = *takep = cut_text(p, IO_UNIT_MAX);
	return have > IO_UNIT_MAX || ch->eof;
}

static bool has_input(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, 0) > 0;
}

/* More into the buffer. A FIFO is asked first: read() calls it at an end before its first writer has come. */
static enum outcome fill(struct channel *ch, char *why)
{
	size_t room;
	ssize_t n;

	memmove(ch->in, ch->in + ch->in_pos, ch->in_len - ch->in_pos);
	ch->in_len -= ch->in_pos;
	ch->in_pos = 0;
	room = IO_UNIT_MAX + !ch->config.bytes - ch->in_len;
	if (!ch->regular && !has_input(ch->fd)) {
		ch->in_blocked = true;
		return IO_WAIT;
	}
	n = ch->regular ? pread(ch->fd, ch->in + ch->in_len, room, (off_t)(ch->position + ch->in_len))
			: read(ch->fd, ch->in + ch->in_len, room);
	if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
		ch->in_blocked = true;
		return IO_WAIT;
	}
	if (n < 0 && ch->regular) {
		snprintf(why, IOPATH_WHY_MAX, "%s", strerror(errno));
		return IO_FAILED;
	}
	ch->eof = n <= 0;	/* a connection that was reset has ended, too */
	ch->in_len += n > 0 ? (size_t)n : 0;
	return IO_DONE;
}

/* Ready to be filled? The end was told, so whoever asks again asks for what comes after it. */
static enum outcome open_input(struct channel *ch, char *why)
{
	if (ch->config.type == CONFIG_IO_CONSOLE) {
		ch->eof = true;
		return IO_DONE;
	}
	if (ch->told && ch->writes.first)
		return IO_WAIT;		/* for the present peer, first */
	if (ch->told)
		channel_close(ch);
	if (channel_open(ch, why))
		return IO_FAILED;
	if (ch->fd < 0)
		return IO_WAIT;
	if (!ch->in)
		ch->in = malloc(IO_UNIT_MAX + 1);
	if (ch->in)
		return IO_DONE;
	snprintf(why, IOPATH_WHY_MAX, "no memory");
	return IO_FAILED;
}

static enum outcome next_unit(struct channel *ch, size_t *lenp, size_t *takep, char *why)
{
	enum outcome o;

	for (;;) {
		if (find_unit(ch, lenp, takep))
			return IO_DONE;
		if (ch->eof && !ch->told)
			return IO_END;
		o = open_input(ch, why);
		if (o == IO_DONE && !ch->eof)
			o = fill(ch, why);
		if (o != IO_DONE)
			return o;
	}
}

/* In one transaction with the answer: each part of a file is answered once. */
static int save_position(struct channel *ch)
{
	struct kernel *k = ch->kernel;
	struct row_service row;
	int r = service_load(k, ch->name, &row);

	if (r)
		return r < 0 ? r : kernel_corrupt("%s has no row", ch->name);
	row.position = ch->position;
	r = kernel_savepoint(k);
	if (r < 0)
		return r;
	r = store_put(k->store, T_SERVICE, ch->name, strlen(ch->name), &row, sizeof(row));
	return r < 0 ? error_trace(r) : kernel_release(k);
}

static int answer_unit(struct channel *ch, uint64_t seq, size_t len, size_t take)
{
	const uint8_t *p = ch->in + ch->in_pos;
	int r = 0;

	ch->in_pos += take;
	ch->kernel->io->spent += take;
	if (ch->regular) {
		ch->position += take;
		r = save_position(ch);
	}
	if (r < 0)
		return r;
	return answer_json(ch->kernel, seq, ch->config.bytes ? bytes_to_json(p, len) : text_to_json((const char *)p, len));
}

/* A file may grow, a FIFO have further writers: the next read sees. A connection is kept for what is still written to it. */
static void end_told(struct channel *ch)
{
	if (ch->config.type == CONFIG_IO_SOCKET || ch->config.type == CONFIG_IO_LISTEN) {
		ch->told = true;
		return;
	}
	ch->eof = false;
	if (!ch->regular)
		channel_close(ch);
}

static int do_read(struct channel *ch, uint64_t seq, bool *waitp)
{
	char why[IOPATH_WHY_MAX];
	size_t len, take;

	if (seq <= ch->end_seq)
		return answer_body(ch->kernel, seq, "#null");
	switch (next_unit(ch, &len, &take, why)) {
	case IO_DONE:
		return answer_unit(ch, seq, len, take);
	case IO_END:
		end_told(ch);
		return answer_body(ch->kernel, seq, "#null");
	case IO_FAILED:
		return answer_error(ch, seq, why);
	case IO_WAIT:
		break;
	}
	*waitp = true;
	return 0;
}

/* Is the call still to be carried out? It may be gone with its vat (nothing is read for it), or the channel revoked meanwhile (X1). */
static int recheck(struct kernel *k, uint64_t seq, struct item *i, bool *endedp)
{
	int r = queue_get(k, ENDPOINT_K.bits, seq, i);

	*endedp = r > 0;
	return r ? (r < 0 ? r : 0) : service_recheck(k, i, endedp);
}

static bool is_due(const struct channel *ch, const struct calls *l, unsigned budget)
{
	const struct io *io = ch->kernel->io;

	return l->first && l->first->seq <= io->committed_seq && budget && io->spent < BUDGET_BYTES;
}

static int pump_in(struct channel *ch, unsigned *budget)
{
	bool ended, wait = false;
	int r;

	ch->in_blocked = false;
	for (; is_due(ch, &ch->reads, *budget); --*budget) {
		_cleanup_(item_deinit) struct item i = ITEM_INIT;
		uint64_t seq = ch->reads.first->seq;

		r = recheck(ch->kernel, seq, &i, &ended);
		if (r >= 0 && !ended)
			r = do_read(ch, seq, &wait);
		if (r < 0 || wait)
			return r;
		calls_pop(&ch->reads);
	}
	return 0;
}

/* --- output -------------------------------------------------------------------------------------------------------- */

enum { TEXT_E_TYPE = 1, TEXT_E_RANGE = 2, TEXT_E_BASE64 = 3 };
/* What write(text) is to write: the text and the end of a line, or the bytes that it says. */
static int decode(const struct channel *ch, const struct capdata *methargs, uint8_t **outp, size_t *lenp)
{
	struct smallcaps_seen text;
	json_t *args = NULL;
	uint8_t *out;
	int n = 0, r = smallcaps_args(methargs->body, methargs->body_len, &args);

	if (r)
		return r < 0 ? r : TEXT_E_TYPE;
	text = smallcaps_look(json_array_get(args, 0), methargs->n_slots);
	if (text.kind != SMALLCAPS_STRING || text.len > (ch->config.bytes ? (IO_UNIT_MAX + 2) / 3 * 4 : IO_UNIT_MAX)) {
		r = text.kind != SMALLCAPS_STRING ? TEXT_E_TYPE : TEXT_E_RANGE;
		json_decref(args);
		return r;
	}
	out = malloc(text.len + 2);
	if (!out) {
		json_decref(args);
		return error_origin(ENOMEM);
	}
	if (ch->config.bytes) {
		n = b64_pton(text.text, out, text.len + 2);
	} else {
		memcpy(out, text.text, text.len);
		out[text.len] = '\n';
		n = (int)text.len + 1;
	}
	if (ch->config.bytes && strlen(text.text) != text.len)
		n = -1;
	json_decref(args);
	if (n < 0 || (ch->config.bytes && n > (int)IO_UNIT_MAX)) {
		free(out);
		return n < 0 ? TEXT_E_BASE64 : TEXT_E_RANGE;
	}
	*outp = out;
	*lenp = (size_t)n;
	return 0;
}

static enum outcome print(struct channel *ch)
{
	size_t len = ch->out_len - (!ch->config.bytes && ch->out_len), need;
	char *shown;

	len = len < CONSOLE_MAX ? len : CONSOLE_MAX;
	need = escape_bytes(NULL, 0, ch->out, len);
	shown = malloc(need + 1);
	if (shown) {
		escape_bytes(shown, need + 1, ch->out, len);
		log_info("console: %s: %s", ch->name, shown);
	}
	free(shown);
	return IO_DONE;
}

static ssize_t put(struct channel *ch)
{
	const uint8_t *p = ch->out + ch->out_pos;
	size_t n = ch->out_len - ch->out_pos;

	return ch->config.type == CONFIG_IO_FILE ? write(ch->fd, p, n) : send(ch->fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static enum outcome flush(struct channel *ch, char *why)
{
	ssize_t n;

	if (ch->config.type == CONFIG_IO_CONSOLE)
		return print(ch);
	if (channel_open(ch, why))
		return IO_FAILED;
	if (ch->fd < 0) {
		snprintf(why, IOPATH_WHY_MAX, "nobody is connected to %s", ch->name);
		return IO_FAILED;
	}
	while (ch->out_pos < ch->out_len) {
		n = put(ch);
		if (n < 0 && (errno == EAGAIN || errno == EINTR || errno == ENOBUFS)) {
			ch->out_blocked = true;
			return IO_WAIT;
		}
		if (n < 0) {
			snprintf(why, IOPATH_WHY_MAX, "%s", strerror(errno));
			return IO_FAILED;
		}
		ch->out_pos += (size_t)n;
	}
	return IO_DONE;
}

static int take_call(struct channel *ch, const struct item *i, bool *closep)
{
	_cleanup_free_ char *method = NULL;
	struct capdata methargs;

	if (!capdata_read(i->raw, i->len, &methargs))
		return kernel_corrupt("queue: malformed item %" PRIu64, i->seq);
	method = smallcaps_method(methargs.body, methargs.body_len);
	*closep = method && !strcmp(method, "close");
	ch->out_pos = ch->out_len = 0;
	return *closep ? 0 : decode(ch, &methargs, &ch->out, &ch->out_len);
}

/* Begin anew: a connection is ended, a file is read from its beginning. */
static int do_close(struct channel *ch, uint64_t seq)
{
	int r = 0;

	channel_close(ch);
	ch->end_seq = seq;
	if (ch->position) {
		ch->position = 0;
		r = save_position(ch);
	}
	if (ch->config.type == CONFIG_IO_LISTEN)
		channel_accept(ch);
	return r < 0 ? r : answer_body(ch->kernel, seq, "#\"#undefined\"");
}

/* A client who can be written to no more may have said something before: that is read, and his end told, before the next one comes (S17). */
static bool is_heard_out(const struct channel *ch)
{
	char byte;

	if (ch->config.type != CONFIG_IO_LISTEN || ch->config.direction == CONFIG_IO_OUT || ch->fd < 0 || ch->told)
		return true;
	return !ch->reads.first && !ch->eof && ch->in_pos == ch->in_len && recv(ch->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) <= 0;
}

static int do_write(struct channel *ch, uint64_t seq, bool *waitp)
{
	char why[IOPATH_WHY_MAX];

	switch (flush(ch, why)) {
	case IO_WAIT:
		*waitp = true;
		return 0;
	case IO_FAILED:
		drop_out(ch);
		if (!ch->regular && is_heard_out(ch))
			channel_close(ch);
		else if (!ch->regular)
			note_lost(ch);
		return answer_error(ch, seq, why);
	default:
		drop_out(ch);
		return answer_body(ch->kernel, seq, "#\"#undefined\"");
	}
}

static int do_out(struct channel *ch, uint64_t seq, bool *waitp)
{
	_cleanup_(item_deinit) struct item i = ITEM_INIT;
	bool close = false, ended;
	int r;

	if (!ch->out) {
		r = recheck(ch->kernel, seq, &i, &ended);
		if (r < 0 || ended)
			return r;
		if (seq <= ch->lost_seq)
			return answer_error(ch, seq, "the connection was lost");
		r = take_call(ch, &i, &close);
		if (r)
			return r < 0 ? r : answer_error(ch, seq, "it was no text");
	}
	return close ? do_close(ch, seq) : do_write(ch, seq, waitp);
}

static int pump_out(struct channel *ch, unsigned *budget)
{
	bool wait = false;
	int r;

	ch->out_blocked = false;
	for (; is_due(ch, &ch->writes, *budget); --*budget) {
		r = do_out(ch, ch->writes.first->seq, &wait);
		if (r < 0 || wait)
			return r;
		ch->out_waiting -= ch->writes.first->len;
		ch->kernel->io->spent += ch->writes.first->len;
		calls_pop(&ch->writes);
	}
	return 0;
}

/* --- turns --------------------------------------------------------------------------------------------------------- */

static int arm(struct channel *ch)
{
	struct loop *loop = &ch->kernel->loop;
	uint32_t events = (ch->in_blocked ? EPOLLIN : 0) | (ch->out_blocked ? EPOLLOUT : 0);
	int r = 0;

	if (ch->listen_fd >= 0 && ch->deaf)
		loop_remove(loop, &ch->listener);
	else if (ch->listen_fd >= 0 && ch->listener.fd < 0)
		r = loop_add(loop, &ch->listener, ch->listen_fd, EPOLLIN);
	if (r < 0)
		return r;
	if (ch->fd < 0 || ch->regular || !events)
		loop_remove(loop, &ch->source);
	else if (ch->source.fd < 0)
		return loop_add(loop, &ch->source, ch->fd, events);
	else
		return loop_modify(loop, &ch->source, events);
	return 0;
}

static int pump(struct channel *ch)
{
	unsigned budget = BUDGET_CALLS;
	char why[IOPATH_WHY_MAX];
	int r;

	if (ch->ending)
		return 0;
	if (ch->config.type == CONFIG_IO_LISTEN && channel_listen(ch, why) && !ch->reads.first && !ch->writes.first)
		log_warn("%s: %s", ch->name, why);	/* else a call is rejected with it */
	r = pump_out(ch, &budget);
	if (r >= 0)
		r = pump_in(ch, &budget);
	if (r < 0)
		return r;
	if (!budget || ch->kernel->io->spent >= BUDGET_BYTES)
		work(ch);
	return arm(ch);
}

static int on_stream(struct loop_source *s, uint32_t events)
{
	(void)events;
	work(container_of(s, struct channel, source));
	return 0;
}

/* Has the other end gone altogether? Half closed, it still listens. */
static bool has_hung_up(int fd)
{
	struct pollfd p = { .fd = fd };

	return poll(&p, 1, 0) > 0 && (p.revents & (POLLHUP | POLLERR));
}

/*
 * One client at a time. Whoever comes while there is one is refused; but if that one is gone and only what he left is still
 * to be read, the next waits until its end was told.
 */
static int on_client(struct loop_source *s, uint32_t events)
{
	struct channel *ch = container_of(s, struct channel, listener);
	int fd;

	(void)events;
	if (ch->fd >= 0 && has_hung_up(ch->fd)) {
		if (ch->config.direction == CONFIG_IO_OUT || ch->told)
			channel_close(ch);
		else
			ch->deaf = true;
	} else if (ch->fd >= 0) {
		fd = accept4(ch->listen_fd, NULL, NULL, SOCK_CLOEXEC);
		ch->deaf = fd < 0 && errno != EAGAIN && errno != ECONNABORTED;
		closep(&fd);
	}
	channel_accept(ch);
	work(ch);
	return 0;
}

static int on_work(struct loop_source *s, uint32_t events)
{
	struct io *io = container_of(s, struct io, source);
	unsigned budget = BUDGET_CHANNELS;
	struct channel *ch;
	eventfd_t n;
	int r = 0;

	(void)events;
	eventfd_read(io->wake_fd, &n);
	io->kernel->io_work = false;
	io->spent = 0;
	/* One that has more to do joins the list again at its end, and wakes us for the next round. */
	while (r >= 0 && budget-- && io->spent < BUDGET_BYTES && (ch = take_working(io)))
		r = pump(ch);
	if (r >= 0 && io->working_first)
		wake(io);
	return r;
}

/* --- calls --------------------------------------------------------------------------------------------------------- */

struct committed { uint64_t seq; char name[VAT_NAME_MAX + 8]; };

static void on_commit(struct kernel *k, void *arg)
{
	struct committed *c = arg;
	struct channel *ch = channel_find(k, c->name);

	if (k->io && c->seq > k->io->committed_seq)
		k->io->committed_seq = c->seq;
	if (ch)
		work(ch);
	free(c);
}

/* `seq` 0: no call, the channel itself. */
static int after_commit(struct channel *ch, uint64_t seq)
{
	struct committed *c = malloc(sizeof(*c));

	if (!c)
		return error_origin(ENOMEM);
	c->seq = seq;
	snprintf(c->name, sizeof(c->name), "%s", ch->name);
	if (kernel_after_commit(ch->kernel, on_commit, c) < 0) {
		free(c);
		return error_origin(ENOMEM);
	}
	return 0;
}

static int reject_type(struct channel *ch, const struct service_call *c, const char *what)
{
	char text[VAT_NAME_MAX + 100];

	snprintf(text, sizeof(text), "%s %s", ch->name, what);
	return service_reject(ch->kernel, c->item, "TypeError", text);
}

static int begin_read(struct channel *ch, const struct service_call *c)
{
	int r;

	if (ch->config.direction == CONFIG_IO_OUT)
		return reject_type(ch, c, "is for output: it cannot be read");
	r = calls_push(&ch->reads, c->item->seq, 0);
	return r < 0 ? r : SERVICE_LATER;
}

static int begin_write(struct channel *ch, const struct service_call *c)
{
	_cleanup_free_ uint8_t *bytes = NULL;
	size_t len = 0;
	int r;

	if (ch->config.direction == CONFIG_IO_IN)
		return reject_type(ch, c, "is for input: it cannot be written");
	r = decode(ch, &c->methargs, &bytes, &len);
	if (r == TEXT_E_TYPE)
		return reject_type(ch, c, "write: expected a string");
	if (r == TEXT_E_BASE64)
		return reject_type(ch, c, "write: expected bytes as base64");
	if (r == TEXT_E_RANGE)
		return service_reject(ch->kernel, c->item, "RangeError", "write: more than 65536 bytes");
	if (r < 0)
		return r;
	if (ch->out_waiting + len > IO_OUT_MAX)
		return service_reject(ch->kernel, c->item, "Error", "write: too much waits to be written already");
	r = calls_push(&ch->writes, c->item->seq, len);
	if (r < 0)
		return r;
	ch->out_waiting += len;
	return SERVICE_LATER;
}

static int begin(struct kernel *k, const struct service_call *c)
{
	struct channel *ch = channel_find(k, c->name);
	int r;

	if (!ch)
		return service_reject(k, c->item, "Error", "the channel is not there");
	if (!strcmp(c->method, "read")) {
		r = begin_read(ch, c);
	} else if (!strcmp(c->method, "write")) {
		r = begin_write(ch, c);
	} else if (!strcmp(c->method, "close")) {
		r = calls_push(&ch->writes, c->item->seq, 0);
		r = r < 0 ? r : SERVICE_LATER;
	} else {
		return service_reject(k, c->item, "TypeError", "an io channel has the methods read, write and close");
	}
	if (r == SERVICE_LATER && after_commit(ch, c->item->seq) < 0)
		return error_origin(ENOMEM);
	return r;
}

/* What was to be written is written; who would have read is gone. Our list finds out by itself. */
static bool forget(struct kernel *k, const struct item *i)
{
	_cleanup_free_ char *method = NULL;
	struct capdata methargs;

	(void)k;
	if (!capdata_read(i->raw, i->len, &methargs))
		return false;
	method = smallcaps_method(methargs.body, methargs.body_len);
	return method && !strcmp(method, "read");
}

const struct service_class io_service = { .flags = SERVICE_F_IO, .begin = begin, .forget = forget };

/* --- life ---------------------------------------------------------------------------------------------------------- */

static void format_name(char name[VAT_NAME_MAX + 8], uint64_t subcluster, const char *io)
{
	snprintf(name, VAT_NAME_MAX + 8, "io:s%" PRIu64 ":%s", subcluster, io);
}

static int io_new(struct kernel *k)
{
	struct io *io;

	if (k->io)
		return 0;
	io = calloc(1, sizeof(*io));
	if (!io)
		return error_origin(ENOMEM);
	io->kernel = k;
	io->source = (struct loop_source)LOOP_SOURCE_INIT(on_work);
	io->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	k->io = io;
	return io->wake_fd < 0 ? error_origin(errno) : loop_add(&k->loop, &io->source, io->wake_fd, EPOLLIN);
}

static int channel_new(struct kernel *k, uint64_t subcluster, const struct config_io *config, struct channel **chp)
{
	struct channel *ch = calloc(1, sizeof(*ch));

	if (!ch)
		return error_origin(ENOMEM);
	*ch = (struct channel){ .kernel = k, .subcluster = subcluster, .config = *config, .fd = -1, .listen_fd = -1,
				.source = LOOP_SOURCE_INIT(on_stream), .listener = LOOP_SOURCE_INIT(on_client) };
	format_name(ch->name, subcluster, config->name);
	ch->config.name = strdup(config->name);
	ch->config.path = config->path ? strdup(config->path) : NULL;
	if (!ch->config.name || (config->path && !ch->config.path))
		return error_origin(ENOMEM);
	HASH_ADD_STR(k->io->channels, name, ch);
	*chp = ch;
	return 0;
}

static void channel_free(struct channel *ch)
{
	struct io *io = ch->kernel->io;
	struct channel **p, *last = NULL;

	for (p = &io->working_first; *p && *p != ch; p = &(*p)->next_working)
		last = *p;
	if (*p) {
		*p = ch->next_working;
		if (io->working_last == ch)
			io->working_last = last;
	}
	HASH_DEL(io->channels, ch);
	channel_close(ch);
	drop_out(ch);
	loop_remove(&ch->kernel->loop, &ch->listener);
	if (ch->listen_fd >= 0) {
		iopath_unlisten(ch->kernel, &ch->config);
		close(ch->listen_fd);
	}
	calls_deinit(&ch->reads);
	calls_deinit(&ch->writes);
	free(ch->in);
	free(ch->config.name);
	free(ch->config.path);
	free(ch);
}

int io_check(struct kernel *k, const struct config *config, char error[CONFIG_ERROR_MAX])
{
	char why[IOPATH_WHY_MAX], name[VAT_NAME_MAX + 8];
	struct row_service row;
	int r;

	for (size_t i = 0; i < config->n_ios; i++) {
		const struct config_io *c = &config->ios[i];

		if (iopath_check(k, c, why)) {
			snprintf(error, CONFIG_ERROR_MAX, "io.%s.path: %s", c->name, why);
			return LAUNCH_E_REFUSED;
		}
		format_name(name, k->next_subcluster, c->name);
		r = service_load(k, name, &row);
		if (r < 0)
			return r;
		if (r == 0) {	/* somebody registered it beforehand */
			snprintf(error, CONFIG_ERROR_MAX, "io.%s: there is a service %s already", c->name, name);
			return LAUNCH_E_REFUSED;
		}
	}
	return 0;
}

int io_make(struct kernel *k, uint64_t subcluster, const struct config *config)
{
	int r = 0;

	for (size_t i = 0; r >= 0 && i < config->n_ios; i++) {
		struct row_service row = { .flags = SERVICE_F_IO, .subcluster = subcluster };
		struct channel *ch;

		r = channel_new(k, subcluster, &config->ios[i], &ch);
		if (r >= 0)
			r = service_make(k, ch->name, &row);
		if (r >= 0)
			r = after_commit(ch, 0);
	}
	return r;
}

int io_give(struct kernel *k, uint64_t subcluster, int (*add)(json_t *record, const char *name, kref_t ref), json_t *record)
{
	struct channel *ch, *tmp;
	kref_t ref;
	int r;

	HASH_ITER(hh, k->io->channels, ch, tmp) {
		if (ch->subcluster != subcluster)
			continue;
		r = service_find(k, ch->name, &ref);
		if (r == 0)
			r = add(record, ch->config.name, ref);
		if (r)
			return r < 0 ? r : kernel_corrupt("%s has no row", ch->name);
	}
	return 0;
}

/* What it was is said by the configuration of its subcluster. */
static int restore(struct kernel *k, const char *name, const struct row_service *row)
{
	char error[CONFIG_ERROR_MAX], full[VAT_NAME_MAX + 8];
	struct row_subcluster subcluster;
	struct config *config = NULL;
	struct channel *ch = NULL;
	json_t *json = NULL;
	int r = subcluster_load(k, row->subcluster, &subcluster);

	if (r == 0)
		r = subcluster_config(k, row->subcluster, &json);
	if (r == 0)
		r = config_parse(json, &config, error);
	json_decref(json);
	for (size_t i = 0; r == 0 && !ch && i < config->n_ios; i++) {
		format_name(full, row->subcluster, config->ios[i].name);
		if (!strcmp(full, name))
			r = channel_new(k, row->subcluster, &config->ios[i], &ch);
	}
	config_free(config);
	if (r < 0)
		return r;
	if (!ch) {
		log_warn("%s: its subcluster has no such channel", name);
		return 0;
	}
	ch->position = row->position;
	ch->ending = subcluster.status != SUB_RUNNING;	/* its place may be that of the next one already */
	/* What waits to be written to a client was for one who is gone. */
	if (ch->config.type == CONFIG_IO_LISTEN)
		ch->lost_seq = k->next_seq - 1;
	work(ch);
	return 0;
}

int io_boot(struct kernel *k)
{
	const void *key, *val;
	size_t key_len = 0, len;
	uint8_t at[KEY_MAX];
	struct row_service row;
	char name[KEY_MAX + 1];
	int r = io_new(k);

	while (r >= 0) {
		r = store_next(k->store, T_SERVICE, key_len ? at : NULL, key_len, !key_len, &key, &key_len, &val, &len);
		if (r)
			return r < 0 ? error_trace(r) : 0;
		if (len != sizeof(row))
			return kernel_corrupt("store: a service row is damaged");
		memcpy(at, key, key_len);
		memcpy(&row, val, sizeof(row));
		snprintf(name, sizeof(name), "%.*s", (int)key_len, (const char *)key);
		if (row.flags & SERVICE_F_IO)
			r = restore(k, name, &row);
	}
	return r;
}

static int reject_calls(struct channel *ch, struct calls *l, unsigned *budget)
{
	int r = 0;

	for (; r >= 0 && *budget && l->first; --*budget) {
		r = tolerate(service_answer_code(ch->kernel, l->first->seq, CODE_OBJECT_DELETED, "the subcluster of the channel is gone"));
		calls_pop(l);
	}
	return r;
}

/* From now on it is an object without owner, as those of a vat that is gone. */
static int remove_row(struct kernel *k, const char *name)
{
	struct row_service row;
	struct row_object object;
	uint8_t key[8];
	int r = service_load(k, name, &row);

	if (r == 0)
		r = object_load(k, (kref_t){ row.kref }, &object);
	if (r)
		return r < 0 ? r : kernel_corrupt("%s has no row", name);
	object.owner = 0;
	r = kernel_savepoint(k);
	if (r >= 0)
		r = object_save(k, (kref_t){ row.kref }, &object);
	if (r >= 0)
		r = store_del(k->store, T_SERVICE, name, strlen(name));
	if (r >= 0)
		r = store_del(k->store, T_SERVICE_OF, key, key_u64(key, row.kref));
	if (r >= 0)
		r = kernel_hold(k, (kref_t){ row.kref }, HOLD_SERVICE, 0, -1);
	return r < 0 ? error_trace(r) : kernel_release(k);
}

int io_end(struct kernel *k, uint64_t subcluster)
{
	struct channel *ch, *tmp;
	unsigned budget = BUDGET_END;
	int r;

	HASH_ITER(hh, k->io->channels, ch, tmp) {
		if (ch->subcluster != subcluster)
			continue;
		drop_out(ch);	/* of the first write, which is rejected now */
		r = reject_calls(ch, &ch->writes, &budget);
		if (r >= 0)
			r = reject_calls(ch, &ch->reads, &budget);
		if (r < 0)
			return r;
		if (!budget)
			return IO_E_MORE;
		r = remove_row(k, ch->name);
		if (r < 0)
			return r;
		channel_free(ch);
	}
	return 0;
}

void io_deinit(struct kernel *k)
{
	struct channel *ch, *tmp;

	if (!k->io)
		return;
	HASH_ITER(hh, k->io->channels, ch, tmp)
		channel_free(ch);
	loop_remove(&k->loop, &k->io->source);
	closep(&k->io->wake_fd);
	free(k->io);
	k->io = NULL;
}
