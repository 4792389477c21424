/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The writer of lib/live.h. Without a page (no mount, tests) every function here does nothing.
 */
#ifndef CAPSTAN_BROKER_LIVE_H
#define CAPSTAN_BROKER_LIVE_H

#include "../lib/live.h"

/* Mapped read-write here; *fdp (the caller's) is sealed so that nobody maps it writable again. */
int live_page_new(struct live_page **pagep, int *fdp);
struct live_page *live_page_free(struct live_page *page);	/* NULL */

#endif
