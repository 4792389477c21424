/* SPDX-License-Identifier: Apache-2.0 */
/* The inputs themselves: legal frames are built with the encoder, breaches by patching a legal one. */
#include "../../lib/util.h"
#include "wire_seeds.h"

#define D	77	/* a delivery number */
#define O(n)	((uint64_t)(n))
#define OI(n)	(REF_MINUS | (n))
#define P(n)	(REF_PROMISE | (n))
#define PI(n)	(REF_PROMISE | REF_MINUS | (n))
#define OD	(REF_DURABLE | UINT64_C(2) << 44 | 5 << 8 | 2)	/* o+d2.5:1 */
#define REF(b)	((vref_t){ (b) })

static const uint64_t slots[] = { OI(3), O(4), PI(5), P(6), OD };

static void patch(struct wire_buf *b, size_t at, const void *bytes, size_t len)
{
	assert(!b->error && at + len <= b->len);
	memcpy(b->data + at, bytes, len);
}

static void patch_u32(struct wire_buf *b, size_t at, uint32_t v)
{
	patch(b, at, &v, sizeof(v));
}

static void patch_u64(struct wire_buf *b, size_t at, uint64_t v)
{
	patch(b, at, &v, sizeof(v));
}

/* Where things are in a frame that stands at the start of the buffer. */
enum { AT_SIZE = 0, AT_TYPE = 4, AT_FLAGS = 6, AT_DELIVERY = 8, AT_BODY = 16 };

/* --- to the vat --- */

static void init(struct wire_buf *b)
{
	wire_begin(b, WIRE_INIT, 0, 0);
	wire_u64(b, 1);
	wire_u64(b, 2);
	wire_u64(b, 10);
	wire_u64(b, 20);
	wire_u32(b, WIRE_VERSION);
	wire_u32(b, 1);
	wire_end(b);
}

static void start_vat(struct wire_buf *b)
{
	wire_begin(b, WIRE_START_VAT, 0, D);
	wire_put_capdata(b, "#{\"n\":1}", 8, NULL, 0);
	wire_end(b);
}

static void put_message(struct wire_buf *b, enum wire_type t, uint64_t target, uint64_t result, size_t n_slots)
{
	static const char body[] = "#[\"hello\",[\"$0.Alleged: X\",\"$1\",\"&2\"]]";

	wire_begin(b, t, 0, D);
	wire_u64(b, target);
	wire_u64(b, result);
	wire_put_capdata(b, body, sizeof(body) - 1, slots, n_slots);
	wire_end(b);
}

static void message(struct wire_buf *b)
{
	put_message(b, WIRE_MESSAGE, 0, PI(9), ARRAY_LEN(slots));
}

static void message_no_result(struct wire_buf *b)
{
	put_message(b, WIRE_MESSAGE, OD, 0, 0);
}

static void put_resolution(struct wire_buf *b, uint64_t promise, uint32_t flags, const char *body, size_t n_slots)
{
	wire_put_resolution(b, REF(promise), flags, body, strlen(body), slots, n_slots);
}

static void put_resolutions(struct wire_buf *b, enum wire_type t, uint32_t count)
{
	wire_begin(b, t, 0, D);
	wire_u32(b, count);
	wire_u32(b, 0);
}

static void notify(struct wire_buf *b)
{
	put_resolutions(b, WIRE_NOTIFY, 4);
	put_resolution(b, PI(9), 0, "#42", 0);
	put_resolution(b, PI(10), WIRE_R_REF, "#\"$0.Alleged: X\"", 1);
	put_resolution(b, P(11), WIRE_R_REJECTED, "#\"no\"", 5);
	put_resolution(b, PI(12), WIRE_R_REJECTED | WIRE_R_KERNEL,
		       "#{\"#error\":\"[KERNEL:VAT_TERMINATED] v2\",\"name\":\"Error\"}", 0);
	wire_end(b);
}

static void put_refs(struct wire_buf *b, enum wire_type t, uint64_t sign)
{
	wire_begin(b, t, 0, D);
	wire_u32(b, 3);
	wire_u32(b, 0);
	wire_u64(b, sign | 1);
	wire_u64(b, sign | 2);
	wire_u64(b, sign ? sign | 3 : OD);
	wire_end(b);
}

