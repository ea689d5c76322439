/* manifest: the file's upper level: inputs, outputs, and what it is run by. */
#include "agent/actions/manifest_priv.h"

#include "agent/expr/expr.h"

#include <strings.h>

enum { FAULTS_MAX = 10, FAULTS_TEXT_MAX = 1500 };

void manifest_fault(struct manifest_look *l, const char *fmt, ...)
{
	va_list args;
	char *text = NULL;
	va_start(args, fmt);
	if (vasprintf(&text, fmt, args) < 0)
		abort();
	va_end(args);
	faults_add(&l->faults, l->doc, str_peek(&l->at), "%s", text);
	free(text);
}

size_t manifest_enter(struct manifest_look *l, const char *key)
{
	size_t mark = l->at.len;
	faults_pointer_push(&l->at, key);
	return mark;
}

void manifest_known_keys(struct manifest_look *l, const json_t *object, const char *what, const char *const *names,
                         size_t count)
{
	faults_check_keys(&l->faults, l->doc, &l->at, object, what, names, count);
}

json_t *manifest_token(struct manifest_look *l, const json_t *object, const char *key, const char *const *contexts,
                       int flags)
{
	json_t *value = json_object_get(object, key);
	if (value == NULL || json_is_null(value))
		return NULL;
	struct template_source source = {
		.doc = l->doc, .file = 1, .faults = &l->faults, .names = contexts, .flags = flags};
	size_t mark = manifest_enter(l, key);
	json_t *token = template_from_yaml(&source, value, str_peek(&l->at));
	str_truncate(&l->at, mark);
	return token;
}

/* A scalar as the string that it stands for; NULL: there is none. */
char *manifest_text(struct manifest_look *l, const json_t *object, const char *key)
{
	json_t *value = json_object_get(object, key);
	if (value == NULL || json_is_null(value))
		return NULL;
	char *text = template_literal(value);
	size_t mark = manifest_enter(l, key);
	if (text == NULL)
		manifest_fault(l, "'%s' must be a text", key);
	else if (expr_is_template(text))
		manifest_fault(l, "'%s' cannot hold an expression", key);
	str_truncate(&l->at, mark);
	return text;
}

/* ---- inputs and outputs ---- */

static bool repeats(const json_t *before, const char *name)
{
	return expr_member(before, name, strlen(name)) != NULL;
}

static void read_inputs(struct manifest_look *l, const json_t *root)
{
	static const char *const contexts[] = {"github", "strategy", "matrix", "job", "runner", NULL};
	json_t *inputs = json_object_get(root, "inputs"), *input;
	const char *name;
	size_t mark = manifest_enter(l, "inputs");
	if (inputs != NULL && !json_is_object(inputs) && !json_is_null(inputs))
		manifest_fault(l, "'inputs' must be a map");
	json_object_foreach(inputs, name, input)
	{
		size_t inner = manifest_enter(l, name);
		if (!json_is_object(input) && !json_is_null(input))
			manifest_fault(l, "an input must be a map");
		if (repeats(l->manifest->inputs, name))
			manifest_fault(l, "'%s' is already defined", name);
		json_t *read = json_object(),
		       *token = manifest_token(l, input, "default", contexts, EXPR_WITH_HASH_FILES);
		_cleanup_free_ char *deprecation = manifest_text(l, input, "deprecationMessage");
		if (token != NULL)
			json_object_set_new(read, "default", token);
		json_set_string(read, "deprecation", deprecation);
		json_object_set_new(l->manifest->inputs, name, read);
		str_truncate(&l->at, inner);
	}
	str_truncate(&l->at, mark);
}

