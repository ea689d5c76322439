/* One plan: made, read, its file kept in memory until it is applied. On the target nothing is left of it. */
#include "steps/terraform/terraform.h"

#include "base/core/shown.h"
#include "base/secret/digest.h"

enum { LOOK_MS = 1800000, WORDS_SHOWN = 600, NUMBER_MAX = 100 };

void terraform_look_done(struct terraform_look *l)
{
	terraform_plan_done(&l->plan);
	str_done(&l->file);
	free(l->real);
	free(l->lineage);
	*l = (struct terraform_look){0};
}

bool terraform_part_next(const struct str *answer, size_t *at, struct terraform_part *ret)
{
	unsigned long len = 0;
	int used = 0;
	if (*at >= answer->len)
		return false;
	const char *from = answer->data + *at;
	*ret = (struct terraform_part){.status = -1};
	if (sscanf(from, "davit %23[a-z] %d %lu%n", ret->name, &ret->status, &len, &used) != 3 || used <= 0 ||
	    from[used] != '\n' || len > answer->len - *at - (size_t)used - 1)
		return false;
	ret->data = from + used + 1;
	ret->len = len;
	*at += (size_t)used + 1 + len;
	return true;
}

/* ---- what went wrong ---- */

/* The words behind "Error:", else the last ones. */
static int said(const struct terraform_part *p, const char *what, struct err *err)
{
	_cleanup_free_ char *text = xstrndup(p->data, p->len);
	const char *error = strstr(text, "Error: ");
	_cleanup_free_ char *flat = xstrdup(error != NULL ? error + strlen("Error: ") : text);
	for (char *c = flat; *c != '\0'; c++)
		if (*c == '\n' || *c == '\r')
			*c = ' ';
	_cleanup_free_ char *shown = shown_text(flat, strlen(flat), WORDS_SHOWN);
	_cleanup_(str_done) struct str safe = STR_INIT(8 * WORDS_SHOWN);
	str_append_safe(&safe, shown, strlen(shown));
	return err_set(err, ERR_REFUSED, "%s: %s", what, str_peek(&safe));
}

static int init_failed(const struct terraform_part *p, struct err *err)
{
	int r = said(p, "`terraform init` failed", err);
	_cleanup_free_ char *text = xstrndup(p->data, p->len);
	if (strstr(text, "lock file") != NULL || strstr(text, "-lockfile=readonly") != NULL)
		err_hint(
			err, r,
			"the lock file .terraform.lock.hcl is respected: run `terraform init` where you work, and commit it");
	return r;
}

static int invalid(const struct terraform_part *p, struct err *err)
{
	_cleanup_json_ json_t *doc = NULL;
	_cleanup_(str_done) struct str all = STR_INIT(4000);
	size_t i;
	json_t *one;
	if (json_parse(p->data, p->len, TERRAFORM_FILE_MAX, &doc, NULL) < 0)
		return said(p, "`terraform validate` failed", err);
	json_array_foreach(json_get_array(doc, "diagnostics"), i, one)
	{
		const char *summary = json_get_string(one, "summary"), *detail = json_get_string(one, "detail");
		const json_t *range = json_get_object(one, "range");
		const char *file = json_get_string(range, "filename");
		if (all.len > 0)
			str_append(&all, "; ");
		if (file != NULL)
			str_appendf(&all, "%.100s:%lld: ", file,
			            (long long)json_get_int(json_get_object(range, "start"), "line", 0));
		str_appendf(&all, "%.200s%s%.300s", summary != NULL ? summary : "", detail != NULL ? ": " : "",
		            detail != NULL ? detail : "");
	}
	const struct terraform_part words = {.data = str_peek(&all), .len = all.len};
	return said(&words, "the configuration is not valid", err);
}

/* ---- what was answered ---- */

static void read_numbers(const struct terraform_part *p, struct terraform_look *l)
{
	_cleanup_free_ char *text = xstrndup(p->data, MIN(p->len, (size_t)NUMBER_MAX * 4));
	char lineage[NUMBER_MAX] = "";
	const char *at = strstr(text, "serial ");
	long long serial = 0;
	if (at != NULL && sscanf(at, "serial %lld", &serial) == 1)
		l->serial = serial;
	at = strstr(text, "lineage ");
	if (at != NULL && sscanf(at, "lineage %99s", lineage) == 1) {
		free(l->lineage);
		l->lineage = xstrdup(lineage);
	}
}

/* What a plan does, and nothing of what it knows in clear. */
static void make_digest(struct terraform_look *l)
{
	_cleanup_json_ json_t *all = json_array();
	for (size_t i = 0; i < l->plan.count; i++) {
		const struct terraform_row *row = &l->plan.rows[i];
		json_array_append_new(all,
		                      json_pack("{s:s,s:i,s:s?,s:b,s:s?,s:O,s:O}", "address", row->address, "action",
		                                (int)row->action, "from", row->moved_from, "imported", row->imported,
		                                "forced", row->forced, "before", row->before, "after", row->after));
	}
	_cleanup_free_ char *text = json_canonical(all);
	digest_of(text, strlen(text), l->digest);
}

static int read_show(const struct terraform_part *p, struct terraform_look *l, struct err *err)
{
	_cleanup_json_ json_t *doc = NULL;
	int r = json_parse(p->data, p->len, TERRAFORM_PLAN_MAX, &doc, err);
	if (r == 0)
		r = terraform_plan_read(doc, &l->plan, err);
	if (r < 0)
		return err_wrap(err, r, "read terraform's plan");
	l->changes = p->status == 2;
	if (l->plan.errored || l->plan.deferred > 0 || !l->plan.complete)
		return err_set(err, ERR_REFUSED, "the plan is not complete%s",
		               l->plan.deferred > 0 ? ": it defers changes" : "");
	make_digest(l);
	return 0;
}

