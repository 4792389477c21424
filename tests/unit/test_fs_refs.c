/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the mount shows of references and of work: who holds what, what waits for what, queues and what comes before
 * them, collection. One state that a kernel could have, with what is in flight in a page of the test's own; every text
 * exactly.
 */
#include "fs_state.h"

#define V1	endpoint_vat(1)
#define V2	endpoint_vat(2)
#define V3	endpoint_vat(3)

static void put_gc(struct store *s, endpoint_t e, enum gc_type type, kref_t ref)
{
	uint8_t k[17];

	must_put(s, T_GC, k, key_u64_u8_u64(k, e.bits, (uint8_t)type, ref.bits), "", 0);
}

static void put_promise(struct store *s, uint64_t n, struct row_promise row)
{
	put_u64(s, T_PROMISE, kp(n).bits, &row, sizeof(row));
	if (row.decider)
		put_pair(s, T_DECIDED, row.decider, kp(n).bits, "", 0);
	if (row.state == PROMISE_FORWARDED)
		put_pair(s, T_FORWARD, row.link, kp(n).bits, "", 0);
}

static void put_value(struct store *s, enum table t, uint64_t key, const char *body, const uint64_t *slots, size_t n)
{
	uint8_t buf[512];

	put_u64(s, t, key, buf, make_capdata(buf, body, slots, n));
}

/* A message with slots. */
static void put_message(struct store *s, uint64_t holder, uint64_t seq, struct row_item row, const char *body,
			const uint64_t *slots, size_t n)
{
	uint8_t buf[512];

	row.kind = ITEM_MESSAGE;
	memcpy(buf, &row, sizeof(row));
	put_pair(s, T_QUEUE, holder, seq, buf, sizeof(row) + make_capdata(buf + sizeof(row), body, slots, n));
}

/* v1 is at something, v2 suspended, v3 not started yet, v4 gone with its last sweep under way. */
static void write_vats(struct store *s)
{
	put_vat(s, 1, (struct row_vat){ .subcluster = 1, .incarnation = 2, .status = VAT_RUNNING, .flags = VAT_F_REAP,
		.n_dirt_deliveries = 200, .n_dirt_gc = 3, .n_calls = 1 }, "alice", "");
	put_vat(s, 2, (struct row_vat){ .subcluster = 1, .incarnation = 1, .status = VAT_SUSPENDED, .n_dirt_deliveries = 7 },
		"bob", "by hand");
	put_vat(s, 3, (struct row_vat){ .subcluster = 1, .incarnation = 1, .status = VAT_STARTING }, "carol", "");
	put_vat(s, 4, (struct row_vat){ .subcluster = 1, .incarnation = 1, .status = VAT_TERMINATED }, "dave", "");
	put_u64(s, T_SWEEP, endpoint_vat(4).bits,
		&(struct row_sweep){ .phase = SWEEP_CLIST, .terminated = 1, .cursor = 17 }, sizeof(struct row_sweep));
}

/* ko1 is v1's, ko2 v2's, ko3 was of v1's last incarnation, ko4 is a service, ko5 v4's; whoever holds ko6 is lost. */
static void write_objects(struct store *s)
{
	put_object(s, 1, V1, 2, OBJECT_F_SURVIVES, 11, 12);
	put_object(s, 2, V2, 1, 0, 0, 0);
	put_object(s, 3, V1, 1, 0, 0, 1);
	put_object(s, 4, ENDPOINT_K, 0, OBJECT_F_SURVIVES, 4, 4);
	put_object(s, 5, endpoint_vat(4), 1, 0, 0, 1);
	put_object(s, 6, (endpoint_t){ 0 }, 0, 0, 1, 3);
	put_clist(s, V1, "o+0", ko(1), CLIST_F_REACHABLE);
	put_clist(s, V2, "o-5", ko(1), CLIST_F_REACHABLE);
	put_clist(s, V3, "o-1", ko(1), 0);
	put_clist(s, V2, "o+3", ko(2), CLIST_F_REACHABLE);
	put_clist(s, V1, "o-2", ko(3), 0);
	put_clist(s, V1, "o-3", ko(4), CLIST_F_REACHABLE);
	put_clist(s, V3, "o-4", ko(5), 0);
	put_u64(s, T_SERVICE_OF, 4, "console", 7);
	must_put(s, T_SERVICE, "console", 7, &(struct row_service){ .kref = 4 }, sizeof(struct row_service));
	put_hold(s, ko(1), HOLD_ROOT, 1, 1);
	put_hold(s, ko(1), HOLD_PIN, 0, 2);
	put_hold(s, ko(4), HOLD_SERVICE, 0, 1);
	put_value(s, T_VAT_PARAM, 3, "#[\"$0\"]", (uint64_t[]){ 1 }, 1);
	put_gc(s, V2, GC_RETIRE_EXPORT, ko(2));
	put_gc(s, V2, GC_DROP_EXPORT, ko(2));
	put_gc(s, V1, GC_DROP_EXPORT, ko(1));
	put_gc(s, V1, GC_RETIRE_IMPORT, ko(3));
	put_gc(s, V3, GC_RETIRE_IMPORT, ko(5));
}

