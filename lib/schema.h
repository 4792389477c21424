/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store's schema: every table, its key and its row, in one place. Whoever reads or writes the store (the
 * broker's tables, capstan-fs, the offline checker) goes through this page.
 *
 * Keys are fixed binary, big-endian, so that cursors walk in numeric order. Rows are packed little-endian
 * structs, some followed by variable bytes. A schema version that is not SCHEMA_VERSION is refused.
 *
 *	table		key					row
 *	META		text					u64 or text (META_* below)
 *	VAT		u64 vat					struct row_vat
 *	VAT_CONFIG	u64 vat					JSON text (lib/config.h, program by hash)
 *	VAT_PARAM	u64 vat					capdata (slots krefs, each counted)
 *	SUBCLUSTER	u64 subcluster				struct row_subcluster
 *	SUB_CONFIG	u64 subcluster				JSON text as given
 *	MEMBER		u64 subcluster, u64 vat			vat's name
 *	OBJECT		u64 kref				struct row_object
 *	PROMISE		u64 kref				struct row_promise
 *	VALUE		u64 kref (settled promise, link 0)	capdata
 *	CLIST		u64 endpoint, u64 kref			struct row_clist (eref)
 *	EREF		u64 endpoint, u64 eref			struct row_clist (kref)
 *	IMPORTER	u64 kref (object), u64 endpoint		empty
 *	DECIDED		u64 endpoint, u64 kref (promise)	empty
 *	SUBSCRIBER	u64 kref (promise), u64 endpoint	empty
 *	FORWARD		u64 target promise, u64 source promise	empty
 *	QUEUE		u64 holder, u64 seq			struct row_item + capdata; holder: endpoint or promise
 *	NOTIFYING	u64 endpoint, u64 kref (promise)	u64 seq of the queued notify
 *	GC		u64 endpoint, u8 type, u64 kref		empty
 *	SWEEP		u64 endpoint				struct row_sweep: cleaning up after a death
 *	VATSTORE	u64 space (vat), up to 400 key bytes	bucket (see VATSTORE_PREFIX below)
 *	HOLD		u64 kref, u8 kind, u64 owner		struct row_hold: counts held for the outside
 *	SERVICE		name					struct row_service
 *	SERVICE_OF	u64 kref				name
 *	LOG		u64 vat, u64 line number		struct row_log + text
 *	CODE		32 bytes SHA-256			struct row_code
 *	ASIDE		u64 vat, u64 seq			struct row_aside + capdata (slots krefs, not counted)
 *	SUSPECT		u64 enum suspect_kind, u64 kref		empty: promises that the search for circles looks at
 *	CHARGE		u64 holder (as QUEUE), u64 endpoint	struct row_charge: what that one has there; 0: the outside
 *	DEATH		u64 vat, u64 number			struct row_death + text: how its last processes ended (DEATH_KEEP)
 */
#ifndef CAPSTAN_SCHEMA_H
#define CAPSTAN_SCHEMA_H

#include <capstan/ref.h>
#include <capstan/wire.h>

#include "util.h"

#define SCHEMA_VERSION	3

enum table {
	T_META, T_VAT, T_VAT_CONFIG, T_VAT_PARAM, T_SUBCLUSTER, T_SUB_CONFIG, T_MEMBER, T_OBJECT, T_PROMISE,
	T_VALUE, T_CLIST, T_EREF, T_IMPORTER, T_DECIDED, T_SUBSCRIBER, T_FORWARD, T_QUEUE, T_NOTIFYING, T_GC,
	T_SWEEP, T_VATSTORE, T_HOLD, T_SERVICE, T_SERVICE_OF, T_LOG, T_CODE, T_ASIDE, T_SUSPECT,
	T_CHARGE, T_DEATH,
	T_N
};
extern const char *const table_names[T_N];	/* the LMDB database names: "vat", "clist", … */

