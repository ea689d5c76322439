/* A command that cron runs: a file of its own in /etc/cron.d, written as cron wants it, since cron passes over a file with one wrong line in silence. */
#include "schemas/resources/cron.h"
#include "base/data/cron.h"
#include "base/secret/digest.h"
#include "base/secret/mask.h"
#include "steps/apply/kinds/path.h"

#include <string.h>

enum { MODE = 0644, FILE_MAX = 256 << 10 };

/* ---- the input ---- */

static char *id(const struct resource *r, const char *pointer, struct faults *faults)
{
	(void)pointer;
	(void)faults;
	return xasprintf("/etc/cron.d/%s", r->id);
}

static void refuse(const struct resource *r, const char *member, const char *text, const struct resource_faults *f)
{
	if (strpbrk(text, "\r\n") != NULL)
		resource_fault(f, r, member, "it is one line");
	if (!mask_finds(mask_process(), text, strlen(text)))
		return;
	resource_fault(f, r, member, "a secret is part of it, and everybody on the target reads the file");
	faults_hint(f->faults, "write it with secret-write, and let the command read that file");
}

static bool is_variable(const char *name)
{
	static const char first[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_";
	return *name != '\0' && strchr(first, *name) != NULL &&
	       name[strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789")] == '\0';
}

static void validate(const struct resource *r, const struct resource_faults *f)
{
	const struct resource_cron *in = r->in;
	if (!cron_fits(in->schedule, CRON_DAEMON)) {
		resource_fault(f, r, "schedule", "'%s' is no schedule", in->schedule);
		faults_hint(f->faults,
		            "minute, hour, day, month, day of the week: `30 4 * * 1-5`; or @daily, @hourly, @reboot …");
	}
	refuse(r, "command", in->command, f);
	if (r->ignore_changes.count > 0)
		resource_fault(f, r, "ignore_changes",
		               "a file of cron is compared as a whole: nothing of it is left to others");
	for (size_t i = 0; i < in->env.count; i++) {
		if (!is_variable(in->env.items[i].key))
			resource_fault(f, r, "env", "'%s' cannot be the name of a variable", in->env.items[i].key);
		refuse(r, "env", in->env.items[i].value, f);
		if (strchr(in->env.items[i].value, '"') != NULL)
			resource_fault(f, r, "env", "cron knows no way to write the \" in '%s'", in->env.items[i].key);
	}
}

/* ---- the file ---- */

static void write_file(const struct resource_cron *in, struct str *out)
{
	str_append(out, "# by davit\n");
	for (size_t i = 0; i < in->env.count; i++)
		str_appendf(out, "%s=\"%s\"\n", in->env.items[i].key, in->env.items[i].value);
	str_appendf(out, "%s %s ", in->schedule, in->user);
	for (const char *p = in->command; *p != '\0'; p++)
		str_appendf(out, *p == '%' ? "\\%c" : "%c", *p);
	str_append(out, "\n");
}

/* cron runs nothing of a file with a user that is not there. One that this desired state makes is named in depends_on. */
static int check_user(struct resource_call *x, const struct resource *r, const char *user, struct err *err)
{
	const char *const argv[] = {"getent", "passwd", "--", user, NULL};
	const struct target_command command = {.argv = argv};
	_cleanup_(target_result_done) struct target_result result = TARGET_RESULT_INIT;
	_cleanup_free_ char *name = xasprintf("cron:%s", user);
	if (r->need_count > 0 || strcmp(user, "root") == 0 || json_object_get(x->found, name) != NULL)
		return 0;
	int e = host_query(x->v, &command, &result, err);
	if (e < 0)
		return e;
	if (result.status != 0)
		return err_hint(err, err_set(err, ERR_NOT_FOUND, "there is no user '%s' on '%s'", user, x->v->name),
		                "one of this desired state is named in `depends_on` too");
	json_object_set_new(x->found, name, json_true());
	return 0;
}

static int want(struct resource_call *x, const struct resource *r, const json_t *before, json_t **ret,
                struct str *content, struct err *err)
{
	/* cron takes a file only from root, and only one that nobody else can write. */
	const struct path_owner owner = {"root", "root", MODE, MODE};
	const struct resource_cron *in = r->in;
	char hex[DIGEST_HEX];
	write_file(in, content);
	if (content->len > FILE_MAX)
		return err_set(err, ERR_LIMIT, "'%s' is too large", r->id);
	int e = check_user(x, r, in->user, err);
	if (e == 0)
		e = path_want(x, r, before, &owner, ret, err);
	if (e < 0)
		return e;
	digest_of(str_peek(content), content->len, hex);
	json_object_set_new(*ret, "digest", json_string(hex));
	json_object_set_new(*ret, "size", json_integer((json_int_t)content->len));
	return 0;
}

static void explain(const struct resource *r, struct str *out)
{
	const struct resource_cron *in = r->in;
	str_appendf(out, ", %s as %s: %s", in->schedule, in->user, in->command);
}

static const char *const facts[] = {"digest", "size", NULL};

const struct resource_type resource_cron = {
	.choice = RESOURCE_CRON_CHOICE,
	.change = &change_file,
	.remove = &change_remove,
	.space = PATH_SPACE,
	.nests = true,
	.what = "file",
	.facts = facts,
	.id = id,
	.validate = validate,
	.bars = path_bars,
	.ahead = path_ahead,
	.look = path_look,
	.want = want,
	.first = path_first,
	.differs = node_differs,
	.explain = explain,
};
