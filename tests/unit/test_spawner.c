/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The spawner, run in a child of this test, which plays the broker at the other end of the socket pair. Vats are
 * tests/vats/vat_probe.c. Needs root, as the spawner does: skipped otherwise.
 *
 * Every wait is for an event with a deadline (a receive timeout and an alarm), so a hang is a failure.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <cmocka.h>

#include "../../broker/fsmount.h"
#include "../../broker/spawner.h"
#include "../../lib/util.h"

#define UID_BASE	0x7FFD0000u	/* the last block: no instance gets there */
#define FS_UID		0x6FFFFFFEu
#define DEADLINE_S	20
#define ISO_ALL		(SPAWN_ISO_UID | SPAWN_ISO_NOCAPS | SPAWN_ISO_NNP | SPAWN_ISO_FDS | SPAWN_ISO_SECCOMP | \
			 SPAWN_ISO_NAMESPACES | SPAWN_ISO_RLIMITS)

static char build_dir[4000];

/* What a test's spawner is configured with, besides base_config(). */
struct wish {
	bool no_mount, world, listens;
	bool null_fuse;		/* /dev/fuse is no such device */
	bool stale;		/* a dead mount is there when it starts */
	const char *hide;
	int send_buffer;
};

struct fixture {
	pid_t spawner;
	int fd;			/* the broker's end */
	char run[64];
	int run_fd;
};

/* --- helpers ----------------------------------------------------------------------------------------------------- */

static int open_built(const char *name)
{
	char path[4200];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", build_dir, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		fail_msg("%s: %s", path, strerror(errno));
	return fd;
}

static void set_deadline(int fd)
{
	struct timeval tv = { .tv_sec = DEADLINE_S };

	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)), 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv)), 0);
}

/* A sealed memfd with the bytes of a file, or of a text. */
static int sealed(int from, const char *text, int seals)
{
	int fd = memfd_create("probe", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	char buf[65536];
	ssize_t n;

	assert_true(fd >= 0);
	while (from >= 0 && (n = read(from, buf, sizeof(buf))) > 0)
		assert_int_equal(write(fd, buf, n), n);
	if (text)
		assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	closep(&from);
	assert_int_equal(fchmod(fd, 0755), 0);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, seals), 0);
	return fd;
}

#define SEALS (F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK)
static int probe_program(void) { return sealed(open_built("vats/vat_probe"), NULL, SEALS); }

static void send_bytes(int fd, const void *data, size_t len, const int *fds, size_t n_fds)
{
	union { char buf[CMSG_SPACE(40 * sizeof(int))]; struct cmsghdr align; } control = { { 0 } };
	struct iovec iov = { (void *)data, len };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *c;

	if (n_fds) {
		m.msg_control = &control;
		m.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
		c = CMSG_FIRSTHDR(&m);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
		memcpy(CMSG_DATA(c), fds, n_fds * sizeof(int));
	}
	assert_int_equal(sendmsg(fd, &m, MSG_NOSIGNAL), len);
}

static void request(int fd, const struct spawn_request *rq, const int *fds, size_t n_fds)
{
	send_bytes(fd, rq, sizeof(*rq), fds, n_fds);
}

static struct spawn_event event(int fd)
{
	struct spawn_event ev;

	assert_int_equal(recv(fd, &ev, sizeof(ev), 0), sizeof(ev));
	return ev;
}

static struct spawn_request vat_request(uint64_t vat, uint32_t uid_offset)
{
	struct spawn_request rq = { .op = SPAWN_VAT, .vat = vat, .incarnation = 3, .uid_offset = uid_offset, .n_args = 2 };

	memcpy(rq.text, "alice\0x", 8);
	rq.text_len = 8;
	return rq;
}

static void new_channel(int pair[2])
{
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	set_deadline(pair[0]);
}

/* Ask for a vat; returns our end of its channel. */
static int start_with(int fd, const struct spawn_request *rq, int program, struct spawn_event *evp)
{
	int pair[2];

	new_channel(pair);
	request(fd, rq, (int[]){ pair[1], program }, 2);
	close(pair[1]);
	close(program);
	*evp = event(fd);
	return pair[0];
}

static int start_probe(int fd, uint64_t vat, uint32_t uid_offset, pid_t *pidp)
{
	struct spawn_request rq = vat_request(vat, uid_offset);
	struct spawn_event ev;
	int channel = start_with(fd, &rq, probe_program(), &ev);

	assert_string_equal(ev.text, "");
	assert_int_equal(ev.kind, SPAWN_STARTED);
	assert_int_equal(ev.vat, vat);
	assert_int_equal(ev.incarnation, 3);
	*pidp = ev.pid;
	return channel;
}

static void hear(int channel, char *text, size_t size)
{
	ssize_t n = recv(channel, text, size - 1, 0);

	assert_true(n >= 0);
	text[n] = '\0';
}

static void tell(int channel, char c) { assert_int_equal(send(channel, &c, 1, MSG_NOSIGNAL), 1); }

static void expect_reply(int channel, char command, const char *reply)
{
	char text[4096];

	tell(channel, command);
	hear(channel, text, sizeof(text));
	assert_string_equal(text, reply);
}

static void expect_exit(int fd, uint64_t vat, pid_t pid, int status)
{
	struct spawn_event ev = event(fd);

	assert_int_equal(ev.kind, SPAWN_EXITED);
	assert_int_equal(ev.vat, vat);
	assert_int_equal(ev.incarnation, 3);
	assert_int_equal(ev.pid, pid);
	assert_int_equal(ev.status, status);
}

static bool status_line(pid_t pid, const char *key, char *value, size_t size)
{
	char path[64], line[256];
	bool found = false;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	f = fopen(path, "re");
	while (f && !found && fgets(line, sizeof(line), f))
		if (!strncmp(line, key, strlen(key)) && line[strlen(key)] == ':') {
			snprintf(value, size, "%s", line + strlen(key) + 2);
			value[strcspn(value, "\n")] = '\0';
			found = true;
		}
	if (f)
		fclose(f);
	return found;
}

