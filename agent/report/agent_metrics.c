/* What a monitor wants to know of an agent, in Prometheus' text format. Values of labels are others' names: escaped, and cut. */
#include "agent/report/report.h"
#include "agent/report/report_priv.h"

#include <string.h>

#include "base/core/clock.h"

enum { METRICS_MAX = 16 << 20, LABEL_MAX = 200 };

static void begin(struct str *out, const char *name, const char *type, const char *help)
{
	str_appendf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void label(struct str *out, const char *name, const char *value, char between)
{
	_cleanup_(str_done) struct str safe = STR_INIT(1 << 20);
	report_safe(&safe, value);
	size_t len = safe.len > LABEL_MAX ? str_whole_characters(str_peek(&safe), LABEL_MAX) : safe.len;
	str_appendf(out, "%c%s=\"", between, name);
	for (size_t i = 0; i < len; i++) {
		if (safe.data[i] == '"' || safe.data[i] == '\\')
			str_append_c(out, '\\');
		str_append_c(out, safe.data[i]);
	}
	str_append_c(out, '"');
}

static void number(struct str *out, const char *name, const char *type, const char *help, long long value)
{
	begin(out, name, type, help);
	str_appendf(out, "%s %lld\n", name, value);
}

static long long seconds_of(const char *rfc3339)
{
	int64_t ms = 0;
	return clock_parse_rfc3339(rfc3339, &ms) == 0 ? (long long)(ms / 1000) : 0;
}

static void append_agent(struct str *out, const json_t *status)
{
	const json_t *disk = json_get_object(status, "disk");
	begin(out, "davit_build_info", "gauge", "The running agent's version.");
	str_append(out, "davit_build_info");
	label(out, "version", report_text_of(status, "version"), '{');
	label(out, "runner_version", report_text_of(status, "runner_version"), ',');
	str_append(out, "} 1\n");
	number(out, "davit_agent_up", "gauge", "An agent runs on this host.", json_get_int(status, "pid", 0) > 0);
	number(out, "davit_agent_healthy", "gauge", "It runs, and every registration is heard.",
	       json_get_bool(status, "healthy", false));
	/* What an agent that does not answer cannot say is left out: a zero would be a full disk, and an alarm. */
	if (json_get_string(status, "started") != NULL) {
		number(out, "davit_agent_start_time_seconds", "gauge", "Since when it runs.",
		       seconds_of(report_text_of(status, "started")));
		number(out, "davit_agent_slots", "gauge", "Jobs at a time.", json_get_int(status, "slots", 0));
	}
	number(out, "davit_agent_jobs", "gauge", "Jobs at the moment.",
	       (long long)json_array_size(json_object_get(status, "jobs")));
	number(out, "davit_agent_recoveries", "gauge", "Recoveries of deployments at the moment.",
	       json_get_int(status, "recoveries", 0));
	number(out, "davit_agent_refused_total", "counter", "Jobs that the policy of the host refused since the start.",
	       json_get_int(json_get_object(status, "refusals"), "count", 0));
	if (disk == NULL)
		return;
	number(out, "davit_disk_free_bytes", "gauge", "Free where the state lies.", json_get_int(disk, "free", 0));
	number(out, "davit_disk_size_bytes", "gauge", "Size of that file system.", json_get_int(disk, "size", 0));
}

static long long session_of(const json_t *one)
{
	return json_get_bool(one, "session", false);
}

static long long last_poll_of(const json_t *one)
{
	return seconds_of(report_text_of(one, "last_poll"));
}

static long long last_status_of(const json_t *one)
{
	return json_get_int(json_get_object(one, "last_answer"), "status", 0);
}

static long long refused_of(const json_t *one)
{
	return json_get_int(one, "refused", 0);
}

static long long area_of(const json_t *one)
{
	return json_get_int(one, "area_bytes", 0);
}

static long long full_of(const json_t *one)
{
	return json_get_bool(one, "full", false);
}

static void append_registrations(struct str *out, const json_t *list)
{
	static const struct {
		const char *name, *type, *help;
		long long (*value)(const json_t *one);
	} metrics[] = {
		{"davit_registration_session", "gauge", "It has a session with the service.", session_of},
		{"davit_registration_last_poll_timestamp_seconds", "gauge", "When the service answered last.",
	         last_poll_of},
		{"davit_registration_last_status", "gauge", "HTTP status of the last poll; 0: no answer.",
	         last_status_of},
		{"davit_registration_area_bytes", "gauge", "What its work area takes, where a quota has it looked at.",
	         area_of},
		{"davit_registration_full", "gauge", "It takes no job, since too little is free.", full_of},
		{"davit_registration_refused_total", "counter", "Its jobs that the policy refused since the start.",
	         refused_of},
	};
	for (size_t m = 0; m < ARRAY_SIZE(metrics); m++) {
		size_t i;
		json_t *one;
		begin(out, metrics[m].name, metrics[m].type, metrics[m].help);
		json_array_foreach((json_t *)(uintptr_t)list, i, one)
		{
			str_append(out, metrics[m].name);
			label(out, "url", report_text_of(one, "url"), '{');
			label(out, "name", report_text_of(one, "name"), ',');
			str_appendf(out, "} %lld\n", metrics[m].value(one));
		}
	}
}

/* Those that wait for a person: what an alarm is for. */
static void append_held(struct str *out, const json_t *hosts)
{
	size_t i, n;
	json_t *host, *d;
	begin(out, "davit_deployment_held", "gauge", "A held deployment, which waits for a person.");
	json_array_foreach((json_t *)(uintptr_t)hosts, i, host)
		json_array_foreach(json_object_get(host, "deployments"), n, d)
	{
		if (strcmp(report_text_of(d, "state"), "held") != 0)
			continue;
		str_append(out, "davit_deployment_held");
		label(out, "name", report_text_of(d, "name"), '{');
		label(out, "environment", report_text_of(d, "environment"), ',');
		label(out, "id", report_text_of(d, "id"), ',');
		str_append(out, "} 1\n");
	}
}

char *report_agent_metrics(const json_t *status, const json_t *hosts)
{
	struct str out _cleanup_(str_done) = STR_INIT(METRICS_MAX);
	append_agent(&out, status);
	append_registrations(&out, json_get_array(status, "registrations"));
	append_held(&out, hosts);
	return out.failed ? NULL : str_take(&out);
}
