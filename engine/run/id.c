/* The id of a deployment: 2026-01-31T10:20:30.123Z → 20260131T102030-07b and three random digits. What it makes bears this name, and the newest
 * of releases and snapshots is the one with the last name. So a deployment has a later one than the last of its name and environment
 * that this host knows, also where the clock was set back in between. */
#include "engine/run/run_priv.h"

#include "base/core/clock.h"
#include "base/core/rand.h"
#include <stdio.h>
#include <string.h>

/* A clock that was ahead by more than a day was broken: nothing follows it, since ages are told by these names. */
enum { RANDOM_DIGITS = 3, LAST_MS = 999, FOLLOWED_MS = 24 * 3600 * 1000, A_SECOND_MS = 1000 };

/* 0: it is none. Older ones have six random digits. */
static int64_t time_of(const char *id)
{
	static const char form[] = "%.4s-%.2s-%.2sT%.2s:%.2s:%.2s.%03uZ";
	char text[CLOCK_TEXT_SIZE];
	unsigned int ms = 0;
	int64_t wall_ms = 0;
	if (id == NULL || strlen(id) < strlen("20260131T102030-07b") || sscanf(id + 16, "%3x", &ms) != 1)
		return 0;
	snprintf(text, sizeof(text), form, id, id + 4, id + 6, id + 9, id + 11, id + 13,
	         MIN(ms, (unsigned int)LAST_MS));
	return clock_parse_rfc3339(text, &wall_ms) == 0 ? wall_ms : 0;
}

static int64_t last_of(struct store *s, const char *name, const char *environment)
{
	_cleanup_json_ json_t *list = NULL;
	const struct store_filter filter = {.name = name, .environment = environment, .limit = 1};
	if (s == NULL || name == NULL || store_deployment_list(s, &filter, &list, NULL) < 0)
		return 0;
	return time_of(json_get_string(json_array_get(list, 0), "id"));
}

char *engine_make_id(struct store *s, const char *name, const char *environment)
{
	char time[CLOCK_TEXT_SIZE], random[2 * RANDOM_DIGITS + 1];
	int64_t now = clock_wall_ms(), last = last_of(s, name, environment);
	if (last >= now && last - now < FOLLOWED_MS)
		now = last + A_SECOND_MS;
	clock_rfc3339(now, time);
	rand_hex(random, sizeof(random) - 1);
	return xasprintf("%.4s%.2s%.2sT%.2s%.2s%.2s-%03x%s", time, time + 5, time + 8, time + 11, time + 14, time + 17,
	                 (unsigned)(now % 1000), random + RANDOM_DIGITS);
}
