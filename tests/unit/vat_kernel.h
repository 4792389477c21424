/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The other end of fd 3 for tests of vats: starts a vat process, makes deliveries by hand, answers its
 * reads from a vatstore that outlives the process, and keeps what the vat said as lines of text:
 *
 *	send o-1 p+1 #["greet",["$0"]] o-2	resolve p-1 ref #"$0" o+0	set baggage.n #5	subscribe p+1
 */
#ifndef CAPSTAN_TESTS_VAT_KERNEL_H
#define CAPSTAN_TESTS_VAT_KERNEL_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <capstan/wire.h>

#include "../../lib/util.h"

#define MAX_SYSCALLS	100000		/* of one crank: the kernel's defaults */
#define MAX_SLOTS	50000
#define WAIT_MS		20000		/* a vat that is silent for so long has hung */

struct row { char *key, *value; size_t value_len; };
struct vat_kernel {
	pid_t pid;
	int fd;
	uint64_t incarnation, delivery, next_export, next_promise;
	struct row *store;		/* by key, bytewise */
	size_t n_rows, store_size;
	bool quiet;			/* `said` leaves out writes to the vatstore */
	bool woken;			/* the vat asked for a wake, and got none yet */
	vref_t imports[64];		/* what clistGetNext walks, ascending; bit 0 of reachable[] */
	bool reachable[64];
	size_t n_imports;
	char *said, *logged;		/* since the last delivery; since ever */
	unsigned n_packets, n_reads;	/* of the last delivery: packets from the vat that held syscalls; reads among them */
	unsigned n_syscalls, n_slots;	/* of the last delivery; slots with listed references */
	bool exited;			/* the vat's process has ended; `status` is its wait status */
	int status;
	struct wire_joiner in;
	struct wire_buf out;
};

__attribute__((format(printf, 2, 3))) static inline void add_line(char **text, const char *fmt, ...)
{
	char *line, *both;
	va_list ap;
	va_start(ap, fmt);
	assert_true(vasprintf(&line, fmt, ap) >= 0);
	va_end(ap);
	assert_true(asprintf(&both, "%s%s%s", *text ? *text : "", *text && **text ? "\n" : "", line) >= 0);
	free(*text);
	free(line);
	*text = both;
}

/* The first row whose key is not less. */
static inline size_t store_place(struct vat_kernel *k, const char *key, size_t len)
{
	size_t from = 0, to = k->n_rows;
	while (from < to) {
		size_t middle = (from + to) / 2, have = strlen(k->store[middle].key);
		int c = memcmp(k->store[middle].key, key, have < len ? have : len);
		if (c < 0 || (c == 0 && have < len))
			from = middle + 1;
		else
			to = middle;
	}
	return from;
}

static inline struct row *store_find(struct vat_kernel *k, const char *key, size_t len)
{
	size_t i = store_place(k, key, len);
	return i < k->n_rows && strlen(k->store[i].key) == len && memcmp(k->store[i].key, key, len) == 0 ? &k->store[i] : NULL;
}

static inline const char *store_text(struct vat_kernel *k, const char *key)
{
	struct row *row = store_find(k, key, strlen(key));
	return row ? row->value : NULL;
}

static inline void store_remove(struct vat_kernel *k, struct row *row)
{
	free(row->key);
	free(row->value);
	memmove(row, row + 1, (size_t)(k->store + --k->n_rows - row) * sizeof(*row));
}

static inline void store_put(struct vat_kernel *k, const char *key, size_t key_len, const char *value, size_t value_len)
{
	struct row *row = store_find(k, key, key_len);
	if (row) {
		free(row->value);
	} else {
		size_t i = store_place(k, key, key_len);
		if (k->n_rows == k->store_size) {
			k->store_size = k->store_size * 2 + 256;
			k->store = realloc(k->store, k->store_size * sizeof(*k->store));
			assert_non_null(k->store);
		}
		row = &k->store[i];
		memmove(row + 1, row, (k->n_rows++ - i) * sizeof(*row));
		row->key = strndup(key, key_len);
	}
	row->value = strndup(value, value_len);
	row->value_len = value_len;
}

