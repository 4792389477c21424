/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A chat room. Nobody is given the room: each member gets a seat, which asks the room for him, under his name, until
 * it is taken away (a caretaker). That touches no other member, and whoever was lent the seat has lost it too.
 */
#include <capstan/vat.h>

typedef struct { vat_ref *seats, *lines; int64_t n_lines; } room;	/* maps: name, seat; number, {from, text} */
typedef struct { vat_ref *room, *member; char *name; } seat;		/* no room: taken away */
static const vat_kind Room, Seat;

static int say(vat *v, room *r, const char *from, const char *text)
{
	vat_value *at;
	vat_map_set(v, r->lines, "i", "{from:s,text:s}", r->n_lines++, from, text);
	for (vat_cursor *c = vat_range(v, r->seats, NULL, NULL); vat_next(v, c, NULL, &at);) {
		vat_ref *ref;
		vat_value_read(v, at, "r", &ref);
		vat_tell(v, ((seat *)vat_state(v, ref, &Seat))->member, "hear", "ss", from, text);
	}
	return 0;
}

VAT_METHOD(seat, placed)
{
	const char *name;
	vat_read(v, "rrs", &self->room, &self->member, &name);
	vat_set_string(v, &self->name, name);
	return 0;
}

static int nobody(vat *v, const seat *self) { return vat_fail(v, "Error", "%s has no seat here any more", self->name); }

VAT_METHOD(seat, post)
{
	const char *text;
	room *r = vat_state(v, self->room, &Room);
	vat_read(v, "s", &text);
	return r ? say(v, r, self->name, text) : nobody(v, self);
}

VAT_METHOD(seat, history)	/* the last 20 lines */
{
	vat_value *lines[20];
	size_t n = 0;
	const room *r = vat_state(v, self->room, &Room);
	for (int64_t i = r && r->n_lines > 20 ? r->n_lines - 20 : 0; r && i < r->n_lines; i++)
		n += vat_map_get(v, r->lines, "i", "v", i, &lines[n]);
	return r ? vat_return(v, "v", vat_array(v, lines, n)) : nobody(v, self);
}

static const vat_kind Seat = { "Seat", sizeof(seat), VAT_INIT(placed),
	VAT_STATE(VAT_REF(seat, room), VAT_REF(seat, member), VAT_STR(seat, name)),
	VAT_METHODS({ "post", "s", NULL, post }, { "history", "", NULL, history }) };

VAT_METHOD(room, kick)
{
	const char *name;
	vat_ref *at;
	vat_read(v, "s", &name);
	if (!vat_map_get(v, self->seats, "s", "r", name, &at))
		return vat_fail(v, "Error", "nobody here is called %s", name);
	((seat *)vat_state(v, at, &Seat))->room = NULL;
	vat_collection_delete(v, self->seats, "s", name);
	return say(v, self, "room", "somebody was asked to leave");
}

/* The room opens, with a seat for each of the cluster's other vats. */
VAT_METHOD(room, bootstrap)
{
	vat_value *vats;
	vat_ref *member;
	vat_read(v, "v", &vats);
	self->seats = vat_map_new(v, "seats", VAT_DURABLE_COLLECTION);
	self->lines = vat_map_new(v, "lines", VAT_DURABLE_COLLECTION);
	for (size_t i = 0; i < vat_length(vats); i++) {
		vat_value_read(v, vat_at(v, vats, i), "r", &member);
		if (member == vat_self(v))
			continue;
		vat_ref *s = vat_new(v, &Seat, "rrs", vat_self(v), member, vat_name_at(v, vats, i));
		vat_map_set(v, self->seats, "s", "r", vat_name_at(v, vats, i), s);
		vat_tell(v, member, "enter", "r", s);
	}
	return vat_return(v, "r", vat_self(v));
}

static const vat_kind Room = { "Room", sizeof(room), VAT_STATE(VAT_REF(room, seats), VAT_REF(room, lines), VAT_I64(room, n_lines)),
	VAT_METHODS({ "bootstrap", "v?v", "r", bootstrap }, { "kick", "s", NULL, kick }) };
VAT_PROGRAM(&Room, &Seat);
