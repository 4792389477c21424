/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys of collections as the C vat library writes them (vatd/lib/keys.c has the format: Endo's encodePassable, compactOrdered),
 * read back. Total on any bytes: exactly what the library can have written is read.
 */
#ifndef CAPSTAN_FS_STORE_KEY_H
#define CAPSTAN_FS_STORE_KEY_H

#include <capstan/ref.h>

#include "../lib/jtext.h"
#include "../lib/util.h"

/* The key as smallcaps, its references in the order of their slots. */
struct store_key { struct jtext text; uint64_t *vrefs; size_t n_vrefs, size; };
enum { STORE_KEY_E_INVALID = 1 };
int store_key_read(const void *data, size_t len, struct store_key *out);	/* 0, STORE_KEY_E_INVALID, -ENOMEM */
void store_key_deinit(struct store_key *k);

#endif