static inline void store_write(struct vat_kernel *k, const struct wire_frame *f)
{
	store_put(k, (const char *)f->store.key.data, f->store.key.len, (const char *)f->store.value.data, f->store.value.len);
}

/* Rows whose keys begin so. */
static inline size_t store_count_rows(struct vat_kernel *k, const char *prefix)
{
	size_t n = 0, len = strlen(prefix);
	for (size_t i = store_place(k, prefix, len); i < k->n_rows && strncmp(k->store[i].key, prefix, len) == 0; i++)
		n++;
	return n;
}

static inline void send_out(struct vat_kernel *k)
{
	assert_int_equal(k->out.error, 0);
	if (k->out.len <= WIRE_MAX_PACKET) {
		assert_int_equal(send(k->fd, k->out.data, k->out.len, MSG_NOSIGNAL), (ssize_t)k->out.len);
	} else {
		static uint8_t packet[WIRE_MAX_PACKET];
		size_t offset = 0, n;
		while ((n = wire_cut_part(k->out.data, k->out.len, &offset, packet)) > 0)
			assert_int_equal(send(k->fd, packet, n, MSG_NOSIGNAL), (ssize_t)n);
	}
	wire_buf_reset(&k->out);
}

static inline char *capdata_text(const struct wire_capdata *c)
{
	char *text = NULL, vref[REF_TEXT_MAX];
	if (c->body.len > 4096)
		add_line(&text, "(%u bytes)", c->body.len);
	else
		add_line(&text, "%.*s", (int)c->body.len, (const char *)c->body.data);
	for (uint32_t i = 0; i < c->n_slots; i++) {
		char *more;
		assert_true(asprintf(&more, "%s %s", text, vref_format(wire_slot(c, i), vref)) >= 0);
		free(text);
		text = more;
	}
	return text;
}

static inline void answer_clist(struct vat_kernel *k, vref_t after)
{
	size_t i = 0;
	while (i < k->n_imports && !vref_is_none(after) && k->imports[i].bits <= after.bits)
		i++;
	bool found = i < k->n_imports;
	wire_begin(&k->out, WIRE_STORE_VALUE, found ? WIRE_F_FOUND | (k->reachable[i] ? WIRE_F_REACHABLE : 0) : 0, k->delivery);
	wire_u64(&k->out, found ? k->imports[i].bits : 0);
	wire_put_bytes(&k->out, NULL, 0);
	wire_put_bytes(&k->out, NULL, 0);
	wire_end(&k->out);
	send_out(k);
}

static inline void answer_get(struct vat_kernel *k, const struct wire_frame *f)
{
	struct row *row = store_find(k, (const char *)f->store.key.data, f->store.key.len);
	wire_begin(&k->out, WIRE_STORE_VALUE, row ? WIRE_F_FOUND : 0, k->delivery);
	wire_u64(&k->out, 0);
	wire_put_bytes(&k->out, NULL, 0);
	wire_put_bytes(&k->out, row ? row->value : NULL, row ? row->value_len : 0);
	wire_end(&k->out);
	send_out(k);
}

static inline void answer_next_key(struct vat_kernel *k, const struct wire_frame *f)
{
	const char *key = (const char *)f->store.key.data;
	size_t i = store_place(k, key, f->store.key.len);
	if (i < k->n_rows && strlen(k->store[i].key) == f->store.key.len && memcmp(k->store[i].key, key, f->store.key.len) == 0)
		i++;
	bool found = i < k->n_rows;
	wire_begin(&k->out, WIRE_STORE_VALUE, found ? WIRE_F_FOUND : 0, k->delivery);
	wire_u64(&k->out, 0);
	wire_put_bytes(&k->out, found ? k->store[i].key : NULL, found ? strlen(k->store[i].key) : 0);
	wire_put_bytes(&k->out, NULL, 0);
	wire_end(&k->out);
	send_out(k);
}

