/* What the files of this directory share: the rules as they were read. */
#pragma once
#include "agent/admission/admission.h"
#include "base/data/yaml.h"

struct admission {
	struct yaml_doc *doc; /* NULL: there is no file */
	const json_t *rules;  /* borrowed from doc */
};
