/* The expressions in a deployment file. A text that is one whole ${{ … }} keeps the type of its value; inside other text the
 * value becomes text. A name of secrets, vars, env or inputs that has no value is a fault unless the expression gives another with ||.
 * What refers to `steps`, `deployment` or `secrets` is late where that context is not there: it stays as it is until it is. */
#pragma once
#include "base/data/yaml.h"

struct deployment_expander {
	const json_t *contexts;     /* object: name → object; borrowed */
	const struct yaml_doc *doc; /* for positions; may be NULL */
	struct faults *faults;
};
/* A new value with every expression filled in. *ret_late is set when something had to stay. */
json_t *deployment_expand(const struct deployment_expander *r, const json_t *raw, struct str *pointer, bool *ret_late);
