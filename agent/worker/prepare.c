/* prepare: fetches all actions that the steps use, and those that these use, a call of the service for each level. */
#include "agent/worker/prepare.h"

#include "agent/actions/policy.h"
#include "agent/service/launch.h"
#include "agent/service/registration.h"
#include "agent/worker/action.h"
#include "agent/worker/actions/stand_in.h"
#include "agent/worker/message.h"
#include "base/core/rand.h"
#include "base/net/http.h"
#include "base/sys/fs.h"
#include "base/sys/fs_beneath.h"

#include <errno.h>
#include <fcntl.h>
#include <strings.h>
#include <unistd.h>

enum { RESOLVE_TRIES = 3, RESOLVE_MS = 100000, PATH_MAX_LEN = 4096 };
static const char *const manifest_names[] = {"action.yml", "action.yaml"};

/* ---- references ---- */

static const char *kind_of(const json_t *reference)
{
	const char *kind = wire_string(reference, "repositoryType");
	return kind != NULL ? kind : "GitHub";
}

static bool is_remote(const json_t *reference)
{
	return wire_string(reference, "name") != NULL && wire_string(reference, "ref") != NULL &&
	       strcasecmp(kind_of(reference), "GitHub") == 0;
}

/* Words of a reference become directories. */
static bool is_path(const char *text, bool name)
{
	if (text[0] == '/' || strlen(text) > PATH_MAX_LEN)
		return false;
	for (const char *p = text; *p != '\0';) {
		size_t len = strcspn(p, "/");
		if (len == 0 || len > 255 || (len <= 2 && strspn(p, ".") >= len))
			return false;
		for (size_t i = 0; i < len; i++)
			if ((unsigned char)p[i] < ' ' || p[i] == 0x7f || (name && strchr("\\:*?\"<>|@", p[i]) != NULL))
				return false;
		p += len;
		p += *p == '/';
	}
	return text[0] != '\0';
}

static int check_words(const json_t *reference, struct err *err)
{
	const char *name = wire_string(reference, "name"), *ref = wire_string(reference, "ref"),
		   *path = wire_string(reference, "path");
	const char *slash = strchr(name, '/');
	bool good = is_path(name, true) && slash != NULL && strchr(slash + 1, '/') == NULL && is_path(ref, false) &&
	            (path == NULL || path[0] == '\0' || is_path(path, false));
	return good ? 0
	            : err_set(err, ERR_INVALID, "uses: %.200s@%.200s has a name that cannot be a directory here", name,
	                      ref);
}

static char *repository_key(const json_t *reference)
{
	return xasprintf("%s@%s", wire_string(reference, "name"), wire_string(reference, "ref"));
}

char *prepare_name(const json_t *reference)
{
	const char *path = wire_string(reference, "path");
	bool sub = path != NULL && path[0] != '\0';
	return xasprintf("%s%s%s@%s", wire_string(reference, "name"), sub ? "/" : "", sub ? path : "",
	                 wire_string(reference, "ref"));
}

const struct prepared *prepare_find(const struct job *j, const json_t *reference)
{
	if (!is_remote(reference))
		return NULL;
	_cleanup_free_ char *name = prepare_name(reference);
	for (size_t i = 0; i < j->prepared_count; i++)
		if (strcmp(j->prepared[i]->name, name) == 0)
			return j->prepared[i];
	return NULL;
}

void prepared_free(struct prepared *p)
{
	if (p == NULL)
		return;
	free(p->name);
	free(p->directory);
	free(p->repository);
	free(p->ref);
	action_manifest_done(&p->manifest);
	free(p);
}

/* ---- the service's answer ---- */

static int ask_once(struct job *j, const struct service_request *q, json_t **ret, bool *ret_again, struct err *err)
{
	_cleanup_(wire_headers_done) struct wire_headers headers;
	_cleanup_free_ char *body = json_text(q->json);
	struct http_response response = {0};
	service_request_headers(q, j->run.token, false, &headers);
	struct http_request request = {.method = "POST",
	                               .url = q->url,
	                               .headers = (const char *const *)headers.lines,
	                               .body = body,
	                               .body_len = strlen(body),
	                               .max_body = WIRE_ANSWER_MAX,
	                               .timeout_ms = RESOLVE_MS,
	                               .follow = q->version == NULL};
	int r = job_call(j, &request, &response, err);
	*ret_again = r != ERR_CANCELLED;
	if (r >= 0)
		r = launch_read(&response,
		                message_flag(j->message, "actions_display_helpful_actions_download_errors", false), ret,
		                ret_again, err);
	http_response_done(&response);
	return r;
}

