/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel against vats that do whatever they like: thousands of random syscalls, most legal, some not, with deaths,
 * restarts, suspensions, terminations, launches, revocations, pins, collections, programs that serve, and deaths of the
 * broker in between, from a seed. After every few steps everything is committed and recounted (C6); no number may be
 * negative (L1); whoever asked is answered (G8); and when all subclusters have ended nothing is left of them (G3, P9).
 *
 *	KERNEL_SEEDS=1000-1200 KERNEL_STEPS=5000 build/unit/test_kernel_random
 *
 * Without them a few fixed seeds are run. What a seed has found stands as a scenario in the files beside it.
 */
#include "kernel_generator.h"

#include <inttypes.h>
#include <signal.h>

#include "../../broker/aside.h"
#include "../../broker/clist.h"
#include "../../broker/collect.h"
#include "../../broker/hosted.h"
#include "../../broker/launch.h"
#include "../../broker/object.h"
#include "../../broker/promise.h"
#include "../../broker/service.h"

static bool bold;    /* every vat takes as much ahead as there is, and answers several in one packet */

/* --- cranks --------------------------------------------------------------------------------------------- */

static void steps(unsigned n)
{
	while (n--)
		world_step();
}

static void ask_store(struct raw *r, const char *name)
{
	_cleanup_free_ char *got = NULL;
	char said[40];

	switch (below(3)) {
	case 0:
		sprintf(said, "get k%u", below(20));
		break;
	case 1:
		sprintf(said, "next k%u", below(20));
		break;
	default:
		strcpy(said, "clist");
		break;
	}
	say(name, said, NULL);
	steps(2);
	if (r->fd < 0)
		return; /* something else ended it just then */
	got = next_answer(r);
	if (got && strncmp(got, "storeValue ", 11))
		fail_msg("%s asked %s and got %s", name, said, got);
}

/* What it said before has arrived: what the clist says is what it may go by. False: there is no such vat any more. */
static bool catch_up(uint64_t number)
{
	struct raw *r = &world->raws[number];
	unsigned rounds;

	for (rounds = 0; rounds < 20; rounds++) {
		struct vat *v = vat_find(&world->k, number);
		const struct delivery *head = v ? crank_head(&v->crank) : NULL;

		if (!v || !r->pending)
			return false;
		if (head && head->number == r->delivery)
			return true;
		world_step();
	}
	return r->pending;
}

/* The first message to a bootstrap vat is answered, mostly; else launches would never end. */
static bool answer_bootstrap(struct raw *r, const char *name)
{
	if (strncmp(r->pending, "message o+0 #[\"bootstrap\"", 24) || chance(10))
		return false;
	say(name, chance(90) ? "resolve p-1 data #b [o+0]" : "resolve p-1 rej #no []", "done", NULL);
	return true;
}

/*
 * What a crank may say that is said in the packet of the one before it, when nobody knows yet what that one leaves: it
 * goes by what its delivery tells and by what is new.
 */
static size_t say_unseen(struct can *c, const char *delivery, char (*buf)[4000], const char **list)
{
	unsigned i, n = 0, count = below(4);

	c->usable.n = c->promises.n = c->decided.n = c->reachable_imports.n = c->unreachable_imports.n = 0;
	c->exports.n = c->unreachable_exports.n = 0;
	learn_delivery(c, delivery);
	for (i = 0; i < count; i++) {
		if (!(chance(60) ? say_send(c, buf[n]) : say_resolve(c, buf[n])))
			continue;
		list[n] = buf[n];
		n++;
	}
	list[n++] = "done";
	return n;
}

/* Further deliveries that have come are answered in the same packet. */
static size_t chain(struct raw *r, struct can *c, const char **list, size_t n, size_t max)
{
	static char buf[MAX_SAID][4000];
	size_t used = 0;

	while (n + 6 < max && used + 6 < MAX_SAID && chance(70)) {
		char *text = next_delivery(r);

		if (!text)
			break;
		if (!strncmp(text, "message ", 8) || !strncmp(text, "notify ", 7)) {
			size_t more = say_unseen(c, text, buf + used, list + n);

			n += more;
			used += more;
		} else {
			list[n++] = "done";
		}
		free(text);
	}
	list[n] = NULL;
	return n;
}

