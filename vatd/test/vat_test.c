/* SPDX-License-Identifier: Apache-2.0 */
#include <capstan/vat_test.h>

#include <poll.h>
#include <signal.h>

#include "../lib/internal.h"
#include "kit.h"

/* A vat of the test: its program, and when it runs, what its process would be. */
struct slot {
	struct slot *next;
	vat_test *test;
	const vat_program *program;
	vat *v;				/* NULL: no process */
	int fd;
	struct vat_host host;
	char name[];
};

struct text { struct text *next; char *text; };

struct vat_test {
	struct kit *kit;
	uint64_t now_ns;
	struct slot *slots, **slots_tail;
	struct text *texts;		/* everything that was returned */
	struct kit_request *latest;
	bool launched;
	bool running;			/* inside vat_test_run() */
};

static const char *keep(vat_test *t, char *text)
{
	struct text *k = malloc(sizeof(*k));
	if (!k)
		kit_fail("memory ran out");
	*k = (struct text){ t->texts, text };
	t->texts = k;
	return text;
}

static struct slot *slot_find(vat_test *t, const char *name)
{
	for (struct slot *s = t->slots; s; s = s->next)
		if (strcmp(s->name, name) == 0)
			return s;
	kit_fail("there is no vat \"%s\" in this test", name);
}

/* --- processes ---------------------------------------------------------------------------------- */

static void idle(struct vat_host *h)
{
	kit_step(container_of(h, struct slot, host)->test->kit);
}

static void start(void *ctx, const char *name, int fd)
{
	struct slot *s = slot_find(ctx, name);
	assert(!s->v);
	s->fd = fd;
	s->host.idle = idle;
	s->host.now_ns = s->test->now_ns;
	s->v = vat_open(fd, s->program, &s->host);
	if (!s->v)
		kit_fail("memory ran out");
}

static void end(struct slot *s)
{
	vat_close(s->v);
	s->v = NULL;
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
}

static void end_named(void *ctx, const char *name)
{
	end(slot_find(ctx, name));
}

static const struct kit_ops ops = { .start = start, .kill = end_named };

/* --- running ------------------------------------------------------------------------------------ */

static bool has_packet(const struct slot *s)
{
	struct pollfd p = { .fd = s->fd, .events = POLLIN };
	return s->v && poll(&p, 1, 0) > 0;
}

static bool take(struct slot *s)
{
	return vat_take(s->v, &s->host.status);
}

static bool ask(struct slot *s)
{
	watch_ask(s->v);
	return true;
}

/* Something into a vat. When it died of it, that is the exit of its process. */
static void enter(struct slot *s, bool (*fn)(struct slot *s))
{
	volatile bool alive = false;
	if (!setjmp(s->host.died))
		alive = fn(s);
	if (alive)
		return;
	int status = s->host.status;
	end(s);
	kit_exited(s->test->kit, s->name, status << 8);
}

void vat_test_run(vat_test *t)
{
	bool moved;
	if (t->running)
		kit_fail("vat_test_run() inside a vat's method");
	t->running = true;
	do {
		kit_step(t->kit);
		kit_serve(t->kit);
		moved = false;
		for (struct slot *s = t->slots; s; s = s->next) {
			if (!has_packet(s))
				continue;
			enter(s, take);
			moved = true;
		}
	} while (moved || !kit_is_quiet(t->kit));
	t->running = false;
}

static bool is_ready(const struct slot *s)
{
	struct pollfd *p = calloc(s->v->n_watches + 1, sizeof(*p));
	if (!p)
		kit_fail("memory ran out");
	bool ready = poll(p, watch_fill(s->v, p), 0) > 0;
	free(p);
	return ready || watch_next_due(s->v) <= s->host.now_ns;
}

/* Those that are ready ask for their wake. */
static bool ask_for_wakes(vat_test *t)
{
	bool any = false;
	for (struct slot *s = t->slots; s; s = s->next) {
		if (!s->v || s->v->wake_asked || !is_ready(s))
			continue;
		enter(s, ask);
		any = true;
	}
	return any;
}

bool vat_test_wake(vat_test *t)
{
	uint64_t next = UINT64_MAX;
	bool any = ask_for_wakes(t);
	for (struct slot *s = t->slots; s && !any; s = s->next)
		if (s->v && !s->v->wake_asked && watch_next_due(s->v) < next)
			next = watch_next_due(s->v);
	if (next != UINT64_MAX) {
		t->now_ns = next;
		for (struct slot *s = t->slots; s; s = s->next)
			s->host.now_ns = next;
		any = ask_for_wakes(t);
	}
	vat_test_run(t);
	return any;
}