static int ask(struct job *j, struct record *r, const json_t *actions, json_t **ret, struct err *err)
{
	const char *hurry = json_get_string(j->job_environ, "_GITHUB_ACTION_DOWNLOAD_NO_BACKOFF");
	_cleanup_(service_request_done) struct service_request q = {.url = NULL};
	int made = launch_request(&j->run, j->message, actions, &q, err);
	if (made < 0)
		return made;
	for (int try = 1;; try++) {
		char line[1024];
		bool again = true;
		err_clear(err);
		int e = ask_once(j, &q, ret, &again, err);
		if (e >= 0 || !again || try == RESOLVE_TRIES)
			return e;
		int64_t pause =
			hurry != NULL && hurry[0] != '\0' ? 0 : registration_pace(10000 + (int64_t)rand_below(20000));
		record_line(j, r, "Failed to resolve action download info. Error: %s",
		            err_line(err, line, sizeof(line)));
		record_line(j, r, "Retrying in %lld seconds", (long long)((pause + 999) / 1000));
		e = job_pause(j, pause, err);
		if (e < 0)
			return e;
	}
}

/* What was asked for by a commit is that commit. */
static int check_answer(const char *key, const json_t *info, struct err *err)
{
	const char *commit = wire_string(info, "resolved_sha"), *name = wire_string(info, "resolved_name"),
		   *asked = strrchr(key, '@') + 1;
	if (!json_is_object(info))
		return err_set(err, ERR_PROTOCOL, "Missing download info for %s", key);
	if (commit == NULL || name == NULL || !policy_is_commit(commit))
		return err_set(err, ERR_PROTOCOL, "the service names no commit for %s", key);
	if (policy_is_commit(asked) && strcmp(asked, commit) != 0)
		return err_set(err, ERR_PROTOCOL, "the service gives commit %s for %s", commit, key);
	return 0;
}

static int fetch_one(struct job *j, struct record *r, const char *key, const json_t *info, struct err *err)
{
	const char *at = strrchr(key, '@');
	_cleanup_free_ char *directory = xasprintf("_actions/%.*s/%s", (int)(at - key), key, at + 1);
	int e = check_answer(key, info, err);
	if (e < 0)
		return e;
	record_line(j, r, "Download action repository '%s' (SHA:%s)", key, wire_string(info, "resolved_sha"));
	e = fetch_action(j, r, info, directory, err);
	if (e < 0)
		return err_wrap(err, e, "action '%s'", key);
	json_object_set_new(j->fetched, key, json_string(directory));
	return 0;
}

static int fetch_all(struct job *j, struct record *r, const json_t *wanted, struct err *err)
{
	_cleanup_json_ json_t *actions = json_array(), *answer = NULL;
	const char *key;
	json_t *action;
	if (json_object_size(wanted) == 0)
		return 0;
	json_object_foreach((json_t *)(uintptr_t)wanted, key, action) json_array_append(actions, action);
	record_line(j, r, "Getting action download info");
	int e = ask(j, r, actions, &answer, err);
	json_object_foreach((json_t *)(uintptr_t)wanted, key, action)
	{
		if (e < 0)
			break;
		e = fetch_one(j, r, key, json_object_get(answer, key), err);
	}
	return e;
}

/* ---- manifests ---- */

/* *ret_name NULL: there is none. */
static int read_file(int dir, struct str *text, const char **ret_name, struct err *err)
{
	*ret_name = NULL;
	for (size_t i = 0; i < ARRAY_SIZE(manifest_names); i++) {
		int r = fs_read_beneath(dir, manifest_names[i], MANIFEST_MAX, text, err);
		if (r == 0)
			*ret_name = manifest_names[i];
		if (r != ERR_NOT_FOUND)
			return r;
		err_clear(err);
	}
	return 0;
}

static const char *find_dockerfile(int dir)
{
	static const char *const names[] = {"Dockerfile", "dockerfile"};
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (faccessat(dir, names[i], R_OK, 0) == 0)
			return names[i];
	return NULL;
}

/* A Dockerfile alone is a Docker action. */
static int make_up_manifest(const char *dockerfile, struct action_manifest *ret, struct err *err)
{
	_cleanup_free_ char *text = xasprintf("runs: {using: docker, image: %s}", dockerfile);
	return action_manifest_read(dockerfile, text, strlen(text), ret, err);
}

