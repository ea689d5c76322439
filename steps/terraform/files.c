/* What the configuration's files say of where the state lies, before anything is asked of that place. */
#include "steps/terraform/terraform.h"
#include "providers/terraform/backend.h"

enum { CHECK_MS = 60000 };

static const char reading[] =
	"part() { n=$(wc -c <\"$3\") && printf 'davit %s %s %s\\n' \"$1\" \"$2\" $((n)) && cat \"$3\"; }\n"
	"r=$(pwd -P) && printf 'davit real 0 %s\\n%s' $(printf %s \"$r\" | wc -c) \"$r\"\n"
	"[ ! -L terraform.tfstate ] || printf 'davit linked 0 0\\n'\n"
	"for f in *.tf *.tofu *.tf.json *.tofu.json; do [ -f \"$f\" ] && grep -qE 'backend|cloud' \"$f\" || continue\n"
	" case $f in *.json) part json 0 \"$f\";; *) part hcl 0 \"$f\";; esac\n"
	"done\n";

struct found {
	struct terraform_backend backend;
	char *real;
	bool linked;
};

static void found_done(struct found *f)
{
	terraform_backend_done(&f->backend);
	free(f->real);
}

static void read_answer(const struct str *answer, struct found *f)
{
	struct terraform_part part;
	size_t at = 0;
	while (terraform_part_next(answer, &at, &part)) {
		if (strcmp(part.name, "real") == 0 && f->real == NULL)
			f->real = xstrndup(part.data, part.len);
		else if (strcmp(part.name, "linked") == 0)
			f->linked = true;
		else
			terraform_backend_find(part.data, part.len, strcmp(part.name, "json") == 0, &f->backend);
	}
}

/* *ret_there: the directory can be read. */
static int read_files(const struct step_context *c, struct view *v, struct found *f, bool *ret_there, struct err *err)
{
	_cleanup_free_ char *directory = NULL;
	_cleanup_(str_done) struct str script = STR_INIT(16384);
	_cleanup_(target_result_done) struct target_result said = TARGET_RESULT_INIT;
	int r = terraform_directory(c, v, &directory, err);
	if (r < 0)
		return r;
	str_append(&script, "cd -- ");
	str_append_shell(&script, directory);
	str_append(&script, " 2>/dev/null || exit 3\n");
	str_append(&script, reading);
	const struct target_command command = {
		.script = str_peek(&script), .timeout_ms = CHECK_MS, .max_output = TERRAFORM_FILE_MAX};
	r = host_query(v, &command, &said, err);
	*ret_there = r == 0 && said.status != 3;
	if (r == 0)
		read_answer(&said.out, f);
	return r;
}

static bool has_variable(const void *context, const char *name)
{
	const struct terraform_in *in = context;
	for (size_t i = 0; i < in->env.count; i++)
		if (strcmp(in->env.items[i].key, name) == 0)
			return true;
	return false;
}

/* backend_config fills in what the files leave open. */
static void add_settings(const struct terraform_in *in, struct terraform_backend *b)
{
	for (size_t i = 0; b->type != NULL && i < in->backend_config.count; i++)
		json_set_string(b->settings, in->backend_config.items[i].key, in->backend_config.items[i].value);
}

static const char local_hint[] =
	"give the configuration a backend, an absolute `path`, or let `terraform.tfstate` be a link out of it (`shared` of "
	"archive-upload)";

static void check_local(const struct step_context *c, const struct found *f, struct faults *faults)
{
	const struct terraform_in *in = c->input;
	const char *path = terraform_backend_get(&f->backend, "path");
	if (f->linked || (path != NULL && *path == '/') || f->real == NULL)
		return;
	if (strstr(f->real, "/releases/") != NULL)
		faults_add(faults, NULL, "/directory", "the state lies in the release '%s', and goes with it", f->real);
	else if (*in->directory != '/' && c->deployment->run_url != NULL)
		faults_add(faults, NULL, "/directory", "the state lies in the checkout of a job, which is thrown away");
	else if (*in->directory != '/')
		faults_warn(faults, "/directory",
		            "the state lies in the source tree: another machine does not know it");
	else
		return;
	faults_hint(faults, "%s", local_hint);
}

static void check_backend(const struct step_context *c, struct found *f, struct faults *faults)
{
	const struct terraform_in *in = c->input;
	struct terraform_quirks quirks = {0};
	add_settings(in, &f->backend);
	if (f->backend.type == NULL || strcmp(f->backend.type, "local") == 0)
		check_local(c, f, faults);
	terraform_backend_quirks(&f->backend, in->workspace, has_variable, in, &quirks);
	for (size_t i = 0; i < quirks.count; i++) {
		const struct terraform_quirk *q = &quirks.items[i];
		if (q->unlocked && in->unlocked) {
			faults_warn(faults, "/directory", "%s", q->text);
			continue;
		}
		faults_add(faults, NULL, "/directory", "%s", q->text);
		if (q->hint != NULL)
			faults_hint(faults, "%s%s", q->hint,
			            q->unlocked ? "; `unlocked: true` goes on without, at the state's risk" : "");
	}
	terraform_quirks_done(&quirks);
}

static int look_through(const struct step_context *c, struct view *v, struct faults *faults, struct err *err)
{
	_cleanup_(found_done) struct found f = {0};
	bool there = false;
	int r = read_files(c, v, &f, &there, err);
	/* One that is not there is the plan's to tell. */
	if (r == 0 && there)
		check_backend(c, &f, faults);
	return r;
}

/* What lies in the source tree is there already. */
int terraform_check(const struct step_context *c, struct faults *faults, struct err *err)
{
	const struct terraform_in *in = c->input;
	int r = 0;
	for (size_t i = 0; r == 0 && *in->directory != '/' && i < c->target_count; i++)
		r = look_through(c, &c->targets[i]->view, faults, err);
	return r;
}

int terraform_check_there(const struct step_context *c, struct view *v, struct strv *warnings, struct err *err)
{
	const struct terraform_in *in = c->input;
	struct faults faults = {0};
	int r = *in->directory == '/' ? look_through(c, v, &faults, err) : 0;
	if (r == 0)
		r = faults_to_err(&faults, NULL, err);
	for (size_t i = 0; r == 0 && i < faults.warning_count; i++)
		strv_add(warnings, faults.warnings[i].text);
	faults_done(&faults);
	return r;
}
