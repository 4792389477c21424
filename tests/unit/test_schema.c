/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The schema: what is written reads back, each reader refuses each wrong length, keys sort as numbers do, and the
 * layouts are what an older broker wrote.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "../../lib/schema.h"

/* Rows on disk: a changed size is a changed schema, and needs a new SCHEMA_VERSION. */
static void test_layout(void **state)
{
	(void)state;
	assert_int_equal(SCHEMA_VERSION, 3);
	assert_int_equal(sizeof(struct row_object), 32);
	assert_int_equal(sizeof(struct row_promise), 48);
	assert_int_equal(sizeof(struct row_clist), 16);
	assert_int_equal(sizeof(struct row_item), 40);
	assert_int_equal(sizeof(struct row_hold), 16);
	assert_int_equal(sizeof(struct row_sweep), 16);
	assert_int_equal(sizeof(struct row_service), 32);
	assert_int_equal(sizeof(struct row_log), 24);
	assert_int_equal(sizeof(struct row_death), 16);
	assert_int_equal(sizeof(struct row_limits), 120);
	assert_int_equal(sizeof(struct row_code), 24);
	assert_int_equal(sizeof(struct row_aside), 24);
	assert_int_equal(sizeof(struct row_charge), 24);
	assert_int_equal(sizeof(struct row_subcluster), 112);
	assert_int_equal(sizeof(struct row_vat), 552);
	assert_int_equal(offsetof(struct row_vat, name), 320);
}

static void test_names(void **state)
{
	(void)state;
	for (int t = 0; t < T_N; t++) {
		assert_non_null(table_names[t]);
		for (int u = 0; u < t; u++)
			assert_string_not_equal(table_names[t], table_names[u]);
	}
	assert_string_equal(table_names[T_META], "meta");
	assert_string_equal(table_names[T_ASIDE], "aside");
	assert_string_equal(table_names[T_CHARGE], "charge");
}

/* Keys sort as their numbers do, part by part. */
static void test_keys(void **state)
{
	static const uint64_t n[] = { 0, 1, 255, 256, 65536, UINT64_C(1) << 60, REF_PROMISE | 1, UINT64_MAX };
	uint8_t a[17], b[17];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(n); i++) {
		for (size_t j = 0; j < ARRAY_LEN(n); j++) {
			int want = (i > j) - (i < j);

			assert_int_equal(key_u64(a, n[i]), 8);
			key_u64(b, n[j]);
			assert_int_equal((memcmp(a, b, 8) > 0) - (memcmp(a, b, 8) < 0), want);
			assert_int_equal(key_u64_u64(a, 5, n[i]), 16);
			key_u64_u64(b, 5, n[j]);
			assert_int_equal((memcmp(a, b, 16) > 0) - (memcmp(a, b, 16) < 0), want);
			assert_int_equal(key_u64_u8_u64(a, 5, 2, n[i]), 17);
			key_u64_u8_u64(b, 5, 3, n[j]);
			assert_true(memcmp(a, b, 17) < 0);
			assert_int_equal(get_be64(a + 9), n[i]);
		}
	}
}

/* Capdata of any size and alignment reads back, and not at any other length. */
static void test_capdata(void **state)
{
	uint8_t bytes[600];
	uint64_t slots[8];
	struct capdata c;

	(void)state;
	for (uint64_t i = 0; i < 8; i++)
		slots[i] = REF_PROMISE | (i * 77);
	for (size_t n = 0; n < 8; n++) {
		for (size_t body = 0; body < 20; body++) {
			size_t size = capdata_size(body, n);
			uint8_t *p = bytes + 1 + (n + body) % 8;

			capdata_write(p, "a body of twenty bytes", body, slots, n);
			assert_true(capdata_read(p, size, &c));
			assert_int_equal(c.body_len, body);
			assert_int_equal(c.n_slots, n);
			assert_int_equal(memcmp(c.body, "a body of twenty bytes", body), 0);
			for (size_t i = 0; i < n; i++)
				assert_int_equal(capdata_slot(&c, i), slots[i]);
			for (size_t len = 0; len < size + 20; len++)
				assert_int_equal(capdata_read(p, len, &c), len == size);
		}
	}
	memset(bytes, 0xff, sizeof bytes);
	assert_false(capdata_read(bytes, sizeof bytes, &c));
}

