/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mount without FUSE: vats, their limits, deaths and programs, subclusters, services, what the broker shows of itself. Every
 * text is compared exactly; then what no kernel wrote.
 */
#include "fs_state.h"

#define BLOCK	1879048192u

static const uint8_t program[32] = { 0xab, 0x01 }, companion[32] = { 0xcd }, unused[32] = { 0xff, [31] = 1 };
#define PROGRAM		"ab01000000000000000000000000000000000000000000000000000000000000"
#define COMPANION	"cd00000000000000000000000000000000000000000000000000000000000000"
#define UNUSED		"ff00000000000000000000000000000000000000000000000000000000000001"

static void put_death(struct store *s, uint64_t vat, uint64_t n, uint32_t incarnation, const char *why)
{
	struct row_death row = { .time_us = THEN + n, .incarnation = incarnation };
	uint8_t buf[256];

	memcpy(buf, &row, sizeof(row));
	memcpy(buf + sizeof(row), why, strlen(why));
	put_pair(s, T_DEATH, vat, n, buf, sizeof(row) + strlen(why));
}

static void put_code(struct store *s, const uint8_t hash[32], uint64_t number, const char *name)
{
	struct row_code row = { .size = 1000 + number, .added_us = THEN, .number = number };
	uint8_t buf[512];

	memcpy(buf, &row, sizeof(row));
	memcpy(buf + sizeof(row), name, strlen(name));
	must_put(s, T_CODE, hash, 32, buf, sizeof(row) + strlen(name));
}

static void put_charge(struct store *s, uint64_t holder, uint64_t who, uint64_t messages, uint64_t bytes, uint64_t imports)
{
	struct row_charge row = { messages, bytes, imports };

	put_pair(s, T_CHARGE, holder, who, &row, sizeof(row));
}

static void put_service(struct store *s, const char *name, struct row_service row)
{
	must_put(s, T_SERVICE, name, strlen(name), &row, sizeof(row));
}

static void write_vats(struct store *s)
{
	static const char config[] = "{\"program\":\"sha256:" PROGRAM "\",\"limits\":{\"memory\":5000000,\"deadlineMs\":0,"
				     "\"crankBytes\":999999999999,\"vatstoreBytes\":0}}";
	static const char with_file[] = "{\"program\":\"x\",\"args\":[\"sha256:" UNUSED "\"],\"files\":{\"a\":\"sha256:" COMPANION "\"}}";
	struct row_vat row = { .subcluster = 1, .incarnation = 3, .status = VAT_RUNNING, .uid = BLOCK + 1, .pid = 42, .isolation = 0x7,
		.n_cranks = 7, .n_deaths = 2, .n_queued = 3, .queued_bytes = 120, .n_exports = 2, .n_imports = 1,
		.vatstore_bytes = 99, .started_us = THEN, .next_log = 9, .log_bytes = 300, .n_senders = 2, .n_introducers = 1,
		.n_calls = 4, .n_aside = 5, .aside_bytes = 60, .revoked_below = 12 };

	memcpy(row.code, program, 32);
	put_vat(s, 1, row, "alice", "");
	put_u64(s, T_VAT_CONFIG, 1, config, strlen(config));
	put_death(s, 1, 1, 1, "killed by signal 11");
	put_death(s, 1, 2, 2, "it said: \x1b[2J\nv9 forged");
	row = (struct row_vat){ .subcluster = 1, .incarnation = 1, .status = VAT_SUSPENDED, .isolation = 0x7, .n_deaths = 1 };
	put_vat(s, 2, row, "bob b", "LIMIT space: it is full");
	put_u64(s, T_VAT_CONFIG, 2, with_file, strlen(with_file));
	put_death(s, 2, 1, 1, "LIMIT");
	row = (struct row_vat){ .subcluster = 9, .incarnation = 1, .status = VAT_STARTING };
	memcpy(row.code, program, 32);
	put_vat(s, 11, row, "carol", "");
	put_u64(s, T_VAT_CONFIG, 11, "[]", 2);
	put_charge(s, endpoint_vat(1).bits, 0, 1, 20, 0);
	put_charge(s, endpoint_vat(1).bits, endpoint_vat(2).bits, 2, 100, 1);
	put_charge(s, endpoint_vat(11).bits | REF_PROMISE, 0, 1, 1, 1);
}

