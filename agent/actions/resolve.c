#include "agent/actions/resolve.h"

#include "schemas/step_info.h"
#include "base/secret/mask.h"

#include "agent/expr/expr.h"
#include "agent/service/wire.h"

#include <strings.h>

enum { DOCUMENT_MAX = 8 << 20 };

/* "v1", "v1.2" or "v1.2.3" → 1; -1: it names no version. */
static long long major_of(const char *ref)
{
	long long major;
	if (ref[0] != 'v')
		return -1;
	size_t digits = strspn(ref + 1, "0123456789");
	if (digits == 0 || digits > 4 || (ref[1 + digits] != '\0' && ref[1 + digits] != '.'))
		return -1;
	_cleanup_free_ char *text = xstrndup(ref + 1, digits);
	return str_parse_i64(text, 0, 9999, &major) ? major : -1;
}

static int refuse_version(const struct uses *u, struct err *err)
{
	int r;
	if (major_of(u->ref) >= 0)
		r = err_set(err, ERR_UNSUPPORTED, "uses: %s asks for major version %lld, this agent is version %s",
		            u->shown, major_of(u->ref), DAVIT_VERSION);
	else
		r = err_set(err, ERR_UNSUPPORTED,
		            "uses: %s asks for '%s', which names no version; this agent is version %s", u->shown,
		            u->ref, DAVIT_VERSION);
	return err_hint(err, r, "write %s@v%d, or run it on an agent of that version", u->action, DAVIT_MAJOR);
}

static int resolve_own(const char *path, struct uses *u, struct err *err)
{
	if (major_of(u->ref) != DAVIT_MAJOR || strchr(u->ref, '.') != NULL)
		return refuse_version(u, err);
	if (path == NULL || path[0] == '\0') {
		u->kind = USES_DEPLOY;
		return 0;
	}
	if (!str_starts(path, "actions/") || path[strlen("actions/")] == '\0' ||
	    strchr(path + strlen("actions/"), '/') != NULL) {
		int r = err_set(err, ERR_UNSUPPORTED, "uses: %s is not an action of this repository", u->shown);
		return err_hint(err, r, "its actions are actions/NAME; `davit schema` lists the names");
	}
	u->kind = strcmp(path, "actions/setup") == 0 ? USES_SETUP : USES_TYPED;
	u->step = xstrdup(path + strlen("actions/"));
	return 0;
}

int uses_resolve(const json_t *reference, const char *actions_repository, struct uses *ret, struct err *err)
{
	const char *name = wire_string(reference, "name"), *path = wire_string(reference, "path"),
		   *ref = wire_string(reference, "ref");
	if (name == NULL || ref == NULL || strcasecmp(name, actions_repository) != 0)
		return err_set(err, ERR_UNSUPPORTED, "uses: %s is not an action of %s", name != NULL ? name : "",
		               actions_repository);
	struct uses u = {.ref = xstrdup(ref)};
	bool sub = path != NULL && path[0] != '\0';
	u.action = xasprintf("%s%s%s", name, sub ? "/" : "", sub ? path : "");
	u.shown = xasprintf("%s@%s", u.action, ref);
	int r = resolve_own(path, &u, err);
	if (r < 0)
		uses_done(&u);
	else
		*ret = u;
	return r;
}

void uses_done(struct uses *u)
{
	free(u->step);
	free(u->shown);
	free(u->action);
	free(u->ref);
	*u = (struct uses){.step = NULL};
}

bool uses_document(const struct uses *u, const json_t *inputs, const json_t *job, struct str *text)
{
	_cleanup_json_ json_t *document = json_object(), *given = json_object();
	const char *name;
	json_t *value;
	/* Treats an empty input as one that is not given, as in an action.yml without default. */
	json_object_foreach((json_t *)inputs, name, value) if (json_string_length(value) > 0)
		json_object_set(given, name, value);
	json_object_set(document, u->kind == USES_DEPLOY ? "deploy" : "input", given);
	json_object_set(document, "job", (json_t *)job);
	return json_text_secret(document, text);
}

