/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Services of programs outside, in process: the programs are played (struct control_server of the harness), good ones and
 * hostile ones. After every step the checker recounts the whole store (C6), and a negative number anywhere fails the test
 * (L1).
 */
#include "kernel_steps.h"

#include "../../broker/hosted.h"
#include "../../broker/router.h"

#define MAX_HOSTS 12

/* --- played programs ------------------------------------------------------------------------------------ */

/* The connection ends. */
static void leaves(struct control_server *h)
{
	void *ctx = h->ctx;

	h->ctx = NULL;
	h->ops->gone(ctx);
}

/* NULL: done; else what it is refused with. */
static const char *registers(struct control_server *h, const char *name, int system_only)
{
	static struct control_request r;
	kref_t ref;
	int e;

	r = (struct control_request){.host = h};
	e = hosted_register(&world->k, &r, name, system_only, &ref);
	must(e);
	assert_int_equal(e == HOSTED_E_REFUSED, r.answered);
	world_run();
	return e ? r.text : NULL;
}

static const char *unregisters(struct control_server *h, const char *name)
{
	static struct control_request r;
	int e;

	r = (struct control_request){.host = h};
	e = hosted_unregister(&world->k, &r, name);
	must(e);
	assert_int_equal(e == HOSTED_E_REFUSED, r.answered);
	world_run();
	return e ? r.text : NULL;
}

static kref_t service(const char *name)
{
	kref_t ref;

	assert_int_equal(service_find(&world->k, name, &ref), 0);
	return ref;
}

/* The next thing that it is asked; NULL: nothing. */
static const char *next_ask(struct control_server *h, uint64_t *idp)
{
	const char *line = h->n_read < h->n_asks ? h->asks[h->n_read++] : NULL;
	json_t *json = line ? json_loads(line, 0, NULL) : NULL;

	if (!line)
		return NULL;
	assert_non_null(json);
	*idp = json_integer_value(json_object_get(json, "id"));
	json_decref(json);
	line = strstr(line, "\"params\":");
	assert_non_null(line);
	return line;
}

static uint64_t asked(struct control_server *h, const char *params)
{
	const char *line;
	char want[1000];
	uint64_t id;

	line = next_ask(h, &id);
	assert_non_null(line);
	snprintf(want, sizeof(want), "\"params\":%s}", params);
	assert_string_equal(line, want);
	return id;
}

static int answer_with(struct control_server *h, uint64_t id, const struct control_answer *a)
{
	int r = h->ops->answer(h->ctx, id, a);

	must(r);
	world_run();
	return r;
}

static int answers(struct control_server *h, uint64_t id, const char *text)
{
	json_t *json = json_loads(text, JSON_DECODE_ANY, NULL);
	int r;

	assert_non_null(json);
	r = answer_with(h, id, &(struct control_answer){.result = json});
	json_decref(json);
	return r;
}

#define CALL(method, args, body, slots)                                                                        \
	"{\"service\":\"greeter\",\"method\":\"" method "\",\"args\":" args                                    \
	",\"methargs\":{\"body\":\"" body "\",\"slots\":[" slots "]}}"

/* "a" has the service as o-2, and asks it for "ping": the result is p+N. */
static struct control_server *greeter(void)
{
	struct control_server *h = program(1000);

	cluster("a");
	assert_null(registers(h, "greeter", -1));
	assert_string_equal(give("a", service("greeter")), "o-2");
	expect_nothing();
	return h;
}

static void ping(unsigned p)
{
	char send[60], subscribe[30];

	snprintf(send, sizeof(send), "send o-2 #[\"ping\",[]] [] p+%u", p);
	snprintf(subscribe, sizeof(subscribe), "subscribe p+%u", p);
	act("a", send, subscribe, NULL);
}

static void told(unsigned p, const char *what)
{
	char text[400];

	snprintf(text, sizeof(text), "notify p+%u %s", p, what);
	takes("a", text);
}

