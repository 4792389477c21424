/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The broker: boot, the main loop, and the one place where it is decided when to commit.
 *
 * A round: wait for something to happen; let everything that can move, move; then look at time and at who waits outside.
 * Applied cranks share a transaction. It is committed when the kernel is idle, when something outside waits for what is in
 * it (a reply, a console line, a process to be started), or after GROUP_CHANGES keys, settings.group_cranks or
 * settings.group_ms. What leaves goes after the commit that contains its cause.
 */
#include "broker.h"

#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>

#include "boot.h"
#include "charge.h"
#include "code.h"
#include "collect.h"
#include "cycle.h"
#include "deadline.h"
#include "hosted.h"
#include "io.h"
#include "launch.h"
#include "methods.h"
#include "process.h"
#include "promise.h"
#include "service.h"
#include "spawner.h"
#include "sweep.h"
#include "system.h"
#include "underway.h"
#include "vat.h"

#define GROUP_CHANGES	20000u			/* keys: what a commit may take is what everybody may have to wait */
#define OUTSIDE_NS	UINT64_C(1000000)	/* while vats work, outside waiters get at most one commit in this time */
#define TICK_MS		50			/* how often deadlines are looked at while something is in flight */
#define STOP_NS		UINT64_C(2000000000)	/* how long a stop waits for a client to take its reply */
#define SERVICE_BUDGET	64u			/* service calls of one round */

/* --- the loop ------------------------------------------------------------------------------------------------------ */

static int run_services(struct kernel *k, bool *morep)
{
	unsigned budget = SERVICE_BUDGET;
	int r;

	do {
		r = service_pump(k, morep);
		if (r < 0)
			return r;
	} while (*morep && --budget);
	return 0;
}

static bool is_idle(const struct kernel *k, bool more)
{
	return !k->n_in_flight && !k->ready_first && !k->sweeping && !more;
}

static int commit_if_due(struct kernel *k, bool more)
{
	uint64_t now = now_monotonic_ns();
	bool outside = control_has_output(k->control) || k->n_effects || k->want_processes || k->stopping;
	bool due;
	int r;

	due = k->dirty_since_ns &&
	      (is_idle(k, more) || k->cranks_since_commit >= k->settings.group_cranks ||
	       store_n_changes(k->store) >= GROUP_CHANGES ||
	       now - k->dirty_since_ns >= k->settings.group_ms * 1000000 ||
	       (outside && (!k->n_in_flight || now - k->last_commit_ns >= OUTSIDE_NS)));
	if (due) {
		r = kernel_commit(k);
		if (r < 0)
			return r;
		process_shown(k);
	}
	if (k->dirty_since_ns)
		return 0;	/* what waits outside waits on */
	r = process_requests(k);
	if (r < 0 || k->dirty_since_ns)	/* a process that cannot be started has changed something */
		return r;
	return control_flush(k->control);
}

static int timeout_ms(const struct kernel *k, bool more)
{
	bool outside = control_has_output(k->control) || k->n_effects || k->want_processes;
	int lease = process_lease_timeout_ms(), sample = process_sample_timeout_ms(k), mount = process_mount_timeout_ms(k), t = -1;
	uint64_t now_us;

	if (more || k->hosted_work || (k->ready_first && !(k->serial && k->n_in_flight)))
		return 0;
	if (k->n_in_flight || k->n_pings || k->stopping || k->dirty_since_ns)
		t = TICK_MS;
	if (k->dirty_since_ns && outside)
		t = 1;
	if (k->next_ended_us && t < 0) {	/* minutes away: looked at once a minute, for the clock may be set */
		now_us = now_realtime_us();
		t = k->next_ended_us <= now_us ? 0 : k->next_ended_us - now_us < 60000000 ? (k->next_ended_us - now_us) / 1000 + 1 : 60000;
	}
	if (lease >= 0 && (t < 0 || lease < t))
		t = lease;
	if (sample >= 0 && (t < 0 || sample < t))
		t = sample;
	if (mount >= 0 && (t < 0 || mount < t))
		t = mount;
	return t;
}

static int step(struct kernel *k, bool *morep)
{
	bool services, sweeps, circles;
	int r;

	r = run_services(k, &services);
	if (r >= 0)
		r = hosted_pump(k);
	if (r >= 0)
		r = kernel_tell_callers(k);
	if (r >= 0)
		r = methods_pump(k);
	if (r >= 0)
		r = launch_pump(k);
	if (r >= 0)
		r = crank_prepare_ready(k);
	if (r >= 0)
		r = sweep_step(k, &sweeps);
	if (r >= 0)
		r = cycle_step(k, &circles);
	if (r >= 0)
		r = collect_pump(k);
	if (r >= 0)
		r = kernel_tell_callers(k);
	*morep = services || sweeps || circles || k->launch_work || k->hosted_work || k->service_work;
	return r;
}

