/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a vat does with a body that another vat wrote: read it by signatures, look around in it, pass it on.
 * Total on any bytes; what is passed on is JSON again, and passing that on once more changes nothing.
 */
#include "../unit/vat_rebuild.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

const vat_program vat_main_program;

static const char *const signatures[] = { "", "i", "n", "d", "b", "s", "r", "v", "e", "z", "u", "?i?s", "[is]", "{a:i,b:?s}",
					  "{a:{b:[r?v]}}?e", "{}", "ssss", "N", "y" };

static void look_around(vat *v, const vat_value *value, unsigned depth)
{
	size_t n = vat_length(value);
	value_describe(v, value);
	if (value_ref(value))
		assert(vat_type(value) == VAT_REFERENCE);
	for (size_t i = 0; i < n && i < 4 && depth < 4; i++) {
		vat_value *item = vat_at(v, value, i);
		assert(item);
		if (vat_type(value) == VAT_RECORD)
			vat_name_at(v, value, i);
		look_around(v, item, depth + 1);
	}
	assert(!vat_at(v, value, n));
}

/* Whether it is data that everybody understands in one way: then what is built again from its parts is the same. */
static bool is_plain(vat *v, const vat_value *value)
{
	enum vat_type type = vat_type(value);
	const char *name, *message;
	size_t n = vat_length(value);
	if (type == VAT_MALFORMED || (type == VAT_TAGGED && !vat_tag(v, value, NULL)) ||
	    (type == VAT_ERROR && (!value_error(v, value, &name, &message) || n != 2 ||
				    memmem(value->at, (size_t)(jtext_skip(value->at, value->end) - value->at), "\\u0000", 6))))
		return false;
	for (size_t i = 0; i < n; i++) {
		vat_value *item = vat_at(v, value, i);
		if (!is_plain(v, item))
			return false;
		name = type == VAT_RECORD ? vat_name_at(v, value, i) : NULL;
		if (name && (!vat_get(v, value, name) || vat_get(v, value, name)->at != item->at))
			return false;
	}
	return true;
}

static void take_apart(vat *v, const vat_value *value)
{
	vat_value *once = rebuild(v, value), *twice;
	assert(once);
	twice = rebuild(v, once);
	size_t len = (size_t)(once->end - once->at);
	assert(twice && vat_value_text(v, value) && !strchr(vat_value_text(v, value), '\n'));
	if (is_plain(v, value)) {
		assert((size_t)(twice->end - twice->at) == len && memcmp(once->at, twice->at, len) == 0);
		assert(vat_value_equal(v, value, once) && vat_value_equal(v, once, value) && vat_value_equal(v, value, value));
		assert(strcmp(vat_value_text(v, once), vat_value_text(v, twice)) == 0);
	}
}

static char *pass_on(vat *v, const vat_value *value, size_t *lenp)
{
	struct encoder *e = encoder_begin(v);
	encode_value(v, e, value);
	encoder_finish(v, e);
	assert(e->text.data[0] == '#' && jtext_check(e->text.data + 1, e->text.len - 1));
	char *copy = arena_get(v, e->text.len);
	*lenp = e->text.len - 1;
	memcpy(copy, e->text.data + 1, *lenp);
	encoder_end(v, e);
	return copy;
}

static vat_ref *swap(vat *v, vat_ref *ref, void *slots)
{
	(void)v;
	vat_ref **pair = slots;
	return ref == pair[0] ? pair[1] : pair[0];
}

/* A message handed on whole, and its references replaced: there and back nothing has changed. */
static void hand_on(vat *v, const vat_value *value, vat_ref **slots, const char *passed, size_t len)
{
	size_t n;
	vat_value *there = vat_map_refs(v, value, swap, slots), *back = there ? vat_map_refs(v, there, swap, slots) : NULL;
	assert(back);
	const char *text = pass_on(v, back, &n);
	assert(n == len && memcmp(text, passed, len) == 0);
	if (jtext_kind(value->at) != '[')
		return;
	v->call.args = value_sub(value, jtext_enter(value->at));
	v->call.single = false;
	vat_value *args = vat_args(v);
	assert(args);
	text = pass_on(v, args, &n);
	assert(n == len && memcmp(text, passed, len) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct vat the_vat = { .fd = -1, .crank = 1 };
	static vat_ref *slots[2];
	vat *v = &the_vat;
	char problem[200], *text = malloc(size ? size : 1);	/* exactly as long, for ASan */
	size_t len, again_len;

	if (!slots[0]) {
		slots[0] = ref_new(v, REF_IMPORT, vref_make(false, true, 1));
		slots[1] = ref_new(v, REF_A_PROMISE, vref_make(true, true, 2));
	}
	memcpy(text, data, size);
	if (jtext_check(text, size)) {
		struct vat_value value = { jtext_start(text), text + size, slots, 2 };
		struct vat_value args = value;
		look_around(v, &value, 0);
		take_apart(v, &value);
		for (size_t i = 0; i < ARRAY_LEN(signatures); i++) {
			decode_args(v, &value, true, signatures[i], NULL, problem);
			args.at = jtext_kind(value.at) == '[' ? jtext_enter(value.at) : NULL;
			decode_args(v, &args, false, signatures[i], NULL, problem);
		}
		char *once = pass_on(v, &value, &len);
		struct vat_value passed = { once, once + len, slots, 2 };
		char *twice = pass_on(v, &passed, &again_len);
		/* the numbers of slots are given anew each time; everything else is the same */
		assert(len == again_len);
		(void)twice;
		hand_on(v, &value, slots, once, len);
	}
	free(text);
	arena_reset(v);
	return 0;
}
