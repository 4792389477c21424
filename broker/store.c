/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store over LMDB: opening, the two implementations behind store.h, commits. The only file of the broker that
 * knows LMDB.
 *
 *  - *base*: an environment with one transaction that is always open. For the overlay it is a read transaction, and
 *    a write transaction exists only inside store_commit(); for direct it is the write transaction itself, with a
 *    child transaction as the savepoint.
 *  - WRITEMAP is never used: it forbids child transactions and turns a full disk into SIGBUS. The map is sparse and
 *    very large, because in a full map even deletions fail.
 *  - Whatever LMDB refuses after the store is open is fatal: the broker ends and starts again from the last commit.
 *    A failed write of a meta page leaves the environment unusable anyway.
 *  - One broker per store: a flock on a file of our own, taken before LMDB opens. LMDB's lock.mdb is ours alone:
 *    capstan-fs reads without it (lib/lease.h), for whoever can write it can stop the writer.
 *
 * data.mdb is readable for its group (0640). The folder's setgid bit, if set, decides which group that is.
 */
#include <fcntl.h>
#include <lmdb.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "store_impl.h"

#define MAP_SIZE	(UINT64_C(1) << 40)
#define SCRATCH_MAP	(UINT64_C(1) << 30)	/* valgrind has no room for the other */
#define STORE_MODE	0640
#define READER_CHECK	256u	/* commits between two looks for readers that died */

struct base {
	MDB_env *env;
	MDB_txn *txn;		/* what reads go to: overlay: the snapshot; direct: the innermost */
	MDB_txn *parent;	/* direct, while a savepoint is open */
	MDB_txn *writer;	/* overlay, inside a commit */
	MDB_dbi dbi[T_N];
	MDB_cursor *cursors[T_N];	/* overlay: on the snapshot */
	uint64_t cursor_round[T_N];
	uint64_t round;		/* of the snapshot, from 1 */
	bool at_end[T_N];	/* the last base_seek() found nothing */
};

struct store {
	enum store_kind kind;
	struct base base;
	struct overlay *overlay;	/* NULL: direct */
	struct space space;
	int dir_fd, lock_fd;
	bool savepoint;
	uint64_t n_commits;
	uint64_t used;			/* end of the pages in use, in bytes */
	uint64_t n_changes;		/* direct */
	uint64_t n_changes_saved;	/* direct: at the savepoint */
	uint8_t *scratch;		/* direct: key and value of a put */
	size_t scratch_size;
};

static int lmdb_failed(int rc, const char *what)
{
	log_err("store: %s: %s", what, mdb_strerror(rc));
	if (rc > 0)
		return error_origin(rc);
	return rc == MDB_MAP_FULL ? error_origin(ENOSPC) : error_origin(EIO);
}

/* --- the base -------------------------------------------------------------------------------------------------- */

/* The table's cursor on the snapshot; cursors outlive the snapshot and are moved to the next when first used. */
static int base_cursor(struct base *b, enum table t, MDB_cursor **curp)
{
	int rc = 0;

	if (!b->cursors[t])
		rc = mdb_cursor_open(b->txn, b->dbi[t], &b->cursors[t]);
	else if (b->cursor_round[t] != b->round)
		rc = mdb_cursor_renew(b->txn, b->cursors[t]);
	if (rc)
		return lmdb_failed(rc, "cursor");
	b->cursor_round[t] = b->round;
	*curp = b->cursors[t];
	return 0;
}

/* Position `cur` as base_seek() says. */
static int cursor_seek(MDB_cursor *cur, const void *key, size_t key_len, bool or_equal, struct base_hit *out)
{
	MDB_val k = { .mv_size = key_len, .mv_data = (void *)(uintptr_t)key }, v;
	int rc;

	/* LMDB has no empty key: nothing is below the first, and nothing equal to it. */
	rc = mdb_cursor_get(cur, &k, &v, key_len ? MDB_SET_RANGE : MDB_FIRST);
	if (!rc && key_len && !or_equal && !key_cmp(k.mv_data, k.mv_size, key, key_len))
		rc = mdb_cursor_get(cur, &k, &v, MDB_NEXT);
	if (rc == MDB_NOTFOUND)
		return STORE_NOT_FOUND;
	if (rc)
		return lmdb_failed(rc, "next");
	*out = (struct base_hit){ .key = k.mv_data, .key_len = k.mv_size, .val = v.mv_data, .len = v.mv_size };
	return 0;
}