static void assert_status(pid_t pid, const char *key, const char *want)
{
	char value[256];

	assert_true(status_line(pid, key, value, sizeof(value)));
	assert_string_equal(value, want);
}

/* --- the spawner in a child -------------------------------------------------------------------------------------- */

static struct spawner_config base_config(int run_fd, struct jail *jail, const struct wish *w)
{
	static char *const no_environment[] = { NULL };

	return (struct spawner_config){
		.vatd_fd = open_built("bin/capstan-vatd"), .fs_exe_fd = open_built("vats/vat_probe"), 
		.mount = { .run_fd = run_fd, .world = w->world }, .no_mount = w->no_mount, .fs_hide = w->hide,
		.fs_listen_fd = w->listens ? socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0) : -1,
		.privileged = true, .uid_base = UID_BASE, .fs_uid = FS_UID, .service_env = no_environment, .jail = jail,
		.max_broker_deaths = 3,
	};
}

/* In a mount table of its own. */
static void spoil_fuse(void)
{
	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("/dev/null", "/dev/fuse", NULL, MS_BIND, NULL))
		_exit(98);
}

static _Noreturn void spawner_child(int run_fd, int fd, const struct wish *w)
{
	struct jail jail = JAIL_INIT;
	struct spawner_config config = base_config(run_fd, &jail, w);
	static struct spawner s;
	int r;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	alarm(3 * DEADLINE_S);
	log_init("test_spawner[child]");
	if (w->null_fuse)
		spoil_fuse();
	r = jail_build(&jail);
	if (!r)
		r = spawner_init(&s, &config, fd);
	if (!r)
		r = spawner_run(&s);
	spawner_deinit(&s);
	jail_deinit(&jail);
	_exit(r < 0 ? 99 : r);
}

/* As a capstan-fs leaves it that was killed with its spawner. */
static int mount_stale(const char *run)
{
	_cleanup_close_ int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	char path[80], options[80];

	snprintf(path, sizeof(path), "%s/" FSMOUNT_NAME, run);
	snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=0,group_id=0", fd);
	return mkdir(path, 0755) || mount("capstan", path, "fuse.capstan", MS_RDONLY, options) ? -1 : 0;
}

