/* A directory; its entries are not touched. */
#include "schemas/resources/directory.h"
#include "base/sys/fs.h"
#include "steps/apply/kinds/path.h"

/* A new one without a mode gets its directory's default, or 0755. */
static struct path_owner owner_of(const struct resource *r)
{
	const struct resource_directory *in = r->in;
	return (struct path_owner){in->owner, in->group, in->has_mode ? (long)in->mode : -1, -1};
}

static void validate(const struct resource *r, const struct resource_faults *f)
{
	const struct resource_directory *in = r->in;
	path_validate_mode(r, in->has_mode, in->mode, f);
}

static int want(struct resource_call *x, const struct resource *r, const json_t *before, json_t **ret,
                struct str *content, struct err *err)
{
	struct path_owner owner = owner_of(r);
	(void)content;
	return path_want(x, r, before, &owner, ret, err);
}

static void remember(const struct resource *r, json_t *row)
{
	struct path_owner owner = owner_of(r);
	path_remember(&owner, row);
}

static bool plan_removes(const struct plan *plan, const char *path)
{
	for (size_t i = 0; i < plan->count; i++) {
		if (plan->changes[i].type == &change_remove && strcmp(plan->changes[i].path, path) == 0)
			return true;
	}
	return false;
}

/* Removed only when it is empty. */
static int keeps(struct resource_call *x, const char *id, const char **ret_why, struct err *err)
{
	_cleanup_(strv_done) struct strv names = {0};
	int r = host_list(x->v, id, &names, err);
	*ret_why = NULL;
	for (size_t i = 0; r == 0 && i < names.count; i++) {
		_cleanup_free_ char *path = fs_join(id, names.items[i]);
		if (!plan_removes(x->plan, path))
			*ret_why = "other things lie in the directory, so it stays";
	}
	return r;
}

const struct resource_type resource_directory = {
	.choice = RESOURCE_DIRECTORY_CHOICE,
	.change = &change_dir,
	.remove = &change_remove,
	.space = PATH_SPACE,
	.nests = true,
	.what = "dir",
	.id = path_id,
	.validate = validate,
	.ahead = path_ahead,
	.look = path_look,
	.want = want,
	.first = path_first,
	.differs = node_differs,
	.remember = remember,
	.keeps = keeps,
};
