/* SPDX-License-Identifier: Apache-2.0 */
#include "facet.h"

#include <ctype.h>
#include <inttypes.h>

#include "../lib/jtext.h"
#include "arguments.h"
#include "aside.h"
#include "launch.h"
#include "methods.h"
#include "promise.h"
#include "router.h"
#include "underway.h"

#define PARAMS_MAX	2u

struct facet_call {
	UT_hash_handle hh;		/* by seq, until it is settled */
	struct facet_call *next;	/* BEGUN or ANSWERED */
	struct control_local local;
	uint64_t seq;
	enum { BEGUN, ASKED, ANSWERED } state;
	const struct control_method *method;
	const char *name;
	json_t *params;
	json_t *result;			/* ANSWERED; NULL: an error */
	char *code, *text;
};

struct call_list { struct facet_call *first, *last; };

struct facet {
	struct facet_call *calls;
	struct call_list todo, answered;
};

/*
 * What there is, and the names of the parameters; one that begins with @ is a reference, one with ! must be given. A further method is a line. Not offered: what
 * needs a connection (registerService), and what ends the one who asks together with everybody (terminateAllVats, shutdown).
 */
static const struct facet_method { const char *name, *params[PARAMS_MAX], *control; } offered[] = {
	{ "getStatus", { NULL }, NULL },
	{ "listSubclusters", { NULL }, NULL },
	{ "launchSubcluster", { "config" }, NULL },
	{ "terminateSubcluster", { "id" }, NULL },
	{ "terminateVat", { "id" }, NULL },
	{ "restartVat", { "id" }, NULL },
	{ "suspendVat", { "id" }, NULL },
	{ "resumeVat", { "id" }, NULL },
	{ "pingVat", { "id" }, NULL },
	{ "getLog", { "id", "after" }, NULL },
	{ "revoke", { "@kref" }, NULL },
	{ "isRevoked", { "@kref" }, NULL },
	{ "revokeVat", { "id" }, NULL },
	{ "holds", { NULL }, NULL },
	{ "release", { "@kref" }, NULL },
	{ "pin", { "@kref" }, NULL },
	{ "unpin", { "@kref" }, NULL },
	{ "reapVats", { "id", "all" }, NULL },
	{ "collectGarbage", { NULL }, NULL },
	{ "listServices", { NULL }, NULL },
	{ "aside", { NULL }, NULL },
	{ "dropAside", { "!drop" }, "aside" },
};

/* --- arguments ------------------------------------------------------------------------------------------------------ */

static int copy_slots(const struct capdata *c, uint64_t **slotsp)
{
	uint64_t *slots = malloc(c->n_slots * sizeof(*slots) + 1);

	if (!slots)
		return error_origin(ENOMEM);
	memcpy(slots, c->slots, c->n_slots * sizeof(*slots));
	*slotsp = slots;
	return 0;
}

/* A vat names objects by holding them, never by their text. */
static int add_reference(struct kernel *k, const struct service_call *c, const json_t *args, size_t i, const char *name,
			 json_t *params)
{
	char text[REF_TEXT_MAX];
	kref_t ref;
	int r = arguments_reference(k, c, args, i, "a reference", &ref);

	if (r)
		return r;
	return json_object_set_new(params, name, json_string(kref_format(ref, text))) ? error_origin(ENOMEM) : 0;
}

static int add_value(struct kernel *k, const struct service_call *c, const json_t *args, size_t i, const char *name,
		     json_t *params)
{
	const json_t *arg = json_array_get(args, i);
	_cleanup_free_ uint64_t *slots = NULL;
	char error[SMALLCAPS_ERROR_MAX];
	json_t *value;
	int r;

	if (smallcaps_look(arg, c->methargs.n_slots).kind == SMALLCAPS_UNDEFINED) {
		if (name[0] != '!')
			return 0;
		r = arguments_refuse(k, c, "argument %zu: missing", i + 1);
		return r < 0 ? r : ARGUMENTS_E_REFUSED;
	}
	if (smallcaps_look(arg, c->methargs.n_slots).kind == SMALLCAPS_REFERENCE) {
		r = arguments_refuse(k, c, "argument %zu: expected data, not a reference", i + 1);
		return r < 0 ? r : ARGUMENTS_E_REFUSED;
	}
	r = copy_slots(&c->methargs, &slots);
	if (r < 0)
		return r;
	r = smallcaps_to_json(arg, slots, c->methargs.n_slots, &value, error);
	if (r > 0) {
		r = arguments_refuse(k, c, "argument %zu: %s", i + 1, error);
		return r < 0 ? r : ARGUMENTS_E_REFUSED;
	}
	if (r == 0 && json_object_set_new(params, name + (name[0] == '!'), value))
		r = error_origin(ENOMEM);
	return r;
}

