/* The sources of the contexts of a deployment file: --secret, --secrets, --var, --input on the command line, or
 * the same as JSON or YAML maps from the root action. docs/semantics.md 1. Every secret goes into the process's mask. */
#pragma once
#include "base/core/str.h"
#include "base/data/json.h"

struct deployment_values {
	json_t *secrets, *vars, *inputs, *env, *github; /* objects; never NULL after values_init */
};
void deployment_values_init(struct deployment_values *v);
void deployment_values_done(struct deployment_values *v);
/* GITHUB_SHA and its kin as the context `github`, all variables as `env`. */
void deployment_values_environment(struct deployment_values *v);
/* The value of the environment variable NAME; ERR_INVALID names it when it is not set. */
int deployment_values_secret_from_env(struct deployment_values *v, const char *name, struct err *err);
/* A JSON or YAML map in a file of mode 0600 or stricter, "-": standard input. */
int deployment_values_secrets_file(struct deployment_values *v, const char *path, struct err *err);
/* "key=value" */
int deployment_values_pair(json_t *into, const char *option, const char *pair, struct err *err);
/* What a command line gave, in this order, so that the file wins over the environment. vars, inputs: NULL: it takes none. */
int deployment_values_given(struct deployment_values *v, const struct strv *secrets, const char *secrets_file,
                            const struct strv *vars, const struct strv *inputs, struct err *err);
/* A map as a string (JSON or YAML) or as an object; what: "secrets". NULL and "" are empty. secret: values are masked. */
int deployment_values_map(json_t *into, const char *what, const json_t *map, bool secret, struct err *err);
/* A whole file, or standard input for "-", at most out->max bytes. */
int deployment_read_string(const char *path, struct str *out, struct err *err);
void deployment_values_mask(const json_t *value);
