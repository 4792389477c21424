/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers: see answer.h.
 *
 * A look can be repeated (look.h), so what runs inside one begins by forgetting what an earlier try has made, and a
 * listing works on a copy of its cursors, which replaces them when the look was good.
 */
#include "answer.h"

#include <sys/stat.h>

/* The directories that a listing is inside of, from the one that was asked for. */
struct places { struct { struct node dir; struct cursor cursor; } at[PATH_DEPTH_MAX]; size_t n; };

struct lister {
	struct places places;	/* as the pieces up to now have left them */
	bool tree;
	uint64_t depth;
	/* Of the look that is going on. */
	struct places now;
	struct answer *answer;
	const struct common *common;
	const struct peer *peer;
	struct view *view;
	bool descend;		/* `child` was the last entry, and is to be listed now */
	struct node child;
	int error;		/* of the store */
};

void answer_deinit(struct answer *a)
{
	text_deinit(&a->body);
	free(a->lister);
	free(a->stream);
	*a = (struct answer)ANSWER_INIT;
}

size_t answer_bytes(const struct answer *a)
{
	return a->body.size + (a->lister ? sizeof(*a->lister) : 0) + (a->stream ? sizeof(*a->stream) : 0);
}

/* --- lines ------------------------------------------------------------------------------------------------------- */

/* Names, texts of links and our sentences are printable ASCII by themselves. */
static void put_string(struct text *t, const char *s)
{
	text_str(t, "\"");
	for (; *s; s++)
		if (*s == '"' || *s == '\\')
			text_printf(t, "\\%c", *s);
		else
			text_add(t, s, 1);
	text_str(t, "\"");
}

static void put_member(struct text *t, const char *key, const char *value)
{
	text_printf(t, ",\"%s\":", key);
	put_string(t, value);
}

static const char *type_name(struct node n)
{
	return node_type(n) == NODE_DIR ? "directory" : node_type(n) == NODE_LINK ? "link" : "file";
}

static const char *format_name(struct node n)
{
	static const char *const names[] = {
		[FORMAT_LINE] = "line", [FORMAT_FIELDS] = "fields", [FORMAT_TABLE] = "table", [FORMAT_LIST] = "list",
		[FORMAT_JSON] = "json", [FORMAT_LOG] = "log", [FORMAT_EVENTS] = "events", [FORMAT_STREAM] = "stream",
	};

	return names[node_format(n)];
}

/* What there is to say of a node, as members. Negative: the store could not be read. */
static int put_node(struct text *t, const struct common *c, struct view *v, struct node n)
{
	uint64_t size, mtime_us;
	char link[NODE_LINK_MAX];
	size_t len;
	int r = 0;

	text_printf(t, "\"type\":\"%s\",\"mode\":\"%04o\"", type_name(n), access_mode(&c->access, n) & 07777);
	if (node_type(n) == NODE_FILE)
		put_member(t, "format", format_name(n));
	if (node_type(n) == NODE_LINK) {
		r = tree_link(v, n, link, &len);
		if (!r)
			put_member(t, "link", link);
	} else if (node_type(n) == NODE_FILE && node_format(n) == FORMAT_LOG) {
		r = tree_size(v, n, &size, &mtime_us);
		if (!r)
			text_printf(t, ",\"size\":%llu", (unsigned long long)size);
	}
	return r < 0 ? r : 0;
}

static void put_end(struct text *t)
{
	text_str(t, "{\"end\":true}\n");
}

static void put_error(struct text *t, int error, const char *message)
{
	const char *name = strerrorname_np(error);

	text_str(t, "{\"error\":");
	put_string(t, name ? name : "EIO");
	put_member(t, "message", message ? message : strerror(error));
	text_str(t, "}\n");
}

static void forget_piece(struct answer *a)
{
	a->head_len = 0;
	text_reset(&a->body);
}

/* What was to come does not. */
static void forget_rest(struct answer *a)
{
	free(TAKE_PTR(a->lister));
	free(TAKE_PTR(a->stream));
	a->end = true;
}

void answer_error(struct answer *a, int error, const char *message)
{
	forget_piece(a);
	forget_rest(a);
	put_error(&a->body, error, message);
}

/* --- listings ---------------------------------------------------------------------------------------------------- */

static bool peer_may(const struct common *c, const struct peer *p, struct node n)
{
	return access_may(&c->access, p->uid, p->gid, p->groups, p->n_groups, n);
}

/* Not from one tree into another, which is of another moment: who wants a frozen one in the listing names it. */
static bool goes_down(const struct lister *l, struct node n)
{
	return l->tree && node_type(n) == NODE_DIR && n.snapshot == l->now.at[0].dir.snapshot && l->now.n < l->depth &&
	       l->now.n < PATH_DEPTH_MAX && peer_may(l->common, l->peer, n);
}

