#include "steps/preflight/preflight.h"

#include "engine/target/each.h"
#include "steps/common/paths.h"

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
	if (in->versions.count > 0)
		str_append(out, ", versions");
	if (in->dns.count > 0)
		str_append(out, ", names");
	if (in->backups.count > 0)
		str_append(out, ", backups");
	if (in->environment != NULL)
		str_appendf(out, ", the rules of %s", in->environment);
}

void preflight_at_index(struct str *at, const char *member, size_t index)
{
	str_appendf(at, "/%s", member);
	faults_pointer_push_index(at, index);
}

void preflight_at_key(struct str *at, const char *member, const char *key)
{
	str_appendf(at, "/%s", member);
	faults_pointer_push(at, key);
}

static void check_secrets(const struct preflight_in *in, struct faults *faults)
{
	for (size_t i = 0; i < in->secrets.count; i++) {
		const json_t *value = json_object_get(in->values, in->secrets.items[i]);
		_cleanup_(str_done) struct str at = STR_INIT(256);
		preflight_at_index(&at, "secrets", i);
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

static void check_paths_given(const struct preflight_in *in, struct faults *faults)
{
	int64_t bytes;
	for (size_t i = 0; i < in->paths.count; i++) {
		_cleanup_(str_done) struct str at = STR_INIT(256);
		preflight_at_index(&at, "paths", i);
		free(step_target_path(in->paths.items[i], str_peek(&at), faults));
	}
	for (size_t i = 0; i < in->disk.count; i++) {
		_cleanup_(str_done) struct str at = STR_INIT(1024);
		preflight_at_key(&at, "disk", in->disk.items[i].key);
		if (in->disk.items[i].key[0] != '/')
			faults_add(faults, NULL, str_peek(&at), "'%s' is not absolute", in->disk.items[i].key);
		if (!preflight_read_size(in->disk.items[i].value, &bytes)) {
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
	preflight_validate_versions(in, faults);
	preflight_validate_backups(in, faults);
	if (in->timeout_ms <= 0)
		faults_add(faults, NULL, "/timeout", "the time must be longer than nothing");
	for (size_t i = 0; i < in->tools.count; i++) {
		_cleanup_(str_done) struct str at = STR_INIT(256);
		preflight_at_index(&at, "tools", i);
		if (in->tools.items[i][0] == '\0' || strchr(in->tools.items[i], '\n') != NULL)
			faults_add(faults, NULL, str_peek(&at), "not the name of a command");
	}
}

void preflight_add_error(struct faults *faults, const char *pointer, const struct err *err)
{
	char line[1024];
	faults_add(faults, NULL, pointer, "%s", err_line(err, line, sizeof(line)));
	if (err->hint[0] != '\0')
		faults_hint(faults, "%s", err->hint);
}

/* ---- the targets, all at the same time ---- */

struct asked {
	const struct step_context *c;
	struct faults *faults; /* of each target */
};

static int ask_host(const struct step_context *c, struct view *v, struct faults *faults, struct err *err)
{
	const struct preflight_in *in = c->input;
	int r = preflight_check_files(in, v, faults, err);
	if (r == 0)
		r = preflight_check_versions(in, v, faults, err);
	if (r == 0)
		r = preflight_check_clock(in, v, faults, err);
	if (r == 0)
		r = preflight_check_names_there(in, v, faults, err);
	return r == 0 ? preflight_check_backups(c, v, faults, err) : r;
}

static int ask(void *context, size_t index, struct view *v, struct err *err)
{
	const struct asked *a = context;
	int r = target_open(v, err);
	return r == 0 && v->type != NULL ? ask_host(a->c, v, &a->faults[index], err) : r;
}

static void take(const struct step_context *c, size_t i, int r, struct err *err, struct faults *own,
                 struct faults *faults)
{
	const struct view *v = &c->targets[i]->view;
	_cleanup_(faults_done) struct faults all = {0};
	if (v->facts.identity != NULL && c->report != NULL)
		c->report(c->engine, "'%s': %s as '%s', %s", v->name, v->facts.hostname, v->facts.user,
		          v->facts.identity);
	faults_move(&all, own);
	if (r < 0) {
		err_wrap(err, r, "target '%s'", v->name);
		preflight_add_error(&all, "", err);
	}
	for (size_t k = 0; k < all.count; k++)
		all.items[k].where = all.items[k].where != NULL ? all.items[k].where : xstrdup(v->name);
	for (size_t k = 0; k < all.warning_count; k++)
		all.warnings[k].where = all.warnings[k].where != NULL ? all.warnings[k].where : xstrdup(v->name);
	faults_move(faults, &all);
}

static int check_targets(const struct step_context *c, struct faults *faults, struct err *err)
{
	const struct preflight_in *in = c->input;
	size_t count = c->target_count;
	_cleanup_free_ struct view **views = xcalloc(count + 1, sizeof(*views));
	_cleanup_free_ struct faults *own = xcalloc(count + 1, sizeof(*own));
	_cleanup_free_ struct err *errs = xcalloc(count + 1, sizeof(*errs));
	_cleanup_free_ int *results = xcalloc(count + 1, sizeof(*results));
	struct asked asked = {.c = c, .faults = own};
	int cancelled = 0;
	for (size_t i = 0; i < count; i++)
		views[i] = &c->targets[i]->view;
	target_each(views, count, c->wait, in->timeout_ms, ask, &asked, results, errs);
	for (size_t i = 0; i < count; i++) {
		if (results[i] == ERR_CANCELLED && cancelled == 0) {
			cancelled = ERR_CANCELLED;
			*err = errs[i];
		}
		take(c, i, results[i], &errs[i], &own[i], faults);
	}
	return cancelled;
}

static int check(const struct step_context *c, struct faults *faults, struct err *err)
{
	/* Here and not among the faults of the input, which would prevent all other checks. */
	check_secrets(c->input, faults);
	int r = check_targets(c, faults, err);
	if (r == 0)
		r = preflight_check_names_here(c, faults, err);
	if (r == 0)
		r = preflight_check_token(c, faults, err);
	return r == 0 ? preflight_check_rules(c, faults, err) : r;
}

const struct step_type preflight_step = {
	.info = &preflight_info,
	.describe = describe,
	.validate = validate,
	.missing = missing,
	.check = check,
};
