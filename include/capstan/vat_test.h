/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Testing vats: a kernel and any number of vats in one process and one thread, for cmocka, gdb, valgrind and the
 * sanitisers. The kernel is the real one (its tables, router, collector and store, on temporary files that have no name any
 * more when vat_test_new() returns); only its processes are not: each vat is an instance of the library in this program, and
 * its deliveries are function calls. vatd/examples/test_counter.c is a complete test:
 *
 *	#include <capstan/vat_test.h>
 *	#define VAT_PROGRAM_NAME counter_program
 *	#include "counter.c"
 *
 *	vat_test *t = vat_test_new();
 *	vat_test_add(t, "counter", &counter_program, NULL);
 *	vat_test_launch(t);
 *	assert_string_equal(vat_test_call(t, "counter", "increment", "[%d]", 5), "5");
 *	vat_test_free(t);
 *
 * Link with `pkg-config --libs libcapstan-test`. Programs whose names meet go into files of their own, each compiled with
 * -DVAT_PROGRAM_NAME=…, and the test declares `extern const vat_program counter_program;`.
 *
 * What is as in a kernel with processes: order, settling, collection, errors, restarts, what survives them, the suspension of
 * a vat that dies too often (four times in a minute), limits of messages and stores. What is not: there is no jail; nobody
 * asks how long a crank takes, so one can be stepped through in a debugger; C globals of a program are common to its
 * vats and incarnations; and the clock of vat_after() stands still (vat_test_wake()).
 *
 * A vat that comes to its end (a mistake that vat.h says ends the vat, vat_exit(), vat_test_kill()) ends alone: a longjmp
 * takes it out of the method, fini runs for every object that it has in memory (a real process would just be gone), and
 * all memory of the library for it is freed, so what a leak checker finds was the vat's own. Text and values that
 * are borrowed for a crank are allocations of their own here: read past the crank, valgrind and ASan tell. To have the vats'
 * own code instrumented, compile the test with -fsanitize=address,undefined; the library need not be.
 *
 * Texts that these functions return belong to the test and live until vat_test_free(). A mistake in using them ends the
 * program with a sentence on standard error, where the kernel also tells of vats that died. None of them may be called from
 * within a vat.
 */
#ifndef CAPSTAN_VAT_TEST_H
#define CAPSTAN_VAT_TEST_H

#include <capstan/vat.h>

#undef VAT_PROGRAM_NAME	/* here every program says its own */

typedef struct vat_test vat_test;

/* Several at a time are fine. Its files are in $TMPDIR or /tmp, unlinked at once. */
vat_test *vat_test_new(void);
/* Ends all vats, has the store recounted (ends the program when a count is wrong), frees everything. NULL is fine. */
void vat_test_free(vat_test *t);

/*
 * Vats of the cluster, before the launch; the first added is the one whose bootstrap() runs, with a record of all vats' roots
 * by name. `parameters` for its root's init: JSON; NULL: none.
 */
void vat_test_add(vat_test *t, const char *name, const vat_program *program, const char *parameters);
/* Launch them all and run until nothing moves: bootstrap's answer, as of a call; "Error: …" when the launch failed. */
const char *vat_test_launch(vat_test *t);

/*
 * Send to a vat's root ("counter") or to a reference ("ko7", as an answer showed it) and run until nothing moves. The
 * arguments are a JSON array, after printf; {"@":"ko7"} in it is a reference:
 *
 *	vat_test_call(t, "bank", "deposit", "[{\"@\":\"%s\"}, %d]", purse, 10)
 *
 * The answer, as `capstan call` prints it: 5, "text", [1, 2], {name: "x"}, ko7, undefined, 5n; "NAME: message" of the Error
 * that it was rejected with; "rejected: VALUE" of another reason; "(pending)" when it is open still (vat_test_answer() asks
 * again, after other calls). References in it are held, as for a person, until vat_test_release().
 */
const char *vat_test_call(vat_test *t, const char *target, const char *method, const char *args, ...)
	__attribute__((format(printf, 4, 5)));
const char *vat_test_root(vat_test *t, const char *name);	/* "ko3": a vat's root, to be an argument */
const char *vat_test_answer(vat_test *t);		/* of the latest call */
void vat_test_run(vat_test *t);				/* until nothing moves */
void vat_test_release(vat_test *t);			/* let go of all references that answers have shown */

void vat_test_restart(vat_test *t, const char *name);	/* a new incarnation, from the durable state */
void vat_test_program(vat_test *t, const char *name, const vat_program *program);	/* what its next incarnation runs */
void vat_test_kill(vat_test *t, const char *name);	/* its process dies; the kernel does what it does then */
/*
 * bringOutYourDead, then whatever follows from it. What a vat let go is dropped then; a promise that nobody waited for is
 * asked after, so that what it brings goes at the next.
 */
void vat_test_reap(vat_test *t, const char *name);
/*
 * Let what vats wait for (vat_watch(), vat_after()) wake them: descriptors that are ready, and timers that are due. When
 * there are none, the time goes on to the next timer: the clock of vat_after() stands still but for this, so a test of an
 * hour takes no time. False: nothing woke. Descriptors are not waited for.
 */
bool vat_test_wake(vat_test *t);

/* What a test wants to know. Counts: how they change is the point; a vat's root is an export, a reference and an object. */
const char *vat_test_status(vat_test *t, const char *name);	/* "running", "suspended: why", "terminated: why"; "none" */
const char *vat_test_log(vat_test *t, const char *name);	/* its last 1,000 log lines, each with its line feed */
size_t vat_test_imports(vat_test *t, const char *name);		/* objects of others in its clist */
size_t vat_test_exports(vat_test *t, const char *name);		/* objects of its own in its clist, the root too */
size_t vat_test_promises(vat_test *t, const char *name);	/* promises in its clist */
size_t vat_test_store_keys(vat_test *t, const char *name);	/* keys in its vatstore */
size_t vat_test_memory(vat_test *t, const char *name);		/* references and objects that its library has in memory */

#endif
