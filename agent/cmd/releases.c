/* davit releases: lists the releases on the targets of a deployment, read from them, so that every machine that can log in sees the same. */
#include "agent/cmd/cli.h"
#include "agent/cmd/commands.h"
#include "agent/cmd/places.h"
#include "agent/report/report.h"
#include "steps/common/releases.h"

struct releases_call {
	struct places places;
	struct deployment_session session;
	json_t *found; /* array of what releases_read tells */
	int unread;
};

static int look(void *context, const json_t *places, struct err *err)
{
	struct releases_call *c = context;
	json_t *answer = NULL;
	int r = releases_read(places, &c->session.options, &answer, err);
	if (r < 0)
		return r;
	c->unread += r;
	json_array_append_new(c->found, answer);
	return 0;
}

static int tell(struct releases_call *c)
{
	deployment_session_begin_text(&c->session);
	if (c->session.json)
		deployment_session_print_json(c->found);
	else
		report_print_releases(c->found, c->session.colours, stdout);
	return c->unread > 0 ? 2 : 0;
}

int cmd_releases(int argc, char **argv)
{
	struct err err = ERR_INIT;
	struct releases_call c = {.places = {.usage = "davit releases FILE", .look = look}};
	const struct cli_option options[] = {PLACES_OPTIONS(&c.places), {0}};
	const struct cli_command command = {
		"releases",
		"[FILE|ID|last] [options]",
		"What each target runs, which releases `rollback --to` takes there, and who holds the lock; read from the targets.",
		options,
		0,
		1};
	struct cli_rest rest;
	int status = cli_parse(&command, argc, argv, &rest);
	if (status >= 0)
		return status;
	c.places.context = &c;
	c.places.word = rest.count > 0 ? rest.words[0] : NULL;
	c.found = json_array();
	int r = places_open(&c.places, &c.session, false, &err);
	if (r >= 0)
		r = places_look(&c.places, &err);
	status = r < 0 ? deployment_session_fail(&c.session, &err) : tell(&c);
	json_decref(c.found);
	places_done(&c.places);
	deployment_session_done(&c.session);
	return cli_output_failed() && status == 0 ? 1 : status;
}
