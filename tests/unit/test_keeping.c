/* SPDX-License-Identifier: Apache-2.0 */
/* Collections under the real kernel and its collector, in one process: weak keys of another vat's objects; large ones go. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <capstan/vat_test.h>

/* --- a shop that makes things, and a book that notes prices without keeping the things ------------------- */

typedef struct { int64_t n; } thing;
VAT_METHOD(thing, thing_get) { return vat_return(v, "i", self->n); }
static const vat_kind Thing = { "Thing", sizeof(thing), VAT_STATE(VAT_I64(thing, n)), VAT_METHODS({ "get", "", "i", thing_get }) };
static const vat_kind Trinket = { "Trinket", sizeof(thing), VAT_METHODS({ "get", "", "i", thing_get }) };

typedef struct { int64_t made; } shop;
VAT_METHOD(shop, shop_bootstrap) { return 0; }
VAT_METHOD(shop, shop_make)
{
	bool durable;
	vat_read(v, "b", &durable);
	return vat_return(v, "r", vat_new(v, durable ? &Thing : &Trinket, ""));
}
static const vat_kind Shop = { "Shop", sizeof(shop), VAT_STATE(VAT_I64(shop, made)),
	VAT_METHODS({ "bootstrap", NULL, NULL, shop_bootstrap }, { "make", "b", "r", shop_make }) };
static const vat_program shop_program = { (const vat_kind *const[]){ &Shop, &Thing, NULL } };

typedef struct { vat_ref *prices, *list; } book;
VAT_METHOD(book, book_init)
{
	if (!self->prices)
		self->prices = vat_map_new(v, "prices", VAT_DURABLE_COLLECTION | VAT_WEAK_KEYS);
	if (!self->list)
		self->list = vat_map_new(v, "list", VAT_DURABLE_COLLECTION);
	return 0;
}
VAT_METHOD(book, book_note)
{
	vat_ref *of;
	int64_t price;
	vat_read(v, "ri", &of, &price);
	return vat_map_set(v, self->prices, "r", "i", of, price);
}
VAT_METHOD(book, book_price)
{
	vat_ref *of;
	int64_t price;
	vat_read(v, "r", &of);
	return vat_map_get(v, self->prices, "r", "i", of, &price) ? vat_return(v, "i", price) : 0;
}
VAT_METHOD(book, book_forget)
{
	vat_ref *of;
	vat_read(v, "r", &of);
	return vat_return(v, "b", vat_collection_delete(v, self->prices, "r", of));
}
VAT_METHOD(book, book_fill)
{
	int64_t n;
	vat_ref *of;
	vat_read(v, "ir", &n, &of);
	for (int64_t i = 0; i < n; i++)
		if (vat_map_set(v, self->list, "[si]", "r", "entry", i, of))
			return -1;
	return vat_return(v, "i", (int64_t)vat_collection_size(v, self->list));
}
VAT_METHOD(book, book_clear)
{
	vat_collection_clear(v, self->list);
	return 0;
}
static const vat_kind Book = { "Book", sizeof(book), VAT_STATE(VAT_REF(book, prices), VAT_REF(book, list)), VAT_INIT(book_init),
	VAT_METHODS({ "note", "ri", NULL, book_note }, { "price", "r", NULL, book_price }, { "forget", "r", "b", book_forget },
		    { "fill", "ir", "i", book_fill }, { "clear", "", NULL, book_clear }) };
static const vat_program book_program = { (const vat_kind *const[]){ &Book, NULL } };

static vat_test *begin(void)
{
	vat_test *t = vat_test_new();
	vat_test_add(t, "shop", &shop_program, NULL);
	vat_test_add(t, "book", &book_program, NULL);
	vat_test_launch(t);
	return t;
}

/* --- tests ------------------------------------------------------------------------------------------------ */

/* The book knows a thing as long as somebody else keeps it, over restarts; then the price goes, and the name. */
static void weak(bool durable)
{
	vat_test *t = begin();
	const char *make = durable ? "[true]" : "[false]";
	vat_test_reap(t, "shop");
	size_t exports = vat_test_exports(t, "shop");
	const char *one = vat_test_call(t, "shop", "make", "%s", make), *two = vat_test_call(t, "shop", "make", "%s", make);
	assert_string_equal(vat_test_call(t, "book", "note", "[{\"@\":\"%s\"}, 5]", one), "undefined");
	size_t keys = vat_test_store_keys(t, "book");
	assert_string_equal(vat_test_call(t, "book", "note", "[{\"@\":\"%s\"}, 6]", two), "undefined");
	for (int i = 0; i < 3; i++) {
		vat_test_reap(t, "book");
		assert_int_equal(vat_test_imports(t, "book"), 2);
		assert_string_equal(vat_test_call(t, "book", "price", "[{\"@\":\"%s\"}]", one), "5");
		if (i == 1)
			vat_test_restart(t, "book");
	}
	vat_test_reap(t, "book");
	assert_string_equal(vat_test_call(t, "book", "forget", "[{\"@\":\"%s\"}]", two), "true");
	vat_test_reap(t, "book");
	assert_int_equal(vat_test_imports(t, "book"), 1);
	assert_int_equal(vat_test_store_keys(t, "book"), keys);
	vat_test_release(t);
	vat_test_reap(t, "shop");
	vat_test_reap(t, "book");
	assert_int_equal(vat_test_imports(t, "book"), 0);
	assert_int_equal(vat_test_exports(t, "shop"), exports);
	assert_true(vat_test_store_keys(t, "book") < keys);
	assert_string_equal(vat_test_status(t, "book"), "running");
	vat_test_free(t);
}
static void test_weak_ephemeral(void **state) { (void)state; weak(false); }
static void test_weak_durable(void **state) { (void)state; weak(true); }

/* The maker's death is the end of what it made, and of the entries. */
static void test_maker_dies(void **state)
{
	(void)state;
	vat_test *t = begin();
	size_t keys = vat_test_store_keys(t, "book");
	const char *one = vat_test_call(t, "shop", "make", "[false]");
	vat_test_call(t, "book", "note", "[{\"@\":\"%s\"}, 5]", one);
	vat_test_reap(t, "book");
	vat_test_release(t);
	vat_test_restart(t, "shop");
	vat_test_reap(t, "book");
	assert_int_equal(vat_test_imports(t, "book"), 0);
	assert_true(vat_test_store_keys(t, "book") <= keys + 3);	/* rows of kinds, and the rows' own state */
	vat_test_free(t);
}

/* Thousands of entries go in wake-ups that the vat asks for; what they held goes with them. */
static void test_large(void **state)
{
	(void)state;
	vat_test *t = begin();
	const char *one = vat_test_call(t, "shop", "make", "[true]");
	vat_test_call(t, "book", "fill", "[1, {\"@\":\"%s\"}]", one);
	size_t keys = vat_test_store_keys(t, "book");
	assert_string_equal(vat_test_call(t, "book", "fill", "[5000, {\"@\":\"%s\"}]", one), "5000");
	assert_int_equal(vat_test_store_keys(t, "book"), keys + 4999);
	vat_test_release(t);
	vat_test_reap(t, "book");
	assert_int_equal(vat_test_imports(t, "book"), 1);
	vat_test_call(t, "book", "clear", "[]");
	vat_test_run(t);
	assert_true(vat_test_store_keys(t, "book") < keys);
	vat_test_reap(t, "book");
	assert_int_equal(vat_test_imports(t, "book"), 0);
	vat_test_free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_weak_ephemeral),
		cmocka_unit_test(test_weak_durable),
		cmocka_unit_test(test_maker_dies),
		cmocka_unit_test(test_large),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
