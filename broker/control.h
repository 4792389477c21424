/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control socket: newline-delimited JSON-RPC 2.0 over a Unix stream socket. This file knows connections,
 * requests, size limits, fds and the shape of replies; what the methods do is in methods.c.
 *
 * A request may be answered at once or later; its connection may be gone by then (the answer is dropped, and
 * control_request_is_gone() says so). Replies are buffered: the broker commits what they speak of, then calls
 * control_flush(). A connection that does not read is closed when CONTROL_MAX_OUT bytes wait for it. A half-closed one
 * (the client shut its writing side) stays until all is answered.
 *
 * Descriptors: a client sends those of a request in one sendmsg, with the first byte of its line and nothing of any other
 * request. Batches are refused. A request without id (a notification) is carried out and never answered.
 *
 * A connection can be asked too: control_serve() makes it *serve*, from then on until it can answer no more. What it is asked
 * are requests of ours by the same rules, and lines with "result" or "error" and without "method" are its answers.
 */
#ifndef CAPSTAN_CONTROL_H
#define CAPSTAN_CONTROL_H

#include <jansson.h>
#include <sys/socket.h>

#include "../lib/loop.h"

#define CONTROL_MAX_REQUEST	(4u << 20)	/* bytes of one line */
#define CONTROL_MAX_OUT		(64u << 20)
#define CONTROL_MAX_FDS		250u		/* fds waiting on one connection */
#define CONTROL_MAX_CONNECTIONS	256u
#define CONTROL_MAX_PENDING	10000u		/* unanswered requests of one connection */

/* JSON-RPC error codes: the standard ones, and ours. The text of ours is the kernel's code ("OBJECT_DELETED"). */
enum control_code {
	CONTROL_PARSE_ERROR = -32700, CONTROL_INVALID_REQUEST = -32600, CONTROL_METHOD_NOT_FOUND = -32601,
	CONTROL_INVALID_PARAMS = -32602, CONTROL_INTERNAL = -32603,
	CONTROL_KERNEL_ERROR = -32000,		/* message "[CODE] detail", data {"code":"CODE"} */
};

struct control;
struct control_request;				/* owned by control until answered; answer exactly once */
/*
 * Called for each well-formed request of a known method. `params` (borrowed; NULL when absent), `fds` those that came
 * with the request's bytes: the handler takes one by setting its slot to -1; the rest are closed after it returns.
 * Negative: fatal.
 */
typedef int (*control_handler)(void *ctx, struct control_request *r, json_t *params, int *fds, size_t n_fds);
struct control_method { const char *name; control_handler handle; };

/* `methods` ends with a NULL name. Takes listen_fd. */
int control_new(struct control **controlp, struct loop *loop, int listen_fd, const struct control_method *methods, void *ctx);
struct control *control_free(struct control *c);	/* unanswered requests die with it */

void control_reply(struct control_request *r, json_t *result);	/* takes the reference of result */
void control_error(struct control_request *r, int code, const char *name, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));			/* name: kernel code for CONTROL_KERNEL_ERROR, else NULL */
/*
 * A request of somebody inside, without a connection: the answer is given to `answer` (result taken, or NULL and the error's name,
 * which may be NULL, and text), from wherever it is made, so it may only be noted there. NULL: no memory.
 */
struct control_local {
	void (*answer)(struct control_local *l, json_t *result, const char *name, const char *text);
	void *ctx;
};
struct control_request *control_request_local(struct control *c, struct control_local *l);
bool control_request_is_gone(const struct control_request *r);
/*
 * Called once when the connection of an unanswered request goes away, at once if it is gone (the request must still be
 * answered, and may be within fn). One fn a request. fn does not flush. control_free() calls nothing.
 */
void control_request_on_gone(struct control_request *r, void (*fn)(void *arg), void *arg);
/* Who connected, as the kernel recorded it then; false: the connection is gone. */
bool control_request_peer(const struct control_request *r, struct ucred *peerp);

/* Exactly one of the three. */
struct control_answer {
	const json_t *result;
	const char *error;		/* its message */
	const char *malformed;		/* what is wrong with the line */
};
enum { CONTROL_E_NO_REQUEST = 1 };
struct control_server_ops {
	/* CONTROL_E_NO_REQUEST: nothing of that id waits for an answer of this one. Negative: fatal. */
	int (*answer)(void *ctx, uint64_t id, const struct control_answer *a);
	/* These two note it and no more: they come from anywhere, also from within control_flush(). */
	void (*drained)(void *ctx);	/* all that waited for it has left */
	void (*gone)(void *ctx);	/* it can answer no more; the server is no more. Not at control_free() */
};
struct control_server;			/* a connection that serves: part of it */
/* The ctx with which the request's connection serves already; NULL: it does not. */
void *control_serving(const struct control_request *r);
/* NULL: the connection is gone. */
struct control_server *control_serve(struct control_request *r, const struct control_server_ops *ops, void *ctx);
/* Ask: `text` is the whole line without its end. Held back like replies. */
void control_ask(struct control_server *s, const char *text, size_t len);
size_t control_waiting(const struct control_server *s);	/* bytes that have not left */

/* True: a flush has something to do (replies to release, connections to end). */
bool control_has_output(const struct control *c);
bool control_is_drained(const struct control *c);	/* all that was said has left, or nobody takes it any more */
int control_flush(struct control *c);

#endif
