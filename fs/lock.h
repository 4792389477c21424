/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The last lock: a seccomp filter with the few system calls that serving needs. Anything else ends the process; the
 * broker starts a new one. Opening files, sockets and programs is not among them.
 */
#ifndef CAPSTAN_FS_LOCK_H
#define CAPSTAN_FS_LOCK_H

/* Call when everything is open and mapped. Negative: the filter could not be installed. */
int lock_process(void);

#endif
