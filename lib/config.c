/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cluster configuration: checked once, here, into structs that the rest of the house can trust.
 *
 * Each object of the configuration is a table of fields (name, parser, what to say when it is missing); whatever is
 * not in its table is refused. A place is a chain of stack frames from the value back to the top, made into text
 * only when something is wrong, so that every error names where it is. Everything that a configuration can make long is
 * bounded before it is copied. Keys and values are a stranger's bytes: they are escaped on their way into errors.
 */
#include "config.h"

#include <limits.h>
#include <stdarg.h>

#define STRING_MAX_LEN	((size_t)PATH_MAX - 1)	/* paths and arguments */
#define HASH_PREFIX	"sha256:"
#define HASH_HEX_LEN	64u
#define KEY_SHOWN	72			/* bytes of one key in an error */

/* Where a value stands. key NULL: the index-th element of an array. */
struct place { const struct place *up; const char *key; size_t index; };

typedef int (*parser)(const struct place *at, json_t *value, void *out, char *error);
/* missing: what was expected when a required field is not there; NULL: optional. */
struct field { const char *name; parser parse; const char *missing; };

static size_t place_format(const struct place *at, char *out, size_t size)
{
	char key[KEY_SHOWN + 4];
	size_t n = 0;

	if (at->up) {
		n = place_format(at->up, out, size);
		if (n >= size)
			return n;
	}
	if (!at->key)
		return n + (size_t)snprintf(out + n, size - n, "[%zu]", at->index);
	if (escape_bytes(key, KEY_SHOWN, at->key, strlen(at->key)) >= KEY_SHOWN)
		strcat(key, "...");
	return n + (size_t)snprintf(out + n, size - n, "%s%s", n ? "." : "", key);
}

/* The top has no place; its errors begin with "cluster". */
__attribute__((format(printf, 3, 4)))
static int invalid(const struct place *at, char *error, const char *fmt, ...)
{
	char where[160] = "cluster";
	va_list ap;
	int n;

	if (at)
		place_format(at, where, sizeof(where));
	n = snprintf(error, CONFIG_ERROR_MAX, "%s: ", where);
	va_start(ap, fmt);
	vsnprintf(error + n, CONFIG_ERROR_MAX - (size_t)n, fmt, ap);
	va_end(ap);
	return CONFIG_E_INVALID;
}

