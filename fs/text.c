/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The text buffer. Memory grows by doubling up to `max` plus room for the closing line; nothing is ever allocated
 * from a length that a vat chose without that bound.
 */
#include "text.h"

#include <stdarg.h>

void text_deinit(struct text *t)
{
	free(t->data);
	*t = (struct text)TEXT_INIT(t->max);
}

void text_reset(struct text *t)
{
	t->len = 0;
	t->cut = t->late = t->failed = false;
}

static bool grow(struct text *t, size_t need)
{
	size_t size = t->size ? t->size : 256;
	char *data;

	while (size < need)
		size *= 2;
	if (size > t->max + TEXT_CUT_ROOM)
		size = t->max + TEXT_CUT_ROOM;
	data = realloc(t->data, size);
	if (!data) {
		t->failed = true;
		return false;
	}
	t->data = data;
	t->size = size;
	return true;
}

/* Room for `n` more bytes and a NUL; false once the text is cut or memory is out. */
static bool reserve(struct text *t, size_t n)
{
	if (t->cut || t->failed)
		return false;
	/* A table that was laid out can be longer than its bound. */
	if (t->len >= t->max || n >= t->max - t->len) {
		t->cut = true;
		return false;
	}
	return t->len + n < t->size || grow(t, t->len + n + 1);
}

void text_add(struct text *t, const char *data, size_t len)
{
	if (!len || !reserve(t, len))
		return;
	memcpy(t->data + t->len, data, len);
	t->len += len;
}

void text_str(struct text *t, const char *s)
{
	text_add(t, s, strlen(s));
}

void text_printf(struct text *t, const char *fmt, ...)
{
	char buf[256];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(buf, sizeof(buf), fmt, ap);
	va_end(ap);
	assert(n >= 0 && (size_t)n < sizeof(buf));
	text_add(t, buf, (size_t)n);
}

void text_escaped(struct text *t, const void *data, size_t len)
{
	char none[1];
	size_t need, room;

	if (!len || t->cut || t->failed)
		return;
	need = escape_bytes(none, sizeof(none), data, len);
	if (reserve(t, need)) {
		escape_bytes(t->data + t->len, need + 1, data, len);
		t->len += need;
		return;
	}
	/* Show as much of a value too large as fits; the closing line tells that there is more. */
	room = t->len < t->max ? t->max - t->len : 0;
	if (t->failed || room < 2 || !grow(t, t->len + room))
		return;
	t->data[t->len] = '\0';
	escape_bytes(t->data + t->len, room, data, len);
	t->len += strlen(t->data + t->len);
}

void text_last_cell(struct text *t, const void *data, size_t len)
{
	if (!len)
		text_str(t, "-");
	else if (len == 1 && *(const char *)data == '-')
		text_str(t, "\\x2d");
	else
		text_escaped(t, data, len);
}

void text_cell(struct text *t, const void *data, size_t len)
{
	size_t start = t->len, blanks = 0, end;

	text_last_cell(t, data, len);
	for (size_t i = start; i < t->len; i++)
		blanks += t->data[i] == ' ';
	if (!blanks || !reserve(t, blanks * 3))
		return;
	end = t->len;
	t->len += blanks * 3;
	for (size_t to = t->len; end > start && to > end; ) {
		if (t->data[--end] == ' ') {
			to -= 4;
			memcpy(t->data + to, "\\x20", 4);
		} else {
			t->data[--to] = t->data[end];
		}
	}
}

static uint64_t leap_days_before(uint64_t year)
{
	year--;
	return year / 4 - year / 100 + year / 400;
}

static uint64_t day_of_new_year(uint64_t year)
{
	return 365 * (year - 1970) + leap_days_before(year) - leap_days_before(1970);
}

