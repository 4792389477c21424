/* SPDX-License-Identifier: Apache-2.0 */
/* The clock that every figure of `make bench` is read from. */
#ifndef CAPSTAN_BENCH_CLOCK_H
#define CAPSTAN_BENCH_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline int64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * INT64_C(1000000000) + ts.tv_nsec;
}

#endif
