/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The C side of tests/system/python.sh: a visitor of the guest book, which is in Python. It hands over objects and
 * promises, is handed some, and sends to promises of the other's that are not settled yet.
 */
#include <capstan/vat.h>

#include <string.h>

typedef struct {
	vat_ref *book, *first;		/* the book; the first entry that it told us about */
	int64_t n_seen;
	char *last;			/* the last that was read in an entry, or why not */
	vat_ref *done, *name;		/* promises of ours, held by the process */
} visitor;

VAT_METHOD(visitor, bootstrap)
{
	vat_ref *book, *carol, *counter;
	if (vat_read(v, "{book:r,carol:r,counter:r}", &book, &carol, &counter))
		return -1;
	self->book = book;
	E(v, book, "follow", "r", vat_self(v));
	vat_ref *opened = E(v, book, "bootstrap", "{carol:r,counter:r}", carol, counter);
	vat_when(v, opened, self, "opened");
	self->done = vat_hold(v, vat_promise_new(v));
	return vat_return(v, "r", self->done);
}

VAT_METHOD(visitor, opened)
{
	vat_ref *book;
	vat_read(v, "r", &book);
	vat_resolve(v, self->done, "b", book == self->book);	/* the book answers with itself: the same reference */
	vat_release(v, self->done);
	self->done = NULL;
	return 0;
}

/*
 * Asks for the next entry and reads it before there is one; signs with a name that is settled only by a later message. Our
 * answer is what was read.
 */
VAT_METHOD(visitor, visit)
{
	const char *words;
	vat_read(v, "s", &words);
	vat_ref *read = E(v, E(v, self->book, "next", ""), "read", "");
	self->name = vat_hold(v, vat_promise_new(v));
	E(v, self->book, "sign", "rs", self->name, words);
	return vat_return(v, "r", read);
}

VAT_METHOD(visitor, name_is)
{
	const char *name;
	vat_read(v, "s", &name);
	vat_resolve(v, self->name, "s", name);
	vat_release(v, self->name);
	self->name = NULL;
	return 0;
}

/* The book tells its followers. */
VAT_METHOD(visitor, seen)
{
	vat_ref *entry;
	vat_read(v, "r", &entry);
	if (!self->n_seen++)
		self->first = entry;
	vat_ref *text = E(v, entry, "read", "");
	vat_when(v, text, self, "have_read");
	vat_catch(v, text, self, "could_not");
	return 0;
}

VAT_METHOD(visitor, have_read)
{
	const char *text;
	vat_read(v, "s", &text);
	vat_set_string(v, &self->last, text);
	return 0;
}

VAT_METHOD(visitor, could_not)
{
	const char *name, *message;
	vat_read(v, "e", &name, &message);
	vat_set_string(v, &self->last, message);
	return 0;
}

/* An entry is durable there, the reference here: both survive. */
VAT_METHOD(visitor, withdraw_first)
{
	return vat_return(v, "r", E(v, self->first, "withdraw", ""));
}

VAT_METHOD(visitor, forget_first)
{
	self->first = NULL;
	return 0;
}

VAT_METHOD(visitor, report)
{
	return vat_return(v, "{seen:i,last:s}", self->n_seen, self->last ? self->last : "");
}

/* What the book says to a message of any kind, as its answer. */
VAT_METHOD(visitor, ask)
{
	const char *method;
	vat_read(v, "s", &method);
	return vat_return(v, "r", E(v, self->book, method, ""));
}

static const vat_kind Visitor = { "Visitor", sizeof(visitor),
	VAT_STATE(VAT_REF(visitor, book), VAT_REF(visitor, first), VAT_I64(visitor, n_seen), VAT_STR(visitor, last)),
	VAT_METHODS({ "bootstrap", "{}?v", NULL, bootstrap },
		    { "visit", "s", NULL, visit },
		    { "nameIs", "s", NULL, name_is },
		    { "signed", "r", NULL, seen },
		    { "withdrawFirst", "", NULL, withdraw_first },
		    { "forgetFirst", "", NULL, forget_first },
		    { "report", "", NULL, report },
		    { "ask", "s", NULL, ask }),
	VAT_CONTINUATIONS({ "opened", "r", NULL, opened },
			  { "have_read", "s", NULL, have_read },
			  { "could_not", "e", NULL, could_not }) };
VAT_PROGRAM(&Visitor);
