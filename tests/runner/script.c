/* SPDX-License-Identifier: Apache-2.0 */
#include "script.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../lib/util.h"

/* --- reading ---------------------------------------------------------------------------------------------------------- */

static char *read_file(const char *path, size_t *lenp)
{
	_cleanup_(fclosep) FILE *f = fopen(path, "re");
	char *text = NULL;
	size_t size = 0;
	ssize_t n;

	if (!f)
		return NULL;
	n = getdelim(&text, &size, '\0', f);
	if (n < 0) {
		free(text);
		return NULL;
	}
	*lenp = n;
	return text;
}

static void append(char **where, const char *text)
{
	char *old = *where;

	if (asprintf(where, "%s%s%s", old ? old : "", old ? " " : "", text) < 0)
		abort();
	free(old);
}

static char *trim(char *s)
{
	char *end;

	while (*s == ' ' || *s == '\t')
		s++;
	end = s + strlen(s);
	while (end > s && isspace((unsigned char)end[-1]))
		*--end = '\0';
	return s;
}

/* `# word: rest`; NULL when it is another comment. */
static char *head_value(char *comment, const char *word)
{
	size_t n = strlen(word);

	return strncmp(comment, word, n) || comment[n] != ':' ? NULL : trim(comment + n + 1);
}

static const char *read_head(struct script *s, char *comment)
{
	char *v;

	if ((v = head_value(comment, "rules"))) {
		append(&s->rules, v);
	} else if ((v = head_value(comment, "modes"))) {
		s->serial = strstr(v, "serial");
		s->parallel = strstr(v, "parallel");
		if (!s->serial && !s->parallel)
			return "modes: expected serial or parallel (or both)";
	} else if ((v = head_value(comment, "store"))) {
		if (strcmp(v, "direct") && strcmp(v, "overlay"))
			return "store: expected direct or overlay";
		s->store = *v;
	} else if ((v = head_value(comment, "config"))) {
		append(&s->config, v);
	} else if ((v = head_value(comment, "leaves"))) {
		if (!strstr(v, " - "))
			return "leaves: expected tables, then \" - \" and the reason";
		append(&s->leaves, v);
	} else if (!s->title && *comment) {
		s->title = strdup(comment);
	}
	return NULL;
}

static struct script_step *add_step(struct script *s, unsigned line, const char *text)
{
	struct script_step *step;

	s->steps = realloc(s->steps, (s->n_steps + 1) * sizeof(*s->steps));
	step = &s->steps[s->n_steps++];
	*step = (struct script_step){ .line = line, .text = strdup(text), .table_line = line + 1 };
	return step;
}

static void add_row(struct script_step *step, unsigned line, const char *text)
{
	char *old = step->table;

	if (!old)
		step->table_line = line;
	step->table_lines++;
	if (asprintf(&step->table, "%s%s\n", old ? old : "", text) < 0)
		abort();
	free(old);
}

static const char *read_line(struct script *s, unsigned number, char *line)
{
	struct script_step *last = s->n_steps ? &s->steps[s->n_steps - 1] : NULL;

	line = trim(line);
	if (*line == '#')
		return read_head(s, trim(line + 1));
	if (*line == '|') {
		if (!last || (last->table ? last->table_line + last->table_lines : last->line + 1) != number)
			return "a table's line must follow the step that it belongs to";
		add_row(last, number, trim(line + 1));
		return NULL;
	}
	if (*line)
		add_step(s, number, line);
	return NULL;
}

bool script_load(struct script *s, const char *path, char *error, size_t size)
{
	_cleanup_free_ char *text = NULL;
	unsigned number = 0;
	char *line, *next;
	size_t len;

	*s = (struct script){ .path = strdup(path), .serial = true, .parallel = true };
	text = read_file(path, &len);
	if (!text) {
		snprintf(error, size, "%s: %s", path, strerror(errno));
		return false;
	}
	for (line = text; line; line = next) {
		const char *wrong;

		next = strchr(line, '\n');
		if (next)
			*next++ = '\0';
		wrong = read_line(s, ++number, line);
		if (wrong) {
			snprintf(error, size, "%s:%u: %s", path, number, wrong);
			return false;
		}
	}
	if (!s->title) {
		snprintf(error, size, "%s:1: the first line says, as a comment, what the situation is", path);
		return false;
	}
	return true;
}

