/* strangers: what people without any right to a repository choose, as titles and branches, where it becomes part of a script. */
#include "agent/validate/validate.h"
#include "agent/expr/expr.h"
#include "base/core/mem.h"

#include <string.h>
#include <strings.h>

static bool is_in(const char *name, const char *const *names, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (strcasecmp(name, names[i]) == 0)
			return true;
	return false;
}

/* Below it, names and titles are those that the repository's own people gave. */
static bool has_owner(const char *const *path, size_t count)
{
	static const char *const events[] = {"repository", "inputs",     "organization", "enterprise",
	                                     "workflow",   "deployment", "installation"};
	static const char *const anywhere[] = {"base", "label", "labels", "milestone"};
	static const char *const runs[] = {"workflow_run", "check_run", "check_suite", "workflow_job"};
	bool owned = is_in(path[2], events, ARRAY_SIZE(events)) ||
	             (count == 4 && is_in(path[2], runs, ARRAY_SIZE(runs)) && strcasecmp(path[3], "name") == 0);
	/* The label of a pull request's head is a fork's branch: the last name is no container. */
	for (size_t i = 2; i + 1 < count; i++)
		owned |= is_in(path[i], anywhere, ARRAY_SIZE(anywhere));
	return owned;
}

/* toJSON of it: all its texts. */
static bool is_whole(const char *const *path, size_t count)
{
	static const char *const objects[] = {"issue",          "pull_request", "comment",     "review",
	                                      "review_comment", "commits",      "head_commit", "discussion",
	                                      "workflow_run",   "pages",        "release",     "changes"};
	if (strcasecmp(path[0], "github") != 0 || (count > 2 && strcasecmp(path[1], "event") != 0))
		return false;
	return count <= 3 || (count == 4 && is_in(path[2], objects, ARRAY_SIZE(objects))) ||
	       (count == 5 && strcasecmp(path[2], "pull_request") == 0 && strcasecmp(path[3], "head") == 0);
}

/* Titles, bodies, names of branches, messages, names and addresses of authors. */
static bool is_strangers(const char *const *path, size_t count)
{
	static const char *const last[] = {"title",          "body",     "message",       "ref",
	                                   "label",          "name",     "email",         "page_name",
	                                   "default_branch", "head_ref", "display_title", "head_branch"};
	if (strcmp(path[count - 1], "**") == 0)
		return is_whole(path, count);
	if (strcasecmp(path[0], "github") != 0 || count < 2)
		return false;
	if (strcasecmp(path[1], "head_ref") == 0 && count == 2)
		return true;
	return strcasecmp(path[1], "event") == 0 && count > 3 && is_in(path[count - 1], last, ARRAY_SIZE(last)) &&
	       !has_owner(path, count);
}

struct search {
	const json_t *const *envs;
	size_t env_count;
	void (*seen)(void *user, const char *what);
	void *user;
};

static void note_first(void *user, const char *what)
{
	char **first = user;
	if (*first == NULL)
		*first = xstrdup(what);
}

/* A variable of the workflow, the job or the step, the nearest one, which is filled in as well. */
static void look_behind(const struct search *s, const char *name)
{
	const char *value = NULL;
	for (size_t i = 0; value == NULL && i < s->env_count; i++)
		value = json_get_string(s->envs[i], name);
	_cleanup_free_ char *first = NULL;
	if (value != NULL)
		validate_each_stranger(value, NULL, 0, note_first, &first);
	_cleanup_free_ char *what = first != NULL ? xasprintf("%s in env.%.100s", first, name) : NULL;
	if (what != NULL)
		s->seen(s->user, what);
}

static void look_at_path(void *user, const char *const *path, size_t count)
{
	const struct search *s = user;
	if (count == 2 && strcasecmp(path[0], "env") == 0)
		look_behind(s, path[1]);
	if (!is_strangers(path, count))
		return;
	_cleanup_(str_done) struct str what = STR_INIT(8192);
	if (strcmp(path[count - 1], "**") == 0)
		str_append(&what, "parts of ");
	for (size_t i = 0; i < count && strcmp(path[i], "**") != 0; i++)
		str_appendf(&what, "%s%.100s", i > 0 ? "." : "", path[i]);
	s->seen(s->user, str_peek(&what));
}

void validate_each_stranger(const char *text, const json_t *const *envs, size_t env_count,
                            void (*seen)(void *user, const char *what), void *user)
{
	_cleanup_free_ char *expr = NULL;
	struct search search = {.envs = envs, .env_count = env_count, .seen = seen, .user = user};
	if (expr_is_template(text) && expr_from_template(text, &expr, NULL) >= 0 && expr != NULL)
		expr_paths(expr, EXPR_PATHS_TEXT, look_at_path, &search, NULL);
}
