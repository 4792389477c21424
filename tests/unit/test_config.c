/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cluster configuration: what is accepted means what it says, and every field gone wrong gives the error that names
 * it (rule L1: any JSON is one or the other).
 */
#include "../../lib/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static json_t *load(const char *text)
{
	json_error_t error;
	json_t *json = json_loads(text, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);

	if (!json)
		fail_msg("%s: %s", text, error.text);
	return json;
}

static struct config *parse(const char *text)
{
	json_t *json = load(text);
	char error[CONFIG_ERROR_MAX];
	struct config *c = NULL;

	if (config_parse(json, &c, error))
		fail_msg("%s: %s", text, error);
	json_decref(json);	/* what the config shares with it stays */
	return c;
}

static void expect_error_json(json_t *json, const char *expected)
{
	char error[CONFIG_ERROR_MAX];
	struct config *c = NULL;

	assert_int_equal(config_parse(json, &c, error), CONFIG_E_INVALID);
	assert_null(c);
	assert_string_equal(error, expected);
	json_decref(json);
}

static const char full[] =
	"{\"bootstrap\": \"alice\","
	" \"vats\": {"
	"  \"zoe\": {\"program\": \"./zoe\"},"
	"  \"alice\": {\"program\": \"./alice\", \"args\": [\"x\", \"\", \"\\u00e9\"],"
	"   \"files\": {\"words.txt\": \"./words.txt\", \"zoe\": \"./zoe\"}, \"runtime\": \"host\","
	"   \"parameters\": {\"n\": [1, {\"@\": \"ko7\"}]}, \"restart\": \"terminate\","
	"   \"limits\": {\"deadlineMs\": 0, \"cpuMs\": 12, \"waitingMessages\": 13,"
	"    \"waitingBytes\": 14, \"queueMessages\": 1, \"queueBytes\": 2, \"syscalls\": 3, \"crankBytes\": 4,"
	"    \"exports\": 5, \"imports\": 6, \"vatstoreBytes\": 7, \"logLines\": 8, \"memory\": 1048576, \"processes\": 10,"
	"    \"openFiles\": 11}}},"
	" \"services\": [\"console\", \"io:s1:log\"],"
	" \"io\": {\"in\": {\"type\": \"socket\", \"path\": \"/run/a\", \"direction\": \"inout\", \"unit\": \"bytes\"},"
	"  \"tty\": {\"type\": \"console\", \"direction\": \"out\"}}}";

static void check_alice(const struct config_vat *v)
{
	assert_string_equal(v->name, "alice");
	assert_string_equal(v->program, "./alice");
	assert_int_equal(v->n_args, 3);
	assert_string_equal(v->args[0], "x");
	assert_string_equal(v->args[1], "");
	assert_string_equal(v->args[2], "\xc3\xa9");
	assert_int_equal(v->n_files, 2);
	assert_string_equal(v->files[0].name, "words.txt");
	assert_string_equal(v->files[0].path, "./words.txt");
	assert_string_equal(v->files[1].path, "./zoe");
	assert_true(v->host_runtime);
	assert_int_equal(json_integer_value(json_array_get(json_object_get(v->parameters, "n"), 0)), 1);
	assert_int_equal(v->restart, RESTART_TERMINATE);
	assert_int_equal(v->limits.deadline_ms, 0);
	assert_int_equal(v->limits.cpu_ms, 12);
	assert_int_equal(v->limits.waiting_messages, 13);
	assert_int_equal(v->limits.waiting_bytes, 14);
	assert_int_equal(v->limits.queue_messages, 1);
	assert_int_equal(v->limits.queue_bytes, 2);
	assert_int_equal(v->limits.syscalls, 3);
	assert_int_equal(v->limits.crank_bytes, 4);
	assert_int_equal(v->limits.exports, 5);
	assert_int_equal(v->limits.imports, 6);
	assert_int_equal(v->limits.vatstore_bytes, 7);
	assert_int_equal(v->limits.log_lines, 8);
	assert_int_equal(v->limits.memory, 1048576);
	assert_int_equal(v->limits.n_procs, 10);
	assert_int_equal(v->limits.n_files, 11);
}

