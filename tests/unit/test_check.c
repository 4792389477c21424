/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The checker: a small store with one of everything is clean (C6); then each kind of damage is planted and must
 * be found and named; then every row in turn is deleted, cut short, and hit in every byte.
 */
#include "../../lib/check.h"
#include "store_dir.h"

#define VE(n)	((uint64_t)ENDPOINT_VAT << ENDPOINT_SHIFT | (n))
#define V1	VE(1)
#define V2	VE(2)
#define KE	((uint64_t)ENDPOINT_KERNEL << ENDPOINT_SHIFT)
#define KO(n)	((uint64_t)(n))
#define KP(n)	(REF_PROMISE | (uint64_t)(n))
#define IMP	REF_MINUS

/* --- a live store as the checker's source ---------------------------------------------------------------------- */

static int src_get(void *ctx, enum table t, const void *key, size_t key_len, const void **valp, size_t *lenp)
{
	return store_get(ctx, t, key, key_len, valp, lenp);
}

static int src_next(void *ctx, enum table t, const void *key, size_t key_len, bool or_equal,
		    const void **keyp, size_t *key_lenp, const void **valp, size_t *lenp)
{
	return store_next(ctx, t, key, key_len, or_equal, keyp, key_lenp, valp, lenp);
}

struct lines { size_t n, found; const char *want; bool show; };

static void on_line(void *ctx, const char *line)
{
	struct lines *l = ctx;

	assert_null(strchr(line, '\n'));
	l->n++;
	if (l->want && strstr(line, l->want))
		l->found++;
	if (l->show)
		print_message("  %s\n", line);
}

static size_t check(struct store *s, struct lines *l)
{
	struct check_source src = { .ctx = s, .get = src_get, .next = src_next };
	size_t n = 99;

	assert_int_equal(check_store(&src, on_line, l, &n), 0);
	assert_int_equal(n, l->n);
	return n;
}

static void check_clean(struct store *s)
{
	struct lines l = { .show = true };

	assert_int_equal(check(s, &l), 0);
}

/* --- one of everything ----------------------------------------------------------------------------------------- */

static void put1(struct store *s, enum table t, uint64_t a, const void *val, size_t len)
{
	uint8_t key[8];

	must_put(s, t, key, key_u64(key, a), val, len);
}

static void put2(struct store *s, enum table t, uint64_t a, uint64_t b, const void *val, size_t len)
{
	uint8_t key[16];

	must_put(s, t, key, key_u64_u64(key, a, b), val, len);
}

static void put_meta(struct store *s, const char *name, uint64_t n)
{
	must_put(s, T_META, name, strlen(name), &n, sizeof n);
}

static void put_entry(struct store *s, uint64_t e, uint64_t kref, uint64_t eref, uint32_t flags)
{
	put2(s, T_CLIST, e, kref, &(struct row_clist){ .ref = eref, .flags = flags }, sizeof(struct row_clist));
	put2(s, T_EREF, e, eref, &(struct row_clist){ .ref = kref, .flags = flags }, sizeof(struct row_clist));
	if ((eref & IMP) && !(kref & REF_PROMISE))
		put2(s, T_IMPORTER, kref, e, "", 0);
}

static void put_object(struct store *s, uint64_t kref, uint64_t owner, uint32_t flags, uint64_t reachable,
		       uint64_t recognizable)
{
	struct row_object row = {
		.owner = owner, .owner_incarnation = owner != KE, .flags = flags,
		.n_reachable = reachable, .n_recognizable = recognizable,
	};

	put1(s, T_OBJECT, kref, &row, sizeof row);
}

static void put_promise(struct store *s, uint64_t kref, uint32_t state, uint64_t n_refs, uint64_t decider,
			uint64_t link, uint64_t n_waiting)
{
	put1(s, T_PROMISE, kref, &(struct row_promise){ .state = state, .n_refs = n_refs, .decider = decider,
	     .decider_incarnation = decider && decider != KE, .link = link, .n_waiting = n_waiting },
	     sizeof(struct row_promise));
	if (decider)
		put2(s, T_DECIDED, decider, kref, "", 0);
}

static size_t put_item(struct store *s, uint64_t holder, uint64_t seq, uint32_t kind, uint64_t target,
		       uint64_t result, uint64_t slot)
{
	uint8_t row[sizeof(struct row_item) + 64];
	size_t len = sizeof(struct row_item);

	memcpy(row, &(struct row_item){ .kind = kind, .target = target, .result = result }, len);
	if (kind == ITEM_MESSAGE) {
		capdata_write(row + len, "#1", 2, &slot, slot ? 1 : 0);
		len += capdata_size(2, slot ? 1 : 0);
	} else {
		put2(s, T_NOTIFYING, holder, target, &seq, sizeof seq);
	}
	put2(s, T_QUEUE, holder, seq, row, len);
	return len;
}

static void put_value(struct store *s, enum table t, uint64_t a, uint64_t slot)
{
	uint8_t row[64];

	capdata_write(row, "#2", 2, &slot, slot ? 1 : 0);
	put1(s, t, a, row, capdata_size(2, slot ? 1 : 0));
}

