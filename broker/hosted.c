/* SPDX-License-Identifier: Apache-2.0 */
#include "hosted.h"

#include <inttypes.h>
#include <utlist.h>

#include "../lib/jtext.h"
#include "router.h"

#define LOST_BUDGET	256u	/* calls rejected in one round */
#define ASK_BUDGET	64u	/* calls sent in one round */

/* A program: a connection that serves. */
struct hosted_peer {
	struct hosted_peer *prev, *next;
	struct kernel *kernel;
	struct control_server *server;
	unsigned n_services;
	struct hosted_call *asked, *waiting;	/* in the order in which they began */
	size_t n_asked;
};

/* A service that a program serves now. */
struct hosted {
	uint64_t kref;
	struct hosted_peer *peer;
	UT_hash_handle hh;
};

/* A call that has begun and is not answered; the rest of it is in the queue of `k`. */
struct hosted_call {
	uint64_t seq;
	struct hosted *service;			/* NULL: lost */
	bool asked;
	enum kernel_code code;			/* lost: what it is rejected with */
	struct hosted_call *prev, *next;	/* asked, waiting or lost */
	UT_hash_handle hh;			/* by seq, unless lost */
};

static struct hosted *attached(struct kernel *k, kref_t service)
{
	struct hosted *h;

	HASH_FIND(hh, k->hosted, &service.bits, sizeof(service.bits), h);
	return h;
}

bool hosted_is_attached(struct kernel *k, kref_t service)
{
	return attached(k, service);
}

/* --- losing them: memory only, from anywhere --------------------------------------------------------------------------- */

/* Out of its program's hands. */
static void call_remove(struct kernel *k, struct hosted_call *c)
{
	struct hosted_peer *peer = c->service->peer;

	HASH_DEL(k->hosted_calls, c);
	if (c->asked) {
		DL_DELETE(peer->asked, c);
		peer->n_asked--;
	} else {
		DL_DELETE(peer->waiting, c);
	}
}

/* Those for one service (NULL: for all) of a list of its program. */
static void lose(struct kernel *k, struct hosted_call *list, const struct hosted *h, enum kernel_code code)
{
	struct hosted_call *c, *tmp;

	DL_FOREACH_SAFE(list, c, tmp) {
		if (h && c->service != h)
			continue;
		call_remove(k, c);
		c->service = NULL;
		c->code = code;
		DL_APPEND(k->hosted_lost, c);
	}
	k->hosted_work = true;
}

static void detach(struct kernel *k, struct hosted *h)
{
	h->peer->n_services--;
	HASH_DEL(k->hosted, h);
	free(h);
}

static void on_gone(void *ctx)
{
	struct hosted_peer *peer = ctx;
	struct kernel *k = peer->kernel;
	struct hosted *h, *tmp;

	lose(k, peer->asked, NULL, CODE_CONNECTION_LOST);
	lose(k, peer->waiting, NULL, CODE_CONNECTION_LOST);
	HASH_ITER(hh, k->hosted, h, tmp) {
		if (h->peer == peer)
			detach(k, h);
	}
	DL_DELETE(k->hosted_peers, peer);
	free(peer);
}

static void on_drained(void *ctx)
{
	struct hosted_peer *peer = ctx;

	peer->kernel->hosted_work |= peer->waiting != NULL;
}

void hosted_deinit(struct kernel *k)
{
	struct hosted_call *c, *ctmp;

	while (k->hosted_peers)
		on_gone(k->hosted_peers);
	DL_FOREACH_SAFE(k->hosted_lost, c, ctmp)
		free(c);
	k->hosted_lost = NULL;
}

/* --- answers -------------------------------------------------------------------------------------------------------------- */

static int answer_value(struct kernel *k, uint64_t seq, const json_t *result)
{
	char why[SMALLCAPS_ERROR_MAX], text[SMALLCAPS_ERROR_MAX + 80];
	struct smallcaps value = { 0 };
	int r;

	r = smallcaps_from_json(result, &value, why);
	if (r == 0)
		r = service_answer(k, seq, false, &value);
	else if (r > 0) {
		snprintf(text, sizeof(text), "the answer of the service cannot be passed on: %s", why);
		r = service_answer_error(k, seq, "Error", text);
	}
	smallcaps_deinit(&value);
	return r;
}

