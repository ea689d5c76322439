#include "agent/listener/isolation.h"

#include "base/sys/landlock.h"

enum { TEXT_MAX = 4096 };

bool isolation_is_mode(const char *text)
{
	return strcmp(text, "auto") == 0 || strcmp(text, "on") == 0 || strcmp(text, "off") == 0;
}

void isolation_done(struct isolation *i)
{
	strv_done(&i->closed);
	strv_done(&i->open);
	free(i->text);
	*i = (struct isolation){0};
}

static const char no_landlock[] = "this kernel has no Landlock, or none that is new enough";

/* Says why there are no walls at all; NULL: there are. */
static const char *why_none(const struct isolation_question *q, const char *mode, const struct isolation *i)
{
	if (strcmp(mode, "off") == 0)
		return "isolation is off";
	if (survey_user(q->survey, q->which) == 0)
		return "jobs run as root; `configure --worker-user` gives each registration a user of its own";
	if (landlock_abi() < LANDLOCK_PROCESSES)
		return no_landlock;
	if (!i->required && !q->for_a_job && survey_may_sudo(q->survey, q->which))
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
	const struct registration *reg = survey_registration(q->survey, q->which);
	const char *mode = q->mode != NULL ? q->mode : reg->isolation != NULL ? reg->isolation : "auto", *cost = NULL;
	struct isolation i = {.shared = survey_is_shared(q->survey, q->which), .required = strcmp(mode, "on") == 0};
	int abi = landlock_abi(), r = 0;
	if (!i.shared && !i.required) {
		*ret = i;
		return 0;
	}
	const char *nothing = why_none(q, mode, &i);
	i.processes = nothing == NULL;
	if (i.processes && q->for_a_job)
		r = survey_directories(q->survey, q->which, &i.closed, &i.open, err);
	if (r >= 0 && i.processes && !i.required)
		r = survey_cost(q->survey, q->which, &cost, err);
	if (r < 0) {
		isolation_done(&i);
		return r;
	}
	i.signals = i.processes && abi >= LANDLOCK_SIGNALS;
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

json_t *isolation_settings(const struct isolation *i)
{
	json_t *settings = json_object();
	json_object_set_new(settings, "processes", json_boolean(i->processes));
	json_object_set_new(settings, "signals", json_boolean(i->signals));
	json_object_set_new(settings, "files", json_boolean(i->files));
	json_object_set_new(settings, "required", json_boolean(i->required));
	if (i->closed.count > 0) {
		json_object_set_new(settings, "closed", texts(&i->closed));
		json_object_set_new(settings, "open", texts(&i->open));
	}
	json_object_set_new(settings, "text",
	                    i->text != NULL ? json_string_lossy(i->text, strlen(i->text)) : json_null());
	return settings;
}
