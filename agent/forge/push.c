/* A push arrived, or somebody asked for a run: which workflows of that commit start. */
#include "agent/forge/forge_priv.h"
#include "base/core/clock.h"

#include <string.h>

enum { WORKFLOW_MAX = 1 << 20, LISTING_MAX = 1 << 20 };

/* Paths of the workflow files of a commit. */
void push_list_workflows(const struct forge_repo *repo, const char *sha, struct strv *out)
{
	const char *args[] = {"ls-tree", "-r", "-z", "--name-only", sha, ".github/workflows/", NULL};
	_cleanup_(str_done) struct str names = STR_INIT(LISTING_MAX);
	if (forge_repo_git(repo, args, LISTING_MAX, &names, NULL) < 0)
		return;
	for (size_t at = 0; at < names.len; at += strlen(names.data + at) + 1) {
		const char *name = names.data + at;
		const char *tail = name + strlen(".github/workflows/");
		if (!strchr(tail, '/') && (str_ends(name, ".yml") || str_ends(name, ".yaml")))
			strv_add(out, name);
	}
}

int push_read_file(const struct forge_repo *repo, const char *sha, const char *path, struct str *out, struct err *err)
{
	_cleanup_free_ char *object = xasprintf("%s:%s", sha, path);
	const char *args[] = {"cat-file", "blob", object, NULL};
	return forge_repo_git(repo, args, WORKFLOW_MAX, out, err);
}

/* One commit as events show it. NULL: it cannot be read. */
static json_t *commit_json(struct forge *f, const struct forge_repo *repo, const char *sha)
{
	const char *args[] = {"log", "-1", "--format=%H%x00%T%x00%an%x00%ae%x00%cn%x00%ce%x00%cI%x00%B", sha, NULL};
	_cleanup_(str_done) struct str out = STR_INIT(LISTING_MAX);
	if (forge_repo_git(repo, args, LISTING_MAX, &out, NULL) < 0)
		return NULL;
	const char *fields[8];
	const char *p = out.data, *end = out.data + out.len;
	for (size_t i = 0; i < 8; i++) {
		fields[i] = p < end ? p : "";
		p += p < end ? strlen(p) + 1 : 0;
	}
	_cleanup_free_ char *message = xstrdup(fields[7]);
	size_t len = strlen(message);
	while (len && message[len - 1] == '\n')
		message[--len] = '\0';
	return json_pack("{s:s, s:s, s:b, s:o, s:s, s:o, s:{s:o, s:o}, s:{s:o, s:o}, s:[], s:[], s:[]}", "id",
	                 fields[0], "tree_id", fields[1], "distinct", 1, "message", json_string_lossy(message, len),
	                 "timestamp", fields[6], "url", json_stringf("%s/%s/commit/%s", f->base, repo->full_name, sha),
	                 "author", "name", json_string_lossy(fields[2], strlen(fields[2])), "email",
	                 json_string_lossy(fields[3], strlen(fields[3])), "committer", "name",
	                 json_string_lossy(fields[4], strlen(fields[4])), "email",
	                 json_string_lossy(fields[5], strlen(fields[5])), "added", "removed", "modified");
}

json_t *push_payload(struct forge *f, struct forge_repo *repo, const char *ref, const char *before, const char *after,
                     const char *actor)
{
	return push_payload_of(f, repo, ref, before, after, commit_json(f, repo, after), actor);
}

json_t *push_payload_of(struct forge *f, struct forge_repo *repo, const char *ref, const char *before,
                        const char *after, json_t *head, const char *actor)
{
	json_t *payload = json_pack(
		"{s:s, s:s, s:s, s:n, s:b, s:b, s:b, s:o, s:o, s:{s:s, s:o}, s:{s:s, s:i, s:s}}", "ref", ref, "before",
		before, "after", after, "base_ref", "created", strspn(before, "0") == 40, "deleted", 0, "forced", 0,
		"compare", json_stringf("%s/%s/compare/%.12s...%.12s", f->base, repo->full_name, before, after),
		"repository", forge_repo_json(f, repo), "pusher", "name", actor, "email",
		json_stringf("%s@users.noreply.github.com", actor), "sender", "login", actor, "id", 1, "type", "User");
	json_object_set_new(payload, "commits", head ? json_pack("[O]", head) : json_array());
	json_object_set_new(payload, "head_commit", head ? head : json_null());
	return payload;
}

