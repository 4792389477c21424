/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The capstan command: one request to the kernel, one answer for a person or, with --json, for a program.
 *
 * The table of commands is all there is: names, forms, help, how many words, which options. capstan(1) and --help show
 * the same forms (a test compares them). Options may stand anywhere, since no word that begins with "--" means
 * anything else: it is neither JSON nor a reference.
 */
#include <capstan/ref.h>

#include <fcntl.h>
#include <libgen.h>
#include <sys/stat.h>

#include "../lib/config.h"
#include "../lib/smallcaps.h"
#include "client.h"
#include "view.h"

#define DEFAULT_RUN_DIR		"/run/capstan"
#define DEFAULT_STATE_DIR	"/var/lib/capstan"
#define SHUTDOWN_WAIT_MS	20000
#define TIMEOUT_MAX_S		2000000.0	/* poll counts milliseconds in an int */

int fsck_main(const char *state_dir, bool json);	/* fsck.c */

enum option {
	OPT_RUN = 1, OPT_JSON = 2, OPT_NO_HOLD = 4, OPT_TIMEOUT = 8, OPT_FOLLOW = 16, OPT_STATE = 32, OPT_HELP = 64,
	OPT_VERSION = 128, OPT_LONG = 256, OPT_DEPTH = 512,
};

struct cli {
	const char *run_dir, *state_dir;
	unsigned options;		/* enum option, those given */
	int timeout_ms;			/* -1: none */
	uint64_t depth;			/* levels of a tree; UINT64_MAX: all */
	char **words;			/* command, then operands */
	size_t n_words;
	struct client client;
};

struct command {
	const char *name;
	const char *form;		/* as in the man page's synopsis */
	const char *help;
	size_t min, max;		/* operands */
	unsigned options;		/* besides --run and --json */
	int (*run)(struct cli *cli);
};

static bool has(const struct cli *cli, enum option o)
{
	return cli->options & o;
}

