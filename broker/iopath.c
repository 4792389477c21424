/* SPDX-License-Identifier: Apache-2.0 */
#include "iopath.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>

#define BACKLOG		16
#define FD_LINK_MAX	40

__attribute__((format(printf, 2, 3)))
static int refuse(char *why, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, IOPATH_WHY_MAX, fmt, ap);
	va_end(ap);
	return IOPATH_E_REFUSED;
}

static const char *reason(int e)
{
	switch (e) {
	case EXDEV: return "leads out of the folder that is allowed, or into a mount";
	case ELOOP: return "symbolic links are not followed";
	default: return strerror(e);
	}
}

/* The name under which a descriptor that only names something can be opened for use. It leads nowhere else. */
static const char *fd_link(int fd, char buf[FD_LINK_MAX])
{
	snprintf(buf, FD_LINK_MAX, "/proc/self/fd/%d", fd);
	return buf;
}

/* --- resolving ----------------------------------------------------------------------------------------------------- */

/* The allowed folder that the path lies in, the deepest if there are several, and the rest of the path. */
static int find_folder(struct kernel *k, const char *path, int *dir_fdp, const char **restp, char *why)
{
	const struct settings *s = &k->settings;
	size_t best = 0;

	for (size_t i = 0; i < s->n_io_paths; i++) {
		size_t n = strlen(s->io_paths[i]);

		if (n <= best || strncmp(path, s->io_paths[i], n) || path[n] != '/')
			continue;
		best = n;
		*dir_fdp = k->io_dirs[i];
		*restp = path + n + strspn(path + n, "/");
	}
	return best ? 0 : refuse(why, "%.100s is in none of the folders that the kernel allows (ioPaths)", path);
}

/* Not into what is mounted there either: whoever may mount (a FUSE server of a user's, say) could have us wait for ever. */
static int open_beneath(int dir_fd, const char *rest, int *fdp)
{
	struct open_how how = { .flags = O_PATH | O_CLOEXEC,
				.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV };

	*fdp = (int)syscall(SYS_openat2, dir_fd, rest, &how, sizeof(how));
	return *fdp < 0 ? errno : 0;
}

/* What the path names now. `missing` (may be NULL): not being there is told by it, with 0. */
static int resolve(struct kernel *k, const char *path, int *fdp, bool *missingp, char *why)
{
	const char *rest;
	int dir_fd, r = find_folder(k, path, &dir_fd, &rest, why);

	if (r)
		return r;
	r = open_beneath(dir_fd, rest, fdp);
	if (missingp)
		*missingp = r == ENOENT;
	if (r && !(missingp && *missingp))
		return refuse(why, "%.100s: %s", path, reason(r));
	return 0;
}

/* The folder of the path's last name, which is to be made in it. */
static int resolve_parent(struct kernel *k, const char *path, int *fdp, const char **namep, char *why)
{
	char parent[PATH_MAX];
	const char *rest, *slash;
	int dir_fd, r = find_folder(k, path, &dir_fd, &rest, why);

	if (r)
		return r;
	slash = strrchr(rest, '/');
	*namep = slash ? slash + 1 : rest;
	if (!**namep || !strcmp(*namep, ".") || !strcmp(*namep, ".."))
		return refuse(why, "%.100s: its last part is no name", path);
	snprintf(parent, sizeof(parent), "%.*s", slash ? (int)(slash - rest) : 1, slash ? rest : ".");
	r = open_beneath(dir_fd, parent, fdp);
	return r ? refuse(why, "%.100s: %s", path, reason(r)) : 0;
}

/* --- files and FIFOs ----------------------------------------------------------------------------------------------- */

static int check_type(const struct config_io *c, int fd, bool *regularp, char *why)
{
	struct stat st;

	if (fstat(fd, &st))
		return refuse(why, "%.100s: %s", c->path, strerror(errno));
	*regularp = S_ISREG(st.st_mode);
	if (S_ISFIFO(st.st_mode) && c->direction == CONFIG_IO_INOUT)
		return refuse(why, "%.100s: a FIFO is for input or for output", c->path);
	if (!*regularp && !S_ISFIFO(st.st_mode))
		return refuse(why, "%.100s: not a regular file or FIFO", c->path);
	return 0;
}

