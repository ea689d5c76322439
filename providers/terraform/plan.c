#include "providers/terraform/plan.h"

#include "base/core/shown.h"

enum { ADDRESS_MAX = 500, REASON_MAX = 500 };

static const char *const names[] = {
	[TERRAFORM_NOTHING] = "changes in the state alone",
	[TERRAFORM_READ] = "is read",
	[TERRAFORM_CREATE] = "is created",
	[TERRAFORM_UPDATE] = "is updated",
	[TERRAFORM_DESTROY] = "is destroyed",
	[TERRAFORM_REPLACE] = "is replaced: destroyed, then made anew",
	[TERRAFORM_REPLACE_FIRST] = "is replaced: a new one is made, then the old one destroyed",
	[TERRAFORM_FORGET] = "is forgotten: it stays, and nothing manages it any more",
};

const char *terraform_action_name(enum terraform_action a)
{
	return names[a];
}

bool terraform_action_destroys(enum terraform_action a)
{
	return a == TERRAFORM_DESTROY || a == TERRAFORM_REPLACE || a == TERRAFORM_REPLACE_FIRST ||
	       a == TERRAFORM_FORGET;
}

static void row_done(struct terraform_row *r)
{
	free(r->address);
	free(r->moved_from);
	free(r->reason);
	free(r->forced);
	json_decref(r->before);
	json_decref(r->after);
}

void terraform_plan_done(struct terraform_plan *p)
{
	for (size_t i = 0; i < p->count; i++)
		row_done(&p->rows[i]);
	free(p->rows);
	free(p->version);
	strv_done(&p->drifted);
	strv_done(&p->failing);
	*p = (struct terraform_plan){0};
}

static bool is_word(const json_t *actions, size_t i, const char *word)
{
	const char *text = json_string_value(json_array_get(actions, i));
	return text != NULL && strcmp(text, word) == 0;
}

/* A list that holds `delete` destroys, whatever else a newer terraform may put into it. */
static int action_of(const json_t *actions, enum terraform_action *ret)
{
	static const struct {
		const char *first, *second;
		enum terraform_action action;
	} known[] = {
		{"no-op", NULL, TERRAFORM_NOTHING},
		{"read", NULL, TERRAFORM_READ},
		{"create", NULL, TERRAFORM_CREATE},
		{"update", NULL, TERRAFORM_UPDATE},
		{"delete", NULL, TERRAFORM_DESTROY},
		{"delete", "create", TERRAFORM_REPLACE},
		{"create", "delete", TERRAFORM_REPLACE_FIRST},
		{"forget", NULL, TERRAFORM_FORGET},
		{"create", "forget", TERRAFORM_FORGET},
	};
	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (json_array_size(actions) == (known[i].second != NULL ? 2U : 1U) &&
		    is_word(actions, 0, known[i].first) &&
		    (known[i].second == NULL || is_word(actions, 1, known[i].second))) {
			*ret = known[i].action;
			return 0;
		}
	return ERR_UNSUPPORTED;
}

static char *shown_member(const json_t *object, const char *key, size_t max)
{
	const char *text = json_get_string(object, key);
	return text != NULL ? shown_text(text, strlen(text), max) : NULL;
}

static struct terraform_row *add_row(struct terraform_plan *p, char *address, enum terraform_action action)
{
	p->rows = xgrow(p->rows, &p->cap, p->count + 1, sizeof(p->rows[0]));
	struct terraform_row *row = &p->rows[p->count++];
	*row = (struct terraform_row){
		.address = address, .action = action, .before = json_object(), .after = json_object()};
	return row;
}

/* A deposed object is what a replacement left over: it has no address of its own. */
static char *address_of(const json_t *one)
{
	const char *address = json_get_string(one, "address"), *deposed = json_get_string(one, "deposed");
	if (address == NULL)
		return NULL;
	_cleanup_free_ char *whole =
		deposed != NULL ? xasprintf("%s (deposed %s)", address, deposed) : xstrdup(address);
	return shown_text(whole, strlen(whole), ADDRESS_MAX);
}

