/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the broker shows of itself while it works, and what the store therefore does not hold: what is in flight, what each vat
 * uses, how much was done, and the last things that happened. One memfd: the broker maps it read-write, capstan-fs read-only
 * (sealed against other writable maps). Mostly holes: only what is used takes memory.
 *
 * Written without locks, by one writer. A slot of a vat is read under its `turn` (odd while it is written): copy, and copy
 * again if it has changed (live_vat_read()). A single 64-bit number is read as it is.
 *
 * The ring of events. Event n (from 1) stands in events[n % LIVE_EVENTS]. Before a slot is written again `n_begun` goes up, and
 * `n_shown` when what is in it was committed: a reader shows those up to n_shown, and after it has copied one looks whether
 * n_begun has left it alone: else that one is lost, which the reader counts and says (live_event_read()).
 */
#ifndef CAPSTAN_LIVE_H
#define CAPSTAN_LIVE_H

#include "lease.h"
#include "schema.h"

#define LIVE_VERSION	1u
#define LIVE_VATS	65536u		/* slot of vat n: n % LIVE_VATS; of two living ones that meet there, the earlier has it */
#define LIVE_EVENTS	32768u
#define LIVE_TEXT	64u

/* What a delivery is. */
enum live_work {
	LIVE_WORK_NONE = 0, LIVE_WORK_START, LIVE_WORK_MESSAGE, LIVE_WORK_NOTIFY, LIVE_WORK_DROP_EXPORTS, LIVE_WORK_RETIRE_EXPORTS,
	LIVE_WORK_RETIRE_IMPORTS, LIVE_WORK_REAP, LIVE_WORK_WAKE,
};
/* Where its process is (enum vat_proc of broker/vat.h). */
enum live_proc { LIVE_PROC_NONE = 0, LIVE_PROC_WANTED, LIVE_PROC_SPAWNING, LIVE_PROC_ALIVE, LIVE_PROC_DYING };

#define LIVE_F_SWEEPING	0x01u		/* what its earlier incarnation left is being cleaned up: no deliveries meanwhile */
#define LIVE_F_WAKE	0x02u		/* it asked for a wake-up and has not had it */

struct live_vat {			/* 192 bytes */
	uint64_t vat;			/* 0: free */
	uint32_t turn, proc;		/* enum live_proc */
	uint32_t flags, work;		/* LIVE_F_*; enum live_work of the first delivery in flight; NONE: nothing is */
	uint64_t delivery;		/* its number */
	uint64_t seq;			/* of its queue item; 0: it came from no queue */
	uint64_t since_us;		/* realtime: when it was sent */
	uint32_t n_in_flight, n_items;	/* sent and not done; of these, from the head of its queue */
	uint64_t n_cranks, n_abandoned;	/* in this broker's time */
	uint64_t n_syscalls, n_messages; /* applied; messages it sent */
	uint64_t bytes_in, bytes_out;	/* on the channel of its process, from the vat and to it */
	uint64_t busy_us;		/* time in deliveries, sum */
	uint64_t memory;		/* resident bytes, when looked at last; 0 unknown */
	uint64_t cpu_ns;		/* of its process; 0 unknown */
	uint64_t sampled_us;		/* realtime of that look; 0 never */
	uint64_t reserved[7];
};
_Static_assert(sizeof(struct live_vat) == 192, "a fixed layout");

struct live_kernel {
	uint64_t start_us;		/* realtime: this broker */
	int32_t pid;
	uint32_t zero;
	uint64_t n_commits, commit_us;	/* how many; realtime of the last */
	uint64_t n_in_flight;		/* vats with a delivery */
	uint64_t n_cranks, n_abandoned, n_illegal, n_dropped_sends, n_deaths, n_messages, n_notifies, n_gc, n_ahead;
	uint64_t n_objects_gone, n_promises_gone, n_circular;
	uint64_t n_calls;		/* calls from outside that wait for their answer */
	uint64_t n_events_lost;		/* events that did not fit between two commits */
	uint64_t reserved[16];
};

enum live_event_kind {
	/*
	 * vat, crank, work, outcome, duration; ref: target (GC: the first reference); n: syscalls; text: its first ref2 bytes are the
	 * method as it stands in the message's JSON, the rest why it was abandoned. What it resolved and deleted follows it.
	 */
	LIVE_CRANK = 1,
	LIVE_RESOLVE,		/* ref: promise; vat: who did it (ENDPOINT_K: the kernel); outcome: enum promise_state; ref2: forwarded to */
	LIVE_GC,		/* vat: who is told; work; n: how many; ref: the first of them */
	LIVE_GONE,		/* ref: an object or promise that is deleted */
	LIVE_SPAWN,		/* vat, n: incarnation, ref2: pid */
	LIVE_DEATH,		/* its process has ended: vat, n: incarnation that it was; text: why */
	LIVE_STATUS,		/* vat; outcome: enum vat_status that it has now; text: why suspended or terminated */
	LIVE_LAUNCH,		/* ref: number of the subcluster; text: its name, if it is a system subcluster */
	LIVE_END,		/* ref: number of the subcluster: its last row is gone */
};
enum live_outcome { LIVE_APPLIED = 1, LIVE_ABANDONED = 2 };

struct live_event {			/* 128 bytes */
	uint64_t number;		/* from 1 */
	uint64_t time_us;		/* realtime */
	uint16_t kind, outcome;
	uint32_t duration_us;		/* sent to done */
	uint64_t vat;			/* endpoint bits; 0: none */
	uint64_t crank;			/* delivery number */
	uint64_t ref, ref2;
	uint32_t n;
	uint16_t work, text_len;
	uint8_t text[LIVE_TEXT];	/* bytes of a vat: not escaped; cut, if longer */
};
_Static_assert(sizeof(struct live_event) == 128, "a fixed layout");

struct live_page {
	struct lease_page lease;	/* 128 bytes */
	uint32_t version, event_size, vat_size, zero;
	uint64_t n_begun, n_shown;	/* numbers of events */
	uint64_t n_slots;		/* no slot from this on was ever used */
	struct live_kernel kernel;
	struct live_vat vats[LIVE_VATS];
	struct live_event events[LIVE_EVENTS];
};

enum { LIVE_E_ABSENT = 1 };
/* A copy that is of one moment. ABSENT: that vat has no slot (or, after some tries, none that holds still). */
static inline int live_vat_read(const struct live_page *page, uint64_t vat, struct live_vat *out)
{
	const struct live_vat *slot = &page->vats[vat % LIVE_VATS];

	for (int i = 0; i < 1000; i++) {
		uint32_t turn = __atomic_load_n(&slot->turn, __ATOMIC_ACQUIRE);

		*out = *slot;
		__atomic_thread_fence(__ATOMIC_ACQUIRE);
		if (!(turn & 1) && __atomic_load_n(&slot->turn, __ATOMIC_RELAXED) == turn)
			return out->vat == vat && vat ? 0 : LIVE_E_ABSENT;
	}
	return LIVE_E_ABSENT;
}
/* ABSENT: number `n`, which is at most n_shown, has been written over. */
static inline int live_event_read(const struct live_page *page, uint64_t n, struct live_event *out)
{
	*out = page->events[n % LIVE_EVENTS];
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	return out->number == n && __atomic_load_n(&page->n_begun, __ATOMIC_RELAXED) < n + LIVE_EVENTS ? 0 : LIVE_E_ABSENT;
}

#endif
