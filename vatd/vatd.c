/* SPDX-License-Identifier: Apache-2.0 */
/*
 * capstan-vatd: the first stage inside a vat's process (stage.h). It runs when the spawner has made the process an
 * own user in its jail, checks that this is so, puts on the last lock (seccomp, which the exec keeps) and execs the
 * vat's program, so that no instruction of the vat, constructors included, ever runs without it.
 *
 * Invariant: the program is exec'd only when every mandatory layer was found on; otherwise one report says why and the
 * process exits. It is static and reads no file, no environment, and nothing from the channel.
 */
#include "stage.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <seccomp.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../broker/spawn.h"

#ifndef SYS_rseq
#define SYS_rseq 334
#endif
#ifndef SYS_clone3
#define SYS_clone3 435
#endif

/* --- reports ----------------------------------------------------------------------------------------------------- */

static _Noreturn void fail(const char *what, int e)
{
	struct stage_report r = { .failed = 1 };

	if (e)
		snprintf(r.text, sizeof(r.text), "%s: %s", what, strerror(e));
	else
		snprintf(r.text, sizeof(r.text), "%s", what);
	if (write(STAGE_REPORT_FD, &r, sizeof(r)) != sizeof(r))
		fprintf(stderr, "capstan-vatd: %s\n", r.text);
	_exit(126);
}

static void report(uint32_t isolation)
{
	struct stage_report r = { .isolation = isolation };

	if (write(STAGE_REPORT_FD, &r, sizeof(r)) != sizeof(r))
		_exit(125);
}

/* --- what we were given ------------------------------------------------------------------------------------------ */

static void check_fds(void)
{
	int domain = 0, type = 0;
	socklen_t len = sizeof(int);
	struct stat st;

	if (getsockopt(STAGE_CHANNEL_FD, SOL_SOCKET, SO_DOMAIN, &domain, &len) ||
	    getsockopt(STAGE_CHANNEL_FD, SOL_SOCKET, SO_TYPE, &type, &len))
		fail("the channel (fd 3)", errno);
	if (domain != AF_UNIX || type != SOCK_SEQPACKET)
		fail("the channel (fd 3) is not a Unix seqpacket socket", 0);
	if (fstat(STAGE_PROGRAM_FD, &st))
		fail("the program", errno);
}

static bool no_capabilities(void)
{
	cap_t now = cap_get_proc(), none = cap_init();
	bool empty = now && none && cap_compare(now, none) == 0;

	cap_free(now);
	cap_free(none);
	for (int cap = 0; empty && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, cap, 0, 0) >= 0; cap++)
		empty = prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, cap, 0, 0) == 0;
	return empty;
}

static bool bounding_set_is_empty(void)
{
	for (int cap = 0, r; (r = prctl(PR_CAPBSET_READ, cap, 0, 0, 0)) >= 0; cap++)
		if (r)
			return false;
	return true;
}

/* What is on, measured and not believed. Returns SPAWN_ISO_* bits. */
static uint32_t check_privileges(void)
{
	uint32_t isolation = SPAWN_ISO_NNP;

	if (getuid() == 0 || geteuid() == 0 || getegid() == 0)
		fail("a vat never runs as root", 0);
	if (!no_capabilities())
		fail("capabilities are left", 0);
	if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
		fail("no_new_privs is off", 0);
	if (bounding_set_is_empty())
		isolation |= SPAWN_ISO_NOCAPS;
	return isolation;
}

/* --- the filter -------------------------------------------------------------------------------------------------- */

/*
 * What a static C program needs to compute, to talk on fd 3, to wait and to keep time. Not among them: sendmsg (it
 * could send fds), socket, ioctl, open, kill, ptrace, bpf, io_uring, keyctl, userfaultfd, memfd_create, and anything
 * this list does not name: those end the process.
 */
