/* SPDX-License-Identifier: Apache-2.0 */
/* What the methods of the control socket do; the socket itself is control.c. The context is struct kernel. */
#ifndef CAPSTAN_METHODS_H
#define CAPSTAN_METHODS_H

#include "kernel.h"

extern const struct control_method kernel_methods[];
/* From the main loop: end the calls whose callers went away. */
int methods_pump(struct kernel *k);
void methods_forget_call(struct host_call *c);	/* at the end: RAM only */

#endif
