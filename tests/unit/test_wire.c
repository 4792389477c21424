/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lib/wire.c: every frame in both directions, every breach of form named, nothing read past the end (L1, Y1, Y2). The
 * frames and breaches are those of tests/fuzz/wire_seeds.c; wire_replay() checks each that decodes against its
 * own bytes. Linked with -Wl,--wrap=realloc, so that memory can run out.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../../lib/util.h"
#include "../fuzz/wire_seeds.h"

static long reallocs_left = -1;
void *__real_realloc(void *p, size_t size);
void *__wrap_realloc(void *p, size_t size);
void *__wrap_realloc(void *p, size_t size)
{
	if (reallocs_left == 0)
		return NULL;
	if (reallocs_left > 0)
		reallocs_left--;
	return __real_realloc(p, size);
}

/* An input as wire_replay() takes it, in memory of exactly its length. */
static uint8_t *seed_input(const struct wire_seed *seed, size_t *lenp)
{
	struct wire_buf b = WIRE_BUF_INIT;
	uint8_t *input;

	seed->build(&b);
	assert_int_equal(b.error, 0);
	input = malloc(b.len + 1);
	assert_non_null(input);
	input[0] = seed->mode;
	if (b.len > 0)
		memcpy(input + 1, b.data, b.len);
	*lenp = b.len + 1;
	wire_buf_deinit(&b);
	return input;
}

static void test_seeds(void **state)
{
	(void)state;
	for (size_t i = 0; i < n_wire_seeds; i++) {
		size_t len;
		uint8_t *input = seed_input(&wire_seeds[i], &len);
		enum wire_error e = wire_replay(input, len);

		if (e != wire_seeds[i].expected)
			fail_msg("%s: %s instead of %s", wire_seeds[i].name, wire_error_text(e),
				 wire_error_text(wire_seeds[i].expected));
		free(input);
	}
}

/* Each type and each flag that travels is among the legal seeds, and each error among the breaches. */
static void test_seeds_are_complete(void **state)
{
	bool types[256] = { false }, errors[WIRE_E_MEMORY + 1] = { false };
	unsigned int flags = 0;

	(void)state;
	for (size_t i = 0; i < n_wire_seeds; i++) {
		const struct wire_seed *seed = &wire_seeds[i];
		struct wire_buf b = WIRE_BUF_INIT;

		seed->build(&b);
		errors[seed->expected] = true;
		if (seed->mode < SEED_STREAM_TO_VAT && seed->expected == WIRE_OK) {
			types[b.data[4]] = true;
			flags |= b.data[6];
		}
		wire_buf_deinit(&b);
	}
	for (unsigned int t = 0; t < ARRAY_LEN(types); t++)
		assert_int_equal(types[t], t != WIRE_PART && strcmp(wire_type_name((enum wire_type)t), "unknown"));
	assert_int_equal(flags, WIRE_F_FAILURE | WIRE_F_ERROR | WIRE_F_FOUND | WIRE_F_REACHABLE);
	for (unsigned int e = 0; e < WIRE_E_MEMORY; e++) {
		assert_true(errors[e]);
		assert_string_not_equal(wire_error_text((enum wire_error)e), "unknown error");
	}
	assert_string_equal(wire_error_text((enum wire_error)99), "unknown error");
	assert_string_equal(wire_type_name((enum wire_type)0xffff), "unknown");
}

/* Cut at every byte: less than a frame is never legal. The memory ends where the packet does. */
static void test_truncated(void **state)
{
	(void)state;
	for (size_t i = 0; i < n_wire_seeds; i++) {
		size_t len;
		uint8_t *input = seed_input(&wire_seeds[i], &len);
		bool is_one_frame = wire_seeds[i].mode < SEED_STREAM_TO_VAT && wire_seeds[i].expected == WIRE_OK &&
			strcmp(wire_seeds[i].name, "whole_crank");

		for (size_t cut = 0; cut < len; cut++) {
			uint8_t *copy = malloc(cut + 1);
			enum wire_error e;

			assert_non_null(copy);
			memcpy(copy, input, cut);
			e = wire_replay(copy, cut);
			if (is_one_frame)
				assert_int_not_equal(e, WIRE_OK);
			free(copy);
		}
		free(input);
	}
}

