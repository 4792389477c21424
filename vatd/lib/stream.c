/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Streams: objects with next, return and throw, each answering {value, done}. A pipe's two ends meet here call by
 * call: the n-th next() of one end and the n-th of the other answer each other, so whoever comes first waits, and
 * only one end waits at a time.
 */
#include "internal.h"

#define MAX_WAITING	1000u		/* calls at one end that the other has not taken */
#define MAX_BYTES	(32u << 20)	/* of their values */
#define REPEATED	16384u		/* bytes of a reason that all of them are told, and its references */
#define REPEATED_SLOTS	16u

static const char undefined_text[] = "\"#undefined\"";
static const struct vat_value undefined = { undefined_text, undefined_text + sizeof(undefined_text) - 1, NULL, 0 };

/* {value, done} as smallcaps writes it: members in order of their names. */
static void put_record(vat *v, struct encoder *e, const struct vat_value *value, bool done)
{
	if (done)
		jtext_put(&e->text, "{\"done\":true,\"value\":", 21);
	else
		jtext_put(&e->text, "{\"done\":false,\"value\":", 22);
	encode_value(v, e, value);
	jtext_char(&e->text, '}');
}

static int return_record(vat *v, const struct vat_value *value, bool done)
{
	return vat_return(v, "{done:b,value:v}", (int)done, value);
}

/* --- pipes ---------------------------------------------------------------------------------------- */

enum side { READER, WRITER };
enum op { NEXT, RETURN, THROW };

struct waiting {			/* a call that the other end has not taken */
	struct waiting *next;
	enum op op;
	vat_ref *answer;		/* held; NULL: nobody asked */
	struct settled *value;
};

struct pipe {
	unsigned n_ends;
	bool ended;			/* the writer has said its last; it may still wait */
	bool done;			/* both have heard the end */
	enum side side;			/* who waits */
	struct waiting *first, **tail;
	size_t n, bytes;
	struct settled *last;		/* what the reader left for the writer's next call; NULL: nothing */
	bool last_is_reason, overflowed;
};

typedef struct { struct pipe *pipe; enum side side; } stream_end;

static void wait_in_line(vat *v, struct pipe *p, enum side side, enum op op, vat_ref *answer, const struct vat_value *value)
{
	struct waiting *w = vat_alloc(v, sizeof(*w));
	*w = (struct waiting){ NULL, op, answer, settled_new(v, value) };
	if (answer)
		ref_hold(answer);
	p->side = side;
	*p->tail = w;
	p->tail = &w->next;
	p->n++;
	p->bytes += w->value->text_len;
}

static struct waiting *take_waiting(struct pipe *p)
{
	struct waiting *w = p->first;
	if (!w)
		return NULL;
	p->first = w->next;
	if (!p->first)
		p->tail = &p->first;
	p->n--;
	p->bytes -= w->value->text_len;
	return w;
}

static void waiting_done_with(vat *v, struct waiting *w)
{
	if (w->answer)
		ref_unhold(v, w->answer);
	settled_free(v, w->value);
	free(w);
}

/* Answer a call that waited: {value, done}, or a rejection with the value. */
static void answer_waiting(vat *v, struct waiting *w, bool rejected, const struct vat_value *value, bool done)
{
	if (w->answer && w->answer->state == UNRESOLVED) {
		struct encoder *e = encoder_begin(v);
		e->named = true;
		if (rejected)
			encode_value(v, e, value);
		else
			put_record(v, e, value, done);
		promise_must_fit(v, &rejected, e);
		promise_settle_own(v, w->answer, rejected, e);
		encoder_end(v, e);
	}
	waiting_done_with(v, w);
}

/* A reason may be as long as a message can be, and a thousand such are more than a crank may say. */
static bool is_repeatable(const struct vat_value *reason)
{
	return (size_t)(jtext_skip(reason->at, reason->end) - reason->at) <= REPEATED && reason->n_slots <= REPEATED_SLOTS;
}