static void test_full(void **state)
{
	struct config *c = parse(full);
	const struct config_vat *zoe = &c->vats[0];

	(void)state;
	assert_string_equal(c->bootstrap, "alice");
	assert_int_equal(c->n_vats, 2);
	assert_string_equal(zoe->name, "zoe");		/* the file's order */
	assert_int_equal(zoe->n_args, 0);
	assert_int_equal(zoe->n_files, 0);
	assert_false(zoe->host_runtime);
	assert_null(zoe->parameters);
	assert_int_equal(zoe->restart, RESTART_RESTART);
	for (size_t i = 0; i < sizeof(zoe->limits) / sizeof(uint64_t); i++)
		assert_true(((const uint64_t *)&zoe->limits)[i] == UINT64_MAX);
	check_alice(&c->vats[1]);
	assert_int_equal(c->n_services, 2);
	assert_string_equal(c->services[1], "io:s1:log");
	assert_int_equal(c->n_ios, 2);
	assert_string_equal(c->ios[0].name, "in");
	assert_string_equal(c->ios[0].path, "/run/a");
	assert_int_equal(c->ios[0].type, CONFIG_IO_SOCKET);
	assert_int_equal(c->ios[0].direction, CONFIG_IO_INOUT);
	assert_true(c->ios[0].bytes);
	assert_int_equal(c->ios[1].type, CONFIG_IO_CONSOLE);
	assert_null(c->ios[1].path);
	assert_false(c->ios[1].bytes);
	assert_null(c->system);
	assert_null(config_free(c));
	assert_null(config_free(NULL));
}

/* One vat's row: what is written reads back the same, and writes the same again. */
static void test_row(void **state)
{
	struct config *c = parse(full);
	char error[CONFIG_ERROR_MAX];

	(void)state;
	for (size_t i = 0; i < c->n_vats; i++) {
		json_t *json = config_vat_to_json(&c->vats[i]), *again;
		struct config_vat *v = NULL;

		assert_int_equal(config_vat_parse(c->vats[i].name, json, &v, error), 0);
		if (i == 1)
			check_alice(v);
		again = config_vat_to_json(v);
		assert_true(json_equal(json, again));
		json_decref(json);
		json_decref(again);
		assert_null(config_vat_free(v));
	}
	config_free(c);
}

static void test_bad_rows(void **state)	/* L1 */
{
	static const struct { const char *name, *json, *error; } cases[] = {
		{ "a", "[]", "vats.a: expected an object" },
		{ "a", "{}", "vats.a.program: missing, expected a path" },
		{ "a b", "{\"program\": \"x\"}", "vats.a b: expected a name of 1 to 64 of A-Z a-z 0-9 . _ : -, "
		  "not \".\" or \"..\"" },
	};
	char error[CONFIG_ERROR_MAX];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		json_t *json = load(cases[i].json);
		struct config_vat *v = NULL;

		assert_int_equal(config_vat_parse(cases[i].name, json, &v, error), CONFIG_E_INVALID);
		assert_string_equal(error, cases[i].error);
		assert_null(v);
		json_decref(json);
	}
	assert_null(config_vat_free(NULL));
}

