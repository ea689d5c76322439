/* Each check of the suite can fail: steps of the product with one member that breaks its promise. */
#include "contract/suite.h"
#include "unit/cmocka_all.h"
#include "base/core/mem.h"
#include "base/sys/fs.h"
#include "steps/registry.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static struct suite_servers servers;

static struct step_type copy_of(const char *name)
{
	return *step_find(name);
}

static void expect_found(const struct step_type *type, const char *what)
{
	const struct suite_subject subject = {.type = type};
	_cleanup_free_ char *why = suite_check(&subject, &servers, 1);
	if (why == NULL)
		fail_msg("nothing was found");
	if (strstr(why, what) == NULL)
		fail_msg("'%s' is not what was found: %s", what, why);
}

/* ---- */

static int plan_that_writes(const struct step_context *c, struct view *v, struct plan *plan, struct err *err)
{
	_cleanup_free_ char *path = fs_join(c->deployment->source_root, "../tree/etc/looked-at");
	assert_int_equal(fs_write_replace(AT_FDCWD, path, "", 0, 0600, NULL), 0);
	return step_find("apply")->plan(c, v, plan, err);
}

static void a_plan_that_writes(void **state)
{
	(void)state;
	struct step_type bad = copy_of("apply");
	bad.plan = plan_that_writes;
	expect_found(&bad, "the plan writes");
}

static int plan_that_never_ends(const struct step_context *c, struct view *v, struct plan *plan, struct err *err)
{
	int r = step_find("apply")->plan(c, v, plan, err);
	_cleanup_free_ char *path = fs_join(c->deployment->source_root, "../tree/etc/shop.env");
	_cleanup_free_ char *way = NULL;
	if (r == 0)
		r = fs_normalize(path, &way, err);
	if (r < 0)
		return r;
	struct change *again = plan_add(plan, &change_file, ACTION_UPDATE, way);
	json_decref(again->before);
	r = target_look(v, way, true, &again->before, err);
	again->after = json_deep_copy(again->before);
	if (fs_read(AT_FDCWD, way, 1 << 20, &again->content, err) < 0)
		return ERR_IO;
	return r;
}

static void a_plan_that_is_never_empty(void **state)
{
	(void)state;
	struct step_type bad = copy_of("apply");
	bad.plan = plan_that_never_ends;
	expect_found(&bad, "planned again");
}

static int undo_of_nothing(const struct step_context *c, struct target *t, const struct change *change, struct err *err)
{
	(void)c, (void)t, (void)change, (void)err;
	return 0;
}

static void an_undo_that_does_nothing(void **state)
{
	(void)state;
	struct step_type bad = copy_of("apply");
	bad.undo = undo_of_nothing;
	expect_found(&bad, "made and taken back");
}

static int undo_without_mode(const struct step_context *c, struct target *t, const struct change *change,
                             struct err *err)
{
	(void)c;
	int r = change_undo(t, change, err);
	if (r == 0 && strcmp(json_get_string(change->before, "type"), "file") == 0)
		chmod(change->path, 0666);
	return r;
}

static void an_undo_that_forgets_the_mode(void **state)
{
	(void)state;
	struct step_type bad = copy_of("apply");
	bad.undo = undo_without_mode;
	expect_found(&bad, "made and taken back");
}

static int undo_with_a_new_time(const struct step_context *c, struct target *t, const struct change *change,
                                struct err *err)
{
	(void)c;
	int r = change_undo(t, change, err);
	if (r == 0)
		utimensat(AT_FDCWD, change->path, NULL, AT_SYMLINK_NOFOLLOW);
	return r;
}

static void an_undo_that_forgets_the_time(void **state)
{
	(void)state;
	struct step_type bad = copy_of("apply");
	bad.undo = undo_with_a_new_time;
	expect_found(&bad, "made and taken back: the tree differs");
}