/*
 * kp1: v2 decides it; v1 and a caller outside wait, and v3 by way of kp2, which was forwarded to it. kp3: a message in
 * v1's queue will decide it; kp4: one that waits for kp1. kp5 is settled, kp6 shares its value, and kp9 ended with an
 * array. kp7: v1 decides it.
 */
static void write_promises(struct store *s)
{
	put_promise(s, 1, (struct row_promise){ .state = PROMISE_UNRESOLVED, .n_refs = 5, .decider = V2.bits,
		.decider_incarnation = 1, .n_waiting = 1, .flags = PROMISE_F_HOST });
	put_promise(s, 2, (struct row_promise){ .state = PROMISE_FORWARDED, .n_refs = 1, .link = kp(1).bits });
	put_promise(s, 3, (struct row_promise){ .state = PROMISE_UNRESOLVED, .n_refs = 2, .link = V1.bits });
	put_promise(s, 4, (struct row_promise){ .state = PROMISE_UNRESOLVED, .n_refs = 2, .link = kp(1).bits });
	put_promise(s, 5, (struct row_promise){ .state = PROMISE_FULFILLED, .flags = PROMISE_F_REF, .n_refs = 5 });
	put_promise(s, 6, (struct row_promise){ .state = PROMISE_FULFILLED, .flags = PROMISE_F_REF, .n_refs = 1, .link = kp(5).bits });
	put_promise(s, 7, (struct row_promise){ .state = PROMISE_UNRESOLVED, .n_refs = 1, .decider = V1.bits,
		.decider_incarnation = 2 });
	put_value(s, T_VALUE, kp(5).bits, "#\"$0.Alleged: x\"", (uint64_t[]){ 1 }, 1);
	put_promise(s, 9, (struct row_promise){ .state = PROMISE_REJECTED, .flags = PROMISE_F_PROMISES, .n_refs = 1 });
	put_value(s, T_VALUE, kp(9).bits, "#[]", (uint64_t[]){ 1, kp(5).bits, 1, 4, kp(5).bits }, 5);
	put_clist(s, V1, "p-1", kp(1), CLIST_F_REACHABLE);
	put_clist(s, V2, "p+3", kp(1), CLIST_F_REACHABLE);
	put_clist(s, V3, "p-1", kp(2), CLIST_F_REACHABLE);
	put_clist(s, V3, "p+2", kp(3), CLIST_F_REACHABLE);
	put_clist(s, V3, "p+1", kp(4), CLIST_F_REACHABLE);
	put_clist(s, V1, "p-2", kp(5), CLIST_F_REACHABLE);
	put_clist(s, V2, "p-9", kp(6), CLIST_F_REACHABLE);
	put_clist(s, V1, "p+7", kp(7), CLIST_F_REACHABLE);
	put_pair(s, T_SUBSCRIBER, kp(1).bits, V1.bits, "", 0);
	for (uint64_t n = 2; n <= 4; n++)
		put_pair(s, T_SUBSCRIBER, kp(n).bits, V3.bits, "", 0);
	put_hold(s, kp(1), HOLD_HOST, 12, 1);
	put_pair(s, T_SUSPECT, SUSPECT_DEAD, kp(8).bits, "", 0);
	put_pair(s, T_SUSPECT, SUSPECT_CIRCLE, kp(5).bits, "", 0);
}