int base_seek(struct base *b, enum table t, const void *key, size_t key_len, bool or_equal, struct base_hit *out)
{
	MDB_cursor *cur = NULL;
	int r;

	r = base_cursor(b, t, &cur);
	if (r < 0)
		return error_trace(r);
	r = cursor_seek(cur, key, key_len, or_equal, out);
	b->at_end[t] = r == STORE_NOT_FOUND;
	return r < 0 ? error_trace(r) : r;
}

int base_before(struct base *b, enum table t, struct base_hit *out)
{
	MDB_val k, v;
	int rc;

	rc = mdb_cursor_get(b->cursors[t], &k, &v, b->at_end[t] ? MDB_LAST : MDB_PREV);
	if (rc == MDB_NOTFOUND)
		return STORE_NOT_FOUND;
	if (rc)
		return lmdb_failed(rc, "previous");
	*out = (struct base_hit){ .key = k.mv_data, .key_len = k.mv_size, .val = v.mv_data, .len = v.mv_size };
	return 0;
}

int base_put(struct base *b, enum table t, const void *key, size_t key_len, const void *val, size_t len)
{
	MDB_val k = { .mv_size = key_len, .mv_data = (void *)(uintptr_t)key };
	MDB_val v = { .mv_size = len, .mv_data = (void *)(uintptr_t)val };
	int rc;

	rc = mdb_put(b->writer, b->dbi[t], &k, &v, 0);
	return rc ? lmdb_failed(rc, "put") : 0;
}

int base_del(struct base *b, enum table t, const void *key, size_t key_len)
{
	MDB_val k = { .mv_size = key_len, .mv_data = (void *)(uintptr_t)key };
	int rc;

	rc = mdb_del(b->writer, b->dbi[t], &k, NULL);
	if (rc == MDB_NOTFOUND)
		return STORE_NOT_FOUND;
	return rc ? lmdb_failed(rc, "delete") : 0;
}

static void base_deinit(struct base *b)
{
	for (int t = 0; t < T_N; t++)
		if (b->cursors[t])
			mdb_cursor_close(b->cursors[t]);
	mdb_txn_abort(b->writer);
	mdb_txn_abort(b->txn);
	mdb_txn_abort(b->parent);
	mdb_env_close(b->env);
	*b = (struct base){ 0 };
}

/* --- direct ---------------------------------------------------------------------------------------------------- */

static int direct_get(struct store *s, enum table t, const void *key, size_t key_len, const void **valp, size_t *lenp)
{
	MDB_val k = { .mv_size = key_len, .mv_data = (void *)(uintptr_t)key }, v;
	int rc;

	rc = mdb_get(s->base.txn, s->base.dbi[t], &k, &v);
	if (rc == MDB_NOTFOUND)
		return STORE_NOT_FOUND;
	if (rc)
		return lmdb_failed(rc, "get");
	*valp = v.mv_data;
	*lenp = v.mv_size;
	return 0;
}

/* Copies first: key and value may be borrowed from pages that LMDB is about to move. */
static int direct_put(struct store *s, enum table t, const void *key, size_t key_len, const void *val, size_t len)
{
	MDB_val k = { .mv_size = key_len }, v = { .mv_size = len };
	uint8_t *p;
	int rc;

	if (s->scratch_size < key_len + len) {
		p = realloc(s->scratch, key_len + len);
		if (!p)
			return error_origin(ENOMEM);
		s->scratch = p;
		s->scratch_size = key_len + len;
	}
	k.mv_data = memcpy(s->scratch, key, key_len);
	v.mv_data = s->scratch + key_len;
	if (len)
		memcpy(v.mv_data, val, len);
	rc = mdb_put(s->base.txn, s->base.dbi[t], &k, &v, 0);
	if (rc)
		return lmdb_failed(rc, "put");
	s->n_changes++;
	return 0;
}

