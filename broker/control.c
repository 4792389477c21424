/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control socket: bytes become checked requests, results become bytes. Nothing here knows what a method does.
 *
 *	                 ┌────── handler, at once or later ──────┐
 *	recvmsg ─▶ lines ─▶ JSON ─▶ request            control_reply ─▶ out (held back)
 *	                                                                   │ control_flush: committed
 *	                                              send ◀──── out (released)
 *
 * - A connection reads one recvmsg a round; every complete line in it is handled there and then, so between rounds
 *   only an unfinished line is kept, never longer than CONTROL_MAX_REQUEST.
 * - Replies wait in `out`. Bytes before out_released may leave: control_flush() was called after they were made.
 * - A connection is freed in two places only, connection_event() and control_flush(), and never while its own
 *   handlers run (`busy`). Whoever finds it unusable before that sets `doomed`.
 * - A request belongs to its connection's list while that lives, to the control's list of orphans after.
 * - A connection serves (is asked, and answers) while server.ops is set. Whatever ends its input ends that.
 *
 * File descriptors ride on bytes. A client sends those of a request in one sendmsg with the first byte of its line (at
 * most 250; the kernel takes no more than 253 in one), and puts nothing else in that sendmsg than that line or its
 * beginning. Linux ends a recvmsg after the piece that carried descriptors, so they belong to the last line of
 * which that recvmsg held bytes, also when earlier requests were glued in front.
 */
#include "control.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#define READ_SIZE	(64u << 10)
#define SEND_BUDGET	(1u << 20)	/* bytes a round to one connection */
#define SCM_MAX		253u		/* the kernel's SCM_MAX_FD */
#define ID_MAX		256u		/* bytes of a string id: ids are kept while requests wait */
#define NAME_SHOWN	80u		/* of an unknown method's name in the error */

struct connection;

struct control_request {
	struct control *control;
	struct connection *connection;	/* NULL: gone */
	struct control_request *prev, *next;
	json_t *id;			/* NULL: a notification, never answered */
	void (*gone)(void *arg);
	void *gone_arg;
	struct control_local *local;	/* somebody inside asks: no connection, never gone */
};

struct request_list { struct control_request *head; size_t n; };

struct control_server { const struct control_server_ops *ops; void *ctx; };

struct connection {
	struct loop_source source;
	struct control *control;
	struct connection *prev, *next;
	int fd;
	struct ucred peer;		/* who connected, as the kernel says */
	struct request_list requests;	/* unanswered */
	struct control_server server;	/* ops NULL: it is not asked */

	char *in;			/* the unfinished line */
	size_t in_len, in_size;
	int fds[CONTROL_MAX_FDS + SCM_MAX]; /* [0, n_held): of the unfinished line; [n_held, n_fds): just received */
	size_t n_held, n_fds;

	char *out;			/* bytes [out_start, out_len) wait; those before out_released may leave */
	size_t out_start, out_released, out_len, out_size;

	bool eof;			/* no more input; stays until its requests are answered */
	bool closing;			/* no more input; goes when the output has left */
	bool mute;			/* the peer takes no more output; what it said before is still read */
	bool doomed;			/* goes at the next occasion */
	bool busy;			/* its handlers are running */
};

struct control {
	struct loop *loop;
	struct loop_source source;	/* the listening socket */
	int listen_fd;
	int spare_fd;			/* given up for a moment to refuse a client when the table of fds is full */
	const struct control_method *methods;
	void *ctx;
	struct connection *connections;
	size_t n_connections;
	struct request_list orphans;
	bool dirty;			/* control_flush() has something to do */
};

/* --- closing what clients sent ---------------------------------------------------------------------------- */

/*
 * A close can block: a socket that lingers, a file of a FUSE server that does not answer. Descriptors that a client
 * chose are closed by a thread of their own. It serves the process and is never joined, since it may be stuck.
 */
struct closing_fds { struct closing_fds *next; size_t n; int fds[]; };
static pthread_mutex_t closer_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t closer_cond = PTHREAD_COND_INITIALIZER;
static struct closing_fds *closer_head, **closer_tailp = &closer_head;	/* first in, first out */
static bool closer_runs;