static const int allowed[] = {
	SYS_read, SYS_write, SYS_readv, SYS_writev, SYS_pread64, SYS_lseek, SYS_close, SYS_dup, SYS_dup2, SYS_dup3,
	SYS_recvfrom, SYS_recvmsg, SYS_sendto, SYS_shutdown, SYS_getsockopt, SYS_getsockname, SYS_getpeername,
	SYS_poll, SYS_ppoll, SYS_select, SYS_pselect6,
	SYS_epoll_create1, SYS_epoll_ctl, SYS_epoll_wait, SYS_epoll_pwait, SYS_eventfd2, SYS_pipe2,
	SYS_timerfd_create, SYS_timerfd_settime, SYS_timerfd_gettime, SYS_fstat,
	SYS_brk, SYS_mmap, SYS_munmap, SYS_mremap, SYS_mprotect, SYS_madvise,
	SYS_rt_sigaction, SYS_rt_sigprocmask, SYS_rt_sigreturn, SYS_rt_sigtimedwait, SYS_sigaltstack,
	SYS_futex, SYS_set_robust_list, SYS_get_robust_list, SYS_rseq, SYS_set_tid_address, SYS_arch_prctl,
	SYS_clock_gettime, SYS_clock_getres, SYS_clock_nanosleep, SYS_nanosleep, SYS_gettimeofday, SYS_time,
	SYS_getpid, SYS_gettid, SYS_getppid, SYS_getuid, SYS_geteuid, SYS_getgid, SYS_getegid, SYS_getresuid,
	SYS_getresgid, SYS_getgroups, SYS_getrandom, SYS_getrlimit, SYS_getrusage, SYS_times, SYS_capget,
	SYS_sched_yield, SYS_sched_getaffinity, SYS_getcpu, SYS_uname,
	SYS_restart_syscall, SYS_exit, SYS_exit_group,
};

/* What C libraries try and do without: an error instead of death. */
static const struct { int nr, error; } probed[] = {
	{ SYS_open, EACCES }, { SYS_openat, EACCES }, { SYS_access, EACCES }, { SYS_faccessat, EACCES },
	{ SYS_faccessat2, EACCES }, { SYS_readlink, EACCES }, { SYS_readlinkat, EACCES }, { SYS_stat, EACCES },
	{ SYS_lstat, EACCES }, { SYS_statfs, EACCES }, { SYS_getcwd, EACCES }, { SYS_statx, ENOSYS },
	{ SYS_ioctl, ENOTTY }, { SYS_prctl, EPERM }, { SYS_sysinfo, EPERM }, { SYS_membarrier, ENOSYS },
};

/* `runtime host` instead of the probed ones: interpreters load files, look at their surroundings and start helpers. */
static const int allowed_host[] = {
	SYS_access, SYS_faccessat, SYS_faccessat2, SYS_readlink, SYS_readlinkat, SYS_stat, SYS_lstat, SYS_statfs,
	SYS_fstatfs, SYS_newfstatat, SYS_statx, SYS_getcwd, SYS_chdir, SYS_fchdir, SYS_getdents, SYS_getdents64,
	SYS_sysinfo, SYS_membarrier, SYS_memfd_create, SYS_ftruncate, SYS_fadvise64, SYS_preadv, SYS_pwrite64,
	SYS_pipe, SYS_epoll_create, SYS_eventfd, SYS_sendfile, SYS_close_range, SYS_umask, SYS_flock,
	SYS_execve, SYS_vfork, SYS_fork, SYS_wait4, SYS_waitid, SYS_kill, SYS_tkill, SYS_tgkill, SYS_setpgid, SYS_getpgid,
	SYS_getpgrp, SYS_getsid, SYS_setsid, SYS_alarm, SYS_setitimer, SYS_getitimer, SYS_pause, SYS_signalfd4,
	SYS_rt_sigsuspend, SYS_rt_sigpending, SYS_rt_sigqueueinfo, SYS_sched_getparam, SYS_sched_getscheduler,
	SYS_getpriority, SYS_mincore, SYS_msync, SYS_mlock, SYS_munlock, SYS_get_mempolicy, SYS_inotify_init1,
	SYS_fcntl, SYS_prlimit64, SYS_epoll_pwait2,
};
static const struct { int nr, error; } probed_host[] = {
	{ SYS_ioctl, ENOTTY }, { SYS_prctl, EPERM }, { SYS_socket, EACCES }, { SYS_connect, EACCES },
	{ SYS_mkdir, EACCES }, { SYS_unlink, EACCES }, { SYS_rename, EACCES }, { SYS_creat, EACCES },
	{ SYS_chmod, EPERM }, { SYS_utimensat, EPERM }, { SYS_io_uring_setup, ENOSYS },
	{ SYS_getxattr, ENOTSUP }, { SYS_lgetxattr, ENOTSUP }, { SYS_sched_setaffinity, EPERM },
	{ SYS_set_mempolicy, EPERM }, { SYS_pkey_alloc, ENOSYS }, { SYS_mbind, EPERM },
};