/* Both ends are done: those that wait hear it, the first of them (all, when it is a reason for a writer) with the value. */
static void finish(vat *v, struct pipe *p, bool is_reason, const struct vat_value *value)
{
	static const char text[] = "{\"#error\":\"the stream's reader ended it, with a reason too long to repeat\",\"name\":\"Error\"}";
	static const struct vat_value ended = { text, text + sizeof(text) - 1, NULL, 0 };
	const struct vat_value *repeated = is_repeatable(value) ? value : &ended;
	bool first = true;
	p->done = true;
	for (struct waiting *w; (w = take_waiting(p)); first = false) {
		bool rejected = is_reason && w->op == NEXT && (first || p->side == WRITER);
		answer_waiting(v, w, rejected, first && (rejected || !is_reason) ? value : rejected ? repeated : &undefined, true);
	}
}

/* A reader ends: a writer that does not wait hears of it at its next call. */
static void reader_ends(vat *v, struct pipe *p, bool is_reason, const struct vat_value *value)
{
	bool told = p->first && p->side == WRITER;
	if (!told && p->first)
		value = &undefined;	/* they are its own calls */
	if (!told && !p->first && !p->ended) {
		p->last = settled_new(v, value);
		p->last_is_reason = is_reason;
	}
	finish(v, p, told && is_reason, value);
}

/* The writer's last call, `answer` NULL: nobody asked. True: it waits behind what the reader has not taken. */
static bool writer_ends(vat *v, struct pipe *p, enum op op, const struct vat_value *value, vat_ref *answer)
{
	p->ended = true;
	if (p->first && p->side == READER) {
		finish(v, p, op == THROW, value);
		return false;
	}
	wait_in_line(v, p, WRITER, op, answer, value);
	return true;
}

/* An end that calls after the end. */
static int answer_done(vat *v, stream_end *self, enum op op, const struct vat_value *value)
{
	struct pipe *p = self->pipe;
	struct settled *last = self->side == WRITER ? p->last : NULL;
	int r;
	if (op != NEXT || !last)
		return return_record(v, op == RETURN ? value : &undefined, true);
	struct vat_value left = settled_view(last);
	r = p->last_is_reason ? vat_throw(v, "v", &left) : return_record(v, &left, true);
	p->last = NULL;
	settled_free(v, last);
	return r;
}

static int wait_for_other(vat *v, stream_end *self, enum op op, const struct vat_value *value)
{
	struct pipe *p = self->pipe;
	vat_ref *answer;
	if (op == NEXT && (p->n >= MAX_WAITING || p->bytes > MAX_BYTES)) {
		if (!p->overflowed)	/* who does not look at the answers would never know that values are lost */
			vat_warn(v, "a stream refuses calls of next(): %zu wait at one end of it already", p->n);
		p->overflowed = true;
		return vat_fail(v, "RangeError", "%zu calls of next() wait at this end of the stream already; wait for their answers",
				p->n);
	}
	answer = vat_promise_new(v);
	if (op == NEXT)
		wait_in_line(v, p, self->side, op, answer, value);
	else if (!writer_ends(v, p, op, value, answer))
		return return_record(v, op == RETURN ? value : &undefined, true);
	return vat_return(v, "r", answer);
}

/* next() meets the first call that waits at the other end. */
static int meet(vat *v, struct pipe *p, const struct vat_value *value)
{
	struct waiting *w = take_waiting(p);
	struct vat_value theirs = settled_view(w->value);
	enum op op = w->op;
	int r = op == THROW ? vat_throw(v, "v", &theirs) : return_record(v, &theirs, op == RETURN);
	if (op != NEXT)
		p->done = true;
	answer_waiting(v, w, false, op == NEXT ? value : op == RETURN ? &theirs : &undefined, op != NEXT);
	return r;
}

static int end_call(vat *v, stream_end *self, enum op op)
{
	struct pipe *p = self->pipe;
	struct vat_value none = undefined;
	vat_value *value = &none;

	if (vat_read(v, "?v", &value) < 0)
		return -1;
	if (p->done || (self->side == WRITER && p->ended))
		return answer_done(v, self, op, value);
	if (op != NEXT && self->side == READER) {
		reader_ends(v, p, op == THROW, value);
		return return_record(v, op == RETURN ? value : &undefined, true);
	}
	if (op == NEXT && p->first && p->side != self->side)
		return meet(v, p, value);
	return wait_for_other(v, self, op, value);
}

