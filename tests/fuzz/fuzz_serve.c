/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes from a client of the tree's socket, in pieces of any size: every line has its answer, every answer is
 * what docs/PROTOCOL says (a line of JSON; then so many bytes, or lines until the end), all of it is printable, and
 * nothing is left behind. The kernel behind it is a few rows in memory.
 */
#include <jansson.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "../../fs/answer.h"
#include "../../fs/serve.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* --- the store --------------------------------------------------------------------------------------------------- */

#define N_OBJECTS	20u
#define ROWS_MAX	64u

static struct row { enum table table; uint8_t key[40]; size_t key_len; uint8_t val[sizeof(struct row_vat)]; size_t len; } rows[ROWS_MAX];
static size_t n_rows;

static void put(enum table table, const void *key, size_t key_len, const void *val, size_t len)
{
	struct row *r = &rows[n_rows++];

	assert(n_rows <= ROWS_MAX && key_len <= sizeof(r->key) && len <= sizeof(r->val));
	r->table = table;
	r->key_len = key_len;
	r->len = len;
	memcpy(r->key, key, key_len);
	memcpy(r->val, val, len);
}

static int compare_key(const struct row *r, enum table t, const void *key, size_t key_len)
{
	size_t n = r->key_len < key_len ? r->key_len : key_len;
	int c = r->table != t ? (int)r->table - (int)t : n ? memcmp(r->key, key, n) : 0;

	return c ? c : r->key_len < key_len ? -1 : r->key_len > key_len;
}

static int compare_rows(const void *a, const void *b)
{
	const struct row *second = b;

	return compare_key(a, second->table, second->key, second->key_len);
}

static void put_clist(uint64_t vat, const char *eref, kref_t ref)
{
	struct row_clist row = { .ref = ref.bits, .flags = CLIST_F_REACHABLE };
	uint8_t k[16];
	vref_t v;

	assert(vref_parse(eref, strlen(eref), &v));
	put(T_EREF, k, key_u64_u64(k, endpoint_vat(vat).bits, v.bits), &row, sizeof(row));
	row.ref = v.bits;
	put(T_CLIST, k, key_u64_u64(k, endpoint_vat(vat).bits, ref.bits), &row, sizeof(row));
}

static void make_rows(void)
{
	struct row_vat vat = { .incarnation = 1, .status = VAT_RUNNING, .next_log = 2, .subcluster = 1, .name = "alice" };
	struct row_subcluster sub = { .status = SUB_RUNNING, .bootstrap_vat = 1, .root = 1 };
	struct { struct row_log row; char text[8]; } log = { { .time_us = 1, .level = 1, .incarnation = 1 }, "a line\n" };
	struct row_object object = { .owner = endpoint_vat(1).bits, .owner_incarnation = 1, .n_reachable = 1, .n_recognizable = 1 };
	struct row_service service = { .kref = 2 };
	uint8_t k[16];

	vat.log_bytes = log_line_size(&log.row, log.text, sizeof(log.text));
	put(T_VAT, k, key_u64(k, 1), &vat, sizeof(vat));
	put(T_LOG, k, key_u64_u64(k, 1, 1), &log, sizeof(log));
	put(T_SUBCLUSTER, k, key_u64(k, 1), &sub, sizeof(sub));
	put(T_MEMBER, k, key_u64_u64(k, 1, 1), "alice", 5);
	put(T_SERVICE, "console", 7, &service, sizeof(service));
	for (uint64_t i = 1; i <= N_OBJECTS; i++)
		put(T_OBJECT, k, key_u64(k, i), &object, sizeof(object));
	put_clist(1, "o+0", (kref_t){ 1 });
	put_clist(1, "o-1", (kref_t){ 99 });	/* dangling */
	qsort(rows, n_rows, sizeof(rows[0]), compare_rows);
}

int reader_next(struct reader *r, enum table t, const void *key, size_t key_len, bool or_equal, const void **keyp, size_t *key_lenp,
		const void **valp, size_t *lenp)
{
	(void)r;
	for (size_t i = 0; i < n_rows; i++) {
		int c = rows[i].table == t ? compare_key(&rows[i], t, key, key_len) : -1;

		if (c < 0 || (!c && !or_equal))
			continue;
		*keyp = rows[i].key;
		*key_lenp = rows[i].key_len;
		*valp = rows[i].val;
		*lenp = rows[i].len;
		return 0;
	}
	return READER_NOT_FOUND;
}

int reader_get(struct reader *r, enum table t, const void *key, size_t key_len, const void **valp, size_t *lenp)
{
	const void *found;
	size_t found_len;
	int e = reader_next(r, t, key, key_len, true, &found, &found_len, valp, lenp);

	return e ? e : found_len == key_len && !memcmp(found, key, key_len) ? 0 : READER_NOT_FOUND;
}

int reader_count(struct reader *r, enum table t, uint64_t *np)
{
	(void)r;
	*np = 0;
	for (size_t i = 0; i < n_rows; i++)
		*np += rows[i].table == t;
	return 0;
}

uint64_t reader_txnid(const struct reader *r)
{
	(void)r;
	return 1;
}

/* The frozen tree "a" looks just the same. */
int look_frozen(struct look *l, const char *name, uid_t uid, uint32_t *numberp)
{
	(void)l;
	(void)uid;
	*numberp = 1;
	return strcmp(name, "a") ? ENOENT : 0;
}