static void put_hold(struct store *s, uint64_t kref, uint8_t kind, uint64_t owner, uint64_t count)
{
	uint8_t key[17];

	must_put(s, T_HOLD, key, key_u64_u8_u64(key, kref, kind, owner), &(struct row_hold){ .count = count },
		 sizeof(struct row_hold));
}

static uint64_t put_vatstore(struct store *s)
{
	uint8_t key[WIRE_MAX_KEY];
	uint64_t sum = 0;
	int64_t delta;

	memset(key, 'k', sizeof key);
	for (size_t len = 1; len <= WIRE_MAX_KEY; len += 455) {
		assert_int_equal(vatstore_set(s, 1, key, len, "value", 5, &delta), 0);
		sum += (uint64_t)delta;
	}
	return sum;
}

static void put_charge(struct store *s, uint64_t holder, uint64_t who, uint64_t messages, uint64_t bytes, uint64_t imports)
{
	put2(s, T_CHARGE, holder, who, &(struct row_charge){ messages, bytes, imports }, sizeof(struct row_charge));
}

static void put_vat(struct store *s, uint64_t n, const char *name, struct row_vat row)
{
	row.subcluster = 1;
	row.incarnation = 1;
	row.status = VAT_RUNNING;
	row.uid = 1000 + (uint32_t)n;
	row.next_log = 2;
	row.next_death = 3;
	row.code[0] = 1;
	row.log_bytes = log_line_size(&(struct row_log){ .level = 1, .incarnation = 1 }, "", 0);
	strcpy(row.name, name);
	put1(s, T_VAT, n, &row, sizeof row);
	put1(s, T_VAT_CONFIG, n, "{}", 2);
	put2(s, T_MEMBER, 1, n, name, strlen(name));
	put2(s, T_LOG, n, 1, &(struct row_log){ .level = 1, .incarnation = 1 }, sizeof(struct row_log));
	for (uint64_t i = 1; i <= 2; i++)
		put2(s, T_DEATH, n, i, &(struct row_death){ .incarnation = 1 }, sizeof(struct row_death));
}

static void put_tables(struct store *s)
{
	struct row_service service = { .kref = KO(1) };
	struct { struct row_aside row; uint64_t capdata; } aside = { .row = { .target = KO(2), .deaths = 2 } };
	uint8_t hash[32] = { 1 }, key[17];

	put_meta(s, META_NEXT_OBJECT, 5);
	put_meta(s, META_NEXT_PROMISE, 10);
	put_meta(s, META_NEXT_VAT, 3);
	put_meta(s, META_NEXT_SUBCLUSTER, 2);
	put_meta(s, META_NEXT_SEQ, 6);
	put_meta(s, META_UID_BLOCK, 1000);
	put_meta(s, META_NEXT_UID, 3);
	put1(s, T_SUBCLUSTER, 1, &(struct row_subcluster){ .status = SUB_RUNNING, .bootstrap_vat = 1, .root = KO(2) },
	     sizeof(struct row_subcluster));
	put1(s, T_SUB_CONFIG, 1, "{}", 2);
	must_put(s, T_SERVICE, "console", 7, &service, sizeof service);
	put1(s, T_SERVICE_OF, KO(1), "console", 7);
	must_put(s, T_CODE, hash, sizeof hash, &(struct row_code){ .size = 1, .number = 1 }, sizeof(struct row_code));
	put2(s, T_ASIDE, 1, 1, &aside, sizeof aside);
	must_put(s, T_GC, key, key_u64_u8_u64(key, V2, GC_DROP_EXPORT, KO(3)), "", 0);
}

static void put_circle(struct store *s, uint64_t kref, uint64_t held)
{
	put1(s, T_PROMISE, kref, &(struct row_promise){ .state = PROMISE_FULFILLED, .flags = PROMISE_F_PROMISES, .n_refs = 1 },
	     sizeof(struct row_promise));
	put_value(s, T_VALUE, kref, held);
}

