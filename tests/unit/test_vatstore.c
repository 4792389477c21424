/* SPDX-License-Identifier: Apache-2.0 */
/* Vatstores (Y4) against a naive sorted array, on both stores: keys to 4 KiB that share long prefixes. */
#include "store_dir.h"

#define N_KEYS		400
#define N_VATS		2

struct entry { uint8_t key[WIRE_MAX_KEY]; size_t key_len; uint32_t id; bool there; };
struct world {
	struct rng rng;
	struct store *s[2];
	struct entry e[N_VATS][N_KEYS];		/* every key that is ever used, sorted */
	struct entry saved[N_VATS][N_KEYS];
	int64_t bytes[N_VATS];
	int64_t bytes_saved[N_VATS];
	bool savepoint;
};

static int entry_cmp(const void *pa, const void *pb)
{
	const struct entry *a = pa, *b = pb;
	size_t n = a->key_len < b->key_len ? a->key_len : b->key_len;
	int c = memcmp(a->key, b->key, n);

	return c ? c : (a->key_len > b->key_len) - (a->key_len < b->key_len);
}

static size_t value_make(uint8_t *out, uint32_t id)
{
	size_t len = id % 7 ? id % 40 : 0;

	memset(out, (int)(id & 0xff), len);
	return len;
}

/* Lengths around the borders of chunks; bytes from very few, among them 0 and 255 and what looks like a link. */
static void key_make(struct rng *r, struct entry *e)
{
	static const size_t lens[] = {
		1, 2, 3, 8, 16, 398, 399, 400, 401, 402, 408, 799, 800, 801, 1200, 3999, 4000, 4001, 4095, 4096,
	};
	size_t common;

	e->key_len = lens[rng_below(r, ARRAY_LEN(lens))];
	memset(e->key, 'p', e->key_len);
	common = rng_below(r, 4) ? e->key_len : rng_below(r, (unsigned)e->key_len);
	for (size_t i = common; i < e->key_len; i++)
		e->key[i] = (uint8_t)(rng_below(r, 3) * 127 + rng_below(r, 2));
	for (size_t i = 0; i < 3; i++) {
		size_t at = rng_below(r, 2) ? rng_below(r, (unsigned)e->key_len) : e->key_len - 1;

		e->key[at] = (uint8_t)(rng_below(r, 3) + 'o');
	}
}

static void world_init(struct world *w, const char *dir, uint64_t seed)
{
	char path[2 * DIR_MAX], name[32];

	memset(w, 0, sizeof *w);
	w->rng.x = seed;
	for (int v = 0; v < N_VATS; v++) {
		for (int i = 0; i < N_KEYS; i++) {
			struct entry *e = &w->e[v][i];

			do {
				key_make(&w->rng, e);
				for (int k = 0; k < i; k++)
					if (!entry_cmp(&w->e[v][k], e))
						e->key_len = 0;
			} while (!e->key_len);
		}
		qsort(w->e[v], N_KEYS, sizeof w->e[v][0], entry_cmp);
	}
	for (int i = 0; i < 2; i++) {
		snprintf(name, sizeof name, "%d-%d", (int)seed, i);
		w->s[i] = must_open(dir_path(path, dir, name), i ? STORE_DIRECT : STORE_OVERLAY);
	}
}

static void check_get(struct world *w, int v, const struct entry *e)
{
	uint8_t want[64];
	const void *val;
	size_t len;

	for (int i = 0; i < 2; i++) {
		assert_int_equal(vatstore_get(w->s[i], (uint64_t)v + 1, e->key, e->key_len, &val, &len),
				 e->there ? 0 : STORE_NOT_FOUND);
		if (!e->there)
			continue;
		assert_int_equal(len, value_make(want, e->id));
		if (len)
			assert_memory_equal(val, want, len);
	}
}

/* The least present key above any key whatever, present or not (Y4). */
static void check_next(struct world *w, int v, const struct entry *from)
{
	const struct entry *want = NULL;
	uint8_t next[WIRE_MAX_KEY];
	size_t len;

	for (int i = 0; i < N_KEYS && !want; i++)
		if (w->e[v][i].there && entry_cmp(&w->e[v][i], from) > 0)
			want = &w->e[v][i];
	for (int i = 0; i < 2; i++) {
		assert_int_equal(vatstore_next(w->s[i], (uint64_t)v + 1, from->key, from->key_len, next, &len),
				 want ? 0 : STORE_NOT_FOUND);
		if (!want)
			continue;
		assert_int_equal(len, want->key_len);
		assert_memory_equal(next, want->key, len);
	}
}

static void step_change(struct world *w, int v, struct entry *e, bool set)
{
	int64_t delta, want = e->there ? -(int64_t)e->key_len : 0;
	uint8_t val[64], old[64];
	size_t len;

	if (e->there)
		want -= (int64_t)value_make(old, e->id);
	if (set)
		e->id = (uint32_t)rng_next(&w->rng);
	len = value_make(val, e->id);
	if (set)
		want += (int64_t)(e->key_len + len);
	for (int i = 0; i < 2; i++) {
		if (set)
			assert_int_equal(vatstore_set(w->s[i], (uint64_t)v + 1, e->key, e->key_len, val, len,
						      &delta), 0);
		else
			assert_int_equal(vatstore_delete(w->s[i], (uint64_t)v + 1, e->key, e->key_len, &delta), 0);
		assert_int_equal(delta, want);
	}
	e->there = set;
	w->bytes[v] += want;
}