static inline void hear_list(struct vat_kernel *k, const char *name, const struct wire_frame *f)
{
	char *line = NULL, vref[REF_TEXT_MAX];
	add_line(&line, "%s", name);
	for (uint32_t i = 0; i < f->list.count; i++) {
		char *more;
		assert_true(asprintf(&more, "%s %s", line, vref_format(wire_ref(f, i), vref)) >= 0);
		free(line);
		line = more;
	}
	add_line(&k->said, "%s", line);
	free(line);
}

static inline void hear_resolve(struct vat_kernel *k, const struct wire_frame *f)
{
	const uint8_t *pos = f->list.first;
	for (uint32_t i = 0; i < f->list.count; i++) {
		struct wire_resolution r;
		char vref[REF_TEXT_MAX];
		pos = wire_next_resolution(pos, &r);
		char *value = capdata_text(&r.value);
		add_line(&k->said, "%s%s %s%s", i ? "and " : "resolve ", vref_format(r.promise, vref),
			 r.flags & WIRE_R_REJECTED ? "rejected " : r.flags & WIRE_R_REF ? "ref " : "", value);
		free(value);
	}
}

/* One frame; true: it was `done`. */
static inline bool hear(struct vat_kernel *k, const struct wire_frame *f)
{
	char a[REF_TEXT_MAX], b[REF_TEXT_MAX], *value;

	if (f->delivery) {
		assert_int_equal(f->delivery, k->delivery);
		k->n_syscalls++;
		if (f->type == WIRE_SEND)
			k->n_slots += f->message.methargs.n_slots;
		else if (f->type == WIRE_DROP_IMPORTS || f->type == WIRE_RETIRE_IMPORTS_SYS || f->type == WIRE_RETIRE_EXPORTS_SYS ||
			 f->type == WIRE_RESOLVE)
			k->n_slots += f->list.count;
		assert_true(k->n_syscalls <= MAX_SYSCALLS + 1 && k->n_slots <= MAX_SLOTS);	/* + 1: `done` */
	}
	switch (f->type) {
	case WIRE_SEND:
		value = capdata_text(&f->message.methargs);
		add_line(&k->said, "send %s %s %s", vref_format(f->message.target, a),
			 vref_is_none(f->message.result) ? "-" : vref_format(f->message.result, b), value);
		free(value);
		return false;
	case WIRE_SUBSCRIBE:
		add_line(&k->said, "subscribe %s", vref_format(f->ref, a));
		return false;
	case WIRE_RESOLVE: hear_resolve(k, f); return false;
	case WIRE_EXIT:
		value = capdata_text(&f->capdata);
		add_line(&k->said, "exit %s%s", f->flags & WIRE_F_FAILURE ? "failure " : "", value);
		free(value);
		return false;
	case WIRE_DROP_IMPORTS: hear_list(k, "dropImports", f); return false;
	case WIRE_RETIRE_IMPORTS_SYS: hear_list(k, "retireImports", f); return false;
	case WIRE_RETIRE_EXPORTS_SYS: hear_list(k, "retireExports", f); return false;
	case WIRE_VATSTORE_SET:
		store_write(k, f);
		if (!k->quiet)
			add_line(&k->said, "set %.*s %.*s", (int)f->store.key.len, f->store.key.data, (int)f->store.value.len,
				 f->store.value.data);
		return false;
	case WIRE_VATSTORE_DELETE: {
		struct row *row = store_find(k, (const char *)f->store.key.data, f->store.key.len);
		if (row)
			store_remove(k, row);
		if (!k->quiet)
			add_line(&k->said, "delete %.*s", (int)f->store.key.len, f->store.key.data);
		return false;
	}
	case WIRE_VATSTORE_GET: k->n_reads++; answer_get(k, f); return false;
	case WIRE_VATSTORE_GET_NEXT_KEY: k->n_reads++; answer_next_key(k, f); return false;
	case WIRE_WAKE_ME: k->woken = true; return false;
	case WIRE_CLIST_GET_NEXT: k->n_reads++; answer_clist(k, f->ref); return false;
	case WIRE_LOG: add_line(&k->logged, "%.*s", (int)f->log.text.len, f->log.text.data); return false;
	case WIRE_HELLO: assert_int_equal(f->hello.version, WIRE_VERSION); return false;
	case WIRE_PONG: add_line(&k->said, "pong %llu", (unsigned long long)f->token); return false;
	case WIRE_DONE:
		if (f->flags & WIRE_F_ERROR)
			add_line(&k->said, "failed: %.*s", (int)f->text.len, f->text.data);
		return true;
	default: fail_msg("the vat said %s", wire_type_name(f->type)); return true;
	}
}

