/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values in the vatstore, the references in them, and baggage.
 *
 *	baggage.NAME		a value				object.o+d1.2	saved state of an object (o+0: of the root)
 *	count.o-5		how often values here name it	exported.o+d1.2	what the kernel does with it
 *	when.p-5		continuations that wait for it	kind.NAME	number and fields of a kind (builtin.NAME)
 *	instance		last instance number given	kinds		last number of a kind given
 *	gone.o+d1.2		to be looked at, maybe deleted (o-5: its weak entries)
 *	life.2.TABLE.o+v1.5	the same tables for virtual objects of incarnation 2, and
 *	life.2.count.o-5	how often values of that incarnation name it
 *
 * A value is its smallcaps body; when it has references, a line feed (which no JSON text of ours contains)
 * and their vrefs follow, separated by spaces.
 */
#include "internal.h"

const char *store_key(vat *v, const char *table, vref_t ref)
{
	char text[REF_TEXT_MAX];
	if (vref_is_virtual(ref))
		return store_life_key(v, table, ref);
	return arena_printf(v, "%s.%s", table, vref_format(ref, text));
}

const char *store_life_key(vat *v, const char *table, vref_t ref)
{
	char text[REF_TEXT_MAX];
	return arena_printf(v, "life.%llu.%s.%s", (unsigned long long)v->incarnation, table, vref_format(ref, text));
}

static void ask_for(vat *v, const char *key, struct wire_frame *answer)
{
	v->n_calls++;
	wire_begin(&v->out, WIRE_VATSTORE_GET, 0, v->delivery);
	wire_put_bytes(&v->out, key, strlen(key));
	wire_end(&v->out);
	channel_ask(v, answer);
}

bool store_get(vat *v, const char *key, char **textp, size_t *lenp)
{
	struct wire_frame answer;
	ask_for(v, key, &answer);
	if (!(answer.flags & WIRE_F_FOUND))
		return false;
	if (textp) {
		*textp = arena_get(v, answer.store.value.len + 1u);
		memcpy(*textp, answer.store.value.data, answer.store.value.len);
		*lenp = answer.store.value.len;
	}
	return true;
}

void store_set(vat *v, const char *key, const char *text, size_t len)
{
	v->n_calls++;
	wire_begin(&v->out, WIRE_VATSTORE_SET, 0, v->delivery);
	wire_put_bytes(&v->out, key, strlen(key));
	wire_put_bytes(&v->out, text, len);
	wire_end(&v->out);
	channel_pack(v);
}

void store_delete(vat *v, const char *key)
{
	v->n_calls++;
	wire_begin(&v->out, WIRE_VATSTORE_DELETE, 0, v->delivery);
	wire_put_bytes(&v->out, key, strlen(key));
	wire_end(&v->out);
	channel_pack(v);
}

bool store_next_at(vat *v, char key[WIRE_MAX_KEY + 1])
{
	struct wire_frame answer;
	v->n_calls++;
	wire_begin(&v->out, WIRE_VATSTORE_GET_NEXT_KEY, 0, v->delivery);
	wire_put_bytes(&v->out, key, strlen(key));
	wire_end(&v->out);
	channel_ask(v, &answer);
	if (!(answer.flags & WIRE_F_FOUND))
		return false;
	memcpy(key, answer.store.key.data, answer.store.key.len);
	key[answer.store.key.len] = 0;
	return true;
}

const char *store_next(vat *v, const char *after)
{
	char key[WIRE_MAX_KEY + 1];
	assert(strlen(after) <= WIRE_MAX_KEY);
	strcpy(key, after);
	return store_next_at(v, key) ? arena_printf(v, "%s", key) : NULL;
}

/* --- values --------------------------------------------------------------------------------------- */

vat_ref *store_ref(vat *v, vref_t vref)
{
	vat_ref *r = ref_find(v, vref);
	if (!r && vref_is_import(vref)) {
		r = ref_new(v, REF_IMPORT, vref);
		ref_unsuspect(v, r);	/* something holds it, or else will be said to let go of it */
	} else if (!r && !vref_is_kept(vref) && vref.bits != VREF_ROOT.bits) {
		return NULL;
	} else if (!r) {
		r = ref_own(v, vref);
	}
	if (r->kind == REF_IMPORT)
		r->reachable = true;	/* what the store names was never dropped */
	r->crank = v->crank;
	return r;
}

