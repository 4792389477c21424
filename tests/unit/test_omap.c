/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lib/omap.c against a sorted array that cannot be wrong: same operations, every answer compared. Linked with
 * -Wl,--wrap=malloc, so that the n-th allocation can fail.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../../lib/omap.h"

#define KEY_MAX		40
#define VAL_MAX		120

static long mallocs_left = -1;	/* -1: all succeed */
void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_malloc(size_t size)
{
	if (mallocs_left == 0)
		return NULL;
	if (mallocs_left > 0)
		mallocs_left--;
	return __real_malloc(size);
}

static uint64_t random_state;
static uint32_t rnd(uint32_t n)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (uint32_t)(random_state >> 20) % n;
}

struct row { uint8_t key[KEY_MAX]; size_t key_len; uint8_t val[VAL_MAX]; size_t len; bool dead; };
struct naive { struct row *rows; size_t n, size; };

static int key_compare(const void *a, size_t a_len, const void *b, size_t b_len)
{
	size_t n = a_len < b_len ? a_len : b_len;
	int c = n ? memcmp(a, b, n) : 0;

	return c ? c : (a_len > b_len) - (a_len < b_len);
}

/* Index of the first row that is not less. */
static size_t naive_rank(const struct naive *t, const void *key, size_t len, bool *equalp)
{
	size_t low = 0, high = t->n;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (key_compare(t->rows[middle].key, t->rows[middle].key_len, key, len) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	*equalp = low < t->n && !key_compare(t->rows[low].key, t->rows[low].key_len, key, len);
	return low;
}

static void naive_put(struct naive *t, const struct row *row)
{
	bool equal;
	size_t i = naive_rank(t, row->key, row->key_len, &equal);

	if (!equal) {
		if (t->n == t->size) {
			t->size = t->size ? t->size * 2 : 64;
			t->rows = realloc(t->rows, t->size * sizeof(*row));
			assert_non_null(t->rows);
		}
		memmove(&t->rows[i + 1], &t->rows[i], (t->n - i) * sizeof(*row));
		t->n++;
	}
	t->rows[i] = *row;
}

static void naive_remove(struct naive *t, const void *key, size_t len)
{
	bool equal;
	size_t i = naive_rank(t, key, len, &equal);

	if (!equal)
		return;
	t->n--;
	memmove(&t->rows[i], &t->rows[i + 1], (t->n - i) * sizeof(t->rows[0]));
}

static void check_node(const struct omap_node *node, const struct row *row)
{
	if (!row) {
		assert_null(node);
		return;
	}
	assert_non_null(node);
	assert_int_equal(node->key_len, row->key_len);
	assert_memory_equal(node->key, row->key, row->key_len);
	assert_int_equal(node->dead, row->dead);
	assert_int_equal(node->len, row->len);
	if (node->dead)
		assert_null(node->val);
	else
		assert_memory_equal(node->val, row->val, row->len);
}

static void check_whole(struct omap *m, const struct naive *t)
{
	const struct omap_node *node = omap_next(m, "", 0, true);
	uint8_t key[KEY_MAX];
	size_t i, len;

	assert_int_equal(omap_count(m), t->n);
	for (i = 0; i < t->n; i++) {
		check_node(node, &t->rows[i]);
		len = node->key_len;
		memcpy(key, node->key, len);
		node = omap_next(m, key, len, false);
	}
	assert_null(node);
}

/* Keys like the kernel's (8, 16, 17 bytes, small numbers), texts with long common beginnings, zeros at the end. */
static void random_key(struct row *row, uint32_t spread)
{
	memset(row->key, 0, sizeof(row->key));
	switch (rnd(6)) {
	case 0:
		put_be64(row->key, rnd(spread));
		row->key_len = 8;
		break;
	case 1:
	case 2:
		put_be64(row->key, 1 + rnd(2));
		put_be64(row->key + 8, rnd(spread));
		row->key_len = 16;
		break;
	case 3:
		put_be64(row->key, 1);
		row->key[8] = (uint8_t)rnd(3);
		put_be64(row->key + 9, rnd(spread));
		row->key_len = 17;
		break;
	case 4:
		memcpy(row->key, "the same beginning of it", 24);
		put_be64(row->key + 24, rnd(spread));
		row->key_len = 20 + rnd(13);
		break;
	default:
		row->key_len = rnd(20);		/* zeros only, differing by length; 0 is legal */
		if (row->key_len > 0)
			row->key[rnd((uint32_t)row->key_len)] = (uint8_t)rnd(2);
	}
}

static void random_row(struct row *row, uint32_t spread)
{
	random_key(row, spread);
	row->dead = rnd(8) == 0;
	row->len = row->dead ? 0 : rnd(4) ? rnd(20) : rnd(VAL_MAX);
	for (size_t i = 0; i < row->len; i++)
		row->val[i] = (uint8_t)rnd(256);
}

static void step(struct omap *m, struct naive *t, uint32_t spread, uint32_t puts_of_100)
{
	struct row row;
	bool equal;
	size_t i;

	random_row(&row, spread);
	if (rnd(3) == 0) {
		i = naive_rank(t, row.key, row.key_len, &equal);
		check_node(omap_find(m, row.key, row.key_len), equal ? &t->rows[i] : NULL);
		check_node(omap_next(m, row.key, row.key_len, true), i < t->n ? &t->rows[i] : NULL);
		i += equal;
		check_node(omap_next(m, row.key, row.key_len, false), i < t->n ? &t->rows[i] : NULL);
	} else if (rnd(100) < puts_of_100) {
		assert_int_equal(omap_put(m, row.key, row.key_len, row.val, row.len, row.dead), 0);
		naive_put(t, &row);
	} else {
		omap_remove(m, row.key, row.key_len);
		naive_remove(t, row.key, row.key_len);
	}
}

static void test_random(void **state)
{
	static const uint32_t spreads[] = { 4, 60, 700, 4000 };

	(void)state;
	for (size_t s = 0; s < ARRAY_LEN(spreads); s++) {
		struct omap *m = omap_new();
		struct naive t = { 0 };

		random_state = 0x9e3779b97f4a7c15 + s;
		for (unsigned int wave = 0; wave < 6; wave++) {		/* grow, shrink to little, grow again, … */
			for (unsigned int i = 0; i < 9000; i++)
				step(m, &t, spreads[s], wave % 2 ? 8 : 85);
			check_whole(m, &t);
		}
		omap_clear(m);
		t.n = 0;
		check_whole(m, &t);
		for (unsigned int i = 0; i < 3000; i++)
			step(m, &t, spreads[s], 80);
		check_whole(m, &t);
		free(t.rows);
		assert_null(omap_free(m));
	}
}

static size_t key_u64_u64(uint8_t *key, uint64_t a, uint64_t b)
{
	put_be64(key, a);
	put_be64(key + 8, b);
	return 16;
}

/* Filled in order, drained from either end or from the middle: pages vanish at every height. */
static void test_drain(void **state)
{
	enum { N = 20000 };
	struct omap *m = omap_new();
	uint8_t key[16];

	(void)state;
	for (unsigned int way = 0; way < 4; way++) {
		for (uint32_t i = 0; i < N; i++) {
			assert_int_equal(omap_put(m, key, key_u64_u64(key, 7, way & 1 ? N - 1 - i : i), &i, 4, false), 0);
		}
		assert_int_equal(omap_count(m), N);
		for (uint32_t i = 0; i < N; i++) {
			uint32_t at = way < 2 ? i : (i % 2 ? N / 2 + i / 2 : N / 2 - 1 - i / 2);
			const struct omap_node *node;

			omap_remove(m, key, key_u64_u64(key, 7, at));
			node = omap_next(m, "", 0, true);
			if (i == N - 1)
				assert_null(node);
			else if (way < 2)
				assert_int_equal(get_be64(node->key + 8), i + 1);
		}
		assert_int_equal(omap_count(m), 0);
	}
	omap_free(m);
}

/* A node and its bytes stay where they are while others come and go. */
static void test_stable(void **state)
{
	enum { KEPT = 50 };
	const struct omap_node *kept[KEPT];
	struct omap *m = omap_new();
	uint8_t key[8];

	(void)state;
	random_state = 42;
	for (uint64_t i = 0; i < KEPT; i++) {
		put_be64(key, i * 1000);
		assert_int_equal(omap_put(m, key, 8, key, 8, false), 0);
		kept[i] = omap_find(m, key, 8);
	}
	for (unsigned int i = 0; i < 60000; i++) {
		uint64_t n = rnd(KEPT * 1000);

		if (n % 1000 == 0)
			continue;
		put_be64(key, n);
		if (rnd(2))
			assert_int_equal(omap_put(m, key, 8, &i, 4, false), 0);
		else
			omap_remove(m, key, 8);
	}
	for (uint64_t i = 0; i < KEPT; i++) {
		put_be64(key, i * 1000);
		assert_ptr_equal(omap_find(m, key, 8), kept[i]);
		assert_memory_equal(kept[i]->val, key, 8);
	}
	omap_free(m);
}

/* Key and value may be the map's own bytes. */
static void test_alias(void **state)
{
	struct omap *m = omap_new();
	const struct omap_node *node;
	uint8_t big[VAL_MAX];

	(void)state;
	memset(big, 'b', sizeof(big));
	assert_int_equal(omap_put(m, "key", 3, "0123456789", 10, false), 0);
	node = omap_find(m, "key", 3);
	assert_int_equal(omap_put(m, node->key, node->key_len, node->val + 2, 5, false), 0);
	node = omap_find(m, "key", 3);
	assert_int_equal(node->len, 5);
	assert_memory_equal(node->val, "23456", 5);
	assert_int_equal(omap_put(m, node->key, node->key_len, big, sizeof(big), false), 0);
	node = omap_find(m, "key", 3);
	assert_memory_equal(node->val, big, sizeof(big));
	assert_int_equal(omap_put(m, node->key, node->key_len, NULL, 0, false), 0);
	node = omap_find(m, "key", 3);
	assert_true(!node->dead && node->len == 0);
	assert_int_equal(omap_put(m, "key", 3, NULL, 0, true), 0);
	node = omap_find(m, "key", 3);
	assert_true(node->dead && !node->val && node->len == 0);
	assert_int_equal(omap_count(m), 1);
	omap_free(m);
}

/* Every allocation fails once: the map is as before, and goes on. */
static void test_no_memory(void **state)
{
	struct omap *m = omap_new();
	struct naive t = { 0 };
	unsigned int failures = 0;

	(void)state;
	random_state = 4711;
	for (unsigned int i = 0; i < 6000; i++) {
		struct row row;
		int r;

		random_row(&row, 100000);
		mallocs_left = rnd(10) ? -1 : (long)rnd(2);
		r = omap_put(m, row.key, row.key_len, row.val, row.len, row.dead);
		mallocs_left = -1;
		assert_true(r == 0 || r == -ENOMEM);
		failures += r < 0;
		if (r == 0)
			naive_put(&t, &row);
		if (i % 500 == 0)
			check_whole(m, &t);
	}
	check_whole(m, &t);
	assert_true(failures > 100);
	for (long n = 0; n < 2; n++) {
		mallocs_left = n;
		assert_null(omap_new());
	}
	mallocs_left = -1;
	free(t.rows);
	omap_free(m);
}

/* Full pages up to a full root: an insertion needs several pages at once, and each of them may be missing. */
static void test_no_memory_for_split(void **state)
{
	uint64_t n_failed = 0, n = 0;
	struct omap *m = omap_new();
	uint8_t key[8];

	(void)state;
	for (; n < 64 * 64 + 300; n++) {	/* appending leaves full pages: 64, then 64 * 64 entries fill the root */
		put_be64(key, n);
		for (long allowed = 0;; allowed++) {
			int r;

			mallocs_left = allowed;
			r = omap_put(m, key, 8, key, 8, false);
			mallocs_left = -1;
			if (r == 0)
				break;
			n_failed++;
			assert_int_equal(omap_count(m), n);
			assert_null(omap_find(m, key, 8));
		}
	}
	assert_int_equal(omap_count(m), n);
	assert_true(n_failed > n + 64);		/* each item once, each of the pages once */
	for (uint64_t i = 0; i < n; i++) {
		put_be64(key, i);
		assert_non_null(omap_find(m, key, 8));
	}
	omap_free(m);
}

/* The number under its own key, eight bytes or sixteen; -1: none. */
static int64_t number_at(struct omap *m, uint64_t n, size_t key_len)
{
	uint8_t key[16] = { 0 };
	const struct omap_node *node;
	int64_t got;

	put_be64(key, n);
	node = omap_find(m, key, key_len);
	if (!node)
		return -1;
	assert_memory_equal(node->key, key, key_len);
	memcpy(&got, node->val, sizeof(got));
	return got;
}

static void put_number(struct omap *m, uint64_t n, size_t key_len, int64_t v)
{
	uint8_t key[16] = { 0 };

	put_be64(key, n);
	assert_int_equal(omap_put(m, key, key_len, &v, sizeof(v), false), 0);
}

/* The same key again and again, whatever became of the pages on the way to it: added, split, replaced, removed. */
static void test_same_key_again(void **state)
{
	const unsigned n = 3000;
	unsigned order, i;

	(void)state;
	for (order = 0; order < 3; order++) {
		struct omap *m = omap_new();

		random_state = 42;
		for (i = 0; i < n; i++) {
			uint64_t k = order == 0 ? i : order == 1 ? n - i : rnd(1u << 20);
			uint8_t key[8];

			put_number(m, k, 8, i);
			assert_int_equal(number_at(m, k, 8), i);
			assert_int_equal(number_at(m, k, 16), -1);	/* the same head, another length */
			put_number(m, k, 8, i + 1);
			assert_int_equal(number_at(m, k, 8), i + 1);
			put_be64(key, k);
			omap_remove(m, key, 8);
			assert_int_equal(number_at(m, k, 8), -1);
			omap_remove(m, key, 8);
			put_number(m, k, 8, i + 2);
			assert_int_equal(number_at(m, k, 8), i + 2);
		}
		omap_clear(m);
		assert_int_equal(omap_count(m), 0);
		assert_int_equal(number_at(m, n - 1, 8), -1);
		omap_free(m);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_drain),
		cmocka_unit_test(test_same_key_again),
		cmocka_unit_test(test_stable),
		cmocka_unit_test(test_alias),
		cmocka_unit_test(test_no_memory),
		cmocka_unit_test(test_no_memory_for_split),
	};

	log_init("test_omap");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
