/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a cluster configuration and as the kernel's own: a config or an error with a place, never a negative number; and what was accepted
 * survives its row (written, read, written again: the same).
 */
#include "../../lib/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_vat(const struct config_vat *vat)
{
	char error[CONFIG_ERROR_MAX];
	struct config_vat *again = NULL;
	json_t *json = config_vat_to_json(vat), *json_again;

	assert(json && config_vat_parse(vat->name, json, &again, error) == 0);
	json_again = config_vat_to_json(again);
	assert(json_equal(json, json_again));
	json_decref(json);
	json_decref(json_again);
	config_vat_free(again);
}

static void check_config(const struct config *c)
{
	struct config_paths p;

	assert(c->bootstrap && c->n_vats >= 1 && c->n_vats <= CONFIG_MAX_VATS);
	for (size_t i = 0; i < c->n_vats; i++)
		check_vat(&c->vats[i]);
	assert(config_paths(c, &p) == 0 && p.n <= CONFIG_MAX_PATHS);
	for (size_t i = 0; i < p.n; i++)
		assert(config_paths_index(&p, p.paths[i]) == i);
	config_paths_deinit(&p);
}

static void check_settings(struct settings *s)
{
	assert(settings_n_given(s) <= CONFIG_MAX_GIVEN);
	for (size_t i = 0; i < s->n_systems; i++) {
		assert(!strcmp(s->systems[i].name, s->systems[i].config->system));
		check_config(s->systems[i].config);
	}
	settings_deinit(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char error[CONFIG_ERROR_MAX];
	struct config *c = NULL;
	json_t *json = json_loadb((const char *)data, size, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL,
				  NULL);
	struct settings settings;
	int r;

	if (!json)
		return 0;
	r = config_parse(json, &c, error);
	assert(r == 0 || r == CONFIG_E_INVALID);
	assert(r == 0 ? c && !error[0] : !c && strstr(error, ": "));
	if (c)
		check_config(c);
	config_free(c);
	r = settings_parse(json, &settings, error);
	assert(r == 0 || r == CONFIG_E_INVALID);
	assert(r == 0 ? !error[0] : !!strstr(error, ": "));
	if (r == 0)
		check_settings(&settings);
	json_decref(json);
	return 0;
}
