/* SPDX-License-Identifier: Apache-2.0 */
/* The vats, and the spawner that starts and ends them: a process is a descriptor, its words are the scenario's. */
#include <signal.h>
#include <sys/socket.h>

#include "play.h"

/* --- finding ---------------------------------------------------------------------------------------------------------- */

struct actor *actor_find(struct runner *r, const char *name)
{
	struct actor *a;

	for (a = r->actors; a; a = a->next)
		if (!strcmp(a->name, name))
			return a;
	return NULL;
}

struct actor *actor_by_number(struct runner *r, uint64_t vat)
{
	struct actor *a;

	for (a = r->actors; a; a = a->next)
		if (a->number == vat)
			return a;
	return NULL;
}

static void list_init(struct heard_list *l) { *l = (struct heard_list){ .last = &l->first }; }

struct actor *actor_get(struct runner *r, const char *name)
{
	struct actor *a = actor_find(r, name), **p;

	if (a)
		return a;
	if (!config_name_is_legal(name, strlen(name)))
		runner_fail(r, "\"%s\" cannot be a vat's name", name);
	a = calloc(1, sizeof(*a));
	snprintf(a->name, sizeof(a->name), "%s", name);
	a->fd = a->held_fd = -1;
	list_init(&a->deliveries);
	list_init(&a->answers);
	list_init(&a->others);
	for (p = &r->actors; *p; p = &(*p)->next)
		;
	return *p = a;
}

/* --- what it was sent ------------------------------------------------------------------------------------------------- */

void heard_free(struct heard *h)
{
	if (h)
		free(h->text);
	free(h);
}

static void list_add(struct heard_list *l, char *text, uint64_t delivery)
{
	struct heard *h = calloc(1, sizeof(*h));

	*h = (struct heard){ .text = text, .delivery = delivery };
	*l->last = h;
	l->last = &h->next;
	l->n++;
}

struct heard *actor_take(struct actor *a, struct heard_list *l)
{
	struct heard *h = l->first;

	(void)a;
	if (!h)
		return NULL;
	l->first = h->next;
	if (!l->first)
		l->last = &l->first;
	l->n--;
	return h;
}

static void list_clear(struct heard_list *l)
{
	while (l->first)
		heard_free(actor_take(NULL, l));
}

static void trace(struct runner *r, struct actor *a, const char *way, const char *text)
{
	char **slot = &a->trace[a->n_trace++ % TRACE_LINES];

	free(*slot);
	if (asprintf(slot, "%s %.300s%s", way, text, strlen(text) > 300 ? "…" : "") < 0)
		*slot = NULL;
	runner_trace(r, "        %s %s %.2000s", a->name, way, text);
}

/* A rejection by the kernel, whose body is exactly what the kernel makes, is shown as <KERNEL:CODE detail>. */
static char *shorten(char *text)
{
	static const char head[] = "krej #{\"#error\":\"[KERNEL:", tail[] = "\",\"name\":\"Error\"} [";
	char *out = NULL, *at = text, *from, *end;
	size_t len;
	FILE *f = open_memstream(&out, &len);

	while ((from = strstr(at, head)) && (end = strstr(from, tail))) {
		char *code = from + sizeof(head) - 1, *close = strchr(code, ']');

		fprintf(f, "%.*skrej <KERNEL:%.*s%.*s> [", (int)(from - at), at, (int)(close - code), code,
			(int)(end - close - 1), close + 1);
		at = end + sizeof(tail) - 1;
	}
	fputs(at, f);
	fclose(f);
	free(text);
	return out;
}

static char *frame_text(const struct wire_frame *fr)
{
	char *text = NULL;
	size_t n;
	FILE *f = open_memstream(&text, &n);

	if (fr->type == WIRE_INIT)
		fprintf(f, "init incarnation %llu export %llu promise %llu", (unsigned long long)fr->init.incarnation,
			(unsigned long long)fr->init.next_export, (unsigned long long)fr->init.next_promise);
	else
		words_print(f, fr);
	fclose(f);
	return shorten(text);
}

