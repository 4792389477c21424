/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The service kernelFacet (S11), played by hand (kernel_harness.h): every method, called by a vat and from outside. Each test runs on
 * both kinds of store; the counts are recounted after every step.
 */
#include "kernel_steps.h"

#include <inttypes.h>

#include "../../broker/aside.h"
#include "../../broker/promise.h"
#include "../../broker/service.h"

#define ZEROS "0000000000000000000000000000000000000000000000000000000000000000"
#define PROGRAM(name) "\"" name "\":{\"program\":\"sha256:" ZEROS "\"}"
#define CLUSTER(name) "{\"bootstrap\":\"" name "\",\"vats\":{" PROGRAM(name) "}}"
#define LAUNCH(name) "#[\"launchSubcluster\",[" CLUSTER(name) "]]"
#define TYPE_ERROR(text) "rej #{\"#error\":\"" text "\",\"name\":\"TypeError\"} []"
#define ERROR(text) "rej #{\"#error\":\"" text "\",\"name\":\"Error\"} []"
#define NO_REFERENCE(method) TYPE_ERROR("kernelFacet." method ": argument 1: expected a reference")

static kref_t facet(void)
{
	kref_t ref;

	assert_int_equal(service_find(&world->k, "kernelFacet", &ref), 0);
	return ref;
}

/* A call from outside. */
static kref_t ask(const char *body, const kref_t *slots, size_t n)
{
	kref_t p = host_send(facet(), body, slots, n, true);

	world_run();
	return p;
}

static void asked(const char *body, const char *want) { expect_promise(ask(body, NULL, 0), want); }
static void asked_of(const char *body, kref_t ref, const char *want) { expect_promise(ask(body, &ref, 1), want); }

/* What it is settled with: body and the text of its slots; static. */
static const char *answer(kref_t promise)
{
	static char text[20000];
	struct capdata value;
	char buf[REF_TEXT_MAX];
	size_t i, n;

	if (promise_row(promise).state == PROMISE_UNRESOLVED)
		return "unresolved";
	assert_int_equal(promise_value(&world->k, promise, &value), 0);
	n = snprintf(text, sizeof(text), "%.*s [", (int)value.body_len, (const char *)value.body);
	for (i = 0; i < value.n_slots; i++)
		n += snprintf(text + n, sizeof(text) - n, "%s%s", i ? " " : "", kref_format((kref_t){ capdata_slot(&value, i) }, buf));
	snprintf(text + n, sizeof(text) - n, "]");
	return text;
}

static void has(kref_t promise, const char *part)
{
	if (!strstr(answer(promise), part))
		fail_msg("%s\n  is not in %s", part, answer(promise));
}

static kref_t slot_of(kref_t promise, size_t i)
{
	struct capdata value;

	assert_int_equal(promise_value(&world->k, promise, &value), 0);
	assert_true(i < value.n_slots);
	return (kref_t){ capdata_slot(&value, i) };
}

/* Two vats; a has the facet as o-3. */
static void setup_facet(void)
{
	cluster("ab");
	assert_string_equal(give("a", facet()), "o-3");
}

static size_t n_calls(void) { return world->k.n_service_queue; }

static size_t n_subclusters(void) { return n_rows(T_SUBCLUSTER); }

static bool is_there(const char *name)
{
	struct vat *v, *tmp;

	HASH_ITER(hh, world->k.vats, v, tmp)
		if (!strcmp(v->row.name, name))
			return true;
	return false;
}

/* --- launching ----------------------------------------------------------------------------------------------- */

/* What the launched vat is given, and answers. */
static void bootstraps(const char *name, const char *answered)
{
	char *text;

	start_up(name);
	text = next_delivery(raw_named(name));
	assert_non_null(text);
	assert_int_equal(strncmp(text, "message o+0 #[\"bootstrap\"", 24), 0);
	free(text);
	play(name, answered, "done", NULL);
}

