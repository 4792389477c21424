/* SPDX-License-Identifier: Apache-2.0 */
/* Requests: see request.h. */
#include "request.h"

#include <jansson.h>

static bool wrong(char error[REQUEST_ERROR_MAX], const char *text)
{
	snprintf(error, REQUEST_ERROR_MAX, "%s", text);
	return false;
}

static bool parse_op(const json_t *json, struct request *r, char error[REQUEST_ERROR_MAX])
{
	static const struct { const char *name; enum request_op op; } ops[] = {
		{ "ls", REQUEST_LS }, { "tree", REQUEST_TREE }, { "cat", REQUEST_CAT }, { "stat", REQUEST_STAT },
	};
	const char *name = json_string_value(json_object_get(json, "op"));

	for (size_t i = 0; name && i < ARRAY_LEN(ops); i++)
		if (!strcmp(name, ops[i].name)) {
			r->op = ops[i].op;
			return true;
		}
	return wrong(error, "op: expected ls, tree, cat or stat");
}

static bool parse_path(const json_t *json, struct request *r, char error[REQUEST_ERROR_MAX])
{
	const json_t *path = json_object_get(json, "path");

	if (!path)
		return true;
	if (!json_is_string(path))
		return wrong(error, "path: expected a string");
	strncat(r->path, json_string_value(path), PATH_TEXT_MAX);
	return true;
}

static bool parse_bool(const json_t *json, bool *outp, char error[REQUEST_ERROR_MAX])
{
	const json_t *value = json_object_get(json, "link");

	if (value && !json_is_boolean(value))
		return wrong(error, "link: expected true or false");
	*outp = json_is_true(value);
	return true;
}

static bool parse_number(const json_t *json, const char *key, uint64_t *outp, char error[REQUEST_ERROR_MAX])
{
	const json_t *value = json_object_get(json, key);
	char text[64];

	if (!value)
		return true;
	if (!json_is_integer(value) || json_integer_value(value) < 0) {
		snprintf(text, sizeof(text), "%s: expected a whole number", key);
		return wrong(error, text);
	}
	*outp = (uint64_t)json_integer_value(value);
	return true;
}

static bool parse(const json_t *json, struct request *r, char error[REQUEST_ERROR_MAX])
{
	if (!json_is_object(json))
		return wrong(error, "expected a JSON object");
	return parse_op(json, r, error) && parse_path(json, r, error) && parse_bool(json, &r->link, error) &&
	       parse_number(json, "depth", &r->depth, error) && parse_number(json, "offset", &r->offset, error);
}

bool request_parse(struct request *r, const char *line, size_t len, char error[REQUEST_ERROR_MAX])
{
	json_t *json = json_loadb(line, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, NULL);
	bool good;

	*r = (struct request){ .depth = UINT64_MAX, .offset = UINT64_MAX };
	*error = '\0';
	good = json ? parse(json, r, error) : wrong(error, "expected a request in JSON");
	json_decref(json);
	return good;
}