#define NEW_NAMESPACES (CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | \
			CLONE_NEWNET)

static void rule(int r)
{
	if (r < 0)
		fail("the seccomp filter", -r);
}

static void allow(scmp_filter_ctx ctx, const int *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		rule(seccomp_rule_add(ctx, SCMP_ACT_ALLOW, list[i], 0));
}

/* One rule on one argument; MASKED_EQ compares (argument & a) with b, the others the argument with a. */
static void rule_if(scmp_filter_ctx ctx, uint32_t action, int nr, unsigned arg, enum scmp_compare op, scmp_datum_t a,
		    scmp_datum_t b)
{
	struct scmp_arg_cmp cmp = { .arg = arg, .op = op, .datum_a = a, .datum_b = b };

	rule(seccomp_rule_add_array(ctx, action, nr, 1, &cmp));
}

/* The exec of the vat's program: that fd closes with it and its number can never be made again (RLIMIT_NOFILE). */
static void allow_exec(scmp_filter_ctx ctx)
{
	const struct scmp_arg_cmp once[] = {
		{ .arg = 0, .op = SCMP_CMP_EQ, .datum_a = STAGE_PROGRAM_FD },
		{ .arg = 4, .op = SCMP_CMP_EQ, .datum_a = AT_EMPTY_PATH },
	};

	rule(seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, SYS_execveat, 2, once));
}

/* Threads, no processes; RLIMIT_NPROC counts both. clone3 hides its flags in memory: C libraries then use clone. */
static void rules_none(scmp_filter_ctx ctx)
{
	static const int commands[] = { F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_DUPFD_CLOEXEC };

	for (size_t i = 0; i < sizeof(probed) / sizeof(probed[0]); i++)
		rule(seccomp_rule_add(ctx, SCMP_ACT_ERRNO(probed[i].error), probed[i].nr, 0));
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		rule_if(ctx, SCMP_ACT_ALLOW, SYS_fcntl, 1, SCMP_CMP_EQ, commands[i], 0);
	/* fstat() of newer C libraries; paths are for an empty root to refuse. */
	rule_if(ctx, SCMP_ACT_ALLOW, SYS_newfstatat, 3, SCMP_CMP_EQ, AT_EMPTY_PATH, 0);
	rule_if(ctx, SCMP_ACT_ERRNO(EACCES), SYS_newfstatat, 3, SCMP_CMP_NE, AT_EMPTY_PATH, 0);
	rule_if(ctx, SCMP_ACT_ALLOW, SYS_prlimit64, 2, SCMP_CMP_EQ, 0, 0);
	rule_if(ctx, SCMP_ACT_ERRNO(EPERM), SYS_prlimit64, 2, SCMP_CMP_NE, 0, 0);
	/* raise() and abort() to itself, whose pid the exec keeps. Without an own uid it could reach all of its user's. */
	rule_if(ctx, SCMP_ACT_ALLOW, SYS_tgkill, 0, SCMP_CMP_EQ, getpid(), 0);
	rule_if(ctx, SCMP_ACT_ERRNO(EPERM), SYS_tgkill, 0, SCMP_CMP_NE, getpid(), 0);
	rule_if(ctx, SCMP_ACT_ALLOW, SYS_clone, 0, SCMP_CMP_MASKED_EQ, CLONE_THREAD | NEW_NAMESPACES, CLONE_THREAD);
	rule_if(ctx, SCMP_ACT_ERRNO(EPERM), SYS_clone, 0, SCMP_CMP_MASKED_EQ, CLONE_THREAD, 0);
}

/* Opening files is allowed when it can only read them: one rule for each forbidden combination, as flags are bits. */
static void rules_open(scmp_filter_ctx ctx, int nr, unsigned arg)
{
	const scmp_datum_t mask = O_ACCMODE | O_CREAT | O_TRUNC;

	for (scmp_datum_t bits = 0; bits <= mask; bits++)
		if (!(bits & ~mask))
			rule_if(ctx, bits ? SCMP_ACT_ERRNO(EACCES) : SCMP_ACT_ALLOW, nr, arg, SCMP_CMP_MASKED_EQ, mask, bits);
}

