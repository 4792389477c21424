/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Watches for lines with a word in them, and stops when it has seen enough. It connects two streams that it never
 * looks into: the journal's, and the filter's that reads that one.
 */
#include <capstan/vat.h>

typedef struct { vat_ref *journal, *filter; int64_t seen, enough; char *last, *outcome; } watcher;

VAT_METHOD(watcher, start) { return vat_read(v, "rr", &self->journal, &self->filter); }

VAT_METHOD(watcher, watch)
{
	const char *word;
	vat_read(v, "si", &word, &self->enough);
	self->seen = 0;
	vat_set_string(v, &self->outcome, "watching");
	vat_ref *lines = E(v, self->filter, "grep", "rs", E(v, self->journal, "read", ""), word);
	vat_stream_each(v, lines, self, "line", "end", "failed");
	return 0;
}

/* A failure stops the stream, here and at its source. */
VAT_METHOD(watcher, line)
{
	const char *text;
	vat_read(v, "s", &text);
	vat_set_string(v, &self->last, text);
	return ++self->seen < self->enough ? 0 : vat_fail(v, "Error", "enough");
}

VAT_METHOD(watcher, end)
{
	vat_set_string(v, &self->outcome, "all read");
	return 0;
}

VAT_METHOD(watcher, failed)
{
	const char *name, *message;
	vat_read(v, "e", &name, &message);
	vat_set_string(v, &self->outcome, message);
	return 0;
}

VAT_METHOD(watcher, report)
{
	return vat_return(v, "{seen:i,last:s,outcome:s}", self->seen, self->last ? self->last : "",
			  self->outcome ? self->outcome : "");
}

static const vat_kind Watcher = { "Watcher", sizeof(watcher),
	VAT_STATE(VAT_REF(watcher, journal), VAT_REF(watcher, filter), VAT_I64(watcher, seen), VAT_I64(watcher, enough),
		  VAT_STR(watcher, last), VAT_STR(watcher, outcome)),
	VAT_METHODS({ "start", "rr", NULL, start }, { "watch", "si", NULL, watch }, { "report", "", NULL, report }),
	VAT_CONTINUATIONS({ "line", "s", NULL, line }, { "end", NULL, NULL, end }, { "failed", "e", NULL, failed }) };
VAT_PROGRAM(&Watcher);
