#include "agent/deployment/step_input.h"

#include "agent/deployment/values.h"

enum { INPUT_MAX = 8 << 20 };

int step_input_read(const char *path, const struct field_table *table, struct step_input *ret, struct err *err)
{
	struct str text _cleanup_(str_done) = STR_SECRET_INIT(INPUT_MAX);
	if (path == NULL) {
		invocation_from_environment(&ret->job);
		ret->input = ret->job.present ? invocation_inputs_from_environment(table) : json_object();
		ret->text_values = ret->job.present;
		return 0;
	}
	int r = deployment_read_string(path, &text, err);
	if (r < 0)
		return err_wrap(err, r, "read the inputs");
	r = invocation_read_document(str_peek(&text), text.len, &ret->job, &ret->input, &ret->text_values, err);
	if (r >= 0 && !ret->job.present)
		invocation_from_environment(&ret->job);
	return r;
}

void step_input_done(struct step_input *in)
{
	invocation_done(&in->job);
	json_decrefp(&in->input);
}