static void drop_exports(struct wire_buf *b) { put_refs(b, WIRE_DROP_EXPORTS, 0); }
static void retire_exports(struct wire_buf *b) { put_refs(b, WIRE_RETIRE_EXPORTS, 0); }
static void retire_imports(struct wire_buf *b) { put_refs(b, WIRE_RETIRE_IMPORTS, REF_MINUS); }

static void put_empty(struct wire_buf *b, enum wire_type t, uint64_t delivery)
{
	wire_begin(b, t, 0, delivery);
	wire_end(b);
}

static void bring_out_your_dead(struct wire_buf *b) { put_empty(b, WIRE_BRING_OUT_YOUR_DEAD, D); }
static void wake(struct wire_buf *b) { put_empty(b, WIRE_WAKE, D); }
static void shutdown_(struct wire_buf *b) { put_empty(b, WIRE_SHUTDOWN, 0); }

static void put_store_value(struct wire_buf *b, uint16_t flags, uint64_t ref, const char *key, const char *value)
{
	wire_begin(b, WIRE_STORE_VALUE, flags, D);
	wire_u64(b, ref);
	wire_put_bytes(b, key, strlen(key));
	wire_put_bytes(b, value, strlen(value));
	wire_end(b);
}

static void store_value_none(struct wire_buf *b) { put_store_value(b, 0, UINT64_MAX, "", ""); }
static void store_value_get(struct wire_buf *b) { put_store_value(b, WIRE_F_FOUND, UINT64_MAX, "", "value"); }
static void store_value_key(struct wire_buf *b) { put_store_value(b, WIRE_F_FOUND, UINT64_MAX, "next", ""); }
static void store_value_ref(struct wire_buf *b) { put_store_value(b, WIRE_F_FOUND, OI(3), "", ""); }
static void store_value_reachable(struct wire_buf *b)
{
	put_store_value(b, WIRE_F_FOUND | WIRE_F_REACHABLE, OI(3), "", "");
}

static void put_token(struct wire_buf *b, enum wire_type t)
{
	wire_begin(b, t, 0, 0);
	wire_u64(b, UINT64_C(0x1122334455667788));
	wire_end(b);
}

static void ping(struct wire_buf *b) { put_token(b, WIRE_PING); }

/* --- to the kernel --- */

static void send_(struct wire_buf *b) { put_message(b, WIRE_SEND, OI(3), P(6), 3); }
static void send_no_result(struct wire_buf *b) { put_message(b, WIRE_SEND, PI(5), 0, 0); }

static void put_ref(struct wire_buf *b, enum wire_type t, uint64_t ref)
{
	wire_begin(b, t, 0, D);
	wire_u64(b, ref);
	wire_end(b);
}

static void subscribe(struct wire_buf *b) { put_ref(b, WIRE_SUBSCRIBE, PI(5)); }

static void resolve(struct wire_buf *b)
{
	put_resolutions(b, WIRE_RESOLVE, 3);
	put_resolution(b, P(6), 0, "#[\"$0\",1]", 2);
	put_resolution(b, PI(7), WIRE_R_REJECTED, "#{\"#error\":\"x\",\"name\":\"Error\"}", 0);
	put_resolution(b, P(8), WIRE_R_REF, "#\"$0\"", 1);
	wire_end(b);
}

static void put_exit(struct wire_buf *b, uint16_t flags)
{
	wire_begin(b, WIRE_EXIT, flags, D);
	wire_put_capdata(b, "#\"bye\"", 6, slots, 1);
	wire_end(b);
}

static void exit_(struct wire_buf *b) { put_exit(b, 0); }
static void exit_failure(struct wire_buf *b) { put_exit(b, WIRE_F_FAILURE); }
static void drop_imports(struct wire_buf *b) { put_refs(b, WIRE_DROP_IMPORTS, REF_MINUS); }
static void retire_imports_sys(struct wire_buf *b) { put_refs(b, WIRE_RETIRE_IMPORTS_SYS, REF_MINUS); }
static void retire_exports_sys(struct wire_buf *b) { put_refs(b, WIRE_RETIRE_EXPORTS_SYS, 0); }
static void abandon_exports(struct wire_buf *b) { put_refs(b, WIRE_ABANDON_EXPORTS, 0); }

