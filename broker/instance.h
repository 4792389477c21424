/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An instance of the kernel on the file system: the state folder, the run folder, the locks that make it the only
 * one on either, its uid block, the control socket and the pid file. Set up once by the spawner, while it still has all
 * privileges, and held until the end.
 *
 *	STATE/           root 0711	lock, instance (the uid block)
 *	STATE/store/     broker 02710, group capstan-fs: what the broker makes in it belongs to that group, so that
 *	                 data.mdb (0640) can be read by capstan-fs and by nobody else
 *	RUN/             root 0755	lock, capstand.pid, control.sock, fs.sock, capstand.log (when not in the foreground), fs/
 */
#ifndef CAPSTAN_INSTANCE_H
#define CAPSTAN_INSTANCE_H

#include <stdbool.h>

#include "uidblock.h"

struct instance {
	int state_fd, run_fd, store_fd;
	int state_lock_fd, run_lock_fd;
	int control_fd;			/* listening */
	int fs_listen_fd;		/* fs.sock, for capstan-fs */
	struct uidblock uids;		/* only when privileged */
	bool privileged;		/* started as root */
};
#define INSTANCE_INIT { .state_fd = -1, .run_fd = -1, .store_fd = -1, .state_lock_fd = -1, .run_lock_fd = -1, \
			.control_fd = -1, .fs_listen_fd = -1, .uids = UIDBLOCK_INIT }

enum { INSTANCE_E_REFUSED = 1 };	/* one line in the log said why */
/* Make and lock the run folder; then state, uids, socket and pid file. Two steps: the log may lie in the run folder. */
int instance_open_run(struct instance *i, const char *run);
int instance_open(struct instance *i, const char *state, uint32_t uid_base);
/*
 * RUN/fs.sock, which outlives every capstan-fs: for all when `world`, else for the owner and the group capstan. Only what
 * keeps strangers away from the door: who connects is judged by capstan-fs, by the credentials of the connection.
 */
int instance_listen_fs(struct instance *i, bool world);
/* Removes sockets and pid file when instance_open() made them; the locks go last. */
void instance_deinit(struct instance *i);

#endif
