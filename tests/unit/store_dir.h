/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For the store's tests: a folder per test that goes away also when the test fails (setup and teardown of cmocka),
 * small random numbers with a seed, and calls that must succeed.
 */
#ifndef CAPSTAN_TEST_STORE_DIR_H
#define CAPSTAN_TEST_STORE_DIR_H

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "../../broker/store.h"

#define DIR_MAX		256

static inline int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static inline void remove_tree(const char *dir)
{
	nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

static inline int dir_setup(void **state)
{
	char *dir = malloc(DIR_MAX);

	strcpy(dir, "/tmp/capstan-store-XXXXXX");
	*state = dir;
	return mkdtemp(dir) ? 0 : -1;
}

static inline int dir_teardown(void **state)
{
	remove_tree(*state);
	free(*state);
	return 0;
}

static inline const char *dir_path(char buf[2 * DIR_MAX], const char *dir, const char *name)
{
	snprintf(buf, 2 * DIR_MAX, "%s/%s", dir, name);
	return buf;
}

#define dir_test(f)	cmocka_unit_test_setup_teardown(f, dir_setup, dir_teardown)

/* xorshift64*: the same numbers everywhere for a seed. */
struct rng { uint64_t x; };
static inline uint64_t rng_next(struct rng *r)
{
	r->x ^= r->x >> 12;
	r->x ^= r->x << 25;
	r->x ^= r->x >> 27;
	return r->x * UINT64_C(0x2545f4914f6cdd1d);
}
static inline unsigned rng_below(struct rng *r, unsigned n) { return (unsigned)((rng_next(r) >> 33) % n); }

static inline struct store *must_open(const char *dir, enum store_kind kind)
{
	struct store *s = NULL;
	uint64_t version = 0;

	assert_int_equal(store_open(&s, dir, kind, &version), 0);
	return s;
}

static inline void must_put(struct store *s, enum table t, const void *key, size_t key_len, const void *val,
			    size_t len)
{
	assert_int_equal(store_put(s, t, key, key_len, val, len), 0);
}

#endif
