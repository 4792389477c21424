/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel against a second opinion (model.h): random cranks, deaths, restarts, suspensions, terminations, launches,
 * revocations and deaths of the broker, from a seed. The model foretells every delivery to the letter (C3, D1, D2, D3,
 * P7, G1, G2), and after every step the tables of both are compared row by row (all of C, R, P, G; V2, V4, V5, V9).
 *
 *	KERNEL_SEEDS=1000-1200 KERNEL_STEPS=5000 build/unit/test_kernel_model
 *
 * A difference prints the seed, the step, the last steps and the rows that differ. Only order is taken from the test: among
 * idle vats the one with the least number gets its delivery first, and what a death leaves is swept before that.
 */
#include "kernel_generator.h"

#include <signal.h>

#include "../../broker/cycle.h"
#include "../../broker/launch.h"
#include "../../broker/sweep.h"
#include "model.h"

#define LINES	8000u
#define STORY	20u

static struct model model, committed;
static uint64_t seed;
static unsigned step, n_deliveries, n_illegal, n_crashes;
static char *expected[M_VATS + 1];

/* --- what is told when they differ ---------------------------------------------------------------------------- */

static char story[STORY][3000];
static unsigned n_story;

static void tell(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void tell(const char *fmt, ...)
{
	char *line = story[n_story++ % STORY];
	int n = snprintf(line, sizeof(story[0]), "%u: ", step);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line + n, sizeof(story[0]) - n, fmt, ap);
	va_end(ap);
	if (getenv("KERNEL_TELL"))
		print_message("%s\n", line);
}

static void differ(const char *what)
{
	unsigned i;

	print_message("seed %" PRIu64 ", step %u: %s\n", seed, step, what);
	for (i = n_story > STORY ? n_story - STORY : 0; i < n_story; i++)
		print_message("  %s\n", story[i % STORY]);
	fail_msg("the kernel and the model differ");
}

/* --- the broker's tables as the model prints its own ------------------------------------------------------------ */

static void print_kref(FILE *f, uint64_t kref)
{
	char text[REF_TEXT_MAX];

	fprintf(f, " %s", kref ? kref_format((kref_t){kref}, text) : "-");
}

static void print_holder(FILE *f, uint64_t holder)
{
	char text[REF_TEXT_MAX];

	if (!holder || holder & REF_PROMISE)
		print_kref(f, holder);
	else
		fprintf(f, " %s", endpoint_format((endpoint_t){holder}, text));
}

static void print_value(FILE *f, const struct capdata *c)
{
	size_t i;

	fprintf(f, " %s [", m_text_of(m_text((const char *)c->body, c->body_len)));
	for (i = 0; i < c->n_slots; i++) {
		uint64_t slot = capdata_slot(c, i);

		fprintf(f, "%s%s%" PRIu64, i ? " " : "", slot & REF_PROMISE ? "kp" : "ko", slot & REF_NUMBER_MASK);
	}
	fputs("]", f);
}

static void print_vat(void *ctx, const uint8_t *key, size_t key_len, const uint8_t *val, size_t len)
{
	const struct vat *v = vat_find(&world->k, get_be64(key));
	FILE *f = ctx;

	(void)key_len;
	(void)val;
	(void)len;
	assert_non_null(v);
	fprintf(f, "vat v%" PRIu64 " %s status %u incarnation %u next %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n",
	        v->number, v->row.name, v->row.status, v->row.incarnation, v->row.next_import, v->row.next_import_promise,
	        v->row.next_export, v->row.next_export_promise);
}

static void print_clist(void *ctx, const uint8_t *key, size_t key_len, const uint8_t *val, size_t len)
{
	struct row_clist row;
	char text[REF_TEXT_MAX];
	FILE *f = ctx;

	(void)key_len;
	assert_true(row_clist_read(val, len, &row));
	if (!endpoint_is_vat((endpoint_t){get_be64(key)}))
		return;
	fputs("clist", f);
	print_holder(f, get_be64(key));
	fprintf(f, " %s", vref_format((vref_t){row.ref}, text));
	print_kref(f, get_be64(key + 8));
	fprintf(f, "%s\n", row.flags & CLIST_F_REACHABLE ? " reachable" : "");
}

