/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between the two halves of the test library: kernel.c has the broker's types, vat_test.c the vat library's, and both
 * know a struct vat. So this header has neither. Here a vat is its name in the cluster.
 *
 * kernel.c is the kernel of a test: all of the broker that decides (the Makefile's KERNEL and the methods of the control
 * socket), with the spawner and the control socket played. Texts that are returned are malloc'd. What cannot be ends the
 * program with a sentence.
 */
#ifndef CAPSTAN_KIT_H
#define CAPSTAN_KIT_H

#include <stdbool.h>
#include <stddef.h>

struct kit;
struct kit_request;
struct kit_ops {
	void (*start)(void *ctx, const char *vat, int fd);	/* a process for it; takes fd, its end of the channel */
	void (*kill)(void *ctx, const char *vat);		/* its process ends now, and is not reported */
};

struct kit *kit_new(const struct kit_ops *ops, void *ctx);
struct kit *kit_free(struct kit *kit);		/* every process has ended, so far as the kit is concerned; recounts the store */

void kit_add(struct kit *kit, const char *vat, const char *parameters);		/* JSON, NULL: none */
struct kit_request *kit_launch(struct kit *kit);
/* Target: a vat's name (its root) or a reference. */
struct kit_request *kit_call(struct kit *kit, const char *target, const char *method, const char *args);
char *kit_root(struct kit *kit, const char *vat);
char *kit_answer(const struct kit_request *r);	/* NULL: pending */

void kit_step(struct kit *kit);		/* one round of the broker's loop; may run inside a delivery, and starts and kills nobody */
void kit_serve(struct kit *kit);	/* commits, starts and kills; not inside a delivery */
bool kit_is_quiet(struct kit *kit);
void kit_exited(struct kit *kit, const char *vat, int wait_status);

void kit_restart(struct kit *kit, const char *vat);
void kit_reap(struct kit *kit, const char *vat);
void kit_release(struct kit *kit);	/* what answers have shown */

char *kit_status(struct kit *kit, const char *vat);
char *kit_log(struct kit *kit, const char *vat);
enum kit_count { KIT_IMPORTS, KIT_EXPORTS, KIT_PROMISES, KIT_STORE_KEYS };
size_t kit_count(struct kit *kit, const char *vat, enum kit_count what);

/* "vat_test: …" and the end, for a debugger to look at. */
__attribute__((noreturn, format(printf, 1, 2))) void kit_fail(const char *fmt, ...);

#endif
