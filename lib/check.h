/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The checker: recomputes every count of the store from what is there, and checks every invariant that ties two
 * tables together (semantics C1-C6, architecture 5). Runs over anything that reads rows: a snapshot offline
 * (`capstan fsck`), or a live store between two cranks (tests).
 *
 * A sweep in progress is legal at any commit, and the counts are exact all the same.
 */
#ifndef CAPSTAN_CHECK_H
#define CAPSTAN_CHECK_H

#include "schema.h"

/*
 * As store_get() and store_next(): 0, positive when there is none, negative. Values are valid as long as
 * nothing changes.
 */
struct check_source {
	void *ctx;
	int (*get)(void *ctx, enum table t, const void *key, size_t key_len, const void **valp, size_t *lenp);
	int (*next)(void *ctx, enum table t, const void *key, size_t key_len, bool or_equal,
		    const void **keyp, size_t *key_lenp, const void **valp, size_t *lenp);
};

/* Each problem is one line, naming the table, the key as people write it and, for counts, both numbers. */
typedef void (*check_report_fn)(void *ctx, const char *line);
int check_store(struct check_source *src, check_report_fn report, void *ctx, size_t *n_problemsp);

#endif
