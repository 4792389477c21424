/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mount without FUSE: a small kernel state is written through the broker's store, read back through lib/reader,
 * and every name, listing and text compared exactly. Then names and rows that no kernel wrote.
 */
#include "fs_state.h"

#define BLOCK	1879048192u

/* --- the state --------------------------------------------------------------------------------------------------- */

/* Lines "line N"; the first five are gone. Returns the bytes of all. */
static uint64_t put_lines(struct store *s, uint64_t vat, unsigned int n)
{
	struct row_log log = { .time_us = THEN, .level = 1, .incarnation = 1 };
	char text[16];

	for (unsigned int i = 1; i <= n; i++) {
		sprintf(text, "line %u", i);
		if (i > 5)
			put_log(s, vat, i, log, text);
		log.offset += log_line_size(&log, text, strlen(text));
	}
	return log.offset;
}

#define LOG_1	"hello"
#define LOG_2	"two\nlines \\ \x1b]0;title\x07 \xff"

static void write_vats(struct store *s)
{
	static const char config[] = "{\"program\":\"sha256:00\",\"args\":[\"\xc2\x9b\x7f\"]}";
	struct row_log log = { .time_us = THEN, .level = 1, .incarnation = 2 };
	uint8_t buf[256];

	struct row_log second = { .level = 3, .incarnation = 2, .offset = log_line_size(&log, LOG_1, strlen(LOG_1)) };

	put_vat(s, 1, (struct row_vat){ .next_log = 3, .log_bytes = second.offset + log_line_size(&second, LOG_2, strlen(LOG_2)), .subcluster = 1, .incarnation = 2, .status = VAT_RUNNING, .uid = BLOCK + 1, .pid = 42,
		.isolation = 0x7, .n_cranks = 7, .n_deaths = 1, .n_queued = 1, .queued_bytes = 13, .n_exports = 3,
		.n_imports = 1, .vatstore_bytes = 99, .started_us = THEN }, "alice", "");
	put_vat(s, 2, (struct row_vat){ .subcluster = 1, .incarnation = 1, .status = VAT_SUSPENDED, .next_log = 21,
		.log_bytes = put_lines(s, 2, 20) }, "bob", "it said: \x1b[31mred\nand forged");
	put_vat(s, 3, (struct row_vat){ .incarnation = 1, .status = VAT_TERMINATED }, "gone", "");
	put_u64(s, T_VAT_CONFIG, 1, config, strlen(config));
	put_u64(s, T_VAT_PARAM, 1, buf, make_capdata(buf, "#[\"$0.Alleged: Bob\"]", (uint64_t[]){ 2 }, 1));
	second.time_us = THEN;
	put_log(s, 1, 1, log, LOG_1);
	put_log(s, 1, 2, second, LOG_2);
	put_vatstore(s, 1, "a key", 5, "v 1", 3);
	put_vatstore(s, 1, "-", 1, "", 0);
	put_vatstore(s, 1, "\x00\xff\n", 3, "\\", 1);
	put_vatstore(s, 11, "not v1's", 8, "", 0);
	/* As the C vat library writes them (vatd/lib/store.c). */
	put_text(s, 2, "baggage.count", "#5");
	put_text(s, 2, "baggage.two words", "#{\"peer\":\"$0.Alleged: X\",\"lost\":\"$1\"}\no-1 o-99");
	put_text(s, 2, "baggage.broken", "#[\nnot a reference");
	put_text(s, 2, "baggage", "not one of them");
	put_text(s, 2, "count.o-1", "1");
	put_text(s, 2, "object.o+0", "#{\"n\":7}");
	put_text(s, 1, "object.o+d2.5:1", "#[]");
}

