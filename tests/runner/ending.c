/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold after every scenario: nothing unread, and when all is let go of, nothing left: the store is as it was after
 * the first boot, no process is asked for, no file lies about, and the recount agrees (C6).
 */
#include <dirent.h>

#include "../../lib/reader.h"
#include "play.h"

static void nothing_unread(struct runner *r)
{
	struct actor *a;

	backend_quiet(r);
	for (a = r->actors; a && !r->drop_rest; a = a->next) {
		if (a->deliveries.first)
			runner_fail(r, "at the end %s has a delivery that no step took: %.1500s", a->name,
				    a->deliveries.first->text);
		if (a->answers.first)
			runner_fail(r, "at the end %s has an answer that no step took: %.1500s", a->name,
				    a->answers.first->text);
	}
}

static void check_counts(struct runner *r, struct check_source *s, void *arg)
{
	char *lines;

	(void)arg;
	if (tables_check(r, s, &lines))
		runner_fail(r, "C6: the checker says\n%s", lines);
	free(lines);
}

/* Those of programs outside; the kernel's own it refuses. */
static void unregister_services(struct runner *r)
{
	json_t *reply = link_call(r, "listServices", json_object()), *one;
	size_t i;

	json_array_foreach(json_object_get(json_object_get(reply, "result"), "services"), i, one)
		json_decref(link_call(r, "unregisterService", json_pack("{sO}", "name", json_object_get(one, "name"))));
	json_decref(reply);
}

/* What callers and people hold, and the subclusters themselves. */
static void let_go(struct runner *r)
{
	json_t *reply, *list, *one;
	struct actor *a;
	size_t i;

	for (a = r->actors; a; a = a->next) {
		a->wait_start = a->wait_kill = false;
		a->fail_start[0] = '\0';
		if (a->kill_asked)
			actor_ends(r, a, 9);
		if (a->start_asked)
			actor_start_now(r, a);
	}
	links_close(r);
	backend_quiet(r);
	reply = link_call(r, "getStatus", json_object());
	list = json_object_get(json_object_get(reply, "result"), "subclusters");
	json_array_foreach(list, i, one)
		json_decref(link_call(r, "terminateSubcluster", json_pack("{sO}", "id", json_object_get(one, "id"))));
	json_decref(reply);
	reply = link_call(r, "holds", json_object());
	list = json_object_get(json_object_get(reply, "result"), "holds");
	json_array_foreach(list, i, one)
		if (!strcmp(json_string_value(json_object_get(one, "kind")), "person"))
			json_decref(link_call(r, "release", json_pack("{sO}", "kref", json_object_get(one, "kref"))));
	json_decref(reply);
	unregister_services(r);
	backend_quiet(r);
	for (a = r->actors; a; a = a->next)
		if (a->process || a->start_asked)
			runner_fail(r, "at the end, with everything terminated, %s has a process", a->name);
}

/* May the table differ? `# leaves: TABLE … - reason` */
static bool may_differ(struct runner *r, const char *line)
{
	const char *p = r->script.leaves, *end = p ? strstr(p, " - ") : NULL;
	size_t n = strcspn(line, " ");

	for (; p && p < end; p += strcspn(p, " "), p += strspn(p, " "))
		if (!strncmp(p, line, n) && (p[n] == ' ' || p + n == end))
			return true;
	return false;
}

/* Lines of `a` that are not in `b`. */
static void print_missing(struct runner *r, FILE *f, const char *sign, const char *a, const char *b)
{
	const char *end;

	for (; *a; a = end + 1) {
		_cleanup_free_ char *line = NULL;

		end = strchr(a, '\n');
		line = strndup(a, end + 1 - a);
		if (!strstr(b, line) && !may_differ(r, line))
			fprintf(f, "%s%s", sign, line);
	}
}

static void compare_with_start(struct runner *r, struct check_source *s, void *arg)
{
	_cleanup_free_ char *dump = tables_dump(s), *diff = NULL;
	size_t n;
	FILE *f;

	check_counts(r, s, arg);
	f = open_memstream(&diff, &n);
	print_missing(r, f, "- ", r->first_dump, dump);
	print_missing(r, f, "+ ", dump, r->first_dump);
	fclose(f);
	if (*diff)
		runner_fail(r, "at the end the store is not as it was after the first boot (- missing, + left; key and row in "
			    "hexadecimal):\n%s", diff);
}

static void no_files(struct runner *r, const char *dir, const char *allowed)
{
	DIR *d = opendir(dir);
	struct dirent *e;

	while (d && (e = readdir(d)))
		if (e->d_name[0] != '.' && !strstr(allowed, e->d_name))
			runner_fail(r, "at the end there is a file %s in %s", e->d_name, dir);
	if (d)
		closedir(d);
}

static void check_closed(struct runner *r)
{
	struct check_source s = { .get = (void *)reader_get, .next = (void *)reader_next };
	struct reader *reader = NULL;
	int e = reader_open_dir(&reader, r->store);

	r->closed = true;
	if (e == 0)
		e = reader_begin(reader);
	if (e)
		runner_fail(r, "at the end the store cannot be read: %d", e);
	s.ctx = reader;
	compare_with_start(r, &s, NULL);
	reader_end(reader);
	reader_free(reader);
}

void ending_check(struct runner *r)
{
	runner_trace(r, "      the end");
	if (!r->up)
		backend_start(r);
	nothing_unread(r);
	tables_with(r, check_counts, NULL);
	let_go(r);
	if (runner_may_go_astray(r))	/* an answer on which that relied may have been wrong */
		let_go(r);
	backend_stop(r);
	check_closed(r);
	no_files(r, r->store, "data.mdb lock.mdb code under-way");
	no_files(r, r->run, "");
}
