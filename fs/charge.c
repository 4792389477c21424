/* SPDX-License-Identifier: Apache-2.0 */
/* Charges: see charge.h. Users are few: there are at most CHARGE_MAX_THINGS, and mostly one or two. */
#include "charge.h"

struct charge_user {
	struct charge_user *prev, *next;
	uid_t uid;
	size_t n, n_bytes;
};

void charges_deinit(struct charges *c)
{
	assert(!c->users && !c->n && !c->n_bytes);
}

static void unlink_user(struct charges *c, struct charge_user *u)
{
	if (u->prev)
		u->prev->next = u->next;
	else
		c->users = u->next;
	if (u->next)
		u->next->prev = u->prev;
}

static void link_user(struct charges *c, struct charge_user *u)
{
	u->prev = NULL;
	u->next = c->users;
	if (u->next)
		u->next->prev = u;
	c->users = u;
}

static struct charge_user *user_of(struct charges *c, uid_t uid)
{
	struct charge_user *u = c->users;

	while (u && u->uid != uid)
		u = u->next;
	if (u) {
		unlink_user(c, u);
	} else {
		u = calloc(1, sizeof(*u));
		if (!u)
			return NULL;
		u->uid = uid;
	}
	link_user(c, u);
	return u;
}

static void forget_if_idle(struct charges *c, struct charge_user *u)
{
	if (u->n)
		return;
	assert(!u->n_bytes);
	unlink_user(c, u);
	free(u);
}

static int refused(const struct charges *c, const struct charge_user *u, size_t more, size_t bytes)
{
	if (u->n + more > CHARGE_MAX_UID_THINGS || u->n_bytes + bytes > CHARGE_MAX_UID_BYTES)
		return EMFILE;
	/* Several users together cannot shut out root: its share is on top of theirs. */
	if (c->n + more > CHARGE_MAX_THINGS + (u->uid ? 0 : CHARGE_MAX_UID_THINGS) ||
	    c->n_bytes + bytes > CHARGE_MAX_BYTES + (u->uid ? 0 : CHARGE_MAX_UID_BYTES))
		return ENFILE;
	return 0;
}

int charge_take(struct charges *c, struct charge *charge, uid_t uid, size_t bytes)
{
	struct charge_user *u = user_of(c, uid);
	int error;

	assert(!charge->user);
	if (!u)
		return ENOMEM;
	error = refused(c, u, 1, bytes);
	if (error) {
		forget_if_idle(c, u);
		return error;
	}
	u->n++;
	c->n++;
	u->n_bytes += bytes;
	c->n_bytes += bytes;
	*charge = (struct charge){ u, bytes };
	return 0;
}

int charge_resize(struct charges *c, struct charge *charge, size_t bytes)
{
	struct charge_user *u = charge->user;
	int error = bytes > charge->bytes ? refused(c, u, 0, bytes - charge->bytes) : 0;

	if (error)
		return error;
	u->n_bytes = u->n_bytes - charge->bytes + bytes;
	c->n_bytes = c->n_bytes - charge->bytes + bytes;
	charge->bytes = bytes;
	return 0;
}

void charge_drop(struct charges *c, struct charge *charge)
{
	struct charge_user *u = charge->user;

	if (!u)
		return;
	u->n--;
	c->n--;
	u->n_bytes -= charge->bytes;
	c->n_bytes -= charge->bytes;
	*charge = (struct charge)CHARGE_INIT;
	forget_if_idle(c, u);
}