static void write_references(struct store *s)
{
	struct row_promise p = { .state = PROMISE_UNRESOLVED, .n_refs = 2, .decider = endpoint_vat(2).bits,
		.decider_incarnation = 1, .n_waiting = 1 };
	struct row_service service = { .kref = 4 };
	uint8_t buf[256];

	put_object(s, 1, endpoint_vat(1), 1, OBJECT_F_SURVIVES, 1, 1);
	put_object(s, 2, endpoint_vat(1), 2, OBJECT_F_REVOKED, 1, 2);
	put_object(s, 3, endpoint_vat(1), 1, 0, 0, 1);
	put_object(s, 4, ENDPOINT_K, 0, OBJECT_F_SURVIVES, 1, 1);
	put_object(s, 5, (endpoint_t){ 0 }, 0, 0, 0, 1);
	put_clist(s, endpoint_vat(1), "o+0", ko(1), CLIST_F_REACHABLE);
	put_clist(s, endpoint_vat(1), "o+d2.5:1", ko(2), CLIST_F_REACHABLE);
	put_clist(s, endpoint_vat(2), "o-1", ko(2), CLIST_F_REACHABLE);
	put_clist(s, endpoint_vat(3), "o-7", ko(2), 0);
	put_clist(s, endpoint_vat(1), "p-1", kp(1), CLIST_F_REACHABLE);
	put_clist(s, endpoint_vat(2), "p+3", kp(1), CLIST_F_REACHABLE);
	put_u64(s, T_PROMISE, kp(1).bits, &p, sizeof(p));
	put_pair(s, T_SUBSCRIBER, kp(1).bits, endpoint_vat(1).bits, "", 0);
	put_pair(s, T_DECIDED, endpoint_vat(2).bits, kp(1).bits, "", 0);
	p = (struct row_promise){ .state = PROMISE_FULFILLED, .n_refs = 1 };
	put_u64(s, T_PROMISE, kp(2).bits, &p, sizeof(p));
	put_u64(s, T_VALUE, kp(2).bits, buf,
		make_capdata(buf, "#{\"a\":\"$0.Alleged: Bob\",\"b\":\"x\\u001by\"}", (uint64_t[]){ 2 }, 1));
	p = (struct row_promise){ .state = PROMISE_FORWARDED, .n_refs = 1, .link = kp(1).bits };
	put_u64(s, T_PROMISE, kp(3).bits, &p, sizeof(p));
	put_pair(s, T_FORWARD, kp(1).bits, kp(3).bits, "", 0);
	p = (struct row_promise){ .state = PROMISE_UNRESOLVED, .n_refs = 1, .link = endpoint_vat(1).bits };
	put_u64(s, T_PROMISE, kp(4).bits, &p, sizeof(p));
	p = (struct row_promise){ .state = PROMISE_UNRESOLVED, .n_refs = 1, .decider = endpoint_vat(3).bits,
		.decider_incarnation = 1 };
	put_u64(s, T_PROMISE, kp(5).bits, &p, sizeof(p));
	p = (struct row_promise){ .state = PROMISE_REJECTED, .n_refs = 1, .flags = PROMISE_F_KERNEL };
	put_u64(s, T_PROMISE, kp(6).bits, &p, sizeof(p));
	put_u64(s, T_VALUE, kp(6).bits, buf, make_capdata(buf, "not smallcaps \x1b\\", NULL, 0));
	must_put(s, T_SERVICE, "console", 7, &service, sizeof(service));
	must_put(s, T_SERVICE, "..", 2, &service, sizeof(service));
	must_put(s, T_SERVICE, "a/b", 3, &service, sizeof(service));
	must_put(s, T_SERVICE, "a\nb", 3, &service, sizeof(service));
	put_u64(s, T_SERVICE_OF, 4, "console", 7);
	put_hold(s, ko(1), HOLD_ROOT, 1, 1);
	put_hold(s, ko(1), HOLD_PIN, 0, 2);
	put_hold(s, ko(4), HOLD_SERVICE, 0, 1);
}

static void write_queues(struct store *s)
{
	struct row_item message = { .kind = ITEM_MESSAGE, .enqueued_us = NOW - 1234567, .target = 2,
		.sender = endpoint_vat(2).bits, .result = kp(4).bits };
	struct row_item notify = { .kind = ITEM_NOTIFY, .enqueued_us = NOW + 5000000, .target = kp(2).bits };

	put_item(s, endpoint_vat(1).bits, 5, message, "#[\"get name\",[]]");
	put_item(s, endpoint_vat(2).bits, 9, notify, NULL);
	message.sender = 0;
	put_item(s, endpoint_vat(2).bits, 3, message, "#[\"!-\",[]]");
	message.target = 4;
	put_item(s, ENDPOINT_K.bits, 4, message, "garbage");
	put_item(s, endpoint_vat(10).bits, 6, message, "#[\"\\u001b\\n\",[]]");
	message.target = kp(1).bits;
	put_item(s, kp(1).bits, 7, message, "#[\"later\",[]]");
}

