/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Space: a full disk must not stop the kernel. LMDB writes pages where there may be no blocks yet, and a write that
 * fails ends the broker. So blocks are allocated ahead of the used end of data.mdb, without growing the file
 * (LMDB never looks at the size of a file it has mapped). When no more can be had and half of the reserve is
 * gone, the store is *low*: the broker refuses what vats write and lives on the other half, which its own small
 * commits (a death, a rejection, a termination) do not exhaust. It is low no longer when the whole reserve is
 * there again, so that one vat at the border does not make it flap.
 *
 * Free pages inside the file count too: they have blocks, and LMDB takes them first.
 */
#include <fcntl.h>
#include <sys/statvfs.h>

#include "store_impl.h"

void space_init(struct space *sp, int fd)
{
	*sp = (struct space){ .fd = fd };
}

/* 0, or the errno of a refusal. KEEP_SIZE: the checker and backups see the file LMDB sees. */
static int allocate(struct space *sp, uint64_t end)
{
	if (end <= sp->allocated)
		return 0;
	while (fallocate(sp->fd, FALLOC_FL_KEEP_SIZE, (off_t)sp->allocated, (off_t)(end - sp->allocated)) < 0) {
		if (errno != EINTR)
			return errno;
	}
	sp->allocated = end;
	return 0;
}

/* A step more than asked for, or as much as there is. */
static void allocate_ahead(struct space *sp, uint64_t used)
{
	uint64_t want = used + SPACE_RESERVE;
	int r;

	if (sp->allocated >= want)
		return;
	r = allocate(sp, want + SPACE_STEP);
	if (r == EOPNOTSUPP || r == ENOSYS) {
		sp->no_fallocate = true;
		return;
	}
	if (!r || !allocate(sp, want))
		return;
	for (uint64_t end = used + SPACE_RESERVE / 8; end < want; end += SPACE_RESERVE / 8)
		if (allocate(sp, end))
			return;
}

/* What the file system still has, up to the reserve: other users may take it, but nothing better is known. */
static uint64_t space_on_disk(const struct space *sp)
{
	struct statvfs st;

	if (fstatvfs(sp->fd, &st) < 0)
		return 0;
	return st.f_bavail > SPACE_RESERVE / st.f_frsize ? SPACE_RESERVE : (uint64_t)st.f_bavail * st.f_frsize;
}

uint64_t space_top_up(struct space *sp, uint64_t used)
{
	if (!sp->no_fallocate)
		allocate_ahead(sp, used);
	if (sp->no_fallocate)
		return space_on_disk(sp);
	return sp->allocated > used ? sp->allocated - used : 0;
}

void space_judge(struct space *sp, uint64_t room)
{
	if (room < SPACE_LOW && !sp->low)
		log_warn("store: no space left ahead of data.mdb: refusing what vats write");
	if (room >= SPACE_RESERVE && sp->low)
		log_info("store: there is space again");
	sp->low = room < SPACE_LOW || (sp->low && room < SPACE_RESERVE);
}
