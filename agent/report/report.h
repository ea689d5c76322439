/* Deployments as text for people: the plan, the history, one deployment with its changes and probes. All of it passes the
 * process's mask. The JSON is the journal's (engine/journal/store.h): {"deployment":{…},"steps":[…],"changes":[…],"events":[…]}. */
#pragma once
#include "base/data/json.h"
#include <stdio.h>

void report_print_masked(const char *text, FILE *out);    /* and a line feed */
void report_append_duration(struct str *out, int64_t ms); /* "3.4 s" */
void report_print_plan(const json_t *report, const char *digest, bool colours, FILE *out);
void report_print_history(const json_t *deployments, bool colours, FILE *out);
/* Prints a list of results of steps/common/releases.h: by deployment, target and path. */
void report_print_releases(const json_t *deployments, bool colours, FILE *out);
/* Prints where values come from: a list of what steps explain, with "targets". */
void report_print_explained(const json_t *steps, FILE *out);
/* Prints a list of results of steps/status/status.h: a target after the other. */
void report_print_status(const json_t *deployments, bool colours, FILE *out);
/* Markdown for a workflow's summary page: the heading, how it ended, the changes of a plan or of the step that ran last, what is
 * left over, the faults of the file, what was found before the first change. report, faults, findings, state, digest and reason may be NULL; NULL when there is nothing to tell. free(). */
char *report_summary(const char *title, const json_t *report, const json_t *faults, const json_t *findings,
                     const char *state, const char *digest, const char *reason);
/* A plan for a comment or an issue. title, note and nothing are davit's own words, digest is digits; all else is hostile. */
struct report_plan {
	const char *title; /* "Plan", "Drift" */
	const char *name, *environment;
	const char *commit, *digest; /* NULL: none */
	const char *reason;          /* why it was refused; NULL: it was not */
	const char *nothing;         /* said where there is no change */
	const char *note;            /* above the digest; NULL: none */
};
/* max: in bytes, at least 16 KiB; what does not fit is counted. report: "plan" and "findings". free() */
char *report_plan_markdown(const struct report_plan *plan, const json_t *report, size_t max);
/* What was found before the first change (engine_options.findings), as a table for a terminal: what is wrong where, and below it what to do. */
void report_print_findings(const json_t *findings, bool colours, FILE *out);
void report_print_deployment(const json_t *report, bool colours, FILE *out);
/* How an agent goes (agent/listener/describe.h) and what was deployed from its host: [{"user", "deployments": [as report_print_history has them], "error"}]. As
 * a page without scripts; as metrics in Prometheus' text format. free() */
char *report_agent_page(const json_t *status, const json_t *hosts);
char *report_agent_metrics(const json_t *status, const json_t *hosts);
/* A page of its own: HTML with its style and pictures in it, no scripts, nothing from elsewhere. NULL when it would pass 64 MiB. free() */
char *report_page(const json_t *report);
