/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cluster configuration, as a person writes it and as `launch` carries it:
 *
 *	{ "bootstrap": "alice",
 *	  "vats": { "alice": { "program": "./alice", "args": ["x"], "files": {"words.txt": "./words.txt"},
 *			       "runtime": "none", "parameters": {…}, "limits": {…}, "restart": "restart" } },
 *	  "services": ["console"], "io": {…} }
 *
 * Parsing is total: any JSON gives a config or one error that names the place ("vats.alice.program: …") and
 * what was expected. Unknown fields are refused. Nothing here opens a file.
 */
#ifndef CAPSTAN_CONFIG_H
#define CAPSTAN_CONFIG_H

#include <jansson.h>

#include "schema.h"

#define CONFIG_MAX_VATS		1000u
#define CONFIG_MAX_ARGS		64u
#define CONFIG_MAX_SERVICES	100u		/* and io channels */
#define CONFIG_MAX_FILES	32u		/* of one vat: as many as the spawner takes (broker/spawn.h) */
#define CONFIG_MAX_PATHS	250u		/* of one cluster: a launch sends an fd for each, see control.h */
#define CONFIG_IO_NAME_MAX	39u		/* so that io:sN:NAME is a name too */
#define CONFIG_MAX_SYSTEM	100u		/* system subclusters, and folders for io */
#define CONFIG_MAX_GIVEN	400u		/* files that `capstand --config` opens for the broker, in all */
#define CONFIG_ERROR_MAX	256

enum config_restart { RESTART_RESTART, RESTART_TERMINATE };	/* "restart" (default), "terminate" */

struct config_limits {			/* UINT64_MAX: not given, the kernel's default */
	uint64_t deadline_ms;		/* "deadlineMs": V6; 0 none */
	uint64_t cpu_ms;		/* "cpuMs" of one crank, by the clock of the process; 0 none */
	uint64_t queue_messages;	/* "queueMessages" */
	uint64_t queue_bytes;		/* "queueBytes" */
	uint64_t waiting_messages;	/* "waitingMessages": of its own, for one promise */
	uint64_t waiting_bytes;		/* "waitingBytes" */
	uint64_t syscalls;		/* "syscalls" per crank */
	uint64_t crank_bytes;		/* "crankBytes" */
	uint64_t exports;		/* "exports": clist entries with + sign */
	uint64_t imports;		/* "imports" */
	uint64_t vatstore_bytes;	/* "vatstoreBytes" */
	uint64_t log_lines;		/* "logLines" per second */
	uint64_t memory;		/* "memory": bytes */
	uint64_t n_procs;		/* "processes" */
	uint64_t n_files;		/* "openFiles" */
};

struct config_file { char *name; char *path; };		/* shown as /vat/NAME; opened by the client */
struct config_vat {
	char *name;
	char *program;			/* a path, or "sha256:HEX" of a program already in the code store; files too */
	char **args; size_t n_args;	/* argv[1..] */
	struct config_file *files; size_t n_files;
	bool host_runtime;
	json_t *parameters;		/* NULL: none; shared with the JSON it came from */
	struct config_limits limits;
	enum config_restart restart;
};
enum config_io_type { CONFIG_IO_SOCKET, CONFIG_IO_LISTEN, CONFIG_IO_FILE, CONFIG_IO_CONSOLE };
enum config_io_direction { CONFIG_IO_IN, CONFIG_IO_OUT, CONFIG_IO_INOUT };
struct config_io {
	char *name;
	enum config_io_type type;
	char *path;			/* absolute; NULL: a console */
	enum config_io_direction direction;
	bool bytes;			/* the unit; else lines */
};
struct config {
	char *system;			/* a system subcluster's name; NULL: an ordinary one */
	char *bootstrap;		/* NULL: no bootstrap vat is an error */
	struct config_vat *vats; size_t n_vats;	/* in the order of the file */
	char **services; size_t n_services;
	struct config_io *ios; size_t n_ios;
};

enum { CONFIG_E_INVALID = 1 };
int config_parse(const json_t *json, struct config **configp, char error[CONFIG_ERROR_MAX]);
struct config *config_free(struct config *c);