static void write_subclusters(struct store *s)
{
	struct row_subcluster row = { .status = SUB_RUNNING, .bootstrap_vat = 1, .root = 1, .created_us = THEN,
				      .name = "registry" };

	put_u64(s, T_SUBCLUSTER, 1, &row, sizeof(row));
	row = (struct row_subcluster){ .status = SUB_LAUNCHING, .created_us = THEN };
	put_u64(s, T_SUBCLUSTER, 2, &row, sizeof(row));
	put_u64(s, T_SUB_CONFIG, 1, "{\"bootstrap\":\"alice\"}", 21);
	put_pair(s, T_MEMBER, 1, 1, "alice", 5);
	put_pair(s, T_MEMBER, 1, 2, "bob", 3);
	put_pair(s, T_MEMBER, 1, 3, "no/no", 5);
	put_pair(s, T_MEMBER, 11, 4, "eve", 3);
}

static void write_state(struct store *s)
{
	put_meta(s, META_UID_BLOCK, BLOCK);
	put_meta(s, META_N_BOOT, 3);
	put_meta(s, META_BOOT_TIME, THEN);
	put_meta(s, META_NEXT_DELIVERY, 8);
	must_put(s, T_META, META_VERSION, strlen(META_VERSION), "0.1.0", 5);
	write_vats(s);
	write_references(s);
	write_queues(s);
	write_subclusters(s);
}

static int setup(void **state)
{
	return setup_state(state, write_state);
}

/* --- tests ------------------------------------------------------------------------------------------------------- */

static void test_listings(void **state)
{
	struct fixture *f = *state;
	char out[LS_MAX];

	assert_string_equal(ls(f, "/", out),
			    "status version runqueue runqueue.values holds aside aside.values deaths objects/ promises/ gc/ vats.txt vats/ subclusters.txt subclusters/ "
			    "services.txt services/ code.txt code/ events recent snapshot/ snapshot.txt");
	assert_string_equal(ls(f, "objects", out), "ko1/ ko2/ ko3/ ko4/ ko5/");
	assert_string_equal(ls(f, "promises", out), "kp1/ kp2/ kp3/ kp4/ kp5/ kp6/");
	assert_string_equal(ls(f, "vats", out), "v1/ v2/ v3/");
	assert_string_equal(ls(f, "vats/v1", out),
			    "subcluster@ root@ limits name config parameters status uid pid incarnation isolation usage clist/ "
			    "clist.txt "
			    "queue vatstore state decides/ log decides.txt waits exports imports queue.values");
	assert_string_equal(ls(f, "vats/v1/clist", out), "o+0@ o+d2.5:1@ p-1@");
	assert_string_equal(ls(f, "vats/v2/clist", out), "o-1@ p+3@");
	assert_string_equal(ls(f, "subclusters", out), "s1/ s2/");
	assert_string_equal(ls(f, "subclusters/s1", out), "holds bootstrap@ config status created name vats/ root@");
	/* No root yet: no link to it. */
	assert_string_equal(ls(f, "subclusters/s2", out), "holds config status created vats/");
	/* Names that cannot be files are not shown. */
	assert_string_equal(ls(f, "subclusters/s1/vats", out), "alice@ bob@");
	assert_string_equal(ls(f, "services", out), "console@");
}

static void test_links(void **state)
{
	struct fixture *f = *state;
	char buf[NODE_LINK_MAX];

	assert_string_equal(readlink_of(f, "vats/v1/clist/o+d2.5:1", buf), "../../../objects/ko2");
	assert_string_equal(readlink_of(f, "vats/v2/clist/p+3", buf), "../../../promises/kp1");
	assert_string_equal(readlink_of(f, "subclusters/s1/root", buf), "../../objects/ko1");
	assert_string_equal(readlink_of(f, "subclusters/s1/vats/bob", buf), "../../../vats/v2");
	assert_string_equal(readlink_of(f, "services/console", buf), "../objects/ko4");
}

