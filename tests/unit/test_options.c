/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of capstand: defaults, each option, each mistake, and that --help and the man page agree. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "../../broker/options.h"
#include "../../broker/uidblock.h"
#include "../../lib/util.h"

static int parse(struct options *o, const char *const *words)
{
	char *argv[16] = { (char *)"capstand" };
	int argc = 1;

	for (; *words; words++)
		argv[argc++] = (char *)*words;
	return options_parse(o, argc, argv, stdout);
}
#define PARSE(o, ...) parse((o), (const char *const[]){ __VA_ARGS__ __VA_OPT__(,) NULL })

static int clean_environment(void **state)
{
	(void)state;
	unsetenv("CAPSTAN_UID_BASE");
	unsetenv("CAPSTAN_BROKER_DEATHS");
	unsetenv("CAPSTAN_INSECURE_NO_SECCOMP");
	return 0;
}

static void defaults(void **state)
{
	struct options o;

	(void)state;
	assert_int_equal(PARSE(&o), 0);
	assert_string_equal(o.state, "/var/lib/capstan");
	assert_string_equal(o.run, "/run/capstan");
	assert_null(o.config);
	assert_false(o.foreground || o.serial || o.direct || o.no_mount || o.insecure_no_seccomp);
	assert_int_equal(o.uid_base, 0x70000000);
	assert_int_equal(o.max_broker_deaths, 5);
}

static void every_option(void **state)
{
	struct options o;

	(void)state;
	assert_int_equal(PARSE(&o, "--state", "/s", "--run=/r", "--config", "c", "--foreground", "--serial", "--no-mount",
			       "--direct", "--uid-base", "0x70010000", "--max-broker-deaths=1000"), 0);
	assert_string_equal(o.state, "/s");
	assert_string_equal(o.run, "/r");
	assert_string_equal(o.config, "c");
	assert_true(o.foreground && o.serial && o.no_mount && o.direct);
	assert_int_equal(o.uid_base, 0x70010000);
	assert_int_equal(o.max_broker_deaths, 1000);
	assert_int_equal(PARSE(&o, "--direct", "--overlay"), 0);
	assert_false(o.direct);
}

static void mistakes(void **state)
{
	static const char *const wrong[][3] = {
		{ "--nothing" }, { "--state" }, { "--state", "" }, { "--run", "" }, { "--config", "" }, { "word" },
		{ "--", "word" }, { "-x" }, { "-xy" }, { "--foreground=1" },
		{ "--uid-base", "0" }, { "--uid-base", "0x6fff0000" }, { "--uid-base", "0x70000001" },
		{ "--uid-base", "0x7ffe0000" }, { "--uid-base", "0x170000000" }, { "--uid-base", "-1" },
		{ "--uid-base", "99999999999999999999999" }, { "--uid-base", "0x70000000x" }, { "--uid-base", " 1" },
		{ "--max-broker-deaths", "0" }, { "--max-broker-deaths", "1001" }, { "--max-broker-deaths", "x" },
	};
	struct options o = { .state = "untouched" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
		if (parse(&o, wrong[i]) != OPTIONS_E_USAGE)
			fail_msg("'%s %s' was taken", wrong[i][0], wrong[i][1] ? wrong[i][1] : "");
	assert_string_equal(o.state, "untouched");
}

/* The environment sets what the command line does not. */
static void environment(void **state)
{
	struct options o;

	(void)state;
	setenv("CAPSTAN_UID_BASE", "0x70020000", 1);
	setenv("CAPSTAN_BROKER_DEATHS", "7", 1);
	setenv("CAPSTAN_INSECURE_NO_SECCOMP", "1", 1);
	assert_int_equal(PARSE(&o, "--max-broker-deaths", "8"), 0);
	assert_int_equal(o.uid_base, 0x70020000);
	assert_int_equal(o.max_broker_deaths, 8);
	assert_true(o.insecure_no_seccomp);
	setenv("CAPSTAN_INSECURE_NO_SECCOMP", "0", 1);
	assert_int_equal(PARSE(&o), 0);
	assert_false(o.insecure_no_seccomp);
	setenv("CAPSTAN_UID_BASE", "nonsense", 1);
	assert_int_equal(PARSE(&o), OPTIONS_E_USAGE);
}

static char *read_all(const char *path)
{
	FILE *f = fopen(path, "re");
	char *text = calloc(1, 1 << 16);

	if (!f)
		fail_msg("%s: %s (tests run in the source folder)", path, strerror(errno));
	assert_true(fread(text, 1, (1 << 16) - 1, f) > 0);
	fclose(f);
	return text;
}

/* "--uid-base" as mandoc source spells it: "\-\-uid\-base". */
static void as_roff(const char *option, size_t len, char *out)
{
	for (size_t i = 0; i < len; i++) {
		if (option[i] == '-')
			*out++ = '\\';
		*out++ = option[i];
	}
	*out = '\0';
}

static void help_and_man_page_agree(void **state)
{
	char *help = NULL, *page = read_all("docs/capstand.8"), roff[128], *argv[] = { (char *)"capstand", (char *)"--help", NULL };
	size_t size, n = 0, len;
	struct options o;
	FILE *out = open_memstream(&help, &size);

	(void)state;
	assert_int_equal(options_parse(&o, 2, argv, out), OPTIONS_DONE);
	fclose(out);
	for (const char *p = help; (p = strstr(p, "\n  --")); p += 3, n++) {
		len = strcspn(p + 3, " ");
		as_roff(p + 3, len, roff);
		if (!strstr(page, roff))
			fail_msg("%.*s is not in docs/capstand.8", (int)len, p + 3);
	}
	assert_int_equal(n, 12);
	free(help);
	free(page);
}

static void version(void **state)
{
	char *text = NULL, *argv[] = { (char *)"capstand", (char *)"--version", NULL };
	size_t size;
	struct options o;
	FILE *out = open_memstream(&text, &size);

	(void)state;
	assert_int_equal(options_parse(&o, 2, argv, out), OPTIONS_DONE);
	fclose(out);
	assert_string_equal(text, "capstand " CAPSTAN_VERSION "\n");
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(defaults, clean_environment),
		cmocka_unit_test_setup(every_option, clean_environment),
		cmocka_unit_test_setup(mistakes, clean_environment),
		cmocka_unit_test_setup_teardown(environment, clean_environment, clean_environment),
		cmocka_unit_test(help_and_man_page_agree),
		cmocka_unit_test(version),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
