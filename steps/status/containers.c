/* What the engine says of one container: taken member by member, with the type that each has, and judged. */
#include "base/core/clock.h"
#include "base/core/shown.h"
#include "steps/status/status.h"

enum { CRASHED_LATELY_S = 600, PROBE_MAX = 300 };

static void take_text(json_t *to, const json_t *said, const char *key, const char *as)
{
	const char *value = json_get_string(said, key);
	if (value != NULL && *value != '\0')
		json_set_string(to, as, value);
}

/* "0001-01-01T00:00:00Z" is never. */
static int64_t seconds_of(const json_t *said, const char *key)
{
	const char *text = json_get_string(said, key);
	int64_t ms;
	return text != NULL && clock_parse_rfc3339(text, &ms) == 0 && ms > 0 ? ms / 1000 : 0;
}

static bool is(const json_t *container, const char *key, const char *value)
{
	const char *given = json_get_string(container, key);
	return given != NULL && strcmp(given, value) == 0;
}

/* A service that was restarted long ago is well. */
static bool is_well(const json_t *container, int64_t now_s)
{
	if (is(container, "state", "exited"))
		return json_get_int(container, "exit", -1) == 0 && !json_get_bool(container, "out_of_memory", false);
	if (!is(container, "state", "running") || is(container, "health", "unhealthy"))
		return false;
	return json_get_int(container, "restarts", 0) == 0 ||
	       now_s - json_get_int(container, "started_s", 0) >= CRASHED_LATELY_S;
}

static void take_times(json_t *to, const json_t *state)
{
	static const struct {
		const char *from, *to;
	} times[] = {{"StartedAt", "started_s"}, {"FinishedAt", "finished_s"}};
	for (size_t i = 0; i < ARRAY_SIZE(times); i++) {
		int64_t at = seconds_of(state, times[i].from);
		if (at > 0)
			json_object_set_new(to, times[i].to, json_integer(at));
	}
}

/* What its check said the last time. */
static void take_health(json_t *to, const json_t *health)
{
	const json_t *log = json_get_array(health, "Log");
	const char *output = json_get_string(json_array_get(log, json_array_size(log) - 1), "Output");
	take_text(to, health, "Status", "health");
	if (output == NULL || !is(to, "health", "unhealthy"))
		return;
	size_t len = strlen(output);
	while (len > 0 && (output[len - 1] == '\n' || output[len - 1] == '\r'))
		len--;
	_cleanup_free_ char *text = shown_text(output, len, PROBE_MAX);
	json_set_string(to, "probe", text);
}

static void take_state(json_t *to, const json_t *state)
{
	take_text(to, state, "Status", "state");
	json_object_set_new(to, "exit", json_integer(json_get_int(state, "ExitCode", 0)));
	if (json_get_bool(state, "OOMKilled", false))
		json_object_set_new(to, "out_of_memory", json_true());
	take_times(to, state);
	take_health(to, json_get_object(state, "Health"));
}

json_t *status_container(const json_t *said, int64_t host_now_s)
{
	const char *name = json_get_string(said, "name");
	const json_t *labels = json_get_object(said, "labels"), *state = json_get_object(said, "state");
	if (name == NULL || json_get_string(said, "id") == NULL || json_get_string(state, "Status") == NULL)
		return NULL;
	json_t *container = json_object();
	take_text(container, said, "id", "id");
	json_set_string(container, "name", name + (*name == '/'));
	take_text(container, labels, "com.docker.compose.project", "project");
	take_text(container, labels, "com.docker.compose.service", "service");
	take_text(container, said, "image", "image");
	take_text(container, said, "image_name", "image_name");
	json_object_set_new(container, "restarts", json_integer(json_get_int(said, "restarts", 0)));
	take_state(container, state);
	json_object_set_new(container, "well", json_boolean(is_well(container, host_now_s)));
	return container;
}
