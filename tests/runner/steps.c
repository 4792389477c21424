/* SPDX-License-Identifier: Apache-2.0 */
/* The language: one step a line. tests/scenarios/README.md is its description; the tables at the end are its grammar. */
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "play.h"

#define REST_MS	2000	/* the kernel is at rest and so long nothing came: nothing will */

/* --- words of a line -------------------------------------------------------------------------------------------------- */

static char *next_word(char **at)
{
	char *start = *at + strspn(*at, " \t");

	if (!*start)
		return NULL;
	*at = start + strcspn(start, " \t");
	if (**at)
		*(*at)++ = '\0';
	*at += strspn(*at, " \t");
	return start;
}

static char *need_word(struct runner *r, char **at, const char *what)
{
	char *w = next_word(at);

	if (!w)
		runner_fail(r, "%s is missing at the end of the line", what);
	return w;
}

/* The rest of the line begins with `text`, as whole words: then it is taken. */
static bool take_words(char **at, const char *text)
{
	size_t n = strlen(text);

	if (strncmp(*at, text, n) || ((*at)[n] && (*at)[n] != ' ' && (*at)[n] != '\t'))
		return false;
	*at += n;
	*at += strspn(*at, " \t");
	return true;
}

static void need_end(struct runner *r, const char *at)
{
	if (*at)
		runner_fail(r, "\"%s\" is too much", at);
}

static char *unquote(char *s)
{
	size_t n = strlen(s);

	if (n < 2 || s[0] != '"' || s[n - 1] != '"')
		return s;
	s[n - 1] = '\0';
	return s + 1;
}

static json_t *need_json(struct runner *r, const char *text)
{
	json_error_t where;
	json_t *json = json_loads(text, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &where);

	if (!json)
		runner_fail(r, "this is not JSON (%s): %s", where.text, text);
	return json;
}

static struct actor *need_actor(struct runner *r, const char *name)
{
	struct actor *a = actor_find(r, name);

	if (!a)
		runner_fail(r, "\"%s\" is neither a step nor a vat", name);
	return a;
}

static const char *substitute(const char *text, unsigned n)
{
	char *out = NULL;
	size_t len;
	FILE *f = open_memstream(&out, &len);

	for (; *text; text++) {
		if (!strncmp(text, "{n}", 3)) {
			fprintf(f, "%u", n);
			text += 2;
		} else {
			fputc(*text, f);
		}
	}
	fclose(f);
	return out;
}

/* --- deliveries ------------------------------------------------------------------------------------------------------- */

/* <KERNEL:CODE> stands for any detail, <ANY> for any body, which ends where the slots begin. */
static bool same_text(const char *want, const char *got)
{
	while (*want && *got) {
		if (!strncmp(want, "<ANY>", 5)) {
			want += 5;
			got = strstr(got, " [") ? strstr(got, " [") : got;
		} else if (*want == *got) {
			want++;
			got++;
		} else if (*want == '>' && *got == ' ' && strstr(got, "> [")) {
			got = strstr(got, "> [");
		} else {
			return false;
		}
	}
	return !*want && !*got;
}

static struct heard_list *list_of(struct actor *a, const char *want)
{
	if (!strncmp(want, "storeValue", 10))
		return &a->answers;
	if (!strncmp(want, "init", 4) || !strncmp(want, "ping", 4) || !strncmp(want, "shutdown", 8))
		return &a->others;
	return &a->deliveries;
}

static char *clip(const char *text)
{
	char *out;

	if (asprintf(&out, "%.1500s%s", text, strlen(text) > 1500 ? "…" : "") < 0)
		abort();
	return out;
}

/* Waits for something in the list; NULL when the kernel rests and nothing comes. */
static struct heard *await_heard(struct runner *r, struct actor *a, struct heard_list *l)
{
	uint64_t begin = now_monotonic_ns();
	bool rested = false;

	backend_turn(r, 0);
	while (!l->first) {
		uint64_t now = now_monotonic_ns();

		if (!runner_is_patient(r, begin))
			return NULL;
		if (!rested && now - begin > REST_MS * UINT64_C(1000000)) {
			backend_quiet(r);
			if (l->first)
				break;
			return NULL;
		}
		backend_turn(r, r->kernel ? 1 : 50);
	}
	return actor_take(a, l);
}