/* META keys: u64 little-endian unless noted. */
#define META_SCHEMA		"schema"
#define META_NEXT_OBJECT	"next-object"		/* next ko number to give out; first 1 */
#define META_NEXT_PROMISE	"next-promise"
#define META_NEXT_VAT		"next-vat"
#define META_NEXT_SUBCLUSTER	"next-subcluster"
#define META_NEXT_SEQ		"next-seq"
#define META_NEXT_UID		"next-uid"		/* next offset in the uid block; never reused */
#define META_NEXT_DELIVERY	"next-delivery"		/* crank numbers */
#define META_NEXT_CODE		"next-code"		/* of a program in the code store; first 1 */
#define META_NEXT_SPACE		"next-space"		/* of the vatstore's linked spaces, without bit 63; first 1 */
#define META_UID_BLOCK		"uid-block"		/* first uid of the instance's block; 0: not root */
#define META_N_BOOT		"n-boot"		/* how often a broker opened this store */
#define META_BOOT_TIME		"boot-time"		/* realtime us of the last of them */
#define META_VERSION		"version"		/* text: program version that wrote last */
#define META_LIMITS		"limits"		/* struct row_limits: the defaults in force, written at boot */

enum vat_status {
	VAT_STARTING = 1,	/* process not there yet, or startVat not applied */
	VAT_RUNNING = 2,
	VAT_SUSPENDED = 3,
	VAT_TERMINATED = 4,	/* its record is kept for people until the subcluster goes */
};
#define VAT_N_DEATHS	8	/* death times remembered: more than the default of 3 in 60 s */
#define VAT_NAME_MAX	64	/* bytes of a vat's or service's name */
#define VAT_REASON_MAX	160

/* Vat flags. */
#define VAT_F_LAUNCHING	0x01u	/* member of a subcluster whose bootstrap is not queued yet: V4 does not apply */
#define VAT_F_REAP	0x02u	/* a bringOutYourDead is pending */
#define VAT_F_RESUME_RESTARTS 0x04u /* suspended without process: resume spawns anew */
#define VAT_F_HELD	0x08u	/* suspended by hand, with its process */
#define VAT_F_UNSTARTED	0x10u	/* suspended before its startVat was applied: resume leads back to STARTING */

struct row_vat {
	uint64_t subcluster;
	uint32_t incarnation;		/* from 1 */
	uint32_t status;		/* enum vat_status */
	uint32_t flags;			/* VAT_F_* */
	uint32_t uid;			/* real uid; 0 when not root (degraded mode) */
	int32_t pid;			/* 0: no process; cleared at boot */
	uint32_t isolation;		/* SPAWN_ISO_* bits reached, see broker/spawn.h */
	uint64_t next_import;		/* next o- number to give out; first 1 */
	uint64_t next_import_promise;	/* next p- number */
	uint64_t next_export;		/* least o+ number above all ever seen; init tells the vat */
	uint64_t next_export_promise;
	uint64_t n_queued;		/* items in its queue */
	uint64_t queued_bytes;
	uint64_t vatstore_bytes;	/* keys and values */
	uint64_t n_exports;		/* entries with + sign, objects and promises */
	uint64_t n_imports;
	uint64_t n_senders;		/* who have messages in its queue: CHARGE rows with n_messages */
	uint64_t n_introducers;		/* others who brought it imports that it still has: with n_imports */
	uint64_t n_calls;		/* calls of services that it made and that are not answered */
	uint64_t n_cranks;		/* applied, over all incarnations */
	uint64_t started_us;		/* realtime us of this incarnation's spawn; 0 never */
	uint64_t killer_seq;		/* queue item in flight at the last death; 0 none, UINT64_MAX startVat */
	uint32_t killer_count;		/* how many times running it killed */
	uint32_t n_deaths;		/* over all incarnations */
	uint64_t death_us[VAT_N_DEATHS]; /* realtime us, ring by n_deaths */
	uint32_t n_dirt_deliveries;	/* since the last bringOutYourDead */
	uint32_t n_dirt_gc;
	uint64_t next_log;		/* next line number, from 1 */
	uint64_t n_log_dropped;
	uint64_t log_bytes;		/* `offset` of the next line */
	uint64_t next_death;		/* number of the next DEATH row, from 1: deaths, failed starts and restarts by request */
	uint64_t revoked_below;		/* what it exported with a lesser ko number is revoked (X1); 0: nothing */
	uint64_t n_aside, aside_bytes;	/* its ASIDE rows (V4) */
	uint8_t code[32];		/* SHA-256 of its program */
	char name[VAT_NAME_MAX + 8];	/* NUL-terminated */
	char reason[VAT_REASON_MAX];	/* why suspended or terminated; NUL-terminated */
};

