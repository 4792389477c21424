/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The socket's clients: see serve.h.
 *
 *	idle ── a whole line ──▶ answering ── all bytes left ──▶ idle
 *	  EPOLLIN                  EPOLLOUT
 *
 * A connection that has something to do waits for EPOLLOUT, also when what it has to do is the next line that it
 * already holds; else for EPOLLIN. One that streams events and has none waits to be told of some, and passes over
 * what else it is sent. After the end of its input (a client that shut down its writing side) it is answered what it
 * has asked.
 */
#include "serve.h"

#include <fcntl.h>
#include <sys/socket.h>

#include "answer.h"

#define ACCEPT_RETRY_MS	1000	/* no descriptors, no memory: others may go meanwhile */

struct client {
	struct loop_source source;
	struct serve *serve;
	struct client *prev, *next;
	int fd;
	struct peer peer;
	struct charge charge;
	struct watcher watcher;		/* for events */
	uint64_t progress_ns;		/* monotonic: the last byte that came or went, or began to wait */
	char in[REQUEST_MAX];
	size_t in_len;
	struct answer answer;
	size_t n_sent;			/* of head and body */
	bool eof;			/* nothing more will come */
	bool closing;			/* nothing more is wanted */
};

struct serve {
	struct common *common;
	struct loop_source source;	/* the listening socket */
	struct client *clients;
	size_t n_clients;
	uint64_t retry_ns;		/* when to listen again; 0: listening */
};

/* --- clients ----------------------------------------------------------------------------------------------------- */

static void client_free(struct client *c)
{
	struct serve *s = c->serve;

	if (c->prev)
		c->prev->next = c->next;
	else
		s->clients = c->next;
	if (c->next)
		c->next->prev = c->prev;
	s->n_clients--;
	loop_remove(&s->common->loop, &c->source);
	watch_stop(&s->common->watch, &c->watcher);
	charge_drop(&s->common->charges, &c->charge);
	answer_deinit(&c->answer);
	free(c->peer.groups);
	closep(&c->fd);
	free(c);
}

static size_t pending(const struct client *c)
{
	return c->answer.head_len + c->answer.body.len - c->n_sent;
}

/* The first whole line of what came; NULL: there is none. */
static char *line_end(struct client *c)
{
	return memchr(c->in, '\n', c->in_len);
}

static bool has_work(struct client *c)
{
	if (pending(c) || answer_ready(&c->answer, c->serve->common))
		return true;
	return c->answer.end && !c->closing && line_end(c);
}

/* In the middle of a stream that has nothing to say. */
static bool waits_for_events(const struct client *c)
{
	return !c->answer.end && !pending(c) && !answer_ready(&c->answer, c->serve->common);
}

/* Its answer is what it holds most of. Beyond its share: an error instead. */
static void charge_answer(struct client *c)
{
	struct charges *charges = &c->serve->common->charges;
	int error = charge_resize(charges, &c->charge, sizeof(*c) + answer_bytes(&c->answer));

	if (!error)
		return;
	answer_deinit(&c->answer);
	answer_error(&c->answer, error, NULL);
}

static void answer_line(struct client *c, char *end)
{
	size_t len = (size_t)(end - c->in);
	char error[REQUEST_ERROR_MAX];
	struct request *r = malloc(sizeof(*r));

	if (!r)
		answer_error(&c->answer, ENOMEM, NULL);
	else if (!request_parse(r, c->in, len, error))
		answer_error(&c->answer, EINVAL, error);
	else
		answer_begin(&c->answer, c->serve->common, &c->peer, r);
	free(r);
	c->in_len -= len + 1;
	memmove(c->in, end + 1, c->in_len);
}

/* Something to send, when there is something to say. */
static void make_piece(struct client *c)
{
	if (pending(c) || !has_work(c))
		return;
	if (answer_ready(&c->answer, c->serve->common))
		answer_more(&c->answer, c->serve->common, &c->peer);
	else
		answer_line(c, line_end(c));
	c->n_sent = 0;
	if (c->answer.end)
		text_shrink(&c->answer.body);
	charge_answer(c);
	c->progress_ns = now_monotonic_ns();
	c->closing |= c->answer.body.failed;	/* not even room for an error */
}

