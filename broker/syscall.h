/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Syscalls: what a vat asks for during a crank, applied in order when it reports done. Form was judged on arrival
 * (Y2); here is what needs the tables. The first illegal one rolls the whole crank back.
 */
#ifndef CAPSTAN_SYSCALL_H
#define CAPSTAN_SYSCALL_H

#include <capstan/wire.h>

#include "kernel.h"

/* What an exit syscall leaves for the end of the crank. The last one wins. */
struct syscall_exit { bool wanted, failure; char info[120]; };

/* CRANK_ILLEGAL or CRANK_LIMIT with the reason in k->illegal. */
int syscall_apply(struct kernel *k, struct vat *v, const struct wire_frame *f, struct syscall_exit *exit);

/* Reads, answered at once from the store and the crank's own buffered writes (Y4). CRANK_LIMIT as above. */
int syscall_read(struct kernel *k, struct vat *v, const struct wire_frame *f);
/* Remember a buffered vatstore write for such reads. */
int syscall_note_write(struct vat *v, const struct wire_frame *f);

#endif
