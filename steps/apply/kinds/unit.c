/* A unit of systemd, the host's or a user's ("USER/NAME"): with a file from here, or one that a package brought. */
#include "schemas/resources/systemd_unit.h"
#include "base/secret/digest.h"
#include "steps/apply/apply.h"
#include "steps/apply/kinds/content.h"
#include "steps/apply/kinds/machine.h"

#include <string.h>

/* The text goes to the target as a variable of a shell. */
enum { MAX_CONTENT = 64 << 10 };

extern const struct resource_type resource_systemd_unit;

/* ---- the input ---- */

static struct content content_of(const struct resource *r)
{
	const struct resource_systemd_unit *in = r->in;
	return (struct content){.text = in->content,
	                        .source = in->source,
	                        .values = in->has_values ? &in->values : NULL,
	                        .max = MAX_CONTENT};
}

static bool has_content(const struct resource *r)
{
	const struct resource_systemd_unit *in = r->in;
	return in->content != NULL || in->source != NULL;
}

static bool is_users(const struct resource_systemd_unit *in)
{
	return in->scope == RESOURCE_SYSTEMD_UNIT_SCOPE_USER;
}

static char *id(const struct resource *r, const char *pointer, struct faults *faults)
{
	const struct resource_systemd_unit *in = r->in;
	(void)pointer;
	(void)faults;
	return is_users(in) ? xasprintf("%s/%s", in->user != NULL ? in->user : "", in->name) : xstrdup(in->name);
}

static void validate(const struct resource *r, const struct resource_faults *f)
{
	const struct resource_systemd_unit *in = r->in;
	const struct content content = content_of(r);
	if (is_users(in) != (in->user != NULL))
		resource_fault(f, r, is_users(in) ? "scope" : "user",
		               is_users(in) ? "`user` says whose unit it is"
		                            : "it is a unit of the host without `scope: user`");
	if (strstr(in->name, "@.") != NULL)
		resource_fault(f, r, "name",
		               "'%s' is a template, which nobody starts: it is a `file`, and `NAME@INSTANCE` the unit",
		               in->name);
	if (in->content != NULL && in->source != NULL)
		resource_fault(f, r, "source", "either `content` or `source`");
	content_validate(r, &content, f);
	if (!has_content(r) && !in->has_enabled && !in->has_state && in->restart_on.count == 0)
		resource_fault(f, r, "name",
		               "nothing is asked of '%s': `enabled`, `state`, `restart_on`, `content` or `source`",
		               r->id);
	if (in->restart_on.count > 0 && in->has_state && in->state == RESOURCE_SYSTEMD_UNIT_STATE_STOPPED)
		resource_fault(f, r, "restart_on", "'%s' shall be stopped: it is never started anew", r->id);
}

/* The first line that is exactly this one. */
static bool has_line(const struct str *text, const char *line)
{
	size_t len = strlen(line);
	for (const char *p = str_peek(text); *p != '\0'; p += strcspn(p, "\n"), p += *p == '\n')
		if (strncmp(p, line, len) == 0 && p[len + strspn(p + len, " \t\r")] == '\n')
			return true;
	return false;
}

static int read_unit(const struct step_context *c, const struct resource *r, struct str *out, struct err *err)
{
	const struct resource_systemd_unit *in = r->in;
	const struct content content = content_of(r);
	int e = content_read(c, r, &content, out, err);
	if (e < 0)
		return e;
	if (out->len > MAX_CONTENT)
		return err_set(err, ERR_LIMIT, "the file of '%s' is larger than %d KiB", r->id, MAX_CONTENT >> 10);
	if (memchr(str_peek(out), '\0', out->len) != NULL)
		return err_set(err, ERR_INVALID, "the file of '%s' holds a NUL", r->id);
	if (in->has_enabled && in->enabled && !has_line(out, "[Install]"))
		return err_hint(err,
		                err_set(err, ERR_INVALID, "'%s' cannot be enabled: its file has no [Install]", r->id),
		                "[Install] with WantedBy=multi-user.target, say");
	return 0;
}

