/* A `uses:` of an image. */
#include "agent/worker/action.h"

#include "agent/service/wire.h"

#include <strings.h>

static bool takes(const struct job *j, const json_t *reference)
{
	const char *type = wire_string(reference, "type");
	(void)j;
	return type != NULL ? strcasecmp(type, "containerRegistry") == 0 : wire_int(reference, "type", 0) == 2;
}

static int prepare(struct job *j, const struct action_place *place, void **ret_memory, char **ret_shown,
                   struct err *err)
{
	const char *image = wire_string(place->reference, "image");
	(void)j, (void)ret_memory, (void)ret_shown;
	int r = err_set(err, ERR_UNSUPPORTED, "uses: docker://%s runs a container, which this agent does not do",
	                image != NULL ? image : "");
	return err_hint(err, r, "use a run: step that calls docker");
}

const struct action_type action_image = {.takes = takes, .prepare = prepare};
