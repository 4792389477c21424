/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A journal: lines are written into it, and read from it as a stream. A line is fetched when somebody asks for it, so
 * a reader who stops early, or a journal longer than the memory, costs nothing.
 */
#include <capstan/vat.h>

typedef struct { vat_ref *lines; int64_t n, fetched; } journal;		/* a map: number, line */
typedef struct { vat_ref *journal; int64_t next; } reading;
static const vat_kind Journal;

VAT_METHOD(reading, begun) { return vat_read(v, "r", &self->journal); }

VAT_METHOD(reading, line)
{
	journal *j = vat_state(v, self->journal, &Journal);
	vat_value *text;
	if (self->next == j->n)
		return vat_stream_done(v, "i", j->n);
	vat_map_get(v, j->lines, "i", "v", self->next++, &text);
	j->fetched++;
	return vat_return(v, "v", text);
}

static const vat_kind Reading = { "Reading", sizeof(reading), VAT_INIT(begun),
	VAT_STATE(VAT_REF(reading, journal), VAT_I64(reading, next)), VAT_CONTINUATIONS({ "line", NULL, NULL, line }) };

VAT_METHOD(journal, bootstrap)
{
	vat_ref *filter, *watcher;
	vat_read(v, "{filter:r,watcher:r}", &filter, &watcher);
	self->lines = vat_map_new(v, "lines", VAT_DURABLE_COLLECTION);
	vat_tell(v, watcher, "start", "rr", vat_self(v), filter);
	return vat_return(v, "{journal:r,watcher:r}", vat_self(v), watcher);
}

VAT_METHOD(journal, put)
{
	const char *text;
	vat_read(v, "s", &text);
	return vat_map_set(v, self->lines, "i", "s", self->n++, text);
}

VAT_METHOD(journal, open)
{
	reading *r = vat_state(v, vat_new(v, &Reading, "r", vat_self(v)), &Reading);
	return vat_return(v, "r", vat_producer(v, r, "line", NULL));
}

VAT_METHOD(journal, fetched) { return vat_return(v, "i", self->fetched); }

static const vat_kind Journal = { "Journal", sizeof(journal),
	VAT_STATE(VAT_REF(journal, lines), VAT_I64(journal, n), VAT_I64(journal, fetched)),
	VAT_METHODS({ "bootstrap", "{filter:r,watcher:r}?v", NULL, bootstrap }, { "log", "s", NULL, put },
		    { "read", "", "r", open }, { "fetched", "", "i", fetched }) };
VAT_PROGRAM(&Journal, &Reading);