static void read_outputs(struct manifest_look *l, const json_t *root)
{
	static const char *const contexts[] = {"github", "strategy", "matrix", "steps", "inputs",
	                                       "job",    "runner",   "env",    NULL};
	static const char *const keys[] = {"description", "value"};
	json_t *outputs = json_object_get(root, "outputs"), *output;
	const char *name;
	size_t mark = manifest_enter(l, "outputs");
	if (outputs != NULL && !json_is_object(outputs) && !json_is_null(outputs))
		manifest_fault(l, "'outputs' must be a map");
	json_object_foreach(outputs, name, output)
	{
		size_t inner = manifest_enter(l, name);
		if (json_is_object(output))
			manifest_known_keys(l, output, "an output", keys, ARRAY_SIZE(keys));
		else if (!json_is_null(output))
			manifest_fault(l, "an output must be a map");
		json_t *token = l->manifest->kind == MANIFEST_COMPOSITE
		                        ? manifest_token(l, output, "value", contexts, 0)
		                        : NULL;
		if (token != NULL)
			json_object_set_new(l->manifest->outputs, name, token);
		str_truncate(&l->at, inner);
	}
	str_truncate(&l->at, mark);
}

/* ---- runs ---- */

static char *read_stage_condition(struct manifest_look *l, const json_t *runs, const char *key)
{
	static const char *const contexts[] = {"github", "inputs", "job",   "runner", "strategy",
	                                       "matrix", "steps",  "needs", "env",    NULL};
	char *text = manifest_text(l, runs, key);
	if (text == NULL)
		return xstrdup("always()");
	struct err err = ERR_INIT;
	char line[1024];
	size_t mark = manifest_enter(l, key);
	if (expr_check(text, contexts, EXPR_WITH_STATUS | EXPR_WITH_HASH_FILES, &err) < 0)
		manifest_fault(l, "%s", err_line(&err, line, sizeof(line)));
	str_truncate(&l->at, mark);
	return text;
}

static void read_node(struct manifest_look *l, const json_t *runs)
{
	static const char *const keys[] = {"using", "main", "pre", "pre-if", "post", "post-if"};
	struct action_manifest *m = l->manifest;
	m->kind = MANIFEST_NODE;
	manifest_known_keys(l, runs, "'runs' of a JavaScript action", keys, ARRAY_SIZE(keys));
	m->main = manifest_text(l, runs, "main");
	m->pre = manifest_text(l, runs, "pre");
	m->post = manifest_text(l, runs, "post");
	m->pre_if = read_stage_condition(l, runs, "pre-if");
	m->post_if = read_stage_condition(l, runs, "post-if");
	if (m->main == NULL || m->main[0] == '\0')
		manifest_fault(l, "a JavaScript action needs 'main', its script");
}

static void read_composite(struct manifest_look *l, const json_t *runs)
{
	static const char *const keys[] = {"using", "steps"};
	l->manifest->kind = MANIFEST_COMPOSITE;
	manifest_known_keys(l, runs, "'runs' of a composite action", keys, ARRAY_SIZE(keys));
	manifest_steps_read(l, runs);
}

static bool is_image(const char *text)
{
	const char *name = strrchr(text, '/') != NULL ? strrchr(text, '/') + 1 : text;
	size_t len = strlen(name), word = strlen("Dockerfile");
	return strncasecmp(text, "docker://", strlen("docker://")) == 0 ||
	       (len >= word && strcasecmp(name + len - word, "Dockerfile") == 0) ||
	       strncasecmp(name, "Dockerfile.", word + 1) == 0;
}

static void read_docker(struct manifest_look *l, const json_t *runs)
{
	static const char *const keys[] = {"using",  "image",          "env",    "entrypoint",
	                                   "args",   "pre-entrypoint", "pre-if", "post-entrypoint",
	                                   "post-if"};
	static const char *const contexts[] = {"inputs", NULL};
	struct action_manifest *m = l->manifest;
	json_t *args = json_object_get(runs, "args"), *env = json_object_get(runs, "env");
	m->kind = MANIFEST_DOCKER;
	manifest_known_keys(l, runs, "'runs' of a Docker action", keys, ARRAY_SIZE(keys));
	m->image = manifest_text(l, runs, "image");
	m->entrypoint = manifest_text(l, runs, "entrypoint");
	m->pre_entrypoint = manifest_text(l, runs, "pre-entrypoint");
	m->post_entrypoint = manifest_text(l, runs, "post-entrypoint");
	m->pre_if = read_stage_condition(l, runs, "pre-if");
	m->post_if = read_stage_condition(l, runs, "post-if");
	if (m->image == NULL || m->image[0] == '\0')
		manifest_fault(l, "a Docker action needs 'image'");
	else if (!is_image(m->image))
		manifest_fault(l, "'image' is docker://IMAGE or a file called Dockerfile, not '%.100s'", m->image);
	if (args != NULL && !json_is_array(args) && !json_is_null(args))
		manifest_fault(l, "'args' must be a list");
	if (env != NULL && !json_is_object(env) && !json_is_null(env))
		manifest_fault(l, "'env' must be a map");
	m->args = manifest_token(l, runs, "args", contexts, 0);
	m->env = manifest_token(l, runs, "env", contexts, 0);
}

