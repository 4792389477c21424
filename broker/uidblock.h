/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An instance's block of 65,536 uids, one for each vat. Blocks start at UIDBLOCK_FIRST + n * UIDBLOCK_SIZE, all in the
 * part of the 32-bit uid range that nobody else claims (systemd's table calls it unused up to UIDBLOCK_END).
 *
 * Holding a block is holding a lock on a file common to the host, for as long as the instance runs. Which block it is
 * gets recorded once in STATE/instance, so that a vat keeps its uid over restarts. The record is a root-owned file
 * of the spawner and not a row of the store: the broker, which writes the store, is trusted less than the spawner, and
 * a broker that could choose the block could have vats started under the uids of another instance.
 */
#ifndef CAPSTAN_UIDBLOCK_H
#define CAPSTAN_UIDBLOCK_H

#include <stdint.h>
#include <sys/types.h>

#define UIDBLOCK_FIRST		0x70000000u
#define UIDBLOCK_SIZE		0x10000u
#define UIDBLOCK_END		0x7FFE0000u	/* the last block ends here */
#define UIDBLOCK_SERVICES	0x4000u		/* uids of brokers and capstan-fs start this far below the blocks */
#define UIDBLOCK_LOCK_DIR	"/run/lock/capstan"

struct uidblock {
	int lock_fd;		/* the lock lives as long as this does */
	uint32_t base;
};
#define UIDBLOCK_INIT { .lock_fd = -1 }

enum uidblock_outcome {
	UIDBLOCK_E_HELD = 1,	/* the wanted block belongs to a running instance: *holderp is its pid, or 0 */
	UIDBLOCK_E_NONE = 2,	/* all are taken */
	UIDBLOCK_E_DIR = 3,	/* the lock folder cannot be made, or others may write in it; errno says */
	UIDBLOCK_E_ABSENT = 4,	/* no block is recorded */
	UIDBLOCK_E_BAD = 5,	/* the record is not one */
};

/* Claim `recorded`, or when that is 0 the first free block from `first`. */
int uidblock_claim(struct uidblock *b, const char *lock_dir, uint32_t first, uint32_t recorded, pid_t *holderp);
void uidblock_deinit(struct uidblock *b);

int uidblock_read_record(int state_fd, uint32_t *basep);
int uidblock_write_record(int state_fd, uint32_t base);	/* durable when it returns 0 */

/* Uid and gid of the broker and of capstan-fs: below all blocks, so never a vat's. */
uint32_t uidblock_broker_uid(uint32_t base);
uint32_t uidblock_fs_uid(uint32_t base);

/* Take a lock for life, or learn who has it. *fdp is the locked file, which then names our pid. 1: held by *holderp. */
int uidblock_lock_file(int dir_fd, const char *name, int *fdp, pid_t *holderp);

#endif