static int usage(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static int usage(const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return output_error(OUTPUT_USAGE, "USAGE", "%s (see capstan --help)", text);
}

/* --- simple requests -------------------------------------------------------------------------------------- */

static int request(struct cli *cli, const char *method, json_t *params, json_t **resultp)
{
	int r = cli->client.fd >= 0 ? OUTPUT_OK : client_open(&cli->client, cli->run_dir);

	if (r) {
		json_decref(params);
		return r;
	}
	return client_call(&cli->client, method, params, NULL, 0, -1, resultp);
}

/* A request whose answer says no more than that it is done. */
static int request_done(struct cli *cli, const char *method, json_t *params)
{
	json_t *result = NULL;
	int r = request(cli, method, params, &result);

	if (!r && has(cli, OPT_JSON))
		output_json(result);
	json_decref(result);
	return r;
}

static bool is_id(char letter, const char *word)
{
	uint64_t n;

	return id_parse(letter, word, strlen(word), &n);
}

static int request_for_vat(struct cli *cli, const char *method)
{
	const char *id = cli->words[1];

	if (!is_id('v', id))
		return usage("\"%s\": expected a vat such as v1", id);
	return request_done(cli, method, json_pack("{s:s}", "id", id));
}

static int cmd_restart(struct cli *cli) { return request_for_vat(cli, "restartVat"); }
static int cmd_suspend(struct cli *cli) { return request_for_vat(cli, "suspendVat"); }
static int cmd_resume(struct cli *cli) { return request_for_vat(cli, "resumeVat"); }

/* The answer says that it will stop; the end of the connection, that it has. */
static int cmd_shutdown(struct cli *cli)
{
	int r = request_done(cli, "shutdown", json_object());

	if (!r)
		client_wait_end(&cli->client, SHUTDOWN_WAIT_MS);
	return r;
}

static int cmd_terminate(struct cli *cli)
{
	const char *id = cli->words[1];

	if (is_id('s', id))
		return request_done(cli, "terminateSubcluster", json_pack("{s:s}", "id", id));
	if (is_id('v', id))
		return request_done(cli, "terminateVat", json_pack("{s:s}", "id", id));
	return usage("\"%s\": expected a subcluster such as s1 or a vat such as v1", id);
}

static int cmd_ping(struct cli *cli)
{
	const char *id = cli->words[1];
	json_t *result = NULL;
	char buf[32];
	int r;

	if (!is_id('v', id))
		return usage("\"%s\": expected a vat such as v1", id);
	r = request(cli, "pingVat", json_pack("{s:s}", "id", id), &result);
	if (!r && has(cli, OPT_JSON))
		output_json(result);
	else if (!r)
		printf("%s answered in %s us\n", id, output_member(result, "us", buf));
	json_decref(result);
	return r;
}

/* "@ko7" without its @, or NULL. */
static const char *reference(const char *word)
{
	kref_t k;

	return word[0] == '@' && kref_parse(word + 1, strlen(word + 1), &k) ? word + 1 : NULL;
}

static int cmd_release(struct cli *cli)
{
	const char *kref = reference(cli->words[1]);

	if (!kref)
		return usage("\"%s\": expected a reference such as @ko7", cli->words[1]);
	return request_done(cli, "release", json_pack("{s:s}", "kref", kref));
}

/* A request about a reference whose answer is one number of interest, shown as a sentence. */
static int request_pins(struct cli *cli, const char *method)
{
	const char *kref = reference(cli->words[1]);
	json_t *result = NULL;
	char buf[2][32];
	int r;

	if (!kref)
		return usage("\"%s\": expected a reference such as @ko7", cli->words[1]);
	r = request(cli, method, json_pack("{s:s}", "kref", kref), &result);
	if (!r && has(cli, OPT_JSON))
		output_json(result);
	else if (!r)
		printf("@%s: pins: %s\n", output_member(result, "kref", buf[0]), output_member(result, "pins", buf[1]));
	json_decref(result);
	return r;
}

static int cmd_pin(struct cli *cli) { return request_pins(cli, "pin"); }
static int cmd_unpin(struct cli *cli) { return request_pins(cli, "unpin"); }

static int cmd_revoke(struct cli *cli)
{
	const char *word = cli->words[1], *kref = reference(word);

	if (is_id('v', word))
		return request_done(cli, "revokeVat", json_pack("{s:s}", "id", word));
	if (kref && kref[1] == 'o')
		return request_done(cli, "revoke", json_pack("{s:s}", "kref", kref));
	return usage("\"%s\": expected an object such as @ko7 or a vat such as v1", word);
}

static int cmd_reap(struct cli *cli)
{
	if (cli->n_words < 2)
		return request_done(cli, "reapVats", json_pack("{s:b}", "all", 1));
	return request_for_vat(cli, "reapVats");
}

static int cmd_gc(struct cli *cli)
{
	static const char *const keys[] = { "vats", "objects", "promises", "circular" };
	json_t *result = NULL;
	char buf[32];
	int r = request(cli, "collectGarbage", json_object(), &result);

	if (!r && has(cli, OPT_JSON))
		output_json(result);
	for (size_t i = 0; !r && !has(cli, OPT_JSON) && i < ARRAY_LEN(keys); i++)
		output_pair(keys[i], output_member(result, keys[i], buf));
	json_decref(result);
	return r;
}

/* --- tables ----------------------------------------------------------------------------------------------- */

static void print_members(const json_t *object, const char *const *keys)
{
	char buf[32];

	for (; *keys; keys++)
		output_pair(*keys, output_member(object, *keys, buf));
}

static char *join(const json_t *list, const char *separator)
{
	size_t size = 1, n = 0;
	char *text;

	for (size_t i = 0; i < json_array_size(list); i++)
		size += json_string_length(json_array_get(list, i)) + strlen(separator);
	text = calloc(1, size);
	for (size_t i = 0; text && i < json_array_size(list); i++) {
		const char *word = json_string_value(json_array_get(list, i));

		n += (size_t)snprintf(text + n, size - n, "%s%s", i ? separator : "", word ? word : "");
	}
	return text;
}

/* System subclusters that are declared and not there. */
static void print_missing(json_t *systems)
{
	const char *name;
	char buf[32];
	json_t *s;

	json_object_foreach(systems, name, s) {
		const char *reason = output_member(s, "reason", buf);
		char line[400];

		if (!*reason)
			continue;
		snprintf(line, sizeof(line), "%s is not there: %s", name, reason);
		output_pair("system", line);
	}
}

/* The path, or why there is none. */
static void print_mount(const json_t *status)
{
	char b[32], line[300];

	if (json_is_string(json_object_get(status, "mount")))
		snprintf(line, sizeof(line), "%s", output_member(status, "mount", b));
	else if (json_is_string(json_object_get(status, "noMount")))
		snprintf(line, sizeof(line), "- (%s)", output_member(status, "noMount", b));
	else
		strcpy(line, "-");
	output_pair("mount", line);
}

static void print_status(const json_t *status)
{
	static const char *const head[] = { "version", "pid", "uptimeMs", NULL };
	static const char *const rest[] = { "objects", "promises", "queued", "cranks", "commits", NULL };
	const json_t *list = json_object_get(status, "subclusters");
	char b[5][32];

	print_members(status, head);
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *s = json_array_get(list, i);
		char line[400];

		const char *name = output_member(s, "name", b[4]);

		snprintf(line, sizeof(line), "%s %s bootstrap=%s root=%s%s%s", output_member(s, "id", b[0]),
			 output_member(s, "status", b[1]), output_member(s, "bootstrap", b[2]),
			 output_member(s, "rootKref", b[3]), *name ? " system=" : "", name);
		output_pair("subcluster", line);
	}
	print_missing(json_object_get(status, "system"));
	list = json_object_get(status, "vats");
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *v = json_array_get(list, i);
		_cleanup_free_ char *isolation = join(json_object_get(v, "isolation"), ",");
		const char *reason = output_member(v, "reason", b[4]);
		char line[800];

		snprintf(line, sizeof(line), "%s %s %s %s isolation=%s%s%s", output_member(v, "id", b[0]),
			 output_member(v, "name", b[1]), output_member(v, "subcluster", b[2]),
			 output_member(v, "status", b[3]), isolation && *isolation ? isolation : "-",
			 *reason ? " reason: " : "", reason);
		output_pair("vat", line);
	}
	print_members(status, rest);
	print_mount(status);
}

