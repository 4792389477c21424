/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The seccomp filter. A sanitised build has none, since the sanitisers' own reports need half of the kernel.
 */
#include "lock.h"

#include <jansson.h>
#include <seccomp.h>

#include "../lib/util.h"

#if defined(__SANITIZE_ADDRESS__)
#define LOCK_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(undefined_behavior_sanitizer)
#define LOCK_SANITIZED 1
#endif
#endif
#ifndef LOCK_SANITIZED
#define LOCK_SANITIZED 0
#endif

static const int allowed[] = {
	/* the session; libfuse answers with writev */
	SCMP_SYS(read), SCMP_SYS(write), SCMP_SYS(writev), SCMP_SYS(epoll_wait), SCMP_SYS(epoll_pwait),
	SCMP_SYS(epoll_ctl),
	/* clients of the socket: to come, and who they are */
	SCMP_SYS(accept4), SCMP_SYS(getsockopt),
	/* leases and clients; send() and recv() are the -to and -from calls */
	SCMP_SYS(sendto), SCMP_SYS(recvfrom), SCMP_SYS(poll), SCMP_SYS(ppoll),
	/* LMDB without its lock file: the meta page, a map that grew, the file's size */
	SCMP_SYS(pread64), SCMP_SYS(fstat), SCMP_SYS(newfstatat), SCMP_SYS(mmap), SCMP_SYS(munmap), SCMP_SYS(mremap),
	SCMP_SYS(madvise), SCMP_SYS(close),
	/* memory, time, threads' leftovers, signals, assert() */
	SCMP_SYS(brk), SCMP_SYS(futex), SCMP_SYS(clock_gettime), SCMP_SYS(restart_syscall), SCMP_SYS(rt_sigreturn),
	SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigaction), SCMP_SYS(getpid), SCMP_SYS(gettid), SCMP_SYS(tgkill),
	SCMP_SYS(exit), SCMP_SYS(exit_group),
};

static int install(scmp_filter_ctx filter)
{
	int r;

	for (size_t i = 0; i < ARRAY_LEN(allowed); i++) {
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed[i], 0);
		if (r)
			return error_trace(r);
	}
	r = seccomp_load(filter);	/* sets no_new_privs too */
	return r ? error_trace(r) : 0;
}

int lock_process(void)
{
	scmp_filter_ctx filter;
	int r;

	/* jansson would open /dev/urandom at its first object. */
	json_object_seed(0);
	if (LOCK_SANITIZED) {
		log_debug("sanitised build: no seccomp filter");
		return 0;
	}
	filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
	if (!filter)
		return error_origin(ENOMEM);
	r = install(filter);
	seccomp_release(filter);
	return r;
}
