/* SPDX-License-Identifier: Apache-2.0 */
/*
 * capstand: one program, two roles. Called by a person (or a service manager) it is the spawner: it sets up the
 * instance, gives up what privileges it will not need, starts the broker and serves it until the end. Re-executed by
 * itself as `capstand broker …`, under the broker's own uid and with fds of enum broker_fd, it is the broker: a
 * fresh address space, so that nothing of the privileged process is left in it.
 */
#include <fcntl.h>
#include <linux/keyctl.h>
#include <signal.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <systemd/sd-daemon.h>

#include "../lib/config.h"
#include "broker.h"
#include "given.h"
#include "instance.h"
#include "jail.h"
#include "options.h"
#include "spawner.h"

#define LOG_NAME	"capstand.log"
#define MAX_ENV		64

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif

/* Everything of the spawner role. */
struct capstand {
	struct options options;
	struct instance instance;
	struct jail jail;
	struct spawner spawner;
	struct spawner_config config;
	struct given given;
	int self_fd, vatd_fd, fs_fd;
	int status_fd;			/* to the waiting parent, -1 in the foreground */
	char *env[MAX_ENV + 1];		/* of the broker and capstan-fs */
	char uid_base[16];
	char hide[MOUNT_HIDE_TEXT];	/* of the mount, as words */
	char run[4096];			/* absolute, for the broker's messages */
};

/* --- daemonising ------------------------------------------------------------------------------------------------- */

/*
 * What the daemon tells the parent that waits for it: where its log begins, then that it is ready. If the pipe closes
 * first it has failed, and the parent shows what it logged.
 */
struct daemon_message { uint32_t ready; uint32_t zero; int64_t log_offset; };

static void show_log(const char *run, int64_t offset)
{
	_cleanup_free_ char *path = NULL;
	_cleanup_close_ int fd = -1;
	char buf[4096];
	ssize_t n;

	if (asprintf(&path, "%s/" LOG_NAME, run) < 0)
		path = NULL;
	fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	while (fd >= 0 && (n = pread(fd, buf, sizeof(buf), offset)) > 0 && write(STDERR_FILENO, buf, n) == n)
		offset += n;
}

static int wait_for_daemon(const struct options *o, int fd, pid_t pid)
{
	struct daemon_message m;
	int64_t offset = -1;

	while (read(fd, &m, sizeof(m)) == sizeof(m)) {
		if (m.ready)
			return 0;
		offset = m.log_offset;
	}
	/* Reaped before its log is read: by then it has written its last line. */
	waitpid(pid, NULL, 0);
	if (offset >= 0)
		show_log(o->run, offset);
	return 1;
}

/* In the daemon: 0, *fdp set. In the parent: 1, and the exit status in *statusp. */
static int daemonise(const struct options *o, int *fdp, int *statusp)
{
	int fds[2];
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC))
		return error_origin(errno);
	pid = fork();
	if (pid < 0)
		return error_origin(errno);
	if (pid > 0) {
		close(fds[1]);
		*statusp = wait_for_daemon(o, fds[0], pid);
		close(fds[0]);
		return 1;
	}
	close(fds[0]);
	setsid();
	*fdp = fds[1];
	return 0;
}

static int tell_parent(struct capstand *c, bool ready, int64_t log_offset)
{
	struct daemon_message m = { .ready = ready, .log_offset = log_offset };

	if (c->status_fd < 0)
		return 0;
	/* A parent that was killed meanwhile is no reason to fail. */
	if (write(c->status_fd, &m, sizeof(m)) < 0 && errno != EPIPE)
		return error_origin(errno);
	if (ready) {
		close(c->status_fd);
		c->status_fd = -1;
	}
	return 0;
}

/* From here on a daemon's lines go to RUN/capstand.log. */
static int redirect_log(struct capstand *c)
{
	_cleanup_close_ int fd = -1;
	off_t end;

	if (c->status_fd < 0)
		return 0;
	fd = openat(c->instance.run_fd, LOG_NAME, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0640);
	if (fd < 0 || (end = lseek(fd, 0, SEEK_END)) < 0)
		return error_origin(errno);
	if (dup2(fd, STDOUT_FILENO) < 0 || dup2(fd, STDERR_FILENO) < 0)
		return error_origin(errno);
	return tell_parent(c, false, end);
}