static const char PING[] = CALL("ping", "[]", "#[\\\"ping\\\",[]]", "");
#define LOST KERR("CONNECTION_LOST", "the program that serves it went away before it answered")
#define AWAY KERR("SERVICE_UNAVAILABLE", "the program that serves it is not there")

/* --- calls and answers ---------------------------------------------------------------------------------- */

/* S3, C4: a call with references waits, counted; its answer settles it; a call without result is answered too */
static void test_hosted_call(void **state)
{
	struct control_server *h = greeter();
	char want[400], what[40];
	uint64_t id;
	kref_t o;

	(void)state;
	act("a", "send o-2 #[\"hello\",[\"$0.Alleged:x\",{\"n\":1.5,\"s\":\"!#\"}]] [o+3] p+1", "subscribe p+1",
	    NULL);
	o = kref_of("a", "o+3");
	expect_counts(o, 1, 1);
	expect_nothing();
	snprintf(what, sizeof(what), "ko%u", (unsigned)kref_number(o));
	snprintf(want, sizeof(want),
	         CALL("hello", "[{\"@\":\"%s\"},{\"n\":1.5,\"s\":\"#\"}]",
	              "#[\\\"hello\\\",[\\\"$0.Alleged:x\\\",{\\\"n\\\":1.5,\\\"s\\\":\\\"!#\\\"}]]", "\"%s\""),
	         what, what);
	id = asked(h, want);
	snprintf(want, sizeof(want), "{\"back\":[{\"@\":\"%s\"}]}", what);
	assert_int_equal(answers(h, id, want), 0);
	told(1, "data #{\"back\":[\"$0\"]} [o+3]");
	takes("a", "dropExports o+3");
	takes("a", "retireExports o+3");
	act("a", "send o-2 #[\"ping\",[]] [] -", NULL);
	id = asked(h, PING);
	assert_int_equal(world->k.n_service_queue, 1);
	assert_int_equal(answers(h, id, "null"), 0);
	assert_int_equal(world->k.n_service_queue, 0);
	assert_null(next_ask(h, &id));
	expect_nothing();
}

/* S8: two calls, answered in the other order; the result that is one reference is that object */
static void test_hosted_order(void **state)
{
	struct control_server *h = greeter();
	uint64_t first, second;
	char text[60];

	(void)state;
	act("a", "send o-2 #[\"ping\",[]] [] p+1", "send o-2 #[\"ping\",[]] [] p+2", "subscribe p+1",
	    "subscribe p+2", "send p+2 #through [] -", NULL);
	first = asked(h, PING);
	second = asked(h, PING);
	assert_true(first < second);
	snprintf(text, sizeof(text), "{\"@\":\"ko%u\"}", (unsigned)kref_number(root("a")));
	assert_int_equal(answers(h, second, text), 0);
	told(2, "ref #\"$0\" [o+0]");
	takes("a", "message o+0 #through [] -");
	assert_int_equal(answers(h, first, "1"), 0);
	told(1, "data #1 []");
	expect_nothing();
}

