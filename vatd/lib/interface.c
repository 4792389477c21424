/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What others' objects are alleged to be ("Alleged: Purse"), to say it again when they are passed on. Each name is
 * kept once and counted; a reference needs no memory of its own for it. Others choose the names, so there is a
 * bound on their length and their number: what is beyond is passed on without.
 */
#include "internal.h"

#define MAX_LENGTH	128u
#define MAX_NAMES	4096u

struct interface {
	struct interface *next;
	size_t n_refs, len;
	char text[];			/* as it stood in the JSON string */
};

static struct interface **find(vat *v, const char *text, size_t len)
{
	uint32_t h = 2166136261u;
	for (size_t i = 0; i < len; i++)
		h = (h ^ (unsigned char)text[i]) * 16777619u;
	struct interface **at = &v->interfaces[h % ARRAY_LEN(v->interfaces)];
	while (*at && ((*at)->len != len || memcmp((*at)->text, text, len) != 0))
		at = &(*at)->next;
	return at;
}

void interface_learn(vat *v, vat_ref *r, const struct vat_value *string)
{
	const char *p = string->at + 1, *end = jtext_skip(string->at, string->end) - 1;
	if (r->kind != REF_IMPORT || r->interface || *p != '$')
		return;
	while (p < end && *p != '.')
		p++;
	size_t len = (size_t)(end - p);
	if (len < 2 || len > MAX_LENGTH)
		return;
	struct interface **at = find(v, p, len);
	if (!*at) {
		if (v->n_interfaces == MAX_NAMES)
			return;
		struct interface *i = vat_alloc(v, sizeof(*i) + len);
		i->len = len;
		memcpy(i->text, p, len);
		*at = i;
		v->n_interfaces++;
	}
	(*at)->n_refs++;
	r->interface = *at;
}

void interface_forget(vat *v, vat_ref *r)
{
	struct interface *i = r->interface;
	if (!i)
		return;
	r->interface = NULL;
	if (--i->n_refs)
		return;
	*find(v, i->text, i->len) = i->next;
	free(i);
	v->n_interfaces--;
}

void interface_put(struct jtext *t, const vat_ref *r)
{
	if (r->interface)
		jtext_put(t, r->interface->text, r->interface->len);
}

void interfaces_close(vat *v)
{
	for (size_t i = 0; i < ARRAY_LEN(v->interfaces); i++) {
		for (struct interface *f; (f = v->interfaces[i]);) {
			v->interfaces[i] = f->next;
			free(f);
		}
	}
}