static int answer_error(struct kernel *k, uint64_t seq, const char *format, const char *what)
{
	_cleanup_free_ char *text = NULL;

	if (strlen(what) > HOSTED_MAX_ERROR)
		return service_answer_error(k, seq, "Error", "the service answered with an error whose message is too long");
	if (asprintf(&text, format, what) < 0)
		return error_origin(ENOMEM);
	return service_answer_error(k, seq, "Error", text);
}

static int on_answer(void *ctx, uint64_t id, const struct control_answer *a)
{
	struct hosted_peer *peer = ctx;
	struct kernel *k = peer->kernel;
	struct hosted_call *c;
	int r;

	HASH_FIND(hh, k->hosted_calls, &id, sizeof(id), c);
	if (!c || !c->asked || c->service->peer != peer)
		return CONTROL_E_NO_REQUEST;
	call_remove(k, c);
	free(c);
	k->hosted_work |= peer->waiting != NULL;
	if (a->malformed)
		r = answer_error(k, id, "the answer of the service is malformed: %s", a->malformed);
	else if (a->error)
		r = answer_error(k, id, "%s", a->error);
	else
		r = answer_value(k, id, a->result);
	return r < 0 ? r : 0;	/* a call that has gone meanwhile needs no answer */
}

static const struct control_server_ops peer_ops = { .answer = on_answer, .drained = on_drained, .gone = on_gone };

/* --- registering ------------------------------------------------------------------------------------------------------------ */

static int count_hosted(struct kernel *k, size_t *np)
{
	const void *key, *val;
	struct row_service row;
	size_t key_len = 0, len;
	uint8_t at[KEY_MAX];
	int r;

	for (*np = 0;;) {
		r = store_next(k->store, T_SERVICE, key_len ? at : NULL, key_len, !key_len, &key, &key_len, &val, &len);
		if (r)
			return r < 0 ? error_trace(r) : 0;
		memcpy(at, key, key_len);
		if (len != sizeof(row))
			return kernel_corrupt("store: a service row is damaged");
		memcpy(&row, val, sizeof(row));
		*np += row.flags & SERVICE_F_HOST ? 1 : 0;
	}
}

/* May whoever asks serve this name? `row` is that of the service, if there is one. */
static int may_register(struct kernel *k, struct control_request *r, const char *name, const struct row_service *row,
			uid_t uid)
{
	size_t n;
	int e;

	if (!strncmp(name, "io:", 3) || (row && (!(row->flags & SERVICE_F_HOST) || (row->flags & SERVICE_F_IO)))) {
		control_error(r, CONTROL_KERNEL_ERROR, "SERVICE_RESERVED", "\"%s\" is a name of the kernel's own", name);
		return HOSTED_E_REFUSED;
	}
	if (row && attached(k, (kref_t){ row->kref })) {
		control_error(r, CONTROL_KERNEL_ERROR, "SERVICE_ATTACHED", "\"%s\" is served already", name);
		return HOSTED_E_REFUSED;
	}
	if (row && row->uid != uid) {
		control_error(r, CONTROL_KERNEL_ERROR, "SERVICE_OWNED", "\"%s\" was registered by uid %u; you are uid %u", name,
			      row->uid, (unsigned)uid);
		return HOSTED_E_REFUSED;
	}
	if (row)
		return 0;
	e = count_hosted(k, &n);
	if (e < 0)
		return e;
	if (n < HOSTED_MAX_SERVICES)
		return 0;
	control_error(r, CONTROL_KERNEL_ERROR, "TOO_MANY_SERVICES", "%u services are registered already", HOSTED_MAX_SERVICES);
	return HOSTED_E_REFUSED;
}

