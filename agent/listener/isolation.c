#include "agent/listener/isolation.h"

#include <pwd.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/listener/handover.h"
#include "agent/listener/worker_user.h"
#include "base/core/clock.h"
#include "base/sys/fs.h"
#include "base/sys/landlock.h"
#include "base/sys/proc.h"
#include "engine/journal/state_dir.h"

enum { SUDO_MS = 5000, ANSWER_MAX = 64 << 10, TEXT_MAX = 4096 };

bool isolation_is_mode(const char *text)
{
	return strcmp(text, "auto") == 0 || strcmp(text, "on") == 0 || strcmp(text, "off") == 0;
}

void isolation_done(struct isolation *i)
{
	strv_done(&i->closed);
	strv_done(&i->areas);
	strv_done(&i->open);
	free(i->text);
	*i = (struct isolation){0};
}

static uid_t user_of(const struct registration *reg)
{
	const struct passwd *entry = reg->worker_user != NULL && geteuid() == 0 ? getpwnam(reg->worker_user) : NULL;
	return entry != NULL ? entry->pw_uid : geteuid();
}

static bool same_repository(const struct registration *a, const struct registration *b)
{
	return a->url != NULL && b->url != NULL && strcasecmp(a->url, b->url) == 0;
}

static bool shares_its_user(const struct isolation_question *q)
{
	const struct registration *ours = q->all[q->which];
	for (size_t i = 0; i < q->count; i++)
		if (i != q->which && user_of(q->all[i]) == user_of(ours) && !same_repository(q->all[i], ours))
			return true;
	return false;
}

/* ---- what it would cost ---- */

/* Behind the walls sudo gives no rights; and walls that a job passes as root are none. */
static bool may_sudo(const struct registration *reg)
{
	const char *plain[] = {"sudo", "-n", "-l", NULL};
	const char *other[] = {"/proc/self/exe", "agent", "as-user",         reg->worker_user,
	                       "/bin/sh",        "-c",    "exec sudo -n -l", NULL};
	const bool another = reg->worker_user != NULL && geteuid() == 0;
	const struct proc_options options = {.argv = another ? other : plain, .stdin_fd = -1};
	_cleanup_(str_done) struct str answer = STR_INIT(ANSWER_MAX), errors = STR_INIT(ANSWER_MAX);
	struct wait w = WAIT_INIT;
	int status = -1;
	w.deadline_mono_ms = clock_mono_ms() + SUDO_MS;
	return proc_run(&options, NULL, 0, ANSWER_MAX, &w, &answer, &errors, &status, NULL) == 0 && status == 0;
}

static bool may_write(const struct stat *st, uid_t uid)
{
	if (st->st_uid == uid)
		return (st->st_mode & S_IWUSR) != 0;
	return (st->st_mode & S_IWOTH) != 0 || (st->st_gid != 0 && (st->st_mode & S_IWGRP) != 0);
}

/* A directory on the way to a closed one can get no new entries: one that jobs make files in would be lost to them. free() */
static char *lost_directory(const char *closed, uid_t uid)
{
	_cleanup_free_ char *path = xstrdup(closed);
	for (char *slash; (slash = strrchr(path, '/')) != NULL && slash != path;) {
		struct stat st;
		*slash = '\0';
		if (stat(path, &st) == 0 && may_write(&st, uid))
			return TAKE(path);
	}
	return NULL;
}

static const char *home_of(uid_t uid)
{
	const char *given = uid == geteuid() ? getenv("HOME") : NULL;
	const struct passwd *entry = given == NULL ? getpwuid(uid) : NULL;
	return given != NULL ? given : entry != NULL ? entry->pw_dir : "/";
}

static bool lies_in_another(const struct isolation *i, size_t which)
{
	for (size_t k = 0; k < i->closed.count; k++)
		if (strcmp(i->closed.items[k], i->closed.items[which]) != 0 &&
		    fs_below(i->closed.items[k], i->closed.items[which]))
			return true;
	return false;
}

/* Why walls around these directories would take away what jobs use; NULL: they would not. free() */
static char *cost_of_files(const struct isolation *i, uid_t uid)
{
	_cleanup_free_ char *home = fs_real_path(home_of(uid), NULL);
	for (size_t n = 0; n < i->closed.count; n++) {
		const char *closed = i->closed.items[n];
		if (lies_in_another(i, n))
			continue;
		if (home != NULL && fs_below(closed, home))
			return xasprintf("the home directory lies in %s", closed);
		/* What holds work areas is the agent's: nobody else makes files beside them. */
		bool is_area = strv_has(&i->areas, closed);
		_cleanup_free_ char *from = is_area ? xstrndup(closed, (size_t)(strrchr(closed, '/') - closed))
		                                    : xstrdup(closed),
				    *lost = lost_directory(from, uid);
		if (lost != NULL)
			return xasprintf("%s lies below %s, where jobs make files", closed, lost);
	}
	return NULL;
}

