/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mount without FUSE: what vats keep in their stores, decoded. Rows as the C library and the Python one write them, every text
 * compared exactly; keys of collections against the vectors that @endo/marshal made; then rows that no library wrote.
 */
#include "fs_state.h"
#include "key_vectors.h"

#include "../../fs/store_key.h"

/* --- keys -------------------------------------------------------------------------------------------------------- */

static void read_key(const void *data, size_t len, struct store_key *k)
{
	int r = store_key_read(data, len, k);

	assert_true(r == 0 || r == STORE_KEY_E_INVALID);
}

/* A key has no interfaces: what they are called in is no part of it. */
static void drop_interfaces(const char *body, char *out)
{
	for (const char *p = body, *found; ; p = found + strcspn(found, "\"")) {
		found = strstr(p, ".Alleged: ");
		if (!found) {
			strcpy(out, p);
			return;
		}
		memcpy(out, p, (size_t)(found - p));
		out += found - p;
	}
}

static void test_key_vectors(void **state)
{
	char slots[512], buf[REF_TEXT_MAX], body[4096];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(key_vectors); i++) {
		const struct key_vector *x = &key_vectors[i];
		struct store_key k;

		assert_int_equal(store_key_read(x->text, strlen(x->text), &k), 0);
		jtext_char(&k.text, '\0');
		assert_true(strlen(x->body) < sizeof(body));
		drop_interfaces(x->body, body);
		assert_string_equal(k.text.data, body);
		slots[0] = '\0';
		for (size_t j = 0; j < k.n_vrefs; j++)
			sprintf(slots + strlen(slots), "%s%s", j ? " " : "", vref_format((vref_t){ k.vrefs[j] }, buf));
		assert_string_equal(slots, x->slots);
		store_key_deinit(&k);
	}
}

/* Bytes near those of keys: refused, or read without harm. */
static void test_key_noise(void **state)
{
	static const char alphabet[] = "^bfnprsvyz~#:0123456789abcdef !_@|\x01\xff";
	struct rng rng = { 11 };
	struct store_key k;
	char key[256];

	(void)state;
	for (int i = 0; i < 200000; i++) {
		const struct key_vector *x = &key_vectors[rng_below(&rng, ARRAY_LEN(key_vectors))];
		size_t len = strlen(x->text) < sizeof(key) ? strlen(x->text) : sizeof(key);

		memcpy(key, x->text, len);
		if (i % 2)
			len = rng_below(&rng, 24);
		for (size_t n = i % 2 ? len : 1 + rng_below(&rng, 3); n > 0 && len; n--)
			key[i % 2 ? n - 1 : rng_below(&rng, (uint32_t)len)] = alphabet[rng_below(&rng, sizeof(alphabet))];
		read_key(key, rng_below(&rng, 4) ? len : rng_below(&rng, (uint32_t)len + 1), &k);
		store_key_deinit(&k);
	}
	/* Deeper than the writer goes. */
	memset(key, '^', sizeof(key));
	read_key(key, sizeof(key), &k);
	assert_null(k.text.data);
}

/* --- a vat of the C library -------------------------------------------------------------------------------------- */

