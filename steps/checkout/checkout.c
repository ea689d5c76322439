/* checkout: the commit of a job in its work area.
 *
 * Effect: PATH (default: the job's workspace) holds exactly the files of the commit and a complete shallow .git.
 * Idempotence: the commit's id; correct files are not touched. Undo: none needed, only the job's own work area changes.
 * Credentials are used for the one request and kept nowhere. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/core/clock.h"
#include "base/secret/base64.h"
#include "base/sys/fs.h"
#include "base/net/http.h"
#include "schemas/checkout.h"
#include "base/net/url.h"
#include "base/git/area.h"
#include "base/git/known_hosts.h"
#include "base/git/ssh.h"
#include "base/git/submodules.h"
#include "engine/run/step.h"

static const char *given(const char *text)
{
	return text != NULL && text[0] != '\0' ? text : NULL;
}

static const char *repository_of(const struct step_context *c)
{
	const struct checkout_in *in = c->input;
	return given(in->repository) ? in->repository : c->deployment->repository;
}

static bool is_repository_name(const char *name)
{
	const char *slash = strchr(name, '/');
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
	if (slash == NULL || slash == name || slash[1] == '\0' || name[0] == '.' || slash[1] == '.')
		return false;
	return strspn(name, allowed) == (size_t)(slash - name) && slash[1 + strspn(slash + 1, allowed)] == '\0';
}

static void checkout_describe(const struct step_context *c, struct str *out)
{
	const char *repository = repository_of(c);
	str_appendf(out, "check out %s", repository ? repository : "the job's repository");
}

static void checkout_validate(const struct step_context *c, struct faults *faults)
{
	const struct checkout_in *in = c->input;
	if (given(in->repository) && !is_repository_name(in->repository)) {
		faults_add(faults, NULL, "/repository", "'%s' is not OWNER/NAME", in->repository);
		faults_hint(faults, "as in `repository: octocat/hello-world`");
	}
	if (given(in->server) && str_starts(in->server, "ssh://") && !given(in->ssh_key)) {
		faults_add(faults, NULL, "/server", "'%s' needs a key", in->server);
		faults_hint(faults, "give `ssh-key:`, or an address of https");
	}
	if (given(in->path)) {
		_cleanup_free_ char *normal = NULL;
		struct err err = ERR_INIT;
		if (in->path[0] == '/' || fs_normalize(in->path, &normal, &err) < 0) {
			faults_add(faults, NULL, "/path", "'%s' leaves the workspace", in->path);
			faults_hint(faults, "give a path below it");
		}
	}
}

/* In place of the address of the web: the same host by SSH, as git writes it; with a port where the server is given as ssh://. */
static int ssh_address(const struct checkout_in *in, const char *repository, struct str *out, struct err *err)
{
	_cleanup_(net_url_freep) CURLU *url = curl_url();
	if (url == NULL || curl_url_set(url, CURLUPART_URL, str_peek(out), CURLU_NON_SUPPORT_SCHEME) != CURLUE_OK)
		return err_set(err, ERR_INVALID, "'%s' is not an address", str_peek(out));
	_cleanup_free_ char *scheme = net_url_part(url, CURLUPART_SCHEME, 0),
			    *host = net_url_part(url, CURLUPART_HOST, 0), *port = net_url_part(url, CURLUPART_PORT, 0);
	bool is_ssh = scheme != NULL && strcmp(scheme, "ssh") == 0;
	str_clear(out);
	if (is_ssh)
		str_appendf(out, "ssh://%s@%s%s%s/%s.git", in->ssh_user, host ? host : "", port ? ":" : "",
		            port ? port : "", repository);
	else
		str_appendf(out, "%s@%s:%s.git", in->ssh_user, host ? host : "", repository);
	return out->failed ? err_set(err, ERR_LIMIT, "the repository's address is too long") : 0;
}

/* The address on the web: at the server of the job's page, or the input's. */
static int web_url(const struct step_context *c, struct str *out, struct err *err)
{
	const struct checkout_in *in = c->input;
	const char *repository = repository_of(c);
	const char *run_url = c->deployment->run_url;
	if (repository == NULL) {
		int r = err_set(err, ERR_INVALID, "checkout does not know which repository");
		return err_hint(err, r, "outside a job give `repository:` and `server:`");
	}
	if (given(in->server) != NULL) {
		size_t len = strlen(in->server);
		str_appendf(out, "%.*s/%s", (int)(in->server[len - 1] == '/' ? len - 1 : len), in->server, repository);
	} else if (run_url != NULL && strstr(run_url, "://") != NULL) {
		/* SERVER/OWNER/NAME/actions/runs/ID */
		const char *host = strstr(run_url, "://") + 3;
		int slashes = 0;
		const char *end = run_url + strlen(run_url);
		while (end > host && slashes < 5)
			slashes += *--end == '/';
		str_appendf(out, "%.*s/%s", (int)(end - run_url), run_url, repository);
	} else {
		str_appendf(out, "https://github.com/%s", repository);
	}
	return out->failed ? err_set(err, ERR_LIMIT, "the repository's address is too long") : 0;
}

