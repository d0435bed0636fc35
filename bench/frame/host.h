/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every program of the host that a benchmark asks has in common: it stays on one processor,
 * reads clocks, and ends with a sentence where it cannot go on. The includer defines _GNU_SOURCE.
 */
#pragma once

#include <errno.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static inline void fail(const char *what)
{
	fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what, strerror(errno));
	exit(1);
}

static inline uint64_t read_clock(clockid_t clock)
{
	struct timespec now;

	if (clock_gettime(clock, &now) < 0)
		fail("reading a clock");
	return now.tv_sec * 1000000000ull + now.tv_nsec;
}

static inline void stay_on(int cpu)
{
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(cpu, &cpus);
	if (sched_setaffinity(0, sizeof(cpus), &cpus) < 0)
		fail("staying on one processor");
}
