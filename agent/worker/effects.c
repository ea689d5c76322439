/* files: the command files of a step, made empty before it and read after it, however it ended. They stay until the
 * job's end, when all temporary files are removed at once. Removing some between steps makes creating the next ones slow on file
 * systems that are slow to reuse freed space. */
#include "agent/worker/background.h"

#include "agent/worker/command_file.h"
#include "base/sys/fs.h"
#include "base/core/rand.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	SHOWN_MAX = 1024,
	ENV_COUNT_MAX = 20000,
	PATH_LEN_MAX = 96 << 10, /* one variable of an environment has at most 128 KiB */
};

/* In the order in which they are processed. */
static const struct {
	const char *key, *prefix;
} command_files[] = {
	{"path", "add_path_"},
	{"env", "set_env_"},
	{"step_summary", "step_summary_"},
	{"state", "save_state_"},
	{"output", "set_output_"},
	{"artifacts", "artifacts_"},
	{"artifacts_list", "artifacts_list_"},
};

/* The previous step's file where nothing was written to it. The step's processes may have put anything in its place. */
static bool is_untouched(const char *path)
{
	struct stat st;
	return path != NULL && lstat(path, &st) == 0 && S_ISREG(st.st_mode) && st.st_size == 0 && st.st_nlink == 1 &&
	       st.st_uid == geteuid() && (st.st_mode & (S_IRUSR | S_IWUSR)) == (S_IRUSR | S_IWUSR);
}

/* A new name, as each step has its own. Most steps write to none of them, and a name costs a tenth of a file. */
static int create_file(const char *previous, const char *path, struct err *err)
{
	if (is_untouched(previous) && rename(previous, path) == 0)
		return 0;
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	return fd < 0 ? err_errno(err, errno, "make it") : 0;
}

int effects_create_files(struct job *j, struct record *r, struct err *err)
{
	(void)r;
	char id[37];
	int restored = job_restore_temp(j, err);
	if (restored < 0)
		return restored;
	rand_uuid4(id);
	for (size_t i = 0; i < ARRAY_SIZE(command_files); i++) {
		const char *key = command_files[i].key;
		_cleanup_free_ char *path = xasprintf("%s/%s%s", j->files, command_files[i].prefix, id);
		int e = create_file(json_get_string(j->github, key), path, err);
		if (e < 0)
			return err_wrap(err, e, "the file of '%s' for the step", key);
		json_object_set_new(j->github, key, json_string(path));
	}
	return 0;
}

int job_set_env(struct job *j, struct record *r, bool by_command, const char *name, const char *value, size_t len,
                struct err *err)
{
	if (strcasecmp(name, "NODE_OPTIONS") == 0) {
		record_error(j, r,
		             by_command ? "Can't update NODE_OPTIONS environment variable using ::set-env:: command."
		                        : "Can't store NODE_OPTIONS output parameter using '$GITHUB_ENV' command.");
		return 0;
	}
	if (json_object_get(j->global_env, name) == NULL && json_object_size(j->global_env) >= ENV_COUNT_MAX)
		return err_set(err, ERR_LIMIT, "the steps of this job set more than %d variables", ENV_COUNT_MAX);
	json_object_set_new(j->global_env, name, json_string_lossy(value, len));
	if (j->active != NULL)
		json_object_set(j->active->env_set, name, json_object_get(j->global_env, name));
	if (j->debug) {
		_cleanup_free_ char *shown = job_shown(j, value, len, SHOWN_MAX);
		record_debug(j, r, "%s='%s'", name, shown);
	}
	return 0;
}

/* A directory that is added again moves to the end. */
int job_add_path(struct job *j, const char *path, struct err *err)
{
	if (json_object_del(j->prepend_path, path) < 0) {
		if (j->prepend_len + strlen(path) + 1 > PATH_LEN_MAX)
			return err_set(err, ERR_LIMIT,
			               "the directories added to PATH are longer than %d bytes together", PATH_LEN_MAX);
		j->prepend_len += strlen(path) + 1;
	}
	json_object_set_new(j->prepend_path, path, json_true());
	if (j->active != NULL)
		json_array_append_new(j->active->paths_added, json_string(path));
	return 0;
}

struct pair_target {
	struct job *job;
	struct record *record;
};

static int take_env(void *context, const char *name, const char *value, size_t len, struct err *err)
{
	struct pair_target *t = context;
	return job_set_env(t->job, t->record, false, name, value, len, err);
}

