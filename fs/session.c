/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The FUSE session loop and its requests.
 *
 * A store that cannot be read is the reader's EIO and a line in the log, not the end of this process: there is nothing
 * here that stopping would protect, and every other file may still be good.
 */
#define FUSE_USE_VERSION 314

#include "session.h"

#include <dirent.h>
#include <fcntl.h>
#include <fuse3/fuse_lowlevel.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <time.h>

#define REQUESTS_PER_ROUND	64	/* then the lease socket gets its look */
#define CONSTANT_S		60.0	/* seconds the kernel may remember what never changes */

/* What one open() or opendir() holds; the charge of its reader. */
struct open_node {
	struct open_node *prev, *next;
	uid_t uid;
	size_t bytes;		/* charged */
	struct text text;
	struct cursor cursor;	/* of a directory: where its listing stands, */
	uint64_t at;		/* which is after so many entries */
};

struct session {
	struct fuse_session *fuse;
	struct fuse_buf buf;
	struct session_options options;
	int epoll_fd;
	struct timespec started;	/* every file's time */
	struct open_node *open;
	size_t n_open, n_bytes;
	bool has_snapshot;		/* the reader is inside one, under the lease */
	bool broker_gone;
};

/* --- snapshots ------------------------------------------------------------------------------------------------- */

/* Look at one snapshot: 0 or VIEW_E_*. Called again from the start when the lease ran out. */
typedef int (*look_fn)(struct view *v, void *arg);

static uint64_t store_bytes(int data_fd)
{
	struct stat st;

	return fstat(data_fd, &st) ? 0 : (uint64_t)st.st_size;
}

/* A snapshot and its lease come and go together. */
static int snapshot_take(struct session *s, int *leasep)
{
	int r = 0;

	*leasep = lease_acquire(s->options.lease);
	if (*leasep)
		return 0;
	r = reader_begin(s->options.reader);
	if (r)
		*leasep = lease_release(s->options.lease);
	else
		s->has_snapshot = true;
	return r;
}

static int snapshot_drop(struct session *s)
{
	if (!s->has_snapshot)
		return 0;
	s->has_snapshot = false;
	reader_end(s->options.reader);
	return lease_release(s->options.lease);
}

/*
 * One try. Outcomes of `look`; LEASE_E_* come back in *leasep. The snapshot stays for the next request as long as the
 * broker has not committed since (asking for each of them costs two wake-ups, and the broker its time).
 */
static int look_once(struct session *s, look_fn look, void *arg, int *leasep)
{
	struct view v = { .reader = s->options.reader };
	int r = 0;

	*leasep = 0;
	if (s->has_snapshot && !lease_is_current(s->options.lease))
		*leasep = snapshot_drop(s);
	if (!*leasep && !s->has_snapshot)
		r = snapshot_take(s, leasep);
	if (*leasep || r)
		return r;
	v.now_us = now_realtime_us();
	v.store_bytes = store_bytes(s->options.data_fd);
	r = look(&v, arg);
	*leasep = lease_check(s->options.lease);
	if ((*leasep || r < 0 || !lease_is_current(s->options.lease)) && snapshot_drop(s))
		*leasep = LEASE_E_GONE;
	return r;
}

/* Returns what to answer: 0 or a positive errno. */
static int session_look(struct session *s, look_fn look, void *arg)
{
	for (int i = 0; i < SESSION_TRIES && !s->broker_gone; i++) {
		int lease, r = look_once(s, look, arg, &lease);

		if (lease == LEASE_E_GONE)
			s->broker_gone = true;
		else if (lease == LEASE_E_UNAVAILABLE || lease < 0)
			return EIO;
		else if (!lease && r < 0)
			return -r == ENOMEM ? ENOMEM : EIO;
		else if (!lease)
			return r == VIEW_E_ABSENT ? ENOENT : r ? EIO : 0;
	}
	return EIO;
}

/* --- what is open ---------------------------------------------------------------------------------------------- */

/* 0 when `uid` may open `more` files holding `bytes` in addition, else the errno. */
static int may_hold(struct session *s, uid_t uid, size_t more, size_t bytes)
{
	size_t n_open = 0, n_bytes = 0;

	for (struct open_node *o = s->open; o; o = o->next) {
		if (o->uid != uid)
			continue;
		n_open++;
		n_bytes += o->bytes;
	}
	if (n_open + more > SESSION_MAX_UID_OPEN || n_bytes + bytes > SESSION_MAX_UID_BYTES)
		return EMFILE;
	if (s->n_open + more > SESSION_MAX_OPEN || s->n_bytes + bytes > SESSION_MAX_BYTES)
		return ENFILE;
	return 0;
}

