/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Queues: one per endpoint (what it will receive) and one per unresolved promise (what waits for it), all rows of
 * one table, keyed by holder and a global sequence number. What an item names is counted while it is queued (C4, C5).
 */
#ifndef CAPSTAN_QUEUE_H
#define CAPSTAN_QUEUE_H

#include "kernel.h"

enum { QUEUE_E_EMPTY = 1 };

/* An item taken out, or copied: everything owned. */
struct item { uint64_t seq; struct row_item row; uint8_t *raw; size_t len; };
#define ITEM_INIT { 0 }
void item_deinit(struct item *i);

/* A message from the host: body and slots (krefs) are copied into `raw`. */
int item_host_message(struct item *i, kref_t target, const void *body, size_t body_len, const uint64_t *slots, size_t n_slots);

/* Count (+1) or release (-1) all that an item names: target, result, slots. */
int item_count(struct kernel *k, const struct item *i, int delta);
/* The same without the target. */
int item_count_rest(struct kernel *k, const struct item *i, int delta);

/* Append with the next sequence number; counts are the caller's business. */
int queue_push(struct kernel *k, uint64_t holder, const struct item *i);
int queue_remove(struct kernel *k, uint64_t holder, uint64_t seq);	/* must be there */
/* First item with a number >= from: owned copy in *ip. QUEUE_E_EMPTY. */
int queue_head(struct kernel *k, uint64_t holder, uint64_t from, struct item *ip);
int queue_get(struct kernel *k, uint64_t holder, uint64_t seq, struct item *ip);	/* this one; QUEUE_E_EMPTY */
/* Only what and whose it is. QUEUE_E_EMPTY. */
int queue_peek(struct kernel *k, uint64_t holder, uint64_t from, uint64_t *seqp, struct row_item *rowp);
/* Queue a notify unless one is queued already (P4); quietly nothing for an endpoint that is gone (D5). */
int queue_notify(struct kernel *k, endpoint_t e, kref_t promise);
/* Take a notify item out with all it counts. */
int queue_drop_notify(struct kernel *k, endpoint_t e, const struct item *i);

#endif
