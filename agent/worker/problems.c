/* problems: what problem matchers find in a step's output: its file where it lies, its annotation, and the commands that add and remove
 * matchers [5.9]. */
#include "agent/worker/matcher.h"
#include "agent/worker/background.h"
#include "agent/worker/worker_priv.h"
#include "agent/worker/containers/containers.h"

#include "base/sys/fs.h"

#include <fcntl.h>
#include <strings.h>

enum { FILE_MAX = 1 << 20, CONFIG_MAX = 1 << 20, LEVELS_MAX = 100, SEEN_MAX = 64 << 10, STREAMS = 2 };

/* ---- where the file lies ---- */

/* Does that configuration name the job's repository as a remote of its own? */
static bool is_of_repository(const struct job *j, const char *path)
{
	_cleanup_(str_done) struct str text = STR_INIT(CONFIG_MAX);
	const char *repository = json_get_string(j->github, "repository"),
		   *server = json_get_string(j->github, "server_url");
	if (repository == NULL || server == NULL || fs_read_plain(AT_FDCWD, path, CONFIG_MAX, &text, NULL) < 0)
		return false;
	const char *host = strstr(server, "://");
	_cleanup_free_ char *https = xasprintf("%s/%s", server, repository),
			    *ssh = xasprintf("git@%s:%s", host != NULL ? host + 3 : server, repository);
	for (char *rest = text.data, *line; rest != NULL && (line = strsep(&rest, "\n")) != NULL;) {
		line += strspn(line, " \t");
		if (strncmp(line, "url", 3) != 0)
			continue;
		const char *url = line + 3 + strspn(line + 3, " \t=");
		size_t len = strcspn(url, " \t\r");
		if (len > 4 && strncasecmp(url + len - 4, ".git", 4) == 0)
			len -= 4;
		if ((strlen(https) == len && strncasecmp(url, https, len) == 0) ||
		    (strlen(ssh) == len && strncasecmp(url, ssh, len) == 0))
			return true;
	}
	return false;
}

/* The path below the work tree of the job's repository; NULL: the file is not there, or of another one. free() */
static char *path_in_repository(const struct job *j, const char *file)
{
	_cleanup_free_ char *directory = xstrdup(file);
	if (!fs_exists(AT_FDCWD, file))
		return NULL;
	for (int i = 0; i < LEVELS_MAX; i++) {
		char *slash = strrchr(directory, '/');
		if (slash == NULL || slash == directory)
			return NULL;
		*slash = '\0';
		_cleanup_free_ char *config = fs_join(directory, ".git/config");
		/* One within the job's repository is another one. */
		if (fs_exists(AT_FDCWD, config))
			return is_of_repository(j, config) ? xstrdup(file + strlen(directory) + 1) : NULL;
	}
	return NULL;
}

static char *find_file(const struct job *j, const struct matcher_result *found)
{
	const char *file = found->fields[MATCHER_FILE], *from = found->fields[MATCHER_FROM_PATH];
	if (file == NULL || file[0] == '\0')
		return NULL;
	_cleanup_free_ char *base = xstrdup(j->workspace), *whole = NULL, *path = NULL;
	if (from != NULL && from[0] != '\0') {
		_cleanup_free_ char *outside = containers_outside(j, from),
				    *given = outside[0] == '/' ? xstrdup(outside) : fs_join(j->workspace, outside);
		char *slash = strrchr(given, '/');
		free(base);
		base = xstrndup(given, (size_t)(slash - given));
	}
	_cleanup_free_ char *here = containers_outside(j, file);
	whole = here[0] == '/' ? xstrdup(here) : fs_join(base, here);
	return fs_normalize(whole, &path, NULL) < 0 ? NULL : path_in_repository(j, path);
}

/* ---- an issue ---- */

static bool kind_of(const char *severity, enum issue_kind *ret)
{
	static const char *const words[] = {"error", "warning", "notice"};
	*ret = ISSUE_ERROR;
	for (size_t i = 0; severity != NULL && severity[0] != '\0'; i++) {
		if (i == ARRAY_SIZE(words))
			return false;
		*ret = (enum issue_kind)i;
		if (strcasecmp(severity, words[i]) == 0)
			return true;
	}
	return true;
}

static void set_digits(json_t *properties, const char *name, const char *text)
{
	if (text != NULL && text[0] != '\0' && strspn(text, "0123456789") == strlen(text))
		json_object_set_new(properties, name, json_string(text));
}

