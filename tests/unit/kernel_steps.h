/* SPDX-License-Identifier: Apache-2.0 */
/* Small steps that the kernel's tests are made of, and the list of them on both kinds of store. */
#ifndef CAPSTAN_KERNEL_STEPS_H
#define CAPSTAN_KERNEL_STEPS_H

#include "kernel_harness.h"

#include <signal.h>

#include "../../broker/launch.h"
#include "../../broker/object.h"

#define MAX_SAID 60

static inline kref_t root(const char *name) { return kref_of(name, "o+0"); }
static inline enum vat_status status(const char *name) { return vat_named(name)->row.status; }
static inline const char *reason(const char *name) { return vat_named(name)->row.reason; }

/* A delivery to work in: a message from outside to the root, without result. */
static inline void poke(const char *name)
{
	host_send(root(name), "#poke", NULL, 0, false);
	world_run();
	expect(name, "message o+0 #poke [] -");
}

/* A crank of its own with these syscalls. */
static inline void act(const char *name, ...) __attribute__((sentinel));
static inline void act(const char *name, ...)
{
	const char *said[MAX_SAID];
	size_t n = 0;
	va_list ap;

	va_start(ap, name);
	while ((said[n] = va_arg(ap, const char *)))
		assert_true(++n < MAX_SAID - 1);
	va_end(ap);
	said[n++] = "done";
	said[n] = NULL;
	poke(name);
	say_list(name, said);
	world_run();
}

/* The next delivery is this, and nothing is done in it. */
static inline void takes(const char *name, const char *delivery)
{
	expect(name, delivery);
	play(name, "done", NULL);
}

/* Tell a vat of a reference; returns the name it has there. */
static inline const char *give(const char *name, kref_t ref)
{
	const char *v;

	host_send(root(name), "#take", &ref, 1, false);
	world_run();
	free(next_delivery(raw_named(name)));
	play(name, "done", NULL);
	v = vref_of(name, ref);
	assert_string_not_equal(v, "-");
	return v;
}

static inline void revoke_ref(kref_t ref)
{
	struct row_object row = object_row(ref);

	must(kernel_savepoint(&world->k));
	row.flags |= OBJECT_F_REVOKED;
	must(object_save(&world->k, ref, &row));
	must(kernel_release(&world->k));
}

static inline void suspend(const char *name)
{
	must(vat_suspend(&world->k, vat_named(name), "by the test"));
	world_run();
}
static inline void resume(const char *name)
{
	must(vat_resume(&world->k, vat_named(name)));
	world_run();
}
static inline void restart(const char *name)
{
	must(vat_restart(&world->k, vat_named(name)));
	world_run();
}
static inline void terminate(const char *name)
{
	must(vat_terminate(&world->k, vat_named(name), "by the test"));
	world_run();
}

static inline void expect_terminated(const char *name, const char *why)
{
	assert_int_equal(status(name), VAT_TERMINATED);
	assert_string_equal(reason(name), why);
	assert_int_equal(raw_named(name)->fd, -1);
}

#define DELETED         KERR("OBJECT_DELETED", "the object has no owner any more")
#define UNREACHABLE     KERR("ENDPOINT_UNREACHABLE", "the vat of the object is terminated")
#define REVOKED         KERR("OBJECT_REVOKED", "the object was revoked")
#define NO_OBJECT       KERR("BAD_PROMISE_RESOLUTION", "the target resolved to data, not to an object")
#define ITSELF          KERR("BAD_PROMISE_RESOLUTION", "the result waits for itself")
#define CYCLE           KERR("BAD_PROMISE_RESOLUTION", "promise resolved to itself through a cycle")
#define GONE(name)      KERR("VAT_TERMINATED", name " is terminated")
#define RESTARTED(name) KERR("VAT_RESTARTED", name " was restarted")

/* cluster() with more fields for each vat. */
static inline void cluster_with(const char *letters, const char *extra)
{
	char name[2] = "";

	cluster_begin(letters, extra);
	world_run();
	for (; *letters; letters++) {
		name[0] = *letters;
		start_up(name);
	}
	free(next_delivery(raw_named("a")));
	play("a", "resolve p-1 data #ok []", "done", NULL);
	assert_true(world->request.answered);
}

/* A read in the middle of a crank, and its answer. */
#define ANSWER(asked, answer) (say("a", asked, NULL), world_run(), expect("a", answer))

static inline int steps_setup(void **state, enum store_kind kind)
{
	if (dir_setup(state))
		return -1;
	world_open(*state, kind);
	return 0;
}

static inline int setup_overlay(void **state) { return steps_setup(state, STORE_OVERLAY); }
static inline int setup_direct(void **state) { return steps_setup(state, STORE_DIRECT); }

static inline int teardown(void **state)
{
	world_close();
	return dir_teardown(state);
}

#define T(f)                                                                                                 \
	{#f " (overlay)", f, setup_overlay, teardown, NULL},                                                 \
	{                                                                                                    \
#f " (direct)", f, setup_direct, teardown, NULL                                              \
	}

static inline int run_on_both(const char *name, const struct CMUnitTest *tests, size_t n)
{
	log_init(name);
	cmocka_set_test_filter(getenv("TEST_FILTER"));
	return _cmocka_run_group_tests(name, tests, n, NULL, NULL);
}

#endif