static void put_refs(struct store *s)
{
	/* The console, held as a service, target of a call in progress and parameter of v1. */
	put_object(s, KO(1), KE, 0, 3, 3);
	put_hold(s, KO(1), HOLD_SERVICE, 0, 1);
	put_value(s, T_VAT_PARAM, 1, KO(1));
	/* v1's root: held, imported by v2, value of kp4, target of a message. */
	put_object(s, KO(2), V1, OBJECT_F_SURVIVES, 5, 5);
	put_hold(s, KO(2), HOLD_ROOT, 1, 1);
	put_hold(s, KO(2), HOLD_PIN, 0, 1);
	put_entry(s, V1, KO(2), 0, CLIST_F_REACHABLE);
	put_entry(s, V2, KO(2), IMP | 1, CLIST_F_REACHABLE);
	/* v2's o+5: v1 only recognizes it. */
	put_object(s, KO(3), V2, 0, 0, 1);
	put_entry(s, V2, KO(3), 5, CLIST_F_REACHABLE);
	put_entry(s, V1, KO(3), IMP | 1, 0);
	/* v1's o+7, only in a message. */
	put_object(s, KO(4), V1, 0, 1, 1);
	put_entry(s, V1, KO(4), 7, CLIST_F_REACHABLE);
	/* kp1: v2 decides, v1 waits; a message waits; kp3 is forwarded to it. */
	put_promise(s, KP(1), PROMISE_UNRESOLVED, 4, V2, 0, 1);
	put_entry(s, V1, KP(1), REF_PROMISE | 3, CLIST_F_REACHABLE);
	put_entry(s, V2, KP(1), REF_PROMISE | IMP | 1, CLIST_F_REACHABLE);
	put2(s, T_SUBSCRIBER, KP(1), V1, "", 0);
	put_charge(s, KP(1), 0, 1, put_item(s, KP(1), 2, ITEM_MESSAGE, KP(1), KP(2), KO(4)), 0);
	put_promise(s, KP(2), PROMISE_UNRESOLVED, 2, 0, KP(1), 0);
	put_entry(s, V1, KP(2), REF_PROMISE | 4, CLIST_F_REACHABLE);
	put_promise(s, KP(3), PROMISE_FORWARDED, 1, 0, KP(1), 0);
	put_entry(s, V1, KP(3), REF_PROMISE | 5, CLIST_F_REACHABLE);
	put2(s, T_FORWARD, KP(1), KP(3), "", 0);
	/* kp4: settled, v1 will be told; kp5: rejected, a caller outside has it. */
	put_promise(s, KP(4), PROMISE_FULFILLED, 2, 0, 0, 0);
	put_value(s, T_VALUE, KP(4), KO(2));
	put_entry(s, V1, KP(4), REF_PROMISE | IMP | 1, CLIST_F_REACHABLE);
	put_promise(s, KP(5), PROMISE_REJECTED, 1, 0, 0, 0);
	put_value(s, T_VALUE, KP(5), 0);
	put_hold(s, KP(5), HOLD_HOST, 1, 1);
	/* kp6: a call the kernel is working on. */
	put_promise(s, KP(6), PROMISE_UNRESOLVED, 2, KE, 0, 0);
	put_entry(s, V2, KP(6), REF_PROMISE | 1, CLIST_F_REACHABLE);
	put_item(s, KE, 5, ITEM_MESSAGE, KO(1), KP(6), 0);
	/* kp7 and kp8 hold each other, and are suspected of it; kp9 is about to be deleted. */
	put_circle(s, KP(7), KP(8));
	put_circle(s, KP(8), KP(7));
	put2(s, T_SUSPECT, SUSPECT_CIRCLE, KP(7), "", 0);
	put_promise(s, KP(9), PROMISE_REJECTED, 0, 0, 0, 0);
	put_value(s, T_VALUE, KP(9), 0);
	put2(s, T_SUSPECT, SUSPECT_DEAD, KP(9), "", 0);
}

static void put_introducer(struct store *s, uint64_t e, uint64_t kref, uint32_t vat)
{
	uint8_t key[16];
	const void *val;
	struct row_clist row;
	size_t len;

	assert_int_equal(store_get(s, T_CLIST, key, key_u64_u64(key, e, kref), &val, &len), 0);
	assert_true(row_clist_read(val, len, &row));
	row.introducer = vat;
	put2(s, T_CLIST, e, kref, &row, sizeof row);
}

static struct store *build(const char *dir)
{
	struct store *s = must_open(dir, STORE_OVERLAY);
	size_t bytes, notify;

	put_tables(s);
	put_refs(s);
	notify = put_item(s, V1, 3, ITEM_NOTIFY, KP(4), 0, 0);
	bytes = put_item(s, V1, 4, ITEM_MESSAGE, KO(2), 0, 0);
	put_charge(s, V1, 0, 1, bytes, 1);
	/* v1's o-1 came by a message of v2; what v2 imports by its own doing, and by a vat that is gone. */
	put_introducer(s, V1, KO(3), 2);
	put_charge(s, V1, V2, 0, 0, 1);
	put_introducer(s, V2, KO(2), 2);
	put_charge(s, V2, V2, 0, 0, 1);
	put_introducer(s, V2, KP(1), 7);
	put_charge(s, V2, VE(7), 0, 0, 1);
	bytes += notify;
	put_vat(s, 1, "alice", (struct row_vat){ .n_queued = 2, .queued_bytes = bytes, .n_aside = 1, .aside_bytes = 32,
		.n_exports = 5, .n_imports = 2, .n_senders = 1, .n_introducers = 2, .next_import = 2,
		.next_import_promise = 2, .next_export = 8, .next_export_promise = 6,
		.vatstore_bytes = put_vatstore(s) });
	put_vat(s, 2, "bob", (struct row_vat){ .n_exports = 2, .n_imports = 2, .n_introducers = 1, .next_import = 2,
		.next_import_promise = 2, .next_export = 6, .next_export_promise = 2 });
	check_clean(s);
	return s;
}

/* --- damage, planted and named --------------------------------------------------------------------------------- */

/* Copies a row out for an edit. */
static size_t take(struct store *s, enum table t, const uint8_t *key, size_t key_len, void *out, size_t size)
{
	const void *val;
	size_t len;

	assert_int_equal(store_get(s, t, key, key_len, &val, &len), 0);
	assert_true(len <= size);
	memcpy(out, val, len);
	return len;
}

