/* SPDX-License-Identifier: Apache-2.0 */
#include "kit.h"

#include <ftw.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/socket.h>

#include "../../broker/boot.h"
#include "../../broker/charge.h"
#include "../../broker/clist.h"
#include "../../broker/collect.h"
#include "../../broker/cycle.h"
#include "../../broker/hosted.h"
#include "../../broker/io.h"
#include "../../broker/launch.h"
#include "../../broker/methods.h"
#include "../../broker/process.h"
#include "../../broker/service.h"
#include "../../broker/sweep.h"
#include "../../broker/vat.h"
#include "../../lib/check.h"
#include "../../lib/smallcaps.h"

#define ROUNDS_MAX	10000000u	/* of one run: somebody sends to himself for ever */

struct kit_request { struct control_request *control; bool launch; };

/* What the control socket would have: kept until the end, the kernel may answer at any time. */
struct control_request {
	struct control_request *next;
	struct kit_request outer;
	struct control_local *local;	/* somebody inside asked; NULL: the test */
	json_t *result;		/* one of these two, once answered */
	char *error;
};

struct kit {
	struct kernel k;
	const struct kit_ops *ops;
	void *ctx;
	json_t *config;		/* of the cluster */
	struct control_request *requests;
	unsigned rounds;	/* since it was quiet last */
};

void kit_fail(const char *fmt, ...)
{
	va_list ap;

	fflush(stdout);
	fputs("vat_test: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	abort();
}

/* Rule L1: no vat can cause a negative number, so it is the kernel's own fault, or the machine's. */
static void must(int r)
{
	if (r < 0)
		kit_fail("the kernel failed: %s", strerror(-r));
}

static void *must_have(void *p)
{
	if (!p)
		kit_fail("memory ran out");
	return p;
}

/* --- the control socket, played ------------------------------------------------------------------------------------ */

void control_reply(struct control_request *r, json_t *result)
{
	assert(!r->result && !r->error);
	if (r->local)
		r->local->answer(r->local, json_incref(must_have(result)), NULL, NULL);
	r->result = must_have(result);
}

void control_error(struct control_request *r, int code, const char *name, const char *fmt, ...)
{
	va_list ap;

	(void)code;
	assert(!r->result && !r->error);
	va_start(ap, fmt);
	if (vasprintf(&r->error, fmt, ap) < 0)
		r->error = NULL;
	va_end(ap);
	must_have(r->error);
	if (r->local)
		r->local->answer(r->local, NULL, name, r->error);
}

struct control_request *control_request_local(struct control *c, struct control_local *l)
{
	struct control_request *r = must_have(calloc(1, sizeof(*r)));
	struct kit *kit = (struct kit *)c;

	r->local = l;
	r->next = kit->requests;
	kit->requests = r;
	return r;
}

/* Whoever asks stays. */
void control_request_on_gone(struct control_request *r, void (*fn)(void *arg), void *arg)
{
	(void)r;
	(void)fn;
	(void)arg;
}

/* Nobody serves here: no request has a connection. */
bool control_request_peer(const struct control_request *r, struct ucred *peerp)
{
	(void)r;
	(void)peerp;
	return false;
}

void *control_serving(const struct control_request *r)
{
	(void)r;
	return NULL;
}

struct control_server *control_serve(struct control_request *r, const struct control_server_ops *ops, void *ctx)
{
	(void)r;
	(void)ops;
	(void)ctx;
	return NULL;
}

void control_ask(struct control_server *s, const char *text, size_t len)
{
	(void)s;
	(void)text;
	(void)len;
}

size_t control_waiting(const struct control_server *s)
{
	(void)s;
	return 0;
}

static struct control_request *request(struct kit *kit, const char *name, json_t *params)
{
	struct control_request *r = must_have(calloc(1, sizeof(*r)));
	const struct control_method *m = kernel_methods;

	r->outer.control = r;
	r->next = kit->requests;
	kit->requests = r;
	while (strcmp(m->name, name))
		m++;
	must(m->handle(&kit->k, r, must_have(params), NULL, 0));
	json_decref(params);
	return r;
}

/* One that is answered at once. */
static json_t *ask(struct kit *kit, const char *name, json_t *params)
{
	struct control_request *r = request(kit, name, params);

	if (!r->result)
		kit_fail("%s", r->error ? r->error : "the kernel does not answer");
	return r->result;
}

/* --- the spawner, played --------------------------------------------------------------------------------------------- */

static void start_process(struct kit *kit, struct vat *v)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		kit_fail("socketpair: %s", strerror(errno));
	v->spawned_incarnation = v->row.incarnation;
	v->proc = PROC_SPAWNING;
	must(channel_open(&v->channel, &kit->k.loop, pair[0], &vat_channel_ops));
	kit->ops->start(kit->ctx, v->row.name, pair[1]);
	must(vat_started(&kit->k, v, getpid(), 0));
}