static void pipe_free(vat *v, struct pipe *p)
{
	for (struct waiting *w; (w = take_waiting(p));)
		waiting_done_with(v, w);
	settled_free(v, p->last);
	free(p);
}

/* Nobody can call at this end any more. */
VAT_METHOD(stream_end, end_gone)
{
	static const char text[] = "{\"#error\":\"the stream's writer is gone and has not ended it\",\"name\":\"Error\"}";
	static const struct vat_value gone = { text, text + sizeof(text) - 1, NULL, 0 };
	struct pipe *p = self->pipe;
	if (!p)
		return 0;
	self->pipe = NULL;
	if (--p->n_ends == 0)
		pipe_free(v, p);
	else if (p->done || v->gone)
		;
	else if (self->side == READER)
		reader_ends(v, p, false, &undefined);
	else if (!p->ended)
		writer_ends(v, p, THROW, &gone, NULL);
	return 0;
}

VAT_METHOD(stream_end, end_next) { return end_call(v, self, NEXT); }
VAT_METHOD(stream_end, end_return) { return end_call(v, self, RETURN); }
VAT_METHOD(stream_end, end_throw) { return end_call(v, self, THROW); }

#define END_METHODS	VAT_METHODS({ "next", NULL, NULL, end_next }, { "return", NULL, NULL, end_return }, \
				    { "throw", NULL, NULL, end_throw })
static const vat_kind Reader = { "Reader", sizeof(stream_end), END_METHODS, VAT_FINI(end_gone) };
static const vat_kind Writer = { "Writer", sizeof(stream_end), END_METHODS, VAT_FINI(end_gone) };

vat_ref *vat_pipe(vat *v, vat_ref **writerp)
{
	vat_ref *reader = vat_new(v, &Reader, ""), *writer = vat_new(v, &Writer, "");
	stream_end *r = vat_state(v, reader, &Reader), *w = vat_state(v, writer, &Writer);
	struct pipe *p = vat_alloc(v, sizeof(*p));
	p->tail = &p->first;
	p->n_ends = 2;
	*r = (stream_end){ p, READER };
	*w = (stream_end){ p, WRITER };
	*writerp = writer;
	return reader;
}

/* --- writing -------------------------------------------------------------------------------------- */

vat_ref *vat_stream_write(vat *v, vat_ref *writer, const char *signature, ...)
{
	va_list ap;
	va_start(ap, signature);
	vat_ref *answer = send_vcall(v, writer, "next", *signature ? signature : "u", &ap);
	va_end(ap);
	return answer;
}

vat_ref *vat_stream_end(vat *v, vat_ref *writer)
{
	return vat_call(v, writer, "return", "u");
}

vat_ref *vat_stream_fail(vat *v, vat_ref *writer, const char *name, const char *fmt, ...)
{
	char *text = NULL;
	va_list ap;
	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		vat_die(v, "memory ran out");
	va_end(ap);
	const char *message = arena_printf(v, "%s", text);	/* sending may die, and what it holds is freed only then */
	free(text);
	return vat_call(v, writer, "throw", "e", name, message);
}

/* --- loops and producers: a target object and names of its continuations ---------------------------- */

/*
 * Either kind comes twice: durable, for a durable target, and ephemeral; then what it names is held here. `here`: a
 * reader that ends with this process, for a durable loop; the loop is held then, so that it stays in memory.
 */
typedef struct { vat_ref *reader, *target, *here; char *item, *end, *failed; } each;
typedef struct { vat_ref *target; bool done; char *produce, *stopped; } producer;

static bool lasts(const struct object *o)
{
	return kind_is_durable(o->kind);
}

/* Run a continuation of the target. True: fulfilled; else the answer is the reason. */
static bool call_target(vat *v, vat_ref *target, const char *name, const struct vat_value *arg, struct encoder *answer)
{
	struct object *o = target ? object_of(v, target) : NULL;
	const vat_method *row = o ? object_method(o, name, true) : NULL;
	if (row)
		return call_method(v, o, row, row->fn, row->name, *arg, true, answer);
	encode_error(answer, "Error", arena_printf(v, "nothing answers the continuation \"%s\" any more", name));
	return false;
}