static void one_crank(struct vat *v)
{
	static char buf[MAX_SAID][4000];
	struct raw *r = &world->raws[v->number];
	const char *list[3 * MAX_SAID + 1];
	char name[VAT_NAME_MAX + 8];
	struct can c = {0};
	unsigned i, n = 0, count = below(storm ? MAX_SAID - 2 : bold ? 16 : 10);

	if (!r->pending)
		r->pending = next_delivery(r);
	if (!r->pending)
		return;
	snprintf(name, sizeof(name), "%s", v->row.name);
	if (answer_bootstrap(r, name))
		goto out;
	if (chance(5)) {
		char said[20];

		sprintf(said, "hello 1 %u", bold || chance(50) ? CRANK_WINDOW : below(5));
		say(name, said, NULL);
	}
	if (bold)
		v->crank.window = v->crank.pace = CRANK_WINDOW;
	if (!catch_up(r->vat))
		return;
	if (chance(10))
		ask_store(r, name);
	if (!r->pending)
		return; /* what was under way reached it meanwhile; it may be gone altogether */
	learn_clist(&c, v);
	learn_delivery(&c, r->pending);
	if (chance(5))
		say(name, "log hello", NULL);
	for (i = 0; i < count; i++) {
		if (!say_legal(&c, buf[n]))
			continue;
		list[n] = buf[n];
		n++;
	}
	if (chance(1)) {
		say_anything(buf[n]);
		list[n] = buf[n];
		n++;
	}
	i = below(1000);
	list[n++] = i < 2    ? "exit ok #e []"
	            : i < 4  ? "exit fail #e []"
	            : i < 20 ? "error oops"
	            : i < 23 ? "wakeme"
	                     : "done";
	list[n] = NULL;
	if (bold && r->fd >= 0 && chance(30))
		chain(r, &c, list, n, ARRAY_LEN(list) - 1);
	if (r->fd >= 0)
		say_list(name, list);
out:
	free(r->pending);
	r->pending = NULL;
}

/* --- the rest of the world ------------------------------------------------------------------------------ */

static struct vat *any_vat(void)
{
	unsigned n = HASH_COUNT(world->k.vats), i;
	struct vat *v, *tmp;

	if (!n)
		return NULL;
	i = below(n);
	HASH_ITER(hh, world->k.vats, v, tmp)
	if (!i--)
		return v;
	return NULL;
}

#define N_SERVICES 7u
static const char *service_name(unsigned i)
{
	static const char *const names[N_SERVICES] = {"console", "timer", "random", "svc0", "svc1", "svc2", "svc3"};

	return names[i];
}

static bool any_service(kref_t *out)
{
	return service_find(&world->k, service_name(below(N_SERVICES)), out) == 0;
}

/* C7: only what is reachable may be named from outside. */
static bool any_reachable(kref_t *out)
{
	struct row_object row;

	*out = ko(1 + below((unsigned)world->k.next_object));
	return !object_load(&world->k, *out, &row) && row.n_reachable;
}

/* One that has a delivery to answer. */
static struct vat *any_busy_vat(void)
{
	unsigned tries;

	for (tries = 0; tries < 8; tries++) {
		struct vat *v = any_vat();
		struct raw *r = v ? &world->raws[v->number] : NULL;

		if (r && !r->pending && r->fd >= 0)
			r->pending = next_delivery(r);
		if (r && r->pending)
			return v;
	}
	return NULL;
}

static void host_call(void)
{
	kref_t target, slots[3];
	size_t n = 0;

	if (chance(5))
		target = ko(UINT64_C(1) << 40); /* what does not exist: a clean error */
	else if (!(chance(10) && any_service(&target)) && !any_reachable(&target))
		return;
	if (any_reachable(&slots[n]))
		n++;
	if (any_reachable(&slots[n]))
		n++;
	if (chance(30) && any_service(&slots[n]))
		n++;
	host_send(target, chance(80) ? "#call" : any_call(true), slots, n, chance(60));
}

