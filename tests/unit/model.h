/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A second opinion of the kernel: its tables as plain arrays, its rules as docs/SEMANTICS.md states them, with none of
 * the broker's code. Nothing is counted along the way: counts, and what collection has to say, are worked out anew from
 * what is there. It is slow and small; the broker is compared with it after every crank (test_kernel_model.c).
 *
 * One delivery at a time (D1), nobody's limits reached, no services. A state is one flat struct: to copy it is a savepoint.
 */
#ifndef CAPSTAN_TEST_MODEL_H
#define CAPSTAN_TEST_MODEL_H

#include <capstan/ref.h>
#include <stdio.h>

#define M_VATS		24u
#define M_ENTRIES	360u
#define M_OBJECTS	800u
#define M_PROMISES	1200u
#define M_ITEMS		1500u
#define M_SLOTS		16u
#define M_LISTED	600u

enum m_status { M_NONE, M_STARTING, M_RUNNING, M_SUSPENDED, M_TERMINATED };
enum m_state { M_UNRESOLVED, M_FORWARDED, M_FULFILLED, M_REJECTED };
enum m_work { M_IDLE, M_START, M_MESSAGE, M_NOTIFY, M_DROP, M_RETIRE_EXPORTS, M_RETIRE_IMPORTS, M_REAP };

/* A body is the number of a text that is kept once (m_text). */
struct m_value { unsigned body, n; uint64_t slots[M_SLOTS]; };
struct m_entry { uint64_t vref, kref; bool flag; };
struct m_object {
	uint64_t kref;
	unsigned owner;		/* a vat's number; 0: nobody */
	bool revoked;
	unsigned held;		/* a root, for the life of this subcluster (G5) */
	uint64_t reachable, recognizable;
};
struct m_promise {
	uint64_t kref;
	enum m_state state;
	bool ref, by_kernel;
	bool host;		/* a caller outside waits */
	unsigned decider;	/* a vat's number; 0: nobody */
	uint64_t behind;	/* holder of the message that will decide it */
	uint64_t to;		/* forwarded */
	uint64_t link;		/* whose value it shares */
	uint64_t subscribers;	/* a bit a vat */
	struct m_value value;
	uint64_t count;
	bool held;
};
struct m_item { uint64_t id, holder, sender, target, result; bool notify; struct m_value methargs; };

struct m_vat {
	char name[8];
	enum m_status status;
	unsigned subcluster, incarnation;
	bool unstarted;		/* suspended before its startVat was applied */
	bool no_process;	/* suspended without one: to resume is to begin anew */
	bool patient;		/* V4 does not apply: it is being launched */
	uint64_t next_import, next_import_promise, next_export, next_export_promise;
	unsigned dirt_deliveries, dirt_collected;
	bool reap;
	uint64_t killer;	/* the delivery that killed last */
	unsigned n_kills, n_deaths;
	struct m_entry entries[M_ENTRIES];
	size_t n_entries;
	/* In flight. */
	enum m_work work;
	uint64_t item;
	uint64_t listed[M_LISTED];	/* krefs that leave, or were collected */
	size_t n_listed;
	struct m_entry names[M_ENTRIES]; /* that its application makes real */
	size_t n_names;
	uint64_t import_then, import_promise_then;
};

struct model {
	uint64_t next_object, next_promise;	/* as the broker has them: abandoned cranks leave gaps */
	uint64_t next_item;
	unsigned n_vats;			/* numbers given out */
	unsigned poison_deaths, deaths, reap_deliveries, reap_collected;
	uint64_t n_dropped;
	struct m_vat vats[M_VATS + 1];		/* by number */
	struct m_object objects[M_OBJECTS];	/* ascending by kref */
	size_t n_objects;
	struct m_promise promises[M_PROMISES];
	size_t n_promises;
	struct m_item items[M_ITEMS];		/* in order of time */
	size_t n_items;
};

unsigned m_text(const char *text, size_t len);
const char *m_text_of(unsigned body);

/* From outside. */
unsigned m_vat_new(struct model *m, const char *name, unsigned subcluster);	/* with its root, held (C8, G5) */
uint64_t m_root(const struct model *m, unsigned vat);
void m_host_send(struct model *m, uint64_t target, const char *body, const uint64_t *slots, unsigned n, bool result);
/* What the kernel does between cranks: callers are told, circles go (P12). */
void m_between(struct model *m);
void m_revoke(struct model *m, uint64_t kref);
void m_suspend(struct model *m, unsigned vat);
void m_resume(struct model *m, unsigned vat);
void m_restart(struct model *m, unsigned vat);
void m_terminate(struct model *m, unsigned vat);
void m_end(struct model *m, unsigned subcluster);
void m_death(struct model *m, unsigned vat);		/* V4 */
void m_broker_died(struct model *m);			/* V9; what was not committed is the caller's to forget */

/* What the vat is sent now, as the harness prints it; NULL: nothing. Work that is none any more is ended. malloc'd. */
char *m_prepare(struct model *m, unsigned vat);
/* The crank of what it was sent: these words, the last of them `done` or `error`. */
void m_crank(struct model *m, unsigned vat, const char *const *words);
const char *m_illegal(void);	/* why the last crank was; NULL: it was not */

void m_collect(struct model *m);	/* forget what nothing holds; work the counts out */
/* The broker shortens a chain of forwardings when it walks over it (P10): so far is it now. */
void m_shorten(struct model *m, uint64_t promise, uint64_t to);
/* A line a row, the same as the broker's tables are printed by the test. */
void m_print(const struct model *m, FILE *f);
bool m_has_room(const struct model *m);

#endif
