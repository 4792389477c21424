/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What hostile.c can do wrong: first the attacks, then the table that says of each what the kernel makes of it, then the
 * positions in a crank in which those of Y1 are tried. To add an attack is to add a function and a row.
 */
#ifndef CAPSTAN_TESTS_HOSTILE_ATTACKS_H
#define CAPSTAN_TESTS_HOSTILE_ATTACKS_H

#include "hostile_wire.h"

#define FLOOD 10000	/* packets */

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
static void for_delivery(uint64_t number)
{
	uint64_t mine = delivery;

	delivery = number;
	done();
	delivery = mine;
}
static void wrong_delivery(void) { for_delivery(delivery + 1); }
static void old_delivery(void) { for_delivery(delivery - 1); }
static void zero_delivery(void) { for_delivery(0); }
static void never_delivery(void) { for_delivery(UINT64_MAX); }
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
static void hello_other(void) { hello(99, 1); }
static void packet_over(void)
{
	static uint8_t p[WIRE_MAX_PACKET + 8];
	uint32_t size = sizeof(p);

	memcpy(p, &size, sizeof(size));
	packet(p, sizeof(p));
}
static void log_level(void)
{
	wire_begin(&out, WIRE_LOG, 0, 0);
	wire_u32(&out, 99);
	wire_u32(&out, 0);
	wire_put_bytes(&out, "x", 1);
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
static void key_empty(void) { set("", "x", 1); }
static void key_over(void)
{
	char key[WIRE_MAX_KEY + 2] = { 0 };

	memset(key, 'k', WIRE_MAX_KEY + 1);
	set(key, "x", 1);
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
	log_bytes(text, sizeof(text));
}

/* --- attacks: illegal by the tables (Y1, C2) ------------------------------------------------------------------------ */

static void send_unknown(void) { send_to(import(999), VREF_NONE, "#0", 2, NULL, 0); }
static void send_next(void) { send_to(import((kept.bits & ~REF_MINUS) + 1), VREF_NONE, "#0", 2, NULL, 0); }	/* what others have */
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
static void exit_slot_unknown(void)
{
	uint64_t slot = import(999).bits;

	begin(WIRE_EXIT, 0);
	wire_put_capdata(&out, "#0", 2, &slot, 1);
	end();
}

/* --- attacks: deaths (V4) ------------------------------------------------------------------------------------------- */

static void close_channel(void)
{
	close(FD);
	sleep_forever();
}
static void shut_write(void)
{
	shutdown(FD, SHUT_WR);
	sleep_forever();
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
	sleep_forever();
}

/* --- attacks: stuck (V6) -------------------------------------------------------------------------------------------- */

static void spin(void)
{
	for (volatile unsigned long i = 0;; i++)
		;
}
static void shut_read(void)	/* what is for it can no longer arrive; the kernel is not told */
{
	shutdown(FD, SHUT_RD);
	sleep_forever();
}
static void spin_talking(void)	/* busy on the channel all the time, never done */
{
	for (;;)
		wake_me();
}

/* --- odd but legal -------------------------------------------------------------------------------------------------- */

static void log_flood(void)
{
	for (int i = 0; i < FLOOD; i++)
		log_bytes("flood flood flood flood", 23);
	answer("#true");
}
static void wake_flood(void)
{
	for (int i = 0; i < FLOOD; i++)
		wake_me();
	answer("#true");
}
static void pong_flood(void)
{
	for (int i = 0; i < FLOOD; i++) {
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
static void hello_of(size_t len)
{
	char *body = malloc(len);

	if (!body)
		abort();
	memset(body, '1', len);
	memcpy(body, "#[\"hello\",[\"", 12);
	memcpy(body + len - 3, "\"]]", 3);
	send_to(VREF_ROOT, VREF_NONE, body, len, NULL, 0);
	free(body);
}
static void body_full(void)
{
	hello_of(1 << 20);
	answer("#true");
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
		tell(VREF_ROOT, "hello");
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
		snprintf(key, sizeof(key), "fill %u %d", n_calls, i);
		set(key, value, len);
	}
	n_calls++;
	answer("#true");
	free(value);
}
/* Capdata as large as they come, sent to itself: 48 MiB in one crank. */
static void body_max(void)
{
	for (int i = 0; i < 3; i++)
		hello_of(WIRE_MAX_BODY);
	answer("#true");
}
/* Forty thousand new objects for somebody else to know. */
static void export_flood(void)
{
	static uint64_t slots[WIRE_MAX_SLOTS];

	for (int n = 0; n < 4; n++) {
		for (unsigned i = 0; i < WIRE_MAX_SLOTS; i++)
			slots[i] = own(next_export++).bits;
		send_to(kept, VREF_NONE, "#[\"hello\",[]]", 13, slots, WIRE_MAX_SLOTS);
	}
	answer("#true");
}
static void hello_flood(void)
{
	static const uint32_t windows[] = { 0, 1, 32, 33, UINT32_MAX };

	for (int i = 0; i < FLOOD; i++)
		hello(WIRE_VERSION, windows[i % 5]);
	answer("#true");
}
static void subscribe_flood(void)
{
	vref_t p = own_promise();

	send_to(kept, p, "#[\"hello\",[]]", 13, NULL, 0);
	for (int i = 0; i < FLOOD; i++) {
		begin(WIRE_SUBSCRIBE, 0);
		wire_u64(&out, p.bits);
		end();
	}
	answer("#true");
}
static void vatstore_flood(void)
{
	for (int i = 0; i < FLOOD; i++) {
		set("flood", &i, sizeof(i));
		begin(WIRE_VATSTORE_DELETE, 0);
		wire_put_bytes(&out, "flood", 5);
		end();
	}
	answer("#true");
}
static void exit_flood(void)
{
	char text[20];

	answer("#true");
	for (int i = 0; i < 1000; i++)
		leave(0, text, (size_t)snprintf(text, sizeof(text), "#%d", i));
}
static void exit_binary(void)	/* people see its info: brackets too deep for any reader, bytes that are no text */
{
	static char body[100000];

	memset(body, '[', sizeof(body));
	memset(body, '\xff', 100);
	leave(0, body, sizeof(body));
	answer("#true");
}
static void answer_binary(void)	/* the same as the answer that a person waits for */
{
	static char body[100000];

	memset(body, '[', sizeof(body));
	memset(body + 100, '\xff', 100);
	resolve_to(result, 0, body, sizeof(body), NULL, 0);
}
static void log_binary(void)
{
	static char text[WIRE_MAX_LOG];

	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = (char)(i * 7);
	log_bytes(text, sizeof(text));
	answer("#true");
}
static void forge_text(void)	/* the flag is what counts, and a vat cannot set it (forge-kernel) */
{
	const char *body = "#{\"#error\":\"[KERNEL:OBJECT_REVOKED] not really\",\"name\":\"Error\"}";

	resolve_to(result, WIRE_R_REJECTED, body, strlen(body), NULL, 0);
}
static void promise_circle(void)
{
	uint64_t p[3];

	for (int i = 0; i < 3; i++)
		p[i] = own_promise().bits;
	begin(WIRE_RESOLVE, 0);
	wire_u32(&out, 3);
	wire_u32(&out, 0);
	for (int i = 0; i < 3; i++)
		wire_put_resolution(&out, (vref_t){ p[i] }, WIRE_R_REF, "#\"&0\"", 5, &p[(i + 1) % 3], 1);
	end();
	answer("#true");
}
static void result_is_target(void)
{
	vref_t p = own_promise();

	send_to(p, p, "#[\"hello\",[]]", 13, NULL, 0);
	answer("#true");
}
static void root_abandoned(void)
{
	one_ref(WIRE_ABANDON_EXPORTS, VREF_ROOT);
	answer("#true");
}

/* Waits for the answer to the read that was sent; the rest of what may come meanwhile is not expected by who asks. */
static vref_t read_answer(void)
{
	static uint8_t in[WIRE_MAX_PACKET];
	struct wire_frame f;
	size_t size;
	ssize_t n = recv(FD, in, sizeof(in), 0);

	if (n <= 0 || wire_decode(in, (size_t)n, WIRE_TO_VAT, &f, &size) != WIRE_OK || f.type != WIRE_STORE_VALUE)
		_exit(1);
	return f.flags & WIRE_F_FOUND ? f.store.ref : VREF_NONE;
}
/* C2: asked about any number at all, the clist tells of nothing but what it was given. */
static void clist_guess(void)
{
	uint64_t at = 88172645463325252u;
	bool leaked = false;

	for (int i = 0; i < 1000; i++) {
		vref_t found;

		at ^= at << 13, at ^= at >> 7, at ^= at << 17;
		begin(WIRE_CLIST_GET_NEXT, 0);
		wire_u64(&out, vref_is_legal((vref_t){ at }) ? at : import(1 + at % 300).bits);
		end();
		found = read_answer();
		leaked |= !vref_is_none(found) && found.bits != kept.bits && found.bits != result.bits;
	}
	answer(leaked ? "#\"leaked\"" : "#true");
}

/* --- over a limit of its configuration (V7) ------------------------------------------------------------------------- */

static void syscalls_over(void)
{
	for (int i = 0; i < 200; i++)
		set("k", "v", 1);
}
static void reads_over(void)
{
	for (int i = 0; i < 200; i++) {
		begin(WIRE_CLIST_GET_NEXT, 0);
		wire_u64(&out, VREF_NONE.bits);
		end();
		read_answer();
	}
}
static void vatstore_over(void)
{
	static char value[2000];

	set("k", value, sizeof(value));
}
static void exports_over(void)
{
	uint64_t slots[100];

	for (int i = 0; i < 100; i++)
		slots[i] = own(next_export++).bits;
	send_to(VREF_ROOT, VREF_NONE, "#[\"hello\",[]]", 13, slots, 100);
}

/* --- reads that nobody waits for (Y6), and a vat that never reads ---------------------------------------------------- */

static void reads_unread(void)
{
	static char value[1 << 20];	/* more than the socket takes */

	set("k", value, sizeof(value));
	for (int i = 0; i < 2; i++) {
		begin(WIRE_VATSTORE_GET, 0);
		wire_put_bytes(&out, "k", 1);
		end();
	}
	sleep_forever();
}
static void exit_unread(void)
{
	begin(WIRE_CLIST_GET_NEXT, 0);
	wire_u64(&out, VREF_NONE.bits);
	end();
	_exit(0);
}
static void deaf(void)		/* what it asked for waits for it, and it never reads again */
{
	for (int i = 0; i < 3; i++)
		hello_of(1 << 20);
	answer("#true");
	done();
	sleep_forever();
}
/* A descriptor on the way to the broker: the call that could carry one is the end of the process. */
static void descriptor(void)
{
	union { struct cmsghdr header; char room[CMSG_SPACE(sizeof(int))]; } control = { 0 };
	char byte = 0;
	struct iovec v = { &byte, 1 };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	*(int *)CMSG_DATA(c) = FD;
	sendmsg(FD, &m, MSG_NOSIGNAL);
	sleep_forever();
}

/* --- in several cranks: they begin with a message of their own, and the call stays open ------------------------------- */

/* The receiver of a message decides its result; who sent it has nothing more to say about it (P2). */
static vref_t lent;

static void hijack(void)
{
	lent = own_promise();
	send_to(kept, lent, "#[\"hold\",[]]", 12, NULL, 0);
	tell(VREF_ROOT, "hijack-then");
}
static void hijack_then(void) { resolve_to(lent, 0, "#\"mine\"", 7, NULL, 0); }
/* The number that the caller's promise had is no number any more once it is settled. */
static void revive(void)
{
	lent = result;
	answer("#true");
	tell(VREF_ROOT, "revive-then");
}
static void revive_then(void) { resolve_to(lent, 0, "#\"again\"", 8, NULL, 0); }

/* It asks for deliveries ahead and keeps some coming; serve() calls it with the numbers of each packet. */
static void (*ahead_attack)(const uint64_t *numbers, size_t n);

static void ahead_begin(void (*attack)(const uint64_t *, size_t))
{
	ahead_attack = attack;
	hello(WIRE_VERSION, 32);
	for (int i = 0; i < 16; i++)
		tell(VREF_ROOT, "ahead-step");
}
static void ahead_step(void) { tell(VREF_ROOT, "ahead-step"); }
static void attack_last(const uint64_t *numbers, size_t n) { for_delivery(numbers[n - 1]); }
static void attack_backwards(const uint64_t *numbers, size_t n)
{
	while (n--)
		for_delivery(numbers[n]);
}
static void attack_send(const uint64_t *numbers, size_t n)
{
	delivery = numbers[n - 1];
	tell(VREF_ROOT, "hello");
}
static void attack_twice(const uint64_t *numbers, size_t n)
{
	(void)n;
	for_delivery(numbers[0]);
	for_delivery(numbers[0]);
}
static void attack_read(const uint64_t *numbers, size_t n)
{
	delivery = numbers[n - 1];
	begin(WIRE_CLIST_GET_NEXT, 0);
	wire_u64(&out, VREF_NONE.bits);
	end();
}
/* Done with all of them, unread, and with one more. */
static void attack_blindly(const uint64_t *numbers, size_t n)
{
	for (size_t i = 0; i < n; i++)
		for_delivery(numbers[i]);
	for_delivery(numbers[n - 1] + 1000000);
}
static void ahead_last(void) { ahead_begin(attack_last); }
static void ahead_backwards(void) { ahead_begin(attack_backwards); }
static void ahead_send(void) { ahead_begin(attack_send); }
static void ahead_twice(void) { ahead_begin(attack_twice); }
static void ahead_read(void) { ahead_begin(attack_read); }
static void ahead_blindly(void) { ahead_begin(attack_blindly); }

/* --- without end ----------------------------------------------------------------------------------------------------- */

static bool waking;	/* each wake asks for the next */

static void self_loop(void)
{
	answer("#true");
	tell(VREF_ROOT, "self-loop");
}
static void bomb(void)		/* each message becomes two, until its queue is full */
{
	answer("#true");
	tell(VREF_ROOT, "bomb");
	tell(VREF_ROOT, "bomb");
}
static void wake_loop(void)
{
	waking = true;
	wake_me();
	answer("#true");
}
static void victim_loop(void)	/* whom it may send to, it may keep busy */
{
	answer("#true");
	for (int i = 0; i < 20; i++)
		tell(kept, "hello");
	tell(VREF_ROOT, "victim-loop");
}

/* --- the table ------------------------------------------------------------------------------------------------------- */

enum price {
	ILLEGAL,	/* the vat: terminated, its caller hears VAT_FATAL */
	ILLEGAL_LATER,	/* the vat, in a crank that is not the caller's */
	POISON,		/* its process twice, then the message is set aside; the vat lives */
	ONE_DEATH,	/* its process once; the call was answered before */
	GONE,		/* "restart": "terminate": the first death is the last */
	SUSPENDED,	/* over a limit: suspended, its caller waits */
	EXITED,		/* its own will */
	ENDLESS,	/* nobody but itself; it goes on until a person ends it */
	NOTHING,
	STEP,		/* no attack: a later part of one */
};
enum judged { ON_ARRIVAL, AT_THE_END };		/* of illegal ones; AT_THE_END: when the crank is done */
enum then { THEN_DONE, THEN_NOTHING };

struct attack {
	const char *name;
	void (*run)(void);
	enum price price;
	const char *said;	/* regular expression: the reason that the vat is ended with; for those that live, the answer */
	enum then then;
	bool everywhere;	/* in every position of a crank */
	enum judged judged;
	unsigned trips;		/* round trips that others make meanwhile, at least; also: packets that it needs */
	const char *config;	/* of its vat */
};

#define FORM(name, run, said) { name, run, ILLEGAL, said, THEN_DONE, true, ON_ARRIVAL, 0, "" }
#define LARGE(name, run, said) { name, run, ILLEGAL, said, THEN_DONE, false, ON_ARRIVAL, 0, "" }
#define TABLE(name, run, said) { name, run, ILLEGAL, said, THEN_DONE, true, AT_THE_END, 0, "" }
#define LATER(name, run, then, said) { name, run, ILLEGAL_LATER, said, then, false, ON_ARRIVAL, 0, "" }
#define DEATH(name, run) { name, run, POISON, "", THEN_NOTHING, false, ON_ARRIVAL, 0, "" }
#define STUCK(name, run) { name, run, POISON, "", THEN_NOTHING, false, ON_ARRIVAL, 5, "\"limits\":{\"deadlineMs\":250}" }
#define POLICY(name, run) { name, run, GONE, "^died: ", THEN_NOTHING, false, ON_ARRIVAL, 0, "\"restart\":\"terminate\"" }
#define LIMIT(name, run, which, value) { name, run, SUSPENDED, "^LIMIT " which " " #value "$", THEN_DONE, false, ON_ARRIVAL, 0, \
	"\"limits\":{\"" which "\":" #value "}" }
#define LEGAL(name, run) { name, run, NOTHING, "^#true", THEN_DONE, false, ON_ARRIVAL, 0, "" }
#define FLOODS(name, run) { name, run, NOTHING, "^#true", THEN_DONE, false, ON_ARRIVAL, 2, "" }
#define LOOP(name, run, config) { name, run, ENDLESS, "^#true", THEN_DONE, false, ON_ARRIVAL, 20, config }
#define PART(name, run) { name, run, STEP, "", THEN_DONE, false, ON_ARRIVAL, 0, "" }

static const struct attack attacks[] = {
	/* Y1, Y2: form, sizes, the delivery number */
	FORM("empty-packet", empty_packet, "malformed packet: empty"),
	FORM("garbage", garbage, "malformed packet: bad frame size"),
	FORM("short-header", short_header, "runs past"),
	FORM("size-unaligned", size_unaligned, "size"),
	FORM("size-huge", size_huge, "size"),
	FORM("size-small", size_small, "size"),
	FORM("size-zero", size_zero, "size"),
	FORM("packet-over", packet_over, "malformed packet: .*size"),
	FORM("type-unknown", type_unknown, "type 0x7777"),
	FORM("type-backwards", type_backwards, "type 0x11"),
	FORM("flag-unknown", flag_unknown, "flags"),
	FORM("trailing", trailing, "bytes after|trailing|reference"),
	FORM("half-second-frame", half_second_frame, "runs past"),
	FORM("wrong-delivery", wrong_delivery, "done for delivery [0-9]+, which is not in flight"),
	FORM("old-delivery", old_delivery, "done for delivery [0-9]+, which is not in flight"),
	FORM("zero-delivery", zero_delivery, "delivery number"),
	FORM("never-delivery", never_delivery, "done for delivery 18446744073709551615, which is not in flight"),
	FORM("hello-other", hello_other, "another version"),
	FORM("log-level", log_level, "\"log\""),
	FORM("log-over", log_over, "\"log\""),
	FORM("part-gap", part_gap, "part out of order"),
	FORM("part-again", part_again, "part out of order"),
	FORM("part-interrupted", part_interrupted, "part out of order"),
	FORM("part-total-changes", part_total_changes, "part out of order"),
	FORM("part-too-large", part_too_large, "maximum|size"),
	FORM("part-of-nothing", part_of_nothing, "parts|size"),
	FORM("key-empty", key_empty, "key"),
	FORM("key-over", key_over, "key"),
	FORM("two-reads", two_reads, "a read while the answer to the last one is outstanding"),
	FORM("slot-illegal", slot_illegal, "illegal reference"),
	FORM("result-object", result_object, "illegal reference"),
	FORM("resolve-object", resolve_object, "illegal reference"),
	FORM("resolve-nothing", resolve_nothing, "empty list"),
	FORM("forge-kernel", forge_kernel, "flags"),
	FORM("ref-two-slots", ref_two_slots, "REF needs exactly one slot"),
	FORM("ref-no-slot", ref_no_slot, "REF needs exactly one slot"),
	FORM("subscribe-object", subscribe_object, "illegal reference"),
	FORM("drop-promise", drop_promise, "illegal reference"),
	FORM("drop-export", drop_export, "illegal reference"),
	FORM("retire-export-import", retire_export_import, "illegal reference"),
	LARGE("slots-over", slots_over, "maximum"),
	LARGE("body-over", body_over, "maximum"),
	LARGE("crank-slots", crank_slots, "more slots in one crank"),
	LARGE("crank-bytes", crank_bytes, "more bytes in one crank"),
	{ "reads-unread", reads_unread, ILLEGAL, "a read while the answer", THEN_NOTHING, false, ON_ARRIVAL, 0, "" },
	/* Y1, C2: the tables */
	TABLE("send-unknown", send_unknown, "unknown reference o-999"),
	TABLE("send-next", send_next, "unknown reference o-[0-9]+"),
	TABLE("send-promise-unknown", send_promise_unknown, "unknown reference p-999"),
	TABLE("slot-unknown", slot_unknown, "unknown reference o-999"),
	TABLE("result-unknown", result_unknown, "unknown reference p-999"),
	TABLE("result-reused", result_reused, "result promise is not new"),
	TABLE("result-resolved", result_resolved, "unknown reference p-"),
	TABLE("resolve-unknown", resolve_unknown, "unknown reference p-999"),
	TABLE("resolve-given-away", resolve_given_away, "which the vat does not decide"),
	TABLE("resolve-twice", resolve_twice, "unknown reference p-"),
	TABLE("resolve-duplicate", resolve_duplicate, "twice"),
	TABLE("subscribe-unknown", subscribe_unknown, "unknown reference p-999"),
	TABLE("drop-unknown", drop_unknown, "unknown reference o-999"),
	TABLE("retire-import-unknown", retire_import_unknown, "unknown reference o-999"),
	TABLE("retire-import-reachable", retire_import_reachable, "still reachable"),
	TABLE("retire-import-duplicate", retire_import_duplicate, "unknown reference o-"),
	TABLE("retire-export-unknown", retire_export_unknown, "unknown reference o.999"),
	TABLE("retire-export-reachable", retire_export_reachable, "still reachable"),
	TABLE("abandon-unknown", abandon_unknown, "unknown reference o.999"),
	TABLE("abandon-duplicate", abandon_duplicate, "unknown reference o.0"),
	TABLE("use-after-drop", use_after_drop, "unreachable import"),
	TABLE("exit-slot-unknown", exit_slot_unknown, "unknown reference o-999"),
	/* in cranks of its own, or in none */
	LATER("outside-crank", outside_crank, THEN_NOTHING, "not in flight"),
	LATER("done-twice", done_twice, THEN_NOTHING, "done for delivery [0-9]+, which is not in flight"),
	LATER("hijack", hijack, THEN_DONE, "resolve of p.[0-9]+, which the vat does not decide"),
	LATER("revive", revive, THEN_DONE, "unknown reference p-"),
	LATER("ahead-last", ahead_last, THEN_DONE, "done for delivery [0-9]+, which is not in flight"),
	LATER("ahead-backwards", ahead_backwards, THEN_DONE, "done for delivery [0-9]+, which is not in flight"),
	LATER("ahead-send", ahead_send, THEN_DONE, "send for delivery [0-9]+, which is not in flight"),
	LATER("ahead-twice", ahead_twice, THEN_DONE, "done for delivery [0-9]+, which is not in flight"),
	LATER("ahead-read", ahead_read, THEN_DONE, "clistGetNext for delivery [0-9]+, which is not in flight"),
	LATER("ahead-blindly", ahead_blindly, THEN_DONE, "done for delivery [0-9]+, which is not in flight"),
	PART("hijack-then", hijack_then),
	PART("revive-then", revive_then),
	PART("ahead-step", ahead_step),
	/* V4, D6 */
	DEATH("close-channel", close_channel),
	DEATH("shut-write", shut_write),
	DEATH("exit-0", exit_0),
	DEATH("exit-1", exit_1),
	DEATH("exit-middle", exit_middle),
	DEATH("exit-unread", exit_unread),
	DEATH("part-half", part_half),
	DEATH("crash", crash),
	DEATH("abort", call_abort),
	DEATH("done-error", done_error),
	DEATH("descriptor", descriptor),
	POLICY("last-exit", exit_1),
	POLICY("last-crash", crash),
	POLICY("last-close-channel", close_channel),
	POLICY("last-done-error", done_error),
	{ "deaf", deaf, ONE_DEATH, "^#true", THEN_NOTHING, false, ON_ARRIVAL, 0, "\"limits\":{\"deadlineMs\":250}" },
	/* V6 */
	STUCK("spin", spin),
	STUCK("sleep", sleep_forever),
	STUCK("spin-talking", spin_talking),
	STUCK("shut-read", shut_read),
	/* V7 */
	LIMIT("syscalls-over", syscalls_over, "syscalls", 100),
	LIMIT("reads-over", reads_over, "syscalls", 100),
	LIMIT("crank-bytes-over", vatstore_over, "crankBytes", 1000),
	LIMIT("vatstore-over", vatstore_over, "vatstoreBytes", 1000),
	LIMIT("exports-over", exports_over, "exports", 50),
	/* odd, large or endless, and legal */
	{ "exit-flood", exit_flood, EXITED, "^exit: 999$", THEN_DONE, false, ON_ARRIVAL, 0, "" },
	{ "exit-binary", exit_binary, EXITED, "^exit: ", THEN_DONE, false, ON_ARRIVAL, 0, "" },
	{ "answer-binary", answer_binary, NOTHING, "", THEN_DONE, false, ON_ARRIVAL, 0, "" },
	{ "forge-text", forge_text, NOTHING, "OBJECT_REVOKED.* rejected=true kernel=false$", THEN_DONE, false, ON_ARRIVAL, 0, "" },
	LEGAL("log-binary", log_binary),
	LEGAL("clist-guess", clist_guess),
	LEGAL("promise-circle", promise_circle),
	LEGAL("result-is-target", result_is_target),
	LEGAL("root-abandoned", root_abandoned),
	LEGAL("drop-twice", drop_twice),
	LEGAL("body-full", body_full),
	LEGAL("body-max", body_max),
	LEGAL("slots-full", slots_full),
	LEGAL("export-flood", export_flood),
	FLOODS("send-flood", send_flood),
	FLOODS("log-flood", log_flood),
	FLOODS("wake-flood", wake_flood),
	FLOODS("pong-flood", pong_flood),
	FLOODS("hello-flood", hello_flood),
	FLOODS("subscribe-flood", subscribe_flood),
	FLOODS("vatstore-flood", vatstore_flood),
	LOOP("self-loop", self_loop, ""),
	LOOP("bomb", bomb, "\"limits\":{\"queueMessages\":1000}"),
	LOOP("wake-loop", wake_loop, ""),
	LOOP("victim-loop", victim_loop, ""),
	/* tests of their own */
	PART("fill", fill),
};

/* --- positions in a crank -------------------------------------------------------------------------------------------- */

/* Legal syscalls that must come to nothing in a crank that does: the witness's neighbour counts calls of `leak`. */
static void noise(void)
{
	set("noise", "x", 1);
	tell(kept, "leak");
	log_bytes("noise", 5);
}
static void then_hang(void) { sleep_forever(); }
static void then_die(void)
{
	done();
	_exit(0);
}
static void leave_well(void) { leave(0, "#\"bye\"", 6); }

static const struct position {
	const char *name;
	void (*before)(void), (*after)(void);
	bool hangs;		/* done is never said */
	const char *config;
} positions[] = {
	{ "first", NULL, noise, false, "" },
	{ "middle", noise, noise, false, "" },
	{ "last", noise, NULL, false, "" },
	{ "after-exit", leave_well, noise, false, "" },
	{ "then-die", noise, then_die, false, "" },
	{ "then-hang", noise, then_hang, true, "\"limits\":{\"deadlineMs\":250}" },
};
#define N(array) (sizeof(array) / sizeof((array)[0]))

static void run_at(const struct attack *a, const struct position *p)
{
	if (p->before)
		p->before();
	a->run();
	if (p->after)
		p->after();
	done();
}

static bool is(const char *name, size_t len, const char *want) { return strlen(want) == len && !memcmp(name, want, len); }

/* `name` or `position/name`. Returns false when no attack has that name. */
static bool attack_run(const char *name, size_t len)
{
	const char *slash = memchr(name, '/', len);
	size_t before = slash ? (size_t)(slash - name) + 1 : 0;

	for (size_t i = 0; i < N(attacks); i++) {
		if (!is(name + before, len - before, attacks[i].name))
			continue;
		for (size_t p = 0; slash && p < N(positions); p++)
			if (is(name, before - 1, positions[p].name))
				run_at(&attacks[i], &positions[p]);
		if (slash)
			return true;
		attacks[i].run();
		if (attacks[i].then == THEN_DONE)
			done();
		return true;
	}
	return false;
}

/* --- the list, as JSON for the siege --------------------------------------------------------------------------------- */

static void print_string(const char *key, const char *text)
{
	printf("\"%s\":\"", key);
	for (; *text; text++)
		printf(*text == '"' || *text == '\\' ? "\\%c" : "%c", *text);
	printf("\",");
}

/* What the caller hears, what is left of the vat, and how docs/SECURITY.md says it. */
static const struct { const char *answer, *status; unsigned incarnation, deaths, illegal; const char *text; } prices[] = {
	[ILLEGAL] = { "KERNEL:VAT_FATAL:ILLEGAL_SYSCALL.* kernel=true$", "terminated", 1, 0, 1,
		      "illegal on arrival: the vat is terminated, its caller hears `VAT_FATAL:ILLEGAL_SYSCALL`" },
	[ILLEGAL_LATER] = { "^#true|KERNEL:VAT_TERMINATED", "terminated", 1, 0, 1,
			    "illegal in another crank, or in none: the vat is terminated" },
	[POISON] = { "KERNEL:DELIVERY_FAILED.* kernel=true$", "running", 3, 2, 0,
		     "its process, twice; the message is set aside (`DELIVERY_FAILED`), the vat goes on" },
	[ONE_DEATH] = { NULL, "running", 2, 1, 0, "its process, once, at the deadline" },
	[GONE] = { "KERNEL:(ENDPOINT_UNREACHABLE|VAT_TERMINATED).* kernel=true$", "terminated", 1, 1, 0,
		   "with `\"restart\": \"terminate\"`: the vat, at the first death" },
	[SUSPENDED] = { "^nothing$", "suspended", 2, 0, 0, "it is suspended, the reason names the limit; its callers wait" },
	[EXITED] = { "^#true", "terminated", 1, 0, 0, "it ends as it asked to, and what it says is shown escaped" },
	[ENDLESS] = { NULL, "terminated", 1, 0, 0, "goes on until somebody terminates it; others have their turns meanwhile" },
	[NOTHING] = { NULL, "running", 1, 0, 0, "nothing: odd or large, and legal" },
};
#define TEXT_AT_THE_END "illegal when the crank is done: the same; in a crank that is never done it is a death at the deadline"

static void print_attack(const struct attack *a, const struct position *p)
{
	bool hangs = p && p->hangs && a->judged == AT_THE_END;	/* then it is a delivery error, whatever was sent (Y2) */
	enum price price = hangs ? POISON : a->price;
	bool ended = !strcmp(prices[price].status, "terminated") || price == SUSPENDED;
	char method[80];

	snprintf(method, sizeof(method), "%s%s%s", p ? p->name : "", p ? "/" : "", a->name);
	printf("{");
	print_string("method", method);
	print_string("name", a->name);
	print_string("price", a->judged == AT_THE_END ? TEXT_AT_THE_END : prices[a->price].text);
	print_string("answer", prices[price].answer ? prices[price].answer : a->said);
	print_string("status", prices[price].status);
	print_string("reason", price == ENDLESS ? "terminated" : price == ILLEGAL || price == ILLEGAL_LATER ? "^illegal syscall: " : "");
	print_string("reasonToo", ended && price != ENDLESS ? a->said : "");
	printf("\"incarnation\":%u,\"deaths\":%u,\"illegal\":%u,\"trips\":%u,", prices[price].incarnation, prices[price].deaths,
	       prices[price].illegal, hangs ? 5 : a->trips);
	printf("\"endless\":%s,\"waits\":%s,\"together\":%s,", price == ENDLESS ? "true" : "false",
	       price == SUSPENDED ? "true" : "false", p || (a->price == POISON && a->trips) ? "true" : "false");
	printf("\"config\":{%s}}\n", p ? p->config : a->config);
}

static void print_list(void)
{
	for (size_t i = 0; i < N(attacks); i++) {
		if (attacks[i].price == STEP)
			continue;
		if (!attacks[i].everywhere)
			print_attack(&attacks[i], NULL);
		for (size_t p = 0; attacks[i].everywhere && p < N(positions); p++)
			print_attack(&attacks[i], &positions[p]);
	}
}

#endif
