/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starting a process that can do less: see jail.h.
 *
 * The child runs a table of steps in order; the order matters and each step says why it is where it is. Between the
 * fork and the exec only the child's own memory changes, and every failure is told through the report pipe, whose
 * write end closes at the exec: end of file without a failure means that the program runs.
 */
#include "jail.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/sched.h>
#include <linux/securebits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/capability.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "../lib/util.h"
#include "spawn.h"

#define START_TIMEOUT_MS	10000	/* between fork and exec only our own code runs; this bounds a sick machine */
static_assert(3 + JAIL_MAX_FDS <= STAGE_PROGRAM_FD, "what a process is given has numbers of its own");
#define CONFINED_FILES		256	/* open files of a confined service */
#define FD_PARKED		510	/* fds wait from here up while the low numbers are filled */

/* --- the prepared namespaces ------------------------------------------------------------------------------------- */

#define ROOT_FLAGS	(MS_NOSUID | MS_NODEV)

/* What `runtime host` shows of the host: programs, libraries, and what the dynamic linker and interpreters look up. */
static const char *const host_paths[] = { "usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "etc/ld.so.cache",
					  "etc/alternatives", "etc/localtime", "etc/ssl/certs", "etc/ssl/openssl.cnf",
					  "etc/perl", "etc/python3", "dev/null", "dev/zero", "dev/full", "dev/random",
					  "dev/urandom" };
static const char *const own_folders[] = { "dev", "etc", "etc/ssl", "proc", "vat", "tmp" };

/* Show /NAME of the host as NAME of the new root, which is the working folder. What the host lacks is left out. */
static int show_host_path(const char *name)
{
	char from[64], target[256];
	struct stat st;
	ssize_t n;
	int fd;

	snprintf(from, sizeof(from), "/%s", name);
	if (lstat(from, &st))
		return 0;
	if (S_ISLNK(st.st_mode)) {
		n = readlink(from, target, sizeof(target) - 1);
		if (n < 0)
			return -1;
		target[n] = '\0';
		return symlink(target, name);
	}
	if (S_ISDIR(st.st_mode)) {
		if (mkdir(name, 0755))
			return -1;
	} else {
		fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
		if (fd < 0)
			return -1;
		close(fd);
	}
	if (mount(from, name, NULL, MS_BIND, NULL))
		return -1;
	/* Device nodes must work, and nothing below /dev is a folder. */
	return mount(NULL, name, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | (S_ISCHR(st.st_mode) ? 0 : MS_NODEV),
		     NULL);
}

static int show_host(void)
{
	for (size_t i = 0; i < ARRAY_LEN(own_folders); i++)
		if (mkdir(own_folders[i], 0755))
			return -1;
	for (size_t i = 0; i < ARRAY_LEN(host_paths); i++)
		if (show_host_path(host_paths[i]))
			return -1;
	return symlink("/proc/self/fd", "dev/fd");
}

static int make_root(bool host)
{
	/* Nothing that happens here may reach the host's mount table. */
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		return -1;
	/* Over /proc for want of a folder that is sure to exist; it lies below the old root and leaves with it. */
	if (mount("capstan-jail", "/proc", "tmpfs", ROOT_FLAGS, host ? "size=64k,mode=0755" : "size=4k,nr_inodes=2,mode=0555"))
		return -1;
	if (chdir("/proc") || (host && show_host()))
		return -1;
	if (syscall(SYS_pivot_root, ".", ".") || umount2(".", MNT_DETACH) || chdir("/"))
		return -1;
	return mount(NULL, "/", NULL, MS_REMOUNT | MS_RDONLY | MS_NOEXEC | ROOT_FLAGS, NULL);
}

/* The helper that enters new namespaces and then only lives until its parent has opened them. */
static _Noreturn void namespace_helper(int flags, bool host, int up, int down)
{
	int e = 0;
	char byte;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (unshare(flags) || make_root(host) || ((flags & CLONE_NEWUTS) && sethostname("vat", 3)))
		e = errno;
	if (write(up, &e, sizeof(e)) == sizeof(e))
		while (read(down, &byte, 1) > 0)
			;
	_exit(0);
}

