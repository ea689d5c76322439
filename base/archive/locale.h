/* libarchive translates names through the C library's locale and fails on the first umlaut under LC_ALL=C. For the length of a
 * call this thread's locale becomes C.UTF-8; the process's own is not touched. */
#pragma once
#include <locale.h>

struct archive_locale {
	locale_t mine, former;
};
struct archive_locale archive_locale_enter(void);
void archive_locale_leave(struct archive_locale *l);