static int read_params(struct kernel *k, const struct service_call *c, const struct facet_method *m, const json_t *args,
		       json_t *params)
{
	size_t i;
	int r = 0;

	for (i = 0; r == 0 && i < PARAMS_MAX && m->params[i]; i++) {
		const char *name = m->params[i];

		r = name[0] == '@' ? add_reference(k, c, args, i, name + 1, params) : add_value(k, c, args, i, name, params);
	}
	return r;
}

/* --- calls ------------------------------------------------------------------------------------------------------------ */

static struct facet_call *find_call(struct kernel *k, uint64_t seq)
{
	struct facet_call *f = NULL;

	if (k->facet)
		HASH_FIND(hh, k->facet->calls, &seq, sizeof(seq), f);
	return f;
}

static void call_remove(struct kernel *k, struct facet_call *f)
{
	HASH_DEL(k->facet->calls, f);
	json_decref(f->params);
	json_decref(f->result);
	free(f->code);
	free(f->text);
	free(f);
}

static void list_put(struct call_list *l, struct facet_call *f)
{
	f->next = NULL;
	if (l->last)
		l->last->next = f;
	else
		l->first = f;
	l->last = f;
}

static struct facet_call *list_take(struct call_list *l)
{
	struct facet_call *f = l->first;

	if (!f)
		return NULL;
	l->first = f->next;
	if (!l->first)
		l->last = NULL;
	return f;
}

static void on_answer(struct control_local *l, json_t *result, const char *code, const char *text)
{
	struct facet_call *f = container_of(l, struct facet_call, local);

	f->state = ANSWERED;
	f->result = result;
	list_put(&((struct facet *)l->ctx)->answered, f);
	if (result)
		return;
	f->code = code ? strdup(code) : NULL;	/* without memory the sentence is shorter, that is all */
	f->text = strdup(text);
}

static const struct control_method *method_named(const char *name)
{
	const struct control_method *m = kernel_methods;

	while (strcmp(m->name, name))
		m++;
	return m;
}

static int add_call(struct kernel *k, const struct service_call *c, const struct facet_method *m, json_t *params)
{
	struct facet_call *f = calloc(1, sizeof(*f));

	if (!k->facet)
		k->facet = calloc(1, sizeof(*k->facet));
	if (!f || !k->facet) {
		free(f);
		return error_origin(ENOMEM);
	}
	f->local = (struct control_local){ on_answer, k->facet };
	f->seq = c->item->seq;
	f->name = m->name;
	f->method = method_named(m->control ? m->control : m->name);
	f->params = json_incref(params);
	HASH_ADD(hh, k->facet->calls, seq, sizeof(f->seq), f);
	list_put(&k->facet->todo, f);
	k->facet_work = true;
	return SERVICE_LATER;
}

/* --- messages ---------------------------------------------------------------------------------------------------------- */

/* Whoever it reaches answers the call: sender and result are those of the call. */
static int send_on(struct kernel *k, const struct service_call *c, kref_t target, const void *body, size_t len, const struct capdata *from)
{
	_cleanup_(item_deinit) struct item i = ITEM_INIT;
	_cleanup_free_ uint64_t *slots = NULL;
	int r = copy_slots(from, &slots);

	if (r >= 0)
		r = item_host_message(&i, target, body, len, slots, from->n_slots);
	if (r < 0)
		return r;
	i.row.sender = c->item->row.sender;
	i.row.result = c->item->row.result;
	return router_send(k, &i);
}

