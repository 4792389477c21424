/* SPDX-License-Identifier: Apache-2.0 */
#include "arguments.h"

#include <stdarg.h>

int arguments_refuse(struct kernel *k, const struct service_call *c, const char *fmt, ...)
{
	char what[300], shown[80], text[sizeof(what) + sizeof(shown) + VAT_NAME_MAX + 8];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	escape_bytes(shown, sizeof(shown), c->method, strlen(c->method));
	snprintf(text, sizeof(text), "%s.%s: %s", c->name, shown, what);
	return service_reject(k, c->item, "TypeError", text);
}

static int refused(int r)
{
	return r < 0 ? r : ARGUMENTS_E_REFUSED;
}

static int refuse_method(struct kernel *k, const struct service_call *c, const struct service_method *methods, size_t n)
{
	char names[200] = "";
	size_t i, len = 0;

	for (i = 0; i < n && len < sizeof(names); i++)
		len += (size_t)snprintf(names + len, sizeof(names) - len, "%s%s", i == 0 ? "" : i + 1 < n ? ", " : " and ", methods[i].name);
	return arguments_refuse(k, c, "no such method; there are %s", names);
}

int arguments_dispatch(struct kernel *k, const struct service_call *c, const struct service_method *methods, size_t n)
{
	json_t *args;
	size_t i;
	int r;

	for (i = 0; i < n && strcmp(methods[i].name, c->method); i++)
		;
	if (i == n)
		return refuse_method(k, c, methods, n);
	r = smallcaps_args(c->methargs.body, c->methargs.body_len, &args);
	if (r)
		return r < 0 ? r : arguments_refuse(k, c, "the arguments are not an array of smallcaps values");
	r = methods[i].begin(k, c, args);
	json_decref(args);
	return r;
}

int arguments_number(struct kernel *k, const struct service_call *c, const json_t *args, size_t i, const char *what, double min,
		     double max, double *out)
{
	struct smallcaps_seen seen = smallcaps_look(json_array_get(args, i), c->methargs.n_slots);

	if ((seen.kind != SMALLCAPS_NUMBER && seen.kind != SMALLCAPS_BIGINT) || !(seen.number >= min && seen.number <= max))
		return refused(arguments_refuse(k, c, "argument %zu: expected %s", i + 1, what));
	*out = seen.number;
	return 0;
}

int arguments_reference(struct kernel *k, const struct service_call *c, const json_t *args, size_t i, const char *what, kref_t *out)
{
	struct smallcaps_seen seen = smallcaps_look(json_array_get(args, i), c->methargs.n_slots);

	if (seen.kind != SMALLCAPS_REFERENCE)
		return refused(arguments_refuse(k, c, "argument %zu: expected %s", i + 1, what));
	out->bits = capdata_slot(&c->methargs, seen.slot);
	return 0;
}

int arguments_token(struct kernel *k, const struct service_call *c, const json_t *args, size_t i, kref_t *out)
{
	struct smallcaps_seen seen = smallcaps_look(json_array_get(args, i), c->methargs.n_slots);
	kref_t ref = KREF_NONE;

	if (seen.kind == SMALLCAPS_REFERENCE)
		ref.bits = capdata_slot(&c->methargs, seen.slot);
	if ((seen.kind != SMALLCAPS_REFERENCE && seen.kind != SMALLCAPS_UNDEFINED) || kref_is_promise(ref))
		return refused(arguments_refuse(k, c, "argument %zu: expected an object as token", i + 1));
	*out = ref;
	return 0;
}
