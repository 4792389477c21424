/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line of capstand(8) and the few environment variables beside it. Parsing touches nothing; docs/capstand.8
 * and --help list the same options (tests/unit/test_options.c compares them).
 */
#ifndef CAPSTAN_OPTIONS_H
#define CAPSTAN_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define OPTIONS_STATE		"/var/lib/capstan"
#define OPTIONS_RUN		"/run/capstan"
#define OPTIONS_BROKER_DEATHS	5u	/* within SPAWNER_DEATH_WINDOW_S */

struct options {
	const char *state;		/* all strings are borrowed from argv */
	const char *run;
	const char *config;		/* NULL: none */
	bool foreground;
	bool serial;
	bool direct;			/* the store without its overlay */
	bool no_mount;
	bool insecure_no_seccomp;	/* CAPSTAN_INSECURE_NO_SECCOMP=1, for tests only */
	uint32_t uid_base;		/* first uid block to try */
	unsigned max_broker_deaths;
};

enum options_outcome {
	OPTIONS_DONE = 1,		/* --help or --version was printed: exit 0 */
	OPTIONS_E_USAGE = 2,		/* one line on stderr said why: exit 2 */
};

/* `out` takes --help and --version. Values in *o are valid when 0 is returned. */
int options_parse(struct options *o, int argc, char **argv, FILE *out);

#endif
