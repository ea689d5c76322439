/* Releases and snapshots in the order of their making: retention drops the first of them. */
#pragma once
#include "engine/target/target.h"

/* "20260131T102030" and "20260131T102030-07b": how an id begins, with its second and with its millisecond. */
enum { RETENTION_TIME = 15, RETENTION_MOMENT = 19 };
struct retention_entry {
	char *name;
	int64_t made_ns;
};
struct retention_list {
	struct retention_entry *items;
	size_t count, cap;
};
void retention_done(struct retention_list *l);
/* The name in a link "releases/NAME" or "PATH/releases/NAME" beside the directory `dir`, PATH/releases; NULL for any other. */
const char *retention_name_of_link(const char *dir, const char *link);
/* Names in `dir` between prefix and suffix ("" for all), oldest first: by the millisecond in their name, then by their
 * time of modification, which is that of the last entry that came or went. A missing directory has none. */
int retention_list(struct view *v, const char *dir, const char *prefix, const char *suffix, struct retention_list *ret,
                   struct err *err);
/* By the time at the start of its name; without one, and with an age of 0, it is never old. */
bool retention_is_older(const char *name, int64_t age_ms);
