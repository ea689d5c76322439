/* The artifact service: files that jobs of a run leave for its other jobs and for people. A name is given once in an attempt of a run. */
#include "agent/forge/services_priv.h"
#include "base/core/clock.h"

#include <string.h>

enum { PER_JOB_MAX = 500, NAME_BYTES_MAX = 256, RETENTION_DAYS = 90 };
#define OWN                                                                                                            \
	{"workflow_run_backend_id", 'g', true},                                                                        \
	{                                                                                                              \
		"workflow_job_run_backend_id", 'g', true                                                               \
	}
static const int64_t retention_ms = (int64_t)RETENTION_DAYS * 24 * 3600 * 1000;

bool artifacts_is_there(const struct forge_artifact *a)
{
	return a->finished && !a->deleted && a->expires_ms > clock_wall_ms();
}

void artifacts_delete(struct forge_artifact *a)
{
	a->deleted = true;
	storage_remove(a->blob);
}

void artifacts_tick(struct forge *f)
{
	for (size_t i = 0; i < f->artifact_count; i++) {
		struct forge_artifact *a = f->artifacts[i];
		bool left = !a->finished && a->job->state == JOB_COMPLETED;
		if (!a->deleted && (left || a->expires_ms <= clock_wall_ms()))
			artifacts_delete(a);
	}
}

void artifacts_free(struct forge_artifact *a)
{
	free(a->name);
	free(a->content_type);
	free(a);
}

/* What people's file systems or a path in a URL would take for something else is refused. */
static bool is_name(const char *name, size_t len)
{
	if (len == 0 || len > NAME_BYTES_MAX || strlen(name) != len || strcmp(name, ".") == 0 ||
	    strcmp(name, "..") == 0)
		return false;
	for (const char *p = name; *p != '\0'; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f || strchr("\":<>|*?\\/", *p) != NULL)
			return false;
	return true;
}

/* The newest of that name which is there for others, made by that job if there is one of it; NULL. */
static struct forge_artifact *find(struct forge *f, const struct forge_run *run, const char *job_id, const char *name)
{
	struct forge_artifact *newest = NULL;
	for (size_t i = f->artifact_count; i-- > 0;) {
		struct forge_artifact *a = f->artifacts[i];
		if (a->job->run != run || !artifacts_is_there(a) || strcmp(a->name, name) != 0)
			continue;
		if (strcmp(a->job->job_id, job_id) == 0)
			return a;
		newest = newest != NULL ? newest : a;
	}
	return newest;
}

/* ---- it is made ---- */

/* The one of this name that this attempt has already, finished or not. */
static struct forge_artifact *find_given(struct forge *f, const struct forge_job *job, const char *name)
{
	for (size_t i = 0; i < f->artifact_count; i++) {
		struct forge_artifact *a = f->artifacts[i];
		if (a->job->run == job->run && a->attempt == job->run->attempt && !a->deleted &&
		    strcmp(a->name, name) == 0)
			return a;
	}
	return NULL;
}

static size_t made_by(const struct forge *f, const struct forge_job *job)
{
	size_t n = 0;
	for (size_t i = 0; i < f->artifact_count; i++)
		n += f->artifacts[i]->job == job && !f->artifacts[i]->deleted;
	return n;
}

/* A job that asks again before it has finished one may have lost the answer: it starts over. False: answered. */
static bool may_make(struct req *r, const struct forge_job *job, const char *name)
{
	struct forge_artifact *given = find_given(r->f, job, name);
	if (given != NULL && (given->finished || given->job != job) &&
	    (given->finished || given->job->state != JOB_COMPLETED)) {
		twirp_error(r, 409, "already_exists", "an artifact with this name already exists on the workflow run");
		return false;
	}
	if (given != NULL)
		artifacts_delete(given);
	if (made_by(r->f, job) < PER_JOB_MAX)
		return true;
	twirp_error(r, 429, "resource_exhausted", "a job may make %d artifacts", PER_JOB_MAX);
	return false;
}

static bool read_expiry(const json_t *body, int64_t now, int64_t *ret)
{
	const char *text = json_get_string(body, "expires_at");
	*ret = now + retention_ms;
	int64_t wanted;
	if (text == NULL)
		return true;
	if (clock_parse_rfc3339(text, &wanted) < 0 || wanted <= now)
		return false;
	*ret = MIN(*ret, wanted);
	return true;
}