/* One vat's part as JSON text for the VAT_CONFIG row, and back (total: a bad row is CONFIG_E_INVALID). */
json_t *config_vat_to_json(const struct config_vat *v);
int config_vat_parse(const char *name, const json_t *json, struct config_vat **vatp, char error[CONFIG_ERROR_MAX]);
struct config_vat *config_vat_free(struct config_vat *v);

/*
 * The paths that the client must open, each once, in a fixed order (order of vats; program, then files); the
 * i-th fd of a launch request belongs to the i-th path. "sha256:" programs and files are left out.
 * config_parse() has refused more than CONFIG_MAX_PATHS; CONFIG_E_INVALID for a hand-made struct beyond it.
 */
struct config_paths { char **paths; size_t n; };
int config_paths(const struct config *c, struct config_paths *out);
void config_paths_deinit(struct config_paths *p);
size_t config_paths_index(const struct config_paths *p, const char *path);	/* SIZE_MAX: not there */

/*
 * The kernel's own configuration (`capstand --config FILE`): one JSON object, every field optional.
 *
 *	{ "limits": { … },			defaults for vats, fields as in a cluster's "limits"
 *	  "restart": { "deaths": 3, "windowMs": 60000, "sameDelivery": 2 },
 *	  "reap": { "deliveries": 200, "collected": 20 },
 *	  "ended": { "keepMs": 600000 },
 *	  "commit": { "cranks": 10000, "ms": 100 },
 *	  "mount": { "world": false, "hide": ["values", "logs"], "snapshotMs": 60000 },
 *	  "ioPaths": ["/srv/capstan"],		folders in which clusters may have io channels
 *	  "system": { NAME: { cluster }, … } }	system subclusters, launched by the kernel itself
 *
 * The folders, then the paths of each system subcluster, are what capstand opens and hands to the broker, in this order.
 */
/* What the group that may read the mount does not see: "hide" of "mount". The owner sees everything. */
enum mount_hide {
	MOUNT_HIDE_PARAMETERS = 0x1,	/* of vats: what they were launched with */
	MOUNT_HIDE_BAGGAGE = 0x2,	/* baggage and the raw vatstore */
	MOUNT_HIDE_VALUES = 0x4,	/* bodies: of messages, and of what promises were settled with */
	MOUNT_HIDE_LOGS = 0x8,
};
#define MOUNT_N_HIDE	4u
#define MOUNT_HIDE_TEXT	64u		/* "parameters,baggage,values,logs" and its NUL */
/* As words with commas between them, for a command line. Parsing: "" is none; false: not such a list. */
void mount_hide_format(unsigned hide, char out[MOUNT_HIDE_TEXT]);
bool mount_hide_parse(const char *words, unsigned *outp);

struct config_system {
	char *name;
	struct config *config;		/* taken by the launch: then NULL */
	json_t *json;			/* shared */
	struct config_paths paths;
};
struct settings {
	struct config_limits limits;
	uint64_t deaths, deaths_window_ms;	/* more deaths than this in that time suspend a vat (V4) */
	uint64_t poison_deaths;			/* one delivery that kills this often in a row is poison (V4) */
	uint64_t reap_deliveries, reap_collected; /* bringOutYourDead after so much since the last (G4) */
	uint64_t ended_keep_ms;			/* a subcluster stays for so long when all its vats have ended (S5) */
	uint64_t group_cranks, group_ms;	/* a group of cranks is committed after so many, or so long, at the latest */
	bool mount_world;			/* everybody may read the mount, except vats */
	unsigned mount_hide;			/* enum mount_hide */
	uint64_t snapshot_ms;			/* how long snapshot/NAME stays */
	char **io_paths; size_t n_io_paths;	/* absolute, without a slash at the end */
	struct config_system *systems; size_t n_systems;
};
void settings_init(struct settings *s);		/* the defaults */
void settings_deinit(struct settings *s);
size_t settings_n_given(const struct settings *s);	/* how many files the broker is given */
int settings_parse(const json_t *json, struct settings *out, char error[CONFIG_ERROR_MAX]);

/* `[A-Za-z0-9._:-]{1,64}`, not "." or "..". */
bool config_name_is_legal(const char *name, size_t len);

#endif