static void print_object(void *ctx, const uint8_t *key, size_t key_len, const uint8_t *val, size_t len)
{
	struct row_object row;
	FILE *f = ctx;

	(void)key_len;
	assert_true(row_object_read(val, len, &row));
	if (row.owner != ENDPOINT_K.bits)
		fprintf(f, "object ko%" PRIu64 " owner %" PRIu64 "%s counts %" PRIu64 " %" PRIu64 "\n", get_be64(key),
		        endpoint_number((endpoint_t){row.owner}), row.flags & OBJECT_F_REVOKED ? " revoked" : "",
		        row.n_reachable, row.n_recognizable);
}

static void print_promise(void *ctx, const uint8_t *key, size_t key_len, const uint8_t *val, size_t len)
{
	kref_t ref = {get_be64(key)};
	struct row_promise row;
	struct capdata value;
	FILE *f = ctx;

	(void)key_len;
	assert_true(row_promise_read(val, len, &row));
	fputs("promise", f);
	print_kref(f, ref.bits);
	fprintf(f, " count %" PRIu64, row.n_refs);
	if (row.state == PROMISE_UNRESOLVED) {
		fprintf(f, " unresolved decider %" PRIu64 " behind", endpoint_number((endpoint_t){row.decider}));
		print_holder(f, row.link);
	} else if (row.state == PROMISE_FORWARDED) {
		fputs(" forwarded", f);
		print_kref(f, row.link);
	} else {
		must(promise_value(&world->k, ref, &value));
		fprintf(f, " %s",
		        row.state == PROMISE_REJECTED ? row.flags & PROMISE_F_KERNEL ? "krej" : "rej"
		        : row.flags & PROMISE_F_REF   ? "ref"
		                                      : "data");
		print_value(f, &value);
		fputs(" shares", f);
		print_kref(f, row.link);
	}
	fputs("\n", f);
}

static void print_subscriber(void *ctx, const uint8_t *key, size_t key_len, const uint8_t *val, size_t len)
{
	FILE *f = ctx;

	(void)key_len;
	(void)val;
	(void)len;
	fputs("subscriber", f);
	print_kref(f, get_be64(key));
	print_holder(f, get_be64(key + 8));
	fputs("\n", f);
}

struct queues { FILE *f; uint64_t holder; size_t n; };

static void print_item(void *ctx, const uint8_t *key, size_t key_len, const uint8_t *val, size_t len)
{
	struct queues *q = ctx;
	struct row_item row;
	struct capdata c;

	(void)key_len;
	assert_true(row_item_read(val, len, &row, &c));
	q->n = q->holder == get_be64(key) ? q->n + 1 : 0;
	q->holder = get_be64(key);
	fputs("queue", q->f);
	print_holder(q->f, q->holder);
	fprintf(q->f, " %zu %s", q->n, row.kind == ITEM_NOTIFY ? "notify" : "message");
	print_kref(q->f, row.target);
	if (row.kind != ITEM_NOTIFY) {
		print_value(q->f, &c);
		print_kref(q->f, row.result);
		print_holder(q->f, row.sender);
	}
	fputs("\n", q->f);
}

static void print_gc(void *ctx, const uint8_t *key, size_t key_len, const uint8_t *val, size_t len)
{
	FILE *f = ctx;

	(void)key_len;
	(void)val;
	(void)len;
	fprintf(f, "gc v%" PRIu64 " %u", endpoint_number((endpoint_t){get_be64(key)}), key[8]);
	print_kref(f, get_be64(key + 9));
	fputs("\n", f);
}

static void print_world(FILE *f)
{
	struct queues q = {.f = f};

	world_walk(T_VAT, print_vat, f);
	world_walk(T_CLIST, print_clist, f);
	world_walk(T_OBJECT, print_object, f);
	world_walk(T_PROMISE, print_promise, f);
	world_walk(T_SUBSCRIBER, print_subscriber, f);
	world_walk(T_QUEUE, print_item, &q);
	world_walk(T_GC, print_gc, f);
}

/* --- comparing --------------------------------------------------------------------------------------------------- */

struct lines { char *text; char *v[LINES]; size_t n; };

