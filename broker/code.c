/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The code store: see code.h.
 *
 * Copying: each file gets a job; up to MAX_WORKERS detached threads take jobs from a queue, copy to code/tmp-N, sync,
 * rename to code/HEX and sync the folder, so a name that looks like a hash is always whole. Finished jobs come back
 * through an eventfd and done() is called from the loop. A thread can hang in the client's file (a dead FUSE server)
 * for as long as that lasts; it shares only `struct shared` with the rest, counted, so that the store can go before it.
 *
 * Opening: a sealed memfd per hash, kept in a small cache (CACHE_MAX programs, CACHE_BYTES bytes together; the least
 * recently used goes first; a running vat keeps its own reference anyway). Each caller gets a new read-only open file
 * description, so that vats share pages but no file offset.
 */
#include "code.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sha2.h>
#include <stdarg.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

#define MAX_WORKERS	8u
#define CHUNK		(128u << 10)
#define ERROR_MAX	160
#define CACHE_MAX	64u
#define CACHE_BYTES	(256u << 20)
#define FREE_WAIT_S	2	/* for workers to notice that the store goes away */
#define TMP_PREFIX	"tmp-"

#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U
#endif

static_assert(CODE_HASH_LEN == SHA256_DIGEST_LENGTH, "the code store is keyed by SHA-256");

/* --- hashes as text ---------------------------------------------------------------------------------------------- */

void code_hex(const uint8_t hash[CODE_HASH_LEN], char out[CODE_HEX_LEN + 1])
{
	for (size_t i = 0; i < CODE_HASH_LEN; i++)
		snprintf(out + 2 * i, 3, "%02x", hash[i]);
}

