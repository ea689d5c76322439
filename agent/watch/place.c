/* The entries of the file that says what is watched. */
#include "agent/watch/watch_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/service/urls.h"
#include "base/data/schema/compile.h"
#include "base/data/yaml.h"
#include "base/secret/digest.h"
#include "base/sys/fs.h"
#include "engine/journal/state_dir.h"

enum { ID_DIGITS = 16 };

static void place_done(struct place *p)
{
	char *const texts[] = {p->server, p->api_url, p->repository,   p->branch, p->environment, p->task,     p->file,
	                       p->wait,   p->page,    p->secrets_file, p->shown,  p->dir,         p->last_told};
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		free(texts[i]);
	/* What it began goes on: the next watcher finds its pid. */
	if (p->pidfd >= 0)
		p->proc.pid = 0;
	proc_done(&p->proc);
	closep(&p->pidfd);
	json_decref(p->vars);
	json_decref(p->record);
	*p = (struct place){.pidfd = -1};
}

void place_list_done(struct place_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		place_done(&list->items[i]);
	for (size_t i = 0; i < list->api_count; i++)
		api_free(list->apis[i]);
	free(list->items);
	free(list->apis);
	*list = (struct place_list){0};
}

/* Who asks for this entry: its own token or App counts before that of the whole file. */
static struct api_access access_of(const json_t *entry, const json_t *root)
{
	static const char *const rights[] = {"contents", "read", "deployments", "write", "metadata", "read", NULL};
	bool own = json_object_get(entry, "token_file") != NULL || json_object_get(entry, "app") != NULL;
	const json_t *from = own ? entry : root, *app = json_get_object(from, "app");
	return (struct api_access){.token_file = json_get_string(from, "token_file"),
	                           .app_id = json_get_string(app, "id"),
	                           .app_key = json_get_string(app, "key_file"),
	                           .rights = rights};
}

/* Those of one service and token, or App, share its limits. */
static int choose_api(struct place_list *list, struct strv *known, const struct place *p,
                      const struct api_access *access, struct http *http, struct api **ret, struct err *err)
{
	const char *app = access->app_id, *file = app != NULL ? access->app_key : access->token_file;
	_cleanup_free_ char *name = xasprintf("%s %s %s", p->api_url, app != NULL ? app : "", file != NULL ? file : "");
	for (size_t i = 0; i < known->count; i++)
		if (strcmp(known->items[i], name) == 0) {
			*ret = list->apis[i];
			return 0;
		}
	int r = api_open(http, p->api_url, access, ret, err);
	if (r < 0)
		return r;
	strv_add(known, name);
	list->apis = xrealloc(list->apis, (list->api_count + 1) * sizeof(struct api *));
	list->apis[list->api_count++] = *ret;
	return 0;
}

static char *text_or(const json_t *entry, const char *name, const char *otherwise)
{
	const char *text = json_get_string(entry, name);
	return xstrdup(text != NULL ? text : otherwise);
}

/* The path leads out of the tree neither by its words nor by an absolute name; links are `davit deploy`'s to judge. */
static int check_file(const char *file, struct err *err)
{
	_cleanup_free_ char *normal = NULL;
	if (file[0] == '/' || fs_normalize(file, &normal, NULL) < 0 || str_starts(normal, ".."))
		return err_set(err, ERR_INVALID, "'file' is no path in the repository: %s", file);
	return 0;
}

static int fill(struct place *p, const json_t *entry, struct err *err)
{
	_cleanup_(github_url_done) struct github_url u = {0};
	int r = github_url_parse(json_get_string(entry, "repository"), &u, err);
	if (r == 0 && u.kind != GITHUB_REPOSITORY)
		r = err_set(err, ERR_INVALID, "%s is no repository", u.url);
	if (r < 0)
		return r;
	p->server = xstrndup(u.url, strlen(u.url) - strlen(u.path) - 1);
	p->api_url = xstrdup(u.api);
	p->repository = xstrdup(u.path);
	p->branch = xstrdup(json_get_string(entry, "branch"));
	p->environment = text_or(entry, "environment", p->branch != NULL ? "production" : NULL);
	p->task = text_or(entry, "task", "deploy");
	p->file = text_or(entry, "file", "deploy.yml");
	p->wait = text_or(entry, "wait", "10m");
	p->page = xstrdup(json_get_string(entry, "page"));
	p->secrets_file = xstrdup(json_get_string(entry, "secrets_file"));
	p->vars = json_deep_copy(json_get_object(entry, "vars"));
	if (p->vars == NULL)
		p->vars = json_object();
	p->shown = xasprintf("%s%s%s%s%s%s", p->repository, p->branch != NULL ? " " : "",
	                     p->branch != NULL ? p->branch : "", p->environment != NULL ? " (" : "",
	                     p->environment != NULL ? p->environment : "", p->environment != NULL ? ")" : "");
	return check_file(p->file, err);
}

