/* Only the places of releases, and the certificates that gates ask for. */
#include "agent/deployment/certificates.h"
#include "agent/deployment/file_priv.h"

/* The step of an item of `steps:` that makes releases or asks for certificates; NULL: it is another one. */
static const struct step_info *placed_step(const json_t *item)
{
	const char *key;
	json_t *value;
	json_object_foreach((json_t *)item, key, value)
	{
		const struct step_info *info = step_info(key);
		if (info != NULL && (info->releases != NULL || info->certificates != NULL))
			return info;
	}
	return NULL;
}

/* Removes everything that no release needs before it is filled in, so that its secrets are not needed. A removed step leaves its
 * place: the others keep their positions. */
static json_t *leave_places(const json_t *raw)
{
	static const char *const heads[] = {"name", "environment", "targets", "state"};
	json_t *left = json_object(), *steps = json_array(), *item;
	size_t index;
	for (size_t i = 0; i < ARRAY_SIZE(heads); i++)
		if (json_object_get(raw, heads[i]) != NULL)
			json_object_set(left, heads[i], json_object_get(raw, heads[i]));
	json_array_foreach(json_object_get(raw, "steps"), index, item)
	{
		const struct step_info *info = placed_step(item);
		const json_t *given = info ? json_object_get(item, info->name) : NULL;
		const char *const inputs[] = {info && info->releases ? info->releases : "", "target"};
		json_t *certificates = certificates_of(info, given);
		json_t *kept = json_object();
		for (size_t i = 0; i < ARRAY_SIZE(inputs); i++)
			if (json_object_get(given, inputs[i]) != NULL)
				json_object_set(kept, inputs[i], json_object_get(given, inputs[i]));
		if (certificates != NULL)
			json_object_set_new(kept, info->certificates, certificates);
		json_array_append_new(steps, json_pack("{s:o}", info ? info->name : "left out", kept));
	}
	json_object_set_new(left, "steps", steps);
	return left;
}

static void read_place(struct reader *r, const struct step_info *info, json_t *input, size_t index)
{
	struct str pointer _cleanup_(str_done) = STR_INIT(POINTER_MAX);
	str_appendf(&pointer, "/steps/%zu/%s", index, info->name);
	if (json_object_get(r->d->late, str_peek(&pointer)) != NULL)
		return;
	json_t *names = file_step_targets(r, input, &pointer);
	json_t *certificates = certificates_of(info, input);
	if (certificates != NULL) {
		json_array_append_new(
			json_object_get(r->d->deployment, "steps"),
			json_pack("{s:s, s:{s:o}}", "step", info->name, "input", info->certificates, certificates));
	}
	if (info->releases == NULL) {
		json_decref(names);
		return;
	}
	const char *path = json_get_string(input, info->releases);
	faults_pointer_push(&pointer, info->releases);
	if (path == NULL || path[0] != '/')
		faults_add(&r->faults, r->d->yaml, str_peek(&pointer), "must be an absolute path");
	else
		json_array_append_new(json_object_get(r->d->deployment, "steps"),
		                      json_pack("{s:s, s:O, s:{s:s}}", "step", info->name, "target", names, "input",
		                                info->releases, path));
	json_decref(names);
}

static void read_places(struct reader *r)
{
	size_t index;
	json_t *item;
	file_copy_heads(r);
	file_read_targets(r);
	json_object_set_new(r->d->deployment, "steps", json_array());
	json_array_foreach(json_object_get(r->root, "steps"), index, item)
	{
		const struct step_info *info = placed_step(item);
		if (info != NULL)
			read_place(r, info, json_object_get(item, info->name), index);
	}
}

int deployment_file_places(const char *path, const struct deployment_values *values, json_t **ret, json_t **ret_faults,
                           struct err *err)
{
	struct deployment_file *d _cleanup_(deployment_file_freep) = file_document_new(values);
	struct deployment_source source _cleanup_(deployment_source_done) = {0};
	struct reader reader _cleanup_(file_reader_done) = {.d = d};
	int r = file_read_yaml(path, &reader, &source, err);
	if (r < 0)
		return r;
	json_t *left _cleanup_json_ = leave_places(yaml_root(d->yaml));
	reader.root = file_resolve_root(&reader, left);
	r = file_check_schema(&reader, false, err);
	if (r < 0)
		return r;
	read_places(&reader);
	r = file_end(&reader, path, ret_faults, err);
	if (r == 0)
		*ret = json_incref(d->deployment);
	return r;
}