enum subcluster_status { SUB_LAUNCHING = 1, SUB_RUNNING = 2, SUB_TERMINATING = 3 };
struct row_subcluster {
	uint32_t status;
	uint32_t zero;
	uint64_t bootstrap_vat;
	uint64_t root;			/* kref of the bootstrap vat's root */
	uint64_t created_us;
	uint64_t ended_us;		/* RUNNING: when its last vat had terminated (S5); 0: one lives */
	char name[VAT_NAME_MAX + 8];	/* system subclusters; else empty */
};

#define OBJECT_F_REVOKED	0x01u
#define OBJECT_F_SURVIVES	0x02u	/* o+0 or durable: the owner's incarnation does not count */
struct row_object {
	uint64_t owner;			/* endpoint; 0: none */
	uint32_t owner_incarnation;
	uint32_t flags;			/* OBJECT_F_* */
	uint64_t n_reachable;		/* <= n_recognizable */
	uint64_t n_recognizable;
};

enum promise_state { PROMISE_UNRESOLVED = 1, PROMISE_FORWARDED = 2, PROMISE_FULFILLED = 3, PROMISE_REJECTED = 4 };
#define PROMISE_F_REF		0x01u	/* fulfilled with exactly one reference, slot 0 of the value */
#define PROMISE_F_KERNEL	0x02u	/* rejected by the kernel itself */
#define PROMISE_F_PROMISES	0x08u	/* settled: its value names promises, so it may be part of a circle (P9) */
#define PROMISE_F_HOST		0x04u	/* unsettled: a caller outside waits (a HOLD_HOST row may exist) */
struct row_promise {
	uint32_t state;			/* enum promise_state */
	uint32_t flags;			/* PROMISE_F_* */
	uint64_t n_refs;		/* C5 */
	uint64_t decider;		/* endpoint; 0: none (queued, kernel-made, settled, forwarded) */
	uint32_t decider_incarnation;
	uint32_t zero;
	uint64_t link;			/* FORWARDED: the target promise; UNRESOLVED without decider: holder (QUEUE key) of
					   the message that will decide it, 0 none; settled: the promise whose VALUE is its
					   too (then it has none of its own, and counts that promise), 0: its own */
	uint64_t n_waiting;		/* messages in its queue */
};

#define CLIST_F_REACHABLE	0x01u	/* objects; always set for promises and for exports that are not dropped */
struct row_clist {
	uint64_t ref;
	uint32_t flags;			/* CLIST_F_* */
	uint32_t introducer;		/* CLIST, of an import: the vat whose message brought it; 0: the outside */
};

enum item_kind { ITEM_MESSAGE = 1, ITEM_NOTIFY = 2 };
struct row_item {
	uint32_t kind;			/* enum item_kind */
	uint32_t zero;
	uint64_t enqueued_us;		/* realtime */
	uint64_t sender;		/* endpoint; 0: the host */
	uint64_t target;		/* kref: MESSAGE its target, NOTIFY the promise */
	uint64_t result;		/* kref or 0 */
	/* MESSAGE: capdata follows (slots krefs) */
};

enum gc_type { GC_DROP_EXPORT = 1, GC_RETIRE_EXPORT = 2, GC_RETIRE_IMPORT = 3 };