static int read_resource(struct terraform_plan *p, const json_t *one, struct err *err)
{
	const json_t *change = json_get_object(one, "change");
	enum terraform_action action;
	_cleanup_free_ char *address = address_of(one);
	if (address == NULL || change == NULL)
		return err_set(err, ERR_PROTOCOL, "a change of the plan has no address");
	if (action_of(json_get_array(change, "actions"), &action) < 0)
		return err_set(err, ERR_UNSUPPORTED, "the plan does to '%s' what this davit does not know", address);
	const char *from = json_get_string(one, "previous_address");
	bool imported = json_get_object(change, "importing") != NULL;
	if (action == TERRAFORM_READ || (action == TERRAFORM_NOTHING && from == NULL && !imported))
		return 0;
	struct terraform_row *row = add_row(p, TAKE(address), action);
	row->moved_from = shown_member(one, "previous_address", ADDRESS_MAX);
	row->reason = shown_member(one, "action_reason", REASON_MAX);
	row->imported = imported;
	row->forced = terraform_paths(json_get_array(change, "replace_paths"));
	if (action != TERRAFORM_DESTROY && action != TERRAFORM_FORGET)
		terraform_difference(change, row->before, row->after);
	return 0;
}

static int read_outputs(struct terraform_plan *p, const json_t *outputs, struct err *err)
{
	const char *name;
	json_t *change;
	json_object_foreach((json_t *)(uintptr_t)outputs, name, change)
	{
		enum terraform_action action;
		if (action_of(json_get_array(change, "actions"), &action) < 0)
			return err_set(err, ERR_UNSUPPORTED,
			               "the plan does to an output what this davit does not know");
		if (action == TERRAFORM_NOTHING)
			continue;
		_cleanup_free_ char *address = xasprintf("output.%s", name);
		/* Nothing is destroyed with it. */
		struct terraform_row *row = add_row(p, shown_text(address, strlen(address), ADDRESS_MAX),
		                                    action == TERRAFORM_DESTROY ? TERRAFORM_UPDATE : action);
		row->is_output = true;
		terraform_difference(change, row->before, row->after);
	}
	return 0;
}

static void read_drift(struct terraform_plan *p, const json_t *list)
{
	size_t i;
	json_t *one;
	json_array_foreach(list, i, one)
	{
		_cleanup_free_ char *address = address_of(one);
		if (address != NULL)
			strv_add(&p->drifted, address);
	}
}

static void read_checks(struct terraform_plan *p, const json_t *list)
{
	size_t i, k, n;
	json_t *one, *instance, *problem;
	json_array_foreach(list, i, one)
	{
		const char *status = json_get_string(one, "status");
		if (status == NULL || (strcmp(status, "fail") != 0 && strcmp(status, "error") != 0))
			continue;
		json_array_foreach(json_get_array(one, "instances"), k, instance)
			json_array_foreach(json_get_array(instance, "problems"), n, problem)
		{
			const char *name = json_get_string(json_get_object(one, "address"), "to_display"),
				   *why = json_get_string(problem, "message");
			_cleanup_free_ char *text = xasprintf("%s: %s", name != NULL ? name : "a check",
			                                      why != NULL ? why : "it does not hold");
			strv_add_take(&p->failing, shown_text(text, strlen(text), REASON_MAX));
		}
	}
}

static int check_format(const json_t *doc, struct err *err)
{
	const char *format = json_get_string(doc, "format_version");
	if (format == NULL)
		return err_set(err, ERR_PROTOCOL, "terraform's plan says no format");
	if (!str_starts(format, "1."))
		return err_set(err, ERR_UNSUPPORTED, "terraform's plan has the format %.20s, and this davit reads 1.x",
		               format);
	return 0;
}

int terraform_plan_read(const json_t *doc, struct terraform_plan *ret, struct err *err)
{
	struct terraform_plan p _cleanup_(terraform_plan_done) = {0};
	size_t i;
	json_t *one;
	int r = check_format(doc, err);
	json_array_foreach(json_get_array(doc, "resource_changes"), i, one) if (r == 0) r = read_resource(&p, one, err);
	if (r == 0)
		r = read_outputs(&p, json_get_object(doc, "output_changes"), err);
	if (r < 0)
		return r;
	read_drift(&p, json_get_array(doc, "resource_drift"));
	read_checks(&p, json_get_array(doc, "checks"));
	p.version = shown_member(doc, "terraform_version", 40);
	p.errored = json_get_bool(doc, "errored", false);
	/* Older ones do not say it. */
	p.complete = json_get_bool(doc, "complete", true);
	p.deferred = json_array_size(json_get_array(doc, "deferred_changes"));
	*ret = p;
	p = (struct terraform_plan){0};
	return 0;
}
