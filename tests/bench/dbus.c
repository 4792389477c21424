/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dbus ROUNDS DEPTH: what `make bench` stands next to. A private dbus-broker and two sd-bus peers of it: the client
 * calls DEPTH times (once: a blocking call; more: all of them asynchronously), waits until all are answered, and does
 * so ROUNDS times. Prints the nanoseconds of all rounds.
 *
 * The bus is ours alone: dbus-broker is told by its controller protocol to listen on an unnamed socket (one that the kernel
 * names, so that no file is left), and dies with us. Its launcher, which wants systemd's journal, is not used.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <signal.h>
#include <unistd.h>

#include <systemd/sd-bus.h>

#include "clock.h"

#define NAME "org.capstan.bench"
#define PATH "/pong"
#define INTERFACE "org.capstan.Pong"

static int check(int r, const char *what)
{
	if (r < 0) {
		fprintf(stderr, "dbus: %s: %s\n", what, strerror(-r));
		exit(1);
	}
	return r;
}

static pid_t fork_child(void)
{
	pid_t pid = fork();

	if (pid < 0) {
		perror("dbus: fork");
		exit(1);
	}
	if (!pid)
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	return pid;
}

/* --- the bus ---------------------------------------------------------------------------------------------- */

/* A policy as dbus-broker's controller states it: everybody may connect, own any name, send and receive. */
#define XMIT	"a(btssssuutt)"
#define BATCH	"bta(btbs)" XMIT XMIT
#define POLICY	"a(u(" BATCH "))a(buu(" BATCH "))a(ss)bs"

static int append_policy(sd_bus_message *m)
{
	const uint64_t priority = 1, any_fds = 0;
	int r = 0;

#define STEP(call) do { if (r >= 0) r = (call); } while (0)
	STEP(sd_bus_message_open_container(m, 'v', "(" POLICY ")"));
	STEP(sd_bus_message_open_container(m, 'r', POLICY));
	STEP(sd_bus_message_append(m, "a(u(" BATCH "))", 1, UINT32_MAX,		/* users without rules of their own */
				   true, priority, 1, true, priority, true, "",
				   1, true, priority, "", "", "", "", 0, 0, any_fds, UINT64_MAX,
				   1, true, priority, "", "", "", "", 0, 0, any_fds, UINT64_MAX));
	STEP(sd_bus_message_append(m, "a(buu(" BATCH "))a(ss)bs", 0, 0, false, "unconfined"));
	STEP(sd_bus_message_close_container(m));
	STEP(sd_bus_message_close_container(m));
#undef STEP
	return r;
}

static void run_broker(int controller)
{
	char fd[16];

	snprintf(fd, sizeof(fd), "%d", controller);
	execlp("dbus-broker", "dbus-broker", "--controller", fd, "--machine-id", "0123456789abcdef0123456789abcdef",
	       "--max-bytes", "536870912", "--max-fds", "4096", "--max-matches", "16384", "--max-objects", "1048576", NULL);
	perror("dbus: dbus-broker");
	_exit(1);
}

static void add_listener(sd_bus *controller, int listener)
{
	sd_bus_error e = SD_BUS_ERROR_NULL;
	sd_bus_message *m;
	int r;

	check(sd_bus_message_new_method_call(controller, &m, NULL, "/org/bus1/DBus/Broker", "org.bus1.DBus.Broker",
					     "AddListener"), "message");
	check(sd_bus_message_append(m, "oh", "/org/bus1/DBus/Listener/0", listener), "message");
	check(append_policy(m), "policy");
	r = sd_bus_call(controller, m, 0, &e, NULL);
	if (r < 0)
		fprintf(stderr, "dbus: dbus-broker refuses the listener: %s\n", e.message ? e.message : "no reason given");
	check(r, "AddListener");
	sd_bus_message_unref(m);
}