static void put_key(struct wire_buf *b, enum wire_type t, const char *key, size_t len)
{
	wire_begin(b, t, 0, D);
	wire_put_bytes(b, key, len);
	wire_end(b);
}

static void vatstore_set(struct wire_buf *b)
{
	wire_begin(b, WIRE_VATSTORE_SET, 0, D);
	wire_put_bytes(b, "key", 3);
	wire_put_bytes(b, "some value", 10);
	wire_end(b);
}

static void vatstore_delete(struct wire_buf *b) { put_key(b, WIRE_VATSTORE_DELETE, "key", 3); }
static void vatstore_get(struct wire_buf *b) { put_key(b, WIRE_VATSTORE_GET, "key", 3); }
static void vatstore_next(struct wire_buf *b) { put_key(b, WIRE_VATSTORE_GET_NEXT_KEY, "key", 3); }
static void vatstore_first(struct wire_buf *b) { put_key(b, WIRE_VATSTORE_GET_NEXT_KEY, "", 0); }
static void clist_next(struct wire_buf *b) { put_ref(b, WIRE_CLIST_GET_NEXT, OI(3)); }
static void clist_first(struct wire_buf *b) { put_ref(b, WIRE_CLIST_GET_NEXT, UINT64_MAX); }

static void put_done(struct wire_buf *b, uint16_t flags, const char *text)
{
	wire_begin(b, WIRE_DONE, flags, D);
	wire_put_bytes(b, text, strlen(text));
	wire_end(b);
}

static void done(struct wire_buf *b) { put_done(b, 0, ""); }
static void done_error(struct wire_buf *b) { put_done(b, WIRE_F_ERROR, "TypeError: x is not y"); }

static void hello(struct wire_buf *b)
{
	wire_begin(b, WIRE_HELLO, 0, 0);
	wire_u32(b, WIRE_VERSION);
	wire_u32(b, 1);
	wire_end(b);
}

static void put_log(struct wire_buf *b, uint32_t level, const char *text)
{
	wire_begin(b, WIRE_LOG, 0, 0);
	wire_u32(b, level);
	wire_u32(b, 0);
	wire_put_bytes(b, text, strlen(text));
	wire_end(b);
}

static void log_(struct wire_buf *b) { put_log(b, 3, "something\nwent \x1b[31mwrong"); }
static void log_empty(struct wire_buf *b) { put_log(b, 0, ""); }
static void pong(struct wire_buf *b) { put_token(b, WIRE_PONG); }
static void wake_me(struct wire_buf *b) { put_empty(b, WIRE_WAKE_ME, 0); }

static void whole_crank(struct wire_buf *b)
{
	log_(b);
	vatstore_set(b);
	send_(b);
	subscribe(b);
	resolve(b);
	done(b);
}

/* --- breaches --- */

static void bad_empty(struct wire_buf *b) { (void)b; }

static void bad_short_header(struct wire_buf *b)
{
	done(b);
	b->len = 12;
}

static void bad_short_frame(struct wire_buf *b)
{
	send_(b);
	b->len -= 8;
}

static void bad_short_field(struct wire_buf *b)
{
	wire_begin(b, WIRE_SUBSCRIBE, 0, D);
	wire_end(b);
}

static void bad_size_small(struct wire_buf *b)
{
	done(b);
	patch_u32(b, AT_SIZE, 8);
}

static void bad_size_odd(struct wire_buf *b)
{
	done(b);
	patch_u32(b, AT_SIZE, 20);
}

static void bad_size_huge(struct wire_buf *b)
{
	done(b);
	patch_u32(b, AT_SIZE, 0xfffffff8);
}

static void bad_type(struct wire_buf *b)
{
	done(b);
	patch(b, AT_TYPE, "\x7f\x00", 2);
}

