/* What a change does to a target: look, compare, save, apply, undo. Its record alone: engine/record/change.c. */
#include "engine/change/change.h"

#include "base/secret/digest.h"
#include "base/data/json.h"
#include <inttypes.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>

static bool same_owner(const char *expected, const char *name, unsigned int number)
{
	char digits[16];
	snprintf(digits, sizeof(digits), "%u", number);
	return expected == NULL || strcmp(expected, name) == 0 || strcmp(expected, digits) == 0;
}

static bool same_mode(const char *expected, mode_t mode)
{
	return expected == NULL || strtoul(expected, NULL, 8) == (unsigned long)(mode & 07777);
}

static bool same_attributes(const json_t *expected, const struct node *n)
{
	return same_mode(json_get_string(expected, "mode"), n->mode) &&
	       same_owner(json_get_string(expected, "owner"), n->owner, n->uid) &&
	       same_owner(json_get_string(expected, "group"), n->group, n->gid);
}

/* digest: of what is there; "" when it was not made. */
static bool node_matches(const json_t *expected, const char *expected_digest, const struct node *n, const char *digest)
{
	enum node_type type = node_type_of(expected);
	if (type != n->type)
		return false;
	if (type == NODE_LINK)
		return strcmp(json_get_string(expected, "link") ? json_get_string(expected, "link") : "",
		              n->link ? n->link : "") == 0;
	if (type == NODE_FILE && expected_digest && strcmp(expected_digest, digest) != 0)
		return false;
	return type == NODE_ABSENT || type == NODE_OTHER || same_attributes(expected, n);
}

/* Each attribute is the one's or the other's: an interrupted change of a directory's attributes, or a directory that was made but not
 * yet given its own. */
static bool dir_is_between(const struct change *c, const struct node *n)
{
	if (c->kind != CHANGE_DIR || n->type != NODE_DIR)
		return false;
	if (node_type_of(c->before) != NODE_DIR)
		return true;
	const char *const keys[] = {"mode", "owner", "group"};
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		_cleanup_json_ json_t *only_before = json_object(), *only_after = json_object();
		json_t *b = json_object_get(c->before, keys[i]), *a = json_object_get(c->after, keys[i]);
		if (b)
			json_object_set(only_before, keys[i], b);
		if (a)
			json_object_set(only_after, keys[i], a);
		if (!same_attributes(only_before, n) && !(a && same_attributes(only_after, n)))
			return false;
	}
	return true;
}

static char *undo_path(const char *lock_dir, const struct change *c, const char *suffix)
{
	return xasprintf("%s/undo/%" PRId64 "%s", lock_dir, c->id, suffix);
}

static int compare_move(struct view *v, const struct change *c, enum change_match *ret, struct err *err)
{
	const char *to = json_get_string(c->extra, "to");
	_cleanup_(node_done) struct node here = {0};
	_cleanup_(node_done) struct node there = {0};
	if (to == NULL)
		return err_set(err, ERR_PROTOCOL, "a move without its goal");
	int r = v->type->stat(v, c->path, &here, err);
	if (r == 0)
		r = v->type->stat(v, to, &there, err);
	if (r < 0)
		return r;
	if (here.type != NODE_ABSENT && there.type == NODE_ABSENT)
		*ret = MATCH_BEFORE;
	else if (here.type == NODE_ABSENT && there.type != NODE_ABSENT)
		*ret = MATCH_AFTER;
	else
		*ret = MATCH_NEITHER;
	return 0;
}

/* The digests of a secret file's two contents lie beside its former content on the target. ret_saved false: they are not
 * there, so the change was never started (it starts after they were made durable). */
static int secret_digests(struct view *v, const char *lock_dir, const struct change *c, char before[DIGEST_HEX],
                          char after[DIGEST_HEX], bool *ret_saved, struct err *err)
{
	_cleanup_free_ char *after_path = undo_path(lock_dir, c, ".after");
	_cleanup_free_ char *former_path = undo_path(lock_dir, c, "");
	_cleanup_(str_done) struct str text = STR_INIT(DIGEST_HEX);
	*ret_saved = false;
	int r = v->type->read(v, after_path, DIGEST_HEX - 1, &text, err);
	if (r == ERR_NOT_FOUND)
		return 0;
	if (r < 0)
		return err_wrap(err, r, "read '%s'", after_path);
	snprintf(after, DIGEST_HEX, "%s", str_peek(&text));
	if (node_type_of(c->before) == NODE_FILE) {
		r = v->type->digest(v, former_path, before, err);
		if (r == ERR_NOT_FOUND)
			return 0;
		if (r < 0)
			return err_wrap(err, r, "read '%s'", former_path);
	}
	*ret_saved = true;
	return 0;
}

