/* A `uses:` of an image: a container of it, with the inputs `entryPoint` and `args`. */
#include "agent/worker/actions/container.h"
#include "agent/worker/actions/use.h"

#include "agent/service/wire.h"

#include <strings.h>

static bool takes(const struct job *j, const json_t *reference)
{
	const char *type = wire_string(reference, "type");
	(void)j;
	return type != NULL ? strcasecmp(type, "containerRegistry") == 0 : wire_int(reference, "type", 0) == 2;
}

static int prepare(struct job *j, const struct action_place *place, void **ret_memory, char **ret_shown,
                   struct err *err)
{
	const char *image = wire_string(place->reference, "image");
	(void)j;
	if (image == NULL || image[0] == '\0')
		return err_set(err, ERR_PROTOCOL, "a step names no image");
	*ret_shown = xstrdup(image); /* the step's name has no "docker://", its header has */
	*ret_memory = xstrdup(image);
	return 0;
}

static int run(struct job *j, struct record *r, const json_t *inputs, enum result *ret, struct err *err)
{
	const char *image = r->memory, *args = use_input(inputs, "args");
	_cleanup_free_ char *shown = xasprintf("docker://%s", image);
	struct container_run c = {.image = image, .entrypoint = use_input(inputs, "entryPoint")};
	if (r->parent == NULL && r->type == NULL) {
		r->type = xstrdup("DockerHub");
		r->action_name = xstrdup(shown);
	}
	use_log_head(j, r, shown, inputs);
	if (args != NULL)
		shell_split(args, &c.args);
	r->inputs = inputs;
	int e = container_run(j, r, &c, ret, err);
	r->inputs = NULL;
	strv_done(&c.args);
	return e;
}

const struct action_type action_image = {.takes = takes, .prepare = prepare, .run = run, .release = free, .here = true};