bool config_name_is_legal(const char *name, size_t len)
{
	if (len < 1 || len > VAT_NAME_MAX || (len == 1 && name[0] == '.') || (len == 2 && !memcmp(name, "..", 2)))
		return false;
	for (size_t i = 0; i < len; i++) {
		char c = name[i];

		if (!((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
		      c == '.' || c == '_' || c == ':' || c == '-'))
			return false;
	}
	return true;
}

static int check_name(const struct place *at, const char *name, size_t len, char *error)
{
	if (!config_name_is_legal(name, len))
		return invalid(at, error, "expected a name of 1 to 64 of A-Z a-z 0-9 . _ : -, not \".\" or \"..\"");
	return 0;
}

static int parse_object(const struct place *at, json_t *value, const struct field *fields, size_t n_fields,
			void *out, char *error)
{
	const char *key;
	json_t *v;

	if (!json_is_object(value))
		return invalid(at, error, "expected an object");
	json_object_foreach(value, key, v) {
		struct place here = { .up = at, .key = key };
		size_t i = 0;
		int r;

		while (i < n_fields && strcmp(fields[i].name, key))
			i++;
		if (i == n_fields)
			return invalid(&here, error, "unknown field");
		r = fields[i].parse(&here, v, out, error);
		if (r)
			return r;
	}
	for (size_t i = 0; i < n_fields; i++) {
		struct place here = { .up = at, .key = fields[i].name };

		if (fields[i].missing && !json_object_get(value, fields[i].name))
			return invalid(&here, error, "missing, expected %s", fields[i].missing);
	}
	return 0;
}

/* A string without NUL (which a caller may have let in) of min to STRING_MAX_LEN bytes, copied. */
static int parse_string(const struct place *at, json_t *value, size_t min, char **outp, char *error)
{
	size_t len;
	char *copy;

	if (!json_is_string(value))
		return invalid(at, error, "expected a string");
	len = json_string_length(value);
	if (len < min || len > STRING_MAX_LEN || memchr(json_string_value(value), 0, len))
		return invalid(at, error, "expected a string of %zu to %zu bytes without NUL", min, STRING_MAX_LEN);
	copy = strdup(json_string_value(value));
	if (!copy)
		return error_origin(ENOMEM);
	free(*outp);
	*outp = copy;
	return 0;
}

/* The index of the word, or CONFIG_E_INVALID; words ends with NULL. */
static int parse_word(const struct place *at, json_t *value, const char *const *words, size_t *outp, char *error)
{
	char list[100] = "";
	size_t n = 0;

	for (size_t i = 0; words[i]; i++) {
		if (json_is_string(value) && json_string_length(value) == strlen(words[i]) &&
		    !strcmp(json_string_value(value), words[i])) {
			*outp = i;
			return 0;
		}
		n += (size_t)snprintf(list + n, sizeof(list) - n, "%s\"%s\"", i ? " or " : "", words[i]);
		assert(n < sizeof(list));
	}
	return invalid(at, error, "expected %s", list);
}

static bool has_hash_prefix(const char *path)
{
	return !strncmp(path, HASH_PREFIX, strlen(HASH_PREFIX));
}

/* A path, or the hash of what the code store already has. */
static int parse_source(const struct place *at, json_t *value, char **outp, char *error)
{
	const char *hex;
	int r = parse_string(at, value, 1, outp, error);

	if (r || !has_hash_prefix(*outp))
		return r;
	hex = *outp + strlen(HASH_PREFIX);
	if (strlen(hex) != HASH_HEX_LEN || strspn(hex, "0123456789abcdef") != HASH_HEX_LEN)
		return invalid(at, error, "expected a path, or \"sha256:\" and %u lower-case hex digits", HASH_HEX_LEN);
	return 0;
}

/* --- limits ----------------------------------------------------------------------------------------------- */

/* Ranges are generous: they keep sums of a thousand vats from overflowing, they are no policy. */
static const struct limit {
	const char *name;
	const char *unit;
	size_t offset;
	uint64_t min, max;
} limits_table[] = {
#define LIMIT(name, field, unit, min, max) { name, unit, offsetof(struct config_limits, field), min, max }
	LIMIT("deadlineMs", deadline_ms, "milliseconds", 0, UINT64_C(86400000)),
	LIMIT("cpuMs", cpu_ms, "milliseconds", 0, UINT64_C(86400000)),
	LIMIT("queueMessages", queue_messages, "messages", 1, UINT64_C(1000000000)),
	LIMIT("queueBytes", queue_bytes, "bytes", 1, UINT64_C(1) << 40),
	LIMIT("waitingMessages", waiting_messages, "messages", 1, UINT64_C(1000000000)),
	LIMIT("waitingBytes", waiting_bytes, "bytes", 1, UINT64_C(1) << 40),
	LIMIT("syscalls", syscalls, "syscalls", 1, UINT64_C(1000000000)),
	LIMIT("crankBytes", crank_bytes, "bytes", 1, UINT64_C(1) << 40),
	LIMIT("exports", exports, "entries", 1, UINT64_C(1000000000)),
	LIMIT("imports", imports, "entries", 1, UINT64_C(1000000000)),
	LIMIT("vatstoreBytes", vatstore_bytes, "bytes", 0, UINT64_C(1) << 40),
	LIMIT("logLines", log_lines, "lines a second", 0, UINT64_C(1000000)),
	LIMIT("memory", memory, "bytes", UINT64_C(1) << 20, UINT64_C(1) << 50),
	LIMIT("processes", n_procs, "processes", 1, 32768),
	LIMIT("openFiles", n_files, "files", 4, UINT64_C(1048576)),	/* 0 to 2 and the channel, fd 3 */
#undef LIMIT
};

static uint64_t *limit_slot(struct config_limits *limits, const struct limit *l)
{
	return (uint64_t *)((char *)limits + l->offset);
}

static void limits_init(struct config_limits *limits)
{
	for (size_t i = 0; i < ARRAY_LEN(limits_table); i++)
		*limit_slot(limits, &limits_table[i]) = UINT64_MAX;
}

/* A whole number in its range, into the struct that the offset is of. */
static int parse_number(const struct place *at, json_t *v, const struct limit *l, void *out, char *error)
{
	if (!json_is_integer(v) || json_integer_value(v) < 0 || (uint64_t)json_integer_value(v) < l->min ||
	    (uint64_t)json_integer_value(v) > l->max)
		return invalid(at, error, "expected a whole number of %s, %llu to %llu", l->unit,
			       (unsigned long long)l->min, (unsigned long long)l->max);
	*(uint64_t *)((char *)out + l->offset) = (uint64_t)json_integer_value(v);
	return 0;
}

/* An object of whole numbers, each in its range, into the struct that the table's offsets are of. */
static int parse_numbers(const struct place *at, json_t *value, const struct limit *table, size_t n, void *out, char *error)
{
	const char *key;
	json_t *v;

	if (!json_is_object(value))
		return invalid(at, error, "expected an object");
	json_object_foreach(value, key, v) {
		struct place here = { .up = at, .key = key };
		const struct limit *l = table, *end = table + n;
		int r;

		while (l < end && strcmp(l->name, key))
			l++;
		if (l == end)
			return invalid(&here, error, "unknown field");
		r = parse_number(&here, v, l, out, error);
		if (r)
			return r;
	}
	return 0;
}

static int parse_limits(const struct place *at, json_t *value, void *out, char *error)
{
	struct config_vat *vat = out;

	return parse_numbers(at, value, limits_table, ARRAY_LEN(limits_table), &vat->limits, error);
}

/* --- one vat ---------------------------------------------------------------------------------------------- */

static int parse_program(const struct place *at, json_t *value, void *out, char *error)
{
	return parse_source(at, value, &((struct config_vat *)out)->program, error);
}

static int parse_args(const struct place *at, json_t *value, void *out, char *error)
{
	struct config_vat *vat = out;
	size_t n = json_array_size(value);
	int r = 0;

	if (!json_is_array(value) || n > CONFIG_MAX_ARGS)
		return invalid(at, error, "expected an array of at most %u strings", CONFIG_MAX_ARGS);
	vat->args = calloc(n + 1, sizeof(*vat->args));
	if (!vat->args)
		return error_origin(ENOMEM);
	vat->n_args = n;
	for (size_t i = 0; i < n && !r; i++)
		r = parse_string(&(struct place){ .up = at, .index = i }, json_array_get(value, i), 0,
				 &vat->args[i], error);
	return r;
}

static int parse_files(const struct place *at, json_t *value, void *out, char *error)
{
	struct config_vat *vat = out;
	const char *key;
	json_t *v;

	if (!json_is_object(value) || json_object_size(value) > CONFIG_MAX_FILES)
		return invalid(at, error, "expected an object of at most %u names and paths", CONFIG_MAX_FILES);
	vat->files = calloc(json_object_size(value) + 1, sizeof(*vat->files));
	if (!vat->files)
		return error_origin(ENOMEM);
	json_object_foreach(value, key, v) {
		struct place here = { .up = at, .key = key };
		struct config_file *f = &vat->files[vat->n_files++];
		int r = check_name(&here, key, strlen(key), error);

		if (!r)
			r = parse_source(&here, v, &f->path, error);
		if (r)
			return r;
		f->name = strdup(key);
		if (!f->name)
			return error_origin(ENOMEM);
	}
	return 0;
}

static int parse_runtime(const struct place *at, json_t *value, void *out, char *error)
{
	size_t word = 0;
	int r = parse_word(at, value, (const char *const[]){ "none", "host", NULL }, &word, error);

	((struct config_vat *)out)->host_runtime = word == 1;
	return r;
}

static int parse_restart(const struct place *at, json_t *value, void *out, char *error)
{
	size_t word = 0;
	int r = parse_word(at, value, (const char *const[]){ "restart", "terminate", NULL }, &word, error);

	((struct config_vat *)out)->restart = word == 1 ? RESTART_TERMINATE : RESTART_RESTART;
	return r;
}

/* Any JSON; what it means to the vat, and whether its references exist, is judged when it is launched. */
static int parse_parameters(const struct place *at, json_t *value, void *out, char *error)
{
	(void)at;
	(void)error;
	((struct config_vat *)out)->parameters = json_incref(value);
	return 0;
}

static const struct field vat_fields[] = {
	{ "program", parse_program, "a path" },
	{ "args", parse_args, NULL },
	{ "files", parse_files, NULL },
	{ "runtime", parse_runtime, NULL },
	{ "parameters", parse_parameters, NULL },
	{ "limits", parse_limits, NULL },
	{ "restart", parse_restart, NULL },
};

static void vat_init(struct config_vat *v)
{
	*v = (struct config_vat){ .restart = RESTART_RESTART };
	limits_init(&v->limits);
}

static void vat_deinit(struct config_vat *v)
{
	free(v->name);
	free(v->program);
	for (size_t i = 0; v->args && i < v->n_args; i++)
		free(v->args[i]);
	free(v->args);
	for (size_t i = 0; i < v->n_files; i++) {
		free(v->files[i].name);
		free(v->files[i].path);
	}
	free(v->files);
	json_decref(v->parameters);
}

struct config_vat *config_vat_free(struct config_vat *v)
{
	if (v)
		vat_deinit(v);
	free(v);
	return NULL;
}

static int parse_vat(const struct place *at, const char *name, json_t *value, struct config_vat *out, char *error)
{
	int r = check_name(at, name, strlen(name), error);

	if (r)
		return r;
	out->name = strdup(name);
	if (!out->name)
		return error_origin(ENOMEM);
	return parse_object(at, value, vat_fields, ARRAY_LEN(vat_fields), out, error);
}

/* jansson iterates non-const objects only; nothing below writes to one. */
static json_t *unconst(const json_t *json)
{
	return (json_t *)(uintptr_t)json;
}

int config_vat_parse(const char *name, const json_t *json, struct config_vat **vatp, char error[CONFIG_ERROR_MAX])
{
	struct place vats = { .key = "vats" }, here = { .up = &vats, .key = name };
	struct config_vat *v = malloc(sizeof(*v));
	int r;

	error[0] = 0;
	if (!v)
		return error_origin(ENOMEM);
	vat_init(v);
	r = parse_vat(&here, name, unconst(json), v, error);
	if (r)
		config_vat_free(v);
	else
		*vatp = v;
	return r;
}

static json_t *files_to_json(const struct config_vat *v)
{
	json_t *files = json_object();

	for (size_t i = 0; files && i < v->n_files; i++)
		if (json_object_set_new(files, v->files[i].name, json_string(v->files[i].path))) {
			json_decref(files);
			return NULL;
		}
	return files;
}

static json_t *args_to_json(const struct config_vat *v)
{
	json_t *args = json_array();

	for (size_t i = 0; args && i < v->n_args; i++)
		if (json_array_append_new(args, json_string(v->args[i]))) {
			json_decref(args);
			return NULL;
		}
	return args;
}

static json_t *limits_to_json(const struct config_vat *v)
{
	struct config_limits limits = v->limits;
	json_t *json = json_object();

	for (size_t i = 0; json && i < ARRAY_LEN(limits_table); i++) {
		uint64_t value = *limit_slot(&limits, &limits_table[i]);

		if (value != UINT64_MAX &&
		    json_object_set_new(json, limits_table[i].name, json_integer((json_int_t)value))) {
			json_decref(json);
			return NULL;
		}
	}
	return json;
}

json_t *config_vat_to_json(const struct config_vat *v)
{
	json_t *json = json_object();
	int bad = !json;

	if (!bad)	/* the setters refuse a NULL value, which is how a failed part shows */
		bad = json_object_set_new(json, "program", json_string(v->program)) ||
		      json_object_set_new(json, "args", args_to_json(v)) ||
		      json_object_set_new(json, "files", files_to_json(v)) ||
		      json_object_set_new(json, "runtime", json_string(v->host_runtime ? "host" : "none")) ||
		      (v->parameters && json_object_set(json, "parameters", v->parameters)) ||
		      json_object_set_new(json, "limits", limits_to_json(v)) ||
		      json_object_set_new(json, "restart",
					  json_string(v->restart == RESTART_TERMINATE ? "terminate" : "restart"));
	if (bad) {
		json_decref(json);
		return NULL;
	}
	return json;
}

/* --- services and io -------------------------------------------------------------------------------------- */

static int parse_services(const struct place *at, json_t *value, void *out, char *error)
{
	struct config *c = out;
	size_t n = json_array_size(value);

	if (!json_is_array(value) || n > CONFIG_MAX_SERVICES)
		return invalid(at, error, "expected an array of at most %u names", CONFIG_MAX_SERVICES);
	c->services = calloc(n + 1, sizeof(*c->services));
	if (!c->services)
		return error_origin(ENOMEM);
	for (size_t i = 0; i < n; i++) {
		struct place here = { .up = at, .index = i };
		int r;

		c->n_services++;
		r = parse_string(&here, json_array_get(value, i), 0, &c->services[i], error);
		if (!r)
			r = check_name(&here, c->services[i], strlen(c->services[i]), error);
		if (r)
			return r;
		for (size_t j = 0; j < i; j++)
			if (!strcmp(c->services[i], c->services[j]))
				return invalid(&here, error, "\"%s\" is there twice", c->services[i]);
	}
	return 0;
}

static int parse_io_type(const struct place *at, json_t *value, void *out, char *error)
{
	static const char *const words[] = { "socket", "listen", "file", "console", NULL };
	size_t word = 0;
	int r = parse_word(at, value, words, &word, error);

	((struct config_io *)out)->type = word;
	return r;
}

/* Collapsed from its end: folders are compared as text. */
static int parse_absolute(const struct place *at, json_t *value, char **outp, char *error)
{
	size_t n;
	int r = parse_string(at, value, 1, outp, error);

	if (r)
		return r;
	for (n = strlen(*outp); n > 1 && (*outp)[n - 1] == '/'; n--)
		(*outp)[n - 1] = '\0';
	return **outp == '/' ? 0 : invalid(at, error, "expected an absolute path");
}

static int parse_io_path(const struct place *at, json_t *value, void *out, char *error)
{
	return parse_absolute(at, value, &((struct config_io *)out)->path, error);
}

static int parse_io_direction(const struct place *at, json_t *value, void *out, char *error)
{
	static const char *const words[] = { "in", "out", "inout", NULL };
	size_t word = 0;
	int r = parse_word(at, value, words, &word, error);

	((struct config_io *)out)->direction = word;
	return r;
}

static int parse_io_unit(const struct place *at, json_t *value, void *out, char *error)
{
	size_t word = 0;
	int r = parse_word(at, value, (const char *const[]){ "line", "bytes", NULL }, &word, error);

	((struct config_io *)out)->bytes = word == 1;
	return r;
}

static const struct field io_fields[] = {
	{ "type", parse_io_type, "\"socket\", \"listen\", \"file\" or \"console\"" },
	{ "path", parse_io_path, NULL },
	{ "direction", parse_io_direction, "\"in\", \"out\" or \"inout\"" },
	{ "unit", parse_io_unit, NULL },		/* "line" */
};

static int parse_io_entry(const struct place *at, const char *name, json_t *value, struct config_io *io, char *error)
{
	struct place path = { .up = at, .key = "path" };
	int r = check_name(at, name, strlen(name), error);

	if (!r && strlen(name) > CONFIG_IO_NAME_MAX)
		r = invalid(at, error, "expected a name of at most %u bytes", CONFIG_IO_NAME_MAX);
	if (r)
		return r;
	io->name = strdup(name);
	if (!io->name)
		return error_origin(ENOMEM);
	r = parse_object(at, value, io_fields, ARRAY_LEN(io_fields), io, error);
	if (!r && !io->path && io->type != CONFIG_IO_CONSOLE)
		r = invalid(&path, error, "missing, expected a path");
	if (!r && io->path && io->type == CONFIG_IO_CONSOLE)
		r = invalid(&path, error, "expected none: the console has no path");
	return r;
}

static int parse_io(const struct place *at, json_t *value, void *out, char *error)
{
	struct config *c = out;
	const char *key;
	json_t *v;

	if (!json_is_object(value) || json_object_size(value) > CONFIG_MAX_SERVICES)
		return invalid(at, error, "expected an object of at most %u channels", CONFIG_MAX_SERVICES);
	c->ios = calloc(json_object_size(value) + 1, sizeof(*c->ios));
	if (!c->ios)
		return error_origin(ENOMEM);
	json_object_foreach(value, key, v) {
		int r = parse_io_entry(&(struct place){ .up = at, .key = key }, key, v, &c->ios[c->n_ios++], error);

		if (r)
			return r;
	}
	return 0;
}

/* --- the whole -------------------------------------------------------------------------------------------- */

static int parse_bootstrap(const struct place *at, json_t *value, void *out, char *error)
{
	return parse_string(at, value, 1, &((struct config *)out)->bootstrap, error);
}

static int parse_vats(const struct place *at, json_t *value, void *out, char *error)
{
	struct config *c = out;
	size_t n = json_object_size(value);
	const char *key;
	json_t *v;

	if (!json_is_object(value) || n < 1 || n > CONFIG_MAX_VATS)
		return invalid(at, error, "expected an object of 1 to %u vats", CONFIG_MAX_VATS);
	c->vats = calloc(n, sizeof(*c->vats));
	if (!c->vats)
		return error_origin(ENOMEM);
	json_object_foreach(value, key, v) {
		struct place here = { .up = at, .key = key };
		struct config_vat *vat = &c->vats[c->n_vats++];
		int r;

		vat_init(vat);
		r = parse_vat(&here, key, v, vat, error);
		if (r)
			return r;
	}
	return 0;
}

static const struct field config_fields[] = {
	{ "bootstrap", parse_bootstrap, "the name of a vat" },
	{ "vats", parse_vats, "an object of vats" },
	{ "services", parse_services, NULL },
	{ "io", parse_io, NULL },
};

/* What holds between fields: who is bootstrapped, what `services` hands over, how many files a launch carries. */
static int check_whole(const struct place *at, const struct config *c, char *error)
{
	struct config_paths paths;
	size_t i = 0;
	int r;

	while (i < c->n_vats && strcmp(c->vats[i].name, c->bootstrap))
		i++;
	if (i == c->n_vats) {
		char shown[KEY_SHOWN];

		escape_bytes(shown, sizeof(shown), c->bootstrap, strlen(c->bootstrap));
		return invalid(&(struct place){ .up = at, .key = "bootstrap" }, error,
			       "expected the name of one of the vats, \"%s\" is none", shown);
	}
	for (i = 0; i < c->n_ios; i++)
		for (size_t j = 0; j < c->n_services; j++)
			if (!strcmp(c->ios[i].name, c->services[j]))
				return invalid(&(struct place){ .up = &(struct place){ .up = at, .key = "io" }, .key = c->ios[i].name },
					       error, "expected another name: a service of this name is asked for");
	r = config_paths(c, &paths);
	if (r < 0)
		return r;
	if (r)
		return invalid(&(struct place){ .up = at, .key = "vats" }, error,
			       "expected at most %u different programs and files", CONFIG_MAX_PATHS);
	config_paths_deinit(&paths);
	return 0;
}

static int parse_config(const struct place *at, json_t *json, struct config **configp, char *error)
{
	struct config *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return error_origin(ENOMEM);
	r = parse_object(at, json, config_fields, ARRAY_LEN(config_fields), c, error);
	if (!r)
		r = check_whole(at, c, error);
	if (r)
		config_free(c);
	else
		*configp = c;
	return r;
}

int config_parse(const json_t *json, struct config **configp, char error[CONFIG_ERROR_MAX])
{
	error[0] = 0;
	return parse_config(NULL, unconst(json), configp, error);
}

struct config *config_free(struct config *c)
{
	if (!c)
		return NULL;
	free(c->bootstrap);
	for (size_t i = 0; i < c->n_vats; i++)
		vat_deinit(&c->vats[i]);
	free(c->vats);
	for (size_t i = 0; i < c->n_services; i++)
		free(c->services[i]);
	free(c->services);
	for (size_t i = 0; i < c->n_ios; i++) {
		free(c->ios[i].name);
		free(c->ios[i].path);
	}
	free(c->ios);
	free(c->system);
	free(c);
	return NULL;
}

/* --- paths ------------------------------------------------------------------------------------------------ */

size_t config_paths_index(const struct config_paths *p, const char *path)
{
	for (size_t i = 0; i < p->n; i++)
		if (!strcmp(p->paths[i], path))
			return i;
	return SIZE_MAX;
}

/* The bound keeps the search above linear in the size of the configuration. */
static int paths_add(struct config_paths *p, const char *path)
{
	if (has_hash_prefix(path) || config_paths_index(p, path) != SIZE_MAX)
		return 0;
	if (p->n == CONFIG_MAX_PATHS)
		return CONFIG_E_INVALID;
	p->paths[p->n] = strdup(path);
	if (!p->paths[p->n])
		return error_origin(ENOMEM);
	p->n++;
	return 0;
}

int config_paths(const struct config *c, struct config_paths *out)
{
	struct config_paths p = { .paths = calloc(CONFIG_MAX_PATHS, sizeof(*p.paths)) };
	int r = p.paths ? 0 : error_origin(ENOMEM);

	for (size_t i = 0; i < c->n_vats && !r; i++) {
		const struct config_vat *v = &c->vats[i];

		r = paths_add(&p, v->program);
		for (size_t j = 0; j < v->n_files && !r; j++)
			r = paths_add(&p, v->files[j].path);
	}
	if (r)
		config_paths_deinit(&p);
	else
		*out = p;
	return r;
}

void config_paths_deinit(struct config_paths *p)
{
	for (size_t i = 0; i < p->n; i++)
		free(p->paths[i]);
	free(p->paths);
	*p = (struct config_paths){ 0 };
}

/* --- the kernel's own settings ------------------------------------------------------------------------------- */

static const struct limit restart_table[] = {
	{ "deaths", "deaths", offsetof(struct settings, deaths), 0, VAT_N_DEATHS - 1 },
	{ "windowMs", "milliseconds", offsetof(struct settings, deaths_window_ms), 1, UINT64_C(86400000) },
	{ "sameDelivery", "deaths", offsetof(struct settings, poison_deaths), 1, 1000 },
};
static const struct limit ended_table[] = {
	{ "keepMs", "milliseconds", offsetof(struct settings, ended_keep_ms), 0, UINT64_C(31536000000) },
};
static const struct limit reap_table[] = {
	{ "deliveries", "deliveries", offsetof(struct settings, reap_deliveries), 1, 1000000000 },
	{ "collected", "references", offsetof(struct settings, reap_collected), 1, 1000000000 },
};
static const struct limit commit_table[] = {
	{ "cranks", "cranks", offsetof(struct settings, group_cranks), 1, 1000000 },
	{ "ms", "milliseconds", offsetof(struct settings, group_ms), 1, 10000 },
};

static int parse_default_limits(const struct place *at, json_t *value, void *out, char *error)
{
	struct settings *s = out;

	return parse_numbers(at, value, limits_table, ARRAY_LEN(limits_table), &s->limits, error);
}

static int parse_restart_settings(const struct place *at, json_t *value, void *out, char *error)
{
	return parse_numbers(at, value, restart_table, ARRAY_LEN(restart_table), out, error);
}

static int parse_reap_settings(const struct place *at, json_t *value, void *out, char *error)
{
	return parse_numbers(at, value, reap_table, ARRAY_LEN(reap_table), out, error);
}

static int parse_ended_settings(const struct place *at, json_t *value, void *out, char *error)
{
	return parse_numbers(at, value, ended_table, ARRAY_LEN(ended_table), out, error);
}

static int parse_commit_settings(const struct place *at, json_t *value, void *out, char *error)
{
	return parse_numbers(at, value, commit_table, ARRAY_LEN(commit_table), out, error);
}

static int parse_mount_world(const struct place *at, json_t *value, void *out, char *error)
{
	if (!json_is_boolean(value))
		return invalid(at, error, "expected true or false");
	((struct settings *)out)->mount_world = json_is_true(value);
	return 0;
}

/* In the order of enum mount_hide's bits. */
static const char *const hide_words[MOUNT_N_HIDE + 1] = { "parameters", "baggage", "values", "logs", NULL };

static int parse_mount_hide(const struct place *at, json_t *value, void *out, char *error)
{
	struct settings *s = out;
	size_t n = json_array_size(value), word;

	if (!json_is_array(value) || n > MOUNT_N_HIDE)
		return invalid(at, error, "expected an array of at most %u words", MOUNT_N_HIDE);
	s->mount_hide = 0;
	for (size_t i = 0; i < n; i++) {
		struct place here = { .up = at, .index = i };
		int r = parse_word(&here, json_array_get(value, i), hide_words, &word, error);

		if (r)
			return r;
		if (s->mount_hide & 1u << word)
			return invalid(&here, error, "\"%s\" is there twice", hide_words[word]);
		s->mount_hide |= 1u << word;
	}
	return 0;
}

bool mount_hide_parse(const char *words, unsigned *outp)
{
	unsigned hide = 0;

	for (const char *p = words; *p; ) {
		size_t len = strcspn(p, ","), i = 0;

		while (i < MOUNT_N_HIDE && (strlen(hide_words[i]) != len || strncmp(hide_words[i], p, len)))
			i++;
		if (i == MOUNT_N_HIDE || (p[len] && !p[len + 1]))
			return false;
		hide |= 1u << i;
		p += len + !!p[len];
	}
	*outp = hide;
	return true;
}

void mount_hide_format(unsigned hide, char out[MOUNT_HIDE_TEXT])
{
	size_t n = 0;

	out[0] = '\0';
	for (size_t i = 0; i < MOUNT_N_HIDE; i++)
		if (hide & 1u << i)
			n += (size_t)snprintf(out + n, MOUNT_HIDE_TEXT - n, "%s%s", n ? "," : "", hide_words[i]);
	assert(n < MOUNT_HIDE_TEXT);
}

static int parse_snapshot_ms(const struct place *at, json_t *value, void *out, char *error)
{
	static const struct limit l = { "snapshotMs", "milliseconds", offsetof(struct settings, snapshot_ms), 1000, 600000 };

	return parse_number(at, value, &l, out, error);
}

static int parse_mount(const struct place *at, json_t *value, void *out, char *error)
{
	static const struct field fields[] = {
		{ "world", parse_mount_world, NULL },
		{ "hide", parse_mount_hide, NULL },
		{ "snapshotMs", parse_snapshot_ms, NULL },
	};

	return parse_object(at, value, fields, ARRAY_LEN(fields), out, error);
}

static int parse_io_paths(const struct place *at, json_t *value, void *out, char *error)
{
	struct settings *s = out;
	size_t n = json_array_size(value);
	int r = 0;

	if (!json_is_array(value) || n > CONFIG_MAX_SYSTEM)
		return invalid(at, error, "expected an array of at most %u folders", CONFIG_MAX_SYSTEM);
	s->io_paths = calloc(n + 1, sizeof(*s->io_paths));
	if (!s->io_paths)
		return error_origin(ENOMEM);
	s->n_io_paths = n;
	for (size_t i = 0; i < n && !r; i++)
		r = parse_absolute(&(struct place){ .up = at, .index = i }, json_array_get(value, i), &s->io_paths[i], error);
	return r;
}

static int parse_system_entry(const struct place *at, const char *name, json_t *value, struct config_system *out, char *error)
{
	int r = check_name(at, name, strlen(name), error);

	if (!r)
		r = parse_config(at, value, &out->config, error);
	if (!r)
		r = config_paths(out->config, &out->paths);
	if (r)
		return r;
	out->json = json_incref(value);
	out->name = strdup(name);
	out->config->system = strdup(name);
	return out->name && out->config->system ? 0 : error_origin(ENOMEM);
}

/* That no name is there twice is the business of whoever read the text: two equal keys never get here. */
static int parse_system(const struct place *at, json_t *value, void *out, char *error)
{
	struct settings *s = out;
	const char *key;
	json_t *v;

	if (!json_is_object(value) || json_object_size(value) > CONFIG_MAX_SYSTEM)
		return invalid(at, error, "expected an object of at most %u clusters", CONFIG_MAX_SYSTEM);
	s->systems = calloc(json_object_size(value) + 1, sizeof(*s->systems));
	if (!s->systems)
		return error_origin(ENOMEM);
	json_object_foreach(value, key, v) {
		int r = parse_system_entry(&(struct place){ .up = at, .key = key }, key, v, &s->systems[s->n_systems++], error);

		if (r)
			return r;
	}
	return 0;
}

size_t settings_n_given(const struct settings *s)
{
	size_t n = s->n_io_paths;

	for (size_t i = 0; i < s->n_systems; i++)
		n += s->systems[i].paths.n;
	return n;
}

void settings_deinit(struct settings *s)
{
	for (size_t i = 0; i < s->n_io_paths; i++)
		free(s->io_paths[i]);
	free(s->io_paths);
	for (size_t i = 0; i < s->n_systems; i++) {
		free(s->systems[i].name);
		config_free(s->systems[i].config);
		json_decref(s->systems[i].json);
		config_paths_deinit(&s->systems[i].paths);
	}
	free(s->systems);
	s->io_paths = NULL;
	s->systems = NULL;
	s->n_io_paths = s->n_systems = 0;
}

void settings_init(struct settings *s)
{
	*s = (struct settings){
		.deaths = 3, .deaths_window_ms = 60000, .poison_deaths = 2,
		.reap_deliveries = 200, .reap_collected = 20, .ended_keep_ms = 600000,
		.group_cranks = 10000, .group_ms = 100, .snapshot_ms = 60000,
	};
	limits_init(&s->limits);
}

int settings_parse(const json_t *json, struct settings *out, char error[CONFIG_ERROR_MAX])
{
	static const struct field fields[] = {
		{ "limits", parse_default_limits, NULL },
		{ "restart", parse_restart_settings, NULL },
		{ "reap", parse_reap_settings, NULL },
		{ "ended", parse_ended_settings, NULL },
		{ "commit", parse_commit_settings, NULL },
		{ "mount", parse_mount, NULL },
		{ "ioPaths", parse_io_paths, NULL },
		{ "system", parse_system, NULL },
	};
	struct place top = { .key = "config" };
	struct settings s;
	int r;

	settings_init(&s);
	error[0] = 0;
	r = parse_object(&top, unconst(json), fields, ARRAY_LEN(fields), &s, error);
	if (!r && settings_n_given(&s) > CONFIG_MAX_GIVEN)
		r = invalid(&(struct place){ .up = &top, .key = "system" }, error,
			    "expected at most %u folders, programs and files in all", CONFIG_MAX_GIVEN);
	if (r)
		settings_deinit(&s);
	else
		*out = s;
	return r;
}
