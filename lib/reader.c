/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reader over LMDB: MDB_RDONLY and MDB_NOLOCK, so that nothing it does can stop the writer. Beside broker/store.c
 * the only file that knows LMDB.
 */
#include <fcntl.h>
#include <lmdb.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "reader.h"

#define MAP_SIZE	(UINT64_C(1) << 40)	/* the broker's; address space only */

struct reader {
	MDB_env *env;
	MDB_txn *txn;			/* NULL outside of begin … end */
	MDB_dbi dbi[T_N];
	bool open[T_N];			/* dbi[t] is valid */
	bool settled[T_N];		/* for other snapshots too: the transaction that found it has ended */
	bool shared;			/* the environment is another reader's */
	MDB_cursor *cursors[T_N];	/* of this snapshot */
	int lock_fd;			/* held shared: no broker starts meanwhile; -1 under a lease */
};

static int lmdb_failed(int rc, const char *what)
{
	log_err("reader: %s: %s", what, mdb_strerror(rc));
	return rc > 0 ? error_origin(rc) : error_origin(EIO);
}

/*
 * LMDB met pages that make no sense. There is no way back out of it, and what it has allocated is in no known
 * state: this process ends, in good order, and is started again.
 */
static void reader_assert(MDB_env *env, const char *msg)
{
	(void)env;
	log_err("reader: the store changed while it was read, or is damaged: %s", msg);
	_exit(1);
}

static int env_open(struct reader *r, const char *path, unsigned flags)
{
	int rc;

	rc = mdb_env_create(&r->env);
	if (!rc)
		rc = mdb_env_set_assert(r->env, reader_assert);
	if (!rc)
		rc = mdb_env_set_mapsize(r->env, MAP_SIZE);
	if (!rc)
		rc = mdb_env_set_maxdbs(r->env, T_N);
	if (!rc)
		rc = mdb_env_open(r->env, path, flags | MDB_RDONLY | MDB_NOLOCK | MDB_NOTLS, 0);
	switch (rc) {
	case 0:
		return 0;
	case MDB_INVALID:
	case MDB_VERSION_MISMATCH:
	case MDB_CORRUPTED:
		return READER_E_CORRUPT;
	case EACCES:
	case EPERM:
		errno = rc;
		return READER_E_ACCESS;
	case EBADF:	/* an empty file: LMDB tries to make it a new environment, and may not write */
		return READER_E_CORRUPT;
	default:
		return lmdb_failed(rc, "open");
	}
}

/* Is it a store, and of our version? */
static int check_schema(struct reader *r)
{
	const void *val;
	uint64_t version;
	size_t len;
	int res;

	res = reader_begin(r);
	if (res < 0)
		return error_trace(res);
	res = reader_get(r, T_META, META_SCHEMA, strlen(META_SCHEMA), &val, &len);
	if (!res && len == sizeof version)
		memcpy(&version, val, sizeof version);
	else if (!res || res == READER_NOT_FOUND)
		res = READER_E_CORRUPT;
	if (!res && version != SCHEMA_VERSION)
		res = READER_E_SCHEMA;
	reader_end(r);
	return res < 0 ? error_trace(res) : res;
}

static struct reader *reader_new(void)
{
	struct reader *r = calloc(1, sizeof *r);

	if (r)
		r->lock_fd = -1;
	return r;
}

int reader_open_fd(struct reader **rp, int data_fd)
{
	struct reader *r = reader_new();
	char path[64];
	int res;

	if (!r)
		return error_origin(ENOMEM);
	snprintf(path, sizeof path, "/proc/self/fd/%d", data_fd);
	res = env_open(r, path, MDB_NOSUBDIR);
	/* A few reads without a lease: two commits would have to happen within them to do harm. */
	if (!res)
		res = check_schema(r);
	if (res) {
		reader_free(r);
		return res < 0 ? error_trace(res) : res;
	}
	*rp = r;
	return 0;
}

static int open_failed(void)
{
	if (errno == ENOENT || errno == ENOTDIR)
		return READER_E_ABSENT;
	if (errno == EACCES || errno == EPERM || errno == ELOOP)
		return READER_E_ACCESS;
	return error_origin(errno);
}