/* queueMessage(target, method, args): the body is cut, not read and written, so that every value comes through. */
static int queue_message(struct kernel *k, const struct service_call *c, const json_t *args)
{
	const char *text = (const char *)c->methargs.body, *end = text + c->methargs.body_len, *target, *method, *list;
	struct jtext body = JTEXT_INIT;
	enum smallcaps_kind kind;
	kref_t ref;
	int r;

	r = arguments_reference(k, c, args, 0, "a reference", &ref);
	if (r)
		return r < 0 ? r : SERVICE_DONE;
	kind = smallcaps_look(json_array_get(args, 1), 0).kind;
	if (kind != SMALLCAPS_STRING && kind != SMALLCAPS_SYMBOL)
		return arguments_refuse(k, c, "argument 2: expected the name of a method");
	if (!json_is_array(json_array_get(args, 2)))
		return arguments_refuse(k, c, "argument 3: expected an array of arguments");
	if (!jtext_check(text + 1, c->methargs.body_len - 1))
		return arguments_refuse(k, c, "the arguments are not an array of smallcaps values");
	target = jtext_enter(jtext_next(jtext_enter(jtext_start(text + 1))));
	method = jtext_next(target);
	list = jtext_next(method);
	jtext_put(&body, "#[", 2);
	jtext_put(&body, method, (size_t)(jtext_skip(method, end) - method));
	jtext_char(&body, ',');
	jtext_put(&body, list, (size_t)(jtext_skip(list, end) - list));
	jtext_char(&body, ']');
	r = body.failed ? error_origin(ENOMEM) : send_on(k, c, ref, body.data, body.len, &c->methargs);
	jtext_deinit(&body);
	return r;
}

/* sendAside(id): what was set aside, as a new message whose result is that of the call. It stays until it is dropped. */
static int send_aside(struct kernel *k, const struct service_call *c, const json_t *args)
{
	struct aside a;
	double id;
	kref_t lost;
	int r;

	r = arguments_number(k, c, args, 0, "the id of a message, as `aside` lists it", 0, 9007199254740992.0, &id);
	if (r)
		return r < 0 ? r : SERVICE_DONE;
	r = id == (double)(uint64_t)id ? aside_find(k, (uint64_t)id, &a) : ASIDE_E_UNKNOWN;
	if (r == ASIDE_E_UNKNOWN)
		return service_reject(k, c->item, "Error", "[ASIDE_UNKNOWN] no message with that id was set aside");
	if (r == 0)
		r = aside_lost(k, &a, &lost);
	if (r < 0)
		return r;
	if (!kref_is_none(lost))
		return service_reject(k, c->item, "Error", "[OBJECT_DELETED] nothing reaches a reference that it names any more");
	return send_on(k, c, (kref_t){ a.row.target }, a.methargs.body, a.methargs.body_len, &a.methargs);
}

/* --- beginning --------------------------------------------------------------------------------------------------------- */

static const struct facet_method *facet_method(const char *name)
{
	size_t i;

	for (i = 0; i < ARRAY_LEN(offered); i++)
		if (!strcmp(offered[i].name, name))
			return &offered[i];
	return NULL;
}

static int ask(struct kernel *k, const struct service_call *c, const json_t *args)
{
	const struct facet_method *m = facet_method(c->method);
	json_t *params = json_object();
	int r;

	if (!params)
		return error_origin(ENOMEM);
	r = read_params(k, c, m, args, params);
	if (r == 0)
		r = add_call(k, c, m, params);
	else if (r > 0)
		r = SERVICE_DONE;
	json_decref(params);
	return r;
}

static int begin(struct kernel *k, const struct service_call *c)
{
	static const struct service_method messages[] = { { "queueMessage", queue_message }, { "sendAside", send_aside } };
	const struct service_method method = { c->method, ask };

	if (facet_method(c->method))
		return arguments_dispatch(k, c, &method, 1);
	if (strcmp(c->method, messages[0].name) && strcmp(c->method, messages[1].name))
		return arguments_refuse(k, c, "no such method");
	return arguments_dispatch(k, c, messages, ARRAY_LEN(messages));
}

/* What has not run yet is carried out first: it was sent. */
static bool forget(struct kernel *k, const struct item *i)
{
	struct facet_call *f = find_call(k, i->seq);

	return f && f->state != BEGUN;
}

static int run(struct kernel *k, struct facet_call *f, const struct item *i)
{
	struct control_request *request;
	uint64_t seq = f->seq;
	int r;

	r = underway_begin(k, UNDERWAY_ANSWER, 0, seq);
	if (r < 0)
		return r;
	underway_fault(k, "answer", i->raw, i->len);
	request = control_request_local(k->control, &f->local);
	if (!request)
		return error_origin(ENOMEM);
	f->state = ASKED;
	r = f->method->handle(k, request, f->params, NULL, 0);
	if (r >= 0)
		r = facet_answers(k);
	if (r < 0)
		return r;
	underway_acquit(k, UNDERWAY_ANSWER, 0, seq);
	underway_end(k);
	return 0;
}