static int nibble(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool code_unhex(const char *text, size_t len, uint8_t hash[CODE_HASH_LEN])
{
	uint8_t out[CODE_HASH_LEN];
	int hi, lo;

	if (len != CODE_HEX_LEN)
		return false;
	for (size_t i = 0; i < CODE_HASH_LEN; i++) {
		hi = nibble(text[2 * i]);
		lo = nibble(text[2 * i + 1]);
		if (hi < 0 || lo < 0)
			return false;
		out[i] = hi << 4 | lo;
	}
	memcpy(hash, out, sizeof(out));
	return true;
}

/* --- what workers and the loop share ----------------------------------------------------------------------------- */

struct job {
	struct job *next;
	int fd;
	bool program;
	code_done done;
	void *ctx;
	uint64_t number;		/* of its temporary file */
	char error[ERROR_MAX];		/* empty: copied */
	uint8_t hash[CODE_HASH_LEN];
	uint64_t size;
};

struct jobs { struct job *first, **last; };

struct shared {
	pthread_mutex_t lock;
	pthread_cond_t idle;		/* a worker left */
	struct jobs waiting, finished;
	unsigned n_workers;
	bool stop;
	int dir_fd;			/* code/ */
	int event_fd;
	unsigned n_refs;		/* the store, and each worker */
};

static void jobs_init(struct jobs *q) { *q = (struct jobs){ NULL, &q->first }; }

static void jobs_push(struct jobs *q, struct job *j)
{
	j->next = NULL;
	*q->last = j;
	q->last = &j->next;
}

static struct job *jobs_pop(struct jobs *q)
{
	struct job *j = q->first;

	if (!j)
		return NULL;
	q->first = j->next;
	if (!q->first)
		q->last = &q->first;
	return j;
}

static void job_free(struct job *j)
{
	closep(&j->fd);
	free(j);
}

static void jobs_deinit(struct jobs *q)
{
	struct job *j;

	while ((j = jobs_pop(q)))
		job_free(j);
}

/* Called with the lock held, which it gives back. */
static void shared_unref(struct shared *sh)
{
	unsigned left = --sh->n_refs;

	pthread_mutex_unlock(&sh->lock);
	if (left)
		return;
	jobs_deinit(&sh->waiting);
	jobs_deinit(&sh->finished);
	closep(&sh->dir_fd);
	closep(&sh->event_fd);
	pthread_mutex_destroy(&sh->lock);
	pthread_cond_destroy(&sh->idle);
	free(sh);
}

static struct shared *shared_new(int dir_fd)
{
	struct shared *sh = calloc(1, sizeof(*sh));
	pthread_condattr_t attr;

	if (!sh)
		return NULL;
	sh->dir_fd = dir_fd;
	sh->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (sh->event_fd < 0) {
		free(sh);
		return NULL;
	}
	sh->n_refs = 1;
	jobs_init(&sh->waiting);
	jobs_init(&sh->finished);
	pthread_mutex_init(&sh->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&sh->idle, &attr);
	pthread_condattr_destroy(&attr);
	return sh;
}

static bool is_stopping(struct shared *sh)
{
	bool stop;

	pthread_mutex_lock(&sh->lock);
	stop = sh->stop;
	pthread_mutex_unlock(&sh->lock);
	return stop;
}

/* --- copying, on a worker ---------------------------------------------------------------------------------------- */

/* Why a file is not taken. Always -1, so that a failing step reads as one line. */
__attribute__((format(printf, 2, 3)))
static int say(struct job *j, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(j->error, sizeof(j->error), fmt, ap);
	va_end(ap);
	return -1;
}

static int write_all(int fd, const uint8_t *p, size_t n)
{
	ssize_t w;

	while (n) {
		w = write(fd, p, n);
		if (w < 0 && errno == EINTR)
			continue;
		if (w <= 0)
			return -1;
		p += w;
		n -= w;
	}
	return 0;
}

static bool is_program(const uint8_t *head, size_t n)
{
	return (n >= 4 && !memcmp(head, "\177ELF", 4)) || (n >= 2 && !memcmp(head, "#!", 2));
}

static int check_kind(struct job *j)
{
	struct stat st;

	if (fstat(j->fd, &st))
		return say(j, "cannot be looked at: %s", strerror(errno));
	if (!S_ISREG(st.st_mode))
		return say(j, "not a regular file");
	if ((uint64_t)st.st_size > CODE_MAX_SIZE)
		return say(j, "larger than %u MiB", CODE_MAX_SIZE >> 20);
	return 0;
}

static ssize_t read_chunk(int fd, uint8_t *buf, uint64_t at)
{
	ssize_t n;

	do
		n = pread(fd, buf, CHUNK, at);
	while (n < 0 && errno == EINTR);
	return n;
}

/* The file may change while it is copied: what counts is what was read, once. */
static int copy_bytes(struct shared *sh, struct job *j, int to, uint8_t *buf)
{
	SHA2_CTX sha;
	ssize_t n;

	SHA256Init(&sha);
	while ((n = read_chunk(j->fd, buf, j->size)) > 0) {
		if (j->size == 0 && j->program && !is_program(buf, n))
			return say(j, "not an executable ELF file or script");
		j->size += n;
		if (j->size > CODE_MAX_SIZE)
			return say(j, "larger than %u MiB", CODE_MAX_SIZE >> 20);
		SHA256Update(&sha, buf, n);
		if (write_all(to, buf, n))
			return say(j, "cannot be copied into the code store: %s", strerror(errno));
		if (is_stopping(sh))
			return say(j, "the kernel is stopping");
	}
	if (n < 0)
		return say(j, "cannot be read: %s", strerror(errno));
	if (j->size == 0 && j->program)
		return say(j, "not an executable ELF file or script");
	SHA256Final(j->hash, &sha);
	return 0;
}

/* A hash's name is given only to bytes that are on disk; the name itself is on disk before anybody hears of it. */
static int keep(struct shared *sh, struct job *j, int fd, const char *tmp)
{
	char hex[CODE_HEX_LEN + 1];

	code_hex(j->hash, hex);
	if (fchmod(fd, 0444) || fsync(fd) || renameat(sh->dir_fd, tmp, sh->dir_fd, hex) || fsync(sh->dir_fd))
		return say(j, "cannot be kept in the code store: %s", strerror(errno));
	return 0;
}

static void copy_file(struct shared *sh, struct job *j)
{
	_cleanup_free_ uint8_t *buf = malloc(CHUNK);
	_cleanup_close_ int fd = -1;
	char tmp[32];

	snprintf(tmp, sizeof(tmp), TMP_PREFIX "%llu", (unsigned long long)j->number);
	if (check_kind(j))
		return;
	fd = openat(sh->dir_fd, tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (!buf || fd < 0)
		say(j, "cannot be copied into the code store: %s", strerror(errno));
	else if (!copy_bytes(sh, j, fd, buf) && !keep(sh, j, fd, tmp))
		return;
	if (fd >= 0)
		unlinkat(sh->dir_fd, tmp, 0);
}

static void *worker(void *arg)
{
	struct shared *sh = arg;
	struct job *j;

	pthread_mutex_lock(&sh->lock);
	while (!sh->stop && (j = jobs_pop(&sh->waiting))) {
		pthread_mutex_unlock(&sh->lock);
		copy_file(sh, j);
		closep(&j->fd);
		j->fd = -1;
		pthread_mutex_lock(&sh->lock);
		jobs_push(&sh->finished, j);
		eventfd_write(sh->event_fd, 1);
	}
	sh->n_workers--;
	pthread_cond_signal(&sh->idle);
	shared_unref(sh);
	return NULL;
}

/* --- the store --------------------------------------------------------------------------------------------------- */

struct cached {
	uint8_t hash[CODE_HASH_LEN];
	int fd;				/* sealed memfd */
	uint64_t size;
	uint64_t used;			/* the store's clock at its last use */
};

struct code_store {
	struct loop *loop;
	struct loop_source source;
	struct shared *shared;
	uint64_t n_jobs;
	struct cached cache[CACHE_MAX];
	size_t n_cached;
	uint64_t cached_bytes, clock;
};

static int on_finished(struct loop_source *s, uint32_t events)
{
	struct code_store *cs = container_of(s, struct code_store, source);
	struct shared *sh = cs->shared;
	struct job *j;
	eventfd_t n;
	int r = 0;

	(void)events;
	eventfd_read(sh->event_fd, &n);
	while (!r) {
		pthread_mutex_lock(&sh->lock);
		j = jobs_pop(&sh->finished);
		pthread_mutex_unlock(&sh->lock);
		if (!j)
			return 0;
		r = j->done(j->ctx, *j->error ? j->error : NULL, j->hash, j->size);
		job_free(j);
	}
	return error_trace(r);
}

/* What a broker left half copied when it died. */
static int remove_half_copied(int dir_fd)
{
	int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *e;

	if (!dir) {
		r = error_origin(errno);
		closep(&fd);
		return r;
	}
	while ((errno = 0, e = readdir(dir)))
		if (!strncmp(e->d_name, TMP_PREFIX, strlen(TMP_PREFIX)) && unlinkat(dir_fd, e->d_name, 0))
			break;
	if (errno)
		r = error_origin(errno);
	closedir(dir);
	return r;
}

static int open_code_dir(int dir_fd, int *fdp)
{
	_cleanup_close_ int fd = -1;
	int r;

	if (mkdirat(dir_fd, "code", 0700) == 0) {
		if (fsync(dir_fd))
			return error_origin(errno);
	} else if (errno != EEXIST) {
		return error_origin(errno);
	}
	fd = openat(dir_fd, "code", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return error_origin(errno);
	r = remove_half_copied(fd);
	if (r)
		return error_trace(r);
	*fdp = TAKE_FD(fd);
	return 0;
}

int code_store_new(struct code_store **csp, struct loop *loop, int dir_fd)
{
	struct code_store *cs;
	int fd = -1, r;

	r = open_code_dir(dir_fd, &fd);
	if (r)
		return error_trace(r);
	cs = calloc(1, sizeof(*cs));
	if (!cs) {
		close(fd);
		return error_origin(ENOMEM);
	}
	cs->loop = loop;
	cs->source = (struct loop_source)LOOP_SOURCE_INIT(on_finished);
	cs->shared = shared_new(fd);
	if (!cs->shared) {
		close(fd);
		free(cs);
		return error_origin(ENOMEM);
	}
	r = loop_add(loop, &cs->source, cs->shared->event_fd, EPOLLIN);
	if (r) {
		code_store_free(cs);
		return error_trace(r);
	}
	*csp = cs;
	return 0;
}

struct code_store *code_store_free(struct code_store *cs)
{
	struct timespec until;
	struct shared *sh;

	if (!cs)
		return NULL;
	sh = cs->shared;
	loop_remove(cs->loop, &cs->source);
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += FREE_WAIT_S;
	pthread_mutex_lock(&sh->lock);
	sh->stop = true;
	while (sh->n_workers && !pthread_cond_timedwait(&sh->idle, &sh->lock, &until))
		;
	shared_unref(sh);
	for (size_t i = 0; i < cs->n_cached; i++)
		close(cs->cache[i].fd);
	free(cs);
	return NULL;
}

/* With the lock held. Without a single worker a job would wait for ever, so that is an error. */
static int add_worker(struct shared *sh)
{
	pthread_attr_t attr;
	pthread_t thread;
	int e;

	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	sh->n_workers++;
	sh->n_refs++;
	e = pthread_create(&thread, &attr, worker, sh);
	pthread_attr_destroy(&attr);
	if (!e)
		return 0;
	sh->n_workers--;
	sh->n_refs--;
	return sh->n_workers ? 0 : error_origin(e);
}

int code_add(struct code_store *cs, int fd, bool program, code_done done, void *ctx)
{
	struct shared *sh = cs->shared;
	struct job *j = calloc(1, sizeof(*j));
	int r = 0;

	if (!j) {
		close(fd);
		return error_origin(ENOMEM);
	}
	*j = (struct job){ .fd = fd, .program = program, .done = done, .ctx = ctx, .number = cs->n_jobs++ };
	pthread_mutex_lock(&sh->lock);
	jobs_push(&sh->waiting, j);
	if (sh->n_workers < MAX_WORKERS)
		r = add_worker(sh);
	pthread_mutex_unlock(&sh->lock);
	return r;
}

/* --- opening ----------------------------------------------------------------------------------------------------- */

static void cache_drop(struct code_store *cs, size_t i)
{
	close(cs->cache[i].fd);
	cs->cached_bytes -= cs->cache[i].size;
	cs->cache[i] = cs->cache[--cs->n_cached];
}

static void cache_make_room(struct code_store *cs, uint64_t size)
{
	size_t oldest;

	while (cs->n_cached && (cs->n_cached == CACHE_MAX || cs->cached_bytes + size > CACHE_BYTES)) {
		oldest = 0;
		for (size_t i = 1; i < cs->n_cached; i++)
			if (cs->cache[i].used < cs->cache[oldest].used)
				oldest = i;
		cache_drop(cs, oldest);
	}
}

static int cache_find(struct code_store *cs, const uint8_t *hash)
{
	for (size_t i = 0; i < cs->n_cached; i++)
		if (!memcmp(cs->cache[i].hash, hash, CODE_HASH_LEN)) {
			cs->cache[i].used = ++cs->clock;
			return cs->cache[i].fd;
		}
	return -1;
}

/* Kernels before 6.3 do not know MFD_EXEC, and need none. */
static int new_memfd(const char *name)
{
	int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_EXEC);

	if (fd < 0 && errno == EINVAL)
		fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	return fd;
}

/* Copy code/HEX into `to` and check that it is what its name says. */
static int load(int from, int to, const uint8_t *hash, uint64_t *sizep)
{
	_cleanup_free_ uint8_t *buf = malloc(CHUNK);
	uint8_t found[CODE_HASH_LEN];
	uint64_t size = 0;
	SHA2_CTX sha;
	ssize_t n;

	if (!buf)
		return error_origin(ENOMEM);
	SHA256Init(&sha);
	while ((n = read_chunk(from, buf, size)) > 0) {
		SHA256Update(&sha, buf, n);
		/* No memory for a program of this size is not the kernel's end: its vat cannot start. */
		if (write_all(to, buf, n)) {
			log_warn("cannot load a program: %s", strerror(errno));
			return CODE_E_MISSING;
		}
		size += n;
	}
	SHA256Final(found, &sha);
	/* A disk that cannot read it has lost it: the vat is told, the kernel runs on. */
	if (n < 0 || memcmp(found, hash, CODE_HASH_LEN))
		return CODE_E_MISSING;
	*sizep = size;
	return 0;
}

/* Every vat costs descriptors: running out of them fails one spawn, never the broker (L1). */
static bool is_shortage(int e)
{
	return e == EMFILE || e == ENFILE || e == ENOMEM || e == EACCES || e == EPERM;	/* the last: vm.memfd_noexec */
}

static int open_memfd(struct code_store *cs, const uint8_t *hash, int *fdp, uint64_t *sizep)
{
	_cleanup_close_ int from = -1, to = -1;
	char hex[CODE_HEX_LEN + 1];
	int r;

	code_hex(hash, hex);
	from = openat(cs->shared->dir_fd, hex, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (from < 0)
		return is_shortage(errno) ? CODE_E_RESOURCES : CODE_E_MISSING;
	hex[12] = '\0';	/* enough to be recognised in /proc/PID/maps */
	to = new_memfd(hex);
	if (to < 0)
		return is_shortage(errno) ? CODE_E_RESOURCES : error_origin(errno);
	r = load(from, to, hash, sizep);
	if (r)
		return r < 0 ? error_trace(r) : r;
	if (fchmod(to, 0555) || fcntl(to, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL))
		return error_origin(errno);
	*fdp = TAKE_FD(to);
	return 0;
}

static int reopen(int fd, int *fdp)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	*fdp = open(path, O_RDONLY | O_CLOEXEC);
	if (*fdp >= 0)
		return 0;
	return is_shortage(errno) ? CODE_E_RESOURCES : error_origin(errno);
}

int code_open(struct code_store *cs, const uint8_t hash[CODE_HASH_LEN], int *fdp)
{
	int fd = cache_find(cs, hash), r;
	uint64_t size = 0;

	if (fd < 0) {
		r = open_memfd(cs, hash, &fd, &size);
		if (r)
			return r < 0 ? error_trace(r) : r;
		cache_make_room(cs, size);
		cs->cache[cs->n_cached] = (struct cached){ .fd = fd, .size = size, .used = ++cs->clock };
		memcpy(cs->cache[cs->n_cached++].hash, hash, CODE_HASH_LEN);
		cs->cached_bytes += size;
	}
	return reopen(fd, fdp);
}
