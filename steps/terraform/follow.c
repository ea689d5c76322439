/* terraform's events, for people: progress as a line that is replaced, what was done and what is wrong as lines of the log. */
#include "steps/terraform/terraform.h"

#include "base/core/clock.h"
#include "base/core/shown.h"

enum { TEXT_SHOWN = 1000, DETAIL_SHOWN = 700 };

/* On one line. */
static char *flat(const char *text, size_t max)
{
	_cleanup_free_ char *line = xstrdup(text + strspn(text, "\r\n "));
	for (char *c = line; *c != '\0'; c++)
		if (*c == '\n' || *c == '\r')
			*c = ' ';
	return shown_text(line, strlen(line), max);
}

static void add_error(struct terraform_follow *f, const struct terraform_event *e)
{
	const char *summary = e->summary != NULL ? e->summary : e->message,
		   *detail = e->detail != NULL ? e->detail : "";
	_cleanup_free_ char *text = xasprintf("%s%s%s", summary, *detail != '\0' ? ": " : "", detail);
	_cleanup_free_ char *shown = flat(text, DETAIL_SHOWN);
	if (f->errors.len > 0)
		str_append(&f->errors, "; ");
	str_append_safe(&f->errors, shown, strlen(shown));
	if (!f->is_locked && e->detail != NULL)
		f->is_locked = terraform_lock_read(e->detail, &f->lock);
}

static bool is_for_the_log(const struct terraform_event *e)
{
	switch (e->type) {
	case TERRAFORM_APPLY_START:
	case TERRAFORM_APPLY_COMPLETE:
	case TERRAFORM_APPLY_ERRORED:
	case TERRAFORM_PROVISION:
	case TERRAFORM_LOG:
	case TERRAFORM_DIAGNOSTIC:
		return true;
	case TERRAFORM_SUMMARY:
		return e->operation != NULL && strcmp(e->operation, "plan") != 0;
	default:
		return false;
	}
}

void terraform_follow_line(void *context, bool is_stderr, const char *line, size_t len)
{
	struct terraform_follow *f = context;
	struct terraform_event e;
	if (is_stderr == f->is_applying || !terraform_event_read(line, len, &e))
		return;
	_cleanup_free_ char *shown = flat(e.message, TEXT_SHOWN);
	if (e.type == TERRAFORM_DIAGNOSTIC && e.is_error)
		add_error(f, &e);
	if (e.type == TERRAFORM_SUMMARY && e.operation != NULL && strcmp(e.operation, "apply") == 0)
		f->ended = true;
	f->done += e.type == TERRAFORM_APPLY_COMPLETE;
	if (is_for_the_log(&e)) {
		if (f->c->report != NULL && (f->is_applying || e.type == TERRAFORM_DIAGNOSTIC))
			f->c->report(f->c->engine, "%s", shown);
	} else if (f->c->live != NULL && *shown != '\0') {
		f->c->live(f->c->engine, "%zu of %zu: %s", f->done, MAX(f->total, f->done), shown);
	}
	terraform_event_done(&e);
}

void terraform_follow_done(struct terraform_follow *f)
{
	str_done(&f->errors);
	terraform_lock_done(&f->lock);
}

int terraform_follow_error(const struct terraform_follow *f, int status, struct err *err)
{
	if (f->is_locked) {
		_cleanup_(str_done) struct str who = STR_INIT(2000), safe = STR_INIT(4000);
		if (f->lock.id != NULL)
			str_appendf(&who, ", lock %s", f->lock.id);
		if (f->lock.who != NULL)
			str_appendf(&who, ", of %s", f->lock.who);
		if (f->lock.operation != NULL)
			str_appendf(&who, " (%s)", f->lock.operation);
		if (f->lock.created != NULL)
			str_appendf(&who, ", since %s", f->lock.created);
		str_append_safe(&safe, str_peek(&who), who.len);
		err_set(err, ERR_LOCKED, "the state is locked%s", str_peek(&safe));
		return err_hint(
			err, ERR_LOCKED,
			"wait for it (`lock_timeout`); if nothing of that holder lives any more: terraform force-unlock %s",
			f->lock.id != NULL ? f->lock.id : "ID");
	}
	return err_set(err, ERR_FAILED, "terraform ended with status %d%s%s", status, f->errors.len > 0 ? ": " : "",
	               str_peek(&f->errors));
}
