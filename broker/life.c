/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of a vat (V2, V4, V5): what its process's start, end and misdeeds mean for its record.
 *
 * Two things end apart: the record's state changes at once, in a transaction; the process is killed and reaped in its
 * own time (proc DYING), and only then may a next one start. Nothing is prepared for a vat in between.
 */
#include "vat.h"

#include <inttypes.h>
#include <signal.h>
#include <sys/wait.h>

#include "aside.h"
#include "launch.h"
#include "live.h"
#include "process.h"
#include "router.h"
#include "sweep.h"

#define BY_REQUEST	"restarted by request"

static void set_reason(struct kernel *k, struct vat *v, const char *reason)
{
	struct row_vat *row = vat_edit(k, v);

	memset(row->reason, 0, sizeof(row->reason));
	if (reason)
		escape_bytes(row->reason, sizeof(row->reason), reason, strlen(reason));
}

/* A new incarnation, logically complete from here on: what the old one decided and exported reads as gone. */
static int begin_incarnation(struct kernel *k, struct vat *v, enum vat_status status)
{
	struct row_vat *row = vat_edit(k, v);

	row->incarnation++;
	row->status = status;
	row->flags &= ~(VAT_F_HELD | VAT_F_UNSTARTED);
	return sweep_begin(k, v, false);
}

int vat_want_process(struct kernel *k, struct vat *v)
{
	assert(v->proc == PROC_NONE);
	vat_set_proc(v, PROC_WANTED);
	k->want_processes = true;
	return 0;
}

/* --- the process ------------------------------------------------------------------------------------------------ */

int vat_started(struct kernel *k, struct vat *v, int pid, uint32_t isolation)
{
	struct wire_buf b = WIRE_BUF_INIT;
	struct row_vat *row;
	int r;

	if (v->proc == PROC_DYING) {	/* told to end while it was being started */
		v->kill_wanted = true;
		k->want_processes = true;
		return 0;
	}
	if (v->proc != PROC_SPAWNING)
		return 0;
	vat_set_proc(v, PROC_ALIVE);
	row = vat_edit(k, v);
	row->pid = pid;
	row->isolation = isolation;
	row->started_us = now_realtime_us();
	live_spawned(k, v);
	wire_begin(&b, WIRE_INIT, 0, 0);
	wire_u64(&b, v->number);
	wire_u64(&b, row->incarnation);
	wire_u64(&b, row->next_export);
	wire_u64(&b, row->next_export_promise);
	wire_u32(&b, WIRE_VERSION);
	wire_u32(&b, k->serial ? 1 : CRANK_WINDOW);
	wire_end(&b);
	r = channel_send(&v->channel, &b);
	wire_buf_deinit(&b);
	vat_ready(k, v);
	return r;
}

/* The process is gone and reaped: what now? */
static int process_gone(struct kernel *k, struct vat *v)
{
	v->kill_wanted = false;
	v->wake_pending = false;
	vat_set_proc(v, PROC_NONE);
	v->ping_token = 0;
	crank_new_process(&v->crank);
	vat_fail_pings(k, v);
	vat_edit(k, v)->pid = 0;
	if (k->stopping)
		return 0;
	if (v->row.status == VAT_STARTING)
		return vat_want_process(k, v);
	if (v->row.status == VAT_TERMINATED) {	/* no line will ever come */
		int r = vat_answer_watches(k, v);

		if (r < 0)
			return r;
	}
	launch_vat_ended(k);
	return 0;
}

static unsigned recent_deaths(const struct kernel *k, const struct row_vat *row, uint64_t now_us)
{
	unsigned i, n = 0;

	for (i = 0; i < VAT_N_DEATHS && i < row->n_deaths; i++)
		if (row->death_us[i] && now_us - row->death_us[i] <= k->settings.deaths_window_ms * 1000)
			n++;
	return n;
}

