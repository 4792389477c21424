/* SPDX-License-Identifier: Apache-2.0 */
/* Writes the fuzzer's seeds: make_wire_corpus DIRECTORY. `make corpus-wire` renews tests/corpus/wire with it. */
#include <capstan/wire.h>

#include "../../lib/util.h"
#include "wire_seeds.h"

static int write_seed(const char *directory, const struct wire_seed *seed)
{
	_cleanup_(wire_buf_deinit) struct wire_buf b = WIRE_BUF_INIT;
	_cleanup_(fclosep) FILE *file = NULL;
	char path[4096];

	seed->build(&b);
	snprintf(path, sizeof(path), "%s/%s", directory, seed->name);
	file = fopen(path, "we");
	if (b.error || !file || fputc(seed->mode, file) == EOF || fwrite(b.data, 1, b.len, file) != b.len ||
	    fflush(file)) {
		perror(path);
		return 1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	int r = 0;

	if (argc != 2) {
		fprintf(stderr, "usage: %s DIRECTORY\n", argv[0]);
		return 2;
	}
	for (size_t i = 0; i < n_wire_seeds && r == 0; i++)
		r = write_seed(argv[1], &wire_seeds[i]);
	return r;
}