/* Set `width` bytes at `offset` of the row of a key of one or two numbers. */
struct damage {
	const char *want;
	enum table t;
	uint64_t a, b;
	enum { DEL, PUT, SET } op;
	size_t offset, width;
	uint64_t n;
};
#define AT(row, field)	offsetof(struct row, field), sizeof(((struct row *)0)->field)

static const struct damage damages[] = {
	/* C1 */
	{ "clist v1 ko3: is o-1, which does not lead back", T_EREF, V1, IMP | 1, DEL, 0, 0, 0 },
	{ "eref v1 o-1: is ko3, which does not lead back", T_CLIST, V1, KO(3), DEL, 0, 0, 0 },
	{ "clist v1 ko3: is o-1, which does not lead back", T_EREF, V1, IMP | 1, SET, AT(row_clist, ref), KO(4) },
	{ "clist v1 ko3: flags are 0, those of o-1 are 1", T_EREF, V1, IMP | 1, SET, AT(row_clist, flags), 1 },
	{ "clist v1 kp4: a promise that is not flagged", T_CLIST, V1, KP(4), SET, AT(row_clist, flags), 0 },
	{ "clist v1 ko3: imported, but not among the importers", T_IMPORTER, KO(3), V1, DEL, 0, 0, 0 },
	{ "importer ko4 v2: does not import it", T_IMPORTER, KO(4), V2, PUT, 0, 0, 0 },
	{ "importer ko4 v1: does not import it", T_IMPORTER, KO(4), V1, PUT, 0, 0, 0 },
	{ "clist v1 ko2: the row does not read", T_CLIST, V1, KO(2), SET, AT(row_clist, ref), REF_PROMISE | 9 },
	{ "vat v1: next_import is 1, in use 1", T_VAT, 1, 0, SET, AT(row_vat, next_import), 1 },
	{ "vat v1: next_import_promise is 1, in use 1", T_VAT, 1, 0, SET, AT(row_vat, next_import_promise), 1 },
	{ "vat v1: next_export is 7, in use 7", T_VAT, 1, 0, SET, AT(row_vat, next_export), 7 },
	{ "vat v1: next_export_promise is 5, in use 5", T_VAT, 1, 0, SET, AT(row_vat, next_export_promise), 5 },
	/* C4 */
	{ "object ko2: n_reachable is 4, counted 5", T_OBJECT, KO(2), 0, SET, AT(row_object, n_reachable), 4 },
	{ "object ko2: n_recognizable is 6, counted 5", T_OBJECT, KO(2), 0, SET, AT(row_object, n_recognizable), 6 },
	{ "object ko2: the row does not read", T_OBJECT, KO(2), 0, SET, AT(row_object, n_reachable), 6 },
	{ "object ko3: has no row, counted 1", T_OBJECT, KO(3), 0, DEL, 0, 0, 0 },
	{ "object ko1: n_reachable is 3, counted 2", T_VAT_PARAM, 1, 0, DEL, 0, 0, 0 },
	{ "object ko2: owner is v2, should be v1", T_OBJECT, KO(2), 0, SET, AT(row_object, owner), V2 },
	{ "object ko4: owner is none, should be v1", T_OBJECT, KO(4), 0, SET, AT(row_object, owner), 0 },
	{ "object ko1: owned by v2, which has no entry", T_OBJECT, KO(1), 0, SET, AT(row_object, owner), V2 },
	{ "object ko1: owned by an endpoint that never was", T_OBJECT, KO(1), 0, SET, AT(row_object, owner), VE(40) },
	{ "object ko4: owned by incarnation 3 of v1", T_OBJECT, KO(4), 0, SET, AT(row_object, owner_incarnation), 3 },
	{ "object ko4: flagged to survive", T_OBJECT, KO(4), 0, SET, AT(row_object, flags), OBJECT_F_SURVIVES },
	{ "object ko2: flagged to end with", T_OBJECT, KO(2), 0, SET, AT(row_object, flags), 0 },
	{ "object ko9: kept, though nobody", T_OBJECT, KO(9), 0, PUT, sizeof(struct row_object), 0, 0 },
	{ "object ko9: next-object is 5", T_OBJECT, KO(9), 0, PUT, sizeof(struct row_object), 0, 0 },
	/* C5 */
	{ "promise kp1: n_refs is 3, counted 4", T_PROMISE, KP(1), 0, SET, AT(row_promise, n_refs), 3 },
	{ "promise kp3: n_refs is 1, counted 0", T_CLIST, V1, KP(3), DEL, 0, 0, 0 },
	{ "promise kp3: kept, though nobody has it", T_CLIST, V1, KP(3), DEL, 0, 0, 0 },
	{ "promise kp2: has no row, counted 2", T_PROMISE, KP(2), 0, DEL, 0, 0, 0 },
	{ "promise kp1: n_waiting is 2, counted 1", T_PROMISE, KP(1), 0, SET, AT(row_promise, n_waiting), 2 },
	{ "promise kp4: n_refs is 2, counted 1", T_QUEUE, V1, 3, DEL, 0, 0, 0 },
	{ "promise kp1: the row does not read", T_PROMISE, KP(1), 0, SET, AT(row_promise, state), 9 },
	{ "queue kp1 2: waits for a promise that is not", T_QUEUE, KP(1), 2, SET, AT(row_item, target), KP(3) },
	{ "queue kp1 2: names", T_QUEUE, KP(1), 2, SET, AT(row_item, target), UINT64_MAX },
	{ "queue kp1 2: the result is no promise", T_QUEUE, KP(1), 2, SET, AT(row_item, result), KO(1) },
	{ "queue kp1 2: the result is another message's, too", T_QUEUE, KE, 5, SET, AT(row_item, result), KP(2) },
	{ "queue v1 4: the row does not read", T_QUEUE, V1, 4, SET, AT(row_item, kind), 7 },
	/* P1, P8 */
	{ "promise kp1: not listed among what its decider", T_DECIDED, V2, KP(1), DEL, 0, 0, 0 },
	{ "decided v1 kp1: does not decide it", T_DECIDED, V1, KP(1), PUT, 0, 0, 0 },
	{ "decided v2 kp1: decided by incarnation 7", T_PROMISE, KP(1), 0, SET,
	  AT(row_promise, decider_incarnation), 7 },
	{ "promise kp1: nobody decides it", T_PROMISE, KP(1), 0, SET, AT(row_promise, decider), 0 },
	{ "promise kp2: link is none, should be kp1", T_PROMISE, KP(2), 0, SET, AT(row_promise, link), 0 },
	{ "promise kp2: nobody decides it, and no queued", T_QUEUE, KP(1), 2, DEL, 0, 0, 0 },
	{ "promise kp2: decided, but the result of a message", T_PROMISE, KP(2), 0, SET, AT(row_promise, decider),
	  V1 },
	{ "promise kp4: decider is v1, should be none", T_PROMISE, KP(4), 0, SET, AT(row_promise, decider), V1 },
	{ "promise kp4: shares a value, but has one of its own", T_PROMISE, KP(4), 0, SET, AT(row_promise, link), KP(1) },
	{ "decided v2 kp1: decided by a vat that is gone", T_VAT, 2, 0, SET, AT(row_vat, status), VAT_TERMINATED },
	{ "vat v2: terminated, and still has entries", T_VAT, 2, 0, SET, AT(row_vat, status), VAT_TERMINATED },
	/* P3, P4, P6 */
	{ "subscriber kp4 v1: waits for a promise that is settled", T_SUBSCRIBER, KP(4), V1, PUT, 0, 0, 0 },
	{ "promise kp4: settled, but has no value", T_VALUE, KP(4), 0, DEL, 0, 0, 0 },
	{ "promise kp1: not settled, but has a value", T_VALUE, KP(1), 0, PUT, 8, 0, 0 },
	{ "value kp5: flagged REF with 0 slots", T_PROMISE, KP(5), 0, SET, AT(row_promise, flags), PROMISE_F_REF },
	{ "promise kp3: forwarded, but not listed", T_FORWARD, KP(1), KP(3), DEL, 0, 0, 0 },
	{ "forward kp2 kp3: the source is not forwarded there", T_FORWARD, KP(2), KP(3), PUT, 0, 0, 0 },
	{ "promise kp3: forwarded to a promise that is settled", T_PROMISE, KP(3), 0, SET, AT(row_promise, link),
	  KP(4) },
	{ "promise kp3: forwarded to itself through a cycle", T_PROMISE, KP(3), 0, SET, AT(row_promise, link),
	  KP(3) },
	{ "queue v1 3: a notify that is not listed", T_NOTIFYING, V1, KP(4), DEL, 0, 0, 0 },
	{ "notifying v1 kp4: queue item 4 is not that notify", T_NOTIFYING, V1, KP(4), SET, 0, 8, 4 },
	{ "notifying v2 kp4", T_NOTIFYING, V2, KP(4), PUT, 8, 0, 0 },
	/* vats and subclusters */
	{ "vat v1: n_queued is 3, counted 2", T_VAT, 1, 0, SET, AT(row_vat, n_queued), 3 },
	{ "vat v1: queued_bytes is 1, counted", T_VAT, 1, 0, SET, AT(row_vat, queued_bytes), 1 },
	{ "vat v1: n_exports is 0, counted 5", T_VAT, 1, 0, SET, AT(row_vat, n_exports), 0 },
	{ "vat v2: n_imports is 9, counted 2", T_VAT, 2, 0, SET, AT(row_vat, n_imports), 9 },
	{ "vat v1: n_senders is 2, counted 1", T_VAT, 1, 0, SET, AT(row_vat, n_senders), 2 },
	{ "vat v1: n_introducers is 1, counted 2", T_VAT, 1, 0, SET, AT(row_vat, n_introducers), 1 },
	{ "charge v1 v2: n_imports is 2, counted 1", T_CHARGE, V1, V2, SET, AT(row_charge, n_imports), 2 },
	{ "charge v1 v2: n_messages is 1, counted 0", T_CHARGE, V1, V2, SET, AT(row_charge, n_messages), 1 },
	{ "charge kp1 kp1: the key is malformed", T_CHARGE, KP(1), KP(1), PUT, sizeof(struct row_charge), 0, 0 },
	{ "charge kp2 v1: kept, though", T_CHARGE, KP(2), V1, PUT, sizeof(struct row_charge), 0, 0 },
	{ "charge v1 v2: the row does not read", T_CHARGE, V1, V2, PUT, 3, 0, 0 },
	{ "clist v1 ko3: v2 is not charged for it", T_CHARGE, V1, V2, DEL, 0, 0, 0 },
	{ "clist v2 ko2: v9 is not charged for it", T_CLIST, V2, KO(2), SET, AT(row_clist, introducer), 9 },
	{ "clist v1 ko2: introduced by v1, but no import", T_CLIST, V1, KO(2), SET, AT(row_clist, introducer), 1 },
	{ "queue kp1 2: v2 is not charged for it", T_QUEUE, KP(1), 2, SET, AT(row_item, sender), V2 },
	{ "vat v1: vatstore_bytes is 1, counted", T_VAT, 1, 0, SET, AT(row_vat, vatstore_bytes), 1 },
	{ "vat v1: uid 999 is not one", T_VAT, 1, 0, SET, AT(row_vat, uid), 999 },
	{ "vat v1: not a member of s7", T_VAT, 1, 0, SET, AT(row_vat, subcluster), 7 },
	{ "member s1 v1: the vat has another name", T_VAT, 1, 0, SET, offsetof(struct row_vat, name), 1, 'x' },
	{ "member s1 v2: v2 is not known", T_VAT, 2, 0, DEL, 0, 0, 0 },
	{ "clist v2 ko2: endpoint v2 is not known", T_VAT, 2, 0, DEL, 0, 0, 0 },
	{ "vat v1: the row does not read", T_VAT, 1, 0, SET, AT(row_vat, status), 0 },
	{ "vat v2: there is no configuration", T_VAT_CONFIG, 2, 0, DEL, 0, 0, 0 },
	{ "member s1 v1: there is no such subcluster", T_SUBCLUSTER, 1, 0, DEL, 0, 0, 0 },
	{ "subcluster s1: there is no configuration", T_SUB_CONFIG, 1, 0, DEL, 0, 0, 0 },
	{ "subcluster s1: the bootstrap vat v8", T_SUBCLUSTER, 1, 0, SET, AT(row_subcluster, bootstrap_vat), 8 },
	{ "sweep v9: endpoint v9 is not known", T_SWEEP, VE(9), 0, PUT, 16, 0, 0 },
	{ "service console: its object does not lead back", T_SERVICE_OF, KO(1), 0, DEL, 0, 0, 0 },
	{ "service-of ko2: the service of that name", T_SERVICE_OF, KO(2), 0, PUT, 7, 0, 0 },
	{ "log v1 9: next_log is 2", T_LOG, 1, 9, PUT, sizeof(struct row_log), 0, 0 },
	{ "death v1 3: next_death is 3", T_DEATH, 1, 3, PUT, sizeof(struct row_death), 0, 0 },
	{ "death v1 1: next_death is 18", T_VAT, 1, 0, SET, AT(row_vat, next_death), 18 },
	{ "death v7 1: v7 is not known", T_DEATH, 7, 1, PUT, sizeof(struct row_death), 0, 0 },
	{ "death v1 1: the row does not read", T_DEATH, 1, 1, SET, AT(row_death, incarnation), 0 },
	{ "vat v1: its program is not among those of the code table", T_VAT, 1, 0, SET, offsetof(struct row_vat, code), 1, 2 },
	{ "log v7 1: v7 is not known", T_LOG, 7, 1, PUT, sizeof(struct row_log), 0, 0 },
	{ "aside v1 1: the row does not read", T_ASIDE, 1, 1, PUT, 3, 0, 0 },
	{ "aside v4 1: v4 is not known", T_ASIDE, 4, 1, PUT, 32, 0, 0 },
	{ "vat v1: n_aside is 3, counted 1", T_VAT, 1, 0, SET, AT(row_vat, n_aside), 3 },
	{ "vat v1: aside_bytes is 3, counted 32", T_VAT, 1, 0, SET, AT(row_vat, aside_bytes), 3 },
	{ "vat v1: revoked_below is 6, next-object is 5", T_VAT, 1, 0, SET, AT(row_vat, revoked_below), 6 },
	/* P9 */
	{ "promise kp9: kept, though nobody has it", T_SUSPECT, SUSPECT_DEAD, KP(9), DEL, 0, 0, 0 },
	{ "suspect 1 kp7: to be deleted, but held", T_SUSPECT, SUSPECT_DEAD, KP(7), PUT, 0, 0, 0 },
	{ "suspect 2 kp4: cannot be part of a circle", T_SUSPECT, SUSPECT_CIRCLE, KP(4), PUT, 0, 0, 0 },
	{ "suspect 2 kp1: a promise that is not settled", T_SUSPECT, SUSPECT_CIRCLE, KP(1), PUT, 0, 0, 0 },
	{ "suspect 3 kp7: no such kind", T_SUSPECT, 3, KP(7), PUT, 0, 0, 0 },
	{ "value kp8: flagged to name no promises", T_PROMISE, KP(8), 0, SET, AT(row_promise, flags), 0 },
	{ "value kp4: flagged to name promises", T_PROMISE, KP(4), 0, SET, AT(row_promise, flags), PROMISE_F_PROMISES },
	{ "vatstore 5 : v5 is not known", T_VATSTORE, 5, 0, PUT, 8, 0, 0 },
	{ "vatstore 0: 1 rows are not reached from any vat", T_VATSTORE, VATSTORE_SPACE | 99, 0, PUT, 8, 0, 0 },
	{ "queue r3 1: endpoint r3 is not known", T_QUEUE, (UINT64_C(2) << ENDPOINT_SHIFT) | 3, 1, PUT,
	  sizeof(struct row_item) + 8, 0, 0 },
	{ "value kp1: a value of a promise that is not settled", T_VALUE, KP(1), 0, PUT, 8, 0, 0 },
	{ "object kp1: the key is malformed", T_OBJECT, KP(1), 0, PUT, sizeof(struct row_object), 0, 0 },
	{ "the key is malformed", T_VAT, 1, 1, PUT, 3, 0, 0 },
};