/* S11, V1: from inside a crank; the root is a reference, bootstrap's answer its value, whatever that is. And ended again. */
static void test_launch(void **state)
{
	kref_t p;

	(void)state;
	setup_facet();
	act("a", "send o-3 " LAUNCH("x") " [] p+1", "subscribe p+1", NULL);
	assert_int_equal(n_calls(), 1);
	bootstraps("x", "resolve p-1 data #{\"n\":[\"$0.x\",\"+5\"]} [o+7]");
	assert_int_equal(n_calls(), 0);
	/* Both settle in one notify (P7). */
	takes("a", "notify p+1 data #{\"bootstrapResult\":\"&0\",\"root\":\"$1\",\"subclusterId\":\"s2\",\"vats\":{\"x\":\"v3\"}} [p-2 o-4]; "
	      "p-2 data #{\"n\":[\"$0.x\",\"+5\"]} [o-5]");
	act("a", "send o-4 #hello [] p+2", NULL);
	takes("x", "message o+0 #hello [] p-2");
	act("a", "send o-3 #[\"terminateSubcluster\",[\"s2\"]] [] p+3", "subscribe p+3", NULL);
	assert_false(is_there("x"));
	takes("a", "notify p+3 data #{} []");
	assert_int_equal(n_calls(), 0);
	/* From outside the same. */
	p = ask(LAUNCH("y"), NULL, 0);
	bootstraps("y", "resolve p-1 data #\"$0\" [o+0]");
	has(p, "#{\"bootstrapResult\":\"&0\",\"root\":\"$1\",\"subclusterId\":\"s3\",\"vats\":{\"y\":\"v4\"}} [kp");
	assert_int_equal(slot_of(p, 1).bits, root("y").bits);
}

/* V1, S1, S11: every way in which it fails is a rejection, and nothing is left */
static void test_launch_fails(void **state)
{
	kref_t p, b;

	(void)state;
	setup_facet();
	b = root("b");
	asked("#[\"launchSubcluster\",[]]", TYPE_ERROR("kernelFacet.launchSubcluster: config: missing"));
	asked_of("#[\"launchSubcluster\",[\"$0\"]]", b, TYPE_ERROR("kernelFacet.launchSubcluster: argument 1: expected data, not a reference"));
	asked("#[\"launchSubcluster\",[{\"@\":\"ko1\"}]]",
	      TYPE_ERROR("kernelFacet.launchSubcluster: argument 1: a record with the name \\\"@\\\" cannot be said in JSON"));
	has(ask("#[\"launchSubcluster\",[5]]", NULL, 0), "\"name\":\"TypeError\"");
	asked("#[\"launchSubcluster\",[{\"bootstrap\":\"x\",\"vats\":{\"x\":{\"program\":\"./x\"}}}]]",
	      TYPE_ERROR("kernelFacet.launchSubcluster: config: ./x is a path, and no open file came with it; name a program or file that was "
			 "launched before by \\\"sha256:\\\" and its hash"));
	has(ask("#[\"launchSubcluster\",[{\"bootstrap\":\"x\",\"vats\":{" PROGRAM("x") "},\"services\":[\"kernelFacet\"]}]]", NULL, 0),
	    "services: there is no service \\\"kernelFacet\\\"");
	has(ask("#[\"launchSubcluster\",[{\"bootstrap\":\"x\",\"vats\":{" PROGRAM("x") "},\"services\":[\"none\"]}]]", NULL, 0),
	    "services: there is no service \\\"none\\\"");
	assert_int_equal(n_subclusters(), 1);
	p = ask(LAUNCH("x"), NULL, 0);
	start_up("x");
	free(next_delivery(raw_named("x")));
	play("x", "resolve p-1 rej #{\"#error\":\"not\\u0020ko5\",\"name\":\"Error\"} []", "done", NULL);
	expect_promise(p, ERROR("[LAUNCH_FAILED] bootstrap of x failed: Error: not the reference"));
	p = ask(LAUNCH("x"), NULL, 0);
	process_dies("x", SIGSEGV);
	has(p, "[LAUNCH_FAILED] vat x: ");
	assert_int_equal(n_subclusters(), 1);
	assert_int_equal(n_calls(), 0);
}

/* S11: references in the parameters are slots, and held */
static void test_parameters(void **state)
{
	kref_t b;

	(void)state;
	setup_facet();
	b = root("b");
	act("a", "send o-3 #[\"launchSubcluster\",[{\"bootstrap\":\"x\",\"vats\":{\"x\":{\"program\":\"sha256:" ZEROS "\","
	    "\"parameters\":{\"to\":\"$0\",\"n\":5}}}}]] [o-1] p+1", NULL);
	takes("x", "startVat #{\"n\":5,\"to\":\"$0\"} [o-1]");
	assert_string_equal(vref_of("x", b), "o-1");
}

