/* The plan's file goes to the target, is compared there with what was judged, and is applied. */
#include "steps/terraform/terraform.h"

#include "base/sys/fs.h"

char *terraform_work(const struct step_context *c, const struct target *t, const char *name)
{
	return xasprintf("%s/terraform-%d%s", t->lock_dir, c->index, name);
}

/* Where an errored.tfstate is kept: neither the undo of a release nor the end of the deployment takes it away. */
char *terraform_kept(const struct step_context *c, const struct view *v)
{
	return xasprintf("%s/terraform/%s.%s", v->facts.base, c->deployment->name, c->deployment->environment);
}

static int lay_out(struct target *t, const struct terraform_look *look, const char *work, struct err *err)
{
	const struct node_attr directory = {.set_mode = true, .mode = 0700, .alone = true},
			       file = {.set_mode = true, .mode = 0600, .alone = true};
	_cleanup_free_ char *plan = fs_join(work, "plan"), *began = fs_join(work, "began");
	_cleanup_free_ char *text = xasprintf("serial %lld\nlineage %s\nreal %s\n", (long long)look->serial,
	                                      look->lineage, look->real != NULL ? look->real : "");
	const char *const paths[] = {work};
	char hex[65];
	int r = host_remove_tree(t, work, err);
	if (r == 0)
		r = host_mkdir(t, work, &directory, err);
	if (r == 0)
		r = host_put(t, plan, look->file.data, look->file.len, &file, err);
	if (r == 0)
		r = host_put(t, began, text, strlen(text), &file, err);
	if (r == 0)
		r = host_barrier(t, paths, 1, err);
	if (r == 0)
		r = host_digest(&t->view, plan, hex, err);
	if (r == 0 && strcmp(hex, look->sha256) != 0)
		r = err_set(err, ERR_CONFLICT, "the plan's file on '%s' is not the one that was judged", t->view.name);
	return r;
}

/* What the script says in front of terraform's events. */
static int read_parts(const struct terraform_in *in, const struct target_result *said, struct err *err)
{
	struct terraform_part part;
	size_t at = 0;
	while (terraform_part_next(&said->out, &at, &part)) {
		if (strcmp(part.name, "init") == 0)
			return err_set(err, ERR_FAILED,
			               "`terraform init` failed, although it did not when it was planned");
		if (strcmp(part.name, "missing") == 0 || strcmp(part.name, "directory") == 0)
			return err_set(err, ERR_FAILED, "%s '%s' is not there any more", part.name,
			               *part.name == 'm' ? in->program : in->directory);
	}
	return 0;
}

static void tell_errored(const struct step_context *c, const struct target *t)
{
	_cleanup_free_ char *kept = terraform_kept(c, &t->view);
	c->report(
		c->engine,
		"terraform could not save its state: errored.tfstate stays where it is, and a copy of it lies in '%s' on '%s'. "
		"`terraform state push` saves it",
		kept, t->view.name);
}

static int ended(const struct step_context *c, struct target *t, const struct terraform_follow *f,
                 const struct terraform_look *look, const char *work, struct err *err)
{
	_cleanup_(terraform_end_done) struct terraform_end e = {0};
	int r = terraform_end_read(c, t, work, &e, err);
	if (r < 0)
		return r;
	if (e.errored)
		tell_errored(c, t);
	if (!e.known)
		return err_set(err, ERR_UNKNOWN, "nobody knows how terraform ended");
	if (e.status != 0 || !f->ended)
		return terraform_follow_error(f, e.status, err);
	if (e.serial >= 0 && e.serial < look->serial)
		return err_set(err, ERR_CONFLICT, "the state's serial is %lld, and was %lld before",
		               (long long)e.serial, (long long)look->serial);
	return 0;
}

int terraform_run_plan(const struct step_context *c, struct target *t, const struct terraform_look *look,
                       const char *directory, const char *work, struct err *err)
{
	const struct terraform_in *in = c->input;
	_cleanup_(arena_done) struct arena arena = ARENA_INIT;
	_cleanup_(str_done) struct str script = STR_INIT(256 << 10);
	_cleanup_(target_result_done) struct target_result said = TARGET_RESULT_INIT;
	_cleanup_(terraform_follow_done) struct terraform_follow follow = TERRAFORM_FOLLOW_INIT(c);
	_cleanup_free_ char *kept = terraform_kept(c, &t->view);
	size_t count;
	_cleanup_free_ struct field_pair *env = terraform_env(in, &arena, &count);
	follow.is_applying = true;
	follow.total = look->plan.count;
	terraform_apply_script(in, directory, work, kept, &script);
	const struct target_command command = {.script = str_peek(&script),
	                                       .env = env,
	                                       .env_count = count,
	                                       .timeout_ms = in->timeout_ms,
	                                       .grace_ms = in->grace_ms,
	                                       .on_line = terraform_follow_line,
	                                       .context = &follow};
	int r = lay_out(t, look, work, err);
	if (r == 0)
		r = host_run(t, &command, &said, err);
	if (r == 0 && said.timed_out)
		r = err_set(err, ERR_TIMEOUT, "terraform did not end in time (`timeout`), and was told to stop");
	if (r == 0)
		r = read_parts(in, &said, err);
	return r == 0 ? ended(c, t, &follow, look, work, err) : r;
}

/* Planned only now: the files are there. */
static int plan_now(const struct step_context *c, struct target *t, const char *directory, struct terraform_look *look,
                    struct err *err)
{
	_cleanup_(strv_done) struct strv warnings = {0};
	int r = terraform_check_there(c, &t->view, &warnings, err);
	for (size_t i = 0; r == 0 && i < warnings.count; i++)
		c->report(c->engine, "%s", warnings.items[i]);
	if (r == 0)
		r = terraform_look_at(c, &t->view, directory, look, err);
	if (r < 0)
		return r;
	terraform_tell_rows(c, &look->plan);
	return terraform_judge(c->input, &look->plan, NULL, err);
}

int terraform_apply(const struct step_context *c, struct target *t, struct change *change, struct err *err)
{
	struct terraform_payload *p = change->payload;
	_cleanup_free_ char *directory = NULL, *work = terraform_work(c, t, "");
	if (p == NULL)
		return err_set(err, ERR_INTERNAL, "'%s' was planned by another process", change->path);
	int r = terraform_directory(c, &t->view, &directory, err);
	if (r == 0 && p->later)
		r = plan_now(c, t, directory, &p->look, err);
	if (r < 0)
		return r;
	if (p->later && !p->look.changes) {
		c->report(c->engine, "nothing to change");
		return 0;
	}
	r = terraform_run_plan(c, t, &p->look, directory, work, err);
	if (r == 0)
		json_object_set_new(c->outputs, "changed", json_string("true"));
	return r;
}
