/* apply: files, directories and links on a target as a desired state. The changes themselves are the engine's
 * primitives. */
#include "steps/apply/apply.h"

static void describe(const struct step_context *c, struct str *out)
{
	const struct apply_in *in = c->input;
	if (in->file != NULL)
		str_appendf(out, "bring the target to the state in %s", in->file);
	else
		str_appendf(out, "bring %zu resource%s to the desired state", in->resources_count,
		            in->resources_count == 1 ? "" : "s");
}

static void validate(const struct step_context *c, struct faults *faults)
{
	const struct apply_in *in = c->input;
	_cleanup_(resources_done) struct resources all = {0};
	if (in->file == NULL)
		apply_read_inline(c, &all, faults);
}

/* The file and every source, before the first change. */
static int check(const struct step_context *c, struct faults *faults, struct err *err)
{
	const struct apply_in *in = c->input;
	_cleanup_(resources_done) struct resources all = {0};
	struct err own = ERR_INIT;
	char line[1024];
	struct faults again = {0};
	(void)err;
	int r = apply_read(c, &all, in->file != NULL ? faults : &again, &own);
	faults_done(&again);
	if (r < 0) {
		faults_add(faults, NULL, "/file", "%s", err_line(&own, line, sizeof(line)));
		return 0;
	}
	for (size_t i = 0; i < all.count; i++) {
		_cleanup_(str_done) struct str content = STR_INIT(APPLY_MAX_CONTENT + (128 << 10));
		if (all.items[i].source == NULL)
			continue;
		err_clear(&own);
		if (resource_content(c, &all.items[i], &content, &own) < 0) {
			faults_add(faults, NULL, in->file != NULL ? "/file" : all.items[i].pointer, "%s",
			           err_line(&own, line, sizeof(line)));
			if (own.hint[0] != '\0')
				faults_hint(faults, "%s", own.hint);
		}
	}
	return 0;
}

static int plan_state(const struct step_context *c, struct view *v, struct plan *plan, struct err *err)
{
	_cleanup_(resources_done) struct resources all = {0};
	struct faults faults = {0};
	int r = apply_read(c, &all, &faults, err);
	if (r == 0)
		r = faults_to_err(&faults, NULL, err);
	faults_done(&faults);
	return r < 0 ? r : apply_plan(c, v, &all, plan, err);
}

const struct step_type apply_step = {
	.info = &apply_info,
	.describe = describe,
	.validate = validate,
	.check = check,
	.plan = plan_state,
};