static void write_library(struct store *s)
{
	put_text(s, 1, "baggage.count", "#5");
	put_text(s, 1, "builtin.Map", "1 label:str weak:bool size:i64 rows:ref");
	put_text(s, 1, "builtin.Map.virtual", "1 label:str weak:bool size:i64 rows:ref; virtual");
	put_text(s, 1, "builtin.Reader", "0 x:value");
	put_text(s, 1, "builtin.Rows", "2 weak:bool set:bool");
	put_text(s, 1, "builtin.Rows.virtual", "2 weak:bool set:bool; virtual");
	put_text(s, 1, "builtin.Set", "4 label:str weak:bool size:i64 rows:ref");
	put_text(s, 1, "continuations", "not one of them");
	put_text(s, 1, "count.o+d1.1", "1");
	put_text(s, 1, "count.o-5", "3");
	put_text(s, 1, "entry.o+d2.2.f8000000000000000", "#\"zero\"");
	put_text(s, 1, "entry.o+d2.2.r4000000000000005", "#{\"of\":\"$0\"}\no-5");
	put_text(s, 1, "entry.o+d2.2.stwo!_words\x01", "#1");
	put_text(s, 1, "entry.o+d2.2.stwo!_words", "#1");
	put_text(s, 1, "entry.o+d2.4.sx", "");
	put_text(s, 1, "entry.o+d2.6.r4000000000000005", "#null");
	put_text(s, 1, "entry.o+d2.6.r4000000000000006", "#null");
	put_text(s, 1, "exported.o+d3.7", "reachable");
	put_text(s, 1, "exported.o+d3.8", ":r-c");
	put_text(s, 1, "gone.o+d3.9", "");
	put_text(s, 1, "instance", "9");
	put_text(s, 1, "kind.Purse", "3 n:i64 peer:ref; facets deposit withdraw");
	put_text(s, 1, "kind.Later", "5; virtual");
	put_text(s, 1, "kinds", "5");
	put_text(s, 1, "life.2.count.o-5", "1");
	put_text(s, 1, "life.2.entry.o+v2.12.strue", "#true");
	put_text(s, 1, "life.2.object.o+v1.11", "#{\"label\":\"\",\"rows\":\"$0\",\"size\":1,\"weak\":false}\no+v2.12");
	put_text(s, 1, "life.2.object.o+v5.13", "#{}");
	put_text(s, 1, "life.3.count.o-6", "2");
	put_text(s, 1, "object.o+0", "#{\"map\":\"$0\"}\no+d1.1");
	put_text(s, 1, "object.o+d1.1", "#{\"label\":\"a map\",\"rows\":\"$0\",\"size\":3,\"weak\":false}\no+d2.2");
	put_text(s, 1, "object.o+d1.5", "#{\"label\":\"!-\",\"rows\":\"$0\",\"size\":0,\"weak\":true}\no+d2.6");
	put_text(s, 1, "object.o+d1.10", "#{\"label\":\"\",\"rows\":null,\"size\":0,\"weak\":false}");
	put_text(s, 1, "object.o+d2.2", "#{\"set\":false,\"weak\":false}");
	put_text(s, 1, "object.o+d3.7", "#{\"n\":7,\"peer\":\"$0\"}\no-5");
	put_text(s, 1, "object.o+d4.3", "#{\"label\":\"\",\"rows\":\"$0\",\"size\":1,\"weak\":false}\no+d2.4");
	put_text(s, 1, "object.x", "#1");
	put_text(s, 1, "weak.o-5.o+d2.6", "");
	put_text(s, 1, "weak.o+d3.7.o+d2.6", "");
	put_text(s, 1, "when.p-5", "when o+d3.7 paid\ncatch o+0 not paid\nnonsense\n");
}

static void write_python(struct store *s)
{
	put_text(s, 2, "b.names", "o-1\n#[\"a\",\"$0.Alleged: X\"]");
	put_text(s, 2, "b.odd", "no form");
	put_text(s, 2, "k.Entry", "1");
	put_text(s, 2, "n.1", "3");
	put_text(s, 2, "r.o+d1.1", "1 reachable");
	put_text(s, 2, "r.o-1", "2 -");
	put_text(s, 2, "s.o+0", "o+d1.1\n#{\"entries\":[\"$0\"]}");
	put_text(s, 2, "s.o+d1.1", "\n#{\"n\":1}");
	put_text(s, 2, "s.strange", "\n#{\"n\":1}");
}

static void write_state(struct store *s)
{
	put_vat(s, 1, (struct row_vat){ .subcluster = 1, .incarnation = 2, .status = VAT_RUNNING }, "c", "");
	put_vat(s, 2, (struct row_vat){ .subcluster = 1, .incarnation = 1, .status = VAT_RUNNING }, "python", "");
	put_vat(s, 3, (struct row_vat){ .subcluster = 1, .incarnation = 1, .status = VAT_RUNNING }, "none", "");
	put_object(s, 7, endpoint_vat(9), 1, 0, 1, 1);
	put_clist(s, endpoint_vat(1), "o-5", ko(7), CLIST_F_REACHABLE);
	put_clist(s, endpoint_vat(1), "o+d3.7", ko(8), CLIST_F_REACHABLE);
	put_clist(s, endpoint_vat(1), "o+d3.8:2", ko(9), 0);
	put_clist(s, endpoint_vat(1), "o+d1.1", ko(10), CLIST_F_REACHABLE);
	put_clist(s, endpoint_vat(1), "p-5", kp(3), CLIST_F_REACHABLE);
	put_clist(s, endpoint_vat(2), "o-1", ko(7), CLIST_F_REACHABLE);
	put_clist(s, endpoint_vat(2), "o+d1.1", ko(11), CLIST_F_REACHABLE);
	write_library(s);
	write_python(s);
}

