/* davit state: what is kept of the state of an environment, back to a former version, and its lock. */
#include <stdio.h>
#include <string.h>

#include "agent/cmd/cli.h"
#include "agent/cmd/commands.h"
#include "agent/cmd/places.h"
#include "base/core/clock.h"
#include "engine/run/rows_place.h"

struct state_call {
	struct places places;
	struct deployment_session session;
	const char *restore, *after;
	bool unlock, takeover;
	int64_t after_ms;
	json_t *told; /* an object; of a list of environments the last one's */
	bool damaged;
};

static void print_version(const json_t *v)
{
	char when[CLOCK_TEXT_SIZE];
	const char *damaged = json_get_string(v, "damaged"), *by = json_get_string(v, "deployment");
	if (damaged != NULL)
		printf("  %-7lld damaged: %s\n", (long long)json_get_int(v, "serial", 0), damaged);
	else
		printf("%s %-7lld %s  %lld resource%s  %s\n", json_get_bool(v, "current", false) ? "*" : " ",
		       (long long)json_get_int(v, "serial", 0), clock_rfc3339(json_get_int(v, "written_ms", 0), when),
		       (long long)json_get_int(v, "resources", 0), json_get_int(v, "resources", 0) == 1 ? "" : "s",
		       by != NULL ? by : "by hand");
}

static void print_state(const json_t *o)
{
	const char *damaged = json_get_string(o, "damaged");
	const json_t *versions = json_get_array(o, "versions");
	printf("%s in %s\n", json_get_string(o, "state"), json_get_string(o, "at"));
	if (damaged != NULL)
		printf("  %s\n", damaged);
	for (size_t i = 0; i < json_array_size(versions); i++)
		print_version(json_array_get(versions, i));
	if (damaged == NULL && json_array_size(versions) == 0)
		puts("  nothing is kept yet");
}

static int show(struct state_call *c, struct rows_place *place, struct err *err)
{
	int r = rows_place_show(place, &c->told, err);
	if (r < 0)
		return r;
	c->damaged = json_get_string(c->told, "damaged") != NULL;
	if (!c->session.json)
		print_state(c->told);
	return 0;
}

static int restore(struct state_call *c, struct rows_place *place, struct err *err)
{
	long long serial;
	int64_t made = 0;
	if (!str_parse_i64(c->restore, 0, INT64_MAX, &serial))
		return err_hint(err, err_set(err, ERR_INVALID, "--restore '%s' is no serial", c->restore),
		                "davit state FILE lists them");
	int r = rows_place_restore(place, serial, &made, err);
	if (r < 0)
		return r;
	c->told = json_pack("{s:s, s:I, s:I}", "state", place->scope, "restored", (json_int_t)serial, "serial",
	                    (json_int_t)made);
	if (!c->session.json)
		printf("%s is version %lld again, as serial %lld\n", place->scope, serial, (long long)made);
	return 0;
}

static int unlock(struct state_call *c, struct rows_place *place, struct err *err)
{
	int r = rows_place_unlock(place, c->takeover, c->after_ms, c->session.options.wait, err);
	if (r < 0)
		return r;
	c->told = json_pack("{s:s, s:b}", "state", place->scope, "freed", r == 0);
	if (!c->session.json)
		printf(r == 0 ? "the lock of %s is freed\n" : "%s is not locked\n", place->scope);
	return 0;
}

static int look(void *context, const json_t *places, struct err *err)
{
	struct state_call *c = context;
	struct rows_place place = {0};
	int r = rows_place_open(places, &c->session.options, &place, err);
	json_decref(c->told);
	c->told = NULL;
	if (r == 0)
		r = c->restore != NULL ? restore(c, &place, err)
		    : c->unlock        ? unlock(c, &place, err)
		                       : show(c, &place, err);
	rows_place_done(&place);
	return r;
}

static int check_call(struct state_call *c, struct err *err)
{
	long long ms;
	if (c->restore != NULL && c->unlock)
		return err_set(err, ERR_INVALID, "--restore and --unlock are two calls");
	if ((c->takeover || c->after != NULL) && !c->unlock)
		return err_set(err, ERR_INVALID, "--takeover and --after are of --unlock");
	if (c->after != NULL && str_parse_duration_ms(c->after, &ms) < 0)
		return err_hint(err, err_set(err, ERR_INVALID, "--after '%s' is not a duration", c->after),
		                "as in: --after 5m");
	c->after_ms = c->after != NULL ? ms : 90000;
	return 0;
}

int cmd_state(int argc, char **argv)
{
	struct err err = ERR_INIT;
	struct state_call c = {.places = {.usage = "davit state FILE", .look = look}};
	const struct cli_option options[] = {
		{"restore", 0, CLI_TEXT, &c.restore, "SERIAL", "write that former version as the next one"},
		{"unlock", 0, CLI_FLAG, &c.unlock, NULL,
	         "free the lock of the state, if its owner is proven gone, or with --takeover"},
		{"takeover", 0, CLI_FLAG, &c.takeover, NULL, "with --unlock: the holder's machine is gone for good"},
		{"after", 0, CLI_TEXT, &c.after, "D",
	         "with --takeover: how long the lock must stand still where its place shows that; default 90s"},
		PLACES_OPTIONS(&c.places),
		{0}};
	const struct cli_command command = {
		"state",
		"[FILE|ID|last] [options]",
		"The versions that are kept of the state of an environment; back to one of them, and its lock.",
		options,
		0,
		1};
	struct cli_rest rest;
	int status = cli_parse(&command, argc, argv, &rest);
	if (status >= 0)
		return status;
	c.places.context = &c;
	c.places.word = rest.count > 0 ? rest.words[0] : NULL;
	int r = places_open(&c.places, &c.session, true, &err);
	if (r >= 0)
		r = check_call(&c, &err);
	if (r >= 0)
		r = places_look(&c.places, &err);
	status = r < 0 ? deployment_session_fail(&c.session, &err) : c.damaged ? 2 : 0;
	if (r >= 0 && c.session.json)
		deployment_session_print_json(c.told);
	json_decref(c.told);
	places_done(&c.places);
	deployment_session_done(&c.session);
	return cli_output_failed() && status == 0 ? 1 : status;
}
