/* SPDX-License-Identifier: Apache-2.0 */
/* One run of one file: a folder, a broker, the steps, the end. */
#include <fcntl.h>
#include <ftw.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "play.h"

/* --- saying ----------------------------------------------------------------------------------------------------------- */

void runner_trace(struct runner *r, const char *fmt, ...)
{
	va_list ap;

	if (!r->o->trace)
		return;
	va_start(ap, fmt);
	vfprintf(r->o->trace, fmt, ap);
	va_end(ap);
	fputc('\n', r->o->trace);
	fflush(r->o->trace);
}

/* The broker's last words. */
static void report_log(struct runner *r, FILE *f)
{
	char text[8193];
	int fd = open(r->log, O_RDONLY | O_CLOEXEC);
	off_t end = fd < 0 ? 0 : lseek(fd, 0, SEEK_END), from = end > 8192 ? end - 8192 : 0;
	ssize_t n = fd < 0 ? 0 : pread(fd, text, sizeof(text) - 1, from);

	if (n > 0) {
		text[n] = '\0';
		fprintf(f, "  the broker's log:\n%s%s", text, text[n - 1] == '\n' ? "" : "\n");
	}
	if (fd >= 0)
		close(fd);
}

void runner_fail(struct runner *r, const char *fmt, ...)
{
	size_t len;
	va_list ap;
	FILE *f;

	free(r->failure);
	f = open_memstream(&r->failure, &len);
	if (r->step)
		fprintf(f, "%s:%u: %.300s\n       ", r->script.path, r->step->line, r->step->text);
	else
		fprintf(f, "%s: ", r->script.path);
	va_start(ap, fmt);
	vfprintf(f, fmt, ap);
	va_end(ap);
	fputs("\n", f);
	actors_report(r, f);
	report_log(r, f);
	fclose(f);
	longjmp(r->failed, 1);
}

const char *runner_store_dir(const struct runner *r) { return r->store; }
const char *runner_first_dump(const struct runner *r) { return r->first_dump; }

bool runner_is_patient(const struct runner *r, uint64_t begin_ns)
{
	const struct runner_hooks *h = &r->o->hooks;

	return now_monotonic_ns() - begin_ns <= (h->patience_ms ? h->patience_ms(h->ctx) : PATIENCE_MS) * UINT64_C(1000000);
}

/* --- the folder ------------------------------------------------------------------------------------------------------- */

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st; (void)type; (void)ftw;
	return remove(path);
}

static const char *pick_tmp(const struct runner_options *o)
{
	const char *tmp = getenv("TMPDIR");

	if (o->tmp)
		return o->tmp;
	if (access("/dev/shm", W_OK) == 0)	/* what is tested here does not depend on a disk */
		return "/dev/shm";
	return tmp ? tmp : "/tmp";
}

static void listen_for_callers(struct runner *r)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", r->socket);
	r->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	runner_must(r, bind(r->listen_fd, (struct sockaddr *)&addr, sizeof(addr)));
	runner_must(r, listen(r->listen_fd, 100));
}

static int memory_file(struct runner *r, const char *text, size_t len)
{
	int fd = memfd_create("scenario", MFD_CLOEXEC);

	runner_must(r, fd);
	if (write(fd, text, len) != (ssize_t)len)
		runner_fail(r, "a file in memory cannot be written");
	return fd;
}

static int program_file(struct runner *r)
{
	static const char name[] = "program";
	char path[300];
	int fd;

	/* The code store takes regular files; it never runs. */
	snprintf(path, sizeof(path), "%s/%s", r->dir, name);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	runner_must(r, fd);
	if (write(fd, "#!/bin/false\n", 13) != 13)
		runner_fail(r, "%s cannot be written", path);
	return fd;
}

static void make_folder(struct runner *r)
{
	snprintf(r->dir, sizeof(r->dir), "%s/capstan-scenario-XXXXXX", pick_tmp(r->o));
	if (!mkdtemp(r->dir))
		runner_fail(r, "%s: %s", r->dir, strerror(errno));
}