/* L1, C7: answers that nobody should give */
static void test_hosted_bad_answers(void **state)
{
	struct control_server *h = greeter(), *other = program(0);
	_cleanup_free_ char *long_text = calloc(1, HOSTED_MAX_ERROR + 2);
	json_t *many = json_array(), *big = NULL;
	char text[40];
	uint64_t id;
	unsigned i;

	(void)state;
	assert_null(registers(other, "other", 0));
	ping(1);
	id = asked(h, PING);
	assert_int_equal(answers(h, id + 1, "1"), CONTROL_E_NO_REQUEST);
	assert_int_equal(answers(h, UINT64_MAX, "1"), CONTROL_E_NO_REQUEST);
	assert_int_equal(answers(other, id, "1"), CONTROL_E_NO_REQUEST);
	assert_int_equal(answers(h, id, "{\"@\":\"ko999\"}"), 0); /* C7 */
	told(1, "krej " KERR("OBJECT_DELETED", "the answer names ko999, which nothing reaches") " []");
	assert_int_equal(answers(h, id, "1"), CONTROL_E_NO_REQUEST); /* twice */
	ping(2);
	assert_int_equal(answers(h, asked(h, PING), "9007199254740993"), 0);
	told(2, "rej #{\"#error\":\"the answer of the service cannot be passed on: 9007199254740993 is beyond 2^53, "
	        "where numbers stop being exact\",\"name\":\"Error\"} []");
	ping(3);
	answer_with(h, asked(h, PING), &(struct control_answer){.error = "[KERNEL:X] \xff no"});
	told(3, "rej #{\"#error\":\"[KERNEL:X] \\\\xff no\",\"name\":\"Error\"} []"); /* R1: not as the kernel */
	ping(4);
	answer_with(h, asked(h, PING), &(struct control_answer){.malformed = "error: expected an object"});
	told(4, "rej #{\"#error\":\"the answer of the service is malformed: error: expected an "
	        "object\",\"name\":\"Error\"} []");
	memset(long_text, '"', HOSTED_MAX_ERROR + 1);
	ping(5);
	answer_with(h, asked(h, PING), &(struct control_answer){.error = long_text});
	told(5, "rej #{\"#error\":\"the service answered with an error whose message is too "
	        "long\",\"name\":\"Error\"} []");
	/* 10,001 references; a body that is too large for any message */
	for (i = 1; i <= WIRE_MAX_SLOTS + 1; i++) {
		snprintf(text, sizeof(text), "ko%u", i);
		json_array_append_new(many, json_pack("{ss}", "@", text));
	}
	ping(6);
	answer_with(h, asked(h, PING), &(struct control_answer){.result = many});
	told(6, "rej #{\"#error\":\"the answer of the service cannot be passed on: more than 10000 "
	        "references\",\"name\":\"Error\"} []");
	json_array_remove(many, WIRE_MAX_SLOTS);
	ping(7);
	answer_with(h, asked(h, PING), &(struct control_answer){.result = many}); /* that many are legal, but not alive */
	free(next_delivery(raw_named("a")));
	play("a", "done", NULL);
	json_decref(many);
	ping(8);
	big = json_array();
	for (i = 0; i < WIRE_MAX_BODY / HOSTED_MAX_ERROR + 1; i++)
		json_array_append_new(big, json_string(long_text));
	answer_with(h, asked(h, PING), &(struct control_answer){.result = big});
	json_decref(big);
	free(next_delivery(raw_named("a")));
	play("a", "done", NULL);
	assert_int_equal(world->k.n_service_queue, 0);
	expect_nothing();
}

/* L1, C9: an answer that is the promise of the call itself, and one that is another call's */
static void test_hosted_promises(void **state)
{
	struct control_server *h = greeter();
	uint64_t one, two;
	char text[60];

	(void)state;
	ping(1);
	one = asked(h, PING);
	snprintf(text, sizeof(text), "{\"@\":\"kp%u\"}", (unsigned)kref_number(kref_of("a", "p+1")));
	assert_int_equal(answers(h, one, text), 0);
	told(1, "krej " CYCLE " []");
	ping(2);
	ping(3);
	one = asked(h, PING);
	two = asked(h, PING);
	snprintf(text, sizeof(text), "{\"@\":\"kp%u\"}", (unsigned)kref_number(kref_of("a", "p+3")));
	assert_int_equal(answers(h, one, text), 0);
	expect_nothing();
	assert_int_equal(answers(h, two, "5"), 0);
	told(3, "data #5 []");
	told(2, "data #5 []");
}