static void test_status(void **state)
{
	const char *status = cat(*state, "status");
	char expected[1024];

	snprintf(expected, sizeof(expected),
		 "version: 0.1.0\nschema: 3\nuid-block: 1879048192\nboots: 3\nboot-time: 2023-11-14T22:13:20.000000Z\n"
		 "cranks: 7\nvats: 3\nvats-starting: 0\nvats-running: 1\nvats-suspended: 1\nvats-terminated: 1\n"
		 "subclusters: 2\nobjects: 5\npromises: 6\nqueue-items: 6\ngc-actions: 0\nholds: 3\nservices: 4\n"
		 "set-aside: 0\nsuspects: 0\nprograms: 0\nstore: lmdb\nstore-bytes: 4096\nstore-commit: %llu\n",
		 (unsigned long long)reader_txnid(((struct fixture *)*state)->reader));
	assert_string_equal(status, expected);
	assert_string_equal(cat(*state, "version"), "0.1.0\n");
}

/* The merge of all endpoints' queues, in order; what waits on a promise is not in it. */
static void test_queues(void **state)
{
	assert_string_equal(cat(*state, "runqueue"),
		"seq  kind     target  method       sender  size  age    queue  result  state       busy\n"
		"3    message  ko2     \\x2d         host    10    1.234  v2     kp4     suspended   -\n"
		"4    message  ko4     -            host    7     1.234  k      kp4     unanswered  -\n"
		"5    message  ko2     get\\x20name  v2      16    1.234  v1     kp4     next        -\n"
		"6    message  ko4     \\x1b\\n       host    16    1.234  v10    kp4     no-vat      -\n"
		"9    notify   kp2     -            -       0     0.000  v2     -       suspended   -\n");
	assert_string_equal(cat(*state, "vats/v2/queue"),
		"seq  kind     target  method  sender  size  age    result  state      busy\n"
		"3    message  ko2     \\x2d    host    10    1.234  kp4     suspended  -\n"
		"9    notify   kp2     -       -       0     0.000  -       suspended  -\n");
	assert_string_equal(cat(*state, "vats/v3/queue"),
		"seq  kind  target  method  sender  size  age  result  state  busy\n");
	assert_string_equal(cat(*state, "holds"),
		"kref  kind     owner  count  since\n"
		"ko1   root     s1     1      2023-11-14T22:13:20.000000Z\n"
		"ko1   pin      -      2      2023-11-14T22:13:20.000000Z\n"
		"ko4   service  -      1      2023-11-14T22:13:20.000000Z\n");
}

static void test_objects(void **state)
{
	assert_string_equal(cat(*state, "objects/ko1/status"),
		"owner: v1 o+0 reachable\nowner-state: alive\nowner-incarnation: 1\nsurvives: yes\nkind: root\nrefcount: 1 reachable 1 recognizable\nrevoked: no\n"
		"importers: 0\npinned: 2\nhold: root s1 1 2023-11-14T22:13:20.000000Z\n"
		"hold: pin - 2 2023-11-14T22:13:20.000000Z\n");
	assert_string_equal(cat(*state, "objects/ko2/status"),
		"owner: v1 o+d2.5:1 reachable\nowner-state: alive\nowner-incarnation: 2\nsurvives: no\nkind: durable\nrefcount: 1 reachable 2 recognizable\n"
		"revoked: yes\nimporters: 2\nimporter: v2 o-1 reachable\nimporter: v3 o-7 recognizable\npinned: 0\n");
	/* G6: owned by an incarnation that is gone. */
	assert_string_equal(cat(*state, "objects/ko3/status"),
		"owner: v1\nowner-state: gone\nowner-incarnation: 1\nsurvives: no\nkind: plain\nrefcount: 0 reachable 1 recognizable\nrevoked: no\n"
		"importers: 0\npinned: 0\n");
	assert_string_equal(cat(*state, "objects/ko4/status"),
		"owner: k\nowner-state: kernel\nkind: service\nservice: console\nrefcount: 1 reachable 1 recognizable\n"
		"revoked: no\nimporters: 0\npinned: 0\nhold: service - 1 2023-11-14T22:13:20.000000Z\n");
	assert_string_equal(cat(*state, "objects/ko5/status"),
		"owner: none\nowner-state: none\nkind: orphan\nrefcount: 0 reachable 1 recognizable\nrevoked: no\n"
		"importers: 0\npinned: 0\n");
}

