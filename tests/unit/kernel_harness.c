/* SPDX-License-Identifier: Apache-2.0 */
#include "kernel_harness.h"

#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>

#include "../../broker/boot.h"
#include "../../broker/charge.h"
#include "../../broker/clist.h"
#include "../../broker/collect.h"
#include "../../broker/cycle.h"
#include "../../broker/hosted.h"
#include "../../broker/io.h"
#include "../../broker/launch.h"
#include "../../broker/live.h"
#include "../../broker/methods.h"
#include "../../broker/object.h"
#include "../../broker/process.h"
#include "../../broker/promise.h"
#include "../../broker/router.h"
#include "../../broker/service.h"
#include "../../broker/sweep.h"
#include "../../broker/system.h"
#include "../../lib/check.h"
#include "../runner/words.h"

struct world *world;

/* --- the control socket, played ------------------------------------------------------------------------- */

/* Somebody inside asked: the request is the world's until it is answered. */
static void answer_local(struct control_request *r, json_t *result, const char *name, const char *text)
{
	struct control_request **p;

	for (p = &world->locals; *p != r; p = &(*p)->next)
		assert_non_null(*p);
	*p = r->next;
	r->local->answer(r->local, result, name, text);
	free(r);
}

struct control_request *control_request_local(struct control *c, struct control_local *l)
{
	struct control_request *r = calloc(1, sizeof(*r));

	(void)c;
	assert_non_null(r);
	*r = (struct control_request){.local = l, .next = world->locals};
	return world->locals = r;
}

static void locals_free(void)
{
	struct control_request *r;

	while ((r = world->locals)) {
		world->locals = r->next;
		free(r);
	}
}

void control_reply(struct control_request *r, json_t *result)
{
	char *text;

	if (r->local) {
		answer_local(r, result, NULL, NULL);
		return;
	}
	text = json_dumps(result, JSON_COMPACT | JSON_SORT_KEYS);
	assert_false(r->answered); /* answer exactly once */
	r->answered = true;
	snprintf(r->text, sizeof(r->text), "%s", text);
	free(text);
	json_decref(result);
}

void control_error(struct control_request *r, int code, const char *name, const char *fmt, ...)
{
	char why[400];
	va_list ap;
	int n;

	(void)code;
	if (r->local) {
		va_start(ap, fmt);
		vsnprintf(why, sizeof(why), fmt, ap);
		va_end(ap);
		answer_local(r, NULL, name, why);
		return;
	}
	assert_false(r->answered);
	r->answered = true;
	n = snprintf(r->text, sizeof(r->text), "[%s] ", name ? name : "-");
	va_start(ap, fmt);
	vsnprintf(r->text + n, sizeof(r->text) - n, fmt, ap);
	va_end(ap);
}

/* Whoever asks stays. */
void control_request_on_gone(struct control_request *r, void (*fn)(void *arg), void *arg)
{
	(void)r;
	(void)fn;
	(void)arg;
}

bool control_request_peer(const struct control_request *r, struct ucred *peerp)
{
	*peerp = (struct ucred){.uid = r->host ? r->host->uid : 0};
	return r->host;
}

void *control_serving(const struct control_request *r) { return r->host ? r->host->ctx : NULL; }

struct control_server *control_serve(struct control_request *r, const struct control_server_ops *ops,
                                     void *ctx)
{
	if (!r->host)
		return NULL;
	assert_null(r->host->ctx);
	r->host->ops = ops;
	r->host->ctx = ctx;
	return r->host;
}

/* What a played program is asked: read by next_ask(). */
void control_ask(struct control_server *s, const char *text, size_t len)
{
	assert_non_null(s->ctx);
	assert_true(s->n_asks < ARRAY_LEN(s->asks));
	s->asks[s->n_asks] = strndup(text, len);
	assert_int_equal(strlen(s->asks[s->n_asks++]), len);
}

struct control_server *program(uid_t uid)
{
	struct control_server *p = calloc(1, sizeof(*p));

	assert_non_null(p);
	*p = (struct control_server){.uid = uid, .next = world->programs};
	return world->programs = p;
}

static void programs_free(void)
{
	struct control_server *p;

	while ((p = world->programs)) {
		world->programs = p->next;
		while (p->n_asks)
			free(p->asks[--p->n_asks]);
		free(p);
	}
}