static void read_runs(struct manifest_look *l, const json_t *root)
{
	static const struct {
		const char *using;
		int node;
	} nodes[] = {{"node12", 12}, {"node16", 16}, {"node20", 20}, {"node24", 24}};
	json_t *runs = json_object_get(root, "runs");
	size_t mark = manifest_enter(l, "runs");
	if (!json_is_object(runs)) {
		manifest_fault(l, "an action needs 'runs', a map");
		str_truncate(&l->at, mark);
		return;
	}
	_cleanup_free_ char *using = manifest_text(l, runs, "using");
	for (size_t i = 0; using != NULL && i < ARRAY_SIZE(nodes); i++)
		if (strcasecmp(using, nodes[i].using) == 0)
			l->manifest->node = nodes[i].node;
	if (l->manifest->node != 0)
		read_node(l, runs);
	else if (using != NULL && strcasecmp(using, "composite") == 0)
		read_composite(l, runs);
	else if (using != NULL && strcasecmp(using, "docker") == 0)
		read_docker(l, runs);
	else
		manifest_fault(
			l,
			"'using: %.40s' is not supported, use 'docker', 'node12', 'node16', 'node20', 'node24' or "
			"'composite' instead.",
			using != NULL ? using : "");
	str_truncate(&l->at, mark);
}

/* ---- all of it ---- */

static int tell_faults(const struct manifest_look *l, const char *name, struct err *err)
{
	_cleanup_(str_done) struct str text = STR_INIT(FAULTS_TEXT_MAX);
	for (size_t i = 0; i < l->faults.count; i++) {
		const struct fault *f = &l->faults.items[i];
		str_appendf(&text, "%s%s (Line: %d, Col: %d): %s", i > 0 ? ", " : "", name, f->mark.line,
		            f->mark.column, f->text);
	}
	return err_set(err, ERR_INVALID, "The template is not valid. %s", str_peek(&text));
}

int action_manifest_read(const char *name, const char *data, size_t len, struct action_manifest *ret, struct err *err)
{
	const struct yaml_limits limits = YAML_LIMITS_DEFAULT;
	_cleanup_(yaml_freep) struct yaml_doc *doc = NULL;
	int r = yaml_read(name, data, len, &limits, &doc, err);
	if (r < 0)
		return r;
	struct action_manifest m = {
		.inputs = json_object(), .outputs = json_object(), .file_table = json_pack("[s]", name)};
	struct manifest_look l = {.doc = doc, .faults = {.max = FAULTS_MAX}, .at = STR_INIT(8192), .manifest = &m};
	if (!json_is_object(yaml_root(doc))) {
		manifest_fault(&l, "an action's file must be a map");
	} else {
		read_runs(&l, yaml_root(doc));
		read_inputs(&l, yaml_root(doc));
		read_outputs(&l, yaml_root(doc));
	}
	if (l.faults.count > 0)
		r = tell_faults(&l, name, err);
	if (r < 0)
		action_manifest_done(&m);
	else
		*ret = m;
	faults_done(&l.faults);
	str_done(&l.at);
	return r;
}

void action_manifest_done(struct action_manifest *m)
{
	json_t *values[] = {m->inputs, m->outputs, m->file_table, m->steps, m->args, m->env};
	char *texts[] = {m->main,  m->pre,        m->post,           m->pre_if,         m->post_if,
	                 m->image, m->entrypoint, m->pre_entrypoint, m->post_entrypoint};
	for (size_t i = 0; i < ARRAY_SIZE(values); i++)
		json_decref(values[i]);
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		free(texts[i]);
	*m = (struct action_manifest){.inputs = NULL};
}
