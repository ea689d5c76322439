/* What the message queue and the run service send: any bytes are read or refused, never more. */
#include "agent/service/broker.h"
#include "agent/service/runservice.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct broker_message message = {0};
	if (broker_message_read((const char *)data, size, &message, NULL) == 0)
		broker_message_done(&message);
	_cleanup_json_ json_t *value = NULL;
	if (json_parse((const char *)data, size, 1 << 20, &value, NULL) < 0)
		return 0;
	struct run_job job = {0};
	if (run_job_read(value, &job, NULL) == 0)
		run_job_done(&job);
	json_decref(run_job_report(value));
	return 0;
}