static int setup(void **state)
{
	return setup_state(state, write_state);
}

static void test_listings(void **state)
{
	char out[LS_MAX];

	assert_non_null(strstr(ls(*state, "vats/v1", out),
		" vatstore baggage state collections entries kinds references continuations "));
	assert_non_null(strstr(ls(*state, "vats/v2", out), " vatstore baggage state kinds references "));
	ls(*state, "vats/v3", out);
	assert_non_null(strstr(out, " vatstore "));
	assert_null(strstr(out, "baggage"));
	assert_null(strstr(out, "state"));
	assert_null(strstr(out, "kinds"));
}

static void test_c(void **state)
{
	assert_string_equal(cat(*state, "vats/v1/baggage"), "key    value\ncount  5\n");
	assert_string_equal(cat(*state, "vats/v1/state"),
		"eref     kref  kind   value\n"
		"o+0      -     root   {map: ko10}\n"
		"o+d3.7   ko8   Purse  {n: 7, peer: ko7}\n"
		"o+v5.13  -     Later  {}\n");
	assert_string_equal(cat(*state, "vats/v1/collections"),
		"eref     kref  kind  keys    entries  rows     label\n"
		"o+d1.1   ko10  map   strong  3        o+d2.2   a map\n"
		"o+d1.10  -     map   strong  0        -        -\n"
		"o+d1.5   -     map   weak    2        o+d2.6   \\x2d\n"
		"o+v1.11  -     map   strong  1        o+v2.12  -\n"
		"o+d4.3   -     set   strong  1        o+d2.4   -\n");
	assert_string_equal(cat(*state, "vats/v1/entries"),
		"collection  key              value\n"
		"o+d1.1      0                \"zero\"\n"
		"o+d1.1      ko7              {of: ko7}\n"
		"o+d1.1      \"two\\x20words\"   1\n"
		"o+d1.1      stwo!_words\\x01  1\n"
		"o+d1.5      ko7              null\n"
		"o+d1.5      o-6              null\n"
		"o+v1.11     \"true\"           true\n"
		"o+d4.3      \"x\"              -\n");
	assert_string_equal(cat(*state, "vats/v1/kinds"),
		"kind    number  source   lifetime  fields                                 facets\n"
		"Later   5       program  virtual   -                                      -\n"
		"Purse   3       program  durable   n:i64,peer:ref                         deposit,withdraw\n"
		"Map     1       library  durable   label:str,weak:bool,size:i64,rows:ref  -\n"
		"Map     1       library  virtual   label:str,weak:bool,size:i64,rows:ref  -\n"
		"Reader  0       library  durable   x:value                                -\n"
		"Rows    2       library  durable   weak:bool,set:bool                     -\n"
		"Rows    2       library  virtual   weak:bool,set:bool                     -\n"
		"Set     4       library  durable   label:str,weak:bool,size:i64,rows:ref  -\n");
	assert_string_equal(cat(*state, "vats/v1/references"),
		"eref      kref  fact      value         life\n"
		"o+d1.1    ko10  count     1             -\n"
		"o-5       ko7   count     3             -\n"
		"o-5       ko7   count     1             2\n"
		"o-6       -     count     2             3\n"
		"o+d3.7    ko8   exported  reachable     -\n"
		"o+d3.8:0  -     exported  reachable     -\n"
		"o+d3.8:2  ko9   exported  recognizable  -\n"
		"o+d3.9    -     deleting  -             -\n"
		"o+d3.7    ko8   weak-key  o+d2.6        -\n"
		"o-5       ko7   weak-key  o+d2.6        -\n");
	assert_string_equal(cat(*state, "vats/v1/continuations"),
		"promise  kref  on     object  object-kref  method\n"
		"p-5      kp3   when   o+d3.7  ko8          paid\n"
		"p-5      kp3   catch  o+0     -            not paid\n");
}

