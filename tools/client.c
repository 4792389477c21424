/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The CLI's end of the control socket. The broker is trusted to mean well but not to be healthy: whatever it sends, or
 * stops sending, ends in one line and an exit status.
 */
#include "client.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#define REQUEST_MAX	(4u << 20)	/* the broker's CONTROL_MAX_REQUEST */
#define FDS_MAX		250u		/* and its CONTROL_MAX_FDS */
#define REPLY_MAX	(80u << 20)	/* above what a broker keeps for one connection */
#define READ_SIZE	(64u << 10)

static int no_broker(const struct client *c, const char *why)
{
	if (errno == EACCES)
		return output_error(OUTPUT_NO_BROKER, "NO_BROKER", "%s/" CLIENT_SOCKET ": %s (root and the socket's group "
				    "may use it)", c->run_dir, why);
	return output_error(OUTPUT_NO_BROKER, "NO_BROKER", "%s/" CLIENT_SOCKET ": %s; no kernel answers there "
			    "(start one: capstand --run %s --state DIR)", c->run_dir, why, c->run_dir);
}

static int lost(void)
{
	return output_error(OUTPUT_NO_BROKER, "CONNECTION_LOST", "the kernel went away before it answered; "
			    "whether the request was carried out is not known");
}

int client_open(struct client *c, const char *run_dir)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	c->run_dir = run_dir;
	if ((size_t)snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/" CLIENT_SOCKET, run_dir) >=
	    sizeof(addr.sun_path)) {
		errno = ENAMETOOLONG;
		return no_broker(c, "longer than a socket's path can be");
	}
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		return no_broker(c, strerror(errno));
	return OUTPUT_OK;
}

void client_close(struct client *c)
{
	closep(&c->fd);
	free(c->in);
	*c = (struct client)CLIENT_INIT;
}

/* The descriptors go with the first byte. */
static bool send_all(int fd, const char *data, size_t len, const int *fds, size_t n_fds)
{
	union { struct cmsghdr align; char buf[CMSG_SPACE(FDS_MAX * sizeof(int))]; } control = { 0 };

	assert(n_fds <= FDS_MAX);
	while (len) {
		struct iovec iov = { .iov_base = (char *)(uintptr_t)data, .iov_len = len };
		struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
		ssize_t n;

		if (n_fds) {
			struct cmsghdr *cm = &control.align;

			msg.msg_control = control.buf;
			msg.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
			cm->cmsg_level = SOL_SOCKET;
			cm->cmsg_type = SCM_RIGHTS;
			cm->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
			memcpy(CMSG_DATA(cm), fds, n_fds * sizeof(int));
		}
		n = sendmsg(fd, &msg, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return false;
		n_fds = 0;
		data += n;
		len -= (size_t)n;
	}
	return true;
}

static int send_request(struct client *c, const char *method, json_t *params, const int *fds, size_t n_fds)
{
	json_t *request = json_pack("{s:s, s:I, s:s, s:o}", "jsonrpc", "2.0", "id", ++c->id, "method", method,
				    "params", params);
	_cleanup_free_ char *text = request ? json_dumps(request, JSON_COMPACT) : NULL;
	size_t len;

	json_decref(request);
	if (!text)
		return output_no_memory();
	len = strlen(text);
	if (len > REQUEST_MAX)
		return output_error(OUTPUT_REFUSED, "TOO_LARGE", "the request has %zu bytes, at most %u are taken", len,
				    REQUEST_MAX);
	text[len] = '\n';	/* takes the place of the NUL */
	if (!send_all(c->fd, text, len + 1, fds, n_fds)) {
		/* What it said before it closed (too many connections) is worth more than the broken pipe. */
		if (errno != EPIPE && errno != ECONNRESET)
			return output_error(OUTPUT_NO_BROKER, "CONNECTION_LOST", "cannot send: %s", strerror(errno));
	}
	return OUTPUT_OK;
}

/* Milliseconds left, for poll; -1 for ever. */
static int time_left(uint64_t deadline_ns)
{
	uint64_t now = now_monotonic_ns();

	if (deadline_ns == UINT64_MAX)
		return -1;
	return now >= deadline_ns ? 0 : (int)((deadline_ns - now + 999999) / 1000000);
}

/* More bytes into `in`. */
static int receive(struct client *c, uint64_t deadline_ns)
{
	struct pollfd p = { .fd = c->fd, .events = POLLIN };
	ssize_t n;
	char *in;

	if (c->in_size - c->in_len < READ_SIZE) {
		size_t size = c->in_size ? c->in_size * 2 : 2 * READ_SIZE;

		in = c->in_len < REPLY_MAX ? realloc(c->in, size) : NULL;
		if (!in)
			return output_error(OUTPUT_REFUSED, "TOO_LARGE", "the answer is too large");
		c->in = in;
		c->in_size = size;
	}
	for (;;) {
		int left = time_left(deadline_ns), r = poll(&p, 1, left);

		if (r < 0 && errno != EINTR)
			return lost();
		if (r == 0 && !time_left(deadline_ns))
			return output_error(OUTPUT_REFUSED, "TIMEOUT", "no answer in time; the request goes on");
		if (r <= 0)
			continue;
		n = recv(c->fd, c->in + c->in_len, READ_SIZE, MSG_DONTWAIT);
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n <= 0)
			return lost();
		c->in_len += (size_t)n;
		return OUTPUT_OK;
	}
}