/* Says so when a run cannot come, since somebody may wait for it. */
static void tell_silent_events(struct forge *f, const struct workflow *workflow)
{
	const char *name;
	pthread_mutex_lock(&f->lock);
	for (size_t n = 0; (name = workflow_silent_event(workflow, n)) != NULL; n++)
		forge_event(f, "%s: '%s' starts nothing here", workflow->path, name);
	pthread_mutex_unlock(&f->lock);
}

bool push_workflow_is_off(const struct forge *f, const struct forge_repo *repo, const char *path)
{
	_cleanup_free_ char *key = xasprintf("%s:%s", repo->full_name, path);
	return json_object_get(f->workflows_off, key) != NULL;
}

static bool is_off(struct forge *f, const struct forge_repo *repo, const char *path)
{
	pthread_mutex_lock(&f->lock);
	bool off = push_workflow_is_off(f, repo, path);
	if (off)
		forge_event(f, "%s of %s is disabled", path, repo->full_name);
	pthread_mutex_unlock(&f->lock);
	return off;
}

/* A file that cannot be read counts as one that wants the event: its run fails with the faults, as GitHub shows them.
 */
static void consider_file(struct forge *f, struct forge_repo *repo, const char *path, const char *ref,
                          const char *before, const char *after, const char *actor)
{
	_cleanup_(str_done) struct str text = STR_INIT(WORKFLOW_MAX);
	_cleanup_(workflow_freep) struct workflow *workflow = NULL;
	_cleanup_(yaml_freep) struct yaml_doc *doc = NULL;
	_cleanup_(faults_done) struct faults faults = {0};
	struct err err = ERR_INIT;
	int r = push_read_file(repo, after, path, &text, &err);
	if (r >= 0)
		r = workflow_read(path, str_peek(&text), text.len, &faults, &workflow, &doc, &err);
	if (r >= 0)
		tell_silent_events(f, workflow);
	if (r >= 0 &&
	    (!workflow_wants_push(workflow, ref) || !changed_paths_start(repo, workflow, "push", ref, before, after)))
		return;
	json_t *payload = push_payload(f, repo, ref, before, after, actor);
	const char *message = json_get_string(json_object_get(payload, "head_commit"), "message");
	if (message != NULL && workflow_skipped_by(message)) {
		json_decref(payload);
		return;
	}
	pthread_mutex_lock(&f->lock);
	struct forge_run *run = forge_run_new(f, repo, TAKE(workflow), path, "push", ref, after, payload);
	run->before = xstrdup(before);
	run->actor = xstrdup(actor);
	events_note_run(f, run, "requested");
	forge_run_note_silent_events(run);
	if (r < 0)
		forge_run_fail_workflow(f, run, &faults, doc, &err);
	forge_run_advance(f, run);
	pthread_mutex_unlock(&f->lock);
}

static void consider_event(struct forge *f, struct forge_repo *repo, const char *path, const struct push_event *event)
{
	_cleanup_(str_done) struct str text = STR_INIT(WORKFLOW_MAX);
	_cleanup_(workflow_freep) struct workflow *workflow = NULL;
	_cleanup_(yaml_freep) struct yaml_doc *doc = NULL;
	_cleanup_(faults_done) struct faults faults = {0};
	struct err err = ERR_INIT;
	int r = push_read_file(repo, event->sha, path, &text, &err);
	if (r >= 0)
		r = workflow_read(path, str_peek(&text), text.len, &faults, &workflow, &doc, &err);
	_cleanup_free_ char *base = xasprintf("%s^1", event->sha); /* of a pull request's merge */
	/* The push that brought its faults has told them, and nobody knows whether it waits for what other runs do. */
	if (r < 0 && strcmp(event->name, "workflow_run") == 0)
		return;
	if (r >= 0 && (!workflow_wants(workflow, event->name, event->branch, event->filter) ||
	               (event->workflow != NULL && !workflow_wants_run_of(workflow, event->workflow)) ||
	               !changed_paths_start(repo, workflow, event->name, event->ref, base, event->sha)))
		return;
	pthread_mutex_lock(&f->lock);
	struct forge_run *run = forge_run_new(f, repo, TAKE(workflow), path, event->name, event->ref, event->sha,
	                                      json_deep_copy(event->payload));
	run->actor = xstrdup(event->actor);
	run->chain = event->chain;
	events_note_run(f, run, "requested");
	if (event->from_fork)
		forge_run_only_reads(run);
	if (r < 0)
		forge_run_fail_workflow(f, run, &faults, doc, &err);
	forge_run_advance(f, run);
	pthread_mutex_unlock(&f->lock);
}

