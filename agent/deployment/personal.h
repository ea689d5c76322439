/* What a person would type again and again: $XDG_CONFIG_HOME/davit/config.yml, else ~/.config/davit/config.yml (schemas/config.json).
 * The command line and the environment win over it. Jobs do not read it. */
#pragma once
#include "agent/deployment/values.h"

struct personal {
	json_t *root; /* an object; empty where there is no file */
	char *path;
};
#define PERSONAL_INIT                                                                                                  \
	{                                                                                                              \
		0                                                                                                      \
	}
/* ERR_INVALID with the place of what is wrong. ERR_PERMISSION: others can write it, and so decide what is run. */
int personal_read(struct personal *ret, struct err *err);
void personal_done(struct personal *p);
/* The variables that `v` does not have, and the secrets that `text`, a deployment file or a workflow, mentions and `v` does not have. */
int personal_values(const struct personal *p, const char *text, struct deployment_values *v, struct err *err);
/* The same for the text of a file; one that cannot be read is left to whoever reads it next. */
int personal_values_of_file(const char *path, struct deployment_values *v, struct err *err);
