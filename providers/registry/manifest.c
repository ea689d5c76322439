#include "providers/registry/manifest.h"

#include "base/data/json.h"
#include "base/secret/digest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char accept[] =
	"application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, "
	"application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json";

static const struct media_type {
	const char *name;
	bool index;
} media_types[] = {
	{"application/vnd.oci.image.index.v1+json", true},
	{"application/vnd.docker.distribution.manifest.list.v2+json", true},
	{"application/vnd.oci.image.manifest.v1+json", false},
	{"application/vnd.docker.distribution.manifest.v2+json", false},
};

void registry_manifest_done(struct registry_manifest *m)
{
	str_done(&m->bytes);
	free(m->media_type);
	*m = (struct registry_manifest)REGISTRY_MANIFEST_INIT;
}

static char *path_of(const char *repository, const char *reference)
{
	return xasprintf("/v2/%s/manifests/%s", repository, reference);
}

static char *scope_of(const char *repository, const char *actions)
{
	return xasprintf("repository:%s:%s", repository, actions);
}

/* Parameters behind a `;` are no part of the type. */
static const struct media_type *media_type_of(const char *value)
{
	size_t len = value != NULL ? strcspn(value, "; ") : 0;
	for (size_t i = 0; i < ARRAY_SIZE(media_types); i++)
		if (strlen(media_types[i].name) == len && strncasecmp(value, media_types[i].name, len) == 0)
			return &media_types[i];
	return NULL;
}

/* Header and body must agree on what the bytes are: one who reads the one and one who reads the other would run different things. */
static int read_type(struct registry_manifest *m, const struct http_response *response, const char *what,
                     struct err *err)
{
	json_t *body _cleanup_json_ = NULL;
	const struct media_type *type = media_type_of(http_header(response, "Content-Type"));
	if (type == NULL)
		return err_set(err, ERR_UNSUPPORTED, "%s is neither a manifest nor an index of OCI or Docker schema 2",
		               what);
	if (json_parse(str_peek(&m->bytes), m->bytes.len, REGISTRY_MANIFEST_MAX, &body, err) < 0)
		return err_wrap(err, ERR_PROTOCOL, "read the manifest of %s", what);
	const char *inner = json_get_string(body, "mediaType");
	if (inner != NULL && media_type_of(inner) != type)
		return err_set(err, ERR_PROTOCOL, "%s was sent as %s and says that it is '%.100s'", what, type->name,
		               inner);
	m->media_type = xstrdup(type->name);
	m->index = type->index;
	return 0;
}

static void digest_bytes(const struct str *bytes, char ret[REGISTRY_DIGEST_SIZE])
{
	char hex[DIGEST_HEX];
	digest_of(str_peek(bytes), bytes->len, hex);
	snprintf(ret, REGISTRY_DIGEST_SIZE, "sha256:%s", hex);
}

/* Requests for manifests by their references, with all that they point to. */
struct asked {
	struct registry_request *requests;
	struct http_response *responses;
	char **paths, *scope;
	size_t count;
};

static void done_asked(struct asked *a)
{
	for (size_t i = 0; i < a->count; i++) {
		http_response_done(&a->responses[i]);
		free(a->paths[i]);
	}
	free(a->requests);
	free(a->responses);
	free(a->paths);
	free(a->scope);
}

static struct asked make_asked(const char *method, const char *repository, const char *actions,
                               const char *const *references, size_t count)
{
	struct asked a = {.requests = xcalloc(count, sizeof(*a.requests)),
	                  .responses = xcalloc(count, sizeof(*a.responses)),
	                  .paths = xcalloc(count, sizeof(*a.paths)),
	                  .scope = scope_of(repository, actions),
	                  .count = count};
	for (size_t i = 0; i < count; i++) {
		a.paths[i] = path_of(repository, references[i]);
		a.requests[i] = (struct registry_request){.method = method,
		                                          .path = a.paths[i],
		                                          .scope = a.scope,
		                                          .accept = accept,
		                                          .max_body = REGISTRY_MANIFEST_MAX,
		                                          .repeats = true};
	}
	return a;
}

static int read_manifest(struct registry *r, const char *repository, const char *reference,
                         const struct http_response *response, struct registry_manifest *ret, struct err *err)
{
	struct registry_manifest m _cleanup_(registry_manifest_done) = REGISTRY_MANIFEST_INIT;
	_cleanup_free_ char *what = xasprintf("%s/%s %s", registry_host(r), repository, reference);
	if (response->status != 200)
		return registry_refused(response, what, err);
	str_append_n(&m.bytes, str_peek(&response->body), response->body.len);
	digest_bytes(&m.bytes, m.digest);
	const char *told = registry_is_digest(reference) ? reference : http_header(response, "Docker-Content-Digest");
	if (told != NULL && strcmp(told, m.digest) != 0)
		return err_set(err, ERR_PROTOCOL, "%s: the registry sent other bytes than those of %.80s", what, told);
	int e = read_type(&m, response, what, err);
	if (e < 0)
		return e;
	*ret = m;
	m = (struct registry_manifest)REGISTRY_MANIFEST_INIT;
	return 0;
}

int registry_manifest_get_all(struct registry *r, const char *repository, const char *const *references, size_t count,
                              struct wait *w, struct registry_manifest *ret, struct err *err)
{
	_cleanup_(done_asked) struct asked a = make_asked(NULL, repository, "pull", references, count);
	int e = registry_call_all(r, a.requests, count, w, a.responses, err);
	for (size_t i = 0; e == 0 && i < count; i++)
		e = read_manifest(r, repository, references[i], &a.responses[i], &ret[i], err);
	return e;
}