/* New, or as it was with what is said anew. */
static int put_service(struct kernel *k, const char *name, bool old, struct row_service *row, int system_only)
{
	int r = kernel_savepoint(k);

	if (system_only >= 0)
		row->flags = (row->flags & ~SERVICE_F_SYSTEM_ONLY) | (system_only ? SERVICE_F_SYSTEM_ONLY : 0);
	if (r >= 0 && old)
		r = store_put(k->store, T_SERVICE, name, strlen(name), row, sizeof(*row));
	else if (r >= 0)
		r = service_make(k, name, row);
	return r < 0 ? r : kernel_release(k);
}

/* The program behind a request; made with its first service. NULL in *peerp: it is gone. */
static int peer_of(struct kernel *k, struct control_request *r, struct hosted_peer **peerp)
{
	struct hosted_peer *peer = control_serving(r);

	*peerp = peer;
	if (peer)
		return 0;
	peer = calloc(1, sizeof(*peer));
	if (!peer)
		return error_origin(ENOMEM);
	peer->kernel = k;
	peer->server = control_serve(r, &peer_ops, peer);
	if (!peer->server) {
		free(peer);
		return 0;
	}
	DL_APPEND(k->hosted_peers, peer);
	*peerp = peer;
	return 0;
}

static int attach(struct kernel *k, struct hosted_peer *peer, kref_t service)
{
	struct hosted *h = calloc(1, sizeof(*h));

	if (!h)
		return error_origin(ENOMEM);
	*h = (struct hosted){ .kref = service.bits, .peer = peer };
	HASH_ADD(hh, k->hosted, kref, sizeof(h->kref), h);
	peer->n_services++;
	return 0;
}

static int refuse_gone(struct control_request *r)
{
	control_error(r, CONTROL_INTERNAL, NULL, "the caller is gone");
	return HOSTED_E_REFUSED;
}

int hosted_register(struct kernel *k, struct control_request *r, const char *name, int system_only, kref_t *refp)
{
	struct row_service row;
	struct hosted_peer *peer;
	struct ucred who;
	bool old;
	int e;

	if (!control_request_peer(r, &who))
		return refuse_gone(r);
	e = service_load(k, name, &row);
	if (e < 0)
		return e;
	old = e == 0;
	if (!old)
		row = (struct row_service){ .flags = SERVICE_F_HOST, .uid = who.uid };
	e = may_register(k, r, name, old ? &row : NULL, who.uid);
	if (e)
		return e;
	e = peer_of(k, r, &peer);
	if (e < 0)
		return e;
	if (!peer)
		return refuse_gone(r);
	if (peer->n_services == HOSTED_MAX_NAMES) {
		control_error(r, CONTROL_KERNEL_ERROR, "TOO_MANY_SERVICES", "a connection serves at most %u services",
			      HOSTED_MAX_NAMES);
		return HOSTED_E_REFUSED;
	}
	e = put_service(k, name, old, &row, system_only);
	refp->bits = row.kref;
	return e < 0 ? e : attach(k, peer, *refp);
}

int hosted_unregister(struct kernel *k, struct control_request *r, const char *name)
{
	struct row_service row;
	struct hosted *h;
	struct ucred who;
	int e;

	if (!control_request_peer(r, &who))
		return refuse_gone(r);
	e = service_load(k, name, &row);
	if (e < 0)
		return e;
	if (e == 0 && (!(row.flags & SERVICE_F_HOST) || (row.flags & SERVICE_F_IO))) {
		control_error(r, CONTROL_KERNEL_ERROR, "SERVICE_RESERVED", "\"%s\" is the kernel's own service", name);
		return HOSTED_E_REFUSED;
	}
	if (e) {
		control_error(r, CONTROL_KERNEL_ERROR, "SERVICE_UNKNOWN", "there is no registered service \"%s\"", name);
		return HOSTED_E_REFUSED;
	}
	if (who.uid && who.uid != row.uid) {
		control_error(r, CONTROL_KERNEL_ERROR, "SERVICE_OWNED", "\"%s\" was registered by uid %u; you are uid %u", name,
			      row.uid, (unsigned)who.uid);
		return HOSTED_E_REFUSED;
	}
	e = kernel_savepoint(k);
	if (e >= 0)
		e = service_unmake(k, name, &row);
	if (e >= 0)
		e = kernel_release(k);
	h = attached(k, (kref_t){ row.kref });
	if (e < 0 || !h)
		return e;
	lose(k, h->peer->asked, h, CODE_SERVICE_UNAVAILABLE);
	lose(k, h->peer->waiting, h, CODE_SERVICE_UNAVAILABLE);
	detach(k, h);
	return 0;
}

