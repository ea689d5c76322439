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

static int fetch_manifest(struct upload_fetched *f, struct view *v, const char *path, struct str *out, struct err *err)
{
	_cleanup_(node_done) struct node n = {0};
	int r = host_stat(v, path, &n, err);

	if (r == 0 && n.type == NODE_ABSENT)
		return err_set(err, ERR_NOT_FOUND, "'%s' is not there", path);
	if (r < 0)
		return r;
	if (is_fetched(f, v, path) && f->mtime_ns == n.mtime_ns && f->size == n.size) {
		str_append_n(out, f->text.data, f->text.len);
		return 0;
	}
	r = host_read(v, path, MANIFEST_MAX, out, err);
	if (r < 0)
		return r;
	drop_fetched(f);
	*f = (struct upload_fetched){.target = xstrdup(v->name),
	                             .path = xstrdup(path),
	                             .mtime_ns = n.mtime_ns,
	                             .size = n.size,
	                             .text = STR_INIT(MANIFEST_MAX)};
	str_append_n(&f->text, str_peek(out), out->len);
	return 0;
}

const struct str *upload_manifest_text(const struct step_context *c, const struct view *v, const char *path)
{
	const struct upload_memory *memory = c->memory;
	return is_fetched(&memory->fetched, v, path) ? &memory->fetched.text : NULL;
}

int upload_read_manifest(const struct step_context *c, struct view *v, const char *path, struct manifest *ret,
                         struct err *err)
{
	struct upload_memory *memory = c->memory;
	_cleanup_(str_done) struct str text = STR_INIT(MANIFEST_MAX);
	int r = fetch_manifest(&memory->fetched, v, path, &text, err);

	if (r < 0)
		return r;
	r = manifest_parse(path, str_peek(&text), text.len, ret, err);
	if (r < 0)
		err_hint(
			err, r,
			"the manifest was not written by davit, or was damaged: look at it, and remove it together with its release");
	return r;
}

static int check_owner(const struct upload *u, const struct manifest *m, struct err *err)
{
	const char *other = json_get_string(m->head, "deployment");

	if (!other || strcmp(other, u->deployment) == 0)
		return 0;
	int r = err_set(err, ERR_REFUSED, "'%s' is released to by another deployment, '%s'", u->at.path, other);
	return err_hint(err, r, "give '%s' a path of its own", u->deployment);
}

/* Without a `current` the newest manifest tells whose the releases are. */
static int check_newest_manifest(const struct step_context *c, struct view *v, struct upload *u, struct err *err)
{
	_cleanup_(strv_done) struct strv names = {0};
	struct manifest m = {0};
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
		r = upload_read_manifest(c, v, path, &m, err);
		if (r == 0)
			r = check_owner(u, &m, err);
		manifest_done(&m);
		return r;
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
	r = upload_read_manifest(c, v, path, &u->former, err);
	if (r == ERR_NOT_FOUND) { /* before-davit, or a link set by somebody else */
		err_clear(err);
		return check_newest_manifest(c, v, u, err);
	}
	if (r == 0)
		r = check_owner(u, &u->former, err);
	if (r < 0)
		return r;
	u->former_name = xstrdup(name);
	u->former_release = fs_join(u->at.releases, name);
	return 0;
}

/* verify: full checks the previous release against its manifest; files that differ are sent again. */
int upload_distrust_former(const struct step_context *c, struct view *v, struct upload *u, struct plan *plan,
                           struct err *err)
{
	struct tree now = {0};
	size_t bad = 0;

	if (!u->former_release || u->in->verify != ARCHIVE_UPLOAD_VERIFY_FULL)
		return 0;
	c->report(c->engine, "verify: reading all of %s", u->former_release);
	int r = host_tree(v, u->former_release, true, &now, err);
	if (r < 0)
		return err_wrap(err, r, "look at the files of '%s' on '%s'", u->former_release, v->name);
	for (size_t i = 0; i < u->former.tree.count; i++) {
		struct tree_entry *e = &u->former.tree.entries[i];
		const struct tree_entry *there = tree_find(&now, e->path);
		if (there && manifest_same(e, there))
			continue;
		e->mode = 0;
		e->digest_from = TREE_DIGEST_NONE;
		u->former.blobs[i] = (struct manifest_blob){0};
		bad++;
	}
	tree_done(&now);
	if (bad > 0)
		strv_addf(&plan->warnings, "%zu entries of release %s are not as they were sent: they are sent again",
		          bad, u->former_name);
	return 0;
}