static void step_transaction(struct world *w)
{
	bool keep = rng_below(&w->rng, 2);

	if (!w->savepoint && rng_below(&w->rng, 4) == 0) {
		for (int i = 0; i < 2; i++)
			assert_int_equal(store_commit(w->s[i]), 0);
		return;
	}
	if (!w->savepoint) {
		memcpy(w->saved, w->e, sizeof w->e);
		memcpy(w->bytes_saved, w->bytes, sizeof w->bytes);
	}
	for (int i = 0; i < 2; i++)
		assert_int_equal(!w->savepoint ? store_savepoint(w->s[i]) :
				 keep ? store_release(w->s[i]) : store_rollback(w->s[i]), 0);
	if (w->savepoint && !keep) {
		memcpy(w->e, w->saved, sizeof w->e);
		memcpy(w->bytes, w->bytes_saved, sizeof w->bytes);
	}
	w->savepoint = !w->savepoint;
}

static void step(struct world *w)
{
	unsigned op = rng_below(&w->rng, 100);
	int v = (int)rng_below(&w->rng, N_VATS);
	struct entry *e = &w->e[v][rng_below(&w->rng, N_KEYS)], other;

	if (op < 40) {
		step_change(w, v, e, true);
	} else if (op < 70) {
		step_change(w, v, e, false);
	} else if (op < 80) {
		check_get(w, v, e);
	} else if (op < 88) {
		check_next(w, v, e);
	} else if (op < 98) {
		key_make(&w->rng, &other);
		check_next(w, v, &other);
	} else {
		step_transaction(w);
	}
}

static void check_all(struct world *w)
{
	struct entry none = { .key_len = 0 };
	int64_t sum;

	for (int v = 0; v < N_VATS; v++) {
		check_next(w, v, &none);
		sum = 0;
		for (int i = 0; i < N_KEYS; i++) {
			uint8_t val[64];

			check_get(w, v, &w->e[v][i]);
			check_next(w, v, &w->e[v][i]);
			if (w->e[v][i].there)
				sum += (int64_t)(w->e[v][i].key_len + value_make(val, w->e[v][i].id));
		}
		assert_int_equal(sum, w->bytes[v]);
	}
}

static size_t n_rows(struct store *s)
{
	uint8_t at[KEY_MAX];
	const void *k, *v;
	size_t k_len, v_len, at_len = 0, n = 0;

	while (!store_next(s, T_VATSTORE, at, at_len, !at_len, &k, &k_len, &v, &v_len)) {
		memcpy(at, k, k_len);
		at_len = k_len;
		n++;
	}
	return n;
}

/* The first vat's keys one by one, the second's by the purge; both leave not one row behind. */
static void empty_all(struct world *w)
{
	bool done = false;
	unsigned rounds = 0;

	for (int i = 0; i < N_KEYS; i++)
		step_change(w, 0, &w->e[0][i], false);
	assert_int_equal(w->bytes[0], 0);
	for (int i = 0; i < 2; i++) {
		size_t before = n_rows(w->s[i]);

		for (done = false, rounds = 0; !done; rounds++) {
			assert_int_equal(vatstore_purge(w->s[i], 2, &(unsigned){ 7 }, &done), 0);
			assert_true(before - n_rows(w->s[i]) <= 7 * (rounds + 1));
		}
		assert_int_equal(rounds, before / 7 + 1);
		assert_int_equal(n_rows(w->s[i]), 0);
		store_free(w->s[i]);
	}
}

/* Y4 */
static void test_model(void **state)
{
	struct world *w = malloc(sizeof *w);

	for (uint64_t seed = 1; seed <= 4; seed++) {
		world_init(w, *state, seed);
		for (int i = 0; i < 4000; i++) {
			step(w);
			if (i % 1000 == 0)
				check_all(w);
		}
		check_all(w);
		if (w->savepoint)
			for (int i = 0; i < 2; i++)
				assert_int_equal(store_release(w->s[i]), 0);
		empty_all(w);
	}
	free(w);
}

/*
 * L1: many keys that share their first 4,000 bytes, beside one value of the largest size: the work for each must not
 * depend on how many there are, or how large. A bucket of them all would be copied 20,000 times: 320 GB.
 */
static void test_no_large_rows(void **state)
{
	struct store *s = must_open(*state, STORE_OVERLAY);
	uint8_t key[WIRE_MAX_KEY], next[WIRE_MAX_KEY], *big = calloc(1, WIRE_MAX_BODY);
	const void *k, *v;
	size_t k_len, v_len, len;
	uint8_t at[KEY_MAX];
	size_t at_len = 0, n_big = 0;
	int64_t delta;

	memset(key, 'x', sizeof key);
	assert_int_equal(vatstore_set(s, 1, key, 4001, big, WIRE_MAX_BODY, &delta), 0);
	assert_int_equal(delta, 4001 + WIRE_MAX_BODY);
	for (uint64_t i = 0; i < 20000; i++) {
		put_be64(key + 4002, i * UINT64_C(0x9e3779b97f4a7c15));
		assert_int_equal(vatstore_set(s, 1, key, 4010, "v", 1, &delta), 0);
		assert_int_equal(delta, 4011);
	}
	while (!store_next(s, T_VATSTORE, at, at_len, !at_len, &k, &k_len, &v, &v_len)) {
		memcpy(at, k, k_len);
		at_len = k_len;
		n_big += v_len > 100;
	}
	assert_int_equal(n_big, 1);
	assert_int_equal(vatstore_next(s, 1, "x", 1, next, &len), 0);
	assert_int_equal(len, 4001);
	assert_int_equal(vatstore_next(s, 1, next, len, next, &len), 0);
	assert_int_equal(len, 4010);
	free(big);
	store_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		dir_test(test_model),
		dir_test(test_no_large_rows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
