/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store as text, for people: vats by name, objects by their owner's name for them (b/o+5), services as @name, promises
 * and objects without owner by a number that counts from the first after boot (kp1, ko4). Lines are sorted by what they show
 * where the order says nothing.
 */
#include <ctype.h>
#include <fcntl.h>
#include <inttypes.h>

#include "../../lib/reader.h"
#include "../../lib/vatwalk.h"
#include "play.h"

struct text { char *data; size_t len; FILE *f; };

/* --- where from ------------------------------------------------------------------------------------------------------- */

static int live_get(void *ctx, enum table t, const void *key, size_t key_len, const void **valp, size_t *lenp)
{
	return store_get(ctx, t, key, key_len, valp, lenp);
}

static int live_next(void *ctx, enum table t, const void *key, size_t key_len, bool or_equal, const void **keyp,
		     size_t *key_lenp, const void **valp, size_t *lenp)
{
	return store_next(ctx, t, key, key_len, or_equal, keyp, key_lenp, valp, lenp);
}

static int read_get(void *ctx, enum table t, const void *key, size_t key_len, const void **valp, size_t *lenp)
{
	return reader_get(ctx, t, key, key_len, valp, lenp);
}

static int read_next(void *ctx, enum table t, const void *key, size_t key_len, bool or_equal, const void **keyp,
		     size_t *key_lenp, const void **valp, size_t *lenp)
{
	return reader_next(ctx, t, key, key_len, or_equal, keyp, key_lenp, valp, lenp);
}

void tables_with(struct runner *r, tables_fn fn, void *arg)
{
	struct check_source src = { .get = live_get, .next = live_next };
	struct reader *reader = NULL;
	char path[300];
	int fd, e;

	if (r->kernel) {	/* LMDB wants no second environment of one file in a process */
		src.ctx = r->kernel->store;
		fn(r, &src, arg);
		return;
	}
	snprintf(path, sizeof(path), "%s/data.mdb", r->store);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	e = fd < 0 ? -errno : reader_open_fd(&reader, fd);
	if (fd >= 0)
		close(fd);
	if (e == 0)
		e = reader_begin(reader);
	if (e)
		runner_fail(r, "the store cannot be read: %d", e);
	src = (struct check_source){ .ctx = reader, .get = read_get, .next = read_next };
	fn(r, &src, arg);
	reader_end(reader);
	reader_free(reader);
}