bool push_asks_for_nothing(struct forge *f, const struct forge_repo *repo, const char *sha)
{
	_cleanup_json_ json_t *commit = commit_json(f, repo, sha);
	const char *message = json_get_string(commit, "message");
	return message != NULL && workflow_skipped_by(message);
}

void push_event_begin(struct forge *f, struct forge_repo *repo, const struct push_event *event)
{
	_cleanup_(strv_done) struct strv paths = {0};
	push_list_workflows(repo, event->sha, &paths);
	for (size_t i = 0; i < paths.count; i++)
		if (!is_off(f, repo, paths.items[i]))
			consider_event(f, repo, paths.items[i], event);
}

void push_received(struct forge *f, struct forge_repo *repo, const char *ref, const char *before, const char *after,
                   const char *actor)
{
	pthread_mutex_lock(&f->lock);
	forge_event(f, "push to %s: %s is %.12s", repo->full_name, ref, after);
	pthread_mutex_unlock(&f->lock);
	_cleanup_free_ char *commit = forge_repo_commit(repo, after);
	if (!commit)
		return;
	_cleanup_(strv_done) struct strv paths = {0};
	push_list_workflows(repo, commit, &paths);
	for (size_t i = 0; i < paths.count; i++)
		if (!is_off(f, repo, paths.items[i]))
			consider_file(f, repo, paths.items[i], ref, before, commit, actor);
}

/* refs/heads/x for a branch or tag name, or a full name as it is. free(); NULL: there is none. */
static char *full_ref(const struct forge_repo *repo, const char *ref)
{
	static const char *const prefixes[] = {"", "refs/heads/", "refs/tags/"};
	for (size_t i = str_starts(ref, "refs/") ? 0 : 1; i < ARRAY_SIZE(prefixes); i++) {
		_cleanup_free_ char *name = xasprintf("%s%s", prefixes[i], ref);
		_cleanup_free_ char *commit = forge_repo_commit(repo, name);
		if (commit)
			return TAKE(name);
	}
	return NULL;
}

json_t *push_input_texts(const json_t *inputs)
{
	json_t *texts = json_object(), *value;
	const char *key;
	json_object_foreach((json_t *)(uintptr_t)inputs, key, value)
	{
		_cleanup_free_ char *literal = template_literal(value);
		json_object_set_new(texts, key, json_string(literal != NULL ? literal : ""));
	}
	return texts;
}

int push_dispatch_workflow(struct forge *f, struct forge_repo *repo, const char *file, const char *ref,
                           const json_t *inputs, const char *actor, struct forge_run **ret, struct err *err)
{
	_cleanup_free_ char *name = full_ref(repo, ref);
	_cleanup_free_ char *sha = name ? forge_repo_commit(repo, name) : NULL;
	if (!sha)
		return err_set(err, ERR_INVALID, "No ref found for: %s", ref);
	_cleanup_free_ char *path = xasprintf(".github/workflows/%s", file);
	_cleanup_(str_done) struct str text = STR_INIT(WORKFLOW_MAX);
	if (push_read_file(repo, sha, path, &text, err) < 0)
		return err_set(err, ERR_NOT_FOUND, "Not Found");
	if (push_workflow_is_off(f, repo, path))
		return err_set(err, ERR_INVALID, "Cannot trigger a 'workflow_dispatch' on a disabled workflow");
	_cleanup_(workflow_freep) struct workflow *workflow = NULL;
	_cleanup_(faults_done) struct faults faults = {0};
	int r = workflow_read(path, str_peek(&text), text.len, &faults, &workflow, NULL, err);
	if (r < 0)
		return r;
	if (!json_object_get(workflow->on, "workflow_dispatch"))
		return err_set(err, ERR_INVALID, "Workflow does not have 'workflow_dispatch' trigger");
	json_t *checked = NULL;
	r = workflow_dispatch_inputs(workflow, inputs, &checked, err);
	if (r < 0)
		return r;
	json_t *texts = push_input_texts(checked);
	json_t *payload =
		json_pack("{s:s, s:s, s:o, s:o, s:{s:s, s:i, s:s}}", "ref", name, "workflow", path, "inputs", texts,
	                  "repository", forge_repo_json(f, repo), "sender", "login", actor, "id", 1, "type", "User");
	struct forge_run *run = forge_run_new(f, repo, TAKE(workflow), path, "workflow_dispatch", name, sha, payload);
	run->inputs = checked;
	run->actor = xstrdup(actor);
	events_note_run(f, run, "requested");
	forge_run_advance(f, run);
	*ret = run;
	return 0;
}
