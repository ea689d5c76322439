/* What the scripted provider brings for apply: {"guest": {"name": NAME, "size": n}}. No file of apply knows it. */
#include "provider/provider.h"
#include "schemas/resources/guest.h"
#include "steps/apply/apply.h"

static int look(struct resource_call *x, const char *id, json_t **ret, struct err *err)
{
	return provider_look(x->v, id, ret, err);
}

static int want(struct resource_call *x, const struct resource *r, const json_t *before, json_t **ret,
                struct str *content, struct err *err)
{
	const struct resource_guest *in = r->in;
	(void)x;
	(void)before;
	(void)content;
	(void)err;
	*ret = json_pack("{s:s, s:I}", "type", "guest", "size", (json_int_t)in->size);
	return 0;
}

static void explain(const struct resource *r, struct str *out)
{
	const struct resource_guest *in = r->in;
	str_appendf(out, " of size %lld", (long long)in->size);
}

static const char *const targets[] = {"test-provider", NULL};
static const struct change_type *const kinds[] = {&provider_guest, NULL};
static const struct resource_type guest = {
	.choice = RESOURCE_GUEST_CHOICE,
	.targets = targets,
	.kinds = kinds,
	.change = &provider_guest,
	.remove = &provider_guest,
	.space = "guest",
	.what = "guest",
	.by_key = true,
	.look = look,
	.want = want,
	.explain = explain,
};

extern const struct resource_type resource_file;
static const struct field_choice *const resources[] = {&resource_file.choice, &guest.choice, NULL};
const struct step_type provider_apply = {APPLY_STEP, .choices = resources};