static void write_subclusters(struct store *s)
{
	struct row_subcluster row = { .status = SUB_RUNNING, .bootstrap_vat = 1, .root = 1, .created_us = THEN, .name = "registry" };

	put_u64(s, T_SUBCLUSTER, 1, &row, sizeof(row));
	row = (struct row_subcluster){ .status = SUB_RUNNING, .bootstrap_vat = 77, .root = 77, .created_us = THEN, .ended_us = THEN + 1 };
	put_u64(s, T_SUBCLUSTER, 2, &row, sizeof(row));
	put_pair(s, T_MEMBER, 1, 1, "alice", 5);
	put_pair(s, T_MEMBER, 1, 2, "bob", 3);
	put_hold(s, ko(1), HOLD_ROOT, 1, 1);
	put_hold(s, ko(2), HOLD_RESULT, 1, 2);
	put_hold(s, ko(1), HOLD_ROOT, 2, 1);
	put_hold(s, ko(1), HOLD_PIN, 1, 1);
}

static void write_services(struct store *s)
{
	struct row_item call = { .kind = ITEM_MESSAGE, .enqueued_us = NOW, .target = 4 };

	put_object(s, 1, endpoint_vat(1), 1, OBJECT_F_SURVIVES, 1, 1);
	put_clist(s, endpoint_vat(1), "o+0", ko(1), CLIST_F_REACHABLE);
	put_object(s, 4, ENDPOINT_K, 0, OBJECT_F_SURVIVES, 3, 3);
	put_object(s, 5, ENDPOINT_K, 0, OBJECT_F_SURVIVES | OBJECT_F_REVOKED, 1, 1);
	put_service(s, "console", (struct row_service){ .kref = 4 });
	put_service(s, "greeter", (struct row_service){ .kref = 5, .flags = SERVICE_F_HOST | SERVICE_F_SYSTEM_ONLY, .uid = 1000 });
	put_service(s, "io:s1:out", (struct row_service){ .kref = 6, .flags = SERVICE_F_IO, .subcluster = 1 });
	put_service(s, "io:s1:a/b", (struct row_service){ .kref = 6, .flags = SERVICE_F_IO, .subcluster = 1 });
	put_service(s, "io:s11:other", (struct row_service){ .kref = 7, .flags = SERVICE_F_IO, .subcluster = 11 });
	put_item(s, ENDPOINT_K.bits, 1, call, "#[\"say\",[]]");
	put_item(s, ENDPOINT_K.bits, 2, call, "#[\"say\",[]]");
	call.target = 99;
	put_item(s, ENDPOINT_K.bits, 3, call, "#[\"say\",[]]");
}

static void write_state(struct store *s)
{
	static const struct row_limits limits = { .deadline_ms = 60000, .queue_messages = 1000, .queue_bytes = 2000,
		.waiting_messages = 3, .waiting_bytes = 4, .syscalls = 5, .crank_bytes = 6, .exports = 7, .imports = 8,
		.vatstore_bytes = 9, .log_lines = 10, .memory = 11, .n_procs = 12 };

	must_put(s, T_META, META_LIMITS, strlen(META_LIMITS), &limits, sizeof(limits));
	write_vats(s);
	write_subclusters(s);
	write_services(s);
	put_code(s, program, 1, "counter");
	put_code(s, companion, 2, "two words\x1b");
	put_code(s, unused, 3, "");
}

static int setup(void **state)
{
	return setup_state(state, write_state);
}

/* One vat at work, one that is not. */
static void make_live(struct fixture *f)
{
	struct live_page *page = show_live(f);

	page->kernel = (struct live_kernel){ .start_us = NOW - 61500000, .pid = 7, .n_commits = 4, .commit_us = THEN, .n_in_flight = 1,
		.n_cranks = 9, .n_abandoned = 1, .n_calls = 2, .n_events_lost = 6 };
	page->n_shown = 33;
	page->vats[1] = (struct live_vat){ .vat = 1, .proc = LIVE_PROC_ALIVE, .flags = LIVE_F_WAKE, .work = LIVE_WORK_MESSAGE,
		.delivery = 70, .seq = 41, .since_us = NOW - 1500000, .n_in_flight = 2, .n_items = 2, .n_abandoned = 1,
		.n_syscalls = 12, .n_messages = 5, .bytes_in = 600, .bytes_out = 700, .busy_us = 2345678, .memory = 1048576,
		.cpu_ns = 1234567890, .sampled_us = THEN };
	page->vats[2] = (struct live_vat){ .vat = 2, .proc = LIVE_PROC_NONE };
}

