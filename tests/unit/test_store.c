/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store: both implementations against each other and against a model in a plain array, operation by operation;
 * then opening, locking, schema, death at any moment, a commit that fails, and a disk that fills.
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/wait.h>

#include "store_dir.h"

/* --- the model ------------------------------------------------------------------------------------------------- */

#define MODEL_MAX	2048
#define VALUE_MAX	3000

struct entry {
	uint8_t table;
	uint16_t key_len;
	uint8_t key[KEY_MAX];
	uint32_t id, len;	/* the value: `len` bytes made from `id` */
};
struct model { size_t n; struct entry e[MODEL_MAX]; };

struct trio {
	struct rng rng;
	char dirs[2][2 * DIR_MAX];
	struct store *s[2];	/* STORE_OVERLAY, STORE_DIRECT */
	bool savepoint;
	uint32_t next_id;
	struct model now, saved, committed;
};

static void value_make(uint8_t *out, uint32_t id, uint32_t len)
{
	struct rng r = { .x = id + 1 };

	for (uint32_t i = 0; i < len; i++)
		out[i] = (uint8_t)(rng_next(&r) >> 40);
}

static int entry_cmp(const struct entry *e, const uint8_t *key, size_t len)
{
	size_t n = e->key_len < len ? e->key_len : len;
	int c = memcmp(e->key, key, n);

	return c ? c : (e->key_len > len) - (e->key_len < len);
}

static struct entry *model_find(struct model *m, enum table t, const uint8_t *key, size_t len)
{
	for (size_t i = 0; i < m->n; i++)
		if (m->e[i].table == t && !entry_cmp(&m->e[i], key, len))
			return &m->e[i];
	return NULL;
}

static struct entry *model_next(struct model *m, enum table t, const uint8_t *key, size_t len, bool or_equal)
{
	struct entry *best = NULL;

	for (size_t i = 0; i < m->n; i++) {
		struct entry *e = &m->e[i];
		int c = entry_cmp(e, key, len);

		if (e->table != t || c < 0 || (c == 0 && !or_equal))
			continue;
		if (!best || entry_cmp(best, e->key, e->key_len) > 0)
			best = e;
	}
	return best;
}

/* Keys of the shapes the tables have, few enough that they meet. */
static size_t key_make(struct rng *r, enum table *tp, uint8_t key[KEY_MAX])
{
	/* META is left out: its row `schema` is the store's own. */
	static const enum table tables[] = { T_SERVICE, T_OBJECT, T_CLIST, T_GC, T_QUEUE, T_VATSTORE, T_DECIDED };
	static const char *const names[] = { "console", "con", "timer", "a", "ab", "b" };
	uint64_t endpoint = endpoint_vat(1 + rng_below(r, 20)).bits;
	size_t len;

	*tp = tables[rng_below(r, ARRAY_LEN(tables))];
	switch (*tp) {
	case T_SERVICE:
		strcpy((char *)key, names[rng_below(r, ARRAY_LEN(names))]);
		return strlen((char *)key);
	case T_OBJECT:
		return key_u64(key, 1 + rng_below(r, 60));
	case T_GC:
		return key_u64_u8_u64(key, endpoint, (uint8_t)(1 + rng_below(r, 3)), 1 + rng_below(r, 4));
	case T_VATSTORE:
		key_u64(key, 1 + rng_below(r, 2));
		len = rng_below(r, 3) ? rng_below(r, 4) : rng_below(r, VATSTORE_PREFIX + 1);
		for (size_t i = 0; i < len; i++)
			key[8 + i] = (uint8_t)(rng_below(r, 3) * 127);
		return 8 + len;
	default:
		return key_u64_u64(key, endpoint, 1 + rng_below(r, 12));
	}
}

static void check_value(const void *val, size_t len, const struct entry *e)
{
	uint8_t want[VALUE_MAX];

	assert_int_equal(len, e->len);
	value_make(want, e->id, e->len);
	if (len)
		assert_memory_equal(val, want, len);
}

