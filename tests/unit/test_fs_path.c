/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Paths of the tree as open(2) would walk them: names, dots, slashes, links, what is not there, leave to search, and
 * the way into a frozen tree and out of it.
 */
#include "fs_state.h"

#include "../../fs/path.h"

static void write_rows(struct store *s)
{
	struct row_subcluster sub = { .status = SUB_RUNNING, .bootstrap_vat = 1, .root = 1, .created_us = THEN };
	struct row_vat vat = { .subcluster = 1, .incarnation = 1, .status = VAT_RUNNING };

	put_vat(s, 1, vat, "alice", "");
	put_object(s, 1, endpoint_vat(1), 1, 0, 1, 1);
	put_clist(s, endpoint_vat(1), "o+0", ko(1), CLIST_F_REACHABLE);
	put_clist(s, endpoint_vat(1), "o-1", ko(9), CLIST_F_REACHABLE);	/* a damaged store: no such object */
	put_u64(s, T_SUBCLUSTER, 1, &sub, sizeof(sub));
	put_pair(s, T_MEMBER, 1, 1, "alice", 5);
	assert_int_equal(store_commit(s), 0);
}

static int setup(void **state)
{
	return setup_state(state, write_rows);
}

/* Whom to stop where. */
struct leave { enum node_kind never; unsigned int n; };

static bool may(void *ctx, struct node dir)
{
	struct leave *l = ctx;

	l->n++;
	assert_int_equal(node_type(dir), NODE_DIR);
	return dir.kind != l->never;
}

/* What the walk ends with; the number of the tree is the view's. */
static int go(struct fixture *f, const char *text, bool last_link, struct node *outp)
{
	struct leave all = { 0 };
	struct path p;
	int r = path_init(&p, text, last_link);

	if (!r)
		r = path_walk(&p, &f->view, may, &all);
	if (!r)
		*outp = p.found;
	return r;
}

static void expect_kind(struct fixture *f, const char *text, enum node_kind kind, uint64_t id)
{
	struct node n = { 0 };
	int r = go(f, text, false, &n);

	if (r || n.kind != kind || n.id != id)
		fail_msg("\"%s\": %d, kind %d, id %llu", text, r, (int)n.kind, (unsigned long long)n.id);
}

static void test_found(void **state)
{
	struct fixture *f = *state;

	expect_kind(f, "", NODE_ROOT, 0);
	expect_kind(f, "/", NODE_ROOT, 0);
	expect_kind(f, "//.//./", NODE_ROOT, 0);
	expect_kind(f, "..", NODE_ROOT, 0);
	expect_kind(f, "../../status", NODE_STATUS, 0);
	expect_kind(f, "/status", NODE_STATUS, 0);
	expect_kind(f, "vats/v1", NODE_VAT, 1);
	expect_kind(f, "vats//v1/", NODE_VAT, 1);
	expect_kind(f, "vats/v1/..", NODE_VATS, 0);
	expect_kind(f, "vats/v1/../v1/./name", NODE_VAT_NAME, 1);
	expect_kind(f, "vats/v1/clist/..", NODE_VAT, 1);
	expect_kind(f, "vats/v1/clist/../../../objects/ko1/status", NODE_OBJECT_STATUS, 1);
}

static void test_links(void **state)
{
	struct fixture *f = *state;
	char text[PATH_TEXT_MAX] = "";
	struct node n;

	expect_kind(f, "vats/v1/clist/o+0", NODE_OBJECT, 1);
	expect_kind(f, "vats/v1/clist/o+0/status", NODE_OBJECT_STATUS, 1);
	expect_kind(f, "vats/v1/clist/o+0/..", NODE_OBJECTS, 0);
	expect_kind(f, "subclusters/s1/vats/alice/name", NODE_VAT_NAME, 1);
	assert_int_equal(go(f, "vats/v1/clist/o-1", false, &n), ENOENT);
	assert_int_equal(go(f, "vats/v1/clist/o-1", true, &n), 0);
	assert_int_equal(n.kind, NODE_CLIST_OBJECT);
	assert_int_equal(go(f, "vats/v1/clist/o+0/", true, &n), 0);	/* the slash asks for what it leads to */
	assert_int_equal(n.kind, NODE_OBJECT);
	assert_int_equal(go(f, "vats/v1/clist/o+0/status", true, &n), 0);
	for (unsigned int i = 0; i < PATH_LINKS_MAX; i++)
		strcat(text, "vats/v1/clist/o+0/../../");
	strcat(text, "status");
	expect_kind(f, text, NODE_STATUS, 0);
	strcpy(text + strlen(text) - strlen("status"), "vats/v1/clist/o+0");
	assert_int_equal(go(f, text, false, &n), ELOOP);
	assert_int_equal(go(f, text, true, &n), 0);	/* the last is not followed */
}

