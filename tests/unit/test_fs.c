/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mount without FUSE: a small kernel state is written through the broker's store, read back through lib/reader,
 * and every name, listing and text compared exactly. Then names and rows that no kernel wrote.
 */
#include <fcntl.h>

#include "store_dir.h"

#include "../../fs/tree.h"

#define BLOCK	1879048192u
#define NOW	UINT64_C(1700000100000000)	/* 2023-11-14T22:15:00Z */
#define THEN	UINT64_C(1700000000000000)	/* 2023-11-14T22:13:20Z */

/* What a listing gave. */
struct listing {
	struct { uint64_t ino; enum node_type type; char name[NODE_NAME_MAX + 1]; } entries[128];
	size_t n, room;		/* room: what one call may still take */
};

struct fixture {
	char dir[64];
	struct reader *reader;
	struct view view;
	struct text text;
	struct listing listing;
};

/* --- writing a state --------------------------------------------------------------------------------------------- */

static void put_u64(struct store *s, enum table t, uint64_t key, const void *val, size_t len)
{
	uint8_t k[8];

	must_put(s, t, k, key_u64(k, key), val, len);
}

static void put_pair(struct store *s, enum table t, uint64_t a, uint64_t b, const void *val, size_t len)
{
	uint8_t k[16];

	must_put(s, t, k, key_u64_u64(k, a, b), val, len);
}

static void put_meta(struct store *s, const char *name, uint64_t n)
{
	must_put(s, T_META, name, strlen(name), &n, sizeof(n));
}

static void put_vat(struct store *s, uint64_t id, struct row_vat row, const char *name, const char *reason)
{
	strcpy(row.name, name);
	strcpy(row.reason, reason);
	put_u64(s, T_VAT, id, &row, sizeof(row));
}

static void put_object(struct store *s, uint64_t n, endpoint_t owner, uint32_t incarnation, uint32_t flags,
		       uint64_t reachable, uint64_t recognizable)
{
	struct row_object row = {
		.owner = owner.bits, .owner_incarnation = incarnation, .flags = flags, .n_reachable = reachable,
		.n_recognizable = recognizable,
	};

	put_u64(s, T_OBJECT, n, &row, sizeof(row));
}

static void put_clist(struct store *s, endpoint_t e, const char *eref, kref_t ref, uint32_t flags)
{
	struct row_clist row = { .ref = ref.bits, .flags = flags };
	vref_t vref;

	assert_true(vref_parse(eref, strlen(eref), &vref));
	put_pair(s, T_EREF, e.bits, vref.bits, &row, sizeof(row));
	row.ref = vref.bits;
	put_pair(s, T_CLIST, e.bits, ref.bits, &row, sizeof(row));
	if (vref_is_import(vref) && !vref_is_promise(vref))
		put_pair(s, T_IMPORTER, ref.bits, e.bits, "", 0);
}

static size_t make_capdata(uint8_t *out, const char *body, const uint64_t *slots, size_t n_slots)
{
	capdata_write(out, body, strlen(body), slots, n_slots);
	return capdata_size(strlen(body), n_slots);
}

static void put_item(struct store *s, uint64_t holder, uint64_t seq, struct row_item row, const char *body)
{
	uint8_t buf[512];
	size_t len = sizeof(row);

	memcpy(buf, &row, sizeof(row));
	if (row.kind == ITEM_MESSAGE)
		len += make_capdata(buf + len, body, NULL, 0);
	put_pair(s, T_QUEUE, holder, seq, buf, len);
}

static void put_hold(struct store *s, kref_t ref, enum hold_kind kind, uint64_t owner, uint64_t count)
{
	struct row_hold row = { .count = count, .since_us = THEN };
	uint8_t k[17];

	must_put(s, T_HOLD, k, key_u64_u8_u64(k, ref.bits, (uint8_t)kind, owner), &row, sizeof(row));
}

static void put_log(struct store *s, uint64_t vat, uint64_t line, struct row_log row, const char *text)
{
	uint8_t buf[256];

	memcpy(buf, &row, sizeof(row));
	memcpy(buf + sizeof(row), text, strlen(text));
	put_pair(s, T_LOG, vat, line, buf, sizeof(row) + strlen(text));
}

