/* SPDX-License-Identifier: Apache-2.0 */
/* Who may read, what readers are charged for, where in a log they are, what a frozen tree may be called. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "../../fs/access.h"
#include "../../fs/charge.h"
#include "../../fs/frozen.h"
#include "../../fs/logfile.h"
#include "../../lib/config.h"

static const struct node status = { NODE_STATUS, 0, 0 }, vats = { NODE_VATS, 0, 0 }, log_1 = { NODE_VAT_LOG, 0, 1 },
			 parameters = { NODE_VAT_PARAMETERS, 3, 1 }, baggage = { NODE_VAT_BAGGAGE, 0, 1 },
			 member = { NODE_MEMBER, 0, 1 };

static void test_modes(void **state)
{
	struct access a = { .uid = 0, .gid = 50, .uid_block = 1, .uid_block_last = 0 };

	(void)state;
	assert_int_equal(access_mode(&a, status), S_IFREG | 0440);
	assert_int_equal(access_mode(&a, vats), S_IFDIR | 0550);
	assert_int_equal(access_mode(&a, member), S_IFLNK | 0777);
	a.world = true;
	a.hide = MOUNT_HIDE_LOGS | MOUNT_HIDE_PARAMETERS;
	assert_int_equal(access_mode(&a, status), S_IFREG | 0444);
	assert_int_equal(access_mode(&a, vats), S_IFDIR | 0555);
	assert_int_equal(access_mode(&a, log_1), S_IFREG | 0400);
	assert_int_equal(access_mode(&a, parameters), S_IFREG | 0400);	/* in a frozen tree as well */
	assert_int_equal(access_mode(&a, baggage), S_IFREG | 0444);
}

static void test_may(void **state)
{
	struct access a = { .uid = 1000, .gid = 50, .hide = MOUNT_HIDE_LOGS, .uid_block = 5000, .uid_block_last = 5999 };
	const gid_t member_of[] = { 7, 50 }, not_of[] = { 7, 51 };

	(void)state;
	assert_true(access_may(&a, 0, 0, NULL, 0, log_1));
	assert_true(access_may(&a, 1000, 1000, NULL, 0, log_1));
	assert_true(access_may(&a, 2000, 50, NULL, 0, status));
	assert_true(access_may(&a, 2000, 2000, member_of, 2, status));
	assert_false(access_may(&a, 2000, 2000, member_of, 2, log_1));
	assert_false(access_may(&a, 2000, 2000, not_of, 2, status));
	a.world = true;
	assert_true(access_may(&a, 2000, 2000, not_of, 2, vats));
	assert_false(access_may(&a, 2000, 2000, not_of, 2, log_1));
	for (uid_t uid = 4999; uid <= 6000; uid += uid == 5000 ? 999 : 1) {
		bool refused = uid >= 5000 && uid <= 5999;

		assert_int_equal(access_refused(&a, uid), refused);
		assert_int_equal(access_may(&a, uid, 50, member_of, 2, status), !refused);
	}
}

static void test_charges(void **state)
{
	static struct charge held[CHARGE_MAX_THINGS + CHARGE_MAX_UID_THINGS], more;
	struct charges c = CHARGES_INIT;
	size_t n = 0;

	(void)state;
	for (uid_t uid = 1; uid <= CHARGE_MAX_THINGS / CHARGE_MAX_UID_THINGS; uid++) {
		for (unsigned int i = 0; i < CHARGE_MAX_UID_THINGS; i++)
			assert_int_equal(charge_take(&c, &held[n++], uid, 100), 0);
		assert_int_equal(charge_take(&c, &more, uid, 0), EMFILE);
	}
	assert_int_equal(charge_take(&c, &more, 99, 0), ENFILE);
	/* All of them together cannot shut out root. */
	for (unsigned int i = 0; i < CHARGE_MAX_UID_THINGS; i++)
		assert_int_equal(charge_take(&c, &held[n++], 0, 100), 0);
	assert_int_equal(charge_take(&c, &more, 0, 0), EMFILE);
	for (unsigned int i = 0; i < CHARGE_MAX_UID_THINGS; i++)
		charge_drop(&c, &held[--n]);
	charge_drop(&c, &held[0]);
	assert_int_equal(charge_resize(&c, &held[1], CHARGE_MAX_UID_BYTES), EMFILE);
	assert_int_equal(held[1].bytes, 100);
	assert_int_equal(charge_resize(&c, &held[1], CHARGE_MAX_UID_BYTES / 2), 0);
	assert_int_equal(charge_take(&c, &more, 1, CHARGE_MAX_UID_BYTES / 2), EMFILE);
	assert_int_equal(charge_resize(&c, &held[1], 0), 0);
	assert_int_equal(charge_take(&c, &more, 1, CHARGE_MAX_UID_BYTES / 2), 0);
	charge_drop(&c, &more);
	charge_drop(&c, &more);		/* which is nothing */
	for (size_t i = 0; i < n; i++)
		charge_drop(&c, &held[i]);
	charges_deinit(&c);		/* asserts that all came home */
}

/* A log that is there from 1000 to 3000. */
static void test_places(void **state)
{
	struct logfile f = { 0 };

	(void)state;
	/* From the beginning: led past the hole, to the end; then what grows. */
	assert_int_equal(logfile_place(&f, 0, 1000, 3000), 1000);
	assert_int_equal(logfile_place(&f, 500, 1000, 3000), 1500);
	assert_int_equal(logfile_place(&f, 2000, 1000, 3000), 3000);
	assert_int_equal(logfile_place(&f, 2000, 1000, 3100), 3000);
	/* The log is trimmed beyond it: on with what is left. */
	assert_int_equal(logfile_place(&f, 2100, 4000, 5000), 4000);
	assert_int_equal(logfile_place(&f, 2200, 4000, 5000), 4100);
	/* A jump behind its end is to a place. */
	assert_int_equal(logfile_place(&f, 4900, 4000, 5000), 4900);
	/* Where something is: as it stands. */
	f = (struct logfile){ 0 };
	assert_int_equal(logfile_place(&f, 2500, 1000, 3000), 2500);
	/* Backwards into the hole: the hole; and forward again from there: past it. */
	assert_int_equal(logfile_place(&f, 1500, 1000, 3000), 1500);
	assert_int_equal(logfile_place(&f, 500, 1000, 3000), 500);
	assert_int_equal(logfile_place(&f, 0, 1000, 3000), 0);
	assert_int_equal(logfile_place(&f, 0, 1000, 3000), 1000);
	assert_int_equal(logfile_place(&f, 100, 1000, 3000), 1100);
	/* Into the hole at once. */
	f = (struct logfile){ 0 };
	assert_int_equal(logfile_place(&f, 100, 1000, 3000), 1000);
	assert_int_equal(logfile_place(&f, 200, 1000, 3000), 1100);
}

static void test_names(void **state)
{
	static const char *const good[] = { "a", "_", "9", "a.b-c_D9", "0123456789abcdef0123456789ABCDEF" };
	static const char *const bad[] = { "", ".", "..", ".a", "-a", "a b", "a/b", "a\n", "\x80", "a\xff", "0123456789abcdef0123456789ABCDEF0" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		assert_true(frozen_name_ok(good[i]));
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_false(frozen_name_ok(bad[i]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_modes), cmocka_unit_test(test_may), cmocka_unit_test(test_charges), cmocka_unit_test(test_places),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
