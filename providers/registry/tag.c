#include "providers/registry/tag.h"

#include "base/data/json.h"
#include "engine/change/change.h"
#include "providers/registry/copy.h"
#include "providers/registry/target.h"

#include <string.h>

static json_t *node_of(const char *digest)
{
	return digest[0] != '\0' ? json_pack("{s:s, s:s}", "type", "image", "digest", digest)
	                         : json_pack("{s:s}", "type", "absent");
}

static const char *digest_in(const json_t *node)
{
	const char *digest = json_get_string(node, "digest");
	return digest != NULL ? digest : "";
}

/* A record may come from elsewhere: what it names is checked before it becomes a part of a URL. */
static int read_path(const struct change *c, struct registry_image *ret, struct err *err)
{
	int e = registry_image_read(c->path, ret, err);
	if (e >= 0 && (ret->tag == NULL || ret->digest[0] != '\0')) {
		registry_image_done(ret);
		e = err_set(err, ERR_INVALID, "'%s' is not REPOSITORY:TAG", c->path);
	}
	return e;
}

static int look(struct view *v, const struct registry_image *image, char ret[REGISTRY_DIGEST_SIZE], struct err *err)
{
	struct registry *r = registry_of_target(v);
	if (r == NULL)
		return err_set(err, ERR_INVALID, "target '%s' is not a registry", v->name);
	return registry_manifest_digest(r, image->repository, image->tag, v->wait, ret, err);
}

int registry_tag_look(struct view *v, const char *path, json_t **ret_node, struct err *err)
{
	struct registry_image image _cleanup_(registry_image_done) = {0};
	char now[REGISTRY_DIGEST_SIZE];
	int e = registry_image_read(path, &image, err);
	if (e >= 0)
		e = look(v, &image, now, err);
	if (e >= 0)
		*ret_node = node_of(now);
	return e;
}

static int compare(struct change_call *x, const struct change *c, enum change_match *ret, struct err *err)
{
	struct registry_image image _cleanup_(registry_image_done) = {0};
	char now[REGISTRY_DIGEST_SIZE];
	int e = read_path(c, &image, err);
	if (e >= 0)
		e = look(x->v, &image, now, err);
	if (e < 0)
		return e;
	bool before = strcmp(now, digest_in(c->before)) == 0, after = strcmp(now, digest_in(c->after)) == 0;
	*ret = before ? (after ? MATCH_BOTH : MATCH_BEFORE) : after ? MATCH_AFTER : MATCH_NEITHER;
	return 0;
}

static int explain(struct change_call *x, const struct change *c, struct str *out, struct err *err)
{
	struct registry_image image _cleanup_(registry_image_done) = {0};
	char now[REGISTRY_DIGEST_SIZE];
	int e = read_path(c, &image, err);
	if (e >= 0)
		e = look(x->v, &image, now, err);
	if (e >= 0)
		str_appendf(out, "it leads to %s instead of %s", now[0] != '\0' ? now : "nothing",
		            digest_in(c->after)[0] != '\0' ? digest_in(c->after) : "nothing");
	return e;
}

void registry_tag_set_source(struct change *c, struct registry *source)
{
	c->payload = source;
	c->payload_free = NULL;
}

static int guard(void *context, struct err *err)
{
	return change_guard(context, err);
}

/* Somebody who moved the tag since the plan was made is not overruled. */
static int expect(struct change_call *x, const struct change *c, const struct registry_image *image, const json_t *one,
                  const json_t *other, struct err *err)
{
	char now[REGISTRY_DIGEST_SIZE];
	int e = look(x->v, image, now, err);
	if (e < 0 || strcmp(now, digest_in(one)) == 0 || strcmp(now, digest_in(other)) == 0)
		return e;
	return err_set(err, ERR_CONFLICT, "somebody else moved '%s' to %s", c->path, now[0] != '\0' ? now : "nothing");
}

static int put_tag(struct change_call *x, const struct registry_image *image, const struct registry_manifest *m,
                   struct err *err)
{
	int e = change_guard(x, err);
	return e < 0 ? e
	             : registry_manifest_put(registry_of_target(x->v), image->repository, image->tag, m, x->v->wait,
	                                     err);
}

static int apply(struct change_call *x, struct change *c, struct err *err)
{
	struct registry_image image _cleanup_(registry_image_done) = {0};
	struct registry_manifest m _cleanup_(registry_manifest_done) = REGISTRY_MANIFEST_INIT;
	const char *from = json_get_string(c->extra, "from");
	struct registry_copy copy = {
		.from = c->payload != NULL ? c->payload : registry_of_target(x->v),
		.to = registry_of_target(x->v),
		.from_repository = from,
		.wait = x->v->wait,
		.guard = guard,
		.context = x,
	};
	int e = read_path(c, &image, err);
	if (e >= 0)
		e = expect(x, c, &image, c->before, c->after, err);
	if (e < 0)
		return e;
	copy.to_repository = image.repository;
	e = registry_manifest_get(copy.from, from, digest_in(c->after), x->v->wait, &m, err);
	if (e >= 0)
		e = registry_copy_content(&copy, &m, err);
	return e < 0 ? e : put_tag(x, &image, &m, err);
}

/* Deleted by its name where the registry can, else by its digest, which takes every tag of it along: only where this change brought it. */
static int take_away(struct change_call *x, const struct change *c, const struct registry_image *image, struct err *err)
{
	struct registry *r = registry_of_target(x->v);
	int e = change_guard(x, err);
	if (e >= 0)
		e = registry_manifest_delete(r, image->repository, image->tag, x->v->wait, err);
	bool is_new = json_get_bool(c->extra, "new", false);
	if (e == ERR_UNSUPPORTED && is_new) {
		if (err != NULL)
			err_clear(err);
		e = registry_manifest_delete(r, image->repository, digest_in(c->after), x->v->wait, err);
	}
	if (e == ERR_UNSUPPORTED)
		err_hint(err, e,
		         "the tag is new: delete it by the registry's own means, then `davit rollback` ends the undo");
	return e;
}

static int undo(struct change_call *x, const struct change *c, struct err *err)
{
	struct registry_image image _cleanup_(registry_image_done) = {0};
	struct registry_manifest m _cleanup_(registry_manifest_done) = REGISTRY_MANIFEST_INIT;
	char now[REGISTRY_DIGEST_SIZE];
	int e = read_path(c, &image, err);
	if (e >= 0)
		e = expect(x, c, &image, c->after, c->before, err);
	if (e >= 0)
		e = look(x->v, &image, now, err);
	if (e < 0 || strcmp(now, digest_in(c->before)) == 0)
		return e;
	if (digest_in(c->before)[0] == '\0')
		return take_away(x, c, &image, err);
	e = registry_manifest_get(registry_of_target(x->v), image.repository, digest_in(c->before), x->v->wait, &m,
	                          err);
	return e < 0 ? e : put_tag(x, &image, &m, err);
}

static bool is_named(const struct change *c, const json_t *input)
{
	const char *to = json_get_string(input, "to");
	return to != NULL && strcmp(to, c->path) == 0;
}

const struct change_type registry_tag = {
	.name = "registry-tag",
	.compare = compare,
	.explain = explain,
	.apply = apply,
	.undo = undo,
	.is_named = is_named,
};
