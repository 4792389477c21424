/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hostile: a raw vat that speaks the wire by hand, politely until it is told to do one wrong thing.
 *
 *	hostile call				behaves at start; each method of the table in hostile_attacks.h is one attack
 *	hostile boot|start|bootstrap ATTACK	does it before its hello, in startVat, in the bootstrap message
 *	hostile list				prints the table, an attack a line (run by the tests, outside any kernel)
 *
 * Besides, the ordinary methods that tests of other things need: hello, say, echo, make, make-durable, keep, hold, and
 * those of witnesses: relay, tick, leak, leaks, roots.
 */
#include "hostile_attacks.h"

static const char *phase = "call", *at_phase = "";

/* --- ordinary methods ------------------------------------------------------------------------------------------------ */

/* The first argument if it is a string, its JSON escapes below U+0080 undone. */
static size_t string_argument(const char *args, size_t len, char *text, size_t size)
{
	size_t n = 0, i = 2;

	if (len < 2 || args[1] != '"')
		return 0;
	for (; i < len && args[i] != '"' && n < size; i++) {
		unsigned c;

		if (args[i] != '\\' || i + 1 >= len) {
			text[n++] = args[i];
		} else if (args[i + 1] == 'u' && i + 5 < len && sscanf(args + i + 2, "%4x", &c) == 1) {
			text[n++] = (char)c;
			i += 5;
		} else {
			text[n++] = args[++i];
		}
	}
	return n;
}

static void say(const char *args, size_t len)
{
	char text[1024];

	log_bytes(text, string_argument(args, len, text, sizeof(text)));
	answer("#true");
}

static void give(vref_t object)
{
	const char *body = "#\"$0.Alleged: thing\"";

	if (!vref_is_none(result))
		resolve_to(result, WIRE_R_REF, body, strlen(body), &object.bits, 1);
}

static void echo(const struct wire_capdata *m, const char *args, size_t len)
{
	uint64_t *slots = calloc(m->n_slots + 1, sizeof(*slots));
	char *body = malloc(len + 1);

	if (!slots || !body)
		abort();
	for (uint32_t i = 0; i < m->n_slots; i++)
		slots[i] = wire_slot(m, i).bits;
	body[0] = '#';
	memcpy(body + 1, args, len);
	if (!vref_is_none(result))
		resolve_to(result, 0, body, len + 1, slots, m->n_slots);
	free(slots);
	free(body);
}

static void reject_method(const char *name, size_t len)
{
	char body[256];
	int n = snprintf(body, sizeof(body), "#{\"#error\":\"no method %.*s\",\"name\":\"TypeError\"}", (int)len, name);

	if (!vref_is_none(result) && n > 0)
		resolve_to(result, WIRE_R_REJECTED, body, (size_t)n, NULL, 0);
}

static void answer_number(unsigned n)
{
	char body[20];

	snprintf(body, sizeof(body), "#%u", n);
	answer(body);
}

/* The other vats of the cluster, as the bootstrap message named them: its arguments, for `roots` to answer with. */
static struct { uint64_t *slots; uint32_t n_slots; char *body; size_t len; } others;

static void keep_others(const struct wire_capdata *m, const char *args, size_t len)
{
	others.slots = calloc(m->n_slots + 1, sizeof(*others.slots));
	others.body = malloc(len + 1);
	if (!others.slots || !others.body)
		abort();
	for (uint32_t i = 0; i < m->n_slots; i++)
		others.slots[i] = wire_slot(m, i).bits;
	others.n_slots = m->n_slots;
	others.body[0] = '#';
	memcpy(others.body + 1, args, len);
	others.len = len + 1;
	answer("#\"hello\"");
}

static bool ordinary(const char *name, size_t len)
{
	static unsigned n_ticks, n_leaks;

	if (is(name, len, "hello"))
		answer("#\"hello\"");
	else if (is(name, len, "tick"))		/* counts in memory: a number too low is another process */
		answer_number(++n_ticks);
	else if (is(name, len, "relay"))	/* the answer is the other's */
		send_to(kept, result, "#[\"tick\",[]]", 12, NULL, 0);
	else if (is(name, len, "leak"))
		n_leaks++, answer("#true");
	else if (is(name, len, "leaks"))
		answer_number(n_leaks);
	else if (is(name, len, "roots"))
		resolve_to(result, 0, others.body, others.len, others.slots, others.n_slots);
	else
		return false;
	return true;
}