static void expect(struct runner *r, struct actor *a, const char *want)
{
	struct heard_list *l = list_of(a, want);
	size_t word = strcspn(want, " ");
	struct heard *h = await_heard(r, a, l);

	/* Frames about the process itself are read in any order, and need not be. */
	while (h && l == &a->others && strncmp(h->text, want, word)) {
		heard_free(h);
		h = await_heard(r, a, l);
	}
	if (!h)
		runner_fail(r, "%s got nothing\n       expected %s", a->name, clip(want));
	if (!same_text(want, h->text))
		runner_fail(r, "%s got something else\n       expected %s\n       came     %s", a->name, clip(want), clip(h->text));
	if (l == &a->deliveries)
		actor_begin(r, a, h);
	heard_free(h);
}

static void gets_nothing(struct runner *r, struct actor *a)
{
	backend_quiet(r);
	if (a->deliveries.first)
		runner_fail(r, "%s got %s", a->name, clip(a->deliveries.first->text));
	if (a->answers.first)
		runner_fail(r, "%s got %s", a->name, clip(a->answers.first->text));
}

static void vat_gets(struct runner *r, struct actor *a, char *at)
{
	if (take_words(&at, "nothing"))
		gets_nothing(r, a);
	else
		expect(r, a, at);
}

static void vat_takes(struct runner *r, struct actor *a, char *at)
{
	unsigned n = 1, i;
	int skip = 0;

	if (sscanf(at, "%u * %n", &n, &skip) != 1 || !skip)
		n = 1, skip = 0;
	for (i = 1; i <= n; i++) {
		_cleanup_free_ const char *want = substitute(at + skip, i);

		expect(r, a, want);
		actor_says(r, a, "done");
	}
}

static void vat_does(struct runner *r, struct actor *a, char *at)
{
	if (!*at)
		runner_fail(r, "%s does what?", a->name);
	actor_says(r, a, at);
}

/* packet FIELD…: these bytes; cut N FRAME: its first N bytes; empty packet */
static void vat_sends(struct runner *r, struct actor *a, char *at)
{
	_cleanup_(wire_buf_deinit) struct wire_buf b = WIRE_BUF_INIT;
	char error[WORDS_ERROR_MAX], *raw = NULL;
	size_t len = SIZE_MAX;

	if (take_words(&at, "empty packet")) {
		actor_sends(r, a, "", 0);
		return;
	}
	if (take_words(&at, "packet")) {
		if (asprintf(&raw, "raw %s", at) < 0)
			return;
		at = raw;
	} else if (take_words(&at, "cut")) {
		len = strtoul(need_word(r, &at, "a number of bytes"), NULL, 10);
	} else {
		runner_fail(r, "%s sends what? (packet …, cut N …, empty packet)", a->name);
	}
	if (!words_encode(&b, a->delivery, at, error))
		runner_fail(r, "in \"%.200s\": %s", at, error);
	runner_trace(r, "        %s -> %zu bytes of a packet", a->name, b.len < len ? b.len : len);
	actor_sends(r, a, b.data, b.len < len ? b.len : len);
	free(raw);
}

static void vat_hangs_up(struct runner *r, struct actor *a, char *at)
{
	need_end(r, at);
	actor_hangs_up(a);
}

static void vat_half_closes(struct runner *r, struct actor *a, char *at)
{
	need_end(r, at);
	runner_must(r, shutdown(a->fd, SHUT_WR));
}

static void vat_stops_reading(struct runner *r, struct actor *a, char *at)
{
	(void)r;
	need_end(r, at);
	a->deaf = true;
}

static void vat_reads_again(struct runner *r, struct actor *a, char *at)
{
	need_end(r, at);
	a->deaf = false;
	backend_turn(r, 0);
}

static void vat_dies(struct runner *r, struct actor *a, char *at)
{
	int signal_number = SIGKILL;

	if (take_words(&at, "signal"))
		signal_number = atoi(need_word(r, &at, "a signal"));
	need_end(r, at);
	actor_ends(r, a, signal_number);
}

static void vat_dies_saying(struct runner *r, struct actor *a, char *at) { actor_ends_saying(r, a, at); }

static void vat_exits(struct runner *r, struct actor *a, char *at)
{
	actor_ends(r, a, atoi(need_word(r, &at, "an exit status")) << 8);
}

static bool was_killed(struct runner *r, void *arg)
{
	struct actor *a = arg;

	(void)r;
	return a->n_kills;
}

