/* davit status: how the targets of a deployment are, read from them: services, resources, and what davit keeps there. */
#include <stdio.h>
#include <string.h>

#include "agent/cmd/cli.h"
#include "agent/cmd/commands.h"
#include "agent/cmd/places.h"
#include "agent/report/report.h"
#include "steps/status/status.h"

enum { OUT_OF_REACH = 4 };

struct status_call {
	struct places places;
	struct deployment_session session;
	const char *target;
	struct strv known; /* names of targets, for an unknown one */
	json_t *found;     /* array of what status_read tells */
	int failed;
};

/* Whether it has what is asked for. */
static bool is_meant(struct status_call *c, const json_t *targets)
{
	const char *name;
	json_t *config;
	json_object_foreach((json_t *)targets, name, config) if (!strv_has(&c->known, name)) strv_add(&c->known, name);
	return c->target == NULL || json_object_get(targets, c->target) != NULL;
}

static int look(void *context, const json_t *places, struct err *err)
{
	struct status_call *c = context;
	json_t *answer = NULL;
	if (!is_meant(c, json_object_get(places, "targets")))
		return 0;
	int r = status_read(places, c->target, &c->session.options, &answer, err);
	if (r < 0)
		return r;
	c->failed += r;
	json_array_append_new(c->found, answer);
	return 0;
}

static int unknown_target(const struct status_call *c, struct err *err)
{
	struct str names _cleanup_(str_done) = STR_INIT(4096);
	for (size_t i = 0; i < c->known.count; i++)
		str_appendf(&names, "%s%s", i > 0 ? ", " : "", c->known.items[i]);
	int r = err_set(err, ERR_INVALID, "no target is called '%s'", c->target);
	return err_hint(err, r, "there are: %s", str_peek(&names));
}

static int tell(struct status_call *c)
{
	deployment_session_begin_text(&c->session);
	if (c->session.json)
		deployment_session_print_json(c->found);
	else
		report_print_status(c->found, c->session.colours, stdout);
	return c->failed > 0 ? OUT_OF_REACH : 0;
}

int cmd_status(int argc, char **argv)
{
	struct err err = ERR_INIT;
	struct status_call c = {.places = {.usage = "davit status --file FILE", .look = look}};
	const struct cli_option options[] = {
		{"file", 'f', CLI_TEXT, &c.places.word, "FILE",
	         "the deployment file with the targets; or a deployment's id, or `last`.\n"
	         "                               Left out: the targets of the deployments that the journal here knows"},
		PLACES_OPTIONS(&c.places),
		{0}};
	const struct cli_command command = {
		"status",
		"[TARGET] [options]",
		"How each target is: services, restarts, images, resources, the last log lines of what is not well, and what davit\n"
		"released there; read from the targets, which stay as they are.",
		options,
		0,
		1};
	struct cli_rest rest;
	int status = cli_parse(&command, argc, argv, &rest);
	if (status >= 0)
		return status;
	c.places.context = &c;
	c.target = rest.count > 0 ? rest.words[0] : NULL;
	c.found = json_array();
	int r = places_open(&c.places, &c.session, false, &err);
	if (r >= 0)
		r = places_look(&c.places, &err);
	if (r >= 0 && json_array_size(c.found) == 0)
		r = unknown_target(&c, &err);
	status = r < 0 ? deployment_session_fail(&c.session, &err) : tell(&c);
	json_decref(c.found);
	strv_done(&c.known);
	places_done(&c.places);
	deployment_session_done(&c.session);
	return cli_output_failed() && status == 0 ? 1 : status;
}
