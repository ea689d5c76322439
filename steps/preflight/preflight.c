/* preflight: checks everything that can be known before the first change, all findings at once. Each target is queried in one go. */
#include "providers/github/rest.h"
#include "steps/common/paths.h"
#include "base/sys/fs.h"
#include "schemas/preflight.h"

#include <ctype.h>

static void describe(const struct step_context *c, struct str *out)
{
	const struct preflight_in *in = c->input;
	str_appendf(out, "check %zu target%s", c->target_count, c->target_count == 1 ? "" : "s");
	if (in->secrets.count > 0)
		str_appendf(out, ", %zu secret%s", in->secrets.count, in->secrets.count == 1 ? "" : "s");
	if (in->paths.count + in->disk.count > 0)
		str_append(out, ", paths and disk");
	if (in->tools.count > 0)
		str_append(out, ", tools");
	if (in->permissions.count > 0)
		str_append(out, ", the token's permissions");
}

static void item_pointer(struct str *at, const char *member, size_t index)
{
	str_appendf(at, "/%s", member);
	faults_pointer_push_index(at, index);
}

static void check_secrets(const struct preflight_in *in, struct faults *faults)
{
	for (size_t i = 0; i < in->secrets.count; i++) {
		const json_t *value = json_object_get(in->values, in->secrets.items[i]);
		_cleanup_(str_done) struct str at = STR_INIT(256);
		item_pointer(&at, "secrets", i);
		if (json_is_string(value) && json_string_length(value) > 0)
			continue;
		if (value == NULL)
			faults_add(faults, NULL, str_peek(&at), "the secret '%s' is missing", in->secrets.items[i]);
		else
			faults_add(faults, NULL, str_peek(&at), "the secret '%s' is empty", in->secrets.items[i]);
		faults_hint(faults, "a secret arrives only when the workflow hands it over, and only if it exists in "
		                    "the environment, the repository or the organisation");
	}
}

static void missing(const struct step_context *c, struct faults *faults)
{
	check_secrets(c->input, faults);
}

/* "2G", "500M", bytes. */
static bool parse_size(const char *text, int64_t *ret)
{
	char *end;
	if (!isdigit((unsigned char)*text))
		return false;
	unsigned long long n = strtoull(text, &end, 10);
	int shift = 0;
	switch (toupper((unsigned char)*end)) {
	case 'K':
		shift = 10;
		break;
	case 'M':
		shift = 20;
		break;
	case 'G':
		shift = 30;
		break;
	case 'T':
		shift = 40;
		break;
	case '\0':
		break;
	default:
		return false;
	}
	if (shift != 0)
		end++;
	if (toupper((unsigned char)*end) == 'B' && shift != 0)
		end++;
	if (*end != '\0' || n > (unsigned long long)INT64_MAX >> shift)
		return false;
	*ret = (int64_t)(n << shift);
	return true;
}

static void check_paths_given(const struct preflight_in *in, struct faults *faults)
{
	int64_t bytes;
	for (size_t i = 0; i < in->paths.count; i++) {
		_cleanup_(str_done) struct str at = STR_INIT(256);
		item_pointer(&at, "paths", i);
		free(step_target_path(in->paths.items[i], str_peek(&at), faults));
	}
	for (size_t i = 0; i < in->disk.count; i++) {
		_cleanup_(str_done) struct str at = STR_INIT(1024);
		str_append(&at, "/disk");
		faults_pointer_push(&at, in->disk.items[i].key);
		if (in->disk.items[i].key[0] != '/')
			faults_add(faults, NULL, str_peek(&at), "'%s' is not absolute", in->disk.items[i].key);
		if (!parse_size(in->disk.items[i].value, &bytes)) {
			faults_add(faults, NULL, str_peek(&at), "'%s' is not a size", in->disk.items[i].value);
			faults_hint(faults, "2G, 500M, or bytes");
		}
	}
}

static void validate(const struct step_context *c, struct faults *faults)
{
	const struct preflight_in *in = c->input;
	if (in->file != NULL && *in->file != '\0') {
		faults_add(faults, NULL, "/file", "`file` is for a preflight that stands alone in a job");
		faults_hint(faults, "inside a deployment file, this file's own targets and steps are checked");
	}
	check_paths_given(in, faults);
	for (size_t i = 0; i < in->tools.count; i++) {
		_cleanup_(str_done) struct str at = STR_INIT(256);
		item_pointer(&at, "tools", i);
		if (in->tools.items[i][0] == '\0' || strchr(in->tools.items[i], '\n') != NULL)
			faults_add(faults, NULL, str_peek(&at), "not the name of a command");
	}
}

static void add_error(struct faults *faults, const char *pointer, const struct err *err)
{
	char line[1024];
	faults_add(faults, NULL, pointer, "%s", err_line(err, line, sizeof(line)));
	if (err->hint[0] != '\0')
		faults_hint(faults, "%s", err->hint);
}

/* The nearest existing directory, and whether it can be written. */
static const char path_script[] =
	"p=$P\n"
	"if [ -e \"$p\" ] && [ ! -d \"$p\" ]; then echo \"is not a directory\"; exit 1; fi\n"
	"while [ ! -d \"$p\" ]; do p=${p%/*}; [ -n \"$p\" ] || p=/; done\n"
	"[ -w \"$p\" ] && [ -x \"$p\" ] && exit 0\n"
	"[ \"$p\" = \"$P\" ] && echo \"cannot be written\" || echo \"cannot be made: $p cannot be written\"\n"
	"exit 1\n";

