/* Messages to the operator: one event a line on stderr, "level component: text key=value", colours only on a terminal,
 * masks applied below every sink. Library code logs at debug only; main logs an error once.
 * Where standard error is the journal of systemd, each line begins with its level as the journal reads it ("<4>").
 * --trace=net,journal (or DAVIT_TRACE) switches components on. */
#pragma once
#include "base/core/err.h"

enum log_level { LOG_ERROR, LOG_WARNING, LOG_INFO, LOG_DEBUG };
enum log_format { LOG_TEXT, LOG_JSON };
/* Each line begins with the time from now on ("2026-01-02 03:04:05Z: "): for what runs for long. */
void log_times(void);
void log_setup(enum log_level level, enum log_format format, const char *trace_components);
void log_event(enum log_level level, const char *component, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
#define log_debug(component, ...) log_event(LOG_DEBUG, component, __VA_ARGS__)
#define log_info(component, ...) log_event(LOG_INFO, component, __VA_ARGS__)
#define log_warning(component, ...) log_event(LOG_WARNING, component, __VA_ARGS__)
#define log_error(component, ...) log_event(LOG_ERROR, component, __VA_ARGS__)
/* "davit: WHAT FAILED" and, where there is one, "  hint" on a second line. */
void log_err(const struct err *err);
bool log_colours(int fd); /* a terminal, NO_COLOR unset, TERM not dumb */