/* Its manifest beside it belongs to it. */
static int compare_tree(struct view *v, const struct change *c, enum change_match *ret, struct err *err)
{
	const char *manifest = json_get_string(c->extra, "manifest");
	const char *const paths[] = {c->path, manifest};
	struct node n[2] = {0};
	int r = target_stat_all(v, paths, manifest ? 2 : 1, n, err);
	if (r < 0)
		return r;
	*ret = n[0].type == NODE_ABSENT ? MATCH_BEFORE : n[0].type == NODE_DIR ? MATCH_AFTER : MATCH_NEITHER;
	if (*ret == MATCH_BEFORE && manifest && n[1].type != NODE_ABSENT)
		*ret = MATCH_PART;
	node_done(&n[0]);
	node_done(&n[1]);
	return 0;
}

int change_compare(struct view *v, const char *lock_dir, const struct change *c, enum change_match *ret,
                   struct err *err)
{
	char digest[DIGEST_HEX] = "", secret_before[DIGEST_HEX] = "", secret_after[DIGEST_HEX] = "";
	const char *before_digest = json_get_string(c->before, "digest");
	const char *after_digest = json_get_string(c->after, "digest");
	_cleanup_(node_done) struct node n = {0};
	if (c->kind == CHANGE_COMMAND) {
		*ret = MATCH_NEITHER;
		return 0;
	}
	if (c->kind == CHANGE_MOVE)
		return compare_move(v, c, ret, err);
	if (c->kind == CHANGE_RELEASE || c->kind == CHANGE_SNAPSHOT)
		return compare_tree(v, c, ret, err);
	int r = v->type->stat(v, c->path, &n, err);
	if (r < 0)
		return r;
	if (c->secret && c->kind == CHANGE_FILE && lock_dir) {
		bool saved;
		r = secret_digests(v, lock_dir, c, secret_before, secret_after, &saved, err);
		if (r < 0)
			return r;
		if (!saved) {
			*ret = MATCH_BEFORE;
			return 0;
		}
		before_digest = *secret_before ? secret_before : NULL;
		after_digest = secret_after;
	}
	if (n.type == NODE_FILE && (before_digest || after_digest)) {
		r = v->type->digest(v, c->path, digest, err);
		if (r < 0)
			return r;
	}
	bool before = node_matches(c->before, before_digest, &n, digest);
	bool after = node_matches(c->after, after_digest, &n, digest);
	if (before)
		*ret = after ? MATCH_BOTH : MATCH_BEFORE;
	else
		*ret = after ? MATCH_AFTER : dir_is_between(c, &n) ? MATCH_PART : MATCH_NEITHER;
	return 0;
}

int change_explain(struct view *v, const struct change *c, struct str *out, struct err *err)
{
	_cleanup_json_ json_t *now = NULL;
	const json_t *want = c->after;
	const char *key;
	json_t *value;
	int r = target_look(v, c->path, !c->secret, &now, err);
	if (r < 0)
		return r;
	const char *type = json_get_string(now, "type"), *want_type = json_get_string(want, "type");
	if (want_type == NULL || strcmp(type, want_type) != 0) {
		str_appendf(out, "there is %s instead of %s", type, want_type ? want_type : "what was made");
		return 0;
	}
	size_t found = 0;
	json_object_foreach((json_t *)want, key, value)
	{
		json_t *other = json_object_get(now, key);
		if (other == NULL || json_equal(value, other) || strcmp(key, "mtime_ns") == 0 ||
		    strcmp(key, "size") == 0)
			continue;
		_cleanup_free_ char *a = json_is_string(other) ? xstrdup(json_string_value(other)) : json_text(other);
		_cleanup_free_ char *b = json_is_string(value) ? xstrdup(json_string_value(value)) : json_text(value);
		if (strcmp(key, "digest") == 0)
			str_appendf(out, "%sthe content is another", found ? ", " : "");
		else
			str_appendf(out, "%sthe %s is %s instead of %s", found ? ", " : "", key, a, b);
		found++;
	}
	if (found == 0)
		str_append(out, "the content is another");
	return 0;
}