/* S8: method names and arguments of every kind; all are answered */
static void test_hosted_exotic(void **state)
{
	static const struct { const char *body, *params; } asks[] = {
		{ "[\"\",[]]", CALL("", "[]", "#[\\\"\\\",[]]", "") },
		{ "[\"__proto__\",[]]", CALL("__proto__", "[]", "#[\\\"__proto__\\\",[]]", "") },
		{ "[\"!%m\",[null,-0,2.5]]", CALL("%m", "[null,0,2.5]", "#[\\\"!%m\\\",[null,-0,2.5]]", "") },
		{ "[\"m\",[\"#undefined\"]]", CALL("m", "null", "#[\\\"m\\\",[\\\"#undefined\\\"]]", "") },
		{ "[\"m\",[\"+5\"]]", CALL("m", "null", "#[\\\"m\\\",[\\\"+5\\\"]]", "") },
		{ "[\"m\",[{\"@\":\"ko1\"}]]", CALL("m", "null", "#[\\\"m\\\",[{\\\"@\\\":\\\"ko1\\\"}]]", "") },
		{ "[\"m\",[\"$7\"]]", CALL("m", "null", "#[\\\"m\\\",[\\\"$7\\\"]]", "") },
		{ "[\"m\"]", CALL("m", "null", "#[\\\"m\\\"]", "") },
		{ "[\"m\",5]", CALL("m", "null", "#[\\\"m\\\",5]", "") },
	};
	static const char *const wrong[] = { "[\"%@@asyncIterator\",[]]", "[]", "5", "[[\"m\"]]", "[\"a\\u0000b\",[]]",
					     "[\"\\xff\",[]]" };
	struct control_server *h = greeter();
	_cleanup_free_ char *name = calloc(1, 5000), *big = calloc(1, HOSTED_MAX_BODY + 20);
	char line[200];
	unsigned p = 1, i;
	uint64_t id;

	(void)state;
	for (i = 0; i < ARRAY_LEN(asks); i++, p++) {
		snprintf(line, sizeof(line), "send o-2 #%s [] p+%u", asks[i].body, p);
		act("a", line, NULL);
		assert_int_equal(answers(h, asked(h, asks[i].params), "null"), 0);
	}
	for (i = 0; i < ARRAY_LEN(wrong); i++, p++) {
		char subscribe[40];

		snprintf(line, sizeof(line), "send o-2 #%s [] p+%u", wrong[i], p);
		snprintf(subscribe, sizeof(subscribe), "subscribe p+%u", p);
		act("a", line, subscribe, NULL);
		told(p, "rej #{\"#error\":\"the message is not a method call\",\"name\":\"TypeError\"} []");
		assert_null(next_ask(h, &id));
	}
	memset(name, 'x', 4096);
	snprintf(big, 5000, "#[\"%s\",[]]", name);
	host_send(service("greeter"), big, NULL, 0, false);
	world_run();
	assert_non_null(strstr(next_ask(h, &id), name));
	assert_int_equal(answers(h, id, "1"), 0);
	/* too large to be a line */
	memset(big, ' ', HOSTED_MAX_BODY);
	memcpy(big, "#[\"m\",[]", 8);
	big[HOSTED_MAX_BODY] = ']';
	expect_promise(({ kref_t r = host_send(service("greeter"), big, NULL, 0, true); world_run(); r; }),
	               "rej #{\"#error\":\"the message is too large for a service of a program "
	               "outside\",\"name\":\"RangeError\"} []");
	/* and the largest that is one, with its arguments as the vat wrote them only */
	memmove(big + HOSTED_MAX_BODY - 1, "]", 2);
	host_send(service("greeter"), big, NULL, 0, false);
	world_run();
	assert_non_null(strstr(next_ask(h, &id), "\"args\":null"));
	expect_nothing();
}

/* --- programs come and go ------------------------------------------------------------------------------- */

