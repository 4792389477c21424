/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fault [OPTION…] SCENARIO…: the fault sweep. TAP, a line for each scenario.
 *
 *	-s N		every N-th point only (default: every one)
 *	-o N		begin with the N-th (default: 1)
 *	-j N		so many runs at a time (default: as many as there are processors)
 *	-f FAULT	this class only; -n N: this point only, told in full
 *	-d		the direct store
 *	-t FOLDER	stores are made here (default: /dev/shm)
 *	-T		at the end the table of docs/FAULTS.md
 *
 * Each scenario is played in this program (tests/runner) once without a fault, with a commit after every round of the broker, and what it
 * committed and what left the machine is noted in order. Then once more for each point of each class (points.h), where one call
 * fails. Either that ends the broker (a negative number, as when the machine fails it): then what it had done until then must
 * be the beginning of what the run without a fault did, the store on disk must be what was committed last, and a new broker must
 * go on from there to a good end: recount, everything let go of, and nothing left over. Or the broker goes on: then every
 * commit is recounted, and whether or not the scenario still holds (somebody may have died of it), the end must be good.
 *
 * A run is a process with a store of its own; this one judges.
 */
#include <dirent.h>
#include <execinfo.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <sys/wait.h>

#include "../../broker/broker.h"
#include "../../lib/reader.h"
#include "../runner/runner.h"
#include "points.h"

#define RUN_SECONDS	20
#define REPORT_SIZE	60000
#define DUMP_SIZE	60000
#define BROKER_ENDED	77	/* exit status of a run */

enum verdict { HELD_ENDED, HELD_ON, HELD_ASTRAY, HELD_UNREACHED, BROKEN, VERDICT_N };

/* What the run without a fault found, and the others are judged by. */
struct reference { struct record record; char first_dump[DUMP_SIZE]; };
/* A run under way. */
struct slot {
	pid_t pid;		/* 0: free */
	enum fault fault;
	uint64_t at;
	char dir[200];
	struct shared {
		struct record record;
		enum verdict verdict;
		char report[REPORT_SIZE];
	} *sh;
};
struct tally { uint64_t n[FAULT_N][VERDICT_N]; };

static struct {
	uint64_t step, first, only_at;
	int only_fault;
	size_t n_slots;
	bool direct, table;
	const char *tmp;
} o = { .step = 1, .first = 1, .only_fault = -1 };
static struct reference *ref;
static struct slot *slots;
static char work[200];

/* --- in the run's process ----------------------------------------------------------------------------------------------- */

static bool steps_began;
static FILE *trace;

static void broker_ended(void)
{
	fflush(NULL);
	_exit(BROKER_ENDED);
}

/* The first boot counts too. */
int __real_broker_open(struct kernel *k, const struct broker_fds *fds, const struct broker_options *bo);
int __wrap_broker_open(struct kernel *k, const struct broker_fds *fds, const struct broker_options *bo);
int __wrap_broker_open(struct kernel *k, const struct broker_fds *fds, const struct broker_options *bo)
{
	int r;

	points_armed = points;
	r = __real_broker_open(k, fds, bo);
	points_armed = false;
	if (r && points && points->fired)
		broker_ended();
	return r;
}

void __real_steps_run(struct runner *r);
void __wrap_steps_run(struct runner *r);
void __wrap_steps_run(struct runner *r)
{
	steps_began = true;
	__real_steps_run(r);
}

/* uthash ends the process when it has no memory. */
void __real_exit(int status) __attribute__((noreturn));
void __wrap_exit(int status) __attribute__((noreturn));
void __wrap_exit(int status)
{
	if (points_armed && points->fired)
		broker_ended();
	__real_exit(status);
}

static void before_round(void *ctx, struct kernel *k)
{
	(void)ctx;
	k->settings.group_cranks = 1;
	k->settings.group_ms = 0;
	points_tick();
	points_kernel = k;
	points_armed = steps_began && points;
}

static void after_round(void *ctx, struct kernel *k, int result, bool committed)
{
	(void)ctx; (void)k; (void)committed;
	points_armed = false;
	points_kernel = NULL;
	if (result < 0 && points && points->fired)
		broker_ended();
}

/* With the fault behind it a step that waits for what does not come need not wait for long. */
static unsigned patience(void *ctx)
{
	(void)ctx;
	points_tick();	/* also when there is no broker any more whose rounds would */
	return points && points->fired ? 100 : 10000;
}

static bool may_go_astray(void *ctx)
{
	(void)ctx;
	return points && points->fired;
}

