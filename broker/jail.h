/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What happens between the fork and the exec: starting a process that can do less than we can. Three kinds are
 * started: the broker and capstan-fs (services: own uid, no capabilities, given fds) and vats (all that, and limits,
 * namespaces, and capstan-vatd, which puts on the last locks).
 *
 * Starting is synchronous: jail_start() returns when the program was exec'd or when nothing is left of it. Every layer
 * that was asked for and fails stops the start, except those that are best effort by nature (oom_score_adj, entering
 * namespaces that the host refused to build, a confined service's own); what was reached is reported, not assumed.
 */
#ifndef CAPSTAN_JAIL_H
#define CAPSTAN_JAIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "../vatd/stage.h"

/*
 * Namespaces made once and entered by every vat: no network, no System V IPC, no host name, and one of two read-only
 * roots: empty, or (for `runtime host`) one with the host's programs and libraries, a few devices, and places for /proc
 * and for the companion files in /vat, which each vat gets as its own.
 */
enum { JAIL_NS_MNT, JAIL_NS_HOST_MNT, JAIL_NS_NET, JAIL_NS_IPC, JAIL_NS_UTS, JAIL_N_NS };
struct jail {
	int ns[JAIL_N_NS];	/* -1 in all: not built */
};
#define JAIL_INIT { .ns = { -1, -1, -1, -1, -1 } }

enum { JAIL_E_UNAVAILABLE = 1 };	/* the host refuses; errno says how */
int jail_build(struct jail *j);
void jail_deinit(struct jail *j);

#define JAIL_MAX_FDS	480u	/* that a process is given */

struct jail_limits {
	uint64_t memory;	/* RLIMIT_AS (runtime none), RLIMIT_DATA (host: interpreters reserve more than they use) */
	uint32_t n_procs;	/* processes and threads */
	uint32_t n_files;
};

struct jail_process {
	int exe_fd;			/* what to exec; all fds are borrowed */
	char *const *argv;
	char *const *envp;
	const int *fds;			/* become 3, 4, … ; -1 leaves a hole */
	size_t n_fds;
	bool set_ids;			/* change to uid and gid (as root) */
	uint32_t uid, gid;
	const char *oom_score;		/* NULL: as ours */
	bool confined;			/* a service: no network and no System V IPC where the host lets us, few descriptors */
	/* vats only; program_fd -1 means a service */
	int program_fd;
	bool host_runtime;
	const char *const *file_names;	/* n_fds - 1 of them: of fds[1] and on, shown in /vat (runtime host) */
	const struct jail *jail;
	struct jail_limits limits;
};

enum { JAIL_E_START = 1 };	/* report->text says why */
/* On success *pidp is a child of ours that runs the program, and report->isolation what it reached. */
int jail_start(const struct jail_process *p, pid_t *pidp, struct stage_report *report);

#endif