/* One whose answer nobody waits for. */
static void tell_target(vat *v, vat_ref *target, const char *name, const struct vat_value *arg)
{
	struct encoder *answer = encoder_begin(v);
	if (!call_target(v, target, name, arg, answer))
		vat_warn(v, "continuation \"%s\" of a stream failed: %s", name, encoder_words(v, answer));
	encoder_end(v, answer);
}

static bool continuation_is_there(vat *v, const char *what, const struct object *o, const char *name)
{
	if (!name || object_method(o, name, true))
		return true;
	call_fail(v, "TypeError", "%s: %s has no continuation or method \"%s\"", what, o->kind->name, name);
	return false;
}

/* --- reading to the end --------------------------------------------------------------------------- */

/* Nothing waits for the loop any more, and so it goes. */
static void each_finish(vat *v, each *self)
{
	if (!self->here)
		return;
	vat_release(v, self->here);
	self->here = NULL;
	vat_release(v, vat_self(v));
}

static void each_fail(vat *v, each *self, const struct vat_value *reason)
{
	if (self->failed)
		tell_target(v, self->target, self->failed, reason);
	else
		vat_warn(v, "a stream that is read failed, and nothing catches that: %.*s",
			 (int)(jtext_skip(reason->at, reason->end) - reason->at), reason->at);
	each_finish(v, self);
}

/* NULL: it was of an earlier incarnation. */
static vat_ref *each_reader(const each *self)
{
	return self->here ? self->here : self->reader;
}

/* It failed on this side: the other is told. */
static void each_stop(vat *v, each *self, const struct vat_value *reason)
{
	if (each_reader(self))
		vat_tell(v, each_reader(self), "throw", "v", reason);
	each_fail(v, self, reason);
}

static void each_ask(vat *v, each *self)
{
	if (!each_reader(self)) {
		each_fail(v, self, vat_value_new(v, "e", "Error", "the stream ended with a restart of this vat"));
		return;
	}
	vat_ref *answer = vat_call(v, each_reader(self), "next", "u");
	vat_when(v, answer, self, "got");
	vat_catch(v, answer, self, "broke");
}

static void each_take(vat *v, each *self, const struct vat_value *value)
{
	struct encoder *answer = encoder_begin(v);
	bool good = call_target(v, self->target, self->item, value, answer);
	struct vat_value view = encoder_view(answer);
	vat_ref *p = good ? encoder_single_ref(answer) : NULL;
	if (!good) {
		each_stop(v, self, &view);
	} else if (p && p->kind == REF_A_PROMISE) {
		p->crank = v->crank;
		vat_when(v, p, self, "ready");
		vat_catch(v, p, self, "spoiled");
	} else {
		each_ask(v, self);
	}
	encoder_end(v, answer);
}

VAT_METHOD(each, each_got)
{
	struct vat_value none = undefined;
	vat_value *answer, *value = &none, *last;
	bool done = false;
	if (vat_read(v, "v", &answer) < 0)
		return -1;
	char problem[200];
	if (!decode_args(v, answer, true, "{done:?b}", NULL, problem)) {
		vat_value *reason = vat_value_new(v, "e", "TypeError", arena_printf(v, "a stream answered wrongly: %s", problem));
		each_stop(v, self, reason);
		return 0;
	}
	vat_value_read(v, answer, "{done:?b}", &done);
	last = vat_get(v, answer, "value");
	value = last ? last : value;
	if (!done) {
		each_take(v, self, value);
		return 0;
	}
	if (self->end)
		tell_target(v, self->target, self->end, value);
	each_finish(v, self);
	return 0;
}
VAT_METHOD(each, each_ready)
{
	each_ask(v, self);
	return 0;
}
VAT_METHOD(each, each_broke)
{
	vat_value *reason;
	vat_read(v, "v", &reason);
	each_fail(v, self, reason);
	return 0;
}
VAT_METHOD(each, each_spoiled)
{
	vat_value *reason;
	vat_read(v, "v", &reason);
	each_stop(v, self, reason);
	return 0;
}