/* Told to stop: when all is committed and said, or when whom it is said to does not listen. */
static bool may_stop(struct kernel *k, uint64_t now_ns)
{
	if (!k->stopping || k->dirty_since_ns)
		return false;
	if (!k->stop_ns)
		k->stop_ns = now_ns;
	return control_is_drained(k->control) || now_ns - k->stop_ns > STOP_NS;
}

int broker_round(struct kernel *k, int wait_ms, bool *overp)
{
	int r, waited = timeout_ms(k, k->more);

	*overp = may_stop(k, k->round_ns);
	if (*overp)
		return 0;
	if (wait_ms >= 0 && (waited < 0 || wait_ms < waited))
		waited = wait_ms;
	r = loop_round(&k->loop, waited);
	if (r < 0)
		return r;
	deadline_advance(k, &k->round_ns, k->loop.woke_ns, waited);
	process_lease_expire();
	r = step(k, &k->more);
	if (r >= 0 && k->round_ns - k->checked_ns >= TICK_MS * UINT64_C(1000000)) {
		k->checked_ns = k->round_ns;
		r = deadline_check(k, now_monotonic_ns());
	}
	if (r >= 0)
		r = commit_if_due(k, k->more);
	process_sample(k);
	return r;
}

static int serve(struct kernel *k)
{
	bool over = false;
	int r = 0;

	while (r >= 0 && !over)
		r = broker_round(k, -1, &over);
	return r;
}

/* --- start and stop ---------------------------------------------------------------------------------------------------- */

static int parse(int argc, char **argv, struct broker_options *o)
{
	static const struct option options[] = {
		{ "serial", no_argument, NULL, 's' }, { "direct", no_argument, NULL, 'd' },
		{ "overlay", no_argument, NULL, 'o' }, { "no-mount", no_argument, NULL, 'n' },
		{ "config", required_argument, NULL, 'c' }, { "uid-base", required_argument, NULL, 'u' }, { "run", required_argument, NULL, 'r' }, { 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) >= 0) {
		switch (c) {
		case 's': o->serial = true; break;
		case 'd': o->direct = true; break;
		case 'o': o->direct = false; break;
		case 'n': o->no_mount = true; break;
		case 'u': o->uid_base = strtoull(optarg, NULL, 10); break;
		case 'r': o->run = optarg; break;
		case 'c': o->config = optarg; break;
		default: return error_origin(EINVAL);
		}
	}
	return 0;
}

/* Positive: refused, the line is in the log. */
static int read_settings(struct kernel *k, int fd, const char *name)
{
	char error[CONFIG_ERROR_MAX];
	json_error_t where;
	json_t *json;
	int r;

	settings_init(&k->settings);
	if (fd < 0)
		return 0;	/* no --config */
	lseek(fd, 0, SEEK_SET);	/* the broker before this one has read it to its end */
	json = json_loadfd(fd, JSON_REJECT_DUPLICATES, &where);
	close(fd);
	if (!json) {
		log_err("%s, line %d: %s", name, where.line, where.text);
		return BROKER_E_REFUSED;
	}
	r = settings_parse(json, &k->settings, error);
	json_decref(json);
	if (r > 0)
		log_err("%s: %s", name, error);
	return r > 0 ? BROKER_E_REFUSED : r;
}

/* The io folders stay; *programsp: of the system subclusters, -1 where there is none. */
static int take_given(struct kernel *k, int first, const char *name, int **programsp)
{
	const struct settings *s = &k->settings;
	size_t n = settings_n_given(s), i;

	*programsp = calloc(n + 1, sizeof(**programsp));
	k->io_dirs = calloc(s->n_io_paths + 1, sizeof(*k->io_dirs));
	if (!*programsp || !k->io_dirs)
		return error_origin(ENOMEM);
	for (i = 0; i < n; i++) {
		int fd = first > 0 && fcntl(first + (int)i, F_GETFD) >= 0 ? first + (int)i : -1;

		if (i >= s->n_io_paths) {
			(*programsp)[i - s->n_io_paths] = fd;
			continue;
		}
		k->io_dirs[i] = fd;
		if (fd < 0) {
			log_err("%s: config.ioPaths[%zu]: the folder was not handed to the broker", name, i);
			return BROKER_E_REFUSED;
		}
	}
	return 0;
}

