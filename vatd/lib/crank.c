/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Deliveries and cranks. A delivery goes: references introduced, method or continuations run (turns, until
 * none is left), durable state written, unheld references swept, `done`. Nothing outlives it but what
 * somebody holds.
 */
#include <malloc.h>
#include <sys/mman.h>

#include "internal.h"

#define WINDOW		32	/* deliveries that may wait in the socket; beyond some twenty more gains nothing */
#define ARENA_FIRST	8192	/* bytes: most cranks fit; all further chunks are given back when the crank ends */
#define ARENA_HEAP	65536	/* larger ones are mapped */
#define ARENA_LARGEST	(4u << 20)	/* unless more is asked for at once */

/* --- memory --------------------------------------------------------------------------------------- */

void *vat_alloc(vat *v, size_t size)
{
	void *p = calloc(1, size ? size : 1);
	if (!p)
		vat_die(v, "memory ran out");
	return p;
}

void *vat_grow(vat *v, void *old, size_t *sizep, size_t need, size_t item)
{
	if (need <= *sizep)
		return old;
	size_t size = need * 2 + 8;
	void *p = reallocarray(old, size, item);
	if (!p)
		vat_die(v, "memory ran out");
	*sizep = size;
	return p;
}

/*
 * What is large is mapped, so that it is gone when it is given back: in the heap, something small behind it would
 * keep it. In a test every piece is an allocation of its own: the sanitisers and valgrind see what is used past its
 * end.
 */
static struct arena_chunk *chunk_new(vat *v, size_t need)
{
	size_t space = !v->arena ? ARENA_FIRST : v->arena->size < ARENA_LARGEST / 2 ? v->arena->size * 2 : ARENA_LARGEST;
	if (v->host || space < need)
		space = need;
	struct arena_chunk *c;
	bool mapped = !v->host && space > ARENA_HEAP;
	if (mapped) {
		c = mmap(NULL, sizeof(*c) + space, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		c = c == MAP_FAILED ? NULL : c;
	} else {
		c = malloc(sizeof(*c) + space);
	}
	if (!c)
		vat_die(v, "memory ran out");
	*c = (struct arena_chunk){ .next = v->arena, .size = space, .mapped = mapped };
	return c;
}

void *arena_get(vat *v, size_t size)
{
	struct arena_chunk *c = v->arena;
	size = (size + 15) & ~(size_t)15;
	if (!c || v->host || c->size - c->used < size) {
		c = v->arena = chunk_new(v, size);
		if (!v->arena_first && !v->host)
			v->arena_first = c;
	}
	void *p = c->data + c->used;
	c->used += size;
	return memset(p, 0, size);
}

void arena_reset(vat *v)
{
	v->cursor.value = NULL;
	while (v->arena && v->arena != v->arena_first) {
		struct arena_chunk *c = v->arena;
		v->arena = c->next;
		if (c->mapped)
			munmap(c, sizeof(*c) + c->size);
		else
			free(c);
	}
	if (v->arena)
		v->arena->used = 0;
}

char *arena_printf(vat *v, const char *fmt, ...)
{
	va_list ap, again;
	va_start(ap, fmt);
	va_copy(again, ap);
	int n = vsnprintf(NULL, 0, fmt, again);
	va_end(again);
	assert(n >= 0);
	char *p = arena_get(v, (size_t)n + 1);
	vsnprintf(p, (size_t)n + 1, fmt, ap);
	va_end(ap);
	return p;
}

/* --- calls ---------------------------------------------------------------------------------------- */

static int call_vfail(vat *v, const char *name, const char *fmt, va_list ap)
{
	if (v->call.failed)
		return -1;	/* the first reason is the one that explains */
	char *text = NULL;
	if (vasprintf(&text, fmt, ap) < 0)
		vat_die(v, "memory ran out");
	v->call.failed = v->call.returned = true;
	if (v->call.answer) {
		encoder_reset(v, v->call.answer);
		encode_error(v->call.answer, name, text);
	} else {
		channel_log(v, 3, text, strlen(text));
	}
	free(text);
	return -1;
}

int call_fail(vat *v, const char *name, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	call_vfail(v, name, fmt, ap);
	va_end(ap);
	return -1;
}

int vat_fail(vat *v, const char *name, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	call_vfail(v, name, fmt, ap);
	va_end(ap);
	return -1;
}

static const char *call_name(vat *v)
{
	return arena_printf(v, "%s.%s", v->call.self ? v->call.self->kind->name : "vat", v->call.method);
}

int vat_throw(vat *v, const char *signature, ...)
{
	if (v->call.failed || !v->call.answer)
		return -1;
	va_list ap;
	va_start(ap, signature);
	encoder_reset(v, v->call.answer);
	encode_one(v, v->call.answer, signature, &ap);
	va_end(ap);
	if (v->call.answer->problem[0])
		return call_fail(v, "TypeError", "%s: %s", call_name(v), v->call.answer->problem);
	v->call.failed = v->call.returned = true;
	return -1;
}

/*
 * The table says what callers can count on. Another signature may give what fits too; a promise always does, and is
 * the callers' to look at.
 */
static bool result_fits(vat *v, const struct call *c, const char *signature, char problem[200])
{
	const char *wanted = c->row ? c->row->result : NULL;
	if (!wanted || strcmp(wanted, signature) == 0)
		return true;
	vat_ref *single = encoder_single_ref(c->answer);
	struct vat_value value = encoder_view(c->answer);
	return (single && single->kind == REF_A_PROMISE) || decode_args(v, &value, true, wanted, NULL, problem);
}

int vat_return(vat *v, const char *signature, ...)
{
	struct call *c = &v->call;
	char problem[200];
	va_list ap;

	if (c->failed)
		return -1;
	if (!c->answer)
		return call_fail(v, "Error", "vat_return() outside a method");
	if (c->returned)
		return call_fail(v, "Error", "%s returned twice", call_name(v));
	va_start(ap, signature);
	encode_one(v, c->answer, *signature ? signature : "u", &ap);
	va_end(ap);
	if (c->answer->problem[0])
		return call_fail(v, "TypeError", "%s: its result: %s", call_name(v), c->answer->problem);
	if (!result_fits(v, c, signature, problem))
		return call_fail(v, "TypeError", "%s returns \"%s\", where its table says \"%s\": %s", call_name(v), signature,
				 c->row->result, problem);
	c->returned = true;
	return 0;
}

int vat_read(vat *v, const char *signature, ...)
{
	char problem[200];
	va_list ap;
	va_start(ap, signature);
	bool fits = decode_args(v, &v->call.args, v->call.single, signature, &ap, problem);
	va_end(ap);
	return fits ? 0 : call_fail(v, "TypeError", "%s: %s", call_name(v), problem);
}

const char *vat_method_name(vat *v)
{
	return v->call.method;
}

vat_ref *vat_self(vat *v)
{
	if (v->call.face)
		v->call.face->crank = v->crank;
	return v->call.face;
}

bool call_method(vat *v, struct object *self, const vat_method *row, vat_fn *fn, const char *name,
		 struct vat_value args, bool single, struct encoder *answer)
{
	struct call outer = v->call;
	char problem[200];
	bool fulfilled;

