/* `davit agent install` and `uninstall`: the agent as a service of systemd, or davit's hook in an official runner. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/cmd/agent.h"
#include "agent/cmd/cli.h"
#include "agent/install/hook.h"
#include "agent/install/systemd.h"
#include "agent/install/unit.h"
#include "agent/install/user.h"
#include "agent/listener/listener.h"
#include "agent/listener/worker_user.h"
#include "base/core/log.h"
#include "base/sys/fs.h"

enum { UNIT_MAX = 64 << 10, SLOTS_MAX = 1000 };
static const char default_user[] = "davit";

struct install_options {
	bool user, print, privileged_jobs;
	const char *worker_user, *slots, *hook;
	struct strv writable;
};

/* Of this machine's registrations: how many, and where their jobs work when that is not below the state directory. */
static int read_registrations(struct strv *writable, size_t *ret_count, struct err *err)
{
	struct records store = {0};
	_cleanup_(strv_done) struct strv ids = {0};
	struct err why = ERR_INIT;
	*ret_count = 0;
	int r = records_open(false, &store, &why);
	if (r == ERR_NOT_FOUND)
		return 0;
	if (r < 0) {
		*err = why;
		return r;
	}
	r = records_list(&store, &ids, err);
	for (size_t i = 0; r >= 0 && i < ids.count; i++) {
		struct registration reg = {0};
		r = records_load(&store, ids.items[i], &reg, err);
		if (r >= 0 && reg.work != NULL && reg.work[0] == '/' && !strv_has(writable, reg.work))
			strv_add(writable, reg.work);
		registration_done(&reg);
	}
	*ret_count = ids.count;
	records_done(&store);
	return r;
}

/* What the unit is made of; the strings stay the caller's. */
struct wanted {
	struct unit unit;
	char *program, *home;
	size_t registrations;
};

static void wanted_done(struct wanted *w)
{
	free(w->program);
	free(w->home);
	strv_done(&w->unit.writable);
}

static int read_slots(const char *text, int *ret, struct err *err)
{
	long long slots = 0;
	if (text != NULL && !str_parse_i64(text, 1, SLOTS_MAX, &slots))
		return err_set(err, ERR_INVALID, "--slots is '%.60s', not a number from 1 to %d", text, SLOTS_MAX);
	*ret = (int)slots;
	return 0;
}

static int collect(const struct install_options *o, struct wanted *w, struct err *err)
{
	const char *state = getenv("DAVIT_STATE");
	w->unit.user = o->user;
	w->unit.privileged_jobs = o->privileged_jobs;
	w->unit.state = state != NULL && *state != '\0' ? state : NULL;
	for (size_t i = 0; i < o->writable.count; i++)
		strv_add(&w->unit.writable, o->writable.items[i]);
	if (o->user && o->worker_user != NULL)
		return err_set(
			err, ERR_INVALID,
			"--user and --worker-user do not go together: only root's agent starts jobs as another user");
	int r = read_slots(o->slots, &w->unit.slots, err);
	if (r >= 0 && !o->user) {
		w->unit.worker_user = o->worker_user != NULL ? o->worker_user : default_user;
		r = user_check_name(w->unit.worker_user, err);
		w->unit.worker_home = w->home = user_home(w->unit.worker_user);
	}
	w->program = r < 0 ? NULL : fs_helper_program("davit", err);
	if (w->program == NULL)
		return r < 0 ? r : err->code;
	w->unit.program = w->program;
	return read_registrations(&w->unit.writable, &w->registrations, err);
}

/* *ret_changed: false when that is what the file says already. */
static int write_unit(const char *path, const char *text, bool *ret_changed, struct err *err)
{
	_cleanup_(str_done) struct str now = STR_INIT(UNIT_MAX);
	struct err why = ERR_INIT;
	int r = fs_read(AT_FDCWD, path, UNIT_MAX - 1, &now, &why);
	*ret_changed = r < 0 || strcmp(str_peek(&now), text) != 0;
	if (r < 0 && r != ERR_NOT_FOUND) {
		*err = why;
		return r;
	}
	if (!*ret_changed)
		return 0;
	if (r >= 0 && !unit_is_own(str_peek(&now))) {
		err_set(err, ERR_REFUSED, "%s exists and was not written by davit", path);
		return err_hint(err, ERR_REFUSED,
		                "move it away; settings of your own go beside it: systemctl edit davit-agent");
	}
	_cleanup_free_ char *dir = xstrndup(path, (size_t)(strrchr(path, '/') - path));
	r = fs_mkdirs(AT_FDCWD, dir, 0755, err);
	return r < 0 ? r : fs_write_atomic(AT_FDCWD, path, text, strlen(text), 0644, err);
}

