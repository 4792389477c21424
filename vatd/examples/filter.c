/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A filter between two streams: of the lines that it reads it writes those with a word in them into a pipe. It asks
 * for the next line when the one before is taken at the other end.
 */
#include <string.h>

#include <capstan/vat.h>

typedef struct { vat_ref *writer; char *word; } filter;

VAT_METHOD(filter, begun)
{
	const char *word;
	vat_ref *source;
	vat_read(v, "rrs", &source, &self->writer, &word);
	vat_hold(v, self->writer);
	vat_set_string(v, &self->word, word);
	vat_stream_each(v, source, self, "line", "end", "failed");
	return 0;
}

VAT_METHOD(filter, line)
{
	const char *text;
	vat_read(v, "s", &text);
	return strstr(text, self->word) ? vat_return(v, "r", vat_stream_write(v, self->writer, "s", text)) : 0;
}

VAT_METHOD(filter, end)
{
	vat_stream_end(v, self->writer);
	return 0;
}

VAT_METHOD(filter, failed)
{
	const char *name, *message;
	vat_read(v, "e", &name, &message);
	vat_stream_fail(v, self->writer, name, "%s", message);
	return 0;
}

VAT_METHOD(filter, gone)
{
	if (self->writer)
		vat_release(v, self->writer);
	vat_set_string(v, &self->word, NULL);
	return 0;
}

static const vat_kind Filter = { "Filter", sizeof(filter), VAT_INIT(begun), VAT_FINI(gone),
	VAT_CONTINUATIONS({ "line", "s", NULL, line }, { "end", NULL, NULL, end }, { "failed", "e", NULL, failed }) };

typedef struct { char unused; } root;

VAT_METHOD(root, grep)
{
	const char *word;
	vat_ref *source, *writer, *reader = vat_pipe(v, &writer);
	vat_read(v, "rs", &source, &word);
	vat_new(v, &Filter, "rrs", source, writer, word);
	return vat_return(v, "r", reader);
}

static const vat_kind Root = { "Grep", sizeof(root), VAT_METHODS({ "grep", "rs", "r", grep }) };
VAT_PROGRAM(&Root);