	v->call = (struct call){ .self = self, .face = v->face ? v->face : self->kind->facets ? ref_facet(v, self->ref, 0) :
				 self->ref, .method = name, .row = row, .args = args, .single = single, .answer = answer };
	v->face = NULL;
	uint64_t since = v->touch_serial;
	object_touch(v, self);
	self->ref->crank = v->crank;
	if (row && row->args && !decode_args(v, &args, single, row->args, NULL, problem)) {
		call_fail(v, "TypeError", "%s: %s", call_name(v), problem);
	} else {
		int r = fn(v, self->data);
		if (r != 0 && !v->call.failed)
			call_fail(v, "Error", "%s failed", call_name(v));
	}
	objects_admit(v, since);
	fulfilled = !v->call.failed;
	if (!v->call.returned)
		jtext_put(&answer->text, "\"#undefined\"", 12);
	v->call = outer;
	return fulfilled;
}

/* --- deliveries ----------------------------------------------------------------------------------- */

/*
 * Introduce the slots of a body and check its text. False: not smallcaps; the slots are introduced all the
 * same.
 */
static bool accept_capdata(vat *v, const struct wire_capdata *c, struct vat_value *out)
{
	vat_ref **slots = c->n_slots ? arena_get(v, c->n_slots * sizeof(vat_ref *)) : NULL;
	const char *text = (const char *)c->body.data;

	for (uint32_t i = 0; i < c->n_slots; i++)
		slots[i] = ref_introduce(v, wire_slot(c, i));
	*out = (struct vat_value){ NULL, NULL, slots, c->n_slots };
	if (c->body.len < 2 || text[0] != '#' || !jtext_check(text + 1, c->body.len - 1))
		return false;
	out->end = text + c->body.len;
	out->at = jtext_start(text + 1);
	return true;
}

/* ["method",[arg…]]: args->at becomes the first argument. NULL: not that; the name is in the arena. */
static const char *split_methargs(vat *v, struct vat_value *args)
{
	const char *p = args->at;
	if (jtext_kind(p) != '[' || !(p = jtext_enter(p)) || jtext_kind(p) != '"')
		return NULL;
	struct vat_value name = value_sub(args, p);
	const char *list = jtext_next(p);
	if (!list || jtext_kind(list) != '[' || jtext_next(list))
		return NULL;
	size_t len;
	char *text = value_string(v, &name, &len);
	if (!text || strlen(text) != len)
		return NULL;
	args->at = jtext_enter(list);
	return text;
}

static bool run_message(vat *v, vat_ref *target, const struct wire_frame *f, struct encoder *answer)
{
	struct vat_value args;
	const char *name = NULL;
	struct object *o = target ? object_of(v, target) : NULL;

	if (accept_capdata(v, &f->message.methargs, &args))
		name = split_methargs(v, &args);
	if (!name) {
		encode_error(answer, "TypeError", "the message's body is not smallcaps of [method, [argument…]]");
		return false;
	}
	if (!o) {
		bool known = !target || !vref_is_kept(target->vref) || kind_row_of(v, target->vref);
		encode_error(answer, "Error", known ? "the target is not an object of this vat any more" :
			     "the target's kind is not in the vat's program any more");
		return false;
	}
	const vat_method *row = object_method_as(o, target, name);
	v->face = row || o->kind->any ? target : NULL;
	if (!row && o->kind->any)
		return call_method(v, o, NULL, o->kind->any, name, args, false, answer);
	if (!row) {
		encode_error(answer, "TypeError", arena_printf(v, "%s has no method \"%s\"", kind_interface(v, target), name));
		return false;
	}
	return call_method(v, o, row, row->fn, row->name, args, false, answer);
}

static void deliver_message(vat *v, const struct wire_frame *f)
{
	vat_ref *target = vref_is_import(f->message.target) || vref_is_promise(f->message.target) ?
			  NULL : ref_introduce(v, f->message.target);
	bool wants_answer = !vref_is_none(f->message.result);
	vat_ref *result = wants_answer ? ref_find(v, f->message.result) : NULL;
	struct encoder *answer = encoder_begin(v);

	answer->named = true;
	if (result)
		result->ours = true;	/* known already: we decide it from now on */
	bool fulfilled = run_message(v, target, f, answer);
	/* A promise that the method held it may have settled itself. */
	if (wants_answer && !(result && result->state != UNRESOLVED))
		promise_resolve_vref(v, f->message.result, !fulfilled, answer);
	else if (!fulfilled)
		vat_warn(v, "a message without result failed: %s", encoder_words(v, answer));
	encoder_end(v, answer);
}

static void deliver_start(vat *v, const struct wire_frame *f)
{
	struct vat_value args = { 0 };
	static const char undefined[] = "\"#undefined\"";
	struct encoder *answer = encoder_begin(v);

	if (v->built)
		vat_die(v, "startVat came twice");
	if (f->capdata.body.len == 0)
		args = (struct vat_value){ undefined, undefined + sizeof(undefined) - 1, NULL, 0 };
	else if (!accept_capdata(v, &f->capdata, &args))
		vat_die(v, "the vat's parameters are not smallcaps");
	clean_start(v);
	kinds_start(v);
	v->built = true;
	const vat_kind *kind = v->program->kinds[0];
	struct object *root = object_of(v, v->root);
	assert(root);
	if (kind->init && !call_method(v, root, NULL, kind->init, "init", args, true, answer))
		vat_die(v, "%s.init failed: %s", kind->name, encoder_words(v, answer));
	encoder_end(v, answer);
}

static bool is_unfinished(const vat *v)
{
	return v->turns || v->n_again || v->touched;
}

static void crank_end(vat *v)
{
	do {	/* what goes may settle promises, and its fini may use other objects */
		promise_run_turns(v);
		objects_save(v);
		settled_emit(v);
		clean(v);
		if (is_unfinished(v))
			continue;
		store_write_dirty(v);
		store_trim(v);
		refs_evict(v);
	} while (is_unfinished(v));
	store_write_dirty(v);
	clean_end(v);
	wire_begin(&v->out, WIRE_DONE, 0, v->delivery);
	wire_put_bytes(&v->out, NULL, 0);
	wire_end(&v->out);
	channel_flush(v);
	v->delivery = 0;
	arena_reset(v);
}

static void deliver(vat *v, const struct wire_frame *f)
{
	v->delivery = f->delivery;
	v->crank++;
	clean_begin(v);
	if (!v->built && f->type != WIRE_START_VAT)
		vat_die(v, "%s came before startVat", wire_type_name(f->type));
	switch (f->type) {
	case WIRE_START_VAT: deliver_start(v, f); break;
	case WIRE_MESSAGE: deliver_message(v, f); break;
	case WIRE_NOTIFY: promise_deliver_notify(v, f); break;
	case WIRE_DROP_EXPORTS: ref_drop_exports(v, f); break;
	case WIRE_RETIRE_EXPORTS: ref_retire_exports(v, f); break;
	case WIRE_RETIRE_IMPORTS: ref_retire_imports(v, f); break;
	case WIRE_BRING_OUT_YOUR_DEAD: ref_bring_out_dead(v); break;
	case WIRE_WAKE: watch_wake(v); break;
	default: vat_die(v, "the kernel sent %s, which is no delivery", wire_type_name(f->type));
	}
	crank_end(v);
}

static void take_init(vat *v, const struct wire_frame *f)
{
	if (f->init.version != WIRE_VERSION)
		vat_die(v, "the kernel speaks version %u of the protocol, this vat %u", f->init.version, WIRE_VERSION);
	v->id = f->init.vat;
	v->incarnation = f->init.incarnation;
	v->next_export = f->init.next_export ? f->init.next_export : 1;	/* 0 is the root */
	v->next_promise = f->init.next_promise ? f->init.next_promise : 1;
}

/* False: shutdown. */
static bool take_frame(vat *v, const struct wire_frame *f)
{
	switch (f->type) {
	case WIRE_INIT:
		take_init(v, f);
		return true;
	case WIRE_PING:
		wire_begin(&v->out, WIRE_PONG, 0, 0);
		wire_u64(&v->out, f->token);
		wire_end(&v->out);
		channel_flush(v);
		return true;
	case WIRE_SHUTDOWN:
		return false;
	default:
		if (!v->exiting)	/* what was sent behind it is not ours to do any more */
			deliver(v, f);
		return true;
	}
}

static void say_hello(vat *v)
{
	wire_begin(&v->out, WIRE_HELLO, 0, 0);
	wire_u32(&v->out, WIRE_VERSION);
	wire_u32(&v->out, WINDOW);
	wire_end(&v->out);
	channel_flush(v);
}

vat *vat_open(int fd, const vat_program *program, struct vat_host *host)
{
	vat *v = calloc(1, sizeof(*v));
	if (!v)
		return NULL;
	*v = (struct vat){ .fd = fd, .host = host, .program = program, .turns_tail = &v->turns };
	v->packet = malloc(WIRE_MAX_PACKET);
	v->reply_packet = malloc(WIRE_MAX_PACKET);
	if (!v->packet || !v->reply_packet) {
		vat_close(v);
		return NULL;
	}
	return v;
}

/* What the first packet that is taken finds said. */
static void begin(vat *v)
{
	if (!v->host)
		arena_get(v, 1);	/* the chunk that stays is a small one, whatever comes first */
	say_hello(v);
	v->begun = true;
}

static bool take_packet(vat *v, int *statusp)
{
	const uint8_t *frames;
	size_t len, size;
	struct wire_frame f;

	switch (channel_receive(v, &frames, &len)) {
	case RECEIVED_NOTHING: return true;
	case RECEIVED_END: return false;	/* the kernel is gone */
	case RECEIVED: break;
	}
	for (; len; frames += size, len -= size) {
		enum wire_error e = wire_decode(frames, len, WIRE_TO_VAT, &f, &size);
		if (e != WIRE_OK)
			vat_die(v, "frame from the kernel: %s", wire_error_text(e));
		if (!take_frame(v, &f)) {
			*statusp = 0;
			return false;
		}
	}
	channel_trim(v);
	return true;
}

bool vat_take(vat *v, int *statusp)
{
	*statusp = 1;
	if (!v->begun)
		begin(v);
	do
		if (!take_packet(v, statusp))
			return false;
	while (v->aside.len);	/* the socket says nothing of these */
	return true;
}

static void fini_one(vat *v, vat_ref *r)
{
	/* What goes wrong in it now costs the rest of this fini, and nothing else. */
	if (r->object && (!v->host || !setjmp(v->host->died)))
		object_fini(v, r->object);
}

static void discard_one(vat *v, vat_ref *r)
{
	if (r->object)
		object_discard(r->object);
	r->object = NULL;
	if (r->kind == REF_A_PROMISE)
		promise_discard(v, r);
}

void vat_close(vat *v)
{
	if (!v)
		return;
	v->gone = true;
	v->n_scratch = 0;
	refs_each(v, fini_one);
	refs_each(v, discard_one);
	promises_close(v);
	watch_close(v);
	store_close(v);
	encoders_close(v);
	refs_close(v);
	free(v->kinds);
	wire_buf_deinit(&v->out);
	wire_buf_deinit(&v->log);
	wire_buf_deinit(&v->aside);
	wire_buf_deinit(&v->taken);
	wire_joiner_deinit(&v->in);
	wire_joiner_deinit(&v->reply);
	free(v->packet);
	free(v->reply_packet);
	free(v->part);
	arena_reset(v);
	free(v->arena);
	free(v);
}

int vat_serve(int fd, const vat_program *program)
{
	static vat *v;	/* the process ends with it: its memory is not worth the walk */
	int status = 1;

	/* glibc would learn from the first large message to keep so much for ever. */
	mallopt(M_MMAP_THRESHOLD, 128 << 10);
	mallopt(M_TRIM_THRESHOLD, 128 << 10);
	v = vat_open(fd, program, NULL);
	while (v && vat_take(v, &status))
		watch_wait(v);
	return status;
}

/* --- powers --------------------------------------------------------------------------------------- */

__attribute__((format(printf, 3, 0))) static void log_at(vat *v, uint32_t level, const char *fmt, va_list ap)
{
	char text[1024], *long_text = NULL;
	va_list again;
	va_copy(again, ap);
	int n = vsnprintf(text, sizeof(text), fmt, ap);
	if (n >= (int)sizeof(text) && (n = vasprintf(&long_text, fmt, again)) >= 0)
		channel_log(v, level, long_text, (size_t)n);
	else if (n >= 0)
		channel_log(v, level, text, (size_t)n);
	free(long_text);
	va_end(again);
}

void vat_log(vat *v, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	log_at(v, 1, fmt, ap);
	va_end(ap);
}

void vat_warn(vat *v, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	log_at(v, 2, fmt, ap);
	va_end(ap);
}

static void emit_exit(vat *v, uint16_t flags, struct encoder *info)
{
	uint64_t *slots = arena_get(v, info->n_slots * sizeof(uint64_t));
	for (size_t i = 0; i < info->n_slots; i++)
		slots[i] = ref_export(v, info->slots[i]);
	wire_begin(&v->out, WIRE_EXIT, flags, v->delivery);
	wire_put_capdata(&v->out, info->text.data, info->text.len, slots, info->n_slots);
	wire_end(&v->out);
	channel_pack(v);
	v->exiting = true;
}

void vat_exit(vat *v, const char *signature, ...)
{
	struct encoder *info = encoder_begin(v);
	va_list ap;
	va_start(ap, signature);
	encode_one(v, info, *signature ? signature : "u", &ap);
	va_end(ap);
	if (info->problem[0])
		call_fail(v, "TypeError", "%s: vat_exit: %s", call_name(v), info->problem);
	else
		emit_exit(v, 0, info);
	encoder_end(v, info);
}

void vat_exit_failure(vat *v, const char *name, const char *fmt, ...)
{
	struct encoder *info = encoder_begin(v);
	char *text = NULL;
	va_list ap;
	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		vat_die(v, "memory ran out");
	va_end(ap);
	encode_error(info, name, text);
	free(text);
	emit_exit(v, WIRE_F_FAILURE, info);
	encoder_end(v, info);
}

uint64_t vat_id(vat *v)
{
	return v->id;
}

uint64_t vat_incarnation(vat *v)
{
	return v->incarnation;
}