static int cmd_status(struct cli *cli)
{
	json_t *result = NULL;
	int r = request(cli, "getStatus", json_object(), &result);

	if (!r && has(cli, OPT_JSON))
		output_json(result);
	else if (!r)
		print_status(result);
	json_decref(result);
	return r;
}

/* "s1", or "s1(NAME)" of a system subcluster. */
static const char *subcluster_label(const json_t *status, const json_t *vat, char label[100])
{
	const json_t *list = json_object_get(status, "subclusters");
	char b[3][32];
	const char *id = output_member(vat, "subcluster", b[0]), *name = "";

	for (size_t i = 0; i < json_array_size(list) && !*name; i++)
		if (!strcmp(output_member(json_array_get(list, i), "id", b[1]), id))
			name = output_member(json_array_get(list, i), "name", b[2]);
	snprintf(label, 100, "%s%s%s%s", id, *name ? "(" : "", name, *name ? ")" : "");
	return label;
}

static void print_vats(const json_t *status, const json_t *vats)
{
	static const char *const heads[] = { "VAT", "NAME", "SUBCLUSTER", "STATUS", "INCARNATION", "PID", "UID", "CRANKS",
					     "QUEUED", "ISOLATION" };
	static const char *const keys[] = { "id", "name", "subcluster", "status", "incarnation", "pid", "uid", "cranks",
					    "queued" };
	struct listing t = LISTING_INIT(heads);
	char buf[32], label[100];

	for (size_t i = 0; i < json_array_size(vats); i++) {
		const json_t *v = json_array_get(vats, i);
		_cleanup_free_ char *isolation = join(json_object_get(v, "isolation"), ",");

		for (size_t j = 0; j < ARRAY_LEN(keys); j++) {
			const char *cell = strcmp(keys[j], "subcluster") ? output_member(v, keys[j], buf)
									 : subcluster_label(status, v, label);

			listing_add(&t, !strcmp(keys[j], "pid") && !strcmp(cell, "0") ? "-" : cell);	/* no process */
		}
		listing_add(&t, isolation ? isolation : "");
	}
	listing_print(&t);
	listing_deinit(&t);
}

static int cmd_ps(struct cli *cli)
{
	json_t *result = NULL, *vats;
	int r = request(cli, "getStatus", json_object(), &result);

	vats = json_object_get(result, "vats");
	if (!r && has(cli, OPT_JSON))
		output_json(vats);
	else if (!r)
		print_vats(result, vats);
	json_decref(result);
	return r;
}

static int cmd_holds(struct cli *cli)
{
	static const char *const heads[] = { "KREF", "KIND", "OWNER", "COUNT", "SINCE" };
	static const char *const keys[] = { "kref", "kind", "owner", "count", "since" };
	struct listing t = LISTING_INIT(heads);
	json_t *result = NULL, *holds;
	char buf[32];
	int r = request(cli, "holds", json_object(), &result);

	holds = json_object_get(result, "holds");
	for (size_t i = 0; i < json_array_size(holds); i++)
		for (size_t j = 0; j < ARRAY_LEN(keys); j++)
			listing_add(&t, output_member(json_array_get(holds, i), keys[j], buf));
	if (!r && has(cli, OPT_JSON))
		output_json(result);
	else if (!r)
		listing_print(&t);
	listing_deinit(&t);
	json_decref(result);
	return r;
}

static const char *service_state(const json_t *service)
{
	const json_t *attached = json_object_get(service, "attached");

	return !attached ? "" : json_is_true(attached) ? "attached" : "away";
}

static void print_services(const json_t *services)
{
	static const char *const heads[] = { "NAME", "KREF", "KIND", "STATE", "UID", "SYSTEM-ONLY", "WAITING" };
	static const char *const before[] = { "name", "kref", "kind" }, *const after[] = { "uid", "systemOnly", "waiting" };
	struct listing t = LISTING_INIT(heads);
	char buf[32];

	for (size_t i = 0; i < json_array_size(services); i++) {
		const json_t *s = json_array_get(services, i);

		for (size_t j = 0; j < ARRAY_LEN(before); j++)
			listing_add(&t, output_member(s, before[j], buf));
		listing_add(&t, service_state(s));
		for (size_t j = 0; j < ARRAY_LEN(after); j++)
			listing_add(&t, output_member(s, after[j], buf));
	}
	listing_print(&t);
	listing_deinit(&t);
}