void script_free(struct script *s)
{
	size_t i;

	for (i = 0; i < s->n_steps; i++) {
		free(s->steps[i].text);
		free(s->steps[i].table);
	}
	free(s->steps);
	free(s->path);
	free(s->title);
	free(s->rules);
	free(s->config);
	free(s->leaves);
	*s = (struct script){ 0 };
}

/* --- writing ---------------------------------------------------------------------------------------------------------- */

static void write_table(FILE *f, const char *rows, const char *indent, size_t n_indent)
{
	const char *end;

	for (; *rows; rows = end + 1) {
		end = strchr(rows, '\n');
		fprintf(f, "%.*s| %.*s\n", (int)n_indent, indent, (int)(end - rows), rows);
	}
}

bool script_rewrite(const struct script *s, char *const *tables)
{
	_cleanup_free_ char *text = NULL, *out = NULL;
	unsigned number = 0, skip = 0;
	size_t len, out_len, i = 0;
	char *line, *next;
	bool done;
	FILE *f;

	text = read_file(s->path, &len);
	f = text ? open_memstream(&out, &out_len) : NULL;
	if (!f)
		return false;
	for (line = text; *line; line = next) {
		next = strchr(line, '\n');
		next = next ? next + 1 : line + strlen(line);
		number++;
		if (skip) {
			skip--;
			continue;
		}
		fwrite(line, 1, next - line, f);
		while (i < s->n_steps && s->steps[i].line < number)
			i++;
		if (i == s->n_steps || s->steps[i].line != number || !tables[i])
			continue;
		if (next[-1] != '\n')
			fputc('\n', f);
		write_table(f, tables[i], line, strspn(line, " \t"));
		skip = s->steps[i].table_lines;
	}
	fclose(f);
	f = fopen(s->path, "we");
	done = f && fwrite(out, 1, out_len, f) == out_len;
	return f ? !fclose(f) && done : false;
}

/* --- macros ----------------------------------------------------------------------------------------------------------- */

/* {x*70000}: one character so often. */
static bool expand_times(FILE *f, const char *at, size_t len)
{
	char *end;
	long n;

	if (len < 3 || at[1] != '*')
		return false;
	n = strtol(at + 2, &end, 10);
	if (end != at + len || n < 0)
		return false;
	while (n-- > 0)
		fputc(at[0], f);
	return true;
}

/* {o+1..o+300}: the references between, spaces between them; {o+1..o+300|TEXT}: the text behind each. */
static bool expand_range(FILE *f, const char *at, size_t len)
{
	char prefix[16], again[16];
	unsigned long from, to;
	const char *behind;
	int n = 0;

	if (sscanf(at, "%15[a-z+-]%lu..%15[a-z+-]%lu%n", prefix, &from, again, &to, &n) != 4 || (size_t)n > len ||
	    ((size_t)n < len && at[n] != '|') || strcmp(prefix, again))
		return false;
	behind = (size_t)n < len ? at + n + 1 : at + len;
	for (; from <= to; from++)
		fprintf(f, "%s%lu%.*s%s", prefix, from, (int)(at + len - behind), behind, from < to ? " " : "");
	return true;
}

char *script_expand(const char *text)
{
	char *out = NULL;
	size_t len;
	FILE *f = open_memstream(&out, &len);

	while (*text) {
		const char *end = *text == '{' ? strchr(text, '}') : NULL;

		if (end && (expand_times(f, text + 1, end - text - 1) || expand_range(f, text + 1, end - text - 1)))
			text = end + 1;
		else
			fputc(*text++, f);
	}
	fclose(f);
	return out;
}
