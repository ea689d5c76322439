/* One step as a document of its own. */
#include "agent/deployment/file_priv.h"

#include <string.h>

static json_t *read_map_text(struct reader *r, const char *name, const json_t *given)
{
	struct yaml_doc *doc _cleanup_(yaml_freep) = NULL;
	struct yaml_limits limits = YAML_LIMITS_DEFAULT;
	struct err err = ERR_INIT;
	char line[1024];
	_cleanup_free_ char *pointer = xasprintf("/%s", name);
	const json_t *root = given;
	limits.keep_octal = true;
	if (json_is_string(given)) {
		if (yaml_read(name, json_string_value(given), json_string_length(given), &limits, &doc, &err) < 0) {
			faults_add(&r->faults, NULL, pointer, "%s", err_line(&err, line, sizeof(line)));
			return NULL;
		}
		root = yaml_root(doc);
	}
	if (root == NULL || json_is_null(root))
		return NULL;
	if (json_is_object(root))
		return json_deep_copy(root);
	faults_add(&r->faults, NULL, pointer, "is not a map");
	return NULL;
}

/* `deployment` of a single step; the values themselves are checked with the whole. */
static void check_heads(struct reader *r, const json_t *given)
{
	static const char *const known[] = {"name", "environment", "on_failure"};
	const char *key;
	json_t *value;
	json_object_foreach((json_t *)given, key, value)
	{
		bool found = false;
		for (size_t i = 0; i < ARRAY_SIZE(known); i++)
			found |= strcmp(known[i], key) == 0;
		_cleanup_free_ char *pointer = xasprintf("/deployment/%s", key);
		if (!found) {
			const char *nearest = str_nearest(key, known, ARRAY_SIZE(known));
			faults_add(&r->faults, NULL, pointer, "unknown key '%s'", key);
			if (nearest != NULL)
				faults_hint(&r->faults, "did you mean '%s'?", nearest);
			else
				faults_hint(&r->faults, "name, environment and on_failure can be given");
		} else if (!json_is_string(value)) {
			faults_add(&r->faults, NULL, pointer, "is not a text");
		}
	}
}

static void single_heads(struct reader *r, const struct deployment_single *single)
{
	json_t *parsed = read_map_text(r, "deployment", json_object_get(single->input, "deployment"));
	check_heads(r, parsed);
	if (single->environment_unknown && json_object_get(parsed, "environment") == NULL && r->faults.count == 0) {
		faults_add(&r->faults, NULL, "/deployment",
		           "does not name the environment, and the runner does not tell which one the job has");
		faults_hint(&r->faults,
		            "deployment: { environment: production }; later steps of the job may leave it out");
	}
	struct {
		const char *key, *otherwise;
	} heads[] = {
		{"name", single->name ? single->name : single->step},
		{"environment", single->environment ? single->environment : "local"},
		{"on_failure", single->on_failure},
	};
	for (size_t i = 0; i < ARRAY_SIZE(heads); i++) {
		const char *value = json_get_string(parsed, heads[i].key);
		if (value == NULL)
			value = heads[i].otherwise;
		if (value != NULL)
			json_object_set_new(r->root, heads[i].key, json_string(value));
	}
	json_decref(parsed);
}

/* `target: "[a, b]"`: a list in a string. */
static void read_target_names(struct reader *r, json_t *input)
{
	const char *text = json_get_string(input, "target");
	if (!r->text_values || text == NULL || (text[0] != '[' && !str_starts(text, "- ")))
		return;
	struct yaml_doc *doc _cleanup_(yaml_freep) = NULL;
	struct yaml_limits limits = YAML_LIMITS_DEFAULT;
	struct err err = ERR_INIT;
	char line[1024];
	if (yaml_read("target", text, strlen(text), &limits, &doc, &err) < 0)
		faults_add(&r->faults, NULL, "/target", "%s", err_line(&err, line, sizeof(line)));
	else
		json_object_set_new(input, "target", json_deep_copy(yaml_root(doc)));
}

static void add_known(json_t *targets, const json_t *known, const char *name)
{
	json_t *target = name ? json_object_get(known, name) : NULL;
	if (target != NULL && json_object_get(targets, name) == NULL)
		json_object_set(targets, name, target);
}

/* `targets` of a single step: a map, or a string that holds one. An earlier step of the job defined the targets that it names
 * but does not define. Without `targets` it has those of the job. */
static void single_targets(struct reader *r, json_t *input, const json_t *known)
{
	json_t *given = json_object_get(input, "targets");
	bool empty = given == NULL || (json_is_string(given) && json_string_length(given) == 0);
	json_t *targets = empty ? json_object() : read_map_text(r, "targets", given);
	read_target_names(r, input);
	const json_t *names = json_object_get(input, "target");
	if (targets == NULL)
		targets = json_object();
	size_t index;
	json_t *name;
	add_known(targets, known, json_string_value(names));
	json_array_foreach(names, index, name) add_known(targets, known, json_string_value(name));
	if (empty && names == NULL && known != NULL)
		json_object_update(targets, (json_t *)known);
	if (!empty || json_object_size(targets) > 0)
		json_object_set(r->root, "targets", targets);
	json_decref(targets);
	json_object_del(input, "targets");
}

int deployment_file_single(const struct deployment_single *single, struct deployment_file **ret, json_t **ret_faults,
                           struct err *err)
{
	struct deployment_file *d _cleanup_(deployment_file_freep) = file_document_new(NULL);
	struct deployment_source source _cleanup_(deployment_source_done) = {0};
	struct reader reader _cleanup_(file_reader_done) = {
		.d = d, .source = &source, .text_values = single->text_values};
	int r = deployment_source_find(single->source_root ? single->source_root : ".", single->source_root == NULL,
	                               &source, err);
	if (r < 0)
		return r;
	reader.root = json_object();
	single_heads(&reader, single);
	json_t *input _cleanup_json_ = single->input ? json_deep_copy(single->input) : json_object();
	json_object_del(input, "deployment");
	single_targets(&reader, input, single->known_targets);
	json_t *item _cleanup_json_ = json_object();
	json_object_set(item, single->step, input);
	json_object_set_new(reader.root, "steps", json_pack("[O]", item));
	r = file_check_schema(&reader, true, err);
	if (r < 0)
		return r;
	file_read_body(&reader, reader.root);
	_cleanup_free_ char *what = xasprintf("step %s", single->step);
	r = file_faults_end(&reader, what, ret_faults, err);
	if (r < 0)
		return err_hint(err, r, "fix what is listed above; `davit schema %s` shows the inputs", single->step);
	deployment_file_set_job(d, single->repository, single->run_url, single->api_url, single->token, single->commit,
	                        single->ref);
	*ret = TAKE(d);
	return 0;
}