void text_time(struct text *t, uint64_t realtime_us)
{
	uint64_t second = realtime_us / 1000000, day = second / 86400, year = 1970 + day / 365;
	static const unsigned char days_in[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	unsigned int month = 0, n;

	if (!realtime_us) {
		text_str(t, "never");
		return;
	}
	while (day_of_new_year(year) > day)	/* the guess is late by one year in 1460 */
		year--;
	for (day -= day_of_new_year(year); ; day -= n, month++) {
		bool leap = leap_days_before(year + 1) > leap_days_before(year);

		n = days_in[month] + (month == 1 && leap);
		if (day < n)
			break;
	}
	text_printf(t, "%04llu-%02u-%02uT%02u:%02u:%02u.%06uZ", (unsigned long long)year, month + 1,
		    (unsigned int)day + 1,
		    (unsigned int)(second / 3600 % 24), (unsigned int)(second / 60 % 60), (unsigned int)(second % 60),
		    (unsigned int)(realtime_us % 1000000));
}

/* Characters as a terminal counts them, near enough: UTF-8 continuation bytes are none. */
static size_t width_of(const char *s, size_t len)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++)
		n += ((unsigned char)s[i] & 0xc0) != 0x80;
	return n;
}

static void measure(const char *rows, size_t len, size_t width[TEXT_MAX_COLUMNS])
{
	size_t column = 0, from = 0;

	for (size_t i = 0; i < len; i++) {
		if (rows[i] == '\t') {
			size_t w = width_of(rows + from, i - from);

			assert(column < TEXT_MAX_COLUMNS);
			if (w > width[column] && w <= TEXT_MAX_WIDTH)
				width[column] = w;
			column++;
			from = i + 1;
		} else if (rows[i] == '\n') {
			column = 0;
			from = i + 1;
		}
	}
}

static size_t layout(char *out, const char *rows, size_t len, const size_t width[TEXT_MAX_COLUMNS], bool aligned)
{
	size_t column = 0, from = 0, n = 0;

	for (size_t i = 0; i < len; i++) {
		if (rows[i] != '\t') {
			if (out)
				out[n] = rows[i];
			n++;
			if (rows[i] == '\n') {
				column = 0;
				from = i + 1;
			}
			continue;
		}
		size_t w = width_of(rows + from, i - from);
		size_t pad = 2 + (aligned && w < width[column] ? width[column] - w : 0);

		if (out)
			memset(out + n, ' ', pad);
		n += pad;
		column++;
		from = i + 1;
	}
	return n;
}

void text_align(struct text *t, size_t start)
{
	size_t width[TEXT_MAX_COLUMNS] = { 0 }, rows_len, n;
	bool aligned = true;
	char *out;

	if (t->failed || t->len == start)
		return;
	if (t->cut)
		while (t->len > start && t->data[t->len - 1] != '\n')
			t->len--;
	rows_len = t->len - start;
	measure(t->data + start, rows_len, width);
	n = layout(NULL, t->data + start, rows_len, width, true);
	if (n > t->max - start) {	/* padding alone would break the bound */
		aligned = false;
		n = layout(NULL, t->data + start, rows_len, width, false);
	}
	out = malloc(start + n + TEXT_CUT_ROOM);
	if (!out) {
		t->failed = true;
		return;
	}
	memcpy(out, t->data, start);
	layout(out + start, t->data + start, rows_len, width, aligned);
	free(t->data);
	t->data = out;
	t->len = start + n;
	t->size = start + n + TEXT_CUT_ROOM;
}

void text_end(struct text *t)
{
	char line[TEXT_CUT_ROOM];
	size_t len;
	int n;

	if (t->failed || !t->cut)
		return;
	for (len = t->len; len && t->data[len - 1] != '\n'; )
		len--;
	/* One single line larger than everything keeps its beginning. */
	if (len)
		t->len = len;
	else if (t->len)
		t->data[t->len++] = '\n';
	n = t->late ? snprintf(line, sizeof(line), "[cut: there is more, and it would take too long]\n") :
		snprintf(line, sizeof(line), "[cut: there is more than %zu bytes]\n", t->max);
	assert(n > 0 && (size_t)n < sizeof(line));
	if (t->len + (size_t)n >= t->size) {
		char *data = realloc(t->data, t->len + (size_t)n + 1);

		if (!data) {
			t->failed = true;
			return;
		}
		t->data = data;
		t->size = t->len + (size_t)n + 1;
	}
	memcpy(t->data + t->len, line, (size_t)n);
	t->len += (size_t)n;
}

void text_shrink(struct text *t)
{
	char *data = realloc(t->data, t->len + 1);

	if (!data)
		return;		/* it stays as large as it was */
	t->data = data;
	t->size = t->len + 1;
}