static void vat_is_killed(struct runner *r, struct actor *a, char *at)
{
	need_end(r, at);
	backend_await(r, was_killed, a, "the kernel ends its process");
	a->n_kills = 0;
}

static void vat_is_not_killed(struct runner *r, struct actor *a, char *at)
{
	need_end(r, at);
	backend_quiet(r);
	if (a->n_kills)
		runner_fail(r, "the kernel had the process of %s killed", a->name);
}

static bool start_was_asked(struct runner *r, void *arg)
{
	struct actor *a = arg;

	(void)r;
	return a->start_asked || a->process;
}

static void vat_starts(struct runner *r, struct actor *a, char *at)
{
	need_end(r, at);
	backend_await(r, start_was_asked, a, "the kernel asks for its process");
	a->wait_start = false;
	if (a->start_asked)
		actor_start_now(r, a);
}

static void vat_is_reaped(struct runner *r, struct actor *a, char *at)
{
	int signal_number = SIGKILL;

	if (take_words(&at, "signal"))
		signal_number = atoi(need_word(r, &at, "a signal"));
	need_end(r, at);
	vat_is_killed(r, a, at);
	a->wait_kill = false;
	if (a->kill_asked)
		actor_ends(r, a, signal_number);
}

static void vat_has_no_process(struct runner *r, struct actor *a, char *at)
{
	need_end(r, at);
	backend_quiet(r);
	if (a->process || a->start_asked)
		runner_fail(r, "%s has a process, or one was asked for", a->name);
}

/* --- the outside ------------------------------------------------------------------------------------------------------ */

static bool mentions_names(const char *text) { return strpbrk(text, "/@:") || strstr(text, "\"k"); }

static json_t *parameters(struct runner *r, const char *text)
{
	if (mentions_names(text))
		backend_quiet(r);
	return tables_resolve_refs(r, need_json(r, *text ? text : "{}"));
}

struct waited { struct ask *ask; };

static bool has_reply(struct runner *r, void *arg)
{
	(void)r;
	return ((struct waited *)arg)->ask->reply;
}

static struct ask *await_answer(struct runner *r, const char *name, struct link **linkp)
{
	struct waited w = { ask_find(r, name, linkp) };

	if (!w.ask)
		runner_fail(r, "nothing was asked that is called \"%s\", or its answer was looked at", name);
	backend_await(r, has_reply, &w, "the answer");
	if (json_object_get(w.ask->reply, "result")) {
		json_t *json = json_object_get(w.ask->reply, "result");

		json_object_set_new(w.ask->reply, "result", tables_name_refs(r, json_incref(json)));
	}
	return w.ask;
}

static void expect_result(struct runner *r, const char *name, const char *text, bool contained)
{
	struct link *l;
	struct ask *a = await_answer(r, name, &l);
	json_t *result = json_object_get(a->reply, "result"), *want = need_json(r, text);
	_cleanup_free_ char *all = json_dumps(a->reply, JSON_COMPACT);
	char *differs;

	if (!result)
		runner_fail(r, "the answer is no result: %s", all);
	differs = json_differs(want, result, contained);
	if (differs)
		runner_fail(r, "the answer differs\n       %s\n       all of it: %s", differs, clip(all));
	json_decref(want);
	ask_forget(l, a);
}

static void expect_failure(struct runner *r, const char *name, char *at)
{
	const char *code = need_word(r, &at, "a code");
	struct link *l;
	struct ask *a = await_answer(r, name, &l);
	json_t *error = json_object_get(a->reply, "error"), *data = json_object_get(error, "data");
	const char *kernel_code = json_string_value(json_object_get(data, "code")), *message;
	_cleanup_free_ char *all = json_dumps(a->reply, JSON_COMPACT);
	char number[32];

	if (!error)
		runner_fail(r, "the answer is no error: %s", clip(all));
	snprintf(number, sizeof(number), "%lld", (long long)json_integer_value(json_object_get(error, "code")));
	if (strcmp(code, kernel_code ? kernel_code : number))
		runner_fail(r, "another error\n       expected %s\n       came     %s", code, all);
	message = json_string_value(json_object_get(error, "message"));
	if (*at && !strstr(message, unquote(at)))
		runner_fail(r, "the error does not say \"%s\": %s", at, message);
	ask_forget(l, a);
}

