#include "providers/docker/socket.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { ANSWER_MAX = 8 << 20, SECONDS = 20 };

static void add_percent(struct str *out, const char *text, const char *plain)
{
	for (; *text != '\0'; text++)
		if (isalnum((unsigned char)*text) || strchr(plain, *text) != NULL)
			str_append_c(out, *text);
		else
			str_appendf(out, "%%%02X", (unsigned char)*text);
}

static void add_question(struct str *script, const struct str *path)
{
	str_append(script, " ");
	str_append_shell(script, str_peek(path));
}

void docker_socket_ask(struct str *script, const char *project, const struct strv *images)
{
	_cleanup_(str_done) struct str path = STR_INIT(16384);
	_cleanup_free_ char *filter = xasprintf("{\"label\":[\"com.docker.compose.project=%s\"]}", project);
	/* A context that the user has chosen may lead anywhere: only the docker command knows. */
	str_append(script,
	           "davit_s=${DOCKER_HOST:-}\n"
	           "case $davit_s in unix://*) davit_s=${davit_s#unix://} ;; ?*) davit_s= ;; "
	           "*) [ -n \"${DOCKER_CONTEXT:-}\" ] || grep -qs '\"currentContext\"' "
	           "\"${DOCKER_CONFIG:-${HOME:-}/.docker}/config.json\" || davit_s=/var/run/docker.sock ;; esac\n"
	           "[ -n \"$davit_s\" ] && [ -S \"$davit_s\" ] && command -v curl >/dev/null || exit 0\n");
	str_appendf(script,
	            "printf '\\n--davit-engine--\\n'; curl -q --silent --fail --globoff --max-time %d --write-out "
	            "'\\n--davit-engine--\\n' --unix-socket \"$davit_s\"",
	            SECONDS);
	str_append(&path, "http://engine/containers/json?all=1&filters=");
	add_percent(&path, filter, "._-");
	add_question(script, &path);
	for (size_t i = 0; i < images->count; i++) {
		str_clear(&path);
		str_append(&path, "http://engine/images/");
		add_percent(&path, images->items[i], "._-/:@");
		str_append(&path, "/json");
		add_question(script, &path);
	}
	str_append(script, " 2>/dev/null\nexit 0\n");
}

static char *copy_of(const json_t *object, const char *key)
{
	const char *text = json_get_string(object, key);
	return xstrdup(text != NULL ? text : "");
}

/* "Up 3 minutes (healthy)"; "Exited (1) 2 hours ago". */
static void read_status(struct docker_container *c, const char *status)
{
	static const char *const health[] = {"healthy", "unhealthy", "health: starting"};
	for (size_t i = 0; i < ARRAY_SIZE(health); i++) {
		_cleanup_free_ char *word = xasprintf("(%s)", health[i]);
		if (str_ends(status, word)) {
			free(c->health);
			c->health = xstrdup(i == 2 ? "starting" : health[i]);
		}
	}
	if (c->ended && sscanf(status, "Exited (%" SCNd64 ")", &c->exit_code) != 1)
		c->exit_code = -1;
}

static void add_container(struct docker_containers *l, const json_t *from)
{
	const json_t *labels = json_get_object(from, "Labels");
	const char *oneoff = json_get_string(labels, "com.docker.compose.oneoff"),
		   *name = json_string_value(json_array_get(json_get_array(from, "Names"), 0)),
		   *status = json_get_string(from, "Status");
	if (oneoff != NULL && strcmp(oneoff, "True") == 0)
		return;
	l->items = xgrow(l->items, &l->cap, l->count + 1, sizeof(*l->items));
	struct docker_container *c = &l->items[l->count++];
	*c = (struct docker_container){
		.id = copy_of(from, "Id"),
		.name = xstrdup(name != NULL ? name + (*name == '/') : ""),
		.service = copy_of(labels, "com.docker.compose.service"),
		.hash = copy_of(labels, "com.docker.compose.config-hash"),
		.image = copy_of(from, "ImageID"),
		.image_name = copy_of(from, "Image"),
		.state = copy_of(from, "State"),
		.health = xstrdup(""),
		.started = xstrdup(""),
		.directory = copy_of(labels, "com.docker.compose.project.working_dir"),
		.files = copy_of(labels, "com.docker.compose.project.config_files"),
		.env_files = copy_of(labels, "com.docker.compose.project.environment_file"),
	};
	docker_container_judge(c);
	read_status(c, status != NULL ? status : "");
}

/* The next answer; NULL: there is none, or it is no JSON. */
static json_t *next_answer(const char **at)
{
	const char *end = strstr(*at, DOCKER_SOCKET_MARK);
	json_t *answer = NULL;
	if (end == NULL || json_parse(*at, (size_t)(end - *at), ANSWER_MAX, &answer, NULL) < 0)
		answer = NULL;
	*at = end != NULL ? end + strlen(DOCKER_SOCKET_MARK) : *at + strlen(*at);
	return answer;
}

bool docker_socket_read(const char *text, const struct strv *images, struct docker_containers *ret, json_t **ret_images)
{
	const char *at = strstr(text, DOCKER_SOCKET_MARK);
	if (at == NULL)
		return false;
	at += strlen(DOCKER_SOCKET_MARK);
	_cleanup_json_ json_t *list = next_answer(&at), *all = json_object();
	for (size_t i = 0; i < images->count; i++) {
		_cleanup_json_ json_t *one = next_answer(&at);
		const char *id = json_get_string(one, "Id"), *architecture = json_get_string(one, "Architecture"),
			   *os = json_get_string(one, "Os");
		if (id == NULL || architecture == NULL || os == NULL)
			return false;
		json_object_set_new(all, images->items[i],
		                    json_pack("{s:s,s:s,s:s}", "id", id, "architecture", architecture, "os", os));
	}
	if (!json_is_array(list))
		return false;
	for (size_t i = 0; i < json_array_size(list); i++)
		add_container(ret, json_array_get(list, i));
	docker_containers_sort(ret);
	*ret_images = TAKE(all);
	return true;
}