static void *closer_main(void *arg)
{
	for (;;) {
		struct closing_fds *batch;

		pthread_mutex_lock(&closer_mutex);
		while (!closer_head)
			pthread_cond_wait(&closer_cond, &closer_mutex);
		batch = closer_head;
		closer_head = batch->next;
		if (!closer_head)
			closer_tailp = &closer_head;
		pthread_mutex_unlock(&closer_mutex);
		for (size_t i = 0; i < batch->n; i++)
			close(batch->fds[i]);
		free(batch);
	}
	return arg;
}

/* Called with the mutex held. */
static bool closer_start(void)
{
	sigset_t all, old;
	pthread_attr_t attr;
	pthread_t thread;

	if (closer_runs || pthread_attr_init(&attr))
		return closer_runs;
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);	/* signals are the loop's business */
	closer_runs = !pthread_create(&thread, &attr, closer_main, NULL);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	return closer_runs;
}

/* Slots that are -1 were taken. */
static void close_foreign(const int *fds, size_t n_fds)
{
	struct closing_fds *batch;
	size_t n = 0;
	bool handed = false;

	for (size_t i = 0; i < n_fds; i++)
		n += fds[i] >= 0;
	if (!n)
		return;
	batch = malloc(sizeof(*batch) + n * sizeof(int));
	if (batch) {
		batch->n = 0;
		for (size_t i = 0; i < n_fds; i++)
			if (fds[i] >= 0)
				batch->fds[batch->n++] = fds[i];
		pthread_mutex_lock(&closer_mutex);
		handed = closer_start();
		if (handed) {
			batch->next = NULL;
			*closer_tailp = batch;
			closer_tailp = &TAKE_PTR(batch)->next;
			pthread_cond_signal(&closer_cond);
		}
		pthread_mutex_unlock(&closer_mutex);
	}
	free(batch);
	for (size_t i = 0; i < n_fds && !handed; i++)
		if (fds[i] >= 0)
			close(fds[i]);
}

/* --- requests --------------------------------------------------------------------------------------------- */

static void request_link(struct request_list *list, struct control_request *r)
{
	r->prev = NULL;
	r->next = list->head;
	if (list->head)
		list->head->prev = r;
	list->head = r;
	list->n++;
}

static void request_unlink(struct request_list *list, struct control_request *r)
{
	assert(list->n > 0);
	if (r->prev)
		r->prev->next = r->next;
	else
		list->head = r->next;
	if (r->next)
		r->next->prev = r->prev;
	list->n--;
}

static struct request_list *request_list(struct control_request *r)
{
	return r->connection ? &r->connection->requests : &r->control->orphans;
}

static void request_free(struct control_request *r)
{
	request_unlink(request_list(r), r);
	json_decref(r->id);
	free(r);
}

struct control_request *control_request_local(struct control *c, struct control_local *l)
{
	struct control_request *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->control = c;
	r->local = l;
	request_link(&c->orphans, r);
	return r;
}

bool control_request_is_gone(const struct control_request *r)
{
	return !r->connection && !r->local;
}

void control_request_on_gone(struct control_request *r, void (*fn)(void *arg), void *arg)
{
	if (control_request_is_gone(r)) {
		fn(arg);
		return;
	}
	r->gone = fn;
	r->gone_arg = arg;
}

bool control_request_peer(const struct control_request *r, struct ucred *peerp)
{
	if (!r->connection)
		return false;
	*peerp = r->connection->peer;
	return true;
}

/* --- output ----------------------------------------------------------------------------------------------- */

static void connection_doom(struct connection *c)
{
	c->doomed = true;
	c->control->dirty = true;
}

static bool out_reserve(struct connection *c, size_t n)
{
	size_t size = c->out_size ? c->out_size : 4096;
	char *out;

	if (c->out_start > c->out_len / 2) {	/* moves fewer bytes than have been sent since the last time */
		memmove(c->out, c->out + c->out_start, c->out_len - c->out_start);
		c->out_len -= c->out_start;
		c->out_released -= c->out_start;
		c->out_start = 0;
	}
	while (size < c->out_len + n)
		size *= 2;
	if (size == c->out_size)
		return true;
	out = realloc(c->out, size);
	if (!out)
		return false;
	c->out = out;
	c->out_size = size;
	return true;
}

/* A connection for which there is no room any more (it does not read, or memory is out) is doomed. */
static void connection_put(struct connection *c, const char *text, size_t len)
{
	if (c->doomed || c->mute)
		return;
	if (len + 1 > CONTROL_MAX_OUT - (c->out_len - c->out_start) ||
	    (c->out_size - c->out_len < len + 1 && !out_reserve(c, len + 1))) {
		connection_doom(c);
		return;
	}
	memcpy(c->out + c->out_len, text, len);
	c->out[c->out_len + len] = '\n';
	c->out_len += len + 1;
	c->control->dirty = true;
}