/* V9, V1, S11: the broker ends in the middle; the call begins again, what was half launched is gone by then */
static void test_crash_in_launch(void **state)
{
	(void)state;
	setup_facet();
	act("a", "send o-3 " LAUNCH("x") " [] p+1", "subscribe p+1", NULL);
	start_up("x");
	world_crash();
	world_run();
	assert_int_equal(vat_named("x")->number, 4); /* another one */
	assert_int_equal(n_subclusters(), 2);
	start_up("a");
	start_up("b");
	/* The answer is noted and carried out, and not committed. */
	start_up("x");
	free(next_delivery(raw_named("x")));
	say("x", "resolve p-1 data #1 []", "done", NULL);
	world_step();
	assert_int_equal(n_calls(), 0);
	world_crash();
	world_run();
	assert_int_equal(n_calls(), 1);
	start_up("a");
	start_up("b");
	bootstraps("x", "resolve p-1 data #2 []");
	takes("a", "notify p+1 data #{\"bootstrapResult\":\"&0\",\"root\":\"$1\",\"subclusterId\":\"s4\",\"vats\":{\"x\":\"v5\"}} [p-2 o-4]; "
	      "p-2 data #2 []");
	/* Once it was committed it is not done again. */
	world_crash();
	world_run();
	start_up("a");
	start_up("b");
	start_up("x");
	expect_nothing();
	assert_int_equal(n_subclusters(), 2);
	assert_int_equal(vat_named("x")->number, 5);
}

/* S11: what one method does and its answer are one transaction */
static void test_crash_after_pin(void **state)
{
	kref_t b;

	(void)state;
	setup_facet();
	b = root("b");
	act("a", "send o-3 #[\"pin\",[\"$0\"]] [o-1] p+1", "subscribe p+1", NULL);
	takes("a", "notify p+1 data #{\"kref\":\"$0\",\"pins\":1} [o-1]");
	poke("a");
	say("a", "send o-3 #[\"pin\",[\"$0\"]] [o-1] -", "done", NULL);
	world_commit();
	world_step();
	assert_int_equal(n_calls(), 0);
	world_crash();
	world_run();
	start_up("a");
	start_up("b");
	takes("a", "message o+0 #poke [] -"); /* abandoned: nothing was pinned */
	asked_of("#[\"pin\",[\"$0\"]]", b, "data #{\"kref\":\"$0\",\"pins\":2} [ko6]");
}

/* R5, L1: a thousand launches at once, and what they leave when all fail, or whoever asked goes */
static void test_many(void **state)
{
	const char *said[52];
	size_t i;

	(void)state;
	setup_facet();
	for (i = 0; i < 50; i++)
		said[i] = "send o-3 " LAUNCH("x") " [] -";
	said[50] = "done";
	said[51] = NULL;
	world->no_check = true;
	world->fail_starts = "there is no room";
	for (i = 0; i < 20; i++) {
		poke("a");
		say_list("a", said);
		world_step();
	}
	world_run();
	world->no_check = false;
	world_commit();
	assert_int_equal(n_calls(), 0);
	assert_int_equal(n_subclusters(), 1);
	assert_int_equal(world->k.next_subcluster, 1002); /* all of them were tried */
	world->fail_starts = NULL;
	world->hold_starts = true;
	for (i = 0; i < 30; i++)
		said[i] = "send o-3 " LAUNCH("x") " [] -";
	said[30] = "done";
	said[31] = NULL;
	poke("a");
	say_list("a", said);
	world_run();
	assert_int_equal(n_calls(), 30);
	terminate("a");
	assert_int_equal(n_calls(), 0);
	world->hold_starts = false;
	world_run();
	assert_int_equal(n_subclusters(), 31); /* they were sent */
}

/* --- oneself -------------------------------------------------------------------------------------------------- */