static int take_output(void *context, const char *name, const char *value, size_t len, struct err *err)
{
	struct pair_target *t = context;
	return record_set_output(t->job, t->record, name, value, len, err);
}

static int take_state(void *context, const char *name, const char *value, size_t len, struct err *err)
{
	struct pair_target *t = context;
	return record_save_state(t->job, t->record, name, value, len, err);
}

static int take_paths(struct job *j, const struct str *text, struct err *err)
{
	struct strv lines = {.count = 0};
	int e = 0;
	command_file_lines(str_peek(text), text->len, &lines);
	for (size_t i = 0; e == 0 && i < lines.count; i++)
		e = job_add_path(j, lines.items[i], err);
	strv_done(&lines);
	return e;
}

/* Line ends become \n, a last one is added; each line is masked. */
static void append_summary_line(struct job *j, const char *line, size_t len, struct str *out)
{
	size_t text_len;
	_cleanup_free_ char *text = command_file_utf8(line, len, &text_len);
	mask_apply(j->mask, text, text_len, out);
	str_append_c(out, '\n');
}

static int take_summary(struct job *j, struct record *r, const struct str *text)
{
	const char *data = str_peek(text);
	size_t len = text->len;
	if (len == 0)
		return 0;
	if (len > SUMMARY_MAX) {
		record_error(j, r,
		             "$GITHUB_STEP_SUMMARY upload aborted, supports content up to a size of %dk, got %zuk. For "
		             "more information "
		             "see: https://docs.github.com/actions/using-workflows/workflow-commands-for-github-actions"
		             "#adding-a-markdown-summary",
		             SUMMARY_MAX / 1024, len / 1024);
		return 0;
	}
	_cleanup_(str_done) struct str out = STR_INIT(8 * SUMMARY_MAX);
	if (len >= 3 && memcmp(data, "\xef\xbb\xbf", 3) == 0) {
		data += 3;
		len -= 3;
	}
	for (size_t at = 0; at < len;) {
		size_t n = 0;
		while (at + n < len && data[at + n] != '\n' && data[at + n] != '\r')
			n++;
		append_summary_line(j, data + at, n, &out);
		at += n + 1;
		if (at < len && data[at - 1] == '\r' && data[at] == '\n')
			at++;
	}
	/* A line end that was added must not make a summary of exactly the limit too large for the service. */
	if (out.len > SUMMARY_MAX && out.len - 1 <= SUMMARY_MAX)
		str_truncate(&out, out.len - 1);
	if (!out.failed)
		console_summary(j, r, str_peek(&out), out.len);
	if (reports_any(j->reports) && !out.failed) {
		size_t size = out.len;
		reports_summary(j->reports, r->id, str_take(&out), size);
	}
	return 0;
}

static int process(struct job *j, struct record *r, const char *key, const struct str *text, struct err *err)
{
	struct pair_target target = {j, r};
	command_pair_fn take = strcmp(key, "env") == 0      ? take_env
	                       : strcmp(key, "output") == 0 ? take_output
	                                                    : take_state;
	if (strcmp(key, "path") == 0)
		return take_paths(j, text, err);
	if (strcmp(key, "step_summary") == 0)
		return take_summary(j, r, text);
	if (str_starts(key, "artifacts"))
		return 0; /* declared artifacts need a flag that this agent does not know */
	return command_file_pairs(str_peek(text), text->len, take, &target, err);
}

void effects_read_files(struct job *j, struct record *r)
{
	for (size_t i = 0; i < ARRAY_SIZE(command_files); i++) {
		const char *key = command_files[i].key, *path = json_get_string(j->github, key);
		_cleanup_(str_done) struct str text = STR_SECRET_INIT(JOB_FILE_MAX);
		struct err err = ERR_INIT;
		char line[1024];
		if (path == NULL)
			continue;
		int e = fs_read_plain(AT_FDCWD, path, JOB_FILE_MAX, &text, &err);
		if (e == ERR_NOT_FOUND)
			continue;
		if (e == 0 && text.len > 0)
			e = process(j, r, key, &text, &err);
		if (e < 0) {
			record_error(j, r, "Unable to process file command '%s' successfully.", key);
			record_error(j, r, "%s", err_line(&err, line, sizeof(line)));
			r->command_result = result_merge(r->command_result, RESULT_FAILED);
		}
	}
}