static void bad_type_huge(struct wire_buf *b)
{
	done(b);
	patch(b, AT_TYPE, "\xff\xff", 2);
}

static void bad_flags_kind(struct wire_buf *b)
{
	done(b);
	patch(b, AT_FLAGS, "\x01\x00", 2);	/* FAILURE is not DONE's */
}

static void bad_flags_unknown(struct wire_buf *b)
{
	done(b);
	patch(b, AT_FLAGS, "\x00\x80", 2);
}

static void bad_flags_found(struct wire_buf *b) { put_store_value(b, WIRE_F_REACHABLE, OI(3), "", ""); }
static void bad_flags_value(struct wire_buf *b) { put_store_value(b, 0, UINT64_MAX, "", "value"); }
static void bad_flags_done(struct wire_buf *b) { put_done(b, 0, "text without ERROR"); }

static void put_one_resolution(struct wire_buf *b, enum wire_type t, uint64_t promise, uint32_t flags, size_t n_slots)
{
	put_resolutions(b, t, 1);
	put_resolution(b, promise, flags, "#0", n_slots);
	wire_end(b);
}

static void bad_flags_resolution(struct wire_buf *b) { put_one_resolution(b, WIRE_RESOLVE, P(1), 8, 0); }
static void bad_flags_kernel(struct wire_buf *b)
{
	put_one_resolution(b, WIRE_RESOLVE, P(1), WIRE_R_REJECTED | WIRE_R_KERNEL, 0);
}
static void bad_flags_kernel_value(struct wire_buf *b) { put_one_resolution(b, WIRE_NOTIFY, PI(1), WIRE_R_KERNEL, 0); }

static void bad_padding_capdata(struct wire_buf *b)
{
	exit_(b);
	b->data[b->len - 1] = 1;
}

static void bad_padding_list(struct wire_buf *b)
{
	drop_imports(b);
	patch_u32(b, AT_BODY + 4, 1);
}

static void bad_padding_bytes(struct wire_buf *b)
{
	vatstore_get(b);
	patch_u32(b, AT_BODY + 4, 1);
}

static void bad_trailing(struct wire_buf *b)
{
	wire_begin(b, WIRE_PONG, 0, 0);
	wire_u64(b, 1);
	wire_u64(b, 0);
	wire_end(b);
}

static void bad_trailing_list(struct wire_buf *b)
{
	drop_imports(b);
	patch_u32(b, AT_BODY, 2);
}

static void bad_limit_slots(struct wire_buf *b)
{
	exit_(b);
	patch_u32(b, AT_BODY + 4, WIRE_MAX_SLOTS + 1);
}

static void bad_limit_body(struct wire_buf *b)
{
	exit_(b);
	patch_u32(b, AT_BODY, UINT32_MAX);
}

static void bad_limit_count(struct wire_buf *b)
{
	drop_imports(b);
	patch_u32(b, AT_BODY, UINT32_MAX);
}

static void bad_limit_notify(struct wire_buf *b)
{
	notify(b);
	patch_u32(b, AT_BODY, WIRE_MAX_NOTIFY + 1);
}

static void bad_limit_log(struct wire_buf *b)
{
	log_(b);
	patch_u32(b, AT_BODY + 8, WIRE_MAX_LOG + 1);
}

static void bad_limit_level(struct wire_buf *b) { put_log(b, 4, "x"); }

static void bad_short_count(struct wire_buf *b)
{
	drop_imports(b);
	patch_u32(b, AT_BODY, WIRE_MAX_SLOTS);
}

