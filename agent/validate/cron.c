/* cron: the five fields of a schedule, as GitHub takes them. */
#include "agent/validate/validate.h"

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
		if (slash + 1 == end || stop != end || step < 1)
			return false;
		end = slash;
	}
	if (end - p == 1 && *p == '*')
		return true;
	for (int i = 0; i < 2; i++) {
		const char *dash = i == 0 ? memchr(p, '-', (size_t)(end - p)) : NULL, *to = dash != NULL ? dash : end;
		bool good = false;
		long number = strtol(p, &stop, 10);
		good = to > p && stop == to && isdigit((unsigned char)*p) && number >= low && number <= high;
		for (size_t w = 0; w < word_count && !good; w++)
			good = (size_t)(to - p) == strlen(words[w]) && strncasecmp(p, words[w], strlen(words[w])) == 0;
		if (!good)
			return false;
		if (dash == NULL)
			break;
		p = dash + 1;
	}
	return true;
}

bool validate_cron(const char *line)
{
	static const char *const months[] = {"JAN", "FEB", "MAR", "APR", "MAY", "JUN",
	                                     "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"};
	static const char *const days[] = {"SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"};
	static const struct {
		int low, high;
	} ranges[] = {{0, 59}, {0, 23}, {1, 31}, {1, 12}, {0, 6}};
	size_t field = 0;
	for (const char *p = line + strspn(line, " "); *p != '\0'; p += strspn(p, " "), field++) {
		const char *end = p + strcspn(p, " ");
		if (field == ARRAY_SIZE(ranges))
			return false;
		while (p < end) {
			const char *comma = memchr(p, ',', (size_t)(end - p)), *to = comma != NULL ? comma : end;
			const char *const *words = field == 3 ? months : days;
			if (!cron_part(p, to, ranges[field].low, ranges[field].high, words,
			               field < 3    ? 0
			               : field == 3 ? 12
			                            : 7))
				return false;
			p = comma != NULL ? comma + 1 : end;
		}
	}
	return field == ARRAY_SIZE(ranges);
}