static void step_get(struct trio *d)
{
	uint8_t key[KEY_MAX];
	enum table t;
	size_t key_len = key_make(&d->rng, &t, key), len;
	struct entry *e = model_find(&d->now, t, key, key_len);
	const void *val;

	for (int i = 0; i < 2; i++) {
		assert_int_equal(store_get(d->s[i], t, key, key_len, &val, &len), e ? 0 : STORE_NOT_FOUND);
		if (e)
			check_value(val, len, e);
	}
}

static void step_put(struct trio *d)
{
	uint8_t key[KEY_MAX], val[VALUE_MAX];
	enum table t;
	size_t key_len = key_make(&d->rng, &t, key);
	struct entry *e = model_find(&d->now, t, key, key_len);

	if (!e) {
		assert_true(d->now.n < MODEL_MAX);
		e = &d->now.e[d->now.n++];
		e->table = (uint8_t)t;
		e->key_len = (uint16_t)key_len;
		memcpy(e->key, key, key_len);
		e->id = d->next_id++;
	}
	/* Now and then the very same value again. */
	if (rng_below(&d->rng, 8))
		e->id = d->next_id++;
	e->len = e->id % 11 == 0 ? e->id % VALUE_MAX : e->id % 24;
	value_make(val, e->id, e->len);
	for (int i = 0; i < 2; i++)
		must_put(d->s[i], t, key, key_len, val, e->len);
}

/* A value goes from key to key as it was borrowed. */
static void step_copy(struct trio *d)
{
	uint8_t from[KEY_MAX], to[KEY_MAX];
	enum table t, u;
	size_t from_len = key_make(&d->rng, &t, from), to_len = key_make(&d->rng, &u, to), len;
	struct entry *a = model_find(&d->now, t, from, from_len), *b = model_find(&d->now, u, to, to_len);
	const void *val;

	if (!a || !b)
		return;
	for (int i = 0; i < 2; i++) {
		assert_int_equal(store_get(d->s[i], t, from, from_len, &val, &len), 0);
		must_put(d->s[i], u, to, to_len, val, len);
	}
	b->id = a->id;
	b->len = a->len;
}

static void step_del(struct trio *d)
{
	uint8_t key[KEY_MAX];
	enum table t;
	size_t key_len = key_make(&d->rng, &t, key);
	struct entry *e = model_find(&d->now, t, key, key_len);

	for (int i = 0; i < 2; i++)
		assert_int_equal(store_del(d->s[i], t, key, key_len), e ? 0 : STORE_NOT_FOUND);
	if (e)
		*e = d->now.e[--d->now.n];
}

static struct entry *check_next(struct trio *d, enum table t, const void *key, size_t key_len, bool or_equal)
{
	struct entry *e = model_next(&d->now, t, key_len ? key : (const uint8_t *)"", key_len, or_equal);
	const void *found, *val;
	size_t found_len, len;

	for (int i = 0; i < 2; i++) {
		assert_int_equal(store_next(d->s[i], t, key, key_len, or_equal, &found, &found_len, &val, &len),
				 e ? 0 : STORE_NOT_FOUND);
		if (!e)
			continue;
		assert_int_equal(found_len, e->key_len);
		assert_memory_equal(found, e->key, found_len);
		check_value(val, len, e);
	}
	return e;
}

/* Among keys that begin alike, the next is as among all, or there is none. */
static void check_next_of(struct trio *d, enum table t, const uint8_t *key, size_t key_len, bool or_equal)
{
	struct entry *e = model_next(&d->now, t, key, key_len, or_equal);
	size_t prefix = rng_below(&d->rng, key_len + 1), found_len, len;
	const void *found, *val;

	if (e && (e->key_len < prefix || memcmp(e->key, key, prefix)))
		e = NULL;
	for (int i = 0; i < 2; i++) {
		assert_int_equal(store_next_of(d->s[i], t, key, key_len, prefix, or_equal, &found, &found_len, &val, &len),
				 e ? 0 : STORE_NOT_FOUND);
		if (!e)
			continue;
		assert_int_equal(found_len, e->key_len);
		assert_memory_equal(found, e->key, found_len);
		check_value(val, len, e);
	}
}

static void step_next(struct trio *d)
{
	uint8_t key[KEY_MAX];
	enum table t;
	size_t key_len = key_make(&d->rng, &t, key);
	bool or_equal = rng_below(&d->rng, 2);

	check_next(d, t, key, key_len, or_equal);
	check_next_of(d, t, key, key_len, or_equal);
}

