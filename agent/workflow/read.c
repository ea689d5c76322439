/* YAML document → struct workflow, with every fault of the file. */
#include "agent/workflow/workflow_priv.h"
#include "agent/expr/expr.h"

#include <string.h>

static const char *const workflow_keys[] = {"name", "description", "run-name",    "on",  "permissions",
                                            "env",  "defaults",    "concurrency", "jobs"};
static const char *const in_workflow[] = {"github", "inputs", "vars", NULL};
static const char *const in_workflow_env[] = {"github", "inputs", "vars", "secrets", NULL};

/* Names of a map that differ only in case are one name to GitHub. */
static void check_spellings(struct reader *r, const json_t *value)
{
	size_t i;
	const char *key;
	json_t *item, *seen _cleanup_json_ = json_object();
	json_array_foreach((json_t *)(uintptr_t)value, i, item)
	{
		size_t mark = reader_enter_index(r, i);
		check_spellings(r, item);
		reader_leave(r, mark);
	}
	json_object_foreach((json_t *)(uintptr_t)value, key, item)
	{
		_cleanup_(str_done) struct str folded = STR_INIT(1 << 20);
		size_t mark = reader_enter(r, key);
		expr_fold(key, strlen(key), &folded);
		if (json_object_get(seen, str_peek(&folded)) != NULL)
			reader_fault_key(r, "'%.60s' stands here already, in another case", key);
		json_object_set_new(seen, str_peek(&folded), json_true());
		check_spellings(r, item);
		reader_leave(r, mark);
	}
}

static void read_root(struct reader *r, struct workflow *w, const json_t *root)
{
	if (!json_is_object(root)) {
		reader_fault(r, "a workflow must be a map with 'on' and 'jobs'");
		return;
	}
	static const char *const not_empty[] = {"env", "defaults"};
	reader_known_keys(r, root, "a workflow", workflow_keys, ARRAY_SIZE(workflow_keys));
	reader_refuse_empty(r, root, not_empty, ARRAY_SIZE(not_empty));
	w->name = reader_string(r, root, "name", false);
	_cleanup_free_ char *description = reader_string(r, root, "description", false);
	reader_allow(r, in_workflow, 0);
	w->run_name = reader_token(r, root, "run-name");
	w->on = reader_triggers(r, root);
	w->permissions = reader_permissions(r, root);
	reader_allow(r, in_workflow_env, 0);
	w->env = reader_scalars(r, root, "env");
	reader_allow(r, in_workflow, 0);
	w->defaults = reader_defaults(r, root);
	reader_concurrency(r, root, &w->concurrency_group, &w->concurrency_cancel);
	reader_jobs(r, w, root);
}

static struct workflow *read_document(const char *path, struct yaml_doc *doc, struct faults *faults,
                                      struct faults *refusals)
{
	struct reader r = {
		.source = {.doc = doc, .file = 1, .faults = faults}, .refusals = refusals, .at = STR_INIT(8192)};
	struct workflow *w = xcalloc(1, sizeof(*w));
	w->path = xstrdup(path);
	check_spellings(&r, yaml_root(doc));
	read_root(&r, w, yaml_root(doc));
	if (!w->name)
		w->name = xstrdup(path);
	str_done(&r.at);
	return w;
}

static int read_yaml(const char *path, const char *data, size_t len, struct faults *faults, struct yaml_doc **ret,
                     struct err *err)
{
	struct yaml_limits limits = YAML_LIMITS_DEFAULT;
	limits.allow_anchors = true;
	limits.refuse_merge = true;
	limits.twice = faults;
	return yaml_read(path, data, len, &limits, ret, err);
}

int workflow_read(const char *path, const char *data, size_t len, struct faults *faults, struct workflow **ret,
                  struct yaml_doc **ret_doc, struct err *err)
{
	_cleanup_(yaml_freep) struct yaml_doc *doc = NULL;
	size_t before = faults->count;
	int result = read_yaml(path, data, len, faults, &doc, err);
	if (result < 0)
		return result;
	_cleanup_(workflow_freep) struct workflow *w = read_document(path, doc, faults, faults);
	if (faults->count > before)
		result = faults_to_err(faults, doc, err);
	else
		*ret = TAKE(w);
	if (ret_doc)
		*ret_doc = TAKE(doc);
	return result;
}

int workflow_check(const char *path, const char *data, size_t len, struct faults *faults, struct faults *refusals,
                   struct workflow **ret, struct yaml_doc **ret_doc, struct err *err)
{
	int r = read_yaml(path, data, len, faults, ret_doc, err);
	if (r == 0)
		*ret = read_document(path, *ret_doc, faults, refusals);
	return r;
}
