/* SPDX-License-Identifier: Apache-2.0 */
/* Callers outside: connections to the control socket, what they asked and what they were answered. */
#include <sys/socket.h>
#include <sys/un.h>

#include "play.h"

static const char *const first_link = "host";

static int connect_to(struct runner *r)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", r->socket);
	if (fd < 0 || connect(fd, (struct sockaddr *)&addr, sizeof(addr)))
		runner_fail(r, "no connection to the control socket: %s", strerror(errno));
	return fd;
}

struct link *link_get(struct runner *r, const char *name)
{
	struct link *l, **p;

	for (p = &r->links; (l = *p); p = &l->next)
		if (!strcmp(l->name, name))
			return l;
	l = calloc(1, sizeof(*l));
	snprintf(l->name, sizeof(l->name), "%s", name);
	l->inbox = json_array();
	l->fd = connect_to(r);
	return *p = l;
}

void ask_forget(struct link *l, struct ask *a)
{
	struct ask **p;

	for (p = &l->asks; *p != a; p = &(*p)->next)
		;
	*p = a->next;
	json_decref(a->reply);
	free(a);
}

void link_close(struct runner *r, struct link *l)
{
	struct link **p;

	for (p = &r->links; *p != l; p = &(*p)->next)
		;
	*p = l->next;
	while (l->asks)
		ask_forget(l, l->asks);
	close(l->fd);
	json_decref(l->inbox);
	free(l->in);
	free(l);
}

void links_close(struct runner *r)
{
	while (r->links)
		link_close(r, r->links);
}

static void take_line(struct runner *r, struct link *l, const char *line, size_t len)
{
	json_error_t where;
	json_t *json = json_loadb(line, len, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &where), *id;
	struct ask *a;

	if (!json)
		runner_fail(r, "%s was sent a line that is not JSON: %.*s", l->name, (int)len, line);
	if (!json_object_get(json_object_get(json, "result"), "quiet"))	/* the runner's own question, over and over */
		runner_trace(r, "        %s <- %.*s", l->name, (int)(len < 2000 ? len : 2000), line);
	id = json_object_get(json, "id");
	for (a = l->asks; a; a = a->next)
		if (json_is_integer(id) && json_integer_value(id) == a->id && !a->reply &&
		    !json_object_get(json, "method")) {
			a->reply = json;
			return;
		}
	json_array_append_new(l->inbox, json);
}

bool link_read(struct runner *r, struct link *l)
{
	char buf[65536], *end;
	ssize_t n;

	if (l->ended)
		return false;
	n = recv(l->fd, buf, sizeof(buf), MSG_DONTWAIT);
	if (n < 0)
		return false;
	if (n == 0) {
		l->ended = true;
		return true;
	}
	l->in = realloc(l->in, l->in_len + n);
	memcpy(l->in + l->in_len, buf, n);
	l->in_len += n;
	while ((end = memchr(l->in, '\n', l->in_len))) {
		size_t len = end + 1 - l->in;

		take_line(r, l, l->in, len - 1);
		memmove(l->in, end + 1, l->in_len - len);
		l->in_len -= len;
	}
	return true;
}

static void send_all(struct runner *r, struct link *l, const char *data, size_t len, const int *fds, size_t n_fds)
{
	char control[CMSG_SPACE(sizeof(int) * 256)] = { 0 };

	while (len) {
		struct iovec iov = { (void *)data, len };
		struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
		ssize_t n;

		if (n_fds) {
			struct cmsghdr *c;

			m.msg_control = control;
			m.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
			c = CMSG_FIRSTHDR(&m);
			c->cmsg_level = SOL_SOCKET;
			c->cmsg_type = SCM_RIGHTS;
			c->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
			memcpy(CMSG_DATA(c), fds, n_fds * sizeof(int));
		}
		n = sendmsg(l->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && (errno == EPIPE || errno == ECONNRESET))
			return;
		if (n < 0 && errno != EAGAIN)
			runner_fail(r, "%s cannot send: %s", l->name, strerror(errno));
		if (n < 0) {
			backend_turn(r, 1);
			continue;
		}
		n_fds = 0;
		data += n;
		len -= n;
	}
}

void link_says(struct runner *r, struct link *l, const char *data, size_t len)
{
	runner_trace(r, "        %s -> %.*s", l->name, (int)(len < 2000 ? len : 2000), data);
	send_all(r, l, data, len, NULL, 0);
}