/* Some steps of a walk, each from the key just given back; now and then the key that was given is deleted. */
static void step_walk(struct trio *d)
{
	uint8_t key[KEY_MAX];
	enum table t;
	size_t key_len = key_make(&d->rng, &t, key);
	struct entry *e;
	bool from_start = !rng_below(&d->rng, 4);

	e = check_next(d, t, from_start ? NULL : key, from_start ? 0 : key_len, true);
	for (int i = 0; e && i < 10; i++) {
		memcpy(key, e->key, e->key_len);
		key_len = e->key_len;
		if (!rng_below(&d->rng, 6)) {
			for (int k = 0; k < 2; k++)
				assert_int_equal(store_del(d->s[k], t, key, key_len), 0);
			*e = d->now.e[--d->now.n];
		}
		e = check_next(d, t, key, key_len, false);
	}
}

static void step_savepoint(struct trio *d)
{
	bool keep = rng_below(&d->rng, 2);

	if (!d->savepoint)
		d->saved = d->now;
	for (int i = 0; i < 2; i++) {
		int r = !d->savepoint ? store_savepoint(d->s[i]) : keep ? store_release(d->s[i]) : store_rollback(d->s[i]);

		assert_int_equal(r, 0);
	}
	if (d->savepoint && !keep)
		d->now = d->saved;
	d->savepoint = !d->savepoint;
}

static void step_commit(struct trio *d)
{
	if (d->savepoint)
		step_savepoint(d);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(store_commit(d->s[i]), 0);
		assert_false(store_dirty(d->s[i]));
	}
	d->committed = d->now;
}

/* What was not committed is gone; each folder is now opened by the other implementation. */
static void step_reopen(struct trio *d)
{
	char dir[2 * DIR_MAX];

	for (int i = 0; i < 2; i++)
		d->s[i] = store_free(d->s[i]);
	memcpy(dir, d->dirs[0], sizeof dir);
	memcpy(d->dirs[0], d->dirs[1], sizeof dir);
	memcpy(d->dirs[1], dir, sizeof dir);
	for (int i = 0; i < 2; i++)
		d->s[i] = must_open(d->dirs[i], i ? STORE_DIRECT : STORE_OVERLAY);
	d->now = d->committed;
	d->savepoint = false;
}

static void check_all(struct trio *d)
{
	for (int t = T_META + 1; t < T_N; t++) {
		struct entry *e = check_next(d, (enum table)t, NULL, 0, true);

		while (e)
			e = check_next(d, (enum table)t, e->key, e->key_len, false);
	}
}

static void differ(const char *dir, uint64_t seed, int n_steps)
{
	struct trio *d = calloc(1, sizeof *d);

	d->rng.x = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
	for (int i = 0; i < 2; i++) {
		snprintf(d->dirs[i], sizeof d->dirs[i], "%s/%d-%d", dir, (int)seed, i);
		d->s[i] = must_open(d->dirs[i], i ? STORE_DIRECT : STORE_OVERLAY);
	}
	for (int i = 0; i < n_steps; i++) {
		unsigned op = rng_below(&d->rng, 200);

		if (op < 50)
			step_get(d);
		else if (op < 100)
			step_put(d);
		else if (op < 140)
			step_del(d);
		else if (op < 165)
			step_next(d);
		else if (op < 175)
			step_walk(d);
		else if (op < 185)
			step_copy(d);
		else if (op < 198)
			step_savepoint(d);
		else if (op < 199 || rng_below(&d->rng, 4))
			step_commit(d);
		else
			step_reopen(d);
		if (i % 500 == 0)
			check_all(d);
	}
	step_commit(d);
	step_reopen(d);
	check_all(d);
	for (int i = 0; i < 2; i++)
		store_free(d->s[i]);
	free(d);
}

/* Architecture 5: one interface, two implementations, every answer compared. */
static void test_differ(void **state)
{
	for (uint64_t seed = 1; seed <= 6; seed++)
		differ(*state, seed, 8000);
}

/* --- what a commit writes -------------------------------------------------------------------------------------- */

