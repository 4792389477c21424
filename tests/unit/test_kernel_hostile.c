/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel in process: packets that are cut off at every byte, or damaged at every byte, in every state of a vat (L1,
 * Y1, Y2). Each costs a vat, so they are tried by as many vats at a time as have letters: a subcluster is launched, used
 * up and removed, and then the checker recounts the whole store (C6). A witness in a subcluster of its own goes on.
 */
#include "kernel_steps.h"

#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVXYZ"
#define MAX     (sizeof(LETTERS) - 1)

/* One frame of each type that a vat may send, and each shape of it. References as they are in a vat of these tests. */
static const char *const frames[] = {
    "send o+0 #hi [o+1 p+2] p+3",
    "send o+0 #hi [] -",
    "subscribe p+1",
    "resolve p+1 data #x [o+1]; p+2 rej #no []; p+3 ref #x [o+1]",
    "exit ok #bye [o+1]",
    "exit fail #bye []",
    "drop o-1 o-2",
    "retimp o-1 o-2",
    "retexp o+1 o+2",
    "abandon o+1 o+2",
    "set key value",
    "del key",
    "get key",
    "next key",
    "clist o-1",
    "done",
    "error bad",
    "hello 1 32",
    "log text",
    "wakeme",
    "pong",
};

static void encode(struct wire_buf *b, const char *name, const char *frame)
{
	if (strcmp(frame, "pong")) {
		assert_true(syscall_encode(b, raw_named(name)->delivery, frame));
		return;
	}
	wire_begin(b, WIRE_PONG, 0, 0);
	wire_u64(b, 1);
	wire_end(b);
}

static const char *letter(size_t i)
{
	static char names[MAX][2];

	names[i][0] = LETTERS[i];
	return names[i];
}

/* --- states that the first n vats are brought into ------------------------------------------------------ */

static void poke_all(size_t n, const char *body)
{
	for (size_t i = 0; i < n; i++)
		host_send(root(letter(i)), body, NULL, 0, false);
}

static void say_all(size_t n, const char *text)
{
	for (size_t i = 0; i < n; i++)
		say(letter(i), text, NULL);
	world_run();
}

static void expect_all(size_t n, const char *text)
{
	for (size_t i = 0; i < n; i++)
		expect(letter(i), text);
}

static void idle(size_t n) { (void)n; }

static void in_crank(size_t n)
{
	poke_all(n, "#poke");
	world_run();
	expect_all(n, "message o+0 #poke [] -");
}

static void after_exit(size_t n)
{
	in_crank(n);
	say_all(n, "exit ok #bye []");
}

static void with_read_open(size_t n)
{
	in_crank(n);
	say_all(n, "get key");
}

/* Two more deliveries are in flight behind the one in hand (D11). */
static void ahead(size_t n)
{
	say_all(n, "hello 1 32");
	for (size_t i = 0; i < n; i++)
		vat_named(letter(i))->crank.pace = CRANK_WINDOW;
	in_crank(n);
	poke_all(n, "#1");
	poke_all(n, "#2");
	poke_all(n, "#3");
	say_all(n, "done");
	for (size_t i = 0; i < n; i++)
		assert_int_equal(vat_named(letter(i))->crank.n_sent, 3);
	expect_all(n, "message o+0 #1 [] -");
}

static const struct state {
	const char *name;
	void (*enter)(size_t n);
	const char *before; /* a legal frame in the same packet */
} states[] = {
    {"in a crank", in_crank, NULL},
    {"in a crank, behind a write", in_crank, "set k v"},
    {"idle", idle, NULL},
    {"idle, behind a log", idle, "log x"},
    {"after an exit", after_exit, NULL},
    {"with a read open", with_read_open, NULL},
    {"with deliveries ahead", ahead, NULL},
    {"with deliveries ahead, behind a done", ahead, "done"},
};

/* --- batches -------------------------------------------------------------------------------------------- */

struct attempt {
	const struct state *state;
	const char *frame;
	size_t at;    /* cut here, or damaged here */
	uint8_t mask; /* 0: cut */
};
static struct attempt batch[MAX];
static size_t n_batch;
static uint64_t n_illegal;

static void begin(void)
{
	n_batch = n_illegal = 0;
	world->no_check = true; /* at the end of each batch only */
	cluster("W");
}

static void witness(void)
{
	act("W", "set witness x", NULL);
	assert_int_equal(vat_named("W")->row.incarnation, 1);
	assert_int_equal(vat_named("W")->row.n_deaths, 0);
}

static void use_up(void)
{
	must(subcluster_terminate(&world->k, subcluster_of("a"), "used up", NULL));
	world_run();
	assert_int_equal(world->k.n_in_flight, 0);
	assert_int_equal(world_check(true), 0);
	witness();
}

static void send_attempt(const char *name, const struct attempt *a)
{
	struct wire_buf b = WIRE_BUF_INIT;
	size_t whole;

	if (a->state->before)
		encode(&b, name, a->state->before);
	whole = b.len;
	encode(&b, name, a->frame);
	if (a->mask)
		b.data[whole + a->at] ^= a->mask;
	send_bytes(name, b.data, a->mask ? b.len : whole + a->at);
	wire_buf_deinit(&b);
}

static void expect_end(const char *name, const struct attempt *a)
{
	if (status(name) == VAT_TERMINATED && !strncmp(reason(name), "illegal syscall: ", 17))
		return;
	fail_msg("%s cut at %zu, %s: status %d, %s", a->frame, a->at, a->state->name, status(name), reason(name));
}

