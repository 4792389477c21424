/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random syscalls for the played vats of kernel_harness.h: most of them legal, as far as the vat's clist and its delivery
 * tell, some of them anything. Shared by the random tests of the kernel.
 */
#ifndef CAPSTAN_KERNEL_GENERATOR_H
#define CAPSTAN_KERNEL_GENERATOR_H

#include "kernel_harness.h"

#include <inttypes.h>

#include "../../broker/clist.h"
#include "../../broker/object.h"
#include "../../broker/promise.h"

#define MAX_REFS 400u
#define MAX_SAID 40u

static struct rng rng;
static bool calls;   /* some messages are such as services take */
static bool storm;   /* of promises: sends, resolutions and little else, among few names */

static inline unsigned below(unsigned n) { return rng_below(&rng, n); }
static inline bool chance(unsigned percent) { return below(100) < percent; }

/* --- what a vat may name -------------------------------------------------------------------------------- */

struct refs {
	vref_t v[MAX_REFS];
	size_t n;
};

static inline void add(struct refs *r, vref_t v)
{
	size_t i;

	for (i = 0; i < r->n; i++)
		if (vref_equal(r->v[i], v))
			return;
	if (r->n < MAX_REFS)
		r->v[r->n++] = v;
}

static inline void remove_ref(struct refs *r, vref_t v)
{
	size_t i;

	for (i = 0; i < r->n; i++)
		if (vref_equal(r->v[i], v))
			r->v[i--] = r->v[--r->n];
}

static inline bool take(struct refs *r, vref_t *out)
{
	size_t i;

	if (!r->n)
		return false;
	i = below(r->n);
	*out = r->v[i];
	return true;
}

/* All that the vat can legally do in this crank, as far as its clist and the delivery tell. */
struct can {
	struct refs usable;   /* as target or slot */
	struct refs promises; /* of these, to subscribe to */
	struct refs decided;  /* to resolve, or to give as a result */
	struct refs reachable_imports, unreachable_imports, exports, unreachable_exports;
	uint64_t next_export, next_promise;
};

static inline void learn_entry(struct can *c, struct vat *v, vref_t vref, kref_t kref, bool reachable)
{
	struct row_promise row;

	if (vref_is_promise(vref)) {
		add(&c->usable, vref);
		add(&c->promises, vref);
		must(promise_load(&world->k, kref, &row));
		if (row.state == PROMISE_UNRESOLVED && row.decider == endpoint_vat(v->number).bits)
			add(&c->decided, vref);
		return;
	}
	if (reachable || !vref_is_import(vref))
		add(&c->usable, vref);
	if (vref_is_import(vref))
		add(reachable ? &c->reachable_imports : &c->unreachable_imports, vref);
	else if (vref.bits)
		add(&c->exports, vref);
	if (!vref_is_import(vref) && !reachable)
		add(&c->unreachable_exports, vref);
}

static inline void learn_clist(struct can *c, struct vat *v)
{
	uint64_t at = 0;
	bool reachable;
	vref_t vref;
	kref_t kref;

	while (clist_next(&world->k, endpoint_vat(v->number), at, &vref, &kref, &reachable) == 0) {
		learn_entry(c, v, vref, kref, reachable);
		at = vref.bits + 1;
	}
	c->next_export = v->row.next_export;
	c->next_promise = v->row.next_export_promise;
}

static inline void forget(struct can *c, vref_t v)
{
	remove_ref(&c->usable, v);
	remove_ref(&c->promises, v);
	remove_ref(&c->decided, v);
	remove_ref(&c->reachable_imports, v);
	remove_ref(&c->unreachable_imports, v);
	remove_ref(&c->exports, v);
	remove_ref(&c->unreachable_exports, v);
}

