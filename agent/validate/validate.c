/* validate: which files are looked at, and as what. */
#include "agent/validate/validate.h"
#include "base/core/mem.h"
#include "base/sys/fs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILE_MAX = 4 << 20, SECRET_FILE_MAX = 1 << 20, FILES_MAX = 200000, DEPTH_MAX = 40 };

struct run {
	const struct validate_options *options;
	struct findings *findings;
	char *root;            /* the work tree's top; NULL: none */
	struct strv documents; /* to be read as YAML */
	bool tree;             /* the whole work tree, from its top */
};

static bool is_yaml(const char *name)
{
	return str_ends(name, ".yml") || str_ends(name, ".yaml");
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash != NULL ? slash + 1 : path;
}

/* ---- one document ---- */

static bool looks_like_deployment(const json_t *root)
{
	return json_is_array(json_object_get(root, "steps")) && json_object_get(root, "jobs") == NULL &&
	       (json_object_get(root, "environment") != NULL || json_object_get(root, "targets") != NULL);
}

/* GitHub reads whatever lies there as a workflow. */
static bool is_workflow_path(const char *path)
{
	const char *dir = strstr(path, ".github/workflows/");
	return dir != NULL && (dir == path || dir[-1] == '/') &&
	       strchr(dir + strlen(".github/workflows/"), '/') == NULL;
}

static bool is_action_path(const char *path)
{
	const char *name = base_name(path);
	return strcmp(name, "action.yml") == 0 || strcmp(name, "action.yaml") == 0;
}

static bool looks_like_action(const char *path, const json_t *root)
{
	return json_object_get(root, "runs") != NULL ||
	       (is_action_path(path) &&
	        (json_object_get(root, "description") != NULL || json_object_get(root, "inputs") != NULL ||
	         json_object_get(root, "outputs") != NULL));
}

/* A job refuses anchors there, which workflows may have. */
static void refuse_anchors(const struct validate_file *file)
{
	struct faults twice = {.max = 1}; /* told already */
	struct yaml_limits limits = YAML_LIMITS_DEFAULT;
	struct err err = ERR_INIT;
	_cleanup_(yaml_freep) struct yaml_doc *doc = NULL;
	limits.twice = &twice;
	if (yaml_read(file->name, file->data, file->len, &limits, &doc, &err) < 0)
		finding_add_err(file->findings, file->name, "yaml", &err);
	faults_done(&twice);
}

static void look_at_document(const struct validate_file *file, const struct yaml_doc *doc, const struct faults *twice,
                             bool named)
{
	const json_t *root = yaml_root(doc);
	bool action = looks_like_action(file->name, root), deployment = !action && looks_like_deployment(root);
	if (action || deployment || named)
		finding_add_faults(file->findings, file->name, twice, FINDING_ERROR, "yaml");
	if (action) {
		refuse_anchors(file);
		validate_action(file, doc);
	} else if (deployment) {
		validate_deployment(file, doc);
	} else if (named) {
		finding_add(file->findings, file->name, (struct yaml_mark){1, 1}, FINDING_ERROR, "unknown-file",
		            "a workflow has 'jobs', an action 'runs', a deployment file 'environment' and 'steps'",
		            "this is no workflow, no action and no deployment file");
	}
}

static void look_at(struct run *run, const struct validate_file *file, bool named)
{
	struct faults twice = {.max = FINDINGS_MAX};
	struct yaml_limits limits = YAML_LIMITS_DEFAULT;
	struct err err = ERR_INIT;
	_cleanup_(yaml_freep) struct yaml_doc *doc = NULL;
	limits.allow_anchors = true;
	limits.twice = &twice;
	int r = yaml_read(file->name, file->data, file->len, &limits, &doc, &err);
	const json_t *root = r == 0 ? yaml_root(doc) : NULL;
	if (r == 0 && file->options->contexts != NULL)
		validate_render(file, doc);
	if (is_workflow_path(file->name) || json_object_get(root, "jobs") != NULL) {
		validate_workflow(file);
	} else if (r == 0) {
		look_at_document(file, doc, &twice, named);
	} else if (named || is_action_path(file->name)) { /* else YAML of others, templates too */
		finding_add_faults(run->findings, file->name, &twice, FINDING_ERROR, "yaml");
		finding_add_err(run->findings, file->name, "yaml", &err);
	}
	faults_done(&twice);
}

