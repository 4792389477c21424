/* SPDX-License-Identifier: Apache-2.0 */
/* ls, cat, tree: see view.h. */
#include "view.h"

#include <time.h>

#include "text_json.h"
#include "viewer.h"

#define FOLLOW_NS	500000000	/* between two looks at a log */
#define DEPTH_MAX	64u
#define BODY_MAX	(UINT64_C(1) << 30)
#define EVENT_MAX	8192u		/* bytes of a line of a stream */

/* --- asking ------------------------------------------------------------------------------------------------------ */

/* "capstan: vats/v9: No such file or directory", as the tools say it. */
static int path_error(const char *path, const char *message)
{
	return output_error(OUTPUT_REFUSED, *path ? path : "/", "%s", message);
}

/* As capstan-fs knows it. */
static const char *tree_path(const struct view_options *o, const char *path)
{
	size_t n = strlen(o->run_dir);

	while (n > 1 && o->run_dir[n - 1] == '/')
		n--;
	if (strncmp(path, o->run_dir, n) || strncmp(path + n, "/fs", 3) || (path[n + 3] && path[n + 3] != '/'))
		return path;
	return path + n + 3;
}

/* The first line of the answer; takes `request`, which lacks the path. */
static int ask(struct viewer *v, const struct view_options *o, const char *path, json_t *request, json_t **headp)
{
	json_t *text = json_string(tree_path(o, path)), *head = NULL;
	const char *error;
	int r;

	if (!text) {
		json_decref(request);
		return path_error(path, "No such file or directory");	/* every name in there is UTF-8 */
	}
	if (!request || json_object_set_new(request, "path", text)) {
		json_decref(request);
		return output_no_memory();
	}
	r = viewer_ask(v, request);
	if (!r)
		r = viewer_line(v, &head);
	if (r)
		return r;
	error = json_string_value(json_object_get(head, "message"));
	if (json_object_get(head, "error")) {
		r = path_error(path, error ? error : "error");
		json_decref(head);
		return r;
	}
	*headp = head;
	return OUTPUT_OK;
}

static const char *member(const json_t *object, const char *key)
{
	const char *s = json_string_value(json_object_get(object, key));

	return s ? s : "";
}

static bool is_directory(const json_t *node)
{
	return !strcmp(member(node, "type"), "directory");
}

/* The next entry of a listing; *entryp NULL: there are no more. */
static int next_entry(struct viewer *v, const char *path, json_t **entryp)
{
	json_t *line = NULL;
	int r = viewer_line(v, &line);

	*entryp = NULL;
	if (r)
		return r;
	if (json_object_get(line, "error"))
		r = path_error(path, member(line, "message"));
	else if (!json_object_get(line, "end"))
		*entryp = json_incref(line);
	json_decref(line);
	return r;
}

/* --- ls ---------------------------------------------------------------------------------------------------------- */

static void mode_text(const json_t *entry, char out[11])
{
	const char *type = member(entry, "type");
	unsigned long mode = strtoul(member(entry, "mode"), NULL, 8);

	out[0] = *type == 'd' ? 'd' : *type == 'l' ? 'l' : '-';
	for (unsigned int i = 0; i < 9; i++)
		out[i + 1] = mode & 0400u >> i ? "rwx"[i % 3] : '-';
	out[10] = '\0';
}

static void print_escaped(const char *text)
{
	char buf[2048];

	escape_bytes(buf, sizeof(buf), text, strlen(text));
	fputs(buf, stdout);
}

static void print_details(const json_t *entry)
{
	char mode[11], size[32] = "-";
	const json_t *n = json_object_get(entry, "size");

	mode_text(entry, mode);
	if (json_is_integer(n))
		snprintf(size, sizeof(size), "%lld", (long long)json_integer_value(n));
	printf("%s  %10s  ", mode, size);
}

static void print_name(const struct view_options *o, const json_t *entry)
{
	print_escaped(member(entry, "name"));
	if (o->details && *member(entry, "link")) {
		fputs(" -> ", stdout);
		print_escaped(member(entry, "link"));
	}
	putchar('\n');
}

static void print_value(const json_t *json)
{
	json_dumpf(json, stdout, OUTPUT_JSON_FLAGS);
}

static void print_entry(const struct view_options *o, const json_t *entry, bool first)
{
	if (o->json) {
		if (!first)
			putchar(',');
		print_value(entry);
		return;
	}
	if (o->details)
		print_details(entry);
	print_name(o, entry);
}