/* ---- the directories ---- */

/* The real name, as far as there is one yet. */
static void add_directory(struct strv *list, const char *path)
{
	_cleanup_free_ char *begin = xstrdup(path);
	char *real = fs_real_path(begin, NULL);
	for (char *slash; real == NULL && (slash = strrchr(begin, '/')) != NULL && slash != begin;) {
		*slash = '\0';
		_cleanup_free_ char *above = fs_real_path(begin, NULL);
		if (above != NULL)
			real = xasprintf("%s%s", above, path + (slash - begin));
	}
	strv_add_take(list, real != NULL ? real : xstrdup(path));
}

static int name_directories(const struct isolation_question *q, struct isolation *i, struct err *err)
{
	for (size_t n = 0; n < q->count; n++) {
		const char *user = q->all[n]->worker_user;
		_cleanup_free_ char *state = user != NULL ? worker_user_state_dir(user, err) : state_dir(err);
		if (state == NULL)
			return err->code;
		_cleanup_free_ char *area = handover_work_folder(q->all[n], state);
		add_directory(&i->closed, n == q->which ? state : area);
		add_directory(n == q->which ? &i->open : &i->areas, area);
	}
	if (q->agent_dir != NULL)
		add_directory(&i->closed, q->agent_dir);
	return 0;
}

/* ---- the decision ---- */

static const char no_landlock[] = "this kernel has no Landlock, or none that is new enough";

/* Why no walls stand at all; NULL: they do. */
static const char *why_none(const struct isolation_question *q, const char *mode, const struct isolation *i)
{
	const struct registration *reg = q->all[q->which];
	if (strcmp(mode, "off") == 0)
		return "isolation is off";
	if (user_of(reg) == 0)
		return "jobs run as root; `configure --worker-user` gives each registration a user of its own";
	if (landlock_abi() < LANDLOCK_PROCESSES)
		return no_landlock;
	if (!i->required && !q->no_sudo && may_sudo(reg))
		return "their user may use sudo, which isolation would take away; `--isolation on` does";
	return NULL;
}

static void say(struct isolation *i, const char *nothing, const char *no_files)
{
	_cleanup_(str_done) struct str text = STR_INIT(TEXT_MAX);
	i->whole = i->processes && i->signals && i->files;
	if (nothing != NULL) {
		str_appendf(&text, "not apart: processes, environment and files of jobs of other repositories (%s)",
		            nothing);
	} else {
		str_appendf(&text, "kept apart from jobs of other repositories: memory and environment%s%s",
		            i->signals ? ", signals" : "", i->files ? ", files" : "");
		if (!i->signals)
			str_append(&text, "; not apart: signals (the kernel's Landlock is too old)");
		if (!i->files)
			str_appendf(&text, "; not apart: files (%s)", no_files);
	}
	i->text = str_take(&text);
}

int isolation_decide(const struct isolation_question *q, struct isolation *ret, struct err *err)
{
	const struct registration *reg = q->all[q->which];
	const char *mode = q->mode != NULL ? q->mode : reg->isolation != NULL ? reg->isolation : "auto";
	struct isolation i = {.shared = shares_its_user(q), .required = strcmp(mode, "on") == 0};
	_cleanup_free_ char *cost = NULL;
	int abi = landlock_abi();
	if (!i.shared && !i.required) {
		*ret = i;
		return 0;
	}
	const char *nothing = why_none(q, mode, &i);
	i.processes = nothing == NULL;
	int r = i.processes ? name_directories(q, &i, err) : 0;
	if (r < 0) {
		isolation_done(&i);
		return r;
	}
	i.signals = i.processes && abi >= LANDLOCK_SIGNALS;
	if (i.processes && !i.required)
		cost = cost_of_files(&i, user_of(reg));
	i.files = i.processes && cost == NULL && abi >= LANDLOCK_FILES;
	say(&i, nothing, cost != NULL ? cost : no_landlock);
	*ret = i;
	return 0;
}

static json_t *texts(const struct strv *list)
{
	json_t *array = json_array();
	for (size_t n = 0; n < list->count; n++)
		json_array_append_new(array, json_string_lossy(list->items[n], strlen(list->items[n])));
	return array;
}

json_t *isolation_settings(const struct isolation *i, bool with_directories)
{
	json_t *settings = json_object();
	json_object_set_new(settings, "processes", json_boolean(i->processes));
	json_object_set_new(settings, "signals", json_boolean(i->signals));
	json_object_set_new(settings, "files", json_boolean(i->files));
	json_object_set_new(settings, "required", json_boolean(i->required));
	if (with_directories) {
		json_object_set_new(settings, "closed", texts(&i->closed));
		json_object_set_new(settings, "open", texts(&i->open));
	}
	json_object_set_new(settings, "text",
	                    i->text != NULL ? json_string_lossy(i->text, strlen(i->text)) : json_null());
	return settings;
}
