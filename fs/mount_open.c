/* SPDX-License-Identifier: Apache-2.0 */
/* What is open in the mount: opening, reading, listing. */
#include "mount_impl.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

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
static int open_node_new(struct mount *m, uid_t uid, enum open_kind kind, struct open_node **openp)
{
	struct open_node *o = calloc(1, sizeof(*o));
	int error = o ? charge_take(&m->common->charges, &o->charge, uid, sizeof(*o)) : ENOMEM;

	if (error) {
		free(o);
		return error;
	}
	o->kind = kind;
	o->text = (struct text)TEXT_INIT(SESSION_MAX_TEXT);
	open_node_link(m, o);
	*openp = o;
	return 0;
}

void open_node_free(struct mount *m, struct open_node *o)
{
	if (!o)
		return;
	mount_forget_poll(m, o);
	open_node_unlink(m, o);
	charge_drop(&m->common->charges, &o->charge);
	text_deinit(&o->text);
	free(o->stream);
	free(o);
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

/* Of a directory and of a log nothing is made when it is opened, but it must be there. */
static int find_node(struct view *v, void *arg)
{
	struct making *m = arg;

	return tree_exists(v, m->node);
}

static int open_text(fuse_req_t req, struct open_node *o, struct making *m)
{
	int error = mount_look(req, m->node, make_text, m);

	if (error)
		return error;
	text_shrink(&o->text);
	return charge_resize(&mount_of(req)->common->charges, &o->charge, sizeof(*o) + o->text.size);
}

static int open_stream(fuse_req_t req, struct open_node *o)
{
	o->stream = malloc(sizeof(*o->stream));
	if (!o->stream)
		return ENOMEM;
	stream_begin(o->stream, mount_of(req)->common->look.lease->live);
	return charge_resize(&mount_of(req)->common->charges, &o->charge, sizeof(*o) + sizeof(*o->stream));
}

/* Make what is to be read, charge it. Returns the errno to answer. */
static int open_made(fuse_req_t req, struct node n, struct open_node *o)
{
	struct making m = { .node = n, .open = o };

	switch (o->kind) {
	case OPEN_TEXT:
		return open_text(req, o, &m);
	case OPEN_STREAM:
		return open_stream(req, o);
	default:
		return mount_look(req, n, find_node, &m);
	}
}

static void reply_open(fuse_req_t req, struct fuse_file_info *fi, struct node n, enum open_kind kind)
{
	struct mount *m = mount_of(req);
	struct open_node *o = NULL;
	int error = open_node_new(m, fuse_req_ctx(req)->uid, kind, &o);

	if (!error)
		error = open_made(req, n, o);
	if (error) {
		fuse_reply_err(req, error);
	} else {
		fi->fh = (uintptr_t)o;
		error = fuse_reply_open(req, fi);	/* an opener that was interrupted will not release it */
	}
	if (error)
		open_node_free(m, o);
}

/* In a frozen tree a log is a text like any other. */
static enum open_kind kind_of(struct node n)
{
	if (node_format(n) == FORMAT_STREAM)
		return OPEN_STREAM;
	return node_format(n) == FORMAT_LOG && !n.snapshot ? OPEN_LOG : OPEN_TEXT;
}

void do_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct node n;

	if (!mount_node(req, ino, &n))
		return;
	if (node_type(n) != NODE_FILE || (fi->flags & O_ACCMODE) != O_RDONLY) {
		fuse_reply_err(req, node_type(n) == NODE_DIR ? EISDIR : EACCES);
		return;
	}
	fi->direct_io = 1;
	fi->nonseekable = kind_of(n) == OPEN_STREAM;
	reply_open(req, fi, n, kind_of(n));
}

void do_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct node n;

	if (!mount_node(req, ino, &n))
		return;
	if (node_type(n) != NODE_DIR) {
		fuse_reply_err(req, ENOTDIR);
		return;
	}
	reply_open(req, fi, n, OPEN_DIRECTORY);
}

static void read_text(fuse_req_t req, const struct text *t, size_t size, uint64_t offset)
{
	size_t left = offset < t->len ? t->len - (size_t)offset : 0;

	fuse_reply_buf(req, left ? t->data + offset : NULL, size < left ? size : left);
}

struct log_reading { uint64_t vat, offset; size_t size; struct logfile *log; struct logfile after; struct text text; };

static int read_log(struct view *v, void *arg)
{
	struct log_reading *l = arg;
	int r;

	l->after = *l->log;
	text_reset(&l->text);
	r = logfile_read(v, &l->after, l->vat, l->offset, l->size, &l->text);
	return !r && l->text.failed ? -ENOMEM : r;
}

static void reply_log(fuse_req_t req, struct node n, struct open_node *o, size_t size, uint64_t offset)
{
	struct log_reading l = {
		.vat = n.id, .offset = offset, .size = size, .log = &o->log, .text = TEXT_INIT(size + LOGFILE_LINE_MAX) };
	int error = mount_look(req, n, read_log, &l);

	if (error) {
		fuse_reply_err(req, error);
	} else {
		o->log = l.after;
		fuse_reply_buf(req, l.text.data, l.text.len);
	}
	text_deinit(&l.text);
}

void do_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi)
{
	struct open_node *o = open_node_of(fi);
	uint64_t from = offset < 0 ? UINT64_MAX : (uint64_t)offset;
	struct node n;

	switch (o->kind) {
	case OPEN_LOG:
		if (mount_node(req, ino, &n))
			reply_log(req, n, o, size < MOUNT_MAX_READ ? size : MOUNT_MAX_READ, from);
		break;
	case OPEN_STREAM:
		mount_read_events(req, o, size, fi->flags & O_NONBLOCK);
		break;
	default:
		read_text(req, &o->text, size, from);
		break;
	}
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

void do_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi)
{
	struct listing l = { .req = req, .open = open_node_of(fi), .size = size < MOUNT_MAX_LISTING ? size : MOUNT_MAX_LISTING };
	struct cursor before = l.open->cursor;
	uint64_t at = l.open->at;
	int error;

	if (!mount_node(req, ino, &l.dir))
		return;
	l.from = offset < 0 ? UINT64_MAX : (uint64_t)offset;
	l.buf = malloc(l.size + 1);
	error = l.buf ? mount_look(req, l.dir, make_listing, &l) : ENOMEM;
	if (error) {
		l.open->cursor = before;
		l.open->at = at;
		fuse_reply_err(req, error);
	} else {
		fuse_reply_buf(req, l.buf, l.len);
	}
	free(l.buf);
}

void do_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	open_node_free(mount_of(req), open_node_of(fi));
	fuse_reply_err(req, 0);
}