static bool tell(struct job *j, struct record *r, const struct matcher_result *found, const char *line)
{
	const char *message = found->fields[MATCHER_MESSAGE];
	enum issue_kind kind;
	if (message == NULL || message[strspn(message, " \t\r\n")] == '\0' ||
	    !kind_of(found->fields[MATCHER_SEVERITY], &kind))
		return false;
	_cleanup_json_ json_t *properties = json_object();
	_cleanup_free_ char *file = find_file(j, found);
	set_digits(properties, "line", found->fields[MATCHER_LINE]);
	set_digits(properties, "col", found->fields[MATCHER_COLUMN]);
	if (file != NULL)
		json_object_set_new(properties, "file", json_string_lossy(file, strlen(file)));
	record_issue_in_line(j, r, kind, message, line, properties);
	return true;
}

/* Processes that run beside each other print beside each other: what one of them began no line of another ends. */
static size_t trail_of(const struct job *j, size_t stream)
{
	return STREAMS * (j->active != NULL ? j->active->slot + 1 : 0) + stream;
}

void problems_begin(struct job *j, struct record *r)
{
	r->stream = 0;
	for (size_t stream = 0; stream < STREAMS; stream++)
		matchers_forget(j->matchers, trail_of(j, stream));
}

bool problems_take(struct job *j, struct record *r, const char *line, size_t len)
{
	bool taken = false;
	if (!matchers_any(j->matchers) || len > SEEN_MAX)
		return false;
	matchers_follow(j->matchers, trail_of(j, r->stream));
	for (size_t at = 0; !taken;) {
		struct matcher_result found = {{NULL}};
		_cleanup_free_ char *given_up = NULL;
		bool any = matchers_look(j->matchers, line, len, &at, &found, &given_up);
		if (given_up != NULL) {
			_cleanup_free_ char *text = xasprintf(
				"Removing issue matcher '%s'. Matcher failed 3 times. Its pattern needs too many tries",
				given_up);
			record_issue(j, r, ISSUE_WARNING, text, NULL);
		}
		taken = any && tell(j, r, &found, line);
		matcher_result_done(&found);
		if (!any && given_up == NULL)
			break;
	}
	return taken;
}

/* ---- the commands ---- */

static int read_file(const struct job *j, const char *given, json_t **ret, struct err *err)
{
	_cleanup_free_ char *here = containers_outside(j, given),
			    *path = here[0] == '/' ? xstrdup(here) : fs_join(j->workspace, here);
	_cleanup_(str_done) struct str text = STR_INIT(FILE_MAX);
	int r = fs_read_plain(AT_FDCWD, path, FILE_MAX, &text, err);
	if (r < 0)
		return r;
	size_t mark = str_starts(str_peek(&text), "\xef\xbb\xbf") ? 3 : 0;
	r = json_parse(str_peek(&text) + mark, text.len - mark, FILE_MAX, ret, err);
	return r < 0 ? err_wrap(err, r, "%s", given) : 0;
}

int problems_add(struct job *j, struct record *r, const char *file, struct err *err)
{
	_cleanup_json_ json_t *document = NULL;
	if (file[0] == '\0') {
		record_issue(j, r, ISSUE_WARNING, "File path must be specified.", NULL);
		return 0;
	}
	int e = read_file(j, file, &document, err);
	if (e == 0)
		e = matchers_add(&j->matchers, document, err);
	if (e < 0)
		return err_wrap(err, e, "add the problem matchers of '%s'", file);
	_cleanup_free_ char *owners = matchers_owners(document);
	record_debug(j, r,
	             "Added matchers: '%s'. Problem matchers scan action output for known warning or error strings and "
	             "report these inline.",
	             owners);
	return 0;
}

int problems_remove(struct job *j, struct record *r, const char *owner, const char *file, struct err *err)
{
	bool by_owner = owner != NULL && owner[0] != '\0', by_file = file[0] != '\0';
	if (by_owner == by_file) {
		record_issue(
			j, r, ISSUE_WARNING,
			by_owner
				? "Either specify an owner name or a file path in ##[remove-matcher] command. Both values "
				  "cannot be set."
				: "Either an owner name or a file path must be specified in ##[remove-matcher] command.",
			NULL);
		return 0;
	}
	if (by_owner) {
		matchers_remove(j->matchers, owner);
		return 0;
	}
	_cleanup_json_ json_t *document = NULL;
	size_t i;
	json_t *one;
	int e = read_file(j, file, &document, err);
	if (e < 0)
		return err_wrap(err, e, "remove the problem matchers of '%s'", file);
	json_array_foreach(json_get_array(document, "problemMatcher"), i,
	                   one) if (json_get_string(one, "owner") != NULL)
		matchers_remove(j->matchers, json_get_string(one, "owner"));
	return 0;
}
