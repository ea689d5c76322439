/* A parameter of the kernel of a host. */
#include "schemas/resources/sysctl.h"
#include "steps/apply/apply.h"
#include "steps/apply/kinds/machine.h"

#include <string.h>

extern const struct resource_type resource_sysctl;

/* Numbers with one blank between them, as a look says them. */
static char *words_of(const char *value)
{
	_cleanup_(str_done) struct str text = STR_INIT(16 << 10);
	for (const char *p = value + strspn(value, " \t"); *p != '\0'; p += strspn(p, " \t")) {
		size_t len = strcspn(p, " \t");
		str_appendf(&text, "%s%.*s", text.len > 0 ? " " : "", (int)len, p);
		p += len;
	}
	return str_take(&text);
}

static void validate(const struct resource *r, const struct resource_faults *f)
{
	const struct resource_sysctl *in = r->in;
	_cleanup_free_ char *words = words_of(in->value);
	if (!machine_text_fits(words) || *words == '\0')
		resource_fault(f, r, "value", "a value is words of one line");
}

static int look(struct resource_call *x, const char *id, json_t **ret, struct err *err)
{
	return machine_resource_look(x, &resource_sysctl, id, ret, err);
}

static int want(struct resource_call *x, const struct resource *r, const json_t *before, json_t **ret,
                struct str *content, struct err *err)
{
	const struct resource_sysctl *in = r->in;
	const json_t *notes = json_object_get(before, "notes");
	_cleanup_free_ char *words = words_of(in->value);
	(void)content;
	if (json_get_string(notes, "unknown") != NULL)
		return err_hint(
			err, err_set(err, ERR_NOT_FOUND, "the kernel of '%s' has no parameter '%s'", x->v->name, r->id),
			"sysctl -a lists them; those of a module are there once it is loaded");
	if (json_get_string(notes, "unreadable") != NULL)
		return err_set(err, ERR_REFUSED, "'%s' on '%s' cannot be read: nobody could put it back", r->id,
		               x->v->name);
	if (json_get_string(notes, "link") != NULL)
		return err_set(err, ERR_REFUSED, "'%s' on '%s' is a link: it is not followed",
		               json_get_string(notes, "link"), x->v->name);
	const char *saved = apply_ignores(r, "value") ? json_get_string(before, "saved") : NULL;
	*ret = json_pack("{s:s, s:s, s:s}", "type", "sysctl", "value", words, "saved", saved != NULL ? saved : words);
	return 0;
}

static void means(const json_t *before, const json_t *after, enum change_action action, struct str *out)
{
	(void)before;
	(void)after;
	if (action == ACTION_DESTROY)
		str_append(out, "; its value stays until the host starts again");
}

static const struct change_type *const kinds[] = {&machine_sysctl.change, NULL};

const struct resource_type resource_sysctl = {
	.choice = RESOURCE_SYSCTL_CHOICE,
	.kinds = kinds,
	.change = &machine_sysctl.change,
	.remove = &machine_sysctl.change,
	.space = "sysctl",
	.what = "sysctl",
	.by_key = true,
	.validate = validate,
	.ahead = machine_resource_ahead,
	.look = look,
	.want = want,
	.differs = machine_resource_differs,
	.means = means,
};