static int open_store(struct kernel *k, bool direct)
{
	uint64_t version = 0;
	int r = store_open(&k->store, ".", direct ? STORE_DIRECT : STORE_OVERLAY, &version);

	switch (r) {
	case STORE_E_SCHEMA:
		log_err("the store was written by schema version %" PRIu64 "; this is version %d", version, SCHEMA_VERSION);
		return r;
	case STORE_E_LOCKED:
		log_err("another broker has this store");
		return r;
	case STORE_E_CORRUPT:
		log_err("the store is not an LMDB environment of ours");
		return r;
	default:
		return r < 0 ? error_trace(r) : 0;
	}
}

int broker_open(struct kernel *k, const struct broker_fds *fds, const struct broker_options *o)
{
	_cleanup_free_ int *programs = NULL;
	int r;

	k->next_host_call = 1;
	k->serial = o->serial;
	k->no_mount = o->no_mount;
	k->uid_base = o->uid_base;
	k->run_dir = o->run;
	k->start_ns = k->round_ns = now_monotonic_ns();
	k->more = true;
	if (fchdir(fds->store_dir) < 0)
		return error_origin(errno);
	r = read_settings(k, fds->config, o->config);
	if (r == 0)
		r = take_given(k, fds->given, o->config, &programs);
	if (r == 0)
		r = loop_init(&k->loop);
	if (r == 0)
		r = open_store(k, o->direct);
	if (r)
		return r;
	underway_open(k);	/* the store is ours alone now */
	r = process_init(k, fds->spawner);
	if (r >= 0)
		r = code_store_new(&k->code, &k->loop, fds->store_dir);
	if (r >= 0)
		r = control_new(&k->control, &k->loop, fds->control, kernel_methods, k);
	if (r >= 0)
		r = boot_kernel(k);
	if (r >= 0)
		r = underway_judge(k);
	if (r >= 0)
		r = system_boot(k, programs);
	if (r >= 0)
		r = process_mount(k);
	if (r >= 0)
		r = process_simple(k, SPAWN_READY);
	return r;
}

void broker_close(struct kernel *k)
{
	struct wire_buf b = WIRE_BUF_INIT;
	struct host_call *c, *ctmp;
	struct vat *v, *tmp;

	wire_begin(&b, WIRE_SHUTDOWN, 0, 0);
	wire_end(&b);
	HASH_ITER(hh, k->vats, v, tmp) {
		/* Best effort: the spawner ends them as soon as we are gone. */
		if (v->proc == PROC_ALIVE)
			channel_send(&v->channel, &b);
		vat_forget(k, v);
	}
	wire_buf_deinit(&b);
	k->code = code_store_free(k->code);
	HASH_ITER(hh, k->calls, c, ctmp) {
		HASH_DEL(k->calls, c);
		methods_forget_call(c);
	}
	promise_drop_tasks(k);
	cycle_deinit(k);
	hosted_deinit(k);
	collect_deinit(k);
	service_deinit(k);
	launch_deinit(k);	/* after the calls: some are theirs */
	io_deinit(k);
	system_deinit(k);
	process_deinit(k);
	charges_deinit(k);
	underway_close(k);
	k->store = store_free(k->store);
	/* Last: whoever asked for the shutdown may look at the store as soon as the connection ends. */
	k->control = control_free(k->control);
	loop_deinit(&k->loop);
	u64_list_deinit(&k->touched);
	u64_list_deinit(&k->settled_calls);
	free(k->effects);
	for (size_t i = 0; i < k->settings.n_io_paths; i++)
		close(k->io_dirs[i]);
	free(k->io_dirs);
	settings_deinit(&k->settings);
}

int broker_main(int argc, char **argv)
{
	struct broker_fds fds = { BROKER_FD_SPAWNER, BROKER_FD_CONTROL, BROKER_FD_STORE_DIR, BROKER_FD_CONFIG,
				  BROKER_FD_GIVEN };
	static struct kernel kernel;
	struct broker_options o = { .run = "", .config = "config" };
	struct kernel *k = &kernel;
	int r;

	signal(SIGPIPE, SIG_IGN);
	json_object_seed(0);	/* reads /dev/urandom once, now */
	r = parse(argc, argv, &o);
	if (r < 0)
		return SPAWNER_EXIT_REFUSED;
	if (fcntl(fds.config, F_GETFD) < 0)
		fds.config = -1;
	r = broker_open(k, &fds, &o);
	if (r > 0)
		return SPAWNER_EXIT_REFUSED;
	if (r == 0)
		r = serve(k);
	if (r < 0) {
		/* Nothing is saved or tidied after a fatal error: the next broker goes on from the last commit. */
		log_err("fatal: %s; ending, the last commit stands", strerror(-r));
		return EXIT_FAILURE;
	}
	broker_close(k);
	return EXIT_SUCCESS;
}