static int receive_line(struct client *c, uint64_t deadline_ns, json_t **messagep)
{
	size_t scanned = 0;
	json_error_t error;
	char *newline;

	while (!(newline = c->in ? memchr(c->in + scanned, '\n', c->in_len - scanned) : NULL)) {
		int r;

		scanned = c->in_len;
		r = receive(c, deadline_ns);
		if (r)
			return r;
	}
	*messagep = json_loadb(c->in, (size_t)(newline - c->in), JSON_ALLOW_NUL, &error);
	c->in_len -= (size_t)(newline + 1 - c->in);
	memmove(c->in, newline + 1, c->in_len);
	if (!*messagep)
		return output_error(OUTPUT_REFUSED, "BAD_ANSWER", "what answers is no kernel: %s", error.text);
	return OUTPUT_OK;
}

static const char *code_name(json_int_t code)
{
	switch (code) {
	case -32700:
		return "PARSE_ERROR";
	case -32600:
		return "INVALID_REQUEST";
	case -32601:
		return "METHOD_NOT_FOUND";
	case -32602:
		return "INVALID_PARAMS";
	default:
		return "INTERNAL_ERROR";
	}
}

/* The kernel's own code is in data.code and, in brackets, in front of the message. */
static int report_error(const json_t *error)
{
	const char *code = json_string_value(json_object_get(json_object_get(error, "data"), "code"));
	const char *message = json_string_value(json_object_get(error, "message"));
	size_t n = code ? strlen(code) : 0;

	if (!message)
		message = "no message";
	if (code && message[0] == '[' && !strncmp(message + 1, code, n) && message[n + 1] == ']')
		message += n + 2 + (message[n + 2] == ' ');
	return output_error(OUTPUT_REFUSED, code ? code : code_name(json_integer_value(json_object_get(error, "code"))),
			    "%s", message);
}

void client_wait_end(struct client *c, int timeout_ms)
{
	uint64_t deadline = now_monotonic_ns() + (uint64_t)timeout_ms * 1000000;
	struct pollfd p = { .fd = c->fd, .events = POLLIN };
	char buf[4096];

	while (time_left(deadline)) {
		ssize_t n;

		if (poll(&p, 1, time_left(deadline)) <= 0)
			continue;
		n = recv(c->fd, buf, sizeof(buf), MSG_DONTWAIT);
		if (n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN))
			return;
	}
}

int client_call(struct client *c, const char *method, json_t *params, const int *fds, size_t n_fds, int timeout_ms,
		json_t **resultp)
{
	uint64_t deadline = timeout_ms < 0 ? UINT64_MAX : now_monotonic_ns() + (uint64_t)timeout_ms * 1000000;
	int r = send_request(c, method, params, fds, n_fds);

	while (!r) {
		json_t *message = NULL, *id, *result, *error;

		r = receive_line(c, deadline, &message);
		if (r)
			break;
		id = json_object_get(message, "id");
		error = json_object_get(message, "error");
		result = json_object_get(message, "result");
		if (json_integer_value(id) == c->id && result) {
			*resultp = json_incref(result);
			json_decref(message);
			return OUTPUT_OK;
		}
		/* Without an id it speaks of the connection, of which this is the only request. */
		if (error && (json_is_null(id) || json_integer_value(id) == c->id))
			r = report_error(error);
		json_decref(message);
	}
	return r;
}
