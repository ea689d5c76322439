/* The faults of a file as JSON, for --json and for whoever prints them: a list, by their places, of
 * {"file","line","column","at" (JSON pointer),"text","hint"}; unknown members are absent. The strings may hold secrets: mask before printing. */
#pragma once
#include "base/data/yaml.h"

json_t *deployment_faults_json(const struct faults *faults, const struct yaml_doc *doc);