static void write_queues(struct store *s)
{
	struct row_item m = { .enqueued_us = NOW - 2500000, .sender = V2.bits, .target = 1 };
	struct row_item notify = { .kind = ITEM_NOTIFY, .enqueued_us = NOW - 1000, .target = kp(5).bits };

	m.result = kp(3).bits;
	put_message(s, V1.bits, 5, m, "#[\"first\",[\"$0\",\"$0\"]]", (uint64_t[]){ 1 }, 1);
	m.result = 0;
	put_message(s, V1.bits, 6, m, "#[\"second\",[]]", NULL, 0);
	put_item(s, V1.bits, 9, notify, NULL);
	m = (struct row_item){ .enqueued_us = NOW - 1, .sender = V1.bits, .target = 4 };
	put_message(s, ENDPOINT_K.bits, 7, m, "#[\"log\",[]]", NULL, 0);
	m = (struct row_item){ .enqueued_us = NOW, .sender = V3.bits, .target = kp(1).bits, .result = kp(4).bits };
	put_message(s, kp(1).bits, 8, m, "#[\"later\",[]]", NULL, 0);
	m = (struct row_item){ .sender = V1.bits, .target = 2 };
	put_message(s, V2.bits, 4, m, "#[\"stuck\",[]]", NULL, 0);
}

static void write_aside(struct store *s)
{
	struct row_aside row = { .time_us = THEN, .target = 1, .deaths = 2 };
	uint8_t buf[256];

	memcpy(buf, &row, sizeof(row));
	put_pair(s, T_ASIDE, 1, 3, buf, sizeof(row) + make_capdata(buf + sizeof(row), "#[\"ki\\u001b ll\",[\"secret\"]]", NULL, 0));
}

static void write_state(struct store *s)
{
	write_vats(s);
	write_objects(s);
	write_promises(s);
	write_queues(s);
	write_aside(s);
}

static int setup(void **state)
{
	return setup_state(state, write_state);
}

static void show_vat(struct fixture *f, struct live_vat row)
{
	show_live(f)->vats[row.vat] = row;
}

/* --- tests ------------------------------------------------------------------------------------------------------- */

static void test_listings(void **state)
{
	struct fixture *f = *state;
	char out[LS_MAX];

	assert_string_equal(ls(f, "objects/ko1", out), "status owner@ kind refcount revoked pinned importers/ holders");
	/* What there is none of is not listed: importers, an owner with a folder. */
	assert_string_equal(ls(f, "objects/ko2", out), "status owner@ kind refcount revoked pinned holders");
	assert_string_equal(ls(f, "objects/ko4", out), "status service@ kind refcount revoked pinned importers/ holders");
	assert_string_equal(ls(f, "objects/ko1/importers", out), "v2@ v3@");
	assert_string_equal(ls(f, "promises/kp1", out),
			    "status state decider@ refcount pinned subscribers/ forwarded-from/ queue queue.values holders");
	assert_string_equal(ls(f, "promises/kp2", out), "status state forwarded-to@ refcount pinned subscribers/ holders");
	assert_string_equal(ls(f, "promises/kp3", out), "status state behind@ refcount pinned subscribers/ holders");
	assert_string_equal(ls(f, "promises/kp5", out), "status state refcount pinned value slots/ holders");
	assert_string_equal(ls(f, "promises/kp6", out), "status state shares@ refcount pinned value slots/ holders");
	assert_string_equal(ls(f, "promises/kp1/subscribers", out), "v1@");
	assert_string_equal(ls(f, "promises/kp1/forwarded-from", out), "kp2@");
	/* A reference that a value has twice is one. */
	assert_string_equal(ls(f, "promises/kp9/slots", out), "ko1@ kp5@ ko4@");
	assert_string_equal(ls(f, "vats/v1/decides", out), "kp7@");
	assert_string_equal(ls(f, "vats/v3/decides", out), "");
	assert_string_equal(ls(f, "gc", out), "next actions reap suspects sweeps");
}