/* `it` was asked and nobody looks at the answer: it must be a result. */
static void settle_it(struct runner *r)
{
	struct link *l;
	struct ask *a;

	if (!ask_find(r, "it", &l))
		return;
	a = await_answer(r, "it", &l);
	if (json_object_get(a->reply, "error")) {
		_cleanup_free_ char *all = json_dumps(a->reply, JSON_COMPACT);

		runner_fail(r, "what was asked before failed: %s", all);
	}
	ask_forget(l, a);
}

static void ask_as(struct runner *r, struct link *l, const char *name, char *at)
{
	const char *method = need_word(r, &at, "a method");

	if (ask_find(r, name, &l) && strcmp(name, "it"))
		runner_fail(r, "something else is called \"%s\" and not answered yet", name);
	link_ask(r, l, name, method, parameters(r, at), NULL, 0);
}

static void do_control(struct runner *r, char *at) { ask_as(r, link_get(r, "host"), "it", at); }

static void ask_on(struct runner *r, const char *link, char *at)
{
	const char *name = need_word(r, &at, "a name for the answer"), *method = need_word(r, &at, "a method");
	struct link *unused;

	if (ask_find(r, name, &unused))
		runner_fail(r, "something else is called \"%s\" and its answer was not looked at", name);
	link_ask(r, link_get(r, link), name, method, parameters(r, at), NULL, 0);
}

static void do_ask(struct runner *r, char *at) { ask_on(r, "host", at); }

static void do_call(struct runner *r, char *at)
{
	const char *name = need_word(r, &at, "a name for the answer"), *target = need_word(r, &at, "a target");
	const char *method = need_word(r, &at, "a method");
	bool hold = take_words(&at, "and hold");
	json_t *params = json_pack("{sssssosb}", "target", target, "method", method, "args", need_json(r, *at ? at : "[]"), "hold",
				   hold);

	backend_quiet(r);
	link_ask(r, link_get(r, "host"), name, "queueMessage", tables_resolve_refs(r, params), NULL, 0);
}

static void do_answer(struct runner *r, char *at)
{
	char *name = need_word(r, &at, "a name");

	if (take_words(&at, "is"))
		expect_result(r, name, at, false);
	else if (take_words(&at, "has"))
		expect_result(r, name, at, true);
	else if (take_words(&at, "fails"))
		expect_failure(r, name, at);
	else
		runner_fail(r, "the answer is, has or fails");
}

static void do_replies(struct runner *r, char *at)
{
	if (take_words(&at, "with"))
		expect_result(r, "it", at, true);
	else
		expect_result(r, "it", at, false);
}

static void do_fails(struct runner *r, char *at) { expect_failure(r, "it", at); }

static void do_no(struct runner *r, char *at)
{
	char *name;
	struct ask *a;
	struct link *l;

	if (!take_words(&at, "answer"))
		runner_fail(r, "no answer NAME");
	name = need_word(r, &at, "a name");
	backend_quiet(r);
	a = ask_find(r, name, &l);
	if (!a)
		runner_fail(r, "nothing was asked that is called \"%s\"", name);
	if (a->reply)
		runner_fail(r, "it was answered: %s", clip(json_dumps(a->reply, JSON_COMPACT)));
}

/* A control request about one vat. */
static void ask_about(struct runner *r, const char *method, char letter, char *at)
{
	char *name = need_word(r, &at, "a vat"), id[NAME_SIZE + 2];

	need_end(r, at);
	snprintf(id, sizeof(id), "%c:%s", letter, name);
	backend_quiet(r);
	link_ask(r, link_get(r, "host"), "it", method, tables_resolve_refs(r, json_pack("{ss}", "id", id)), NULL, 0);
}

static void do_restart(struct runner *r, char *at)
{
	if (take_words(&at, "broker")) {
		backend_stop(r);
		backend_start(r);
	} else {
		ask_about(r, "restartVat", 'v', at);
	}
}

static void do_suspend(struct runner *r, char *at) { ask_about(r, "suspendVat", 'v', at); }
static void do_resume(struct runner *r, char *at) { ask_about(r, "resumeVat", 'v', at); }

static void do_terminate(struct runner *r, char *at)
{
	if (take_words(&at, "cluster of"))
		ask_about(r, "terminateSubcluster", 's', at);
	else
		ask_about(r, "terminateVat", 'v', at);
}