static void revoke_something(void)
{
	kref_t ref = ko(1 + below((unsigned)world->k.next_object));
	struct row_object row;

	if (object_load(&world->k, ref, &row) || row.owner == ENDPOINT_K.bits)
		return;
	must(kernel_savepoint(&world->k));
	row.flags |= OBJECT_F_REVOKED;
	must(object_save(&world->k, ref, &row));
	must(kernel_release(&world->k));
}

static void revoke_vat(struct vat *v)
{
	if (v->row.status == VAT_TERMINATED)
		return;
	must(kernel_savepoint(&world->k));
	must(object_revoke_all(&world->k, v));
	must(kernel_release(&world->k));
}

/* --- pins (G5, G9) -------------------------------------------------------------------------------------- */

static bool any_usable(kref_t *out)
{
	bool usable;

	*out = chance(60) ? ko(1 + below((unsigned)world->k.next_object)) : kp(1 + below((unsigned)world->k.next_promise));
	must(kref_is_usable(&world->k, *out, &usable));
	return usable;
}

static void change_pin(kref_t ref, int delta)
{
	must(kernel_savepoint(&world->k));
	must(kernel_hold(&world->k, ref, HOLD_PIN, 0, delta));
	must(kernel_release(&world->k));
}

static void note_pin(void *ctx, const uint8_t *key, size_t key_len, const uint8_t *val, size_t len)
{
	(void)key_len;
	(void)val;
	(void)len;
	if (key[8] == HOLD_PIN)
		must(u64_list_push(ctx, get_be64(key)));
}

static void unpin_something(bool all)
{
	struct u64_list pinned = {0};
	uint64_t count;
	size_t i;

	world_walk(T_HOLD, note_pin, &pinned);
	for (i = pinned.n && !all ? below(pinned.n) : 0; i < pinned.n; i += all ? 1 : pinned.n) {
		do {
			change_pin((kref_t){pinned.v[i]}, -1);
			must(kernel_hold_count(&world->k, (kref_t){pinned.v[i]}, HOLD_PIN, 0, &count));
		} while (all && count);
	}
	u64_list_deinit(&pinned);
}

static void pin_or_unpin(void)
{
	unsigned n = 1 + below(3);
	kref_t ref;

	if (chance(45)) {
		unpin_something(false);
		return;
	}
	if (!any_usable(&ref))
		return;
	while (n--)
		change_pin(ref, 1);
}

/* --- collection (G4, G8) -------------------------------------------------------------------------------- */

#define N_ASKERS 40u
static struct control_request askers[N_ASKERS]; /* an empty text: free, or answered */

static void collect_something(struct vat *v)
{
	unsigned i = below(N_ASKERS);

	if (chance(50)) {
		if (v && v->row.status != VAT_TERMINATED)
			must(collect_reap(&world->k, v));
		return;
	}
	if (!askers[i].answered)
		return;
	askers[i] = (struct control_request){0};
	must(collect_begin(&world->k, &askers[i]));
}

static void askers_are_gone(void)
{
	unsigned i;

	for (i = 0; i < N_ASKERS; i++)
		askers[i].answered = true;
}

/* --- what was set aside (V4, V17) ----------------------------------------------------------------------- */

static void use_aside(bool all)
{
	struct aside a = {0};
	kref_t slots[16], lost;
	char body[4000];
	size_t i;

	while (aside_next(&world->k, &a) == 0) {
		if (!all && chance(60))
			continue;
		must(aside_lost(&world->k, &a, &lost));
		if (!all && chance(50)) {
			if (!kref_is_none(lost) || a.methargs.n_slots > ARRAY_LEN(slots))
				return;
			for (i = 0; i < a.methargs.n_slots; i++)
				slots[i].bits = capdata_slot(&a.methargs, i);
			snprintf(body, sizeof(body), "%.*s", (int)a.methargs.body_len, (const char *)a.methargs.body);
			host_send((kref_t){a.row.target}, body, slots, a.methargs.n_slots, true);
			return;
		}
		must(kernel_savepoint(&world->k));
		must(aside_drop(&world->k, vat_find(&world->k, a.vat), a.seq));
		must(kernel_release(&world->k));
	}
}