/* --- preparing the process --------------------------------------------------------------------------------------- */

/* Inherited descriptors are nobody's; 0 to 2 must exist, or the first files we open would take their numbers. */
static int clean_process(void)
{
	struct rlimit files;
	int fd;

	syscall(SYS_close_range, 3, ~0u, 0);
	fd = open("/dev/null", O_RDWR);
	if (fd < 0)
		return error_origin(errno);
	while (fd <= 2)
		fd = dup(fd);
	if (dup2(fd, STDIN_FILENO) < 0)
		return error_origin(errno);
	close(fd);
	umask(022);
	signal(SIGPIPE, SIG_IGN);
	if (getrlimit(RLIMIT_NOFILE, &files))
		return error_origin(errno);
	files.rlim_cur = files.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &files))
		return error_origin(errno);
	return 0;
}

/* What a service finds in its environment: settings of ours and of sanitizers, nothing else of the caller's. */
static void service_environment(struct capstand *c)
{
	static const char *const prefixes[] = { "CAPSTAN_", "ASAN_OPTIONS=", "UBSAN_OPTIONS=", "LSAN_OPTIONS=",
						"JOURNAL_STREAM=", "LLVM_PROFILE_FILE=" };
	size_t n = 0;

	for (char **e = environ; *e && n < MAX_ENV; e++)
		for (size_t i = 0; i < ARRAY_LEN(prefixes); i++)
			if (!strncmp(*e, prefixes[i], strlen(prefixes[i])))
				c->env[n++] = *e;
	c->env[n < MAX_ENV ? n : MAX_ENV] = NULL;
}

/* The programs beside our own. They are opened once: what is started later is what was installed at our start. */
static int open_program(const char *name, int *fdp)
{
	char path[4096];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 64);
	char *slash;

	if (n < 0)
		return error_origin(errno);
	path[n] = '\0';
	slash = strrchr(path, '/');
	if (!slash || strlen(name) > 60)
		return error_origin(EINVAL);
	strcpy(slash + 1, name);
	*fdp = open(path, O_RDONLY | O_CLOEXEC);
	return *fdp < 0 ? 1 : 0;
}

static int open_programs(struct capstand *c)
{
	int r;

	c->self_fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	if (c->self_fd < 0)
		return error_origin(errno);
	r = open_program("capstan-vatd", &c->vatd_fd);
	if (r < 0)
		return error_trace(r);
	if (r) {
		log_err("cannot open capstan-vatd beside capstand: %s", strerror(errno));
		return 1;
	}
	r = open_program("capstan-fs", &c->fs_fd);
	return r < 0 ? error_trace(r) : 0;	/* without it the mount is missing, which the broker is told when it asks */
}

/*
 * Keep what the spawner needs: ids and bounding sets of children, killing them, mounts and namespaces. Not
 * CAP_DAC_OVERRIDE: all that is opened or removed from here on is root's own or open already.
 */
static int drop_capabilities(void)
{
	static const cap_value_t kept[] = { CAP_SETUID, CAP_SETGID, CAP_SETPCAP, CAP_KILL, CAP_SYS_ADMIN, CAP_SYS_CHROOT };
	cap_t now = cap_get_proc(), want = cap_init();
	cap_flag_value_t have;
	int r = now && want ? 0 : -1;

	for (size_t i = 0; !r && i < ARRAY_LEN(kept); i++) {
		r = cap_get_flag(now, kept[i], CAP_PERMITTED, &have);
		if (!r && have == CAP_SET)
			r = cap_set_flag(want, CAP_PERMITTED, 1, &kept[i], CAP_SET) ||
				cap_set_flag(want, CAP_EFFECTIVE, 1, &kept[i], CAP_SET);
	}
	if (!r)
		r = cap_set_proc(want);
	if (!r)
		r = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (r)
		r = error_origin(errno);
	cap_free(now);
	cap_free(want);
	return r;
}

/*
 * The session keyring is kept over forks, execs and changes of uid, and whoever has it may read the keys in it, whoever
 * they belong to. All that we start begins with an empty one, not with that of the root who called us. ENOSYS, EPERM:
 * no keys, here or (a container's filter) for us and ours.
 */