static void ask_about_ref(struct runner *r, const char *method, char *at)
{
	const char *ref = need_word(r, &at, "a reference");

	need_end(r, at);
	backend_quiet(r);
	link_ask(r, link_get(r, "host"), "it", method, tables_resolve_refs(r, json_pack("{ss}", "kref", ref)), NULL, 0);
}

static void do_revoke(struct runner *r, char *at) { ask_about_ref(r, "revoke", at); }
static void do_release(struct runner *r, char *at) { ask_about_ref(r, "release", at); }

static bool has_inbox(struct runner *r, void *arg)
{
	(void)r;
	return json_array_size(((struct link *)arg)->inbox);
}

static bool has_ended(struct runner *r, void *arg)
{
	(void)r;
	return ((struct link *)arg)->ended;
}

static void link_hears(struct runner *r, struct link *l, char *at)
{
	bool contained = take_words(&at, "with");
	json_t *want, *got;
	char *differs;

	if (take_words(&at, "nothing")) {
		backend_quiet(r);
		if (json_array_size(l->inbox))
			runner_fail(r, "%s heard %s", l->name, clip(json_dumps(json_array_get(l->inbox, 0), JSON_COMPACT)));
		return;
	}
	want = need_json(r, at);
	backend_await(r, has_inbox, l, "a line on the connection");
	got = tables_name_refs(r, json_incref(json_array_get(l->inbox, 0)));
	differs = json_differs(want, got, contained);
	if (differs)
		runner_fail(r, "%s heard something else\n       %s", l->name, differs);
	json_array_remove(l->inbox, 0);
	json_decref(got);
	json_decref(want);
}

/* A program that serves answers the call that has this number. */
static void link_answers(struct runner *r, struct link *l, char *at)
{
	json_t *id = need_json(r, need_word(r, &at, "the number of a call"));
	_cleanup_free_ char *line = json_dumps(json_pack("{sssoso}", "jsonrpc", "2.0", "id", id, "result", parameters(r, at)),
					       JSON_COMPACT);

	link_says(r, l, line, strlen(line));
	link_says(r, l, "\n", 1);
}

/* link NAME opens | asks NAME METHOD JSON | answers NUMBER JSON | sends LINE | hears [with] JSON | hears nothing | half-closes | is closed | closes */
static void do_link(struct runner *r, char *at)
{
	const char *name = need_word(r, &at, "a name");
	struct link *l = link_get(r, name);

	if (take_words(&at, "opens")) {
		backend_turn(r, 0);
	} else if (take_words(&at, "asks")) {
		ask_on(r, name, at);
	} else if (take_words(&at, "answers")) {
		link_answers(r, l, at);
	} else if (take_words(&at, "sends")) {
		link_says(r, l, at, strlen(at));
		link_says(r, l, "\n", 1);
	} else if (take_words(&at, "hears")) {
		link_hears(r, l, at);
	} else if (take_words(&at, "half-closes")) {
		shutdown(l->fd, SHUT_WR);
	} else if (take_words(&at, "is closed")) {
		backend_await(r, has_ended, l, "the kernel closes the connection");
		link_close(r, l);
	} else if (take_words(&at, "closes")) {
		link_close(r, l);
	} else {
		runner_fail(r, "what does the connection %s do?", name);
	}
}

/* --- launching -------------------------------------------------------------------------------------------------------- */

static void ask_launch(struct runner *r, json_t *json)
{
	struct config_paths paths = { 0 };
	struct config *config = NULL;
	char error[CONFIG_ERROR_MAX];
	json_t *list = json_array();
	int fds[CONFIG_MAX_PATHS];
	size_t i;

	json = tables_resolve_refs(r, json);
	/* One that the kernel will refuse is sent as it is. */
	if (config_parse(json, &config, error) == 0 && config_paths(config, &paths) == 0)
		for (i = 0; i < paths.n; i++) {
			json_array_append_new(list, json_string(paths.paths[i]));
			fds[i] = r->program_fd;
		}
	link_ask(r, link_get(r, "host"), "launch", "launchSubcluster", json_pack("{soso}", "config", json, "paths", list), fds,
		 paths.n);
	config_paths_deinit(&paths);
	config_free(config);
}