static int load_manifest(struct job *j, int dir, const char *shown, struct action_manifest *ret, bool *ret_found,
                         struct err *err)
{
	_cleanup_(str_done) struct str text = STR_INIT(MANIFEST_MAX);
	const char *name;
	int r = read_file(dir, &text, &name, err);
	if (r < 0)
		return r;
	*ret_found = name != NULL;
	if (name == NULL) {
		const char *dockerfile = find_dockerfile(dir);
		*ret_found = dockerfile != NULL;
		return *ret_found ? make_up_manifest(dockerfile, ret, err) : 0;
	}
	j->manifest_bytes += text.len;
	if (j->manifest_bytes > PREPARE_MANIFESTS_MAX)
		return err_set(err, ERR_LIMIT, "the manifests of this job's actions are larger than %d MiB",
		               PREPARE_MANIFESTS_MAX >> 20);
	_cleanup_free_ char *full = fs_join(shown, name);
	return action_manifest_read(full, str_peek(&text), text.len, ret, err);
}

static int load_remote(struct job *j, struct record *r, const json_t *reference, struct prepared **ret, struct err *err)
{
	const char *path = wire_string(reference, "path");
	_cleanup_free_ char *key = repository_key(reference), *name = prepare_name(reference);
	const char *root = json_get_string(j->fetched, key);
	struct action_manifest manifest;
	bool found = false;
	_cleanup_free_ char *below = path != NULL && path[0] != '\0' ? fs_join(root, path) : xstrdup(root);
	_cleanup_free_ char *directory = fs_join(j->work, below);
	_cleanup_close_ int work = open(j->work, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_close_ int top = work < 0 ? -1 : fs_open_beneath(work, root, O_RDONLY | O_DIRECTORY, 0, NULL);
	_cleanup_close_ int dir = top < 0 ? -1
	                                  : fs_open_beneath(top, path != NULL && path[0] != '\0' ? path : ".",
	                                                    O_RDONLY | O_DIRECTORY, 0, NULL);
	_cleanup_free_ char *shown = xstrdup(below + strlen("_actions/"));
	int e = dir < 0 ? 0 : load_manifest(j, dir, shown, &manifest, &found, err);
	if (e < 0) {
		char line[2048];
		record_error(j, r, "%s", err_line(err, line, sizeof(line)));
		err_clear(err);
		return err_set(err, ERR_INVALID, "Failed to load %s", shown);
	}
	if (!found)
		return err_set(err, ERR_NOT_FOUND,
		               "Can't find 'action.yml', 'action.yaml' or 'Dockerfile' for action '%s'.", name);
	struct prepared *p = xcalloc(1, sizeof(*p));
	*p = (struct prepared){.name = TAKE(name),
	                       .directory = TAKE(directory),
	                       .repository = xstrdup(wire_string(reference, "name")),
	                       .ref = xstrdup(wire_string(reference, "ref")),
	                       .manifest = manifest};
	*ret = p;
	return 0;
}

int prepare_local(struct job *j, const json_t *reference, struct prepared **ret, struct err *err)
{
	const char *path = wire_string(reference, "path");
	struct action_manifest manifest;
	bool found = false;
	_cleanup_free_ char *plain = NULL, *real = NULL;
	if (path == NULL || fs_normalize(path, &plain, NULL) < 0)
		return err_set(err, ERR_INVALID, "uses: %.200s leads out of the workspace", path != NULL ? path : "");
	_cleanup_free_ char *directory = fs_join(j->workspace, plain);
	_cleanup_close_ int dir = fs_open_within(j->workspace, plain, O_RDONLY | O_DIRECTORY, &real, err);
	if (dir == ERR_REFUSED)
		return dir;
	err_clear(err);
	int e = dir < 0 ? 0 : load_manifest(j, dir, path, &manifest, &found, err);
	if (e < 0)
		return e;
	if (!found)
		return err_set(
			err, ERR_NOT_FOUND,
			"Can't find 'action.yml', 'action.yaml' or 'Dockerfile' under '%s'. Did you forget to run "
			"actions/checkout before running your local action?",
			directory);
	struct prepared *p = xcalloc(1, sizeof(*p));
	*p = (struct prepared){.name = xstrdup(path), .directory = TAKE(directory), .manifest = manifest};
	*ret = p;
	return 0;
}

/* ---- a level ---- */

struct level {
	json_t *wanted;     /* OWNER/REPO@REF → what the service is asked */
	json_t *references; /* those whose manifests are not read yet: name → reference */
	json_t *looked_at;  /* names of this level */
	json_t *steps;      /* of the level below */
};

static void level_done(struct level *l)
{
	json_decref(l->wanted);
	json_decref(l->references);
	json_decref(l->looked_at);
	json_decref(l->steps);
}

static int want(struct job *j, struct level *l, const json_t *reference, struct err *err)
{
	const char *path = wire_string(reference, "path");
	_cleanup_free_ char *key = repository_key(reference), *name = prepare_name(reference);
	if (json_object_get(l->looked_at, name) != NULL)
		return 0;
	json_object_set(l->looked_at, name, (json_t *)(uintptr_t)reference);
	if (json_object_get(j->fetched, key) == NULL && json_object_get(l->wanted, key) == NULL) {
		json_t *action = json_pack("{s:s, s:s}", "action", wire_string(reference, "name"), "version",
		                           wire_string(reference, "ref"));
		if (path != NULL && path[0] != '\0')
			json_object_set_new(action, "path", json_string(path));
		json_object_set_new(l->wanted, key, action);
	}
	if (prepare_find(j, reference) == NULL)
		json_object_set(l->references, name, (json_t *)(uintptr_t)reference);
	if (json_object_size(j->fetched) + json_object_size(l->wanted) > PREPARE_REPOSITORIES_MAX)
		return err_set(err, ERR_LIMIT, "this job uses actions of more than %d repositories",
		               PREPARE_REPOSITORIES_MAX);
	if (j->prepared_count + json_object_size(l->references) > PREPARE_ACTIONS_MAX)
		return err_set(err, ERR_LIMIT, "this job uses more than %d different actions", PREPARE_ACTIONS_MAX);
	return 0;
}

int prepare_too_many_uses(struct err *err)
{
	return err_set(err, ERR_LIMIT, "the actions of this job use more than %d others", PREPARE_USES_MAX);
}

static int look_at_steps(struct job *j, const json_t *steps, struct level *l, struct err *err)
{
	size_t i;
	json_t *step;
	json_array_foreach((json_t *)(uintptr_t)steps, i, step)
	{
		const json_t *reference = wire_get(step, "reference");
		if (!json_is_object(reference) || !action_is_foreign(j, reference))
			continue;
		int r = ++j->uses_seen > PREPARE_USES_MAX ? prepare_too_many_uses(err)
		                                          : policy_allows(job_setting(j, "actions"), reference, err);
		bool fetched = is_remote(reference) && !stand_in_takes(j, reference);
		if (r == 0 && fetched)
			r = check_words(reference, err);
		if (r == 0 && fetched)
			r = want(j, l, reference, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int load_all(struct job *j, struct record *r, struct level *l, struct err *err)
{
	const char *name;
	json_t *reference;
	json_object_foreach(l->references, name, reference)
	{
		struct prepared *p = NULL;
		int e = load_remote(j, r, reference, &p, err);
		if (e < 0)
			return e;
		j->prepared = xgrow(j->prepared, &j->prepared_cap, j->prepared_count + 1, sizeof(j->prepared[0]));
		j->prepared[j->prepared_count++] = p;
	}
	json_object_foreach(l->looked_at, name, reference)
	{
		const struct prepared *p = prepare_find(j, reference);
		json_array_extend(l->steps, p != NULL ? p->manifest.steps : NULL);
	}
	return 0;
}

int prepare_actions(struct job *j, struct record *r, const json_t *steps, int depth, struct err *err)
{
	struct level l = {json_object(), json_object(), json_object(), json_array()};
	if (j->fetched == NULL)
		j->fetched = json_object();
	int e = depth > PREPARE_DEPTH_MAX
	                ? err_set(err, ERR_LIMIT, "Composite action depth exceeded max depth %d", PREPARE_DEPTH_MAX)
	                : look_at_steps(j, steps, &l, err);
	if (e == 0)
		e = fetch_all(j, r, l.wanted, err);
	if (e == 0)
		e = load_all(j, r, &l, err);
	if (e == 0 && json_array_size(l.steps) > 0)
		e = prepare_actions(j, r, l.steps, depth + 1, err);
	level_done(&l);
	return e;
}
