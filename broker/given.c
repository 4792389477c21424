/* SPDX-License-Identifier: Apache-2.0 */
#include "given.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "../lib/config.h"

#define DEPTH_MAX	4096	/* folders above one another; a path has no more */

static int open_file(const char *path, int *fdp)
{
	struct stat st;

	*fdp = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (*fdp < 0 || fstat(*fdp, &st)) {
		log_err("cannot open %s: %s", path, strerror(errno));
		return GIVEN_E_REFUSED;
	}
	if (!S_ISREG(st.st_mode)) {
		log_err("%s is not a regular file", path);
		return GIVEN_E_REFUSED;
	}
	return 0;
}

static int copy(int from, int to, const char *path)
{
	size_t total = 0;
	char buf[16384];
	ssize_t n;

	while ((n = read(from, buf, sizeof(buf))) > 0) {
		total += (size_t)n;
		if (total > GIVEN_MAX_CONFIG) {
			log_err("%s is larger than %u bytes", path, GIVEN_MAX_CONFIG);
			return GIVEN_E_REFUSED;
		}
		if (write(to, buf, (size_t)n) != n)
			return error_origin(errno ? errno : EIO);
	}
	if (n < 0) {
		log_err("cannot read %s: %s", path, strerror(errno));
		return GIVEN_E_REFUSED;
	}
	return 0;
}

/* Whoever edits the file while we run changes nothing that a later broker could read differently from its descriptors. */
static int take_copy(struct given *g, const char *path)
{
	_cleanup_close_ int from = -1;
	int r = open_file(path, &from);

	if (r)
		return r;
	g->config_fd = memfd_create("capstan-config", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (g->config_fd < 0)
		return error_origin(errno);
	r = copy(from, g->config_fd, path);
	if (r)
		return r;
	if (fcntl(g->config_fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL))
		return error_origin(errno);
	return 0;
}

static int parse(const struct given *g, const char *path, struct settings *out)
{
	char error[CONFIG_ERROR_MAX];
	json_error_t where;
	json_t *json;
	int r;

	if (lseek(g->config_fd, 0, SEEK_SET) < 0)
		return error_origin(errno);
	json = json_loadfd(g->config_fd, JSON_REJECT_DUPLICATES, &where);
	if (!json) {
		log_err("%s, line %d: %s", path, where.line, where.text);
		return GIVEN_E_REFUSED;
	}
	r = settings_parse(json, out, error);
	json_decref(json);
	if (r > 0)
		log_err("%s: %s", path, error);
	return r > 0 ? GIVEN_E_REFUSED : r;
}

static int open_folders(struct given *g, const struct settings *s, const char *path)
{
	for (size_t i = 0; i < s->n_io_paths; i++) {
		int fd = open(s->io_paths[i], O_PATH | O_DIRECTORY | O_CLOEXEC);

		if (fd < 0) {
			log_err("%s: config.ioPaths[%zu]: cannot open %s: %s", path, i, s->io_paths[i], strerror(errno));
			return GIVEN_E_REFUSED;
		}
		g->fds[g->n_fds++] = fd;
	}
	g->n_folders = g->n_fds;
	return 0;
}

/*
 * One that is missing stops nothing here: a subcluster that was launched once runs from the code store (V16), and for
 * another the broker says what is wrong.
 */
static void open_programs(struct given *g, const struct config_system *system, int dir_fd, const char *path)
{
	for (size_t i = 0; i < system->paths.n; i++) {
		int fd = openat(dir_fd, system->paths.paths[i], O_RDONLY | O_CLOEXEC | O_NONBLOCK);

		if (fd < 0)
			log_warn("%s: config.system.%s: cannot open %s: %s", path, system->name, system->paths.paths[i],
				 strerror(errno));
		g->fds[g->n_fds++] = fd;
	}
}

/* The folder of the configuration file, from which relative paths are. */
static int open_folder_of(const char *path, int *fdp)
{
	_cleanup_free_ char *folder = strdup(path);
	char *slash;

	if (!folder)
		return error_origin(ENOMEM);
	slash = strrchr(folder, '/');
	if (slash)
		slash[1] = '\0';
	*fdp = open(slash ? folder : ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	return *fdp < 0 ? error_origin(errno) : 0;
}

static int open_named(struct given *g, const struct settings *s, const char *path)
{
	_cleanup_close_ int dir_fd = -1;
	int r;

	g->fds = malloc((settings_n_given(s) + 1) * sizeof(*g->fds));
	if (!g->fds)
		return error_origin(ENOMEM);
	r = open_folder_of(path, &dir_fd);
	if (!r)
		r = open_folders(g, s, path);
	for (size_t i = 0; !r && i < s->n_systems; i++)
		open_programs(g, &s->systems[i], dir_fd, path);
	return r;
}

int given_open(struct given *g, const char *path)
{
	struct settings settings;
	int r = take_copy(g, path);

	if (r)
		return r;
	settings_init(&settings);
	r = parse(g, path, &settings);
	g->mount_world = settings.mount_world;
	g->mount_hide = settings.mount_hide;
	if (!r)
		r = open_named(g, &settings, path);
	settings_deinit(&settings);
	return r;
}

static bool is_same(int a, int b)
{
	struct stat x, y;

	return !fstat(a, &x) && !fstat(b, &y) && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/* Is the folder `inner` the folder `outer`, or somewhere below it? By what they are: a name may be a link or a mount. */
static bool lies_in(int inner, int outer)
{
	int at = openat(inner, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	bool found = false;

	for (int depth = 0; at >= 0 && depth < DEPTH_MAX; depth++) {
		int up = openat(at, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
		bool top = up < 0 || is_same(at, up);

		found = is_same(at, outer);
		close(at);
		at = up;
		if (found || top)
			break;
	}
	closep(&at);
	return found;
}

int given_keep_apart(const struct given *g, const int *kept_fds, size_t n_kept)
{
	for (size_t i = 0; i < g->n_folders; i++)
		for (size_t j = 0; j < n_kept; j++)
			if (lies_in(g->fds[i], kept_fds[j]) || lies_in(kept_fds[j], g->fds[i])) {
				log_err("config.ioPaths[%zu]: the state folder and the run folder may not be in it, nor it in them", i);
				return GIVEN_E_REFUSED;
			}
	return 0;
}

void given_deinit(struct given *g)
{
	closep(&g->config_fd);
	for (size_t i = 0; i < g->n_fds; i++)
		closep(&g->fds[i]);
	free(g->fds);
	*g = (struct given)GIVEN_INIT;
}