/* One bucket of one key without remainder. */
static void put_vatstore(struct store *s, uint64_t vat, const void *key, size_t key_len, const void *value, size_t len)
{
	uint8_t k[8 + VATSTORE_PREFIX], row[8 + 256];
	uint32_t head[2] = { 0, (uint32_t)len };

	assert_true(key_len <= VATSTORE_PREFIX && len <= 256);
	put_be64(k, vat);
	memcpy(k + 8, key, key_len);
	memcpy(row, head, 8);
	memcpy(row + 8, value, len);
	must_put(s, T_VATSTORE, k, 8 + key_len, row, 8 + len);
}

static void put_text(struct store *s, uint64_t vat, const char *key, const char *value)
{
	put_vatstore(s, vat, key, strlen(key), value, strlen(value));
}

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

static void write_state(const char *dir)
{
	struct store *s = must_open(dir, STORE_DIRECT);

	put_meta(s, META_UID_BLOCK, BLOCK);
	put_meta(s, META_N_BOOT, 3);
	put_meta(s, META_BOOT_TIME, THEN);
	put_meta(s, META_NEXT_DELIVERY, 8);
	must_put(s, T_META, META_VERSION, strlen(META_VERSION), "0.1.0", 5);
	write_vats(s);
	write_references(s);
	write_queues(s);
	write_subclusters(s);
	assert_int_equal(store_commit(s), 0);
	store_free(s);
}

/* --- the fixture ------------------------------------------------------------------------------------------------- */

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	char path[2 * DIR_MAX];
	int fd;

	*state = f;
	f->text = (struct text)TEXT_INIT(1 << 20);
	strcpy(f->dir, "/tmp/capstan-fs-XXXXXX");
	if (!mkdtemp(f->dir))
		return -1;
	write_state(f->dir);
	fd = open(dir_path(path, f->dir, "data.mdb"), O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(reader_open_fd(&f->reader, fd), 0);
	close(fd);
	assert_int_equal(reader_begin(f->reader), 0);
	f->view = (struct view){ .reader = f->reader, .now_us = NOW, .store_bytes = 4096 };
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	if (f->reader)
		reader_end(f->reader);
	reader_free(f->reader);
	text_deinit(&f->text);
	remove_tree(f->dir);
	free(f);
	return 0;
}

/* Walk a path as the kernel does: by name, through inode numbers. */
static int walk(struct fixture *f, const char *path, struct node *outp)
{
	struct node n = NODE_ROOT_LIVE;
	char *copy = strdup(path), *save = NULL;
	int r = 0;

	for (char *name = strtok_r(copy, "/", &save); name && !r; name = strtok_r(NULL, "/", &save)) {
		uint64_t ino = node_ino(n);

		assert_true(node_from_ino(ino, &n));
		r = tree_find(&f->view, n, name, &n);
	}
	free(copy);
	*outp = n;
	return r;
}

static const char *cat(struct fixture *f, const char *path)
{
	struct node n;

	assert_int_equal(walk(f, path, &n), 0);
	assert_int_equal(node_type(n), NODE_FILE);
	text_reset(&f->text);
	assert_int_equal(tree_render(&f->view, n, &f->text), 0);
	assert_false(f->text.failed);
	text_add(&f->text, "", 1);
	return f->text.data;
}

static bool take(void *ctx, struct node n, const char *name)
{
	struct listing *l = ctx;

	if (!l->room)
		return false;
	l->room--;
	assert_true(l->n < ARRAY_LEN(l->entries));
	l->entries[l->n].ino = node_ino(n);
	l->entries[l->n].type = node_type(n);
	strcpy(l->entries[l->n++].name, name);
	return true;
}

/* All entries, `room` at a time: the cursor goes on where it was. */
static int list(struct fixture *f, struct node dir, size_t room)
{
	struct cursor c = { .take = take, .ctx = &f->listing };
	int r = 0;

	f->listing.n = 0;
	while (!r && !c.end) {
		f->listing.room = room;
		r = tree_list(&f->view, dir, &c);
	}
	return r;
}