/* Every single bit flipped: legal or not, never a crash; and what is legal re-encodes (wire_replay asserts it). */
static void test_bit_flips(void **state)
{
	(void)state;
	for (size_t i = 0; i < n_wire_seeds; i++) {
		size_t len;
		uint8_t *input = seed_input(&wire_seeds[i], &len);

		if (wire_seeds[i].mode >= SEED_STREAM_TO_VAT) {
			free(input);
			continue;	/* the fuzzer's work: megabytes of zeros each */
		}
		for (size_t bit = 8; bit < len * 8; bit++) {
			input[bit / 8] ^= (uint8_t)(1u << bit % 8);
			wire_replay(input, len);
			input[bit / 8] ^= (uint8_t)(1u << bit % 8);
		}
		free(input);
	}
}

/* Y2: in a crank or not is told by the number alone; each type in one direction only, but for parts. */
static void test_every_type(void **state)
{
	unsigned int n_to_vat = 0, n_to_kernel = 0;

	(void)state;
	for (uint32_t type = 0; type < 0x10000; type++) {
		uint8_t frame[16] = { 16, 0, 0, 0, (uint8_t)type, (uint8_t)(type >> 8) };
		struct wire_frame f;
		size_t size;
		bool to_vat = wire_decode(frame, 16, WIRE_TO_VAT, &f, &size) != WIRE_E_TYPE;
		bool to_kernel = wire_decode(frame, 16, WIRE_TO_KERNEL, &f, &size) != WIRE_E_TYPE;

		assert_int_equal(to_vat && to_kernel, type == WIRE_PART);
		assert_int_equal(to_vat || to_kernel, strcmp(wire_type_name((enum wire_type)type), "unknown") != 0);
		n_to_vat += to_vat;
		n_to_kernel += to_kernel;
	}
	assert_int_equal(n_to_vat, 13);
	assert_int_equal(n_to_kernel, 19);
}

static void test_fields(void **state)
{
	static const uint64_t slots[] = { 4, REF_MINUS | 5 };
	struct wire_buf b = WIRE_BUF_INIT;
	struct wire_frame f;
	struct wire_resolution r;
	const uint8_t *pos;
	size_t size;

	(void)state;
	wire_begin(&b, WIRE_SEND, 0, 9);
	wire_u64(&b, REF_MINUS | 3);
	wire_u64(&b, 0);
	wire_put_capdata(&b, "abc", 3, slots, 2);
	wire_end(&b);
	wire_begin(&b, WIRE_NOTIFY, 0, 10);
	wire_u32(&b, 2);
	wire_u32(&b, 0);
	wire_put_resolution(&b, (vref_t){ REF_PROMISE | 1 }, WIRE_R_REF, "", 0, slots, 1);
	wire_put_resolution(&b, (vref_t){ REF_PROMISE | REF_MINUS | 2 }, WIRE_R_REJECTED, "xyz", 3, slots, 2);
	wire_end(&b);
	assert_int_equal(b.error, 0);

	assert_int_equal(wire_decode(b.data, b.len, WIRE_TO_KERNEL, &f, &size), WIRE_OK);
	assert_int_equal(size, 16 + 16 + 8 + 16 + 8);
	assert_int_equal(f.type, WIRE_SEND);
	assert_int_equal(f.delivery, 9);
	assert_true(f.message.target.bits == (REF_MINUS | 3));
	assert_true(vref_is_none(f.message.result));
	assert_int_equal(f.message.methargs.body.len, 3);
	assert_memory_equal(f.message.methargs.body.data, "abc", 3);
	assert_int_equal(f.message.methargs.n_slots, 2);
	assert_true(wire_slot(&f.message.methargs, 1).bits == slots[1]);

	assert_int_equal(wire_decode(b.data + size, b.len - size, WIRE_TO_VAT, &f, &size), WIRE_OK);
	assert_int_equal(f.list.count, 2);
	pos = wire_next_resolution(f.list.first, &r);
	assert_true(r.promise.bits == (REF_PROMISE | 1) && r.flags == WIRE_R_REF && r.value.n_slots == 1);
	pos = wire_next_resolution(pos, &r);
	assert_true(r.flags == WIRE_R_REJECTED && r.value.body.len == 3 && r.value.n_slots == 2);
	assert_ptr_equal(pos, b.data + b.len);
	wire_buf_deinit(&b);
}

