/* SPDX-License-Identifier: Apache-2.0 */
/* The mount's life, names and attributes: see mount.h. */
#include "mount_impl.h"

#include <fcntl.h>
#include <sys/stat.h>

#define REQUESTS_PER_ROUND	64	/* then others get their look */
#define CONSTANT_S		60.0	/* seconds the kernel may remember what never changes */

int mount_look(fuse_req_t req, struct node n, look_fn look, void *arg)
{
	return look_at(&mount_of(req)->common->look, n.snapshot, look, arg);
}

bool mount_node(fuse_req_t req, fuse_ino_t ino, struct node *outp)
{
	int error = access_refused(&mount_of(req)->common->access, fuse_req_ctx(req)->uid) ? EACCES :
		    node_from_ino(ino, outp) ? 0 : ENOENT;

	if (error)
		fuse_reply_err(req, error);
	return !error;
}

double mount_frozen_left(const struct mount *m, uint32_t snapshot)
{
	return (double)frozen_left_ns(&m->common->look.frozen, snapshot) / 1e9;
}

/* --- attributes ------------------------------------------------------------------------------------------------ */

struct sizing { struct node node; uint64_t size, mtime_us; };

static int find_log_size(struct view *v, void *arg)
{
	struct sizing *s = arg;

	return tree_size(v, s->node, &s->size, &s->mtime_us);
}

/* In a frozen tree: that it is there, and of a file how much it will give. */
static int find_frozen_size(struct view *v, void *arg)
{
	_cleanup_(text_deinit) struct text t = TEXT_INIT(SESSION_MAX_TEXT);
	struct sizing *s = arg;
	int r;

	if (node_type(s->node) == NODE_LINK)	/* whose number is that of what it leads to */
		return 0;
	r = tree_exists(v, s->node);
	if (r || node_type(s->node) != NODE_FILE)
		return r;
	r = tree_render(v, s->node, &t);
	s->size = t.len;
	return !r && t.failed ? -ENOMEM : r;
}

static struct timespec time_of(uint64_t us)
{
	return (struct timespec){ .tv_sec = (time_t)(us / 1000000), .tv_nsec = (long)(us % 1000000) * 1000 };
}

static void set_size(struct stat *st, uint64_t size)
{
	st->st_size = size < INT64_MAX ? (off_t)size : INT64_MAX;
	st->st_blocks = (st->st_size + 511) / 512;	/* who copies files does not take it for one with holes */
}

/*
 * Attributes, and for how long they hold. Most follow from the kind, and a file's size is 0: read until the end, as in /proc. The
 * live log says how far it is; and in a frozen tree every size is true. Returns the errno to answer.
 */
static int fill_attr(fuse_req_t req, struct node n, struct stat *st, double *timeoutp)
{
	struct mount *m = mount_of(req);
	struct sizing s = { .node = n };
	char link[NODE_LINK_MAX];
	size_t len = 0;
	int error = 0;

	*st = (struct stat){
		.st_ino = node_ino(n), .st_mode = access_mode(&m->common->access, n),
		.st_nlink = 1,		/* one link of a directory: so nobody counts subdirectories by links */
		.st_uid = m->common->access.uid, .st_gid = m->common->access.gid,
		.st_atim = m->started, .st_mtim = m->started, .st_ctim = m->started, .st_blksize = 4096,
	};
	*timeoutp = CONSTANT_S;
	if (n.snapshot) {
		error = mount_look(req, n, find_frozen_size, &s);
		s.mtime_us = frozen_made_us(&m->common->look.frozen, n.snapshot);
		*timeoutp = mount_frozen_left(m, n.snapshot);
	} else if (node_format(n) == FORMAT_LOG && node_type(n) == NODE_FILE) {
		error = mount_look(req, n, find_log_size, &s);
		*timeoutp = 0;
	}
	set_size(st, s.size);
	if (s.mtime_us)
		st->st_mtim = st->st_ctim = time_of(s.mtime_us);
	if (node_type(n) == NODE_LINK && !tree_link(NULL, n, link, &len))
		st->st_size = (off_t)len;	/* 0 for a text that only the store knows: readers cope */
	return error;
}

/* --- names ----------------------------------------------------------------------------------------------------- */

struct lookup { struct node dir; const char *name; struct node found; };

static int look_up(struct view *v, void *arg)
{
	struct lookup *l = arg;

	return tree_find(v, l->dir, l->name, &l->found);
}

/* A name below `snapshot` is a state to be kept from now on, unless it is there. */
static int look_up_frozen(fuse_req_t req, const char *name, struct node *outp)
{
	*outp = (struct node){ NODE_ROOT, 0, 0 };
	return look_frozen(&mount_of(req)->common->look, name, fuse_req_ctx(req)->uid, &outp->snapshot);
}

/* How long the kernel may remember a name: what the table of the tree fixes does not change, nor does what is frozen. */
static int find_name(fuse_req_t req, struct lookup *l, double *timeoutp)
{
	*timeoutp = 0;
	if (node_type(l->dir) != NODE_DIR)
		return ENOTDIR;
	if (strlen(l->name) > NODE_NAME_MAX)
		return ENAMETOOLONG;
	if (l->dir.kind == NODE_SNAPSHOTS)
		return look_up_frozen(req, l->name, &l->found);
	if (!l->dir.snapshot && tree_find_fixed(l->dir, l->name, &l->found)) {
		*timeoutp = CONSTANT_S;
		return 0;
	}
	if (l->dir.snapshot)
		*timeoutp = mount_frozen_left(mount_of(req), l->dir.snapshot);
	return mount_look(req, l->dir, look_up, l);
}