/* The references behind the text, from `p`. */
static void read_slots(vat *v, const char *key, char *p, struct vat_value *valuep)
{
	size_t size = 0, n = 0;
	vat_ref **slots = NULL;
	for (char *save, *word = strtok_r(p, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
		vref_t vref;
		vat_ref *r = vref_parse(word, strlen(word), &vref) && !vref_is_promise(vref) ? store_ref(v, vref) : NULL;
		if (!r)
			vat_die(v, "the vatstore's \"%s\" is corrupt", key);
		if (n == size) {
			vat_ref **more = arena_get(v, (size * 2 + 4) * sizeof(*more));
			if (n)
				memcpy(more, slots, n * sizeof(*more));
			slots = more;
			size = size * 2 + 4;
		}
		slots[n++] = r;
	}
	valuep->slots = slots;
	valuep->n_slots = n;
}

bool store_get_value(vat *v, const char *key, struct vat_value *valuep)
{
	char *text;
	size_t len;
	if (!store_get(v, key, &text, &len))
		return false;
	char *line = memchr(text, '\n', len);
	size_t body = line ? (size_t)(line - text) : len;
	if (body < 2 || text[0] != '#' || !jtext_check(text + 1, body - 1))
		vat_die(v, "the vatstore's \"%s\" is corrupt", key);
	*valuep = (struct vat_value){ .at = text + 1, .end = text + body };
	if (line)
		read_slots(v, key, line + 1, valuep);
	return true;
}

bool store_get_slots(vat *v, const char *key, struct vat_value *valuep)
{
	struct wire_frame answer;
	ask_for(v, key, &answer);
	const char *text = (const char *)answer.store.value.data;
	size_t len = answer.store.value.len;
	*valuep = (struct vat_value){ 0 };
	if (!(answer.flags & WIRE_F_FOUND) || len < 2 || text[0] != '#')
		return false;
	const char *line = memchr(text, '\n', len);
	if (line) {
		char *copy = arena_get(v, len - (size_t)(line - text));
		memcpy(copy, line + 1, len - (size_t)(line + 1 - text));
		read_slots(v, key, copy, valuep);
	}
	return true;
}

void store_put_value(vat *v, const char *key, const struct encoder *e)
{
	for (size_t i = 0; i < e->n_slots; i++)
		ref_name(v, e->slots[i]);
	if (!e->n_slots) {
		store_set(v, key, e->text.data, e->text.len);
		return;
	}
	struct jtext t = JTEXT_INIT;
	jtext_put(&t, e->text.data, e->text.len);
	for (size_t i = 0; i < e->n_slots; i++) {
		char text[REF_TEXT_MAX];
		jtext_char(&t, i ? ' ' : '\n');
		vref_format(e->slots[i]->vref, text);
		jtext_put(&t, text, strlen(text));
	}
	if (t.failed)
		vat_die(v, "memory ran out");
	store_set(v, key, t.data, t.len);
	jtext_deinit(&t);
}

/* A message can be as long as a value in the store, which has a line with the references' names as well. */
void store_check_size(struct encoder *e)
{
	if (!e->problem[0] && e->text.len + e->n_slots * REF_TEXT_MAX > WIRE_MAX_BODY)
		snprintf(e->problem, sizeof(e->problem), "with its references it is more than the vatstore takes, %u bytes",
			 WIRE_MAX_BODY);
}

bool store_admits(vat *v, struct encoder *e, bool lasting, const char *what)
{
	store_check_size(e);
	if (e->problem[0]) {
		call_fail(v, "TypeError", "%s: %s", what, e->problem);
		return false;
	}
	for (size_t i = 0; i < e->n_slots; i++) {
		const vat_ref *r = e->slots[i];
		if (lasting ? ref_survives(r) : r->kind != REF_A_PROMISE)
			continue;
		if (lasting)
			call_fail(v, "TypeError", "%s: %s would not survive a restart; imported references, the root and objects "
				  "with a state table do", what, ref_describe(v, r));
		else
			call_fail(v, "TypeError", "%s: a promise cannot be stored", what);
		return false;
	}
	return true;
}

/* --- counts of references in values --------------------------------------------------------------- */

void store_mark_dirty(vat *v, vat_ref *r)
{
	v->dirty = vat_grow(v, v->dirty, &v->dirty_size, v->n_dirty + 1, sizeof(vat_ref *));
	v->dirty[v->n_dirty++] = r;
}

static const char *count_key(vat *v, const vat_ref *r, bool lasting)
{
	return lasting ? store_key(v, "count", r->vref) : store_life_key(v, "count", r->vref);
}

/* References that live in memory only are counted there. */
static bool has_row(const vat_ref *r, bool lasting)
{
	return lasting ? ref_survives(r) : r->kind == REF_IMPORT || vref_is_kept(r->vref);
}

static uint64_t tally_get(vat *v, vat_ref *r, bool lasting)
{
	struct tally *t = lasting ? &r->lasting : &r->passing;
	char *text;
	size_t len;
	bool ask = !t->known && has_row(r, lasting) && (lasting || v->passing_begun);
	if (ask && store_get(v, count_key(v, r, lasting), &text, &len))
		t->n = t->there = strtoull(text, NULL, 10);
	t->known = true;
	return t->n;
}

bool store_names(vat *v, vat_ref *r)
{
	r = ref_whole(r);
	return r == v->root || tally_get(v, r, true) || tally_get(v, r, false);
}

static void tally_change(vat *v, vat_ref *r, bool lasting, int change)
{
	struct tally *t = lasting ? &r->lasting : &r->passing;
	tally_get(v, r, lasting);
	if (change < 0 && t->n == 0)
		vat_die(v, "the vatstore's counts of references are corrupt");
	t->n = change > 0 ? t->n + 1 : t->n - 1;
	if (has_row(r, lasting) && !t->dirty) {
		store_mark_dirty(v, r);
		t->dirty = true;
	}
	v->passing_begun = v->passing_begun || !lasting;
	if (t->n == 0)
		ref_condemn(v, r);
}

void store_count(vat *v, vat_ref *r, int change)
{
	if (r != v->root)
		tally_change(v, ref_whole(r), true, change);
}

void store_count_passing(vat *v, vat_ref *r, int change)
{
	if (r != v->root)
		tally_change(v, ref_whole(r), false, change);
}

static void tally_write(vat *v, vat_ref *r, bool lasting)
{
	struct tally *t = lasting ? &r->lasting : &r->passing;
	bool changed = t->dirty && t->n != t->there;
	t->dirty = false;
	if (!changed)
		return;
	char text[24];
	int n = snprintf(text, sizeof(text), "%llu", (unsigned long long)t->n);
	if (t->n)
		store_set(v, count_key(v, r, lasting), text, (size_t)n);
	else
		store_delete(v, count_key(v, r, lasting));
	t->there = t->n;
}

/* What is cached of the baggage; `still`: the vat goes on. */
static void baggage_drop(vat *v, bool still)
{
	for (size_t i = 0; i < BAGGAGE_BUCKETS; i++)
		for (struct baggage *b; (b = v->baggage[i]);) {
			v->baggage[i] = b->next;
			for (size_t k = 0; still && k < b->n_slots; k++)
				ref_unhold_named(v, b->slots[k], true);
			free(b->text);
			free(b->slots);
			free(b);
		}
	v->n_baggage = 0;
}

void store_trim(vat *v)
{
	if (v->n_baggage > BAGGAGE_CACHED)
		baggage_drop(v, true);
}

void store_close(vat *v)
{
	baggage_drop(v, false);
}

void store_write_dirty(vat *v)
{
	for (size_t i = 0; i < v->n_dirty; i++) {
		vat_ref *r = v->dirty[i];
		if (r->when_dirty)
			promise_write_waiting(v, r);
		tally_write(v, r, true);
		tally_write(v, r, false);
	}
	v->n_dirty = 0;
}

/* --- baggage -------------------------------------------------------------------------------------- */

static size_t baggage_bucket(const char *name)
{
	uint32_t h = 2166136261u;
	for (; *name; name++)
		h = (h ^ (unsigned char)*name) * 16777619u;
	return h % BAGGAGE_BUCKETS;
}

/* Cache an entry; text NULL: absent. */
static void baggage_fill(vat *v, struct baggage *b, const struct vat_value *value)
{
	vat_ref **old = b->slots;
	size_t n_old = b->n_slots;
	free(b->text);
	b->text = NULL;
	b->slots = NULL;
	b->n_slots = 0;
	if (value) {
		size_t len = (size_t)(value->end - value->at);
		b->text = vat_alloc(v, len + 1);
		memcpy(b->text, value->at, len);
		b->n_slots = value->n_slots;
		b->slots = vat_alloc(v, value->n_slots * sizeof(*b->slots));
		for (size_t i = 0; i < b->n_slots; i++)
			ref_hold_named(b->slots[i] = value->slots[i]);
	}
	for (size_t i = 0; i < n_old; i++)
		ref_unhold_named(v, old[i], false);
	free(old);
}

static const char *baggage_key(vat *v, const char *name)
{
	return arena_printf(v, "baggage.%s", name);
}

static struct baggage *baggage_find(vat *v, const char *name)
{
	struct baggage **head = &v->baggage[baggage_bucket(name)], *b;
	for (b = *head; b; b = b->next)
		if (strcmp(b->name, name) == 0)
			return b;
	size_t len = strlen(name);
	b = vat_alloc(v, sizeof(*b) + len + 1);
	memcpy(b->name, name, len);
	b->next = *head;
	*head = b;
	v->n_baggage++;
	struct vat_value value;
	if (store_get_value(v, baggage_key(v, name), &value))
		baggage_fill(v, b, &value);
	return b;
}

static bool name_is_good(vat *v, const char *name)
{
	size_t len = name ? strlen(name) : 0;
	if (len && len < WIRE_MAX_KEY - 16 && jtext_is_utf8(name, len))
		return true;
	call_fail(v, "TypeError", "a baggage name is 1 to %u bytes of UTF-8", WIRE_MAX_KEY - 16);
	return false;
}

static bool baggage_same(const struct baggage *b, const struct encoder *e)
{
	return b->text && b->n_slots == e->n_slots && strlen(b->text) == e->text.len - 1 &&
	       memcmp(b->text, e->text.data + 1, e->text.len - 1) == 0 &&
	       (!e->n_slots || memcmp(b->slots, e->slots, e->n_slots * sizeof(*e->slots)) == 0);
}

static void baggage_replace(vat *v, struct baggage *b, const struct encoder *e)
{
	for (size_t i = 0; e && i < e->n_slots; i++)
		store_count(v, e->slots[i], 1);
	for (size_t i = 0; i < b->n_slots; i++)
		store_count(v, b->slots[i], -1);
	struct vat_value value;
	if (e)
		value = encoder_view(e);
	baggage_fill(v, b, e ? &value : NULL);
}

static int baggage_write(vat *v, const char *name, const char *signature, va_list *ap, bool must_be_new)
{
	if (!name_is_good(v, name))
		return -1;
	struct baggage *b = baggage_find(v, name);
	if (must_be_new && b->text)
		return call_fail(v, "Error", "baggage has a \"%s\" already", name);
	struct encoder *e = encoder_begin(v);
	encode_one(v, e, signature, ap);
	bool good = store_admits(v, e, true, arena_printf(v, "baggage \"%s\"", name));
	if (good && !baggage_same(b, e)) {
		store_put_value(v, baggage_key(v, name), e);
		baggage_replace(v, b, e);
	}
	encoder_end(v, e);
	return good ? 0 : -1;
}

int vat_baggage_set(vat *v, const char *name, const char *signature, ...)
{
	va_list ap;
	va_start(ap, signature);
	int r = baggage_write(v, name, signature, &ap, false);
	va_end(ap);
	return r;
}

int vat_baggage_init(vat *v, const char *name, const char *signature, ...)
{
	va_list ap;
	va_start(ap, signature);
	int r = baggage_write(v, name, signature, &ap, true);
	va_end(ap);
	return r;
}

bool vat_baggage_get(vat *v, const char *name, const char *signature, ...)
{
	if (!name_is_good(v, name))
		return false;
	struct baggage *b = baggage_find(v, name);
	if (!b->text)
		return false;
	char problem[200];
	/* A copy: what was read stays good for the crank, also when the name is set again in it. */
	size_t len = strlen(b->text);
	char *text = arena_get(v, len + 1);
	memcpy(text, b->text, len);
	vat_ref **slots = arena_get(v, (b->n_slots + 1) * sizeof(*slots));
	if (b->n_slots)
		memcpy(slots, b->slots, b->n_slots * sizeof(*slots));
	struct vat_value value = { text, text + len, slots, b->n_slots };
	va_list ap;
	va_start(ap, signature);
	bool fits = decode_args(v, &value, true, signature, &ap, problem);
	va_end(ap);
	if (!fits)
		call_fail(v, "TypeError", "baggage \"%s\": %s", name, problem);
	return fits;
}

bool vat_baggage_has(vat *v, const char *name)
{
	return name_is_good(v, name) && baggage_find(v, name)->text;
}

bool vat_baggage_delete(vat *v, const char *name)
{
	if (!vat_baggage_has(v, name))
		return false;
	store_delete(v, baggage_key(v, name));
	baggage_replace(v, baggage_find(v, name), NULL);
	return true;
}
