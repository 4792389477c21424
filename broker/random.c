/* SPDX-License-Identifier: Apache-2.0 */
/* The service `random`: numbers and bytes of the host's generator (S10). */
#include "arguments.h"

#include <inttypes.h>
#include <sys/random.h>

#define BYTES_MAX	1024u
#define LIMIT_MAX	9007199254740992.0	/* 2^53: up to there numbers are exact */

static int draw(void *buf, size_t len)
{
	uint8_t *at = buf;

	while (len) {
		ssize_t n = getrandom(at, len, 0);

		if (n < 0 && errno != EINTR)
			return error_origin(errno);
		if (n > 0) {
			at += n;
			len -= (size_t)n;
		}
	}
	return 0;
}

static int settle(struct kernel *k, const struct service_call *c, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static int settle(struct kernel *k, const struct service_call *c, const char *fmt, ...)
{
	char body[40];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(body, sizeof(body), fmt, ap);
	va_end(ap);
	return service_settle_text(k, c->item, body);
}

/* Hexadecimal: smallcaps has no bytes, and every language reads it. */
static int bytes(struct kernel *k, const struct service_call *c, const json_t *args)
{
	char body[2 * BYTES_MAX + 4] = "#\"", *out = body + 2;
	uint8_t raw[BYTES_MAX];
	double n;
	size_t i;
	int r;

	r = arguments_number(k, c, args, 0, "how many bytes, 1 to 1024", 1, BYTES_MAX, &n);
	if (r)
		return r < 0 ? r : SERVICE_DONE;
	if ((double)(size_t)n != n)
		return arguments_refuse(k, c, "argument 1: expected a whole number");
	r = draw(raw, (size_t)n);
	if (r < 0)
		return r;
	for (i = 0; i < (size_t)n; i++)
		out += sprintf(out, "%02x", raw[i]);
	strcpy(out, "\"");
	return service_settle_text(k, c->item, body);
}

/* Uniform: what is drawn above the last whole multiple of the limit is drawn again, less than once on average. */
static int integer(struct kernel *k, const struct service_call *c, const json_t *args)
{
	uint64_t limit, whole, drawn;
	double n;
	int r;

	r = arguments_number(k, c, args, 0, "a limit, 1 to 2^53", 1, LIMIT_MAX, &n);
	if (r)
		return r < 0 ? r : SERVICE_DONE;
	limit = (uint64_t)n;
	if ((double)limit != n)
		return arguments_refuse(k, c, "argument 1: expected a whole number");
	whole = UINT64_MAX - UINT64_MAX % limit;
	do
		r = draw(&drawn, sizeof(drawn));
	while (r >= 0 && drawn >= whole);
	return r < 0 ? r : settle(k, c, "#%" PRIu64, drawn % limit);
}

static int uint64(struct kernel *k, const struct service_call *c, const json_t *args)
{
	uint64_t drawn;
	int r = draw(&drawn, sizeof(drawn));

	(void)args;
	return r < 0 ? r : settle(k, c, "#\"+%" PRIu64 "\"", drawn);
}

static int begin(struct kernel *k, const struct service_call *c)
{
	static const struct service_method methods[] = { { "bytes", bytes }, { "integer", integer }, { "uint64", uint64 } };

	return arguments_dispatch(k, c, methods, ARRAY_LEN(methods));
}

const struct service_class random_service = { .name = "random", .begin = begin };