static inline void reap(struct vat_kernel *k)
{
	if (!k->exited && k->pid > 0)
		assert_int_equal(waitpid(k->pid, &k->status, 0), k->pid);
	k->exited = true;
}

/* Listen to the end of the delivery; `until_pong`: to a pong instead. False: the process ended. */
static inline bool listen_to_vat(struct vat_kernel *k, bool until_pong)
{
	static uint8_t packet[WIRE_MAX_PACKET];
	for (;;) {
		struct pollfd p = { k->fd, POLLIN, 0 };
		const uint8_t *frames;
		size_t len, size;
		assert_int_equal(poll(&p, 1, WAIT_MS), 1);
		ssize_t n = recv(k->fd, packet, sizeof(packet), 0);
		if (n <= 0) {
			reap(k);
			return false;
		}
		assert_int_equal(wire_join(&k->in, packet, (size_t)n, WIRE_TO_KERNEL, &frames, &len), WIRE_OK);
		bool syscalls = false, end = false;
		for (; len; frames += size, len -= size) {
			struct wire_frame f;
			assert_int_equal(wire_decode(frames, len, WIRE_TO_KERNEL, &f, &size), WIRE_OK);
			syscalls = syscalls || f.delivery;
			end = hear(k, &f) || end || (until_pong && f.type == WIRE_PONG);
		}
		k->n_packets += syscalls;
		if (end)
			return true;
	}
}

static inline void begin_delivery(struct vat_kernel *k, enum wire_type type)
{
	free(k->said);
	k->said = strdup("");
	k->n_packets = k->n_reads = k->n_syscalls = k->n_slots = 0;
	wire_begin(&k->out, type, 0, ++k->delivery);
}

static inline bool end_delivery(struct vat_kernel *k)
{
	wire_end(&k->out);
	send_out(k);
	return listen_to_vat(k, false);
}

static inline uint64_t vref_bits(const char *text)
{
	vref_t v;
	if (!vref_parse(text, strlen(text), &v))
		fail_msg("\"%s\" is not a reference", text);
	return v.bits;
}

/* "o-1 p+3" */
static inline size_t vref_list(const char *text, uint64_t out[64])
{
	size_t n = 0;
	char *copy = strdup(text), *save;
	for (char *word = strtok_r(copy, " ", &save); word; word = strtok_r(NULL, " ", &save))
		out[n++] = vref_bits(word);
	free(copy);
	return n;
}

/* A message to be sent, with others perhaps. */
static inline void put_message(struct vat_kernel *k, const char *target, const char *result, const char *body,
			       const char *slots)
{
	uint64_t s[64];
	size_t n = vref_list(slots, s);
	begin_delivery(k, WIRE_MESSAGE);
	wire_u64(&k->out, vref_bits(target));
	wire_u64(&k->out, *result ? vref_bits(result) : 0);
	wire_put_capdata(&k->out, body, strlen(body), s, n);
	wire_end(&k->out);
}

/* Deliver and return what the vat said, lines joined by line feeds. */
static inline const char *message(struct vat_kernel *k, const char *target, const char *result, const char *body,
				  const char *slots)
{
	put_message(k, target, result, body, slots);
	send_out(k);
	listen_to_vat(k, false);
	return k->said;
}