static int cmd_services(struct cli *cli)
{
	json_t *result = NULL;
	int r = request(cli, "listServices", json_object(), &result);

	if (!r && has(cli, OPT_JSON))
		output_json(result);
	else if (!r)
		print_services(json_object_get(result, "services"));
	json_decref(result);
	return r;
}

static int cmd_unregister(struct cli *cli)
{
	json_t *params = json_pack("{s:s}", "name", cli->words[1]);

	if (!params)
		return usage("expected the name of a service");
	return request_done(cli, "unregisterService", params);
}

/* --- call ------------------------------------------------------------------------------------------------- */

/* OUTPUT_OK, or the sentence about the argument (counted from 1, after METHOD). */
static int parse_arg(size_t number, const char *word, json_t **argp)
{
	json_error_t error;

	if (word[0] == '@') {
		if (!reference(word))
			return usage("argument %zu \"%s\": expected a reference such as @ko7", number, word);
		*argp = json_pack("{s:s}", "@", word + 1);
		return *argp ? OUTPUT_OK : output_no_memory();
	}
	*argp = json_loads(word, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &error);
	if (*argp)
		return OUTPUT_OK;
	return usage("argument %zu \"%.200s\": expected JSON or @ko7: %s", number, word, error.text);
}

static int parse_args(const struct cli *cli, json_t **argsp)
{
	json_t *args = json_array();
	int r = OUTPUT_OK;

	for (size_t i = 3; i < cli->n_words && !r; i++) {
		json_t *arg = NULL;

		r = parse_arg(i - 2, cli->words[i], &arg);
		if (!r && json_array_append_new(args, arg))
			r = output_no_memory();
	}
	if (r)
		json_decref(args);
	else
		*argsp = args;
	return r;
}