/* Takes `message`; false: no memory, or a tree that cannot be written. */
static bool connection_put_json(struct connection *c, json_t *message)
{
	char *text = message ? json_dumps(message, JSON_COMPACT) : NULL;

	json_decref(message);
	if (!text)
		return false;
	connection_put(c, text, strlen(text));
	free(text);
	return true;
}

/* Text that may hold anything, as a JSON string. */
static json_t *json_text(const char *text)
{
	json_t *json = json_string(text);
	size_t size;
	char *safe;

	if (json)
		return json;
	size = escape_bytes(NULL, 0, text, strlen(text)) + 1;
	safe = malloc(size);
	if (!safe)
		return NULL;
	escape_bytes(safe, size, text, strlen(text));
	json = json_string(safe);
	free(safe);
	return json;
}

__attribute__((format(printf, 5, 0)))
static void connection_put_error(struct connection *c, json_t *id, int code, const char *name, const char *fmt,
				 va_list ap)
{
	char *detail = NULL, *text = NULL;
	json_t *error = NULL;

	if (vasprintf(&detail, fmt, ap) < 0)
		detail = NULL;
	if (detail && asprintf(&text, "%s%s%s%s", name ? "[" : "", name ? name : "", name ? "] " : "", detail) < 0)
		text = NULL;
	if (text)
		error = json_pack("{s:i, s:o}", "code", code, "message", json_text(text));
	if (error && name)
		json_object_set_new(error, "data", json_pack("{s:s}", "code", name));
	if (!error || !connection_put_json(c, json_pack("{s:s, s:o, s:O}", "jsonrpc", "2.0", "error", error, "id", id)))
		connection_doom(c);	/* no memory: an unanswered request must not wait for ever */
	free(detail);
	free(text);
}

/* An error that answers no request: what came was none. id is null, as JSON-RPC says. */
__attribute__((format(printf, 3, 4)))
static void connection_error(struct connection *c, int code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	connection_put_error(c, json_null(), code, NULL, fmt, ap);
	va_end(ap);
}

void control_error(struct control_request *r, int code, const char *name, const char *fmt, ...)
{
	_cleanup_free_ char *text = NULL;
	va_list ap;

	if (r->local) {
		va_start(ap, fmt);
		if (vasprintf(&text, fmt, ap) < 0)
			text = NULL;
		va_end(ap);
		r->local->answer(r->local, NULL, name, text ? text : "out of memory");
	}
	if (r->connection && r->id) {
		va_start(ap, fmt);
		connection_put_error(r->connection, r->id, code, name, fmt, ap);
		va_end(ap);
	}
	if (r->connection)
		r->control->dirty = true;	/* a half-closed connection goes with its last request */
	request_free(r);
}

void control_reply(struct control_request *r, json_t *result)
{
	json_t *message;

	if (r->local) {
		r->local->answer(r->local, result, NULL, "the result could not be made");
		request_free(r);
		return;
	}
	if (!r->connection || !r->id) {
		json_decref(result);
		if (r->connection)
			r->control->dirty = true;
		request_free(r);
		return;
	}
	message = result ? json_pack("{s:s, s:o, s:O}", "jsonrpc", "2.0", "result", result, "id", r->id) : NULL;
	if (!connection_put_json(r->connection, message))
		control_error(r, CONTROL_INTERNAL, NULL, "the result could not be written");
	else
		request_free(r);
}

static void out_sent(struct connection *c, size_t n)
{
	c->out_start += n;
	if (c->out_start == c->out_len) {
		free(TAKE_PTR(c->out));
		c->out_start = c->out_len = c->out_released = c->out_size = 0;
		if (c->server.ops)
			c->server.ops->drained(c->server.ctx);
	}
}

/* Send what may leave. */
static void connection_send(struct connection *c)
{
	size_t budget = SEND_BUDGET;

	while (c->out_start < c->out_released && budget) {
		size_t len = c->out_released - c->out_start;
		ssize_t n = send(c->fd, c->out + c->out_start, len < budget ? len : budget,
				 MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS || errno == ENOMEM))
			return;
		if (n < 0) {
			c->mute = true;
			out_sent(c, c->out_len - c->out_start);
			return;
		}
		out_sent(c, (size_t)n);
		budget -= (size_t)n;
	}
}