static int setup_with(void **state, const struct wish *w)
{
	struct fixture *f = calloc(1, sizeof(*f));
	int pair[2];

	snprintf(f->run, sizeof(f->run), "/tmp/test-spawner-XXXXXX");
	if (!mkdtemp(f->run))
		return -1;
	f->run_fd = open(f->run, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (f->run_fd < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return -1;
	if (w->send_buffer && setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &w->send_buffer, sizeof(w->send_buffer)))
		return -1;
	if (w->stale && access("/dev/fuse", F_OK) == 0 && mount_stale(f->run))
		return -1;
	f->spawner = fork();
	if (f->spawner == 0) {
		close(pair[0]);
		spawner_child(f->run_fd, pair[1], w);
	}
	close(pair[1]);
	f->fd = pair[0];
	set_deadline(f->fd);
	alarm(2 * DEADLINE_S);
	*state = f;
	return f->spawner < 0;
}

static int setup(void **state) { return setup_with(state, &(struct wish){ 0 }); }
static int setup_small_buffer(void **state) { return setup_with(state, &(struct wish){ .send_buffer = 1 }); }	/* the least */
static int setup_no_mount(void **state) { return setup_with(state, &(struct wish){ .no_mount = true, .listens = true, .stale = true }); }
static int setup_null_fuse(void **state)
{
	return setup_with(state, &(struct wish){ .null_fuse = true, .listens = true, .world = true, .hide = "values,logs" });
}

/* The broker's end of file is its exit: the spawner must leave cleanly by itself. */
static int teardown(void **state)
{
	struct fixture *f = *state;
	int status = -1, r = 0;

	closep(&f->fd);
	if (f->spawner > 0)
		r = waitpid(f->spawner, &status, 0) != f->spawner || status != 0;
	alarm(0);
	fsmount_detach(&(struct fsmount){ .run_fd = f->run_fd });
	unlinkat(f->run_fd, FSMOUNT_NAME, AT_REMOVEDIR);
	close(f->run_fd);
	rmdir(f->run);
	free(f);
	return r;
}

/* --- tests ------------------------------------------------------------------------------------------------------- */

/* A vat's process, seen from inside and from outside. */
static void vat_is_jailed(void **state)
{
	struct fixture *f = *state;
	struct spawn_request rq = vat_request(1, 7);
	char text[4096], want[256];
	struct spawn_event ev;
	int channel = start_with(f->fd, &rq, probe_program(), &ev);

	assert_string_equal(ev.text, "");
	assert_int_equal(ev.isolation, ISO_ALL);
	hear(channel, text, sizeof(text));
	snprintf(want, sizeof(want), "uid=%1$u,%1$u,%1$u gid=%1$u,%1$u,%1$u groups=0 pid=1 env= fds=3, args=alice,x,", UID_BASE + 7);
	assert_string_equal(text, want);
	for (size_t i = 0; i < 5; i++)
		assert_status(ev.pid, (const char *[]){ "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb" }[i], "0000000000000000");
	assert_status(ev.pid, "NoNewPrivs", "1");
	assert_status(ev.pid, "Seccomp", "2");
	assert_status(ev.pid, "SigIgn", "0000000000000000");
	assert_status(ev.pid, "SigBlk", "0000000000000000");
	expect_reply(channel, 'o', "open EACCES");
	expect_reply(channel, 'f', "fork EPERM");
	expect_reply(channel, 't', "thread EAGAIN");
	expect_reply(channel, 'i', "ioctl ENOTTY");
	expect_reply(channel, 'd', "dup EBADF");
	expect_reply(channel, 'k', "tgkill EPERM");	/* nobody else's, not even where pids are the host's */
	expect_reply(channel, 'K', "tgkill ok");
	expect_reply(channel, 'x', "execveat EBADF");	/* exec was possible once: that number is gone for ever */
	tell(channel, 'q');
	expect_exit(f->fd, 1, ev.pid, 7 << 8);
	close(channel);
}

/* What no vat may even try ends it. */
static void vat_dies_of_forbidden_calls(void **state)
{
	struct fixture *f = *state;
	pid_t pid;
	char text[4096];

	for (const char *c = "smX"; *c; c++) {
		int channel = start_probe(f->fd, 1, 7, &pid);

		hear(channel, text, sizeof(text));
		tell(channel, *c);
		expect_exit(f->fd, 1, pid, SIGSYS);
		close(channel);
	}
}

struct bad { const char *why; void (*spoil)(struct spawn_request *rq, int *fds, size_t *n_fds); };

static int spare_fd;	/* what a spoiler put in, closed by the test */
static void use_fd(int *fds, int i, int fd) { assert_true(fd >= 0); fds[i] = spare_fd = fd; }

static void bad_op(struct spawn_request *rq, int *fds, size_t *n) { (void)fds, (void)n; rq->op = 77; }
static void bad_vat(struct spawn_request *rq, int *fds, size_t *n) { (void)fds, (void)n; rq->vat = 0; }
static void bad_runtime(struct spawn_request *rq, int *fds, size_t *n) { (void)fds, (void)n; rq->runtime = 2; }
static void bad_zero(struct spawn_request *rq, int *fds, size_t *n) { (void)fds, (void)n; rq->zero = 1; }
static void bad_uid(struct spawn_request *rq, int *fds, size_t *n) { (void)fds, (void)n; rq->uid_offset = 65536; }
static void bad_uid_wrap(struct spawn_request *rq, int *fds, size_t *n) { (void)fds, (void)n; rq->uid_offset = 0u - UID_BASE; }
static void bad_no_args(struct spawn_request *rq, int *fds, size_t *n) { (void)fds, (void)n; rq->n_args = 0; }
static void bad_many_args(struct spawn_request *rq, int *fds, size_t *n) { (void)fds, (void)n; rq->n_args = UINT32_MAX; }
static void bad_arg_count(struct spawn_request *rq, int *fds, size_t *n) { (void)fds, (void)n; rq->n_args = 3; }
static void bad_few_args(struct spawn_request *rq, int *fds, size_t *n) { (void)fds, (void)n; rq->n_args = 1; }
static void bad_text_len(struct spawn_request *rq, int *fds, size_t *n) { (void)fds, (void)n; rq->text_len = SPAWN_TEXT + 1; }
static void bad_text_huge(struct spawn_request *rq, int *fds, size_t *n) { (void)fds, (void)n; rq->text_len = UINT32_MAX; }
static void bad_text_end(struct spawn_request *rq, int *fds, size_t *n) { (void)fds, (void)n; rq->text_len = 7; }
static void bad_n_files(struct spawn_request *rq, int *fds, size_t *n) { (void)fds, (void)n; rq->n_files = SPAWN_MAX_FILES + 1; }
static void bad_file_count(struct spawn_request *rq, int *fds, size_t *n)
{
	(void)fds, (void)n;
	rq->n_args = 1;
	rq->n_files = 1;	/* "x", but no fd for it */
}
static void bad_file_name(struct spawn_request *rq, int *fds, size_t *n)
{
	bad_file_count(rq, fds, n);
	memcpy(rq->text, "alice\0../a", 11);
	rq->text_len = 11;
	use_fd(fds, 2, open("/etc/passwd", O_RDONLY | O_CLOEXEC));
	*n = 3;
}
static void bad_file_dir(struct spawn_request *rq, int *fds, size_t *n)
{
	bad_file_count(rq, fds, n);
	use_fd(fds, 2, open("/etc", O_RDONLY | O_CLOEXEC));
	*n = 3;
}
static void bad_file_rw(struct spawn_request *rq, int *fds, size_t *n)
{
	bad_file_count(rq, fds, n);
	use_fd(fds, 2, memfd_create("rw", MFD_CLOEXEC));
	*n = 3;
}
static void bad_no_fds(struct spawn_request *rq, int *fds, size_t *n) { (void)rq, (void)fds; *n = 0; }
static void bad_one_fd(struct spawn_request *rq, int *fds, size_t *n) { (void)rq, (void)fds; *n = 1; }
static void bad_extra_fd(struct spawn_request *rq, int *fds, size_t *n) { (void)rq; fds[2] = fds[0]; *n = 3; }
static void bad_channel(struct spawn_request *rq, int *fds, size_t *n) { (void)rq, (void)n; fds[0] = fds[1]; }
static void bad_stream(struct spawn_request *rq, int *fds, size_t *n)
{
	(void)rq, (void)n;
	use_fd(fds, 0, socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
}
static void bad_program(struct spawn_request *rq, int *fds, size_t *n) { (void)rq, (void)n; fds[1] = fds[0]; }
static void bad_program_file(struct spawn_request *rq, int *fds, size_t *n)
{
	(void)rq, (void)n;
	use_fd(fds, 1, open_built("vats/vat_probe"));
}
static void bad_seals(struct spawn_request *rq, int *fds, size_t *n)
{
	(void)rq, (void)n;
	use_fd(fds, 1, sealed(open_built("vats/vat_probe"), NULL, F_SEAL_GROW | F_SEAL_SHRINK));
}
static void bad_garbage(struct spawn_request *rq, int *fds, size_t *n)
{
	(void)rq, (void)n;
	use_fd(fds, 1, sealed(-1, "not a program", SEALS));
}
static void bad_script(struct spawn_request *rq, int *fds, size_t *n)
{
	(void)rq, (void)n;
	use_fd(fds, 1, sealed(-1, "#!/bin/sh\n", SEALS));
}
static void bad_interpreter(struct spawn_request *rq, int *fds, size_t *n)
{
	(void)n;
	rq->runtime = RUNTIME_HOST;
	use_fd(fds, 1, sealed(-1, "#!/no/such/interpreter\n", SEALS));
}
static void bad_nofile(struct spawn_request *rq, int *fds, size_t *n) { (void)fds, (void)n; rq->limits.n_files = 501; }
static void bad_nofile_low(struct spawn_request *rq, int *fds, size_t *n) { (void)fds, (void)n; rq->limits.n_files = 3; }
static void bad_memory(struct spawn_request *rq, int *fds, size_t *n) { (void)fds, (void)n; rq->limits.memory = 4096; }
static void bad_live_vat(struct spawn_request *rq, int *fds, size_t *n) { (void)fds, (void)n; rq->vat = 1; }
static void bad_live_uid(struct spawn_request *rq, int *fds, size_t *n) { (void)fds, (void)n; rq->uid_offset = 1; }
static void bad_kill_fds(struct spawn_request *rq, int *fds, size_t *n) { (void)fds, (void)n; rq->op = SPAWN_KILL; }

static const struct bad bad_requests[] = {
	{ "unknown request", bad_op }, { "vat 0", bad_vat }, { "unknown runtime", bad_runtime }, { "unknown runtime", bad_zero },
	{ "outside of this instance's block", bad_uid }, { "outside of this instance's block", bad_uid_wrap },
	{ "number of arguments", bad_no_args }, { "number of arguments", bad_many_args },
	{ "does not hold", bad_arg_count }, { "does not hold", bad_few_args }, { "does not hold", bad_text_len },
	{ "does not hold", bad_text_huge }, { "does not hold", bad_text_end },
	{ "too many companion files", bad_n_files }, { "number of file descriptors", bad_file_count },
	{ "name is not one", bad_file_name }, { "not a regular file", bad_file_dir },
	{ "not open for reading only", bad_file_rw },
	{ "wrong number", bad_no_fds }, { "wrong number", bad_one_fd }, { "number of file descriptors", bad_extra_fd },
	{ "not a Unix seqpacket", bad_channel }, { "not a Unix seqpacket", bad_stream }, { "not a memfd", bad_program },
	{ "not a memfd", bad_program_file }, { "not sealed", bad_seals },
	{ "cannot execute the program", bad_garbage }, { "\"runtime\": \"host\"", bad_script },
	{ "cannot execute the program", bad_interpreter },
	{ "limit of open files", bad_nofile }, { "limit of open files", bad_nofile_low }, { "", bad_memory },
	{ "has a live process", bad_live_vat }, { "belongs to a live process", bad_live_uid },
	{ "wrong number", bad_kill_fds },
};

static void refuse_one(struct fixture *f, const struct bad *bad)
{
	struct spawn_request rq = vat_request(2, 2);
	struct spawn_event ev;
	int pair[2], program = probe_program(), fds[3];
	size_t n_fds = 2;
	char byte;

	new_channel(pair);
	fds[0] = pair[1];
	fds[1] = program;
	fds[2] = -1;
	spare_fd = -1;
	bad->spoil(&rq, fds, &n_fds);
	request(f->fd, &rq, fds, n_fds);
	close(pair[1]);
	ev = event(f->fd);
	if (ev.kind != SPAWN_FAILED || !*ev.text || !strstr(ev.text, bad->why))
		fail_msg("case %zd: kind %u, \"%s\"", bad - bad_requests, ev.kind, ev.text);
	assert_int_equal(ev.vat, rq.vat);
	/* No process holds the other end, and the spawner kept nothing. */
	assert_int_equal(recv(pair[0], &byte, 1, 0), 0);
	close(pair[0]);
	close(program);
	closep(&spare_fd);
}

static size_t count_fds(pid_t pid)
{
	char path[64];
	size_t n = 0;

	for (int fd = 0; fd < 1024; fd++) {
		snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, fd);
		n += faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
	}
	return n;
}

/* Each field wrong in turn: a sentence, no process, no fd left; and the vat that lives is not disturbed. */
/*
 * The spawner answers a request before it has closed what came with it. When it answers this one, which brings nothing, it
 * is done with all earlier ones and its fds can be counted.
 */
static size_t count_settled_fds(struct fixture *f)
{
	struct spawn_event ev;

	send_bytes(f->fd, "", 1, NULL, 0);
	ev = event(f->fd);
	assert_int_equal(ev.kind, SPAWN_FAILED);
	return count_fds(f->spawner);
}

static void bad_requests_are_refused(void **state)
{
	struct fixture *f = *state;
	char text[4096];
	size_t n_fds;
	pid_t pid;
	int channel = start_probe(f->fd, 1, 1, &pid);

	hear(channel, text, sizeof(text));
	n_fds = count_settled_fds(f);
	for (size_t i = 0; i < ARRAY_LEN(bad_requests); i++)
		refuse_one(f, &bad_requests[i]);
	assert_int_equal(count_settled_fds(f), n_fds);
	expect_reply(channel, 'o', "open EACCES");
	close(channel);
	expect_exit(f->fd, 1, pid, 0);
}

static void odd_sizes_are_refused(void **state)
{
	struct fixture *f = *state;
	static char big[sizeof(struct spawn_request) + 1];
	const size_t sizes[] = { 1, 4, sizeof(struct spawn_request) - 1, sizeof(struct spawn_request) + 1 };
	struct spawn_event ev;

	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		send_bytes(f->fd, big, sizes[i], &f->run_fd, 1);
		ev = event(f->fd);
		assert_int_equal(ev.kind, SPAWN_FAILED);
		assert_string_equal(ev.text, "a request of the wrong size");
	}
}