static int repository_url(const struct step_context *c, struct str *out, struct err *err)
{
	const struct checkout_in *in = c->input;
	int r = web_url(c, out, err);
	return r >= 0 && given(in->ssh_key) != NULL ? ssh_address(in, repository_of(c), out, err) : r;
}

/* Known before the first change, though only once the deployment is known too. */
static int checkout_check(const struct step_context *c, struct faults *faults, struct err *err)
{
	struct str url _cleanup_(str_done) = STR_INIT(4096);
	(void)faults;
	return repository_url(c, &url, err);
}

struct checkout {
	const struct step_context *c;
	const struct checkout_in *in;
	struct str url, web, authorization;
	struct str known;           /* host keys */
	struct git_ssh_login login; /* for SSH; .key NULL: HTTP */
	struct git_ssh *ssh;        /* NULL: HTTP */
	struct git_remote_access remote;
	struct git_wanted want;
};

static void checkout_done(struct checkout *k)
{
	str_done(&k->url);
	str_done(&k->web);
	str_done(&k->authorization);
	git_ssh_free(k->ssh);
	str_done(&k->known);
	git_wanted_done(&k->want);
}

static int prepare_ssh(struct checkout *k, struct err *err)
{
	int r = git_known_hosts(given(k->in->ssh_known_hosts), true, &k->known, err);
	k->login = (struct git_ssh_login){.key = k->in->ssh_key, .known_hosts = str_peek(&k->known)};
	if (r >= 0)
		r = git_ssh_new(str_peek(&k->url), &k->login, &k->ssh, err);
	k->login.beside = k->ssh;
	return r;
}

static int prepare(struct checkout *k, struct err *err)
{
	const struct step_deployment *d = k->c->deployment;
	const char *token = given(k->in->token) ? k->in->token : d->token;
	int r = repository_url(k->c, &k->url, err);
	if (r >= 0)
		r = web_url(k->c, &k->web, err);
	if (r >= 0 && given(k->in->ssh_key) != NULL)
		r = prepare_ssh(k, err);
	if (r < 0)
		return r;
	if (token != NULL) {
		struct str login _cleanup_(str_done) = STR_SECRET_INIT(8192);
		str_appendf(&login, "x-access-token:%s", token);
		str_append(&k->authorization, "Basic ");
		base64_encode(str_peek(&login), login.len, &k->authorization);
	}
	k->remote = (struct git_remote_access){
		.http = k->c->http(k->c->engine),
		.url = str_peek(&k->url),
		.authorization = k->authorization.len > 0 ? str_peek(&k->authorization) : NULL,
		.server = str_peek(&k->web),
		.wait = k->c->wait,
		.ssh = k->ssh,
	};
	return d->source_root != NULL ? 0 : err_set(err, ERR_INVALID, "checkout has no workspace");
}

/* What the job runs for: its commit, under the name that began it. A tag may be an object of its own, which only the server knows; it may also
 * have moved since. */
static void name_own(struct checkout *k)
{
	const char *ref = given(k->c->deployment->ref);
	if (ref == NULL)
		return;
	k->want.ref = str_starts(ref, "refs/") ? xstrdup(ref) : xasprintf("refs/heads/%s", ref);
	if (!str_starts(ref, "refs/tags/"))
		return;
	const char *names[] = {ref, NULL};
	struct git_wanted tag = {.ref = NULL};
	if (git_area_resolve(&k->remote, names, &tag, NULL) >= 0 && strcmp(tag.commit, k->want.commit) == 0)
		memcpy(k->want.object, tag.object, sizeof(tag.object));
	git_wanted_done(&tag);
}

/* Finds the commit: an id as given; the job's own commit for the job's own repository; else the server resolves the name. */
static int find_commit(struct checkout *k, struct err *err)
{
	const char *ref = given(k->in->ref);
	bool own =
		given(k->in->repository) == NULL || (k->c->deployment->repository != NULL &&
	                                             strcasecmp(k->in->repository, k->c->deployment->repository) == 0);
	if (git_wanted_by_id(&k->want, ref != NULL ? ref : own ? k->c->deployment->commit : NULL)) {
		if (ref == NULL)
			name_own(k);
		return 0;
	}
	_cleanup_free_ char *branch = xasprintf("refs/heads/%s", ref ? ref : "");
	_cleanup_free_ char *tag = xasprintf("refs/tags/%s", ref ? ref : "");
	const char *names[] = {branch, tag, NULL};
	const char *exact[] = {ref ? ref : "HEAD", NULL};
	bool full = ref == NULL || str_starts(ref, "refs/");
	int r = git_area_resolve(&k->remote, full ? exact : names, &k->want, err);
	if (r >= 0 && strcmp(k->want.ref, "HEAD") == 0)
		git_wanted_done(&k->want);
	return r;
}