static void hear(struct runner *r, struct actor *a, const struct wire_frame *fr)
{
	char *text = frame_text(fr);

	trace(r, a, "<-", text);
	switch (fr->type) {
	case WIRE_STORE_VALUE:
		list_add(&a->answers, text, fr->delivery);
		break;
	case WIRE_PING:
		a->token = fr->token;
		list_add(&a->others, text, 0);
		break;
	case WIRE_INIT:
		if (fr->init.vat != a->number)
			runner_fail(r, "%s is told that it is v%llu", a->name, (unsigned long long)fr->init.vat);
		list_add(&a->others, text, 0);
		break;
	case WIRE_SHUTDOWN:
		list_add(&a->others, text, 0);
		break;
	default:
		list_add(&a->deliveries, text, fr->delivery);
	}
}

bool actor_read(struct runner *r, struct actor *a)
{
	static uint8_t packet[WIRE_MAX_PACKET];
	const uint8_t *frames;
	size_t len, size;
	enum wire_error e;
	ssize_t n;

	if (a->fd < 0)
		return false;
	n = recv(a->fd, packet, sizeof(packet), MSG_DONTWAIT);
	if (n <= 0)
		return false;	/* the other side closed it: its kill will come */
	e = wire_join(&a->joiner, packet, n, WIRE_TO_VAT, &frames, &len);
	if (e != WIRE_OK)
		runner_fail(r, "%s was sent a packet that is not well formed: %s", a->name, wire_error_text(e));
	while (len) {
		struct wire_frame fr;

		e = wire_decode(frames, len, WIRE_TO_VAT, &fr, &size);
		if (e != WIRE_OK)
			runner_fail(r, "%s was sent a frame that is not well formed: %s", a->name, wire_error_text(e));
		hear(r, a, &fr);
		frames += size;
		len -= size;
	}
	return true;
}

void actor_begin(struct runner *r, struct actor *a, const struct heard *h)
{
	if (a->n_unfinished == ARRAY_LEN(a->unfinished))
		runner_fail(r, "%s has %zu deliveries that are not done", a->name, a->n_unfinished);
	a->unfinished[a->n_unfinished++] = h->delivery;
	a->delivery = a->unfinished[0];
}

static void finish(struct actor *a)
{
	if (!a->n_unfinished || --a->n_unfinished == 0)
		return;		/* a scenario may go on to speak of what is over */
	memmove(a->unfinished, a->unfinished + 1, a->n_unfinished * sizeof(*a->unfinished));
	a->delivery = a->unfinished[0];
}

/* --- what it says ----------------------------------------------------------------------------------------------------- */

