/* YAML document → struct workflow, with every fault of the file. */
#include "agent/workflow/workflow_priv.h"
#include "agent/expr/expr.h"

#include <string.h>

static const char *const workflow_keys[] = {"name", "run-name", "on",          "permissions",
                                            "env",  "defaults", "concurrency", "jobs"};
static const char *const in_workflow[] = {"github", "inputs", "vars", NULL};
static const char *const in_workflow_env[] = {"github", "inputs", "vars", "secrets", NULL};

int workflow_read(const char *path, const char *data, size_t len, struct faults *faults, struct workflow **ret,
                  struct yaml_doc **ret_doc, struct err *err)
{
	struct yaml_limits limits = YAML_LIMITS_DEFAULT;
	limits.allow_anchors = true;
	limits.refuse_merge = true;
	_cleanup_(yaml_freep) struct yaml_doc *doc = NULL;
	int result = yaml_read(path, data, len, &limits, &doc, err);
	if (result < 0)
		return result;
	struct reader r = {.source = {.doc = doc, .file = 1, .faults = faults}, .at = STR_INIT(8192)};
	size_t before = faults->count;
	_cleanup_(workflow_freep) struct workflow *w = xcalloc(1, sizeof(*w));
	w->path = xstrdup(path);
	json_t *root = yaml_root(doc);
	if (json_is_object(root)) {
		reader_known_keys(&r, root, "a workflow", workflow_keys, ARRAY_SIZE(workflow_keys));
		w->name = reader_string(&r, root, "name", false);
		reader_allow(&r, in_workflow, 0);
		w->run_name = reader_token(&r, root, "run-name");
		w->on = reader_triggers(&r, root);
		w->permissions = reader_permissions(&r, root);
		reader_allow(&r, in_workflow_env, 0);
		w->env = reader_scalars(&r, root, "env");
		reader_allow(&r, in_workflow, 0);
		w->defaults = reader_defaults(&r, root);
		reader_concurrency(&r, root, &w->concurrency_group, &w->concurrency_cancel);
		reader_jobs(&r, w, root);
	} else {
		reader_fault(&r, "a workflow must be a map with 'on' and 'jobs'");
	}
	if (!w->name)
		w->name = xstrdup(path);
	str_done(&r.at);
	if (faults->count > before)
		result = faults_to_err(faults, doc, err);
	else
		*ret = TAKE(w);
	if (ret_doc)
		*ret_doc = TAKE(doc);
	return result;
}