static void do_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param e = { 0 };
	struct lookup l = { .name = name };
	int error;

	if (!mount_node(req, parent, &l.dir))
		return;
	error = find_name(req, &l, &e.entry_timeout);
	if (!error)
		error = fill_attr(req, l.found, &e.attr, &e.attr_timeout);
	if (error) {
		fuse_reply_err(req, error);
		return;
	}
	e.ino = node_ino(l.found);
	fuse_reply_entry(req, &e);
}

static void do_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	double timeout;
	struct stat st;
	struct node n;
	int error;

	(void)fi;
	if (!mount_node(req, ino, &n))
		return;
	error = fill_attr(req, n, &st, &timeout);
	if (error)
		fuse_reply_err(req, error);
	else
		fuse_reply_attr(req, &st, timeout);
}

struct reading { struct node link; char text[NODE_LINK_MAX]; size_t len; };

static int read_link(struct view *v, void *arg)
{
	struct reading *r = arg;

	return tree_link(v, r->link, r->text, &r->len);
}

static void do_readlink(fuse_req_t req, fuse_ino_t ino)
{
	struct reading r;
	int error = 0;

	if (!mount_node(req, ino, &r.link))
		return;
	if (node_type(r.link) != NODE_LINK)
		error = EINVAL;
	else if (r.link.snapshot || tree_link(NULL, r.link, r.text, &r.len))
		error = mount_look(req, r.link, read_link, &r);
	if (error)
		fuse_reply_err(req, error);
	else
		fuse_reply_readlink(req, r.text);
}

static void do_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct statvfs st = { .f_bsize = 4096, .f_frsize = 4096, .f_namemax = NODE_NAME_MAX };

	(void)ino;
	fuse_reply_statfs(req, &st);
}

static void do_init(void *userdata, struct fuse_conn_info *conn)
{
	(void)userdata;
	/* Splicing buys nothing for texts of a few KiB, and needs pipes, which the seccomp filter does not know. */
	conn->want &= ~(unsigned int)(FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE);
	/* Names are not cached, so attributes sent along with a listing would be thrown away. */
	conn->want &= ~(unsigned int)(FUSE_CAP_READDIRPLUS | FUSE_CAP_READDIRPLUS_AUTO);
}

static const struct fuse_lowlevel_ops operations = {
	.init = do_init, .lookup = do_lookup, .getattr = do_getattr, .readlink = do_readlink, .open = do_open,
	.read = do_read, .poll = do_poll, .release = do_release, .opendir = do_opendir, .readdir = do_readdir, .releasedir = do_release,
	.statfs = do_statfs,
};

/* --- life ------------------------------------------------------------------------------------------------------ */

/* Answer what waits. */
static int on_request(struct loop_source *source, uint32_t events)
{
	struct mount *m = container_of(source, struct mount, source);

	(void)events;
	for (int i = 0; i < REQUESTS_PER_ROUND && !m->common->look.broker_gone; i++) {
		int r = fuse_session_receive_buf(m->fuse, &m->buf);

		if (r == -EAGAIN || r == -EINTR)
			return 0;
		if (r == -ENOENT)	/* that request was interrupted before we had it */
			continue;
		if (r < 0 && r != -ENODEV)
			return error_trace(r);
		if (r > 0)
			fuse_session_process_buf(m->fuse, &m->buf);
		mount_events_interrupted(m);
		if (r <= 0 || fuse_session_exited(m->fuse)) {
			*m->endp = true;
			return 0;
		}
	}
	return 0;
}

static void mount_freep(struct mount **mp) { mount_free(*mp); }

static int mount_take(struct mount *m, int fd)
{
	char path[32];
	int flags;

	snprintf(path, sizeof(path), "/dev/fd/%d", fd);
	if (fuse_session_mount(m->fuse, path))
		return error_origin(EINVAL);
	flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK))
		return error_origin(errno);
	return loop_add(&m->common->loop, &m->source, fd, EPOLLIN);
}

int mount_new(struct mount **mountp, struct common *common, int fuse_fd, bool *endp)
{
	_cleanup_(mount_freep) struct mount *m = calloc(1, sizeof(*m));
	char *argv[] = { (char *)"capstan-fs", NULL };
	struct fuse_args args = FUSE_ARGS_INIT(1, argv);
	int r;

	if (!m)
		return error_origin(ENOMEM);
	m->common = common;
	m->endp = endp;
	m->source = (struct loop_source)LOOP_SOURCE_INIT(on_request);
	clock_gettime(CLOCK_REALTIME, &m->started);
	mount_events_init(m);
	m->fuse = fuse_session_new(&args, &operations, sizeof(operations), m);
	fuse_opt_free_args(&args);
	if (!m->fuse)
		return error_origin(EINVAL);
	r = mount_take(m, fuse_fd);
	if (r)
		return error_trace(r);
	*mountp = TAKE_PTR(m);
	return 0;
}

struct mount *mount_free(struct mount *m)
{
	if (!m)
		return NULL;
	mount_events_deinit(m);
	while (m->open)
		open_node_free(m, m->open);
	loop_remove(&m->common->loop, &m->source);
	if (m->fuse)
		fuse_session_destroy(m->fuse);
	free(m->buf.mem);
	free(m);
	return NULL;
}