static int open_namespace(pid_t pid, const char *name, int *fdp)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/ns/%s", pid, name);
	*fdp = open(path, O_RDONLY | O_CLOEXEC);
	return *fdp < 0 ? JAIL_E_UNAVAILABLE : 0;
}

static int open_namespaces(struct jail *j, pid_t pid, bool host)
{
	int r = open_namespace(pid, "mnt", &j->ns[host ? JAIL_NS_HOST_MNT : JAIL_NS_MNT]);

	if (!r && !host)
		r = open_namespace(pid, "net", &j->ns[JAIL_NS_NET]);
	if (!r && !host)
		r = open_namespace(pid, "ipc", &j->ns[JAIL_NS_IPC]);
	if (!r && !host)
		r = open_namespace(pid, "uts", &j->ns[JAIL_NS_UTS]);
	return r;
}

/* One helper for each root; the one with the empty root also brings the other namespaces. */
static int build_with_helper(struct jail *j, bool host)
{
	const int flags = CLONE_NEWNS | (host ? 0 : CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS);
	int up[2], down[2], e = EIO, r = JAIL_E_UNAVAILABLE;
	pid_t pid;

	if (pipe2(up, O_CLOEXEC))
		return error_origin(errno);
	if (pipe2(down, O_CLOEXEC)) {
		e = errno;
		close(up[0]);
		close(up[1]);
		return error_origin(e);
	}
	pid = fork();
	if (pid == 0) {
		close(up[0]);
		close(down[1]);
		namespace_helper(flags, host, up[1], down[0]);
	}
	close(up[1]);
	close(down[0]);
	if (pid > 0 && read(up[0], &e, sizeof(e)) == sizeof(e) && !e) {
		r = open_namespaces(j, pid, host);
		e = errno;
	}
	close(up[0]);
	close(down[1]);
	if (pid > 0)
		waitpid(pid, NULL, 0);
	errno = e;
	return r;
}

int jail_build(struct jail *j)
{
	int r = build_with_helper(j, false), e;

	if (!r)
		r = build_with_helper(j, true);
	if (r) {
		e = errno;
		jail_deinit(j);
		errno = e;
	}
	return r;
}

void jail_deinit(struct jail *j)
{
	for (size_t i = 0; i < JAIL_N_NS; i++)
		closep(&j->ns[i]);
	*j = (struct jail)JAIL_INIT;
}

/* --- in the child ------------------------------------------------------------------------------------------------ */

struct stage {
	const struct jail_process *p;
	int report_fd;
	int exe_fd;
	uint32_t isolation;
	const char *what;	/* which part of a step failed */
};

static bool is_vat(const struct jail_process *p) { return p->program_fd >= 0; }
static bool has_namespaces(const struct jail_process *p) { return is_vat(p) && p->jail && p->jail->ns[0] >= 0; }

static void stage_say(struct stage *g, bool failed, const char *text)
{
	struct stage_report r = { .isolation = g->isolation, .failed = failed };

	snprintf(r.text, sizeof(r.text), "%s", text);
	if (write(g->report_fd, &r, sizeof(r)) != sizeof(r))
		_exit(125);
}

static int step_signals(struct stage *g)
{
	static const uint64_t by_default[4];	/* the kernel's struct sigaction: SIG_DFL, no flags, no mask */
	sigset_t none;

	(void)g;
	/*
	 * Ignored signals and the mask survive an exec: the program starts as if nobody had touched them. libc keeps 32 and 33
	 * to itself and refuses to set them, but its posix_spawn() leaves them ignored in whatever it starts (make, say,
	 * and so all below it).
	 */
	for (int sig = 1; sig < NSIG; sig++)
		if (sig != SIGKILL && sig != SIGSTOP)
			syscall(SYS_rt_sigaction, sig, by_default, NULL, sizeof(uint64_t));
	sigemptyset(&none);
	return sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Raising one's own score needs no privilege, lowering it CAP_SYS_RESOURCE, which root may lack: never an error. */
static int step_oom(struct stage *g)
{
	_cleanup_close_ int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (fd >= 0 && g->p->oom_score)
		(void)!write(fd, g->p->oom_score, strlen(g->p->oom_score));
	return 0;
}

static int copy_file(int from, const char *to)
{
	_cleanup_close_ int fd = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444);
	struct stat st;
	off_t at = 0;

	if (fd < 0 || fstat(from, &st) || fchmod(fd, 0444))
		return -1;
	while (at < st.st_size)
		if (sendfile(fd, from, &at, st.st_size - at) <= 0)
			return -1;
	return 0;
}