static uint64_t txnid(struct store *s)
{
	uint64_t id;
	void *hold;

	assert_int_equal(store_snapshot_hold(s, &id, &hold), 0);
	store_snapshot_drop(s, hold);
	return id;
}

/* A value of 100 KB, replaced this often. */
static void replace(struct store *s, unsigned n)
{
	uint8_t key[8], value[100000];

	while (n--) {
		memset(value, (int)n, sizeof(value));
		must_put(s, T_VALUE, key, key_u64(key, 1), value, sizeof(value));
		assert_int_equal(store_commit(s), 0);
	}
}

/* A snapshot that is held keeps pages from being used again; what that costs can be told. */
static void test_used(void **state)
{
	struct store *s = must_open(*state, STORE_OVERLAY);
	uint64_t before, id;
	void *hold;

	assert_true(store_used(s) > 0);
	replace(s, 10);
	before = store_used(s);
	replace(s, 40);
	assert_in_range(store_used(s), before, before + 400000);
	assert_int_equal(store_snapshot_hold(s, &id, &hold), 0);
	before = store_used(s);
	replace(s, 40);
	assert_true(store_used(s) >= before + 37 * 100000);
	store_snapshot_drop(s, hold);
	before = store_used(s);
	replace(s, 30);
	assert_int_equal(store_used(s), before);
	store_free(s);
}

/* What came and went between two commits, or is again what it was, never reaches the database. */
static void test_net_difference(void **state)
{
	struct store *s = must_open(*state, STORE_OVERLAY);
	uint8_t key[16];
	uint64_t before;

	must_put(s, T_OBJECT, key, key_u64(key, 7), "seven", 5);
	assert_int_equal(store_commit(s), 0);
	before = txnid(s);
	assert_int_equal(store_n_commits(s), 1);

	for (uint64_t i = 1; i < 100; i++) {
		must_put(s, T_QUEUE, key, key_u64_u64(key, 1, i), "item", 4);
		assert_int_equal(store_savepoint(s), 0);
		must_put(s, T_PROMISE, key, key_u64(key, i), "promise", 7);
		assert_int_equal(store_del(s, T_QUEUE, key, key_u64_u64(key, 1, i)), 0);
		assert_int_equal(store_release(s), 0);
		assert_int_equal(store_del(s, T_PROMISE, key, key_u64(key, i)), 0);
	}
	assert_int_equal(store_n_changes(s), 0);
	assert_false(store_dirty(s));
	must_put(s, T_OBJECT, key, key_u64(key, 7), "eight", 5);
	assert_true(store_dirty(s));
	must_put(s, T_OBJECT, key, key_u64(key, 7), "seven", 5);
	assert_int_equal(store_commit(s), 0);
	assert_int_equal(store_n_commits(s), 1);
	assert_int_equal(txnid(s), before);
	assert_int_equal(store_del(s, T_OBJECT, key, key_u64(key, 7)), 0);
	assert_int_equal(store_n_changes(s), 1);
	assert_int_equal(store_commit(s), 0);
	assert_int_equal(store_n_commits(s), 2);
	assert_int_equal(txnid(s), before + 1);
	store_free(s);
}

/* A value as large as a message may be, in both, through a savepoint and a reopening. */
static void large_value(const char *dir, enum store_kind kind)
{
	uint8_t *big = malloc(WIRE_MAX_BODY), key[KEY_MAX];
	struct store *s = must_open(dir, kind);
	const void *val;
	size_t len;

	memset(key, 'k', sizeof key);
	for (size_t i = 0; i < WIRE_MAX_BODY; i++)
		big[i] = (uint8_t)(i * 31 >> 3);
	assert_int_equal(store_savepoint(s), 0);
	must_put(s, T_VALUE, key, KEY_MAX, big, WIRE_MAX_BODY);
	must_put(s, T_VALUE, key, 1, NULL, 0);
	assert_int_equal(store_release(s), 0);
	assert_int_equal(store_commit(s), 0);
	store_free(s);
	s = must_open(dir, kind);
	assert_int_equal(store_get(s, T_VALUE, key, KEY_MAX, &val, &len), 0);
	assert_int_equal(len, WIRE_MAX_BODY);
	assert_memory_equal(val, big, len);
	assert_int_equal(store_get(s, T_VALUE, key, 1, &val, &len), 0);
	assert_int_equal(len, 0);
	store_free(s);
	free(big);
}

