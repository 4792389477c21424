/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For tests of the mount without FUSE: rows of a small kernel state written through the broker's store, and names,
 * listings and texts of the tree read back through lib/reader. And random rows, which no kernel wrote.
 */
#ifndef CAPSTAN_TEST_FS_STATE_H
#define CAPSTAN_TEST_FS_STATE_H

#include <fcntl.h>

#include "store_dir.h"

#include "../../fs/tree.h"

#define NOW	UINT64_C(1700000100000000)	/* 2023-11-14T22:15:00Z */
#define THEN	UINT64_C(1700000000000000)	/* 2023-11-14T22:13:20Z */
#define LS_MAX	4096u

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
	struct live_page *page;		/* view.live, when a test wants one; freed with the fixture */
};

/* --- writing a state --------------------------------------------------------------------------------------------- */

static inline void put_u64(struct store *s, enum table t, uint64_t key, const void *val, size_t len)
{
	uint8_t k[8];

	must_put(s, t, k, key_u64(k, key), val, len);
}

static inline void put_pair(struct store *s, enum table t, uint64_t a, uint64_t b, const void *val, size_t len)
{
	uint8_t k[16];

	must_put(s, t, k, key_u64_u64(k, a, b), val, len);
}

static inline void put_meta(struct store *s, const char *name, uint64_t n)
{
	must_put(s, T_META, name, strlen(name), &n, sizeof(n));
}

static inline void put_vat(struct store *s, uint64_t id, struct row_vat row, const char *name, const char *reason)
{
	strcpy(row.name, name);
	strcpy(row.reason, reason);
	put_u64(s, T_VAT, id, &row, sizeof(row));
}

static inline void put_object(struct store *s, uint64_t n, endpoint_t owner, uint32_t incarnation, uint32_t flags,
		       uint64_t reachable, uint64_t recognizable)
{
	struct row_object row = {
		.owner = owner.bits, .owner_incarnation = incarnation, .flags = flags, .n_reachable = reachable,
		.n_recognizable = recognizable,
	};

	put_u64(s, T_OBJECT, n, &row, sizeof(row));
}

static inline void put_clist(struct store *s, endpoint_t e, const char *eref, kref_t ref, uint32_t flags)
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

static inline size_t make_capdata(uint8_t *out, const char *body, const uint64_t *slots, size_t n_slots)
{
	capdata_write(out, body, strlen(body), slots, n_slots);
	return capdata_size(strlen(body), n_slots);
}

static inline void put_item(struct store *s, uint64_t holder, uint64_t seq, struct row_item row, const char *body)
{
	uint8_t buf[512];
	size_t len = sizeof(row);

	memcpy(buf, &row, sizeof(row));
	if (row.kind == ITEM_MESSAGE)
		len += make_capdata(buf + len, body, NULL, 0);
	put_pair(s, T_QUEUE, holder, seq, buf, len);
}

static inline void put_hold(struct store *s, kref_t ref, enum hold_kind kind, uint64_t owner, uint64_t count)
{
	struct row_hold row = { .count = count, .since_us = THEN };
	uint8_t k[17];

	must_put(s, T_HOLD, k, key_u64_u8_u64(k, ref.bits, (uint8_t)kind, owner), &row, sizeof(row));
}

static inline void put_log(struct store *s, uint64_t vat, uint64_t line, struct row_log row, const char *text)
{
	uint8_t buf[256];

	memcpy(buf, &row, sizeof(row));
	memcpy(buf + sizeof(row), text, strlen(text));
	put_pair(s, T_LOG, vat, line, buf, sizeof(row) + strlen(text));
}

/* One bucket of one key without remainder. */
static inline void put_vatstore(struct store *s, uint64_t vat, const void *key, size_t key_len, const void *value, size_t len)
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

static inline void put_text(struct store *s, uint64_t vat, const char *key, const char *value)
{
	put_vatstore(s, vat, key, strlen(key), value, strlen(value));
}

/* --- the fixture ------------------------------------------------------------------------------------------------- */