/* The companion files under their names. Copies: their originals lie in memory files, which cannot be mounted. */
static int show_companions(const struct jail_process *p)
{
	char path[SPAWN_TEXT + 8];

	if (p->n_fds < 2)
		return 0;
	if (mount("capstan-files", "/vat", "tmpfs", ROOT_FLAGS | MS_NOEXEC, "mode=0755"))
		return -1;
	for (size_t i = 1; i < p->n_fds; i++) {
		snprintf(path, sizeof(path), "/vat/%s", p->file_names[i - 1]);
		if (copy_file(p->fds[i], path))
			return -1;
	}
	return mount(NULL, "/vat", NULL, MS_REMOUNT | MS_RDONLY | MS_NOEXEC | ROOT_FLAGS, NULL);
}

/* A copy of the prepared root, with a /proc that shows the vat's own pid namespace, and its files. */
static int finish_host_root(const struct jail_process *p)
{
	if (unshare(CLONE_NEWNS) || mount("proc", "/proc", "proc", ROOT_FLAGS | MS_NOEXEC, NULL))
		return -1;
	return show_companions(p);
}

/* Empty ones of its own: what it is to serve it has already, and the names of Unix sockets in folders lie in no namespace. */
static void confine(void)
{
	if (unshare(CLONE_NEWNET | CLONE_NEWIPC))
		log_debug("a service stays in the host's network namespace: %s", strerror(errno));
}

/* Before the fds are sorted (the namespaces are fds) and before the uid changes (entering needs capabilities). */
static int step_namespaces(struct stage *g)
{
	const struct jail_process *p = g->p;

	if (p->confined)
		confine();
	if (!has_namespaces(p))
		return 0;
	for (size_t i = 0; i < JAIL_N_NS; i++) {
		if (i == (p->host_runtime ? JAIL_NS_MNT : JAIL_NS_HOST_MNT))
			continue;
		if (setns(p->jail->ns[i], 0))
			return -1;
	}
	if (p->host_runtime)
		return finish_host_root(p);
	g->isolation |= SPAWN_ISO_NAMESPACES;	/* which says: an empty root */
	return 0;
}

static int step_session(struct stage *g)
{
	umask(is_vat(g->p) ? 077 : 027);	/* capstan-fs reads the broker's files through their group */
	/* An own session, so that a terminal's signals reach only the spawner. Fails only for a leader, which we are not. */
	return setsid() < 0 || chdir("/");
}

static int park(int *fdp)
{
	int fd = fcntl(*fdp, F_DUPFD_CLOEXEC, FD_PARKED);

	*fdp = fd;
	return fd < 0 ? -1 : 0;
}

static int close_between(unsigned first, unsigned last)
{
	return first > last ? 0 : (int)syscall(SYS_close_range, first, last, 0);
}

/* A vat has no standard streams; an interpreter gets empty ones, for it would take the first file it opens for them. */
static int stdio_of_vat(struct stage *g)
{
	int fd;

	if (!g->p->host_runtime)
		return close_between(0, 2);
	fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -1;
	for (int i = 0; i < 3; i++)
		if (fd != i && dup2(fd, i) < 0)
			return -1;
	return 0;
}

