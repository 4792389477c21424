/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzes the frame decoder, both directions, and the joiner of parts. L1: any bytes are WIRE_OK or an error. */
#include <stdlib.h>

#include "../../lib/util.h"
#include "wire_seeds.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* Exactly as long as the input: a read past the end of it is seen. */
	uint8_t *copy = malloc(size ? size : 1);

	if (!copy)
		return 0;
	memcpy(copy, data, size);
	wire_replay(copy, size);
	free(copy);
	return 0;
}
