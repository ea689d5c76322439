/* choose: which workflow is meant, and which event starts it. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "agent/run/run_priv.h"
#include "base/sys/fs.h"

enum { WORKFLOW_MAX = 1 << 20, EVENT_MAX = 16 << 20 };

static const char place[] = ".github/workflows";

static bool is_workflow(const char *name)
{
	return name[0] != '.' && (str_ends(name, ".yml") || str_ends(name, ".yaml"));
}

static void list_files(const char *root, struct strv *out)
{
	_cleanup_free_ char *path = fs_join(root, place);
	DIR *dir = opendir(path);
	for (struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;)
		if (is_workflow(e->d_name))
			strv_add(out, e->d_name);
	if (dir != NULL)
		closedir(dir);
	strv_sort(out);
}

int run_read_workflow(const char *root, const char *path, struct workflow **ret, struct err *err)
{
	_cleanup_(str_done) struct str text = STR_INIT(WORKFLOW_MAX);
	_cleanup_(faults_done) struct faults faults = {0};
	_cleanup_free_ char *full = fs_join(root, path);
	int r = fs_read(AT_FDCWD, full, WORKFLOW_MAX, &text, err);
	if (r >= 0)
		r = workflow_read(path, str_peek(&text), text.len, &faults, ret, NULL, err);
	return r < 0 && faults.count > 1 ? err_hint(err, r, "all that is wrong: davit validate %s", path) : r;
}

/* One line a file: its name, and what starts it. */
static void print_files(const char *root, const struct strv *files)
{
	for (size_t i = 0; i < files->count; i++) {
		_cleanup_(workflow_freep) struct workflow *w = NULL;
		_cleanup_(str_done) struct str line = STR_INIT(4096), text = STR_INIT(1 << 16);
		_cleanup_(faults_done) struct faults faults = {0};
		_cleanup_free_ char *path = xasprintf("%s/%s/%s", root, place, files->items[i]);
		const char *event, *separator = "";
		json_t *value;
		str_append_safe(&line, files->items[i], strlen(files->items[i]));
		if (fs_read(AT_FDCWD, path, WORKFLOW_MAX, &text, NULL) < 0 ||
		    workflow_read(path, str_peek(&text), text.len, &faults, &w, NULL, NULL) < 0) {
			str_append(&line, "  (has faults: davit validate)");
		} else {
			str_append(&line, "  ");
			str_append_safe(&line, w->name, strlen(w->name));
			str_append(&line, "  (");
			json_object_foreach(w->on, event, value)
			{
				str_appendf(&line, "%s%s", separator, event);
				separator = ", ";
			}
			str_append(&line, ")");
		}
		printf("%s\n", str_peek(&line));
	}
	fflush(stdout);
}

/* "ci" is ci.yml. */
static bool is_called(const char *file, const char *word)
{
	size_t stem = (size_t)(strrchr(file, '.') - file);
	return strcmp(file, word) == 0 || (strlen(word) == stem && strncmp(file, word, stem) == 0);
}

/* The workflow whose `name:` it is. unread: the first that has faults, whose name is not known. */
static bool is_named(const char *root, const char *file, const char *word, const char **unread)
{
	_cleanup_(workflow_freep) struct workflow *w = NULL;
	_cleanup_(str_done) struct str text = STR_INIT(WORKFLOW_MAX);
	_cleanup_(faults_done) struct faults faults = {0};
	_cleanup_free_ char *path = xasprintf("%s/%s/%s", root, place, file);
	bool read = fs_read(AT_FDCWD, path, WORKFLOW_MAX, &text, NULL) >= 0 &&
	            workflow_read(file, str_peek(&text), text.len, &faults, &w, NULL, NULL) >= 0;
	if (!read && *unread == NULL)
		*unread = file;
	return read && strcmp(w->name, word) == 0;
}

/* The path of a file that lies in the work tree, as it is called there. */
static char *below_root(const char *root, const char *word)
{
	struct stat st;
	_cleanup_free_ char *real = fs_real_path(word, NULL);
	size_t len = strlen(root);
	if (real == NULL || strncmp(real, root, len) != 0 || real[len] != '/' || stat(real, &st) < 0 ||
	    !S_ISREG(st.st_mode))
		return NULL;
	return xstrdup(real + len + 1);
}

