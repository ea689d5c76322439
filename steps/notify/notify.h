/* The text of a notification: what happened, from the outcome's report. */
#pragma once
#include "engine/run/step.h"
#include "schemas/notify.h"

/* Markdown, bounded, secrets masked. outcome NULL: the text before the outcome (for the plan). */
void notify_text(const struct step_context *c, const struct step_outcome *outcome, struct str *out);
/* "deployed", "rolled back", …: one line without markup, at most 140 characters, for a status. */
void notify_headline(const struct step_context *c, const struct step_outcome *outcome, struct str *out);
/* The line that finds our comment again: hidden in Markdown. */
void notify_marker(const struct step_context *c, struct str *out);