/* What the delivery itself brings and takes away. */
static inline void learn_delivery(struct can *c, const char *text)
{
	bool message = !strncmp(text, "message ", 8), retired = !strncmp(text, "retire", 6);
	bool notify = !strncmp(text, "notify ", 7), inside = false;
	vref_t v, last = VREF_NONE;
	char word[64];
	size_t n;

	if (!message && !retired && !notify)
		return;
	for (; *text; text += n) {
		n = strcspn(text, " [];") + 1;
		if (n == 1) {
			inside = *text == '[' ? true : *text == ']' ? false : inside;
			continue;
		}
		if (n < sizeof(word)) {
			memcpy(word, text, n - 1);
			word[n - 1] = '\0';
			if (vref_parse(word, n - 1, &v)) {
				if (retired || (notify && !inside))
					forget(c, v);
				else if (message)
					add(vref_is_promise(v) ? &c->promises : &c->usable, v);
				if (message)
					last = v;
			} else {
				last = VREF_NONE;
			}
		}
		inside = text[n - 1] == '[' ? true : text[n - 1] == ']' ? false : inside;
		if (!text[n - 1])
			break;
	}
	if (message && !vref_is_none(last) && vref_is_promise(last) && !inside)
		add(&c->decided, last); /* the result */
}

/* --- random syscalls ------------------------------------------------------------------------------------ */

/* One reference to mention: known, or new. */
static inline vref_t mention(struct can *c, bool promises)
{
	unsigned dice = below(100);
	vref_t v;

	if (dice < (storm ? 90 : 60) && take(&c->usable, &v) && (promises || !vref_is_promise(v)))
		return v;
	if (dice < 75 && promises)
		v = vref_make(true, false, c->next_promise++);
	else if (dice < 90)
		v = vref_make(false, false, c->next_export++);
	else
		v = (vref_t){(dice & 1 ? REF_VIRTUAL : REF_DURABLE) | UINT64_C(2) << 44 |
		             (uint64_t)(1 + below(6)) << 8};
	add(&c->usable, v);
	if (vref_is_promise(v)) {
		add(&c->promises, v);
		add(&c->decided, v);
	}
	return v;
}

static inline size_t put_slots(struct can *c, char *out, bool promises)
{
	unsigned i, count = below(5);
	char text[REF_TEXT_MAX];
	size_t n = sprintf(out, "[");

	for (i = 0; i < count; i++)
		n += sprintf(out + n, "%s ", vref_format(mention(c, promises), text));
	return n + sprintf(out + n, "]");
}

/* What services take. The first are such as do not wait for long. */
static inline const char *any_call(bool short_ones)
{
	static const char *const texts[] = {
	    "#[\"log\",[\"x\"]]",       "#[\"uint64\",[]]",          "#[\"delay\",[0]]",
	    "#[\"wakeAt\",[1]]",        "#[\"setWakeup\",[0,\"$0\"]]", "#[\"cancel\",[\"$0\"]]",
	    "#[\"delay\",[1e6,\"$0\"]]", "#[\"delay\",[1e6]]",
	};

	return texts[below(short_ones ? 6 : ARRAY_LEN(texts))];
}

static inline bool say_send(struct can *c, char *out)
{
	char text[REF_TEXT_MAX];
	unsigned dice = below(10);
	vref_t v = mention(c, true);
	size_t n;

	if (calls && chance(20))
		n = sprintf(out, "send %s %s ", vref_format(v, text), any_call(false));
	else
		n = sprintf(out, "send %s #m%u ", vref_format(v, text), below(100));
	n += put_slots(c, out + n, true);
	if (dice < 3) {
		strcpy(out + n, " -");
		return true;
	}
	if (dice > 7 && take(&c->decided, &v))
		remove_ref(&c->decided, v);
	else
		v = vref_make(true, false, c->next_promise++);
	sprintf(out + n, " %s", vref_format(v, text));
	add(&c->usable, v);
	add(&c->promises, v);
	return true;
}