static struct open_node *open_node_new(uid_t uid)
{
	struct open_node *o = calloc(1, sizeof(*o));

	if (!o)
		return NULL;
	o->uid = uid;
	o->text = (struct text)TEXT_INIT(SESSION_MAX_TEXT);
	return o;
}

static void open_node_link(struct session *s, struct open_node *o, size_t bytes)
{
	o->bytes = bytes;
	o->next = s->open;
	if (o->next)
		o->next->prev = o;
	s->open = o;
	s->n_open++;
	s->n_bytes += bytes;
}

static void open_node_unlink(struct session *s, struct open_node *o)
{
	if (o->prev)
		o->prev->next = o->next;
	else
		s->open = o->next;
	if (o->next)
		o->next->prev = o->prev;
	s->n_open--;
	s->n_bytes -= o->bytes;
}

static struct open_node *open_node_free(struct open_node *o)
{
	if (!o)
		return NULL;
	text_deinit(&o->text);
	free(o);
	return NULL;
}

static void open_node_freep(struct open_node **op) { open_node_free(*op); }

static struct open_node *open_node_of(const struct fuse_file_info *fi)
{
	return (struct open_node *)(uintptr_t)fi->fh;
}

/* --- requests -------------------------------------------------------------------------------------------------- */

static struct session *session_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

static void fill_attr(struct session *s, struct node n, struct stat *st)
{
	char link[NODE_LINK_MAX];
	size_t len = 0;

	*st = (struct stat){
		.st_ino = node_ino(n), .st_nlink = 1, .st_uid = s->options.uid, .st_gid = s->options.gid,
		.st_atim = s->started, .st_mtim = s->started, .st_ctim = s->started, .st_blksize = 4096,
	};
	switch (node_type(n)) {
	case NODE_DIR:
		st->st_mode = S_IFDIR | 0550;	/* one link: so nobody counts subdirectories by links */
		break;
	case NODE_FILE:
		st->st_mode = S_IFREG | 0440;	/* size 0 and direct_io: read until the end, as in /proc */
		break;
	case NODE_LINK:
		st->st_mode = S_IFLNK | 0777;
		tree_link(NULL, n, link, &len);	/* 0 for a text that only the store knows: readers cope */
		st->st_size = (off_t)len;
		break;
	}
}

/* The node of a request; answers ENOENT itself when the number cannot be one of ours. */
static bool node_of(fuse_req_t req, fuse_ino_t ino, struct node *outp)
{
	if (node_from_ino(ino, outp))
		return true;
	fuse_reply_err(req, ENOENT);
	return false;
}

struct lookup { struct node dir; const char *name; struct node found; };

static int look_up(struct view *v, void *arg)
{
	struct lookup *l = arg;

	return tree_find(v, l->dir, l->name, &l->found);
}

static void do_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct session *s = session_of(req);
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
		error = session_look(s, look_up, &l);
	if (error) {
		fuse_reply_err(req, error);
		return;
	}
	e.ino = node_ino(l.found);
	fill_attr(s, l.found, &e.attr);
	fuse_reply_entry(req, &e);
}

static void do_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct stat st;
	struct node n;

	(void)fi;
	if (!node_of(req, ino, &n))
		return;
	fill_attr(session_of(req), n, &st);
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
		error = session_look(session_of(req), read_link, &r);
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

/* Make what is to be read, charge it, hand it out. Returns the errno to answer; *openp on 0. */
static int open_made(struct session *s, struct node n, uid_t uid, look_fn make, struct open_node **openp)
{
	_cleanup_(open_node_freep) struct open_node *o = NULL;
	struct making m = { .node = n };
	size_t bytes;
	int error;

	error = may_hold(s, uid, 1, 0);
	if (error)
		return error;
	o = m.open = open_node_new(uid);
	if (!o)
		return ENOMEM;
	error = session_look(s, make, &m);
	if (error)
		return error;
	text_shrink(&o->text);
	bytes = sizeof(*o) + o->text.size;
	error = may_hold(s, uid, 1, bytes);
	if (error)
		return error;
	open_node_link(s, o, bytes);
	*openp = TAKE_PTR(o);
	return 0;
}