/* a b c services console timer */
static json_t *cluster_of(struct runner *r, char *at, json_t **namesp)
{
	json_t *vats = json_object(), *services = json_array();
	bool in_services = false;
	char *name;

	*namesp = json_array();
	while ((name = next_word(&at))) {
		json_t *vat;

		if (!strcmp(name, "services")) {
			in_services = true;
		} else if (in_services) {
			json_array_append_new(services, json_string(name));
		} else {
			actor_get(r, name);
			json_array_append_new(*namesp, json_string(name));
			vat = json_pack("{ss}", "program", "./program");
			json_object_update(vat, json_object_get(r->vat_configs, name));
			json_object_set_new(vats, name, vat);
		}
	}
	if (!json_array_size(*namesp))
		runner_fail(r, "which vats?");
	return json_pack("{sOsoso}", "bootstrap", json_array_get(*namesp, 0), "vats", vats, "services", services);
}

static void do_launch(struct runner *r, char *at)
{
	json_t *names = NULL, *config, *vat;
	const char *name;

	if (*at == '{') {
		backend_quiet(r);
		config = need_json(r, at);
		json_object_foreach(json_object_get(config, "vats"), name, vat)
			actor_get(r, name);
		ask_launch(r, config);
	} else {
		ask_launch(r, cluster_of(r, at, &names));
	}
	json_decref(names);
}

static void take_delivery(struct runner *r, struct actor *a, const char *kind)
{
	struct heard *h = await_heard(r, a, &a->deliveries);

	if (!h || strncmp(h->text, kind, strlen(kind)))
		runner_fail(r, "%s got %s\n       expected %s…", a->name, h ? clip(h->text) : "nothing", kind);
	actor_begin(r, a, h);
	heard_free(h);
}

/* All the way: started, bootstrapped, answered. */
static void do_vats(struct runner *r, char *at)
{
	struct actor *first = NULL;
	struct link *l;
	struct ask *ask;
	json_t *names, *name;
	size_t i;

	ask_launch(r, cluster_of(r, at, &names));
	json_array_foreach(names, i, name) {
		struct actor *a = actor_get(r, json_string_value(name));

		take_delivery(r, a, "startVat ");
		actor_says(r, a, "done");
		first = first ? first : a;
	}
	json_decref(names);
	take_delivery(r, first, "message o+0 #[\"bootstrap\"");
	actor_says(r, first, "resolve p-1 data #\"#undefined\" []; done");
	ask = await_answer(r, "launch", &l);
	if (!json_object_get(ask->reply, "result"))
		runner_fail(r, "the launch failed: %s", json_dumps(ask->reply, JSON_COMPACT));
	ask_forget(l, ask);
	backend_quiet(r);
}

/* introduce c/o+0 to b [as o-1]: a call from outside, which b answers at once. */
static void do_introduce(struct runner *r, char *at)
{
	const char *ref = need_word(r, &at, "a reference"), *to, *as;
	struct actor *a;
	struct link *l;
	struct ask *ask;
	struct heard *h;
	char target[NAME_SIZE + 4], slots[64];

	if (!take_words(&at, "to"))
		runner_fail(r, "introduce REFERENCE to VAT");
	to = need_word(r, &at, "a vat");
	a = need_actor(r, to);
	as = take_words(&at, "as") ? need_word(r, &at, "a reference of the vat") : NULL;
	snprintf(target, sizeof(target), "%s/o+0", to);
	backend_quiet(r);
	link_ask(r, link_get(r, "host"), "introduce", "queueMessage",
		 tables_resolve_refs(r, json_pack("{sssss[{ss}]}", "target", target, "method", "take", "args", "@", ref)), NULL, 0);
	h = await_heard(r, a, &a->deliveries);
	snprintf(slots, sizeof(slots), " [%s] p-", as ? as : "");
	if (!h || strncmp(h->text, "message o+0 #[\"take\"", 20) || (as && !strstr(h->text, slots)))
		runner_fail(r, "%s got %s", to, h ? clip(h->text) : "nothing");
	actor_begin(r, a, h);
	snprintf(slots, sizeof(slots), "resolve %s data #\"#undefined\" []; done", strrchr(h->text, ' ') + 1);
	actor_says(r, a, slots);
	heard_free(h);
	ask = await_answer(r, "introduce", &l);
	ask_forget(l, ask);
	backend_quiet(r);
}

static void do_vat(struct runner *r, char *at)
{
	const char *name = need_word(r, &at, "a vat");

	json_object_set_new(r->vat_configs, name, need_json(r, at));
}

/* --- the spawner ------------------------------------------------------------------------------------------------------ */

