/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kernel objects: owner and the two counts (C4). n_reachable <= n_recognizable always.
 * A row exists as long as an owner's clist entry, or any count, does (G3).
 */
#ifndef CAPSTAN_OBJECT_H
#define CAPSTAN_OBJECT_H

#include "kernel.h"

enum { OBJECT_E_UNKNOWN = 1 };

/* Who stands behind an object at this moment: the stored owner seen through incarnations and vat states. */
enum object_owner {
	OWNER_NONE,		/* deleted, abandoned, or of an earlier incarnation that could not survive */
	OWNER_ALIVE,
	OWNER_SUSPENDED,
	OWNER_TERMINATED,
	OWNER_KERNEL,
};

int object_new(struct kernel *k, endpoint_t owner, uint32_t incarnation, bool survives, kref_t *refp);
int object_load(struct kernel *k, kref_t ref, struct row_object *rowp);	/* OBJECT_E_UNKNOWN */
int object_save(struct kernel *k, kref_t ref, const struct row_object *row);
int object_delete(struct kernel *k, kref_t ref);
/*
 * X1: revoked by itself, or with all that its vat had exported. The second is a number in the vat's row, so it is done at once
 * however many there are; it is written into the object when that loses its owner.
 */
bool object_is_revoked(struct kernel *k, kref_t ref, const struct row_object *row);
int object_revoke(struct kernel *k, kref_t ref, struct row_object *row);
int object_revoke_all(struct kernel *k, struct vat *v);		/* what it has exported until now; inside a savepoint */
int object_disown(struct kernel *k, kref_t ref);		/* nobody owns it any more; touched */
int object_keep_revoked(struct kernel *k, kref_t ref);		/* its vat ends */
/* Move the counts; the row must exist. Touches the object for gc. */
int object_ref(struct kernel *k, kref_t ref, int reachable, int recognizable);
/* *vatp (may be NULL): the owner's vat where there is one. */
enum object_owner object_owner(struct kernel *k, const struct row_object *row, struct vat **vatp);

#endif