static bool take(void *ctx, struct node n, const char *name)
{
	struct lister *l = ctx;
	struct text *t = &l->answer->body;

	if (!strcmp(name, ".") || !strcmp(name, ".."))
		return true;
	if (l->descend || t->len >= ANSWER_PIECE)
		return false;
	text_str(t, "{\"name\":");
	put_string(t, name);
	text_str(t, ",");
	if (l->tree)
		text_printf(t, "\"depth\":%zu,", l->now.n);
	l->error = put_node(t, l->common, l->view, n);
	text_str(t, "}\n");
	l->child = n;
	l->descend = goes_down(l, n);
	return !l->error;
}

static void enter(struct lister *l, struct node dir)
{
	assert(l->now.n < PATH_DEPTH_MAX);
	l->now.at[l->now.n].dir = dir;
	l->now.at[l->now.n].cursor = (struct cursor){ .take = take, .ctx = l };
	l->now.n++;
}

/* The next entries of the innermost directory. *fullp: there was no room for all. */
static int list_here(struct lister *l, bool *fullp)
{
	size_t at = l->now.n - 1;
	struct cursor *c = &l->now.at[at].cursor;
	int r = 0;

	l->descend = false;
	if (!c->end)
		r = tree_list(l->view, l->now.at[at].dir, c);
	if (l->error)
		r = l->error;
	if (r < 0 || (r && !at))
		return r;
	if (l->descend)
		enter(l, l->child);
	else if (r || c->end)		/* one that has gone meanwhile has nothing in it */
		l->now.n--;
	else
		*fullp = true;
	return 0;
}

static int list_piece(struct lister *l, struct view *v)
{
	bool full = false;

	l->view = v;
	l->error = 0;
	while (l->now.n && !full) {
		int r = list_here(l, &full);

		if (r)
			return r;
	}
	if (!l->now.n)
		put_end(&l->answer->body);
	return l->answer->body.failed ? -ENOMEM : 0;
}

static int look_on(struct view *v, void *arg)
{
	struct lister *l = arg;

	text_reset(&l->answer->body);
	l->now = l->places;
	return list_piece(l, v);
}

/* The piece is good, and so is where the listing stands. */
static void list_settle(struct answer *a)
{
	struct lister *l = a->lister;

	if (!l)
		return;
	a->end = !l->now.n;
	l->places = l->now;
	if (a->end)
		forget_rest(a);
}

/* --- events ------------------------------------------------------------------------------------------------------ */

static const struct live_page *page_of(const struct common *c)
{
	return c->look.lease->live;
}

static void stream_piece(struct answer *a, struct common *c)
{
	char buf[4096];
	size_t n = 1;

	while (n && a->body.len < ANSWER_PIECE) {
		n = stream_read(a->stream, page_of(c), buf, sizeof(buf));
		text_add(&a->body, buf, n);
	}
}

bool answer_ready(const struct answer *a, const struct common *c)
{
	return a->lister || (a->stream && stream_ready(a->stream, page_of(c)));
}

void answer_more(struct answer *a, struct common *c, const struct peer *peer)
{
	struct lister *l = a->lister;
	int error;

	assert((l || a->stream) && !a->end);
	forget_piece(a);
	if (!l) {
		stream_piece(a, c);
		return;
	}
	l->common = c;
	l->peer = peer;
	error = look_at(&c->look, l->places.at[0].dir.snapshot, look_on, l);
	if (error)
		answer_error(a, error, NULL);
	else
		list_settle(a);
}

/* --- the first piece --------------------------------------------------------------------------------------------- */

struct beginning {
	struct answer *answer;
	const struct common *common;
	const struct peer *peer;
	const struct request *request;
	struct path path, work;
	int error;		/* of the walk, or of what was found */
};

static void make_head(struct answer *a, const struct text *t)
{
	assert(!t->cut && t->len <= sizeof(a->head));	/* a link's text is the longest thing in it */
	memcpy(a->head, t->data, t->len);
	a->head_len = t->len;
}

static int arrive_directory(struct beginning *b, struct view *v, struct node dir)
{
	struct answer *a = b->answer;
	struct lister *l = calloc(1, sizeof(*l));

	if (!l)
		return -ENOMEM;
	free(a->lister);
	a->lister = l;
	l->answer = a;
	l->common = b->common;
	l->peer = b->peer;
	l->tree = b->request->op == REQUEST_TREE;
	l->depth = b->request->depth;
	enter(l, dir);
	if (!l->depth && l->tree)
		l->now.n = 0;
	return list_piece(l, v);
}