/* V4. `killer`: what was in flight, 0 nothing; `item` its copy when it was a message. */
static int judge_death(struct kernel *k, struct vat *v, uint64_t killer, struct item *item)
{
	struct row_vat *row = vat_edit(k, v);
	uint64_t now = now_realtime_us();
	char reason[VAT_REASON_MAX];
	bool poison;
	int r;

	r = vat_note_death(k, v, v->death);
	if (r < 0)
		return r;
	k->stats.n_deaths++;
	row->death_us[row->n_deaths++ % VAT_N_DEATHS] = now;
	if (killer) {
		row->killer_count = killer == row->killer_seq ? row->killer_count + 1 : 1;
		row->killer_seq = killer;
	}
	poison = killer && row->killer_count >= k->settings.poison_deaths;
	if (v->config->restart == RESTART_TERMINATE || (row->flags & VAT_F_LAUNCHING)) {
		snprintf(reason, sizeof(reason), "died: %s", v->death);
		return vat_terminate_in(k, v, reason);
	}
	if (poison && item->raw) {
		r = aside_put(k, v, item);
		if (r >= 0) {
			struct route route = { .kind = ROUTE_REJECT, .code = CODE_DELIVERY_FAILED };

			snprintf(route.detail, sizeof(route.detail), "the message killed %s %u times: %s", row->name,
				 row->killer_count, v->death);
			r = queue_remove(k, endpoint_vat(v->number).bits, item->seq);
			if (r >= 0)
				r = router_refuse(k, item, &route);
		}
		row->killer_count = 0;
		row->killer_seq = 0;
		poison = false;
	}
	if (r < 0)
		return r;
	if (poison)
		snprintf(reason, sizeof(reason), "the same delivery killed it %u times: %s", row->killer_count, v->death);
	else if (recent_deaths(k, row, now) > k->settings.deaths)
		snprintf(reason, sizeof(reason), "died %u times in %" PRIu64 " ms, last: %s", recent_deaths(k, row, now),
			 k->settings.deaths_window_ms, v->death);
	else if (row->flags & VAT_F_HELD)
		snprintf(reason, sizeof(reason), "%.60s; then died: %s", row->reason, v->death);
	else
		return begin_incarnation(k, v, VAT_STARTING);
	set_reason(k, v, reason);
	row->flags |= VAT_F_RESUME_RESTARTS;
	return begin_incarnation(k, v, VAT_SUSPENDED);
}

/* A process that is just gone said nothing itself; whoever looks for the reason looks into the vat's log. */
static int log_death(struct kernel *k, struct vat *v)
{
	char text[sizeof(v->death) + 20];

	snprintf(text, sizeof(text), "the process died: %s", v->death);
	return vat_log(k, v, LOG_LEVEL_ERROR, text, strlen(text));
}

static int die(struct kernel *k, struct vat *v)
{
	struct delivery *head = crank_head(&v->crank);
	struct item item = ITEM_INIT;
	uint64_t killer = 0;
	int r;

	if (head) {
		killer = crank_killer(head);
		crank_abandon_take(k, v, head->work == WORK_MESSAGE ? &item : NULL);
	} else if (v->row.status == VAT_STARTING) {
		killer = KILLER_START;	/* it did not even live to see it */
	}
	live_died(k, v, v->spawned_incarnation, v->death);
	r = kernel_savepoint(k);
	if (r >= 0)
		r = log_death(k, v);
	if (r >= 0)
		r = judge_death(k, v, killer, &item);
	if (r >= 0)
		r = kernel_release(k);
	item_deinit(&item);
	if (r < 0)
		return r;
	log_info("v%" PRIu64 " (%s) died: %s", v->number, v->row.name, v->death);
	if (v->row.status == VAT_SUSPENDED)
		log_warn("v%" PRIu64 " (%s) suspended: %s", v->number, v->row.name, v->row.reason);
	return 0;
}

int vat_end_process(struct kernel *k, struct vat *v, enum vat_fate fate, const char *why)
{
	if (v->proc == PROC_DYING) {
		/* On its way already; a weightier fate wins over a plain death. */
		if (fate != FATE_DEATH)
			v->fate = fate;
		crank_abandon(k, v);
		return 0;
	}
	snprintf(v->death, sizeof(v->death), "%s", why);
	v->fate = fate;
	channel_close(&v->channel);
	/* For a death what is in flight stays for the judge; it is over in any other case. */
	if (fate != FATE_DEATH)
		crank_abandon(k, v);
	if (v->proc == PROC_NONE || v->proc == PROC_WANTED) {
		vat_set_proc(v, PROC_NONE);
		return process_gone(k, v);
	}
	v->kill_wanted = v->proc == PROC_ALIVE;	/* SPAWNING: killed when it reports its start */
	vat_set_proc(v, PROC_DYING);
	k->want_processes = true;
	return 0;
}