/* The lock that store_open() takes alone. A store that never had a broker has no such file: nothing to wait for. */
static int dir_lock(struct reader *r, const char *dir)
{
	_cleanup_close_ int dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct stat st;

	if (dir_fd < 0 || fstatat(dir_fd, "data.mdb", &st, AT_SYMLINK_NOFOLLOW) < 0)
		return open_failed();
	r->lock_fd = openat(dir_fd, "lock", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (r->lock_fd < 0)
		return errno == ENOENT ? 0 : open_failed();
	if (flock(r->lock_fd, LOCK_SH | LOCK_NB) < 0)
		return errno == EWOULDBLOCK ? READER_E_BUSY : error_origin(errno);
	return 0;
}

int reader_open_dir(struct reader **rp, const char *dir)
{
	struct reader *r = reader_new();
	int res;

	if (!r)
		return error_origin(ENOMEM);
	res = dir_lock(r, dir);
	if (!res)
		res = env_open(r, dir, 0);
	if (!res)
		res = check_schema(r);
	if (res) {
		reader_free(r);
		return res < 0 ? error_trace(res) : res;
	}
	*rp = r;
	return 0;
}

int reader_share(struct reader **rp, struct reader *base)
{
	struct reader *r = reader_new();

	if (!r)
		return error_origin(ENOMEM);
	r->env = base->env;
	r->shared = true;
	memcpy(r->dbi, base->dbi, sizeof(r->dbi));
	memcpy(r->open, base->settled, sizeof(r->open));
	*rp = r;
	return 0;
}

struct reader *reader_free(struct reader *r)
{
	if (!r)
		return NULL;
	if (r->txn)
		reader_end(r);
	if (!r->shared)
		mdb_env_close(r->env);
	closep(&r->lock_fd);
	free(r);
	return NULL;
}

int reader_begin(struct reader *r)
{
	int rc;

	assert(!r->txn);
	rc = mdb_txn_begin(r->env, NULL, MDB_RDONLY, &r->txn);
	if (rc)
		return lmdb_failed(rc, "begin");
	/* Names are looked up by one transaction at a time: the base's. */
	for (int t = 0; t < T_N && !r->shared; t++) {
		if (r->open[t])
			continue;
		rc = mdb_dbi_open(r->txn, table_names[t], 0, &r->dbi[t]);
		r->open[t] = !rc;
		if (rc && rc != MDB_NOTFOUND) {
			reader_end(r);
			return lmdb_failed(rc, table_names[t]);
		}
	}
	return 0;
}

void reader_end(struct reader *r)
{
	for (int t = 0; t < T_N; t++) {
		if (r->cursors[t])
			mdb_cursor_close(r->cursors[t]);
		r->cursors[t] = NULL;
	}
	/* Nothing to commit but the handles of the tables. */
	mdb_txn_commit(TAKE_PTR(r->txn));
	memcpy(r->settled, r->open, sizeof(r->settled));
}

uint64_t reader_txnid(const struct reader *r)
{
	return mdb_txn_id(r->txn);
}

int reader_get(struct reader *r, enum table t, const void *key, size_t key_len, const void **valp, size_t *lenp)
{
	MDB_val k = { .mv_size = key_len, .mv_data = (void *)(uintptr_t)key }, v;
	int rc;

	if (!r->open[t])
		return READER_NOT_FOUND;
	rc = mdb_get(r->txn, r->dbi[t], &k, &v);
	if (rc == MDB_NOTFOUND)
		return READER_NOT_FOUND;
	if (rc)
		return lmdb_failed(rc, "get");
	*valp = v.mv_data;
	*lenp = v.mv_size;
	return 0;
}

static bool same_key(const MDB_val *a, const void *key, size_t key_len)
{
	return a->mv_size == key_len && !memcmp(a->mv_data, key, key_len);
}

int reader_next(struct reader *r, enum table t, const void *key, size_t key_len, bool or_equal,
		const void **keyp, size_t *key_lenp, const void **valp, size_t *lenp)
{
	MDB_val k = { .mv_size = key_len, .mv_data = (void *)(uintptr_t)key }, v;
	int rc = 0;

	if (!r->open[t])
		return READER_NOT_FOUND;
	if (!r->cursors[t])
		rc = mdb_cursor_open(r->txn, r->dbi[t], &r->cursors[t]);
	if (!rc)
		rc = mdb_cursor_get(r->cursors[t], &k, &v, key_len ? MDB_SET_RANGE : MDB_FIRST);
	if (!rc && key_len && !or_equal && same_key(&k, key, key_len))
		rc = mdb_cursor_get(r->cursors[t], &k, &v, MDB_NEXT);
	if (rc == MDB_NOTFOUND)
		return READER_NOT_FOUND;
	if (rc)
		return lmdb_failed(rc, "next");
	*keyp = k.mv_data;
	*key_lenp = k.mv_size;
	*valp = v.mv_data;
	*lenp = v.mv_size;
	return 0;
}

int reader_count(struct reader *r, enum table t, uint64_t *np)
{
	MDB_stat st = { 0 };
	int rc = 0;

	if (r->open[t])
		rc = mdb_stat(r->txn, r->dbi[t], &st);
	if (rc)
		return lmdb_failed(rc, "count");
	*np = st.ms_entries;
	return 0;
}
