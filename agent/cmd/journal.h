/* The journal of this host, read for history, show and report. It works beside a running deployment. */
#pragma once
#include "base/data/json.h"
#include "engine/journal/store.h"

/* *ret: NULL without error if there is no journal yet. */
int cmd_open_journal(struct store **ret, struct err *err);
/* Prints the error; returns the exit status. */
int cmd_journal_fail(const struct err *err);
/* The form for show: without the data for a rollback, and always with an exit status. A held deployment that is being taken back has
 * none for the moment: null. */
void cmd_make_readable(json_t *deployment);
/* word: an id, its beginning, or "last". {"deployment","steps","changes","events"}: agent/report/report.h. store may be NULL. */
int cmd_read_report(struct store *store, const char *word, json_t **ret, struct err *err);
