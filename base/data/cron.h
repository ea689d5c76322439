/* The five fields of a schedule: minute, hour, day, month, day of the week. */
#pragma once
#include <stdbool.h>

/* GitHub's fields have blanks between them and Sunday is 0. cron(8) has tabs too, Sunday is 7 as well, and knows @daily and the like. */
enum cron_reader { CRON_GITHUB, CRON_DAEMON };
bool cron_fits(const char *line, enum cron_reader reader);
