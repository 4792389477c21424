/* SPDX-License-Identifier: Apache-2.0 */
/* Modes: see access.h. */
#include "access.h"

#include <sys/stat.h>

#include "../lib/config.h"

/* What the administrator hides is named by the configuration; what a file is, by the tree. */
_Static_assert((unsigned int)MOUNT_HIDE_PARAMETERS == 1u << (NODE_PARAMETERS - 1) && (unsigned int)MOUNT_HIDE_BAGGAGE == 1u << (NODE_BAGGAGE - 1) &&
	       (unsigned int)MOUNT_HIDE_VALUES == 1u << (NODE_VALUES - 1) && (unsigned int)MOUNT_HIDE_LOGS == 1u << (NODE_LOGS - 1),
	       "one numbering");

static bool is_hidden(const struct access *a, struct node n)
{
	return node_class(n) != NODE_PUBLIC && a->hide & 1u << (node_class(n) - 1);
}

mode_t access_mode(const struct access *a, struct node n)
{
	switch (node_type(n)) {
	case NODE_LINK:
		return S_IFLNK | 0777;
	case NODE_DIR:
		return S_IFDIR | (is_hidden(a, n) ? 0500 : a->world ? 0555 : 0550);
	default:
		return S_IFREG | (is_hidden(a, n) ? 0400 : a->world ? 0444 : 0440);
	}
}

bool access_refused(const struct access *a, uid_t uid)
{
	return uid >= a->uid_block && uid <= a->uid_block_last;
}

static bool is_member(gid_t wanted, gid_t gid, const gid_t *groups, size_t n_groups)
{
	if (gid == wanted)
		return true;
	for (size_t i = 0; i < n_groups; i++)
		if (groups[i] == wanted)
			return true;
	return false;
}

bool access_may(const struct access *a, uid_t uid, gid_t gid, const gid_t *groups, size_t n_groups, struct node n)
{
	mode_t mode = access_mode(a, n);

	if (access_refused(a, uid))
		return false;
	if (uid == 0)
		return true;
	if (uid == a->uid)
		return mode & S_IRUSR;
	return mode & (is_member(a->gid, gid, groups, n_groups) ? S_IRGRP : S_IROTH);
}
