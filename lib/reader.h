/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading a store that somebody else writes (capstan-fs, under a lease: lib/lease.h), or that nobody has open (the
 * offline checker). Never writes, never touches lock.mdb.
 *
 * One snapshot at a time for each reader: reader_begin() … reader_end(). What get and next give is borrowed and valid until
 * reader_end(). Without a lease LMDB may reuse pages under a reader, and then finds nonsense: it ends the
 * process with a line in the log, or with SIGBUS. Who reads under a lease that ran out, or a damaged file, must be a
 * process that can be started again.
 */
#ifndef CAPSTAN_READER_H
#define CAPSTAN_READER_H

#include "schema.h"

enum { READER_NOT_FOUND = 1 };
enum reader_outcome {
	READER_E_BUSY = 1,	/* a broker has this store open */
	READER_E_SCHEMA = 2,	/* written by another schema version */
	READER_E_CORRUPT = 3,	/* not a store */
	READER_E_ABSENT = 4,	/* no store there */
	READER_E_ACCESS = 5,	/* may not be opened; errno says why */
};

struct reader;
/*
 * Through a readable fd of data.mdb (borrowed, needed only now). READER_E_SCHEMA, READER_E_CORRUPT,
 * READER_E_ACCESS.
 */
int reader_open_fd(struct reader **rp, int data_fd);
/* A store's folder that no broker has, and none gets until reader_free(). All outcomes. */
int reader_open_dir(struct reader **rp, const char *dir);
/*
 * Another look at the store that `base` has open, with a snapshot of its own. `base` must outlive it. A table that the base found
 * in none of the snapshots that it has ended is empty.
 */
int reader_share(struct reader **rp, struct reader *base);
struct reader *reader_free(struct reader *r);	/* NULL */

int reader_begin(struct reader *r);		/* negative or 0 */
void reader_end(struct reader *r);
uint64_t reader_txnid(const struct reader *r);	/* of the snapshot */

/* As store_get() and store_next(). A table that does not exist is empty. */
int reader_get(struct reader *r, enum table t, const void *key, size_t key_len, const void **valp, size_t *lenp);
int reader_next(struct reader *r, enum table t, const void *key, size_t key_len, bool or_equal,
		const void **keyp, size_t *key_lenp, const void **valp, size_t *lenp);
int reader_count(struct reader *r, enum table t, uint64_t *np);	/* rows of the table */

#endif