static struct runner_options options(const char *dir)
{
	return (struct runner_options){ .backend = RUNNER_IN_PROCESS, .direct = o.direct, .tmp = dir, .trace = trace, .peeks = true,
					.hooks = { .before_round = before_round, .after_round = after_round,
						   .patience_ms = patience, .may_go_astray = may_go_astray } };
}

static void keep_report(struct shared *sh, const char *report)
{
	size_t len = strlen(sh->report);

	snprintf(sh->report + len, sizeof(sh->report) - len, "%s", report);
}

static void note_first(void *ctx, struct runner *r, unsigned line)
{
	(void)ctx; (void)line;
	snprintf(ref->first_dump, sizeof(ref->first_dump), "%s", runner_first_dump(r));
}

/* The exit status is the outcome. */
static void play(const char *path, struct slot *s, bool is_reference)
{
	struct runner_options ro = options(s->dir);
	enum runner_outcome outcome;
	char *report;

	points = &s->sh->record;
	if (is_reference)
		ro.after_step = note_first;
	outcome = runner_run(path, &ro, &report);
	points_armed = false;
	keep_report(s->sh, report);
	fflush(NULL);
	_exit(outcome);
}

/* --- after the broker's end -------------------------------------------------------------------------------------------------- */

static bool find_store(const char *slot_dir, char *dir, size_t size)
{
	DIR *d = opendir(slot_dir);
	struct dirent *e;
	bool found = false;

	while (d && !found && (e = readdir(d)))
		if (e->d_name[0] != '.') {
			snprintf(dir, size, "%s/%s", slot_dir, e->d_name);
			found = true;
		}
	if (d)
		closedir(d);
	return found;
}

static const struct event *last_commit(const struct record *rec, uint32_t end)
{
	while (end--)
		if (rec->events[end].kind == 'C')
			return &rec->events[end];
	return NULL;
}

static const struct event *next_commit(const struct record *rec, uint32_t at)
{
	for (; at < rec->n_events; at++)
		if (rec->events[at].kind == 'C')
			return &rec->events[at];
	return NULL;
}

static bool same_tables(const struct event *e, const uint32_t tables[T_N])
{
	return e && !memcmp(e->tables, tables, sizeof(e->tables));
}

static int get_row(void *ctx, enum table t, const void *key, size_t key_len, const void **valp, size_t *lenp)
{
	return reader_get(ctx, t, key, key_len, valp, lenp);
}

static int next_row(void *ctx, enum table t, const void *key, size_t key_len, bool or_equal, const void **keyp, size_t *key_lenp,
		    const void **valp, size_t *lenp)
{
	return reader_next(ctx, t, key, key_len, or_equal, keyp, key_lenp, valp, lenp);
}

static void add_line(void *ctx, const char *line) { keep_report(ctx, line); keep_report(ctx, "\n"); }

static void print_differing(struct shared *sh, const struct event *e, const uint32_t tables[T_N])
{
	int t;

	for (t = 0; e && t < T_N; t++)
		if (e->tables[t] != tables[t])
			add_line(sh, table_names[t]);
}

/* The store as it lies there is what the broker committed last, or, if a commit was under way, what that one was to make. */
static bool disk_is_committed(struct shared *sh, const char *dir)
{
	struct check_source src = { .get = get_row, .next = next_row };
	const struct event *last = last_commit(&sh->record, sh->record.n_events);
	const struct event *next = next_commit(&ref->record, sh->record.n_events);
	struct reader *reader = NULL;
	uint32_t tables[T_N];
	bool good = true;
	char store[300];
	size_t n = 0;
	int e;

	snprintf(store, sizeof(store), "%s/store", dir);
	e = reader_open_dir(&reader, store);
	if (e == READER_E_ABSENT || (e == READER_E_CORRUPT && !last))
		return !last;	/* nothing has been committed yet */
	if (e == 0)
		e = reader_begin(reader);
	src.ctx = reader;
	if (e == 0)
		e = points_hash(&src, tables);
	if (e == 0 && last)
		e = check_store(&src, add_line, sh, &n);
	if (e || n) {
		add_line(sh, e ? "the store cannot be read" : "C6: the recount of the store on disk differs");
		good = false;
	} else if (last && !same_tables(last, tables) && !same_tables(next, tables)) {
		add_line(sh, "the store on disk is neither what was committed last nor what was to be next; these tables differ:");
		print_differing(sh, last, tables);
		good = false;
	}
	if (reader) {
		reader_end(reader);
		reader_free(reader);
	}
	return good;
}