static void tell(struct checkout *k, const struct git_area_result *result, int64_t ms)
{
	char took[CLOCK_TEXT_SIZE];
	k->c->report(k->c->engine, "%zu files of %.12s, %zu written, %zu removed, in %s", result->files, k->want.commit,
	             result->written, result->removed, clock_duration(ms, took));
	if (result->renewed)
		k->c->report(k->c->engine, "the .git of an earlier job could not be used: it was recreated");
	if (result->unencoded > 0)
		k->c->report(
			k->c->engine,
			"%zu written files stay as they are in the repository: their `working-tree-encoding` is not known, or has not all of their characters",
			result->unencoded);
	if (result->lfs_files > 0)
		k->c->report(k->c->engine, "%zu files from contents of LFS, %zu of them downloaded (%.1f MiB)",
		             result->lfs_files, result->lfs_fetched, (double)result->lfs_bytes / (1 << 20));
	if (result->lfs_pointers > 0)
		k->c->report(
			k->c->engine,
			k->in->lfs
				? "%zu written files of submodules are LFS pointers and stay pointers: run `git submodule foreach --recursive 'git lfs install --local && git lfs pull'` in a step if the contents are needed"
				: "%zu written files are LFS pointers and stay pointers: run `git lfs pull` in a step if the contents are needed",
			result->lfs_pointers);
	if (result->submodules > 0)
		k->c->report(
			k->c->engine,
			"%zu submodules are left alone: run `git submodule update --init` in a step if they are needed",
			result->submodules);
}

static int bring_submodules(struct checkout *k, struct git_area *area, struct git_area_result *result, struct err *err)
{
	struct git_submodules_result all;
	struct git_submodules wanted = {.remote = &k->remote,
	                                .ssh = k->ssh != NULL ? &k->login : NULL,
	                                .owner_id = given(k->in->owner_id),
	                                .depth = (int)k->in->fetch_depth,
	                                .clean = k->in->clean,
	                                .recursive = k->in->submodules == CHECKOUT_SUBMODULES_RECURSIVE};
	if (k->in->submodules == CHECKOUT_SUBMODULES_FALSE)
		return 0;
	int r = git_area_submodules(area, &wanted, &all, err);
	if (r < 0)
		return r;
	if (all.count > 0)
		k->c->report(k->c->engine, "%zu submodules of %zu files, %zu written, %zu removed", all.count,
		             all.files.files, all.files.written, all.files.removed);
	result->submodules = all.left;
	result->lfs_pointers += all.files.lfs_pointers;
	result->unencoded += all.files.unencoded;
	result->renewed |= all.files.renewed;
	return 0;
}

static int run(struct checkout *k, struct err *err)
{
	struct git_area *area _cleanup_(git_area_freep) = NULL;
	struct git_area_result result = {0};
	const struct git_sparse_wish sparse = {.lines = k->in->sparse_checkout.items,
	                                       .count = k->in->sparse_checkout.count,
	                                       .cone = k->in->sparse_checkout_cone_mode};
	const char *filter = given(k->in->filter);
	struct git_wish wish = {.depth = (int)k->in->fetch_depth,
	                        .clean = k->in->clean,
	                        .filter = filter == NULL && sparse.count > 0 ? "blob:none" : filter,
	                        .sparse = sparse.count > 0 ? &sparse : NULL,
	                        .tags = k->in->fetch_tags};
	int64_t start = clock_mono_ms();
	int r = prepare(k, err);
	if (r >= 0)
		r = find_commit(k, err);
	if (r >= 0)
		r = git_area_open(k->c->deployment->source_root, given(k->in->path) ? k->in->path : ".",
		                  str_peek(&k->url), k->in->clean, &area, err);
	if (r >= 0 && k->in->lfs)
		git_area_want_lfs(area, k->c->report, k->c->engine);
	if (r >= 0)
		r = git_area_bring_as(area, &k->remote, &k->want, &wish, &result, err);
	if (k->in->lfs)
		result.lfs_pointers = 0; /* those left are of files that only look like one */
	if (r >= 0)
		r = bring_submodules(k, area, &result, err);
	if (r < 0)
		return r;
	tell(k, &result, clock_mono_ms() - start);
	json_object_set_new(k->c->outputs, "commit", json_string(k->want.commit));
	const char *asked = given(k->in->ref);
	bool by_name = asked != NULL && k->want.ref != NULL;
	json_object_set_new(k->c->outputs, "ref", json_string(by_name ? asked : k->want.ref ? k->want.ref : ""));
	return 0;
}

static int checkout_probe(const struct step_context *c, bool baseline, struct err *err)
{
	if (baseline)
		return 0;
	struct checkout k _cleanup_(checkout_done) = {
		.c = c,
		.in = c->input,
		.url = STR_INIT(4096),
		.web = STR_INIT(4096),
		.known = STR_INIT(GIT_KNOWN_HOSTS_MAX),
		.authorization = STR_SECRET_INIT(16384),
	};
	int r = run(&k, err);
	return r < 0 ? err_wrap(err, r, "check out %s", str_peek(&k.url)) : 0;
}

const struct step_type checkout_step = {
	.info = &checkout_info,
	.describe = checkout_describe,
	.validate = checkout_validate,
	.check = checkout_check,
	.probe = checkout_probe,
};
