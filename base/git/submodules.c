#include "base/git/submodules.h"

#include <string.h>

#include "base/core/log.h"
#include "base/git/git_priv.h"
#include "base/git/gitmodules.h"
#include "base/git/module_url.h"
#include "base/git/ssh.h"
#include "base/secret/base64.h"

struct bringing {
	const struct git_submodules *wanted;
	struct git_module_server server;
	struct git_submodules_result *result;
};

static int bring_all(struct bringing *b, struct git_area *super, int level, struct err *err);

/* ---- the repository that holds it ---- */

/* As `sync` and `init` note it. */
static int note(struct git_area *super, const struct git_module *m, const char *url, struct err *err)
{
	git_config *all _cleanup_(config_freep) = NULL, *own _cleanup_(config_freep) = NULL;
	_cleanup_free_ char *active = xasprintf("submodule.%s.active", m->name),
			    *address = xasprintf("submodule.%s.url", m->name),
			    *update = xasprintf("submodule.%s.update", m->name);
	int r = git_repository_config(&all, super->repo);
	if (r == 0)
		r = git_config_open_level(&own, all, GIT_CONFIG_LEVEL_LOCAL);
	if (r == 0)
		r = git_area_configure(own, active, "true");
	if (r == 0)
		r = git_area_configure(own, address, url);
	if (r == 0 && m->update != MODULE_UPDATE_UNSAID)
		r = git_area_configure(own, update, git_module_update_word(m->update));
	return r == 0 ? 0 : git_area_error(err, r, "note the submodule in the configuration");
}

/* ---- its own ---- */

static int access_to(const struct bringing *b, const struct git_module_source *source, struct str *authorization,
                     struct git_remote_access *ret, struct err *err)
{
	const struct git_remote_access *own = b->wanted->remote;
	*ret = (struct git_remote_access){.http = own->http, .url = source->url, .wait = own->wait};
	if (source->ssh)
		return git_ssh_new(source->url, b->wanted->ssh, &ret->ssh, err);
	if (source->ours) {
		ret->authorization = own->authorization;
	} else if (source->login.len > 0) {
		str_append(authorization, "Basic ");
		base64_encode(str_peek(&source->login), source->login.len, authorization);
		ret->authorization = str_peek(authorization);
	}
	return source->login.failed || authorization->failed ? err_set(err, ERR_LIMIT, "its login is too long") : 0;
}

static bool has_default(struct git_area *a)
{
	git_reference *head _cleanup_(reference_freep) = NULL;
	return git_reference_lookup(&head, a->repo, "refs/remotes/origin/HEAD") == 0;
}

/* What a clone leaves of the branch that HEAD names on the server (`git submodule update --remote` follows it), and a later fetch moves. */
static int set_default(struct git_area *a, const struct git_wanted *branch, bool is_new, bool single, struct err *err)
{
	git_config *config _cleanup_(config_freep) = NULL;
	git_reference *head _cleanup_(reference_freep) = NULL;
	const char *name = branch->ref + strlen("refs/heads/");
	_cleanup_free_ char *remote = xasprintf("refs/remotes/origin/%s", name),
			    *fetch = xasprintf("+%s:%s", branch->ref, remote);
	git_oid id;
	int valid = 0;
	if (git_reference_name_is_valid(&valid, remote) != 0 || !valid || !git_area_has(a, branch->commit))
		return 0;
	int r = git_oid_fromstr(&id, branch->commit);
	if (r == 0)
		r = git_area_set_reference(a, remote, &id);
	if (r == 0 && is_new)
		r = git_area_set_reference(a, branch->ref, &id);
	if (r == 0 && is_new)
		r = git_reference_symbolic_create(&head, a->repo, "refs/remotes/origin/HEAD", remote, 1, NULL);
	if (r == 0 && is_new)
		r = git_area_follow_origin(a, name, branch->ref);
	if (r == 0 && is_new && single)
		r = git_repository_config(&config, a->repo);
	if (r == 0 && is_new && single)
		r = git_area_configure(config, "remote.origin.fetch", fetch);
	return r == 0 ? 0 : git_area_error(err, r, "set the default branch");
}

static void add_files(struct git_submodules_result *all, const struct git_area_result *one)
{
	all->files.files += one->files;
	all->files.written += one->written;
	all->files.removed += one->removed;
	all->files.lfs_pointers += one->lfs_pointers;
	all->files.unencoded += one->unencoded;
	all->files.renewed |= one->renewed;
}