/* Returns the controller's connection, which must stay open as long as the bus is to live. */
static sd_bus *start_bus(struct sockaddr_un *addr, socklen_t *lenp)
{
	int pair[2], listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	sd_bus *controller;

	*lenp = sizeof(addr->sun_family);
	*addr = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (listener < 0 || bind(listener, (struct sockaddr *)addr, *lenp) < 0 || listen(listener, 16) < 0 ||
	    socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0) {
		perror("dbus: socket");
		exit(1);
	}
	*lenp = sizeof(*addr);
	getsockname(listener, (struct sockaddr *)addr, lenp);
	if (!fork_child()) {
		close(pair[0]);
		run_broker(pair[1]);
	}
	close(pair[1]);
	check(sd_bus_new(&controller), "bus");
	check(sd_bus_set_fd(controller, pair[0], pair[0]), "bus");
	check(sd_bus_negotiate_fds(controller, true), "bus");
	check(sd_bus_start(controller), "controller");
	add_listener(controller, listener);
	close(listener);
	return controller;
}

static sd_bus *join_bus(const struct sockaddr_un *addr, socklen_t len)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	sd_bus *bus;

	if (fd < 0 || connect(fd, (const struct sockaddr *)addr, len) < 0) {
		perror("dbus: connect");
		exit(1);
	}
	check(sd_bus_new(&bus), "bus");
	check(sd_bus_set_fd(bus, fd, fd), "bus");
	check(sd_bus_set_bus_client(bus, true), "bus");
	check(sd_bus_start(bus), "joining the bus");
	return bus;
}

/* Until there is nothing more to do right now; then waits. */
static void turn(sd_bus *bus)
{
	int r = check(sd_bus_process(bus, NULL), "process");

	if (r == 0)
		check(sd_bus_wait(bus, UINT64_MAX), "wait");
}

/* --- the peers -------------------------------------------------------------------------------------------- */

static int pong(sd_bus_message *m, void *data, sd_bus_error *e)
{
	static int64_t n;

	(void)data;
	(void)e;
	return sd_bus_reply_method_return(m, "x", ++n);
}

static const sd_bus_vtable pong_vtable[] = {
	SD_BUS_VTABLE_START(0),
	SD_BUS_METHOD("Ping", "", "x", pong, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_VTABLE_END,
};

static void serve(const struct sockaddr_un *addr, socklen_t len, int ready)
{
	sd_bus *bus = join_bus(addr, len);

	check(sd_bus_add_object_vtable(bus, NULL, PATH, INTERFACE, pong_vtable, NULL), "vtable");
	check(sd_bus_request_name(bus, NAME, 0), "name");
	if (write(ready, "", 1) != 1)
		_exit(1);
	for (;;)
		turn(bus);
}

static int answered(sd_bus_message *m, void *data, sd_bus_error *e)
{
	long *n_waiting = data;

	(void)e;
	check(-sd_bus_message_get_errno(m), "an asynchronous call");
	--*n_waiting;
	return 0;
}

static void one_round(sd_bus *bus, long depth)
{
	long n_waiting = depth;

	if (depth == 1) {
		check(sd_bus_call_method(bus, NAME, PATH, INTERFACE, "Ping", NULL, NULL, ""), "a call");
		return;
	}
	for (long i = 0; i < depth; i++)
		check(sd_bus_call_method_async(bus, NULL, NAME, PATH, INTERFACE, "Ping", answered, &n_waiting, ""),
		      "a call");
	while (n_waiting)
		turn(bus);
}

int main(int argc, char **argv)
{
	struct sockaddr_un addr;
	socklen_t len;
	sd_bus *controller, *bus;
	long rounds, depth;
	int ready[2];
	int64_t began;
	char byte;

	if (argc != 3 || (rounds = atol(argv[1])) < 1 || (depth = atol(argv[2])) < 1) {
		fprintf(stderr, "usage: dbus ROUNDS DEPTH\n");
		return 2;
	}
	controller = start_bus(&addr, &len);
	if (pipe(ready) < 0) {
		perror("dbus: pipe");
		return 1;
	}
	if (!fork_child()) {
		close(ready[0]);
		serve(&addr, len, ready[1]);
	}
	close(ready[1]);
	if (read(ready[0], &byte, 1) != 1)
		return 1;	/* the peer has said why */
	bus = join_bus(&addr, len);
	one_round(bus, depth);	/* all three run */
	began = now_ns();
	for (long i = 0; i < rounds; i++)
		one_round(bus, depth);
	printf("%lld\n", (long long)(now_ns() - began));
	sd_bus_unref(bus);
	sd_bus_unref(controller);
	return 0;	/* and the other two go with us */
}