/* Every fd to its number: first all out of the way, then each into its place, then everything else is closed. */
static int step_fds(struct stage *g)
{
	const struct jail_process *p = g->p;
	int fds[JAIL_MAX_FDS], program = p->program_fd;

	assert(p->n_fds <= ARRAY_LEN(fds));
	for (size_t i = 0; i < p->n_fds; i++) {
		fds[i] = p->fds[i];
		if (fds[i] >= 0 && park(&fds[i]))
			return -1;
	}
	if (park(&g->exe_fd) || park(&g->report_fd) || (is_vat(p) && park(&program)))
		return -1;
	if (is_vat(p) && stdio_of_vat(g))
		return -1;
	for (size_t i = 0; i < p->n_fds; i++) {
		close(3 + (int)i);
		if (fds[i] >= 0 && dup2(fds[i], 3 + (int)i) < 0)
			return -1;
	}
	if (is_vat(p) && dup2(program, STAGE_PROGRAM_FD) < 0)
		return -1;
	/* capstan-vatd goes on reporting; a service's pipe closes as soon as it runs. */
	if (dup3(g->report_fd, STAGE_REPORT_FD, is_vat(p) ? 0 : O_CLOEXEC) < 0 ||
	    dup3(g->exe_fd, STAGE_EXE_FD, O_CLOEXEC) < 0)
		return -1;
	g->report_fd = STAGE_REPORT_FD;
	g->exe_fd = STAGE_EXE_FD;
	if (close_between(3 + p->n_fds, STAGE_PROGRAM_FD - 1) || close_between(STAGE_EXE_FD + 1, ~0u))
		return -1;
	if (is_vat(p))
		g->isolation |= SPAWN_ISO_FDS;
	else if (close_between(STAGE_PROGRAM_FD, STAGE_PROGRAM_FD))
		return -1;
	return 0;
}

static int limit(int resource, uint64_t n)
{
	struct rlimit now, want = { n, n };

	if (getrlimit(resource, &now))
		return -1;
	/* A lower limit than ours that we may not raise is kept: it limits more. */
	if (now.rlim_max < n)
		want.rlim_cur = want.rlim_max = now.rlim_max;
	return setrlimit(resource, &want);
}

static int step_rlimits(struct stage *g)
{
	const struct jail_process *p = g->p;

	if (limit(RLIMIT_CORE, 0))
		return -1;
	if (!is_vat(p) && !p->confined)
		return 0;
	if (limit(RLIMIT_MEMLOCK, 0) || limit(RLIMIT_MSGQUEUE, 0) || limit(RLIMIT_NOFILE, is_vat(p) ? p->limits.n_files : CONFINED_FILES))
		return -1;
	/* A service's log may be a file, which is to grow. */
	return is_vat(p) && (limit(RLIMIT_FSIZE, 0) ||
			     limit(p->host_runtime ? RLIMIT_DATA : RLIMIT_AS, p->limits.memory));
}

/* Needs CAP_SETPCAP, so before the ids change. EINVAL ends the list: the kernel knows no more capabilities. */
static int step_bounding_set(struct stage *g)
{
	if (!g->p->set_ids)
		return 0;
	for (int cap = 0; prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) == 0; cap++)
		;
	if (errno != EINVAL)
		return -1;
	return prctl(PR_SET_SECUREBITS, SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP |
		     SECBIT_NO_SETUID_FIXUP_LOCKED | SECBIT_KEEP_CAPS_LOCKED | SECBIT_NO_CAP_AMBIENT_RAISE |
		     SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED, 0, 0, 0);
}

static int step_ids(struct stage *g)
{
	const struct jail_process *p = g->p;

	if (!p->set_ids)
		return 0;
	assert(p->uid != 0 && p->gid != 0);
	if (setgroups(0, NULL) || setresgid(p->gid, p->gid, p->gid) || setresuid(p->uid, p->uid, p->uid))
		return -1;
	g->isolation |= SPAWN_ISO_UID;
	return 0;
}

/* The locked securebits keep a change of uid from clearing capabilities, so they are cleared here, all of them. */
static int step_capabilities(struct stage *g)
{
	cap_t none = cap_init();
	int r;

	(void)g;
	if (!none)
		return -1;
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	r = cap_set_proc(none);
	cap_free(none);
	return r;
}

static int step_no_new_privs(struct stage *g)
{
	(void)g;
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

/* After the change of uid, which would clear it. A spawner that died before this has closed its end of the pipe. */
static int step_parent(struct stage *g)
{
	struct pollfd pipe = { .fd = g->report_fd };

	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0))
		return -1;
	if (poll(&pipe, 1, 0) < 0)
		return -1;
	if (pipe.revents & POLLERR)
		_exit(125);
	return 0;
}

/* After the change of uid: counted against the old one it would make the exec fail with EAGAIN. */
static int step_processes(struct stage *g)
{
	if (!is_vat(g->p))
		return 0;
	/* Without an own uid the count is the whole user's: then a limit would hit the user, and seccomp has to do. */
	if (g->p->set_ids && limit(RLIMIT_NPROC, g->p->limits.n_procs))
		return -1;
	if (g->p->set_ids)
		g->isolation |= SPAWN_ISO_RLIMITS;
	return 0;
}