/* A whole configuration with one wrong thing in it. */
static void test_top_errors(void **state)	/* L1 */
{
	static const struct { const char *json, *error; } cases[] = {
		{ "17", "cluster: expected an object" },
		{ "[]", "cluster: expected an object" },
		{ "{}", "bootstrap: missing, expected the name of a vat" },
		{ "{\"bootstrap\": \"a\"}", "vats: missing, expected an object of vats" },
		{ "{\"bootstrap\": 1, \"vats\": {\"a\": {\"program\": \"x\"}}}", "bootstrap: expected a string" },
		{ "{\"bootstrap\": \"\", \"vats\": {\"a\": {\"program\": \"x\"}}}",
		  "bootstrap: expected a string of 1 to 4095 bytes without NUL" },
		{ "{\"bootstrap\": \"b\", \"vats\": {\"a\": {\"program\": \"x\"}}}",
		  "bootstrap: expected the name of one of the vats, \"b\" is none" },
		{ "{\"bootstrap\": \"a\", \"vats\": []}", "vats: expected an object of 1 to 1000 vats" },
		{ "{\"bootstrap\": \"a\", \"vats\": {}}", "vats: expected an object of 1 to 1000 vats" },
		{ "{\"bootstrap\": \"a\", \"vats\": {\"a\": 1}}", "vats.a: expected an object" },
		{ "{\"bootstrap\": \"a\", \"vats\": {\"..\": {\"program\": \"x\"}}}",
		  "vats...: expected a name of 1 to 64 of A-Z a-z 0-9 . _ : -, not \".\" or \"..\"" },
		{ "{\"bootstrap\": \"a\", \"vats\": {\"a\": {\"program\": \"x\"}}, \"vat\": 1}", "vat: unknown field" },
		{ "{\"\\u001b[2J\": 1}", "\\x1b[2J: unknown field" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		expect_error_json(load(cases[i].json), cases[i].error);
	expect_error_json(NULL, "cluster: expected an object");
}

static void expect_field_errors(const char *format, const char *const (*cases)[2], size_t n)
{
	char text[1000];

	for (size_t i = 0; i < n; i++) {
		snprintf(text, sizeof(text), format, cases[i][0]);
		expect_error_json(load(text), cases[i][1]);
	}
}

static void test_vat_errors(void **state)	/* L1 */
{
	static const char *const cases[][2] = {
		{ "\"prog\": 1", "vats.a.prog: unknown field" },
		{ "\"program\": null", "vats.a.program: expected a string" },
		{ "\"program\": \"\"", "vats.a.program: expected a string of 1 to 4095 bytes without NUL" },
		{ "\"program\": \"a\\u0000b\"", "vats.a.program: expected a string of 1 to 4095 bytes without NUL" },
		{ "\"program\": \"sha256:12\"",
		  "vats.a.program: expected a path, or \"sha256:\" and 64 lower-case hex digits" },
		{ "\"program\": \"sha256:0123456789ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef\"",
		  "vats.a.program: expected a path, or \"sha256:\" and 64 lower-case hex digits" },
		{ "\"program\": \"x\", \"args\": \"x\"", "vats.a.args: expected an array of at most 64 strings" },
		{ "\"program\": \"x\", \"args\": [\"x\", 1]", "vats.a.args[1]: expected a string" },
		{ "\"program\": \"x\", \"files\": [\"x\"]", "vats.a.files: expected an object of at most 32 names and paths" },
		{ "\"program\": \"x\", \"files\": {\"x\": 1}", "vats.a.files.x: expected a string" },
		{ "\"program\": \"x\", \"files\": {\"a/b\": \"x\"}",
		  "vats.a.files.a/b: expected a name of 1 to 64 of A-Z a-z 0-9 . _ : -, not \".\" or \"..\"" },
		{ "\"program\": \"x\", \"runtime\": \"docker\"", "vats.a.runtime: expected \"none\" or \"host\"" },
		{ "\"program\": \"x\", \"runtime\": \"host\\u0000\"", "vats.a.runtime: expected \"none\" or \"host\"" },
		{ "\"program\": \"x\", \"runtime\": 1", "vats.a.runtime: expected \"none\" or \"host\"" },
		{ "\"program\": \"x\", \"restart\": true", "vats.a.restart: expected \"restart\" or \"terminate\"" },
		{ "\"program\": \"x\", \"limits\": 1", "vats.a.limits: expected an object" },
		{ "\"program\": \"x\", \"limits\": {\"speed\": 1}", "vats.a.limits.speed: unknown field" },
		{ "\"program\": \"x\", \"limits\": {\"deadlineMs\": 86400001}",
		  "vats.a.limits.deadlineMs: expected a whole number of milliseconds, 0 to 86400000" },
		{ "\"program\": \"x\", \"limits\": {\"deadlineMs\": 1.5}",
		  "vats.a.limits.deadlineMs: expected a whole number of milliseconds, 0 to 86400000" },
		{ "\"program\": \"x\", \"limits\": {\"deadlineMs\": \"1\"}",
		  "vats.a.limits.deadlineMs: expected a whole number of milliseconds, 0 to 86400000" },
		{ "\"program\": \"x\", \"limits\": {\"cpuMs\": -1}",
		  "vats.a.limits.cpuMs: expected a whole number of milliseconds, 0 to 86400000" },
		{ "\"program\": \"x\", \"limits\": {\"waitingMessages\": 0}",
		  "vats.a.limits.waitingMessages: expected a whole number of messages, 1 to 1000000000" },
		{ "\"program\": \"x\", \"limits\": {\"waitingBytes\": 0}",
		  "vats.a.limits.waitingBytes: expected a whole number of bytes, 1 to 1099511627776" },
		{ "\"program\": \"x\", \"limits\": {\"queueMessages\": 0}",
		  "vats.a.limits.queueMessages: expected a whole number of messages, 1 to 1000000000" },
		{ "\"program\": \"x\", \"limits\": {\"queueBytes\": -1}",
		  "vats.a.limits.queueBytes: expected a whole number of bytes, 1 to 1099511627776" },
		{ "\"program\": \"x\", \"limits\": {\"syscalls\": 0}",
		  "vats.a.limits.syscalls: expected a whole number of syscalls, 1 to 1000000000" },
		{ "\"program\": \"x\", \"limits\": {\"crankBytes\": 0}",
		  "vats.a.limits.crankBytes: expected a whole number of bytes, 1 to 1099511627776" },
		{ "\"program\": \"x\", \"limits\": {\"exports\": 0}",
		  "vats.a.limits.exports: expected a whole number of entries, 1 to 1000000000" },
		{ "\"program\": \"x\", \"limits\": {\"imports\": 0}",
		  "vats.a.limits.imports: expected a whole number of entries, 1 to 1000000000" },
		{ "\"program\": \"x\", \"limits\": {\"vatstoreBytes\": 9223372036854775807}",
		  "vats.a.limits.vatstoreBytes: expected a whole number of bytes, 0 to 1099511627776" },
		{ "\"program\": \"x\", \"limits\": {\"logLines\": null}",
		  "vats.a.limits.logLines: expected a whole number of lines a second, 0 to 1000000" },
		{ "\"program\": \"x\", \"limits\": {\"memory\": 1}",
		  "vats.a.limits.memory: expected a whole number of bytes, 1048576 to 1125899906842624" },
		{ "\"program\": \"x\", \"limits\": {\"processes\": 32769}",
		  "vats.a.limits.processes: expected a whole number of processes, 1 to 32768" },
		{ "\"program\": \"x\", \"limits\": {\"openFiles\": 3}",
		  "vats.a.limits.openFiles: expected a whole number of files, 4 to 1048576" },
	};

	(void)state;
	expect_field_errors("{\"bootstrap\": \"a\", \"vats\": {\"a\": {%s}}}", cases, ARRAY_LEN(cases));
}

static void test_service_errors(void **state)	/* L1 */
{
	static const char *const cases[][2] = {
		{ "\"services\": {}", "services: expected an array of at most 100 names" },
		{ "\"services\": [1]", "services[0]: expected a string" },
		{ "\"services\": [\"a\", \"\"]",
		  "services[1]: expected a name of 1 to 64 of A-Z a-z 0-9 . _ : -, not \".\" or \"..\"" },
		{ "\"services\": [\"a\", \"b\", \"a\"]", "services[2]: \"a\" is there twice" },
		{ "\"io\": []", "io: expected an object of at most 100 channels" },
		{ "\"io\": {\"x y\": {}}", "io.x y: expected a name of 1 to 64 of A-Z a-z 0-9 . _ : -, not \".\" or \"..\"" },
		{ "\"io\": {\"x\": 1}", "io.x: expected an object" },
		{ "\"io\": {\"x\": {}}", "io.x.type: missing, expected \"socket\", \"listen\", \"file\" or \"console\"" },
		{ "\"io\": {\"x\": {\"type\": \"pipe\"}}",
		  "io.x.type: expected \"socket\" or \"listen\" or \"file\" or \"console\"" },
		{ "\"io\": {\"x\": {\"type\": \"file\", \"path\": \"/a\"}}",
		  "io.x.direction: missing, expected \"in\", \"out\" or \"inout\"" },
		{ "\"io\": {\"x\": {\"type\": \"file\", \"direction\": \"in\"}}", "io.x.path: missing, expected a path" },
		{ "\"io\": {\"x\": {\"type\": \"file\", \"direction\": \"in\", \"path\": \"\"}}",
		  "io.x.path: expected a string of 1 to 4095 bytes without NUL" },
		{ "\"io\": {\"x\": {\"type\": \"console\", \"direction\": \"in\", \"path\": \"/a\"}}",
		  "io.x.path: expected none: the console has no path" },
		{ "\"io\": {\"x\": {\"type\": \"file\", \"direction\": \"in\", \"path\": \"a/b\"}}",
		  "io.x.path: expected an absolute path" },
		{ "\"io\": {\"n123456789012345678901234567890123456789\": {\"type\": \"console\", \"direction\": \"in\"}}",
		  "io.n123456789012345678901234567890123456789: expected a name of at most 39 bytes" },
		{ "\"io\": {\"x\": {\"type\": \"file\", \"direction\": \"up\", \"path\": \"/a\"}}",
		  "io.x.direction: expected \"in\" or \"out\" or \"inout\"" },
		{ "\"io\": {\"x\": {\"type\": \"file\", \"direction\": \"in\", \"path\": \"/a\", \"unit\": 1}}",
		  "io.x.unit: expected \"line\" or \"bytes\"" },
		{ "\"io\": {\"x\": {\"type\": \"file\", \"direction\": \"in\", \"path\": \"/a\", \"mode\": 1}}",
		  "io.x.mode: unknown field" },
		{ "\"services\": [\"x\"], \"io\": {\"x\": {\"type\": \"console\", \"direction\": \"in\"}}",
		  "io.x: expected another name: a service of this name is asked for" },
	};

	(void)state;
	expect_field_errors("{\"bootstrap\": \"a\", \"vats\": {\"a\": {\"program\": \"x\"}}, %s}", cases, ARRAY_LEN(cases));
}

static json_t *with_vats(size_t n_vats, size_t n_files, size_t n_args)
{
	json_t *vats = json_object();

	for (size_t i = 0; i < n_vats; i++) {
		json_t *files = json_object(), *args = json_array();
		char name[80], path[80];

		for (size_t j = 0; j < n_files; j++) {
			snprintf(name, sizeof(name), "f%zu", j);
			snprintf(path, sizeof(path), "v%zu/f%zu", i, j);
			json_object_set_new(files, name, json_string(path));
		}
		for (size_t j = 0; j < n_args; j++)
			json_array_append_new(args, json_string("-"));
		snprintf(name, sizeof(name), "v%zu", i);
		json_object_set_new(vats, name,
				    json_pack("{s:s, s:o, s:o}", "program", "p", "files", files, "args", args));
	}
	return json_pack("{s:s, s:o}", "bootstrap", "v0", "vats", vats);
}

static void expect_ok_json(json_t *json)
{
	char error[CONFIG_ERROR_MAX];
	struct config *c = NULL;

	if (config_parse(json, &c, error))
		fail_msg("%s", error);
	config_free(c);
	json_decref(json);
}

static void test_bounds(void **state)	/* L1 */
{
	(void)state;
	expect_ok_json(with_vats(1000, 0, 0));
	expect_error_json(with_vats(1001, 0, 0), "vats: expected an object of 1 to 1000 vats");
	expect_ok_json(with_vats(1, 32, 64));
	expect_error_json(with_vats(1, 33, 0), "vats.v0.files: expected an object of at most 32 names and paths");
	expect_error_json(with_vats(1, 0, 65), "vats.v0.args: expected an array of at most 64 strings");
	expect_ok_json(with_vats(83, 3, 0));		/* 249 files and one program */
	expect_error_json(with_vats(125, 2, 0), "vats: expected at most 250 different programs and files");
	expect_error_json(with_vats(1000, 32, 0), "vats: expected at most 250 different programs and files");
}

/* A long key is cut in the error, so that what was expected is still there. */
static void test_long_keys(void **state)
{
	char key[1001], text[2000], expected[CONFIG_ERROR_MAX];

	(void)state;
	memset(key, 'k', 1000);
	key[1000] = 0;
	snprintf(text, sizeof(text), "{\"bootstrap\": \"a\", \"vats\": {\"a\": {\"limits\": {\"%s\": 1}}}}", key);
	snprintf(expected, sizeof(expected), "vats.a.limits.%.71s...: unknown field", key);
	expect_error_json(load(text), expected);
}

static void test_paths(void **state)
{
	static const char text[] =
		"{\"bootstrap\": \"a\", \"vats\": {"
		" \"a\": {\"program\": \"one\", \"files\": {\"x\": \"two\", \"y\": \"one\"}},"
		" \"b\": {\"program\": \"sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\","
		"  \"files\": {\"z\": \"three\"}},"
		" \"c\": {\"program\": \"two\"}}}";
	struct config *c = parse(text);
	struct config_paths p;

	(void)state;
	assert_int_equal(config_paths(c, &p), 0);
	assert_int_equal(p.n, 3);
	assert_string_equal(p.paths[0], "one");
	assert_string_equal(p.paths[1], "two");
	assert_string_equal(p.paths[2], "three");
	assert_true(config_paths_index(&p, "two") == 1);
	assert_true(config_paths_index(&p, "four") == SIZE_MAX);
	config_paths_deinit(&p);
	assert_int_equal(p.n, 0);
	config_free(c);
}

static void test_names(void **state)
{
	static const char *const legal[] = { "a", "Z-9_.:", "...", ".a", "a.", "-",
		"0123456789012345678901234567890123456789012345678901234567890123" };
	static const char *const illegal[] = { "", ".", "..", "a/b", "a b", "\xc3\xa9", "a\n",
		"01234567890123456789012345678901234567890123456789012345678901234" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(legal); i++)
		assert_true(config_name_is_legal(legal[i], strlen(legal[i])));
	for (size_t i = 0; i < ARRAY_LEN(illegal); i++)
		assert_false(config_name_is_legal(illegal[i], strlen(illegal[i])));
	assert_false(config_name_is_legal("a\0b", 3));
}

/* --- the kernel's own settings -------------------------------------------------------------------------------------- */

#define CLUSTER(program) "{\"bootstrap\": \"a\", \"vats\": {\"a\": {\"program\": \"" program "\"}}}"

static void test_settings(void **state)	/* S2, S4 */
{
	char error[CONFIG_ERROR_MAX];
	struct settings s;
	json_t *json = load("{\"commit\": {\"ms\": 7}, \"ioPaths\": [\"/srv/io//\", \"/\"],"
			    " \"system\": {\"zoe\": " CLUSTER("./z") ", \"amy\": " CLUSTER("./a") "}}");

	(void)state;
	assert_int_equal(settings_parse(json, &s, error), 0);
	json_decref(json);
	assert_int_equal(s.group_ms, 7);
	assert_int_equal(s.deaths, 3);
	assert_int_equal(s.n_io_paths, 2);
	assert_string_equal(s.io_paths[0], "/srv/io");
	assert_string_equal(s.io_paths[1], "/");
	assert_int_equal(s.n_systems, 2);
	assert_string_equal(s.systems[0].name, "zoe");	/* the file's order: of the descriptors too */
	assert_string_equal(s.systems[0].config->system, "zoe");
	assert_string_equal(s.systems[1].paths.paths[0], "./a");
	assert_int_equal(settings_n_given(&s), 4);
	settings_deinit(&s);
	assert_int_equal(settings_n_given(&s), 0);
}

static void test_settings_mount(void **state)
{
	json_t *json = load("{\"mount\": {\"world\": true, \"hide\": [\"logs\", \"parameters\"], \"snapshotMs\": 1000}}");
	char error[CONFIG_ERROR_MAX], words[MOUNT_HIDE_TEXT];
	struct settings s;
	unsigned hide;

	(void)state;
	settings_init(&s);
	assert_false(s.mount_world || s.mount_hide);
	assert_int_equal(s.snapshot_ms, 60000);
	assert_int_equal(settings_parse(json, &s, error), 0);
	json_decref(json);
	assert_true(s.mount_world);
	assert_int_equal(s.mount_hide, MOUNT_HIDE_PARAMETERS | MOUNT_HIDE_LOGS);
	assert_int_equal(s.snapshot_ms, 1000);
	mount_hide_format(s.mount_hide, words);
	assert_string_equal(words, "parameters,logs");
	settings_deinit(&s);
	for (unsigned all = 0; all < 1u << MOUNT_N_HIDE; all++) {	/* there and back */
		mount_hide_format(all, words);
		assert_true(mount_hide_parse(words, &hide));
		assert_int_equal(hide, all);
	}
	static const char *const bad[] = { ",", "logs,", ",logs", "log", "logss", "logs,,values", "logs values", "Logs" };
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_false(mount_hide_parse(bad[i], &hide));
}

static void test_settings_errors(void **state)	/* L1 */
{
	static const struct { const char *json, *error; } cases[] = {
		{ "[]", "config: expected an object" },
		{ "{\"x\": 1}", "config.x: unknown field" },
		{ "{\"commit\": {\"ms\": 0}}", "config.commit.ms: expected a whole number of milliseconds, 1 to 10000" },
		{ "{\"mount\": true}", "config.mount: expected an object" },
		{ "{\"mount\": {\"mode\": 1}}", "config.mount.mode: unknown field" },
		{ "{\"mount\": {\"world\": 1}}", "config.mount.world: expected true or false" },
		{ "{\"mount\": {\"hide\": \"logs\"}}", "config.mount.hide: expected an array of at most 4 words" },
		{ "{\"mount\": {\"hide\": [\"logs\", \"log\"]}}",
		  "config.mount.hide[1]: expected \"parameters\" or \"baggage\" or \"values\" or \"logs\"" },
		{ "{\"mount\": {\"hide\": [\"logs\", \"values\", \"logs\"]}}", "config.mount.hide[2]: \"logs\" is there twice" },
		{ "{\"mount\": {\"snapshotMs\": 999}}",
		  "config.mount.snapshotMs: expected a whole number of milliseconds, 1000 to 600000" },
		{ "{\"mount\": {\"snapshotMs\": 600001}}",
		  "config.mount.snapshotMs: expected a whole number of milliseconds, 1000 to 600000" },
		{ "{\"mount\": {\"snapshotMs\": \"1 s\"}}",
		  "config.mount.snapshotMs: expected a whole number of milliseconds, 1000 to 600000" },
		{ "{\"ioPaths\": \"/srv\"}", "config.ioPaths: expected an array of at most 100 folders" },
		{ "{\"ioPaths\": [\"/srv\", \"io\"]}", "config.ioPaths[1]: expected an absolute path" },
		{ "{\"ioPaths\": [\"/srv\", 7]}", "config.ioPaths[1]: expected a string" },
		{ "{\"system\": []}", "config.system: expected an object of at most 100 clusters" },
		{ "{\"system\": {\"a b\": {}}}",
		  "config.system.a b: expected a name of 1 to 64 of A-Z a-z 0-9 . _ : -, not \".\" or \"..\"" },
		{ "{\"system\": {\"reg\": 1}}", "config.system.reg: expected an object" },
		{ "{\"system\": {\"reg\": {}}}", "config.system.reg.bootstrap: missing, expected the name of a vat" },
		{ "{\"system\": {\"ok\": " CLUSTER("x") ", \"reg\": {\"bootstrap\": \"b\", \"vats\": {\"a\": {\"program\": \"x\"}}}}}",
		  "config.system.reg.bootstrap: expected the name of one of the vats, \"b\" is none" },
		{ "{\"system\": {\"reg\": {\"bootstrap\": \"a\", \"vats\": {\"a\": {\"program\": \"x\", \"args\": 1}}}}}",
		  "config.system.reg.vats.a.args: expected an array of at most 64 strings" },
		{ "{\"system\": {\"reg\": {\"bootstrap\": \"a\", \"vats\": {\"a\": {\"program\": \"x\"}}, \"services\": [\"x\"],"
		  " \"io\": {\"x\": {\"type\": \"console\", \"direction\": \"in\"}}}}}",
		  "config.system.reg.io.x: expected another name: a service of this name is asked for" },
	};
	char error[CONFIG_ERROR_MAX];
	struct settings s;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		json_t *json = load(cases[i].json);

		assert_int_equal(settings_parse(json, &s, error), CONFIG_E_INVALID);
		assert_string_equal(error, cases[i].error);
		json_decref(json);
	}
}

static void add_vat(json_t *vats, int i)
{
	char name[16];

	snprintf(name, sizeof(name), "v%d", i);
	json_object_set_new(vats, name, json_pack("{so}", "program", json_sprintf("./%d", i)));
}

/* A broker is handed every file: there is an end to what a configuration can name. */
static void test_settings_bound(void **state)
{
	json_t *json = json_object(), *systems = json_object();
	char error[CONFIG_ERROR_MAX];
	struct settings s;

	(void)state;
	json_object_set_new(json, "system", systems);
	for (int i = 0; i < 2; i++) {
		json_t *vats = json_object();

		for (int j = 0; j <= 200; j++)
			add_vat(vats, j);
		json_object_set_new(systems, i ? "one" : "two", json_pack("{ssso}", "bootstrap", "v0", "vats", vats));
	}
	assert_int_equal(settings_parse(json, &s, error), CONFIG_E_INVALID);
	assert_string_equal(error, "config.system: expected at most 400 folders, programs and files in all");
	json_decref(json);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_full), cmocka_unit_test(test_row), cmocka_unit_test(test_bad_rows),
		cmocka_unit_test(test_top_errors), cmocka_unit_test(test_vat_errors),
		cmocka_unit_test(test_service_errors), cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_long_keys), cmocka_unit_test(test_paths), cmocka_unit_test(test_names),
		cmocka_unit_test(test_settings), cmocka_unit_test(test_settings_errors),
		cmocka_unit_test(test_settings_bound), cmocka_unit_test(test_settings_mount),
	};

	return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
