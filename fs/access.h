/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may read what. The mount's kernel side enforces the modes (default_permissions); for those who come by the socket
 * access_may() says the same. Users of the blocks, as whom vats run, are refused whatever the modes say.
 */
#ifndef CAPSTAN_FS_ACCESS_H
#define CAPSTAN_FS_ACCESS_H

#include <sys/types.h>

#include "tree.h"

struct access {
	uid_t uid;		/* owner of everything: root, or whose kernel it is */
	gid_t gid;		/* group that may read */
	bool world;		/* everybody may read */
	unsigned int hide;	/* enum mount_hide (lib/config.h): for the owner only */
	uid_t uid_block, uid_block_last;	/* users who never read anything; last < first: there are none */
};

/* Type and permissions, as in st_mode. Hidden: 0400. Links 0777. */
mode_t access_mode(const struct access *a, struct node n);
/* A user as whom a vat may run: EACCES for whatever it asks. */
bool access_refused(const struct access *a, uid_t uid);
/* May that user (with its supplementary groups) list this directory and go through it, read this file, follow this link? */
bool access_may(const struct access *a, uid_t uid, gid_t gid, const gid_t *groups, size_t n_groups, struct node n);

#endif