static void plant(struct store *s, const struct damage *d)
{
	uint8_t key[16], row[1024] = { 0 };
	size_t key_len = d->b || d->t == T_EREF ? key_u64_u64(key, d->a, d->b) : key_u64(key, d->a), len = d->offset;

	if (d->op == DEL) {
		assert_int_equal(store_del(s, d->t, key, key_len), 0);
		return;
	}
	if (d->op == SET) {
		len = take(s, d->t, key, key_len, row, sizeof row);
		memcpy(row + d->offset, &d->n, d->width);
	} else if (d->t == T_QUEUE) {
		row[0] = ITEM_MESSAGE;
	}
	must_put(s, d->t, key, key_len, row, len);
}

/* C1-C6: each kind of damage is found, named with its key, and with both numbers where it is a count. */
static void test_damages(void **state)
{
	struct store *s = build(*state);

	for (size_t i = 0; i < ARRAY_LEN(damages); i++) {
		struct lines l = { .want = damages[i].want };

		assert_int_equal(store_savepoint(s), 0);
		plant(s, &damages[i]);
		assert_true(check(s, &l) >= 1);
		if (!l.found) {
			l.show = true;
			print_message("wanted: %s\n", l.want);
			check(s, &(struct lines){ .show = true });
		}
		assert_true(l.found >= 1);
		assert_int_equal(store_rollback(s), 0);
	}
	check_clean(s);
	store_free(s);
}