static void test_promises(void **state)
{
	assert_string_equal(cat(*state, "promises/kp1/status"),
		"state: unresolved\ndecider: v2 p+3 reachable\ndecider-state: suspended\ndecider-incarnation: 1\nrefcount: 2\nsubscribers: 1\n"
		"subscriber: v1 p-1 reachable\nforwarded-from: kp3\nwaiting: 1\nmessage: 7 later host kp4\npinned: 0\n");
	assert_string_equal(cat(*state, "promises/kp2/status"),
		"state: fulfilled\ndecider: none\nrefcount: 1\nsubscribers: 0\nwaiting: 0\npinned: 0\n");
	assert_string_equal(cat(*state, "promises/kp2/value"),
		"value: {a: ko2, b: \"x\\x1by\"}\n"
		"body: #{\"a\":\"$0.Alleged: Bob\",\"b\":\"x\\\\u001by\"}\nslots: ko2\n");
	assert_string_equal(cat(*state, "promises/kp3/status"),
		"state: forwarded\ndecider: none\nrefcount: 1\nforwarded-to: kp1\nsubscribers: 0\nwaiting: 0\npinned: 0\n");
	assert_string_equal(cat(*state, "promises/kp4/status"),
		"state: unresolved\ndecider: none\nrefcount: 1\nbehind: v1\nsubscribers: 0\nwaiting: 0\npinned: 0\n");
	/* P8: the decider is terminated, so the promise counts as rejected before its row is swept. */
	assert_string_equal(cat(*state, "promises/kp5/status"),
		"state: rejected\nstored-state: unresolved\ndecider: v3\ndecider-state: terminated\ndecider-incarnation: 1\nrefcount: 1\n"
		"subscribers: 0\nwaiting: 0\npinned: 0\n");
	assert_string_equal(cat(*state, "promises/kp6/status"),
		"state: rejected\nrejected-by: kernel\ndecider: none\nrefcount: 1\nsubscribers: 0\nwaiting: 0\npinned: 0\n");
	assert_string_equal(cat(*state, "promises/kp6/value"),
		"value: not smallcaps \\x1b\\\\\nbody: not smallcaps \\x1b\\\\\nslots: -\n");
}

static void test_vats(void **state)
{
	assert_string_equal(cat(*state, "vats/v1/name"), "alice\n");
	assert_string_equal(cat(*state, "vats/v1/status"), "running\n");
	assert_string_equal(cat(*state, "vats/v3/status"), "terminated\n");
	assert_string_equal(cat(*state, "vats/v1/uid"), "1879048193\n");
	assert_string_equal(cat(*state, "vats/v2/uid"), "none\n");
	assert_string_equal(cat(*state, "vats/v1/pid"), "42\n");
	assert_string_equal(cat(*state, "vats/v2/pid"), "none\n");
	assert_string_equal(cat(*state, "vats/v1/incarnation"), "2\n");
	assert_string_equal(cat(*state, "vats/v1/isolation"), "uid nocaps nnp\n");
	assert_string_equal(cat(*state, "vats/v2/isolation"), "none\n");
	assert_string_equal(cat(*state, "vats/v2/reason"), "it said: \\x1b[31mred\\nand forged\n");
	assert_string_equal(cat(*state, "vats/v1/config"),
		"{\n  \"program\": \"sha256:00\",\n  \"args\": [\n    \"\\u009B\\u007f\"\n  ]\n}\n");
	assert_string_equal(cat(*state, "vats/v1/parameters"),
		"value: [ko2]\nbody: #[\"$0.Alleged: Bob\"]\nslots: ko2\n");
	assert_string_equal(cat(*state, "vats/v1/usage"),
		"cranks: 7\ndeaths: 1\nqueued: 1\nqueued-bytes: 13\nexports: 3\nimports: 1\nvatstore-bytes: 99\n"
		"log-dropped: 0\nstarted: 2023-11-14T22:13:20.000000Z\nsenders: 0\nintroducers: 0\ncalls: 0\nset-aside: 0\n"
		"set-aside-bytes: 0\nlog-lines: 2\nlog-bytes: 113\nrevoked-below: none\n");
	assert_string_equal(cat(*state, "vats/v1/clist.txt"),
		"eref      kref  flags\n"
		"o+0       ko1   reachable\n"
		"o+d2.5:1  ko2   reachable\n"
		"p-1       kp1   reachable\n");
	assert_string_equal(cat(*state, "vats/v3/clist.txt"), "eref  kref  flags\no-7   ko2   recognizable\n");
	assert_string_equal(cat(*state, "vats/v1/log"),
		"2023-11-14T22:13:20.000000Z 2 info hello\n"
		"2023-11-14T22:13:20.000000Z 2 error two\\nlines \\\\ \\x1b]0;title\\x07 \\xff\n");
	assert_string_equal(cat(*state, "vats/v1/vatstore"),
		"key              value\n"
		"\\x00\\xff\\n       \\\\\n"
		"\\x2d             \n"
		"a\\x20key         v 1\n"
		"object.o+d2.5:1  #[]\n");
	assert_string_equal(cat(*state, "vats/v2/baggage"),
		"key           value\n"
		"broken        #[\\nnot a reference\n"
		"count         5\n"
		"two\\x20words  {peer: ko2, lost: o-99}\n");
	assert_string_equal(cat(*state, "vats/v2/state"), "eref  kref  kind  value\no+0   -     root  {n: 7}\n");
	assert_string_equal(cat(*state, "vats/v1/state"), "eref      kref  kind  value\no+d2.5:1  ko2   -     []\n");
}

