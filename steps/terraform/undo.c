/* terraform has no undo. What was never begun is told as such; else it is said what was done and what leads out, or the former
 * configuration is applied. */
#include "steps/terraform/terraform.h"

#include "base/sys/fs.h"

enum { ADDRESSES_SHOWN = 8 };

static void list_begun(const struct terraform_end *e, struct str *out)
{
	for (size_t i = 0; i < e->begun.count && i < ADDRESSES_SHOWN; i++) {
		str_append(out, i > 0 ? ", " : "");
		str_append_safe(out, e->begun.items[i], strlen(e->begun.items[i]));
	}
	if (e->begun.count > ADDRESSES_SHOWN)
		str_appendf(out, ", and %zu more", e->begun.count - ADDRESSES_SHOWN);
}

/* Where nobody knows how it ended, the world says what is left of the plan. */
static void look_at_rest(const struct step_context *c, struct target *t, const char *directory, struct terraform_end *e,
                         struct str *out)
{
	_cleanup_(terraform_look_done) struct terraform_look now = {0};
	struct err why = ERR_INIT;
	char line[ERR_FRAME_SIZE];
	if (terraform_look_at(c, &t->view, directory, &now, &why) < 0) {
		str_appendf(out, "; a new plan cannot be made: %s", err_line(&why, line, sizeof(line)));
		return;
	}
	e->serial = now.serial;
	if (!now.changes)
		str_append(out, "; a new plan has nothing to change: it came to its end");
	else
		str_appendf(out, "; a new plan still has %zu change%s to make", now.plan.count,
		            now.plan.count == 1 ? "" : "s");
}

static bool is_untouched(const struct terraform_end *e)
{
	return !e->exists || (e->begun.count == 0 && e->serial == e->before);
}

/* A script that was killed has left the plan's file, which holds values in clear. */
static int drop_plan(struct target *t, const char *work, struct err *err)
{
	_cleanup_free_ char *plan = fs_join(work, "plan");
	int r = host_remove(t, plan, err);
	if (r != ERR_NOT_FOUND)
		return r;
	err_clear(err);
	return 0;
}

/* Reads how it ended, frees the lock of a dead one, and looks at the world where that is needed to know. */
static int settle(const struct step_context *c, struct target *t, const char *directory, struct terraform_end *e,
                  struct str *rest, struct err *err)
{
	_cleanup_free_ char *work = terraform_work(c, t, "");
	int r = terraform_end_read(c, t, work, e, err);
	if (r < 0 || !e->exists)
		return r;
	r = drop_plan(t, work, err);
	if (r == 0 && !e->known)
		r = terraform_end_unlock(c, t, directory, e, err);
	if (r == 0 && (!e->known || e->serial < 0))
		look_at_rest(c, t, directory, e, rest);
	return r;
}

static int stays(const struct step_context *c, const struct target *t, const struct terraform_end *e,
                 const struct str *rest, struct err *err)
{
	const struct terraform_in *in = c->input;
	_cleanup_(str_done) struct str what = STR_INIT(16384);
	_cleanup_free_ char *kept = terraform_kept(c, &t->view);
	if (e->begun.count > 0) {
		str_appendf(&what, "it began to change %zu resource%s and ended %zu (", e->begun.count,
		            e->begun.count == 1 ? "" : "s", e->done);
		list_begun(e, &what);
		str_append(&what, ")");
	} else
		str_append(&what, e->serial >= 0 ? "it wrote the state"
		                                 : "it began no resource, and its state cannot be read");
	if (!e->known)
		str_append(&what, ", and died at it");
	else if (e->status != 0)
		str_appendf(&what, ", and ended with status %d", e->status);
	str_append(&what, str_peek(rest));
	if (e->errored)
		str_appendf(&what, "; its errored.tfstate is kept in '%s'", kept);
	err_set(err, ERR_UNSUPPORTED, "terraform has no undo: %s", str_peek(&what));
	return err_hint(
		err, ERR_UNSUPPORTED,
		"`%s plan` in '%s' shows what stands; davit unlock %s.%s --accept takes it as it is, then deploy the "
		"configuration that is meant",
		in->program, in->directory, c->deployment->name, c->deployment->environment);
}

int terraform_undo(const struct step_context *c, struct target *t, const struct change *change, struct err *err)
{
	const struct terraform_in *in = c->input;
	_cleanup_(terraform_end_done) struct terraform_end e = {0};
	_cleanup_(str_done) struct str rest = STR_INIT(2048);
	_cleanup_free_ char *directory = NULL;
	(void)change;
	int r = terraform_directory(c, &t->view, &directory, err);
	if (r == 0)
		r = settle(c, t, directory, &e, &rest, err);
	if (r < 0)
		return r;
	if (is_untouched(&e) || in->undo == TERRAFORM_UNDO_FORMER)
		return 1;
	return stays(c, t, &e, &rest, err);
}

/* ---- undo: former ---- */

static int look_at_former(const struct step_context *c, struct target *t, const char *directory,
                          const struct terraform_end *e, struct terraform_look *ret, struct err *err)
{
	int r = terraform_look_at(c, &t->view, directory, ret, err);
	if (r == ERR_NOT_FOUND)
		return err_set(err, ERR_UNSUPPORTED,
		               "there is no former configuration in '%s': what terraform changed stays", directory);
	if (r == 0 && ret->real != NULL && e->real != NULL && strcmp(ret->real, e->real) == 0)
		return err_set(
			err, ERR_UNSUPPORTED,
			"'%s' leads to the configuration that was applied, and to no former one: what terraform changed stays",
			directory);
	return r;
}

int terraform_restore(const struct step_context *c, struct target *t, const char *former_release, struct err *err)
{
	const struct terraform_in *in = c->input;
	_cleanup_(terraform_end_done) struct terraform_end e = {0};
	_cleanup_(terraform_look_done) struct terraform_look look = {0};
	_cleanup_(str_done) struct str rest = STR_INIT(2048);
	_cleanup_free_ char *directory = NULL, *work = terraform_work(c, t, ""),
			    *again = terraform_work(c, t, "-former");
	(void)former_release;
	if (in->undo != TERRAFORM_UNDO_FORMER)
		return 0;
	int r = terraform_directory(c, &t->view, &directory, err);
	if (r == 0)
		r = terraform_end_read(c, t, work, &e, err);
	if (r < 0 || !e.exists || (e.known && is_untouched(&e)))
		return r;
	r = look_at_former(c, t, directory, &e, &look, err);
	if (r == 0)
		r = terraform_judge(in, &look.plan, &e.created, err);
	if (r < 0 || !look.changes)
		return r;
	c->report(c->engine, "apply the former configuration in '%s'", look.real);
	terraform_tell_rows(c, &look.plan);
	return terraform_run_plan(c, t, &look, directory, again, err);
}

void terraform_after(const struct step_context *c, struct str *out)
{
	const struct terraform_in *in = c->input;
	if (in->undo == TERRAFORM_UNDO_FORMER)
		str_appendf(out, "apply the configuration that %s leads to then", in->directory);
}