/* start of a fails "why" | start of a waits */
static void do_start(struct runner *r, char *at)
{
	struct actor *a;

	if (!take_words(&at, "of"))
		runner_fail(r, "start of WHOM fails or waits");
	a = actor_get(r, need_word(r, &at, "a vat"));
	if (take_words(&at, "waits"))
		a->wait_start = true;
	else if (take_words(&at, "fails"))
		snprintf(a->fail_start, sizeof(a->fail_start), "%s", unquote(at));
	else
		runner_fail(r, "a start waits, or fails with a reason");
}

static void do_kill(struct runner *r, char *at)
{
	struct actor *a;

	if (!take_words(&at, "of"))
		runner_fail(r, "kill of WHOM waits");
	a = actor_get(r, need_word(r, &at, "a vat"));
	if (!take_words(&at, "waits"))
		runner_fail(r, "a kill waits");
	a->wait_kill = true;
}

/* --- the kernel ------------------------------------------------------------------------------------------------------- */

static void do_broker(struct runner *r, char *at)
{
	if (take_words(&at, "ends"))
		backend_crash(r);
	else if (take_words(&at, "starts"))
		backend_start(r);
	else if (take_words(&at, "pauses"))
		backend_pause(r, true);
	else if (take_words(&at, "goes on"))
		backend_pause(r, false);
	else
		runner_fail(r, "the broker ends, starts, pauses or goes on");
}

static void do_crash(struct runner *r, char *at)
{
	need_end(r, at);
	backend_crash(r);
	backend_start(r);
}

static void do_commit(struct runner *r, char *at)
{
	need_end(r, at);
	backend_quiet(r);
}

static void do_nobody(struct runner *r, char *at)
{
	struct actor *a;

	if (!take_words(&at, "gets anything"))
		runner_fail(r, "nobody gets anything");
	backend_quiet(r);
	for (a = r->actors; a; a = a->next)
		gets_nothing(r, a);
}

static void do_drop(struct runner *r, char *at)
{
	if (!take_words(&at, "the rest"))
		runner_fail(r, "drop the rest");
	r->drop_rest = true;
}

/* Runs of spaces are for the eye only, and at the end of a line nothing. */
static bool same_table(const char *a, const char *b)
{
	for (;;) {
		if (*a == ' ' || *b == ' ') {
			bool both = *a == *b;

			a += strspn(a, " ");
			b += strspn(b, " ");
			if (!both && (*a != '\n' || *b != '\n'))
				return false;
		}
		if (*a != *b)
			return false;
		if (!*a)
			return true;
		a++;
		b++;
	}
}

static void do_state(struct runner *r, char *at)
{
	const char *what = need_word(r, &at, "a table"), *want = r->step->table;
	char *got;

	backend_quiet(r);
	got = tables_show(r, what, at);
	if (!*got)
		got = strdup("nothing\n");
	if (r->o->bless) {
		r->blessed[r->step - r->script.steps] = got;
		return;
	}
	if (!want)
		runner_fail(r, "lines with | are missing below; it is\n%s", got);
	if (!same_table(want, got))
		runner_fail(r, "the table %s differs\n--- expected\n%s--- it is\n%s---", what, want, got);
	free(got);
}

struct wanted { const char *what, *arg; };

static bool is_so(struct runner *r, void *arg)
{
	struct wanted *w = arg;
	_cleanup_free_ char *got = tables_show(r, w->what, w->arg);

	return same_table(r->step->table, *got ? got : "nothing\n");
}

/* until state …: what happens by itself, after a time of the configuration. */
static void do_until(struct runner *r, char *at)
{
	struct wanted w;

	if (!take_words(&at, "state"))
		runner_fail(r, "until state TABLE");
	w = (struct wanted){ need_word(r, &at, "a table"), at };
	if (!r->step->table)
		runner_fail(r, "lines with | are missing below");
	backend_await(r, is_so, &w, "the table becomes this");
}

/* --- the grammar ------------------------------------------------------------------------------------------------------ */