int facet_pump(struct kernel *k, bool *didp)
{
	_cleanup_(item_deinit) struct item i = ITEM_INIT;
	struct facet_call *f = k->facet_work ? list_take(&k->facet->todo) : NULL;
	int r;

	*didp = k->facet_work = f;
	if (!f)
		return 0;
	r = queue_get(k, ENDPOINT_K.bits, f->seq, &i);
	if (r == 0)
		return run(k, f, &i);
	call_remove(k, f);
	return r < 0 ? r : 0;
}

/* --- answers ---------------------------------------------------------------------------------------------------------- */

/*
 * A reference under one of these names of a result is text for who is outside; a vat gets the reference itself, under a name for that. Never
 * text: a vat could do nothing with it. `lost` cannot be given to anybody.
 */
static const struct { const char *name, *shown; } references[] = {
	{ "kref", "kref" }, { "rootKref", "root" }, { "target", "target" }, { "lost", NULL },
};

static int to_value(struct kernel *k, const json_t *json, json_t **out);

/*
 * {"body","slots"}: a promise that is settled so, for what a vat answered is any value, or none that anybody could read. What it names is
 * held by the subcluster, unless that has ended already.
 */
static int make_promise(struct kernel *k, const json_t *json, json_t **out)
{
	const json_t *body = json_object_get(json, "body"), *list = json_object_get(json, "slots");
	_cleanup_free_ uint64_t *slots = calloc(json_array_size(list) + 1, sizeof(*slots));
	struct smallcaps value = { .body = (char *)(uintptr_t)json_string_value(body), .body_len = json_string_length(body),
				   .slots = slots, .n_slots = json_array_size(list) };
	struct item i = ITEM_INIT;
	char text[REF_TEXT_MAX];
	bool usable = true;
	kref_t promise, ref;
	size_t n;
	int r = slots ? promise_new(k, &promise) : error_origin(ENOMEM);

	for (n = 0; r >= 0 && usable && n < value.n_slots; n++) {
		const json_t *slot = json_array_get(list, n);

		if (!kref_parse(json_string_value(slot), json_string_length(slot), &ref))
			return kernel_corrupt("kernelFacet: a value without its references");
		slots[n] = ref.bits;
		r = kref_is_usable(k, ref, &usable);
	}
	if (r < 0)
		return r;
	i.row.result = promise.bits;
	if (usable)
		r = service_settle(k, &i, json_is_true(json_object_get(json, "rejected")), &value);
	else
		r = service_refuse(k, &i, CODE_OBJECT_DELETED, "nothing reaches what the answer names any more");
	if (r < 0)
		return r;
	*out = json_pack("{ss}", "@", kref_format(promise, text));
	return *out ? 0 : error_origin(ENOMEM);
}

/* A reference that is not alive any more is null. */
static int make_reference(struct kernel *k, kref_t ref, json_t **out)
{
	char text[REF_TEXT_MAX];
	bool usable;
	int r = kref_is_usable(k, ref, &usable);

	if (r < 0)
		return r;
	*out = usable ? json_pack("{ss}", "@", kref_format(ref, text)) : json_null();
	return *out ? 0 : error_origin(ENOMEM);
}

static int member_to_value(struct kernel *k, const char *name, const json_t *value, json_t *out)
{
	json_t *made = NULL;
	kref_t ref;
	size_t i;
	int r;

	for (i = 0; i < ARRAY_LEN(references) && strcmp(name, references[i].name); i++)
		;
	/* A vat may be called so, too: then there is something else under the name. */
	if (i < ARRAY_LEN(references) && !references[i].shown && json_is_null(value))
		return 0;
	if (i < ARRAY_LEN(references) && json_is_string(value) &&
	    kref_parse(json_string_value(value), json_string_length(value), &ref)) {
		if (!references[i].shown)
			return 0;
		name = references[i].shown;
		r = make_reference(k, ref, &made);
	} else {
		r = to_value(k, value, &made);
	}
	if (r < 0)
		return r;
	return json_object_set_new(out, name, made) ? error_origin(ENOMEM) : 0;
}

