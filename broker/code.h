/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The code store: programs and companion files, copied by SHA-256 into code/ below the store's folder, so that a
 * restart does not depend on the originals. Copying reads a file that a client chose, which may be slow: it runs on a
 * helper thread and reports back through the loop.
 */
#ifndef CAPSTAN_CODE_H
#define CAPSTAN_CODE_H

#include "../lib/loop.h"

#define CODE_MAX_SIZE	(512u << 20)
#define CODE_HASH_LEN	32
#define CODE_HEX_LEN	64

struct code_store;
/* dir_fd: the store's folder (borrowed). Makes code/ when missing, removes half-copied files. */
int code_store_new(struct code_store **csp, struct loop *loop, int dir_fd);
struct code_store *code_store_free(struct code_store *cs);

/*
 * Copy the regular file open at `fd` (taken) into the store. done() is called from the loop, once: `error` NULL
 * and the hash, or a sentence ("not a regular file", "larger than …", "not an executable ELF file or script").
 */
typedef int (*code_done)(void *ctx, const char *error, const uint8_t hash[CODE_HASH_LEN], uint64_t size);
int code_add(struct code_store *cs, int fd, bool program, code_done done, void *ctx);

/*
 * A sealed, executable memfd with the program's bytes (checked against the hash), shared by all its vats; a new
 * O_CLOEXEC duplicate. CODE_E_MISSING: not in the store or damaged.
 */
enum { CODE_E_MISSING = 1, CODE_E_RESOURCES = 2 /* no descriptor or memory left at the moment */ };
int code_open(struct code_store *cs, const uint8_t hash[CODE_HASH_LEN], int *fdp);

void code_hex(const uint8_t hash[CODE_HASH_LEN], char out[CODE_HEX_LEN + 1]);
bool code_unhex(const char *text, size_t len, uint8_t hash[CODE_HASH_LEN]);

#endif