/* Links that all lead to one space, eleven deep: 30 to the eleventh paths. The checker says so instead of walking. */
static void test_tangled(void **state)
{
	struct store *s = build(*state);
	struct lines l = { .want = "links to the space of another row" };
	uint8_t key[8 + VATSTORE_PREFIX], row[16] = { 8 };
	uint64_t link;

	memset(key, 'x', sizeof key);
	for (uint64_t depth = 1; depth <= VATSTORE_DEPTH; depth++) {
		link = VATSTORE_SPACE | (100 + depth);
		memcpy(row + 8, &link, 8);
		put_be64(key, depth == 1 ? 1 : link - 1);
		for (uint8_t i = 0; i < 30; i++) {
			key[8] = i;
			must_put(s, T_VATSTORE, key, sizeof key, row, sizeof row);
		}
	}
	put_meta(s, META_NEXT_SPACE, 1000);
	check(s, &l);
	assert_int_equal(l.found, 29 * VATSTORE_DEPTH);
	store_free(s);
}

/* Longer stories: two rows each. */
static void test_two_rows(void **state)
{
	struct store *s = build(*state);
	struct row_sweep sweep = { .terminated = 1 };
	struct lines l = { .want = "promise kp3: forwarded to itself through a cycle" };

	/* A terminated vat whose sweep goes on is no problem, however far its deletion is. */
	assert_int_equal(store_savepoint(s), 0);
	plant(s, &(struct damage){ "", T_VAT, 1, 0, SET, AT(row_vat, status), VAT_TERMINATED });
	plant(s, &(struct damage){ "", T_VAT, 1, 0, SET, AT(row_vat, vatstore_bytes), 12345 });
	put1(s, T_SWEEP, V1, &sweep, sizeof sweep);
	check_clean(s);
	assert_int_equal(store_rollback(s), 0);

	/* A restarted vat whose sweep goes on: what its last incarnation left is no problem yet. */
	assert_int_equal(store_savepoint(s), 0);
	sweep.terminated = 0;
	plant(s, &(struct damage){ "", T_VAT, 2, 0, SET, AT(row_vat, incarnation), 2 });
	put1(s, T_SWEEP, V2, &sweep, sizeof sweep);
	check_clean(s);
	assert_int_equal(store_rollback(s), 0);

	/* A cycle of two. */
	assert_int_equal(store_savepoint(s), 0);
	plant(s, &(struct damage){ "", T_PROMISE, KP(3), 0, SET, AT(row_promise, link), KP(2) });
	plant(s, &(struct damage){ "", T_PROMISE, KP(2), 0, SET, AT(row_promise, state), PROMISE_FORWARDED });
	plant(s, &(struct damage){ "", T_PROMISE, KP(2), 0, SET, AT(row_promise, link), KP(3) });
	l.want = "forwarded to itself through a cycle";
	check(s, &l);
	assert_int_equal(l.found, 1);
	assert_int_equal(store_rollback(s), 0);

	check_clean(s);
	assert_int_equal(store_commit(s), 0);
	check_clean(s);
	store_free(s);
	s = must_open(*state, STORE_DIRECT);
	check_clean(s);
	store_free(s);
}