static void test_large_overlay(void **state) { large_value(*state, STORE_OVERLAY); }
static void test_large_direct(void **state) { large_value(*state, STORE_DIRECT); }

/* --- opening --------------------------------------------------------------------------------------------------- */

static void test_second_broker(void **state)
{
	struct store *s = must_open(*state, STORE_OVERLAY), *other = NULL;
	uint64_t version;

	assert_int_equal(store_open(&other, *state, STORE_OVERLAY, &version), STORE_E_LOCKED);
	assert_int_equal(store_open(&other, *state, STORE_DIRECT, &version), STORE_E_LOCKED);
	assert_null(other);
	store_free(s);
	store_free(must_open(*state, STORE_DIRECT));
}

/* An unknown schema is refused, says which, and is left as it was. */
static void test_schema_refused(void **state)
{
	struct store *s = must_open(*state, STORE_OVERLAY), *other = NULL;
	uint64_t version = 77;

	must_put(s, T_META, META_SCHEMA, strlen(META_SCHEMA), &version, sizeof version);
	assert_int_equal(store_commit(s), 0);
	store_free(s);
	for (int i = 0; i < 4; i++) {
		version = 0;
		assert_int_equal(store_open(&other, *state, i % 2 ? STORE_OVERLAY : STORE_DIRECT, &version),
				 STORE_E_SCHEMA);
		assert_int_equal(version, 77);
	}
	assert_null(other);
}

static void write_file(const char *dir, const char *name, const void *data, size_t len)
{
	char path[2 * DIR_MAX];
	FILE *f = fopen(dir_path(path, dir, name), "w");

	assert_non_null(f);
	assert_int_equal(fwrite(data, 1, len, f), len);
	assert_int_equal(fclose(f), 0);
}

static void test_not_a_store(void **state)
{
	struct store *s = NULL;
	char junk[16384];
	uint64_t version;

	memset(junk, 'x', sizeof junk);
	write_file(*state, "data.mdb", junk, sizeof junk);
	assert_int_equal(store_open(&s, *state, STORE_OVERLAY, &version), STORE_E_CORRUPT);
	write_file(*state, "data.mdb", junk, 100);
	assert_int_equal(store_open(&s, *state, STORE_OVERLAY, &version), STORE_E_CORRUPT);
	assert_null(s);
}

/* The store's own row and its files: who may read, who may write. */
static void test_files(void **state)
{
	struct store *s = must_open(*state, STORE_OVERLAY);
	char path[2 * DIR_MAX];
	uint64_t version;
	struct stat st;
	const void *val;
	size_t len;
	int fd;

	assert_int_equal(store_get(s, T_META, META_SCHEMA, strlen(META_SCHEMA), &val, &len), 0);
	assert_int_equal(len, sizeof version);
	memcpy(&version, val, sizeof version);
	assert_int_equal(version, SCHEMA_VERSION);
	assert_int_equal(stat(dir_path(path, *state, "data.mdb"), &st), 0);
	assert_int_equal(st.st_mode & 0137, 0);
	assert_int_equal(stat(dir_path(path, *state, "lock.mdb"), &st), 0);
	assert_int_equal(st.st_mode & 0137, 0);
	fd = store_data_fd(s);
	assert_true(fd >= 0);
	assert_int_equal(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDONLY);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	close(fd);
	store_free(s);
}

/* --- dying ----------------------------------------------------------------------------------------------------- */

/* Two rows that each transaction makes equal, one early and one late; acknowledged on `fd` after the commit. */
static _Noreturn void counting_child(const char *dir, enum store_kind kind, int fd)
{
	struct store *s = NULL;
	uint64_t version, i;
	const void *val;
	uint8_t key[8];
	size_t len;

	if (store_open(&s, dir, kind, &version))
		_exit(1);
	i = 0;
	if (!store_get(s, T_OBJECT, key, key_u64(key, 1), &val, &len))
		memcpy(&i, val, 8);
	for (;;) {
		i++;
		if (store_put(s, T_OBJECT, key, key_u64(key, 1), &i, 8) || store_savepoint(s) ||
		    store_put(s, T_ASIDE, key, key_u64(key, i % 50), &i, 8) || store_rollback(s) ||
		    store_put(s, T_ASIDE, key, key_u64(key, 1), &i, 8) || store_commit(s))
			_exit(2);
		if (write(fd, &i, 8) != 8)
			_exit(3);
	}
}