/* S11: a vat may end itself, and its subcluster; nobody is left who waits */
static void test_ends_itself(void **state)
{
	kref_t promise;

	(void)state;
	setup_facet();
	act("a", "send o-3 #[\"terminateVat\",[\"v1\"]] [] p+1", "send o-1 #look [p+1] -", NULL);
	expect_terminated("a", "terminated by request");
	takes("b", "message o+0 #look [p-1] -");
	expect_promise(kref_of("b", "p-1"), "data #{} []");
	assert_int_equal(n_calls(), 0);
	assert_string_equal(give("b", facet()), "o-1");
	act("b", "send o-1 #[\"terminateSubcluster\",[\"s1\"]] [] p+1", "send o-1 #[\"getStatus\",[]] [] p+2",
	    "send o-1 #[\"terminateVat\",[\"v2\"]] [] p+3", "send o-1 #[\"launchSubcluster\",[5]] [] -", NULL);
	assert_int_equal(n_subclusters(), 0);
	assert_int_equal(n_calls(), 0);
	promise = ask("#[\"terminateSubcluster\",[\"s1\"]]", NULL, 0);
	expect_promise(promise, ERROR("[SUBCLUSTER_UNKNOWN] there is no s1"));
}

/* V2, S11: suspended and restarted by itself */
static void test_suspends_itself(void **state)
{
	(void)state;
	setup_facet();
	act("a", "send o-3 #[\"suspendVat\",[\"v1\"]] [] p+1", "subscribe p+1", NULL);
	assert_int_equal(status("a"), VAT_SUSPENDED);
	asked("#[\"resumeVat\",[\"v1\"]]", "data #{} []");
	takes("a", "notify p+1 data #{} []");
	asked("#[\"resumeVat\",[\"v1\"]]", ERROR("[VAT_NOT_SUSPENDED] v1 is not suspended"));
	act("a", "send o-3 #[\"restartVat\",[\"v1\"]] [] p+2", "subscribe p+2", NULL);
	assert_int_equal(vat_named("a")->row.incarnation, 2);
	start_up("a");
	takes("a", "notify p+2 data #{} []"); /* nobody but the kernel decides it */
	assert_int_equal(n_calls(), 0);
}

/* --- the others ------------------------------------------------------------------------------------------------- */

/* S11: vats may have the names of what is a reference elsewhere */
static void test_names(void **state)
{
	kref_t p;

	(void)state;
	setup_facet();
	p = ask("#[\"launchSubcluster\",[{\"bootstrap\":\"lost\",\"vats\":{" PROGRAM("lost") "," PROGRAM("target") "}}]]", NULL, 0);
	start_up("target");
	bootstraps("lost", "resolve p-1 data #ok []");
	has(p, "\"vats\":{\"lost\":\"v3\",\"target\":\"v4\"}");
}

/* S11: what there is, with real references, and no text of one anywhere */
static void test_shown(void **state)
{
	static const char *const lists[] = { "#[\"getStatus\",[]]", "#[\"listSubclusters\",[]]", "#[\"holds\",[]]", "#[\"listServices\",[]]",
					     "#[\"aside\",[]]" };
	kref_t p, b;
	size_t i;

	(void)state;
	setup_facet();
	b = root("b");
	p = ask("#[\"listSubclusters\",[]]", NULL, 0);
	has(p, "#{\"subclusters\":[{\"bootstrap\":\"a\",\"id\":\"s1\",\"name\":\"\",\"root\":\"$0\",\"status\":\"running\","
	       "\"vats\":{\"a\":\"v1\",\"b\":\"v2\"}}]} [");
	assert_int_equal(slot_of(p, 0).bits, root("a").bits);
	has(ask("#[\"getStatus\",[]]", NULL, 0), "\"version\":\"");
	asked_of("#[\"pin\",[\"$0\"]]", b, "data #{\"kref\":\"$0\",\"pins\":1} [ko6]");
	has(ask("#[\"holds\",[]]", NULL, 0), "{\"count\":1,\"kind\":\"pin\",\"kref\":\"$");
	has(ask("#[\"listServices\",[]]", NULL, 0), "\"name\":\"kernelFacet\",\"systemOnly\":true,\"waiting\":1}");
	for (i = 0; i < ARRAY_LEN(lists); i++) {
		p = ask(lists[i], NULL, 0);
		assert_null(strstr(answer(p), "\"ko"));
		assert_null(strstr(answer(p), "\"kp"));
	}
	/* A vat by such a name is not mistaken for a reference. */
	p = ask(LAUNCH("kref"), NULL, 0);
	bootstraps("kref", "resolve p-1 data #1 []");
	has(p, "\"vats\":{\"kref\":\"v3\"}");
}