static void test_links(void **state)
{
	struct fixture *f = *state;
	char buf[NODE_LINK_MAX];
	struct node n;

	assert_string_equal(readlink_of(f, "objects/ko1/owner", buf), "../../vats/v1");
	assert_string_equal(readlink_of(f, "objects/ko5/owner", buf), "../../vats/v4");
	assert_string_equal(readlink_of(f, "objects/ko4/service", buf), "../../services/console");
	assert_string_equal(readlink_of(f, "objects/ko1/importers/v3", buf), "../../../vats/v3");
	assert_string_equal(readlink_of(f, "promises/kp1/decider", buf), "../../vats/v2");
	assert_string_equal(readlink_of(f, "promises/kp1/subscribers/v1", buf), "../../../vats/v1");
	assert_string_equal(readlink_of(f, "promises/kp2/forwarded-to", buf), "../kp1");
	assert_string_equal(readlink_of(f, "promises/kp3/behind", buf), "../../vats/v1");
	assert_string_equal(readlink_of(f, "promises/kp4/behind", buf), "../kp1");
	assert_string_equal(readlink_of(f, "promises/kp6/shares", buf), "../kp5");
	assert_string_equal(readlink_of(f, "promises/kp1/forwarded-from/kp2", buf), "../../kp2");
	assert_string_equal(readlink_of(f, "promises/kp6/slots/ko1", buf), "../../../objects/ko1");
	assert_string_equal(readlink_of(f, "promises/kp9/slots/kp5", buf), "../../../promises/kp5");
	assert_string_equal(readlink_of(f, "vats/v1/decides/kp7", buf), "../../../promises/kp7");
	static const char *const absent[] = {
		"objects/ko4/owner", "objects/ko2/importers", "objects/ko1/importers/v1", "objects/ko1/importers/v03",
		"objects/ko1/importers/k", "objects/ko1/service", "promises/kp2/decider", "promises/kp1/behind", "promises/kp1/value",
		"promises/kp2/queue", "promises/kp3/forwarded-to", "promises/kp5/shares", "promises/kp5/subscribers",
		"promises/kp1/subscribers/v2", "vats/v1/decides/kp1", "vats/v1/decides/ko1", "vats/v2/aside", "gc/nothing",
		"promises/kp1/slots", "promises/kp6/slots/ko2", "promises/kp1/forwarded-from/kp3", "promises/kp2/forwarded-from",
		"vats/v3/queue.values", "promises/kp2/queue.values",
	};

	for (size_t i = 0; i < ARRAY_LEN(absent); i++)
		if (walk(f, absent[i], &n) != VIEW_E_ABSENT)
			fail_msg("'%s' was found", absent[i]);
}

static void test_facts(void **state)
{
	assert_string_equal(cat(*state, "objects/ko1/kind"), "root\n");
	assert_string_equal(cat(*state, "objects/ko4/kind"), "service\n");
	assert_string_equal(cat(*state, "objects/ko1/refcount"), "11 reachable 12 recognizable\n");
	assert_string_equal(cat(*state, "objects/ko1/revoked"), "no\n");
	assert_string_equal(cat(*state, "objects/ko1/pinned"), "2\n");
	assert_string_equal(cat(*state, "promises/kp1/state"), "unresolved\n");
	assert_string_equal(cat(*state, "promises/kp1/refcount"), "5\n");
	assert_string_equal(cat(*state, "promises/kp6/pinned"), "0\n");
	assert_string_equal(cat(*state, "promises/kp6/value"),
			    "reference: ko1\nvalue: ko1\nbody: #\"$0.Alleged: x\"\nslots: ko1\n");
	assert_string_equal(cat(*state, "promises/kp6/status"),
			    "state: fulfilled\ndecider: none\nrefcount: 1\nshares: kp5\nsubscribers: 0\nwaiting: 0\npinned: 0\n");
}

/* C4, C5: the rows make up the count, whatever they hold it through. */
static void test_holders(void **state)
{
	assert_string_equal(cat(*state, "objects/ko1/holders"),
		"holder  kind        through  count  flags\n"
		"v2      clist       o-5      1      reachable\n"
		"v3      clist       o-1      1      recognizable\n"
		"s1      hold        root     1      reachable\n"
		"host    hold        pin      2      reachable\n"
		"v1      target      5        1      reachable\n"
		"v1      argument    5        1      reachable\n"
		"v1      target      6        1      reachable\n"
		"kp5     value       -        1      reachable\n"
		"kp9     value       -        2      reachable\n"
		"v3      parameters  -        1      reachable\n");
	assert_string_equal(cat(*state, "objects/ko2/holders"), "holder  kind  through  count  flags\n");
	/* A count that no row explains is said to be one. */
	assert_string_equal(cat(*state, "objects/ko6/holders"),
		"holder  kind     through  count  flags\n-       unknown  -        3      -\n");
	assert_string_equal(cat(*state, "objects/ko4/holders"),
		"holder  kind    through  count  flags\n"
		"v1      clist   o-3      1      reachable\n"
		"k       hold    service  1      reachable\n"
		"k       target  7        1      reachable\n"
		"kp9     value   -        1      reachable\n");
	assert_string_equal(cat(*state, "promises/kp1/holders"),
		"holder  kind     through  count  flags\n"
		"v1      clist    p-1      1      reachable\n"
		"v2      clist    p+3      1      reachable\n"
		"host    hold     host     1      reachable\n"
		"kp2     forward  -        1      reachable\n"
		"kp1     target   8        1      reachable\n");
	assert_string_equal(cat(*state, "promises/kp3/holders"),
		"holder  kind    through  count  flags\n"
		"v3      clist   p+2      1      reachable\n"
		"v1      result  5        1      reachable\n");
	assert_string_equal(cat(*state, "promises/kp5/holders"),
		"holder  kind    through  count  flags\n"
		"v1      clist   p-2      1      reachable\n"
		"v1      notify  9        1      reachable\n"
		"kp9     value   -        2      reachable\n"
		"kp6     shares  -        1      reachable\n");
}

