/* SPDX-License-Identifier: Apache-2.0 */
#include "words.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "../../lib/util.h"

#define LIST_MAX	12000u	/* a little beyond the protocol's maximum, which is a test of its own */

/* --- words to frames -------------------------------------------------------------------------------------------------- */

/* A cursor over the words of one frame, and the first thing that was wrong with them. */
struct words { char *at; char *error; };

static void complain(struct words *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void complain(struct words *w, const char *fmt, ...)
{
	va_list ap;

	if (w->error[0])
		return;
	va_start(ap, fmt);
	vsnprintf(w->error, WORDS_ERROR_MAX, fmt, ap);
	va_end(ap);
}

static char *word(struct words *w)
{
	char *start = w->at;

	while (*start == ' ')
		start++;
	if (!*start)
		return NULL;
	if (*start == '\'') {
		w->at = ++start;
		w->at += strcspn(start, "'");
	} else {
		w->at = start + strcspn(start, " ");
	}
	if (*w->at)
		*w->at++ = '\0';
	return start;
}

static char *need(struct words *w, const char *what)
{
	static char none[1];
	char *s = word(w);

	if (s)
		return s;
	complain(w, "it ends where %s is expected", what);
	return none;
}

static uint64_t ref(struct words *w, const char *text)
{
	vref_t v = VREF_NONE;

	if (!vref_parse(text, strlen(text), &v))
		complain(w, "\"%.60s\" is no reference (as in o-1, p+5)", text);
	return v.bits;
}

static size_t refs(struct words *w, uint64_t *out)
{
	size_t n = 0;
	char *s;

	while ((s = word(w))) {
		if (n == LIST_MAX) {
			complain(w, "more than %u references", LIST_MAX);
			break;
		}
		out[n++] = ref(w, s);
	}
	return n;
}

static size_t slots(struct words *w, uint64_t *out)
{
	char *end = NULL, *rest;
	size_t n;

	while (*w->at == ' ')
		w->at++;
	if (*w->at == '[')
		end = strchr(w->at, ']');
	if (!end) {
		complain(w, "slots in brackets are expected at \"%.60s\"", w->at);
		return 0;
	}
	*end = '\0';
	rest = end + 1;
	w->at++;
	n = refs(w, out);
	w->at = rest;
	return n;
}

static void put_refs(struct wire_buf *b, struct words *w)
{
	static uint64_t list[LIST_MAX];
	size_t n = refs(w, list), i;

	wire_u32(b, n);
	wire_u32(b, 0);
	for (i = 0; i < n; i++)
		wire_u64(b, list[i]);
}

static uint32_t kind_flags(struct words *w, const char *kind)
{
	static const struct { const char *name; uint32_t flags; } kinds[] = {
		{ "data", 0 }, { "ref", WIRE_R_REF }, { "rej", WIRE_R_REJECTED },
		{ "krej", WIRE_R_REJECTED | WIRE_R_KERNEL },
	};
	size_t i;

	for (i = 0; i < ARRAY_LEN(kinds); i++)
		if (!strcmp(kind, kinds[i].name))
			return kinds[i].flags;
	complain(w, "\"%.60s\" is no outcome: data, ref, rej or krej", kind);
	return 0;
}

static void put_resolutions(struct wire_buf *b, struct words *w)
{
	static uint64_t list[LIST_MAX];
	size_t at = b->len;
	uint32_t n = 0;
	char *p;

	wire_u32(b, 0);
	wire_u32(b, 0);
	while (!w->error[0] && (p = word(w))) {
		uint64_t promise = ref(w, p);
		uint32_t flags = kind_flags(w, need(w, "an outcome (data, ref, rej)"));
		char *body = need(w, "a body");
		size_t n_slots = slots(w, list);

		wire_put_resolution(b, (vref_t){ promise }, flags, body, strlen(body), list, n_slots);
		n++;
		while (*w->at == ' ')
			w->at++;
		if (*w->at == ';')
			w->at++;
	}
	if (!b->error)
		memcpy(b->data + at, &n, 4);
}

static void put_send(struct wire_buf *b, struct words *w)
{
	static uint64_t list[LIST_MAX];
	uint64_t target = ref(w, need(w, "a target"));
	char *body = need(w, "a body"), *result;
	size_t n = slots(w, list);

	result = need(w, "a result promise or -");
	wire_u64(b, target);
	wire_u64(b, strcmp(result, "-") ? ref(w, result) : 0);
	wire_put_capdata(b, body, strlen(body), list, n);
}

static void put_exit(struct wire_buf *b, struct words *w)
{
	static uint64_t list[LIST_MAX];
	char *body = need(w, "a body");
	size_t n = slots(w, list);

	wire_put_capdata(b, body, strlen(body), list, n);
}

static void put_text(struct wire_buf *b, const char *text)
{
	wire_put_bytes(b, text, text ? strlen(text) : 0);
}

static void put_raw(struct wire_buf *b, const void *data, size_t len)
{
	const uint8_t *p = data;
	size_t i;

	/* wire_buf has no call for single bytes: they go in as a word that is cut again. */
	for (i = 0; i < len && !b->error; i++) {
		wire_u32(b, p[i]);
		b->len -= 3;
	}
}

static void put_hex(struct wire_buf *b, struct words *w, const char *text)
{
	size_t i, len = strlen(text);
	unsigned byte;

	if (len % 2 || strspn(text, "0123456789abcdefABCDEF") != len)
		complain(w, "\"%.60s\" is no field: hexadecimal bytes, u32:N, u64:N, ref:…, text:…, bytes:…", text);
	for (i = 0; !w->error[0] && i < len; i += 2) {
		uint8_t b8;

		sscanf(text + i, "%2x", &byte);
		b8 = byte;
		put_raw(b, &b8, 1);
	}
}

static void put_fields(struct wire_buf *b, struct words *w)
{
	char *s;

	while (!w->error[0] && (s = word(w))) {
		uint64_t n;

		if (!strncmp(s, "u32:", 4)) {
			wire_u32(b, strtoul(s + 4, NULL, 0));
		} else if (!strncmp(s, "u64:", 4) || !strncmp(s, "ref:", 4)) {
			n = s[0] == 'u' ? strtoull(s + 4, NULL, 0) : ref(w, s + 4);
			put_raw(b, &n, 8);
		} else if (!strncmp(s, "text:", 5)) {
			put_raw(b, s + 5, strlen(s + 5));
		} else if (!strncmp(s, "bytes:", 6)) {
			put_text(b, s + 6);
		} else {
			put_hex(b, w, s);
		}
	}
}

static void put_frame(struct wire_buf *b, struct words *w, uint64_t delivery)
{
	char *name = need(w, "a frame type");
	unsigned long type = strtoul(name, NULL, 0), flags = strtoul(need(w, "flags"), NULL, 0), i;

	for (i = 1; !type && i < 0x100; i++)
		if (!strcmp(wire_type_name((enum wire_type)i), name))
			type = i;
	if (!type)
		complain(w, "there is no frame type \"%.60s\"", name);
	wire_begin(b, (enum wire_type)type, flags, delivery);
	put_fields(b, w);
	wire_end(b);
}

static const struct { const char *name; enum wire_type type; } names[] = {
	{ "send", WIRE_SEND }, { "subscribe", WIRE_SUBSCRIBE }, { "resolve", WIRE_RESOLVE }, { "exit", WIRE_EXIT },
	{ "drop", WIRE_DROP_IMPORTS }, { "retimp", WIRE_RETIRE_IMPORTS_SYS }, { "retexp", WIRE_RETIRE_EXPORTS_SYS },
	{ "abandon", WIRE_ABANDON_EXPORTS }, { "set", WIRE_VATSTORE_SET }, { "del", WIRE_VATSTORE_DELETE },
	{ "get", WIRE_VATSTORE_GET }, { "next", WIRE_VATSTORE_GET_NEXT_KEY }, { "clist", WIRE_CLIST_GET_NEXT },
	{ "done", WIRE_DONE }, { "error", WIRE_DONE }, { "wakeme", WIRE_WAKE_ME }, { "log", WIRE_LOG },
	{ "hello", WIRE_HELLO }, { "pong", WIRE_PONG }, { "frame", WIRE_PART }, { "raw", WIRE_PART },
};

static size_t find_name(const char *text)
{
	size_t len = strcspn(text, " ;"), i;

	for (i = 0; i < ARRAY_LEN(names); i++)
		if (strlen(names[i].name) == len && !memcmp(text, names[i].name, len))
			break;
	return i;
}

bool words_is_syscall(const char *text) { return find_name(text) < ARRAY_LEN(names); }

static void put_body(struct wire_buf *b, enum wire_type type, bool error, struct words *w)
{
	char *s;

	switch (type) {
	case WIRE_SEND:
		put_send(b, w);
		break;
	case WIRE_SUBSCRIBE:
		wire_u64(b, ref(w, need(w, "a promise")));
		break;
	case WIRE_RESOLVE:
		put_resolutions(b, w);
		break;
	case WIRE_EXIT:
		put_exit(b, w);
		break;
	case WIRE_VATSTORE_SET:
		put_text(b, need(w, "a key"));
		put_text(b, word(w));
		break;
	case WIRE_VATSTORE_DELETE:
	case WIRE_VATSTORE_GET:
		put_text(b, need(w, "a key"));
		break;
	case WIRE_VATSTORE_GET_NEXT_KEY:
		put_text(b, word(w));
		break;
	case WIRE_CLIST_GET_NEXT:
		s = word(w);
		wire_u64(b, s ? ref(w, s) : VREF_NONE.bits);
		break;
	case WIRE_DONE:
		put_text(b, error ? w->at : NULL);
		break;
	case WIRE_LOG:
		wire_u32(b, 1);
		wire_u32(b, 0);
		put_text(b, w->at);
		break;
	case WIRE_HELLO:
		wire_u32(b, atoi(need(w, "a version")));
		s = word(w);
		wire_u32(b, s ? atoi(s) : 1);
		break;
	case WIRE_PONG:
		wire_u64(b, strtoull(need(w, "a token"), NULL, 0));
		break;
	case WIRE_WAKE_ME:
		break;
	default:
		put_refs(b, w);
	}
}

bool words_encode(struct wire_buf *b, uint64_t delivery, const char *text, char error[WORDS_ERROR_MAX])
{
	_cleanup_free_ char *copy = strdup(text);
	struct words w = { .at = copy, .error = error };
	uint16_t flags = 0;
	enum wire_type type;
	bool is_error;
	size_t i;

	error[0] = '\0';
	i = copy ? find_name(copy) : ARRAY_LEN(names);
	if (i == ARRAY_LEN(names)) {
		complain(&w, "there is no syscall \"%.60s\"", text);
		return false;
	}
	word(&w);
	type = names[i].type;
	is_error = !strcmp(names[i].name, "error");
	if (!strcmp(names[i].name, "frame")) {
		put_frame(b, &w, delivery);
	} else if (!strcmp(names[i].name, "raw")) {
		put_fields(b, &w);
	} else {
		if (type == WIRE_EXIT)
			flags = !strcmp(need(&w, "ok or fail"), "fail") ? WIRE_F_FAILURE : 0;
		if (is_error)
			flags = WIRE_F_ERROR;
		wire_begin(b, type, flags, type >= WIRE_HELLO ? 0 : delivery);
		put_body(b, type, is_error, &w);
		wire_end(b);
	}
	if (b->error)
		complain(&w, "it does not fit a frame: %s", strerror(b->error));
	return !error[0];
}

/* --- frames to words -------------------------------------------------------------------------------------------------- */

static void print_ref(FILE *f, vref_t v)
{
	char text[REF_TEXT_MAX];

	fputs(vref_is_none(v) ? "-" : vref_format(v, text), f);
}

static void print_capdata(FILE *f, const struct wire_capdata *c)
{
	uint32_t i;

	fprintf(f, "%.*s [", (int)c->body.len, (const char *)c->body.data);
	for (i = 0; i < c->n_slots; i++) {
		fputs(i ? " " : "", f);
		print_ref(f, wire_slot(c, i));
	}
	fputs("]", f);
}

static const char *kind_text(uint32_t flags)
{
	if (flags & WIRE_R_REJECTED)
		return flags & WIRE_R_KERNEL ? "krej" : "rej";
	return flags & WIRE_R_REF ? "ref" : "data";
}

static void print_resolutions(FILE *f, const struct wire_frame *fr)
{
	const uint8_t *pos = fr->list.first;
	struct wire_resolution res;
	uint32_t i;

	for (i = 0; i < fr->list.count; i++) {
		pos = wire_next_resolution(pos, &res);
		fputs(i ? "; " : " ", f);
		print_ref(f, res.promise);
		fprintf(f, " %s ", kind_text(res.flags));
		print_capdata(f, &res.value);
	}
}

static void print_store_value(FILE *f, const struct wire_frame *fr)
{
	fprintf(f, " %s ", fr->flags & WIRE_F_REACHABLE ? "reachable" : fr->flags & WIRE_F_FOUND ? "found" : "none");
	print_ref(f, fr->store.ref);
	fprintf(f, " '%.*s' '%.*s'", (int)fr->store.key.len, (const char *)fr->store.key.data, (int)fr->store.value.len,
		(const char *)fr->store.value.data);
}

void words_print(FILE *f, const struct wire_frame *fr)
{
	uint32_t i;

	fprintf(f, "%s", wire_type_name(fr->type));
	switch (fr->type) {
	case WIRE_START_VAT:
		fputs(" ", f);
		print_capdata(f, &fr->capdata);
		break;
	case WIRE_MESSAGE:
		fputs(" ", f);
		print_ref(f, fr->message.target);
		fputs(" ", f);
		print_capdata(f, &fr->message.methargs);
		fputs(" ", f);
		print_ref(f, fr->message.result);
		break;
	case WIRE_NOTIFY:
		print_resolutions(f, fr);
		break;
	case WIRE_DROP_EXPORTS:
	case WIRE_RETIRE_EXPORTS:
	case WIRE_RETIRE_IMPORTS:
		for (i = 0; i < fr->list.count; i++) {
			fputs(" ", f);
			print_ref(f, wire_ref(fr, i));
		}
		break;
	case WIRE_STORE_VALUE:
		print_store_value(f, fr);
		break;
	default:
		break;
	}
}