/* The second of two takes away what the first has put back. */
static int undo_that_turns(const struct step_context *c, struct target *t, const struct change *change, struct err *err)
{
	static char last[4096];
	(void)c;
	int r = change_undo(t, change, err);
	if (r == 0 && strcmp(last, change->path) == 0)
		unlink(change->path);
	snprintf(last, sizeof(last), "%s", change->path);
	return r;
}

static void an_undo_that_may_not_be_repeated(void **state)
{
	(void)state;
	struct step_type bad = copy_of("apply");
	bad.undo = undo_that_turns;
	expect_found(&bad, "taken back twice");
}

/* Only the process that made the change knows what else it made. */
static bool made_more;

static int apply_more(const struct step_context *c, struct target *t, struct change *change, struct err *err)
{
	_cleanup_free_ char *more = xasprintf("%s.more", change->path);
	(void)c;
	if (change->action == ACTION_ADOPT)
		return 0; /* nothing is made */
	made_more = true;
	int r = fs_write_replace(AT_FDCWD, more, "", 0, 0600, err);
	return r < 0 ? r : change_apply(t, change, err);
}

static int undo_what_is_remembered(const struct step_context *c, struct target *t, const struct change *change,
                                   struct err *err)
{
	_cleanup_free_ char *more = xasprintf("%s.more", change->path);
	(void)c;
	if (made_more)
		unlink(more);
	return change_undo(t, change, err);
}

static void an_undo_that_rests_on_its_process(void **state)
{
	(void)state;
	struct step_type bad = copy_of("apply");
	bad.apply = apply_more;
	bad.undo = undo_what_is_remembered;
	expect_found(&bad, "and recovered: the tree differs");
}

static int plan_that_tells(const struct step_context *c, struct view *v, struct plan *plan, struct err *err)
{
	int r = step_find("secret-write")->plan(c, v, plan, err);
	const char *secret = json_get_string(json_get_object(c->input_json, "values"), "APP_TOKEN");
	if (r < 0 || plan->count == 0 || secret == NULL)
		return r;
	free(plan->changes[0].summary);
	plan->changes[0].summary = xasprintf("write %s", secret);
	return r;
}

static void a_secret_in_a_plan(void **state)
{
	(void)state;
	struct step_type bad = copy_of("secret-write");
	bad.plan = plan_that_tells;
	expect_found(&bad, "the secret ");
}

/* Told to nobody, but kept on the target. */
static int apply_that_keeps(const struct step_context *c, struct target *t, struct change *change, struct err *err)
{
	const struct step_type *real = step_find("secret-write");
	_cleanup_free_ char *kept = fs_join(t->lock_dir, "kept");
	int r = fs_write_replace(AT_FDCWD, kept, change->content.data, change->content.len, 0600, err);
	if (r < 0)
		return r;
	return real->apply ? real->apply(c, t, change, err) : change_apply(t, change, err);
}

static void a_secret_in_the_copy_on_the_target(void **state)
{
	(void)state;
	struct step_type bad = copy_of("secret-write");
	bad.apply = apply_that_keeps;
	expect_found(&bad, "the secret stands in");
}

static void a_step_without_an_example(void **state)
{
	struct step_info info = *step_find("apply")->info;
	struct step_type bad = copy_of("apply");
	(void)state;
	info.name = "deployment";
	bad.info = &info;
	expect_found(&bad, "no examples");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_plan_that_writes),
		cmocka_unit_test(a_plan_that_is_never_empty),
		cmocka_unit_test(an_undo_that_does_nothing),
		cmocka_unit_test(an_undo_that_forgets_the_mode),
		cmocka_unit_test(an_undo_that_forgets_the_time),
		cmocka_unit_test(an_undo_that_may_not_be_repeated),
		cmocka_unit_test(an_undo_that_rests_on_its_process),
		cmocka_unit_test(a_secret_in_a_plan),
		cmocka_unit_test(a_secret_in_the_copy_on_the_target),
		cmocka_unit_test(a_step_without_an_example),
	};
	return suite_serve(&servers, tests, ARRAY_SIZE(tests));
}
