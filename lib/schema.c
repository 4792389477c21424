/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading and writing rows. Every reader here is total: it takes any bytes whatever and answers false for those
 * that the kernel cannot have written. What a false means is the caller's business: the broker stops (its own
 * store is damaged), the mount shows "damaged", the checker names the row.
 *
 * Rows are copied out, never cast: LMDB aligns values to two bytes only.
 */
#include "schema.h"

const char *const table_names[T_N] = {
	[T_META] = "meta",		[T_VAT] = "vat",		[T_VAT_CONFIG] = "vat-config",
	[T_VAT_PARAM] = "vat-param",	[T_SUBCLUSTER] = "subcluster",	[T_SUB_CONFIG] = "sub-config",
	[T_MEMBER] = "member",		[T_OBJECT] = "object",		[T_PROMISE] = "promise",
	[T_VALUE] = "value",		[T_CLIST] = "clist",		[T_EREF] = "eref",
	[T_IMPORTER] = "importer",	[T_DECIDED] = "decided",	[T_SUBSCRIBER] = "subscriber",
	[T_FORWARD] = "forward",	[T_QUEUE] = "queue",		[T_NOTIFYING] = "notifying",
	[T_GC] = "gc",			[T_SWEEP] = "sweep",		[T_VATSTORE] = "vatstore",
	[T_HOLD] = "hold",		[T_SERVICE] = "service",	[T_SERVICE_OF] = "service-of",
	[T_LOG] = "log",		[T_CODE] = "code",		[T_ASIDE] = "aside",
	[T_SUSPECT] = "suspect",	[T_CHARGE] = "charge",		[T_DEATH] = "death",
};
const char *const log_level_names[4] = { "debug", "info", "warning", "error" };

void capdata_write(uint8_t *out, const void *body, size_t body_len, const uint64_t *slots, size_t n_slots)
{
	uint32_t head[2] = { (uint32_t)body_len, (uint32_t)n_slots };

	assert(body_len <= UINT32_MAX && n_slots <= UINT32_MAX);
	memcpy(out, head, sizeof head);
	out += sizeof head;
	if (n_slots)
		memcpy(out, slots, n_slots * 8);
	if (body_len)
		memcpy(out + n_slots * 8, body, body_len);
}

bool capdata_read(const void *data, size_t len, struct capdata *out)
{
	uint32_t head[2];
	const uint8_t *p = data;

	if (len < sizeof head)
		return false;
	memcpy(head, p, sizeof head);
	/* Two 32-bit numbers: this sum cannot overflow 64 bits. */
	if ((uint64_t)sizeof head + (uint64_t)head[1] * 8 + head[0] != len)
		return false;
	out->slots = p + sizeof head;
	out->n_slots = head[1];
	out->body = out->slots + (size_t)head[1] * 8;
	out->body_len = head[0];
	return true;
}

static bool terminated(const char *text, size_t size)
{
	return memchr(text, 0, size) != NULL;
}

/* A row of fixed size, copied out whole. */
static bool row_copy(const void *data, size_t len, void *out, size_t size)
{
	if (len != size)
		return false;
	memcpy(out, data, size);
	return true;
}

bool row_vat_read(const void *data, size_t len, struct row_vat *out)
{
	return row_copy(data, len, out,
			sizeof *out) && out->status >= VAT_STARTING && out->status <= VAT_TERMINATED &&
	       terminated(out->name, sizeof out->name) && terminated(out->reason, sizeof out->reason);
}

bool row_subcluster_read(const void *data, size_t len, struct row_subcluster *out)
{
	return row_copy(data, len, out, sizeof *out) && out->status >= SUB_LAUNCHING &&
	       out->status <= SUB_TERMINATING && terminated(out->name, sizeof out->name);
}

bool row_object_read(const void *data, size_t len, struct row_object *out)
{
	return row_copy(data, len, out, sizeof *out) && out->n_reachable <= out->n_recognizable;
}

bool row_promise_read(const void *data, size_t len, struct row_promise *out)
{
	return row_copy(data, len, out, sizeof *out) && out->state >= PROMISE_UNRESOLVED &&
	       out->state <= PROMISE_REJECTED;
}