static int look_at_path(struct run *run, const char *path, bool named, struct err *err)
{
	_cleanup_(str_done) struct str data = STR_INIT(FILE_MAX);
	int r = fs_read(AT_FDCWD, path, FILE_MAX, &data, err);
	if (r < 0)
		return err_wrap(err, r, "read %s", path);
	const char *name = str_starts(path, "./") ? path + 2 : path;
	struct validate_file file = {.name = name,
	                             .data = str_peek(&data),
	                             .len = data.len,
	                             .root = run->root,
	                             .options = run->options,
	                             .findings = run->findings};
	look_at(run, &file, named);
	return 0;
}

/* ---- directories ---- */

/* Below a directory: workflows, action.yml files, and YAML where deployment files lie. Hidden directories but .github are left out. */
static void collect(struct run *run, const char *dir, int depth)
{
	DIR *d = opendir(dir);
	struct dirent *entry;
	while (d != NULL && depth < DEPTH_MAX && run->documents.count < FILES_MAX && (entry = readdir(d)) != NULL) {
		const char *name = entry->d_name;
		struct stat st;
		if ((name[0] == '.' && strcmp(name, ".github") != 0) || strcmp(name, "node_modules") == 0)
			continue;
		_cleanup_free_ char *path = fs_join(dir, name);
		if (lstat(path, &st) != 0)
			continue;
		if (S_ISDIR(st.st_mode))
			collect(run, path, depth + 1);
		else if (S_ISREG(st.st_mode) && is_yaml(name) && st.st_size <= FILE_MAX)
			strv_add(&run->documents, path);
	}
	if (d != NULL)
		closedir(d);
}