static int choose_by_word(const char *root, const struct strv *files, const char *word, char **ret, struct err *err)
{
	const char *unread = NULL;
	*ret = below_root(root, word);
	for (size_t i = 0; *ret == NULL && i < files->count; i++)
		if (is_called(files->items[i], word))
			*ret = xasprintf("%s/%s", place, files->items[i]);
	for (size_t i = 0; *ret == NULL && i < files->count; i++)
		if (is_named(root, files->items[i], word, &unread))
			*ret = xasprintf("%s/%s", place, files->items[i]);
	if (*ret != NULL)
		return 0;
	int r = err_set(err, ERR_INVALID, "'%.100s' is no workflow of %s", word, root);
	_cleanup_(strv_done) struct strv stems = {0};
	for (size_t i = 0; i < files->count; i++)
		strv_add_take(&stems,
		              xstrndup(files->items[i], (size_t)(strrchr(files->items[i], '.') - files->items[i])));
	const char *nearest = str_nearest(word, (const char *const *)stems.items, stems.count);
	if (nearest != NULL)
		return err_hint(err, r, "did you mean '%s'?", nearest);
	if (unread != NULL)
		return err_hint(err, r, "%s/%s has faults, which `davit validate` tells; its name is not known", place,
		                unread);
	return err_hint(err, r, "name a file of the work tree, or one in %s", place);
}

int run_choose_file(const struct run_options *o, const char *root, char **ret_path, struct err *err)
{
	_cleanup_(strv_done) struct strv files = {0};
	list_files(root, &files);
	if (o->workflow != NULL)
		return choose_by_word(root, &files, o->workflow, ret_path, err);
	if (files.count == 1) {
		*ret_path = xasprintf("%s/%s", place, files.items[0]);
		return 0;
	}
	if (files.count == 0) {
		int r = err_set(err, ERR_NOT_FOUND, "there is no workflow in %s/%s", root, place);
		return err_hint(err, r, "name a file: davit run FILE");
	}
	if (!o->json)
		print_files(root, &files);
	int r = err_set(err, ERR_INVALID, "%s has %zu workflows", root, files.count);
	return err_hint(err, r, "say which: davit run %s", files.items[0]);
}

/* ---- the event */

static const char *default_event(const struct run_options *o, const struct workflow *w)
{
	static const char *const first[] = {"push", "workflow_dispatch"};
	if (json_object_size(o->inputs) > 0)
		return "workflow_dispatch";
	for (size_t i = 0; i < ARRAY_SIZE(first); i++)
		if (json_object_get(w->on, first[i]) != NULL)
			return first[i];
	void *at = json_object_iter(w->on);
	return at != NULL ? json_object_iter_key(at) : NULL;
}

int run_choose_event(const struct run_options *o, const struct workflow *w, const char **ret_event, json_t **ret_inputs,
                     struct err *err)
{
	const char *event = o->event != NULL ? o->event : default_event(o, w);
	if (event == NULL || json_object_get(w->on, event) == NULL) {
		_cleanup_(str_done) struct str known = STR_INIT(4096);
		const char *name;
		json_t *value;
		json_object_foreach(w->on, name, value) str_appendf(&known, "%s%s", known.len > 0 ? ", " : "", name);
		int r = err_set(err, ERR_INVALID, "the event '%.60s' does not start %s", event ? event : "", w->path);
		return err_hint(err, r, "it is started by: %s", str_peek(&known));
	}
	*ret_event = event;
	if (strcmp(event, "workflow_dispatch") == 0)
		return workflow_dispatch_inputs(w, o->inputs, ret_inputs, err);
	if (json_object_size(o->inputs) > 0)
		return err_set(err, ERR_INVALID, "--input belongs to the event workflow_dispatch, not to '%s'", event);
	return 0;
}

int run_read_payload(const char *path, json_t **ret, struct err *err)
{
	_cleanup_(str_done) struct str text = STR_INIT(EVENT_MAX);
	_cleanup_json_ json_t *payload = NULL;
	int r = fs_read(AT_FDCWD, path, EVENT_MAX, &text, err);
	if (r >= 0)
		r = json_parse(str_peek(&text), text.len, EVENT_MAX, &payload, err);
	if (r >= 0 && !json_is_object(payload))
		r = err_set(err, ERR_INVALID, "it is not an object");
	if (r < 0)
		return err_wrap(err, ERR_INVALID, "the event '%s'", path);
	*ret = TAKE(payload);
	return 0;
}