static void add(struct forge *f, struct forge_job *job, const json_t *body, int64_t expires_ms)
{
	struct forge_artifact *a = xcalloc(1, sizeof(*a));
	const char *type = json_get_string(body, "mime_type");
	*a = (struct forge_artifact){.id = forge_id(f),
	                             .job = job,
	                             .attempt = job->run->attempt,
	                             .name = xstrdup(json_get_string(body, "name")),
	                             .content_type = xstrdup(type != NULL ? type : "application/zip"),
	                             .blob = storage_new(f),
	                             .created_ms = clock_wall_ms(),
	                             .expires_ms = expires_ms};
	f->artifacts = xgrow(f->artifacts, &f->artifact_cap, f->artifact_count + 1, sizeof(*f->artifacts));
	f->artifacts[f->artifact_count++] = a;
}

static void create_artifact(struct req *r)
{
	static const struct member members[] = {OWN,
	                                        {"name", 's', true},
	                                        {"version", 'i', true},
	                                        {"expires_at", 's', false},
	                                        {"mime_type", 's', false}};
	_cleanup_json_ json_t *body = NULL;
	struct forge_job *job = twirp_begin_own(r, members, ARRAY_SIZE(members), false, &body);
	if (job == NULL)
		return;
	const json_t *name = json_object_get(body, "name");
	int64_t expires_ms;
	if (!is_name(json_string_value(name), json_string_length(name))) {
		twirp_error(
			r, 400, "invalid_argument",
			"the artifact's name is empty, too long, or has one of \" : < > | * ? \\ / or a control character");
		return;
	}
	if (json_get_int(body, "version", 0) < 4) {
		twirp_error(r, 400, "invalid_argument", "artifacts before version 4 are not served");
		return;
	}
	if (!read_expiry(body, clock_wall_ms(), &expires_ms)) {
		twirp_error(r, 400, "invalid_argument", "expires_at is no time that is still to come");
		return;
	}
	if (!may_make(r, job, json_string_value(name)))
		return;
	add(r->f, job, body, expires_ms);
	_cleanup_free_ char *url = storage_address(r->f, r->f->artifacts[r->f->artifact_count - 1]->blob, true);
	req_reply_json(r, 200, json_pack("{s:b, s:s}", "ok", 1, "signed_upload_url", url));
}

/* The digest takes time: without the lock, which its caller has. Nothing changes the content any more. */
static bool digest_of_content(struct forge *f, struct storage_blob *b, char hex[65])
{
	storage_hold(b);
	pthread_mutex_unlock(&f->lock);
	bool good = storage_digest(b, hex);
	pthread_mutex_lock(&f->lock);
	storage_release(b);
	return good;
}

static void finish(struct req *r, struct forge_artifact *a, const json_t *body)
{
	const char *hash = json_get_string(body, "hash");
	int64_t size;
	if (a->blob->users > 0) {
		twirp_error(r, 412, "failed_precondition", "an upload of it is still going on");
		return;
	}
	if (a->blob->size < 0 || !twirp_number(body, "size", &size) || size != a->blob->size) {
		twirp_error(r, 400, "invalid_argument", "the size is not that of what was uploaded");
		return;
	}
	a->blob->sealed = true;
	if (!digest_of_content(r->f, a->blob, a->digest)) {
		twirp_error(r, 500, "internal", "the artifact cannot be read");
		return;
	}
	if (a->deleted || (hash != NULL && (!str_starts(hash, "sha256:") || strcmp(hash + 7, a->digest) != 0))) {
		a->blob->sealed = false;
		twirp_error(r, 400, "invalid_argument", "the hash is not that of what was uploaded");
		return;
	}
	a->finished = true;
	forge_event(r->f, "artifact '%s' of run %lld: %lld bytes", a->name, (long long)a->job->run->id,
	            (long long)size);
	req_reply_json(r, 200, json_pack("{s:b, s:o}", "ok", 1, "artifact_id", json_stringf("%lld", (long long)a->id)));
}

