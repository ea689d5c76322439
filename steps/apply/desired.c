/* The desired state: from the input or a file of the source tree, read by the same table, all faults at once. */
#include "base/sys/fs.h"
#include "base/sys/fs_beneath.h"
#include "steps/apply/apply.h"
#include "steps/apply/order.h"

#include <fcntl.h>
#include <unistd.h>

void resources_done(struct resources *r)
{
	for (size_t i = 0; i < r->count; i++)
		json_decref(r->items[i].written);
	free(r->items);
	yaml_freep(&r->doc);
	arena_done(&r->arena);
	*r = (struct resources){0};
}

bool resources_allow(const struct resources *r, const char *key)
{
	for (size_t i = 0; i < r->allow_destroy.count; i++) {
		if (strcmp(r->allow_destroy.items[i], key) == 0)
			return true;
	}
	return false;
}

static const struct field_strings *strings_of(const struct resource *r, const char *member)
{
	static const struct field_strings none = {0};
	const struct field_strings *given = fields_member(r->type->choice.table, r->in, member);
	return given != NULL ? given : &none;
}

/* The members that every kind of resource has. */
static void take_common(struct resource *r)
{
	const char *const *name = fields_member(r->type->choice.table, r->in, "id");
	r->name = name != NULL ? *name : NULL;
	r->protect = *(const bool *)fields_member(r->type->choice.table, r->in, "protect");
	r->depends_on = *strings_of(r, "depends_on");
	r->ignore_changes = *strings_of(r, "ignore_changes");
	r->replace_on = *strings_of(r, "replace_on");
}

/* false: its key is invalid, which is reported. */
static bool take_one(const struct field_chosen *chosen, size_t index, struct resources *all, struct faults *faults)
{
	const struct field_choice *choice = chosen->choice;
	const struct resource_faults f = {faults, all->doc};
	struct resource *r = &all->items[all->count];
	*r = (struct resource){.type = resource_type_of(choice), .in = chosen->typed};
	r->id = *(const char *const *)fields_member(choice->table, r->in, choice->key);
	take_common(r);
	snprintf(r->pointer, sizeof(r->pointer), "/resources/%zu/%s", index, choice->name);
	_cleanup_free_ char *at = xasprintf("%s/%s", r->pointer, choice->key);
	_cleanup_free_ char *id = r->type->id != NULL ? r->type->id(r, at, faults) : xstrdup(r->id);
	r->id = arena_strdup(&all->arena, id != NULL ? id : r->id);
	r->key = arena_printf(&all->arena, "%s:%s", choice->name, r->id);
	apply_validate_attributes(r, &f);
	reference_note(r);
	/* One that refers to others is looked at once they are filled in. */
	if (r->type->validate != NULL && r->written == NULL)
		r->type->validate(r, &f);
	all->count++;
	return id != NULL;
}

static bool same_space(const struct resource *a, const struct resource *b)
{
	return strcmp(a->type->space, b->type->space) == 0;
}

static int by_id(const void *a, const void *b)
{
	const struct resource *const *x = a, *const *y = b;
	int spaces = strcmp((*x)->type->space, (*y)->type->space);
	return spaces != 0 ? spaces : order_compare_paths((*x)->id, (*y)->id);
}

static void check_pair(const struct resource *a, const struct resource *b, struct resources *all, struct faults *faults)
{
	const struct resource_faults f = {faults, all->doc};
	if (!same_space(a, b))
		return;
	if (strcmp(a->id, b->id) == 0)
		resource_fault(&f, b, b->type->choice.key, "'%s' stands twice in the desired state", b->id);
	else if (a->type->bars != NULL && a->type->bars(a, b))
		resource_fault(&f, b, b->type->choice.key, "'%s' lies below '%s', which is a %s", b->id, a->id,
		               a->type->choice.name);
}

/* One path belongs to one resource; nothing lies below a file or a link. */
static void check_together(struct resources *all, struct faults *faults)
{
	const struct resource **sorted = xcalloc(all->count + 1, sizeof(*sorted));
	for (size_t i = 0; i < all->count; i++)
		sorted[i] = &all->items[i];
	qsort(sorted, all->count, sizeof(*sorted), by_id);
	for (size_t i = 1; i < all->count; i++)
		check_pair(sorted[i - 1], sorted[i], all, faults);
	free(sorted);
}

static void take(const struct apply_in *in, struct resources *all, struct faults *faults)
{
	bool whole = true;
	all->items = xcalloc(in->resources_count + 1, sizeof(*all->items));
	all->allow_destroy = in->allow_destroy;
	all->count = 0;
	for (size_t i = 0; i < in->resources_count; i++)
		/* Skips one that the reader has already refused. */
		if (in->resources[i].choice != NULL)
			whole = take_one(&in->resources[i], i, all, faults) && whole;
	if (!whole)
		return;
	check_together(all, faults);
	apply_order(all, faults);
}