/* --- a connection that serves ------------------------------------------------------------------------------- */

void *control_serving(const struct control_request *r)
{
	return r->connection && r->connection->server.ops ? r->connection->server.ctx : NULL;
}

struct control_server *control_serve(struct control_request *r, const struct control_server_ops *ops, void *ctx)
{
	struct connection *c = r->connection;

	if (!c || c->doomed)
		return NULL;
	assert(!c->server.ops);
	c->server = (struct control_server){ ops, ctx };
	return &c->server;
}

void control_ask(struct control_server *s, const char *text, size_t len)
{
	connection_put(container_of(s, struct connection, server), text, len);
}

size_t control_waiting(const struct control_server *s)
{
	const struct connection *c = container_of(s, struct connection, server);

	return c->out_len - c->out_start;
}

static void server_end(struct connection *c)
{
	struct control_server s = c->server;

	c->server = (struct control_server){ 0 };
	if (s.ops)
		s.ops->gone(s.ctx);
}

/* --- connections ------------------------------------------------------------------------------------------ */

static void connection_free(struct connection *c)
{
	assert(!c->requests.head && !c->busy);
	loop_remove(c->control->loop, &c->source);
	close(c->fd);
	close_foreign(c->fds, c->n_fds);
	if (c->prev)
		c->prev->next = c->next;
	else
		c->control->connections = c->next;
	if (c->next)
		c->next->prev = c->prev;
	c->control->n_connections--;
	free(c->in);
	free(c->out);
	free(c);
}

/* Its requests go on without it; whoever asked to know is told, and may answer any of them right there. */
static void connection_gone(struct connection *c)
{
	struct control_request *r;

	assert(!c->busy);
	server_end(c);
	c->busy = true;
	while ((r = c->requests.head)) {
		void (*fn)(void *arg) = r->gone;

		request_unlink(&c->requests, r);
		r->connection = NULL;
		r->gone = NULL;
		request_link(&c->control->orphans, r);
		if (fn)
			fn(r->gone_arg);
	}
	c->busy = false;
	connection_free(c);
}

static bool has_input(const struct connection *c)
{
	struct pollfd p = { .fd = c->fd, .events = POLLIN };

	return poll(&p, 1, 0) > 0;
}

static bool connection_is_done(const struct connection *c)
{
	bool drained = c->out_start == c->out_len;

	/* Who cannot be asked any more serves nobody; what it said before counts. */
	return c->doomed || (c->mute && c->server.ops && !has_input(c)) || (c->closing && drained) || (c->eof && drained && !c->requests.head);
}

/* After anything that may have changed what it waits for. */
static int connection_settle(struct connection *c)
{
	uint32_t events = 0;

	if (c->busy)
		return 0;
	if (c->eof || c->closing)
		server_end(c);
	if (connection_is_done(c)) {
		connection_gone(c);
		return 0;
	}
	if (!c->eof && !c->closing)
		events |= EPOLLIN;
	if (c->out_start < c->out_released)
		events |= EPOLLOUT;
	return events == c->source.events ? 0 : loop_modify(c->control->loop, &c->source, events);
}

/* --- input ------------------------------------------------------------------------------------------------ */

static struct control_request *request_new(struct connection *c, json_t *id)
{
	struct control_request *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->control = c->control;
	r->connection = c;
	r->id = json_incref(id);
	request_link(&c->requests, r);
	return r;
}

static int request_dispatch(struct connection *c, const struct control_method *m, json_t *request, int *fds,
			    size_t n_fds)
{
	struct control_request *r = request_new(c, json_object_get(request, "id"));

	if (!r)
		return error_origin(ENOMEM);
	if (!m->name) {
		const char *name = json_string_value(json_object_get(request, "method"));
		char shown[NAME_SHOWN];

		escape_bytes(shown, sizeof(shown), name, strlen(name));
		control_error(r, CONTROL_METHOD_NOT_FOUND, NULL, "unknown method \"%s\"", shown);
		return 0;
	}
	if (c->requests.n > CONTROL_MAX_PENDING) {
		control_error(r, CONTROL_KERNEL_ERROR, "TOO_MANY_REQUESTS",
			      "%u requests of this connection are unanswered", CONTROL_MAX_PENDING);
		return 0;
	}
	return m->handle(c->control->ctx, r, json_object_get(request, "params"), fds, n_fds);
}