static int by_text(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static void split(struct lines *l)
{
	char *at = l->text, *end;

	for (l->n = 0; (end = strchr(at, '\n')); at = end + 1) {
		*end = '\0';
		assert_true(l->n < LINES);
		l->v[l->n++] = at;
	}
	qsort(l->v, l->n, sizeof(*l->v), by_text);
}

/* What the broker has written down for collection may have become untrue since (G2); nothing else may be more. */
static bool matters(const char *only_the_brokers) { return strncmp(only_the_brokers, "gc ", 3) != 0; }

static void shorten(void *ctx, const uint8_t *key, size_t key_len, const uint8_t *val, size_t len)
{
	struct row_promise row;

	(void)ctx;
	(void)key_len;
	assert_true(row_promise_read(val, len, &row));
	if (row.state == PROMISE_FORWARDED)
		m_shorten(&model, get_be64(key), row.link);
}

static void compare(void)
{
	static struct lines ours, theirs;
	size_t i = 0, j = 0, n, wrong = 0;
	FILE *f;

	world_walk(T_PROMISE, shorten, NULL);
	m_collect(&model);
	f = open_memstream(&ours.text, &n);
	m_print(&model, f);
	fclose(f);
	f = open_memstream(&theirs.text, &n);
	print_world(f);
	fclose(f);
	split(&ours);
	split(&theirs);
	while (i < ours.n || j < theirs.n) {
		int c = i == ours.n ? 1 : j == theirs.n ? -1 : strcmp(ours.v[i], theirs.v[j]);

		if (c < 0 || (c > 0 && matters(theirs.v[j]))) {
			print_message("  %s: %s\n", c < 0 ? "the model" : "the kernel", c < 0 ? ours.v[i] : theirs.v[j]);
			wrong++;
		}
		i += c <= 0;
		j += c >= 0;
	}
	free(ours.text);
	free(theirs.text);
	if (wrong)
		differ("the tables differ");
}

/* --- both, one step on --------------------------------------------------------------------------------------------- */

/* What the vats' work makes of each other depends on whose is looked at first: by number, here and in model_settle(). */
static void prepare_in_order(void)
{
	struct kernel *k = &world->k;
	uint64_t number, before, queued;
	bool more;

	do {
		do
			must(sweep_step(k, &more));
		while (more);
		must(kernel_tell_callers(k));
		do
			must(cycle_step(k, &more));
		while (more);
		before = k->next_delivery + n_rows(T_QUEUE);
		for (number = 1; number < k->next_vat; number++) {
			struct vat *v = vat_find(k, number);

			if (v && vat_can_run(v))
				must(crank_prepare(k, v));
		}
		queued = k->next_delivery + n_rows(T_QUEUE);
	} while (queued != before);
	must(crank_prepare_ready(k));
}

static void model_settle(void)
{
	bool moved;
	unsigned vat;

	do {
		size_t queued;

		m_between(&model);
		queued = model.n_items;
		moved = false;
		for (vat = 1; vat <= model.n_vats; vat++) {
			char *text = m_prepare(&model, vat);

			if (!text)
				continue;
			free(expected[vat]);
			expected[vat] = text;
			moved = true;
		}
		moved |= queued != model.n_items;
	} while (moved);
}

static void check_deliveries(void)
{
	unsigned vat;

	for (vat = 1; vat <= model.n_vats; vat++) {
		struct raw *r = &world->raws[vat];
		const char *want = model.vats[vat].work == M_IDLE ? NULL : expected[vat];
		char *got;
		size_t n = 0;

		got = r->pending ? r->pending : next_delivery(r);
		if (got && !r->pending) { /* kernel errors by their code (R1) */
			const char *from = got, *at, *end;
			FILE *f = open_memstream(&r->pending, &n);

			while ((at = strstr(from, "#{\"#error\":\"[KERNEL:")) && (end = strstr(at, "\"}"))) {
				const char *bracket = strchr(at, ']');

				fwrite(from, 1, bracket + 1 - from, f);
				from = end + 2;
			}
			fputs(from, f);
			fclose(f);
			free(got);
			n_deliveries++;
		}
		got = r->pending;
		if (!want && !got)
			continue;
		if (want && got && !strcmp(want, got))
			continue;
		print_message("  v%u the model:  %s\n  v%u the kernel: %s\n", vat, want ? want : "nothing", vat,
		              got ? got : "nothing");
		differ("deliveries differ");
	}
}

static void sync_numbers(void)
{
	model.next_object = world->k.next_object;
	model.next_promise = REF_NUMBER_MASK & world->k.next_promise;
}

/* After something was done to both. */
static void settle_both(void)
{
	uint64_t commit = world->k.last_commit_ns;

	world_settle();
	model_settle();
	check_deliveries();
	compare();
	if (commit != world->k.last_commit_ns || chance(30)) {
		world_commit();
		committed = model;
	}
	sync_numbers();
}

static void settings(void)
{
	struct settings *s = &world->k.settings;

	s->reap_deliveries = model.reap_deliveries;
	s->reap_collected = model.reap_collected;
	s->deaths = model.deaths;
}

/* --- steps --------------------------------------------------------------------------------------------------------- */

static void crank(unsigned vat, const char *const *words)
{
	struct raw *r = &world->raws[vat];
	const char *name = model.vats[vat].name;
	char text[2900];
	size_t n = 0, i;

	for (i = 0; words[i]; i++)
		n += snprintf(text + n, n < sizeof(text) ? sizeof(text) - n : 0, "%s%s", i ? " | " : "", words[i]);
	tell("v%u got %.400s", vat, r->pending);
	tell("v%u says %s", vat, text);
	free(r->pending);
	r->pending = NULL;
	m_crank(&model, vat, words);
	if (m_illegal()) {
		tell("v%u: illegal: %s", vat, m_illegal());
		n_illegal++;
	}
	say_list(name, words);
	settle_both();
}

static const char *const only_done[] = {"done", NULL};

static void launch(unsigned n)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz";
	char names[8] = "", name[2] = "", drop[20], retire[20], body[400];
	const char *answer[] = {"resolve p-1 data #ok []", drop, retire, "done", NULL};
	unsigned i, len, first = model.n_vats + 1;
	uint64_t slots[8];

	if (first + n > M_VATS)
		return;
	for (i = 0; i < n; i++)
		names[i] = letters[(first + i) % 26];
	tell("launch of %s", names);
	world->request.answered = true;
	cluster_begin(names, "");
	for (i = 0; i < n; i++) {
		name[0] = names[i];
		m_vat_new(&model, name, world->k.next_subcluster - 1);
		slots[i] = m_root(&model, first + i);
	}
	settle_both();
	len = sprintf(body, "#[\"bootstrap\",[{");
	for (i = 0; i < n; i++) {
		len += sprintf(body + len, "%s\"%c\":\"$%u\"", i ? "," : "", names[i], i);
		if (i < n - 1)
			crank(first + i, only_done);
	}
	sprintf(body + len, "},{\"console\":\"$%u\"}]]", n);
	slots[n] = 1; /* console: the first object of all */
	tell("v%u says done; bootstrap", first + n - 1);
	free(world->raws[first + n - 1].pending);
	world->raws[first + n - 1].pending = NULL;
	m_crank(&model, first + n - 1, only_done);
	m_host_send(&model, slots[0], body, slots, n + 1, true);
	say_list(model.vats[first + n - 1].name, only_done);
	settle_both();
	sprintf(drop, "drop o-%u", n);
	sprintf(retire, "retimp o-%u", n);
	crank(first, answer);
	for (i = 0; i < n; i++)
		model.vats[first + i].patient = false;
	assert_true(world->request.answered);
	world_commit(); /* else a death of the broker would find it half launched (V1) */
	committed = model;
}

