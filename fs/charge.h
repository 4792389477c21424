/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What readers hold of this process: open files, directories and answers that wait, and their bytes; each charged to
 * the user who asked. Beyond its share a user gets EMFILE, beyond everybody's ENFILE; so who takes all it can get hurts itself.
 * Root always has its own share.
 *
 * A charge lives inside what it pays for. When all were dropped nothing is left, which charges_deinit() asserts.
 */
#ifndef CAPSTAN_FS_CHARGE_H
#define CAPSTAN_FS_CHARGE_H

#include <sys/types.h>

#include "../lib/util.h"

#define CHARGE_MAX_THINGS	1024u
#define CHARGE_MAX_UID_THINGS	256u
#define CHARGE_MAX_BYTES	(512u << 20)
#define CHARGE_MAX_UID_BYTES	(128u << 20)

struct charge_user;
struct charges {
	struct charge_user *users;	/* who hold anything; the last that came, first */
	size_t n, n_bytes;
};
#define CHARGES_INIT { 0 }
void charges_deinit(struct charges *c);

struct charge {
	struct charge_user *user;	/* NULL: nothing is charged */
	size_t bytes;
};
#define CHARGE_INIT { 0 }
/* One more thing of `bytes` bytes. 0, EMFILE, ENFILE or ENOMEM. */
int charge_take(struct charges *c, struct charge *charge, uid_t uid, size_t bytes);
/* It has another size now. 0, EMFILE or ENFILE: then the charge is as it was. */
int charge_resize(struct charges *c, struct charge *charge, size_t bytes);
void charge_drop(struct charges *c, struct charge *charge);

#endif
