/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The few things every room uses: the error grammar, scoped cleanup, byte order, one-line logging.
 *
 * Error grammar: a function that can fail returns int. 0 is done. A negative errno is the machine's or our
 * own fault; it is never matched, only passed up through error_trace(), and stops the process. A positive
 * number is a documented outcome of that one function, handled by its caller. No vat, peer, frame or
 * configuration can ever cause a negative number.
 */
#ifndef CAPSTAN_UTIL_H
#define CAPSTAN_UTIL_H

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "Capstan's wire frames and rows are little-endian structs; a big-endian host needs its own codec"
#endif

/* Print where a fatal error passed ("clist.c:120: Input/output error"), return it unchanged (negative). */
int error_trace_at(int r, const char *file, int line);
#define error_trace(r)		error_trace_at((r), __FILE__, __LINE__)
#define error_origin(e)		error_trace_at(-(e), __FILE__, __LINE__)

/* One line to stderr: "capstand[broker]: text"; syslog-style <N> prefixes when stderr is the journal. */
enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARNING, LOG_LEVEL_ERROR };
void log_init(const char *program);	/* borrowed, e.g. "capstand[broker]" */
void log_line(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
#define log_debug(...)	log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)	/* shown with CAPSTAN_DEBUG=1 */
#define log_info(...)	log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_warn(...)	log_line(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_err(...)	log_line(LOG_LEVEL_ERROR, __VA_ARGS__)

static inline void freep(void *p) { free(*(void **)p); }
static inline void closep(int *fdp) { if (*fdp >= 0) close(*fdp); }
static inline void fclosep(FILE **fp) { if (*fp) fclose(*fp); }
#define _cleanup_(f)	__attribute__((cleanup(f)))
#define _cleanup_free_	_cleanup_(freep)
#define _cleanup_close_	_cleanup_(closep)
#define TAKE_FD(fd)	({ int *_f = &(fd); int _v = *_f; *_f = -1; _v; })
#define TAKE_PTR(p)	({ __typeof__(p) *_p = &(p), _v = *_p; *_p = NULL; _v; })
#define ARRAY_LEN(a)	(sizeof(a) / sizeof((a)[0]))
#define container_of(ptr, type, member) ((type *)((char *)(ptr) - offsetof(type, member)))

static inline void put_be64(uint8_t *p, uint64_t v) { v = htobe64(v); memcpy(p, &v, 8); }
static inline uint64_t get_be64(const uint8_t *p) { uint64_t v; memcpy(&v, p, 8); return be64toh(v); }

uint64_t now_monotonic_ns(void);
uint64_t now_realtime_us(void);
uint64_t now_boottime_us(void);		/* as monotonic, and goes on while the machine sleeps */

/*
 * Show vat-supplied bytes safely: C0, C1, DEL, format characters (U+202E and the like), backslash and bytes that are not UTF-8 become \n, \t, \\ or \xHH.
 * Writes at most `size` bytes with the NUL, cut on a whole escape; returns the length that all of it needs.
 */
size_t escape_bytes(char *out, size_t size, const void *data, size_t len);

#endif
