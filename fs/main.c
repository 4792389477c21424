/* SPDX-License-Identifier: Apache-2.0 */
/*
 * capstan-fs: the kernel's state as files. It is started by capstand's spawner under a uid of its own, with everything
 * it will ever need already open; it parses its few options, locks itself up and serves until the file system is
 * unmounted or the broker hangs up.
 */
#include <getopt.h>
#include <grp.h>

#include "lock.h"
#include "session.h"

#define CAPSTAN_GROUP	"capstan"	/* may read the mount, besides root */

static const char usage[] =
	"Usage: capstan-fs --fuse-fd N --data-fd N --lease-fd N --page-fd N [--gid GID]\n"
	"Serve a Capstan kernel's state as files. Started by capstand; see capstan-fs(8).\n"
	"\n"
	"  --fuse-fd N   /dev/fuse, already mounted\n"
	"  --data-fd N   the store's data.mdb, open for reading\n"
	"  --lease-fd N  socket to the broker, which grants leases on snapshots\n"
	"  --page-fd N   shared page with the generation of leases\n"
	"  --gid GID     group that may read (default: group capstan, else 0)\n"
	"  --help        show this and exit\n"
	"  --version     show the version and exit\n";

struct options { int fuse_fd, data_fd, lease_fd, page_fd; gid_t gid; };

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

static int option_gid(gid_t *gidp)
{
	unsigned long n;

	if (!parse_number(optarg, UINT32_MAX - 1, &n)) {
		fprintf(stderr, "capstan-fs: --gid: a group number is expected, not '%s'\n", optarg);
		return OPTIONS_E_USAGE;
	}
	*gidp = (gid_t)n;
	return 0;
}

static int parse_options(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {
		{ "fuse-fd", required_argument, NULL, 'f' }, { "data-fd", required_argument, NULL, 'd' },
		{ "lease-fd", required_argument, NULL, 'l' }, { "page-fd", required_argument, NULL, 'p' },
		{ "gid", required_argument, NULL, 'g' }, { "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' }, { NULL, 0, NULL, 0 },
	};
	int c, index = 0, r = 0;

	while (!r && (c = getopt_long(argc, argv, "", longs, &index)) != -1) {
		switch (c) {
		case 'f': r = option_fd("fuse-fd", &o->fuse_fd); break;
		case 'd': r = option_fd("data-fd", &o->data_fd); break;
		case 'l': r = option_fd("lease-fd", &o->lease_fd); break;
		case 'p': r = option_fd("page-fd", &o->page_fd); break;
		case 'g': r = option_gid(&o->gid); break;
		case 'h': fputs(usage, stdout); return OPTIONS_E_DONE;
		case 'V': puts("capstan-fs " CAPSTAN_VERSION); return OPTIONS_E_DONE;
		default: r = OPTIONS_E_USAGE; break;
		}
	}
	if (!r && (optind < argc || o->fuse_fd < 0 || o->data_fd < 0 || o->lease_fd < 0 || o->page_fd < 0)) {
		fputs("capstan-fs: all four descriptors are needed, and nothing else (see --help)\n", stderr);
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
	struct session_options options;
	int r;

	r = lease_init(&lease, o->lease_fd, o->page_fd);
	if (r)
		return r;
	r = open_reader(&reader, &lease, o->data_fd);
	if (r)
		return r;
	options = (struct session_options){
		.fuse_fd = o->fuse_fd, .data_fd = o->data_fd, .lease = &lease, .reader = reader, .gid = o->gid,
	};
	r = session_new(&session, &options);
	if (!r)
		r = lock_process();
	if (!r)
		r = session_run(session);
	return r;
}

int main(int argc, char **argv)
{
	struct options o = { -1, -1, -1, -1, capstan_gid() };
	int r = parse_options(argc, argv, &o);

	if (r)
		return r == OPTIONS_E_DONE ? 0 : 2;
	log_init("capstan-fs");
	r = run(&o);
	if (r < 0)
		log_err("cannot serve: %s", strerror(-r));
	return r && r != RUN_E_GONE ? 1 : 0;
}