static void kill_once(const char *dir, enum store_kind kind, struct rng *rng)
{
	uint64_t acked = 0, rows[2];
	uint8_t key[8];
	const void *val;
	struct store *s;
	int fds[2], status;
	size_t len;
	pid_t pid;

	assert_int_equal(pipe(fds), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		close(fds[0]);
		counting_child(dir, kind, fds[1]);
	}
	close(fds[1]);
	for (unsigned i = 1 + rng_below(rng, 40); i > 0; i--)
		assert_int_equal(read(fds[0], &acked, 8), 8);
	for (volatile unsigned i = rng_below(rng, 200000); i > 0; i--)
		;
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	while (read(fds[0], &acked, 8) == 8)
		;
	close(fds[0]);
	s = must_open(dir, kind);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(store_get(s, i ? T_ASIDE : T_OBJECT, key, key_u64(key, 1), &val, &len), 0);
		memcpy(&rows[i], val, 8);
	}
	assert_int_equal(rows[0], rows[1]);
	assert_true(rows[0] == acked || rows[0] == acked + 1);
	store_free(s);
}

/* L1, architecture 5: killed at any instant, the last commit stands, whole. */
static void test_killed(void **state)
{
	struct rng rng = { .x = 4711 };
	char dir[2 * DIR_MAX];

	for (int i = 0; i < 20; i++)
		kill_once(dir_path(dir, *state, i % 2 ? "direct" : "overlay"), i % 2 ? STORE_DIRECT : STORE_OVERLAY,
			  &rng);
}

/* Exits 0 when the commit failed with a negative number. */
static _Noreturn void failing_child(const char *dir, enum store_kind kind)
{
	struct rlimit none = { .rlim_cur = 4096 * 8, .rlim_max = 4096 * 8 };
	struct store *s = NULL;
	uint64_t version;
	uint8_t key[8], val[2000] = { 0 };

	signal(SIGXFSZ, SIG_IGN);
	if (!freopen("/dev/null", "w", stderr) || store_open(&s, dir, kind, &version))
		_exit(1);
	if (setrlimit(RLIMIT_FSIZE, &none) < 0)
		_exit(1);
	for (uint64_t i = 1; i <= 100; i++)
		if (store_put(s, T_OBJECT, key, key_u64(key, i), val, sizeof val))
			_exit(1);
	_exit(store_commit(s) < 0 ? 0 : 2);
}

/* A commit that the disk refuses is fatal, and the store is what it was before. */
static void test_commit_fails(void **state)
{
	for (int kind = STORE_OVERLAY; kind <= STORE_DIRECT; kind++) {
		char dir[2 * DIR_MAX];
		const void *k, *v;
		size_t kl, vl;
		struct store *s;
		int status;
		pid_t pid;

		s = must_open(dir_path(dir, *state, kind ? "direct" : "overlay"), kind);
		must_put(s, T_ASIDE, "before", 6, "x", 1);
		assert_int_equal(store_commit(s), 0);
		store_free(s);
		pid = fork();
		assert_true(pid >= 0);
		if (!pid)
			failing_child(dir, kind);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
		s = must_open(dir, kind);
		assert_int_equal(store_next(s, T_OBJECT, NULL, 0, true, &k, &kl, &v, &vl), STORE_NOT_FOUND);
		assert_int_equal(store_get(s, T_ASIDE, "before", 6, &v, &vl), 0);
		store_free(s);
	}
}

/* --- space ----------------------------------------------------------------------------------------------------- */

struct small_disk { char dir[DIR_MAX]; bool mounted; };

