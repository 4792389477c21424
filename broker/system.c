/* SPDX-License-Identifier: Apache-2.0 */
#include "system.h"

#include <inttypes.h>
#include <limits.h>

#include "arrival.h"
#include "launch.h"

/* A launch from an earlier start may still be ending under a name that is declared again: only the latest is of interest. */
static struct system_state *state_of(struct kernel *k, const char *name, uint64_t number)
{
	for (size_t i = 0; i < k->settings.n_systems; i++)
		if (!strcmp(k->settings.systems[i].name, name)) {
			struct system_state *s = &k->systems[i];

			return number == s->number ? s : NULL;
		}
	return NULL;
}

void system_begun(struct kernel *k, const char *name, uint64_t number)
{
	struct system_state *s = state_of(k, name, 0);

	if (!s)
		return;
	s->number = number;
	s->reason[0] = '\0';
}

void system_launched(struct kernel *k, const char *name, uint64_t number)
{
	if (state_of(k, name, number))
		log_info("system.%s: launched as s%" PRIu64, name, number);
}

void system_ended(struct kernel *k, const char *name, uint64_t number, const char *reason)
{
	struct system_state *s = state_of(k, name, number);

	if (!s)
		return;
	s->number = 0;
	escape_bytes(s->reason, sizeof(s->reason), reason, strlen(reason));
	log_warn("system.%s: is not there: %s", name, s->reason);
}

json_t *system_to_json(const struct kernel *k)
{
	json_t *all = json_object();

	for (size_t i = 0; all && i < k->settings.n_systems; i++) {
		const struct system_state *s = &k->systems[i];
		json_t *id = s->number ? json_sprintf("s%" PRIu64, s->number) : json_null();

		if (json_object_set_new(all, k->settings.systems[i].name, json_pack("{soss}", "id", id, "reason", s->reason))) {
			json_decref(all);
			return NULL;
		}
	}
	return all;
}

/* --- at boot ----------------------------------------------------------------------------------------------------- */

static const struct config_system *declared(const struct kernel *k, const char *name, size_t *indexp)
{
	for (size_t i = 0; i < k->settings.n_systems; i++)
		if (!strcmp(k->settings.systems[i].name, name)) {
			*indexp = i;
			return &k->settings.systems[i];
		}
	return NULL;
}

/* A subcluster goes on as it was launched, whatever its declaration says by now; but that should not go unnoticed. */
static int compare(struct kernel *k, const struct config_system *system, uint64_t number)
{
	json_t *launched = NULL;
	int r = subcluster_config(k, number, &launched);

	if (r < 0)
		return r;
	if (r || !json_equal(launched, system->json))
		log_warn("system.%s: goes on as it was launched, which is not what is declared now; terminate s%" PRIu64
			 " and start again to launch that", system->name, number);
	json_decref(launched);
	return 0;
}

static int meet(struct kernel *k, uint64_t number, const struct row_subcluster *row)
{
	const struct config_system *system;
	size_t i;

	if (!row->name[0] || row->status != SUB_RUNNING)
		return 0;
	system = declared(k, row->name, &i);
	if (!system) {
		log_info("system.%s: s%" PRIu64 " is no longer declared and is removed", row->name, number);
		return subcluster_terminate(k, number, "no longer declared", NULL);
	}
	k->systems[i].number = number;
	return compare(k, system, number);
}

static int meet_all(struct kernel *k)
{
	struct row_subcluster row;
	uint64_t number = 0;
	int r;

	for (;;) {
		r = subcluster_next(k, &number, &row);
		if (r)
			return r < 0 ? r : 0;
		r = meet(k, number, &row);
		if (r < 0)
			return r;
	}
}

static int launch(struct kernel *k, struct config_system *system, int *fds)
{
	char reason[PATH_MAX + 80];

	for (size_t i = 0; i < system->paths.n; i++)
		if (fds[i] < 0) {
			snprintf(reason, sizeof(reason), "%s: could not be opened when capstand started", system->paths.paths[i]);
			system_ended(k, system->name, 0, reason);
			return 0;
		}
	return arrival_begin(k, TAKE_PTR(system->config), system->json, fds, NULL);
}

int system_boot(struct kernel *k, int *fds)
{
	int r;

	k->systems = calloc(k->settings.n_systems + 1, sizeof(*k->systems));
	if (!k->systems)
		return error_origin(ENOMEM);
	r = meet_all(k);
	for (size_t i = 0; r >= 0 && i < k->settings.n_systems; i++) {
		struct config_system *system = &k->settings.systems[i];

		if (!k->systems[i].number)
			r = launch(k, system, fds);
		for (size_t j = 0; j < system->paths.n; j++, fds++)
			closep(fds);
	}
	return r;
}

void system_deinit(struct kernel *k)
{
	free(k->systems);
	k->systems = NULL;
}
