/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scenario [OPTION…] FILE|FOLDER…: run scenario files (tests/scenarios/README.md). TAP, one line for each file and mode.
 *
 *	-j N		so many at a time (default: as many as there are processors)
 *	-m MODE		serial or parallel only
 *	-t FOLDER	stores are made here (default: /dev/shm, else $TMPDIR)
 *	-d		the direct store instead of the overlay
 *	-i		the broker in the process of the scenario
 *	-g		the same, and in this process, for a debugger: one file and mode
 *	-v		every step and frame
 *	-k		keep the store
 *	-B		bless: write the tables of the file as they are; read them afterwards
 *	-c PROGRAM	capstand, if not bin/capstand of the build folder
 */
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <sys/wait.h>

#include "../../lib/util.h"
#include "runner.h"
#include "script.h"

#define SECONDS_MAX	120	/* for one file in one mode */

struct job { char *path; bool serial; pid_t pid; int out, err; bool done; int status; char *report; size_t len; };

static struct job *jobs;
static size_t n_jobs;
static const char *only_mode;

static void add_job(const char *path, bool serial)
{
	if (only_mode && !strcmp(only_mode, "serial") != serial)
		return;
	jobs = realloc(jobs, (n_jobs + 1) * sizeof(*jobs));
	jobs[n_jobs++] = (struct job){ .path = strdup(path), .serial = serial, .out = -1 };
}

static void add_file(const char *path)
{
	struct script s;
	char error[500];

	/* One that cannot be read is run all the same, to say so. */
	if (!script_load(&s, path, error, sizeof(error)))
		s.serial = false, s.parallel = true;
	if (s.serial)
		add_job(path, true);
	if (s.parallel)
		add_job(path, false);
	script_free(&s);
}

static int on_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	const char *dot = strrchr(path, '.');

	(void)st; (void)ftw;
	if (type == FTW_F && dot && !strcmp(dot, ".txt"))
		add_file(path);
	return 0;
}

static int by_path(const void *a, const void *b)
{
	const struct job *x = a, *y = b;
	int r = strcmp(x->path, y->path);

	return r ? r : x->serial - y->serial;
}

/* tests/scenarios/promises/forwarding.txt: promises/forwarding */
static const char *job_name(const struct job *j, char *buf, size_t size)
{
	const char *p = strstr(j->path, "scenarios/");
	size_t n;

	p = p ? p + 10 : j->path;
	n = strlen(p) > 4 ? strlen(p) - 4 : strlen(p);
	snprintf(buf, size, "%.*s (%s)", (int)n, p, j->serial ? "serial" : "parallel");
	return buf;
}

static int run_job(const struct job *j, struct runner_options o, FILE *out)
{
	enum runner_outcome outcome;
	char *report;

	o.serial = j->serial;
	if (o.trace)
		o.trace = out;
	outcome = runner_run(j->path, &o, &report);
	fputs(report, out);
	free(report);
	fflush(out);
	return outcome == RUNNER_PASSED ? 0 : 1;
}

static void start_job(struct job *j, const struct runner_options *o)
{
	int pair[2];

	if (pipe2(pair, O_CLOEXEC) < 0)
		abort();
	j->err = memfd_create("err", MFD_CLOEXEC);
	j->pid = fork();
	if (j->pid == 0) {
		dup2(j->err, 2);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		alarm(SECONDS_MAX);
		_exit(run_job(j, *o, fdopen(pair[1], "w")));
	}
	close(pair[1]);
	j->out = pair[0];
}

/* What it has to say, as it comes; at the end it is reaped. */
static void read_job(struct job *j)
{
	char buf[65536];
	ssize_t n = read(j->out, buf, sizeof(buf));

	if (n > 0) {
		j->report = realloc(j->report, j->len + n + 1);
		memcpy(j->report + j->len, buf, n);
		j->len += n;
		j->report[j->len] = '\0';
		return;
	}
	close(j->out);
	waitpid(j->pid, &j->status, 0);
	j->out = -1;
	j->done = true;
}

