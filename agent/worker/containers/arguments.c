/* arguments: the words of `docker create` [11.5] and `docker exec` [11.6]. */
#include "agent/worker/containers/containers.h"

static void add_pair(struct strv *argv, const char *option, const char *value)
{
	strv_add(argv, option);
	strv_add(argv, value);
}

static void add_all(struct strv *argv, const char *option, const struct strv *values)
{
	for (size_t i = 0; i < values->count; i++)
		add_pair(argv, option, values->items[i]);
}

static void add_environment(const struct container *c, struct mask *mask, struct strv *argv, struct strv *env)
{
	const char *name;
	json_t *value;
	json_object_foreach(c->env, name, value) docker_add_variable(mask, name, json_string_value(value), argv, env);
	docker_add_variable(mask, "GITHUB_ACTIONS", "true", argv, env);
	if (json_object_get(c->env, "CI") == NULL)
		docker_add_variable(mask, "CI", "true", argv, env);
}

/* Labels stand behind the job's options, so that what is left behind is found whatever these say. */
void container_create_arguments(const struct container *c, const struct container_place *p, struct mask *mask,
                                struct strv *argv, struct strv *env)
{
	strv_add(argv, p->program);
	strv_add(argv, "create");
	add_pair(argv, "--name", p->name);
	if (p->workdir != NULL)
		add_pair(argv, "--workdir", p->workdir);
	add_pair(argv, "--network", p->network);
	if (c->alias != NULL)
		add_pair(argv, "--network-alias", c->alias);
	add_all(argv, "-p", &c->ports);
	for (size_t i = 0; i < c->options.count; i++)
		strv_add(argv, c->options.items[i]);
	add_all(argv, "--label", &p->labels);
	add_environment(c, mask, argv, env);
	add_all(argv, "-v", &p->mounts);
	const char *entrypoint = c->alias == NULL ? "tail" : c->entrypoint;
	if (entrypoint != NULL)
		add_pair(argv, "--entrypoint", entrypoint);
	strv_add(argv, c->image);
	if (c->alias == NULL)
		add_pair(argv, "-f", "/dev/null");
	for (size_t i = 0; i < c->command.count; i++)
		strv_add(argv, c->command.items[i]);
}

/* docker ends with its own number when it is signalled, and leaves the program alone: so that says its number first. It leads a process
 * group of its own, as each program that is brought into a container. */
static const char say_pid[] = "{ echo $$ >\"$0\"; } 2>/dev/null; exec \"$@\"";

void container_exec_arguments(const struct container_program *p, const struct strv *variables, struct mask *mask,
                              struct strv *argv, struct strv *env)
{
	strv_add(argv, p->docker);
	strv_add(argv, "exec");
	strv_add(argv, "-i");
	add_pair(argv, "--workdir", p->workdir);
	for (size_t i = 0; i < variables->count; i++) {
		const char *equals = strchr(variables->items[i], '=');
		_cleanup_free_ char *name = xstrndup(variables->items[i], (size_t)(equals - variables->items[i]));
		if (p->path == NULL || strcmp(name, "PATH") != 0)
			docker_add_variable(mask, name, equals + 1, argv, env);
	}
	if (p->path != NULL)
		docker_add_variable(mask, "PATH", p->path, argv, env);
	strv_add(argv, p->id);
	const char *const front[] = {"sh", "-c", say_pid, p->pid_file};
	for (size_t i = 0; i < ARRAY_SIZE(front); i++)
		strv_add(argv, front[i]);
	for (size_t i = 0; i < p->words->count; i++)
		strv_add(argv, p->words->items[i]);
}