static int check(const struct step_context *c, const struct resource *r, struct err *err)
{
	_cleanup_(str_done) struct str text = STR_INIT(2 * MAX_CONTENT);
	return has_content(r) && r->written == NULL ? read_unit(c, r, &text, err) : 0;
}

/* ---- there ---- */

static bool is_ours(const struct resource_call *x)
{
	return x->wanted != NULL ? has_content(x->wanted) : json_get_string(x->row, "file") != NULL;
}

static int look(struct resource_call *x, const char *name, json_t **ret, struct err *err)
{
	int r = machine_resource_look(x, &resource_systemd_unit, name, ret, err);
	if (r < 0)
		return r;
	if (json_get_string(json_object_get(*ret, "notes"), "stranger") != NULL)
		return err_hint(err,
		                err_set(err, ERR_PERMISSION, "'%s' is of another user than '%s' is reached as", name,
		                        x->v->name),
		                "log in as that user, or as root");
	/* Nobody knows whether it is there: a row must not be forgotten for that. */
	if (json_get_string(json_object_get(*ret, "notes"), "nosystemd") != NULL)
		return err_set(err, ERR_REFUSED, "systemd does not run on '%s'", x->v->name);
	if (!is_ours(x))
		json_object_del(*ret, "digest");
	if (x->wanted != NULL && ((const struct resource_systemd_unit *)x->wanted->in)->restart_on.count == 0)
		json_object_del(*ret, "restart_on");
	return 0;
}

/* ---- wanted ---- */

static int check_there(const struct resource_call *x, const struct resource *r, const json_t *before, struct err *err)
{
	const json_t *notes = json_object_get(before, "notes");
	const char *link = json_get_string(notes, "link");
	if (json_get_string(notes, "masked") != NULL)
		return err_hint(err, err_set(err, ERR_REFUSED, "'%s' on '%s' is masked", r->id, x->v->name),
		                "somebody does not want it to run; systemctl unmask %s", r->id);
	if (json_get_string(notes, "nouser") != NULL && r->need_count == 0)
		return err_hint(err,
		                err_set(err, ERR_NOT_FOUND, "there is no user '%s' on '%s'",
		                        ((const struct resource_systemd_unit *)r->in)->user, x->v->name),
		                "one of this desired state is named in `depends_on` too");
	if (has_content(r) && link != NULL)
		return err_set(err, ERR_REFUSED, "'%s' on '%s' is a link: it is not followed", link, x->v->name);
	if (has_content(r) && json_get_string(notes, "big") != NULL)
		return err_set(err, ERR_REFUSED, "the file of '%s' on '%s' is too large to be kept", r->id, x->v->name);
	if (!has_content(r) && machine_is_absent(before) && r->need_count == 0)
		return err_hint(
			err, err_set(err, ERR_NOT_FOUND, "there is no unit '%s' on '%s'", r->id, x->v->name),
			"give it `content` or `source`; what a package of this desired state brings needs it in `depends_on`");
	return 0;
}

static int check_enabled(const struct resource *r, const json_t *before, bool enabled, struct err *err)
{
	const char *now = json_get_string(before, "enabled");
	if (now == NULL || strcmp(now, "yes") == 0 || strcmp(now, "no") == 0 || has_content(r))
		return 0;
	return err_hint(
		err,
		err_set(err, ERR_INVALID, "'%s' is %s: it cannot be %s", r->id, now, enabled ? "enabled" : "disabled"),
		"leave `enabled` out");
}

static json_t *trigger_of(const struct field_strings *values)
{
	_cleanup_(str_done) struct str text = STR_INIT(1 << 20);
	char hex[DIGEST_HEX];
	for (size_t i = 0; i < values->count; i++)
		str_appendf(&text, "%zu:%s\n", strlen(values->items[i]), values->items[i]);
	digest_of(str_peek(&text), text.len, hex);
	return json_stringf("%.16s", hex);
}