/* NULL: a request, fully checked but for its method's name. Else the sentence that says why not. */
static const char *request_check(const json_t *request)
{
	const json_t *version = json_object_get(request, "jsonrpc"), *id = json_object_get(request, "id"),
		     *params = json_object_get(request, "params");

	if (json_is_array(request))
		return "batches are not taken; send one request a line";
	if (!json_is_object(request))
		return "a request is an object";
	if (!json_is_string(version) || strcmp(json_string_value(version), "2.0"))
		return "jsonrpc: expected \"2.0\"";
	if (id && !json_is_string(id) && !json_is_number(id) && !json_is_null(id))
		return "id: expected a string, a number or null";
	if (json_is_string(id) && json_string_length(id) > ID_MAX)
		return "id: expected at most 256 bytes";
	if (!json_is_string(json_object_get(request, "method")))
		return "method: expected a string";
	if (params && !json_is_object(params) && !json_is_array(params))
		return "params: expected an object or an array";
	return NULL;
}

/* NULL: `out` is the answer. Else the sentence that says why it is none. */
static const char *answer_check(const json_t *message, struct control_answer *out)
{
	const json_t *version = json_object_get(message, "jsonrpc"), *result = json_object_get(message, "result"),
		     *error = json_object_get(message, "error"), *text = json_object_get(error, "message");

	if (!json_is_string(version) || strcmp(json_string_value(version), "2.0"))
		return "jsonrpc: expected \"2.0\"";
	if (result && error)
		return "expected a result or an error, not both";
	if (error && !json_is_object(error))
		return "error: expected an object";
	if (error && !json_is_integer(json_object_get(error, "code")))
		return "error.code: expected a whole number";
	if (error && !json_is_string(text))
		return "error.message: expected a string";
	*out = (struct control_answer){ .result = result, .error = json_string_value(text) };
	return NULL;
}

/* A malformed answer ends its request too, if it says which. */
static int connection_answer(struct connection *c, const json_t *message)
{
	const json_t *id = json_object_get(message, "id");
	struct control_answer a = { 0 };
	const char *wrong = answer_check(message, &a);
	json_int_t n = json_is_integer(id) ? json_integer_value(id) : -1;
	int r = CONTROL_E_NO_REQUEST;

	a.malformed = wrong;
	if (n >= 0 && c->server.ops)
		r = c->server.ops->answer(c->server.ctx, (uint64_t)n, &a);
	if (r < 0)
		return r;
	if (wrong)
		connection_error(c, CONTROL_INVALID_REQUEST, "invalid answer: %s", wrong);
	else if (r && json_is_integer(id))
		connection_error(c, CONTROL_INVALID_REQUEST, "invalid answer: no request %lld waits for one", (long long)n);
	else if (r)
		connection_error(c, CONTROL_INVALID_REQUEST, "invalid answer: id: expected that of a request");
	return 0;
}

static bool is_answer(const json_t *message)
{
	return json_is_object(message) && !json_object_get(message, "method") &&
	       (json_object_get(message, "result") || json_object_get(message, "error"));
}

static int connection_request(struct connection *c, json_t *request, int *fds, size_t n_fds)
{
	const struct control_method *m = c->control->methods;
	const char *wrong = request_check(request), *name;

	if (wrong) {
		connection_error(c, CONTROL_INVALID_REQUEST, "invalid request: %s", wrong);
		return 0;
	}
	name = json_string_value(json_object_get(request, "method"));
	while (m->name && strcmp(m->name, name))
		m++;
	return request_dispatch(c, m, request, fds, n_fds);
}

