/* SPDX-License-Identifier: Apache-2.0 */
/*
 * L2: what has ended three brokers is set aside, or its vat suspended, and everything else goes on. The brokers are played: each
 * ends (world_crash) with a note of what it was at; the note itself is the real file. And whatever is in the file, a broker starts.
 */
#include "kernel_steps.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../broker/crank.h"
#include "../../broker/queue.h"
#include "../../broker/service.h"
#include "../../broker/underway.h"

static void next_broker(void)
{
	assert_int_equal(chdir(world->dir), 0);
	underway_open(&world->k);
	must(underway_judge(&world->k));
}

/* It ends in the middle of this; the next one starts. */
static void broker_ends(enum underway_kind kind, uint64_t vat, uint64_t item)
{
	assert_non_null(world->k.underway);
	underway_note(&world->k, kind, vat, item);
	underway_close(&world->k);
	world_crash();
	next_broker();
	if (kind != UNDERWAY_SWEEP) /* that is to find something to do each time */
		world_run();
}

static void finish(void)
{
	underway_close(&world->k);
}

/* The number of the first item in its queue. */
static uint64_t first_item(const char *name)
{
	struct item i = ITEM_INIT;
	uint64_t seq;

	assert_int_equal(queue_head(&world->k, endpoint_vat(vat_named(name)->number).bits, 0, &i), 0);
	seq = i.seq;
	item_deinit(&i);
	return seq;
}

/* a sends b a message that b does not take yet, and one more. */
static uint64_t poison(void)
{
	cluster("ab");
	next_broker();
	suspend("b");
	act("a", "send o-1 #poison [] p+1", "subscribe p+1", "send o-1 #next [] -", NULL);
	return first_item("b");
}

static void test_message(void **state)
{
	uint64_t seq = poison();

	(void)state;
	broker_ends(UNDERWAY_DELIVERY, 2, seq);
	start_up("a");
	broker_ends(UNDERWAY_DELIVERY, 2, seq);
	assert_int_equal(n_rows(T_ASIDE), 0);
	start_up("a");
	broker_ends(UNDERWAY_DELIVERY, 2, seq);
	assert_int_equal(n_rows(T_ASIDE), 1);
	start_up("a");
	takes("a", "notify p+1 krej " KERR("DELIVERY_FAILED", "the kernel ended 3 times while it gave the message to b") " []");
	assert_false(world->k.suspicious);
	resume("b");
	start_up("b");
	takes("b", "message o+0 #next [] -");
	expect_nothing();
	finish();
}

/* L3: once it goes well it is no suspect any more; others do not make it one. */
static void test_acquitted(void **state)
{
	uint64_t seq = poison();
	unsigned i;

	(void)state;
	for (i = 0; i < 2; i++) {
		broker_ends(UNDERWAY_DELIVERY, 2, seq);
		start_up("a");
		broker_ends(UNDERWAY_DELIVERY, 1, 12345);
		start_up("a");
	}
	assert_true(world->k.suspicious);
	resume("b");
	start_up("b");
	takes("b", "message o+0 #poison [] p-1");
	broker_ends(UNDERWAY_DELIVERY, 2, seq);
	assert_int_equal(n_rows(T_ASIDE), 0);
	assert_int_equal(status("b"), VAT_STARTING);
	finish();
}

/* L3: as long as there is a suspect, all is committed before anything is tried */
static void test_careful(void **state)
{
	uint64_t n;

	(void)state;
	poison();
	broker_ends(UNDERWAY_DELIVERY, 1, 12345);
	start_up("a");
	host_send(root("a"), "#1", NULL, 0, false);
	n = store_n_commits(world->k.store);
	world_step();
	assert_int_equal(store_n_commits(world->k.store), n + 1);
	takes("a", "message o+0 #1 [] -");
	finish();
}

