/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The code store: copies by hash, what is refused and with which sentence, damage, sealed memfds, the cache, and going
 * away with work in hand.
 */
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <cmocka.h>

#include "../../broker/code.h"

#define ROUND_MS 20000

struct answer { bool done; char error[200]; uint8_t hash[CODE_HASH_LEN]; uint64_t size; int result; };

struct fixture {
	char dir[64];
	int dir_fd;
	struct loop loop;
	struct code_store *cs;
};

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	snprintf(f->dir, sizeof(f->dir), "/tmp/test-code-XXXXXX");
	if (!mkdtemp(f->dir))
		return -1;
	f->dir_fd = open(f->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (loop_init(&f->loop) || code_store_new(&f->cs, &f->loop, f->dir_fd))
		return -1;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	code_store_free(f->cs);
	loop_deinit(&f->loop);
	close(f->dir_fd);
	nftw(f->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	free(f);
	return 0;
}

static int note(void *ctx, const char *error, const uint8_t hash[CODE_HASH_LEN], uint64_t size)
{
	struct answer *a = ctx;

	assert_false(a->done);
	a->done = true;
	if (error)
		snprintf(a->error, sizeof(a->error), "%s", error);
	memcpy(a->hash, hash, CODE_HASH_LEN);
	a->size = size;
	return a->result;
}

static void wait_for(struct fixture *f, const struct answer *a)
{
	while (!a->done) {
		struct pollfd p = { .fd = f->loop.epoll_fd, .events = POLLIN };

		assert_int_equal(poll(&p, 1, ROUND_MS), 1);
		assert_int_equal(loop_round(&f->loop, 0), 0);
	}
}

static struct answer add(struct fixture *f, int fd, bool program)
{
	struct answer a = { 0 };

	assert_true(fd >= 0);
	assert_int_equal(code_add(f->cs, fd, program, note, &a), 0);
	wait_for(f, &a);
	return a;
}

static int file_with(struct fixture *f, const void *data, size_t len)
{
	int fd = openat(f->dir_fd, "source", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600), copy;

	assert_int_equal(write(fd, data, len), len);
	close(fd);
	copy = openat(f->dir_fd, "source", O_RDONLY | O_CLOEXEC);
	unlinkat(f->dir_fd, "source", 0);
	return copy;
}

static size_t count_files(struct fixture *f)
{
	DIR *d = fdopendir(openat(f->dir_fd, "code", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	size_t n = 0;

	for (struct dirent *e; (e = readdir(d));)
		n += e->d_name[0] != '.';
	closedir(d);
	return n;
}

/* SHA-256 of "#!abc\n", by sha256sum(1). */
static const char script[] = "#!abc\n";
static const char script_hex[] = "549b467efb0c2a8376e3e740d55963dbb75b9d885ec3a5206937a58544c476da";

static void copies_by_hash(void **state)
{
	struct fixture *f = *state;
	struct answer a = add(f, file_with(f, script, 6), true);
	char hex[CODE_HEX_LEN + 1], path[100], back[16];
	struct stat st;
	int fd;

	assert_string_equal(a.error, "");
	assert_int_equal(a.size, 6);
	code_hex(a.hash, hex);
	assert_string_equal(hex, script_hex);
	snprintf(path, sizeof(path), "code/%s", hex);
	assert_int_equal(fstatat(f->dir_fd, path, &st, 0), 0);
	assert_int_equal(st.st_mode & 0777, 0444);
	fd = openat(f->dir_fd, path, O_RDONLY | O_CLOEXEC);
	assert_int_equal(read(fd, back, sizeof(back)), 6);
	assert_memory_equal(back, script, 6);
	close(fd);
	a = add(f, file_with(f, script, 6), false);	/* the same again is the same */
	assert_string_equal(a.error, "");
	assert_int_equal(count_files(f), 1);
}

static void a_large_file_is_whole(void **state)
{
	struct fixture *f = *state;
	size_t len = 3000001;
	uint8_t *data = malloc(len), *back = malloc(len);
	struct answer a;
	int fd;

	for (size_t i = 0; i < len; i++)
		data[i] = i * 2654435761u >> 13;
	a = add(f, file_with(f, data, len), false);
	assert_string_equal(a.error, "");
	assert_int_equal(a.size, len);
	assert_int_equal(code_open(f->cs, a.hash, &fd), 0);
	assert_int_equal(pread(fd, back, len, 0), len);
	assert_memory_equal(data, back, len);
	close(fd);
	free(data);
	free(back);
}

static void expect_error(struct fixture *f, int fd, bool program, const char *why)
{
	struct answer a = add(f, fd, program);

	if (!strstr(a.error, why))
		fail_msg("'%s' where '%s' was expected", a.error, why);
	assert_int_equal(count_files(f), 0);
}

static int huge_file(struct fixture *f)
{
	int fd = openat(f->dir_fd, "huge", O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	assert_int_equal(ftruncate(fd, (off_t)CODE_MAX_SIZE + 1), 0);	/* sparse */
	unlinkat(f->dir_fd, "huge", 0);
	return fd;
}

static void what_is_not_a_program_is_refused(void **state)
{
	struct fixture *f = *state;
	int pipe_fds[2];

	expect_error(f, file_with(f, "", 0), true, "not an executable ELF file or script");
	expect_error(f, file_with(f, "#", 1), true, "not an executable ELF file or script");
	expect_error(f, file_with(f, "\177EL", 3), true, "not an executable ELF file or script");
	expect_error(f, file_with(f, "hello world", 11), true, "not an executable ELF file or script");
	expect_error(f, open(f->dir, O_RDONLY | O_CLOEXEC), false, "not a regular file");
	expect_error(f, open("/dev/null", O_RDONLY | O_CLOEXEC), false, "not a regular file");
	expect_error(f, socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), false, "not a regular file");
	assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
	expect_error(f, pipe_fds[0], false, "not a regular file");
	close(pipe_fds[1]);
	expect_error(f, open("/proc/self/exe", O_PATH | O_CLOEXEC), true, "cannot be read");
	expect_error(f, huge_file(f), false, "larger than 512 MiB");
}

/* An empty companion file is a file. */
static void an_empty_file_is_kept(void **state)
{
	struct fixture *f = *state;
	struct answer a = add(f, file_with(f, "", 0), false);
	int fd;

	assert_string_equal(a.error, "");
	assert_int_equal(code_open(f->cs, a.hash, &fd), 0);
	close(fd);
}

/* A full disk or a read-only one is a sentence, never the kernel's end. */
static void a_store_that_cannot_be_written(void **state)
{
	struct fixture *f = *state;
	struct answer a;
	char path[100];

	snprintf(path, sizeof(path), "%s/code", f->dir);
	assert_int_equal(rmdir(path), 0);	/* nothing can be made in a removed folder, not even by root */
	a = add(f, file_with(f, script, 6), true);
	assert_non_null(strstr(a.error, "cannot be copied into the code store: No such file"));
}

static void memfds_are_sealed_and_shared(void **state)
{
	struct fixture *f = *state;
	struct answer a = add(f, open("/proc/self/exe", O_RDONLY | O_CLOEXEC), true);
	struct stat first, second;
	int one, two, seals;

	assert_string_equal(a.error, "");
	assert_int_equal(code_open(f->cs, a.hash, &one), 0);
	assert_int_equal(code_open(f->cs, a.hash, &two), 0);
	seals = fcntl(one, F_GET_SEALS);
	assert_int_equal(seals & (F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL),
			 F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL);
	assert_int_equal(fcntl(one, F_GETFL) & O_ACCMODE, O_RDONLY);
	assert_int_equal(fcntl(one, F_GETFD), FD_CLOEXEC);
	assert_int_equal(fstat(one, &first), 0);
	assert_int_equal(fstat(two, &second), 0);
	assert_int_equal(first.st_ino, second.st_ino);	/* shared pages … */
	assert_int_equal(first.st_size, a.size);
	assert_int_equal(lseek(one, 5, SEEK_SET), 5);
	assert_int_equal(lseek(two, 0, SEEK_CUR), 0);	/* … but not the offset */
	close(one);
	close(two);
}

static void a_memfd_can_be_executed(void **state)
{
	struct fixture *f = *state;
	struct answer a = add(f, open("/bin/true", O_RDONLY | O_CLOEXEC), true);
	char *const argv[] = { (char *)"true", NULL };
	int fd, status;
	pid_t pid;

	assert_int_equal(code_open(f->cs, a.hash, &fd), 0);
	pid = fork();
	if (pid == 0) {
		syscall(SYS_execveat, fd, "", argv, environ, AT_EMPTY_PATH);
		_exit(1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	close(fd);
}

static void missing_and_damaged_code(void **state)
{
	struct fixture *f = *state;
	struct answer a = add(f, file_with(f, script, 6), true);
	uint8_t unknown[CODE_HASH_LEN] = { 1 };
	char hex[CODE_HEX_LEN + 1], path[100];
	int fd = -5;

	assert_int_equal(code_open(f->cs, unknown, &fd), CODE_E_MISSING);
	code_hex(a.hash, hex);
	snprintf(path, sizeof(path), "code/%s", hex);
	assert_int_equal(unlinkat(f->dir_fd, path, 0), 0);
	close(openat(f->dir_fd, path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));	/* empty now */
	assert_int_equal(code_open(f->cs, a.hash, &fd), CODE_E_MISSING);
	unlinkat(f->dir_fd, path, 0);
	assert_int_equal(symlinkat("/bin/true", f->dir_fd, path), 0);
	assert_int_equal(code_open(f->cs, a.hash, &fd), CODE_E_MISSING);
	assert_int_equal(fd, -5);
	a = add(f, file_with(f, script, 6), true);	/* copying it again repairs it */
	assert_int_equal(code_open(f->cs, a.hash, &fd), 0);
	close(fd);
}

static int count_fds(void)
{
	int n = 0;

	for (int fd = 0; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

/* More programs than the cache holds: each is still found, and the store does not hoard fds. */
static void the_cache_is_bounded(void **state)
{
	struct fixture *f = *state;
	uint8_t first[CODE_HASH_LEN] = { 0 };
	struct answer a;
	int fd, before = count_fds();
	char text[32];

	for (int i = 0; i < 150; i++) {
		a = add(f, file_with(f, text, snprintf(text, sizeof(text), "#! %d", i)), true);
		assert_int_equal(code_open(f->cs, a.hash, &fd), 0);
		close(fd);
		if (i == 0)
			memcpy(first, a.hash, sizeof(first));
	}
	assert_int_equal(count_fds() - before, 64);
	assert_int_equal(code_open(f->cs, first, &fd), 0);
	assert_int_equal(pread(fd, text, sizeof(text), 0), 4);
	assert_memory_equal(text, "#! 0", 4);
	close(fd);
}

static void many_at_once(void **state)
{
	struct fixture *f = *state;
	struct answer a[100] = { { 0 } };
	char text[32];

	for (size_t i = 0; i < ARRAY_LEN(a); i++)
		assert_int_equal(code_add(f->cs, file_with(f, text, snprintf(text, sizeof(text), "%zu", i)), false, note, &a[i]), 0);
	for (size_t i = 0; i < ARRAY_LEN(a); i++) {
		wait_for(f, &a[i]);
		assert_string_equal(a[i].error, "");
	}
	assert_int_equal(count_files(f), ARRAY_LEN(a));
}

/* What a broker that died left half done goes; whole files stay. */
static void half_copied_files_are_removed(void **state)
{
	struct fixture *f = *state;

	add(f, file_with(f, script, 6), true);
	close(openat(f->dir_fd, "code/tmp-17", O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	assert_int_equal(count_files(f), 2);
	f->cs = code_store_free(f->cs);
	assert_int_equal(code_store_new(&f->cs, &f->loop, f->dir_fd), 0);
	assert_int_equal(count_files(f), 1);
}

/* Going away with work in hand: nothing is called afterwards, nothing leaks (the sanitizer looks). */
static void freed_with_work_in_hand(void **state)
{
	struct fixture *f = *state;
	struct answer a[50] = { { 0 } };

	for (size_t i = 0; i < ARRAY_LEN(a); i++)
		assert_int_equal(code_add(f->cs, open("/proc/self/exe", O_RDONLY | O_CLOEXEC), true, note, &a[i]), 0);
	f->cs = code_store_free(f->cs);
	for (size_t i = 0; i < ARRAY_LEN(a); i++)
		assert_false(a[i].done);
}

/* done() fails: the loop hears of it. */
static void a_failing_answer_ends_the_loop(void **state)
{
	struct fixture *f = *state;
	struct answer a = { .result = -EIO };
	int r = 0;

	assert_int_equal(code_add(f->cs, file_with(f, script, 6), true, note, &a), 0);
	while (!a.done)
		r = loop_round(&f->loop, ROUND_MS);
	assert_int_equal(r, -EIO);
}

static void hex_and_back(void **state)
{
	uint8_t hash[CODE_HASH_LEN], back[CODE_HASH_LEN];
	char hex[CODE_HEX_LEN + 1];

	(void)state;
	for (size_t i = 0; i < sizeof(hash); i++)
		hash[i] = i * 37 + 200;
	code_hex(hash, hex);
	assert_true(code_unhex(hex, CODE_HEX_LEN, back));
	assert_memory_equal(hash, back, sizeof(hash));
	assert_false(code_unhex(hex, CODE_HEX_LEN - 1, back));
	hex[5] = 'A';
	assert_false(code_unhex(hex, CODE_HEX_LEN, back));
	hex[5] = 'g';
	assert_false(code_unhex(hex, CODE_HEX_LEN, back));
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(copies_by_hash), T(a_large_file_is_whole), T(what_is_not_a_program_is_refused), T(an_empty_file_is_kept),
		T(a_store_that_cannot_be_written), T(memfds_are_sealed_and_shared), T(a_memfd_can_be_executed),
		T(missing_and_damaged_code), T(the_cache_is_bounded), T(many_at_once), T(half_copied_files_are_removed),
		T(freed_with_work_in_hand), T(a_failing_answer_ends_the_loop),
		cmocka_unit_test(hex_and_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