/* All vats are one process. */
int process_cpu_ns(int pid, uint64_t *nsp)
{
	(void)pid;
	(void)nsp;
	return PROCESS_E_UNKNOWN;
}

/* As process_requests() in broker/process.c. */
void kit_serve(struct kit *kit)
{
	struct kernel *k = &kit->k;
	struct vat *v, *tmp;

	if (!k->want_processes)
		return;
	must(kernel_commit(k));
	k->want_processes = false;
	HASH_ITER(hh, k->vats, v, tmp) {
		if (v->kill_wanted) {
			v->kill_wanted = false;
			kit->ops->kill(kit->ctx, v->row.name);
			must(vat_exited(k, v, SIGKILL));
		} else if (v->proc == PROC_WANTED) {
			start_process(kit, v);
		}
		k->want_processes |= v->kill_wanted || v->proc == PROC_WANTED;
	}
}

/* --- running ------------------------------------------------------------------------------------------------------------ */

/* As step() in broker/broker.c. */
void kit_step(struct kit *kit)
{
	struct kernel *k = &kit->k;
	bool more;

	if (++kit->rounds > ROUNDS_MAX)
		kit_fail("this does not come to an end: the vats have sent each other messages for %u rounds", ROUNDS_MAX);
	must(loop_round(&k->loop, 0));
	do
		must(service_pump(k, &more));
	while (more);
	must(hosted_pump(k));
	must(kernel_tell_callers(k));
	must(launch_pump(k));
	must(crank_prepare_ready(k));
	must(sweep_step(k, &more));
	must(cycle_step(k, &more));
	must(collect_pump(k));
	must(kernel_tell_callers(k));
}

bool kit_is_quiet(struct kit *kit)
{
	struct kernel *k = &kit->k;
	struct vat *v, *tmp;

	if (k->ready_first || k->sweeping || k->cycling || k->launch_work || k->hosted_work || k->settled_calls.n || k->want_processes || k->io_work)
		return false;
	HASH_ITER(hh, k->vats, v, tmp) {
		struct pollfd p = { .fd = v->channel.source.fd, .events = POLLIN };

		if (channel_is_open(&v->channel) && poll(&p, 1, 0) > 0)
			return false;
	}
	must(kernel_commit(k));
	if (k->io_work)
		return false;	/* what waited for the commit */
	kit->rounds = 0;
	return true;
}

/* --- opening and closing ------------------------------------------------------------------------------------------------ */

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

/* The files lose their names at once: nothing is left behind however the test ends. */
static struct store *open_store(void)
{
	const char *tmp = getenv("TMPDIR");
	char dir[4096];
	uint64_t version;
	struct store *s;
	int r;

	snprintf(dir, sizeof(dir), "%s/vat-test-XXXXXX", tmp && *tmp ? tmp : "/tmp");
	if (!mkdtemp(dir))
		kit_fail("%s: %s", dir, strerror(errno));
	r = store_open(&s, dir, STORE_SCRATCH, &version);
	nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	must(r);
	return s;
}

