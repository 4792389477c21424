/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The spawner: the one process that stays privileged. It starts and ends the others on requests of broker/spawn.h and
 * believes nothing that comes with them: every field is checked before anything is done, a bad request is answered with
 * a sentence and never obeyed in part. It parses no vat's data and opens nothing below the state folder.
 *
 * Invariants:
 *  - at most one live process per vat number and per uid offset; "live" ends when it is reaped, not when it is killed;
 *  - SPAWN_EXITED follows SPAWN_STARTED for each vat, and events keep their order;
 *  - a broker begins with no vat and no capstan-fs alive: those of a dead broker are killed and reaped first;
 *  - what a vat or broker started does not outlive it, with or without a pid namespace;
 *  - a capstan-fs that is stopped is ended, and its readers are woken: it would keep them for as long as it stands still;
 *  - the spawner never waits for the broker: while events cannot be sent no request is read, so at most one event per
 *    live process, and two more, ever wait.
 *
 *      RUNNING ──SIGTERM──▶ STOPPING ──broker exits, or 10 s──▶ DRAINING(exit)
 *         └──broker dies──▶ DRAINING(restart) ──all reaped──▶ RUNNING, or exit after too many deaths
 */
#ifndef CAPSTAN_SPAWNER_H
#define CAPSTAN_SPAWNER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "fsmount.h"
#include "jail.h"
#include "spawn.h"

#define SPAWNER_STOP_MS		10000u	/* for the broker to commit and leave after SPAWN_STOP */
#define SPAWNER_KILL_MS		2000u	/* for it to be gone after SIGKILL */
#define SPAWNER_DEATH_WINDOW_S	60u
#define SPAWNER_MAX_DEATHS	1000u
#define SPAWNER_EXIT_REFUSED	3	/* the broker's "I cannot start, do not try again" */
#define SPAWNER_DEFAULT_FILES	64u
#define SPAWNER_DEFAULT_MEMORY	(1ull << 30)
#define SPAWNER_DEFAULT_PROCS	1u
#define SPAWNER_HOST_MEMORY	(4ull << 30)
#define SPAWNER_HOST_PROCS	64u

/* All fds are borrowed and outlive the spawner. */
struct spawner_config {
	int vatd_fd;			/* capstan-vatd */
	int fs_exe_fd;			/* capstan-fs; -1: there is none */
	struct fsmount mount;
	bool no_mount;			/* capstan-fs serves fs_listen_fd alone */
	int fs_listen_fd;		/* RUN/fs.sock; -1: none */
	const char *fs_hide;		/* what the group is not shown, as words of capstan-fs(8); NULL: nothing */
	bool privileged;		/* own uids for all; else everything runs as we do */
	uint32_t uid_base;		/* of the vats' block */
	uint32_t fs_uid;
	char *const *service_env;
	const struct jail *jail;
	bool insecure_no_seccomp;
	unsigned max_broker_deaths;
	/* Start a broker: its process and our end of the pair. NULL: broker_fd is given and its end of file is its exit. */
	int (*start_broker)(void *ctx, int *fdp, pid_t *pidp);
	void (*on_ready)(void *ctx);	/* SPAWN_READY arrived for the first time; may be NULL */
	void (*on_stopping)(void *ctx);	/* may be NULL */
	void *ctx;
};

enum spawner_phase { SPAWNER_RUNNING, SPAWNER_STOPPING, SPAWNER_DRAINING };

struct spawner_vat {
	uint64_t vat;
	uint32_t incarnation;
	uint32_t uid_offset;
	pid_t pid;
};

struct spawner {
	const struct spawner_config *config;
	enum spawner_phase phase;
	int signal_fd;
	int broker_fd;
	pid_t broker_pid;		/* 0: none to reap */
	pid_t fs_pid;			/* 0: not running */
	bool mounted;
	bool ready;
	struct spawner_vat *vats;
	size_t n_vats, vats_size;
	struct spawn_event *events;	/* not yet sent, in order */
	size_t n_events, events_size;
	uint64_t stop_deadline_ns;
	bool broker_killed;		/* by us, at its deadline */
	uint64_t deaths_ns[SPAWNER_MAX_DEATHS];	/* a ring of the last deaths */
	unsigned n_deaths;
	bool restart;			/* DRAINING: what follows */
	int exit_status;
};

/* Blocks the signals it serves (SIGTERM, SIGINT, SIGHUP, SIGCHLD). broker_fd (taken) only without start_broker. */
int spawner_init(struct spawner *s, const struct spawner_config *config, int broker_fd);
/* Serve until all is over: the exit status. Negative: our own failure; spawner_deinit() still cleans up. */
int spawner_run(struct spawner *s);
void spawner_deinit(struct spawner *s);	/* kills and reaps what lives, detaches the mount */

#endif
