/* SPDX-License-Identifier: Apache-2.0 */
/* Texts as JSON: see text_json.h. */
#include "text_json.h"

#include <ctype.h>

#include "../lib/util.h"

#define NUMBER_MAX	18u	/* characters: fits a json_int_t, and the digits of a double mean what they say */
#define COLUMNS_MAX	32u

struct piece { const char *s; size_t len; };

/* Takes the next line from `text`. */
static bool next_line(struct piece *text, struct piece *line)
{
	const char *end;

	if (!text->len)
		return false;
	end = memchr(text->s, '\n', text->len);
	*line = (struct piece){ text->s, end ? (size_t)(end - text->s) : text->len };
	text->s += line->len + (end != NULL);
	text->len -= line->len + (end != NULL);
	return true;
}

/* Takes the next word from `line`, and the blanks around it. */
static struct piece next_word(struct piece *line)
{
	struct piece word;

	while (line->len && *line->s == ' ')
		line->s++, line->len--;
	word = *line;
	while (line->len && *line->s != ' ')
		line->s++, line->len--;
	word.len -= line->len;
	while (line->len && *line->s == ' ')
		line->s++, line->len--;
	return word;
}

static json_t *string_of(struct piece p)
{
	json_t *json = json_stringn(p.s, p.len);
	char *safe;
	size_t size;

	if (json)
		return json;
	/* Not UTF-8: nothing that capstan-fs would send. */
	size = escape_bytes(NULL, 0, p.s, p.len) + 1;
	safe = malloc(size);
	if (safe) {
		escape_bytes(safe, size, p.s, p.len);
		json = json_string(safe);
	}
	free(safe);
	return json;
}

static size_t digits(struct piece p, size_t at)
{
	size_t n = 0;

	while (at + n < p.len && isdigit((unsigned char)p.s[at + n]))
		n++;
	return n;
}

/* -12 and 0.004, not 007, 1e3 or +1. *realp: it has a fraction. */
static bool is_number(struct piece p, bool *realp)
{
	size_t at = p.len && p.s[0] == '-', n = digits(p, at);

	*realp = false;
	if (!n || (n > 1 && p.s[at] == '0') || p.len > NUMBER_MAX)
		return false;
	at += n;
	if (at < p.len && p.s[at] == '.') {
		*realp = true;
		n = digits(p, at + 1);
		at += n ? n + 1 : 0;
	}
	return at == p.len;
}

static json_t *value_of(struct piece p)
{
	char buf[NUMBER_MAX + 1];
	bool real;

	if (!is_number(p, &real))
		return string_of(p);
	memcpy(buf, p.s, p.len);
	buf[p.len] = '\0';
	return real ? json_real(strtod(buf, NULL)) : json_integer(strtoll(buf, NULL, 10));
}

static json_t *cell_of(struct piece p)
{
	return !p.len || (p.len == 1 && *p.s == '-') ? json_null() : value_of(p);
}

static bool is_cut(struct piece line)
{
	static const char mark[] = "[cut: ";

	return line.len > strlen(mark) && !memcmp(line.s, mark, strlen(mark));
}

/* What a line becomes; NULL: no memory. */
typedef json_t *(*line_fn)(struct piece line, void *ctx);

static json_t *each_line(struct piece text, line_fn make, void *ctx)
{
	json_t *list = json_array();
	struct piece line;

	while (list && next_line(&text, &line)) {
		if (is_cut(line) || !json_array_append_new(list, make(line, ctx)))
			continue;
		json_decref(list);
		list = NULL;
	}
	return list;
}

static json_t *plain_line(struct piece line, void *ctx)
{
	(void)ctx;
	return value_of(line);
}

static json_t *logged_line(struct piece line, void *ctx)
{
	struct piece time = next_word(&line), incarnation = next_word(&line), level, rest;

	/* One blank before the text, which can begin with blanks of its own. */
	level = line;
	level.len = 0;
	while (level.len < line.len && line.s[level.len] != ' ')
		level.len++;
	rest = line;
	rest.s += level.len + (level.len < line.len);
	rest.len -= level.len + (level.len < line.len);
	(void)ctx;
	return json_pack("{s:o, s:o, s:o, s:o}", "time", string_of(time), "incarnation", value_of(incarnation), "level",
			 string_of(level), "text", string_of(rest));
}