/* S11, L1: every method with every kind of bad argument */
static void test_arguments(void **state)
{
	static const char *const of_vats[] = { "terminateVat", "restartVat", "suspendVat", "resumeVat", "pingVat", "revokeVat", "getLog",
					       "reapVats" };
	static const char *const of_refs[] = { "pin", "unpin", "release", "revoke", "isRevoked", "queueMessage" };
	static const char *const no_vats[] = { "", "1", "\"v\"", "\"s1\"", "\"ko5\"", "null", "[]", "{}", "\"v99999999999999999999\"", "\"#undefined\"" };
	static const char *const no_refs[] = { "", "\"ko5\"", "{\"@\":\"ko5\"}", "\"$9\"", "5", "[\"$0\"]" };
	char body[200], want[200];
	size_t i, j;
	kref_t b;

	(void)state;
	setup_facet();
	b = root("b");
	for (i = 0; i < ARRAY_LEN(of_vats); i++) {
		snprintf(want, sizeof(want), TYPE_ERROR("kernelFacet.%s: id: expected a vat, as in \\\"v1\\\""), of_vats[i]);
		for (j = 0; j < ARRAY_LEN(no_vats); j++) {
			snprintf(body, sizeof(body), "#[\"%s\",[%s]]", of_vats[i], no_vats[j]);
			asked(body, want);
		}
		snprintf(body, sizeof(body), "#[\"%s\",[\"v77\"]]", of_vats[i]);
		asked(body, ERROR("[VAT_UNKNOWN] there is no v77"));
		snprintf(body, sizeof(body), "#[\"%s\",[\"$0\"]]", of_vats[i]);
		snprintf(want, sizeof(want), TYPE_ERROR("kernelFacet.%s: argument 1: expected data, not a reference"), of_vats[i]);
		asked_of(body, b, want);
	}
	for (i = 0; i < ARRAY_LEN(of_refs); i++) {
		snprintf(want, sizeof(want), TYPE_ERROR("kernelFacet.%s: argument 1: expected a reference"), of_refs[i]);
		for (j = 0; j < ARRAY_LEN(no_refs); j++) {
			snprintf(body, sizeof(body), "#[\"%s\",[%s]]", of_refs[i], no_refs[j]);
			asked_of(body, b, want);
		}
	}
	asked("#[\"terminateSubcluster\",[\"v1\"]]", TYPE_ERROR("kernelFacet.terminateSubcluster: id: expected a subcluster, as in \\\"s1\\\""));
	asked("#[\"terminateSubcluster\",[\"s7\"]]", ERROR("[SUBCLUSTER_UNKNOWN] there is no s7"));
	asked("#[\"getLog\",[\"v1\",-1]]", TYPE_ERROR("kernelFacet.getLog: after: expected a line number"));
	asked("#[\"reapVats\",[\"v1\",true]]", TYPE_ERROR("kernelFacet.reapVats: all: expected true, and then no id"));
	asked("#[\"shutdown\",[]]", TYPE_ERROR("kernelFacet.shutdown: no such method"));
	asked("#[\"terminateAllVats\",[]]", TYPE_ERROR("kernelFacet.terminateAllVats: no such method"));
	asked("#[\"registerService\",[\"x\"]]", TYPE_ERROR("kernelFacet.registerService: no such method"));
	asked("#[\"pin\",5]", TYPE_ERROR("kernelFacet.pin: the arguments are not an array of smallcaps values"));
	asked("#[\"pin\"]", TYPE_ERROR("kernelFacet.pin: the arguments are not an array of smallcaps values"));
	asked("#[5,[]]", TYPE_ERROR("the message is not a method call"));
	asked("#[\"dropAside\",[]]", TYPE_ERROR("kernelFacet.dropAside: argument 1: missing"));
	assert_int_equal(n_calls(), 0);
	assert_null(world->locals);
}

