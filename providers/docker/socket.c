#include "providers/docker/socket.h"
#include "base/net/http.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { ANSWER_MAX = 8 << 20, SECONDS = 20 };

/* Before the first answer and behind each; before the path of the socket that this process is to ask. */
static const char mark[] = "\n--davit-engine--\n";

static void add_percent(struct str *out, const char *text, const char *plain)
{
	for (; *text != '\0'; text++)
		if (isalnum((unsigned char)*text) || strchr(plain, *text) != NULL)
			str_append_c(out, *text);
		else
			str_appendf(out, "%%%02X", (unsigned char)*text);
}

/* The URLs, in the order of their answers. */
static void list_questions(const struct docker_questions *q, struct strv *ret)
{
	_cleanup_(str_done) struct str url = STR_INIT(16384);
	_cleanup_free_ char *filter = xasprintf("{\"label\":[\"com.docker.compose.project=%s\"]}", q->project);
	str_append(&url, "http://engine/containers/json?all=1&filters=");
	add_percent(&url, filter, "._-");
	strv_add(ret, str_peek(&url));
	for (size_t i = 0; i < q->images->count; i++) {
		str_clear(&url);
		str_append(&url, "http://engine/images/");
		add_percent(&url, q->images->items[i], "._-/:@");
		str_append(&url, "/json");
		strv_add(ret, str_peek(&url));
	}
}

static void ask_by_curl(struct str *script, const struct docker_questions *q)
{
	_cleanup_(strv_done) struct strv urls = {0};
	list_questions(q, &urls);
	str_appendf(script,
	            "command -v curl >/dev/null || exit 0\n"
	            "printf '\\n--davit-engine--\\n'; curl -q --silent --fail --globoff --max-time %d --write-out "
	            "'\\n--davit-engine--\\n' --unix-socket \"$davit_s\"",
	            SECONDS);
	for (size_t i = 0; i < urls.count; i++) {
		str_append_c(script, ' ');
		str_append_shell(script, urls.items[i]);
	}
	str_append(script, " 2>/dev/null\nexit 0\n");
}

void docker_socket_ask(const struct docker *d, struct str *script, const struct docker_questions *q)
{
	/* A context that the user has chosen may lead anywhere: only the docker command knows. */
	str_append(script,
	           "davit_s=${DOCKER_HOST:-}\n"
	           "case $davit_s in unix://*) davit_s=${davit_s#unix://} ;; ?*) davit_s= ;; "
	           "*) [ -n \"${DOCKER_CONTEXT:-}\" ] || grep -qs '\"currentContext\"' "
	           "\"${DOCKER_CONFIG:-${HOME:-}/.docker}/config.json\" || davit_s=/var/run/docker.sock ;; esac\n"
	           "[ -n \"$davit_s\" ] && [ -S \"$davit_s\" ] || exit 0\n");
	if (d->v->kind->here)
		str_append(script, "printf '\\n--davit-engine--\\n%s' \"$davit_s\"\nexit 0\n");
	else
		ask_by_curl(script, q);
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

/* An answer that is no JSON is null. */
static void add_answer(json_t *answers, const char *text, size_t len)
{
	json_t *answer = NULL;
	if (json_parse(text, len, ANSWER_MAX, &answer, NULL) < 0)
		answer = json_null();
	json_array_append_new(answers, answer);
}

static void read_answers(const char *at, json_t *answers)
{
	for (const char *end; (end = strstr(at, mark)) != NULL; at = end + strlen(mark))
		add_answer(answers, at, (size_t)(end - at));
}

/* Behind the last but so many marks: what stands before them may be anything, a file with such a line too. NULL: there are fewer. */
static const char *behind_mark(const char *text, size_t from_end)
{
	size_t count = 0;
	for (const char *at = text; (at = strstr(at, mark)) != NULL; at += strlen(mark))
		count++;
	if (count <= from_end)
		return NULL;
	for (count -= from_end; count > 0; count--)
		text = strstr(text, mark) + strlen(mark);
	return text;
}

static void ask_here(const struct docker *d, const char *path, const struct docker_questions *q, json_t *answers)
{
	_cleanup_(strv_done) struct strv urls = {0};
	_cleanup_(http_freep) struct http *client = http_new(NULL, NULL);
	int r = client != NULL ? 0 : ERR_INTERNAL;
	list_questions(q, &urls);
	for (size_t i = 0; r == 0 && i < urls.count; i++) {
		_cleanup_(http_response_done) struct http_response answer = {0};
		const struct http_request request = {
			.url = urls.items[i], .socket = path, .max_body = ANSWER_MAX, .timeout_ms = SECONDS * 1000};
		r = http_perform(client, &request, d->v->wait, &answer, NULL);
		if (r == 0 && answer.status != 200)
			r = ERR_NOT_FOUND;
		if (r == 0)
			add_answer(answers, str_peek(&answer.body), answer.body.len);
	}
}

static bool read_images(const json_t *answers, const struct strv *images, json_t *all)
{
	for (size_t i = 0; i < images->count; i++) {
		const json_t *one = json_array_get(answers, i + 1);
		const char *id = json_get_string(one, "Id"), *architecture = json_get_string(one, "Architecture"),
			   *os = json_get_string(one, "Os");
		if (id == NULL || architecture == NULL || os == NULL)
			return false;
		json_object_set_new(all, images->items[i],
		                    json_pack("{s:s,s:s,s:s}", "id", id, "architecture", architecture, "os", os));
	}
	return true;
}

bool docker_socket_read(const struct docker *d, const struct str *said, const struct docker_questions *q,
                        struct docker_containers *ret, json_t **ret_images)
{
	bool here = d->v->kind->here;
	const char *at = behind_mark(str_peek(said), here ? 0 : q->images->count + 1);
	_cleanup_json_ json_t *answers = json_array(), *all = json_object();
	if (at == NULL)
		return false;
	if (here)
		ask_here(d, at, q, answers);
	else
		read_answers(at, answers);
	const json_t *list = json_array_get(answers, 0);
	if (!json_is_array(list) || !read_images(answers, q->images, all))
		return false;
	for (size_t i = 0; i < json_array_size(list); i++)
		add_container(ret, json_array_get(list, i));
	docker_containers_sort(ret);
	*ret_images = TAKE(all);
	return true;
}
