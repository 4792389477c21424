/* SPDX-License-Identifier: Apache-2.0 */
/* The FUSE requests: see mount.h. */
#define FUSE_USE_VERSION 314

#include "mount.h"

#include <dirent.h>
#include <fcntl.h>
#include <fuse3/fuse_lowlevel.h>
#include <sys/stat.h>
#include <time.h>

#define REQUESTS_PER_ROUND	64	/* then others get their look */
#define CONSTANT_S		60.0	/* seconds the kernel may remember what never changes */

/* What one open() or opendir() holds. */
struct open_node {
	struct open_node *prev, *next;
	struct charge charge;
	struct text text;
	struct cursor cursor;	/* of a directory: where its listing stands, */
	uint64_t at;		/* which is after so many entries */
};

struct mount {
	struct common *common;
	struct fuse_session *fuse;
	struct fuse_buf buf;
	struct loop_source source;
	bool *endp;
	struct timespec started;	/* every file's time */
	struct open_node *open;
};

/* --- what is open ---------------------------------------------------------------------------------------------- */

static void open_node_link(struct mount *m, struct open_node *o)
{
	o->next = m->open;
	if (o->next)
		o->next->prev = o;
	m->open = o;
}

static void open_node_unlink(struct mount *m, struct open_node *o)
{
	if (o->prev)
		o->prev->next = o->next;
	else
		m->open = o->next;
	if (o->next)
		o->next->prev = o->prev;
}

/* Charged, linked, empty. */
static int open_node_new(struct mount *m, uid_t uid, struct open_node **openp)
{
	struct open_node *o = calloc(1, sizeof(*o));
	int error = o ? charge_take(&m->common->charges, &o->charge, uid, sizeof(*o)) : ENOMEM;

	if (error) {
		free(o);
		return error;
	}
	o->text = (struct text)TEXT_INIT(SESSION_MAX_TEXT);
	open_node_link(m, o);
	*openp = o;
	return 0;
}

static struct open_node *open_node_free(struct mount *m, struct open_node *o)
{
	if (!o)
		return NULL;
	open_node_unlink(m, o);
	charge_drop(&m->common->charges, &o->charge);
	text_deinit(&o->text);
	free(o);
	return NULL;
}

static struct open_node *open_node_of(const struct fuse_file_info *fi)
{
	return (struct open_node *)(uintptr_t)fi->fh;
}

/* --- requests -------------------------------------------------------------------------------------------------- */

static struct mount *mount_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

static int look_for(fuse_req_t req, struct node n, look_fn look, void *arg)
{
	return look_at(&mount_of(req)->common->look, n.snapshot, look, arg);
}

static void fill_attr(struct mount *m, struct node n, struct stat *st)
{
	char link[NODE_LINK_MAX];
	size_t len = 0;

	*st = (struct stat){
		.st_ino = node_ino(n), .st_mode = access_mode(&m->common->access, n),
		.st_nlink = 1,		/* one link of a directory: so nobody counts subdirectories by links */
		.st_uid = m->common->access.uid, .st_gid = m->common->access.gid,
		.st_atim = m->started, .st_mtim = m->started, .st_ctim = m->started, .st_blksize = 4096,
		/* size 0 and direct_io: read until the end, as in /proc */
	};
	if (node_type(n) == NODE_LINK && !tree_link(NULL, n, link, &len))
		st->st_size = (off_t)len;	/* 0 for a text that only the store knows: readers cope */
}

/* The node of a request. Answers itself when the number cannot be one of ours, and who may not ask at all. */
static bool node_of(fuse_req_t req, fuse_ino_t ino, struct node *outp)
{
	int error = access_refused(&mount_of(req)->common->access, fuse_req_ctx(req)->uid) ? EACCES :
		    node_from_ino(ino, outp) ? 0 : ENOENT;

	if (error)
		fuse_reply_err(req, error);
	return !error;
}

struct lookup { struct node dir; const char *name; struct node found; };

static int look_up(struct view *v, void *arg)
{
	struct lookup *l = arg;

	return tree_find(v, l->dir, l->name, &l->found);
}

static void do_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct lookup l = { .name = name };
	struct fuse_entry_param e = { .attr_timeout = CONSTANT_S };
	int error = 0;

	if (!node_of(req, parent, &l.dir))
		return;
	if (node_type(l.dir) != NODE_DIR)
		error = ENOTDIR;
	else if (strlen(name) > NODE_NAME_MAX)
		error = ENAMETOOLONG;
	else if (tree_find_fixed(l.dir, name, &l.found))
		e.entry_timeout = CONSTANT_S;
	else
		error = look_for(req, l.dir, look_up, &l);
	if (error) {
		fuse_reply_err(req, error);
		return;
	}
	e.ino = node_ino(l.found);
	fill_attr(mount_of(req), l.found, &e.attr);
	fuse_reply_entry(req, &e);
}

static void do_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct stat st;
	struct node n;

	(void)fi;
	if (!node_of(req, ino, &n))
		return;
	fill_attr(mount_of(req), n, &st);
	fuse_reply_attr(req, &st, CONSTANT_S);
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

	if (!node_of(req, ino, &r.link))
		return;
	if (node_type(r.link) != NODE_LINK)
		error = EINVAL;
	else if (tree_link(NULL, r.link, r.text, &r.len))
		error = look_for(req, r.link, read_link, &r);
	if (error)
		fuse_reply_err(req, error);
	else
		fuse_reply_readlink(req, r.text);
}

