/* Deployments as text for people: the plan, the history, one deployment with its changes and probes. All of it passes the
 * process's mask. The JSON is the journal's (steps/store.h): {"deployment":{…},"steps":[…],"changes":[…],"events":[…]}. */
#pragma once
#include "base/json.h"
#include <stdio.h>

void report_print_masked(const char *text, FILE *out);      /* and a line feed */
void report_print_plan(const json_t *report, const char *digest, bool colours, FILE *out);
void report_print_history(const json_t *deployments, bool colours, FILE *out);
void report_print_deployment(const json_t *report, bool colours, FILE *out);