/* --- programs outside that serve (S7, S8) --------------------------------------------------------------- */

#define N_PROGRAMS 3u
static struct control_server *programs[N_PROGRAMS];

static void forget_asks(struct control_server *h)
{
	while (h->n_asks)
		free(h->asks[--h->n_asks]);
	h->waiting = 0;
}

static void program_leaves(struct control_server *h)
{
	void *ctx = h->ctx;

	forget_asks(h);
	if (!ctx)
		return;
	h->ctx = NULL;
	h->ops->gone(ctx);
}

static void programs_are_new(void)
{
	unsigned i;

	for (i = 0; i < N_PROGRAMS; i++)
		programs[i] = program(i ? 1000 : 0);
}

/* They stay when the broker goes; their connections do not. */
static void programs_are_cut(void)
{
	unsigned i;

	for (i = 0; i < N_PROGRAMS; i++) {
		forget_asks(programs[i]);
		programs[i]->ctx = NULL;
	}
}

static void program_registers(struct control_server *h)
{
	struct control_request r = {.host = h};
	kref_t ref;

	must(hosted_register(&world->k, &r, service_name(below(N_SERVICES)), (int)below(3) - 1, &ref));
}

static void program_unregisters(struct control_server *h)
{
	struct control_request r = {.host = h};

	must(hosted_unregister(&world->k, &r, service_name(below(N_SERVICES))));
}

/* Numbers that name something, or nothing. */
static json_t *any_result(void)
{
	json_t *list = json_array();
	unsigned n = below(4);
	char text[REF_TEXT_MAX];

	while (n--) {
		kref_t ref = chance(60) ? ko(1 + below((unsigned)world->k.next_object))
		                        : kp(1 + below((unsigned)world->k.next_promise));
		json_t *one = json_pack("{ss}", "@", kref_format(ref, text));

		if (chance(30)) {
			json_decref(list);
			return one;
		}
		json_array_append_new(list, one);
	}
	return list;
}

static void program_answers(struct control_server *h)
{
	struct control_answer a = {0};
	json_t *line, *result = NULL;
	size_t at;
	uint64_t id;

	if (!h->n_asks)
		return;
	at = below(h->n_asks);
	line = json_loads(h->asks[at], 0, NULL);
	assert_non_null(line);
	id = json_integer_value(json_object_get(line, "id"));
	json_decref(line);
	free(h->asks[at]);
	memmove(h->asks + at, h->asks + at + 1, (--h->n_asks - at) * sizeof(*h->asks));
	switch (below(6)) {
	case 0:
		a.error = "no";
		break;
	case 1:
		a.malformed = "nothing that can be read";
		break;
	default:
		a.result = result = any_result();
		break;
	}
	if (!h->ctx)
		return;
	must(h->ops->answer(h->ctx, id, &a));
	assert_int_equal(h->ops->answer(h->ctx, id, &a), CONTROL_E_NO_REQUEST);
	json_decref(result);
}

static void program_does(struct control_server *h)
{
	switch (below(12)) {
	case 0:
	case 1:
		program_registers(h);
		break;
	case 2:
		if (chance(30))
			program_leaves(h);
		break;
	case 3:
		if (chance(40))
			program_unregisters(h);
		break;
	case 4:
		h->waiting = HOSTED_MAX_WAITING + 1;
		break;
	case 5:
		h->waiting = 0;
		if (h->ctx)
			h->ops->drained(h->ctx);
		break;
	default:
		program_answers(h);
		break;
	}
}

static void programs_end(void)
{
	unsigned i;

	for (i = 0; i < N_PROGRAMS; i++)
		program_leaves(programs[i]);
	for (i = 0; i < N_SERVICES; i++) {
		struct control_request r = {.host = programs[0]}; /* root's */

		must(hosted_unregister(&world->k, &r, service_name(i)));
	}
}