int registry_manifest_get(struct registry *r, const char *repository, const char *reference, struct wait *w,
                          struct registry_manifest *ret, struct err *err)
{
	return registry_manifest_get_all(r, repository, &reference, 1, w, ret, err);
}

static int read_digest(struct registry *r, const char *repository, const char *reference, struct wait *w,
                       const struct http_response *response, char ret[REGISTRY_DIGEST_SIZE], struct err *err)
{
	struct registry_manifest m _cleanup_(registry_manifest_done) = REGISTRY_MANIFEST_INIT;
	const char *told = http_header(response, "Docker-Content-Digest");
	if (response->status == 404) {
		ret[0] = '\0';
		return 0;
	}
	if (response->status != 200) {
		_cleanup_free_ char *path = path_of(repository, reference);
		return registry_refused(response, path, err);
	}
	if (told != NULL && registry_is_digest(told)) {
		snprintf(ret, REGISTRY_DIGEST_SIZE, "%s", told);
		return 0;
	}
	/* The header may be missing, or name another algorithm. */
	int e = registry_manifest_get(r, repository, reference, w, &m, err);
	if (e >= 0)
		snprintf(ret, REGISTRY_DIGEST_SIZE, "%s", m.digest);
	return e;
}

int registry_manifest_digest(struct registry *r, const char *repository, const char *reference, struct wait *w,
                             char ret[REGISTRY_DIGEST_SIZE], struct err *err)
{
	_cleanup_(done_asked) struct asked a = make_asked("HEAD", repository, "pull", &reference, 1);
	int e = registry_call(r, a.requests, w, a.responses, err);
	return e < 0 ? e : read_digest(r, repository, reference, w, a.responses, ret, err);
}

static int must_lead_to(struct registry *r, const char *repository, const char *const *references,
                        const struct registry_manifest *m, size_t count, struct wait *w, struct err *err)
{
	_cleanup_(done_asked) struct asked a = make_asked("HEAD", repository, "pull", references, count);
	int e = registry_call_all(r, a.requests, count, w, a.responses, err);
	for (size_t i = 0; i < count; i++) {
		char now[REGISTRY_DIGEST_SIZE];
		if (e >= 0)
			e = read_digest(r, repository, references[i], w, &a.responses[i], now, err);
		if (e < 0)
			return err_wrap(err, e, "read back what was put %s/%s %s", registry_host(r), repository,
			                references[i]);
		if (strcmp(now, m[i].digest) != 0)
			return err_set(err, ERR_CONFLICT, "put %s/%s %s: it leads to %s instead of %s",
			               registry_host(r), repository, references[i], *now != '\0' ? now : "nothing",
			               m[i].digest);
	}
	return 0;
}

static int put_all(struct registry *r, const char *repository, const char *const *references,
                   const struct registry_manifest *m, size_t count, struct wait *w, struct err *err)
{
	/* The same bytes under the same name: repeating it is harmless. */
	_cleanup_(done_asked) struct asked a = make_asked("PUT", repository, "pull,push", references, count);
	for (size_t i = 0; i < count; i++) {
		a.requests[i].accept = NULL;
		a.requests[i].max_body = 0;
		a.requests[i].content_type = m[i].media_type;
		a.requests[i].body = m[i].bytes.data;
		a.requests[i].body_len = m[i].bytes.len;
	}
	int e = registry_call_all(r, a.requests, count, w, a.responses, err);
	for (size_t i = 0; e == 0 && i < count; i++) {
		_cleanup_free_ char *what = xasprintf("put %s/%s %s", registry_host(r), repository, references[i]);
		if (a.responses[i].status != 201)
			e = registry_refused(&a.responses[i], what, err);
	}
	return e < 0 ? e : must_lead_to(r, repository, references, m, count, w, err);
}

int registry_manifest_put(struct registry *r, const char *repository, const char *reference,
                          const struct registry_manifest *m, struct wait *w, struct err *err)
{
	return put_all(r, repository, &reference, m, 1, w, err);
}

int registry_manifest_put_all(struct registry *r, const char *repository, const struct registry_manifest *m,
                              size_t count, struct wait *w, struct err *err)
{
	_cleanup_free_ const char **digests = xcalloc(count, sizeof(*digests));
	for (size_t i = 0; i < count; i++)
		digests[i] = m[i].digest;
	return put_all(r, repository, digests, m, count, w, err);
}

int registry_manifest_delete(struct registry *r, const char *repository, const char *reference, struct wait *w,
                             struct err *err)
{
	struct http_response response _cleanup_(http_response_done) = {0};
	_cleanup_free_ char *path = path_of(repository, reference), *scope = scope_of(repository, "pull,delete,push");
	const struct registry_request q = {.method = "DELETE", .path = path, .scope = scope, .repeats = true};
	int e = registry_call(r, &q, w, &response, err);
	if (e < 0)
		return e;
	if (response.status == 202 || response.status == 200 || response.status == 404)
		return 0;
	registry_refused(&response, path, err);
	return response.status == 405 || response.status == 400
	               ? err_wrap(err, ERR_UNSUPPORTED, "%s deletes nothing", registry_host(r))
	               : (err != NULL ? err->code : ERR_FAILED);
}