static int connection_line(struct connection *c, const char *line, size_t len, int *fds, size_t n_fds)
{
	char why[sizeof(((json_error_t *)NULL)->text) * 4];
	json_error_t error;
	json_t *request;
	int r;

	if (len > CONTROL_MAX_REQUEST) {
		connection_error(c, CONTROL_INVALID_REQUEST, "a request is at most %u bytes", CONTROL_MAX_REQUEST);
		c->closing = true;
		return 0;
	}
	if (len == 0 || (len == 1 && line[0] == '\r'))
		return 0;
	request = json_loadb(line, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
	if (!request) {
		escape_bytes(why, sizeof(why), error.text, strlen(error.text));
		connection_error(c, CONTROL_PARSE_ERROR, "parse error at byte %d: %s", error.position, why);
		return 0;
	}
	r = is_answer(request) ? connection_answer(c, request) : connection_request(c, request, fds, n_fds);
	json_decref(request);
	return r;
}

/* Handle every complete line of `in`, of which bytes before `scanned` hold no newline. */
static int connection_lines(struct connection *c, size_t scanned)
{
	size_t start = 0;
	char *newline;
	int r = 0;

	while (!r && !c->closing && !c->doomed &&
	       (newline = memchr(c->in + scanned, '\n', c->in_len - scanned))) {
		size_t end = (size_t)(newline - c->in);
		size_t n = end + 1 == c->in_len ? c->n_fds : c->n_held;

		r = connection_line(c, c->in + start, end - start, c->fds, n);
		close_foreign(c->fds, n);
		memmove(c->fds, c->fds + n, (c->n_fds - n) * sizeof(int));
		c->n_fds -= n;
		c->n_held = 0;
		start = scanned = end + 1;
	}
	if (start) {
		memmove(c->in, c->in + start, c->in_len - start);
		c->in_len -= start;
	}
	c->n_held = c->n_fds;
	if (!r && !c->closing && c->in_len > CONTROL_MAX_REQUEST)
		r = connection_line(c, c->in, c->in_len, NULL, 0);
	if (c->in_len == 0 || c->closing) {
		free(TAKE_PTR(c->in));
		c->in_len = c->in_size = 0;
	}
	return r;
}

static void connection_take_fds(struct connection *c, struct msghdr *msg)
{
	for (struct cmsghdr *cm = CMSG_FIRSTHDR(msg); cm; cm = CMSG_NXTHDR(msg, cm)) {
		size_t n;

		if (cm->cmsg_level != SOL_SOCKET || cm->cmsg_type != SCM_RIGHTS)
			continue;
		n = (cm->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		assert(n <= ARRAY_LEN(c->fds) - c->n_fds);
		memcpy(c->fds + c->n_fds, CMSG_DATA(cm), n * sizeof(int));
		c->n_fds += n;
	}
	if (msg->msg_flags & MSG_CTRUNC) {
		connection_error(c, CONTROL_INTERNAL, "some of the file descriptors sent could not be received");
		c->closing = true;
	} else if (c->n_fds > CONTROL_MAX_FDS) {
		connection_error(c, CONTROL_INVALID_REQUEST, "a request carries at most %u file descriptors",
				 CONTROL_MAX_FDS);
		c->closing = true;
	}
}

static int in_reserve(struct connection *c)
{
	size_t size = c->in_size ? c->in_size : READ_SIZE;
	char *in;

	while (size < c->in_len + READ_SIZE)
		size *= 2;
	if (size == c->in_size)
		return 0;
	in = realloc(c->in, size);
	if (!in)
		return error_origin(ENOMEM);
	c->in = in;
	c->in_size = size;
	return 0;
}

/* What is left without a newline may be half a request: it is never run. */
static void connection_end(struct connection *c)
{
	c->eof = true;
	if (c->in_len)
		connection_error(c, CONTROL_PARSE_ERROR, "parse error: the last line does not end with a newline");
	free(TAKE_PTR(c->in));
	c->in_len = c->in_size = 0;
}

static int connection_read(struct connection *c)
{
	union { struct cmsghdr align; char buf[CMSG_SPACE(SCM_MAX * sizeof(int))]; } control;
	struct iovec iov;
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.buf,
			      .msg_controllen = sizeof(control.buf) };
	size_t scanned = c->in_len;
	ssize_t n;
	int r = in_reserve(c);

	if (r)
		return r;
	iov = (struct iovec){ .iov_base = c->in + c->in_len, .iov_len = READ_SIZE };
	n = recvmsg(c->fd, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	if (n < 0) {
		if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)
			c->doomed = true;	/* ECONNRESET and the like: the peer's doing */
		return 0;
	}
	c->in_len += (size_t)n;
	connection_take_fds(c, &msg);
	if (n == 0)
		connection_end(c);
	return c->in_len ? connection_lines(c, scanned) : 0;
}

static int connection_event(struct loop_source *s, uint32_t events)
{
	struct connection *c = container_of(s, struct connection, source);
	bool reads = !c->eof && !c->closing;
	int r = 0;

	c->busy = true;
	if (events & EPOLLOUT)
		connection_send(c);
	/* A hang-up counts only when everything that came before it is read. */
	if (reads && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		r = connection_read(c);
	if ((events & (EPOLLHUP | EPOLLERR)) && (!reads || c->eof))
		c->doomed = true;
	c->busy = false;
	return r ? r : connection_settle(c);
}

/* --- the listening socket --------------------------------------------------------------------------------- */

static int connection_new(struct control *control, int fd)
{
	struct connection *c = calloc(1, sizeof(*c));
	socklen_t len = sizeof(c->peer);
	int r;

	if (!c) {
		close(fd);
		return error_origin(ENOMEM);
	}
	c->control = control;
	c->fd = fd;
	c->source = (struct loop_source)LOOP_SOURCE_INIT(connection_event);
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &c->peer, &len))
		c->peer = (struct ucred){ .uid = (uid_t)-1, .gid = (gid_t)-1 };
	r = loop_add(control->loop, &c->source, fd, EPOLLIN);
	if (r) {
		close(fd);
		free(c);
		return r;
	}
	c->next = control->connections;
	if (c->next)
		c->next->prev = c;
	control->connections = c;
	control->n_connections++;
	return 0;
}