static void rules_host(scmp_filter_ctx ctx)
{
	allow(ctx, allowed_host, sizeof(allowed_host) / sizeof(allowed_host[0]));
	for (size_t i = 0; i < sizeof(probed_host) / sizeof(probed_host[0]); i++)
		rule(seccomp_rule_add(ctx, SCMP_ACT_ERRNO(probed_host[i].error), probed_host[i].nr, 0));
	rules_open(ctx, SYS_open, 1);
	rules_open(ctx, SYS_openat, 2);
	rule_if(ctx, SCMP_ACT_ALLOW, SYS_clone, 0, SCMP_CMP_MASKED_EQ, NEW_NAMESPACES, 0);
}

static void install_filter(bool host)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_KILL_PROCESS);

	if (!ctx)
		fail("the seccomp filter", ENOMEM);
	rule(seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS));
	rule(seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2));
	allow(ctx, allowed, sizeof(allowed) / sizeof(allowed[0]));
	allow_exec(ctx);
	rule(seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOSYS), SYS_clone3, 0));
	if (host)
		rules_host(ctx);
	else
		rules_none(ctx);
	rule(seccomp_load(ctx));
	seccomp_release(ctx);
}

/* --- the exec ---------------------------------------------------------------------------------------------------- */

/* The kernel gives a script's interpreter /dev/fd/N to open: then the program's fd has to stay. */
static void prepare_program_fd(bool host)
{
	char magic[2] = "";
	bool script = pread(STAGE_PROGRAM_FD, magic, 2, 0) == 2 && magic[0] == '#' && magic[1] == '!';

	if (script && !host)
		fail("a script needs an interpreter: set \"runtime\": \"host\"", 0);
	if (!script && fcntl(STAGE_PROGRAM_FD, F_SETFD, FD_CLOEXEC))
		fail("the program", errno);
	if (fcntl(STAGE_REPORT_FD, F_SETFD, FD_CLOEXEC))
		fail("the report pipe", errno);
}

static const char help_text[] =
	"usage: capstan-vatd --runtime=none|host [--insecure-no-seccomp] -- NAME [ARG...]\n"
	"\n"
	"The first stage of a vat, started by capstand and by nothing else. Options:\n"
	"  --runtime=none          the program is static and sees no file\n"
	"  --runtime=host          the program may read the host's files, as interpreters must\n"
	"  --insecure-no-seccomp   no system call filter: for tests\n"
	"  --help                  this text\n"
	"  --version               the version\n";

static _Noreturn void usage(int status)
{
	fputs(help_text, status ? stderr : stdout);
	fflush(stdout);
	_exit(status);
}

static char **parse(int argc, char **argv, bool *hostp, bool *insecurep)
{
	bool runtime = false;
	int i;

	for (i = 1; i < argc && strcmp(argv[i], "--"); i++) {
		if (!strcmp(argv[i], "--help"))
			usage(0);
		if (!strcmp(argv[i], "--version")) {
			puts("capstan-vatd " CAPSTAN_VERSION);
			fflush(stdout);
			_exit(0);
		}
		if (!strcmp(argv[i], "--insecure-no-seccomp"))
			*insecurep = true;
		else if (!strcmp(argv[i], "--runtime=none") || !strcmp(argv[i], "--runtime=host"))
			runtime = true, *hostp = !strcmp(argv[i], "--runtime=host");
		else
			usage(2);
	}
	if (!runtime || i + 1 >= argc)
		usage(2);
	return argv + i + 1;
}

int main(int argc, char **argv)
{
	static char *const no_environment[] = { NULL };
	bool host = false, insecure = false;
	char **program = parse(argc, argv, &host, &insecure);
	uint32_t isolation;

	check_fds();
	isolation = check_privileges();
	prepare_program_fd(host);
	if (!insecure) {
		install_filter(host);
		isolation |= SPAWN_ISO_SECCOMP;
	}
	report(isolation);
	syscall(SYS_execveat, STAGE_PROGRAM_FD, "", program, no_environment, AT_EMPTY_PATH);
	if (errno == ENOENT && !host)	/* the program is there: what is not is the loader that it names */
		fail("cannot execute the program: it is not linked statically (-static), and sees no libraries here", 0);
	fail("cannot execute the program", errno);
}
