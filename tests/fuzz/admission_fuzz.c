/* Policies of a host, and messages of jobs that say what they are: whatever they hold, reading them is bounded, and what comes from a fork or a public
 * repository is never let in by a host without a policy. */
#include "agent/admission/admission.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static void decide(const struct admission *a, const struct admission_job *job, bool has_file)
{
	struct admission_answer answer;
	admission_decide(a, job, "davit-deploy/davit", &answer);
	if (answer.rule == NULL || answer.admitted != (answer.reason == NULL))
		abort();
	if (!has_file && answer.admitted && (job->fork != NULL || job->is_public))
		abort();
	admission_answer_done(&answer);
}

static void read_job(const struct admission *a, const uint8_t *data, size_t size, bool has_file)
{
	json_t *message = NULL;
	struct err err = ERR_INIT;
	struct admission_job job;
	if (json_parse((const char *)data, size, 1 << 20, &message, &err) < 0)
		return;
	if (admission_job_of_message(message, &job, &err) >= 0) {
		decide(a, &job, has_file);
		admission_job_done(&job);
	}
	admission_job_read(message, message, &job);
	decide(a, &job, has_file);
	admission_job_done(&job);
	json_decref(message);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct admission *none = NULL, *file = NULL;
	struct err err = ERR_INIT;
	const uint8_t *end = size > 0 ? memchr(data, 0, size) : NULL;
	size_t first = end != NULL ? (size_t)(end - data) : size;
	/* A policy, a NUL, and a message. */
	if (admission_read(NULL, &none, &err) < 0)
		abort();
	if (end != NULL) {
		read_job(none, end + 1, size - first - 1, false);
		if (admission_parse("policy.yml", (const char *)data, first, &file, &err) >= 0)
			read_job(file, end + 1, size - first - 1, true);
	}
	admission_free(file);
	admission_free(none);
	return 0;
}