/* S7, S8: a program goes: what it was asked is lost, what comes later finds nobody; the same uid may come back */
static void test_hosted_lost(void **state)
{
	struct control_server *h = greeter(), *again = program(1000), *other = program(1001), *root_too = program(0);
	kref_t ref = service("greeter");

	(void)state;
	ping(1);
	assert_string_equal(registers(again, "greeter", -1),
	                    "[SERVICE_ATTACHED] \"greeter\" is served already");
	leaves(h);
	world_run();
	told(1, "krej " LOST " []");
	ping(2);
	told(2, "krej " AWAY " []");
	act("a", "send o-2 #[\"ping\",[]] [] -", NULL);
	assert_int_equal(world->k.stats.n_dropped_sends, 1);
	assert_string_equal(registers(other, "greeter", -1),
	                    "[SERVICE_OWNED] \"greeter\" was registered by uid 1000; you are uid 1001");
	assert_string_equal(registers(root_too, "greeter", -1),
	                    "[SERVICE_OWNED] \"greeter\" was registered by uid 1000; you are uid 0");
	assert_null(registers(again, "greeter", -1));
	assert_true(kref_equal(service("greeter"), ref));
	ping(3);
	assert_int_equal(answers(again, asked(again, PING), "3"), 0);
	told(3, "data #3 []");
	assert_int_equal(h->n_asks, 1);
	expect_nothing();
}

/* S8: bounds on what a program is asked at once; the rest waits, in order, and is lost with it */
static void test_hosted_bounds(void **state)
{
	struct control_server *h = greeter();
	uint64_t id = 0, ids[HOSTED_MAX_ASKED];
	unsigned i, n = 0;
	char line[100];

	(void)state;
	for (i = 0; i < HOSTED_MAX_ASKED + 5; i++) {
		snprintf(line, sizeof(line), "#[\"m%u\",[]]", i);
		host_send(service("greeter"), line, NULL, 0, false);
	}
	world_run();
	while (next_ask(h, &id)) {
		assert_true(n < HOSTED_MAX_ASKED);
		ids[n++] = id;
	}
	assert_int_equal(n, HOSTED_MAX_ASKED);
	assert_int_equal(answers(h, ids[7], "null"), 0);
	assert_non_null(strstr(next_ask(h, &id), "\"method\":\"m100\""));
	h->waiting = HOSTED_MAX_WAITING; /* it does not read */
	for (i = 10; i < 14; i++)
		assert_int_equal(answers(h, ids[i], "null"), 0);
	assert_null(next_ask(h, &id));
	h->waiting = 0;
	h->ops->drained(h->ctx);
	world_run();
	for (i = 101; i < HOSTED_MAX_ASKED + 5; i++) {
		snprintf(line, sizeof(line), "\"method\":\"m%u\"", i);
		assert_non_null(strstr(next_ask(h, &id), line));
	}
	assert_null(next_ask(h, &id));
	host_send(service("greeter"), "#[\"last\",[]]", NULL, 0, false);
	ping(1);
	leaves(h);
	world_run();
	told(1, "krej " LOST " []");
	assert_int_equal(world->k.n_service_queue, 0);
	assert_null(world->k.hosted_calls);
	assert_null(world->k.hosted_lost);
}

/* V7: a program that never answers costs a vat its own share of calls, and no other vat anything */
static void test_hosted_never_answers(void **state)
{
	struct control_server *h = program(1);
	unsigned p;

	(void)state;
	cluster("ab");
	assert_null(registers(h, "greeter", 0));
	assert_string_equal(give("a", service("greeter")), "o-3");
	assert_string_equal(give("b", service("greeter")), "o-1");
	world->no_check = true; /* at the end */
	for (p = 1; p <= ROUTER_MAX_CALLS; p += 50) {
		char text[50][60];
		const char *said[52];
		unsigned i;

		for (i = 0; i < 50; i++) {
			snprintf(text[i], sizeof(text[i]), "send o-3 #[\"ping\",[]] [] p+%u", p + i);
			said[i] = text[i];
		}
		said[50] = "done";
		said[51] = NULL;
		poke("a");
		say_list("a", said);
		world_run();
	}
	world->no_check = false;
	act("a", "send o-3 #[\"ping\",[]] [] p+2000", "subscribe p+2000", NULL);
	told(2000, "krej " KERR("QUEUE_FULL", "1000 calls of services by a wait already") " []");
	act("b", "send o-1 #[\"ping\",[]] [] p+1", "subscribe p+1", NULL);
	expect_nothing();
	assert_int_equal(h->n_asks, HOSTED_MAX_ASKED);
	/* its vat ends: what nobody works on is of no use; the rest is answered in vain */
	must(vat_terminate(&world->k, vat_named("a"), "by the test"));
	world_run();
	leaves(h);
	world_run();
	takes("b", "notify p+1 krej " LOST " []");
	assert_int_equal(world->k.n_service_queue, 0);
}