size_t control_waiting(const struct control_server *s) { return s->waiting; }

#define FIRST_PID 1000

/* --- the spawner, played -------------------------------------------------------------------------------- */

static void raw_close(struct raw *r)
{
	if (r->fd >= 0)
		close(r->fd);
	wire_joiner_deinit(&r->joiner);
	free(r->frames);
	free(r->pending);
	while (r->n_aside)
		free(r->aside[--r->n_aside].text);
	*r = (struct raw){.vat = r->vat, .fd = -1, .joiner = WIRE_JOINER_INIT};
}

static void start_process(struct vat *v)
{
	struct raw *r = &world->raws[v->number];
	int pair[2];

	assert_true(v->number < RAW_MAX);
	assert_int_equal(r->fd, -1); /* one process of a vat at a time */
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	r->vat = v->number;
	r->fd = pair[1];
	v->spawned_incarnation = v->row.incarnation;
	v->proc = PROC_SPAWNING;
	must(channel_open(&v->channel, &world->k.loop, pair[0], &vat_channel_ops));
	must(vat_started(&world->k, v, FIRST_PID + (int)v->number, 0));
}

int process_cpu_ns(int pid, uint64_t *nsp)
{
	assert_true(pid > FIRST_PID && pid < FIRST_PID + (int)RAW_MAX);
	*nsp = world->cpu_ns[pid - FIRST_PID];
	return *nsp == UINT64_MAX ? PROCESS_E_UNKNOWN : 0;
}

static void reap_process(struct vat *v, int status)
{
	raw_close(&world->raws[v->number]);
	must(vat_exited(&world->k, v, status));
}

/* What process.c does after a commit. */
static void serve_processes(void)
{
	struct kernel *k = &world->k;
	struct vat *v, *tmp;

	if (!k->want_processes)
		return;
	if (k->dirty_since_ns)
		must(kernel_commit(k));
	k->want_processes = false;
	HASH_ITER(hh, k->vats, v, tmp)
	{
		if (v->kill_wanted && !world->hold_exits) {
			v->kill_wanted = false;
			reap_process(v, SIGKILL);
		} else if (v->proc == PROC_WANTED && world->fail_starts) {
			must(vat_spawn_failed(k, v, world->fail_starts));
		} else if (v->proc == PROC_WANTED && !world->hold_starts) {
			start_process(v);
		}
		k->want_processes |= v->kill_wanted || v->proc == PROC_WANTED;
	}
}

static bool is_waiting(const struct vat *v)
{
	return (v->kill_wanted && !world->hold_exits) || (v->proc == PROC_WANTED && !world->hold_starts);
}

/* --- running -------------------------------------------------------------------------------------------- */

/* As the broker's step(). */
void world_step(void)
{
	struct kernel *k = &world->k;
	bool more;

	must(loop_round(&k->loop, 0));
	do
		must(service_pump(k, &more));
	while (more);
	must(hosted_pump(k));
	must(kernel_tell_callers(k));
	must(launch_pump(k));
	if (world->prepare)
		world->prepare();
	else
		must(crank_prepare_ready(k));
	must(sweep_step(k, &more));
	must(cycle_step(k, &more));
	must(collect_pump(k));
	must(kernel_tell_callers(k));
	serve_processes();
}

static bool is_quiet(void)
{
	struct kernel *k = &world->k;
	struct vat *v, *tmp;

	if (k->ready_first || k->sweeping || k->cycling || k->launch_work || k->hosted_work ||
	    k->service_work || k->settled_calls.n || k->io_work)
		return false;
	HASH_ITER(hh, k->vats, v, tmp)
	{
		struct pollfd p = {.fd = v->channel.source.fd, .events = POLLIN};

		if (is_waiting(v))
			return false;
		if (channel_is_open(&v->channel) && poll(&p, 1, 0) > 0)
			return false;
	}
	return true;
}

static int src_get(void *ctx, enum table t, const void *key, size_t key_len, const void **valp, size_t *lenp)
{
	return store_get(ctx, t, key, key_len, valp, lenp);
}