static int leave_keyring(void)
{
	if (syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL) < 0 && errno != ENOSYS && errno != EPERM)
		return error_origin(errno);
	return 0;
}

/* --- the spawner's hooks ----------------------------------------------------------------------------------------- */

static void broker_argv(struct capstand *c, char **argv)
{
	const struct options *o = &c->options;
	size_t n = 0;

	argv[n++] = (char *)"capstand";
	argv[n++] = (char *)"broker";
	argv[n++] = (char *)(o->direct ? "--direct" : "--overlay");
	if (o->serial)
		argv[n++] = (char *)"--serial";
	if (c->instance.privileged) {
		argv[n++] = (char *)"--uid-base";
		argv[n++] = c->uid_base;
	}
	if (o->config) {	/* opened for it; the name is for messages */
		argv[n++] = (char *)"--config";
		argv[n++] = (char *)o->config;
	}
	argv[n++] = (char *)"--run";
	argv[n++] = c->run;
	argv[n] = NULL;
}

#define N_BROKER_FDS	(BROKER_FD_GIVEN - BROKER_FD_SPAWNER)
static_assert(N_BROKER_FDS + CONFIG_MAX_GIVEN <= JAIL_MAX_FDS, "a broker gets all that a configuration can name");

static void broker_fds(const struct capstand *c, int spawner_fd, int *fds)
{
	fds[BROKER_FD_SPAWNER - BROKER_FD_SPAWNER] = spawner_fd;
	fds[BROKER_FD_CONTROL - BROKER_FD_SPAWNER] = c->instance.control_fd;
	fds[BROKER_FD_STORE_DIR - BROKER_FD_SPAWNER] = c->instance.store_fd;
	fds[BROKER_FD_CONFIG - BROKER_FD_SPAWNER] = c->given.config_fd;
	for (size_t i = 0; i < c->given.n_fds; i++)
		fds[N_BROKER_FDS + i] = c->given.fds[i];
}

static int start_broker(void *ctx, int *fdp, pid_t *pidp)
{
	int pair[2], fds[N_BROKER_FDS + CONFIG_MAX_GIVEN], r;
	struct capstand *c = ctx;
	struct stage_report report;
	char *argv[16];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return error_origin(errno);
	broker_argv(c, argv);
	broker_fds(c, pair[1], fds);
	r = jail_start(&(struct jail_process){
		.exe_fd = c->self_fd, .argv = argv, .envp = c->env,
		.fds = fds, .n_fds = N_BROKER_FDS + c->given.n_fds,
		.set_ids = c->instance.privileged, .oom_score = "-500", .program_fd = -1,
		.uid = c->instance.privileged ? uidblock_broker_uid(c->instance.uids.base) : 0,
		.gid = c->instance.privileged ? uidblock_broker_uid(c->instance.uids.base) : 0,
	}, pidp, &report);
	close(pair[1]);
	if (r) {
		close(pair[0]);
		if (r > 0)
			log_err("cannot start the broker: %s", report.text);
		return r < 0 ? error_trace(r) : error_origin(ECHILD);
	}
	*fdp = pair[0];
	return 0;
}

static void on_ready(void *ctx)
{
	struct capstand *c = ctx;

	log_info("ready");
	sd_notify(0, "READY=1");
	tell_parent(c, true, 0);
}

static void on_stopping(void *ctx)
{
	(void)ctx;
	sd_notify(0, "STOPPING=1");
}

/* A relative --run means nothing to the broker, whose working folder is the root; nor should a daemon hold one busy. */
static int find_run_path(struct capstand *c)
{
	char link[32];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", c->instance.run_fd);
	n = readlink(link, c->run, sizeof(c->run) - 1);
	if (n < 0)
		return error_origin(errno);
	c->run[n] = '\0';
	return chdir("/") ? error_origin(errno) : 0;
}

/* --- the two roles ----------------------------------------------------------------------------------------------- */

