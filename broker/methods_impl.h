/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the control socket's methods share: methods.c (status, launch, lives, calls, logs) and upkeep.c (what people do
 * about references and about what went wrong).
 */
#ifndef CAPSTAN_METHODS_IMPL_H
#define CAPSTAN_METHODS_IMPL_H

#include "methods.h"
#include "vat.h"

struct smallcaps;

/* CONTROL_INVALID_PARAMS; 0. */
int methods_refuse(struct control_request *r, const char *what);
/* By name, or by position for those who send an array; borrowed, or NULL. */
json_t *methods_param(json_t *params, const char *name, size_t index);
bool methods_kref(json_t *params, const char *name, size_t index, kref_t *refp);
/* The vat that `id` names; NULL: the request was answered with an error. */
struct vat *methods_vat(struct kernel *k, struct control_request *r, json_t *params);
struct vat *methods_live_vat(struct kernel *k, struct control_request *r, json_t *params);
/* A call; the request is answered when its promise settles. `hold`: what the answer names stays usable until released. */
int methods_send(struct kernel *k, kref_t target, const struct smallcaps *s, struct control_request *request, bool hold);
char *methods_time(uint64_t us, char buf[40]);

int upkeep_holds(void *ctx, struct control_request *r, json_t *params, int *fds, size_t n_fds);
int upkeep_release(void *ctx, struct control_request *r, json_t *params, int *fds, size_t n_fds);
int upkeep_pin(void *ctx, struct control_request *r, json_t *params, int *fds, size_t n_fds);
int upkeep_unpin(void *ctx, struct control_request *r, json_t *params, int *fds, size_t n_fds);
int upkeep_revoke(void *ctx, struct control_request *r, json_t *params, int *fds, size_t n_fds);
int upkeep_is_revoked(void *ctx, struct control_request *r, json_t *params, int *fds, size_t n_fds);
int upkeep_revoke_vat(void *ctx, struct control_request *r, json_t *params, int *fds, size_t n_fds);
int upkeep_reap(void *ctx, struct control_request *r, json_t *params, int *fds, size_t n_fds);
int upkeep_collect(void *ctx, struct control_request *r, json_t *params, int *fds, size_t n_fds);
int upkeep_aside(void *ctx, struct control_request *r, json_t *params, int *fds, size_t n_fds);

#endif
