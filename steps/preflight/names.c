/* Names of hosts: resolved by this machine's and by each target's own means, hosts file and all. */
#include "steps/preflight/preflight.h"

#include "base/sys/proc.h"
#include "steps/common/paths.h"

enum { HERE_MS = 15000, NO_MEANS = 3, NOT_FOUND = 2 };

static void add_unresolved(struct faults *faults, size_t index, const char *name, const char *where)
{
	_cleanup_(str_done) struct str at = STR_INIT(256);
	preflight_at_index(&at, "dns", index);
	faults_add(faults, NULL, str_peek(&at), "the name '%s' does not resolve on %s", name, where);
	faults_hint(faults,
	            "make its record, or name the right resolver there (/etc/resolv.conf); /etc/hosts counts too");
}

static int look_up_here(const struct step_context *c, const char *name, struct err *err)
{
	const char *const argv[] = {"getent", "ahosts", name, NULL};
	const struct proc_options options = {.argv = argv, .stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1};
	struct wait w = wait_within(c->wait, HERE_MS);
	int status = 0;
	int r = proc_run(&options, NULL, 0, 1 << 16, &w, NULL, NULL, &status, err);
	if (r == ERR_TIMEOUT && wait_check(c->wait, NULL) == 0) {
		err_clear(err);
		return NOT_FOUND;
	}
	return r < 0 ? r : status;
}

int preflight_check_names_here(const struct step_context *c, struct faults *faults, struct err *err)
{
	const struct preflight_in *in = c->input;
	for (size_t i = 0; i < in->dns.count; i++) {
		int r = look_up_here(c, in->dns.items[i], err);
		if (r < 0)
			return r;
		if (r != 0)
			add_unresolved(faults, i, in->dns.items[i], "this machine");
	}
	return 0;
}

static const char name_script[] =
	"if command -v getent >/dev/null 2>&1; then getent hosts \"$N\" >/dev/null 2>&1 || exit 2\n"
	"elif command -v nslookup >/dev/null 2>&1; then nslookup \"$N\" >/dev/null 2>&1 || exit 2\n"
	"else exit 3; fi\n";

int preflight_check_names_there(const struct preflight_in *in, struct view *v, struct faults *faults, struct err *err)
{
	_cleanup_free_ char *where = xasprintf("'%s'", v->name);
	for (size_t i = 0; i < in->dns.count; i++) {
		const struct field_pair env[] = {{"N", in->dns.items[i]}};
		int status = step_ask(v, name_script, env, 1, NULL, NULL, err);
		if (status < 0)
			return status;
		if (status == NO_MEANS) {
			faults_warn(faults, "/dns", "whether names resolve on '%s' cannot be told", v->name);
			faults_hint(faults, "install getent or nslookup there");
			return 0;
		}
		if (status != 0)
			add_unresolved(faults, i, in->dns.items[i], where);
	}
	return 0;
}