static int check_path(struct view *v, const char *path, const char *pointer, struct faults *faults, struct err *err)
{
	const struct field_pair env[] = {{"P", path}};
	_cleanup_(str_done) struct str out = STR_INIT(64 << 10);
	int r = step_ask(v, path_script, env, 1, NULL, &out, err);
	if (r <= 0)
		return r;
	while (out.len > 0 && out.data[out.len - 1] == '\n')
		str_truncate(&out, out.len - 1);
	faults_add(faults, NULL, pointer, "'%s' on '%s' %s by '%s'", path, v->name,
	           out.len > 0 ? out.data : "cannot be used", v->facts.user);
	faults_hint(faults, "give the target `become: sudo`, or that user the right to write there");
	return 0;
}

static int check_disk(struct view *v, const struct field_pair *wanted, struct faults *faults, struct err *err)
{
	int64_t need = 0, have = 0;
	_cleanup_(str_done) struct str at = STR_INIT(1024);
	str_append(&at, "/disk");
	faults_pointer_push(&at, wanted->key);
	if (!parse_size(wanted->value, &need))
		return 0;
	/* The nearest existing directory tells the file system. */
	_cleanup_free_ char *path = xstrdup(wanted->key);
	for (;;) {
		struct node node = {0};
		int r = host_stat(v, path, &node, err);
		if (r < 0)
			return r;
		bool there = node.type != NODE_ABSENT;
		node_done(&node);
		char *slash = strrchr(path, '/');
		if (there || slash == NULL)
			break;
		slash[slash == path] = '\0';
		if (strcmp(path, "/") == 0)
			break;
	}
	int r = host_space(v, path, &have, err);
	if (r < 0)
		return r;
	if (have >= need)
		return 0;
	faults_add(faults, NULL, str_peek(&at), "'%s' on '%s' has %lld MiB free, %s are wanted", wanted->key, v->name,
	           (long long)(have >> 20), wanted->value);
	faults_hint(faults, "make room there, or ask for less");
	return 0;
}

static int check_tools(struct view *v, const struct field_strings *tools, struct faults *faults, struct err *err)
{
	for (size_t i = 0; i < tools->count; i++) {
		const struct field_pair env[] = {{"T", tools->items[i]}};
		_cleanup_(str_done) struct str at = STR_INIT(256);
		item_pointer(&at, "tools", i);
		int r = step_ask(v, "command -v -- \"$T\" >/dev/null 2>&1 || command -v \"$T\" >/dev/null 2>&1", env, 1,
		                 NULL, NULL, err);
		if (r < 0)
			return r;
		if (r != 0) {
			faults_add(faults, NULL, str_peek(&at), "the command '%s' is not on '%s'", tools->items[i],
			           v->name);
			faults_hint(faults, "install it there, or give its directory to the PATH of '%s'",
			            v->facts.user);
		}
	}
	return 0;
}

static int check_target(const struct preflight_in *in, struct target *t, struct faults *faults, struct err *err)
{
	struct view *v = &t->view;
	int r = 0;
	for (size_t i = 0; r == 0 && i < in->paths.count; i++) {
		_cleanup_(str_done) struct str at = STR_INIT(256);
		item_pointer(&at, "paths", i);
		r = check_path(v, in->paths.items[i], str_peek(&at), faults, err);
	}
	for (size_t i = 0; r == 0 && i < in->disk.count; i++)
		r = check_disk(v, &in->disk.items[i], faults, err);
	return r == 0 ? check_tools(v, &in->tools, faults, err) : r;
}

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
	str_append(&at, "/permissions");
	faults_pointer_push(&at, wanted->key);
	if (p == NULL) {
		faults_add(faults, NULL, str_peek(&at), "the permission '%s' cannot be checked", wanted->key);
		faults_hint(faults, "contents, deployments, issues, pull-requests, statuses");
		return 0;
	}
	_cleanup_free_ char *path = fill_path(writes ? p->write_path : p->read_path, c->deployment->repository);
	int r = rest_call(c, c->deployment->token, writes ? "POST" : "GET", path, nothing, &reply, &err);
	if (r == ERR_CANCELLED)
		return r;
	_cleanup_free_ char *name = xasprintf("%s: %s", wanted->key, wanted->value);
	if (r == 0 && reply.status != 401 && reply.status != 403 && reply.status != 404)
		return 0;
	if (r == 0)
		rest_refused(&reply, "the token lacks a permission", name, &err);
	add_error(faults, str_peek(&at), &err);
	return 0;
}

static int check_token(const struct step_context *c, struct faults *faults, struct err *err)
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

static int check(const struct step_context *c, struct faults *faults, struct err *err)
{
	const struct preflight_in *in = c->input;
	/* Here and not among the faults of the input, which would prevent all other checks. */
	check_secrets(in, faults);
	for (size_t i = 0; i < c->target_count; i++) {
		struct target *t = c->targets[i];
		struct err own = ERR_INIT;
		int r = target_open(&t->view, &own);
		if (r == 0 && c->report != NULL)
			c->report(c->engine, "'%s': %s as '%s', %s", t->view.name, t->view.facts.hostname,
			          t->view.facts.user, t->view.facts.identity);
		if (r == 0)
			r = check_target(in, t, faults, &own);
		if (r == ERR_CANCELLED) {
			*err = own;
			return r;
		}
		if (r < 0) {
			err_wrap(&own, r, "target '%s'", t->view.name);
			add_error(faults, "", &own);
		}
	}
	return check_token(c, faults, err);
}

const struct step_type preflight_step = {
	.info = &preflight_info,
	.describe = describe,
	.validate = validate,
	.missing = missing,
	.check = check,
};