/* A broker boots on what there is, and comes to a good end. */
static void aftermath(const char *path, struct slot *s)
{
	enum runner_outcome outcome = RUNNER_FAILED;
	char dir[300], *report = NULL;
	struct runner_options ro = options(s->dir);

	points = NULL;
	if (!find_store(s->dir, dir, sizeof(dir)))
		add_line(s->sh, "the run left no folder");
	else if (disk_is_committed(s->sh, dir)) {
		outcome = runner_aftermath(path, &ro, dir, ref->first_dump, &report);
		keep_report(s->sh, report);
	}
	fflush(NULL);
	_exit(outcome);
}

/* --- judging ------------------------------------------------------------------------------------------------------------------ */

static void complain(struct shared *sh, const char *fmt, ...)
{
	char line[3000];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	add_line(sh, line);
	sh->verdict = BROKEN;
}

static bool same_event(const struct record *a, const struct record *b, uint32_t i)
{
	const struct event *x = &a->events[i], *y = &b->events[i];

	if (x->kind != y->kind)
		return false;
	if (x->kind == 'C')
		return same_tables(x, y->tables);
	return x->len == y->len && !memcmp(a->text + x->at, b->text + y->at, x->len);
}

static void print_event(struct shared *sh, const char *who, const struct record *rec, uint32_t i)
{
	const struct event *e = &rec->events[i];

	if (i >= rec->n_events)
		complain(sh, "  %s: nothing", who);
	else
		complain(sh, "  %s: %c %.*s", who, e->kind, (int)(e->kind == 'C' ? 0 : e->len), rec->text + e->at);
}

/* What a run committed and said is the beginning of what the run without a fault did: nothing in between, nothing too soon. */
static void compare_events(struct shared *sh)
{
	const struct record *rec = &sh->record;
	uint32_t i;

	for (i = 0; i < rec->n_events; i++)
		if (i >= ref->record.n_events || !same_event(rec, &ref->record, i)) {
			complain(sh, "event %u (C a commit, R a reply, L the console, P a process) is not that of the run without a fault:", i);
			print_event(sh, "here", rec, i);
			print_event(sh, "there", &ref->record, i);
			if (i < ref->record.n_events && rec->events[i].kind == 'C' && ref->record.events[i].kind == 'C')
				print_differing(sh, &ref->record.events[i], rec->events[i].tables);
			return;
		}
}

static int wait_for(pid_t pid)
{
	int status = 0;

	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return status;
}

/* For the report: who died of a signal says where. */
static void show_stack(int sig)
{
	void *at[40];

	points_armed = false;
	backtrace_symbols_fd(at, backtrace(at, ARRAY_LEN(at)), STDERR_FILENO);
	signal(sig, SIG_DFL);
	raise(sig);
}

static int in_child(void (*fn)(const char *, struct slot *), const char *path, struct slot *s)
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		alarm(RUN_SECONDS);
		signal(SIGSEGV, show_stack);
		signal(SIGABRT, show_stack);
		signal(SIGALRM, show_stack);
		fn(path, s);
	}
	return wait_for(pid);
}

static void play_reference(const char *path, struct slot *s) { play(path, s, true); }
static void play_fault(const char *path, struct slot *s) { play(path, s, false); }

/* The log of the broker, and what else was said on standard error. */
static void keep_errors(struct shared *sh, int fd)
{
	char text[12001];
	off_t end = lseek(fd, 0, SEEK_END), from = end > 12000 ? end - 12000 : 0;
	ssize_t n = pread(fd, text, sizeof(text) - 1, from);

	text[n > 0 ? n : 0] = '\0';
	add_line(sh, text);
}

static void judge(struct shared *sh, const char *path, struct slot *s, int status)
{
	sh->verdict = !sh->record.fired ? HELD_UNREACHED : HELD_ON;
	if (sh->record.problem[0])
		complain(sh, "%s", sh->record.problem);
	if (sh->record.overflow)
		complain(sh, "more happened than can be noted");
	if (!WIFEXITED(status)) {
		complain(sh, "the run ended by signal %d", WTERMSIG(status));
		return;
	}
	switch (WEXITSTATUS(status)) {
	case RUNNER_PASSED:
		break;
	case RUNNER_ASTRAY:
		if (sh->verdict == HELD_ON)
			sh->verdict = HELD_ASTRAY;
		break;
	case BROKER_ENDED:
		sh->verdict = HELD_ENDED;
		if (sh->record.problem[0])
			sh->verdict = BROKEN;
		compare_events(sh);
		status = in_child(aftermath, path, s);
		if (!WIFEXITED(status) || WEXITSTATUS(status) != RUNNER_PASSED)
			complain(sh, "the broker after it does not come to a good end (%s %d)", WIFEXITED(status) ? "status" : "signal",
				 WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
		break;
	default:
		complain(sh, "the run did not come to a good end (status %d)", WEXITSTATUS(status));
	}
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st; (void)type; (void)ftw;
	return remove(path);
}

static void remove_folder(const char *dir) { nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT); }