/* Results are the kernel's own, and shallow. */
static int to_value(struct kernel *k, const json_t *json, json_t **out)
{
	const char *name;
	json_t *made, *element;
	size_t i;
	int r = 0;

	if (!json_is_object(json) && !json_is_array(json)) {
		*out = json_incref((json_t *)(uintptr_t)json);
		return 0;
	}
	if (json_is_string(json_object_get(json, "body")) && json_is_array(json_object_get(json, "slots")))
		return make_promise(k, json, out);
	made = json_is_object(json) ? json_object() : json_array();
	if (!made)
		return error_origin(ENOMEM);
	if (json_is_object(json)) {
		json_object_foreach((json_t *)(uintptr_t)json, name, element)
			if (r >= 0)
				r = member_to_value(k, name, element, made);
	}
	for (i = 0; r >= 0 && i < json_array_size(json); i++) {
		r = to_value(k, json_array_get(json, i), &element);
		if (r >= 0 && json_array_append_new(made, element))
			r = error_origin(ENOMEM);
	}
	if (r < 0)
		json_decref(made);
	else
		*out = made;
	return r < 0 ? r : 0;
}

/* Sentences name references by their text. */
static char *without_references(const char *text)
{
	struct jtext out = JTEXT_INIT;
	const char *p, *end;

	for (p = text; *p; p = end) {
		end = p + 1;
		if (p[0] == 'k' && (p[1] == 'o' || p[1] == 'p') && (p == text || !isalnum((unsigned char)p[-1])))
			end = p + 2 + strspn(p + 2, "0123456789");
		if (end > p + 2 && !isalnum((unsigned char)*end))
			jtext_put(&out, "the reference", strlen("the reference"));
		else
			jtext_put(&out, p, (size_t)(end - p));
	}
	jtext_char(&out, '\0');
	if (out.failed) {
		jtext_deinit(&out);
		return NULL;
	}
	return out.data;
}

static int settle_error(struct kernel *k, const struct item *i, const struct facet_call *f)
{
	_cleanup_free_ char *message = NULL, *text = without_references(f->text ? f->text : "");
	int n;

	if (!text)
		return error_origin(ENOMEM);
	if (f->code)
		n = asprintf(&message, "[%s] %s", f->code, text);
	else
		n = asprintf(&message, "kernelFacet.%s: %s", f->name, text);
	return n < 0 ? error_origin(ENOMEM) : service_reject(k, i, f->code ? "Error" : "TypeError", message);
}

static int settle_result(struct kernel *k, const struct item *i, const json_t *result)
{
	char error[SMALLCAPS_ERROR_MAX];
	struct smallcaps s = { 0 };
	json_t *value;
	int r;

	r = to_value(k, result, &value);
	if (r < 0)
		return r;
	r = smallcaps_from_json(value, &s, error);
	json_decref(value);
	if (r == 0)
		r = service_settle(k, i, false, &s);
	else if (r > 0)
		r = service_reject(k, i, "Error", error);	/* too large for a message */
	smallcaps_deinit(&s);
	return r;
}

/* The caller may be gone with its call. */
static int end_call(struct kernel *k, const struct facet_call *f)
{
	_cleanup_(item_deinit) struct item i = ITEM_INIT;
	int r = queue_get(k, ENDPOINT_K.bits, f->seq, &i);

	if (r)
		return r < 0 ? r : 0;
	r = kernel_savepoint(k);
	if (r >= 0)
		r = !i.row.result ? 0 : f->result ? settle_result(k, &i, f->result) : settle_error(k, &i, f);
	if (r >= 0)
		r = service_end(k, &i);
	return r < 0 ? r : kernel_release(k);
}

int facet_answers(struct kernel *k)
{
	struct facet_call *f;
	int r = 0;

	while (r >= 0 && k->facet && (f = list_take(&k->facet->answered))) {
		r = end_call(k, f);
		call_remove(k, f);
	}
	return r;
}

void facet_deinit(struct kernel *k)
{
	while (k->facet && k->facet->calls)
		call_remove(k, k->facet->calls);
	free(k->facet);
	k->facet = NULL;
}

const struct service_class facet_service = { .name = "kernelFacet", .flags = SERVICE_F_SYSTEM_ONLY, .begin = begin, .forget = forget };