/* -------------------------------------------------------------------------------------------------------- */

static void launch_another(void)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
	static const char *const extras[] = {
	    "",
	    "",
	    "",
	    ",\"restart\":\"terminate\"",
	    ",\"limits\":{\"queueMessages\":5}",
	    ",\"limits\":{\"imports\":8,\"exports\":30}",
	    ",\"limits\":{\"syscalls\":12,\"queueBytes\":200}",
	};
	char chosen[6] = "";
	unsigned i, n = 0, want = 1 + below(4);
	struct vat *v, *tmp;

	if (world->request.text[0] && !world->request.answered)
		return;
	if (HASH_COUNT(world->k.vats) > 12 || (world->k.launches && !world->request.answered))
		return;
	for (i = 0; letters[i] && n < want; i++) {
		bool used = false;

		HASH_ITER(hh, world->k.vats, v, tmp)
		used |= v->row.name[0] == letters[i];
		if (!used)
			chosen[n++] = letters[i];
	}
	cluster_begin(chosen, extras[below(ARRAY_LEN(extras))]);
}

static void spoil(struct vat *v)
{
	static const int statuses[] = {SIGKILL, SIGSEGV, 256, 0};
	const char *name = v->row.name;
	struct raw *r = &world->raws[v->number];
	bool launching = v->row.flags & VAT_F_LAUNCHING, over = v->row.status == VAT_TERMINATED;
	uint8_t bytes[64];
	unsigned i;

	switch (below(13)) {
	case 0:
	case 1:
		if (r->fd >= 0 && v->proc == PROC_ALIVE)
			process_dies_now(name, statuses[below(4)]);
		break;
	case 2:
		if (r->fd >= 0)
			process_hangs_up(name);
		break;
	case 3:
	case 4:
		if (!launching && !over)
			must(vat_restart(&world->k, v));
		break;
	case 5:
	case 6:
		if (!launching && !over && v->row.status != VAT_SUSPENDED)
			must(vat_suspend(&world->k, v, "at random"));
		break;
	case 7:
	case 8:
	case 9:
		if (v->row.status == VAT_SUSPENDED)
			must(vat_resume(&world->k, v));
		break;
	case 10:
		if (chance(20))
			must(vat_terminate(&world->k, v, "at random"));
		break;
	case 11:
		if (chance(15))
			must(subcluster_terminate(&world->k, v->row.subcluster, "at random", NULL));
		break;
	case 12:
		if (r->fd < 0 || !chance(20))
			break;
		for (i = 0; i < sizeof(bytes); i++)
			bytes[i] = (uint8_t)rng_next(&rng);
		send_bytes(name, bytes, 8 * below(9));
		break;
	}
}

/* What all kernels of this seed did. */
static struct kernel_stats total;
static uint64_t ahead_of_all_seeds;

static void count(void)
{
	const struct kernel_stats *s = &world->k.stats;

	total.n_cranks += s->n_cranks;
	total.n_delivered_messages += s->n_delivered_messages;
	total.n_notifies += s->n_notifies;
	total.n_gc += s->n_gc;
	total.n_abandoned += s->n_abandoned;
	total.n_illegal += s->n_illegal;
	total.n_deaths += s->n_deaths;
	total.n_ahead += s->n_ahead;
	ahead_of_all_seeds += s->n_ahead;
}

/* Of this seed, and so of each broker of it. */
static bool ended_go;

static void set_settings(void)
{
	if (ended_go)
		world->k.settings.ended_keep_ms = 0;
}

static void crash(void)
{
	count();
	if (programs[0])
		programs_are_cut();
	askers_are_gone();
	world_crash();
	set_settings();
}

static void look_after(struct vat *v)
{
	switch (below(6)) {
	case 0:
	case 1:
		pin_or_unpin();
		break;
	case 2:
		collect_something(v);
		break;
	case 3:
		use_aside(false);
		break;
	case 4:
		if (v && chance(20))
			revoke_vat(v);
		break;
	default:
		program_does(programs[below(N_PROGRAMS)]);
		break;
	}
}

