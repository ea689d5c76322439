/* Names of jobs, steps, repositories and deployments on the agent's status page and in its metrics: whatever they hold, there is no tag and no line
 * more than with plain names. */
#include "agent/report/report.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static size_t count(const char *text, char wanted)
{
	size_t found = 0;
	for (; *text != '\0'; text++)
		found += *text == wanted;
	return found;
}

struct counts {
	size_t open, close, quotes, lines;
};

static struct counts count_all(const char *name, size_t len)
{
	json_t *text = json_string_lossy(name, len), *status = json_object(), *job = json_object(),
	       *one = json_object(), *host = json_object(), *d = json_object();
	static const char *const of_job[] = {"name", "repository", "phase", "began", "lease_until"},
				 *const of_one[] = {"url", "name", "state", "last_poll"},
				 *const of_d[] = {"id", "name", "environment", "commit", "reason"};
	for (size_t i = 0; i < ARRAY_SIZE(of_job); i++)
		json_object_set(job, of_job[i], text);
	json_object_set_new(job, "step", json_pack("{s:O}", "name", text));
	for (size_t i = 0; i < ARRAY_SIZE(of_one); i++)
		json_object_set(one, of_one[i], text);
	json_object_set_new(one, "labels", json_pack("[O]", text));
	for (size_t i = 0; i < ARRAY_SIZE(of_d); i++)
		json_object_set(d, of_d[i], text);
	json_object_set_new(d, "state", json_string("held"));
	json_object_set_new(d, "live", json_true());
	json_object_set(status, "version", text);
	json_object_set(status, "started", text);
	json_object_set_new(status, "pid", json_integer(1));
	json_object_set_new(status, "jobs", json_pack("[o]", job));
	json_object_set_new(status, "registrations", json_pack("[o]", one));
	json_object_set_new(status, "refusals",
	                    json_pack("{s:i, s:[{s:O, s:O, s:O, s:O, s:O}]}", "count", 1, "last", "at", text, "job",
	                              text, "repository", text, "rule", text, "reason", text));
	json_object_set(host, "user", text);
	json_object_set_new(host, "error", json_string("none"));
	json_object_set_new(host, "deployments", json_pack("[o]", d));
	json_t *hosts = json_pack("[o]", host);
	char *page = report_agent_page(status, hosts), *metrics = report_agent_metrics(status, hosts);
	struct counts counts = {0};
	if (page != NULL && metrics != NULL)
		counts = (struct counts){count(page, '<'), count(page, '>'), count(page, '"'), count(metrics, '\n')};
	free(page);
	free(metrics);
	json_decref(text);
	json_decref(status);
	json_decref(hosts);
	return counts;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct counts plain = count_all("plain", strlen("plain"));
	struct counts hostile = count_all((const char *)data, size);
	if (memcmp(&plain, &hostile, sizeof(plain)) != 0)
		abort();
	return 0;
}
