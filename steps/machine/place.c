/* A directory whose owner may be a user that the same step makes: nobody has to be there beforehand. */
#include "steps/machine/machine.h"

static int compare(struct change_call *x, const struct change *c, enum change_match *ret, struct err *err)
{
	return change_dir.compare(x, c, ret, err);
}

static int explain(struct change_call *x, const struct change *c, struct str *out, struct err *err)
{
	return change_dir.explain(x, c, out, err);
}

static int save(struct change_call *x, const struct change *c, struct err *err)
{
	return change_dir.save(x, c, err);
}

static int apply(struct change_call *x, struct change *c, struct err *err)
{
	return change_dir.apply(x, c, err);
}

static int undo(struct change_call *x, const struct change *c, struct err *err)
{
	return change_dir.undo(x, c, err);
}

const struct change_type machine_place = {
	.name = "place",
	.flags = CHANGE_FILES | CHANGE_EMPTY,
	.compare = compare,
	.explain = explain,
	.save = save,
	.apply = apply,
	.undo = undo,
};
