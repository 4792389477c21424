/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between the spawner (broker/jail.c) and capstan-vatd, the first stage inside a vat's process: which fds it finds, how
 * it is called and how it reports.
 *
 *	capstan-vatd --runtime=none|host [--insecure-no-seccomp] -- NAME [ARG…]
 *
 *	fd 3                    the vat's channel
 *	fd 4 … 3 + n            companion files, read-only, in the order of the cluster's configuration
 *	fd STAGE_PROGRAM_FD     the program, a sealed memfd; closes at the exec
 *	fd STAGE_REPORT_FD      struct stage_report packets; closes at the exec
 *
 * The last two lie above RLIMIT_NOFILE, so no later dup can make that number again: the one execveat() that the
 * seccomp filter allows names it, and works once.
 */
#ifndef CAPSTAN_STAGE_H
#define CAPSTAN_STAGE_H

#include <stdint.h>

#define STAGE_CHANNEL_FD	3
#define STAGE_PROGRAM_FD	500	/* below the usual soft limit of 1024, above any vat's RLIMIT_NOFILE */
#define STAGE_REPORT_FD		501
#define STAGE_EXE_FD		502	/* capstan-vatd itself, until it runs */
#define STAGE_MAX_NOFILE	STAGE_PROGRAM_FD

/* One write each, below PIPE_BUF. Both the spawner's child and capstan-vatd report what they reached, once. */
struct stage_report {
	uint32_t isolation;	/* SPAWN_ISO_* bits that the writer put on, or found on */
	uint32_t failed;	/* 1: text says why, the process exits */
	char text[184];		/* NUL-terminated */
};

#endif