/* ---- save, apply, undo ---- */

/* Under a name of its own first, so that undo/ID is whole or absent. */
static int save_copy(struct target *t, const struct change *c, struct err *err)
{
	_cleanup_free_ char *saved = undo_path(t->lock_dir, c, "");
	_cleanup_free_ char *part = undo_path(t->lock_dir, c, ".part");
	const struct target_type *type = t->view.type;
	int r = type->remove_tree(t, part, err);
	if (r == 0)
		r = type->copy(t, c->path, part, err);
	if (r == 0)
		r = type->rename(t, part, saved, err);
	return r;
}

/* A directory's attributes alone: an empty one that has them. */
static int save_directory(struct target *t, const struct change *c, struct err *err)
{
	_cleanup_free_ char *saved = undo_path(t->lock_dir, c, "");
	_cleanup_free_ char *part = undo_path(t->lock_dir, c, ".part");
	const struct target_type *type = t->view.type;
	int r = type->remove_tree(t, part, err);
	if (r == 0)
		r = type->mkdir(t, part, NULL, err);
	if (r == 0)
		r = type->dress_like(t, part, c->path, err);
	if (r == 0)
		r = type->remove_tree(t, saved, err);
	if (r == 0)
		r = type->rename(t, part, saved, err);
	return r;
}

int change_save_former(struct target *t, const struct change *c, struct err *err)
{
	int r = 0;
	bool changes_directory = node_type_of(c->before) == NODE_DIR &&
	                         (c->kind == CHANGE_DIR || c->kind == CHANGE_REMOVE) && c->action != ACTION_ADOPT &&
	                         t->view.type->dress_like;
	bool replaces_file = node_type_of(c->before) == NODE_FILE &&
	                     (c->kind == CHANGE_FILE || c->kind == CHANGE_LINK || c->kind == CHANGE_REMOVE);
	if (replaces_file)
		r = save_copy(t, c, err);
	else if (changes_directory)
		r = save_directory(t, c, err);
	if (r == 0 && c->secret && c->kind == CHANGE_FILE) {
		char hex[DIGEST_HEX];
		_cleanup_free_ char *path = undo_path(t->lock_dir, c, ".after");
		const struct node_attr attr = {.set_mode = true, .mode = 0600};
		digest_of(str_peek(&c->content), c->content.len, hex);
		r = t->view.type->put(t, path, hex, DIGEST_HEX - 1, &attr, err);
		OPENSSL_cleanse(hex, sizeof(hex));
	}
	return r < 0 ? err_wrap(err, r, "save the former content of '%s' on '%s'", c->path, t->view.name) : 0;
}

static void attr_from(const json_t *node, bool with_mtime, struct node_attr *ret)
{
	const char *mode = json_get_string(node, "mode");
	memset(ret, 0, sizeof(*ret));
	if (mode) {
		ret->set_mode = true;
		ret->mode = (mode_t)strtoul(mode, NULL, 8);
	}
	ret->owner = json_get_string(node, "owner");
	ret->group = json_get_string(node, "group");
	if (with_mtime && json_object_get(node, "mtime_ns")) {
		ret->set_mtime = true;
		ret->mtime_ns = json_get_int(node, "mtime_ns", 0);
	}
}

/* What the change is to set. A secret is readable by those that it names and by nobody else: neither what is there by now nor its
 * folder adds anybody. With an access list its mask stands as the group bits of `after`; base_mode is without it. readers: holds
 * the list. */