/* --- calls ---------------------------------------------------------------------------------------------------------------------- */

static int begin(struct kernel *k, const struct service_call *call)
{
	struct hosted *h = attached(k, (kref_t){ call->row.kref });
	struct hosted_call *c;

	if (!h)
		return service_refuse(k, call->item, CODE_SERVICE_UNAVAILABLE, "the program that serves it is not there");
	if (call->methargs.body_len > HOSTED_MAX_BODY)
		return service_reject(k, call->item, "RangeError", "the message is too large for a service of a program outside");
	c = calloc(1, sizeof(*c));
	if (!c)
		return error_origin(ENOMEM);
	*c = (struct hosted_call){ .seq = call->item->seq, .service = h };
	HASH_ADD(hh, k->hosted_calls, seq, sizeof(c->seq), c);
	DL_APPEND(h->peer->waiting, c);
	k->hosted_work = true;
	return SERVICE_LATER;
}

/* What nobody has been told of may go; what a program works on goes on. */
static bool forget(struct kernel *k, const struct item *item)
{
	struct hosted_call *c;

	HASH_FIND(hh, k->hosted_calls, &item->seq, sizeof(item->seq), c);
	return c && !c->asked;	/* its record goes when its turn comes */
}

const struct service_class hosted_service = { .begin = begin, .forget = forget };

static void put_quoted(struct jtext *t, const char *s, size_t len)
{
	jtext_char(t, '"');
	jtext_escaped(t, s, len);
	jtext_char(t, '"');
}

static void put(struct jtext *t, const char *text)
{
	jtext_put(t, text, strlen(text));
}

/* The arguments in plain JSON; NULL in *textp: they have no such form, or are many. */
static int plain_args(const struct capdata *c, const uint64_t *slots, char **textp)
{
	char why[SMALLCAPS_ERROR_MAX];
	json_t *args = NULL, *plain = NULL;
	int r = SMALLCAPS_E_INVALID;

	*textp = NULL;
	if (c->body_len <= HOSTED_MAX_ARGS)
		r = smallcaps_args(c->body, c->body_len, &args);
	if (r == 0)
		r = smallcaps_to_json(args, slots, c->n_slots, &plain, why);
	if (r == 0)
		*textp = json_dumps(plain, JSON_COMPACT);
	json_decref(args);
	json_decref(plain);
	return r < 0 ? r : 0;
}

static void put_methargs(struct jtext *t, const struct capdata *c, const uint64_t *slots)
{
	char text[REF_TEXT_MAX];
	size_t i;

	put(t, ",\"methargs\":{\"body\":");
	put_quoted(t, (const char *)c->body, c->body_len);	/* begin() saw that it is a method call, and so UTF-8 */
	put(t, ",\"slots\":[");
	for (i = 0; i < c->n_slots; i++) {
		if (i)
			jtext_char(t, ',');
		kref_format((kref_t){ slots[i] }, text);
		put_quoted(t, text, strlen(text));
	}
	put(t, "]}");
}

/* The line that asks. */
static int write_call(struct jtext *t, const struct item *i, const char *service)
{
	_cleanup_free_ uint64_t *slots = NULL;
	_cleanup_free_ char *method = NULL, *args = NULL;
	struct capdata c;
	int r;

	if (!capdata_read(i->raw, i->len, &c))
		return kernel_corrupt("queue: malformed item %" PRIu64, i->seq);
	slots = malloc(c.n_slots * sizeof(*slots) + 1);
	method = smallcaps_method(c.body, c.body_len);
	if (!slots || !method)
		return error_origin(ENOMEM);
	memcpy(slots, c.slots, c.n_slots * sizeof(*slots));
	put(t, "{\"jsonrpc\":\"2.0\",\"id\":");
	jtext_int(t, (int64_t)i->seq);
	put(t, ",\"method\":\"callService\",\"params\":{\"service\":");
	put_quoted(t, service, strlen(service));
	put(t, ",\"method\":");
	put_quoted(t, method, strlen(method));
	r = plain_args(&c, slots, &args);
	if (r < 0)
		return r;
	put(t, ",\"args\":");
	put(t, args ? args : "null");
	put_methargs(t, &c, slots);
	put(t, "}}");
	return t->failed ? error_origin(ENOMEM) : 0;
}