/* X1: revoked while calls wait: what was asked is answered, what waits is not asked */
static void test_hosted_revoked(void **state)
{
	struct control_server *h = greeter();
	uint64_t id;

	(void)state;
	ping(1);
	id = asked(h, PING);
	h->waiting = HOSTED_MAX_WAITING;
	ping(2);
	expect_nothing();
	revoke_ref(service("greeter"));
	h->waiting = 0;
	h->ops->drained(h->ctx);
	world_run();
	told(2, "krej " KERR("OBJECT_REVOKED", "the object was revoked") " []");
	ping(3);
	told(3, "krej " KERR("OBJECT_REVOKED", "the object was revoked") " []");
	assert_int_equal(answers(h, id, "1"), 0);
	told(1, "data #1 []");
	assert_null(next_ask(h, &id));
}

/* V9: the broker ends: in the boot's commit what programs were asked is lost; the service is there, unattended */
static void test_hosted_boot(void **state)
{
	struct control_server *h = greeter(), *again = program(1000);
	kref_t ref = service("greeter"), p;
	uint64_t id;

	(void)state;
	act("a", "send o-2 #[\"ping\",[]] [] p+1", "send o-1 #[\"log\",[\"$0\"]] [o+9] p+2", "subscribe p+1", NULL);
	id = asked(h, PING);
	free(next_delivery(raw_named("a"))); /* dropExports */
	p = kref_of("a", "p+1");
	world_crash();
	expect_promise(p, "krej " KERR("CONNECTION_LOST", "the kernel was started anew before it was answered") " []");
	assert_int_equal(world->k.n_service_queue, 0);
	world_run();
	assert_true(kref_equal(service("greeter"), ref));
	assert_null(registers(again, "greeter", -1));
	assert_int_equal(answers(again, id, "1"), CONTROL_E_NO_REQUEST);
	free(next_delivery(raw_named("a"))); /* startVat */
	play("a", "done", NULL);
	host_send(ref, "#[\"ping\",[]]", NULL, 0, false);
	world_run();
	assert_int_equal(answers(again, asked(again, PING), "1"), 0);
}

/* --- names ---------------------------------------------------------------------------------------------- */

/* S7: names that are taken, and how many there may be */
static void test_hosted_names(void **state)
{
	struct control_server *h[MAX_HOSTS];
	unsigned i, j, n = 1; /* greeter */
	char name[40];

	(void)state;
	h[0] = greeter();
	assert_string_equal(registers(h[0], "console", 0), "[SERVICE_RESERVED] \"console\" is a name of the kernel's own");
	assert_string_equal(registers(h[0], "io:s1:x", 0), "[SERVICE_RESERVED] \"io:s1:x\" is a name of the kernel's own");
	assert_string_equal(registers(h[0], "greeter", 0), "[SERVICE_ATTACHED] \"greeter\" is served already");
	assert_string_equal(registers(NULL, "x", 0), "[-] the caller is gone");
	world->no_check = true;
	for (i = 0; n < HOSTED_MAX_SERVICES; i++) {
		if (i)
			h[i] = program(1000);
		for (j = i ? 0 : 1; j < HOSTED_MAX_NAMES; j++) {
			snprintf(name, sizeof(name), "s%u", n++);
			assert_null(registers(h[i], name, 0));
		}
		if (i)
			continue;
		assert_string_equal(registers(h[0], "more", 0),
		                    "[TOO_MANY_SERVICES] a connection serves at most 100 services");
	}
	world->no_check = false;
	h[i] = program(0);
	assert_string_equal(registers(h[i], "more", 0), "[TOO_MANY_SERVICES] 1000 services are registered already");
	leaves(h[3]);
	world_run();
	assert_null(registers(h[0], "more", 0) ? NULL : "taken");
	assert_null(unregisters(h[i], "s301"));
	assert_null(registers(h[i], "more", 0));
}