static void flush_cuts(void)
{
	char letters[MAX + 1] = LETTERS;

	if (!n_batch)
		return;
	letters[n_batch] = '\0';
	cluster(letters);
	batch[0].state->enter(n_batch);
	for (size_t i = 0; i < n_batch; i++)
		send_attempt(letter(i), &batch[i]);
	world_run();
	for (size_t i = 0; i < n_batch; i++)
		expect_end(letter(i), &batch[i]);
	n_illegal += n_batch;
	assert_int_equal(world->k.stats.n_illegal, n_illegal);
	n_batch = 0;
	use_up();
}

static void flush_damage(void)
{
	char letters[MAX + 1] = LETTERS;

	if (!n_batch)
		return;
	letters[n_batch] = '\0';
	cluster(letters);
	batch[0].state->enter(n_batch);
	for (size_t i = 0; i < n_batch; i++)
		send_attempt(letter(i), &batch[i]);
	world_run();
	for (size_t i = 0; i < n_batch; i++)
		if (raw_named(letter(i))->fd >= 0)
			say(letter(i), "done", NULL);
	world_run();
	n_batch = 0;
	use_up();
}

static size_t length(const char *frame)
{
	struct wire_buf b = WIRE_BUF_INIT;
	size_t len;

	encode(&b, "W", frame);
	len = b.len;
	wire_buf_deinit(&b);
	return len;
}

/* --- the tests ------------------------------------------------------------------------------------------ */

/* L1, Y1, Y2: whatever the frame, the byte and the state: the vat is terminated, and nothing else happens */
static void cut_at_every_byte(size_t first, size_t n)
{
	size_t s, f, at;

	begin();
	for (s = first; s < first + n; s++) {
		for (f = 0; f < ARRAY_LEN(frames); f++) {
			size_t len = length(frames[f]);

			/* Nothing of it is an empty packet, or behind another frame just that. */
			for (at = states[s].before ? 1 : 0; at < len; at++) {
				batch[n_batch++] = (struct attempt){&states[s], frames[f], at, 0};
				if (n_batch == MAX)
					flush_cuts();
			}
		}
		flush_cuts();
	}
	assert_int_equal(world->k.stats.n_deaths, 0);
	assert_int_equal(n_rows(T_VATSTORE), 1); /* the witness's */
}

static void test_cut_at_every_byte(void **state)
{
	(void)state;
	cut_at_every_byte(0, 4);
}

static void test_cut_at_every_byte_later(void **state)
{
	(void)state;
	cut_at_every_byte(4, 4);
}

/* L1: one byte is another; that may be legal, or the vat's end in any way, but it is its own affair */
static void test_damaged_at_every_byte(void **state)
{
	static const uint8_t masks[] = {0xff, 0x01, 0x40};
	size_t f, at;

	(void)state;
	begin();
	for (f = 0; f < ARRAY_LEN(frames); f++) {
		size_t len = length(frames[f]);

		for (at = 0; at < len; at++) {
			batch[n_batch++] = (struct attempt){&states[0], frames[f], at, masks[at % ARRAY_LEN(masks)]};
			if (n_batch == MAX)
				flush_damage();
		}
	}
	flush_damage();
}

/* L1, Y1: the parts of a large frame, cut: in the first part, in a middle one, in the last */
static void test_parts_cut(void **state)
{
	static uint8_t frame[3 * WIRE_MAX_PACKET], part[WIRE_MAX_PACKET];
	static const size_t cuts[] = {0, 1, 4, 8, 15, 16, 23, 24, 25, 31, 32, 100};
	const uint32_t size = sizeof(frame);
	size_t which, i, n;

	(void)state;
	begin();
	memcpy(frame, &size, sizeof(size));
	cluster(LETTERS);
	in_crank(MAX);
	for (which = 0; which < 4; which++) {
		for (i = 0; i < ARRAY_LEN(cuts); i++) {
			const char *name = letter(which * ARRAY_LEN(cuts) + i);
			size_t offset = 0, p;

			for (p = 0; p < which; p++) {
				n = wire_cut_part(frame, sizeof(frame), &offset, part);
				send_bytes(name, part, n);
				world_step();
			}
			n = wire_cut_part(frame, sizeof(frame), &offset, part);
			/* From its beginning on, and back from its end. */
			send_bytes(name, part, i % 2 && cuts[i] < n ? n - cuts[i] : cuts[i]);
			world_step();
		}
	}
	world_run();
	for (i = 0; i < 4 * ARRAY_LEN(cuts); i++)
		expect_end(letter(i), &(struct attempt){&states[0], "part", i, 0});
	assert_int_equal(world->k.stats.n_illegal, 4 * ARRAY_LEN(cuts));
	use_up();
	assert_int_equal(world->k.stats.n_deaths, 0);
}

/* Nothing here is about what survives a power failure: in memory it costs a tenth. */
static int setup(void **state)
{
	char *dir = malloc(DIR_MAX);

	strcpy(dir, "/dev/shm/capstan-store-XXXXXX");
	*state = dir;
	if (!mkdtemp(dir))
		return -1;
	world_open(dir, STORE_OVERLAY);
	return 0;
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_cut_at_every_byte, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_cut_at_every_byte_later, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_damaged_at_every_byte, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_parts_cut, setup, teardown),
	};

	return run_on_both("test_kernel_hostile", tests, ARRAY_LEN(tests));
}