static void call(const char *name, size_t len, const struct wire_capdata *m, const char *args, size_t n_args)
{
	if (ordinary(name, len))
		;
	else if (is(name, len, "bootstrap"))
		keep_others(m, args, n_args);
	else if (is(name, len, "say"))
		say(args, n_args);
	else if (is(name, len, "echo"))
		echo(m, args, n_args);
	else if (is(name, len, "make"))
		give(own(next_export++));
	else if (is(name, len, "make-durable"))
		give((vref_t){ REF_DURABLE | UINT64_C(1) << 44 | UINT64_C(1) << 8 });
	else if (is(name, len, "keep") && m->n_slots)
		kept = wire_slot(m, 0), answer("#true");
	else if (!is(name, len, "hold"))	/* hold: done, and the result never settled */
		reject_method(name, len);
	done();
}

static void on_message(const struct wire_frame *f)
{
	const struct wire_capdata *m = &f->message.methargs;
	const char *body = (const char *)m->body.data, *name = body + 3, *quote;
	size_t len = m->body.len;

	target = f->message.target;
	result = f->message.result;
	quote = len > 4 && !memcmp(body, "#[\"", 3) ? memchr(name, '"', len - 3) : NULL;
	if (!quote || quote + 3 > body + len) {
		call("", 0, m, "[]", 2);
		return;
	}
	if (is(name, (size_t)(quote - name), "bootstrap") && !strcmp(phase, "bootstrap") &&
	    attack_run(at_phase, strlen(at_phase)))
		return;
	if (!attack_run(name, (size_t)(quote - name)))
		call(name, (size_t)(quote - name), m, quote + 2, (size_t)(body + len - 1 - (quote + 2)));
}

static void on_frame(const struct wire_frame *f)
{
	delivery = f->delivery;
	switch (f->type) {
	case WIRE_INIT:
		next_export = f->init.next_export ? f->init.next_export : 1;
		next_promise = f->init.next_promise ? f->init.next_promise : 1;
		if (f->init.incarnation > 1)	/* what an attacker was given is all that it has, and still has (V5) */
			kept = import(1);
		break;
	case WIRE_START_VAT:
		if (strcmp(phase, "start") || !attack_run(at_phase, strlen(at_phase)))
			done();
		break;
	case WIRE_MESSAGE:
		on_message(f);
		break;
	case WIRE_PING:
		wire_begin(&out, WIRE_PONG, 0, 0);
		wire_u64(&out, f->token);
		end();
		break;
	case WIRE_SHUTDOWN:
		_exit(0);
	case WIRE_STORE_VALUE:
		break;
	default:
		if (f->type == WIRE_WAKE && waking)
			wake_me();
		done();		/* notify, gc, bringOutYourDead, wake */
	}
}

/* Several deliveries in one packet: that is what an attack on those sent ahead waits for. */
static void look_ahead(const uint8_t *frames, size_t len)
{
	uint64_t numbers[64];
	size_t n = 0, size;
	struct wire_frame f;

	for (; len && n < N(numbers); frames += size, len -= size) {
		if (wire_decode(frames, len, WIRE_TO_VAT, &f, &size) != WIRE_OK)
			return;
		if (f.type == WIRE_MESSAGE || f.type == WIRE_NOTIFY)
			numbers[n++] = f.delivery;
	}
	if (n < 2)
		return;
	ahead_attack(numbers, n);
	sleep_forever();
}

static int serve(void)
{
	static uint8_t in[WIRE_MAX_PACKET];

	for (;;) {
		const uint8_t *frames;
		ssize_t n = recv(FD, in, sizeof(in), 0);
		size_t len, size;

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0 || wire_join(&joiner, in, (size_t)n, WIRE_TO_VAT, &frames, &len) != WIRE_OK)
			return 1;
		if (ahead_attack)
			look_ahead(frames, len);
		while (len) {
			struct wire_frame f;

			if (wire_decode(frames, len, WIRE_TO_VAT, &f, &size) != WIRE_OK)
				return 1;
			on_frame(&f);
			frames += size;
			len -= size;
		}
	}
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "list")) {
		print_list();
		return 0;
	}
	if (argc > 1)
		phase = argv[1];
	if (argc > 2)
		at_phase = argv[2];
	if (!strcmp(phase, "boot") && !attack_run(at_phase, strlen(at_phase)))
		return 1;
	hello(WIRE_VERSION, 1);
	return serve();
}