/* The last of what it wrote to standard error: the log of a broker in it, a sanitiser's report. */
static void show_errors(const struct job *j)
{
	off_t end = lseek(j->err, 0, SEEK_END), at = end > 6000 ? end - 6000 : 0;
	char buf[6001], *p = buf, *next;
	ssize_t n = pread(j->err, buf, sizeof(buf) - 1, at);

	buf[n > 0 ? n : 0] = '\0';
	for (; (next = strchr(p, '\n')); p = next + 1)
		printf("#   | %.*s\n", (int)(next - p), p);
}

static bool show_job(const struct job *j, size_t number)
{
	bool good = WIFEXITED(j->status) && WEXITSTATUS(j->status) == 0;
	char name[300], *p = j->report, *end;

	printf("%sok %zu - %s\n", good ? "" : "not ", number, job_name(j, name, sizeof(name)));
	if (WIFSIGNALED(j->status))
		printf("# ended by signal %d\n", WTERMSIG(j->status));
	for (; p && *p; p = end + 1) {
		end = strchr(p, '\n');
		if (!end)
			break;
		printf("# %.*s\n", (int)(end - p), p);
	}
	if (!good)
		show_errors(j);
	close(j->err);
	fflush(stdout);
	return good;
}

static bool run_jobs(const struct runner_options *o, size_t at_once)
{
	size_t next = 0, shown = 0, running = 0, i;
	struct pollfd *p = calloc(n_jobs + 1, sizeof(*p));
	bool good = true;

	while (shown < n_jobs) {
		while (next < n_jobs && running < at_once) {
			start_job(&jobs[next++], o);
			running++;
		}
		for (i = 0; i < next; i++)
			p[i] = (struct pollfd){ .fd = jobs[i].out, .events = POLLIN };
		poll(p, next, -1);
		for (i = 0; i < next; i++) {
			if (!p[i].revents || jobs[i].done)
				continue;
			read_job(&jobs[i]);
			running -= jobs[i].done;
		}
		for (; shown < n_jobs && jobs[shown].done; shown++)
			good &= show_job(&jobs[shown], shown + 1);
	}
	free(p);
	return good;
}

/* build/tests/scenario: build/bin/capstand */
static const char *find_capstand(void)
{
	static char path[4096];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 40);
	char *slash;

	path[n > 0 ? n : 0] = '\0';
	slash = strrchr(path, '/');
	if (slash)
		*slash = '\0';
	slash = strrchr(path, '/');
	if (slash)
		strcpy(slash, "/bin/capstand");
	return path;
}

int main(int argc, char **argv)
{
	struct runner_options o = { .capstand = NULL };
	size_t at_once = get_nprocs();
	bool here = false;
	int opt, i;

	while ((opt = getopt(argc, argv, "j:m:t:digvkBc:")) >= 0) {
		switch (opt) {
		case 'j': at_once = atoi(optarg); break;
		case 'm': only_mode = optarg; break;
		case 't': o.tmp = optarg; break;
		case 'd': o.direct = true; break;
		case 'g': here = true; /* fall through */
		case 'i': o.backend = RUNNER_IN_PROCESS; break;
		case 'v': o.trace = stdout; break;
		case 'k': o.keep = true; break;
		case 'B': o.bless = true; break;
		case 'c': o.capstand = optarg; break;
		default: return 2;
		}
	}
	if (o.bless && !only_mode)
		only_mode = "parallel";
	if (!o.capstand)
		o.capstand = find_capstand();
	signal(SIGPIPE, SIG_IGN);
	for (i = optind; i < argc; i++)
		if (nftw(argv[i], on_entry, 16, FTW_PHYS))
			perror(argv[i]);
	if (n_jobs)
		qsort(jobs, n_jobs, sizeof(*jobs), by_path);
	if (here && n_jobs)
		return run_job(&jobs[0], o, stdout);
	printf("1..%zu\n", n_jobs);
	fflush(stdout);
	return run_jobs(&o, at_once ? at_once : 1) ? 0 : 1;
}