static void one_step(void)
{
	struct vat *v = any_vat();
	unsigned dice = below(1000);

	if (chance(8))
		look_after(v);
	if (chance(8))
		program_does(programs[below(N_PROGRAMS)]);
	v = any_vat();
	if (dice < 850 && (v = any_busy_vat()))
		one_crank(v);
	else if (dice < 930)
		host_call();
	else if (v && dice < (storm ? 932 : 960))
		spoil(v);
	else if (dice < 972)
		revoke_something();
	else if (dice < 985)
		launch_another();
	else if (dice < 990)
		world->hold_starts = true;
	else if (dice < 991)
		world->fail_starts = "at random";
	else if (dice < 996)
		world->hold_exits = true;
	else if (dice < 999)
		return;
	else
		crash();
	if (chance(15)) {
		world->hold_starts = world->hold_exits = false;
		world->fail_starts = NULL;
	}
	if (chance(70))
		steps(1 + below(3));
	if (chance(50))
		world_commit();
}

/* Everybody answers everything with nothing, until nothing comes. */
static void drain(void)
{
	struct vat *v, *tmp;
	bool moved;
	unsigned rounds = 0, i;

	world->hold_starts = world->hold_exits = false;
	world->fail_starts = NULL;
	for (i = 0; i < N_PROGRAMS; i++)
		program_leaves(programs[i]);
	do {
		world_run();
		moved = false;
		HASH_ITER(hh, world->k.vats, v, tmp)
		{
			struct raw *r = &world->raws[v->number];

			if (v->row.status == VAT_SUSPENDED) {
				must(vat_resume(&world->k, v));
				moved = true;
			}
			if (!r->pending && r->fd >= 0)
				r->pending = next_delivery(r);
			if (!r->pending)
				continue;
			free(r->pending);
			r->pending = NULL;
			say(v->row.name, "done", NULL);
			moved = true;
		}
		assert_true(++rounds < 10000);
	} while (moved);
}

static void end_all(void)
{
	struct vat *v;
	unsigned i;

	programs_end();
	unpin_something(true);
	use_aside(true);
	world_run();

	while ((v = world->k.vats)) {
		must(subcluster_terminate(&world->k, v->row.subcluster, "the end", NULL));
		world_run();
	}
	for (i = 0; i < N_ASKERS; i++)
		assert_true(askers[i].answered);
	assert_int_equal(n_rows(T_PROMISE) + n_rows(T_VALUE) + n_rows(T_SUSPECT), 0); /* circles too */
	assert_int_equal(n_rows(T_OBJECT), world->n_services);
	assert_int_equal(n_rows(T_CLIST) + n_rows(T_EREF) + n_rows(T_IMPORTER) + n_rows(T_DECIDED) +
	                     n_rows(T_SUBSCRIBER) + n_rows(T_FORWARD) + n_rows(T_QUEUE) +
	                     n_rows(T_NOTIFYING) + n_rows(T_GC) + n_rows(T_SWEEP) + n_rows(T_VATSTORE) +
	                     n_rows(T_VAT) + n_rows(T_VAT_CONFIG) + n_rows(T_VAT_PARAM) +
	                     n_rows(T_SUBCLUSTER) + n_rows(T_SUB_CONFIG) + n_rows(T_MEMBER) + n_rows(T_LOG) +
	                     n_rows(T_ASIDE) + n_rows(T_CHARGE),
	                 0);
	assert_int_equal(n_rows(T_HOLD), world->n_services);
	assert_int_equal(n_rows(T_SERVICE) + n_rows(T_SERVICE_OF), 2 * world->n_services);
}