/* --- every row ------------------------------------------------------------------------------------------------- */

/* Whose absence nothing else in the store tells: texts for people, hints that are re-validated, and who waits. */
static bool may_vanish(enum table t, const uint8_t *key, size_t key_len)
{
	if (t == T_META)
		return key_len == strlen(META_SCHEMA) && !memcmp(key, META_SCHEMA, key_len);
	if (t == T_SUSPECT)
		return get_be64(key) == SUSPECT_CIRCLE;
	return t == T_LOG || t == T_DEATH || t == T_GC || t == T_SUBSCRIBER;
}

/* Rows of text, and empty ones, cannot be too short. */
static bool may_shorten(enum table t, const uint8_t *key, size_t key_len)
{
	return t == T_VAT_CONFIG || t == T_SUB_CONFIG ||
	       (t == T_META && key_len == strlen(META_SCHEMA) && !memcmp(key, META_SCHEMA, key_len));
}

/* A vat's own bytes, and numbers that nothing else repeats, may be any. */
static bool may_change(enum table t, const uint8_t *key, size_t key_len, size_t at)
{
	return may_vanish(t, key, key_len) || t == T_CODE || ((t == T_VATSTORE || t == T_HOLD || t == T_QUEUE || t == T_ASIDE) && at >= 8);
}

