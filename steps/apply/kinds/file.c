/* A file with a content: its own, or that of a file of the source tree, as it is or with values filled in. */
#include "schemas/resources/file.h"
#include "base/secret/digest.h"
#include "base/secret/mask.h"
#include "base/sys/fs_beneath.h"
#include "steps/apply/apply.h"
#include "steps/apply/kinds/path.h"
#include "steps/apply/kinds/template.h"

#include <fcntl.h>
#include <unistd.h>

enum { MAX_CONTENT = 64 << 20, NEW_FILE = 0644 };

static void refuse_secret(const struct resource *r, const char *member, const char *text,
                          const struct resource_faults *f)
{
	if (text == NULL || !mask_finds(mask_process(), text, strlen(text)))
		return;
	resource_fault(f, r, member, "the content of '%s' holds a secret", r->id);
	faults_hint(f->faults, "write it with secret-write, which keeps it out of plan, journal and reports");
}

static void validate_values(const struct resource *r, const struct resource_faults *f)
{
	const struct resource_file *in = r->in;
	if (in->has_values && in->source == NULL)
		resource_fault(f, r, "values", "only a `source` has places for values: a `content` takes them itself");
	for (size_t i = 0; i < in->values.count; i++) {
		if (!template_is_name(in->values.items[i].key))
			resource_fault(f, r, "values", "'%s' cannot be the name of a value: letters, digits, _ and -",
			               in->values.items[i].key);
		refuse_secret(r, "values", in->values.items[i].value, f);
	}
}

static void validate(const struct resource *r, const struct resource_faults *f)
{
	const struct resource_file *in = r->in;
	refuse_secret(r, "content", in->content, f);
	validate_values(r, f);
	path_validate_mode(r, in->has_mode, in->mode, f);
	if (in->source != NULL && (in->source[0] == '/' || strcmp(in->source, "..") == 0 ||
	                           str_starts(in->source, "../") || strstr(in->source, "/../") != NULL))
		resource_fault(f, r, "source", "'%s' lies outside the source tree", in->source);
}

/* A secret may come about only where values meet the text. */
static int fill(const struct resource *r, const struct str *text, struct str *out, struct err *err)
{
	const struct resource_file *in = r->in;
	int e = template_fill(in->source, text, &in->values, out, err);
	if (e == 0 && mask_finds(mask_process(), str_peek(out), out->len))
		return err_hint(err, err_set(err, ERR_REFUSED, "the content of '%s' would hold a secret", r->id),
		                "write it with secret-write, which keeps it out of plan, journal and reports");
	return e;
}

/* ERR_LIMIT above 64 MiB. */
static int read_source(const struct step_context *c, const struct resource *r, struct str *out, struct err *err)
{
	const struct resource_file *in = r->in;
	_cleanup_close_ int root = open(c->deployment->source_root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return err_set(err, ERR_NOT_FOUND, "the source tree '%s' cannot be opened", c->deployment->source_root);
	int read = fs_read_beneath(root, in->source, MAX_CONTENT, out, err);
	if (read == ERR_LIMIT)
		return err_hint(err, err_set(err, ERR_LIMIT, "'%s' is larger than 64 MiB", in->source),
		                "archive-upload is for files of that size");
	return read < 0 ? err_wrap(err, read, "the source of '%s'", r->id) : 0;
}

static int read_content(const struct step_context *c, const struct resource *r, struct str *out, struct err *err)
{
	const struct resource_file *in = r->in;
	_cleanup_(str_done) struct str text = STR_INIT(MAX_CONTENT + (128 << 10));
	if (in->content != NULL)
		str_append(out, in->content);
	if (in->source == NULL)
		return 0;
	int read = read_source(c, r, in->has_values ? &text : out, err);
	return read < 0 || !in->has_values ? read : fill(r, &text, out, err);
}

static int check(const struct step_context *c, const struct resource *r, struct err *err)
{
	const struct resource_file *in = r->in;
	_cleanup_(str_done) struct str content = STR_INIT(MAX_CONTENT + (128 << 10));
	return in->source != NULL ? read_content(c, r, &content, err) : 0;
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
	int read = stays ? host_read(x->v, r->id, MAX_CONTENT, content, err) : read_content(x->c, r, content, err);
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