static void random_crank(unsigned vat)
{
	static char buf[MAX_SAID][4000];
	struct raw *r = &world->raws[vat];
	const char *list[MAX_SAID + 1];
	struct can c = {0};
	unsigned i, n = 0, count = m_has_room(&model) ? below(storm ? 16 : 8) : 0;

	learn_clist(&c, vat_find(&world->k, vat));
	learn_delivery(&c, r->pending);
	for (i = 0; i < count; i++)
		if (say_legal(&c, buf[n])) {
			list[n] = buf[n];
			n++;
		}
	if (below(1000) < 8) {
		say_anything(buf[n]);
		list[n] = buf[n];
		n++;
	}
	if (chance(20)) /* let go: what is there stays little */
		for (i = 0; i < 6 && n < MAX_SAID - 4; i++)
			if (say_list_of(&c.reachable_imports, &c, "drop", &c.unreachable_imports, buf[n])) {
				list[n] = buf[n];
				n++;
			}
	i = below(1000);
	if (i < 6) {
		strcpy(buf[n], i < 3 ? "exit ok #e []" : "exit fail #e []");
		list[n] = buf[n];
		n++;
	}
	list[n++] = i >= 6 && i < 14 ? "error oops" : "done";
	list[n] = NULL;
	crank(vat, list);
}