static int prepare(struct capstand *c)
{
	int r;

	r = instance_open_run(&c->instance, c->options.run);
	if (!r)
		r = redirect_log(c);
	if (!r)
		r = open_programs(c);
	if (!r && c->options.config)
		r = given_open(&c->given, c->options.config);
	if (!r)
		r = instance_open(&c->instance, c->options.state, c->options.uid_base);
	if (!r)
		r = instance_listen_fs(&c->instance, c->given.mount_world);
	if (!r)
		r = given_keep_apart(&c->given, (int[]){ c->instance.state_fd, c->instance.run_fd }, 2);
	if (r)
		return r;
	service_environment(c);
	r = find_run_path(c);
	if (r || !c->instance.privileged)
		return r;
	snprintf(c->uid_base, sizeof(c->uid_base), "%u", c->instance.uids.base);
	r = leave_keyring();
	if (r)
		return r;
	r = jail_build(&c->jail);
	if (r < 0)
		return error_trace(r);
	if (r)
		log_warn("this host gives no namespaces (%s): vats see its root folder and network", strerror(errno));
	return drop_capabilities();
}

static void configure(struct capstand *c)
{
	bool privileged = c->instance.privileged;

	mount_hide_format(c->given.mount_hide, c->hide);
	c->config = (struct spawner_config){
		.vatd_fd = c->vatd_fd, .fs_exe_fd = c->fs_fd,
		.mount = { .run_fd = c->instance.run_fd, .run = privileged ? NULL : c->run, .world = c->given.mount_world },
		.no_mount = c->options.no_mount, .fs_listen_fd = c->instance.fs_listen_fd, .fs_hide = c->hide,
		.privileged = privileged,
		.uid_base = privileged ? c->instance.uids.base : 0,
		.fs_uid = privileged ? uidblock_fs_uid(c->instance.uids.base) : 0,
		.service_env = c->env, .jail = &c->jail,
		.insecure_no_seccomp = c->options.insecure_no_seccomp,
		.max_broker_deaths = c->options.max_broker_deaths,
		.start_broker = start_broker, .on_ready = on_ready, .on_stopping = on_stopping, .ctx = c,
	};
}

static int serve(struct capstand *c)
{
	int r;

	if (c->options.insecure_no_seccomp)
		log_warn("vats run without a system call filter (CAPSTAN_INSECURE_NO_SECCOMP)");
	if (!c->instance.privileged)
		log_warn("not started as root: all processes run as uid %u, vats without namespaces", geteuid());
	configure(c);
	r = spawner_init(&c->spawner, &c->config, -1);
	if (!r)
		r = spawner_run(&c->spawner);
	spawner_deinit(&c->spawner);
	return r;
}

static int run_spawner(const struct options *options)
{
	struct capstand c = { .options = *options, .instance = INSTANCE_INIT, .jail = JAIL_INIT,
			      .self_fd = -1, .vatd_fd = -1, .fs_fd = -1, .status_fd = -1, .given = GIVEN_INIT };
	int r, status = 1;

	r = clean_process();
	if (!r && !options->foreground) {
		r = daemonise(options, &c.status_fd, &status);
		if (r > 0)
			return status;
	}
	if (!r)
		r = prepare(&c);
	if (!r)
		r = serve(&c);
	jail_deinit(&c.jail);
	instance_deinit(&c.instance);
	closep(&c.self_fd);
	closep(&c.vatd_fd);
	closep(&c.fs_fd);
	given_deinit(&c.given);
	closep(&c.status_fd);
	return r ? 1 : 0;
}

static int run_broker(int argc, char **argv)
{
	log_init("capstand[broker]");
	prctl(PR_SET_NAME, "capstand-broker");
#ifndef SANITIZED	/* the leak checker attaches to its own process */
	/* No core and no ptrace: the broker's memory holds every reference. The exec had turned this on again. */
	if (prctl(PR_SET_DUMPABLE, 0))
		return 1;
#endif
	return broker_main(argc, argv);
}

int main(int argc, char **argv)
{
	struct options options;
	int r;

	if (argc > 1 && !strcmp(argv[1], "broker"))
		return run_broker(argc - 1, argv + 1);
	log_init("capstand");
	r = options_parse(&options, argc, argv, stdout);
	if (r == OPTIONS_DONE)
		return fflush(stdout) ? 1 : 0;
	if (r)
		return 2;
	return run_spawner(&options);
}
