/* One change for all that terraform plans: made together, by one file. */
#include "steps/terraform/terraform.h"

#include "base/secret/digest.h"
#include "engine/change/change.h"

enum { ROWS_SHOWN = 500, ATTRIBUTES_SHOWN = 3000, RISKS_SHOWN = 50 };

const struct change_type change_terraform = {.name = "terraform", .flags = CHANGE_BLIND};

static void payload_free(void *payload)
{
	struct terraform_payload *p = payload;
	if (p != NULL)
		terraform_look_done(&p->look);
	free(p);
}

void terraform_forget(void *memory)
{
	struct terraform_memory *m = memory;
	json_decref(m->shown);
	m->shown = NULL;
}

/* ---- shown ---- */

static char *row_text(const struct terraform_row *row)
{
	_cleanup_(str_done) struct str text = STR_INIT(4096);
	str_append(&text, row->imported ? "is imported" : row->moved_from != NULL ? "is moved" : "");
	if (row->moved_from != NULL)
		str_appendf(&text, " from %s", row->moved_from);
	if (row->action != TERRAFORM_NOTHING)
		str_appendf(&text, "%s%s", text.len > 0 ? ", and " : "", terraform_action_name(row->action));
	if (row->forced != NULL)
		str_appendf(&text, "; forced by %s", row->forced);
	else if (row->reason != NULL)
		str_appendf(&text, " (%s)", row->reason);
	return str_take(&text);
}

static bool forces(const struct terraform_row *row, const char *attribute)
{
	size_t len = strlen(attribute);
	const char *at = row->forced != NULL ? strstr(row->forced, attribute) : NULL;
	return at != NULL && (at == row->forced || at[-1] == ' ') && strchr(",.[", at[len]) != NULL;
}

static void show_attribute(const struct terraform_row *row, const char *attribute, json_t *before, json_t *after)
{
	_cleanup_free_ char *key =
		xasprintf("%s %s%s", row->address, attribute, forces(row, attribute) ? " (forces replacement)" : "");
	json_t *from = json_object_get(row->before, attribute), *to = json_object_get(row->after, attribute);
	if (from != NULL)
		json_object_set(before, key, from);
	if (to != NULL)
		json_object_set(after, key, to);
}

static size_t show_row(const struct terraform_row *row, json_t *before, json_t *after)
{
	const char *attribute;
	json_t *one;
	_cleanup_free_ char *text = row_text(row);
	json_set_string(after, row->address, text);
	json_object_foreach(row->after, attribute, one) show_attribute(row, attribute, before, after);
	return json_object_size(row->after);
}

static void show(const struct terraform_plan *plan, json_t *before, json_t *after)
{
	size_t attributes = 0, i = 0;
	for (; i < plan->count && i < ROWS_SHOWN && attributes < ATTRIBUTES_SHOWN; i++)
		attributes += show_row(&plan->rows[i], before, after);
	if (i < plan->count)
		json_object_set_new(after, "and", json_stringf("%zu more", plan->count - i));
}

void terraform_tell_rows(const struct step_context *c, const struct terraform_plan *plan)
{
	for (size_t i = 0; i < plan->count && i < ROWS_SHOWN; i++) {
		_cleanup_free_ char *text = row_text(&plan->rows[i]);
		c->report(c->engine, "%s %s", plan->rows[i].address, text);
	}
}

/* "2 created, 1 replaced" */
static char *summary_of(const struct terraform_plan *plan)
{
	size_t created = 0, updated = 0, destroyed = 0, replaced = 0, other = 0;
	_cleanup_(str_done) struct str text = STR_INIT(1000);
	for (size_t i = 0; i < plan->count; i++)
		switch (plan->rows[i].action) {
		case TERRAFORM_CREATE:
			created++;
			break;
		case TERRAFORM_UPDATE:
			updated++;
			break;
		case TERRAFORM_DESTROY:
			destroyed++;
			break;
		case TERRAFORM_REPLACE:
		case TERRAFORM_REPLACE_FIRST:
			replaced++;
			break;
		default:
			other++;
		}
	const struct {
		size_t count;
		const char *word;
	} parts[] = {{replaced, "replaced"},
	             {destroyed, "destroyed"},
	             {created, "created"},
	             {updated, "updated"},
	             {other, "otherwise changed"}};
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
		if (parts[i].count > 0)
			str_appendf(&text, "%s%zu %s", text.len > 0 ? ", " : "", parts[i].count, parts[i].word);
	if (text.len == 0)
		str_append(&text, "the state alone changes");
	return str_take(&text);
}

static void warn(const struct terraform_plan *plan, const char *directory, struct strv *warnings)
{
	_cleanup_(str_done) struct str list = STR_INIT(4096);
	for (size_t i = 0; i < plan->drifted.count; i++)
		str_appendf(&list, "%s%s", i > 0 ? ", " : "", plan->drifted.items[i]);
	if (plan->drifted.count > 0)
		strv_addf(warnings, "%s: changed outside of terraform since its last run: %s", directory,
		          str_peek(&list));
	for (size_t i = 0; i < plan->failing.count; i++)
		strv_addf(warnings, "%s: %s", directory, plan->failing.items[i]);
}

