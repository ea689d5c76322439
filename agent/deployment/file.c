/* Reads a file from its YAML on, and answers for what was read. */
#include "agent/deployment/expand.h"
#include "agent/deployment/file_priv.h"
#include "agent/deployment/replay.h"
#include "agent/deployment/typed.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct deployment_file *file_document_new(const struct deployment_values *values)
{
	struct deployment_file *d = xcalloc(1, sizeof(*d));
	d->arena.wipe = true;
	d->deployment = json_object();
	d->late = json_object();
	d->contexts = json_object();
	if (values != NULL) {
		json_object_set(d->contexts, "secrets", values->secrets);
		json_object_set(d->contexts, "vars", values->vars);
		json_object_set(d->contexts, "inputs", values->inputs);
		json_object_set(d->contexts, "env", values->env);
		json_object_set(d->contexts, "github", values->github);
	}
	return d;
}

void file_reader_done(struct reader *r)
{
	faults_done(&r->faults);
	json_decrefp(&r->root);
	strv_done(&r->target_names);
	for (size_t i = 0; i < r->lacking_count; i++)
		free(r->lacking[i].pointer);
	free(r->lacking);
}

static const char *relative_to(const char *root, const char *path)
{
	size_t len = strlen(root);
	return strncmp(path, root, len) == 0 && path[len] == '/' ? path + len + 1 : path;
}

/* Other faults end it here, before a step's own check. So what is missing is reported with them, all at once. */
static void name_what_is_missing(struct reader *r)
{
	for (size_t i = 0; r->faults.count > 0 && i < r->lacking_count; i++) {
		struct str pointer _cleanup_(str_done) = STR_INIT(POINTER_MAX);
		size_t before = r->faults.count;
		str_append(&pointer, r->lacking[i].pointer);
		r->lacking[i].context.type->missing(&r->lacking[i].context, &r->faults);
		file_lift_faults(r, before, &pointer);
	}
}

int file_faults_end(struct reader *r, const char *what, json_t **ret_faults, struct err *err)
{
	if (r->faults.count == 0)
		return 0;
	*ret_faults = deployment_faults_json(&r->faults, r->d->yaml);
	return err_set(err, ERR_INVALID, "%s: %zu fault%s, nothing was changed", what, r->faults.count,
	               r->faults.count == 1 ? "" : "s");
}

int file_read_yaml(const char *path, struct reader *r, struct deployment_source *source, struct err *err)
{
	struct yaml_limits limits = YAML_LIMITS_DEFAULT;
	limits.allow_anchors = true;
	limits.keep_octal = true;
	struct stat st;
	if (stat(path, &st) == 0 && !S_ISREG(st.st_mode)) {
		int refused = err_set(err, ERR_INVALID, "%s is %s, not a file", path,
		                      S_ISDIR(st.st_mode) ? "a directory" : "a pipe or device");
		return err_hint(err, refused, "name a deployment file, as in: davit deploy deploy/production.yml");
	}
	int e = deployment_source_find(path, true, source, err);
	if (e < 0)
		return err_hint(err, e, "name a deployment file, as in: davit deploy deploy/production.yml");
	r->source = source;
	e = yaml_read_file(path, &limits, &r->d->yaml, err);
	if (e < 0)
		return e;
	return json_is_object(yaml_root(r->d->yaml)) ? 0 : err_set(err, ERR_INVALID, "%s is not a map", path);
}

int file_end(struct reader *r, const char *path, json_t **ret_faults, struct err *err)
{
	int e = file_faults_end(r, path, ret_faults, err);
	return e < 0 ? err_hint(err, e, "fix what is listed above; `davit schema deployment` shows the form") : 0;
}

