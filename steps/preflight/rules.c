/* The rules of an environment on GitHub, which would otherwise stop the job of the next push, or this one behind its back. */
#include "providers/github/rest.h"
#include "steps/preflight/preflight.h"

#include <fnmatch.h>

enum { NAMES_MAX = 30 };

struct rules {
	const struct step_context *c;
	const char *environment, *repository;
	struct faults *faults;
};

/* ERR_NOT_FOUND: the answer is 404. Another refusal is a finding, and *ret stays NULL. */
static int get(const struct rules *x, const char *path, json_t **ret, struct err *err)
{
	_cleanup_(rest_reply_done) struct rest_reply reply = {0};
	struct err own = ERR_INIT;
	const struct rest g = rest_of_step(x->c, x->c->deployment->token);
	int r = rest_call(&g, "GET", path, NULL, &reply, &own);
	if (r == ERR_CANCELLED) {
		*err = own;
		return r;
	}
	if (r == 0 && reply.status == 404)
		return ERR_NOT_FOUND;
	if (r == 0 && reply.status / 100 == 2) {
		*ret = json_incref(reply.body);
		return 0;
	}
	if (r == 0)
		rest_refused(&reply, "the environment cannot be read", "actions: read", &own);
	preflight_add_error(x->faults, "/environment", &own);
	return 0;
}

static char *escaped(const char *text)
{
	_cleanup_(str_done) struct str out = STR_INIT(4096);
	for (; *text != '\0'; text++) {
		bool plain = strchr("-._~", *text) != NULL || (*text >= '0' && *text <= '9') ||
		             ((*text | 0x20) >= 'a' && (*text | 0x20) <= 'z');
		str_appendf(&out, plain ? "%c" : "%%%02X", (unsigned char)*text);
	}
	return str_take(&out);
}

static void append_names(const json_t *list, struct str *out)
{
	size_t i;
	json_t *one;
	json_array_foreach((json_t *)(uintptr_t)list, i, one)
	{
		const char *name = json_get_string(one, "name");
		if (name != NULL && i < NAMES_MAX)
			str_appendf(out, "%s%s", out->len > 0 ? ", " : "", name);
	}
}

static int say_missing(const struct rules *x, struct err *err)
{
	_cleanup_free_ char *path = xasprintf("/repos/%s/environments?per_page=%d", x->repository, NAMES_MAX);
	_cleanup_json_ json_t *all = NULL;
	_cleanup_(str_done) struct str names = STR_INIT(8192);
	int r = get(x, path, &all, err);
	if (r < 0 && r != ERR_NOT_FOUND)
		return r;
	append_names(json_object_get(all, "environments"), &names);
	faults_add(x->faults, NULL, "/environment", "%s has no environment '%s'", x->repository, x->environment);
	if (names.len > 0)
		faults_hint(x->faults, "there are: %s", str_peek(&names));
	else
		faults_hint(x->faults, "make it in the repository's settings, under Environments");
	return 0;
}

static void say_refusal(const struct rules *x, const char *ref, const char *rule)
{
	faults_add(x->faults, NULL, "/ref", "the environment '%s' of %s does not let '%s' in: %s", x->environment,
	           x->repository, ref, rule);
	faults_hint(x->faults,
	            "deploy from a branch or tag that it lets in, or change the rule: the repository's settings, "
	            "Environments, '%s', \"Deployment branches and tags\"",
	            x->environment);
}

/* `refs/heads/NAME`, `refs/tags/NAME`, or a name, which is a branch. */
static const char *split_ref(const char *ref, bool *ret_tag)
{
	*ret_tag = str_starts(ref, "refs/tags/");
	if (*ret_tag)
		return ref + strlen("refs/tags/");
	return str_starts(ref, "refs/heads/") ? ref + strlen("refs/heads/") : ref;
}