struct note { const char *promise; uint32_t flags; const char *body, *slots; };
static inline const char *notify_all(struct vat_kernel *k, const struct note *notes, uint32_t n)
{
	begin_delivery(k, WIRE_NOTIFY);
	wire_u32(&k->out, n);
	wire_u32(&k->out, 0);
	for (uint32_t i = 0; i < n; i++) {
		uint64_t s[64];
		size_t n_slots = vref_list(notes[i].slots, s);
		wire_put_resolution(&k->out, (vref_t){ vref_bits(notes[i].promise) }, notes[i].flags, notes[i].body,
				    strlen(notes[i].body), s, n_slots);
	}
	end_delivery(k);
	return k->said;
}

static inline const char *notify(struct vat_kernel *k, const char *promise, uint32_t flags, const char *body,
				 const char *slots)
{
	struct note note = { promise, flags, body, slots };
	return notify_all(k, &note, 1);
}

static inline const char *collect(struct vat_kernel *k, enum wire_type type, const char *vrefs)
{
	uint64_t s[64];
	size_t n = vref_list(vrefs, s);
	begin_delivery(k, type);
	if (type != WIRE_BRING_OUT_YOUR_DEAD) {
		wire_u32(&k->out, (uint32_t)n);
		wire_u32(&k->out, 0);
		for (size_t i = 0; i < n; i++)
			wire_u64(&k->out, s[i]);
	}
	end_delivery(k);
	return k->said;
}

static inline const char *wake(struct vat_kernel *k)
{
	k->woken = false;
	begin_delivery(k, WIRE_WAKE);
	end_delivery(k);
	return k->said;
}

/* The vat runs: init and startVat. `serve` runs in the child with the socket as fd 3. */
static inline const char *start_vat(struct vat_kernel *k, void (*serve)(const void *), const void *arg, const char *parameters)
{
	int pair[2];
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	k->pid = fork();
	assert_true(k->pid >= 0);
	if (k->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(pair[0]);
		if (pair[1] != 3) {
			dup2(pair[1], 3);
			close(pair[1]);
		}
		serve(arg);
		_exit(99);
	}
	close(pair[1]);
	k->fd = pair[0];
	k->exited = false;
	k->incarnation++;
	wire_begin(&k->out, WIRE_INIT, 0, 0);
	wire_u64(&k->out, 7);
	wire_u64(&k->out, k->incarnation);
	wire_u64(&k->out, k->next_export ? k->next_export : 1);
	wire_u64(&k->out, k->next_promise ? k->next_promise : 1);
	wire_u32(&k->out, WIRE_VERSION);
	wire_u32(&k->out, 1);
	wire_end(&k->out);
	send_out(k);
	begin_delivery(k, WIRE_START_VAT);
	wire_put_capdata(&k->out, parameters, strlen(parameters), NULL, 0);
	end_delivery(k);
	return k->said;
}

static inline void kill_vat(struct vat_kernel *k)
{
	if (k->pid > 0 && !k->exited)
		kill(k->pid, SIGKILL);
	reap(k);
	close(k->fd);
	k->fd = -1;
	wire_joiner_deinit(&k->in);
	k->in = (struct wire_joiner)WIRE_JOINER_INIT;
}

static inline int vat_kernel_setup(void **state)
{
	struct vat_kernel *k = calloc(1, sizeof(*k));
	k->fd = -1;
	k->exited = true;
	k->logged = strdup("");
	*state = k;
	return k ? 0 : -1;
}

static inline int vat_kernel_teardown(void **state)
{
	struct vat_kernel *k = *state;
	if (k->fd >= 0)
		kill_vat(k);
	while (k->n_rows)
		store_remove(k, &k->store[k->n_rows - 1]);
	free(k->store);
	wire_buf_deinit(&k->out);
	free(k->said);
	free(k->logged);
	free(k);
	return 0;
}

#endif
