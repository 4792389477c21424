/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the checker share: check.c (the order of things; vats, services, vatstores), check_refs.c
 * (clists, queues, promises, and the counts of everything) and check_base.c (reading rows, reporting, tallies).
 */
#ifndef CAPSTAN_CHECK_IMPL_H
#define CAPSTAN_CHECK_IMPL_H

#include "check.h"

/* What rows elsewhere say about one object or promise. */
struct tally {
	uint64_t kref;
	uint64_t reachable, recognizable;	/* objects: C4 */
	uint64_t refs;				/* promises: C5 */
	uint64_t n_waiting;			/* messages in its queue */
	uint64_t owner;				/* endpoint with a "+" entry; 0 none */
	uint64_t behind;			/* holder of the queued message with it as result; 0 none */
	uint64_t link;				/* forwarded: the row's */
	bool owner_survives;			/* that entry is the root or durable */
	bool in_service;			/* SERVICE_OF */
	bool has_value;
	bool row;				/* seen in OBJECT or PROMISE */
	uint32_t stamp;				/* walk over forwards that met it */
};

struct vat_tally {
	uint64_t number;
	struct row_vat row;
	bool sweep, sweep_all;			/* cleaning up after a death; after the last */
	bool config, member;
	uint64_t n_queued, queued_bytes, n_exports, n_imports, n_calls, n_aside, aside_bytes;
	uint64_t n_senders, n_introducers;
	uint64_t max_import, max_import_promise, max_export, max_export_promise;
};

/* What rows elsewhere say about one row of CHARGE. */
struct charge_tally { uint64_t holder, who; struct row_charge row, counted; };

enum counter {
	NEXT_OBJECT, NEXT_PROMISE, NEXT_VAT, NEXT_SUBCLUSTER, NEXT_SEQ, NEXT_UID, NEXT_SPACE, UID_BLOCK,
	N_COUNTERS
};

struct row { enum table t; const uint8_t *key; size_t key_len; const void *val; size_t len; };

struct check {
	struct check_source *src;
	check_report_fn report;
	void *report_ctx;
	size_t n_problems;
	uint64_t counters[N_COUNTERS];
	struct tally **slots;		/* open addressing by kref */
	size_t n_slots, n_tallies;
	struct vat_tally *vats;		/* by number */
	size_t n_vats, vats_size;
	struct charge_tally *charges;	/* by holder and who */
	size_t n_charges, charges_size;
	uint64_t n_space_rows;		/* VATSTORE rows of known vats and of linked spaces */
	uint64_t n_walked_rows;		/* those that walks from vats have met */
	bool tangled;			/* two links lead to one space: walking would take too long */
};

static inline uint64_t key_part(const struct row *row, unsigned i) { return get_be64(row->key + 8 * (size_t)i); }

/* One problem: about a row; or about something by its table and number. */
void check_row_problem(struct check *c, const struct row *row, const char *fmt,
		       ...) __attribute__((format(printf, 3, 4)));
void check_problem(struct check *c, enum table t, uint64_t n, const char *fmt,
		   ...) __attribute__((format(printf, 4, 5)));
void check_same_number(struct check *c, enum table t, uint64_t n, const char *what, uint64_t stored,
		       uint64_t counted);
void check_same_ref(struct check *c, enum table t, uint64_t n, const char *what, uint64_t stored, uint64_t want);

/* Reading: 0, positive when there is none, negative. */
int check_get(struct check *c, enum table t, const uint8_t *key, size_t key_len, const void **valp, size_t *lenp);
int check_has1(struct check *c, enum table t, uint64_t a, bool *hasp);
int check_has2(struct check *c, enum table t, uint64_t a, uint64_t b, bool *hasp);
/* Every row of the table whose key has the right form; the others are problems. */
typedef int (*row_fn)(struct check *c, const struct row *row);
int check_each(struct check *c, enum table t, row_fn fn);
bool check_kref_is_legal(uint64_t k);

struct tally *check_tally_find(struct check *c, uint64_t kref);			/* or NULL */
int check_tally_take(struct check *c, uint64_t kref, struct tally **tp);	/* made when new */
/* `n` holders more, named by a row, that both reach and recognize; promises have one count only. */
int check_count(struct check *c, const struct row *by, uint64_t kref, uint64_t n);
int check_count_slots(struct check *c, const struct row *by, const struct capdata *value);

struct vat_tally *check_vat_find(struct check *c, uint64_t number);		/* or NULL */
struct vat_tally *check_endpoint_vat(struct check *c, uint64_t endpoint);	/* NULL: no vat, or no such */
/* A vat with a row, or the kernel; else a problem of the row that names it. */
bool check_endpoint_known(struct check *c, const struct row *by, uint64_t endpoint);
bool check_vat_known(struct check *c, const struct row *by, uint64_t number);

/* What `who` is charged for at the holder; without a row for it a problem of the row that says so, and NULL. */
struct charge_tally *check_charge(struct check *c, const struct row *by, uint64_t holder, uint64_t who);

/* Everything that counts references, and then the counts. Vats, parameters and services have been seen. */
int check_refs(struct check *c);

#endif
