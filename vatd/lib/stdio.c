/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vat has no terminal: what its program, or a library in it, prints becomes lines of the vat's log, and so does the text of
 * an assert(). As process 1 of its namespace it would not die of SIGABRT, and abort() would look like a wild pointer: here
 * it ends with a line that says what it was.
 *
 * Each line is one packet of its own, sent at once, as channel_log() does; nothing is allocated, for an abort() may come
 * from anywhere.
 */
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>

#include "internal.h"

#define LINE_MAX_BYTES	1024

struct printed { int fd; uint32_t level; size_t len; char line[LINE_MAX_BYTES]; };
static struct printed out = { .level = 1 }, err = { .level = 3 };

static void send_line(struct printed *p)
{
	struct { uint32_t size; uint16_t type, flags; uint64_t delivery; uint32_t level, zero, len, zero2; char text[LINE_MAX_BYTES + 8]; } f;
	size_t size = offsetof(__typeof__(f), text) + ((p->len + 7) & ~(size_t)7);

	if (!p->len)
		return;
	memset(&f, 0, sizeof(f));
	f.size = (uint32_t)size;
	f.type = WIRE_LOG;
	f.level = p->level;
	f.len = (uint32_t)p->len;
	memcpy(f.text, p->line, p->len);
	p->len = 0;
	/* Nobody could be told that it failed. */
	if (send(p->fd, &f, size, MSG_NOSIGNAL) < 0)
		return;
}

static ssize_t print(void *cookie, const char *text, size_t len)
{
	struct printed *p = cookie;

	for (size_t i = 0; i < len; i++) {
		if (text[i] != '\n')
			p->line[p->len++] = text[i];
		if (text[i] == '\n' || p->len == LINE_MAX_BYTES)
			send_line(p);
	}
	return (ssize_t)len;
}

static void aborted(int signal)
{
	static const char why[] = "abort() was called";
	(void)signal;
	send_line(&out);
	send_line(&err);
	print(&err, why, sizeof(why) - 1);
	send_line(&err);
	_exit(134);	/* as a shell would say it */
}

/* Not buffered a second time: what an abort() cuts off is in our line. */
static FILE *open_log(struct printed *p, int fd)
{
	static const cookie_io_functions_t functions = { .write = print };
	FILE *f = fopencookie(p, "w", functions);

	p->fd = fd;
	if (f)
		setvbuf(f, NULL, _IONBF, 0);
	return f;
}

void stdio_to_log(int fd)
{
	FILE *f = open_log(&out, fd);

	if (f)
		stdout = f;
	f = open_log(&err, fd);
	if (f)
		stderr = f;
	signal(SIGABRT, aborted);
}