/* One step of a walk over a table; `at` holds KEY_MAX bytes, *at_len 0 begins. */
static bool walk(struct check_source *s, enum table t, uint8_t *at, size_t *at_len, const void **valp, size_t *lenp)
{
	const void *key;
	size_t key_len;

	if (s->next(s->ctx, t, *at_len ? at : NULL, *at_len, !*at_len, &key, &key_len, valp, lenp))
		return false;
	memcpy(at, key, key_len);
	*at_len = key_len;
	return true;
}
#define each_row(s, t, at, val, len)                                                                                             \
	uint8_t at[KEY_MAX];                                                                                                     \
	size_t at##_len = 0, len;                                                                                                \
	const void *val;                                                                                                         \
	while (walk(s, t, at, &at##_len, &val, &len))

/* --- names ------------------------------------------------------------------------------------------------------------ */

static const char *vat_name(struct check_source *s, uint64_t number, char buf[NAME_SIZE])
{
	struct row_vat row;
	const void *val;
	uint8_t key[8];
	size_t len;

	if (s->get(s->ctx, T_VAT, key, key_u64(key, number), &val, &len) == 0 && row_vat_read(val, len, &row))
		snprintf(buf, NAME_SIZE, "%.*s", NAME_SIZE - 1, row.name);
	else
		snprintf(buf, NAME_SIZE, "v%" PRIu64, number);
	return buf;
}

static const char *endpoint_name(struct check_source *s, uint64_t bits, char buf[NAME_SIZE])
{
	endpoint_t e = { bits };
	char text[REF_TEXT_MAX];

	if (endpoint_is_vat(e))
		return vat_name(s, endpoint_number(e), buf);
	snprintf(buf, NAME_SIZE, "%s", bits ? endpoint_format(e, text) : "host");
	return buf;
}

static bool eref_of(struct check_source *s, uint64_t endpoint, uint64_t kref, struct row_clist *row)
{
	const void *val;
	uint8_t key[16];
	size_t len;

	return s->get(s->ctx, T_CLIST, key, key_u64_u64(key, endpoint, kref), &val, &len) == 0 && row_clist_read(val, len, row);
}

#define SHOWN_REF	(NAME_SIZE + REF_TEXT_MAX)
static const char *ref_name(struct runner *r, struct check_source *s, uint64_t kref, char buf[SHOWN_REF])
{
	uint64_t n = kref_number((kref_t){ kref }), base = kref & REF_PROMISE ? r->base_promise : r->base_object;
	char name[NAME_SIZE], text[REF_TEXT_MAX];
	struct row_object row;
	struct row_clist entry;
	const void *val;
	uint8_t key[8];
	size_t len;

	if (!kref)
		return "-";
	if (s->get(s->ctx, T_SERVICE_OF, key, key_u64(key, kref), &val, &len) == 0)
		snprintf(buf, SHOWN_REF, "@%.*s", (int)len, (const char *)val);
	else if (!(kref & REF_PROMISE) && s->get(s->ctx, T_OBJECT, key, 8, &val, &len) == 0 &&
		 row_object_read(val, len, &row) && row.owner && eref_of(s, row.owner, kref, &entry))
		snprintf(buf, SHOWN_REF, "%s/%s", endpoint_name(s, row.owner, name), vref_format((vref_t){ entry.ref }, text));
	else
		snprintf(buf, SHOWN_REF, "k%c%s%" PRIu64, kref & REF_PROMISE ? 'p' : 'o', n < base ? "!" : "",
			 n < base ? n : n - base + 1);
	return buf;
}

static void put_value(struct runner *r, struct check_source *s, FILE *f, const struct capdata *c)
{
	char shown[SHOWN_REF], body[2000];
	size_t i;

	escape_bytes(body, sizeof(body), c->body, c->body_len);
	fprintf(f, "%s [", body);
	for (i = 0; i < c->n_slots; i++)
		fprintf(f, "%s%s", i ? " " : "", ref_name(r, s, capdata_slot(c, i), shown));
	fputs("]", f);
}

/* --- the tables ------------------------------------------------------------------------------------------------------- */

static void show_vats(struct runner *r, struct check_source *s, FILE *f, const char *arg)
{
	static const char *const status[] = { "?", "starting", "running", "suspended", "terminated" };
	struct row_vat row;

	(void)r; (void)arg;
	each_row(s, T_VAT, at, val, len) {
		if (!row_vat_read(val, len, &row))
			continue;
		fprintf(f, "%s  %s  incarnation %u  %s  queued %" PRIu64 "  deaths %u", row.name,
			status[row.status <= VAT_TERMINATED ? row.status : 0], row.incarnation,
			row.pid ? "process" : "no process", row.n_queued, row.n_deaths);
		if (row.flags & VAT_F_LAUNCHING)
			fputs("  launching", f);
		if (row.flags & VAT_F_REAP)
			fputs("  reap", f);
		if (row.n_log_dropped)
			fprintf(f, "  lines dropped %" PRIu64, row.n_log_dropped);
		fprintf(f, "%s%s\n", row.reason[0] ? "  : " : "", row.reason);
	}
}

static void show_subclusters(struct runner *r, struct check_source *s, FILE *f, const char *arg)
{
	static const char *const status[] = { "?", "launching", "running", "terminating" };
	struct row_subcluster row;
	char shown[SHOWN_REF];

	(void)arg;
	each_row(s, T_SUBCLUSTER, at, val, len) {
		uint64_t number = get_be64(at);

		if (!row_subcluster_read(val, len, &row))
			continue;
		fprintf(f, "s%" PRIu64 "%s%s  %s  root %s  vats", number, row.name[0] ? " " : "", row.name,
			status[row.status <= SUB_TERMINATING ? row.status : 0], ref_name(r, s, row.root, shown));
		each_row(s, T_MEMBER, m, name, name_len)
			if (get_be64(m) == number)
				fprintf(f, " %.*s", (int)name_len, (const char *)name);
		fputs("\n", f);
	}
}

static bool is_service(struct check_source *s, uint64_t kref)
{
	const void *val;
	uint8_t key[8];
	size_t len;

	return s->get(s->ctx, T_SERVICE_OF, key, key_u64(key, kref), &val, &len) == 0;
}

static void show_objects(struct runner *r, struct check_source *s, FILE *f, const char *arg)
{
	struct row_object row;
	char shown[SHOWN_REF];

	(void)arg;
	each_row(s, T_OBJECT, at, val, len) {
		uint64_t kref = get_be64(at);

		if (!row_object_read(val, len, &row) || is_service(s, kref))
			continue;
		fprintf(f, "%s  reachable %" PRIu64 "  recognizable %" PRIu64 "%s%s\n", ref_name(r, s, kref, shown),
			row.n_reachable, row.n_recognizable, row.owner ? "" : "  no owner",
			row.flags & OBJECT_F_REVOKED ? "  revoked" : "");
	}
}

static void show_services(struct runner *r, struct check_source *s, FILE *f, const char *arg)
{
	struct row_service row;
	struct row_object object;
	const void *oval;
	uint8_t key[8];
	size_t olen;

	(void)r;
	each_row(s, T_SERVICE, at, val, len) {
		if (*arg && (at_len != strlen(arg) || memcmp(at, arg, at_len)))
			continue;
		memset(&row, 0, sizeof(row));
		memcpy(&row, val, len < sizeof(row) ? len : sizeof(row));
		if (s->get(s->ctx, T_OBJECT, key, key_u64(key, row.kref), &oval, &olen) || !row_object_read(oval, olen, &object))
			continue;
		fprintf(f, "@%.*s  reachable %" PRIu64 "  recognizable %" PRIu64 "%s%s%s%s\n", (int)at_len, (const char *)at,
			object.n_reachable, object.n_recognizable, row.flags & SERVICE_F_HOST ? "  host" : "",
			row.flags & SERVICE_F_SYSTEM_ONLY ? "  system only" : "", row.flags & SERVICE_F_IO ? "  io" : "",
			object.flags & OBJECT_F_REVOKED ? "  revoked" : "");
	}
}

static void show_subscribers(struct check_source *s, FILE *f, uint64_t kref)
{
	char name[NAME_SIZE];
	bool any = false;

	each_row(s, T_SUBSCRIBER, at, val, len) {
		if (get_be64(at) != kref)
			continue;
		fprintf(f, "%s%s", any ? " " : "  subscribers ", endpoint_name(s, get_be64(at + 8), name));
		any = true;
	}
}

static const char *holder_name(struct runner *r, struct check_source *s, uint64_t holder, char buf[SHOWN_REF])
{
	return holder & REF_PROMISE ? ref_name(r, s, holder, buf) : endpoint_name(s, holder, buf);
}

static void show_outcome(struct runner *r, struct check_source *s, FILE *f, uint64_t kref, const struct row_promise *row)
{
	char shown[SHOWN_REF];
	struct capdata value;
	const void *val;
	uint8_t key[8];
	size_t len;

	fprintf(f, "%s ", row->state == PROMISE_REJECTED ? row->flags & PROMISE_F_KERNEL ? "krej" : "rej"
			  : row->flags & PROMISE_F_REF ? "ref" : "data");
	if (row->link)
		fprintf(f, "as %s", ref_name(r, s, row->link, shown));
	else if (s->get(s->ctx, T_VALUE, key, key_u64(key, kref), &val, &len) == 0 && capdata_read(val, len, &value))
		put_value(r, s, f, &value);
}

static void show_promises(struct runner *r, struct check_source *s, FILE *f, const char *arg)
{
	char shown[SHOWN_REF], name[NAME_SIZE];
	struct row_promise row;

	(void)arg;
	each_row(s, T_PROMISE, at, val, len) {
		uint64_t kref = get_be64(at);

		if (!row_promise_read(val, len, &row))
			continue;
		fprintf(f, "%s  ", ref_name(r, s, kref, shown));
		if (row.state == PROMISE_FORWARDED)
			fprintf(f, "forwarded to %s", ref_name(r, s, row.link, shown));
		else if (row.state != PROMISE_UNRESOLVED)
			show_outcome(r, s, f, kref, &row);
		else if (row.decider)
			fprintf(f, "decided by %s", endpoint_name(s, row.decider, name));
		else if (row.link)
			fprintf(f, "decided by a message in the queue of %s", holder_name(r, s, row.link, shown));
		else
			fputs("decided by nobody", f);
		fprintf(f, "  refs %" PRIu64, row.n_refs);
		if (row.n_waiting)
			fprintf(f, "  waiting %" PRIu64, row.n_waiting);
		show_subscribers(s, f, kref);
		fputs("\n", f);
	}
}

static uint64_t endpoint_named(struct runner *r, struct check_source *s, const char *name)
{
	struct row_vat row;
	uint64_t found = 0;

	if (!strcmp(name, "k"))
		return ENDPOINT_K.bits;
	each_row(s, T_VAT, at, val, len)
		if (row_vat_read(val, len, &row) && !strcmp(row.name, name))
			found = endpoint_vat(get_be64(at)).bits;
	if (!found)
		runner_fail(r, "there is no vat %s in the store", name);
	return found;
}

static bool has_row(struct check_source *s, enum table t, uint64_t a, uint64_t b)
{
	const void *val;
	uint8_t key[16];
	size_t len;

	return s->get(s->ctx, t, key, key_u64_u64(key, a, b), &val, &len) == 0;
}

static void show_clist(struct runner *r, struct check_source *s, FILE *f, const char *arg)
{
	uint64_t endpoint = endpoint_named(r, s, arg);
	char shown[SHOWN_REF], text[REF_TEXT_MAX];
	struct row_clist row;

	each_row(s, T_CLIST, at, val, len) {
		uint64_t kref = get_be64(at + 8);

		if (get_be64(at) != endpoint || !row_clist_read(val, len, &row))
			continue;
		fprintf(f, "%s  ", vref_format((vref_t){ row.ref }, text));
		if (kref & REF_PROMISE)
			fprintf(f, "%s%s%s\n", ref_name(r, s, kref, shown),
				has_row(s, T_DECIDED, endpoint, kref) ? "  decides" : "",
				has_row(s, T_SUBSCRIBER, kref, endpoint) ? "  subscribed" : "");
		else
			fprintf(f, "%s  %s\n", row.ref & REF_MINUS ? ref_name(r, s, kref, shown) : "own",
				row.flags & CLIST_F_REACHABLE ? "reachable" : "dropped");
	}
}

static void show_queue(struct runner *r, struct check_source *s, FILE *f, const char *arg)
{
	char shown[SHOWN_REF], name[NAME_SIZE];
	struct capdata methargs;
	struct row_item row;

	(void)arg;
	each_row(s, T_QUEUE, at, val, len) {
		if (!row_item_read(val, len, &row, &methargs))
			continue;
		fprintf(f, "for %s: ", holder_name(r, s, get_be64(at), shown));
		if (row.kind == ITEM_NOTIFY) {
			fprintf(f, "notify %s\n", ref_name(r, s, row.target, shown));
			continue;
		}
		fprintf(f, "message %s ", ref_name(r, s, row.target, shown));
		put_value(r, s, f, &methargs);
		fprintf(f, " %s  from %s\n", ref_name(r, s, row.result, shown), endpoint_name(s, row.sender, name));
	}
}

static void show_gc(struct runner *r, struct check_source *s, FILE *f, const char *arg)
{
	static const char *const types[] = { "?", "dropExport", "retireExport", "retireImport" };
	char shown[SHOWN_REF], name[NAME_SIZE];

	(void)arg;
	each_row(s, T_GC, at, val, len)
		fprintf(f, "%s  %s  %s\n", endpoint_name(s, get_be64(at), name), types[at[8] <= GC_RETIRE_IMPORT ? at[8] : 0],
			ref_name(r, s, get_be64(at + 9), shown));
}

static void show_holds(struct runner *r, struct check_source *s, FILE *f, const char *arg)
{
	static const char *const kinds[] = { "?", "root", "result", "person", "service", "pin", "call" };
	struct row_hold row;
	char shown[SHOWN_REF];

	(void)arg;
	each_row(s, T_HOLD, at, val, len) {
		if (!row_hold_read(val, len, &row) || at[8] == HOLD_SERVICE)
			continue;
		fprintf(f, "%s  %s", ref_name(r, s, get_be64(at), shown), kinds[at[8] <= HOLD_HOST ? at[8] : 0]);
		if (at[8] == HOLD_ROOT || at[8] == HOLD_RESULT)
			fprintf(f, "  s%" PRIu64, get_be64(at + 9));
		if (row.count != 1)
			fprintf(f, "  %" PRIu64 " times", row.count);
		fputs("\n", f);
	}
}

static void show_aside(struct runner *r, struct check_source *s, FILE *f, const char *arg)
{
	char shown[SHOWN_REF], name[NAME_SIZE];
	struct capdata methargs;
	struct row_aside row;

	(void)arg;
	each_row(s, T_ASIDE, at, val, len) {
		if (!row_aside_read(val, len, &row, &methargs))
			continue;
		fprintf(f, "%s  deaths %u  %s ", vat_name(s, get_be64(at), name), row.deaths,
			ref_name(r, s, row.target, shown));
		put_value(r, s, f, &methargs);
		fputs("\n", f);
	}
}

static void show_log(struct runner *r, struct check_source *s, FILE *f, const char *arg)
{
	static const char *const levels[] = { "debug", "info", "warning", "error" };
	uint64_t vat = endpoint_number((endpoint_t){ endpoint_named(r, s, arg) });
	struct row_log row;
	const char *line;
	size_t line_len;
	char text[2000];

	each_row(s, T_LOG, at, val, len) {
		if (get_be64(at) != vat || !row_log_read(val, len, &row, &line, &line_len))
			continue;
		escape_bytes(text, sizeof(text), line, line_len);
		fprintf(f, "%u  %s  %s\n", row.incarnation, levels[row.level & 3], text);
	}
}

static int next_row(void *ctx, const void *key, size_t key_len, bool or_equal, const void **keyp, size_t *key_lenp,
		    const void **valp, size_t *lenp)
{
	struct check_source *s = ctx;

	return s->next(s->ctx, T_VATSTORE, key, key_len, or_equal, keyp, key_lenp, valp, lenp);
}

static void show_vatstore(struct runner *r, struct check_source *s, FILE *f, const char *arg)
{
	struct vatwalk w;
	const void *val;
	size_t len;

	vatwalk_init(&w, next_row, s, endpoint_number((endpoint_t){ endpoint_named(r, s, arg) }), "", 0);
	while (vatwalk_step(&w, &val, &len) == 0) {
		char key[1000], value[1000];

		escape_bytes(key, sizeof(key), w.key, w.key_len);
		escape_bytes(value, sizeof(value), val, len);
		fprintf(f, "%s = %s\n", key, value);
	}
}

static void show_counts(struct runner *r, struct check_source *s, FILE *f, const char *arg)
{
	static const enum table shown[] = { T_VAT, T_SUBCLUSTER, T_OBJECT, T_PROMISE, T_CLIST, T_QUEUE, T_NOTIFYING, T_GC,
					    T_SWEEP, T_HOLD, T_ASIDE, T_SUSPECT };
	size_t i;

	(void)r; (void)arg;
	for (i = 0; i < ARRAY_LEN(shown); i++) {
		unsigned n = 0;

		each_row(s, shown[i], at, val, len)
			n += !((shown[i] == T_OBJECT && is_service(s, get_be64(at))) ||
			       (shown[i] == T_HOLD && at[8] == HOLD_SERVICE));
		if (n)
			fprintf(f, "%s %u\n", table_names[shown[i]], n);
	}
}

static const struct {
	const char *name;
	bool sorted;	/* lines by what they show: their order in the store says nothing */
	bool of_vat;	/* wants the name of one; `services` may have one of its own */
	void (*show)(struct runner *r, struct check_source *s, FILE *f, const char *arg);
} shows[] = {
	{ "vats", false, false, show_vats }, { "subclusters", false, false, show_subclusters },
	{ "objects", true, false, show_objects }, { "promises", true, false, show_promises },
	{ "clist", true, true, show_clist }, { "queue", false, false, show_queue }, { "gc", true, false, show_gc },
	{ "holds", true, false, show_holds }, { "aside", false, false, show_aside },
	{ "services", true, false, show_services }, { "log", false, true, show_log },
	{ "vatstore", false, true, show_vatstore }, { "counts", false, false, show_counts },
};

static int by_text(const void *a, const void *b) { return strverscmp(*(char *const *)a, *(char *const *)b); }

static char *sort_lines(char *text)
{
	char **lines = NULL, *out = NULL, *p, *end;
	size_t n = 0, i, len;
	FILE *f;

	for (p = text; *p; p = end + 1) {
		end = strchr(p, '\n');
		*end = '\0';
		lines = realloc(lines, (n + 1) * sizeof(*lines));
		lines[n++] = p;
	}
	if (n)
		qsort(lines, n, sizeof(*lines), by_text);
	f = open_memstream(&out, &len);
	for (i = 0; i < n; i++)
		fprintf(f, "%s\n", lines[i]);
	fclose(f);
	free(lines);
	free(text);
	return out;
}

struct wish { size_t i; const char *arg; char *out; };

static void show_one(struct runner *r, struct check_source *s, void *arg)
{
	struct wish *w = arg;
	size_t len;
	FILE *f = open_memstream(&w->out, &len);

	shows[w->i].show(r, s, f, w->arg);
	fclose(f);
}

char *tables_show(struct runner *r, const char *what, const char *arg)
{
	struct wish w = { .arg = arg };

	while (w.i < ARRAY_LEN(shows) && strcmp(shows[w.i].name, what))
		w.i++;
	if (w.i == ARRAY_LEN(shows))
		runner_fail(r, "there is no table \"%s\"", what);
	if (shows[w.i].of_vat != (*arg != '\0') && shows[w.i].show != show_services)
		runner_fail(r, shows[w.i].of_vat ? "state %s: of which vat?" : "state %s: takes no more words", what);
	tables_with(r, show_one, &w);
	return shows[w.i].sorted ? sort_lines(w.out) : w.out;
}

/* --- all of it, for comparing ----------------------------------------------------------------------------------------- */

/* What stays: the counters (META) and copies of programs. */
static bool stays(enum table t) { return t == T_META || t == T_CODE; }

char *tables_dump(struct check_source *s)
{
	char *text = NULL;
	size_t n, i;
	FILE *f = open_memstream(&text, &n);
	int t;

	for (t = 0; t < T_N; t++) {
		if (stays(t))
			continue;
		each_row(s, t, at, val, len) {
			fprintf(f, "%s ", table_names[t]);
			for (i = 0; i < at_len; i++)
				fprintf(f, "%02x", at[i]);
			fputs(" ", f);
			for (i = 0; i < (t == T_HOLD ? 8 : len); i++)	/* a hold's time is its own */
				fprintf(f, "%02x", ((const uint8_t *)val)[i]);
			fputs("\n", f);
		}
	}
	fclose(f);
	return text;
}

static uint64_t counter(struct check_source *s, const char *name)
{
	uint64_t n = 1;
	const void *val;
	size_t len;

	if (s->get(s->ctx, T_META, name, strlen(name), &val, &len) == 0 && len == 8)
		memcpy(&n, val, 8);
	return n;
}

static void note(struct runner *r, struct check_source *s, void *arg)
{
	(void)arg;
	r->base_object = counter(s, META_NEXT_OBJECT);
	r->base_promise = counter(s, META_NEXT_PROMISE);
	r->first_dump = tables_dump(s);
}

void tables_note_start(struct runner *r) { tables_with(r, note, NULL); }

static void add_line(void *ctx, const char *line) { fprintf(ctx, "%s\n", line); }

size_t tables_check(struct runner *r, struct check_source *s, char **linesp)
{
	size_t n = 0, len;
	FILE *f = open_memstream(linesp, &len);
	int e = check_store(s, add_line, f, &n);

	fclose(f);
	if (e)
		runner_fail(r, "the checker cannot read the store: %d", e);
	return n;
}

/* --- names in JSON ---------------------------------------------------------------------------------------------------- */

struct naming { json_t *json; };

/* Every ko12 or kp7 in the text, as a word. */
static char *name_in_text(struct runner *r, struct check_source *s, const char *text)
{
	char *out = NULL;
	size_t len;
	FILE *f = open_memstream(&out, &len);
	const char *p = text;

	while (*p) {
		size_t n = p[0] == 'k' && (p[1] == 'o' || p[1] == 'p') ? strspn(p + 2, "0123456789") : 0;
		char shown[SHOWN_REF];
		kref_t kref;

		if (n && (p == text || !isalnum((unsigned char)p[-1])) && !isalnum((unsigned char)p[n + 2]) &&
		    kref_parse(p, n + 2, &kref)) {
			fputs(ref_name(r, s, kref.bits, shown), f);
			p += n + 2;
		} else {
			fputc(*p++, f);
		}
	}
	fclose(f);
	return out;
}

static json_t *map_strings(json_t *json, char *(*map)(struct runner *, struct check_source *, const char *), struct runner *r,
			   struct check_source *s)
{
	const char *key;
	json_t *v, *out;
	size_t i;

	if (json_is_string(json)) {
		_cleanup_free_ char *text = map(r, s, json_string_value(json));

		return json_string(text);
	}
	if (json_is_array(json)) {
		out = json_array();
		json_array_foreach(json, i, v)
			json_array_append_new(out, map_strings(v, map, r, s));
		return out;
	}
	if (json_is_object(json)) {
		out = json_object();
		json_object_foreach(json, key, v)
			json_object_set_new(out, key, map_strings(v, map, r, s));
		return out;
	}
	return json_incref(json);
}

static void name_refs(struct runner *r, struct check_source *s, void *arg)
{
	struct naming *n = arg;
	json_t *out = map_strings(n->json, name_in_text, r, s);

	json_decref(n->json);
	n->json = out;
}

static bool mentions_refs(const json_t *json)
{
	_cleanup_free_ char *text = json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY);

	return text && (strstr(text, "ko") || strstr(text, "kp"));
}

json_t *tables_name_refs(struct runner *r, json_t *json)
{
	struct naming n = { json };

	if (mentions_refs(json) && r->up)
		tables_with(r, name_refs, &n);
	return n.json;
}

static uint64_t resolve_vref(struct runner *r, struct check_source *s, const char *vat, const char *text)
{
	struct row_clist row;
	const void *val;
	uint8_t key[16];
	size_t len;
	vref_t v;

	if (!vref_parse(text, strlen(text), &v))
		runner_fail(r, "\"%s\" is no reference of %s", text, vat);
	if (s->get(s->ctx, T_EREF, key, key_u64_u64(key, endpoint_named(r, s, vat), v.bits), &val, &len) ||
	    !row_clist_read(val, len, &row))
		runner_fail(r, "%s has no %s", vat, text);
	return row.ref;
}

/* "b/o+0", "@console", "ko3", "v:b", "s:b" become what the kernel calls them; everything else stays. */
static char *resolve_text(struct runner *r, struct check_source *s, const char *text)
{
	char name[NAME_SIZE], rest[REF_TEXT_MAX], buf[REF_TEXT_MAX], *out = NULL;
	struct row_service service = { 0 };
	struct row_vat row;
	const void *val;
	uint8_t key[8];
	size_t len;
	int n = 0;
	kref_t kref;

	if (sscanf(text, "%71[A-Za-z0-9._-]/%39[op+d0-9v.:-]%n", name, rest, &n) == 2 && !text[n] && actor_find(r, name)) {
		kref.bits = resolve_vref(r, s, name, rest);
		return strdup(kref_format(kref, buf));
	}
	if (text[0] == '@' && text[1] && s->get(s->ctx, T_SERVICE, text + 1, strlen(text + 1), &val, &len) == 0) {
		memcpy(&service, val, len < sizeof(service) ? len : sizeof(service));
		return strdup(kref_format((kref_t){ service.kref }, buf));
	}
	if (kref_parse(text, strlen(text), &kref)) {
		kref.bits += (kref_is_promise(kref) ? r->base_promise : r->base_object) - 1;
		return strdup(kref_format(kref, buf));
	}
	if ((text[0] == 'v' || text[0] == 's') && text[1] == ':') {
		uint64_t vat = endpoint_number((endpoint_t){ endpoint_named(r, s, text + 2) });

		if (text[0] == 's' && s->get(s->ctx, T_VAT, key, key_u64(key, vat), &val, &len) == 0 &&
		    row_vat_read(val, len, &row))
			vat = row.subcluster;
		if (asprintf(&out, "%c%" PRIu64, text[0], vat) < 0)
			return NULL;
		return out;
	}
	return strdup(text);
}

static void resolve_refs(struct runner *r, struct check_source *s, void *arg)
{
	struct naming *n = arg;
	json_t *out = map_strings(n->json, resolve_text, r, s);

	json_decref(n->json);
	n->json = out;
}

json_t *tables_resolve_refs(struct runner *r, json_t *json)
{
	struct naming n = { json };

	if (r->up)
		tables_with(r, resolve_refs, &n);
	return n.json;
}