/* By what tells one entry from another. */
static int make_dir(struct place *p, struct err *err)
{
	char hex[DIGEST_HEX];
	_cleanup_free_ char *state = state_dir(err);
	if (state == NULL)
		return err->code;
	_cleanup_free_ char *what =
		xasprintf("%s\n%s\n%s\n%s\n%s", p->api_url, p->repository, p->branch != NULL ? p->branch : "",
	                  p->environment != NULL ? p->environment : "", p->task);
	digest_of(what, strlen(what), hex);
	hex[ID_DIGITS] = '\0';
	const char *slash = strrchr(p->repository, '/');
	p->dir = xasprintf("%s/watch/%s-%s", state, slash + 1, hex);
	return fs_mkdirs(AT_FDCWD, p->dir, 0700, err);
}

static int read_file(const char *path, struct yaml_doc **ret, struct err *err)
{
	static const struct yaml_limits limits = YAML_LIMITS_DEFAULT;
	_cleanup_(faults_done) struct faults faults = {0};
	_cleanup_json_ json_t *source = json_loads(schema_builtin("watch"), 0, NULL);
	_cleanup_(schema_freep) struct schema *schema = NULL;
	_cleanup_(yaml_freep) struct yaml_doc *doc = NULL;
	int r = yaml_read_file(path, &limits, &doc, err);
	if (r == 0)
		r = schema_compile(source, &(struct schema_options){.strict_words = true}, &schema, err);
	if (r == 0)
		r = schema_check(schema, yaml_root(doc), doc, &faults, err);
	if (faults.count > 0)
		r = faults_to_err(&faults, doc, err);
	if (r < 0)
		return faults.count > 1 ? err_hint(err, r, "`davit schema check watch %s` shows all", path) : r;
	*ret = TAKE(doc);
	return 0;
}

static int read_place(struct place_list *list, struct strv *known, struct place *p, const json_t *entry,
                      const json_t *root, struct http *http, struct err *err)
{
	const struct api_access access = access_of(entry, root);
	const char *interval = json_get_string(root, "interval");
	long long ms = 60000;
	if (interval != NULL && (str_parse_duration_ms(interval, &ms) < 0 || ms < 100))
		return err_set(err, ERR_INVALID, "'interval' %s is too short: 100ms at least", interval);
	p->interval_ms = ms;
	int r = fill(p, entry, err);
	if (r == 0)
		r = choose_api(list, known, p, &access, http, &p->api, err);
	if (r == 0)
		r = make_dir(p, err);
	for (struct place *other = list->items; r == 0 && other < p; other++)
		if (strcmp(other->dir, p->dir) == 0)
			r = err_set(err, ERR_INVALID, "%s is named twice", p->shown);
	return r == 0 ? place_load(p, err) : r;
}

int place_list_read(const struct watch_options *options, struct http *http, struct place_list *ret, struct err *err)
{
	_cleanup_(yaml_freep) struct yaml_doc *doc = NULL;
	_cleanup_(strv_done) struct strv known = {0};
	int r = read_file(options->file, &doc, err);
	if (r < 0)
		return r;
	const json_t *root = yaml_root(doc), *entries = json_get_array(root, "watch");
	ret->items = xcalloc(json_array_size(entries), sizeof(*ret->items));
	for (size_t i = 0; i < json_array_size(entries); i++) {
		struct place *p = &ret->items[ret->count++];
		*p = (struct place){.options = options, .pidfd = -1, .proc = PROC_INIT};
		r = read_place(ret, &known, p, json_array_get(entries, i), root, http, err);
		if (r < 0)
			return err_wrap(err, r, "%s: entry %zu", options->file, i + 1);
	}
	return 0;
}
