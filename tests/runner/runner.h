/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The scenario runner: one scenario file (tests/scenarios/README.md) against a broker, with the spawner, the vats and the
 * callers outside played from the file.
 *
 * The broker is a process of its own (capstand's role "broker"), or runs inside this process, round by round
 * (broker/broker.h), for who wants to fail something in it or to step through it. Nothing else differs: the same
 * descriptors, the same frames, the same checks.
 *
 * runner_run() may be called again after it returned; the in-process broker has globals, so one at a time.
 */
#ifndef CAPSTAN_TEST_RUNNER_H
#define CAPSTAN_TEST_RUNNER_H

#include <stdbool.h>
#include <stdio.h>

struct kernel;
struct runner;

enum runner_backend { RUNNER_PROCESS, RUNNER_IN_PROCESS };

/* What the broker's end in a round means for the scenario. */
enum runner_death {
	RUNNER_DEATH_FAILS,	/* it fails, as always when nobody says anything else */
	RUNNER_DEATH_STOPS,	/* it is over; runner_run() returns RUNNER_STOPPED, nothing more is looked at */
	RUNNER_DEATH_BOOTS,	/* a new broker goes on from the last commit; so does the scenario, as well as it can */
};

/* In-process only. Any may be NULL. */
struct runner_hooks {
	void *ctx;
	void (*before_round)(void *ctx, struct kernel *k);
	/* `result` is broker_round()'s; `committed`: at least one commit was in it. */
	void (*after_round)(void *ctx, struct kernel *k, int result, bool committed);
	enum runner_death (*died)(void *ctx, struct kernel *k, int result);
	unsigned (*patience_ms)(void *ctx);	/* how long to wait for an event; else 10 s */
	/*
	 * Asked when a step fails: true if that may be, because of what the hooks did. Then the steps that are left are not played;
	 * the end must still be a good one, and the outcome is RUNNER_ASTRAY.
	 */
	bool (*may_go_astray)(void *ctx);
};

struct runner_options {
	enum runner_backend backend;
	bool serial;			/* --serial */
	bool direct;			/* --direct, unless the file says which store it needs */
	const char *capstand;		/* RUNNER_PROCESS: the program */
	const char *tmp;		/* a folder for stores; NULL: /dev/shm, else $TMPDIR, else /tmp */
	FILE *trace;			/* every step and frame as it happens; NULL: none */
	bool bless;			/* rewrite the file's tables as they are */
	bool keep;			/* the store stays; its place is in the report */
	bool peeks;			/* in process: rest is seen in the kernel, not asked for with `getStatus` */
	struct runner_hooks hooks;
	void (*after_step)(void *ctx, struct runner *r, unsigned line);	/* both backends; ctx is that of the hooks */
};

enum runner_outcome { RUNNER_PASSED, RUNNER_FAILED, RUNNER_SKIPPED /* not in this mode */, RUNNER_STOPPED, RUNNER_ASTRAY };
/* *reportp: malloc'd, "" when there is nothing to say. */
enum runner_outcome runner_run(const char *path, const struct runner_options *o, char **reportp);

/*
 * A broker boots on what another has left in `dir` (that of a run which ended the process in a hook), and comes to the end: nothing is
 * left but what there was after the first boot, `first_dump`.
 */
enum runner_outcome runner_aftermath(const char *path, const struct runner_options *o, const char *dir, const char *first_dump,
				     char **reportp);

/* For hooks. */
const char *runner_store_dir(const struct runner *r);
const char *runner_first_dump(const struct runner *r);	/* the tables after the first boot, as text */

#endif