static void reply_open(fuse_req_t req, struct fuse_file_info *fi, struct node n, look_fn make)
{
	struct session *s = session_of(req);
	struct open_node *o = NULL;
	int error = open_made(s, n, fuse_req_ctx(req)->uid, make, &o);

	if (error) {
		fuse_reply_err(req, error);
		return;
	}
	fi->fh = (uintptr_t)o;
	if (!fuse_reply_open(req, fi))
		return;
	/* The opener was interrupted: there will be no release. */
	open_node_unlink(s, o);
	open_node_free(o);
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
	struct listing l = { .req = req, .open = open_node_of(fi), .size = size < SESSION_MAX_LISTING ? size : SESSION_MAX_LISTING };
	struct cursor before = l.open->cursor;
	uint64_t at = l.open->at;
	int error;

	if (!node_of(req, ino, &l.dir))
		return;
	l.from = offset < 0 ? UINT64_MAX : (uint64_t)offset;
	l.buf = malloc(l.size + 1);
	error = l.buf ? session_look(session_of(req), make_listing, &l) : ENOMEM;
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
	struct open_node *o = open_node_of(fi);

	(void)ino;
	open_node_unlink(session_of(req), o);
	open_node_free(o);
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

static void session_freep(struct session **sp) { session_free(*sp); }

static int session_mount(struct session *s)
{
	char path[32];
	int fd = s->options.fuse_fd, flags;

	snprintf(path, sizeof(path), "/dev/fd/%d", fd);
	if (fuse_session_mount(s->fuse, path))
		return error_origin(EINVAL);
	flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK))
		return error_origin(errno);
	return 0;
}

static int watch(struct session *s, int fd)
{
	struct epoll_event event = { .events = EPOLLIN, .data.fd = fd };

	return epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, fd, &event) ? error_origin(errno) : 0;
}

int session_new(struct session **sessionp, const struct session_options *options)
{
	_cleanup_(session_freep) struct session *s = NULL;
	char *argv[] = { (char *)"capstan-fs", NULL };
	struct fuse_args args = FUSE_ARGS_INIT(1, argv);
	int r;

	s = calloc(1, sizeof(*s));
	if (!s)
		return error_origin(ENOMEM);
	s->options = *options;
	clock_gettime(CLOCK_REALTIME, &s->started);
	s->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (s->epoll_fd < 0)
		return error_origin(errno);
	s->fuse = fuse_session_new(&args, &operations, sizeof(operations), s);
	fuse_opt_free_args(&args);
	if (!s->fuse)
		return error_origin(EINVAL);
	r = watch(s, options->lease->fd);
	if (!r && options->fuse_fd >= 0)
		r = session_mount(s);
	if (!r && options->fuse_fd >= 0)
		r = watch(s, options->fuse_fd);
	if (r)
		return error_trace(r);
	*sessionp = TAKE_PTR(s);
	return 0;
}

struct session *session_free(struct session *s)
{
	if (!s)
		return NULL;
	snapshot_drop(s);
	while (s->open) {
		struct open_node *o = s->open;

		open_node_unlink(s, o);
		open_node_free(o);
	}
	assert(!s->n_open && !s->n_bytes);
	if (s->fuse)
		fuse_session_destroy(s->fuse);
	free(s->buf.mem);
	closep(&s->epoll_fd);
	free(s);
	return NULL;
}

/* Answer what waits; *donep when unmounted. */
static int serve(struct session *s, bool *donep)
{
	for (int i = 0; i < REQUESTS_PER_ROUND && !s->broker_gone; i++) {
		int r = fuse_session_receive_buf(s->fuse, &s->buf);

		if (r == -EAGAIN || r == -EINTR)
			return 0;
		if (!r || r == -ENODEV) {
			*donep = true;
			return 0;
		}
		if (r == -ENOENT)	/* that request was interrupted before we had it */
			continue;
		if (r < 0)
			return error_trace(r);
		fuse_session_process_buf(s->fuse, &s->buf);
		if (fuse_session_exited(s->fuse)) {
			*donep = true;
			return 0;
		}
	}
	return 0;
}

int session_run(struct session *s)
{
	bool done = false;

	while (!done && !s->broker_gone) {
		struct epoll_event events[2];
		int r, n = epoll_wait(s->epoll_fd, events, ARRAY_LEN(events), s->has_snapshot ? LEASE_KEEP_MS : -1);

		if (n < 0 && errno != EINTR)
			return error_origin(errno);
		if (!n && snapshot_drop(s) == LEASE_E_GONE)
			s->broker_gone = true;
		for (int i = 0; i < n; i++) {
			if (events[i].data.fd == s->options.lease->fd) {
				if (lease_drain(s->options.lease) == LEASE_E_GONE)
					s->broker_gone = true;
				continue;
			}
			r = serve(s, &done);
			if (r)
				return r;
		}
	}
	return 0;
}