/* What cannot be set aside: its vat is suspended, once; also when setting aside ends the broker */
static void expect_suspended(enum underway_kind kind, uint64_t item, unsigned times, const char *why)
{
	unsigned i;

	for (i = 0; i < times; i++) {
		assert_int_not_equal(status("a"), VAT_SUSPENDED);
		broker_ends(kind, 1, item);
	}
	assert_int_equal(status("a"), VAT_SUSPENDED);
	assert_string_equal(reason("a"), why);
	assert_int_equal(raw_named("a")->fd, -1);
	resume("a");
}

static void test_suspended(void **state)
{
	uint64_t seq;

	(void)state;
	cluster("ab");
	next_broker();
	expect_suspended(UNDERWAY_DELIVERY, 0, 3, "the kernel ended 3 times during what it was given, or sent");
	expect_suspended(UNDERWAY_DELIVERY, KILLER_START, 3, "the kernel ended 3 times during what it was given, or sent");
	expect_suspended(UNDERWAY_DELIVERY, KILLER_WAKE, 3, "the kernel ended 3 times during what it was given, or sent");
	start_up("a");
	act("a", "send o-1 #get [] p+1", "subscribe p+1", NULL);
	start_up("b");
	expect("b", "message o+0 #get [] p-1");
	suspend("a");
	play("b", "resolve p-1 data #v []", "done", NULL);
	seq = first_item("a");
	resume("a");
	expect_suspended(UNDERWAY_DELIVERY, seq, 3, "the kernel ended 3 times during a notify to it");
	start_up("a");
	takes("a", "notify p+1 data #v []");
	finish();
}

/* The sweep is not gone on with, by the next broker either */
static void test_sweep(void **state)
{
	unsigned i;

	(void)state;
	cluster("ab");
	next_broker();
	for (i = 0; i < 3; i++)
		broker_ends(UNDERWAY_SWEEP, 2, 0);
	assert_int_equal(status("b"), VAT_SUSPENDED);
	assert_string_equal(reason("b"), "the kernel ended 3 times during cleaning up after it");
	world_run();
	assert_true(vat_named("b")->sweeping && vat_named("b")->sweep_held);
	start_up("a"); /* others are not held up */
	finish();
	world_crash();
	next_broker();
	assert_true(vat_named("b")->sweep_held);
	finish();
}

static kref_t service(const char *name)
{
	kref_t ref;

	assert_int_equal(service_find(&world->k, name, &ref), 0);
	return ref;
}

static bool is_suspect(enum underway_kind kind, uint64_t item)
{
	size_t i;

	for (i = 0; i < UNDERWAY_SUSPECTS; i++)
		if (world->k.underway->suspects[i].kind == kind && world->k.underway->suspects[i].item == item)
			return true;
	return false;
}

/* A call that waited and is carried out: that it begins well each time is no excuse */
static void test_waiting_call(void **state)
{
	uint64_t seq = 0;
	unsigned i;

	(void)state;
	cluster("ab");
	next_broker();
	assert_string_equal(give("a", service("timer")), "o-3");
	act("a", "send o-3 #[\"delay\",[1e15]] [] p+1", "subscribe p+1", "send o-3 #[\"delay\",[1e15]] [] -", NULL);
	assert_int_equal(queue_peek(&world->k, ENDPOINT_K.bits, 0, &seq, &(struct row_item){ 0 }), 0);
	for (i = 0; i < 3; i++) {
		assert_int_equal(world->k.n_service_queue, 2);
		broker_ends(UNDERWAY_ANSWER, 0, seq);
	}
	assert_int_equal(world->k.n_service_queue, 1);
	start_up("a");
	takes("a", "notify p+1 krej " KERR("DELIVERY_FAILED", "the kernel ended three times while it answered the call") " []");
	finish();
}

