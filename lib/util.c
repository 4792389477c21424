/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every room uses: error traces, log lines, clocks, escaping. Log lines and traces go out in one write, so
 * that lines of several processes on one stderr never mix.
 */
#include <stdarg.h>
#include <sys/stat.h>
#include <time.h>

#include "util.h"

#define LINE_SIZE 4096	/* a longer line is cut; it stays one write below PIPE_BUF */

static const char *log_program = "capstan";
static bool log_to_journal;
static bool log_shows_debug;

/* systemd names the device and inode of the journal's socket; only when stderr is that one do prefixes count. */
static bool stderr_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long device, inode;
	struct stat st;

	if (!stream || sscanf(stream, "%llu:%llu", &device, &inode) != 2)
		return false;
	return !fstat(STDERR_FILENO, &st) && st.st_dev == device && st.st_ino == inode;
}

void log_init(const char *program)
{
	const char *debug = getenv("CAPSTAN_DEBUG");

	log_program = program;
	log_to_journal = stderr_is_journal();
	log_shows_debug = debug && strcmp(debug, "0") && *debug;
}

static void write_line(const char *line, size_t len)
{
	ssize_t n;

	/* Nobody is left to tell about a stderr that fails. */
	do
		n = write(STDERR_FILENO, line, len);
	while (n < 0 && errno == EINTR);
}

/* What snprintf says it needed, cut to what the line holds. */
static void advance(size_t *lenp, int n)
{
	if (n > 0)
		*lenp += (size_t)n;
	if (*lenp > LINE_SIZE - 1)
		*lenp = LINE_SIZE - 1;
}

void log_line(enum log_level level, const char *fmt, ...)
{
	/* syslog's numbers for debug, info, warning, error */
	static const char prefix[] = { [LOG_LEVEL_DEBUG] = '7', [LOG_LEVEL_INFO] = '6', [LOG_LEVEL_WARNING] = '4',
				       [LOG_LEVEL_ERROR] = '3' };
	int saved_errno = errno;
	char line[LINE_SIZE];
	size_t len = 0;
	va_list ap;
	int n;

	if (level == LOG_LEVEL_DEBUG && !log_shows_debug)
		return;
	if (log_to_journal)
		n = snprintf(line, sizeof(line), "<%c>%s: ", prefix[level], log_program);
	else
		n = snprintf(line, sizeof(line), "%s: ", log_program);
	advance(&len, n);
	va_start(ap, fmt);
	n = vsnprintf(line + len, sizeof(line) - len, fmt, ap);
	va_end(ap);
	advance(&len, n);
	line[len++] = '\n';	/* takes the place of the NUL */
	write_line(line, len);
	errno = saved_errno;
}

int error_trace_at(int r, const char *file, int line)
{
	if (r < 0)
		log_line(LOG_LEVEL_ERROR, "%s:%d: %s", file, line, strerror(-r));
	return r;
}

static uint64_t clock_read(clockid_t clock, uint64_t unit_per_s, uint64_t ns_per_unit)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * unit_per_s + (uint64_t)ts.tv_nsec / ns_per_unit;
}

uint64_t now_monotonic_ns(void)
{
	return clock_read(CLOCK_MONOTONIC, 1000000000, 1);
}

uint64_t now_realtime_us(void)
{
	return clock_read(CLOCK_REALTIME, 1000000, 1000);
}

uint64_t now_boottime_us(void)
{
	return clock_read(CLOCK_BOOTTIME, 1000000, 1000);
}

/* Characters that show nothing of themselves but move, turn round or hide what stands beside them: how a row can be forged for the eye. */
static bool is_format_character(const uint8_t *p, size_t n)
{
	static const struct { uint32_t first, last; } ranges[] = {
		{ 0x00ad, 0x00ad }, { 0x061c, 0x061c }, { 0x180e, 0x180e }, { 0x200b, 0x200f }, { 0x2028, 0x202e },
		{ 0x2060, 0x206f }, { 0xfeff, 0xfeff }, { 0xfff9, 0xfffb }, { 0xe0000, 0xe007f },
	};
	uint32_t c = n == 2 ? p[0] & 0x1f : n == 3 ? p[0] & 0x0f : p[0] & 0x07;

	for (size_t i = 1; i < n; i++)
		c = c << 6 | (p[i] & 0x3f);
	for (size_t i = 0; i < ARRAY_LEN(ranges); i++)
		if (c >= ranges[i].first && c <= ranges[i].last)
			return true;
	return false;
}

/*
 * Length of the well-formed UTF-8 character at `p` (no overlong forms, no surrogates, at most U+10FFFF); 0 when the
 * bytes are not one, or are one of the C1 controls U+0080..U+009F, or a format character.
 */
static size_t utf8_length(const uint8_t *p, size_t len)
{
	uint8_t second_min = 0x80, second_max = 0xbf;
	size_t n;

	if (p[0] < 0x80)
		return 1;
	if (p[0] >= 0xc2 && p[0] <= 0xdf)
		n = 2;
	else if (p[0] >= 0xe0 && p[0] <= 0xef)
		n = 3;
	else if (p[0] >= 0xf0 && p[0] <= 0xf4)
		n = 4;
	else
		return 0;
	if (p[0] == 0xc2 || p[0] == 0xe0)
		second_min = 0xa0;	/* C1 controls; overlong */
	else if (p[0] == 0xf0)
		second_min = 0x90;	/* overlong */
	else if (p[0] == 0xed)
		second_max = 0x9f;	/* surrogates */
	else if (p[0] == 0xf4)
		second_max = 0x8f;	/* past U+10FFFF */
	if (len < n || p[1] < second_min || p[1] > second_max)
		return 0;
	for (size_t i = 2; i < n; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	return is_format_character(p, n) ? 0 : n;
}

/* Escape what stands at `p` into `unit` (at most 4 bytes, no NUL); *takenp is the input it stands for. */
static size_t escape_unit(char unit[4], const uint8_t *p, size_t len, size_t *takenp)
{
	static const char hex[] = "0123456789abcdef";
	size_t n = utf8_length(p, len);

	*takenp = n ? n : 1;
	if (n > 1 || (n == 1 && p[0] >= 0x20 && p[0] != 0x7f && p[0] != '\\')) {
		memcpy(unit, p, n);
		return n;
	}
	unit[0] = '\\';
	if (p[0] == '\\' || p[0] == '\n' || p[0] == '\t') {
		unit[1] = p[0] == '\n' ? 'n' : p[0] == '\t' ? 't' : '\\';
		return 2;
	}
	unit[1] = 'x';
	unit[2] = hex[p[0] >> 4];
	unit[3] = hex[p[0] & 15];
	return 4;
}

size_t escape_bytes(char *out, size_t size, const void *data, size_t len)
{
	const uint8_t *p = data;
	size_t all = 0, written = 0;
	bool fits = size > 0;

	while (len > 0) {
		char unit[4];
		size_t taken, n = escape_unit(unit, p, len, &taken);

		fits = fits && size - written > n;	/* one byte stays for the NUL */
		if (fits) {
			memcpy(out + written, unit, n);
			written += n;
		}
		all += n;
		p += taken;
		len -= taken;
	}
	if (size > 0)
		out[written] = '\0';
	return all;
}
