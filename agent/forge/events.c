/* Events that come of something here: repository_dispatch from REST, and workflow_run when another workflow's run begins or ends. */
#include "agent/forge/rest_priv.h"

#include <string.h>

enum {
	TYPE_MAX = 100,
	PAYLOAD_MEMBERS_MAX = 10,
	CHAIN_MAX = 3, /* so many runs may start one another, as at GitHub */
};

/* Of the newest commit of the default branch. branch, workflow: what filters ask for; NULL: they ask for nothing. */
static void begin_event(struct forge *f, struct forge_repo *repo, struct push_event *event, const json_t *payload)
{
	const json_t *repository = json_object_get(payload, "repository");
	_cleanup_free_ char *ref = xasprintf("refs/heads/%s", json_get_string(repository, "default_branch"));
	_cleanup_free_ char *sha = forge_repo_commit(repo, ref);
	event->ref = ref;
	event->sha = sha;
	event->payload = payload;
	if (sha != NULL)
		push_event_begin(f, repo, event);
}

/* ---- repository_dispatch ---- */

static struct forge_repo *begin_request(struct req *r, struct forge_job **ret_job, json_t **ret_repository)
{
	pthread_mutex_lock(&r->f->lock);
	struct forge_repo *repo = rest_begin(r, "Contents", "write", ret_job);
	if (repo != NULL)
		*ret_repository = forge_repo_json(r->f, repo);
	pthread_mutex_unlock(&r->f->lock);
	return repo;
}

static bool check_dispatch(struct req *r, const json_t *body)
{
	static const struct member members[] = {{"event_type", 'S', true}, {"client_payload", 'o', false}};
	if (!check_members(r, body, "a dispatch", members, ARRAY_SIZE(members))) {
		req_reply_error(r, 422, "Invalid request");
		return false;
	}
	size_t len = strlen(json_get_string(body, "event_type"));
	if (len < 1 || len > TYPE_MAX) {
		req_reply_error(r, 422, "event_type has 1 to %d characters", TYPE_MAX);
		return false;
	}
	if (json_object_size(json_object_get(body, "client_payload")) > PAYLOAD_MEMBERS_MAX) {
		req_reply_error(r, 422, "No more than %d properties are allowed", PAYLOAD_MEMBERS_MAX);
		return false;
	}
	return true;
}

void events_dispatch(struct req *r)
{
	struct forge_job *job = NULL;
	_cleanup_json_ json_t *repository = NULL;
	struct forge_repo *repo = begin_request(r, &job, &repository);
	_cleanup_json_ json_t *body = repo != NULL ? req_json(r) : NULL;
	if (body == NULL || !check_dispatch(r, body))
		return;
	const char *actor = rest_actor_of(job), *type = json_get_string(body, "event_type");
	json_t *client = json_object_get(body, "client_payload");
	_cleanup_json_ json_t *payload = json_pack("{s:s, s:O, s:O, s:O, s:{s:s, s:i, s:s}}", "action", type, "branch",
	                                           json_object_get(repository, "default_branch"), "client_payload",
	                                           client != NULL ? client : json_null(), "repository", repository,
	                                           "sender", "login", actor, "id", 1, "type", "User");
	struct push_event event = {.name = "repository_dispatch", .filter = type, .actor = actor};
	begin_event(r->f, repo, &event, payload);
	req_reply(r, 204);
}

/* ---- workflow_run ---- */

void events_note_run(struct forge *f, const struct forge_run *run, const char *action)
{
	if (run->chain >= CHAIN_MAX)
		return;
	if (f->run_events == NULL)
		f->run_events = json_array();
	json_array_append_new(f->run_events, json_pack("{s:I, s:s}", "run", (json_int_t)run->id, "action", action));
}

static json_t *payload_of(struct forge *f, const struct forge_run *run, const char *action)
{
	const char *actor = run->actor != NULL ? run->actor : "octocat";
	return json_pack("{s:s, s:o, s:{s:I, s:s, s:s, s:s}, s:o, s:{s:s, s:i, s:s}}", "action", action, "workflow_run",
	                 rest_run_json(f, run), "workflow", "id", (json_int_t)rest_workflow_id(f, run->repo, run->path),
	                 "name", run->name, "path", run->path, "state", "active", "repository",
	                 forge_repo_json(f, run->repo), "sender", "login", actor, "id", 1, "type", "User");
}

static void begin_run_event(struct forge *f, const json_t *note)
{
	const char *action = json_get_string(note, "action");
	pthread_mutex_lock(&f->lock);
	struct forge_run *run = forge_run_find(f, json_get_int(note, "run", 0));
	_cleanup_json_ json_t *payload = run != NULL ? payload_of(f, run, action) : NULL;
	struct forge_repo *repo = run != NULL ? run->repo : NULL;
	int chain = run != NULL ? run->chain + 1 : 0;
	pthread_mutex_unlock(&f->lock);
	if (payload == NULL)
		return;
	const json_t *of = json_object_get(payload, "workflow_run");
	struct push_event event = {.name = "workflow_run",
	                           .filter = action,
	                           .branch = json_get_string(of, "head_branch"),
	                           .workflow = json_get_string(of, "name"),
	                           .actor = json_get_string(json_object_get(payload, "sender"), "login"),
	                           .chain = chain};
	begin_event(f, repo, &event, payload);
}

void events_begin(struct forge *f)
{
	pthread_mutex_lock(&f->lock);
	_cleanup_json_ json_t *notes = f->run_events;
	f->run_events = NULL;
	pthread_mutex_unlock(&f->lock);
	for (size_t i = 0; i < json_array_size(notes); i++)
		begin_run_event(f, json_array_get(notes, i));
}
