/* Whose a container, a network or a volume is: compose labels what it makes. */
#include "providers/docker/docker.h"

enum { LOOK_MS = 60000 };

int docker_name_owner(const struct docker *d, enum docker_name_kind kind, const char *name, char **ret, struct err *err)
{
	static const char *const words[] = {"container", "network", "volume"};
	_cleanup_(str_done) struct str script = STR_INIT(64 << 10);
	_cleanup_(target_result_done) struct target_result said = TARGET_RESULT_INIT;
	str_appendf(&script, "docker %s inspect --format '{{index %s.Labels \"com.docker.compose.project\"}}' -- ",
	            words[kind], kind == DOCKER_CONTAINER ? ".Config" : "");
	str_append_shell(&script, name);
	/* Where the engine answers, there is none of that name. */
	str_append(&script, " || { docker version --format '{{.Server.Version}}' >/dev/null && exit 44; }\n");
	const struct docker_call call = {.script = str_peek(&script), .timeout_ms = LOOK_MS};
	int r = docker_ask(d, &call, &said, err);
	if (r < 0)
		return err_wrap(err, r, "look whose '%s' on '%s' is", name, d->v->name);
	if (said.status != 0)
		return 0;
	*ret = docker_last_line(&said.out);
	if (strcmp(*ret, "<no value>") == 0)
		**ret = '\0';
	return 0;
}
