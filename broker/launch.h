/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Subclusters: launched whole or not at all (V1), bootstrapped once (V3), ended whole.
 *
 *	launch_begin ─▶ every vat's startVat applied ─▶ bootstrap message queued ─▶ its answer ─▶ RUNNING
 *	      └───────────────┴──── any failure, rejection or Error ────────────────┴──▶ TERMINATING ─▶ removed
 *
 * Rows of a subcluster go when every one of its vats is swept and reaped; then whoever asked is answered. Nothing here
 * frees a vat from within a callback: removal happens in launch_pump(), from the main loop.
 */
#ifndef CAPSTAN_LAUNCH_H
#define CAPSTAN_LAUNCH_H

#include "../lib/config.h"
#include "code.h"
#include "kernel.h"

enum { LAUNCH_E_REFUSED = 1 };	/* `error` says why; nothing was made */

/*
 * Takes `config` (with a name in config->system: of a system subcluster); paths[i] is in the code store as hashes[i], sizes[i] bytes. The request is answered when the launch succeeded, or
 * failed and left nothing behind.
 */
int launch_begin(struct kernel *k, struct config *config, const json_t *json, const struct config_paths *paths,
		 const uint8_t (*hashes)[CODE_HASH_LEN], const uint64_t *sizes, struct control_request *request,
		 char error[CONFIG_ERROR_MAX]);

/* What happened to a vat; each may only note it. */
int launch_vat_started(struct kernel *k, struct vat *v);	/* its startVat was applied */
int launch_vat_failed(struct kernel *k, struct vat *v);		/* it was terminated; inside a savepoint */
void launch_vat_ended(struct kernel *k);				/* one was reaped, or swept */

/* From the main loop: carry out what was noted. */
int launch_pump(struct kernel *k);

enum { SUBCLUSTER_E_UNKNOWN = 1 };
int subcluster_load(struct kernel *k, uint64_t number, struct row_subcluster *rowp);
/* The subcluster after number *numberp (0: the first). SUBCLUSTER_E_UNKNOWN: there is none. */
int subcluster_next(struct kernel *k, uint64_t *numberp, struct row_subcluster *rowp);
/* Its configuration as it was given. SUBCLUSTER_E_UNKNOWN. */
int subcluster_config(struct kernel *k, uint64_t number, json_t **jsonp);
/* `request` (may be NULL) is answered with {} when nothing of it is left. */
int subcluster_terminate(struct kernel *k, uint64_t number, const char *reason, struct control_request *request);
/* At boot: what was launching is terminated, what was being terminated goes on. */
int launch_boot(struct kernel *k);
void launch_deinit(struct kernel *k);

/* The value of a settled promise as {"body","slots"}, plus "rejected" when it was. */
int value_to_json(struct kernel *k, kref_t promise, json_t **jsonp, bool *rejectedp);
/* Is this reference one that the outside may name (C7)? */
int kref_is_usable(struct kernel *k, kref_t ref, bool *usablep);

#endif
