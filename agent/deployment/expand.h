/* The expressions in a deployment file. A string that is one whole ${{ … }} keeps the type of its value; inside other text the
 * value becomes a string. A name of secrets, vars, env or inputs that has no value is a fault unless the expression gives another with ||.
 * An expression that refers to `steps`, `resources`, `deployment` or `secrets` is late while that context does not exist: it stays as it is until then. */
#pragma once
#include "base/data/yaml.h"

struct deployment_expander {
	const json_t *contexts;     /* object: name → object; borrowed */
	const struct yaml_doc *doc; /* for positions; may be NULL */
	struct faults *faults;
	/* The names of resources that the step itself makes: what refers to them is left to it. NULL: not known yet. */
	const json_t *own;
};
/* A new value with every expression filled in. *ret_late is set when something had to stay. */
json_t *deployment_expand(const struct deployment_expander *r, const json_t *raw, struct str *pointer, bool *ret_late);