/* A number and a uid are free again when the process is reaped, and the broker hears of it first. */
static void kill_frees_vat_and_uid(void **state)
{
	struct fixture *f = *state;
	struct spawn_request rq = { .op = SPAWN_KILL, .vat = 1, .incarnation = 2 };
	char text[4096];
	pid_t pid;
	int channel = start_probe(f->fd, 1, 7, &pid);

	hear(channel, text, sizeof(text));
	request(f->fd, &rq, NULL, 0);			/* another incarnation: not this process */
	rq.vat = 9;
	request(f->fd, &rq, NULL, 0);			/* no such vat */
	expect_reply(channel, 'o', "open EACCES");
	rq.vat = 1;
	rq.incarnation = 3;
	request(f->fd, &rq, NULL, 0);
	expect_exit(f->fd, 1, pid, SIGKILL);
	close(channel);
	channel = start_probe(f->fd, 1, 7, &pid);
	assert_int_equal(kill(pid, SIGKILL), 0);	/* and by somebody else */
	expect_exit(f->fd, 1, pid, SIGKILL);
	close(channel);
}

static int companion(struct fixture *f, const char *text)
{
	int fd = openat(f->run_fd, "words", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
	fd = openat(f->run_fd, "words", O_RDONLY | O_CLOEXEC);
	unlinkat(f->run_fd, "words", 0);
	return fd;
}

static void companion_files_follow_the_channel(void **state)
{
	struct fixture *f = *state;
	struct spawn_request rq = vat_request(1, 7);
	int pair[2], file = companion(f, "lorem"), program = probe_program();
	struct spawn_event ev;
	char text[4096];

	rq.n_args = 1;
	rq.n_files = 1;
	new_channel(pair);
	request(f->fd, &rq, (int[]){ pair[1], program, file }, 3);
	close(pair[1]);
	close(program);
	close(file);
	ev = event(f->fd);
	assert_string_equal(ev.text, "");
	hear(pair[0], text, sizeof(text));
	assert_non_null(strstr(text, "fds=3,4, args=alice,"));
	expect_reply(pair[0], 'c', "lorem");
	close(pair[0]);
	expect_exit(f->fd, 1, ev.pid, 0);
}

/*
 * `runtime host`: an interpreter finds its libraries and its companion files, and nothing else of the host. What the
 * script may not do says so on the channel before the last line.
 */
static const char host_script[] =
	"#!/bin/sh\n"
	"say() { echo \"$*\" >&3; }\n"
	"for f in /etc/hostname /etc/passwd /root /home /var /run /sys /dev/fuse; do [ -e $f ] && say sees $f; done\n"
	"for d in / /tmp /vat /usr /dev /etc; do (exec 2>&-; echo x > $d/new) && say writes in $d; done\n"
	"for p in /proc/[0-9]*; do [ $p = /proc/1 ] || [ $p = /proc/$$ ] || say sees $p; done\n"
	"say \"$(id -u) $1 $(cat /vat/words) $(ls /vat) $(readlink /proc/self/exe | wc -l)\"\n";

static void scripts_run_with_the_host_runtime(void **state)
{
	struct fixture *f = *state;
	struct spawn_request rq = vat_request(1, 7);
	int pair[2], program = sealed(-1, host_script, SEALS), file = companion(f, "lorem");
	char text[4096], want[64];
	struct spawn_event ev;

	rq.runtime = RUNTIME_HOST;
	rq.n_files = 1;
	memcpy(rq.text, "alice\0x\0words", 14);
	rq.text_len = 14;
	new_channel(pair);
	request(f->fd, &rq, (int[]){ pair[1], program, file }, 3);
	close(pair[1]);
	close(program);
	close(file);
	ev = event(f->fd);
	assert_string_equal(ev.text, "");
	assert_int_equal(ev.isolation, ISO_ALL & ~SPAWN_ISO_NAMESPACES);
	hear(pair[0], text, sizeof(text));
	snprintf(want, sizeof(want), "%u x lorem words 1\n", UID_BASE + 7);
	assert_string_equal(text, want);
	close(pair[0]);
	expect_exit(f->fd, 1, ev.pid, 0);
}

/* A broker that does not read stops its own requests, loses no event and sees them in order. */
#define N_SLOW 14	/* more events than the small buffer takes, and no more requests than the socket's */
static void events_wait_for_a_slow_broker(void **state)
{
	struct fixture *f = *state;
	int program = probe_program(), channels[N_SLOW][2];
	struct spawn_event ev;

	for (uint64_t i = 0; i < N_SLOW; i++) {
		struct spawn_request rq = vat_request(i + 1, i);

		new_channel(channels[i]);
		request(f->fd, &rq, (int[]){ channels[i][1], program }, 2);
		close(channels[i][1]);
	}
	for (uint64_t i = 0; i < N_SLOW; i++) {
		ev = event(f->fd);
		assert_int_equal(ev.kind, SPAWN_STARTED);
		assert_int_equal(ev.vat, i + 1);
	}
	for (size_t i = 0; i < N_SLOW; i++)
		close(channels[i][0]);
	for (size_t i = 0; i < N_SLOW; i++)
		assert_int_equal(event(f->fd).kind, SPAWN_EXITED);
	close(program);
}

static void sigterm_asks_the_broker_to_stop(void **state)
{
	struct fixture *f = *state;
	struct spawn_request rq = vat_request(2, 8);
	struct spawn_event ev;
	char text[4096], byte;
	pid_t pid;
	int channel = start_probe(f->fd, 1, 7, &pid);

	hear(channel, text, sizeof(text));
	assert_int_equal(kill(f->spawner, SIGTERM), 0);
	assert_int_equal(event(f->fd).kind, SPAWN_STOP);
	close(start_with(f->fd, &rq, probe_program(), &ev));
	assert_string_equal(ev.text, "the kernel is stopping");
	expect_reply(channel, 'o', "open EACCES");	/* vats live until the broker has committed */
	closep(&f->fd);
	f->fd = -1;
	assert_int_equal(recv(channel, &byte, 1, 0), 0);
	close(channel);
}

/* Architecture 1: when the spawner dies all die. */
static void spawners_death_ends_the_vats(void **state)
{
	struct fixture *f = *state;
	char text[4096], byte;
	pid_t pid;
	int channel = start_probe(f->fd, 1, 7, &pid), status;

	hear(channel, text, sizeof(text));
	assert_int_equal(kill(f->spawner, SIGKILL), 0);
	assert_int_equal(recv(channel, &byte, 1, 0), 0);
	assert_int_equal(waitpid(f->spawner, &status, 0), f->spawner);
	f->spawner = 0;
	close(channel);
}

static void request_mount(struct fixture *f, int data, int page, int pair[2])
{
	struct spawn_request rq = { .op = SPAWN_MOUNT };

	new_channel(pair);
	request(f->fd, &rq, (int[]){ data, pair[1], page }, 3);
	close(pair[1]);
}

static int data_file(struct fixture *f)
{
	int fd = openat(f->run_fd, "data.mdb", O_RDWR | O_CREAT | O_CLOEXEC, 0640);

	assert_true(fd >= 0);
	assert_int_equal(fchown(fd, FS_UID - 1, FS_UID), 0);
	assert_int_equal(fchmod(fd, 0640), 0);
	close(fd);
	fd = openat(f->run_fd, "data.mdb", O_RDONLY | O_CLOEXEC);
	unlinkat(f->run_fd, "data.mdb", 0);
	return fd;
}

static bool is_fuse_mount(struct fixture *f)
{
	char line[4096];
	bool found = false;
	FILE *mounts = fopen("/proc/self/mounts", "re");

	while (mounts && fgets(line, sizeof(line), mounts))
		found |= strstr(line, f->run) && strstr(line, " fuse.capstan ro,nosuid,nodev,noexec");
	if (mounts)
		fclose(mounts);
	return found;
}

static bool is_in_our_network(pid_t pid)
{
	char path[64];
	struct stat theirs, ours;

	snprintf(path, sizeof(path), "/proc/%d/ns/net", pid);
	assert_int_equal(stat(path, &theirs) | stat("/proc/self/ns/net", &ours), 0);
	return theirs.st_ino == ours.st_ino;
}

/* capstan-fs: an own user who can read data.mdb through its group and not write it; gone with its mount. */
static void mount_starts_capstan_fs(void **state)
{
	struct fixture *f = *state;
	int data = data_file(f), pair[2], again[2];
	int page = sealed(-1, "page", F_SEAL_FUTURE_WRITE | F_SEAL_SHRINK | F_SEAL_GROW);
	char text[4096], want[256];
	struct spawn_event ev;

	if (access("/dev/fuse", F_OK))
		skip();
	request_mount(f, data, page, pair);
	ev = event(f->fd);
	assert_string_equal(ev.text, "");
	assert_int_equal(ev.kind, SPAWN_MOUNTED);
	hear(pair[0], text, sizeof(text));
	snprintf(want, sizeof(want), "fs uid=%u gid=%u groups=0 read=0 write=%d files=256 fds=data,lease,page,fuse, "
		 "--uid-block=1879048192-2147352575", FS_UID, FS_UID, EACCES);
	assert_string_equal(text, want);
	assert_false(is_in_our_network(ev.pid));
	assert_status(ev.pid, "CapPrm", "0000000000000000");
	assert_status(ev.pid, "CapBnd", "0000000000000000");
	assert_true(is_fuse_mount(f));
	request_mount(f, data, page, again);
	assert_int_equal(event(f->fd).kind, SPAWN_MOUNT_FAILED);
	close(again[0]);
	tell(pair[0], 'q');
	ev = event(f->fd);
	assert_int_equal(ev.kind, SPAWN_FS_EXITED);
	assert_int_equal(ev.status, 5 << 8);
	assert_false(is_fuse_mount(f));
	close(pair[0]);
	request_mount(f, data, page, pair);		/* the broker asks again, then wants it gone */
	assert_int_equal(event(f->fd).kind, SPAWN_MOUNTED);
	request(f->fd, &(struct spawn_request){ .op = SPAWN_UNMOUNT }, NULL, 0);
	assert_int_equal(event(f->fd).kind, SPAWN_FS_EXITED);
	assert_false(is_fuse_mount(f));
	close(pair[0]);
	close(data);
	close(page);
}

/* Without a mount it is started all the same, for its socket; a dead mount that it finds is cleaned up also then. */
static void no_mount_serves_the_socket(void **state)
{
	struct fixture *f = *state;
	int data = data_file(f), pair[2], watch = eventfd(0, EFD_CLOEXEC);
	int page = sealed(-1, "page", F_SEAL_FUTURE_WRITE | F_SEAL_SHRINK | F_SEAL_GROW);
	char text[4096];
	struct spawn_event ev;

	new_channel(pair);
	request(f->fd, &(struct spawn_request){ .op = SPAWN_MOUNT }, (int[]){ data, pair[1], page, watch }, 4);
	close(pair[1]);
	ev = event(f->fd);
	assert_int_equal(ev.kind, SPAWN_MOUNTED);
	assert_string_equal(ev.text, SPAWN_NO_MOUNT);
	hear(pair[0], text, sizeof(text));
	assert_non_null(strstr(text, " fds=data,lease,page,watch,serve, --uid-block="));
	assert_false(is_fuse_mount(f));
	close(pair[0]);
	close(watch);
	close(data);
	close(page);
}

static void impossible_mount_serves_the_socket(void **state)
{
	struct fixture *f = *state;
	int data = data_file(f), pair[2];
	int page = sealed(-1, "page", F_SEAL_FUTURE_WRITE | F_SEAL_SHRINK | F_SEAL_GROW);
	char text[4096];
	struct spawn_event ev;

	if (access("/dev/fuse", F_OK))
		skip();
	request_mount(f, data, page, pair);
	ev = event(f->fd);
	assert_int_equal(ev.kind, SPAWN_MOUNTED);
	assert_string_equal(ev.text, "cannot mount: Invalid argument");
	hear(pair[0], text, sizeof(text));
	assert_non_null(strstr(text, " fds=data,lease,page,serve, --world --hide=values,logs --uid-block="));
	close(pair[0]);
	close(data);
	close(page);
}

static void wait_until_it_hangs_in_fuse(pid_t pid)
{
	char path[64], text[64] = "";

	snprintf(path, sizeof(path), "/proc/%d/wchan", pid);
	while (!strstr(text, "fuse")) {	/* the alarm ends this */
		int fd = open(path, O_RDONLY | O_CLOEXEC);
		ssize_t n = read(fd, text, sizeof(text) - 1);

		assert_true(n >= 0);
		text[n] = '\0';
		close(fd);
		sched_yield();
	}
}

/* Whoever stops capstan-fs does not hold those who read there: they get an error, and the next mount serves. */
static void stopped_capstan_fs_is_replaced(void **state)
{
	struct fixture *f = *state;
	int data = data_file(f), pair[2], status;
	int page = sealed(-1, "page", F_SEAL_FUTURE_WRITE | F_SEAL_SHRINK | F_SEAL_GROW);
	struct spawn_event ev;
	char path[100];
	pid_t reader;

	if (access("/dev/fuse", F_OK))
		skip();
	request_mount(f, data, page, pair);
	ev = event(f->fd);
	assert_int_equal(ev.kind, SPAWN_MOUNTED);
	snprintf(path, sizeof(path), "%s/" FSMOUNT_NAME "/status", f->run);
	reader = fork();	/* which that one, being no server, never answers */
	if (reader == 0)
		_exit(open(path, O_RDONLY) < 0 ? 1 : 0);
	wait_until_it_hangs_in_fuse(reader);
	assert_int_equal(kill(ev.pid, SIGSTOP), 0);
	ev = event(f->fd);
	assert_int_equal(ev.kind, SPAWN_FS_EXITED);
	assert_int_equal(ev.status, SIGKILL);
	assert_int_equal(waitpid(reader, &status, 0), reader);
	assert_int_equal(status, 1 << 8);
	close(pair[0]);
	request_mount(f, data, page, pair);
	assert_int_equal(event(f->fd).kind, SPAWN_MOUNTED);
	assert_true(is_fuse_mount(f));
	close(pair[0]);
	close(data);
	close(page);
}

/* A vat or broker that is stopped goes on when it is told to: nobody waits for it without an end. */
static void stopped_vat_goes_on(void **state)
{
	struct fixture *f = *state;
	char text[4096];
	pid_t pid;
	int channel = start_probe(f->fd, 1, 7, &pid);

	hear(channel, text, sizeof(text));
	assert_int_equal(kill(pid, SIGSTOP), 0);
	close(start_probe(f->fd, 2, 8, &(pid_t){ 0 }));	/* the spawner has looked at its children meanwhile */
	assert_int_equal(kill(pid, SIGCONT), 0);
	expect_reply(channel, 'K', "tgkill ok");
	close(channel);
}

static void bad_mounts_are_refused(void **state)
{
	struct fixture *f = *state;
	int data = data_file(f), pair[2];
	int page = sealed(-1, "page", F_SEAL_FUTURE_WRITE | F_SEAL_SHRINK | F_SEAL_GROW);
	int loose = sealed(-1, "page", F_SEAL_GROW);
	struct spawn_event ev;

	request_mount(f, f->run_fd, page, pair);
	ev = event(f->fd);
	assert_int_equal(ev.kind, SPAWN_MOUNT_FAILED);
	assert_non_null(strstr(ev.text, "data.mdb"));
	close(pair[0]);
	request_mount(f, data, loose, pair);
	ev = event(f->fd);
	assert_int_equal(ev.kind, SPAWN_MOUNT_FAILED);
	assert_non_null(strstr(ev.text, "lease page"));
	close(pair[0]);
	new_channel(pair);
	request(f->fd, &(struct spawn_request){ .op = SPAWN_MOUNT }, (int[]){ data, pair[1], page, loose }, 4);
	ev = event(f->fd);
	assert_int_equal(ev.kind, SPAWN_MOUNT_FAILED);
	assert_non_null(strstr(ev.text, "eventfd"));
	close(pair[0]);
	close(pair[1]);
	assert_false(is_fuse_mount(f));
	close(data);
	close(page);
	close(loose);
}

/* --- the broker's life, with brokers made by start_broker -------------------------------------------------------- */

#define EMPTY_PACKET 200	/* sends one with a descriptor, waits until nobody has that any more, exits 0 */
#define ORPHANS 201		/* starts a script that starts processes, kills it, waits until all are gone, exits 0 */

struct broker_script {
	int exit_status[8];	/* of the n-th broker; 100 + SIG: dies by that signal; EMPTY_PACKET, … */
	int n_started;
	pid_t vat;		/* in shared memory: left alive by the first broker */
	bool vat_was_gone;
};

static _Noreturn void send_empty_packet(int fd)
{
	int ends[2];
	char c;

	if (pipe2(ends, O_CLOEXEC))
		_exit(1);
	send_bytes(fd, "", 0, &ends[1], 1);
	close(ends[1]);
	_exit(read(ends[0], &c, 1) != 0);
}

/* Its channel ends when the last process that has it does. */
static _Noreturn void make_orphans(int fd)
{
	static const char script[] = "#!/bin/sh\nsh -c 'sleep 999 & sleep 999' &\nsetsid sleep 999 &\necho up >&3\nexec sleep 999\n";
	struct spawn_request rq = vat_request(2, 8), end = { .op = SPAWN_KILL, .vat = 2, .incarnation = 3 };
	struct spawn_event ev;
	char text[16];
	int channel;

	rq.runtime = RUNTIME_HOST;
	channel = start_with(fd, &rq, sealed(-1, script, SEALS), &ev);
	assert_string_equal(ev.text, "");
	hear(channel, text, sizeof(text));
	assert_string_equal(text, "up\n");
	request(fd, &end, NULL, 0);
	expect_exit(fd, 2, ev.pid, SIGKILL);
	hear(channel, text, sizeof(text));
	_exit(text[0] != '\0');
}

static void scripted_broker(struct broker_script *b, int fd)
{
	int status = b->exit_status[b->n_started - 1];

	if (b->n_started == 1)
		start_probe(fd, 1, 7, &b->vat);	/* its channel stays open: only the spawner can end it */
	else
		b->vat_was_gone = kill(b->vat, 0) < 0 && errno == ESRCH;
	if (status == EMPTY_PACKET)
		send_empty_packet(fd);
	if (status == ORPHANS)
		make_orphans(fd);
	if (status >= 100)
		raise(status - 100);
	_exit(status);
}

static int start_scripted(void *ctx, int *fdp, pid_t *pidp)
{
	struct broker_script *b = ctx;
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	b->n_started++;
	*pidp = fork();
	if (*pidp == 0) {
		close(pair[0]);
		scripted_broker(b, pair[1]);
	}
	close(pair[1]);
	*fdp = pair[0];
	return 0;
}

static void run_script(const int *exit_status, size_t n, int want_started, int want_status)
{
	struct broker_script *b = mmap(NULL, sizeof(*b), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct spawner_config config;
	static struct spawner s;
	int status;
	pid_t pid;

	memcpy(b->exit_status, exit_status, n * sizeof(int));
	alarm(2 * DEADLINE_S);
	pid = fork();
	if (pid == 0) {
		struct jail jail = JAIL_INIT;
		int r;

		config = base_config(-1, &jail, &(struct wish){ 0 });
		config.start_broker = start_scripted;
		config.ctx = b;
		r = spawner_init(&s, &config, -1);
		if (!r)
			r = spawner_run(&s);
		spawner_deinit(&s);
		_exit(r < 0 ? 99 : r);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, want_status << 8);
	assert_int_equal(b->n_started, want_started);
	if (want_started > 1)
		assert_true(b->vat_was_gone);
	assert_true(kill(b->vat, 0) < 0 && errno == ESRCH);
	alarm(0);
	munmap(b, sizeof(*b));
}

static void broker_exit_0_ends_all(void **state)
{
	(void)state;
	run_script((int[]){ 0 }, 1, 1, 0);
}

static void broker_that_refuses_is_not_tried_again(void **state)
{
	(void)state;
	run_script((int[]){ SPAWNER_EXIT_REFUSED }, 1, 1, 1);
}

static void empty_packets_descriptors_are_closed(void **state)
{
	(void)state;
	run_script((int[]){ EMPTY_PACKET, 0 }, 2, 1, 0);
}

static void what_a_vat_started_ends_with_it(void **state)
{
	(void)state;
	run_script((int[]){ ORPHANS, 0 }, 2, 1, 0);
}

/* Architecture 1: its vats are reaped before the next one starts. */
static void dead_broker_is_replaced(void **state)
{
	(void)state;
	run_script((int[]){ 100 + SIGKILL, 1, 0 }, 3, 3, 0);
}

static void too_many_deaths_end_all(void **state)
{
	(void)state;
	run_script((int[]){ 100 + SIGKILL, 100 + SIGKILL, 1, 0 }, 4, 3, 1);
}

static void spawner_needs_root(void **state)
{
	(void)state;
	skip();
}

int main(void)
{
	const struct CMUnitTest unprivileged[] = { cmocka_unit_test(spawner_needs_root) };
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(vat_is_jailed, setup, teardown),
		cmocka_unit_test_setup_teardown(vat_dies_of_forbidden_calls, setup, teardown),
		cmocka_unit_test_setup_teardown(bad_requests_are_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(odd_sizes_are_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(kill_frees_vat_and_uid, setup, teardown),
		cmocka_unit_test_setup_teardown(companion_files_follow_the_channel, setup, teardown),
		cmocka_unit_test_setup_teardown(scripts_run_with_the_host_runtime, setup, teardown),
		cmocka_unit_test_setup_teardown(events_wait_for_a_slow_broker, setup_small_buffer, teardown),
		cmocka_unit_test_setup_teardown(sigterm_asks_the_broker_to_stop, setup, teardown),
		cmocka_unit_test_setup_teardown(spawners_death_ends_the_vats, setup, teardown),
		cmocka_unit_test_setup_teardown(mount_starts_capstan_fs, setup, teardown),
		cmocka_unit_test_setup_teardown(no_mount_serves_the_socket, setup_no_mount, teardown),
		cmocka_unit_test_setup_teardown(impossible_mount_serves_the_socket, setup_null_fuse, teardown),
		cmocka_unit_test_setup_teardown(stopped_capstan_fs_is_replaced, setup, teardown),
		cmocka_unit_test_setup_teardown(stopped_vat_goes_on, setup, teardown),
		cmocka_unit_test_setup_teardown(bad_mounts_are_refused, setup, teardown),
		cmocka_unit_test(broker_exit_0_ends_all),
		cmocka_unit_test(broker_that_refuses_is_not_tried_again),
		cmocka_unit_test(empty_packets_descriptors_are_closed),
		cmocka_unit_test(what_a_vat_started_ends_with_it),
		cmocka_unit_test(dead_broker_is_replaced),
		cmocka_unit_test(too_many_deaths_end_all),
	};
	ssize_t n = readlink("/proc/self/exe", build_dir, sizeof(build_dir) - 1);

	if (geteuid() != 0)
		return cmocka_run_group_tests(unprivileged, NULL, NULL);
	assert(n > 0);
	build_dir[n] = '\0';
	for (int i = 0; i < 2; i++)
		*strrchr(build_dir, '/') = '\0';
	return cmocka_run_group_tests(tests, NULL, NULL);
}