/* Both services note it, and acquit it when it goes well */
static void carries_out(const char *name, const char *body)
{
	uint64_t seq = world->k.next_seq;

	world->k.underway->suspects[0] = (struct underway){ UNDERWAY_ANSWER, 2, 0, seq };
	world->k.suspicious = true;
	host_send(service(name), body, NULL, 0, false);
	assert_true(is_suspect(UNDERWAY_ANSWER, seq));
	world_run();
	assert_int_equal(world->k.n_service_queue, 0);
	assert_int_equal(world->k.underway->now.item, seq);
	assert_int_equal(world->k.underway->now.kind, UNDERWAY_NOTHING);
	assert_false(is_suspect(UNDERWAY_ANSWER, seq));
}

static void test_carried_out(void **state)
{
	(void)state;
	cluster("ab");
	next_broker();
	carries_out("timer", "#[\"wakeAt\",[1]]");
	carries_out("kernelFacet", "#[\"holds\",[]]");
	finish();
}

/* What is not there any more is nobody's business */
static void test_gone(void **state)
{
	unsigned i;

	(void)state;
	cluster("ab");
	next_broker();
	for (i = 0; i < 3; i++)
		broker_ends(UNDERWAY_DELIVERY, 99, 1);
	for (i = 0; i < 3; i++)
		broker_ends(UNDERWAY_DELIVERY, 2, 12345);
	for (i = 0; i < 3; i++)
		broker_ends(UNDERWAY_SERVICE, 0, 12345);
	for (i = 0; i < 3; i++)
		broker_ends(UNDERWAY_ANSWER, 0, 12345);
	for (i = 0; i < 3; i++)
		broker_ends(UNDERWAY_SWEEP, 99, 0);
	world_run();
	start_up("a");
	start_up("b");
	assert_int_equal(n_rows(T_ASIDE), 0);
	finish();
}

static void open_and_note(bool wanted)
{
	underway_open(&world->k);
	assert_int_equal(world->k.underway != NULL, wanted);
	must(underway_judge(&world->k));
	must(underway_begin(&world->k, UNDERWAY_DELIVERY, 1, 2));
	underway_acquit(&world->k, UNDERWAY_DELIVERY, 1, 2);
	underway_end(&world->k);
	underway_close(&world->k);
}

static void write_file(const void *data, size_t len)
{
	int fd = open(UNDERWAY_FILE, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, len), len);
	close(fd);
}

/* Missing, short, damaged, of another kind: never fatal */
static void test_file(void **state)
{
	uint8_t bytes[4096];
	struct stat st;

	(void)state;
	assert_int_equal(chdir(world->dir), 0);
	open_and_note(true);
	assert_int_equal(stat(UNDERWAY_FILE, &st), 0);
	assert_int_equal(st.st_size, 4096);
	assert_int_equal(st.st_mode & 0777, 0600);
	write_file("short", 5);
	open_and_note(true);
	memset(bytes, 0xff, sizeof(bytes));
	write_file(bytes, sizeof(bytes));
	open_and_note(true);
	open_and_note(true);
	memset(bytes + 16, 0xff, sizeof(bytes) - 16);
	memcpy(bytes, "capstan underway", 16);
	write_file(bytes, sizeof(bytes));
	open_and_note(true);
	assert_int_equal(unlink(UNDERWAY_FILE), 0);
	assert_int_equal(symlink("elsewhere", UNDERWAY_FILE), 0);
	open_and_note(false);
	assert_int_not_equal(access("elsewhere", F_OK), 0);
	assert_int_equal(unlink(UNDERWAY_FILE), 0);
	assert_int_equal(mkfifo(UNDERWAY_FILE, 0600), 0);
	open_and_note(false);
	assert_int_equal(unlink(UNDERWAY_FILE), 0);
	assert_int_equal(mkdir(UNDERWAY_FILE, 0700), 0);
	open_and_note(false);
	assert_int_equal(rmdir(UNDERWAY_FILE), 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    T(test_message), T(test_acquitted), T(test_careful), T(test_suspended), T(test_sweep), T(test_waiting_call),
	    T(test_carried_out), T(test_gone), T(test_file),
	};

	return run_on_both("test_kernel_underway", tests, ARRAY_LEN(tests));
}