static int switch_on(const struct wanted *w, bool changed, struct err *err)
{
	bool user = w->unit.user;
	const char *reload[] = {"daemon-reload", NULL}, *enable[] = {"enable", "--quiet", UNIT_NAME, NULL};
	const char *start[] = {"start", UNIT_NAME, NULL};
	int r = changed ? systemd_call(user, reload, err) : 0;
	if (r >= 0 && !systemd_unit_is(user, "is-enabled")) {
		r = systemd_call(user, enable, err);
		changed = true;
	}
	bool runs = r >= 0 && systemd_unit_is(user, "is-active");
	if (r >= 0 && !runs && w->registrations > 0) {
		r = systemd_call(user, start, err);
		if (r >= 0)
			puts("the agent runs");
	} else if (r >= 0 && !changed) {
		puts("nothing to change");
	}
	if (r >= 0 && runs && changed)
		printf("the agent that runs goes on as it was started; when no job runs: systemctl %srestart davit-agent\n",
		       user ? "--user " : "");
	if (r >= 0 && w->registrations == 0)
		puts("no registration yet: davit agent configure --url URL --token TOKEN, then this command again starts it");
	return r;
}

static int may_install(const struct wanted *w, struct err *err)
{
	int r = systemd_check(w->unit.user, err);
	if (r < 0 || w->unit.user || geteuid() == 0)
		return r;
	err_set(err, ERR_PERMISSION, "only root may install a service of this machine");
	return err_hint(err, ERR_PERMISSION,
	                "sudo davit agent install, or --user for a service of your own; --print shows the unit");
}

static int install_unit(const struct wanted *w, const char *text, struct err *err)
{
	_cleanup_free_ char *path = systemd_unit_path(w->unit.user, err);
	bool made = false, changed = false;
	int r = path == NULL ? err->code : may_install(w, err);
	if (r >= 0 && w->unit.worker_user != NULL)
		r = user_make(w->unit.worker_user, &made, err);
	if (made && w->unit.worker_user != NULL)
		printf("made the user %s, whom jobs run as\n", w->unit.worker_user);
	if (r >= 0 && w->unit.worker_user != NULL)
		r = worker_user_check(w->unit.worker_user, w->program, err);
	if (r >= 0)
		r = write_unit(path, text, &changed, err);
	if (changed && r >= 0)
		printf("wrote %s\n", path);
	return r < 0 ? r : switch_on(w, changed || made, err);
}

static int install_hook(const char *dir, bool print, struct err *err)
{
	_cleanup_free_ char *program = fs_helper_program("davit", err);
	bool changed = false;
	if (program == NULL)
		return err->code;
	if (print) {
		_cleanup_free_ char *script = hook_script(program);
		fputs(script, stdout);
		return 0;
	}
	int r = hook_install(dir, program, &changed, err);
	if (r >= 0)
		puts(changed ? "the runner decides what a job left before it begins the next one, from its next start on"
		             : "nothing to change");
	return r;
}

static int install(const struct install_options *o, struct err *err)
{
	if (o->hook != NULL)
		return install_hook(o->hook, o->print, err);
	_cleanup_(wanted_done) struct wanted w = {0};
	_cleanup_(str_done) struct str text = STR_INIT(UNIT_MAX - 1);
	int r = collect(o, &w, err);
	if (r >= 0)
		r = unit_text(&w.unit, &text, err);
	if (r >= 0 && o->print)
		fputs(str_peek(&text), stdout);
	else if (r >= 0)
		r = install_unit(&w, str_peek(&text), err);
	return r;
}

