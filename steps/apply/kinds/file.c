/* A file with a content: its own, or that of a file of the source tree, as it is or with values filled in. */
#include "schemas/resources/file.h"
#include "base/secret/digest.h"
#include "steps/apply/apply.h"
#include "steps/apply/kinds/content.h"
#include "steps/apply/kinds/path.h"

enum { MAX_CONTENT = 64 << 20, NEW_FILE = 0644 };

static struct content content_of(const struct resource *r)
{
	const struct resource_file *in = r->in;
	return (struct content){.text = in->content,
	                        .source = in->source,
	                        .values = in->has_values ? &in->values : NULL,
	                        .max = MAX_CONTENT};
}

static void validate(const struct resource *r, const struct resource_faults *f)
{
	const struct resource_file *in = r->in;
	const struct content content = content_of(r);
	content_validate(r, &content, f);
	path_validate_mode(r, in->has_mode, in->mode, f);
}

static int check(const struct step_context *c, const struct resource *r, struct err *err)
{
	const struct content in = content_of(r);
	_cleanup_(str_done) struct str text = STR_INIT(MAX_CONTENT + (128 << 10));
	return in.source != NULL ? content_read(c, r, &in, &text, err) : 0;
}

static struct path_owner owner_of(const struct resource *r)
{
	const struct resource_file *in = r->in;
	return (struct path_owner){in->owner, in->group, in->has_mode ? (long)in->mode : -1, NEW_FILE};
}

static int want(struct resource_call *x, const struct resource *r, const json_t *before, json_t **ret,
                struct str *content, struct err *err)
{
	struct path_owner owner = owner_of(r);
	char hex[DIGEST_HEX];
	bool stays = (apply_ignores(r, "content") || apply_ignores(r, "source") || apply_ignores(r, "values")) &&
	             strcmp(node_type_name(before), "file") == 0;
	const struct content in = content_of(r);
	int read = stays ? host_read(x->v, r->id, MAX_CONTENT, content, err) : content_read(x->c, r, &in, content, err);
	if (read == 0)
		read = path_want(x, r, before, &owner, ret, err);
	if (read < 0)
		return read;
	digest_of(str_peek(content), content->len, hex);
	json_object_set_new(*ret, "digest", json_string(hex));
	json_object_set_new(*ret, "size", json_integer((json_int_t)content->len));
	return 0;
}

static void remember(const struct resource *r, json_t *row)
{
	struct path_owner owner = owner_of(r);
	path_remember(&owner, row);
}

static void explain(const struct resource *r, struct str *out)
{
	const struct resource_file *in = r->in;
	if (in->source != NULL)
		str_appendf(out, in->has_values ? " from the template %s" : " from %s", in->source);
}

static const char *const facts[] = {"digest", "size", NULL};

const struct resource_type resource_file = {
	.choice = RESOURCE_FILE_CHOICE,
	.change = &change_file,
	.remove = &change_remove,
	.space = PATH_SPACE,
	.nests = true,
	.what = "file",
	.facts = facts,
	.plain = true,
	.id = path_id,
	.validate = validate,
	.bars = path_bars,
	.check = check,
	.ahead = path_ahead,
	.look = path_look,
	.want = want,
	.first = path_first,
	.differs = node_differs,
	.remember = remember,
	.explain = explain,
};
