/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small wire inputs with known outcomes: every legal frame with each flag it knows, and one breach of every rule of
 * form. The unit test checks the outcomes; the same inputs are the fuzzer's corpus (make_wire_corpus.c).
 *
 * An input is what fuzz_wire reads. Byte 0 says what the rest is: 0 a packet to the vat, 1 a packet to the kernel, 2 and
 * 3 a stream of packets (to the vat, to the kernel), each written as u32 length (of the packet), u8 n, n
 * bytes; the rest of the packet is zeros, so that parts of 64 KiB stay small here.
 */
#ifndef CAPSTAN_TESTS_WIRE_SEEDS_H
#define CAPSTAN_TESTS_WIRE_SEEDS_H

#include <capstan/wire.h>

enum seed_mode { SEED_TO_VAT, SEED_TO_KERNEL, SEED_STREAM_TO_VAT, SEED_STREAM_TO_KERNEL };

struct wire_seed {
	const char *name;
	enum seed_mode mode;
	enum wire_error expected;	/* of the last frame, or of the packet that ends the stream */
	void (*build)(struct wire_buf *b);	/* everything after byte 0 */
};
extern const struct wire_seed wire_seeds[];
extern const size_t n_wire_seeds;

/*
 * Run one input as the kernel and a vat run theirs: join, then decode frame by frame; every frame decoded is encoded
 * again and compared, every list walked, large frames cut and joined anew. Aborts when one of these
 * promises is broken. Returns the first error, WIRE_OK when all was legal.
 */
enum wire_error wire_replay(const uint8_t *input, size_t len);

#endif