static int make_file(struct kernel *k, const struct config_io *c, char *why)
{
	_cleanup_close_ int parent = -1, fd = -1;
	const char *name;
	mode_t mask;
	int r = resolve_parent(k, c->path, &parent, &name, why);

	if (r)
		return r;
	mask = umask(0);	/* the broker's own is for its store; others are to read this */
	fd = openat(parent, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0644);
	umask(mask);
	return fd < 0 && errno != EEXIST ? refuse(why, "%.100s: %s", c->path, strerror(errno)) : 0;
}

/*
 * A FIFO for output is opened for both: so it needs no reader to be opened, and none to be there when something is written,
 * up to what the pipe holds.
 */
static int flags_of(const struct config_io *c, bool regular)
{
	switch (c->direction) {
	case CONFIG_IO_IN: return O_RDONLY;
	case CONFIG_IO_OUT: return regular ? O_WRONLY | O_APPEND : O_RDWR;
	default: return O_RDWR | O_APPEND;
	}
}

int iopath_open_file(struct kernel *k, const struct config_io *c, int *fdp, bool *regularp, char why[IOPATH_WHY_MAX])
{
	_cleanup_close_ int at = -1;
	char link[FD_LINK_MAX];
	bool missing;
	int r = resolve(k, c->path, &at, &missing, why);

	if (r == 0 && missing && c->direction != CONFIG_IO_IN)
		r = make_file(k, c, why);
	if (r == 0 && missing)
		r = resolve(k, c->path, &at, NULL, why);
	if (r == 0)
		r = check_type(c, at, regularp, why);
	if (r)
		return r;
	*fdp = open(fd_link(at, link), flags_of(c, *regularp) | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	return *fdp < 0 ? refuse(why, "%.100s: %s", c->path, strerror(errno)) : 0;
}

/* For the broker's user, as an open would find. */
static int check_access(const struct config_io *c, int fd, int mode, char *why)
{
	char link[FD_LINK_MAX];

	return access(fd_link(fd, link), mode) ? refuse(why, "%.100s: %s (for the user of the broker)", c->path, strerror(errno)) : 0;
}

static int check_folder(struct kernel *k, const struct config_io *c, char *why)
{
	_cleanup_close_ int parent = -1;
	const char *name;
	int r = resolve_parent(k, c->path, &parent, &name, why);

	return r ? r : check_access(c, parent, W_OK | X_OK, why);
}

static int check_file(struct kernel *k, const struct config_io *c, char *why)
{
	_cleanup_close_ int at = -1;
	bool missing, regular;
	int r = resolve(k, c->path, &at, &missing, why);

	if (r)
		return r;
	if (missing && c->direction == CONFIG_IO_IN)
		return refuse(why, "%.100s: %s", c->path, strerror(ENOENT));
	if (missing)
		return check_folder(k, c, why);
	r = check_type(c, at, &regular, why);
	return r ? r : check_access(c, at, (c->direction != CONFIG_IO_OUT ? R_OK : 0) | (c->direction != CONFIG_IO_IN ? W_OK : 0), why);
}

/* --- sockets --------------------------------------------------------------------------------------------------------- */

static int new_socket(int *fdp)
{
	*fdp = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	return *fdp < 0 ? errno : 0;
}

static int connect_to(const struct sockaddr_un *address, int *fdp)
{
	int r = new_socket(fdp);

	if (r == 0 && connect(*fdp, (const struct sockaddr *)address, sizeof(*address)) < 0)
		r = errno;
	return r;
}

int iopath_connect(struct kernel *k, const struct config_io *c, int *fdp, char why[IOPATH_WHY_MAX])
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	_cleanup_close_ int at = -1, fd = -1;
	struct stat st;
	int r = resolve(k, c->path, &at, NULL, why);

	if (r)
		return r;
	if (fstat(at, &st) || !S_ISSOCK(st.st_mode))
		return refuse(why, "%.100s: not a socket", c->path);
	snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d", at);
	r = connect_to(&address, &fd);
	if (r)
		return refuse(why, "%.100s: %s", c->path, strerror(r));
	*fdp = TAKE_FD(fd);
	return 0;
}

