/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `capstan fsck`: the store of a kernel that is not running, checked from end to end: every row and count
 * (lib/check.h), and the program files that it names. Changes nothing.
 *
 * A file that is damaged below LMDB's own structure can kill whoever reads it (a page that is not there is
 * SIGBUS), so reading happens in a child, and its death is the finding.
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "../lib/check.h"
#include "../lib/reader.h"
#include "output.h"

#define HASH_LEN	32

int fsck_main(const char *state_dir, bool json);	/* called by capstan.c */

struct fsck {
	const char *dir;	/* the store's folder */
	struct reader *reader;
	json_t *problems;	/* --json: all of them; else NULL and printed as they come */
	size_t n_problems;
};

static void on_problem(void *ctx, const char *line)
{
	struct fsck *f = ctx;

	f->n_problems++;
	if (f->problems) {
		json_t *text = json_string(line);

		/* Cut within a character: the number of problems is right all the same. */
		json_array_append_new(f->problems, text ? text : json_string("(unreadable)"));
	} else {
		puts(line);	/* the checker has escaped what came from vats */
	}
}

static int source_get(void *ctx, enum table t, const void *key, size_t key_len, const void **valp, size_t *lenp)
{
	return reader_get(ctx, t, key, key_len, valp, lenp);
}

static int source_next(void *ctx, enum table t, const void *key, size_t key_len, bool or_equal,
		       const void **keyp, size_t *key_lenp, const void **valp, size_t *lenp)
{
	return reader_next(ctx, t, key, key_len, or_equal, keyp, key_lenp, valp, lenp);
}

/* --- program files --------------------------------------------------------------------------------------------- */