static const char *describe_status(int status, char *buf, size_t size)
{
	if (WIFSIGNALED(status))
		snprintf(buf, size, "killed by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
	else
		snprintf(buf, size, "exited with status %d", WEXITSTATUS(status));
	return buf;
}

int vat_exited(struct kernel *k, struct vat *v, int status)
{
	int r;

	if (v->proc != PROC_ALIVE && v->proc != PROC_DYING && v->proc != PROC_SPAWNING)
		return 0;
	if (v->proc != PROC_DYING) {
		/* D6: what it sent before it died counts. A "done" found now is applied. */
		v->exited = true;
		describe_status(status, v->death, sizeof(v->death));
		v->fate = FATE_DEATH;
		r = channel_read_dry(&v->channel);
		if (r < 0)
			return r;
		channel_close(&v->channel);
		v->exited = false;
	} else if (!v->death[0]) {
		describe_status(status, v->death, sizeof(v->death));
	}
	if (v->fate == FATE_DEATH && !k->stopping) {
		r = die(k, v);
		if (r < 0)
			return r;
	} else {
		crank_abandon(k, v);
		live_died(k, v, v->spawned_incarnation, v->death);
	}
	v->death[0] = '\0';
	return process_gone(k, v);
}

static int fail_launch(struct kernel *k, struct vat *v, const char *reason)
{
	int r = kernel_savepoint(k);

	if (r >= 0)
		r = vat_note_death(k, v, reason);
	if (r >= 0)
		r = kernel_release(k);
	return r < 0 ? r : vat_terminate(k, v, reason);
}

int vat_spawn_failed(struct kernel *k, struct vat *v, const char *why)
{
	char reason[VAT_REASON_MAX];

	if (v->proc != PROC_SPAWNING && v->proc != PROC_DYING && v->proc != PROC_WANTED)
		return 0;
	channel_close(&v->channel);
	snprintf(reason, sizeof(reason), "cannot start: %.140s", why);
	log_warn("v%" PRIu64 " (%s): %s", v->number, v->row.name, reason);
	vat_set_proc(v, PROC_NONE);
	if (v->row.status == VAT_TERMINATED)
		return process_gone(k, v);
	return v->row.flags & VAT_F_LAUNCHING ? fail_launch(k, v, reason) : vat_suspend_hard(k, v, reason);	/* V8 */
}

/* --- channel events ----------------------------------------------------------------------------------------------- */

static struct vat *channel_vat(struct channel *c)
{
	return container_of(c, struct vat, channel);
}

static int on_frames(struct channel *c, const uint8_t *frames, size_t len)
{
	struct vat *v = channel_vat(c);

	return crank_frames(v->kernel, v, frames, len);
}

/* Broken framing is as bad as an illegal syscall: the channel cannot be trusted any further. */
static int on_malformed(struct channel *c, enum wire_error e)
{
	struct vat *v = channel_vat(c);
	char reason[VAT_REASON_MAX];
	struct kernel *k = v->kernel;

	snprintf(reason, sizeof(reason), "illegal syscall: malformed packet: %s", wire_error_text(e));
	k->stats.n_illegal++;
	return vat_fatal(k, v, CODE_ILLEGAL_SYSCALL, reason, reason);
}

/* Read to the end. Its process is dead, or as good as that; how it ended comes with SPAWN_EXITED. */
static int on_hangup(struct channel *c)
{
	struct vat *v = channel_vat(c);
	int r;

	if (v->exited) {
		channel_close(c);
		return 0;
	}
	r = vat_end_process(v->kernel, v, FATE_DEATH, "");
	v->death[0] = '\0';
	return r;
}

static void on_drained(struct channel *c)
{
	struct vat *v = channel_vat(c);

	vat_ready(v->kernel, v);
}

const struct channel_ops vat_channel_ops = {
	.frames = on_frames, .malformed = on_malformed, .hangup = on_hangup, .drained = on_drained,
};

/* --- by request or policy ------------------------------------------------------------------------------------------ */

int vat_refuse_item(struct kernel *k, struct vat *v, enum kernel_code code, const char *detail)
{
	struct route route = { .kind = ROUTE_REJECT, .code = code };
	const struct delivery *head = crank_head(&v->crank);
	int r;

	if (!head)
		return 0;
	if (head->work == WORK_NOTIFY)
		return queue_drop_notify(k, endpoint_vat(v->number), &head->item);
	if (head->work != WORK_MESSAGE)
		return 0;
	snprintf(route.detail, sizeof(route.detail), "%s: %.120s", v->row.name, detail);
	r = queue_remove(k, endpoint_vat(v->number).bits, head->item.seq);
	return r < 0 ? r : router_refuse(k, &head->item, &route);
}

int vat_fatal(struct kernel *k, struct vat *v, enum kernel_code code, const char *detail, const char *reason)
{
	int r;

	r = kernel_savepoint(k);
	if (r >= 0)
		r = vat_refuse_item(k, v, code, detail);
	if (r >= 0)
		r = vat_terminate_in(k, v, reason);
	if (r >= 0)
		r = kernel_release(k);
	return r < 0 ? r : vat_end_process(k, v, FATE_NONE, reason);
}

int vat_terminate_in(struct kernel *k, struct vat *v, const char *reason)
{
	int r;

	if (v->row.status == VAT_TERMINATED)
		return 0;
	vat_edit(k, v)->status = VAT_TERMINATED;
	set_reason(k, v, reason);
	log_info("v%" PRIu64 " (%s) terminated: %s", v->number, v->row.name, v->row.reason);
	r = sweep_begin(k, v, true);
	return r < 0 ? r : launch_vat_failed(k, v);
}

int vat_terminate(struct kernel *k, struct vat *v, const char *reason)
{
	int r;

	if (v->row.status == VAT_TERMINATED)
		return 0;
	r = kernel_savepoint(k);
	if (r >= 0)
		r = vat_terminate_in(k, v, reason);
	if (r >= 0)
		r = kernel_release(k);
	return r < 0 ? r : vat_end_process(k, v, FATE_NONE, reason);
}

static int change_incarnation(struct kernel *k, struct vat *v, enum vat_status status, const char *reason)
{
	int r;

	r = kernel_savepoint(k);
	if (r >= 0)
		r = vat_note_death(k, v, reason ? reason : BY_REQUEST);
	if (r < 0)
		return r;
	set_reason(k, v, reason);
	if (status == VAT_SUSPENDED)
		vat_edit(k, v)->flags |= VAT_F_RESUME_RESTARTS;
	else
		vat_edit(k, v)->flags &= ~VAT_F_RESUME_RESTARTS;
	r = begin_incarnation(k, v, status);
	return r < 0 ? r : kernel_release(k);
}

int vat_restart(struct kernel *k, struct vat *v)
{
	int r = change_incarnation(k, v, VAT_STARTING, NULL);

	return r < 0 ? r : vat_end_process(k, v, FATE_NONE, BY_REQUEST);
}

int vat_suspend_hard(struct kernel *k, struct vat *v, const char *reason)
{
	int r;

	if (v->row.flags & VAT_F_LAUNCHING)
		return vat_terminate(k, v, reason);	/* V1: a vat that cannot start fails its launch */
	log_warn("v%" PRIu64 " (%s) suspended: %s", v->number, v->row.name, reason);
	r = change_incarnation(k, v, VAT_SUSPENDED, reason);
	return r < 0 ? r : vat_end_process(k, v, FATE_NONE, reason);
}

int vat_suspend(struct kernel *k, struct vat *v, const char *reason)
{
	struct row_vat *row;
	int r = kernel_savepoint(k);

	if (r < 0)
		return r;
	set_reason(k, v, reason);
	row = vat_edit(k, v);
	if (row->status == VAT_STARTING)
		row->flags |= VAT_F_UNSTARTED;
	row->status = VAT_SUSPENDED;
	row->flags |= VAT_F_HELD;
	return kernel_release(k);
}

int vat_resume(struct kernel *k, struct vat *v)
{
	struct row_vat *row;
	int r;

	/* Without a process it is a restart; the incarnation was raised when it was suspended. */
	r = kernel_savepoint(k);
	if (r < 0)
		return r;
	row = vat_edit(k, v);
	set_reason(k, v, NULL);
	row->killer_count = 0;
	row->killer_seq = 0;
	if (row->flags & (VAT_F_RESUME_RESTARTS | VAT_F_UNSTARTED) || v->proc != PROC_ALIVE)
		row->status = VAT_STARTING;
	else
		row->status = VAT_RUNNING;
	row->flags &= ~(VAT_F_HELD | VAT_F_RESUME_RESTARTS | VAT_F_UNSTARTED);
	memset(row->death_us, 0, sizeof(row->death_us));
	r = kernel_release(k);
	if (r < 0)
		return r;
	if (row->status == VAT_STARTING && v->proc == PROC_NONE)
		return vat_want_process(k, v);
	vat_ready(k, v);
	return 0;
}