/* "[KERNEL:CODE] detail" is the kernel's own way of rejecting; the rest is what a vat says. */
static int report_kernel_error(const char *message)
{
	static const char prefix[] = "[KERNEL:";
	char code[64];
	size_t n;

	if (strncmp(message, prefix, strlen(prefix)))
		return OUTPUT_OK;
	message += strlen(prefix);
	n = strspn(message, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_:");
	if (n == 0 || n >= sizeof(code) || message[n] != ']')
		return OUTPUT_OK;
	memcpy(code, message, n);
	code[n] = 0;
	message += n + 1 + (message[n + 1] == ' ');
	return output_error(OUTPUT_REFUSED, code, "%s", message);
}

static int report_rejection(const json_t *answer)
{
	const json_t *body = json_object_get(answer, "body");
	char *name = NULL, *message = NULL, *text;
	int r = OUTPUT_OK;

	/* A kernel that says who rejected is believed before the text, which a vat may have copied. */
	if (!json_is_false(json_object_get(answer, "kernel")) &&
	    smallcaps_read_error(json_string_value(body), json_string_length(body), &name, &message)) {
		r = report_kernel_error(message);
		free(name);
		free(message);
	}
	if (r)
		return r;
	text = output_render(answer);
	r = text ? output_error(OUTPUT_REFUSED, "REJECTED", "%s", text) : output_no_memory();
	free(text);
	return r;
}

/* {"body","slots"}, with "rejected" only when it is. */
static void print_capdata(const json_t *answer)
{
	bool rejected = json_is_true(json_object_get(answer, "rejected"));
	json_t *out = json_pack("{s:O?, s:O?, s:o*}", "body", json_object_get(answer, "body"), "slots",
				json_object_get(answer, "slots"), "rejected", rejected ? json_true() : NULL);

	output_json(out);
	json_decref(out);
}

static int print_value(const json_t *capdata)
{
	_cleanup_free_ char *text = output_render(capdata);

	if (!text)
		return output_no_memory();
	puts(text);	/* rendered: nothing in it is raw */
	return OUTPUT_OK;
}

static int print_answer(struct cli *cli, const json_t *answer)
{
	if (has(cli, OPT_JSON))
		print_capdata(answer);
	if (json_is_true(json_object_get(answer, "rejected")))
		return report_rejection(answer);
	return has(cli, OPT_JSON) ? OUTPUT_OK : print_value(answer);
}

static int call(struct cli *cli, const char *target, json_t *args, json_t **resultp)
{
	json_t *params = json_pack("{s:s, s:s, s:o, s:b}", "target", target, "method", cli->words[2], "args", args, "hold",
				   !has(cli, OPT_NO_HOLD));
	int r;

	if (!params)
		return usage("\"%s\": expected a method's name in UTF-8", cli->words[2]);
	r = client_open(&cli->client, cli->run_dir);
	if (r) {
		json_decref(params);
		return r;
	}
	return client_call(&cli->client, "queueMessage", params, NULL, 0, cli->timeout_ms, resultp);
}

static int cmd_call(struct cli *cli)
{
	const char *target = reference(cli->words[1]);
	json_t *args = NULL, *result = NULL;
	int r;

	if (!target)
		return usage("\"%s\": expected a reference such as @ko7", cli->words[1]);
	r = parse_args(cli, &args);
	if (!r)
		r = call(cli, target, args, &result);
	if (!r)
		r = print_answer(cli, result);
	json_decref(result);
	return r;
}

/* --- what was set aside ----------------------------------------------------------------------------------- */

static int list_aside(struct cli *cli)
{
	static const char *const heads[] = { "ID", "TIME", "VAT", "NAME", "TARGET", "METHOD", "DEATHS", "BYTES", "LOST" };
	static const char *const keys[] = { "id", "time", "vat", "name", "target", "method", "deaths", "bytes", "lost" };
	struct listing t = LISTING_INIT(heads);
	json_t *result = NULL, *list;
	char buf[32];
	int r = request(cli, "aside", json_object(), &result);

	list = json_object_get(result, "aside");
	for (size_t i = 0; i < json_array_size(list); i++)
		for (size_t j = 0; j < ARRAY_LEN(keys); j++)
			listing_add(&t, output_member(json_array_get(list, i), keys[j], buf));
	if (!r && has(cli, OPT_JSON))
		output_json(result);
	else if (!r)
		listing_print(&t);
	listing_deinit(&t);
	json_decref(result);
	return r;
}

static int send_aside(struct cli *cli, json_int_t id)
{
	json_t *result = NULL;
	int r = request(cli, "aside", json_pack("{s:I}", "send", id), &result);

	if (!r)
		r = print_answer(cli, result);
	json_decref(result);
	return r;
}

static int cmd_aside(struct cli *cli)
{
	const char *what = cli->n_words > 1 ? cli->words[1] : NULL;
	bool send = what && !strcmp(what, "send");
	json_int_t id;
	char *end;

	if (!what)
		return list_aside(cli);
	if (cli->n_words != 3 || (!send && strcmp(what, "drop")))
		return usage("expected: capstan aside [send ID|drop ID]");
	errno = 0;
	id = strtoll(cli->words[2], &end, 10);
	if (*end || end == cli->words[2] || id < 0 || errno)
		return usage("\"%s\": expected the id of a message, as aside lists it", cli->words[2]);
	return send ? send_aside(cli, id) : request_done(cli, "aside", json_pack("{s:I}", "drop", id));
}

/* --- launch ----------------------------------------------------------------------------------------------- */

static int read_config(const char *file, json_t **jsonp, struct config **configp)
{
	char error[CONFIG_ERROR_MAX];
	json_error_t where;
	FILE *f = fopen(file, "re");
	int r;

	if (!f)
		return output_error(OUTPUT_REFUSED, "CONFIG", "%s: %s", file, strerror(errno));
	*jsonp = json_loadf(f, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &where);
	fclose(f);
	if (!*jsonp)
		return output_error(OUTPUT_REFUSED, "CONFIG", "%s:%d:%d: %s", file, where.line, where.column, where.text);
	r = config_parse(*jsonp, configp, error);
	if (r < 0)
		return output_no_memory();
	return r ? output_error(OUTPUT_REFUSED, "CONFIG", "%s: %s", file, error) : OUTPUT_OK;
}

/* The first place of the configuration that names this path. */
static void place_of(const struct config *c, const char *path, char *out, size_t size)
{
	for (size_t i = 0; i < c->n_vats; i++) {
		const struct config_vat *v = &c->vats[i];

		if (!strcmp(v->program, path)) {
			snprintf(out, size, "vats.%s.program", v->name);
			return;
		}
		for (size_t j = 0; j < v->n_files; j++)
			if (!strcmp(v->files[j].path, path)) {
				snprintf(out, size, "vats.%s.files.%s", v->name, v->files[j].name);
				return;
			}
	}
	assert(!"every path comes from a place");
}

/* O_NONBLOCK: a fifo, which is then refused, must not make us wait for its writer. */
static int open_path(const char *file, int dir_fd, const struct config *c, const char *path, int *fdp)
{
	char place[2 * VAT_NAME_MAX + 32];
	const char *why = NULL;
	struct stat st;

	*fdp = openat(dir_fd, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (*fdp < 0 || fstat(*fdp, &st) < 0)
		why = strerror(errno);
	else if (!S_ISREG(st.st_mode))
		why = "not a regular file";
	if (!why)
		return OUTPUT_OK;
	place_of(c, path, place, sizeof(place));
	return output_error(OUTPUT_REFUSED, "CONFIG", "%s: %s: %s: %s", file, place, path, why);
}

static int open_paths(const char *file, const struct config *c, const struct config_paths *p, int *fds)
{
	_cleanup_free_ char *copy = strdup(file);
	_cleanup_close_ int dir_fd = -1;
	int r = OUTPUT_OK;

	if (!copy)
		return output_no_memory();
	dir_fd = open(dirname(copy), O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir_fd < 0)
		return output_error(OUTPUT_REFUSED, "CONFIG", "the folder of %s: %s", file, strerror(errno));
	for (size_t i = 0; i < p->n && !r; i++)
		r = open_path(file, dir_fd, c, p->paths[i], &fds[i]);
	return r;
}

static json_t *launch_params(json_t *config, const struct config_paths *p)
{
	json_t *paths = json_array();

	for (size_t i = 0; i < p->n; i++)
		if (json_array_append_new(paths, json_string(p->paths[i]))) {
			json_decref(paths);
			return NULL;
		}
	return json_pack("{s:O, s:o}", "config", config, "paths", paths);
}

static int print_launched(const json_t *result)
{
	json_t *vats = json_object_get(result, "vats"), *id;
	const char *name;
	char line[200], buf[32];

	output_pair("subcluster", output_member(result, "subclusterId", buf));
	output_pair("root", output_member(result, "rootKref", buf));
	json_object_foreach(vats, name, id) {
		snprintf(line, sizeof(line), "%s %s", json_is_string(id) ? json_string_value(id) : "", name);
		output_pair("vat", line);
	}
	fputs("result: ", stdout);
	return print_value(json_object_get(result, "bootstrapResult"));
}

static int launch(struct cli *cli, json_t *json, const struct config *c, const struct config_paths *p)
{
	int fds[CONFIG_MAX_PATHS];
	json_t *params, *result = NULL;
	int r;

	for (size_t i = 0; i < p->n; i++)
		fds[i] = -1;
	r = open_paths(cli->words[1], c, p, fds);
	if (!r)
		r = client_open(&cli->client, cli->run_dir);
	if (!r) {
		params = launch_params(json, p);
		r = params ? client_call(&cli->client, "launchSubcluster", params, fds, p->n, -1, &result) :
			     output_no_memory();
	}
	if (!r && has(cli, OPT_JSON))
		output_json(result);
	else if (!r)
		r = print_launched(result);
	for (size_t i = 0; i < p->n; i++)
		closep(&fds[i]);
	json_decref(result);
	return r;
}

static int cmd_launch(struct cli *cli)
{
	struct config_paths paths = { 0 };
	struct config *c = NULL;
	json_t *json = NULL;
	int r = read_config(cli->words[1], &json, &c);

	if (!r && config_paths(c, &paths))
		r = output_no_memory();
	if (!r)
		r = launch(cli, json, c, &paths);
	config_paths_deinit(&paths);
	config_free(c);
	json_decref(json);
	return r;
}

/* --- log -------------------------------------------------------------------------------------------------- */

static void print_log_line(const json_t *line)
{
	char b[4][32], *text = NULL;
	const char *message = json_string_value(json_object_get(line, "text"));
	int n = asprintf(&text, "%s %s %s ", output_member(line, "time", b[0]),
			 output_member(line, "incarnation", b[1]), output_member(line, "level", b[2]));
	_cleanup_free_ char *head = n < 0 ? NULL : text;

	/* Head and text are escaped apart: a NUL in the text must not end it. */
	if (head)
		fputs(head, stdout);
	output_text(message ? message : "", json_string_length(json_object_get(line, "text")));
}

static int cmd_log(struct cli *cli)
{
	const char *id = cli->words[1];
	json_int_t after = 0;
	bool wait = false;
	int r = OUTPUT_OK;

	if (!is_id('v', id))
		return usage("\"%s\": expected a vat such as v1", id);
	for (;;) {
		json_t *result = NULL, *lines;
		size_t n;

		r = request(cli, "getLog", json_pack("{s:s, s:I, s:b}", "id", id, "after", after, "wait", wait), &result);
		lines = json_object_get(result, "lines");
		n = json_array_size(lines);
		for (size_t i = 0; i < n; i++) {
			json_t *line = json_array_get(lines, i);

			if (has(cli, OPT_JSON))
				output_json(line);
			else
				print_log_line(line);
			if (json_integer_value(json_object_get(line, "n")) > after)
				after = json_integer_value(json_object_get(line, "n"));
		}
		json_decref(result);
		/* An answer without lines is the end: of what is there, or, when it was waited for, of the vat. */
		if (r || (n == 0 && (wait || !has(cli, OPT_FOLLOW))))
			return r;
		wait = n == 0;
		fflush(stdout);
	}
}

/* --- the kernel as files ---------------------------------------------------------------------------------- */

static struct view_options view_options(const struct cli *cli)
{
	return (struct view_options){
		.run_dir = cli->run_dir, .json = has(cli, OPT_JSON), .details = has(cli, OPT_LONG), .follow = has(cli, OPT_FOLLOW),
		.depth = cli->depth,
	};
}

static int cmd_ls(struct cli *cli)
{
	struct view_options o = view_options(cli);

	return view_ls(&o, cli->n_words > 1 ? cli->words[1] : "");
}

static int cmd_cat(struct cli *cli)
{
	struct view_options o = view_options(cli);

	if (o.follow && cli->n_words > 2)
		return usage("-f: expected one path");
	return view_cat(&o, cli->words + 1, cli->n_words - 1);
}

static int cmd_tree(struct cli *cli)
{
	struct view_options o = view_options(cli);

	return view_tree(&o, cli->n_words > 1 ? cli->words[1] : "");
}

static int cmd_fsck(struct cli *cli)
{
	return fsck_main(cli->state_dir, has(cli, OPT_JSON));
}

/* --- the command line ------------------------------------------------------------------------------------- */

static const struct command commands[] = {
	{ "status", "status", "what the kernel is doing", 0, 0, 0, cmd_status },
	{ "launch", "launch FILE", "start the cluster that FILE describes", 1, 1, 0, cmd_launch },
	{ "ps", "ps", "list the vats", 0, 0, 0, cmd_ps },
	{ "call", "call [--no-hold] [--timeout S] REF METHOD [ARG...]", "send a message and print the answer", 2, SIZE_MAX,
	  OPT_NO_HOLD | OPT_TIMEOUT, cmd_call },
	{ "holds", "holds", "list the references that are held for people", 0, 0, 0, cmd_holds },
	{ "release", "release REF", "give up one that call printed", 1, 1, 0, cmd_release },
	{ "pin", "pin REF", "keep an object or promise until unpin; pins add up", 1, 1, 0, cmd_pin },
	{ "unpin", "unpin REF", "take one pin back", 1, 1, 0, cmd_unpin },
	{ "revoke", "revoke REF|v1", "end an object, or all that a vat has given out, for good", 1, 1, 0, cmd_revoke },
	{ "services", "services", "list the services", 0, 0, 0, cmd_services },
	{ "unregister", "unregister NAME", "remove a service that a program registered", 1, 1, 0, cmd_unregister },
	{ "terminate", "terminate s1|v1", "end a subcluster or a vat for good", 1, 1, 0, cmd_terminate },
	{ "restart", "restart v1", "start a vat's process anew", 1, 1, 0, cmd_restart },
	{ "suspend", "suspend v1", "deliver nothing to a vat", 1, 1, 0, cmd_suspend },
	{ "resume", "resume v1", "deliver again", 1, 1, 0, cmd_resume },
	{ "ping", "ping v1", "ask a vat's process for a sign of life", 1, 1, 0, cmd_ping },
	{ "reap", "reap [v1]", "have a vat, or all, let go of what they do not use", 0, 1, 0, cmd_reap },
	{ "gc", "gc", "collect all garbage, and wait for it", 0, 0, 0, cmd_gc },
	{ "aside", "aside [send ID|drop ID]", "messages that killed their vat: list, send anew, drop", 0, 2, 0, cmd_aside },
	{ "log", "log v1 [-f]", "print what a vat has logged; -f: and go on", 1, 1, OPT_FOLLOW, cmd_log },
	{ "ls", "ls [-l] [PATH]", "list a directory of the kernel's state", 0, 1, OPT_LONG, cmd_ls },
	{ "cat", "cat [-f] PATH...", "print files of the kernel's state; -f: a log, and go on", 1, SIZE_MAX, OPT_FOLLOW, cmd_cat },
	{ "tree", "tree [-L DEPTH] [PATH]", "list a directory and all below it", 0, 1, OPT_DEPTH, cmd_tree },
	{ "shutdown", "shutdown", "stop the kernel", 0, 0, 0, cmd_shutdown },
	{ "fsck", "fsck [--state DIR]", "check a stopped kernel's store", 0, 0, OPT_STATE, cmd_fsck },
};

static const struct { const char *name; enum option option; bool value; } options[] = {
	{ "--run", OPT_RUN, true },	{ "--json", OPT_JSON, false },	   { "--no-hold", OPT_NO_HOLD, false },
	{ "--timeout", OPT_TIMEOUT, true }, { "--state", OPT_STATE, true }, { "--help", OPT_HELP, false },
	{ "--version", OPT_VERSION, false }, { "-f", OPT_FOLLOW, false },  { "-h", OPT_HELP, false },
	{ "-l", OPT_LONG, false },	{ "-L", OPT_DEPTH, true },
};

static void print_help(void)
{
	puts("usage: capstan [--run DIR] [--json] COMMAND\n");
	for (size_t i = 0; i < ARRAY_LEN(commands); i++)
		printf("  %-52s  %s\n", commands[i].form, commands[i].help);
	puts("\n  --run DIR    the kernel's run folder, " DEFAULT_RUN_DIR " if not given\n"
	     "  --json       print JSON\n"
	     "  --help, --version\n\n"
	     "REF is @ko7. ARG is @ko7 or JSON, in which {\"@\":\"ko7\"} is a reference. capstan(1) says more.");
}

static int take_timeout(struct cli *cli, const char *value)
{
	char *end;
	double s = strtod(value, &end);

	if (end == value || *end || !(s > 0 && s <= TIMEOUT_MAX_S))
		return usage("--timeout \"%s\": expected seconds, more than 0 and at most %.0f", value, TIMEOUT_MAX_S);
	cli->timeout_ms = (int)(s * 1000) + (s * 1000 < 1);
	return OUTPUT_OK;
}

static int take_depth(struct cli *cli, const char *value)
{
	char *end;

	errno = 0;
	cli->depth = strtoul(value, &end, 10);
	if (errno || *end || *value < '0' || *value > '9' || cli->depth > INT32_MAX)
		return usage("-L \"%s\": expected a number of levels", value);
	return OUTPUT_OK;
}

static int take_option(struct cli *cli, size_t i, const char *value)
{
	cli->options |= options[i].option;
	switch (options[i].option) {
	case OPT_RUN:
		cli->run_dir = value;
		break;
	case OPT_STATE:
		cli->state_dir = value;
		break;
	case OPT_TIMEOUT:
		return take_timeout(cli, value);
	case OPT_DEPTH:
		return take_depth(cli, value);
	default:
		break;
	}
	return OUTPUT_OK;
}

/* Which option the word is: "--run DIR", "--run=DIR". ARRAY_LEN(options): none. */
static size_t find_option(const char *word, const char **valuep)
{
	for (size_t i = 0; i < ARRAY_LEN(options); i++) {
		size_t n = strlen(options[i].name);

		*valuep = NULL;
		if (!strcmp(word, options[i].name))
			return i;
		if (options[i].value && !strncmp(word, options[i].name, n) && word[n] == '=') {
			*valuep = word + n + 1;
			return i;
		}
	}
	return ARRAY_LEN(options);
}

/* Words of a call may begin with one dash: -5 is JSON. */
static bool looks_like_option(const struct cli *cli, const char *word)
{
	if (word[0] != '-' || !word[1])
		return false;
	return word[1] == '-' || !cli->n_words || strcmp(cli->words[0], "call");
}

static int parse_command_line(struct cli *cli, int argc, char **argv)
{
	bool all_words = false;

	for (int i = 1; i < argc; i++) {
		const char *value;
		size_t option;
		int r;

		if (all_words || !looks_like_option(cli, argv[i])) {
			cli->words[cli->n_words++] = argv[i];
			continue;
		}
		if (!strcmp(argv[i], "--")) {
			all_words = true;
			continue;
		}
		option = find_option(argv[i], &value);
		if (option == ARRAY_LEN(options))
			return usage("unknown option \"%s\"", argv[i]);
		if (options[option].value && !value && !(value = argv[++i]))
			return usage("%s: expected a value", options[option].name);
		r = take_option(cli, option, value);
		if (r)
			return r;
	}
	return OUTPUT_OK;
}

static int check_command(const struct cli *cli, const struct command **commandp)
{
	const struct command *c = commands, *end = commands + ARRAY_LEN(commands);
	unsigned wrong;

	if (!cli->n_words)
		return usage("expected a command");
	while (c < end && strcmp(c->name, cli->words[0]))
		c++;
	if (c == end)
		return usage("unknown command \"%s\"", cli->words[0]);
	wrong = cli->options & ~(c->options | OPT_JSON | OPT_RUN);
	for (size_t i = 0; i < ARRAY_LEN(options); i++)
		if (wrong & options[i].option)
			return usage("%s takes no %s", c->name, options[i].name);
	if (cli->n_words - 1 < c->min || cli->n_words - 1 > c->max)
		return usage("expected: capstan %s", c->form);
	*commandp = c;
	return OUTPUT_OK;
}

static int run(struct cli *cli, int argc, char **argv)
{
	const struct command *command = NULL;
	int r = parse_command_line(cli, argc, argv);

	if (r)
		return r;
	if (has(cli, OPT_HELP)) {
		print_help();
		return OUTPUT_OK;
	}
	if (has(cli, OPT_VERSION)) {
		puts("capstan " CAPSTAN_VERSION);
		return OUTPUT_OK;
	}
	r = check_command(cli, &command);
	return r ? r : command->run(cli);
}

int main(int argc, char **argv)
{
	struct cli cli = { .run_dir = DEFAULT_RUN_DIR, .state_dir = DEFAULT_STATE_DIR, .timeout_ms = -1,
			   .depth = UINT64_MAX, .client = CLIENT_INIT };
	int r;

	log_init("capstan");
	cli.words = calloc((size_t)argc + 1, sizeof(*cli.words));
	r = cli.words ? run(&cli, argc, argv) : output_no_memory();
	client_close(&cli.client);
	free(cli.words);
	if (fflush(stdout) || ferror(stdout))
		r = output_error(OUTPUT_REFUSED, "OUTPUT", "cannot write: %s", strerror(errno));
	return r;
}