/* Begin to look at what is in the store now. */
static inline void begin_look(struct fixture *f)
{
	char path[2 * DIR_MAX];
	int fd = open(dir_path(path, f->dir, "data.mdb"), O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(reader_open_fd(&f->reader, fd), 0);
	close(fd);
	assert_int_equal(reader_begin(f->reader), 0);
	f->view.reader = f->reader;
}

static inline void end_look(struct fixture *f)
{
	if (f->reader)
		reader_end(f->reader);
	f->view.reader = f->reader = reader_free(f->reader);
}

/* A test file's own setup calls this with what writes its state into the folder of a new store. */
static inline int setup_state(void **state, void (*write_rows)(struct store *s))
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct store *s;

	*state = f;
	f->text = (struct text)TEXT_INIT(1 << 20);
	f->view = (struct view){ .now_us = NOW, .store_bytes = 4096 };
	strcpy(f->dir, "/tmp/capstan-fs-XXXXXX");
	if (!mkdtemp(f->dir))
		return -1;
	s = must_open(f->dir, STORE_DIRECT);
	write_rows(s);
	assert_int_equal(store_commit(s), 0);
	store_free(s);
	begin_look(f);
	return 0;
}

/* What the broker shows of itself, all zero, from now on part of the view. */
static inline struct live_page *show_live(struct fixture *f)
{
	if (!f->page)
		f->page = calloc(1, sizeof(*f->page));
	assert_non_null(f->page);
	f->view.live = f->page;
	return f->page;
}

static inline int teardown(void **state)
{
	struct fixture *f = *state;

	end_look(f);
	text_deinit(&f->text);
	remove_tree(f->dir);
	free(f->page);
	free(f);
	return 0;
}

/* Walk a path as the kernel does: by name, through inode numbers. */
static inline int walk(struct fixture *f, const char *path, struct node *outp)
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

static inline const char *cat(struct fixture *f, const char *path)
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

static inline bool take(void *ctx, struct node n, const char *name)
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
static inline int list(struct fixture *f, struct node dir, size_t room)
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
static inline char *ls(struct fixture *f, const char *path, char out[LS_MAX])
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

static inline const char *readlink_of(struct fixture *f, const char *path, char buf[NODE_LINK_MAX])
{
	struct node n;
	size_t len;

	assert_int_equal(walk(f, path, &n), 0);
	assert_int_equal(node_type(n), NODE_LINK);
	assert_int_equal(tree_link(&f->view, n, buf, &len), 0);
	assert_int_equal(len, strlen(buf));
	return buf;
}

/* Rows with random bytes in every table: nothing crashes, no control byte comes out (L1). */
static inline void check_clean(const struct text *t)
{
	for (size_t i = 0; i < t->len; i++) {
		unsigned char c = (unsigned char)t->data[i];

		assert_true(c == '\n' || (c >= 0x20 && c != 0x7f));
	}
}

static inline void render_all(struct fixture *f)
{
	char link[NODE_LINK_MAX];
	struct node n;
	size_t len;

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
			else
				assert_true(tree_link(&f->view, n, link, &len) >= 0);
			assert_false(f->text.failed);
			check_clean(&f->text);
		}
	}
}

static inline void write_noise(const char *dir, struct rng *rng)
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
		if ((t == T_GC || t == T_HOLD) && rng_below(rng, 3))
			key_len = key_u64_u8_u64(key, words[0], (uint8_t)rng_below(rng, 8), words[1]);
		if (t == T_CODE && rng_below(rng, 3))
			key_len = 32;
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
/* Slots of the first vats with any bytes, in which every number is possible. */
static inline void write_live_noise(struct fixture *f, struct rng *rng)
{
	struct live_page *page = show_live(f);
	uint8_t *bytes = (uint8_t *)page->vats;

	for (size_t i = 0; i < 4 * sizeof(page->vats[0]); i++)
		bytes[i] = rng_below(rng, 3) ? (uint8_t)rng_below(rng, 3) : (uint8_t)rng_next(rng);
	for (uint64_t i = 0; i < 4; i++) {
		page->vats[i].vat = i;
		page->vats[i].turn &= ~1u;
	}
}

#endif