static void bad_ref_target(struct wire_buf *b) { put_message(b, WIRE_SEND, REF_MINUS, 0, 0); }
static void bad_ref_form(struct wire_buf *b) { put_message(b, WIRE_SEND, REF_FORM_MASK | 1 << 8, 0, 0); }
static void bad_ref_result(struct wire_buf *b) { put_message(b, WIRE_SEND, OI(3), O(4), 0); }
static void bad_ref_none(struct wire_buf *b) { put_message(b, WIRE_SEND, OI(3), UINT64_MAX, 0); }
static void bad_ref_subscribe(struct wire_buf *b) { put_ref(b, WIRE_SUBSCRIBE, OI(5)); }
static void bad_ref_resolve(struct wire_buf *b) { put_one_resolution(b, WIRE_RESOLVE, O(1), 0, 0); }
static void bad_ref_sign(struct wire_buf *b) { put_refs(b, WIRE_DROP_IMPORTS, 0); }
static void bad_ref_sign_export(struct wire_buf *b) { put_refs(b, WIRE_DROP_EXPORTS, REF_MINUS); }
static void bad_ref_promise(struct wire_buf *b) { put_refs(b, WIRE_DROP_IMPORTS, REF_PROMISE | REF_MINUS); }

static void bad_ref_slot(struct wire_buf *b)
{
	exit_(b);
	patch_u64(b, AT_BODY + 8, REF_PROMISE);
}

static void bad_ref_clist(struct wire_buf *b) { put_ref(b, WIRE_CLIST_GET_NEXT, REF_MINUS); }
static void bad_ref_slots_none(struct wire_buf *b) { put_one_resolution(b, WIRE_RESOLVE, P(1), WIRE_R_REF, 0); }
static void bad_ref_slots_two(struct wire_buf *b) { put_one_resolution(b, WIRE_RESOLVE, P(1), WIRE_R_REF, 2); }
static void bad_ref_slots_rejected(struct wire_buf *b)
{
	put_one_resolution(b, WIRE_RESOLVE, P(1), WIRE_R_REF | WIRE_R_REJECTED, 1);
}

static void bad_delivery_missing(struct wire_buf *b)
{
	done(b);
	patch_u64(b, AT_DELIVERY, 0);
}

static void bad_delivery_present(struct wire_buf *b)
{
	hello(b);
	patch_u64(b, AT_DELIVERY, D);
}

static void bad_empty_list(struct wire_buf *b)
{
	wire_begin(b, WIRE_RETIRE_EXPORTS_SYS, 0, D);
	wire_u64(b, 0);
	wire_end(b);
}

static void bad_empty_resolve(struct wire_buf *b)
{
	put_resolutions(b, WIRE_RESOLVE, 0);
	wire_end(b);
}

static void bad_key_empty(struct wire_buf *b) { put_key(b, WIRE_VATSTORE_GET, "", 0); }

static void bad_key_long(struct wire_buf *b)
{
	vatstore_get(b);
	patch_u32(b, AT_BODY, WIRE_MAX_KEY + 1);
}

static void bad_second_frame(struct wire_buf *b)
{
	hello(b);
	wire_begin(b, WIRE_SUBSCRIBE, 0, D);
	wire_u64(b, OI(1));
	wire_end(b);
}

/* --- streams: packets of which only the beginning is written down --- */

static void put_raw(struct wire_buf *b, const void *data, size_t len)
{
	size_t at = b->len;

	while (!b->error && b->len < at + len)
		wire_u64(b, 0);
	if (b->error)
		return;
	b->len = at + len;
	memcpy(b->data + at, data, len);
}

static void put_packet(struct wire_buf *b, uint32_t len, const struct wire_buf *head)
{
	uint8_t n = (uint8_t)head->len;

	assert(head->len < 256);
	wire_u32(b, len);
	put_raw(b, &n, 1);
	put_raw(b, head->data, n);
}

#define BIG_BODY	70000u
#define BIG_TOTAL	(WIRE_HEADER + 24 + BIG_BODY)
#define FIRST		(WIRE_MAX_PACKET - WIRE_HEADER - 8)	/* bytes of a full part */

static void put_raw_header(struct wire_buf *b, uint32_t size, uint16_t type, uint64_t delivery)
{
	wire_u32(b, size);
	wire_u32(b, type);
	wire_u64(b, delivery);
}