#define LINE(n)	"2023-11-14T22:13:20.000000Z 1 info line " n "\n"

/* What is too long keeps its newest lines, and says that there were others. */
static void test_long_log(void **state)
{
	struct fixture *f = *state;
	struct text t = TEXT_INIT(300);
	struct node n;

	assert_int_equal(walk(f, "vats/v2/log", &n), 0);
	assert_int_equal(tree_render(&f->view, n, &t), 0);
	assert_false(t.cut || t.failed);
	text_add(&t, "", 1);
	assert_string_equal(t.data, "[cut: there are earlier lines]\n" LINE("18") LINE("19") LINE("20"));
	text_deinit(&t);
}

/* A log is a file that only grows: every byte has its place, whatever was trimmed before it. */
static void test_log_places(void **state)
{
	struct fixture *f = *state;
	struct text *t = &f->text;
	uint64_t size, start, mtime;
	char whole[2000];
	struct node n;

	strcpy(whole, cat(f, "vats/v2/log"));
	assert_memory_equal(whole, LINE("6") LINE("7"), 2 * strlen(LINE("6")));
	assert_int_equal(walk(f, "vats/v2/log", &n), 0);
	assert_int_equal(tree_size(&f->view, n, &size, &mtime), 0);
	assert_int_equal(render_log_start(&f->view, 2, &start), 0);
	assert_int_equal(mtime, THEN);
	assert_int_equal(start, 5 * strlen(LINE("1")));
	assert_int_equal(size, start + strlen(whole));
	for (uint64_t at = start; at <= size + 1; at++) {
		text_reset(t);
		assert_int_equal(render_log_from(&f->view, 2, at, t), 0);
		assert_int_equal(t->len, at < size ? size - at : 0);
		assert_memory_equal(t->data, whole + (at - start), t->len);
	}
	text_reset(t);
	assert_int_equal(render_log_from(&f->view, 3, 0, t), 0);
	assert_int_equal(t->len, 0);
}

static void test_subclusters(void **state)
{
	assert_string_equal(cat(*state, "subclusters/s2/config"), "none\n");
	assert_string_equal(cat(*state, "vats/v3/config"), "none\n");
	assert_string_equal(cat(*state, "subclusters/s1/status"), "running\n");
	assert_string_equal(cat(*state, "subclusters/s2/status"), "launching\n");
	assert_string_equal(cat(*state, "subclusters/s1/name"), "registry\n");	/* S2 */
	assert_string_equal(cat(*state, "subclusters/s1/created"), "2023-11-14T22:13:20.000000Z\n");
	assert_string_equal(cat(*state, "subclusters/s1/config"), "{\n  \"bootstrap\": \"alice\"\n}\n");
}