/* --- tests ------------------------------------------------------------------------------------------------------- */

static void test_listings(void **state)
{
	struct fixture *f = *state;
	char out[LS_MAX];

	make_live(f);
	assert_non_null(strstr(ls(f, "/", out), "status version stats limits "));
	assert_non_null(strstr(out, " deaths "));
	assert_non_null(strstr(ls(f, "vats/v1", out), "subcluster@ code@ root@ limits deaths charges name config status "));
	assert_null(strstr(out, "reason"));
	assert_non_null(strstr(ls(f, "vats/v2", out), "subcluster@ limits deaths name config status "));
	assert_non_null(strstr(out, " reason "));
	assert_non_null(strstr(ls(f, "vats/v11", out), "code@ limits name "));
	assert_string_equal(ls(f, "code", out), PROGRAM "/ " COMPANION "/ " UNUSED "/");
	assert_string_equal(ls(f, "code/" PROGRAM, out), "name size added vats/");
	assert_string_equal(ls(f, "code/" PROGRAM "/vats", out), "v1@ v11@");
	assert_string_equal(ls(f, "code/" COMPANION "/vats", out), "v2@");
	/* Named by nothing but an argument. */
	assert_string_equal(ls(f, "code/" UNUSED, out), "name size added");
	assert_string_equal(ls(f, "subclusters/s1", out), "holds bootstrap@ io/ config status created name vats/ root@");
	assert_string_equal(ls(f, "subclusters/s1/io", out), "out@");
	assert_string_equal(ls(f, "subclusters/s2", out), "ended holds config status created vats/");
}

static void test_links(void **state)
{
	struct fixture *f = *state;
	char buf[NODE_LINK_MAX];

	assert_string_equal(readlink_of(f, "vats/v1/subcluster", buf), "../../subclusters/s1");
	assert_string_equal(readlink_of(f, "vats/v1/code", buf), "../../code/" PROGRAM);
	assert_string_equal(readlink_of(f, "vats/v1/root", buf), "../../objects/ko1");
	assert_string_equal(readlink_of(f, "code/" PROGRAM "/vats/v11", buf), "../../../vats/v11");
	assert_string_equal(readlink_of(f, "subclusters/s1/bootstrap", buf), "../../vats/v1");
	assert_string_equal(readlink_of(f, "subclusters/s1/io/out", buf), "../../../objects/ko6");
}

static void test_vats_txt(void **state)
{
	struct fixture *f = *state;

	assert_string_equal(cat(f, "vats.txt"),
		"vat  name      subcluster  status     incarnation  uid         pid  deaths  cranks  queued  queued-bytes  store-bytes  memory  cpu  busy  why\n"
		"v1   alice     s1          running    3            1879048193  42   2       7       3       120           99           -       -    -     it said: \\x1b[2J\\nv9 forged\n"
		"v2   bob\\x20b  s1          suspended  1            -           -    1       0       0       0             0            -       -    -     LIMIT space: it is full\n"
		"v11  carol     s9          starting   1            -           -    0       0       0       0             0            -       -    -     -\n");
	make_live(f);
	assert_string_equal(cat(f, "vats.txt"),
		"vat  name      subcluster  status     incarnation  uid         pid  deaths  cranks  queued  queued-bytes  store-bytes  memory   cpu    busy   why\n"
		"v1   alice     s1          running    3            1879048193  42   2       7       3       120           99           1048576  1.234  1.500  it said: \\x1b[2J\\nv9 forged\n"
		"v2   bob\\x20b  s1          suspended  1            -           -    1       0       0       0             0            -        -      -      LIMIT space: it is full\n"
		"v11  carol     s9          starting   1            -           -    0       0       0       0             0            -        -      -      -\n");
}

static void test_deaths(void **state)
{
	assert_string_equal(cat(*state, "deaths"),
		"time                         vat  incarnation  why\n"
		"2023-11-14T22:13:20.000001Z  v1   1            killed by signal 11\n"
		"2023-11-14T22:13:20.000002Z  v1   2            it said: \\x1b[2J\\nv9 forged\n"
		"2023-11-14T22:13:20.000001Z  v2   1            LIMIT\n");
	assert_string_equal(cat(*state, "vats/v2/deaths"),
		"time                         incarnation  why\n"
		"2023-11-14T22:13:20.000001Z  1            LIMIT\n");
}