static void refuse(int fd)
{
	static const char text[] = "{\"jsonrpc\":\"2.0\",\"error\":{\"code\":-32000,\"message\":\"[TOO_MANY_CONNECTIONS] "
		"too many control connections\",\"data\":{\"code\":\"TOO_MANY_CONNECTIONS\"}},\"id\":null}\n";

	if (fd < 0)
		return;
	(void)!send(fd, text, sizeof(text) - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
	close(fd);
}

/* With no descriptor left a client can neither be taken nor refused, and the loop would spin on it. */
static void refuse_with_spare(struct control *c)
{
	if (c->spare_fd >= 0)
		close(c->spare_fd);
	refuse(accept4(c->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK));
	c->spare_fd = eventfd(0, EFD_CLOEXEC);
}

static int listen_event(struct loop_source *s, uint32_t events)
{
	struct control *c = container_of(s, struct control, source);
	int fd = accept4(c->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)events;
	if (fd < 0) {
		int e = errno;

		if (e == EMFILE || e == ENFILE)
			refuse_with_spare(c);
		return e == EBADF || e == EINVAL || e == ENOTSOCK ? error_origin(e) : 0;
	}
	if (c->n_connections == CONTROL_MAX_CONNECTIONS) {
		refuse(fd);
		return 0;
	}
	return connection_new(c, fd);
}

int control_new(struct control **controlp, struct loop *loop, int listen_fd, const struct control_method *methods,
		void *ctx)
{
	struct control *c = calloc(1, sizeof(*c));
	int r;

	if (!c) {
		close(listen_fd);
		return error_origin(ENOMEM);
	}
	c->loop = loop;
	c->listen_fd = listen_fd;
	c->methods = methods;
	c->ctx = ctx;
	c->source = (struct loop_source)LOOP_SOURCE_INIT(listen_event);
	c->spare_fd = eventfd(0, EFD_CLOEXEC);
	r = c->spare_fd < 0 ? error_origin(errno) : loop_add(loop, &c->source, listen_fd, EPOLLIN);
	if (r)
		control_free(c);
	else
		*controlp = c;
	return r;
}

struct control *control_free(struct control *c)
{
	if (!c)
		return NULL;
	while (c->connections) {
		while (c->connections->requests.head)
			request_free(c->connections->requests.head);
		connection_free(c->connections);
	}
	while (c->orphans.head)
		request_free(c->orphans.head);
	loop_remove(c->loop, &c->source);
	close(c->listen_fd);
	if (c->spare_fd >= 0)
		close(c->spare_fd);
	free(c);
	return NULL;
}

bool control_has_output(const struct control *c)
{
	return c->dirty;
}

bool control_is_drained(const struct control *c)
{
	const struct connection *i;

	for (i = c->connections; i; i = i->next)
		if (!i->doomed && i->out_start < i->out_len)
			return false;
	return true;
}

int control_flush(struct control *c)
{
	struct connection *next;
	int r = 0;

	c->dirty = false;
	for (struct connection *i = c->connections; i && !r; i = next) {
		next = i->next;
		i->out_released = i->out_len;
		if (!i->doomed)
			connection_send(i);
		r = connection_settle(i);
	}
	return r;
}