/* A process of its own for each run, which starts that, and what comes after it. */
static void run(const char *path, struct slot *s)
{
	int err = memfd_create("err", MFD_CLOEXEC), out = dup(1);

	dup2(err, 2);
	mkdir(s->dir, 0700);
	if (points_traced)
		trace = fdopen(out, "w");
	judge(s->sh, path, s, in_child(play_fault, path, s));
	remove_folder(s->dir);
	if (s->sh->verdict == BROKEN || points_traced)
		keep_errors(s->sh, err);
	_exit(0);
}

static void start(const char *path, struct slot *s, enum fault f, uint64_t at)
{
	struct record *rec = &s->sh->record;

	memset(rec, 0, offsetof(struct record, events));
	s->sh->report[0] = '\0';
	s->sh->verdict = BROKEN;	/* whatever happens */
	rec->fail = s->fault = f;
	rec->at = s->at = at;
	fflush(stdout);	/* it would be written twice */
	s->pid = fork();
	if (s->pid)
		return;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	run(path, s);
}

/* --- the sweep ---------------------------------------------------------------------------------------------------------------- */

static void print_report(const char *report)
{
	const char *end;

	for (; *report; report = *end ? end + 1 : end) {
		end = strchrnul(report, '\n');
		printf("# %.*s\n", (int)(end - report), report);
	}
}

/* One run has ended; true: it held. */
static bool reap(struct tally *t)
{
	int status;
	pid_t pid = waitpid(-1, &status, 0);
	struct slot *s = slots;

	while (s->pid != pid)
		s++;
	s->pid = 0;
	t->n[s->fault][s->sh->verdict]++;
	if (points_traced || (s->sh->verdict == BROKEN && t->n[s->fault][BROKEN] <= 3)) {
		printf("# --- %s %" PRIu64 " ---\n", fault_names[s->fault], s->at);
		print_report(s->sh->report);
	}
	return s->sh->verdict != BROKEN;
}

static bool sweep_class(const char *path, enum fault f, struct tally *t)
{
	uint64_t at = o.only_at ? o.only_at : o.first, end = o.only_at ? o.only_at : ref->record.n_points[f];
	size_t running = 0;
	bool good = true;

	while (at <= end || running) {
		struct slot *s = slots;

		if (at > end || running == o.n_slots) {
			good &= reap(t);
			running--;
			continue;
		}
		while (s->pid)
			s++;
		start(path, s, f, at);
		running++;
		at += o.step;
	}
	return good;
}

/* Twice: what is compared with it must be the same every time. */
static bool make_reference(const char *path)
{
	struct slot *s = &slots[0];
	int i, status, err = memfd_create("err", MFD_CLOEXEC), saved = dup(2);
	bool good = true;

	for (i = 0; good && i < 2; i++) {
		memset(&s->sh->record, 0, offsetof(struct record, events));
		s->sh->report[0] = '\0';
		mkdir(s->dir, 0700);
		dup2(err, 2);
		status = in_child(play_reference, path, s);
		dup2(saved, 2);
		remove_folder(s->dir);
		good = WIFEXITED(status) && WEXITSTATUS(status) == RUNNER_PASSED && !s->sh->record.problem[0];
		if (!good) {
			keep_errors(s->sh, err);
			complain(s->sh, "without a fault the scenario does not hold: %s", s->sh->record.problem);
		} else if (i) {
			s->sh->verdict = HELD_ON;
			compare_events(s->sh);
			good = s->sh->verdict != BROKEN;
		}
		memcpy(&ref->record, &s->sh->record, sizeof(ref->record));
	}
	close(err);
	close(saved);
	if (!good)
		print_report(s->sh->report);
	return good;
}

static uint64_t sum(const struct tally *t, enum verdict v)
{
	uint64_t n = 0;
	int f;

	for (f = 0; f < FAULT_N; f++)
		n += t->n[f][v];
	return n;
}