static void test_limits(void **state)
{
	struct fixture *f = *state;

	make_live(f);
	assert_string_equal(cat(f, "vats/v1/limits"),
		"limit            used     max       default\n"
		"deadlineMs       1500     none      60000\n"
		"cpuMs            -        none      none\n"
		"queueMessages    3        1000      1000\n"
		"queueBytes       120      2000      2000\n"
		"waitingMessages  -        3         3\n"
		"waitingBytes     -        4         4\n"
		"syscalls         -        5         5\n"
		"crankBytes       -        67108864  6\n"
		"exports          2        7         7\n"
		"imports          1        8         8\n"
		"vatstoreBytes    99       0         9\n"
		"logLines         -        10        10\n"
		"memory           1048576  5000000   11\n"
		"processes        -        12        12\n"
		"openFiles        -        none      none\n");
	assert_string_equal(cat(f, "limits"),
		"limit            default\n"
		"deadlineMs       60000\n"
		"cpuMs            none\n"
		"queueMessages    1000\n"
		"queueBytes       2000\n"
		"waitingMessages  3\n"
		"waitingBytes     4\n"
		"syscalls         5\n"
		"crankBytes       6\n"
		"exports          7\n"
		"imports          8\n"
		"vatstoreBytes    9\n"
		"logLines         10\n"
		"memory           11\n"
		"processes        12\n"
		"openFiles        none\n");
}

static void test_usage(void **state)
{
	struct fixture *f = *state;

	make_live(f);
	assert_string_equal(cat(f, "vats/v1/usage"),
		"cranks: 7\n"
		"deaths: 2\n"
		"queued: 3\n"
		"queued-bytes: 120\n"
		"exports: 2\n"
		"imports: 1\n"
		"vatstore-bytes: 99\n"
		"log-dropped: 0\n"
		"started: 2023-11-14T22:13:20.000000Z\n"
		"senders: 2\n"
		"introducers: 1\n"
		"calls: 4\n"
		"set-aside: 5\n"
		"set-aside-bytes: 60\n"
		"log-lines: 8\n"
		"log-bytes: 300\n"
		"revoked-below: ko12\n"
		"process: alive\n"
		"memory: 1048576\n"
		"cpu: 1.234\n"
		"sampled: 2023-11-14T22:13:20.000000Z\n"
		"busy-total: 2.345\n"
		"abandoned: 1\n"
		"syscalls: 12\n"
		"sent: 5\n"
		"sent-bytes: 600\n"
		"received-bytes: 700\n"
		"sweeping: no\n"
		"wake: yes\n"
		"in-flight: 2\n"
		"delivery: 70\n"
		"work: message\n"
		"seq: 41\n"
		"since: 2023-11-14T22:14:58.500000Z\n"
		"busy: 1.500\n");
	assert_non_null(strstr(cat(f, "vats/v2/usage"), "process: none\nbusy-total: 0.000\n"));
	assert_null(strstr(cat(f, "vats/v2/usage"), "memory: "));
	assert_null(strstr(cat(f, "vats/v11/usage"), "process: "));
	assert_string_equal(cat(f, "vats/v1/charges"),
		"sender  messages  bytes  imports\n"
		"host    1         20     0\n"
		"v2      2         100    1\n");
	assert_string_equal(cat(f, "vats/v1/isolation"), "uid nocaps nnp\n");
	assert_string_equal(cat(f, "vats/v2/isolation"), "none\n");	/* what its process had is over */
}

static void test_code(void **state)
{
	assert_string_equal(cat(*state, "code/" PROGRAM "/name"), "counter\n");
	assert_string_equal(cat(*state, "code/" COMPANION "/name"), "two words\\x1b\n");
	assert_string_equal(cat(*state, "code/" UNUSED "/name"), "-\n");
	assert_string_equal(cat(*state, "code/" PROGRAM "/size"), "1001\n");
	assert_string_equal(cat(*state, "code/" PROGRAM "/added"), "2023-11-14T22:13:20.000000Z\n");
	assert_string_equal(cat(*state, "code.txt"),
		"size  added                        sha256  name\n"
		"1001  2023-11-14T22:13:20.000000Z  ab01000000000000000000000000000000000000000000000000000000000000  counter\n"
		"1002  2023-11-14T22:13:20.000000Z  cd00000000000000000000000000000000000000000000000000000000000000  two words\\x1b\n"
		"1003  2023-11-14T22:13:20.000000Z  ff00000000000000000000000000000000000000000000000000000000000001  -\n");
}