/* Nothing is shown of processes: what the rows say. */
static void test_queues(void **state)
{
	assert_string_equal(cat(*state, "runqueue"),
		"seq  kind              target  method  sender  size  age    queue  result  state       busy\n"
		"-    dropExports       ko1     -       -       1     -      v1     -       next        -\n"
		"-    retireImports     ko3     -       -       1     -      v1     -       waiting     -\n"
		"-    bringOutYourDead  -       -       -       0     -      v1     -       waiting     -\n"
		"-    dropExports       ko2     -       -       1     -      v2     -       suspended   -\n"
		"-    retireExports     ko2     -       -       1     -      v2     -       suspended   -\n"
		"-    startVat          -       -       -       0     -      v3     -       starting    -\n"
		"-    retireImports     ko5     -       -       1     -      v3     -       starting    -\n"
		"4    message           ko2     stuck   v1      13    -      v2     -       suspended   -\n"
		"5    message           ko1     first   v2      22    2.500  v1     kp3     waiting     -\n"
		"6    message           ko1     second  v2      14    2.500  v1     -       waiting     -\n"
		"7    message           ko4     log     v1      11    0.000  k      -       unanswered  -\n"
		"9    notify            kp5     -       -       0     0.001  v1     -       waiting     -\n");
	assert_string_equal(cat(*state, "promises/kp1/queue"),
		"seq  kind     target  method  sender  size  age    result\n"
		"8    message  kp1     later   v3      13    0.000  kp4\n");
}

static void test_in_flight(void **state)
{
	struct fixture *f = *state;

	show_vat(f, (struct live_vat){ .vat = 1, .proc = LIVE_PROC_ALIVE, .work = LIVE_WORK_MESSAGE, .seq = 5,
		.since_us = NOW - 1500000, .n_in_flight = 2, .n_items = 2, .flags = LIVE_F_WAKE });
	assert_string_equal(cat(f, "vats/v1/queue"),
		"seq  kind              target  method  sender  size  age    result  state      busy\n"
		"-    dropExports       ko1     -       -       1     -      -       next       -\n"
		"-    retireImports     ko3     -       -       1     -      -       waiting    -\n"
		"-    bringOutYourDead  -       -       -       0     -      -       waiting    -\n"
		"-    wake              -       -       -       0     -      -       waiting    -\n"
		"5    message           ko1     first   v2      22    2.500  kp3     in-flight  1.500\n"
		"6    message           ko1     second  v2      14    2.500  -       sent       -\n"
		"9    notify            kp5     -       -       0     0.001  -       waiting    -\n");
	/* What was done, and goes with the next commit. */
	show_vat(f, (struct live_vat){ .vat = 1, .proc = LIVE_PROC_ALIVE, .work = LIVE_WORK_MESSAGE, .seq = 6, .since_us = NOW,
		.n_in_flight = 1, .n_items = 1 });
	assert_string_equal(strstr(cat(f, "vats/v1/queue"), "5    "),
		"5    message           ko1     first   v2      22    2.500  kp3     done       -\n"
		"6    message           ko1     second  v2      14    2.500  -       in-flight  0.000\n"
		"9    notify            kp5     -       -       0     0.001  -       waiting    -\n");
	show_vat(f, (struct live_vat){ .vat = 1, .proc = LIVE_PROC_ALIVE, .work = LIVE_WORK_DROP_EXPORTS, .since_us = NOW - 3000,
		.n_in_flight = 1 });
	show_vat(f, (struct live_vat){ .vat = 3, .proc = LIVE_PROC_ALIVE, .work = LIVE_WORK_START, .since_us = NOW - 9000,
		.n_in_flight = 1 });
	assert_string_equal(cat(f, "runqueue"),
		"seq  kind              target  method  sender  size  age    queue  result  state       busy\n"
		"-    dropExports       ko1     -       -       1     -      v1     -       in-flight   0.003\n"
		"-    retireImports     ko3     -       -       1     -      v1     -       next        -\n"
		"-    bringOutYourDead  -       -       -       0     -      v1     -       waiting     -\n"
		"-    dropExports       ko2     -       -       1     -      v2     -       suspended   -\n"
		"-    retireExports     ko2     -       -       1     -      v2     -       suspended   -\n"
		"-    startVat          -       -       -       0     -      v3     -       in-flight   0.009\n"
		"-    retireImports     ko5     -       -       1     -      v3     -       next        -\n"
		"4    message           ko2     stuck   v1      13    -      v2     -       suspended   -\n"
		"5    message           ko1     first   v2      22    2.500  v1     kp3     waiting     -\n"
		"6    message           ko1     second  v2      14    2.500  v1     -       waiting     -\n"
		"7    message           ko4     log     v1      11    0.000  k      -       unanswered  -\n"
		"9    notify            kp5     -       -       0     0.001  v1     -       waiting     -\n");
	/* Without a process, or while it is cleaned up behind, nothing moves. */
	show_vat(f, (struct live_vat){ .vat = 1, .proc = LIVE_PROC_SPAWNING });
	assert_non_null(strstr(cat(f, "vats/v1/queue"), "kp3     starting  -\n"));
	show_vat(f, (struct live_vat){ .vat = 1, .proc = LIVE_PROC_ALIVE, .flags = LIVE_F_SWEEPING });
	assert_non_null(strstr(cat(f, "vats/v1/queue"), "kp3     sweeping  -\n"));
}

