/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hostile: a raw vat that speaks the wire by hand, politely until it is told to do one wrong thing.
 *
 *	hostile call				behaves at start; each method of the table below is one attack
 *	hostile boot|start|bootstrap ATTACK	does it before its hello, in startVat, in the bootstrap message
 *	hostile list CLASS			prints the attacks of a class (run by the tests, outside any kernel)
 *
 * Classes say what the kernel must make of it: `illegal` ends the vat (Y1, Y2); `death` is a vat that dies in its crank
 * (V4); `stuck` needs the deadline (V6); `fine` is odd but legal, the vat lives and its call is answered.
 *
 * `early`, `afterwards`, `space` and `deaf` are judged by tests of their own.
 *
 * Besides, the ordinary methods that tests of other things need: hello, say, echo, make, make-durable, keep, hold, twice.
 */
#include <capstan/wire.h>

#include <errno.h>
#include <signal.h>
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
static const char *phase = "call", *at_phase = "";

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

static void send_to(vref_t to, vref_t res, const char *body, size_t len, const uint64_t *slots, size_t n)
{
	begin(WIRE_SEND, 0);
	wire_u64(&out, to.bits);
	wire_u64(&out, vref_is_none(res) ? 0 : res.bits);
	wire_put_capdata(&out, body, len, slots, n);
	end();
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

/* --- attacks: malformed (Y2) ---------------------------------------------------------------------------------------- */

static void empty_packet(void) { packet("", 0); }
static void garbage(void)
{
	uint8_t p[64];

	for (size_t i = 0; i < sizeof(p); i++)
		p[i] = (uint8_t)(i * 37 + 11);
	packet(p, sizeof(p));
}
static void short_header(void) { packet("12345678", 8); }
static void size_unaligned(void) { raw(20, WIRE_DONE, 0, delivery, 8); }
static void size_huge(void) { raw(0xfffffff8u, WIRE_DONE, 0, delivery, 8); }
static void size_small(void) { raw(8, WIRE_DONE, 0, delivery, 8); }
static void size_zero(void) { raw(0, WIRE_DONE, 0, delivery, 8); }
static void type_unknown(void) { raw(24, 0x7777, 0, delivery, 8); }
static void type_backwards(void) { raw(40, WIRE_MESSAGE, 0, delivery, 24); }
static void flag_unknown(void) { raw(24, WIRE_DONE, 0x8000, delivery, 8); }
static void trailing(void) { raw(32, WIRE_SUBSCRIBE, 0, delivery, 16); }
static void half_second_frame(void)
{
	uint8_t p[24] = { 0 };

	begin(WIRE_LOG, 0);
	out.len = 0;
	wire_begin(&out, WIRE_WAKE_ME, 0, 0);
	wire_end(&out);
	memcpy(p, out.data, 16);
	wire_buf_reset(&out);
	packet(p, 20);		/* a whole frame and four bytes of the next */
}
static void wrong_delivery(void)
{
	delivery++;
	done();
}
static void old_delivery(void)
{
	delivery--;
	done();
}
static void zero_delivery(void)
{
	delivery = 0;
	done();
}
static void outside_crank(void)
{
	answer("#true");
	done();
	send_to(VREF_ROOT, VREF_NONE, "#[\"hello\",[]]", 13, NULL, 0);
}
static void done_twice(void)
{
	done();
	done();
}
static void hello_again(void)
{
	wire_begin(&out, WIRE_HELLO, 0, 0);
	wire_u32(&out, 99);
	wire_u32(&out, 1);
	end();
}
static void part_gap(void)
{
	raw_part(1 << 20, 0, WIRE_MAX_PACKET - 24);
	raw_part(1 << 20, 900000, 1000);
}
static void part_again(void)
{
	raw_part(1 << 20, 0, WIRE_MAX_PACKET - 24);
	raw_part(1 << 20, 0, WIRE_MAX_PACKET - 24);
}
static void part_interrupted(void)
{
	raw_part(1 << 20, 0, WIRE_MAX_PACKET - 24);
	done();
}
static void part_total_changes(void)
{
	raw_part(1 << 20, 0, WIRE_MAX_PACKET - 24);
	raw_part(1 << 21, WIRE_MAX_PACKET - 24, WIRE_MAX_PACKET - 24);
}
static void part_too_large(void) { raw_part(0x7ffffff8u, 0, WIRE_MAX_PACKET - 24); }
static void part_of_nothing(void) { raw_part(0, 0, 0); }
static void part_half(void)
{
	raw_part(1 << 20, 0, WIRE_MAX_PACKET - 24);
	_exit(0);
}
/* A send that our own encoder would refuse to write: body and slots of any number, in parts. */
static void raw_send(uint32_t body_len, uint32_t n_slots)
{
	static uint8_t part[WIRE_MAX_PACKET];
	uint32_t size = (16 + 16 + 8 + n_slots * 8 + body_len + 7) & ~7u;
	uint16_t type = WIRE_SEND;
	uint8_t *p = calloc(1, size);
	size_t at = 0, n;

	if (!p)
		abort();
	memcpy(p, &size, 4);
	memcpy(p + 4, &type, 2);
	memcpy(p + 8, &delivery, 8);
	memcpy(p + 32, &body_len, 4);
	memcpy(p + 36, &n_slots, 4);
	memset(p + 40 + n_slots * 8, '1', body_len);
	while ((n = wire_cut_part(p, size, &at, part)))
		packet(part, n);
	free(p);
}
static void slots_over(void) { raw_send(2, WIRE_MAX_SLOTS + 1); }
static void body_over(void) { raw_send(WIRE_MAX_BODY + 8, 0); }
/* Each frame legal, the crank over its total. */
static void crank_slots(void)
{
	static uint64_t slots[WIRE_MAX_SLOTS];

	for (unsigned i = 0; i <= WIRE_MAX_CRANK_SLOTS / WIRE_MAX_SLOTS; i++)
		send_to(VREF_ROOT, VREF_NONE, "#[\"hello\",[]]", 13, slots, WIRE_MAX_SLOTS);
}
static void crank_bytes(void)
{
	char *body = malloc(WIRE_MAX_BODY);

	if (!body)
		abort();
	memset(body, '1', WIRE_MAX_BODY);
	body[0] = '#';
	for (unsigned i = 0; i <= WIRE_MAX_CRANK_BYTES / WIRE_MAX_BODY; i++)
		send_to(VREF_ROOT, VREF_NONE, body, WIRE_MAX_BODY, NULL, 0);
	free(body);
}
static void key_empty(void)
{
	begin(WIRE_VATSTORE_SET, 0);
	wire_put_bytes(&out, "", 0);
	wire_put_bytes(&out, "x", 1);
	end();
}
static void key_over(void)
{
	char key[WIRE_MAX_KEY + 1];

	memset(key, 'k', sizeof(key));
	begin(WIRE_VATSTORE_SET, 0);
	wire_put_bytes(&out, key, sizeof(key));
	wire_put_bytes(&out, "x", 1);
	end();
}
static void two_reads(void)
{
	for (int i = 0; i < 2; i++) {
		wire_begin(&out, WIRE_VATSTORE_GET, 0, delivery);
		wire_put_bytes(&out, "key", 3);
		wire_end(&out);
	}
	flush();
}
static void log_over(void)
{
	static char text[WIRE_MAX_LOG + 1];

	memset(text, 'x', sizeof(text));
	wire_begin(&out, WIRE_LOG, 0, 0);
	wire_u32(&out, 1);
	wire_u32(&out, 0);
	wire_put_bytes(&out, text, sizeof(text));
	end();
}

/* --- attacks: illegal by the tables (Y1, C2) ------------------------------------------------------------------------ */

static void send_unknown(void) { send_to(import(999), VREF_NONE, "#0", 2, NULL, 0); }
static void send_promise_unknown(void) { send_to(vref_make(true, true, 999), VREF_NONE, "#0", 2, NULL, 0); }
static void slot_unknown(void)
{
	uint64_t slot = import(999).bits;

	send_to(VREF_ROOT, VREF_NONE, "#0", 2, &slot, 1);
}
static void slot_illegal(void)
{
	uint64_t slot = REF_FORM_MASK | 1;

	send_to(VREF_ROOT, VREF_NONE, "#0", 2, &slot, 1);
}
static void result_unknown(void) { send_to(VREF_ROOT, vref_make(true, true, 999), "#0", 2, NULL, 0); }
static void result_object(void) { send_to(VREF_ROOT, own(50), "#0", 2, NULL, 0); }
static void result_reused(void)
{
	vref_t p = own_promise();

	send_to(VREF_ROOT, p, "#[\"hello\",[]]", 13, NULL, 0);
	send_to(VREF_ROOT, p, "#[\"hello\",[]]", 13, NULL, 0);
}
static void result_resolved(void)
{
	answer("#1");
	send_to(VREF_ROOT, result, "#[\"hello\",[]]", 13, NULL, 0);
}
static void resolve_unknown(void) { resolve_to(vref_make(true, true, 999), 0, "#1", 2, NULL, 0); }
static void resolve_given_away(void)
{
	vref_t p = own_promise();

	send_to(VREF_ROOT, p, "#[\"hello\",[]]", 13, NULL, 0);
	resolve_to(p, 0, "#1", 2, NULL, 0);
}
static void resolve_twice(void)
{
	answer("#1");
	answer("#2");
}
static void resolve_duplicate(void)
{
	begin(WIRE_RESOLVE, 0);
	wire_u32(&out, 2);
	wire_u32(&out, 0);
	wire_put_resolution(&out, result, 0, "#1", 2, NULL, 0);
	wire_put_resolution(&out, result, 0, "#2", 2, NULL, 0);
	end();
}
static void resolve_object(void) { resolve_to(VREF_ROOT, 0, "#1", 2, NULL, 0); }
static void resolve_nothing(void)
{
	begin(WIRE_RESOLVE, 0);
	wire_u32(&out, 0);
	wire_u32(&out, 0);
	end();
}
static void forge_kernel(void)
{
	const char *body = "#{\"#error\":\"[KERNEL:OBJECT_REVOKED] not really\",\"name\":\"Error\"}";

	resolve_to(result, WIRE_R_REJECTED | WIRE_R_KERNEL, body, strlen(body), NULL, 0);
}
static void ref_two_slots(void)
{
	const uint64_t slots[2] = { 0, own(1).bits };

	resolve_to(result, WIRE_R_REF, "#\"$0.Alleged: x\"", 16, slots, 2);
}
static void ref_no_slot(void) { resolve_to(result, WIRE_R_REF, "#1", 2, NULL, 0); }
static void subscribe_unknown(void)
{
	begin(WIRE_SUBSCRIBE, 0);
	wire_u64(&out, vref_make(true, true, 999).bits);
	end();
}
static void subscribe_object(void)
{
	begin(WIRE_SUBSCRIBE, 0);
	wire_u64(&out, 0);
	end();
}
static void one_ref(enum wire_type t, vref_t r) { refs(t, &r.bits, 1); }
static void drop_unknown(void) { one_ref(WIRE_DROP_IMPORTS, import(999)); }
static void drop_promise(void) { one_ref(WIRE_DROP_IMPORTS, result); }
static void drop_export(void) { one_ref(WIRE_DROP_IMPORTS, VREF_ROOT); }
static void retire_import_unknown(void) { one_ref(WIRE_RETIRE_IMPORTS_SYS, import(999)); }
static void retire_import_reachable(void) { one_ref(WIRE_RETIRE_IMPORTS_SYS, kept); }
static void retire_import_duplicate(void)
{
	const uint64_t both[2] = { kept.bits, kept.bits };

	one_ref(WIRE_DROP_IMPORTS, kept);
	refs(WIRE_RETIRE_IMPORTS_SYS, both, 2);
}
static void retire_export_unknown(void) { one_ref(WIRE_RETIRE_EXPORTS_SYS, own(999)); }
static void retire_export_reachable(void) { one_ref(WIRE_RETIRE_EXPORTS_SYS, VREF_ROOT); }
static void retire_export_import(void) { one_ref(WIRE_RETIRE_EXPORTS_SYS, kept); }
static void abandon_unknown(void) { one_ref(WIRE_ABANDON_EXPORTS, own(999)); }
static void abandon_duplicate(void)
{
	const uint64_t both[2] = { 0, 0 };

	refs(WIRE_ABANDON_EXPORTS, both, 2);
}
static void use_after_drop(void)
{
	one_ref(WIRE_DROP_IMPORTS, kept);
	send_to(kept, VREF_NONE, "#[\"hello\",[]]", 13, NULL, 0);
}
static void illegal_then_legal(void)	/* later legal ones do not pardon it (Y2) */
{
	send_unknown();
	answer("#\"pardoned\"");
}
static void illegal_after_exit(void)
{
	begin(WIRE_EXIT, 0);
	wire_put_capdata(&out, "#\"bye\"", 6, NULL, 0);
	end();
	send_unknown();
}

/* --- attacks: deaths (V4) ------------------------------------------------------------------------------------------- */

static void close_channel(void)
{
	close(FD);
	for (;;)
		pause();
}
static void shut_write(void)
{
	shutdown(FD, SHUT_WR);
	for (;;)
		pause();
}
static void exit_0(void) { _exit(0); }
static void exit_1(void) { _exit(1); }
static void exit_middle(void)	/* its sends die with it: nobody may ever hear of them */
{
	send_to(VREF_ROOT, VREF_NONE, "#[\"say\",[\"from an abandoned crank\"]]", 36, NULL, 0);
	answer("#\"from an abandoned crank\"");
	_exit(0);
}
static void crash(void)
{
	volatile int *nowhere = NULL;

	*nowhere = 1;
}
static void call_abort(void) { abort(); }
static void done_error(void)
{
	begin(WIRE_DONE, WIRE_F_ERROR);
	wire_put_bytes(&out, "it was a bad day\033[31m", 21);
	end();
	for (;;)
		pause();
}

/* --- attacks: stuck (V6) -------------------------------------------------------------------------------------------- */

static void spin(void)
{
	for (volatile unsigned long i = 0;; i++)
		;
}
static void sleep_forever(void)
{
	for (;;)
		pause();
}
static void spin_talking(void)	/* busy on the channel all the time, never done */
{
	for (;;) {
		wire_begin(&out, WIRE_WAKE_ME, 0, 0);
		end();
	}
}

/* --- odd but legal -------------------------------------------------------------------------------------------------- */

static void log_flood(void)
{
	for (int i = 0; i < 20000; i++) {
		wire_begin(&out, WIRE_LOG, 0, 0);
		wire_u32(&out, 1);
		wire_u32(&out, 0);
		wire_put_bytes(&out, "flood flood flood flood", 23);
		end();
	}
	answer("#true");
}
static void wake_flood(void)
{
	for (int i = 0; i < 20000; i++) {
		wire_begin(&out, WIRE_WAKE_ME, 0, 0);
		end();
	}
	answer("#true");
}
static void pong_flood(void)
{
	for (int i = 0; i < 20000; i++) {
		wire_begin(&out, WIRE_PONG, 0, 0);
		wire_u64(&out, (uint64_t)i);
		end();
	}
	answer("#true");
}
static void drop_twice(void)	/* Y1: allowed for dropImports */
{
	one_ref(WIRE_DROP_IMPORTS, kept);
	one_ref(WIRE_DROP_IMPORTS, kept);
	one_ref(WIRE_RETIRE_IMPORTS_SYS, kept);
	answer("#true");
}
static void body_full(void)
{
	char *body = malloc(1 << 20);

	if (!body)
		abort();
	memset(body, '1', 1 << 20);
	memcpy(body, "#[\"hello\",[\"", 12);
	memcpy(body + (1 << 20) - 3, "\"]]", 3);
	send_to(VREF_ROOT, VREF_NONE, body, 1 << 20, NULL, 0);
	answer("#true");
	free(body);
}
static void slots_full(void)
{
	static uint64_t slots[WIRE_MAX_SLOTS];

	send_to(VREF_ROOT, VREF_NONE, "#[\"hello\",[]]", 13, slots, WIRE_MAX_SLOTS);
	answer("#true");
}
static void send_flood(void)
{
	for (int i = 0; i < 5000; i++)
		send_to(VREF_ROOT, VREF_NONE, "#[\"hello\",[]]", 13, NULL, 0);
	answer("#true");
}
/* Eight MiB more in its store with each call. */
static void fill(void)
{
	static unsigned n_calls;
	const size_t len = 512 << 10;
	char key[64], *value = malloc(len);

	if (!value)
		abort();
	memset(value, 'v', len);
	for (int i = 0; i < 16; i++) {
		int n = snprintf(key, sizeof(key), "fill %u %d", n_calls, i);

		begin(WIRE_VATSTORE_SET, 0);
		wire_put_bytes(&out, key, (size_t)n);
		wire_put_bytes(&out, value, len);
		end();
	}
	n_calls++;
	answer("#true");
	free(value);
}
static void deaf(void)		/* answers, and never reads again */
{
	answer("#true");
	done();
	for (;;)
		pause();
}

enum then { THEN_DONE, THEN_NOTHING };
static const struct attack { const char *class, *name; void (*run)(void); enum then then; } attacks[] = {
	{ "illegal", "empty-packet", empty_packet, THEN_DONE },
	{ "illegal", "garbage", garbage, THEN_DONE },
	{ "illegal", "short-header", short_header, THEN_DONE },
	{ "illegal", "size-unaligned", size_unaligned, THEN_DONE },
	{ "illegal", "size-huge", size_huge, THEN_DONE },
	{ "illegal", "size-small", size_small, THEN_DONE },
	{ "illegal", "size-zero", size_zero, THEN_DONE },
	{ "illegal", "type-unknown", type_unknown, THEN_DONE },
	{ "illegal", "type-backwards", type_backwards, THEN_DONE },
	{ "illegal", "flag-unknown", flag_unknown, THEN_DONE },
	{ "illegal", "trailing", trailing, THEN_DONE },
	{ "illegal", "half-second-frame", half_second_frame, THEN_DONE },
	{ "illegal", "wrong-delivery", wrong_delivery, THEN_NOTHING },
	{ "illegal", "old-delivery", old_delivery, THEN_NOTHING },
	{ "illegal", "zero-delivery", zero_delivery, THEN_NOTHING },
	{ "illegal", "part-gap", part_gap, THEN_DONE },
	{ "illegal", "part-again", part_again, THEN_DONE },
	{ "illegal", "part-interrupted", part_interrupted, THEN_DONE },
	{ "illegal", "part-total-changes", part_total_changes, THEN_DONE },
	{ "illegal", "part-too-large", part_too_large, THEN_DONE },
	{ "illegal", "part-of-nothing", part_of_nothing, THEN_DONE },
	{ "illegal", "slots-over", slots_over, THEN_DONE },
	{ "illegal", "body-over", body_over, THEN_DONE },
	{ "illegal", "crank-slots", crank_slots, THEN_DONE },
	{ "illegal", "crank-bytes", crank_bytes, THEN_DONE },
	{ "illegal", "key-empty", key_empty, THEN_DONE },
	{ "illegal", "key-over", key_over, THEN_DONE },
	{ "illegal", "two-reads", two_reads, THEN_DONE },
	{ "illegal", "log-over", log_over, THEN_DONE },
	{ "illegal", "send-unknown", send_unknown, THEN_DONE },
	{ "illegal", "send-promise-unknown", send_promise_unknown, THEN_DONE },
	{ "illegal", "slot-unknown", slot_unknown, THEN_DONE },
	{ "illegal", "slot-illegal", slot_illegal, THEN_DONE },
	{ "illegal", "result-unknown", result_unknown, THEN_DONE },
	{ "illegal", "result-object", result_object, THEN_DONE },
	{ "illegal", "result-reused", result_reused, THEN_DONE },
	{ "illegal", "result-resolved", result_resolved, THEN_DONE },
	{ "illegal", "resolve-unknown", resolve_unknown, THEN_DONE },
	{ "illegal", "resolve-given-away", resolve_given_away, THEN_DONE },
	{ "illegal", "resolve-twice", resolve_twice, THEN_DONE },
	{ "illegal", "resolve-duplicate", resolve_duplicate, THEN_DONE },
	{ "illegal", "resolve-object", resolve_object, THEN_DONE },
	{ "illegal", "resolve-nothing", resolve_nothing, THEN_DONE },
	{ "illegal", "forge-kernel", forge_kernel, THEN_DONE },
	{ "illegal", "ref-two-slots", ref_two_slots, THEN_DONE },
	{ "illegal", "ref-no-slot", ref_no_slot, THEN_DONE },
	{ "illegal", "subscribe-unknown", subscribe_unknown, THEN_DONE },
	{ "illegal", "subscribe-object", subscribe_object, THEN_DONE },
	{ "illegal", "drop-unknown", drop_unknown, THEN_DONE },
	{ "illegal", "drop-promise", drop_promise, THEN_DONE },
	{ "illegal", "drop-export", drop_export, THEN_DONE },
	{ "illegal", "retire-import-unknown", retire_import_unknown, THEN_DONE },
	{ "illegal", "retire-import-reachable", retire_import_reachable, THEN_DONE },
	{ "illegal", "retire-import-duplicate", retire_import_duplicate, THEN_DONE },
	{ "illegal", "retire-export-unknown", retire_export_unknown, THEN_DONE },
	{ "illegal", "retire-export-reachable", retire_export_reachable, THEN_DONE },
	{ "illegal", "retire-export-import", retire_export_import, THEN_DONE },
	{ "illegal", "abandon-unknown", abandon_unknown, THEN_DONE },
	{ "illegal", "abandon-duplicate", abandon_duplicate, THEN_DONE },
	{ "illegal", "use-after-drop", use_after_drop, THEN_DONE },
	{ "illegal", "illegal-then-legal", illegal_then_legal, THEN_DONE },
	{ "illegal", "illegal-after-exit", illegal_after_exit, THEN_DONE },
	/* The call itself was answered; what comes after its end is illegal all the same. */
	{ "afterwards", "outside-crank", outside_crank, THEN_NOTHING },
	{ "afterwards", "done-twice", done_twice, THEN_NOTHING },
	{ "early", "hello-again", hello_again, THEN_DONE },
	{ "death", "close-channel", close_channel, THEN_NOTHING },
	{ "death", "shut-write", shut_write, THEN_NOTHING },
	{ "death", "exit-0", exit_0, THEN_NOTHING },
	{ "death", "exit-1", exit_1, THEN_NOTHING },
	{ "death", "exit-middle", exit_middle, THEN_NOTHING },
	{ "death", "part-half", part_half, THEN_NOTHING },
	{ "death", "crash", crash, THEN_NOTHING },
	{ "death", "abort", call_abort, THEN_NOTHING },
	{ "death", "done-error", done_error, THEN_NOTHING },
	{ "stuck", "spin", spin, THEN_NOTHING },
	{ "stuck", "sleep", sleep_forever, THEN_NOTHING },
	{ "stuck", "spin-talking", spin_talking, THEN_NOTHING },
	{ "fine", "log-flood", log_flood, THEN_DONE },
	{ "fine", "wake-flood", wake_flood, THEN_DONE },
	{ "fine", "pong-flood", pong_flood, THEN_DONE },
	{ "fine", "drop-twice", drop_twice, THEN_DONE },
	{ "fine", "body-full", body_full, THEN_DONE },
	{ "fine", "slots-full", slots_full, THEN_DONE },
	{ "fine", "send-flood", send_flood, THEN_DONE },
	{ "space", "fill", fill, THEN_DONE },
	{ "deaf", "deaf", deaf, THEN_NOTHING },
};

/* Returns false when no attack has that name. */
static bool attack_run(const char *name, size_t len)
{
	for (size_t i = 0; i < sizeof(attacks) / sizeof(attacks[0]); i++) {
		if (strlen(attacks[i].name) != len || memcmp(attacks[i].name, name, len))
			continue;
		attacks[i].run();
		if (attacks[i].then == THEN_DONE)
			done();
		return true;
	}
	return false;
}

/* --- ordinary methods ------------------------------------------------------------------------------------------------ */

static void log_text(const char *text, size_t len)
{
	wire_begin(&out, WIRE_LOG, 0, 0);
	wire_u32(&out, 1);
	wire_u32(&out, 0);
	wire_put_bytes(&out, text, len);
	end();
}

/* The first argument if it is a string, its JSON escapes below U+0080 undone. */
static size_t string_argument(const char *args, size_t len, char *text, size_t size)
{
	size_t n = 0, i = 2;

	if (len < 2 || args[1] != '"')
		return 0;
	for (; i < len && args[i] != '"' && n < size; i++) {
		unsigned c;

		if (args[i] != '\\' || i + 1 >= len) {
			text[n++] = args[i];
		} else if (args[i + 1] == 'u' && i + 5 < len && sscanf(args + i + 2, "%4x", &c) == 1) {
			text[n++] = (char)c;
			i += 5;
		} else {
			text[n++] = args[++i];
		}
	}
	return n;
}

static void say(const char *args, size_t len)
{
	char text[1024];

	log_text(text, string_argument(args, len, text, sizeof(text)));
	answer("#true");
}

static void give(vref_t object)
{
	const char *body = "#\"$0.Alleged: thing\"";

	if (!vref_is_none(result))
		resolve_to(result, WIRE_R_REF, body, strlen(body), &object.bits, 1);
}

static void echo(const struct wire_capdata *m, const char *args, size_t len)
{
	uint64_t *slots = calloc(m->n_slots + 1, sizeof(*slots));
	char *body = malloc(len + 1);

	if (!slots || !body)
		abort();
	for (uint32_t i = 0; i < m->n_slots; i++)
		slots[i] = wire_slot(m, i).bits;
	body[0] = '#';
	memcpy(body + 1, args, len);
	if (!vref_is_none(result))
		resolve_to(result, 0, body, len + 1, slots, m->n_slots);
	free(slots);
	free(body);
}

static void reject_method(const char *name, size_t len)
{
	char body[256];
	int n = snprintf(body, sizeof(body), "#{\"#error\":\"no method %.*s\",\"name\":\"TypeError\"}", (int)len, name);

	if (!vref_is_none(result) && n > 0)
		resolve_to(result, WIRE_R_REJECTED, body, (size_t)n, NULL, 0);
}

static bool is(const char *name, size_t len, const char *want) { return strlen(want) == len && !memcmp(name, want, len); }

static void call(const char *name, size_t len, const struct wire_capdata *m, const char *args, size_t n_args)
{
	if (is(name, len, "hello") || is(name, len, "bootstrap"))
		answer("#\"hello\"");
	else if (is(name, len, "say"))
		say(args, n_args);
	else if (is(name, len, "echo"))
		echo(m, args, n_args);
	else if (is(name, len, "make"))
		give(own(next_export++));
	else if (is(name, len, "make-durable"))
		give((vref_t){ REF_DURABLE | UINT64_C(1) << 44 | UINT64_C(1) << 8 });
	else if (is(name, len, "keep") && m->n_slots)
		kept = wire_slot(m, 0), answer("#true");
	else if (!is(name, len, "hold"))	/* hold: done, and the result never settled */
		reject_method(name, len);
	done();
}

static void on_message(const struct wire_frame *f)
{
	const struct wire_capdata *m = &f->message.methargs;
	const char *body = (const char *)m->body.data, *name = body + 3, *quote;
	size_t len = m->body.len;

	target = f->message.target;
	result = f->message.result;
	quote = len > 4 && !memcmp(body, "#[\"", 3) ? memchr(name, '"', len - 3) : NULL;
	if (!quote || quote + 3 > body + len) {
		call("", 0, m, "[]", 2);
		return;
	}
	if (is(name, (size_t)(quote - name), "bootstrap") && !strcmp(phase, "bootstrap") &&
	    attack_run(at_phase, strlen(at_phase)))
		return;
	if (!attack_run(name, (size_t)(quote - name)))
		call(name, (size_t)(quote - name), m, quote + 2, (size_t)(body + len - 1 - (quote + 2)));
}

static void on_frame(const struct wire_frame *f)
{
	delivery = f->delivery;
	switch (f->type) {
	case WIRE_INIT:
		next_export = f->init.next_export ? f->init.next_export : 1;
		next_promise = f->init.next_promise ? f->init.next_promise : 1;
		break;
	case WIRE_START_VAT:
		if (strcmp(phase, "start") || !attack_run(at_phase, strlen(at_phase)))
			done();
		break;
	case WIRE_MESSAGE:
		on_message(f);
		break;
	case WIRE_PING:
		wire_begin(&out, WIRE_PONG, 0, 0);
		wire_u64(&out, f->token);
		end();
		break;
	case WIRE_SHUTDOWN:
		_exit(0);
	case WIRE_STORE_VALUE:
		break;
	default:
		done();		/* notify, gc, bringOutYourDead, wake */
	}
}

static int serve(void)
{
	static uint8_t in[WIRE_MAX_PACKET];

	for (;;) {
		const uint8_t *frames;
		ssize_t n = recv(FD, in, sizeof(in), 0);
		size_t len, size;

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0 || wire_join(&joiner, in, (size_t)n, WIRE_TO_VAT, &frames, &len) != WIRE_OK)
			return 1;
		while (len) {
			struct wire_frame f;

			if (wire_decode(frames, len, WIRE_TO_VAT, &f, &size) != WIRE_OK)
				return 1;
			on_frame(&f);
			frames += size;
			len -= size;
		}
	}
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "list")) {
		for (size_t i = 0; i < sizeof(attacks) / sizeof(attacks[0]); i++)
			if (!strcmp(attacks[i].class, argv[2]))
				puts(attacks[i].name);
		return 0;
	}
	if (argc > 1)
		phase = argv[1];
	if (argc > 2)
		at_phase = argv[2];
	if (!strcmp(phase, "boot") && !attack_run(at_phase, strlen(at_phase)))
		return 1;
	wire_begin(&out, WIRE_HELLO, 0, 0);
	wire_u32(&out, WIRE_VERSION);
	wire_u32(&out, 1);
	end();
	return serve();
}