/* G5, X1, G8, S11 */
static void test_upkeep(void **state)
{
	kref_t b, p;

	(void)state;
	setup_facet();
	b = root("b");
	asked_of("#[\"unpin\",[\"$0\"]]", b, ERROR("[NOT_PINNED] the reference is not pinned; `holds` lists what is"));
	asked_of("#[\"pin\",[\"$0\"]]", b, "data #{\"kref\":\"$0\",\"pins\":1} [ko6]");
	asked_of("#[\"unpin\",[\"$0\"]]", b, "data #{\"kref\":\"$0\",\"pins\":0} [ko6]");
	asked_of("#[\"release\",[\"$0\"]]", b, ERROR("[NOT_HELD] the reference is not held for you; `holds` lists what is"));
	must(kernel_savepoint(&world->k));
	must(kernel_hold(&world->k, b, HOLD_PERSON, 0, 1));
	must(kernel_release(&world->k));
	asked_of("#[\"release\",[\"$0\"]]", b, "data #{} []");
	asked_of("#[\"isRevoked\",[\"$0\"]]", b, "data #{\"revoked\":false} []");
	asked_of("#[\"revoke\",[\"$0\"]]", b, "data #{} []");
	asked_of("#[\"isRevoked\",[\"$0\"]]", b, "data #{\"revoked\":true} []");
	asked("#[\"revokeVat\",[\"v1\"]]", "data #{} []");
	asked_of("#[\"isRevoked\",[\"$0\"]]", root("a"), "data #{\"revoked\":true} []");
	p = ask("#[\"reapVats\",[\"v2\"]]", NULL, 0);
	expect_promise(p, "data #{\"vats\":1} []");
	takes("b", "bringOutYourDead");
	asked("#[\"reapVats\",[\"#undefined\",true]]", "data #{\"vats\":2} []");
	takes("a", "bringOutYourDead");
	takes("b", "bringOutYourDead");
	p = ask("#[\"collectGarbage\",[]]", NULL, 0);
	expect_promise(p, "unresolved");
	takes("a", "bringOutYourDead");
	takes("b", "bringOutYourDead");
	has(p, "#{\"circular\":0,\"objects\":");
	has(ask("#[\"getLog\",[\"v1\"]]", NULL, 0), "#{\"lines\":[],\"next\":0} []");
	/* Itself: from then on it is as revoked as anything. */
	asked_of("#[\"revoke\",[\"$0\"]]", facet(), "data #{} []");
	asked("#[\"getStatus\",[]]", "krej " REVOKED " []");
}

/* S11: an answer from a process; one that ends instead; one that has none */
static void test_ping(void **state)
{
	struct wire_buf pong = WIRE_BUF_INIT;
	uint64_t token;
	kref_t p;

	(void)state;
	setup_facet();
	p = ask("#[\"pingVat\",[\"v2\"]]", NULL, 0);
	expect_promise(p, "unresolved");
	token = vat_named("b")->ping_token;
	wire_begin(&pong, WIRE_PONG, 0, 0);
	wire_u64(&pong, token);
	wire_end(&pong);
	send_bytes("b", pong.data, pong.len);
	wire_buf_deinit(&pong);
	world_run();
	has(p, "#{\"us\":");
	act("a", "send o-3 #[\"pingVat\",[\"v1\"]] [] -", NULL); /* itself; it does not answer */
	p = ask("#[\"pingVat\",[\"v2\"]]", NULL, 0);
	terminate("b");
	expect_promise(p, ERROR("[VAT_NOT_RUNNING] the process of b ended before it answered"));
	has(ask("#[\"pingVat\",[\"v2\"]]", NULL, 0), "[VAT_TERMINATED] v2 is terminated: by the test");
}

/* P5, D3, S11: whoever the message reaches answers the call; any value, and the sender's own share */
static void test_queue_message(void **state)
{
	kref_t refs[2], p;

	(void)state;
	setup_facet();
	refs[0] = root("b");
	refs[1] = root("a");
	p = ask("#[\"queueMessage\",[\"$0\",\"do\",[\"$1\",\"+99999999999999999999\",{\"@\":\"ko1\"}, \"#NaN\"],\"more\"]]", refs, 2);
	expect("b", "message o+0 #[\"do\",[\"$1\",\"+99999999999999999999\",{\"@\":\"ko1\"}, \"#NaN\"]] [o+0 o-1] p-1");
	play("b", "resolve p-1 data #\"$0\" [o+9]", "done", NULL);
	has(p, "#\"$0\" [");
	act("a", "send o-3 #[\"queueMessage\",[\"$0\",\"%go\",[]]] [o-1] p+1", "subscribe p+1", NULL);
	expect("b", "message o+0 #[\"%go\",[]] [o+0] p-2");
	assert_int_equal(n_calls(), 0);
	play("b", "resolve p-2 rej #\"no\" []", "done", NULL);
	takes("a", "notify p+1 rej #\"no\" []");
	asked_of("#[\"queueMessage\",[\"$0\",5,[]]]", refs[0], TYPE_ERROR("kernelFacet.queueMessage: argument 2: expected the name of a method"));
	asked_of("#[\"queueMessage\",[\"$0\",\"m\",5]]", refs[0], TYPE_ERROR("kernelFacet.queueMessage: argument 3: expected an array of arguments"));
	asked_of("#[\"queueMessage\",[\"$0\",\"m\"]]", refs[0], TYPE_ERROR("kernelFacet.queueMessage: argument 3: expected an array of arguments"));
	/* The facet itself, and what cannot be reached. */
	refs[0] = facet();
	asked_of("#[\"queueMessage\",[\"$0\",\"isRevoked\",[\"$0\"]]]", refs[0], "data #{\"revoked\":false} []");
	refs[0] = root("b");
	terminate("b");
	asked_of("#[\"queueMessage\",[\"$0\",\"m\",[]]]", refs[0], "krej " UNREACHABLE " []");
}

