/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the mount share: mount.c (life, names and attributes), mount_open.c (what is open), mount_events.c (readers
 * that wait).
 */
#ifndef CAPSTAN_FS_MOUNT_IMPL_H
#define CAPSTAN_FS_MOUNT_IMPL_H

#define FUSE_USE_VERSION 314
#include <fuse3/fuse_lowlevel.h>
#include <time.h>

#include "logfile.h"
#include "mount.h"
#include "stream.h"

enum open_kind { OPEN_TEXT, OPEN_DIRECTORY, OPEN_LOG, OPEN_STREAM };

/* What one open() or opendir() holds. */
struct open_node {
	struct open_node *prev, *next;
	struct charge charge;
	enum open_kind kind;
	struct text text;
	struct cursor cursor;		/* of a directory: where its listing stands, */
	uint64_t at;			/* which is after so many entries */
	struct logfile log;
	struct stream *stream;
	struct fuse_pollhandle *poll;	/* of a stream: somebody waits in poll(); NULL: nobody */
};

struct waiter;
struct mount {
	struct common *common;
	struct fuse_session *fuse;
	struct fuse_buf buf;
	struct loop_source source;
	bool *endp;
	struct timespec started;	/* every file's time */
	struct open_node *open;
	struct watcher watcher;		/* for those who wait for events */
	struct waiter *waiters;		/* reads */
	size_t n_polls;			/* open streams with a poll handle */
	bool interrupted;		/* one of the waiters has been */
};

static inline struct mount *mount_of(fuse_req_t req) { return fuse_req_userdata(req); }
static inline struct open_node *open_node_of(const struct fuse_file_info *fi) { return (struct open_node *)(uintptr_t)fi->fh; }

int mount_look(fuse_req_t req, struct node n, look_fn look, void *arg);		/* the errno to answer, or 0 */
/* The node of a request. Answers itself when the number cannot be one of ours, and who may not ask at all. */
bool mount_node(fuse_req_t req, fuse_ino_t ino, struct node *outp);
double mount_frozen_left(const struct mount *m, uint32_t snapshot);		/* seconds of its life */

/* mount_open.c */
void open_node_free(struct mount *m, struct open_node *o);
void do_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void do_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void do_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi);
void do_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi);
void do_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);

/* mount_events.c */
void mount_events_init(struct mount *m);
void mount_events_deinit(struct mount *m);		/* nobody waits any more */
void mount_events_interrupted(struct mount *m);		/* after each request: who was, is answered */
void mount_read_events(fuse_req_t req, struct open_node *o, size_t size, bool nonblock);
void mount_forget_poll(struct mount *m, struct open_node *o);
void do_poll(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct fuse_pollhandle *ph);

#endif