/* One spelling each: what is not exactly a name of something there is absent. */
static void test_absent(void **state)
{
	static const char *const paths[] = {
		"x", "Status", "status ", "objects/ko0", "objects/ko6", "objects/ko01", "objects/ko+1", "objects/kp1",
		"objects/ko1x", "objects/ko1152921504606846976", "objects/ko99999999999999999999",
		"objects/ko144115188075855872", "promises/ko1", "promises/kp7", "vats/v0", "vats/v4", "vats/v01", "vats/1",
		"vats/v1/x", "vats/v1/clist/o+1", "vats/v1/clist/o-1", "vats/v1/clist/o+00", "vats/v1/clist/p+1",
		"vats/v1/clist/clist.txt", "subclusters/s3", "subclusters/s2/root", "subclusters/s1/vats/eve",
		"subclusters/s1/vats/no/no", "vats/v1/reason", "vats/v3/parameters", "vats/v1/code", "vats/v3/root", "vats/v3/subcluster",
		"limits", "stats", "subclusters/s1/io", "subclusters/s1/ended", "subclusters/s2/bootstrap", "subclusters/s2/name", "code/00",
		"subclusters/s2/vats/alice", "services/a\nb", "services/nothing",
		"services/..",
	};
	struct fixture *f = *state;
	struct node n;

	for (size_t i = 0; i < ARRAY_LEN(paths); i++)
		if (walk(f, paths[i], &n) != VIEW_E_ABSENT)
			fail_msg("'%s' was found", paths[i]);
	/* A thing that went while its inode was known. */
	for (int kind = NODE_ROOT; kind < NODE_N; kind++) {
		n = (struct node){ (enum node_kind)kind, 0, 77 };
		if (!node_from_ino(node_ino(n), &n))
			continue;
		text_reset(&f->text);
		if (node_type(n) == NODE_FILE && n.id)
			assert_int_equal(tree_render(&f->view, n, &f->text), VIEW_E_ABSENT);
		if (node_type(n) == NODE_DIR && n.id)
			assert_int_equal(list(f, n, 1), VIEW_E_ABSENT);
	}
}

/* Any number for an inode: refused, or one that comes back the same. */
static void test_inodes(void **state)
{
	struct rng rng = { 0x123456789abcdef1 };
	struct node n;

	(void)state;
	assert_true(node_from_ino(1, &n) && n.kind == NODE_ROOT);
	assert_false(node_from_ino(0, &n));
	assert_false(node_from_ino(2, &n));
	assert_false(node_from_ino(UINT64_MAX, &n));
	for (int i = 0; i < 200000; i++) {
		uint64_t ino = rng_next(&rng) >> rng_below(&rng, 64);

		if (i % 2)
			ino = (uint64_t)rng_below(&rng, 64) << 56 | (ino & 0xff);
		if (node_from_ino(ino, &n))
			assert_true(node_ino(n) == ino);
	}
}

/* Names made of what names are made of: nothing crashes, and what is found has exactly that name. */
static void test_random_names(void **state)
{
	static const char *const directories[] = {
		"/", "objects", "promises", "vats", "vats/v1", "vats/v1/clist", "subclusters", "subclusters/s1",
		"subclusters/s1/vats", "services",
	};
	static const char letters[] = "kopvsrd+-.:0123459x\x80\xff \n/";
	struct rng rng = { 42 };
	struct fixture *f = *state;
	unsigned int n_found = 0;

	for (size_t d = 0; d < ARRAY_LEN(directories); d++) {
		struct listing *l = &f->listing;
		struct node dir, n;

		assert_int_equal(walk(f, directories[d], &dir), 0);
		assert_int_equal(list(f, dir, 7), 0);
		for (int i = 0; i < 20000; i++) {
			char name[24];
			size_t len = rng_below(&rng, i % 2 ? 6 : sizeof(name)), at;

			for (size_t j = 0; j < len; j++)
				name[j] = letters[rng_below(&rng, sizeof(letters) - 1)];
			name[len] = '\0';
			if (tree_find(&f->view, dir, name, &n))
				continue;
			for (at = 2; at < l->n && strcmp(l->entries[at].name, name); at++)
				;
			assert_true(at < l->n && l->entries[at].ino == node_ino(n));
			n_found++;
		}
	}
	assert_true(n_found > 0);
}

static void test_noise(void **state)
{
	struct fixture *f = *state;
	struct rng rng = { 7 };

	render_all(f);
	for (int round = 0; round < 5; round++) {
		end_look(f);
		write_noise(f->dir, &rng);
		begin_look(f);
		render_all(f);
		write_live_noise(f, &rng);
		render_all(f);
	}
}

/* --- the text buffer --------------------------------------------------------------------------------------------- */

