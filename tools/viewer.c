/* SPDX-License-Identifier: Apache-2.0 */
/* The connection to capstan-fs: see viewer.h. */
#include "viewer.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

static int nobody(const char *run_dir, const char *why)
{
	if (errno == EACCES)
		return output_error(OUTPUT_NO_BROKER, "NO_BROKER", "%s/" VIEWER_SOCKET ": %s (its owner and its group may use it)", run_dir, why);
	return output_error(OUTPUT_NO_BROKER, "NO_BROKER", "%s/" VIEWER_SOCKET ": %s; no kernel answers there "
			    "(start one: capstand --run %s --state DIR)", run_dir, why, run_dir);
}

static int no_answer(void)
{
	return output_error(OUTPUT_NO_BROKER, "NO_ANSWER", "capstan-fs, which shows the kernel as files, does not answer within %u s "
			    "(the kernel's log says more)", VIEWER_WAIT_MS / 1000);
}

int viewer_lost(void)
{
	return output_error(OUTPUT_NO_BROKER, "CONNECTION_LOST", "capstan-fs went away before it had answered");
}

static int bad_answer(void)
{
	return output_error(OUTPUT_REFUSED, "BAD_ANSWER", "what answers is no capstan-fs");
}

int viewer_open(struct viewer *v, const char *run_dir)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct timeval wait = { .tv_sec = VIEWER_WAIT_MS / 1000 };

	if ((size_t)snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/" VIEWER_SOCKET, run_dir) >= sizeof(addr.sun_path)) {
		errno = ENAMETOOLONG;
		return nobody(run_dir, "longer than a socket's path can be");
	}
	v->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (v->fd >= 0)		/* when nobody accepts, connecting waits in the end */
		setsockopt(v->fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait));
	if (v->fd >= 0 && !connect(v->fd, (struct sockaddr *)&addr, sizeof(addr)))
		return OUTPUT_OK;
	return errno == EAGAIN ? no_answer() : nobody(run_dir, strerror(errno));
}

void viewer_close(struct viewer *v)
{
	closep(&v->fd);
	v->fd = -1;
	v->at = v->len = 0;
}

static int send_all(int fd, const char *data, size_t len)
{
	while (len) {
		ssize_t n = send(fd, data, len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		/* What it said before it closed (too many connections) is worth more than the broken pipe. */
		if (n < 0)
			return errno == EPIPE || errno == ECONNRESET ? OUTPUT_OK : errno == EAGAIN ? no_answer() : viewer_lost();
		data += n;
		len -= (size_t)n;
	}
	return OUTPUT_OK;
}

int viewer_ask(struct viewer *v, json_t *request)
{
	_cleanup_free_ char *text = request ? json_dumps(request, JSON_COMPACT) : NULL;
	size_t len;

	json_decref(request);
	if (!text)
		return output_no_memory();
	len = strlen(text);
	text[len] = '\n';	/* takes the place of the NUL */
	return send_all(v->fd, text, len + 1);
}

/* More bytes behind those that are there; *endp: there are no more. */
static int receive(struct viewer *v, bool patient, bool *endp)
{
	struct pollfd p = { .fd = v->fd, .events = POLLIN };
	ssize_t n;

	memmove(v->in, v->in + v->at, v->len - v->at);
	v->len -= v->at;
	v->at = 0;
	if (v->len == sizeof(v->in))
		return bad_answer();
	do {
		int ready = poll(&p, 1, patient ? -1 : VIEWER_WAIT_MS);

		if (!ready)
			return no_answer();
		n = ready < 0 ? -1 : recv(v->fd, v->in + v->len, sizeof(v->in) - v->len, MSG_DONTWAIT);
	} while (n < 0 && (errno == EINTR || errno == EAGAIN));
	*endp = n <= 0;
	v->len += n > 0 ? (size_t)n : 0;
	return OUTPUT_OK;
}

int viewer_line(struct viewer *v, json_t **linep)
{
	const char *newline;
	bool end = false;

	while (!(newline = memchr(v->in + v->at, '\n', v->len - v->at))) {
		int r = receive(v, false, &end);

		if (r)
			return r;
		if (end)
			return viewer_lost();
	}
	*linep = json_loadb(v->in + v->at, (size_t)(newline - (v->in + v->at)), JSON_REJECT_DUPLICATES, NULL);
	v->at = (size_t)(newline + 1 - v->in);
	if (json_is_object(*linep))
		return OUTPUT_OK;
	json_decref(*linep);
	*linep = NULL;
	return bad_answer();
}

int viewer_bytes(struct viewer *v, uint64_t max, bool patient, const char **datap, size_t *lenp)
{
	bool end = false;
	int r = v->at == v->len ? receive(v, patient, &end) : OUTPUT_OK;

	if (r)
		return r;
	*datap = v->in + v->at;
	*lenp = v->len - v->at < max ? v->len - v->at : (size_t)max;
	v->at += *lenp;
	return OUTPUT_OK;
}