/* S7, G10: unregistered: calls end, the object is collected when nobody reaches it, the name is free */
static void test_hosted_unregister(void **state)
{
	struct control_server *h = greeter(), *other = program(1001);
	kref_t ref = service("greeter");
	uint64_t id;

	(void)state;
	assert_string_equal(unregisters(h, "console"), "[SERVICE_RESERVED] \"console\" is the kernel's own service");
	assert_string_equal(unregisters(h, "nobody"), "[SERVICE_UNKNOWN] there is no registered service \"nobody\"");
	assert_string_equal(unregisters(other, "greeter"),
	                    "[SERVICE_OWNED] \"greeter\" was registered by uid 1000; you are uid 1001");
	expect_counts(ref, 2, 2);
	ping(1);
	id = asked(h, PING);
	assert_null(unregisters(h, "greeter"));
	told(1, "krej " KERR("SERVICE_UNAVAILABLE", "the service was unregistered") " []");
	assert_int_equal(answers(h, id, "1"), CONTROL_E_NO_REQUEST);
	expect_counts(ref, 1, 1);
	ping(2);
	told(2, "krej " KERR("SERVICE_UNAVAILABLE", "no such service") " []");
	assert_null(registers(other, "greeter", -1)); /* another service */
	assert_false(kref_equal(service("greeter"), ref));
	act("a", "drop o-2", NULL);
	takes("a", "retireImports o-2");
	assert_false(row_exists(ref));
	expect_nothing();
	/* and one that nobody ever knew goes at once */
	ref = service("greeter");
	assert_null(unregisters(program(0), "greeter"));
	assert_false(row_exists(ref));
}

/* S1: not for ordinary subclusters is as if it were not there, whatever else is said of it later */
static void test_hosted_system_only(void **state)
{
	struct control_server *h = program(5), *again = program(5);
	char unknown[300];

	(void)state;
	world->services = "[\"secret\"]";
	cluster_begin("a", "");
	snprintf(unknown, sizeof(unknown), "%s", world->request.text);
	assert_non_null(strstr(unknown, "services: there is no service \"secret\""));
	assert_null(registers(h, "secret", 1));
	cluster_begin("a", "");
	assert_string_equal(world->request.text, unknown);
	leaves(h);
	world_run();
	assert_null(registers(again, "secret", -1));
	cluster_begin("a", "");
	assert_string_equal(world->request.text, unknown);
	leaves(again);
	assert_null(registers(h = program(5), "secret", 0));
	/* V1: it goes before bootstrap */
	cluster_begin("a", "");
	world_run();
	assert_null(unregisters(h, "secret"));
	start_up("a");
	assert_non_null(strstr(world->request.text, "services: there is no service \"secret\""));
	assert_int_equal(n_rows(T_VAT) + n_rows(T_SUBCLUSTER), 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    T(test_hosted_call),	  T(test_hosted_order),	   T(test_hosted_bad_answers),
	    T(test_hosted_promises),	  T(test_hosted_exotic),   T(test_hosted_lost),
	    T(test_hosted_bounds),	  T(test_hosted_never_answers), T(test_hosted_revoked),
	    T(test_hosted_boot),	  T(test_hosted_names),	   T(test_hosted_unregister),
	    T(test_hosted_system_only),
	};

	return run_on_both("test_kernel_hosted", tests, ARRAY_LEN(tests));
}
