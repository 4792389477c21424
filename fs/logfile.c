/* SPDX-License-Identifier: Apache-2.0 */
/* Logs as files: see logfile.h. */
#include "logfile.h"

uint64_t logfile_place(struct logfile *f, uint64_t offset, uint64_t start, uint64_t end)
{
	bool forward = !f->begun || offset >= f->last;
	uint64_t place = offset + f->shift;

	if (f->shift && place > end)
		place = offset;
	if (place < start && (forward || f->shift)) {
		f->shift = start - offset;
		place = start;
	}
	f->begun = true;
	f->last = offset;
	return place;
}

static void add_hole(struct text *t, size_t n)
{
	static const char zeros[4096];

	for (; n; n -= n < sizeof(zeros) ? n : sizeof(zeros))
		text_add(t, zeros, n < sizeof(zeros) ? n : sizeof(zeros));
}

int logfile_read(struct view *v, struct logfile *f, uint64_t vat, uint64_t offset, size_t size, struct text *t)
{
	uint64_t start, end, end_us, place;
	struct logfile after = *f;
	int r = render_log_size(v, vat, &end, &end_us);

	if (!r)
		r = render_log_start(v, vat, &start);
	if (r)
		return r;
	place = logfile_place(&after, offset, start, end);
	if (place < start) {
		add_hole(t, start - place < size ? (size_t)(start - place) : size);
		place = start;
	}
	if (t->len < size && place < end)
		r = render_log_from(v, vat, place, t);
	if (!r && t->len > size)
		t->len = size;
	if (!r)
		*f = after;
	return r;
}