static void test_decides(void **state)
{
	assert_string_equal(cat(*state, "vats/v2/decides.txt"),
		"kref  eref  refcount  subscribers  waiting\n"
		"kp1   p+3   5         v1,host,v3   1\n");
	assert_string_equal(cat(*state, "vats/v1/decides.txt"),
		"kref  eref  refcount  subscribers  waiting\n"
		"kp7   p+7   1         -            0\n");
}

static void test_waits(void **state)
{
	struct fixture *f = *state;

	assert_string_equal(cat(f, "vats/v3/waits"),
		"kind     eref  kref  state       last  decider  decider-state  behind  method  age\n"
		"vat      -     -     starting    -     -        -              -       -       -\n"
		"promise  p-1   kp2   forwarded   kp1   v2       suspended      -       -       -\n"
		"promise  p+2   kp3   unresolved  -     -        alive          v1      -       -\n"
		"promise  p+1   kp4   unresolved  kp1   v2       suspended      -       -       -\n");
	show_vat(f, (struct live_vat){ .vat = 1, .proc = LIVE_PROC_ALIVE, .work = LIVE_WORK_MESSAGE, .seq = 5,
		.since_us = NOW - 1500000, .n_in_flight = 1, .n_items = 1 });
	assert_string_equal(cat(f, "vats/v1/waits"),
		"kind      eref  kref  state       last  decider  decider-state  behind  method  age\n"
		"delivery  -     ko1   in-flight   -     -        -              -       first   1.500\n"
		"promise   p-1   kp1   unresolved  -     v2       suspended      -       -       -\n"
		"call      o-3   ko4   unanswered  -     k        kernel         -       log     0.000\n");
	assert_non_null(strstr(cat(f, "vats/v3/waits"), "kp3   unresolved  -     -        busy           v1 "));
	show_vat(f, (struct live_vat){ .vat = 1, .proc = LIVE_PROC_ALIVE, .work = LIVE_WORK_REAP, .since_us = NOW, .n_in_flight = 1 });
	assert_non_null(strstr(cat(f, "vats/v1/waits"), "bringOutYourDead  0.000\n"));
}

static void test_exports_imports(void **state)
{
	assert_string_equal(cat(*state, "vats/v1/exports"),
		"eref  kref  kind     flags      importers\n"
		"o+0   ko1   root     reachable  v2,v3\n"
		"p+7   kp7   promise  reachable  -\n");
	assert_string_equal(cat(*state, "vats/v1/imports"),
		"eref  kref  owner  owner-state  flags         introducer\n"
		"o-2   ko3   v1     gone         recognizable  host\n"
		"o-3   ko4   k      kernel       reachable     host\n"
		"p-1   kp1   v2     suspended    reachable     host\n"
		"p-2   kp5   -      -            reachable     host\n");
	assert_string_equal(cat(*state, "vats/v4/imports"), "eref  kref  owner  owner-state  flags  introducer\n");
}

