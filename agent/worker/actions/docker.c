/* A Docker action: its image, or the one that its Dockerfile makes, with the entry point of the stage. */
#include "agent/worker/actions/container.h"
#include "agent/worker/actions/use.h"

#include "base/sys/fs.h"

#include <strings.h>

/* Its expressions see the inputs only. */
static int eval_args(const struct job *j, const struct action_manifest *m, const json_t *inputs, struct strv *args,
                     json_t *env, struct err *err)
{
	_cleanup_json_ json_t *contexts = json_copy(j->contexts), *list = NULL;
	struct template_scope scope = step_value_scope(j);
	size_t i;
	json_t *item;
	json_object_set(contexts, "inputs", (json_t *)(uintptr_t)inputs);
	scope.expr.contexts = contexts;
	scope.file_table = m->file_table;
	int e = template_eval_strings(m->env, &scope, env, err);
	if (e == 0 && m->args != NULL)
		e = template_eval(m->args, &scope, &list, err);
	json_array_foreach(list, i, item)
	{
		_cleanup_(str_done) struct str text = STR_SECRET_INIT(1 << 20);
		struct expr_value value = EXPR_VALUE_INIT;
		expr_value_from_json(item, &value);
		expr_value_text(&value, &text);
		expr_value_done(&value);
		strv_add(args, str_peek(&text));
	}
	if (m->args == NULL && use_input(inputs, "args") != NULL)
		shell_split(use_input(inputs, "args"), args);
	return e;
}

int use_run_docker(struct job *j, struct record *r, struct use *u, const json_t *inputs, enum result *ret,
                   struct err *err)
{
	const struct action_manifest *m = &u->action->manifest;
	_cleanup_json_ json_t *env = json_object();
	_cleanup_free_ char *dockerfile = fs_join(u->action->directory, m->image);
	struct container_run c = {.entrypoint = r->stage == STAGE_PRE    ? m->pre_entrypoint
	                                        : r->stage == STAGE_POST ? m->post_entrypoint
	                                        : m->entrypoint != NULL  ? m->entrypoint
	                                                                 : use_input(inputs, "entryPoint"),
	                          .env = env};
	if (strncasecmp(m->image, "docker://", strlen("docker://")) == 0)
		c.image = m->image + strlen("docker://");
	else
		c.dockerfile = dockerfile;
	int e = eval_args(j, m, inputs, &c.args, env, err);
	if (e == 0)
		e = container_run(j, r, &c, ret, err);
	strv_done(&c.args);
	return e;
}