/* False: it has gone. */
static bool send_bytes(struct client *c, const char *data, size_t len)
{
	ssize_t n = send(c->fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	if (n) {
		c->n_sent += (size_t)n;
		c->progress_ns = now_monotonic_ns();
	}
	return true;
}

static bool send_piece(struct client *c)
{
	const struct answer *a = &c->answer;
	size_t at;

	if (c->n_sent < a->head_len && !send_bytes(c, a->head + c->n_sent, a->head_len - c->n_sent))
		return false;
	if (c->n_sent < a->head_len || !pending(c))
		return true;
	at = c->n_sent - a->head_len;
	return send_bytes(c, a->body.data + at, a->body.len - at);
}

/* An answer that has left gives back its memory. */
static void forget_answer(struct client *c)
{
	int r;

	if (pending(c) || !c->answer.end || !c->answer.body.size)
		return;
	answer_deinit(&c->answer);
	c->n_sent = 0;
	r = charge_resize(&c->serve->common->charges, &c->charge, sizeof(*c));
	assert(!r);	/* less is always granted */
}

static void receive(struct client *c)
{
	ssize_t n = recv(c->fd, c->in + c->in_len, sizeof(c->in) - c->in_len, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		c->eof = true;
		return;
	}
	c->progress_ns = now_monotonic_ns();
	if (!c->answer.end)
		return;
	c->in_len += (size_t)n;
	if (c->in_len == sizeof(c->in) && !line_end(c)) {
		answer_error(&c->answer, EMSGSIZE, "a request is a line of at most 8192 bytes");
		c->closing = true;
	}
}

/* The state decides what it waits for; or it has nothing to wait for, and goes. */
static int wait_for_more(struct client *c)
{
	struct common *common = c->serve->common;

	if (waits_for_events(c) && !c->closing) {
		c->in_len = 0;	/* nothing is answered behind a stream */
		watch_wait(&common->watch, &c->watcher);
		return loop_modify(&common->loop, &c->source, c->eof ? 0 : EPOLLIN);
	}
	watch_stop(&common->watch, &c->watcher);
	if (has_work(c))
		return loop_modify(&common->loop, &c->source, EPOLLOUT);
	if (!c->eof && !c->closing)
		return loop_modify(&common->loop, &c->source, EPOLLIN);
	client_free(c);
	return 0;
}

static int on_client(struct loop_source *source, uint32_t events)
{
	struct client *c = container_of(source, struct client, source);

	if (events & EPOLLIN)
		receive(c);
	make_piece(c);
	if ((events & (EPOLLERR | EPOLLHUP)) || !send_piece(c)) {
		client_free(c);
		return 0;
	}
	forget_answer(c);
	return wait_for_more(c);
}

/* There may be events. */
static void on_events(struct watcher *w)
{
	struct client *c = container_of(w, struct client, watcher);

	if (answer_ready(&c->answer, c->serve->common))
		wait_for_more(c);	/* the loop's own failure shows itself in its next round */
}

/* --- those who come ---------------------------------------------------------------------------------------------- */

static int peer_groups(int fd, struct peer *p)
{
	socklen_t size = 0;

	/* Asked for nothing, the kernel says how much there is. */
	if (!getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, NULL, &size) || errno != ERANGE)
		return 0;
	p->groups = malloc(size);
	if (!p->groups)
		return ENOMEM;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, p->groups, &size))
		return EACCES;
	p->n_groups = size / sizeof(*p->groups);
	return 0;
}

static int peer_init(struct peer *p, int fd)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len))
		return EACCES;
	*p = (struct peer){ .uid = cred.uid, .gid = cred.gid };
	return peer_groups(fd, p);
}

static int may_come(const struct serve *s, uid_t uid)
{
	size_t n = 0;

	for (const struct client *c = s->clients; c; c = c->next)
		n += c->peer.uid == uid;
	if (n >= SERVE_MAX_UID_CLIENTS)
		return EMFILE;
	/* Several users together cannot shut out root. */
	return s->n_clients >= SERVE_MAX_CLIENTS + (uid ? 0 : SERVE_MAX_UID_CLIENTS) ? ENFILE : 0;
}