/* A key that is there already gets an array of what it has. Takes the value. */
static int add_field(json_t *object, struct piece key, json_t *value)
{
	_cleanup_free_ char *name = strndup(key.s, key.len);
	json_t *old = name ? json_object_get(object, name) : NULL, *list;

	if (!name || !value) {
		json_decref(value);
		return -1;
	}
	if (!old)
		return json_object_set_new(object, name, value);
	if (json_is_array(old))
		return json_array_append_new(old, value);
	list = json_pack("[O, o]", old, value);
	return list ? json_object_set_new(object, name, list) : -1;
}

/* "KEY=VALUE KEY=VALUE", where the value of "why" is the rest of the line. */
static int add_pairs(json_t *event, struct piece line)
{
	while (line.len) {
		struct piece rest = line, word = next_word(&line), key = word;
		const char *equals = memchr(word.s, '=', word.len);

		if (!equals)
			return add_field(event, (struct piece){ "text", 4 }, string_of(rest));
		key.len = (size_t)(equals - word.s);
		if (key.len == 3 && !memcmp(key.s, "why", 3)) {
			word.len = rest.len;
			line.len = 0;
		}
		word.s += key.len + 1;
		word.len -= key.len + 1;
		if (add_field(event, key, cell_of(word)))
			return -1;
	}
	return 0;
}

static json_t *event_line(struct piece line, void *ctx)
{
	static const char lost[] = "[lost ";
	struct piece time, kind, vat;
	json_t *event;

	(void)ctx;
	if (line.len > strlen(lost) && !memcmp(line.s, lost, strlen(lost))) {
		line.s += strlen(lost);
		line.len -= strlen(lost);
		return json_pack("{s:o}", "lost", value_of(next_word(&line)));
	}
	time = next_word(&line);
	kind = next_word(&line);
	vat = next_word(&line);
	event = json_pack("{s:o, s:o, s:o}", "time", string_of(time), "kind", string_of(kind), "vat", cell_of(vat));
	if (event && !add_pairs(event, line))
		return event;
	json_decref(event);
	return NULL;
}

struct columns { char *names[COLUMNS_MAX]; size_t n; };

static bool read_columns(struct piece head, struct columns *c)
{
	while (head.len && c->n < COLUMNS_MAX) {
		struct piece word = next_word(&head);

		c->names[c->n] = strndup(word.s, word.len);
		if (!c->names[c->n])
			return false;
		c->n++;
	}
	return true;
}

/* The last cell is the rest of the line. */
static json_t *table_row(struct piece line, void *ctx)
{
	const struct columns *c = ctx;
	json_t *row = json_object();

	for (size_t i = 0; row && i < c->n; i++) {
		struct piece cell = i + 1 < c->n ? next_word(&line) : line;

		if (json_object_set_new(row, c->names[i], cell_of(cell))) {
			json_decref(row);
			row = NULL;
		}
	}
	return row;
}

static json_t *table_of(struct piece text)
{
	struct columns c = { 0 };
	struct piece head;
	json_t *list;

	if (!next_line(&text, &head))
		return json_array();
	list = read_columns(head, &c) ? each_line(text, table_row, &c) : NULL;
	for (size_t i = 0; i < c.n; i++)
		free(c.names[i]);
	return list;
}

static json_t *fields_of(struct piece text)
{
	struct piece all = text, line, key;
	json_t *object = json_object();

	while (object && next_line(&text, &line)) {
		const char *colon = memchr(line.s, ':', line.len);

		if (is_cut(line))
			continue;
		if (!colon && line.len + 1 >= all.len) {	/* "none": all there is to say */
			json_decref(object);
			return value_of(line);
		}
		key = (struct piece){ line.s, colon ? (size_t)(colon - line.s) : 0 };
		line.s += key.len + (colon != NULL);
		line.len -= key.len + (colon != NULL);
		if (colon && line.len && *line.s == ' ')
			line.s++, line.len--;
		if (add_field(object, key, value_of(line))) {
			json_decref(object);
			object = NULL;
		}
	}
	return object;
}

json_t *text_to_json(const char *format, const char *text, size_t len)
{
	struct piece all = { text, len }, line = all;
	json_t *json = NULL;

	if (!strcmp(format, "fields"))
		return fields_of(all);
	if (!strcmp(format, "table"))
		return table_of(all);
	if (!strcmp(format, "list"))
		return each_line(all, plain_line, NULL);
	if (!strcmp(format, "events") || !strcmp(format, "stream"))
		return each_line(all, event_line, NULL);
	if (!strcmp(format, "log"))
		return each_line(all, logged_line, NULL);
	if (!strcmp(format, "json"))
		json = json_loadb(text, len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
	if (json)
		return json;
	if (len && text[len - 1] == '\n')
		line.len--;
	return value_of(line);
}