static void each_begin_with(vat *v, each *self, vat_ref *loop, vat_ref *reader, bool durable)
{
	if (!durable) {
		self->reader = vat_hold(v, reader);
	} else if (ref_survives(reader)) {
		self->reader = reader;
	} else {
		self->here = vat_hold(v, reader);
		vat_hold(v, loop);
	}
	each_ask(v, self);
}

/* The promise for the reader is fulfilled. */
VAT_METHOD(each, each_begin)
{
	vat_ref *reader = NULL;
	vat_value *value;
	vat_read(v, "v", &value);
	if (vat_type(value) == VAT_REFERENCE)
		vat_value_read(v, value, "r", &reader);
	if (reader && reader->kind != REF_A_PROMISE)
		each_begin_with(v, self, vat_self(v), reader, lasts(object_from_self(v, self, "a stream")));
	else
		each_fail(v, self, vat_value_new(v, "e", "TypeError", "the stream to read is no object"));
	return 0;
}
VAT_METHOD(each, each_gone)
{
	if (self->reader)
		vat_release(v, self->reader);
	if (self->target)
		vat_release(v, self->target);
	vat_set_string(v, &self->item, NULL);
	vat_set_string(v, &self->end, NULL);
	vat_set_string(v, &self->failed, NULL);
	return 0;
}

#define EACH_CONTINUATIONS \
	VAT_CONTINUATIONS({ "begin", NULL, NULL, each_begin }, { "got", NULL, NULL, each_got }, { "broke", NULL, NULL, each_broke }, \
			  { "ready", NULL, NULL, each_ready }, { "spoiled", NULL, NULL, each_spoiled })
static const vat_kind EachHere = { "StreamLoop", sizeof(each), EACH_CONTINUATIONS, VAT_FINI(each_gone) };
static const vat_kind Each = { "StreamLoop", sizeof(each), EACH_CONTINUATIONS,
	VAT_STATE(VAT_REF(each, reader), VAT_REF(each, target), VAT_STR(each, item), VAT_STR(each, end), VAT_STR(each, failed)) };

void vat_stream_each(vat *v, vat_ref *reader, void *self, const char *item, const char *end, const char *failed)
{
	static const char what[] = "vat_stream_each()";
	struct object *o = object_from_self(v, self, what);
	if (!reader || !item) {
		call_fail(v, "TypeError", "%s without a %s", what, reader ? "continuation for the items" : "reader");
		return;
	}
	ref_check(v, reader, what);
	if (!continuation_is_there(v, what, o, item) || !continuation_is_there(v, what, o, end) ||
	    !continuation_is_there(v, what, o, failed))
		return;
	bool durable = lasts(o);
	const vat_kind *kind = durable ? &Each : &EachHere;
	vat_ref *loop = vat_new(v, kind, "");
	each *l = vat_state(v, loop, kind);
	vat_set_string(v, &l->item, item);
	vat_set_string(v, &l->end, end);
	vat_set_string(v, &l->failed, failed);
	l->target = o->ref;
	if (!durable)
		ref_hold(o->ref);
	if (reader->kind != REF_A_PROMISE) {
		each_begin_with(v, l, loop, reader, durable);
		return;
	}
	vat_when(v, reader, l, "begin");
	vat_catch(v, reader, l, "broke");
}

/* --- producers ------------------------------------------------------------------------------------ */