struct kit *kit_new(const struct kit_ops *ops, void *ctx)
{
	struct kit *kit = must_have(calloc(1, sizeof(*kit)));
	struct kernel *k = &kit->k;

	log_init("vat_test");
	kit->ops = ops;
	kit->ctx = ctx;
	kit->config = must_have(json_pack("{s{}}", "vats"));
	*k = (struct kernel){ .next_host_call = 1, .spawner_fd = -1, .run_dir = "", .no_mount = true };
	k->control = (struct control *)kit;	/* which plays it */
	settings_init(&k->settings);
	must(loop_init(&k->loop));
	k->store = open_store();
	must(boot_kernel(k));
	return kit;
}

static int src_get(void *ctx, enum table t, const void *key, size_t key_len, const void **valp, size_t *lenp)
{
	return store_get(ctx, t, key, key_len, valp, lenp);
}

static int src_next(void *ctx, enum table t, const void *key, size_t key_len, bool or_equal, const void **keyp,
		    size_t *key_lenp, const void **valp, size_t *lenp)
{
	return store_next(ctx, t, key, key_len, or_equal, keyp, key_lenp, valp, lenp);
}

static void on_line(void *ctx, const char *line)
{
	(void)ctx;
	fprintf(stderr, "vat_test: %s\n", line);
}

static void recount(struct kit *kit)
{
	struct check_source src = { .ctx = kit->k.store, .get = src_get, .next = src_next };
	size_t n;

	must(kernel_commit(&kit->k));
	must(check_store(&src, on_line, NULL, &n));
	if (n)
		kit_fail("the kernel's own counts are wrong; this is a bug of Capstan");
}

struct kit *kit_free(struct kit *kit)
{
	struct kernel *k = &kit->k;
	struct control_request *r;
	struct host_call *c, *ctmp;
	struct vat *v, *tmp;
	size_t i;

	recount(kit);
	HASH_ITER(hh, k->vats, v, tmp)
		vat_forget(k, v);
	HASH_ITER(hh, k->calls, c, ctmp) {
		HASH_DEL(k->calls, c);
		methods_forget_call(c);
	}
	hosted_deinit(k);
	launch_deinit(k);
	cycle_deinit(k);
	collect_deinit(k);
	io_deinit(k);
	charges_deinit(k);
	service_deinit(k);
	k->store = store_free(k->store);
	loop_deinit(&k->loop);
	u64_list_deinit(&k->touched);
	u64_list_deinit(&k->settled_calls);
	for (i = 0; i < k->n_effects; i++)
		free(k->effects[i].arg);
	free(k->effects);
	while ((r = kit->requests)) {
		kit->requests = r->next;
		json_decref(r->result);
		free(r->error);
		free(r);
	}
	json_decref(kit->config);
	free(kit);
	return NULL;
}

/* --- vats ----------------------------------------------------------------------------------------------------------------- */

static struct vat *named(struct kit *kit, const char *name)
{
	struct vat *v, *tmp;

	HASH_ITER(hh, kit->k.vats, v, tmp)
		if (!strcmp(v->row.name, name))
			return v;
	return NULL;
}

static struct vat *must_be(struct kit *kit, const char *name)
{
	struct vat *v = named(kit, name);

	if (!v)
		kit_fail("there is no vat \"%s\" in the kernel: launched yet, and not failed?", name);
	return v;
}

static json_t *vat_id_of(const struct vat *v)
{
	return json_pack("{so}", "id", json_sprintf("v%" PRIu64, v->number));
}

void kit_exited(struct kit *kit, const char *name, int wait_status)
{
	must(vat_exited(&kit->k, must_be(kit, name), wait_status));
}

static json_t *json_or_fail(const char *text, const char *what)
{
	json_error_t where;
	json_t *json = json_loads(text, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &where);

	if (!json)
		kit_fail("%s is no JSON: %s at column %d of: %s", what, where.text, where.column, text);
	return json;
}

