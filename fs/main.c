/* SPDX-License-Identifier: Apache-2.0 */
/*
 * capstan-fs: the kernel's state as files. It is started by capstand's spawner under a uid of its own, with everything
 * it will ever need already open; it parses its few options, locks itself up and serves until the file system is
 * unmounted or the broker hangs up.
 */
#include <getopt.h>
#include <grp.h>
#include <malloc.h>

#include "../lib/config.h"
#include "lock.h"
#include "session.h"

/*
 * What a large text takes is given back when its reader closes it: the C library would raise this bound of its own accord
 * at the first one that is freed, and keep the next ones for later.
 */
#define LARGE_TEXT	(128 * 1024)

#define CAPSTAN_GROUP	"capstan"	/* may read the mount, besides root */

static const char usage[] =
	"Usage: capstan-fs [--fuse-fd N] [--serve-fd N] --data-fd N --lease-fd N --page-fd N [OPTION...]\n"
	"Serve a Capstan kernel's state as files. Started by capstand; see capstan-fs(8).\n"
	"\n"
	"  --fuse-fd N      /dev/fuse, already mounted (without it: no mount)\n"
	"  --serve-fd N     Unix socket that listens, for capstan ls, cat and tree\n"
	"  --data-fd N      the store's data.mdb, open for reading\n"
	"  --lease-fd N     socket to the broker, which grants leases on snapshots\n"
	"  --page-fd N      shared page of the broker: leases, what it is at, events\n"
	"  --watch-fd N     eventfd by which the broker tells of new events\n"
	"  --uid UID        owner of the files (default: 0)\n"
	"  --gid GID        group that may read (default: group capstan, else 0)\n"
	"  --world          everybody may read\n"
	"  --hide LIST      not for the group: parameters,baggage,values,logs\n"
	"  --uid-block A-B  users who never read anything\n"
	"  --help           show this and exit\n"
	"  --version        show the version and exit\n";

struct options {
	struct session_options session;
	int lease_fd, page_fd;
};

enum { OPTIONS_E_USAGE = 1, OPTIONS_E_DONE };
enum { RUN_E_GONE = 1, RUN_E_REPORTED };	/* the broker hung up; it was said already what is wrong */

static bool parse_number(const char *text, unsigned long max, unsigned long *outp)
{
	unsigned long n;
	char *end;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	n = strtoul(text, &end, 10);
	if (errno || *end || n > max)
		return false;
	*outp = n;
	return true;
}

static int option_fd(const char *name, int *fdp)
{
	unsigned long n;

	if (!parse_number(optarg, INT32_MAX, &n) || n < 3) {
		fprintf(stderr, "capstan-fs: --%s: a descriptor number from 3 is expected, not '%s'\n", name, optarg);
		return OPTIONS_E_USAGE;
	}
	*fdp = (int)n;
	return 0;
}

/* Of a user or a group; UINT32_MAX is nobody's. */
static int option_id(const char *name, const char *what, uint32_t *idp)
{
	unsigned long n;

	if (!parse_number(optarg, UINT32_MAX - 1, &n)) {
		fprintf(stderr, "capstan-fs: --%s: a %s number is expected, not '%s'\n", name, what, optarg);
		return OPTIONS_E_USAGE;
	}
	*idp = (uint32_t)n;
	return 0;
}

static int option_hide(unsigned *hidep)
{
	if (!mount_hide_parse(optarg, hidep)) {
		fprintf(stderr, "capstan-fs: --hide: a list of parameters,baggage,values,logs is expected, not '%s'\n", optarg);
		return OPTIONS_E_USAGE;
	}
	return 0;
}

static int option_block(struct session_options *s)
{
	char first[16] = "";
	const char *dash = strchr(optarg, '-');
	unsigned long a, b;

	if (dash && (size_t)(dash - optarg) < sizeof(first))
		memcpy(first, optarg, (size_t)(dash - optarg));
	if (!dash || !parse_number(first, UINT32_MAX - 1, &a) || !parse_number(dash + 1, UINT32_MAX - 1, &b) || b < a) {
		fprintf(stderr, "capstan-fs: --uid-block: two user numbers with a dash between them are expected, not '%s'\n", optarg);
		return OPTIONS_E_USAGE;
	}
	s->access.uid_block = (uid_t)a;
	s->access.uid_block_last = (uid_t)b;
	return 0;
}

static const struct option long_options[] = {
	{ "fuse-fd", required_argument, NULL, 'f' }, { "serve-fd", required_argument, NULL, 's' },
	{ "data-fd", required_argument, NULL, 'd' }, { "lease-fd", required_argument, NULL, 'l' },
	{ "page-fd", required_argument, NULL, 'p' }, { "watch-fd", required_argument, NULL, 'w' },
	{ "uid", required_argument, NULL, 'u' }, { "gid", required_argument, NULL, 'g' }, { "world", no_argument, NULL, 'W' },
	{ "hide", required_argument, NULL, 'H' }, { "uid-block", required_argument, NULL, 'b' },
	{ "help", no_argument, NULL, 'h' }, { "version", no_argument, NULL, 'V' }, { NULL, 0, NULL, 0 },
};

