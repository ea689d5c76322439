/* davit agent status: how the agent of this host goes, for people or as JSON. */
#include <stdio.h>
#include <string.h>

#include "agent/cmd/agent.h"
#include "agent/listener/describe.h"
#include "agent/listener/listener.h"
#include "agent/listener/update.h"
#include "base/core/log.h"

enum { LINE_MAX_BYTES = 1 << 20, UNWELL = 1 };

/* Names of jobs, steps and repositories are others'. */
static void say(const char *fmt, ...) _printf_(1, 2);
static void say(const char *fmt, ...)
{
	_cleanup_(str_done) struct str plain = STR_INIT(LINE_MAX_BYTES), safe = STR_INIT(4 * LINE_MAX_BYTES);
	char *text = NULL;
	va_list args;
	va_start(args, fmt);
	int len = vasprintf(&text, fmt, args);
	va_end(args);
	if (len < 0)
		return;
	str_append_safe(&safe, text, (size_t)len);
	free(text);
	puts(str_peek(&safe));
}

static const char *text_of(const json_t *object, const char *key, const char *otherwise)
{
	const char *text = json_get_string(object, key);
	return text != NULL ? text : otherwise;
}

static char *joined(const json_t *list)
{
	_cleanup_(str_done) struct str out = STR_INIT(LINE_MAX_BYTES);
	size_t i;
	const json_t *item;
	json_array_foreach((json_t *)(uintptr_t)list, i, item)
		str_appendf(&out, "%s%s", i > 0 ? ", " : "", json_string_value(item));
	return str_take(&out);
}

static void print_session(const json_t *one)
{
	const json_t *answer = json_get_object(one, "last_answer");
	if (json_object_get(one, "session") == NULL)
		return;
	_cleanup_free_ char *said =
		answer == NULL ? xstrdup("nothing was answered yet")
		: json_get_int(answer, "status", 0) > 0
			? xasprintf("last answer %lld at %s", (long long)json_get_int(answer, "status", 0),
	                            text_of(answer, "at", ""))
			: xasprintf("no answer at %s", text_of(answer, "at", ""));
	say("  session    %s, %s; %s", json_get_bool(one, "session", false) ? "open" : "none", text_of(one, "step", ""),
	    said);
	if (json_get_int(one, "area_bytes", 0) > 0)
		say("  work area  %lld MiB", (long long)(json_get_int(one, "area_bytes", 0) >> 20));
	if (json_get_int(one, "refused", 0) > 0)
		say("  refused    %lld jobs, by the policy of this host", (long long)json_get_int(one, "refused", 0));
}

static void print_one(const json_t *one)
{
	const char *text = json_get_string(one, "text");
	_cleanup_free_ char *labels = joined(json_object_get(one, "labels"));
	say("%s", text_of(one, "url", ""));
	say("  name       %s (id %lld, group %s%s)", text_of(one, "name", ""), (long long)json_get_int(one, "id", 0),
	    text_of(one, "group", ""), json_get_bool(one, "ephemeral", false) ? ", ephemeral" : "");
	say("  labels     %s", labels);
	say("  state      %s%s%s", text_of(one, "state", ""), text ? ": " : "", text ? text : "");
	print_session(one);
	say("  last poll  %s", text_of(one, "last_poll", "never"));
	say("  worker     %s", text_of(one, "worker", ""));
	const char *own = text_of(one, "actions_repository", "");
	say("  actions    %s run in this program, others: %s; on failure: %s", own[0] != '\0' ? own : "none",
	    text_of(one, "actions", ""), text_of(one, "on_failure", ""));
	const char *isolation = json_get_string(json_get_object(one, "isolation"), "text");
	if (isolation != NULL)
		say("  isolation  %s", isolation);
}

static void print_job(const json_t *job)
{
	const json_t *step = json_get_object(job, "step");
	_cleanup_free_ char *at = step == NULL
	                                  ? xstrdup("")
	                                  : xasprintf(", step %lld '%s'", (long long)json_get_int(step, "number", 0),
	                                              text_of(step, "name", ""));
	say("job %s of %s: %s%s%s, since %s, lease until %s", text_of(job, "name", "(not known yet)"),
	    text_of(job, "repository", "?"), text_of(job, "phase", ""), at,
	    json_get_bool(job, "cancelled", false) ? ", cancelled" : "", text_of(job, "began", "-"),
	    text_of(job, "lease_until", "-"));
}

static void print_refusals(const json_t *refusals)
{
	const json_t *list = json_get_array(refusals, "last");
	const json_t *last = json_array_get(list, json_array_size(list) - 1);
	if (last == NULL)
		return;
	say("%lld jobs were refused by the policy since the start; the last: %s of %s at %s, by the rule '%s'",
	    (long long)json_get_int(refusals, "count", 0), text_of(last, "job", "?"), text_of(last, "repository", "?"),
	    text_of(last, "at", ""), text_of(last, "rule", ""));
}

static void print_head(const json_t *answer)
{
	long long pid = json_get_int(answer, "pid", 0);
	const json_t *disk = json_get_object(answer, "disk");
	if (pid == 0) {
		puts("the agent does not run; start it with `davit agent run`");
		return;
	}
	say("the agent runs (process %lld), davit %s, %s%s%s", pid, text_of(answer, "version", "?"),
	    json_get_bool(answer, "healthy", false) ? "well" : "not well",
	    json_get_string(answer, "started") ? ", since " : "", text_of(answer, "started", ""));
	const json_t *update = json_get_object(answer, "update");
	bool waits = strcmp(text_of(update, "state", ""), UPDATE_WAITING) == 0;
	if (json_get_bool(answer, "stopping", false))
		say("it takes no further job: %s%s%s",
		    waits ? "once those that run are over, " : "it ends once those that run are over",
		    waits ? text_of(update, "program", "") : "", waits ? " takes its place" : "");
	if (disk != NULL)
		say("%lld of %lld MiB are free at %s", (long long)(json_get_int(disk, "free", 0) >> 20),
		    (long long)(json_get_int(disk, "size", 0) >> 20), text_of(disk, "path", ""));
}

static void print_all(const json_t *answer)
{
	const json_t *list = json_object_get(answer, "registrations");
	size_t i;
	const json_t *one;
	print_head(answer);
	json_array_foreach((json_t *)(uintptr_t)list, i, one) print_one(one);
	if (json_array_size(list) == 0)
		puts("no registration; add one with `davit agent configure --url URL --token TOKEN`");
	json_array_foreach(json_object_get(answer, "jobs"), i, one) print_job(one);
	print_refusals(json_get_object(answer, "refusals"));
}

static void print(const json_t *answer, bool as_json)
{
	if (!as_json) {
		print_all(answer);
		return;
	}
	_cleanup_free_ char *text = json_pretty(answer);
	puts(text);
}

int agent_status(int argc, char **argv)
{
	struct agent_options o;
	struct err err = ERR_INIT;
	int r = agent_options_begin("status", "[--json] [--check]", argc, argv, &o);
	if (r != 0)
		return r > 0 ? 0 : LISTEN_TERMINATED;
	struct records store = {0};
	_cleanup_json_ json_t *answer = NULL;
	r = records_open(false, &store, &err);
	if (r >= 0 || r == ERR_NOT_FOUND)
		r = describe_agent(&store, !o.check, &answer, &err);
	bool well = json_get_bool(answer, "healthy", false);
	if (r < 0)
		log_err(&err);
	else if (!o.check || o.json)
		print(answer, o.json);
	int status = r < 0 ? LISTEN_TERMINATED : o.check && !well ? UNWELL : 0;
	records_done(&store);
	agent_options_done(&o);
	return status;
}
