/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looks, under leases: see look.h.
 *
 * A store that cannot be read is the reader's EIO and a line in the log, not the end of this process: there is nothing
 * here that stopping would protect, and every other file may still be good.
 */
#include "look.h"

#include <sys/stat.h>

void look_init(struct look *l, struct reader *reader, struct lease *lease, int data_fd)
{
	*l = (struct look){ .reader = reader, .lease = lease, .data_fd = data_fd };
}

static uint64_t store_bytes(int data_fd)
{
	struct stat st;

	return fstat(data_fd, &st) ? 0 : (uint64_t)st.st_size;
}

/* A snapshot and its lease come and go together. */
static int snapshot_take(struct look *l, int *leasep)
{
	int r = 0;

	*leasep = lease_acquire(l->lease);
	if (*leasep)
		return 0;
	r = reader_begin(l->reader);
	if (r) {
		*leasep = lease_release(l->lease);
		return r;
	}
	l->has_snapshot = true;
	l->store_bytes = store_bytes(l->data_fd);	/* once a state, not once a look: a call of the system for every name */
	return 0;
}

static int snapshot_drop(struct look *l)
{
	if (!l->has_snapshot)
		return 0;
	l->has_snapshot = false;
	reader_end(l->reader);
	return lease_release(l->lease);
}

void look_deinit(struct look *l)
{
	if (l->lease)
		frozen_deinit(&l->frozen, l->lease);
	snapshot_drop(l);
	*l = (struct look)LOOK_INIT;
}

/* One try. Outcomes of `look`; LEASE_E_* come back in *leasep. */
static int look_once(struct look *l, look_fn look, void *arg, int *leasep)
{
	struct view v = { .reader = l->reader, .live = l->lease->live, .frozen = l->frozen.trees };
	int r = 0;

	*leasep = 0;
	if (l->has_snapshot && !lease_is_current(l->lease))
		*leasep = snapshot_drop(l);
	if (!*leasep && !l->has_snapshot)
		r = snapshot_take(l, leasep);
	if (*leasep || r)
		return r;
	v.now_us = now_realtime_us();
	v.store_bytes = l->store_bytes;
	r = look(&v, arg);
	*leasep = lease_check(l->lease);
	if ((*leasep || r < 0 || !lease_is_current(l->lease)) && snapshot_drop(l))
		*leasep = LEASE_E_GONE;
	return r;
}

static int answer_of(int r)
{
	if (r < 0)
		return -r == ENOMEM ? ENOMEM : EIO;
	return r == VIEW_E_ABSENT ? ENOENT : r ? EIO : 0;
}

static void look_sweep(struct look *l)
{
	if (!frozen_sweep(&l->frozen, l->lease))
		l->broker_gone = true;
}

/* What ended while it was looked at is as good as not there. */
static int look_frozen_at(struct look *l, uint32_t snapshot, look_fn look, void *arg)
{
	struct view v;
	int r;

	if (l->broker_gone || !frozen_view(&l->frozen, l->lease, snapshot, &v))
		return ENOENT;
	r = look(&v, arg);
	return frozen_alive(&l->frozen, l->lease, snapshot) ? answer_of(r) : ENOENT;
}

int look_at(struct look *l, uint32_t snapshot, look_fn look, void *arg)
{
	if (snapshot)
		return look_frozen_at(l, snapshot, look, arg);
	look_sweep(l);
	for (int i = 0; i < LOOK_TRIES && !l->broker_gone; i++) {
		int lease, r = look_once(l, look, arg, &lease);

		if (lease == LEASE_E_GONE)
			l->broker_gone = true;
		else if (lease == LEASE_E_UNAVAILABLE || lease < 0)
			return EIO;
		else if (!lease)
			return answer_of(r);
	}
	return EIO;
}

int look_frozen(struct look *l, const char *name, uid_t uid, uint32_t *numberp)
{
	bool gone = false;
	int error;

	if (!frozen_name_ok(name))
		return ENOENT;
	look_sweep(l);
	if (l->broker_gone)
		return EIO;
	*numberp = frozen_named(&l->frozen, name);
	if (*numberp)
		return 0;
	error = frozen_make(&l->frozen, l->lease, l->reader, name, uid, store_bytes(l->data_fd), numberp, &gone);
	if (gone)
		l->broker_gone = true;
	return error;
}

int look_timeout_ms(const struct look *l)
{
	int frozen = frozen_timeout_ms(&l->frozen), kept = l->has_snapshot ? (int)LEASE_KEEP_MS : -1;

	return kept < 0 || (frozen >= 0 && frozen < kept) ? frozen : kept;
}

void look_tick(struct look *l)
{
	if (l->has_snapshot && !lease_is_current(l->lease) && snapshot_drop(l) == LEASE_E_GONE)
		l->broker_gone = true;
	look_sweep(l);
}
