/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Prints the worked example of docs/PROTOCOL.md: what the kernel and a small vat say to each other, as dumps of
 * packets that the encoder really made, one field a row. `make wire-example`; test_wire reads the page's dumps back.
 */
#include <capstan/wire.h>

#include "../../lib/util.h"

static struct wire_buf packet;
static size_t shown;		/* bytes of the packet that have a row already */
static uint32_t announced;	/* size in the open frame's header */

/* A row for what was encoded since the last one. */
static void field(const char *text)
{
	for (bool first = true; shown < packet.len; first = false) {
		size_t n = packet.len - shown < 16 ? packet.len - shown : 16;

		printf("%04zx ", shown);
		for (size_t i = 0; i < 16; i++)
			if (i < n)
				printf(" %02x", packet.data[shown + i]);
			else
				printf("   ");
		printf(first ? "  | %s\n" : "  |\n", text);
		shown += n;
	}
}

static void open_packet(const char *direction, const char *title)
{
	wire_buf_reset(&packet);
	shown = 0;
	printf("%s\n\n```%s\n", title, direction);
}

static void close_packet(void)
{
	assert(!packet.error && shown == packet.len);
	printf("```\n\n");
}

/* The encoder writes the size last; a row that is shown before needs it now, and end() sees that it was right. */
static void header(enum wire_type t, uint16_t flags, uint64_t delivery, uint32_t size)
{
	char text[100];

	wire_begin(&packet, t, flags, delivery);
	if (packet.error)
		return;
	memcpy(packet.data + packet.len - WIRE_HEADER, &size, sizeof(size));
	announced = size;
	snprintf(text, sizeof(text), "%s: size %u, type 0x%02x, flags %u, delivery %llu", wire_type_name(t), size, t,
		 flags, (unsigned long long)delivery);
	field(text);
}

static void end(void)
{
	wire_end(&packet);
	field("padding");
	assert(packet.len - packet.frame == announced);
}

static void ref(vref_t v, const char *what)
{
	char buf[REF_TEXT_MAX], text[100];

	wire_u64(&packet, v.bits);
	snprintf(text, sizeof(text), "%s %s", what, vref_format(v, buf));
	field(text);
}

static void capdata(const char *body, const uint64_t *slots, uint32_t n_slots)
{
	uint32_t len = (uint32_t)strlen(body);
	struct wire_buf whole = WIRE_BUF_INIT;
	char buf[REF_TEXT_MAX], text[200];

	wire_put_capdata(&whole, body, len, slots, n_slots);
	assert(!whole.error);
	wire_u32(&packet, len);
	wire_u32(&packet, n_slots);
	snprintf(text, sizeof(text), "capdata: %u body bytes, %u slots", len, n_slots);
	field(text);
	for (uint32_t i = 0; i < n_slots; i++) {
		wire_u64(&packet, slots[i]);
		snprintf(text, sizeof(text), "slot %u: %s", i, vref_format((vref_t){ slots[i] }, buf));
		field(text);
	}
	/* Body and padding, as the encoder made them. */
	for (size_t at = 8 + (size_t)n_slots * 8; at < whole.len; at += 8) {
		uint64_t bytes;

		memcpy(&bytes, whole.data + at, 8);
		wire_u64(&packet, bytes);
	}
	snprintf(text, sizeof(text), "%s", body);
	field(text);
	wire_buf_deinit(&whole);
}

static void bytes(const char *what, const char *value)
{
	char text[100];

	wire_put_bytes(&packet, value, strlen(value));
	snprintf(text, sizeof(text), "bytes %s: length %zu, zero, \"%s\"", what, strlen(value), value);
	field(text);
}

static void two(uint32_t a, uint32_t b, const char *text)
{
	wire_u32(&packet, a);
	wire_u32(&packet, b);
	field(text);
}

static void u64(uint64_t v, const char *text)
{
	wire_u64(&packet, v);
	field(text);
}

static void done(uint64_t delivery)
{
	header(WIRE_DONE, 0, delivery, 24);
	bytes("error", "");
	end();
}

static void start(void)
{
	open_packet("to-kernel", "The process starts and says hello:");
	header(WIRE_HELLO, 0, 0, 24);
	two(WIRE_VERSION, 1, "version 1, window 1");
	end();
	close_packet();

	open_packet("to-vat", "The kernel tells it who it is. It is `v3`, for the first time:");
	header(WIRE_INIT, 0, 0, 56);
	u64(3, "vat 3");
	u64(1, "incarnation 1");
	u64(1, "next export: o+1");
	u64(1, "next promise: p+1");
	two(WIRE_VERSION, 32, "version 1, window 32");
	end();
	close_packet();

	open_packet("to-vat", "Its first delivery, with the parameters of the configuration:");
	header(WIRE_START_VAT, 0, 101, 40);
	capdata("#{\"step\":5}", NULL, 0);
	end();
	close_packet();
}

static const char ask[] = "#[\"get\",[]]";

static void message(void)
{
	open_packet("to-vat", "A caller sends `add(@clock)` to the root; the answer is to go to `p-1`:");
	header(WIRE_MESSAGE, 0, 102, 80);
	ref(VREF_ROOT, "target");
	ref(vref_make(true, true, 1), "result");
	capdata("#[\"add\",[\"$0.Alleged: clock\"]]", (const uint64_t[]){ vref_make(false, true, 1).bits }, 1);
	end();
	close_packet();

	open_packet("to-kernel", "In one packet: a write, a question to the clock whose answer is to come to `p+1`, the wish to "
		    "know it, and the end of the delivery. `p-1` stays open for now:");
	header(WIRE_VATSTORE_SET, 0, 102, 48);
	bytes("key", "n");
	bytes("value", "5");
	end();
	header(WIRE_SEND, 0, 102, 56);
	ref(vref_make(false, true, 1), "target");
	ref(vref_make(true, false, 1), "result");
	capdata(ask, NULL, 0);
	end();
	header(WIRE_SUBSCRIBE, 0, 102, 24);
	ref(vref_make(true, false, 1), "promise");
	end();
	done(102);
	close_packet();
}

static void answer(void)
{
	open_packet("to-vat", "The clock has answered 12. `p+1` is out of the clist with this:");
	header(WIRE_NOTIFY, 0, 103, 56);
	two(1, 0, "1 resolution");
	ref(vref_make(true, false, 1), "promise");
	two(0, 0, "flags: fulfilled");
	capdata("#12", NULL, 0);
	end();
	close_packet();

	open_packet("to-kernel", "The vat settles `p-1`, which it decides, with `[5,12]`; `p-1` leaves the clist:");
	header(WIRE_RESOLVE, 0, 103, 56);
	two(1, 0, "1 resolution");
	ref(vref_make(true, true, 1), "promise");
	two(0, 0, "flags: fulfilled");
	capdata("#[5,12]", NULL, 0);
	end();
	done(103);
	close_packet();
}

int main(void)
{
	start();
	open_packet("to-kernel", "It builds its root object and is done:");
	done(101);
	close_packet();
	message();
	answer();
	wire_buf_deinit(&packet);
	return 0;
}