static int option_apply(int c, struct options *o)
{
	struct session_options *s = &o->session;

	switch (c) {
	case 'f': return option_fd("fuse-fd", &s->fuse_fd);
	case 's': return option_fd("serve-fd", &s->serve_fd);
	case 'd': return option_fd("data-fd", &s->data_fd);
	case 'l': return option_fd("lease-fd", &o->lease_fd);
	case 'p': return option_fd("page-fd", &o->page_fd);
	case 'w': return option_fd("watch-fd", &s->watch_fd);
	case 'u': return option_id("uid", "user", &s->access.uid);
	case 'g': return option_id("gid", "group", &s->access.gid);
	case 'W': s->access.world = true; return 0;
	case 'H': return option_hide(&s->access.hide);
	case 'b': return option_block(s);
	case 'h': fputs(usage, stdout); return OPTIONS_E_DONE;
	case 'V': puts("capstan-fs " CAPSTAN_VERSION); return OPTIONS_E_DONE;
	default: return OPTIONS_E_USAGE;	/* getopt has said it */
	}
}

static int parse_options(int argc, char **argv, struct options *o)
{
	const struct session_options *s = &o->session;
	int c, r = 0;

	while (!r && (c = getopt_long(argc, argv, "", long_options, NULL)) != -1)
		r = option_apply(c, o);
	if (!r && (optind < argc || s->data_fd < 0 || o->lease_fd < 0 || o->page_fd < 0 || (s->fuse_fd < 0 && s->serve_fd < 0))) {
		fputs("capstan-fs: needed are --data-fd, --lease-fd, --page-fd, one of --fuse-fd and --serve-fd, and no other words "
		      "(see --help)\n", stderr);
		r = OPTIONS_E_USAGE;
	}
	return r;
}

static gid_t capstan_gid(void)
{
	struct group *group = getgrnam(CAPSTAN_GROUP);

	return group ? group->gr_gid : 0;
}

static void reader_freep(struct reader **rp) { reader_free(*rp); }
static void session_freep(struct session **sp) { session_free(*sp); }

/* Why the store cannot be served. */
static const char *reader_outcome_text(int outcome)
{
	switch (outcome) {
	case READER_E_SCHEMA:	return "the store was written by another version";
	case READER_E_CORRUPT:	return "that is not a store";
	case READER_E_ACCESS:	return strerror(errno);
	default:		return "unknown outcome";
	}
}

/* Opening reads the store too, and so needs a lease. A positive outcome is reported here. */
static int open_reader(struct reader **readerp, struct lease *lease, int data_fd)
{
	int r, granted = lease_acquire(lease);

	if (granted < 0)
		return granted;
	if (granted == LEASE_E_GONE)
		return RUN_E_GONE;
	r = reader_open_fd(readerp, data_fd);
	/* Expired or not given: the first request finds out whether the broker is well. */
	if (!granted)
		lease_release(lease);
	if (r > 0) {
		log_err("cannot read the store: %s", reader_outcome_text(r));
		return RUN_E_REPORTED;
	}
	return r;
}

static int run(const struct options *o)
{
	/* Freed from the last to the first: a session may still be inside a snapshot. */
	_cleanup_(lease_deinit) struct lease lease = LEASE_INIT;
	_cleanup_(reader_freep) struct reader *reader = NULL;
	_cleanup_(session_freep) struct session *session = NULL;
	struct session_options options = o->session;
	int r;

	r = lease_init(&lease, o->lease_fd, o->page_fd);
	if (r)
		return r;
	r = open_reader(&reader, &lease, options.data_fd);
	if (r)
		return r;
	options.lease = &lease;
	options.reader = reader;
	r = session_new(&session, &options);
	if (!r)
		r = lock_process();
	if (!r)
		r = session_run(session);
	return r;
}

int main(int argc, char **argv)
{
	struct options o = {
		.session = { .fuse_fd = -1, .serve_fd = -1, .watch_fd = -1, .data_fd = -1,
			     .access = { .gid = capstan_gid(), .uid_block = 1, .uid_block_last = 0 } },
		.lease_fd = -1, .page_fd = -1,
	};
	int r = parse_options(argc, argv, &o);

	if (r)
		return r == OPTIONS_E_DONE ? 0 : 2;
	log_init("capstan-fs");
	mallopt(M_MMAP_THRESHOLD, LARGE_TEXT);
	r = run(&o);
	if (r < 0)
		log_err("cannot serve: %s", strerror(-r));
	return r && r != RUN_E_GONE ? 1 : 0;
}
