/* How an apply ended: from what it left in its directory, which it writes also when nobody waits for it any more. */
#include "steps/terraform/terraform.h"

#include "base/core/shown.h"
#include "base/sys/fs.h"

enum { FACTS_MAX = 4096, LOG_MAX = 16 << 20, LOCK_MAX = 8192, UNLOCK_MS = 300000, LINE_SHOWN = 4096 };

void terraform_end_done(struct terraform_end *e)
{
	strv_done(&e->begun);
	strv_done(&e->created);
	free(e->lock);
	free(e->real);
	free(e->lineage);
	*e = (struct terraform_end){0};
}

/* What was never written is "". */
static int read_file(struct view *v, const char *work, const char *name, size_t max, struct str *out, struct err *err)
{
	_cleanup_free_ char *path = fs_join(work, name);
	int r = host_read(v, path, max, out, err);
	if (r != ERR_NOT_FOUND)
		return r;
	err_clear(err);
	return 0;
}

/* The rest of the line that begins with `key `; NULL: there is none. free() */
static char *value_of(const struct str *text, const char *key)
{
	size_t len = strlen(key);
	for (const char *line = str_peek(text); line != NULL; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (strncmp(line, key, len) == 0 && line[len] == ' ')
			return xstrndup(line + len + 1, strcspn(line + len + 1, "\n"));
	}
	return NULL;
}

static long long number_of(const struct str *text, const char *key, long long otherwise)
{
	_cleanup_free_ char *value = value_of(text, key);
	long long number;
	return value != NULL && str_parse_i64(value, 0, INT64_MAX, &number) ? number : otherwise;
}

static void read_event(struct terraform_end *e, json_t *seen, const char *line, size_t len)
{
	struct terraform_event event;
	if (!terraform_event_read(line, len, &event))
		return;
	if (event.address != NULL) {
		_cleanup_free_ char *address = shown_text(event.address, strlen(event.address), LINE_SHOWN);
		if (event.type == TERRAFORM_APPLY_START && json_object_get(seen, address) == NULL) {
			json_object_set_new(seen, address, json_true());
			strv_add(&e->begun, address);
		}
		if (event.type == TERRAFORM_APPLY_COMPLETE) {
			e->done++;
			if (event.action != NULL && strcmp(event.action, "create") == 0)
				strv_add(&e->created, address);
		}
	}
	terraform_event_done(&event);
}

/* A replacement begins twice. */
static void read_log(struct terraform_end *e, const struct str *log)
{
	_cleanup_json_ json_t *seen = json_object();
	for (const char *line = str_peek(log); *line != '\0';) {
		size_t len = strcspn(line, "\n");
		read_event(e, seen, line, len);
		line += len + (line[len] == '\n');
	}
}

int terraform_end_read(const struct step_context *c, struct target *t, const char *work, struct terraform_end *ret,
                       struct err *err)
{
	_cleanup_(terraform_end_done) struct terraform_end e = {.serial = -1};
	_cleanup_(str_done) struct str began = STR_INIT(FACTS_MAX + 4096), facts = STR_INIT(FACTS_MAX + 1),
				       log = STR_INIT(LOG_MAX + 1), lock = STR_INIT(LOCK_MAX + 1);
	struct terraform_lock held = {0};
	(void)c;
	int r = read_file(&t->view, work, "began", FACTS_MAX + 4095, &began, err);
	if (r == 0)
		r = read_file(&t->view, work, "facts", FACTS_MAX, &facts, err);
	if (r == 0)
		r = read_file(&t->view, work, "log", LOG_MAX, &log, err);
	if (r == 0)
		r = read_file(&t->view, work, "lock", LOCK_MAX, &lock, err);
	if (r < 0)
		return r;
	e.exists = began.len > 0;
	e.known = number_of(&facts, "status", -1) >= 0 && strstr(str_peek(&facts), "\nend\n") != NULL;
	e.status = (int)number_of(&facts, "status", 1);
	e.serial = number_of(&facts, "serial", -1);
	e.errored = number_of(&facts, "errored", 0) == 1;
	e.before = number_of(&began, "serial", 0);
	e.real = value_of(&began, "real");
	e.lineage = value_of(&began, "lineage");
	read_log(&e, &log);
	if (terraform_lock_read(str_peek(&lock), &held))
		e.lock = TAKE(held.id);
	terraform_lock_done(&held);
	*ret = e;
	e = (struct terraform_end){0};
	return 0;
}

/* ---- the state's lock ---- */

struct holder {
	struct terraform_lock lock;
	bool asked, locked, freed;
};

static void read_holder(const struct str *answer, struct holder *h)
{
	struct terraform_part part;
	size_t at = 0;
	while (terraform_part_next(answer, &at, &part)) {
		_cleanup_free_ char *text = xstrndup(part.data, part.len);
		if (strcmp(part.name, "lock") == 0) {
			h->asked = true;
			h->locked = terraform_lock_read(text, &h->lock);
		}
		h->freed = h->freed || (strcmp(part.name, "unlocked") == 0 && part.status == 0);
	}
}

static int tell_lock(const struct step_context *c, const struct target *t, const struct holder *h, const char *own,
                     struct err *err)
{
	const char *id = h->lock.id != NULL ? h->lock.id : "ID";
	if (h->freed)
		c->report(c->engine, "the state's lock %s was of the terraform that died here, and is released", own);
	else if (!h->asked)
		c->report(c->engine, "whether the state is still locked cannot be asked; its lock was %s",
		          own != NULL ? own : "not noted");
	else if (h->locked && own != NULL && strcmp(id, own) == 0)
		return err_set(err, ERR_FAILED,
		               "the state's lock %s on '%s' is of the terraform that died, and cannot be released", own,
		               t->view.name);
	else if (h->locked)
		c->report(
			c->engine,
			"the state is locked by %s, which is not known to be of this deployment: it stays. If nothing of that "
			"holder lives any more: terraform force-unlock %s",
			id, id);
	return 0;
}

int terraform_end_unlock(const struct step_context *c, struct target *t, const char *directory,
                         const struct terraform_end *e, struct err *err)
{
	const struct terraform_in *in = c->input;
	_cleanup_(arena_done) struct arena arena = ARENA_INIT;
	_cleanup_(str_done) struct str script = STR_INIT(256 << 10);
	_cleanup_(target_result_done) struct target_result said = TARGET_RESULT_INIT;
	size_t count;
	_cleanup_free_ struct field_pair *env = terraform_env(in, &arena, &count);
	terraform_unlock_script(in, directory, e->lock != NULL ? e->lock : "", &script);
	const struct target_command command = {.script = str_peek(&script),
	                                       .env = env,
	                                       .env_count = count,
	                                       .timeout_ms = UNLOCK_MS,
	                                       .grace_ms = in->grace_ms};
	int r = host_run(t, &command, &said, err);
	if (r < 0)
		return r;
	struct holder h = {0};
	read_holder(&said.out, &h);
	r = tell_lock(c, t, &h, e->lock, err);
	terraform_lock_done(&h.lock);
	return r;
}