static void hit_bytes(struct store *s, enum table t, const uint8_t *key, size_t key_len, const uint8_t *row,
		      size_t len)
{
	uint8_t hit[2048];

	for (size_t i = 0; i < len; i += 1 + (i > 64) * 7) {
		struct lines l = { 0 };

		assert_int_equal(store_savepoint(s), 0);
		memcpy(hit, row, len);
		hit[i] ^= (uint8_t)(i % 3 ? 0xff : 0x01);
		must_put(s, t, key, key_len, hit, len);
		check(s, &l);
		assert_int_equal(store_rollback(s), 0);
	}
	for (size_t i = 0; i < key_len; i += 1 + (i > 64) * 7) {
		struct lines l = { 0 };

		assert_int_equal(store_savepoint(s), 0);
		memcpy(hit, key, key_len);
		hit[i] ^= (uint8_t)(i % 3 ? 0xff : 0x01);
		assert_int_equal(store_del(s, t, key, key_len), 0);
		must_put(s, t, hit, key_len, row, len);
		must_put(s, t, hit, i + 1, row, len);
		check(s, &l);
		if (!l.n && !may_change(t, key, key_len, i))
			print_message("byte %zu of a key of %s\n", i, table_names[t]);
		assert_true(l.n >= 1 || may_change(t, key, key_len, i));
		assert_int_equal(store_rollback(s), 0);
	}
}

static void each_row(struct store *s, enum table t, const uint8_t *key, size_t key_len)
{
	uint8_t row[2048];
	size_t len = take(s, t, key, key_len, row, sizeof row);
	struct lines gone = { 0 }, cut = { 0 };

	assert_int_equal(store_savepoint(s), 0);
	assert_int_equal(store_del(s, t, key, key_len), 0);
	check(s, &gone);
	if (!gone.n != may_vanish(t, key, key_len))
		print_message("deleted from %s\n", table_names[t]);
	assert_int_equal(!gone.n, may_vanish(t, key, key_len));
	assert_int_equal(store_rollback(s), 0);
	if (len) {
		assert_int_equal(store_savepoint(s), 0);
		must_put(s, t, key, key_len, row, len - 1);
		check(s, &cut);
		if (!cut.n != may_shorten(t, key, key_len))
			print_message("cut in %s\n", table_names[t]);
		assert_int_equal(!cut.n, may_shorten(t, key, key_len));
		assert_int_equal(store_rollback(s), 0);
	}
	hit_bytes(s, t, key, key_len, row, len);
}

/* C6, L1: no row can vanish or lose a byte unnoticed, and no byte can make the checker stumble. */
static void test_every_row(void **state)
{
	struct store *s = build(*state);
	size_t n = 0;

	for (int t = 0; t < T_N; t++) {
		uint8_t at[KEY_MAX];
		const void *key, *val;
		size_t key_len, len, at_len = 0;

		while (!store_next(s, (enum table)t, at, at_len, !at_len, &key, &key_len, &val, &len)) {
			memcpy(at, key, key_len);
			at_len = key_len;
			each_row(s, (enum table)t, at, at_len);
			n++;
		}
	}
	assert_true(n > 80);
	check_clean(s);
	store_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		dir_test(test_damages),
		dir_test(test_tangled),
		dir_test(test_two_rows),
		dir_test(test_every_row),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