static int small_disk_setup(void **state)
{
	struct small_disk *d = calloc(1, sizeof *d);

	*state = d;
	strcpy(d->dir, "/tmp/capstan-space-XXXXXX");
	if (!mkdtemp(d->dir))
		return -1;
	d->mounted = geteuid() == 0 && !mount("capstan-test", d->dir, "tmpfs", 0, "size=48m");
	return 0;
}

static int small_disk_teardown(void **state)
{
	struct small_disk *d = *state;

	if (d->mounted)
		umount2(d->dir, MNT_DETACH);
	rmdir(d->dir);
	free(d);
	return 0;
}

/* Take all that is left but `leave` bytes. */
static void fill_disk(const char *dir, uint64_t leave)
{
	char path[2 * DIR_MAX], block[65536] = { 0 };
	int fd = open(dir_path(path, dir, "ballast"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	struct statvfs st;

	assert_true(fd >= 0);
	while (!fstatvfs(fd, &st) && (uint64_t)st.f_bavail * st.f_frsize >= leave + sizeof block)
		assert_int_equal(write(fd, block, sizeof block), sizeof block);
	close(fd);
}

static void commit_rows(struct store *s, uint64_t first, int n)
{
	uint8_t key[8], val[1000] = { 7 };

	for (int i = 0; i < n; i++)
		must_put(s, T_LOG, key, key_u64(key, first + (uint64_t)i), val, sizeof val);
	assert_int_equal(store_commit(s), 0);
}

/* A disk without a block left: what the kernel writes still fits, vats are refused, and it passes. */
static void test_space(void **state)
{
	struct small_disk *d = *state;
	char dir[2 * DIR_MAX], ballast[2 * DIR_MAX];
	uint64_t row = 1, low_at;
	struct store *s;

	if (!d->mounted)
		skip();
	dir_path(dir, d->dir, "store");
	s = must_open(dir, STORE_OVERLAY);
	assert_false(store_space_low(s));
	fill_disk(d->dir, 0);
	/* Vats write until they are told to stop... */
	while (!store_space_low(s)) {
		assert_true(row < 30000);
		commit_rows(s, row, 100);
		row += 100;
	}
	low_at = row;
	/* ... having had half of the reserve; the kernel goes on with the other half. */
	assert_true(low_at * 1000 > (8 << 20) / 2);
	for (int i = 0; i < 400; i++) {
		commit_rows(s, row, 3);
		row += 3;
		assert_true(store_space_low(s));
	}
	store_free(s);
	s = must_open(dir, STORE_DIRECT);
	assert_true(store_space_low(s));
	commit_rows(s, row++, 1);
	assert_int_equal(unlink(dir_path(ballast, d->dir, "ballast")), 0);
	commit_rows(s, row++, 1);
	assert_false(store_space_low(s));
	store_free(s);
}

/* Rows deleted inside a full store give room as well. */
static void test_space_inside(void **state)
{
	struct small_disk *d = *state;
	char dir[2 * DIR_MAX];
	uint64_t row = 1;
	struct store *s;
	uint8_t key[8];

	if (!d->mounted)
		skip();
	s = must_open(dir_path(dir, d->dir, "store"), STORE_OVERLAY);
	while (!store_space_low(s)) {
		commit_rows(s, row, 200);
		row += 200;
		assert_true(row < 60000);
	}
	for (uint64_t i = 1; i < row; i++) {
		assert_int_equal(store_del(s, T_LOG, key, key_u64(key, i)), 0);
		if (i % 100 == 0)
			assert_int_equal(store_commit(s), 0);
	}
	commit_rows(s, row, 1);
	assert_false(store_space_low(s));
	commit_rows(s, row, 10);
	assert_false(store_space_low(s));
	store_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		dir_test(test_differ),
		dir_test(test_net_difference), dir_test(test_used),
		dir_test(test_large_overlay),
		dir_test(test_large_direct),
		dir_test(test_second_broker),
		dir_test(test_schema_refused),
		dir_test(test_not_a_store),
		dir_test(test_files),
		dir_test(test_killed),
		dir_test(test_commit_fails),
		cmocka_unit_test_setup_teardown(test_space, small_disk_setup, small_disk_teardown),
		cmocka_unit_test_setup_teardown(test_space_inside, small_disk_setup, small_disk_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