static int list_entries(struct viewer *v, const struct view_options *o, const char *path, const json_t *head)
{
	json_t *entry = NULL;
	bool first = true;
	int r = OUTPUT_OK;

	if (o->json)
		putchar('[');
	if (!is_directory(head)) {
		entry = json_copy((json_t *)(uintptr_t)head);
		json_object_set_new(entry, "name", json_string(path));
		print_entry(o, entry, true);
		json_decref(entry);
	}
	while (!(r = next_entry(v, path, &entry)) && entry) {
		print_entry(o, entry, first);
		first = false;
		json_decref(entry);
	}
	if (o->json)
		puts("]");
	return r;
}

int view_ls(const struct view_options *o, const char *path)
{
	struct viewer v = VIEWER_INIT;
	json_t *head = NULL;
	int r = viewer_open(&v, o->run_dir);

	if (!r)		/* as ls: with -l a link is shown, else what it leads to */
		r = ask(&v, o, path, json_pack("{s:s, s:b}", "op", "ls", "link", o->details), &head);
	if (!r)
		r = list_entries(&v, o, path, head);
	json_decref(head);
	viewer_close(&v);
	return r;
}

/* --- tree -------------------------------------------------------------------------------------------------------- */

/* The directories that are open, from the one that was asked for; whether they have an entry yet. */
struct nest { bool any[DEPTH_MAX + 1]; size_t n; };

static void close_down_to(struct nest *nest, size_t depth)
{
	for (; nest->n > depth; nest->n--)
		fputs("]}", stdout);
}

/* An object, which stays open when it is a directory. */
static void print_nested(struct nest *nest, json_t *entry)
{
	_cleanup_free_ char *text = json_dumps(entry, OUTPUT_JSON_FLAGS);

	if (!text)
		return;
	if (nest->n && nest->any[nest->n - 1])
		putchar(',');
	if (nest->n)
		nest->any[nest->n - 1] = true;
	if (!is_directory(entry)) {
		fputs(text, stdout);
		return;
	}
	text[strlen(text) - 1] = '\0';
	printf("%s,\"contents\":[", text);
	nest->any[nest->n++] = false;
}

static void print_indented(const json_t *entry, size_t depth)
{
	printf("%*s", (int)(2 * depth), "");
	print_escaped(member(entry, "name"));
	if (is_directory(entry))
		putchar('/');
	if (*member(entry, "link")) {
		fputs(" -> ", stdout);
		print_escaped(member(entry, "link"));
	}
	putchar('\n');
}

static int tree_entries(struct viewer *v, const struct view_options *o, const char *path, struct nest *nest)
{
	json_t *entry;
	int r;

	while (!(r = next_entry(v, path, &entry)) && entry) {
		json_int_t depth = json_integer_value(json_object_get(entry, "depth"));

		if (depth < 1 || depth >= (json_int_t)DEPTH_MAX || (o->json && (size_t)depth > nest->n)) {
			r = output_error(OUTPUT_REFUSED, "BAD_ANSWER", "an entry without its place");
		} else if (o->json) {
			close_down_to(nest, (size_t)depth);
			json_object_del(entry, "depth");
			print_nested(nest, entry);
		} else {
			print_indented(entry, (size_t)depth);
		}
		json_decref(entry);
		if (r)
			return r;
	}
	return r;
}

int view_tree(const struct view_options *o, const char *path)
{
	struct viewer v = VIEWER_INIT;
	struct nest nest = { 0 };
	json_t *head = NULL, *request = json_pack("{s:s}", "op", "tree");
	int r = viewer_open(&v, o->run_dir);

	if (request && o->depth != UINT64_MAX)
		json_object_set_new(request, "depth", json_integer((json_int_t)o->depth));
	if (r)
		json_decref(request);
	else
		r = ask(&v, o, path, request, &head);
	if (!r) {
		json_object_set_new(head, "name", json_string(*path ? path : "."));
		if (o->json)
			print_nested(&nest, head);
		else
			print_indented(head, 0);
		r = tree_entries(&v, o, path, &nest);
		close_down_to(&nest, 0);
		if (o->json)
			putchar('\n');
	}
	json_decref(head);
	viewer_close(&v);
	return r;
}

/* --- cat --------------------------------------------------------------------------------------------------------- */

/* As it comes; endless: until the other side ends, which is never its intention. */
static int copy_body(struct viewer *v, uint64_t left, bool endless)
{
	const char *data;
	size_t n = 1;

	while (left && n) {
		int r = viewer_bytes(v, left, endless, &data, &n);

		if (r)
			return r;
		fwrite(data, 1, n, stdout);
		if (endless && fflush(stdout))
			return OUTPUT_REFUSED;		/* main() says it */
		left -= endless ? 0 : n;
	}
	return left ? viewer_lost() : OUTPUT_OK;
}

