/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Testing vats: a kernel and any number of vats in one process and one thread, for cmocka, gdb, valgrind and the
 * sanitisers. The kernel is the real one (its tables, router, collector and store, on a temporary folder); only its
 * processes are not: each vat is a struct in this program, and its deliveries are function calls.
 *
 *	#define VAT_PROGRAM_NAME counter_program
 *	#include "counter.c"
 *
 *	vat_test *t = vat_test_new();
 *	vat_test_add(t, "counter", &counter_program, NULL);
 *	vat_test_launch(t);
 *	assert_string_equal(vat_test_call(t, "counter", "increment", "[5]"), "5");
 *	vat_test_free(t);
 *
 * Link with `pkg-config --libs libcapstan-test`. Texts that these functions return belong to the test and live until
 * vat_test_free(). A mistake in using them ends the program with a sentence on standard error.
 */
#ifndef CAPSTAN_VAT_TEST_H
#define CAPSTAN_VAT_TEST_H

#include <capstan/vat.h>

#undef VAT_PROGRAM_NAME	/* here every program says its own */

typedef struct vat_test vat_test;

vat_test *vat_test_new(void);
/* Ends all vats, has the store recounted (ends the program when a count is wrong), frees everything. NULL is fine. */
void vat_test_free(vat_test *t);

/* Vats of the cluster, before the launch; the first added is the one whose bootstrap() runs. `parameters`: JSON or NULL. */
void vat_test_add(vat_test *t, const char *name, const vat_program *program, const char *parameters);
/* Launch them all and run until nothing moves: bootstrap's answer as JSON, or "Error: …" when the launch failed. */
const char *vat_test_launch(vat_test *t);

/*
 * Send to a vat's root ("counter") or to a reference ("ko7", as an answer showed it) and run until nothing moves: the
 * answer as JSON, where {"@":"ko7"} is a reference, or "NAME: message" of the rejection's Error; "(pending)" when it is
 * still open then (vat_test_answer() asks again). `args` is a JSON array.
 */
const char *vat_test_call(vat_test *t, const char *target, const char *method, const char *args, ...)
	__attribute__((format(printf, 4, 5)));
const char *vat_test_answer(vat_test *t);		/* of the latest call */
void vat_test_run(vat_test *t);				/* until nothing moves */
void vat_test_release(vat_test *t);			/* let go of all references that answers have shown */

void vat_test_restart(vat_test *t, const char *name);	/* a new incarnation, from the durable state */
void vat_test_program(vat_test *t, const char *name, const vat_program *program);	/* what its next incarnation runs */
void vat_test_kill(vat_test *t, const char *name);	/* its process dies */
void vat_test_reap(vat_test *t, const char *name);	/* bringOutYourDead, then whatever follows from it */
/*
 * Let what vats wait for (vat_watch(), vat_after()) wake them: descriptors that are ready, and timers that are due. When
 * there are none, the time goes on to the next timer: the clock of vat_after() stands still but for this, so a test of an
 * hour takes no time. False: nothing woke. Descriptors are not waited for.
 */
bool vat_test_wake(vat_test *t);

/* What a test wants to know. */
const char *vat_test_status(vat_test *t, const char *name);	/* "running", "suspended: why", "terminated: why" */
const char *vat_test_log(vat_test *t, const char *name);	/* all its log lines so far */
size_t vat_test_imports(vat_test *t, const char *name);		/* objects of others in its clist */
size_t vat_test_exports(vat_test *t, const char *name);		/* objects of its own in its clist, the root too */
size_t vat_test_promises(vat_test *t, const char *name);	/* promises in its clist */
size_t vat_test_store_keys(vat_test *t, const char *name);	/* keys in its vatstore */
size_t vat_test_memory(vat_test *t, const char *name);		/* references and objects that its library has in memory */

#endif
