/* What a target says that it did by itself. It decides nothing: what stands on the target is looked at. */
#include "engine/alone/alone.h"

#include <string.h>

enum { SECONDS_MAX = 253402300799 / 60 }; /* minutes, so that it fits in an int */

void alone_said_read(const char *text, struct alone_said *ret)
{
	*ret = (struct alone_said){0};
	for (const char *at = text; *at != '\0';) {
		const char *end = strchrnul(at, '\n');
		_cleanup_free_ char *line = xstrndup(at, (size_t)(end - at));
		long long seconds;
		if (str_starts(line, "went ") && str_parse_i64(line + 5, 0, 60LL * SECONDS_MAX, &seconds)) {
			ret->went = true;
			ret->at_ms = seconds * 1000;
		}
		ret->ended = ret->ended || strcmp(line, "ended") == 0;
		ret->left += str_starts(line, "left ");
		at = *end ? end + 1 : end;
	}
}