static unsigned any_vat(void)
{
	unsigned vat = 1 + below(model.n_vats);

	return model.vats[vat].status == M_NONE ? 0 : vat;
}

static uint64_t any_reachable(void)
{
	const struct m_object *o = model.n_objects ? &model.objects[below(model.n_objects)] : NULL;

	return o && o->reachable ? o->kref : 0; /* C7 */
}

static void host_call(void)
{
	uint64_t target = any_reachable(), slots[2];
	bool result = chance(60);
	char body[20];
	kref_t krefs[2];
	unsigned n = 0, i;

	if (!target)
		return;
	for (i = 0; i < 2; i++) {
		slots[n] = any_reachable();
		krefs[n] = ko(slots[n]);
		n += slots[n] != 0;
	}
	sprintf(body, "#c%u", below(100));
	tell("from outside: %s to ko%" PRIu64 "%s", body, target, result ? ", with result" : "");
	m_host_send(&model, target, body, slots, n, result);
	host_send(ko(target), body, krefs, n, result);
	settle_both();
}

static void revoke_one(void)
{
	uint64_t kref = model.n_objects ? model.objects[below(model.n_objects)].kref : 0;
	struct row_object row;

	if (!kref)
		return;
	tell("revoke ko%" PRIu64, kref);
	m_revoke(&model, kref);
	row = object_row(ko(kref));
	must(kernel_savepoint(&world->k));
	row.flags |= OBJECT_F_REVOKED;
	must(object_save(&world->k, ko(kref), &row));
	must(kernel_release(&world->k));
	settle_both();
}

static void end_subcluster(unsigned number)
{
	unsigned vat;

	tell("end of s%u", number);
	m_end(&model, number);
	must(subcluster_terminate(&world->k, number, "at random", NULL));
	for (vat = 1; vat <= model.n_vats; vat++)
		if (model.vats[vat].subcluster == number)
			model.vats[vat].status = M_NONE;
	settle_both();
}

static void spoil(unsigned vat)
{
	struct m_vat *mv = &model.vats[vat];
	struct vat *v = vat_find(&world->k, vat);
	bool over = mv->status == M_TERMINATED;

	switch (below(10)) {
	case 0:
	case 1:
		if (world->raws[vat].fd < 0)
			return;
		tell("v%u dies", vat);
		m_death(&model, vat);
		process_dies_now(mv->name, SIGKILL);
		break;
	case 2:
	case 3:
		if (over)
			return;
		tell("restart of v%u", vat);
		m_restart(&model, vat);
		must(vat_restart(&world->k, v));
		break;
	case 4:
	case 5:
		if (over || mv->status == M_SUSPENDED)
			return;
		tell("suspend v%u", vat);
		m_suspend(&model, vat);
		must(vat_suspend(&world->k, v, "at random"));
		break;
	case 6:
	case 7:
	case 8:
		if (mv->status != M_SUSPENDED)
			return;
		tell("resume v%u", vat);
		m_resume(&model, vat);
		must(vat_resume(&world->k, v));
		break;
	case 9:
		if (over || !chance(10))
			return;
		tell("terminate v%u", vat);
		m_terminate(&model, vat);
		must(vat_terminate(&world->k, v, "at random"));
		break;
	}
	settle_both();
}

static void crash(void)
{
	unsigned vat;

	tell("the broker dies");
	n_crashes++;
	for (vat = 0; vat < RAW_MAX; vat++)
		if (world->raws[vat].pending) {
			free(world->raws[vat].pending);
			world->raws[vat].pending = NULL;
		}
	world_crash();
	world->prepare = prepare_in_order;
	model = committed;
	settings();
	m_broker_died(&model);
	settle_both();
}