void actor_sends(struct runner *r, struct actor *a, const void *data, size_t len)
{
	uint64_t begin = now_monotonic_ns();

	if (a->fd < 0)
		runner_fail(r, "%s has no process that could say anything", a->name);
	while (send(a->fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
		if (errno == EPIPE || errno == ECONNRESET)
			return;		/* nobody listens any more: what it says is lost, as a real one's would be */
		if (errno != EAGAIN)
			runner_fail(r, "%s cannot send: %s", a->name, strerror(errno));
		if (!runner_is_patient(r, begin))
			runner_fail(r, "the kernel does not read what %s says", a->name);
		backend_turn(r, 1);
		if (a->fd < 0)
			return;
	}
}

/* A frame that exceeds a packet goes in parts of its own. */
static void send_frames(struct runner *r, struct actor *a, struct wire_buf *b)
{
	static uint8_t part[WIRE_MAX_PACKET];
	size_t offset = 0, n;

	if (b->len && b->len <= WIRE_MAX_PACKET)
		actor_sends(r, a, b->data, b->len);
	else
		while (b->len && (n = wire_cut_part(b->data, b->len, &offset, part)))
			actor_sends(r, a, part, n);
	wire_buf_reset(b);
}

/* Puts it into the packet; what was there goes before it when both together do not fit. */
static void add_frame(struct runner *r, struct actor *a, struct wire_buf *b, uint64_t delivery, const char *words)
{
	char error[WORDS_ERROR_MAX];
	size_t before = b->len;

	if (!words_encode(b, delivery, words, error)) {
		wire_buf_deinit(b);
		runner_fail(r, "in \"%.200s\": %s", words, error);
	}
	if (b->len > WIRE_MAX_PACKET && before) {
		struct wire_buf last = WIRE_BUF_INIT;

		words_encode(&last, delivery, words, error);
		b->len = before;
		send_frames(r, a, b);
		wire_buf_deinit(b);
		*b = last;
	}
	if (b->len > WIRE_MAX_PACKET)
		send_frames(r, a, b);
}

/* The number of another delivery: @5, or @+1 from the one at hand. */
static uint64_t pick_delivery(struct actor *a, const char **words)
{
	uint64_t n;
	char *end;

	if (**words != '@')
		return a->delivery;
	n = strtoull(*words + 1, &end, 10);
	if ((*words)[1] == '+' || (*words)[1] == '-')
		n += a->delivery;
	*words = end + strspn(end, " ");
	return n;
}

static void say(struct runner *r, struct actor *a, struct wire_buf *b, const char *words)
{
	uint64_t delivery = pick_delivery(a, &words);
	char pong[40];

	trace(r, a, "->", words);
	if (!strcmp(words, "pong")) {
		snprintf(pong, sizeof(pong), "pong %llu", (unsigned long long)a->token);
		words = pong;
	}
	add_frame(r, a, b, delivery, words);
	if (delivery == a->delivery && (!strcmp(words, "done") || !strncmp(words, "error ", 6)))
		finish(a);
}

/* `100 * send … #m{n} …` */
static void say_often(struct runner *r, struct actor *a, struct wire_buf *b, const char *words)
{
	unsigned n = 1, i, at = 0;

	if (sscanf(words, "%u * %n", &n, &at) != 1 || !at) {
		say(r, a, b, words);
		return;
	}
	for (i = 1; i <= n; i++) {
		char *one = NULL;
		const char *p;
		size_t len;
		FILE *f = open_memstream(&one, &len);

		for (p = words + at; *p; p++) {
			if (!strncmp(p, "{n}", 3)) {
				fprintf(f, "%u", i);
				p += 2;
			} else {
				fputc(*p, f);
			}
		}
		fclose(f);
		say(r, a, b, one);
		free(one);
	}
}

/* Does another frame begin behind this semicolon? If not it parts two resolutions, or belongs to a text. */
static bool begins_frame(const char *s)
{
	unsigned n;
	int at = 0;

	s += strspn(s, " ");
	if (*s == '@')
		s += strcspn(s, " ") + strspn(s + strcspn(s, " "), " ");
	if (sscanf(s, "%u * %n", &n, &at) == 1 && at)
		s += at;
	return words_is_syscall(s);
}

void actor_says(struct runner *r, struct actor *a, const char *words)
{
	_cleanup_(wire_buf_deinit) struct wire_buf b = WIRE_BUF_INIT;
	_cleanup_free_ char *copy = strdup(words);
	char *at = copy, *next, *end;

	for (; at; at = next) {
		next = at;
		do
			next = strstr(next, "; ") ? strstr(next, "; ") + 2 : NULL;
		while (next && !begins_frame(next));
		if (next)
			next[-2] = '\0';
		at += strspn(at, " ");
		for (end = at + strlen(at); end > at && end[-1] == ' ';)
			*--end = '\0';
		say_often(r, a, &b, at);
	}
	send_frames(r, a, &b);
}

/* --- its process ------------------------------------------------------------------------------------------------------ */

void actor_hangs_up(struct actor *a)
{
	if (a->fd >= 0)
		close(TAKE_FD(a->fd));
}

void actor_forget(struct actor *a)
{
	actor_hangs_up(a);
	if (a->held_fd >= 0)
		close(TAKE_FD(a->held_fd));
	wire_joiner_deinit(&a->joiner);
	a->joiner = (struct wire_joiner)WIRE_JOINER_INIT;
	list_clear(&a->deliveries);
	list_clear(&a->answers);
	list_clear(&a->others);
	a->n_unfinished = 0;
	a->delivery = 0;
	a->process = a->deaf = a->start_asked = a->kill_asked = false;
}

static struct spawn_event event_of(const struct actor *a, enum spawn_event_kind kind)
{
	return (struct spawn_event){ .kind = kind, .vat = a->number, .incarnation = a->incarnation,
				     .pid = 1000 + (int)a->number, };
}

void actor_start_now(struct runner *r, struct actor *a)
{
	struct spawn_event ev;

	if (!a->start_asked)
		runner_fail(r, "nobody asked for a process of %s", a->name);
	a->start_asked = false;
	a->fd = TAKE_FD(a->held_fd);
	if (a->fail_start[0]) {
		ev = event_of(a, SPAWN_FAILED);
		snprintf(ev.text, sizeof(ev.text), "%s", a->fail_start);
		a->fail_start[0] = '\0';
		actor_hangs_up(a);
		trace(r, a, "**", "cannot be started");
	} else {
		ev = event_of(a, SPAWN_STARTED);
		a->process = true;
		trace(r, a, "**", "process started");
	}
	backend_tell(r, &ev);
}

void actor_spawn(struct runner *r, const struct spawn_request *rq, int channel)
{
	struct actor *a;

	if (!memchr(rq->text, '\0', sizeof(rq->text)))
		runner_fail(r, "a process without a name was asked for");
	a = actor_get(r, rq->text);
	if (a->process || a->start_asked)
		runner_fail(r, "a second process of %s was asked for (two vats of one name?)", a->name);
	actor_forget(a);
	a->number = rq->vat;
	a->incarnation = rq->incarnation;
	a->held_fd = channel;
	a->start_asked = true;
	if (a->wait_start)
		trace(r, a, "**", "a process is asked for, and waits");
	else
		actor_start_now(r, a);
}

void actor_ends(struct runner *r, struct actor *a, int wait_status)
{
	struct spawn_event ev = event_of(a, SPAWN_EXITED);

	if (!a->process)
		runner_fail(r, "%s has no process", a->name);
	actor_forget(a);
	trace(r, a, "**", "process ended");
	ev.status = wait_status;
	backend_tell(r, &ev);
}

void actor_ends_saying(struct runner *r, struct actor *a, const char *words)
{
	struct spawn_event ev = event_of(a, SPAWN_EXITED);

	if (!a->process || !r->paused)
		runner_fail(r, "%s can only die saying something while the broker pauses, or it would have to be quick", a->name);
	ev.status = SIGKILL;
	backend_tell(r, &ev);
	actor_says(r, a, words);
	actor_forget(a);
	trace(r, a, "**", "process ended");
}

void actor_kill(struct runner *r, const struct spawn_request *rq)
{
	struct actor *a = actor_by_number(r, rq->vat);

	if (!a || !a->process || a->incarnation != rq->incarnation)
		return;		/* it has ended by itself meanwhile, as can happen with a real one */
	a->n_kills++;
	trace(r, a, "**", "is to be killed");
	if (a->wait_kill)
		a->kill_asked = true;
	else
		actor_ends(r, a, SIGKILL);
}

void actors_free(struct runner *r)
{
	struct actor *a;
	size_t i;

	while ((a = r->actors)) {
		r->actors = a->next;
		actor_forget(a);
		for (i = 0; i < TRACE_LINES; i++)
			free(a->trace[i]);
		free(a);
	}
}

void actors_report(struct runner *r, FILE *f)
{
	struct actor *a;
	unsigned i;

	for (a = r->actors; a; a = a->next) {
		fprintf(f, "  %s (<- it got, -> it said):\n", a->name);
		for (i = a->n_trace > TRACE_LINES ? a->n_trace - TRACE_LINES : 0; i < a->n_trace; i++)
			fprintf(f, "    %s\n", a->trace[i % TRACE_LINES]);
	}
}
