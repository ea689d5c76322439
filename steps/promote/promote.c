/* promote: a tag leads to what another one, or a digest, has. */
#include "steps/promote/promote.h"

#include "base/data/json.h"
#include "engine/change/change.h"
#include "providers/registry/manifest.h"
#include "providers/registry/tag.h"
#include "providers/registry/target.h"

#include <string.h>

static void describe(const struct step_context *c, struct str *out)
{
	const struct promote_in *in = c->input;
	str_appendf(out, "%s leads to what %s is", in->to, in->from);
}

static void add_fault(struct faults *faults, const char *member, const char *text)
{
	faults_add(faults, NULL, member, "%s", text);
}

static void validate(const struct step_context *c, struct faults *faults)
{
	const struct promote_in *in = c->input;
	struct registry_image from _cleanup_(registry_image_done) = {0}, to _cleanup_(registry_image_done) = {0};
	struct err err = ERR_INIT;
	char line[600];
	if (registry_image_read(in->from, &from, &err) < 0)
		add_fault(faults, "/from", err_line(&err, line, sizeof(line)));
	err_clear(&err);
	if (registry_image_read(in->to, &to, &err) < 0)
		add_fault(faults, "/to", err_line(&err, line, sizeof(line)));
	else if (to.tag == NULL || to.digest[0] != '\0')
		add_fault(faults, "/to", "must be REPOSITORY:TAG");
	if (in->digest != NULL && from.digest[0] != '\0' && strcmp(in->digest, from.digest) != 0)
		add_fault(faults, "/digest", "is not the digest that 'from' names");
}

static struct target *find_target(const struct step_context *c, const char *name)
{
	for (size_t i = 0; i < c->target_count; i++)
		if (strcmp(c->targets[i]->view.name, name) == 0)
			return c->targets[i];
	return NULL;
}

/* The registry that has the image: the named one, else the one that is asked. */
static int find_source(const struct step_context *c, struct view *v, struct view **ret, struct err *err)
{
	const struct promote_in *in = c->input;
	struct target *t = in->source != NULL ? find_target(c, in->source) : NULL;
	if (in->source != NULL && t == NULL) {
		err_set(err, ERR_INVALID, "'source' names the target '%s', which the step does not have", in->source);
		return err_hint(err, ERR_INVALID, "name both: target: [%s, %s]", v->name, in->source);
	}
	*ret = t != NULL ? &t->view : v;
	if (registry_of_target(*ret) == NULL || registry_of_target(v) == NULL)
		return err_set(err, ERR_INVALID, "target '%s' is not a registry",
		               registry_of_target(v) == NULL ? v->name : (*ret)->name);
	return 0;
}

static int resolve(const struct promote_in *in, struct view *v, const struct registry_image *from,
                   char digest[REGISTRY_DIGEST_SIZE], struct err *err)
{
	int e = registry_manifest_digest(registry_of_target(v), from->repository, registry_image_reference(from),
	                                 v->wait, digest, err);
	if (e < 0)
		return e;
	if (digest[0] == '\0') {
		err_set(err, ERR_NOT_FOUND, "there is no image '%s' in %s", in->from,
		        registry_host(registry_of_target(v)));
		return err_hint(err, ERR_NOT_FOUND,
		                "was it pushed? A private repository may look the same to a login without rights");
	}
	if (in->digest != NULL && strcmp(in->digest, digest) != 0)
		return err_set(err, ERR_REFUSED, "'%s' is %s instead of %s", in->from, digest, in->digest);
	return 0;
}

/* passed: the deployment whose gate let the image in; NULL: none was asked for. */
static void add_change(const struct promote_in *in, struct plan *plan, struct view *v, struct view *source,
                       const struct registry_image *from, json_t *before, const char *digest, const char *passed,
                       bool is_new)
{
	bool absent = json_get_string(before, "digest") == NULL;
	struct change *c = plan_add(plan, &registry_tag, absent ? ACTION_CREATE : ACTION_UPDATE, in->to);
	c->before = json_incref(before);
	c->after = json_pack("{s:s, s:s}", "type", "image", "digest", digest);
	c->extra = json_pack("{s:s, s:b, s:{s:s, s:s, s:s}}", "from", from->repository, "new", is_new, "plan", "image",
	                     in->from, "from", from->repository, "registry", registry_host(registry_of_target(source)));
	/* No part of the digest: a plan stays the same where the earlier environment was deployed once more in between. */
	json_set_string(c->extra, "passed", passed);
	c->summary = passed == NULL ? xasprintf("%s (%s)", digest, in->from)
	                            : xasprintf("%s (%s, passed in %s by %s)", digest, in->from, in->passed.environment,
	                                        passed);
	registry_tag_set_source(c, source == v ? NULL : registry_of_target(source));
}