VAT_METHOD(producer, producer_next)
{
	struct vat_value none = undefined;
	vat_value *value = &none;
	int r;
	if (vat_read(v, "?v", &value) < 0)
		return -1;
	if (self->done)
		return return_record(v, &undefined, true);
	struct encoder *answer = encoder_begin(v);
	bool outer = v->producing;
	v->producing = true;
	v->stream_done = false;
	bool good = call_target(v, self->target, self->produce, value, answer);
	v->producing = outer;
	struct vat_value view = encoder_view(answer);
	vat_ref *p = good && !v->stream_done ? encoder_single_ref(answer) : NULL;
	if (p && p->kind == REF_A_PROMISE) {
		p->crank = v->crank;
		r = vat_return(v, "r", vat_then(v, p, self, "made", "unmade"));
	} else {
		self->done = !good || v->stream_done;
		r = good ? return_record(v, &view, self->done) : vat_throw(v, "v", &view);
	}
	v->stream_done = false;
	encoder_end(v, answer);
	return r;
}
VAT_METHOD(producer, producer_made)
{
	vat_value *value;
	vat_read(v, "v", &value);
	return return_record(v, value, false);
}
VAT_METHOD(producer, producer_unmade)
{
	vat_value *reason;
	vat_read(v, "v", &reason);
	self->done = true;
	return vat_throw(v, "v", reason);
}

static int producer_stop(vat *v, producer *self, bool thrown)
{
	struct vat_value none = undefined;
	vat_value *value = &none;
	if (vat_read(v, "?v", &value) < 0)
		return -1;
	bool done = self->done;
	self->done = true;
	if (!done && self->stopped)
		tell_target(v, self->target, self->stopped, value);
	return return_record(v, thrown ? &undefined : value, true);
}
VAT_METHOD(producer, producer_return) { return producer_stop(v, self, false); }
VAT_METHOD(producer, producer_throw) { return producer_stop(v, self, true); }
VAT_METHOD(producer, producer_gone)
{
	if (self->target)
		vat_release(v, self->target);
	vat_set_string(v, &self->produce, NULL);
	vat_set_string(v, &self->stopped, NULL);
	return 0;
}

#define PRODUCER_METHODS \
	VAT_METHODS({ "next", NULL, NULL, producer_next }, { "return", NULL, NULL, producer_return }, \
		    { "throw", NULL, NULL, producer_throw }), \
	VAT_CONTINUATIONS({ "made", NULL, NULL, producer_made }, { "unmade", NULL, NULL, producer_unmade })
static const vat_kind ProducerHere = { "Reader", sizeof(producer), PRODUCER_METHODS, VAT_FINI(producer_gone) };
static const vat_kind Producer = { "Reader", sizeof(producer), PRODUCER_METHODS,
	VAT_STATE(VAT_REF(producer, target), VAT_BOOL(producer, done), VAT_STR(producer, produce), VAT_STR(producer, stopped)) };

vat_ref *vat_producer(vat *v, void *self, const char *produce, const char *stopped)
{
	static const char what[] = "vat_producer()";
	struct object *o = object_from_self(v, self, what);
	if (!produce || !continuation_is_there(v, what, o, produce) || !continuation_is_there(v, what, o, stopped)) {
		call_fail(v, "TypeError", "%s without a continuation", what);
		return NULL;
	}
	bool durable = lasts(o);
	const vat_kind *kind = durable ? &Producer : &ProducerHere;
	vat_ref *reader = vat_new(v, kind, "");
	producer *p = vat_state(v, reader, kind);
	vat_set_string(v, &p->produce, produce);
	vat_set_string(v, &p->stopped, stopped);
	p->target = o->ref;
	if (!durable)
		ref_hold(o->ref);
	return reader;
}

int vat_stream_done(vat *v, const char *signature, ...)
{
	struct call *c = &v->call;
	va_list ap;
	if (!v->producing || !c->answer)
		return call_fail(v, "Error", "vat_stream_done() outside a continuation of vat_producer()");
	if (c->failed)
		return -1;
	if (c->returned)
		return call_fail(v, "Error", "vat_stream_done() after vat_return()");
	va_start(ap, signature);
	encode_one(v, c->answer, *signature ? signature : "u", &ap);
	va_end(ap);
	if (c->answer->problem[0])
		return call_fail(v, "TypeError", "vat_stream_done(): %s", c->answer->problem);
	c->returned = v->stream_done = true;
	return 0;
}

/* They have nothing in the store but their state. */
static bool deleted(vat *v, vat_ref *ref)
{
	(void)v;
	(void)ref;
	return true;
}

void streams_start(vat *v)
{
	static const struct kind_hooks plain = { deleted };
	kind_builtin(v, &Each, &plain);
	kind_builtin(v, &Producer, &plain);
}