static void add_row(FILE *table, const char *name, const struct tally *t)
{
	int f, v;

	fprintf(table, "| %s ", name);
	for (f = 0; f < FAULT_N; f++) {
		uint64_t n = 0;

		for (v = 0; v < VERDICT_N; v++)
			n += t->n[f][v];
		fprintf(table, "| %" PRIu64 " ", n);
	}
	fprintf(table, "| %" PRIu64 " | %" PRIu64 " | %" PRIu64 " | %s |\n", sum(t, HELD_ENDED), sum(t, HELD_ON) + sum(t, HELD_UNREACHED),
		sum(t, HELD_ASTRAY), sum(t, BROKEN) ? "BROKEN" : "yes");
}

static bool sweep(const char *path, size_t number, FILE *table, struct tally *all)
{
	const char *name = strstr(path, "scenarios/") ? strstr(path, "scenarios/") + 10 : path;
	int len = strlen(name) - (strlen(name) > 4 ? 4 : 0), f, v;
	struct tally t = { 0 };
	bool good = make_reference(path);
	char shown[200];

	for (f = 0; good && f < FAULT_N; f++)
		if (o.only_fault < 0 || o.only_fault == f)
			sweep_class(path, f, &t);
	good &= !sum(&t, BROKEN);
	snprintf(shown, sizeof(shown), "%.*s", len, name);
	printf("%sok %zu - %s\n", good ? "" : "not ", number, shown);
	for (f = 0; f < FAULT_N; f++)
		printf("# %-7s %6" PRIu64 " points: ended the broker %" PRIu64 ", made no difference %" PRIu64 ", changed what happened %" PRIu64
		       ", not reached %" PRIu64 ", broken %" PRIu64 "\n", fault_names[f], ref->record.n_points[f], t.n[f][HELD_ENDED],
		       t.n[f][HELD_ON], t.n[f][HELD_ASTRAY], t.n[f][HELD_UNREACHED], t.n[f][BROKEN]);
	fflush(stdout);
	add_row(table, shown, &t);
	for (f = 0; f < FAULT_N; f++)
		for (v = 0; v < VERDICT_N; v++)
			all->n[f][v] += t.n[f][v];
	return good;
}

static void *shared_memory(size_t n)
{
	void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		abort();
	return p;
}

static int pick_fault(const char *name)
{
	int f;

	for (f = 0; f < FAULT_N && strcmp(fault_names[f], name); f++)
		;
	return f < FAULT_N ? f : -1;
}

int main(int argc, char **argv)
{
	struct tally all = { 0 };
	size_t table_len, i;
	char *table_text;
	bool good = true;
	FILE *table;
	int opt, f;

	o.n_slots = get_nprocs();
	o.tmp = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
	while ((opt = getopt(argc, argv, "s:o:j:f:n:dt:T")) >= 0) {
		switch (opt) {
		case 's': o.step = strtoull(optarg, NULL, 10); break;
		case 'o': o.first = strtoull(optarg, NULL, 10); break;
		case 'j': o.n_slots = strtoull(optarg, NULL, 10); break;
		case 'f': o.only_fault = pick_fault(optarg); break;
		case 'n': o.only_at = strtoull(optarg, NULL, 10); break;
		case 'd': o.direct = true; break;
		case 't': o.tmp = optarg; break;
		case 'T': o.table = true; break;
		default: return 2;
		}
	}
	if (!o.step || !o.first || !o.n_slots || optind == argc)
		return 2;
	points_traced = o.only_at;
	signal(SIGPIPE, SIG_IGN);
	snprintf(work, sizeof(work), "%.150s/capstan-fault-XXXXXX", o.tmp);
	if (!mkdtemp(work))
		return perror(work), 2;
	ref = shared_memory(sizeof(*ref));
	slots = calloc(o.n_slots, sizeof(*slots));
	for (i = 0; i < o.n_slots; i++) {
		slots[i].sh = shared_memory(sizeof(*slots[i].sh));
		snprintf(slots[i].dir, sizeof(slots[i].dir), "%.150s/%zu", work, i);
	}
	table = open_memstream(&table_text, &table_len);
	printf("1..%d\n", argc - optind);
	fflush(stdout);
	for (i = optind; i < (size_t)argc; i++)
		good &= sweep(argv[i], i - optind + 1, table, &all);
	add_row(table, "all", &all);
	fclose(table);
	if (o.table) {
		printf("\n| scenario ");
		for (f = 0; f < FAULT_N; f++)
			printf("| %s ", fault_names[f]);
		printf("| ended the broker | no difference | another way | held |\n| --- ");
		for (f = 0; f < FAULT_N + 3; f++)
			printf("| ---: ");
		printf("| --- |\n%s", table_text);
	}
	remove_folder(work);
	return good ? 0 : 1;
}
