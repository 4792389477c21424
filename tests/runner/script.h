/* SPDX-License-Identifier: Apache-2.0 */
/* A scenario file as data: what its head says, and its steps. What the steps mean is in steps.c. */
#ifndef CAPSTAN_TEST_SCRIPT_H
#define CAPSTAN_TEST_SCRIPT_H

#include <stdbool.h>
#include <stddef.h>

struct script_step {
	unsigned line;
	char *text;		/* without indentation, one line; macros are not expanded */
	char *table;		/* the `|` lines below it, each with its line feed; NULL: none */
	unsigned table_line;	/* where they begin; without any, where they would */
	unsigned table_lines;
};

struct script {
	char *path;
	char *title;		/* the first comment */
	char *rules;		/* all `# rules:`, separated by spaces */
	bool serial, parallel;	/* the modes that it runs in */
	int store;		/* 0: either, 'o', 'd' */
	char *config;		/* of the broker: JSON text; NULL: none */
	char *leaves;		/* tables that are allowed to differ at the end, and why; NULL: none */
	struct script_step *steps;
	size_t n_steps;
};

/* False: `error` says what and where. */
bool script_load(struct script *s, const char *path, char *error, size_t size);
void script_free(struct script *s);
/* Writes the file anew with `tables[i]` for the table of step i, where it is not NULL. */
bool script_rewrite(const struct script *s, char *const *tables);

/* `{x*70000}`, `{o+1..o+300}`: malloc'd text with both carried out. */
char *script_expand(const char *text);

#endif