bool row_clist_read(const void *data, size_t len, struct row_clist *out)
{
	return row_copy(data, len, out, sizeof *out);
}

bool row_item_read(const void *data, size_t len, struct row_item *out, struct capdata *methargs)
{
	const uint8_t *p = data;

	*methargs = (struct capdata){ 0 };
	if (len < sizeof *out)
		return false;
	memcpy(out, p, sizeof *out);
	if (out->kind == ITEM_NOTIFY)
		return len == sizeof *out;
	return out->kind == ITEM_MESSAGE && capdata_read(p + sizeof *out, len - sizeof *out, methargs);
}

bool row_hold_read(const void *data, size_t len, struct row_hold *out)
{
	return row_copy(data, len, out, sizeof *out);
}

bool row_aside_read(const void *data, size_t len, struct row_aside *out, struct capdata *methargs)
{
	const uint8_t *p = data;

	*methargs = (struct capdata){ 0 };
	if (len < sizeof *out)
		return false;
	memcpy(out, p, sizeof *out);
	return capdata_read(p + sizeof *out, len - sizeof *out, methargs);
}

bool row_charge_read(const void *data, size_t len, struct row_charge *out)
{
	return row_copy(data, len, out, sizeof *out);
}

/* A struct of `size` bytes, then text. */
static bool read_head(const void *data, size_t len, void *out, size_t size, const char **textp, size_t *textlenp)
{
	if (len < size)
		return false;
	memcpy(out, data, size);
	*textp = (const char *)data + size;
	*textlenp = len - size;
	return true;
}

bool row_log_read(const void *data, size_t len, struct row_log *out, const char **textp, size_t *textlenp)
{
	return read_head(data, len, out, sizeof(*out), textp, textlenp) && out->level < ARRAY_LEN(log_level_names) &&
	       out->incarnation && out->offset <= INT64_MAX;
}

bool row_death_read(const void *data, size_t len, struct row_death *out, const char **textp, size_t *textlenp)
{
	return read_head(data, len, out, sizeof(*out), textp, textlenp) && out->incarnation;
}

bool row_code_read(const void *data, size_t len, struct row_code *out, const char **namep, size_t *namelenp)
{
	return read_head(data, len, out, sizeof(*out), namep, namelenp) && *namelenp <= CODE_NAME_MAX && out->number;
}

#define LOG_TIME_SIZE	27u	/* 2026-11-22T12:31:50.000042Z */

size_t log_line_size(const struct row_log *row, const void *text, size_t len)
{
	char none[1];
	size_t digits = 1;

	for (uint32_t n = row->incarnation; n > 9; n /= 10)
		digits++;
	return LOG_TIME_SIZE + 1 + digits + 1 + strlen(log_level_names[row->level]) + 1 +
	       escape_bytes(none, sizeof(none), text, len) + 1;
}

bool bucket_next(const void *row, size_t len, size_t *posp, struct bucket_entry *out)
{
	const uint8_t *p = row;
	uint32_t head[2];
	size_t left;

	assert(*posp <= len);
	left = len - *posp;
	if (left < sizeof head)
		return false;
	p += *posp;
	memcpy(head, p, sizeof head);
	if ((uint64_t)head[0] + head[1] > left - sizeof head)
		return false;
	out->rest = p + sizeof head;
	out->rest_len = head[0];
	out->value = out->rest + head[0];
	out->value_len = head[1];
	*posp += sizeof head + (size_t)head[0] + head[1];
	return true;
}

bool vatstore_row_read(const void *row, size_t len, size_t chunk_len, struct vatstore_row *out)
{
	struct bucket_entry e;
	size_t pos = 0;

	*out = (struct vatstore_row){ 0 };
	while (bucket_next(row, len, &pos, &e)) {
		if (!e.rest_len && !out->has_value && !out->link) {
			out->has_value = true;
			out->value = e.value;
			out->value_len = e.value_len;
		} else if (e.rest_len == 8 && !e.value_len && !out->link && chunk_len == VATSTORE_PREFIX) {
			memcpy(&out->link, e.rest, 8);
			if (!(out->link & VATSTORE_SPACE))
				return false;
		} else {
			return false;
		}
	}
	return pos == len && (out->has_value || out->link);
}