/* The folder may be one that a run has left. */
static void prepare(struct runner *r)
{
	snprintf(r->store, sizeof(r->store), "%.200s/store", r->dir);
	snprintf(r->run, sizeof(r->run), "%.200s/run", r->dir);
	snprintf(r->log, sizeof(r->log), "%.200s/log", r->dir);
	snprintf(r->socket, sizeof(r->socket), "%.200s/socket", r->dir);
	if (mkdir(r->store, 0700) < 0 && errno != EEXIST)
		runner_must(r, -1);
	if (mkdir(r->run, 0700) < 0 && errno != EEXIST)
		runner_must(r, -1);
	unlink(r->socket);
	r->store_fd = open(r->store, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	runner_must(r, r->store_fd);
	listen_for_callers(r);
	r->program_fd = program_file(r);
	if (r->script.config)
		r->config_fd = memory_file(r, r->script.config, strlen(r->script.config));
	r->direct = r->script.store ? r->script.store == 'd' : r->o->direct;
	r->vat_configs = json_object();
	r->blessed = calloc(r->script.n_steps + 1, sizeof(*r->blessed));
}

static void tidy(struct runner *r)
{
	int *fds[] = { &r->store_fd, &r->listen_fd, &r->config_fd, &r->program_fd };
	size_t i;

	backend_drop(r);
	actors_free(r);
	for (i = 0; i < ARRAY_LEN(fds); i++)
		if (*fds[i] >= 0)
			close(*fds[i]);
	if (r->dir[0] && !r->o->keep)
		nftw(r->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
	for (i = 0; r->blessed && i < r->script.n_steps; i++)
		free(r->blessed[i]);
	free(r->blessed);
	free(r->first_dump);
	json_decref(r->vat_configs);
	script_free(&r->script);
}

/* --- the run ---------------------------------------------------------------------------------------------------------- */

static void run_all(struct runner *r)
{
	make_folder(r);
	prepare(r);
	backend_start(r);
	backend_quiet(r);
	tables_note_start(r);
	steps_run(r);
	ending_check(r);
	if (r->o->bless && !script_rewrite(&r->script, r->blessed))
		runner_fail(r, "the file cannot be written");
}

bool runner_may_go_astray(const struct runner *r)
{
	const struct runner_hooks *h = &r->o->hooks;

	return r->first_dump && !r->closed && h->may_go_astray && h->may_go_astray(h->ctx);
}

/* The scenario is not what it was to be; the end is. */
static enum runner_outcome end_astray(struct runner *r)
{
	struct actor *a;

	runner_trace(r, "      astray: %s", r->failure);
	if (setjmp(r->failed))
		return RUNNER_FAILED;
	r->step = NULL;
	r->drop_rest = true;
	for (a = r->actors; a; a = a->next)
		a->deaf = false;
	backend_end_stop(r);
	links_close(r);
	ending_check(r);
	return RUNNER_ASTRAY;
}

static enum runner_outcome run_loaded(struct runner *r)
{
	if (!(r->o->serial ? r->script.serial : r->script.parallel))
		return RUNNER_SKIPPED;
	if (!setjmp(r->failed)) {
		run_all(r);
		return RUNNER_PASSED;
	}
	if (r->stopped)
		return RUNNER_STOPPED;
	return runner_may_go_astray(r) ? end_astray(r) : RUNNER_FAILED;
}

/* What `dir` is taken over from has had its steps. */
static enum runner_outcome end_loaded(struct runner *r, const char *dir, const char *first_dump)
{
	if (setjmp(r->failed))
		return RUNNER_FAILED;
	snprintf(r->dir, sizeof(r->dir), "%s", dir);
	prepare(r);
	r->drop_rest = true;
	r->first_dump = strdup(first_dump);
	ending_check(r);
	return RUNNER_PASSED;
}

/* dir NULL: from the beginning. */
static enum runner_outcome run(const char *path, const struct runner_options *o, const char *dir, const char *first_dump,
			       char **reportp)
{
	struct runner *r = calloc(1, sizeof(*r));
	enum runner_outcome outcome = RUNNER_FAILED;
	char error[500], *report = NULL;
	size_t len;
	FILE *f;

	*r = (struct runner){ .o = o, .spawner = -1, .kernel_spawner = -1, .store_fd = -1, .listen_fd = -1, .config_fd = -1,
			      .program_fd = -1 };
	f = open_memstream(&report, &len);
	if (script_load(&r->script, path, error, sizeof(error)))
		outcome = dir ? end_loaded(r, dir, first_dump) : run_loaded(r);
	else
		fprintf(f, "%s\n", error);
	if (outcome != RUNNER_ASTRAY)
		fprintf(f, "%s", r->failure ? r->failure : "");
	if (o->keep && r->dir[0])
		fprintf(f, "  kept: %s\n", r->dir);
	tidy(r);
	fclose(f);
	free(r->failure);
	free(r);
	*reportp = report;
	return outcome;
}

enum runner_outcome runner_run(const char *path, const struct runner_options *o, char **reportp)
{
	return run(path, o, NULL, NULL, reportp);
}

enum runner_outcome runner_aftermath(const char *path, const struct runner_options *o, const char *dir, const char *first_dump,
				     char **reportp)
{
	return run(path, o, dir, first_dump, reportp);
}
