/* SPDX-License-Identifier: Apache-2.0 */
/*
 * capstan ls, cat, tree: the kernel as files, without a file system. Paths are as in the mount, from its root; one
 * that leads to the mount of this kernel (RUN/fs/…) means the same. Names and errors are printed escaped; what stands
 * in files as it came, since capstan-fs has escaped what vats supplied.
 */
#ifndef CAPSTAN_VIEW_H
#define CAPSTAN_VIEW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct view_options { const char *run_dir; bool json, details, follow; uint64_t depth; };

int view_ls(const struct view_options *o, const char *path);			/* all: enum exit_status */
int view_cat(const struct view_options *o, char *const *paths, size_t n);
int view_tree(const struct view_options *o, const char *path);

#endif