/* Why it is sent away. A fresh socket takes a line at once. */
static void refuse(int fd, int error)
{
	struct answer a = ANSWER_INIT;

	answer_error(&a, error, NULL);
	if (!a.body.failed)
		send(fd, a.body.data, a.body.len, MSG_NOSIGNAL | MSG_DONTWAIT);
	answer_deinit(&a);
}

static void link_client(struct client *c)
{
	struct serve *s = c->serve;

	c->next = s->clients;
	if (c->next)
		c->next->prev = c;
	s->clients = c;
	s->n_clients++;
}

/* Takes the descriptor, unless it says why not. */
static int client_new(struct serve *s, int fd)
{
	struct client *c = calloc(1, sizeof(*c));
	int error;

	if (!c)
		return ENOMEM;
	error = peer_init(&c->peer, fd);
	if (!error)
		error = may_come(s, c->peer.uid);
	if (!error)
		error = charge_take(&s->common->charges, &c->charge, c->peer.uid, sizeof(*c));
	if (error) {
		free(c->peer.groups);
		free(c);
		return error;
	}
	c->source = (struct loop_source)LOOP_SOURCE_INIT(on_client);
	c->watcher = (struct watcher)WATCHER_INIT(on_events);
	c->serve = s;
	c->fd = fd;
	c->answer = (struct answer)ANSWER_INIT;
	c->progress_ns = now_monotonic_ns();
	link_client(c);
	if (loop_add(&s->common->loop, &c->source, fd, EPOLLIN))
		client_free(c);
	return 0;
}

static int on_listen(struct loop_source *source, uint32_t events)
{
	struct serve *s = container_of(source, struct serve, source);
	int fd = accept4(source->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK), error;

	(void)events;
	if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)) {
		s->retry_ns = now_monotonic_ns() + ACCEPT_RETRY_MS * UINT64_C(1000000);
		return loop_modify(&s->common->loop, source, 0);
	}
	if (fd < 0)	/* it has gone again, or somebody else has it */
		return 0;
	error = client_new(s, fd);
	if (error) {
		refuse(fd, error);
		close(fd);
	}
	return 0;
}

/* --- life -------------------------------------------------------------------------------------------------------- */

int serve_new(struct serve **servep, struct common *common, int listen_fd)
{
	struct serve *s = calloc(1, sizeof(*s));
	int flags = fcntl(listen_fd, F_GETFL), r;

	if (!s)
		return error_origin(ENOMEM);
	s->common = common;
	s->source = (struct loop_source)LOOP_SOURCE_INIT(on_listen);
	r = flags < 0 || fcntl(listen_fd, F_SETFL, flags | O_NONBLOCK) ? error_origin(errno) : 0;
	if (!r)
		r = loop_add(&common->loop, &s->source, listen_fd, EPOLLIN);
	if (r) {
		free(s);
		return error_trace(r);
	}
	*servep = s;
	return 0;
}

struct serve *serve_free(struct serve *s)
{
	if (!s)
		return NULL;
	while (s->clients)
		client_free(s->clients);
	loop_remove(&s->common->loop, &s->source);
	free(s);
	return NULL;
}

/* Who waits for events may wait for ever. */
static uint64_t patience_ends(const struct client *c)
{
	return waits_for_events(c) ? UINT64_MAX : c->progress_ns + SERVE_PATIENCE_MS * UINT64_C(1000000);
}

int serve_timeout_ms(const struct serve *s)
{
	uint64_t first = s->retry_ns ? s->retry_ns : UINT64_MAX, now = now_monotonic_ns();

	for (const struct client *c = s->clients; c; c = c->next)
		if (patience_ends(c) < first)
			first = patience_ends(c);
	if (first == UINT64_MAX)
		return -1;
	return first <= now ? 0 : (int)((first - now) / 1000000 + 1);
}

void serve_tick(struct serve *s)
{
	uint64_t now = now_monotonic_ns();

	for (struct client *c = s->clients, *next; c; c = next) {
		next = c->next;
		if (patience_ends(c) <= now)
			client_free(c);
	}
	if (s->retry_ns && s->retry_ns <= now && !loop_modify(&s->common->loop, &s->source, EPOLLIN))
		s->retry_ns = 0;
}
