/* The release that is valid now: its manifest, its deployment, and if a new one can be built upon it. */
#include "steps/archive_upload/archive_upload.h"
#include "base/sys/fs.h"
#include "steps/common/retention.h"

static bool is_fetched(const struct upload_fetched *f, const struct view *v, const char *path)
{
	return f->path && strcmp(f->path, path) == 0 && strcmp(f->target, v->name) == 0;
}

static void drop_fetched(struct upload_fetched *f)
{
	free(f->target);
	free(f->path);
	str_done(&f->text);
}

void upload_forget(void *memory)
{
	struct upload_memory *m = memory;
	drop_fetched(&m->fetched);
	upload_source_forget(&m->last);
}

static int fetch_manifest(struct upload_fetched *f, struct view *v, const char *path, struct err *err)
{
	_cleanup_(node_done) struct node n = {0};
	int r = host_stat(v, path, &n, err);

	if (r == 0 && n.type == NODE_ABSENT)
		return err_set(err, ERR_NOT_FOUND, "'%s' is not there", path);
	if (r < 0 || (is_fetched(f, v, path) && f->mtime_ns == n.mtime_ns && f->size == n.size))
		return r;
	drop_fetched(f);
	*f = (struct upload_fetched){.text = STR_INIT(MANIFEST_MAX)};
	r = host_read(v, path, MANIFEST_MAX, &f->text, err);
	if (r < 0)
		return r;
	f->target = xstrdup(v->name);
	f->path = xstrdup(path);
	f->mtime_ns = n.mtime_ns;
	f->size = n.size;
	return 0;
}

const struct str *upload_manifest_text(const struct step_context *c, const struct view *v, const char *path)
{
	const struct upload_memory *memory = c->memory;
	return is_fetched(&memory->fetched, v, path) ? &memory->fetched.text : NULL;
}

void upload_drop_large_text(const struct step_context *c)
{
	struct upload_memory *memory = c->memory;
	if (memory->fetched.text.len <= UPLOAD_TEXT_KEPT)
		return;
	drop_fetched(&memory->fetched);
	memory->fetched = (struct upload_fetched){0};
}

/* Reads every line once: from then on none of them can fail. */
static int check_lines(const char *path, const struct str *text, json_t **ret_head, struct err *err)
{
	struct manifest_reader lines;
	_cleanup_json_ json_t *head = NULL;
	int r = manifest_open(path, str_peek(text), text->len, &lines, &head, err);
	if (r < 0)
		return r;
	while ((r = manifest_next(&lines, err)) > 0)
		;
	manifest_close(&lines);
	if (r == 0)
		*ret_head = TAKE(head);
	return r;
}

int upload_read_head(const struct step_context *c, struct view *v, const char *path, json_t **ret, struct err *err)
{
	struct upload_memory *memory = c->memory;
	int r = fetch_manifest(&memory->fetched, v, path, err);

	if (r < 0)
		return r;
	r = check_lines(path, &memory->fetched.text, ret, err);
	if (r < 0)
		err_hint(
			err, r,
			"the manifest was not written by davit, or was damaged: look at it, and remove it together with its release");
	return r;
}

/* ---- its entries ---- */

void upload_former_done(struct upload_former *f)
{
	json_decref(f->head);
	free(f->distrusted);
	*f = (struct upload_former){0};
}

static void look(struct upload_former_lines *l)
{
	l->there = l->former->text && manifest_next(&l->reader, NULL) > 0;
	if (!l->there || !l->former->distrusted || !l->former->distrusted[l->index])
		return;
	l->reader.entry.mode = 0;
	l->reader.entry.digest_from = TREE_DIGEST_NONE;
	l->reader.blob = (struct manifest_blob){0};
}

void upload_former_begin(const struct upload_former *f, struct upload_former_lines *ret)
{
	_cleanup_json_ json_t *head = NULL;
	*ret = (struct upload_former_lines){.former = f};
	if (f->text &&
	    manifest_open("the previous manifest", str_peek(f->text), f->text->len, &ret->reader, &head, NULL) == 0)
		look(ret);
}

void upload_former_next(struct upload_former_lines *l)
{
	l->index++;
	look(l);
}

void upload_former_end(struct upload_former_lines *l)
{
	manifest_close(&l->reader);
}

