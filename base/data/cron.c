#include "base/data/cron.h"

#include "base/core/mem.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static bool cron_part(const char *p, const char *end, int low, int high, const char *const *words, size_t word_count)
{
	const char *slash = memchr(p, '/', (size_t)(end - p));
	char *stop;
	if (slash != NULL) {
		long step = strtol(slash + 1, &stop, 10);
		if (!isdigit((unsigned char)slash[1]) || stop != end || step < 1)
			return false;
		end = slash;
	}
	if (end - p == 1 && *p == '*')
		return true;
	long first = low;
	for (int i = 0; i < 2; i++) {
		const char *dash = i == 0 ? memchr(p, '-', (size_t)(end - p)) : NULL, *to = dash != NULL ? dash : end;
		bool good = false;
		long number = strtol(p, &stop, 10);
		good = to > p && stop == to && isdigit((unsigned char)*p) && number >= low && number <= high;
		for (size_t w = 0; w < word_count && !good; w++) {
			good = (size_t)(to - p) == strlen(words[w]) && strncasecmp(p, words[w], strlen(words[w])) == 0;
			number = low + (long)w;
		}
		if (!good || (i == 1 && number < first))
			return false;
		first = number;
		if (dash == NULL)
			break;
		p = dash + 1;
	}
	return true;
}

static bool is_nickname(const char *line)
{
	static const char *const names[] = {"@reboot", "@yearly", "@annually", "@monthly",
	                                    "@weekly", "@daily",  "@midnight", "@hourly"};
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (strcmp(line, names[i]) == 0)
			return true;
	return false;
}

static bool field_fits(const char *p, const char *end, size_t field, enum cron_reader reader)
{
	static const char *const months[] = {"JAN", "FEB", "MAR", "APR", "MAY", "JUN",
	                                     "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"};
	static const char *const days[] = {"SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"};
	static const struct {
		int low, high;
		const char *const *words;
		size_t count;
	} ranges[] = {{0, 59, NULL, 0},
	              {0, 23, NULL, 0},
	              {1, 31, NULL, 0},
	              {1, 12, months, ARRAY_SIZE(months)},
	              {0, 6, days, ARRAY_SIZE(days)}};
	if (field >= ARRAY_SIZE(ranges))
		return false;
	int high = ranges[field].high + (field == ARRAY_SIZE(ranges) - 1 && reader == CRON_DAEMON);
	while (p < end) {
		const char *comma = memchr(p, ',', (size_t)(end - p)), *to = comma != NULL ? comma : end;
		if (!cron_part(p, to, ranges[field].low, high, ranges[field].words, ranges[field].count))
			return false;
		p = comma != NULL ? comma + 1 : end;
	}
	return true;
}

bool cron_fits(const char *line, enum cron_reader reader)
{
	enum { FIELDS = 5 };
	const char *blanks = reader == CRON_DAEMON ? " \t" : " ";
	size_t field = 0;
	if (reader == CRON_DAEMON && is_nickname(line))
		return true;
	for (const char *p = line + strspn(line, blanks); *p != '\0'; p += strspn(p, blanks), field++) {
		const char *end = p + strcspn(p, blanks);
		if (!field_fits(p, end, field, reader))
			return false;
		p = end;
	}
	return field == FIELDS;
}