static int src_next(void *ctx, enum table t, const void *key, size_t key_len, bool or_equal,
                    const void **keyp, size_t *key_lenp, const void **valp, size_t *lenp)
{
	return store_next(ctx, t, key, key_len, or_equal, keyp, key_lenp, valp, lenp);
}

static void on_line(void *ctx, const char *line)
{
	if (*(bool *)ctx)
		print_message("checker: %s\n", line);
}

size_t world_check(bool show)
{
	struct check_source src = {.ctx = world->k.store, .get = src_get, .next = src_next};
	size_t n = 0;

	assert_int_equal(check_store(&src, on_line, &show, &n), 0);
	return n;
}

void world_commit(void)
{
	must(kernel_commit(&world->k));
	if (!world->no_check)
		assert_int_equal(world_check(true), 0); /* C6 */
}

void world_settle(void)
{
	unsigned rounds = 0;

	do {
		world_step();
		assert_true(++rounds < 100000);
	} while (!is_quiet());
}

void world_run(void)
{
	do {
		world_settle();
		world_commit(); /* which may set a channel to work */
	} while (world->k.io_work);
}

/* --- opening and closing -------------------------------------------------------------------------------- */

static void open_kernel(void)
{
	struct kernel *k = &world->k;
	size_t i;

	*k = (struct kernel){.next_host_call = 1, .spawner_fd = -1, .uid_base = 100000, .run_dir = ""};
	for (i = 0; i < RAW_MAX; i++)
		world->raws[i] = (struct raw){.vat = i, .fd = -1, .joiner = WIRE_JOINER_INIT};
	settings_init(&k->settings);
	must(loop_init(&k->loop));
	must(live_new(&k->live));
	k->store = must_open(world->dir, world->kind);
	must(boot_kernel(k));
	assert_int_equal(world_check(true), 0);
}

static void close_kernel(void)
{
	struct kernel *k = &world->k;
	struct host_call *c, *ctmp;
	struct vat *v, *tmp;
	size_t i;

	for (i = 0; i < RAW_MAX; i++)
		raw_close(&world->raws[i]);
	HASH_ITER(hh, k->vats, v, tmp)
	vat_forget(k, v);
	HASH_ITER(hh, k->calls, c, ctmp)
	{
		HASH_DEL(k->calls, c);
		if (!c->ctx)
			free(c); /* ours; a launch's own is part of it */
	}
	hosted_deinit(k);
	launch_deinit(k);
	io_deinit(k);
	system_deinit(k);
	charges_deinit(k);
	service_deinit(k);
	k->store = store_free(k->store);
	loop_deinit(&k->loop);
	u64_list_deinit(&k->touched);
	u64_list_deinit(&k->settled_calls);
	promise_drop_tasks(k);
	cycle_deinit(k);
	collect_deinit(k);
	for (i = 0; i < k->n_effects; i++)
		free(k->effects[i].arg);
	free(k->effects);
	locals_free();
	k->live = live_free(k->live);
}

void world_open(const char *dir, enum store_kind kind)
{
	world = calloc(1, sizeof(*world));
	assert_non_null(world);
	snprintf(world->dir, sizeof(world->dir), "%s", dir);
	world->kind = kind;
	open_kernel();
	world->n_services = n_rows(T_SERVICE);
}

void world_close(void)
{
	if (!world)
		return;
	close_kernel();
	programs_free();
	u64_list_deinit(&world->host_settled);
	free(world);
	world = NULL;
}

void world_crash(void)
{
	close_kernel();
	world->request.answered = true; /* its connection is gone */
	open_kernel();
}

/* --- vats by name --------------------------------------------------------------------------------------- */

struct vat *vat_named(const char *name)
{
	struct vat *v, *tmp;

	HASH_ITER(hh, world->k.vats, v, tmp)
	if (!strcmp(v->row.name, name))
		return v;
	fail_msg("there is no vat %s", name);
	return NULL;
}

struct raw *raw_named(const char *name) { return &world->raws[vat_named(name)->number]; }

static vref_t vref(const char *text)
{
	vref_t v;

	if (!vref_parse(text, strlen(text), &v))
		fail_msg("bad reference in the test: %s", text);
	return v;
}