static void finalize_locked(struct req *r)
{
	static const struct member members[] = {OWN, {"name", 's', true}, {"size", 'n', true}, {"hash", 's', false}};
	_cleanup_json_ json_t *body = NULL;
	struct forge_job *job = twirp_begin_own(r, members, ARRAY_SIZE(members), false, &body);
	if (job == NULL)
		return;
	struct forge_artifact *a = find_given(r->f, job, json_get_string(body, "name"));
	if (a == NULL || a->job != job)
		twirp_error(r, 404, "not_found", "this job has begun no artifact of this name");
	else if (a->finished) /* its first answer was lost */
		req_reply_json(r, 200,
		               json_pack("{s:b, s:o}", "ok", 1, "artifact_id", json_stringf("%lld", (long long)a->id)));
	else
		finish(r, a, body);
}

static void finalize_artifact(struct req *r)
{
	pthread_mutex_lock(&r->f->lock);
	finalize_locked(r);
	pthread_mutex_unlock(&r->f->lock);
}

/* ---- it is found ---- */

static json_t *listed(const struct forge_artifact *a)
{
	char time[CLOCK_TEXT_SIZE];
	return json_pack("{s:s, s:s, s:o, s:s, s:o, s:s, s:o}", "workflow_run_backend_id", a->job->run->plan_id,
	                 "workflow_job_run_backend_id", a->job->job_id, "database_id",
	                 json_stringf("%lld", (long long)a->id), "name", a->name, "size",
	                 json_stringf("%lld", (long long)a->blob->size), "created_at",
	                 clock_rfc3339(a->created_ms, time), "digest", json_stringf("sha256:%s", a->digest));
}

static void list_artifacts(struct req *r)
{
	static const struct member members[] = {OWN, {"name_filter", 's', false}, {"id_filter", 'n', false}};
	_cleanup_json_ json_t *body = NULL;
	struct forge_job *job = twirp_begin_own(r, members, ARRAY_SIZE(members), false, &body);
	if (job == NULL)
		return;
	const char *name = json_get_string(body, "name_filter");
	int64_t id = -1;
	if (json_object_get(body, "id_filter") != NULL && !twirp_number(body, "id_filter", &id)) {
		twirp_error(r, 400, "invalid_argument", "id_filter is no number");
		return;
	}
	json_t *list = json_array();
	for (size_t i = 0; i < r->f->artifact_count; i++) {
		const struct forge_artifact *a = r->f->artifacts[i];
		if (a->job->run == job->run && artifacts_is_there(a) && (name == NULL || strcmp(name, a->name) == 0) &&
		    (id < 0 || id == a->id))
			json_array_append_new(list, listed(a));
	}
	req_reply_json(r, 200, json_pack("{s:o}", "artifacts", list));
}

/* The artifact of the run that the job that made it and its name tell; NULL: answered. */
static struct forge_artifact *need(struct req *r)
{
	static const struct member members[] = {OWN, {"name", 's', true}};
	_cleanup_json_ json_t *body = NULL;
	struct forge_job *job = twirp_begin_own(r, members, ARRAY_SIZE(members), true, &body);
	if (job == NULL)
		return NULL;
	struct forge_artifact *a = find(r->f, job->run, json_get_string(body, "workflow_job_run_backend_id"),
	                                json_get_string(body, "name"));
	if (a == NULL)
		twirp_error(r, 404, "not_found", "the run has no artifact of this name");
	return a;
}

static void get_address(struct req *r)
{
	const struct forge_artifact *a = need(r);
	if (a == NULL)
		return;
	_cleanup_free_ char *url = storage_address(r->f, a->blob, false);
	req_reply_json(r, 200, json_pack("{s:s}", "signed_url", url));
}

static void delete_artifact(struct req *r)
{
	struct forge_artifact *a = need(r);
	if (a == NULL)
		return;
	artifacts_delete(a);
	req_reply_json(r, 200, json_pack("{s:b, s:o}", "ok", 1, "artifact_id", json_stringf("%lld", (long long)a->id)));
}

#define SERVICE "twirp/github.actions.results.api.v1.ArtifactService/"
const struct route artifact_routes[] = {
	{"POST", SERVICE "CreateArtifact", create_artifact, 0},
	{"POST", SERVICE "FinalizeArtifact", finalize_artifact, ROUTE_UNLOCKED},
	{"POST", SERVICE "ListArtifacts", list_artifacts, 0},
	{"POST", SERVICE "GetSignedArtifactURL", get_address, 0},
	{"POST", SERVICE "DeleteArtifact", delete_artifact, 0},
	{0},
};
