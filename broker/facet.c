/* SPDX-License-Identifier: Apache-2.0 */
#include "facet.h"

#include <inttypes.h>

#include "../lib/jtext.h"
#include "arguments.h"
#include "launch.h"
#include "methods.h"
#include "promise.h"
#include "router.h"

#define PARAMS_MAX	3u

enum facet_state { FACET_TODO, FACET_ASKED, FACET_ANSWERED };

struct facet_call {
	struct facet_call *next;
	struct control_local local;
	uint64_t seq;
	enum facet_state state;
	const struct control_method *method;
	json_t *params;
	json_t *result;		/* ANSWERED; NULL: an error */
	char *code, *text;
};

/* What there is, and the names of the parameters; one that begins with @ is a reference. A further method is a line. */
static const struct facet_method { const char *name; const char *params[PARAMS_MAX]; } offered[] = {
	{ "getStatus", { NULL } },
	{ "launchSubcluster", { "config" } },
	{ "terminateSubcluster", { "id" } },
	{ "terminateVat", { "id" } },
	{ "restartVat", { "id" } },
	{ "suspendVat", { "id" } },
	{ "resumeVat", { "id" } },
	{ "pingVat", { "id" } },
	{ "revoke", { "@kref" } },
	{ "isRevoked", { "@kref" } },
	{ "revokeVat", { "id" } },
	{ "holds", { NULL } },
	{ "pin", { "@kref" } },
	{ "unpin", { "@kref" } },
	{ "reapVats", { "id" } },
	{ "collectGarbage", { NULL } },
	{ "listServices", { NULL } },
	{ "getLog", { "id", "after" } },
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
static int add_reference(struct kernel *k, const struct service_call *c, const json_t *args, size_t i, const char *name, json_t *params)
{
	char text[REF_TEXT_MAX];
	kref_t ref;
	int r = arguments_reference(k, c, args, i, "a reference", &ref);

	if (r)
		return r;
	return json_object_set_new(params, name, json_string(kref_format(ref, text))) ? error_origin(ENOMEM) : 0;
}

static int add_value(struct kernel *k, const struct service_call *c, const json_t *args, size_t i, const char *name, json_t *params)
{
	const json_t *arg = json_array_get(args, i);
	_cleanup_free_ uint64_t *slots = NULL;
	char error[SMALLCAPS_ERROR_MAX];
	json_t *value;
	int r;

	if (smallcaps_look(arg, c->methargs.n_slots).kind == SMALLCAPS_UNDEFINED)
		return 0;
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
	if (r == 0 && json_object_set_new(params, name, value))
		r = error_origin(ENOMEM);
	return r;
}

static int read_params(struct kernel *k, const struct service_call *c, const struct facet_method *m, const json_t *args, json_t *params)
{
	size_t i;
	int r = 0;

	for (i = 0; r == 0 && i < PARAMS_MAX && m->params[i]; i++) {
		const char *name = m->params[i];

		r = name[0] == '@' ? add_reference(k, c, args, i, name + 1, params) : add_value(k, c, args, i, name, params);
	}
	return r;
}

/* --- beginning -------------------------------------------------------------------------------------------------------- */

static struct facet_call *find_call(struct kernel *k, uint64_t seq)
{
	struct facet_call *f = k->facet_calls;

	while (f && f->seq != seq)
		f = f->next;
	return f;
}

static void call_free(struct facet_call *f)
{
	json_decref(f->params);
	json_decref(f->result);
	free(f->code);
	free(f->text);
	free(f);
}

static void call_remove(struct kernel *k, struct facet_call *f)
{
	struct facet_call **p = &k->facet_calls;

	while (*p != f)
		p = &(*p)->next;
	*p = f->next;
	call_free(f);
}

static void on_answer(struct control_local *l, json_t *result, const char *code, const char *text)
{
	struct facet_call *f = container_of(l, struct facet_call, local);

	f->state = FACET_ANSWERED;
	f->result = result;
	if (result)
		return;
	f->code = code ? strdup(code) : NULL;	/* without memory the sentence is shorter, that is all */
	f->text = strdup(text);
}

static const struct control_method *method_named(const char *name)
{
	const struct control_method *m = kernel_methods;

	while (m->name && strcmp(m->name, name))
		m++;
	return m;
}

static int add_call(struct kernel *k, const struct service_call *c, json_t *params)
{
	struct facet_call **p = &k->facet_calls, *f = calloc(1, sizeof(*f));

	if (!f)
		return error_origin(ENOMEM);
	*f = (struct facet_call){ .seq = c->item->seq, .local = { on_answer }, .method = method_named(c->method),
				  .params = json_incref(params) };
	while (*p)
		p = &(*p)->next;
	*p = f;
	k->facet_work = true;
	return SERVICE_LATER;
}

/*
 * queueMessage(target, method, args): the caller's own message, sent on as it is: whoever it reaches answers the call. The body is
 * cut, not read and written, so that every value comes through.
 */
static int send_on(struct kernel *k, const struct service_call *c, const json_t *args)
{
	const char *text = (const char *)c->methargs.body, *end = text + c->methargs.body_len, *target, *method, *list;
	_cleanup_(item_deinit) struct item i = ITEM_INIT;
	_cleanup_free_ uint64_t *slots = NULL;
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
	r = body.failed ? error_origin(ENOMEM) : copy_slots(&c->methargs, &slots);
	if (r >= 0)
		r = item_host_message(&i, ref, body.data, body.len, slots, c->methargs.n_slots);
	jtext_deinit(&body);
	i.row.sender = ENDPOINT_K.bits;
	i.row.result = c->item->row.result;
	return r < 0 ? r : router_send(k, &i);
}

static int begin(struct kernel *k, const struct service_call *c)
{
	const struct facet_method *m = NULL;
	json_t *args, *params;
	size_t i;
	int r;

	for (i = 0; i < ARRAY_LEN(offered); i++)
		if (!strcmp(offered[i].name, c->method))
			m = &offered[i];
	if (!m && strcmp(c->method, "queueMessage"))
		return arguments_refuse(k, c, "no such method; they are those of the control socket that docs/SERVICES names");
	r = smallcaps_args(c->methargs.body, c->methargs.body_len, &args);
	if (r)
		return r < 0 ? r : arguments_refuse(k, c, "the arguments are not an array of smallcaps values");
	params = json_object();
	if (!m)
		r = send_on(k, c, args);
	else if (!params)
		r = error_origin(ENOMEM);
	else
		r = read_params(k, c, m, args, params);
	if (m && r == 0)
		r = add_call(k, c, params);
	else if (r > 0)
		r = SERVICE_DONE;
	json_decref(params);
	json_decref(args);
	return r;
}

/* What has not run yet is carried out first: it was sent. */
static bool forget(struct kernel *k, const struct item *i)
{
	struct facet_call *f = find_call(k, i->seq);

	return f && f->state != FACET_TODO;
}

int facet_pump(struct kernel *k, bool *didp)
{
	struct control_request *request;
	struct facet_call *f = k->facet_calls;

	*didp = false;
	while (k->facet_work && f && f->state != FACET_TODO)
		f = f->next;
	if (!k->facet_work || !f) {
		k->facet_work = false;
		return 0;
	}
	*didp = true;
	f->state = FACET_ASKED;
	request = control_request_local(k->control, &f->local);
	if (!request)
		return error_origin(ENOMEM);
	return f->method->handle(k, request, f->params, NULL, 0);
}

/* --- answers ---------------------------------------------------------------------------------------------------------- */

/* Members of results under these names are references, for which the vat gets the reference itself; never text of anybody's. */
static const struct { const char *name, *shown; } references[] = { { "kref", "kref" }, { "rootKref", "root" } };

static int to_value(struct kernel *k, const json_t *json, json_t **out);

/* {"body","slots"}: a promise that is settled so. Nothing of the value is lost or read as anything else. */
static int make_promise(struct kernel *k, const json_t *json, json_t **out)
{
	const json_t *body = json_object_get(json, "body"), *list = json_object_get(json, "slots");
	_cleanup_free_ uint64_t *slots = calloc(json_array_size(list) + 1, sizeof(*slots));
	struct smallcaps value = { .body = (char *)(uintptr_t)json_string_value(body), .body_len = json_string_length(body),
				   .slots = slots, .n_slots = json_array_size(list) };
	struct item i = ITEM_INIT;
	char text[REF_TEXT_MAX];
	kref_t promise, ref;
	size_t n;
	int r;

	if (!slots)
		return error_origin(ENOMEM);
	for (n = 0; n < value.n_slots; n++) {
		const json_t *slot = json_array_get(list, n);

		if (!kref_parse(json_string_value(slot), json_string_length(slot), &ref))
			return kernel_corrupt("facet: a value without its references");
		slots[n] = ref.bits;
	}
	r = promise_new(k, &promise);
	if (r < 0)
		return r;
	i.row.result = promise.bits;
	r = service_settle(k, &i, json_is_true(json_object_get(json, "rejected")), &value);
	if (r < 0)
		return r;
	*out = json_pack("{ss}", "@", kref_format(promise, text));
	return *out ? 0 : error_origin(ENOMEM);
}

/* A reference that is not alive any more is null. */
static int make_reference(struct kernel *k, const json_t *text, json_t **out)
{
	bool usable = false;
	kref_t ref;
	int r = 0;

	if (json_is_string(text) && kref_parse(json_string_value(text), json_string_length(text), &ref))
		r = kref_is_usable(k, ref, &usable);
	if (r < 0)
		return r;
	*out = usable ? json_pack("{ss}", "@", json_string_value(text)) : json_null();
	return *out ? 0 : error_origin(ENOMEM);
}

static int member_to_value(struct kernel *k, const char *name, const json_t *value, json_t *out)
{
	json_t *made = NULL;
	size_t i;
	int r;

	for (i = 0; i < ARRAY_LEN(references) && strcmp(name, references[i].name); i++)
		;
	r = i < ARRAY_LEN(references) && json_is_string(value) ? make_reference(k, value, &made) : to_value(k, value, &made);
	if (r < 0)
		return r;
	return json_object_set_new(out, i < ARRAY_LEN(references) ? references[i].shown : name, made) ? error_origin(ENOMEM) : 0;
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

static int settle_error(struct kernel *k, const struct item *i, const struct facet_call *f)
{
	_cleanup_free_ char *message = NULL;

	if (asprintf(&message, "%s%s%s%s", f->code ? "[" : "", f->code ? f->code : "", f->code ? "] " : "", f->text ? f->text : "") < 0)
		return error_origin(ENOMEM);
	return service_reject(k, i, f->code ? "Error" : "TypeError", message);
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

int facet_answers(struct kernel *k, bool *didp)
{
	struct facet_call *f, *next;
	int r = 0;

	*didp = false;
	for (f = k->facet_calls; r >= 0 && f; f = next) {
		next = f->next;
		if (f->state != FACET_ANSWERED)
			continue;
		*didp = true;
		r = end_call(k, f);
		call_remove(k, f);
	}
	return r;
}

void facet_deinit(struct kernel *k)
{
	while (k->facet_calls)
		call_remove(k, k->facet_calls);
}

const struct service_class facet_service = { .name = "kernelFacet", .flags = SERVICE_F_SYSTEM_ONLY, .begin = begin, .forget = forget };