/* --- the test ----------------------------------------------------------------------------------- */

vat_test *vat_test_new(void)
{
	vat_test *t = calloc(1, sizeof(*t));
	if (!t)
		kit_fail("memory ran out");
	t->slots_tail = &t->slots;
	t->kit = kit_new(&ops, t);
	return t;
}

void vat_test_free(vat_test *t)
{
	if (!t)
		return;
	for (struct slot *s; (s = t->slots);) {
		t->slots = s->next;
		end(s);
		free(s);
	}
	kit_free(t->kit);
	for (struct text *k; (k = t->texts);) {
		t->texts = k->next;
		free(k->text);
		free(k);
	}
	free(t);
}

void vat_test_add(vat_test *t, const char *name, const vat_program *program, const char *parameters)
{
	if (t->launched)
		kit_fail("vat_test_add(\"%s\") after the launch", name);
	struct slot *s = calloc(1, sizeof(*s) + strlen(name) + 1);
	if (!s)
		kit_fail("memory ran out");
	kit_add(t->kit, name, parameters);
	s->test = t;
	s->program = program;
	s->fd = -1;
	memcpy(s->name, name, strlen(name));
	*t->slots_tail = s;
	t->slots_tail = &s->next;
}

const char *vat_test_answer(vat_test *t)
{
	if (!t->latest)
		kit_fail("nothing was called yet");
	char *text = kit_answer(t->latest);
	return text ? keep(t, text) : "(pending)";
}

const char *vat_test_launch(vat_test *t)
{
	if (t->launched)
		kit_fail("launched twice");
	t->launched = true;
	t->latest = kit_launch(t->kit);
	vat_test_run(t);
	return vat_test_answer(t);
}

const char *vat_test_call(vat_test *t, const char *target, const char *method, const char *args, ...)
{
	char *text = NULL;
	va_list ap;
	va_start(ap, args);
	if (args && vasprintf(&text, args, ap) < 0)
		kit_fail("memory ran out");
	va_end(ap);
	t->latest = kit_call(t->kit, target, method, text);
	free(text);
	vat_test_run(t);
	return vat_test_answer(t);
}

const char *vat_test_root(vat_test *t, const char *name)
{
	slot_find(t, name);
	return keep(t, kit_root(t->kit, name));
}

void vat_test_release(vat_test *t)
{
	kit_release(t->kit);
	vat_test_run(t);
}

void vat_test_restart(vat_test *t, const char *name)
{
	slot_find(t, name);
	kit_restart(t->kit, name);
	vat_test_run(t);
}

void vat_test_program(vat_test *t, const char *name, const vat_program *program)
{
	slot_find(t, name)->program = program;
}

void vat_test_kill(vat_test *t, const char *name)
{
	struct slot *s = slot_find(t, name);
	if (!s->v)
		kit_fail("vat \"%s\" has no process to kill: %s", name, vat_test_status(t, name));
	end(s);
	kit_exited(t->kit, name, SIGKILL);
	vat_test_run(t);
}

void vat_test_reap(vat_test *t, const char *name)
{
	slot_find(t, name);
	kit_reap(t->kit, name);
	vat_test_run(t);
}

/* --- what a test wants to know ---------------------------------------------------------------------- */

const char *vat_test_status(vat_test *t, const char *name)
{
	slot_find(t, name);
	return keep(t, kit_status(t->kit, name));
}

const char *vat_test_log(vat_test *t, const char *name)
{
	slot_find(t, name);
	return keep(t, kit_log(t->kit, name));
}

size_t vat_test_imports(vat_test *t, const char *name)
{
	return kit_count(t->kit, name, KIT_IMPORTS);
}

size_t vat_test_exports(vat_test *t, const char *name)
{
	return kit_count(t->kit, name, KIT_EXPORTS);
}

size_t vat_test_promises(vat_test *t, const char *name)
{
	return kit_count(t->kit, name, KIT_PROMISES);
}

size_t vat_test_store_keys(vat_test *t, const char *name)
{
	return kit_count(t->kit, name, KIT_STORE_KEYS);
}

size_t vat_test_memory(vat_test *t, const char *name)
{
	const struct slot *s = slot_find(t, name);
	return s->v ? refs_count(s->v) : 0;
}
