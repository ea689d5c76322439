/* What may happen: the words of `apply`, on terraform's addresses. All refusals at once. */
#include "steps/terraform/terraform.h"
#include "steps/common/caps.h"

static bool is_listed(const struct field_strings *list, const char *address)
{
	for (size_t i = 0; i < list->count; i++)
		if (strcmp(list->items[i], address) == 0)
			return true;
	return false;
}

/* `module.a` covers all in it, `x.y` each of its instances. */
static bool is_protected(const struct field_strings *list, const char *address)
{
	for (size_t i = 0; i < list->count; i++) {
		size_t len = strlen(list->items[i]);
		if (strncmp(list->items[i], address, len) == 0 && strchr(".[ ", address[len]) != NULL)
			return true;
	}
	return false;
}

static const char *means(enum terraform_action a)
{
	switch (a) {
	case TERRAFORM_DESTROY:
		return "would be destroyed";
	case TERRAFORM_FORGET:
		return "would be forgotten: it stays, and nothing manages it any more";
	default:
		return "would be destroyed and made anew";
	}
}

struct refusals {
	struct str why, allow;
	size_t count;
};

static void refuse(struct refusals *f, const struct terraform_row *row, bool protected)
{
	str_appendf(&f->why, "%s%s %s", f->count++ == 0 ? "" : "; ", row->address, means(row->action));
	if (row->forced != NULL)
		str_appendf(&f->why, ", because of %s", row->forced);
	else if (row->reason != NULL)
		str_appendf(&f->why, " (%s)", row->reason);
	if (protected)
		str_append(&f->why, ", but it is protected (`protect`)");
	else
		str_appendf(&f->allow, "%s\"%s\"", f->allow.len == 0 ? "" : ", ", row->address);
}

static bool is_own(const struct strv *own, const char *address)
{
	return own != NULL && strv_has(own, address);
}

/* The addresses come from a plan: as text in a message they do no harm. */
static int refused(const struct refusals *f, struct err *err)
{
	_cleanup_(str_done) struct str why = STR_INIT(64 << 10), allow = STR_INIT(64 << 10);
	str_append_safe(&why, str_peek(&f->why), f->why.len);
	str_append_safe(&allow, str_peek(&f->allow), f->allow.len);
	err_set(err, ERR_REFUSED, "%s", str_peek(&why));
	if (f->allow.len > 0)
		err_hint(err, ERR_REFUSED,
		         "allow_destroy: [%s] lets that happen; otherwise put it back into the configuration",
		         str_peek(&allow));
	return ERR_REFUSED;
}

int terraform_judge(const struct terraform_in *in, const struct terraform_plan *plan, const struct strv *own,
                    struct err *err)
{
	struct refusals f = {.why = STR_INIT(16384), .allow = STR_INIT(8192)};
	size_t destroyed = 0, changes = 0;
	for (size_t i = 0; i < plan->count; i++) {
		const struct terraform_row *row = &plan->rows[i];
		changes += !row->is_output;
		if (!terraform_action_destroys(row->action))
			continue;
		destroyed++;
		bool protected = is_protected(&in->protect, row->address);
		if (protected || (!is_listed(&in->allow_destroy, row->address) && !is_own(own, row->address)))
			refuse(&f, row, protected);
	}
	const struct caps caps = {in->has_max_changes, in->has_max_destroy, in->max_changes, in->max_destroy};
	int r = f.count > 0 ? refused(&f, err) : 0;
	if (r == 0 && own == NULL)
		r = caps_check(&caps, changes, destroyed, err);
	str_done(&f.why);
	str_done(&f.allow);
	return r;
}
