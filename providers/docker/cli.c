/* One script for sh on the host, with the engine and the configuration that are meant. */
#include "providers/docker/docker.h"
#include "base/core/clock.h"
#include "base/core/shown.h"

#include <ctype.h>

enum { MAX_OUTPUT = 8 << 20, MAX_LINE = 300, NOT_FOUND_STATUS = 127, MAX_ENV = 3 };

/* What a user's environment would put in place of the inputs. */
static const char prelude[] =
	"unset COMPOSE_FILE COMPOSE_PROFILES COMPOSE_PROJECT_NAME COMPOSE_ENV_FILES COMPOSE_PATH_SEPARATOR\n"
	"command -v docker >/dev/null || exit 127\n";

/* The line that ends before `end`. */
static char *line_before(const struct str *text, size_t end)
{
	while (end > 0 && isspace((unsigned char)text->data[end - 1]))
		end--;
	size_t start = end;
	while (start > 0 && text->data[start - 1] != '\n')
		start--;
	return end == start ? xstrdup("") : shown_text(text->data + start, end - start, MAX_LINE);
}

char *docker_last_line(const struct str *text)
{
	return line_before(text, text->len);
}

char *docker_reason(const struct str *text)
{
	static const char words[] = "Error response from daemon: ";
	const char *found = text->len > 0 ? memmem(text->data, text->len, words, strlen(words)) : NULL;
	const char *end = found != NULL ? memchr(found, '\n', text->len - (size_t)(found - text->data)) : NULL;
	return line_before(text, end != NULL ? (size_t)(end - text->data) : text->len);
}

static bool says(const struct str *text, const char *words)
{
	return text->len > 0 && memmem(text->data, text->len, words, strlen(words)) != NULL;
}

static bool is_away(const struct str *text)
{
	static const char *const words[] = {"Cannot connect to the Docker daemon", "error during connect",
	                                    "Is the docker daemon running", "connection reset by peer: docker"};
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (says(text, words[i]))
			return true;
	return false;
}

static int judge(const struct docker *d, const struct docker_call *call, const struct target_result *said,
                 struct err *err)
{
	char took[CLOCK_TEXT_SIZE];
	const char *name = d->v->name;
	if (said->timed_out)
		return err_set(err, ERR_TIMEOUT, "the engine of '%s' did not do it within %s", name,
		               clock_duration(call->timeout_ms, took));
	if (said->status == NOT_FOUND_STATUS && said->err.len == 0) {
		err_set(err, ERR_REFUSED, "'%s' has no docker command", name);
		return err_hint(err, ERR_REFUSED, "install the Docker engine and Compose v2 there");
	}
	if (said->status == 0)
		return 0;
	if (says(&said->err, "permission denied while trying to connect")) {
		err_set(err, ERR_REFUSED, "the user of '%s' may not use its Docker engine", name);
		return err_hint(err, ERR_REFUSED,
		                "set `become: sudo` of the target, or put the user into the group docker");
	}
	if (is_away(&said->err))
		return err_set(err, call->changes ? ERR_UNKNOWN : ERR_NETWORK,
		               "the Docker engine of '%s' does not answer", name);
	return 0;
}

int docker_ask(const struct docker *d, const struct docker_call *call, struct target_result *ret, struct err *err)
{
	_cleanup_free_ struct field_pair *env = xcalloc(d->env_count + MAX_ENV, sizeof(*env));
	_cleanup_free_ char *script = xasprintf("%s%s", prelude, call->script);
	size_t count = 0;
	for (; count < d->env_count; count++)
		env[count] = d->env[count];
	if (d->host != NULL)
		env[count++] = (struct field_pair){"DOCKER_HOST", d->host};
	if (d->config != NULL)
		env[count++] = (struct field_pair){"DOCKER_CONFIG", d->config};
	struct target_command command = {
		.script = script,
		.env = env,
		.env_count = count,
		.input = call->input,
		.input_len = call->input_len,
		.timeout_ms = call->timeout_ms,
		.max_output = call->max_output > 0 ? call->max_output : MAX_OUTPUT,
		.on_line = call->loud ? d->on_line : NULL,
		.context = d->context,
	};
	int r = call->changes ? host_run(d->t, &command, ret, err) : host_query(d->v, &command, ret, err);
	return r < 0 ? r : judge(d, call, ret, err);
}

int docker_must(const struct docker *d, const struct docker_call *call, struct target_result *ret, struct err *err)
{
	int r = docker_ask(d, call, ret, err);
	if (r < 0 || ret->status == 0)
		return r;
	_cleanup_free_ char *line = docker_reason(ret->err.len > 0 ? &ret->err : &ret->out);
	return err_set(err, ERR_FAILED, "exit status %d%s%s", ret->status, *line != '\0' ? ": " : "", line);
}
