/* Everything that can fail before something stops comes first: images are fetched and built, and only then compose replaces what differs. */
#include "steps/compose_up/compose_up.h"
#include "base/core/shown.h"
#include "base/sys/fs.h"

enum { LINE_MAX = 64 << 10 };

void compose_show_lines(void *context, bool is_stderr, const char *line, size_t len)
{
	const struct step_context *c = context;
	(void)is_stderr;
	_cleanup_free_ char *shown = shown_text(line, len, LINE_MAX);
	if (c->report != NULL && *shown != '\0')
		c->report(c->engine, "%s", shown);
}

static int fetch(const struct step_context *c, const struct docker *d, const struct compose_service *one,
                 struct err *err)
{
	const struct compose_up_in *in = c->input;
	_cleanup_(str_done) struct str script = STR_INIT(16384);
	_cleanup_(target_result_done) struct target_result said = TARGET_RESULT_INIT;
	str_append(&script, "docker pull --quiet ");
	if (one->platform != NULL) {
		str_append(&script, "--platform ");
		str_append_shell(&script, one->platform);
	}
	str_append(&script, " -- ");
	str_append_shell(&script, one->image);
	c->report(c->engine, "fetching %s", one->image);
	const struct docker_call call = {.script = str_peek(&script), .timeout_ms = in->timeout_ms, .changes = true};
	int r = docker_must(d, &call, &said, err);
	return r < 0 ? err_wrap(err, r, "fetch '%s' of '%s'", one->image, one->name) : 0;
}

static int build(const struct step_context *c, const struct docker *d, const struct compose_stack *s, struct err *err)
{
	const struct compose_up_in *in = c->input;
	_cleanup_(str_done) struct str script = STR_INIT(64 << 10);
	_cleanup_(target_result_done) struct target_result said = TARGET_RESULT_INIT;
	str_append(&script, "cd -P -- ");
	str_append_shell(&script, in->directory);
	str_append(&script, " || exit\n");
	compose_words(&script, in->project);
	compose_input_words(&script, in);
	str_append(&script, " build");
	for (size_t i = 0; i < s->count; i++)
		if (s->services[i].builds) {
			str_append_c(&script, ' ');
			str_append_shell(&script, s->services[i].name);
		}
	const struct docker_call call = {
		.script = str_peek(&script), .timeout_ms = in->timeout_ms, .changes = true, .loud = true};
	int r = docker_must(d, &call, &said, err);
	return r < 0 ? err_wrap(err, r, "build") : 0;
}

/* What they are, now that all of them are there. */
static int look_again(const struct docker *d, struct compose_payload *p, struct err *err)
{
	_cleanup_(strv_done) struct strv names = {0};
	_cleanup_json_ json_t *here = NULL;
	for (size_t i = 0; i < p->stack.count; i++)
		strv_add(&names, p->stack.services[i].image);
	int r = docker_images(d, &names, &here, err);
	for (size_t i = 0; r == 0 && i < p->stack.count; i++) {
		const struct compose_service *one = &p->stack.services[i];
		const char *id = json_get_string(json_object_get(here, one->image), "id");
		if (id == NULL)
			return err_set(err, ERR_FAILED, "the image '%s' of '%s' is not there", one->image, one->name);
		json_object_set_new(json_object_get(p->images, one->name), "id", json_string(id));
	}
	return r;
}

int compose_fetch(const struct step_context *c, const struct docker *d, struct compose_payload *p, struct err *err)
{
	const struct compose_up_in *in = c->input;
	_cleanup_(strv_done) struct strv fetched = {0};
	bool builds = false;
	int r = 0;
	for (size_t i = 0; r == 0 && i < p->stack.count; i++) {
		const struct compose_service *one = &p->stack.services[i];
		const char *from = json_get_string(json_object_get(p->images, one->name), "from");
		builds = builds || (one->builds && in->build);
		if (from == NULL || strcmp(from, "registry") != 0 || strv_has(&fetched, one->image))
			continue;
		strv_add(&fetched, one->image);
		r = fetch(c, d, one, err);
	}
	if (r == 0 && builds)
		r = build(c, d, &p->stack, err);
	return r == 0 ? look_again(d, p, err) : r;
}

void compose_file_words(struct str *out, const struct compose_up_in *in, const struct compose_stack *s,
                        const char *file)
{
	compose_words(out, in->project);
	str_append(out, " --project-directory ");
	str_append_shell(out, s->directory);
	str_append(out, " -f ");
	str_append_shell(out, file);
	str_append(out, " --profile '*'");
}

int compose_up(const struct step_context *c, const struct docker *d, const struct compose_payload *p, const char *file,
               struct err *err)
{
	const struct compose_up_in *in = c->input;
	_cleanup_(str_done) struct str script = STR_INIT(64 << 10);
	_cleanup_(target_result_done) struct target_result said = TARGET_RESULT_INIT;
	str_append(&script, "cd /\n");
	compose_tidy(&script, in->project);
	compose_file_words(&script, in, &p->stack, file);
	str_append(&script, " up --detach --no-build --pull never --remove-orphans\n");
	const struct docker_call call = {
		.script = str_peek(&script), .timeout_ms = in->timeout_ms, .changes = true, .loud = true};
	int r = docker_must(d, &call, &said, err);
	/* It runs no more, and asking once more would help no service that does not start. */
	if (r == ERR_TIMEOUT && err != NULL)
		err->code = r = ERR_FAILED;
	if (r == ERR_FAILED)
		compose_tell_troubles(c, d, &p->stack);
	return r < 0 ? err_wrap(err, r, "start '%s' on '%s'", in->project, d->v->name) : 0;
}