/* ---- whose it is ---- */

static int check_owner(const struct upload *u, const json_t *head, struct err *err)
{
	const char *other = json_get_string(head, "deployment");

	if (!other || strcmp(other, u->deployment) == 0)
		return 0;
	int r = err_set(err, ERR_REFUSED, "'%s' is released to by another deployment, '%s'", u->at.path, other);
	return err_hint(err, r, "give '%s' a path of its own", u->deployment);
}

/* Without a `current` the newest manifest tells whose the releases are. */
static int check_newest_manifest(const struct step_context *c, struct view *v, struct upload *u, struct err *err)
{
	_cleanup_(strv_done) struct strv names = {0};
	const struct node *there;

	int r = node_cache_stat(&u->seen, v, u->at.releases, &there, err);
	if (r < 0 || there->type == NODE_ABSENT)
		return r;
	r = host_list(v, u->at.releases, &names, err);
	if (r == ERR_NOT_FOUND) {
		err_clear(err);
		return 0;
	}
	if (r < 0)
		return err_wrap(err, r, "list '%s' on '%s'", u->at.releases, v->name);
	for (size_t i = names.count; i > 0; i--) {
		if (names.items[i - 1][0] != '.' || !str_ends(names.items[i - 1], ".manifest"))
			continue;
		_cleanup_free_ char *path = fs_join(u->at.releases, names.items[i - 1]);
		_cleanup_json_ json_t *head = NULL;
		r = upload_read_head(c, v, path, &head, err);
		return r < 0 ? r : check_owner(u, head, err);
	}
	return 0;
}

int upload_find_former(const struct step_context *c, struct view *v, struct upload *u, struct node *ret_node,
                       struct err *err)
{
	const struct node *there;
	int r = node_cache_stat(&u->seen, v, u->at.current, &there, err);
	if (r < 0)
		return err_wrap(err, r, "look at '%s' on '%s'", u->at.current, v->name);
	*ret_node = *there;
	ret_node->link = xstrdup(there->link);
	const char *name = ret_node->type == NODE_LINK ? retention_name_of_link(u->at.releases, ret_node->link) : NULL;
	if (!name)
		return check_newest_manifest(c, v, u, err);
	_cleanup_free_ char *path = xasprintf("%s/.%s.manifest", u->at.releases, name);
	r = upload_read_head(c, v, path, &u->former.head, err);
	if (r == ERR_NOT_FOUND) { /* before-davit, or a link set by somebody else */
		err_clear(err);
		return check_newest_manifest(c, v, u, err);
	}
	if (r == 0)
		r = check_owner(u, u->former.head, err);
	if (r < 0)
		return r;
	u->former.text = upload_manifest_text(c, v, path);
	u->former_name = xstrdup(name);
	u->former_release = fs_join(u->at.releases, name);
	return 0;
}

/* verify: full checks the previous release against its manifest; files that differ are sent again. */
int upload_distrust_former(const struct step_context *c, struct view *v, struct upload *u, struct plan *plan,
                           struct err *err)
{
	struct tree now = {0};
	bool *distrusted = NULL;
	size_t bad = 0, cap = 0;

	if (!u->former_release || u->in->verify != ARCHIVE_UPLOAD_VERIFY_FULL)
		return 0;
	c->report(c->engine, "verify: reading all of %s", u->former_release);
	int r = host_tree(v, u->former_release, true, &now, err);
	if (r < 0)
		return err_wrap(err, r, "look at the files of '%s' on '%s'", u->former_release, v->name);
	struct upload_former_lines former;
	for (upload_former_begin(&u->former, &former); former.there; upload_former_next(&former)) {
		const struct tree_entry *there = tree_find(&now, former.reader.entry.path);
		distrusted = xgrow(distrusted, &cap, former.index + 1, sizeof(*distrusted));
		distrusted[former.index] = !there || !manifest_same(&former.reader.entry, there);
		bad += distrusted[former.index];
	}
	upload_former_end(&former);
	u->former.distrusted = distrusted;
	tree_done(&now);
	if (bad > 0)
		strv_addf(&plan->warnings, "%zu entries of release %s are not as they were sent: they are sent again",
		          bad, u->former_name);
	return 0;
}
