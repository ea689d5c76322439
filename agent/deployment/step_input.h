/* The inputs of one step or of a deciding command: a file, standard input (plain or with the job around it), or INPUT_*. */
#pragma once
#include "agent/deployment/invocation.h"

struct step_input {
	struct invocation job;
	json_t *input; /* object */
	bool text_values;
};
/* path: NULL in a workflow reads INPUT_*, elsewhere gives no inputs. */
int step_input_read(const char *path, const struct field_table *table, struct step_input *ret, struct err *err);
void step_input_done(struct step_input *in);