static void attr_of(const struct change *c, struct node_attr *ret, struct str *readers)
{
	const json_t *uids = json_object_get(json_object_get(c->extra, "plan"), "acl");
	const char *base_mode = json_get_string(c->extra, "base_mode");
	attr_from(c->after, true, ret);
	ret->fresh = node_type_of(c->before) != NODE_FILE;
	ret->alone = c->secret || base_mode;
	if (json_array_size(uids) == 0 || base_mode == NULL)
		return;
	for (size_t i = 0; i < json_array_size(uids); i++)
		str_appendf(readers, "%su:%s:%s", i == 0 ? "" : ",", json_string_value(json_array_get(uids, i)),
		            c->kind == CHANGE_DIR ? "rx" : "r");
	ret->set_mode = true;
	ret->mode = (mode_t)strtoul(base_mode, NULL, 8);
	ret->acl = str_peek(readers);
}

/* A link over a file is made beside it and renamed over it, so that there is no moment without either. */
static int put_link(struct target *t, const char *path, const char *link, bool over_file, struct err *err)
{
	if (!over_file)
		return t->view.type->symlink(t, path, link, err);
	_cleanup_free_ char *beside = target_fresh_name(path, "link");
	int r = t->view.type->symlink(t, beside, link, err);
	if (r == 0)
		r = t->view.type->rename(t, beside, path, err);
	return r;
}

static int absent_is_fine(int r, struct err *err)
{
	if (r != ERR_NOT_FOUND)
		return r;
	err_clear(err);
	return 0;
}

static int apply_dir(struct target *t, const struct change *c, struct err *err)
{
	_cleanup_(str_done) struct str readers = STR_INIT(64 << 10);
	struct node_attr attr;
	attr_of(c, &attr, &readers);
	if (node_type_of(c->before) == NODE_DIR)
		return t->view.type->set_attr(t, c->path, &attr, err);
	int r = t->view.type->mkdir(t, c->path, &attr, err);
	if (r != ERR_EXISTS)
		return r;
	_cleanup_(node_done) struct node n = {0};
	r = t->view.type->stat(&t->view, c->path, &n, err);
	if (r < 0)
		return r;
	/* Made by a former try whose reply was lost. */
	if (n.type == NODE_DIR)
		return t->view.type->set_attr(t, c->path, &attr, err);
	return err_set(err, ERR_CONFLICT, "'%s' is there and no directory", c->path);
}

int change_apply(struct target *t, const struct change *c, struct err *err)
{
	const struct target_type *type = t->view.type;
	_cleanup_(str_done) struct str readers = STR_INIT(64 << 10);
	struct node_attr attr;
	int r;
	if (c->action == ACTION_ADOPT && c->kind != CHANGE_MOVE)
		return 0;
	switch (c->kind) {
	case CHANGE_FILE:
		attr_of(c, &attr, &readers);
		r = type->put(t, c->path, str_peek(&c->content), c->content.len, &attr, err);
		break;
	case CHANGE_DIR:
		r = apply_dir(t, c, err);
		break;
	case CHANGE_LINK:
		r = put_link(t, c->path, json_get_string(c->after, "link"), node_type_of(c->before) == NODE_FILE, err);
		break;
	case CHANGE_REMOVE:
		r = absent_is_fine(type->remove(t, c->path, err), err);
		break;
	case CHANGE_MOVE:
		r = type->rename(t, c->path, json_get_string(c->extra, "to"), err);
		break;
	case CHANGE_RELEASE:
	case CHANGE_SNAPSHOT:
		attr_from(c->after, false, &attr);
		r = type->mkdir(t, c->path, &attr, err);
		if (r == ERR_EXISTS) {
			err_clear(err);
			r = 0;
		}
		break;
	case CHANGE_COMMAND:
	default:
		return err_set(err, ERR_UNSUPPORTED, "a command is run by its step");
	}
	return r < 0 ? err_wrap(err, r, "%s '%s' on '%s'", change_action_name(c->action), c->path, t->view.name) : 0;
}

/* A copy of what was saved comes to lie beside the path and is renamed over it: owner, mode, time and ACL come with it. Durable before
 * the name is: a power cut must not leave the name with half of the content. */
static int restore_file(struct target *t, const struct change *c, struct err *err)
{
	_cleanup_free_ char *saved = undo_path(t->lock_dir, c, "");
	_cleanup_free_ char *beside = target_fresh_name(c->path, "undo");
	const char *const paths[] = {beside};
	const struct target_type *type = t->view.type;
	int r = type->copy(t, saved, beside, err);
	if (r == 0)
		r = type->barrier(t, paths, 1, err);
	if (r == 0)
		r = type->rename(t, beside, c->path, err);
	return r;
}