static int status_of(int r, const struct err *err)
{
	if (r >= 0)
		return cli_output_failed() ? LISTEN_TERMINATED : LISTEN_DONE;
	return cli_fail(err, LISTEN_TERMINATED);
}

int agent_install(int argc, char **argv)
{
	struct install_options o = {0};
	const struct cli_option options[] = {
		{"user", 0, CLI_FLAG, &o.user, NULL, "as a service of this user's own systemd; jobs run as this user"},
		{"worker-user", 0, CLI_TEXT, &o.worker_user, "NAME",
	         "whom jobs run as (davit); made where it does not exist"},
		{"write", 0, CLI_LIST, &o.writable, "DIR",
	         "jobs write there too, beside their own directories; may be repeated"},
		{"privileged-jobs", 0, CLI_FLAG, &o.privileged_jobs, NULL,
	         "jobs may become root by sudo and change this machine"},
		{"slots", 0, CLI_TEXT, &o.slots, "N", "jobs at a time; default: one a processor, at least two"},
		{"print", 0, CLI_FLAG, &o.print, NULL, "show what would be written, and stop"},
		{"hook", 0, CLI_TEXT, &o.hook, "DIR",
	         "instead: davit's job-started hook for the official runner in DIR"},
		{0}};
	const struct cli_command command = {
		.name = "agent install",
		.usage = "[--user] [options]",
		.summary = "Makes the agent a service of systemd, or updates that. A second run changes nothing.",
		.options = options};
	struct cli_rest rest = {0};
	struct err err = ERR_INIT;
	int status = cli_parse(&command, argc, argv, &rest);
	if (status < 0)
		status = status_of(install(&o, &err), &err);
	else if (status > 0)
		status = LISTEN_TERMINATED;
	strv_done(&o.writable);
	return status;
}

/* The unit stops first: it waits until running deployments have reached one of their two versions. */
static int uninstall_unit(bool user, struct err *err)
{
	_cleanup_free_ char *path = systemd_unit_path(user, err);
	_cleanup_(str_done) struct str now = STR_INIT(UNIT_MAX);
	struct err why = ERR_INIT;
	if (path == NULL)
		return err->code;
	int r = fs_read(AT_FDCWD, path, UNIT_MAX - 1, &now, &why);
	if (r == ERR_NOT_FOUND) {
		puts("nothing to change");
		return 0;
	}
	if (r < 0) {
		*err = why;
		return r;
	}
	if (!unit_is_own(str_peek(&now)))
		return err_set(err, ERR_REFUSED, "%s was not written by davit: it stays", path);
	const char *disable[] = {"disable", "--quiet", "--now", UNIT_NAME, NULL}, *reload[] = {"daemon-reload", NULL};
	r = systemd_check(user, err);
	if (r >= 0)
		r = systemd_call(user, disable, err);
	if (r >= 0 && unlink(path) < 0)
		r = err_errno(err, errno, "remove %s", path);
	if (r >= 0)
		r = systemd_call(user, reload, err);
	if (r >= 0)
		printf("removed %s; registrations, the jobs' user and the journal stay\n", path);
	return r;
}

int agent_uninstall(int argc, char **argv)
{
	bool user = false;
	const char *hook = NULL;
	const struct cli_option options[] = {
		{"user", 0, CLI_FLAG, &user, NULL, "the service of this user's own systemd"},
		{"hook", 0, CLI_TEXT, &hook, "DIR", "instead: davit's hook of the official runner in DIR"},
		{0}};
	const struct cli_command command = {
		.name = "agent uninstall",
		.usage = "[--user] [options]",
		.summary = "Stops the agent's service and removes it. Registrations stay: `davit agent remove`.",
		.options = options};
	struct cli_rest rest = {0};
	struct err err = ERR_INIT;
	int status = cli_parse(&command, argc, argv, &rest);
	if (status >= 0)
		return status > 0 ? LISTEN_TERMINATED : LISTEN_DONE;
	bool changed = false;
	int r = hook != NULL ? hook_remove(hook, &changed, &err) : uninstall_unit(user, &err);
	if (r >= 0 && hook != NULL)
		puts(changed ? "removed the hook" : "nothing to change");
	return status_of(r, &err);
}