static int direct_del(struct store *s, enum table t, const void *key, size_t key_len)
{
	uint8_t own_key[KEY_MAX];
	MDB_val k = { .mv_size = key_len, .mv_data = memcpy(own_key, key, key_len) };
	int rc;

	rc = mdb_del(s->base.txn, s->base.dbi[t], &k, NULL);
	if (rc == MDB_NOTFOUND)
		return STORE_NOT_FOUND;
	if (rc)
		return lmdb_failed(rc, "delete");
	s->n_changes++;
	return 0;
}

static int direct_next(struct store *s, enum table t, const void *key, size_t key_len, bool or_equal,
		       struct base_hit *out)
{
	MDB_cursor *cur;
	int r, rc;

	/* A cursor of its own: cursors of a write transaction do not survive its children. */
	rc = mdb_cursor_open(s->base.txn, s->base.dbi[t], &cur);
	if (rc)
		return lmdb_failed(rc, "cursor");
	r = cursor_seek(cur, key, key_len, or_equal, out);
	mdb_cursor_close(cur);
	return r < 0 ? error_trace(r) : r;
}

static int direct_savepoint(struct store *s)
{
	MDB_txn *child;
	int rc;

	rc = mdb_txn_begin(s->base.env, s->base.txn, 0, &child);
	if (rc)
		return lmdb_failed(rc, "savepoint");
	s->base.parent = s->base.txn;
	s->base.txn = child;
	s->n_changes_saved = s->n_changes;
	return 0;
}

static int direct_end_savepoint(struct store *s, bool keep)
{
	MDB_txn *child = s->base.txn;
	int rc = 0;

	s->base.txn = TAKE_PTR(s->base.parent);
	if (keep)
		rc = mdb_txn_commit(child);
	else
		mdb_txn_abort(child);
	if (!keep)
		s->n_changes = s->n_changes_saved;
	return rc ? lmdb_failed(rc, "release") : 0;
}

static int direct_begin(struct store *s)
{
	int rc = mdb_txn_begin(s->base.env, NULL, 0, &s->base.txn);

	return rc ? lmdb_failed(rc, "begin") : 0;
}

static int direct_commit(struct store *s)
{
	int rc, r;

	rc = mdb_txn_commit(TAKE_PTR(s->base.txn));
	if (rc)
		return lmdb_failed(rc, "commit");
	s->n_changes = 0;
	r = direct_begin(s);
	return r < 0 ? error_trace(r) : 0;
}

/* --- opening --------------------------------------------------------------------------------------------------- */