/* The program's hash is never looked at: nobody starts it. */
void kit_add(struct kit *kit, const char *name, const char *parameters)
{
	static const char program[] = "sha256:0000000000000000000000000000000000000000000000000000000000000000";
	json_t *vats = json_object_get(kit->config, "vats");
	json_t *vat = must_have(json_pack("{s:s, s:{s:i}}", "program", program, "limits", "logLines", 1000000));

	if (parameters)
		json_object_set_new(vat, "parameters", json_or_fail(parameters, "parameters"));
	if (json_object_get(vats, name))
		kit_fail("two vats are named \"%s\"", name);
	if (!json_object_size(vats))
		json_object_set_new(kit->config, "bootstrap", json_string(name));
	json_object_set_new(vats, name, vat);
}

struct kit_request *kit_launch(struct kit *kit)
{
	struct control_request *r = request(kit, "launchSubcluster", json_pack("{sOs[]}", "config", kit->config, "paths"));

	r->outer.launch = true;
	return &r->outer;
}

static const char *target_text(struct kit *kit, const char *target, char buf[REF_TEXT_MAX])
{
	struct vat *v = named(kit, target);
	bool reachable;
	kref_t ref;

	if (!v && kref_parse(target, strlen(target), &ref))
		return target;
	if (!v)
		kit_fail("\"%s\" is neither a vat of this test, launched, nor a reference", target);
	if (clist_find_vref(&kit->k, endpoint_vat(v->number), VREF_ROOT, &ref, &reachable))
		kit_fail("the root of \"%s\" is gone: %s", target, v->row.reason);
	return kref_format(ref, buf);
}

struct kit_request *kit_call(struct kit *kit, const char *target, const char *method, const char *args)
{
	json_t *list = json_or_fail(args ? args : "[]", "args");
	char buf[REF_TEXT_MAX];

	if (!json_is_array(list))
		kit_fail("args is no JSON array: %s", args);
	return &request(kit, "queueMessage", json_pack("{sssssosb}", "target", target_text(kit, target, buf), "method", method,
						       "args", list, "hold", 1))->outer;
}

char *kit_root(struct kit *kit, const char *vat)
{
	char buf[REF_TEXT_MAX];

	return must_have(strdup(target_text(kit, vat, buf)));
}

static const char *slot_text(void *ctx, uint64_t slot, char buf[40])
{
	(void)ctx;
	return kref_format((kref_t){ slot }, buf);
}

/* As the command shows it (tools/output.c). */
static char *render(const json_t *capdata)
{
	const json_t *body = json_object_get(capdata, "body"), *list = json_object_get(capdata, "slots");
	_cleanup_free_ uint64_t *slots = must_have(calloc(json_array_size(list) + 1, sizeof(*slots)));
	const char *bytes = json_string_value(body);
	_cleanup_free_ char *name = NULL, *message = NULL;
	bool error = smallcaps_read_error(bytes, json_string_length(body), &name, &message);
	char *text, *out;
	size_t i;

	for (i = 0; i < json_array_size(list); i++) {
		const json_t *slot = json_array_get(list, i);
		kref_t ref = KREF_NONE;

		kref_parse(json_string_value(slot), json_string_length(slot), &ref);
		slots[i] = ref.bits;
	}
	text = must_have(smallcaps_render(bytes, json_string_length(body), slots, json_array_size(list), slot_text, NULL));
	if (error || !json_is_true(json_object_get(capdata, "rejected")))
		return text;
	if (asprintf(&out, "rejected: %s", text) < 0)
		out = NULL;
	free(text);
	return must_have(out);
}

char *kit_answer(const struct kit_request *r)
{
	const struct control_request *c = r->control;
	char *text;

	if (c->result)
		return render(r->launch ? json_object_get(c->result, "bootstrapResult") : c->result);
	if (!c->error)
		return NULL;
	if (asprintf(&text, "Error: %s", c->error) < 0)
		text = NULL;
	return must_have(text);
}