static void test_python(void **state)
{
	assert_string_equal(cat(*state, "vats/v2/baggage"),
		"key    value\n"
		"names  [\"a\", ko7]\n"
		"odd    no form\n");
	assert_string_equal(cat(*state, "vats/v2/state"),
		"eref    kref  kind   value\n"
		"o+0     -     root   {entries: [ko11]}\n"
		"o+d1.1  ko11  Entry  {n: 1}\n");
	assert_string_equal(cat(*state, "vats/v2/kinds"),
		"kind   number  source   lifetime  fields  facets\n"
		"Entry  1       program  durable   -       -\n");
	assert_string_equal(cat(*state, "vats/v2/references"),
		"eref    kref  fact      value      life\n"
		"o+d1.1  ko11  count     1          -\n"
		"o+d1.1  ko11  exported  reachable  -\n"
		"o-1     ko7   count     2          -\n");
}

/* --- what no library wrote --------------------------------------------------------------------------------------- */

static void put_noise(struct store *s, struct rng *rng)
{
	static const char *const keys[] = {
		"kind.", "builtin.", "builtin.Map", "builtin.Set", "object.", "object.o+d1.", "object.o+d2.", "entry.o+d2.1.", "entry.o+d2.",
		"count.", "exported.", "exported.o+d1.1", "gone.", "weak.", "weak.o-5.", "when.p-5", "when.", "life.", "life.1.", "life.1.object.o+v1.",
		"life.99999999999999999999.", "b.", "s.", "s.o+0", "k.", "r.", "r.o-1",
	};
	static const char *const bits[] = {
		"1", "2", "o+d1.1", "o+d2.1", "o-5", ".", "\n", "#", "{\"rows\":\"$0\",\"label\":\"\x1b\",\"size\":1}", "{\"rows\":\"$9\"}", " ", ";",
		"; facets", "; virtual", "x\x00y", "\xff", "when o+0 m\n", "reachable", ":r-c", "\"", "s", "^",
	};
	char key[200], value[250];

	for (int i = 0; i < 400; i++) {
		size_t len = 0;

		strcpy(key, keys[rng_below(rng, ARRAY_LEN(keys))]);
		for (uint32_t n = rng_below(rng, 3); n > 0; n--)
			strcat(key, bits[rng_below(rng, ARRAY_LEN(bits))]);
		for (uint32_t n = rng_below(rng, 5); n > 0; n--) {
			const char *bit = bits[rng_below(rng, ARRAY_LEN(bits))];

			memcpy(value + len, bit, strlen(bit));
			len += strlen(bit);
		}
		put_vatstore(s, 1 + rng_below(rng, 3), key, strlen(key), value, len);
	}
}

static void test_noise(void **state)
{
	struct fixture *f = *state;
	struct rng rng = { 3 };

	for (int round = 0; round < 20; round++) {
		struct store *s;

		end_look(f);
		s = must_open(f->dir, STORE_DIRECT);
		put_noise(s, &rng);
		assert_int_equal(store_commit(s), 0);
		store_free(s);
		begin_look(f);
		render_all(f);
	}
}

/* A weak collection with more entries than are counted: said so, and not counted on and on. */
static void test_many(void **state)
{
	struct fixture *f = *state;
	struct store *s;
	char key[64];

	end_look(f);
	s = must_open(f->dir, STORE_DIRECT);
	for (unsigned i = 0; i < 100001; i++) {
		sprintf(key, "entry.o+d2.6.r40000000%08x", i);
		put_text(s, 1, key, "#0");
	}
	assert_int_equal(store_commit(s), 0);
	store_free(s);
	begin_look(f);
	assert_non_null(strstr(cat(f, "vats/v1/collections"), "\no+d1.5   -     map   weak    -        o+d2.6   \\x2d\n"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_key_vectors),
		cmocka_unit_test(test_key_noise),
		cmocka_unit_test_setup_teardown(test_listings, setup, teardown),
		cmocka_unit_test_setup_teardown(test_c, setup, teardown),
		cmocka_unit_test_setup_teardown(test_python, setup, teardown),
		cmocka_unit_test_setup_teardown(test_noise, setup, teardown),
		cmocka_unit_test_setup_teardown(test_many, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