/* Names and types of a directory: "name/" a directory, "name@" a link; without the two dots, which are checked. */
static char *ls(struct fixture *f, const char *path, char out[1024])
{
	struct listing *l = &f->listing;
	struct node dir, n;
	size_t n_entries;

	assert_int_equal(walk(f, path, &dir), 0);
	assert_int_equal(list(f, dir, 1), 0);
	n_entries = l->n;
	assert_int_equal(list(f, dir, ARRAY_LEN(l->entries)), 0);
	assert_true(l->n >= 2 && l->n == n_entries);
	assert_string_equal(l->entries[0].name, ".");
	assert_true(l->entries[0].ino == node_ino(dir));
	assert_string_equal(l->entries[1].name, "..");
	assert_true(l->entries[1].ino == node_ino(node_parent(dir)));
	out[0] = '\0';
	for (size_t i = 2; i < l->n; i++) {
		const char *name = l->entries[i].name;

		/* What is listed can be found, and is the same inode. */
		assert_int_equal(tree_find(&f->view, dir, name, &n), 0);
		assert_true(node_ino(n) == l->entries[i].ino);
		assert_int_equal(node_type(n), l->entries[i].type);
		sprintf(out + strlen(out), "%s%s%s", i > 2 ? " " : "", name,
			node_type(n) == NODE_DIR ? "/" : node_type(n) == NODE_LINK ? "@" : "");
	}
	return out;
}

static const char *readlink_of(struct fixture *f, const char *path, char buf[NODE_LINK_MAX])
{
	struct node n;
	size_t len;

	assert_int_equal(walk(f, path, &n), 0);
	assert_int_equal(node_type(n), NODE_LINK);
	assert_int_equal(tree_link(&f->view, n, buf, &len), 0);
	assert_int_equal(len, strlen(buf));
	return buf;
}

/* --- tests ------------------------------------------------------------------------------------------------------- */

static void test_listings(void **state)
{
	struct fixture *f = *state;
	char out[1024];

	assert_string_equal(ls(f, "/", out),
			    "status version runqueue holds objects/ promises/ vats/ subclusters/ services/ snapshot/");
	assert_string_equal(ls(f, "objects", out), "ko1/ ko2/ ko3/ ko4/ ko5/");
	assert_string_equal(ls(f, "promises", out), "kp1/ kp2/ kp3/ kp4/ kp5/ kp6/");
	assert_string_equal(ls(f, "vats", out), "v1/ v2/ v3/");
	assert_string_equal(ls(f, "vats/v1", out),
			    "name config parameters status uid pid incarnation isolation reason usage clist/ clist.txt "
			    "queue vatstore baggage state decides log");
	assert_string_equal(ls(f, "vats/v1/clist", out), "o+0@ o+d2.5:1@ p-1@");
	assert_string_equal(ls(f, "vats/v2/clist", out), "o-1@ p+3@");
	assert_string_equal(ls(f, "subclusters", out), "s1/ s2/");
	assert_string_equal(ls(f, "subclusters/s1", out), "config status created name vats/ root@");
	/* No root yet: no link to it. */
	assert_string_equal(ls(f, "subclusters/s2", out), "config status created name vats/");
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
		 "set-aside: 0\nstore: lmdb\nstore-bytes: 4096\nstore-commit: %llu\n",
		 (unsigned long long)reader_txnid(((struct fixture *)*state)->reader));
	assert_string_equal(status, expected);
	assert_string_equal(cat(*state, "version"), "0.1.0\n");
}

/* The merge of all endpoints' queues, in order; what waits on a promise is not in it. */
static void test_queues(void **state)
{
	assert_string_equal(cat(*state, "runqueue"),
		"seq  kind     target  method       sender  size  age    queue\n"
		"3    message  ko2     \\x2d         host    10    1.234  v2\n"
		"4    message  ko4     -            host    7     1.234  k\n"
		"5    message  ko2     get\\x20name  v2      16    1.234  v1\n"
		"6    message  ko4     \\x1b\\n       host    16    1.234  v10\n"
		"9    notify   kp2     -            -       0     0.000  v2\n");
	assert_string_equal(cat(*state, "vats/v2/queue"),
		"seq  kind     target  method  sender  size  age\n"
		"3    message  ko2     \\x2d    host    10    1.234\n"
		"9    notify   kp2     -       -       0     0.000\n");
	assert_string_equal(cat(*state, "vats/v3/queue"), "seq  kind  target  method  sender  size  age\n");
	assert_string_equal(cat(*state, "holds"),
		"kref  kind     owner  count  since\n"
		"ko1   root     s1     1      2023-11-14T22:13:20.000000Z\n"
		"ko1   pin      -      2      2023-11-14T22:13:20.000000Z\n"
		"ko4   service  -      1      2023-11-14T22:13:20.000000Z\n");
}