static void test_refused(void **state)
{
	static const struct { const char *text; int error; } cases[] = {
		{ "nonsense", ENOENT }, { "vats/v9", ENOENT }, { "vats/v9/name", ENOENT }, { "vats/v01", ENOENT },
		{ "vats/v1/nonsense", ENOENT }, { "vats/v1 ", ENOENT }, { "\xff\x1b", ENOENT }, { "...", ENOENT },
		{ "status/", ENOTDIR }, { "status/x", ENOTDIR }, { "status/.", ENOTDIR }, { "status/..", ENOTDIR },
		{ "vats/v1/name/../name", ENOTDIR }, { "vats/v1/clist/o-1/x", ENOENT },
	};
	struct fixture *f = *state;
	char text[PATH_TEXT_MAX + 10];
	struct node n;

	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		assert_int_equal(go(f, cases[i].text, false, &n), cases[i].error);
	memset(text, 'x', sizeof(text));
	text[NODE_NAME_MAX] = '\0';
	assert_int_equal(go(f, text, false, &n), ENOENT);
	text[NODE_NAME_MAX] = 'x';
	text[NODE_NAME_MAX + 1] = '\0';
	assert_int_equal(go(f, text, false, &n), ENAMETOOLONG);
	memset(text, '/', sizeof(text));
	text[PATH_TEXT_MAX - 1] = '\0';
	assert_int_equal(go(f, text, false, &n), 0);
	text[PATH_TEXT_MAX - 1] = '/';
	text[PATH_TEXT_MAX] = '\0';
	assert_int_equal(go(f, text, false, &n), ENAMETOOLONG);
}

/* Leave is asked of each directory in which a name is looked for, also on the way of a link, and not of the end. */
static void test_leave(void **state)
{
	struct fixture *f = *state;
	struct leave l = { .never = NODE_OBJECTS };
	struct path p;

	assert_int_equal(path_init(&p, "vats/v1/clist/o+0", false), 0);
	assert_int_equal(path_walk(&p, &f->view, may, &l), EACCES);
	l = (struct leave){ .never = NODE_OBJECT };
	assert_int_equal(path_init(&p, "vats/v1/clist/o+0", false), 0);
	assert_int_equal(path_walk(&p, &f->view, may, &l), 0);
	assert_int_equal(l.n, 9);	/* /, vats, v1, clist; again clist, v1, vats, / for the link; objects */
	l = (struct leave){ .never = NODE_ROOT };
	assert_int_equal(path_init(&p, "..", false), 0);
	assert_int_equal(path_walk(&p, &f->view, may, &l), EACCES);
	assert_int_equal(path_init(&p, "/", false), 0);
	assert_int_equal(path_walk(&p, &f->view, may, &l), 0);
}

/* From tree to tree: each leg with a view of its own. */
static void test_frozen(void **state)
{
	struct fixture *f = *state;
	struct view frozen = f->view;
	char name[NODE_NAME_MAX + 1];
	struct leave all = { 0 };
	struct path p;

	frozen.snapshot = 3;
	assert_int_equal(path_init(&p, "snapshot/then/vats/v1/clist/o+0/../../../status", false), 0);
	assert_int_equal(path_tree(&p), 0);
	assert_int_equal(path_walk(&p, &f->view, may, &all), PATH_E_FROZEN);
	assert_string_equal(path_name(&p, name), "then");
	path_enter(&p, (struct node){ NODE_ROOT, 3, 0 });
	assert_int_equal(path_walk(&p, &f->view, may, &all), PATH_E_LEG);
	assert_int_equal(path_tree(&p), 3);
	assert_int_equal(path_walk(&p, &frozen, may, &all), PATH_E_LEG);	/* above its root is the live tree */
	assert_int_equal(path_tree(&p), 0);
	assert_int_equal(path_walk(&p, &f->view, may, &all), PATH_E_FROZEN);
	assert_string_equal(path_name(&p, name), "status");

	assert_int_equal(path_init(&p, "snapshot/then/vats/v1/name", false), 0);
	assert_int_equal(path_walk(&p, &f->view, may, &all), PATH_E_FROZEN);
	path_enter(&p, (struct node){ NODE_ROOT, 3, 0 });
	assert_int_equal(path_walk(&p, &frozen, may, &all), 0);
	assert_int_equal(p.found.kind, NODE_VAT_NAME);
	assert_int_equal(p.found.snapshot, 3);
}

/* Pieces that mean something, put together at random: a walk ends, with one of its outcomes, and a directory has a parent. */
static void test_random(void **state)
{
	static const char *const pieces[] = { "/", "/", ".", "..", "../", "vats", "/v1", "/clist", "o+0", "/o-1", "objects/", "ko1",
					      "subclusters/s1", "/root", "/vats/alice", "status", "x", "snapshot/a" };
	struct fixture *f = *state;
	struct rng rng = { 77 };

	for (int i = 0; i < 20000; i++) {
		char text[400] = "";
		struct node n;
		int r;

		for (unsigned int j = rng_below(&rng, 20); j; j--)
			strcat(text, pieces[rng_below(&rng, ARRAY_LEN(pieces))]);
		r = go(f, text, rng_below(&rng, 2), &n);
		assert_true(!r || r == ENOENT || r == ENOTDIR || r == PATH_E_FROZEN);
		if (!r)
			assert_int_equal(tree_exists(&f->view, n), 0);
	}
}

#define path_test(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		path_test(test_found), path_test(test_links), path_test(test_refused), path_test(test_leave), path_test(test_frozen),
		path_test(test_random),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
