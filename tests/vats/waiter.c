/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Waits, in its jail, for time, for a timer descriptor and for its own pipe; and can keep itself busy with a descriptor that
 * is always ready. Each answer is a promise that the waiting settles.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include <capstan/vat.h>

typedef struct {
	vat_ref *answer;
	int pipe[2], timer;
	struct timespec since;
	int64_t left, spins;
} waiter;

VAT_METHOD(waiter, init)
{
	if (pipe2(self->pipe, O_NONBLOCK) < 0)
		return vat_fail(v, "Error", "pipe: %s", strerror(errno));
	return vat_watch(v, self->pipe[0], POLLIN, self, "piped");
}

static int promise(vat *v, waiter *self)
{
	if (self->answer)
		return vat_fail(v, "Error", "one at a time");
	self->answer = vat_hold(v, vat_promise_new(v));
	return vat_return(v, "r", self->answer);
}

static void answered(vat *v, waiter *self)
{
	vat_release(v, self->answer);
	self->answer = NULL;
}

/* n timers of so many milliseconds, one after the other: how long it took. */
VAT_METHOD(waiter, sleep_)
{
	int64_t ms;
	vat_read(v, "ii", &ms, &self->left);
	clock_gettime(CLOCK_MONOTONIC, &self->since);
	vat_after(v, (uint64_t)ms, self, "rang");
	vat_after(v, 3600000, self, "rang");	/* not soon */
	return promise(v, self);
}

VAT_METHOD(waiter, rang)
{
	struct timespec now;
	if (--self->left > 0) {
		vat_after(v, 20, self, "rang");
		return 0;
	}
	clock_gettime(CLOCK_MONOTONIC, &now);
	vat_resolve(v, self->answer, "i", (int64_t)((now.tv_sec - self->since.tv_sec) * 1000 +
						    (now.tv_nsec - self->since.tv_nsec) / 1000000));
	answered(v, self);
	return 0;
}

VAT_METHOD(waiter, say)
{
	const char *text;
	vat_read(v, "s", &text);
	if (write(self->pipe[1], text, strlen(text)) < 0)
		return vat_fail(v, "Error", "write: %s", strerror(errno));
	return promise(v, self);
}

VAT_METHOD(waiter, piped)
{
	char buf[100];
	ssize_t n = read(self->pipe[0], buf, sizeof(buf) - 1);
	if (n <= 0)
		return vat_fail(v, "Error", "woken for nothing");
	buf[n] = 0;
	vat_resolve(v, self->answer, "s", buf);
	answered(v, self);
	return 0;
}

VAT_METHOD(waiter, alarm_)
{
	int64_t ms;
	vat_read(v, "i", &ms);
	struct itimerspec when = { .it_value = { ms / 1000, ms % 1000 * 1000000 } };
	self->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
	if (self->timer < 0 || timerfd_settime(self->timer, 0, &when, NULL) < 0)
		return vat_fail(v, "Error", "timerfd: %s", strerror(errno));
	return vat_watch(v, self->timer, POLLIN, self, "alarmed") < 0 ? -1 : promise(v, self);
}

VAT_METHOD(waiter, alarmed)
{
	uint64_t n = 0;
	if (read(self->timer, &n, sizeof(n)) < 0)
		return vat_fail(v, "Error", "woken for nothing");
	vat_unwatch(v, self->timer);
	close(self->timer);
	vat_resolve(v, self->answer, "i", (int64_t)n);
	answered(v, self);
	return 0;
}

VAT_METHOD(waiter, spin)
{
	return vat_watch(v, self->pipe[1], POLLOUT, self, "spun");
}

VAT_METHOD(waiter, spun)
{
	self->spins++;
	return 0;
}

VAT_METHOD(waiter, spins)
{
	return vat_return(v, "i", self->spins);
}

VAT_METHOD(waiter, stop)
{
	vat_unwatch(v, self->pipe[1]);
	return vat_return(v, "i", self->spins);
}

VAT_METHOD(waiter, bootstrap)
{
	return 0;
}

static const vat_kind Waiter = { "Waiter", sizeof(waiter), VAT_INIT(init),
	VAT_METHODS({ "bootstrap", NULL, NULL, bootstrap }, { "sleep", "ii", NULL, sleep_ }, { "say", "s", NULL, say },
		    { "alarm", "i", NULL, alarm_ }, { "spin", "", NULL, spin }, { "spins", "", "i", spins },
		    { "stop", "", "i", stop }),
	VAT_CONTINUATIONS({ "rang", "i", NULL, rang }, { "piped", "i", NULL, piped }, { "alarmed", "i", NULL, alarmed },
			  { "spun", "i", NULL, spun }) };
VAT_PROGRAM(&Waiter);