int deployment_file_read(const char *path, const struct deployment_values *values, struct deployment_file **ret,
                         json_t **ret_faults, struct err *err)
{
	struct deployment_file *d _cleanup_(deployment_file_freep) = file_document_new(values);
	struct deployment_source source _cleanup_(deployment_source_done) = {0};
	struct reader reader _cleanup_(file_reader_done) = {.d = d};
	int r = file_read_yaml(path, &reader, &source, err);
	if (r < 0)
		return r;
	const json_t *raw = yaml_root(d->yaml);
	reader.root = file_resolve_root(&reader, raw);
	r = file_check_schema(&reader, true, err);
	if (r < 0)
		return r;
	file_read_body(&reader, raw);
	file_check_references(&reader, raw);
	name_what_is_missing(&reader);
	r = file_end(&reader, path, ret_faults, err);
	if (r < 0)
		return r;
	_cleanup_free_ char *real = realpath(path, NULL);
	json_object_set_new(d->deployment, "file", json_string(relative_to(source.root, real ? real : path)));
	json_t *kept = replay_make(raw, d->deployment, d->late, d->contexts);
	if (kept != NULL)
		json_object_set_new(d->deployment, "kept", kept);
	*ret = TAKE(d);
	return 0;
}

/* ---- what was read ---- */

json_t *deployment_file_object(const struct deployment_file *d)
{
	return d->deployment;
}

void deployment_file_remove_step(struct deployment_file *d, size_t index)
{
	json_array_remove(json_object_get(d->deployment, "steps"), index);
	if (index >= d->read.step_count)
		return;
	d->read.step_count--;
	memmove(&d->steps[index], &d->steps[index + 1], (d->read.step_count - index) * sizeof(*d->steps));
}

const struct deployment *deployment_file_deployment(struct deployment_file *d)
{
	d->read.json = d->deployment;
	d->read.steps = d->steps;
	d->read.targets = d->targets;
	return &d->read;
}

static int resolve_late(void *context, int step_index, const json_t *contexts, json_t **ret_input, struct err *err)
{
	struct deployment_file *d = context;
	char number[16];
	snprintf(number, sizeof(number), "%d", step_index);
	const json_t *raw = json_object_get(d->late, number);
	if (raw == NULL) {
		*ret_input = NULL;
		return 0;
	}
	struct faults faults = {0};
	json_t *all _cleanup_json_ = json_copy(d->contexts);
	json_object_update(all, (json_t *)contexts);
	json_t *own _cleanup_json_ = file_own_resources(raw);
	struct deployment_expander resolver = {all, d->yaml, &faults, own};
	struct str pointer _cleanup_(str_done) = STR_INIT(POINTER_MAX);
	bool late = false;
	str_appendf(&pointer, "/steps/%d", step_index);
	json_t *filled = deployment_expand(&resolver, raw, &pointer, &late);
	int r = faults_to_err(&faults, d->yaml, err);
	faults_done(&faults);
	if (r < 0) {
		json_decref(filled);
		return r;
	}
	const json_t *step = json_array_get(json_object_get(d->deployment, "steps"), (size_t)step_index);
	deployment_typed_step(json_get_string(step, "step"), raw, filled);
	json_object_del(filled, "target");
	*ret_input = filled;
	return 0;
}

void deployment_file_bind(struct deployment_file *d, struct engine_options *options)
{
	options->resolve = resolve_late;
	options->resolve_context = d;
	if (!json_get_bool(d->deployment, "seal", true))
		options->seal = false;
}

void deployment_file_set_job(struct deployment_file *d, const char *repository, const char *run_url,
                             const char *api_url, const char *token, const char *commit, const char *ref)
{
	const struct {
		const char *key, *value;
	} members[] = {
		{"repository", repository}, {"run_url", run_url}, {"api_url", api_url},
		{"token", token},           {"commit", commit},   {"ref", ref},
	};
	for (size_t i = 0; i < ARRAY_SIZE(members); i++)
		if (members[i].value != NULL && members[i].value[0] != '\0')
			json_object_set_new(d->deployment, members[i].key, json_stringf("%s", members[i].value));
}

void deployment_file_free(struct deployment_file *d)
{
	if (d == NULL)
		return;
	json_decref(d->deployment);
	json_decref(d->contexts);
	json_decref(d->late);
	yaml_doc_free(d->yaml);
	arena_done(&d->arena);
	free(d->steps);
	free(d->targets);
	free(d);
}

void deployment_file_freep(struct deployment_file **d)
{
	deployment_file_free(*d);
	*d = NULL;
}