/* One part; at offset 0 it begins with the header and the fields of a send whose body is zeros. */
static void put_part(struct wire_buf *b, uint32_t total, uint32_t offset, uint32_t len, uint32_t inner_size,
		     uint16_t inner_type)
{
	struct wire_buf head = WIRE_BUF_INIT;

	put_raw_header(&head, WIRE_HEADER + 8 + len, WIRE_PART, 0);
	wire_u32(&head, total);
	wire_u32(&head, offset);
	if (offset == 0) {
		put_raw_header(&head, inner_size, inner_type, D);
		wire_u64(&head, inner_type == WIRE_SEND ? OI(3) : O(0));
		wire_u64(&head, 0);
		wire_u32(&head, BIG_BODY);
		wire_u32(&head, 0);
	}
	put_packet(b, WIRE_HEADER + 8 + len, &head);
	wire_buf_deinit(&head);
}

static void put_small(struct wire_buf *b, void (*build)(struct wire_buf *b))
{
	struct wire_buf head = WIRE_BUF_INIT;

	build(&head);
	put_packet(b, (uint32_t)head.len, &head);
	wire_buf_deinit(&head);
}

static void put_first(struct wire_buf *b) { put_part(b, BIG_TOTAL, 0, FIRST, BIG_TOTAL, WIRE_SEND); }
static void put_last(struct wire_buf *b) { put_part(b, BIG_TOTAL, FIRST, BIG_TOTAL - FIRST, 0, 0); }

static void parts(struct wire_buf *b)
{
	put_small(b, hello);
	put_first(b);
	put_last(b);
	put_small(b, done);
	put_first(b);
	put_last(b);
}

static void parts_to_vat(struct wire_buf *b)
{
	put_part(b, BIG_TOTAL, 0, FIRST, BIG_TOTAL, WIRE_MESSAGE);
	put_last(b);
	put_small(b, ping);
}

static void bad_part_interrupted(struct wire_buf *b)
{
	put_first(b);
	put_small(b, done);
}

static void bad_part_late(struct wire_buf *b) { put_last(b); }

static void bad_part_twice(struct wire_buf *b)
{
	put_first(b);
	put_first(b);
}

static void bad_part_total(struct wire_buf *b)
{
	put_first(b);
	put_part(b, BIG_TOTAL + 8, FIRST, BIG_TOTAL + 8 - FIRST, 0, 0);
}

static void bad_part_not_full(struct wire_buf *b) { put_part(b, BIG_TOTAL, 0, FIRST - 8, BIG_TOTAL, WIRE_SEND); }
static void bad_part_past_end(struct wire_buf *b)
{
	put_first(b);
	put_part(b, BIG_TOTAL, FIRST, BIG_TOTAL - FIRST + 8, 0, 0);
}
static void bad_part_small(struct wire_buf *b) { put_part(b, 1000, 0, 1000, 1000, WIRE_SEND); }
static void bad_part_huge(struct wire_buf *b) { put_part(b, WIRE_MAX_FRAME + 8, 0, FIRST, WIRE_MAX_FRAME + 8, WIRE_SEND); }
static void bad_part_empty(struct wire_buf *b)
{
	put_first(b);
	put_part(b, BIG_TOTAL, FIRST, 0, 0, 0);
}
static void bad_part_lie(struct wire_buf *b) { put_part(b, BIG_TOTAL, 0, FIRST, BIG_TOTAL - 8, WIRE_SEND); }
static void bad_part_nested(struct wire_buf *b) { put_part(b, BIG_TOTAL, 0, FIRST, BIG_TOTAL, WIRE_PART); }
static void bad_part_type(struct wire_buf *b) { put_part(b, BIG_TOTAL, 0, FIRST, BIG_TOTAL, WIRE_MESSAGE); }

static void bad_part_behind(struct wire_buf *b)
{
	struct wire_buf head = WIRE_BUF_INIT;

	hello(&head);
	put_raw_header(&head, 64, WIRE_PART, 0);
	put_packet(b, (uint32_t)head.len + 48, &head);
	wire_buf_deinit(&head);
}

static void bad_part_joined(struct wire_buf *b)
{
	put_first(b);
	put_last(b);
	put_part(b, BIG_TOTAL + 8, 0, FIRST, BIG_TOTAL + 8, WIRE_SEND);	/* 8 bytes after the last field */
	put_part(b, BIG_TOTAL + 8, FIRST, BIG_TOTAL + 8 - FIRST, 0, 0);
}