static void test_objects(void **state)
{
	assert_string_equal(cat(*state, "objects/ko1/status"),
		"owner: v1 o+0 reachable\nowner-state: alive\nkind: root\nrefcount: 1 reachable 1 recognizable\nrevoked: no\n"
		"importers: 0\npinned: 2\nhold: root s1 1 2023-11-14T22:13:20.000000Z\n"
		"hold: pin - 2 2023-11-14T22:13:20.000000Z\n");
	assert_string_equal(cat(*state, "objects/ko2/status"),
		"owner: v1 o+d2.5:1 reachable\nowner-state: alive\nkind: durable\nrefcount: 1 reachable 2 recognizable\n"
		"revoked: yes\nimporters: 2\nimporter: v2 o-1 reachable\nimporter: v3 o-7 recognizable\npinned: 0\n");
	/* G6: owned by an incarnation that is gone. */
	assert_string_equal(cat(*state, "objects/ko3/status"),
		"owner: v1\nowner-state: gone\nkind: plain\nrefcount: 0 reachable 1 recognizable\nrevoked: no\n"
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
		"state: unresolved\ndecider: v2 p+3 reachable\ndecider-state: suspended\nrefcount: 2\nsubscribers: 1\n"
		"subscriber: v1 p-1 reachable\nforwarded-from: kp3\nwaiting: 1\nmessage: 7 later host kp4\npinned: 0\n");
	assert_string_equal(cat(*state, "promises/kp2/status"),
		"state: fulfilled\ndecider: none\nrefcount: 1\nsubscribers: 0\nwaiting: 0\npinned: 0\n"
		"value: {a: ko2, b: \"x\\x1by\"}\n"
		"body: #{\"a\":\"$0.Alleged: Bob\",\"b\":\"x\\\\u001by\"}\nslots: ko2\n");
	assert_string_equal(cat(*state, "promises/kp3/status"),
		"state: forwarded\ndecider: none\nrefcount: 1\nforwarded-to: kp1\nsubscribers: 0\nwaiting: 0\npinned: 0\n");
	assert_string_equal(cat(*state, "promises/kp4/status"),
		"state: unresolved\ndecider: none\nrefcount: 1\nbehind: v1\nsubscribers: 0\nwaiting: 0\npinned: 0\n");
	/* P8: the decider is terminated, so the promise counts as rejected before its row is swept. */
	assert_string_equal(cat(*state, "promises/kp5/status"),
		"state: rejected\nstored-state: unresolved\ndecider: v3\ndecider-state: terminated\nrefcount: 1\n"
		"subscribers: 0\nwaiting: 0\npinned: 0\n");
	assert_string_equal(cat(*state, "promises/kp6/status"),
		"state: rejected\ndecider: none\nrefcount: 1\nsubscribers: 0\nwaiting: 0\npinned: 0\nrejected-by: kernel\n"
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
	assert_string_equal(cat(*state, "vats/v1/reason"), "none\n");
	assert_string_equal(cat(*state, "vats/v2/reason"), "it said: \\x1b[31mred\\nand forged\n");
	assert_string_equal(cat(*state, "vats/v1/config"),
		"{\n  \"program\": \"sha256:00\",\n  \"args\": [\n    \"\\u009B\\u007f\"\n  ]\n}\n");
	assert_string_equal(cat(*state, "vats/v1/parameters"),
		"value: [ko2]\nbody: #[\"$0.Alleged: Bob\"]\nslots: ko2\n");
	assert_string_equal(cat(*state, "vats/v1/usage"),
		"cranks: 7\ndeaths: 1\nqueued: 1\nqueued-bytes: 13\nexports: 3\nimports: 1\nvatstore-bytes: 99\n"
		"log-dropped: 0\nstarted: 2023-11-14T22:13:20.000000Z\n");
	assert_string_equal(cat(*state, "vats/v1/clist.txt"),
		"eref      kref  flags\n"
		"o+0       ko1   reachable\n"
		"o+d2.5:1  ko2   reachable\n"
		"p-1       kp1   reachable\n");
	assert_string_equal(cat(*state, "vats/v3/clist.txt"), "eref  kref  flags\no-7   ko2   recognizable\n");
	assert_string_equal(cat(*state, "vats/v2/decides"), "kp1\n");
	assert_string_equal(cat(*state, "vats/v1/decides"), "");
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
	assert_string_equal(cat(*state, "vats/v3/baggage"), "key  value\n");
	assert_string_equal(cat(*state, "vats/v2/state"), "eref  kref  value\no+0   -     {n: 7}\n");
	assert_string_equal(cat(*state, "vats/v1/state"), "eref      kref  value\no+d2.5:1  ko2   []\n");
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
	assert_string_equal(cat(*state, "vats/v3/parameters"), "none\n");
	assert_string_equal(cat(*state, "subclusters/s1/status"), "running\n");
	assert_string_equal(cat(*state, "subclusters/s2/status"), "launching\n");
	assert_string_equal(cat(*state, "subclusters/s1/name"), "registry\n");	/* S2 */
	assert_string_equal(cat(*state, "subclusters/s2/name"), "\n");
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
		"subclusters/s1/vats/no/no", "subclusters/s2/vats/alice", "services/a\nb", "services/nothing",
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

/* Rows with random bytes in every table: nothing crashes, no control byte comes out (L1). */
static void check_clean(const struct text *t)
{
	for (size_t i = 0; i < t->len; i++) {
		unsigned char c = (unsigned char)t->data[i];

		assert_true(c == '\n' || (c >= 0x20 && c != 0x7f));
	}
}

static void render_all(struct fixture *f)
{
	struct node n;

	for (int kind = NODE_ROOT; kind < NODE_N; kind++) {
		for (uint64_t id = 0; id < 4; id++) {
			n = (struct node){ (enum node_kind)kind, 0, id };
			if (!node_from_ino(node_ino(n), &n) || n.id != id)
				continue;
			text_reset(&f->text);
			if (node_type(n) == NODE_FILE)
				assert_true(tree_render(&f->view, n, &f->text) >= 0);
			else if (node_type(n) == NODE_DIR)
				assert_true(list(f, n, 3) >= 0);
			assert_false(f->text.failed);
			check_clean(&f->text);
		}
	}
}

static void write_noise(const char *dir, struct rng *rng)
{
	struct store *s = must_open(dir, STORE_DIRECT);

	for (int i = 0; i < 3000; i++) {
		enum table t = T_META + 1 + rng_below(rng, T_N - 1);
		uint64_t words[4] = { rng_below(rng, 4), rng_below(rng, 4), rng_next(rng), rng_next(rng) };
		uint8_t key[32], val[400];
		size_t key_len = 8 * (1 + rng_below(rng, 2)), len;

		if (rng_below(rng, 3) == 0)
			words[0] |= endpoint_vat(0).bits;
		if (rng_below(rng, 4) == 0)
			words[rng_below(rng, 2)] |= REF_PROMISE;
		put_be64(key, words[0]);
		put_be64(key + 8, words[1]);
		if (rng_below(rng, 5) == 0)
			key_len = 1 + rng_below(rng, 31);
		memcpy(key + 16, words + 2, 16);
		/* Sizes of true rows half of the time, else any. */
		static const size_t sizes[] = {
			8, 16, 24, 32, 48, 56, 64, sizeof(struct row_vat), sizeof(struct row_subcluster),
		};

		len = rng_below(rng, 2) ? sizes[rng_below(rng, ARRAY_LEN(sizes))] : rng_below(rng, sizeof(val));
		for (size_t j = 0; j < len && j < sizeof(val); j++)
			val[j] = rng_below(rng, 3) ? (uint8_t)rng_below(rng, 3) : (uint8_t)rng_next(rng);
		must_put(s, t, key, key_len, val, len < sizeof(val) ? len : sizeof(val));
	}
	assert_int_equal(store_commit(s), 0);
	store_free(s);
}

static void test_noise(void **state)
{
	struct fixture *f = *state;
	struct rng rng = { 7 };

	render_all(f);
	for (int round = 0; round < 5; round++) {
		char path[2 * DIR_MAX];
		int fd;

		reader_end(f->reader);
		f->reader = reader_free(f->reader);
		write_noise(f->dir, &rng);
		fd = open(dir_path(path, f->dir, "data.mdb"), O_RDONLY | O_CLOEXEC);
		assert_int_equal(reader_open_fd(&f->reader, fd), 0);
		close(fd);
		assert_int_equal(reader_begin(f->reader), 0);
		f->view.reader = f->reader;
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
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
