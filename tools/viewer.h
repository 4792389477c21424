/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The CLI's end of the socket of the tree (docs/PROTOCOL): one connection, one request at a time. What answers is not
 * trusted to be well: whatever it sends, or stops sending, ends in one line and an exit status. Results are enum
 * exit_status: what is not OUTPUT_OK has been printed.
 */
#ifndef CAPSTAN_VIEWER_H
#define CAPSTAN_VIEWER_H

#include <jansson.h>

#include "output.h"

#define VIEWER_SOCKET	"fs.sock"
#define VIEWER_WAIT_MS	10000		/* without a byte: nobody answers */

struct viewer {
	int fd;
	char in[64u << 10];		/* received and not yet used: from `at` to `len` */
	size_t at, len;
};
#define VIEWER_INIT { .fd = -1 }

int viewer_open(struct viewer *v, const char *run_dir);
void viewer_close(struct viewer *v);
int viewer_ask(struct viewer *v, json_t *request);		/* takes the request */
int viewer_line(struct viewer *v, json_t **linep);		/* the next line of the answer: an object */
/*
 * Some of the bytes that come next, at most `max`; borrowed until the next call. patient: wait for as long as it takes.
 * *lenp 0: the end.
 */
int viewer_bytes(struct viewer *v, uint64_t max, bool patient, const char **datap, size_t *lenp);
int viewer_lost(void);						/* the end, where it was not expected: printed */

#endif
