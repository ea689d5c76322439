/* "file": content and attributes, put whole or not at all. */
#include "engine/change/change_priv.h"
#include "engine/alone/alone.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>

/* The digests of a secret file's two contents lie beside its previous content on the target. ret_saved false: they do not
 * exist, so the change was never started (it starts after they were made durable). */
static int secret_digests(struct change_call *x, const struct change *c, char before[DIGEST_HEX],
                          char after[DIGEST_HEX], bool *ret_saved, struct err *err)
{
	_cleanup_free_ char *after_path = change_undo_path(x->lock_dir, c, ".after");
	_cleanup_free_ char *former_path = change_undo_path(x->lock_dir, c, "");
	_cleanup_(str_done) struct str text = STR_INIT(DIGEST_HEX);
	*ret_saved = false;
	int r = host_read(x->v, after_path, DIGEST_HEX - 1, &text, err);
	if (r == ERR_NOT_FOUND)
		return 0;
	if (r < 0)
		return err_wrap(err, r, "read '%s'", after_path);
	snprintf(after, DIGEST_HEX, "%s", str_peek(&text));
	if (node_type_of(c->before) == NODE_FILE) {
		r = host_digest(x->v, former_path, before, err);
		if (r == ERR_NOT_FOUND)
			return 0;
		if (r < 0)
			return err_wrap(err, r, "read '%s'", former_path);
	}
	*ret_saved = true;
	return 0;
}

static int compare(struct change_call *x, const struct change *c, enum change_match *ret, struct err *err)
{
	char before[DIGEST_HEX] = "", after[DIGEST_HEX] = "";
	_cleanup_(node_done) struct node n = {0};
	bool saved;
	if (!c->secret || x->lock_dir == NULL)
		return change_compare_node(x, c, ret, err);
	int r = secret_digests(x, c, before, after, &saved, err);
	if (r < 0)
		return r;
	if (!saved) {
		*ret = MATCH_BEFORE;
		return 0;
	}
	return change_compare_digests(x, c, *before ? before : NULL, after, &n, ret, err);
}

/* The record of a secret has no digest: that of the new content lies beside the previous content. */
static int save(struct change_call *x, const struct change *c, struct err *err)
{
	int r = change_save_file(x, c, err);
	if (r < 0 || !c->secret)
		return r;
	char hex[DIGEST_HEX];
	_cleanup_free_ char *path = change_undo_path(x->lock_dir, c, ".after");
	const struct node_attr attr = {.set_mode = true, .mode = 0600};
	digest_of(str_peek(&c->content), c->content.len, hex);
	r = host_put(x->t, path, hex, DIGEST_HEX - 1, &attr, err);
	OPENSSL_cleanse(hex, sizeof(hex));
	return r;
}

static int apply(struct change_call *x, struct change *c, struct err *err)
{
	_cleanup_(str_done) struct str readers = STR_INIT(64 << 10);
	struct node_attr attr;
	if (c->action == ACTION_ADOPT)
		return 0;
	change_attr_of(c, "r", &attr, &readers);
	return host_put(x->t, c->path, str_peek(&c->content), c->content.len, &attr, err);
}

static void alone(const struct change *c, struct str *out)
{
	if (c->action != ACTION_ADOPT)
		alone_line_restore(c, c->secret, out);
}

static void needs(const struct change *c, struct strv *ret)
{
	change_needs_owners(c, ret);
	change_needs_parent(c, ret);
}

const struct change_type change_file = {
	.name = "file",
	.flags = CHANGE_FILES,
	.compare = compare,
	.explain = change_explain_node,
	.save = save,
	.apply = apply,
	.undo = change_restore,
	.alone = alone,
	.needs = needs,
};