static void run_seed(const char *dir, uint64_t seed, unsigned n_steps)
{
	char sub[2 * DIR_MAX];

	total = (struct kernel_stats){0};
	rng.x = seed * UINT64_C(0x9e3779b97f4a7c15) | 1;
	storm = seed & 4;
	bold = seed & 8;
	calls = true;
	snprintf(sub, sizeof(sub), "%s/%" PRIu64, dir, seed);
	assert_int_equal(mkdir(sub, 0700), 0);
	world_open(sub, seed & 2 ? STORE_DIRECT : STORE_OVERLAY);
	world->no_keep = true;
	world->request.answered = true;
	ended_go = seed & 16;
	set_settings();
	programs_are_new();
	askers_are_gone();
	cluster("abcd");
	while (n_steps--)
		one_step();
	drain();
	count();
	if (getenv("KERNEL_SEEDS"))
		print_message("%" PRIu64 " cranks, %" PRIu64 " messages, %" PRIu64 " notifies, %" PRIu64
		              " collected, %" PRIu64 " abandoned, %" PRIu64 " illegal, %" PRIu64 " deaths, %" PRIu64
		              " sent ahead\n",
		              total.n_cranks, total.n_delivered_messages, total.n_notifies, total.n_gc,
		              total.n_abandoned, total.n_illegal, total.n_deaths, total.n_ahead);
	end_all();
	world_close();
	memset(programs, 0, sizeof(programs));
	remove_tree(sub);
}

