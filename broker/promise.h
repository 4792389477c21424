/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kernel promises: unresolved → fulfilled or rejected, for ever (P1), perhaps by way of forwarded (P6).
 *
 * Settling one promise can settle others (forwarded ones, results of messages that waited), and those again
 * others, in chains as long as a vat likes to build. So nothing recurses: settle_task is a worklist, drained before
 * promise_settle() returns, which also keeps P5: everything re-sent gets its sequence number at this point.
 *
 * A promise that takes another's outcome (forwarding, rejection passed on) shares its value by a link; nothing is copied,
 * so a vat cannot turn one large value into ten thousand.
 *
 * A message that waits on a promise sits in the QUEUE of the promise at the end of the forwarding chain, and
 * names that promise as its target.
 */
#ifndef CAPSTAN_PROMISE_H
#define CAPSTAN_PROMISE_H

#include "kernel.h"

enum { PROMISE_E_UNKNOWN = 1 };

int promise_new(struct kernel *k, kref_t *refp);	/* unresolved, no decider */
int promise_load(struct kernel *k, kref_t ref, struct row_promise *rowp);
int promise_save(struct kernel *k, kref_t ref, const struct row_promise *row);
int promise_ref(struct kernel *k, kref_t ref, int delta);
/* Value of a settled promise; borrowed until the next change. */
int promise_value(struct kernel *k, kref_t ref, struct capdata *valuep);

/* The references in it, an owned copy. */
int promise_value_slots(struct kernel *k, kref_t ref, uint64_t **slotsp, size_t *np);

/* Set or clear (ENDPOINT_NONE) the decider of an unresolved promise, with its DECIDED row. */
int promise_set_decider(struct kernel *k, kref_t ref, endpoint_t decider, uint32_t incarnation);
/* No decider, but a message in `holder`'s queue whose receiver will be (0: none). */
int promise_set_behind(struct kernel *k, kref_t ref, uint64_t holder);

/* The end of the forwarding chain that starts at `ref` (itself when not forwarded), and its row. */
int promise_terminal(struct kernel *k, kref_t ref, kref_t *terminalp, struct row_promise *rowp);

/* Settle an unresolved or forwarded promise; `raw` is stored capdata (slots krefs), copied. P3, P5. */
int promise_settle(struct kernel *k, kref_t ref, enum promise_state state, uint32_t flags, const void *raw, size_t len);
/* As `source`, which is settled, was: state, flags and identical value. */
int promise_settle_as(struct kernel *k, kref_t ref, kref_t source);
/* Reject with the kernel's error: "[KERNEL:CODE] detail" (R1). */
int promise_reject(struct kernel *k, kref_t ref, enum kernel_code code, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* P6: fulfilled with a REF to `target`, a promise in any state. */
int promise_forward(struct kernel *k, kref_t ref, kref_t target);

/* A host call waits for it; it must be unsettled. */
int promise_note_host(struct kernel *k, kref_t ref);

/* P4; to a settled promise: queues the notify at once. */
int promise_subscribe(struct kernel *k, kref_t ref, endpoint_t e);
int promise_unsubscribe(struct kernel *k, kref_t ref, endpoint_t e);	/* who did not subscribe may, too */

/* n_refs is 0: forget the promise and release what its value holds (P9). */
int promise_delete(struct kernel *k, kref_t ref, const struct row_promise *row);

void promise_drop_tasks(struct kernel *k);	/* at rollback */

#endif