/* From `offset` on; what was trimmed is left out, so *offsetp may become more. */
static int render_log(struct view *v, struct node n, uint64_t *offsetp, struct text *t)
{
	uint64_t start, end, mtime_us;
	int r = render_log_start(v, n.id, &start);

	if (!r)
		r = tree_size(v, n, &end, &mtime_us);
	if (r)
		return r;
	if (*offsetp < start || *offsetp > end)
		*offsetp = *offsetp > end ? end : start;
	if (*offsetp == end)
		return 0;
	/* Of more than a text can hold, the first lines: who asks by offset asks again. */
	r = render_log_from(v, n.id, *offsetp, t);
	while (!r && t->cut && t->len && t->data[t->len - 1] != '\n')
		t->len--;
	t->cut = false;
	return r;
}

/* From now on. */
static int arrive_stream(struct beginning *b)
{
	struct answer *a = b->answer;

	if (!a->stream)
		a->stream = malloc(sizeof(*a->stream));
	if (!a->stream)
		return -ENOMEM;
	stream_begin(a->stream, page_of(b->common));
	return 0;
}

static int arrive_file(struct beginning *b, struct view *v, struct node n, struct text *head)
{
	struct text *t = &b->answer->body;
	uint64_t offset = b->request->offset;
	int r;

	if (node_format(n) == FORMAT_STREAM)
		return arrive_stream(b);
	if (offset == UINT64_MAX || node_format(n) != FORMAT_LOG) {
		r = tree_render(v, n, t);
	} else {
		r = render_log(v, n, &offset, t);
		text_printf(head, ",\"offset\":%llu", (unsigned long long)offset);
	}
	text_printf(head, ",\"length\":%zu", t->len);
	if (t->cut)
		text_str(head, ",\"cut\":true");
	return !r && t->failed ? -ENOMEM : r;
}

/* What is wrong with asking this of that. */
static int check_found(const struct beginning *b, struct node n)
{
	enum request_op op = b->request->op;

	if (op == REQUEST_STAT || (op != REQUEST_CAT && node_type(n) != NODE_DIR))
		return op == REQUEST_TREE ? ENOTDIR : 0;
	if (op == REQUEST_CAT && node_type(n) != NODE_FILE)
		return node_type(n) == NODE_DIR ? EISDIR : ELOOP;
	return peer_may(b->common, b->peer, n) ? 0 : EACCES;
}

/* Found: the whole of the first piece, in the same look. */
static int arrive(struct beginning *b, struct view *v, struct node n)
{
	struct answer *a = b->answer;
	struct text head = TEXT_INIT(ANSWER_HEAD_MAX);
	int r;

	b->error = check_found(b, n);
	if (b->error)
		return 0;
	forget_piece(a);
	text_str(&head, "{");
	r = put_node(&head, b->common, v, n);
	if (!r && b->request->op == REQUEST_CAT)
		r = arrive_file(b, v, n, &head);
	else if (!r && node_type(n) == NODE_DIR && b->request->op != REQUEST_STAT)
		r = arrive_directory(b, v, n);
	else if (!r)
		put_end(&a->body);
	text_str(&head, "}\n");
	if (!r && (head.failed || a->body.failed))
		r = -ENOMEM;
	if (!r)
		make_head(a, &head);
	text_deinit(&head);
	return r;
}

static bool may_search(void *ctx, struct node dir)
{
	const struct beginning *b = ctx;

	return peer_may(b->common, b->peer, dir);
}

static int walk_leg(struct view *v, void *arg)
{
	struct beginning *b = arg;

	b->work = b->path;
	b->error = path_walk(&b->work, v, may_search, b);
	if (b->error)
		return b->error < 0 ? b->error : 0;
	return arrive(b, v, b->work.found);
}

/* The walk stands before the name of a frozen tree. */
static int enter_frozen(struct beginning *b, struct common *c)
{
	char name[NODE_NAME_MAX + 1];
	uint32_t number;
	int r = look_frozen(&c->look, path_name(&b->path, name), b->peer->uid, &number);

	if (!r)
		path_enter(&b->path, (struct node){ NODE_ROOT, number, 0 });
	return r;
}

static int begin(struct beginning *b, struct common *c)
{
	int r = path_init(&b->path, b->request->path, b->request->link);

	while (!r) {
		r = look_at(&c->look, path_tree(&b->path), walk_leg, b);
		if (r || (b->error != PATH_E_LEG && b->error != PATH_E_FROZEN))
			return r ? r : b->error;
		b->path = b->work;
		if (b->error == PATH_E_FROZEN)
			r = enter_frozen(b, c);
	}
	return r;
}

void answer_begin(struct answer *a, struct common *c, const struct peer *peer, const struct request *r)
{
	struct beginning b = { .answer = a, .common = c, .peer = peer, .request = r };
	int error;

	assert(a->end && !a->lister && !a->stream);
	forget_piece(a);
	error = access_refused(&c->access, peer->uid) ? EACCES : begin(&b, c);
	if (error) {
		answer_error(a, error, NULL);
		return;
	}
	a->end = !a->stream;
	list_settle(a);
}