/* Nothing ever happens. */
void watch_wait(struct watch *w, struct watcher *who)
{
	(void)w;
	who->waiting = true;
}

void watch_stop(struct watch *w, struct watcher *who)
{
	(void)w;
	who->waiting = false;
}

int look_at(struct look *l, uint32_t snapshot, look_fn look, void *arg)
{
	struct view v = { .now_us = 1700000000000000, .snapshot = snapshot };
	int r;

	(void)l;
	assert(snapshot <= 1);
	r = look(&v, arg);
	assert(r >= 0);		/* this store can always be read */
	return r == VIEW_E_ABSENT ? ENOENT : r ? EIO : 0;
}

/* --- a client ---------------------------------------------------------------------------------------------------- */

#define HEARD_MAX	(64u << 20)

static struct common common;
static struct lease lease = LEASE_INIT;
static struct serve *serve;
static int listen_fd = -1;
static char *heard;

static int begin(void)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	make_rows();
	lease.live = calloc(1, sizeof(*lease.live));
	common.look.lease = &lease;
	assert(lease.live);
	heard = malloc(HEARD_MAX);
	common.access.uid_block = 1;
	common.access.uid = getuid();
	listen_fd = socket(AF_UNIX, SOCK_STREAM, 0);
	/* Without a name: the kernel finds one that is no file. */
	assert(heard && listen_fd >= 0 && !bind(listen_fd, (struct sockaddr *)&addr, sizeof(addr.sun_family)) && !listen(listen_fd, 5));
	assert(!loop_init(&common.loop) && !serve_new(&serve, &common, listen_fd));
	return 0;
}

static int come(void)
{
	struct sockaddr_un addr;
	socklen_t len = sizeof(addr);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	assert(fd >= 0 && !getsockname(listen_fd, (struct sockaddr *)&addr, &len) && !connect(fd, (struct sockaddr *)&addr, len));
	return fd;
}

/* All that it says until it has nothing more to say, or hangs up, if it may. */
static size_t hear(int fd, size_t len, bool end)
{
	for (int quiet = 0; quiet < 4; quiet++) {
		ssize_t n;

		assert(!loop_round(&common.loop, 0));
		n = recv(fd, heard + len, HEARD_MAX - len, 0);
		assert(end || n);
		if (!n || (n < 0 && errno == ECONNRESET))
			break;
		len += n > 0 ? (size_t)n : 0;
		quiet = n > 0 ? 0 : quiet;
		assert(len < HEARD_MAX);
	}
	return len;
}

/* --- its answers ------------------------------------------------------------------------------------------------- */

struct ears { const char *at, *end; };

static json_t *next_line(struct ears *e)
{
	const char *newline = memchr(e->at, '\n', (size_t)(e->end - e->at));
	json_t *line;

	assert(newline);
	line = json_loadb(e->at, (size_t)(newline - e->at), JSON_REJECT_DUPLICATES, NULL);
	assert(json_is_object(line));
	e->at = newline + 1;
	return line;
}

/* False: nothing is answered any more, for a stream has begun. */
static bool check_answer(struct ears *e)
{
	json_t *head = next_line(e);
	const json_t *length = json_object_get(head, "length");
	const char *format = json_string_value(json_object_get(head, "format"));
	bool stream = format && !strcmp(format, "stream") && e->at == e->end;
	bool over = json_object_get(head, "error") || length || stream;

	if (length) {
		assert((json_int_t)(e->end - e->at) >= json_integer_value(length));
		e->at += json_integer_value(length);
	} else {
		assert(over || json_is_string(json_object_get(head, "type")));
	}
	json_decref(head);
	while (!over) {
		json_t *line = next_line(e);

		over = json_object_get(line, "end") || json_object_get(line, "error");
		assert(over || (json_is_string(json_object_get(line, "name")) && json_is_string(json_object_get(line, "type"))));
		json_decref(line);
	}
	return !stream;
}

static void check(size_t len, size_t n_requests)
{
	struct ears e = { heard, heard + len };

	for (size_t i = 0; i < len; i++)
		assert(heard[i] == '\n' || (heard[i] >= 0x20 && heard[i] < 0x7f));
	for (size_t i = 0; i < n_requests && check_answer(&e); i++)
		;
	assert(e.at == e.end);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t piece = size ? data[0] + 1u : 1, len = 0, n_lines = 0, line = 0;
	int fd;

	if (listen_fd < 0)
		begin();
	fd = come();
	for (size_t at = 1; at < size && line < REQUEST_MAX; at += piece) {
		size_t n = size - at < piece ? size - at : piece;

		for (size_t i = 0; i < n && line < REQUEST_MAX; i++) {
			n_lines += data[at + i] == '\n';
			line = data[at + i] == '\n' ? 0 : line + 1;
		}
		/* It may have hung up on a line that is too long. */
		if (send(fd, data + at, n, MSG_NOSIGNAL) < 0)
			break;
		len = hear(fd, len, line >= REQUEST_MAX);
	}
	if (line < REQUEST_MAX) {
		shutdown(fd, SHUT_WR);
		len = hear(fd, len, true);
	}
	check(len, n_lines + (line >= REQUEST_MAX));
	close(fd);
	assert(!loop_round(&common.loop, 0));
	assert(!common.charges.n && !common.charges.n_bytes);
	return 0;
}
