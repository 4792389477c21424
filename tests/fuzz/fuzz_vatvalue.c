/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a vat does with a body that another vat wrote: read it by signatures, look around in it, pass it on.
 * Total on any bytes; what is passed on is JSON again, and passing that on once more changes nothing.
 */
#include "../../vatd/lib/internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

const vat_program vat_main_program;

static const char *const signatures[] = { "", "i", "n", "d", "b", "s", "r", "v", "e", "z", "u", "?i?s", "[is]", "{a:i,b:?s}",
					  "{a:{b:[r?v]}}?e", "{}", "ssss" };

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
	}
	free(text);
	arena_reset(v);
	return 0;
}
