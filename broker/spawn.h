/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between broker and spawner: one SOCK_SEQPACKET pair, fixed-size requests one way, fixed-size events the
 * other. The spawner trusts nothing here: no paths, no pointers; programs and files arrive as open fds.
 */
#ifndef CAPSTAN_SPAWN_H
#define CAPSTAN_SPAWN_H

#include <stdint.h>

#define SPAWN_MAX_FILES	32u	/* companion files of a vat */
#define SPAWN_TEXT	8192u	/* argv and file names, NUL-separated */

enum spawn_op {
	SPAWN_VAT = 1,		/* fds: [0] the vat's end of the channel, [1] sealed memfd of the program, [2..] files */
	SPAWN_KILL = 2,		/* vat, incarnation */
	/* fds: [0] data.mdb read-only, [1] lease socket, [2] live page, [3] eventfd of events (may be left out); starts capstan-fs */
	SPAWN_MOUNT = 3,
	SPAWN_UNMOUNT = 4,	/* ends capstan-fs, MNT_DETACH */
	SPAWN_READY = 5,	/* the broker serves: tell whoever started us (sd_notify) */
};

enum spawn_runtime { RUNTIME_NONE = 0, RUNTIME_HOST = 1 };

struct spawn_limits {		/* 0: the spawner's default */
	uint64_t memory;	/* bytes */
	uint32_t n_procs;
	uint32_t n_files;
};

struct spawn_request {
	uint32_t op;
	uint32_t uid_offset;	/* in the instance's block; the spawner refuses what is outside or in use */
	uint64_t vat;
	uint32_t incarnation;
	uint32_t runtime;	/* enum spawn_runtime */
	uint32_t n_args;	/* argv[0] is the vat's name */
	uint32_t n_files;
	struct spawn_limits limits;
	uint32_t text_len;	/* n_args strings, then n_files names; each with its NUL */
	uint32_t zero;
	char text[SPAWN_TEXT];
};

enum spawn_event_kind {
	SPAWN_STARTED = 1,	/* pid, isolation */
	SPAWN_FAILED = 2,	/* text says why; no process is left */
	SPAWN_EXITED = 3,	/* pid, status (wait status); also after SPAWN_KILL */
	SPAWN_MOUNTED = 4,	/* capstan-fs runs; text: why there is no mount all the same, or empty */
	SPAWN_MOUNT_FAILED = 5,	/* text; there is no capstan-fs */
	SPAWN_FS_EXITED = 6,	/* status; the broker asks for MOUNT again */
	SPAWN_STOP = 7,		/* the spawner was told to stop (SIGTERM): finish, commit, exit 0 */
};

#define SPAWN_NO_MOUNT	"--no-mount was given"	/* the text of SPAWN_MOUNTED that is no news */

/* What a vat's process reached; 0 means a plain process. Shown as text by status and the mount. */
#define SPAWN_ISO_UID		0x0001u	/* own uid and gid, no groups */
#define SPAWN_ISO_NOCAPS	0x0002u	/* no capability, bounding set empty */
#define SPAWN_ISO_NNP		0x0004u	/* no_new_privs */
#define SPAWN_ISO_FDS		0x0008u	/* nothing but fd 3 and the files it was given */
#define SPAWN_ISO_SECCOMP	0x0010u
#define SPAWN_ISO_LANDLOCK	0x0020u
#define SPAWN_ISO_NAMESPACES	0x0040u	/* empty root; own mount, pid, net, ipc, uts */
#define SPAWN_ISO_CGROUP	0x0080u
#define SPAWN_ISO_RLIMITS	0x0100u

struct spawn_event {
	uint32_t kind;
	uint32_t incarnation;
	uint64_t vat;
	int32_t pid;
	int32_t status;
	uint32_t isolation;	/* SPAWN_ISO_* */
	uint32_t zero;
	char text[200];		/* NUL-terminated */
};

/* Fds that the broker finds at its start (capstand broker). */
enum broker_fd {
	BROKER_FD_SPAWNER = 3, BROKER_FD_CONTROL = 4, BROKER_FD_STORE_DIR = 5, BROKER_FD_CONFIG = 6,
	BROKER_FD_GIVEN = 7,	/* and on: what the configuration names, in its order (struct settings, lib/config.h) */
};

#endif