static void test_subclusters(void **state)
{
	assert_string_equal(cat(*state, "subclusters.txt"),
		"subcluster  name      status   vats  bootstrap  root  created                      ended\n"
		"s1          registry  running  2     v1         ko1   2023-11-14T22:13:20.000000Z  -\n"
		"s2          -         running  0     v77        ko77  2023-11-14T22:13:20.000000Z  2023-11-14T22:13:20.000001Z\n");
	assert_string_equal(cat(*state, "subclusters/s2/ended"), "2023-11-14T22:13:20.000001Z\n");
	assert_string_equal(cat(*state, "subclusters/s1/holds"),
		"kref  kind    owner  count  since\n"
		"ko1   root    s1     1      2023-11-14T22:13:20.000000Z\n"
		"ko2   result  s1     2      2023-11-14T22:13:20.000000Z\n");
	assert_string_equal(cat(*state, "services.txt"),
		"name          kref  kind      system-only  subcluster  uid   calls  revoked  refcount\n"
		"console       ko4   built-in  no           -           -     2      no       3\n"
		"greeter       ko5   host      yes          -           1000  0      yes      1\n"
		"io:s11:other  ko7   io        no           s11         -     0      -        -\n"
		"io:s1:a/b     ko6   io        no           s1          -     0      -        -\n"
		"io:s1:out     ko6   io        no           s1          -     0      -        -\n");
}

static void test_kernel(void **state)
{
	struct fixture *f = *state;

	make_live(f);
	assert_non_null(strstr(cat(f, "status"),
		"broker-pid: 7\nbroker-started: 2023-11-14T22:13:58.500000Z\nuptime: 61.500\nin-flight: 1\ncalls-waiting: 2\nevents: 33\n"
		"last-commit: 2023-11-14T22:13:20.000000Z\n"));
	assert_string_equal(cat(f, "stats"),
		"commits: 4\n"
		"cranks: 9\n"
		"abandoned: 1\n"
		"illegal: 0\n"
		"dropped-sends: 0\n"
		"deaths: 0\n"
		"messages: 0\n"
		"notifies: 0\n"
		"gc-deliveries: 0\n"
		"sent-ahead: 0\n"
		"objects-deleted: 0\n"
		"promises-deleted: 0\n"
		"circles-deleted: 0\n"
		"events: 33\n"
		"events-lost: 6\n");
}

static void test_absent(void **state)
{
	static const char *const paths[] = {
		"stats", "vats/v2/root", "vats/v2/code", "vats/v11/subcluster", "vats/v11/deaths", "vats/v11/charges", "vats/v1/reason",
		"vats/v1/parameters", "code/AB", "code/" PROGRAM "0", "code/" PROGRAM "/vats/v2", "code/" PROGRAM "/vats/v77",
		"code/" UNUSED "/vats", "code/ab01000000000000000000000000000000000000000000000000000000000001",
		"code/AB01000000000000000000000000000000000000000000000000000000000000", "subclusters/s2/bootstrap", "subclusters/s2/io",
		"subclusters/s1/io/other", "subclusters/s1/io/a/b", "subclusters/s1/io/s1:out", "subclusters/s1/io/.", "subclusters/s1/ended",
	};
	struct fixture *f = *state;
	struct node n;

	for (size_t i = 0; i < ARRAY_LEN(paths); i++)
		if (walk(f, paths[i], &n) != VIEW_E_ABSENT)
			fail_msg("'%s' was found", paths[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_listings, setup, teardown),
		cmocka_unit_test_setup_teardown(test_links, setup, teardown),
		cmocka_unit_test_setup_teardown(test_vats_txt, setup, teardown),
		cmocka_unit_test_setup_teardown(test_deaths, setup, teardown),
		cmocka_unit_test_setup_teardown(test_limits, setup, teardown),
		cmocka_unit_test_setup_teardown(test_usage, setup, teardown),
		cmocka_unit_test_setup_teardown(test_code, setup, teardown),
		cmocka_unit_test_setup_teardown(test_subclusters, setup, teardown),
		cmocka_unit_test_setup_teardown(test_kernel, setup, teardown),
		cmocka_unit_test_setup_teardown(test_absent, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
