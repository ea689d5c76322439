/* A job message from the service: context data, template tokens, masks, steps that wait for others. */
#include "agent/worker/message.h"
#include "agent/worker/background.h"
#include "agent/template/context_data.h"
#include "agent/template/eval.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void evaluate(const json_t *token, const json_t *contexts, const json_t *message)
{
	struct template_scope scope = {.expr = {.contexts = contexts},
	                               .file_table = json_object_get(message, "fileTable")};
	_cleanup_json_ json_t *value = NULL, *texts = json_object();
	template_eval(token, &scope, &value, NULL);
	template_eval_strings(token, &scope, texts, NULL);
	free(template_readable(token));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_json_ json_t *message = NULL, *contexts = NULL;
	if (json_parse((const char *)data, size, 1 << 16, &message, NULL) < 0 || !json_is_object(message))
		return 0;
	if (context_data_decode(json_object_get(message, "contextData"), &contexts, NULL) < 0 ||
	    !json_is_object(contexts)) {
		json_decref(contexts);
		contexts = json_object();
	}
	_cleanup_(mask_freep) struct mask *mask = mask_new();
	message_mask(message, mask);
	_cleanup_(str_done) struct str out = STR_INIT(1 << 22);
	mask_apply(mask, (const char *)data, size, &out);
	json_decref(message_secrets(message));
	message_connection_data(message, "ResultsServiceUrl");
	struct run_job job = {.url = NULL};
	if (run_job_read(message, &job, NULL) == 0)
		run_job_done(&job);
	const char *key;
	json_t *value;
	json_object_foreach(message, key, value) evaluate(value, contexts, message);
	size_t i;
	json_array_foreach(json_object_get(message, "steps"), i, value)
	{
		struct record r = {.parent = NULL};
		evaluate(json_object_get(value, "displayNameToken"), contexts, message);
		evaluate(json_object_get(value, "inputs"), contexts, message);
		background_read_control(value, &r, NULL);
	}
	return 0;
}