/* The largest of everything that a frame may hold, and one more. */
static void test_limits(void **state)
{
	uint64_t *slots = calloc(WIRE_MAX_SLOTS + 1, sizeof(*slots));
	uint8_t *body = calloc(1, WIRE_MAX_BODY + 1);
	struct wire_buf b = WIRE_BUF_INIT;
	struct wire_frame f;
	size_t size;

	(void)state;
	assert_true(slots && body);
	for (uint32_t i = 0; i <= WIRE_MAX_SLOTS; i++)
		slots[i] = i;
	wire_begin(&b, WIRE_EXIT, 0, 1);
	wire_put_capdata(&b, body, WIRE_MAX_BODY, slots, WIRE_MAX_SLOTS);
	wire_end(&b);
	assert_int_equal(b.error, 0);
	assert_int_equal(wire_decode(b.data, b.len, WIRE_TO_KERNEL, &f, &size), WIRE_OK);
	assert_int_equal(size, b.len);
	wire_buf_reset(&b);
	wire_begin(&b, WIRE_EXIT, 0, 1);
	wire_put_capdata(&b, body, WIRE_MAX_BODY + 1, NULL, 0);
	wire_end(&b);
	assert_int_equal(b.error, ENOSPC);
	wire_u64(&b, 1);		/* no-ops from here */
	wire_put_bytes(&b, body, 10);
	assert_int_equal(b.error, ENOSPC);
	wire_buf_reset(&b);
	wire_begin(&b, WIRE_EXIT, 0, 1);
	wire_put_capdata(&b, body, 0, slots, WIRE_MAX_SLOTS + 1);
	assert_int_equal(b.error, ENOSPC);
	wire_buf_reset(&b);
	wire_begin(&b, WIRE_RESOLVE, 0, 1);
	for (unsigned int i = 0; i < 3; i++)
		wire_put_capdata(&b, body, WIRE_MAX_BODY, NULL, 0);
	wire_end(&b);
	assert_int_equal(b.error, ENOSPC);	/* the frame itself */
	wire_buf_deinit(&b);
	free(body);
	free(slots);
}

/* A large frame, cut and joined, at sizes around the packet's. */
static void test_cut_and_join(void **state)
{
	static const size_t bodies[] = { WIRE_MAX_PACKET - 24, WIRE_MAX_PACKET - 23, 2 * 65512 - 24, 2 * 65512 - 23,
					 1u << 20, WIRE_MAX_BODY };
	uint8_t *body = malloc(WIRE_MAX_BODY), *packet = malloc(WIRE_MAX_PACKET);
	struct wire_joiner j = WIRE_JOINER_INIT;
	struct wire_buf b = WIRE_BUF_INIT;

	(void)state;
	assert_true(body && packet);
	for (size_t i = 0; i < WIRE_MAX_BODY; i++)
		body[i] = (uint8_t)(i * 2654435761u >> 13);
	for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
		size_t offset = 0, n, len = 0, n_packets = 0;
		const uint8_t *frames = NULL;

		wire_buf_reset(&b);
		wire_begin(&b, WIRE_START_VAT, 0, 5);
		wire_put_capdata(&b, body, bodies[i], NULL, 0);
		wire_end(&b);
		assert_int_equal(b.error, 0);
		assert_int_equal(b.len > WIRE_MAX_PACKET, bodies[i] != WIRE_MAX_PACKET - 24);
		if (b.len <= WIRE_MAX_PACKET)
			continue;
		while ((n = wire_cut_part(b.data, b.len, &offset, packet)) > 0) {
			assert_int_equal(len, 0);
			assert_true(offset == b.len || n == WIRE_MAX_PACKET);
			assert_int_equal(wire_join(&j, packet, n, WIRE_TO_VAT, &frames, &len), WIRE_OK);
			assert_true(j.buf.size <= 2 * offset + 1024);	/* by bytes received */
			n_packets++;
		}
		assert_int_equal(n_packets, (b.len + 65511) / 65512);
		assert_int_equal(len, b.len);
		assert_memory_equal(frames, b.data, len);
	}
	/* An ordinary packet is itself, and lets the large buffer go. */
	wire_buf_reset(&b);
	wire_begin(&b, WIRE_SHUTDOWN, 0, 0);
	wire_end(&b);
	{
		const uint8_t *frames = NULL;
		size_t len = 0;

		assert_int_equal(wire_join(&j, b.data, b.len, WIRE_TO_VAT, &frames, &len), WIRE_OK);
		assert_ptr_equal(frames, b.data);
		assert_int_equal(len, b.len);
		assert_int_equal(j.buf.size, 0);
	}
	wire_joiner_deinit(&j);
	wire_joiner_deinit(&j);
	wire_buf_deinit(&b);
	free(packet);
	free(body);
}

