/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What `capstand --config FILE` gives to every broker, opened once, before capstand splits: a copy of the configuration that
 * nothing can change any more, the folders for io channels, and the programs and files of system subclusters. So a broker
 * that is started later, also after a death, finds the configuration and the files of capstand's own start.
 */
#ifndef CAPSTAN_GIVEN_H
#define CAPSTAN_GIVEN_H

#include <stdbool.h>
#include <stddef.h>

#define GIVEN_MAX_CONFIG	(4u << 20)	/* bytes of the file */

struct given {
	int config_fd;		/* sealed; -1: there is no configuration */
	int *fds;		/* settings_n_given() of them; -1: a program or file that could not be opened */
	size_t n_fds, n_folders;	/* the first of them are the io folders */
	bool mount_world;	/* of "mount": what the spawner starts capstan-fs with */
	unsigned mount_hide;
};
#define GIVEN_INIT { .config_fd = -1 }

enum { GIVEN_E_REFUSED = 1 };	/* a line in the log says why */
int given_open(struct given *g, const char *path);
/* An io folder may not be one of these, nor lie in one, nor hold one. */
int given_keep_apart(const struct given *g, const int *kept_fds, size_t n_kept);
void given_deinit(struct given *g);

#endif