void uses_arguments(const struct uses *u, const char *program, const char *ret_argv[6])
{
	size_t n = 0;
	ret_argv[n++] = program;
	ret_argv[n++] = u->kind == USES_DEPLOY ? "deploy" : "step";
	if (u->kind != USES_DEPLOY)
		ret_argv[n++] = u->step;
	ret_argv[n++] = "--input";
	ret_argv[n++] = "-";
	ret_argv[n] = NULL;
}

bool uses_only_looks(const struct uses *u)
{
	const struct step_info *info = u->kind == USES_TYPED ? step_info(u->step) : NULL;
	/* A whole deployment decides at its own end. */
	return u->kind != USES_TYPED || (info != NULL && !info->changes);
}

static void set_member(json_t *job, const char *name, const json_t *context, const char *member)
{
	json_t *value = expr_member(context, member, strlen(member));
	if (json_is_string(value))
		json_object_set(job, name, value);
	else if (json_is_integer(value))
		json_object_set_new(job, name, json_stringf("%lld", (long long)json_integer_value(value)));
}

static void set_text(json_t *job, const char *name, const char *text)
{
	if (text != NULL && text[0] != '\0')
		json_object_set_new(job, name, json_string_lossy(text, strlen(text)));
}

static void set_run_url(json_t *job)
{
	const char *server = json_get_string(job, "server"), *repository = json_get_string(job, "repository");
	const char *run = json_get_string(job, "run_id");
	if (server != NULL && repository != NULL && run != NULL)
		json_object_set_new(job, "run_url", json_stringf("%s/%s/actions/runs/%s", server, repository, run));
}

/* True if an input holds it as it is, or in one of the forms that an expression may have given it. */
static bool is_named(const json_t *secret, const json_t *inputs)
{
	_cleanup_(mask_freep) struct mask *mask = mask_new();
	const char *name;
	json_t *value;
	mask_add(mask, json_string_value(secret), json_string_length(secret));
	json_object_foreach((json_t *)inputs, name,
	                    value) if (json_is_string(value) && mask_finds(mask, json_string_value(value),
	                                                                   json_string_length(value))) return true;
	return false;
}

/* Of the events that a pull request begins. */
static void set_pull_request(json_t *job, const json_t *github)
{
	const char *name = json_get_string(github, "event_name");
	json_t *pull = json_get_object(json_get_object(github, "event"), "pull_request");
	if (name != NULL && str_starts(name, "pull_request") && pull != NULL)
		json_object_set(job, "pull_request", pull);
}

json_t *uses_job(const struct uses_job *in)
{
	static const struct {
		const char *name, *member;
	} from_github[] = {
		{"server", "server_url"}, {"repository", "repository"},
		{"run_id", "run_id"},     {"attempt", "run_attempt"},
		{"job", "job"},           {"token", "token"},
		{"api_url", "api_url"},   {"commit", "sha"},
		{"ref", "ref"},           {"actor", "actor"},
	};
	json_t *job = json_object(), *masks = json_array(), *value;
	const char *name;
	for (size_t i = 0; i < ARRAY_SIZE(from_github); i++)
		set_member(job, from_github[i].name, in->github, from_github[i].member);
	set_run_url(job);
	set_pull_request(job, in->github);
	if (json_is_object(in->matrix))
		json_object_set(job, "matrix", (json_t *)in->matrix);
	set_text(job, "tracking_id", in->tracking_id);
	set_text(job, "workspace", in->workspace);
	set_text(job, "environment", in->environment);
	set_text(job, "on_failure", in->on_failure);
	set_text(job, "status", in->status);
	json_object_foreach((json_t *)in->secrets, name,
	                    value) if (json_string_length(value) > 0 && is_named(value, in->inputs))
		json_array_append(masks, value);
	json_object_set_new(job, "masks", masks);
	if (json_object_size(in->env) > 0)
		json_object_set(job, "env", (json_t *)in->env);
	if (in->isolation != NULL)
		json_object_set(job, "isolation", (json_t *)(uintptr_t)in->isolation);
	return job;
}
