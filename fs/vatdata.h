/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vat's own store, as those lay it out who write vats: the C library (vatd/lib/store.c has the list of its tables) and
 * the Python one (vatd/examples/vat.py). All of it is bytes of a vat: whatever is not as they write it is left out here, or shown
 * as the bytes that it is; all of it is in the file `vatstore`.
 *
 * A table is a prefix, "object." + NAME. What the C library keeps for objects that do not survive a restart stands in the same
 * tables under "life.N.", N the incarnation.
 */
#ifndef CAPSTAN_FS_VATDATA_H
#define CAPSTAN_FS_VATDATA_H

#include "text.h"
#include "view.h"

#define VAT_KIND_MAX	63u

struct vat_entry {
	const uint8_t *key;		/* behind the prefix */
	size_t key_len;
	const uint8_t *value;
	size_t len;
	uint64_t life;			/* 0: it lasts */
};
struct vat_look { struct view *view; uint64_t vat; struct text *text; void *ctx; };
typedef void (*vat_entry_fn)(struct vat_look *l, const struct vat_entry *e);

/* Every key that begins with `prefix` (up to VATSTORE_PREFIX bytes), in byte order, until the text is cut. */
int vat_each(struct vat_look *l, const char *prefix, vat_entry_fn show);
/* The same of "TABLE." + `begin`, and then of "life.N.TABLE." + `begin` for each N. */
int vat_each_of_table(struct vat_look *l, const char *table, const char *begin, vat_entry_fn show);
/* ABSENT unless a key begins with one of the prefixes, the last of which is NULL. */
int vat_any(struct view *v, uint64_t vat, const char *const *prefixes);

/* How a value is written: body, line feed, references (C); references, line feed, body (Python). */
enum vat_form { VAT_FORM_C, VAT_FORM_PYTHON };
struct vat_value { const char *body; size_t body_len; uint64_t *vrefs; size_t n_vrefs; };	/* body borrowed */
enum { VAT_VALUE_E_OTHER = 1 };		/* not written so */
int vat_value_read(const void *data, size_t len, enum vat_form form, struct vat_value *out);	/* -ENOMEM */
void vat_value_deinit(struct vat_value *value);
/* One readable line, references by the kernel's names; bytes that are no such value as they are. */
void vat_show_value(struct vat_look *l, const void *data, size_t len, enum vat_form form);
/* A key of a collection as one cell of a table. */
void vat_show_key(struct vat_look *l, const void *key, size_t len);
/* The kernel's name for it as a cell; "-": it is not in the vat's clist. */
void vat_show_kref(struct vat_look *l, vref_t vref);

/*
 * The kinds of objects that the store tells of: "kind.NAME" and "builtin.NAME" (C), "k.NAME" (Python). A reference has the number
 * of its kind in it. vat_kinds.c
 */
enum kind_source { KIND_C, KIND_BUILTIN, KIND_PYTHON };
struct kind {
	enum kind_source source;
	bool is_virtual;
	uint64_t number;		/* 0: it has no objects yet */
	char name[VAT_KIND_MAX + 1];	/* bytes of the vat, cut */
	const char *rest;		/* of its row, behind the number; borrowed */
	size_t rest_len;
};
struct kinds { struct kind *kinds; size_t n, size; };
int kinds_load(struct kinds *k, struct view *v, uint64_t vat);	/* k is good for kinds_deinit() in any case */
void kinds_deinit(struct kinds *k);
bool kinds_is_collection(const struct kinds *k, vref_t vref);	/* a Map, a Set, or the rows of one */
void kinds_show(const struct kinds *k, struct text *t, vref_t vref);	/* its name as a cell */
/* "o+d2." or "o+v2.", with which its objects' names begin. */
void kind_prefix(const struct kind *k, char out[32]);

#endif
