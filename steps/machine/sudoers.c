/* A file of /etc/sudoers.d: a file like others, but for visudo, which checks it before it stands, and all of sudoers behind it. A fault there
 * would lock everybody out of root. */
#include "base/core/mem.h"
#include "steps/common/command.h"
#include "steps/machine/machine.h"

enum { SAID_MAX = 400 };

static const char check_script[] =
	"PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin LC_ALL=C; export PATH LC_ALL\n"
	"command -v visudo >/dev/null || { echo 'visudo is missing: install sudo first'; exit 1; }\n"
	"visudo -c -f - 2>&1";
static const char check_all[] =
	"PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin LC_ALL=C; export PATH LC_ALL; visudo -c 2>&1";

int machine_sudoers_check(struct view *v, const char *content, size_t len, struct err *err)
{
	_cleanup_(target_result_done) struct target_result result = TARGET_RESULT_INIT;
	const struct target_command command = {.script = content != NULL ? check_script : check_all,
	                                       .input = content != NULL ? content : "",
	                                       .input_len = len};
	int r = host_query(v, &command, &result, err);
	if (r < 0)
		return r;
	if (result.status == 0 && !result.timed_out)
		return 0;
	_cleanup_(str_done) struct str said = STR_INIT(SAID_MAX);
	char *rest = result.out.len > 0 ? result.out.data : NULL, *line = rest != NULL ? strsep(&rest, "\n") : NULL;
	if (line != NULL)
		str_append_safe(&said, line, strlen(line));
	return err_set(err, ERR_FAILED, "sudo could not read it: %s", str_peek(&said));
}

static int compare(struct change_call *x, const struct change *c, enum change_match *ret, struct err *err)
{
	return change_file.compare(x, c, ret, err);
}

static int explain(struct change_call *x, const struct change *c, struct str *out, struct err *err)
{
	return change_file.explain(x, c, out, err);
}

static int save(struct change_call *x, const struct change *c, struct err *err)
{
	return change_file.save(x, c, err);
}

static int undo(struct change_call *x, const struct change *c, struct err *err)
{
	return change_file.undo(x, c, err);
}

/* Files that are good each may not be together: an alias twice. Then this one goes at once. */
static int apply(struct change_call *x, struct change *c, struct err *err)
{
	struct err ignored = ERR_INIT;
	int r = machine_sudoers_check(x->v, str_peek(&c->content), c->content.len, err);
	if (r == 0)
		r = change_file.apply(x, c, err);
	if (r < 0)
		return r;
	r = machine_sudoers_check(x->v, NULL, 0, err);
	if (r < 0)
		change_file.undo(x, c, &ignored);
	return r;
}

static void alone(const struct change *c, struct str *out)
{
	change_file.alone(c, out);
}

const struct change_type machine_sudoers = {
	.name = "sudoers",
	.flags = CHANGE_FILES,
	.compare = compare,
	.explain = explain,
	.save = save,
	.apply = apply,
	.undo = undo,
	.alone = alone,
};