static void test_random(void **state)
{
	static const uint64_t fixed[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
	const char *range = getenv("KERNEL_SEEDS"), *n_steps = getenv("KERNEL_STEPS");
	uint64_t first, last, start = now_monotonic_ns();
	size_t i;

	if (range && sscanf(range, "%" SCNu64 "-%" SCNu64, &first, &last) == 2) {
		for (; first <= last; first++) {
			print_message("seed %" PRIu64 "\n", first);
			run_seed(*state, first, n_steps ? atoi(n_steps) : 2000);
		}
		return;
	}
	for (i = 0; i < ARRAY_LEN(fixed); i++) {
		print_message("seed %" PRIu64 "\n", fixed[i]);
		run_seed(*state, fixed[i], n_steps ? atoi(n_steps) : 1200);
		/* A slow machine does less, but something of both kinds. */
		if (i >= 3 && now_monotonic_ns() - start > UINT64_C(8000000000))
			break;
	}
	assert_true(ahead_of_all_seeds > 100);
}

/* --- each message once, in its order (D1, D4, D11) ------------------------------------------------------- */

#define ONCE 250u

/* Nobody is given up for dying often. */
static void patient(void)
{
	world->k.settings.poison_deaths = world->k.settings.deaths = 1u << 30;
}

static void disturb(const char *name)
{
	struct vat *v = vat_named(name);
	bool alive = raw_named(name)->fd >= 0 && v->proc == PROC_ALIVE;

	switch (below(6)) {
	case 0:
		if (alive)
			process_dies_now(name, SIGKILL);
		break;
	case 1:
		if (alive)
			process_hangs_up(name);
		break;
	case 2:
		must(vat_restart(&world->k, v));
		break;
	case 3:
		if (v->row.status != VAT_SUSPENDED)
			must(vat_suspend(&world->k, v, "at random"));
		break;
	case 4:
		if (alive && raw_named(name)->n_unfinished)
			say(name, "error oops", NULL);
		break;
	default:
		crash();
		patient();
		break;
	}
}

/* What the vat's own store says was the last. */
static bool ask_last(const char *name, struct raw *r, unsigned *lastp)
{
	unsigned rounds, n;

	say(name, "get last", NULL);
	for (rounds = 0; rounds < 100 && r->fd >= 0; rounds++) {
		_cleanup_free_ char *got = NULL;

		steps(1);
		got = next_answer(r);
		if (!got)
			continue;
		if (sscanf(got, "storeValue found o+0 '' '%u'", &n) != 1)
			n = 0;
		*lastp = n;
		return true;
	}
	return false;
}

/* One delivery: a message must be the one after the last. True while there is something to do. */
static bool take_one(const char *name)
{
	struct raw *r = raw_named(name);
	_cleanup_free_ char *text = r->fd < 0 ? NULL : next_delivery(r);
	char set[40], send[40], kind;
	const struct delivery *head;
	unsigned id, last;
	uint64_t number;

	if (!text)
		return false;
	if (!strncmp(text, "startVat", 8)) {
		say(name, "hello 1 32", "done", NULL);
		vat_named(name)->crank.pace = CRANK_WINDOW;
		return true;
	}
	if (sscanf(text, "message o+0 #%c%u", &kind, &id) != 2) {
		say(name, "done", NULL);
		return true;
	}
	if (!ask_last(name, r, &last))
		return true;
	if (id != last + 1)
		fail_msg("%s: %s came after %u", name, text, last);
	number = r->delivery;
	if (chance(3))
		disturb(name);
	head = crank_head(&vat_named(name)->crank);
	if (r->fd < 0 || r->delivery != number || !head || head->number != number)
		return true;
	snprintf(set, sizeof(set), "set last %u", id);
	snprintf(send, sizeof(send), "send o-1 #r%u [] -", id);
	if (kind == 'm')
		say(name, set, send, "done", NULL);
	else
		say(name, set, "done", NULL);
	return true;
}

static unsigned last_of(const char *name)
{
	_cleanup_free_ char *text = NULL;
	const void *val;
	size_t len;

	if (vatstore_get(world->k.store, vat_named(name)->number, "last", 4, &val, &len))
		return 0;
	text = strndup(val, len);
	return atoi(text);
}

static void once(const char *dir, enum store_kind kind, uint64_t seed)
{
	char sub[2 * DIR_MAX], body[20];
	unsigned i, rounds = 0;
	kref_t a;

	rng.x = seed * UINT64_C(0x9e3779b97f4a7c15) | 1;
	snprintf(sub, sizeof(sub), "%s/once%d-%" PRIu64, dir, kind, seed);
	assert_int_equal(mkdir(sub, 0700), 0);
	world_open(sub, kind);
	patient();
	cluster("ab");
	a = kref_of("a", "o+0");
	host_send(kref_of("b", "o+0"), "#take", &a, 1, false);
	world_run();
	expect("b", "message o+0 #take [o-1] -");
	play("b", "done", NULL);
	for (i = 1; i <= ONCE; i++) {
		snprintf(body, sizeof(body), "#m%u", i);
		host_send(kref_of("b", "o+0"), body, NULL, 0, false);
	}
	world_commit();
	while (last_of("a") < ONCE || last_of("b") < ONCE) {
		const char *name = chance(50) ? "a" : "b";
		unsigned n = below(40);

		assert_true(++rounds < 100000);
		while (n-- && take_one(name))
			;
		if (chance(4))
			disturb(name);
		if (chance(50) && vat_named(name)->row.status == VAT_SUSPENDED)
			must(vat_resume(&world->k, vat_named(name)));
		steps(1 + below(3));
		if (chance(30))
			world_commit();
	}
	assert_int_equal(last_of("a"), ONCE);
	assert_int_equal(last_of("b"), ONCE);
	count();
	world_close();
	remove_tree(sub);
}

static void test_once(void **state)
{
	uint64_t seed, n_seeds = getenv("KERNEL_SEEDS") ? 200 : 4;

	total = (struct kernel_stats){0};
	for (seed = 1; seed <= n_seeds; seed++) {
		once(*state, STORE_OVERLAY, seed);
		once(*state, STORE_DIRECT, seed);
	}
	print_message("%" PRIu64 " messages, %" PRIu64 " sent ahead, %" PRIu64 " abandoned, %" PRIu64 " deaths\n",
	              total.n_delivered_messages, total.n_ahead, total.n_abandoned, total.n_deaths);
	assert_true(total.n_ahead > 1000);
	assert_true(total.n_abandoned > 20);
}

/* In memory where that is possible: it is not the disk that is tried here. */
static int setup(void **state)
{
	char *dir = malloc(DIR_MAX);

	strcpy(dir,
	       access("/dev/shm", W_OK) ? "/tmp/capstan-kernel-XXXXXX" : "/dev/shm/capstan-kernel-XXXXXX");
	*state = dir;
	return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
	world_close();
	memset(programs, 0, sizeof(programs));
	return dir_teardown(state);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_random, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_once, setup, teardown)};

	log_init("test_kernel_random");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
