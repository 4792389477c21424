/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Walking a path of the tree for those who come by the socket, as the Linux kernel walks one below the mount: by
 * names, ".", ".." and links, with leave to search each directory on the way.
 *
 * All paths begin at the root of the tree, with or without a slash; ".." of the root is the root; "" is the root. A
 * slash at the end asks for a directory. A walk can cross from the live tree into a frozen one and back, each of
 * which is looked at in a state of its own: so it goes in legs, one for each tree, and path_walk() says when a leg is
 * over. Who may have to repeat a leg works on a copy.
 */
#ifndef CAPSTAN_FS_PATH_H
#define CAPSTAN_FS_PATH_H

#include "tree.h"

#define PATH_TEXT_MAX	4096u	/* bytes of a path, NUL included */
#define PATH_LINKS_MAX	40u	/* on the way */
#define PATH_DEPTH_MAX	16u	/* of the tree itself */

enum {
	PATH_E_LEG = 5000,	/* no errno: go on with a view of the tree path_tree() */
	PATH_E_FROZEN = 5001,	/* go on with path_enter(): path_name() is looked for among the frozen trees */
};

struct path {
	char rest[PATH_TEXT_MAX + PATH_LINKS_MAX * (NODE_LINK_MAX + 1)];	/* what is still to be walked */
	struct node dirs[PATH_DEPTH_MAX];	/* from the root to where the walk is */
	size_t n_dirs;
	unsigned int n_links;
	bool last_link;				/* a link at the end is what is asked for, unless a slash follows */
	struct node found;			/* after 0 */
};

/* May he go through this directory? */
typedef bool (*path_may)(void *ctx, struct node dir);

int path_init(struct path *p, const char *text, bool last_link);	/* 0 or ENAMETOOLONG */
uint32_t path_tree(const struct path *p);				/* of the next leg */
/*
 * One leg. 0: `found`. PATH_E_*. ENOENT, ENOTDIR, EACCES, ELOOP, ENAMETOOLONG, EIO (a damaged row), as open(2) has
 * them. Negative: the store could not be read.
 */
int path_walk(struct path *p, struct view *v, path_may may, void *ctx);
const char *path_name(const struct path *p, char name[NODE_NAME_MAX + 1]);	/* after PATH_E_FROZEN: what comes next */
void path_enter(struct path *p, struct node dir);				/* that is this directory; then the next leg */

#endif