/* All of it, malloc'd. */
static int read_body(struct viewer *v, uint64_t len, char **bodyp)
{
	_cleanup_free_ char *body = len < BODY_MAX ? malloc(len + 1) : NULL;
	const char *data;
	size_t n = 1;

	if (!body)
		return output_no_memory();
	for (uint64_t at = 0; at < len && n; at += n) {
		int r = viewer_bytes(v, len - at, false, &data, &n);

		if (r)
			return r;
		if (!n)
			return viewer_lost();
		memcpy(body + at, data, n);
	}
	*bodyp = TAKE_PTR(body);
	return OUTPUT_OK;
}

/* One value on one line; of a log that is followed, one for each line. */
static int print_body_json(struct viewer *v, const json_t *head, uint64_t len, bool lines)
{
	_cleanup_free_ char *body = NULL;
	int r = read_body(v, len, &body);
	json_t *json;

	if (r)
		return r;
	json = text_to_json(member(head, "format"), body, len);
	if (!json)
		return output_no_memory();
	if (!lines)
		output_json(json);
	for (size_t i = 0; lines && i < json_array_size(json); i++)
		output_json(json_array_get(json, i));
	json_decref(json);
	return OUTPUT_OK;
}

/* One value for each line, as they come. */
static int print_stream_json(struct viewer *v, const json_t *head)
{
	char line[EVENT_MAX], *end;
	size_t len = 0, n;
	const char *data;
	int r;

	while (!(r = viewer_bytes(v, sizeof(line) - len, true, &data, &n)) && n) {
		memcpy(line + len, data, n);
		len += n;
		while ((end = memchr(line, '\n', len))) {
			json_t *list = text_to_json(member(head, "format"), line, (size_t)(end - line));

			output_json(json_array_get(list, 0));
			json_decref(list);
			len -= (size_t)(end + 1 - line);
			memmove(line, end + 1, len);
		}
		if (fflush(stdout))
			return OUTPUT_REFUSED;		/* main() says it */
	}
	return r ? r : viewer_lost();
}

static int print_body(struct viewer *v, const struct view_options *o, const char *path, const json_t *head, bool lines)
{
	const json_t *length = json_object_get(head, "length");
	uint64_t len = (uint64_t)json_integer_value(length);
	int r;

	if (!length)
		return o->json ? print_stream_json(v, head) : copy_body(v, UINT64_MAX, true);
	r = o->json ? print_body_json(v, head, len, lines) : copy_body(v, len, false);
	if (!r && o->json && json_is_true(json_object_get(head, "cut")))
		r = path_error(path, "too long: not all of it is shown");
	return r;
}

static int cat_one(struct viewer *v, const struct view_options *o, const char *path)
{
	json_t *head = NULL;
	int r = ask(v, o, path, json_pack("{s:s}", "op", "cat"), &head);

	if (!r)
		r = print_body(v, o, path, head, false);
	json_decref(head);
	return r;
}

static int say_lost(const char *path, json_int_t n)
{
	char text[100];

	snprintf(text, sizeof(text), "%lld bytes were thrown away before they were read", (long long)n);
	path_error(path, text);
	return OUTPUT_OK;
}

/* What a log has got since; *atp goes on. *emptyp: nothing. The vat's end is the end: OUTPUT_OK and *endp. */
static int follow_once(struct viewer *v, const struct view_options *o, const char *path, json_int_t *atp, bool *emptyp)
{
	json_t *head = NULL;
	json_int_t offset;
	int r = ask(v, o, path, json_pack("{s:s, s:I}", "op", "cat", "offset", *atp), &head);

	if (r)
		return r;
	offset = json_integer_value(json_object_get(head, "offset"));
	if (json_object_get(head, "length") && !json_object_get(head, "offset"))
		r = path_error(path, "not a log: nothing is added at its end");
	if (!r && *atp && offset > *atp)
		say_lost(path, offset - *atp);
	if (!r)
		r = print_body(v, o, path, head, true);
	*emptyp = !json_integer_value(json_object_get(head, "length"));
	*atp = offset + json_integer_value(json_object_get(head, "length"));
	json_decref(head);
	return r;
}

static int follow(struct viewer *v, const struct view_options *o, const char *path)
{
	struct timespec pause = { .tv_nsec = FOLLOW_NS };
	json_int_t at = 0;
	bool empty;
	int r;

	while (!(r = follow_once(v, o, path, &at, &empty)) && !fflush(stdout))
		if (empty)
			nanosleep(&pause, NULL);
	return r;
}

int view_cat(const struct view_options *o, char *const *paths, size_t n)
{
	struct viewer v = VIEWER_INIT;
	int worst = viewer_open(&v, o->run_dir);

	for (size_t i = 0; i < n && worst != OUTPUT_NO_BROKER; i++) {
		int r = o->follow ? follow(&v, o, paths[i]) : cat_one(&v, o, paths[i]);

		if (r)
			worst = r;
		if (r && o->json && n > 1)	/* so that each line belongs to its path */
			puts("null");
	}
	viewer_close(&v);
	return worst;
}