/* The saved attributes of a directory: owner, mode, ACL, time. A deployment of an earlier davit has none. */
static int dress_again(struct target *t, const struct change *c, struct err *err)
{
	_cleanup_free_ char *saved = undo_path(t->lock_dir, c, "");
	_cleanup_(node_done) struct node n = {0};
	if (t->view.type->dress_like == NULL)
		return 0;
	int r = t->view.type->stat(&t->view, saved, &n, err);
	return r < 0 || n.type != NODE_DIR ? r : t->view.type->dress_like(t, c->path, saved, err);
}

static int make_again(struct target *t, const struct change *c, struct err *err)
{
	struct node_attr attr;
	attr_from(c->before, true, &attr);
	int r = t->view.type->mkdir(t, c->path, &attr, err);
	if (r == ERR_EXISTS)
		r = t->view.type->set_attr(t, c->path, &attr, err);
	return r < 0 ? r : dress_again(t, c, err);
}

static int restore_node(struct target *t, const struct change *c, struct err *err)
{
	const struct target_type *type = t->view.type;
	struct node_attr attr;
	int r;
	switch (node_type_of(c->before)) {
	case NODE_ABSENT:
		return absent_is_fine(type->remove(t, c->path, err), err);
	case NODE_FILE:
		return restore_file(t, c, err);
	case NODE_LINK:
		return put_link(t, c->path, json_get_string(c->before, "link"), c->kind == CHANGE_FILE, err);
	case NODE_DIR:
		if (c->kind != CHANGE_DIR)
			return make_again(t, c, err);
		attr_from(c->before, true, &attr);
		r = type->set_attr(t, c->path, &attr, err);
		return r < 0 ? r : dress_again(t, c, err);
	case NODE_OTHER:
	default:
		return err_set(err, ERR_UNSUPPORTED, "'%s' was no file, directory or link", c->path);
	}
}

/* What was removed comes back into its folder, whose time is not to be that of the undo: it may be one that came back before. */
static int restore_removed(struct target *t, const struct change *c, struct err *err)
{
	const char *slash = strrchr(c->path, '/');
	_cleanup_free_ char *folder = slash == c->path ? xstrdup("/") : xstrndup(c->path, (size_t)(slash - c->path));
	_cleanup_(node_done) struct node n = {0};
	int r = t->view.type->stat(&t->view, folder, &n, err);
	if (r == 0)
		r = restore_node(t, c, err);
	if (r < 0 || n.type != NODE_DIR)
		return r;
	/* Somebody else's folder keeps the time that it has. */
	const struct node_attr time = {.set_mtime = true, .mtime_ns = n.mtime_ns};
	if (t->view.type->set_attr(t, folder, &time, err) == ERR_PERMISSION)
		err_clear(err);
	return 0;
}

static int undo_tree(struct target *t, const struct change *c, struct err *err)
{
	const char *manifest = json_get_string(c->extra, "manifest");
	int r = t->view.type->remove_tree(t, c->path, err);
	if (r == 0 && manifest)
		r = absent_is_fine(t->view.type->remove(t, manifest, err), err);
	return r;
}

int change_undo(struct target *t, const struct change *c, struct err *err)
{
	int r;
	if (c->action == ACTION_ADOPT && c->kind != CHANGE_MOVE)
		return 0;
	switch (c->kind) {
	case CHANGE_FILE:
	case CHANGE_DIR:
	case CHANGE_LINK:
		r = restore_node(t, c, err);
		break;
	case CHANGE_REMOVE:
		r = restore_removed(t, c, err);
		break;
	case CHANGE_MOVE:
		r = t->view.type->rename(t, json_get_string(c->extra, "to"), c->path, err);
		break;
	case CHANGE_RELEASE:
	case CHANGE_SNAPSHOT:
		r = undo_tree(t, c, err);
		break;
	case CHANGE_COMMAND:
	default:
		return err_set(err, ERR_UNSUPPORTED, "'%s' has no undo", c->summary ? c->summary : c->path);
	}
	return r < 0 ? err_wrap(err, r, "take back '%s' on '%s'", c->path, t->view.name) : 0;
}
