/* places: where directories of this machine are in the job's container [11.3], and what the job's expressions see of that. */
#include "agent/worker/containers/containers.h"

#include "base/sys/fs.h"

enum { PLACES = 4 };

struct place {
	const char *here, *there;
};

bool containers_inside(const struct job *j)
{
	return j->containers != NULL && j->containers->inside;
}

const char *containers_network(const struct job *j)
{
	return j->containers != NULL ? j->containers->network : NULL;
}

/* The rest behind the directory, whole components only; NULL: the value lies elsewhere. */
static const char *behind(const char *value, const char *directory)
{
	size_t len = strlen(directory);
	return strncmp(value, directory, len) == 0 && (value[len] == '\0' || value[len] == '/') ? value + len : NULL;
}

/* In the order in which they are looked at: a tool directory in the work area is there through it. */
static char *moved(const struct job *j, const char *value, bool inwards)
{
	_cleanup_free_ char *home = fs_join(j->temp, "_github_home"), *workflow = fs_join(j->temp, "_github_workflow");
	const struct place places[PLACES] = {
		{home, "/github/home"}, {workflow, "/github/workflow"}, {j->work, "/__w"}, {j->tools, "/__t"}};
	for (size_t i = 0; i < PLACES; i++) {
		const char *rest = behind(value, inwards ? places[i].here : places[i].there);
		if (rest != NULL)
			return xasprintf("%s%s", inwards ? places[i].there : places[i].here, rest);
	}
	return xstrdup(value);
}

char *containers_inside_path(const struct job *j, const char *value)
{
	return containers_inside(j) ? moved(j, value, true) : xstrdup(value);
}

char *containers_outside(const struct job *j, const char *value)
{
	return containers_inside(j) ? moved(j, value, false) : xstrdup(value);
}

static json_t *context_inside(const struct job *j, const json_t *context)
{
	json_t *copy = json_copy((json_t *)(uintptr_t)context), *value;
	const char *name;
	json_object_foreach((json_t *)(uintptr_t)context, name, value)
	{
		if (!json_is_string(value) || strcmp(name, "host-workspace") == 0)
			continue;
		_cleanup_free_ char *inside = moved(j, json_string_value(value), true);
		json_object_set_new(copy, name, json_string(inside));
	}
	return copy;
}

json_t *containers_contexts(const struct job *j)
{
	static const char *const names[] = {"github", "runner"};
	if (!containers_inside(j))
		return json_incref(j->contexts);
	json_t *contexts = json_copy(j->contexts);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		json_object_set_new(contexts, names[i], context_inside(j, json_object_get(contexts, names[i])));
	return contexts;
}
