/* SPDX-License-Identifier: Apache-2.0 */
/* The mount's side of the broker's socket, when there is much on it. The test is the broker. */
#include <setjmp.h>
#include <stdarg.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <cmocka.h>

#include "../../fs/watch.h"

struct fixture { struct loop loop; struct lease lease; struct watch watch; int broker, event; };

static void on_shown(struct watcher *w) { (void)w; }

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	int pair[2], page = memfd_create("page", MFD_CLOEXEC);

	f->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) || ftruncate(page, sizeof(struct live_page)) ||
	    lease_init(&f->lease, pair[0], page) || loop_init(&f->loop) ||
	    watch_init(&f->watch, &f->loop, &f->lease, f->event))
		return -1;
	close(page);
	f->broker = pair[1];
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	watch_deinit(&f->watch);
	loop_deinit(&f->loop);
	close(f->lease.fd);
	lease_deinit(&f->lease);
	close(f->broker);
	close(f->event);
	free(f);
	return 0;
}

static size_t packets(struct fixture *f, uint32_t *lastp)
{
	struct lease_request rq;
	size_t n = 0;

	for (; recv(f->broker, &rq, sizeof(rq), MSG_DONTWAIT) == sizeof(rq); n++)
		*lastp = rq.id;
	return n;
}

/* Somebody who waits and goes, over and over, is two packets in 100 ms and not two each time. */
static void test_coming_and_going(void **state)
{
	struct watcher w = WATCHER_INIT(on_shown);
	uint64_t start = now_monotonic_ns(), ms;
	struct fixture *f = *state;
	uint32_t last = 9;

	for (int i = 0; i < 100000; i++) {
		watch_wait(&f->watch, &w);
		assert_true(watch_tick(&f->watch));
		watch_stop(&f->watch, &w);
		assert_true(watch_tick(&f->watch));
	}
	ms = (now_monotonic_ns() - start) / 1000000;
	assert_in_range(packets(f, &last), 1, 2 + 2 * ms / WATCH_LINGER_MS);
	/* At last the broker hears that nobody is left. */
	while (last != 0) {
		int timeout = watch_timeout_ms(&f->watch);

		assert_in_range(timeout, 1, WATCH_LINGER_MS);
		assert_int_equal(loop_round(&f->loop, timeout), 0);
		assert_true(watch_tick(&f->watch));
		packets(f, &last);
	}
	assert_int_equal(watch_timeout_ms(&f->watch), -1);
}

/* A broker that has not yet taken what was sent is waited for, as one that has not yet answered. */
static void test_full_socket(void **state)
{
	struct fixture *f = *state;
	pid_t pid;
	int status;

	while (!lease_watch(&f->lease, true))
		;
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct lease_request rq;
		struct lease_reply reply = { .generation = 0 };

		while (recv(f->broker, &rq, sizeof(rq), 0) == sizeof(rq) && rq.op != LEASE_ACQUIRE)
			;
		reply.id = rq.id;
		_exit(send(f->broker, &reply, sizeof(reply), 0) != sizeof(reply));
	}
	assert_int_equal(lease_acquire(&f->lease), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(lease_release(&f->lease), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_coming_and_going, setup, teardown),
		cmocka_unit_test_setup_teardown(test_full_socket, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