/* Its commit, and the default branch with it, in one answer. What is here already is not asked for. */
static int fill(struct bringing *b, struct git_area *a, const struct git_remote_access *remote, const char *commit,
                int depth, struct err *err)
{
	struct git_wanted want _cleanup_(git_wanted_done) = {.ref = NULL},
			       head _cleanup_(git_wanted_done) = {.ref = NULL};
	struct git_area_result result = {0};
	struct err why = ERR_INIT;
	git_wanted_by_id(&want, commit);
	bool here = git_area_has(a, commit), is_new = !has_default(a);
	if (is_new || !here) {
		int r = git_area_default(remote, &head, &why);
		if (r < 0 && r != ERR_NOT_FOUND) {
			if (err != NULL)
				*err = why;
			return r;
		}
		if (head.ref != NULL && strcmp(head.commit, commit) != 0)
			memcpy(want.also, head.commit, GIT_HEX);
	}
	int r = git_area_bring(a, remote, &want, here ? 1 : depth, b->wanted->clean, &result, err);
	if (r < 0)
		return r;
	add_files(b->result, &result);
	return head.ref != NULL ? set_default(a, &head, is_new, depth > 0, err) : 0;
}

static int bring_one(struct bringing *b, struct git_area *super, const struct git_module *m, const char *commit,
                     int level, struct err *err)
{
	struct git_module_source source _cleanup_(git_module_source_done) = {.url = NULL};
	struct git_remote_access remote = {.url = NULL};
	struct str authorization _cleanup_(str_done) = STR_SECRET_INIT(16384);
	struct git_area *a _cleanup_(git_area_freep) = NULL;
	_cleanup_free_ char *url = git_module_absolute(super->url, m->url);
	int r = note(super, m, url, err);
	if (r >= 0 && m->update == MODULE_UPDATE_NONE) {
		b->result->left++;
		return 0;
	}
	if (r >= 0)
		r = git_module_find(&b->server, url, &source, err);
	if (r >= 0)
		r = access_to(b, &source, &authorization, &remote, err);
	if (r >= 0)
		r = git_area_open_module(super, m->name, m->path, url, b->wanted->clean, &a, err);
	if (r >= 0)
		r = fill(b, a, &remote, commit, m->shallow ? 1 : b->wanted->depth, err);
	git_ssh_free(remote.ssh);
	if (r < 0)
		return r;
	b->result->count++;
	return bring_all(b, a, level + 1, err);
}

/* ---- all of one repository ---- */

static int no_url(const char *path, struct err *err)
{
	int r = err_set(err, ERR_INVALID, "No url found for submodule path '%.200s' in .gitmodules", path);
	return err_hint(err, r, "name it in .gitmodules, or remove it with `git rm --cached`");
}

/* All is known to be good before the first is fetched. */
static int check(const struct bringing *b, const struct git_modules *modules, const struct strv *paths, int level,
                 struct err *err)
{
	struct strv names _cleanup_(strv_done) = {0};
	for (size_t i = 0; i < paths->count; i++) {
		const struct git_module *m = git_modules_at(modules, paths->items[i]);
		if (m == NULL || m->url == NULL)
			return no_url(paths->items[i], err);
		strv_add(&names, m->name);
	}
	if (level >= GIT_MODULE_LEVELS_MAX)
		return err_set(err, ERR_LIMIT, "submodules lie in each other more than %d deep", GIT_MODULE_LEVELS_MAX);
	if (b->result->count + paths->count > GIT_MODULE_COUNT_MAX)
		return err_set(err, ERR_LIMIT, "there are more than %d submodules", GIT_MODULE_COUNT_MAX);
	return git_modules_check_nesting(&names, err);
}

static int bring_all(struct bringing *b, struct git_area *super, int level, struct err *err)
{
	struct strv paths _cleanup_(strv_done) = {0}, commits _cleanup_(strv_done) = {0};
	struct git_modules modules _cleanup_(git_modules_done) = {.count = 0};
	int r = git_modules_links(super->repo, &paths, &commits, err);
	if (r < 0 || paths.count == 0)
		return r;
	if (level > 0 && !b->wanted->recursive) {
		b->result->left += paths.count;
		return 0;
	}
	r = git_modules_read(super->repo, &modules, err);
	if (r >= 0)
		r = check(b, &modules, &paths, level, err);
	for (size_t i = 0; r >= 0 && i < paths.count; i++) {
		r = bring_one(b, super, git_modules_at(&modules, paths.items[i]), commits.items[i], level, err);
		if (r < 0)
			err_wrap(err, r, "submodule '%.200s'", paths.items[i]);
	}
	return r;
}

int git_area_submodules(struct git_area *a, const struct git_submodules *wanted, struct git_submodules_result *ret,
                        struct err *err)
{
	*ret = (struct git_submodules_result){.count = 0};
	struct bringing b = {
		.wanted = wanted,
		.server = {.url = wanted->remote->server != NULL ? wanted->remote->server : wanted->remote->url,
	                   .owner_id = wanted->owner_id,
	                   .by_ssh = wanted->ssh != NULL},
		.result = ret};
	return bring_all(&b, a, 0, err);
}