struct making { struct node node; struct open_node *open; };

static int make_text(struct view *v, void *arg)
{
	struct making *m = arg;
	int r;

	text_reset(&m->open->text);
	r = tree_render(v, m->node, &m->open->text);
	return !r && m->open->text.failed ? -ENOMEM : r;
}

/* Of a directory nothing is made when it is opened, but it must be there. */
static int find_directory(struct view *v, void *arg)
{
	struct making *m = arg;

	return tree_exists(v, m->node);
}

/* Make what is to be read, charge it, hand it out. Returns the errno to answer. */
static int open_made(fuse_req_t req, struct node n, look_fn make, struct open_node *o)
{
	struct making m = { .node = n, .open = o };
	int error = look_for(req, n, make, &m);

	if (error)
		return error;
	text_shrink(&o->text);
	return charge_resize(&mount_of(req)->common->charges, &o->charge, sizeof(*o) + o->text.size);
}

static void reply_open(fuse_req_t req, struct fuse_file_info *fi, struct node n, look_fn make)
{
	struct mount *m = mount_of(req);
	struct open_node *o = NULL;
	int error = open_node_new(m, fuse_req_ctx(req)->uid, &o);

	if (!error)
		error = open_made(req, n, make, o);
	fi->fh = (uintptr_t)o;
	/* An opener that was interrupted will not release it. */
	if (error ? (fuse_reply_err(req, error), true) : fuse_reply_open(req, fi) != 0)
		open_node_free(m, o);
}

static void do_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct node n;

	if (!node_of(req, ino, &n))
		return;
	if (node_type(n) != NODE_FILE || (fi->flags & O_ACCMODE) != O_RDONLY) {
		fuse_reply_err(req, node_type(n) == NODE_DIR ? EISDIR : EACCES);
		return;
	}
	fi->direct_io = 1;
	reply_open(req, fi, n, make_text);
}

static void do_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct node n;

	if (!node_of(req, ino, &n))
		return;
	if (node_type(n) != NODE_DIR) {
		fuse_reply_err(req, ENOTDIR);
		return;
	}
	reply_open(req, fi, n, find_directory);
}

static void do_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi)
{
	const struct text *t = &open_node_of(fi)->text;
	size_t left;

	(void)ino;
	if (offset < 0 || (uint64_t)offset >= t->len) {
		fuse_reply_buf(req, NULL, 0);
		return;
	}
	left = t->len - (size_t)offset;
	fuse_reply_buf(req, t->data + offset, size < left ? size : left);
}

/* One answer to readdir(): entries from the one at `from` on, as many as fit. */
struct listing {
	fuse_req_t req;
	struct node dir;
	struct open_node *open;
	uint64_t from;
	char *buf;
	size_t size, len;
};

static bool take_entry(void *ctx, struct node n, const char *name)
{
	struct listing *l = ctx;
	struct stat st = {
		.st_ino = node_ino(n),
		.st_mode = node_type(n) == NODE_DIR ? S_IFDIR : node_type(n) == NODE_LINK ? S_IFLNK : S_IFREG,
	};
	size_t need;

	if (l->open->at >= l->from) {	/* else it was in an earlier answer */
		need = fuse_add_direntry(l->req, l->buf + l->len, l->size - l->len, name, &st, (off_t)l->open->at + 1);
		if (need > l->size - l->len)
			return false;
		l->len += need;
	}
	l->open->at++;
	return true;
}

/*
 * Offsets of a directory count entries. Who reads on goes on from the cursor, in the state of now; any other offset is looked
 * for from the beginning, so one that a reader makes up is harmless.
 */
static int make_listing(struct view *v, void *arg)
{
	struct listing *l = arg;
	struct open_node *o = l->open;

	l->len = 0;
	o->cursor.take = take_entry;
	o->cursor.ctx = l;
	if (o->at != l->from) {
		cursor_rewind(&o->cursor);
		o->at = 0;
	}
	return o->cursor.end ? 0 : tree_list(v, l->dir, &o->cursor);
}

static void do_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi)
{
	struct listing l = { .req = req, .open = open_node_of(fi), .size = size < MOUNT_MAX_LISTING ? size : MOUNT_MAX_LISTING };
	struct cursor before = l.open->cursor;
	uint64_t at = l.open->at;
	int error;

	if (!node_of(req, ino, &l.dir))
		return;
	l.from = offset < 0 ? UINT64_MAX : (uint64_t)offset;
	l.buf = malloc(l.size + 1);
	error = l.buf ? look_for(req, l.dir, make_listing, &l) : ENOMEM;
	if (error) {
		l.open->cursor = before;
		l.open->at = at;
		fuse_reply_err(req, error);
	} else {
		fuse_reply_buf(req, l.buf, l.len);
	}
	free(l.buf);
}

static void do_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	open_node_free(mount_of(req), open_node_of(fi));
	fuse_reply_err(req, 0);
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
	.read = do_read, .release = do_release, .opendir = do_opendir, .readdir = do_readdir, .releasedir = do_release,
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
	while (m->open)
		open_node_free(m, m->open);
	loop_remove(&m->common->loop, &m->source);
	if (m->fuse)
		fuse_session_destroy(m->fuse);
	free(m->buf.mem);
	free(m);
	return NULL;
}