static bool is_directory(const char *path)
{
	struct stat st;
	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static bool is_excluded(const struct validate_options *options, const char *path)
{
	for (size_t i = 0; i < options->excludes.count; i++)
		if (str_glob(options->excludes.items[i], path) || str_glob(options->excludes.items[i], base_name(path)))
			return true;
	return false;
}

/* What lies at `path` below the work tree's top, as the user may open it; NULL: it is in none of the directories that were named. */
static char *shown_as(const struct run *run, const char *top, const char *path)
{
	if (run->tree)
		return xstrdup(path);
	for (size_t i = 0; i < run->options->path_count; i++) {
		const char *named = run->options->paths[i];
		char real[PATH_MAX];
		size_t len = strlen(top);
		if (!is_directory(named) || realpath(named, real) == NULL || strncmp(real, top, len) != 0)
			continue;
		_cleanup_free_ char *front = xasprintf("%s/", real + len);
		_cleanup_free_ char *whole = xasprintf("/%s", path);
		if (!str_starts(whole, front))
			continue;
		_cleanup_free_ char *shown = fs_join(named, whole + strlen(front));
		return xstrdup(str_starts(shown, "./") ? shown + 2 : shown);
	}
	return NULL;
}

/* Both are as the user may open them. */
static bool is_document(const struct run *run, const char *shown)
{
	_cleanup_free_ char *below = xasprintf("./%s", shown);
	return strv_has(&run->documents, shown) || strv_has(&run->documents, below);
}

static void look_for_secrets(struct run *run, const char *top, const struct strv *tracked, size_t *files)
{
	for (size_t i = 0; i < tracked->count; i++) {
		_cleanup_free_ char *path = fs_join(top, tracked->items[i]),
				    *shown = shown_as(run, top, tracked->items[i]);
		_cleanup_(str_done) struct str data = STR_INIT(SECRET_FILE_MAX);
		struct stat st;
		if (shown == NULL || is_excluded(run->options, tracked->items[i]) || lstat(path, &st) != 0 ||
		    !S_ISREG(st.st_mode) || st.st_size > SECRET_FILE_MAX ||
		    fs_read_plain(AT_FDCWD, path, SECRET_FILE_MAX, &data, NULL) < 0)
			continue;
		struct validate_file file = {.name = shown,
		                             .data = str_peek(&data),
		                             .len = data.len,
		                             .root = top,
		                             .options = run->options,
		                             .findings = run->findings};
		validate_secrets(&file);
		*files += is_yaml(shown) && is_document(run, shown) ? 0 : 1;
	}
}

/* What git has tracked in the work tree of that top, as far as it was asked for. */
static int look_at_tree(struct run *run, const char *top, size_t *files, struct err *err)
{
	struct strv tracked = {.count = 0};
	struct findings found = {.count = 0};
	int r = validate_tree(top, &run->options->migrations, &found, &tracked, err);
	for (size_t i = 0; r == 0 && i < found.count; i++) {
		const struct finding *one = &found.items[i];
		_cleanup_free_ char *shown = shown_as(run, top, one->file);
		if (shown != NULL)
			finding_add(run->findings, shown, (struct yaml_mark){one->line, one->column}, one->severity,
			            one->code, one->hint, "%s", one->message);
	}
	if (r == 0)
		look_for_secrets(run, top, &tracked, files);
	findings_done(&found);
	strv_done(&tracked);
	return r;
}

/* The nearest directory upwards that git calls a work tree's top; NULL: there is none. */
static char *find_root(const char *from)
{
	char real[PATH_MAX];
	if (realpath(from, real) == NULL)
		return NULL;
	for (;;) {
		_cleanup_free_ char *git = fs_join(real, ".git");
		if (access(git, F_OK) == 0)
			return xstrdup(real);
		char *slash = strrchr(real, '/');
		if (slash == NULL || slash == real)
			return NULL;
		*slash = '\0';
	}
}

static int look_at_paths(struct run *run, size_t *files, struct err *err)
{
	int r = 0;
	for (size_t i = 0; i < run->options->path_count && r == 0; i++) {
		const char *path = run->options->paths[i];
		struct stat st;
		if (stat(path, &st) != 0)
			return err_errno(err, errno, "find '%s'", path);
		if (S_ISDIR(st.st_mode)) {
			collect(run, path, 0);
			continue;
		}
		++*files;
		r = look_at_path(run, path, true, err);
	}
	return r;
}

/* The work trees that hold the directories that were named, each once. */
static int look_at_trees(struct run *run, size_t *files, struct err *err)
{
	struct strv tops = {.count = 0};
	int r = 0;
	if (run->tree && run->root != NULL)
		strv_add(&tops, run->root);
	for (size_t i = 0; i < run->options->path_count; i++) {
		_cleanup_free_ char *top =
			is_directory(run->options->paths[i]) ? find_root(run->options->paths[i]) : NULL;
		if (top != NULL && !strv_has(&tops, top))
			strv_add(&tops, top);
	}
	for (size_t i = 0; i < tops.count && r == 0; i++)
		r = look_at_tree(run, tops.items[i], files, err);
	strv_done(&tops);
	return r;
}

int validate_run(const struct validate_options *options, struct findings *findings, size_t *ret_files, struct err *err)
{
	struct run run = {.options = options, .findings = findings, .tree = options->path_count == 0};
	*ret_files = 0;
	run.root = find_root(options->path_count > 0 ? options->paths[0] : ".");
	int r = look_at_paths(&run, ret_files, err);
	if (r == 0 && run.tree) {
		if (run.root != NULL && chdir(run.root) != 0)
			r = err_errno(err, errno, "enter %s", run.root);
		collect(&run, ".", 0);
	}
	strv_sort(&run.documents);
	for (size_t i = 0; i < run.documents.count && r == 0; i++) {
		++*ret_files;
		r = look_at_path(&run, run.documents.items[i], false, err);
	}
	if (r == 0)
		r = look_at_trees(&run, ret_files, err);
	findings_sort(findings);
	strv_done(&run.documents);
	free(run.root);
	return r;
}