static int find_entry(const char *name, const char *text, kref_t *krefp, bool *reachablep)
{
	int r =
	    clist_find_vref(&world->k, endpoint_vat(vat_named(name)->number), vref(text), krefp, reachablep);

	must(r);
	return r;
}

kref_t kref_of(const char *name, const char *text)
{
	bool reachable;
	kref_t kref;

	if (find_entry(name, text, &kref, &reachable))
		fail_msg("%s has no %s", name, text);
	return kref;
}

bool knows(const char *name, const char *text)
{
	bool reachable;
	kref_t kref;

	return !find_entry(name, text, &kref, &reachable);
}

bool is_reachable(const char *name, const char *text)
{
	bool reachable;
	kref_t kref;

	return !find_entry(name, text, &kref, &reachable) && reachable;
}

const char *vref_of(const char *name, kref_t kref)
{
	static char buf[REF_TEXT_MAX];
	bool reachable;
	vref_t v;
	int r = clist_find_kref(&world->k, endpoint_vat(vat_named(name)->number), kref, &v, &reachable);

	must(r);
	return r ? "-" : vref_format(v, buf);
}

/* --- subclusters ---------------------------------------------------------------------------------------- */

void cluster_begin(const char *letters, const char *extra)
{
	static const char zeros[] = "0000000000000000000000000000000000000000000000000000000000000000";
	char text[8000], error[CONFIG_ERROR_MAX] = "";
	struct config_paths paths = {0};
	struct config *config;
	json_t *json;
	size_t n, i;

	n = snprintf(text, sizeof(text), "{\"bootstrap\":\"%c\",\"vats\":{", letters[0]);
	for (i = 0; letters[i]; i++)
		n += snprintf(text + n, sizeof(text) - n, "%s\"%c\":{\"program\":\"sha256:%s\"%s}",
		              i ? "," : "", letters[i], zeros, extra);
	snprintf(text + n, sizeof(text) - n, "},\"services\":%s}",
	         world->services ? world->services : "[\"console\"]");
	json = json_loads(text, 0, NULL);
	assert_non_null(json);
	if (config_parse(json, &config, error))
		fail_msg("%s", error);
	world->request = (struct control_request){0};
	if (launch_begin(&world->k, config, json, &paths, NULL, NULL, &world->request, error)) {
		if (!world->services)
			fail_msg("%s", error);
		snprintf(world->request.text, sizeof(world->request.text), "[-] %s", error);
	}
	json_decref(json);
}

void start_up(const char *name)
{
	struct raw *r = raw_named(name);
	char *text = next_delivery(r);

	if (!text || strncmp(text, "startVat ", 9))
		fail_msg("%s: expected startVat, got %s", name, text ? text : "nothing");
	free(text);
	play(name, "done", NULL);
}

void cluster(const char *letters)
{
	char name[2] = "", *text;
	size_t i;

	cluster_begin(letters, "");
	world_run();
	for (i = 0; letters[i]; i++) {
		name[0] = letters[i];
		start_up(name);
	}
	name[0] = letters[0];
	text = next_delivery(raw_named(name));
	assert_non_null(text);
	assert_int_equal(strncmp(text, "message o+0 #[\"bootstrap\"", 24), 0);
	free(text);
	play(name, "resolve p-1 data #\"#undefined\" []", "done", NULL);
	assert_true(world->request.answered);
	expect_nothing();
}

uint64_t subcluster_of(const char *name) { return vat_named(name)->row.subcluster; }

/* --- frames --------------------------------------------------------------------------------------------- */

bool syscall_encode(struct wire_buf *b, uint64_t delivery, const char *text)
{
	char error[WORDS_ERROR_MAX];

	if (!words_encode(b, delivery, text, error))
		fail_msg("in the test's \"%.200s\": %s", text, error);
	return true;
}

static void send_packet(struct raw *r, const void *data, size_t len)
{
	ssize_t n;

	/* A full socket: let the kernel read. */
	while ((n = send(r->fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL)) < 0 && errno == EAGAIN)
		world_step();
}

void send_bytes(const char *name, const void *data, size_t len) { send_packet(raw_named(name), data, len); }