/* The place for a listening socket: free, or with the socket of somebody who listens no more, such as a broker that died. */
static int find_place(struct kernel *k, const struct config_io *c, int *parentp, const char **namep, struct sockaddr_un *address,
		      bool *stalep, char *why)
{
	_cleanup_close_ int fd = -1;
	struct stat st;
	int r = resolve_parent(k, c->path, parentp, namep, why);

	if (r)
		return r;
	address->sun_family = AF_UNIX;
	if ((size_t)snprintf(address->sun_path, sizeof(address->sun_path), "/proc/self/fd/%d/%s", *parentp, *namep) >=
	    sizeof(address->sun_path))
		return refuse(why, "%.100s: the name is too long for a socket", c->path);
	*stalep = false;
	if (fstatat(*parentp, *namep, &st, AT_SYMLINK_NOFOLLOW))
		return errno == ENOENT ? 0 : refuse(why, "%.100s: %s", c->path, strerror(errno));
	if (!S_ISSOCK(st.st_mode))
		return refuse(why, "%.100s: there is something else of that name", c->path);
	*stalep = connect_to(address, &fd) == ECONNREFUSED;
	return *stalep ? 0 : refuse(why, "%.100s: somebody else listens there", c->path);
}

/*
 * Who may connect is decided by the folder: its owner chose it for this. So the socket is everybody's, from the moment it has a
 * name: a mode that is changed by name later could be that of whatever has been put there meanwhile.
 */
static int bind_for_all(int fd, const struct sockaddr_un *address)
{
	mode_t mask = umask(0111);
	int r = bind(fd, (const struct sockaddr *)address, sizeof(*address));

	umask(mask);
	return r;
}

int iopath_listen(struct kernel *k, const struct config_io *c, int *fdp, char why[IOPATH_WHY_MAX])
{
	struct sockaddr_un address = { 0 };
	_cleanup_close_ int parent = -1, fd = -1;
	const char *name;
	bool stale;
	int r = find_place(k, c, &parent, &name, &address, &stale, why);

	if (r)
		return r;
	if (stale)
		unlinkat(parent, name, 0);
	r = new_socket(&fd);
	if (r == 0 && (bind_for_all(fd, &address) || listen(fd, BACKLOG)))
		r = errno;
	if (r)
		return refuse(why, "%.100s: %s", c->path, strerror(r));
	*fdp = TAKE_FD(fd);
	return 0;
}

void iopath_unlisten(struct kernel *k, const struct config_io *c)
{
	_cleanup_close_ int parent = -1;
	char why[IOPATH_WHY_MAX];
	const char *name;
	struct stat st;

	if (resolve_parent(k, c->path, &parent, &name, why) == 0 && !fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) &&
	    S_ISSOCK(st.st_mode))
		unlinkat(parent, name, 0);
}

static int check_listen(struct kernel *k, const struct config_io *c, char *why)
{
	struct sockaddr_un address = { 0 };
	_cleanup_close_ int parent = -1;
	const char *name;
	bool stale;
	int r = find_place(k, c, &parent, &name, &address, &stale, why);

	return r ? r : check_access(c, parent, W_OK | X_OK, why);
}

/* Whoever listens there may come later; but there must be a folder to come to. */
static int check_socket(struct kernel *k, const struct config_io *c, char *why)
{
	_cleanup_close_ int parent = -1;
	const char *name;

	return resolve_parent(k, c->path, &parent, &name, why);
}

int iopath_check(struct kernel *k, const struct config_io *c, char why[IOPATH_WHY_MAX])
{
	switch (c->type) {
	case CONFIG_IO_FILE: return check_file(k, c, why);
	case CONFIG_IO_SOCKET: return check_socket(k, c, why);
	case CONFIG_IO_LISTEN: return check_listen(k, c, why);
	case CONFIG_IO_CONSOLE: break;
	}
	return 0;
}
