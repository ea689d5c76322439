#include "agent/service/v1_locations.h"

#include <stdio.h>
#include <strings.h>

enum { TEMPLATE_MAX = 1024, URL_MAX = 1 << 16, DEFINITIONS_MAX = 20000, VERSION_SIZE = 32 };

/* A version as it is compared: 5.1 is 501. */
struct wanted {
	const char *identifier, *name;
	int version, resource_version;
};
static const struct wanted calls[V1_CALLS] = {
	[V1_POOLS] = {"a8c47e17-4d56-4a56-92bb-de7ea7dc65be", "pools", 501, 1},
	[V1_AGENTS] = {"e298ef32-5878-4cab-993c-043836571f42", "agents", 600, 2},
	[V1_SESSIONS] = {"134e239e-2df3-4794-a6f6-24f1f19ec8dc", "sessions", 501, 1},
	[V1_MESSAGES] = {"c3a054f6-7a8a-49c0-944e-3a8e5d7adfd7", "messages", 600, 1},
	[V1_MESSAGES_DELETE] = {"c3a054f6-7a8a-49c0-944e-3a8e5d7adfd7", "messages", 501, 1},
	[V1_JOB_REQUESTS] = {"fc825784-c92a-4299-9221-998a02d1b54f", "job requests", 501, 1},
	[V1_JOB_MESSAGE] = {"25adab70-1379-4186-be8e-b643061ebe3a", "job messages", 600, 1},
	[V1_PLAN_EVENTS] = {"557624af-b29e-4c20-8ab0-0399d2204f3f", "events of plans", 200, 1},
	[V1_RECORDS] = {"8893bc5b-35b2-4be7-83cb-99e683551db4", "timeline records", 501, 1},
	[V1_FEED] = {"858983e4-19bd-4c5e-864c-507b59b58b12", "feeds of records", 501, 1},
	[V1_LOGS] = {"46f5667d-263a-4684-91b1-dff7fdcf64e2", "logs", 501, 1},
	[V1_ATTACHMENTS] = {"7898f959-9cdf-4096-b29e-7f293031629e", "attachments", 501, 1},
	[V1_ACTION_DOWNLOADS] = {"27d7f831-88c1-4719-8ca1-6a061dad90eb", "downloads of actions", 600, 1},
};

struct location {
	char *path;                 /* its own names filled in; NULL: not advertised */
	char version[VERSION_SIZE]; /* "": below what the service still speaks */
};
struct v1_locations {
	char *base;        /* without slashes at its end */
	const char *query; /* of the base, with its '?', or "" */
	size_t base_len;   /* less the query and slashes */
	struct location of[V1_CALLS];
};

void v1_locations_free(struct v1_locations *l)
{
	if (l == NULL)
		return;
	for (size_t i = 0; i < V1_CALLS; i++)
		free(l->of[i].path);
	free(l->base);
	free(l);
}

void v1_locations_freep(struct v1_locations **l)
{
	v1_locations_free(*l);
	*l = NULL;
}

static struct v1_locations *make(const char *base)
{
	struct v1_locations *l = xcalloc(1, sizeof(*l));
	l->base = xstrdup(base);
	l->base_len = strcspn(l->base, "?#");
	l->query = l->base[l->base_len] == '?' ? l->base + l->base_len : "";
	while (l->base_len > 0 && l->base[l->base_len - 1] == '/')
		l->base_len--;
	return l;
}

void v1_locations_ask(const char *base, struct service_request *ret)
{
	struct v1_locations *l = make(base);
	*ret = (struct service_request){
		.url = xasprintf("%.*s/_apis/connectionData%s%sconnectOptions=1&lastChangeId=-1&lastChangeId64=-1",
	                         (int)l->base_len, l->base, l->query, l->query[0] != '\0' ? "&" : "?"),
		.version = xstrdup(""),
	};
	v1_locations_free(l);
}

/* "7.1" → 701; -1: not given, or no version. */
static int version_of(const json_t *definition, const char *key)
{
	const char *text = wire_string(definition, key);
	unsigned major, minor;
	char rest;
	if (text == NULL || strlen(text) > 8 || sscanf(text, "%u.%u%c", &major, &minor, &rest) != 2 || major > 1000 ||
	    minor > 99)
		return -1;
	return (int)(major * 100 + minor);
}

/* The rule of [1.9.3]. */
static void negotiate(const struct wanted *w, const json_t *definition, char *ret)
{
	int min = version_of(definition, "minVersion"), max = version_of(definition, "maxVersion"),
	    released = version_of(definition, "releasedVersion"), version = w->version;
	int64_t resource = wire_int(definition, "resourceVersion", 0);
	resource = MIN(resource, (int64_t)w->resource_version);
	bool preview = true;
	ret[0] = '\0';
	if (min > version)
		return;
	if (max >= 0 && max < version) {
		version = max;
		resource = 0;
		preview = released < max;
	}
	int n = snprintf(ret, VERSION_SIZE, "%d.%d%s", version / 100, version % 100, preview ? "-preview" : "");
	if (preview && resource > 0)
		(void)snprintf(ret + n, VERSION_SIZE - (size_t)n, ".%d", (int)resource);
}