static const struct { const char *word; void (*run)(struct runner *r, char *rest); } steps[] = {
	{ "vats", do_vats }, { "vat", do_vat }, { "launch", do_launch }, { "start", do_start }, { "kill", do_kill },
	{ "introduce", do_introduce }, { "nobody", do_nobody }, { "commit", do_commit }, { "quiet", do_commit }, { "drop", do_drop }, { "state", do_state },
	{ "until", do_until },
	{ "broker", do_broker }, { "crash", do_crash },
	{ "control", do_control }, { "replies", do_replies }, { "fails", do_fails }, { "ask", do_ask }, { "call", do_call },
	{ "answer", do_answer }, { "no", do_no }, { "link", do_link },
	{ "restart", do_restart }, { "suspend", do_suspend }, { "resume", do_resume }, { "terminate", do_terminate },
	{ "revoke", do_revoke }, { "release", do_release },
};

static const struct { const char *words; void (*run)(struct runner *r, struct actor *a, char *rest); } deeds[] = {
	{ "gets", vat_gets }, { "takes", vat_takes }, { "does", vat_does }, { "sends", vat_sends },
	{ "hangs up", vat_hangs_up }, { "half-closes", vat_half_closes }, { "stops reading", vat_stops_reading },
	{ "reads again", vat_reads_again }, { "dies saying", vat_dies_saying }, { "dies", vat_dies }, { "exits", vat_exits }, { "is killed", vat_is_killed },
	{ "is not killed", vat_is_not_killed }, { "starts", vat_starts }, { "is reaped", vat_is_reaped },
	{ "has no process", vat_has_no_process },
};

static void run_deed(struct runner *r, const char *name, char *at)
{
	struct actor *a = need_actor(r, name);
	size_t i;

	for (i = 0; i < ARRAY_LEN(deeds); i++)
		if (take_words(&at, deeds[i].words)) {
			deeds[i].run(r, a, at);
			return;
		}
	runner_fail(r, "a vat does not do this");
}

static void run_step(struct runner *r)
{
	_cleanup_free_ char *text = script_expand(r->step->text);
	char *at = text, *word = next_word(&at);
	size_t i;

	if (strcmp(word, "replies") && strcmp(word, "fails"))
		settle_it(r);
	for (i = 0; i < ARRAY_LEN(steps); i++)
		if (!strcmp(word, steps[i].word)) {
			steps[i].run(r, at);
			return;
		}
	run_deed(r, word, at);
}

/* --- together … end --------------------------------------------------------------------------------------------------- */

/* `NAME takes …` lines of a block: each vat's in their order, the vats in whichever order the kernel serves them. */
static struct actor *taker(struct runner *r, const struct script_step *step)
{
	char name[NAME_SIZE], word[8];

	if (sscanf(step->text, "%71s %7s", name, word) != 2 || strcmp(word, "takes"))
		runner_fail(r, "between `together` and `end` there are only lines NAME takes …");
	return need_actor(r, name);
}

struct block { size_t from, to; bool *done; size_t next; };

static bool one_came(struct runner *r, void *arg)
{
	struct block *b = arg;
	size_t i, j;

	for (i = b->from; i < b->to; i++) {
		struct actor *a = taker(r, &r->script.steps[i]);
		bool first = !b->done[i - b->from];

		for (j = b->from; j < i; j++)
			first &= b->done[j - b->from] || taker(r, &r->script.steps[j]) != a;
		if (first && a->deliveries.first) {
			b->next = i;
			return true;
		}
	}
	return false;
}

static size_t run_together(struct runner *r, size_t from)
{
	struct block b = { .from = from, .to = from };
	size_t n;

	while (b.to < r->script.n_steps && strcmp(r->script.steps[b.to].text, "end"))
		b.to++;
	if (b.to == r->script.n_steps)
		runner_fail(r, "`together` without `end`");
	b.done = calloc(b.to - from + 1, sizeof(*b.done));
	for (n = from; n < b.to; n++) {
		r->step = &r->script.steps[from];
		backend_await(r, one_came, &b, "somebody gets one of these");
		r->step = &r->script.steps[b.next];
		runner_trace(r, "%4u  %s", r->step->line, r->step->text);
		run_step(r);
		b.done[b.next - from] = true;
	}
	free(b.done);
	return b.to;
}

void steps_run(struct runner *r)
{
	size_t i;

	for (i = 0; i < r->script.n_steps; i++) {
		r->step = &r->script.steps[i];
		runner_trace(r, "%4u  %s", r->step->line, r->step->text);
		if (!strcmp(r->step->text, "together"))
			i = run_together(r, i + 1);
		else
			run_step(r);
		if (r->o->after_step)
			r->o->after_step(r->o->hooks.ctx, r, r->script.steps[i].line);
	}
	r->step = NULL;
	settle_it(r);
}
