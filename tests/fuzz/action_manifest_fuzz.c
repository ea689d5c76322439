/* An action's manifest comes from anybody's repository: read, or refused with a reason; what was read evaluates or fails with one. */
#include "agent/actions/manifest.h"
#include "agent/template/eval.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void evaluate(const json_t *token, const json_t *contexts, const json_t *file_table)
{
	struct template_scope scope = {.expr = {.contexts = contexts}, .file_table = file_table};
	struct err err = ERR_INIT;
	json_t *text = NULL;
	if (template_eval_string(token, &scope, &text, &err) < 0 && err.frame_count == 0)
		abort();
	json_decref(text);
	free(template_readable(token));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct action_manifest m;
	struct err err = ERR_INIT;
	if (action_manifest_read("action.yml", (const char *)data, size, &m, &err) < 0) {
		if (err.frame_count == 0)
			abort();
		return 0;
	}
	_cleanup_json_ json_t *contexts = json_pack("{s:{}, s:{}, s:{}}", "github", "inputs", "steps");
	const char *name;
	json_t *value;
	size_t i;
	json_object_foreach(m.inputs, name, value) evaluate(json_object_get(value, "default"), contexts, m.file_table);
	json_object_foreach(m.outputs, name, value) evaluate(value, contexts, m.file_table);
	json_array_foreach(m.steps, i, value)
	{
		if (json_get_string(value, "condition") == NULL || json_get_string(value, "contextName") == NULL ||
		    json_get_object(value, "reference") == NULL)
			abort();
		evaluate(json_object_get(value, "displayNameToken"), contexts, m.file_table);
	}
	if (m.kind == MANIFEST_NODE && m.main == NULL)
		abort();
	action_manifest_done(&m);
	return 0;
}