/* ---- planned ---- */

/* The plan of this process that was shown first, with the same input, is the one that is made. */
static int must_be_as_shown(const struct step_context *c, const struct view *v, const struct terraform_look *look,
                            struct err *err)
{
	struct terraform_memory *m = c->memory;
	char hex[DIGEST_HEX];
	if (m == NULL)
		return 0;
	_cleanup_free_ char *input = json_canonical(c->input_json);
	digest_of(input, strlen(input), hex);
	_cleanup_free_ char *key = xasprintf("%d %s %s", c->index, v->name, hex);
	if (m->shown == NULL)
		m->shown = json_object();
	const char *shown = json_get_string(m->shown, key);
	if (shown == NULL) {
		json_object_set_new(m->shown, key, json_string(look->digest));
		return 0;
	}
	if (strcmp(shown, look->digest) == 0)
		return 0;
	terraform_tell_rows(c, &look->plan);
	err_set(err, ERR_CONFLICT, "terraform plans something else than before, when the plan was shown");
	return err_hint(
		err, ERR_CONFLICT,
		"somebody changed the world or the state meanwhile, or the configuration uses the time of the plan");
}

static struct change *add(struct plan *plan, const struct terraform_in *in, struct terraform_payload *p)
{
	_cleanup_free_ char *path = xasprintf("terraform:%s", in->directory);
	struct change *c = plan_add(plan, &change_terraform, ACTION_UPDATE, path);
	c->before = json_pack("{s:s}", "type", "terraform");
	c->after = json_pack("{s:s}", "type", "terraform");
	c->payload = p;
	c->payload_free = payload_free;
	free(c->summary);
	c->summary = NULL;
	return c;
}

static bool is_lost(const struct terraform_row *row)
{
	return row->action == TERRAFORM_DESTROY || row->action == TERRAFORM_REPLACE ||
	       row->action == TERRAFORM_REPLACE_FIRST;
}

/* What people look at first. */
static json_t *risk_of(const struct terraform_plan *plan)
{
	json_t *risk = json_array();
	for (size_t i = 0; i < plan->count && json_array_size(risk) < RISKS_SHOWN; i++)
		if (is_lost(&plan->rows[i])) {
			_cleanup_free_ char *text = row_text(&plan->rows[i]);
			json_array_append_new(risk, json_stringf("%s %s", plan->rows[i].address, text));
		}
	return risk;
}

static void add_change(struct plan *plan, const struct terraform_in *in, struct terraform_payload *p)
{
	const struct terraform_look *l = &p->look;
	struct change *c = add(plan, in, p);
	show(&l->plan, c->before, c->after);
	json_decref(c->extra);
	c->extra = json_pack("{s:{s:s,s:s},s:s,s:I,s:s?}", "plan", "changes", l->digest, "lineage", l->lineage, "file",
	                     l->sha256, "serial", (json_int_t)l->serial, "version", l->plan.version);
	_cleanup_json_ json_t *risk = risk_of(&l->plan);
	if (json_array_size(risk) > 0)
		json_object_set(c->extra, "risk", risk);
	_cleanup_free_ char *counts = summary_of(&l->plan);
	c->summary = xasprintf("%s, by %s in %s", counts, in->program, in->directory);
	warn(&l->plan, in->directory, &plan->warnings);
}

/* Steps before it bring the files: what they make of them can be known and judged only then. */
static void add_later(struct plan *plan, const struct terraform_in *in)
{
	struct terraform_payload *p = xcalloc(1, sizeof(*p));
	p->later = true;
	struct change *c = add(plan, in, p);
	c->summary =
		xasprintf("%s in %s, planned and judged once the steps before it are done", in->program, in->directory);
	json_object_set_new(c->after, "plan", json_string("(known after the steps before it)"));
	strv_addf(
		&plan->warnings,
		"%s: the steps before it change files on this target, so terraform's plan is made and judged after them, "
		"and cannot be shown before",
		in->directory);
}

int terraform_plan_step(const struct step_context *c, struct view *v, struct plan *plan, struct err *err)
{
	const struct terraform_in *in = c->input;
	_cleanup_free_ char *directory = NULL;
	int r = terraform_directory(c, v, &directory, err);
	if (r < 0)
		return r;
	json_object_set_new(c->outputs, "changed", json_string("false"));
	if (*in->directory == '/' && c->changed_before != NULL && c->changed_before(c->engine, c->index, v->name)) {
		add_later(plan, in);
		return 0;
	}
	struct terraform_payload *p = xcalloc(1, sizeof(*p));
	r = terraform_check_there(c, v, &plan->warnings, err);
	if (r == 0)
		r = terraform_look_at(c, v, directory, &p->look, err);
	if (r == 0)
		r = terraform_judge(in, &p->look.plan, NULL, err);
	if (r == 0)
		r = must_be_as_shown(c, v, &p->look, err);
	if (r == 0 && p->look.changes) {
		add_change(plan, in, p);
		return 0;
	}
	if (r == 0)
		warn(&p->look.plan, in->directory, &plan->warnings);
	payload_free(p);
	return r;
}