/* A frame that exceeds a packet goes in parts of its own. */
static void send_frames(struct raw *r, const struct wire_buf *b)
{
	static uint8_t part[WIRE_MAX_PACKET];
	size_t offset = 0, n;

	assert_int_equal(b->error, 0);
	if (b->len <= WIRE_MAX_PACKET) {
		send_packet(r, b->data, b->len);
		return;
	}
	while ((n = wire_cut_part(b->data, b->len, &offset, part)))
		send_packet(r, part, n);
}

/* A delivery begins when it is read and nothing before it is unfinished. */
static void begin_delivery(struct raw *r, uint64_t delivery)
{
	assert_true(r->n_unfinished < RAW_AHEAD);
	r->unfinished[r->n_unfinished++] = delivery;
	r->delivery = r->unfinished[0];
}

static void end_delivery(struct raw *r)
{
	if (!r->n_unfinished || --r->n_unfinished == 0)
		return; /* a test may go on to speak of what is over */
	memmove(r->unfinished, r->unfinished + 1, r->n_unfinished * sizeof(*r->unfinished));
	r->delivery = r->unfinished[0];
}

void say_list(const char *name, const char *const *list)
{
	struct wire_buf b = WIRE_BUF_INIT;
	struct raw *r = raw_named(name);

	for (; *list; list++) {
		size_t before = b.len;

		assert_true(syscall_encode(&b, r->delivery, *list));
		if (!strcmp(*list, "done") || !strncmp(*list, "error", 5))
			end_delivery(r);
		if (b.len > WIRE_MAX_PACKET && before) {
			struct wire_buf head = {.data = b.data, .len = before};

			send_frames(r, &head);
			memmove(b.data, b.data + before, b.len - before);
			b.len -= before;
		}
		if (b.len > WIRE_MAX_PACKET) {
			send_frames(r, &b);
			wire_buf_reset(&b);
		}
	}
	if (b.len)
		send_frames(r, &b);
	wire_buf_deinit(&b);
}

#define MAX_WORDS 64
static void collect(const char **list, va_list ap)
{
	size_t n = 0;

	while ((list[n] = va_arg(ap, const char *)))
		assert_true(++n < MAX_WORDS);
}

void say(const char *name, ...)
{
	const char *list[MAX_WORDS];
	va_list ap;

	va_start(ap, name);
	collect(list, ap);
	va_end(ap);
	say_list(name, list);
}

void play(const char *name, ...)
{
	const char *list[MAX_WORDS];
	va_list ap;

	va_start(ap, name);
	collect(list, ap);
	va_end(ap);
	say_list(name, list);
	world_run();
}

static bool read_packet(struct raw *r)
{
	static uint8_t packet[WIRE_MAX_PACKET];
	const uint8_t *frames;
	size_t len = 0;
	ssize_t n;

	while (!len) {
		n = r->fd < 0 ? 0 : recv(r->fd, packet, sizeof(packet), MSG_DONTWAIT);
		if (n < 0 && errno == EAGAIN && vat_find(&world->k, r->vat)->channel.backlog.len) {
			world_step(); /* there is room now for what waits in the channel */
			continue;
		}
		if (n <= 0)
			return false;
		assert_int_equal(wire_join(&r->joiner, packet, n, WIRE_TO_VAT, &frames, &len), WIRE_OK);
	}
	r->frames = realloc(r->frames, len);
	memcpy(r->frames, frames, len);
	r->len = len;
	r->pos = 0;
	return true;
}

/* Init is taken note of, everything else is a delivery or an answer. */
static bool read_frame(struct raw *r, struct heard *h, bool *answerp)
{
	struct wire_frame fr;
	size_t size, n;
	FILE *f;

	do {
		if (r->pos == r->len && !read_packet(r))
			return false;
		assert_int_equal(wire_decode(r->frames + r->pos, r->len - r->pos, WIRE_TO_VAT, &fr, &size),
		                 WIRE_OK);
		r->pos += size;
		if (fr.type == WIRE_INIT) {
			assert_int_equal(fr.init.vat, r->vat);
			r->incarnation = fr.init.incarnation;
			r->next_export = fr.init.next_export;
			r->next_promise = fr.init.next_promise;
		}
	} while (fr.type == WIRE_INIT);
	*h = (struct heard){.delivery = fr.delivery};
	*answerp = fr.type == WIRE_STORE_VALUE;
	f = open_memstream(&h->text, &n);
	words_print(f, &fr);
	fclose(f);
	return true;
}