static int plan(const struct step_context *c, struct view *v, struct plan *plan, struct err *err)
{
	const struct promote_in *in = c->input;
	struct registry_image from _cleanup_(registry_image_done) = {0}, to _cleanup_(registry_image_done) = {0};
	json_t *before _cleanup_json_ = NULL;
	char digest[REGISTRY_DIGEST_SIZE], there[REGISTRY_DIGEST_SIZE];
	_cleanup_free_ char *passed = NULL;
	struct view *source = NULL;
	/* Of two targets the one that is read from gets nothing. */
	if (in->source != NULL && strcmp(in->source, v->name) == 0 && c->target_count > 1)
		return 0;
	int e = find_source(c, v, &source, err);
	if (e >= 0)
		e = registry_image_read(in->from, &from, err);
	if (e >= 0)
		e = registry_image_read(in->to, &to, err);
	if (e >= 0)
		e = resolve(in, source, &from, digest, err);
	/* Of a tag that is there already too: whoever may push may have led it there. */
	if (e >= 0 && in->has_passed)
		e = promote_must_have_passed(c, digest, &passed, err);
	if (e >= 0)
		e = registry_tag_look(v, in->to, &before, err);
	if (e < 0)
		return e;
	json_object_set_new(c->outputs, "digest", json_string(digest));
	const char *now = json_get_string(before, "digest");
	if (now != NULL && strcmp(now, digest) == 0)
		return 0;
	e = registry_manifest_digest(registry_of_target(v), to.repository, digest, v->wait, there, err);
	if (e >= 0)
		add_change(in, plan, v, source, &from, before, digest, passed, there[0] == '\0');
	return e;
}

static int images(const struct step_context *c, struct view *v, json_t *ret, struct err *err)
{
	const struct promote_in *in = c->input;
	json_t *now _cleanup_json_ = NULL;
	if (in->source != NULL && strcmp(in->source, v->name) == 0 && c->target_count > 1)
		return 0;
	int e = registry_tag_look(v, in->to, &now, err);
	if (e >= 0 && json_object_get(now, "digest") != NULL)
		json_array_append(ret, json_object_get(now, "digest"));
	return e;
}

/* ---- behind a committed deployment ---- */

static int must_be_there(struct view *v, const struct registry_image *image, const char *path, const char *digest,
                         struct err *err)
{
	char there[REGISTRY_DIGEST_SIZE];
	int e = registry_manifest_digest(registry_of_target(v), image->repository, digest, v->wait, there, err);
	if (e < 0 || there[0] != '\0')
		return e;
	err_set(err, ERR_REFUSED, "%s, which '%s' led to before, is not in the registry any more", digest, path);
	return err_hint(err, ERR_REFUSED, "deploy the commit of before: that promotes it again");
}

static void add_way_back(struct plan *plan, struct view *v, const struct change *former, const char *repository,
                         json_t *now, const char *digest)
{
	struct change *c = plan_add(plan, &registry_tag, ACTION_UPDATE, former->path);
	c->before = json_incref(now);
	c->after = json_pack("{s:s, s:s}", "type", "image", "digest", digest);
	c->extra = json_pack("{s:s, s:b, s:{s:s, s:s}}", "from", repository, "new", 0, "plan", "from", repository,
	                     "registry", registry_host(registry_of_target(v)));
	c->summary = xasprintf("lead back to %s", digest);
}

static int back(const struct step_context *c, struct view *v, const struct change *former, bool force,
                struct plan *plan, struct err *err)
{
	struct registry_image image _cleanup_(registry_image_done) = {0};
	json_t *now _cleanup_json_ = NULL;
	const char *before = json_get_string(former->before, "digest"),
		   *after = json_get_string(former->after, "digest");
	(void)c;
	if (before == NULL)
		return err_set(err, ERR_UNSUPPORTED, "the tag was new: it led to nothing before");
	int e = registry_image_read(former->path, &image, err);
	if (e >= 0)
		e = registry_tag_look(v, former->path, &now, err);
	if (e < 0)
		return e;
	const char *digest = json_get_string(now, "digest");
	if (digest != NULL && strcmp(digest, before) == 0)
		return 0;
	if (!force && (digest == NULL || after == NULL || strcmp(digest, after) != 0)) {
		err_set(err, ERR_CONFLICT, "somebody else moved '%s' to %s", former->path, digest ? digest : "nothing");
		return err_hint(err, ERR_CONFLICT, "--force moves it back all the same");
	}
	e = must_be_there(v, &image, former->path, before, err);
	if (e >= 0)
		add_way_back(plan, v, former, image.repository, now, before);
	return e;
}

static const struct change_type *const kinds[] = {&registry_tag, NULL};

const struct step_type promote_step = {
	.info = &promote_info,
	.kinds = kinds,
	.describe = describe,
	.validate = validate,
	.plan = plan,
	.images = images,
	.back = back,
};
