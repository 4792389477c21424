/* SPDX-License-Identifier: Apache-2.0 */
/* The service `console`: lines in the kernel's own log, with who said them (S6). */
#include "service.h"

#include <inttypes.h>

static void print_line(struct kernel *k, void *arg)
{
	(void)k;
	log_info("console: %s", (char *)arg);
	free(arg);
}

static const char *slot_text(void *ctx, uint64_t slot, char buf[40])
{
	(void)ctx;
	return kref_format((kref_t){ slot }, buf);
}

static const char *from(const struct service_call *call, char buf[REF_TEXT_MAX])
{
	endpoint_t sender = { call->item->row.sender };

	return endpoint_is_none(sender) ? "outside" : endpoint_format(sender, buf);
}

/* Any method of this list prints its arguments, readable. */
static int begin(struct kernel *k, const struct service_call *call)
{
	static const char *const methods[] = { "log", "info", "warn", "error", "debug" };
	const struct capdata *c = &call->methargs;
	_cleanup_free_ char *said = NULL;
	_cleanup_free_ uint64_t *slots = NULL;
	char who[REF_TEXT_MAX], *line = NULL;
	size_t n;

	for (n = 0; n < ARRAY_LEN(methods); n++)
		if (!strcmp(call->method, methods[n]))
			break;
	if (n == ARRAY_LEN(methods))
		return service_reject(k, call->item, "TypeError", "console has the methods log, info, warn, error and debug");
	slots = malloc(c->n_slots * sizeof(*slots) + 1);
	if (!slots)
		return error_origin(ENOMEM);
	memcpy(slots, c->slots, c->n_slots * sizeof(*slots));
	said = smallcaps_render(c->body, c->body_len, slots, c->n_slots, slot_text, NULL);
	if (!said || asprintf(&line, "%s: %.2000s", from(call, who), said) < 0)
		return error_origin(ENOMEM);
	if (kernel_after_commit(k, print_line, line) < 0) {
		free(line);
		return error_origin(ENOMEM);
	}
	return service_settle_text(k, call->item, "#\"#undefined\"");
}

const struct service_class console_service = { .name = "console", .begin = begin };
