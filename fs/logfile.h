/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading a log as a file that grows. Each byte of a log has a place that never changes, the size of the file is the end of the last
 * line, and what was trimmed away is a hole at its beginning.
 *
 * A reader that comes into the hole from its beginning on (cat, grep, tail -n +1, tail -c +1 -f) is to get what is
 * there, and not a million NULs: from then on this open file is shifted, its offset 0 is the first byte that there is. tail -f compares
 * what it has read with st_size, and so reads on each second; st_size never gets smaller than that. A reader that comes into the hole
 * backwards, looking for line ends (tail -n 5000), finds NULs, as in any file with a hole, and is shifted when it turns round and
 * reads on from there. A shifted reader that jumps behind what is its end means a place: it has st_size from stat(), and goes to the
 * end (less, or tail behind head on one descriptor).
 */
#ifndef CAPSTAN_FS_LOGFILE_H
#define CAPSTAN_FS_LOGFILE_H

#include "render.h"

#define LOGFILE_LINE_MAX	(40u << 10)	/* bytes of one line as shown: WIRE_MAX_LOG bytes, escaped, and what stands before them */

struct logfile { uint64_t shift, last; bool begun; };	/* last: offset of the read before */

/* The place in the log that a read at `offset` means, of a log that is there from `start` to `end`. */
uint64_t logfile_place(struct logfile *f, uint64_t offset, uint64_t start, uint64_t end);
/* Up to `size` bytes into `t`, which is empty and has room for `size` + LOGFILE_LINE_MAX. VIEW_E_*; then `f` is as it was. */
int logfile_read(struct view *v, struct logfile *f, uint64_t vat, uint64_t offset, size_t size, struct text *t);

#endif