static void note(json_t *before, const char *name, const char *value)
{
	if (json_object_get(before, "notes") == NULL)
		json_object_set_new(before, "notes", json_object());
	json_object_set_new(json_object_get(before, "notes"), name, json_string(value));
}

static bool keeps_file(const struct resource *r, const json_t *before)
{
	return !machine_is_absent(before) &&
	       (apply_ignores(r, "content") || apply_ignores(r, "source") || apply_ignores(r, "values"));
}

static int want_file(struct resource_call *x, const struct resource *r, json_t *before, json_t *after,
                     struct str *content, struct err *err)
{
	char hex[DIGEST_HEX];
	const char *there = json_get_string(before, "digest");
	if (keeps_file(r, before)) {
		json_object_set_new(after, "digest", json_string(there));
		return 0;
	}
	int e = read_unit(x->c, r, content, err);
	if (e < 0)
		return e;
	digest_of(str_peek(content), content->len, hex);
	json_object_set_new(after, "digest", json_string(hex));
	/* By it an interrupted change knows its own file. */
	note(before, "arg", hex);
	return 0;
}

static int want(struct resource_call *x, const struct resource *r, const json_t *seen, json_t **ret,
                struct str *content, struct err *err)
{
	const struct resource_systemd_unit *in = r->in;
	json_t *before = (json_t *)(uintptr_t)seen; /* notes are added to it */
	int e = check_there(x, r, before, err);
	if (e == 0 && in->has_enabled)
		e = check_enabled(r, before, in->enabled, err);
	if (e < 0)
		return e;
	*ret = json_pack("{s:s}", "type", "unit");
	if (has_content(r))
		e = want_file(x, r, before, *ret, content, err);
	else if (machine_is_absent(before))
		/* What comes with a package is there in whatever state once that is made. */
		note(before, "brought", "yes");
	if (in->has_enabled)
		json_object_set_new(*ret, "enabled", json_string(in->enabled ? "yes" : "no"));
	if (in->has_state)
		json_object_set_new(*ret, "state", json_string(resource_systemd_unit_state_name(in->state)));
	if (in->restart_on.count > 0)
		json_object_set_new(*ret, "restart_on", trigger_of(&in->restart_on));
	return e;
}

static void remember(const struct resource *r, json_t *row)
{
	if (has_content(r))
		json_object_set_new(row, "file", json_string("own"));
}

static int keeps(struct resource_call *x, const char *id, const char **ret_why, struct err *err)
{
	(void)id;
	(void)err;
	*ret_why = is_ours(x) ? NULL : "its file is not from here, so that it stays as it is";
	return 0;
}

static bool differs_in(const json_t *before, const json_t *after, const char *name)
{
	const char *wanted = json_get_string(after, name), *now = json_get_string(before, name);
	return wanted != NULL && (now == NULL || strcmp(now, wanted) != 0);
}

static void means(const json_t *before, const json_t *after, enum change_action action, struct str *out)
{
	const char *state = json_get_string(after, "state"), *now = json_get_string(before, "state");
	bool runs = now != NULL && strcmp(now, "started") == 0;
	bool stops = action == ACTION_DESTROY || (state != NULL && strcmp(state, "stopped") == 0);
	if (action != ACTION_ADOPT && runs && stops)
		str_append(out, "; it stops");
	else if (action == ACTION_UPDATE && runs &&
	         (differs_in(before, after, "digest") || differs_in(before, after, "restart_on")))
		str_append(out, "; it is restarted");
}

static const struct change_type *const kinds[] = {&machine_unit.change, NULL};

const struct resource_type resource_systemd_unit = {
	.choice = RESOURCE_SYSTEMD_UNIT_CHOICE,
	.kinds = kinds,
	.change = &machine_unit.change,
	.remove = &machine_unit.change,
	.space = "systemd_unit",
	.what = "unit",
	.by_key = true,
	.id = id,
	.validate = validate,
	.check = check,
	.ahead = machine_resource_ahead,
	.look = look,
	.want = want,
	.differs = machine_resource_differs,
	.remember = remember,
	.keeps = keeps,
	.means = means,
};