static void random_step(void)
{
	unsigned dice = below(1000), vat = 0, tries, n;

	for (n = 0, vat = 1; vat <= model.n_vats; vat++)
		n += model.vats[vat].status == M_RUNNING;
	if (n < 3) {
		launch(1 + below(3));
		vat = any_vat();
		if (vat && model.vats[vat].status == M_SUSPENDED && chance(50)) {
			tell("resume v%u", vat);
			m_resume(&model, vat);
			must(vat_resume(&world->k, vat_find(&world->k, vat)));
			settle_both();
		}
	}
	if (dice < 880) {
		for (tries = 0; tries < 20; tries++) {
			vat = any_vat();
			if (vat && model.vats[vat].work != M_IDLE) {
				random_crank(vat);
				return;
			}
		}
		dice = 880;
	}
	if (dice < 930) {
		host_call();
		return;
	}
	if (dice < 965) {
		vat = any_vat();
		if (vat)
			spoil(vat);
	} else if (dice < 985) {
		revoke_one();
	} else if (dice < 990) {
		launch(1 + below(3));
	} else if (dice < 992) {
		vat = any_vat();
		if (vat)
			end_subcluster(model.vats[vat].subcluster);
	} else if (dice < 997) {
		crash();
	}
}

static void end_all(void)
{
	unsigned vat;

	for (vat = 1; vat <= model.n_vats; vat++)
		if (model.vats[vat].status != M_NONE)
			end_subcluster(model.vats[vat].subcluster);
	world_commit();
	assert_int_equal(n_rows(T_OBJECT), world->n_services); /* console */
	assert_int_equal(n_rows(T_PROMISE) + n_rows(T_VALUE) + n_rows(T_SUSPECT), 0);
	assert_int_equal(n_rows(T_CLIST) + n_rows(T_QUEUE) + n_rows(T_GC) + n_rows(T_SUBSCRIBER) + n_rows(T_VAT), 0);
}

static void run_seed(const char *dir, uint64_t number, unsigned n_steps)
{
	char sub[2 * DIR_MAX];
	unsigned i;

	seed = number;
	rng.x = seed * UINT64_C(0x9e3779b97f4a7c15) | 1;
	n_story = 0;
	memset(&model, 0, sizeof(model));
	model.poison_deaths = 2;
	model.deaths = seed & 8 ? 3 : 1000;
	model.reap_deliveries = 30;
	model.reap_collected = 8;
	storm = seed & 4;
	snprintf(sub, sizeof(sub), "%s/%" PRIu64, dir, seed);
	assert_int_equal(mkdir(sub, 0700), 0);
	world_open(sub, seed & 2 ? STORE_DIRECT : STORE_OVERLAY);
	world->no_keep = true;
	world->prepare = prepare_in_order;
	settings();
	sync_numbers();
	step = 0;
	launch(4);
	for (step = 1; step <= n_steps; step++)
		random_step();
	end_all();
	world_close();
	remove_tree(sub);
	for (i = 0; i <= M_VATS; i++) {
		free(expected[i]);
		expected[i] = NULL;
	}
}

static void test_model(void **state)
{
	const char *range = getenv("KERNEL_SEEDS"), *n_steps = getenv("KERNEL_STEPS");
	uint64_t first = 1, last = 8, start = now_monotonic_ns();

	if (range && sscanf(range, "%" SCNu64 "-%" SCNu64, &first, &last) != 2)
		fail_msg("KERNEL_SEEDS=FIRST-LAST");
	for (; first <= last; first++) {
		run_seed(*state, first, n_steps ? atoi(n_steps) : range ? 2000 : 600);
		/* A slow machine, or one that looks at every access, does less. */
		if (!range && first >= 2 && now_monotonic_ns() - start > UINT64_C(4000000000))
			break;
	}
	print_message("%u deliveries, %u illegal, %u deaths of the broker\n", n_deliveries, n_illegal, n_crashes);
	assert_true(n_deliveries > 500 || range);
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
	return dir_teardown(state);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(test_model, setup, teardown)};

	log_init("test_kernel_model");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