static void bad_packet_long(struct wire_buf *b)
{
	struct wire_buf head = WIRE_BUF_INIT;

	put_raw_header(&head, WIRE_MAX_PACKET + 8, WIRE_EXIT, D);
	put_packet(b, WIRE_MAX_PACKET + 8, &head);
	wire_buf_deinit(&head);
}

#define LEGAL_TO_VAT(f)		{ #f, SEED_TO_VAT, WIRE_OK, f }
#define LEGAL_TO_KERNEL(f)	{ #f, SEED_TO_KERNEL, WIRE_OK, f }
#define BAD(f, e)		{ #f, SEED_TO_KERNEL, e, f }
#define BAD_TO_VAT(f, e)	{ #f, SEED_TO_VAT, e, f }
#define STREAM(f, e)		{ #f, SEED_STREAM_TO_KERNEL, e, f }

const struct wire_seed wire_seeds[] = {
	LEGAL_TO_VAT(init),
	LEGAL_TO_VAT(start_vat),
	LEGAL_TO_VAT(message),
	LEGAL_TO_VAT(message_no_result),
	LEGAL_TO_VAT(notify),
	LEGAL_TO_VAT(drop_exports),
	LEGAL_TO_VAT(retire_exports),
	LEGAL_TO_VAT(retire_imports),
	LEGAL_TO_VAT(bring_out_your_dead),
	LEGAL_TO_VAT(wake),
	{ "shutdown", SEED_TO_VAT, WIRE_OK, shutdown_ },
	LEGAL_TO_VAT(store_value_none),
	LEGAL_TO_VAT(store_value_get),
	LEGAL_TO_VAT(store_value_key),
	LEGAL_TO_VAT(store_value_ref),
	LEGAL_TO_VAT(store_value_reachable),
	LEGAL_TO_VAT(ping),
	{ "send", SEED_TO_KERNEL, WIRE_OK, send_ },
	LEGAL_TO_KERNEL(send_no_result),
	LEGAL_TO_KERNEL(subscribe),
	LEGAL_TO_KERNEL(resolve),
	{ "exit", SEED_TO_KERNEL, WIRE_OK, exit_ },
	LEGAL_TO_KERNEL(exit_failure),
	LEGAL_TO_KERNEL(drop_imports),
	LEGAL_TO_KERNEL(retire_imports_sys),
	LEGAL_TO_KERNEL(retire_exports_sys),
	LEGAL_TO_KERNEL(abandon_exports),
	LEGAL_TO_KERNEL(vatstore_set),
	LEGAL_TO_KERNEL(vatstore_delete),
	LEGAL_TO_KERNEL(vatstore_get),
	LEGAL_TO_KERNEL(vatstore_next),
	LEGAL_TO_KERNEL(vatstore_first),
	LEGAL_TO_KERNEL(clist_next),
	LEGAL_TO_KERNEL(clist_first),
	LEGAL_TO_KERNEL(done),
	LEGAL_TO_KERNEL(done_error),
	LEGAL_TO_KERNEL(hello),
	{ "log", SEED_TO_KERNEL, WIRE_OK, log_ },
	LEGAL_TO_KERNEL(log_empty),
	LEGAL_TO_KERNEL(pong),
	LEGAL_TO_KERNEL(wake_me),
	LEGAL_TO_KERNEL(whole_crank),
	BAD(bad_empty, WIRE_E_EMPTY),
	BAD(bad_short_header, WIRE_E_SHORT),
	BAD(bad_short_frame, WIRE_E_SHORT),
	BAD(bad_short_field, WIRE_E_SHORT),
	BAD(bad_short_count, WIRE_E_SHORT),
	BAD(bad_size_small, WIRE_E_SIZE),
	BAD(bad_size_odd, WIRE_E_SIZE),
	BAD(bad_size_huge, WIRE_E_SIZE),
	BAD(bad_type, WIRE_E_TYPE),
	BAD(bad_type_huge, WIRE_E_TYPE),
	{ "bad_direction", SEED_TO_KERNEL, WIRE_E_TYPE, message },
	{ "bad_direction_to_vat", SEED_TO_VAT, WIRE_E_TYPE, done },
	BAD(bad_flags_kind, WIRE_E_FLAGS),
	BAD(bad_flags_unknown, WIRE_E_FLAGS),
	BAD_TO_VAT(bad_flags_found, WIRE_E_FLAGS),
	BAD_TO_VAT(bad_flags_value, WIRE_E_FLAGS),
	BAD(bad_flags_done, WIRE_E_FLAGS),
	BAD(bad_flags_resolution, WIRE_E_FLAGS),
	BAD(bad_flags_kernel, WIRE_E_FLAGS),
	BAD_TO_VAT(bad_flags_kernel_value, WIRE_E_FLAGS),
	BAD(bad_padding_capdata, WIRE_E_PADDING),
	BAD(bad_padding_list, WIRE_E_PADDING),
	BAD(bad_padding_bytes, WIRE_E_PADDING),
	BAD(bad_trailing, WIRE_E_TRAILING),
	BAD(bad_trailing_list, WIRE_E_TRAILING),
	BAD(bad_limit_slots, WIRE_E_LIMIT),
	BAD(bad_limit_body, WIRE_E_LIMIT),
	BAD(bad_limit_count, WIRE_E_LIMIT),
	BAD_TO_VAT(bad_limit_notify, WIRE_E_LIMIT),
	BAD(bad_limit_log, WIRE_E_LIMIT),
	BAD(bad_limit_level, WIRE_E_LIMIT),
	BAD(bad_ref_target, WIRE_E_REF),
	BAD(bad_ref_form, WIRE_E_REF),
	BAD(bad_ref_result, WIRE_E_REF),
	BAD(bad_ref_none, WIRE_E_REF),
	BAD(bad_ref_subscribe, WIRE_E_REF),
	BAD(bad_ref_resolve, WIRE_E_REF),
	BAD(bad_ref_sign, WIRE_E_REF),
	BAD_TO_VAT(bad_ref_sign_export, WIRE_E_REF),
	BAD(bad_ref_promise, WIRE_E_REF),
	BAD(bad_ref_slot, WIRE_E_REF),
	BAD(bad_ref_clist, WIRE_E_REF),
	BAD(bad_ref_slots_none, WIRE_E_REF_SLOTS),
	BAD(bad_ref_slots_two, WIRE_E_REF_SLOTS),
	BAD(bad_ref_slots_rejected, WIRE_E_REF_SLOTS),
	BAD(bad_delivery_missing, WIRE_E_DELIVERY),
	BAD(bad_delivery_present, WIRE_E_DELIVERY),
	BAD(bad_empty_list, WIRE_E_EMPTY),
	BAD(bad_empty_resolve, WIRE_E_EMPTY),
	BAD(bad_key_empty, WIRE_E_KEY),
	BAD(bad_key_long, WIRE_E_KEY),
	BAD(bad_second_frame, WIRE_E_REF),
	STREAM(parts, WIRE_OK),
	{ "parts_to_vat", SEED_STREAM_TO_VAT, WIRE_OK, parts_to_vat },
	STREAM(bad_part_interrupted, WIRE_E_PART),
	STREAM(bad_part_late, WIRE_E_PART),
	STREAM(bad_part_twice, WIRE_E_PART),
	STREAM(bad_part_total, WIRE_E_PART),
	STREAM(bad_part_not_full, WIRE_E_PART),
	STREAM(bad_part_past_end, WIRE_E_PART),
	STREAM(bad_part_small, WIRE_E_SIZE),
	STREAM(bad_part_huge, WIRE_E_SIZE),
	STREAM(bad_part_empty, WIRE_E_EMPTY),
	STREAM(bad_part_lie, WIRE_E_PART),
	STREAM(bad_part_nested, WIRE_E_PART),
	STREAM(bad_part_type, WIRE_E_TYPE),
	STREAM(bad_part_behind, WIRE_E_PART),
	STREAM(bad_part_joined, WIRE_E_TRAILING),
	STREAM(bad_packet_long, WIRE_E_SIZE),
};
const size_t n_wire_seeds = ARRAY_LEN(wire_seeds);