static int open_folder(struct store *s, const char *dir)
{
	if (mkdir(dir, 0750) < 0 && errno != EEXIST)
		return error_origin(errno);
	s->dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (s->dir_fd < 0)
		return error_origin(errno);
	s->lock_fd = openat(s->dir_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, STORE_MODE);
	if (s->lock_fd < 0)
		return error_origin(errno);
	if (flock(s->lock_fd, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK ? STORE_E_LOCKED : error_origin(errno);
	return 0;
}

static int open_env(struct store *s, const char *dir)
{
	bool scratch = s->kind == STORE_SCRATCH;
	int rc, dead;

	rc = mdb_env_create(&s->base.env);
	if (!rc)
		rc = mdb_env_set_mapsize(s->base.env, scratch ? SCRATCH_MAP : MAP_SIZE);
	if (!rc)
		rc = mdb_env_set_maxdbs(s->base.env, T_N);
	if (!rc)
		rc = mdb_env_open(s->base.env, dir, MDB_NOTLS | (scratch ? MDB_NOSYNC : 0), STORE_MODE);
	if (rc == MDB_INVALID || rc == MDB_VERSION_MISMATCH || rc == MDB_CORRUPTED)
		return STORE_E_CORRUPT;
	if (!rc)
		rc = mdb_reader_check(s->base.env, &dead);
	return rc ? lmdb_failed(rc, "open") : 0;
}

/* The schema's version as stored. STORE_NOT_FOUND: an empty environment; STORE_E_CORRUPT: somebody else's. */
static int read_schema(MDB_txn *txn, uint64_t *versionp)
{
	MDB_val k = { .mv_size = strlen(META_SCHEMA), .mv_data = (void *)(uintptr_t)META_SCHEMA }, v;
	MDB_stat st;
	MDB_dbi dbi;
	int rc;

	rc = mdb_dbi_open(txn, table_names[T_META], 0, &dbi);
	if (rc == MDB_NOTFOUND) {
		rc = mdb_dbi_open(txn, NULL, 0, &dbi);
		if (!rc)
			rc = mdb_stat(txn, dbi, &st);
		if (!rc)
			return st.ms_entries ? STORE_E_CORRUPT : STORE_NOT_FOUND;
	}
	if (!rc)
		rc = mdb_get(txn, dbi, &k, &v);
	if (rc == MDB_NOTFOUND || rc == MDB_INCOMPATIBLE || (!rc && v.mv_size != sizeof *versionp))
		return STORE_E_CORRUPT;
	if (rc)
		return lmdb_failed(rc, "schema");
	memcpy(versionp, v.mv_data, sizeof *versionp);
	return 0;
}

/* All tables, made when missing. */
static int open_tables(struct base *b, MDB_txn *txn)
{
	int rc;

	for (int t = 0; t < T_N; t++) {
		rc = mdb_dbi_open(txn, table_names[t], MDB_CREATE, &b->dbi[t]);
		if (rc == MDB_INCOMPATIBLE)
			return STORE_E_CORRUPT;
		if (rc)
			return lmdb_failed(rc, table_names[t]);
	}
	return 0;
}

static int write_schema(struct base *b, MDB_txn *txn)
{
	uint64_t version = SCHEMA_VERSION;
	MDB_val k = { .mv_size = strlen(META_SCHEMA), .mv_data = (void *)(uintptr_t)META_SCHEMA };
	MDB_val v = { .mv_size = sizeof version, .mv_data = &version };
	int rc = mdb_put(txn, b->dbi[T_META], &k, &v, 0);

	return rc ? lmdb_failed(rc, "schema") : 0;
}

/* Within `txn`, which the caller ends: a refused store is left as it was. */
static int prepare_tables(struct base *b, MDB_txn *txn, uint64_t *versionp)
{
	uint64_t version = SCHEMA_VERSION;
	bool fresh;
	int r;

	r = read_schema(txn, &version);
	if (r < 0)
		return error_trace(r);
	if (r == STORE_E_CORRUPT)
		return STORE_E_CORRUPT;
	fresh = r == STORE_NOT_FOUND;
	if (version != SCHEMA_VERSION) {
		*versionp = version;
		return STORE_E_SCHEMA;
	}
	r = open_tables(b, txn);
	if (!r && fresh)
		r = write_schema(b, txn);
	return r < 0 ? error_trace(r) : r;
}

static int open_schema(struct store *s, uint64_t *versionp)
{
	MDB_txn *txn;
	int r, rc;

	rc = mdb_txn_begin(s->base.env, NULL, 0, &txn);
	if (rc)
		return lmdb_failed(rc, "begin");
	r = prepare_tables(&s->base, txn, versionp);
	if (r) {
		mdb_txn_abort(txn);
		return r < 0 ? error_trace(r) : r;
	}
	rc = mdb_txn_commit(txn);
	if (rc)
		return lmdb_failed(rc, "commit");
	return 0;
}

/* The names of new files are on disk, too, before anything is said to be stored. */
static int sync_folder(struct store *s)
{
	_cleanup_close_ int fd = openat(s->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 || fsync(fd) < 0 ? error_origin(errno) : 0;
}

static int open_transaction(struct store *s)
{
	int r, rc;

	s->base.round = 1;
	if (s->kind == STORE_DIRECT) {
		r = direct_begin(s);
		return r < 0 ? error_trace(r) : 0;
	}
	rc = mdb_txn_begin(s->base.env, NULL, MDB_RDONLY, &s->base.txn);
	if (rc)
		return lmdb_failed(rc, "begin");
	r = overlay_new(&s->overlay, &s->base);
	return r < 0 ? error_trace(r) : 0;
}

/* Free pages inside the file. LMDB lists them in a database of its own, number 0, for readers only (direct: none). */
static uint64_t count_spare(struct store *s)
{
	MDB_cursor *cur;
	MDB_val k, v;
	uint64_t n = 0;
	size_t count;

	if (mdb_cursor_open(s->base.txn, 0, &cur))
		return 0;
	while (!mdb_cursor_get(cur, &k, &v, MDB_NEXT)) {
		memcpy(&count, v.mv_data, sizeof count);
		n += count;
	}
	mdb_cursor_close(cur);
	return n;
}

static int judge_space(struct store *s)
{
	MDB_envinfo info;
	MDB_stat st;
	uint64_t room;
	int rc;

	rc = mdb_env_info(s->base.env, &info);
	if (!rc)
		rc = mdb_env_stat(s->base.env, &st);
	if (rc)
		return lmdb_failed(rc, "info");
	s->used = (info.me_last_pgno + 1) * (uint64_t)st.ms_psize;
	room = space_top_up(&s->space, s->used);
	if (room < SPACE_RESERVE)
		room += count_spare(s) * st.ms_psize;
	space_judge(&s->space, room);
	return 0;
}

static int open_all(struct store *s, const char *dir, uint64_t *versionp)
{
	int r, rc, fd;

	r = open_folder(s, dir);
	if (!r)
		r = open_env(s, dir);
	if (!r)
		r = open_schema(s, versionp);
	if (r)
		return r < 0 ? error_trace(r) : r;
	rc = mdb_env_get_fd(s->base.env, &fd);
	if (rc)
		return lmdb_failed(rc, "fd");
	space_init(&s->space, fd);
	s->space.no_fallocate = s->kind == STORE_SCRATCH;
	r = s->kind == STORE_SCRATCH ? 0 : sync_folder(s);
	if (!r)
		r = open_transaction(s);
	if (!r)
		r = judge_space(s);
	return r < 0 ? error_trace(r) : 0;
}

int store_open(struct store **storep, const char *dir, enum store_kind kind, uint64_t *versionp)
{
	struct store *s = calloc(1, sizeof *s);
	int r;

	if (!s)
		return error_origin(ENOMEM);
	s->kind = kind;
	s->dir_fd = s->lock_fd = -1;
	r = open_all(s, dir, versionp);
	if (r) {
		store_free(s);
		return r < 0 ? error_trace(r) : r;
	}
	*storep = s;
	return 0;
}

struct store *store_free(struct store *s)
{
	if (!s)
		return NULL;
	overlay_free(s->overlay);
	if (s->base.env)
		base_deinit(&s->base);
	free(s->scratch);
	closep(&s->lock_fd);	/* last: the next broker may open now */
	closep(&s->dir_fd);
	free(s);
	return NULL;
}

/* --- the interface --------------------------------------------------------------------------------------------- */

int store_get(struct store *s, enum table t, const void *key, size_t key_len, const void **valp, size_t *lenp)
{
	int r;

	assert(key_len >= 1 && key_len <= KEY_MAX);
	r = s->overlay ? overlay_get(s->overlay, t, key, key_len, valp, lenp) :
			 direct_get(s, t, key, key_len, valp, lenp);
	return r < 0 ? error_trace(r) : r;
}

int store_put(struct store *s, enum table t, const void *key, size_t key_len, const void *val, size_t len)
{
	int r;

	assert(key_len >= 1 && key_len <= KEY_MAX);
	r = s->overlay ? overlay_put(s->overlay, t, key, key_len, val, len) :
			 direct_put(s, t, key, key_len, val, len);
	return r < 0 ? error_trace(r) : 0;
}

int store_del(struct store *s, enum table t, const void *key, size_t key_len)
{
	int r;

	assert(key_len >= 1 && key_len <= KEY_MAX);
	r = s->overlay ? overlay_del(s->overlay, t, key, key_len) : direct_del(s, t, key, key_len);
	return r < 0 ? error_trace(r) : r;
}

static int next_of(struct store *s, enum table t, const void *key, size_t key_len, size_t prefix, bool or_equal,
		   const void **keyp, size_t *key_lenp, const void **valp, size_t *lenp)
{
	struct base_hit hit;
	int r;

	assert(key_len <= KEY_MAX && prefix <= key_len);
	if (s->overlay) {
		r = overlay_next(s->overlay, t, key, key_len, prefix, or_equal, keyp, key_lenp, valp, lenp);
		return r < 0 ? error_trace(r) : r;
	}
	r = direct_next(s, t, key, key_len, or_equal, &hit);
	if (r)
		return r < 0 ? error_trace(r) : r;
	*keyp = hit.key;
	*key_lenp = hit.key_len;
	*valp = hit.val;
	*lenp = hit.len;
	return 0;
}

int store_next(struct store *s, enum table t, const void *key, size_t key_len, bool or_equal,
	       const void **keyp, size_t *key_lenp, const void **valp, size_t *lenp)
{
	return next_of(s, t, key, key_len, 0, or_equal, keyp, key_lenp, valp, lenp);
}

int store_next_of(struct store *s, enum table t, const void *key, size_t key_len, size_t prefix, bool or_equal,
		  const void **keyp, size_t *key_lenp, const void **valp, size_t *lenp)
{
	int r = next_of(s, t, key, key_len, prefix, or_equal, keyp, key_lenp, valp, lenp);

	return r == 0 && (*key_lenp < prefix || memcmp(*keyp, key, prefix)) ? STORE_NOT_FOUND : r;
}

int store_savepoint(struct store *s)
{
	int r = 0;

	assert(!s->savepoint);
	if (s->overlay)
		overlay_savepoint(s->overlay);
	else
		r = direct_savepoint(s);
	if (r < 0)
		return error_trace(r);
	s->savepoint = true;
	return 0;
}

int store_rollback(struct store *s)
{
	int r;

	assert(s->savepoint);
	s->savepoint = false;
	r = s->overlay ? overlay_rollback(s->overlay) : direct_end_savepoint(s, false);
	return r < 0 ? error_trace(r) : 0;
}

int store_release(struct store *s)
{
	int r = 0;

	assert(s->savepoint);
	s->savepoint = false;
	if (s->overlay)
		overlay_release(s->overlay);
	else
		r = direct_end_savepoint(s, true);
	return r < 0 ? error_trace(r) : 0;
}

/* The net difference in a write transaction of its own; a difference of nothing costs no sync. */
static int overlay_commit(struct store *s, size_t *n_writtenp)
{
	struct base *b = &s->base;
	int r, rc;

	rc = mdb_txn_begin(b->env, NULL, 0, &b->writer);
	if (rc)
		return lmdb_failed(rc, "begin");
	r = overlay_write(s->overlay, n_writtenp);
	if (r < 0)
		return error_trace(r);
	if (*n_writtenp)
		rc = mdb_txn_commit(TAKE_PTR(b->writer));
	else
		mdb_txn_abort(TAKE_PTR(b->writer));
	if (rc)
		return lmdb_failed(rc, "commit");
	mdb_txn_reset(b->txn);
	rc = mdb_txn_renew(b->txn);
	if (rc)
		return lmdb_failed(rc, "renew");
	b->round++;
	overlay_reset(s->overlay);
	return 0;
}

int store_commit(struct store *s)
{
	size_t n_written = 1;
	int r, rc, dead;

	assert(!s->savepoint);
	if (!store_dirty(s))
		return 0;
	r = s->overlay ? overlay_commit(s, &n_written) : direct_commit(s);
	if (r < 0)
		return error_trace(r);
	if (!n_written)
		return 0;
	s->n_commits++;
	if (s->n_commits % READER_CHECK == 0) {
		rc = mdb_reader_check(s->base.env, &dead);
		if (rc)
			return lmdb_failed(rc, "reader check");
	}
	r = judge_space(s);
	return r < 0 ? error_trace(r) : 0;
}

bool store_dirty(const struct store *s)
{
	return store_n_changes(s) > 0;
}

uint64_t store_n_commits(const struct store *s)
{
	return s->n_commits;
}

uint64_t store_n_changes(const struct store *s)
{
	return s->overlay ? overlay_n_changes(s->overlay) : s->n_changes;
}

bool store_space_low(const struct store *s)
{
	return s->space.low;
}

uint64_t store_used(const struct store *s)
{
	return s->used;
}

int store_snapshot_hold(struct store *s, uint64_t *txnidp, void **holdp)
{
	MDB_txn *txn;
	int rc;

	rc = mdb_txn_begin(s->base.env, NULL, MDB_RDONLY, &txn);
	if (rc)
		return lmdb_failed(rc, "snapshot");
	*txnidp = mdb_txn_id(txn);
	*holdp = txn;
	return 0;
}

void store_snapshot_drop(struct store *s, void *hold)
{
	(void)s;
	mdb_txn_abort(hold);
}

int store_data_fd(struct store *s)
{
	int fd = openat(s->dir_fd, "data.mdb", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	return fd < 0 ? error_origin(errno) : fd;
}
