/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A line from the socket becomes a checked request (docs/PROTOCOL, "The socket of the tree"):
 *
 *	{"op": "cat", "path": "vats/v1/log", "offset": 120}
 *
 * Members that are not known are passed over, so that a newer client can ask an older server.
 */
#ifndef CAPSTAN_FS_REQUEST_H
#define CAPSTAN_FS_REQUEST_H

#include "path.h"

#define REQUEST_MAX		8192u	/* bytes of a line, its end included */
#define REQUEST_ERROR_MAX	200u

enum request_op { REQUEST_LS = 1, REQUEST_TREE, REQUEST_CAT, REQUEST_STAT };
struct request {
	enum request_op op;
	char path[PATH_TEXT_MAX + 1];	/* one more than a walk takes, so that too long is too long there */
	bool link;			/* a link at the end is not followed */
	uint64_t depth;			/* tree: levels; UINT64_MAX: all */
	uint64_t offset;		/* cat: from here on, of a file that grows; UINT64_MAX: all that is there */
};

/* `line` without its end. False: `error` says what is wrong with it: a sentence of ours, nothing of the line. */
bool request_parse(struct request *r, const char *line, size_t len, char error[REQUEST_ERROR_MAX]);

#endif