char *next_delivery(struct raw *r)
{
	struct heard h = r->aside[0];
	bool answer = false;

	if (r->n_aside)
		memmove(r->aside, r->aside + 1, --r->n_aside * sizeof(*r->aside));
	else if (!read_frame(r, &h, &answer))
		return NULL;
	if (!answer)
		begin_delivery(r, h.delivery);
	return h.text;
}

char *next_answer(struct raw *r)
{
	struct heard h;
	bool answer;

	while (read_frame(r, &h, &answer)) {
		if (answer)
			return h.text;
		assert_true(r->n_aside < RAW_AHEAD);
		r->aside[r->n_aside++] = h;
	}
	return NULL;
}

void expect(const char *name, const char *want)
{
	struct raw *r = raw_named(name);
	_cleanup_free_ char *got = strncmp(want, "storeValue ", 11) ? next_delivery(r) : next_answer(r);

	if (!got)
		fail_msg("%s: nothing came, expected: %s", name, want);
	else if (strcmp(got, want))
		fail_msg("%s:\n  got      %s\n  expected %s", name, got, want);
}

void expect_nothing(void)
{
	struct vat *v, *tmp;

	HASH_ITER(hh, world->k.vats, v, tmp)
	{
		_cleanup_free_ char *got = next_delivery(&world->raws[v->number]);

		if (got)
			fail_msg("%s: unexpected: %s", v->row.name, got);
	}
}

/* --- deaths and the outside ----------------------------------------------------------------------------- */

void process_dies_now(const char *name, int wait_status) { reap_process(vat_named(name), wait_status); }

void process_hangs_up(const char *name) { raw_close(&world->raws[vat_named(name)->number]); }

void process_dies(const char *name, int wait_status)
{
	struct vat *v = vat_named(name);

	raw_close(&world->raws[v->number]);
	must(loop_round(&world->k.loop, 0)); /* its hang-up is seen first */
	v->kill_wanted = false;
	must(vat_exited(&world->k, v, wait_status));
	world_run();
}

static int on_settled(struct kernel *k, struct host_call *c)
{
	must(kernel_savepoint(k));
	must(u64_list_push(&world->host_settled, c->promise.bits));
	must(kernel_unsubscribe_host(k, c));
	/* Keep what it settled with for the test to read: a pin stands for the person who asked. */
	if (!world->no_keep)
		must(kernel_hold(k, c->promise, HOLD_PERSON, 0, 1));
	must(kernel_release(k));
	free(c);
	return 0;
}

kref_t host_send(kref_t target, const char *body, const kref_t *krefs, size_t n, bool want_result)
{
	struct item i = {
	    .row = {.kind = ITEM_MESSAGE, .enqueued_us = now_realtime_us(), .target = target.bits}};
	uint64_t bits[16];
	kref_t result = KREF_NONE;
	size_t s;

	assert_true(n <= ARRAY_LEN(bits));
	for (s = 0; s < n; s++)
		bits[s] = krefs[s].bits;
	i.len = capdata_size(strlen(body), n);
	i.raw = malloc(i.len);
	capdata_write(i.raw, body, strlen(body), bits, n);
	must(kernel_savepoint(&world->k));
	if (want_result) {
		struct host_call *c = calloc(1, sizeof(*c));

		must(promise_new(&world->k, &result));
		i.row.result = result.bits;
		*c = (struct host_call){.promise = result, .settled = on_settled};
		must(kernel_subscribe_host(&world->k, c));
	}
	must(router_send(&world->k, &i));
	must(kernel_release(&world->k));
	item_deinit(&i);
	return result;
}

bool host_settled(kref_t promise)
{
	size_t i;

	for (i = 0; i < world->host_settled.n; i++)
		if (world->host_settled.v[i] == promise.bits)
			return true;
	return false;
}

/* --- state ---------------------------------------------------------------------------------------------- */

struct row_object object_row(kref_t ref)
{
	struct row_object row = {0};

	assert_int_equal(object_load(&world->k, ref, &row), 0);
	return row;
}

struct row_promise promise_row(kref_t ref)
{
	struct row_promise row = {0};