static int ask(struct kernel *k, struct hosted_call *c, const struct item *i)
{
	_cleanup_(jtext_deinit) struct jtext t = JTEXT_INIT;
	struct hosted_peer *peer = c->service->peer;
	_cleanup_free_ char *name = NULL;
	struct row_service row;
	int r;

	r = service_of(k, (kref_t){ i->row.target }, &name, &row);
	if (r)
		return r < 0 ? r : kernel_corrupt("a service without a row is attached");
	r = write_call(&t, i, name);
	if (r < 0)
		return r;
	DL_DELETE(peer->waiting, c);
	DL_APPEND(peer->asked, c);
	c->asked = true;
	peer->n_asked++;
	control_ask(peer->server, t.data, t.len);
	return 0;
}

/* The first that waits for this program: its time has come. */
static int next_call(struct kernel *k, struct hosted_peer *peer)
{
	_cleanup_(item_deinit) struct item i = ITEM_INIT;
	struct hosted_call *c = peer->waiting;
	bool ended = true;
	int r;

	r = queue_get(k, ENDPOINT_K.bits, c->seq, &i);
	if (r == 0)
		r = service_recheck(k, &i, &ended);	/* X1 */
	if (r < 0)
		return r;
	if (!ended)
		return ask(k, c, &i);
	call_remove(k, c);
	free(c);
	return 0;
}

static bool has_room(const struct hosted_peer *peer)
{
	return peer->waiting && peer->n_asked < HOSTED_MAX_ASKED && control_waiting(peer->server) < HOSTED_MAX_WAITING;
}

/* By turns: each program one call, so that none is before the others for long. */
static int ask_all(struct kernel *k)
{
	unsigned budget = ASK_BUDGET;
	struct hosted_peer *peer;
	bool any;
	int r;

	do {
		any = false;
		DL_FOREACH(k->hosted_peers, peer) {
			if (!has_room(peer))
				continue;
			any = true;
			r = next_call(k, peer);
			if (r < 0)
				return r;
			budget -= budget > 0;
		}
	} while (any && budget);
	k->hosted_work |= any;
	return 0;
}

static int reject_lost(struct kernel *k)
{
	unsigned budget = LOST_BUDGET;
	struct hosted_call *c;
	int r;

	while ((c = k->hosted_lost)) {
		if (!budget--) {
			k->hosted_work = true;
			return 0;
		}
		r = service_answer_code(k, c->seq, c->code, c->code == CODE_CONNECTION_LOST
				? "the program that serves it went away before it answered" : "the service was unregistered");
		if (r < 0)
			return r;
		DL_DELETE(k->hosted_lost, c);
		free(c);
	}
	return 0;
}

int hosted_pump(struct kernel *k)
{
	int r;

	if (!k->hosted_work)
		return 0;
	k->hosted_work = false;
	r = reject_lost(k);
	return r < 0 ? r : ask_all(k);
}

/* --- boot ------------------------------------------------------------------------------------------------------------------------- */

int hosted_boot(struct kernel *k)
{
	uint64_t seq = 0;
	int r;

	for (;; seq++) {
		_cleanup_free_ char *name = NULL;
		struct row_service service = { 0 };
		struct row_item row;

		r = queue_peek(k, ENDPOINT_K.bits, seq, &seq, &row);
		if (r)
			return r < 0 ? r : 0;
		r = service_of(k, (kref_t){ row.target }, &name, &service);
		if (r == 0 && (service.flags & SERVICE_F_HOST) && !(service.flags & SERVICE_F_IO))
			r = service_answer_code(k, seq, CODE_CONNECTION_LOST, "the kernel was started anew before it was answered");
		if (r < 0)
			return r;
	}
}