struct ask *link_ask(struct runner *r, struct link *l, const char *name, const char *method, json_t *params, const int *fds,
		     size_t n_fds)
{
	struct ask *a = calloc(1, sizeof(*a)), **p;
	json_t *request;
	char *text, *line;
	int n;

	snprintf(a->name, sizeof(a->name), "%s", name);
	a->id = ++r->next_id;
	for (p = &l->asks; *p; p = &(*p)->next)
		;
	*p = a;
	request = json_pack("{sssIssso*}", "jsonrpc", "2.0", "id", a->id, "method", method, "params", params);
	text = json_dumps(request, JSON_COMPACT);
	json_decref(request);
	n = asprintf(&line, "%s\n", text);
	free(text);
	if (strcmp(method, "getStatus"))
		runner_trace(r, "        %s -> %.*s", l->name, n - 1 < 2000 ? n - 1 : 2000, line);
	send_all(r, l, line, n, fds, n_fds);
	free(line);
	return a;
}

struct ask *ask_find(struct runner *r, const char *name, struct link **linkp)
{
	struct link *l;
	struct ask *a;

	for (l = r->links; l; l = l->next)
		for (a = l->asks; a; a = a->next)
			if (!strcmp(a->name, name)) {
				*linkp = l;
				return a;
			}
	return NULL;
}

struct waited { struct link *link; struct ask *ask; };

static bool is_answered(struct runner *r, void *arg)
{
	struct waited *w = arg;

	if (w->link->ended && !w->ask->reply)
		runner_fail(r, "%s: its connection ended before an answer", w->link->name);
	return w->ask->reply;
}

json_t *link_call(struct runner *r, const char *method, json_t *params)
{
	struct link *l = link_get(r, first_link);
	struct waited w = { l, link_ask(r, l, "", method, params, NULL, 0) };
	json_t *reply;

	backend_await(r, is_answered, &w, method);
	reply = json_incref(w.ask->reply);
	ask_forget(l, w.ask);
	return reply;
}

/* --- comparing -------------------------------------------------------------------------------------------------------- */

static char *differ(const json_t *want, const json_t *got)
{
	_cleanup_free_ char *a = want ? json_dumps(want, JSON_COMPACT | JSON_ENCODE_ANY) : strdup("nothing");
	_cleanup_free_ char *b = got ? json_dumps(got, JSON_COMPACT | JSON_ENCODE_ANY) : strdup("nothing");
	char *out;

	if (asprintf(&out, "expected %s\n       came     %s", a, b) < 0)
		return NULL;
	return out;
}

/* ["…", A, B]: a list in which A is, and B behind it. */
static char *some_are_missing(const json_t *want, const json_t *got)
{
	size_t i, at = 0;

	for (i = 1; i < json_array_size(want); i++) {
		char *d = NULL;

		for (; at < json_array_size(got); at++) {
			d = json_differs(json_array_get(want, i), json_array_get(got, at), true);
			if (!d)
				break;
			free(d);
		}
		if (at++ == json_array_size(got))
			return differ(json_array_get(want, i), got);
	}
	return NULL;
}

char *json_differs(const json_t *want, const json_t *got, bool contained)
{
	const char *key;
	json_t *value;
	size_t i;

	if (json_is_string(want) && json_is_string(got) && json_string_value(want)[0] == '~')
		return strstr(json_string_value(got), json_string_value(want) + 1) ? NULL : differ(want, got);
	if (json_typeof(want) != json_typeof(got))
		return differ(want, got);
	if (json_is_object(want)) {
		if (!contained && json_object_size(want) != json_object_size(got))
			return differ(want, got);
		json_object_foreach((json_t *)want, key, value) {
			json_t *other = json_object_get(got, key);
			char *d = other ? json_differs(value, other, contained) : differ(want, got);

			if (d)
				return d;
		}
		return NULL;
	}
	if (json_is_array(want) && contained && json_is_string(json_array_get(want, 0)) &&
	    !strcmp(json_string_value(json_array_get(want, 0)), "…"))
		return some_are_missing(want, got);
	if (json_is_array(want)) {
		if (json_array_size(want) != json_array_size(got))
			return differ(want, got);
		json_array_foreach(want, i, value) {
			char *d = json_differs(value, json_array_get(got, i), contained);

			if (d)
				return d;
		}
		return NULL;
	}
	return json_equal(want, got) ? NULL : differ(want, got);
}