void apply_read_inline(const struct step_context *c, struct resources *ret, struct faults *faults)
{
	*ret = (struct resources){0};
	const struct apply_in *in = c->input;
	if (in->destroy != NULL)
		return;
	take(in, ret, faults);
}

int resource_read_file(const char *root, const char *name, struct yaml_doc **ret, struct err *err)
{
	const struct yaml_limits limits = {
		.max_bytes = 1 << 20, .max_nodes = 100000, .max_depth = 100, .keep_octal = true};
	_cleanup_(str_done) struct str text = STR_SECRET_INIT(limits.max_bytes);
	_cleanup_free_ char *path = fs_join(root, name), *real = NULL;
	_cleanup_close_ int fd = fs_open_within(root, path, O_RDONLY | O_NONBLOCK, &real, err);
	int r = fd < 0 ? fd : fs_read_fd(fd, name, limits.max_bytes, &text, err);
	return r < 0 ? r : yaml_read(name, str_peek(&text), text.len, &limits, ret, err);
}

static int read_file(const struct step_context *c, const char *name, struct resources *ret, struct faults *faults,
                     struct err *err)
{
	const struct apply_in *in = c->input;
	struct apply_in *document = arena_alloc(&ret->arena, sizeof(*document));
	int r = resource_read_file(c->deployment->source_root, name, &ret->doc, err);
	if (r < 0)
		return err_wrap(err, r, "the desired state");
	struct faults own = {0};
	r = fields_read_choices(&apply_fields, c->type->choices, yaml_root(ret->doc), ret->doc, "", false, &ret->arena,
	                        document, &own, err);
	if (r == 0 || r == ERR_INVALID) {
		if (document->file != NULL || document->target.count > 0 || document->targets != NULL ||
		    document->deployment != NULL || document->destroy != NULL || document->has_snapshot ||
		    document->has_keep_snapshots || document->has_parallel || document->has_restore_on_rollback ||
		    document->has_max_changes || document->has_max_destroy)
			faults_add(&own, ret->doc, "", "a desired state holds `resources` and `allow_destroy` only");
		take(document, ret, &own);
	}
	for (size_t i = 0; i < own.count; i++) {
		const struct fault *f = &own.items[i];
		faults_add(faults, NULL, "/file", "%s:%d:%d: %s: %s", name, f->mark.line, f->mark.column, f->pointer,
		           f->text);
		if (f->hint != NULL)
			faults_hint(faults, "%s", f->hint);
	}
	if (own.count == 0 && in->allow_destroy.count > 0) {
		size_t count = in->allow_destroy.count + document->allow_destroy.count;
		const char **names = arena_alloc(&ret->arena, (count + 1) * sizeof(*names));
		for (size_t i = 0; i < count; i++)
			names[i] = i < in->allow_destroy.count
			                   ? in->allow_destroy.items[i]
			                   : document->allow_destroy.items[i - in->allow_destroy.count];
		ret->allow_destroy = (struct field_strings){names, count};
	}
	faults_done(&own);
	return r == ERR_INVALID && faults->count > 0 ? 0 : r;
}

/* The name that was meant is the deployment's own: a slip destroys nothing. */
static int check_destroy(const struct step_context *c, const char *environment, struct err *err)
{
	if (strcmp(environment, c->deployment->environment) == 0)
		return 0;
	err_set(err, ERR_REFUSED, "`destroy` says '%s', and the environment is '%s'", environment,
	        c->deployment->environment);
	return err_hint(err, ERR_REFUSED, "nothing is destroyed unless it names the environment");
}

int apply_named(const struct step_context *c, json_t **ret, struct err *err)
{
	const struct apply_in *in = c->input;
	_cleanup_(resources_done) struct resources all = {0};
	struct faults faults = {0};
	*ret = NULL;
	if (in->destroy != NULL || in->file == NULL)
		return 0;
	int r = read_file(c, in->file, &all, &faults, err);
	if (r == 0)
		r = faults_to_err(&faults, NULL, err);
	faults_done(&faults);
	if (r == 0)
		*ret = json_deep_copy(yaml_root(all.doc));
	return r;
}

int apply_read(const struct step_context *c, struct resources *ret, struct faults *faults, struct err *err)
{
	const struct apply_in *in = c->input;
	*ret = (struct resources){0};
	if (in->destroy != NULL)
		return check_destroy(c, in->destroy, err);
	if (in->file == NULL) {
		apply_read_inline(c, ret, faults);
		return 0;
	}
	return read_file(c, in->file, ret, faults, err);
}