static const struct step {
	const char *what;
	int (*run)(struct stage *g);
} steps[] = {
	{ "reset signals", step_signals },
	{ "set oom_score_adj", step_oom },
	{ "enter the namespaces", step_namespaces },
	{ "begin a session", step_session },
	{ "place the file descriptors", step_fds },
	{ "set resource limits", step_rlimits },
	{ "drop the bounding set", step_bounding_set },
	{ "change the user", step_ids },
	{ "drop capabilities", step_capabilities },
	{ "set no_new_privs", step_no_new_privs },
	{ "set the parent-death signal", step_parent },
	{ "limit processes", step_processes },
};

static _Noreturn void stage_run(struct stage *g)
{
	char text[sizeof(((struct stage_report *)0)->text)];

	for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
		errno = 0;
		if (steps[i].run(g)) {
			snprintf(text, sizeof(text), "cannot %s: %s", steps[i].what, strerror(errno));
			stage_say(g, true, text);
			_exit(126);
		}
	}
	if (is_vat(g->p))
		stage_say(g, false, "");
	syscall(SYS_execveat, g->exe_fd, "", g->p->argv, g->p->envp, AT_EMPTY_PATH);
	snprintf(text, sizeof(text), "cannot execute %s: %s", g->p->argv[0], strerror(errno));
	stage_say(g, true, text);
	_exit(126);
}

/* --- in the parent ----------------------------------------------------------------------------------------------- */

/* A new pid namespace belongs to one vat and so is made by the clone itself; nothing else differs from fork(). */
static pid_t fork_child(bool own_pids)
{
	struct clone_args args = { .flags = CLONE_NEWPID, .exit_signal = SIGCHLD };

	return own_pids ? (pid_t)syscall(SYS_clone3, &args, sizeof(args)) : fork();
}

/* Read reports until the pipe closes. */
static int collect(int fd, struct stage_report *sum)
{
	struct pollfd pipe = { .fd = fd, .events = POLLIN };
	struct stage_report r;
	ssize_t n;

	for (;;) {
		n = poll(&pipe, 1, START_TIMEOUT_MS);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			snprintf(sum->text, sizeof(sum->text), "did not start within %d s", START_TIMEOUT_MS / 1000);
			return JAIL_E_START;
		}
		n = read(fd, &r, sizeof(r));
		if (n == 0)
			return 0;
		if (n != sizeof(r)) {
			snprintf(sum->text, sizeof(sum->text), "its report could not be read");
			return JAIL_E_START;
		}
		sum->isolation |= r.isolation;
		if (r.failed) {
			memcpy(sum->text, r.text, sizeof(r.text));
			sum->text[sizeof(sum->text) - 1] = '\0';
			return JAIL_E_START;
		}
	}
}

int jail_start(const struct jail_process *p, pid_t *pidp, struct stage_report *report)
{
	struct stage g = { .p = p, .exe_fd = p->exe_fd };
	int pipe_fds[2], r;
	pid_t pid;

	assert(is_vat(p) ? p->n_fds >= 1 : !p->jail);
	memset(report, 0, sizeof(*report));
	if (pipe2(pipe_fds, O_CLOEXEC))
		return error_origin(errno);
	pid = fork_child(has_namespaces(p));
	if (pid == 0) {
		close(pipe_fds[0]);
		g.report_fd = pipe_fds[1];
		stage_run(&g);
	}
	close(pipe_fds[1]);
	if (pid < 0) {
		snprintf(report->text, sizeof(report->text), "cannot make a process: %s", strerror(errno));
		close(pipe_fds[0]);
		return JAIL_E_START;
	}
	r = collect(pipe_fds[0], report);
	close(pipe_fds[0]);
	/* Without capstan-vatd's own report it was killed on the way (by its seccomp filter, say). */
	if (!r && is_vat(p) && !(report->isolation & SPAWN_ISO_NNP)) {
		snprintf(report->text, sizeof(report->text), "died before its program was started");
		r = JAIL_E_START;
	}
	if (r) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		return r;
	}
	*pidp = pid;
	return 0;
}