/* Of the cleaning up after a death, in this order; a restart begins with DECIDED. */
enum sweep_phase {
	SWEEP_QUEUE, SWEEP_CALLS, SWEEP_DECIDED, SWEEP_CLIST, SWEEP_GC, SWEEP_VATSTORE, SWEEP_PARAM, SWEEP_END
};
struct row_sweep { uint32_t phase; uint32_t terminated; uint64_t cursor; };	/* phase: enum sweep_phase */

/* Counts held for somebody outside the clists; each row counts `count` times (objects: reachable+recognizable). */
enum hold_kind {
	HOLD_ROOT = 1,			/* owner: subcluster; root of one of its vats (G5) */
	HOLD_RESULT = 2,		/* owner: subcluster; reference in its bootstrap result */
	HOLD_PERSON = 3,		/* owner: 0; `capstan call` printed it, ended by `release` */
	HOLD_SERVICE = 4,		/* owner: 0; service object */
	HOLD_PIN = 5,			/* owner: 0; pins nest in `count` */
	HOLD_HOST = 6,			/* owner: a request number; host subscription to a promise, dropped at boot */
};
struct row_hold { uint64_t count; uint64_t since_us; };

#define SERVICE_F_HOST	0x01u	/* served by a program outside, or by none at the moment; else built in */
#define SERVICE_F_SYSTEM_ONLY 0x02u /* given to system subclusters only (S1) */
#define SERVICE_F_IO	0x04u	/* a channel of `subcluster`; its name is io:sN:NAME */
struct row_service {
	uint64_t kref;
	uint32_t flags;			/* SERVICE_F_* */
	uint32_t uid;			/* HOST: who registered it and may attach again */
	uint64_t subcluster;		/* IO: whose; else 0 */
	uint64_t position;		/* IO: of a file that is read: the end of what was answered */
};
/* `offset`: bytes of all lines before it as the mount shows them (log_line_size()): a place in a file that only grows. */
struct row_log { uint64_t time_us; uint32_t level; uint32_t incarnation; uint64_t offset; };	/* then text */
struct row_code { uint64_t size, added_us, number; };	/* number: from 1, in the order in which they came; then the name under which it came, CODE_NAME_MAX bytes at most */
#define CODE_NAME_MAX	255u
#define DEATH_KEEP	16u	/* rows of a vat */
struct row_death { uint64_t time_us; uint32_t incarnation; uint32_t zero; };	/* then text */
/* The limits of a vat whose cluster says nothing, as struct config_limits (lib/config.h), in its order. 0: none. */
struct row_limits {
	uint64_t deadline_ms, cpu_ms, queue_messages, queue_bytes, waiting_messages, waiting_bytes, syscalls, crank_bytes, exports,
		imports, vatstore_bytes, log_lines, memory, n_procs, n_files;
};
struct row_aside { uint64_t time_us; uint64_t target; uint32_t deaths; uint32_t zero; };	/* then capdata */

enum suspect_kind {
	SUSPECT_DEAD = 1,		/* nobody holds it; deleted in the next steps */
	SUSPECT_CIRCLE = 2,		/* PROMISES, and its count fell, but not to 0 */
};

/* What one endpoint has in a queue, or has brought among the imports of a vat (V7); never all 0. */
struct row_charge { uint64_t n_messages, bytes, n_imports; };

/* Stored capdata: like the wire's, without padding. u32 body length, u32 slot count, u64 slot[], body. */
struct capdata {
	const uint8_t *body;
	size_t body_len;
	const uint8_t *slots;		/* little-endian u64, maybe unaligned */
	size_t n_slots;
};
static inline uint64_t capdata_slot(const struct capdata *c, size_t i)
{
	uint64_t v;
	memcpy(&v, c->slots + i * 8, 8);
	return v;
}
static inline size_t capdata_size(size_t body_len, size_t n_slots) { return 8 + n_slots * 8 + body_len; }
/* Write to `out`, which holds capdata_size() bytes. */
void capdata_write(uint8_t *out, const void *body, size_t body_len, const uint64_t *slots, size_t n_slots);
/* False: the bytes are not one (a corrupt store; total on any bytes). */
bool capdata_read(const void *data, size_t len, struct capdata *out);