static inline bool say_resolve(struct can *c, char *out)
{
	unsigned i, count = 1 + (chance(30) ? 1 + below(3) : 0);
	char text[REF_TEXT_MAX];
	vref_t batch[4], v;
	size_t n = sprintf(out, "resolve ");

	for (i = 0; i < count && take(&c->decided, &v); i++) {
		unsigned dice = below(10);

		remove_ref(&c->decided, v);
		batch[i] = v;
		n += sprintf(out + n, "%s%s ", i ? "; " : "", vref_format(v, text));
		if (dice < 5) {
			n += sprintf(out + n, "ref #r [%s]", vref_format(mention(c, true), text));
		} else {
			n += sprintf(out + n, "%s #v ", dice < 8 ? "data" : "rej");
			n += put_slots(c, out + n, true);
		}
	}
	count = i;
	for (i = 0; i < count; i++)
		forget(c, batch[i]);
	return count > 0;
}

static inline bool say_list_of(struct refs *from, struct can *c, const char *what, struct refs *then, char *out)
{
	unsigned i, count = 1 + below(3);
	char text[REF_TEXT_MAX];
	size_t n = sprintf(out, "%s", what);
	vref_t v;

	for (i = 0; i < count && take(from, &v); i++) {
		n += sprintf(out + n, " %s", vref_format(v, text));
		forget(c, v);
		if (then)
			add(then, v);
	}
	return i > 0;
}

static inline bool say_legal(struct can *c, char *out)
{
	char text[REF_TEXT_MAX];
	vref_t v;

	switch (below(storm ? 10 : 16)) {
	case 0:
	case 1:
	case 2:
	case 3:
	case 4:
		return say_send(c, out);
	case 5:
	case 6:
	case 7:
		return say_resolve(c, out);
	case 8:
	case 9:
		if (!take(&c->promises, &v))
			return false;
		sprintf(out, "subscribe %s", vref_format(v, text));
		return true;
	case 10:
	case 11:
		return say_list_of(&c->reachable_imports, c, "drop", &c->unreachable_imports, out);
	case 12:
		return say_list_of(&c->unreachable_imports, c, "retimp", NULL, out);
	case 13:
		if (chance(50))
			return say_list_of(&c->unreachable_exports, c, "retexp", NULL, out);
		return chance(30) && say_list_of(&c->exports, c, "abandon", NULL, out);
	case 14:
		sprintf(out, "set k%u v%u", below(20), below(1000));
		return true;
	default:
		sprintf(out, "del k%u", below(20));
		return true;
	}
}

static inline void any_ref(char *out)
{
	vref_t v = vref_make(chance(40), chance(50), 1 + below(30));

	if (chance(5))
		v = VREF_ROOT;
	vref_format(v, out);
}

/* Legal or not, nobody knows. */
static inline void say_anything(char *out)
{
	static const char *const kinds[] = {"data", "ref", "rej", "krej"};
	char a[REF_TEXT_MAX], b[REF_TEXT_MAX], c[REF_TEXT_MAX];

	any_ref(a);
	any_ref(b);
	any_ref(c);
	switch (below(10)) {
	case 0:
		sprintf(out, "send %s #x [%s %s] %s", a, b, c, chance(50) ? "-" : b);
		break;
	case 1:
		sprintf(out, "send %s #x [%s] %s", a, b, c);
		break;
	case 2:
		sprintf(out, "resolve %s %s #x [%s]", a, kinds[below(4)], b);
		break;
	case 3:
		sprintf(out, "resolve %s %s #x [%s]; %s %s #y [%s]", a, kinds[below(4)], b, c,
		        kinds[below(4)], a);
		break;
	case 4:
		sprintf(out, "subscribe %s", a);
		break;
	case 5:
		sprintf(out, "drop %s %s", a, b);
		break;
	case 6:
		sprintf(out, "retimp %s %s", a, b);
		break;
	case 7:
		sprintf(out, "retexp %s", a);
		break;
	case 8:
		sprintf(out, "abandon %s %s", a, b);
		break;
	case 9:
		sprintf(out, "exit %s #x [%s]", chance(50) ? "ok" : "fail", a);
		break;
	}
}

#endif