	assert_int_equal(promise_load(&world->k, ref, &row), 0);
	return row;
}

bool row_exists(kref_t ref)
{
	struct row_promise promise;
	struct row_object object;
	int r = kref_is_promise(ref) ? promise_load(&world->k, ref, &promise)
	                             : object_load(&world->k, ref, &object);

	must(r);
	return r == 0;
}

void expect_counts(kref_t ref, uint64_t reachable, uint64_t recognizable)
{
	struct row_object row = object_row(ref);

	if (row.n_reachable != reachable || row.n_recognizable != recognizable)
		fail_msg("ko%" PRIu64 ": counts %" PRIu64 " %" PRIu64 ", expected %" PRIu64 " %" PRIu64,
		         kref_number(ref), row.n_reachable, row.n_recognizable, reachable, recognizable);
}

void expect_promise(kref_t ref, const char *want)
{
	struct row_promise row = promise_row(ref);
	char buf[REF_TEXT_MAX], *text = NULL;
	struct capdata value;
	size_t n, i;
	FILE *f;

	f = open_memstream(&text, &n);
	if (row.state == PROMISE_UNRESOLVED || row.state == PROMISE_FORWARDED) {
		fputs(row.state == PROMISE_UNRESOLVED ? "unresolved" : "forwarded", f);
	} else {
		assert_int_equal(promise_value(&world->k, ref, &value), 0);
		fprintf(f, "%s %.*s [",
		        row.state == PROMISE_REJECTED ? row.flags & PROMISE_F_KERNEL ? "krej" : "rej"
		        : row.flags & PROMISE_F_REF   ? "ref"
		                                      : "data",
		        (int)value.body_len, (const char *)value.body);
		for (i = 0; i < value.n_slots; i++)
			fprintf(f, "%s%s", i ? " " : "", kref_format((kref_t){capdata_slot(&value, i)}, buf));
		fputs("]", f);
	}
	fclose(f);
	if (strcmp(text, want))
		fail_msg("kp%" PRIu64 ":\n  is       %s\n  expected %s", kref_number(ref), text, want);
	free(text);
}

size_t world_walk(enum table t, row_fn *fn, void *ctx)
{
	uint8_t at[KEY_MAX];
	const void *key, *val;
	size_t key_len = 0, len, n = 0;

	for (;;) {
		int r = store_next(world->k.store, t, key_len ? at : NULL, key_len, !key_len, &key, &key_len,
		                   &val, &len);

		must(r);
		if (r)
			return n;
		memcpy(at, key, key_len);
		if (fn)
			fn(ctx, key, key_len, val, len);
		n++;
	}
}

size_t n_rows(enum table t) { return world_walk(t, NULL, NULL); }

struct dump {
	FILE *f;
	enum table t;
	uint64_t except;
};

static void dump_row(void *ctx, const uint8_t *key, size_t key_len, const uint8_t *val, size_t len)
{
	struct dump *d = ctx;
	size_t i, from = 0;

	if (d->except && key_len >= 8 && get_be64(key) == d->except)
		return;
	if (d->t == T_QUEUE)
		from = offsetof(struct row_item, sender); /* without the time, and the flags before it */
	fprintf(d->f, "%s ", table_names[d->t]);
	for (i = 0; i < key_len; i++)
		fprintf(d->f, "%02x", key[i]);
	fputs(" ", d->f);
	for (i = from; i < len; i++)
		fprintf(d->f, "%02x", val[i]);
	fputs("\n", d->f);
}

char *world_dump(uint64_t except)
{
	static const enum table tables[] = {
	    T_OBJECT,  T_PROMISE, T_VALUE,     T_CLIST, T_EREF,  T_IMPORTER, T_DECIDED,   T_SUBSCRIBER,
	    T_FORWARD, T_QUEUE,   T_NOTIFYING, T_GC,    T_SWEEP, T_VATSTORE, T_VAT_PARAM, T_SERVICE_OF,
	};
	struct dump d = {.except = except};
	char *text = NULL;
	size_t n, i;

	d.f = open_memstream(&text, &n);
	for (i = 0; i < ARRAY_LEN(tables); i++) {
		d.t = tables[i];
		world_walk(d.t, dump_row, &d);
	}
	fclose(d.f);
	return text;
}