static int check_protected(const struct rules *x, const char *ref, struct err *err)
{
	bool tag;
	const char *name = split_ref(ref, &tag);
	_cleanup_free_ char *part = escaped(name), *path = xasprintf("/repos/%s/branches/%s", x->repository, part);
	_cleanup_json_ json_t *branch = NULL;
	int r = tag ? ERR_NOT_FOUND : get(x, path, &branch, err);
	if (r < 0 && r != ERR_NOT_FOUND)
		return r;
	if (r == ERR_NOT_FOUND || (branch != NULL && !json_get_bool(branch, "protected", false)))
		say_refusal(x, ref, "only protected branches are, and this is none");
	return 0;
}

static int check_patterns(const struct rules *x, const char *ref, struct err *err)
{
	bool tag;
	const char *name = split_ref(ref, &tag);
	_cleanup_free_ char *part = escaped(x->environment);
	_cleanup_free_ char *path =
		xasprintf("/repos/%s/environments/%s/deployment-branch-policies?per_page=100", x->repository, part);
	_cleanup_json_ json_t *answer = NULL;
	_cleanup_(str_done) struct str names = STR_INIT(8192);
	size_t i;
	json_t *one;
	int r = get(x, path, &answer, err);
	if (r < 0 || answer == NULL)
		return r == ERR_NOT_FOUND ? 0 : r;
	const json_t *list = json_object_get(answer, "branch_policies");
	json_array_foreach((json_t *)(uintptr_t)list, i, one)
	{
		const char *pattern = json_get_string(one, "name"), *type = json_get_string(one, "type");
		bool of_tags = type != NULL && strcmp(type, "tag") == 0;
		if (pattern != NULL && of_tags == tag && fnmatch(pattern, name, FNM_PATHNAME) == 0)
			return 0;
	}
	append_names(list, &names);
	_cleanup_free_ char *rule = xasprintf("only %s %s", names.len > 0 ? str_peek(&names) : "nothing",
	                                      names.len > 0 ? "are" : "is, since it has no patterns");
	say_refusal(x, ref, rule);
	return 0;
}

/* Those do not refuse, they hold a job back. */
static void warn_of_waits(const struct rules *x, const json_t *environment)
{
	size_t i;
	json_t *rule;
	json_array_foreach(json_object_get(environment, "protection_rules"), i, rule)
	{
		const char *type = json_get_string(rule, "type");
		if (type != NULL && strcmp(type, "wait_timer") == 0)
			faults_warn(x->faults, "/environment",
			            "the environment '%s' holds each job back for %lld minutes", x->environment,
			            (long long)json_get_int(rule, "wait_timer", 0));
		else if (type != NULL && strcmp(type, "required_reviewers") == 0)
			faults_warn(x->faults, "/environment", "the environment '%s' waits for a review of each job",
			            x->environment);
		else
			continue;
		faults_hint(x->faults, "set in the repository's settings, Environments, '%s'", x->environment);
	}
}

static int check_environment(const struct rules *x, const char *ref, struct err *err)
{
	_cleanup_free_ char *part = escaped(x->environment),
			    *path = xasprintf("/repos/%s/environments/%s", x->repository, part);
	_cleanup_json_ json_t *environment = NULL;
	int r = get(x, path, &environment, err);
	if (r == ERR_NOT_FOUND)
		return say_missing(x, err);
	if (r < 0 || environment == NULL)
		return r;
	const json_t *policy = json_object_get(environment, "deployment_branch_policy");
	warn_of_waits(x, environment);
	if (ref == NULL || !json_is_object(policy))
		return 0;
	return json_get_bool(policy, "protected_branches", false) ? check_protected(x, ref, err)
	                                                          : check_patterns(x, ref, err);
}

int preflight_check_rules(const struct step_context *c, struct faults *faults, struct err *err)
{
	const struct preflight_in *in = c->input;
	const struct step_deployment *d = c->deployment;
	const struct rules x = {.c = c, .environment = in->environment, .repository = d->repository, .faults = faults};
	if (in->environment == NULL)
		return 0;
	if (d->repository == NULL || d->token == NULL) {
		faults_add(faults, NULL, "/environment", "there is no %s to ask for its rules",
		           d->repository == NULL ? "repository" : "token");
		faults_hint(faults, "inside a workflow: token: ${{ github.token }}");
		return 0;
	}
	return check_environment(&x, in->ref, err);
}