static void keep_file(const struct terraform_part *p, struct terraform_look *l)
{
	l->file = (struct str)STR_SECRET_INIT(TERRAFORM_PLAN_MAX);
	str_append_n(&l->file, p->data, p->len);
	digest_of(l->file.data, l->file.len, l->sha256);
}

static char *first_line(const struct terraform_part *p)
{
	size_t len = 0;
	while (len < p->len && p->data[len] != '\n')
		len++;
	return xstrndup(p->data, len);
}

struct reading {
	const struct terraform_in *in;
	const char *directory;
	struct terraform_look *l;
	struct terraform_follow *follow;
	bool has_show, has_plan;
};

static int not_there(const struct reading *x, const char *name, struct err *err)
{
	if (strcmp(name, "missing") == 0) {
		err_set(err, ERR_REFUSED, "there is no program '%s' on the target", x->in->program);
		return err_hint(err, ERR_REFUSED, "install it there, or name its path in `program`");
	}
	return err_set(err, ERR_NOT_FOUND, "there is no directory '%s' on the target", x->directory);
}

static int selected(const struct reading *x, const struct terraform_part *p, struct err *err)
{
	_cleanup_free_ char *name = first_line(p);
	if (x->in->workspace != NULL || *name == '\0' || strcmp(name, "default") == 0)
		return 0;
	err_set(err, ERR_REFUSED, "'%s' has the workspace '%.60s' selected, and this step names none", x->directory,
	        name);
	return err_hint(err, ERR_REFUSED, "name the one that is meant: `workspace: %.60s` or `workspace: default`",
	                name);
}

static int read_part(struct reading *x, const struct terraform_part *p, struct err *err)
{
	if (strcmp(p->name, "missing") == 0 || strcmp(p->name, "directory") == 0)
		return not_there(x, p->name, err);
	if (strcmp(p->name, "init") == 0)
		return init_failed(p, err);
	if (strcmp(p->name, "validate") == 0)
		return invalid(p, err);
	if (strcmp(p->name, "selected") == 0)
		return selected(x, p, err);
	if (strcmp(p->name, "errored") == 0) {
		err_set(err, ERR_REFUSED, "'%s/errored.tfstate' is a state that could not be saved", x->directory);
		return err_hint(
			err, ERR_REFUSED,
			"compare it with `terraform state pull`; `terraform state push errored.tfstate` saves it. Then remove it");
	}
	if (strcmp(p->name, "real") == 0)
		x->l->real = first_line(p);
	else if (strcmp(p->name, "numbers") == 0)
		read_numbers(p, x->l);
	else if (strcmp(p->name, "noise") == 0 && p->status != 0 && p->status != 2)
		return x->follow->errors.len > 0 || x->follow->is_locked || p->len == 0
		               ? terraform_follow_error(x->follow, p->status, err)
		               : said(p, "`terraform plan` failed", err);
	else if (strcmp(p->name, "show") == 0) {
		x->has_show = true;
		return read_show(p, x->l, err);
	} else if (strcmp(p->name, "plan") == 0) {
		x->has_plan = true;
		keep_file(p, x->l);
	}
	return 0;
}

static int read_answer(struct reading *x, const struct str *answer, struct err *err)
{
	struct terraform_part part;
	size_t at = 0;
	int r = 0;
	while (r == 0 && terraform_part_next(answer, &at, &part))
		r = read_part(x, &part, err);
	if (r == 0 && (!x->has_show || !x->has_plan))
		r = err_set(err, ERR_PROTOCOL, "terraform's plan did not come as a whole: at most %d MiB are read",
		            TERRAFORM_PLAN_MAX >> 20);
	return r;
}

int terraform_look_at(const struct step_context *c, struct view *v, const char *directory, struct terraform_look *ret,
                      struct err *err)
{
	const struct terraform_in *in = c->input;
	_cleanup_(arena_done) struct arena arena = ARENA_INIT;
	_cleanup_(str_done) struct str script = STR_INIT(256 << 10);
	_cleanup_(target_result_done) struct target_result said = TARGET_RESULT_INIT;
	_cleanup_(terraform_follow_done) struct terraform_follow follow = TERRAFORM_FOLLOW_INIT(c);
	_cleanup_(terraform_look_done) struct terraform_look look = {.lineage = xstrdup("")};
	size_t count;
	_cleanup_free_ struct field_pair *env = terraform_env(in, &arena, &count);
	said.out.wipe = true;
	terraform_plan_script(in, directory, &script);
	const struct target_command command = {.script = str_peek(&script),
	                                       .env = env,
	                                       .env_count = count,
	                                       .timeout_ms = LOOK_MS,
	                                       .grace_ms = in->grace_ms,
	                                       .max_output = TERRAFORM_PLAN_MAX,
	                                       .on_line = terraform_follow_line,
	                                       .context = &follow};
	int r = host_query(v, &command, &said, err);
	if (r == 0 && said.timed_out)
		r = err_set(err, ERR_TIMEOUT, "`terraform plan` did not end in time");
	if (r == 0 && said.status == 90)
		r = err_set(err, ERR_IO, "no temporary directory can be made");
	struct reading x = {in, directory, &look, &follow, false, false};
	if (r == 0)
		r = read_answer(&x, &said.out, err);
	if (r < 0)
		return r;
	*ret = look;
	look = (struct terraform_look){0};
	return 0;
}
