/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of capstand: see options.h. */
#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/util.h"
#include "uidblock.h"

enum { OPT_STATE = 256, OPT_RUN, OPT_CONFIG, OPT_FOREGROUND, OPT_SERIAL, OPT_DIRECT, OPT_OVERLAY, OPT_NO_MOUNT,
       OPT_UID_BASE, OPT_DEATHS, OPT_HELP, OPT_VERSION };

static const struct option long_options[] = {
	{ "state", required_argument, NULL, OPT_STATE },
	{ "run", required_argument, NULL, OPT_RUN },
	{ "config", required_argument, NULL, OPT_CONFIG },
	{ "foreground", no_argument, NULL, OPT_FOREGROUND },
	{ "serial", no_argument, NULL, OPT_SERIAL },
	{ "direct", no_argument, NULL, OPT_DIRECT },
	{ "overlay", no_argument, NULL, OPT_OVERLAY },
	{ "no-mount", no_argument, NULL, OPT_NO_MOUNT },
	{ "uid-base", required_argument, NULL, OPT_UID_BASE },
	{ "max-broker-deaths", required_argument, NULL, OPT_DEATHS },
	{ "help", no_argument, NULL, OPT_HELP },
	{ "version", no_argument, NULL, OPT_VERSION },
	{ NULL, 0, NULL, 0 },
};

static const char help_text[] =
	"usage: capstand [--state DIR] [--run DIR] [--foreground] [--serial] [--no-mount] [--config FILE]\n"
	"\n"
	"The Capstan kernel. Options:\n"
	"  --state DIR             what must outlive a restart (default " OPTIONS_STATE ")\n"
	"  --run DIR               control socket, pid file and mount (default " OPTIONS_RUN ")\n"
	"  --foreground            stay in the foreground, log to standard error\n"
	"  --serial                one delivery at a time in the whole kernel\n"
	"  --no-mount              do not mount RUN/fs\n"
	"  --config FILE           the kernel's own configuration\n"
	"  --overlay               uncommitted changes in memory (the default)\n"
	"  --direct                uncommitted changes in LMDB transactions\n"
	"  --uid-base N            first uid block to try when none is recorded (default 0x70000000)\n"
	"  --max-broker-deaths N   give up after N deaths of the broker in 60 s (default 5)\n"
	"  --help                  this text\n"
	"  --version               the version\n";

/* A whole number between min and max, decimal or 0x… */
static bool parse_number(const char *text, uint64_t min, uint64_t max, uint64_t *np)
{
	char *end;
	uint64_t n;

	if (text[0] < '0' || text[0] > '9')
		return false;
	errno = 0;
	n = strtoull(text, &end, 0);
	if (errno || *end || n < min || n > max)
		return false;
	*np = n;
	return true;
}

static int set_uid_base(struct options *o, const char *text, const char *where)
{
	uint64_t n;

	if (!parse_number(text, UIDBLOCK_FIRST, UIDBLOCK_END - UIDBLOCK_SIZE, &n) || n % UIDBLOCK_SIZE) {
		log_err("%s: '%s' is not a multiple of 0x10000 from 0x%x to 0x%x", where, text, UIDBLOCK_FIRST,
			UIDBLOCK_END - UIDBLOCK_SIZE);
		return OPTIONS_E_USAGE;
	}
	o->uid_base = n;
	return 0;
}

static int set_deaths(struct options *o, const char *text, const char *where)
{
	uint64_t n;

	if (!parse_number(text, 1, 1000, &n)) {
		log_err("%s: '%s' is not a number from 1 to 1000", where, text);
		return OPTIONS_E_USAGE;
	}
	o->max_broker_deaths = n;
	return 0;
}

static int set_path(const char **pathp, const char *value, const char *where)
{
	if (!*value) {
		log_err("%s: an empty path", where);
		return OPTIONS_E_USAGE;
	}
	*pathp = value;
	return 0;
}

static int from_environment(struct options *o)
{
	const char *base = getenv("CAPSTAN_UID_BASE"), *deaths = getenv("CAPSTAN_BROKER_DEATHS");
	const char *insecure = getenv("CAPSTAN_INSECURE_NO_SECCOMP");
	int r = 0;

	if (base && *base)
		r = set_uid_base(o, base, "CAPSTAN_UID_BASE");
	if (!r && deaths && *deaths)
		r = set_deaths(o, deaths, "CAPSTAN_BROKER_DEATHS");
	o->insecure_no_seccomp = insecure && !strcmp(insecure, "1");
	return r;
}

static int apply(struct options *o, int opt, FILE *out)
{
	switch (opt) {
	case OPT_STATE:		return set_path(&o->state, optarg, "--state");
	case OPT_RUN:		return set_path(&o->run, optarg, "--run");
	case OPT_CONFIG:	return set_path(&o->config, optarg, "--config");
	case OPT_FOREGROUND:	o->foreground = true; return 0;
	case OPT_SERIAL:	o->serial = true; return 0;
	case OPT_DIRECT:	o->direct = true; return 0;
	case OPT_OVERLAY:	o->direct = false; return 0;
	case OPT_NO_MOUNT:	o->no_mount = true; return 0;
	case OPT_UID_BASE:	return set_uid_base(o, optarg, "--uid-base");
	case OPT_DEATHS:	return set_deaths(o, optarg, "--max-broker-deaths");
	case OPT_HELP:		fputs(help_text, out); return OPTIONS_DONE;
	case OPT_VERSION:	fprintf(out, "capstand %s\n", CAPSTAN_VERSION); return OPTIONS_DONE;
	}
	return OPTIONS_E_USAGE;
}

static int bad_option(int why, const char *word)
{
	const char letter[] = { '-', optopt > 0 && optopt < 128 ? (char)optopt : '\0', '\0' };

	/* Of an unknown letter getopt tells which; it may stand in the middle of its word. */
	if (letter[1])
		word = letter;
	log_err("%s %s; see capstand --help", word, why == ':' ? "needs a value" : "is not an option");
	return OPTIONS_E_USAGE;
}

int options_parse(struct options *o, int argc, char **argv, FILE *out)
{
	struct options p = {
		.state = OPTIONS_STATE, .run = OPTIONS_RUN,
		.uid_base = UIDBLOCK_FIRST, .max_broker_deaths = OPTIONS_BROKER_DEATHS,
	};
	int r, opt;

	r = from_environment(&p);
	if (r)
		return r;
	optind = 0;	/* 0 and not 1: glibc then forgets an earlier parse, as the unit test needs */
	opterr = 0;
	while ((opt = getopt_long(argc, argv, ":", long_options, NULL)) != -1) {
		if (opt == '?' || opt == ':') {
			return bad_option(opt, argv[optind - 1]);
		}
		r = apply(&p, opt, out);
		if (r)
			return r;
	}
	if (optind < argc) {
		log_err("unexpected argument '%s'; see capstand --help", argv[optind]);
		return OPTIONS_E_USAGE;
	}
	*o = p;
	return 0;
}