static void check_code(struct fsck *f, int dir_fd, const uint8_t *hash, const struct row_code *row)
{
	char hex[2 * HASH_LEN + 1], line[200];
	struct stat st;

	for (size_t i = 0; i < HASH_LEN; i++)
		snprintf(hex + 2 * i, 3, "%02x", hash[i]);
	if (dir_fd < 0 || fstatat(dir_fd, hex, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
		snprintf(line, sizeof line, "code %s: there is no such file in code/", hex);
	else if ((uint64_t)st.st_size != row->size)
		snprintf(line, sizeof line, "code %s: the file has %llu bytes, stored are %llu", hex,
			 (unsigned long long)st.st_size, (unsigned long long)row->size);
	else
		return;
	on_problem(f, line);
}

static int check_codes(struct fsck *f)
{
	char path[4096];
	_cleanup_close_ int dir_fd = -1;
	uint8_t at[HASH_LEN];
	const void *key, *val;
	size_t key_len, len;
	struct row_code row;
	const char *name;
	bool started = false;
	int r;

	if ((size_t)snprintf(path, sizeof path, "%s/code", f->dir) < sizeof path)
		dir_fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	for (;;) {
		r = reader_next(f->reader, T_CODE, at, started ? sizeof at : 0, !started, &key, &key_len, &val, &len);
		if (r)
			return r < 0 ? error_trace(r) : 0;
		if (key_len != sizeof at || !row_code_read(val, len, &row, &name, &len))
			return 0;	/* reported as a row */
		memcpy(at, key, sizeof at);
		started = true;
		check_code(f, dir_fd, at, &row);
	}
}

/* --- the child ------------------------------------------------------------------------------------------------- */

static const struct { const char *name, *json; enum table table; } totals[] = {
	{ "objects", "objects", T_OBJECT }, { "promises", "promises", T_PROMISE }, { "queue items", "queueItems", T_QUEUE },
	{ "vats", "vats", T_VAT }, { "clist entries", "clistEntries", T_CLIST }, { "vatstore rows", "vatstoreRows", T_VATSTORE },
};

static int print_json(struct fsck *f)
{
	_cleanup_free_ char *text = NULL;
	json_t *out = json_pack("{s:b}", "clean", f->n_problems == 0);
	uint64_t n;
	int r = 0;

	for (size_t i = 0; !r && i < ARRAY_LEN(totals); i++) {
		r = reader_count(f->reader, totals[i].table, &n);
		if (!r)
			json_object_set_new(out, totals[i].json, json_integer((json_int_t)n));
	}
	json_object_set(out, "problems", f->problems);
	if (!r)
		text = json_dumps(out, JSON_COMPACT);
	json_decref(out);
	if (r < 0)
		return error_trace(r);
	if (!text)
		return error_origin(ENOMEM);
	puts(text);
	return 0;
}

static int print_text(struct fsck *f)
{
	uint64_t n;
	int r;

	if (f->n_problems) {
		printf("%zu problem%s\n", f->n_problems, f->n_problems == 1 ? "" : "s");
		return 0;
	}
	printf("clean:");
	for (size_t i = 0; i < ARRAY_LEN(totals); i++) {
		r = reader_count(f->reader, totals[i].table, &n);
		if (r < 0)
			return error_trace(r);
		printf("%s %llu %s", i ? "," : "", (unsigned long long)n, totals[i].name);
	}
	putchar('\n');
	return 0;
}

static int check_all(struct fsck *f)
{
	struct check_source src = { .ctx = f->reader, .get = source_get, .next = source_next };
	size_t n;
	int r;

	r = reader_begin(f->reader);
	if (r < 0)
		return error_trace(r);
	r = check_store(&src, on_problem, f, &n);
	if (!r)
		r = check_codes(f);
	if (!r)
		r = f->problems ? print_json(f) : print_text(f);
	reader_end(f->reader);
	return r < 0 ? error_trace(r) : 0;
}

static int refuse(int outcome, const char *state_dir)
{
	switch (outcome) {
	case READER_E_BUSY:
		return output_error(OUTPUT_REFUSED, "STORE_BUSY", "a kernel is running on %s; stop it first",
				    state_dir);
	case READER_E_SCHEMA:
		return output_error(OUTPUT_REFUSED, "STORE_SCHEMA",
				    "the store in %s was written by another version", state_dir);
	case READER_E_CORRUPT:
		return output_error(OUTPUT_REFUSED, "STORE_CORRUPT",
				    "%s/store holds no store of a kernel, or one that never got to its first commit",
				    state_dir);
	case READER_E_ABSENT:
		return output_error(OUTPUT_REFUSED, "STORE_ABSENT", "there is no store in %s", state_dir);
	case READER_E_ACCESS:
		return output_error(OUTPUT_REFUSED, "STORE_ACCESS", "the store in %s: %s", state_dir,
				    strerror(errno));
	default:
		return output_error(OUTPUT_REFUSED, "STORE_ERROR", "the store in %s: %s", state_dir,
				    strerror(-outcome));
	}
}

static int child(const char *state_dir, const char *dir, bool json)
{
	struct fsck f = { .dir = dir, .problems = json ? json_array() : NULL };
	int r;

	r = reader_open_dir(&f.reader, dir);
	if (r)
		return refuse(r, state_dir);
	r = check_all(&f);
	reader_free(f.reader);
	json_decref(f.problems);
	if (r < 0)
		return refuse(r, state_dir);
	return f.n_problems ? OUTPUT_REFUSED : OUTPUT_OK;
}

int fsck_main(const char *state_dir, bool json)
{
	char dir[4096];
	int status, r;
	pid_t pid;

	if ((size_t)snprintf(dir, sizeof dir, "%s/store", state_dir) >= sizeof dir)
		return output_error(OUTPUT_USAGE, "USAGE", "the path of the state folder is too long");
	fflush(NULL);
	pid = fork();
	if (pid < 0)
		return refuse(-errno, state_dir);
	if (!pid) {
		r = child(state_dir, dir, json);
		fflush(NULL);
		_exit(r);
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return refuse(-errno, state_dir);
	if (WIFEXITED(status))
		return WEXITSTATUS(status);
	if (WTERMSIG(status) == SIGPIPE)
		return OUTPUT_REFUSED;	/* whoever read our lines has seen enough */
	return output_error(OUTPUT_REFUSED, "STORE_DAMAGED", "the store in %s cannot be read to its end (%s)",
			    state_dir,
			    strsignal(WTERMSIG(status)));
}
