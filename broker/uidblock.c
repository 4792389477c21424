/* SPDX-License-Identifier: Apache-2.0 */
/* Claiming and recording an instance's uid block: see uidblock.h. */
#include "uidblock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "../lib/util.h"

#define RECORD_NAME	"instance"
#define RECORD_TMP	"instance.new"

int uidblock_lock_file(int dir_fd, const char *name, int *fdp, pid_t *holderp)
{
	_cleanup_close_ int fd = -1;
	char text[32] = "";
	int n;

	fd = openat(dir_fd, name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0644);
	if (fd < 0)
		return error_origin(errno);
	if (flock(fd, LOCK_EX | LOCK_NB)) {
		if (errno != EWOULDBLOCK)
			return error_origin(errno);
		n = pread(fd, text, sizeof(text) - 1, 0);
		*holderp = n > 0 ? atoi(text) : 0;
		return 1;
	}
	n = snprintf(text, sizeof(text), "%d\n", getpid());
	if (ftruncate(fd, 0) || pwrite(fd, text, n, 0) != n)
		return error_origin(errno ? errno : EIO);
	*fdp = TAKE_FD(fd);
	return 0;
}

/* The lock folder lies in a place where everybody may write: take it only when it is ours alone. */
static int open_lock_dir(const char *path, int *fdp)
{
	_cleanup_close_ int fd = -1;
	struct stat st;

	if (mkdir(path, 0755) && errno != EEXIST)
		return UIDBLOCK_E_DIR;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st))
		return UIDBLOCK_E_DIR;
	if (st.st_uid != geteuid() || (st.st_mode & 022)) {
		errno = EPERM;
		return UIDBLOCK_E_DIR;
	}
	*fdp = TAKE_FD(fd);
	return 0;
}

static int try_block(struct uidblock *b, int dir_fd, uint32_t base, pid_t *holderp)
{
	char name[32];
	int r;

	snprintf(name, sizeof(name), "uids-0x%08x", base);
	r = uidblock_lock_file(dir_fd, name, &b->lock_fd, holderp);
	if (r < 0)
		return error_trace(r);
	if (r)
		return UIDBLOCK_E_HELD;
	b->base = base;
	return 0;
}

static bool is_block(uint64_t base)
{
	return base >= UIDBLOCK_FIRST && base <= UIDBLOCK_END - UIDBLOCK_SIZE && base % UIDBLOCK_SIZE == 0;
}

int uidblock_claim(struct uidblock *b, const char *lock_dir, uint32_t first, uint32_t recorded, pid_t *holderp)
{
	_cleanup_close_ int dir_fd = -1;
	int r;

	assert(is_block(first) && (!recorded || is_block(recorded)));
	*holderp = 0;
	r = open_lock_dir(lock_dir, &dir_fd);
	if (r)
		return r;
	if (recorded)
		return try_block(b, dir_fd, recorded, holderp);
	for (uint32_t base = first; base <= UIDBLOCK_END - UIDBLOCK_SIZE; base += UIDBLOCK_SIZE) {
		r = try_block(b, dir_fd, base, holderp);
		if (r != UIDBLOCK_E_HELD)
			return r;
	}
	return UIDBLOCK_E_NONE;
}

void uidblock_deinit(struct uidblock *b)
{
	closep(&b->lock_fd);
	*b = (struct uidblock)UIDBLOCK_INIT;
}

/* "uid-block: 1879048192\n", nothing else. */
int uidblock_read_record(int state_fd, uint32_t *basep)
{
	_cleanup_close_ int fd = -1;
	struct stat st;
	char text[64], end;
	unsigned long base;
	ssize_t n;

	fd = openat(state_fd, RECORD_NAME, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0 && errno == ENOENT)
		return UIDBLOCK_E_ABSENT;
	if (fd < 0 && errno != ELOOP && errno != EACCES)
		return error_origin(errno);
	if (fd < 0 || fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 022))
		return UIDBLOCK_E_BAD;
	n = read(fd, text, sizeof(text) - 1);
	if (n < 0)
		return error_origin(errno);
	text[n] = '\0';
	if (strlen(text) != (size_t)n || sscanf(text, "uid-block: %lu%c", &base, &end) != 2 || end != '\n' ||
	    strchr(text, '\n') != text + n - 1 || !is_block(base))
		return UIDBLOCK_E_BAD;
	*basep = base;
	return 0;
}

int uidblock_write_record(int state_fd, uint32_t base)
{
	_cleanup_close_ int fd = -1;

	assert(is_block(base));
	fd = openat(state_fd, RECORD_TMP, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (fd < 0)
		return error_origin(errno);
	if (dprintf(fd, "uid-block: %u\n", base) < 0 || fsync(fd))
		return error_origin(errno);
	if (renameat(state_fd, RECORD_TMP, state_fd, RECORD_NAME) || fsync(state_fd))
		return error_origin(errno);
	return 0;
}

static uint32_t service_uid(uint32_t base, uint32_t which)
{
	assert(is_block(base));
	/* 4,094 blocks with two services each fit below the blocks: 8,188 < UIDBLOCK_SERVICES. */
	return UIDBLOCK_FIRST - UIDBLOCK_SERVICES + 2 * ((base - UIDBLOCK_FIRST) / UIDBLOCK_SIZE) + which;
}

uint32_t uidblock_broker_uid(uint32_t base) { return service_uid(base, 0); }
uint32_t uidblock_fs_uid(uint32_t base) { return service_uid(base, 1); }