static void test_text_time(void **state)
{
	static const struct { uint64_t second; const char *text; } times[] = {
		{ 1, "1970-01-01T00:00:01.000000Z" }, { 951782400, "2000-02-29T00:00:00.000000Z" },
		{ 951868800, "2000-03-01T00:00:00.000000Z" }, { 1709164799, "2024-02-28T23:59:59.000000Z" },
		{ 1735689599, "2024-12-31T23:59:59.000000Z" }, { 1735689600, "2025-01-01T00:00:00.000000Z" },
		{ 4107542400, "2100-03-01T00:00:00.000000Z" }, { 4107542399, "2100-02-28T23:59:59.000000Z" },
		{ 253402300799, "9999-12-31T23:59:59.000000Z" },
	};
	struct text t = TEXT_INIT(1000);

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(times); i++) {
		text_reset(&t);
		text_time(&t, times[i].second * 1000000);
		text_add(&t, "", 1);
		assert_string_equal(t.data, times[i].text);
	}
	text_reset(&t);
	text_time(&t, 0);
	text_time(&t, UINT64_MAX);
	assert_true(t.len > 10);
	text_deinit(&t);
}

/* A text over its bound says so, in a line of its own, and never exceeds it by more than that line. */
static void test_text_bound(void **state)
{
	(void)state;
	for (size_t max = 1; max < 300; max++) {
		struct text t = TEXT_INIT(max);

		text_str(&t, "header\tcolumn\n");
		for (int i = 0; i < 20; i++) {
			text_cell(&t, "a b\x1b", 4);
			text_str(&t, "\tx\n");
		}
		text_align(&t, 0);
		text_end(&t);
		assert_false(t.failed);
		assert_true(t.len <= max + TEXT_CUT_ROOM);
		assert_true(t.cut == (max <= 14 + 20 * 13));
		if (t.cut)
			assert_non_null(memmem(t.data, t.len, "[cut: there is more than ", 25));
		if (t.len)
			assert_int_equal(t.data[t.len - 1], '\n');
		text_shrink(&t);
		text_deinit(&t);
	}
}

/* Layout can make a table longer than its bound; what comes behind it finds no room. */
static void test_text_behind_table(void **state)
{
	(void)state;
	for (size_t max = 40; max < 60; max++) {
		struct text t = TEXT_INIT(max);

		for (int i = 0; i < 10; i++)
			text_str(&t, "a\tb\n");
		text_align(&t, 0);
		text_escaped(&t, "\x01\x01\x01\x01\x01\x01\x01\x01", 8);
		text_end(&t);
		assert_true(t.cut && !t.failed && t.len <= t.size);
		assert_memory_equal(t.data, "a  b\na  b\n", 10);
		text_deinit(&t);
	}
}

/* A value too large for the text shows its beginning, on a whole escape. */
static void test_text_large_value(void **state)
{
	struct text t = TEXT_INIT(100);
	char bytes[1000];

	(void)state;
	memset(bytes, 1, sizeof(bytes));
	text_str(&t, "v: ");
	text_escaped(&t, bytes, sizeof(bytes));
	text_str(&t, "\nnever seen\n");
	text_end(&t);
	assert_true(t.cut && !t.failed);
	assert_memory_equal(t.data, "v: \\x01\\x01", 11);
	assert_memory_equal(t.data + t.len - 40, "x01\n[cut: there is more than 100 bytes]\n", 40);
	text_deinit(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_listings, setup, teardown),
		cmocka_unit_test_setup_teardown(test_links, setup, teardown),
		cmocka_unit_test_setup_teardown(test_status, setup, teardown),
		cmocka_unit_test_setup_teardown(test_queues, setup, teardown),
		cmocka_unit_test_setup_teardown(test_objects, setup, teardown),
		cmocka_unit_test_setup_teardown(test_promises, setup, teardown),
		cmocka_unit_test_setup_teardown(test_vats, setup, teardown),
		cmocka_unit_test_setup_teardown(test_long_log, setup, teardown),
		cmocka_unit_test_setup_teardown(test_log_places, setup, teardown),
		cmocka_unit_test_setup_teardown(test_subclusters, setup, teardown),
		cmocka_unit_test_setup_teardown(test_absent, setup, teardown),
		cmocka_unit_test_setup_teardown(test_inodes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_random_names, setup, teardown),
		cmocka_unit_test_setup_teardown(test_noise, setup, teardown),
		cmocka_unit_test(test_text_time),
		cmocka_unit_test(test_text_bound),
		cmocka_unit_test(test_text_large_value),
		cmocka_unit_test(test_text_behind_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