/* Every length but its own is refused by a reader of a fixed row, and so is zero for each enumeration. */
static void test_lengths(void **state)
{
	uint8_t row[1024];
	struct row_vat vat = { .status = VAT_RUNNING };
	struct row_subcluster sub = { .status = SUB_RUNNING };
	struct row_promise promise = { .state = PROMISE_REJECTED };
	struct row_object object = { .n_recognizable = 1 };
	struct row_clist clist;
	struct row_hold hold;

	(void)state;
	for (size_t len = 0; len < sizeof row; len++) {
		memset(row, 0, sizeof row);
		assert_false(row_vat_read(row, len, &vat));
		assert_false(row_subcluster_read(row, len, &sub));
		assert_false(row_promise_read(row, len, &promise));
		assert_int_equal(row_object_read(row, len, &object), len == sizeof object);
		assert_int_equal(row_clist_read(row, len, &clist), len == sizeof clist);
		assert_int_equal(row_hold_read(row, len, &hold), len == sizeof hold);
		memcpy(row, &(struct row_vat){ .status = VAT_RUNNING }, sizeof vat);
		assert_int_equal(row_vat_read(row, len, &vat), len == sizeof vat);
		memcpy(row, &(struct row_subcluster){ .status = SUB_RUNNING }, sizeof sub);
		assert_int_equal(row_subcluster_read(row, len, &sub), len == sizeof sub);
		memcpy(row, &(struct row_promise){ .state = PROMISE_REJECTED }, sizeof promise);
		assert_int_equal(row_promise_read(row, len, &promise), len == sizeof promise);
	}
	object = (struct row_object){ .n_reachable = 2, .n_recognizable = 1 };
	assert_false(row_object_read(&object, sizeof object, &object));
	vat = (struct row_vat){ .status = VAT_RUNNING };
	memset(vat.reason, 'x', sizeof vat.reason);
	assert_false(row_vat_read(&vat, sizeof vat, &vat));
}

static void test_items(void **state)
{
	uint8_t row[200];
	struct row_item item = { .kind = ITEM_MESSAGE, .target = 7, .result = REF_PROMISE | 2 }, out;
	uint64_t slot = 9;
	struct capdata value;
	size_t size = sizeof item + capdata_size(4, 1);

	(void)state;
	memcpy(row, &item, sizeof item);
	capdata_write(row + sizeof item, "#[1]", 4, &slot, 1);
	for (size_t len = 0; len < sizeof row; len++)
		assert_int_equal(row_item_read(row, len, &out, &value), len == size);
	assert_true(row_item_read(row, size, &out, &value));
	assert_int_equal(out.result, item.result);
	assert_int_equal(capdata_slot(&value, 0), 9);
	for (uint32_t kind = 0; kind < 5; kind++) {
		item.kind = kind;
		memcpy(row, &item, sizeof item);
		assert_int_equal(row_item_read(row, sizeof item, &out, &value), kind == ITEM_NOTIFY);
		assert_int_equal(row_item_read(row, size, &out, &value), kind == ITEM_MESSAGE);
	}
}

static size_t put_entry(uint8_t *p, const char *rest, size_t rest_len, const char *value, size_t value_len)
{
	uint32_t head[2] = { (uint32_t)rest_len, (uint32_t)value_len };

	memcpy(p, head, 8);
	memcpy(p + 8, rest, rest_len);
	memcpy(p + 8 + rest_len, value, value_len);
	return 8 + rest_len + value_len;
}

static void test_vatstore_rows(void **state)
{
	uint64_t link = VATSTORE_SPACE | 4, no_link = 4;
	struct vatstore_row row;
	uint8_t p[100];
	size_t value, len;

	(void)state;
	value = put_entry(p, "", 0, "abc", 3);
	assert_true(vatstore_row_read(p, value, 3, &row) && row.has_value && !row.link && row.value_len == 3);
	len = value + put_entry(p + value, (char *)&link, 8, "", 0);
	assert_true(vatstore_row_read(p, len, VATSTORE_PREFIX, &row) && row.has_value && row.link == link);
	assert_false(vatstore_row_read(p, len, VATSTORE_PREFIX - 1, &row));	/* only a full chunk goes on */
	for (size_t i = 0; i < len; i++)
		assert_int_equal(vatstore_row_read(p, i, VATSTORE_PREFIX, &row), i == value);
	len = put_entry(p, (char *)&no_link, 8, "", 0);
	assert_false(vatstore_row_read(p, len, VATSTORE_PREFIX, &row));
	len = put_entry(p, (char *)&link, 8, "v", 1);
	assert_false(vatstore_row_read(p, len, VATSTORE_PREFIX, &row));
	len = put_entry(p, (char *)&link, 8, "", 0);
	assert_true(vatstore_row_read(p, len, VATSTORE_PREFIX, &row) && !row.has_value);
	len += put_entry(p + len, "", 0, "", 0);
	assert_false(vatstore_row_read(p, len, VATSTORE_PREFIX, &row));	/* the value comes first */
	assert_false(vatstore_row_read(p, 0, VATSTORE_PREFIX, &row));	/* nothing in it */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_layout),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_keys),
		cmocka_unit_test(test_capdata),
		cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_items),
		cmocka_unit_test(test_vatstore_rows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