static void test_gc(void **state)
{
	struct fixture *f = *state;

	/* v1's ko1 is reachable again: its action will not be carried out. */
	assert_string_equal(cat(f, "gc/actions"),
		"vat  type           kref  eref  state\n"
		"v1   dropExports    ko1   o+0   stale\n"
		"v1   retireImports  ko3   o-2   stale\n"
		"v2   dropExports    ko2   o+3   suspended\n"
		"v2   retireExports  ko2   o+3   suspended\n"
		"v3   retireImports  ko5   o-4   starting\n");
	show_vat(f, (struct live_vat){ .vat = 3, .proc = LIVE_PROC_ALIVE, .work = LIVE_WORK_RETIRE_IMPORTS });
	assert_string_equal(cat(f, "gc/next"),
		"vat  type              kref  eref  state\n"
		"k    delete            kp8   -     due\n"
		"v1   dropExports       ko1   o+0   stale\n"
		"v1   retireImports     ko3   o-2   stale\n"
		"v2   dropExports       ko2   o+3   suspended\n"
		"v2   retireExports     ko2   o+3   suspended\n"
		"v3   retireImports     ko5   o-4   in-flight\n"
		"v1   bringOutYourDead  -     -     due\n"
		"k    search            kp5   -     due\n");
	assert_string_equal(cat(f, "gc/reap"),
		"vat  pending  deliveries  references\n"
		"v1   yes      200         3\n"
		"v2   no       7           0\n"
		"v3   no       0           0\n");
	assert_string_equal(cat(f, "gc/suspects"), "kind    kref\ndead    kp8\ncircle  kp5\n");
	assert_string_equal(cat(f, "gc/sweeps"), "vat  after        phase  cursor\nv4   termination  clist  17\n");
}

static void test_aside(void **state)
{
	static const char rows[] =
		"vat  seq  time                         target  method        size  deaths\n"
		"v1   3    2023-11-14T22:13:20.000000Z  ko1     ki\\x1b\\x20ll  27    2\n";

	assert_string_equal(cat(*state, "aside"), rows);
	assert_string_equal(cat(*state, "vats/v1/aside"), rows);
}

/* Bodies and references of messages are in files of their own, which can be hidden. */
static void test_values(void **state)
{
	static const char *const hidden[] = {
		"runqueue.values", "aside.values", "vats/v1/queue.values", "vats/v1/aside.values", "promises/kp1/queue.values",
		"promises/kp5/value", "promises/kp5/slots",
	};
	static const char aside[] =
		"vat  seq  slots  body                             value\n"
		"v1   3    -      #[\"ki\\\\u001b\\x20ll\",[\"secret\"]]  [\"ki\\x1b ll\", [\"secret\"]]\n";
	struct node n;

	assert_string_equal(cat(*state, "runqueue.values"),
		"queue  seq  slots  body                    value\n"
		"v1     5    ko1    #[\"first\",[\"$0\",\"$0\"]]  [\"first\", [ko1, ko1]]\n"
		"v1     6    -      #[\"second\",[]]          [\"second\", []]\n"
		"v2     4    -      #[\"stuck\",[]]           [\"stuck\", []]\n"
		"k      7    -      #[\"log\",[]]             [\"log\", []]\n"
		"kp1    8    -      #[\"later\",[]]           [\"later\", []]\n");
	assert_string_equal(cat(*state, "promises/kp1/queue.values"),
		"queue  seq  slots  body           value\n"
		"kp1    8    -      #[\"later\",[]]  [\"later\", []]\n");
	assert_string_equal(cat(*state, "vats/v2/queue.values"),
		"queue  seq  slots  body           value\n"
		"v2     4    -      #[\"stuck\",[]]  [\"stuck\", []]\n");
	assert_string_equal(cat(*state, "aside.values"), aside);
	assert_string_equal(cat(*state, "vats/v1/aside.values"), aside);
	for (size_t i = 0; i < ARRAY_LEN(hidden); i++) {
		assert_int_equal(walk(*state, hidden[i], &n), 0);
		assert_int_equal(node_class(n), NODE_VALUES);
	}
}

