/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The wire by hand, for hostile.c: frames as the encoder makes them, and packets of any bytes at all. State is global: a
 * process is one vat.
 */
#ifndef CAPSTAN_TESTS_HOSTILE_WIRE_H
#define CAPSTAN_TESTS_HOSTILE_WIRE_H

#include <capstan/wire.h>

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define FD 3

static struct wire_buf out = WIRE_BUF_INIT;
static struct wire_joiner joiner = WIRE_JOINER_INIT;
static uint64_t delivery;		/* the one in hand */
static vref_t target, result;		/* of the message in hand */
static vref_t kept = { UINT64_MAX };	/* an import that a test gave to `keep` */
static uint64_t next_export = 1, next_promise = 1;

/* --- sending ------------------------------------------------------------------------------------------------------- */

static void packet(const void *data, size_t len)
{
	while (send(FD, data, len, MSG_NOSIGNAL) < 0)
		if (errno != EINTR)
			_exit(0);	/* the kernel has closed on us: that is what we came for */
}

static void flush(void)
{
	static uint8_t part[WIRE_MAX_PACKET];
	size_t at = 0, n;

	if (out.error)
		abort();
	if (out.len <= WIRE_MAX_PACKET) {
		packet(out.data, out.len);
	} else {
		while ((n = wire_cut_part(out.data, out.len, &at, part)))
			packet(part, n);
	}
	wire_buf_reset(&out);
}

static void begin(enum wire_type t, uint16_t flags) { wire_begin(&out, t, flags, delivery); }
static void end(void) { wire_end(&out); flush(); }

static void done(void)
{
	begin(WIRE_DONE, 0);
	wire_put_bytes(&out, "", 0);
	end();
}

static void resolve_to(vref_t promise, uint32_t flags, const char *body, size_t len, const uint64_t *slots, size_t n)
{
	begin(WIRE_RESOLVE, 0);
	wire_u32(&out, 1);
	wire_u32(&out, 0);
	wire_put_resolution(&out, promise, flags, body, len, slots, n);
	end();
}

static void answer(const char *body)
{
	if (!vref_is_none(result))
		resolve_to(result, 0, body, strlen(body), NULL, 0);
}

static void hello(uint32_t version, uint32_t window)
{
	wire_begin(&out, WIRE_HELLO, 0, 0);
	wire_u32(&out, version);
	wire_u32(&out, window);
	end();
}
static void wake_me(void)
{
	wire_begin(&out, WIRE_WAKE_ME, 0, 0);
	end();
}
static void set(const char *key, const void *value, size_t len)
{
	begin(WIRE_VATSTORE_SET, 0);
	wire_put_bytes(&out, key, strlen(key));
	wire_put_bytes(&out, value, len);
	end();
}
static void log_bytes(const void *text, size_t len)
{
	wire_begin(&out, WIRE_LOG, 0, 0);
	wire_u32(&out, 1);
	wire_u32(&out, 0);
	wire_put_bytes(&out, text, len);
	end();
}
static void leave(uint16_t flags, const char *body, size_t len)
{
	begin(WIRE_EXIT, flags);
	wire_put_capdata(&out, body, len, NULL, 0);
	end();
}

/* The filter has no pause(), which would be an end of another kind. */
static void sleep_forever(void)
{
	for (;;)
		poll(NULL, 0, -1);
}

static void send_to(vref_t to, vref_t res, const char *body, size_t len, const uint64_t *slots, size_t n)
{
	begin(WIRE_SEND, 0);
	wire_u64(&out, to.bits);
	wire_u64(&out, vref_is_none(res) ? 0 : res.bits);
	wire_put_capdata(&out, body, len, slots, n);
	end();
}

/* A message without arguments or result. */
static void tell(vref_t to, const char *method)
{
	char body[80];
	int n = snprintf(body, sizeof(body), "#[\"%s\",[]]", method);

	send_to(to, VREF_NONE, body, (size_t)n, NULL, 0);
}

static void refs(enum wire_type t, const uint64_t *list, uint32_t n)
{
	begin(t, 0);
	wire_u32(&out, n);
	wire_u32(&out, 0);
	for (uint32_t i = 0; i < n; i++)
		wire_u64(&out, list[i]);
	end();
}

/* A header that says whatever it is told, with `body` bytes of zeros behind it. */
static void raw(uint32_t size, uint16_t type, uint16_t flags, uint64_t number, size_t body)
{
	uint8_t p[4096] = { 0 };

	memcpy(p, &size, 4);
	memcpy(p + 4, &type, 2);
	memcpy(p + 6, &flags, 2);
	memcpy(p + 8, &number, 8);
	packet(p, 16 + body);
}

/* A part packet by hand. */
static void raw_part(uint32_t total, uint32_t offset, size_t bytes)
{
	static uint8_t p[WIRE_MAX_PACKET];
	uint32_t size = (uint32_t)(24 + bytes);
	uint16_t type = WIRE_PART;

	memset(p, 0, sizeof(p));
	memcpy(p, &size, 4);
	memcpy(p + 4, &type, 2);
	memcpy(p + 16, &total, 4);
	memcpy(p + 20, &offset, 4);
	if (offset == 0 && bytes >= 16) {	/* begins as the frame that it promises to be */
		type = WIRE_SEND;
		memcpy(p + 24, &total, 4);
		memcpy(p + 28, &type, 2);
		memcpy(p + 32, &delivery, 8);
	}
	packet(p, size);
}

static vref_t import(uint64_t n) { return vref_make(false, true, n); }
static vref_t own(uint64_t n) { return vref_make(false, false, n); }
static vref_t own_promise(void) { return vref_make(true, false, next_promise++); }

#endif
