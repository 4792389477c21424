/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request from the socket becomes an answer: a piece of bytes to be sent, then the next piece, until `end`.
 *
 * What stands in a file is one piece, made in one look, in the state in which its path was walked. A listing comes in
 * pieces of ANSWER_PIECE bytes, each in the state of then, as the mount's do: so it takes no more memory than that,
 * however long it gets. Who wants all of it of one moment asks below snapshot/. Events are pieces without an end:
 * there is one when answer_ready().
 */
#ifndef CAPSTAN_FS_ANSWER_H
#define CAPSTAN_FS_ANSWER_H

#include "request.h"
#include "session.h"
#include "stream.h"

#define ANSWER_PIECE	(64u << 10)	/* a listing's; and one entry more */
#define ANSWER_HEAD_MAX	512u

struct peer { uid_t uid; gid_t gid; gid_t *groups; size_t n_groups; };	/* who asks; `groups` malloc'd */

struct lister;
struct answer {
	char head[ANSWER_HEAD_MAX];	/* its first line; goes before the body */
	size_t head_len;
	struct text body;
	struct lister *lister;		/* a listing that goes on */
	struct stream *stream;		/* events */
	bool end;			/* after these bytes nothing comes */
};
#define ANSWER_INIT { .body = TEXT_INIT(SESSION_MAX_TEXT), .end = true }
void answer_deinit(struct answer *a);
size_t answer_bytes(const struct answer *a);	/* what it holds */

/* Each forgets the piece before. An error is an answer too. */
void answer_begin(struct answer *a, struct common *c, const struct peer *peer, const struct request *r);
void answer_more(struct answer *a, struct common *c, const struct peer *peer);
bool answer_ready(const struct answer *a, const struct common *c);	/* answer_more() has something */
void answer_error(struct answer *a, int error, const char *message);	/* message NULL: strerror's */

#endif
