/* The first rule that fits a job decides, and is named. */
#include "agent/admission/admission_priv.h"

#include <ctype.h>
#include <string.h>

#include "agent/actions/policy.h"
#include "agent/actions/resolve.h"
#include "agent/service/wire.h"

static void lower(char *text)
{
	for (; *text != '\0'; text++)
		*text = (char)tolower((unsigned char)*text);
}

/* Names of people and repositories have no case, refs and paths do. A rule that does not ask fits. */
static bool names(const json_t *rule, const char *what, const char *value, bool any_case)
{
	const json_t *patterns = json_get_array(rule, what);
	_cleanup_free_ char *plain = xstrdup(value);
	size_t i;
	json_t *item;
	if (patterns == NULL)
		return true;
	if (any_case)
		lower(plain);
	json_array_foreach((json_t *)(uintptr_t)patterns, i, item)
	{
		_cleanup_free_ char *pattern = xstrdup(json_string_value(item));
		if (any_case)
			lower(pattern);
		if (str_glob(pattern, plain))
			return true;
	}
	return false;
}

/* A run that somebody ran again has two people: to be let in both must be named, to be refused one is enough. */
static bool names_people(const json_t *rule, const struct admission_job *job, bool allow)
{
	bool first = names(rule, "actors", job->actor, true);
	bool again = job->triggering_actor[0] == '\0' ? first : names(rule, "actors", job->triggering_actor, true);
	return allow ? first && again : first || again;
}

static bool fits(const json_t *rule, const struct admission_job *job)
{
	bool allow = json_get_bool(rule, "allow", false);
	if (allow && ((job->is_public && !json_get_bool(rule, "public", false)) ||
	              (job->fork != NULL && !json_get_bool(rule, "forks", false))))
		return false;
	return names(rule, "repositories", job->repository, true) && names(rule, "workflows", job->workflow, false) &&
	       names(rule, "refs", job->ref, false) && names(rule, "events", job->event, false) &&
	       names_people(rule, job, allow);
}

static bool is_of_type(const json_t *reference, const char *name, int number)
{
	const char *type = wire_string(reference, "type");
	return type != NULL ? strcasecmp(type, name) == 0 : wire_int(reference, "type", 0) == number;
}

static bool is_typed(const json_t *reference, const char *actions_repository)
{
	struct uses uses = {.step = NULL};
	if (!is_of_type(reference, "repository", 1) || uses_resolve(reference, actions_repository, &uses, NULL) < 0)
		return false;
	uses_done(&uses);
	return true;
}

static char *shown(const json_t *reference)
{
	const char *image = wire_string(reference, "image"), *name = wire_string(reference, "name"),
		   *path = wire_string(reference, "path");
	if (is_of_type(reference, "script", 3))
		return xstrdup("a `run:` step");
	return xasprintf("`uses: %.200s%s%.200s`",
	                 image != NULL  ? "docker://"
	                 : name != NULL ? name
	                                : "",
	                 name != NULL && path != NULL && path[0] != '\0' ? "/" : "",
	                 image != NULL  ? image
	                 : path != NULL ? path
	                                : "");
}

/* What a job may hold by the rule that lets it in. NULL: all of it; free() */
static char *find_excess(const json_t *rule, const struct admission_job *job, const char *actions_repository)
{
	const char *steps = json_get_string(rule, "steps"), *actions = json_get_string(rule, "actions");
	bool typed = steps != NULL && strcmp(steps, "typed") == 0;
	size_t i;
	json_t *reference;
	if (typed && job->contained)
		return xstrdup("it asks for a container, and only typed steps may run here");
	json_array_foreach(job->references, i, reference)
	{
		struct err err = ERR_INIT;
		if (is_typed(reference, actions_repository))
			continue;
		_cleanup_free_ char *what = shown(reference);
		if (typed)
			return xasprintf("it has %s, and only typed steps may run here", what);
		if (actions != NULL && !is_of_type(reference, "script", 3) &&
		    policy_allows(actions, reference, &err) < 0)
			return xstrdup(err.frames[0].text);
	}
	return NULL;
}

static void refuse(struct admission_answer *answer, const char *rule, char *reason, const char *hint)
{
	*answer = (struct admission_answer){.rule = xstrdup(rule), .reason = reason, .hint = xstrdup(hint)};
}

static void apply(const json_t *rule, const struct admission_job *job, const char *actions_repository,
                  struct admission_answer *ret)
{
	const char *name = json_get_string(rule, "name");
	if (!json_get_bool(rule, "allow", false)) {
		refuse(ret, name, xstrdup("jobs like this one do not run on this host"), NULL);
		return;
	}
	char *excess = find_excess(rule, job, actions_repository);
	if (excess != NULL) {
		refuse(ret, name, excess, NULL);
		return;
	}
	*ret = (struct admission_answer){
		.admitted = true, .rule = xstrdup(name), .actions = xstrdup(json_get_string(rule, "actions"))};
}

/* Behind the rules of the file: what nobody has thought of does not run. */
static void apply_default(const struct admission *a, const struct admission_job *job, struct admission_answer *ret)
{
	if (job->fork != NULL)
		refuse(ret, "(forks)", xasprintf("it brings in code of %.200s, a stranger to this host", job->fork),
		       "a rule with `allow: true` and `forks: true` in the host's policy lets such jobs in");
	else if (job->is_public)
		refuse(ret, "(public repositories)",
		       xasprintf("%.200s is public, and so anybody's code may come this way", job->repository),
		       "a rule with `allow: true` and `public: true` in the host's policy lets such jobs in");
	else if (a->doc != NULL)
		refuse(ret, "(no rule)", xstrdup("no rule lets it in"),
		       "a rule with `allow: true` that fits it in the host's policy does");
	else
		*ret = (struct admission_answer){.admitted = true, .rule = xstrdup("(no policy)")};
}

void admission_decide(const struct admission *a, const struct admission_job *job, const char *actions_repository,
                      struct admission_answer *ret)
{
	size_t i;
	json_t *rule;
	json_array_foreach((json_t *)(uintptr_t)a->rules, i, rule)
	{
		if (!fits(rule, job))
			continue;
		apply(rule, job, actions_repository, ret);
		return;
	}
	apply_default(a, job, ret);
}

void admission_answer_done(struct admission_answer *answer)
{
	free(answer->rule);
	free(answer->reason);
	free(answer->hint);
	free(answer->actions);
	*answer = (struct admission_answer){0};
}
