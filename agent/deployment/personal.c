#include "agent/deployment/personal.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/core/clock.h"
#include "base/data/schema/compile.h"
#include "base/data/yaml.h"
#include "base/sys/fs.h"
#include "base/sys/proc.h"

enum { FILE_MAX = 1 << 20, SECRET_MAX = 1 << 20, WORDS_MAX = 100, COMMAND_MS = 120 * 1000 };

/* NULL: no home directory. */
static char *config_path(void)
{
	const char *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
	if (config != NULL && config[0] == '/')
		return fs_join(config, "davit/config.yml");
	return home != NULL && home[0] == '/' ? fs_join(home, ".config/davit/config.yml") : NULL;
}

/* others: what they may not do, S_IWGRP | S_IWOTH or more. */
static int read_own(const char *path, mode_t others, struct str *out, struct err *err)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct stat st;
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_errno(err, errno, "open %s", path);
	if (!S_ISREG(st.st_mode) || (st.st_uid != geteuid() && st.st_uid != 0) || (st.st_mode & others) != 0) {
		err_set(err, ERR_PERMISSION, "%s is not a file that only you can %s", path,
		        (others & S_IROTH) != 0 ? "read" : "write");
		return err_hint(err, ERR_PERMISSION, "chmod %s %s", (others & S_IROTH) != 0 ? "0600" : "go-w", path);
	}
	return fs_read_fd(fd, path, out->max - 1, out, err);
}

static int check(const struct yaml_doc *doc, struct err *err)
{
	_cleanup_json_ json_t *source = json_loads(schema_builtin("config"), 0, NULL);
	_cleanup_(schema_freep) struct schema *schema = NULL;
	_cleanup_(faults_done) struct faults faults = {0};
	int r = schema_compile(source, &(struct schema_options){.strict_words = true}, &schema, err);
	if (r == 0)
		r = schema_check(schema, yaml_root(doc), doc, &faults, err);
	return faults.count > 0 ? faults_to_err(&faults, doc, err) : r;
}

int personal_read(struct personal *ret, struct err *err)
{
	static const struct yaml_limits limits = YAML_LIMITS_DEFAULT;
	_cleanup_(yaml_freep) struct yaml_doc *doc = NULL;
	_cleanup_(str_done) struct str text = STR_INIT(FILE_MAX);
	const char *job = getenv("GITHUB_ACTIONS");
	_cleanup_free_ char *path = job != NULL && strcmp(job, "true") == 0 ? NULL : config_path();
	if (path == NULL || (access(path, F_OK) < 0 && errno == ENOENT)) {
		*ret = (struct personal){.root = json_object()};
		return 0;
	}
	int r = read_own(path, S_IWGRP | S_IWOTH, &text, err);
	if (r >= 0)
		r = yaml_read(path, str_peek(&text), text.len, &limits, &doc, err);
	bool empty = r >= 0 && json_is_null(yaml_root(doc));
	if (r >= 0 && !empty)
		r = check(doc, err);
	if (r < 0)
		return err_wrap(err, r, "read your settings");
	*ret = (struct personal){.root = empty ? json_object() : json_deep_copy(yaml_root(doc)), .path = TAKE(path)};
	return 0;
}

void personal_done(struct personal *p)
{
	json_decrefp(&p->root);
	free(TAKE(p->path));
}

/* Contexts do not mind the case. A name within a longer one is none. */
static bool mentions(const char *text, const char *name)
{
	size_t len = strlen(name);
	for (const char *p = text; (p = strcasestr(p, name)) != NULL; p++) {
		bool begins = p == text || (!isalnum((unsigned char)p[-1]) && p[-1] != '_');
		if (begins && !isalnum((unsigned char)p[len]) && p[len] != '_')
			return true;
	}
	return false;
}

static bool has(const json_t *object, const char *name)
{
	const char *key;
	json_t *value;
	json_object_foreach((json_t *)(uintptr_t)object, key, value) if (strcasecmp(key, name) == 0) return true;
	return false;
}

static int run_command(const json_t *words, struct str *out, struct err *err)
{
	const char *argv[WORDS_MAX + 1] = {0};
	for (size_t i = 0; i < json_array_size(words) && i < WORDS_MAX; i++)
		argv[i] = json_string_value(json_array_get(words, i));
	/* In our group: a program that asks for a passphrase may use the terminal. */
	const struct proc_options options = {.argv = argv, .stdin_fd = -1, .inherit_group = true};
	_cleanup_(str_done) struct str errors = STR_INIT(64 << 10);
	struct wait w = WAIT_INIT;
	w.deadline_mono_ms = clock_mono_ms() + COMMAND_MS;
	int status = -1;
	int r = proc_run(&options, NULL, 0, SECRET_MAX, &w, out, &errors, &status, err);
	if (r >= 0 && status != 0)
		r = err_set(err, ERR_FAILED, "%s ended with status %d: %.*s", argv[0], status,
		            (int)strcspn(str_peek(&errors), "\r\n"), str_peek(&errors));
	return r;
}

static int read_file(const char *named, struct str *out, struct err *err)
{
	const char *home = getenv("HOME");
	bool below_home = str_starts(named, "~/");
	if (named[0] != '/' && (!below_home || home == NULL))
		return err_set(err, ERR_INVALID, "'%.200s' is neither absolute nor below ~/", named);
	_cleanup_free_ char *path = below_home ? fs_join(home, named + 2) : xstrdup(named);
	return read_own(path, S_IRWXG | S_IRWXO, out, err);
}

static int add_secret(json_t *secrets, const char *name, const json_t *source, struct err *err)
{
	_cleanup_(str_done) struct str value = STR_SECRET_INIT(SECRET_MAX + 1);
	const json_t *command = json_object_get(source, "command");
	int r = command != NULL ? run_command(command, &value, err)
	                        : read_file(json_get_string(source, "file"), &value, err);
	if (r < 0)
		return err_wrap(err, r, "secret '%s' of your settings", name);
	if (value.len > 0 && value.data[value.len - 1] == '\n')
		str_truncate(&value, value.len - 1);
	json_t *text = json_stringn(str_peek(&value), value.len);
	if (text == NULL)
		return err_set(err, ERR_INVALID, "secret '%s' of your settings is not UTF-8", name);
	json_object_set_new(secrets, name, text);
	deployment_values_mask(text);
	return 0;
}

int personal_values(const struct personal *p, const char *text, struct deployment_values *v, struct err *err)
{
	const char *name;
	json_t *value;
	_cleanup_json_ json_t *vars = json_object();
	json_object_foreach(json_object_get(p->root, "vars"), name, value) if (!has(v->vars, name))
		json_object_set(vars, name, value);
	int r = deployment_values_map(v->vars, "vars of your settings", vars, false, err);
	json_object_foreach(json_object_get(p->root, "secrets"), name, value)
	{
		if (r >= 0 && mentions(text, name) && !has(v->secrets, name))
			r = add_secret(v->secrets, name, value, err);
	}
	return r;
}

int personal_values_of_file(const char *path, struct deployment_values *v, struct err *err)
{
	_cleanup_(personal_done) struct personal p = PERSONAL_INIT;
	_cleanup_(str_done) struct str text = STR_INIT(FILE_MAX);
	int r = personal_read(&p, err);
	if (r < 0 || json_object_size(p.root) == 0)
		return r;
	if (fs_read(AT_FDCWD, path, FILE_MAX - 1, &text, NULL) < 0)
		str_clear(&text);
	return personal_values(&p, str_peek(&text), v, err);
}
