/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The main() of every vat. Alone in its file, so that a program with a main() of its own can link the
 * library too.
 */
#include "internal.h"

#define CHANNEL_FD	3

int main(void)
{
	stdio_to_log(CHANNEL_FD);
	return vat_serve(CHANNEL_FD, &vat_main_program);
}
