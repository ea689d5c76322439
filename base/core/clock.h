/* Time, behind an interface: only clock.c asks the system. Tests and the simulator set their own source.
 * Monotonic milliseconds measure waits; wall milliseconds since 1970 UTC are only ever shown or stored. */
#pragma once
#include "base/core/err.h"
#include <stdint.h>

struct clock_source {
	int64_t (*mono_ms)(void *context);
	int64_t (*wall_ms)(void *context);
	void (*pause_ms)(void *context, int64_t ms); /* a wait without any descriptor: back-off */
	void *context;
};
void clock_set_source(const struct clock_source *source); /* NULL: the system's */
bool clock_is_simulated(void);                            /* a source was set: waits pass through its pause_ms */
int64_t clock_mono_ms(void);
int64_t clock_wall_ms(void);
void clock_pause_ms(int64_t ms);

enum { CLOCK_TEXT_SIZE = 40 };
/* "2026-01-31T10:20:30.123Z" and, for logs, with seven digits of fraction. Return buf. */
const char *clock_rfc3339(int64_t wall_ms, char buf[CLOCK_TEXT_SIZE]);
const char *clock_rfc3339_ticks(int64_t wall_ms, char buf[CLOCK_TEXT_SIZE]);
int clock_parse_rfc3339(const char *text, int64_t *ret_wall_ms); /* 0 or ERR_INVALID */
/* "1m 20s", "350ms" */
const char *clock_duration(int64_t ms, char buf[CLOCK_TEXT_SIZE]);
