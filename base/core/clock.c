#include "base/core/clock.h"

#include "base/core/str.h"
#include <errno.h>
#include <stdio.h>
#include <time.h>

static const struct clock_source *current_source;

void clock_set_source(const struct clock_source *source)
{
	current_source = source;
}

bool clock_is_simulated(void)
{
	return current_source != NULL;
}

static int64_t system_ms(clockid_t id)
{
	struct timespec now;
	/* Neither clock can fail with a valid pointer and id. */
	clock_gettime(id, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t clock_mono_ms(void)
{
	return current_source ? current_source->mono_ms(current_source->context) : system_ms(CLOCK_MONOTONIC);
}

int64_t clock_wall_ms(void)
{
	return current_source ? current_source->wall_ms(current_source->context) : system_ms(CLOCK_REALTIME);
}

void clock_pause_ms(int64_t ms)
{
	if (ms <= 0)
		return;
	if (current_source) {
		current_source->pause_ms(current_source->context, ms);
		return;
	}
	struct timespec rest = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};
	while (nanosleep(&rest, &rest) != 0 && errno == EINTR)
		;
}

static const char *format_time(int64_t wall_ms, const char *fraction_format, long long fraction, char *buf)
{
	int64_t seconds = wall_ms / 1000;
	if (wall_ms % 1000 < 0)
		seconds--;
	time_t time = (time_t)seconds;
	struct tm tm;
	if (gmtime_r(&time, &tm) == NULL || tm.tm_year > 8099) {
		snprintf(buf, CLOCK_TEXT_SIZE, "invalid time");
		return buf;
	}
	size_t len = strftime(buf, CLOCK_TEXT_SIZE, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(buf + len, CLOCK_TEXT_SIZE - len, fraction_format, fraction);
	return buf;
}

static long long milliseconds_of(int64_t wall_ms)
{
	long long rest = wall_ms % 1000;
	return rest < 0 ? rest + 1000 : rest;
}

const char *clock_rfc3339(int64_t wall_ms, char buf[CLOCK_TEXT_SIZE])
{
	return format_time(wall_ms, ".%03lldZ", milliseconds_of(wall_ms), buf);
}

const char *clock_rfc3339_ticks(int64_t wall_ms, char buf[CLOCK_TEXT_SIZE])
{
	return format_time(wall_ms, ".%07lldZ", milliseconds_of(wall_ms) * 10000, buf);
}

/* Reads exactly `digits` decimal digits within bounds; false otherwise. Moves *text. */
static bool read_number(const char **text, int digits, int min, int max, int *ret)
{
	int value = 0;
	for (int i = 0; i < digits; i++) {
		char c = (*text)[i];
		if (c < '0' || c > '9')
			return false;
		value = value * 10 + (c - '0');
	}
	if (value < min || value > max)
		return false;
	*text += digits;
	*ret = value;
	return true;
}

static bool read_char(const char **text, const char *accepted)
{
	if (**text == '\0' || strchr(accepted, **text) == NULL)
		return false;
	(*text)++;
	return true;
}

static int64_t read_fraction_ms(const char **text)
{
	int64_t ms = 0;
	int64_t weight = 100;
	while (**text >= '0' && **text <= '9') {
		ms += (**text - '0') * weight;
		weight /= 10;
		(*text)++;
	}
	return ms;
}

static bool read_offset(const char **text, int64_t *ret_ms)
{
	*ret_ms = 0;
	if (read_char(text, "Zz"))
		return true;
	int sign = **text == '-' ? -1 : 1;
	int hours, minutes;
	if (!read_char(text, "+-") || !read_number(text, 2, 0, 23, &hours) || !read_char(text, ":") ||
	    !read_number(text, 2, 0, 59, &minutes))
		return false;
	*ret_ms = (int64_t)sign * (hours * 60 + minutes) * 60000;
	return true;
}

int clock_parse_rfc3339(const char *text, int64_t *ret_wall_ms)
{
	struct tm tm = {0};
	int64_t fraction = 0, offset = 0;
	bool ok = read_number(&text, 4, 0, 9999, &tm.tm_year) && read_char(&text, "-") &&
	          read_number(&text, 2, 1, 12, &tm.tm_mon) && read_char(&text, "-") &&
	          read_number(&text, 2, 1, 31, &tm.tm_mday) && read_char(&text, "Tt ") &&
	          read_number(&text, 2, 0, 23, &tm.tm_hour) && read_char(&text, ":") &&
	          read_number(&text, 2, 0, 59, &tm.tm_min) && read_char(&text, ":") &&
	          read_number(&text, 2, 0, 60, &tm.tm_sec);
	if (ok && read_char(&text, "."))
		fraction = *text >= '0' && *text <= '9' ? read_fraction_ms(&text) : (ok = false, 0);
	if (!ok || !read_offset(&text, &offset) || *text != '\0')
		return ERR_INVALID;
	int day = tm.tm_mday;
	int second = tm.tm_sec;
	tm.tm_year -= 1900;
	tm.tm_mon -= 1;
	/* The leap second is read as the first of the next minute. timegm would turn February 30 into March: no such day. */
	tm.tm_sec = 0;
	int64_t seconds = (int64_t)timegm(&tm) + second;
	if (tm.tm_mday != day)
		return ERR_INVALID;
	*ret_wall_ms = seconds * 1000 + fraction - offset;
	return 0;
}

const char *clock_duration(int64_t ms, char buf[CLOCK_TEXT_SIZE])
{
	const char *sign = ms < 0 ? "-" : "";
	if (ms < 0)
		ms = -ms;
	long long seconds = ms / 1000;
	if (ms < 1000)
		snprintf(buf, CLOCK_TEXT_SIZE, "%s%lldms", sign, (long long)ms);
	else if (seconds < 60)
		snprintf(buf, CLOCK_TEXT_SIZE, "%s%lld.%llds", sign, seconds, (long long)ms % 1000 / 100);
	else if (seconds < 3600)
		snprintf(buf, CLOCK_TEXT_SIZE, "%s%lldm %llds", sign, seconds / 60, seconds % 60);
	else
		snprintf(buf, CLOCK_TEXT_SIZE, "%s%lldh %lldm", sign, seconds / 3600, seconds / 60 % 60);
	return buf;
}
