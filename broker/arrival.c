/* SPDX-License-Identifier: Apache-2.0 */
#include "arrival.h"

#include "launch.h"
#include "system.h"

struct arrival {
	struct kernel *kernel;
	struct control_request *request;
	struct config *config;
	json_t *json;
	struct config_paths paths;
	uint8_t (*hashes)[CODE_HASH_LEN];
	uint64_t *sizes;
	size_t n_pending;
	char error[CONFIG_ERROR_MAX + 64];
	bool failed;
};
struct arriving { struct arrival *arrival; size_t index; };

static void arrival_free(struct arrival *a)
{
	config_free(a->config);
	json_decref(a->json);
	config_paths_deinit(&a->paths);
	free(a->hashes);
	free(a->sizes);
	free(a);
}

static void refuse(struct arrival *a, const char *system, const char *error)
{
	if (a->request)
		control_error(a->request, CONTROL_INVALID_PARAMS, NULL, "%s", error);
	else
		system_ended(a->kernel, system, 0, error);
}

/* The last file is in (or one failed): go, or say why not. */
static int arrival_finish(struct arrival *a)
{
	_cleanup_free_ char *system = a->config->system ? strdup(a->config->system) : NULL;
	char error[CONFIG_ERROR_MAX];
	int r = 0;

	if (a->config->system && !system)
		return error_origin(ENOMEM);
	if (a->failed) {
		refuse(a, system, a->error);
	} else {
		r = launch_begin(a->kernel, TAKE_PTR(a->config), a->json, &a->paths,
				 (const uint8_t(*)[CODE_HASH_LEN])a->hashes, a->sizes, a->request, error);
		if (r > 0)
			refuse(a, system, error);
	}
	arrival_free(a);
	return r < 0 ? r : 0;
}

static int on_code(void *ctx, const char *error, const uint8_t hash[CODE_HASH_LEN], uint64_t size)
{
	struct arriving *in = ctx;
	struct arrival *a = in->arrival;

	if (error) {
		a->failed = true;
		snprintf(a->error, sizeof(a->error), "%s: %s", a->paths.paths[in->index], error);
	} else {
		memcpy(a->hashes[in->index], hash, CODE_HASH_LEN);
		a->sizes[in->index] = size;
	}
	free(in);
	return --a->n_pending ? 0 : arrival_finish(a);
}

static bool is_program(const struct config *c, const char *path)
{
	size_t i;

	for (i = 0; i < c->n_vats; i++)
		if (!strcmp(c->vats[i].program, path))
			return true;
	return false;
}

static int start(struct arrival *a, int *fds)
{
	size_t i;

	/* One for ourselves, so that an early completion cannot finish it under our feet. */
	a->n_pending = a->paths.n + 1;
	for (i = 0; i < a->paths.n; i++) {
		struct arriving *in = malloc(sizeof(*in));
		int r;

		if (!in)
			return error_origin(ENOMEM);
		*in = (struct arriving){ a, i };
		r = code_add(a->kernel->code, TAKE_FD(fds[i]), is_program(a->config, a->paths.paths[i]), on_code, in);
		if (r < 0)
			return error_trace(r);
	}
	return --a->n_pending ? 0 : arrival_finish(a);
}

int arrival_begin(struct kernel *k, struct config *config, const json_t *json, int *fds, struct control_request *request)
{
	struct arrival *a = calloc(1, sizeof(*a));
	int r;

	if (!a)
		return error_origin(ENOMEM);
	*a = (struct arrival){ .kernel = k, .request = request, .config = config, .json = json_incref((json_t *)(uintptr_t)json) };
	r = config_paths(config, &a->paths);
	assert(r <= 0);	/* it was parsed: no more than CONFIG_MAX_PATHS */
	a->hashes = calloc(a->paths.n + 1, CODE_HASH_LEN);
	a->sizes = calloc(a->paths.n + 1, sizeof(*a->sizes));
	if (r < 0 || !a->json || !a->hashes || !a->sizes)
		return error_origin(ENOMEM);
	return start(a, fds);
}
