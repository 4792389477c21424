/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Walking a path: see path.h. The text of a link is put in front of what is left, and the walk goes on from the
 * directory that the link is in.
 */
#include "path.h"

static int name_of(const char *rest, char name[NODE_NAME_MAX + 1], size_t *lenp)
{
	size_t len = strcspn(rest, "/");

	if (len > NODE_NAME_MAX)
		return ENAMETOOLONG;
	memcpy(name, rest, len);
	name[len] = '\0';
	*lenp = len;
	return 0;
}

static void drop(struct path *p, size_t n)
{
	memmove(p->rest, p->rest + n, strlen(p->rest + n) + 1);
}

int path_init(struct path *p, const char *text, bool last_link)
{
	size_t len = strlen(text);

	if (len >= PATH_TEXT_MAX)
		return ENAMETOOLONG;
	p->dirs[0] = p->found = NODE_ROOT_LIVE;
	p->n_dirs = 1;
	p->n_links = 0;
	p->last_link = last_link;
	memcpy(p->rest, text, len + 1);
	return 0;
}

static struct node here(const struct path *p)
{
	return p->dirs[p->n_dirs - 1];
}

uint32_t path_tree(const struct path *p)
{
	return here(p).snapshot;
}

const char *path_name(const struct path *p, char name[NODE_NAME_MAX + 1])
{
	size_t len;
	int r = name_of(p->rest, name, &len);

	assert(!r && len);
	return name;
}

static void descend(struct path *p, struct node dir)
{
	assert(p->n_dirs < PATH_DEPTH_MAX);
	p->dirs[p->n_dirs++] = dir;
}

void path_enter(struct path *p, struct node dir)
{
	drop(p, strcspn(p->rest, "/"));
	descend(p, dir);
}

/* Its text stands for the name of `len` bytes, and is walked instead. */
static int follow(struct path *p, struct view *v, struct node link, size_t len)
{
	char text[NODE_LINK_MAX];
	size_t link_len;
	int r;

	if (p->n_links == PATH_LINKS_MAX)
		return ELOOP;
	r = tree_link(v, link, text, &link_len);
	if (r)
		return r < 0 ? r : r == VIEW_E_ABSENT ? ENOENT : EIO;
	p->n_links++;
	memmove(p->rest + link_len, p->rest + len, strlen(p->rest + len) + 1);
	memcpy(p->rest, text, link_len);
	return 0;
}

/* The name of `len` bytes that comes next is `n`; *donep when that is what was looked for. */
static int step(struct path *p, struct view *v, struct node n, size_t len, bool *donep)
{
	bool last = !p->rest[len];

	if (node_type(n) == NODE_LINK && !(last && p->last_link))
		return follow(p, v, n, len);
	if (node_type(n) == NODE_DIR) {
		drop(p, len);
		descend(p, n);
		return 0;
	}
	if (!last)
		return ENOTDIR;
	p->found = n;
	*donep = true;
	return 0;
}

static void climb(struct path *p)
{
	drop(p, 2);
	if (p->n_dirs > 1)
		p->n_dirs--;
}

/* The next name, from the directory where the walk is. */
static int walk_name(struct path *p, struct view *v, bool *donep)
{
	char name[NODE_NAME_MAX + 1];
	struct node n;
	size_t len;
	int r = name_of(p->rest, name, &len);

	if (r)
		return r;
	if (!strcmp(name, "..") || !strcmp(name, ".")) {
		if (name[1])
			climb(p);
		else
			drop(p, 1);
		return 0;
	}
	if (here(p).kind == NODE_SNAPSHOTS)
		return PATH_E_FROZEN;
	r = tree_find(v, here(p), name, &n);
	if (r)
		return r < 0 ? r : r == VIEW_E_ABSENT ? ENOENT : EIO;
	return step(p, v, n, len, donep);
}

int path_walk(struct path *p, struct view *v, path_may may, void *ctx)
{
	bool done = false;

	while (!done) {
		int r;

		drop(p, strspn(p->rest, "/"));
		if (!*p->rest) {
			p->found = here(p);
			return 0;
		}
		if (!may(ctx, here(p)))
			return EACCES;
		if (path_tree(p) != v->snapshot)
			return PATH_E_LEG;
		r = walk_name(p, v, &done);
		if (r)
			return r;
	}
	return 0;
}
