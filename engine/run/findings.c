/* What can be known before the first change: collected from all steps and all targets, and told at once. */
#include "engine/run/run_priv.h"

/* An error that says how the world is, and not that this process cannot go on. */
static bool may_be_finding(int r)
{
	switch (r) {
	case ERR_CANCELLED:
	case ERR_LOCKED:
	case ERR_CONFLICT:
	case ERR_FENCED:
	case ERR_INTERNAL:
		return false;
	default:
		return r < 0;
	}
}

/* A step speaks of its own input: "/keys" becomes "/steps/2/secret-write/keys". */
static void place(const struct estep *s, const char *where, struct fault *items, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct fault *f = &items[i];
		if (s != NULL) {
			char *own = f->pointer;
			f->pointer = xasprintf("/steps/%d/%s%s", s->index, s->type->info->name, own ? own : "");
			free(own);
		}
		if (f->where == NULL && where != NULL)
			f->where = xstrdup(where);
	}
}

void engine_find_faults(struct engine *e, const struct estep *s, const char *where, struct faults *faults)
{
	place(s, where, faults->items, faults->count);
	place(s, where, faults->warnings, faults->warning_count);
	faults_move(&e->found, faults);
}

bool engine_find(struct engine *e, const struct estep *s, const char *where, int r, const struct err *why)
{
	_cleanup_(faults_done) struct faults one = {0};
	char line[ERR_FRAME_SIZE * 2];
	if (!may_be_finding(r))
		return false;
	if (e->found.count == 0) {
		e->found_code = r;
		e->found_err = *why;
	}
	faults_add(&one, NULL, "", "%s", err_line(why, line, sizeof(line)));
	if (why->hint[0] != '\0')
		faults_hint(&one, "%s", why->hint);
	engine_find_faults(e, s, where, &one);
	return true;
}

static void set_text(json_t *object, const char *key, const char *text)
{
	if (text != NULL && *text != '\0')
		json_object_set_new(object, key, json_string_lossy(text, strlen(text)));
}

/* "/steps/2/…" is of the step at that place. */
static const struct estep *step_at(const struct engine *e, const char *pointer)
{
	static const char head[] = "/steps/";
	if (pointer == NULL || !str_starts(pointer, head))
		return NULL;
	unsigned long index = strtoul(pointer + strlen(head), NULL, 10);
	return index < e->step_count ? &e->steps[index] : NULL;
}

static void add_json(struct engine *e, const struct fault *items, size_t count, const char *severity)
{
	for (size_t i = 0; i < count; i++) {
		const struct estep *s = step_at(e, items[i].pointer);
		json_t *o = json_pack("{s:s}", "severity", severity);
		set_text(o, "step", s != NULL ? s->display : NULL);
		set_text(o, "target", items[i].where);
		set_text(o, "at", items[i].pointer);
		set_text(o, "text", items[i].text);
		set_text(o, "hint", items[i].hint);
		json_array_append_new(e->findings, o);
	}
}

static void say(struct engine *e, const char *level, const struct fault *items, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const char *pointer = items[i].pointer != NULL ? items[i].pointer : "";
		engine_say(e, level, "%s%s%s", pointer, *pointer != '\0' ? ": " : "", items[i].text);
		if (items[i].hint != NULL)
			engine_say(e, "info", "  %s", items[i].hint);
	}
}

/* The only one, when it was an error, is the caller's to tell. */
static bool is_one_error(const struct engine *e)
{
	return e->found.count == 1 && e->found_code < 0;
}

static void tell(struct engine *e)
{
	bool alone = is_one_error(e) && e->found.warning_count == 0;
	if (e->o->findings != NULL && !alone) {
		e->o->findings(e->o->report_context, e->findings);
		return;
	}
	say(e, "warning", e->found.warnings, e->found.warning_count);
	if (!is_one_error(e))
		say(e, "error", e->found.items, e->found.count);
}

int engine_findings_end(struct engine *e, struct err *err)
{
	if (e->found.count + e->found.warning_count == 0)
		return 0;
	if (e->findings == NULL)
		e->findings = json_array();
	add_json(e, e->found.items, e->found.count, "error");
	add_json(e, e->found.warnings, e->found.warning_count, "warning");
	tell(e);
	int r = 0;
	if (is_one_error(e)) {
		r = e->found_code;
		if (err)
			*err = e->found_err;
	} else if (faults_to_err(&e->found, NULL, err) < 0) {
		r = ERR_REFUSED;
	}
	faults_done(&e->found);
	e->found_code = 0;
	return r;
}