/* --- what is done to vats ------------------------------------------------------------------------------------------------- */

void kit_restart(struct kit *kit, const char *name)
{
	ask(kit, "restartVat", vat_id_of(must_be(kit, name)));
}

void kit_reap(struct kit *kit, const char *name)
{
	struct vat *v = must_be(kit, name);

	must(kernel_savepoint(&kit->k));
	vat_edit(&kit->k, v)->flags |= VAT_F_REAP;
	must(kernel_release(&kit->k));
	vat_ready(&kit->k, v);
}

void kit_release(struct kit *kit)
{
	json_t *holds = json_incref(ask(kit, "holds", json_object()));
	const json_t *hold;
	size_t i;

	json_array_foreach(json_object_get(holds, "holds"), i, hold)
		if (!strcmp(json_string_value(json_object_get(hold, "kind")), "person"))
			ask(kit, "release", json_pack("{sO}", "kref", json_object_get(hold, "kref")));
	json_decref(holds);
}

/* --- what a test wants to know ---------------------------------------------------------------------------------------- */

char *kit_status(struct kit *kit, const char *name)
{
	static const char *const names[] = {
		[VAT_STARTING] = "starting", [VAT_RUNNING] = "running", [VAT_SUSPENDED] = "suspended",
		[VAT_TERMINATED] = "terminated",
	};
	struct vat *v = named(kit, name);
	bool said = v && v->row.reason[0] && (v->row.status == VAT_SUSPENDED || v->row.status == VAT_TERMINATED);
	char *text;

	if (asprintf(&text, "%s%s%s", v ? names[v->row.status] : "none", said ? ": " : "", said ? v->row.reason : "") < 0)
		text = NULL;
	return must_have(text);
}

/* The kernel keeps the last 1000. */
char *kit_log(struct kit *kit, const char *name)
{
	struct vat *v = named(kit, name);
	size_t size, i, n;
	char *text = NULL;
	json_int_t after = 0;
	FILE *f = must_have(open_memstream(&text, &size));

	do {
		json_t *params = v ? vat_id_of(v) : NULL, *answer, *lines;

		if (!v)
			break;
		json_object_set_new(params, "after", json_integer(after));
		answer = ask(kit, "getLog", params);
		lines = json_object_get(answer, "lines");
		after = json_integer_value(json_object_get(answer, "next"));
		n = json_array_size(lines);
		for (i = 0; i < n; i++)
			fprintf(f, "%s\n", json_string_value(json_object_get(json_array_get(lines, i), "text")));
	} while (n);
	fclose(f);
	return must_have(text);
}

static size_t count_store_keys(struct kit *kit, uint64_t number)
{
	static uint8_t at[WIRE_MAX_KEY], next[WIRE_MAX_KEY];
	size_t len = 0, next_len, n = 0;

	for (;; n++) {
		int r = vatstore_next(kit->k.store, number, at, len, next, &next_len);

		must(r);
		if (r)
			return n;
		memcpy(at, next, next_len);
		len = next_len;
	}
}

size_t kit_count(struct kit *kit, const char *name, enum kit_count what)
{
	struct vat *v = must_be(kit, name);
	uint64_t from = 0;
	bool reachable;
	size_t n = 0;
	vref_t vref;
	kref_t kref;

	if (what == KIT_STORE_KEYS)
		return count_store_keys(kit, v->number);
	for (;;) {
		int r = clist_next(&kit->k, endpoint_vat(v->number), from, &vref, &kref, &reachable);

		must(r);
		if (r)
			return n;
		n += what == (vref_is_promise(vref) ? KIT_PROMISES : vref_is_import(vref) ? KIT_IMPORTS : KIT_EXPORTS);
		if (vref.bits == UINT64_MAX)
			return n;
		from = vref.bits + 1;
	}
}
