/* The permissions of the job's token. */
#include "providers/github/rest.h"
#include "steps/preflight/preflight.h"

/* Requests that change nothing: reading ones, and incomplete ones, which a token with the permission gets refused as
 * 422. */
struct permission {
	const char *name;
	const char *read_path, *write_path;
};
static const struct permission permissions[] = {
	{"contents", "/repos/%s/commits?per_page=1", "/repos/%s/git/refs"},
	{"deployments", "/repos/%s/deployments?per_page=1", "/repos/%s/deployments"},
	{"issues", "/repos/%s/issues?per_page=1", "/repos/%s/issues"},
	{"pull-requests", "/repos/%s/pulls?per_page=1", "/repos/%s/pulls"},
	{"statuses", "/repos/%s/commits/HEAD/status", "/repos/%s/statuses/0000000000000000000000000000000000000000"},
};

static const struct permission *find_permission(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(permissions); i++) {
		if (strcmp(permissions[i].name, name) == 0)
			return &permissions[i];
	}
	return NULL;
}

static char *fill_path(const char *form, const char *repository)
{
	const char *mark = strstr(form, "%s");
	return xasprintf("%.*s%s%s", (int)(mark - form), form, repository, mark + 2);
}

static int check_permission(const struct step_context *c, const struct field_pair *wanted, struct faults *faults)
{
	const struct permission *p = find_permission(wanted->key);
	bool writes = strcmp(wanted->value, "write") == 0;
	_cleanup_(str_done) struct str at = STR_INIT(1024);
	_cleanup_(rest_reply_done) struct rest_reply reply = {0};
	_cleanup_json_ json_t *nothing = writes ? json_object() : NULL;
	struct err err = ERR_INIT;
	preflight_at_key(&at, "permissions", wanted->key);
	if (p == NULL) {
		faults_add(faults, NULL, str_peek(&at), "the permission '%s' cannot be checked", wanted->key);
		faults_hint(faults, "contents, deployments, issues, pull-requests, statuses");
		return 0;
	}
	_cleanup_free_ char *path = fill_path(writes ? p->write_path : p->read_path, c->deployment->repository);
	const struct rest g = rest_of_step(c, c->deployment->token);
	int r = rest_call(&g, writes ? "POST" : "GET", path, nothing, &reply, &err);
	if (r == ERR_CANCELLED)
		return r;
	_cleanup_free_ char *name = xasprintf("%s: %s", wanted->key, wanted->value);
	if (r == 0 && reply.status != 401 && reply.status != 403 && reply.status != 404)
		return 0;
	if (r == 0)
		rest_refused(&reply, "the token lacks a permission", name, &err);
	preflight_add_error(faults, str_peek(&at), &err);
	return 0;
}

int preflight_check_token(const struct step_context *c, struct faults *faults, struct err *err)
{
	const struct preflight_in *in = c->input;
	if (in->permissions.count == 0)
		return 0;
	if (c->deployment->repository == NULL || c->deployment->token == NULL) {
		faults_add(faults, NULL, "/permissions", "there is no %s to check",
		           c->deployment->repository == NULL ? "repository" : "token");
		faults_hint(faults, "inside a workflow: token: ${{ github.token }}");
		return 0;
	}
	for (size_t i = 0; i < in->permissions.count; i++) {
		if (check_permission(c, &in->permissions.items[i], faults) < 0)
			return err_set(err, ERR_CANCELLED, "cancelled");
	}
	return 0;
}
