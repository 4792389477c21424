/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the built-in services read of their calls, for begin(). Whatever the caller sent, the outcome is one of two: 0, or
 * ARGUMENTS_E_REFUSED when the call has been rejected with a TypeError that says what was expected; then it is SERVICE_DONE.
 */
#ifndef CAPSTAN_ARGUMENTS_H
#define CAPSTAN_ARGUMENTS_H

#include "service.h"

enum { ARGUMENTS_E_REFUSED = 1 };

struct service_method {		/* `args`: JSON with the marks of smallcaps (smallcaps_args) */
	const char *name;
	int (*begin)(struct kernel *k, const struct service_call *c, const json_t *args);
};
/* The begin() of a service whose methods are a table. */
int arguments_dispatch(struct kernel *k, const struct service_call *c, const struct service_method *methods, size_t n);

/* Reject the call with "TypeError: SERVICE.METHOD: …". 0, which is SERVICE_DONE. */
int arguments_refuse(struct kernel *k, const struct service_call *c, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* Argument i, a number or bigint in [min, max]; `what` completes the sentence "argument 1: expected …". */
int arguments_number(struct kernel *k, const struct service_call *c, const json_t *args, size_t i, const char *what, double min,
		     double max, double *out);
/* A reference to an object or promise. */
int arguments_reference(struct kernel *k, const struct service_call *c, const json_t *args, size_t i, const char *what, kref_t *out);
/* One to an object, or KREF_NONE when it was left out. */
int arguments_token(struct kernel *k, const struct service_call *c, const json_t *args, size_t i, kref_t *out);

#endif