/* Rows with checks on size and ranges; false: corrupt. Pointers in outputs borrow from `data`. */
bool row_vat_read(const void *data, size_t len, struct row_vat *out);
bool row_subcluster_read(const void *data, size_t len, struct row_subcluster *out);
bool row_object_read(const void *data, size_t len, struct row_object *out);
bool row_promise_read(const void *data, size_t len, struct row_promise *out);
bool row_clist_read(const void *data, size_t len, struct row_clist *out);
bool row_item_read(const void *data, size_t len, struct row_item *out, struct capdata *methargs);
bool row_hold_read(const void *data, size_t len, struct row_hold *out);
/* The capdata borrows from `data`. */
bool row_aside_read(const void *data, size_t len, struct row_aside *out, struct capdata *methargs);
bool row_charge_read(const void *data, size_t len, struct row_charge *out);
bool row_log_read(const void *data, size_t len, struct row_log *out, const char **textp, size_t *textlenp);
bool row_death_read(const void *data, size_t len, struct row_death *out, const char **textp, size_t *textlenp);
bool row_code_read(const void *data, size_t len, struct row_code *out, const char **namep, size_t *namelenp);
/* "2026-11-22T12:31:50.000042Z 1 info TEXT\n" in bytes, with the text escaped. */
size_t log_line_size(const struct row_log *row, const void *text, size_t len);
extern const char *const log_level_names[4];	/* debug, info, warning, error */

/* Key builders: each returns the length. */
#define KEY_MAX		511		/* LMDB's own limit */
static inline size_t key_u64(uint8_t *k, uint64_t a) { put_be64(k, a); return 8; }
static inline size_t key_u64_u64(uint8_t *k, uint64_t a, uint64_t b)
{
	put_be64(k, a);
	put_be64(k + 8, b);
	return 16;
}
static inline size_t key_u64_u8_u64(uint8_t *k, uint64_t a, uint8_t t, uint64_t b)
{
	put_be64(k, a);
	k[8] = t;
	put_be64(k + 9, b);
	return 17;
}

/*
 * Vatstore rows. A key of up to 4 KiB is longer than LMDB allows, so a long key is cut into chunks of VATSTORE_PREFIX
 * bytes, of which the last may be shorter, and the rows form a tree of *spaces*. The space of the first chunk is the
 * vat's number; the row of a chunk that longer keys continue links to a space of its own, numbered from
 * META_NEXT_SPACE with bit 63 set, in which the next chunk is looked up. Keys are never compared by more than
 * their chunks, rows stay in byte order, and no vat can make one row, or the work for one key, large by the
 * choice of its keys.
 *
 * A row is a bucket of entries { u32 remainder length, u32 value length, remainder, value }: with an empty
 * remainder the value of the key that ends here; with a remainder of 8 bytes and no value the link (the space,
 * little-endian), which only a chunk of full length has. At least one of them, in this order. Nothing links to an
 * empty space.
 */
#define VATSTORE_PREFIX	400u
#define VATSTORE_SPACE	(UINT64_C(1) << 63)	/* set in the numbers of linked spaces */
#define VATSTORE_DEPTH	((WIRE_MAX_KEY + VATSTORE_PREFIX - 1) / VATSTORE_PREFIX) /* chunks of the longest key */
struct bucket_entry { const uint8_t *rest; size_t rest_len; const uint8_t *value; size_t value_len; };
/* Walk: pos starts at 0; returns false at the end or when the rest of the row is malformed (then *posp != len). */
bool bucket_next(const void *row, size_t len, size_t *posp, struct bucket_entry *out);
struct vatstore_row { bool has_value; const uint8_t *value; size_t value_len; uint64_t link; /* 0: none */ };
/* Borrows from `row`. False: corrupt. `chunk_len`: the row's key without its space. */
bool vatstore_row_read(const void *row, size_t len, size_t chunk_len, struct vatstore_row *out);

#endif
