/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The CLI's end of the control socket: one connection, one request at a time. Results are enum exit_status: what is not
 * OUTPUT_OK has been printed.
 */
#ifndef CAPSTAN_CLIENT_H
#define CAPSTAN_CLIENT_H

#include <jansson.h>

#include "output.h"

#define CLIENT_SOCKET	"control.sock"

struct client {
	int fd;
	const char *run_dir;		/* borrowed */
	json_int_t id;			/* of the latest request */
	char *in;			/* bytes received and not yet used */
	size_t in_len, in_size;
};
#define CLIENT_INIT { .fd = -1 }

int client_open(struct client *c, const char *run_dir);
void client_close(struct client *c);

/*
 * Send a request with its descriptors (borrowed), wait for its answer. Takes `params`. timeout_ms -1: for ever.
 * *resultp is a new reference, only with OUTPUT_OK.
 */
int client_call(struct client *c, const char *method, json_t *params, const int *fds, size_t n_fds, int timeout_ms,
		json_t **resultp);

/* Wait until the other side closes, but no longer than timeout_ms. */
void client_wait_end(struct client *c, int timeout_ms);

#endif