/* Memory runs out at every step of building and of joining: an error, remembered, and nothing else. */
static void test_no_memory(void **state)
{
	static uint8_t body[3 * WIRE_MAX_PACKET], packet[WIRE_MAX_PACKET];
	struct wire_buf b = WIRE_BUF_INIT;
	unsigned int n_failures = 0;

	(void)state;
	for (long n = 0; n < 40; n++) {
		wire_buf_deinit(&b);
		reallocs_left = n;
		wire_begin(&b, WIRE_START_VAT, 0, 5);
		wire_put_capdata(&b, body, sizeof(body), NULL, 0);
		wire_end(&b);
		reallocs_left = -1;
		if (!b.error)
			break;
		assert_int_equal(b.error, ENOMEM);
		n_failures++;
	}
	assert_true(n_failures > 0 && !b.error);
	for (long allowed = 0;; allowed++) {
		struct wire_joiner j = WIRE_JOINER_INIT;
		size_t offset = 0, n, len = 0;
		enum wire_error e = WIRE_OK;
		const uint8_t *frames;

		reallocs_left = allowed;
		while (!e && (n = wire_cut_part(b.data, b.len, &offset, packet)) > 0)
			e = wire_join(&j, packet, n, WIRE_TO_VAT, &frames, &len);
		reallocs_left = -1;
		wire_joiner_deinit(&j);
		if (!e)
			break;
		assert_int_equal(e, WIRE_E_MEMORY);
		n_failures++;
	}
	assert_true(n_failures > 2);
	wire_buf_deinit(&b);
}

/* One line of a dump: "0000  28 00 … | text". */
static size_t read_hex_line(const char *line, uint8_t *out)
{
	unsigned int at, byte;
	size_t n = 0;
	int taken;

	if (sscanf(line, "%4x %n", &at, &taken) != 1)
		return 0;
	for (line += taken; n < 16 && sscanf(line, "%2x%n", &byte, &taken) == 1; line += taken)
		out[n++] = (uint8_t)byte;
	return n;
}

/* The dumps of docs/PROTOCOL.md, in blocks that begin "```to-kernel" or "```to-vat", are legal packets. */
static void test_protocol_page(void **state)
{
	FILE *page = fopen("docs/PROTOCOL.md", "re");
	uint8_t input[8192];
	size_t len = 0, n_blocks = 0;
	char line[1024];

	(void)state;
	if (!page) {
		print_message("docs/PROTOCOL.md: not here; run from the top of the tree\n");
		skip();
	}
	while (fgets(line, sizeof(line), page)) {
		if (!strncmp(line, "```to-", 6)) {
			input[0] = !strncmp(line, "```to-kernel", 12) ? SEED_TO_KERNEL : SEED_TO_VAT;
			len = 1;
		} else if (!strncmp(line, "```", 3) && len > 0) {
			assert_true(len > 1);
			assert_int_equal(wire_replay(input, len), WIRE_OK);
			len = 0;
			n_blocks++;
		} else if (len > 0) {
			assert_true(len + 16 <= sizeof(input));
			len += read_hex_line(line, input + len);
		}
	}
	fclose(page);
	assert_true(n_blocks >= 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_seeds),
		cmocka_unit_test(test_seeds_are_complete),
		cmocka_unit_test(test_truncated),
		cmocka_unit_test(test_bit_flips),
		cmocka_unit_test(test_every_type),
		cmocka_unit_test(test_fields),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_cut_and_join),
		cmocka_unit_test(test_no_memory),
		cmocka_unit_test(test_protocol_page),
	};

	log_init("test_wire");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
