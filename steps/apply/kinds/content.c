#include "steps/apply/kinds/content.h"

#include "base/secret/mask.h"
#include "base/sys/fs_beneath.h"
#include "steps/apply/kinds/template.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum { SLACK = 128 << 10 };

static const char way_out[] = "write it with secret-write, which keeps it out of plan, journal and reports";

static void refuse_secret(const struct resource *r, const char *member, const char *text,
                          const struct resource_faults *f)
{
	if (text == NULL || !mask_finds(mask_process(), text, strlen(text)))
		return;
	resource_fault(f, r, member, "the content of '%s' holds a secret", r->id);
	faults_hint(f->faults, "%s", way_out);
}

static void validate_values(const struct resource *r, const struct content *in, const struct resource_faults *f)
{
	if (in->source == NULL)
		resource_fault(f, r, "values", "only a `source` has places for values: a `content` takes them itself");
	for (size_t i = 0; i < in->values->count; i++) {
		if (!template_is_name(in->values->items[i].key))
			resource_fault(f, r, "values", "'%s' cannot be the name of a value: letters, digits, _ and -",
			               in->values->items[i].key);
		refuse_secret(r, "values", in->values->items[i].value, f);
	}
}

void content_validate(const struct resource *r, const struct content *in, const struct resource_faults *f)
{
	const char *source = in->source;
	refuse_secret(r, "content", in->text, f);
	if (in->values != NULL)
		validate_values(r, in, f);
	if (source != NULL && (source[0] == '/' || strcmp(source, "..") == 0 || str_starts(source, "../") ||
	                       strstr(source, "/../") != NULL))
		resource_fault(f, r, "source", "'%s' lies outside the source tree", source);
}

/* A secret may come about only where values meet the text. */
static int fill(const struct resource *r, const struct content *in, const struct str *text, struct str *out,
                struct err *err)
{
	int e = template_fill(in->source, text, in->values, out, err);
	if (e == 0 && mask_finds(mask_process(), str_peek(out), out->len))
		return err_hint(err, err_set(err, ERR_REFUSED, "the content of '%s' would hold a secret", r->id), "%s",
		                way_out);
	return e;
}

static int read_source(const struct step_context *c, const struct resource *r, const struct content *in,
                       struct str *out, struct err *err)
{
	_cleanup_close_ int root = open(c->deployment->source_root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return err_set(err, ERR_NOT_FOUND, "the source tree '%s' cannot be opened", c->deployment->source_root);
	int read = fs_read_beneath(root, in->source, in->max, out, err);
	if (read == ERR_LIMIT)
		return err_hint(err, err_set(err, ERR_LIMIT, "'%s' is larger than %zu KiB", in->source, in->max >> 10),
		                "archive-upload is for large files");
	return read < 0 ? err_wrap(err, read, "the source of '%s'", r->id) : 0;
}

int content_read(const struct step_context *c, const struct resource *r, const struct content *in, struct str *out,
                 struct err *err)
{
	_cleanup_(str_done) struct str text = STR_INIT(in->max + SLACK);
	if (in->source == NULL) {
		str_append(out, in->text);
		return 0;
	}
	int read = read_source(c, r, in, in->values != NULL ? &text : out, err);
	return read < 0 || in->values == NULL ? read : fill(r, in, &text, out, err);
}