/* Of a body that is large only its beginning is looked at, and the method is the same. */
static void test_large_method(void **state)
{
	static const char *const names[][2] = {
		{ "plain", "plain" }, { "a b\\\"\\\\", "a\\x20b\"\\\\" }, { "\\u001b", "\\x1b" }, { "", "-" }, { "no\x01json", "-" },
	};
	static char body[20000];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		/* Around the length that counts as large, and well beyond; behind the name anything. */
		for (size_t len = 4090; len <= sizeof(body); len = len < 4100 ? len + 1 : len + 7950) {
			struct capdata value = { .body = (const uint8_t *)body, .body_len = len };
			struct text t = TEXT_INIT(100);

			memset(body, ' ', sizeof(body));
			memcpy(body, "#[\"", 3);
			memcpy(body + 3, names[i][0], strlen(names[i][0]));
			memcpy(body + 3 + strlen(names[i][0]), "\",[]", 4);
			body[len - 1] = ']';
			render_method(&t, &value);
			assert_int_equal(t.len, strlen(names[i][1]));
			assert_memory_equal(t.data, names[i][1], t.len);
			text_deinit(&t);
		}
	}
	/* A name that does not end in time is none. */
	memset(body, 'x', sizeof(body));
	memcpy(body, "#[\"", 3);
	for (size_t slashes = 0; slashes < 2; slashes++) {
		struct text t = TEXT_INIT(100);

		memset(body + 4000, slashes ? '\\' : 'x', 200);
		render_method(&t, &(struct capdata){ .body = (const uint8_t *)body, .body_len = sizeof(body) });
		assert_int_equal(t.len, 1);
		assert_int_equal(t.data[0], '-');
		text_deinit(&t);
	}
}

/* How many rows of a table a text may look at, from here on. */
static size_t rows_left(struct view *v)
{
	size_t n = 0;

	while (!v->text->cut && n < 10000) {
		struct scan s;

		scan_begin(&s, v, T_VAT, NULL, 0);
		while (!scan_next(&s))
			n++;
	}
	return n;
}

/* What takes too long ends with a whole line, and says so: by the clock, and in a frozen tree after so many rows. */
static void test_too_long(void **state)
{
	static const char cut[] = "vat  seq\n[cut: there is more, and it would take too long]\n";
	struct fixture *f = *state;
	struct view *v = &f->view;
	struct text *t = &f->text;

	for (int frozen = 0; frozen < 2; frozen++) {
		text_reset(t);
		text_str(t, "vat\tseq\nv1\t");
		v->snapshot = frozen;
		view_begin_text(v, t);
		assert_true(!t->late && (v->until_ns == 0) == frozen);
		if (frozen)
			v->n_rows = VIEW_FROZEN_ROWS - 7;
		else
			v->until_ns = 1;
		assert_in_range(rows_left(v), frozen ? 5 : 0, frozen ? 7 : 0);	/* the ends of tables count too */
		assert_true(t->late);
		text_str(t, "what is not known\n");
		text_align(t, 0);
		view_end_text(v);
		text_end(t);
		assert_int_equal(t->len, strlen(cut));
		assert_memory_equal(t->data, cut, t->len);
		/* What is made next begins anew; and listings have no such end. */
		assert_false(view_is_enough(v));
		assert_non_null(strstr(cat(f, "vats.txt"), "carol"));
		assert_null(strstr(cat(f, "vats.txt"), "[cut"));
	}
	v->snapshot = 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_listings, setup, teardown),
		cmocka_unit_test_setup_teardown(test_links, setup, teardown),
		cmocka_unit_test_setup_teardown(test_facts, setup, teardown),
		cmocka_unit_test_setup_teardown(test_holders, setup, teardown),
		cmocka_unit_test_setup_teardown(test_queues, setup, teardown),
		cmocka_unit_test_setup_teardown(test_in_flight, setup, teardown),
		cmocka_unit_test_setup_teardown(test_decides, setup, teardown),
		cmocka_unit_test_setup_teardown(test_waits, setup, teardown),
		cmocka_unit_test_setup_teardown(test_exports_imports, setup, teardown),
		cmocka_unit_test_setup_teardown(test_gc, setup, teardown),
		cmocka_unit_test_setup_teardown(test_aside, setup, teardown),
		cmocka_unit_test_setup_teardown(test_values, setup, teardown),
		cmocka_unit_test_setup_teardown(test_too_long, setup, teardown),
		cmocka_unit_test(test_large_method),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