static bool is_template(const char *path)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.~{}*/";
	return path != NULL && strlen(path) <= TEMPLATE_MAX && path[strspn(path, allowed)] == '\0';
}

/* The value of a placeholder, "{name}" or "{*name}", whose name is `len` long; NULL: it has none. */
static const char *value_of(const struct v1_value *values, const char *name, size_t len)
{
	if (len > 0 && name[0] == '*') {
		name++;
		len--;
	}
	for (; values->name != NULL; values++)
		if (strlen(values->name) == len && strncasecmp(values->name, name, len) == 0)
			return values->value;
	return NULL;
}

/* Appends '/' and a segment with its placeholders filled in; nothing where it has one without a value and is empty for that. keep: those
 * without a value stay as they are. */
static void append_segment(struct str *out, const char *segment, size_t len, const struct v1_value *values, bool keep)
{
	size_t before = out->len, start;
	bool lacks = false;
	str_append_c(out, '/');
	start = out->len;
	for (size_t i = 0; i < len; i++) {
		const char *end = segment[i] == '{' ? memchr(segment + i, '}', len - i) : NULL;
		if (end == NULL) {
			str_append_c(out, segment[i]);
			continue;
		}
		size_t name = (size_t)(end - segment) - i - 1;
		const char *value = value_of(values, segment + i + 1, name);
		if (value != NULL)
			wire_escape(out, value);
		else if (keep)
			str_append_n(out, segment + i, name + 2);
		else
			lacks = true;
		i += name + 1;
	}
	if (out->len == start && (lacks || len == 0))
		str_truncate(out, before);
}

static void fill(struct str *out, const char *path, const struct v1_value *values, bool keep)
{
	while (*path != '\0') {
		size_t len = strcspn(path, "/");
		append_segment(out, path, len, values, keep);
		path += len + (path[len] == '/');
	}
}

static void take_definition(struct v1_locations *l, const json_t *definition)
{
	const char *id = wire_string(definition, "identifier"), *path = wire_string(definition, "relativePath"),
		   *area = wire_string(definition, "serviceType"), *resource = wire_string(definition, "displayName");
	if (id == NULL || !is_template(path))
		return;
	for (size_t i = 0; i < V1_CALLS; i++) {
		if (strcasecmp(calls[i].identifier, id) != 0 || l->of[i].path != NULL)
			continue;
		const struct v1_value own[] = {{"area", area ? area : ""}, {"resource", resource ? resource : ""}, {0}};
		_cleanup_(str_done) struct str out = STR_INIT(URL_MAX);
		fill(&out, path, own, true);
		l->of[i].path = str_take(&out);
		negotiate(&calls[i], definition, l->of[i].version);
	}
}

int v1_locations_of(const char *base, const json_t *answer, struct v1_locations **ret, struct err *err)
{
	const json_t *definitions = wire_get(wire_get(answer, "locationServiceData"), "serviceDefinitions");
	if (!json_is_array(definitions) || json_array_size(definitions) > DEFINITIONS_MAX)
		return err_set(err, ERR_PROTOCOL, "the connection data of %.200s lists no resources", base);
	struct v1_locations *l = make(base);
	size_t i;
	json_t *definition;
	json_array_foreach((json_t *)(uintptr_t)definitions, i, definition) take_definition(l, definition);
	*ret = l;
	return 0;
}

int v1_locations_read(const char *base, const char *data, size_t len, struct v1_locations **ret, struct err *err)
{
	_cleanup_json_ json_t *answer = NULL;
	int r = wire_parse_object(data, len, &answer, err);
	return r < 0 ? err_wrap(err, r, "connection data") : v1_locations_of(base, answer, ret, err);
}

int v1_locations_request(const struct v1_locations *l, enum v1_call call, const struct v1_value *values,
                         const char *query, struct service_request *ret, struct err *err)
{
	const struct location *at = &l->of[call];
	_cleanup_(str_done) struct str url = STR_INIT(URL_MAX);
	str_append_n(&url, l->base, l->base_len);
	if (at->path != NULL)
		fill(&url, at->path, values, false);
	/* A route without a segment is the service itself, and none of its resources. */
	if (url.len == l->base_len)
		return err_set(err, ERR_UNSUPPORTED, "the service at %.*s has no %s", (int)l->base_len, l->base,
		               calls[call].name);
	if (at->version[0] == '\0')
		return err_set(err, ERR_UNSUPPORTED, "the service at %.*s has %s only in newer versions",
		               (int)l->base_len, l->base, calls[call].name);
	str_append(&url, l->query);
	if (query != NULL) {
		str_append_c(&url, l->query[0] != '\0' ? '&' : '?');
		str_append(&url, query);
	}
	if (url.failed)
		return err_set(err, ERR_LIMIT, "the URL of %s is too long", calls[call].name);
	ret->url = str_take(&url);
	ret->version = xstrdup(at->version);
	return 0;
}