/* A message with a reference that kills b twice: set aside. */
static void poison(const char *ref)
{
	char words[80];
	unsigned i;

	snprintf(words, sizeof(words), "send o-1 #[\"poison\",[\"$0\"]] [%s] -", ref);
	act("a", words, NULL);
	for (i = 0; i < 2; i++) {
		free(next_delivery(raw_named("b")));
		process_dies("b", SIGSEGV);
		if (status("b") == VAT_SUSPENDED) /* too many deaths */
			resume("b");
		start_up("b");
	}
}

/* V4, V17, S11 */
static void test_aside(void **state)
{
	char body[100];
	uint64_t id;
	kref_t p;
	struct aside a = { 0 };

	(void)state;
	setup_facet();
	poison("o+7");
	takes("a", "dropExports o+7");
	takes("a", "retireExports o+7");
	poison("o+0");
	assert_int_equal(aside_next(&world->k, &a), 0);
	snprintf(body, sizeof(body), "#[\"sendAside\",[%" PRIu64 "]]", a.seq);
	asked(body, ERROR("[OBJECT_DELETED] nothing reaches a reference that it names any more"));
	assert_int_equal(aside_next(&world->k, &a), 0);
	id = a.seq;
	p = ask("#[\"aside\",[]]", NULL, 0);
	has(p, "\"method\":\"poison\",\"name\":\"b\",\"sendable\":false");
	has(p, "\"sendable\":true");
	has(p, "\"target\":\"$0\"");
	assert_null(strstr(answer(p), "lost"));
	assert_int_equal(slot_of(p, 0).bits, root("b").bits);
	asked("#[\"sendAside\",[12345]]", ERROR("[ASIDE_UNKNOWN] no message with that id was set aside"));
	asked("#[\"sendAside\",[0.5]]", ERROR("[ASIDE_UNKNOWN] no message with that id was set aside"));
	asked("#[\"sendAside\",[-1]]", TYPE_ERROR("kernelFacet.sendAside: argument 1: expected the id of a message, as `aside` lists it"));
	asked("#[\"dropAside\",[12345]]", ERROR("[ASIDE_UNKNOWN] no message with id 12345 was set aside"));
	snprintf(body, sizeof(body), "#[\"sendAside\",[%" PRIu64 "]]", id);
	p = ask(body, NULL, 0);
	expect("b", "message o+0 #[\"poison\",[\"$0\"]] [o-1] p-1");
	play("b", "resolve p-1 data #good []", "done", NULL);
	expect_promise(p, "data #good []");
	snprintf(body, sizeof(body), "#[\"dropAside\",[%" PRIu64 "]]", id);
	asked(body, "data #{} []");
	assert_int_equal(n_rows(T_ASIDE), 1);
}

/* S1: who is no system subcluster is told what is told of a service that does not exist */
static void test_not_given(void **state)
{
	(void)state;
	world->services = "[\"kernelFacet\"]";
	cluster_begin("a", "");
	assert_string_equal(world->request.text, "[-] services: there is no service \"kernelFacet\"");
	world->services = "[\"none\"]";
	cluster_begin("a", "");
	assert_string_equal(world->request.text, "[-] services: there is no service \"none\"");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_launch), T(test_launch_fails), T(test_parameters), T(test_crash_in_launch), T(test_crash_after_pin), T(test_many),
		T(test_ends_itself), T(test_suspends_itself), T(test_names), T(test_shown), T(test_arguments), T(test_upkeep), T(test_ping),
		T(test_queue_message), T(test_aside), T(test_not_given),
	};

	return run_on_both("test_kernel_facet", tests, ARRAY_LEN(tests));
}
